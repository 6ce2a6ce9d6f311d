"""What the tools printed, as a table that a person reads and as one JSON document."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, Generic, NamedTuple, TypeVar

from tabulate import tabulate

from ipvkit.command import Command, Completed
from ipvkit.report.json import plain
from ipvkit.tools import arping, ping
from ipvkit.tools.arping import ArpingReport
from ipvkit.tools.ip import Link, Neighbour, Netns, Route
from ipvkit.tools.ping import PingReport

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Output(Generic[T]):
    """How the outputs of one kind are shown: its `schema`, and what makes a table and a document."""

    schema: str
    table: Callable[[T], str]
    fields: Callable[[T], dict[str, Any]]

    def document(self, found: T) -> str:
        """Return the JSON document of what was `found`."""
        return json.dumps({"schema": self.schema, **self.fields(found)}, indent=2) + "\n"


def command_document(command: Command, completed: Completed) -> str:
    """Return the JSON document of a command that was executed."""
    document = {
        "schema": "ipvkit/command/v1",
        "command": str(command),
        "argv": list(command.argv),
        "exit_code": completed.exit_code,
        "duration_s": round(completed.duration_s, 6),
        "stdout": completed.stdout,
        "stderr": completed.stderr,
    }
    return json.dumps(document, indent=2) + "\n"


class LinkIn(NamedTuple):
    """A link and the namespace that it is in; None where that is not known or has no name."""

    netns: str | None
    link: Link


def event(kind: str, value: object) -> str:
    """Return the JSON line of one thing in the output of a tool of that `kind`, as it arrived."""
    name = _EVENTS.get(type(value), kind)
    fields = {"netns": value.netns, **plain(value.link)} if isinstance(value, LinkIn) else plain(value)
    return json.dumps({"schema": "ipvkit/event/v1", "tool": kind, "event": name, **fields}) + "\n"


_EVENTS: dict[type, str] = {
    **dict.fromkeys((ping.Header, arping.Header), "header"),
    **dict.fromkeys((ping.Reply, arping.ArpReply), "reply"),
    **dict.fromkeys((ping.PingError, arping.ArpingError), "error"),
    **dict.fromkeys((ping.NoAnswer, arping.NoAnswer), "no_answer"),
    **dict.fromkeys((ping.Note, arping.Note), "note"),
    **dict.fromkeys((ping.Unrecognised, arping.Unrecognised), "unrecognised"),
    **dict.fromkeys((ping.Summary, arping.Summary), "summary"),
    **dict.fromkeys((ping.Times, arping.Times), "times"),
}


# --- tables ---------------------------------------------------------------------------------------------


def _columns(rows: Sequence[Sequence[object]], headers: Sequence[str], needed: int = 1) -> str:
    """Return a table without the columns that are empty, but for the first `needed`."""
    texts = [["" if cell is None else _shown(str(cell)) for cell in row] for row in rows]
    kept = [i for i in range(len(headers)) if i < needed or any(row[i] for row in texts)]
    table = [[row[i] for i in kept] for row in texts]
    return tabulate(table, [headers[i] for i in kept], disable_numparse=True) + "\n"


def _shown(text: str) -> str:
    """Return `text` so that nothing in it, which others may have sent, can act on a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _words(values: Iterable[object]) -> str:
    return " ".join(str(value) for value in values)


def with_parents(links: Sequence[LinkIn]) -> tuple[LinkIn, ...]:
    """Return `links` with the parents' names for those ipvlan links whose parent is in the host's namespace.

    A namespace tells the number of a parent elsewhere, not its name; an ipvlan link shares its MAC address.
    """
    names = {(link.ifindex, link.lladdr): link.ifname for netns, link in links if netns is None}

    def named(netns: str | None, link: Link) -> LinkIn:
        if link.kind not in ("ipvlan", "ipvtap") or link.parent is not None:
            return LinkIn(netns, link)
        return LinkIn(netns, replace(link, parent=names.get((link.parent_index, link.lladdr))))

    return tuple(named(netns, link) for netns, link in links)


