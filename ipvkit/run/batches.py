"""A plan in fewer processes: commands of a namespace in one ``ip -batch``, pings of a source in one fping."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from ipvkit.core.command import Command, in_netns
from ipvkit.lab import BATCH_FROM, LAN, PING_INTERVAL_S, PING_WAIT_S, Check, Prober
from ipvkit.plan.acts import REAL_WAIT_S
from ipvkit.plan.steps import Plan, Probe, Section, Stage, Step
from ipvkit.tools import fping
from ipvkit.tools.ip import batch, line_of

_MOST_PURPOSES = 2

_LINES_A_PROCESS = 500
"""How many lines one ip reads: longer input than a pipe holds would go through a file."""

_HOSTS_A_PROCESS = 100
"""How many hosts one fping asks: it sends a request a millisecond, and all of them within PING_INTERVAL_S."""


@dataclass(frozen=True, slots=True)
class Job:
    """One process: its `command` does the work of all `steps`, or is the command of the only one.

    The job of an undo has no steps.
    """

    id: str
    purpose: str
    command: Command
    steps: tuple[Step, ...] = ()

    @property
    def probes(self) -> tuple[Probe, ...]:
        """Its checks."""
        return tuple(step.probe for step in self.steps if step.probe is not None)

    @property
    def only_asks(self) -> bool:
        """Whether there is nothing to undo after it."""
        return all(step.undo is None for step in self.steps)


def jobs_of(plan: Plan, prober: Prober = "ping") -> dict[str, list[list[Job]]]:
    """Return the jobs of each section of `plan` by its name, in stages; those of a stage run concurrently."""
    return {section.name: _jobs(plan, section, prober) for section in plan.sections}


def _jobs(plan: Plan, section: Section, prober: Prober) -> list[list[Job]]:
    batched = section.name == LAN or plan.lab.in_batches
    stages = _batched(section.stages) if batched else [list(map(_alone, stage)) for stage in section.stages]
    if prober == "fping":
        wait_s = PING_WAIT_S if plan.lab.simulated else REAL_WAIT_S
        stages = [_with_fping(stage, wait_s) for stage in stages]
    return stages


def _alone(step: Step) -> Job:
    return Job(step.id, step.purpose, step.command, (step,))


def _batched(stages: Iterable[Stage]) -> list[list[Job]]:
    """Return the steps of `stages` as jobs, those of one namespace as the lines of a batch.

    Consecutive stages that all act in the machine's namespace become one, and so do those that
    all act in other namespaces: no command in one namespace depends on a command in another.
    """
    done: list[list[Job]] = []
    row: list[Step] = []
    was_inside = False
    for stage in stages:
        lines = [None if step.probe else line_of(step.command) for step in stage]
        inside = {line.netns is not None for line in lines if line is not None}
        if row and (None in lines or inside != {was_inside}):
            done.append(_batches(row))
            row = []
        if None in lines:
            done.append(list(map(_alone, stage)))
        elif len(inside) > 1:
            done.append(_batches(stage))
        else:
            row += stage
            was_inside = True in inside
    return [*done, _batches(row)] if row else done


def _batches(steps: Sequence[Step]) -> list[Job]:
    """Return `steps` with those of each namespace in one job, or in several where they are many."""
    by_netns: dict[str | None, list[Step]] = {}
    for step in steps:
        if (line := line_of(step.command)) is not None:
            by_netns.setdefault(line.netns, []).append(step)
    most = _LINES_A_PROCESS
    return [
        _batch(netns, found[i : i + most])
        for netns, found in by_netns.items()
        for i in range(0, len(found), most)
    ]


def _batch(netns: str | None, steps: Sequence[Step]) -> Job:
    if len(steps) == 1:
        return _alone(steps[0])
    lines = [line.text for step in steps if (line := line_of(step.command)) is not None]
    return Job(_id(steps), _purposes(steps), batch(lines, netns), tuple(steps))


def _id(steps: Sequence[Step]) -> str:
    return f"{steps[0].id}+{len(steps) - 1}" if len(steps) > 1 else steps[0].id


def _purposes(steps: Sequence[Step]) -> str:
    purposes = list(dict.fromkeys(step.purpose for step in steps))
    more = len(purposes) - _MOST_PURPOSES
    return "; ".join(purposes[:_MOST_PURPOSES]) + (f"; and {more} more" if more > 0 else "")


def _with_fping(stage: list[Job], wait_s: float) -> list[Job]:
    """Return `stage` with the pings of each source that differ in their destination only in one process."""
    together: dict[object, list[Step]] = {}
    for job in stage:
        check = job.steps[0].probe.check if job.probes and job.steps[0].probe else None
        # Only ping prints the timestamps that show how long a watched path lived.
        plain = isinstance(check, Check) and check.watch is None
        key = (check.source, check.count, check.size) if isinstance(check, Check) and plain else job.id
        together.setdefault(key, []).extend(job.steps)
    alone = {job.id: job for job in stage}
    most = _HOSTS_A_PROCESS
    return [
        alone[key] if isinstance(key, str) else _fping(found[i : i + most], wait_s)
        for key, found in together.items()
        for i in range(0, len(found), most)
    ]


def _fping(steps: Sequence[Step], wait_s: float) -> Job:
    probes = [step.probe for step in steps if step.probe is not None]
    check = probes[0].check
    if not isinstance(check, Check):
        raise TypeError(f"{check} is not a check")
    addresses = [probe.address for probe in probes if probe.address is not None]
    command = fping.fping(
        addresses, count=check.count, interval=PING_INTERVAL_S, wait=wait_s, size=check.size
    )
    words = steps[0].command.argv
    netns = words[3] if words[:3] == ("ip", "netns", "exec") else None
    others = "" if len(steps) == 1 else f" and {len(steps) - 1} others"
    return Job(_id(steps), f"ping {check}{others}", in_netns(netns, command), tuple(steps))


def undo_jobs(entries: Iterable[tuple[str, str, Command]]) -> list[tuple[tuple[str, ...], Job]]:
    """Return the processes that undo `entries` (id, purpose, command), in that order, each after the ids.

    Many consecutive ones in the machine's namespace are the lines of a batch, which continues after a line
    that fails.
    """
    done: list[tuple[tuple[str, ...], Job]] = []
    for inside, found in groupby(entries, key=lambda entry: _batchable(entry[2])):
        row = list(found)
        if not inside or len(row) < BATCH_FROM:
            done += [((id,), Job(id, purpose, command)) for id, purpose, command in row]
            continue
        for i in range(0, len(row), _LINES_A_PROCESS):
            some = row[i : i + _LINES_A_PROCESS]
            lines = [line.text for _, _, command in some if (line := line_of(command)) is not None]
            id, purpose = f"{some[0][0]}+{len(some) - 1}", f"{some[0][1]}; and {len(some) - 1} more"
            done.append((tuple(id for id, _, _ in some), Job(id, purpose, batch(lines, force=True))))
    return done


def _batchable(command: Command) -> bool:
    line = line_of(command)
    return line is not None and line.netns is None
