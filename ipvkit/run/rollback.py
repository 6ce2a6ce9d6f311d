"""Undoes the entries of a journal in reverse, where they still exist and are still the run's."""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from ipvkit.core.command import Command, Completed
from ipvkit.core.errors import Interrupted, IpvkitError
from ipvkit.lab import HOST
from ipvkit.plan import resources
from ipvkit.plan.resources import Finding, Observation, Resource
from ipvkit.run.batches import Job, undo_jobs
from ipvkit.run.execution import OnSignal, Signal, in_order, interrupted
from ipvkit.run.journal import Entry, Journal
from ipvkit.run.leftovers import look_at
from ipvkit.targets.agent import KILLED, Agent
from ipvkit.targets.process import ENDED
from ipvkit.tools.ip import failed_lines


@dataclass(frozen=True, slots=True)
class Began:
    """A process of steps or of an undo has begun."""

    job: Job
    undoing: bool = False


@dataclass(frozen=True, slots=True)
class Finished:
    """A process of steps or of an undo has ended."""

    job: Job
    completed: Completed
    undoing: bool = False


@dataclass(frozen=True, slots=True)
class Stopping:
    """A signal has come: no further step begins, and the run is being undone."""

    signal_name: str


Listener = Callable[[Began | Finished | Stopping], None]


def look_for(
    what: Collection[Resource],
    agent: Agent,
    mark_of_netns: Callable[[str], int | None],
    on_signal: OnSignal | None = None,
) -> Observation:
    """Return the state of `what` on the machine, with signals as in `ask`; raise IpvkitError without one."""
    seen = look_at(agent, resources.views_of(what), on_signal=on_signal)
    return resources.observe(what, seen, mark_of_netns)


@dataclass(slots=True)
class Rollback:
    """The undo of what is in a journal of a machine, by its agent.

    It has the undos that ran, a line for each leftover, and why a resource was left `alone`.

    Leftovers (`left`) stay in the journal. What was left alone belongs to another user now, and does not.
    The views `also` run in the last look as well: `seen` is their output, or empty, and `unseen` why.
    `failure` is why an ephemeral target ended too early.
    """

    journal: Journal
    agent: Agent
    listener: Listener
    also: Mapping[str, Command] = field(default_factory=dict)
    machine: str = HOST
    undone: list[Finished] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    alone: dict[str, str] = field(default_factory=dict)
    seen: dict[str, Completed] = field(default_factory=dict)
    unseen: str = ""
    failure: IpvkitError | None = None
    _tried: dict[str, Completed] = field(default_factory=dict)

    def run(self) -> None:
        """Undo what is in the journal; report signals in the agent's inbox, and continue.

        On an ephemeral target there is no first look: the last one shows the leftovers.
        """
        # Those of other machines are removed concurrently.
        entries = [e for e in reversed(tuple(self.journal.entries.values())) if e.on == self.machine]
        certain = [entry for entry in entries if entry.certain]
        if self.agent.target.ephemeral:
            try:
                self._undo(certain)
                self._look_again()
            except IpvkitError as problem:
                self.failure = problem
            return
        try:
            what = [entry.resource for entry in entries]
            seen = look_for(what, self.agent, self._mark_of_netns, self._signal)
        except Exception as problem:
            # The owner of the others is unknown.
            self._undo(certain)
            self._look_again()
            words = (problem.message, problem.stderr) if isinstance(problem, IpvkitError) else (str(problem),)
            why = " ".join(": ".join(filter(None, words)).split())
            unknown = [e.resource for e in entries if not e.certain]
            self.left += [f"unknown whether it exists: {resource} ({why})" for resource in unknown]
            return
        found = [(entry, self.journal.state_of(entry, seen)) for entry in entries]
        self._undo([entry for entry, state in found if self._is_to_undo(entry, state)])
        self._look_again()

    def _mark_of_netns(self, name: str) -> int | None:
        return self.journal.mark_of_netns(name, self.machine)

    def _is_to_undo(self, entry: Entry, seen: Finding) -> bool:
        match seen.state:
            case "held":
                self.left.append(seen.why)
            case "changed":
                self.alone[str(entry.resource)] = seen.why
                self.journal.end((), (entry.id,))
            case "gone" if not entry.certain:
                self.journal.end((), (entry.id,))
            case _:
                return True
        return False

    def _look_again(self) -> None:
        """Report the leftovers of what was undone; where the look fails, by the exit code of the undo."""
        tried = [entry for id, entry in tuple(self.journal.entries.items()) if id in self._tried]
        what = [] if self.agent.target.ephemeral else [entry.resource for entry in tried]
        observation = None
        try:
            views = {**self.also, **resources.views_of(what)}
            seen = look_at(self.agent, views, on_signal=self._signal)
            self.seen = {name: seen[name] for name in self.also}
            observation = resources.observe(what, seen, self._mark_of_netns) if what else None
        except Interrupted:
            raise
        except Exception as problem:
            self.unseen = getattr(problem, "message", str(problem))
        for entry in reversed(tried):
            completed = self._tried[entry.id]
            complaint = self.agent.complaint if completed is KILLED else ""
            there = completed.exit_code != 0
            if observation is not None and not isinstance(entry.resource, Command):
                there = self.journal.state_of(entry, observation).state in ("stands", "held")
            if there:
                why = completed.stderr.strip() or complaint or "it still exists"
                self.left.append(f"could not undo: {entry.undo}: {why}")
            else:
                self.journal.end((), (entry.id,))

    def _undo(self, entries: Sequence[Entry]) -> None:
        """Undo `entries` one after another, many in one process where they form a batch."""
        jobs = {job.id: (undone, job) for undone, job in undo_jobs(entries)}
        commands = {id: job.command for id, (_, job) in jobs.items()}
        try:
            for id, completed in in_order(self.agent, commands, self._signal):
                self._take(*jobs.pop(id), completed)
        except IpvkitError as problem:
            if self.agent.target.ephemeral:
                raise
            for undone, job in jobs.values():
                self._take(undone, job, Completed(127, "", problem.message, 0.0))

    def _signal(self, news: Signal) -> None:
        self._report(Stopping(news.name))
        if self.agent.target.ephemeral:
            raise interrupted(news, ENDED)

    def _take(self, undone: Sequence[Entry], job: Job, completed: Completed) -> None:
        """Record how a process has ended, for each of the entries that it undoes."""
        finished = Finished(job, completed, undoing=True)
        self.undone.append(finished)
        self._report(Began(job, undoing=True))
        self._report(finished)
        failed = {line.line: line.error for line in failed_lines(completed.stderr)}
        for number, entry in enumerate(undone, 1):
            # A batch names the lines that failed; the others have succeeded, unless it was killed.
            done = len(undone) > 1 and completed.exit_code > 0 and failed and number not in failed
            own = replace(completed, stderr=failed.get(number, completed.stderr))
            self._tried[entry.id] = replace(completed, exit_code=0) if done else own

    def _report(self, event: Began | Finished | Stopping) -> None:
        """Report an event; a listener that fails does not stop the undo."""
        with suppress(Exception):
            self.listener(event)