def _links(links: Sequence[LinkIn]) -> str:
    headers = ("netns", "dev", "type", "parent", "mode", "flag", "state", "mtu", "lladdr", "addresses")
    rows = [
        (
            netns,
            link.ifname,
            link.kind or link.link_type,
            _parent(link),
            link.mode,
            link.flag,
            link.operstate,
            link.mtu,
            link.lladdr,
            # Each link has one of these; `addr list` shows them.
            ", ".join(str(a.address) for a in link.addresses if not a.address.is_link_local),
        )
        for netns, link in links
    ]
    table = _columns(rows, headers, needed=0) if rows else "no links\n"
    return table + _not_understood(line for _, link in links for line in link.unrecognised)


def _parent(link: Link) -> str | None:
    if link.parent is not None:
        name = link.parent
    elif link.parent_index is not None:
        name = f"if{link.parent_index}"
    else:
        return None
    return f"{name} in {link.link_netns}" if link.link_netns is not None else name


def _addresses(links: Sequence[Link]) -> str:
    headers = ("dev", "address", "peer", "scope", "flags", "valid for")
    rows = [
        (
            link.ifname,
            address.address,
            address.peer,
            address.scope,
            _words(address.flags),
            None if address.valid_lft is None else f"{address.valid_lft} s",
        )
        for link in links
        for address in link.addresses
    ]
    table = _columns(rows, headers, needed=2) if rows else "no addresses\n"
    return table + _not_understood(line for link in links for line in link.unrecognised)


def _routes(routes: Sequence[Route]) -> str:
    headers = ("destination", "type", "via", "dev", "src", "metric", "scope", "protocol", "flags")
    rows: list[Sequence[object]] = []
    for route in routes:
        kind = None if route.type == "unicast" else route.type
        rows.append(
            (
                route.dst,
                kind,
                route.via,
                route.dev,
                route.src,
                route.metric,
                route.scope,
                route.protocol,
                _words(route.flags),
            )
        )
        rows += [("", None, hop.via, hop.dev, *[None] * 4, _words(hop.flags)) for hop in route.nexthops]
    table = _columns(rows, headers) if rows else "no routes\n"
    return table + _not_understood(line for route in routes for line in route.unrecognised)


def _neighbours(neighbours: Sequence[Neighbour]) -> str:
    headers = ("address", "dev", "lladdr", "state", "flags")
    # The kernel lists them in the order of its hashes.
    found = sorted(neighbours, key=lambda n: (n.dev or "", n.dst.version, int(n.dst)))
    rows = [(n.dst, n.dev, n.lladdr, _words(n.states), _words(n.flags)) for n in found]
    table = _columns(rows, headers) if rows else "no neighbours\n"
    return table + _not_understood(line for n in neighbours for line in n.unrecognised)


def _namespaces(namespaces: Sequence[Netns]) -> str:
    rows = [(netns.name, netns.id) for netns in sorted(namespaces, key=lambda netns: netns.name)]
    return _columns(rows, ("netns", "id")) if rows else "no network namespaces\n"


def _ping(report: PingReport) -> str:
    said: list[Sequence[object]] = []
    by_answer = groupby(sorted(report.replies, key=_answer), _answer)
    for (source, ttl), replies in by_answer:
        seqs = [reply.seq for reply in replies]
        said.append((source, f"reply, ttl {ttl}" if ttl else "reply", len(seqs), _ranges(seqs)))
    for (source, message), errors in groupby(sorted(report.errors, key=_complaint), _complaint):
        found = list(errors)
        said.append((source, message, len(found), _ranges([e.seq for e in found if e.seq is not None])))
    if report.no_answers:
        seqs = [missing.seq for missing in report.no_answers]
        said.append(("", "no answer yet", len(seqs), _ranges(seqs)))
    table = _columns(said, ("from", "said", "times", "icmp_seq")) + "\n" if said else ""
    return table + _shown(_ping_line(report)) + "\n" + _not_understood(report.unrecognised)


