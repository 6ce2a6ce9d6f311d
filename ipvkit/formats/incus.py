"""Incus, and LXD: instances and profiles, with devices of nictype ipvlan.

Source: internal/server/device/nic_ipvlan.go of Incus 6.0, which lets LXC create the links.
"""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import replace
from difflib import get_close_matches
from functools import partial
from ipaddress import ip_interface
from typing import Any

import yaml

from ipvkit.core.errors import InvalidLab
from ipvkit.core.values import (
    InterfaceAddress,
    address,
    interface_address,
    interface_name,
)
from ipvkit.formats.base import Beyond, File, Format, Limits, Written
from ipvkit.formats.deployment import DEFAULTS, Deployment, OnParent, merged, on_parent
from ipvkit.formats.lxc import default_via, names, netns_for, of_family
from ipvkit.formats.texts import documents, vlans
from ipvkit.lab import Endpoint, Family, Setting
from ipvkit.lab.fields import Field, Source
from ipvkit.lab.parts import FAMILIES, Route, family_of
from ipvkit.strategies.l3s_proxy import L3sProxy, sysctls
from ipvkit.tools import sysctl

_WHAT, _HINT = "instance", "`incus config show --expanded NAME` prints what it looks like"
_IMAGE = "images:debian/13"
_PROXY = L3sProxy.name
_USUAL: dict[Family, int] = {"ipv4": 24, "ipv6": 64}
"""Prefix lengths that Incus takes in l2 where none is given."""

_KEYS = (
    *("type", "nictype", "name", "parent", "vlan", "mode", "mtu"),
    *("ipv4.address", "ipv4.gateway", "ipv6.address", "ipv6.gateway"),
)
"""The keys of a device that are read."""

_WITHOUT_EFFECT = ("hwaddr", "gvrp", "ipv4.host_table", "ipv6.host_table")

_Keys = dict[str, Field]


def recognises(text: str) -> bool:
    """Return whether `text` has a device with a nictype."""
    return "nictype" in text


def read(sources: Sequence[Source]) -> Deployment:
    """Return what Incus would create, an endpoint for each ipvlan device."""
    notes: list[str] = []
    found = [each for source in sources for each in _of_file(source, notes)]
    if not found:
        what = "no device has nictype ipvlan"
        raise InvalidLab(f"{', '.join(source.file for source in sources)}: {what}", _HINT)
    parents = merged(found)
    for on in (on for on in parents if on.setting.strategy == _PROXY):
        named = ", ".join(f"{key}={value}" for key, value in _needed(on).items() if value)
        notes.append(f"{on.parent.name}: Incus starts no instance before {named}, which no file sets")
    return Deployment("incus", parents, tuple(notes))


def _needed(on: OnParent) -> dict[str, int]:
    """Return the sysctls that the proxy on a parent needs."""
    return sysctls(on.parent.name, {own.version for each in on.endpoints for own in each.addresses})


def _of_file(source: Source, notes: list[str]) -> Iterator[tuple[str, OnParent]]:
    *_, file = source.file.split("/")
    for document in documents(source, _WHAT, _HINT):
        for instance in _instances(document):
            keys = _keys(instance)
            devices = keys.get("expanded_devices") or keys.get("devices")
            if devices is not None:
                called = keys["name"].text() if "name" in keys else file.rpartition(".")[0] or file
                yield from _links(netns_for(called), devices, notes)


def _instances(document: Field) -> list[Field]:
    """Return the instances or profiles of a document: a list, those of a preseed file, or one."""
    if isinstance(document.node, yaml.SequenceNode):
        return document.items()
    keys = _keys(document)
    return [document] if "devices" in keys or "profiles" not in keys else keys["profiles"].items()


def _keys(field: Field) -> _Keys:
    return {key: value for key, (_, value) in field.pairs(_HINT).items()}


