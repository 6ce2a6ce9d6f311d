"""Takes back what a ledger holds, in reverse, after a look at whether it is still there, and still ours."""

import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice

from ipvkit.core.command import Command, Completed
from ipvkit.core.errors import IpvkitError
from ipvkit.plan import resources
from ipvkit.plan.resources import Observation, Resource, ResourceState, Seen
from ipvkit.plan.steps import Step
from ipvkit.run.batches import undo_batches
from ipvkit.run.execution import BOUND_S, ROW_FROM, Signal, ask, next_of
from ipvkit.run.ledger import Entry, Ledger, mark_of_netns
from ipvkit.targets import CommandTarget, Inbox, RowTarget, Running
from ipvkit.tools.ip import LINES_A_S, failed_lines


@dataclass(frozen=True, slots=True)
class Began:
    """A step, or its undo, has begun with this command."""

    step: Step | Entry
    command: Command
    undoing: bool = False


@dataclass(frozen=True, slots=True)
class Finished:
    """A step, or its undo, has ended."""

    step: Step | Entry
    command: Command
    completed: Completed
    undoing: bool = False


@dataclass(frozen=True, slots=True)
class Stopping:
    """A signal has come: no further step begins, and what was done is being undone."""

    signal_name: str


def in_one(parts: Sequence[Step | Entry], command: Command) -> Step | Entry:
    """Return what stands for `parts` whose undo is one `command`: the only one, or all of them."""
    if len(parts) == 1:
        return parts[0]
    return Step(f"{parts[0].id}+{len(parts) - 1}", f"{parts[0].purpose}; and {len(parts) - 1} more", command)


def not_undone(finished: Finished) -> list[str]:
    """Return a line for each thing that an undo did not take back."""
    if finished.completed.exit_code == 0:
        return []
    stderr, program = finished.completed.stderr, finished.command.argv[0]
    lines = [
        f"could not undo: {program} {finished.command.stdin[failed.line - 1]}: {failed.said}"
        for failed in failed_lines(stderr)
        if failed.line <= len(finished.command.stdin)
    ]
    return lines or [f"could not undo: {finished.command}: {stderr.strip()}"]


Listener = Callable[[Began | Finished | Stopping], None]


@dataclass(slots=True)
class Rollback:
    """What came of it: the undos that ran, a line for each thing that is `left`, and why each is let `alone`.

    What is left is still in the ledger. What was let alone is somebody else's by now, and is not. `seen` is
    what the last look has shown besides.
    """

    undone: list[Finished] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    alone: dict[str, str] = field(default_factory=dict)
    seen: dict[str, Completed] = field(default_factory=dict)


def rollback(
    ledger: Ledger,
    target: CommandTarget,
    listener: Listener,
    inbox: Inbox,
    *,
    also: Mapping[str, Command] | None = None,
) -> Rollback:
    """Undo what is in `ledger`; signals in `inbox` are told and change nothing.

    The last look is at what the views `also` show as well.
    """
    return _TakingBack(ledger, target, listener, inbox, also or {}).run()


def look_for(what: Sequence[Resource], target: CommandTarget) -> Observation:
    """Return what the machine shows of `what`; raise IpvkitError where it cannot be seen."""
    return _sight(what, ask(target, _views(what)))


def _views(what: Sequence[Resource]) -> dict[str, Command]:
    return {name: view for effect in what for name, view in effect.views.items()}


def _sight(what: Sequence[Resource], seen: Mapping[str, Completed]) -> Observation:
    return resources.sight(what, seen, {name: mark_of_netns(name) for name in resources.namespaces_of(what)})


def resources_of(entries: Iterable[Entry]) -> list[Resource]:
    """Return the effects of `entries` that can be looked for."""
    return [entry.effect for entry in entries if entry.effect is not None]


def standing(entry: Entry, sight: Observation) -> Seen:
    """Return how what `entry` has left stands; that nobody can look for it counts as standing."""
    if entry.effect is None:
        return Seen(ResourceState.STANDS)
    return resources.standing(entry.effect, sight, entry.mark, entry.former)


