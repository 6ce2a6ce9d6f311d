"""A whole lab, and what it is on a real parent."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ipvkit.core.errors import InvalidLab
from ipvkit.core.values import Address, InterfaceAddress
from ipvkit.lab.model import Model
from ipvkit.lab.parts import AddLink, Attempt, Parent, Phase, SetMtu
from ipvkit.lab.validity import check, known


@dataclass(frozen=True, slots=True)
class Lab(Model):
    """A whole lab; raises InvalidLab where its parts do not fit together."""

    def __post_init__(self) -> None:
        """Check that its parts fit together."""
        Model.__post_init__(self)
        check(self)


def on_parent(
    lab: Lab,
    parent: str,
    *,
    host: tuple[InterfaceAddress, ...] = (),
    addresses: Mapping[str, InterfaceAddress] | None = None,
    gateway: Address | None = None,
    neighbour: Address | None = None,
) -> Lab:
    """Return `lab` on a real NIC: no simulated network, and `addresses` for the endpoints named.

    Raise InvalidLab for a lab that has several parents.
    """
    if len(lab.parents) > 1:
        hint = "--parent is for labs with one; leave it away"
        raise InvalidLab(f"lab {lab.name} has {len(lab.parents)} parents", hint)
    given = dict(addresses or {})
    for name in given:
        known(name, [endpoint.name for endpoint in lab.endpoints], f"endpoint of lab {lab.name}", ())
    endpoints = tuple(
        replace(e, parent=parent, addresses=(given[e.name],) if e.name in given else e.addresses)
        for e in lab.endpoints
    )
    real = Parent(parent, host, (gateway,) if gateway else (), (neighbour,) if neighbour else ())
    phases = tuple(_moved(phase, lab.parent, parent) for phase in lab.phases)
    return replace(lab, parents=(real,), endpoints=endpoints, phases=phases, simulated=False)


def _moved(phase: Phase, former: str, parent: str) -> Phase:
    """Return `phase`, of a lab with one parent, on another parent."""

    def moved(attempt: Attempt) -> Attempt:
        change = attempt.change
        if isinstance(change, AddLink):
            return replace(attempt, change=replace(change, parent=parent))
        if isinstance(change, SetMtu) and change.link == former:
            return replace(attempt, change=replace(change, link=parent))
        return attempt

    acts = tuple(replace(act, attempts=tuple(map(moved, act.attempts))) for act in phase.acts)
    return replace(phase, setting=phase.on(former), acts=acts, others=())
