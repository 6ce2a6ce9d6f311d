"""What is predicted of an announcement's life, and what is made of what the commands saw."""

import json
from collections.abc import Callable, Mapping

import pytest
import test_cli
from hypothesis import given
from hypothesis import strategies as st

from command_line import Called, assert_one_line
from ipvkit.core.command import Completed
from ipvkit.core.errors import CommandFailed, UnparsableOutput
from ipvkit.lab import gallery
from ipvkit.lab.format import load
from ipvkit.plan.make import on_simulated_lan
from ipvkit.predict.neighbours import FAST_TIMERS, KERNEL_TIMERS, Timers
from ipvkit.report.measure_arp import render_json, render_table
from ipvkit.run.engine import Run
from ipvkit.tools import sysctl
from ipvkit.verbs.measure_arp import (
    INTERVAL_S,
    SLACK_S,
    TIMERS,
    Measured,
    Measurement,
    measured,
    predict,
    timers_of,
)

call = test_cli.call

KERNELS = {
    "base_reachable_time_ms": 30000,
    "delay_first_probe_time": 5,
    "ucast_solicit": 3,
    "app_solicit": 0,
    "mcast_resolicit": 0,
    "retrans_time_ms": 1000,
    "gc_stale_time": 60,
}
"""As Linux 6.12 has them (net/ipv4/arp.c)."""


# --- the prediction -------------------------------------------------------------------------------------


def test_the_kernels_timers_are_read() -> None:
    assert timers_of(KERNELS) == KERNEL_TIMERS
    assert predict(KERNEL_TIMERS).lifetime_s == 8


@given(st.integers(0, 3600), st.tuples(*[st.integers(0, 10)] * 3), st.integers(1, 60_000))
def test_every_probe_counts_whoever_sends_it(delay: int, probes: tuple[int, int, int], retrans: int) -> None:
    names = ("ucast_solicit", "app_solicit", "mcast_resolicit")
    values = {**KERNELS, "delay_first_probe_time": delay, "retrans_time_ms": retrans}
    timers = timers_of({**values, **dict(zip(names, probes, strict=True))})
    assert timers == Timers(delay, sum(probes), retrans)
    bounds = predict(timers)
    assert bounds.lifetime_s == pytest.approx(delay + sum(probes) * retrans / 1000)
    assert bounds.lifetime_s - bounds.earliest_s == pytest.approx(INTERVAL_S + SLACK_S)
    assert bounds.lifetime_s < bounds.latest_s


