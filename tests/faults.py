"""Faults put into a run of ipvkit, one at a time: what it starts fails, it is killed, its disk is full.

`start` gives a machine of one's own (see `world`) in which every program that ipvkit starts is counted,
and the one that a `Case` names goes wrong. What came of it, the machine compared with what it was before
included, is an `Outcome`. By hand, as root:

    PYTHONPATH=. python tests/faults.py --lab walkthrough --fault killed-after --step 30
"""

import argparse
import fcntl
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from math import ceil
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import yaml

import world
from ipvkit.cli import SUMMARIES, main
from ipvkit.cli.commands import loaded_command
from ipvkit.lab import gallery, on_parent
from ipvkit.lab.format import load
from ipvkit.plan.make import make_plan
from ipvkit.run import engine, execution
from recorder import answered

T = TypeVar("T")

FAULTS = {
    "fails": "the command fails with exit code 2 and has done nothing",
    "fails-1": "the same with exit code 1",
    "silent": "it does its work, exits with 0 and prints nothing",
    "garbage": "it does its work, exits with 0 and prints what nobody understands",
    "dies": "it dies of KILL before it has done anything",
    "crashes-after": "it dies of SEGV when it has done its work",
    "hangs": "it hangs before it has done anything",
    "hangs-after": "it hangs when it has done its work",
    "killed-before": "ipvkit is killed by KILL before the command has done anything",
    "killed-during": "ipvkit is killed by KILL, and then the command does its work",
    "killed-after": "ipvkit is killed by KILL when the command has done its work",
    "int": "ipvkit is told to stop by INT while the command works",
    "term": "the same by TERM",
    "hup": "the same by HUP",
    "full-before": "the disk with the state is full before ipvkit begins",
    "read-only": "it is read-only before ipvkit begins; while a journal is open no kernel makes it so",
    "full": "the disk with the state is full from the command on",
    "vanishes": "the program is no longer installed after the command",
}
"""What can go wrong at one command; two of them go wrong before the first."""

_EXITS = {"fails": 2, "fails-1": 1, "dies": -9, "crashes-after": -11, "hangs": -9, "hangs-after": -9}
"""With which exit code a command ends whose fault that is (negative: a signal)."""

OF = ("run-lab", "cleanup", "down")
"""In which ipvkit: a run; `cleanup`, after a run was killed; `down`, after a run with --keep."""

KILLED_AT = "killed-at"
"""ipvkit is killed by KILL at an instant, not at a command."""

APART = "unshare --net --mount --pid --fork --mount-proc --kill-child".split()
"""The words before a command that gives it the namespaces which `world` needs."""

DEADLINE_S = 100.0
"""How long one ipvkit may take, however slow the machine is."""

HANG_TIMEOUT_S = 3
"""The least --timeout of runs in which something hangs; one without a fault takes less than a second."""

SETTLE_S = 10.0
"""How long the kernel may take to end namespaces and processes."""

_SHIM = "192.168.104.120"
UNPLACED = ("full-before", "read-only", KILLED_AT)
"""Faults that are not at a command."""

SLOW = ("hangs", "hangs-after")
SIGNALS = ("int", "term", "hup")
KILLS = ("killed-before", "killed-during", "killed-after", KILLED_AT)
_PROGRAMS = ("ip", "ping", "arping", "sysctl", "sleep", "tc")
_HERE = Path("/run/faults")
_COUNT, _REAL, _GONE = _HERE / "count", _HERE / "real", _HERE / "gone"
_LAB = _HERE / "lab.yaml"
_PIPE_SIZE = 1 << 20

