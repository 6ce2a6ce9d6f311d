"""Checks of a whole lab, made when it is created: whether it can be built, and its checks be run."""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from ipvkit.core.errors import InvalidLab
from ipvkit.core.values import Address, InterfaceAddress, Network, is_link_local
from ipvkit.lab import parts
from ipvkit.lab.parts import FAR, HOST, IPV6_MTU, PEERS, RESERVED, Parent, Path, Phase, Place, family_of
from ipvkit.lab.prefixes import Prefixes
from ipvkit.lab.sysctls import OF_ADVERTISEMENTS, Sysctl

if TYPE_CHECKING:
    from ipvkit.lab.lab import Lab

_RENAME = "take another one"
_KERNELS_OWN = "the kernel keeps lo, all and default for itself"
_WHY = "`why` has to be one line of text"
_NO_FAMILY = "the two have no address family in common"
_ONE_LINE = "write it on one line, without tabs"
_SLUG = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_SLUG_HINT = "small letters, digits and - are allowed, 63 of them at most"
_SWITCHS_LINKS = re.compile(rf"(br|{'|'.join((HOST, *PEERS))})[0-9]+|{HOST}[0-9]*-[01]")
_HOST_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?")
_HOST_HINT = "small letters, digits and - are allowed, 10 of them at most"
_HOSTS_LINKS = re.compile(rf"({parts.SHIM}|{parts.PORT}|{parts.LOWER}|{parts.CABLE})[0-9]*|{parts.BRIDGE}")
_MOST_NAMED = 20
"""How many names a hint has."""


def check(lab: "Lab") -> None:
    """Raise InvalidLab, with the place in the lab, where its parts do not fit together."""
    _refuse(not _SLUG.fullmatch(lab.name), f"invalid lab name {lab.name!r}", _SLUG_HINT, ("name",))
    _refuse(not lab.about.isprintable(), "`about` has to be one line of text", _ONE_LINE, ("about",))
    for part in ("parents", "endpoints", "phases"):
        _refuse(not getattr(lab, part), f"{part}: at least one is needed", parts.LAB_HINT, (part,))
    _check_parents(lab)
    _check_endpoints(lab)
    _check_hosts(lab)
    _check_addresses(lab)
    check_phases(lab)


def check_phases(lab: "Lab") -> None:
    """Raise InvalidLab, with the place in the lab, where a phase does not fit to its network."""
    _unique("phase", [(phase.name, ("phases", i)) for i, phase in enumerate(lab.phases)])
    for position, phase in enumerate(lab.phases):
        _check_phase(lab, phase, ("phases", position))


def _refuse(wrong: object, what: str, hint: str, path: Path) -> None:
    if wrong:
        raise InvalidLab(what, hint, path)


def _check_parents(lab: "Lab") -> None:
    names = {parent.name: None for parent in lab.parents}
    if lab.several_hosts:
        _check_several(lab)
    _unique("parent", [(parent.name, ("parents", i)) for i, parent in enumerate(lab.parents)])
    hardware = {parent.name: None for parent in lab.hardware}
    for i, parent in enumerate(lab.parents):
        path: Path = ("parents", i)
        _check_name(parent.dev, "a parent", path)
        what = f"{parent.name}: a VLAN needs both `vlan`, its tag, and `link`, the parent that it is on"
        _refuse((parent.link is None) != (parent.vlan is None), what, "write both, or none of them", path)
        if parent.link is not None:
            known(parent.link, names, "parent for the VLAN to be on", path)
            what = f"{parent.name} is on {parent.link}, which is a VLAN itself"
            _refuse(parent.link not in hardware, what, f"choose from {', '.join(hardware)}", path)
            what = f"{parent.name} is a VLAN, and cannot be a {parent.kind} too"
            _refuse(parent.kind != "nic", what, "leave `kind` out", path)
        what = f"no other host can be in the network of {parent.name}: a dummy has no wire"
        peers = parent.gateway or parent.neighbour or parent.hosts
        _refuse(lab.below(parent).kind == "dummy" and peers, what, "leave them out", path)
    for i, parent in enumerate(lab.parents):
        for name in parent.altnames:
            _check_name(name, "a parent", ("parents", i))
    by_host: dict[str, list[tuple[str, Path]]] = {}
    for i, parent in enumerate(lab.parents):
        own = ((name, ("parents", i)) for name in (parent.dev, *parent.altnames))
        by_host.setdefault(parent.on, []).extend(own)
    for every in by_host.values():
        _unique("name of a parent", every)
    tags = [(f"{p.link}.{p.vlan}", ("parents", i)) for i, p in enumerate(lab.parents) if p.link]
    _unique("VLAN", tags)


