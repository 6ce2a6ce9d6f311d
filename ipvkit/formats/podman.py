"""Podman: quadlets, and networks as `podman network inspect` and /etc/containers/networks have them in JSON.

Written are quadlets, a .network for endpoints with the same subnets and routes, and a .container for each
namespace: they have the addresses of containers, and systemd starts these again after a reboot. A network's
JSON has no containers, and the `podman run` that gives one its address would be in no file.

Source: podman-systemd.unit(5), podman-network-create(1), and netavark's src/network/vlan.rs.
"""

import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_interface
from itertools import count, islice, zip_longest

import yaml

from ipvkit.core.errors import InvalidLab, UsageError
from ipvkit.core.values import (
    Address,
    InterfaceAddress,
    Network,
    any_address,
    any_interface_address,
    interface_address,
    interface_name,
    is_link_local,
    netns_name,
    network,
)
from ipvkit.formats.base import Beyond, File, Format, Limits, Written
from ipvkit.formats.deployment import DEFAULTS, Deployment, OnParent, merged, on_parent
from ipvkit.formats.texts import documents, vlans
from ipvkit.formats.units import Section, every, last, sections
from ipvkit.lab import Endpoint, Setting
from ipvkit.lab.fields import Field, Source
from ipvkit.lab.parts import MODES, Route, family_of

_WHAT, _HINT = "Podman network", "`podman network inspect NAME` shows what it looks like"
_FOLDER = "/etc/containers/systemd"
_JSON = re.compile(r'\s*(?:\{|\[\s*\{).*"(network_interface|dns_enabled|ipv6_enabled)"\s*:', re.DOTALL)
_UNIT = re.compile(r"^[ \t]*\[(Network|Container|Pod)\][ \t\r]*$", re.MULTILINE)
_OF_NETWORKD = re.compile(r"^[ \t]*\[Match\]", re.MULTILINE)
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
_CHARACTERS = "use letters, digits and _ . -; the first is a letter or a digit"
"""What Podman can call a container or a network."""

_OPTIONS = ("mode", "mtu", "metric", "no_default_route")
_KEYS = {
    **dict.fromkeys(("-o", "--opt"), "Options"),
    **dict.fromkeys(("-d", "--driver"), "Driver"),
    **dict.fromkeys(("--network", "--net"), "Network"),
    **{"--subnet": "Subnet", "--gateway": "Gateway", "--ip-range": "IPRange", "--internal": "Internal"},
    **{"--ip": "IP", "--ip6": "IP6", "--interface-name": "InterfaceName", "--ipam-driver": "IPAMDriver"},
}
"""Options in PodmanArgs that decide what is created, and the keys that are read in their place."""

_COMMENT = "# A lab names no image: busybox stands for each."
_LINK = "eth0"
"""What Podman calls the link of a container."""

_LEAST = 4
"""The size of the smallest subnet from which Podman gives addresses."""

_EXAMPLES = 2
"""How many endpoints stand for the containers of a network that has none in the files."""


def recognises(text: str) -> bool:
    """Return whether `text` is JSON of Podman's networks, or a quadlet of a network, container or pod."""
    if _JSON.match(text):
        return True
    return _UNIT.search(text) is not None and _OF_NETWORKD.search(text) is None


@dataclass(frozen=True, slots=True)
class _Subnet:
    """A subnet, the gateway that a file names, and the first and last address that containers get."""

    network: Network
    given: Address | None
    first: Address
    last: Address

    @property
    def gateway(self) -> Address:
        """The gateway, by default the first address."""
        return self.given or self.network[1]

    def free(self) -> Iterator[InterfaceAddress]:
        """Yield the addresses that containers get, in their order."""
        start, end = int(self.network[0]), int(self.network[-1]) - (self.network.version == 4)
        for number in range(max(int(self.first), start + 1), min(int(self.last), end) + 1):
            own = self.network[number - start]
            if own != self.gateway:
                yield ip_interface((own, self.network.prefixlen))


@dataclass(frozen=True, slots=True)
class _Network:
    """An ipvlan network: its name and place in messages, and what the link of each container on it has."""

    name: str
    place: str
    parent: str
    setting: Setting
    mtu: int | None
    subnets: tuple[_Subnet, ...]
    routes: tuple[Route, ...]


