"""The rules of ipvlan as the documents and the measurements have them."""

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from ipaddress import ip_address, ip_interface, ip_network
from itertools import permutations, product
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cases import for_each
from differential import DIFFERENCES, OBSERVED, certain, labs_that_differed
from ipvkit.core.values import Flag, Mode
from ipvkit.lab import (
    FAMILIES,
    FAR,
    FLAGS,
    GATEWAY,
    HOST,
    KINDS,
    MODES,
    NEIGHBOUR,
    PEERS,
    ROUTE_TYPES,
    STRATEGIES,
    Act,
    AddAddress,
    AddLink,
    Attempt,
    Change,
    Check,
    DeleteLink,
    Endpoint,
    Family,
    Host,
    Lab,
    Outcome,
    Parent,
    Phase,
    Route,
    RouteType,
    Rule,
    SetMode,
    SetMtu,
    Setting,
    Strategy,
    gallery,
    on_parent,
)
from ipvkit.lab.format import load
from ipvkit.lab.sysctls import Sysctl
from ipvkit.predict.attempts import predict_attempt
from ipvkit.predict.later import after, at_first_act, at_time, flushed_on, late, next_phase
from ipvkit.predict.neighbours import FAST_TIMERS, KERNEL_TIMERS, Known
from ipvkit.predict.predictions import Prediction
from ipvkit.predict.whole import predict, predict_lab
from ipvkit.predict.world import State, world_of
from ipvkit.verbs import matrix
from strategies import l2, labs, peaceful

REACHABLE, UNREACHABLE, EXPIRES = Outcome.REACHABLE, Outcome.UNREACHABLE, Outcome.EXPIRES
ACCEPTED, REFUSED = Outcome.ACCEPTED, Outcome.REFUSED
NOTHING = State()

PARENT = Parent(
    "eth0",
    host=(ip_interface("192.0.2.1/24"), ip_interface("2001:db8::1/64")),
    gateway=(ip_address("192.0.2.254"), ip_address("2001:db8::254")),
    neighbour=(ip_address("192.0.2.2"), ip_address("2001:db8::2")),
)
ONE, TWO = (
    Endpoint(name, (ip_interface(f"192.0.2.{n}/24"), ip_interface(f"2001:db8::{n}/64")), name, "eth0")
    for name, n in (("one", 11), ("two", 12))
)
L2, L3 = (Phase(name, Setting(mode), ("one", "two"), ()) for name, mode in (("early", "l2"), ("late", "l3")))  # type: ignore[arg-type]
LAB = Lab(
    "test",
    "two endpoints, everybody around them, both families",
    (PARENT,),
    (ONE, TWO),
    (L2, L3),
    far=(ip_interface("198.51.100.10/24"), ip_interface("2001:db8:ff::10/64")),
)
APART = replace(
    LAB,
    endpoints=tuple(
        replace(e, addresses=(ip_interface(f"10.0.0.{n}/24"), ip_interface(f"2001:db8:a::{n}/64")))
        for e, n in ((ONE, 11), (TWO, 12))
    ),
)
"""The same with the endpoints in subnets of their own."""

NAMES = ("one", "two")
ROLES = (HOST, *NAMES, GATEWAY, NEIGHBOUR, FAR)
PAIRS = [pair for pair in permutations(ROLES, 2) if set(pair) & set(NAMES)]
L3_MODES: tuple[Mode, ...] = ("l3", "l3s")

flags = st.sampled_from(FLAGS)


def asked(
    source: str,
    destination: str,
    setting: Setting,
    state: State = NOTHING,
    *,
    lab: Lab = LAB,
    family: Family | None = None,
    size: int | None = None,
) -> Prediction:
    """Return what is predicted for a ping in a phase with this setting."""
    phase = Phase("now", setting, tuple(e.name for e in lab.endpoints), ())
    return predict(world_of(lab, phase, state), Check(source, destination, family=family, size=size))


def both_ways(a: str, b: str, watch: int | None = None) -> tuple[Check, Check]:
    return Check(a, b, watch), Check(b, a, watch)


def predictions(lab: Lab) -> Iterator[tuple[Phase, Check, Prediction, State]]:
    """Yield what is predicted for each check of a lab, one after another, and the state before it."""
    state = NOTHING
    for phase in lab.phases:
        for act in phase.acts:
            for check in act.checks:
                yield phase, check, predict(world_of(lab, phase, state), check), state
            state = after(world_of(lab, phase, state), act).state
        state = next_phase(lab, state)


def doing(phase: Phase, *acts: Act, state: State = NOTHING, lab: Lab = LAB) -> State:
    """Return the state after these acts of a phase."""
    for act in acts:
        state = after(world_of(lab, phase, state), act).state
    return state


def at_start(state: State) -> State:
    """Return a state as it would be if no time had passed."""
    return replace(state, now=0.0)


def trying(phase: Phase, *changes: Change, state: State = NOTHING, lab: Lab = LAB) -> State:
    """Return the state after these changes, which the kernel takes or refuses."""
    return doing(phase, Act(attempts=tuple(map(Attempt, changes))), state=state, lab=lab)


def told(phase: Phase, change: Change, state: State = NOTHING, lab: Lab = LAB) -> Prediction:
    return predict_attempt(world_of(lab, phase, state), Attempt(change))


def of_one(phase: Phase, check: Check, state: State = NOTHING) -> Prediction:
    return predict(world_of(LAB, phase, state), check)


def known(peer: str, endpoint: str = "one") -> State:
    """Return the tables after `peer` has heard of `endpoint` in an l2 phase."""
    return doing(L2, Act(checks=(Check(peer, endpoint),)))


def failed(peer: str, endpoint: str = "one") -> State:
    """Return the tables after `peer` has asked in vain for `endpoint` in an l3 phase."""
    return doing(L3, Act(checks=(Check(peer, endpoint),)))


# --- what holds in every lab --------------------------------------------------------------------------


@given(labs())
def test_every_prediction_has_a_reason_and_its_last_hop_explains_it(lab: Lab) -> None:
    for _, check, prediction, _ in predictions(lab):
        assert prediction.reason.strip()
        assert prediction.reason.isprintable()
        if prediction.outcome is Outcome.NOT_MODELLED:
            continue
        last = prediction.hops[-1]
        if prediction.outcome is UNREACHABLE:
            assert last.what == f"lost: {prediction.reason.removeprefix('the reply is lost: ')}"
        else:
            assert lab.netns(last.at) == lab.netns(check.source)
            assert "arrives" in last.what


@given(labs())
def test_every_attempt_is_accepted_or_refused_for_a_reason(lab: Lab) -> None:
    state = NOTHING
    for phase in lab.phases:
        for act in phase.acts:
            for attempt in act.attempts:
                prediction = predict_attempt(world_of(lab, phase, state), attempt)
                assert prediction.outcome in (ACCEPTED, REFUSED)
                assert prediction.reason.strip()
                state = after(world_of(lab, phase, state), Act(attempts=(attempt,))).state
            state = after(world_of(lab, phase, state), replace(act, attempts=())).state
        state = next_phase(lab, state)


@given(labs())
def test_in_l2_endpoints_and_peers_of_a_subnet_reach_each_other(lab: Lab) -> None:
    for phase, check, prediction, _ in predictions(peaceful(l2(lab))):
        bent = any(lab.endpoint(name).rules for name in phase.endpoints)
        if {check.source, check.destination} & set(PEERS) and near(lab, phase) and not bent:
            assert prediction.outcome in (REACHABLE, Outcome.NOT_MODELLED)


def near(lab: Lab, phase: Phase) -> bool:
    """Return whether all addresses of a phase's endpoints are in their parents' subnets."""
    endpoints = [lab.endpoint(name) for name in phase.endpoints]
    return all(lab.parent_called(e.parent).subnet_of(own.ip) for e in endpoints for own in e.addresses)


@given(labs())
def test_the_flag_alone_decides_over_siblings(lab: Lab) -> None:
    for phase, check, prediction, _ in predictions(peaceful(lab)):
        ends = (check.source, check.destination)
        parents = {lab.endpoint(end).parent for end in ends if lab.is_endpoint(end)}
        setting = phase.on(next(iter(parents)))
        both = all(map(lab.is_endpoint, ends)) and len(parents) == 1
        if both and setting.kind == "ipvlan" and near(lab, phase):
            assert prediction.outcome is (REACHABLE if setting.flag == "bridge" else UNREACHABLE)
            assert f"flag {setting.flag}" in prediction.reason


@given(labs(), flags)
def test_the_flag_decides_over_siblings_alone(lab: Lab, flag: Flag) -> None:
    def flagged(setting: Setting) -> Setting:
        return replace(setting, flag=flag if setting.kind == "ipvlan" else setting.flag, host_shim=False)

    one, other = (
        replace(
            lab,
            phases=tuple(
                replace(p, setting=change(p.setting), others=tuple((n, change(s)) for n, s in p.others))
                for p in peaceful(lab).phases
            ),
        )
        for change in (lambda setting: replace(setting, host_shim=False), flagged)
    )
    for (_, check, of_one, _), (_, _, of_other, _) in zip(predictions(one), predictions(other), strict=True):
        if not all(map(lab.is_endpoint, (check.source, check.destination))):
            assert of_one.outcome is of_other.outcome or check.watch is not None


@given(labs())
def test_l3s_comes_out_as_l3_but_for_the_proxy(lab: Lab) -> None:
    def in_mode(setting: Setting, mode: Mode) -> Setting:
        strategy: Strategy = "none" if setting.strategy == "l3s-proxy" else setting.strategy
        return replace(setting, mode=mode if setting.mode != "l2" else "l2", strategy=strategy)

    of_l3, of_l3s = (
        replace(
            lab,
            phases=tuple(
                replace(
                    p,
                    setting=in_mode(p.setting, mode),
                    others=tuple((name, in_mode(setting, mode)) for name, setting in p.others),
                )
                for p in peaceful(lab).phases
            ),
        )
        for mode in L3_MODES
    )
    found = zip(predictions(of_l3), predictions(of_l3s), strict=True)
    assert all(l3[2].outcome is l3s[2].outcome for l3, l3s in found)


@given(labs())
def test_without_a_shim_the_host_and_its_endpoints_do_not_reach_each_other(lab: Lab) -> None:
    for phase, check, prediction, _ in predictions(peaceful(lab)):
        setting = phase.on(lab.parent_of(check).name)
        if HOST in (check.source, check.destination) and setting.kind == "ipvlan" and near(lab, phase):
            assert prediction.outcome is UNREACHABLE or setting.host_shim


@given(labs())
def test_a_path_expires_only_where_it_is_watched(lab: Lab) -> None:
    for _, check, prediction, _ in predictions(lab):
        if prediction.outcome is EXPIRES:
            assert check.watch is not None
            assert check.watch > FAST_TIMERS.lifetime_s
            assert "expires about" in prediction.reason


@given(labs())
def test_an_entry_is_known_or_failed_and_never_both(lab: Lab) -> None:
    for *_, state in predictions(lab):
        assert not state.failed & set(state.known)
        assert all(one.doubted is None or one.doubted[0] <= one.doubted[1] for one in state.known.values())


@given(labs())
def test_in_a_subnet_of_their_own_endpoints_without_routes_to_them_reach_nobody_outside(lab: Lab) -> None:
    for phase, check, prediction, _ in predictions(lab):
        setting = phase.on(lab.parent_of(check).name)
        far_from_here = not any(near(lab, replace(phase, endpoints=(name,))) for name in phase.endpoints)
        # What has the address of a peer as well reaches itself.
        tries = [attempt.change for act in phase.acts for attempt in act.attempts]
        far_from_here &= not any(isinstance(change, AddAddress) for change in tries)
        if far_from_here and setting.strategy == "none" and {check.source, check.destination} & {*PEERS, FAR}:
            assert prediction.outcome is UNREACHABLE


