"""The pairs of a phase, in blocks that are predicted once, since their nodes are exchangeable."""

from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product

from ipvkit.core.values import Address, Network, is_link_local
from ipvkit.lab import FAMILIES, FAR, Check, Family, Lab, Parent, Phase, Place
from ipvkit.lab.prefixes import Prefixes
from ipvkit.predict.world import Link, Node, World, common_bits

Pair = tuple[str, str, Family]
"""A source, a destination, and the family of the ping."""


@dataclass(frozen=True)
class Block:
    """The pairs of each of `sources` with each of `destinations` in another namespace.

    With `same_host` only those on one host, without (False) only those on two; None: both. `families` are
    those of the pings; `places` are the machines and namespaces of all nodes, by their names.
    """

    sources: tuple[str, ...]
    destinations: tuple[str, ...]
    families: tuple[Family, ...]
    places: Mapping[str, Place]
    same_host: bool | None = None

    def pairs(self) -> Iterator[Pair]:
        """Yield its pairs."""
        on_host: dict[str, list[str]] = {}
        for name in self.destinations:
            on_host.setdefault(self.places[name][0], []).append(name)
        for source in self.sources:
            host = self.places[source][0]
            some = on_host.get(host, []) if self.same_host else self.destinations
            for destination, family in product(some, self.families):
                there = self.places[destination]
                if self.places[source] != there and not (self.same_host is False and there[0] == host):
                    yield source, destination, family

    @cached_property
    def count(self) -> int:
        """The number of its pairs."""
        every = [self.places[name] for name in self.sources], [self.places[n] for n in self.destinations]
        inside, on_host = _both(*every), _both(*([machine for machine, _ in each] for each in every))
        whole = len(self.sources) * len(self.destinations)
        there = {None: whole - inside, True: on_host - inside, False: whole - on_host}
        return there[self.same_host] * len(self.families)

    @cached_property
    def check(self) -> Check:
        """The ping of its first pair."""
        return check_of(next(self.pairs()))


def _both(sources: Sequence[Hashable], destinations: Sequence[Hashable]) -> int:
    """Return how many pairs of the two are equal."""
    count = Counter(destinations)
    return sum(count[source] for source in sources)


def check_of(pair: Pair) -> Check:
    """Return the ping of a pair."""
    source, destination, family = pair
    return Check(source, destination, family=family)


def nodes_of(lab: Lab, phase: Phase) -> tuple[str, ...]:
    """Return the nodes of a phase: its endpoints, the host, its peers and the far host."""
    return (*phase.endpoints, *lab.hosts, *lab.peers, *((FAR,) if lab.far else ()))


def is_pair(world: World, check: Check) -> bool:
    """Return whether both ends of `check` are there, one is an endpoint, and both have the family."""
    ends = (check.source, check.destination)
    there = all(end in world.nodes for end in ends)
    return there and any(map(world.lab.is_endpoint, ends)) and world.lab.pinged(check) is not None


def blocks_of(*worlds: World) -> Iterator[Block]:
    """Yield the pairs of the nodes that are in all `worlds`, in blocks; in one of them each is a pair.

    In every world all pings of a block have one outcome, for one reason.
    """
    first = worlds[0]
    every = [frozenset(nodes_of(world.lab, world.phase)) for world in worlds[1:]]
    nodes = [name for name in nodes_of(first.lab, first.phase) if all(name in own for own in every)]
    mates = [_mates(world, nodes) for world in worlds]
    kinds = _kinds(worlds, nodes)
    alike: dict[Hashable, list[str]] = {}
    for name in nodes:
        # Of namespaces that not all worlds have alike, each node is apart.
        apart = name if len({with_[name] for with_ in mates}) > 1 else None
        alike.setdefault((apart, kinds.get(name, name)), []).append(name)
    places = {name: first.lab.place(name) for name in nodes}
    of_hosts = [frozenset(places[name][0] for name in names) for names in alike.values()]
    for (sources, on), (destinations, others) in product(
        zip(map(tuple, alike.values()), of_hosts, strict=True), repeat=2
    ):
        several = len(on | others) > 1 and not on.isdisjoint(others)
        for same_host, family in product((True, False) if several else (None,), FAMILIES):
            block = Block(sources, destinations, (family,), places, same_host)
            if not block.count or any(
                block.check.source in with_[block.check.destination] for with_ in mates
            ):
                continue
            if any(is_pair(world, block.check) for world in worlds):
                yield block


