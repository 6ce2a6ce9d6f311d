"""Deployments that a format can say, and what of a deployment is in its files."""

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_interface, ip_network
from typing import Any

from hypothesis import assume
from hypothesis import strategies as st

from ipvkit.core.values import Network
from ipvkit.formats.base import Format, beyond
from ipvkit.formats.deployment import DEFAULTS, Deployment, OnParent, on_parent
from ipvkit.lab import Endpoint, Parent, Setting
from ipvkit.lab.fields import Source
from ipvkit.lab.parts import Route, family_of
from ipvkit.strategies import BY_NAME
from ipvkit.tools.ip import RouteTo

NAMES = st.from_regex(r"[a-z][a-z0-9]{0,9}(-[a-z0-9]{1,3})?", fullmatch=True)
PARENTS = st.sampled_from(["eth0", "eth0.30", "enp3s0", "bond0.4094"])
SUBNETS = (
    {"ipv4": ip_network("10.5.0.0/24"), "ipv6": ip_network("fd00:5::/64")},
    {"ipv4": ip_network("192.168.104.0/22"), "ipv6": ip_network("2001:db8:104::/80")},
)
"""The subnets of the first parent, and of the second."""
BELOW = (ip_network("172.16.0.0/24"), ip_network("172.17.0.0/24"))
"""The subnets of links that VLANs are on."""
ELSEWHERE = {
    "ipv4": (ip_network("198.51.100.0/24"), ip_network("203.0.113.7/32")),
    "ipv6": (ip_network("2001:db8:fa::/48"),),
}


_FAMILIES = st.sampled_from([("ipv4",), ("ipv4", "ipv6"), ("ipv6",)])
_DEFAULT = st.sampled_from(["none", "direct", "via"])
"""The families of an endpoint, and its default route of each."""


@st.composite
def _endpoint(
    draw: st.DrawFn, name: str, number: int, parent: int, form: Format, usual: tuple[Any, Any] | None
) -> Endpoint:
    """Draw an endpoint, with the `usual` families and default routes of its parent, if there are any."""
    families = usual[0] if usual else draw(_FAMILIES)
    each = 2 if form.limits.several and draw(st.booleans()) else 1
    addresses, routes = [], []
    for family in families:
        subnet = SUBNETS[parent][family]
        own = [ip_interface((subnet[10 * number + i + 11], subnet.prefixlen)) for i in range(each)]
        addresses += own
        default = usual[1] if usual else draw(_DEFAULT)
        if default != "none":
            direct = default == "direct" and form.limits.routes != "via"
            routes.append(Route(DEFAULTS[family_of(own[0])], None if direct else subnet[1]))
        vias = [subnet[1]] if form.limits.routes == "via" else [None, subnet[1]]
        if form.limits.routes != "default":
            others = draw(st.lists(st.sampled_from(ELSEWHERE[family]), unique=True, max_size=2))
            routes += [Route(to, draw(st.sampled_from(vias))) for to in others]
    mtu = draw(st.sampled_from([None, 1400, 9000])) if form.limits.mtu else None
    return Endpoint(name, tuple(addresses), name, "", tuple(routes), mtu, dev="eth0")


@st.composite
def _on_host(draw: st.DrawFn, on: OnParent, number: int, subnets: Sequence[Network]) -> OnParent:
    """Draw what the host has on a parent: its addresses, default routes, and a link called shimN or none."""
    host = tuple(ip_interface((subnet[2], subnet.prefixlen)) for subnet in subnets)
    metrics = draw(st.sampled_from([None, 100, 4000]))
    vias = draw(st.lists(st.sampled_from([subnet[1] for subnet in subnets]), unique=True))
    routes = tuple(RouteTo(via=via, dev=on.parent.name, metric=metrics) for via in vias)
    parent = replace(on.parent, host=host, gateway=tuple(vias), others=())
    if not on.endpoints or not draw(st.booleans()):
        return replace(on, parent=parent, routes=routes)
    own = draw(st.lists(st.sampled_from([subnet[99] for subnet in subnets]), unique=True))
    setting = replace(on.setting, host_shim=True, shim_addresses=tuple(own))
    return replace(on, parent=parent, setting=setting, shim=f"iv{number}", routes=routes)


