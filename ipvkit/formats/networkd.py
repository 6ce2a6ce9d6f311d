"""systemd-networkd: .netdev and .network files.

Source: systemd.netdev(5) and systemd.network(5).
"""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import partial
from itertools import count

from ipvkit.core.command import T
from ipvkit.core.errors import InvalidLab
from ipvkit.core.values import Network, address, interface_address, interface_name, is_link_local, network
from ipvkit.formats.base import File, Format, Limits, Written
from ipvkit.formats.deployment import DEFAULTS, Deployment, OnParent
from ipvkit.formats.of_host import Gateway, HostLink, deployed
from ipvkit.formats.texts import Part, as_ini
from ipvkit.formats.units import Section, every, last, sections
from ipvkit.lab import Setting
from ipvkit.lab.fields import Field, Source
from ipvkit.lab.parts import FLAGS, MODES
from ipvkit.tools import ip

_FOLDER = "/etc/systemd/network"
_FIRST = "05"
"""Of several .network files that match a link the first by name is used."""

_GLOB = re.compile(r"[*?\[!]")

_SERVICE = "systemd-networkd.service"

_KINDS = ("IPVLAN", "VLAN")
"""The keys by which a link creates others on it; in small letters the kinds of these."""

_KNOWN = {
    "NetDev": ("Name", "Kind", "Description"),
    "VLAN": ("Id",),
    "IPVLAN": ("Mode", "Flags"),
    "Network": (
        *("IPVLAN", "VLAN", "Address", "Gateway", "DHCP", "Description", "DNS", "Domains", "NTP"),
        *("DNSDefaultRoute", "DNSSEC", "DNSOverTLS", "LLMNR", "MulticastDNS", "LLDP", "EmitLLDP"),
        *("LinkLocalAddressing", "IPv6AcceptRA", "IPv6PrivacyExtensions", "IPv6DuplicateAddressDetection"),
        *("ConfigureWithoutCarrier", "IgnoreCarrierLoss", "KeepConfiguration", "BindCarrier"),
    ),
    "Address": ("Address", "Broadcast", "Label", "DuplicateAddressDetection", "PreferredLifetime"),
    "Route": ("Destination", "Gateway", "Metric", "Scope", "Protocol", "GatewayOnLink"),
}
"""The keys that are read, or that change nothing in a lab; all others are noted."""

_WITHOUT_EFFECT = ("Match", "Link", "DHCP", "DHCPv4", "DHCPv6", "IPv6AcceptRA")
"""Sections that change nothing in a lab."""

_OTHERWISE = {
    ("Network", "VRF"): "a lab's host has one routing table",
    ("Network", "Bridge"): "a port of a bridge cannot be a parent",
    ("Network", "Bond"): "a port of a bond cannot be a parent",
    ("Route", "Table"): "a lab's host has one routing table",
    ("Route", "Type"): "a lab's host has ordinary routes only",
}
"""Keys that change which link gets a packet, and why a lab cannot have that."""


def recognises(text: str) -> bool:
    """Return whether `text` has a section that .netdev and .network files have, and quadlets have not."""
    return re.search(r"^\[(NetDev|Match)\]", text, re.MULTILINE) is not None


@dataclass(frozen=True, slots=True)
class _File:
    """A file with its drop-ins: its name, its place in messages, and its sections."""

    name: str
    place: str
    sections: tuple[Section, ...]

    def of(self, name: str) -> list[Section]:
        """Return the sections called `name`."""
        return [section for section in self.sections if section.name == name]

    def every(self, section: str, key: str) -> list[Field]:
        """Return the values of a key that may be there often."""
        return every(self.of(section), key)

    def needed(self, section: str, key: str) -> Field:
        """Return the value of `key`; raise InvalidLab where it is missing."""
        found = last(self.of(section), key)
        if found is None:
            raise InvalidLab(f"{self.place}: `{key}` is missing", f"add `{key}=` in [{section}]")
        return found


