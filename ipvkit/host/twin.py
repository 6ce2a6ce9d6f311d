"""The twin of this machine: a lab of its parents and of what is on them, as far as a lab can describe it."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from ipaddress import ip_network
from typing import cast

from ipvkit.core.command import Command
from ipvkit.core.values import Address, BondMode, Flag, InterfaceAddress, Mode, interface_name
from ipvkit.core.values import is_link_local as is_of_link
from ipvkit.host.endpoints import Endpoints, Notes
from ipvkit.host.inspect import MACVLAN, Inside, Inspection, Placed, version_of
from ipvkit.host.namespaces import Space
from ipvkit.lab import (
    HOST,
    NEIGHBOUR,
    SWITCH,
    Act,
    Endpoint,
    Host,
    Lab,
    Parent,
    ParentKind,
    Phase,
    Setting,
    the,
)
from ipvkit.lab.around import far_behind, free
from ipvkit.lab.parts import BOND_MODES, DEFAULT_MTU, Kind, family_of, is_next_hop
from ipvkit.lab.parts import Route as LabRoute
from ipvkit.lab.sysctls import Sysctl
from ipvkit.tools.ip import Route

NAME = "twin"

_ABOUT = "the links that `ipvkit inspect` found on this machine"

_KINDS: Mapping[str | None, ParentKind] = {"bond": "bond", "bridge": "bridge", "dummy": "dummy"}
"""The kinds of parents that a lab distinguishes; all others are an ordinary NIC."""


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A `command` for another host, in which DEV is its link: where that is, and its known `address`."""

    where: str
    address: Address | None
    command: Command

    def __str__(self) -> str:
        """Return it as a comment has it."""
        where = self.where if self.address is None else f"{self.where} ({self.address})"
        return f"on {where}: {self.command}"


@dataclass(frozen=True)
class Twin:
    """A `lab` of one phase; `links` are what its endpoints stand for, by their names.

    The addresses `known` are those of other hosts that routes or tables of this machine name; the rest of the
    other hosts' are free ones. `notes` are what it leaves out, one line each.
    """

    lab: Lab
    links: Mapping[str, Placed]
    known: frozenset[Address]
    notes: tuple[str, ...]

    def here(self, command: Command) -> Command:
        """Return a command of the lab as it is typed on this machine, where a namespace may have no name."""
        space = self._spaces.get(command.argv[3]) if command.argv[:3] == ("ip", "netns", "exec") else None
        return command if space is None else space.typed(replace(command, argv=command.argv[4:]))

    def can(self, commands: Collection[Command]) -> bool:
        """Return whether there are `commands`, all of which act on this machine and not on another host."""
        return bool(commands) and not any(map(self._role, commands))

    def _role(self, command: Command) -> str | None:
        """Return the other host that a command of the lab acts on; None for this machine."""
        others = (*self.lab.peers, SWITCH)
        return next((word for word in command.argv[:4] if word in others), None)

    def elsewhere(self, command: Command) -> Elsewhere | None:
        """Return a command of the lab as it is typed on another host; None for one of this machine.

        That has its own name for its link, and the parent has another MAC address than in the lab.
        """
        role = self._role(command)
        if role is None:
            return None
        plain = ("ip", *command.argv[3:]) if command.argv[1] == "-n" else command.argv[4:]
        links = {self.lab.dev_of(parent): parent for parent in self.lab.parents}
        links |= {port: self.lab.parents[i] for i, port in self.lab.host_ports(HOST)}
        parent = next(links[word] for word in plain if word in links)
        of_lab = self.lab.site(self.lab.phases[0], parent).lladdr
        own = next(e.name for e in self.lab.endpoints if e.parent == parent.name)
        words = {**dict.fromkeys(links, "DEV"), of_lab: self.links[own].link.lladdr or "LLADDR"}
        argv = tuple(words.get(word, word) for word in plain)
        known = next((ip for ip in parent.peer(role) if ip in self.known), None) if role != SWITCH else None
        where = "each other host" if role == NEIGHBOUR and known is None else the(role)
        return Elsewhere(where, known, replace(command, argv=argv))

    def typed(self, commands: Iterable[Command]) -> tuple[tuple[Command, ...], tuple[Elsewhere, ...]]:
        """Return commands of the lab as they are typed on this machine, and those for other hosts."""
        found = [(command, self.elsewhere(command)) for command in commands]
        here = tuple(self.here(command) for command, other in found if other is None)
        return here, tuple(other for _, other in found if other is not None)

    @cached_property
    def _spaces(self) -> dict[str, Space]:
        """The namespaces by what the lab calls them."""
        return {self.lab.endpoint(name).netns: placed.inside.space for name, placed in self.links.items()}


