"""What strategies add to the host and its peers, as steps."""

from collections.abc import Iterable

from ipvkit import strategies
from ipvkit.lab import Lab, Phase
from ipvkit.plan.resources import Link, Resource, Route
from ipvkit.plan.steps import Steps, Undo
from ipvkit.strategies import Addition, Proxy, Sysctl
from ipvkit.tools import sysctl


def add(lab: Lab, phase: Phase, steps: Steps, done: set[str]) -> None:
    """Add the steps of all strategies of `phase`; those on peers only where the peers are ipvkit's own.

    `done` are the sysctls that are set already, also by earlier phases.
    """
    for parent in lab.parents:
        for stage in lab.stages(phase, parent):
            _add_stage([a for a in stage if lab.simulated or not a.at_peer], steps, done)
    steps.end_group()


def _add_stage(stage: list[Addition], steps: Steps, done: set[str]) -> None:
    set_sysctls(read_sysctls(stage, steps, done), steps)
    for addition in stage:
        resource: Resource | None = addition.undo
        match addition.added:
            case Sysctl():
                continue
            case Proxy():
                resource = addition.added
            case strategies.Link(dev):
                resource = Link(dev, "ipvlan")
            case strategies.Route(to, dev, _, None):
                resource = Route(to, dev)
        undo = Undo(resource, addition.undo_purpose) if resource and addition.undo_purpose else None
        steps.add(addition.purpose, addition.command, undo=undo, at_end=True)
    steps.end_stage()


def read_sysctls(additions: Iterable[Addition], steps: Steps, done: set[str]) -> list[tuple[Addition, Undo]]:
    """Add the steps that read the sysctls which the lab has not set yet; return them, and each undo."""
    found = []
    for addition in additions:
        added = addition.added
        if isinstance(added, Sysctl) and added.key not in done:
            done.add(added.key)
            id = steps.add(f"read the host's {added.key}", sysctl.get_value(added.key))
            typical = "1" if added.value == 0 else "0"
            found.append((addition, Undo(added, f"restore the host's {added.key}", id, typical)))
    return found


def set_sysctls(read: list[tuple[Addition, Undo]], steps: Steps) -> None:
    """Add the steps that set the sysctls that were read; each gets its former value back at the end."""
    steps.end_stage()
    for addition, undo in read:
        steps.add(addition.purpose, addition.command, undo=undo)
    steps.end_stage()
