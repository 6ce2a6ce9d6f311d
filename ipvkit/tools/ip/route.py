"""Parser of ``ip route``: ip-route(8), ip/iproute.c, ip/iproute_lwtunnel.c, ip/ipnexthop.c."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address, ip_address, ip_network
from typing import Any

from ipvkit.core.values import Address, Network
from ipvkit.tools.ip.plain import Line, NotUnderstood, Words, collected, flags, form, number, put, take
from ipvkit.tools.ip.plain import network as network_of
from ipvkit.tools.ip.reading import Entry, read


@dataclass(frozen=True, slots=True)
class NextHop:
    """One next hop of a route that has several; `details` by the keys of ``ip -json``."""

    via: Address | None
    dev: str | None
    weight: int | None
    flags: tuple[str, ...]
    details: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Route:
    """One route; `dst` is "default" where `ip` prints that word, of either family.

    `details` has all else by the keys of ``ip -json``, and the metrics (mtu, rtt …) among them:
    times are seconds, but rtt, rttvar and rto_min are milliseconds.
    """

    type: str
    dst: Network | str
    via: Address | None
    dev: str | None
    src: Address | None
    metric: int | None
    scope: str | None
    protocol: str | None
    table: str | None
    flags: tuple[str, ...]
    nexthops: tuple[NextHop, ...]
    pref: str | None
    details: Mapping[str, Any]
    unrecognised: tuple[str, ...]

    @property
    def is_default(self) -> bool:
        """Whether the route leads everywhere."""
        return self.dst == "default" if isinstance(self.dst, str) else self.dst.prefixlen == 0


def gateway_of(routes: Iterable[Route]) -> IPv4Address | None:
    """Return the IPv4 gateway of the first default route that has one."""
    gateways = (route.via for route in routes if route.is_default)
    return next((gateway for gateway in gateways if isinstance(gateway, IPv4Address)), None)


def parse_routes(stdout: str, *, without: str | None = None) -> tuple[Route, ...]:
    """Return the routes that ``ip route show`` or ``get`` printed, plain or as JSON.

    Those of the table `without` are left out.
    Raise UnparsableOutput for anything else. A plain line is read up to its first unknown word,
    and is kept whole then; the last one counts without its newline, as in an output that was stripped.

    >>> parse_routes("default via 192.0.2.254 dev eth0")[0].via
    IPv4Address('192.0.2.254')
    """
    found = read("ip route", stdout, _take_line)
    return tuple(_route(entry, left) for entry, left in found if without is None or _table(entry) != without)


# --- from the objects of `ip -json` -------------------------------------------------------------------


def _route(entry: Entry, unrecognised: Iterable[str]) -> Route:
    return Route(
        type=entry.text_or_none("type") or "unicast",
        dst=_network(entry, entry.text("dst")),
        via=_via(entry),
        dev=entry.text_or_none("dev"),
        src=entry.address_or_none("prefsrc"),
        metric=entry.number_or_none("metric"),
        scope=entry.text_or_none("scope"),
        protocol=entry.text_or_none("protocol"),
        table=_table(entry),
        flags=entry.texts("flags"),
        nexthops=tuple(_nexthop(hop) for hop in entry.inners("nexthops")),
        pref=entry.text_or_none("pref"),
        details=_details(entry),
        unrecognised=tuple(unrecognised),
    )


def _nexthop(hop: Entry) -> NextHop:
    return NextHop(
        via=_via(hop),
        dev=hop.text_or_none("dev"),
        weight=hop.number_or_none("weight"),
        flags=hop.texts("flags"),
        details=_with_true(hop.rest(("gateway", "via", "dev", "weight", "flags"))),
    )


def _details(entry: Entry) -> dict[str, Any]:
    shown = "type dst gateway via dev prefsrc metric scope protocol flags nexthops pref metrics".split()
    details = _with_true(entry.rest([*shown, *([] if _is_flat(entry) else ["table"])]))
    for metrics in entry.inners("metrics"):
        details.update(_with_true(metrics.value))
    if "nh_info" in details:
        details["nh_info"] = _with_true(entry.inner("nh_info").value)
    return details


def _table(entry: Entry) -> str | None:
    return None if _is_flat(entry) else entry.text_or_none("table")


def _is_flat(entry: Entry) -> bool:
    """Return whether the encapsulation's keys, a `table` too, are among those of the route (old iproute2)."""
    return isinstance(entry.value.get("encap"), str)


