"""The rules of ipvlan as the documents and the measurements have them."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipvkit import labs as gallery
from ipvkit.lab import FLAGS, GATEWAY, HOST, NEIGHBOUR, PEERS, Act, Check, Lab, Outcome, Phase
from ipvkit.lab_file import load
from ipvkit.physics import FAST_TIMERS, KERNEL_TIMERS, Neighbours, Prediction, after, predict
from ipvkit.values import Flag
from strategies import l2, labs

REACHABLE, UNREACHABLE, EXPIRES = Outcome.REACHABLE, Outcome.UNREACHABLE, Outcome.EXPIRES
NOTHING = Neighbours()
L2 = Phase("early", "l2", ("one", "two"), ())
L3 = Phase("late", "l3", ("one", "two"), ())

peers = st.sampled_from(PEERS)


def both_ways(a: str, b: str, watch: int | None = None) -> tuple[Check, Check]:
    return Check(a, b, watch), Check(b, a, watch)


def predictions(lab: Lab) -> Iterator[tuple[Phase, Check, Prediction]]:
    """Yield what is predicted for each check of a lab, one after another."""
    neighbours = NOTHING
    for phase in lab.phases:
        for act in phase.acts:
            for check in act.checks:
                yield phase, check, predict(phase, check, neighbours)
            neighbours = after(phase, act, neighbours)


def known(peer: str, endpoint: str = "one") -> Neighbours:
    """Return the tables after `peer` has heard of `endpoint` in an l2 phase."""
    return after(L2, Act(checks=(Check(peer, endpoint),)), NOTHING)


def failed(peer: str, endpoint: str = "one") -> Neighbours:
    """Return the tables after `peer` has asked in vain for `endpoint` in an l3 phase."""
    return after(L3, Act(checks=(Check(peer, endpoint),)), NOTHING)


# --- what holds in every lab --------------------------------------------------------------------------


@given(labs())
def test_every_prediction_has_a_reason(lab: Lab) -> None:
    for _, _, prediction in predictions(lab):
        assert prediction.reason.strip()
        assert prediction.reason.isprintable()


@given(labs())
def test_in_l2_endpoints_and_peers_reach_each_other(lab: Lab) -> None:
    for _, check, prediction in predictions(l2(lab)):
        if {check.source, check.destination} & set(PEERS):
            assert prediction.outcome is REACHABLE


@given(labs())
def test_the_flag_alone_decides_over_siblings(lab: Lab) -> None:
    for phase, check, prediction in predictions(lab):
        if not {check.source, check.destination} & {HOST, *PEERS}:
            assert prediction.outcome is (REACHABLE if phase.flag == "bridge" else UNREACHABLE)
            assert f"flag {phase.flag}" in prediction.reason


@given(labs(), st.sampled_from(FLAGS))
def test_the_flag_decides_over_siblings_alone(lab: Lab, flag: Flag) -> None:
    flagged = replace(lab, phases=tuple(replace(phase, flag=flag) for phase in lab.phases))
    for (_, check, one), (_, _, other) in zip(predictions(lab), predictions(flagged), strict=True):
        if {check.source, check.destination} & {HOST, *PEERS}:
            assert one.outcome is other.outcome or check.watch is not None


@given(labs())
def test_l3s_comes_out_as_l3(lab: Lab) -> None:
    one, other = (
        replace(lab, phases=tuple(replace(p, mode=mode if p.mode != "l2" else "l2") for p in lab.phases))
        for mode in ("l3", "l3s")
    )
    found = zip(predictions(one), predictions(other), strict=True)
    assert all(of_l3[2].outcome is of_l3s[2].outcome for of_l3, of_l3s in found)


@given(labs())
def test_the_host_and_its_endpoints_never_reach_each_other(lab: Lab) -> None:
    for _, check, prediction in predictions(lab):
        if HOST in (check.source, check.destination):
            assert prediction.outcome is UNREACHABLE


@given(labs())
def test_a_check_comes_out_the_same_both_ways(lab: Lab) -> None:
    neighbours = NOTHING
    for phase in lab.phases:
        for act in phase.acts:
            for check in act.checks:
                back = replace(check, source=check.destination, destination=check.source)
                there, here = predict(phase, check, neighbours), predict(phase, back, neighbours)
                assert there.outcome == here.outcome
            neighbours = after(phase, act, neighbours)


@given(labs())
def test_a_path_expires_only_where_it_is_watched(lab: Lab) -> None:
    for phase, check, prediction in predictions(lab):
        if prediction.outcome is EXPIRES:
            assert phase.mode != "l2"
            assert check.watch is not None
            assert check.watch > FAST_TIMERS.lifetime_s


@given(labs())
def test_an_entry_is_known_or_failed_and_never_both(lab: Lab) -> None:
    neighbours = NOTHING
    for phase in lab.phases:
        for act in phase.acts:
            neighbours = after(phase, act, neighbours)
            assert not neighbours.failed & set(neighbours.known)


# --- l3 and what the peers remember -------------------------------------------------------------------


@given(peers)
def test_in_l3_a_peer_without_an_entry_is_unreachable_both_ways(peer: str) -> None:
    for check in both_ways(peer, "one"):
        prediction = predict(L3, check, NOTHING)
        assert prediction.outcome is UNREACHABLE
        assert "NOARP" in prediction.reason


@given(peers)
def test_an_entry_from_an_l2_phase_makes_l3_reachable(peer: str) -> None:
    for check in both_ways(peer, "one"):
        for learned in (check, replace(check, source=check.destination, destination=check.source)):
            prediction = predict(L3, check, after(L2, Act(checks=(learned,)), NOTHING))
            assert prediction.outcome is REACHABLE
            assert "phase early" in prediction.reason
            assert "warm" in prediction.reason


@given(peers)
def test_an_entry_is_of_one_peer_and_one_endpoint(peer: str) -> None:
    other = next(role for role in PEERS if role != peer)
    assert predict(L3, Check(peer, "two"), known(peer, "one")).outcome is UNREACHABLE
    assert predict(L3, Check(other, "one"), known(peer, "one")).outcome is UNREACHABLE


@given(peers)
def test_an_announcement_fills_a_failed_entry(peer: str) -> None:
    neighbours = after(L3, Act(announce=("one",)), failed(peer))
    for check in both_ways(peer, "one"):
        prediction = predict(L3, check, neighbours)
        assert prediction.outcome is REACHABLE
        assert "announcement" in prediction.reason


@given(peers)
def test_an_announcement_makes_no_entry(peer: str) -> None:
    neighbours = after(L3, Act(announce=("one", "two")), NOTHING)
    assert neighbours == NOTHING
    for check in both_ways(peer, "one"):
        assert predict(L3, check, neighbours).outcome is UNREACHABLE


@given(peers)
def test_a_flush_takes_every_entry_of_its_peer_and_of_no_other(peer: str) -> None:
    other = next(role for role in PEERS if role != peer)
    pings = tuple(Check(role, endpoint) for role in PEERS for endpoint in ("one", "two"))
    neighbours = after(L3, Act(flush=(peer,)), after(L2, Act(checks=pings), NOTHING))
    for endpoint in ("one", "two"):
        assert predict(L3, Check(peer, endpoint), neighbours).outcome is UNREACHABLE
        assert predict(L3, Check(other, endpoint), neighbours).outcome is REACHABLE


@given(peers)
def test_a_flush_takes_failed_entries_too(peer: str) -> None:
    flushed = after(L3, Act(flush=(peer,)), failed(peer))
    announced = after(L3, Act(announce=("one",)), flushed)
    assert predict(L3, Check(peer, "one"), announced).outcome is UNREACHABLE


@given(peers)
def test_a_flush_wins_over_an_announcement_beside_it(peer: str) -> None:
    for before in (known(peer), failed(peer)):
        neighbours = after(L3, Act(announce=("one",), flush=(peer,)), before)
        assert predict(L3, Check(peer, "one"), neighbours).outcome is UNREACHABLE


@given(peers, st.integers(1, 60), st.booleans())
def test_a_watched_entry_expires_when_it_is_watched_longer_than_it_lives(
    peer: str, watch: int, fast: bool
) -> None:
    neighbours = after(L3, Act(fast_ageing=(peer,) if fast else ()), known(peer))
    lives = (FAST_TIMERS if fast else KERNEL_TIMERS).lifetime_s
    left = lives - neighbours.age_s[peer, "one"]
    for check in both_ways(peer, "one", watch):
        prediction = predict(L3, check, neighbours)
        assert prediction.outcome is (EXPIRES if watch > left else REACHABLE)
        assert (f"{lives:g} s" in prediction.reason) == (prediction.outcome is EXPIRES)


@given(peers)
def test_fast_ageing_shortens_the_life_of_the_entries_of_its_peer_only(peer: str) -> None:
    other = next(role for role in PEERS if role != peer)
    neighbours = after(L3, Act(fast_ageing=(peer,)), NOTHING)
    assert neighbours.timers(peer).lifetime_s < NOTHING.timers(peer).lifetime_s
    assert neighbours.timers(other) == NOTHING.timers(other) == KERNEL_TIMERS


def test_the_kernels_own_timers_give_the_measured_life() -> None:
    """About 9.4 s under a continuous ping, of which the first second is not spent in DELAY and PROBE."""
    assert KERNEL_TIMERS.lifetime_s == 5 + 3 * 1
    assert FAST_TIMERS.lifetime_s == pytest.approx(1.3)


@given(peers)
def test_an_entry_that_expired_is_gone_until_the_next_announcement(peer: str) -> None:
    dead = after(L3, Act(checks=(Check(peer, "one", 60),)), known(peer))
    assert predict(L3, Check(peer, "one"), dead).outcome is UNREACHABLE
    revived = after(L3, Act(announce=("one",)), dead)
    assert predict(L3, Check(peer, "one"), revived).outcome is REACHABLE


# --- the walkthrough ----------------------------------------------------------------------------------


def test_the_walkthrough_is_predicted_as_it_was_told() -> None:
    lab = load(gallery.text(gallery.WALKTHROUGH), "walkthrough.yaml")
    found = [
        (phase.name, str(check), prediction.outcome, check.watch is not None)
        for phase, check, prediction in predictions(lab)
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
    lab = load(gallery.text(gallery.WALKTHROUGH), "walkthrough.yaml")
    found = {(p.mode, r.outcome) for p, c, r in predictions(lab) if c.source == HOST}
    assert found == {("l2", UNREACHABLE), ("l3", UNREACHABLE)}


def test_the_walkthrough_says_why() -> None:
    lab = load(gallery.text(gallery.WALKTHROUGH), "walkthrough.yaml")
    reasons = {(p.name, str(c), r.outcome): r.reason for p, c, r in predictions(lab)}
    warm = reasons["l3", f"test1 -> {GATEWAY}", REACHABLE]
    assert "phase l2" in warm
    assert "warm" in warm
    assert "announcement" in reasons["l3", f"{NEIGHBOUR} -> test1", REACHABLE]
    assert "dies about 1.3 s" in reasons["l3", f"{NEIGHBOUR} -> test1", EXPIRES]
    assert "NOARP" in reasons["l3", f"{NEIGHBOUR} -> test1", UNREACHABLE]
    assert "do not talk" in reasons["l3", f"{HOST} -> test1", UNREACHABLE]


# --- time passes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("peer", PEERS)
def test_checks_one_after_another_wear_an_entry_out(peer: str) -> None:
    check = Check(peer, "one")
    neighbours = after(L3, Act(announce=("one",)), after(L3, Act(fast_ageing=(peer,)), failed(peer)))
    told = []
    for _ in range(4):
        told.append(predict(L3, check, neighbours).outcome)
        neighbours = after(L3, Act(checks=(check,)), neighbours)
    # 1.3 s after the first use; a check takes 1.1 s.
    assert told == [REACHABLE, REACHABLE, UNREACHABLE, UNREACHABLE]


@pytest.mark.parametrize("peer", PEERS)
def test_an_entry_that_nobody_uses_does_not_age(peer: str) -> None:
    neighbours = after(L3, Act(announce=("one",)), failed(peer))
    for _ in range(20):
        neighbours = after(L3, Act(checks=(Check("host", "one"),)), neighbours)
    assert predict(L3, Check(peer, "one"), neighbours).outcome is REACHABLE


@pytest.mark.parametrize("peer", PEERS)
def test_an_announcement_does_not_make_an_entry_in_use_younger(peer: str) -> None:
    used = after(L3, Act(checks=(Check(peer, "one"),)), after(L3, Act(announce=("one",)), failed(peer)))
    again = after(L3, Act(announce=("one",)), used)
    assert again.left_s((peer, "one")) < used.left_s((peer, "one"))


@pytest.mark.parametrize("peer", PEERS)
def test_an_entry_in_use_is_confirmed_in_l2(peer: str) -> None:
    neighbours = known(peer)
    for _ in range(10):
        neighbours = after(L2, Act(checks=(Check("host", "one"),)), neighbours)
    assert predict(L3, Check(peer, "one"), neighbours).outcome is REACHABLE
