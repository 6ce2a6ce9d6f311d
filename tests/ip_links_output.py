"""Links and addresses that a kernel can have, and how `ip` prints them in each of its forms."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, ip_interface
from typing import Any, get_args

from hypothesis import strategies as st

from ipvkit.core.values import Flag
from ipvkit.tools.ip import Address, Link
from strategies import LINES, LINK_NAMES, interface_names

FOREVER = 2**32 - 1

LINK_FLAGS = (
    *("NO-CARRIER", "LOOPBACK", "BROADCAST", "POINTOPOINT", "MULTICAST", "NOARP", "PROMISC", "MASTER"),
    *("UP", "LOWER_UP", "10000", "M-DOWN"),
)
OPERSTATES = ("UNKNOWN", "NOTPRESENT", "DOWN", "LOWERLAYERDOWN", "TESTING", "DORMANT", "UP")
ADDRESS_FLAGS = (
    *("secondary", "temporary", "nodad", "optimistic", "dadfailed", "home", "deprecated", "tentative"),
    *("dynamic", "mngtmpaddr", "noprefixroute", "autojoin", "stable-privacy"),
)
NAMES = (*LINK_NAMES, "secondary", "dynamic", "scope", "global", "alias", "inet", "UP", "DOWN", "link", "RX")
"""Names that a reader could take for another word of the output."""

# --- what there can be --------------------------------------------------------------------------------

_counts = st.integers(0, 2**32 - 1)
_counters = st.integers(0, 2**64 - 1)
_macs = st.binary(min_size=6, max_size=6).map(lambda octets: octets.hex(":"))
_bridge_ids = st.builds(lambda priority, mac: f"{priority:04x}.{mac}", st.integers(0, 0xFFFF), _macs)
_timers = st.integers(0, 10**6).map(lambda hundredths: hundredths / 100)


def _some(found: Sequence[str]) -> st.SearchStrategy[tuple[str, ...]]:
    """Some of `found`, in their order."""
    return st.sets(st.sampled_from(found)).map(lambda chosen: tuple(one for one in found if one in chosen))


def _link_names() -> st.SearchStrategy[str]:
    """Names of links, none as `ip` calls a link whose name it does not know."""
    plain = interface_names() | st.sampled_from(NAMES)
    return plain.filter(lambda name: not re.fullmatch(r"if[0-9]+|NONE", name))


_INFO_DATA: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "dummy": st.just({}),
    "veth": st.just({}),
    "6lowpan": st.just({}),
    "ipvlan": st.just({}),
    "ipvtap": st.just({}),
    "macvlan": st.fixed_dictionaries({"bcqueuelen": _counts}),
    "macvtap": st.fixed_dictionaries(
        {}, optional={"nopromisc": st.just(True), "bcqueuelen": _counts, "usedbcqueuelen": _counts}
    ),
    "vlan": st.fixed_dictionaries(
        {"protocol": st.sampled_from(("802.1Q", "802.1ad")), "id": st.integers(0, 4095)},
        optional={"flags": st.just(["REORDER_HDR", "GVRP"])},
    ),
    "bridge": st.fixed_dictionaries(
        {"forward_delay": _counts, "vlan_protocol": st.just("802.1Q"), "root_id": _bridge_ids},
        optional={"hello_timer": _timers, "group_addr": _macs, "mcast_last_member_cnt": _counts},
    ),
    "vrf": st.fixed_dictionaries({"table": _counts}),
}
_PORT_DATA = st.fixed_dictionaries(
    {"state": st.sampled_from(("disabled", "forwarding")), "hairpin": st.booleans(), "id": st.just("0x8001")},
    optional={"bridge_id": _bridge_ids, "hold_timer": _timers, "multicast_router": st.integers(0, 2)},
)
_DETAILS = st.fixed_dictionaries(
    {"promiscuity": _counts, "num_tx_queues": _counts},
    optional={
        "allmulti": _counts,
        "min_mtu": _counts,
        "max_mtu": _counts,
        "inet6_addr_gen_mode": st.sampled_from(("eui64", "none")),
        "gso_max_size": _counts,
        "parentbus": st.just("virtio"),
    },
)
_STATS = st.fixed_dictionaries(
    {
        "rx": st.fixed_dictionaries(
            dict.fromkeys(("bytes", "packets", "errors", "dropped", "missed_errors", "multicast"), _counters)
        ),
        "tx": st.fixed_dictionaries(
            dict.fromkeys(
                ("bytes", "packets", "errors", "dropped", "carrier_errors", "collisions"), _counters
            )
        ),
    }
)


@st.composite
def _addresses(draw: st.DrawFn, ifname: str) -> Address:
    v4 = draw(st.booleans())
    bits, host = (32, IPv4Address) if v4 else (128, IPv6Address)
    prefixlen = draw(st.integers(0, bits))
    local, other = host(draw(st.integers(0, 2**bits - 1))), host(draw(st.integers(0, 2**bits - 1)))
    has_peer = local != other and draw(st.booleans())
    lifetimes = st.none() | st.integers(0, FOREVER - 1)
    return Address(
        address=ip_interface(local if has_peer else (local, prefixlen)),
        peer=ip_interface((other, prefixlen)) if has_peer else None,
        broadcast=draw(st.none() | st.integers(0, 2**32 - 1).map(IPv4Address)) if v4 else None,
        scope=draw(st.sampled_from(("global", "link", "host", "200"))),
        label=ifname + draw(st.sampled_from(("", ":1", ":a"))) if v4 else None,
        flags=draw(_some(ADDRESS_FLAGS)),
        valid_lft=draw(lifetimes),
        preferred_lft=draw(lifetimes),
        metric=draw(st.none() | _counts),
        protocol=draw(st.none() | st.sampled_from(("kernel_ll", "0x63", "link"))),
    )


@st.composite
def _links(draw: st.DrawFn, ifname: str, others: Sequence[str]) -> Link:
    kind = draw(st.none() | st.sampled_from(tuple(_INFO_DATA)))
    ipvlan, macvlan = kind in ("ipvlan", "ipvtap"), kind in ("macvlan", "macvtap")
    details = draw(_DETAILS)
    if draw(st.booleans()):
        details |= {"info_slave_kind": "bridge", "info_slave_data": draw(_PORT_DATA)}
    elsewhere = draw(st.booleans())
    names = st.none() | st.sampled_from(tuple(others)) if others else st.none()
    return Link(
        ifname=ifname,
        ifindex=draw(st.integers(1, 2**31 - 1)),
        parent=None if elsewhere else draw(names),
        parent_index=draw(st.integers(1, 10**6)) if elsewhere else None,
        link_netnsid=draw(st.integers(0, 99)) if elsewhere else None,
        flags=draw(_some(LINK_FLAGS)),
        mtu=draw(_counts),
        qdisc=draw(st.sampled_from(("noop", "noqueue", "fq_codel", "mq"))),
        master=draw(names),
        operstate=draw(st.sampled_from(OPERSTATES)),
        linkmode=draw(st.sampled_from(("DEFAULT", "DORMANT"))),
        group=draw(st.sampled_from(("default", "7", "group"))),
        txqlen=draw(st.none() | st.integers(1, 10**6)),
        link_type=draw(st.sampled_from(("ether", "loopback", "[1]"))),
        lladdr=draw(_macs | st.sampled_from(("0.0.0.0", "::", None))),  # noqa: S104
        broadcast=draw(_macs),
        altnames=tuple(draw(st.lists(_link_names(), max_size=2, unique=True))),
        alias=draw(st.none() | LINES.filter(lambda text: text != "" and "\\ " not in text)),
        kind=kind,
        mode=draw(st.sampled_from(("l2", "l3", "l3s", "bridge", "vepa"))) if ipvlan or macvlan else None,
        flag=draw(st.none() | st.sampled_from(get_args(Flag))) if ipvlan else None,
        info_data=draw(_INFO_DATA[kind]) if kind else {},
        stats=draw(_STATS),
        details=details,
    )


@st.composite
def listings(draw: st.DrawFn, *, addresses: bool = False) -> tuple[Link, ...]:
    """The links of a namespace, with their addresses or as `ip link` shows them."""
    names = draw(st.lists(_link_names(), min_size=1, max_size=3, unique=True))
    found = []
    for ifname in names:
        link = draw(_links(ifname, [name for name in names if name != ifname]))
        if addresses:
            own = draw(st.lists(_addresses(ifname), max_size=3))
            link = replace(link, addresses=tuple(own), linkmode=None)
        found.append(link)
    return tuple(replace(link, ifindex=at + 1) for at, link in enumerate(found))


# --- what of it a form prints -------------------------------------------------------------------------


def without_details(link: Link) -> Link:
    """Return what is printed without -d, of `ip link`."""
    return replace(link, kind=None, mode=None, flag=None, info_data={}, details={})


def without_stats(link: Link) -> Link:
    """Return what is printed without -s."""
    return replace(link, stats={})


def only_brief(link: Link, *, addresses: bool = False) -> Link:
    """Return what `ip -br link` prints, or `ip -br addr` for `addresses`."""
    own = [Address(a.address, a.peer, metric=a.metric) for a in link.addresses]
    return Link(
        ifname=link.ifname,
        parent=link.parent,
        parent_index=link.parent_index,
        operstate=link.operstate,
        lladdr=None if addresses else link.lladdr,
        flags=() if addresses else link.flags,
        addresses=tuple(own) if addresses else (),
    )


def only_addresses(link: Link) -> Link:
    """Return what `ip -o addr` prints."""
    return Link(ifname=link.ifname, ifindex=link.ifindex, addresses=link.addresses)


# --- ip -json -----------------------------------------------------------------------------------------


def printed_json(links: Sequence[Link]) -> str:
    """Return the links as `ip -json` prints them (ip/ipaddress.c, print_linkinfo, print_addrinfo)."""
    return json.dumps([_json(link) for link in links])


def _json(link: Link) -> dict[str, Any]:
    slave = {key: link.details[key] for key in link.details if key.startswith("info_slave")}
    data = {"mode": link.mode, **({link.flag: True} if link.flag else {}), **link.info_data}
    info = {"info_kind": link.kind, "info_data": _there(data), **slave}
    return _there(
        {
            "ifindex": link.ifindex,
            "link": link.parent,
            "link_index": link.parent_index,
            "ifname": link.ifname,
            "flags": [*link.flags],
            "mtu": link.mtu,
            "qdisc": link.qdisc,
            "master": link.master,
            "operstate": link.operstate,
            "linkmode": link.linkmode,
            "group": link.group,
            "txqlen": link.txqlen,
            "link_type": link.link_type,
            "address": link.lladdr,
            "broadcast": link.broadcast,
            "link_netnsid": link.link_netnsid,
            "linkinfo": _there(info),
            **{key: link.details[key] for key in link.details if key not in slave},
            "ifalias": link.alias,
            "altnames": [*link.altnames],
            "stats64": link.stats,
            "addr_info": [_address_json(address) for address in link.addresses],
        }
    )


def _address_json(address: Address) -> dict[str, Any]:
    return _there(
        {
            "family": _family(address),
            "local": str(address.address.ip),
            "address": str(address.peer.ip) if address.peer else None,
            "prefixlen": (address.peer or address.address).network.prefixlen,
            "metric": address.metric,
            "broadcast": str(address.broadcast) if address.broadcast is not None else None,
            "scope": address.scope,
            **dict.fromkeys(address.flags, True),
            "protocol": address.protocol,
            "label": address.label,
            "valid_life_time": FOREVER if address.valid_lft is None else address.valid_lft,
            "preferred_life_time": FOREVER if address.preferred_lft is None else address.preferred_lft,
        }
    )


def _there(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None and value != {}}


def _family(address: Address) -> str:
    return "inet" if isinstance(address.address, IPv4Interface) else "inet6"


# --- the plain forms ----------------------------------------------------------------------------------


def printed(links: Sequence[Link], *, end: str = "\n") -> str:
    """Return the links as `ip -d -s link` or `ip -d -s addr` prints them; `end` is a backslash for -o."""
    return "".join(end.join(_lines(link)) + "\n" for link in links)


def printed_one_addresses(links: Sequence[Link]) -> str:
    """Return the addresses as `ip -o addr` prints them."""
    lines = []
    for link in links:
        for address in link.addresses:
            lines.append(f"{link.ifindex}: {link.ifname}" + "\\".join(_address_lines(address)))
    return "".join(f"{line}\n" for line in lines)


def printed_brief(links: Sequence[Link], *, addresses: bool = False) -> str:
    """Return the links as `ip -br link` prints them, or as `ip -br addr` for `addresses`."""
    brief = _brief_addresses if addresses else _brief
    return "".join(f"{_named(link):16} {link.operstate:14} {brief(link)}\n" for link in links)


def coloured(text: str) -> str:
    """Return plain text as `ip -c` prints it: some words between escape sequences."""
    return re.sub(r"(?m)^([0-9]+: )(\S+: )|(?<=brd )(\S+)", _between_escapes, text)


def _between_escapes(found: re.Match[str]) -> str:
    return (found[1] or "") + f"\x1b[36m{found[2] or found[3]}\x1b[0m"


def _named(link: Link) -> str:
    parent = f"if{link.parent_index}" if link.parent_index is not None else link.parent
    return f"{link.ifname}@{parent}" if parent else link.ifname


def _brief(link: Link) -> str:
    return (f"{link.lladdr} " if link.lladdr else "") + f"<{','.join(link.flags)}> "


def _brief_addresses(link: Link) -> str:
    return "".join(_prefix(address) + _worded({"metric": address.metric}) for address in link.addresses)


def _prefix(address: Address) -> str:
    if address.peer is None:
        return f"{address.address} "
    return f"{address.address.ip} peer {address.peer} "


def _lines(link: Link) -> list[str]:
    header = f"{link.ifindex}: {_named(link)}: <{','.join(link.flags)}> mtu {link.mtu} qdisc {link.qdisc} "
    header += _worded({"master": link.master, "state": link.operstate, "mode": link.linkmode})
    header += _worded({"group": link.group}) + (f"qlen {link.txqlen}" if link.txqlen else "")
    lines = [header, f"    link/{link.link_type} {link.lladdr or ''} brd {link.broadcast}"]
    if link.link_netns is not None:
        lines[-1] += f" link-netns {link.link_netns}"
    elif link.link_netnsid is not None:
        lines[-1] += f" link-netnsid {link.link_netnsid}"
    if link.details:
        _add_details(lines, link)
    if link.alias is not None:
        lines.append(f"    alias {link.alias}")
    for address in link.addresses:
        lines += _address_lines(address)
    if link.stats:
        lines += _statistics(link)
    return [*lines, *(f"    altname {name}" for name in link.altnames)]


def _add_details(lines: list[str], link: Link) -> None:
    first = ("promiscuity", "allmulti", "min_mtu", "max_mtu")
    renamed = {"min_mtu": "minmtu", "max_mtu": "maxmtu", "inet6_addr_gen_mode": "addrgenmode"}
    renamed |= {"num_tx_queues": "numtxqueues"}
    shown = {key: value for key, value in link.details.items() if not key.startswith("info_slave")}
    lines[-1] += " " + _worded({renamed.get(key, key): shown.pop(key, None) for key in first})
    if link.kind:
        words = _KINDS.get(link.kind)
        lines.append(f"    {link.kind} " + (words(link) if words else ""))
    if "info_slave_kind" in link.details:
        lines.append(f"    {link.details['info_slave_kind']}_slave ")
        lines[-1] += _renamed(link.details["info_slave_data"], _PORT_WORDS)
    lines[-1] += _worded({renamed.get(key, key): value for key, value in shown.items()})


def _worded(values: dict[str, Any]) -> str:
    return "".join(f"{word} {value} " for word, value in values.items() if value is not None)


def _renamed(values: Any, words: dict[str, str]) -> str:
    return _worded({words.get(key, key): _value(value) for key, value in values.items()})


def _value(value: object) -> object:
    match value:
        case bool():
            return "on" if value else "off"
        case float():
            return f"{value:7.2f}"
        case _:
            return value


_PORT_WORDS = {"id": "port_id", "bridge_id": "designated_bridge", "multicast_router": "mcast_router"}
_BRIDGE_WORDS = {
    "root_id": "designated_root",
    "group_addr": "group_address",
    "mcast_last_member_cnt": "mcast_last_member_count",
}


def _macvlan(link: Link) -> str:
    switches = "".join(f"{key} " for key, value in link.info_data.items() if value is True)
    rest = _worded({key: value for key, value in link.info_data.items() if value is not True})
    return f"mode {link.mode} {switches}{rest}"


def _vlan(link: Link) -> str:
    data = dict(link.info_data)
    flags = data.pop("flags", None)
    return _worded(data) + (f"<{','.join(flags)}> " if flags is not None else "")


def _ipvlan(link: Link) -> str:
    return f" mode {link.mode} " + (f"{link.flag} " if link.flag else "")


_KINDS: dict[str, Callable[[Link], str]] = {
    "ipvlan": _ipvlan,
    "ipvtap": _ipvlan,
    "macvlan": _macvlan,
    "macvtap": _macvlan,
    "vlan": _vlan,
    "bridge": lambda link: _renamed(link.info_data, _BRIDGE_WORDS),
    "vrf": lambda link: _worded(dict(link.info_data)),
}


def _statistics(link: Link) -> list[str]:
    titles = {"missed_errors": "missed", "multicast": "mcast", "carrier_errors": "carrier"}
    titles |= {"collisions": "collsns"}
    lines = []
    for direction, counters in link.stats.items():
        columns = [titles.get(key, key) for key in counters]
        lines.append(f"    {direction.upper()}:  " + " ".join(f"{column:>7}" for column in columns))
        lines.append("    " + " ".join(f"{count:>7}" for count in counters.values()) + " ")
    return lines


def _address_lines(address: Address) -> list[str]:
    words = {"metric": address.metric, "brd": address.broadcast, "scope": address.scope}
    shown = f"    {_family(address)} {_prefix(address)}{_worded(words)}"
    shown += "".join(f"{flag} " for flag in address.flags) + _worded({"proto": address.protocol})
    lifetimes = f"       valid_lft {_lifetime(address.valid_lft)} preferred_lft "
    return [shown + (address.label or ""), lifetimes + _lifetime(address.preferred_lft)]


def _lifetime(seconds: int | None) -> str:
    return "forever" if seconds is None else f"{seconds}sec"