_WRAPPER = f"""\
#!/bin/sh
# Counts what ipvkit starts; one of it goes wrong. What `ip netns exec` starts is a part of that.
name=${{0##*/}}
act() {{
  case "$name $*" in
    *" -V") ;;
    "ping "*) for to; do :; done; cat <<END
{answered("$to")}END
      return ;;
    "arping "*) for to; do :; done
      printf 'ARPING %s from 192.168.104.110 eth0\\nSent 2 probes (2 broadcast(s))\\n' "$to"
      printf 'Received 0 response(s)\\n'; return ;;
    "sleep "*) return ;;
  esac
  "{_REAL}/$name" "$@"
}}
[ -z "$FAULTS_INNER" ] || {{ act "$@"; exit; }}
export FAULTS_INNER=1
. {_HERE}/case
n=1
while ! {{ set -C; printf '%s\\n' "$name $*" >"{_COUNT}/$n"; }} 2>/dev/null; do n=$((n + 1)); done
set +C
[ "$n" = "$step" ] || {{ act "$@"; exit; }}
stop() {{ exec "{_REAL}/sleep" 1000; }}
case $fault in
  fails) echo "injected: it fails" >&2; exit 2 ;;
  fails-1) echo "injected: it fails" >&2; exit 1 ;;
  silent) act "$@" >/dev/null; exit 0 ;;
  garbage) act "$@" >/dev/null; printf '\\377\\033[31m{{"][\\n%%s\\n'; exit 0 ;;
  dies) kill -KILL $$ ;;
  crashes-after) act "$@"; kill -SEGV $$ ;;
  hangs) stop ;;
  hangs-after) act "$@"; stop ;;
  killed-before) kill -KILL "$ipvkit"; exit 1 ;;
  # The kernel kills a command with its parent, but not the command's own child.
  killed-during) {{ kill -KILL "$ipvkit"; act "$@"; }} & wait; exit 1 ;;
  killed-after) act "$@"; kill -KILL "$ipvkit"; exit 0 ;;
  int) kill -INT "$ipvkit" ;;
  term) kill -TERM "$ipvkit" ;;
  hup) kill -HUP "$ipvkit" ;;
  full) cat /dev/zero >{world.STATE}/filler 2>/dev/null
    # A file grows by pages, and the last one may have room.
    for file in {world.STATE}/ipvkit/*.jsonl; do
      [ ! -s "$file" ] || prlimit --pid "$ipvkit" --fsize="$(stat -c %s "$file")"
    done ;;
  vanishes) act "$@"; code=$?; mount --bind {_GONE} "$0"; exit $code ;;
esac
act "$@"
"""


@dataclass(frozen=True, slots=True)
class Case:
    """A lab of the gallery, and one fault at the `step`-th command, counted from 1, of an ipvkit.

    Without a step it is at the fraction `at` of its commands or, for KILLED_AT, of its duration. `of` is
    the ipvkit in which it happens, one of OF.
    """

    lab: str
    fault: str = ""
    step: int = 0
    at: float = 0.0
    of: str = "run-lab"

    def __str__(self) -> str:
        """Return the line that repeats it."""
        where = f"--step {self.step}" if self.step else f"--at {self.at}"
        fault = f" --fault {self.fault} {where}" if self.fault else ""
        return f"python tests/faults.py --lab {self.lab} --of {self.of}{fault}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a Case: the faulty ipvkit's commands, exit code (negative: a signal) and output.

    `case` has its step. `problems` tells each promise that was broken, a line each.
    """

    case: Case
    commands: tuple[str, ...]
    exit_code: int
    stdout: str
    stderr: str
    duration_s: float
    problems: tuple[str, ...]

    def __str__(self) -> str:
        """Return what is wrong, under the line that repeats it; nothing if all is well."""
        if not self.problems:
            return ""
        step = self.case.step
        command = self.commands[step - 1] if 0 < step <= len(self.commands) else ""
        return "\n".join([f"{self.case}   # {command}", *(f"  {line}" for line in self.problems), ""])


def outcome_of(line: str) -> Outcome:
    """Return the Outcome that is in a line of JSON."""
    fields: dict[str, Any] = json.loads(line)
    commands, problems = tuple(fields.pop("commands")), tuple(fields.pop("problems"))
    return Outcome(case=Case(**fields.pop("case")), commands=commands, problems=problems, **fields)


class Faults:
    """Runs cases one after another, in a process that has namespaces of its own."""

    def __init__(self, *, ipvlan: bool) -> None:
        what = [str(Path(__file__).resolve()), "--serve", *(["--ipvlan"] if ipvlan else [])]
        self._words = [*APART, sys.executable, *what]
        self._process: subprocess.Popen[str] | None = None

    def run(self, case: Case) -> Outcome:
        """Return what comes of `case`; after one that left something behind, begin anew."""
        if self._process is None:
            self._process = subprocess.Popen(
                self._words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asdict(case)) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"{case}: what runs the cases has ended"
        outcome = outcome_of(line)
        if outcome.problems:
            self.end()
        return outcome

    def end(self) -> None:
        """End the process, and with it the namespaces and all in them."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