class _TakingBack:
    def __init__(
        self,
        ledger: Ledger,
        target: CommandTarget,
        listener: Listener,
        inbox: Inbox,
        also: Mapping[str, Command],
    ) -> None:
        self.also = also
        self.ledger = ledger
        self.target = target
        self.listener = listener
        self.inbox = inbox
        self.result = Rollback()
        self.tried: dict[str, Completed] = {}

    def run(self) -> Rollback:
        entries = list(reversed(self.ledger.entries.values()))
        try:
            sight = look_for(resources_of(entries), self.target)
        except Exception as problem:
            self._without_a_look(entries, problem)
            return self.result
        there: list[Entry] = []
        for entry in entries:
            seen = standing(entry, sight)
            match seen.standing:
                case ResourceState.HELD:
                    self.result.left.append(seen.why)
                case ResourceState.CHANGED:
                    self.result.alone[str(entry.effect)] = seen.why
                    self.ledger.end((), (entry.id,))
                case ResourceState.GONE if not entry.certain:
                    self.ledger.end((), (entry.id,))
                case _:
                    there.append(entry)
        self._undo(there)
        self._look_again()
        return self.result

    def _without_a_look(self, entries: list[Entry], problem: Exception) -> None:
        """Undo what has certainly been done, moments ago; of the rest nobody knows whether it is ours."""
        self._undo([entry for entry in entries if entry.certain])
        self._look_again()
        said = f"{problem.message} {problem.stderr}" if isinstance(problem, IpvkitError) else str(problem)
        for entry in entries:
            if not entry.certain:
                line = f"not known whether it is there: {entry.effect or entry.undo}"
                self.result.left.append(f"{line} ({' '.join(said.split())})")

    def _look_again(self) -> None:
        """Tell what is left of what was undone; where nobody can look, by how its command ended."""
        entries = [entry for id, entry in self.ledger.entries.items() if id in self.tried]
        found, sight = resources_of(entries), None
        with suppress(Exception):
            seen = ask(self.target, {**self.also, **_views(found)})
            self.result.seen = {name: seen[name] for name in self.also}
            sight = _sight(found, seen)
        for entry in reversed(entries):
            completed = self.tried[entry.id]
            there = completed.exit_code != 0
            if sight is not None and entry.effect is not None:
                there = standing(entry, sight).standing in (ResourceState.STANDS, ResourceState.HELD)
            if there:
                said = completed.stderr.strip() or "it is still there"
                self.result.left.append(f"could not undo: {entry.undo}: {said}")
            else:
                self.ledger.end((), (entry.id,))

    def _undo(self, entries: Sequence[Entry]) -> None:
        """Undo `entries` one after another, many that go together in one process."""
        by_id = {entry.id: entry for entry in entries}
        batches = undo_batches((entry.id, entry.undo) for entry in entries)
        whole = [in_one([by_id[id] for id in ids], command) for ids, command in batches]
        ids_of = {step.id: ids for step, (ids, _) in zip(whole, batches, strict=True)}
        commands = {step.id: (step, command) for step, (_, command) in zip(whole, batches, strict=True)}
        for finished in self._in_order(commands):
            self.result.undone.append(finished)
            self._tell(finished)
            completed, ids = finished.completed, ids_of[finished.step.id]
            failed = {line.line: line.said for line in failed_lines(completed.stderr)}
            for number, id in enumerate(ids, 1):
                # What a batch does not name has been done, unless it was killed.
                done = len(ids) > 1 and completed.exit_code > 0 and failed and number not in failed
                said = replace(completed, stderr=failed.get(number, completed.stderr))
                self.tried[id] = replace(completed, exit_code=0) if done else said

    def _in_order(self, commands: Mapping[str, tuple[Step | Entry, Command]]) -> Iterator[Finished]:
        """Run `commands`, and yield how each ended, also those after one that hangs."""
        left = {f"undo {id}": what for id, what in commands.items()}
        rows = self.target if isinstance(self.target, RowTarget) else None
        while left:
            some = dict(left if rows and len(left) >= ROW_FROM else islice(left.items(), 1))
            running: Running | None = None
            if rows and len(some) > 1:
                try:
                    running = rows.start_row({key: command for key, (_, command) in some.items()}, self.inbox)
                except Exception:
                    # The program of one may be gone, which is no reason to leave the others.
                    rows = None
                    continue
            for key, (step, command) in some.items():
                self._tell(Began(step, command, undoing=True))
                try:
                    running = running or self.target.start(key, command, self.inbox)
                    completed = self._wait(key, running, BOUND_S + len(command.stdin) // LINES_A_S)
                except Exception as problem:
                    completed = Completed(127, "", str(problem), 0.0)
                if completed is None:
                    # What was before it in the row had to be killed.
                    break
                del left[key]
                yield Finished(step, command, completed, undoing=True)

    def _tell(self, event: Began | Finished | Stopping) -> None:
        """Tell of an undo; a listener that fails does not keep it from being done."""
        with suppress(Exception):
            self.listener(event)

    def _wait(self, key: str, running: Running, bound_s: float) -> Completed | None:
        """Return what an undo did, None if it was never begun; one that hangs is killed.

        Signals change nothing.
        """
        for _ in range(2):
            deadline = time.monotonic() + bound_s
            while (news := next_of(self.inbox, deadline)) is not None:
                if isinstance(news, Signal):
                    self._tell(Stopping(signal.Signals(news.number).name))
                elif news.key == key:
                    return news.completed
            running.stop()
        return Completed(-signal.SIGKILL, "", "did not end even when killed", 2 * bound_s)
