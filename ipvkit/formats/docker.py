"""Docker: ipvlan networks and who is on them, in a compose file or as `docker network inspect` prints them.

Source: libnetwork/drivers/ipvlan of moby, and the Compose Specification; measured with Docker 26.1.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from ipaddress import ip_interface
from typing import Any, Literal

import yaml

from ipvkit.core.errors import InvalidLab
from ipvkit.core.values import (
    Address,
    InterfaceAddress,
    Network,
    any_address,
    interface_address,
    interface_name,
    netns_name,
    network,
)
from ipvkit.formats.base import Beyond, File, Format, Limits, Written
from ipvkit.formats.compose import (
    HINT,
    Keys,
    Project,
    Service,
    at_place,
    get,
    is_true,
    keys_of,
    needed,
    projects,
)
from ipvkit.formats.deployment import DEFAULTS, Deployment, OnParent, merged, on_parent
from ipvkit.formats.texts import documents, vlans
from ipvkit.lab import Endpoint, Setting
from ipvkit.lab.fields import Field, Source
from ipvkit.lab.parts import FLAGS, MODES, Route, family_of

_WHAT = "Docker configuration"
_FILE = "compose.yaml"
_COMMENT = "# A lab names no image: busybox stands for each.\n"
_OPTIONS = ("parent", "ipvlan_mode", "ipvlan_flag")
"""The options of the driver; it ignores all others, that of the MTU too."""

_AS_COMPOSED = {
    "Driver": "driver",
    "Options": "driver_opts",
    "IPAM": "ipam",
    "Config": "config",
    "Subnet": "subnet",
    "IPRange": "ip_range",
    "Gateway": "gateway",
    "AuxiliaryAddresses": "aux_addresses",
    "EnableIPv4": "enable_ipv4",
    "EnableIPv6": "enable_ipv6",
    "Internal": "internal",
}
"""The keys that `docker network inspect` prints, with their names in a compose file."""

_EXAMPLES = 2
"""How many endpoints stand for containers where no one is on a network."""

_SERVICE_KEYS = {"image": "busybox", "command": "sleep infinity", "init": True, "restart": "unless-stopped"}
"""The keys of each service that is written; with `init`, it stops at once."""

_SERVICE = re.compile(r"[A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class _Pool:
    """A subnet of a network: the range that addresses are given from, those that are not, and its gateway."""

    subnet: Network
    range: Network
    reserved: tuple[Address, ...] = ()
    named: Address | None = None

    def addresses(self) -> Iterator[Address]:
        """Yield those that a container can get, in the order in which Docker gives them."""
        others = {*_special(self.subnet), *self.reserved}
        every = (self.range[number] for number in range(self.range.num_addresses))
        return (own for own in every if own not in others)

    @property
    def gateway(self) -> Address | None:
        """The gateway that is named, or the first address, which Docker takes for one."""
        return self.named or next(self.addresses(), None)


def _special(subnet: Network) -> set[Address]:
    """Return the addresses of `subnet` that Docker gives no container."""
    has_room = subnet.num_addresses > 2 or subnet.version == 6
    return {subnet.network_address, subnet.broadcast_address} if has_room else set()


@dataclass(frozen=True, slots=True)
class _Network:
    """An ipvlan network; containers have no default route by it if it is `internal`."""

    name: str
    place: Field
    parent: str
    setting: Setting
    internal: bool
    pools: tuple[_Pool, ...]


@dataclass(frozen=True, slots=True)
class _Container:
    """A container on a network: the name of its endpoint, its own, and the addresses that are given.

    Docker numbers its links, internal ones last, by the names of networks; default routes are by number 0.
    """

    name: str
    netns: str
    given: tuple[Field, ...] = ()
    number: int = 0


_Found = tuple[_Network, list[_Container]]


def recognises(text: str) -> bool:
    """Return whether `text` is a compose file, or describes networks as `docker network inspect` does."""
    return re.search(r'^(\{\s*)?"?(services|networks)"?\s*:|"IPAM"\s*:', text, re.MULTILINE) is not None


def read(sources: Sequence[Source]) -> Deployment:
    """Return what Docker would create; an external network of a compose file can be in another file."""
    notes: list[str] = []
    every = [(source.file, each) for source in sources for each in documents(source, _WHAT, HINT)]
    described = [item for _, each in every for item in _described(each)]
    inspected = [*_inspected(described, notes)]
    there = {net.name: net for net, _ in inspected}
    composed = [(path, each) for path, each in every if not _described(each)]
    found = [net for project in projects(composed, notes) for net in _composed(project, there, notes)]
    used = {net.name for net, _ in found}
    found += [each for each in inspected if each[0].name not in used]
    if not found:
        hint = "import it together with what `docker network inspect` prints of an external network"
        raise InvalidLab(f"{sources[0].file}: no network has the driver ipvlan", hint)
    first: dict[str, str] = {}
    for net, _ in found:
        one, at = first.setdefault(net.parent, net.name), net.place.place
        if one != net.name:
            notes.append(f"{at}: Docker 26 refuses {net.name}, as {one} is on {net.parent} too")
    return Deployment("docker", merged([_deployed(*each, notes) for each in found]), tuple(notes))


def _described(document: Field) -> list[Field]:
    """Return the networks that `docker network inspect` describes; a compose file has none."""
    if isinstance(document.node, yaml.SequenceNode):
        return document.items()
    return [document] if "IPAM" in keys_of(document) else []


def _as_composed(field: Field | None) -> Keys:
    """Return the values of a part of a network by their keys in a compose file."""
    return {_AS_COMPOSED.get(key, key): value for key, value in keys_of(field).items()}


def _inspected(described: Sequence[Field], notes: list[str]) -> Iterator[_Found]:
    """Yield the ipvlan networks among those that are described, with their containers."""
    found: list[tuple[_Network, list[Field]]] = []
    for item in described:
        keys = keys_of(item)
        if "IPAM" not in keys:
            raise item.wrong("`IPAM` is missing", HINT)
        net = _network(needed(item, keys, "Name").text(), item, notes)
        found += [(net, [*keys_of(keys.get("Containers")).values()])] if net is not None else []
    links = Counter[str]()
    for net, containers in sorted(found, key=lambda each: (each[0].internal, each[0].name)):
        yield net, [_container(each, net.name, links) for each in containers]


def _container(field: Field, net: str, links: Counter[str]) -> _Container:
    """Return a container on the network `net`, and count its `links`."""
    keys = keys_of(field)
    name = needed(field, keys, "Name").checked(netns_name)
    every = (get(keys, key) for key in ("IPv4Address", "IPv6Address"))
    links[name] += 1
    given = tuple(each for each in every if each is not None and each.text())
    return _placed(name, name, net, given, links[name] - 1)


def _placed(name: str, netns: str, net: str, given: tuple[Field, ...], number: int) -> _Container:
    return _Container(f"{name}-{net}" if number else name, netns, given, number)


def _network(name: str, place: Field, notes: list[str]) -> _Network | None:
    """Return an ipvlan network; one with another driver has a note."""
    keys = _as_composed(place)
    driver = get(keys, "driver")
    if driver is None or driver.text() != "ipvlan":
        other = driver.text() if driver is not None else "bridge"
        notes.append(f"{place.place}: {name} is left out: its driver is {other}")
        return None
    options = keys_of(keys.get("driver_opts"))
    for key, value in options.items():
        if key not in _OPTIONS:
            notes.append(f"{value.place}: the driver ignores `{key}`")
    parent = get(options, "parent")
    if parent is None:
        hint = "without it Docker creates a dummy, on which containers reach only each other: name the NIC"
        raise place.wrong("`parent` is missing", hint)
    mode, flag = get(options, "ipvlan_mode"), get(options, "ipvlan_flag")
    setting = Setting(mode.one_of(MODES) if mode else "l2", flag.one_of(FLAGS) if flag else "bridge")  # type: ignore[arg-type]
    return _Network(
        name,
        place,
        parent.checked(interface_name),
        setting,
        is_true(keys, "internal"),
        tuple(_pools(name, place, keys, notes)),
    )


def _pools(name: str, place: Field, keys: Keys, notes: list[str]) -> Iterator[_Pool]:
    """Yield the subnets of a network, of the families that it has."""
    ipam = _as_composed(keys.get("ipam"))
    driver, config = get(ipam, "driver"), get(ipam, "config")
    if driver is not None and driver.text() not in ("", "default"):
        raise driver.wrong(
            f"ipam {driver.text()}: its addresses are in no file", "ipvkit reads those of default"
        )
    every = [_pool(item) for item in config.items()] if config is not None else []
    there = {pool.subnet.version for pool in every}
    if 4 not in there and is_true(keys, "enable_ipv4", usual=True):
        raise place.wrong(
            "`subnet` is missing", "Docker takes one that is in no file: add it to `ipam`, `config`"
        )
    for pool in every:
        if is_true(keys, f"enable_ipv{pool.subnet.version}", usual=pool.subnet.version == 4):
            yield pool
        else:
            notes.append(f"{place.place}: Docker ignores {pool.subnet}: {name} has no `enable_ipv6: true`")


def _pool(item: Field) -> _Pool:
    keys = _as_composed(item)
    subnet = needed(item, keys, "subnet").checked(network)
    given, gateway = get(keys, "ip_range"), get(keys, "gateway")
    inside = given.checked(network) if given is not None else subnet
    wider = inside.prefixlen < subnet.prefixlen
    if given is not None and (wider or inside.network_address not in subnet):
        raise given.wrong(f"{inside} is not in {subnet}", "take a part of the subnet")
    named = _address(gateway) if gateway is not None else None
    if gateway is not None and named not in subnet:
        raise gateway.wrong(f"{named} is not in {subnet}", "take an address of the subnet")
    others = keys_of(keys.get("aux_addresses"))
    reserved = [_address(each) for each in (get(others, key) for key in others) if each is not None]
    pool = _Pool(subnet, inside, tuple(reserved + ([named] if named else [])), named)
    if pool.gateway is None:
        raise item.wrong(f"{inside} has no address for a gateway", "take a larger one, or add `gateway`")
    return pool


def _address(field: Field) -> Address:
    """Return an address, which may have a prefix length behind it."""
    return field.checked(lambda text: any_address(text.partition("/")[0]))


def _composed(project: Project, there: Mapping[str, _Network], notes: list[str]) -> Iterator[_Found]:
    """Yield the ipvlan networks of a compose file, with the containers of its services.

    An external one is among those that are `there`, or has a note.
    """
    found: dict[str, _Found] = {}
    for key, field in project.networks.items():
        own = keys_of(field)
        external = get(own, "external")
        name = get(keys_of(external) if external is not None and not external.is_scalar else own, "name")
        called = name.text() if name is not None else key
        if external is None or (external.is_scalar and not is_true(own, "external")):
            net = _network(called, field, notes)
        else:
            net = there.get(called)
            if net is None:
                notes.append(f"{field.place}: {key} is left out: it is external, and in no file")
        if net is not None:
            found[key] = net, []
    for service in project.services:
        for key, container in _of_service(service, found, notes):
            found[key][1].append(container)
    yield from found.values()


def _of_service(
    service: Service, networks: Mapping[str, _Found], notes: list[str]
) -> Iterator[tuple[str, _Container]]:
    """Yield the container of a service for each of the `networks` that it is on, by the network's key."""
    name, place = service.name, service.place
    on = _joined(service)
    count = service.get("scale") or get(keys_of(service.get("deploy")), "replicas")
    containers = count.text() if count is not None else "1"
    if containers == "0" or not any(key in networks for key in on):
        why = "it has no container" if containers == "0" else "it is on no ipvlan network"
        notes.append(f"{place.place}: {name} is left out: {why}")
        return
    order = sorted(on, key=lambda key: (key in networks and networks[key][0].internal, key))
    if containers != "1":
        notes.append(f"{place.place}: {name} has {containers} containers; one is an example")
    if len(on) > 1:
        joined = ", ".join(order)
        notes.append(
            f"{place.place}: {name} is on {joined}; its default routes are taken to be by {order[0]}"
        )
    netns = (service.get("container_name") or at_place(place, name)).checked(netns_name)
    for number, key in enumerate(order):
        if key in networks:
            every = (get(on[key], each) for each in ("ipv4_address", "ipv6_address"))
            yield key, _placed(name, netns, key, tuple(each for each in every if each is not None), number)


