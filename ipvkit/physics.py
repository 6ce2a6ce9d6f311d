"""The rules of ipvlan: who reaches whom, and why.

Sources: Documentation/networking/ipvlan.rst, drivers/net/ipvlan/ipvlan_core.c, net/core/neighbour.c.
What a phase leaves in the neighbour tables of the other hosts decides over the next one, so the rules
take a `Neighbours` and each act gives the next one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TypeVar

from ipvkit.lab import HOST, PEERS, PING_COUNT, PING_INTERVAL_S, PING_WAIT_S, Act, Check, Outcome, Phase


@dataclass(frozen=True, slots=True)
class Timers:
    """How a host ages a neighbour entry that nobody confirms (net/core/neighbour.c, arp(7))."""

    delay_first_probe_s: int = 5
    probes: int = 3
    retrans_ms: int = 1000

    @property
    def lifetime_s(self) -> float:
        """How long a stale entry serves after its first use, in seconds."""
        return self.delay_first_probe_s + self.probes * self.retrans_ms / 1000


KERNEL_TIMERS = Timers()
FAST_TIMERS = Timers(delay_first_probe_s=1, retrans_ms=100)

V = TypeVar("V")
_BESIDES_S = 0.1
"""What an act takes beside its waiting: processes that start and end."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """An outcome, and the sentence that says why."""

    outcome: Outcome
    reason: str


Entry = tuple[str, str]
"""A peer, and the endpoint that it has an entry for."""


@dataclass(frozen=True, slots=True)
class Neighbours:
    """What the peers' neighbour tables hold for the endpoints.

    `known` says of each entry with a link-layer address how it was learned, `age_s` of those in use how
    many seconds ago their first use was; `failed` are entries that came to nothing, which an announcement
    can fill; `fast` are peers with `FAST_TIMERS`.
    """

    known: Mapping[Entry, str] = field(default_factory=lambda: MappingProxyType({}))
    age_s: Mapping[Entry, float] = field(default_factory=lambda: MappingProxyType({}))
    failed: frozenset[Entry] = frozenset()
    fast: frozenset[str] = frozenset()

    def timers(self, peer: str) -> Timers:
        """Return the timers by which `peer` ages its entries."""
        return FAST_TIMERS if peer in self.fast else KERNEL_TIMERS

    def left_s(self, entry: Entry) -> float:
        """Return how many seconds a known entry will serve, in l3 and l3s, if it is used from now on."""
        return self.timers(entry[0]).lifetime_s - self.age_s.get(entry, 0.0)


def predict(phase: Phase, check: Check, neighbours: Neighbours) -> Prediction:
    """Return what becomes of the ping of `check` in `phase`, with these neighbour tables."""
    source, destination = check.source, check.destination
    if HOST in (source, destination):
        return _between_host_and_endpoint(phase, check)
    peer = next((role for role in (source, destination) if role in PEERS), None)
    if peer is None:
        return _between_siblings(phase)
    endpoint = destination if peer == source else source
    if phase.mode == "l2":
        return Prediction(Outcome.REACHABLE, f"in l2 {endpoint} answers ARP itself, with the parent's MAC")
    entry = (peer, endpoint)
    if entry in neighbours.known:
        return _through_known_entry(check, entry, neighbours)
    silent = f"gets no answer: in {phase.mode} {endpoint}'s device is NOARP"
    if peer == source:
        return Prediction(Outcome.UNREACHABLE, f"{peer}'s ARP for {endpoint} {silent}")
    return Prediction(Outcome.UNREACHABLE, f"the request arrives; {peer}'s ARP for the way back {silent}")


def _between_siblings(phase: Phase) -> Prediction:
    """Return what the flag makes of it, in every mode (ipvlan_xmit_mode_l2(), ipvlan_xmit_mode_l3())."""
    match phase.flag:
        case "bridge":
            what = "the parent hands the packet over inside the kernel"
            return Prediction(Outcome.REACHABLE, f"siblings: with flag bridge {what}")
        case "private":
            lost = "the kernel drops what goes from one endpoint of a parent to another"
        case "vepa":
            lost = "the packet goes out to the switch, which sends nothing back to the port it came from"
    return Prediction(Outcome.UNREACHABLE, f"siblings: with flag {phase.flag} {lost}")


def _between_host_and_endpoint(phase: Phase, check: Check) -> Prediction:
    if check.source == HOST:
        lost = f"the host's ARP for {check.destination} goes to the wire, where nobody answers"
    elif phase.mode == "l2":
        lost = f"{check.source}'s ARP for the host goes to siblings and the wire, never to the host"
    else:
        lost = (
            f"the request arrives; the host's ARP for {check.source} goes to the wire, where nobody answers"
        )
    return Prediction(Outcome.UNREACHABLE, f"{lost}: a parent and its endpoints do not talk")


def _through_known_entry(check: Check, entry: Entry, neighbours: Neighbours) -> Prediction:
    peer, endpoint = entry
    timers = neighbours.timers(peer)
    known = f"{peer} knows {endpoint} from {neighbours.known[entry]}"
    if check.watch is not None and check.watch > neighbours.left_s(entry):
        return Prediction(
            Outcome.EXPIRES,
            f"{known}; nothing answers its probes of that entry, "
            f"which dies about {timers.lifetime_s:g} s after its first use",
        )
    return Prediction(Outcome.REACHABLE, f"warm: {known}; works until that entry ages")


def after(phase: Phase, act: Act, neighbours: Neighbours) -> Neighbours:
    """Return the neighbour tables after `act`. A flush wins over an announcement beside it.

    An announcement fills entries that are there, failed ones too, and makes none (arp_accept=0); an entry
    that serves already it leaves as old as it is (__neigh_update() in net/core/neighbour.c).
    """
    known, failed, age_s = dict(neighbours.known), set(neighbours.failed), dict(neighbours.age_s)
    for check in act.checks:
        entry = _entry(check)
        outcome = predict(phase, check, neighbours).outcome
        if entry is None:
            continue
        if outcome is not Outcome.REACHABLE:
            known.pop(entry, None)
            failed.add(entry)
        else:
            age_s.setdefault(entry, 0.0)
            if phase.mode == "l2":
                known[entry] = f"phase {phase.name}"
                failed.discard(entry)
    for entry in [e for e in (*known, *failed) if e[1] in act.announce]:
        known.setdefault(entry, "the announcement")
        failed.discard(entry)
    lasts = _lasts_s(phase, act, neighbours)
    for entry in list(age_s):
        age_s[entry] += lasts
        timers = neighbours.timers(entry[0])
        if phase.mode == "l2" and age_s[entry] >= timers.delay_first_probe_s:
            # Its probe is answered: from now on it is as good as new, and in use since nobody knows when.
            del age_s[entry]
        elif phase.mode != "l2" and age_s[entry] >= timers.lifetime_s and entry in known:
            del known[entry]
            failed.add(entry)
    return replace(
        neighbours,
        known=_without(known, act.flush),
        age_s=_without({e: age for e, age in age_s.items() if e in known}, act.flush),
        failed=frozenset(e for e in failed if e[0] not in act.flush),
        fast=neighbours.fast | set(act.fast_ageing),
    )


def _entry(check: Check) -> Entry | None:
    """Return the entry that a check needs: that of the peer for the endpoint, if there is a peer in it."""
    for peer, endpoint in ((check.source, check.destination), (check.destination, check.source)):
        if peer in PEERS:
            return peer, endpoint
    return None


def _lasts_s(phase: Phase, act: Act, neighbours: Neighbours) -> float:
    """Return how long an act takes, in seconds: its longest ping, or the second between two announcements."""
    seconds = [1.0 if act.announce else 0.0]
    for check in act.checks:
        outcome = predict(phase, check, neighbours).outcome
        entry = _entry(check)
        if outcome is Outcome.EXPIRES and entry is not None:
            seconds.append(neighbours.left_s(entry))
        elif check.watch is not None:
            seconds.append(check.watch)
        else:
            last_reply = PING_WAIT_S if outcome is Outcome.UNREACHABLE else 0.0
            seconds.append((PING_COUNT - 1) * PING_INTERVAL_S + last_reply)
    return max(seconds) + _BESIDES_S


def _without(values: Mapping[Entry, V], peers: tuple[str, ...]) -> Mapping[Entry, V]:
    return MappingProxyType({entry: value for entry, value in values.items() if entry[0] not in peers})