@contextmanager
def start(*, ipvlan: bool = False) -> Iterator[Faults]:
    """Give what runs cases, as root, on labs with macvlan links, or with `ipvlan` as they are."""
    faults = Faults(ipvlan=ipvlan)
    try:
        yield faults
    finally:
        faults.end()


def lab_text(name: str, *, ipvlan: bool) -> str:
    """Return a lab of the gallery as a real parent takes it, with macvlan links unless `ipvlan`.

    It ends after its second phase: a third one has no kind of step that those have not.
    """
    lab = yaml.safe_load(gallery.text(name))
    del lab["phases"][2:]
    for phase in lab["phases"]:
        if ipvlan:
            if phase.get("host-shim") is True:
                phase["host-shim"] = _SHIM
            continue
        for key in ("mode", "strategy", "host-shim"):
            phase.pop(key, None)
        phase["kind"] = "macvlan"
        acts = [_of_macvlan(act, lab["parent"]) for act in phase.get("do", [])]
        phase["do"] = [act for act in acts if act]
    return yaml.safe_dump(lab, sort_keys=False)


def _of_macvlan(act: dict[str, Any], parent: str) -> dict[str, Any]:
    """Return an item of a phase without what macvlan has not: modes, and announcements.

    In place of what these change on the host, a sysctl of its `parent` is set, and so restored.
    """
    tries = [dict(change) for change in act.get("try", []) if "set-mode" not in change]
    for change in tries:
        if "add-link" in change:
            change["kind"] = "macvlan"
            change.pop("mode", None)
            change.pop("flag", None)
    # A real parent's MTU is left alone.
    tries = [change for change in tries if not ("set-mtu" in change and change["at"] == world.PARENT)]
    others = {key: value for key, value in act.items() if key not in ("try", "announce")}
    if "announce" in act:
        others["sysctls"] = {"host": {f"net.ipv4.conf.{parent}.accept_local": 1}}
    return {**others, "try": tries} if tries else others


# --- in the namespaces ----------------------------------------------------------------------------------