def _check_several(lab: "Lab") -> None:
    """Refuse what several hosts cannot be called or have; one is called `host`."""
    reserved = {HOST, *PEERS, FAR, parts.SWITCH, parts.LAN}
    for i, parent in enumerate(lab.parents):
        at: Path = ("parents", i)
        what = f"a host cannot be called {parent.on!r}"
        _refuse(not _HOST_NAME.fullmatch(parent.on), what, _HOST_HINT, at)
        _refuse(parent.on in reserved, f"{what}: other nodes of every lab are", _RENAME, at)
        what = f"{parent.name} is a {parent.kind}, and with several hosts each parent is a NIC or a VLAN"
        _refuse(parent.kind != "nic", what, "leave `kind` out", at)
        what = f"{parent.name}: with several hosts a parent has no alternative names"
        _refuse(parent.altnames, what, "leave `altnames` out", at)
        networks = [network.name for network in lab.networks]
        known(parent.lan, networks, "parent that has its network", at)
        same = parent.vlan == lab.parent_called(parent.lan).vlan
        _refuse(not same, f"{parent.name} has another VLAN tag than {parent.lan}", "take the same", at)
    for i, phase in enumerate(lab.phases if not lab.simulated else ()):
        static = any(phase.on(parent.name).strategy == "static-neigh" for parent in lab.parents)
        what = "no journal describes the entries of static-neigh on several real hosts"
        _refuse(static, what, "take routed, l3s-proxy or announce", ("phases", i))


def _check_name(name: str, what: str, path: Path) -> None:
    hint = _KERNELS_OWN if name in RESERVED else _RENAME
    _refuse(name in RESERVED or _HOSTS_LINKS.fullmatch(name), f"{what} cannot be called {name}", hint, path)


def _check_endpoints(lab: "Lab") -> None:
    _unique("endpoint", [(e.name, ("endpoints", i)) for i, e in enumerate(lab.endpoints)])
    parents = {parent.name: None for parent in lab.parents}
    taken = {(p.on, name) for p in lab.parents for name in (p.dev, *p.altnames)}
    there: set[tuple[Place, str]] = set()
    by_place: dict[Place, list[parts.Endpoint]] = {}
    for e in lab.endpoints:
        by_place.setdefault(lab.place(e.name), []).append(e)
    others = tuple(dict.fromkeys((*lab.hosts, HOST, *PEERS, FAR, parts.SWITCH)))
    nodes = frozenset(others)
    hint = f"{', '.join(others[:-1])} and {others[-1]} are other nodes of every lab"
    for i, e in enumerate(lab.endpoints):
        at: Path = ("endpoints", i)
        own, place = e.plain_name, lab.place(e.name)
        _refuse({own, e.netns} & nodes, f"an endpoint cannot be called {own}", hint, at)
        _check_name(own, "an endpoint", at)
        clash = (lab.host_of(e.name), own) in taken
        _refuse(clash, f"endpoint and parent are both called {own}", _RENAME, at)
        _unique(f"name of {e.name}", [(name, at) for name in (e.dev, *e.altnames)])
        for name in dict.fromkeys((e.dev, own, *e.altnames)):
            what = f"the link of {e.name} cannot be called {name}"
            _refuse(name in RESERVED, what, _KERNELS_OWN, at)
            what = f"{what}: namespace {e.netns} has another one of that name"
            _refuse((place, name) in there, what, _RENAME, at)
            there.add((place, name))
        known(e.parent, parents, f"parent of lab {lab.name}", at)
        what = f"{e.name}'s mtu {e.mtu} is too small for its IPv6 address"
        too_small = (e.mtu or IPV6_MTU) < IPV6_MTU and _has(e.addresses, "ipv6")
        _refuse(too_small, what, f"IPv6 needs {IPV6_MTU} bytes", at)
        _check_routes(e, at, {own.network for o in by_place[place] for own in o.addresses})
        if e.slaac:
            _check_slaac(lab, e, at, alone=len(by_place[place]) == 1)
    _check_namespaces(lab)


