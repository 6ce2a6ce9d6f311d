"""Every fix that `explain` prints works: each of its commands succeeds, and the ping is answered after it."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import permutations

import pytest

from differential import AT_ONCE, TIMEOUT_S, random_labs
from ipvkit.core.errors import InvalidLab
from ipvkit.lab import FAR, HOST, SETUPS, Check, Lab, gallery
from ipvkit.plan.steps import Plan
from ipvkit.run import engine
from ipvkit.run.verdicts import judge
from ipvkit.targets.uml import Uml
from ipvkit.verbs.explain import Explanation, explain, phases_of
from ipvkit.verbs.lab_file import load_lab


def explanations(lab: Lab, *, fix_all: bool) -> Iterator[Explanation]:
    """Yield what is explained of each ordered pair of nodes in each phase that has both."""
    nodes = (HOST, *lab.peers, *([FAR] if lab.far else ()), *(endpoint.name for endpoint in lab.endpoints))
    for source, destination in permutations(nodes, 2):
        check = Check(source, destination)
        if not any(map(lab.is_endpoint, (source, destination))):
            continue
        for phase in phases_of(lab, None, check):
            try:
                yield explain(lab, phase, check, fix_all=fix_all)
            except InvalidLab:  # A pair that no lab can check, such as one without a common family.
                continue


def plans_of(lab: Lab, *, fix_all: bool) -> Iterator[tuple[tuple[str, ...], str, Plan]]:
    """Yield the plan that proves each fix, with where it belongs and the fix's name."""
    for each in explanations(lab, fix_all=fix_all):
        for fix in each.fixes:
            whole = "all" if fix_all else "pair"
            where = (lab.name, str(lab.setup), whole, each.phase.name, str(each.check), fix.name)
            yield where, fix.name, fix.plan


def broken(plans: list[tuple[tuple[str, ...], Plan]]) -> list[object]:
    """Return the fixes that do not work, with what was seen instead."""
    only = [plan for _, plan in plans]
    runs = engine.run_concurrently(only, Uml(), lambda _event: None, at_once=AT_ONCE, timeout_s=TIMEOUT_S)
    found: list[object] = []
    for (where, _), result in zip(plans, map(judge, runs), strict=True):
        if result.failure is not None:
            found.append((where, result.failure))
        elif (observed := [check.observed for check in result.checks]) != ["unreachable", "reachable"]:
            found.append((where, observed))
    return found


@pytest.mark.kernel
def test_every_fix_of_a_lab_of_the_gallery_works(pytestconfig: pytest.Config) -> None:
    """With --slow all of them; else the first of each name, for a pair in steps and for all in batches."""
    chosen, names = [], set()
    labs = [replace(load_lab(name), setup=setup) for name in gallery.names() for setup in SETUPS]
    for lab in labs:
        for fix_all in (False, True):
            for where, name, plan in plans_of(lab, fix_all=fix_all):
                is_chosen = pytestconfig.option.slow or fix_all == (lab.setup == "batch")
                kind = where if pytestconfig.option.slow else (name, fix_all)
                if is_chosen and kind not in names:
                    names.add(kind)
                    chosen.append((where, plan))
    assert len({where[-1] for where, _ in chosen}) == 9
    assert broken(chosen) == []


@pytest.mark.kernel
@pytest.mark.slow
def test_every_fix_of_a_random_lab_works(pytestconfig: pytest.Config) -> None:
    labs = random_labs(40, pytestconfig.option.faults_seed)
    chosen = [(where, plan) for lab in labs for where, _, plan in plans_of(lab, fix_all=False)]
    assert chosen
    assert broken(chosen) == []
