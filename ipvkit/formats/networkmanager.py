"""NetworkManager: keyfiles, one a connection.

Source: nm-settings-keyfile(5), nm-settings-nmcli(5).
"""

import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from ipaddress import ip_interface, ip_network

from ipvkit.core.command import T
from ipvkit.core.errors import InvalidLab, UsageError
from ipvkit.core.values import (
    InterfaceAddress,
    Network,
    address,
    interface_address,
    interface_name,
    is_link_local,
    network,
)
from ipvkit.formats.base import Beyond, File, Format, Limits, Written
from ipvkit.formats.deployment import DEFAULTS, Deployment, OnParent
from ipvkit.formats.of_host import Gateway, HostLink, deployed
from ipvkit.formats.texts import Part, as_ini
from ipvkit.formats.units import Section, last, sections
from ipvkit.lab import Setting
from ipvkit.lab.fields import Field, Source
from ipvkit.lab.parts import FAMILIES, FLAGS, MODES, family_of
from ipvkit.tools.ip import RouteTo

_FOLDER, _PREFIX = "/etc/NetworkManager/system-connections", "ipvkit-"

_KNOWN = {
    "connection": (
        r"id|uuid|type|interface-name|autoconnect(-priority|-retries)?|permissions|timestamp|zone|metered|"
        r"lldp|mdns|llmnr"
    ),
    "ipvlan": "parent|mode|private|vepa",
    "vlan": "id|parent|interface-name|flags",
    **dict.fromkeys(
        ("ipv4", "ipv6"),
        r"method|address(es)?\d*|gateway|route(s)?\d*|route-metric|may-fail|never-default|ignore-auto-.*|dns.*|"
        r"dhcp-.*|dad-timeout|link-local|addr-gen-mode|ip6-privacy|token|ra-timeout|required-timeout",
    ),
}
"""The keys that are read, or that change nothing in a lab; all others are noted."""

_WITHOUT_EFFECT = ("ethernet", "802-3-ethernet", "proxy", "ethtool", "user", "match")
"""Sections that change nothing in a lab."""

_OTHERWISE = {
    r"(master|controller)=": "a port of a bond or a bridge cannot be a parent",
    r"(route-table|routing-rule|route\d+_options=.*\b(table|type)=)": "a lab's host has one routing table",
}
"""Keys that change which link gets a packet, and why a lab cannot have that."""


def recognises(text: str) -> bool:
    """Return whether `text` has the section that each keyfile has."""
    return re.search(r"^\[connection\]", text, re.MULTILINE) is not None


@dataclass(frozen=True, slots=True)
class _Connection:
    """A keyfile: its place in messages, its sections by name, and its type."""

    place: str
    sections: dict[str, list[Section]]
    type: str

    def last(self, section: str, key: str) -> Field | None:
        """Return the value of a key, or None."""
        return last(self.sections.get(section, []), key)

    def needed(self, section: str, key: str) -> Field:
        """Return the value of a key; raise InvalidLab where it is missing."""
        found = self.last(section, key)
        if found is None:
            raise InvalidLab(f"{self.place}: `{key}` is missing", f"add `{key}=` in [{section}]")
        return found

    def is_true(self, section: str, key: str) -> bool:
        """Return whether a key is there, and true."""
        found = self.last(section, key)
        return found is not None and found.one_of(("true", "false")) == "true"

    def numbered(self, section: str, name: str) -> list[Field]:
        """Return the values of keys such as address1 and address2, in the order of their numbers."""
        found: dict[int, Field] = {}
        for each in self.sections.get(section, []):
            for field in each.keys:
                match = re.fullmatch(rf"{name}(?:es|s)?(\d{{0,4}})", field.name)
                if match and field.node.value:
                    found[int(match[1] or 0)] = field
        return [found[number] for number in sorted(found)]


def read(sources: Sequence[Source]) -> Deployment:
    """Return what NetworkManager would create."""
    notes: list[str] = []
    every = [_connection(source) for source in sources]
    names = _names(every, notes)
    uuids = {
        field.text(): name
        for each, name in zip(every, names, strict=True)
        if (field := each.last("connection", "uuid"))
    }
    links = []
    for each, name in zip(every, names, strict=True):
        _note_the_rest(each, notes)
        links.append(_configured(_link(each, name, uuids), each, notes))
    _check_unique(links)
    return deployed("networkmanager", links, notes)


def _check_unique(links: Sequence[HostLink]) -> None:
    places: dict[str, str] = {}
    for link in links:
        if places.setdefault(link.name, link.place) != link.place:
            hint = "one connection of a link is active: leave the other one out"
            raise InvalidLab(f"{link.place}: {link.name} is in {places[link.name]} too", hint)


