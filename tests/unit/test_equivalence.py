"""The exported script, the payload and the engine do the same: the same commands in the same stages,
the same undo in the same order, the same verdict, whatever fails.

Fake programs write down what is started. What is compared is the plan's steps and undos; left out is
how each looks around: the script makes its namespace ready and asks the kernel for ipvlan, at its
beginning, and looks whether something is there; the engine and the payload look at the machine before the
first step and after the last undo, all at once, and the engine before the first undo too.
"""

import json
import os
import re
import shutil
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from ipaddress import IPv4Address
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from ipvkit.export import LOST_AFTER, NO_ROUTE, exported
from ipvkit.lab import Act, Attempt, Check, Lab, Outcome, gallery, on_parent
from ipvkit.lab.format import load
from ipvkit.plan.make import make_plan
from ipvkit.plan.resources import Link, Netns, Proxy, Resource, Route, Sysctl
from ipvkit.plan.steps import Plan, Probe, Step, Undo
from ipvkit.run import engine
from ipvkit.run.execution import ROW_FROM
from ipvkit.run.leftovers import together, views_of
from ipvkit.run.verdicts import Result, judge
from ipvkit.targets import Inbox, Output, PayloadTarget
from ipvkit.targets.local import Local
from ipvkit.tools import ip
from ping_output import lost_at_the_end, ping_reports, printed
from recorder import (
    PROBE_FOR_IPVLAN,
    READ,
    Answer,
    Mark,
    Recorder,
    answered,
    unanswered,
    watched_to_its_end,
)
from strategies import labs, labs_on_a_parent

GATEWAY = IPv4Address("192.168.104.254")

SLEEP = shutil.which("sleep")

AS_ROOT = () if os.geteuid() == 0 else ("unshare", "--user", "--map-root-user")


@cache
def can_unshare() -> bool:
    words = [*(AS_ROOT or ["unshare"]), "--net", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/run"]
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


needs_namespaces = pytest.mark.skipif(not can_unshare(), reason="this machine gives no namespaces")


@pytest.fixture(scope="module")
def recorder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorder]:
    recorder = Recorder(tmp_path_factory.mktemp("recorder"))
    # What waits in a lab takes no time here; hooks use the real one.
    (recorder.bin / "sleep").symlink_to(recorder.bin / "ip")
    with patch.dict(os.environ, PATH=recorder.path):
        yield recorder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("work")


# --- what is told, and what came of it -----------------------------------------------------------------


@dataclass(frozen=True, repr=False)
class Case:
    """A plan, what its commands answer, and the one that fails, if any."""

    plan: Plan
    answers: dict[str, Answer]
    fails: str = ""
    hook: str = ""

    def __repr__(self) -> str:
        """Return what the case was made from; a whole plan is too long to read."""
        return f"Case({self.plan.lab!r}, {self.answers!r}, {self.fails!r})"

    def run_of(self, step: Step) -> tuple[list[str], list[Step], bool]:
        """Return which lines of `step` are run, which parts do their work, and whether all goes well."""
        lines: list[str] = []
        done: list[Step] = []
        for line, part in typed(step).items():
            code = self.answers.get(line, Answer()).exit_code
            lines.append(line)
            if code not in part.command.ok:
                return lines, done, False
            done += [part] if code == 0 else []
        return lines, done, True


Reader = Callable[[Case, Recorder, Path], "Came"]
"""A way in which a plan is carried out."""


@dataclass(frozen=True)
class Came:
    """What came of a case: the commands of each stage, the undo in order, the checks, the exit code."""

    stages: list[Counter[str]]
    undo: list[str]
    checks: list[str]
    exit_code: int


def probes(plan: Plan) -> Iterator[tuple[str, Step]]:
    return ((str(step.command), step) for step in plan.steps if step.probe is not None)


def typed(step: Step) -> dict[str, Step]:
    """Return what fakes write down of `step`, a line for each part of it."""
    if not step.parts:
        return {str(step.command): step}
    *place, _, _ = step.command.argv
    return {
        f"{' '.join(place)} {text}": part for text, part in zip(step.command.stdin, step.parts, strict=True)
    }


def undo_lines(plan: Plan) -> list[str]:
    """Return the lines of every undo that the plan has, settled or not."""
    return [line_of(step.undo) for step in plan.parts if step.undo is not None]


def line_of(undo: Undo) -> str:
    """Return what takes a step back on these fakes."""
    return str(undo.completed(READ if undo.reads else ""))


