"""The hosts, links and routes of a phase of a lab, and the state of them after earlier acts."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import ip_interface, ip_network
from itertools import islice
from typing import Any, Literal

from ipvkit import strategies
from ipvkit.core.values import Address, Flag, InterfaceAddress, Mode, Network, is_link_local
from ipvkit.lab import (
    BRIDGE,
    DEFAULT_MTU,
    FAMILIES,
    FAR,
    GATEWAY,
    MAIN,
    AddLink,
    Check,
    Endpoint,
    Family,
    Lab,
    Parent,
    Phase,
    Place,
    Prefixes,
    Route,
    RouteType,
    Rule,
    Setting,
    is_next_hop,
)
from ipvkit.lab.sysctls import Sysctl
from ipvkit.predict.neighbours import FAST_TIMERS, KERNEL_TIMERS, Known, Span, Timers

_ALL = {4: ip_network("0.0.0.0/0"), 6: ip_network("::/0")}

Entry = tuple[str, Address]
"""A peer, and the address of an endpoint that it has an entry for; or an endpoint in l2, and any address."""


@dataclass(frozen=True, slots=True)
class State:
    """The state when an act begins.

    `now` is its time in seconds, and `began` that of the phase's first act; its checks may begin up to `late`
    seconds later. `known` are the valid entries,
    some of which may have failed by now; `failed` are entries without an answer, which an announcement can
    fill, and `asking` until when their peers ask again; `fast` are peers with `FAST_TIMERS`. `moved` are
    endpoints on another parent than in the lab, and `led` valid entries that lead to the parent on which an
    endpoint was before; `down` are the hosts that are down.
    `learned` are the hosts of which the entries of hosts and of endpoints in l2 have the MAC address: that
    with the parent for all on it.
    `flipped` are parents with another mode and flag than the phase's; `links`, `addresses` and `mtus` what
    was added and set; `hairpin` whether the switch sends frames back to their port; `allowed` the roles that
    it accepts source addresses of at the port of each host, None for all; `sysctls` those that were set, by
    node and key.
    """

    now: float = 0.0
    began: float = 0.0
    late: float = 0.0
    known: Mapping[Entry, Known] = field(default_factory=dict)
    failed: frozenset[Entry] = frozenset()
    asking: Mapping[Entry, float] = field(default_factory=dict)
    fast: frozenset[str] = frozenset()
    learned: Mapping[Entry, str] = field(default_factory=dict)
    flipped: Mapping[str, tuple[Mode, Flag]] = field(default_factory=dict)
    links: tuple[AddLink, ...] = ()
    addresses: tuple[tuple[str, InterfaceAddress], ...] = ()
    mtus: Mapping[str, int] = field(default_factory=dict)
    hairpin: bool = False
    allowed: Mapping[str, tuple[str, ...]] | None = None
    sysctls: Mapping[tuple[str, str], Sysctl] = field(default_factory=dict)
    moved: Mapping[str, str] = field(default_factory=dict)
    led: Mapping[Entry, str] = field(default_factory=dict)
    down: frozenset[str] = frozenset()

    def timers(self, peer: str) -> Timers:
        """Return the timers of the entries of `peer`."""
        return FAST_TIMERS if peer in self.fast else KERNEL_TIMERS

    def fails(self, entry: Entry, until: float | None = None) -> Span:
        """Return when a known entry fails that no host confirms, if it is used from now `until` a time."""
        timers = self.timers(entry[0])
        known = self.known[entry]
        return (known if until is None else known.used(self.now, until, timers)).fails(timers)


@dataclass(frozen=True, slots=True)
class Link:
    """A link `dev` of the host `node`: a `nic` on a segment, or an upper device of the host's `parent`.

    `dev` is its name in the model: an endpoint's, or the parent's in its network; the kernel's is `ifname`.
    A host's own is the `nic_of` a parent; a shim is a host's ipvlan link. It accepts frames up to `port_mtu`,
    None for its `mtu`: those for a VLAN or a bridge are compared with that of the link below. An ipvtap link
    is an `ipvlan` one.
    """

    node: str
    dev: str
    kind: Literal["nic", "ipvlan", "macvlan"]
    segment: str
    addresses: tuple[InterfaceAddress, ...] = ()
    parent: str = ""
    mtu: int = DEFAULT_MTU
    port_mtu: int | None = None
    ifname: str = ""
    nic_of: str = ""
    is_shim: bool = False

    def __post_init__(self) -> None:
        """Take the name in the model for that of the kernel, unless this one is another."""
        object.__setattr__(self, "ifname", self.ifname or self.dev)

    @property
    def owner(self) -> str:
        """What reasons call it: the endpoint's name, or its host's."""
        return self.dev if self.parent and not self.is_shim else self.node

    def has(self, address: Address) -> bool:
        """Return whether `address` is one of the link's."""
        return any(own.ip == address for own in self.addresses)


