"""What is deployed on one host: a phase of a lab without what happens in it, and the lab of a deployment."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from ipaddress import ip_network

from ipvkit.core.errors import InvalidLab
from ipvkit.core.values import Address, Network
from ipvkit.lab import Act, Endpoint, Family, Lab, Parent, Phase, Setting
from ipvkit.lab.around import checks_around, far_behind, free, name_for
from ipvkit.lab.parts import Route, family_of
from ipvkit.plan.lan import hosts_gateways
from ipvkit.tools.ip import RouteTo

DEFAULTS: dict[Family, Network] = {"ipv4": ip_network("0.0.0.0/0"), "ipv6": ip_network("::/0")}
"""The destination of a default route of each family."""

_VLAN = re.compile(r"(.+)\.([1-9][0-9]{0,2}|[1-3][0-9]{3}|40[0-8][0-9]|409[0-4])")
"""The usual name of a VLAN: its link's, and its tag, from 1 to 4094."""


@dataclass(frozen=True, slots=True)
class OnParent:
    """A parent, the setting of the links on it, and its endpoints, of which each route names a destination.

    The parent has its addresses, its VLAN and its gateway, as far as they are known, and no other host.
    `shim` is the name of the host's link on it, empty where there is none; `routes` are the host's default
    routes out of the parent.
    """

    parent: Parent
    setting: Setting
    endpoints: tuple[Endpoint, ...]
    shim: str = ""
    routes: tuple[RouteTo, ...] = ()


@dataclass(frozen=True, slots=True)
class Deployment:
    """What is on the parents of one host; `notes` are what a file leaves open, a line each.

    `below` are links without endpoints that VLANs among the parents are on.
    """

    name: str
    parents: tuple[OnParent, ...]
    notes: tuple[str, ...] = ()
    below: tuple[OnParent, ...] = ()

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """The endpoints on all parents."""
        return tuple(endpoint for on in self.parents for endpoint in on.endpoints)

    @property
    def of_host(self) -> tuple[OnParent, ...]:
        """The links that the host's own links are on, and VLANs, each after the one that it is on."""
        every = (*self.below, *self.parents)
        needed = (on for on in every if on.shim or on.parent.link or self.vlans_on(on))
        return tuple(sorted(needed, key=lambda on: on.parent.link is not None))

    def vlans_on(self, on: OnParent) -> tuple[Parent, ...]:
        """Return the VLANs among the parents that are on the link of `on`."""
        return tuple(other.parent for other in self.parents if other.parent.link == on.parent.name)


def of_phase(lab: Lab, phase: Phase) -> Deployment:
    """Return what `phase` has on each parent with endpoints; raise UsageError for several hosts."""
    lab.require_one_host("a format of another tool")
    every = [_of_parent(lab, phase, parent) for parent in lab.parents]
    parents = tuple(on for on in every if on.endpoints)
    links = {on.parent.link for on in parents}
    below = tuple(on for on in every if on not in parents and on.parent.name in links)
    return Deployment(lab.name, parents, below=below)


def _of_parent(lab: Lab, phase: Phase, parent: Parent) -> OnParent:
    setting = phase.on(parent.name)
    endpoints = tuple(_explicit(lab, setting, each) for each in lab.endpoints_of(phase, parent))
    shim = lab.shim_on(parent) if setting.host_shim and endpoints else ""
    addresses = tuple(own.ip for own in lab.shim_addresses(setting, parent))
    own = replace(parent, neighbour=(), hosts=(), altnames=())
    routes = tuple(hosts_gateways(lab, parent, parent.name))
    return OnParent(own, replace(setting, shim_addresses=addresses), endpoints, shim, routes)


def _explicit(lab: Lab, setting: Setting, endpoint: Endpoint) -> Endpoint:
    """Return `endpoint` with the routes that it has, each with its destination."""
    given = lab.default_routes(setting, endpoint)
    routes = (replace(route, to=route.to or DEFAULTS[family]) for family, route in given)
    return replace(endpoint, routes=tuple(dict.fromkeys(routes)))


def on_parent(
    name: str, setting: Setting, endpoints: Iterable[Endpoint], gateway: Iterable[Address] = ()
) -> OnParent:
    """Return what is on the parent called `name`; its subnets are those of its `endpoints`.

    A name such as eth0.30 is that of VLAN 30 on eth0. What default routes are via is a gateway too.
    """
    every = tuple(replace(endpoint, parent=name) for endpoint in endpoints)
    routes = (route for endpoint in every for route in endpoint.routes or () if route.to in DEFAULTS.values())
    gateways = dict.fromkeys((*gateway, *(route.via for route in routes if route.via)))
    subnets = dict.fromkeys(own.network for endpoint in every for own in endpoint.addresses)
    link, tag = vlan_called(name)
    return OnParent(
        Parent(name, gateway=tuple(gateways), link=link, vlan=tag, others=tuple(subnets)), setting, every
    )


def vlan_called(name: str) -> tuple[str, int] | tuple[None, None]:
    """Return the link and the tag of the VLAN that is usually called `name`.

    >>> vlan_called("eth0.30")
    ('eth0', 30)
    """
    vlan = _VLAN.fullmatch(name)
    return (vlan[1], int(vlan[2])) if vlan else (None, None)


def merged(found: Iterable[tuple[str, OnParent]]) -> tuple[OnParent, ...]:
    """Return what was found on each parent in one piece; each piece comes after its name in the files.

    Raise InvalidLab where two pieces give the links on one parent different modes or flags.
    """
    there: dict[str, tuple[str, OnParent]] = {}
    for name, on in found:
        parent = on.parent
        if parent.name not in there:
            there[parent.name] = name, on
            continue
        first, former = there[parent.name]
        check_same(parent.name, (first, former.setting), (name, on.setting))
        every = (
            tuple(dict.fromkeys((*getattr(former.parent, part), *getattr(parent, part))))
            for part in ("host", "gateway", "others")
        )
        host, gateway, others = every
        both = replace(former.parent, host=host, gateway=gateway, others=others)
        there[parent.name] = first, OnParent(both, on.setting, (*former.endpoints, *on.endpoints))
    return tuple(on for _, on in there.values())


