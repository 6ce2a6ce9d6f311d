"""Runs a Plan on a Target, undoes it, and tells of each step as it begins and ends."""

import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue

from ipvkit.core.command import Command, Completed
from ipvkit.core.errors import CommandFailed, IpvkitError, UsageError
from ipvkit.export import Frame, payload, read_frames
from ipvkit.plan import resources
from ipvkit.plan.resources import ResourceState, is_new, is_number, standing
from ipvkit.plan.steps import Plan, Stage, Step, Undo
from ipvkit.run.batches import as_run, undo_batches
from ipvkit.run.execution import (
    BOUND_S,
    Signal,
    how_it_ended,
    interrupted,
    look,
    next_of,
    signals_into,
    start_at_once,
    start_in_rows,
)
from ipvkit.run.ledger import Entry, Ledger
from ipvkit.run.leftovers import NOT_KNOWN, Things, apart, residue, things, together, views_of, words_of
from ipvkit.run.rollback import Began, Finished, Listener, Rollback, Stopping, in_one, not_undone, rollback
from ipvkit.targets import CommandTarget, Ended, Inbox, Output, PayloadTarget, Row, Running
from ipvkit.tools.ip import failed_lines

_UNDONE = "what was done has been undone"
_NOT_ALL_UNDONE = "not all that was done has been undone: the report lists what is left behind"
_KERNEL = "kernel"
_MORE_TIME = f"give it more with --timeout; {_UNDONE}"


Target = CommandTarget | PayloadTarget


@dataclass(slots=True)
class Run:
    """What came of a plan: each step's Completed by its id, what is left, and what went wrong.

    `left_alone` tells of what was ours and is somebody else's by now.
    """

    plan: Plan
    target: str
    kernel: str = ""
    completed: dict[str, Completed] = field(default_factory=dict)
    undone: list[Finished] = field(default_factory=list)
    residue: tuple[str, ...] = ()
    left_alone: tuple[str, ...] = ()
    failure: IpvkitError | None = None
    duration_s: float = 0.0
    kept: bool = False


def run(
    plan: Plan,
    target: Target,
    listener: Listener,
    *,
    keep: bool = False,
    timeout_s: float = 120.0,
    inbox: Inbox | None = None,
    ledger: Ledger | None = None,
) -> Run:
    """Run `plan` on `target` and undo it, also when a step fails, time is up or a signal comes.

    With `keep` (on a CommandTarget) what was built stays when all steps went well. What is to be undone is
    in `ledger`, a Journal for this machine, before it is done; what could not be stays there. A failure is
    in the Run's `failure`: CommandFailed, Interrupted or MissingRequirement. ^C, TERM and HUP end a run
    early; outside the main thread, a `Signal` put into `inbox` does.
    """
    result = Run(as_run(plan), target.kind)
    inbox = SimpleQueue() if inbox is None else inbox
    started = time.monotonic()
    with signals_into(inbox):
        if isinstance(target, PayloadTarget):
            _PayloadRun(result, target, listener, inbox, started + timeout_s).run(timeout_s)
        else:
            ledger = Ledger() if ledger is None else ledger
            _CommandRun(result, target, listener, inbox, started + timeout_s, ledger).run(keep=keep)
    result.duration_s = time.monotonic() - started
    return result


def run_side_by_side(
    plans: Sequence[Plan], target: PayloadTarget, listener: Listener, *, at_once: int, timeout_s: float
) -> list[Run]:
    """Run each of `plans` on a `target` of its own, `at_once` at a time; a signal ends them all."""
    inboxes: list[Inbox] = [SimpleQueue() for _ in plans]
    news: Inbox = SimpleQueue()
    lock, free = threading.Lock(), threading.BoundedSemaphore(at_once)

    def tell(event: Began | Finished | Stopping) -> None:
        with lock:
            listener(event)

    def run_one(number: int) -> None:
        with free:
            try:
                result = run(plans[number], target, tell, timeout_s=timeout_s, inbox=inboxes[number])
                news.put((number, result))
            except BaseException as problem:
                news.put((number, problem))

    done: dict[int, Run] = {}
    with signals_into(news):
        for number in range(len(plans)):
            threading.Thread(target=run_one, args=(number,), daemon=True).start()
        while len(done) < len(plans):
            what = news.get()
            if isinstance(what, Signal):
                for inbox in inboxes:
                    inbox.put(what)
                continue
            number, result = what
            if isinstance(result, BaseException):
                raise result
            done[number] = result
    return [done[number] for number in range(len(plans))]