def _words(fields: Iterable[Field]) -> list[tuple[str, Field]]:
    return [(word, field) for field in fields for word in field.text().split()]


def _files(sources: Sequence[Source]) -> list[_File]:
    """Return the files in the order in which networkd reads them; a drop-in is part of its file."""
    found: dict[str, list[Source]] = {}
    for source in sources:
        *_, folder, name = f"/{source.file}".split("/")
        of = folder.removesuffix(".d") if folder.endswith(".network.d") else name
        found.setdefault(of, []).append(source)
    return [
        _File(name, own[0].file, tuple(section for source in own for section in sections(source)))
        for name, own in sorted(found.items())
    ]


def read(sources: Sequence[Source]) -> Deployment:
    """Return what networkd would create."""
    files = _files(sources)
    netdevs: dict[str, _File] = {}
    for file in (file for file in files if file.of("NetDev")):
        name = file.needed("NetDev", "Name")
        if netdevs.setdefault(name.checked(interface_name), file) is not file:
            hint = "networkd takes the first: leave the other one out"
            raise name.wrong(f"{name.text()} is there twice", hint)
    host = _Host(netdevs, [file for file in files if not file.of("NetDev")], [])
    links = host.links()
    if not links:
        what = f"{files[0].place}: no file has `IPVLAN=` or `VLAN=`, and so networkd creates no link"
        raise InvalidLab(
            what, "give the .network file of the parent too: a folder stands for the files in it"
        )
    return deployed("networkd", links, host.notes)