def twin_of(found: Inspection, *, neighbours: bool = False) -> Twin | None:
    """Return the twin of what was `found`; None where no endpoint can be described.

    With `neighbours` it has the other hosts that are in the neighbour tables. Raise IpvkitError where a lab
    cannot have a name or an address.
    """
    notes = Notes()
    there = _parents(found, notes)
    hosts = (placed for on, links in there.values() for placed in (on, *links) if placed.inside.space.own)
    taken = {own.ip for placed in hosts for own in placed.addresses}
    names = {name for on, _ in there.values() for name in (on.link.ifname, *on.link.altnames)}
    endpoints = Endpoints(names, taken, notes)
    mine = {
        name: endpoints.add((placed for placed in links if not placed.inside.space.own), on.link)
        for name, (on, links) in there.items()
    }
    used = {name: own for name, own in mine.items() if own}
    if not used:
        return None
    lower = {name: below for name in used if (below := _lower(there[name][0], there)) is not None}
    of_lab = [name for name in there if name in used or name in lower.values()]
    bare = {name: _described(name, there, mine[name], lower.get(name), notes) for name in of_lab}
    known = frozenset(gateway for parent in bare.values() for gateway in parent.gateway)
    taken.update(known)
    parents = [
        _with_hosts(parent, bare.get(lower.get(name, ""), parent), there[name], taken, neighbours=neighbours)
        for name, parent in bare.items()
    ]
    settings = {name: _setting(name, there[name], found.own, own, notes) for name, own in used.items()}
    phase = _phase(settings, tuple(endpoints.made), found)
    made = [endpoint for endpoint, _ in endpoints.made.values()]
    firsts = {each.netns: each for each in reversed(made)}.values()
    every = tuple(_usual(e, bare[e.parent], settings[e.parent]) if e in firsts else e for e in made)
    vias = {route.via for placed, _ in there.values() for route in placed.default_routes if route.via}
    vias |= {route.via for each in every for route in each.routes or () if route.via and route.to is None}
    lab = Lab(NAME, _ABOUT, tuple(parents), every, (phase,), tuple(far_behind(parents, vias)))
    _note_shims(lab, there, notes)
    _note_host(lab, there, found.own, notes)
    known |= {own.ip for parent in parents for host in parent.hosts for own in host.addresses}
    return Twin(lab, {name: placed for name, (_, placed) in endpoints.made.items()}, known, notes.lines())


def _phase(settings: Mapping[str, Setting], endpoints: tuple[str, ...], found: Inspection) -> Phase:
    """Return the phase of what was found: the setting of most parents, and the others'."""
    usual, _ = Counter(settings.values()).most_common(1)[0]
    return Phase(
        "live",
        usual,
        endpoints,
        (Act(sysctls=tuple(Sysctl(HOST, key, value) for key, value in found.sysctls)),),
        tuple((name, setting) for name, setting in settings.items() if setting != usual),
    )


def _usual(endpoint: Endpoint, parent: Parent, setting: Setting) -> Endpoint:
    """Return the first endpoint of a namespace without the default routes that it has in l3 and l3s anyway.

    So a fix in l2 replaces them by those via the gateway, which is known in each family.
    """
    near = {family_of(gateway) for gateway in parent.gateway if is_next_hop(gateway, endpoint.addresses)}
    by_arp = not setting.is_ipvlan or setting.mode == "l2"
    direct = endpoint.routes == (LabRoute(),) and near == {*map(family_of, endpoint.addresses)}
    return endpoint if by_arp or not direct else replace(endpoint, routes=None)


_OnParent = tuple[Placed, Sequence[Placed]]
"""A parent of the host's own namespace, and the links on it."""


def _parents(found: Inspection, notes: Notes) -> dict[str, _OnParent]:
    """Return the parents of the host's own namespace, by their names, and those that VLANs among them are on.

    That with the host's best default route is first. Raise UsageError for a name that no command should have.
    """
    there: dict[str, _OnParent] = {}
    for on in found.parents:
        if on.parent is not None and on.parent.inside.space.own:
            there[interface_name(on.name)] = on.parent, on.links
            continue
        why = f"{on.parent} is not the host's" if on.parent else "their parent was not found"
        for placed in on.links:
            notes.add(f"left out, for {why}", placed)
    for placed, _ in [*there.values()]:
        below = placed.inside.link(placed.link.parent) if placed.link.kind == "vlan" else None
        if below is not None and below.ifname not in there:
            there[interface_name(below.ifname)] = Placed(below, placed.inside), ()

    return {name: there[name] for name in _in_order({name: placed for name, (placed, _) in there.items()})}


