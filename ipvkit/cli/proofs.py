"""What ``ipvkit explain --run`` asks a kernel."""

from ipvkit.cli.progress import Progress
from ipvkit.cli.target import chosen, refuse_local
from ipvkit.report.explanation import Proofs
from ipvkit.run import engine
from ipvkit.run.verdicts import judge
from ipvkit.targets.choice import KERNELS_AT_ONCE
from ipvkit.targets.kinds import TargetKind
from ipvkit.targets.programs import require
from ipvkit.verbs.explain import Explanation


def proofs_of(explanations: list[Explanation], target: TargetKind, timeout_s: float) -> Proofs:
    """Return what a kernel did before and after each mend; raise the first failure."""
    refuse_local(target)
    where = chosen(target)
    named = [(e.phase.name, fix) for e in explanations for fix in ([m.name for m in e.fixes] or [""])]
    plans = [plan for explanation in explanations for plan in explanation.plans]
    require(*{program for plan in plans for program in plan.programs})
    with Progress(*plans, verbose=False) as progress:
        runs = engine.run_concurrently(plans, where, progress, at_once=KERNELS_AT_ONCE, timeout_s=timeout_s)
    results = [judge(each) for each in runs]
    for failure in (result.failure for result in results):
        if failure is not None:
            raise failure
    return dict(zip(named, (result.checks for result in results), strict=True))