class Machine:
    """This process's namespaces, made a machine, with wrapped programs and ipvkit loaded: a run is a fork."""

    def __init__(self, *, ipvlan: bool) -> None:
        """Build it; raise CalledProcessError or AssertionError where that fails."""
        self.ipvlan = ipvlan
        world.build()
        self.wrapped = _wrap_programs()
        os.environ.update(XDG_STATE_HOME=str(world.STATE), FAULTS_INNER="1")
        # What `main` would load in each fork.
        for command in SUMMARIES:
            loaded_command(command)
        self.before = world.snapshot()
        self.undisturbed: dict[tuple[str, str], Outcome] = {}
        self._built: dict[str, int] = {}

    def run(self, case: Case) -> Outcome:
        """Return what comes of `case`, `cleanup` included."""
        _LAB.write_text(lab_text(case.lab, ipvlan=self.ipvlan))
        words = _words(case.of)
        if case.fault:
            normal = self.without_fault(case.lab, case.of)
            if case.of == "run-lab" and case.fault in SLOW:
                words += ["--timeout", str(max(HANG_TIMEOUT_S, ceil(3 * normal.duration_s)))]
            if case.fault in SIGNALS:
                self.built(case.lab)
            if not case.step and case.fault not in UNPLACED:
                case = replace(case, step=max(1, ceil(case.at * len(normal.commands))))
        self._prepare(case)
        outcome = self._ipvkit(case, words)
        if case.fault == KILLED_AT and outcome.exit_code != -signal.SIGKILL:
            # It has ended before: what it was compared with was slower than runs are now.
            self.undisturbed[case.lab, case.of] = outcome
        problems = [*outcome.problems, *self._broken_promises(case, outcome)]
        self._mend()
        if _journals():
            problems += self._clean_up(case)
        problems += [f"left: {line}" for line in self._left()]
        return replace(outcome, problems=tuple(problems))

    def without_fault(self, lab: str, of: str) -> Outcome:
        """Return what comes of `lab` when nothing goes wrong; raise AssertionError if something does."""
        if (lab, of) not in self.undisturbed:
            outcome = self.run(Case(lab, of=of))
            assert not outcome.problems, f"without a fault: {outcome}"
            self.undisturbed[lab, of] = outcome
        return self.undisturbed[lab, of]

    def _prepare(self, case: Case) -> None:
        """Bring the machine to where `case.of` has something to do."""
        if case.of == "run-lab":
            return
        if case.of == "down":
            self._ipvkit(Case(case.lab), [*_words("run-lab"), "--keep"])
        else:
            self._ipvkit(Case(case.lab, "killed-after", self.built(case.lab)), _words("run-lab"))

    def built(self, lab: str) -> int:
        """Return at which command of a run all is built; what comes after that is the undo."""
        if lab not in self._built:
            kept = self._ipvkit(Case(lab), [*_words("run-lab"), "--keep"])
            self._built[lab] = len(kept.commands)
            self._ipvkit(Case(lab), _words("down"))
        return self._built[lab]

    def _ipvkit(self, case: Case, words: Sequence[str]) -> Outcome:
        """Run ipvkit with `words`, and the fault of `case` in it, until all that it started has ended."""
        shutil.rmtree(_COUNT, ignore_errors=True)
        _COUNT.mkdir()
        delay_s = 0.0
        if case.fault == KILLED_AT:
            delay_s = case.at * self.undisturbed[case.lab, case.of].duration_s
        if case.fault == "full-before":
            _fill()
        if case.fault == "read-only":
            _do("mount", "-o", "remount,ro", str(world.STATE))
        output, errors = _Pipe(), _Pipe()
        started = time.monotonic()
        pid = os.fork()
        if pid == 0:
            _be_ipvkit(case, words, output.entrance, errors.entrance)
        problems = []
        code = _wait(lambda ended: ended.get(pid), delay_s or DEADLINE_S)
        if code is None:
            if not delay_s:
                problems.append(f"ipvkit did not end within {DEADLINE_S:g} s")
            os.kill(pid, signal.SIGKILL)
            code = _wait(lambda ended: ended.get(pid), DEADLINE_S)
        took = time.monotonic() - started
        expected = {line for line in self.before if line.startswith("process ")}
        if not _wait(lambda _: _processes() <= expected or None, SETTLE_S):
            problems += [f"outlived ipvkit: {line}" for line in _processes() - expected]
            for left in world.processes():
                if not any(line.startswith(f"process {left}:") for line in expected):
                    os.kill(left, signal.SIGKILL)
        lines = sorted(_COUNT.iterdir(), key=lambda path: int(path.name))
        commands = tuple(path.read_text().strip() for path in lines)
        return Outcome(case, commands, code or 0, output.text(), errors.text(), took, tuple(problems))

    def _broken_promises(self, case: Case, outcome: Outcome) -> Iterator[str]:
        """Tell what the faulty ipvkit itself did not keep of the contract."""
        # Progress is told in lines that begin with a bracket.
        said = "\n".join(line for line in outcome.stderr.splitlines() if not line.startswith("["))
        code = outcome.exit_code
        if case.step > len(outcome.commands):
            yield f"only {len(outcome.commands)} commands were started"
        if "Traceback" in said or "ipvkit itself failed" in said:
            yield f"a traceback: {said}"
        told = sum(line.startswith("error: ") for line in said.splitlines())
        if code >= 0 and told != (code not in (0, 1)):
            yield f"exit code {code} with {told} messages: {said}"
        allowed = self._exit_codes(case, outcome)
        if code not in allowed:
            yield f"exit code {code}, and not one of {sorted(allowed)}: {said}"
        at_once = code in (0, 1, 130) or case.fault == "full" or self._ends_the_run(case, outcome.commands)
        if at_once and code >= 0 and case.of == "run-lab" and _journals():
            yield f"exit code {code}, and not all is undone: {said}"

    def _exit_codes(self, case: Case, outcome: Outcome) -> set[int]:
        """Return the exit codes that the contract has for `case`."""
        if not case.fault:
            return {0, 1}
        normal = self.without_fault(case.lab, case.of).exit_code
        if case.fault in KILLS:
            return {-signal.SIGKILL} if case.fault != KILLED_AT else {-signal.SIGKILL, normal}
        if case.fault in SIGNALS:
            # Who stops what is being undone anyway has come too late to stop anything.
            late = case.of != "run-lab" or case.step > self.built(case.lab)
            return {130, normal} if late else {130}
        if case.fault in ("full-before", "read-only") and case.of == "run-lab":
            return {3}
        if self._ends_the_run(case, outcome.commands):
            return {4}
        # Until the first namespace is made, a run that is not begun is wrong usage.
        begun = any(command.startswith("ip netns add") for command in outcome.commands)
        return {normal, 1, 3, 4} if begun else {normal, 2, 3, 4}

    def _ends_the_run(self, case: Case, commands: Sequence[str]) -> bool:
        """Return whether the fault is in one of the lab's own steps that may not end like that."""
        if case.of != "run-lab" or case.fault not in _EXITS or case.step > len(commands):
            return False
        lab = on_parent(load(_LAB.read_text(), "lab"), world.PARENT)
        line, so_far = commands[case.step - 1], commands[: case.step]
        steps = [step for step in make_plan(lab).steps if str(step.command) == line]
        # A look or an undo may read the same; then it is one more than the lab's own.
        own = not line.startswith("sysctl -n") and so_far.count(line) <= len(steps)
        return own and all(_EXITS[case.fault] not in step.command.ok for step in steps)

    def _clean_up(self, case: Case) -> Iterator[str]:
        """Have ipvkit undo what is left, and tell what is wrong with that."""
        changed = [line for line in self._differences() if " state " not in line]
        seen = self._ipvkit(Case(case.lab), ["status", "--json"])
        runs = json.loads(seen.stdout)["runs"] if seen.exit_code == 0 else []
        if seen.exit_code != 0 or (changed and not runs):
            yield f"status: {seen.stderr}{seen.stdout}"
        kept = any(run["state"] == "up" for run in runs)
        outcome = self._ipvkit(Case(case.lab), _words("down" if kept else "cleanup"))
        yield from (f"cleanup: {problem}" for problem in outcome.problems)
        if outcome.exit_code != 0 or _journals():
            yield f"cleanup ended with {outcome.exit_code}: {outcome.stderr}"

    def _left(self) -> list[str]:
        """Return how the machine differs from what it was; the kernel may take a while to end a namespace."""
        if _wait(lambda _: self._differences() == [] or None, SETTLE_S):
            return []
        return self._differences()

    def _differences(self) -> list[str]:
        return world.difference(self.before, world.snapshot())

    def _mend(self) -> None:
        """Take back what the faults did to the machine itself."""
        _do("mount", "-o", "remount,rw", str(world.STATE))
        (world.STATE / "filler").unlink(missing_ok=True)
        for path in self.wrapped:
            if not os.access(path, os.X_OK):
                _do("umount", str(path))


