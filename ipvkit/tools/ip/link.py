"""Parser of ``ip link`` and ``ip addr``: ip-link(8), ip-address(8)."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface
from typing import Any, get_args

from ipvkit.core.values import Flag, InterfaceAddress
from ipvkit.tools.ip import listing
from ipvkit.tools.ip.plain import FAMILIES, interface, ip, is_json
from ipvkit.tools.ip.reading import Entry


@dataclass(frozen=True, slots=True)
class Address:
    """An `address` with its prefix length, or a host's where the `peer` has the prefix length.

    `valid_lft` and `preferred_lft` are seconds; they are None where the address lasts forever, and where
    none is printed. `flags` are the words without a value: dynamic, secondary, tentative.
    """

    address: InterfaceAddress
    peer: InterfaceAddress | None = None
    broadcast: IPv4Address | None = None
    scope: str | None = None
    label: str | None = None
    flags: tuple[str, ...] = ()
    valid_lft: int | None = None
    preferred_lft: int | None = None
    metric: int | None = None
    protocol: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Link:
    """A link; what is not printed of it is None or empty.

    `parent` is the link below it, or the other end of a veth; `parent_index` is its number where it has no
    name in this namespace, in the namespace `link_netns` or `link_netnsid`. `mode` and `flag` are those of
    ipvlan, ipvtap, macvlan and macvtap. `info_data`, `stats` ("rx" and "tx") and `details` have iproute2's
    keys.
    """

    ifname: str
    ifindex: int | None = None
    parent: str | None = None
    parent_index: int | None = None
    link_netns: str | None = None
    link_netnsid: int | None = None
    flags: tuple[str, ...] = ()
    mtu: int | None = None
    qdisc: str | None = None
    master: str | None = None
    operstate: str | None = None
    linkmode: str | None = None
    group: str | None = None
    txqlen: int | None = None
    link_type: str | None = None
    lladdr: str | None = None
    broadcast: str | None = None
    altnames: tuple[str, ...] = ()
    alias: str | None = None
    kind: str | None = None
    mode: str | None = None
    flag: str | None = None
    info_data: Mapping[str, Any] = field(default_factory=dict)
    stats: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    addresses: tuple[Address, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)
    unrecognised: tuple[str, ...] = ()

    @property
    def up(self) -> bool:
        """Whether the link is administratively up."""
        return "UP" in self.flags

    @property
    def ipv4(self) -> tuple[IPv4Interface, ...]:
        """The IPv4 addresses."""
        found = (address.address for address in self.addresses)
        return tuple(address for address in found if isinstance(address, IPv4Interface))


_IPVLAN = ("mode", *get_args(Flag))
_OWN = {"ipvlan": _IPVLAN, "ipvtap": _IPVLAN, "macvlan": ("mode",), "macvtap": ("mode",)}
"""The keys of `info_data` that are `mode` and `flag`, by kind."""

# stats644 is what iproute2 4.16 called stats64.
_STATS = ("stats64", "stats644", "stats")
_TEXTS = ("link_netns", "qdisc", "master", "operstate", "linkmode", "group", "link_type", "broadcast")
_NUMBERS = ("ifindex", "link_netnsid", "mtu", "txqlen")
_OTHERS = "ifname link link_index flags address altnames ifalias linkinfo addr_info"
_KEYS = frozenset((*_TEXTS, *_NUMBERS, *_STATS, *_OTHERS.split()))
_ADDR_KEYS = frozenset(
    (
        *("family", "local", "address", "prefixlen", "broadcast", "scope", "label", "metric", "protocol"),
        *("valid_life_time", "preferred_life_time", "index", "dev"),
    )
)


def parse_links(stdout: str) -> tuple[Link, ...]:
    """Return the links that ``ip link`` printed in any of its forms; raise UnparsableOutput for all else.

    A last line without its newline counts; where it was cut, its last word may be part of a longer one.

    >>> [link] = parse_links('''4: test1@eth0: <BROADCAST,MULTICAST> mtu 1500 qdisc noop state DOWN
    ...     link/ether 02:00:00:00:00:01 brd ff:ff:ff:ff:ff:ff promiscuity 0
    ...     ipvlan  mode l2 bridge numtxqueues 1
    ... ''')
    >>> link.ifname, link.parent, link.kind, link.mode, link.flag, link.up
    ('test1', 'eth0', 'ipvlan', 'l2', 'bridge', False)
    """
    return _parse("ip link", stdout)


def parse_addresses(stdout: str) -> tuple[Link, ...]:
    """Return the links that ``ip addr`` printed in any of its forms, each with its addresses.

    Where the links are not printed (``ip addr show label``) their addresses are those of one link named "".
    Raise UnparsableOutput for all else. A last line without its newline counts as in `parse_links`.

    >>> [link] = parse_addresses('''3: eth0    inet 192.0.2.1/24 scope global eth0
    ... ''')
    >>> str(link.addresses[0].address)
    '192.0.2.1/24'
    """
    return _parse("ip addr", stdout)


def _parse(tool: str, stdout: str) -> tuple[Link, ...]:
    if is_json(stdout):
        shown: list[tuple[Entry, list[str]]] = [(entry, []) for entry in _named(Entry.all(tool, stdout))]
    else:
        shown = listing.read(tool, stdout)
    names = {entry.text_or_none("ifname") for entry, _ in shown}
    return tuple(_link(entry, names, unrecognised) for entry, unrecognised in shown)


def _named(entries: Sequence[Entry]) -> list[Entry]:
    """Return the entries, each with its link's name; those of which a filter left nothing are left out."""
    found = []
    nameless: Entry | None = None
    for entry in entries:
        infos = [info.value for info in entry.inners("addr_info")]
        if entry.value.keys() != {"addr_info"}:
            found.append(entry)
        elif infos and "dev" in infos[0]:
            # What `-o` and `-json` print together.
            own = {"ifname": infos[0]["dev"], "ifindex": infos[0].get("index")}
            found.append(Entry(entry.tool, {**own, "addr_info": infos}))
        elif infos and nameless is not None:
            nameless.value["addr_info"] += infos
        elif infos:
            nameless = Entry(entry.tool, {"ifname": "", "addr_info": infos})
            found.append(nameless)
    return found