# --- every setting, every pair, both families, cold ---------------------------------------------------


def settings_without_help() -> list[Setting]:
    return [Setting(mode, flag) for mode, flag in product(MODES, FLAGS)]


each_setting = for_each("setting", settings_without_help())


def helped(setting: Setting) -> list[Setting]:
    """Return `setting` with each help that can work in it."""
    if setting.mode == "l2":
        return [replace(setting, host_shim=True)]
    names: list[Strategy] = ["announce", "static-neigh", *(["l3s-proxy"] if setting.mode == "l3s" else [])]
    return [replace(setting, host_shim=True), *(replace(setting, strategy=name) for name in names)]


@cache
def reached(setting: Setting, lab: Lab = LAB, family: Family = "ipv4") -> frozenset[tuple[str, str]]:
    """Return the pairs of which the first reaches the second."""
    world = world_of(lab, Phase("now", setting, tuple(e.name for e in lab.endpoints), ()), NOTHING)
    found = ((pair, predict(world, Check(*pair, family=family))) for pair in PAIRS)
    return frozenset(pair for pair, prediction in found if prediction.outcome is REACHABLE)


SIBLINGS = {("one", "two"), ("two", "one")}
OUTSIDE = {pair for pair in PAIRS if set(pair) & {GATEWAY, NEIGHBOUR, FAR}}
WITH_HOST = {pair for pair in PAIRS if HOST in pair}


@pytest.mark.parametrize("family", FAMILIES)
@each_setting
def test_without_help_the_mode_decides_over_outside_and_the_flag_over_siblings(
    setting: Setting, family: Family
) -> None:
    outside = OUTSIDE if setting.mode == "l2" else set()
    assert reached(setting, family=family) == outside | (SIBLINGS if setting.flag == "bridge" else set())


@pytest.mark.long
@each_setting
def test_help_never_makes_a_pair_unreachable(setting: Setting) -> None:
    for family, more in product(FAMILIES, helped(setting)):
        assert reached(more, family=family) >= reached(setting, family=family), f"{more}, {family}"
    for family in FAMILIES:
        own, routed = (reached(s, APART, family) for s in (setting, replace(setting, strategy="routed")))
        assert own <= routed


@pytest.mark.parametrize("mode", L3_MODES)
@pytest.mark.parametrize("family", FAMILIES)
def test_what_helps_an_l3_endpoint_makes_it_reachable_from_outside(mode: Mode, family: Family) -> None:
    for more in helped(Setting(mode)):
        expected = OUTSIDE if more.strategy != "none" else set()
        if more.strategy == "announce" and family == "ipv6":
            expected = set()
        assert reached(more, family=family) & OUTSIDE == expected, str(more)


@pytest.mark.parametrize("mode", L3_MODES)
@pytest.mark.parametrize("family", FAMILIES)
def test_endpoints_in_a_subnet_of_their_own_are_reached_where_there_are_routes_to_them(
    mode: Mode, family: Family
) -> None:
    assert reached(Setting(mode), APART, family) == SIBLINGS
    assert reached(Setting(mode, strategy="routed"), APART, family) >= OUTSIDE | SIBLINGS


def test_a_peer_that_has_a_route_via_the_host_asks_for_the_host() -> None:
    found = asked(GATEWAY, "one", Setting("l3", strategy="routed"), lab=APART)
    assert found.reason == "the gateway has a route to one via the host, and asks only for the host"
    assert "asks only for" not in asked(GATEWAY, "one", Setting(kind="veth")).reason


def test_a_node_forwards_by_its_sysctls_of_that_name() -> None:
    for key, of_neighbour in (
        ("net.ipv4.ip_forward", {4}),
        ("net.ipv6.conf.all.forwarding", {6}),
        ("net.ipv4.conf.all.arp_ignore", set()),
    ):
        for value in (0, 1):
            act = Act(sysctls=(Sysctl(NEIGHBOUR, key, value),))
            nodes = after(world_of(LAB, L2, NOTHING), act).nodes
            assert nodes[NEIGHBOUR].forwards == (of_neighbour if value else set()), (key, value)
            assert nodes[GATEWAY].forwards == {4, 6}


def test_in_plain_l3_the_host_is_a_proxy_for_ipv6_only() -> None:
    """In l3 the kernel steers ARP, and not neighbour solicitations, past the host."""
    proxy = Setting("l3", strategy="l3s-proxy")
    assert reached(proxy, family="ipv6") >= OUTSIDE
    assert not reached(proxy, family="ipv4") & OUTSIDE


@pytest.mark.long
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("mode", MODES)
def test_a_host_shim_makes_host_and_endpoints_siblings(mode: Mode, family: Family) -> None:
    found = {flag: reached(Setting(mode, flag, host_shim=True), family=family) & WITH_HOST for flag in FLAGS}
    from_host = {pair for pair in WITH_HOST if pair[0] == HOST}
    # In l2 the shim answers ARP for any IPv4 address of the host's, and IPv6 knows no such thing.
    both = WITH_HOST if mode != "l2" or family == "ipv4" else from_host
    assert found["bridge"] == both
    assert found["private"] == set()


@pytest.mark.long
def test_ipv6_comes_out_as_ipv4_but_for_what_is_arps() -> None:
    for setting in settings_without_help():
        for more in (setting, *helped(setting)):
            differ = reached(more) ^ reached(more, family="ipv6")
            if more.strategy == "announce":
                assert differ == OUTSIDE
            elif more.host_shim and more.mode == "l2" and more.flag == "bridge":
                assert differ == {("one", HOST), ("two", HOST)}
            else:
                assert differ == set(), str(more)
        routed = replace(setting, strategy="routed")
        assert reached(routed, APART) == reached(routed, APART, "ipv6")


@pytest.mark.long
def test_who_reaches_whom_is_the_same_both_ways_but_for_that_of_a_shim() -> None:
    for setting, family in product(settings_without_help(), FAMILIES):
        for more in (setting, *helped(setting)):
            found = reached(more, family=family)
            back = {(b, a) for a, b in found}
            if not (more.host_shim and more.mode == "l2" and family == "ipv6"):
                assert found == back, f"{more}, {family}"


def test_where_endpoints_get_other_mac_addresses_all_around_forget_the_former_ones() -> None:
    kinds = Setting(), Setting(kind="macvlan"), Setting(kind="veth")
    for before, now in product(kinds, repeat=2):
        phases = replace(L2, setting=before), replace(L3, setting=now)
        found = [[role for role, _ in phase.flushed] for phase in predict_lab(replace(LAB, phases=phases))]
        same = before.is_ipvlan and now.is_ipvlan
        assert found == [[], [] if same else [HOST, GATEWAY, NEIGHBOUR]], (before, now)


def test_macvlan_and_veth_are_told_apart_from_ipvlan() -> None:
    macvlan = {flag: reached(Setting(flag=flag, kind="macvlan")) for flag in FLAGS}
    assert macvlan["bridge"] == OUTSIDE | SIBLINGS
    assert macvlan["private"] == macvlan["vepa"] == OUTSIDE
    assert reached(Setting(kind="veth")) == set(PAIRS), "a bridge's host reaches its ports"


# --- the switch ----------------------------------------------------------------------------------------

HAIRPIN = State(hairpin=True)


@pytest.mark.parametrize("mode", MODES)
def test_a_switch_that_reflects_brings_vepa_siblings_together_and_no_private_ones(mode: Mode) -> None:
    for flag, expected in (("vepa", mode == "l2"), ("private", False), ("bridge", True)):
        prediction = asked("one", "two", Setting(mode, flag), HAIRPIN)  # type: ignore[arg-type]
        assert (prediction.outcome is REACHABLE) == expected, prediction.reason


@pytest.mark.parametrize("flag", FLAGS)
def test_in_l2_a_switch_that_reflects_brings_the_host_and_its_endpoints_together(flag: Flag) -> None:
    for check in both_ways(HOST, "one"):
        prediction = asked(check.source, check.destination, Setting("l2", flag), HAIRPIN)
        assert prediction.outcome is REACHABLE
        assert "sends frames back" in prediction.reason


@pytest.mark.parametrize("mode", L3_MODES)
def test_in_l3_a_switch_that_reflects_does_not(mode: Mode) -> None:
    assert asked(HOST, "one", Setting(mode), HAIRPIN).outcome is UNREACHABLE


@pytest.mark.parametrize("strategy", ["none", "announce"])
@pytest.mark.parametrize("mode", L3_MODES)
def test_in_l3s_the_host_hears_its_own_announcements(mode: Mode, strategy: Strategy) -> None:
    heard = (mode, strategy) == ("l3s", "announce")
    prediction = asked(HOST, "one", Setting(mode, strategy=strategy), HAIRPIN, family="ipv4")
    assert prediction.outcome is (REACHABLE if heard else UNREACHABLE)
    assert asked(HOST, "one", Setting(mode, strategy=strategy), family="ipv4").outcome is UNREACHABLE


@pytest.mark.parametrize("mode", ["l3", "l3s"])
def test_in_ipv6_the_host_answers_its_own_solicitations_as_a_proxy(mode: Mode) -> None:
    proxied = Setting(mode, strategy="l3s-proxy")
    lab = replace(LAB, endpoints=tuple(replace(e, addresses=e.addresses[1:]) for e in LAB.endpoints))
    for source, destination in ((HOST, "one"), ("one", HOST)):
        assert asked(source, destination, proxied, HAIRPIN, lab=lab, family="ipv6").outcome is REACHABLE
        assert asked(source, destination, proxied, lab=lab, family="ipv6").outcome is UNREACHABLE
        unproxied = asked(source, destination, Setting(mode), HAIRPIN, lab=lab, family="ipv6")
        assert unproxied.outcome is UNREACHABLE


def test_a_watched_path_to_a_fast_peer_is_lost_between_two_announcements() -> None:
    phase = Phase("now", Setting("l3", strategy="announce"), NAMES, ())
    fast = State(fast=frozenset({NEIGHBOUR}))
    found = predict(world_of(LAB, phase, fast), Check(NEIGHBOUR, "one", watch=9))
    assert (found.outcome, found.also) == (UNREACHABLE, (EXPIRES, REACHABLE))
    entry = {(NEIGHBOUR, ONE.addresses[0].ip): Known("before")}
    for watch, outcome, also in ((9, EXPIRES, (REACHABLE,)), (1, REACHABLE, ())):
        world = world_of(LAB, phase, replace(fast, known=entry))
        found = predict(world, Check(NEIGHBOUR, "one", watch=watch))
        assert (found.outcome, found.also) == (outcome, also)
    slow = predict(world_of(LAB, phase, NOTHING), Check(NEIGHBOUR, "one", watch=9))
    assert (slow.outcome, slow.also) == (REACHABLE, ())


def test_checks_of_an_act_that_took_too_long_may_have_missed_the_announcements() -> None:
    phase = Phase("now", Setting("l3", strategy="announce"), NAMES, ())
    act = Act(checks=(Check(NEIGHBOUR, "one"),))
    for end, also in ((2.2, ()), (5.0, (UNREACHABLE,))):
        world = late(world_of(LAB, phase, NOTHING), act, end)
        assert predict(world, act.checks[0]).also == also