def _check_slaac(lab: "Lab", e: parts.Endpoint, at: Path, *, alone: bool) -> None:
    parent, own = lab.parent_called(e.parent), [own.network for own in e.advertised]
    what = f"{e.name}: with `slaac` it has one IPv6 address, in a /64 subnet of {parent.name}"
    right = len(own) == 1 and own[0].prefixlen == 64 and own[0] in parent.subnets
    _refuse(not right, what, "write the one that results", at)
    what = f"{e.name}: the gateway on {parent.name} has no link-local address to advertise from"
    _refuse(not any(map(is_link_local, parent.gateway)), what, "add one, such as fe80::1, to `gateway`", at)
    what = f"{e.name}: with `slaac` it is alone in its namespace, and has no `routes`"
    _refuse(not alone or e.routes is not None, what, "leave `netns` and `routes` out", at)


def _check_namespaces(lab: "Lab") -> None:
    """Refuse two routes to one network in a namespace, of which the first endpoint has default ones."""
    routes: dict[Place, list[tuple[str, Path]]] = {}
    for i, e in enumerate(lab.endpoints):
        place = lab.place(e.name)
        usual = () if place in routes else (parts.Route(),)
        own = _named_routes(e.addresses, usual if e.routes is None else e.routes)
        routes.setdefault(place, []).extend((name, ("endpoints", i, "routes")) for _, _, name in own)
    for (_, netns), found in routes.items():
        _unique(f"route of namespace {netns}", found)


def _named_routes(
    addresses: Sequence[InterfaceAddress], routes: Iterable[parts.Route]
) -> list[tuple[parts.Family, Network | str, str]]:
    """Return `routes` of a node, one for each family, with the destination and the name in messages."""
    families = sorted({family_of(address) for address in addresses})
    found = [(family, r.to or "default", r.table) for r in routes for family in r.families(families)]
    tables = {table: "" if table == parts.MAIN else f" in table {table}" for _, _, table in found}
    return [(family, to, f"{family} {to}{tables[table]}") for family, to, table in found]


def _check_hosts(lab: "Lab") -> None:
    parents = [(i, parent) for i, parent in enumerate(lab.parents) if parent in lab.networks]
    hosts = [(host, ("parents", i, "hosts", n)) for i, p in parents for n, host in enumerate(p.hosts)]
    taken = {name for e in lab.endpoints for name in (e.plain_name, e.netns)}
    taken |= {*lab.hosts, HOST, *PEERS, FAR, parts.SWITCH, *(parent.dev for parent in lab.parents)}
    _unique("host", [(host.name, at) for host, at in hosts])
    for host, at in hosts:
        clash = host.name in taken or _SWITCHS_LINKS.fullmatch(host.name)
        _refuse(clash, f"a host cannot be called {host.name}: the name is taken", _RENAME, at)
        _check_name(host.name, "a host", at)
        _check_routes(host, at, {own.network for own in host.addresses})


def _check_routes(node: parts.Endpoint | parts.Host, at: Path, connected: Collection[Network]) -> None:
    """Refuse routes and rules that the kernel does, where the namespace has the networks `connected`."""
    name, path = node.name, (*at, "routes")
    for route in node.routes or ():
        what = f"{name} has no subnet with {route.via} in it"
        near = route.via is None or parts.is_next_hop(route.via, node.addresses)
        _refuse(not near, what, "take a gateway in one, or a link-local one", path)
        what = f"{name}: a {route.type} route has no gateway"
        _refuse(route.via and route.type, what, "leave it out", path)
        what = f"{name} has a route to {route.to} already: that of an address"
        hint = "leave it out, or put it in another table"
        _refuse(route.to in connected and route.table == parts.MAIN, what, hint, path)
    has = {family_of(address) for address in node.addresses}
    routes = _named_routes(node.addresses, node.routes or ())
    _unique(f"route of {name}", [(named, path) for _, _, named in routes])
    for family, to, _ in routes:
        what = f"{name} has no {family} address for a route to {to}"
        _refuse(family not in has, what, "add one, or leave the route out", path)
    for i, rule in enumerate(node.rules):
        path = (*at, "rules", i)
        versions = {network.version for network in (rule.source, rule.to) if network is not None}
        _refuse(not versions, f"{name}: a rule needs `from` or `to`", "add one of them", path)
        what = f"{name}: `from` and `to` of a rule are of different families"
        _refuse(len(versions) > 1, what, "write two rules", path)


