"""Plans: what runs, in which order, side by side with what, and what takes it back."""

import copy
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface, ip_interface

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cases import for_each
from ipvkit.core.command import Command
from ipvkit.core.errors import UsageError
from ipvkit.core.values import InterfaceAddress
from ipvkit.export.preview import preview
from ipvkit.lab import (
    GATEWAY,
    HOST,
    LAN,
    NEIGHBOUR,
    PARALLEL,
    PEERS,
    SETUPS,
    Act,
    Attempt,
    Check,
    DeleteLink,
    Host,
    Lab,
    Outcome,
    Route,
    Rule,
    Setting,
    gallery,
    on_parent,
)
from ipvkit.lab.format import load
from ipvkit.lab.new import new_lab
from ipvkit.lab.sysctls import Sysctl as OfNode
from ipvkit.plan.make import make_plan
from ipvkit.plan.resources import Sysctl
from ipvkit.plan.steps import Plan, Probe, Section, Stage, Step, Undo
from ipvkit.predict.later import after, next_phase
from ipvkit.predict.world import State, world_of
from ipvkit.run.batches import jobs_of
from machine import Machine, place
from strategies import labs, labs_on_a_parent

SEED = """\
ip netns add test1
ip netns add test2
ip link add test1 link eth0 type ipvlan mode l2
ip link add test2 link eth0 type ipvlan mode l2
ip link set test1 netns test1
ip link set test2 netns test2
ip netns exec test1 ip link set test1 up
ip netns exec test2 ip link set test2 up
ip netns exec test1 ip addr add 192.168.104.211/24 dev test1
ip netns exec test2 ip addr add 192.168.104.212/24 dev test2
ip netns exec test1 ip route add default dev test1
ip netns exec test2 ip route add default dev test2
ip netns exec test1 ip link delete test1
ip netns exec test2 ip link delete test2
ip link add test1 link eth0 type ipvlan mode l3
ip link set test1 netns test1
ip netns exec test1 ip link set test1 up
ip netns exec test1 ip addr add 192.168.104.211/24 dev test1
ip netns exec test1 ip route add default dev test1
arping -c 2 -U -I eth0 192.168.104.211
""".splitlines()
"""The commands of the experiment that ipvkit began with, in its order, without its pings."""

SEED_PINGS = (
    *("ip netns exec test1 ping 192.168.104.212", "ip netns exec test2 ping 192.168.104.211"),
    *("ip netns exec test2 ping 192.168.104.254", "ip netns exec test1 ping 192.168.104.254"),
)


def walkthrough() -> Lab:
    return load(gallery.text(gallery.WALKTHROUGH), "walkthrough.yaml")


def on_eth0() -> Lab:
    return on_parent(walkthrough(), "eth0", gateway=IPv4Address("192.168.104.254"))


def commands(plan: Plan) -> list[str]:
    return [line for line in preview(plan).splitlines() if line and not line.startswith("#")]


def made_and_gone(stages: Iterator[Stage]) -> tuple[list[Step], list[Step]]:
    """Return the steps with an undo, and those of them that no later step cancels_undo_of, in order."""
    done: list[Step] = []
    left: list[Step] = []
    for step in (step for stage in stages for step in stage):
        left = [other for other in left if other.id not in step.cancels_undo_of]
        if step.undo is not None:
            done.append(step)
            left.append(step)
    return done, left


def named(step: Step) -> set[tuple[str, str]]:
    """Return what `step` makes or takes away: namespaces, and links with the namespace they are in."""
    where, words = place(step.command)
    match words:
        case ("ip", "netns", "add" | "del", name):
            return {("netns", name)}
        case ("ip", "link", "add" | "delete", "dev", name, *_) | ("ip", "link", "add" | "delete", name, *_):
            options = words[: words.index("type")] if "type" in words else ()
            return {(options[options.index("netns") + 1] if "netns" in options else where, name)}
        case ("ip", "link", "set", "dev", name, "netns", there):
            return {(where, name), (there, name)}
        case ("ip", "link", "set", name, "netns", there):
            return {(where, name), (there, name)}
        case ("ip", "link", "set", *_, name, "netns", there, "name", other):
            return {(where, name), (there, other)}
        case ("ip", "link", "set", *_, name, "name", other):
            return {(where, name), (where, other)}
    return set()