def _answer(reply: ping.Reply) -> tuple[str, int]:
    source = str(reply.source or reply.name)
    return (f"{reply.name} ({source})" if reply.name and reply.source else source, reply.ttl or 0)


def _complaint(error: ping.PingError) -> tuple[str, str]:
    return (str(error.source or error.name or "ping itself"), error.message)


def _ping_line(report: PingReport) -> str:
    what = f"ping {report.destination}" if report.destination else "ping"
    if not report.complete:
        got = f": cut off after {len(report.replies)} replies" if report.destination else ": it never began"
        return what + got
    parts = [f"{report.transmitted} transmitted", f"{report.received} received"]
    for count, name in (
        (report.duplicates, "duplicates"),
        (report.corrupted, "corrupted"),
        (report.error_count, "errors"),
    ):
        parts += [f"{count} {name}"] if count else []
    parts += [f"{report.loss_percent:g} % lost"] if report.loss_percent is not None else []
    line = f"{what}: {', '.join(parts)}"
    rtt = report.rtt_ms
    return f"{line}; rtt {rtt.min:g}/{rtt.avg:g}/{rtt.max:g} ms (min/avg/max)" if rtt is not None else line


def _ranges(numbers: Iterable[int]) -> str:
    """Return numbers as a person writes them.

    >>> _ranges([1, 2, 3, 5, 8, 9])
    '1-3 5 8-9'
    """
    found: list[list[int]] = []
    for number in sorted(set(numbers)):
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return " ".join(str(first) if first == last else f"{first}-{last}" for first, last in found)


def _arping(report: ArpingReport) -> str:
    rows = []
    for lladdr in report.lladdrs:
        replies = [reply for reply in report.replies if reply.lladdr == lladdr]
        times = [reply.time_ms for reply in replies if reply.time_ms is not None]
        fastest = f"{min(times):.3f}" if times else None
        rows.append((replies[0].source, lladdr, len(replies), fastest))
    parts = [_columns(rows, ("address", "lladdr", "replies", "fastest ms")) + "\n"] if rows else []
    if len(rows) > 1:
        parts.append(f"{len(rows)} hosts have this address\n")
    parts += [f"{_shown(error)}\n" for error in report.errors]
    what = _shown(f"arping {report.destination}") if report.destination else "arping"
    if report.complete and report.transmitted is None:
        # Habets' -D prints marks and no counts.
        parts.append(f"{what}: {len(report.replies)} answers, {report.no_answers} times none\n")
    elif report.complete:
        parts.append(f"{what}: {report.transmitted} sent, {report.received} received\n")
    else:
        parts.append(f"{what}: cut off after {len(report.replies)} replies\n")
    return "".join(parts) + _not_understood(report.unrecognised)


def _not_understood(lines: Iterable[str]) -> str:
    return "".join(f"not understood: {_shown(line)}\n" for line in lines)


# --- one for each kind of output ------------------------------------------------------------------------


def _listed(key: str) -> Callable[[Any], dict[str, Any]]:
    return lambda found: {key: plain(found)}


PING: Output[PingReport] = Output("ipvkit/ping/v1", _ping, plain)
ARPING: Output[ArpingReport] = Output("ipvkit/arping/v1", _arping, plain)
LINK: Output[Sequence[LinkIn]] = Output(
    "ipvkit/link/v1",
    _links,
    lambda found: {"links": [{"netns": netns, **plain(link)} for netns, link in found]},
)
ADDR: Output[Sequence[Link]] = Output("ipvkit/addr/v1", _addresses, _listed("links"))
ROUTE: Output[Sequence[Route]] = Output("ipvkit/route/v1", _routes, _listed("routes"))
NEIGH: Output[Sequence[Neighbour]] = Output("ipvkit/neigh/v1", _neighbours, _listed("neighbours"))
NETNS: Output[Sequence[Netns]] = Output("ipvkit/netns/v1", _namespaces, _listed("namespaces"))
