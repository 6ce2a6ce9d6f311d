"""An address of a link, as ``ip addr`` shows it: ip/ipaddress.c, print_addrinfo."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_interface
from typing import Any

from ipvkit.core.values import InterfaceAddress
from ipvkit.tools.ip.plain import NotUnderstood, Words, flags, form, number, take, take_known
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


_FOREVER = 2**32 - 1
_FAMILIES = {"inet": IPv4Address, "inet6": IPv6Address}
_KEYS = (
    *("family", "local", "address", "prefixlen", "broadcast", "scope", "label", "metric", "protocol"),
    *("valid_life_time", "preferred_life_time", "index", "dev"),
)


def addresses(link: Entry) -> tuple[tuple[Address, ...], tuple[str, ...]]:
    """Return the addresses of `link`, and those that are of another family than IP, as they were printed."""
    found, others = [], []
    for info in link.inners("addr_info"):
        if info.text_or_none("family") in (None, *_FAMILIES):
            found.append(_address(info))
        else:
            others.append(json.dumps(info.value))
    return tuple(found), tuple(others)


def _address(info: Entry) -> Address:
    peer, broadcast = info.text_or_none("address"), info.text_or_none("broadcast")
    length = info.number_or_none("prefixlen")
    try:
        if length is None:
            raise info.unparsable()
        local = ip(info.text("local"), info.text_or_none("family"))
        return Address(
            address=ip_interface((local, length) if peer is None else local),
            peer=None if peer is None else ip_interface((ip(peer), length)),
            broadcast=None if broadcast is None else IPv4Address(broadcast),
            scope=info.text_or_none("scope"),
            label=info.text_or_none("label"),
            flags=tuple(key for key, value in info.value.items() if value is True and key not in _KEYS),
            valid_lft=_lifetime(info, "valid_life_time"),
            preferred_lft=_lifetime(info, "preferred_life_time"),
            metric=info.number_or_none("metric"),
            protocol=info.text_or_none("protocol"),
            details={key: value for key, value in info.rest(*_KEYS).items() if value is not True},
        )
    except ValueError:
        raise info.unparsable() from None


def ip(text: str, family: str | None = None) -> IPv4Address | IPv6Address:
    """Return the address that `text` is; raise ValueError where it is none, or one of another family."""
    found = ip_address(text)
    if "%" in text or (family is not None and not isinstance(found, _FAMILIES[family])):
        raise ValueError(text)
    return found


def _lifetime(info: Entry, key: str) -> int | None:
    seconds = info.number_or_none(key)
    return None if seconds == _FOREVER else seconds


# --- the plain forms ----------------------------------------------------------------------------------

_SECONDS = re.compile(r"(-?[0-9]{1,12})sec|forever")
_METRIC = form("metric", Words.number)
_ATTRIBUTES = (
    _METRIC
    | form("brd=broadcast", lambda words: words.valid(lambda word: ip(word, "inet")))
    | form("any=anycast", lambda words: words.valid(ip))
    | form("scope proto=protocol flags=ifa_flags", Words.word)
    | flags("secondary temporary nodad optimistic dadfailed home deprecated tentative permanent dynamic")
    | flags("mngtmpaddr noprefixroute autojoin stable-privacy")
)


def take_address(words: Words, ifname: str, into: dict[str, Any], *, ended: bool) -> None:
    """Put ``inet …``, the address of a line, `into` its object; raise NotUnderstood after what is known."""
    family = words.word()
    # The label is the only word that nothing announces: it is the last one, and any word can be a name.
    is_label = words.peek_last() == ifname or words.peek_last().startswith(f"{ifname}:")
    label = words.take_last() if family == "inet" and is_label else ""
    _take_prefix(words, into, family)
    take_known(words, _ATTRIBUTES, into)
    # Where the output stops, such a word can be any other that was cut.
    if words and family == "inet" and not label and ended:
        label = words.word()
    if words:
        raise NotUnderstood
    if label:
        into["label"] = label


def take_brief(words: Words) -> dict[str, Any]:
    """Take one of the addresses that ``ip -brief addr`` has on a line."""
    into: dict[str, Any] = {}
    _take_prefix(words, into)
    take_known(words, _METRIC, into)
    return into


def take_lifetimes(words: Words, into: dict[str, Any]) -> None:
    """Put both lifetimes `into` the address; raise NotUnderstood, and put none, where one is unknown."""
    found: dict[str, Any] = {}
    take(words, _LIFETIMES, found)
    if len(found) != len(_LIFETIMES) or found.keys() & into.keys():
        raise NotUnderstood
    into.update(found)


def _take_prefix(words: Words, into: dict[str, Any], family: str | None = None) -> None:
    """Take ``A/24`` or ``A peer B/24``."""
    local, slash, length = words.word().partition("/")
    peer = ""
    if not slash and words.peek() == "peer":
        words.word()
        peer, _, length = words.word().partition("/")
    prefixlen = number(length, digits=3)
    try:
        ip(local, family)
        ip_interface((ip(peer or local, family), prefixlen))
    except ValueError:
        raise NotUnderstood from None
    ends = {"local": local, "address": peer} if peer else {"local": local}
    into |= {**({"family": family} if family else {}), **ends, "prefixlen": prefixlen}


def _seconds(words: Words) -> int:
    found = words.match(_SECONDS)
    return int(found[1]) if found[1] else _FOREVER


_LIFETIMES = form("valid_lft=valid_life_time preferred_lft=preferred_life_time", _seconds)
