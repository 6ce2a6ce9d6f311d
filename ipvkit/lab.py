"""A lab: what is to be built and what is to be asked of it. It knows no tool's flags."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from ipaddress import ip_interface
from itertools import islice
from typing import Literal, get_args

from ipvkit.errors import InvalidLab
from ipvkit.values import Address, Flag, InterfaceAddress, Mode, Network

MODES: tuple[Mode, ...] = get_args(Mode)
FLAGS: tuple[Flag, ...] = get_args(Flag)

Kind = Literal["ipvlan", "macvlan", "veth"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""What endpoints are: ipvlan, or what it is compared with: macvlan, and veth on a bridge with the parent."""

Strategy = Literal["none", "routed", "announce", "static-neigh", "l3s-proxy"]
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)
"""What makes l3 endpoints reachable from outside."""

Family = Literal["ipv4", "ipv6"]
FAMILIES: tuple[Family, ...] = get_args(Family)

HOST = "host"
GATEWAY = "gateway"
NEIGHBOUR = "neighbour"
FAR = "far"
PEERS = (GATEWAY, NEIGHBOUR)
SWITCH = "switch"
LAN = "lan"
"""The roles of a lab: the parents' own namespace, the hosts beside it, one behind the gateway, the switch."""

KERNELS_OWN = ("lo", "all", "default")
"""Names that no new link can have: the loopback's, and what sysctls call every interface."""

HOSTS_BRIDGE = "br-lan"
"""The bridge in the host's namespace that a phase with veth endpoints makes; no other link has its name."""

SHIM = "shim"
"""The host's own ipvlan link, where a phase has a host shim."""

PORT = "veth"
"""What the ports of the host's bridge are called, with a number."""

IPV6_NEEDS = 1280
"""The smallest MTU, in bytes, that a link with IPv6 may have; with a smaller one Linux takes IPv6 away."""

DEFAULT_MTU = 1500
"""The MTU of every link of the simulated LAN, in bytes."""

Path = tuple[str | int, ...]
"""Where something stands in a lab: keys and positions, from the outside in."""

LAB_HINT = "docs/reference/lab-format.md shows what a lab file looks like"
_RESERVED = "the kernel keeps lo, all and default for itself"
_RENAME = "take another one"
_ONE_LINE = "write it on one line, without tabs"
PING_COUNT = 6
PING_INTERVAL_S = 0.2
PING_WAIT_S = 0.5
"""How a check pings: enough requests to see a loss; on one machine a reply takes less than a millisecond."""

_SLUG = re.compile(r"[a-z0-9][a-z0-9-]*")
_HOSTS_LINKS = re.compile(rf"({SHIM}|{PORT})[0-9]*")
_SLUG_HINT = "small letters, digits and - are allowed"


class Outcome(StrEnum):
    """What becomes of a ping (answered, never answered, answered until the path was lost), or of a try."""

    REACHABLE = "reachable"
    UNREACHABLE = "unreachable"
    EXPIRES = "expires"
    ACCEPTED = "accepted"
    REFUSED = "refused"


OF_PINGS = (Outcome.REACHABLE, Outcome.UNREACHABLE, Outcome.EXPIRES)
OF_TRIES = (Outcome.ACCEPTED, Outcome.REFUSED)


def family_of(address: Address | InterfaceAddress | Network) -> Family:
    """Return the family of an address."""
    return "ipv4" if address.version == 4 else "ipv6"


@dataclass(frozen=True, slots=True)
class Parent:
    """A network interface of the host, and who is in its network.

    `host` are its own addresses, `gateway` and `neighbour` those of the hosts beside it, none where they
    are not known. With `vlan`, it is the sub-interface of the parent `link` with that tag.
    """

    name: str
    host: tuple[InterfaceAddress, ...] = ()
    gateway: tuple[Address, ...] = ()
    neighbour: tuple[Address, ...] = ()
    link: str | None = None
    vlan: int | None = None

    def peer(self, role: str) -> tuple[Address, ...]:
        """Return the addresses of the gateway or the neighbour."""
        return self.gateway if role == GATEWAY else self.neighbour

    @property
    def gateways(self) -> tuple[Address, ...]:
        """The gateway's addresses that others route by: the first of each family."""
        found = (next((gw for gw in self.gateway if family_of(gw) == family), None) for family in FAMILIES)
        return tuple(gateway for gateway in found if gateway is not None)

    def subnet_of(self, address: Address) -> Network | None:
        """Return the subnet of the parent that `address` is in, or None."""
        subnets = (own.network for own in self.host)
        return next((subnet for subnet in subnets if address in subnet), None)


