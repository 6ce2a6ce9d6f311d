"""The phases of a lab, as sections of a plan: built when all of the lab is predicted."""

from ipvkit.core.command import in_netns
from ipvkit.lab import Lab
from ipvkit.plan import additions, endpoints
from ipvkit.plan.acts import Acts
from ipvkit.plan.steps import Section, Steps
from ipvkit.predict import PredictedPhase, predict_lab
from ipvkit.tools import arping, ip


def sections(lab: Lab, arping_by: arping.Implementation) -> list[Section]:
    """Return the steps of each phase of `lab`."""
    done = additions.Done()
    return [_section(lab, predicted, arping_by, done) for predicted in predict_lab(lab)]


def _section(
    lab: Lab, predicted: PredictedPhase, arping_by: arping.Implementation, done: additions.Done
) -> Section:
    phase = predicted.phase
    steps = Steps(phase.name)
    for role, parent in predicted.flushed:
        flush = in_netns(role, ip.neigh_flush(lab.dev_of(parent)))
        steps.add(f"flush the {role}'s neighbour table: another kind of link has other MAC addresses", flush)
    steps.end_stage()
    endpoints.create(lab, phase, steps)
    additions.add(lab, phase, steps, done)
    acts = Acts(lab, phase, arping_by, steps, done)
    skipped = [probe for act in predicted.acts for probe in acts.add(act)]
    if phase is not lab.phases[-1]:
        acts.delete_links()
        steps.end_phase()
    others = "".join(f"; on {name} {setting}" for name, setting in phase.others)
    title = f"phase {phase.name}: {phase.setting}{others}"
    return Section(phase.name, title, phase, tuple(steps.stages), tuple(skipped))