def parts_done(step: Step, completed: Completed) -> int | None:
    """Return how many parts of `step`, the first ones, have been done; None where nobody knows."""
    if completed.exit_code == 0:
        return len(step.single)
    if completed.exit_code < 0:
        return None
    failed = failed_lines(completed.stderr)
    if step.parts:
        return failed[0].line - 1 if failed else None
    return 0


def _not_started(step: Step, problem: Exception) -> IpvkitError:
    if isinstance(problem, IpvkitError):
        problem.hint += f"; {_UNDONE}"
        return problem
    return CommandFailed(f"{step.id}, {step.purpose}: {problem}", _UNDONE, command=str(step.command))


def _only_asks(step: Step) -> bool:
    """Return whether there is nothing to undo after a step."""
    return all(part.undo is None for part in step.single)


def _failed(step: Step, command: Command, completed: Completed) -> IpvkitError:
    said = completed.stderr.strip() or completed.stdout.strip()
    failed = failed_lines(completed.stderr)
    if failed and failed[0].line <= len(step.parts):
        step, said = step.parts[failed[0].line - 1], failed[0].said
        command = step.command
    message = f"{step.id}, {step.purpose}, {how_it_ended(completed)}"
    return CommandFailed(message, _UNDONE, command=str(command), stderr=said)