def test_a_short_ping_may_miss_the_announcement_after_an_entry_has_failed() -> None:
    phase = Phase("now", Setting("l3", strategy="announce"), NAMES, ())
    entry = (NEIGHBOUR, ONE.addresses[0].ip)
    # In doubt since 0 s, it fails at 8 s; a ping of six requests takes 1.5 s, and one of one request 0.5 s.
    known = {entry: Known("before").used(0.0, 1.0, KERNEL_TIMERS)}
    for count, now, overrun, also in (
        (6, 7.0, 0.0, ()),
        (6, 7.0, 2.0, (UNREACHABLE,)),
        (6, 1.0, 2.0, ()),
        (1, 7.0, 0.0, ()),
        (1, 7.6, 0.0, (UNREACHABLE,)),
    ):
        world = world_of(LAB, phase, State(now=now, known=known, late=overrun))
        found = predict(world, Check(NEIGHBOUR, "one", count=count))
        assert (found.outcome, found.also) == (REACHABLE, also), (count, now, overrun)


def test_an_act_takes_as_long_as_its_pings() -> None:
    """Six requests take 1 s, the last one waits 0.5 s where no reply comes, and starting ping takes 0.1 s."""
    check = Check(GATEWAY, "one", family="ipv4")
    for phase, watch, lasts in ((L2, None, 1.1), (L3, None, 1.6), (L2, 9, 9.1)):
        assert doing(phase, Act(checks=(replace(check, watch=watch),))).now == pytest.approx(lasts)
    # On a real network arping announces twice, a second apart.
    announces = Act(announce=("one",))
    assert doing(L2, announces).now == pytest.approx(0.1)
    assert doing(L2, announces, lab=on_parent(LAB, "lan0")).now == pytest.approx(1.1)


def test_what_may_be_used_late_may_fail_late() -> None:
    # In use from 2 s on, or later; the fast timers are 1 s and three questions in 0.3 s.
    for late_s, fails in ((0.0, (3.3, 3.3)), (3.0, (3.3, 6.3))):
        assert Known("heard").used(2.0, 2.5, FAST_TIMERS, late_s).fails(FAST_TIMERS) == pytest.approx(fails)
    # Confirmed at 0 s, it is trusted for 0.5 to 1.5 s.
    confirmed = Known("asked", confirmed=(0.0, 0.0))
    for late_s, last in ((0.0, math.inf), (1.2, math.inf)):
        found = confirmed.used(0.0, 0.4, FAST_TIMERS, late_s)
        assert found.fails(FAST_TIMERS) == (math.inf if late_s == 0 else pytest.approx(1.8), last)


def test_a_watched_path_may_be_lost_where_announcements_are_late() -> None:
    phase = Phase("now", Setting("l3", strategy="announce"), NAMES, ())
    check = Check(NEIGHBOUR, "one", watch=9)
    known = {(NEIGHBOUR, ONE.addresses[0].ip): Known("before")}
    for overrun, also in ((1.5, ()), (2.5, (EXPIRES,))):
        found = predict(world_of(LAB, phase, State(known=known, late=overrun)), check)
        assert (found.outcome, found.also) == (REACHABLE, also)


def test_a_sibling_with_the_gateways_address_gets_replies_to_what_it_asked_and_maybe_more() -> None:
    name = "gateways-address-asks"
    l2, macvlan = predict_lab(load((DIFFERENCES / f"{name}.yaml").read_text(encoding="utf-8"), name))
    asked = l2.acts[1].probes[0]
    assert (str(asked.check), asked.outcomes) == ("up -> test2", (REACHABLE,))
    for probe in macvlan.acts[1].probes:
        assert probe.outcomes == (REACHABLE, UNREACHABLE)
    assert macvlan.acts[1].probes[0].reason.endswith("has the gateway's or up's MAC")


HOSTS_OTHER_ADDRESS = """\
name: hosts-other-address
about: an endpoint has the address that the host has on another link
parents:
- {name: eth0, host: '2001:db8::3/64', gateway: ['2001:db8::1', 'fe80::1']}
- {name: eth1, host: '2001:db8:1::5/64', gateway: []}
far: 2001:db8:9::16/64
endpoints:
- {name: test, addresses: '2001:db8::15/64'}
phases:
- name: l3
  mode: l3
  do:
  - try: [{add-address: '2001:db8:1::5/64', at: test}]
  - check: [{from: test, to: far}]
"""


def test_in_ipv6_the_host_does_not_ask_from_the_address_of_another_link() -> None:
    (phase,) = predict_lab(load(HOSTS_OTHER_ADDRESS, "lab.yaml"))
    (probe,) = phase.acts[1].probes
    assert probe.reason == "the reply is lost: the gateway has no route to 2001:db8:1::5"


def test_an_endpoint_answers_no_question_from_an_address_that_it_has_too() -> None:
    name = "gateway-asks-from-endpoints-address"
    l2, macvlan = predict_lab(load((DIFFERENCES / f"{name}.yaml").read_text(encoding="utf-8"), name))
    found = [[probe.outcomes for probe in phase.acts[1].probes] for phase in (l2, macvlan)]
    assert found[0] == [(UNREACHABLE,), (REACHABLE,), (UNREACHABLE,)]
    assert found[1] == [(REACHABLE, UNREACHABLE), (REACHABLE,), (UNREACHABLE,)]


def test_with_vepa_in_l3_the_host_asks_the_wire_for_a_siblings_address() -> None:
    name = "vepa-neighbour-has-siblings-address"
    (phase,) = predict_lab(load((DIFFERENCES / f"{name}.yaml").read_text(encoding="utf-8"), name))
    assert [probe.outcomes for probe in phase.acts[1].probes] == [(REACHABLE,), (UNREACHABLE,)]


def test_a_reply_by_another_link_needs_an_entry_that_this_link_asked_for() -> None:
    name = "reply-by-another-link"
    (phase,) = predict_lab(load((DIFFERENCES / f"{name}.yaml").read_text(encoding="utf-8"), name))
    probes = [probe for act in phase.acts for probe in act.probes]
    assert [probe.outcomes for probe in probes] == [(UNREACHABLE,), (REACHABLE,), (REACHABLE,)]
    assert "net1 asks from net2's address" in probes[0].reason.replace("192.168.105.211", "net2's address")
    # Asked at once, either is first.
    acts = tuple(replace(act, wait=None) for act in phase.phase.acts)
    together = replace(acts[-1], checks=(*acts[2].checks, *acts[3].checks))
    lab = load((DIFFERENCES / f"{name}.yaml").read_text(encoding="utf-8"), name)
    lab = replace(lab, phases=(replace(lab.phases[0], acts=(together,)),))
    found = {str(probe.check): probe.outcomes for probe in predict_lab(lab)[0].acts[0].probes}
    assert found == {"net1 -> gateway": (REACHABLE,), "far -> net2": (UNREACHABLE, REACHABLE)}


def test_links_of_one_parent_in_one_namespace_hear_the_same_question() -> None:
    pod = tuple(replace(one, netns="pod") for one in (ONE, TWO))
    lab = replace(LAB, endpoints=pod)
    for family, second in (("ipv4", REACHABLE), ("ipv6", REACHABLE)):
        for name in ("one", "two"):
            check = Check(GATEWAY, name, family=family)  # type: ignore[arg-type]
            assert predict(world_of(lab, L2, NOTHING), check).outcome is second, check


@pytest.mark.parametrize(("family", "hear"), [("ipv4", {"one", "two"}), ("ipv6", {"one"})])
def test_arp_is_heard_by_each_link_of_a_namespace_and_a_solicitation_by_one(
    family: Family, hear: set[str]
) -> None:
    lab = replace(LAB, endpoints=tuple(replace(e, netns="pod") for e in (ONE, TWO)))
    learned = doing(L2, Act(checks=(Check(GATEWAY, "one", family=family),)), lab=lab).learned
    assert {dev for dev, address in learned if address in PARENT.gateway} == hear


@pytest.mark.parametrize(
    ("family", "number", "mac"),
    [
        ("ipv4", 0, "the parent's MAC, from the first answer"),
        ("ipv6", 1, "the gateway's MAC, from the last answer"),
    ],
)
def test_of_a_sibling_and_a_peer_with_one_address_the_first_answer_counts_in_ipv4_and_the_last_in_ipv6(
    family: Family, number: int, mac: str
) -> None:
    taken = ip_interface((PARENT.gateway[number], ONE.addresses[number].network.prefixlen))
    found = of_one(L2, Check("two", GATEWAY, family=family), trying(L2, AddAddress(taken, "one")))
    assert found.outcome is REACHABLE
    assert found.reason.endswith(f"; two's entry for {taken.ip} has {mac}")


def test_a_link_answers_arp_for_the_addresses_of_all_links_unless_arp_ignore_forbids_it() -> None:
    inside = tuple(replace(e, netns="pod") for e in (ONE, OTHER))
    asks = replace(TWO, routes=(Route(OTHER.addresses[0].network),))
    lab = replace(TWO_PARENTS, endpoints=(*inside, asks))
    check = Check("two", "other", family="ipv4")
    for value, outcome in ((0, REACHABLE), (1, UNREACHABLE)):
        act = Act(sysctls=(Sysctl("one", "net.ipv4.conf.all.arp_ignore", value),))
        phase = Phase("now", Setting("l2", kind="macvlan"), ("one", "two", "other"), ())
        assert predict(after(world_of(lab, phase, NOTHING), act), check).outcome is outcome


def test_an_entry_may_fail_between_two_phases() -> None:
    check = Check(GATEWAY, "one", family="ipv6")
    fast = doing(L2, Act(fast_ageing=(GATEWAY,)), Act(checks=(replace(check, count=20),)))
    for phase, also in ((L3, (UNREACHABLE,)), (L2, ())):
        world = at_first_act(None, world_of(LAB, phase, next_phase(LAB, fast)), fast.now + 3)
        found = predict(world, check)
        assert (found.outcome, found.also) == (REACHABLE, also)
        # In l2 it has been asked again since; in l3 it may have been lost for good.
        found = predict(after(world, Act(checks=(check,))), check)
        assert (found.outcome, found.also) == (REACHABLE, also)


@pytest.mark.parametrize(
    ("until", "next_at", "also"),
    # Its entry is in doubt from the first check on, and the gateway asks 5 s later.
    [(2.0, 2.5, ()), (4.9, 8.9, (UNREACHABLE,)), (2.0, 14.0, (UNREACHABLE,)), (5.5, 40.0, ())],
)
def test_an_endpoint_is_deleted_at_any_time_between_two_phases(
    until: float, next_at: float, also: tuple[Outcome, ...]
) -> None:
    lab = load(gallery.text("walkthrough"), "walkthrough")
    times = {("l2", 0): (0.0, until), ("l3", 0): (next_at, next_at), ("l3", 1): (next_at, next_at + 1)}
    probe = predict_lab(lab, times)[1].acts[1].probes[0]
    assert str(probe.check) == "test1 -> gateway"
    # A run of 21 s on a slow machine had an answer: the gateway had asked test1 while it was being deleted.
    assert (probe.expected, probe.also) == (REACHABLE, also)


def test_an_entry_that_may_have_failed_stays_so_without_an_announcement() -> None:
    entry = (GATEWAY, ONE.addresses[0].ip)
    maybe = Known("phase l2", doubted=(90.0, 90.0), maybe=True)
    later = at_time(world_of(LAB, L3, State(known={entry: maybe})), 60.0)
    assert later.state.known == {entry: maybe}
    found = predict(later, Check(GATEWAY, "one", family="ipv4"))
    assert (found.outcome, found.also) == (REACHABLE, (UNREACHABLE,))