def _in_order(parents: Mapping[str, Placed]) -> Iterator[str]:
    """Yield the names of parents in the order in which a lab gives the host default routes via them.

    The first one's has no metric: in IPv4 it is the best, in IPv6 it gets 1024 and is the last.
    """
    metrics: dict[int, dict[str, int]] = {4: {}, 6: {}}
    for name, placed in parents.items():
        for route in placed.default_routes:
            metrics[version_of(route)].setdefault(name, route.metric or 0)
    version = 4 if metrics[4] else 6
    ordered = sorted(metrics[version], key=metrics[version].__getitem__)
    if version == 6 and len(ordered) > 1:
        ordered = [ordered[-1], *ordered[:-1]]
    yield from ordered
    yield from (name for name in parents if name not in ordered)


def _lower(parent: Placed, there: Mapping[str, _OnParent]) -> str | None:
    """Return the parent that a VLAN is on; None for others, and where a lab cannot have that one."""
    link = parent.link
    if link.kind != "vlan" or link.parent is None or link.parent not in there:
        return None
    below, links = there[link.parent]
    has_subnet = below.addresses or any(placed.addresses for placed in links)
    return link.parent if has_subnet and below.link.kind != "vlan" and "id" in link.info_data else None


def _described(
    name: str,
    there: Mapping[str, _OnParent],
    endpoints: Sequence[tuple[Endpoint, Placed]],
    lower: str | None,
    notes: Notes,
) -> Parent:
    """Return a parent with its subnets and its gateway; the other hosts are added later."""
    placed, links = there[name]
    link, mode = placed.link, placed.link.info_data.get("mode")
    if link.kind == "bond" and mode not in BOND_MODES:
        notes.add(f"a bond in {mode} mode is written as one in active-backup mode", name)
        mode = None
    if link.kind == "vlan" and lower is None:
        notes.add("a VLAN is written as an ordinary NIC", name)
    if link.mtu not in (None, DEFAULT_MTU):
        notes.add(f"the MTU of a parent is left out: in the twin it is {DEFAULT_MTU}", name)
    has = [own.network for own in placed.addresses]
    networks = dict.fromkeys(own.network for endpoint, _ in endpoints for own in endpoint.addresses)
    own = {o.ip for o in placed.addresses} | {o.ip for e, _ in endpoints for o in e.addresses}
    routes = (route for each in (placed, *links) for route in each.default_routes)
    gateways = {route.via for route in routes if route.via is not None} - own
    others = [n for n in networks if n not in has and (not has or any(gw in n for gw in gateways))]
    near = (gw for gw in gateways if is_of_link(gw) or any(gw in network for network in (*has, *others)))
    # The others' default routes are via the first one.
    usual = [route.via for route in sorted(placed.default_routes, key=lambda route: route.metric or 0)]
    kind = _KINDS.get(link.kind, "nic")
    return Parent(
        name,
        placed.added,
        tuple(sorted(near, key=lambda gw: (gw not in usual[:1], _order(gw)))) if kind != "dummy" else (),
        link=lower,
        vlan=link.info_data["id"] if lower is not None else None,
        others=tuple(others),
        kind=kind,
        bond_mode=cast(BondMode, mode) if link.kind == "bond" and mode else "active-backup",
        altnames=link.altnames,
    )


def _order(address: Address) -> tuple[int, int]:
    return address.version, int(address)


def _with_hosts(
    parent: Parent, lower: Parent, on: _OnParent, taken: set[Address], *, neighbours: bool
) -> Parent:
    """Return a parent with a gateway and a neighbour, and with `neighbours` those that its tables have.

    Unknown addresses are free ones; they are added to those that are `taken`. A dummy, and a VLAN
    on one, has no other host.
    """
    if lower.kind == "dummy":
        return replace(parent, gateway=())
    hosts = tuple(_known(parent, on, taken)) if neighbours else ()
    gateway = parent.gateway or tuple(free(parent, taken))[:1]
    if gateway and all(map(is_of_link, gateway)):
        # It forwards to a subnet in which it has an address.
        gateway += tuple(own for own in free(parent, taken) if own.version == 6)
    taken.update(gateway)
    return replace(parent, gateway=gateway, neighbour=tuple(free(parent, taken)), hosts=hosts)


def _known(parent: Parent, on: _OnParent, taken: set[Address]) -> Iterator[Host]:
    """Yield the other hosts that are in the neighbour tables of the host and of the links on a parent."""
    placed, links = on
    by_mac: dict[str, dict[InterfaceAddress, None]] = {}
    for each in (placed, *links):
        for entry in each.inside.neighbours:
            known = entry.dev == each.link.ifname and entry.lladdr and "FAILED" not in entry.states
            if known and entry.lladdr and parent.subnet_of(entry.dst) and entry.dst not in taken:
                by_mac.setdefault(entry.lladdr, {})[parent.beside(entry.dst)] = None
    for number, addresses in enumerate(by_mac.values(), 1):
        taken.update(own.ip for own in addresses)
        yield Host(f"{parent.name[:9]}-{number}", tuple(addresses))


