"""Every fix that `explain` prints works: each of its commands succeeds, and the ping is answered after it."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import permutations

import pytest

from differential import AT_ONCE, TIMEOUT_S, random_labs
from ipvkit.core.errors import InvalidLab
from ipvkit.lab import FAR, FLAGS, HOST, MODES, Check, Lab, Setting, Setup, gallery
from ipvkit.plan.make import make_plan
from ipvkit.plan.steps import Plan
from ipvkit.run import engine
from ipvkit.run.verdicts import judge
from ipvkit.targets.uml import Uml
from ipvkit.verbs.explain import Explanation, _candidates, explain, phases_of
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


def names() -> set[str]:
    """Return the names of all fixes."""
    settings = (Setting(mode, flag) for mode in MODES for flag in FLAGS)
    checks = (Check(HOST, "test1"), Check("test1", "test2"))
    lab = load_lab(gallery.WALKTHROUGH)
    found = (_candidates(setting, lab, check) for setting in settings for check in checks)
    return {candidate.name for candidates in found for candidate in candidates}


Where = tuple[str, ...]
"""A lab, how it is built, whom its fix is for, a phase, a check and the fix's name."""


def plans_of(lab: Lab, *, fix_all: bool) -> Iterator[tuple[Where, Plan]]:
    """Yield the plan that proves each fix, with where it belongs."""
    for each in explanations(lab, fix_all=fix_all):
        for fix in each.fixes:
            whole = "all" if fix_all else "pair"
            where = (lab.name, str(lab.setup), whole, each.phase.name, str(each.check), fix.name)
            yield where, fix.plan


def first_of_each_name(plans: Iterable[tuple[Where, Plan]]) -> list[tuple[Where, Plan]]:
    """Return the first of `plans` for each fix; search no further when there is one for all."""
    wanted = names()
    found: dict[str, tuple[Where, Plan]] = {}
    for where, plan in plans:
        found.setdefault(where[-1], (where, plan))
        if found.keys() >= wanted:
            break
    return list(found.values())


def broken(plans: list[tuple[Where, Plan]]) -> list[object]:
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
@pytest.mark.parametrize(
    ("setup", "fix_all"),
    [
        ("stepwise", False),
        pytest.param("batch", True, marks=pytest.mark.promise),
        pytest.param("stepwise", True, marks=pytest.mark.slow),
        pytest.param("batch", False, marks=pytest.mark.slow),
    ],
)
def test_every_fix_of_a_lab_of_the_gallery_works(
    pytestconfig: pytest.Config, setup: Setup, fix_all: bool
) -> None:
    """With --slow all of them; else one of each name, in the smallest lab that has it."""
    labs = [replace(load_lab(name), setup=setup) for name in gallery.names()]
    labs.sort(key=lambda lab: len(list(make_plan(lab).steps)))
    plans = (each for lab in labs for each in plans_of(lab, fix_all=fix_all))
    chosen = list(plans) if pytestconfig.option.slow else first_of_each_name(plans)
    assert {where[-1] for where, _ in chosen} == names()
    assert len(names()) == 9
    assert broken(chosen) == []


@pytest.mark.kernel
@pytest.mark.slow
def test_every_fix_of_a_random_lab_works(pytestconfig: pytest.Config) -> None:
    labs = random_labs(40, pytestconfig.option.faults_seed)
    chosen = [each for lab in labs for each in plans_of(lab, fix_all=False)]
    assert chosen
    assert broken(chosen) == []
