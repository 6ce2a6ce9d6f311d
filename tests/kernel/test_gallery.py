"""The gallery on a real kernel: each lab passes, and fails where a prediction of it is turned round."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from ipvkit.lab import PROBERS, Attempt, Check, Lab, Outcome, Prober, Setup, gallery
from ipvkit.lab.format import dump, load
from ipvkit.plan.make import make_plan
from ipvkit.plan.steps import Plan
from ipvkit.report.table import render
from ipvkit.run import engine
from ipvkit.run.verdicts import Result, judge
from ipvkit.targets.choice import KERNELS_AT_ONCE
from ipvkit.targets.uml import Uml

pytestmark = pytest.mark.kernel

PARTS = 4
"""In how many tests the gallery runs, so that no worker ends long after the others."""

OPPOSITE = {
    Outcome.REACHABLE: Outcome.UNREACHABLE,
    Outcome.UNREACHABLE: Outcome.REACHABLE,
    Outcome.ACCEPTED: Outcome.REFUSED,
    Outcome.REFUSED: Outcome.ACCEPTED,
}


@pytest.fixture(autouse=True)
def _fastest_kernel() -> None:
    """The gallery runs on the kernel that users of this machine get."""


def gallery_labs() -> list[Lab]:
    """Return every lab."""
    return [load(gallery.text(name), name) for name in gallery.names()]


def results_of(labs: Iterable[Lab], target: Uml | None = None) -> list[Result]:
    """Return what became of `labs`, each run in a kernel of its own."""
    return results([make_plan(lab) for lab in labs], target=target)


def results(plans: list[Plan], prober: Prober = "ping", target: Uml | None = None) -> list[Result]:
    """Return what became of `plans`, each run in a kernel of its own."""
    runs = engine.run_concurrently(
        plans, target or Uml(), lambda _event: None, at_once=KERNELS_AT_ONCE, timeout_s=600, prober=prober
    )
    return [judge(run) for run in runs]


def turned_round(lab: Lab) -> tuple[Lab, Check | Attempt]:
    """Return `lab` with the opposite expected of what it asks first, and that check or attempt."""
    phase = lab.phases[0]
    at = next(number for number, act in enumerate(phase.acts) if act.checks or act.attempts)
    act = phase.acts[at]
    probe = next(step.probe for step in make_plan(lab).steps if step.probe is not None)
    wrong: Check | Attempt
    if act.checks:
        wrong = replace(act.checks[0], expect=OPPOSITE[probe.expected])
        act = replace(act, checks=(wrong, *act.checks[1:]))
    else:
        wrong = replace(act.attempts[0], expect=OPPOSITE[probe.expected])
        act = replace(act, attempts=(wrong, *act.attempts[1:]))
    phase = replace(phase, acts=(*phase.acts[:at], act, *phase.acts[at + 1 :]))
    return replace(lab, phases=(phase, *lab.phases[1:])), wrong


def assert_as_predicted(result: Result) -> None:
    name = result.run.plan.lab.name
    assert result.failure is None, f"{name}: {result.failure}"
    assert [check for check in result.checks if not check.passed] == [], name
    assert (result.verdict, result.exit_code, result.run.residue) == ("pass", 0, ()), name


def assert_fails_where_turned_round(result: Result) -> None:
    """Check that a file that expects the opposite of the first check fails by it, with the same commands."""
    plan = result.run.plan
    lab, wrong = turned_round(plan.lab)
    turned = make_plan(load(dump(lab), lab.name))
    assert [step.command for step in turned.steps] == [step.command for step in plan.steps]
    result = judge(replace(result.run, plan=turned, jobs={}))
    failed = [verdict.probe.check for verdict in result.checks if verdict.passed is False]
    assert (result.verdict, result.exit_code, failed) == ("fail", 1, [wrong]), f"{lab.name}: {result.failure}"
    *rows, summary = [line for line in render(result).splitlines() if "DIFFERS" in line]
    assert [f"{wrong}  " in row and f" {wrong.expect} (lab) " in row for row in rows] == [True], lab.name
    assert f"(DIFFERS: {wrong})" in summary


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("setup", [None, pytest.param("batch", marks=pytest.mark.promise)])
def test_each_lab_comes_out_as_predicted_and_fails_by_name_where_turned_round(
    part: int, setup: Setup | None
) -> None:
    """As a user runs it, and in batches, which take two thirds of the time."""
    for result in results_of([replace(lab, setup=setup) for lab in gallery_labs()[part::PARTS]]):
        assert_as_predicted(result)
        assert_fails_where_turned_round(result)


@pytest.mark.slow
def test_a_lab_of_three_parents_that_was_written_from_the_reference_alone() -> None:
    """A VLAN among them, twelve endpoints, both families; whoever wrote it had seen no code.

    Asked by pings and by fping, it comes out the same.
    """
    lab = load((Path(__file__).parent / "large.yaml").read_text(), "large.yaml")
    assert (len(lab.parents), len(lab.endpoints)) == (3, 12)
    for result in (result for prober in PROBERS for result in results([make_plan(lab)], prober)):
        assert [check for check in result.checks if not check.passed] == []
        assert (result.verdict, result.exit_code) == ("pass", 0), result.failure


def test_a_lab_of_the_gallery_that_is_written_again_is_the_same() -> None:
    assert [load(dump(lab), lab.name) for lab in gallery_labs()] == gallery_labs()
