"""ifupdown: stanzas of /etc/network/interfaces, in which `ip` commands create links.

Source: interfaces(5), ip-link(8).
"""

import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from ipaddress import ip_interface, ip_network

from ipvkit.core.command import Command
from ipvkit.core.values import (
    address,
    interface_address,
    interface_name,
    is_link_local,
    route_destination,
)
from ipvkit.formats.base import File, Format, Limits, Written
from ipvkit.formats.deployment import DEFAULTS, Deployment, OnParent, vlan_called
from ipvkit.formats.of_host import HostLink, deployed
from ipvkit.formats.units import lines
from ipvkit.lab import Setting
from ipvkit.lab.fields import Field, Source, at_line, file_in_messages
from ipvkit.lab.parts import FLAGS, MODES
from ipvkit.tools import ip

_FOLDER = "/etc/network/interfaces.d"
_INET = {4: "inet", 6: "inet6"}

_BETWEEN = ("auto", "allow-.*", "no-auto-down", "no-scripts")
_LEFT_OUT = ("mapping", "template", "rename", "source", "source-directory")
"""Words that begin a line without an option: first those that change nothing in a lab."""

_UP = ("pre-up", "up", "post-up")
_WITHOUT_EFFECT = re.compile(
    r"netmask|metric|vlan-id|broadcast|network|dns-.*|accept_ra|autoconf|privext|dad-.*|description|"
    r"pre-down|down|post-down"
)
"""Options that change nothing in a lab, or that are read with another one."""


def recognises(text: str) -> bool:
    """Return whether `text` has a stanza for IPv4 or IPv6."""
    return re.search(r"^[ \t]*iface[ \t]+\S+[ \t]+inet6?[ \t]", text, re.MULTILINE) is not None


@dataclass(frozen=True, slots=True)
class _Stanza:
    """A stanza: the name of its link, with the place, its method, and its options in their order."""

    name: Field
    method: str
    options: list[Field]

    def last(self, name: str) -> Field | None:
        """Return the value of an option, or None."""
        return next((option for option in reversed(self.options) if option.name == name), None)


def read(sources: Sequence[Source]) -> Deployment:
    """Return what ifup would create."""
    links = _Links({}, [])
    for source in sources:
        for stanza in _stanzas(source, links.notes):
            links.add(stanza)
    return deployed("ifupdown", [*map(_as_created, links.found.values())], links.notes)


def _as_created(link: HostLink) -> HostLink:
    """Return `link` as a VLAN if it is called LINK.TAG and nothing else creates it, as ifup does."""
    lower, tag = vlan_called(link.name)
    if lower is None or link.lower:
        return link
    return replace(link, lower=lower, vlan=tag)


def _stanzas(source: Source, notes: list[str]) -> list[_Stanza]:
    """Return the stanzas of a file for IPv4 and IPv6."""
    file = file_in_messages(source)
    found: list[_Stanza] = []
    inside: list[Field] | None = None
    for number, line in lines(source.text, ""):
        word, *rest = line.split(maxsplit=1)
        value = at_line("".join(rest), file, number, word)
        if word == "iface":
            name, family, method, *_ = [*value.text().split(), "", "", ""]
            inside = []
            if family in ("inet", "inet6"):
                found.append(_Stanza(_part(value, name), method, inside))
        elif word in _LEFT_OUT:
            notes.append(f"{value.place}: {word} is left out")
            inside = []
        elif any(re.fullmatch(each, word) for each in _BETWEEN):
            continue
        elif inside is None:
            raise value.wrong("an option before any stanza", "begin with `iface NAME inet static`")
        else:
            inside.append(value)
    return found


def _part(field: Field, text: str) -> Field:
    """Return a part of a value, at its place."""
    return at_line(text, field.file, field.node.start_mark.line, field.name)