_Networks = dict[str, _Network | None]
"""The networks by each name that a file has for them; None are those of other drivers."""


@dataclass(frozen=True, slots=True)
class _Link:
    """The link of a container on a network, with the addresses that a file gives it."""

    network: str
    container: str
    place: str
    dev: str
    given: tuple[Field, ...] = ()


def read(sources: Sequence[Source]) -> Deployment:
    """Return what Podman would create."""
    notes: list[str] = []
    networks: _Networks = {}
    links: list[_Link] = []
    in_json = [source for source in sources if _JSON.match(source.text)]
    for item in (item for source in in_json for item in _items(source)):
        name, found = _of_json(item, notes)
        networks[name] = found
        links += _inspected(name, item) if found else ()
    units = _units(source for source in sources if source not in in_json)
    for unit, every_section in units.items():
        if own := [section for section in every_section if section.name == "Network"]:
            name = _name_of(unit, last(own, "NetworkName"), _network_name)
            networks[unit] = networks[name] = _of_unit(name, own)
    for unit, every_section in units.items():
        if own := [section for section in every_section if section.name in ("Container", "Pod")]:
            links += _of_container(unit, own, networks, notes)
    on: dict[_Network, list[_Link]] = {each: [] for each in networks.values() if each}
    if not on:
        what = f"{sources[0].file}: no ipvlan network is in the files"
        raise InvalidLab(what, "give the .network file too: a folder stands for the files in it")
    for link in links:
        if joined := networks[link.network]:
            on[joined].append(link)
    parents = merged([(each.name, _on(each, there, notes)) for each, there in on.items()])
    return Deployment("podman", parents, tuple(notes))


def _units(sources: Iterable[Source]) -> dict[str, list[Section]]:
    """Return the sections of each unit by its file's name; a drop-in is part of the one its folder names."""
    found: dict[str, list[Section]] = {}
    for source in sources:
        *_, folder, name = f"/{source.file}".split("/")
        drop_in = re.fullmatch(r"(.+\.(?:network|container|pod))\.d", folder)
        found.setdefault(drop_in[1] if drop_in else name, []).extend(sections(source, ""))
    return found


def _name_of(unit: str, given: Field | None, check: Callable[[str], str]) -> str:
    """Return the name of what a unit creates: `given`, or by default that of the unit."""
    base = re.sub(r"[^a-zA-Z0-9_.-]", "-", unit.rpartition(".")[0] or unit)
    if given is None:
        return f"systemd-{base}"
    named = re.sub("%[NpP]", base, given.text())
    return _part(given, named).checked(check)


def _network_name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise UsageError(f"invalid network name {text!r}", _CHARACTERS)
    return text


def _part(field: Field, text: str) -> Field:
    """Return `text`, a part of a value, as a value at the same place."""
    mark = field.node.start_mark
    return replace(field, node=yaml.ScalarNode("tag:yaml.org,2002:str", text, mark, mark))


def _items(source: Source) -> Iterator[Field]:
    for document in documents(source, _WHAT, _HINT):
        yield from document.items() if isinstance(document.node, yaml.SequenceNode) else [document]


def _keys(field: Field | None) -> dict[str, Field]:
    """Return the values of a mapping; null is none, as for Podman."""
    pairs = field.pairs(_HINT) if field is not None else {}
    return {key: value for key, (_, value) in pairs.items() if not value.node.tag.endswith(":null")}


def _needed(field: Field, key: str) -> Field:
    keys = _keys(field)
    if key not in keys:
        raise field.missing(key)
    return keys[key]


def _listed(keys: Mapping[str, Field], key: str) -> list[Field]:
    return keys[key].items() if key in keys else []