def _link(entry: Entry, names: set[str | None], unrecognised: Sequence[str]) -> Link:
    info = entry.inner("linkinfo")
    data = info.inner("info_data")
    kind = info.text_or_none("info_kind")
    own = _OWN.get(kind or "", ())
    parent, parent_index = _parent(entry, names)
    infos = [(info, info.text_or_none("family") in (None, *FAMILIES)) for info in entry.inners("addr_info")]
    stats = entry.inner(next((key for key in _STATS if key in entry.value), _STATS[0]))
    texts: dict[str, Any] = {key: entry.text_or_none(key) for key in _TEXTS}
    numbers: dict[str, Any] = {key: entry.number_or_none(key) for key in _NUMBERS}
    return Link(
        ifname=entry.text("ifname"),
        **texts,
        **numbers,
        parent=parent,
        parent_index=parent_index,
        flags=entry.texts("flags"),
        lladdr=entry.text_or_none("address"),
        altnames=entry.texts("altnames"),
        alias=entry.text_or_none("ifalias"),
        kind=kind,
        mode=data.text_or_none("mode") if own else None,
        flag=next((flag for flag in own[1:] if data.value.get(flag) is True), None),
        # iproute2 has null for these two, which are there or not.
        info_data={**data.rest(own), **{key: True for key in ("gbp", "gpe") if key in data.value}},
        stats={direction: stats.numbers(direction) for direction in stats.value},
        addresses=tuple(_address(info) for info, is_ip in infos if is_ip),
        details={**entry.rest(_KEYS), **info.rest(("info_kind", "info_data"))},
        # An address of another family than IP, as it was printed.
        unrecognised=(*unrecognised, *(json.dumps(info.value) for info, is_ip in infos if not is_ip)),
    )


def _parent(entry: Entry, names: set[str | None]) -> tuple[str | None, int | None]:
    """Return the parent's name, or its index where it has none here: `if5` is what iproute2 prints then."""
    name, index = entry.text_or_none("link"), entry.number_or_none("link_index")
    found = re.fullmatch("if([0-9]{1,12})", name or "")
    if found is not None and name not in names:
        return None, int(found[1])
    return name, index


def _address(info: Entry) -> Address:
    peer, broadcast = info.text_or_none("address"), info.text_or_none("broadcast")
    length = info.number_or_none("prefixlen")
    try:
        if length is None:
            raise info.unparsable()
        local = ip(info.text("local"), info.text_or_none("family"))
        return Address(
            address=interface((local, length) if peer is None else local),
            peer=None if peer is None else interface((ip(peer), length)),
            broadcast=None if broadcast is None else IPv4Address(broadcast),
            scope=info.text_or_none("scope"),
            label=info.text_or_none("label"),
            flags=tuple(key for key, value in info.value.items() if value is True and key not in _ADDR_KEYS),
            valid_lft=_lifetime(info, "valid_life_time"),
            preferred_lft=_lifetime(info, "preferred_life_time"),
            metric=info.number_or_none("metric"),
            protocol=info.text_or_none("protocol"),
            details={key: value for key, value in info.rest(_ADDR_KEYS).items() if value is not True},
        )
    except ValueError:
        raise info.unparsable() from None


def _lifetime(info: Entry, key: str) -> int | None:
    seconds = info.number_or_none(key)
    return None if seconds == listing.FOREVER else seconds
