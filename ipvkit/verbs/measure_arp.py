"""How long an announcement lives at a neighbour: the commands, the prediction, and the measurement.

One l3 endpoint on the simulated LAN is announced once to a neighbour that has asked for it before.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Interface
from itertools import pairwise

from ipvkit.core.command import Command, Completed, in_netns
from ipvkit.core.errors import CommandFailed, UsageError
from ipvkit.lab import NEIGHBOUR
from ipvkit.plan.acts import FAST_VALUES
from ipvkit.plan.lan import PEER_DEV
from ipvkit.predict.neighbours import Timers
from ipvkit.strategies.announce import NONLOCAL_BIND
from ipvkit.tools import arping, ip, ping, sysctl

PARENT = "eth0"
ENDPOINT = "test1"
ADDRESS = IPv4Interface("192.168.104.211/24")
NEIGHBOURS_ADDRESS = IPv4Address("192.168.104.111")
"""All on the LAN of the walkthrough."""

INTERVAL_S = 0.1
"""From one ping to the next: the resolution of the measurement."""

_WATCH_S, _BESIDES_S = 60, 60.0

SLACK_S = 0.25
"""How late the last ping may be, or a timer, on a busy machine, in seconds, beyond what the others were late;
a kernel in a process waits for the CPU too."""

_PREFIX = f"net.ipv4.neigh.{PEER_DEV}"
TIMERS = tuple(
    "base_reachable_time_ms delay_first_probe_time ucast_solicit app_solicit mcast_resolicit "
    "retrans_time_ms gc_stale_time".split()
)
"""The sysctls that determine the life of an entry."""

STALE = "STALE"

_READ = f"read the {NEIGHBOUR}'s timers"
_ANNOUNCED = f"show the entry that the {NEIGHBOUR} made of it"
_IDLE = "show the entry again"
_USE = "use the entry until it fails"


@dataclass(frozen=True, slots=True)
class Prediction:
    """How long an entry is valid after its first use, in seconds, with the bounds of the measurement."""

    lifetime_s: float
    earliest_s: float
    latest_s: float


def predict(timers: Timers, late_s: float = 0.0) -> Prediction:
    """Return the prediction for pings `INTERVAL_S` apart, of which one came up to `late_s` seconds late.

    The rule: DELAY, then unicast probes without an answer (neigh_timer_handler(), net/core/neighbour.c).
    Earliest: the last reply came up to an interval before the end. Latest: a timer of n jiffies is late by up
    to 8/63 of it, since the timer wheel has 8^k jiffies between two slots from 63 * 8^(k-1) jiffies on
    (kernel/time/timer.c).
    """
    lifetime = timers.lifetime_s
    slack = SLACK_S + late_s
    return Prediction(lifetime, lifetime - INTERVAL_S - slack, lifetime * (1 + 8 / 63) + slack)


def timers_of(values: Mapping[str, int]) -> Timers:
    """Return the timers that result from the sysctls in `TIMERS`; every kind of probe counts."""
    probes = values["ucast_solicit"] + values["app_solicit"] + values["mcast_resolicit"]
    return Timers(values["delay_first_probe_time"], probes, values["retrans_time_ms"])


@dataclass(frozen=True, slots=True)
class Measurement:
    """A measurement of an entry unused for `idle_s` seconds, with `fast` timers or the kernel's."""

    fast: bool = False
    idle_s: float = 0.0

    def __post_init__(self) -> None:
        if self.idle_s > 3600:
            raise UsageError(f"{self.idle_s:g} s is too long to wait", "use at most 1h")

    @property
    def bound_s(self) -> float:
        """The longest duration of the measurement, in seconds."""
        return self.idle_s + _WATCH_S + _BESIDES_S

    def commands(self, by: arping.Implementation) -> dict[str, Command]:
        """Return the commands on that LAN, each under its purpose."""
        address = ADDRESS.ip
        # A link that was just set up drops frames until the kernel sees its carrier, up to a second later.
        carries = replace(ping.ping(NEIGHBOURS_ADDRESS, count=1, interval=1, wait=5), ok=(0,))
        show = ip.at(NEIGHBOUR, ip.neigh_show(PEER_DEV))
        link = ip.link_add(ENDPOINT, ip.Ipvlan(PARENT, "l3"), netns=ENDPOINT, up=True)
        asking = ping.ping(address, count=1, interval=1, wait=_WATCH_S)
        sending = sysctl.set_values({NONLOCAL_BIND: 1})
        shorten = sysctl.set_values({f"{_PREFIX}.{name}": value for name, value in FAST_VALUES.items()})
        fast = {f"shorten the {NEIGHBOUR}'s ARP timers": in_netns(NEIGHBOUR, shorten)}
        idle = {f"wait for {self.idle_s:g} s": Command(("sleep", f"{self.idle_s:g}")), _IDLE: show}
        return {
            f"wait until the LAN carries frames from the host to the {NEIGHBOUR}": carries,
            f"create a namespace for {ENDPOINT}": ip.netns_add(ENDPOINT),
            f"create {ENDPOINT}, an ipvlan link on {PARENT} in l3 mode": link,
            f"add the address of {ENDPOINT}": ip.at(ENDPOINT, ip.addr_add(ADDRESS, ENDPOINT)),
            f"add the default route of {ENDPOINT}": ip.at(ENDPOINT, ip.route_add(ip.RouteTo(dev=ENDPOINT))),
            **(fast if self.fast else {}),
            _READ: in_netns(NEIGHBOUR, sysctl.get_values([f"{_PREFIX}.{name}" for name in TIMERS])),
            # It ends when the entry has failed: a packet still waiting for the answer would be its first use.
            f"let the {NEIGHBOUR} ask for {ENDPOINT}, without an answer": in_netns(NEIGHBOUR, asking),
            "let arping send from an address that is not the host's own": sending,
            f"announce {ENDPOINT} once": arping.announce(address, PARENT, count=1, by=by),
            _ANNOUNCED: show,
            **(idle if self.idle_s else {}),
            _USE: in_netns(NEIGHBOUR, ping.ping_until_lost(address, interval=INTERVAL_S, deadline=_WATCH_S)),
        }


