"""Values that ipvkit takes, values that it must refuse, and whole labs."""

import string
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from itertools import permutations
from typing import Any

from hypothesis import strategies as st

from ipvkit.lab import (
    FLAGS,
    GATEWAY,
    HOST,
    MODES,
    PEERS,
    Act,
    Check,
    Endpoint,
    Lab,
    Network,
    Outcome,
    Phase,
    on_parent,
)

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
    return names(15)


def netns_names() -> st.SearchStrategy[str]:
    return names(255)


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
    *("2001:db8::1", "fe80::1%eth0", "::ffff:192.0.2.1", "127.0.0.1", "224.0.0.1", "255.255.255.255"),
    *("240.0.0.1", "192.0.2.1\u2028", ".".join(4 * "0")),
)
"""No host can have such an IPv4 address, or it is none."""

HOSTILE_PREFIXES = (
    *("", "x", "0", "33", "-1", "24 ", " 24", "24\n", "\N{SUPERSCRIPT TWO}", "2_4", "+24", "24/24", "1e1"),
    *("\N{ARABIC-INDIC DIGIT TWO}4", "255.255.255.0", "\0", "\ud800", "24;x", "9" * 5000),
)
"""No prefix length of an IPv4 address that an interface can have."""


def hostile_names(longest: int) -> st.SearchStrategy[str]:
    """Text that is no name: known bad ones, arbitrary text around something forbidden, too long ones."""
    forbidden = st.characters(exclude_characters=_FIRST + ".+-")
    around = st.builds(lambda a, b, c: a + b + c, st.text(max_size=5), forbidden, st.text(max_size=5))
    lengthened = st.integers(longest + 1, longest + 50).map(lambda size: "a" * size)
    return st.sampled_from(HOSTILE_NAMES) | around | lengthened


def hostile_addresses() -> st.SearchStrategy[str]:
    """Text that is no host's IPv4 address."""
    return st.sampled_from(HOSTILE_ADDRESSES) | st.text(max_size=10).filter(lambda text: "." not in text)


def hostile_interface_addresses() -> st.SearchStrategy[str]:
    """Text that is no host's IPv4 address with its prefix length."""
    return st.one_of(
        st.sampled_from(HOSTILE_ADDRESSES),
        st.sampled_from(HOSTILE_ADDRESSES).map(lambda address: f"{address}/24"),
        st.sampled_from(HOSTILE_PREFIXES).map(lambda prefixlen: f"192.0.2.1/{prefixlen}"),
        st.sampled_from(("192.0.2.0/24", "192.0.2.255/24", "192.0.2.4/30", "192.0.2.7/30")),
    )


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

WORDS = st.sampled_from(
    (
        *("", "a firewall", 'it\'s $(x) `y` \\ "z"', "%s %d \\n", "# no comment", "-n", "!!", "a  b ", "*"),
        *("\N{CJK UNIFIED IDEOGRAPH-7F51}\N{CJK UNIFIED IDEOGRAPH-5173}", "(a)", "{a}", "a; b", "<a>", "$0"),
    )
)
"""What a person may write into a lab; some of it is shell syntax."""

SLUGS = st.sampled_from(("l2", "l3", "a", "0", "first", "second-phase", "x-1", "step", "run", "done"))
"""Names of labs and phases."""

LINK_NAMES = (
    *("test1", "test2", "up", "a", "m", "type", "x.y", "a+b", "v-0", "0", "A_B", "e" * 15, "name", "_", "vf"),
    *("1234567", "gso", "L.3", "dev", "down"),
)
SPACE_NAMES = ("space", "n.1", "0", "exec", "add", "all", "N" * 200, "x-", "up", "pids")

_LINKS = st.lists(st.sampled_from(LINK_NAMES), min_size=4, max_size=4, unique=True)
_SPACES = st.lists(st.sampled_from(SPACE_NAMES), min_size=3, max_size=3, unique=True)
_SUBNETS = st.builds(
    lambda base, prefixlen: IPv4Network((base, prefixlen), strict=False),
    st.integers(int(IPv4Address("10.0.0.0")), int(IPv4Address("10.255.255.255"))),
    st.integers(16, 27),
)
_TITLES = st.lists(SLUGS, min_size=3, max_size=3, unique=True)
_SMALL = st.integers(0, 2)
_FIRST_HOST = st.integers(1, 15)
_TWO_ADDRESSES = st.lists(st.booleans(), min_size=3, max_size=3)
_MODES = st.sampled_from(MODES)
_FLAGS = st.sampled_from(FLAGS)