class _CommandRun:
    """A run whose commands are started one by one from here."""

    def __init__(
        self,
        result: Run,
        target: CommandTarget,
        listener: Listener,
        inbox: Inbox,
        deadline: float,
        ledger: Ledger,
    ) -> None:
        self.result = result
        self.target = target
        self.listener = listener
        self.inbox = inbox
        self.deadline = deadline
        self.ledger = ledger
        self.views = views_of(result.plan)
        self.waiting: dict[str, Running] = {}
        self.rows: dict[str, Row] = {}
        self.started: set[str] = set()

    def run(self, *, keep: bool) -> None:
        result = self.result
        before: Things | None = None
        try:
            seen = look(self.target, {**self.views, _KERNEL: Command(("uname", "-r"))})
            result.kernel = seen[_KERNEL].stdout.strip()
            before = things(seen)
            self._refuse_what_is_there(seen)
            for stage in result.plan.stages:
                self._stage(tuple(step for step in stage if not self._needless(step)))
            if keep:
                self.ledger.keep()
                result.kept = True
        except IpvkitError as failure:
            result.failure = failure
        finally:
            if not result.kept:
                taken = rollback(self.ledger, self.target, self.listener, self.inbox, also=self.views)
                result.undone, result.left_alone = taken.undone, tuple(taken.alone.values())
                result.residue = (*taken.left, *self._left_since(before, taken))
                if result.failure is not None and result.residue:
                    result.failure.hint = result.failure.hint.replace(_UNDONE, _NOT_ALL_UNDONE)

    def _left_since(self, before: Things | None, taken: Rollback) -> list[str]:
        if before is None:
            return []
        try:
            after = things(taken.seen)
        except IpvkitError as problem:
            return [f"{NOT_KNOWN}: {problem.message}"]
        return residue(before, after, words_of(self.result.plan), taken.alone)

    def _refuse_what_is_there(self, seen: Mapping[str, Completed]) -> None:
        """Raise UsageError if something that the plan makes is there: it is somebody's."""
        undos = [step.undo for step in self.result.plan.parts if step.undo is not None]
        made = [undo.effect for undo in undos if undo.effect is not None and is_new(undo.effect)]
        sight = resources.sight(made, seen, {})
        there = dict.fromkeys(str(e) for e in made if standing(e, sight).standing is not ResourceState.GONE)
        if there:
            raise UsageError(f"there is already: {', '.join(there)}", "it is somebody's: rename yours")

    def _needless(self, step: Step) -> bool:
        """Return whether a step takes away what was not made: then it would be somebody else's."""
        takes_away = bool(step.cancels_undo_of) and step.undo is None
        return takes_away and self.ledger.entries.keys().isdisjoint(step.cancels_undo_of)

    def _stage(self, stage: Stage) -> None:
        """Run the steps of a stage side by side; raise what ends the run, after all of them ended."""
        self._raise_if_signalled()
        parts = [part for step in stage for part in step.single]
        self.ledger.begin([self._entry(part, part.undo) for part in parts if part.undo is not None])
        self.waiting, self.rows, self.started = {}, {}, set()
        try:
            self._wait(stage, self._start(stage))
        finally:
            self._end()
            self._record(stage)

    def _start(self, stage: Stage) -> IpvkitError | None:
        """Start the steps of a stage; return what kept one from being started."""
        by_one: dict[str, Running] = {}
        try:
            self.rows.update(start_in_rows(self.target, {s.id: s.command for s in stage}, self.inbox))
            asking = {s.id: s.command for s in stage if _only_asks(s)}
            by_one.update(start_at_once(self.target, asking, self.inbox))
        except Exception as problem:
            return _not_started(stage[0], problem)
        finally:
            self.waiting |= self.rows | by_one
            self.started |= self.waiting.keys()
        for step in stage:
            if step.id not in self.rows:
                self.listener(Began(step, step.command))
            if step.id in self.started:
                continue
            try:
                self.waiting[step.id] = self.target.start(step.id, step.command, self.inbox)
            except Exception as problem:
                return _not_started(step, problem)
            self.started.add(step.id)
        return None

    def _end(self) -> None:
        """Kill what is still waited for, and wait until it has ended, where all else has gone wrong."""
        for running in self.waiting.values():
            running.stop()
        deadline = time.monotonic() + BOUND_S
        while self.waiting and (news := next_of(self.inbox, deadline)) is not None:
            if isinstance(news, Ended):
                self.waiting.pop(news.key, None)

    def _wait(self, stage: Stage, failure: IpvkitError | None) -> None:
        """Wait until all that was started has ended, or cannot even be killed; raise what ends the run."""
        by_id = {step.id: step for step in stage}
        deadline, killed = self.deadline, False
        while self.waiting:
            news = next_of(self.inbox, deadline)
            if isinstance(news, Ended):
                if self.waiting.pop(news.key, None) is not None:
                    failure = self._take_in(by_id[news.key], news.completed, failure)
                continue
            if isinstance(news, Signal):
                self.listener(Stopping(signal.Signals(news.number).name))
                failure = interrupted(news, _UNDONE)
                deadline = min(deadline, time.monotonic() + BOUND_S)
            elif killed:
                failure = CommandFailed(f"{', '.join(self.waiting)} did not end even when killed", _UNDONE)
                self.waiting.clear()
                break
            else:
                failure = failure or CommandFailed("the run did not end in time", _MORE_TIME)
                deadline, killed = time.monotonic() + BOUND_S, True
            self._stop(by_id, at_once=killed)
        if failure is not None:
            raise failure

    def _stop(self, by_id: Mapping[str, Step], *, at_once: bool) -> None:
        """End what is waited for; what changes something ends by itself, unless it is to be `at_once`.

        Only that it has ended tells what it did.
        """
        for row in set(self.rows.values()):
            row.begin_no_more()
        for id, running in self.waiting.items():
            if at_once or (id not in self.rows and _only_asks(by_id[id])):
                running.stop()

    def _take_in(
        self, step: Step, completed: Completed | None, failure: IpvkitError | None
    ) -> IpvkitError | None:
        """Take in how a step has ended, None if it was never begun; return what ends the run."""
        if completed is None:
            self.started.discard(step.id)
            return failure
        if step.id in self.rows:
            self.listener(Began(step, step.command))
        self.result.completed[step.id] = completed
        self.listener(Finished(step, step.command, completed))
        if completed.exit_code not in step.command.ok:
            failure = failure or _failed(step, step.command, completed)
        return failure

    def _entry(self, step: Step, undo: Undo) -> Entry:
        """Return what takes `step` back; CommandFailed where the former value is none."""
        former = self.result.completed[undo.reads].stdout.strip() if undo.reads else ""
        if undo.reads and not is_number(former):
            read = next(s for s in self.result.plan.steps if s.id == undo.reads)
            what = f"{read.id}, {read.purpose}, printed no value: {former[:80]!r}"
            raise CommandFailed(what, _UNDONE, command=str(read.command))
        return Entry(step.id, step.purpose, undo.completed(former), undo.effect, former)

    def _record(self, stage: Stage) -> None:
        """Note which steps have happened, which have not, and what they took back of earlier ones.

        Of what was killed nobody knows: that is looked for when all is undone.
        """
        done: list[str] = []
        undone: list[str] = []
        for step in stage:
            completed = self.result.completed.get(step.id)
            code = None if completed is None else completed.exit_code
            if code is not None and code in step.command.ok:
                undone += step.cancels_undo_of
            happened = None if completed is None else parts_done(step, completed)
            happened = happened if step.id in self.started else 0
            for number, part in enumerate(step.single):
                if part.undo is not None and happened is not None:
                    (done if number < happened else undone).append(part.id)
        self.ledger.end(done, undone)

    def _raise_if_signalled(self) -> None:
        try:
            news = self.inbox.get_nowait()
        except Empty:
            return
        self.listener(Stopping(signal.Signals(news.number).name))
        raise interrupted(news, _UNDONE)