def _check_addresses(lab: "Lab") -> None:
    taken = list(lab.addresses())
    _unique("address", [(str(a), at) for a, at in taken if not is_link_local(a)])
    # A router has the same one on several links.
    of_links = [(str(a), at) for a, at in taken if is_link_local(a) and at[0] == "parents"]
    for _, of_link in groupby(of_links, key=lambda each: each[1][1]):
        _unique("address", of_link)
    if not lab.simulated:
        return
    for i, parent in enumerate(lab.parents):
        hint = "add `host`, its address there, or `subnets`, where it has none"
        _refuse(not parent.subnets, f"{parent.name} has no subnet", hint, ("parents", i))
        own = ", ".join(map(str, parent.subnets))
        for role, peer in ((r, peer) for r in PEERS for peer in parent.peer(r)):
            what = f"{peer} is not in the parent's subnet {own}"
            elsewhere = parent.subnet_of(peer) is None and not is_link_local(peer)
            _refuse(elsewhere, what, "take one that is", ("parents", i, role))
        for n, host in enumerate(parent.hosts):
            what = f"host {host.name}: at least one address is needed"
            _refuse(not host.addresses, what, "add `addresses`", ("parents", i, "hosts", n))
    # No host can have a subnet's own address, or an IPv4 subnet's broadcast address.
    subnets = [subnet for p in lab.parents for subnet in p.subnets]
    subnets += [own.network for p in lab.parents for host in p.peers for own in host.addresses]
    subnets = [subnet for subnet in subnets if subnet.num_addresses > 2]
    special: dict[Address, Network] = {subnet.network_address: subnet for subnet in subnets}
    special |= {subnet.broadcast_address: subnet for subnet in subnets if subnet.version == 4}
    for address, at in ((address, at) for address, at in taken if address in special):
        what = f"{address} is the address or the broadcast address of its subnet, not that of a host"
        raise InvalidLab(what, f"take another one of {special[address]}", at)
    families = {family_of(gateway) for parent in lab.parents for gateway in parent.gateway}
    hint = "take a shorter prefix, such as /24 or /64"
    for far in lab.far:
        _refuse(family_of(far) not in families, f"no gateway leads to {far}", "add one of its family", (FAR,))
        what = f"{far} has a subnet without room for the gateway"
        _refuse(far.network.num_addresses < 4, what, hint, (FAR,))
    _check_subnets(lab)


def _check_subnets(lab: "Lab") -> None:
    """Refuse subnets of parents and of the far host that overlap, and endpoints in a wrong one."""
    # Those of one network are there once, however many hosts are in it.
    paths: dict[tuple[Network, str], Path] = {}
    for i, parent in enumerate(lab.parents):
        for subnet in parent.subnets:
            paths.setdefault((subnet, parent.lan), ("parents", i))
    for own in lab.far:
        paths.setdefault((own.network, FAR), (FAR,))
    subnets = [(subnet, path, name) for (subnet, name), path in paths.items()]
    positions = Prefixes([(subnet, position) for position, (subnet, _, _) in enumerate(subnets)])
    for at, (subnet, _, name) in enumerate(subnets):
        # Of two that overlap, one has the other's first address in it.
        for found in positions.containing(subnet.network_address):
            if subnets[found][2] != name:
                (other, _, first), (last, path, second) = (subnets[i] for i in sorted((at, found)))
                what = f"{second} and {first} have subnets that overlap: {last}, {other}"
                raise InvalidLab(what, "take another subnet for one of them", path)
    lans = {parent.name: parent.lan for parent in lab.parents}
    nodes = [(e.name, lans[e.parent], e.addresses, ("endpoints", i)) for i, e in enumerate(lab.endpoints)]
    for i, parent in enumerate(lab.parents):
        nodes += [(h.name, parent.lan, h.addresses, ("parents", i)) for h in parent.hosts]
    for node, of, addresses, path in nodes:
        for own in addresses:
            for name in (subnets[found][2] for found in positions.containing(own.ip)):
                what = f"{own.ip} is in the subnet of {name}, not of the parent of {node}"
                _refuse(name != of, what, f"{node} is on {of}", path)


