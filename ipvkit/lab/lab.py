"""A whole lab: what follows from its parts, and what it is on a real parent."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from ipaddress import ip_interface
from itertools import islice

from ipvkit.core.errors import InvalidLab, UsageError
from ipvkit.core.values import Address, InterfaceAddress, Network, is_link_local
from ipvkit.lab import parts
from ipvkit.lab.parts import (
    FAMILIES,
    FAR,
    GATEWAY,
    HOST,
    PEERS,
    Endpoint,
    Family,
    Host,
    Parent,
    Phase,
    Setting,
    family_of,
    the,
)
from ipvkit.lab.prefixes import with_prefix
from ipvkit.lab.validity import check, check_phases, known
from ipvkit.strategies import Addition, Peer, Site


@dataclass(frozen=True, slots=True)
class Lab:
    """A whole lab, and the facts that follow from it; raises InvalidLab where its parts do not fit together.

    `far` are the addresses of a host behind the gateway; `simulated` is whether ipvkit builds the network.
    `setup` None stands for stepwise, or batch from BATCH_FROM endpoints on. `parallel` is the most
    concurrent pings, None for PARALLEL. `hosts` are those with the parents, and `taken` all addresses in it.
    `networks` are the parents that have a separate network, in which those of other hosts may be; `hardware`
    those that are not a VLAN on another; `wired` of these all but dummies, to which a switch is connected;
    `switched` those that have a separate network, and so a switch, unless one is a dummy. `advertised` are
    the prefixes that the gateway advertises, by the network, and `asks_for_others` the nodes that ask for
    IPv6 packets of others: hosts in l3 and l3s, and routers.
    """

    name: str
    about: str
    parents: tuple[Parent, ...]
    endpoints: tuple[Endpoint, ...]
    phases: tuple[Phase, ...]
    far: tuple[InterfaceAddress, ...] = ()
    simulated: bool = True
    setup: parts.Setup | None = None
    parallel: int | None = None
    hosts: tuple[str, ...] = field(init=False, repr=False, compare=False)
    taken: frozenset[Address] = field(init=False, repr=False, compare=False)
    networks: tuple[Parent, ...] = field(init=False, repr=False, compare=False)
    hardware: tuple[Parent, ...] = field(init=False, repr=False, compare=False)
    wired: tuple[Parent, ...] = field(init=False, repr=False, compare=False)
    switched: tuple[Parent, ...] = field(init=False, repr=False, compare=False)
    advertised: Mapping[str, tuple[Network, ...]] = field(init=False, repr=False, compare=False)
    asks_for_others: frozenset[str] = field(init=False, repr=False, compare=False)
    _numbers: Mapping[str, int] = field(init=False, repr=False, compare=False)
    _by_host: Mapping[str, list[Parent]] = field(init=False, repr=False, compare=False)
    _by_name: Mapping[str, Endpoint] = field(init=False, repr=False, compare=False)
    _by_parent: Mapping[str, list[Endpoint]] = field(init=False, repr=False, compare=False)
    _places: Mapping[str, parts.Place] = field(init=False, repr=False, compare=False)
    _cables: Mapping[str, tuple[int, int]] = field(init=False, repr=False, compare=False)
    _firsts: frozenset[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._index_parents(tuple(_in_their_networks(self.parents)))
        object.__setattr__(self, "_by_name", {endpoint.name: endpoint for endpoint in self.endpoints})
        by_parent: dict[str, list[Endpoint]] = {}
        for endpoint in self.endpoints:
            by_parent.setdefault(endpoint.parent, []).append(endpoint)
        object.__setattr__(self, "_by_parent", by_parent)
        places = {
            e.name: (self.host_of(e.name) if self.several_hosts else HOST, e.netns) for e in self.endpoints
        }
        object.__setattr__(self, "_places", places)
        firsts = {place: name for name, place in reversed(places.items())}
        object.__setattr__(self, "_firsts", frozenset(firsts.values()))
        object.__setattr__(self, "taken", frozenset(address for address, _ in self.addresses()))
        object.__setattr__(self, "advertised", self._advertised())
        object.__setattr__(self, "asks_for_others", self._asks_for_others())
        check(self)

    def _index_parents(self, parents: tuple[Parent, ...]) -> None:
        """Take `parents` for its own, with what follows from all of them."""
        by_host: dict[str, list[Parent]] = {}
        for parent in parents:
            by_host.setdefault(parent.on, []).append(parent)
        hardware = tuple(parent for parent in parents if parent.vlan is None)
        wired = tuple(parent for parent in hardware if parent.kind != "dummy")
        cables: dict[str, tuple[int, int]] = {}
        on_host = Counter[str]()
        for number, parent in enumerate(wired):
            cables[parent.name] = number, on_host[parent.on]
            on_host[parent.on] += 1
        found = {
            "parents": parents,
            "hosts": tuple(by_host),
            "networks": tuple(parent for parent in parents if parent.lan == parent.name),
            "hardware": hardware,
            "wired": wired,
            "switched": tuple(parent for parent in hardware if parent.lan == parent.name),
            "_numbers": {parent.name: number for number, parent in reversed([*enumerate(parents)])},
            "_by_host": by_host,
            "_cables": cables,
        }
        for name, value in found.items():
            object.__setattr__(self, name, value)

    def addresses(self) -> Iterator[tuple[Address, parts.Path]]:
        """Yield every address of the lab with its place."""
        for i, parent in enumerate(self.parents):
            for role in PEERS if parent in self.networks else ():
                yield from ((peer, ("parents", i, role)) for peer in parent.peer(role))
            for n, host in enumerate(parent.hosts if parent in self.networks else ()):
                yield from ((own.ip, ("parents", i, "hosts", n)) for own in host.addresses)
            yield from ((own.ip, ("parents", i, HOST)) for own in parent.host)
        yield from ((own.ip, (FAR,)) for own in self.far)
        for i, endpoint in enumerate(self.endpoints):
            yield from ((own.ip, ("endpoints", i)) for own in endpoint.addresses)

    @property
    def parent(self) -> str:
        """The first parent's name."""
        return self.parents[0].name

    def is_host(self, role: str) -> bool:
        """Return whether `role` is a host with parents."""
        return role in self._by_host

    @property
    def several_hosts(self) -> bool:
        """Whether several hosts have parents: each is then a separate machine, as the LAN is."""
        return len(self.hosts) > 1

    @property
    def machines(self) -> tuple[str, ...]:
        """The machines on which its commands run: its hosts, and where they are several that of the LAN.

        No command runs on a real LAN.
        """
        return (parts.LAN, *self.hosts) if self.several_hosts and self.simulated else self.hosts

    def machine_of(self, role: str) -> str:
        """Return the machine on which `role` is."""
        if role in self._places:
            return self._places[role][0]
        if not self.several_hosts:
            return HOST
        return role if self.is_host(role) else parts.LAN

    def host_of(self, endpoint: str) -> str:
        """Return the host that `endpoint` is on."""
        number = self._numbers.get(self.endpoint(endpoint).parent)
        return HOST if number is None else self.parents[number].on

    def with_phases(self, *phases: Phase) -> "Lab":
        """Return the same network with other phases, of which alone the checks are made."""
        other = copy(self)
        object.__setattr__(other, "phases", phases)
        object.__setattr__(other, "asks_for_others", other._asks_for_others())
        check_phases(other)
        return other

    def moved(self, parents: Mapping[str, str], phase: Phase) -> "Lab":
        """Return the lab in `phase` alone, with some endpoints on other parents, those by their names."""
        if not parents:
            return self
        endpoints = (replace(e, parent=parents.get(e.name, e.parent)) for e in self.endpoints)
        # In other phases they are where they were.
        return replace(self, endpoints=tuple(endpoints), phases=(phase,))

    def parents_after(self, moves: Iterable[tuple[str, str]]) -> dict[str, str]:
        """Return the parents on which endpoints are that have moved to other hosts, by their names."""
        found = {}
        for name, host in moves:
            there = self.on_lan(host, self.parent_called(self.endpoint(name).parent))
            if there is not None:
                found[name] = there.name
        return found

    def require_one_host(self, what: str) -> None:
        """Raise UsageError for several hosts, which `what` is not for."""
        if self.several_hosts:
            names = ", ".join(self.hosts)
            hint = "run-lab, explain, review and labs take it; --target uml gives each host a kernel"
            raise UsageError(f"{what} is for one host, and lab {self.name} has several: {names}", hint)

    def parents_on(self, host: str) -> tuple[Parent, ...]:
        """Return the parents of `host`."""
        return tuple(self._by_host.get(host, ()))

    def on_lan(self, host: str, parent: Parent) -> Parent | None:
        """Return the parent of `host` in the network of `parent`."""
        return next((other for other in self.parents_on(host) if other.lan == parent.lan), None)

    @property
    def peers(self) -> tuple[str, ...]:
        """The hosts beside the lab's own: gateway and neighbour, where they have an address, and others."""
        roles = (role for role in PEERS if any(parent.peer(role) for parent in self.networks))
        return (*roles, *(host.name for parent in self.networks for host in parent.hosts))

    @property
    def routers(self) -> tuple[str, ...]:
        """The peers that forward: the gateway where it leads somewhere, and hosts."""
        hosts = [host for parent in self.networks for host in parent.hosts]
        gateway = (GATEWAY,) if (self.routed or hosts) and GATEWAY in self.peers else ()
        return (*gateway, *(host.name for host in hosts if host.forwards))

    def _asks_for_others(self) -> frozenset[str]:
        if all(address.version == 4 for address in self.taken):
            return frozenset()
        settings = [(p.on, phase.on(p.name)) for phase in self.phases for p in self.parents]
        forward = {host for host, setting in settings if setting.is_ipvlan and setting.mode != "l2"}
        return frozenset((*forward, *self.routers))

    @property
    def in_batches(self) -> bool:
        """Whether its endpoints are created in place, in few processes."""
        return self.setup == "batch" or (self.setup is None and len(self.endpoints) >= parts.BATCH_FROM)

    @property
    def routed(self) -> bool:
        """Whether the gateway leads somewhere: to other parents' networks, or to the far host."""
        return bool(self.far) or len(self.networks) > 1

    def _advertised(self) -> dict[str, tuple[Network, ...]]:
        found: dict[str, dict[Network, None]] = {}
        for endpoint in (e for e in self.endpoints if e.slaac and e.parent in self._numbers):
            for own in endpoint.advertised:
                found.setdefault(self.parent_called(endpoint.parent).lan, {})[own.network] = None
        return {parent: tuple(prefixes) for parent, prefixes in found.items()}

    @property
    def has_ipvlan(self) -> bool:
        """Whether any of its links is ipvlan, which some kernels do not have."""
        changes = (attempt.change for phase in self.phases for act in phase.acts for attempt in act.attempts)
        added = {change.kind for change in changes if isinstance(change, parts.AddLink)}
        kinds = added.union(phase.on(p.name).kind for phase in self.phases for p in self.parents)
        return not kinds.isdisjoint(parts.IPVLAN)

    def parent_called(self, name: str) -> Parent:
        """Return the parent called `name`."""
        return self.parents[self._numbers[name]]

    def endpoint(self, name: str) -> Endpoint:
        """Return the endpoint called `name`."""
        return self._by_name[name]

    def is_endpoint(self, role: str) -> bool:
        """Return whether `role` is an endpoint's name."""
        return role in self._by_name

    def parent_of(self, check: parts.Check) -> Parent:
        """Return the parent of a check's endpoint, the destination first; the check means its hosts."""
        name = check.destination if self.is_endpoint(check.destination) else check.source
        return self.parent_called(self.endpoint(name).parent)

    def addresses_of(self, role: str, parent: Parent) -> tuple[Address, ...]:
        """Return the addresses of `role`, of the host and the peers those in the network of `parent`.

        A check pings none that is link-local, and so none of these is.
        """
        if self.is_host(role):
            there = self.on_lan(role, parent)
            return tuple(own.ip for own in there.host) if there else ()
        if role == FAR:
            return tuple(own.ip for own in self.far)
        if self.is_endpoint(role):
            return tuple(own.ip for own in self.endpoint(role).addresses)
        return tuple(own for own in parent.peer(role) if not is_link_local(own))

    def sources(self, roles: Collection[str]) -> list[Address]:
        """Return the addresses from which `roles`, of endpoints and hosts, send: of a host all."""
        found = [own.ip for parent in self.parents if parent.on in roles for own in parent.host]
        endpoints = (self.endpoint(role) for role in roles if not self.is_host(role))
        return found + [own.ip for endpoint in endpoints for own in endpoint.addresses]

    def allowed_at(self, host: str, roles: Collection[str]) -> list[str]:
        """Return which of `roles`, endpoints and hosts, are on `host`."""
        return [role for role in roles if host == (role if self.is_host(role) else self.host_of(role))]

    def pinged(self, check: parts.Check) -> Address | None:
        """Return the address that `check` pings, or None where it is unknown."""
        parent = self.parent_of(check)
        wanted = (check.family,) if check.family else FAMILIES
        there = self.addresses_of(check.destination, parent)
        targets = [a for family in wanted for a in there if family_of(a) == family]
        sources = {family_of(a) for a in self.addresses_of(check.source, parent)}
        both = [a for a in targets if family_of(a) in sources]
        # On a real network the addresses of others are not all known.
        found = both if both or self.simulated else targets
        return found[0] if found else None

    def netns(self, role: str) -> str | None:
        """Return the namespace that `role` is in; of a host None."""
        if self.is_host(role):
            return None
        return self.endpoint(role).netns if self.is_endpoint(role) else role

    def place(self, role: str) -> parts.Place:
        """Return where `role` is: its machine, and its namespace there."""
        return self._places.get(role) or (self.machine_of(role), self.netns(role))

    def dev_of(self, parent: Parent) -> str:
        """Return the name of the peers' links in the network of `parent`."""
        dev = f"eth{self.position(parent)}"
        return dev if parent.vlan is None else f"{dev}.{parent.vlan}"

    def position(self, parent: Parent) -> int:
        """Return the number of the switch that `parent` is connected to."""
        lan = self.below(parent).lan
        return next(i for i, one in enumerate(self.switched) if one.name == lan)

    def links_of(self, role: str) -> list[tuple[str | None, str]]:
        """Return the links of `role` in the lab's networks, each after its namespace."""
        if self.is_endpoint(role):
            return [(self.netns(role), self.endpoint(role).dev)]
        if self.is_host(role):
            return [(None, parent.dev) for parent in self.parents_on(role)]
        return [(role, self.dev_of(parent)) for parent in self.networks if parent.peer(role)]

    def ports(self, role: str) -> dict[int, str]:
        """Return the names of the switch's ports for `role`, by the positions of hardware parents.

        None is for a dummy; of a bond it is the one for both ports.
        """
        for parent in self.networks:
            if any(host.name == role for host in parent.hosts):
                return {self.position(parent): role}
        wired = (i for i, parent in enumerate(self.switched) if parent.kind != "dummy")
        # The first port of a host h11 has another name than the second one of a host h1.
        between = "." if self.is_host(role) and self.several_hosts else ""
        return {i: role if i == 0 else f"{role}{between}{i}" for i in wired}

    def below(self, parent: Parent) -> Parent:
        """Return the parent that a VLAN is on; of another parent itself."""
        return self.parent_called(parent.link) if parent.link else parent

    def cable(self, parent: Parent, machine: str) -> str:
        """Return what the cable of a hardware parent ends in on its host, or on the machine of the LAN.

        Only several hosts have cables, which are their targets': each end is a link with a number.
        """
        of_lan, of_host = self._cables[parent.name]
        return f"{parts.CABLE}{of_lan if machine == parts.LAN else of_host}"

    def wires(self, parent: Parent) -> list[tuple[str, str]]:
        """Return the links between the host and the switch below `parent`: the name of each at both ends."""
        position = self.position(parent)
        port, first = self.ports(parent.on)[position], 2 * position
        if parent.kind == "bond":
            return [(f"{parts.LOWER}{first + i}", f"{port}-{i}") for i in range(2)]
        return [(f"{parts.LOWER}{first}" if parent.kind == "bridge" else parent.dev, port)]

    def lower(self, parent: Parent) -> list[str]:
        """Return the names of the ports that `parent` has, if it is a bond or a bridge."""
        return [own for own, _ in self.wires(parent)] if parent.kind in ("bond", "bridge") else []

    def host_ports(self, host: str) -> list[tuple[int, str]]:
        """Return the ports of the switch's bridges for a host, each after the number of its switch."""
        found = []
        for parent in (parent for parent in self.parents_on(host) if parent.name in self._cables):
            i, own = self.position(parent), self.ports(parent.on)
            # With LACP both ends are one port, a bond.
            ends = [own[i]] if parent.lacp else [end for _, end in self.wires(parent)]
            found += [(i, end) for end in ends]
        return found

    def mac_of(self, parent: Parent) -> str | None:
        """Return the MAC address that `parent` is given, where a phase has to know it; None elsewhere."""
        names = {parent.name, *(p.name for p in self.parents_on(parent.on) if p.link == parent.name)}
        helpers = (helper for phase in self.phases for name in names for helper in phase.on(name).helpers)
        return self._mac_of(parent) if any(helper.needs_lladdr for helper in helpers) else None

    def _mac_of(self, parent: Parent) -> str:
        number = self._numbers[self.below(parent).name] + 1
        return f"02:00:00:00:{number >> 8:02x}:{number & 0xFF:02x}"

    def endpoints_of(self, phase: Phase, parent: Parent | None = None) -> list[Endpoint]:
        """Return the endpoints of `phase`, all or those on `parent`."""
        if parent is None:
            return [*map(self.endpoint, phase.endpoints)]
        there = (e for e in self._by_parent.get(parent.name, ()) if e.name in phase.numbers)
        return sorted(there, key=lambda endpoint: phase.numbers[endpoint.name])

    def endpoints_on(self, host: str) -> list[Endpoint]:
        """Return the endpoints on `host`, those on one parent in their order."""
        return [e for parent in self.parents_on(host) for e in self._by_parent.get(parent.name, ())]

    def endpoints_at(self, phase: Phase, host: str) -> list[Endpoint]:
        """Return the endpoints of `phase` that are on `host`."""
        there = (e for e in self.endpoints_on(host) if e.name in phase.numbers)
        return sorted(there, key=lambda endpoint: phase.numbers[endpoint.name])

    def default_routes(self, setting: Setting, endpoint: Endpoint) -> tuple[tuple[Family, parts.Route], ...]:
        """Return the routes of `endpoint` under `setting`, each with its family: its own, or default ones.

        By default all goes straight out of its link, as l3 needs it; in other modes via the gateway, where
        that leads somewhere or advertises itself, and is in the endpoint's subnet, or link-local. Of several
        endpoints in one namespace only the first has default routes.
        """
        has = [f for f in FAMILIES if any(family_of(own) == f for own in endpoint.addresses)]
        if endpoint.routes is not None:
            return tuple((family, route) for route in endpoint.routes for family in route.families(has))
        if endpoint.name not in self._firsts:
            return ()
        by_arp = not setting.is_ipvlan or setting.mode == "l2"
        gateways = self.parent_called(endpoint.parent).next_hops if by_arp else ()
        leading = (gw for gw in gateways if self.routed or endpoint.configures(family_of(gw)))
        near = [gw for gw in leading if parts.is_next_hop(gw, endpoint.addresses)]
        first = {family_of(gw): gw for gw in reversed(near)}
        return tuple((family, parts.Route(via=first.get(family))) for family in has)

    def routes_of(self, parent: Parent, host: Host) -> tuple[tuple[Family, parts.Route], ...]:
        """Return the routes of a peer on `parent`, each with its family: its own, or a default one.

        That is via the gateway, where it leads somewhere and is in a subnet of the peer, or link-local.
        """
        if host.routes is not None:
            has = [f for f in FAMILIES if any(family_of(own) == f for own in host.addresses)]
            return tuple((family, route) for route in host.routes for family in route.families(has))
        gateways = parent.gateways if self.routed and host.name != GATEWAY else ()
        near = (gw for gw in gateways if parts.is_next_hop(gw, host.addresses))
        return tuple((family_of(gateway), parts.Route(via=gateway)) for gateway in near)

    def shim_on(self, parent: Parent) -> str:
        """Return the name of its host's own ipvlan link on `parent`."""
        position = self.parents_on(parent.on).index(parent)
        return parts.SHIM if position == 0 else f"{parts.SHIM}{position}"

    def shim_addresses(self, setting: Setting, parent: Parent) -> tuple[InterfaceAddress, ...]:
        """Return the host shim's addresses on `parent`: named ones, or in l2 the last free ones, for ARP."""
        if not setting.host_shim or (setting.mode != "l2" and not setting.shim_addresses):
            return ()
        if setting.shim_addresses:
            return tuple(map(ip_interface, setting.shim_addresses))
        # Each host in the network has another one.
        at, count = self.hosts.index(parent.on), len(self.hosts)
        free = (_last_free(subnet, self.taken, count)[at : at + 1] for subnet in parent.subnets)
        return tuple(ip_interface(address) for addresses in free for address in addresses)

    def site(self, phase: Phase, parent: Parent) -> Site:
        """Return what a strategy sees of `parent` in `phase`."""
        setting = phase.on(parent.name)
        endpoints = self.endpoints_of(phase, parent)
        return Site(
            called=the(parent.on),
            parent=parent.dev,
            mode=setting.mode,
            flag=setting.flag,
            strategy=setting.strategy,
            host=parent.host,
            parents_subnets=parent.subnets,
            peers_of=partial(self._peers, parent),
            endpoints=tuple((e.name, own) for e in endpoints for own in e.addresses),
            lladdr=self._mac_of(parent),
            shim=self.shim_on(parent),
            shim_addresses=self.shim_addresses(setting, parent),
            named=setting.shim_addresses,
            simulated=self.simulated,
            taken=self.taken,
        )

    def _peers(self, parent: Parent) -> tuple[Peer, ...]:
        """Return the hosts in the network of `parent` that do not have it."""
        dev = self.dev_of(parent)
        beside = [(host.name, dev, host.addresses, host.routes or (), host.name) for host in parent.peers]
        others = (p for p in self.parents if p.lan == parent.lan and p.on != parent.on)
        return tuple(
            Peer(
                role,
                the(role),
                link,
                frozenset(own.version for own in addresses),
                frozenset(own.network for own in addresses),
                frozenset(r.to for r in routes if r.to is not None and r.table == parts.MAIN),
                netns,
            )
            for role, link, addresses, routes, netns in (
                *beside,
                *((other.on, other.dev, other.host, (), None) for other in others),
            )
        )

    def stages(self, phase: Phase, parent: Parent) -> list[list[Addition]]:
        """Return what the strategies add for the endpoints on `parent` in `phase`, in stages."""
        site = self.site(phase, parent)
        helpers = phase.on(parent.name).helpers if site.endpoints else ()
        return [stage for helper in helpers for stage in helper.stages(site)]

    def far_gateway(self, own: InterfaceAddress) -> InterfaceAddress:
        """Return the gateway's address in the network of the far host that has `own`."""
        first, second = own.network[1], own.network[2]
        return with_prefix(second if own.ip == first else first, own.network.prefixlen)


