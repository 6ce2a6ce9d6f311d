"""Who cannot reach whom: pairs and their groups, what a fix and another lab change, and the text."""

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_interface, ip_network
from itertools import permutations, product
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ipvkit.cli.commands import run as run_command_line
from ipvkit.core.errors import InvalidLab, UsageError
from ipvkit.lab import (
    FAMILIES,
    FLAGS,
    MODES,
    Act,
    Check,
    Endpoint,
    Host,
    Lab,
    Outcome,
    Phase,
    Route,
    Rule,
    Setting,
    gallery,
)
from ipvkit.lab.format import load
from ipvkit.lab.new import new_lab
from ipvkit.predict.pairs import Block, Pair, blocks_of, check_of, nodes_of
from ipvkit.predict.predictions import predict, why_lost
from ipvkit.predict.world import State, world_of
from ipvkit.report.review import render, render_comparison
from ipvkit.verbs.review import Group, compare, merged, review
from strategies import labs

COPIES = 1
"""How many endpoints are added for each one of a lab, exchangeable with it where nothing names it."""


def crowded(lab: Lab) -> Lab:
    """Return `lab` with copies of its endpoints, which have free addresses of the same networks."""
    taken = set(lab.taken)
    named: dict[str, list[str]] = {}
    endpoints = list(lab.endpoints)
    for number, endpoint in product(range(COPIES), lab.endpoints):
        own = []
        for address in endpoint.addresses:
            free = next((ip for ip in address.network.hosts() if ip not in taken), None)
            assume(free is not None)
            assert free is not None
            taken.add(free)
            own.append(ip_interface((free, address.network.prefixlen)))
        name, netns = f"{endpoint.name[:12]}-{number}", f"{endpoint.netns[:200]}-{number}"
        dev = "" if endpoint.dev == endpoint.name else endpoint.dev
        named.setdefault(endpoint.name, []).append(name)
        endpoints.append(
            replace(endpoint, name=name, netns=netns, addresses=tuple(own), dev=dev, altnames=())
        )
    phases = []
    for phase in lab.phases:
        copies = (copy for name in phase.endpoints for copy in named[name])
        phases.append(replace(phase, endpoints=(*phase.endpoints, *copies), acts=()))
    try:
        return replace(lab, endpoints=tuple(endpoints), phases=tuple(phases))
    except InvalidLab:
        assume(False)
        raise


def is_valid(lab: Lab, phase: Phase, check: Check) -> bool:
    """Return whether a lab file may have `check` in `phase`."""
    try:
        replace(lab, phases=(replace(phase, acts=(Act(checks=(check,)),)),))
    except InvalidLab:
        return False
    return True


def pairs_in(lab: Lab, phase: Phase) -> set[Pair]:
    """Return the pairs of `phase`, one by one."""
    every = product(permutations(nodes_of(lab, phase), 2), FAMILIES)
    found = [(a, b, family) for (a, b), family in every]
    return {pair for pair in found if is_valid(lab, phase, check_of(pair))}


def reached(lab: Lab, phase: Phase, pairs: Iterable[Pair]) -> set[Pair]:
    """Return which of `pairs` are reachable as `phase` begins, each predicted for itself."""
    world = world_of(lab, phase, State())
    return {pair for pair in pairs if predict(world, check_of(pair)).outcome is Outcome.REACHABLE}


def pairs_of(blocks: Iterable[Block]) -> list[Pair]:
    return [pair for block in blocks for pair in block.pairs()]


def of_groups(groups: Iterable[Group]) -> list[Pair]:
    return [pair for group in groups for pair in pairs_of(group.blocks)]


