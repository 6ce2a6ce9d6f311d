"""What a strategy is: what it sees of a lab, and what it adds to the hosts around its endpoints."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ipvkit.core.command import Command
from ipvkit.core.values import Address, Flag, InterfaceAddress, Mode, Network
from ipvkit.tools import ip

Problem = tuple[str, str]
"""Why a strategy cannot work, and how to fix it."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A host beside that of the parent: its role, its display name, and its link in the parent's network.

    `versions` are the IP versions of its addresses there, `subnets` their networks, and `routed` those to
    which it has a route in the main table. It is in the namespace `netns`, or for None on another machine.
    """

    role: str
    name: str
    dev: str
    versions: frozenset[int]
    subnets: frozenset[Network]
    routed: frozenset[Network]
    netns: str | None

    def at(self, command: Command) -> Command:
        """Return a command of ip in its namespace."""
        return command if self.netns is None else ip.at(self.netns, command)


@dataclass(frozen=True, slots=True)
class Site:
    """A parent with its endpoints in a phase, as strategies see it.

    `called` is the display name of its host, `host` are the parent's own addresses, `parents_subnets` its
    subnets, and `endpoints` those of each endpoint; `lladdr` is the MAC address that the parent has where a
    strategy needs it. `shim` is the name of the host's own ipvlan link there, `shim_addresses` are its
    addresses, and `named` those that the lab file names; `taken` are all of the lab.
    """

    called: str
    parent: str
    mode: Mode
    flag: Flag
    strategy: str
    host: tuple[InterfaceAddress, ...]
    parents_subnets: tuple[Network, ...]
    peers_of: Callable[[], tuple[Peer, ...]] = field(repr=False, compare=False)
    endpoints: tuple[tuple[str, InterfaceAddress], ...]
    lladdr: str
    shim: str
    shim_addresses: tuple[InterfaceAddress, ...]
    named: tuple[Address, ...]
    simulated: bool
    taken: frozenset[Address] = field(repr=False)

    @property
    def peers(self) -> tuple[Peer, ...]:
        """The hosts beside that of the parent, of which there may be many."""
        return self.peers_of()

    @property
    def subnets(self) -> list[Network]:
        """The endpoints' subnets."""
        return sorted({own.network for _, own in self.endpoints}, key=str)

    @property
    def inside(self) -> list[Address]:
        """The endpoints' addresses that are in a subnet of the parent."""
        return [own.ip for _, own in self.endpoints if any(own.ip in s for s in self.parents_subnets)]


@dataclass(frozen=True, slots=True)
class Route:
    """A route of a peer, or of the host (None): to a network, via an address or straight out of a link."""

    to: Network
    dev: str
    via: Address | None = None
    peer: str | None = None


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A permanent neighbour entry of a peer."""

    peer: str
    address: Address


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy entry of the host, which forwards and answers for `address` on `dev`."""

    address: Address
    dev: str

    def __str__(self) -> str:
        return f"proxy entry {self.address} on {self.dev}"


@dataclass(frozen=True, slots=True)
class Link:
    """An ipvlan link of the host on the parent."""

    dev: str
    addresses: tuple[InterfaceAddress, ...]


@dataclass(frozen=True, slots=True)
class Sysctl:
    """A sysctl of `netns` (None: the host's namespace), and the `value` that it is set to."""

    key: str
    value: int
    netns: str | None = None

    def __str__(self) -> str:
        return f"{self.name} = {self.value}"

    @property
    def name(self) -> str:
        """The key, with the namespace."""
        return self.key if self.netns is None else f"{self.key} in netns {self.netns}"


Added = Route | Neighbour | Proxy | Link | Sysctl


@dataclass(frozen=True, slots=True)
class Addition:
    """A command, and what it adds; without an `undo_purpose` it goes with something that was added before.

    `undo` is what deletes it at the peer `at`, which on a real network is another machine; what it adds to
    the host is undone by its kind, and has none.
    """

    purpose: str
    command: Command
    added: Added | None = None
    undo_purpose: str = ""
    undo: Command | None = None
    at: str = ""


class Strategy:
    """A strategy that adds nothing; the others override what they do.

    `modes` are those in which it works for both families, and `fix_mode` the one that `explain` proposes with
    it; `typed` describes its commands on the reference page, and `cost` its price in `explain`. `of_peers` is
    what has to be done on peers, if anything, with ``{subnets}`` for those of the endpoints. One that
    `needs_lladdr` needs the parent's MAC address. With `own_subnet` the endpoints have a subnet apart from
    the parent's. One that `announces` has the host announce their IPv4 addresses while checks ping.
    """

    name = "none"
    modes: Sequence[Mode] = ("l2", "l3", "l3s")
    fix_mode: Mode | None = None
    in_words = "all"
    typed = "nothing"
    cost = ""
    of_peers = ""
    own_subnet = False
    needs_lladdr = False
    announces = False

    def problem(self, site: Site) -> Problem | None:  # noqa: ARG002
        """Return why it cannot work there, or None."""
        return None

    def stages(self, site: Site) -> list[list[Addition]]:  # noqa: ARG002
        """Return what it adds, in stages."""
        return []

    def cannot_work(self, site: Site, why: str, fix: str = "") -> Problem:
        """Return the problem with the reason `why`."""
        return f"strategy {self.name} cannot work in {site.mode}: {why}", fix


class Answering(Strategy):
    """A strategy for endpoints that do not answer ARP, in the parent's subnet."""

    modes: Sequence[Mode] = ("l3", "l3s")
    in_words = "l3, l3s"

    def problem(self, site: Site) -> Problem | None:
        """Return why it cannot work there, or None."""
        if site.mode == "l2":
            return self.cannot_work(site, "the endpoints answer ARP themselves")
        if site.parents_subnets and site.endpoints and not site.inside:
            first = site.endpoints[0][1].ip
            why = f"{first} is not in the parent's subnet, so peers send no ARP requests for it"
            return self.cannot_work(site, why, "take strategy routed")
        return None
