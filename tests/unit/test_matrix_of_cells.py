"""The matrix: each cell is asked once, with cold neighbour tables, and told in order."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from itertools import combinations, product

import pytest

from ipvkit.core.command import Completed
from ipvkit.core.errors import UsageError
from ipvkit.core.values import Flag, Mode
from ipvkit.lab import FAMILIES, FAR, FLAGS, GATEWAY, HOST, MODES, NEIGHBOUR, Act, Check, Lab, Outcome, Phase
from ipvkit.lab.format import dump, load
from ipvkit.lab.parts import Family
from ipvkit.plan.steps import Plan
from ipvkit.predict.later import after, next_phase
from ipvkit.predict.predictions import lasts_s
from ipvkit.predict.world import State, world_of
from ipvkit.report.matrix import render, verdict_line
from ipvkit.run.engine import Run
from ipvkit.run.verdicts import Result, judge
from ipvkit.verbs.matrix import (
    ENDPOINTS,
    PAIRS,
    PAIRS_APART,
    STRATEGIES,
    Cell,
    Matrix,
    observed,
    plans,
    predicted,
    settings,
    strategy_of,
)
from recorder import answered, unanswered

Choice = tuple[Mode | None, Flag | None, Family | None, str | None]

CHOICES: list[Choice] = [
    *((mode, None, None, None) for mode in MODES),
    *((None, flag, None, None) for flag in FLAGS),
    *((None, None, family, None) for family in FAMILIES),
    *((None, None, None, strategy) for strategy in STRATEGIES),
    *((mode, "vepa", "ipv6", "routed") for mode in MODES),
]
"""Each word of each dimension alone, and all dimensions together."""

Place = tuple[str, str, str, str, str, str]


def place(cell: Cell) -> Place:
    return cell.mode, cell.flag, cell.strategy, cell.family, cell.source, cell.destination


@cache
def all_of_it() -> list[Plan]:
    return plans(4)


@cache
def whole() -> Matrix:
    return predicted(all_of_it())


# --- what is asked ------------------------------------------------------------------------------------


def test_an_endpoint_and_everybody_else_are_asked_both_ways() -> None:
    one, two = ENDPOINTS
    others = (HOST, two, GATEWAY, NEIGHBOUR, FAR)
    asked = [pair for other in others for pair in ((one, other), (other, one))]
    assert Counter(PAIRS) == Counter(asked)


def test_every_mode_and_flag_is_there_with_every_strategy_that_can_work_in_it() -> None:
    works_in = {
        "l2": {"none", "host-shim", "routed"},
        "l3": {"none", "host-shim", "routed", "announce", "static-neigh"},
        "l3s": {"none", "host-shim", "routed", "announce", "static-neigh", "l3s-proxy"},
    }
    assert Counter((s.mode, s.flag, strategy_of(s)) for s in settings()) == Counter(
        (mode, flag, strategy) for mode, flag in product(MODES, FLAGS) for strategy in works_in[mode]
    )


@pytest.mark.long
def test_each_pair_is_asked_once_for_each_setting_and_family() -> None:
    """But for IPv6 under `announce`: what is announced is ARP's."""
    assert Counter(map(place, whole().cells)) == Counter(
        (s.mode, s.flag, strategy_of(s), family, *pair)
        for s, family, pair in product(settings(), FAMILIES, PAIRS)
        if (strategy_of(s), family) != ("announce", "ipv6")
    )


def test_cells_are_in_the_order_of_settings_families_and_pairs() -> None:
    order: list[tuple[str, str, str]] = [(s.mode, s.flag, strategy_of(s)) for s in settings()]
    found = [
        (order.index(place(cell)[:3]), cell.family, PAIRS.index((cell.source, cell.destination)))
        for cell in whole().cells
    ]
    assert found == sorted(found)


@pytest.mark.long
@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_a_choice_is_that_part_of_the_whole(choice: Choice) -> None:
    mode, flag, family, strategy = choice
    wanted = (mode, flag, strategy, family)
    cells = predicted(plans(3, *choice)).cells
    assert cells == tuple(
        cell
        for cell in whole().cells
        if all(want in (None, has) for want, has in zip(wanted, place(cell)[:4], strict=True))
    )


@pytest.mark.long
@pytest.mark.parametrize("count", [2, 60])
def test_in_however_many_plans_the_cells_are_the_same(count: int) -> None:
    made = plans(count)
    assert abs(len(made) - min(count, len(settings()))) <= 1
    assert predicted(made).cells == whole().cells


# --- how it is asked ----------------------------------------------------------------------------------