def _of_json(item: Field, notes: list[str]) -> tuple[str, _Network | None]:
    """Return the name of a network in JSON, and the network."""
    keys = _keys(item)
    name = _needed(item, "name").checked(_network_name)
    if _needed(item, "driver").text() != "ipvlan":
        return name, None
    options = _keys(keys.get("options"))
    for key in [key for key in options if key not in _OPTIONS]:
        notes.append(f"{options.pop(key).place}: netavark ignores the option `{key}`")
    ipam = _keys(keys.get("ipam_options")).get("driver")
    others = {"parent": keys.get("network_interface"), "internal": keys.get("internal"), "ipam": ipam}
    options |= {key: value for key, value in others.items() if value is not None}
    subnets = [_subnet_of_json(each) for each in _listed(keys, "subnets")]
    routes = [_route_of_json(each) for each in _listed(keys, "routes")]
    return name, _network(name, item, options, subnets, routes)


def _subnet_of_json(item: Field) -> _Subnet:
    keys = _keys(item)
    ends = _keys(keys.get("lease_range"))
    first, last_ = (ends[key].checked(any_address) if key in ends else None for key in ("start_ip", "end_ip"))
    return _subnet(_needed(item, "subnet"), keys.get("gateway"), first, last_)


def _route_of_json(item: Field) -> Route:
    to, via = (_needed(item, key) for key in ("destination", "gateway"))
    return Route(to.checked(network), via.checked(any_address))


def _inspected(network_: str, item: Field) -> Iterator[_Link]:
    """Yield the links of the containers that `podman network inspect` lists."""
    for container in _keys(_keys(item).get("containers")).values():
        name = _needed(container, "name")
        for dev, interface in _keys(_keys(container).get("interfaces")).items():
            given = [_needed(each, "ipnet") for each in _listed(_keys(interface), "subnets")]
            addresses = tuple(_part(each, str(each.checked(any_interface_address).ip)) for each in given)
            named = _part(interface, dev).checked(interface_name)
            yield _Link(network_, name.checked(netns_name), name.place, named, addresses)


def _of_unit(name: str, own: Sequence[Section]) -> _Network | None:
    """Return the network of a .network file."""
    driver = last(own, "Driver")
    if driver is None or driver.text() != "ipvlan":
        return None
    options: dict[str, Field] = {}
    for field in every(own, "Options"):
        for word in _words(field):
            key, _, value = word.partition("=")
            options[key] = replace(_part(field, value), name=key)
    for key, given in options.items():
        if key not in ("parent", *_OPTIONS):
            hint = f"choose from parent, {', '.join(_OPTIONS)}; a link has the flag bridge"
            raise given.wrong("Podman refuses this option", hint)
    others = {"parent": "InterfaceName", "internal": "Internal", "ipam": "IPAMDriver"}
    found = {key: last(own, there) for key, there in others.items()}
    options = {key: value for key, value in found.items() if value is not None} | options
    subnets, gateways, ranges = (every(own, key) for key in ("Subnet", "Gateway", "IPRange"))
    for extra in (*gateways[len(subnets) :], *ranges[len(subnets) :]):
        raise extra.wrong("there are fewer subnets", "write a Subnet for each")
    every_subnet = [
        _subnet(subnet, gateway, *_ends(range_))
        for subnet, gateway, range_ in zip_longest(subnets, gateways, ranges)
    ]
    routes = [_route(field) for field in _routes_in_args(own)]
    return _network(name, driver, options, every_subnet, routes)


def _route(field: Field) -> Route:
    """Return the route that is written DESTINATION,GATEWAY,METRIC, the last of which may be missing."""
    to, _, via = field.text().partition(",")
    gateway = via.partition(",")[0]
    return Route(_part(field, to).checked(network), _part(field, gateway).checked(any_address))


def _words(field: Field) -> list[str]:
    try:
        return shlex.split(field.text())
    except ValueError:
        raise field.wrong("a quotation mark without another", "close the quotation") from None


def _routes_in_args(own: Sequence[Section]) -> list[Field]:
    """Return the routes in PodmanArgs; raise InvalidLab for options of links that have a key."""
    found = []
    for field in every(own, "PodmanArgs"):
        words = iter(_words(field))
        for word in words:
            option, equals, value = word.partition("=")
            if option in _KEYS:
                raise field.wrong(f"{option} is not read", f"write it as a key: {_KEYS[option]}=…")
            if option == "--route":
                found.append(_part(field, value if equals else next(words, "")))
    return found


