"""The parts of a lab, and their names."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from ipaddress import ip_network
from typing import TYPE_CHECKING, Literal, get_args

from ipvkit import strategies
from ipvkit.core.values import Address, BondMode, Flag, InterfaceAddress, Mode, Network, is_link_local
from ipvkit.lab.prefixes import with_prefix

MODES: tuple[Mode, ...] = get_args(Mode)
FLAGS: tuple[Flag, ...] = get_args(Flag)

Kind = Literal["ipvlan", "ipvtap", "macvlan", "veth"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""The kinds of an endpoint's link; macvlan, and veth on a bridge with the parent, are for comparison."""

AT = "@"
"""What is between the name of an endpoint or a parent, and its host, where others have that name too."""

IPVLAN: tuple[Kind, ...] = ("ipvlan", "ipvtap")
"""The kinds to which the rules of ipvlan apply: they share a parent, its mode and its flag (ipvtap.c)."""

ParentKind = Literal["nic", "bond", "bridge", "dummy"]
PARENT_KINDS: tuple[ParentKind, ...] = get_args(ParentKind)
"""The kinds of a parent, besides a VLAN on one of these."""

BOND_MODES: tuple[BondMode, ...] = get_args(BondMode)

STRATEGIES = tuple(strategies.BY_NAME)
"""The names of the strategies."""

if TYPE_CHECKING:
    from ipvkit.lab.sysctls import Sysctl

    Strategy = str
else:
    Strategy = Literal[STRATEGIES]

Setup = Literal["stepwise", "batch"]
SETUPS: tuple[Setup, ...] = get_args(Setup)
"""How endpoints are created: one command after another, as a person types them, or in few processes."""

Prober = Literal["ping", "fping"]
PROBERS: tuple[Prober, ...] = get_args(Prober)
"""What runs the checks: a ping for each, or an fping for each source."""

BATCH_FROM, PARALLEL, MOST_PARALLEL = 8, 32, 10_000
"""How many endpoints are created in batches by default, and concurrent pings: the default, and the most."""

Family = Literal["ipv4", "ipv6"]
FAMILIES: tuple[Family, ...] = get_args(Family)

HOST, GATEWAY, NEIGHBOUR, FAR, SWITCH, LAN = "host", "gateway", "neighbour", "far", "switch", "lan"
PEERS = (GATEWAY, NEIGHBOUR)
"""The roles of a lab: the host with the parents, the hosts beside it, one behind the gateway, the switch."""

RESERVED = ("lo", "all", "default")
"""Names that no new link can have: the loopback's, and two that sysctls use for all interfaces."""

BRIDGE, PORT, SHIM, LOWER, CABLE = "br-lan", "veth", "shim", "port", "vec"
"""Links that a host may get: a bridge for veth endpoints, its ports, a host shim, a parent's ports, cables.

All but the bridge have a number.
"""

DEFAULT_MTU, IPV6_MTU = 1500, 1280
"""MTUs in bytes: of a link of the simulated LAN, and the smallest with which Linux keeps IPv6 addresses."""

RouteType = Literal["blackhole", "unreachable", "prohibit"]
ROUTE_TYPES: tuple[RouteType, ...] = get_args(RouteType)
"""Types of routes by which the kernel sends nothing, from iproute2; without one it sends."""

LINK_LOCAL: Network = ip_network("fe80::/64")
"""The network of the link-local addresses of every link."""

MAIN, MOST_TABLES = 254, 252
"""The routing table that is used without a rule, and the highest number that a rule can name."""

Place = tuple[str, str | None]
"""A machine, and a namespace on it; None for the machine's own."""

Path = tuple[str | int, ...]
"""A place in a lab: keys and positions, from the outside in."""

LAB_HINT = "docs/reference/lab-format.md shows what a lab file looks like"
PING_COUNT, PING_INTERVAL_S, PING_WAIT_S = 6, 0.2, 0.5
"""How a check pings: enough requests to see a loss; on one machine a reply takes less than a millisecond."""

CONNECT_S, LISTEN_S = 5, 30
"""How long a check waits for a TCP connection, and a server for the next one, in seconds.

The kernel sends a SYN at 0, 1 and 3 s; a host that asks for a MAC address in vain knows that after 3 s.
"""

LOST_AFTER = 5
"""A watched path is lost when the last that many requests, or more, had no reply, or ping reported that."""