def _check_phase(lab: "Lab", phase: Phase, path: Path) -> None:
    _refuse(not _SLUG.fullmatch(phase.name), f"invalid phase name {phase.name!r}", _SLUG_HINT, path)
    hint = "that is the simulated network's name"
    _refuse(phase.name == parts.LAN, f"a phase cannot be called {parts.LAN}", hint, path)
    chosen: Path = (*path, "endpoints")
    _unique(f"endpoint of phase {phase.name}", [(name, chosen) for name in phase.endpoints])
    for name in phase.endpoints:
        if not lab.is_endpoint(name):
            known(name, [e.name for e in lab.endpoints], f"endpoint of phase {phase.name}", chosen)
    parents = {parent.name: None for parent in lab.parents}
    for name, _ in phase.others:
        known(name, parents, f"parent of lab {lab.name}", (*path, "parents"))
    for parent in lab.parents:
        _check_setting(lab, phase, parent, path)
    _check_routed(lab, phase, path)
    bridged = {e.parent for e in lab.endpoints_of(phase) if phase.on(e.parent).kind == "veth"}
    what = f"phase {phase.name}: the host has one bridge, and two parents cannot both be its ports"
    several = len(bridged) > len({lab.parent_called(parent).on for parent in bridged})
    _refuse(several, what, "take another kind on one of them", path)
    added = {c.name for act in phase.acts for t in act.attempts if isinstance(c := t.change, parts.AddLink)}
    nodes = _Nodes(lab, phase, f"node of phase {phase.name}", dict.fromkeys(phase.endpoints), sorted(added))
    for number, act in enumerate(phase.acts):
        nodes.check_act(act, (*path, "do", number))
    _check_down(lab, phase, (*path, "do"))


def _check_routed(lab: "Lab", phase: Phase, path: Path) -> None:
    """Refuse endpoints in one subnet on two parents, where peers get a route to the subnet of each."""
    of: dict[Network, str] = {}
    for parent in lab.parents:
        routed = any(helper.own_subnet for helper in phase.on(parent.name).helpers)
        for subnet in lab.site(phase, parent).subnets if routed else ():
            other = of.setdefault(subnet, parent.name)
            what = f"phase {phase.name}: {other} and {parent.name} have endpoints in {subnet}"
            what += ", and peers would need two routes to it"
            _refuse(other != parent.name, what, "give the endpoints of each a separate subnet", path)


def _check_down(lab: "Lab", phase: Phase, path: Path) -> None:
    """Refuse what a host that is down, or an endpoint on it, would have to do."""
    down: set[str] = set()
    moved: dict[str, str] = {}
    for number, act in enumerate(phase.acts):
        for key, role in _acting(lab, phase, act) if down else ():
            host = moved.get(role) or lab.machine_of(role)
            what = f"phase {phase.name}: {host} is down, and {role} can do nothing until the phase ends"
            hint = "move it to another host first" if lab.is_endpoint(role) else "leave it out"
            _refuse(host in down, what, hint, (*path, number, key))
        moved.update(act.move)
        down.update(act.down)


def _acting(lab: "Lab", phase: Phase, act: parts.Act) -> Iterator[tuple[str, str]]:
    """Yield the nodes that do something in `act`, each after the key that has it."""
    yield from (("check", check.source) for check in act.checks)
    yield from (("announce", name) for name in act.announce)
    yield from (("fast-ageing", role) for role in act.fast_ageing)
    yield from (("flush", role) for role in act.flush)
    yield from (("sysctls", one.node) for one in act.sysctls)
    yield from (("move", host) for _, host in act.move)
    yield from (("down", host) for host in act.down)
    hosts = {parent.name: parent.on for parent in lab.parents}
    for attempt in act.attempts:
        link = _link_of(phase, attempt.change)
        if lab.is_endpoint(link) or link in hosts:
            yield "try", hosts.get(link, link)


def _link_of(phase: Phase, change: parts.Change) -> str:
    """Return the endpoint or the parent that a change is of."""
    match change:
        case parts.AddAddress(endpoint=name) | parts.SetMode(endpoint=name):
            return name
        case parts.SetMtu(link=name) | parts.AddLink(parent=name):
            return name
        case parts.DeleteLink(name):
            tried = (attempt.change for act in phase.acts for attempt in act.attempts)
            return next((c.parent for c in tried if isinstance(c, parts.AddLink) and c.name == name), "")