def check_same(parent: str, one: tuple[str, Setting], other: tuple[str, Setting]) -> None:
    """Raise InvalidLab where two links on `parent`, each a name and its setting, cannot both be there."""
    if one[1] != other[1]:
        what = f"{one[0]} is {one[1]}, and {other[0]} is {other[1]}, both on {parent}"
        hint = "all links on a parent have one mode and one flag: the last to be created sets the others'"
        raise InvalidLab(what, hint)


def lab_of(deployment: Deployment) -> tuple[Lab, tuple[str, ...]]:
    """Return the lab of `deployment`, with checks, and what the files leave open, a line each.

    Where they do not name the address of the host, the gateway or another host, it is a free one. Raise
    InvalidLab where a lab cannot have what is there.
    """
    usual_ones = (_usual(each, on.setting) for on in deployment.parents for each in on.endpoints)
    endpoints = tuple(_named(usual_ones, [on.parent.name for on in deployment.parents]))
    taken = {own.ip for endpoint in endpoints for own in endpoint.addresses}
    every = (*deployment.below, *deployment.parents)
    for on in every:
        taken.update(on.parent.gateway, (own.ip for own in on.parent.host), on.setting.shim_addresses)
    notes = [*deployment.notes]
    there = {on.parent.name for on in every}
    parents = []
    for parent in (on.parent for on in every):
        if parent.link is not None and parent.link not in there:
            # A lab knows no parent without a subnet.
            notes.append(f"{parent.name}, a VLAN, is written as an ordinary NIC")
            parent = replace(parent, link=None, vlan=None)
        parents.append(_with_hosts(_with_subnets(parent, notes), taken, notes))
    settings = [(on.parent.name, on.setting) for on in deployment.parents]
    usual = settings[0][1]
    others = tuple((name, setting) for name, setting in settings if setting != usual)
    phase = Phase("deployed", usual, tuple(endpoint.name for endpoint in endpoints), (Act(),), others)
    gateways = {gateway for on in deployment.parents for gateway in on.parent.gateway}
    far = tuple(far_behind(parents, gateways))
    about = f"what {deployment.name} deploys"
    lab = Lab(deployment.name, about, tuple(parents), endpoints, (phase,), far)
    for on in (on for on in deployment.parents if on.shim):
        name = lab.shim_on(lab.parent_called(on.parent.name))
        what = f"{on.shim}, the host's link on {on.parent.name}, is called {name}"
        notes += [what] if on.shim != name else []
    phase = replace(phase, acts=(Act(checks=tuple(checks_around(lab, lab.taken))),))
    return replace(lab, phases=(phase,)), tuple(notes)


def _with_subnets(parent: Parent, notes: list[str]) -> Parent:
    """Return `parent` with a subnet of usual size for addresses that have a whole prefix, such as /32."""
    found: list[Network] = []
    for network in sorted(parent.others, key=lambda network: network.prefixlen):
        if network.prefixlen < network.max_prefixlen:
            found.append(network)
        elif not any(network[0] in known for known in (*(own.network for own in parent.host), *found)):
            found.append(network.supernet(new_prefix=24 if network.version == 4 else 64))
            what = f"the subnet of {network[0]} on {parent.name} is in no file"
            notes.append(f"{what}; {found[-1]} is a usual one")
    return replace(parent, others=tuple(found))


def _with_hosts(parent: Parent, taken: set[Address], notes: list[str]) -> Parent:
    """Return `parent` with a gateway, a neighbour and an address of the host; unknown ones are free ones."""
    gateway = parent.gateway or tuple(free(parent, taken))
    host = parent.host or tuple(map(parent.beside, free(parent, taken)))
    for role, known, found in (
        ("the gateway", parent.gateway, gateway),
        ("the host", parent.host, [own.ip for own in host]),
    ):
        if not known:
            there = " and ".join(map(str, found))
            notes.append(f"{role}'s address on {parent.name} is in no file; {there} is a free one")
    own = {address.network for address in host}
    others = tuple(network for network in parent.others if network not in own)
    whole = replace(parent, host=host, gateway=gateway, others=others)
    return replace(whole, neighbour=tuple(free(whole, taken)))


def _named(endpoints: Iterable[Endpoint], taken: Iterable[str]) -> Iterator[Endpoint]:
    """Yield `endpoints` with names that a lab can give them, and none of those that are `taken`."""
    names = {*taken}
    for endpoint in endpoints:
        name = name_for(endpoint.name, names)
        names.add(name)
        yield replace(endpoint, name=name)


def _usual(endpoint: Endpoint, setting: Setting) -> Endpoint:
    """Return `endpoint` with default routes without a destination, as a lab has them, where that will do.

    In l3 and l3s, without any where they are all straight out of the link: a lab has these by default.
    """
    if endpoint.routes is None:
        return endpoint
    routes, defaults = endpoint.routes, DEFAULTS.values()
    direct = {route.to for route in routes if route.to in defaults and not route.via}
    both = direct == {DEFAULTS[family_of(own)] for own in endpoint.addresses}
    usual = (replace(r, to=None) if r.to in defaults and (r.via or both) else r for r in routes)
    found = tuple(dict.fromkeys(usual))
    return replace(endpoint, routes=None if found == (Route(),) and setting.mode != "l2" else found)
