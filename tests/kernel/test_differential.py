"""Labs in which a prediction was wrong once, and random ones: a kernel does what is predicted."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given

from differential import compared, random_labs, smaller
from ipvkit.lab import Lab
from ipvkit.lab.format import load
from strategies import labs

FOUND = sorted((Path(__file__).parent / "differences").glob("*.yaml"))


@pytest.mark.kernel
def test_what_differed_once_is_predicted() -> None:
    # What reaches what does not depend on the setup, and a batch takes less time.
    found = compared([replace(load(path.read_text(), path.name), setup="batch") for path in FOUND])
    assert [(one.lab.name, one.differing, one.failure) for one in found if not one.agrees] == []


@pytest.mark.kernel
def test_random_labs_come_out_as_predicted(pytestconfig: pytest.Config) -> None:
    count, seed = (300, pytestconfig.option.faults_seed) if pytestconfig.option.slow else (8, 0)
    found = compared(random_labs(count, seed))
    assert [(one.lab.name, one.differing, one.failure) for one in found if not one.agrees] == []


@pytest.mark.kernel
def test_random_labs_of_several_hosts_come_out_as_predicted(pytestconfig: pytest.Config) -> None:
    count, seed = (200, pytestconfig.option.faults_seed) if pytestconfig.option.slow else (3, 1)
    found = compared(random_labs(count, seed, several_hosts=True))
    assert [(one.lab.name, one.differing, one.failure) for one in found if not one.agrees] == []


@pytest.mark.slow
@given(labs(most_endpoints=2, most_phases=2))
def test_taking_parts_away_comes_to_an_end(lab: Lab) -> None:
    steps = 0
    while (less := next(smaller(lab), None)) is not None:
        assert less != lab
        assert (steps := steps + 1) < 200, "parts can still be taken away"
        lab = less