@dataclass(frozen=True, slots=True)
class Way:
    """A route of a host: to a network, out of a link, `via` another host on it; with a `type`, nowhere."""

    to: Network | None
    version: int
    dev: str
    via: Address | None = None
    type: RouteType | None = None
    table: int = MAIN


@dataclass(frozen=True, slots=True)
class Node:
    """A host, and the IP versions that it `forwards`.

    `permanent` are the addresses of its permanent entries, `proxied` of its proxy ones, `rules` those before
    the main table. Of addresses that it got `late`, routes come after those of the others: of two to one
    network the first wins (fib_table_insert(), fib6_add_rt2node()).
    """

    name: str
    links: tuple[Link, ...]
    ways: tuple[Way, ...] = ()
    forwards: frozenset[int] = frozenset()
    permanent: frozenset[Address] = frozenset()
    proxied: frozenset[Address] = frozenset()
    rules: tuple[Rule, ...] = ()
    late: tuple[InterfaceAddress, ...] = ()
    addresses: frozenset[Address] = field(init=False, repr=False, compare=False)
    _tables: Mapping[int, Prefixes[Way]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Index addresses and routes, so that a lookup does not read all of them."""
        own = [(own, link.dev) for link in self.links for own in link.addresses]
        own.sort(key=lambda pair: self.late.index(pair[0]) + 1 if pair[0] in self.late else 0)
        connected = [Way(address.network, address.version, dev) for address, dev in own]
        ways = sorted((*self.ways, *connected), key=lambda way: way.to is None)
        object.__setattr__(self, "addresses", frozenset(address.ip for address, _ in own))
        tables = {
            table: Prefixes((way.to or _ALL[way.version], way) for way in ways if way.table == table)
            for table in {MAIN, *(way.table for way in ways)}
        }
        object.__setattr__(self, "_tables", tables)

    def has(self, address: Address) -> bool:
        """Return whether the host has `address`."""
        return address in self.addresses

    def link(self, dev: str) -> Link:
        """Return the link called `dev`."""
        return next(link for link in self.links if link.dev == dev)

    def way_to(self, address: Address, source: Address | None = None, dev: str | None = None) -> Way | None:
        """Return the route for `address`, the longest prefix first; with `dev`, out of that link.

        The tables of rules that match come first; one without a route leads to the next (fib_rules_lookup()).
        """
        tables = [rule.table for rule in self.rules if rule.matches(source, address)]
        ways = (w for t in (*tables, MAIN) if t in self._tables for w in self._tables[t].containing(address))
        return next((way for way in ways if dev in (None, way.dev)), None)

    def source_for(self, way: Way | None, destination: Address) -> Address | None:
        """Return the address from which the host sends to `destination` along `way`, or with none.

        In IPv4 it is the first in the network of the gateway (inet_select_addr()), in IPv6 the one with the
        longest prefix in common with the destination, of several the last (RFC 6724, 5, rules 5 and 8), and
        none that is link-local (rule 2).
        """
        version = destination.version
        order = 1 if version == 4 else -1
        every_own = [(link, o) for link in self.links for o in link.addresses[::order]]
        there = [(link, o) for link, o in every_own if o.version == version and not is_link_local(o)]
        own = [o for link, o in there if way is not None and link.dev == way.dev]
        every = own or [o for _, o in there]
        if version == 4 and way is not None:
            connected = way.to if way.table == MAIN else None
            near = [o for o in own if (way.via in o.network if way.via else connected == o.network)]
            return next((o.ip for o in (*near, *every)), None)
        common = [(min(common_bits(o.ip, destination), o.network.prefixlen), o.ip) for o in every]
        return max(common, key=lambda pair: pair[0], default=(0, None))[1]


def common_bits(one: Address, other: Address) -> int:
    """Return how many bits two addresses of one family have in common, from the left."""
    return one.max_prefixlen - (int(one) ^ int(other)).bit_length()


@dataclass(frozen=True, slots=True)
class World:
    """All hosts of a phase, by name, and the setting of each parent in `state`.

    `holders` are the hosts that have an address, without those that are down; `passing` are the IPv4 source
    addresses that the switch accepts at the ports of each host, None for all. `paths` are those of checks
    that were followed: each is asked for several times.
    """

    lab: Lab
    phase: Phase
    state: State
    nodes: Mapping[str, Node]
    settings: Mapping[str, Setting]
    holders: Mapping[Address, tuple[Node, ...]]
    passing: Mapping[str, frozenset[Address]] | None
    paths: dict[Check, Any] = field(init=False, default_factory=dict, compare=False, repr=False)

    def at(self, state: State) -> "World":
        """Return the world in another `state`; hosts that stay the same are reused."""
        former = self.state
        kept = ("flipped", "addresses", "mtus", "sysctls", "moved", "down")
        if any(getattr(former, name) != getattr(state, name) for name in kept):
            return world_of(self.lab, self.phase, state)
        same = former.allowed == state.allowed
        return replace(self, state=state, passing=self.passing if same else _passing(self.lab, state))

    def links_with(self, address: Address) -> Iterator[Link]:
        """Yield every link of the hosts that have `address`, on any of their links."""
        return (link for node in self.holders.get(address, ()) for link in node.links)

    def is_down(self, node: str) -> bool:
        """Return whether `node` is a host that is down, or on one."""
        return self.lab.machine_of(node) in self.state.down

    def down_with(self, address: Address) -> Link | None:
        """Return the link that has `address` on a host that is down, where no other host has it."""
        if not self.state.down or address in self.holders:
            return None
        down = (node for node in self.nodes.values() if self.is_down(node.name))
        return next((link for node in down for link in node.links if link.has(address)), None)

    def reflects(self, parent: str) -> bool:
        """Return whether the switch sends frames back to `parent`; none is connected to a dummy."""
        return self.state.hairpin and not self.is_dummy(parent)

    def is_dummy(self, parent: str) -> bool:
        """Return whether `parent` is a dummy, or a VLAN on one."""
        return self.lab.below(self.lab.parent_called(parent)).kind == "dummy"

    def nic(self, parent: str) -> Link:
        """Return the host's link that is the parent called `parent`."""
        return next(link for link in self.host(parent).links if link.nic_of == parent)

    def host(self, parent: str) -> Node:
        """Return the host with the parent called `parent`."""
        return self.nodes[self.lab.parent_called(parent).on]

    def upper(self, address: Address, parent: str | None = None) -> Link | None:
        """Return the ipvlan link that has `address`, on `parent` or on any."""
        return next((link for link in self._uppers(address) if parent in (None, link.parent)), None)

    def upper_in(self, segment: str, address: Address) -> Link | None:
        """Return the ipvlan link that has `address`, on a parent in the network `segment`."""
        return next((link for link in self._uppers(address) if link.segment == segment), None)

    def _uppers(self, address: Address) -> Iterator[Link]:
        return (x for x in self.links_with(address) if x.kind == "ipvlan" and x.has(address))

    def is_proxied(self, upper: Link, address: Address) -> bool:
        """Return whether the host answers for it: in l3 it gets no ARP, but neighbour solicitations."""
        steered = self.settings[upper.parent].mode == "l3" and address.version == 4
        return address in self.host(upper.parent).proxied and not steered

    def sysctl(self, link: Link, name: str) -> int:
        """Return the largest value of `name` of `link` and of all links of its host; 0 if none was set."""
        place, devs = self.lab.place(link.node), ("all", link.ifname)
        found = (one for one in self.state.sysctls.values() if one.name == name and one.dev in devs)
        return max((one.value for one in found if self.lab.place(one.node) == place), default=0)

    def not_modelled(self, check: Check, version: int) -> Sysctl | None:
        """Return a sysctl that was set, that may matter to `check`, and that the rules do not know.

        Of several it is the first by key and value, as for all checks between exchangeable nodes.
        """
        ends = [self.lab.place(end) for end in (check.source, check.destination)]
        found = (
            one
            for one in self.state.sysctls.values()
            if not one.is_modelled(self.lab.hosts)
            and one.family == f"ipv{version}"
            and (self.lab.place(one.node) in ends or not self.lab.is_endpoint(one.node))
        )
        return min(found, key=lambda one: (one.key, one.value), default=None)

    def is_announced(self, upper: Link, address: Address) -> bool:
        """Return whether the host announces it periodically, which renews every entry that expires."""
        helpers = self.settings[upper.parent].helpers
        return address.version == 4 and any(helper.announces for helper in helpers)


def world_of(lab: Lab, phase: Phase, state: State) -> World:
    """Return the world in `phase` of `lab`, with the changes of earlier acts.

    On a real network, an unknown address is replaced by a placeholder.
    """
    lab = _with_all_addresses(lab.moved(state.moved, phase))
    settings, additions = {}, {}
    for parent in lab.parents:
        setting = phase.on(parent.name)
        mode, flag = state.flipped.get(parent.name, (setting.mode, setting.flag))
        settings[parent.name] = replace(setting, mode=mode, flag=flag)
        # A change of mode changes nothing of what strategies added.
        stages = lab.stages(phase, parent)
        additions[parent.name] = [a.added for stage in stages for a in stage if a.added]
    builder = _Builder(lab, phase, settings, additions, state)
    nodes = [*map(builder.host, lab.hosts), *map(builder.peer, lab.peers), *builder.endpoints()]
    if lab.far:
        nodes.append(builder.far())
    holders: dict[Address, tuple[Node, ...]] = {}
    for node in (node for node in nodes if lab.machine_of(node.name) not in state.down):
        for address in node.addresses:
            holders[address] = (*holders.get(address, ()), node)
    by_name = {node.name: node for node in nodes}
    # Endpoints in one namespace are one host.
    by_name |= {link.dev: node for node in nodes for link in node.links if link.owner != node.name}
    return World(lab, phase, state, by_name, settings, holders, _passing(lab, state))


def _passing(lab: Lab, state: State) -> Mapping[str, frozenset[Address]] | None:
    """Return the addresses of the roles that `state` allows at each host, which need not be in this phase."""
    if state.allowed is None:
        return None
    return {host: frozenset(lab.sources(roles)) for host, roles in state.allowed.items()}


@dataclass(frozen=True, slots=True)
class _Builder:
    lab: Lab
    phase: Phase
    settings: Mapping[str, Setting]
    additions: Mapping[str, list[strategies.Added]]
    state: State
    for_others: dict[str, list[strategies.Added]] = field(default_factory=dict)
    """What is added to other nodes than the host of a parent, by their names."""

    def __post_init__(self) -> None:
        for added in (added for every in self.additions.values() for added in every):
            if isinstance(added, strategies.Route | strategies.Neighbour) and added.peer is not None:
                self.for_others.setdefault(added.peer, []).append(added)

    def endpoints(self) -> Iterator[Node]:
        by_place: dict[Place, list[Endpoint]] = {}
        for endpoint in self.lab.endpoints_of(self.phase):
            by_place.setdefault(self.lab.place(endpoint.name), []).append(endpoint)
        return map(self.container, by_place.values())

    def container(self, endpoints: Sequence[Endpoint]) -> Node:
        """Return the host that endpoints in one namespace are, which is called as the first."""
        links: list[Link] = []
        ways: list[Way] = []
        called = endpoints[0].name
        for endpoint in endpoints:
            name, parent, mtus = endpoint.name, endpoint.parent, self.state.mtus
            own = (*endpoint.addresses, *(added for dev, added in self.state.addresses if dev == name))
            kind = self.settings[parent].kind
            at_first = DEFAULT_MTU if kind == "veth" else mtus.get(parent, DEFAULT_MTU)
            mtu = mtus.get(name, endpoint.mtu or at_first)
            of: Literal["nic", "ipvlan", "macvlan"] = "ipvlan"
            if kind in ("veth", "macvlan"):
                of = "nic" if kind == "veth" else "macvlan"
            segment = self.lab.parent_called(parent).lan
            links.append(Link(called, name, of, segment, own, parent, mtu, ifname=endpoint.dev))
            # A change of mode changes no route.
            routes = self.lab.default_routes(self.phase.on(parent), endpoint)
            ways += _own_routes(routes, name)
        ordered = endpoints if len(endpoints) == 1 else sorted(endpoints, key=self.lab.endpoints.index)
        rules = tuple(rule for endpoint in ordered for rule in endpoint.rules)
        late = tuple(own for _, own in self.state.addresses)
        return Node(called, tuple(links), tuple(ways), self.forwards(called, ()), rules=rules, late=late)

    def host(self, called: str) -> Node:
        links, ways, proxied = [], [], set()
        vlans = {parent.name for parent in self.lab.parents if parent.vlan is not None}
        for parent in self.lab.parents_on(called):
            is_veth = self.settings[parent.name].kind == "veth"
            bridged = is_veth and self.lab.endpoints_of(self.phase, parent)
            mtu = self.state.mtus.get(parent.name, DEFAULT_MTU)
            dev = BRIDGE if bridged else parent.dev
            # A bridge takes the smallest MTU of its ports.
            own_mtu = min(mtu, DEFAULT_MTU) if bridged else mtu
            port_mtu = self._port_mtu(parent)
            nic = Link(called, dev, "nic", parent.lan, parent.host, "", own_mtu, port_mtu)
            links.append(replace(nic, nic_of=parent.name))
            if self.lab.routed:
                near = (gw for gw in parent.gateways if is_next_hop(gw, parent.host))
                ways += [Way(None, gw.version, dev, gw) for gw in near]
            for added in self.additions[parent.name]:
                match added:
                    case strategies.Route(to, through, via, None):
                        ways.append(Way(to, to.version, through, via))
                    case strategies.Proxy(address):
                        proxied.add(address)
                    case strategies.Link(shim, own):
                        upper = Link(called, shim, "ipvlan", parent.lan, own, parent.name, mtu)
                        links.append(replace(upper, is_shim=True))
        # Those that the kernel created first, as inet_select_addr() and ipv6_dev_get_saddr() find them.
        links.sort(key=lambda link: (link.is_shim, link.dev == BRIDGE, link.nic_of in vlans))
        permanent = set()
        for added in self.for_others.get(called, ()):
            match added:
                case strategies.Route(to, through, via):
                    ways.append(Way(to, to.version, through, via))
                case strategies.Neighbour(_, address):
                    permanent.add(address)
        forwards = self.forwards(called, {address.version for address in proxied})
        return Node(
            called,
            tuple(links),
            tuple(ways),
            forwards,
            permanent=frozenset(permanent),
            proxied=frozenset(proxied),
        )

    def forwards(self, node: str, versions: Collection[int]) -> frozenset[int]:
        """Return which IP versions `node` forwards, those `versions` unless a sysctl differs."""
        found = set(versions)
        for one in self.state.sysctls.values():
            of_node = self.lab.place(one.node) == self.lab.place(node)
            known = one.is_modelled(self.lab.hosts)
            if of_node and known and one.name in ("ip_forward", "forwarding"):
                version = 4 if one.family == "ipv4" else 6
                (found.add if one.value else found.discard)(version)
        return frozenset(found)

    def _port_mtu(self, parent: Parent) -> int | None:
        """Return the MTU of the port below a bridge, which keeps its own, or of the link below a VLAN."""
        below = self.lab.below(parent)
        if below.kind == "bridge":
            return DEFAULT_MTU
        return None if below == parent else self.state.mtus.get(below.name, DEFAULT_MTU)

    def peer(self, role: str) -> Node:
        links: list[Link] = []
        ways: list[Way] = []
        rules: tuple[Rule, ...] = ()
        permanent = set()
        for parent, peer in ((p, peer) for p in self.lab.networks for peer in p.peers if peer.name == role):
            there = [p for p in self.lab.parents if p.lan == parent.name]
            ifname = self.lab.dev_of(parent)
            links.append(Link(role, parent.name, "nic", parent.name, peer.addresses, ifname=ifname))
            ways += _own_routes(self.lab.routes_of(parent, peer), parent.name)
            rules += peer.rules
            for added in (added for p in there for added in self.additions[p.name]):
                match added:
                    case strategies.Route(to, _, via, at) if at == role:
                        ways.append(Way(to, to.version, parent.name, via))
                    case strategies.Neighbour(at, address) if at == role:
                        permanent.add(address)
        if role == GATEWAY:
            links += [Link(role, FAR, "nic", FAR, (self.lab.far_gateway(own),)) for own in self.lab.far]
        forwards = self.forwards(role, (4, 6) if role in self.lab.routers else ())
        return Node(role, tuple(links), tuple(ways), forwards, frozenset(permanent), rules=rules)

    def far(self) -> Node:
        ways = tuple(Way(None, own.version, FAR, self.lab.far_gateway(own).ip) for own in self.lab.far)
        return Node(FAR, (Link(FAR, FAR, "nic", FAR, self.lab.far),), ways)


def _own_routes(routes: Iterable[tuple[Family, Route]], dev: str) -> tuple[Way, ...]:
    """Return routes out of the link `dev`, each with its family, as those of a node."""
    versions = dict(zip(FAMILIES, (4, 6), strict=True))
    return tuple(Way(r.to, versions[f], "" if r.type else dev, r.via, r.type, r.table) for f, r in routes)


def _with_all_addresses(lab: Lab) -> Lab:
    """Return a lab on a real network with placeholders for unknown addresses, so that rules can be applied.

    They are free ones of the endpoints' subnets, or of other subnets if routed.
    """
    if lab.simulated:
        return lab
    parent = lab.parents[0]
    taken = lab.taken.union(own for phase in lab.phases for own in phase.setting.shim_addresses)
    subnets = {own.network for endpoint in lab.endpoints for own in endpoint.addresses}
    if any(helper.own_subnet for phase in lab.phases for helper in phase.setting.helpers):
        subnets = {ip_network("192.0.2.0/24"), ip_network("2001:db8:ffff::/64")}
    host, gateway, neighbour = list(parent.host), list(parent.gateway), list(parent.neighbour)
    hosts: dict[str, list[InterfaceAddress]] = {h.name: [] for h in parent.hosts if not h.addresses}
    for subnet in sorted(subnets, key=str):
        addresses_in = (subnet[i] for i in range(1, min(subnet.num_addresses, 4096) - 1))
        free = (a for a in addresses_in if a not in taken)
        if not (parent.others or any(own.version == subnet.version for own in host)):
            host += [ip_interface((a, subnet.prefixlen)) for a in islice(free, 1)]
        for addresses in (gateway, neighbour):
            if not any(a.version == subnet.version and not is_link_local(a) for a in addresses):
                addresses += islice(free, 1)
        for own in hosts.values():
            own += [ip_interface((a, subnet.prefixlen)) for a in islice(free, 1)]
    others = tuple(replace(h, addresses=tuple(hosts.get(h.name, h.addresses))) for h in parent.hosts)
    filled = replace(
        parent, host=tuple(host), gateway=tuple(gateway), neighbour=tuple(neighbour), hosts=others
    )
    return lab if filled == parent else replace(lab, parents=(filled, *lab.parents[1:]))
