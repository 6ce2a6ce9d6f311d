"""The engine: whatever goes wrong, exactly what was done is undone, and it is told what is left."""

import json
import os
import re
import signal
import time
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from threading import Barrier

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipvkit.core.command import Command, Completed
from ipvkit.core.errors import CommandFailed, Interrupted, IpvkitError, MissingRequirement, UnparsableOutput
from ipvkit.core.interrupts import EARLIER, ENDING
from ipvkit.lab import Lab, gallery
from ipvkit.lab.format import load
from ipvkit.plan.make import make_plan
from ipvkit.plan.steps import Capture, Plan, Section, Step, Undo
from ipvkit.run import engine, execution
from ipvkit.run.batches import jobs_of
from ipvkit.run.engine import Run
from ipvkit.run.machines import Machines
from ipvkit.run.rollback import Began, Finished, Stopping
from ipvkit.run.verdicts import judge
from ipvkit.strategies.announce import NONLOCAL_BIND
from ipvkit.targets import agent
from ipvkit.targets.agent import Target
from ipvkit.targets.cables import Tap
from ipvkit.targets.local import Local
from ipvkit.tools.pcap import Frame
from requires import requires
from scripted import HANGS, Answer, Scripted
from strategies import labs_on_a_parent

DONE = Completed(0, "", "", 0.001)
FAILED = Completed(2, "", "RTNETLINK answers: File exists", 0.001)


def walkthrough() -> Lab:
    return load(gallery.text(gallery.WALKTHROUGH), "walkthrough.yaml")


# --- a target that does as it is told -------------------------------------------------------------------