def _links(netns: str, devices: Field, notes: list[str]) -> Iterator[tuple[str, OnParent]]:
    """Yield each ipvlan link of an instance, after its name, as what is on its parent."""
    nics = [(device, _keys(device)) for _, device in sorted(_keys(devices).items())]
    nics = [(device, keys) for device, keys in nics if "type" in keys and keys["type"].text() == "nic"]
    devs = names([keys.get("name") for _, keys in nics])
    found = [
        (device, keys, dev)
        for (device, keys), dev in zip(nics, devs, strict=True)
        if "nictype" in keys and keys["nictype"].text() == "ipvlan"
    ]
    for number, (device, keys, dev) in enumerate(found):
        name = f"{netns}-{dev}" if number else netns
        yield name, _on_parent(device, keys, Endpoint(name, (), netns, "", dev=dev), notes)


def _on_parent(device: Field, keys: _Keys, endpoint: Endpoint, notes: list[str]) -> OnParent:
    """Return what is on the parent of an ipvlan link, which is `endpoint` with what the keys say."""
    for key, value in keys.items():
        if key in _WITHOUT_EFFECT:
            notes.append(f"{value.place}: `{key}` changes nothing in a lab")
        elif key not in _KEYS:
            near = get_close_matches(key, _KEYS, 1, 0.5)
            hint = f"did you mean `{near[0]}`?" if near else f"choose from {', '.join(_KEYS)}"
            raise value.wrong("an ipvlan device has no such key", hint)
    if "parent" not in keys:
        raise device.missing("parent")
    parent, vlan, mtu = keys["parent"], keys.get("vlan"), keys.get("mtu")
    on = parent.checked(partial(_with_vlan, vlan.number("VLAN", 1, 4094) if vlan else None))
    mode = keys["mode"].one_of(("l2", "l3s")) if "mode" in keys else "l3s"
    addresses = tuple(own for family in FAMILIES for own in _addresses(keys, family, mode))
    if not addresses:
        raise device.wrong("no `ipv4.address`", "add it: what is configured in the instance is not read")
    routes = tuple(route for family in FAMILIES for route in _default(keys, family, mode, addresses))
    own = replace(
        endpoint, addresses=addresses, routes=routes, mtu=mtu.number("MTU", 68, 65535) if mtu else None
    )
    return on_parent(on, Setting("l2") if mode == "l2" else Setting("l3s", strategy=_PROXY), [own])


def _with_vlan(vlan: int | None, parent: str) -> str:
    return interface_name(parent if vlan is None else f"{parent}.{vlan}")


def _addresses(keys: _Keys, family: Family, mode: str) -> Iterator[InterfaceAddress]:
    field = keys.get(f"{family}.address")
    if field is not None:
        for own in field.checked(lambda text: [_address(each.strip(), mode) for each in text.split(",")]):
            yield of_family(field, family, own)


def _address(text: str, mode: str) -> InterfaceAddress:
    """Return the address that `text` writes; in l3s Incus takes none with a prefix length."""
    if mode == "l2" and "/" in text:
        return interface_address(text)
    own = address(text)
    return ip_interface((own, _USUAL[family_of(own)] if mode == "l2" else own.max_prefixlen))


def _default(
    keys: _Keys, family: Family, mode: str, addresses: Sequence[InterfaceAddress]
) -> Iterator[Route]:
    """Yield the default route of a family, if the link has an address of it and that route."""
    field = keys.get(f"{family}.gateway")
    if not any(family_of(own) == family for own in addresses):
        return
    if mode == "l3s" and (field is None or field.one_of(("auto", "none")) == "auto"):
        yield Route(DEFAULTS[family])
    elif mode == "l2" and field is not None:
        yield default_via(field, family, addresses)