@dataclass(frozen=True, slots=True)
class _Links:
    """The links that stanzas and their commands configure, by name."""

    found: dict[str, HostLink]
    notes: list[str]

    def there(self, name: Field) -> HostLink:
        """Return what is known of a link."""
        called = name.checked(interface_name)
        return self.found.setdefault(called, HostLink(called, name.place))

    def give(self, link: HostLink, own: Field) -> None:
        """Give `link` an address."""
        each = own.checked(_address)
        if not is_link_local(each.ip):
            self.found[link.name] = replace(link, addresses=(*link.addresses, each))

    def lead(self, link: HostLink, via: Field, metric: Field | None) -> None:
        """Give `link` a default route via a gateway."""
        number = metric.number("metric", 0, 99999) or None if metric is not None else None
        gateway = via.checked(_unicast), number
        self.found[link.name] = replace(link, gateways=(*link.gateways, gateway))

    def add(self, stanza: _Stanza) -> None:
        """Add what a stanza configures."""
        name = self.there(stanza.name).name
        if stanza.method in ("dhcp", "auto"):
            self.notes.append(f"{stanza.name.place}: what {stanza.method} gives {name} is left out")
        for option in stanza.options:
            link = self.found[name]
            if option.name == "address":
                self.give(link, _with_netmask(option, stanza.last("netmask")))
            elif option.name == "gateway":
                self.lead(link, option, stanza.last("metric"))
            elif option.name == "vlan-raw-device":
                tag = stanza.last("vlan-id") or _part(option, re.sub(".*[^0-9]", "", name))
                lower, number = option.checked(interface_name), tag.number("VLAN", 1, 4094)
                self.found[name] = replace(link, lower=lower, vlan=number)
            elif option.name in _UP:
                commands = re.split(r"&&|;", option.text())
                known = [self.run(option, command, stanza.name) for command in commands]
                if not all(known):
                    self.notes.append(f"{option.place}: `{option.text()}` is left out")
            elif not _WITHOUT_EFFECT.fullmatch(option.name):
                self.notes.append(f"{option.place}: {option.name} is left out")

    def run(self, option: Field, command: str, name: Field) -> bool:
        """Add what a command configures; return False where that is nothing that a lab has."""
        match _words(command, name.text()):
            case ["ip", what, "add", *words] if "link".startswith(what):
                return self.create(option, words)
            case ["ip", what, "set", *words] if "link".startswith(what):
                return "netns" not in words
            case ["ip", what, "add" | "replace", own, *words] if "address".startswith(what):
                link = self.there(_part(option, _keys(words).get("dev", name.text())))
                plain = f"{own}/{128 if ':' in own else 32}"
                self.give(link, _part(option, own if "/" in own else plain))
                return True
            case ["ip", what, "add" | "replace", to, *words] if "route".startswith(what):
                keys = {key: _part(option, value) for key, value in _keys(words).items()}
                return self.route(option, self.there(keys.get("dev", name)), to, keys)
        return False

    def route(self, option: Field, link: HostLink, to: str, keys: dict[str, Field]) -> bool:
        """Add a route out of `link`; return False for one that a lab's host cannot have."""
        there = _part(option, to).checked(route_destination)
        if not keys.keys() <= {"dev", "via", "metric", "scope", "proto", "src"}:
            return False
        if "via" in keys and there in (None, *DEFAULTS.values()):
            self.lead(link, keys["via"], keys.get("metric"))
            return True
        if "via" in keys or there is None:
            return False
        self.found[link.name] = replace(link, routes=(*link.routes, (option.place, there)))
        return True

    def create(self, option: Field, words: Sequence[str]) -> bool:
        """Add the link of `ip link add` with these words; return False for one of another kind."""
        at = words.index("type") if "type" in words else len(words)
        before, kind, own = words[:at], words[at + 1 : at + 2], words[at + 2 :]
        named = before if before and before[0] in ("link", "name", "dev") else ["name", *before]
        keys = {key: _part(option, value) for key, value in _keys(named).items()}
        name = keys.get("name", keys.get("dev", _part(option, "")))
        if kind not in (["ipvlan"], ["vlan"]) or "netns" in keys:
            return False
        link = replace(self.there(name), lower=keys.get("link", _part(option, "")).checked(interface_name))
        if kind == ["vlan"]:
            tag = _part(option, _keys(own).get("id", "")).number("VLAN", 1, 4094)
            self.found[link.name] = replace(link, vlan=tag)
            return True
        # Without a mode the kernel creates one in l3 (ipvlan_link_new()).
        mode = _part(option, _keys(own).get("mode", "l3")).one_of(MODES)
        flag = next((flag for flag in FLAGS if flag in own), "bridge")
        self.found[link.name] = replace(link, setting=Setting(mode, flag, host_shim=True))  # type: ignore[arg-type]
        return True


_address = partial(interface_address, link_local=True)
_unicast = partial(address, link_local=True)


def _with_netmask(own: Field, netmask: Field | None) -> Field:
    """Return an address with its prefix length, which a separate option may have."""
    if netmask is None or "/" in own.text():
        return own
    mask = netmask.text()
    if re.fullmatch(r"\d+(\.\d+){3}", mask):
        mask = str(netmask.checked(_prefixlen))
    return _part(own, f"{own.text()}/{mask}")