def _setting(
    name: str,
    on: _OnParent,
    own: Inside | None,
    endpoints: Sequence[tuple[Endpoint, Placed]],
    notes: Notes,
) -> Setting:
    """Return the mode, flag and kind of the links on a parent, and what the host does for them."""
    first = endpoints[0][1].link
    for _, placed in endpoints[1:]:
        if placed.link.kind != first.kind or placed.link.mode != first.mode:
            notes.add(f"it is written as {first.kind} {first.mode}, as another link on {name}", placed)
    if first.kind in MACVLAN:
        flag = first.mode if first.mode in ("bridge", "private", "vepa") else "bridge"
        return Setting("l2", cast(Flag, flag), kind="macvlan")
    setting = Setting(cast(Mode, first.mode), cast(Flag, first.flag or "bridge"), kind=cast(Kind, first.kind))
    if own is None:
        return setting
    every = {address.ip for endpoint, _ in endpoints for address in endpoint.addresses}
    away = {route.dst for route in own.main if route.dev == "lo"}
    proxied = {entry.dst for entry in own.proxied if entry.dev == name}
    as_strategy = setting.mode == "l3s" or (setting.mode == "l3" and all(ip.version == 6 for ip in every))
    if as_strategy and every <= proxied and all(ip.version == 6 or ip_network(ip) in away for ip in every):
        return replace(setting, strategy="l3s-proxy")
    for address in sorted(every & proxied, key=_order):
        notes.add("a proxy entry of the host is left out", address)
    return _with_shim(setting, on, own, every, notes)


def _with_shim(
    setting: Setting, on: _OnParent, own: Inside, every: Collection[Address], notes: Notes
) -> Setting:
    """Return the setting with a host shim, if the host reaches `every` address through one."""
    for shim in (placed for placed in on[1] if placed.inside.space.own):
        through = {route.dst for route in own.main if route.dev == shim.link.ifname}
        missing = sorted((ip for ip in every if ip_network(ip) not in through), key=_order)
        if setting.host_shim or missing or not shim.link.up or (setting.mode == "l2" and not shim.addresses):
            why = (
                f"the host has no route to {missing[0]} through it"
                if missing
                else "it has no use as a host shim"
            )
            notes.add(f"left out, for {why}", shim)
            continue
        for address in (a for a in shim.addresses if a.network.num_addresses > 1):
            notes.add("the prefix length of a shim's address is left out", address)
        setting = replace(setting, host_shim=True, shim_addresses=tuple(a.ip for a in shim.addresses))
    return setting


def _note_shims(lab: Lab, there: Mapping[str, _OnParent], notes: Notes) -> None:
    """Note which host shims have another name in the lab."""
    (phase,) = lab.phases
    for parent in lab.parents:
        for shim in (placed.link.ifname for placed in there[parent.name][1] if placed.inside.space.own):
            if phase.on(parent.name).host_shim and shim != lab.shim_on(parent):
                notes.add(f"a host shim is called {lab.shim_on(parent)}", shim)


def _note_host(lab: Lab, there: Mapping[str, _OnParent], own: Inside | None, notes: Notes) -> None:
    """Note what the host has, and the lab's does not: routes, rules, permanent entries, and the reverse."""
    if own is None:
        return
    devs = {*there} | {p.link.ifname for _, links in there.values() for p in links}
    to_endpoints = {ip_network(address.ip) for e in lab.endpoints for address in e.addresses}
    expected = {
        (gateway, parent.name)
        for parent in lab.parents
        for gateway in (parent.gateways if lab.routed else ())
        if is_next_hop(gateway, parent.host)
    }
    for route in own.routes:
        if (
            (route.dev not in devs and not route.is_default)
            or route.protocol == "kernel"
            or _is_multicast(route)
        ):
            continue
        if route.is_default and (route.via, route.dev) in expected and route.table in (None, "main"):
            expected.discard((route.via, route.dev))
        elif route.dst not in to_endpoints:
            notes.add("a route of the host is left out", f"{route.dst} dev {route.dev}")
    for gateway, _ in sorted(expected, key=lambda each: _order(each[0])):
        notes.add("the twin's host has a default route that this one has not", f"via {gateway}")
    for rule in own.rules:
        if rule.table not in ("local", "main", "default") or rule.src is not None:
            notes.add("a rule of the host is left out", rule.priority)
    for entry in own.neighbours:
        if entry.dev in devs and "PERMANENT" in entry.states:
            notes.add("a permanent neighbour entry is left out", f"{entry.dst} of the host")


def _is_multicast(route: Route) -> bool:
    return not isinstance(route.dst, str) and route.dst.is_multicast