def write(deployment: Deployment) -> Written:
    """Return the devices of an instance for each namespace with endpoints, and the calls that create it."""
    own = [on for on in deployment.parents if _created(on) is None]
    add, delete = vlans(replace(deployment, parents=tuple(own)))
    proxied = [on for on in own if on.setting.strategy == _PROXY]
    add += [str(sysctl.set_values(_needed(on))) for on in proxied]
    why = "Incus starts no instance on it before its sysctls are set, after a reboot too"
    notes = tuple(f"{on.parent.name}: {why}" for on in proxied)
    links: dict[str, list[tuple[OnParent, Endpoint]]] = {}
    for on in deployment.parents:
        for endpoint in on.endpoints:
            links.setdefault(endpoint.netns, []).append((on, endpoint))
    files = tuple(File(f"{name}.yaml", _devices(every)) for name, every in links.items())
    start = (f"{shlex.join(['incus', 'launch', _IMAGE, name])} <{name}.yaml" for name in links)
    stop = (shlex.join(["incus", "delete", "--force", name]) for name in links)
    return Written(files, (*add, *start), (*stop, *delete), notes)


def _created(on: OnParent) -> tuple[str, int] | None:
    """Return the link and the tag of a VLAN that Incus creates: one that is called as it calls it."""
    link, vlan = on.parent.link, on.parent.vlan
    return (link, vlan) if link and vlan and on.parent.name == f"{link}.{vlan}" else None


def _devices(links: Sequence[tuple[OnParent, Endpoint]]) -> str:
    # The default profile often has a device eth0, which the first one is in place of.
    devices = {f"eth{number}": _device(*each) for number, each in enumerate(links)}
    return yaml.safe_dump({"devices": devices}, sort_keys=False)


def _device(on: OnParent, endpoint: Endpoint) -> dict[str, Any]:
    link, vlan = _created(on) or (on.parent.name, None)
    found = {
        "type": "nic",
        "nictype": "ipvlan",
        "name": endpoint.dev,
        "parent": link,
        **({"vlan": str(vlan)} if vlan else {}),
        "mode": on.setting.mode,
        **({"mtu": str(endpoint.mtu)} if endpoint.mtu else {}),
    }
    direct = on.setting.mode == "l3s"
    for family in FAMILIES:
        own = [str(each.ip if direct else each) for each in endpoint.addresses if family_of(each) == family]
        default = [route for route in endpoint.routes or () if route.to == DEFAULTS[family]]
        if own:
            found[f"{family}.address"] = ", ".join(own)
        if own and direct:
            found[f"{family}.gateway"] = "auto" if default else "none"
        elif default:
            found[f"{family}.gateway"] = str(default[0].via)
    return found


def beyond(deployment: Deployment) -> Iterator[Beyond]:
    """Yield what Incus gives no endpoint in the mode of its parent."""
    for on in deployment.parents:
        mode, parent, proxied = on.setting.mode, on.parent.name, on.setting.strategy == _PROXY
        if proxied != (mode == "l3s"):
            yield f"mode {mode} on {parent} {'with' if proxied else 'without'} strategy {_PROXY}", "mode"
        for endpoint in on.endpoints:
            for own in endpoint.addresses if mode == "l3s" else ():
                if own.network.num_addresses > 1:
                    yield f"{own} of {endpoint.name} in l3s", "prefix"
            for route in endpoint.routes or ():
                if (mode == "l2") == (route.via is None):
                    with_ = "without a gateway" if route.via is None else f"via {route.via}"
                    yield f"a default route {with_} of {endpoint.name} in {mode}", "default"


FORMAT = Format(
    name="incus",
    title="Incus",
    limits=Limits(
        modes=("l2", "l3s"),
        strategies=(*Limits().strategies, _PROXY),
        routes="default",
        vlan=True,
        why={
            "mode": f"Incus has l2, and l3s with strategy {_PROXY}; ipvkit export --format lxc writes others",
            "flag": "Incus has `bridge`; ipvkit export --format lxc writes others",
            "strategy": f"Incus has {_PROXY}, in mode l3s",
            "routes": "Incus gives a link default routes only; ipvkit export --format cni writes others",
            "prefix": "Incus gives an endpoint in l3s addresses with a whole prefix: write /32 or /128",
            "default": "Incus gives default routes via a gateway in l2, and out of the link in l3s",
        },
    ),
    recognises=recognises,
    read=read,
    write=write,
    beyond=beyond,
)
