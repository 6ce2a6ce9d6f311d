"""Which links are on the parent already, and what a new one would do to them."""

from collections.abc import Iterator

from ipvkit.host.checks.base import Check, Finding, Machine, Request, some
from ipvkit.lab import IPVLAN
from ipvkit.tools.ip import Link

_BUSY = ("macvlan", "macvtap", "macsec")
_TOGETHER: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(IPVLAN, IPVLAN),
    "macvlan": ("macvlan",),
    "macvtap": ("macvlan",),
}
"""Which kinds the kernel allows beside a link of each kind on one parent."""

UPPER_KINDS = (*IPVLAN, *_BUSY)
"""The kinds that need a device's only receive handler (netdev_rx_handler_register); ipvlan links share it."""


def uppers(parent: Link, machine: Machine) -> dict[str, Link]:
    """Return the links that use the parent's receive handler by their names, elsewhere with the namespace."""
    lower: Link | None = parent
    if parent.kind in IPVLAN:
        lower = machine.link(parent.parent) if parent.parent else None
    if lower is None:
        return {parent.ifname: parent}
    found = {link.ifname: link for link in machine.links if link.parent == lower.ifname}
    for namespace, links in machine.elsewhere.items():
        found |= {f"{link.ifname} in {namespace}": link for link in links if _is_on(link, lower)}
    return {name: link for name, link in found.items() if link.kind in UPPER_KINDS}


def endpoints_on(parent: Link, machine: Machine) -> dict[str, Link]:
    """Return the ipvlan links on `parent` by their names, elsewhere with the namespace."""
    return {name: link for name, link in uppers(parent, machine).items() if link.kind in IPVLAN}


def _is_on(link: Link, lower: Link) -> bool:
    """Return whether a link of another namespace is on `lower`.

    The kernel gives only an index there, which a link of a third namespace may have as well; an ipvlan link
    has the MAC address of its parent too.
    """
    if link.parent is not None or link.link_netns is not None or link.parent_index is None:
        return False
    return link.parent_index == lower.ifindex and (link.kind in _BUSY or link.lladdr == lower.lladdr)


def _upper_devices(request: Request, parent: Link, machine: Machine) -> Iterator[Finding]:
    alike: dict[tuple[str, str], list[str]] = {}
    for name, link in uppers(parent, machine).items():
        mode = f"{link.mode} {link.flag}" if link.kind in IPVLAN else ""
        alike.setdefault((str(link.kind), mode), []).append(name)
    for (kind, mode), names in alike.items():
        what = f"{parent.ifname} has the {kind} link{'s' if len(names) > 1 else ''} {some(names)}"
        changing = [own for own in request.modes if own != mode]
        refused = [own for own in request.kinds if own not in _TOGETHER.get(kind, ())]
        if refused:
            fix = f"use another parent: the kernel allows no {' and no '.join(refused)} beside it"
            yield Finding("busy", "error", what, fix)
        elif not mode:
            continue
        elif changing:
            what = f"{what} in {mode}, which would change to {', '.join(changing)}"
            yield Finding("flips", "error", what, "use another parent")
        elif not request.modes:
            fix = f"add others in mode {mode}: another mode or flag changes all of them"
            yield Finding("siblings", "warning", f"{what} in {mode}", fix)


CHECK = Check(
    codes={
        "busy": "It has macvlan, macvtap or MACsec links.",
        "flips": "It has ipvlan links that would change to another mode or flag.",
        "siblings": "It has ipvlan links, and no mode was given.",
    },
    find=_upper_devices,
)