@dataclass(frozen=True, slots=True)
class Route:
    """A route of an endpoint: `to` a network (None: default), `via` a gateway or straight out of its link."""

    to: Network | None = None
    via: Address | None = None

    def families(self, of_endpoint: Sequence[Family]) -> Sequence[Family]:
        """Return the families that it is for: of a default route with no gateway, those `of_endpoint`."""
        given = self.to or self.via
        return of_endpoint if given is None else (family_of(given),)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A link on the parent called `parent`, with its `addresses`, in a network namespace of its own.

    `routes` None stands for default routes, as its mode needs them; `mtu` in bytes, None for the parent's.
    """

    name: str
    addresses: tuple[InterfaceAddress, ...]
    netns: str
    parent: str
    routes: tuple[Route, ...] | None = None
    mtu: int | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """A ping from `source` to `destination`; with `watch`, for that many seconds or until it is lost.

    `family` None: the first family that both have. `size` is the payload in bytes, sent unfragmented.
    `expect` overrides what physics predicts, for the reason `why`.
    """

    source: str
    destination: str
    watch: int | None = None
    expect: Outcome | None = None
    why: str = ""
    family: Family | None = None
    size: int | None = None
    count: int = PING_COUNT

    def __str__(self) -> str:
        """Return the check as reports name it."""
        size = "" if self.size is None else f", {self.size} bytes"
        return f"{self.source} -> {self.destination}{size}"


@dataclass(frozen=True, slots=True)
class AddAddress:
    """`endpoint` is given `address` too."""

    address: InterfaceAddress
    endpoint: str

    def __str__(self) -> str:
        """Return what is tried as reports name it."""
        return f"add {self.address} to {self.endpoint}"


@dataclass(frozen=True, slots=True)
class AddLink:
    """A link `name` is made on `parent` in the host's namespace; `mode` and `flag` None are left out."""

    name: str
    kind: Literal["ipvlan", "macvlan"]
    parent: str
    mode: Mode | None = None
    flag: Flag | None = None

    def __str__(self) -> str:
        """Return what is tried as reports name it."""
        words = (self.kind, self.mode or "", self.flag or "")
        return f"add {self.name}, {' '.join(filter(None, words))} on {self.parent}"


@dataclass(frozen=True, slots=True)
class DeleteLink:
    """The link that an AddLink made is deleted."""

    name: str

    def __str__(self) -> str:
        """Return what is tried as reports name it."""
        return f"delete {self.name}"


@dataclass(frozen=True, slots=True)
class SetMode:
    """`endpoint` is given a mode, from its own namespace."""

    endpoint: str
    mode: Mode

    def __str__(self) -> str:
        """Return what is tried as reports name it."""
        return f"set {self.endpoint} to {self.mode}"


@dataclass(frozen=True, slots=True)
class SetMtu:
    """A parent or an endpoint is given an MTU in bytes."""

    link: str
    mtu: int

    def __str__(self) -> str:
        """Return what is tried as reports name it."""
        return f"set {self.link}'s mtu to {self.mtu}"


Change = AddAddress | AddLink | DeleteLink | SetMode | SetMtu


@dataclass(frozen=True, slots=True)
class Attempt:
    """A change of which the kernel says yes or no; `expect` and `why` as in a Check."""

    change: Change
    expect: Outcome | None = None
    why: str = ""

    def __str__(self) -> str:
        """Return the attempt as reports name it."""
        return str(self.change)