def _of_incus(setting: Setting, endpoints: Sequence[Endpoint]) -> tuple[Setting, list[Endpoint]]:
    """Return what Incus can say: in l2 gateways, in l3s the proxy and addresses with a whole prefix."""
    direct = setting.mode == "l3s"
    found = []
    for endpoint in endpoints:
        gateways = {own.version: own.network[1] for own in endpoint.addresses}
        defaults = [to for to in (route.to for route in endpoint.routes or ()) if to is not None]
        routes = tuple(Route(to, None if direct else gateways[to.version]) for to in defaults)
        own = tuple(ip_interface(each.ip) if direct else each for each in endpoint.addresses)
        found.append(replace(endpoint, addresses=own, routes=routes))
    return replace(setting, strategy="l3s-proxy" if direct else "none"), found


@st.composite
def deployments(draw: st.DrawFn, form: Format) -> Deployment:
    """Draw a deployment that `form` can say, whose endpoints have the names of their namespaces."""
    names = iter(draw(st.lists(NAMES, min_size=1, max_size=4, unique=True)))
    parents = draw(st.lists(PARENTS, min_size=1, max_size=2, unique=True))
    usual = [draw(st.none() | st.tuples(_FAMILIES, _DEFAULT)) for _ in parents]
    every = []
    for number, name in enumerate(names):
        place = draw(st.integers(0, len(parents) - 1))
        every.append((parents[place], draw(_endpoint(name, number, place, form, usual[place]))))
    found = []
    for parent in parents:
        limits = form.limits
        mode = draw(st.sampled_from(limits.modes))
        strategies = [name for name in limits.strategies if mode in BY_NAME[name].modes]
        flag, strategy = draw(st.sampled_from(limits.flags)), draw(st.sampled_from(strategies))
        setting = Setting(mode, flag, strategy=strategy)
        own = [endpoint for on, endpoint in every if on == parent]
        if form.name == "incus":
            setting, own = _of_incus(setting, own)
        found += [on_parent(parent, setting, own)] if own else []
    deployment = Deployment("drawn", tuple(found))
    if form.limits.place == "host":
        chosen = [[*SUBNETS[parents.index(on.parent.name)].values()] for on in found]
        of_host = [draw(_on_host(on, i, own)) for i, (on, own) in enumerate(zip(found, chosen, strict=True))]
        links = {on.parent.link for on in found if on.parent.link} - {on.parent.name for on in found}
        lower = (OnParent(Parent(name), Setting(), ()) for name in sorted(links))
        below = tuple(draw(_on_host(on, 0, [own])) for on, own in zip(lower, BELOW, strict=False))
        deployment = replace(deployment, parents=tuple(of_host), below=below)
        assume(any(on.shim or on.parent.link for on in of_host))
    assume(not [*beyond(deployment, form.limits), *form.beyond(deployment)])
    return deployment


def said(deployment: Deployment, form: Format) -> Sequence[object]:
    """Return what of a deployment is in files: without notes, and in an order that no tool keeps."""
    if form.limits.place == "host":
        return sorted(map(_said_of_host, deployment.of_host), key=lambda each: each[0].name)
    return sorted(map(_said, deployment.parents), key=lambda on: on.parent.name)


def _said(on: OnParent) -> OnParent:
    endpoints = sorted(on.endpoints, key=lambda endpoint: endpoint.name)
    routes = (tuple(sorted(endpoint.routes or (), key=str)) for endpoint in endpoints)
    own = (replace(e, routes=r, dev="eth0") for e, r in zip(endpoints, routes, strict=True))
    # A gateway and a subnet that no endpoint is in are what some formats name, and others do not.
    return on_parent(on.parent.name, on.setting, own)


def _said_of_host(on: OnParent) -> tuple[Parent, str, Setting | None, tuple[RouteTo, ...], list[str]]:
    """Return a parent, and the host's link on it, with the addresses to which it has routes."""
    routes = tuple(sorted(on.routes, key=str))
    parent = replace(on.parent, gateway=tuple(to.via for to in routes if to.via))
    own = [str(own.ip) for endpoint in on.endpoints for own in endpoint.addresses if on.shim]
    addresses = tuple(sorted(on.setting.shim_addresses, key=str))
    setting = replace(on.setting, shim_addresses=addresses) if on.shim else None
    return parent, on.shim, setting, routes, sorted(own)


def sources(deployment: Deployment, form: Format) -> list[Source]:
    """Return the files that `form` writes of a deployment, as they are read."""
    return [Source(file.path, file.text) for file in form.written(deployment).files]