@given(labs())
def test_every_step_has_an_id_of_its_own_and_a_purpose(lab: Lab) -> None:
    plan = make_plan(lab)
    steps = list(plan.steps)
    assert len({step.id for step in steps}) == len(steps)
    assert all(step.purpose and step.purpose.isprintable() for step in steps)
    assert all(step.undo.purpose for step in plan.steps if step.undo is not None)


@given(labs())
def test_no_stage_is_empty_and_its_steps_touch_different_things(lab: Lab) -> None:
    for stage in make_plan(lab).stages:
        touched = [thing for step in stage for thing in named(step)]
        assert stage
        assert len(touched) == len(set(touched))


@given(labs())
def test_what_a_step_settles_or_reads_was_done_in_an_earlier_stage(lab: Lab) -> None:
    earlier: dict[str, Step] = {}
    for stage in make_plan(lab).stages:
        for step in stage:
            assert all(earlier[id].undo is not None for id in step.cancels_undo_of)
            if step.undo is not None and step.undo.reads:
                assert step.undo.reads in earlier
        earlier |= {step.id: step for step in stage}


@given(labs())
def test_a_whole_run_leaves_exactly_the_plans_undo_list(lab: Lab) -> None:
    plan = make_plan(lab)
    _, left = made_and_gone(plan.stages)
    assert [step.id for step in plan.undos] == [step.id for step in reversed(left)]


@given(labs())
def test_the_undo_list_takes_every_namespace_away_that_was_made_and_no_other(lab: Lab) -> None:
    plan = make_plan(lab)
    made = [step.command.argv[-1] for step in plan.steps if step.command.argv[:3] == ("ip", "netns", "add")]
    undone = [step.undo.command().argv for step in plan.undos if step.undo is not None]
    deleted = [argv[-1] for argv in undone if argv[:3] == ("ip", "netns", "del")]
    assert sorted(deleted) == sorted(made)
    assert len(set(made)) == len(made)


@given(labs() | labs_on_a_parent())
def test_after_any_stage_the_undo_leaves_the_machine_as_it_was(lab: Lab) -> None:
    """Each command finds what it needs, and each undo what it takes away, however far the run came."""
    machine = Machine({} if lab.simulated else {lab.parent: lab.parents[0].host})
    before, read, left = copy.deepcopy(machine).state, dict[str, str](), list[Step]()
    for stage in make_plan(lab).stages:
        for step in stage:
            exit_code, read[step.id] = machine.run(step.command)
            assert exit_code in step.command.ok, f"{step.command}: {read[step.id]}"
            left = [other for other in left if other.id not in step.cancels_undo_of]
            if step.undo is not None and exit_code == 0:
                left.append(step)
        undone = copy.deepcopy(machine)
        for step in reversed(left):
            assert step.undo is not None
            command = step.undo.command(read.get(step.undo.reads, ""))
            assert undone.run(command) == (0, ""), str(command)
        assert undone.state == before


@given(labs() | labs_on_a_parent())
def test_a_kernel_says_to_each_attempt_what_is_predicted(lab: Lab) -> None:
    machine = Machine({} if lab.simulated else {lab.parent: lab.parents[0].host})
    for step in make_plan(lab).steps:
        exit_code, said = machine.run(step.command)
        if step.probe is not None and isinstance(step.probe.check, Attempt) and not step.probe.check.expect:
            predicted = step.probe.expected is Outcome.ACCEPTED
            assert predicted == (exit_code == 0), f"{step.command}: {said}, and {step.probe.reason}"


@given(labs())
def test_the_commands_make_the_world_that_physics_sees(lab: Lab) -> None:
    """Compared is what there is at the end of the last phase, which nobody takes away but the undo."""
    machine, state = Machine({}), State()
    for step in make_plan(lab).steps:
        machine.run(step.command)
    for phase in lab.phases:
        for act in phase.acts:
            state = after(world_of(lab, phase, state), act).state
        if phase is not lab.phases[-1]:
            state = next_phase(lab, state)
    for name, node in world_of(lab, lab.phases[-1], state).nodes.items():
        at = lab.endpoint(name).netns if lab.is_endpoint(name) else name.replace(HOST, "")
        links = [link for (where, _), link in machine.links.items() if where == at]
        expected = Counter(own for link in node.links for own in link.addresses)
        assert Counter(own for link in links for own in link.addresses) == expected
        routes = {(route.to, route.version) for route in machine.routes if route.netns == at}
        assert routes == {(way.to, way.version) for way in node.ways}
        entries = {(what, address) for (where, _), what, address in machine.neighbours if where == at}
        # Of no use, and not made, are permanent ones of a network that the host is not in.
        assert entries >= {("proxied", str(address)) for address in node.proxied}
        known = (("permanent", node.permanent), ("proxied", node.proxied))
        assert entries <= {(what, str(address)) for what, addresses in known for address in addresses}
        if name == HOST or lab.is_endpoint(name):
            assert [machine.links[at, link.ifname].mtu for link in node.links] == [x.mtu for x in node.links]