def test_a_repeated_question_may_be_answered_when_the_endpoint_is_in_l2_by_then() -> None:
    check = Check(GATEWAY, "one", family="ipv4", count=1)
    asked_in_vain = doing(L3, Act(checks=(check,)))
    entry = (GATEWAY, ONE.addresses[0].ip)
    until = asked_in_vain.asking[entry]
    assert until == 2.5
    for phase, wait, also in ((L2, 1.0, True), (L2, 3.0, False), (L3, 1.0, False)):
        waited = replace(asked_in_vain, now=wait)
        state = next_phase(LAB, at_time(world_of(LAB, phase, waited), wait + 1).state)
        found = predict(world_of(LAB, L3, state), check)
        expected = (REACHABLE, (UNREACHABLE,)) if also else (UNREACHABLE, ())
        assert (found.outcome, found.also) == expected
    flushed = doing(L3, Act(flush=(GATEWAY,)), state=asked_in_vain)
    assert not flushed.asking
    assert not flushed_on(world_of(LAB, L3, asked_in_vain), GATEWAY, "eth0").state.asking


@pytest.mark.parametrize(
    ("check", "ends"),
    [
        (Check(GATEWAY, "one", family="ipv4", watch=4), True),
        (Check(GATEWAY, "one", family="ipv4", tcp=80), True),
        (Check(GATEWAY, "one", family="ipv4", count=1), True),
        (Check(GATEWAY, "one", family="ipv4"), False),
    ],
)
def test_what_waits_for_a_question_that_fails_is_lost_where_it_asks_no_other(
    check: Check, ends: bool
) -> None:
    once = Check(GATEWAY, "one", family="ipv4", count=1)
    asked_in_vain = doing(L3, Act(checks=(once,)))
    for after_s, may_fail in ((2.4, ends), (4.5, False)):
        later = at_time(world_of(LAB, L2, asked_in_vain), after_s)
        found = predict(later, check)
        assert (found.outcome, found.also) == (REACHABLE, (UNREACHABLE,) if may_fail else ())
        answered = after(later, Act(checks=(replace(once, count=6),)), after_s)
        assert predict(answered, check).also == ()


@pytest.mark.parametrize(
    ("kind", "reports"), [(None, True), ("unreachable", True), ("prohibit", True), ("blackhole", False)]
)
def test_a_router_that_has_no_route_uses_its_entry_for_the_sender(
    kind: RouteType | None, reports: bool
) -> None:
    route = Route(ip_network("203.0.113.0/24"), type=kind)
    router = Host("router", (ip_interface("192.0.2.9/24"),), (route,) if kind else (), forwards=True)
    client = Host("client", (ip_interface("203.0.113.2/24"),), (Route(),))
    one = replace(ONE, addresses=ONE.addresses[:1], routes=(Route(via=router.addresses[0].ip),))
    parents = (replace(PARENT, hosts=(router, client)),)
    lab = replace(LAB, parents=parents, endpoints=(one, TWO))
    check = Check("one", "client", family="ipv4")
    entry = ("router", one.addresses[0].ip)
    found = predict(world_of(lab, L2, NOTHING), check)
    assert (found.outcome, found.hops[-1].at) == (UNREACHABLE, "router")
    # It has heard of the sender, which asked for it.
    entry_after = doing(L2, Act(checks=(check,)), lab=lab).known[entry]
    assert (entry_after.doubted is not None) == reports


def test_what_endpoints_know_ends_with_their_phase() -> None:
    address = ONE.addresses[0].ip
    by, known = dict.fromkeys([(HOST, address), ("two", address)], "one"), Known("before")
    later = next_phase(LAB, State(learned=by, known=dict.fromkeys(by, known), failed=frozenset(by)))
    assert [*later.learned] == [*later.known] == [*later.failed] == [(HOST, address)]


def test_only_the_entries_on_one_parent_are_flushed() -> None:
    second = Check(GATEWAY, "other")
    phase = Phase("now", Setting("l2"), ("one", "two", "other"), ())
    warm = after(world_of(TWO_PARENTS, phase, NOTHING), Act(checks=(Check(GATEWAY, "one"), second)))
    flushed = flushed_on(warm, GATEWAY, "eth0")
    assert [address for _, address in flushed.state.known] == [OTHER.addresses[0].ip]
    assert flushed_on(warm, NEIGHBOUR, "eth0").state.known == warm.state.known


def test_a_connection_with_fast_timers_may_fail_before_the_next_announcement() -> None:
    setting, check = Setting("l3", strategy="announce"), Check(NEIGHBOUR, "one", tcp=9)
    phase = Phase("now", setting, NAMES, ())
    for state, also in ((NOTHING, ()), (State(fast=frozenset({NEIGHBOUR})), (UNREACHABLE,))):
        prediction = predict(world_of(LAB, phase, state), check)
        assert (prediction.outcome, prediction.also) == (REACHABLE, also)


def test_what_the_shim_asks_in_ipv6_is_uncertain_while_its_own_address_is_tentative() -> None:
    setting = Setting("l2", host_shim=True)
    for now, family, also in ((0.0, "ipv6", (UNREACHABLE,)), (3.0, "ipv6", ()), (0.0, "ipv4", ())):
        state = State(now=now, hairpin=True)
        prediction = asked("one", HOST, setting, state, family=family)  # type: ignore[arg-type]
        assert (prediction.outcome, prediction.also) == (REACHABLE, also), prediction.reason


def test_the_switch_reflects_until_it_is_told_not_to() -> None:
    on = doing(L2, Act(hairpin=True), Act(flush=(GATEWAY,)), Act(wait=1))
    assert on.hairpin
    assert next_phase(LAB, on).hairpin
    assert not doing(L2, Act(hairpin=False), state=on).hairpin


@pytest.mark.parametrize("mode", MODES)
def test_port_security_drops_what_comes_from_an_endpoint_and_lets_arp_pass(mode: Mode) -> None:
    setting = Setting(mode, strategy="none" if mode == "l2" else "static-neigh")
    secured = State(allowed={HOST: (HOST,)})
    sent, answered = (asked(*pair, setting, secured) for pair in (("one", GATEWAY), (GATEWAY, "one")))
    assert {sent.outcome, answered.outcome} == {UNREACHABLE}
    assert sent.reason.startswith("port security: the switch drops packets from 192.0.2.11")
    assert answered.reason == f"the reply is lost: {sent.reason}"
    # The allowed address pair mends it, for that endpoint alone.
    paired = State(allowed={HOST: (HOST, "one")})
    assert asked(GATEWAY, "one", setting, paired).outcome is REACHABLE
    assert asked(GATEWAY, "two", setting, paired).outcome is UNREACHABLE


@each_setting
def test_port_security_is_ipv4s_and_siblings_do_not_meet_it(setting: Setting) -> None:
    nobody = State(allowed={HOST: ()})
    for pair in PAIRS:
        assert asked(*pair, setting, nobody, family="ipv6") == asked(*pair, setting, family="ipv6")
    for pair in SIBLINGS:
        assert asked(*pair, setting, nobody) == asked(*pair, setting)


def test_port_security_remembers_endpoints_that_are_not_there_any_more() -> None:
    secured = next_phase(LAB, doing(L2, Act(port_security=("two",))))
    only_one = replace(L2, endpoints=("one",))
    assert of_one(only_one, Check(GATEWAY, "one"), secured).outcome is UNREACHABLE
    assert of_one(L2, Check(GATEWAY, "two"), secured).outcome is REACHABLE


# --- several parents -----------------------------------------------------------------------------------

SECOND = Parent("eth1", (ip_interface("10.1.0.1/24"),), (ip_address("10.1.0.254"),))
OTHER = Endpoint("other", (ip_interface("10.1.0.11/24"),), "other", "eth1")
TWO_PARENTS = replace(LAB, parents=(PARENT, SECOND), endpoints=(ONE, TWO, OTHER), far=())
TAGGED = replace(TWO_PARENTS, parents=(PARENT, replace(SECOND, link="eth0", vlan=100)))
BY_NETWORK = pytest.mark.parametrize("lab", [TWO_PARENTS, TAGGED], ids=["two NICs", "a NIC and its VLAN"])


def on_two(source: str, destination: str, one: Setting, other: Setting, lab: Lab) -> Prediction:
    phase = Phase("now", one, ("one", "two", "other"), (), others=(("eth1", other),))
    return predict(world_of(lab, phase, NOTHING), Check(source, destination))


@pytest.mark.parametrize(("family", "dev"), [("ipv4", "eth0"), ("ipv6", "eth1")])
def test_in_ipv4_an_l3_endpoint_uses_only_routes_out_of_its_parent(family: Family, dev: str) -> None:
    second = replace(SECOND, host=(*SECOND.host, ip_interface("2001:db8:b::1/64")))
    other = replace(OTHER, addresses=(*OTHER.addresses, ip_interface("2001:db8:b::11/64")))
    lab = replace(TWO_PARENTS, parents=(PARENT, second), endpoints=(ONE, TWO, other))
    phase = Phase("now", Setting("l3"), ("one", "two", "other"), ())
    found = predict(world_of(lab, phase, NOTHING), Check("one", "other", family=family))
    assert f"one uses the routes of the host: out of {dev}" in [hop.what for hop in found.hops]


def test_port_security_drops_no_frame_of_a_vlan() -> None:
    nobody = State(allowed={HOST: ()})
    for lab, of_other in ((TWO_PARENTS, UNREACHABLE), (TAGGED, REACHABLE)):
        world = world_of(lab, Phase("now", Setting(), ("one", "two", "other"), ()), nobody)
        assert predict(world, Check("one", GATEWAY)).outcome is UNREACHABLE
        assert predict(world, Check("other", GATEWAY)).outcome is of_other


def test_port_security_holds_from_when_it_is_set() -> None:
    world = world_of(LAB, L2, NOTHING).at(State(allowed={HOST: (HOST,)}))
    assert predict(world, Check("one", GATEWAY)).outcome is UNREACHABLE
    assert predict(world.at(NOTHING), Check("one", GATEWAY)).outcome is REACHABLE


@BY_NETWORK
def test_endpoints_on_two_parents_reach_each_other_by_the_gateway_if_both_are_reached_by_it(lab: Lab) -> None:
    silent, heard = [Setting("l3"), Setting("l3s")], [Setting("l2"), Setting("l3s", strategy="l3s-proxy")]
    for one, other in product([*silent, *heard], repeat=2):
        expected = REACHABLE if one in heard and other in heard else UNREACHABLE
        for pair in (("one", "other"), ("other", "one")):
            prediction = on_two(*pair, one, other, lab)
            assert prediction.outcome is expected, f"{one}, {other}: {prediction.reason}"
            if expected is REACHABLE:
                assert GATEWAY in {hop.at for hop in prediction.hops}


@pytest.mark.long
@BY_NETWORK
@each_setting
def test_each_parent_has_its_own_mode_and_flag(lab: Lab, setting: Setting) -> None:
    for other in settings_without_help():
        for pair in (("one", "two"), ("one", GATEWAY), (NEIGHBOUR, "one"), (HOST, "one")):
            assert on_two(*pair, setting, other, lab) == on_two(*pair, setting, Setting(), lab)
        pair = (GATEWAY, "other")
        assert on_two(*pair, setting, other, lab) == on_two(*pair, Setting(), other, lab)