def acts(lab: Lab) -> list[tuple[Phase, Act, State]]:
    """Return every act of a lab with the state before it."""
    state, found = State(), []
    for phase in lab.phases:
        for act in phase.acts:
            found.append((phase, act, state))
            state = after(world_of(lab, phase, state), act).state
        state = next_phase(lab, state)
    return found


@pytest.mark.long
def test_every_cell_is_asked_with_cold_neighbour_tables() -> None:
    for plan in all_of_it():
        for phase, act, state in acts(plan.lab):
            if act.checks:
                assert (dict(state.known), state.failed) == ({}, frozenset()), phase.name


@pytest.mark.long
def test_no_two_cells_that_are_asked_side_by_side_share_a_neighbour_entry() -> None:
    for plan in all_of_it():
        for phase, act, state in acts(plan.lab):
            ends = Counter((check.family, frozenset(map(by_gateway, pair(check)))) for check in act.checks)
            assert all(count == 1 for count in ends.values())
            entries = [left_by(plan.lab, phase, check, state) for check in act.checks]
            for one, other in combinations(entries, 2):
                assert not one & other, phase.name


def pair(check: Check) -> tuple[str, str]:
    return check.source, check.destination


def by_gateway(role: str) -> str:
    """Return who is asked for by ARP on the way to a role."""
    return GATEWAY if role == FAR else role


def left_by(lab: Lab, phase: Phase, check: Check, state: State) -> set[object]:
    """Return the entries that a check leaves at the peers, without those that the host always confirms."""
    later = after(world_of(lab, phase, state), Act(checks=(check,))).state
    of_host = {own.ip for parent in lab.parents for own in parent.host}
    return {entry for entry in (*later.known, *later.failed) if entry[1] not in of_host}


def test_every_lab_is_one_that_could_be_written_by_hand() -> None:
    for plan in all_of_it():
        assert load(dump(plan.lab), "matrix.yaml") == plan.lab


@pytest.mark.long
def test_on_two_hosts_each_pair_is_asked_once_for_each_setting_that_is_for_others() -> None:
    made = plans(3, two_hosts=True)
    cells = predicted(made).cells
    assert Counter(map(place, cells)) == Counter(
        (s.mode, s.flag, strategy_of(s), family, *pair)
        for s, family, pair in product(settings(), FAMILIES, PAIRS_APART)
        if (strategy_of(s), family) != ("announce", "ipv6") and not s.host_shim
    )
    # In l3 and l3s an endpoint is found by what a strategy does, and in l2 by itself.
    silent = {(c.mode, c.strategy) for c in cells if c.predicted is Outcome.UNREACHABLE}
    assert silent == {("l3", "none"), ("l3s", "none")}
    assert {c.predicted for c in cells if (c.mode, c.strategy) in silent} == {Outcome.UNREACHABLE}
    for plan in made:
        assert load(dump(plan.lab), "matrix.yaml") == plan.lab
        for phase, act, state in acts(plan.lab):
            assert not act.checks or (dict(state.known), state.failed) == ({}, frozenset()), phase.name
            assert len({(check.source, check.destination) for check in act.checks}) <= 1


def test_the_table_of_two_hosts_has_a_column_for_each_pair() -> None:
    header, _, row, *_ = render(predicted(plans(1, "l3", "vepa", None, "none", two_hosts=True))).splitlines()
    assert header.split() == ["mode", "flag", "strategy", "h2>e1", "e1>h2", "e1>e2"]
    assert row.split() == ["l3", "vepa", "none", "no", "no", "no"]
    with pytest.raises(UsageError, match="no cell matches"):
        plans(1, strategy="host-shim", two_hosts=True)


# --- what came of it ----------------------------------------------------------------------------------

SMALL: Choice = ("l3s", "bridge", "ipv4", None)


def results(
    made: Sequence[Plan],
    otherwise: Sequence[int] = (),
    missing: Sequence[int] = (),
    kernel: str = "6.12.0",
    late_s: float | None = None,
) -> list[Result]:
    """Return results in which all came out as predicted, but for the pings with these numbers.

    With `late_s` the run has a clock, and the last check of each act began so late.
    """
    found, number = [], 0
    for plan in made:
        run = Run(plan, "uml", kernel, {step.id: Completed(0, "", "", 0.0) for step in plan.steps})
        for step in plan.steps:
            if step.probe is None:
                continue
            replies = (step.probe.expected is Outcome.REACHABLE) != (number in otherwise)
            output = (answered if replies else unanswered)(str(step.probe.address))
            run.completed[step.id] = Completed(0 if replies else 1, output, "", 0.0)
            if number in missing:
                del run.completed[step.id]
            number += 1
        if late_s is not None:
            set_clock(run, late_s)
        found.append(judge(run))
    return found