@given(labs() | labs_on_a_parent())
def test_set_up_in_batches_the_machine_is_as_it_is_stepwise(lab: Lab) -> None:
    """In whatever order those of a stage run, and however few lines a process reads."""
    plans = [make_plan(replace(lab, setup=setup)) for setup in SETUPS]
    machines = [Machine({} if lab.simulated else {lab.parent: lab.parents[0].host}) for _ in plans]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ipvkit.run.batches._LINES_A_PROCESS", 3)
        jobs = [jobs_of(plan) for plan in plans]
    for name in jobs[0]:
        for each, machine in zip(jobs, machines, strict=True):
            for step in (step for stage in each[name] for job in reversed(stage) for step in job.steps):
                machine.run(step.command)
        assert machines[0].state == machines[1].state


@given(labs() | labs_on_a_parent())
def test_a_batch_reads_the_commands_of_its_steps(lab: Lab) -> None:
    plan = make_plan(replace(lab, setup="batch"))
    jobs = [job for stages in jobs_of(plan).values() for stage in stages for job in stage]
    assert Counter(step.id for job in jobs for step in job.steps) == Counter(s.id for s in plan.steps)
    for job in jobs:
        where = place(job.command)[0]
        lines = [Command(("ip", *line.split())) for line in job.command.stdin]
        assert bool(lines) == (len(job.steps) > 1)
        for line, step in zip(lines, job.steps, strict=False):
            assert place(step.command) == (where, line.argv)


@pytest.mark.parametrize(
    ("purposes", "named"), [("ab", "a; b"), ("aab", "a; b"), ("abc", "a; b; and 1 more"), ("aa", "a")]
)
def test_a_batch_has_the_purposes_of_its_lines(purposes: str, named: str) -> None:
    up = [Command(("ip", "link", "set", f"eth{i}", "up")) for i in range(len(purposes))]
    stage = tuple(Step(str(i), purpose, up[i]) for i, purpose in enumerate(purposes))
    ((job,),) = jobs_of(Plan(walkthrough(), (Section(LAN, "", None, (stage,)),)))[LAN]
    assert job.purpose == named


def test_stages_that_act_in_several_places_stay_apart() -> None:
    def stage(*lines: str) -> Stage:
        return tuple(Step(line, line, Command(tuple(line.split()))) for line in lines)

    own, there = stage("ip link set a up"), stage("ip -n x link set b up")
    for stages, count in (
        ((own, own), 1),
        ((there, there), 1),
        ((own, there), 2),
        (((*own, *there), (*own, *there)), 2),
    ):
        assert len(jobs_of(Plan(walkthrough(), (Section(LAN, "", None, stages),)))[LAN]) == count


@given(labs())
def test_the_lab_runs_in_the_order_in_which_it_is_written(lab: Lab) -> None:
    plan = make_plan(lab)
    assert [section.name for section in plan.sections] == ["lan", *(phase.name for phase in lab.phases)]
    for section in plan.sections[1:]:
        assert section.phase is not None
        asked = [step.probe.check for stage in section.stages for step in stage if step.probe is not None]
        assert asked == [asked for act in section.phase.acts for asked in (*act.attempts, *act.checks)]
        assert section.skipped == ()


@given(labs() | labs_on_a_parent())
def test_no_more_pings_go_on_side_by_side_than_may(lab: Lab) -> None:
    for stage in make_plan(lab).stages:
        assert sum(step.probe is not None for step in stage) <= (lab.parallel or PARALLEL)


@given(labs(), st.integers(1, 3))
def test_what_follows_for_want_of_room_is_predicted_as_items_of_its_own(lab: Lab, at_once: int) -> None:
    def split(act: Act) -> tuple[Act, ...]:
        parts = (act.checks[i : i + at_once] for i in range(0, len(act.checks), at_once))
        return tuple(replace(act, checks=checks) for checks in parts) or (act,)

    phases = (replace(p, acts=tuple(part for act in p.acts for part in split(act))) for p in lab.phases)
    plan = make_plan(replace(lab, parallel=at_once))
    by_hand = make_plan(replace(lab, phases=tuple(phases), parallel=PARALLEL))
    assert list(plan.stages) == list(by_hand.stages)


