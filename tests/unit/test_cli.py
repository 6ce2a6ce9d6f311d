"""The command line: exit codes, one clear line for each mistake, and nothing executed in a dry run."""

import io
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cases import one_by_default
from command_line import Called, assert_mistake
from ipvkit import __version__, cli
from ipvkit.cli import main, overview
from ipvkit.core.command import Completed
from ipvkit.core.interrupts import ENDING
from ipvkit.export.preview import preview
from ipvkit.export.script import exported
from ipvkit.lab import Setting, gallery
from ipvkit.lab.format import load
from ipvkit.lab.new import new_lab
from ipvkit.plan.make import make_plan
from ipvkit.plan.steps import Step
from ipvkit.report.progress import Progress
from ipvkit.run.batches import Job
from ipvkit.run.rollback import Began, Finished, Stopping
from recorder import Recorder


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Callable[..., Called]:
    def call(*words: str) -> Called:
        code = main(words)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def process(*words: str, stdout: Any = subprocess.PIPE, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run ipvkit in a process of its own."""
    environment = {**os.environ, **variables}
    argv = [sys.executable, "-m", "ipvkit", *words]
    return subprocess.run(
        argv, stdout=stdout, stderr=subprocess.PIPE, text=True, env=environment, timeout=60, check=False
    )


# --- mistakes --------------------------------------------------------------------------------------------

MISTAKES = {
    "no such lab": (["run-lab", "nosuch"], "there is no lab called 'nosuch'", "walkthrough"),
    "no such file": (["run-lab", "./nosuch.yaml"], "'./nosuch.yaml' cannot be read: No such file", ""),
    "a folder": (["run-lab", "/dev/"], "no file of a known format is in '/dev/'", ""),
    "a bad address": (
        ["run-lab", "--dry-run", "--parent", "eth0", "--gateway", "192.0.2.256"],
        "invalid address '192.0.2.256'",
        "192.0.2.1 or 2001:db8::1",
    ),
    "a bad endpoint": (
        ["export-script", "--parent", "eth0", "--endpoint", "test1=192.0.2.1"],
        "'192.0.2.1' has no prefix length",
        "192.0.2.1/24",
    ),
    "an endpoint with no address": (
        ["export-script", "--parent", "eth0", "--endpoint", "test1"],
        "'test1' is not NAME=ADDRESS/LEN",
        "test1=",
    ),
    "an endpoint that is not there": (
        ["export-script", "--parent", "eth0", "--endpoint", "test9=192.0.2.1/24"],
        "unknown endpoint of lab walkthrough: 'test9'",
        "test1, test2",
    ),
    "an option for a name": (["export-script", "--parent", "-x"], "invalid interface name '-x'", ""),
    "a command for a name": (["export-script", "--parent", "a;b"], "invalid interface name 'a;b'", ""),
    "a path for a name": (["run-lab", "--dry-run", "--parent", "a/b"], "invalid interface name 'a/b'", ""),
    "an unknown option": (["run-lab", "--no-such"], "No such option: --no-such", "--help"),
    "an unknown command": (["no-such"], "unknown command 'no-such'", "--help"),
    "an unknown target": (["run-lab", "--target", "moon"], "moon", "--help"),
    "a timeout in words": (["run-lab", "--timeout", "soon"], "'--timeout'", "--help"),
    "an option without its value": (["run-lab", "--parent"], "--parent", "--help"),
    "too many labs": (["run-lab", "walkthrough", "another"], "another", "--help"),
    "--keep without local": (["run-lab", "--keep"], "--keep needs --target local", ""),
    "--keep with uml": (["run-lab", "--keep", "--target", "uml"], "--keep needs --target local", ""),
    "local without a parent": (["run-lab", "--target", "local"], "needs a network interface", "--parent"),
    "a parent with uml": (["run-lab", "--target", "uml", "--parent", "x"], "does not go with --target", ""),
    "no such parent": (["run-lab", "--parent", "nosuch0"], "no such interface: nosuch0", "choose from "),
    "a gateway without a parent": (["run-lab", "--gateway", "192.0.2.1"], "need --parent", "--parent eth0"),
    "a lab and a new one": (["run-lab", "l2", "--endpoints", "9"], "'l2' cannot be given", "one of the two"),
    "a subnet and no new lab": (["run-lab", "--subnet", "10.0.0.0/8"], "need --endpoints", "--endpoints N"),
    "a mode and no new lab": (["export-script", "l2", "--mode", "l3"], "need --endpoints", "--endpoints N"),
    "no subnet": (["run-lab", "--endpoints", "9", "--subnet", "ten"], "invalid address 'ten'", ""),
    "an IPv6 subnet": (["run-lab", "--endpoints", "9", "--subnet", "fd00::/64"], "not an IPv4 subnet", ""),
    "a small subnet": (["run-lab", "--endpoints", "9", "--subnet", "10.0.0.0/29"], "room for 1 ", "larger"),
    "checks of no kind": (["run-lab", "--endpoints", "9", "--checks", "some"], "'some'", "ring"),
    "too many endpoints": (["run-lab", "--endpoints", "5001"], "not in the range 1<=x<=5000", ""),
    "fping in a script": (["export-script", "--prober", "fping"], "pings with ping only", "omit --prober"),
    "no ping at once": (["run-lab", "--parallel", "0"], "not in the range 1<=x<=10000", ""),
    "--output into no folder": (["run-lab", "--output", "/no/such/file"], "cannot be written", "folder"),
    "--output onto a folder": (["run-lab", "--output", "/tmp"], "cannot be written to '/tmp'", ""),
}  # fmt: skip


@pytest.mark.parametrize(("words", "says", "hint"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_clear_line_and_exit_code_2(
    call: Callable[..., Called], words: list[str], says: str, hint: str
) -> None:
    assert_mistake(call, words, says, hint, 1 if words[0] == "run-lab" else 0)


TO_TYPE = {
    "validate my.yaml": "labs check my.yaml",
    "labs validate my.yaml": "labs check my.yaml",
    "graph": "labs graph",
    "exec 'a b'": "shell 'a b'",
    "up l2 --keep": "run-lab l2 --keep",
    "deploy l2": "run-lab l2",
    "run": "run-lab",
    "destroy l2": "down l2",
    "rnu-lab l2": "run-lab l2",
    "labs lst": "labs list",
    "addr show dev x": "addr list dev x",
    "netns delete x": "netns del x",
    "nonsense": "--help lists the commands",
    "labs nonsense": "labs --help lists the commands",
    "explain private test1 test2": "explain test1 test2 private",
    "explain ./my.yaml test1 test2": "explain test1 test2 ./my.yaml",
    "run-lab l2 target uml": "run-lab l2 --target uml",
    "run-lab l2 walkthrough": "run-lab --help shows the options",
    "link add test1 eth0 mode l2": "link add test1 --link eth0 --mode l2",
    "link add test1 eth0 --mode l2": "link add test1 --link eth0 --mode l2",
    "--debug link add test1 --link eth0 mode l2 up": "link add test1 --link eth0 --mode l2 --up",
}


@pytest.mark.parametrize(("typed", "hint"), TO_TYPE.items(), ids=TO_TYPE)
def test_the_hint_of_a_mistake_has_the_words_that_were_typed(
    call: Callable[..., Called], typed: str, hint: str
) -> None:
    code, out, err = call(*shlex.split(typed))
    assert (code, out) == (2, "")
    assert err.splitlines()[-1] == f"hint: ipvkit {hint}"


def test_a_lab_file_with_a_mistake_is_named_with_its_line(
    call: Callable[..., Called], tmp_path: Path
) -> None:
    file = tmp_path / "my.yaml"
    file.write_text(gallery.text("walkthrough").replace("mode: l3", "mode: l9"))
    code, out, err = call("run-lab", "--dry-run", str(file))
    assert (code, out) == (2, "")
    line = next(n for n, text in enumerate(file.read_text().splitlines(), 1) if "l9" in text)
    assert err.startswith(f"error: {file}:{line}: mode: unknown value 'l9'\n")


def test_on_a_terminal_a_long_line_breaks_between_words(
    call: Callable[..., Called], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, _, whole = call("run-lab", "nosuch")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    _, _, broken = call("run-lab", "nosuch")
    assert max(map(len, whole.splitlines())) > 80
    assert max(map(len, broken.splitlines())) <= 80
    assert broken.split() == whole.split()


COMMANDS = re.compile(r" +(ip|sysctl|arping|ipvkit) ")


@pytest.mark.parametrize(
    "command",
    [
        "explain neighbour test1 --phase l3",
        "explain web db two-hosts-l3-routed",
        "review two-hosts-l2",
        "review l3-silent --against l2",
        "labs list",
        "labs check l3-silent",
    ],
)
def test_on_a_terminal_sentences_and_tables_fit_and_commands_stand_whole(
    call: Callable[..., Called], monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    _, whole, _ = call(*command.split())
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    _, fitting, _ = call(*command.split())
    assert max(map(len, whole.splitlines())) > 80
    commands = [line for line in whole.splitlines() if COMMANDS.match(line)]
    lines = fitting.splitlines()
    assert [line for line in lines if COMMANDS.match(line)] == commands
    assert max(len(line) for line in lines if line not in commands) <= 80
    assert sorted(re.findall(r"[^\s-]+", fitting)) == sorted(re.findall(r"[^\s-]+", whole))


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"\x7fELF\x02\x01", b"", b"[" * 600])
def test_a_file_that_is_no_lab_is_refused(
    call: Callable[..., Called], tmp_path: Path, content: bytes
) -> None:
    file = tmp_path / "my.yaml"
    file.write_bytes(content)
    code, out, err = call("export-script", str(file))
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert "my.yaml" in err


def test_a_name_from_the_command_line_that_is_not_utf8_is_named() -> None:
    done = process("run-lab", os.fsdecode(b"./\xff.yaml"))
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr


def test_debug_shows_where_an_error_came_from(call: Callable[..., Called]) -> None:
    code, _, err = call("--debug", "run-lab", "nosuch")
    assert code == 2
    assert "Traceback" in err
    assert "error: there is no lab called 'nosuch'" in err


def test_a_bug_of_ipvkit_is_one_line_and_exit_code_4(
    call: Callable[..., Called], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gallery, "names", lambda: 1 / 0)
    code, out, err = call("run-lab", "--dry-run")
    assert (code, out) == (4, "")
    assert err.splitlines()[0] == "error: ipvkit itself failed (ZeroDivisionError: division by zero)"
    assert "Traceback" not in err


# --- dry runs and scripts -----------------------------------------------------------------------------------


ONLY_SHOWS = (
    ("run-lab", "--dry-run"),
    ("run-lab", "--dry-run", "--parent", "eth0"),
    ("run-lab", "--dry-run", "--target", "uml"),
    ("run-lab", "--dry-run", "--target", "sandbox"),
    ("export-script",),
    ("export-script", "--parent", "eth0"),
    ("measure-arp", "--dry-run"),
)
SHOWS_NO_LAB = (
    ("announce", "192.0.2.1", "--parent", "eth0", "--dry-run"),
    ("announce", "192.0.2.1", "--parent", "eth0", "--unit"),
)


REFUSED = ("subprocess.", "os.exec", "os.posix_spawn", "os.fork", "os.system", "pty.", "socket.")


@pytest.mark.long
def test_what_only_shows_executes_nothing_at_all(tmp_path: Path) -> None:
    """Nothing is on PATH but fakes, each of which would write down that it was started."""
    recorder = Recorder(tmp_path)
    for name in ("bash", "unshare", "mount", "modprobe", "linux", "linux.uml", "setpriv", "timeout", "uname"):
        (recorder.bin / name).symlink_to(recorder.bin / "ip")
    watched = f"""\
import sys
def refuse(event, arguments):
    if event.startswith({REFUSED!r}):
        raise AssertionError(event)
sys.addaudithook(refuse)
from ipvkit.cli import main
for words in {ONLY_SHOWS + SHOWS_NO_LAB!r}:
    code = main(words)
    print("exit code", code)
"""
    argv = [sys.executable, "-c", watched]
    environment = {**os.environ, "PATH": str(recorder.bin)}
    done = subprocess.run(argv, capture_output=True, text=True, env=environment, timeout=60, check=False)
    # Where the clone is in a closed home, that is said of the unit.
    said = [line for line in done.stderr.splitlines() if not line.startswith("note: the unit cannot enter ")]
    assert (done.returncode, said) == (0, [])
    assert done.stdout.count("exit code 0\n") == len(ONLY_SHOWS + SHOWS_NO_LAB)
    assert len(re.findall(r"^ip netns add test1\b", done.stdout, re.MULTILINE)) == len(ONLY_SHOWS)
    assert recorder.log() == []


def test_a_dry_run_prints_the_preview(call: Callable[..., Called]) -> None:
    plan = make_plan(load(gallery.text("walkthrough"), "walkthrough.yaml"))
    assert call("run-lab", "--dry-run") == (0, preview(plan), "")
    assert call("run-lab", "walkthrough", "--dry-run") == (0, preview(plan), "")


def test_export_script_prints_the_script(call: Callable[..., Called]) -> None:
    plan = make_plan(load(gallery.text("walkthrough"), "walkthrough.yaml"))
    assert call("export-script") == (0, exported(plan), "")


def test_a_lab_file_of_ones_own_is_taken_by_its_path(call: Callable[..., Called], tmp_path: Path) -> None:
    file = tmp_path / "my.yaml"
    file.write_text(gallery.text("walkthrough").replace("name: walkthrough", "name: mine"))
    code, out, _ = call("run-lab", "--dry-run", str(file))
    assert code == 0
    assert out.startswith("# lab mine: ")


def test_at_once_is_the_older_name_of_parallel(call: Callable[..., Called]) -> None:
    printed = [
        call("export-script", "--endpoints", "9", option, "2") for option in ("--parallel", "--at-once")
    ]
    assert printed[0] == printed[1] != call("export-script", "--endpoints", "9", "--parallel", "3")


def test_options_for_a_real_network_get_into_the_commands(call: Callable[..., Called]) -> None:
    options = ["--parent", "lan0", "--endpoint", "test1=10.1.2.3/16", "--gateway", "10.1.0.1"]
    for words in (["run-lab", "--dry-run"], ["export-script"]):
        code, out, err = call(*words, *options)
        assert (code, err) == (0, "")
        assert "ip link add test1 link lan0 type ipvlan mode l2" in out
        assert "ip netns exec test1 ip addr add 10.1.2.3/16 dev test1" in out
        assert "10.1.0.1" in out


# --- help ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"]])
def test_help_is_the_overview(call: Callable[..., Called], words: list[str]) -> None:
    assert call(*words) == (0, overview(), "")


def test_the_version_is_told(call: Callable[..., Called]) -> None:
    assert call("--version") == (0, f"ipvkit {__version__}\n", "")


@pytest.mark.parametrize("command", cli.SUMMARIES)
def test_each_command_has_help_with_its_summary_and_its_exit_codes(
    call: Callable[..., Called], command: str
) -> None:
    code, out, err = call(command, "--help")
    assert (code, err) == (0, "")
    assert cli.SUMMARIES[command] in " ".join(out.split())
    assert "xit code" in out


@pytest.mark.long
@pytest.mark.parametrize(
    "words",
    [["--help"], ["--version"], ["export-script"], ["run-lab", "--help"]],
    ids=" ".join,
)
def test_a_reader_that_has_gone_is_no_error(words: list[str]) -> None:
    """As in ``| head -1``: the pipe has no reader left, whatever is still to be written."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = process(*words, stdout=writing)
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_first_line_of_a_script_can_be_taken() -> None:
    line = 'set -o pipefail; "$0" -m ipvkit export-script | head -1'
    argv = ["bash", "-c", line, sys.executable]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "#!/usr/bin/env bash\n", "")


