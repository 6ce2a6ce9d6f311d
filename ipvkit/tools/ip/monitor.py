"""Parser of ``ip monitor``: ip-monitor(8), ip/ipmonitor.c, print_timestamp in lib/utils.c."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ipvkit.core.errors import UnparsableOutput
from ipvkit.tools.ip.link import Link, parse_addresses, parse_links
from ipvkit.tools.ip.neigh import STATES, Neighbour, parse_neighbours
from ipvkit.tools.ip.plain import JOINT, without_colours
from ipvkit.tools.ip.route import TYPE, Route, parse_routes
from ipvkit.tools.ip.rule import Rule, parse_rules


@dataclass(frozen=True, slots=True)
class Change:
    """One change; `object` is link, addr, route, neigh, rule, nexthop, netconf, nsid or prefix, or unknown.

    `entry` is what it is now, or was if it is `deleted`; None where there is no parser for it. `text` has
    what was printed, without time, namespace and label. `time` is that of ``-t`` or ``-ts``, in ISO 8601, in
    the time zone of ``ip``. `nsid` is that of ``all-nsid``: current, or the id of another namespace.
    """

    object: str | None
    deleted: bool
    time: str | None
    nsid: str | None
    entry: Link | Route | Neighbour | Rule | None
    text: str
    unrecognised: tuple[str, ...]


def parse_monitor(stdout: str) -> tuple[Change, ...]:
    """Return the changes that ``ip monitor`` printed; raise UnparsableOutput where the first one is unknown.

    >>> [change] = parse_monitor("[NEIGH]Deleted 192.0.2.9 dev eth0 FAILED")
    >>> change.object, change.deleted, str(change.entry.dst)
    ('neigh', True, '192.0.2.9')
    """
    return tuple(read_monitor(re.findall(r"[^\n]*\n|[^\n]+", stdout)))


def read_monitor(lines: Iterable[str]) -> Iterator[Change]:
    """Yield each change as soon as no further line can be of it; raise as `parse_monitor` does."""
    time: str | None = None
    entry: list[str] = []
    known = False
    for number, raw in enumerate(_with_end(lines), 1):
        line = without_colours(raw)
        text = line.rstrip()
        if entry and not line[:1].isspace():
            yield _change(entry, time)
            time, entry = None, []
        if timestamp := _TIMESTAMP.fullmatch(text):
            time = _iso(timestamp)
        elif entry and text:
            entry.append(text)
        elif text:
            what = _head(text)[1]
            if what is None and not known:
                raise UnparsableOutput("ip monitor", number, text)
            known = True
            entry = [text]
            if raw.endswith("\n") and (what in _OF_ONE_LINE or JOINT.search(text)):
                yield _change(entry, time)
                time, entry = None, []


def _with_end(lines: Iterable[str]) -> Iterator[str]:
    """Yield `lines`, and an empty one that ends the last entry."""
    yield from lines
    yield ""


_PARSERS: dict[str | None, Callable[[str], Sequence[Any]]] = {
    "link": parse_links,
    "addr": parse_addresses,
    "route": parse_routes,
    "neigh": parse_neighbours,
    "rule": parse_rules,
}
_OF_ONE_LINE = ("neigh", "rule", "netconf", "nexthop", "nsid", "prefix")
_TIMESTAMP = re.compile(
    r"Timestamp: [A-Z][a-z]{2} ([A-Z][a-z]{2}) {1,2}([0-9]{1,2}) ([0-9:]{8}) ([0-9]{4}) ([0-9]{1,6}) usec"
)
_MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
_HEAD = re.compile(
    r"(?:\[(?P<time>[0-9T:.-]{19,32})\] )?(?:\[nsid (?P<nsid>[0-9a-z]{1,10})\])?(?:\[(?P<label>[A-Z]+)\])?"
    r"(?P<deleted>Deleted )?(?P<rest>.*)"
)
_FORMS = {
    "link": r"[0-9]+: [^\s:]+: <",
    "addr": r"[0-9]+: [^\s:]+ +inet6? ",
    "rule": r"[0-9]+:\t",
    "netconf": r"(inet6?|mpls|all) [^\s/]+( |$)",
    "nexthop": r"id [0-9]+ ",
    "nsid": r"nsid [0-9]+",
    "prefix": r"prefix ",
    "neigh": rf"(\S+ )?dev \S+ .*\b({'|'.join(STATES)})\b",
    "route": rf"(({TYPE}) )?(default|[0-9a-f.:]+(/[0-9]+)?)( |$)",
}
"""How an entry of each kind begins where it has no label."""


def _iso(found: re.Match[str]) -> str | None:
    month, day, time, year, usec = found.groups()
    at = _MONTHS.index(month) + 1 if month in _MONTHS else 0
    return f"{year}-{at:02}-{int(day):02}T{time}.{int(usec):06}" if at else None


def _head(text: str) -> tuple[re.Match[str], str | None]:
    """Return the parts of the first line of an entry, and what it is."""
    found = _HEAD.fullmatch(text)
    if found is None:
        raise UnparsableOutput("ip monitor", 1, text)
    if found["label"]:
        return found, found["label"].lower() if found["label"].lower() in _FORMS else None
    return found, next((what for what, form in _FORMS.items() if re.match(form, found["rest"])), None)


def _change(lines: Sequence[str], time: str | None) -> Change:
    head, what = _head(lines[0])
    text = "\n".join((head["rest"], *lines[1:]))
    entry, unrecognised = None, lines if what is None else ()
    # What a bridge has learned is labelled as a neighbour, and has no address.
    if what in _PARSERS and not (what == "neigh" and text.startswith("dev ")):
        try:
            [entry] = _PARSERS[what](f"{text}\n")
        except (UnparsableOutput, ValueError):
            unrecognised = lines
    return Change(
        what, bool(head["deleted"]), head["time"] or time, head["nsid"], entry, text, tuple(unrecognised)
    )