@st.composite
def alike(draw: st.DrawFn) -> Lab:
    """Labs of endpoints in one subnet that differ in one thing at most, and of a host that names one."""
    setting = draw(st.builds(Setting, st.sampled_from(MODES), st.sampled_from(FLAGS)))
    lab = new_lab("alike", setting, 5, ipv6=draw(st.booleans()), checks="gateway")
    (parent,), (first, *_) = lab.parents, lab.endpoints
    networks = [own.network for own in first.addresses]
    client = tuple(ip_interface((network[100], network.prefixlen)) for network in networks)
    nowhere = [ip_network(own.ip) for own in (*client, *first.addresses)]
    endpoints: list[Endpoint] = []
    for number, endpoint in enumerate(lab.endpoints):
        to = draw(st.sampled_from(nowhere if number else nowhere[: len(client)]))
        lost = Route(to, type="blackhole")
        match draw(st.sampled_from(("", "", "no route", "lost", "rule", "second address", "shared"))):
            case "no route":
                endpoint = replace(endpoint, routes=())
            case "lost":
                endpoint = replace(endpoint, routes=(Route(), lost))
            case "rule":
                table = replace(lost, table=100)
                endpoint = replace(
                    endpoint, routes=(Route(), table), rules=draw(st.sampled_from(((), (Rule(100, to=to),))))
                )
            case "second address":
                own = first.addresses[-1]
                more = ip_interface(
                    (own.network[draw(st.integers(120, 125)) + 6 * number], own.network.prefixlen)
                )
                endpoint = replace(endpoint, addresses=(*endpoint.addresses, more))
            case "shared" if number and endpoints[-1].netns == endpoints[-1].name:
                endpoint = replace(endpoint, netns=endpoints[-1].netns)
        endpoints.append(endpoint)
    named = draw(st.sampled_from(endpoints)).addresses[0].ip
    length = draw(st.sampled_from((named.max_prefixlen, named.max_prefixlen - 2)))
    of_client = Route(ip_network((named, length), strict=False), type="blackhole")
    routes = draw(st.sampled_from((None, (of_client,))))
    parent = replace(parent, hosts=(Host("client", client, routes),))
    return replace(lab, parents=(parent,), endpoints=tuple(endpoints))


crowds = labs(most_phases=1).map(crowded) | alike()


# --- pairs ----------------------------------------------------------------------------------------------


@given(crowds)
def test_the_blocks_have_each_pair_once_and_one_reason(lab: Lab) -> None:
    (phase,) = lab.phases
    world = world_of(lab, phase, State())
    blocks = list(blocks_of(world))
    found = pairs_of(blocks)
    assert len(found) == len(set(found)) == sum(block.count for block in blocks)
    assert set(found) == pairs_in(lab, phase)
    for block in blocks:
        reasons = {why_lost(world, check_of(pair)) for pair in block.pairs()}
        assert reasons == {why_lost(world, block.check)}
        outcomes = {predict(world, check_of(pair)).outcome for pair in block.pairs()}
        assert outcomes == {Outcome.UNREACHABLE if reasons != {""} else Outcome.REACHABLE}


@given(crowds)
def test_each_unreachable_pair_is_in_one_group(lab: Lab) -> None:
    (phase,) = lab.phases
    (reviewed,) = review(lab).phases
    found = of_groups(reviewed.groups)
    assert len(found) == len(set(found)) == sum(group.count for group in reviewed.groups)
    every = pairs_in(lab, phase)
    assert reviewed.pairs == len(every)
    assert set(found) == every - reached(lab, phase, every)
    keys = [(group.parent, group.reason) for group in reviewed.groups]
    assert len(keys) == len(set(keys))


@given(crowds)
def test_merged_blocks_have_the_same_pairs(lab: Lab) -> None:
    blocks = list(blocks_of(world_of(lab, lab.phases[0], State())))
    fewer = list(merged(blocks))
    assert len(fewer) <= len(blocks)
    assert sorted(pairs_of(fewer)) == sorted(pairs_of(blocks))