def _joined(service: Service) -> dict[str, Keys]:
    """Return the keys of the networks that a service is on, with its own keys there."""
    if service.get("network_mode") is not None:
        return {}
    found: dict[str, Keys] = {}
    for layer in service.layers:
        networks = get(layer, "networks")
        if networks is not None and isinstance(networks.node, yaml.MappingNode):
            each = {key: keys_of(value) for key, value in keys_of(networks).items()}
        else:
            each = {item.text(): {} for item in networks.items()} if networks is not None else {}
        found |= {key: found.get(key, {}) | own for key, own in each.items()}
    return found or {"default": {}}


def _deployed(net: _Network, containers: Sequence[_Container], notes: list[str]) -> tuple[str, OnParent]:
    """Return the name of a network, and what is on its parent: its containers, or examples of them."""
    at, known = net.place.place, bool(containers)
    if not known:
        names = [
            at_place(net.place, f"{net.name}-{number + 1}").checked(netns_name) for number in range(_EXAMPLES)
        ]
        notes.append(f"{at}: no container is on {net.name}; {' and '.join(names)} are examples")
        containers = [_Container(name, name) for name in names]
    for pool in net.pools:
        if pool.named is None and net.setting.mode == "l2" and not net.internal:
            notes.append(f"{at}: {net.name} names no gateway; Docker takes {pool.gateway}")
    given = [dict(_given(net, each, notes)) for each in containers]
    taken = {pool.gateway for pool in net.pools} | {own.ip for each in given for own in each.values()}
    free = {version: _left(net, version, taken) for version in {pool.subnet.version for pool in net.pools}}
    endpoints = []
    for container, addresses in zip(containers, given, strict=True):
        added = dict(_next(net, container, {*addresses}, free))
        if added and known:
            there = " and ".join(str(own.ip) for own in added.values())
            notes.append(
                f"{at}: {container.name} gets a free address when it starts; {there} is the next one"
            )
        own = tuple(address for _, address in sorted((addresses | added).items()))
        routes = _routes(net, own) if container.number == 0 else ()
        dev = f"eth{container.number}"
        endpoints.append(Endpoint(container.name, own, container.netns, "", routes, dev=dev))
    here = {own.network for endpoint in endpoints for own in endpoint.addresses}
    gateways = [pool.named for pool in net.pools if pool.named is not None and pool.subnet in here]
    return net.name, on_parent(net.parent, net.setting, endpoints, gateways)


