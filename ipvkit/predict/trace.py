"""What is reported of a packet: where it was, and why it arrives or is lost."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ipvkit.core.values import Address
from ipvkit.lab import the
from ipvkit.predict.world import World


@dataclass(frozen=True, slots=True)
class Hop:
    """What happens to a packet at one host."""

    at: str
    what: str


class Lost(Exception):
    """The packet ends here, for this reason."""


class Trace:
    """The hops of a ping there and back; `notes` are those of them that explain why it works.

    `arrived` is the host at which the request arrives, or nothing. `doubt` is why the ping may be lost all
    the same. `decided`, the end of a reason, is of which of several hosts an entry has the MAC address.
    """

    def __init__(self, world: World, ends: tuple[str, str] | None) -> None:
        """Report nothing yet; with `ends`, the two nodes, reasons have their kinds, and not their names."""
        self.world, self._ends = world, ends
        self.hops: list[Hop] = []
        self.notes: list[str] = []
        self.arrived = self.doubt = self.decided = ""

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Forget at the end of the block what was added in it."""
        kept = self.doubt, self.decided, len(self.hops), len(self.notes)
        try:
            yield
        finally:
            self.doubt, self.decided, hops, notes = kept
            del self.hops[hops:], self.notes[notes:]

    def hop(self, at: str, what: str) -> None:
        """Add what happens at a host."""
        self.hops.append(Hop(at, what))

    def note(self, at: str, what: str) -> None:
        """Add a hop that explains why the ping works."""
        self.hop(at, what)
        self.notes.append(what)

    def lost(self, at: str, what: str) -> Lost:
        """Add the last hop, and return the error to raise."""
        self.hop(at, f"lost: {what}")
        return Lost(what)

    # --- what a reason calls a node --------------------------------------------------------------------

    def the(self, name: str) -> str:
        """Return what a reason calls a node, with `the` for a host."""
        return self._kind(name) or the(name)

    def called(self, name: str) -> str:
        """Return what a reason calls a node, without `the`."""
        return self._kind(name) or name

    def address(self, address: Address) -> str:
        """Return what a reason calls an address."""
        ends = self._ends or ()
        owner = next((end for end in ends if self.world.nodes[end].has(address)), None)
        return str(address) if owner is None else f"{self.the(owner)}'s address"

    def _kind(self, name: str) -> str:
        """Return the kind of a node that is one of the ends, by which a reason calls it, or nothing."""
        lab, nodes = self.world.lab, self.world.nodes
        if self._ends is None or (lab.is_host(name) and not lab.several_hosts):
            return ""
        # Of the packet under way, which is the reply where the request has arrived.
        ends = tuple(reversed(self._ends)) if self.arrived else self._ends
        called = dict(zip(filter(lab.is_endpoint, ends), ("the endpoint", "another endpoint"), strict=False))
        own = next((called[end] for end in called if lab.is_host(name) and lab.host_of(end) == name), "")
        if own:
            return f"{own}'s host"
        end = next((end for end in ends if nodes.get(name) is nodes[end]), None)
        return "" if end is None else called.get(end, "another host")
