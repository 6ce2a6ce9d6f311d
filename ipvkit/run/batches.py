"""A plan in fewer processes: commands of a namespace in one ``ip -batch``, pings of a source in one fping."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from ipvkit.core.command import Command, in_netns
from ipvkit.lab import BATCH_FROM, LAN, PING_INTERVAL_S, PING_WAIT_S, Check, Prober
from ipvkit.plan.acts import REAL_WAIT_S
from ipvkit.plan.steps import Plan, Section, Stage, Step
from ipvkit.tools import fping
from ipvkit.tools.ip import batch, line_of

_MOST_PURPOSES = 2

_HOSTS_A_PROCESS = 100
"""How many hosts one fping asks: it sends a request a millisecond, and all of them within PING_INTERVAL_S."""


def as_run(plan: Plan, prober: Prober = "ping") -> Plan:
    """Return `plan` with the steps that one process runs together as one step, which has them as parts."""
    return replace(plan, sections=tuple(_section(plan, section, prober) for section in plan.sections))


def _section(plan: Plan, section: Section, prober: Prober) -> Section:
    stages: Iterable[Stage] = section.stages
    if section.name == LAN or plan.lab.in_batches:
        stages = batched(stages)
    if prober == "fping":
        stages = [_with_fping(stage, PING_WAIT_S if plan.lab.simulated else REAL_WAIT_S) for stage in stages]
    return replace(section, stages=tuple(stages))


def batched(stages: Iterable[Stage]) -> list[Stage]:
    """Return the same steps, those of one namespace as the lines of a batch.

    Consecutive stages that all act in the machine's own namespace become one, and so do those that
    all act inside of others: nothing done in one of those may need what is done in another.
    """
    done: list[Stage] = []
    row: list[Step] = []
    was_inside = False
    for stage in stages:
        lines = [line_of(step.command) for step in stage if step.probe is None]
        inside = {line.netns is not None for line in lines if line is not None}
        if row and (None in lines or len(lines) < len(stage) or inside != {was_inside}):
            done.append(_batches(row))
            row = []
        if None in lines or len(lines) < len(stage):
            done.append(stage)
        elif len(inside) > 1:
            done.append(_batches(stage))
        else:
            row += stage
            was_inside = True in inside
    return [*done, _batches(row)] if row else done


def _batches(steps: Sequence[Step]) -> Stage:
    """Return `steps` with those of each namespace in one."""
    by_netns: dict[str | None, list[tuple[Step, str]]] = {}
    for step in steps:
        line = line_of(step.command)
        if line is not None:
            by_netns.setdefault(line.netns, []).append((step, line.text))
    return tuple(_batch(netns, found) for netns, found in by_netns.items())


def _batch(netns: str | None, found: Sequence[tuple[Step, str]]) -> Step:
    parts = tuple(step for step, _ in found)
    if len(parts) == 1:
        return parts[0]
    purposes = list(dict.fromkeys(part.purpose for part in parts))
    more = len(purposes) - _MOST_PURPOSES
    purpose = "; ".join(purposes[:_MOST_PURPOSES]) + (f"; and {more} more" if more > 0 else "")
    command = batch([text for _, text in found], netns)
    return Step(f"{parts[0].id}+{len(parts) - 1}", purpose, command, parts=parts)


def _with_fping(stage: Stage, wait_s: float) -> Stage:
    """Return `stage` with the pings of each source that differ in their destination only in one process."""
    together: dict[object, list[Step]] = {}
    for step in stage:
        check = None if step.probe is None else step.probe.check
        # Only ping prints the timestamps that show how long a watched path lived.
        alone = not isinstance(check, Check) or check.watch is not None
        key = step.id if alone or not isinstance(check, Check) else (check.source, check.count, check.size)
        together.setdefault(key, []).append(step)
    most = _HOSTS_A_PROCESS
    return tuple(
        _fping(found[i : i + most], wait_s) for found in together.values() for i in range(0, len(found), most)
    )


def _fping(steps: Sequence[Step], wait_s: float) -> Step:
    first = steps[0]
    check = None if first.probe is None else first.probe.check
    if not isinstance(check, Check) or check.watch is not None:
        return first
    addresses = [step.probe.address for step in steps if step.probe is not None and step.probe.address]
    command: Command = fping.fping(
        addresses, count=check.count, interval=PING_INTERVAL_S, wait=wait_s, size=check.size
    )
    words = first.command.argv
    netns = words[3] if words[:3] == ("ip", "netns", "exec") else None
    others = "" if len(steps) == 1 else f" and {len(steps) - 1} others"
    id = first.id if len(steps) == 1 else f"{first.id}+{len(steps) - 1}"
    return Step(id, f"ping {check}{others}", in_netns(netns, command), parts=tuple(steps))


def undo_batches(undos: Iterable[tuple[str, Command]]) -> list[tuple[tuple[str, ...], Command]]:
    """Return in how many processes `undos` are done, commands each with its step's id, in that order.

    Where many in a row act in the machine's own namespace, they are the lines of a batch, which goes on after
    a line that fails.
    """
    done: list[tuple[tuple[str, ...], Command]] = []
    row: list[tuple[str, Command, str]] = []

    def end_row() -> None:
        if len(row) >= BATCH_FROM:
            done.append((tuple(id for id, _, _ in row), batch([line for _, _, line in row], force=True)))
        else:
            done.extend(((id,), command) for id, command, _ in row)
        row.clear()

    for id, command in undos:
        line = line_of(command)
        if line is None or line.netns is not None:
            end_row()
            done.append(((id,), command))
        else:
            row.append((id, command, line.text))
    end_row()
    return done
