"""Single commands: executed on this machine, or on the LAN of the walkthrough, which ends with them.

A preview needs no process, and this machine no lab: both are loaded where they are used.
"""

from collections.abc import Iterable, Mapping
from queue import SimpleQueue
from typing import TYPE_CHECKING

from ipvkit.core.command import Command, Completed, in_netns
from ipvkit.core.errors import MissingRequirement

if TYPE_CHECKING:
    from ipvkit.plan.steps import Plan
    from ipvkit.targets.agent import Target

TIMEOUT_S = 30.0
"""How long a command may take that ends at once."""


def placed(netns: str | None, command: Command) -> Command:
    """Return `command` as it is typed to act in the network namespace `netns`."""
    if netns is None or command.argv[0] != "ip":
        return in_netns(netns, command)
    from ipvkit.tools import ip

    return ip.at(netns, command)


def execute(commands: Iterable[Command], timeout_s: float = TIMEOUT_S) -> list[Completed]:
    """Execute `commands` on this machine, one after another; raise IpvkitError at the first that fails."""
    from ipvkit.run.execution import carry_out, signals_into
    from ipvkit.targets.agent import Agent, Inbox
    from ipvkit.targets.local import Local

    inbox: Inbox = SimpleQueue()
    with signals_into(inbox), Agent(Local(), inbox) as agent:
        return [carry_out(agent, command, timeout_s=timeout_s) for command in commands]


def version(command: Command) -> str:
    """Return what a tool of this machine, which is also that of every target, prints as its version."""
    printed = execute([command])[0]
    return printed.stdout + printed.stderr


def require_iputils(what: str) -> None:
    """Raise MissingRequirement where the ping of this machine is not that of iputils, which `what` need."""
    from ipvkit.tools import ping

    if ping.implementation(version(ping.VERSION)) != "iputils":
        raise MissingRequirement(f"{what} need the ping of iputils", "apt install iputils-ping")


def on_lan(commands: Mapping[str, Command]) -> "Plan":
    """Return the plan of `commands`, each under its purpose, on the LAN of the walkthrough."""
    from ipvkit.lab import gallery
    from ipvkit.lab.format import load
    from ipvkit.plan.make import on_simulated_lan

    return on_simulated_lan(load(gallery.text(gallery.WALKTHROUGH), gallery.WALKTHROUGH), commands)


def execute_on_lan(plan: "Plan", target: "Target", timeout_s: float) -> list[Completed]:
    """Execute the commands of a plan that `on_lan` returned; raise IpvkitError at the first that fails."""
    from ipvkit.plan.make import COMMANDS
    from ipvkit.run import engine

    run = engine.run(plan, target, lambda _event: None, timeout_s=timeout_s)
    if run.failure is not None:
        raise run.failure
    return [completed for id, completed in run.completed.items() if id.startswith(f"{COMMANDS}.")]