@lru_cache(maxsize=4)
def _last_free(subnet: Network, taken: frozenset[Address], count: int) -> tuple[Address, ...]:
    """Return the last `count` addresses of a subnet that are not `taken`, or as many as there are."""
    last = min(subnet.num_addresses, 65536) - 2
    free = (subnet[number] for number in range(last, 0, -1) if subnet[number] not in taken)
    return tuple(islice(free, count))


def _in_their_networks(parents: Sequence[Parent]) -> Iterator[Parent]:
    """Yield `parents`, those that share a network with its peers and all of its subnets."""
    by_lan: dict[str, list[Parent]] = {}
    for parent in parents:
        by_lan.setdefault(parent.lan, []).append(parent)
    first = {lan: next((one for one in every if one.name == lan), every[0]) for lan, every in by_lan.items()}
    every_subnet = {
        lan: dict.fromkeys(subnet for one in (first[lan], *every) for subnet in one.subnets)
        for lan, every in by_lan.items()
    }
    for parent in parents:
        if len(by_lan[parent.lan]) > 1:
            of, subnets = first[parent.lan], every_subnet[parent.lan]
            own = {address.network for address in parent.host}
            others = tuple(subnet for subnet in subnets if subnet not in own)
            gateway, neighbour, hosts = of.gateway, of.neighbour, of.hosts
            parent = replace(parent, gateway=gateway, neighbour=neighbour, hosts=hosts, others=others)
        yield parent