@dataclass(frozen=True, slots=True)
class _Host:
    """The .netdev files by the name of their link, and the .network files in their order."""

    netdevs: dict[str, _File]
    networks: list[_File]
    notes: list[str]

    def links(self) -> list[HostLink]:
        """Return the links that are created on others, and these."""
        lower: dict[str, _File] = {}
        upper: dict[str, HostLink] = {}
        for file in self.networks:
            uses = [(kind, *use) for kind in _KINDS for use in _words(file.every("Network", kind))]
            if not uses:
                continue
            on = self._name_of(file, lower)
            if lower.setdefault(on, file) is not file:
                self.notes.append(f"{file.place}: networkd uses {lower[on].name} for {on}, and not this file")
                continue
            for key, name, use in uses:
                if name in upper:
                    raise use.wrong(f"{name} is on {upper[name].lower} already", "a link is on one other")
                upper[name] = self._created(key, name, use, on)
        for name, file in self.netdevs.items():
            if name not in upper and file.needed("NetDev", "Kind").text().upper() in _KINDS:
                self.notes.append(f"{file.place}: no .network file creates {name}")
        below = [
            self._configured(HostLink(on, file.place), file) for on, file in lower.items() if on not in upper
        ]
        return [*below, *(self._with_network(link) for link in upper.values())]

    def _name_of(self, file: _File, taken: Collection[str]) -> str:
        """Return the name of the link that `file` is for: of one that has another name there, an example."""
        for name, netdev in self.netdevs.items():
            if _matches(file, name, netdev.needed("NetDev", "Kind").text()):
                return name
        words = _words(file.every("Match", "Name"))
        if len(words) == 1 and not _GLOB.search(words[0][0]):
            return words[0][1].checked(interface_name)
        name = next(f"eth{number}" for number in count() if f"eth{number}" not in taken)
        self.notes.append(f"{file.place}: [Match] names no single link; {name} is an example")
        return name

    def _created(self, key: str, name: str, use: Field, on: str) -> HostLink:
        """Return the link `name` that `use` creates on another."""
        file = self.netdevs.get(name)
        if file is None:
            raise use.wrong(
                f"no file defines {name}", "give its .netdev file too: a folder stands for the files in it"
            )
        kind = file.needed("NetDev", "Kind")
        if kind.text() != key.lower():
            hint = f"a link of kind {key.lower()} is needed"
            raise kind.wrong(f"{name} is of kind {kind.text()}", hint)
        self._left_out(file)
        if key == "VLAN":
            return HostLink(name, file.place, on, vlan=file.needed("VLAN", "Id").number("VLAN", 1, 4094))
        mode = self._choice(file, "Mode", {mode.upper(): mode for mode in MODES})
        flag = self._choice(file, "Flags", {flag: flag for flag in FLAGS})
        return HostLink(name, file.place, on, Setting(mode, flag, host_shim=True))

    def _choice(self, file: _File, key: str, choices: dict[str, T]) -> T:
        """Return what the last valid value of `key` stands for, by default the first choice."""
        found = next(iter(choices.values()))
        for field in file.every("IPVLAN", key):
            if field.text() not in choices:
                known = ", ".join(choices)
                self.notes.append(f"{field.place}: networkd ignores {field.text()}, which is none of {known}")
            found = choices.get(field.text(), found)
        return found

    def _with_network(self, link: HostLink) -> HostLink:
        kind = "vlan" if link.vlan is not None else "ipvlan"
        file = next((file for file in self.networks if _matches(file, link.name, kind)), None)
        if file is None:
            self.notes.append(f"{link.place}: no .network file is for {link.name}, which stays down")
            return link
        return self._configured(link, file)

    def _configured(self, link: HostLink, file: _File) -> HostLink:
        """Return `link` with the addresses and routes of its .network file."""
        self._left_out(file)
        for field in file.every("Network", "DHCP"):
            if field.text() not in ("no", "false", "off", "0"):
                self.notes.append(f"{field.place}: what DHCP gives {link.name} is left out")
        given = file.every("Network", "Address") + every(file.of("Address"), "Address")
        own = tuple(field.checked(_address) for field in given)
        gateways, routes = self._routes(file)
        for field in file.every("Network", "Gateway"):
            gateways += self._gateway(field, None)
        usual = tuple(each for each in own if not is_link_local(each.ip))
        return replace(link, addresses=usual, gateways=tuple(gateways), routes=tuple(routes))

    def _routes(self, file: _File) -> tuple[list[Gateway], list[tuple[str, Network]]]:
        """Return the default routes via gateways, and the routes without one."""
        gateways: list[Gateway] = []
        routes: list[tuple[str, Network]] = []
        for section in file.of("Route"):
            to, via, metric = (last([section], key) for key in ("Destination", "Gateway", "Metric"))
            there = to.checked(network) if to else None
            if via is None and there is not None:
                routes.append((section.place, there))
            elif via is not None and there in (None, *DEFAULTS.values()):
                gateways += self._gateway(via, metric.number("metric", 0, 99999) if metric else None)
            else:
                self.notes.append(f"{section.place}: this route of the host is left out")
        return gateways, routes

    def _gateway(self, field: Field, metric: int | None) -> list[Gateway]:
        """Return a gateway with the metric, none where DHCP or a router gives it."""
        if not field.text().startswith("_"):
            return [(field.checked(_unicast), metric)]
        self.notes.append(f"{field.place}: the gateway {field.text()} is given at run time, and left out")
        return []

    def _left_out(self, file: _File) -> None:
        """Note what of `file` a lab cannot have; raise InvalidLab for what changes where packets go."""
        for section in file.sections:
            if section.name == "RoutingPolicyRule":
                what = f"{section.place}: a lab's host has no rules"
                raise InvalidLab(what, "leave [RoutingPolicyRule] out")
            if section.name in _WITHOUT_EFFECT:
                continue
            if section.name not in _KNOWN:
                self.notes.append(f"{section.place}: [{section.name}] is left out")
                continue
            for field in section.keys:
                if (section.name, field.name) in _OTHERWISE:
                    raise field.wrong(_OTHERWISE[section.name, field.name], f"leave {field.name} out")
                if field.name not in _KNOWN[section.name]:
                    self.notes.append(f"{field.place}: {field.name} is left out")


