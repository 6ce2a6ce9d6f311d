"""Runs a Plan on a Target, undoes it, and tells of each step as it begins and ends."""

import secrets
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from types import FrameType

from ipvkit.command import Command, Completed
from ipvkit.errors import CommandFailed, Interrupted, IpvkitError, MissingRequirement
from ipvkit.plan import Plan, Stage, Step
from ipvkit.script import Frame, payload, read_frames
from ipvkit.targets import CommandTarget, Ended, Inbox, Output, PayloadTarget, Running
from ipvkit.tools import ip, sysctl

UNDO_TIMEOUT_S = 10
"""How long one undo may take; what it undoes was done in milliseconds."""

_NOT_KNOWN = "not known, since the machine could not be looked at"
_SLASH = ":"
"""What stands for the slash in a sysctl's name where that names a view, and so a file."""

_NOT_THERE = "cannot stat /proc/sys/net/"
_UNDONE = "what was done has been undone"
_MORE_TIME = f"give it more with --timeout; {_UNDONE}"


@dataclass(frozen=True, slots=True)
class Began:
    """A step, or its undo, has begun with this command."""

    step: Step
    command: Command
    undoing: bool = False


@dataclass(frozen=True, slots=True)
class Finished:
    """A step, or its undo, has ended."""

    step: Step
    command: Command
    completed: Completed
    undoing: bool = False


@dataclass(frozen=True, slots=True)
class Stopping:
    """A signal has come: no further step begins, and what was done is being undone."""

    signal_name: str


Target = CommandTarget | PayloadTarget
Listener = Callable[[Began | Finished | Stopping], None]


@dataclass(slots=True)
class Run:
    """What came of a plan: each step's Completed by its id, what is left, and what went wrong."""

    plan: Plan
    target: str
    kernel: str = ""
    completed: dict[str, Completed] = field(default_factory=dict)
    undone: list[Finished] = field(default_factory=list)
    residue: tuple[str, ...] = ()
    failure: IpvkitError | None = None
    duration_s: float = 0.0
    kept: bool = False


@dataclass(frozen=True, slots=True)
class Signal:
    """A signal that has come, in the inbox."""

    number: int


def run(
    plan: Plan,
    target: Target,
    listener: Listener,
    *,
    keep: bool = False,
    timeout_s: float = 120.0,
    inbox: Inbox | None = None,
) -> Run:
    """Run `plan` on `target` and undo it, also when a step fails, time is up or a signal comes.

    With `keep` (on a CommandTarget) what was built stays when all steps went well. A failure is in the
    Run's `failure`: CommandFailed, Interrupted or MissingRequirement. ^C, TERM and HUP end a run early;
    outside the main thread, a `Signal` put into `inbox` does.
    """
    result = Run(plan, target.kind)
    inbox = SimpleQueue() if inbox is None else inbox
    started = time.monotonic()
    with signals_into(inbox):
        if isinstance(target, PayloadTarget):
            _PayloadRun(result, target, listener, inbox, started + timeout_s).run(timeout_s)
        else:
            _CommandRun(result, target, listener, inbox, started + timeout_s).run(keep=keep)
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


@contextmanager
def signals_into(inbox: Inbox) -> Iterator[None]:
    """Have ^C, TERM and HUP put into the inbox, so that they are seen between two steps only."""

    def put(number: int, _frame: FrameType | None) -> None:
        inbox.put(Signal(number))

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    former = {number: signal.signal(number, put) for number in numbers}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _interrupted(number: int) -> Interrupted:
    return Interrupted(f"interrupted by {signal.Signals(number).name}", _UNDONE)


def _not_started(step: Step, problem: Exception) -> IpvkitError:
    if isinstance(problem, IpvkitError):
        problem.hint += f"; {_UNDONE}"
        return problem
    return CommandFailed(f"{step.id}, {step.purpose}: {problem}", _UNDONE, command=str(step.command))


def _not_undone(result: Run) -> list[str]:
    """Return a line for each undo that failed."""
    failed = [f for f in result.undone if f.completed.exit_code != 0]
    return [f"could not undo: {f.command}: {f.completed.stderr.strip()}" for f in failed]