# --- progress -----------------------------------------------------------------------------------------


def job_of(step: Step) -> Job:
    return Job(step.id, step.purpose, step.command, (step,))


class Gone(io.StringIO):
    def write(self, _: str) -> int:
        raise BrokenPipeError


def test_progress_is_a_line_a_step_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    plan = make_plan(load(gallery.text("walkthrough"), "walkthrough.yaml"))
    steps = list(plan.steps)
    with Progress(plan, verbose=False) as progress:
        for job in map(job_of, steps):
            progress(Began(job))
            progress(Finished(job, Completed(0, "", "", 0.1)))
        progress(Stopping("SIGINT"))
        progress(Began(job_of(plan.undos[0]), undoing=True))
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == ""
    assert "\x1b" not in err
    assert len(lines) == len(steps) + 2
    assert all(step.purpose in line for step, line in zip(steps, lines, strict=False))
    assert f"{len(steps)}/{len(steps)}" in lines[len(steps) - 1]
    assert "SIGINT" in lines[-2]
    assert "undo" in lines[-1]


def test_of_many_checks_it_is_told_how_fast_they_are_done(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = make_plan(new_lab("many", Setting("l2"), 8, checks="all"))
    now_s = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now_s)
    with Progress(plan, verbose=False) as progress:
        for job in map(job_of, plan.steps):
            progress(Began(job))
            now_s += 0.25 * len(job.probes)
            progress(Finished(job, Completed(0, "", "", 0.1)))
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if "checks" in line] == [
        *(f"{done} of 56 checks, 4.0/s, {(56 - done) / 4:.0f} s left" for done in range(4, 56, 4)),
        "56 of 56 checks, 4.0/s",
    ]
    assert not any("ping test" in line for line in lines)