def _mates(world: World, nodes: Sequence[str]) -> dict[str, frozenset[str]]:
    """Return which of `nodes` are in the namespace of each."""
    inside: dict[Place, set[str]] = {}
    for name in nodes:
        inside.setdefault(world.lab.place(name), set()).add(name)
    found = {place: frozenset(names) for place, names in inside.items()}
    return {name: found[world.lab.place(name)] for name in nodes}


def _kinds(worlds: Sequence[World], nodes: Sequence[str]) -> dict[str, Hashable]:
    """Return all that pings without a size depend on in `worlds`, of each endpoint and host.

    Where a node is on another host in one of them, no two hosts are exchangeable.
    """
    first, every = worlds[0].lab, [_Kinds(world) for world in worlds]
    moved = any(w.lab.machine_of(name) != first.machine_of(name) for w in worlds[1:] for name in nodes)
    numbers: dict[Hashable, int] = {}
    hosts: dict[str, int] = {}
    for host in dict.fromkeys(host for world in worlds for host in world.lab.hosts):
        kind = host if moved else tuple(own.hosts.get(host, host) for own in every)
        hosts[host] = numbers.setdefault(kind, len(numbers))
    found = [own.of_all(hosts) for own in every]
    return {name: tuple(own.get(name, name) for own in found) for name in nodes}