def on_parent(
    lab: Lab,
    parent: str,
    *,
    host: tuple[InterfaceAddress, ...] = (),
    addresses: Mapping[str, InterfaceAddress] | None = None,
    gateway: Address | None = None,
    neighbour: Address | None = None,
) -> Lab:
    """Return `lab` on a real NIC, with `addresses` by endpoint; raise InvalidLab for several parents."""
    lab.require_one_host("--parent")
    if len(lab.parents) > 1:
        hint = "--parent is for labs with one; leave it away"
        raise InvalidLab(f"lab {lab.name} has {len(lab.parents)} parents", hint)
    _refuse_advertised(lab, "leave --parent out, or `slaac`")
    endpoints = [replace(e, parent=parent) for e in _with_addresses(lab, addresses or {})]
    beside = (gateway,) if gateway else (), (neighbour,) if neighbour else ()
    hosts = tuple(Host(host.name) for host in lab.parents[0].hosts)
    real = Parent(parent, host, *beside, hosts=hosts)
    phases = tuple(_moved(phase, lab.parent, parent) for phase in lab.phases)
    return replace(lab, parents=(real,), endpoints=tuple(endpoints), phases=phases, simulated=False)


@dataclass(frozen=True, slots=True)
class RealParent:
    """What a parent of a lab is on a real host: its device, with its addresses and gateways."""

    dev: str
    host: tuple[InterfaceAddress, ...] = ()
    gateway: tuple[Address, ...] = ()


