"""Values that ipvkit takes, values that it must refuse, and whole labs."""

import string
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Interface
from itertools import permutations
from typing import Any

from hypothesis import strategies as st

from ipvkit.lab import (
    FAR,
    FLAGS,
    HOST,
    MODES,
    OF_PINGS,
    PEERS,
    PING_COUNT,
    STRATEGIES,
    Act,
    AddAddress,
    AddLink,
    Attempt,
    Check,
    Endpoint,
    Lab,
    Outcome,
    Parent,
    Phase,
    SetMode,
    SetMtu,
    Setting,
    on_parent,
)
from ipvkit.values import Address, InterfaceAddress

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
_SHAPES = st.sampled_from(("old", "old", "one", "two", "vlan", "apart"))
"""One parent with IPv4, one, two, two of which one is a VLAN, and endpoints in a subnet of their own."""

_VERSIONS = st.sampled_from(((4,), (4, 6), (6,)))
_MTUS = st.sampled_from((None, None, None, 1400, 9000))
_SETTINGS = st.builds(
    Setting,
    st.sampled_from(MODES),
    st.sampled_from(FLAGS),
    strategy=st.sampled_from(("none", *STRATEGIES)),
    host_shim=st.sampled_from((False, False, True)),
) | st.sampled_from((Setting(kind="macvlan"), Setting(flag="private", kind="macvlan"), Setting(kind="veth")))
_FEW = st.integers(0, 4)
_ONE_TO_THREE = st.integers(1, 3)
_KINDS_OF_ACTS = st.sampled_from(("check", "check", "change", "try"))
_MAYBE = st.sampled_from((None, None, True, False))
_WAITS = st.sampled_from((None, None, 1, 30))
_WATCHES = st.sampled_from((None, None, None, 1, 2, 8, 9, 20))
_COUNTS = st.sampled_from((PING_COUNT, PING_COUNT, 1, 20))
_SIZES = st.sampled_from((None, None, None, 0, 1472, 1473))
_EXPECTED = st.sampled_from((None, None, None, *OF_PINGS))


@st.composite
def labs(draw: st.DrawFn, *, most_endpoints: int = 3, most_phases: int = 3, plain: bool = False) -> Lab:
    """Labs on a simulated LAN with every part that a lab can have; `plain` ones with one parent, IPv4 only."""
    shape = "plain" if plain else draw(_SHAPES)
    families = (4,) if plain or shape == "old" else draw(_VERSIONS)
    subnet = draw(_SUBNETS)
    free = iter(range(draw(_FIRST_HOST), subnet.num_addresses - 1))
    numbers = iter(range(1, 200))

    def address(network: int = 0) -> tuple[InterfaceAddress, ...]:
        """Return an address of each family in a network: 0 the first parent's, and others apart from it."""
        ipv4 = IPv4Interface((subnet[next(free)], subnet.prefixlen))
        if network:
            ipv4 = IPv4Interface(f"172.16.{network}.{next(numbers)}/24")
        ipv6 = IPv6Interface(f"2001:db8:{network}::{next(numbers)}/64")
        return tuple(own for own in (ipv4, ipv6) if own.version in families)

    def peer(network: int) -> tuple[Address, ...]:
        return tuple(own.ip for own in address(network))

    first, *links = draw(_LINKS)
    neighbour = draw(st.booleans())
    parents = [Parent(first, address(), peer(0), peer(0) if neighbour else ())]
    if shape in ("two", "vlan"):
        tag = {"link": first, "vlan": 100} if shape == "vlan" else {}
        parents.append(Parent("eth1", address(1), peer(1), **tag))  # type: ignore[arg-type]
    far = address(9)[:1] if shape != "plain" and draw(st.booleans()) else ()
    spaces = draw(_SPACES) if draw(st.booleans()) else links
    two, apart = draw(_TWO_ADDRESSES), shape == "apart"
    endpoints = []
    for at in range(min(1 + draw(_SMALL), most_endpoints)):
        on = at % len(parents)
        network = 20 if apart else on
        own = (*address(network), *address(network)) if two[at] else address(network)
        endpoints.append(Endpoint(links[at], own, spaces[at], parents[on].name, mtu=draw(_MTUS)))
    lab = Lab(
        name=draw(SLUGS),
        about=draw(LINES) or draw(WORDS),
        parents=tuple(parents),
        endpoints=tuple(endpoints),
        phases=(Phase("only", Setting(), (endpoints[0].name,), ()),),
        far=far,
    )
    titles = draw(_TITLES)[: min(1 + draw(_SMALL), most_phases)]
    return replace(lab, phases=tuple(draw(_phases(title, lab, plain, apart)) for title in titles))


def labs_on_a_parent(*, most_endpoints: int = 3, most_phases: int = 3) -> st.SearchStrategy[Lab]:
    """Labs on a real NIC, of whose network more or less is known."""

    def place(lab: Lab, host: bool, gateway: bool, neighbour: bool) -> Lab:
        parent = lab.parents[0]
        return on_parent(
            lab,
            parent.name,
            host=parent.host if host else (),
            gateway=parent.gateway[0] if gateway else None,
            neighbour=next(iter(parent.neighbour), None) if neighbour else None,
        )

    found = labs(most_endpoints=most_endpoints, most_phases=most_phases, plain=True)
    return st.builds(place, found, st.booleans(), st.booleans(), st.booleans())


