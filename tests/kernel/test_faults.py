"""Whatever goes wrong in a run, and whenever: the machine is as before, or `cleanup` makes it so.

Each day other cases are tried; --faults-seed repeats those of a day, --exhaustive tries all.
"""

import json
import os
import random
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import pytest

import faults
from faults import FAULTS, KILLED_AT, OF, Case, Faults
from guest import in_guest

NATIVE = ("walkthrough", "private", "mtu", "duplicate-address", "mode-flip", "ipv6")
"""Labs whose macvlan form has a kind of step that no other of them has."""

IPVLAN = ("l3s-proxy", "host-shim", "l3-announced", "mode-flip")
"""Labs with a kind of step that takes ipvlan."""

SLOW = ("hangs", "hangs-after")
QUICK = tuple(fault for fault in FAULTS if fault not in SLOW)
SAMPLES = {"run-lab": 30, "cleanup": 5, "down": 3}

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has namespaces to break")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    option = metafunc.config.option
    choice = random.Random(option.faults_seed)
    if "case" in metafunc.fixturenames:
        sample = [case for of, count in SAMPLES.items() for case in sampled(choice, of, count)]
        # Without a place: at each command.
        every = [Case(lab, fault, of=of) for of in OF for lab in NATIVE for fault in FAULTS]
        cases = every if option.exhaustive else sample
        metafunc.parametrize("case", cases, ids=[f"{c.of} {c.lab} {c.fault} {c.at or 'each'}" for c in cases])
    if "instants" in metafunc.fixturenames:
        count = 200 if option.exhaustive else 15
        metafunc.parametrize("instants", [[choice.random() for _ in range(count)]], ids=[str(count)])
    if "cases_of_a_guest" in metafunc.fixturenames:
        count = 40 if option.exhaustive else 2
        cases = [[drawn(choice, "run-lab", lab, QUICK) for _ in range(count)] for lab in IPVLAN]
        metafunc.parametrize("cases_of_a_guest", cases, ids=IPVLAN)


def sampled(choice: random.Random, of: str, count: int) -> list[Case]:
    """Return `count` cases, each fault as often as each other one, but for those that take seconds."""
    faults = [choice.choice(SLOW), *choice.sample(QUICK * count, count - 1)]
    return [drawn(choice, of, choice.choice(NATIVE), [fault]) for fault in faults]


def drawn(choice: random.Random, of: str, lab: str, faults: Sequence[str]) -> Case:
    return Case(lab, choice.choice(faults), at=round(choice.uniform(0.001, 1), 3), of=of)


@pytest.fixture(scope="module")
def native() -> Iterator[Faults]:
    with faults.start() as started:
        yield started


@only_root
def test_a_fault_leaves_nothing_behind(native: Faults, case: Case) -> None:
    steps = [0] if case.at else range(1, len(native.run(Case(case.lab, of=case.of)).commands) + 1)
    assert "".join(str(native.run(replace(case, step=step))) for step in steps) == ""


@only_root
def test_a_run_that_is_killed_at_any_instant_is_cleaned_up(native: Faults, instants: list[float]) -> None:
    outcomes = [native.run(Case("walkthrough", KILLED_AT, at=instant)) for instant in instants]
    assert "".join(map(str, outcomes)) == ""
    # What is killed before or after a run tells nothing.
    assert sum(outcome.exit_code == -9 for outcome in outcomes) >= len(outcomes) / 2


def test_a_fault_in_a_run_with_ipvlan_leaves_nothing_behind(cases_of_a_guest: list[Case]) -> None:
    cases = "".join(json.dumps(asdict(case)) + "\n" for case in cases_of_a_guest)
    here = Path(faults.__file__)
    said = in_guest(
        f"printf %s {shlex.quote(cases)} >/run/cases; cd {shlex.quote(str(here.parents[1]))}\n"
        f"PYTHONPATH=. {shlex.quote(sys.executable)} {here} --ipvlan --cases /run/cases",
        timeout_s=60 + 30 * len(cases_of_a_guest),
    )
    lines = [line for line in said.output.splitlines() if line.startswith("{")]
    assert len(lines) == len(cases_of_a_guest), said.output
    assert "".join(str(faults.outcome_of(line)) for line in lines) == ""
