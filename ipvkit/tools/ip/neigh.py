"""Parser of ``ip neigh``: ip-neighbour(8), ip/ipneigh.c."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from ipvkit.core.values import Address
from ipvkit.tools.ip.plain import Line, NotUnderstood, Words, collected, flags, form, number, put, take
from ipvkit.tools.ip.reading import Entry, read


@dataclass(frozen=True, slots=True)
class Neighbour:
    """One neighbour; `dev` is None where `ip` was asked for one device, `states` are empty with -br.

    `details` has all else by the keys of ``ip -json``: used, confirmed and updated are seconds ago.
    """

    dst: Address
    dev: str | None
    lladdr: str | None
    states: tuple[str, ...]
    flags: tuple[str, ...]
    details: Mapping[str, Any]
    unrecognised: tuple[str, ...]


def parse_neighbours(stdout: str) -> tuple[Neighbour, ...]:
    """Return the neighbours that ``ip neigh show`` or ``get`` printed, plain, in columns or as JSON.

    Raise UnparsableOutput for anything else. A plain line is read up to its first unknown word,
    and is kept whole then; the last one counts without its newline, as in an output that was stripped.

    >>> parse_neighbours("192.0.2.1 dev eth0 lladdr 02:00:00:00:00:01 STALE")[0].states
    ('STALE',)
    """
    return tuple(_neighbour(entry, left) for entry, left in read("ip neigh", stdout, _take_line))


def _neighbour(entry: Entry, unrecognised: Iterable[str]) -> Neighbour:
    dst = entry.address_or_none("dst")
    if dst is None:
        raise entry.unparsable()
    return Neighbour(
        dst=dst,
        dev=entry.text_or_none("dev"),
        lladdr=entry.text_or_none("lladdr"),
        states=entry.texts("state"),
        flags=tuple(flag for flag in _FLAGS if flag in entry.value),
        details=entry.rest(("dst", "dev", "lladdr", "state", *_FLAGS)),
        unrecognised=tuple(unrecognised),
    )


def _take_line(line: Line, read: list[dict[str, Any]]) -> None:
    # `used 4/64/1probes 3`: ip 6.15 leaves out the blank.
    text = re.sub("(/[0-9]{1,12})probes ", r"\1 probes ", line.text.lstrip(" \t"))
    words = Words(text)
    read.append({"dst": words.valid(ip_address)})
    if not _is_brief(text, words.peek()):
        take(words, _NEIGHBOUR, read[-1])
        return
    # A device's name has no colon (dev_valid_name, net/core/dev.c).
    if ":" not in words.peek():
        read[-1]["dev"] = words.word()
    if words:
        read[-1]["lladdr"] = _lladdr(words)
    if words:
        raise NotUnderstood


_LLADDR = re.compile(r"[0-9a-f]{2}(?::[0-9a-f]{2}){0,31}")


def _is_brief(text: str, second: str) -> bool:
    """Return whether these are the columns of ``-br``, of which the first has 39 characters and a blank."""
    alone = len(text) > 40 and " " not in text[:40].rstrip(" ")
    return alone and (text[37] == " " or second not in _NEIGHBOUR)


def _lladdr(words: Words) -> str:
    """Return a link-layer address; that of a tunnel is an IP address (lib/ll_addr.c)."""
    return words.word() if _LLADDR.fullmatch(words.peek()) else words.valid(ip_address)


def _used(words: Words, into: dict[str, Any]) -> None:
    times = words.word().split("/")
    if len(times) != 3:
        raise NotUnderstood
    for key, time in zip(("used", "confirmed", "updated"), times, strict=True):
        put(into, key, number(time))


_FLAGS = "router proxy extern_learn extern_valid offload managed".split()
STATES = "INCOMPLETE REACHABLE STALE DELAY PROBE FAILED NOARP PERMANENT".split()
_NEIGHBOUR = (
    form("dev proto=protocol", Words.word)
    | form("lladdr", _lladdr)
    | form("ref=refcnt probes", Words.number)
    | flags(" ".join(_FLAGS), None)
    | {"used": _used}
    | collected("state", STATES)
)
