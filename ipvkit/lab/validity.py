"""What makes a lab one that can be built and asked: checked when it is made."""

import re
from collections.abc import Collection, Iterable

from ipvkit.core.errors import InvalidLab
from ipvkit.core.values import Address, InterfaceAddress, Network
from ipvkit.lab.model import Model
from ipvkit.lab.parts import (
    DEFAULT_MTU,
    FAR,
    GATEWAY,
    HOST,
    HOSTS_BRIDGE,
    IPV6_NEEDS,
    KERNELS_OWN,
    LAB_HINT,
    LAN,
    NEIGHBOUR,
    PEERS,
    PORT,
    SHIM,
    STRATEGIES,
    SWITCH,
    Act,
    AddAddress,
    AddLink,
    Attempt,
    Check,
    DeleteLink,
    Endpoint,
    Family,
    Parent,
    Path,
    Phase,
    SetMode,
    SetMtu,
    Setting,
    family_of,
)
from ipvkit.lab.prefixes import Prefixes

_RESERVED = "the kernel keeps lo, all and default for itself"
_RENAME = "take another one"
_ONE_LINE = "write it on one line, without tabs"
_SLUG = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_HOSTS_LINKS = re.compile(rf"({SHIM}|{PORT})[0-9]*")
_MOST_TOLD = 20
"""How many names a hint tells, where many would do."""

_SLUG_HINT = "small letters, digits and - are allowed, 63 of them at most"


def check(lab: Model) -> None:
    """Raise InvalidLab, with the place in the lab, where its parts do not fit together."""
    if not _SLUG.fullmatch(lab.name):
        raise InvalidLab(f"{lab.name!r} is no name for a lab", _SLUG_HINT, ("name",))
    if not lab.about.isprintable():
        raise InvalidLab("what the lab is about has to be one line of text", _ONE_LINE, ("about",))
    for part in ("parents", "endpoints", "phases"):
        if not getattr(lab, part):
            raise InvalidLab(f"{part}: at least one is needed", LAB_HINT, (part,))
    _check_parents(lab)
    _check_names(lab)
    _check_own_mtus(lab)
    _check_routes(lab)
    _check_addresses(lab)
    _unique("phase", [(phase.name, ("phases", i)) for i, phase in enumerate(lab.phases)])
    for position, phase in enumerate(lab.phases):
        _check_phase(lab, phase, ("phases", position))


def _check_parents(lab: Model) -> None:
    _unique("parent", [(parent.name, ("parents", i)) for i, parent in enumerate(lab.parents)])
    hardware = [parent.name for parent in lab.parents if parent.vlan is None]
    for i, parent in enumerate(lab.parents):
        path: Path = ("parents", i)
        if parent.name in KERNELS_OWN:
            raise InvalidLab(f"{parent.name} cannot be a parent", _RESERVED, path)
        if _is_hosts(parent.name):
            raise InvalidLab(f"a parent cannot be called {parent.name}", _RENAME, path)
        if (parent.link is None) != (parent.vlan is None):
            what = f"{parent.name}: a VLAN needs both `vlan`, its tag, and `link`, what it is on"
            raise InvalidLab(what, "write both, or none of them", path)
        if parent.link is not None:
            names = [other.name for other in lab.parents]
            known(parent.link, names, "parent, for the VLAN to be on", path)
            if parent.link not in hardware:
                what = f"{parent.name} is on {parent.link}, which is a VLAN itself"
                raise InvalidLab(what, f"there is {', '.join(hardware)}", path)
    tags = [(f"{p.link}.{p.vlan}", ("parents", i)) for i, p in enumerate(lab.parents) if p.link]
    _unique("VLAN", tags)


def _check_names(lab: Model) -> None:
    places: list[Path] = [("endpoints", i) for i in range(len(lab.endpoints))]
    _unique("endpoint", [(e.name, at) for e, at in zip(lab.endpoints, places, strict=True)])
    _unique("netns", [(e.netns, at) for e, at in zip(lab.endpoints, places, strict=True)])
    parents = [parent.name for parent in lab.parents]
    for endpoint, at in zip(lab.endpoints, places, strict=True):
        if {endpoint.name, endpoint.netns} & {HOST, *PEERS, FAR, SWITCH}:
            hint = f"{HOST}, {GATEWAY}, {NEIGHBOUR}, {FAR} and {SWITCH} are other parts of every lab"
            raise InvalidLab(f"an endpoint cannot be called {endpoint.name}", hint, at)
        if endpoint.name in KERNELS_OWN:
            raise InvalidLab(f"an endpoint cannot be called {endpoint.name}", _RESERVED, at)
        if endpoint.name in parents:
            raise InvalidLab(f"endpoint and parent are both called {endpoint.name}", _RENAME, at)
        if _is_hosts(endpoint.name):
            raise InvalidLab(f"an endpoint cannot be called {endpoint.name}", _RENAME, at)
        known(endpoint.parent, parents, f"parent of lab {lab.name}", at)