@BY_NETWORK
def test_a_flip_is_that_of_one_parent(lab: Lab) -> None:
    phase = Phase("now", Setting(), ("one", "two", "other"), ())
    flipped = trying(phase, SetMode("other", "l3"), lab=lab)
    assert dict(flipped.flipped) == {"eth1": ("l3", "bridge")}
    assert predict(world_of(lab, phase, flipped), Check(GATEWAY, "one")).outcome is REACHABLE
    assert predict(world_of(lab, phase, flipped), Check(GATEWAY, "other")).outcome is UNREACHABLE


@BY_NETWORK
@pytest.mark.parametrize("mode", ["l3", "l3s"])
def test_in_ipv4_an_l3_endpoint_looks_on_the_wire_for_what_the_host_has_on_another_parent(
    lab: Lab, mode: Mode
) -> None:
    """Through a shim without an address the host sends from its first one."""
    shim = Setting(mode, host_shim=True)
    found = on_two(HOST, "other", Setting("l2"), shim, lab)
    assert found.outcome is REACHABLE
    assert GATEWAY in {hop.at for hop in found.hops}
    alone = replace(lab, parents=tuple(replace(parent, gateway=()) for parent in lab.parents))
    found = on_two(HOST, "other", Setting("l2"), shim, alone)
    assert found.outcome is UNREACHABLE
    assert found.reason.startswith("the reply is lost: the host has 192.0.2.1 on another link than eth1")
    assert on_two("other", HOST, Setting("l2"), shim, alone).outcome is REACHABLE


def test_in_ipv6_every_address_of_the_host_is_local_to_an_l3_endpoint() -> None:
    """The endpoint is nearer to the host's address on the other parent."""
    second = replace(SECOND, host=(ip_interface("fd00::1/64"),), gateway=())
    apart = replace(OTHER, addresses=(ip_interface("2001:db8:0:1::11/64"),))
    phase = Phase("now", Setting("l3", host_shim=True), ("other",), ())
    lab = replace(LAB, parents=(PARENT, second), endpoints=(apart,), phases=(phase,), far=())
    found = predict(world_of(lab, phase, NOTHING), Check(HOST, "other", family="ipv6"))
    assert found.outcome is REACHABLE
    assert "eth1 passes it to the host, which has that address" in [hop.what for hop in found.hops]


def test_the_hosts_links_are_in_the_order_in_which_the_kernel_created_them() -> None:
    third = replace(SECOND, name="eth2", host=(ip_interface("10.2.0.1/24"),), gateway=())
    lab = replace(TAGGED, parents=(*TAGGED.parents, third))
    shim, veth = Setting("l3", host_shim=True), Setting(kind="veth")
    phase = Phase("now", shim, ("one", "other"), ())
    assert [link.dev for link in world_of(lab, phase, NOTHING).nodes[HOST].links] == [
        *("eth0", "eth2", "eth1"),
        *("shim", "shim1"),
    ]
    phase = Phase("now", veth, ("one", "other"), (), others=(("eth1", shim),))
    assert [link.dev for link in world_of(TWO_PARENTS, phase, NOTHING).nodes[HOST].links] == [
        *("eth1", "br-lan", "shim1")
    ]


# --- attempts: addresses and links -----------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("number", [0, 1], ids=FAMILIES)
def test_an_address_of_a_sibling_is_refused_and_that_of_anybody_else_goes_unnoticed(
    mode: Mode, number: int
) -> None:
    phase = replace(L2, setting=Setting(mode))
    assert told(phase, AddAddress(TWO.addresses[number], "one")).outcome is REFUSED
    assert told(phase, AddAddress(ONE.addresses[number], "one")).outcome is REFUSED
    for whose, address in ((HOST, PARENT.host[number].ip), (NEIGHBOUR, PARENT.neighbour[number])):
        prediction = told(phase, AddAddress(ip_interface(address), "one"))
        assert prediction.outcome is ACCEPTED
        assert f"does not notice that {whose} has it" in prediction.reason


def test_an_address_that_was_added_is_taken() -> None:
    new = AddAddress(ip_interface("192.0.2.77/24"), "one")
    assert told(L2, new).outcome is ACCEPTED
    assert told(L2, replace(new, endpoint="two"), trying(L2, new)).outcome is REFUSED
    assert told(L2, replace(new, endpoint="two"), next_phase(LAB, trying(L2, new))).outcome is ACCEPTED


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("peer", PEERS)
def test_an_endpoint_with_somebodys_address_and_its_owner_do_not_reach_each_other(
    mode: Mode, peer: str
) -> None:
    setting = Setting(mode, strategy="none" if mode == "l2" else "static-neigh")
    other = next(role for role in PEERS if role != peer)
    doubled = State(addresses=(("one", ip_interface(f"{PARENT.peer(peer)[0]}/24")),))
    for pair in ((peer, "one"), ("one", peer)):
        assert asked(*pair, setting, doubled).outcome is UNREACHABLE
        assert asked(*pair, setting, doubled, family="ipv6").outcome is REACHABLE
    assert asked(other, "one", setting, doubled).outcome is REACHABLE


def test_macvlan_does_not_compare_addresses() -> None:
    macvlan = replace(L2, setting=Setting(kind="macvlan"))
    assert told(macvlan, AddAddress(TWO.addresses[0], "one")).outcome is ACCEPTED


def test_veth_does_not_compare_addresses_with_the_ipvlan_endpoints_of_another_parent() -> None:
    phase = Phase("now", Setting(kind="veth"), ("one", "two", "other"), (), others=(("eth1", Setting()),))
    assert told(phase, AddAddress(OTHER.addresses[0], "one"), lab=TWO_PARENTS).outcome is ACCEPTED


def test_a_parent_carries_ipvlan_or_macvlan_links_and_never_both() -> None:
    ipvlan, macvlan = AddLink("x", "ipvlan", "eth0", "l2"), AddLink("y", "macvlan", "eth0")
    phases = {kind: replace(L2, setting=Setting(kind=kind)) for kind in KINDS}
    assert told(phases["ipvlan"], ipvlan).outcome is ACCEPTED
    assert told(phases["ipvlan"], macvlan).outcome is REFUSED
    assert told(phases["macvlan"], macvlan).outcome is ACCEPTED
    assert told(phases["macvlan"], ipvlan).outcome is REFUSED
    for change in (ipvlan, macvlan):
        assert told(phases["veth"], change).outcome is REFUSED, "a port of a bridge carries neither"


def test_on_a_parent_without_endpoints_the_first_link_decides() -> None:
    phase = Phase("now", Setting(), ("one",), ())
    macvlan, ipvlan = AddLink("y", "macvlan", "eth1"), AddLink("x", "ipvlan", "eth1")
    assert told(phase, ipvlan, lab=TWO_PARENTS).outcome is ACCEPTED
    first = trying(phase, macvlan, lab=TWO_PARENTS)
    assert told(phase, ipvlan, first, TWO_PARENTS).outcome is REFUSED
    gone = trying(phase, DeleteLink("y"), state=first, lab=TWO_PARENTS)
    assert told(phase, ipvlan, gone, TWO_PARENTS).outcome is ACCEPTED


def test_a_link_is_added_once_and_deleted_once() -> None:
    link = AddLink("x", "ipvlan", "eth0", "l2")
    assert told(L2, DeleteLink("x")).outcome is REFUSED
    added = trying(L2, link)
    assert told(L2, link, added).outcome is REFUSED
    assert told(L2, DeleteLink("x"), added).outcome is ACCEPTED
    gone = trying(L2, DeleteLink("x"), state=added)
    assert told(L2, DeleteLink("x"), gone).outcome is REFUSED
    assert told(L2, link, gone).outcome is ACCEPTED


# --- attempts: modes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("flag", FLAGS)
def test_a_sibling_without_a_mode_flips_all_to_l3_and_leaves_their_flag(mode: Mode, flag: Flag) -> None:
    phase = replace(L2, setting=Setting(mode, flag))
    late = AddLink("late", "ipvlan", "eth0")
    assert dict(trying(phase, late).flipped) == {"eth0": ("l3", flag)}
    assert ("from now on" in told(phase, late).reason) == (mode != "l3")


@each_setting
@for_each("mode", MODES)
@for_each("flag", [None, *FLAGS])
def test_a_sibling_with_a_mode_and_no_flag_sets_the_flag_to_bridge(
    setting: Setting, mode: Mode, flag: Flag | None
) -> None:
    phase = replace(L2, setting=setting)
    assert dict(trying(phase, AddLink("x", "ipvlan", "eth0", mode, flag)).flipped) == {
        "eth0": (mode, flag or "bridge")
    }


def test_after_a_flip_pings_come_out_as_in_the_new_mode_until_somebody_sets_it_back() -> None:
    late = trying(L2, AddLink("late", "ipvlan", "eth0"))
    deleted = trying(L2, DeleteLink("late"), state=late)
    back = trying(L2, SetMode("two", "l2"), state=deleted)
    outcomes = [of_one(L2, Check(GATEWAY, "one"), s).outcome for s in (NOTHING, late, deleted, back)]
    assert outcomes == [REACHABLE, UNREACHABLE, UNREACHABLE, REACHABLE]
    assert "NOARP" in of_one(L2, Check(GATEWAY, "one"), late).reason


@pytest.mark.long
@each_setting
@for_each("mode", MODES)
def test_a_mode_that_is_set_is_as_one_that_endpoints_were_made_in(setting: Setting, mode: Mode) -> None:
    """But for what is behind the gateway: the endpoints keep the routes that they were given."""
    flipped = trying(replace(L2, setting=setting), SetMode("one", mode))
    for pair in (pair for pair in PAIRS if FAR not in pair):
        assert asked(*pair, setting, flipped).outcome is asked(*pair, Setting(mode)).outcome


def test_a_flip_changes_no_route_of_an_endpoint() -> None:
    made_in_l3 = trying(L3, SetMode("one", "l2"))
    there = of_one(L3, Check("one", FAR), made_in_l3)
    assert there.outcome is UNREACHABLE, "its default route leads straight out of its link"
    assert "ARP for 198.51.100.10" in there.reason
    assert of_one(L3, Check("one", GATEWAY), made_in_l3).outcome is REACHABLE
    made_in_l2 = trying(L2, SetMode("one", "l3"), SetMode("one", "l2"))
    assert of_one(L2, Check("one", FAR), made_in_l2).outcome is REACHABLE


def test_a_flip_ends_with_its_phase() -> None:
    flipped = trying(L2, SetMode("one", "l3"), AddLink("late", "ipvlan", "eth0"))
    assert at_start(next_phase(LAB, flipped)) == NOTHING


@pytest.mark.parametrize("kind", ["macvlan", "veth"])
def test_other_kinds_have_no_mode_of_ipvlan(kind: str) -> None:
    phase = replace(L2, setting=Setting(kind=kind))  # type: ignore[arg-type]
    assert told(phase, SetMode("one", "l3")).outcome is REFUSED
    assert at_start(trying(phase, SetMode("one", "l3"))) == NOTHING


def test_what_is_refused_changes_nothing() -> None:
    refused = (AddAddress(TWO.addresses[0], "one"), AddLink("x", "macvlan", "eth0"), DeleteLink("x"))
    assert at_start(trying(L2, *refused)) == NOTHING


# --- attempts: MTUs, and sizes --------------------------------------------------------------------------


@pytest.mark.long
@each_setting
@for_each(("family", "headers"), [("ipv4", 28), ("ipv6", 48)])
def test_what_fits_into_every_mtu_changes_nothing_and_what_does_not_is_lost(
    setting: Setting, family: Family, headers: int
) -> None:
    for pair in PAIRS:
        usual = asked(*pair, setting, family=family)
        assert asked(*pair, setting, family=family, size=1500 - headers).outcome is usual.outcome
        too_large = asked(*pair, setting, family=family, size=1501 - headers)
        assert too_large.outcome is UNREACHABLE
        if usual.outcome is REACHABLE:
            assert "1501 bytes are more than the mtu" in too_large.reason