@dataclass(frozen=True, slots=True)
class Act:
    """What happens at one point of a phase, side by side; attempts one after another.

    `hairpin` is whether the switch sends frames back to the port they came from; `port_security` are the
    roles whose addresses the switch lets through from the host's port; `wait` is in seconds.
    """

    checks: tuple[Check, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    announce: tuple[str, ...] = ()
    fast_ageing: tuple[str, ...] = ()
    flush: tuple[str, ...] = ()
    hairpin: bool | None = None
    port_security: tuple[str, ...] | None = None
    wait: int | None = None

    @property
    def changes(self) -> bool:
        """Whether it changes what a check would see."""
        others = (self.attempts, self.announce, self.fast_ageing, self.flush)
        return any(others) or any(x is not None for x in (self.hairpin, self.port_security, self.wait))


@dataclass(frozen=True, slots=True)
class Setting:
    """What the endpoints on a parent are in a phase; `mode` and `flag` are those of ipvlan.

    `host_shim`: whether the host has a link of its own on the parent, by which it reaches them;
    `shim_addresses` are that link's.
    """

    mode: Mode = "l2"
    flag: Flag = "bridge"
    kind: Kind = "ipvlan"
    strategy: Strategy = "none"
    host_shim: bool = False
    shim_addresses: tuple[Address, ...] = ()

    def __str__(self) -> str:
        """Return the setting as titles name it."""
        match self.kind:
            case "ipvlan":
                words = f"ipvlan in {self.mode} mode, flag {self.flag}"
            case "macvlan":
                words = f"macvlan in {self.flag} mode"
            case "veth":
                words = "veth on a bridge with the parent"
        if self.strategy != "none":
            words += f", strategy {self.strategy}"
        return f"{words}, host shim" if self.host_shim else words


@dataclass(frozen=True, slots=True)
class Phase:
    """A time in which the lab's `endpoints` have one setting; `others` are parents that differ."""

    name: str
    setting: Setting
    endpoints: tuple[str, ...]
    acts: tuple[Act, ...]
    others: tuple[tuple[str, Setting], ...] = ()

    def on(self, parent: str) -> Setting:
        """Return the setting of the endpoints on `parent`."""
        return dict(self.others).get(parent, self.setting)


@dataclass(frozen=True, slots=True)
class Lab:
    """A whole lab; raises InvalidLab where its parts do not fit together.

    `far` are the addresses of a host behind the gateway; `simulated` is whether ipvkit builds the network.
    """

    name: str
    about: str
    parents: tuple[Parent, ...]
    endpoints: tuple[Endpoint, ...]
    phases: tuple[Phase, ...]
    far: tuple[InterfaceAddress, ...] = ()
    simulated: bool = True

    def __post_init__(self) -> None:
        """Check what no single field can tell."""
        if not _SLUG.fullmatch(self.name):
            raise InvalidLab(f"{self.name!r} is no name for a lab", _SLUG_HINT, ("name",))
        if not self.about.isprintable():
            raise InvalidLab("what the lab is about has to be one line of text", _ONE_LINE, ("about",))
        for part in ("parents", "endpoints", "phases"):
            if not getattr(self, part):
                raise InvalidLab(f"{part}: at least one is needed", LAB_HINT, (part,))
        self._check_parents()
        self._check_names()
        self._check_mtus()
        self._check_routes()
        self._check_addresses()
        for position, phase in enumerate(self.phases):
            _check_phase(self, phase, ("phases", position))

    def _check_parents(self) -> None:
        _unique("parent", [(parent.name, ("parents", i)) for i, parent in enumerate(self.parents)])
        hardware = [parent.name for parent in self.parents if parent.vlan is None]
        for i, parent in enumerate(self.parents):
            path: Path = ("parents", i)
            if parent.name in KERNELS_OWN:
                raise InvalidLab(f"{parent.name} cannot be a parent", _RESERVED, path)
            if _is_hosts(parent.name):
                raise InvalidLab(f"a parent cannot be called {parent.name}", _RENAME, path)
            if (parent.link is None) != (parent.vlan is None):
                what = f"{parent.name}: a VLAN needs both `vlan`, its tag, and `link`, what it is on"
                raise InvalidLab(what, "write both, or none of them", path)
            if parent.link is not None:
                names = [other.name for other in self.parents]
                _known(parent.link, names, "parent, for the VLAN to be on", path)
                if parent.link not in hardware:
                    what = f"{parent.name} is on {parent.link}, which is a VLAN itself"
                    raise InvalidLab(what, f"there is {', '.join(hardware)}", path)
        tags = [(f"{p.link}.{p.vlan}", ("parents", i)) for i, p in enumerate(self.parents) if p.link]
        _unique("VLAN", tags)

    def _check_names(self) -> None:
        places: list[Path] = [("endpoints", i) for i in range(len(self.endpoints))]
        _unique("endpoint", [(e.name, at) for e, at in zip(self.endpoints, places, strict=True)])
        _unique("netns", [(e.netns, at) for e, at in zip(self.endpoints, places, strict=True)])
        parents = [parent.name for parent in self.parents]
        for endpoint, at in zip(self.endpoints, places, strict=True):
            if {endpoint.name, endpoint.netns} & {HOST, *PEERS, FAR, SWITCH}:
                hint = f"{HOST}, {GATEWAY}, {NEIGHBOUR}, {FAR} and {SWITCH} are other parts of every lab"
                raise InvalidLab(f"an endpoint cannot be called {endpoint.name}", hint, at)
            if endpoint.name in KERNELS_OWN:
                raise InvalidLab(f"an endpoint cannot be called {endpoint.name}", _RESERVED, at)
            if endpoint.name in parents:
                raise InvalidLab(f"endpoint and parent are both called {endpoint.name}", _RENAME, at)
            if _is_hosts(endpoint.name):
                raise InvalidLab(f"an endpoint cannot be called {endpoint.name}", _RENAME, at)
            _known(endpoint.parent, parents, f"parent of lab {self.name}", at)

    def _check_mtus(self) -> None:
        for i, e in enumerate(self.endpoints):
            if e.mtu is not None and e.mtu < IPV6_NEEDS and _has_ipv6([e]):
                what = f"{e.name}'s mtu {e.mtu} is too small for its IPv6 address"
                raise InvalidLab(what, f"IPv6 needs {IPV6_NEEDS} bytes", ("endpoints", i))

    def _check_routes(self) -> None:
        for i, endpoint in enumerate(self.endpoints):
            path: Path = ("endpoints", i, "routes")
            own = [address.network for address in endpoint.addresses]
            for route in endpoint.routes or ():
                if route.via is not None and not any(route.via in subnet for subnet in own):
                    what = f"{endpoint.name} has no subnet with {route.via} in it"
                    raise InvalidLab(what, "take a gateway that is near", path)
            has = {family_of(address) for address in endpoint.addresses}
            routes = [(f, r) for r in endpoint.routes or () for f in r.families(sorted(has))]
            _unique(f"route of {endpoint.name}", [(f"{f} {r.to or 'default'}", path) for f, r in routes])
            for family, route in routes:
                if family not in has:
                    what = f"{endpoint.name} has no {family} address for a route to {route.to or 'default'}"
                    raise InvalidLab(what, "give it one, or leave the route away", path)

    def _check_addresses(self) -> None:
        taken = list(self.addresses())
        _unique("address", [(str(a), at) for a, at in taken])
        if not self.simulated:
            return
        for i, parent in enumerate(self.parents):
            if not parent.host:
                raise InvalidLab("a simulated network needs the host's address", "give host", ("parents", i))
            for role in PEERS:
                for peer in parent.peer(role):
                    if parent.subnet_of(peer) is None:
                        what = f"{peer} is not in the host's subnet {_subnets(parent.host)}"
                        raise InvalidLab(what, "take one that is", ("parents", i, role))
        for address, at in taken:
            for subnet in (own.network for parent in self.parents for own in parent.host):
                if _is_special(address, subnet):
                    what = f"{address} is the subnet's own or its broadcast address, not a host's"
                    raise InvalidLab(what, f"take another one of {subnet}", at)
        for own in self.far:
            if not any(family_of(gw) == family_of(own) for parent in self.parents for gw in parent.gateway):
                raise InvalidLab(f"no gateway leads to {own}", "give one of its family", (FAR,))
            if own.network.num_addresses < 4:
                what = f"{own} has a subnet without room for the gateway"
                raise InvalidLab(what, "take a shorter prefix, such as /24 or /64", (FAR,))
        self._check_subnets()

    def addresses(self) -> Iterator[tuple[Address, Path]]:
        """Yield every address of the lab with its place."""
        for i, parent in enumerate(self.parents):
            for role in PEERS:
                yield from ((peer, ("parents", i, role)) for peer in parent.peer(role))
            yield from ((own.ip, ("parents", i, HOST)) for own in parent.host)
        yield from ((own.ip, (FAR,)) for own in self.far)
        for i, endpoint in enumerate(self.endpoints):
            yield from ((own.ip, ("endpoints", i)) for own in endpoint.addresses)

    def _check_subnets(self) -> None:
        """Refuse subnets of parents and of what is far that are not apart, and endpoints in a wrong one."""
        subnets: list[tuple[Network, Path, str]] = []
        for i, parent in enumerate(self.parents):
            subnets += [(own.network, ("parents", i), parent.name) for own in parent.host]
        subnets += [(own.network, (FAR,), FAR) for own in self.far]
        for at, (subnet, path, name) in enumerate(subnets):
            for other, _, others in subnets[:at]:
                if name != others and _overlap(subnet, other):
                    what = f"{name} and {others} have subnets that overlap: {subnet}, {other}"
                    raise InvalidLab(what, "take another subnet for one of them", path)
        for i, endpoint in enumerate(self.endpoints):
            for own in endpoint.addresses:
                for subnet, _, name in subnets:
                    if own.ip in subnet and name != endpoint.parent:
                        what = f"{own.ip} is in the subnet of {name}, not of {endpoint.name}'s own parent"
                        raise InvalidLab(what, f"{endpoint.name} is on {endpoint.parent}", ("endpoints", i))

    @property
    def parent(self) -> str:
        """The first parent's name."""
        return self.parents[0].name

    @property
    def routed(self) -> bool:
        """Whether the gateway leads somewhere: to other parents' networks, or to what is far."""
        return bool(self.far) or len(self.parents) > 1

    def parent_called(self, name: str) -> Parent:
        """Return the parent called `name`."""
        return next(parent for parent in self.parents if parent.name == name)

    def endpoint(self, name: str) -> Endpoint:
        """Return the endpoint called `name`."""
        return next(endpoint for endpoint in self.endpoints if endpoint.name == name)

    def is_endpoint(self, role: str) -> bool:
        """Return whether `role` is an endpoint's name."""
        return any(endpoint.name == role for endpoint in self.endpoints)

    def parent_of(self, check: Check) -> Parent:
        """Return the parent of a check's endpoint, the destination's before the source's.

        It decides whose gateway, neighbour and host a check means.
        """
        names = (check.destination, check.source)
        name = next(name for name in names if self.is_endpoint(name))
        return self.parent_called(self.endpoint(name).parent)

    def addresses_of(self, role: str, parent: Parent) -> tuple[Address, ...]:
        """Return the addresses of `role`; of the host and the peers, those in the network of `parent`."""
        if role == HOST:
            return tuple(own.ip for own in parent.host)
        if role in PEERS:
            return parent.peer(role)
        if role == FAR:
            return tuple(own.ip for own in self.far)
        return tuple(own.ip for own in self.endpoint(role).addresses)

    def pinged(self, check: Check) -> Address | None:
        """Return the address that `check` pings, or None where it is not known."""
        parent = self.parent_of(check)
        targets = self.addresses_of(check.destination, parent)
        wanted: Iterable[Family] = (check.family,) if check.family else FAMILIES
        source_has = {family_of(a) for a in self.addresses_of(check.source, parent)}
        both = [a for family in wanted for a in targets if family_of(a) == family and family in source_has]
        if both or self.simulated:
            return both[0] if both else None
        # On a real network the addresses of others are not all known.
        return next((a for family in wanted for a in targets if family_of(a) == family), None)


def on_parent(
    lab: Lab,
    parent: str,
    *,
    host: tuple[InterfaceAddress, ...] = (),
    addresses: Mapping[str, InterfaceAddress] | None = None,
    gateway: Address | None = None,
    neighbour: Address | None = None,
) -> Lab:
    """Return `lab` on a real NIC: no simulated network, and `addresses` for the endpoints named.

    Raise InvalidLab for a lab that has several parents.
    """
    if len(lab.parents) > 1:
        hint = "--parent is for labs with one; leave it away"
        raise InvalidLab(f"lab {lab.name} has {len(lab.parents)} parents", hint)
    given = dict(addresses or {})
    for name in given:
        _known(name, [endpoint.name for endpoint in lab.endpoints], f"endpoint of lab {lab.name}", ())
    endpoints = tuple(
        replace(e, parent=parent, addresses=(given[e.name],) if e.name in given else e.addresses)
        for e in lab.endpoints
    )
    real = Parent(parent, host, (gateway,) if gateway else (), (neighbour,) if neighbour else ())
    phases = tuple(_moved(phase, lab.parent, parent) for phase in lab.phases)
    return replace(lab, parents=(real,), endpoints=endpoints, phases=phases, simulated=False)


def _moved(phase: Phase, former: str, parent: str) -> Phase:
    """Return `phase`, of a lab with one parent, on another parent."""

    def moved(attempt: Attempt) -> Attempt:
        change = attempt.change
        if isinstance(change, AddLink):
            return replace(attempt, change=replace(change, parent=parent))
        if isinstance(change, SetMtu) and change.link == former:
            return replace(attempt, change=replace(change, link=parent))
        return attempt

    acts = tuple(replace(act, attempts=tuple(map(moved, act.attempts))) for act in phase.acts)
    return replace(phase, setting=phase.on(former), acts=acts, others=())


def default_routes(lab: Lab, setting: Setting, endpoint: Endpoint) -> tuple[tuple[Family, Route], ...]:
    """Return the routes of `endpoint` under `setting`, each with its family: its own, or default ones.

    By default all goes straight out of its link, as l3 wants it; in other modes through the gateway, where
    that leads somewhere and is in the endpoint's subnet.
    """
    has = [f for f in FAMILIES if any(family_of(own) == f for own in endpoint.addresses)]
    if endpoint.routes is not None:
        return tuple((family, route) for route in endpoint.routes for family in route.families(has))
    gateways = lab.parent_called(endpoint.parent).gateway if lab.routed else ()
    by_arp = setting.kind != "ipvlan" or setting.mode == "l2"
    found: list[tuple[Family, Route]] = []
    for family in has:
        own = [address.network for address in endpoint.addresses if family_of(address) == family]
        via = next((gw for gw in gateways if by_arp and any(gw in subnet for subnet in own)), None)
        found.append((family, Route(via=via)))
    return tuple(found)


def gateway_to_far(own: InterfaceAddress) -> Address:
    """Return the gateway's address in the network of the far host that has `own`."""
    first, second = own.network[1], own.network[2]
    return second if own.ip == first else first


def shim_name(position: int) -> str:
    """Return the name of the host's own link on the parent at `position`."""
    return SHIM if position == 0 else f"{SHIM}{position}"


def shim_addresses(lab: Lab, setting: Setting, parent: Parent) -> tuple[InterfaceAddress, ...]:
    """Return the addresses of the host's own link on `parent`: in l2 it needs some, to ask by ARP.

    Those that the lab names, or the last free ones of the parent's subnets.
    """
    if not setting.host_shim:
        return ()
    if setting.shim_addresses:
        return tuple(_single(address) for address in setting.shim_addresses)
    if setting.mode != "l2":
        return ()
    taken = {address for address, _ in lab.addresses()}
    found = []
    for subnet in (own.network for own in parent.host):
        last = min(subnet.num_addresses, 65536) - 2
        free = (subnet[number] for number in range(last, 0, -1) if subnet[number] not in taken)
        found += [_single(address) for address in islice(free, 1)]
    return tuple(found)


def _single(address: Address) -> InterfaceAddress:
    """Return `address` with the prefix length of one address."""
    return ip_interface((address, address.max_prefixlen))


def _check_phase(lab: Lab, phase: Phase, path: Path) -> None:
    if not _SLUG.fullmatch(phase.name):
        raise InvalidLab(f"{phase.name!r} is no name for a phase", _SLUG_HINT, path)
    if phase.name == LAN:
        raise InvalidLab(f"a phase cannot be called {LAN}", "that is the simulated network's name", path)
    _unique("phase", [(other.name, ("phases", i)) for i, other in enumerate(lab.phases)])
    chosen: Path = (*path, "endpoints")
    _unique(f"endpoint of phase {phase.name}", [(name, chosen) for name in phase.endpoints])
    for name in phase.endpoints:
        _known(name, [e.name for e in lab.endpoints], f"endpoint of phase {phase.name}", chosen)
    for name, _ in phase.others:
        _known(name, [parent.name for parent in lab.parents], f"parent of lab {lab.name}", (*path, "parents"))
    for parent in lab.parents:
        _check_setting(lab, phase, parent, path)
    used = {lab.endpoint(name).parent for name in phase.endpoints}
    if sum(phase.on(parent).kind == "veth" for parent in used) > 1:
        what = f"phase {phase.name}: the host has one bridge, and two parents cannot both be its ports"
        raise InvalidLab(what, "take another kind on one of them", path)
    for number, act in enumerate(phase.acts):
        _check_act(lab, phase, act, (*path, "do", number))


def _check_setting(lab: Lab, phase: Phase, parent: Parent, path: Path) -> None:
    """Refuse a strategy that cannot work on `parent` in this phase, with the reason."""
    setting = phase.on(parent.name)
    endpoints = [e for e in map(lab.endpoint, phase.endpoints) if e.parent == parent.name]
    if not endpoints:
        return
    where, leave = f"phase {phase.name}", "leave `strategy` and `host-shim` away"
    if parent.name in dict(phase.others):
        path = (*path, "parents", parent.name)
        where += f", parent {parent.name}"
        leave = f"write `strategy: none` and `host-shim: false` for {parent.name}"
    if setting.kind != "ipvlan" and (setting.strategy != "none" or setting.host_shim):
        what = f"{where}: strategies and the host shim are for ipvlan, and this is {setting.kind}"
        raise InvalidLab(what, leave, path)
    if setting.kind == "veth" and not lab.simulated:
        what = f"{where}: on a real parent ipvkit puts no bridge, as veth endpoints need"
        raise InvalidLab(what, "leave --parent away", path)
    if setting.kind == "veth" and (parent.vlan or any(p.link == parent.name for p in lab.parents)):
        what = f"{where}: a parent that has to do with VLANs cannot be a bridge's port here"
        raise InvalidLab(what, "take another kind than veth", path)
    _check_mtus(phase, setting, endpoints, path)
    for own in setting.shim_addresses:
        if any(own == taken for taken, _ in lab.addresses()):
            what = f"{where}: the shim cannot have {own}, which is somebody's"
            raise InvalidLab(what, "take a free one", path)
    if setting.host_shim and setting.strategy == "l3s-proxy":
        what = f"{where}: l3s-proxy and a host shim do not go together: both need the host's routes"
        raise InvalidLab(what, "keep one of the two", path)
    why_not = _why_not(setting, parent, [own for e in endpoints for own in e.addresses])
    if why_not:
        what = f"{where}: strategy {setting.strategy} cannot work in {setting.mode}: {why_not[0]}"
        raise InvalidLab(what, why_not[1] or leave, path)
    if setting.host_shim and setting.mode == "l2" and not lab.simulated and not setting.shim_addresses:
        what = f"{where}: in l2 the host shim needs an address of its own"
        raise InvalidLab(what, "name one that is free: `host-shim: 192.168.104.120`", path)


def _check_mtus(phase: Phase, setting: Setting, endpoints: list[Endpoint], path: Path) -> None:
    """Refuse what the kernel refuses of macvlan links, and not of ipvlan ones."""
    for e in endpoints:
        if setting.kind == "macvlan" and e.mtu is not None and e.mtu > DEFAULT_MTU:
            what = f"phase {phase.name}: {e.name}'s mtu {e.mtu} is above its parent's {DEFAULT_MTU}"
            raise InvalidLab(what, "the kernel refuses that of macvlan; take a smaller one", path)


def _why_not(setting: Setting, parent: Parent, own: list[InterfaceAddress]) -> tuple[str, str] | None:
    """Return why a strategy cannot work with these addresses of endpoints, and what to do."""
    inside = [a for a in own if parent.subnet_of(a.ip) is not None]
    match setting.strategy:
        case "none":
            return None
        case "routed":
            if inside:
                why = (
                    f"{inside[0].ip} is in the parent's own subnet, where peers ask by ARP and no route helps"
                )
                return why, "give the endpoints a subnet of their own"
            return None
        case _ if setting.mode == "l2":
            return "there the endpoints answer ARP themselves, and need no help", ""
        case "l3s-proxy":
            if setting.mode == "l3" and any(a.version == 4 for a in own):
                return "the kernel steers ARP away from the host, which so cannot answer", "take mode l3s"
        case "announce":
            if all(a.version == 6 for a in own):
                return "ARP is IPv4's, and these endpoints have IPv6 only", "take static-neigh or l3s-proxy"
        case "static-neigh":
            pass
    if parent.host and not inside and own:
        why = f"{own[0].ip} is not in the parent's subnet, so peers never look for it by ARP"
        return why, "take strategy routed"
    return None


def _check_act(lab: Lab, phase: Phase, act: Act, path: Path) -> None:
    if act.checks and act.changes:
        raise InvalidLab(
            f"phase {phase.name}: a check stands beside something that changes what it would see",
            "write them as two items, one after the other",
            path,
        )
    peers = [r for r in PEERS if any(p.peer(r) for p in lab.parents) or not lab.simulated]
    for name in act.announce:
        _known(name, phase.endpoints, f"endpoint of phase {phase.name}", (*path, "announce"))
        if all(own.version == 6 for own in lab.endpoint(name).addresses):
            what = f"{name} has no IPv4 address, and only those are announced by ARP"
            raise InvalidLab(what, "leave it away here", (*path, "announce"))
    for role in act.fast_ageing:
        _known(role, peers, "peer in this network", (*path, "fast-ageing"))
    for role in act.flush:
        at: Path = (*path, "flush")
        _known(role, (*peers, HOST, *phase.endpoints), "peer in this network and no endpoint", at)
    for role in act.port_security or ():
        _known(role, (HOST, *phase.endpoints), f"part of phase {phase.name}", (*path, "port-security"))
    for i, check in enumerate(act.checks):
        _check_check(lab, phase, check, (*path, "check", i))
    for i, attempt in enumerate(act.attempts):
        _check_attempt(lab, phase, attempt, (*path, "try", i))


def _check_check(lab: Lab, phase: Phase, check: Check, at: Path) -> None:
    ends = (check.source, check.destination)
    if not set(ends) & set(phase.endpoints):
        for role in ends:
            _known(role, (*phase.endpoints, HOST, *PEERS, FAR), f"part of phase {phase.name}", at)
        there = ", ".join(phase.endpoints)
        raise InvalidLab(f"{check}: one of the two has to be an endpoint", f"there is {there}", at)
    for role in ends:
        if role not in phase.endpoints and lab.is_endpoint(role):
            _known(role, (*phase.endpoints, HOST), f"part of phase {phase.name}", at)
    parent = lab.parent_of(check)
    peers = [r for r in PEERS if parent.peer(r) or not lab.simulated]
    here = (*phase.endpoints, HOST, *peers, *((FAR,) if lab.far else ()))
    for role in ends:
        if role in PEERS and role not in peers and any(other.peer(role) for other in lab.parents):
            raise InvalidLab(f"{check}: {parent.name} has no {role}", "give it one, or ask another", at)
        _known(role, here, f"part of phase {phase.name}", at)
    if check.source == check.destination:
        raise InvalidLab(f"{check}: nothing leaves the endpoint", "name another destination", at)
    if lab.simulated and lab.pinged(check) is None:
        lacking = [role for role in ends if not _has(lab.addresses_of(role, parent), check.family)]
        what = f"{' and '.join(lacking)} has no {check.family} address" if check.family else _NO_FAMILY
        raise InvalidLab(f"{check}: {what}", "give it one, or ask another", at)
    _check_why(check, at)


_NO_FAMILY = "the two have no address family in common"


def _has(addresses: Iterable[Address], family: Family | None) -> bool:
    return any(family in (None, family_of(address)) for address in addresses)


def _check_why(asked: Check | Attempt, at: Path) -> None:
    if not asked.why.isprintable():
        raise InvalidLab(f"{asked}: `why` has to be one line of text", _ONE_LINE, at)


def _check_attempt(lab: Lab, phase: Phase, attempt: Attempt, at: Path) -> None:
    _check_why(attempt, at)
    added = {c.name for a in phase.acts for t in a.attempts if isinstance(c := t.change, AddLink)}
    match attempt.change:
        case AddAddress(_, endpoint) | SetMode(endpoint, _):
            _known(endpoint, phase.endpoints, f"endpoint of phase {phase.name}", at)
        case AddLink(name, _, parent):
            _known(parent, [p.name for p in lab.parents], f"parent of lab {lab.name}", at)
            names = {e.name for e in lab.endpoints} | {p.name for p in lab.parents}
            if name in names | set(KERNELS_OWN) or _is_hosts(name):
                raise InvalidLab(f"{attempt}: the name is taken", _RENAME, at)
        case DeleteLink(name):
            _known(name, sorted(added), "link that this phase adds", at)
        case SetMtu(link, mtu):
            links = (*phase.endpoints, *(p.name for p in lab.parents))
            _known(link, links, f"endpoint of phase {phase.name} and no parent", at)
            if mtu < IPV6_NEEDS and _has_ipv6(lab.endpoints):
                what = (
                    f"{attempt}: a link with less than {IPV6_NEEDS} bytes loses its IPv6 addresses for good"
                )
                raise InvalidLab(what, "take more, or IPv4 endpoints only", at)
            if not lab.simulated and not lab.is_endpoint(link):
                raise InvalidLab(f"{attempt}: a real parent's MTU is left alone", "leave --parent away", at)


def _has_ipv6(endpoints: Iterable[Endpoint]) -> bool:
    return any(own.version == 6 for endpoint in endpoints for own in endpoint.addresses)


def _is_hosts(name: str) -> bool:
    """Return whether the host may get a link of that name: its bridge, its ports, its shims."""
    return name == HOSTS_BRIDGE or bool(_HOSTS_LINKS.fullmatch(name))


def _unique(what: str, names: Iterable[tuple[str, Path]]) -> None:
    seen: set[str] = set()
    for name, path in names:
        if name in seen:
            raise InvalidLab(f"{what} {name} is there twice", _RENAME, path)
        seen.add(name)


def _known(name: str, names: Iterable[str], what: str, path: Path) -> None:
    known = tuple(names)
    if name not in known:
        raise InvalidLab(f"{name!r} is no {what}", f"there is {', '.join(known) or 'none'}", path)


def _is_special(address: Address, subnet: Network) -> bool:
    """Return whether `address` is the subnet's own, or an IPv4 subnet's broadcast address."""
    if subnet.num_addresses <= 2 or address.version != subnet.version:
        return False
    own = address == subnet.network_address
    return own or (address.version == 4 and address == subnet.broadcast_address)


def _overlap(one: Network, other: Network) -> bool:
    return one.version == other.version and (one[0] in other or other[0] in one)


def _subnets(own: tuple[InterfaceAddress, ...]) -> str:
    return ", ".join(str(address.network) for address in own)
