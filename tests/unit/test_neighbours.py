"""How a neighbour entry expires, by the kernel's rules for REACHABLE, STALE, DELAY and PROBE."""

import math
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from ipvkit.predict.neighbours import FAST_TIMERS, KERNEL_TIMERS, NEVER, Known, Timers

TIMERS = st.sampled_from((KERNEL_TIMERS, FAST_TIMERS))
TIMES = st.floats(0, 1000)
LASTING = st.floats(0, 60)


@given(TIMERS)
def test_an_entry_that_is_not_used_does_not_fail(timers: Timers) -> None:
    for known in (Known("heard"), Known("asked", confirmed=(0.0, 0.0))):
        assert known.fails(timers) == NEVER
        assert known.answered(1e6, timers) == known


@given(TIMERS, TIMES, LASTING, LASTING)
def test_an_entry_that_was_heard_fails_after_its_first_use(
    timers: Timers, first: float, lasting: float, later: float
) -> None:
    used = Known("heard").used(first, first + lasting, timers)
    assert used.fails(timers) == (first + timers.lifetime_s,) * 2
    again = used.used(first + later, first + later + lasting, timers)
    assert (again.confirmed, again.doubted) == (used.confirmed, used.doubted), "it is not the first one"
    assert again.last == max(first, first + later) + lasting


@given(TIMERS, TIMES, LASTING, LASTING)
def test_an_entry_that_was_asked_for_is_not_doubted_at_first(
    timers: Timers, asked: float, since: float, lasting: float
) -> None:
    first = asked + since
    used = Known("asked", confirmed=(asked, asked)).used(first, first + lasting, timers)
    soonest, latest = asked + timers.base_reachable_s / 2, asked + 1.5 * timers.base_reachable_s
    if first + lasting < soonest:
        assert used.doubted is None
    elif first >= latest:
        assert used.doubted == (first, first)
    else:
        assert used.doubted is not None
        assert used.doubted[0] == max(first, soonest)
        assert used.doubted[1] in (max(first, latest), math.inf)


@given(TIMERS, TIMES, LASTING)
def test_a_doubt_ends_with_an_answer(timers: Timers, first: float, later: float) -> None:
    used = Known("heard").used(first, first, timers)
    answered = used.answered(first + later, timers)
    probed = first + timers.delay_first_probe_s
    if first + later < probed:
        assert answered == used
    else:
        assert (answered.confirmed, answered.doubted) == ((probed, probed), None)


@given(TIMERS, TIMES, LASTING)
def test_an_entry_may_fail_while_its_host_is_away_for_all_its_probes(
    timers: Timers, first: float, lasting: float
) -> None:
    """The first probe follows the doubt, and the last one is not followed by an answer."""
    used = Known("heard").used(first, first + lasting, timers)
    probed, gone = first + timers.delay_first_probe_s, first + timers.lifetime_s
    away = used.without_answers(probed - 1, gone, timers)
    assert away.maybe
    assert away.fails(timers) == (-math.inf, gone)
    assert away.without_answers(gone + 100, gone + 200, timers).maybe, "it is as before"
    assert not used.without_answers(probed - 9, probed - 0.001, timers).maybe
    assert not used.without_answers(probed + lasting + 1, gone + lasting + 9, timers).maybe
    assert not Known("heard").without_answers(0, 1e6, timers).maybe, "no host uses it"


def test_a_late_use_may_be_the_last_one() -> None:
    assert Known("heard").used(1.0, 2.0, KERNEL_TIMERS, late=3.0).last == 5.0


def test_a_connection_may_have_confirmed_an_entry_or_not() -> None:
    """It is doubted at its next use where it was only heard of, else 15 to 45 s after it was confirmed."""
    heard = Known("heard").vouched(10.0)
    assert heard.used(20.0, 20.5, KERNEL_TIMERS).doubted == (20.0, math.inf)
    assert heard.used(60.0, 60.5, KERNEL_TIMERS).doubted == (60.0, 60.0)
    asked = Known("asked", confirmed=(5.0, 5.0)).vouched(10.0)
    assert asked.used(11.0, 12.0, KERNEL_TIMERS).doubted is None
    assert asked.used(30.0, 30.5, KERNEL_TIMERS).doubted == (30.0, math.inf)


def test_an_answer_that_has_come_for_certain_is_the_last_confirmation() -> None:
    """The kernel asks 5 s after the doubt: where it may not have yet, the former one may be the last."""
    asked = Known("asked", confirmed=(0.0, 0.0))
    certain = replace(asked, doubted=(20.0, 20.0)).answered(30.0, KERNEL_TIMERS)
    assert (certain.confirmed, certain.doubted) == ((25.0, 25.0), None)
    maybe = replace(asked, doubted=(20.0, 40.0)).answered(30.0, KERNEL_TIMERS)
    assert (maybe.confirmed, maybe.doubted) == ((0.0, 30.0), None)