def test_endpoints_that_nothing_distinguishes_are_one_kind() -> None:
    """And so a review of hundreds takes as long as one of a few."""
    for mode, flag, ipv6 in product(MODES, FLAGS, (False, True)):
        lab = new_lab("many", Setting(mode, flag), 20, ipv6=ipv6)
        blocks = list(blocks_of(world_of(lab, lab.phases[0], State())))
        assert len({block.sources for block in blocks}) == 5
        assert len(blocks) == 9 * (2 if ipv6 else 1)


# --- fixes ----------------------------------------------------------------------------------------------


def gallery_lab(name: str) -> Lab:
    return load(gallery.text(name), f"{name}.yaml")


def test_the_groups_of_the_walkthrough() -> None:
    l2, l3 = review(gallery_lab("walkthrough")).phases
    # Each of two endpoints with the other, the host, the gateway and the neighbour, and back.
    assert (l2.pairs, l3.pairs) == (2 + 2 * 3 * 2, 3 * 2)
    assert [sorted((a, b) for a, b, _ in of_groups([group])) for group in l2.groups] == [
        [("test1", "host"), ("test2", "host")],
        [("host", "test1"), ("host", "test2")],
    ]
    silent, host = l3.groups
    assert sorted((a, b) for a, b, _ in of_groups([silent])) == [
        ("gateway", "test1"),
        ("neighbour", "test1"),
        ("test1", "gateway"),
        ("test1", "neighbour"),
    ]
    assert (
        silent.reason == "in l3 the endpoint is NOARP, so another host's ARP for the endpoint gets no answer"
    )
    assert silent.fix is not None
    assert host.fix is not None
    assert (silent.fix.name, silent.fix.fixed, silent.fix.gained, silent.fix.lost) == ("l3s-proxy", 4, (), ())
    assert (host.fix.name, host.fix.fixed, host.fix.gained, host.fix.lost) == ("host-shim", 2, (), ())


@given(crowds)
def test_what_a_fix_changes_is_all_that_it_changes(lab: Lab) -> None:
    (reviewed,) = review(lab).phases
    unreachable = set(of_groups(reviewed.groups))
    for group in reviewed.groups:
        if group.fix is None:
            continue
        own, gained, lost = set(of_groups([group])), pairs_of(group.fix.gained), pairs_of(group.fix.lost)
        assert 0 < group.fix.fixed <= len(own)
        assert len(gained) == len(set(gained))
        assert set(gained) <= unreachable - own
        assert unreachable.isdisjoint(lost)


# --- what the lab expects -------------------------------------------------------------------------------


def expecting(outcome: Outcome) -> Lab:
    """Return a lab in l3 that expects an outcome of a ping, after an announcement and before one."""
    lab = new_lab("expecting", Setting("l3"), 2)
    check = Check("neighbour", "test1", expect=outcome)
    announced = Act(announce=("test1",)), Act(checks=(check,))
    plain = Act(checks=(replace(check, destination="test2"), Check("test1", "test2", expect=outcome)))
    phase = replace(lab.phases[0], acts=(plain, *announced, plain))
    return replace(lab, phases=(phase, replace(phase, name="again")), parallel=1)


def test_a_check_that_cannot_be_reachable_as_expected_is_named() -> None:
    found = review(expecting(Outcome.REACHABLE)).unmet
    # An announcement fills only an entry that failed: in the first phase none did.
    assert [(one.phase, str(one.check), one.predicted) for one in found] == [
        (phase, f"neighbour -> {endpoint}", Outcome.UNREACHABLE)
        for phase, endpoint in (
            *(("l3", endpoint) for endpoint in ("test2", "test1", "test2")),
            *(("again", endpoint) for endpoint in ("test2", "test2")),
        )
    ]
    assert "NOARP" in found[0].reason
    assert "expects" not in found[0].reason
    assert {one.phase for one in review(expecting(Outcome.REACHABLE), "again").unmet} == {"again"}
    assert review(expecting(Outcome.UNREACHABLE)).unmet == ()


# --- comparisons ----------------------------------------------------------------------------------------