@given(labs())
def test_only_probes_may_fail_and_each_ping_is_one(lab: Lab) -> None:
    for step in make_plan(lab).steps:
        match step.probe:
            case Probe(check=Check(tcp=int())):
                assert place(step.command)[1][0] == "socat"
                assert step.command.ok == (0, 1)
            case Probe(check=Check()):
                assert place(step.command)[1][0] == "ping"
                assert step.command.ok == (0, 1, 2)
            case Probe(check=Attempt(change=DeleteLink())):
                assert step.command.ok == (0, 1)
            case Probe():
                assert step.command.ok == (0, 2)
            case None if step.ready is not None:
                assert place(step.command)[1][0] == "socat"
                assert step.command.ok == (0,)
            case None:
                assert place(step.command)[1][0] not in ("ping", "socat")
                takes_away = step.command.argv[:3] == ("ip", "link", "delete")
                assert step.command.ok in ((0,), *(((0, 1),) if takes_away else ()))


@given(labs())
def test_every_ping_is_bounded_by_its_own_options(lab: Lab) -> None:
    for step in make_plan(lab).steps:
        if step.probe is not None and isinstance(step.probe.check, Check):
            if step.probe.check.tcp is not None:
                assert step.command.argv[-1].endswith(",connect-timeout=5")
                continue
            assert set(step.command.argv) & {"-c", "-w"}
            assert step.command.argv[-1] == str(step.probe.address)


@given(labs() | labs_on_a_parent())
def test_a_server_is_there_for_each_connection_that_wants_one_and_ends_by_itself(lab: Lab) -> None:
    for stage in make_plan(lab).stages:
        servers = [step for step in stage if step.ready is not None]
        wanted = {
            (lab.netns(step.probe.check.destination) or "", str(step.probe.address), step.probe.check.tcp)
            for step in stage
            if step.probe is not None and isinstance(step.probe.check, Check)
            if step.probe.check.tcp is not None and step.probe.check.listen
        }
        found = set()
        for step in servers:
            netns, argv = place(step.command)
            address = re.search(r"LISTEN:([0-9]+),bind=\[?([^],]+)\]?,.*accept-timeout=30$", argv[-1])
            assert address is not None
            assert step.ready is not None
            assert place(step.ready)[0] == netns
            found.add((netns, address[2], int(address[1])))
        assert found == wanted
        assert len(servers) == len(wanted)


@given(labs())
def test_what_a_lab_expects_wins_over_physics_and_the_reason_says_so(lab: Lab) -> None:
    for step in make_plan(lab).steps:
        if step.probe is not None:
            expected = step.probe.check.expect
            assert expected is None or step.probe.expected == expected
            assert step.probe.reason


# --- a real parent -------------------------------------------------------------------------------------


@given(labs_on_a_parent())
def test_on_a_real_parent_nothing_is_done_in_the_name_of_a_peer(lab: Lab) -> None:
    plan = make_plan(lab)
    spaces = {endpoint.netns for endpoint in lab.endpoints}
    for step in plan.steps:
        assert place(step.command)[0] in {"", *spaces}
        if step.probe is not None and isinstance(step.probe.check, Check):
            assert step.probe.check.source not in {*PEERS, *lab.peers}
    assert plan.sections[0].phase is not None, "no LAN is simulated"


@given(labs_on_a_parent())
def test_on_a_real_parent_each_check_is_run_or_skipped_with_a_reason(lab: Lab) -> None:
    for section, phase in zip(make_plan(lab).sections, lab.phases, strict=True):
        run = [step.probe for stage in section.stages for step in stage if step.probe is not None]
        assert all(not probe.skipped for probe in run)
        assert all(probe.skipped for probe in section.skipped)
        asked = sorted(str(probe.check) for probe in (*run, *section.skipped))
        meant = [asked for act in phase.acts for asked in (*act.attempts, *act.checks)]
        assert asked == sorted(map(str, meant))


