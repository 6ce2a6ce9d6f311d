"""The pairs of a phase, in blocks that are predicted once, since their nodes are exchangeable."""

from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

from ipvkit.core.values import Address, Network, is_link_local
from ipvkit.lab import FAMILIES, FAR, Check, Family, Lab, Phase, Place
from ipvkit.lab.prefixes import Prefixes
from ipvkit.predict.world import Link, Node, World, common_bits

Pair = tuple[str, str, Family]
"""A source, a destination, and the family of the ping."""


@dataclass(frozen=True)
class Block:
    """The pairs of each of `sources` with each of `destinations` in another namespace.

    `families` are those of the pings; `places` are the machines and namespaces of all nodes, by their names.
    """

    sources: tuple[str, ...]
    destinations: tuple[str, ...]
    families: tuple[Family, ...]
    places: Mapping[str, Place]

    def pairs(self) -> Iterator[Pair]:
        """Yield its pairs."""
        for source, destination, family in product(self.sources, self.destinations, self.families):
            if self.places[source] != self.places[destination]:
                yield source, destination, family

    @cached_property
    def count(self) -> int:
        """The number of its pairs."""
        sources, destinations = (
            Counter(self.places[name] for name in names) for names in (self.sources, self.destinations)
        )
        inside = sum(sources[place] * destinations[place] for place in sources)
        return (len(self.sources) * len(self.destinations) - inside) * len(self.families)

    @property
    def check(self) -> Check:
        """The ping of its first pair."""
        return check_of(next(self.pairs()))


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
    nodes = [
        n for n in nodes_of(first.lab, first.phase) if all(n in nodes_of(w.lab, w.phase) for w in worlds)
    ]
    kinds, mates = [kinds_of(world) for world in worlds], [_mates(world, nodes) for world in worlds]
    alike: dict[Hashable, list[str]] = {}
    for name in nodes:
        # Of namespaces that not all worlds have alike, each node is apart.
        apart = name if len({with_[name] for with_ in mates}) > 1 else None
        alike.setdefault((apart, *(kind.get(name, name) for kind in kinds)), []).append(name)
    places = {name: first.lab.place(name) for name in nodes}
    for sources, destinations in product(map(tuple, alike.values()), repeat=2):
        for family in FAMILIES:
            block = Block(sources, destinations, (family,), places)
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
    return {name: frozenset(inside[world.lab.place(name)]) for name in nodes}


def kinds_of(world: World) -> dict[str, Hashable]:
    """Return all that pings without a size depend on of each endpoint: those with the same are exchangeable.

    The model looks at an address only by the networks that it is in, by what names it alone, such as a host
    route, and, to choose among IPv6 addresses of a node, by the bits that it has in common with them.
    """
    nodes = list({id(node): node for node in world.nodes.values()}.values())
    networks: set[Network] = set()
    alone: dict[Address, set[Hashable]] = {}
    choices = []
    for node in nodes:
        own = [own for link in node.links for own in link.addresses]
        named: list[tuple[Network, Hashable]] = [(own.network, "own") for own in own]
        named += [(w.to, (w.dev, w.via, w.type, w.table)) for w in node.ways if w.to is not None]
        for number, rule in enumerate(node.rules):
            named += [
                (net, (number, net is rule.source)) for net in (rule.source, rule.to) if net is not None
            ]
        for network, by in named:
            if network.prefixlen < network.max_prefixlen:
                networks.add(network)
            elif network[0] not in node.addresses:
                alone.setdefault(network[0], set()).add((node.name, by))
        for kind, addresses in (("permanent", node.permanent), ("proxied", node.proxied)):
            for address in addresses:
                alone.setdefault(address, set()).add((node.name, kind))
        # What routes lead via is like no other.
        for via in (way.via for way in node.ways if way.via is not None):
            alone.setdefault(via, set()).add(via)
        of_ipv6 = [one for one in own if one.version == 6 and not is_link_local(one)]
        choices += of_ipv6 if len(of_ipv6) > 1 else []
    within = Prefixes((network, network) for network in networks)

    def of_address(address: Address) -> Hashable:
        bits = [min(common_bits(o.ip, address), o.network.prefixlen) for o in choices if address.version == 6]
        return tuple(within.containing(address)), frozenset(alone.get(address, ())), tuple(bits)

    def of_link(link: Link) -> Hashable:
        addresses = tuple((own.network.prefixlen, of_address(own.ip)) for own in link.addresses)
        return link.parent, link.kind, addresses

    def of_node(node: Node) -> Hashable:
        numbers = {link.dev: number for number, link in enumerate(node.links)}
        ways = tuple((w.to, w.version, numbers.get(w.dev), w.via, w.type, w.table) for w in node.ways)
        place, every = world.lab.place(node.name), world.state.sysctls.values()
        sysctls = {(s.key, s.value) for s in every if world.lab.place(s.node) == place}
        named = tuple(link.ifname for link in node.links) if sysctls else ()
        links = tuple(map(of_link, node.links))
        return links, ways, node.rules, node.forwards, frozenset(sysctls), named

    found: dict[str, Hashable] = {}
    for node in nodes:
        if world.lab.is_endpoint(node.name):
            of = of_node(node)
            found |= {link.dev: (of, number) for number, link in enumerate(node.links)}
    return found