class _Kinds:
    """All that pings without a size depend on, of endpoints and hosts: those with the same are exchangeable.

    The model looks at an address only by the networks that it is in, by what names it alone, such as a host
    route, and, to choose among IPv6 addresses of a node, by the bits that it has in common with them.

    A host is exchangeable with its endpoints: that it names these alone is theirs. It is like no other where
    another node names it or one of them.
    """

    def __init__(self, world: World) -> None:
        self.world, self.lab = world, world.lab
        self.nodes = list({id(node): node for node in world.nodes.values()}.values())
        self.machine = {
            address: self.lab.machine_of(node.name) for node in self.nodes for address in node.addresses
        }
        self.sysctls: dict[Place, set[tuple[str, int]]] = {}
        for one in world.state.sysctls.values():
            self.sysctls.setdefault(self.lab.place(one.node), set()).add((one.key, one.value))
        networks: set[Network] = set()
        self.alone: dict[Address, set[Hashable]] = {}
        choices: dict[Network, None] = {}
        for node in self.nodes:
            networks.update(self._networks_of(node))
            own = [own for link in node.links for own in link.addresses]
            of_ipv6 = [one.network for one in own if one.version == 6 and not is_link_local(one)]
            choices |= dict.fromkeys(of_ipv6 if len(of_ipv6) > 1 else ())
        self.choices = [*choices]
        self.within = Prefixes((network, network) for network in networks)
        places = [(host, number, p) for host in self.lab.hosts for number, p in enumerate(self._on(host))]
        self.parents = {parent.name: (host, number) for host, number, parent in places}
        self.hosts = self._of_hosts()

    def _on(self, host: str) -> tuple[Parent, ...]:
        return self.lab.parents_on(host)

    def _networks_of(self, node: Node) -> Iterator[Network]:
        """Yield the networks that `node` names, and note what it names alone."""
        own = [own for link in node.links for own in link.addresses]
        named: list[tuple[Network, Hashable]] = [(one.network, "own") for one in own]
        named += [(w.to, (w.dev, w.via, w.type, w.table)) for w in node.ways if w.to is not None]
        for number, rule in enumerate(node.rules):
            named += [
                (net, (number, net is rule.source)) for net in (rule.source, rule.to) if net is not None
            ]
        for network, by in named:
            if network.prefixlen < network.max_prefixlen:
                yield network
            elif network[0] not in node.addresses:
                self._name(node, network[0], by)
        for kind, addresses in (("permanent", node.permanent), ("proxied", node.proxied)):
            for address in addresses:
                self._name(node, address, kind)
        # What routes lead via is like no other.
        for via in (way.via for way in node.ways if way.via is not None):
            self.alone.setdefault(via, set()).add(via)

    def _name(self, node: Node, address: Address, by: Hashable) -> None:
        name = None if self._is_own(node, address) else node.name
        self.alone.setdefault(address, set()).add((name, by))

    def _is_own(self, node: Node, address: Address) -> bool:
        """Return whether `node` is the host of the endpoint with an address."""
        return self.lab.is_host(node.name) and self.machine.get(address) == self.lab.machine_of(node.name)

    def _of_hosts(self) -> dict[str, Hashable]:
        """Return the kinds of hosts; one that is like no other has its name."""
        if not self.lab.several_hosts:
            return {}
        apart = {
            self.machine.get(address)
            for address, named in self.alone.items()
            if any(not isinstance(by, tuple) or by[0] is not None for by in named)
        }
        return {host: self._of_host(self.world.nodes[host]) for host in self.lab.hosts if host not in apart}

    def _of_host(self, node: Node) -> Hashable:
        own = self._on(node.name)
        numbers = {parent.name: number for number, parent in enumerate(own)}
        parents = tuple(
            (
                p.lan,
                p.vlan,
                numbers.get(p.link or ""),
                replace(self.world.settings[p.name], shim_addresses=()),
            )
            for p in own
        )
        links = tuple(
            (
                link.segment,
                link.kind,
                link.is_shim,
                numbers.get(link.parent or link.nic_of),
                self._addresses(link),
            )
            for link in node.links
        )
        others = (node.permanent | node.proxied) - {a for a in node.proxied if self._is_own(node, a)}
        kind = parents, links, self._routes(node), frozenset(others)
        return *kind, node.rules, node.forwards, self._set(node)

    def of_all(self, hosts: Mapping[str, int]) -> dict[str, Hashable]:
        """Return the kind of each endpoint and host, where those of hosts are numbered."""
        found: dict[str, Hashable] = {host: ("host", hosts[host]) for host in self.lab.hosts}
        for node in self.nodes:
            if self.lab.is_endpoint(node.name):
                of = self._of_endpoint(node, hosts)
                found |= {link.dev: (of, number) for number, link in enumerate(node.links)}
        return found

    def _of_endpoint(self, node: Node, hosts: Mapping[str, int]) -> Hashable:
        parents = [self.parents[link.parent] for link in node.links]
        links = tuple(
            (hosts[host], number, link.kind, self._addresses(link))
            for link, (host, number) in zip(node.links, parents, strict=True)
        )
        return links, self._routes(node), node.rules, node.forwards, self._set(node)

    def _set(self, node: Node) -> Hashable:
        """Return the sysctls of a node, and the links that they may be of."""
        sysctls = self.sysctls.get(self.lab.place(node.name))
        return (frozenset(sysctls), tuple(link.ifname for link in node.links)) if sysctls else ()

    def _routes(self, node: Node) -> tuple[Hashable, ...]:
        """Return the routes of a node, those to an endpoint of a host as ones to no other."""
        numbers = {link.dev: number for number, link in enumerate(node.links)}
        return tuple(
            (way.to, way.version, numbers.get(way.dev), way.via, way.type, way.table)
            for way in node.ways
            if way.to is None or way.to.prefixlen < way.to.max_prefixlen or not self._is_own(node, way.to[0])
        )

    def _addresses(self, link: Link) -> tuple[Hashable, ...]:
        return tuple((own.network.prefixlen, self._of_address(own.ip)) for own in link.addresses)

    def _of_address(self, address: Address) -> Hashable:
        bits = [
            min(common_bits(network[0], address), network.prefixlen)
            for network in self.choices
            if address.version == 6
        ]
        networks = tuple(self.within.containing(address))
        return networks, frozenset(self.alone.get(address, ())), tuple(bits)