def _matches(file: _File, name: str, kind: str) -> bool:
    """Return whether [Match] is for a link that networkd creates: by its name and kind, and nothing else."""
    known = {"Name": name, "OriginalName": name, "Kind": kind, "Type": "vlan" if kind == "vlan" else "ether"}
    keys = {field.name for section in file.of("Match") for field in section.keys}
    if not keys or not keys <= known.keys():
        return False
    return all(_one_of(known[key], [word for word, _ in _words(file.every("Match", key))]) for key in keys)


def _one_of(text: str, globs: Sequence[str]) -> bool:
    """Return whether `text` is of `globs`, which exclude what they name after a first `!`."""
    if globs and globs[0].startswith("!"):
        return not _one_of(text, [globs[0][1:], *globs[1:]])
    return any(fnmatchcase(text, glob) for glob in globs)


_address = partial(interface_address, link_local=True)
_unicast = partial(address, link_local=True)


def write(deployment: Deployment) -> Written:
    """Return the files of the host's links, and the lines by which networkd reads them."""
    files, links = [], []
    for on in deployment.of_host:
        parent = on.parent
        if parent.link:
            tag = ("VLAN", [("Id", parent.vlan)])
            files.append(_file(f"{parent.name}.netdev", [_netdev(parent.name, "vlan"), tag]))
            links.append(parent.name)
        created = [("VLAN", vlan.name) for vlan in deployment.vlans_on(on)]
        created += [("IPVLAN", on.shim)] if on.shim else []
        adds = (f"[Match] Name={parent.name}", *(f"[Network] {key}={name}" for key, name in created))
        files.append(replace(_file(f"{parent.name}.network", _of_parent(on, created)), adds=adds))
        if on.shim:
            keys = [("Mode", on.setting.mode.upper()), ("Flags", on.setting.flag)]
            files.append(_file(f"{on.shim}.netdev", [_netdev(on.shim, "ipvlan"), ("IPVLAN", keys)]))
            files.append(_file(f"{on.shim}.network", _of_shim(on)))
            links.append(on.shim)
    activate = (f"systemctl enable {_SERVICE}", f"systemctl restart {_SERVICE}")
    return Written(tuple(files), activate, tuple(str(ip.link_delete(name)) for name in reversed(links)))


def _file(name: str, sections: Iterable[Part]) -> File:
    return File(f"{_FOLDER}/{_FIRST}-{name}", as_ini(sections))


def _netdev(name: str, kind: str) -> Part:
    return "NetDev", [("Name", name), ("Kind", kind)]


def _of_parent(on: OnParent, created: Iterable[tuple[str, str]]) -> Iterator[Part]:
    """Yield the sections for a parent: its addresses, and what is `created` on it."""
    yield "Match", [("Name", on.parent.name)]
    keys: list[tuple[str, object]] = [("Address", own) for own in on.parent.host]
    keys += [("Gateway", to.via) for to in on.routes if to.metric is None]
    yield "Network", [*keys, *created, ("IPv6AcceptRA", "no")]
    for to in on.routes:
        if to.metric is not None:
            yield "Route", [("Gateway", to.via), ("Metric", to.metric)]


def _of_shim(on: OnParent) -> Iterator[Part]:
    """Yield the sections for the host's link: its addresses, and a route to each address of an endpoint."""
    yield "Match", [("Name", on.shim)]
    yield "Network", [("IPv6AcceptRA", "no")]
    for own in on.setting.shim_addresses:
        usable = [("DuplicateAddressDetection", "none")] if own.version == 6 else []
        yield "Address", [("Address", f"{own}/{own.max_prefixlen}"), *usable]
    for endpoint in on.endpoints:
        for own in endpoint.addresses:
            yield "Route", [("Destination", f"{own.ip}/{own.max_prefixlen}")]


FORMAT = Format(
    name="networkd",
    title="systemd-networkd",
    limits=Limits(
        place="host",
        flags=FLAGS,
        vlan=True,
        why={"strategy": "keep the host shim only: it needs no strategy"},
    ),
    recognises=recognises,
    read=read,
    write=write,
)