def _not_undone(result: Run) -> list[str]:
    """Return a line for each undo that failed."""
    return [line for finished in result.undone for line in not_undone(finished)]


def undo_command(step: Step, completed: Mapping[str, Completed]) -> Command:
    """Return the command that undoes `step`, with what an earlier step read, where it needs that."""
    if step.undo is None:
        raise ValueError(f"{step.id} has no undo")
    if not step.undo.reads:
        return step.undo.command
    return step.undo.completed(completed[step.undo.reads].stdout)


class _PayloadRun:
    """A run in a target that takes the whole plan at once."""

    def __init__(
        self, result: Run, target: PayloadTarget, listener: Listener, inbox: Inbox, deadline: float
    ) -> None:
        self.result = result
        self.target = target
        self.listener = listener
        self.inbox = inbox
        self.deadline = deadline
        self.steps = {step.id: step for step in result.plan.steps}
        self.parts = {part.id: part for part in result.plan.parts}
        self.began: dict[tuple[str, str], float] = {}
        self.views = views_of(result.plan)
        self.looks: dict[str, dict[str, Completed]] = {"before": {}, "after": {}}
        self.noise: list[str] = []
        self.done: int | None = None

    def run(self, timeout_s: float) -> None:
        nonce = os.urandom(8).hex()
        text = payload(self.result.plan, together(self.views), nonce, self.target.work)
        running = self.target.start(text, timeout_s, self.inbox, self.result.plan)
        try:
            for frame in read_frames(self._chunks(), nonce):
                self._take(frame)
        except IpvkitError as failure:
            failure.hint = failure.hint.replace(
                _UNDONE, f"target {self.target.kind} has ended, and all in it"
            )
            self.result.failure = failure
        finally:
            running.stop()
        result = self.result
        if result.failure is None and self.done is None:
            said = "\n".join([*self.noise, running.complaint()]).strip()
            result.failure = CommandFailed(
                f"the target {result.target} ended before the plan did",
                "`ipvkit doctor` tells what works here",
                stderr=said,
            )
        if self.done is not None:
            result.residue = (*_not_undone(result), *self._left())

    def _left(self) -> list[str]:
        try:
            before, after = (things(apart(self.views, self.looks[when])) for when in ("before", "after"))
            return residue(before, after)
        except IpvkitError as problem:
            return [f"{NOT_KNOWN}: {problem.message}"]

    def _chunks(self) -> Iterator[bytes]:
        while True:
            try:
                news = self.inbox.get(timeout=max(0.0, self.deadline - time.monotonic()))
            except Empty:
                raise CommandFailed("the run did not end in time", _MORE_TIME) from None
            if isinstance(news, Signal):
                self.listener(Stopping(signal.Signals(news.number).name))
                raise interrupted(news, _UNDONE)
            if isinstance(news, Output):
                if news.chunk is None:
                    return
                yield news.chunk

    def _take(self, frame: Frame) -> None:
        result = self.result
        match frame.event:
            case "hello":
                result.kernel = frame.stdout
            case "done":
                self.done = frame.exit_code
            case "noise":
                self.noise.append(frame.stdout)
            case "begin":
                self.began[frame.kind, frame.id] = frame.time_s
                if frame.kind in ("step", "undo"):
                    self.listener(Began(*self._what(frame), frame.kind == "undo"))
            case "end" if frame.kind in self.looks:
                seen = Completed(frame.exit_code, frame.stdout, frame.stderr, 0.0)
                self.looks[frame.kind][frame.id] = seen
            case "end":
                self._ended(frame)

    def _what(self, frame: Frame) -> tuple[Step | Entry, Command]:
        """Return the step that a frame is about, and the command; of undos in one batch, all of them."""
        if frame.kind == "step":
            return self.steps[frame.id], self.steps[frame.id].command
        parts = [self.parts[id] for id in frame.id.split(",")]
        undos = [(part.id, undo_command(part, self.result.completed)) for part in parts]
        [(_, command)] = undo_batches(undos)
        return in_one(parts, command), command

    def _ended(self, frame: Frame) -> None:
        step, command = self._what(frame)
        undoing = frame.kind == "undo"
        took = frame.time_s - self.began[frame.kind, frame.id]
        completed = Completed(frame.exit_code, frame.stdout, frame.stderr, took)
        finished = Finished(step, command, completed, undoing)
        self.listener(finished)
        if undoing:
            self.result.undone.append(finished)
            return
        self.result.completed[frame.id] = completed
        if frame.exit_code not in command.ok and self.result.failure is None:
            self.result.failure = _failed(self.steps[frame.id], command, completed)