def _ends(field: Field | None) -> tuple[Address | None, Address | None]:
    """Return the first and the last address of an IPRange."""
    if field is None:
        return None, None
    start, dash, end = field.text().partition("-")
    if dash:
        return _part(field, start).checked(any_address), _part(field, end).checked(any_address)
    subnet = field.checked(any_interface_address).network
    return subnet[min(1, subnet.num_addresses - 1)], subnet[-1]


def _subnet(field: Field, gateway: Field | None, first: Address | None, last_: Address | None) -> _Subnet:
    own = field.checked(any_interface_address).network
    if own.num_addresses < _LEAST:
        raise field.wrong(f"{own} has no address for a container", "use a larger subnet")
    given = gateway.checked(any_address) if gateway is not None else None
    if gateway is not None and given not in own:
        raise gateway.wrong(f"{given} is not in {own}", "use an address of the subnet")
    if any(each is not None and each not in own for each in (first, last_)):
        raise field.wrong(f"the range is not in {own}", "use addresses of the subnet")
    return _Subnet(own, given, first or own.network_address, last_ or own.broadcast_address)


def _network(
    name: str, item: Field, options: Mapping[str, Field], subnets: Sequence[_Subnet], routes: Sequence[Route]
) -> _Network:
    """Return the network of which the options are those of Podman, and `parent`, `internal` and `ipam`."""
    place = replace(item, name=f"network {name}")
    # An empty option is the usual one.
    options = {key: value for key, value in options.items() if value.node.value}
    if "parent" not in options:
        hint = "Podman takes the link of the default route: name it"
        raise place.wrong("the parent is missing", hint)
    parent = options["parent"]
    if "," in parent.text():
        raise parent.wrong(f"invalid parent {parent.text()!r}", "separate options with a space")
    if not subnets or ("ipam" in options and options["ipam"].text() != "host-local"):
        raise place.wrong("it has no addresses", "a subnet, and the ipam driver host-local, are needed")
    mode = options["mode"].one_of(MODES) if "mode" in options else MODES[0]
    mtu = options["mtu"].number("MTU", 0, 65535) if "mtu" in options else 0
    setting = Setting(mode)  # type: ignore[arg-type]
    defaults: dict[str, Route] = {}
    if not any(key in options and _true(options[key]) for key in ("internal", "no_default_route")):
        for subnet in subnets:
            family = family_of(subnet.network)
            defaults.setdefault(family, Route(DEFAULTS[family], subnet.gateway))
    every_route = tuple(dict.fromkeys((*defaults.values(), *routes)))
    link = parent.checked(interface_name)
    return _Network(name, place.place, link, setting, mtu or None, tuple(subnets), every_route)


def _true(field: Field) -> bool:
    return field.text().lower() in ("1", "t", "true", "yes", "on")


def _of_container(
    unit: str, own: Sequence[Section], networks: _Networks, notes: list[str]
) -> Iterator[_Link]:
    """Yield the links of the container, or of the pod, of a unit; one in a pod has none."""
    if last(own, "Pod"):
        return
    name = _name_of(unit, last(own, f"{own[0].name}Name"), netns_name)
    _routes_in_args(own)  # None are possible here, but options that are not read.
    joined = every(own, "Network")
    given = [field for field in (last(own, "IP"), last(own, "IP6")) if field]
    if given and len(joined) > 1:
        raise given[0].wrong("Podman refuses it with several networks", "write Network=NAME:ip=…")
    there = 0
    for number, field in enumerate(joined):
        called, _, text = field.text().partition(":")
        options = [option.partition("=")[::2] for option in text.split(",") if option]
        if called.endswith(".network") and called not in networks:
            notes.append(f"{field.place}: {called} is not among the files; this link of {name} is left out")
        if networks.get(called) is None:
            continue
        devs = [_part(field, value) for key, value in options if key == "interface_name"]
        if not devs and len(joined) > 1:
            what = f"Podman names the links of {name} in any order; eth{number} is an example"
            notes.append(f"{field.place}: {what}")
        dev = devs[-1].checked(interface_name) if devs else f"eth{number}"
        addresses = [_part(field, value) for key, value in options if key in ("ip", "ip6")]
        there += 1
        yield _Link(called, name, field.place, dev, (*addresses, *given))
    if not there:
        notes.append(f"{own[0].place}: {name} is on no ipvlan network in the files, and left out")