def _connection(source: Source) -> _Connection:
    found: dict[str, list[Section]] = {}
    for section in sections(source):
        found.setdefault(section.name, []).append(section)
    place = found["connection"][0].place if "connection" in found else source.file
    each = _Connection(place, found, "")
    return replace(each, type=each.needed("connection", "type").text())


def _names(every: Sequence[_Connection], notes: list[str]) -> list[str]:
    """Return the names of the links; those that are chosen at run time have examples."""
    given = [
        each.last("connection", "interface-name") or each.last("vlan", "interface-name") for each in every
    ]
    names = [field.checked(interface_name) if field else "" for field in given]
    for i, each in enumerate(every):
        if not names[i]:
            names[i] = next(name for name in (f"eth{n}" for n in range(len(every) + 1)) if name not in names)
            notes.append(f"{each.place}: `interface-name` is not there; {names[i]} is an example")
    return names


def _link(each: _Connection, name: str, uuids: dict[str, str]) -> HostLink:
    if each.type not in ("ipvlan", "vlan"):
        return HostLink(name, each.place)
    parent = each.needed(each.type, "parent")
    lower = uuids.get(parent.text())
    if lower is None and re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", parent.text()):
        raise parent.wrong("the connection with this uuid is in no file", "give its file too")
    lower = lower or parent.checked(interface_name)
    if each.type == "vlan":
        return HostLink(name, each.place, lower, vlan=each.needed("vlan", "id").number("VLAN", 1, 4094))
    mode = each.needed("ipvlan", "mode").number("mode", 1, len(MODES))
    flags = [flag for flag in FLAGS if each.is_true("ipvlan", flag)]
    if len(flags) > 1:
        hint = f"leave {flags[0]} or {flags[1]} out"
        raise each.needed("ipvlan", flags[1]).wrong("a link has one flag", hint)
    return HostLink(name, each.place, lower, Setting(MODES[mode - 1], (*flags, FLAGS[0])[0], host_shim=True))


def _configured(link: HostLink, each: _Connection, notes: list[str]) -> HostLink:
    """Return `link` with its addresses and routes."""
    addresses: list[InterfaceAddress] = []
    gateways: list[Gateway] = []
    routes: list[tuple[str, Network]] = []
    for family in FAMILIES:
        method = each.last(family, "method")
        if method is not None and method.text() in ("auto", "dhcp", "shared"):
            notes.append(f"{method.place}: what {method.text()} gives {link.name} is left out")
        for field in each.numbered(family, "address"):
            own, _, via = field.text().partition(",")
            addresses.append(_of(field, own, _address))
            gateways += [(_of(field, via, _unicast), None)] if via else []
        gateway = each.last(family, "gateway")
        gateways += [(gateway.checked(_unicast), None)] if gateway else []
        for field in each.numbered(family, "route"):
            to, via, metric, *_ = [*field.text().split(","), "", ""]
            there = _of(field, to, network)
            if via in ("", "0.0.0.0", "::"):  # noqa: S104
                routes.append((field.place, there))
            elif there in DEFAULTS.values():
                gateways.append((_of(field, via, _unicast), _of(field, metric, _metric)))
            else:
                notes.append(f"{field.place}: this route of the host is left out")
    usual = tuple(own for own in addresses if not is_link_local(own.ip))
    return replace(link, addresses=usual, gateways=tuple(gateways), routes=tuple(routes))


_address = partial(interface_address, link_local=True)
_unicast = partial(address, link_local=True)


def _metric(text: str) -> int | None:
    if not re.fullmatch("[0-9]{0,10}", text):
        raise UsageError(f"invalid metric {text!r}", "write a number")
    return int(text or 0) or None


def _of(field: Field, text: str, check: Callable[[str], T]) -> T:
    """Return what `check` makes of a part of a value; its UsageError is reported at that."""
    return field.checked(lambda _: check(text.strip()))


def _note_the_rest(each: _Connection, notes: list[str]) -> None:
    """Note what of a file a lab cannot have; raise InvalidLab for what changes where packets go."""
    for section in (section for found in each.sections.values() for section in found):
        if section.name in _WITHOUT_EFFECT:
            continue
        if section.name not in _KNOWN:
            notes.append(f"{section.place}: [{section.name}] is left out")
            continue
        for field in section.keys:
            for pattern, why in _OTHERWISE.items():
                if re.match(pattern, f"{field.name}={field.node.value}"):
                    raise field.wrong(why, f"leave {field.name} out")
            if not re.fullmatch(_KNOWN[section.name], field.name):
                notes.append(f"{field.place}: {field.name} is left out")


