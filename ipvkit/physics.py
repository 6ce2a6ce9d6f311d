"""The rules of ipvlan: who reaches whom, and why.

Sources: Documentation/networking/ipvlan.rst, drivers/net/ipvlan/ipvlan_core.c, net/core/neighbour.c.
What a phase leaves in the neighbour tables of the other hosts decides over the next one, so the rules
take a `Neighbours` and each act gives the next one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from ipvkit.lab import HOST, PEERS, Act, Check, Outcome, Phase


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

    `known` says of each entry with a link-layer address how it was learned; `failed` are entries that
    came to nothing, which an announcement can fill; `fast` are peers with `FAST_TIMERS`.
    """

    known: Mapping[Entry, str] = field(default_factory=lambda: MappingProxyType({}))
    failed: frozenset[Entry] = frozenset()
    fast: frozenset[str] = frozenset()

    def timers(self, peer: str) -> Timers:
        """Return the timers by which `peer` ages its entries."""
        return FAST_TIMERS if peer in self.fast else KERNEL_TIMERS


def predict(phase: Phase, check: Check, neighbours: Neighbours) -> Prediction:
    """Return what becomes of the ping of `check` in `phase`, with these neighbour tables."""
    source, destination = check.source, check.destination
    if HOST in (source, destination):
        return _between_host_and_endpoint(phase, check)
    peer = next((role for role in (source, destination) if role in PEERS), None)
    if peer is None:
        return Prediction(
            Outcome.REACHABLE,
            f"siblings: with flag {phase.flag} the parent hands the packet over inside the kernel",
        )
    endpoint = destination if peer == source else source
    if phase.mode == "l2":
        return Prediction(Outcome.REACHABLE, f"in l2 {endpoint} answers ARP itself, with the parent's MAC")
    entry = (peer, endpoint)
    if entry in neighbours.known:
        return _through_known_entry(check, entry, neighbours)
    silent = f"gets no answer: in l3 {endpoint}'s device is NOARP"
    if peer == source:
        return Prediction(Outcome.UNREACHABLE, f"{peer}'s ARP for {endpoint} {silent}")
    return Prediction(Outcome.UNREACHABLE, f"the request arrives; {peer}'s ARP for the way back {silent}")


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
    if check.watch is not None and check.watch > timers.lifetime_s:
        return Prediction(
            Outcome.EXPIRES,
            f"{known}; nothing answers its probes of that entry, "
            f"which dies about {timers.lifetime_s:g} s after its first use",
        )
    return Prediction(Outcome.REACHABLE, f"warm: {known}; works until that entry ages")


def after(phase: Phase, act: Act, neighbours: Neighbours) -> Neighbours:
    """Return the neighbour tables after `act`. A flush wins over an announcement beside it.

    An announcement fills entries that are there, failed ones too, and makes none (arp_accept=0).
    """
    known, failed = dict(neighbours.known), set(neighbours.failed)
    for check in act.checks:
        _learn(phase, check, predict(phase, check, neighbours).outcome, known, failed)
    for endpoint in act.announce:
        for peer in PEERS:
            if (peer, endpoint) in known or (peer, endpoint) in failed:
                known[peer, endpoint] = "the announcement"
                failed.discard((peer, endpoint))
    return replace(
        neighbours,
        known=MappingProxyType({e: how for e, how in known.items() if e[0] not in act.flush}),
        failed=frozenset(e for e in failed if e[0] not in act.flush),
        fast=neighbours.fast | set(act.fast_ageing),
    )


def _learn(phase: Phase, check: Check, outcome: Outcome, known: dict[Entry, str], failed: set[Entry]) -> None:
    peer, endpoint = check.source, check.destination
    if peer not in PEERS:
        peer, endpoint = endpoint, peer
    if peer not in PEERS:
        return
    if outcome is not Outcome.REACHABLE:
        known.pop((peer, endpoint), None)
        failed.add((peer, endpoint))
    elif phase.mode == "l2":
        known[peer, endpoint] = f"phase {phase.name}"
        failed.discard((peer, endpoint))