def _with_true(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values with True where JSON has null, which `ip` prints for a word that has no value."""
    return {key: True if value is None else value for key, value in values.items()}


def _via(entry: Entry) -> Address | None:
    return entry.address_or_none("gateway") or entry.inner("via").address_or_none("host")


def _network(entry: Entry, text: str) -> Network | str:
    try:
        return text if text == "default" else network_of(text)
    except ValueError:
        raise entry.unparsable() from None


# --- from plain lines to the objects of `ip -json` ----------------------------------------------------


def _take_line(line: Line, read: list[dict[str, Any]]) -> None:
    words = Words(line.text)
    # Text that was pasted into a document is indented as a whole.
    if line.text[0] in " \t" and words.peek() in ("nexthop", "nh_info", "cache") and read:
        _go_on(words, read[-1])
    else:
        type_ = {"type": words.word()} if re.fullmatch(TYPE, words.peek()) else {}
        read.append(type_ | {"dst": _prefix(words)})
        take(words, _ROUTE, read[-1])


def _go_on(words: Words, found: dict[str, Any]) -> None:
    """Read a line that goes on with the route, or nothing of it."""
    what = words.word()
    more: dict[str, Any] = {}
    if what == "nexthop":
        take(words, _NEXTHOP, more)
        # Both are always there: without them, the line was cut.
        if not {"dev", "weight"} <= more.keys():
            raise NotUnderstood
        found.setdefault("nexthops", []).append(more)
    elif what == "nh_info":
        more["flags"] = []
        take(words, _NH_INFO, more)
        put(found, what, more)
    else:
        more[what] = words.listed() if words.peek().startswith("<") else []
        take(words, _CACHED, more)
        if more.keys() & found.keys():
            raise NotUnderstood
        found.update(more)


TYPE = "(uni|broad|any|multi)cast|local|blackhole|unreachable|prohibit|throw|nat|xresolve|[0-9]{1,3}"
_HEX = re.compile(r"0x[0-9a-f]{1,8}")


def _prefix(words: Words) -> str:
    return words.valid(lambda word: word == "default" or ip_network(word))


def _host(words: Words) -> str:
    return words.valid(ip_address)


def _gateway(words: Words, into: dict[str, Any]) -> None:
    if words.peek() in ("inet", "inet6"):
        put(into, "via", {"family": words.word(), "host": _host(words)})
    else:
        put(into, "gateway", _host(words))


def _new_dst(words: Words, into: dict[str, Any]) -> None:
    if words.word() != "to":
        raise NotUnderstood
    put(into, "to", _host(words))


def _metric(words: Words) -> int:
    value = words.signed()
    # `metric 18 5` is a metric that this `ip` has no name for, and not the route's.
    if words.peek() == "lock" or words.peek()[:1].isdigit():
        raise NotUnderstood
    return value


def _milliseconds(words: Words) -> int:
    found = words.match(r"([0-9]{1,12})ms|([0-9]{1,6}(?:\.[0-9]{1,6})?(?:e\+[0-9]{2})?)s")
    return int(found[1]) if found[1] else round(float(found[2]) * 1000)


def _group(words: Words) -> list[dict[str, int]]:
    pairs = [member.split(",", 1) for member in words.word().split("/")]
    return [dict(zip(("id", "weight"), map(number, pair), strict=False)) for pair in pairs]


def _encap(words: Words, into: dict[str, Any]) -> None:
    encap: dict[str, Any] = {"encap_type": words.word()}
    attributes = _ENCAPS.get(encap["encap_type"])
    if attributes is None:
        raise NotUnderstood
    if encap["encap_type"] == "mpls":
        encap["dst"] = "/".join(str(number(label)) for label in words.word().split("/"))
    # A word that is there already is the route's own.
    while words.peek() in attributes and words.peek() not in encap:
        attributes[words.word()](words, encap)
    put(into, "encap", encap)


def _segments(words: Words) -> list[str]:
    """Take ``2 [ 2001:db8::1 2001:db8::2 ]``."""
    count, segments = words.number(), []
    words.match(r"\[")
    while words.peek() != "]":
        segments.append(_host(words))
    words.word()
    if count != len(segments):
        raise NotUnderstood
    return segments


def _features(words: Words, into: dict[str, Any]) -> None:
    while words.peek() in ("ecn", "tcp_usec_ts"):
        put(into, words.word(), True)
    if _HEX.fullmatch(words.peek()):
        put(into, "features", words.word())


def _take_metric(name: str, words: Words, into: dict[str, Any]) -> None:
    # JSON does not show which are locked.
    if words.peek() == "lock":
        words.word()
    _METRICS[name](words, into.setdefault("metrics", [{}])[0])


_FLAGS = "dead onlink pervasive offload trap notify linkdown unresolved rt_offload rt_trap rt_offload_failed"
_NUMBERS = "mtu window ssthresh cwnd advmss reordering hoplimit initcwnd initrwnd quickack fastopen_no_cookie"
_PATH = (
    {"via": _gateway, "as": _new_dst, "encap": _encap}
    | form("dev", Words.word)
    | form("realm=flow", lambda words: {"to": words.word()})
    | form("realms=flow", lambda words: words.match("(?P<from>[^/]*)/(?P<to>.*)").groupdict())
    | collected("flags", _FLAGS.split())
)
_NEXTHOP = _PATH | form("weight", Words.number)
_NH_INFO = (
    _PATH
    | form("id", Words.number)
    | form("group", _group)
    | form("scope proto=protocol", Words.word)
    | flags("blackhole fdb")
)
_METRICS = (
    form(_NUMBERS, Words.number)
    | form("rtt rttvar rto_min", _milliseconds)
    | form("congctl=congestion", Words.word)
    | {"features": _features}
)
_CACHED = (
    form("expires age", lambda words: int(words.match("(-?[0-9]{1,12})sec")[1]))
    | form("users used", Words.number)
    | form("error", Words.signed)
    | form("iif", Words.word)
    | {name: partial(_take_metric, name) for name in _METRICS}
)
_ROUTE = (
    _PATH
    | _CACHED
    | form("from", _prefix)
    | form("nhid uid", Words.number)
    | form("tos table scope proto=protocol", Words.word)
    | form("src=prefsrc", _host)
    | form("metric", _metric)
    | form("mark", lambda words: int(words.word(), 16) if _HEX.fullmatch(words.peek()) else words.number())
    | form("pref", lambda words: words.match("low|medium|high")[0])
)
_TUNNEL = form("id", Words.number) | form("src dst", _host) | flags("key csum seq")
_ENCAPS = {
    "ip": _TUNNEL | form("ttl tos", Words.number),
    "ip6": _TUNNEL | form("hoplimit tc", Words.number),
    "mpls": form("ttl", Words.number),
    "seg6": form("mode", Words.word) | form("tunsrc", _host) | form("segs", _segments),
    "seg6local": form("action table vrftable iif oif", Words.word)
    | form("nh4 nh6", _host)
    | form("segs=srh", lambda words: {"segs": _segments(words)})
    | form("flavors", lambda words: words.word().split(",")),
}
