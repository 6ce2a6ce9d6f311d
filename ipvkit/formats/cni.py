"""CNI: a conf or conflist with the plugin ipvlan, and Multus's NetworkAttachmentDefinition.

Source: plugins/main/ipvlan/ipvlan.go, and cni.dev on the plugins static and host-local.
"""

import re
import shlex
from collections.abc import Iterator, Sequence
from ipaddress import ip_interface
from itertools import islice
from typing import Any

from ipvkit.core.errors import InvalidLab
from ipvkit.core.values import (
    Address,
    InterfaceAddress,
    any_address,
    interface_address,
    interface_name,
    network,
)
from ipvkit.formats.base import File, Format, Limits, Written
from ipvkit.formats.deployment import Deployment, OnParent, merged, on_parent
from ipvkit.formats.texts import as_json, documents, inside, vlans
from ipvkit.lab import Endpoint, Setting
from ipvkit.lab.fields import Field, Source
from ipvkit.lab.parts import MODES, Route
from ipvkit.tools import ip

_WHAT, _HINT = (
    "CNI configuration",
    "https://www.cni.dev/plugins/current/main/ipvlan/ shows what it looks like",
)
_FOLDER, _PLUGIN = "/etc/cni/net.d", "/usr/lib/cni/ipvlan"
_VERSION = "1.0.0"
_LINK = "eth0"
"""What runtimes call the link of a container."""

_KNOWN = ("cniVersion", "name", "type", "master", "mode", "mtu", "ipam", "dns", "linkContainer", "plugins")
"""The keys of a configuration with the plugin; it ignores all others."""

_LEAST = 4
"""The fewest addresses of a subnet from which host-local gives some (its range.go)."""

_EXAMPLES = 2
"""How many endpoints stand for those that get an address at run time."""


def recognises(text: str) -> bool:
    """Return whether `text` names the version of CNI, or is one of Multus's definitions."""
    return re.search(r"\bcniVersion\b|\bNetworkAttachmentDefinition\b", text) is not None


def read(sources: Sequence[Source]) -> Deployment:
    """Return what the plugin would create, an endpoint for each configuration; others are left out."""
    notes: list[str] = []
    every = [each for source in sources for each in _of_file(source, notes)]
    found = [each for each in every if not isinstance(each, InvalidLab)]
    others = [each for each in every if isinstance(each, InvalidLab)]
    if not found and others:
        raise others[0]
    notes += (f"{other.message}: it is left out" for other in others)
    return Deployment("cni", merged(found), tuple(notes))


_Found = tuple[str, OnParent] | InvalidLab
"""The name of a configuration and what it creates, or why it is none of the plugin."""


def _of_file(source: Source, notes: list[str]) -> Iterator[_Found]:
    for document in documents(source, _WHAT, _HINT):
        pairs = document.pairs(_HINT)
        if "kind" not in pairs:
            yield _network(document, None, notes)
            continue
        kind = pairs["kind"][1]
        if kind.text() != "NetworkAttachmentDefinition":
            yield kind.wrong(f"unknown kind {kind.text()}", "a NetworkAttachmentDefinition is needed")
            continue
        name = _at(document, "metadata", "name")
        yield _network(inside(_at(document, "spec", "config"), _WHAT, _HINT), name.text(), notes)


def _at(field: Field, *keys: str) -> Field:
    """Return the value at `keys` in mappings; raise InvalidLab where one is missing."""
    for key in keys:
        pairs = field.pairs(_HINT)
        if key not in pairs:
            raise field.missing(key)
        field = pairs[key][1]
    return field


def _network(document: Field, name: str | None, notes: list[str]) -> _Found:
    """Return the name of a configuration, and what it creates."""
    outer = _keys(document)
    named = outer.get("name")
    called = name or (named.text() if named is not None else None)
    if called is None:
        raise document.missing("name")
    plugin, own = document, outer
    if "plugins" in outer:
        plugin, own = _plugin(outer["plugins"], notes)
    if "type" not in own:
        raise plugin.missing("type")
    if own["type"].text() != "ipvlan":
        return own["type"].wrong(f"plugin {own['type'].text()} is not ipvlan", "ipvkit reads those of ipvlan")
    for key, value in own.items():
        if key not in _KNOWN:
            notes.append(f"{value.place}: the plugin ignores `{key}`")
    if "master" not in own:
        raise plugin.wrong(
            "`master` is missing", "the plugin takes the link of the default route: name it here"
        )
    mode = own["mode"].one_of(MODES) if "mode" in own else "l2"
    mtu = own["mtu"].number("MTU", 0, 65535) if "mtu" in own else 0
    if "ipam" not in own:
        raise plugin.wrong("`ipam` is missing", "a link without an address reaches nothing: add one")
    endpoints = [
        Endpoint(each, addresses, each, "", routes, mtu or None, dev=_LINK)
        for each, addresses, routes in _addressed(called, own["ipam"], notes)
    ]
    setting = Setting(mode)  # type: ignore[arg-type]
    return called, on_parent(own["master"].checked(interface_name), setting, endpoints)


def _keys(field: Field) -> dict[str, Field]:
    return {key: value for key, (_, value) in field.pairs(_HINT).items()}


def _plugin(plugins: Field, notes: list[str]) -> tuple[Field, dict[str, Field]]:
    """Return the plugin ipvlan of a list, or else its first; the others have a note."""
    every = [(item, _keys(item)) for item in plugins.items()]
    if not every:
        raise plugins.wrong("at least one is needed", _HINT)
    found = next(
        (each for each in every if "type" in each[1] and each[1]["type"].text() == "ipvlan"), every[0]
    )
    for item, keys in every:
        if item is not found[0] and "type" in keys:
            notes.append(f"{item.place}: what the plugin {keys['type'].text()} changes is left out")
    return found


