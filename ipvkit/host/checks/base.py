"""What a check of a real parent is: it finds problems in facts about the machine."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import Literal

from ipvkit.core.values import InterfaceAddress
from ipvkit.lab import IPVLAN, AddLink, Endpoint, Lab, Parent, Phase, SetMode, Setting
from ipvkit.tools.ip import Link

Severity = Literal["error", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")
"""Worst first: an error stops a run, a warning and an info do not."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem and its fix, each on one line; `code` is its kind, in JSON too."""

    code: str
    severity: Severity
    what: str
    fix: str

    def __str__(self) -> str:
        return f"{self.what}; {self.fix}"


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be created on the link `parent`: `endpoints` in each of `settings`, and the host's `links`.

    `attempted` are settings that a lab tries besides, and `neighbours` is the number of neighbour entries
    that all endpoints need at the same time. An endpoint without a name stands for its addresses only.
    """

    parent: str
    settings: tuple[Setting, ...] = ()
    endpoints: tuple[Endpoint, ...] = ()
    links: tuple[str, ...] = ()
    attempted: tuple[Setting, ...] = ()
    neighbours: int = 0

    @property
    def addresses(self) -> list[tuple[Endpoint, InterfaceAddress]]:
        """Each address with its endpoint."""
        return [(endpoint, address) for endpoint in self.endpoints for address in endpoint.addresses]

    @property
    def kinds(self) -> list[str]:
        """The kinds of link that are to be on the parent."""
        return sorted({setting.kind for setting in self.settings}) or ["ipvlan"]

    @property
    def modes(self) -> list[str]:
        """Each mode with its flag, as `ip` prints them."""
        every = (*self.settings, *self.attempted)
        return list(dict.fromkeys(f"{s.mode} {s.flag}" for s in every if s.is_ipvlan))


def request_of(lab: Lab, parent: Parent | None = None) -> Request:
    """Return what `lab` creates on `parent`, or on its first one."""
    parent = parent or lab.parents[0]
    settings = tuple(phase.on(parent.name) for phase in lab.phases)
    tries = [a.change for phase in lab.phases for act in phase.acts for a in act.attempts]
    added = [change for change in tries if isinstance(change, AddLink) and change.parent == parent.name]
    links = [change.name for change in added]
    if any(setting.host_shim for setting in settings):
        links.append(lab.shim_on(parent))
    endpoints = tuple(endpoint for endpoint in lab.endpoints if endpoint.parent == parent.name)
    names = {endpoint.name for endpoint in endpoints}
    modes = {change.mode for change in tries if isinstance(change, SetMode) and change.endpoint in names}
    modes |= {change.mode or "l3" for change in added if change.kind in IPVLAN}
    attempted = tuple(map(Setting, sorted(modes)))
    neighbours = max(map(_neighbours_of, lab.phases), default=0)
    return Request(parent.dev, settings, endpoints, tuple(links), attempted, neighbours)


def _neighbours_of(phase: Phase) -> int:
    """Return how many neighbour entries the checks of `phase` need: one for each peer of each endpoint."""
    if phase.setting.is_ipvlan and phase.setting.mode != "l2":
        return 0
    ends = [(check.source, check.destination) for act in phase.acts for check in act.checks]
    names = set(phase.endpoints)
    return sum(holder in names for holder, _ in {*ends, *((b, a) for a, b in ends)})


@dataclass(frozen=True, slots=True)
class Namespace:
    """Another network namespace: its `netns` name, or `what` it is and the `path` by which it is entered."""

    netns: str = ""
    what: str = ""
    path: str = ""

    def __str__(self) -> str:
        return f"netns {self.netns}" if self.netns else self.what


@dataclass(frozen=True, slots=True)
class Machine:
    """Facts about this machine.

    `links` are those of the parent's namespace, and `elsewhere` those of the others; a link elsewhere has
    its `link_netns` where its lower device is known to be in a third namespace. `namespaces` has the
    processes in each namespace with a name, `answers` the MAC addresses that answered for an address,
    `most_neighbours` the kernel's limit of neighbour entries or None where it is unknown, `dmi` the words of
    the firmware, and `unseen` what could not be read.
    """

    links: tuple[Link, ...]
    elsewhere: Mapping[Namespace, tuple[Link, ...]] = field(default_factory=dict)
    namespaces: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    answers: Mapping[IPv4Address, tuple[str, ...]] = field(default_factory=dict)
    wireless: bool = False
    rp_filter: int = 0
    forwarding: bool = True
    most_neighbours: int | None = None
    dmi: Mapping[str, str] = field(default_factory=dict)
    unseen: tuple[Finding, ...] = ()

    def link(self, name: str) -> Link | None:
        """Return the link called `name` in the parent's namespace."""
        return next((link for link in self.links if link.ifname == name), None)


@dataclass(frozen=True, slots=True)
class Check:
    """A check of a parent: the codes of its findings, each with what was found, and what yields them.

    `find` gets the link of the parent, which is there.
    """

    codes: Mapping[str, str]
    find: Callable[[Request, Link, Machine], Iterator[Finding]]


@dataclass(frozen=True, slots=True)
class Findings:
    """The findings about `parent`, the worst first."""

    parent: str
    findings: tuple[Finding, ...]

    def of(self, severity: Severity) -> tuple[Finding, ...]:
        """Return the findings of that severity."""
        return tuple(finding for finding in self.findings if finding.severity == severity)


def can_probe(request: Request, machine: Machine) -> bool:
    """Return whether the parent can send ARP probes, for which it needs no address."""
    parent = machine.link(request.parent)
    return parent is not None and parent.up and not {"LOOPBACK", "NO-CARRIER", "NOARP"} & set(parent.flags)


def some(words: Iterable[str]) -> str:
    """Return the words, or the first three of more than four.

    >>> some(["a", "b", "c", "d"])
    'a, b, c, d'
    >>> some(["a", "b", "c", "d", "e"])
    'a, b, c and 2 more'
    """
    each = list(words)
    return ", ".join(each) if len(each) <= 4 else f"{', '.join(each[:3])} and {len(each) - 3} more"