def _check_setting(lab: "Lab", phase: Phase, parent: Parent, path: Path) -> None:
    setting, endpoints = phase.on(parent.name), lab.endpoints_of(phase, parent)
    known(setting.strategy, parts.STRATEGIES, "strategy", path)
    if not endpoints:
        return
    where, leave = f"phase {phase.name}", "leave `strategy` and `host-shim` out"
    if parent.name in phase.settings:
        path = (*path, "parents", parent.name)
        where += f", parent {parent.name}"
        leave = f"write `strategy: none` and `host-shim: false` for {parent.name}"
    kind, helped = setting.kind, setting.strategy != "none" or setting.host_shim
    what = f"{where}: strategies and the host shim are for ipvlan, and this is {kind}"
    _refuse(not setting.is_ipvlan and helped, what, leave, path)
    below = lab.below(parent).kind
    what = f"{where}: strategy {setting.strategy} is for peers, and a dummy has none"
    _refuse(setting.strategy != "none" and below == "dummy", what, leave, path)
    what = f"{where}: {parent.name} is a bridge, and cannot be a port of another"
    _refuse(kind == "veth" and below == "bridge", what, "take another kind than veth", path)
    what = f"{where}: veth endpoints need a bridge, and ipvkit creates none on a real parent"
    _refuse(kind == "veth" and not lab.simulated, what, "leave --parent out", path)
    what = f"{where}: a VLAN, or a parent with VLANs, cannot be a port of the bridge"
    tagged = parent.vlan or any(other.link == parent.name for other in lab.parents_on(parent.on))
    _refuse(kind == "veth" and tagged, what, "take another kind than veth", path)
    for e in endpoints:
        what = f"{where}: `slaac` is for ipvlan and macvlan, and the link of {e.name} is veth"
        _refuse(e.slaac and kind == "veth", what, "take another kind, or leave `slaac` out", path)
        what = f"{where}: in {setting.mode} {e.name} gets no router advertisement, and so no address"
        deaf = e.slaac and setting.is_ipvlan and setting.mode != "l2"
        _refuse(deaf, what, "take mode l2, or leave `slaac` out", path)
        what = f"phase {phase.name}: {e.name}'s mtu {e.mtu} is above its parent's {parts.DEFAULT_MTU}"
        hint = "the kernel refuses that of macvlan; take a smaller one"
        _refuse(kind == "macvlan" and (e.mtu or 0) > parts.DEFAULT_MTU, what, hint, path)
    for helper in setting.helpers:
        problem = helper.problem(lab.site(phase, parent))
        if problem is not None:
            raise InvalidLab(f"{where}: {problem[0]}", problem[1] or leave, path)


