"""Values that ipvkit takes, values that it must refuse, and whole labs."""

import re
import string
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    ip_network,
)
from itertools import permutations
from typing import Any

from hypothesis import strategies as st

from ipvkit.core.errors import InvalidLab
from ipvkit.core.values import Address, InterfaceAddress, Mode, Network, is_link_local
from ipvkit.lab import (
    BOND_MODES,
    FAMILIES,
    FAR,
    FLAGS,
    GATEWAY,
    HOST,
    MODES,
    PARENT_KINDS,
    PING_COUNT,
    PING_OUTCOMES,
    ROUTE_TYPES,
    SETUPS,
    TRY_OUTCOMES,
    Act,
    AddAddress,
    AddLink,
    Attempt,
    Change,
    Check,
    DeleteLink,
    Endpoint,
    Host,
    Kind,
    Lab,
    Outcome,
    Parent,
    Phase,
    Route,
    Rule,
    SetMode,
    SetMtu,
    Setting,
    Strategy,
    is_next_hop,
    on_parent,
)
from ipvkit.lab.sysctls import Sysctl
from ipvkit.tools.sysctl import interface_key

# --- names and addresses ------------------------------------------------------------------------------

KEYWORDS = ("up", "a", "m", "type", "dev", "name", "l", "netns", "vf", "help", "mode", "g", "down")
"""Names that `ip link` would take for one of its own words."""

_FIRST = string.ascii_letters + string.digits + "_"


def names(longest: int) -> st.SearchStrategy[str]:
    """Names of `longest` bytes at most that are no option, no path and no shell syntax."""
    plain = st.builds(
        lambda first, rest: first + rest,
        st.sampled_from(_FIRST),
        st.text(_FIRST + ".+-", max_size=longest - 1),
    )
    return plain | st.sampled_from(KEYWORDS)


def interface_names() -> st.SearchStrategy[str]:
    """Names of links, none of which ip could take for a link's index."""
    return names(15).filter(lambda name: not re.match("if[+-]?[0-9]", name))


def netns_names() -> st.SearchStrategy[str]:
    """Names of namespaces, none of which ip could take for a process's number."""
    return names(255).filter(lambda name: not re.fullmatch("0[xX][0-9A-Fa-f]*|[0-9]+", name))


def addresses() -> st.SearchStrategy[IPv4Address]:
    """Addresses that a host can have."""
    numbers = st.integers(int(IPv4Address("1.0.0.0")), int(IPv4Address("223.255.255.255")))
    return numbers.map(IPv4Address).filter(lambda a: not a.is_loopback)


def interface_addresses() -> st.SearchStrategy[IPv4Interface]:
    """Addresses with a prefix length, none of them the subnet's own or its broadcast address."""

    def is_a_hosts(address: IPv4Interface) -> bool:
        network = address.network
        special = (network.network_address, network.broadcast_address)
        return network.prefixlen >= 31 or address.ip not in special

    pairs = st.tuples(addresses(), st.integers(1, 32)).map(IPv4Interface)
    return pairs.filter(is_a_hosts)


def ipv6_addresses() -> st.SearchStrategy[IPv6Address]:
    """Addresses that a host can have: global and unique local ones."""
    return st.builds(
        lambda network, number: network[number],
        st.sampled_from((IPv6Network("2001:db8::/32"), IPv6Network("2400::/12"), IPv6Network("fd00::/8"))),
        st.integers(1, 2**96 - 1),
    )


HOSTILE_NAMES = (
    *("", " ", "-", "-x", "--all", ".", "..", ".hidden", "+x", "a b", "a\tb", " eth0", "eth0 ", "a;b", "a&b"),
    *("a|b", "a/b", "/", "../etc", "eth0:1", ":", "$(x)", "`x`", "$x", "a'b", 'a"b', "a\\b", "a*", "a?", "~"),
    *("a\nb", "eth0\n", "\n", "a\rb", "a\0b", "\0", "a\x1b[31m", "\x7f", "#a", "!a", "a=b", "a,b", "a%b"),
    *("\ud800", "a\udcff", "ü", "eth\N{FULLWIDTH DIGIT ONE}", "\N{CYRILLIC SMALL LETTER A}", "a\u202eb"),
    *("a\u00a0b", "a\u2028b", "fe80::1%eth0", "eth0@if2", "{a}", "[a]", "(a)", "<a", ">a"),
)
"""No interface and no network namespace can have such a name."""