@pytest.mark.parametrize(("family", "headers"), [("ipv4", 20 + 8), ("ipv6", 40 + 8)])
def test_an_mtu_has_room_for_the_headers_of_ip_and_icmp(family: Family, headers: int) -> None:
    fits, too_large = (
        asked("one", GATEWAY, Setting("l2"), family=family, size=n - headers) for n in (1500, 1501)
    )
    assert fits.outcome is REACHABLE
    assert too_large.outcome is UNREACHABLE
    assert too_large.reason == "1501 bytes are more than the mtu of one: 1500"


def test_siblings_hand_over_what_no_wire_would_take() -> None:
    large = trying(L2, SetMtu("one", 9000), SetMtu("two", 9000))
    assert of_one(L2, Check("one", "two", size=8000), large).outcome is REACHABLE
    assert of_one(L2, Check("one", GATEWAY, size=8000), large).outcome is UNREACHABLE


def test_an_endpoint_takes_an_mtu_above_its_parents_and_is_told_so() -> None:
    prediction = told(L2, SetMtu("one", 9000))
    assert prediction.outcome is ACCEPTED
    assert "does not compare it with eth0's, which is 1500" in prediction.reason


def mtu_of(name: str, state: State, phase: Phase, lab: Lab = LAB) -> int:
    """Return the MTU of an endpoint, told from the largest ping that leaves it."""
    sizes = range(972, 2000, 100)
    check = Check(name, GATEWAY)
    lost = (predict(world_of(lab, phase, state), replace(check, size=size)).reason for size in sizes)
    found = next(reason for reason in lost if f"mtu of {name}'s" in reason or f"mtu of {name}" in reason)
    return int(found.rpartition(": ")[2])


def test_an_entry_for_which_the_host_answers_does_not_fail() -> None:
    proxied = replace(L3, setting=Setting("l3s", strategy="l3s-proxy"))
    for phase, failed_ in ((proxied, set()), (L3, {(NEIGHBOUR, ONE.addresses[0].ip)})):
        watched = Act(checks=(Check(NEIGHBOUR, "one", 100, family="ipv4"),))
        assert doing(phase, watched, Act(wait=5), state=known(NEIGHBOUR)).failed == failed_


def test_a_link_accepts_four_bytes_more_than_its_mtu() -> None:
    lab = replace(LAB, endpoints=(ONE, replace(TWO, mtu=1400)))
    for size, outcome in ((1404 - 28, REACHABLE), (1405 - 28, UNREACHABLE)):
        assert asked("one", "two", Setting(), lab=lab, family="ipv4", size=size).outcome is outcome


def test_a_bridge_has_the_smallest_mtu_of_its_ports() -> None:
    large = State(mtus={"eth0": 9000})
    lost = asked(HOST, "one", Setting(kind="veth"), large, family="ipv4", size=2000)
    assert lost.reason == "2028 bytes are more than the mtu of the host's br-lan: 1500"


def test_ipvlan_endpoints_follow_their_parents_mtu_up_and_down() -> None:
    low = trying(L2, SetMtu("eth0", 1300))
    high = trying(L2, SetMtu("eth0", 1500), state=low)
    assert (mtu_of("one", low, L2), mtu_of("one", high, L2)) == (1300, 1500)


def test_macvlan_endpoints_follow_their_parents_mtu_down_only_and_take_none_above_it() -> None:
    phase = replace(L2, setting=Setting(kind="macvlan"))
    assert told(phase, SetMtu("one", 9000)).outcome is REFUSED
    assert told(phase, SetMtu("one", 1500)).outcome is ACCEPTED
    low = trying(phase, SetMtu("eth0", 1300))
    high = trying(phase, SetMtu("eth0", 1500), state=low)
    assert (mtu_of("one", low, phase), mtu_of("one", high, phase)) == (1300, 1300)


def test_a_vlan_follows_the_link_below_it_down_only_and_takes_no_mtu_above_it() -> None:
    phase = Phase("now", Setting(), ("one", "other"), ())
    assert told(phase, SetMtu("eth1", 9000), lab=TAGGED).outcome is REFUSED
    low = trying(phase, SetMtu("eth0", 1300), lab=TAGGED)
    high = trying(phase, SetMtu("eth0", 1500), state=low, lab=TAGGED)
    assert [mtu_of(name, low, phase, TAGGED) for name in ("one", "other")] == [1300, 1300]
    assert [mtu_of(name, high, phase, TAGGED) for name in ("one", "other")] == [1500, 1300]


def test_a_parents_mtu_stays_and_an_endpoints_goes_with_it() -> None:
    phase = Phase("now", Setting(), ("one", "other"), ())
    other = trying(phase, SetMtu("other", 1400), SetMtu("eth0", 1300), lab=TWO_PARENTS)
    assert [mtu_of(name, other, phase, TWO_PARENTS) for name in ("one", "other")] == [1300, 1400]
    later = next_phase(TWO_PARENTS, other)
    assert [mtu_of(name, later, phase, TWO_PARENTS) for name in ("one", "other")] == [1300, 1500]


# --- parents of every kind ------------------------------------------------------------------------------

OF_KINDS = {
    "bond": replace(PARENT, kind="bond"),
    "bond by LACP": replace(PARENT, kind="bond", bond_mode="802.3ad"),
    "bridge": replace(PARENT, kind="bridge"),
}
ON_A_DUMMY = replace(LAB, parents=(replace(PARENT, kind="dummy", gateway=(), neighbour=()),), far=())
DUMMY_PAIRS = (("one", "two"), ("two", "one"), ("one", HOST), (HOST, "one"))


@pytest.mark.long
@pytest.mark.parametrize("parent", OF_KINDS.values(), ids=OF_KINDS)
@each_setting
def test_a_bond_and_a_bridge_are_parents_like_a_nic(parent: Parent, setting: Setting) -> None:
    lab = replace(LAB, parents=(parent,))
    phase = Phase("now", setting, ("one", "two"), ())
    for reflecting in (State(), State(hairpin=True)):
        for pair in PAIRS:
            expected = predict(world_of(LAB, phase, reflecting), Check(*pair))
            assert predict(world_of(lab, phase, reflecting), Check(*pair)) == expected


@each_setting
def test_ipvtap_follows_the_rules_of_ipvlan(setting: Setting) -> None:
    for pair in PAIRS:
        assert asked(*pair, replace(setting, kind="ipvtap")) == asked(*pair, setting)


@pytest.mark.parametrize("hairpin", [False, True])
@pytest.mark.parametrize("flag", FLAGS)
@pytest.mark.parametrize("mode", MODES)
def test_on_a_dummy_siblings_reach_each_other_with_flag_bridge_and_nothing_else_does(
    mode: Mode, flag: Flag, hairpin: bool
) -> None:
    world = world_of(
        ON_A_DUMMY, Phase("now", Setting(mode, flag), ("one", "two"), ()), State(hairpin=hairpin)
    )
    found = {pair for pair in DUMMY_PAIRS if predict(world, Check(*pair)).outcome is REACHABLE}
    assert found == (set(DUMMY_PAIRS[:2]) if flag == "bridge" else set())


def test_a_shim_reaches_endpoints_on_a_dummy() -> None:
    phase = Phase("now", Setting("l2", host_shim=True), ("one", "two"), ())
    assert predict(world_of(ON_A_DUMMY, phase, State()), Check(HOST, "one")).outcome is REACHABLE


@pytest.mark.parametrize("kind", ["ipvlan", "ipvtap", "macvlan"])
@pytest.mark.parametrize("parent", OF_KINDS.values(), ids=OF_KINDS)
def test_a_port_and_the_loopback_are_refused_as_parents(
    parent: Parent, kind: Literal["ipvlan", "ipvtap", "macvlan"]
) -> None:
    lab = replace(LAB, parents=(parent,))
    assert told(L2, AddLink("new", kind, "port0"), lab=lab).outcome is REFUSED
    assert told(L2, AddLink("new", kind, "lo"), lab=lab).outcome is REFUSED


def test_a_bridge_and_a_vlan_accept_what_the_link_below_accepts() -> None:
    bridged = replace(LAB, parents=(OF_KINDS["bridge"],))
    for lab, endpoint, link in ((bridged, "one", "eth0"), (TAGGED, "other", "eth1")):
        phase = Phase("now", Setting(), (endpoint,), ())
        low = trying(phase, SetMtu(link, 1400), lab=lab)
        for pair, expected in (((GATEWAY, endpoint), REACHABLE), ((endpoint, GATEWAY), UNREACHABLE)):
            assert predict(world_of(lab, phase, low), Check(*pair, size=1472)).outcome is expected


# --- l3 and what the peers remember -------------------------------------------------------------------


@pytest.mark.parametrize("peer", PEERS)
@pytest.mark.parametrize("mode", L3_MODES)
def test_in_l3_a_peer_without_an_entry_is_unreachable_both_ways(peer: str, mode: Mode) -> None:
    for check in both_ways(peer, "one"):
        prediction = of_one(replace(L3, setting=Setting(mode)), check)
        assert prediction.outcome is UNREACHABLE
        assert "NOARP" in prediction.reason


@pytest.mark.parametrize("peer", PEERS)
def test_an_entry_from_an_l2_phase_makes_l3_reachable(peer: str) -> None:
    for check in both_ways(peer, "one"):
        for learned in (check, replace(check, source=check.destination, destination=check.source)):
            prediction = of_one(L3, check, doing(L2, Act(checks=(learned,))))
            assert prediction.outcome is REACHABLE
            assert "phase early" in prediction.reason
            assert "still has" in prediction.reason


@pytest.mark.parametrize("peer", PEERS)
def test_an_entry_is_of_one_peer_and_one_address(peer: str) -> None:
    other = next(role for role in PEERS if role != peer)
    assert of_one(L3, Check(peer, "two"), known(peer, "one")).outcome is UNREACHABLE
    assert of_one(L3, Check(other, "one"), known(peer, "one")).outcome is UNREACHABLE
    assert of_one(L3, Check(peer, "one", family="ipv6"), known(peer, "one")).outcome is UNREACHABLE


@pytest.mark.parametrize("peer", PEERS)
def test_an_announcement_fills_a_failed_entry(peer: str) -> None:
    state = doing(L3, Act(announce=("one",)), state=failed(peer))
    for check in both_ways(peer, "one"):
        prediction = of_one(L3, check, state)
        assert prediction.outcome is REACHABLE
        assert "announcement" in prediction.reason


@pytest.mark.parametrize("peer", PEERS)
def test_an_announcement_fills_no_entry_of_ipv6(peer: str) -> None:
    check = Check(peer, "one", family="ipv6")
    state = doing(L3, Act(checks=(check,)), Act(announce=("one",)))
    assert of_one(L3, check, state).outcome is UNREACHABLE


@pytest.mark.parametrize("peer", PEERS)
def test_an_announcement_makes_no_entry(peer: str) -> None:
    state = doing(L3, Act(announce=("one", "two")))
    assert at_start(state) == NOTHING
    for check in both_ways(peer, "one"):
        assert of_one(L3, check, state).outcome is UNREACHABLE


