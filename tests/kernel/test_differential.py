"""Labs in which a prediction was wrong once, and random ones: a kernel does what is predicted."""

from collections import Counter

import pytest
from hypothesis import given

from differential import OBSERVED, certain, compared, labs_that_differed, random_labs, smaller
from ipvkit.lab import Lab
from strategies import labs


@pytest.mark.kernel
def test_what_differed_once_is_predicted() -> None:
    found = compared(labs_that_differed())
    assert [(one.lab.name, one.differing, one.failure) for one in found if not one.agrees] == []
    probes = [{name: [v.probe for v in each] for name, each in one.verdicts.items()} for one in found]
    lines = [line for one, phases in zip(found, probes, strict=True) for line in certain(one.lab, phases)]
    # On a slow machine more than one outcome of a check may be possible.
    assert Counter(lines) <= Counter(OBSERVED.read_text(encoding="utf-8").splitlines())


@pytest.mark.promise
@pytest.mark.kernel
def test_random_labs_come_out_as_predicted(pytestconfig: pytest.Config) -> None:
    count, seed = (300, pytestconfig.option.faults_seed) if pytestconfig.option.slow else (8, 0)
    found = compared(random_labs(count, seed))
    assert [(one.lab.name, one.differing, one.failure) for one in found if not one.agrees] == []


@pytest.mark.promise
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
