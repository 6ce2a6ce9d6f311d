"""Each lab of the gallery on a real kernel: it passes, and fails where its prediction is turned round."""

from dataclasses import replace

import pytest

from ipvkit import engine, labs
from ipvkit.lab import Check, Lab, Outcome
from ipvkit.lab_file import load
from ipvkit.plan import make_plan
from ipvkit.targets.uml import Uml
from ipvkit.verdicts import Result, judge

pytestmark = pytest.mark.kernel

OTHERS = [name for name in labs.names() if name != labs.WALKTHROUGH]
"""test_uml runs the walkthrough."""


def result_of(lab: Lab) -> Result:
    return judge(engine.run(make_plan(lab), Uml(), lambda _event: None))


def turned_round(lab: Lab) -> tuple[Lab, Check]:
    """Return the first phase of `lab`, up to its first checks, with the opposite expected of the first."""
    phase = lab.phases[0]
    at = next(number for number, act in enumerate(phase.acts) if act.checks)
    first, *others = phase.acts[at].checks
    plan = make_plan(lab)
    probe = next(step.probe for step in plan.steps if step.probe is not None and step.probe.check == first)
    reached = probe.expected is Outcome.REACHABLE
    wrong = replace(first, expect=Outcome.UNREACHABLE if reached else Outcome.REACHABLE)
    act = replace(phase.acts[at], checks=(wrong, *others))
    return replace(lab, phases=(replace(phase, acts=(*phase.acts[:at], act)),)), wrong


@pytest.mark.parametrize("name", OTHERS)
def test_a_lab_of_the_gallery_comes_out_as_predicted(name: str) -> None:
    result = result_of(load(labs.text(name), name))
    assert [check for check in result.checks if not check.passed] == []
    assert (result.verdict, result.exit_code, result.run.residue) == ("pass", 0, ())


@pytest.mark.parametrize("name", OTHERS)
def test_a_prediction_that_is_turned_round_fails_by_name(name: str) -> None:
    lab, wrong = turned_round(load(labs.text(name), name))
    result = result_of(lab)
    assert [check.probe.check for check in result.checks if not check.passed] == [wrong]
    assert (result.verdict, result.exit_code) == ("fail", 1)