def write(deployment: Deployment) -> Written:
    """Return a connection for each link of the host, with the nmcli lines that bring it up."""
    files, down, typed = [], [], []
    for on in deployment.of_host:
        name, parts = on.parent.name, [*_of_parent(on)]
        # An ipvlan link needs nothing in the connection that a machine has for the parent.
        adds = () if on.parent.link else (f"interface-name={name}",)
        files.append(replace(_file(name, parts), adds=adds))
        down += [_nmcli("down", name)] if on.parent.link else []
        if on.shim:
            parts = [*_of_shim(on)]
            files.append(_file(on.shim, parts))
            down.append(_nmcli("down", on.shim))
            typed.append(f"# or: {_added(on.shim, parts[1:])}")
    return Written(tuple(files), tuple(typed), tuple(reversed(down)))


def _nmcli(verb: str, name: str) -> str:
    return f"nmcli connection {verb} {_PREFIX}{name}"


def _file(name: str, parts: Sequence[Part]) -> File:
    path = f"{_FOLDER}/{_PREFIX}{name}.nmconnection"
    # NetworkManager reads no file that others can read.
    return File(path, as_ini(parts), 0o600, activate=(f"nmcli connection load {path}", _nmcli("up", name)))


def _of_parent(on: OnParent) -> Iterator[Part]:
    """Yield the sections for a parent."""
    parent = on.parent
    kind = "vlan" if parent.link else "dummy" if parent.kind == "dummy" else "ethernet"
    yield _connection_called(parent.name, kind)
    if parent.link:
        yield "vlan", [("id", parent.vlan), ("parent", parent.link)]
    yield from _of_families(parent.host, on.routes)


def _of_shim(on: OnParent) -> Iterator[Part]:
    """Yield the sections for the host's link: its addresses, and a route to each address of an endpoint."""
    yield _connection_called(on.shim, "ipvlan")
    flags = [] if on.setting.flag == "bridge" else [(on.setting.flag, "true")]
    yield "ipvlan", [("parent", on.parent.name), ("mode", MODES.index(on.setting.mode) + 1), *flags]
    to = [RouteTo(ip_network(own.ip)) for endpoint in on.endpoints for own in endpoint.addresses]
    yield from _of_families([*map(ip_interface, on.setting.shim_addresses)], to)


def _connection_called(name: str, kind: str) -> Part:
    # Above a connection that the host has for the same link.
    above = ("autoconnect-priority", 1)
    return "connection", [("id", f"{_PREFIX}{name}"), ("type", kind), ("interface-name", name), above]


def _of_families(addresses: Sequence[InterfaceAddress], routes: Sequence[RouteTo]) -> Iterator[Part]:
    """Yield the section of each family; the kernel's own metric of an IPv4 route is 0."""
    for family in FAMILIES:
        own = [each for each in addresses if family_of(each) == family]
        to = [
            each
            for each in routes
            if family in (each.dst and family_of(each.dst), each.via and family_of(each.via))
        ]
        method = "manual" if own else "disabled" if family == "ipv4" else "link-local"
        keys: list[tuple[str, object]] = [("method", method)]
        keys += [(f"address{i}", each) for i, each in enumerate(own, 1)]
        keys += [("gateway", each.via) for each in to if each.via and each.metric is None]
        listed = [
            f"{each.dst or DEFAULTS[family]}{_behind(each)}" for each in to if not each.via or each.metric
        ]
        keys += [(f"route{i}", each) for i, each in enumerate(listed, 1)]
        yield family, [*keys, ("route-metric", 0) if family == "ipv4" else ("addr-gen-mode", "eui64")]


def _behind(route: RouteTo) -> str:
    return f",{route.via},{route.metric}" if route.via else ""


def _added(name: str, parts: Sequence[Part]) -> str:
    """Return the nmcli line that adds the connection `name` with these sections of an ipvlan link."""
    words: dict[str, list[str]] = {}
    for section, keys in parts:
        for key, value in keys:
            plural = re.sub("([a-z])[0-9]+$", "\\1s", key).replace("addresss", "addresses")
            words.setdefault(f"{section}.{plural}", []).append(str(value))
    own = ["type", "ipvlan", "con-name", f"{_PREFIX}{name}", "ifname", name]
    settings = (word for key, values in words.items() for word in (key, ",".join(values)))
    return shlex.join(["nmcli", "connection", "add", *own, *settings])


def _beyond(deployment: Deployment) -> Iterator[Beyond]:
    for on in deployment.of_host:
        if on.parent.kind in ("bond", "bridge"):
            yield f"{on.parent.name}, a {on.parent.kind}, without its ports", "ports"


FORMAT = Format(
    name="networkmanager",
    title="NetworkManager",
    limits=Limits(
        place="host",
        flags=FLAGS,
        vlan=True,
        why={
            "strategy": "keep the host shim only: it needs no strategy",
            "ports": "--format networkd leaves the ports as they are",
        },
    ),
    recognises=recognises,
    read=read,
    write=write,
    beyond=_beyond,
)