@given(labs_on_a_parent())
def test_on_a_real_parent_what_is_among_host_and_endpoints_is_run_unless_the_switch_is_to_be_set(
    lab: Lab,
) -> None:
    acts = [act for phase in lab.phases for act in phase.acts]
    sets_the_switch = any(act.hairpin is not None or act.port_security is not None for act in acts)
    for section in make_plan(lab).sections:
        for probe in section.skipped:
            assert isinstance(probe.check, Check)
            ends = {probe.check.source, probe.check.destination}
            assert ends & {*PEERS, *lab.peers} or sets_the_switch or not lab.parents[0].host


@given(labs_on_a_parent())
def test_a_check_from_a_peer_is_skipped_with_the_line_to_type_there(lab: Lab) -> None:
    for section in make_plan(lab).sections:
        for probe in section.skipped:
            if isinstance(probe.check, Check) and probe.check.source in {*PEERS, *lab.peers}:
                if probe.check.tcp is None:
                    assert f"ping {lab.pinged(probe.check)}" in probe.skipped
                else:
                    assert ",connect-timeout=5" in probe.skipped


NOT_ON_A_PARENT = {
    "advertised-gateway": "a gateway that advertises",
    "bond-parent": "3 parents",
    "host-shim": "needs an address",
    "mtu": "does not change the MTU of a real parent",
    "two-networks": "2 parents",
    "two-parents": "2 parents",
    "vlan-parent": "2 parents",
    **dict.fromkeys(
        ("host-down", "mixed-modes", "move", "two-hosts-l2", "two-hosts-l3-routed"), "has several: h1, h2"
    ),
}
KNOWN: dict[str, tuple[InterfaceAddress, ...]] = {
    "nothing": (),
    "both families": (ip_interface("192.168.104.110/24"), ip_interface("2001:db8:104::110/64")),
}


@for_each("host", KNOWN.values())
@for_each("name", gallery.names())
def test_every_lab_of_the_gallery_can_be_planned_on_a_real_parent_or_says_why_not(
    name: str, host: tuple[InterfaceAddress, ...]
) -> None:
    lab = load(gallery.text(name), name)
    if name in NOT_ON_A_PARENT:
        with pytest.raises(UsageError, match=NOT_ON_A_PARENT[name]):
            on_parent(lab, "real0", host=host)
    else:
        assert preview(make_plan(on_parent(lab, "real0", host=host)))


@pytest.mark.long
@given(labs_on_a_parent())
def test_a_parent_of_somebody_else_is_never_made_or_deleted(lab: Lab) -> None:
    plan = make_plan(lab)
    undos = [step.undo.command() for step in plan.steps if step.undo is not None]
    for command in (*(step.command for step in plan.steps), *undos):
        assert ("", lab.parent) not in named(Step("", "", command))


# --- the walkthrough -----------------------------------------------------------------------------------


def test_the_walkthrough_types_the_seeds_commands_word_for_word_in_its_order() -> None:
    """But for the second announcement, a second later: the simulated LAN does not lose the first."""
    once = [line.replace("arping -c 2", "arping -c 1") for line in SEED]
    for lab, seed in ((on_eth0(), SEED), (walkthrough(), once)):
        typed = iter(commands(make_plan(lab)))
        assert [line for line in seed if line not in typed] == []


def test_the_walkthrough_pings_as_the_seed_does_with_bounds() -> None:
    for lab in (walkthrough(), on_eth0()):
        plan = make_plan(lab)
        pings = {
            tuple(word for word in step.command.argv if not word.startswith("-") and not is_number(word))
            for step in plan.steps
            if step.probe is not None
        }
        assert {tuple(line.split()) for line in SEED_PINGS} <= pings


def is_number(word: str) -> bool:
    return word.replace(".", "", 1).isdigit()


def test_on_a_real_network_a_ping_waits_longer_for_its_last_reply() -> None:
    for lab, wait in ((walkthrough(), "0.5"), (on_eth0(), "1")):
        pings = [line.split() for line in commands(make_plan(lab)) if " ping " in line and " -W " in line]
        assert {words[words.index("-W") + 1] for words in pings} == {wait}


def test_arping_gets_what_it_needs_once_and_gives_it_back() -> None:
    plan = make_plan(walkthrough())
    lines = [str(step.command) for step in plan.steps]
    writes = [line for line in lines if "ip_nonlocal_bind" in line]
    assert writes == ["sysctl -n net.ipv4.ip_nonlocal_bind", "sysctl -w net.ipv4.ip_nonlocal_bind=1"]
    assert lines.index(writes[1]) < lines.index("arping -c 1 -U -I eth0 192.168.104.211")
    undo = plan.undos[0].undo
    assert undo is not None
    assert str(undo.command("0\n")) == "sysctl -w net.ipv4.ip_nonlocal_bind=0"
    assert str(undo.command("1\n")) == "sysctl -w net.ipv4.ip_nonlocal_bind=1"


