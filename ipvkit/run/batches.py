"""A plan in fewer processes: commands of a namespace in one ``ip -batch``, pings of a source in one fping."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby, zip_longest

from ipvkit.core.command import Command, T, in_netns
from ipvkit.lab import BATCH_FROM, HOST, LAN, PING_INTERVAL_S, Check, Lab, Place, Prober
from ipvkit.plan.acts import wait_s
from ipvkit.plan.steps import Capture, Plan, Probe, Stage, Step
from ipvkit.run.journal import Entry
from ipvkit.tools import fping, tcpdump
from ipvkit.tools.ip import batch, line_of

_LINES_A_PROCESS = 500
"""How many lines one ip reads: longer input than a pipe holds would go through a file."""

_HOSTS_A_PROCESS = 100
"""How many hosts one fping asks: it sends a request a millisecond, and all of them within PING_INTERVAL_S."""


@dataclass(frozen=True, slots=True)
class Job:
    """One process on a machine: its `command` does the work of all `steps`; the job of an undo has none."""

    id: str
    purpose: str
    command: Command
    steps: tuple[Step, ...] = ()
    on: str = HOST

    @property
    def probes(self) -> tuple[Probe, ...]:
        """Its checks."""
        return tuple(step.probe for step in self.steps if step.probe is not None)

    @property
    def ready(self) -> Command | None:
        """Of a server: the command that prints something when it is ready."""
        return self.steps[0].ready if self.steps else None

    @property
    def capture(self) -> Capture | None:
        """Of a server: what it captures."""
        return self.steps[0].capture if self.steps else None

    @property
    def written(self) -> Command | None:
        """Of a capture: the command that prints something when all that it has seen is written."""
        return None if self.capture is None else tcpdump.wrote_all(self.capture.file)

    @property
    def commands(self) -> tuple[Command, ...]:
        """What it runs."""
        return tuple(filter(None, (self.command, self.ready, self.written)))


def jobs_of(plan: Plan, prober: Prober = "ping") -> dict[str, list[list[Job]]]:
    """Return the jobs of each section of `plan` by its name, in stages; those of a stage run concurrently."""
    jobs = {}
    for section in plan.sections:
        batched = section.name == LAN or plan.lab.in_batches
        stages = _batched(section.stages) if batched else [list(map(_alone, one)) for one in section.stages]
        if prober == "fping":
            stages = [_with_fping(stage, plan.lab) for stage in stages]
        jobs[section.name] = stages
    return jobs


def _alone(step: Step) -> Job:
    return Job(step.id, step.purpose, step.command, (step,), step.on)


def _batched(stages: Iterable[Stage]) -> list[list[Job]]:
    """Return the steps of `stages` as jobs, those of one namespace as the lines of a batch.

    Consecutive stages that all act in the machine's namespace become one, and so do those that
    all act in other namespaces: no command in one namespace depends on a command in another.
    """
    done: list[list[Job]] = []
    for places, found in groupby(stages, key=_places):
        if places is None:
            done += [list(map(_alone, stage)) for stage in found]
        elif len(places) > 1:
            done += [jobs for stage in found for jobs in _batches(stage)]
        else:
            done += _batches(step for stage in found for step in stage)
    return done


def _places(stage: Stage) -> set[bool] | None:
    """Return whether the lines of `stage` act in the machine's namespace; None where not all can be lines."""
    lines = [None if step.probe else line_of(step.command) for step in stage]
    return None if None in lines else {line.netns is None for line in lines if line is not None}


def _batches(steps: Iterable[Step]) -> list[list[Job]]:
    """Return `steps` in stages, those of each namespace in a job, or where they are many in one a stage.

    Namespaces of two machines are apart.
    """
    by_place: dict[Place, list[tuple[Step, str]]] = {}
    for step in steps:
        if (line := line_of(step.command)) is not None:
            by_place.setdefault((step.on, line.netns), []).append((step, line.text))
    parts = [
        [(netns, some) for some in _split(own, _LINES_A_PROCESS)] for (_, netns), own in by_place.items()
    ]
    return [[_batch(*part) for part in stage if part is not None] for stage in zip_longest(*parts)]


def _split(items: Sequence[T], most: int) -> list[Sequence[T]]:
    return [items[i : i + most] for i in range(0, len(items), most)]


def _batch(netns: str | None, found: Sequence[tuple[Step, str]]) -> Job:
    if len(found) == 1:
        return _alone(found[0][0])
    steps, lines = zip(*found, strict=True)
    purposes = list(dict.fromkeys(step.purpose for step in steps))
    more = f"; and {len(purposes) - 2} more" if len(purposes) > 2 else ""
    purpose = "; ".join(purposes[:2]) + more
    return Job(_id(steps), purpose, batch(lines, netns), steps, steps[0].on)


def _with_fping(stage: list[Job], lab: Lab) -> list[Job]:
    """Return `stage` with the pings of each source that differ in their destination only in one process."""
    together: dict[str | tuple[str, int, int | None], list[Job]] = {}
    for job in stage:
        key: str | tuple[str, int, int | None] = job.id
        match job.probes:
            # Only ping prints the timestamps that show how long a watched path lived.
            case [Probe(Check(source, watch=None, count=count, size=size, tcp=None))]:
                key = (source, count, size)
        together.setdefault(key, []).append(job)
    return [
        some[0] if isinstance(key, str) else _fping(some, *key, lab)
        for key, found in together.items()
        for some in _split(found, _HOSTS_A_PROCESS)
    ]


def _fping(jobs: Sequence[Job], source: str, count: int, size: int | None, lab: Lab) -> Job:
    hosts = [probe.address for job in jobs for probe in job.probes if probe.address is not None]
    command = fping.fping(hosts, count=count, interval=PING_INTERVAL_S, wait=wait_s(lab), size=size)
    others = "" if len(jobs) == 1 else f" and {len(jobs) - 1} others"
    steps = tuple(step for job in jobs for step in job.steps)
    asked = in_netns(lab.netns(source), command)
    return Job(_id(jobs), f"{jobs[0].purpose}{others}", asked, steps, steps[0].on)


def undo_jobs(entries: Iterable[Entry]) -> list[tuple[Sequence[Entry], Job]]:
    """Return the processes that undo `entries`, in that order, each after the entries that it undoes.

    Many consecutive ones in the machine's namespace are the lines of a batch, which continues after a line
    that fails.
    """
    done: list[tuple[Sequence[Entry], Job]] = []
    for batchable, found in groupby(entries, key=lambda entry: _is_line(entry.undo)):
        row = list(found)
        if not batchable or len(row) < BATCH_FROM:
            done += [([entry], Job(entry.id, entry.purpose, entry.undo, on=entry.on)) for entry in row]
            continue
        for some in _split(row, _LINES_A_PROCESS):
            lines = [line.text for entry in some if (line := line_of(entry.undo)) is not None]
            purpose = f"{some[0].purpose}; and {len(some) - 1} more"
            done.append((some, Job(_id(some), purpose, batch(lines, force=True), on=some[0].on)))
    return done


def _is_line(command: Command) -> bool:
    line = line_of(command)
    return line is not None and line.netns is None


def _id(together: Sequence[Job | Step | Entry]) -> str:
    return together[0].id + (f"+{len(together) - 1}" if len(together) > 1 else "")
