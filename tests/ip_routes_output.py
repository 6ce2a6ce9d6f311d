"""Routes, neighbours and network namespaces, and how `ip` prints them: ip/iproute.c, ipneigh.c, ipnetns.c."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any

from hypothesis import strategies as st

from ipvkit.tools.ip import Neighbour, Netns, NextHop, Route
from strategies import interface_names, netns_names

Address = IPv4Address | IPv6Address

TYPES = "unicast local broadcast anycast multicast blackhole unreachable prohibit throw nat".split()
ROUTE_FLAGS = "dead onlink pervasive offload trap notify linkdown unresolved".split()
CACHE_FLAGS = "local reject mc brd dst-nat src-nat masq redirected redirect fastroute notify proxy".split()
NEIGHBOUR_FLAGS = "router proxy extern_learn extern_valid offload managed".split()
STATES = "INCOMPLETE REACHABLE STALE DELAY PROBE FAILED NOARP PERMANENT".split()
NUMERIC_METRICS = (
    *"mtu window ssthresh cwnd advmss reordering hoplimit".split(),
    *"initcwnd initrwnd quickack fastopen_no_cookie".split(),
)
TIMES = ("rtt", "rttvar", "rto_min")

V4: st.SearchStrategy[Address] = st.integers(0, 2**32 - 1).map(IPv4Address)
V6: st.SearchStrategy[Address] = st.integers(0, 2**128 - 1).map(IPv6Address)
NUMBERS = st.integers(0, 2**32 - 1)
# A device, a table and a protocol can be called what `ip` itself says.
DEVICES = interface_names() | st.sampled_from("via lock nexthop metric encap default FAILED a\\b".split())
WORDS = st.sampled_from("main local default 100 kernel static gated/conn inr.ac link global 7".split())


def maybe(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | values


@st.composite
def _networks(draw: st.DrawFn, of: st.SearchStrategy[Address]) -> IPv4Network | IPv6Network:
    address = draw(of)
    length = draw(st.integers(1, address.max_prefixlen) | st.just(address.max_prefixlen))
    network: IPv4Network | IPv6Network = (IPv4Network if address.version == 4 else IPv6Network)(
        (int(address), length), strict=False
    )
    return network


def _picked(draw: st.DrawFn, choices: dict[str, st.SearchStrategy[Any]]) -> dict[str, Any]:
    """Return a few of the `choices`, in their order."""
    names = draw(st.sets(st.sampled_from(list(choices)), max_size=4))
    return {name: draw(choices[name]) for name in choices if name in names}


def _flows() -> st.SearchStrategy[dict[str, str]]:
    words = st.sampled_from(["1", "7", "inr.ac", "cosmos"])
    return st.fixed_dictionaries({"to": words}) | st.fixed_dictionaries({"from": words, "to": words})


@st.composite
def _encaps(draw: st.DrawFn) -> dict[str, Any]:
    byte = st.integers(0, 255)
    kind = draw(st.sampled_from(["ip", "ip6", "mpls"]))
    if kind == "mpls":
        labels = draw(st.lists(st.integers(0, 2**20 - 1), min_size=1, max_size=3))
        ttl = {"ttl": draw(byte)} if draw(st.booleans()) else {}
        return {"encap_type": kind, "dst": "/".join(map(str, labels)), **ttl}
    ends, limits = (V4, ("ttl", "tos")) if kind == "ip" else (V6, ("hoplimit", "tc"))
    return {
        "encap_type": kind,
        "id": draw(NUMBERS),
        "src": str(draw(ends)),
        "dst": str(draw(ends)),
        **{name: draw(byte) for name in limits},
        **{name: True for name in ("key", "csum", "seq") if draw(st.booleans())},
    }


def _way(draw: st.DrawFn, of: st.SearchStrategy[Address]) -> dict[str, Any]:
    return {
        "via": draw(maybe(of | V6)),
        "dev": draw(maybe(DEVICES)),
        "flags": tuple(draw(st.lists(st.sampled_from(ROUTE_FLAGS), max_size=2, unique=True))),
    }


@st.composite
def _nexthops(draw: st.DrawFn, of: st.SearchStrategy[Address]) -> NextHop:
    details = _picked(draw, {"encap": _encaps(), "to": of.map(str), "flow": _flows()})
    way = _way(draw, of) | {"dev": draw(DEVICES)}
    return NextHop(weight=draw(st.integers(1, 256)), details=details, **way)


@st.composite
def _nh_infos(draw: st.DrawFn, of: st.SearchStrategy[Address]) -> dict[str, Any]:
    group = st.builds(
        lambda ids: [{"id": i} if w == 1 else {"id": i, "weight": w} for i, w in ids],
        st.lists(st.tuples(NUMBERS, st.integers(1, 256)), min_size=1, max_size=3),
    )
    shown = {
        "group": group,
        "gateway": of.map(str),
        "dev": DEVICES,
        "scope": WORDS,
        "blackhole": st.just(True),
    }
    return {"id": draw(NUMBERS), **_picked(draw, shown), "protocol": draw(WORDS), "flags": []}


@st.composite
def routes(draw: st.DrawFn) -> Route:
    """Routes with all that `ip` can say of them, whether or not they make sense together."""
    of = draw(st.sampled_from([V4, V6]))
    nexthops = draw(st.lists(_nexthops(of), max_size=3))
    details = _picked(
        draw,
        {
            "from": _networks(of).map(_shown) | st.just("default"),
            "nhid": NUMBERS,
            "to": of.map(str),
            "encap": _encaps(),
            "tos": st.sampled_from(["0x10", "lowdelay"]),
            "mark": NUMBERS.filter(bool),
            "flow": _flows(),
            "uid": NUMBERS,
            "cache": st.lists(st.sampled_from(CACHE_FLAGS), max_size=3),
            "expires": st.integers(-10, 10**6),
            "error": st.integers(-110, 2**32 - 1),
            "users": NUMBERS,
            "used": NUMBERS,
            "age": NUMBERS,
            **dict.fromkeys(NUMERIC_METRICS, NUMBERS),
            **{name: st.integers(0, 999) | st.integers(10, 9999).map(lambda t: t * 100) for name in TIMES},
            "ecn": st.just(True),
            "congestion": st.sampled_from(["reno", "bbr"]),
            "iif": DEVICES,
            "nh_info": _nh_infos(of),
        },
    )
    return Route(
        type=draw(st.just("unicast") | st.sampled_from(TYPES)),
        dst=draw(st.just("default") | _networks(of)),
        src=draw(maybe(of)),
        metric=draw(maybe(NUMBERS)),
        scope=draw(maybe(WORDS)),
        protocol=draw(maybe(WORDS)),
        table=draw(maybe(WORDS)),
        nexthops=tuple(nexthops),
        # IPv4 has the cache, and IPv6 the preference.
        pref=None if "cache" in details else draw(maybe(st.sampled_from(["low", "medium", "high"]))),
        details=details,
        unrecognised=(),
        **_way(draw, of),
    )


@st.composite
def neighbours(draw: st.DrawFn) -> Neighbour:
    """Neighbours in every state, of Ethernet, InfiniBand and a tunnel."""
    octets = st.sampled_from([6, 20]).flatmap(lambda size: st.binary(min_size=size, max_size=size))
    statistics = {name: draw(NUMBERS) for name in ("used", "confirmed", "updated")}
    details: dict[str, Any] = {}
    if draw(st.booleans()):
        details = {**_picked(draw, {"refcnt": NUMBERS}), **statistics, **_picked(draw, {"probes": NUMBERS})}
    return Neighbour(
        dst=draw(V4 | V6),
        dev=draw(maybe(DEVICES)),
        lladdr=draw(maybe(octets.map(lambda found: found.hex(":")) | V4.map(str))),
        states=tuple(draw(st.lists(st.sampled_from(STATES), max_size=1))),
        flags=tuple(flag for flag in NEIGHBOUR_FLAGS if draw(st.booleans())),
        details=details | _picked(draw, {"protocol": WORDS}),
        unrecognised=(),
    )


def namespaces() -> st.SearchStrategy[Netns]:
    return st.builds(Netns, netns_names() | st.sampled_from(["ü", "(id:", "1"]), maybe(st.integers(0, 2**31)))


# --- as JSON ------------------------------------------------------------------------------------------


def _shown(network: IPv4Network | IPv6Network | str) -> str:
    host = not isinstance(network, str) and network.prefixlen == network.max_prefixlen
    return str(network).partition("/")[0] if host else str(network)


def _without_none(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def _json_via(via: Address | None, of_v4: bool) -> dict[str, Any]:
    if via is None:
        return {}
    if of_v4 and via.version == 6:
        return {"via": {"family": "inet6", "host": str(via)}}
    return {"gateway": str(via)}


def _of_v4(route: Route) -> bool:
    return isinstance(route.dst, IPv4Network)


def json_route(route: Route) -> dict[str, Any]:
    """Return the object that `ip -json route` prints."""
    of_v4 = _of_v4(route)
    metrics = {key: value for key, value in route.details.items() if _is_metric(key)}
    rest = {key: value for key, value in route.details.items() if not _is_metric(key)}
    if "nh_info" in rest:
        rest["nh_info"] = {k: None if v is True else v for k, v in rest["nh_info"].items()}
    return {
        **({} if route.type == "unicast" else {"type": route.type}),
        "dst": _shown(route.dst),
        **_json_via(route.via, of_v4),
        **_without_none(
            dev=route.dev,
            table=route.table,
            protocol=route.protocol,
            scope=route.scope,
            prefsrc=None if route.src is None else str(route.src),
            metric=route.metric,
        ),
        "flags": list(route.flags),
        **rest,
        **({"metrics": [{k: None if v is True else v for k, v in metrics.items()}]} if metrics else {}),
        **_without_none(pref=route.pref),
        **({"nexthops": [_json_nexthop(hop, of_v4) for hop in route.nexthops]} if route.nexthops else {}),
    }


def _json_nexthop(hop: NextHop, of_v4: bool) -> dict[str, Any]:
    way = {"dev": hop.dev, "weight": hop.weight, "flags": list(hop.flags)}
    return {**hop.details, **_json_via(hop.via, of_v4), **way}


def _is_metric(key: str) -> bool:
    return key in (*NUMERIC_METRICS, *TIMES, "ecn", "congestion")


def json_neighbour(neighbour: Neighbour) -> dict[str, Any]:
    """Return the object that `ip -json neigh` prints."""
    return {
        "dst": str(neighbour.dst),
        **_without_none(dev=neighbour.dev, lladdr=neighbour.lladdr),
        **dict.fromkeys(neighbour.flags),
        **neighbour.details,
        **({"state": list(neighbour.states)} if neighbour.states else {}),
    }


def json_netns(netns: Netns) -> dict[str, Any]:
    """Return the object that `ip -json netns list` prints."""
    return _without_none(name=netns.name, id=netns.id)


# --- plain --------------------------------------------------------------------------------------------


def plain_route(
    route: Route, *, colour: bool = False, oneline: bool = False, details: bool = False, lock: bool = False
) -> str:
    """Return what `ip route` prints: with -c, -o, its type always, every metric locked."""
    of_v4, joint = _of_v4(route), "\\" if oneline else "\n"
    told = route.details
    text = f"{route.type} " if details or route.type != "unicast" else ""
    text += _coloured(_shown(route.dst), colour)
    text += _pair("from", told.get("from")) + _pair("nhid", told.get("nhid"))
    text += _plain_new_dst(told) + _plain_encap(told) + _pair("tos", told.get("tos"))
    text += _plain_via(route.via, of_v4, colour)
    text += "" if route.dev is None else "dev " + _coloured(route.dev, colour)
    text += _pair("table", route.table) + _pair("proto", route.protocol) + _pair("scope", route.scope)
    text += _pair("src", route.src) + _pair("metric", route.metric)
    text += "".join(f"{flag} " for flag in route.flags)
    text += _plain_mark(told) + _plain_flow(told) + _pair("uid", told.get("uid"))
    if "cache" in told:
        text += f"{joint}    cache " + (f"<{','.join(told['cache'])}> " if told["cache"] else "")
    text += f"expires {told['expires']}sec " if "expires" in told else ""
    text += "".join(_pair(name, told.get(name)) for name in ("error", "users", "used"))
    text += f"age {told['age']}sec " if "age" in told else ""
    text += "".join(_plain_metric(name, told[name], lock) for name in told if _is_metric(name))
    text += _pair("iif", told.get("iif"))
    text += "" if route.pref is None else f"pref {route.pref}"
    # ip -o leaves this line feed as it is.
    text += f"\n\tnh_info {_plain_nh_info(told['nh_info'])}" if "nh_info" in told else ""
    hops = (_plain_nexthop(hop, of_v4, colour) for hop in route.nexthops)
    return text + "".join(f"{joint}\tnexthop {hop}" for hop in hops) + "\n"


def _coloured(text: str, colour: bool) -> str:
    return f"\x1b[35m{text} \x1b[0m" if colour else f"{text} "


def _pair(name: str, value: object) -> str:
    return "" if value is None else f"{name} {value} "


def _plain_new_dst(told: Any) -> str:
    return f"as to {told['to']} " if "to" in told else ""


def _plain_via(via: Address | None, of_v4: bool, colour: bool) -> str:
    if via is None:
        return ""
    return ("via inet6 " if of_v4 and via.version == 6 else "via ") + _coloured(str(via), colour)


def _plain_encap(told: Any) -> str:
    if "encap" not in told:
        return ""
    kind, *rest = told["encap"].items()
    text = f" encap {kind[1]} "
    for key, value in rest:
        named = "" if kind[1] == "mpls" and key == "dst" else f"{key} "
        text += named if value is True else f"{named}{value} "
    return text


def _plain_mark(told: Any) -> str:
    mark = told.get("mark")
    return _pair("mark", mark if mark is None or mark < 16 else f"0x{mark:x}")


def _plain_flow(told: Any) -> str:
    flow = told.get("flow")
    if flow is None:
        return ""
    return f"realms {flow['from']}/{flow['to']} " if "from" in flow else f"realm {flow['to']} "


def _plain_metric(name: str, value: Any, lock: bool) -> str:
    locked = "lock " if lock else ""
    if name == "ecn":
        return f"features {locked}ecn "
    if name == "congestion":
        return f"congctl {locked}{value} "
    if name in TIMES:
        return f"{name} {locked}{value / 1000:g}s " if value >= 1000 else f"{name} {locked}{value}ms "
    return f"{name} {locked}{value} "


def _plain_nh_info(info: Any) -> str:
    members = (",".join(map(str, member.values())) for member in info.get("group", ()))
    text = f"id {info['id']} " + (f"group {'/'.join(members)} " if "group" in info else "")
    text += _pair("via", info.get("gateway")) + _pair("dev", info.get("dev"))
    text += _pair("scope", info.get("scope"))
    return text + ("blackhole " if "blackhole" in info else "") + f"proto {info['protocol']} "


def _plain_nexthop(hop: NextHop, of_v4: bool, colour: bool) -> str:
    told = hop.details
    text = _plain_encap(told) + _plain_new_dst(told) + _plain_via(hop.via, of_v4, colour) + _plain_flow(told)
    return text + f"dev {hop.dev} weight {hop.weight} " + "".join(f"{flag} " for flag in hop.flags)


def plain_neighbour(neighbour: Neighbour, *, colour: bool = False, glued: bool = True) -> str:
    """Return what `ip neigh` prints; `glued` without the blank before `probes`, as in ip 6.15."""
    told = neighbour.details
    text = _coloured(str(neighbour.dst), colour)
    text += "" if neighbour.dev is None else "dev " + _coloured(neighbour.dev, colour)
    text += "" if neighbour.lladdr is None else "lladdr " + _coloured(neighbour.lladdr, colour)
    text += "".join(f"{flag} " for flag in neighbour.flags)
    if "used" in told:
        times = "/".join(str(told[name]) for name in ("used", "confirmed", "updated"))
        text += f" {_pair('ref', told.get('refcnt'))}used {times}"
        text += "" if glued else " "
        text += _pair("probes", told["probes"]) if "probes" in told else " "
    text += "".join(f"{state} " for state in neighbour.states)
    return text + _pair("proto", told.get("protocol")) + "\n"


def brief_neighbour(neighbour: Neighbour) -> str:
    """Return what `ip -br neigh` prints: nothing but three columns."""
    dev = "" if neighbour.dev is None else f"{neighbour.dev:<16} "
    return f"{neighbour.dst!s:<39} {dev}{neighbour.lladdr or ''}\n"


def plain_netns(netns: Netns) -> str:
    """Return what `ip netns list` prints."""
    return f"{netns.name}\n" if netns.id is None else f"{netns.name} (id: {netns.id})\n"


def printed(found: Sequence[Route], **options: bool) -> str:
    return "".join(plain_route(route, **options) for route in found)