@pytest.mark.parametrize("peer", PEERS)
def test_a_flush_takes_every_entry_of_its_peer_and_of_no_other(peer: str) -> None:
    other = next(role for role in PEERS if role != peer)
    pings = tuple(Check(role, endpoint) for role in PEERS for endpoint in NAMES)
    state = doing(L3, Act(flush=(peer,)), state=doing(L2, Act(checks=pings)))
    for endpoint in NAMES:
        assert of_one(L3, Check(peer, endpoint), state).outcome is UNREACHABLE
        assert of_one(L3, Check(other, endpoint), state).outcome is REACHABLE


@pytest.mark.parametrize("peer", PEERS)
def test_a_flush_takes_failed_entries_too(peer: str) -> None:
    announced = doing(L3, Act(flush=(peer,)), Act(announce=("one",)), state=failed(peer))
    assert of_one(L3, Check(peer, "one"), announced).outcome is UNREACHABLE


@pytest.mark.parametrize("peer", PEERS)
def test_a_flush_wins_over_an_announcement_beside_it(peer: str) -> None:
    for before in (known(peer), failed(peer)):
        state = doing(L3, Act(announce=("one",), flush=(peer,)), state=before)
        assert of_one(L3, Check(peer, "one"), state).outcome is UNREACHABLE


@for_each("peer", PEERS)
@for_each("fast", [True, False])
@for_each("watch", [1, 2, 6, 7, 8, 60])
def test_a_watched_entry_expires_when_it_is_watched_longer_than_it_lives(
    peer: str, watch: int, fast: bool
) -> None:
    state = doing(L3, Act(fast_ageing=(peer,) if fast else ()), state=known(peer))
    lives = (FAST_TIMERS if fast else KERNEL_TIMERS).lifetime_s
    for check in both_ways(peer, "one", watch):
        prediction = of_one(L3, check, state)
        left = state.fails((peer, ONE.addresses[0].ip), state.now + watch)[0] - state.now
        assert prediction.outcome is (EXPIRES if watch > left else REACHABLE)
        assert (f"{lives:g} s" in prediction.reason) == (prediction.outcome is EXPIRES)


@pytest.mark.parametrize("peer", PEERS)
def test_a_watched_entry_that_lives_hardly_longer_may_expire(peer: str) -> None:
    state = doing(L3, Act(fast_ageing=(peer,)), state=known(peer))
    entry, now = (peer, ONE.addresses[0].ip), state.now + 0.15
    used = {entry: state.known[entry].used(state.now, now, FAST_TIMERS)}
    prediction = of_one(L3, Check(peer, "one", watch=1), replace(state, now=now, known=used))
    assert (prediction.outcome, prediction.also) == (REACHABLE, (EXPIRES,))


@pytest.mark.parametrize("peer", PEERS)
def test_a_watched_entry_of_ipv6_does_not_expire(peer: str) -> None:
    warm = doing(L2, Act(checks=(Check(peer, "one", family="ipv6"),)))
    fast = doing(L3, Act(fast_ageing=(peer,)), state=warm)
    for check in both_ways(peer, "one", 60):
        watched = replace(check, family="ipv6")
        assert of_one(L3, watched, fast).outcome is REACHABLE
        later = doing(L3, Act(wait=60), state=doing(L3, Act(checks=(watched,)), state=fast))
        found = of_one(L3, watched, later)
        assert (found.outcome, found.also) == (REACHABLE, ())


@pytest.mark.parametrize("peer", PEERS)
def test_fast_ageing_shortens_the_life_of_the_entries_of_its_peer_only(peer: str) -> None:
    other = next(role for role in PEERS if role != peer)
    state = doing(L3, Act(fast_ageing=(peer,)))
    assert state.timers(peer).lifetime_s < NOTHING.timers(peer).lifetime_s
    assert state.timers(other) == NOTHING.timers(other) == KERNEL_TIMERS


def test_the_kernels_own_timers_give_the_measured_life() -> None:
    """About 9.4 s under a continuous ping, of which the first second is not spent in DELAY and PROBE."""
    assert KERNEL_TIMERS.lifetime_s == 5 + 3 * 1
    assert FAST_TIMERS.lifetime_s == pytest.approx(1.3)


@pytest.mark.parametrize("peer", PEERS)
def test_an_entry_that_expired_is_gone_until_the_next_announcement(peer: str) -> None:
    dead = doing(L3, Act(checks=(Check(peer, "one", 60),)), state=known(peer))
    assert of_one(L3, Check(peer, "one"), dead).outcome is UNREACHABLE
    revived = doing(L3, Act(announce=("one",)), state=dead)
    assert of_one(L3, Check(peer, "one"), revived).outcome is REACHABLE


@given(labs())
def test_the_next_phase_knows_what_peers_and_the_switch_know_and_nothing_of_the_endpoints(lab: Lab) -> None:
    state = NOTHING
    for phase in lab.phases:
        for act in phase.acts:
            state = after(world_of(lab, phase, state), act).state
        later = next_phase(lab, state)
        kept = (later.now, later.known, later.failed, later.fast, later.hairpin, later.allowed)
        assert kept == (state.now, state.known, state.failed, state.fast, state.hairpin, state.allowed)
        assert (dict(later.flipped), later.links, later.addresses) == ({}, (), ())
        parents = {parent.name for parent in lab.parents}
        assert later.mtus == {link: mtu for link, mtu in state.mtus.items() if link in parents}
        state = later


# --- the walkthrough ----------------------------------------------------------------------------------


def walkthrough() -> Lab:
    return load(gallery.text(gallery.WALKTHROUGH), "walkthrough.yaml")


def test_the_walkthrough_is_predicted_as_it_was_told() -> None:
    found = [
        (phase.name, str(check), prediction.outcome, check.watch is not None)
        for phase, check, prediction, _ in predictions(walkthrough())
        if (phase.name, check.source) != ("l3", HOST)
    ]
    assert found == [
        ("l2", "test1 -> test2", REACHABLE, False),
        ("l2", "test2 -> test1", REACHABLE, False),
        ("l2", "test2 -> gateway", REACHABLE, False),
        ("l2", "test1 -> gateway", REACHABLE, False),
        ("l2", "host -> test1", UNREACHABLE, False),
        # The gateway knows test1 from the l2 phase; the neighbour never learned of it.
        ("l3", "test1 -> gateway", REACHABLE, False),
        ("l3", "neighbour -> test1", UNREACHABLE, False),
        # Announced, and the gateway's table emptied.
        ("l3", "neighbour -> test1", REACHABLE, False),
        ("l3", "neighbour -> test1", EXPIRES, True),
        ("l3", "test1 -> gateway", UNREACHABLE, False),
        # Announced again.
        ("l3", "neighbour -> test1", REACHABLE, False),
    ]


def test_in_the_walkthrough_the_host_reaches_its_endpoint_in_neither_mode() -> None:
    found = {(p.setting.mode, r.outcome) for p, c, r, _ in predictions(walkthrough()) if c.source == HOST}
    assert found == {("l2", UNREACHABLE), ("l3", UNREACHABLE)}


def test_the_walkthrough_says_why() -> None:
    reasons = {(p.name, str(c), r.outcome): r.reason for p, c, r, _ in predictions(walkthrough())}
    warm = reasons["l3", f"test1 -> {GATEWAY}", REACHABLE]
    assert "phase l2" in warm
    assert "still has" in warm
    assert "announcement" in reasons["l3", f"{NEIGHBOUR} -> test1", REACHABLE]
    assert "expires about 1.3 s" in reasons["l3", f"{NEIGHBOUR} -> test1", EXPIRES]
    assert "NOARP" in reasons["l3", f"{NEIGHBOUR} -> test1", UNREACHABLE]
    assert "the kernel passes nothing between" in reasons["l3", f"{HOST} -> test1", UNREACHABLE]


# --- time passes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("peer", PEERS)
def test_checks_one_after_another_wear_an_entry_out(peer: str) -> None:
    check = Check(peer, "one")
    state = doing(L3, Act(fast_ageing=(peer,)), Act(announce=("one",)), state=failed(peer))
    outcomes = []
    for _ in range(4):
        outcomes.append(of_one(L3, check, state).outcome)
        state = doing(L3, Act(checks=(check,)), state=state)
    # 1.3 s after the first use; a check takes 1.1 s.
    assert outcomes == [REACHABLE, REACHABLE, UNREACHABLE, UNREACHABLE]


@pytest.mark.parametrize("peer", PEERS)
def test_a_wait_wears_out_what_is_in_use_and_nothing_else(peer: str) -> None:
    used, idle = (
        doing(L3, *acts, state=failed(peer))
        for acts in (
            (Act(announce=("one",)), Act(checks=(Check(peer, "one"),))),
            (Act(announce=("one",)),),
        )
    )
    for state, outcome in ((used, UNREACHABLE), (idle, REACHABLE)):
        assert of_one(L3, Check(peer, "one"), doing(L3, Act(wait=30), state=state)).outcome is outcome


@pytest.mark.parametrize("peer", PEERS)
def test_an_entry_that_nobody_uses_does_not_age(peer: str) -> None:
    state = doing(L3, Act(announce=("one",)), state=failed(peer))
    state = doing(L3, *20 * [Act(checks=(Check(HOST, "one"),))], state=state)
    assert of_one(L3, Check(peer, "one"), state).outcome is REACHABLE


@pytest.mark.parametrize("peer", PEERS)
def test_an_announcement_does_not_make_an_entry_in_use_younger(peer: str) -> None:
    used = doing(L3, Act(announce=("one",)), Act(checks=(Check(peer, "one"),)), state=failed(peer))
    again = doing(L3, Act(announce=("one",)), state=used)
    entry = (peer, ONE.addresses[0].ip)
    assert again.now > used.now
    assert again.fails(entry) == used.fails(entry)


@pytest.mark.parametrize("peer", PEERS)
def test_an_entry_in_use_is_confirmed_in_l2(peer: str) -> None:
    state = doing(L2, *10 * [Act(checks=(Check(HOST, "one"),))], state=known(peer))
    assert of_one(L3, Check(peer, "one"), state).outcome is REACHABLE


# --- announced, and measured ------------------------------------------------------------------------------


@pytest.mark.parametrize("peer", PEERS)
def test_while_the_host_goes_on_announcing_no_entry_ends_a_watched_path(peer: str) -> None:
    """Measured: of 150 pings in 30 s none was lost, though the entry died three times."""
    phase = replace(L3, setting=Setting("l3", strategy="announce"))
    before = doing(phase, Act(checks=(Check(peer, "one"),)))
    assert of_one(phase, Check(peer, "one", watch=30), before).outcome is REACHABLE
    later = doing(phase, Act(checks=(Check(peer, "one", watch=30),)), state=before)
    assert of_one(phase, Check(peer, "one"), later).outcome is REACHABLE


def test_the_model_agrees_with_what_kernels_answered_where_a_prediction_was_wrong_once() -> None:
    lines = []
    for lab in labs_that_differed():
        phases = {p.phase.name: [probe for act in p.acts for probe in act.probes] for p in predict_lab(lab)}
        lines += certain(lab, phases)
    assert lines == OBSERVED.read_text(encoding="utf-8").splitlines()


