"""Several plans, each on a separate kernel or sandbox, at the same time."""

from collections.abc import Sequence

from ipvkit.plan.steps import Plan
from ipvkit.run import engine
from ipvkit.run.rollback import Listener
from ipvkit.run.verdicts import Result, judge
from ipvkit.targets.programs import require
from ipvkit.targets.sandbox import Sandbox
from ipvkit.targets.uml import Uml


def judged(
    plans: Sequence[Plan], target: Sandbox | Uml, show: Listener, *, at_once: int, timeout_s: float
) -> list[Result]:
    """Return the results of `plans`; raise MissingRequirement, or the first failure of a run."""
    require(*{program for plan in plans for program in plan.programs})
    runs = engine.run_concurrently(plans, target, show, at_once=at_once, timeout_s=timeout_s)
    results = [judge(run) for run in runs]
    for failure in (result.failure for result in results):
        if failure is not None:
            raise failure
    return results