def on_hosts(lab: Lab, real: Mapping[str, RealParent], addresses: Mapping[str, InterfaceAddress]) -> Lab:
    """Return `lab` on real hosts that have its parents, `real` by their names, with `addresses` by endpoint.

    Raise InvalidLab for what it cannot have there.
    """
    there = with_devices(on_its_hosts(lab), {name: parent.dev for name, parent in real.items()})
    taken = {own.ip for parent in real.values() for own in parent.host}
    parents = (
        replace(
            parent,
            host=real[parent.name].host,
            gateway=real[parent.name].gateway,
            neighbour=tuple(address for address in parent.neighbour if address not in taken),
            hosts=tuple(Host(host.name) for host in parent.hosts),
            others=() if real[parent.name].host else parent.others,
        )
        for parent in there.parents
    )
    return replace(there, parents=tuple(parents), endpoints=tuple(_with_addresses(lab, addresses)))


def _with_addresses(lab: Lab, addresses: Mapping[str, InterfaceAddress]) -> Iterator[Endpoint]:
    """Yield the endpoints of `lab` with other `addresses`; raise InvalidLab for one of no endpoint."""
    own = {name: (address,) for name, address in addresses.items()}
    for name in own:
        known(name, [endpoint.name for endpoint in lab.endpoints], f"endpoint of lab {lab.name}", ())
    yield from (replace(e, addresses=own.get(e.name, e.addresses)) for e in lab.endpoints)