@pytest.mark.parametrize("hz", [100, 250, 300, 1000])
@given(st.integers(1, 600_000))
def test_a_timer_is_never_later_than_is_allowed_for(hz: int, milliseconds: int) -> None:
    """The timer wheel of the kernel: eight levels of 64 slots, each eight times as coarse (timer.c)."""
    jiffies = -(-milliseconds * hz // 1000)
    level = 0
    while level < 8 and jiffies >= 63 << (3 * level):
        level += 1
    late = 1 << (3 * level)
    # On the finest level it is late by a jiffy, which the slack covers.
    assert level == 0 or late <= jiffies * 8 / 63


# --- what was seen --------------------------------------------------------------------------------------

STAMP = 1795507418.0


def pinged(replies: int, *, interval: float = 0.1, first: int = 1, lost: bool = True) -> str:
    """Return what ``ping -D`` printed; `lost` is whether it ended with an error."""
    lines = ["PING 192.168.104.211 (192.168.104.211) 56(84) bytes of data."]
    for number in range(replies):
        stamp = f"[{STAMP + number * interval:.6f}]"
        lines.append(f"{stamp} 64 bytes from 192.168.104.211: icmp_seq={first + number} ttl=64 time=0.1 ms")
    if lost:
        end = first + replies
        lines.append(f"[{STAMP + 20:.6f}] From 192.168.104.111 icmp_seq={end} Destination Host Unreachable")
    sent = first - 1 + replies + lost
    errors = " +1 errors," if lost else ""
    loss = f"{100 * (sent - replies) / sent:.6g}"
    lines += [
        "",
        "--- 192.168.104.211 ping statistics ---",
        f"{sent} packets transmitted, {replies} received,{errors} {loss}% packet loss, time 1000ms",
        "",
    ]
    return "\n".join(lines)


def entry(state: str) -> str:
    return json.dumps([{"dst": "192.168.104.211", "lladdr": "02:00:00:00:00:01", "state": [state]}])


def seen(
    measurement: Measurement,
    ping: str,
    *,
    values: Mapping[str, int] = KERNELS,
    announced: str = "STALE",
    idle: str = "STALE",
) -> Measured:
    """Return what is made of it when the commands printed this."""
    timers = "".join(f"net.ipv4.neigh.eth0.{name} = {value}\n" for name, value in values.items())
    showing = iter([entry(announced) if announced else "[]", entry(idle) if idle else "[]"])
    printed = {}
    for purpose, command in measurement.commands("iputils").items():
        line = str(command)
        if "neigh show" in line:
            printed[purpose] = next(showing)
        elif "ping -D" in line:
            printed[purpose] = ping
        else:
            printed[purpose] = timers if "sysctl net" in line else ""
    return measured(measurement, {purpose: Completed(0, text, "", 0.1) for purpose, text in printed.items()})


OUTCOMES: dict[str, tuple[Measured, bool, float | None]] = {
    "as predicted": (seen(Measurement(), pinged(81)), True, 8.0),
    "as predicted, after a wait": (seen(Measurement(idle_s=9), pinged(81)), True, 8.0),
    "as late as a timer may be": (seen(Measurement(), pinged(91)), True, 9.0),
    "as short as late pings show it": (seen(Measurement(), pinged(10, interval=0.8)), True, 7.2),
    "too short": (seen(Measurement(), pinged(70)), False, 6.9),
    "too long": (seen(Measurement(), pinged(100)), False, 9.9),
    "as predicted of other timers": (
        seen(
            Measurement(fast=True),
            pinged(14),
            values={**KERNELS, "delay_first_probe_time": 1, "retrans_time_ms": 100},
        ),
        True,
        1.3,
    ),
    "no end": (seen(Measurement(), pinged(81, lost=False)), False, None),
    "never": (seen(Measurement(), pinged(0)), False, None),
    "not the first": (seen(Measurement(), pinged(81, first=2)), False, 8.0),
    "announced in vain": (seen(Measurement(), pinged(81), announced="FAILED"), False, 8.0),
    "forgotten while idle": (seen(Measurement(idle_s=9), pinged(81), idle=""), False, 8.0),
}


@pytest.mark.parametrize(("found", "passed", "lifetime_s"), OUTCOMES.values(), ids=OUTCOMES)
def test_a_verdict_needs_all_of_it(found: Measured, passed: bool, lifetime_s: float | None) -> None:
    assert found.passed is passed
    assert found.lifetime_s == (None if lifetime_s is None else pytest.approx(lifetime_s))


@pytest.mark.parametrize(("found", "passed", "lifetime_s"), OUTCOMES.values(), ids=OUTCOMES)
def test_table_and_document_say_the_same(found: Measured, passed: bool, lifetime_s: float | None) -> None:
    lab = load(gallery.text(gallery.WALKTHROUGH), gallery.WALKTHROUGH)
    run = Run(on_simulated_lan(lab, {}), "uml", "6.12.113", duration_s=4.25)
    table, document = render_table(found, run), json.loads(render_json(found, run))
    assert document["verdict"] == ("pass" if passed else "fail")
    assert table.splitlines()[-1].startswith("as predicted: " if passed else "DIFFERS: ")
    assert (" DIFFERS" in table) is not passed
    assert (document["measured_s"] is None) == (lifetime_s is None) == ("no end seen" in table)
    assert all(f"{name}" in table for name in TIMERS)


def test_output_that_is_not_understood_is_an_error() -> None:
    with pytest.raises(UnparsableOutput, match="sysctl"):
        sysctl.parse_values("net.ipv4.ip_forward = 0\nsysctl: what?\n")
    with pytest.raises(CommandFailed, match="ended early"):
        seen(Measurement(), pinged(81).partition("\n\n")[0] + "\n")


# --- the command line -----------------------------------------------------------------------------------

MISTAKES = {
    "local": ("--target local", "--target local has no simulated LAN", "uml"),
    "no time": ("--idle soon", "invalid duration 'soon'", "3s"),
    "a day": ("--idle 24h", "86400 s is too long to wait", "1h"),
    "a preview in JSON": ("--dry-run --json", "does not go with --json", "text"),
}


@pytest.mark.parametrize(("words", "says", "hint"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_clear_line(call: Callable[..., Called], words: str, says: str, hint: str) -> None:
    code, _, err = call("measure-arp", *words.split())
    assert code == 2
    assert_one_line(err, says, hint)


def test_a_dry_run_shows_every_command(call: Callable[..., Called]) -> None:
    code, out, err = call("measure-arp", "--fast", "--idle", "2s", "--dry-run")
    assert (code, err) == (0, "")
    shown = [line for line in out.splitlines() if line and not line.startswith("#")]
    ours = [str(command) for command in Measurement(fast=True, idle_s=2).commands("iputils").values()]
    assert [line for line in shown if line in ours] == ours
    fast = (
        f"net.ipv4.neigh.eth0.delay_first_probe_time={FAST_TIMERS.delay_first_probe_s} "
        f"net.ipv4.neigh.eth0.ucast_solicit={FAST_TIMERS.probes} "
        f"net.ipv4.neigh.eth0.retrans_time_ms={FAST_TIMERS.retrans_ms}"
    )
    assert f"ip netns exec neighbour sysctl -w {fast}" in shown
    assert shown.index("arping -c 1 -U -I eth0 192.168.104.211") < shown.index("sleep 2")