def looks_of(plan: Plan, *, in_a_payload: bool) -> list[str]:
    """Return what fakes write down when the machine is looked at; in a payload one process of ip does it."""
    views = views_of(plan)
    if not in_a_payload:
        return [str(view) for view in views.values()]
    shown, *others = together(views).values()
    return [*(f"{' '.join(shown.argv[:-2])} {text}" for text in shown.stdin), *map(str, others)]


@st.composite
def cases(draw: st.DrawFn, lab: Lab) -> Case:
    plan = make_plan(lab)
    answers = {line: draw(_answers(step)) for line, step in probes(plan)}
    looks = {look for by in (True, False) for look in looks_of(plan, in_a_payload=by)}
    # What the engine looks at for itself would fail there too, before the first step.
    lines = sorted({*(line for step in plan.steps for line in typed(step)), *undo_lines(plan)} - looks)
    fails = draw(st.just("") | st.sampled_from(lines))
    if fails:
        was = answers.get(fails, Answer())
        # Bash takes 129 to 192 for a death by a signal, of which it is not known what was done.
        code = draw(st.sampled_from((1, 2, 3, 126, 127, 255)))
        answers[fails] = Answer(was.stdout, "RTNETLINK answers: as told\n", code)
    return Case(plan, answers, fails)


def _answers(step: Step) -> st.SearchStrategy[Answer]:
    """Return what a ping may see, or a kernel say; what was predicted as often as anything else."""
    assert step.probe is not None
    outcomes = _by_outcome(step)
    predicted = outcomes.get(step.probe.expected, outcomes.get(Outcome.UNREACHABLE, Answer()))
    no_route = [] if isinstance(step.probe.check, Attempt) else [NO_ROUTE_ANSWER]
    return st.just(predicted) | st.sampled_from([*outcomes.values(), *no_route])


NO_ROUTE_ANSWER = Answer(stderr=f"ping: connect: {NO_ROUTE}", exit_code=2)


def _by_outcome(step: Step) -> dict[Outcome, Answer]:
    """Return what the command of a probe answers for each outcome that it can have."""
    assert step.probe is not None
    if isinstance(step.probe.check, Attempt):
        refused = Answer(stderr="RTNETLINK answers: Device or resource busy", exit_code=step.command.ok[-1])
        return {Outcome.ACCEPTED: Answer(), Outcome.REFUSED: refused}
    address = str(step.probe.address)
    outcomes = {
        Outcome.REACHABLE: Answer(answered(address)),
        Outcome.UNREACHABLE: Answer(unanswered(address), exit_code=1),
    }
    if step.probe.check.watch is not None:
        outcomes[Outcome.EXPIRES] = Answer(watched_to_its_end(address))
    return outcomes


def as_predicted(plan: Plan) -> Case:
    answers = {}
    for line, step in probes(plan):
        assert step.probe is not None
        answers[line] = _by_outcome(step)[step.probe.expected]
    return Case(plan, answers)


# --- the three readers of a plan -------------------------------------------------------------------------


LOOKS = re.compile(r"ip (-n \S+ )?link show dev .*|ip neigh show proxy .*|ip route show .*")
"""How the script sees whether something is there."""