class Outcome(StrEnum):
    """The outcome of a check (answered, not answered, answered until the path was lost), or of a try.

    A TCP connection is refused where a host answers that nothing listens there. What the rules do not know
    is not modelled, and never observed.
    """

    REACHABLE = "reachable"
    UNREACHABLE = "unreachable"
    EXPIRES = "expires"
    ACCEPTED = "accepted"
    REFUSED = "refused"
    NOT_MODELLED = "not modelled"


PING_OUTCOMES = (Outcome.REACHABLE, Outcome.UNREACHABLE, Outcome.EXPIRES)
CHECK_OUTCOMES = (*PING_OUTCOMES, Outcome.REFUSED)
TRY_OUTCOMES = (Outcome.ACCEPTED, Outcome.REFUSED)


def family_of(address: Address | InterfaceAddress | Network) -> Family:
    """Return the family of an address."""
    return "ipv4" if address.version == 4 else "ipv6"


def is_next_hop(gateway: Address, own: Iterable[InterfaceAddress]) -> bool:
    """Return whether a node with the addresses `own` on a link can have a route via `gateway` out of it."""
    return any(gateway in a.network or (is_link_local(gateway) and a.version == 6) for a in own)


def the(role: str) -> str:
    """Return the display name of a node of a lab, which has one of the lab file or a role."""
    return "the far host" if role == FAR else f"the {role}" if role in (HOST, *PEERS, SWITCH) else role


@dataclass(frozen=True, slots=True)
class Route:
    """A route: `to` a network (None: default), `via` a gateway or straight out of the link.

    With a `type` it leads nowhere, and a packet is lost there. It is in a `table`, by default the main one.
    """

    to: Network | None = None
    via: Address | None = None
    type: RouteType | None = None
    table: int = MAIN

    def families(self, of_owner: Sequence[Family]) -> Sequence[Family]:
        """Return the families that it is for: of a default route with no gateway, those `of_owner`."""
        given = self.to or self.via
        return of_owner if given is None else (family_of(given),)


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of the routing policy: packets from `source` and `to` a network use `table` first."""

    table: int
    source: Network | None = None
    to: Network | None = None

    def matches(self, source: Address | None, to: Address) -> bool:
        """Return whether it is for a packet; one without a source yet is from no network but 0/0."""
        here = self.source is None or not self.source.prefixlen or (source and source in self.source)
        if not here:
            return False
        return (self.source or self.to or to).version == to.version and (self.to is None or to in self.to)


@dataclass(frozen=True, slots=True)
class Host:
    """Another host in a parent's network, in a namespace called `name`.

    `routes` None stands for a default route via the gateway, if that leads somewhere. `rules` come before
    the main table, in this order. `forwards` is whether it is a router.
    """

    name: str
    addresses: tuple[InterfaceAddress, ...] = ()
    routes: tuple[Route, ...] | None = None
    rules: tuple[Rule, ...] = ()
    forwards: bool = False


@dataclass(frozen=True, slots=True)
class Parent:
    """A network interface of the host `on` which it is, and the hosts in its network.

    `name` is unique in the lab; `ifname` is what the link is called there, if another name. With `shared`, it
    is in the network of that parent of another host, and has its peers. `host` are its own addresses,
    `gateway` and `neighbour` those of the hosts beside it, none where they are unknown, and `hosts` are more
    of those; `others` are its subnets in which the host has no address. With `vlan`, it is the sub-interface
    of the parent `link` with that tag. A bond has two ports and a `bond_mode`, a bridge has one port, and a
    dummy has none: no other host is in its network. `altnames` are the alternative names of the link.
    """

    name: str
    host: tuple[InterfaceAddress, ...] = ()
    gateway: tuple[Address, ...] = ()
    neighbour: tuple[Address, ...] = ()
    link: str | None = None
    vlan: int | None = None
    others: tuple[Network, ...] = ()
    hosts: tuple[Host, ...] = ()
    kind: ParentKind = "nic"
    bond_mode: BondMode = "active-backup"
    altnames: tuple[str, ...] = ()
    on: str = HOST
    ifname: str = ""
    shared: str = ""

    @property
    def dev(self) -> str:
        """What the link is called on its host."""
        return self.ifname or self.name

    @property
    def lan(self) -> str:
        """The parent that has its network: another host's, or itself."""
        return self.shared or self.name

    @property
    def lacp(self) -> bool:
        """Whether it is a bond that needs another one at the switch (IEEE 802.3ad)."""
        return self.kind == "bond" and self.bond_mode == "802.3ad"

    @property
    def peers(self) -> tuple[Host, ...]:
        """The hosts in its network: the gateway, the neighbour, where they are known, and the others."""
        roles = ((role, self.peer(role)) for role in PEERS)
        return (*(Host(role, tuple(map(self.beside, own))) for role, own in roles if own), *self.hosts)

    def peer(self, role: str) -> tuple[Address, ...]:
        """Return the addresses of a peer: the gateway, the neighbour or another host."""
        if role in PEERS:
            return self.gateway if role == GATEWAY else self.neighbour
        return tuple(own.ip for host in self.hosts if host.name == role for own in host.addresses)

    @property
    def next_hops(self) -> tuple[Address, ...]:
        """The gateway's addresses, in the order in which others route via them: link-local ones first."""
        return tuple(sorted(self.gateway, key=lambda gateway: not is_link_local(gateway)))

    @property
    def gateways(self) -> tuple[Address, ...]:
        """The gateway's addresses that others route via: the first of each family."""
        found = (next((gw for gw in self.next_hops if family_of(gw) == family), None) for family in FAMILIES)
        return tuple(gateway for gateway in found if gateway is not None)

    @property
    def subnets(self) -> tuple[Network, ...]:
        """Its subnets: those of the host's addresses, and others."""
        return (*(own.network for own in self.host), *self.others)

    def subnet_of(self, address: Address) -> Network | None:
        """Return the subnet of the parent that `address` is in, or None."""
        return next((subnet for subnet in self.subnets if address in subnet), None)

    def beside(self, address: Address) -> InterfaceAddress:
        """Return `address` with the prefix length of the parent's subnet that it is in, or a host's."""
        subnet = LINK_LOCAL if is_link_local(address) else self.subnet_of(address)
        return with_prefix(address, subnet.prefixlen if subnet else address.max_prefixlen)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A link on the parent called `parent`, with its `addresses`, in a separate network namespace.

    `routes` None stands for default routes, as its mode needs them; `rules` come before the main table;
    `mtu` in bytes, None for the parent's. `dev` is the link's name in the namespace, by default `name`,
    and `altnames` are its alternative ones. With `slaac`, its IPv6 address and default route come from router
    advertisements.
    """

    name: str
    addresses: tuple[InterfaceAddress, ...]
    netns: str
    parent: str
    routes: tuple[Route, ...] | None = None
    mtu: int | None = None
    rules: tuple[Rule, ...] = ()
    dev: str = ""
    altnames: tuple[str, ...] = ()
    slaac: bool = False

    def __post_init__(self) -> None:
        """Give the link the endpoint's name, where it has no other one."""
        object.__setattr__(self, "dev", self.dev or self.plain_name)

    @property
    def plain_name(self) -> str:
        """The name without that of its host, which it has where several hosts have one of that name."""
        return self.name.partition(AT)[0]

    def configures(self, family: Family) -> bool:
        """Return whether it gets its address and default route of `family` from router advertisements."""
        return self.slaac and family == "ipv6"

    @property
    def given(self) -> tuple[InterfaceAddress, ...]:
        """The addresses that are added to it."""
        return tuple(own for own in self.addresses if not self.configures(family_of(own)))

    @property
    def advertised(self) -> tuple[InterfaceAddress, ...]:
        """The addresses that it makes of advertised prefixes."""
        return tuple(own for own in self.addresses if self.configures(family_of(own)))


