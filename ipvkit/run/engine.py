"""Runs a Plan through the agent of a target, undoes it, and reports each process as it begins and ends."""

import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from queue import SimpleQueue

from ipvkit.core.command import Command, Completed
from ipvkit.core.errors import CommandFailed, Interrupted, IpvkitError, UsageError
from ipvkit.lab import Prober
from ipvkit.plan.resources import is_new, is_number, observe, state_of
from ipvkit.plan.steps import Plan, Step, Undo
from ipvkit.run import execution
from ipvkit.run.batches import Job, jobs_of
from ipvkit.run.capture import Captured, on_cables
from ipvkit.run.execution import BOUND_S, Signal, interrupted, is_quick, next_of
from ipvkit.run.journal import Entry, Journal
from ipvkit.run.leftovers import NOT_KNOWN, Snapshot, leftovers, look_at, snapshot_of, views_of, words_of
from ipvkit.run.machines import Machines
from ipvkit.run.rollback import Began, Finished, Listener, Rollback, Stopping
from ipvkit.targets.agent import KILLED, Agent, Ended, Inbox, Target
from ipvkit.targets.cables import CableFrame, Tap
from ipvkit.targets.process import ENDED
from ipvkit.tools import tcpdump
from ipvkit.tools.ip import failed_lines

_Questions = dict[str, tuple[str, Command]]
"""A server, and the command that prints something when the answer is yes, by a key."""

_UNDONE = "what was done has been undone"
_NOT_ALL_UNDONE = "not all that was done has been undone: the report lists the leftovers"


