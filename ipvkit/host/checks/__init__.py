"""Checks of a real parent before a change: one file a check, or some that are alike."""

from collections.abc import Iterable, Mapping
from importlib import import_module

# Every name of base is one of the vocabulary of checks.
from ipvkit.host.checks.base import *  # noqa: F403
from ipvkit.host.checks.base import SEVERITIES, Check, Finding, Findings, Machine, Request
from ipvkit.host.checks.names import taken
from ipvkit.host.checks.uppers import UPPER_KINDS as UPPER_KINDS
from ipvkit.host.checks.uppers import endpoints_on as endpoints_on
from ipvkit.host.interfaces import link_instead

_NAMES = (
    "state",
    "kind",
    "uppers",
    "addresses",
    "mtu",
    "kernel",
    "cloud",
)
CHECKS: tuple[Check, ...] = tuple(import_module(f"{__name__}.{name}").CHECK for name in _NAMES)
"""The checks of a parent that is there, each of a module of its name."""

CODES: Mapping[str, str] = {
    "no-link": "No interface has that name.",
    "name-taken": "A link has the name of an endpoint.",
    "netns-taken": "A network namespace has the name of an endpoint's.",
    **{code: what for check in CHECKS for code, what in check.codes.items()},
    "unreachable": (
        "This host, or others on the parent's network, cannot reach such endpoints; the fix is the cheapest."
    ),
    "not-looked-at": (
        "A namespace or an address could not be checked; an `error` where the machine could not be."
    ),
}
"""The codes of all findings, each with what was found."""


def check(request: Request, machine: Machine, predicted: Iterable[Finding] = ()) -> Findings:
    """Return all problems of creating `request` on `machine`, with those that are `predicted` of its use."""
    parent = machine.link(request.parent)
    if parent is None:
        what, fix = f"no such interface: {request.parent}", link_instead(request.parent, machine.links)
        own = [Finding("no-link", "error", what, fix)]
    else:
        own = [found for each in CHECKS for found in each.find(request, parent, machine)]
    found = [*taken(request, machine), *own, *machine.unseen, *predicted]
    return Findings(request.parent, tuple(sorted(found, key=lambda one: SEVERITIES.index(one.severity))))