@given(crowds)
def test_a_lab_changes_nothing_of_itself(lab: Lab) -> None:
    (change,) = compare(lab, lab).phases
    assert (change.gained, change.lost, change.other_reason) == ((), (), 0)
    assert (change.nodes_added, change.nodes_removed) == ((), ())


def fewer(lab: Lab, drop: str, short: str) -> Lab:
    """Return `lab` without endpoint `drop`, where others are left, and with one address of `short`."""
    (phase,) = lab.phases
    names = tuple(name for name in phase.endpoints if name != drop) or phase.endpoints
    endpoints = (
        replace(e, addresses=e.addresses[:1], routes=None) if e.name == short else e for e in lab.endpoints
    )
    try:
        return replace(lab, endpoints=tuple(endpoints), phases=(replace(phase, endpoints=names),))
    except InvalidLab:
        return replace(lab, phases=(replace(phase, endpoints=names),))


@given(labs(most_endpoints=2, most_phases=2).map(crowded), st.data())
def test_gained_and_lost_are_what_is_reachable_in_one_lab_and_each_other_when_swapped(
    lab: Lab, data: st.DataObject
) -> None:
    new, old = (replace(lab, phases=(phase,)) for phase in (lab.phases[0], lab.phases[-1]))
    names = st.sampled_from(lab.phases[0].endpoints)
    new = fewer(new, data.draw(names), data.draw(names))
    (change,), (back,) = compare(new, old).phases, compare(old, new).phases
    nodes = [{*nodes_of(each, each.phases[0])} for each in (new, old)]
    assert {*change.nodes_added} == nodes[0] - nodes[1]
    assert {*change.nodes_removed} == nodes[1] - nodes[0]
    both = nodes[0] & nodes[1]
    now, then = (
        reached(each, each.phases[0], (p for p in pairs_in(each, each.phases[0]) if {*p[:2]} <= both))
        for each in (new, old)
    )
    gained, lost = of_groups(change.gained), of_groups(change.lost)
    assert sorted(gained) == sorted(now - then)
    assert sorted(lost) == sorted(then - now)
    assert sorted(of_groups(back.gained)) == sorted(lost)
    assert sorted(of_groups(back.lost)) == sorted(gained)
    assert back.other_reason == change.other_reason
    assert (back.nodes_added, back.nodes_removed) == (change.nodes_removed, change.nodes_added)


def with_phases(lab: Lab, *names: str) -> Lab:
    return replace(lab, phases=tuple(replace(lab.phases[0], name=name) for name in names))


def test_phases_are_compared_by_name_or_with_the_only_one() -> None:
    lab = new_lab("phases", Setting("l2"), 2)

    def compared(new: Lab, old: Lab, name: str | None = None) -> list[tuple[str, str]]:
        return [(each.phase, each.former) for each in compare(new, old, name).phases]

    assert compared(with_phases(lab, "a", "b"), with_phases(lab, "b", "a", "c")) == [("a", "a"), ("b", "b")]
    found = compare(with_phases(lab, "a", "b"), with_phases(lab, "b", "c"))
    assert (found.phases_added, found.phases_removed) == (("a",), ("c",))
    assert compared(with_phases(lab, "a", "b"), with_phases(lab, "live")) == [("a", "live"), ("b", "live")]
    assert compared(with_phases(lab, "live"), with_phases(lab, "a", "b")) == [("live", "a"), ("live", "b")]
    assert compared(with_phases(lab, "a", "b"), with_phases(lab, "b", "a"), "b") == [("b", "b")]
    with pytest.raises(UsageError, match="no phase of phases is called"):
        compare(with_phases(lab, "a", "b"), with_phases(lab, "c", "d"))
    with pytest.raises(UsageError, match="has no phase 'x'"):
        compare(with_phases(lab, "a", "b"), with_phases(lab, "a"), "x")


