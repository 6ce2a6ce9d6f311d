"""What is wrong with the links on the parents of this machine, as far as no model is needed to see it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Literal

from ipvkit.core.command import Command
from ipvkit.core.errors import UsageError
from ipvkit.core.values import Address
from ipvkit.host.checks import Severity, some
from ipvkit.host.inspect import MACVLAN, Inspection, OnParent, Placed, Table, version_of
from ipvkit.host.owners import Owner
from ipvkit.lab.parts import is_next_hop
from ipvkit.tools import ip, sysctl
from ipvkit.tools.ip import Route

_FULL = 0.9
"""From which part of its limit on a neighbour table is nearly full."""


# fmt: off
Code = Literal[
    "unreachable", "link-down", "no-carrier", "no-address", "no-default-route", "wrong-default-route", "mtu",
    "duplicate-address", "busy", "siblings", "rp-filter", "nonlocal-bind", "neighbours", "dummy", "pod-gone",
    "routed-elsewhere", "not-modelled", "duplicate-lladdr", "modes-differ", "gateways-differ",
]
# fmt: on
"""The kind of a problem, in JSON too."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong on a `parent`, with its cause, and the commands that fix it; `advice` where none does.

    `fix_as` are the lines in place of the commands, where these are asked for in files of a tool.
    Of links or addresses `of` with one `cause`, by default `what` without that, each has one.
    """

    code: Code
    severity: Severity
    parent: str
    what: str
    commands: tuple[Command, ...] = ()
    advice: str = ""
    of: str = ""
    cause: str = ""
    fix_as: tuple[str, ...] = ()

    @property
    def kind(self) -> tuple[str, ...]:
        """What it has in common with those of other links that are shown as one with it."""
        cause = self.cause or self.what.replace(self.of, "")
        return self.code, self.severity, self.parent, cause, self.advice


def problems_of(found: Inspection) -> Iterator[Problem]:
    """Yield the problems of what was `found`."""
    for on in found.parents:
        yield from _of_parent(on)
        yield from _of_neighbours(on)
        yield from _of_sysctls(on, found)
        gateways = tuple(dict.fromkeys(_gateways(on)))
        for placed in on.links:
            yield from _of_link(placed, on, gateways)
    yield from _duplicates(found)
    yield from map(_nearly_full, filter(_is_nearly_full, found.tables))


def _typed(placed: Placed, build: Callable[[], Command]) -> tuple[Command, ...]:
    """Return the command as it is typed here; none for a link with a name that no command should have."""
    with suppress(UsageError):
        return (placed.inside.space.typed(build()),)
    return ()


def _by_arp(placed: Placed) -> bool:
    """Return whether a link asks for the MAC address of the next hop."""
    return placed.link.kind in MACVLAN or placed.link.mode == "l2"


def _of_parent(on: OnParent) -> Iterator[Problem]:
    if on.parent is None:
        return
    link, name = on.parent.link, on.name
    if not link.up:
        commands = _typed(on.parent, lambda: ip.link_set(name, up=True))
        yield Problem("link-down", "error", name, f"{on.parent} is down", commands)
    elif "NO-CARRIER" in link.flags:
        advice = "check its cable and its switch"
        yield Problem("no-carrier", "error", name, f"{on.parent} has no carrier", advice=advice)


def _of_neighbours(on: OnParent) -> Iterator[Problem]:
    """Yield what is beside links on a parent, and what another one does (netdev_rx_handler_register())."""
    if on.parent is None:
        return
    if on.parent.link.kind == "dummy":
        what = f"{on.parent} is a dummy: no other host is in its network, and so none reaches what is on it"
        advice = "give them a NIC or a VLAN as parent; Docker creates a dummy for a network without -o parent"
        yield Problem("dummy", "info", on.name, what, advice=advice)
    kinds = {str(placed.link.kind) for placed in on.links}
    modes = {f"{placed.link.mode} {placed.link.flag}" for placed in on.links if placed.link.flag is not None}
    if kinds.intersection(MACVLAN):
        what = f"{on.parent} has macvlan links: the kernel creates no ipvlan link beside them"
        yield Problem("busy", "info", on.name, what, advice="give ipvlan another parent, such as a VLAN")
    for mode in modes:
        what = f"a link that is added to {on.parent} in another mode or flag changes all that are on it"
        yield Problem("siblings", "info", on.name, what, advice=f"add others in {mode}")


def _of_sysctls(on: OnParent, found: Inspection) -> Iterator[Problem]:
    """Yield what sysctls of the host prevent on its parent."""
    if on.parent is None or not on.parent.inside.space.own:
        return
    proxied = {entry.dst for entry in found.own.proxied} if found.own is not None else set()
    shims = [one for one in on.links if one.inside.space.own and one.link.kind not in MACVLAN]
    if on.rp_filter == 1 and any(shim.link.mode == "l2" for shim in shims):
        # A packet to the parent's address comes in through the parent; the route back leads out of the shim.
        key = sysctl.interface_key("ipv4", "conf", on.name, "rp_filter")
        what = f"with a host shim in l2, {key}=1 (strict) drops packets from endpoints to {on.name}'s address"
        commands = _typed(on.parent, lambda: sysctl.set_values({key: 2}))
        yield Problem("rp-filter", "warning", on.name, what, commands)
    silent = {ip for ip in _silent(on) if isinstance(ip, IPv4Address)} - proxied
    if silent and not found.nonlocal_bind:
        key = "net.ipv4.ip_nonlocal_bind"
        what = f"with {key}=0, arping -U -I {on.name} {min(silent)} fails: the host does not have it"
        commands = _typed(on.parent, lambda: sysctl.set_values({key: 1}))
        advice = "only for announcements by hand; ipvkit announce sets it"
        yield Problem("nonlocal-bind", "info", on.name, what, commands, advice)


def _silent(on: OnParent) -> Iterator[Address]:
    """Yield the addresses in a subnet of the parent for which no link answers ARP."""
    networks = [own.network for own in on.parent.addresses] if on.parent is not None else []
    for placed in on.links:
        if placed.link.mode in ("l3", "l3s") and not placed.inside.space.own:
            yield from (o.ip for o in placed.addresses if any(o.ip in network for network in networks))


def _of_link(placed: Placed, on: OnParent, gateways: Sequence[Address]) -> Iterator[Problem]:
    """Yield what is wrong with a link on a parent, on which these `gateways` are used."""
    link, name, of = placed.link, on.name, str(placed)
    parent = on.parent.link if on.parent is not None else None
    if placed.owner is not None and placed.owner.runtime == "cni" and placed.addresses:
        yield _of_gone_pod(placed, placed.owner, name)
    if not link.up and not link.addresses:
        # Measured with CNI plugins 1.1, where another link has the address of the pod.
        what = f"{of} is down and has no address, as a failed CNI ADD leaves it"
        commands = _typed(placed, lambda: ip.link_delete(link.ifname))
        advice = "delete it, unless something is about to configure it"
        yield Problem("link-down", "error", name, what, commands, advice, of)
    elif not link.up:
        commands = _typed(placed, lambda: ip.link_set(link.ifname, up=True))
        yield Problem("link-down", "error", name, f"{of} is down", commands, of=of)
    elif not placed.addresses:
        # An ipvlan link without one still passes what it sends itself; ipvlan_addr_lookup().
        advice = "give it one: the kernel passes a packet to a link by its address"
        if link.kind not in MACVLAN:
            yield Problem("no-address", "warning", name, f"{of} has no address", advice=advice, of=of)
    elif not placed.inside.space.own:
        yield from _of_routes(placed, on, gateways)
    if parent is not None and link.mtu and parent.mtu and link.mtu > parent.mtu:
        what = f"{of} has MTU {link.mtu}, above {name}'s {parent.mtu}: large packets get lost"
        mtu = parent.mtu
        commands = _typed(placed, lambda: ip.link_set(link.ifname, mtu=mtu))
        yield Problem("mtu", "warning", name, what, commands, of=of)


def _of_gone_pod(placed: Placed, owner: Owner, parent: str) -> Problem:
    """Return that the namespace of a pod has outlived its processes."""
    taken = some(str(own.ip) for own in placed.addresses)
    what = f"{placed} is of the pod {owner.name}, which has no process: {taken} stays taken"
    netns = placed.inside.space.name
    commands = (ip.netns_del(netns),) if netns else ()
    advice = "if the pod is gone, delete its namespace; its runtime should have called DEL"
    return Problem("pod-gone", "warning", parent, what, commands, advice, str(placed), "no process")


def _of_routes(placed: Placed, on: OnParent, gateways: Sequence[Address]) -> Iterator[Problem]:
    """Yield what is wrong with the default routes of each family in which a link has an address."""
    inside, of = placed.inside, str(placed)
    for version in sorted({own.version for own in placed.addresses}):
        default = [route for route in inside.main if route.is_default and version_of(route) == version]
        if not default:
            commands, advice = _default_route(placed, gateways, version)
            what = f"{of} has no IPv{version} default route"
            yield Problem("no-default-route", "warning", on.name, what, commands, advice, of)
        for route in default:
            if route.dev == placed.link.ifname and (wrong := _wrong(route, placed, on)):
                commands, advice = _default_route(placed, gateways, version)
                yield Problem("wrong-default-route", "warning", on.name, wrong, commands, advice, of)


def _wrong(route: Route, placed: Placed, on: OnParent) -> str:
    """Return why a default route leads nowhere, or nothing."""
    parents = {own.ip for own in on.parent.addresses} if on.parent is not None else set()
    if route.via is not None and route.via in parents:
        between = f"nothing passes between {on.name} and a link on it"
        return f"{placed} has its default route via {route.via}, {on.name}'s own address: {between}"
    if route.via is None and _by_arp(placed):
        asks = "it asks its own subnet for the MAC address of each host elsewhere"
        return f"{placed} has a default route without a gateway: {asks}"
    return ""


def _default_route(
    placed: Placed, gateways: Sequence[Address], version: int
) -> tuple[tuple[Command, ...], str]:
    """Return the command for a default route out of a link, or advice where the gateway is unknown."""
    dev = placed.link.ifname
    if not _by_arp(placed):
        return _typed(placed, lambda: ip.route_replace(ip.RouteTo(dev=dev, ipv6=version == 6))), ""
    own = [address for address in placed.addresses if address.version == version]
    via = next((gateway for gateway in gateways if is_next_hop(gateway, own)), None)
    if via is None:
        return (), "give it one via its gateway"
    return _typed(placed, lambda: ip.route_replace(ip.RouteTo(via=via, dev=dev))), ""


def _gateways(on: OnParent) -> Iterator[Address]:
    """Yield the gateways that are used on a parent, by the host first, without the parent's own addresses."""
    own = {one.ip for one in on.parent.addresses} if on.parent is not None else set()
    for placed in (on.parent, *on.links):
        for route in placed.default_routes if placed is not None else ():
            if route.via is not None and route.via not in own:
                yield route.via


def _duplicates(found: Inspection) -> Iterator[Problem]:
    """Yield addresses that two links of this machine have."""
    holders: dict[Address, dict[str, str]] = {}
    for on in found.parents:
        for placed in (on.parent, *on.links):
            for own in placed.addresses if placed is not None else ():
                holders.setdefault(own.ip, {})[str(placed)] = on.name
    for address, links in holders.items():
        if len(links) > 1:
            what = f"{address} is an address of {some(links)}"
            name = next(iter(links.values()))
            advice = "give one of them another address"
            of = str(address)
            yield Problem("duplicate-address", "error", name, what, advice=advice, of=of, cause="duplicate")


def _is_nearly_full(table: Table) -> bool:
    return table.entries >= _FULL * table.limit


def _nearly_full(table: Table) -> Problem:
    key = f"net.{table.family}.neigh.default.gc_thresh3"
    what = (
        f"the {table.family} neighbour table, one for all namespaces, has {table.entries} entries, and room "
        f"for {table.limit}: when it is full, new neighbours get no answer"
    )
    return Problem("neighbours", "warning", "", what, (sysctl.set_values({key: 4 * table.limit}),))