def _on(network_: _Network, links: Sequence[_Link], notes: list[str]) -> OnParent:
    """Return what is on the parent of a network; where no address is given, it is the next free one."""
    if not links:
        most = min(len([*islice(subnet.free(), _EXAMPLES)]) for subnet in network_.subnets)
        names = [f"{network_.name}-{number}" for number in range(1, max(most, 1) + 1)]
        what = f"no container is on network {network_.name}; for example, {' and '.join(names)}"
        notes.append(f"{network_.place}: {what}")
        links = [_Link(network_.name, name, "", _LINK) for name in names]
    given = [(link, [_given(network_, field) for field in link.given]) for link in links]
    taken = {own for _, every_own in given for own in every_own}
    pools = [(own for own in subnet.free() if own not in taken) for subnet in network_.subnets]
    endpoints = []
    for link, every_own in given:
        addresses: list[InterfaceAddress] = []
        chosen: list[InterfaceAddress] = []
        for subnet, pool in zip(network_.subnets, pools, strict=True):
            static = [own for own in every_own if own.network == subnet.network][:1]
            free = [] if static else [*islice(pool, 1)]
            if not static and not free:
                what = f"{network_.place}: network {network_.name} has no free address in {subnet.network}"
                raise InvalidLab(what, "use a larger subnet or range")
            chosen += free
            addresses += static or free
        ignored = [own for own in every_own if own not in addresses]
        notes += [f"{link.place}: Podman ignores {own.ip}: one address of a subnet" for own in ignored]
        if chosen and link.place:
            there = " and ".join(str(own.ip) for own in chosen)
            what = f"{link.container} gets an address at run time; {there} is the next free one"
            notes.append(f"{link.place}: {what}")
        name, routes, mtu = link.container, network_.routes, network_.mtu
        endpoints.append(Endpoint(name, tuple(addresses), name, "", routes, mtu, dev=link.dev))
    gateways = [subnet.given for subnet in network_.subnets if subnet.given]
    return on_parent(network_.parent, network_.setting, endpoints, gateways)


def _given(network_: _Network, field: Field) -> InterfaceAddress:
    ip = field.checked(any_address)
    for subnet in network_.subnets:
        if ip in subnet.network:
            return _part(field, f"{ip}/{subnet.network.prefixlen}").checked(interface_address)
    there = " or ".join(str(subnet.network) for subnet in network_.subnets)
    raise field.wrong(f"{ip} is in no subnet of network {network_.name}", f"use an address of {there}")


@dataclass(frozen=True, slots=True)
class _Written:
    """A network that is written: its name, its parent, and the endpoints on it, which differ in addresses."""

    name: str
    on: OnParent
    endpoints: list[Endpoint]

    def takes(self, on: OnParent, endpoint: Endpoint) -> bool:
        """Return whether `endpoint` can be on this network: a container is on it once."""
        return (
            self.on is on
            and _shared(self.endpoints[0]) == _shared(endpoint)
            and all(each.netns != endpoint.netns for each in self.endpoints)
        )


def _shared(endpoint: Endpoint) -> object:
    """Return what a network has for all containers."""
    networks = [own.network for own in endpoint.addresses]
    return networks, frozenset(endpoint.routes or ()), endpoint.mtu


def _networks(deployment: Deployment) -> list[_Written]:
    """Return the networks of a deployment, called by their parents."""
    found: list[_Written] = []
    # A network and a container may not have the same service.
    taken = {endpoint.netns.removesuffix("-network") for endpoint in deployment.endpoints}
    for on in deployment.parents:
        base = re.sub("[^a-zA-Z0-9.-]", "-", on.parent.name).lstrip("-") or "lan"
        for endpoint in on.endpoints:
            there = next((each for each in found if each.takes(on, endpoint)), None)
            if there is not None:
                there.endpoints.append(endpoint)
                continue
            names = (base if number == 1 else f"{base}-{number}" for number in count(1))
            name = next(name for name in names if name not in taken)
            taken.add(name)
            found.append(_Written(name, on, [endpoint]))
    return found