def _given(net: _Network, container: _Container, notes: list[str]) -> Iterator[tuple[int, InterfaceAddress]]:
    """Yield the addresses of a container that are given, by their versions."""
    for field in container.given:
        address = _address(field)
        pools = [pool for pool in net.pools if pool.subnet.version == address.version]
        if not pools:
            notes.append(f"{field.place}: Docker ignores {address}: {net.name} has no subnet of its family")
            continue
        pool = next((pool for pool in pools if address in pool.subnet), None)
        if pool is None:
            hint = f"take one of {', '.join(str(pool.subnet) for pool in pools)}"
            raise field.wrong(f"{address} is in no subnet of {net.name}", hint)
        if address == pool.gateway:
            what = f"{address} is the gateway of {net.name}"
            raise field.wrong(what, "take another one, or name another `gateway` for the network")
        own = at_place(field, f"{address}/{pool.subnet.prefixlen}")
        yield address.version, own.checked(interface_address)


def _left(net: _Network, version: Literal[4, 6], taken: set[Address | None]) -> Iterator[InterfaceAddress]:
    """Yield the addresses of a version that Docker gives containers, in its order; each is `taken` then."""
    for pool in (pool for pool in net.pools if pool.subnet.version == version):
        for own in (own for own in pool.addresses() if own not in taken):
            taken.add(own)
            yield ip_interface((own, pool.subnet.prefixlen))


