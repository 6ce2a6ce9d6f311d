"""The state after earlier acts: neighbour tables, and changes of links and of the switch."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ipvkit.core.values import Address, Flag, InterfaceAddress, Mode
from ipvkit.lab import AddLink


@dataclass(frozen=True, slots=True)
class Timers:
    """When a neighbour entry expires that no host confirms (net/core/neighbour.c, arp(7))."""

    delay_first_probe_s: int = 5
    probes: int = 3
    retrans_ms: int = 1000

    @property
    def lifetime_s(self) -> float:
        """How long a stale entry is valid after its first use, in seconds."""
        return self.delay_first_probe_s + self.probes * self.retrans_ms / 1000


KERNEL_TIMERS = Timers()
FAST_TIMERS = Timers(delay_first_probe_s=1, retrans_ms=100)

Entry = tuple[str, Address]
"""A peer, and the address of an endpoint that it has an entry for."""


@dataclass(frozen=True, slots=True)
class State:
    """The state when an act begins.

    `known` has how each entry with a link-layer address was learned, `age_s` the seconds since the first use
    of those in use; `failed` are entries without an answer, which an announcement can fill; `fast` are peers
    with `FAST_TIMERS`. `flipped` are parents with another mode and flag than the phase's; `links`,
    `addresses` and `mtus` what was added and set; `hairpin` whether the switch sends frames back to their
    port; `allowed` the roles that it accepts source addresses of at the host's port, None for all.
    """

    known: Mapping[Entry, str] = field(default_factory=dict)
    age_s: Mapping[Entry, float] = field(default_factory=dict)
    failed: frozenset[Entry] = frozenset()
    fast: frozenset[str] = frozenset()
    flipped: Mapping[str, tuple[Mode, Flag]] = field(default_factory=dict)
    links: tuple[AddLink, ...] = ()
    addresses: tuple[tuple[str, InterfaceAddress], ...] = ()
    mtus: Mapping[str, int] = field(default_factory=dict)
    hairpin: bool = False
    allowed: tuple[str, ...] | None = None

    def timers(self, peer: str) -> Timers:
        """Return the timers of the entries of `peer`."""
        return FAST_TIMERS if peer in self.fast else KERNEL_TIMERS

    def left_s(self, entry: Entry) -> float:
        """Return for how many seconds a known entry without an answer is valid if it is used from now on."""
        return self.timers(entry[0]).lifetime_s - self.age_s.get(entry, 0.0)