@st.composite
def labs(draw: st.DrawFn, *, most_endpoints: int = 3, most_phases: int = 3) -> Lab:
    """Labs on a simulated LAN with every part that a lab can have."""
    subnet = draw(_SUBNETS)
    free = iter(range(draw(_FIRST_HOST), subnet.num_addresses - 1))

    def address() -> IPv4Interface:
        return IPv4Interface((subnet[next(free)], subnet.prefixlen))

    host, gateway, neighbour = address(), address(), address()
    parent, *links = draw(_LINKS)
    spaces = draw(_SPACES) if draw(st.booleans()) else links
    two = draw(_TWO_ADDRESSES)
    endpoints = tuple(
        Endpoint(links[at], (address(), address()) if two[at] else (address(),), spaces[at])
        for at in range(min(1 + draw(_SMALL), most_endpoints))
    )
    network = Network(host, gateway.ip, neighbour.ip if draw(st.booleans()) else None)
    count = min(1 + draw(_SMALL), most_phases)
    return Lab(
        name=draw(SLUGS),
        about=draw(LINES) or draw(WORDS),
        parent=parent,
        network=network,
        endpoints=endpoints,
        phases=tuple(draw(_phases(title, endpoints, network)) for title in draw(_TITLES)[:count]),
    )


def labs_on_a_parent(*, most_endpoints: int = 3, most_phases: int = 3) -> st.SearchStrategy[Lab]:
    """Labs on a real NIC, of whose network more or less is known."""

    def place(lab: Lab, host: bool, gateway: bool, neighbour: bool) -> Lab:
        network = lab.network
        return on_parent(
            lab,
            lab.parent,
            host=network.host if host else None,
            gateway=network.gateway if gateway else None,
            neighbour=network.neighbour if neighbour else None,
        )

    found = labs(most_endpoints=most_endpoints, most_phases=most_phases)
    return st.builds(place, found, st.booleans(), st.booleans(), st.booleans())


def l2(lab: Lab) -> Lab:
    """Return `lab` with all its phases in l2 mode."""
    return replace(lab, phases=tuple(replace(phase, mode="l2") for phase in lab.phases))


@st.composite
def _phases(draw: st.DrawFn, title: str, endpoints: tuple[Endpoint, ...], network: Network) -> Phase:
    chosen = draw(_orders(len(endpoints)))
    names = {str(at): endpoints[number].name for at, number in enumerate(chosen)}

    def named(found: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(names.get(role, role) for role in found)

    acts = tuple(
        Act(
            checks=tuple(
                replace(
                    check,
                    source=names.get(check.source, check.source),
                    destination=names.get(check.destination, check.destination),
                )
                for check in act.checks
            ),
            announce=named(act.announce),
            fast_ageing=act.fast_ageing,
            flush=act.flush,
        )
        for act in draw(_acts(len(chosen), network.neighbour is not None))
    )
    return Phase(title, draw(_MODES), tuple(names.values()), acts, draw(_FLAGS))


@cache
def _orders(count: int) -> st.SearchStrategy[tuple[int, ...]]:
    """Return some of `count` endpoints, in any order."""
    return st.sampled_from([o for size in range(1, count + 1) for o in permutations(range(count), size)])


@cache
def _acts(count: int, neighbour: bool) -> st.SearchStrategy[list[Act]]:
    """Return acts of a phase with `count` endpoints, which are called by their numbers here."""
    here = tuple(map(str, range(count)))
    peers = PEERS if neighbour else (GATEWAY,)
    roles = (*here, HOST, *peers)
    pairs = [(a, b) for a in roles for b in roles if a != b and {a, b} & set(here)]
    checks = st.builds(
        lambda pair, watch, expect, why: Check(pair[0], pair[1], watch, expect, why),
        st.sampled_from(pairs),
        st.sampled_from((None, None, None, 1, 2, 8, 9, 20)),
        st.sampled_from((None, None, None, *Outcome)),
        WORDS,
    )
    checking = st.lists(checks, min_size=1, max_size=3).map(lambda found: Act(checks=tuple(found)))
    changing = st.builds(Act, announce=_some(here), fast_ageing=_some(peers), flush=_some(peers))
    return st.lists(checking | changing, max_size=4)


def _some(found: tuple[str, ...]) -> st.SearchStrategy[tuple[str, ...]]:
    return st.sampled_from([o for size in range(len(found) + 1) for o in permutations(found, size)])
