"""The twin of this machine: a lab of its parents and of what is on them, as far as a lab can describe it."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from ipaddress import ip_network
from typing import Literal, cast

from ipvkit.core.command import Command
from ipvkit.core.errors import UsageError
from ipvkit.core.values import Address, BondMode, Flag, InterfaceAddress, Mode, interface_name
from ipvkit.host.checks import some
from ipvkit.host.inspect import MACVLAN, Inside, Inspection, OnParent, Placed, version_of
from ipvkit.host.namespaces import Space
from ipvkit.lab import (
    FAR,
    HOST,
    PEERS,
    RESERVED,
    SWITCH,
    Act,
    Endpoint,
    Lab,
    Parent,
    ParentKind,
    Phase,
    Route,
    Setting,
)
from ipvkit.tools.ip import Link

NAME = "twin"

_MOST = 15
"""The most characters of an endpoint's name: a link has it for a moment when the lab is built."""

_KINDS: Mapping[str | None, ParentKind] = {"bond": "bond", "bridge": "bridge", "dummy": "dummy"}
"""The kinds of parents that a lab distinguishes; all others are an ordinary NIC."""


@dataclass(frozen=True)
class Twin:
    """A `lab` of one phase; `links` are what its endpoints stand for, by their names.

    `notes` are what it leaves out, one line each.
    """

    lab: Lab
    links: Mapping[str, Placed]
    notes: tuple[str, ...]

    def here(self, command: Command) -> Command:
        """Return a command of the lab as it is typed on this machine, where a namespace may have no name."""
        if command.argv[:3] != ("ip", "netns", "exec"):
            return command
        inner = replace(command, argv=command.argv[4:])
        return self._spaces[command.argv[3]].typed(inner)

    @cached_property
    def _spaces(self) -> dict[str, Space]:
        """The namespaces by what the lab calls them."""
        return {self.lab.endpoint(name).netns: placed.inside.space for name, placed in self.links.items()}


def twin_of(found: Inspection) -> Twin | None:
    """Return the twin of what was `found`; None where no endpoint can be described."""
    notes: list[str] = []
    parents, settings = [], {}
    endpoints: dict[str, tuple[Endpoint, Placed]] = {}
    taken: set[Address] = set()
    names = {name for on in found.parents if on.parent for name in (on.name, *on.parent.link.altnames)}
    for on in found.parents:
        described = _described(on)
        if described is None or on.parent is None:
            why = f"{on.parent} is not the host's" if on.parent else "their parent was not found"
            notes.append(f"{why}: the model leaves out {some(map(str, on.links))}")
            continue
        taken.update(own.ip for own in described.host)
        others = [placed for placed in on.links if not placed.inside.space.own]
        own = list(_endpoints(others, on.parent.link, names, taken, notes))
        if own:
            parents.append(_with_subnets(described, [e for e, _ in own], taken))
            settings[described.name] = _setting(on, found.own, own, notes)
            endpoints |= {endpoint.name: (endpoint, placed) for endpoint, placed in own}
    if not endpoints:
        return None
    first, *others_ = parents
    phase = Phase(
        "live",
        settings[first.name],
        tuple(endpoints),
        (Act(),),
        tuple((parent.name, settings[parent.name]) for parent in others_),
    )
    about = "the links that `ipvkit inspect` found on this machine"
    every = tuple(endpoint for endpoint, _ in endpoints.values())
    lab = Lab(NAME, about, tuple(parents), every, (phase,))
    return Twin(lab, {name: placed for name, (_, placed) in endpoints.items()}, tuple(notes))


def _described(on: OnParent) -> Parent | None:
    """Return a parent of the host's own namespace, with the gateway that is used there; else None.

    Raise UsageError for one with a name that no command should have.
    """
    if on.parent is None or not on.parent.inside.space.own:
        return None
    link = on.parent.link
    interface_name(link.ifname)
    host = on.parent.addresses
    gateways = {route.via for placed in (on.parent, *on.links) for route in placed.default_routes}
    taken = {own.ip for own in host}
    near = [gw for gw in gateways - taken if gw is not None and any(gw in own.network for own in host)]
    kind: ParentKind = _KINDS.get(link.kind, "nic")
    mode = "802.3ad" if link.info_data.get("mode") == "802.3ad" else "active-backup"
    return Parent(
        link.ifname,
        host,
        tuple(sorted(near, key=_order)),
        kind=kind,
        bond_mode=cast(BondMode, mode),
    )


def _order(address: Address) -> tuple[int, int]:
    return address.version, int(address)