HOSTILE_ADDRESSES = (
    *("", " ", "-1", "-c", "192.0.2", "192.0.2.1.1", "192.0.2.256", "192.0.2.-1", "192.0.2.1 "),
    *(" 192.0.2.1", "192.0.2.1\n", "\n", "192.0.2.1\0", "192.0.2.01", "0xc0000201", "3221225985"),
    *("192.0.2.1;x", "$(x)", "192.0.2.1/x", "192.0.2.1:80", "localhost", "gateway", "'192.0.2.1'"),
    *("\ud800", "192.0.2.\N{ARABIC-INDIC DIGIT ONE}", "192\N{IDEOGRAPHIC FULL STOP}0.2.1"),
    *("127.0.0.1", "224.0.0.1", "255.255.255.255", "240.0.0.1", "192.0.2.1\u2028", ".".join(4 * "0")),
    *(
        "::",
        "::1",
        "ff02::1",
        "fe80::1",
        "fe80::1%eth0",
        "2001:db8::1%eth0",
        "::ffff:192.0.2.1",
        "::192.0.2.1",
    ),
    *(
        "2001:db8",
        "2001:db8:::1",
        "2001:db8::g",
        "2001:db8::00001",
        "[2001:db8::1]",
        "2001:db8::1 ",
        ":",
        ":::",
    ),
)
"""No host can have such an address that it is known by, or it is none."""

HOSTILE_PREFIXES = (
    *("", "x", "0", "33", "-1", "24 ", " 24", "24\n", "\N{SUPERSCRIPT TWO}", "2_4", "+24", "24/24", "1e1"),
    *("\N{ARABIC-INDIC DIGIT TWO}4", "255.255.255.0", "\0", "\ud800", "24;x", "9" * 5000),
)
"""No prefix length of an IPv4 address that an interface can have."""

HOSTILE_PREFIXES_OF_IPV6 = (
    "",
    "x",
    "0",
    "129",
    "-1",
    "64 ",
    "\N{ARABIC-INDIC DIGIT SIX}4",
    "ffff::",
    "64/64",
)


def hostile_names(longest: int) -> st.SearchStrategy[str]:
    """Text that is no name: known bad ones, arbitrary text around something forbidden, too long ones."""
    forbidden = st.characters(exclude_characters=_FIRST + ".+-")
    around = st.builds(lambda a, b, c: a + b + c, st.text(max_size=5), forbidden, st.text(max_size=5))
    lengthened = st.integers(longest + 1, longest + 50).map(lambda size: "a" * size)
    return st.sampled_from(HOSTILE_NAMES) | around | lengthened


HOSTILE_INTERFACE_ADDRESSES = (
    *HOSTILE_ADDRESSES,
    *(f"{address}/24" for address in HOSTILE_ADDRESSES),
    *(f"192.0.2.1/{prefixlen}" for prefixlen in HOSTILE_PREFIXES),
    *(f"2001:db8::1/{prefixlen}" for prefixlen in HOSTILE_PREFIXES_OF_IPV6),
    *("192.0.2.0/24", "192.0.2.255/24", "192.0.2.4/30", "192.0.2.7/30", "2001:db8::/64"),
)
"""No address with its prefix length that a host can have."""


# --- what tools print ---------------------------------------------------------------------------------

