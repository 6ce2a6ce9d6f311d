"""What is on the hosts of an Ansible inventory, and what is wrong there and between them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TYPE_CHECKING

from ipvkit.core.errors import CommandFailed
from ipvkit.host.across import problems_across
from ipvkit.host.checks import SEVERITIES
from ipvkit.host.inspect import Inspection, OnCommand, inspect, only
from ipvkit.host.problems import Problem
from ipvkit.host.remote import around
from ipvkit.run.execution import signals_into
from ipvkit.run.machines import Machines
from ipvkit.targets.agent import Agent, Inbox
from ipvkit.targets.fleet import Fleet, inventory
from ipvkit.verbs.inspect import Review, review

if TYPE_CHECKING:
    from ipvkit.verbs.formats import Dialect


@dataclass(frozen=True, slots=True)
class Found:
    """What is on each host, by its name, and why others could not be looked at."""

    hosts: Mapping[str, Inspection]
    unreached: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class FleetReview:
    """What is on each host, with its problems, those between hosts, and why others could not be looked at."""

    hosts: Mapping[str, Review]
    problems: tuple[Problem, ...]
    unreached: Mapping[str, str]

    @property
    def exit_code(self) -> int:
        """Return the contract's exit code."""
        if self.unreached:
            return CommandFailed.exit_code
        every = (*self.problems, *(one for host in self.hosts.values() for one in host.problems))
        return int(any(problem.severity == "error" for problem in every))


def look(paths: Sequence[str], on_command: OnCommand, parent: str | None = None) -> Found:
    """Return what is on the hosts of an inventory, or on the `parent` of each; nothing is changed."""

    def look_at(_: str, agent: Agent) -> Inspection | str:
        try:
            return inspect(agent, on_command, around(agent))
        except CommandFailed as problem:
            return agent.complaint or problem.stderr or problem.message

    inbox: Inbox = SimpleQueue()
    names = {name: name for name in inventory(paths)}
    with signals_into(inbox), Fleet(paths, names) as fleet, Machines(fleet.hosts, inbox) as machines:
        seen = machines.on_each(look_at)
    found = {host: one for host, one in seen.items() if isinstance(one, Inspection)}
    if parent is not None:
        found = {host: only(one, parent) for host, one in found.items()}
    return Found(found, {host: why for host, why in seen.items() if isinstance(why, str)})


def review_fleet(found: Found, dialect: "Dialect | None" = None) -> FleetReview:
    """Return the problems of each host, and between hosts, the worst first."""
    across = sorted(problems_across(found.hosts), key=lambda one: SEVERITIES.index(one.severity))
    hosts = {host: review(one, dialect) for host, one in found.hosts.items()}
    return FleetReview(hosts, tuple(across), found.unreached)