def _prefixlen(netmask: str) -> int:
    found = route_destination(f"0.0.0.0/{netmask}")
    return found.prefixlen if found is not None else 0


def _words(command: str, name: str) -> list[str]:
    """Return the words of a command without what hides its failure; none where it needs a shell.

    >>> _words("/sbin/ip link set $IFACE up || true", "shim")
    ['ip', 'link', 'set', 'shim', 'up']
    """
    plain = re.sub(r"\$(IFACE\b|\{IFACE\})", name, command)
    plain = re.sub(r"\s*([0-9&]?>\s*/dev/null|2>&1|\|\|\s*((/usr)?(/bin/)?true|:|exit 0))", "", plain)
    if re.search(r"[;&|<>$`()]", plain):
        return []
    try:
        words = shlex.split(plain)
    except ValueError:
        return []
    words = [word for word in words if word not in ("-4", "-6")]
    return [words[0].rpartition("/")[2], *words[1:]] if words else []


def _keys(words: Iterable[str]) -> dict[str, str]:
    """Return the value of each key in `key value key value …`."""
    it = iter(words)
    return {key: next(it, "") for key in it}


def write(deployment: Deployment) -> Written:
    """Return stanzas for each link of the host, a file each, in the order in which ifup needs them."""
    files, down = [], []
    for on in deployment.of_host:
        name, place = on.parent.name, "1" if on.parent.link else "0"
        # A machine has a stanza for the parent, and a link on it needs nothing there.
        adds = () if on.parent.link else (f"iface {name}",)
        files.append(replace(_file(place, name, _of_parent(on)), adds=adds))
        down += [name] if on.parent.link else []
        if on.shim:
            files.append(_file("2", on.shim, _of_shim(on)))
            down.append(on.shim)
    return Written(tuple(files), (), tuple(f"ifdown {name}" for name in reversed(down)))


def _file(place: str, name: str, stanzas: Iterator[list[str]]) -> File:
    texts = ("\n    ".join(stanza) for stanza in stanzas)
    text = f"auto {name}\n" + "\n".join(f"{text}\n" for text in texts)
    return File(f"{_FOLDER}/ipvkit-{place}-{name}", text, activate=(f"ifup {name}",))


def _of_parent(on: OnParent) -> Iterator[list[str]]:
    """Yield the stanzas for a parent: an address each, with the default route of its family at the first."""
    parent = on.parent
    routes = {to.via.version: to for to in on.routes if to.via is not None}
    stanzas = []
    for own in parent.host:
        to = routes.pop(own.version, None)
        via = [] if to is None else [f"gateway {to.via}", *([f"metric {to.metric}"] if to.metric else [])]
        stanzas.append([f"iface {parent.name} {_INET[own.version]} static", f"address {own}", *via])
    stanzas = stanzas or [[f"iface {parent.name} inet manual"]]
    if parent.link and parent.vlan and vlan_called(parent.name) != (parent.link, parent.vlan):
        # ifupdown creates one that is called LINK.TAG.
        create = ip.link_add(parent.name, ip.Vlan(parent.link, parent.vlan))
        stanzas = _created(parent.name, create, stanzas)
    yield from stanzas


def _of_shim(on: OnParent) -> Iterator[list[str]]:
    """Yield the stanza for the host's link: its addresses, and a route to each address of an endpoint.

    The method static would add a broadcast address, and so a route, for a host's address too.
    """
    flag = None if on.setting.flag == "bridge" else on.setting.flag
    every = [*map(ip_interface, on.setting.shim_addresses)]
    add = [ip.addr_add(own, on.shim, nodad=own.version == 6) for own in every]
    there = (ip_network(own.ip) for endpoint in on.endpoints for own in endpoint.addresses)
    routes = [ip.route_add(ip.RouteTo(to, dev=on.shim)) for to in there]
    create = ip.link_add(on.shim, ip.Ipvlan(on.parent.name, on.setting.mode, flag))
    up = [f"up {command}" for command in (*add, *routes)]
    yield from _created(on.shim, create, [[f"iface {on.shim} inet manual", *up]])


def _created(name: str, create: Command, stanzas: list[list[str]]) -> list[list[str]]:
    """Return `stanzas`, of which the first creates the link, and the last deletes it."""
    stanzas[0].insert(1, f"pre-up {create}")
    stanzas[-1].append(f"post-down {ip.link_delete(name)}")
    return stanzas


FORMAT = Format(
    name="ifupdown",
    title="ifupdown",
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