def run_script(case: Case, recorder: Recorder, folder: Path) -> tuple[list[Mark], str, int]:
    """Return the log of the plan's commands, what the script printed, and its exit code."""
    recorder.answer(case.answers, before_the_end=case.hook)
    file = folder / "lab.sh"
    file.write_text(recorder.within(exported(case.plan)))
    simulated = case.plan.lab.simulated
    words = [*(() if simulated else AS_ROOT), "bash", str(file)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    record = recorder.record(case.plan.lab.name)
    assert record.exists() == ("left behind" in done.stdout and not simulated)
    shutil.rmtree(record, ignore_errors=True)
    marks = [mark for mark in recorder.log() if not LOOKS.fullmatch(mark.line)]
    before = ["ip link set lo up"] if simulated else []
    before += [PROBE_FOR_IPVLAN] if case.plan.lab.has_ipvlan else []
    count = 2 * len(before)
    assert [mark.line for mark in marks[:count:2]] == before, done.stderr
    assert [mark.line for mark in marks[1:count:2]] == before, done.stderr
    return marks[count:], done.stdout, done.returncode


def run_engine(case: Case, recorder: Recorder, target: engine.Target) -> tuple[list[Mark], Result]:
    """Return the log of the plan's commands, and what the run came to."""
    recorder.answer({**shown_of_what_stays(case), **case.answers}, before_the_end=case.hook)
    result = judge(engine.run(case.plan, target, lambda _: None))
    marks = recorder.log()
    views = Counter(looks_of(case.plan, in_a_payload=isinstance(target, PayloadTarget)))
    count = 2 * views.total()
    for event in ("begin", "end"):
        assert Counter(mark.line for mark in marks[:count] if mark.event == event) == views
        assert views <= Counter(mark.line for mark in marks[count:] if mark.event == event)
    return marks[count:], result


def resources_of(plan: Plan) -> list[Resource]:
    undos = [step.undo for step in plan.parts if step.undo is not None]
    return [undo.effect for undo in undos if undo.effect is not None]


def shown_of_what_stays(case: Case) -> dict[str, Answer]:
    """Return what `ip` shows of that whose undo fails: it is still there."""
    if case.fails not in meant(case)[1]:
        return {}
    done = {part.id for step in case.plan.steps for part in case.run_of(step)[1]}
    parts = [(line, part) for step in case.plan.steps for line, part in typed(step).items()]
    undone = ((line, p.undo.effect) for line, p in parts if p.undo is not None and p.id in done)
    made = ((by, effect) for by, effect in undone if effect is not None)
    by, effect = next(((by, effect) for by, effect in made if str(effect.undo) == case.fails), ("", None))
    if effect is None or isinstance(effect, Sysctl):
        return {}
    shown: dict[str, object]
    around: dict[str, Answer] = {}
    view = list(effect.views.values())[-1]
    match effect:
        case Netns(name):
            view, shown = ip.netns_list(), {"name": name}
        case Link(name, kind, netns):
            shown = {"ifname": name, "addr_info": [], "linkinfo": {"info_kind": kind}}
            there = Answer(json.dumps([{"name": netns}]), after=by)
            around = {str(ip.netns_list()): there} if netns else {}
        case Proxy(address, dev):
            shown = {"dst": str(address), "dev": dev, "proxy": None}
        case Route(dst, dev):
            shown = {"dst": str(dst), "dev": dev, "flags": []}
    return {**around, str(view): Answer(json.dumps([shown]), after=by)}


def by_script(case: Case, recorder: Recorder, folder: Path) -> Came:
    marks, stdout, exit_code = run_script(case, recorder, folder)
    told = [line for line in stdout.splitlines() if line.startswith(("pass  ", "FAIL  "))]
    checks = sorted(line.partition(" (")[0].partition("; it lived")[0] for line in told)
    stages, undo = in_order(marks, case)
    # So it looks whether a command that was killed had set a sysctl.
    undo = [line for line in undo if not line.startswith("sysctl -n ")]
    return Came(stages, undo, checks, exit_code)


def by_engine(case: Case, recorder: Recorder, _: Path) -> Came:
    return came(*run_engine(case, recorder, Local()), case)


def by_payload(case: Case, recorder: Recorder, folder: Path) -> Came:
    return came(*run_engine(case, recorder, Bash(folder)), case)


def came(marks: list[Mark], result: Result, case: Case) -> Came:
    checks = [
        f"{'pass' if verdict.passed else 'FAIL'}  {asked(verdict.probe)}: "
        f"predicted {verdict.probe.expected}, observed {verdict.observed}"
        for verdict in result.checks
        if verdict.observed is not None
    ]
    return Came(*in_order(marks, case), sorted(checks), result.exit_code)


def asked(probe: Probe) -> str:
    return str(probe.check) if probe.address is None else f"{probe.check} {probe.address}"


class Bash:
    """A target that runs a payload with this machine's bash, as `sandbox` and `uml` do with theirs."""

    kind = "bash"

    def __init__(self, folder: Path) -> None:
        self.work = str(folder)

    def start(self, payload: str, _: float, inbox: Inbox, __: Plan | None = None) -> "RunningBash":
        file = Path(self.work) / "payload.sh"
        file.write_text(payload)
        words = ["bash", str(file)]
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
        running = RunningBash(process)
        threading.Thread(target=running.read, args=(inbox,), daemon=True).start()
        return running


class RunningBash:
    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def read(self, inbox: Inbox) -> None:
        assert self._process.stdout is not None
        while chunk := os.read(self._process.stdout.fileno(), 4096):
            inbox.put(Output(chunk))
        inbox.put(Output(None))

    def complaint(self) -> str:
        return ""

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


def in_order(marks: Sequence[Mark], case: Case) -> tuple[list[Counter[str]], list[str]]:
    """Return the stages and the undo that a log tells of; each stage has ended before the next began."""
    stages = []
    for lines in meant(case)[0]:
        part, marks = marks[: 2 * lines.total()], marks[2 * lines.total() :]
        for event in ("begin", "end"):
            assert Counter(mark.line for mark in part if mark.event == event) == lines
        stages.append(lines)
    marks = without_looks(marks, case.plan)
    begun, ended = marks[::2], marks[1::2]
    assert [(mark.event, mark.pid) for mark in begun] == [("begin", mark.pid) for mark in ended]
    assert {mark.event for mark in ended} <= {"end"}
    return stages, [mark.line for mark in begun]


def without_looks(marks: Sequence[Mark], plan: Plan) -> list[Mark]:
    """Return the marks without those of looks at what is to be undone, and at what is left."""
    looks = {str(view) for effect in resources_of(plan) for view in effect.views.values()}
    looks |= {look for by in (True, False) for look in looks_of(plan, in_a_payload=by)}
    return [mark for mark in marks if mark.line not in looks]


def meant(case: Case) -> tuple[list[Counter[str]], list[str]]:
    """Return the stages and the undo that the plan means, told from the plan alone.

    What takes away something that was not made is left out.
    """
    stages: list[Counter[str]] = []
    stack: list[Step] = []
    for whole in case.plan.stages:
        made = {step.id for step in stack}
        stage = [
            s
            for s in whole
            if s.undo is not None or not s.cancels_undo_of or not made.isdisjoint(s.cancels_undo_of)
        ]
        came = [case.run_of(step) for step in stage]
        stages.append(Counter(line for lines, _, _ in came for line in lines))
        settled = {
            id for step, (_, _, well) in zip(stage, came, strict=True) if well for id in step.cancels_undo_of
        }
        stack = [step for step in stack if step.id not in settled]
        stack += [part for _, done, _ in came for part in done if part.undo is not None]
        if not all(well for _, _, well in came):
            break
    return stages, [line_of(step.undo) for step in reversed(stack) if step.undo is not None]


ALL = (by_script, by_engine, by_payload)


def all_do_the_same(
    case: Case, recorder: Recorder, folder: Path, *, readers: Sequence[Reader] = (by_script, by_engine)
) -> Came:
    script, *others = (read(case, recorder, folder) for read in readers)
    for other in others:
        assert other == script
    assert (script.stages, script.undo) == meant(case)
    return script


# --- the properties -----------------------------------------------------------------------------------


def walkthrough() -> Lab:
    return load(gallery.text(gallery.WALKTHROUGH), "walkthrough.yaml")


def on_eth0() -> Lab:
    return on_parent(walkthrough(), "eth0", gateway=GATEWAY)


def only(phase: str) -> Lab:
    """Return the walkthrough on a real parent with this phase and no other."""
    lab = on_eth0()
    return replace(lab, phases=tuple(found for found in lab.phases if found.name == phase))


def few(times: int) -> settings:
    """Return settings for examples that take long; to shrink one would take minutes."""
    count = times * settings().max_examples // 30
    return settings(max_examples=max(1, count), phases=[Phase.explicit, Phase.generate])


@few(5)
@given(labs_on_a_parent(most_endpoints=4, most_phases=2).flatmap(cases))
def test_random_labs_on_a_real_parent(recorder: Recorder, folder: Path, case: Case) -> None:
    all_do_the_same(case, recorder, folder, readers=ALL)


@needs_namespaces
@few(3)
@given(labs(most_endpoints=2, most_phases=1).flatmap(cases))
def test_random_labs_on_a_simulated_lan(recorder: Recorder, folder: Path, case: Case) -> None:
    all_do_the_same(case, recorder, folder)


@needs_namespaces
@few(2)
@given(cases(walkthrough()))
def test_the_walkthrough_whatever_fails(recorder: Recorder, folder: Path, case: Case) -> None:
    all_do_the_same(case, recorder, folder)


def test_the_walkthrough_on_a_real_parent_passes_when_all_is_as_predicted(
    recorder: Recorder, folder: Path
) -> None:
    case = as_predicted(make_plan(on_eth0()))
    told = all_do_the_same(case, recorder, folder, readers=ALL)
    assert told.exit_code == 0
    assert all(line.startswith("pass") for line in told.checks)
    assert len(told.checks) == sum(1 for _ in probes(case.plan))


PING = "ip netns exec test1 ping -c 6 -i 0.2 -W 1 192.168.104.254"


@pytest.mark.parametrize(
    ("line", "code", "exit_code"),
    [
        ("ip link set test1 netns test1", 1, 4),
        (PING, 2, 4),
        (PING, 3, 4),
        (PING, 0, 1),
        ("ip netns del test1", 1, 4),
        ("sysctl -w net.ipv4.ip_nonlocal_bind=0", 255, 4),
    ],
    ids=[
        "a step",
        "a probe that cannot be sent",
        "a probe that fails",
        "a check",
        "an undo",
        "the first undo",
    ],
)
def test_the_exit_code_tells_what_went_wrong(
    recorder: Recorder, folder: Path, line: str, code: int, exit_code: int
) -> None:
    plan = make_plan(only("l3"))
    assert line in {*undo_lines(plan), *(str(step.command) for step in plan.steps)}
    case = as_predicted(plan)
    assert case.answers[PING] == Answer(unanswered(str(GATEWAY)), exit_code=1)
    # A ping that ends with 2 has sent nothing, and counted nothing.
    case.answers[line] = Answer(answered(str(GATEWAY)) if line == PING and code != 2 else "", "as told", code)
    told = all_do_the_same(replace(case, fails=line), recorder, folder)
    assert told.exit_code == exit_code


# --- what pings saw ------------------------------------------------------------------------------------


def watching(count: int) -> Plan:
    """Return a plan with `count` watched paths; each ping has a line of its own."""
    lab = on_eth0()
    checks = tuple(Check("test1", "gateway", watch, why=f"{watch}") for watch in range(1, count + 1))
    return make_plan(replace(lab, phases=(replace(lab.phases[0], acts=(Act(checks=checks),)),)))


def case_of(outputs: Sequence[str]) -> Case:
    plan = watching(len(outputs))
    lines = [line for line, _ in probes(plan)]
    return Case(plan, dict(zip(lines, map(Answer, outputs), strict=True)))


LOST_AT_THE_END = [printed(lost_at_the_end(GATEWAY, count)) for count in range(LOST_AFTER + 2)]


@few(1)
@given(st.lists(ping_reports(timestamps=True).map(printed), min_size=12, max_size=12))
def test_the_script_judges_whatever_pings_saw_as_the_report_does(
    recorder: Recorder, folder: Path, outputs: list[str]
) -> None:
    told = all_do_the_same(case_of([*outputs, *LOST_AT_THE_END]), recorder, folder)
    assert len(told.checks) == len(outputs) + len(LOST_AT_THE_END)


def test_an_error_that_ping_counts_and_does_not_show_is_judged_alike(
    recorder: Recorder, folder: Path
) -> None:
    """iputils counts a request that this machine could not send, and tells of it on stderr."""
    output = watched_to_its_end(str(GATEWAY))
    (error,) = (line for line in output.splitlines() if "Unreachable" in line)
    all_do_the_same(case_of([output.replace(f"{error}\n", "")]), recorder, folder)


def test_output_that_nobody_understands_is_an_error_alike(recorder: Recorder, folder: Path) -> None:
    case = as_predicted(make_plan(only("l3")))
    line, _ = next(probes(case.plan))
    case.answers[line] = Answer("PING 192.168.104.212 (192.168.104.212): 56 data bytes\n")
    script, _, exit_code = run_script(case, recorder, folder)
    told, result = run_engine(case, recorder, Local())
    assert exit_code == result.exit_code == 4
    script, told = (without_looks(marks, case.plan) for marks in (script, told))
    assert Counter(mark.line for mark in script) == Counter(mark.line for mark in told)


# --- side by side ----------------------------------------------------------------------------------------


def without_checks() -> Plan:
    """Return a plan that makes test1 and test2 side by side, and nothing else."""
    lab = only("l2")
    return make_plan(replace(lab, phases=(replace(lab.phases[0], acts=()),)))


# `ip netns add test1` ends after test2's, which ends after test1's has begun; each waits for 5 s at most.
CROSSED = rf"""
waits_for() {{
  tries=0
  until grep -q "^$1 [0-9]* $2\$" "$log"; do
    [ $tries -lt 500 ] || exit 9
    tries=$((tries + 1))
    {SLEEP} 0.01
  done
}}
case $line in
"ip netns add test1") waits_for end "ip netns add test2" ;;
"ip netns add test2") waits_for begin "ip netns add test1" ;;
esac
"""


@pytest.mark.parametrize("read", ALL)
def test_the_steps_of_a_stage_overlap_and_the_undo_is_in_the_plans_order_whichever_ended_first(
    recorder: Recorder, folder: Path, read: Reader
) -> None:
    case = Case(without_checks(), {}, hook=CROSSED)
    told = read(case, recorder, folder)
    assert told.exit_code == 0
    assert told.undo == meant(case)[1]


# --- interrupted -----------------------------------------------------------------------------------------

# The signal goes to the script, whose command is a child of timeout, or to this process, which is the engine.
WHO = f"""
who={os.getpid()}
read -r comm <"/proc/$PPID/comm"
[ "$comm" != timeout ] || read -r _ _ _ who _ <"/proc/$PPID/stat"
"""
WHILE_IT_IS_MADE = rf"""
case $line in "ip netns add "*) : >"$netns/$4" ;; esac
[ "$line" != "ip netns add test1" ] || {{ {WHO} kill -INT $who; {SLEEP} 0.2; }}
"""
# The other four have ended, and who is told waits for this one; for 5 s at most.
WHILE_IT_IS_PINGED = rf"""
case $line in *"test1 ping"*.212)
{WHO}
  tries=0
  until [ "$(grep -c '^end .* ping ' "$log")" = 4 ] && grep -q '^State:.S' "/proc/$who/status"; do
    [ $tries -lt 500 ] || exit 9
    tries=$((tries + 1))
    {SLEEP} 0.01
  done
  kill -INT $who
  exec {SLEEP} 60 ;;
esac
"""


def interrupted(read: str, hook: str, recorder: Recorder, folder: Path) -> tuple[list[Mark], int]:
    case = replace(as_predicted(make_plan(only("l2"))), hook=hook)
    if read == "script":
        marks, _, exit_code = run_script(case, recorder, folder)
        return marks, exit_code
    told, result = run_engine(case, recorder, Local())
    return told, result.exit_code


BOTH = pytest.mark.parametrize("read", ["script", "engine"])


@BOTH
def test_an_interrupt_lets_what_has_to_be_undone_end_and_undoes_it(
    recorder: Recorder, folder: Path, read: str
) -> None:
    marks, exit_code = interrupted(read, WHILE_IT_IS_MADE, recorder, folder)
    lines = [mark.line for mark in without_looks(marks, without_checks()) if mark.event == "end"]
    assert exit_code == 130
    assert sorted(lines[:2]) == ["ip netns add test1", "ip netns add test2"]
    assert lines[2:] == ["ip netns del test2", "ip netns del test1"]


@BOTH
def test_an_interrupt_stops_pings_and_undoes_all_that_was_done(
    recorder: Recorder, folder: Path, read: str
) -> None:
    started = time.monotonic()
    marks, exit_code = interrupted(read, WHILE_IT_IS_PINGED, recorder, folder)
    assert exit_code == 130
    assert time.monotonic() - started < 30
    own = without_looks(marks, make_plan(only("l2")))
    undone = [mark.line for mark in own if mark.event == "end"][-4:]
    assert undone == [
        *("ip netns exec test2 ip link delete test2", "ip netns exec test1 ip link delete test1"),
        *("ip netns del test2", "ip netns del test1"),
    ]


def test_an_interrupt_begins_no_more_of_a_row_and_undoes_what_was_done(recorder: Recorder) -> None:
    """Of namespaces made one after another: this process is told while the first of a row is made."""
    lab = only("l2")
    endpoints = [
        replace(lab.endpoints[0], name=f"m{at}", netns=f"m{at}", addresses=()) for at in range(2 * ROW_FROM)
    ]
    phase = replace(lab.phases[0], endpoints=tuple(one.name for one in endpoints), acts=())
    hook = rf"""[ "$line" != "ip netns add m0" ] || {{ kill -INT {os.getpid()}; {SLEEP} 0.2; }}"""
    plan = make_plan(replace(lab, endpoints=tuple(endpoints), phases=(phase,), setup="stepwise"))
    told, result = run_engine(Case(plan, {}, hook=hook), recorder, Local())
    assert result.exit_code == 130
    made = [mark.line.split()[-1] for mark in told if re.match("end.*netns add", f"{mark.event} {mark.line}")]
    gone = [mark.line.split()[-1] for mark in told if re.match("end.*netns del", f"{mark.event} {mark.line}")]
    assert "m0" in made
    assert len(made) < len(endpoints)
    assert gone == sorted(made, reverse=True)