def write(deployment: Deployment) -> Written:
    """Return the quadlets, and the lines that start and that stop their services."""
    add, delete = vlans(deployment)
    networks = _networks(deployment)
    containers = dict.fromkeys(endpoint.netns for endpoint in deployment.endpoints)
    files = [File(f"{_FOLDER}/{each.name}.network", _network_text(each)) for each in networks]
    files += [File(f"{_FOLDER}/{each}.container", _container_text(each, networks)) for each in containers]
    services = [f"{each}.service" for each in containers]
    all_services = [*services, *(f"{each.name}-network.service" for each in networks)]
    return Written(
        tuple(files),
        (*add, "systemctl daemon-reload", shlex.join(["systemctl", "start", *services])),
        (
            shlex.join(["systemctl", "stop", *all_services]),
            shlex.join(["podman", "network", "rm", *(each.name for each in networks)]),
            *delete,
        ),
    )


def _network_text(written: _Written) -> str:
    """Return the text of a .network file; where each family has a default route, it is that of a gateway."""
    like, on = written.endpoints[0], written.on
    routes = [*(like.routes or ())]
    gateways = {family_of(route.to): route for route in routes if route.to and route.to in DEFAULTS.values()}
    vias = [gateways[family].via for family in map(family_of, like.addresses) if family in gateways]
    usual = len(vias) == len(gateways) == len(like.addresses) and all(
        via in own.network for via, own in zip(vias, like.addresses, strict=True)
    )
    options = [f"parent={on.parent.name}", f"mode={on.setting.mode}"]
    options += [f"mtu={like.mtu}"] if like.mtu else []
    options += [] if usual else ["no_default_route=true"]
    lines = ["[Network]", f"NetworkName={written.name}", "Driver=ipvlan", f"Options={' '.join(options)}"]
    for number, own in enumerate(like.addresses):
        lines += [f"Subnet={own.network}", *([f"Gateway={vias[number]}"] if usual else [])]
    others = [route for route in routes if not usual or route not in gateways.values()]
    lines += [f"PodmanArgs=--route={route.to},{route.via}" for route in others]
    return "\n".join(lines) + "\n"


def _container_text(netns: str, networks: Sequence[_Written]) -> str:
    own = [(each, endpoint) for each in networks for endpoint in each.endpoints if endpoint.netns == netns]
    lines = [_COMMENT, "[Container]", f"ContainerName={netns}", "Image=docker.io/library/busybox"]
    lines += ["Exec=sleep infinity"]
    for network_, endpoint in own:
        options = [f"ip{'6' if each.version == 6 else ''}={each.ip}" for each in endpoint.addresses]
        options += [f"interface_name={endpoint.dev}"] if len(own) > 1 or endpoint.dev != _LINK else []
        lines.append(f"Network={network_.name}.network:{','.join(options)}")
    return "\n".join([*lines, "", "[Install]", "WantedBy=multi-user.target"]) + "\n"


def _beyond(deployment: Deployment) -> Iterator[Beyond]:
    for endpoint in deployment.endpoints:
        if not _NAME.fullmatch(endpoint.netns):
            yield f"the container name {endpoint.netns}", "name"
        networks = [own.network for own in endpoint.addresses]
        if len(networks) > len({*networks}):
            yield f"two addresses in one subnet of {endpoint.name}", "several"
        for route in endpoint.routes or ():
            if route.via is not None and is_link_local(route.via):
                yield f"a route via {route.via} of {endpoint.name}", "link-local"


FORMAT = Format(
    name="podman",
    title="Podman",
    limits=Limits(
        routes="via",
        why={
            "flag": "Podman refuses a flag, and netavark creates `bridge`",
            "shim": "ipvkit export --format networkd writes it",
            "routes": "give the route a gateway, as in `routes: [{to: default, via: 192.0.2.1}]`",
            "several": "a container has one address of each subnet",
            "link-local": "netavark names no link in a route: give the gateway a global address",
            "name": _CHARACTERS,
        },
    ),
    recognises=recognises,
    read=read,
    write=write,
    beyond=_beyond,
)