def test_endpoints_that_leave_a_shared_namespace_gain_nothing_that_is_compared() -> None:
    lab = new_lab("apart", Setting("l2"), 4, checks="gateway")
    test1, test2, *others = lab.endpoints

    def shared(of: Endpoint, netns: str) -> Endpoint:
        return replace(of, netns=netns, routes=())

    joined = replace(lab, endpoints=(test1, shared(test2, test1.netns), *others))
    parted = replace(lab, endpoints=(test1, shared(test2, test2.netns), *others))
    (change,) = compare(parted, joined).phases
    compared = {pair[:2] for pair in of_groups((*change.gained, *change.lost))}
    assert compared.isdisjoint({("test1", "test2"), ("test2", "test1")})


# --- text -----------------------------------------------------------------------------------------------

A_SCREEN = 40


@pytest.mark.parametrize(("mode", "flag"), [*product(MODES, FLAGS)])
@pytest.mark.parametrize("ipv6", [False, True])
def test_two_hundred_endpoints_fit_a_screen(mode: str, flag: str, ipv6: bool) -> None:
    many, others = (
        new_lab("many", Setting(mode, flag), 200, ipv6=ipv6)  # type: ignore[arg-type]
        for mode, flag in ((mode, flag), ("l3" if mode == "l2" else "l2", "bridge"))
    )
    texts = render(review(many), "./many.yaml"), render_comparison(compare(many, others))
    for lines in (text.splitlines() for text in texts):
        assert len(lines) <= A_SCREEN
        assert max(map(len, lines)) <= 110


@pytest.mark.parametrize("name", gallery.names())
def test_the_commands_of_a_review_print_the_fix_that_it_names(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    reviewed = review(gallery_lab(name))
    fixes = [group.fix for phase in reviewed.phases for group in phase.groups[:5] if group.fix is not None]
    lines = [line.strip() for line in render(reviewed, name).splitlines()]
    commands = [line.split()[1:] for line in lines if line.startswith("ipvkit explain ")]
    assert len(commands) == len(fixes)
    for command, fix in {tuple(c): f for c, f in zip(commands, fixes, strict=True)}.items():
        assert run_command_line(command) == 0
        assert f"fix 1, {fix.name}: {fix.cost}" in capsys.readouterr().out


# --- the command ----------------------------------------------------------------------------------------


def run(*words: str) -> int:
    return run_command_line(["review", *words])


def lab_file(folder: Path, name: str, *changes: tuple[str, str]) -> str:
    """Return the path of the walkthrough with `changes` of its text."""
    text = gallery.text("walkthrough")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (folder / name).write_text(text)
    return str(folder / name)


def test_the_exit_code_is_about_what_is_expected_or_lost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expects = ("{from: host, to: test1}", "{from: host, to: test1, expect: reachable}")
    wanted = lab_file(tmp_path, "wanted.yaml", expects)
    assert run("walkthrough") == run("walkthrough", "--against", "walkthrough") == 0
    capsys.readouterr()
    assert run(wanted) == run(wanted, "--json") == 1
    first = capsys.readouterr().out.splitlines()[0]
    assert first.startswith("error: phase l3: host -> test1 is expected to be reachable, and the model")
    assert run(wanted, "--phase", "l2") == 0
    private = lab_file(tmp_path, "private.yaml", ("    mode: l2\n", "    mode: l2\n    flag: private\n"))
    assert run(private, "--against", "walkthrough") == run(private, "--against", wanted, "--json") == 1
    capsys.readouterr()
    assert run("walkthrough", "--against", private) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "walkthrough: 0 pairs lost, 2 gained"


def test_three_labs_are_too_many(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("walkthrough", "--live", "--against", "l2") == 2
    assert "hint: give one of the two" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ("nosuch",),
        ("walkthrough", "--phase", "l4"),
        ("walkthrough", "--against", "nosuch"),
        ("walkthrough", "--against", "private", "--phase", "l3"),
    ],
)
def test_wrong_usage_is_one_line_with_a_hint(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*words) == 2
    error, hint = capsys.readouterr().err.splitlines()
    assert error.startswith("error: ")
    assert hint.startswith("hint: ")