class Told(Scripted):
    """A target that starts nothing: it answers as told, and remembers what was asked of it.

    `answers` are by command line; `hangs` are lines that end only when they are stopped, `slow` those
    that end by themselves after a while; `on_start` is called with each line that is started. What the engine
    looks at for itself is as in `before`, and as in `after` once a command was started.
    """

    def __init__(
        self,
        answers: Mapping[str, Completed] | None = None,
        hangs: Sequence[str] = (),
        slow: Sequence[str] = (),
        on_start: Callable[[str], None] = lambda _: None,
        before: Mapping[str, str] | None = None,
        after: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(self.respond, slow=lambda command: str(command) in slow)
        self.answers = answers or {}
        self.hangs = hangs
        self.on_start = on_start
        self.before, self.after = before or {}, after or {}
        self.started: list[str] = []

    def respond(self, command: Command) -> Answer:
        line = str(command)
        if command.argv[:2] == ("ip", "-json"):
            shows = self.after if self.started else self.before
            return Completed(0, "\n".join(shows.get(view, "[]") for view in command.stdin) + "\n", "", 0.0)
        self.started.append(line)
        self.on_start(line)
        return HANGS if line in self.hangs else self.answers.get(line, DONE)


def command(text: str, *ok: int) -> Command:
    return Command(tuple(text.split()), ok or (0,))


def plan_of(*stages: Sequence[Step]) -> Plan:
    section = Section("x", "a section", None, tuple(tuple(stage) for stage in stages))
    return Plan(walkthrough(), (section,))


def step(id: str, *, undo: bool = True, cancels_undo_of: tuple[str, ...] = ()) -> Step:
    """Return a step that runs ``do ID`` and is undone by ``undo ID``."""
    back = Undo(command(f"undo {id}")) if undo else None
    return Step(id, f"do {id}", command(f"do {id}"), back, cancels_undo_of)


def probe(id: str) -> Step:
    """Return a step that leaves nothing to undo, as a ping does."""
    return step(id, undo=False)


THREE = plan_of([step("a")], [step("b1"), step("b2")], [probe("c1"), step("c2"), probe("c3")])


def run(plan: Plan, target: Told, **options: object) -> tuple[Run, list[str]]:
    """Return the run, and the undo lines that it started."""
    events: list[Began | Finished | Stopping] = []
    keep, timeout_s = bool(options.get("keep")), float(str(options.get("timeout_s", 5)))
    result = engine.run(plan, target, events.append, keep=keep, timeout_s=timeout_s)
    undone = [event.job.command for event in events if isinstance(event, Began) and event.undoing]
    assert [f.job.command for f in result.undone] == undone
    return result, [str(line) for line in undone]


# --- failures ---------------------------------------------------------------------------------------------


def test_when_all_goes_well_everything_is_undone_in_reverse() -> None:
    target = Told()
    result, undone = run(THREE, target)
    assert undone == ["undo c2", "undo b2", "undo b1", "undo a"]
    assert all(finished.undoing for finished in result.undone)
    assert result.failure is None
    assert result.residue == ()
    assert result.kernel == "6.12.0-test"
    assert set(result.completed) == {step.id for step in THREE.steps}
    assert target.started == ["do a", "do b1", "do b2", "do c1", "do c2", "do c3", *undone]


def test_cables_are_tapped_only_for_captures() -> None:
    class Cables(Told):
        def machines(self, lab: Lab, tap: Tap | None = None) -> Mapping[str, Target]:
            assert tap is None
            return dict.fromkeys(lab.machines, self)

    lab = load(gallery.text("two-hosts-l2"), "two-hosts-l2")
    stage = tuple(replace(step(on), on=on) for on in lab.hosts)
    plan = Plan(lab, (Section("x", "a section", None, (stage,)),))
    result = engine.run(plan, Cables(), lambda _: None)
    undone = sorted(str(finished.job.command) for finished in result.undone)
    assert (result.failure, undone) == (None, ["undo h1", "undo h2"])


def server(id: str) -> Step:
    return replace(step(id, undo=False), ready=command(f"do see {id}"))


SERVERS = plan_of([server("s1"), server("s2"), probe("c1"), probe("c2")], [step("a")])


def serving(slow: int = 0, **options: object) -> Told:
    """Return a target whose servers are ready, and have written all, when asked `slow` times in vain."""
    target = Told(hangs=["do s1", "do s2"], **options)  # type: ignore[arg-type]
    answer = target.respond
    looks: dict[str, int] = {}

    def respond(command: Command) -> Answer:
        line = str(command)
        found = answer(command)
        if "see" not in line and line != WRITTEN:
            return found
        looks[line] = looks.get(line, 0) + 1
        return Completed(0, "LISTEN\n" if looks[line] > slow else "", "", 0.001)

    target.answer = respond
    return target


@pytest.mark.parametrize(("slow", "killed"), [(0, -9), (1, -15), (20, 0)])
def test_checks_begin_when_servers_are_ready_which_end_after_them(slow: int, killed: int) -> None:
    target = serving(slow)
    target.killed = killed
    result, _ = run(SERVERS, target)
    assert result.failure is None
    at = {line: target.started.index(line) for line in ("do c1", "do c2", "do a")}
    for name in ("s1", "s2"):
        assert target.started.count(f"do see {name}") == slow + 1
        assert target.started.index(f"do {name}") < min(at.values())
        last = max(i for i, line in enumerate(target.started) if line == f"do see {name}")
        assert last < min(at.values())
        assert result.completed[name].exit_code == killed
    assert sorted(target.stopped) == ["do s1", "do s2"]


COUNTS = "1 packet captured\n1 packet received by filter\n0 packets dropped by kernel\n"
ONE_FRAME = bytes.fromhex(
    "d4c3b2a1 0200 0400 00000000 00000000 00000400 01000000 07000000 08000000 02000000 02000000 beef"
)
WRITTEN = "pgrep --runstates S --full /run/s1.pcap"
READ = "base64 -w 0 /run/s1.pcap"


def capturing(answer: str = b64encode(ONE_FRAME).decode(), **options: object) -> tuple[Plan, Told]:
    """Return a plan with two stages, of which the first captures, and its target."""
    of = Capture("gateway", "eth0", "/run/s1.pcap", "x", ())
    plan = plan_of([step("b")], [replace(server("s1"), capture=of), server("s2"), probe("c1")], [step("a")])
    answers = {READ: Completed(0, answer, "", 0.0), **options.pop("answers", {})}  # type: ignore[dict-item]
    target = serving(answers=answers, **options)  # type: ignore[arg-type]
    target.last_words = COUNTS
    return plan, target


@pytest.mark.parametrize("slow", [0, 1, 20])
def test_a_capture_that_has_written_all_is_asked_to_end_and_read_before_the_next_stage(slow: int) -> None:
    plan, target = capturing(slow=slow)
    result, _ = run(plan, target)
    assert result.failure is None
    assert (target.asked_to_end, target.stopped) == (["do s1"], ["do s2"])
    after_the_check = target.started[target.started.index("do c1") + 1 :]
    assert after_the_check[: slow + 3] == [*[WRITTEN] * (slow + 1), READ, "do a"]
    [found] = result.captured
    assert (found.of.role, found.frames, found.missing) == ("gateway", (Frame(7_000_008, b"\xbe\xef"),), 0)
    assert found.began_us < found.ended_us


def test_of_a_capture_it_is_known_how_many_frames_are_missing() -> None:
    plan, target = capturing()
    target.last_words = COUNTS.replace("0 packets dropped", "2 packets dropped")
    result, _ = run(plan, target)
    assert [found.missing for found in result.captured] == [2]


def test_nothing_is_read_where_a_check_fails() -> None:
    plan, target = capturing(answers={"do c1": FAILED})
    result, undone = run(plan, target)
    assert result.failure is not None
    assert (target.asked_to_end, sorted(target.stopped)) == ([], ["do s1", "do s2"])
    assert READ not in target.started
    assert (result.captured, undone) == ([], ["undo b"])


@pytest.mark.parametrize(
    ("content", "last_words"),
    [
        (b64encode(ONE_FRAME[:-1]).decode(), COUNTS),
        ("", COUNTS),
        ("%", COUNTS),
        (b64encode(ONE_FRAME).decode(), ""),
    ],
)
def test_a_capture_that_is_not_understood_fails_the_run(content: str, last_words: str) -> None:
    plan, target = capturing(content)
    target.last_words = last_words
    result, undone = run(plan, target)
    assert isinstance(result.failure, UnparsableOutput)
    assert "do a" not in target.started
    assert undone == ["undo b"]


def test_a_signal_while_a_capture_is_read_ends_the_run_before_the_next_stage() -> None:
    plan, target = capturing(on_start=raises_on(READ, signal.SIGINT))
    result, undone = run(plan, target)
    assert isinstance(result.failure, Interrupted)
    assert len(result.captured) == 1
    assert "do a" not in target.started
    assert undone == ["undo b"]


def test_a_signal_before_a_capture_has_written_all_stops_it() -> None:
    plan, target = capturing(on_start=raises_on(WRITTEN, signal.SIGINT))
    result, undone = run(plan, target)
    assert isinstance(result.failure, Interrupted)
    assert (target.asked_to_end, sorted(target.stopped)) == ([], ["do s1", "do s2"])
    assert (result.captured, undone) == ([], ["undo b"])


def test_a_server_that_ends_before_it_is_ready_fails_the_run_before_any_check() -> None:
    target = serving(10**9, answers={"do s2": FAILED})
    target.hangs = ["do s1"]
    result, _ = run(SERVERS, target)
    assert isinstance(result.failure, CommandFailed)
    assert result.failure.command == "do s2"
    assert not {"do c1", "do c2", "do a"} & set(target.started)
    assert target.stopped == ["do s1"]


def test_machines_are_looked_at_concurrently() -> None:
    both = Barrier(2)
    with Machines({"h1": Told(), "h2": Told()}, SimpleQueue(), None) as machines:
        assert machines.on_each(lambda name, _: (name, both.wait(60) < 2)) == {
            name: (name, True) for name in ("h1", "h2")
        }


def test_a_check_that_fails_ends_the_servers() -> None:
    target = serving(answers={"do c1": FAILED})
    result, _ = run(SERVERS, target)
    assert result.failure is not None
    assert result.failure.command == "do c1"
    assert sorted(target.stopped) == ["do s1", "do s2"]


def test_servers_that_are_never_ready_end_when_time_is_up() -> None:
    target = serving(10**9)
    target.slow = lambda command: "see" in str(command)
    result, _ = run(SERVERS, target, timeout_s=0.5)
    assert result.failure is not None
    assert "did not end in time" in result.failure.message
    assert not {"do c1", "do c2"} & set(target.started)


@given(st.sampled_from(list(THREE.steps)))
def test_a_step_that_fails_has_exactly_what_was_done_undone(failing: Step) -> None:
    target = Told(answers={str(failing.command): FAILED})
    result, undone = run(THREE, target)
    stages = list(THREE.stages)
    reached = stages[: 1 + next(at for at, stage in enumerate(stages) if failing in stage)]
    did = [step for stage in reached for step in stage if step is not failing and step.undo is not None]
    assert undone == [f"undo {step.id}" for step in reversed(did)]
    assert set(result.completed) == {step.id for stage in reached for step in stage}
    assert isinstance(result.failure, CommandFailed)
    assert result.failure.command == str(failing.command)
    assert result.failure.stderr == FAILED.stderr
    assert failing.purpose in result.failure.message
    assert "undone" in result.failure.hint
    assert judge(result).exit_code == 4


@given(labs_on_a_parent(), st.data())
@settings(max_examples=settings().max_examples // 2)
def test_in_any_lab_a_step_that_fails_leaves_nothing_and_undoes_nothing_twice(
    lab: Lab, data: st.DataObject
) -> None:
    plan = make_plan(lab)
    jobs = [job for stages in jobs_of(plan).values() for stage in stages for job in stage]
    failing = data.draw(st.sampled_from([job for job in jobs if not job.probes]))
    line = str(failing.command)
    reads = {f"sysctl -n {key}": Completed(0, "7\n", "", 0.0) for key in plan.sysctls_on("host")}
    target = Told(answers={**reads, line: FAILED})
    result, undone = run(plan, target)
    assert isinstance(result.failure, CommandFailed)
    steps = [finished.job.id for finished in result.undone]
    assert len(steps) == len(set(steps))
    values = [s.split()[-1] for s in undone if s.startswith("sysctl -w ")]
    assert set(values) <= {f"{key}=7" for key in plan.sysctls_on("host")}
    made = re.findall(r"^(?:ip )?netns add (\S+)$", "\n".join(s for s in target.started if s != line), re.M)
    deleted = re.findall(r"^(?:ip )?netns del (\S+)$", "\n".join(undone), re.M)
    assert sorted(made) == sorted(deleted)


def test_where_a_batch_names_no_line_the_failure_is_of_all_its_steps() -> None:
    plan = make_plan(walkthrough())
    jobs = [job for stages in jobs_of(plan).values() for stage in stages for job in stage]
    batch = next(job for job in jobs if len(job.steps) > 1 and not job.probes)
    named = "RTNETLINK answers: File exists\nCommand failed -:2\n"
    for stderr, at in (("Cannot open netlink socket", batch), (named, batch.steps[1])):
        result, _ = run(plan, Told(answers={str(batch.command): Completed(1, "", stderr, 0.0)}))
        assert result.failure is not None
        assert result.failure.message == f"{at.id}, {at.purpose}, failed with exit code 1"
        assert result.failure.stderr == stderr.partition("\n")[0]


def test_a_settled_step_is_not_undone_and_its_successor_is() -> None:
    plan = plan_of([step("made")], [step("moved", cancels_undo_of=("made",))])
    assert run(plan, Told())[1] == ["undo moved"]
    assert run(plan, Told(answers={"do moved": FAILED}))[1] == ["undo made"]


def test_a_step_that_cannot_be_started_has_everything_undone_what_ran_beside_it_too() -> None:
    absent = Completed(127, "", "do: command not found", 0.0)
    result, undone = run(THREE, Told(answers={"do c3": absent}))
    assert undone == ["undo c2", "undo b2", "undo b1", "undo a"]
    assert isinstance(result.failure, CommandFailed)
    assert result.failure.stderr == absent.stderr


def test_an_exit_code_that_the_command_accepts_is_no_failure() -> None:
    accepting = Step("p", "ping", command("do p", 0, 1))
    result, _ = run(plan_of([accepting]), Told(answers={"do p": Completed(1, "", "", 0.0)}))
    assert result.failure is None
    result, _ = run(plan_of([accepting]), Told(answers={"do p": Completed(2, "", "", 0.0)}))
    assert isinstance(result.failure, CommandFailed)


def test_a_step_whose_command_ended_otherwise_than_with_0_has_nothing_to_undo() -> None:
    refused = Step("t", "try it", command("do t", 0, 2), Undo(command("undo t")))
    plan = plan_of([step("a")], [refused], [step("b")])
    result, undone = run(plan, Told(answers={"do t": FAILED}))
    assert (result.failure, undone) == (None, ["undo b", "undo a"])
    assert run(plan, Told())[1] == ["undo b", "undo t", "undo a"]


def test_what_a_refused_step_was_to_settle_is_settled_all_the_same() -> None:
    refused = Step("t", "take it away, if it is there", command("do t", 0, 1), cancels_undo_of=("a",))
    gone = Told(answers={"do t": Completed(1, "", "Cannot find device", 0.0)})
    assert run(plan_of([step("a")], [refused]), gone)[1] == []


def test_of_two_failures_in_a_stage_the_first_is_told() -> None:
    answers = {"do b1": Completed(1, "", "first", 0.0), "do b2": Completed(1, "", "second", 0.0)}
    result, undone = run(THREE, Told(answers=answers))
    assert result.failure is not None
    assert result.failure.stderr == "first"
    assert undone == ["undo a"]


def test_an_undo_that_fails_is_residue_and_the_others_are_done() -> None:
    result, undone = run(THREE, Told(answers={"undo b2": FAILED}))
    assert undone == ["undo c2", "undo b2", "undo b1", "undo a"]
    (left,) = result.residue
    assert "undo b2" in left
    assert FAILED.stderr in left
    assert judge(result).exit_code == 4


def test_a_listener_that_fails_does_not_keep_what_was_done_from_being_undone() -> None:
    target = Told()

    def listener(event: Began | Finished | Stopping) -> None:
        if isinstance(event, Began) and event.job.id == "c2":
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        engine.run(THREE, target, listener)
    assert target.started[-3:] == ["undo b2", "undo b1", "undo a"]


def test_when_a_listener_fails_what_runs_is_ended_before_anything_is_undone() -> None:
    target = Told(hangs=["do b1"])

    def listener(event: Began | Finished | Stopping) -> None:
        if isinstance(event, Began) and event.job.id == "b2":
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        engine.run(THREE, target, listener)
    assert target.stopped == ["do b1"]
    assert target.started[-3:] == ["undo b2", "undo b1", "undo a"], "b1 may have done what it was to do"


# --- time ------------------------------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.parametrize("hanging", ["do c1", "do c2", "do b2"])
def test_a_step_that_hangs_is_stopped_when_time_is_up(hanging: str) -> None:
    target = Told(hangs=[hanging])
    result, undone = run(THREE, target, timeout_s=2)
    assert target.stopped == [hanging]
    assert result.duration_s < 60
    assert isinstance(result.failure, CommandFailed)
    assert "in time" in result.failure.message
    assert "--timeout" in result.failure.hint
    did = ["undo c2", "undo b2", "undo b1", "undo a"]
    if hanging == "do b2":
        did.remove("undo c2")
    assert undone == did, "what was killed may have done what it was to do"
    assert result.completed[hanging.removeprefix("do ")].exit_code == -signal.SIGKILL


@pytest.mark.long
def test_a_step_that_does_not_even_end_when_killed_does_not_keep_the_others_from_being_undone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(agent, "GRACE_S", 0.05)
    target = Told(hangs=["do c1"])
    target.unkillable = lambda command: str(command) == "do c1"
    result, undone = run(THREE, target, timeout_s=2)
    assert isinstance(result.failure, CommandFailed)
    assert undone == ["undo c2", "undo b2", "undo b1", "undo a"]


def test_an_undo_that_hangs_is_killed_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "BOUND_S", 0.05)
    target = Told(hangs=["undo b2"])
    result, undone = run(THREE, target)
    assert undone == ["undo c2", "undo b2", "undo b1", "undo a"]
    assert target.stopped == ["undo b2"]
    (left,) = result.residue
    assert "undo b2" in left


# --- signals ---------------------------------------------------------------------------------------------


def raises_on(line: str, number: int) -> Callable[[str], None]:
    """Return what sends this process a signal when `line` is started; it has come when that returns."""

    def on_start(started: str) -> None:
        if started == line:
            signal.raise_signal(number)

    return on_start


SIGNALS = pytest.mark.parametrize("number", ENDING)


@SIGNALS
@pytest.mark.parametrize("line", ["do a", "do b1", "do c3"])
def test_a_signal_in_a_stage_ends_the_run_and_what_was_done_is_undone(
    number: signal.Signals, line: str
) -> None:
    target = Told(on_start=raises_on(line, number))
    result, undone = run(THREE, target)
    assert isinstance(result.failure, Interrupted)
    assert number.name in result.failure.message
    assert judge(result).exit_code == 130
    assert undone == [f"undo {s[3:]}" for s in reversed(target.started) if s in UNDOABLE]
    after = {"do a": 1, "do b1": 3, "do c3": 6}[line]
    assert target.started[:after] == ["do a", "do b1", "do b2", "do c1", "do c2", "do c3"][:after]
    assert target.started[after:] == undone, "no further stage has begun"


UNDOABLE = {"do a", "do b1", "do b2", "do c2"}


@SIGNALS
def test_a_signal_stops_what_leaves_nothing_and_waits_for_what_has_to_be_undone(
    number: signal.Signals,
) -> None:
    target = Told(hangs=["do c1", "do c3"], slow=["do c2"], on_start=raises_on("do c3", number))
    result, undone = run(THREE, target, timeout_s=60)
    assert result.duration_s < 30, "nothing waits until time is up"
    assert sorted(target.stopped) == ["do c1", "do c3"]
    assert result.completed["c2"] == DONE
    assert isinstance(result.failure, Interrupted), "that a ping died of being stopped is no failure"
    assert judge(result).exit_code == 130
    assert undone == ["undo c2", "undo b2", "undo b1", "undo a"]


def test_after_a_signal_what_hangs_is_not_waited_for_until_time_is_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engine, "BOUND_S", 0.05)
    target = Told(hangs=["do c2"], on_start=raises_on("do c3", signal.SIGINT))
    result, undone = run(THREE, target, timeout_s=60)
    assert result.duration_s < 30
    assert target.stopped[-1] == "do c2"
    assert isinstance(result.failure, Interrupted)
    assert undone == ["undo c2", "undo b2", "undo b1", "undo a"]