def on_its_hosts(lab: Lab) -> Lab:
    """Return `lab` on real hosts that are as it describes them: they have its parents, with its addresses.

    Raise InvalidLab for what ipvkit creates on a simulated LAN only.
    """
    _refuse_advertised(lab, "leave `slaac` out")
    # Nothing is known of what is below a bond or a bridge, nor of other names.
    kinds: tuple[parts.ParentKind, ...] = ("bond", "bridge")
    parents = (replace(p, kind="nic" if p.kind in kinds else p.kind, altnames=()) for p in lab.parents)
    return replace(lab, parents=tuple(parents), simulated=False)


def with_devices(lab: Lab, devs: Mapping[str, str]) -> Lab:
    """Return `lab` with other devices of its parents, by the names of these."""
    former = {(parent.on, parent.dev): devs[parent.name] for parent in lab.parents}

    def renamed(phase: Phase) -> Phase:
        acts = []
        for act in phase.acts:
            there = ((one, former.get((one.node, one.dev), one.dev)) for one in act.sysctls)
            acts.append(replace(act, sysctls=tuple(one.moved(one.dev, dev) for one, dev in there)))
        return replace(phase, acts=tuple(acts))

    parents = tuple(replace(parent, ifname=devs[parent.name]) for parent in lab.parents)
    return replace(lab, parents=parents, phases=tuple(map(renamed, lab.phases)))


def _refuse_advertised(lab: Lab, hint: str) -> None:
    if lab.advertised:
        what = f"lab {lab.name} has a gateway that advertises, and ipvkit creates none there"
        raise InvalidLab(what, hint)


def _moved(phase: Phase, former: str, parent: str) -> Phase:
    def moved(attempt: parts.Attempt) -> parts.Attempt:
        change = attempt.change
        if isinstance(change, parts.AddLink):
            change = replace(change, parent=parent if change.parent == former else change.parent)
        if isinstance(change, parts.SetMtu) and change.link == former:
            change = replace(change, link=parent)
        return replace(attempt, change=change)

    def acted(act: parts.Act) -> parts.Act:
        sysctls = tuple(one.moved(former, parent) if one.node == HOST else one for one in act.sysctls)
        return replace(act, attempts=tuple(map(moved, act.attempts)), sysctls=sysctls)

    acts = tuple(map(acted, phase.acts))
    return replace(phase, setting=phase.on(former), acts=acts, others=())
