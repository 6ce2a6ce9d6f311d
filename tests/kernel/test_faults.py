"""Whatever goes wrong in a run, and whenever: the machine is as before, or `cleanup` makes it so.

--slow tries other cases each time, which --faults-seed repeats; --exhaustive tries all.
"""

import json
import os
import random
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import pytest

import faults
from faults import FAULTS, KILLED_AT, OF, SLOW, UNPLACED, Case, Faults
from guest import in_guest
from requires import requires

NATIVE = ("walkthrough", "private", "mtu", "duplicate-address", "mode-flip", "ipv6")
"""Labs whose macvlan form has a kind of step that no other of them has."""

IPVLAN = ("l3s-proxy", "host-shim", "l3-announced", "mode-flip")
"""Labs with a kind of step that takes ipvlan."""

QUICK = tuple(fault for fault in FAULTS if fault not in SLOW)

GUEST_S, CASE_S = 480, 120
"""How long a guest, and a case in it, may take: ten times what an idle machine needs."""

only_root = requires("root")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    option = metafunc.config.option
    choice = random.Random(option.faults_seed)
    if "cases" in metafunc.fixturenames:
        labs = choice.sample(NATIVE, 2)
        sample = {lab: [*drawn(choice, lab, "run-lab", 5), *drawn(choice, lab, "cleanup", 1)] for lab in labs}
        sample[labs[0]] += drawn(choice, labs[0], "run-lab", 1, SLOW)
        sample[labs[1]] += drawn(choice, labs[1], "down", 1)
        # Without a place: at each command.
        each = {f"{lab} {of} {f}": [Case(lab, f, of=of)] for of in OF for lab in NATIVE for f in FAULTS}
        chosen = each if option.exhaustive else sample
        metafunc.parametrize("cases", chosen.values(), ids=chosen)
    if "instants" in metafunc.fixturenames:
        count = 200 if option.exhaustive else 12
        instants = [choice.random() for _ in range(2 * count)]
        metafunc.parametrize(("count", "instants"), [(count, instants)], ids=[str(count)])
    if "guests_cases" in metafunc.fixturenames:
        labs = choice.sample(IPVLAN, len(IPVLAN) if option.exhaustive else 1)
        count = 40 if option.exhaustive else 1
        cases = [drawn(choice, lab, "run-lab", count) for lab in labs]
        metafunc.parametrize("guests_cases", cases, ids=labs)


def drawn(choice: random.Random, lab: str, of: str, count: int, faults: Sequence[str] = QUICK) -> list[Case]:
    """Return `count` cases, each fault as often as each other one."""
    chosen = choice.sample(list(faults) * count, count)
    return [Case(lab, fault, at=round(choice.uniform(0.001, 1), 3), of=of) for fault in chosen]


LOOK = """\
import subprocess, sys, world
world.build()
for change in sys.argv[1:]:
    before = world.snapshot()
    subprocess.run(change, shell=True, check=True)
    if world.snapshot() == before:
        print(change)
"""
CHANGES = (
    "ip netns add other",
    "ip link add other type bridge",
    "ip link set beside mtu 1400",
    "ip link set beside down && ip link set beside up",
    "ip addr add 203.0.113.7/32 dev beside",
    "ip route add 192.0.2.0/24 dev beside",
    "ip route add 192.0.2.0/24 dev beside table 7",
    "ip rule add to 192.0.2.0/24 table 7",
    "ip neigh add 203.0.113.4 lladdr 02:00:00:00:00:04 dev beside nud permanent",
    "ip neigh add proxy 203.0.113.5 dev beside",
    "sysctl -qw net.ipv4.ip_nonlocal_bind=1",
    "ip netns exec bystander sysctl -qw net.ipv4.conf.mine.forwarding=0",
    "ip -n bystander link delete mine",
    "mkdir /run/there && mount -t tmpfs tmpfs /run/there",
    "touch /run/state/journal",
    "sleep 60 >/dev/null 2>&1 &",
)
"""Each leaves something of another kind; a link that was down has lost its route."""


@only_root
def test_whatever_is_left_behind_is_seen() -> None:
    command = [*faults.APART, sys.executable, "-c", LOOK, *CHANGES]
    here = {**os.environ, "PYTHONPATH": str(Path(faults.__file__).parent)}
    done = subprocess.run(command, env=here, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout == ""


@pytest.fixture(scope="module")
def native() -> Iterator[Faults]:
    with faults.start() as started:
        yield started


def everywhere(native: Faults, case: Case) -> list[Case]:
    """Return `case` at each command, if it has no place and needs one."""
    if case.at or case.fault in UNPLACED:
        return [case]
    commands = native.run(Case(case.lab, of=case.of)).commands
    return [replace(case, step=step) for step in range(1, len(commands) + 1)]


@only_root
def test_a_fault_leaves_nothing_behind(native: Faults, cases: list[Case]) -> None:
    outcomes = [native.run(case) for each in cases for case in everywhere(native, each)]
    assert "".join(map(str, outcomes)) == ""


@only_root
def test_a_run_that_is_killed_at_any_instant_is_cleaned_up(
    native: Faults, count: int, instants: list[float]
) -> None:
    killed = 0
    for instant in instants:
        outcome = native.run(Case("walkthrough", KILLED_AT, at=instant))
        assert str(outcome) == ""
        # Who comes too late kills nothing, and shows nothing.
        killed += outcome.exit_code == -signal.SIGKILL
        if killed == count:
            return
    raise AssertionError(f"{killed} runs were killed, and {len(instants) - killed} had ended before")


@pytest.mark.promise
def test_in_a_guest_with_ipvlan_a_fault_leaves_nothing_behind(guests_cases: list[Case]) -> None:
    cases = "".join(json.dumps(asdict(case)) + "\n" for case in guests_cases)
    here = Path(faults.__file__)
    said = in_guest(
        f"printf %s {shlex.quote(cases)} >/run/cases; cd {shlex.quote(str(here.parents[1]))}\n"
        f"PYTHONPATH=. {shlex.quote(sys.executable)} {here} --ipvlan --cases /run/cases",
        timeout_s=GUEST_S + CASE_S * len(guests_cases),
    )
    lines = [line for line in said.output.splitlines() if line.startswith("{")]
    assert len(lines) == len(guests_cases), said.output
    assert "".join(str(faults.outcome_of(line)) for line in lines) == ""