@pytest.mark.long
def test_the_model_agrees_with_every_cell_that_plain_shell_measured() -> None:
    """Of the matrix, and of what is not in it: a reflecting switch, own subnets, macvlan, veth."""
    tsv = Path(__file__).parents[1] / "kernel" / "matrix.tsv"
    rows = [line.split("\t") for line in tsv.read_text().splitlines()]
    compared, wrong = 0, []
    # With the addresses that were measured, the endpoints in the parent's subnet or in their own.
    labs = {own: matrix.plans(1, strategy="routed" if own else "none")[0].lab for own in (False, True)}
    for mode, flag, family, strategy, source, destination, observed in rows:
        unlike = strategy == "routed-forwarding" or (strategy == "host-shim" and mode == "l2")
        if unlike or "shim" in (source, destination):
            continue
        own = strategy in ("routed", "own-subnet")
        setting = Setting(
            mode if mode in MODES else "l2",
            flag if flag in FLAGS else "bridge",
            "ipvlan" if mode in MODES else mode,  # type: ignore[arg-type]
            strategy if strategy in STRATEGIES else "none",
            strategy.startswith("host-shim"),
        )
        lab = labs[own]
        phase = Phase("now", setting, tuple(e.name for e in lab.endpoints), ())
        check = Check(source, destination, family=family)  # type: ignore[arg-type]
        predicted = predict(world_of(lab, phase, State(hairpin=strategy == "hairpin")), check)
        compared += 1
        if predicted.outcome != observed:
            wrong.append((mode, flag, family, strategy, source, destination, predicted.reason))
    assert wrong == []
    assert compared > 2500


@for_each("name", gallery.names())
def test_each_check_of_the_gallery_has_one_outcome(name: str) -> None:
    phases = predict_lab(load(gallery.text(name), name))
    every = [probe for phase in phases for act in phase.acts for probe in act.probes]
    assert [str(probe.check) for probe in every if probe.also] == []


# --- hosts, routes and rules -----------------------------------------------------------------------------

NET, TABLE = ip_network("203.0.113.0/24"), 100
ROUTER = Host(
    "router", (ip_interface("192.0.2.3/24"), ip_interface("203.0.113.1/24")), routes=(), forwards=True
)
CLIENT = Host("client", (ip_interface("203.0.113.2/24"),), (Route(via=ip_address("203.0.113.1")),))
BY_ROUTER, BY_GATEWAY = (Route(via=ip_address(f"192.0.2.{n}")) for n in (3, 254))


def with_hosts(
    *routes: Route, rules: tuple[Rule, ...] = (), router: Host = ROUTER, client: Host = CLIENT
) -> Lab:
    """Return the lab with a router, a client behind it, and these routes and rules of an endpoint."""
    one = replace(ONE, routes=routes, rules=rules)
    return replace(LAB, parents=(replace(PARENT, hosts=(router, client)),), endpoints=(one, TWO))


def outcomes(lab: Lab) -> tuple[Outcome, Outcome]:
    """Return what becomes of a ping from an endpoint to the client, and of one back, in IPv4."""
    there, back = (asked(*pair, Setting(), lab=lab) for pair in (("one", "client"), ("client", "one")))
    return there.outcome, back.outcome


def test_a_router_leads_to_another_subnet_and_a_host_that_forwards_nothing_does_not() -> None:
    assert outcomes(with_hosts(BY_ROUTER)) == (REACHABLE, REACHABLE)
    assert outcomes(with_hosts(BY_GATEWAY)) == (UNREACHABLE, UNREACHABLE)
    assert outcomes(with_hosts(BY_ROUTER, router=replace(ROUTER, forwards=False))) == (
        UNREACHABLE,
        UNREACHABLE,
    )
    assert asked("one", "router", Setting(), lab=with_hosts()).outcome is REACHABLE


def test_a_rule_for_a_destination_is_for_both_and_one_for_a_source_only_for_replies() -> None:
    routes = (BY_GATEWAY, replace(BY_ROUTER, table=TABLE))
    own = ip_network(ONE.addresses[0].ip)
    assert outcomes(with_hosts(*routes)) == (UNREACHABLE, UNREACHABLE)
    assert outcomes(with_hosts(*routes, rules=(Rule(TABLE, to=NET),))) == (REACHABLE, REACHABLE)
    assert outcomes(with_hosts(*routes, rules=(Rule(TABLE, own),))) == (UNREACHABLE, REACHABLE)
    assert outcomes(with_hosts(*routes, rules=(Rule(TABLE, own, NET),))) == (UNREACHABLE, REACHABLE)
    everything = ip_network("0.0.0.0/0")
    assert outcomes(with_hosts(*routes, rules=(Rule(TABLE, everything),))) == (REACHABLE, REACHABLE)
    assert outcomes(with_hosts(*routes, rules=(Rule(TABLE, to=own),))) == (UNREACHABLE, UNREACHABLE)


def test_a_rule_for_a_source_is_for_tcp_in_ipv4_and_not_in_ipv6() -> None:
    routes = tuple(
        replace(BY_ROUTER, via=ip_address(via), table=TABLE) for via in ("192.0.2.3", "2001:db8::3")
    )
    rules = tuple(Rule(TABLE, ip_network(own.ip)) for own in ONE.addresses)
    six = (ip_interface("2001:db8::3/64"), ip_interface("2001:db8:b::1/64"))
    client = replace(
        CLIENT,
        addresses=(*CLIENT.addresses, ip_interface("2001:db8:b::2/64")),
        routes=(*(CLIENT.routes or ()), Route(via=ip_address("2001:db8:b::1"))),
    )
    defaults = tuple(Route(via=gateway) for gateway in PARENT.gateway)
    router = replace(ROUTER, addresses=(*ROUTER.addresses, *six))
    lab = with_hosts(*defaults, *routes, rules=rules, router=router, client=client)
    for family, tcp, outcome in (
        ("ipv4", 80, REACHABLE),
        ("ipv4", None, UNREACHABLE),
        ("ipv6", 80, UNREACHABLE),
        ("ipv6", None, UNREACHABLE),
    ):
        check = Check("one", "client", family=family, tcp=tcp)  # type: ignore[arg-type]
        assert predict(world_of(lab, L2, NOTHING), check).outcome is outcome


def test_a_table_without_a_route_leads_to_the_next_one() -> None:
    rules = (Rule(7, to=NET), Rule(TABLE, to=NET))
    elsewhere = Route(ip_network("10.0.0.0/8"), type="blackhole", table=7)
    assert outcomes(with_hosts(BY_ROUTER, elsewhere, rules=rules)) == (REACHABLE, REACHABLE)
    first = replace(BY_ROUTER, table=7), replace(BY_GATEWAY, table=TABLE)
    assert outcomes(with_hosts(*first, rules=rules)) == (REACHABLE, REACHABLE)
    assert outcomes(with_hosts(*first, rules=rules[::-1])) == (UNREACHABLE, UNREACHABLE)


@pytest.mark.parametrize("kind", ROUTE_TYPES)
def test_a_route_that_leads_nowhere_ends_the_lookup_where_it_is_the_longest(kind: RouteType) -> None:
    dead = Route(NET, type=kind)
    assert outcomes(with_hosts(BY_ROUTER, dead)) == (UNREACHABLE, UNREACHABLE)
    longer = Route(ip_network("203.0.113.0/28"), BY_ROUTER.via)
    assert outcomes(with_hosts(longer, dead)) == (REACHABLE, REACHABLE)
    in_table = (BY_ROUTER, Route(type=kind, table=TABLE))
    assert outcomes(with_hosts(*in_table, rules=(Rule(TABLE, to=NET),))) == (UNREACHABLE, UNREACHABLE)
    router = replace(ROUTER, routes=(Route(ip_network("192.0.2.11/32"), type=kind),))
    assert outcomes(with_hosts(BY_ROUTER, router=router)) == (UNREACHABLE, UNREACHABLE)
    assert f"{kind} route to {NET}" in asked("one", "client", Setting(), lab=with_hosts(dead)).reason


def test_ping_looks_for_a_route_from_its_own_address_too_in_ipv6_only_without_another() -> None:
    own, own6 = (ip_network(address.ip) for address in ONE.addresses)
    dead = (BY_ROUTER, Route(type="blackhole", table=TABLE))
    assert outcomes(with_hosts(*dead, rules=(Rule(TABLE, own),))) == (UNREACHABLE, UNREACHABLE)
    router = replace(ROUTER, addresses=(*ROUTER.addresses, ip_interface("2001:db8::3/64")))
    by_gateway = Route(via=PARENT.gateway[1], table=TABLE)
    for routes, outcome in (((), UNREACHABLE), ((by_gateway,), REACHABLE)):
        lab = with_hosts(*routes, rules=(Rule(TABLE, own6),), router=router)
        assert asked("one", FAR, Setting(), lab=lab, family="ipv6").outcome is outcome


@pytest.mark.parametrize("mode", L3_MODES)
def test_strategies_act_on_every_peer(mode: Mode) -> None:
    static = Setting(mode, strategy="static-neigh")
    lab = with_hosts()
    for pair in (("router", "one"), ("one", "router"), ("client", "one")):
        assert asked(*pair, Setting(mode), lab=lab, family="ipv4").outcome is UNREACHABLE
    for pair in (("router", "one"), ("one", "router")):
        assert asked(*pair, static, lab=lab, family="ipv4").outcome is REACHABLE
    apart = replace(APART, parents=lab.parents)
    assert asked("router", "one", Setting(mode), lab=apart).outcome is UNREACHABLE
    assert asked("router", "one", Setting(mode, strategy="routed"), lab=apart).outcome is REACHABLE


def test_an_entry_of_a_host_expires_as_any_other() -> None:
    lab = with_hosts()
    warm = doing(L2, Act(checks=(Check("router", "one"),)), lab=lab)
    late = next_phase(lab, warm)
    assert asked("router", "one", Setting("l3"), late, lab=lab, family="ipv4").outcome is REACHABLE
    cold = doing(L3, Act(flush=("router",)), state=late, lab=lab)
    assert asked("router", "one", Setting("l3"), cold, lab=lab, family="ipv4").outcome is UNREACHABLE


LINK_LOCAL = ip_address("fe80::1")


def by_link_local() -> Lab:
    """Return the lab with two parents, both of which have a gateway fe80::1."""
    second = Parent("eth1", (ip_interface("2001:db8:1::1/64"),), (ip_address("2001:db8:1::254"), LINK_LOCAL))
    parents = (replace(PARENT, gateway=(*PARENT.gateway, LINK_LOCAL)), second)
    other = Endpoint("other", (ip_interface("2001:db8:1::11/64"),), "other", "eth1")
    return replace(LAB, parents=parents, endpoints=(*LAB.endpoints, other))


@pytest.mark.parametrize(("source", "destination"), [("one", FAR), (FAR, "one"), ("one", "other")])
def test_in_l2_a_link_local_gateway_leads_as_any_other(source: str, destination: str) -> None:
    phase = replace(L2, endpoints=("one", "two", "other"))
    check = Check(source, destination, family="ipv6")
    found = predict(world_of(by_link_local(), phase, NOTHING), check)
    assert found.outcome is REACHABLE
    assert any("via fe80::1 dev" in hop.what for hop in found.hops)


def test_no_packet_has_a_link_local_source() -> None:
    """fe80::1 has more bits in common with fd00::1 than a global address has."""
    gateway = world_of(by_link_local(), L2, NOTHING).nodes[GATEWAY]
    way = gateway.way_to(ip_address("2001:db8:1::11"))
    assert gateway.source_for(way, ip_address("fd00::1")) == ip_address("2001:db8:1::254")


def test_in_l3_the_route_of_the_host_decides_and_not_the_endpoints() -> None:
    lab = by_link_local()
    routes = (Route(via=ip_address("fe80::99")),)
    lab = replace(lab, endpoints=(replace(ONE, routes=routes), *lab.endpoints[1:]))
    proxied = Setting("l3s", strategy="l3s-proxy")
    assert asked("one", FAR, proxied, lab=lab, family="ipv6").outcome is REACHABLE
    assert asked("one", FAR, Setting("l2"), lab=lab, family="ipv6").outcome is UNREACHABLE