def _words(of: str) -> list[str]:
    match of:
        case "run-lab":
            return ["run-lab", str(_LAB), "--parent", world.PARENT]
        case "cleanup":
            return ["cleanup", "--all"]
        case _:
            return ["down", yaml.safe_load(_LAB.read_text())["name"]]


class _Pipe:
    """A pipe that holds all that an ipvkit says, unlike a file whatever the bounds of files are."""

    def __init__(self) -> None:
        self.exit, self.entrance = os.pipe()
        fcntl.fcntl(self.entrance, fcntl.F_SETPIPE_SZ, _PIPE_SIZE)
        os.set_blocking(self.exit, False)

    def text(self) -> str:
        """Return what was said, and close it."""
        said = b""
        with suppress(BlockingIOError):
            said = os.read(self.exit, _PIPE_SIZE)
        os.close(self.exit)
        os.close(self.entrance)
        return said.decode(errors="replace")


def _be_ipvkit(case: Case, words: Sequence[str], output: int, errors: int) -> NoReturn:
    """End this process, a fork, as an ipvkit that was started with `words`."""
    code = 99
    try:
        for number, file in enumerate((os.open(os.devnull, os.O_RDONLY), output, errors)):
            os.dup2(file, number)
        # The former ones may remember where they were in a file.
        sys.stdout, sys.stderr = (os.fdopen(number, "w", closefd=False) for number in (1, 2))
        # They may be ignored in what started all this.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        told = {"fault": case.fault, "step": str(case.step), "ipvkit": str(os.getpid())}
        (_HERE / "case").write_text("".join(f"{key}={shlex.quote(value)}\n" for key, value in told.items()))
        if case.fault in SLOW:
            for module in (engine, execution):
                vars(module)["BOUND_S"] = HANG_TIMEOUT_S
        del os.environ["FAULTS_INNER"]
        code = main(words)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _wrap_programs() -> list[Path]:
    """Put the wrapper in the place of each program, and return the places."""
    _REAL.mkdir(parents=True)
    wrapper = _HERE / "wrapper"
    wrapper.write_text(_WRAPPER)
    wrapper.chmod(0o755)
    _GONE.touch(0o644)
    wrapped = []
    for name in _PROGRAMS:
        found = shutil.which(name)
        assert found, f"{name} is not installed"
        shutil.copy(found, _REAL / name)
        wrapped.append(Path(found).resolve())
        _do("mount", "--bind", str(wrapper), str(wrapped[-1]))
    return wrapped


