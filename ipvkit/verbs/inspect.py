"""What is wrong with the links on the parents of this machine, and how to fix it."""

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from ipvkit.core.errors import InvalidLab, IpvkitError
from ipvkit.core.values import Address
from ipvkit.host.checks import SEVERITIES, Severity, some
from ipvkit.host.inspect import Inspection, OnCommand, inspect
from ipvkit.host.problems import Problem, problems_of
from ipvkit.host.twin import Twin, twin_of
from ipvkit.lab import HOST, NEIGHBOUR, Check, Endpoint, Lab, Parent, Phase
from ipvkit.predict.later import after
from ipvkit.predict.predictions import why_lost, why_unknown
from ipvkit.predict.world import State, World, world_of
from ipvkit.targets.agent import Agent
from ipvkit.targets.local import Local
from ipvkit.targets.process import heard
from ipvkit.tools import ip
from ipvkit.verbs.explain import Fix, fixes_of
from ipvkit.verbs.live import typed_here

if TYPE_CHECKING:
    from ipvkit.verbs.formats import Dialect

_SOURCES = {NEIGHBOUR: "other hosts", HOST: "this host"}

_Groups = dict[tuple[str, str, str], list[str]]
_Unknown = dict[tuple[str, str], dict[str, None]]


@dataclass(frozen=True, slots=True)
class Review:
    """What is on this machine, its `problems`, the worst first, and what the model could not describe."""

    found: Inspection
    problems: tuple[Problem, ...]
    notes: tuple[str, ...] = ()


def look(on_command: OnCommand) -> Inspection:
    """Return what is on this machine; nothing is changed. Each command is passed to `on_command` before."""
    with Agent(Local(), SimpleQueue()) as agent:
        return inspect(agent, on_command)


EVERY_S = 10.0
"""How often `watch` looks at least, in seconds: no change is heard of a namespace that has no number here."""

_SETTLE_S = 0.5
"""How long `watch` waits for the changes that follow the first one, in seconds."""


def watch(look: Callable[[], str], show: Callable[[str], bool]) -> None:
    """Pass what `look` returns to `show`, again and again, until that returns False.

    It looks after each change that ``ip monitor`` prints, to root those in other namespaces too, and every
    EVERY_S seconds, but not for more than half of the time.
    """
    with heard(ip.monitor_all().argv) as changes:
        began = time.monotonic()
        while show(look()):
            took_s = time.monotonic() - began
            with suppress(Empty):
                changes.get(timeout=max(EVERY_S, took_s))
                time.sleep(max(_SETTLE_S, took_s))
                while True:
                    changes.get_nowait()
            began = time.monotonic()


def review(found: Inspection, dialect: "Dialect | None" = None) -> Review:
    """Return the problems of what was found, with fixes in a `dialect` where these are changes of a lab."""
    notes: list[str] = []
    problems = list(problems_of(found))
    for twin in _twins(found, notes):
        notes += twin.notes
        problems += _unreachable(twin, dialect)
    problems.sort(key=lambda one: SEVERITIES.index(one.severity))
    return Review(found, tuple(problems), tuple(notes))


def _twins(found: Inspection, notes: list[str]) -> list[Twin]:
    """Return the twin of all that was found, or where a lab cannot describe that, one of each parent."""
    try:
        return [twin for twin in [twin_of(found)] if twin is not None]
    except IpvkitError as invalid:
        if len(found.parents) == 1:
            name = found.parents[0].name
            notes.append(f"the model cannot describe what is on {name}: {invalid.message}")
            return []
    each = (replace(found, parents=(on,)) for on in found.parents)
    return [twin for one in each for twin in _twins(one, notes)]