def _next(
    net: _Network,
    container: _Container,
    has: Set[int],
    free: Mapping[Literal[4, 6], Iterator[InterfaceAddress]],
) -> Iterator[tuple[int, InterfaceAddress]]:
    """Yield the next `free` address of each version that a container `has` none of."""
    for version in sorted(free.keys() - has):
        own = next(free[version], None)
        if own is None:
            ranges = ", ".join(str(pool.range) for pool in net.pools if pool.subnet.version == version)
            raise net.place.wrong(f"no address of {ranges} is left for {container.name}", "take a larger one")
        yield version, own


def _routes(net: _Network, addresses: Sequence[InterfaceAddress]) -> tuple[Route, ...]:
    """Return the default routes that Docker writes: in l2 via the gateways, else straight out of the link."""
    if net.internal:
        return ()
    gateways = {pool.subnet: pool.gateway for pool in net.pools} if net.setting.mode == "l2" else {}
    return tuple(Route(DEFAULTS[family_of(own)], gateways.get(own.network)) for own in addresses)


def beyond(deployment: Deployment) -> Iterator[Beyond]:
    """Yield what a compose file cannot say of `deployment`."""
    links = Counter(endpoint.netns for endpoint in deployment.endpoints)
    for endpoint in deployment.endpoints:
        if links[endpoint.netns] > 1:
            yield f"two links in namespace {endpoint.netns}", "links"
        if not _SERVICE.fullmatch(endpoint.netns):
            yield f"a service called {endpoint.netns}", "name"
        if all(own.version != 4 for own in endpoint.addresses):
            yield f"{endpoint.name} without an IPv4 address", "ipv4"
    for on in deployment.parents:
        yield from _of_subnets(on)
        routed = any(endpoint.routes for endpoint in on.endpoints)
        for endpoint in on.endpoints:
            yield from _of_routes(on, endpoint, routed=routed)