@dataclass(frozen=True, slots=True)
class Measured:
    """The result: the neighbour's timers, the states of its entry, and its end.

    States are the kernel's words, None where there was no entry or, of `idle`, no wait.
    `lifetime_s` is from the first reply to the last, None where there was none or no end was seen, and
    `late_s` is how much later than due a reply came at most after the one before.
    """

    measurement: Measurement
    timers: Mapping[str, int]
    announced: str | None
    idle: str | None
    answered: bool
    lifetime_s: float | None
    late_s: float

    @property
    def predicted(self) -> Prediction:
        """The prediction from the timers of the neighbour."""
        return predict(timers_of(self.timers), self.late_s)

    @property
    def lifetime_as_predicted(self) -> bool:
        """Whether the entry lived as long as predicted."""
        bounds = self.predicted
        return self.lifetime_s is not None and bounds.earliest_s <= self.lifetime_s <= bounds.latest_s

    @property
    def passed(self) -> bool:
        """Whether all is as predicted: the entry is STALE until it is used, then it ends in time."""
        waited = not self.measurement.idle_s or self.idle == STALE
        return self.announced == STALE and waited and self.answered and self.lifetime_as_predicted


def measured(measurement: Measurement, done: Mapping[str, Completed]) -> Measured:
    """Return the result of the commands of `measurement`, given by purpose; raise IpvkitError without one."""
    report = ping.parse_ping(done[_USE].stdout)
    if not report.complete:
        raise CommandFailed("the ping that uses the entry ended early", stderr=done[_USE].stderr)
    values = sysctl.parse_values(done[_READ].stdout)
    stamps = [reply.timestamp for reply in report.replies if reply.timestamp is not None]
    seen_to_its_end = bool(stamps) and bool(report.error_count)
    between = [later - earlier for earlier, later in pairwise(stamps)]
    return Measured(
        measurement,
        {name: values[f"{_PREFIX}.{name}"] for name in TIMERS},
        _state(done[_ANNOUNCED].stdout),
        _state(done[_IDLE].stdout) if measurement.idle_s else None,
        bool(report.replies) and report.replies[0].seq == 1,
        stamps[-1] - stamps[0] if seen_to_its_end else None,
        max(0.0, max(between, default=0.0) - INTERVAL_S),
    )


def _state(stdout: str) -> str | None:
    entries = [entry for entry in ip.parse_neighbours(stdout) if entry.dst == ADDRESS.ip]
    return " ".join(entries[0].states) if entries else None
