"""What formats of the host's links share: the deployment of the links that their files create."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ipvkit.core.errors import InvalidLab, UsageError
from ipvkit.core.values import Address, InterfaceAddress, Network, address, is_link_local
from ipvkit.formats.deployment import Deployment, OnParent, check_same, vlan_called
from ipvkit.lab import Endpoint, Parent, Setting
from ipvkit.tools.ip import RouteTo

Gateway = tuple[Address, int | None]
"""The gateway of a default route, and the metric of that."""


@dataclass(frozen=True, slots=True)
class HostLink:
    """A link of the host, which is defined at `place`, a file with a line.

    `setting` is that of an ipvlan link, `vlan` the tag of a VLAN; these two are on the link `lower`.
    `gateways` are those of its default routes; `routes` are the networks that it has other routes to, without
    a gateway, each after its place.
    """

    name: str
    place: str
    lower: str = ""
    setting: Setting | None = None
    vlan: int | None = None
    addresses: tuple[InterfaceAddress, ...] = ()
    gateways: tuple[Gateway, ...] = ()
    routes: tuple[tuple[str, Network], ...] = ()


def deployed(name: str, links: Sequence[HostLink], notes: list[str]) -> Deployment:
    """Return what is deployed by a host with these links; what they leave open is added to `notes`.

    An endpoint is where an ipvlan link of the host has a route to. Raise InvalidLab where there is neither
    such a link nor a VLAN, or no subnet of its parent.
    """
    known = {link.name: link for link in links}
    upper: dict[str, list[HostLink]] = {link.name: [] for link in links if link.vlan is not None}
    for link in links:
        if link.setting is not None:
            upper.setdefault(link.lower, []).append(link)
    if not upper:
        hint = "; ".join((*notes, "add the file that creates one"))
        raise InvalidLab("no ipvlan link and no VLAN is in these files", hint)
    taken = {own.ip for link in links for own in link.addresses}
    taken.update(gateway for link in links for gateway, _ in link.gateways)
    taken.update(to[0] for link in links for _, to in link.routes if _is_host(to))
    examples = _Examples(notes, taken)
    found = [_on(known.get(parent, HostLink(parent, "")), shims, examples) for parent, shims in upper.items()]
    parents = tuple(on for on in found if on is not None)
    lower = {on.parent.link for on in parents if on.parent.link} - {on.parent.name for on in parents}
    below = (_below(known[name]) for name in sorted(lower) if name in known)
    return Deployment(name, parents, tuple(notes), tuple(on for on in below if on.parent.host))


def _is_host(network: Network) -> bool:
    return network.prefixlen == network.max_prefixlen


@dataclass(slots=True)
class _Examples:
    """Endpoints that stand for those that are in no file; `taken` are addresses that they cannot have."""

    notes: list[str]
    taken: set[Address]
    count: int = 0

    def endpoint(self, parent: Parent, own: Address) -> Endpoint:
        """Return the next endpoint, with the address `own`."""
        self.count += 1
        name = f"endpoint{self.count}"
        return Endpoint(name, (parent.beside(own),), name, parent.name)

    def free(self, parent: Parent, network: Network, why: str) -> Iterator[Endpoint]:
        """Yield an endpoint with a free address of `network`, if there is one, and note `why`."""
        own = next((own for own in network.hosts() if own not in self.taken), None)
        if own is not None:
            self.taken.add(own)
            found = self.endpoint(parent, own)
            self.notes.append(f"{why}; {found.name} at {own} is an example")
            yield found


def _on(own: HostLink, shims: Sequence[HostLink], examples: _Examples) -> OnParent | None:
    """Return what is on the link `own`, or None where it is a VLAN of which no subnet is known."""
    settings = [(shim.name, shim.setting) for shim in shims if shim.setting is not None]
    for shim, other in zip(shims[1:], settings[1:], strict=True):
        check_same(own.name, settings[0], other)
        examples.notes.append(f"{shim.place}: {shim.name} is on {own.name} too; a lab has one such link")
    parent = _parent(own, shims, examples.notes)
    on = replace(_below(own), parent=parent)
    if not parent.subnets:
        what = f"no address and no subnet of {own.name} is in these files"
        if shims:
            hint = "add the file with an address of it, or write one in place of DHCP"
            raise InvalidLab(f"{shims[0].place}: {what}", hint)
        examples.notes.append(f"{own.place}: {what}: it is left out")
        return None
    if not shims:
        why = f"no ipvlan link is on {own.name}"
        return replace(on, endpoints=tuple(examples.free(parent, parent.subnets[0], why)))
    routes = {to: place for shim in shims for place, to in shim.routes}
    endpoints = [each for to, place in routes.items() for each in _endpoints(parent, place, to, examples)]
    if not endpoints:
        why = f"no route out of {' and '.join(shim.name for shim in shims)} leads to an endpoint"
        endpoints = [*examples.free(parent, parent.subnets[0], why)]
    (name, setting), *_ = settings
    addresses = tuple(dict.fromkeys(own.ip for shim in shims for own in shim.addresses))
    setting = replace(setting, shim_addresses=addresses)
    return replace(on, setting=setting, endpoints=tuple(endpoints), shim=name)


def _parent(own: HostLink, shims: Sequence[HostLink], notes: list[str]) -> Parent:
    """Return the parent, with the subnets and gateways that its links name."""
    link, tag = (own.lower, own.vlan) if own.vlan is not None else vlan_called(own.name)
    subnets: list[Network] = []
    for shim in shims:
        for network in (*(own.network for own in shim.addresses), *(to for _, to in shim.routes)):
            there = (*(own.network for own in own.addresses), *subnets)
            if (
                not _is_host(network)
                and network.prefixlen
                and not any(network.network_address in each for each in there)
            ):
                subnets.append(network)
    every = [gateway for each in (own, *shims) for gateway, _ in each.gateways]
    parent = Parent(own.name, own.addresses, link=link, vlan=tag, others=tuple(subnets))
    near = [gw for gw in dict.fromkeys(every) if is_link_local(gw) or parent.subnet_of(gw)]
    notes += [f"{own.name}: {gw} is in no subnet of it, and left out" for gw in every if gw not in near]
    return replace(parent, gateway=tuple(near))


def _below(own: HostLink) -> OnParent:
    """Return a link of the host without what is on it."""
    parent = _parent(own, (), [])
    routes = (
        RouteTo(via=gw, dev=own.name, metric=metric) for gw, metric in own.gateways if gw in parent.gateway
    )
    return OnParent(parent, Setting(), (), routes=tuple(routes))


def _endpoints(parent: Parent, place: str, to: Network, examples: _Examples) -> Iterator[Endpoint]:
    """Yield an endpoint for a route out of a link of the host, if it leads to one."""
    if not to.prefixlen or not _is_unicast(to[0 if _is_host(to) else 1]):
        examples.notes.append(f"{place}: the route to {to} is left out")
    elif _is_host(to):
        yield examples.endpoint(parent, to[0])
    else:
        yield from examples.free(parent, to, f"{place}: the route to {to} names no single endpoint")


def _is_unicast(own: Address) -> bool:
    try:
        return address(str(own)) == own
    except UsageError:
        return False