def _subnets(on: OnParent) -> list[Network]:
    return [*dict.fromkeys(own.network for endpoint in on.endpoints for own in endpoint.addresses)]


def _taken(on: OnParent) -> set[Address]:
    return {own.ip for endpoint in on.endpoints for own in endpoint.addresses}


def _free(on: OnParent, subnet: Network) -> Address | None:
    """Return the first address of `subnet` that no endpoint has."""
    taken = _taken(on)
    return next((own for own in _Pool(subnet, subnet).addresses() if own not in taken), None)


def _vias(on: OnParent, subnet: Network) -> set[Address | None]:
    """Return what the default routes of endpoints in `subnet` are via; None is straight out of the link."""
    there = [
        endpoint for endpoint in on.endpoints if any(own.network == subnet for own in endpoint.addresses)
    ]
    routes = (route for endpoint in there for route in endpoint.routes or ())
    return {route.via for route in routes if route.to == DEFAULTS[family_of(subnet)]}


def _of_subnets(on: OnParent) -> Iterator[Beyond]:
    """Yield what a compose file cannot say of the subnets on a parent."""
    parent, subnets, taken = on.parent.name, _subnets(on), _taken(on)
    if len({any(own.version == 6 for own in endpoint.addresses) for endpoint in on.endpoints}) > 1:
        yield f"IPv6 addresses of only some endpoints on {parent}", "ipv6"
    for number, subnet in enumerate(subnets):
        for other in subnets[:number]:
            if other.version == subnet.version and other.overlaps(subnet):
                yield f"subnets {other} and {subnet} on {parent}", "subnet"
        if _free(on, subnet) is None or not taken.isdisjoint(_special(subnet)):
            yield f"{subnet} on {parent}, which has no room for a gateway", "subnet"
        vias = _vias(on, subnet)
        if len(vias - {None}) > 1 or not vias.isdisjoint(taken):
            yield f"several gateways, or an endpoint as a gateway, in {subnet}", "gateway"