def test_on_a_real_parent_the_walkthrough_skips_what_only_a_peer_could_do() -> None:
    plan = make_plan(on_eth0())
    skipped = {str(probe.check): probe.skipped for section in plan.sections for probe in section.skipped}
    assert set(skipped) == {f"{NEIGHBOUR} -> test1", f"test1 -> {GATEWAY}"}
    assert "another machine" in skipped[f"{NEIGHBOUR} -> test1"]
    assert "ping 192.168.104.211" in skipped[f"{NEIGHBOUR} -> test1"]
    asked = [str(step.probe.check) for step in plan.steps if step.probe is not None]
    assert asked.count(f"test1 -> {GATEWAY}") == 2, "what comes before the gateway would be flushed is asked"
    assert f"{HOST} -> test1" in asked


def test_on_a_real_parent_only_the_tables_of_peers_are_not_flushed() -> None:
    lab = on_eth0()
    for role in ("test1", HOST, GATEWAY):
        acts = Act(flush=(role,)), Act(checks=(Check(HOST, "test1"), Check("test1", GATEWAY)))
        phase = replace(lab.phases[0], acts=acts)
        skipped = make_plan(replace(lab, phases=(phase,))).sections[-1].skipped
        expected = [f"test1 -> {GATEWAY}"] if role == GATEWAY else []
        assert [str(probe.check) for probe in skipped] == expected
        assert all("neighbour table would have to be flushed" in probe.skipped for probe in skipped)


def test_on_a_real_parent_what_needs_a_strategy_on_a_peer_is_skipped() -> None:
    needs = "the gateway would need routes to 10.104.0.0/24 via this host, but that is another machine"
    for mode, strategy, skipped in (("l3", "routed", [needs]), ("l2", "none", [])):
        setting = Setting(mode, strategy=strategy)  # type: ignore[arg-type]
        gateway = IPv4Address("192.168.104.254")
        lab = on_parent(new_lab("one", setting, 1, checks="gateway"), "lan0", gateway=gateway)
        assert [probe.skipped for section in make_plan(lab).sections for probe in section.skipped] == skipped


def test_on_a_real_parent_a_strategy_adds_what_is_on_the_host() -> None:
    lab = on_parent(new_lab("shim", Setting("l3", host_shim=True), 1), "lan0")
    typed = [line for line in commands(make_plan(lab)) if " shim" in line]
    assert typed == [
        "ip link add shim link lan0 type ipvlan mode l3",
        "ip link set shim up",
        "ip route add 192.168.104.11/32 dev shim",
        "ip link delete shim",
    ]


def test_what_does_not_go_with_a_link_is_deleted_before_the_next_phase() -> None:
    lab = load(gallery.text("policy-routing"), "policy-routing")
    lab = replace(lab, phases=(lab.phases[0], replace(lab.phases[0], name="again")))
    typed = [line.partition("ip netns exec chosen ip ")[2].split() for line in commands(make_plan(lab))]
    kept = [" ".join(words[:2]) for words in typed if "rule" in words or "blackhole" in words]
    added, deleted = ["route add", "rule add"], ["route del", "rule del"]
    assert kept == [*added, *deleted, *added], "at the end of the run its namespace is deleted"


def test_without_a_known_gateway_its_checks_are_skipped() -> None:
    plan = make_plan(on_parent(walkthrough(), "eth0"))
    skipped = {str(probe.check): probe.skipped for section in plan.sections for probe in section.skipped}
    assert "address of the gateway is unknown" in skipped[f"test2 -> {GATEWAY}"]


def test_with_addresses_of_its_own_the_walkthrough_uses_them_throughout() -> None:
    own = IPv4Interface("10.9.8.7/20")
    plan = make_plan(on_parent(walkthrough(), "lan0", addresses={"test1": own}))
    text = preview(plan)
    assert "ip netns exec test1 ip addr add 10.9.8.7/20 dev test1" in text
    assert "arping -c 2 -U -I lan0 10.9.8.7" in text
    assert "192.168.104.211" not in text
    assert "eth0" not in text


