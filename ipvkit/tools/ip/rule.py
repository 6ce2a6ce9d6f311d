"""Parser of ``ip rule``: ip-rule(8), ip/iprule.c."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_network
from typing import Any

from ipvkit.core.values import Network
from ipvkit.tools.ip.plain import Form, Line, Words, flags, form, ip, network, number, put, take
from ipvkit.tools.ip.reading import Entry, read


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of the routing policy; `src` and `dst` are None where they match all, `inverted` is ``not``.

    `fwmark` has its mask after a slash. `details` has all else by the keys of ``ip -json``.
    """

    priority: int
    src: Network | None
    dst: Network | None
    inverted: bool
    iif: str | None
    oif: str | None
    fwmark: str | None
    table: str | None
    action: str | None
    goto: int | None
    protocol: str | None
    details: Mapping[str, Any]
    unrecognised: tuple[str, ...]


def parse_rules(stdout: str) -> tuple[Rule, ...]:
    r"""Return the rules that ``ip rule show`` printed, plain or as JSON.

    Raise UnparsableOutput for anything else. A plain line is read up to its first unknown word, and is kept
    whole then.

    >>> parse_rules("1000:\tfrom 192.0.2.0/24 lookup 100\n")[0].table
    '100'
    """
    return tuple(_rule(entry, left) for entry, left in read("ip rule", stdout, _take_line))


def _rule(entry: Entry, unrecognised: list[str]) -> Rule:
    priority = entry.number_or_none("priority")
    if priority is None:
        raise entry.unparsable()
    mark, mask = entry.text_or_none("fwmark"), entry.text_or_none("fwmask")
    # JSON has null for a word without a value.
    rest = {key: True if value is None else value for key, value in entry.rest(_KEYS).items()}
    return Rule(
        priority=priority,
        src=_network(entry, "src"),
        dst=_network(entry, "dst"),
        inverted="not" in entry.value,
        iif=entry.text_or_none("iif"),
        oif=entry.text_or_none("oif"),
        fwmark=mark if mask is None else f"{mark}/{mask}",
        table=entry.text_or_none("table"),
        action=entry.text_or_none("action"),
        goto=entry.number_or_none("goto") if entry.value.get("goto") != "none" else None,
        protocol=entry.text_or_none("protocol"),
        details=rest,
        unrecognised=tuple(unrecognised),
    )


_KEYS = "priority src srclen dst dstlen not iif oif fwmark fwmask table action goto protocol".split()


def _network(entry: Entry, key: str) -> Network | None:
    text, length = entry.text_or_none(key), entry.number_or_none(f"{key}len")
    if text is None or text == "all":
        return None
    try:
        host = ip(text)
        return network((host, host.max_prefixlen if length is None else length))
    except ValueError:
        raise entry.unparsable() from None


def _take_line(line: Line, read: list[dict[str, Any]]) -> None:
    words = Words(line.text)
    read.append({"priority": number(words.match("([0-9]{1,10}):")[1])})
    take(words, _RULE, read[-1])


def _take_prefix(key: str, words: Words, into: dict[str, Any]) -> None:
    word = words.valid(lambda word: word == "all" or ip_network(word))
    host, slash, length = word.partition("/")
    put(into, key, host)
    if slash:
        put(into, f"{key}len", int(length))


def _take_range(key: str, first: str, last: str, words: Words, into: dict[str, Any]) -> None:
    found = words.match("([0-9]{1,10})(?:-([0-9]{1,10}))?")
    put(into, key if found[2] is None else first, int(found[1]))
    if found[2] is not None:
        put(into, last, int(found[2]))


def _take_masked(key: str, mask: str, words: Words, into: dict[str, Any]) -> None:
    found = words.match("(0x[0-9a-f]{1,8})(?:/(0x[0-9a-f]{1,8}))?")
    put(into, key, found[1])
    if found[2] is not None:
        put(into, mask, found[2])


def _take_interface(key: str, words: Words, into: dict[str, Any]) -> None:
    put(into, key, words.word())
    if words.peek() == "[detached]":
        put(into, f"{key}_detached", words.word() != "")


def _take_table(words: Words, into: dict[str, Any]) -> None:
    word = words.word()
    put(into, *(("l3mdev", True) if word == "[l3mdev-table]" else ("table", word)))


def _take_realms(words: Words, into: dict[str, Any]) -> None:
    start, slash, end = words.word().partition("/")
    if slash:
        put(into, "flow_from", start)
    put(into, "flow_to", end if slash else start)


_RULE: Form = {
    "from": partial(_take_prefix, "src"),
    "to": partial(_take_prefix, "dst"),
    "iif": partial(_take_interface, "iif"),
    "oif": partial(_take_interface, "oif"),
    "fwmark": partial(_take_masked, "fwmark", "fwmask"),
    "flowlabel": partial(_take_masked, "flowlabel", "flowlabel_mask"),
    "sport": partial(_take_range, "sport", "sport_start", "sport_end"),
    "dport": partial(_take_range, "dport", "dport_start", "dport_end"),
    "uidrange": partial(_take_range, "uid_start", "uid_start", "uid_end"),
    "lookup": _take_table,
    "realms": _take_realms,
}
_RULE |= form("tos ipproto proto=protocol suppress_ifgroup dscp map-to=nat_gateway", Words.word)
_RULE |= form("suppress_prefixlength=suppress_prefixlen", Words.signed)
_RULE |= form("tun_id goto", Words.number)
_RULE |= flags("not nop masquerade [unresolved]=unresolved")
# A number is an action where `-N` was given.
for _action in ("blackhole", "unreachable", "prohibit", "nat", "6", "7", "8"):
    _RULE |= flags(f"{_action}=action", _action)