def _of_routes(on: OnParent, endpoint: Endpoint, *, routed: bool) -> Iterator[Beyond]:
    """Yield what a compose file cannot say of an endpoint's default routes; others are `routed`."""
    vias = {route.to: route.via for route in endpoint.routes or ()}
    for own in endpoint.addresses:
        to, mode = DEFAULTS[family_of(own)], on.setting.mode
        if to not in vias:
            if routed:
                yield f"{endpoint.name} without a default route of {family_of(own)}", "some"
            continue
        via = vias[to]
        if via is None and mode == "l2":
            yield f"a default route without a gateway in l2 of {endpoint.name}", "l2"
        elif via is not None and mode != "l2":
            yield f"a default route via {via} in {mode} of {endpoint.name}", "l3"
        elif via is not None and via not in own.network:
            yield f"gateway {via} out of the subnet of {endpoint.name}", "gateway"


def write(deployment: Deployment) -> Written:
    """Return a compose file with a service for each endpoint, and a network for each parent."""
    services: dict[str, Any] = {}
    networks: dict[str, Any] = {}
    for number, on in enumerate(deployment.parents, 1):
        name = f"lan{number}" if number > 1 else "lan"
        networks[name] = _written(on)
        for endpoint in on.endpoints:
            addresses = {f"{family_of(own)}_address": str(own.ip) for own in endpoint.addresses}
            services[endpoint.netns] = {**_SERVICE_KEYS, "networks": {name: addresses}}
    text = yaml.safe_dump({"services": services, "networks": networks}, sort_keys=False)
    # Docker creates a VLAN called LINK.TAG.
    others = [on for on in deployment.parents if on.parent.name != f"{on.parent.link}.{on.parent.vlan}"]
    add, delete = vlans(replace(deployment, parents=tuple(others)))
    file = File(_FILE, _COMMENT + text)
    return Written((file,), (*add, "docker compose up -d"), ("docker compose down", *delete))


def _written(on: OnParent) -> dict[str, Any]:
    """Return the network of a parent in a compose file."""
    config = []
    for subnet in _subnets(on):
        known = [via for via in (*_vias(on, subnet), *on.parent.gateway) if via is not None and via in subnet]
        first, free = next(_Pool(subnet, subnet).addresses(), None), _free(on, subnet)
        # Docker takes the first address, where a gateway is not named.
        gateway = next((via for via in known if via not in _taken(on)), free if free != first else None)
        config.append({"subnet": str(subnet), **({"gateway": str(gateway)} if gateway is not None else {})})
    options = {"parent": on.parent.name, "ipvlan_mode": on.setting.mode, "ipvlan_flag": on.setting.flag}
    with_ipv6 = any(subnet.version == 6 for subnet in _subnets(on))
    return {
        "driver": "ipvlan",
        "driver_opts": options,
        **({"enable_ipv6": True} if with_ipv6 else {}),
        **({} if any(endpoint.routes for endpoint in on.endpoints) else {"internal": True}),
        "ipam": {"config": config},
    }


FORMAT = Format(
    name="docker",
    title="Docker",
    limits=Limits(
        flags=FLAGS,
        routes="default",
        mtu=False,
        several=False,
        vlan=True,
        why={
            "mtu": "the driver ignores an MTU: an endpoint has that of its parent",
            "several": "a container has one address of a family on a network",
            "shim": "ipvkit export --format networkd writes it",
            "links": "Docker chooses which of them has the default route: give each endpoint a namespace",
            "name": "use letters, digits and . _ -",
            "ipv4": "Docker 26 gives each container an IPv4 address: add one",
            "ipv6": "Docker gives each container on an IPv6 network an address: add one to all, or to none",
            "some": "Docker writes default routes for all endpoints on a parent, or for none",
            "l2": "in l2 Docker writes `default via` the gateway: name it in `routes`, or write `routes: []`",
            "l3": "in l3 and l3s Docker writes `default dev eth0`: leave `routes` out",
            "gateway": "take one gateway for a subnet, another host in it",
            "subnet": "take subnets that do not overlap, with an address for a gateway",
        },
    ),
    recognises=recognises,
    read=read,
    write=write,
    beyond=beyond,
)