def test_endpoints_that_get_their_address_from_advertisements_hear_them() -> None:
    plan = make_plan(load(gallery.text("advertised-gateway"), "advertised-gateway"))
    deaf = [str(step.command) for step in plan.steps if "accept_ra=0" in str(step.command)]
    assert any("static1" in command for command in deaf)
    assert not any("test1" in command or "test2" in command for command in deaf)


def test_rules_of_endpoints_in_one_namespace_have_a_priority_each() -> None:
    lab = walkthrough()
    rules = tuple(Rule(table, lab.parents[0].host[0].network) for table in (100, 101))
    both = tuple(replace(endpoint, netns="both", rules=rules) for endpoint in lab.endpoints)
    plan = make_plan(replace(lab, endpoints=both, phases=(replace(lab.phases[0], acts=()),)))
    added = [str(step.command) for step in plan.steps if " rule add " in str(step.command)]
    assert len(added) == 4
    assert len({re.findall(r"(?:pref|priority) (\d+)", line)[0] for line in added}) == 4


def test_endpoints_in_one_namespace_get_their_addresses_one_after_another() -> None:
    lab = new_lab("pods", Setting("l2"), 4)
    pods = tuple(replace(e, netns=netns) for e, netns in zip(lab.endpoints, "aabb", strict=True))
    phase = replace(lab.phases[0], acts=())
    stages = make_plan(replace(lab, endpoints=pods, phases=(phase,))).stages
    typed = [[step.command.argv[3] for step in stage if "addr add" in str(step.command)] for stage in stages]
    assert [netns for netns in typed if netns[:1] == ["a"]] == [["a", "b"], ["a", "b"]]


def test_a_switch_that_reflects_filters_nothing() -> None:
    typed = commands(make_plan(load(gallery.text("vepa-hairpin"), "vepa-hairpin")))
    assert any(line.endswith(" hairpin on") for line in typed)
    assert not [line for line in typed if " tc " in line]


def test_a_bridge_for_veth_endpoints_goes_with_its_phase() -> None:
    lab = new_lab("bridged", Setting(kind="veth"), 1)
    lab = replace(lab, phases=(replace(lab.phases[0], name="first"), replace(lab.phases[0], name="second")))
    added, deleted = "ip link add br-lan up type bridge", "ip link delete br-lan"
    assert [line for line in commands(make_plan(lab)) if line in (added, deleted)] == [added, deleted] * 2


def test_a_preview_restores_a_sysctl_to_the_other_value_than_the_one_set() -> None:
    conf = "net.ipv4.conf.eth0"
    act = Act(sysctls=(OfNode(HOST, f"{conf}.arp_accept", 1), OfNode(HOST, f"{conf}.rp_filter", 0)))
    lab = walkthrough()
    lab = replace(lab, phases=(replace(lab.phases[0], acts=(act,)),))
    text = preview(make_plan(lab)).partition("undo, in reverse")[2]
    undone = [line for line in text.splitlines() if line.startswith("sysctl -w ")]
    assert undone == [f"sysctl -w {conf}.rp_filter=1", f"sysctl -w {conf}.arp_accept=0"]


def test_the_ports_of_a_bond_end_in_one_of_the_switch_if_it_speaks_lacp() -> None:
    typed = commands(make_plan(load(gallery.text("bond-parent"), "bond-parent")))
    attached = [line.split() for line in typed if line.startswith("ip -n switch link set ")]
    assert {words[5]: words[7] for words in attached if words[5].startswith("host")} == {
        # bond0 is in 802.3ad mode, bond1 in active-backup.
        **{"host-0": "host", "host-1": "host", "host": "br0"},
        **{"host1-0": "br1", "host1-1": "br1"},
    }


def test_a_peer_that_has_a_route_to_the_endpoints_gets_no_other_one() -> None:
    lab = load(gallery.text("l3-routed"), "l3-routed")
    (parent,), (subnet, *_) = lab.parents, [own.network for own in lab.endpoints[0].addresses]
    route = Route(subnet, parent.host[0].ip)
    hosts = (
        Host("client", (ip_interface("192.168.104.100/24"),), (route,)),
        Host("other", (ip_interface("192.168.104.101/24"),)),
    )
    lab = replace(lab, parents=(replace(parent, hosts=hosts),), phases=lab.phases[1:2])
    lines = commands(make_plan(lab))
    for name in ("client", "other"):
        assert sum(line.startswith(f"ip -n {name} route add {subnet} ") for line in lines) == 1