def _failed(step: Step, command: Command, completed: Completed) -> IpvkitError:
    message = f"{step.id}, {step.purpose}, {_how(completed)}"
    said = completed.stderr.strip() or completed.stdout.strip()
    return CommandFailed(message, _UNDONE, command=str(command), stderr=said)


def _how(completed: Completed) -> str:
    code = completed.exit_code
    return f"failed with exit code {code}" if code >= 0 else f"died of {signal.Signals(-code).name}"


class _CommandRun:
    """A run whose commands are started one by one from here."""

    def __init__(
        self, result: Run, target: CommandTarget, listener: Listener, inbox: Inbox, deadline: float
    ) -> None:
        self.result = result
        self.target = target
        self.listener = listener
        self.inbox = inbox
        self.deadline = deadline
        self.done: list[Step] = []

    def run(self, *, keep: bool) -> None:
        result = self.result
        before: dict[str, Completed] = {}
        all_went_well = False
        try:
            before = self._look()
            result.kernel = before["kernel"].stdout.strip()
            for stage in result.plan.stages:
                self._stage(stage)
            all_went_well = True
        except IpvkitError as failure:
            result.failure = failure
        finally:
            result.kept = keep and all_went_well
            if not result.kept:
                self._undo()
                result.residue = (*_not_undone(result), *self._left_since(before))

    def _left_since(self, before: Mapping[str, Completed]) -> list[str]:
        if not before:
            return []
        try:
            return _residue(before, self._look())
        except IpvkitError as problem:
            return [f"{_NOT_KNOWN}: {problem.command}: {problem.stderr}"]

    def _look(self) -> dict[str, Completed]:
        return look(self.target, {**views_of(self.result.plan), "kernel": Command(("uname", "-r"))})

    def _stage(self, stage: Stage) -> None:
        """Run the steps of a stage side by side; raise what ends the run, after all of them ended."""
        self._raise_if_signalled()
        waiting: dict[str, Running] = {}
        by_id = {step.id: step for step in stage}
        failure: IpvkitError | None = None
        deadline = self.deadline
        for step in stage:
            self.listener(Began(step, step.command))
            try:
                waiting[step.id] = self.target.start(step.id, step.command, self.inbox)
            except Exception as problem:
                failure = _not_started(step, problem)
                break
        while waiting:
            news = self._next(deadline)
            if isinstance(news, Ended):
                step = by_id[news.key]
                del waiting[news.key]
                self.result.completed[step.id] = news.completed
                self.listener(Finished(step, step.command, news.completed))
                if news.completed.exit_code not in step.command.ok:
                    failure = failure or _failed(step, step.command, news.completed)
                continue
            if isinstance(news, Signal):
                self.listener(Stopping(signal.Signals(news.number).name))
                failure = _interrupted(news.number)
            elif deadline > self.deadline:
                failure = CommandFailed(f"{', '.join(waiting)} did not end even when killed", _UNDONE)
                break
            else:
                failure = failure or CommandFailed("the run did not end in time", _MORE_TIME)
                deadline = time.monotonic() + UNDO_TIMEOUT_S
            # What changes something ends by itself at once; only that it has ended tells what it did.
            for id, running in waiting.items():
                if by_id[id].undo is None or news is None:
                    running.stop()
        for step in stage:
            self._record(step)
        if failure is not None:
            raise failure

    def _record(self, step: Step) -> None:
        """Remember that a step that succeeded has to be undone, and what it settled no longer."""
        completed = self.result.completed.get(step.id)
        if completed is None or completed.exit_code not in step.command.ok:
            return
        self.done = [done for done in self.done if done.id not in step.settles]
        if step.undo is not None and completed.exit_code == 0:
            self.done.append(step)

    def _next(self, deadline: float) -> Ended | Signal | None:
        """Return what comes next into the inbox, or None when the deadline is over."""
        try:
            news: Ended | Signal = self.inbox.get(timeout=max(0.0, deadline - time.monotonic()))
        except Empty:
            return None
        return news

    def _raise_if_signalled(self) -> None:
        try:
            news = self.inbox.get_nowait()
        except Empty:
            return
        self.listener(Stopping(signal.Signals(news.number).name))
        raise _interrupted(news.number)

    def _undo(self) -> None:
        """Undo in reverse what was done, whatever comes in between."""
        while self.done:
            step = self.done.pop()
            command = undo_command(step, self.result.completed)
            self._tell(Began(step, command, undoing=True))
            try:
                completed = self._wait_for_undo(self.target.start(step.id, command, self.inbox))
            except Exception as problem:
                completed = Completed(127, "", str(problem), 0.0)
            finished = Finished(step, command, completed, undoing=True)
            self.result.undone.append(finished)
            self._tell(finished)

    def _tell(self, event: Began | Finished | Stopping) -> None:
        """Tell of an undo; a listener that fails does not keep it from being done."""
        with suppress(Exception):
            self.listener(event)

    def _wait_for_undo(self, running: Running) -> Completed:
        """Return what the undo did; it is killed when it hangs, and signals change nothing."""
        for _ in range(2):
            deadline = time.monotonic() + UNDO_TIMEOUT_S
            while (news := self._next(deadline)) is not None:
                if isinstance(news, Ended):
                    return news.completed
                self._tell(Stopping(signal.Signals(news.number).name))
            running.stop()
        return Completed(-signal.SIGKILL, "", "did not end even when killed", 2 * UNDO_TIMEOUT_S)


