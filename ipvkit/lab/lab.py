"""A whole lab, what follows from its parts, and what it is on a real parent."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_interface
from itertools import islice

from ipvkit.core.errors import InvalidLab
from ipvkit.core.values import Address, InterfaceAddress
from ipvkit.lab.parts import (
    BATCH_FROM,
    FAMILIES,
    FAR,
    HOST,
    PEERS,
    SHIM,
    AddLink,
    Attempt,
    Check,
    Endpoint,
    Family,
    Parent,
    Path,
    Phase,
    Route,
    SetMtu,
    Setting,
    Setup,
    family_of,
)
from ipvkit.lab.validity import check, known


@dataclass(frozen=True, slots=True)
class Lab:
    """A whole lab; raises InvalidLab where its parts do not fit together.

    `far` are the addresses of a host behind the gateway; `simulated` is whether ipvkit builds the network.
    `setup` None stands for stepwise, or batch from BATCH_FROM endpoints on. `at_once` is how many
    pings go on side by side at most, None for AT_ONCE. `taken` are all addresses in it.
    """

    name: str
    about: str
    parents: tuple[Parent, ...]
    endpoints: tuple[Endpoint, ...]
    phases: tuple[Phase, ...]
    far: tuple[InterfaceAddress, ...] = ()
    simulated: bool = True
    setup: Setup | None = None
    at_once: int | None = None
    taken: frozenset[Address] = field(init=False, repr=False, compare=False)
    _by_name: Mapping[str, Endpoint] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check what no single field can tell."""
        object.__setattr__(self, "_by_name", {endpoint.name: endpoint for endpoint in self.endpoints})
        object.__setattr__(self, "taken", frozenset(address for address, _ in self.addresses()))
        check(self)

    def addresses(self) -> Iterator[tuple[Address, Path]]:
        """Yield every address of the lab with its place."""
        for i, parent in enumerate(self.parents):
            for role in PEERS:
                yield from ((peer, ("parents", i, role)) for peer in parent.peer(role))
            yield from ((own.ip, ("parents", i, HOST)) for own in parent.host)
        yield from ((own.ip, (FAR,)) for own in self.far)
        for i, endpoint in enumerate(self.endpoints):
            yield from ((own.ip, ("endpoints", i)) for own in endpoint.addresses)

    @property
    def parent(self) -> str:
        """The first parent's name."""
        return self.parents[0].name

    @property
    def in_batches(self) -> bool:
        """Whether its endpoints are made in few processes."""
        return self.setup == "batch" or (self.setup is None and len(self.endpoints) >= BATCH_FROM)

    @property
    def routed(self) -> bool:
        """Whether the gateway leads somewhere: to other parents' networks, or to what is far."""
        return bool(self.far) or len(self.parents) > 1

    @property
    def has_ipvlan(self) -> bool:
        """Whether any of its links is ipvlan, which not every kernel has."""
        changes = (attempt.change for phase in self.phases for act in phase.acts for attempt in act.attempts)
        if any(isinstance(change, AddLink) and change.kind == "ipvlan" for change in changes):
            return True
        return any(phase.on(parent.name).kind == "ipvlan" for phase in self.phases for parent in self.parents)

    def parent_called(self, name: str) -> Parent:
        """Return the parent called `name`."""
        return next(parent for parent in self.parents if parent.name == name)

    def endpoint(self, name: str) -> Endpoint:
        """Return the endpoint called `name`."""
        return self._by_name[name]

    def is_endpoint(self, role: str) -> bool:
        """Return whether `role` is an endpoint's name."""
        return role in self._by_name

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
        known(name, [endpoint.name for endpoint in lab.endpoints], f"endpoint of lab {lab.name}", ())
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
    found = []
    for subnet in (own.network for own in parent.host):
        last = min(subnet.num_addresses, 65536) - 2
        free = (subnet[number] for number in range(last, 0, -1) if subnet[number] not in lab.taken)
        found += [_single(address) for address in islice(free, 1)]
    return tuple(found)


def _single(address: Address) -> InterfaceAddress:
    """Return `address` with the prefix length of one address."""
    return ip_interface((address, address.max_prefixlen))