def test_the_programs_of_a_plan_are_those_that_its_commands_start() -> None:
    assert make_plan(walkthrough()).programs == ("arping", "ip", "ping", "sysctl")


def test_an_undo_is_completed_by_what_was_read_without_its_line_end() -> None:
    undo = Undo(Sysctl("a.b", 1), reads="x.1")
    assert undo.command(" 7\n").argv == ("sysctl", "-w", "a.b=7")


BOTH_FAMILIES = """\
name: both
about: what is typed for IPv6, a size, a port security and tries
parent: eth0
network:
  host: [192.168.104.110/24, "2001:db8:104::110/64"]
  gateway: [192.168.104.254, "2001:db8:104::254"]
far: [198.51.100.10/24, "2001:db8:ff::10/64"]
endpoints: [{name: test1, addresses: [192.168.104.211/24, "2001:db8:104::211/64"]}]
phases:
  - name: l2
    mode: l2
    do:
      - port-security: [host, test1]
      - announce: test1
      - try: [{add-link: other, kind: macvlan, at: eth0}, {delete-link: other}]
      - check: [{from: test1, to: gateway, size: 1472}, {from: test1, to: gateway}]
  - {name: l3, mode: l3, do: [check: [{from: test1, to: gateway}]]}
"""


def test_what_is_typed_for_ipv6_a_size_a_port_security_and_tries() -> None:
    plan = make_plan(load(BOTH_FAMILIES, "both.yaml"))
    typed = [line.removeprefix("ip netns exec test1 ") for line in commands(plan)]
    assert "ip addr add 2001:db8:104::211/64 dev test1 nodad" in typed
    assert "ip addr add 192.168.104.211/24 dev test1" in typed
    defaults = [line for line in typed if " route add default " in line and line.endswith(" dev test1")]
    assert defaults == [
        "ip route add default via 192.168.104.254 dev test1",
        "ip route add default via 2001:db8:104::254 dev test1",
        "ip route add default dev test1",
        "ip -6 route add default dev test1",
    ]
    pings = [" -M do " in line for line in typed if line.startswith("ping ")]
    assert pings == [True, False, False]
    accepted = [line.split()[-3] for line in typed if line.endswith("action pass")]
    assert accepted == ["192.168.104.110", "192.168.104.211"]
    assert [line.split()[-1] for line in typed if line.startswith("arping ")] == ["192.168.104.211"]
    tries = {step.command.argv[2]: step.command.ok for step in plan.steps if step.purpose.startswith("try ")}
    assert tries == {"add": (0, 2), "delete": (0, 1)}


PEERS_OF_OTHER_FAMILIES = """\
name: peers
about: a neighbour with both families and a gateway with one; a shim of a private parent
parent: eth0
network:
  host: [192.0.2.1/24, "2001:db8::1/64"]
  gateway: 192.0.2.254
  neighbour: [192.0.2.9, "2001:db8::9"]
endpoints: [{name: one, addresses: [192.0.2.11/24, "2001:db8::11/64"]}]
phases:
  - {name: static, mode: l3, strategy: static-neigh, do: [check: [{from: neighbour, to: one}]]}
  - {name: shim, mode: l3, flag: private, host-shim: 192.0.2.120, do: [check: [{from: host, to: one}]]}
"""


def test_a_peer_gets_entries_of_its_families_and_a_shim_the_flag_of_its_parent() -> None:
    typed = commands(make_plan(load(PEERS_OF_OTHER_FAMILIES, "peers.yaml")))
    entries = [line.split() for line in typed if " neigh replace " in line]
    assert [(words[2], words[5]) for words in entries] == [
        ("gateway", "192.0.2.11"),
        ("neighbour", "192.0.2.11"),
        ("neighbour", "2001:db8::11"),
    ]
    assert "ip link add shim link eth0 type ipvlan mode l3 private" in typed


def test_the_host_routes_away_from_the_parent_what_it_answers_arp_for() -> None:
    """IPv6 needs no such route: the host answers neighbour solicitations for a proxy entry by itself."""
    typed = commands(make_plan(new_lab("proxy", Setting("l3s", strategy="l3s-proxy"), 1, ipv6=True)))
    added = [line for line in typed if " add " in line]
    assert [line for line in added if " proxy " in line or line.endswith(" dev lo")] == [
        "ip neigh add proxy 192.168.104.11 dev eth0",
        "ip route add 192.168.104.11/32 dev lo",
        "ip neigh add proxy 2001:db8:104::11 dev eth0",
    ]