@dataclass(frozen=True, slots=True)
class Check:
    """A ping from `source` to `destination`; with `watch`, for that many seconds or until it is lost.

    `family` None: the first family that both have. `size` is the payload in bytes, sent unfragmented.
    `tcp` is the port of a TCP connection in place of a ping, on which a server listens for the check if
    `listen`. `expect` overrides what the model predicts, for the reason `why`.
    """

    source: str
    destination: str
    watch: int | None = None
    expect: Outcome | None = None
    why: str = ""
    family: Family | None = None
    size: int | None = None
    count: int = PING_COUNT
    tcp: int | None = None
    listen: bool = True

    def __str__(self) -> str:
        size = "" if self.size is None else f", {self.size} bytes"
        tcp = "" if self.tcp is None else f", tcp {self.tcp}"
        return f"{self.source} -> {self.destination}{size}{tcp}"


@dataclass(frozen=True, slots=True)
class AddAddress:
    """`address` is added to `endpoint`."""

    address: InterfaceAddress
    endpoint: str

    def __str__(self) -> str:
        return f"add {self.address} to {self.endpoint}"


@dataclass(frozen=True, slots=True)
class AddLink:
    """A link `name` is created on `parent` in the host's namespace; `mode` and `flag` None are left out.

    `parent` may also be the port of a parent, or the loopback: the kernel refuses both.
    """

    name: str
    kind: Literal["ipvlan", "ipvtap", "macvlan"]
    parent: str
    mode: Mode | None = None
    flag: Flag | None = None

    def __str__(self) -> str:
        words = filter(None, (self.kind, self.mode, self.flag))
        return f"add {self.name}, {' '.join(words)} on {self.parent}"