@dataclass(frozen=True, slots=True)
class _Nodes:
    """The endpoints of a phase, and the links that its tries add, by which its acts are checked."""

    lab: "Lab"
    phase: Phase
    node: str
    endpoints: Collection[str]
    added: list[str]

    @property
    def peers(self) -> tuple[str, ...]:
        """The peers that there are; on a real parent any may be there."""
        return tuple(dict.fromkeys((*(() if self.lab.simulated else PEERS), *self.lab.peers)))

    def check_act(self, act: parts.Act, path: Path) -> None:
        what = f"phase {self.phase.name}: a check is in one item with a change of its outcome"
        _refuse(act.checks and act.changes, what, "write them as two items, one after the other", path)
        for name in act.announce:
            self._check_announced(name, (*path, "announce"))
        for key, alone in (("move", parts.Act(move=act.move)), ("down", parts.Act(down=act.down))):
            what = f"phase {self.phase.name}: `{key}` is in one item with other changes"
            apart = alone not in (act, parts.Act())
            _refuse(apart, what, "write them as two items, one after the other", path)
        for name, host in act.move:
            self._check_move(name, host, (*path, "move", name))
        self._check_hosts_down(act, (*path, "down"))
        for role in act.fast_ageing:
            others = (*self.peers, *(self.lab.hosts if self.lab.several_hosts else ()))
            known(role, others, "peer in this network", (*path, "fast-ageing"))
        for role in act.flush:
            own = (*self.peers, *self.lab.hosts)
            known(role, self.endpoints, "peer or endpoint in this network", (*path, "flush"), own)
        for role in act.port_security or ():
            known(role, self.endpoints, self.node, (*path, "port-security"), self.lab.hosts)
        for one in act.sysctls:
            self._check_sysctl(one, (*path, "sysctls", one.node))
        for i, check in enumerate(act.checks):
            self._check_check(check, (*path, "check", i))
        for i, attempt in enumerate(act.attempts):
            self._check_attempt(attempt, (*path, "try", i))

    def _check_announced(self, name: str, at: Path) -> None:
        known(name, self.endpoints, f"endpoint of phase {self.phase.name}", at)
        what = f"{name} has no IPv4 address, and ARP announces only those"
        endpoint = self.lab.endpoint(name)
        _refuse(not _has(endpoint.addresses, "ipv4"), what, "leave it out here", at)
        below = self.lab.below(self.lab.parent_called(endpoint.parent))
        what = f"{name} is on {endpoint.parent}: a dummy sends no ARP"
        _refuse(below.kind == "dummy", what, "leave it out here", at)
        setting = self.phase.on(endpoint.parent)
        what = f"the host announces its own MAC address, and {name} is {setting.kind} with another one"
        _refuse(not setting.is_ipvlan, what, "leave it out here", at)

    def _check_sysctl(self, one: Sysctl, at: Path) -> None:
        far = (FAR,) if self.lab.far else ()
        known(one.node, self.endpoints, self.node, at, (*self.lab.hosts, *self.peers, *far))
        links = [dev for _, dev in self.lab.links_of(one.node)]
        is_ours = self.lab.simulated or one.node not in self.peers
        if is_ours and one.dev not in ("", "all", "default"):
            known(one.dev, links, f"link of {one.node}", (*at, one.key), ("all", "default"))
        what = f"{one.key} changes what router advertisements do, which a lab with `slaac` depends on"
        own = one.family == "ipv6" and any(e.slaac for e in self.lab.endpoints if e.name == one.node)
        about = own or (self.lab.advertised and one.name in OF_ADVERTISEMENTS)
        _refuse(about, what, "leave one of the two out", at)
        what = f"{one.key} is about this whole machine, and a lab on a real parent changes only that"
        wide = not self.lab.simulated and self.lab.is_host(one.node) and one.dev not in links
        _refuse(wide, what, "write one of the parent's link, or leave --parent out", at)

    def _check_hosts_down(self, act: parts.Act, at: Path) -> None:
        lab = self.lab
        what = "a lab with one host has no other that could notice that it is down"
        _refuse(act.down and not lab.several_hosts, what, "write several hosts in `hosts`", at)
        what = "ipvkit takes no real host down"
        _refuse(act.down and not lab.simulated, what, "use --target uml, or leave `down` out", at)
        for host in act.down:
            known(host, lab.hosts, f"host of lab {lab.name}", at)

    def _check_move(self, name: str, host: str, at: Path) -> None:
        lab = self.lab
        known(name, self.endpoints, f"endpoint of phase {self.phase.name}", at)
        known(host, lab.hosts, f"host of lab {lab.name}", at)
        endpoint = lab.endpoint(name)
        parent = lab.parent_called(endpoint.parent)
        there = lab.on_lan(host, parent)
        _refuse(there is None, f"{host} has no parent in the network of {name}", "take another host", at)
        for on in (parent, there or parent):
            setting = self.phase.on(on.name)
            what = f"{name} moves: {on.name} has strategy {setting.strategy}, which is for where it was"
            _refuse(setting.strategy not in ("none", "announce"), what, "take none, or announce", at)
            _refuse(setting.host_shim, f"{name} moves: {on.name} has a host shim", "leave it out", at)
            what = f"{name} moves: the links on {on.name} are {setting.kind}"
            _refuse(not setting.is_ipvlan, what, "take ipvlan or ipvtap", at)
        beside = [e.name for e in lab.endpoints if e.name != name and e.netns == endpoint.netns]
        what = f"{name} moves: {', '.join(beside)} has a namespace of that name"
        _refuse(beside, what, "give it another `netns`", at)
        what = f"{name} moves: its address comes from router advertisements"
        _refuse(endpoint.slaac, what, "leave `slaac` out", at)

    def _check_check(self, check: parts.Check, at: Path) -> None:
        lab, ends = self.lab, (check.source, check.destination)
        if not any(role in self.endpoints for role in ends):
            others = tuple(dict.fromkeys((*lab.hosts, *PEERS, *lab.peers, FAR)))
            for role in ends:
                known(role, self.endpoints, self.node, at, others)
            hint = f"choose from {', '.join(self.phase.endpoints[:_MOST_NAMED])}"
            raise InvalidLab(f"{check}: one of the two has to be an endpoint", hint, at)
        for role in ends:
            if role not in self.endpoints and lab.is_endpoint(role):
                known(role, self.endpoints, self.node, at, lab.hosts)
        parent, hint = lab.parent_of(check), "add one, or check another"
        peers = [r for r in PEERS if parent.peer(r) or not lab.simulated]
        peers += [other.name for other in parent.hosts]
        for role in (role for role in ends if role not in self.endpoints):
            elsewhere = role not in peers and role in lab.peers
            _refuse(elsewhere, f"{check}: {parent.name} has no {role}", hint, at)
            known(role, self.endpoints, self.node, at, (*lab.hosts, *peers, *((FAR,) if lab.far else ())))
        where = "endpoint" if check.source == check.destination else f"namespace {lab.netns(check.source)}"
        inside = len({*map(lab.place, ends)}) == 1
        _refuse(inside, f"{check}: no packet leaves the {where}", "name another destination", at)
        if lab.simulated and lab.pinged(check) is None:
            lacking = [role for role in ends if not _has(lab.addresses_of(role, parent), check.family)]
            what = f"{' and '.join(lacking)} has no {check.family} address" if check.family else _NO_FAMILY
            if any(is_link_local(own) for role in ends for own in parent.peer(role)):
                hint = "a check pings no link-local address: add one of the subnet"
            raise InvalidLab(f"{check}: {what}", hint, at)
        what = f"{check}: `listen` and `expect: refused` are for TCP connections"
        of_tcp = not check.listen or check.expect is parts.Outcome.REFUSED
        _refuse(check.tcp is None and of_tcp, what, "add `tcp: PORT`, or leave them out", at)
        _refuse(not check.why.isprintable(), f"{check}: {_WHY}", _ONE_LINE, at)

    def _check_attempt(self, attempt: parts.Attempt, at: Path) -> None:
        _refuse(not attempt.why.isprintable(), f"{attempt}: {_WHY}", _ONE_LINE, at)
        lab, parents = self.lab, tuple(parent.name for parent in self.lab.parents)
        match attempt.change:
            case parts.AddAddress(_, endpoint) | parts.SetMode(endpoint, _):
                known(endpoint, self.endpoints, f"endpoint of phase {self.phase.name}", at)
            case parts.AddLink(name, _, parent):
                lower = tuple(port for each in lab.hardware for port in lab.lower(each))
                known(parent, parents, f"parent of lab {lab.name}", at, (*lower, "lo"))
                # By an alternative name the parent itself would be deleted at the end of the phase.
                here = {*RESERVED, *(other for p in lab.parents for other in (p.dev, *p.altnames))}
                here.update(e.plain_name for e in lab.endpoints)
                taken = name in here or _HOSTS_LINKS.fullmatch(name)
                _refuse(taken, f"{attempt}: the name is taken", _RENAME, at)
                tried = (t.change for act in self.phase.acts for t in act.attempts)
                same = {c.parent for c in tried if isinstance(c, parts.AddLink) and c.name == name}
                several = len({p.on for p in lab.parents if p.name in same}) > 1
                _refuse(several, f"{attempt}: another host has a link of that name", _RENAME, at)
            case parts.DeleteLink(name):
                known(name, self.added, "link that this phase adds", at)
            case parts.SetMtu(link, mtu):
                known(link, self.endpoints, f"endpoint or parent of phase {self.phase.name}", at, parents)
                what = f"{attempt}: with less than {IPV6_MTU} bytes a link loses its IPv6 addresses for good"
                hint = "take more, or IPv4 endpoints only"
                too_small = mtu < IPV6_MTU and any(_has(e.addresses, "ipv6") for e in lab.endpoints)
                _refuse(too_small, what, hint, at)
                what = f"{attempt}: the NICs of several hosts accept {parts.DEFAULT_MTU} bytes at most"
                above = lab.several_hosts and link in parents and mtu > parts.DEFAULT_MTU
                _refuse(above, what, "take less", at)
                what = f"{attempt}: ipvkit does not change the MTU of a real parent"
                _refuse(not lab.simulated and not lab.is_endpoint(link), what, "leave --parent out", at)


def _has(addresses: Iterable[Address | InterfaceAddress], family: parts.Family | None) -> bool:
    return any(family in (None, family_of(address)) for address in addresses)


def _unique(what: str, names: Iterable[tuple[str, Path]]) -> None:
    seen: set[str] = set()
    for name, path in names:
        _refuse(name in seen, f"{what} {name} is there twice", _RENAME, path)
        seen.add(name)


def known(name: str, names: Collection[str], what: str, path: Path, others: tuple[str, ...] = ()) -> None:
    """Raise InvalidLab, with a choice of names, if `name` is none of `names` and `others`."""
    if name in names or name in others:
        return
    there = [*names, *others]
    more = f" and {len(there) - _MOST_NAMED} more" if len(there) > _MOST_NAMED else ""
    hint = f"choose from {', '.join(there[:_MOST_NAMED])}{more}" if there else f"there is no {what}"
    raise InvalidLab(f"unknown {what}: {name!r}", hint, path)
