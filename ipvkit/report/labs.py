"""Labs as a person reads them, before anything is run: what each shows, and what is predicted."""

from collections.abc import Sequence

from ipvkit.lab import Lab
from ipvkit.plan.steps import Plan
from ipvkit.report.grid import grid


def summaries(labs: Sequence[Lab]) -> str:
    """Return a table of labs, with what each is about."""
    return grid([(lab.name, lab.about) for lab in labs], ("lab", "what it shows")) + "\n"


def predictions(plan: Plan) -> str:
    """Return the table of what is predicted in each phase of `plan`."""
    rows = [
        [
            section.name,
            str(probe.check),
            str(probe.address or ""),
            probe.expected,
            probe.skipped or probe.reason,
        ]
        for section in plan.sections
        for probe in (
            *(s.probe for stage in section.stages for s in stage if s.probe is not None),
            *section.skipped,
        )
    ]
    headers = ("phase", "check", "address", "predicted", "reason")
    return f"{grid(rows, headers)}\n\n{plan.lab.name}: {len(rows)} checks\n"
