"""What is on the parents of this machine, as tables and as one JSON document, ``ipvkit/inspect/v1``."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ipvkit.core.command import Command
from ipvkit.core.errors import printable
from ipvkit.host.checks import SEVERITIES, some
from ipvkit.host.inspect import OnParent, Placed, gaps
from ipvkit.host.namespaces import Inode, Spaces
from ipvkit.host.problems import Problem
from ipvkit.report.plain import columns, commented, document, plain, wrapped
from ipvkit.verbs.inspect import Review

if TYPE_CHECKING:
    from ipvkit.verbs.inspect_fleet import FleetReview

_MOST_COMMANDS = 10
"""How many commands of a fix are shown; the document has all."""

_FEW = 4
"""Of up to how many findings that are alike the commands of each are shown, and not only of the first."""

_HEADERS = ("link", "namespace", "owner", "kind", "mode", "addresses", "default route", "mtu", "state")


def render_fleet(review: "FleetReview", width: int | None = None) -> str:
    """Return one table of all hosts, the problems of each and between them, and what was not seen.

    Sentences fit a terminal of that `width`.
    """
    rows = [
        (host, on.name, *_row(placed))
        for host, one in review.hosts.items()
        for on in one.found.parents
        for placed in on.links
    ]
    headers = ("host", "parent", *_HEADERS)
    parts = [columns(rows, headers, needed=4) if rows else "no ipvlan, ipvtap or macvlan link was found\n"]
    every = [*review.problems, *(_of_host(p, h) for h, one in review.hosts.items() for p in one.problems)]
    every.sort(key=lambda one: SEVERITIES.index(one.severity))
    parts += _numbered(every, width)
    if rows and not every:
        parts.append("no problems found\n")
    return "\n".join((*parts, *_noted(_notes_of(review), width)))


def _of_host(problem: Problem, host: str) -> Problem:
    """Return a problem with the name of its host, so that those of several hosts are alike."""
    of = f"{problem.of} on {host}" if problem.of else host
    return replace(problem, what=f"{host}: {problem.what}", of=of, cause=problem.kind[3])


def _notes_of(review: "FleetReview") -> Iterator[str]:
    """Yield what was not seen or described, of hosts that have it in common once."""
    found: dict[str, list[str]] = {}
    for host, one in review.hosts.items():
        for note in (*one.notes, *one.found.gaps):
            found.setdefault(note, []).append(host)
    yield from (f"{', '.join(hosts)}: {note}" for note, hosts in found.items())


def _numbered(problems: Iterable[Problem], width: int | None) -> Iterator[str]:
    """Yield the text of each problem, of those that are alike one."""
    alike: dict[tuple[str, ...], list[Problem]] = {}
    for one in problems:
        alike.setdefault(one.kind, []).append(one)
    yield from ("\n".join(_of_problems(number, each, width)) for number, each in enumerate(alike.values(), 1))


def render_table(review: Review, parent: str | None = None, width: int | None = None) -> str:
    """Return a table for each parent, or of the `parent` asked for, the problems, and what was not seen.

    Sentences fit a terminal of that `width`.
    """
    found = review.found
    parts = [_of_parent(on) for on in found.parents]
    if not parts:
        parts = [f"no ipvlan, ipvtap or macvlan link was found{f' on {parent}' if parent else ''}\n"]
    parts += _numbered(review.problems, width)
    if found.parents and not review.problems:
        parts.append("no problems found\n")
    return "\n".join((*parts, *_noted((*review.notes, *found.gaps), width)))


def _noted(notes: Iterable[str], width: int | None) -> list[str]:
    """Return the lines of `notes` as one part, or none."""
    lines = [line for note in notes for line in wrapped(printable(f"note: {note}"), width, rest="  ")]
    return ["".join(f"{line}\n" for line in lines)] if lines else []


_LATER = """\
# where IPv6 has another routing table: its rules; -v shows it
# where a link may be on one of several parents: which number each namespace has in the others; -v shows it
"""


def preview(found: Spaces, views: Mapping[Inode, Command]) -> str:
    """Return the commands that look into each namespace, and what they do not look into."""
    purposes = {f"look into {found.found[inode]}": command for inode, command in views.items()}
    return commented(purposes) + _LATER + "".join(f"# {gap}\n" for gap in gaps(found.closed, found.hidden))


_CLEAR = "\x1b[H\x1b[2J\x1b[3J"
"""Clears a terminal (console_codes(4)); the last one its history too, for what is higher than the screen."""


def timed(text: str, now: datetime, *, clear: bool) -> str:
    """Return a text below the time, on a terminal that is cleared before, or as one of several in a file."""
    return f"{_CLEAR if clear else ''}--- {now:%Y-%m-%d %H:%M:%S}\n\n{text}\n"


def _of_parent(on: OnParent) -> str:
    return f"{printable(_title(on))}\n{columns(list(map(_row, on.links)), _HEADERS, needed=2)}"


def _row(placed: Placed) -> tuple[object, ...]:
    link = placed.link
    return (
        link.ifname,
        placed.inside.space,
        placed.owner,
        link.kind,
        " ".join(filter(None, (link.mode, link.flag))),
        ", ".join(map(str, placed.addresses)),
        ", ".join(f"via {r.via}" if r.via else "dev" for r in placed.default_routes),
        link.mtu,
        "up" if link.up else "down",
    )


def _title(on: OnParent) -> str:
    if on.parent is None:
        return "links on a parent that was not found"
    link, data = on.parent.link, on.parent.link.info_data
    of: list[str | None] = [link.kind or "nic"]
    of += [str(data["mode"])] if link.kind == "bond" and "mode" in data else []
    of += [f"tag {data.get('id')} on {link.parent or 'a link elsewhere'}"] if link.kind == "vlan" else []
    of += ["up" if link.up else "down", f"mtu {link.mtu}", link.lladdr]
    of += ["no carrier"] if "NO-CARRIER" in link.flags else []
    of += [f"port of {link.master}"] if link.master else []
    return f"{on.parent}: {', '.join(filter(None, (*of, *map(str, on.parent.addresses))))}"


def _of_problems(number: int, problems: Sequence[Problem], width: int | None) -> Iterator[str]:
    """Yield the lines of a problem, and of those that are alike; of many, the commands of the first."""
    first, *others = problems
    what = f"{first.severity}: {first.what}"
    if others:
        likewise = some(other.of for other in others)
        what = f"{first.severity}, {len(problems)} times: {first.what}; likewise {likewise}"
    yield from wrapped(printable(f"{number}. {what}"), width, rest="   ")
    if first.advice:
        yield from wrapped(f"fix: {first.advice}", width, "   ")
    if first.fix_as:
        yield from (f"   {line}" for line in first.fix_as)
        yield ""
        return
    few = problems if len(problems) <= _FEW else [first]
    shown = list(dict.fromkeys(command for each in few for command in each.commands))
    every = dict.fromkeys(command for each in problems for command in each.commands)
    for command in shown[:_MOST_COMMANDS]:
        yield f"   {command}"
    left = len(every) - len(shown[:_MOST_COMMANDS])
    yield from [f"   # and {left} more; --json has all"] if left else []
    yield ""


def render_json(review: Review) -> str:
    """Return the document of `review`."""
    found = review.found
    return document(
        "inspect",
        parents=[_fields(on) for on in found.parents],
        findings=[_problem(one) for one in review.problems],
        notes=[*review.notes],
        unseen=[*found.unseen],
        hidden_processes=found.hidden,
        unreached=[],
    )


def render_fleet_json(review: "FleetReview") -> str:
    """Return the document of the hosts of an inventory."""
    found = {host: one.found for host, one in review.hosts.items()}
    return document(
        "inspect",
        parents=[_fields(on, host) for host, one in found.items() for on in one.parents],
        findings=[
            *(_problem(one) for one in review.problems),
            *(_problem(one, host) for host, there in review.hosts.items() for one in there.problems),
        ],
        notes=[f"{host}: {note}" for host, one in review.hosts.items() for note in one.notes],
        unseen=[f"{host}: {what}" for host, one in found.items() for what in one.unseen],
        hidden_processes=sum(one.hidden for one in found.values()),
        unreached=[{"host": host, "why": why} for host, why in review.unreached.items()],
    )


def _problem(one: Problem, host: str | None = None) -> dict[str, Any]:
    return {
        "host": host,
        "code": one.code,
        "severity": one.severity,
        "parent": one.parent or None,
        "what": one.what,
        "advice": one.advice or None,
        "commands": [str(command) for command in one.commands],
        "fix_as": list(one.fix_as) or None,
    }


def _fields(on: OnParent, host: str | None = None) -> dict[str, Any]:
    return {
        "host": host,
        "parent": None if on.parent is None else _link(on.parent),
        "links": [_link(placed) for placed in on.links],
    }


def _link(placed: Placed) -> dict[str, Any]:
    link, space = placed.link, placed.inside.space
    return {
        "dev": link.ifname,
        "host": space.own,
        "netns": space.name or None,
        "path": space.path,
        "pids": [] if space.own else [*space.pids],
        "owner": plain(placed.owner),
        "kind": link.kind,
        "mode": link.mode,
        "flag": link.flag,
        "mtu": link.mtu,
        "lladdr": link.lladdr,
        "up": link.up,
        "carrier": "NO-CARRIER" not in link.flags,
        "master": link.master,
        "lower": link.parent,
        "vlan": link.info_data.get("id") if link.kind == "vlan" else None,
        "bond_mode": link.info_data.get("mode") if link.kind == "bond" else None,
        "addresses": [str(own) for own in placed.addresses],
        "default_routes": [{"via": None if r.via is None else str(r.via)} for r in placed.default_routes],
    }