def _unreachable(twin: Twin, dialect: "Dialect | None") -> Iterator[Problem]:
    """Yield which hosts cannot reach which endpoints by the model, each reason once, and the cheapest fix."""
    lab = twin.lab
    (phase,) = lab.phases
    world = world_of(lab, phase, State())
    for act in phase.acts:
        world = after(world, act)
    outside = {on: tuple(_elsewhere(lab, phase, on)) for on in lab.parents}
    yield from (_routed_elsewhere(on, away) for on, away in outside.items() if away)
    groups, unknown = _reasons(lab, world, {e.name for away in outside.values() for e in away})
    for (parent, why), of_these in unknown.items():
        what = f"it is not modelled whether others can reach {_addresses(lab, of_these)}: {why}"
        yield Problem("not-modelled", "info", parent, what, advice="send pings to know")
    fixed: set[str] = set()
    for (parent, source, reason), names in groups.items():
        known = "" if source == HOST else ", unless they have an entry for it that does not expire"
        what = f"{_SOURCES[source]} cannot reach {_addresses(lab, names)}: {reason}{known}"
        # The other fixes are for the state before the first one, which they could undo.
        fix = _fix(twin, lab, Check(source, names[0]), dialect) if parent not in fixed else None
        commands = fix.commands if fix is not None else ()
        lines = dialect.lines(fix) if dialect is not None and fix is not None else ()
        advice = f"{fix.name}: {fix.cost}" if fix is not None else "no fix on this machine is known"
        if fix is None and source == HOST and phase.on(parent).strategy == "l3s-proxy":
            advice = "none; it is the cost of l3s-proxy, by which other hosts reach them"
        if parent in fixed:
            advice = "fix the other path first, then look again"
        fixed |= {parent} if fix is not None else set()
        severity: Severity = "info" if source == HOST else "error"
        yield Problem("unreachable", severity, parent, what, commands, advice, fix_as=tuple(lines))


def _elsewhere(lab: Lab, phase: Phase, on: Parent) -> Iterator[Endpoint]:
    """Yield the endpoints on a parent that have no address in its subnets."""
    return (e for e in lab.endpoints_of(phase, on) if not any(map(on.subnet_of, _ips(e))))


def _reasons(lab: Lab, world: World, outside: Collection[str]) -> tuple[_Groups, _Unknown]:
    """Return the endpoints that a host cannot reach, by parent, host and reason, and those not modelled."""
    groups: _Groups = {}
    unknown: _Unknown = {}
    for source in _SOURCES:
        for endpoint in lab.endpoints:
            if source != HOST and endpoint.name in outside:
                continue
            # A parent without an address, or one that leads nowhere, has no such host.
            with suppress(InvalidLab):
                check = Check(source, endpoint.name)
                if why := why_unknown(world, check):
                    unknown.setdefault((endpoint.parent, why), {})[endpoint.name] = None
                elif reason := why_lost(world, check):
                    groups.setdefault((endpoint.parent, source, reason), []).append(endpoint.name)
    return groups, unknown


def _addresses(lab: Lab, names: Iterable[str]) -> str:
    return some(str(own) for name in names for own in _ips(lab.endpoint(name)))


def _ips(endpoint: Endpoint) -> list[Address]:
    return [own.ip for own in endpoint.addresses]


def _routed_elsewhere(parent: Parent, endpoints: Sequence[Endpoint]) -> Problem:
    """Return what other hosts need to reach endpoints in no subnet of the parent, unseen from here."""
    networks = dict.fromkeys(str(own.network) for e in endpoints for own in e.addresses)
    addresses = some(str(ip) for e in endpoints for ip in _ips(e))
    via = ", ".join(str(own.ip) for own in parent.host) or "this host"
    what = (
        f"{addresses}: in no subnet of {parent.name}; other hosts reach them only by a route to "
        f"{some(networks)} via {via}, which is not seen from here"
    )
    return Problem("routed-elsewhere", "info", parent.name, what, advice="look for that route on the gateway")


def _fix(twin: Twin, lab: Lab, check: Check, dialect: "Dialect | None") -> Fix | None:
    """Return the cheapest fix of a check by commands on this machine, for all endpoints.

    One that the `dialect` can say comes first.
    """
    (phase,) = lab.phases
    # Most candidates fail, for one endpoint as for hundreds.
    alone = replace(phase, endpoints=(check.destination,))
    small = replace(lab, endpoints=(lab.endpoint(check.destination),), phases=(alone,))
    if not any(twin.can(fix.commands) for fix in fixes_of(small, alone, check, alone.endpoints)):
        return None
    every = fixes_of(lab, phase, check, phase.endpoints)
    fixes = (typed_here(fix, twin) for fix in every if twin.can(fix.commands))
    first = next(fixes, None)
    if first is None or dialect is None:
        return first
    return next((fix for fix in (first, *fixes) if dialect.can_say(fix)), first)