def test_a_signal_that_came_before_the_run_ends_it_at_its_beginning() -> None:
    EARLIER.append(signal.SIGTERM)
    target = Told()
    result, undone = run(THREE, target)
    assert isinstance(result.failure, Interrupted)
    assert undone == target.started == []


def test_a_signal_is_told_when_it_comes() -> None:
    events: list[object] = []
    engine.run(THREE, Told(on_start=raises_on("do b1", signal.SIGTERM)), events.append)
    assert Stopping("SIGTERM") in events


@SIGNALS
def test_a_second_signal_during_the_undo_does_not_break_it(number: signal.Signals) -> None:
    def on_start(line: str) -> None:
        if line in ("do c1", "undo c2", "undo b1"):
            signal.raise_signal(number)

    result, undone = run(THREE, Told(on_start=on_start))
    assert undone == ["undo c2", "undo b2", "undo b1", "undo a"]
    assert judge(result).exit_code == 130
    assert result.residue == ()


def test_a_signal_during_the_last_undo_does_not_break_it() -> None:
    result, undone = run(THREE, Told(on_start=raises_on("undo a", signal.SIGINT)))
    assert undone == ["undo c2", "undo b2", "undo b1", "undo a"]
    assert result.residue == ()


def test_after_a_run_signals_do_what_they_did_before() -> None:
    former = [signal.getsignal(number) for number in ENDING]
    run(THREE, Told(answers={"do b1": FAILED}))
    assert [signal.getsignal(n) for n in ENDING] == former