def _fill() -> None:
    """Take all that is left of the disk with the state."""
    with suppress(OSError), (world.STATE / "filler").open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass


def _do(*words: str) -> None:
    subprocess.run(words, check=True)


def _wait(look: Callable[[dict[int, int]], T | None], bound_s: float) -> T | None:
    """Return what `look` returns, once that is not None; it is given the exit codes of what has ended."""
    ended: dict[int, int] = {}
    deadline = time.monotonic() + bound_s
    while True:
        with suppress(ChildProcessError):
            # What lost its parent is this process's to take leave of.
            while (found := os.waitpid(-1, os.WNOHANG))[0] != 0:
                ended[found[0]] = os.waitstatus_to_exitcode(found[1])
        result = look(ended)
        if result is not None or time.monotonic() > deadline:
            return result
        time.sleep(0.005)


def _processes() -> set[str]:
    return {f"process {pid}: {words}" for pid, words in world.processes().items()}


def _journals() -> list[Path]:
    return list(world.STATE.rglob("*.jsonl"))


def _serve(*, ipvlan: bool) -> None:
    """Run the cases that are read from stdin, a line of JSON each, and write their outcomes so."""
    machine = Machine(ipvlan=ipvlan)
    for line in sys.stdin:
        print(json.dumps(asdict(machine.run(Case(**json.loads(line))))), flush=True)


def _by_hand() -> int:
    """Run one case, or those of --cases; print the outcomes, and return 1 if a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--serve", action="store_true", help="what `start` runs")
    parser.add_argument("--ipvlan", action="store_true", help="leave the labs as they are")
    parser.add_argument("--cases", type=Path, help="a file with a case on each line, as JSON")
    parser.add_argument("--lab", default="walkthrough")
    parser.add_argument("--of", default="run-lab", choices=OF)
    parser.add_argument("--fault", default="", choices=("", *FAULTS, KILLED_AT))
    parser.add_argument("--step", type=int, default=0)
    parser.add_argument("--at", type=float, default=0.0)
    given = parser.parse_args()
    if given.serve:
        _serve(ipvlan=given.ipvlan)
        return 0
    cases = [Case(given.lab, given.fault, given.step, given.at, given.of)]
    if given.cases:
        cases = [Case(**json.loads(line)) for line in given.cases.read_text().splitlines()]
    broken = 0
    with start(ipvlan=given.ipvlan) as faults:
        for case in cases:
            outcome = faults.run(case)
            print(json.dumps(asdict(outcome)), flush=True)
            broken += bool(outcome.problems)
    return min(broken, 1)


if __name__ == "__main__":
    sys.exit(_by_hand())