JSON_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=5)
    | st.sampled_from(["inet", "ipvlan", "192.0.2.1", "192.0.2.1/24", "default", "UP"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@st.composite
def mutated_text(draw: st.DrawFn, text: str, pieces: Sequence[str] = ()) -> str:
    """Return `text` with a few lines or characters deleted, doubled, swapped or replaced."""
    for _ in range(draw(st.integers(1, 3))):
        units = text.splitlines(keepends=True) if draw(st.booleans()) else list(text)
        if not units:
            return text
        at = draw(st.integers(0, len(units) - 1))
        other = draw(st.integers(0, len(units) - 1))
        match draw(st.sampled_from(["delete", "double", "swap", "replace", "insert"])):
            case "delete":
                del units[at]
            case "double":
                units.insert(at, units[at])
            case "swap":
                units[at], units[other] = units[other], units[at]
            case "replace":
                units[at] = draw(st.text(max_size=3) | st.sampled_from(pieces or ("",)))
            case "insert":
                units.insert(at, draw(st.characters() | st.sampled_from(pieces or ("",))))
        text = "".join(units)
    return text


# --- labs ---------------------------------------------------------------------------------------------

# What is drawn often is drawn from strategies that are made once: making one costs more than drawing.

LINES = st.text(
    st.characters(codec="utf-8", exclude_categories=["C", "Zl", "Zp", "Zs"], include_characters=" "),
    max_size=20,
)
"""Text of one line that prints."""

WORDS_OF_A_PERSON = (
    *("", "a firewall", 'it\'s $(x) `y` \\ "z"', "%s %d \\n", "# no comment", "-n", "!!", "a  b ", "*"),
    *("\N{CJK UNIFIED IDEOGRAPH-7F51}\N{CJK UNIFIED IDEOGRAPH-5173}", "(a)", "{a}", "a; b", "<a>", "$0"),
)
"""What may be written into a lab; some of it is shell syntax."""

WORDS = st.sampled_from(WORDS_OF_A_PERSON)

SLUGS = st.sampled_from(("l2", "l3", "a", "0", "first", "second-phase", "x-1", "step", "run", "done"))
"""Names of labs and phases."""

LINK_NAMES = (
    *("test1", "test2", "up", "a", "m", "type", "x.y", "a+b", "v-0", "0b", "A_B", "e" * 15, "name", "_"),
    *("vf", "1234567a", "gso", "L.3", "dev", "down"),
)
SPACE_NAMES = ("space", "n.1", "0.0", "exec", "add", "all", "N" * 200, "x-", "up", "pids")

_LINKS = st.lists(st.sampled_from(LINK_NAMES), min_size=6, max_size=6, unique=True)
_SPACES = st.lists(st.sampled_from(SPACE_NAMES), min_size=3, max_size=3, unique=True)
_SUBNETS = st.builds(
    lambda base, prefixlen: IPv4Network((base, prefixlen), strict=False),
    st.integers(int(IPv4Address("10.0.0.0")), int(IPv4Address("10.255.255.255"))),
    st.integers(16, 26),
)
_TITLES = st.lists(SLUGS, min_size=3, max_size=3, unique=True)
_UP_TO_TWO = st.integers(0, 2)
_UP_TO_FOUR = st.integers(0, 4)
_NUMBERS = st.integers(0, 11)
_ONE_TO_THREE = st.integers(1, 3)
_FIRST_HOST = st.integers(1, 15)
_THREE_TIMES = st.lists(st.booleans(), min_size=3, max_size=3)
_OF_ONE_PARENT = st.sampled_from(("one", "one", "apart"))
_SHAPES = _OF_ONE_PARENT | st.sampled_from(("two", "vlan", "three"))
"""One parent, with its endpoints in subnets of their own too, two, one and a VLAN on it, and three."""

_PARENTS = st.sampled_from(
    [
        *6 * [Parent("nic")],
        *(Parent("bond", kind="bond", bond_mode=mode) for mode in BOND_MODES),
        *(Parent(kind, kind=kind) for kind in PARENT_KINDS if kind not in ("nic", "bond")),
    ]
)
"""The kinds of parents."""

_VERSIONS = st.sampled_from(((4,), (4, 6), (6,)))
_MTUS = st.sampled_from((None, None, None, 1400))
_DEVS = st.sampled_from(("", "", "eth0", "net1", "parent"))
"""Names of links in their namespaces, where the endpoint's is not taken; one is the parent's."""

_ALTNAMES = st.sampled_from(((), (), ("enp0s3",), ("enp0s4", "E" * 127)))

_OWN_ROUTES = st.sampled_from((None, None, None, "none", "default", "more"))
_HOSTS = st.sampled_from(((), (), ("client",), ("router",), ("router", "client")))
_POLICIES = st.sampled_from((None, None, None, "type", "table", "type in table"))
_ROUTE_TYPES = st.sampled_from(ROUTE_TYPES)
_SETTINGS = st.builds(Setting, st.sampled_from(MODES), st.sampled_from(FLAGS))
_KINDS: st.SearchStrategy[Kind] = st.sampled_from(
    (*5 * ("ipvlan",), *2 * ("ipvtap",), *2 * ("macvlan",), "veth")
)
_SHIMS = st.sampled_from((False, False, True))
_KINDS_OF_ACTS = st.sampled_from(("check", "check", "change", "try"))
_MAYBE = st.sampled_from((None, None, True, False))
_WAITS = st.sampled_from((None, None, 1, 30))
_EXPECTED: tuple[Outcome | None, ...] = (None, None, None, *PING_OUTCOMES)
_MANNERS = st.sampled_from(
    [
        Check("", "", watch, expect, why, None, size, count)
        for expect, why in zip(2 * _EXPECTED, WORDS_OF_A_PERSON, strict=False)
        for watch, size, count in (
            (None, None, PING_COUNT),
            *((watch, None, PING_COUNT) for watch in (1, 2, 8, 9, 20)),
            *((None, size, PING_COUNT) for size in (0, 1472, 1473)),
            *((None, None, count) for count in (1, 20)),
        )
    ]
    + [
        Check("", "", expect=expect, why=why, tcp=port, listen=listen)
        for expect, why in zip((*_EXPECTED, Outcome.REFUSED), WORDS_OF_A_PERSON, strict=False)
        for port, listen in 3 * ((8080, True), (8080, False), (9, True))
    ]
)
"""How a check pings or connects, whoever it is: watched, with a size, and what the lab expects of it."""

_TRIED = st.sampled_from(list(zip((None, None, *TRY_OUTCOMES, None, None), WORDS_OF_A_PERSON, strict=False)))
_BARE = st.sampled_from((False, False, False, True))
"""Whether the host has no address on a parent."""
_GATEWAYS = st.sampled_from((True, True, False))
"""Whether there is a gateway on a parent."""
_SHARED = st.sampled_from((False, False, False, True))
"""Whether the first two endpoints are in one namespace."""
_LINK_LOCAL = st.sampled_from((False, False, True))
"""Whether the gateway and the routers on a parent have a link-local address, which others route via."""
_FAR_AWAY, _APART, _BEHIND = 9, 20, 30
"""The networks of the far host, of endpoints apart and behind routers; the parents have 0 and 1."""


class _Addresses:
    """Gives out addresses, each once: those of the first parent in `subnet`, if IPv4."""

    def __init__(self, subnet: IPv4Network, first: int, versions: Sequence[int]) -> None:
        self._free = (subnet[number] for number in range(first, subnet.num_addresses - 1))
        self._prefixlen = subnet.prefixlen
        self._numbers = iter(range(1, 200))
        self._versions = versions

    def own(self, network: int) -> tuple[InterfaceAddress, ...]:
        """Return an address in a network, of each family."""
        return tuple(self._one(network, version) for version in self._versions)

    def peers(self, network: int) -> tuple[Address, ...]:
        return tuple(own.ip for own in self.own(network))

    def _one(self, network: int, version: int) -> InterfaceAddress:
        if version == 6:
            return IPv6Interface(f"2001:db8:{network}::{next(self._numbers)}/64")
        if network:
            return IPv4Interface(f"172.16.{network}.{next(self._numbers)}/24")
        return IPv4Interface((next(self._free), self._prefixlen))


@st.composite
def labs(draw: st.DrawFn, *, most_endpoints: int = 3, most_phases: int = 3, real: bool = False) -> Lab:
    """Labs on a simulated LAN with every part that a lab can have; `real`: that a real parent can have."""
    shape = draw(_OF_ONE_PARENT if real else _SHAPES)
    fresh = _Addresses(draw(_SUBNETS), draw(_FIRST_HOST), draw(_VERSIONS))
    first, second, third, *links = draw(_LINKS)
    nic = Parent("nic")
    parents = [_parent(draw, first, 0, fresh, nic if real else draw(_PARENTS))]
    if shape in ("vlan", "three"):
        tagged = _parent(draw, second, 1, fresh, replace(nic, kind=parents[0].kind))
        parents.append(replace(tagged, kind="nic", link=first, vlan=100))
    if shape in ("two", "three"):
        parents.append(_parent(draw, third, len(parents), fresh, draw(_PARENTS)))
    if draw(_BARE) and not real:
        at = draw(_NUMBERS) % len(parents)
        subnets = tuple(own.network for own in parents[at].host)
        parents[at] = replace(parents[at], host=(), others=subnets)
    parents[0] = replace(parents[0], altnames=draw(_ALTNAMES))
    dummies = {parent.name for parent in parents if parent.kind == "dummy"}
    parents = [
        p if dummies & {p.name, p.link} else _with_hosts(draw, p, i, fresh) for i, p in enumerate(parents)
    ]
    advertised = not real and draw(_LINK_LOCAL)
    parents = [_with_link_local(p) if p.gateway and (advertised or draw(_LINK_LOCAL)) else p for p in parents]
    spaces = draw(_SPACES) if draw(st.booleans()) else links
    if draw(_SHARED):
        spaces = [spaces[0], spaces[0], *spaces[2:]]
    twice, single = draw(_THREE_TIMES), draw(_THREE_TIMES)
    endpoints: list[Endpoint] = []
    begin = draw(_UP_TO_TWO)
    for at in range(min(1 + draw(_UP_TO_TWO), most_endpoints)):
        on = (begin + at) % len(parents)
        network = _APART if shape == "apart" else on
        own = fresh.own(network)[: 1 if single[at] else None] + (fresh.own(network) if twice[at] else ())
        kind = None if advertised else draw(_OWN_ROUTES)
        # Two of one namespace have no route to the same network.
        routes = _routes(kind if spaces[at] not in spaces[:at] else None, parents[on], own)
        inside = {name for e in endpoints if e.netns == spaces[at] for name in (e.name, e.dev)}
        dev = {"parent": parents[on].name}.get(called := draw(_DEVS), called)
        dev = "" if dev in inside else dev
        mtu, altnames = draw(_MTUS), draw(_ALTNAMES)
        endpoints.append(Endpoint(links[at], own, spaces[at], parents[on].name, routes, mtu, dev=dev))
        endpoints[-1] = replace(endpoints[-1], altnames=() if inside else altnames)
    parents, endpoints = _with_policies(draw, parents, endpoints)
    lab = Lab(
        name=draw(SLUGS),
        about=draw(LINES) or draw(WORDS),
        parents=tuple(parents),
        endpoints=tuple(endpoints),
        phases=(Phase("only", Setting(), (endpoints[0].name,), ()),),
        far=fresh.own(_FAR_AWAY) if draw(st.booleans()) and parents[0].gateway and not real else (),
        setup=draw(st.sampled_from((None, *SETUPS))),
        parallel=draw(st.sampled_from((None, 1, 2))),
    )
    titles = draw(_TITLES)[: min(1 + draw(_UP_TO_TWO), most_phases)]
    lab = replace(lab, phases=tuple(_phase(draw, title, lab, fresh, real=real) for title in titles))
    return _with_slaac(lab) if advertised else lab


def _with_slaac(lab: Lab) -> Lab:
    """Return `lab` in which each endpoint that can gets its IPv6 address from router advertisements."""
    for at, e in enumerate(lab.endpoints):
        with suppress(InvalidLab):
            own = (*lab.endpoints[:at], replace(e, slaac=True), *lab.endpoints[at + 1 :])
            lab = replace(lab, endpoints=own)
    return lab


def _parent(draw: st.DrawFn, name: str, network: int, fresh: _Addresses, of: Parent) -> Parent:
    """Return a parent of the kind of another one, with a gateway and a neighbour or not."""
    there = (draw(_GATEWAYS) and of.kind != "dummy", draw(st.booleans()) and of.kind != "dummy")
    gateway, near = (fresh.peers(network) if one else () for one in there)
    return replace(of, name=name, host=fresh.own(network), gateway=gateway, neighbour=near)


def _with_hosts(draw: st.DrawFn, parent: Parent, network: int, fresh: _Addresses) -> Parent:
    """Return `parent` with other hosts, in its network or in one behind a router."""
    hosts: list[Host] = []
    for name in draw(_HOSTS):
        near, router, both = fresh.own(network), name == "router", draw(st.booleans())
        own = near if not both else fresh.own(_BEHIND + network) + (near if router else ())
        hosts.append(Host(f"{name}{network}", own, forwards=router and draw(_SHIMS) is False))
    return replace(parent, hosts=tuple(hosts))


def _with_link_local(parent: Parent) -> Parent:
    """Return `parent` with link-local addresses of its gateway and routers, if it has IPv6."""
    if not any(gateway.version == 6 for gateway in parent.gateway):
        return parent
    own = (IPv6Interface("fe80::2/64"),)
    hosts = tuple(replace(h, addresses=h.addresses + (own if h.forwards else ())) for h in parent.hosts)
    return replace(parent, gateway=(*parent.gateway, IPv6Address("fe80::1")), hosts=hosts)


def _with_policies(
    draw: st.DrawFn, parents: Sequence[Parent], endpoints: Sequence[Endpoint]
) -> tuple[list[Parent], list[Endpoint]]:
    """Return hosts and endpoints with routes and rules that they can be given."""
    every = [a for e in endpoints for a in e.addresses]
    every += [a for p in parents for host in p.hosts for a in host.addresses if not is_link_local(a)]
    targets = list(dict.fromkeys(n for a in every for n in (ip_network(a.ip), a.network)))
    routed, bent = [], []
    for parent in parents:
        gateways = [*parent.gateway, *(own.ip for host in parent.hosts for own in host.addresses)]
        hosts = []
        for host in parent.hosts:
            routes, rules = _policy(draw, host.addresses, gateways, targets)
            base = _routes(draw(_OWN_ROUTES), parent, host.addresses)
            hosts.append(replace(host, routes=base if not routes else (*(base or ()), *routes), rules=rules))
        routed.append(replace(parent, hosts=tuple(hosts)))
        for e in (e for e in endpoints if e.parent == parent.name):
            if e.netns in [other.netns for other in endpoints[: endpoints.index(e)]]:
                # Only one of the links in a namespace can have a route to a network.
                bent.append(replace(e, routes=None))
                continue
            inside = [a.network for other in endpoints if other.netns == e.netns for a in other.addresses]
            there = [target for target in targets if target not in inside]
            routes, rules = _policy(draw, e.addresses, gateways, there) if draw(_SHIMS) else ((), ())
            base = e.routes if e.routes is not None or not routes else (Route(),)
            bent.append(replace(e, routes=base if not routes else (*(base or ()), *routes), rules=rules))
    return routed, sorted(bent, key=lambda e: [other.name for other in endpoints].index(e.name))


def _policy(
    draw: st.DrawFn, own: Sequence[InterfaceAddress], gateways: Sequence[Address], targets: Sequence[Network]
) -> tuple[tuple[Route, ...], tuple[Rule, ...]]:
    """Return routes and rules that a node with the addresses `own` can have in addition."""
    kind, subnets = draw(_POLICIES), [address.network for address in own]
    there = [to for to in targets if to not in subnets and any(to.version == s.version for s in subnets)]
    if kind is None or not there:
        return (), ()
    to, leads_nowhere = draw(st.sampled_from(there)), draw(_ROUTE_TYPES)
    if kind == "type":
        return (Route(to, type=leads_nowhere),), ()
    near = [gw for gw in gateways if gw.version == to.version and is_next_hop(gw, own)]
    near = [gateway for gateway in near if all(gateway != address.ip for address in own)]
    route = Route(None if draw(st.booleans()) else to, type=leads_nowhere, table=100)
    if kind == "table" and near:
        route = replace(route, via=draw(st.sampled_from(near)), type=None)
    source = next(ip_network(address.ip) for address in own if address.version == to.version)
    rules = [Rule(100, to=to), Rule(100, source), Rule(100, source, to)]
    return (route,), (*((Rule(7, to=to),) if draw(st.booleans()) else ()), draw(st.sampled_from(rules)))


def _routes(kind: str | None, parent: Parent, own: Sequence[InterfaceAddress]) -> tuple[Route, ...] | None:
    """Return routes that an endpoint with the addresses `own` can be given."""
    if kind is None or kind == "none":
        return None if kind is None else ()
    if kind == "default":
        return (Route(),)
    routers = (a.ip for host in parent.hosts for a in host.addresses if host.forwards and a not in own)
    every = (*routers, *parent.gateway)
    near = [gateway for gateway in every if is_next_hop(gateway, own)]
    near = [*{gateway.version: gateway for gateway in reversed(near)}.values()]
    straight = [Route(to) for to in _ELSEWHERE if any(a.version == to.version for a in own)]
    return (*straight, *(Route(via=gateway) for gateway in near))


_ELSEWHERE: tuple[Network, ...] = (IPv4Network("203.0.113.0/24"), IPv6Network("2001:db8:cafe::/48"))


def labs_on_a_parent(*, most_endpoints: int = 3, most_phases: int = 3) -> st.SearchStrategy[Lab]:
    """Labs on a real NIC, of whose network more or less is known."""

    def place(lab: Lab, host: bool, gateway: bool, neighbour: bool) -> Lab:
        parent = lab.parents[0]
        return on_parent(
            lab,
            parent.name,
            host=parent.host if host else (),
            gateway=next(iter(parent.gateway), None) if gateway else None,
            neighbour=next(iter(parent.neighbour), None) if neighbour else None,
        )

    found = labs(most_endpoints=most_endpoints, most_phases=most_phases, real=True)
    return st.builds(place, found, st.booleans(), st.booleans(), st.booleans())


def l2(lab: Lab) -> Lab:
    """Return `lab` with all its phases in l2 mode, and nothing else than ipvlan."""
    return replace(
        lab, phases=tuple(replace(p, setting=Setting("l2", p.setting.flag), others=()) for p in lab.phases)
    )


def peaceful(lab: Lab) -> Lab:
    """Return `lab` in which nobody changes a link, the switch is an ordinary one, and servers listen."""
    return replace(
        lab,
        phases=tuple(
            replace(
                phase,
                acts=tuple(
                    replace(
                        act,
                        checks=tuple(replace(check, size=None, listen=True) for check in act.checks),
                        attempts=(),
                        hairpin=None,
                        port_security=None,
                    )
                    for act in phase.acts
                ),
            )
            for phase in lab.phases
        ),
    )


def _phase(draw: st.DrawFn, title: str, lab: Lab, fresh: _Addresses, *, real: bool) -> Phase:
    endpoints = tuple(lab.endpoints[number] for number in draw(_orders(len(lab.endpoints))))
    setting, *others = (_setting(draw, lab, parent, fresh, real=real) for parent in lab.parents)
    # There is one bridge for the veth endpoints of a phase.
    others = [Setting() if setting.kind == other.kind == "veth" else other for other in others]
    pairs, changes = checks_in(lab, endpoints), _changes(lab, endpoints, real=real)
    on = {parent.name: one for parent, one in zip(lab.parents, (setting, *others), strict=True)}
    own = [e for e in endpoints if on[e.parent].is_ipvlan and any(a.version == 4 for a in e.addresses)]
    announced = tuple(e.name for e in own if lab.below(lab.parent_called(e.parent)).kind != "dummy")[:2]
    acts = [
        _act(draw, lab, endpoints, pairs, changes, announced, real=real) for _ in range(draw(_UP_TO_FOUR))
    ]
    return Phase(
        title,
        setting,
        tuple(e.name for e in endpoints),
        tuple(_added_first(acts, lab.parents[0].name)),
        tuple((lab.parents[i].name, other) for i, other in enumerate(others, 1) if other != setting),
    )


@cache
def _orders(count: int) -> st.SearchStrategy[tuple[int, ...]]:
    """Return some of `count` endpoints, in any order."""
    return st.sampled_from([o for size in range(1, count + 1) for o in permutations(range(count), size)])


def _setting(draw: st.DrawFn, lab: Lab, parent: Parent, fresh: _Addresses, *, real: bool) -> Setting:
    """Return a setting that the endpoints on `parent` can have."""
    setting, kind = draw(_SETTINGS), draw(_KINDS)
    if kind == "macvlan":
        return Setting(flag=setting.flag, kind=kind)
    below = lab.below(parent).kind
    if kind == "veth" and not real and below != "bridge" and not any(p.vlan for p in lab.parents):
        return Setting(kind=kind)
    own = [a for e in lab.endpoints if e.parent == parent.name for a in e.addresses]
    strategies = ("none",) if below == "dummy" else _strategies(setting.mode, parent, own)
    setting = replace(
        setting,
        kind="ipvtap" if kind == "ipvtap" else "ipvlan",
        strategy=strategies[draw(_NUMBERS) % len(strategies)],
    )
    if not draw(_SHIMS) or setting.strategy == "l3s-proxy":
        return setting
    needed = (real and setting.mode == "l2") or (parent.others and not parent.host)
    named = fresh.peers(lab.parents.index(parent)) if draw(st.booleans()) or needed else ()
    return replace(setting, host_shim=True, shim_addresses=named)


def _strategies(mode: Mode, parent: Parent, own: Sequence[InterfaceAddress]) -> Sequence[Strategy]:
    """Return the strategies that can work in `mode` for endpoints on `parent` with the addresses `own`."""
    versions = {address.version for address in own}
    if not any(parent.subnet_of(address.ip) for address in own):
        return ("none", "routed") if parent.host or not parent.others else ("none",)
    if mode == "l2":
        return ("none",)
    found: list[Strategy] = ["none", "static-neigh"]
    if 4 in versions:
        found.append("announce")
    if mode == "l3s" or 4 not in versions:
        found.append("l3s-proxy")
    return found


def _act(
    draw: st.DrawFn,
    lab: Lab,
    here: tuple[Endpoint, ...],
    pairs: Sequence[Check],
    changes: Sequence[Change],
    announced: tuple[str, ...],
    *,
    real: bool,
) -> Act:
    """Return an act of a phase with the endpoints `here`, of which some can be `announced`."""
    kind = draw(_KINDS_OF_ACTS)
    if kind == "check" and pairs:
        return Act(checks=tuple(_check(draw, pairs) for _ in range(draw(_ONE_TO_THREE))))
    if kind == "try":
        return Act(attempts=tuple(_attempt(draw, changes) for _ in range(draw(_ONE_TO_THREE))))
    peers = lab.peers[:3]
    return Act(
        announce=draw(_some(announced)),
        fast_ageing=draw(_some(peers)),
        flush=draw(_some((*peers, HOST, here[0].name))),
        hairpin=draw(_MAYBE),
        port_security=draw(_maybe_some((HOST, *(e.name for e in here[:2])))),
        wait=draw(_WAITS),
        sysctls=(
            *(one for one in draw(_some_sysctls(real=real)) if one.node in (HOST, *peers)),
            *((_ignoring(here[-1]),) if draw(_BARE) else ()),
        ),
    )


def _ignoring(e: Endpoint) -> Sysctl:
    """Return what makes the link of `e` answer for its own addresses only."""
    return Sysctl(e.name, interface_key("ipv4", "conf", e.dev, "arp_ignore"), 1)


@cache
def _some_sysctls(*, real: bool) -> st.SearchStrategy[tuple[Sysctl, ...]]:
    """Sysctls that the rules know, mostly; of a real host none that are the whole machine's."""
    if real:
        return st.just(())
    known = [
        *(
            Sysctl(node, "net.ipv4.conf.all.arp_ignore", value)
            for node in (HOST, GATEWAY)
            for value in (0, 1)
        ),
        Sysctl(GATEWAY, "net.ipv4.conf.all.arp_accept", 1),
        Sysctl(HOST, "net.ipv4.ip_forward", 1),
        Sysctl(HOST, "net.ipv6.conf.all.forwarding", 1),
        Sysctl(GATEWAY, "net.ipv4.conf.all.forwarding", 0),
        Sysctl(GATEWAY, "net.ipv4.conf.all.arp_filter", 1),
        Sysctl(HOST, "net.ipv6.conf.all.use_tempaddr", 2),
        Sysctl(GATEWAY, "net.ipv6.conf.all.accept_dad", 2),
    ]
    return st.sampled_from([(), (), (), *((one,) for one in known), (known[0], known[3])])


def _added_first(acts: Sequence[Act], parent: str) -> Iterator[Act]:
    """Yield acts in which what was never added is not deleted, but added on `parent` instead."""
    added: set[str] = set()
    for act in acts:
        tried = []
        for attempt in act.attempts:
            change = attempt.change
            if isinstance(change, DeleteLink) and change.name not in added:
                change = AddLink(change.name, "ipvlan", parent)
            if isinstance(change, AddLink):
                added.add(change.name)
            tried.append(replace(attempt, change=change))
        yield replace(act, attempts=tuple(tried))


def checks_in(lab: Lab, here: Sequence[Endpoint]) -> list[Check]:
    """Return the pairs that a check can have among `here` and all others, for each family and for none."""
    names, found = [e.name for e in here], []
    for a, b in permutations((*names, *lab.hosts, *lab.peers, FAR), 2):
        if not {a, b} & set(names) or lab.place(a) == lab.place(b):
            continue
        parent = lab.parent_of(Check(a, b))
        known = {*lab.hosts, *names, *(peer.name for peer in parent.peers), *((FAR,) if lab.far else ())}
        if {a, b} <= known:
            checks = (Check(a, b, family=family) for family in (None, *FAMILIES))
            found += [check for check in checks if lab.pinged(check) is not None]
    return found


def _check(draw: st.DrawFn, pairs: Sequence[Check]) -> Check:
    pair = draw(st.sampled_from(pairs))
    return replace(draw(_MANNERS), source=pair.source, destination=pair.destination, family=pair.family)


def _changes(lab: Lab, here: tuple[Endpoint, ...], *, real: bool) -> list[Change]:
    """Return changes that can be tried in a phase with the endpoints `here`; the kernel refuses some."""
    first, parents = here[0], [parent.name for parent in lab.parents]
    taken = [a for e in here for a in e.addresses] + [a for p in lab.parents for a in p.host]
    peers = (address for p in lab.parents for peer in p.peers for address in peer.addresses)
    taken += [address for address in peers if not is_link_local(address)]
    return [
        *(AddAddress(address, e.name) for address in taken for e in dict.fromkeys((first, here[-1]))),
        AddLink("extra", "ipvlan", parents[0]),
        AddLink("extra", "ipvlan", parents[-1], "l3s", "private"),
        AddLink("other", "macvlan", parents[0]),
        AddLink("extra", "ipvtap", parents[0], "l2"),
        *(AddLink("other", "ipvlan", at) for at in ("lo", *_ports(lab))),
        *(AddLink("other", "macvlan", at) for at in ("lo", *_ports(lab))),
        *9 * [DeleteLink("extra")],
        *(SetMode(e.name, mode) for e in here for mode in MODES),
        SetMtu(first.name, 9000),
        *(SetMtu(parent, mtu) for parent in parents for mtu in (1400, 9000) if not real),
    ]


def _ports(lab: Lab) -> list[str]:
    """Return the names of the ports of the parents, on a simulated LAN."""
    return [port for parent in lab.hardware for port in lab.lower(parent)]


def _attempt(draw: st.DrawFn, changes: Sequence[Change]) -> Attempt:
    return Attempt(draw(st.sampled_from(changes)), *draw(_TRIED))


@cache
def _some(found: tuple[str, ...]) -> st.SearchStrategy[tuple[str, ...]]:
    return st.sampled_from([o for size in range(len(found) + 1) for o in permutations(found, size)])


@cache
def _maybe_some(found: tuple[str, ...]) -> st.SearchStrategy[tuple[str, ...] | None]:
    return st.none() | _some(found)