# --- what stays ------------------------------------------------------------------------------------------


def test_keep_leaves_everything() -> None:
    target = Told()
    result, undone = run(THREE, target, keep=True)
    assert undone == []
    assert result.kept
    assert target.started == [str(step.command) for step in THREE.steps]
    assert judge(result).exit_code == 0


def test_keep_leaves_nothing_of_a_run_that_failed_or_was_interrupted() -> None:
    failing = Told(answers={"do c3": FAILED})
    interrupted = Told(on_start=raises_on("do c3", signal.SIGINT))
    for target in (failing, interrupted):
        result, undone = run(THREE, target, keep=True)
        assert undone == ["undo c2", "undo b2", "undo b1", "undo a"]
        assert not result.kept


def shown(namespaces: Sequence[str], addresses: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Return the views of a machine with these namespaces, and with these addresses of each link."""
    return {
        "netns list": json.dumps([{"name": name} for name in namespaces]) if namespaces else "",
        "addr show": json.dumps(
            [
                {
                    "ifname": dev,
                    "addr_info": [
                        {"family": "inet", "local": text.split("/")[0], "prefixlen": int(text.split("/")[1])}
                        for text in found
                    ],
                }
                for dev, found in addresses.items()
            ]
        ),
    }


MACHINES = st.tuples(
    st.lists(st.sampled_from(["test1", "test2", "other"]), unique=True),
    st.dictionaries(
        st.sampled_from(["lo", "eth0", "x", "test1"]),
        st.lists(
            st.sampled_from(["192.0.2.1/24", "192.168.104.211/24", "198.51.100.1/32"]),
            unique=True,
            max_size=2,
        ),
    ),
)
"""What a machine may show: some of it has a name or an address of the walkthrough."""


def things(namespaces: Sequence[str], addresses: Mapping[str, Sequence[str]]) -> set[str]:
    links = {f"link {dev}" for dev in addresses}
    found = {f"address {text} on {dev}" for dev in addresses for text in addresses[dev]}
    return {f"netns {name}" for name in namespaces} | links | found


def concerns_the_walkthrough(thing: str) -> bool:
    return any(word in thing for word in ("test1", "test2", "eth0", "192.168.104.211"))


@given(MACHINES, MACHINES)
def test_residue_is_what_concerns_the_lab_and_is_there_after_and_was_not_before_or_has_gone(
    before: tuple[list[str], dict[str, list[str]]], after: tuple[list[str], dict[str, list[str]]]
) -> None:
    result, _ = run(THREE, Told(before=shown(*before), after=shown(*after)))
    was, is_ = things(*before), things(*after)
    changed = (is_ - was) | {f"gone: {thing}" for thing in was - is_}
    assert set(result.residue) == {thing for thing in changed if concerns_the_walkthrough(thing)}
    assert judge(result).exit_code == (4 if result.residue else 0)


def test_a_sysctl_that_has_another_value_after_is_residue() -> None:
    plan = make_plan(walkthrough())
    reading = f"sysctl -n {NONLOCAL_BIND}"
    values = iter(["1\n", "1\n", "1\n", "0\n"])

    class Machine(Told):
        def respond(self, command: Command) -> Answer:
            if str(command) == reading:
                return Completed(0, next(values), "", 0.0)
            return super().respond(command)

    result, undone = run(plan, Machine())
    assert undone[0] == f"sysctl -w {NONLOCAL_BIND}=1", "the value that was read is put back"
    assert result.residue == (f"{NONLOCAL_BIND} = 0",)


def test_a_parent_that_is_not_as_it_was_is_residue() -> None:
    def eth0(**fields: object) -> dict[str, str]:
        link = {"ifname": "eth0", "flags": ["UP"], "mtu": 1500, "addr_info": [], **fields}
        return {"addr show": json.dumps([link])}

    for changed, state in (
        ({"flags": []}, "down, mtu 1500"),
        ({"mtu": 1400}, "up, mtu 1400"),
        ({"master": "br0"}, "up, mtu 1500, port of br0"),
    ):
        result, _ = run(THREE, Told(before=eth0(), after=eth0(**changed)))
        assert result.residue == (f"state of eth0: {state}",)


def test_a_machine_that_cannot_be_looked_at_is_not_taken_for_a_clean_one() -> None:
    class Blind(Told):
        def respond(self, command: Command) -> Answer:
            if command.argv[:2] == ("ip", "-json") and self.started:
                return Completed(1, "", "Cannot open netlink socket", 0.0)
            return super().respond(command)

    def exit_code() -> int:
        try:
            return judge(run(THREE, target)[0]).exit_code
        except IpvkitError as problem:
            return problem.exit_code

    target = Blind()
    assert exit_code() == 4
    assert target.started[-1] == "undo a"


# --- real processes --------------------------------------------------------------------------------------


def processes_with(word: str) -> list[int]:
    """Return the ids of the processes that were started with this word."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if word.encode() in words:
                found.append(int(entry.name))
    return found


def gone(word: str, within_s: float = 5) -> bool:
    """Return whether no process has this word, at once or as soon as the kernel has reaped it."""
    deadline = time.monotonic() + within_s
    while processes_with(word):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def sleeping(id: str, length: str, shell: str = "") -> Step:
    argv = ("sh", "-c", shell, "sh", length) if shell else ("sleep", length)
    return Step(id, "sleep", Command(argv))


IN_A_SHELL = 'sleep "$1" & sleep "$1" & wait'


@requires("ip")
@pytest.mark.parametrize("shell", ["", IN_A_SHELL], ids=["sleep", "a shell that sleeps"])
def test_when_time_is_up_no_process_is_left(shell: str) -> None:
    length = f"61.{os.getpid()}1"
    plan = plan_of([sleeping("s", length, shell), Step("t", "quick", Command(("true",)))])
    result = engine.run(plan, Local(), lambda _: None, timeout_s=0.3)
    assert isinstance(result.failure, CommandFailed)
    assert "in time" in result.failure.message
    assert gone(length)


@requires("ip")
def test_when_a_signal_comes_no_process_is_left() -> None:
    length = f"61.{os.getpid()}2"
    plan = plan_of([sleeping("s", length, IN_A_SHELL), sleeping("t", length)])
    seen: list[int] = []

    def listener(event: Began | Finished | Stopping) -> None:
        if isinstance(event, Began) and event.job.id == "t":
            while not seen:
                seen.extend(processes_with(length))
            signal.raise_signal(signal.SIGINT)

    result = engine.run(plan, Local(), listener)
    assert judge(result).exit_code == 130
    assert gone(length)


@requires("ip")
def test_a_command_of_this_machine_has_its_streams_and_its_exit_code_told() -> None:
    says = Command(("sh", "-c", "echo out; echo err >&2; exit 3"), ok=(3,))
    dies = Command(("sh", "-c", "kill -TERM $$"), ok=(-signal.SIGTERM,))
    asks = Command(("sh", "-c", "cat; [ -t 0 ] || [ -t 1 ] || [ -t 2 ] || echo $LC_ALL"))
    plan = plan_of([Step("says", "", says), Step("dies", "", dies), Step("asks", "", asks)])
    result = engine.run(plan, Local(), lambda _: None)
    assert result.failure is None
    completed = result.completed["says"]
    assert (completed.exit_code, completed.stdout, completed.stderr) == (3, "out\n", "err\n")
    assert completed.duration_s > 0
    assert result.completed["dies"].exit_code == -signal.SIGTERM
    assert result.completed["asks"].stdout == "C\n", "nothing to read, no terminal, and English"


@requires("ip")
def test_a_command_that_is_not_installed_is_a_missing_requirement() -> None:
    plan = plan_of([Step("x", "", Command(("no-such-program",)))])
    result = engine.run(plan, Local(), lambda _: None)
    assert isinstance(result.failure, MissingRequirement)
    assert result.failure.message == "no-such-program is not installed"
    assert judge(result).exit_code == 3


@SIGNALS
def test_where_all_ends_with_the_target_a_signal_during_the_undo_ends_it(number: signal.Signals) -> None:
    target = Told(on_start=raises_on("undo b2", number), hangs=["undo b1"])
    target.ephemeral = True
    result, _ = run(THREE, target)
    assert isinstance(result.failure, Interrupted)
    assert judge(result).exit_code == 130
    assert "undo a" not in target.started
    assert result.residue == ()


def test_where_all_ends_with_the_target_an_undo_that_hangs_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "BOUND_S", 0.05)
    target = Told(hangs=["undo b2"])
    target.ephemeral = True
    result, _ = run(THREE, target)
    assert isinstance(result.failure, CommandFailed)
    assert result.failure.command == "undo b2"
    assert judge(result).exit_code == 4
    assert (target.agents, result.residue) == (1, ())


@SIGNALS
def test_a_signal_during_a_look_of_the_undo_is_reported_and_the_look_goes_on(number: signal.Signals) -> None:
    inbox: SimpleQueue[object] = SimpleQueue()
    inbox.put(execution.Signal(number))
    came: list[execution.Signal] = []
    view = Command(("sh", "-c", "echo seen"))
    with agent.Agent(Local(), inbox) as started:
        seen = execution.ask(started, {"view": view}, on_signal=came.append)
    assert seen["view"].stdout == "seen\n"
    assert came == [execution.Signal(number)]