def test_verbose_shows_each_command_as_it_is_typed(capsys: pytest.CaptureFixture[str]) -> None:
    plan = make_plan(load(gallery.text("walkthrough"), "walkthrough.yaml"))
    with Progress(plan, verbose=True) as progress:
        for step in plan.steps:
            progress(Began(job_of(step)))
    assert capsys.readouterr().err == "".join(f"+ {step.command}\n" for step in plan.steps)


def test_a_stderr_that_has_gone_ends_the_showing_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = make_plan(load(gallery.text("walkthrough"), "walkthrough.yaml"))
    with Progress(plan, verbose=True) as progress:
        monkeypatch.setattr(sys, "stderr", Gone())
        for step in plan.steps:
            progress(Began(job_of(step)))


BEGINS = """\
import os, signal, sys
from ipvkit.cli import main
class Sender:
    def find_spec(self, name, *_):
        if name == sys.argv[1]:
            os.kill(os.getpid(), getattr(signal, sys.argv[2]))
sys.meta_path.insert(0, Sender())
sys.exit(main(["labs", "list"]))
"""


@pytest.mark.long
@pytest.mark.parametrize("number", ENDING)
@pytest.mark.parametrize("module", ["ipvkit.cli.commands", "ipvkit.cli.labs"])
def test_a_signal_while_ipvkit_loads_ends_it_as_ever(module: str, number: signal.Signals) -> None:
    words = [sys.executable, "-c", BEGINS, module, number.name]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr.splitlines()[0].startswith("error: interrupted")
    assert "Traceback" not in done.stderr


@pytest.mark.long
@pytest.mark.parametrize(
    "line",
    one_by_default(
        "netns list", "matrix --predict --mode l2", "run-lab l2 --dry-run", "ping 127.0.0.1 --count 1"
    ),
)
def test_closed_streams_change_no_exit_code(line: str) -> None:
    """A pipe to a command must not get the number of a closed one."""
    codes = []
    for closed in ("", ">&-", "2>&-", "<&-", "<&- >&- 2>&-"):
        words = ["bash", "-c", f'"$0" -m ipvkit {line} {closed}', sys.executable]
        codes.append(subprocess.run(words, capture_output=True, check=False).returncode)
    assert codes[0] in (0, 3)
    assert set(codes) == {codes[0]}
