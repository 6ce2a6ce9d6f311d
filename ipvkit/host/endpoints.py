"""The endpoints of the twin: what a lab can say of the links on a parent, and of their namespaces."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import ip_network

from ipvkit.core.errors import UsageError
from ipvkit.core.values import Address, Network, interface_name
from ipvkit.host.checks import some
from ipvkit.host.inspect import Inside, Placed, version_of
from ipvkit.host.namespaces import Inode
from ipvkit.lab import Endpoint, Route, Rule
from ipvkit.lab.around import name_for
from ipvkit.lab.parts import MAIN, MOST_TABLES, ROUTE_TYPES, is_next_hop
from ipvkit.tools import ip

_USUAL_RULES = ("local", "main", "default")
"""The tables that every namespace looks up, last ones first (fib_default_rules_init())."""


@dataclass(slots=True)
class Notes:
    """What the twin leaves out: each reason, and what it is about."""

    _found: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def add(self, reason: str, about: object) -> None:
        """Note `about` what there is a `reason`."""
        self._found[reason].append(str(about))

    def lines(self) -> tuple[str, ...]:
        """Return one line for each reason."""
        return tuple(f"{reason}: {some(dict.fromkeys(about))}" for reason, about in self._found.items())


@dataclass(slots=True)
class Endpoints:
    """The endpoints that were `made`, each with its link, by their names.

    No endpoint has one of `names`, or an address that is `taken`.
    """

    names: set[str]
    taken: set[Address]
    notes: Notes
    made: dict[str, tuple[Endpoint, Placed]] = field(default_factory=dict)
    _routes: dict[Inode, set[tuple[int, Network | None, int]]] = field(default_factory=dict)

    def add(self, links: Iterable[Placed], parent: ip.Link) -> list[tuple[Endpoint, Placed]]:
        """Return the endpoints of `links` on a parent, as far as a lab can have them."""
        added = []
        for placed in links:
            if (endpoint := self._endpoint(placed, parent)) is not None:
                self.made[endpoint.name] = endpoint, placed
                added.append((endpoint, placed))
        return added

    def _endpoint(self, placed: Placed, parent: ip.Link) -> Endpoint | None:
        link, inside = placed.link, placed.inside
        try:
            interface_name(link.ifname)
        except UsageError:
            self.notes.add("left out, for no command should have such a name", placed)
            return None
        addresses = tuple(own for own in placed.added if own.ip not in self.taken)
        if not addresses:
            why = "every address is another link's" if placed.addresses else "it has no address"
            self.notes.add(f"left out, for {why}", placed)
            return None
        for own in placed.addresses:
            if own not in addresses:
                self.notes.add("an address that another link has is left out", f"{own.ip} of {placed}")
        if not link.up:
            self.notes.add("it is down, and in the twin it is up", placed)
        if any(route.protocol == "ra" and route.dev == link.ifname for route in inside.routes):
            self.notes.add("what it has from router advertisements is written as added by hand", placed)
        self.taken.update(own.ip for own in addresses)
        first = inside.inode not in self._routes
        there = self._routes.setdefault(inside.inode, set())
        routes, rules = _Routing(placed, {own.version for own in addresses}, there, self.notes, first).made()
        return Endpoint(
            self._name(placed),
            addresses,
            inside.space.name or f"net{inside.inode[1]}",
            parent.ifname,
            routes,
            link.mtu if link.mtu != parent.mtu else None,
            rules,
            dev=link.ifname,
            altnames=tuple(name for name in link.altnames if _is_usable(name)),
        )

    def _name(self, placed: Placed) -> str:
        """Return a name for an endpoint that no other one has: of its container, namespace or process."""
        owner, space = placed.owner, placed.inside.space
        if owner is not None and owner.runtime != "process":
            called = owner.name
        else:
            called = space.name or (f"{owner.name}-{owner.pid}" if owner else "netns")
        # The link has it for a moment in its namespace.
        others = (link for link in placed.inside.links if link is not placed.link)
        name = name_for(called, self.names, [n for link in others for n in (link.ifname, *link.altnames)])
        self.names.add(name)
        return name


def _is_usable(altname: str) -> bool:
    with suppress(UsageError):
        return bool(interface_name(altname))
    return False


@dataclass(frozen=True, slots=True)
class _Routing:
    """The routes and rules of an endpoint with addresses of these `versions`.

    Routes are `there` from other links of its namespace; its `first` link has what belongs to no link.
    """

    placed: Placed
    versions: Collection[int]
    there: set[tuple[int, Network | None, int]]
    notes: Notes
    first: bool

    @property
    def _inside(self) -> Inside:
        return self.placed.inside

    def made(self) -> tuple[tuple[Route, ...], tuple[Rule, ...]]:
        """Return what a lab can have of them."""
        return tuple(self._routes()), tuple(self._rules() if self.first else ())

    def _routes(self) -> Iterator[Route]:
        own = self.placed.addresses
        connected = {
            address.address.network for link in self._inside.links for address in link.addresses if link.up
        }
        found = sorted(self._of_link(), key=lambda route: route.metric or 0)
        plain = {version_of(r) for r in found if r.is_default and r.via is None and r.table in (None, "main")}
        # Without a gateway a default route is for all families of an endpoint.
        whole = plain == set(self.versions)
        for route in found:
            to = None if route.is_default else route.dst
            table = _number(route.table)
            version = version_of(route)
            if table is None or isinstance(to, str) or route.nexthops:
                self.notes.add("a lab cannot have its route", self._of(route))
            elif route.via is not None and not is_next_hop(route.via, own):
                self.notes.add("its gateway is in no subnet of the link", self._of(route))
            elif to in connected and table == MAIN:
                if route.via is not None:
                    self.notes.add("it is a route to the link's own subnet", self._of(route))
            elif version not in self.versions:
                self.notes.add("the endpoint has no address of its family", self._of(route))
            elif (version, to, table) in self.there:
                self.notes.add("another route goes before it", self._of(route))
            else:
                self.there.add((version, to, table))
                kind = next((kind for kind in ROUTE_TYPES if kind == route.type), None)
                if to is not None or route.via is not None:
                    yield Route(to, route.via, kind, table)
                elif kind is not None or not whole or table != MAIN:
                    yield Route(ip_network("0.0.0.0/0" if version == 4 else "::/0"), None, kind, table)
                elif version == min(self.versions):
                    yield Route()

    def _of_link(self) -> Iterator[ip.Route]:
        """Yield the routes out of the link, and on the first link of a namespace those out of none."""
        for route in self._inside.routes:
            of_link = route.type == "unicast" and route.dev == self.placed.link.ifname
            nowhere = route.type in ROUTE_TYPES and self.first
            several = any(hop.dev == self.placed.link.ifname for hop in route.nexthops)
            multicast = not isinstance(route.dst, str) and route.dst.is_multicast
            if (of_link or nowhere or several) and route.protocol != "kernel" and not multicast:
                yield route

    def _of(self, route: ip.Route) -> str:
        return f"{route.dst} of {self.placed}"

    def _rules(self) -> Iterator[Rule]:
        """Yield the rules before the main table, the first one first."""
        for rule in sorted(self._inside.rules, key=lambda rule: rule.priority):
            if rule.table in _USUAL_RULES and rule.src is None and rule.dst is None:
                continue
            table = _number(rule.table)
            others = (rule.inverted, rule.iif, rule.oif, rule.fwmark, rule.goto, rule.action, rule.details)
            if table in (None, MAIN) or any(others) or (rule.src is None and rule.dst is None):
                self.notes.add("a lab cannot have its rule", f"{rule.priority} of {self._inside.space}")
            else:
                yield Rule(table, rule.src, rule.dst)


def _number(table: str | None) -> int | None:
    """Return the number of a routing table that a lab can have."""
    if table in (None, "main"):
        return MAIN
    return int(table) if table.isdecimal() and 1 <= int(table) <= MOST_TABLES else None