def _check_own_mtus(lab: Model) -> None:
    for i, e in enumerate(lab.endpoints):
        if e.mtu is not None and e.mtu < IPV6_NEEDS and _has_ipv6([e]):
            what = f"{e.name}'s mtu {e.mtu} is too small for its IPv6 address"
            raise InvalidLab(what, f"IPv6 needs {IPV6_NEEDS} bytes", ("endpoints", i))


def _check_routes(lab: Model) -> None:
    for i, endpoint in enumerate(lab.endpoints):
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


def _check_addresses(lab: Model) -> None:
    taken = list(lab.addresses())
    _unique("address", [(str(a), at) for a, at in taken])
    if not lab.simulated:
        return
    for i, parent in enumerate(lab.parents):
        if not parent.host:
            raise InvalidLab("a simulated network needs the host's address", "give host", ("parents", i))
        for role in PEERS:
            for peer in parent.peer(role):
                if parent.subnet_of(peer) is None:
                    what = f"{peer} is not in the host's subnet {_subnets(parent.host)}"
                    raise InvalidLab(what, "take one that is", ("parents", i, role))
    subnets = [own.network for parent in lab.parents for own in parent.host]
    special = {address: subnet for subnet in subnets for address in _special(subnet)}
    for address, at in taken:
        if address in special:
            what = f"{address} is the subnet's own or its broadcast address, not a host's"
            raise InvalidLab(what, f"take another one of {special[address]}", at)
    for own in lab.far:
        if not any(family_of(gw) == family_of(own) for parent in lab.parents for gw in parent.gateway):
            raise InvalidLab(f"no gateway leads to {own}", "give one of its family", (FAR,))
        if own.network.num_addresses < 4:
            what = f"{own} has a subnet without room for the gateway"
            raise InvalidLab(what, "take a shorter prefix, such as /24 or /64", (FAR,))
    _check_subnets(lab)


def _check_subnets(lab: Model) -> None:
    """Refuse subnets of parents and of what is far that are not apart, and endpoints in a wrong one."""
    subnets: list[tuple[Network, Path, str]] = []
    for i, parent in enumerate(lab.parents):
        subnets += [(own.network, ("parents", i), parent.name) for own in parent.host]
    subnets += [(own.network, (FAR,), FAR) for own in lab.far]
    positions = Prefixes([(subnet, position) for position, (subnet, _, _) in enumerate(subnets)])
    for at, (subnet, _, name) in enumerate(subnets):
        # Of two that overlap, one has the other's first address in it.
        for found in positions.containing(subnet.network_address):
            if subnets[found][2] != name:
                (other, _, others), (last, path, whose) = (subnets[i] for i in sorted((at, found)))
                what = f"{whose} and {others} have subnets that overlap: {last}, {other}"
                raise InvalidLab(what, "take another subnet for one of them", path)
    for i, endpoint in enumerate(lab.endpoints):
        for own in endpoint.addresses:
            for name in (subnets[found][2] for found in positions.containing(own.ip)):
                if name != endpoint.parent:
                    what = f"{own.ip} is in the subnet of {name}, not of {endpoint.name}'s own parent"
                    raise InvalidLab(what, f"{endpoint.name} is on {endpoint.parent}", ("endpoints", i))


def _check_phase(lab: Model, phase: Phase, path: Path) -> None:
    if not _SLUG.fullmatch(phase.name):
        raise InvalidLab(f"{phase.name!r} is no name for a phase", _SLUG_HINT, path)
    if phase.name == LAN:
        raise InvalidLab(f"a phase cannot be called {LAN}", "that is the simulated network's name", path)
    chosen: Path = (*path, "endpoints")
    _unique(f"endpoint of phase {phase.name}", [(name, chosen) for name in phase.endpoints])
    for name in phase.endpoints:
        if not lab.is_endpoint(name):
            known(name, [e.name for e in lab.endpoints], f"endpoint of phase {phase.name}", chosen)
    for name, _ in phase.others:
        known(name, [parent.name for parent in lab.parents], f"parent of lab {lab.name}", (*path, "parents"))
    for parent in lab.parents:
        _check_setting(lab, phase, parent, path)
    used = {lab.endpoint(name).parent for name in phase.endpoints}
    if sum(phase.on(parent).kind == "veth" for parent in used) > 1:
        what = f"phase {phase.name}: the host has one bridge, and two parents cannot both be its ports"
        raise InvalidLab(what, "take another kind on one of them", path)
    endpoints = dict.fromkeys(phase.endpoints)
    added = {c.name for act in phase.acts for t in act.attempts if isinstance(c := t.change, AddLink)}
    for number, act in enumerate(phase.acts):
        _check_act(lab, phase, endpoints, act, (*path, "do", number))
        for i, attempt in enumerate(act.attempts):
            _check_attempt(lab, phase, endpoints, added, attempt, (*path, "do", number, "try", i))


