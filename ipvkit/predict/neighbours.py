"""How a neighbour entry expires: what net/core/neighbour.c does with one, whoever uses it.

A kernel confirms an entry by asking, and then does not doubt it for a while (REACHABLE). After that, and from
the start where it has only heard of the address (STALE), the first use makes it doubt (DELAY): some seconds
later it asks the host again (PROBE). An answer confirms the entry; without one it has failed. An
announcement, or a question of the host itself, changes nothing of a valid entry (__neigh_update()), and makes
a failed one stale.

Times are in seconds of one clock. One of which only bounds are certain is a `Span`.
"""

import math
from dataclasses import dataclass, replace

Span = tuple[float, float]
"""The earliest and the latest time at which something happens; infinite for never."""

NEVER: Span = (math.inf, math.inf)


@dataclass(frozen=True, slots=True)
class Timers:
    """The kernel's bounds of an entry: `base_reachable_s` is halved or up to three times that, by chance."""

    delay_first_probe_s: int = 5
    probes: int = 3
    retrans_ms: int = 1000
    base_reachable_s: float = 30

    @property
    def lifetime_s(self) -> float:
        """How long an entry that no host confirms is valid after its first use, in seconds."""
        return self.delay_first_probe_s + self.probes * self.retrans_ms / 1000

    @property
    def asks_s(self) -> float:
        """How long a kernel repeats a question after the first time, in seconds."""
        return (self.probes - 1) * self.retrans_ms / 1000


KERNEL_TIMERS = Timers()
FAST_TIMERS = Timers(delay_first_probe_s=1, retrans_ms=100, base_reachable_s=1)


@dataclass(frozen=True, slots=True)
class Known:
    """A valid entry: how it was learned, when it was `confirmed`, and when it was `doubted` first after that.

    `confirmed` None is an entry that the kernel has only heard of, `doubted` None one that is not in use;
    `last` is when it was in use last. With `maybe` it may have failed already.
    """

    origin: str
    confirmed: Span | None = None
    doubted: Span | None = None
    last: float = -math.inf
    maybe: bool = False

    def used(self, first: float, last: float, timers: Timers, late: float = 0.0) -> "Known":
        """Return the entry after packets from the time `first` until `last`, each up to `late` s later."""
        soonest, latest = self._stale(first, timers)
        doubted = (
            max(first, soonest) if max(first, soonest) <= last + late else math.inf,
            max(first + late, latest) if latest <= last else math.inf,
        )
        former = self.doubted or NEVER
        span = (min(former[0], doubted[0]), min(former[1], doubted[1]))
        return replace(self, doubted=None if span == NEVER else span, last=max(last + late, self.last))

    def _stale(self, first: float, timers: Timers) -> Span:
        """Return when use makes the kernel doubt it: the `first` one where it has only heard of it."""
        if self.confirmed is None:
            return first, first
        at = (0.5 * timers.base_reachable_s, 1.5 * timers.base_reachable_s)
        return self.confirmed[0] + at[0], self.confirmed[1] + at[1]

    def without_answers(self, left: float, back: float, timers: Timers) -> "Known":
        """Return the entry of a host that is away from the time `left` until it is `back`.

        It may fail if all its probes can fall in between; a doubt begins with its last use at the latest.
        """
        doubted = self.doubted[0] if self.doubted else self._stale(self.last, timers)[0]
        probed = (doubted + timers.delay_first_probe_s, self.last + timers.delay_first_probe_s)
        last_probe = back - timers.asks_s
        can_fail = doubted <= self.last and probed[0] <= last_probe and probed[1] >= left
        return replace(self, maybe=self.maybe or can_fail)

    def vouched(self, now: float) -> "Known":
        """Return the entry after a TCP connection: its progress may confirm it (sk_dst_confirm()).

        That counts if it comes at the end of a doubt or before one, not when the kernel asks already.
        """
        first = -math.inf if self.confirmed is None else self.confirmed[0]
        doubted = None if self.doubted is None else (self.doubted[0], math.inf)
        return replace(self, confirmed=(first, now), doubted=doubted)

    def fails(self, timers: Timers) -> Span:
        """Return when it fails if no host confirms it and nothing else changes."""
        first, last = self.doubted or NEVER
        return -math.inf if self.maybe else first + timers.lifetime_s, last + timers.lifetime_s

    def answered(self, now: float, timers: Timers) -> "Known":
        """Return the entry of a host that answers, at the time `now`: a doubt ends with its answer."""
        first, last = (one + timers.delay_first_probe_s for one in self.doubted or NEVER)
        if now < first:
            return self
        if now < last:
            first = first if self.confirmed is None else self.confirmed[0]
        return replace(self, confirmed=(first, min(last, now)), doubted=None)