def set_clock(run: Run, late_s: float) -> None:
    """Let each stage take as long as its checks, with the last one that much later."""
    now = 0.0
    for stage in (stage for stages in run.jobs.values() for stage in stages):
        checks = [probe.check for job in stage for probe in job.probes]
        longest = max((lasts_s(check) for check in checks if isinstance(check, Check)), default=0.0)
        for job in stage:
            done = run.completed.get(job.id, Completed(0, "", "", 0.0))
            run.completed[job.id] = replace(done, duration_s=longest)
            run.ended_s[job.id] = now + longest
        run.ended_s[stage[-1].id] += late_s if longest else 0.0
        now = run.ended_s[stage[-1].id]


@pytest.mark.parametrize("count", [1, 4])
def test_what_kernels_did_is_told_beside_what_was_predicted(count: int) -> None:
    made = plans(count, *SMALL)
    matrix = observed(results(made), 12.0)
    assert list(map(place, matrix.cells)) == list(map(place, predicted(made).cells))
    assert all(cell.agrees for cell in matrix.cells)
    assert (matrix.target, matrix.kernels, matrix.duration_s) == ("uml", ("6.12.0",), 12.0)
    assert verdict_line(matrix).startswith(f"{len(matrix.cells)} of {len(matrix.cells)} cells")


def test_nothing_agrees_that_was_not_asked() -> None:
    assert {cell.agrees for cell in predicted(plans(1, *SMALL)).cells} == {None}


def test_a_cell_that_came_out_otherwise_and_one_that_was_not_reached_are_told() -> None:
    matrix = observed(results(plans(1, *SMALL), otherwise=[0], missing=[1]), 1.0)
    as_predicted = len(matrix.cells) - 2
    assert Counter(cell.agrees for cell in matrix.cells) == {True: as_predicted, False: 1, None: 1}
    (wrong,) = (cell for cell in matrix.cells if cell.agrees is False)
    assert {wrong.predicted, wrong.observed} == {Outcome.REACHABLE, Outcome.UNREACHABLE}
    text = render(matrix)
    assert "!" in text.partition("\n\n")[0]
    assert f"{wrong.source} -> {wrong.destination}: predicted {wrong.predicted}" in text
    assert verdict_line(matrix).startswith(f"{as_predicted} of ")


@pytest.mark.parametrize(("late_s", "agrees"), [(0.0, False), (5.0, True)])
def test_where_a_run_was_so_slow_that_both_are_possible_each_agrees(late_s: float, *, agrees: bool) -> None:
    """The announcements may be over before the ping begins; two siblings need none."""
    made = plans(1, "l3", "bridge", "ipv4", "announce")
    matrix = observed(results(made, otherwise=range(99), late_s=late_s), 1.0)
    of_pair = {(cell.source, cell.destination): cell for cell in matrix.cells}
    cell = of_pair["endpoint1", GATEWAY]
    assert (cell.predicted, cell.observed) == (Outcome.REACHABLE, Outcome.UNREACHABLE)
    assert cell.agrees is agrees
    assert of_pair[ENDPOINTS].agrees is False
    why = "the run was so slow that both are possible" if agrees else cell.reason
    assert f"endpoint1 -> gateway: predicted reachable, observed unreachable ({why})\n" in render(matrix)


def test_a_cell_names_the_kernels_only_where_they_differ() -> None:
    made = plans(1, "l3s", "bridge", "ipv4", "none")
    otherwise = {"5.10.46": (), "6.1.176": (0,), "6.12.113": (), "7.2.7": (1,)}
    found = [each for kernel, these in otherwise.items() for each in results(made, these, kernel=kernel)]
    matrix = observed(found, 1.0)
    count = len(predicted(made).cells)
    assert [cell.kernel for cell in matrix.cells] == [*otherwise] * count
    row = render(matrix).splitlines()[2]
    assert re.findall(r"(\w+) \((\S+) (\S+)\)", row) == [("no", "6.1.176", "yes!"), ("yes", "7.2.7", "?!")]
    assert verdict_line(matrix).startswith(
        f"{4 * count - 2} of {4 * count} cells as predicted; uml, kernels 5.10.46, "
    )
    wrong = [line for line in render(matrix).splitlines() if ": predicted " in line]
    assert [line.partition(" on kernel ")[2].partition(":")[0] for line in wrong] == ["6.1.176", "7.2.7"]
    same = observed([each for kernel in otherwise for each in results(made, kernel=kernel)], 1.0)
    assert "(" not in render(same).splitlines()[2]


def test_the_table_has_a_row_for_each_setting() -> None:
    rows = [line.split() for line in render(whole()).splitlines()[2:]]
    shown = [tuple(row[:3]) for row in rows[: len(settings())]]
    assert shown == [(s.mode, s.flag, strategy_of(s)) for s in settings()]