def _check_setting(lab: Model, phase: Phase, parent: Parent, path: Path) -> None:
    """Refuse a strategy that cannot work on `parent` in this phase, with the reason."""
    setting = phase.on(parent.name)
    known(setting.strategy, STRATEGIES, "strategy", path)
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
    for helper in setting.helpers:
        problem = helper.problem(lab.site(phase, parent))
        if problem is not None:
            raise InvalidLab(f"{where}: {problem[0]}", problem[1] or leave, path)


def _check_mtus(phase: Phase, setting: Setting, endpoints: list[Endpoint], path: Path) -> None:
    """Refuse what the kernel refuses of macvlan links, and not of ipvlan ones."""
    for e in endpoints:
        if setting.kind == "macvlan" and e.mtu is not None and e.mtu > DEFAULT_MTU:
            what = f"phase {phase.name}: {e.name}'s mtu {e.mtu} is above its parent's {DEFAULT_MTU}"
            raise InvalidLab(what, "the kernel refuses that of macvlan; take a smaller one", path)


def _check_act(lab: Model, phase: Phase, endpoints: Collection[str], act: Act, path: Path) -> None:
    if act.checks and act.changes:
        raise InvalidLab(
            f"phase {phase.name}: a check stands beside something that changes what it would see",
            "write them as two items, one after the other",
            path,
        )
    peers = tuple(r for r in PEERS if any(p.peer(r) for p in lab.parents) or not lab.simulated)
    for name in act.announce:
        known(name, endpoints, f"endpoint of phase {phase.name}", (*path, "announce"))
        if all(own.version == 6 for own in lab.endpoint(name).addresses):
            what = f"{name} has no IPv4 address, and only those are announced by ARP"
            raise InvalidLab(what, "leave it away here", (*path, "announce"))
    for role in act.fast_ageing:
        known(role, peers, "peer in this network", (*path, "fast-ageing"))
    for role in act.flush:
        at: Path = (*path, "flush")
        known(role, endpoints, "peer in this network and no endpoint", at, (*peers, HOST))
    for role in act.port_security or ():
        known(role, endpoints, f"part of phase {phase.name}", (*path, "port-security"), (HOST,))
    for i, check in enumerate(act.checks):
        _check_check(lab, phase, endpoints, check, (*path, "check", i))


def _check_check(lab: Model, phase: Phase, endpoints: Collection[str], check: Check, at: Path) -> None:
    ends = (check.source, check.destination)
    part = f"part of phase {phase.name}"
    if not any(role in endpoints for role in ends):
        for role in ends:
            known(role, endpoints, part, at, (HOST, *PEERS, FAR))
        there = ", ".join(phase.endpoints[:_MOST_TOLD])
        raise InvalidLab(f"{check}: one of the two has to be an endpoint", f"there is {there}", at)
    for role in ends:
        if role not in endpoints and lab.is_endpoint(role):
            known(role, endpoints, part, at, (HOST,))
    parent = lab.parent_of(check)
    peers = [r for r in PEERS if parent.peer(r) or not lab.simulated]
    others = (HOST, *peers, *((FAR,) if lab.far else ()))
    for role in ends:
        if role in PEERS and role not in peers and any(other.peer(role) for other in lab.parents):
            raise InvalidLab(f"{check}: {parent.name} has no {role}", "give it one, or ask another", at)
        known(role, endpoints, part, at, others)
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


def _check_attempt(
    lab: Model, phase: Phase, endpoints: Collection[str], added: set[str], attempt: Attempt, at: Path
) -> None:
    _check_why(attempt, at)
    parents = tuple(parent.name for parent in lab.parents)
    match attempt.change:
        case AddAddress(_, endpoint) | SetMode(endpoint, _):
            known(endpoint, endpoints, f"endpoint of phase {phase.name}", at)
        case AddLink(name, _, parent):
            known(parent, parents, f"parent of lab {lab.name}", at)
            if lab.is_endpoint(name) or name in (*parents, *KERNELS_OWN) or _is_hosts(name):
                raise InvalidLab(f"{attempt}: the name is taken", _RENAME, at)
        case DeleteLink(name):
            known(name, sorted(added), "link that this phase adds", at)
        case SetMtu(link, mtu):
            known(link, endpoints, f"endpoint of phase {phase.name} and no parent", at, parents)
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


def known(name: str, names: Collection[str], what: str, path: Path, others: tuple[str, ...] = ()) -> None:
    """Raise InvalidLab if `name` is none of `names` and `others`; they are told."""
    if name in names or name in others:
        return
    there = [*names, *others]
    more = f" and {len(there) - _MOST_TOLD} more" if len(there) > _MOST_TOLD else ""
    raise InvalidLab(
        f"{name!r} is no {what}", f"there is {', '.join(there[:_MOST_TOLD]) or 'none'}{more}", path
    )


def _special(subnet: Network) -> tuple[Address, ...]:
    """Return the subnet's own address and an IPv4 subnet's broadcast address, which no host can have."""
    if subnet.num_addresses <= 2:
        return ()
    own = (subnet.network_address,)
    return (*own, subnet.broadcast_address) if subnet.version == 4 else own


def _subnets(own: tuple[InterfaceAddress, ...]) -> str:
    return ", ".join(str(address.network) for address in own)