def ask(target: CommandTarget, views: Mapping[str, Command]) -> dict[str, Completed]:
    """Return what each of `views`, commands that change nothing, did, however it ended.

    They run side by side. Raise CommandFailed if one does not end in time.
    """
    inbox: Inbox = SimpleQueue()
    waiting = {name: target.start(name, view, inbox) for name, view in views.items()}
    seen: dict[str, Completed] = {}
    while len(seen) < len(views):
        try:
            news = inbox.get(timeout=UNDO_TIMEOUT_S)
        except Empty:
            for running in waiting.values():
                running.stop()
            late = next(str(view) for name, view in views.items() if name not in seen)
            raise CommandFailed(f"no answer within {UNDO_TIMEOUT_S} s", command=late) from None
        seen[news.key] = news.completed
    return seen


def look(target: CommandTarget, views: Mapping[str, Command]) -> dict[str, Completed]:
    """Return what each of `views`, commands that change nothing, shows; CommandFailed if one fails."""
    seen = ask(target, views)
    for name, completed in seen.items():
        if completed.exit_code != 0:
            message = "the machine could not be looked at"
            raise CommandFailed(message, command=str(views[name]), stderr=completed.stderr.strip())
    return seen


def execute(target: CommandTarget, command: Command, *, timeout_s: float) -> Completed:
    """Return what one command did; it has ended when this returns or raises.

    Raise CommandFailed where it fails or does not end in time, Interrupted where a signal comes, and
    MissingRequirement where this user may not.
    """
    inbox: Inbox = SimpleQueue()
    news: Ended | Signal | None = None
    with signals_into(inbox):
        running = target.start("command", command, inbox)
        with suppress(Empty):
            news = inbox.get(timeout=timeout_s)
    if isinstance(news, Ended):
        return succeeded(command, news.completed)
    running.stop()
    if news is None:
        raise _late(command, timeout_s)
    name = signal.Signals(news.number).name
    raise Interrupted(f"interrupted by {name}", "the command was ended; what it had done by then stays")


def carry_out(target: CommandTarget, command: Command, *, timeout_s: float = UNDO_TIMEOUT_S) -> Completed:
    """Return what one command did, as `execute` does, but under whatever `signals_into` the caller has.

    So a signal does not end half-way what changes something.
    """
    inbox: Inbox = SimpleQueue()
    running = target.start("command", command, inbox)
    try:
        completed: Completed = inbox.get(timeout=timeout_s).completed
    except Empty:
        running.stop()
        raise _late(command, timeout_s) from None
    return succeeded(command, completed)


def _late(command: Command, timeout_s: float) -> CommandFailed:
    return CommandFailed(
        f"{command.argv[0]} did not end within {timeout_s:g} s and was killed", command=str(command)
    )