def _endpoints(
    links: Sequence[Placed],
    parent: Link,
    names: set[str],
    taken: set[Address],
    notes: list[str],
) -> Iterator[tuple[Endpoint, Placed]]:
    """Yield the endpoints that can be described, each with its link; add why others cannot to `notes`.

    The names of the endpoints are none of `names`, and are added to these, as their addresses to `taken`.
    """
    for placed in links:
        link, space = placed.link, placed.inside.space
        try:
            interface_name(link.ifname)
        except UsageError as unusual:
            notes.append(f"{unusual.message}: left out")
            continue
        addresses = tuple(own for own in placed.addresses if own.ip not in taken)
        if not addresses:
            why = "has only addresses of others" if placed.addresses else "has no address"
            notes.append(f"{placed} {why}: left out")
            continue
        taken.update(own.ip for own in addresses)
        name = _name_of(placed, names)
        names.add(name)
        netns = space.name or f"net{placed.inside.inode[1]}"
        routes = tuple(dict.fromkeys(_routes(placed, addresses)))
        mtu = link.mtu if link.mtu != parent.mtu else None
        yield Endpoint(name, addresses, netns, parent.ifname, routes, mtu, dev=link.ifname), placed


def _name_of(placed: Placed, taken: Collection[str]) -> str:
    """Return a name for an endpoint that no other one has: of its container, namespace or process."""
    owner, space = placed.owner, placed.inside.space
    if owner is not None and owner.runtime != "process":
        called = owner.name
    else:
        called = space.name or (f"{owner.name}-{owner.pid}" if owner else "netns")
    plain = re.sub("[^A-Za-z0-9_.+-]", "-", called).lstrip(".+-")[:_MOST] or "endpoint"
    name, number = plain, 1
    while name in taken or name in (*RESERVED, HOST, *PEERS, FAR, SWITCH):
        number += 1
        ending = f"-{number}"
        name = f"{plain[: _MOST - len(ending)]}{ending}"
    return name


def _routes(placed: Placed, addresses: Sequence[InterfaceAddress]) -> Iterator[Route]:
    """Yield the routes of an endpoint with these `addresses`."""
    connected = {own.network for own in addresses}
    versions = {own.version for own in addresses}
    plain = {version_of(route) for route in placed.default_routes if route.via is None}
    for route in placed.routes:
        if route.via is not None and route.via.is_link_local:
            continue
        if route.is_default and (route.via is not None or plain == versions):
            yield Route(None, route.via)
        elif route.is_default:
            # Without a gateway it would be for both families.
            yield Route(ip_network("0.0.0.0/0" if version_of(route) == 4 else "::/0"))
        elif not isinstance(route.dst, str) and route.dst not in connected and not route.dst.is_multicast:
            yield Route(route.dst, route.via)


def _setting(
    on: OnParent, own: Inside | None, endpoints: Sequence[tuple[Endpoint, Placed]], notes: list[str]
) -> Setting:
    """Return the mode, flag and kind of the links on a parent, and what the host does for them."""
    _, first = endpoints[0]
    link = first.link
    kind = "macvlan" if link.kind in MACVLAN else link.kind
    mode = cast(Mode, link.mode) if kind != "macvlan" else "l2"
    flag = cast(Flag, (link.mode if kind == "macvlan" else link.flag) or "bridge")
    setting = Setting(mode, flag, kind=cast(Literal["ipvlan"], kind))
    shims = [placed for placed in on.links if placed.inside.space.own and placed.link.up]
    for shim in shims[:1] if own is not None and kind != "macvlan" else ():
        through = {route.dst for route in own.routes if route.dev == shim.link.ifname} if own else set()
        missing = [e.name for e, _ in endpoints for a in e.addresses if ip_network(a.ip) not in through]
        if missing:
            notes.append(f"the host has no route to {missing[0]} through {shim.link.ifname}")
            continue
        setting = replace(setting, host_shim=True, shim_addresses=tuple(a.ip for a in shim.addresses))
    proxied = {entry.dst for entry in own.proxied if entry.dev == endpoints[0][0].parent} if own else set()
    every = {a.ip for e, _ in endpoints for a in e.addresses}
    if proxied and every <= proxied and mode != "l2":
        setting = replace(setting, strategy="l3s-proxy")
    elif some := sorted(map(str, every & proxied)):
        notes.append(f"the host answers for {some[0]}, and not for all others")
    return setting


def _with_subnets(parent: Parent, endpoints: Sequence[Endpoint], taken: set[Address]) -> Parent:
    """Return a parent without an address with the subnets of its endpoints, and a host in each subnet."""
    if not parent.host:
        subnets = dict.fromkeys(own.network for e in endpoints for own in e.addresses)
        gateways = {r.via for e in endpoints for r in e.routes or () if r.via is not None}
        near = sorted((gw for gw in gateways if any(gw in subnet for subnet in subnets)), key=_order)
        parent = replace(parent, others=tuple(subnets), gateway=tuple(near) if parent.kind != "dummy" else ())
    if parent.kind == "dummy":
        return parent
    taken.update(parent.gateway)
    neighbour: list[Address] = []
    for subnet in parent.subnets:
        free = (ip for ip in subnet.hosts() if ip not in taken)
        if not any(ip.version == subnet.version for ip in neighbour) and (ip := next(free, None)) is not None:
            neighbour.append(ip)
            taken.add(ip)
    return replace(parent, neighbour=tuple(neighbour))