def l2(lab: Lab) -> Lab:
    """Return `lab` with all its phases in l2 mode, and nothing else than ipvlan."""
    return replace(
        lab, phases=tuple(replace(p, setting=Setting("l2", p.setting.flag), others=()) for p in lab.phases)
    )


@st.composite
def _phases(draw: st.DrawFn, title: str, lab: Lab, plain: bool, apart: bool) -> Phase:
    chosen = draw(_orders(len(lab.endpoints)))
    endpoints = [lab.endpoints[number] for number in chosen]
    setting = _fitting(draw(_SETTINGS), lab, plain, apart)
    others = ()
    if len(lab.parents) > 1 and draw(st.booleans()):
        others = ((lab.parents[1].name, _fitting(draw(_SETTINGS), lab, plain, apart)),)
    acts = []
    for _ in range(draw(_FEW)):
        acts.append(draw(_act(lab, tuple(e.name for e in endpoints), plain)))
    return Phase(title, setting, tuple(e.name for e in endpoints), tuple(acts), others)


def _fitting(setting: Setting, lab: Lab, plain: bool, apart: bool) -> Setting:
    """Return `setting` without what cannot work in `lab`."""
    ipv4 = any(own.version == 4 for e in lab.endpoints for own in e.addresses)
    if setting.kind == "veth" and (plain or len(lab.parents) > 1):
        return Setting()
    wrong = (
        plain,
        setting.strategy == "routed" and not apart,
        setting.strategy != "routed" and (apart or setting.mode == "l2"),
        setting.strategy == "announce" and not ipv4,
        setting.strategy == "l3s-proxy" and setting.mode == "l3" and ipv4,
    )
    if any(wrong):
        setting = replace(setting, strategy="none")
    return replace(setting, host_shim=False) if plain else setting


@cache
def _orders(count: int) -> st.SearchStrategy[tuple[int, ...]]:
    """Return some of `count` endpoints, in any order."""
    return st.sampled_from([o for size in range(1, count + 1) for o in permutations(range(count), size)])


@st.composite
def _act(draw: st.DrawFn, lab: Lab, here: tuple[str, ...], plain: bool) -> Act:
    """An act of a phase with the endpoints `here`."""
    peers = tuple(role for role in PEERS if any(parent.peer(role) for parent in lab.parents))
    kind = draw(_KINDS_OF_ACTS)
    if kind == "check":
        pairs = _pairs(lab, here)
        if pairs:
            return Act(checks=tuple(draw(_checks(pairs)) for _ in range(draw(_ONE_TO_THREE))))
    if kind == "try" and not plain:
        return Act(attempts=tuple(draw(_attempt(lab, here)) for _ in range(draw(_ONE_TO_THREE))))
    named = tuple(e for e in here if any(own.version == 4 for own in lab.endpoint(e).addresses))
    return Act(
        announce=draw(_some(named[:2])),
        fast_ageing=draw(_some(peers)),
        flush=draw(_some(peers)),
        hairpin=None if plain else draw(_MAYBE),
        port_security=None if plain else draw(st.none() | _some((HOST, *here[:1]))),
        wait=None if plain else draw(_WAITS),
    )


def _pairs(lab: Lab, here: tuple[str, ...]) -> list[tuple[str, str]]:
    """Return the pairs that a check can have."""
    found = []
    for a, b in permutations((*here, HOST, *PEERS, FAR), 2):
        if not {a, b} & set(here):
            continue
        parent = lab.parent_of(Check(a, b))
        known = {HOST, *here, *(role for role in PEERS if parent.peer(role)), *((FAR,) if lab.far else ())}
        if {a, b} <= known and lab.pinged(Check(a, b)) is not None:
            found.append((a, b))
    return found


@st.composite
def _checks(draw: st.DrawFn, pairs: list[tuple[str, str]]) -> Check:
    source, destination = draw(st.sampled_from(pairs))
    watch = draw(_WATCHES)
    count = PING_COUNT if watch is not None else draw(_COUNTS)
    size = draw(_SIZES) if watch is None else None
    return Check(source, destination, watch, draw(_EXPECTED), draw(WORDS), size=size, count=count)


@st.composite
def _attempt(draw: st.DrawFn, lab: Lab, here: tuple[str, ...]) -> Attempt:
    first = lab.endpoint(here[0])
    change = draw(
        st.sampled_from(
            (
                AddAddress(lab.parents[0].host[0], first.name),
                AddAddress(lab.endpoint(here[-1]).addresses[0], first.name),
                AddLink("extra", "ipvlan", lab.parents[0].name),
                AddLink("extra", "ipvlan", lab.parents[0].name, "l3s", "private"),
                AddLink("other", "macvlan", lab.parents[0].name),
                SetMode(first.name, "l3"),
                SetMtu(first.name, 9000),
                SetMtu(lab.parents[-1].name, 1400),
            )
        )
    )
    expect = draw(st.sampled_from((None, None, Outcome.ACCEPTED, Outcome.REFUSED)))
    return Attempt(change, expect, draw(WORDS))


@cache
def _some(found: tuple[str, ...]) -> st.SearchStrategy[tuple[str, ...]]:
    return st.sampled_from([o for size in range(len(found) + 1) for o in permutations(found, size)])