def succeeded(command: Command, completed: Completed) -> Completed:
    """Return `completed`; raise MissingRequirement where this user may not, CommandFailed where it failed."""
    if completed.exit_code in command.ok:
        return completed
    said = completed.stderr.strip() or completed.stdout.strip()
    if "operation not permitted" in said.lower() or "permission denied" in said.lower():
        raise MissingRequirement("this user may not do that", "use sudo", command=str(command), stderr=said)
    raise CommandFailed(f"{command.argv[0]} {_how(completed)}", command=str(command), stderr=said)


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
        self.began: dict[tuple[str, str], float] = {}
        self.looks: dict[str, dict[str, Completed]] = {"before": {}, "after": {}}
        self.noise: list[str] = []
        self.done: int | None = None

    def run(self, timeout_s: float) -> None:
        nonce = secrets.token_hex(8)
        text = payload(self.result.plan, views_of(self.result.plan), nonce, self.target.work)
        running = self.target.start(text, timeout_s, self.inbox)
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
            result.residue = (*_not_undone(result), *_residue(self.looks["before"], self.looks["after"]))

    def _chunks(self) -> Iterator[bytes]:
        while True:
            try:
                news = self.inbox.get(timeout=max(0.0, self.deadline - time.monotonic()))
            except Empty:
                raise CommandFailed("the run did not end in time", _MORE_TIME) from None
            if isinstance(news, Signal):
                self.listener(Stopping(signal.Signals(news.number).name))
                raise _interrupted(news.number)
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
                    step = self.steps[frame.id]
                    self.listener(Began(step, self._command(frame), frame.kind == "undo"))
            case "end" if frame.kind in self.looks:
                seen = Completed(frame.exit_code, frame.stdout, frame.stderr, 0.0)
                self.looks[frame.kind][frame.id] = seen
            case "end":
                self._ended(frame)

    def _command(self, frame: Frame) -> Command:
        step = self.steps[frame.id]
        return undo_command(step, self.result.completed) if frame.kind == "undo" else step.command

    def _ended(self, frame: Frame) -> None:
        step = self.steps[frame.id]
        command = self._command(frame)
        undoing = frame.kind == "undo"
        took = frame.time_s - self.began[frame.kind, frame.id]
        completed = Completed(frame.exit_code, frame.stdout, frame.stderr, took)
        finished = Finished(step, command, completed, undoing)
        self.listener(finished)
        if undoing:
            self.result.undone.append(finished)
            return
        self.result.completed[step.id] = completed
        if frame.exit_code not in step.command.ok and self.result.failure is None:
            self.result.failure = _failed(step, command, completed)


def views_of(plan: Plan) -> dict[str, Command]:
    """Return the commands that show what a run of `plan` could leave behind, by name."""
    views = {"netns": ip.netns_list(), "addr": ip.addr_show()}
    return views | {key.replace("/", _SLASH): sysctl.get_value(key) for key in plan.sysctls}


def _residue(before: Mapping[str, Completed], after: Mapping[str, Completed]) -> list[str]:
    """Return a line for each namespace, link, address and sysctl that is there after and was not before.

    What could not be looked at is told too: nobody knows then what is left.
    """
    try:
        there = set(_things(before))
        return [thing for thing in _things(after) if thing not in there]
    except IpvkitError as problem:
        return [f"{_NOT_KNOWN}: {problem.message}"]


def _things(seen: Mapping[str, Completed]) -> Sequence[str]:
    # The simulated LAN's own interface, and its sysctls, are not there before it is built.
    seen = {name: completed for name, completed in seen.items() if _NOT_THERE not in completed.stderr}
    for name, completed in seen.items():
        if completed.exit_code != 0:
            raise CommandFailed(f"{name}: {completed.stderr.strip()}")
    things = [f"netns {netns.name}" for netns in ip.parse_netns(seen["netns"].stdout)]
    for link in ip.parse_addresses(seen["addr"].stdout):
        dev = link.ifname
        # The kernel's own IPv6 addresses come and go with a link's carrier.
        own = [a.address for a in link.addresses if a.address.version == 4 or a.scope == "global"]
        things += [f"link {dev}", *(f"address {address} on {dev}" for address in own)]
    sysctls = [name for name in seen if name.startswith("net.")]
    return [*things, *(f"{key.replace(_SLASH, '/')} = {seen[key].stdout.strip()}" for key in sysctls)]