_Addressed = tuple[str, tuple[InterfaceAddress, ...], tuple[Route, ...]]
"""The name of an endpoint, its addresses and its routes."""


def _addressed(name: str, ipam: Field, notes: list[str]) -> Iterator[_Addressed]:
    """Yield the endpoints that get an address: one, or examples of those that get one at run time."""
    keys = _keys(ipam)
    kind = keys["type"].text() if "type" in keys else ""
    routes = [_route(item) for item in keys["routes"].items()] if "routes" in keys else []
    if kind == "static":
        if "addresses" not in keys:
            raise ipam.missing("addresses")
        given = [_keys(item) for item in keys["addresses"].items()]
        addresses = tuple(_needed(ipam, each, "address").checked(interface_address) for each in given)
        gateways = [each["gateway"].checked(any_address) for each in given if "gateway" in each]
        yield name, addresses, _routes(routes, gateways)
    elif kind == "host-local":
        ranges = (
            [[keys]]
            if "subnet" in keys
            else [[_keys(item) for item in each.items()] for each in keys["ranges"].items()]
            if "ranges" in keys
            else []
        )
        if not ranges or not all(ranges):
            raise ipam.missing("ranges")
        pools = [_pool(ipam, each[0]) for each in ranges]
        notes.append(f"{ipam.place}: addresses are given at run time; {name}-1 and {name}-2 are examples")
        for number, own in enumerate(islice(zip(*(pool for pool, _ in pools), strict=False), _EXAMPLES), 1):
            yield f"{name}-{number}", own, _routes(routes, [gateway for _, gateway in pools])
    else:
        what = f"ipam {kind}: its addresses are in no file" if kind else "`type` is missing"
        raise keys.get("type", ipam).wrong(what, "ipvkit reads those of static and host-local")


def _needed(place: Field, keys: dict[str, Field], key: str) -> Field:
    if key not in keys:
        raise place.missing(key)
    return keys[key]


def _pool(ipam: Field, keys: dict[str, Field]) -> tuple[Iterator[InterfaceAddress], Address]:
    """Return the addresses that a range gives, and its gateway."""
    place = _needed(ipam, keys, "subnet")
    subnet = place.checked(network)
    if subnet.num_addresses < _LEAST:
        raise place.wrong(f"{subnet} is too small", f"host-local needs {_LEAST} addresses at least")
    gateway = keys["gateway"].checked(any_address) if "gateway" in keys else subnet[1]
    first = keys["rangeStart"].checked(any_address) if "rangeStart" in keys else subnet[1]
    if first not in subnet:
        raise keys["rangeStart"].wrong(f"{first} is not in {subnet}", "take an address of the subnet")
    offset = int(first) - int(subnet.network_address)
    numbers = range(offset, subnet.num_addresses - 1)
    every = (ip_interface((subnet[number], subnet.prefixlen)) for number in numbers)
    return (own for own in every if own.ip != gateway), gateway


def _route(item: Field) -> Route:
    keys = _keys(item)
    via = keys["gw"].checked(any_address) if "gw" in keys else None
    return Route(_needed(item, keys, "dst").checked(network), via)


def _routes(routes: Sequence[Route], gateways: Sequence[Address]) -> tuple[Route, ...]:
    """Return `routes`, in which those without a gateway have the first of their family, if there is one."""
    found = []
    for route in routes:
        usual = (gw for gw in gateways if route.to is not None and gw.version == route.to.version)
        found.append(Route(route.to, route.via or next(usual, None)))
    return tuple(found)


def write(deployment: Deployment) -> Written:
    """Return a configuration for each endpoint, and the calls that create and delete its link."""
    add, delete = vlans(deployment)
    files, removed = [], []
    for on in deployment.parents:
        for endpoint in on.endpoints:
            file = File(f"{_FOLDER}/{endpoint.netns}.conf", as_json(_configuration(on, endpoint)))
            files.append(file)
            add += [str(ip.netns_add(endpoint.netns)), _call("ADD", endpoint, file)]
            removed += [_call("DEL", endpoint, file), str(ip.netns_del(endpoint.netns))]
    return Written(tuple(files), tuple(add), (*removed, *delete))


def _configuration(on: OnParent, endpoint: Endpoint) -> dict[str, Any]:
    routes = [
        {"dst": str(route.to), **({"gw": str(route.via)} if route.via else {})}
        for route in endpoint.routes or ()
    ]
    addresses = [{"address": str(own)} for own in endpoint.addresses]
    return {
        "cniVersion": _VERSION,
        "name": endpoint.netns,
        "type": "ipvlan",
        "master": on.parent.name,
        "mode": on.setting.mode,
        **({"mtu": endpoint.mtu} if endpoint.mtu else {}),
        "ipam": {"type": "static", "addresses": addresses, **({"routes": routes} if routes else {})},
    }


def _call(verb: str, endpoint: Endpoint, file: File) -> str:
    """Return the line that calls the plugin, as a runtime does; it prints what it made as JSON."""
    words = {
        "CNI_COMMAND": verb,
        "CNI_CONTAINERID": endpoint.netns,
        "CNI_NETNS": f"/run/netns/{endpoint.netns}",
        "CNI_IFNAME": _LINK,
        "CNI_PATH": _PLUGIN.rpartition("/")[0],
    }
    return (
        f"{shlex.join(f'{key}={value}' for key, value in words.items())} {_PLUGIN} <{shlex.quote(file.path)}"
    )


FORMAT = Format(
    name="cni",
    title="CNI",
    limits=Limits(
        persistent=False,
        why={
            "flag": "the plugin ignores a flag and makes `bridge`",
            "shim": "ipvkit export --format networkd writes it",
        },
    ),
    recognises=recognises,
    read=read,
    write=write,
)
