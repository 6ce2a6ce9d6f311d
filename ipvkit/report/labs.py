"""Labs as a person reads them, before anything is run: what each shows, and what is predicted."""

from collections.abc import Iterable

from ipvkit.lab import Lab
from ipvkit.plan.steps import Plan
from ipvkit.report.plain import grid


def summaries(labs: Iterable[Lab]) -> str:
    """Return a table of labs, with what each is about."""
    return grid([(lab.name, lab.about) for lab in labs], ("lab", "what it shows")) + "\n"


def predictions(plan: Plan) -> str:
    """Return the table of what is predicted in each phase of `plan`."""
    rows = []
    for section in plan.sections:
        probes = (step.probe for stage in section.stages for step in stage if step.probe is not None)
        for p in (*probes, *section.skipped):
            rows.append((section.name, p.check, p.address or "", p.expected, p.skipped or p.reason))
    headers = ("phase", "check", "address", "predicted", "reason")
    return f"{grid(rows, headers)}\n\n{plan.lab.name}: {len(rows)} checks\n"