@dataclass(slots=True)
class Run:
    """The result of a plan: how and when each of its `jobs` ended by its id, its leftovers, and its failure.

    `jobs` are those of each section by its name, in stages; `captured` is what was captured during
    checks, and `cable_frames` all of several hosts. `left_alone` lists what another user has
    changed since, and so was not undone.
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
    ended_s: dict[str, float] = field(default_factory=dict)
    jobs: Mapping[str, Sequence[Sequence[Job]]] = field(default_factory=dict)
    captured: list[Captured] = field(default_factory=list)
    cable_frames: list[CableFrame] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.jobs = self.jobs or jobs_of(self.plan)


def run(
    plan: Plan,
    target: Target,
    listener: Listener,
    *,
    keep: bool = False,
    timeout_s: float = 120.0,
    inbox: Inbox | None = None,
    journal: Journal | None = None,
    prober: Prober = "ping",
) -> Run:
    """Run `plan` on `target` and undo it, also when a step fails, time is up or a signal comes.

    With `keep` everything stays when all steps succeeded. Each undo is in `journal` before its step begins;
    an undo that failed stays there. A failure is in the Run's `failure`: CommandFailed, Interrupted or
    MissingRequirement. ^C, TERM, HUP and QUIT end a run early; outside the main thread, a `Signal` put into
    `inbox` does. An ephemeral target is then ended at once, without an undo.
    """
    result = Run(plan, target.kind, jobs=jobs_of(plan, prober))
    inbox, journal = inbox or SimpleQueue(), journal or Journal()
    started = time.monotonic()
    with ExitStack() as stack:
        tap = stack.enter_context(Tap()) if plan.lab.several_hosts and plan.captures else None
        stack.enter_context(execution.signals_into(inbox))
        machines = stack.enter_context(Machines(target.machines(plan.lab, tap), inbox, plan))
        _Engine(result, machines, listener, started + timeout_s, journal).run(keep=keep)
    if tap is not None:
        result.cable_frames = tap.frames
        result.captured += on_cables(result.captured, tap.frames)
    result.duration_s = time.monotonic() - started
    return result


@contextmanager
def standing(plan: Plan, target: Target, *, timeout_s: float = 120.0) -> Iterator["Standing"]:
    """Build what `plan` creates on an ephemeral target, which ends with the block.

    Raise the failure of a step, or MissingRequirement. Signals keep their handlers.
    """
    # What else runs there is unknown, and may need other modules; many endpoints need memory.
    known = plan if plan.lab.in_batches else None
    with Machines(target.machines(plan.lab), SimpleQueue(), known) as machines:
        built = Run(plan, target.kind)
        _Engine(built, machines, _listen_to_none, time.monotonic() + timeout_s, Journal()).run(keep=True)
        if built.failure is not None:
            raise built.failure
        yield Standing(machines, target.kind)


@dataclass(frozen=True, slots=True)
class Standing:
    """The machines of a plan that has been carried out, for further plans of its lab."""

    machines: Machines
    kind: str

    def more(self, plan: Plan, *, timeout_s: float) -> Run:
        """Carry out the stages of `plan`, and undo nothing; raise the failure of a step."""
        more = Run(plan, self.kind)
        engine = _Engine(more, self.machines, _listen_to_none, time.monotonic() + timeout_s, Journal())
        engine.stages()
        return more


def _listen_to_none(_: Began | Finished | Stopping) -> None:
    pass


def run_concurrently(
    plans: Sequence[Plan],
    target: Target,
    listener: Listener,
    *,
    at_once: int,
    timeout_s: float,
    prober: Prober = "ping",
) -> list[Run]:
    """Run each of `plans` on a separate `target`, `at_once` of them at a time; a signal ends them all."""
    inboxes: list[Inbox] = [SimpleQueue() for _ in plans]
    news: Inbox = SimpleQueue()
    lock = threading.Lock()

    def report(event: Began | Finished | Stopping) -> None:
        with lock:
            listener(event)

    with execution.signals_into(news), ThreadPoolExecutor(at_once) as pool:
        running = [
            pool.submit(run, plan, target, report, timeout_s=timeout_s, inbox=inbox, prober=prober)
            for plan, inbox in zip(plans, inboxes, strict=True)
        ]
        for future in running:
            future.add_done_callback(news.put)
        for _ in range(len(plans)):
            while isinstance(what := news.get(), Signal):
                for inbox in inboxes:
                    inbox.put(what)
    return [future.result() for future in running]


def steps_done(job: Job, completed: Completed) -> int | None:
    """Return how many steps of `job`, the first ones, have been done; None where that is unknown."""
    if completed.exit_code == 0:
        return len(job.steps)
    if completed.exit_code < 0:
        return None
    if len(job.steps) == 1:
        return 0
    failed = failed_lines(completed.stderr)
    return failed[0].line - 1 if failed else None


def _now_us() -> int:
    return time.time_ns() // 1000


class _Engine:
    def __init__(
        self, result: Run, machines: Machines, listener: Listener, deadline: float, journal: Journal
    ) -> None:
        self.result, self.machines, self.journal = result, machines, journal
        self.deadline = deadline
        self._report, self._reporting = listener, threading.RLock()
        self.views = {name: views_of(result.plan, name) for name in machines.each}
        self.killed = self.gone = False
        """Whether the agent was killed, and whether the target has ended, with everything in it."""

    def listener(self, event: Began | Finished | Stopping) -> None:
        """Report an event; machines are undone concurrently."""
        with self._reporting:
            self._report(event)

    def run(self, *, keep: bool) -> None:
        result = self.result
        before: dict[str, Snapshot] = {}
        try:
            self.machines.begin()
            before = self.machines.on_each(self._first_look)
            result.kernel = self.machines.kernel
            self.stages()
            if keep:
                self.journal.keep()
                result.kept = True
        except IpvkitError as failure:
            result.failure = failure
        finally:
            if not result.kept:
                self._undo(before)

    def stages(self) -> None:
        """Run all stages, one after another; raise the first failure."""
        for stage in (stage for jobs in self.result.jobs.values() for stage in jobs):
            self._stage([job for job in stage if not self._needless(job)])

    def _first_look(self, machine: str, agent: Agent) -> Snapshot:
        """Return the state of a machine; raise UsageError if what the plan creates there exists already."""
        # A guest has to start first, which may take a while.
        seen = look_at(agent, self.views[machine], max(BOUND_S, self.deadline - time.monotonic()))
        self._refuse_what_is_there(machine, seen)
        return snapshot_of(seen)

    def _undo(self, before: Mapping[str, Snapshot]) -> None:
        result = self.result
        if self.gone:
            if result.failure is not None:
                result.failure.hint = result.failure.hint.replace(_UNDONE, ENDED)
            return

        def undo(machine: str, agent: Agent) -> Rollback:
            done = Rollback(self.journal, agent, self.listener, self.views[machine], machine)
            done.run()
            return done

        for name, done in self.machines.on_each(undo).items():
            result.undone += done.undone
            result.left_alone += tuple(done.alone.values())
            if done.failure is not None:
                self._kill()
                result.failure = result.failure or done.failure
                return
            where = f"{name}: " if len(self.machines.each) > 1 else ""
            left = (*done.left, *self._left_since(before.get(name), done))
            result.residue += tuple(f"{where}{line}" for line in left)
        if result.failure is not None and result.residue:
            result.failure.hint = result.failure.hint.replace(_UNDONE, _NOT_ALL_UNDONE)

    def _left_since(self, before: Snapshot | None, done: Rollback) -> list[str]:
        if before is None:
            return []
        if not done.seen:
            return [f"{NOT_KNOWN}: {done.unseen}"]
        try:
            after = snapshot_of(done.seen)
        except IpvkitError as problem:
            return [f"{NOT_KNOWN}: {problem.message}"]
        concerned = None if self.machines.ephemeral else words_of(self.result.plan)
        return leftovers(before, after, concerned, done.alone)

    def _refuse_what_is_there(self, machine: str, seen: Mapping[str, Completed]) -> None:
        """Raise UsageError if a resource that the plan creates exists already: it belongs to another user."""
        undos = (step.undo for step in self.result.plan.steps if step.on == machine)
        made = [undo.resource for undo in undos if undo is not None and is_new(undo.resource)]
        found = observe(made, seen)
        there = [str(one) for one in made if state_of(one, found).state != "gone"]
        if there:
            raise UsageError(f"already in use: {', '.join(dict.fromkeys(there))}", "choose other names")

    def _needless(self, job: Job) -> bool:
        """Return whether `job` deletes what this run did not create: that would belong to another user."""
        deletes = all(step.undo is None and step.cancels_undo_of for step in job.steps)
        deleted = [id for step in job.steps for id in step.cancels_undo_of]
        return deletes and self.journal.entries.keys().isdisjoint(deleted)

    def _stage(self, stage: Sequence[Job]) -> None:
        """Run the jobs of a stage concurrently; raise the failure, after all of them have ended."""
        if isinstance(news := next_of(self.machines.inbox, 0.0), Signal):
            raise self._stopped(news, ())
        if not stage:
            return
        self.machines.require_for(stage)
        self.journal.begin([self._entry(s, s.undo) for job in stage for s in job.steps if s.undo is not None])
        started: set[str] = set()
        began_us = _now_us()
        try:
            self._wait({job.id: job for job in stage}, started)
        except IpvkitError:
            raise
        except BaseException:
            self._kill()
            raise
        finally:
            self._record(stage, started)
        self._collect([job for job in stage if job.capture is not None], began_us)

    def _collect(self, servers: Sequence[Job], began_us: int) -> None:
        """Keep what `servers` have captured since then; a signal meanwhile is seen before the next stage."""
        ended_us, later = _now_us(), list[Signal]()
        contents: dict[str, Completed] = {}
        for name in dict.fromkeys(job.on for job in servers):
            own = {job.id: job.capture.file for job in servers if job.capture and job.on == name}
            views = {id: tcpdump.content(file) for id, file in own.items()}
            contents |= execution.ask(self.machines.each[name], views, on_signal=later.append)
        for job in servers:
            counts, content = self.result.completed[job.id].stderr, contents[job.id].stdout
            found = tcpdump.parse_capture(counts, content)
            if job.capture is not None:
                kept = Captured(job.capture, found.frames, found.missing, began_us, ended_us)
                self.result.captured.append(kept)
        for news in later:
            self.machines.inbox.put(news)

    def _wait(self, jobs: Mapping[str, Job], started: set[str]) -> None:
        """Run `jobs` until all have ended, or time is up; raise the first failure.

        The others begin when the servers are ready, which end when the others have; a capture has to write
        first what it has seen.
        """
        servers = {id: job for id, job in jobs.items() if job.ready is not None}
        later = {id: job for id, job in jobs.items() if id not in servers} if servers else {}
        waiting = self._begin(servers or jobs, started)
        asked = self._ask({f"{id} is ready": (id, job.ready) for id, job in servers.items() if job.ready})
        stopped: set[str] = set()
        failure: IpvkitError | None = None
        deadline = self.deadline
        while waiting:
            match next_of(self.machines.inbox, deadline):
                case Ended(key, completed) if key in asked:
                    if failure is not None:
                        continue
                    if completed is None or not completed.stdout:
                        self._ask({key: asked[key]})
                        continue
                    id, _ = asked.pop(key)
                    if not later:
                        self.machines.end(id)
                    elif not asked:
                        waiting |= self._begin(later, started)
                        later = {}
                case Ended(key, completed) if key in waiting:
                    job = waiting.pop(key)
                    if completed is None:
                        started.discard(key)
                    else:
                        self._keep(job, completed)
                        # How a server ended that was stopped does not matter, and bash may not know.
                        good = key in stopped or completed.exit_code in job.command.ok
                        early = key in servers and later
                        if (early or not good) and failure is None:
                            failure = self._failed(job, completed)
                case Signal() as news:
                    failure = self._stopped(news, waiting.values())
                    deadline = min(deadline, time.monotonic() + BOUND_S)
                case None:
                    late = CommandFailed("the run did not end in time", f"raise --timeout; {_UNDONE}")
                    failure = failure or late
                    self._kill()
            if waiting.keys() <= servers.keys() and (failure or not later):
                asked |= self._end_servers([servers[id] for id in waiting.keys() - stopped], failure)
                stopped.update(waiting)
        if failure is not None:
            raise failure

    def _keep(self, job: Job, completed: Completed) -> None:
        """Keep how a job ended, and when."""
        if is_quick(job.command):
            self.listener(Began(job))
        self.result.completed[job.id] = completed
        self.result.ended_s[job.id] = time.monotonic()
        self.listener(Finished(job, completed))

    def _ask(self, questions: _Questions) -> _Questions:
        """Ask `questions`, and return them."""
        for key, question in questions.items():
            self.machines.ask(key, *question)
        return questions

    def _end_servers(self, servers: Sequence[Job], failure: IpvkitError | None) -> _Questions:
        """Stop `servers`, and ask about captures, which are complete only where tcpdump itself ends."""
        complete = {job.id: job.written for job in servers if job.written and failure is None}
        for job in (job for job in servers if job.id not in complete):
            self.machines.stop(job.id)
        return self._ask({f"{id} has written": (id, command) for id, command in complete.items()})

    def _begin(self, jobs: Mapping[str, Job], started: set[str]) -> dict[str, Job]:
        """Start `jobs`, and return them."""
        self.machines.start(jobs.values())
        started.update(jobs)
        for job in (job for job in jobs.values() if not is_quick(job.command)):
            self.listener(Began(job))
        return dict(jobs)

    def _stopped(self, news: Signal, waiting: Iterable[Job]) -> Interrupted:
        """Begin no other job and kill the checks; let a job that changes something end, to know what it did.

        An ephemeral target is killed instead. Return the failure of the run.
        """
        self.listener(Stopping(news.name))
        if self.machines.ephemeral:
            self._kill()
        else:
            self.machines.rest()
            for job in waiting:
                if not is_quick(job.command) and all(step.undo is None for step in job.steps):
                    self.machines.stop(job.id)
        return interrupted(news, _UNDONE)

    def _kill(self) -> None:
        self.machines.kill()
        self.killed, self.gone = True, self.machines.ephemeral

    def _failed(self, job: Job, completed: Completed) -> CommandFailed:
        if completed is KILLED and not self.killed:
            self.gone = self.machines.ephemeral
            what = f"the target {self.result.target} ended before the plan did"
            hint = "`ipvkit doctor` shows what works here" if self.gone else _UNDONE
            return CommandFailed(what, hint, stderr=self.machines.complaint)
        at: Job | Step = job
        output = completed.stderr.strip() or completed.stdout.strip()
        failed = failed_lines(completed.stderr)
        if len(job.steps) > 1 and failed and failed[0].line <= len(job.steps):
            at, output = job.steps[failed[0].line - 1], failed[0].error
        message = f"{at.id}, {at.purpose}, {execution.how_it_ended(completed)}"
        return CommandFailed(message, _UNDONE, command=str(job.command), stderr=output)

    def _entry(self, step: Step, undo: Undo) -> Entry:
        """Return the journal entry of `step`; raise CommandFailed where the former value is not a number."""
        former = self.result.completed[undo.reads].stdout.strip() if undo.reads else ""
        if undo.reads and not is_number(former):
            read = next(s for s in self.result.plan.steps if s.id == undo.reads)
            what = f"{read.id}, {read.purpose}, printed no value: {former[:80]!r}"
            raise CommandFailed(what, _UNDONE, command=str(read.command))
        return Entry(step.id, undo.purpose or step.purpose, undo.resource, former, on=step.on)

    def _record(self, stage: Sequence[Job], started: set[str]) -> None:
        """Record which steps have happened, which have not, and which earlier steps they have undone.

        A killed step may have happened: the rollback looks for its resource.
        """
        done: list[str] = []
        undone: list[str] = []
        for job in stage:
            completed = self.result.completed.get(job.id)
            happened = None if completed is None else steps_done(job, completed)
            happened = happened if job.id in started else 0
            all_done = completed is not None and completed.exit_code in job.command.ok
            for step in job.steps if all_done else job.steps[: happened or 0]:
                undone += step.cancels_undo_of
            for number, step in enumerate(job.steps):
                if step.undo is not None and happened is not None:
                    (done if number < happened else undone).append(step.id)
        self.journal.end(done, undone)
