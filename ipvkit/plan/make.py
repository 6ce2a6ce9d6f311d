"""From a Lab to a Plan: the order of steps lives here only."""

from collections.abc import Mapping

from ipvkit.core.command import Command, in_netns
from ipvkit.lab import Lab, Place, the
from ipvkit.plan import endpoints
from ipvkit.plan.acts import Acts
from ipvkit.plan.lan import lan
from ipvkit.plan.steps import Plan, Section, Steps
from ipvkit.predict.whole import PredictedPhase, predict_lab
from ipvkit.tools import arping, ip

COMMANDS = "commands"
"""The section of commands that no lab holds."""


def make_plan(lab: Lab, *, arping_by: arping.Implementation = "iputils") -> Plan:
    """Return the plan of `lab`: its simulated LAN, if it has one, then its phases.

    Its pings are those of iputils: their timestamps show how long a path lived.
    """
    done: endpoints.Done = set()
    there: set[Place] = set()
    phases = [_phase(lab, predicted, arping_by, done, there) for predicted in predict_lab(lab)]
    return Plan(lab, (*([lan(lab)] if lab.simulated else []), *phases))


def _phase(
    lab: Lab,
    predicted: PredictedPhase,
    arping_by: arping.Implementation,
    done: endpoints.Done,
    there: set[Place],
) -> Section:
    phase = predicted.phase
    steps = Steps(phase.name, lab.machines[0])
    for role, parent in predicted.flushed:
        dev = parent.dev if lab.is_host(role) else lab.dev_of(parent)
        flush = in_netns(lab.netns(role), ip.neigh_flush(dev))
        with steps.at(lab.machine_of(role)):
            steps.add(
                f"flush {the(role)}'s neighbour table: the endpoints have other MAC addresses now", flush
            )
    steps.end_stage()
    endpoints.create(lab, phase, steps)
    there.update(map(lab.place, phase.endpoints))
    endpoints.add_helpers(lab, phase, steps, done)
    acts = Acts(lab, phase, arping_by, steps, done, there=there)
    skipped, slices = [], []
    for act in predicted.acts:
        first = len(steps.stages)
        skipped += acts.add(act)
        slices.append(slice(first, len(steps.stages)))
    if phase is not lab.phases[-1]:
        acts.delete_links()
        steps.end_phase()
    others = "".join(f"; on {name} {setting}" for name, setting in phase.others)
    title = f"phase {phase.name}: {phase.setting}{others}"
    return Section(phase.name, title, phase, tuple(steps.stages), tuple(skipped), tuple(slices))


def on_simulated_lan(lab: Lab, commands: Mapping[str, Command]) -> Plan:
    """Return the plan that runs `commands`, each under its purpose, on the simulated LAN of `lab`."""
    steps = Steps(COMMANDS, lab.machines[0])
    for each in commands.items():
        steps.add_stage([each])
    return Plan(lab, (lan(lab), Section(COMMANDS, "what was asked for", None, tuple(steps.stages))))
