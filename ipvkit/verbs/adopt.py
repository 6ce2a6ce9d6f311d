"""A lab file of what is on this machine: its twin, with checks, and comments on what it leaves out."""

from collections.abc import Collection, Iterator
from dataclasses import replace

from ipvkit.core.errors import UsageError, printable
from ipvkit.host.inspect import Inspection
from ipvkit.host.twin import twin_of
from ipvkit.lab import GATEWAY, HOST, NEIGHBOUR, Act, Check, Lab
from ipvkit.lab.format import dump

_UNSEEN = (
    "Not seen from here: firewalls, announcements, and what other hosts have: routes, permanent neighbour",
    "entries. Sysctls and rules are left out.",
)


def adopted(found: Inspection, netns: Collection[str] = ()) -> str:
    """Return the lab file of what was `found`, or of the links in the namespaces `netns`.

    Raise UsageError where there is nothing to describe, InvalidLab where a lab cannot describe it.
    """
    twin = twin_of(_in(found, netns) if netns else found)
    if twin is None:
        raise UsageError("no link that a lab can describe was found", "ipvkit inspect shows what there is")
    phase = replace(twin.lab.phases[0], acts=(Act(checks=tuple(_checks(twin.lab))),))
    lab = replace(twin.lab, phases=(phase,))
    comments = [*_UNSEEN, *_placeholders(lab), *(f"Left out: {note}" for note in twin.notes)]
    return "".join(f"# {printable(comment)}\n" for comment in comments) + dump(lab)


def _in(found: Inspection, netns: Collection[str]) -> Inspection:
    """Return what is in the namespaces called `netns`; raise UsageError for one in which nothing is."""
    parents = [
        replace(on, links=tuple(p for p in on.links if p.inside.space.own or {*p.inside.space.names} & {*netns}))
        for on in found.parents
    ]
    there = {name for on in found.parents for placed in on.links for name in placed.inside.space.names}
    if unknown := sorted({*netns} - there):
        hint = f"choose from {', '.join(sorted(there))}" if there else "ipvkit inspect shows what there is"
        raise UsageError(f"nothing to describe is in netns {unknown[0]}", hint)
    return replace(found, parents=tuple(on for on in parents if on.links))


def _checks(lab: Lab) -> Iterator[Check]:
    """Yield checks between each endpoint and the gateway, or the neighbour, and the host."""
    for endpoint in lab.endpoints:
        parent = lab.parent_called(endpoint.parent)
        other = GATEWAY if parent.gateway else NEIGHBOUR
        for source, destination in ((endpoint.name, other), (other, endpoint.name), (HOST, endpoint.name)):
            check = Check(source, destination)
            if lab.pinged(check) is not None:
                yield check


def _placeholders(lab: Lab) -> Iterator[str]:
    for parent in lab.parents:
        for address in parent.neighbour:
            yield f"{address} is a free address of {parent.name}'s network, and stands for any other host there."

