"""How the output of each kind of command is read and shown."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal

from ipvkit.report.plain import Output, json_line, plain

Kind = Literal["ping", "fping", "arping", "link", "addr", "route", "rule", "neigh", "netns", "fdb", "monitor"]


def reader_of(
    kind: Kind,
) -> tuple[Output[Any], Callable[[str], Any], Callable[[Iterable[str]], Iterator[Any]]]:
    """Return how output of `kind` is shown, read as a whole, and read as a stream; load no other parser."""
    if kind == "ping":
        from ipvkit.report.ping import PING
        from ipvkit.tools import ping

        return PING, ping.parse_ping, ping.read_ping
    if kind == "arping":
        from ipvkit.report.arping import ARPING
        from ipvkit.tools import arping

        return ARPING, arping.parse_arping, arping.read_arping
    if kind == "fping":
        from ipvkit.report.fping import FPING, hosts
        from ipvkit.tools.fping import parse_fping

        return FPING, parse_fping, hosts
    if kind == "fdb":
        from ipvkit.report.bridge import FDB
        from ipvkit.tools.bridge import parse_fdb
        from ipvkit.tools.ip import read_outputs

        return FDB, parse_fdb, lambda lines: read_outputs(lines, parse_fdb)
    from ipvkit.report import ip as report
    from ipvkit.tools import ip

    if kind == "monitor":
        return report.MONITOR, ip.parse_monitor, ip.read_monitor
    readers: dict[Kind, tuple[Output[Any], Callable[[str], tuple[Any, ...]]]] = {
        "link": (report.LINK, lambda text: tuple(report.LinkIn(None, x) for x in ip.parse_links(text))),
        "addr": (report.ADDR, ip.parse_addresses),
        "route": (report.ROUTE, ip.parse_routes),
        "rule": (report.RULE, ip.parse_rules),
        "neigh": (report.NEIGH, ip.parse_neighbours),
        "netns": (report.NETNS, ip.parse_netns),
    }
    output, whole = readers[kind]
    return output, whole, lambda lines: ip.read_outputs(lines, whole)


def is_complete(kind: Kind, last: str) -> bool:
    """Return whether the `last` line of an output is as it was printed; the others mark their end."""
    if kind in ("ping", "fping", "arping"):
        return True
    from ipvkit.tools import ip

    return ip.is_complete(last)


def has_unrecognised(found: Any) -> bool:  # noqa: ANN401
    """Return whether a line of what was `found` is not understood."""
    if isinstance(found, list | tuple):
        return any(map(has_unrecognised, found))
    if type(found).__name__ == "Unrecognised" or getattr(found, "unrecognised", None):
        return True
    return hasattr(found, "entry") and has_unrecognised(found.entry)


def event_line(kind: str, value: object) -> str:
    """Return the JSON line of one event in the output of a tool of that `kind`."""
    fields, event = plain(value), kind
    if kind == "link":
        fields = {"netns": fields["netns"], **fields["link"]}
    elif kind in ("ping", "fping", "arping", "monitor"):
        name = type(value).__name__
        event = _EVENTS.get(name, name.lower())
    return json_line("event", tool=kind, event=event, **fields)


_EVENTS = {"ArpReply": "reply", "PingError": "error", "ArpingError": "error", "NoAnswer": "no_answer"}
"""The names in JSON of the parsers' types that are not just the type's."""