@dataclass(frozen=True, slots=True)
class DeleteLink:
    """The link that an AddLink created is deleted."""

    name: str

    def __str__(self) -> str:
        return f"delete {self.name}"


@dataclass(frozen=True, slots=True)
class SetMode:
    """`endpoint` is given a mode, from its namespace."""

    endpoint: str
    mode: Mode

    def __str__(self) -> str:
        return f"set {self.endpoint} to {self.mode}"


@dataclass(frozen=True, slots=True)
class SetMtu:
    """A parent or an endpoint is given an MTU in bytes."""

    link: str
    mtu: int

    def __str__(self) -> str:
        return f"set {self.link}'s mtu to {self.mtu}"


Change = AddAddress | AddLink | DeleteLink | SetMode | SetMtu


@dataclass(frozen=True, slots=True)
class Attempt:
    """A change that the kernel accepts or refuses; `expect` and `why` as in a Check."""

    change: Change
    expect: Outcome | None = None
    why: str = ""

    def __str__(self) -> str:
        return str(self.change)


@dataclass(frozen=True, slots=True)
class Act:
    """What happens at one point of a phase, concurrently; attempts one after another.

    `hairpin` is whether the switch sends frames back to the port they came from; `port_security` are the
    roles with addresses that the switch accepts at the host's port; `wait` is in seconds. `sysctls` are set,
    and stay so. Endpoints `move` each to another host; hosts go `down` until the end of the phase.
    """

    checks: tuple[Check, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    announce: tuple[str, ...] = ()
    fast_ageing: tuple[str, ...] = ()
    flush: tuple[str, ...] = ()
    hairpin: bool | None = None
    port_security: tuple[str, ...] | None = None
    wait: int | None = None
    sysctls: "tuple[Sysctl, ...]" = ()
    move: tuple[tuple[str, str], ...] = ()
    down: tuple[str, ...] = ()

    @property
    def changes(self) -> bool:
        """Whether it changes the outcome of a check."""
        return replace(self, checks=()) != Act()


@dataclass(frozen=True, slots=True)
class Setting:
    """The setting of the endpoints on a parent in a phase; `mode` and `flag` are those of ipvlan.

    `host_shim`: whether the host has a separate link on the parent, by which it reaches them;
    `shim_addresses` are those of that link.
    """

    mode: Mode = "l2"
    flag: Flag = "bridge"
    kind: Kind = "ipvlan"
    strategy: Strategy = "none"
    host_shim: bool = False
    shim_addresses: tuple[Address, ...] = ()

    @property
    def is_ipvlan(self) -> bool:
        """Whether the rules of ipvlan apply to its links."""
        return self.kind in IPVLAN

    @property
    def helpers(self) -> tuple[strategies.Strategy, ...]:
        """The strategy, and the host shim if there is one."""
        return strategies.BY_NAME[self.strategy], *((strategies.HOST_SHIM,) if self.host_shim else ())

    def __str__(self) -> str:
        words = {
            **{kind: f"{kind} in {self.mode} mode, flag {self.flag}" for kind in IPVLAN},
            "macvlan": f"macvlan in {self.flag} mode",
            "veth": "veth on a bridge with the parent",
        }[self.kind]
        strategy = "" if self.strategy == "none" else f", strategy {self.strategy}"
        return f"{words}{strategy}{', host shim' if self.host_shim else ''}"


@dataclass(frozen=True, slots=True)
class Phase:
    """A time in which the lab's `endpoints` have one setting; `others` are parents that differ."""

    name: str
    setting: Setting
    endpoints: tuple[str, ...]
    acts: tuple[Act, ...]
    others: tuple[tuple[str, Setting], ...] = ()
    numbers: Mapping[str, int] = field(init=False, repr=False, compare=False)
    """The positions of its endpoints, by name."""
    settings: Mapping[str, Setting] = field(init=False, repr=False, compare=False)
    """Those of the parents that differ, by name."""

    def __post_init__(self) -> None:
        """Index endpoints and parents, so that a lookup does not read all of them."""
        object.__setattr__(self, "numbers", {name: i for i, name in enumerate(self.endpoints)})
        object.__setattr__(self, "settings", dict(self.others))

    def on(self, parent: str) -> Setting:
        """Return the setting of the endpoints on `parent`."""
        return self.settings.get(parent, self.setting)
