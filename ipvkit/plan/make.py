"""From a Lab to a Plan: the order of steps lives here only."""

from collections.abc import Mapping

from ipvkit.core.command import Command
from ipvkit.lab import Lab
from ipvkit.plan.lan import lan
from ipvkit.plan.phases import sections
from ipvkit.plan.steps import Plan, Probe, Section, Stage, Step, Steps, Undo
from ipvkit.tools import arping

COMMANDS = "commands"
"""The section of commands that no lab holds."""


def make_plan(lab: Lab, *, arping_by: arping.Implementation = "iputils") -> Plan:
    """Return the plan of `lab`: its simulated LAN, if it has one, then its phases.

    Its pings are those of iputils: their timestamps show how long a path lived.
    """
    lans = [lan(lab)] if lab.simulated else []
    return Plan(lab, (*lans, *sections(lab, arping_by)))


def on_simulated_lan(lab: Lab, commands: Mapping[str, Command]) -> Plan:
    """Return the plan that runs `commands`, each under its purpose, on the simulated LAN of `lab`."""
    steps = Steps(COMMANDS)
    for purpose, command in commands.items():
        steps.add(purpose, command)
        steps.end_stage()
    return Plan(lab, (lan(lab), Section(COMMANDS, "what was asked for", None, tuple(steps.stages))))


__all__ = [
    "COMMANDS",
    "Plan",
    "Probe",
    "Section",
    "Stage",
    "Step",
    "Undo",
    "make_plan",
    "on_simulated_lan",
]
