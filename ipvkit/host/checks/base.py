"""Checks of a real parent before a change: findings from facts about the machine."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import Literal

from ipvkit.core.values import Address, InterfaceAddress
from ipvkit.host.interfaces import link_instead
from ipvkit.lab import AddLink, Endpoint, Lab, Parent, Phase, SetMode, Setting
from ipvkit.tools import sysctl
from ipvkit.tools.ip import Link

Severity = Literal["error", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")
"""Worst first: an error stops a run, a warning and an info do not."""

# fmt: off
Code = Literal[
    "no-link", "link-down", "no-carrier", "loopback", "not-ethernet", "refused", "port", "on-ipvlan", "busy",
    "flips", "siblings", "name-taken", "netns-taken", "address-taken", "address-answers", "off-subnet", "mtu",
    "wifi", "rp-filter", "forwarding", "neighbours", "port-security", "unreachable", "not-looked-at",
]
# fmt: on
"""The kind of a finding, in JSON too."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem and its fix, each on one line."""

    code: Code
    severity: Severity
    what: str
    fix: str

    def __str__(self) -> str:
        return f"{self.what}; {self.fix}"


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be created on the link `parent`: `endpoints` in each of `settings`, and the host's `links`.

    `attempted` are settings that a lab tries besides, and `neighbours` is the number of neighbour entries
    that all endpoints need at the same time. An endpoint without a name stands for its addresses only.
    """

    parent: str
    settings: tuple[Setting, ...] = ()
    endpoints: tuple[Endpoint, ...] = ()
    links: tuple[str, ...] = ()
    attempted: tuple[Setting, ...] = ()
    neighbours: int = 0

    @property
    def addresses(self) -> list[tuple[Endpoint, InterfaceAddress]]:
        """Each address with its endpoint."""
        return [(endpoint, address) for endpoint in self.endpoints for address in endpoint.addresses]

    @property
    def kinds(self) -> list[str]:
        """The kinds of link that are to be on the parent."""
        return sorted({setting.kind for setting in self.settings}) or ["ipvlan"]

    @property
    def modes(self) -> list[str]:
        """Each mode with its flag, as `ip` prints them."""
        every = (*self.settings, *self.attempted)
        return list(dict.fromkeys(f"{s.mode} {s.flag}" for s in every if s.is_ipvlan))


def request_of(lab: Lab, parent: Parent | None = None) -> Request:
    """Return what `lab` creates on `parent`, or on its first one."""
    parent = parent or lab.parents[0]
    settings = tuple(phase.on(parent.name) for phase in lab.phases)
    tries = [a.change for phase in lab.phases for act in phase.acts for a in act.attempts]
    added = [change for change in tries if isinstance(change, AddLink) and change.parent == parent.name]
    links = [change.name for change in added]
    if any(setting.host_shim for setting in settings):
        links.append(lab.shim_on(parent))
    endpoints = tuple(endpoint for endpoint in lab.endpoints if endpoint.parent == parent.name)
    names = {endpoint.name for endpoint in endpoints}
    modes = {change.mode for change in tries if isinstance(change, SetMode) and change.endpoint in names}
    modes |= {change.mode or "l3" for change in added if change.kind in _IPVLAN}
    attempted = tuple(map(Setting, sorted(modes)))
    neighbours = max(map(_neighbours_of, lab.phases), default=0)
    return Request(parent.dev, settings, endpoints, tuple(links), attempted, neighbours)


def _neighbours_of(phase: Phase) -> int:
    """Return how many neighbour entries the checks of `phase` need: one for each peer of each endpoint."""
    if phase.setting.is_ipvlan and phase.setting.mode != "l2":
        return 0
    ends = [(check.source, check.destination) for act in phase.acts for check in act.checks]
    names = set(phase.endpoints)
    return sum(holder in names for holder, _ in {*ends, *((b, a) for a, b in ends)})


@dataclass(frozen=True, slots=True)
class Namespace:
    """Another network namespace: its `netns` name, or `what` it is and the `path` by which it is entered."""

    netns: str = ""
    what: str = ""
    path: str = ""

    def __str__(self) -> str:
        return f"netns {self.netns}" if self.netns else self.what


@dataclass(frozen=True, slots=True)
class Machine:
    """Facts about this machine.

    `links` are those of the parent's namespace, and `elsewhere` those of the others; a link elsewhere has
    its `link_netns` where its lower device is known to be in a third namespace. `namespaces` has the
    processes in each namespace with a name, `answers` the MAC addresses that answered for an address,
    `most_neighbours` the kernel's limit of neighbour entries or None where it is unknown, `dmi` the words of
    the firmware, and `unseen` what could not be read.
    """

    links: tuple[Link, ...]
    elsewhere: Mapping[Namespace, tuple[Link, ...]] = field(default_factory=dict)
    namespaces: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    answers: Mapping[IPv4Address, tuple[str, ...]] = field(default_factory=dict)
    wireless: bool = False
    rp_filter: int = 0
    forwarding: bool = True
    most_neighbours: int | None = None
    dmi: Mapping[str, str] = field(default_factory=dict)
    unseen: tuple[Finding, ...] = ()

    def link(self, name: str) -> Link | None:
        """Return the link called `name` in the parent's namespace."""
        return next((link for link in self.links if link.ifname == name), None)


@dataclass(frozen=True, slots=True)
class Findings:
    """The findings about `parent`, the worst first."""

    parent: str
    findings: tuple[Finding, ...]

    def of(self, severity: Severity) -> tuple[Finding, ...]:
        """Return the findings of that severity."""
        return tuple(finding for finding in self.findings if finding.severity == severity)


def check(request: Request, machine: Machine, predicted: Iterable[Finding] = ()) -> Findings:
    """Return all problems of creating `request` on `machine`, with those that are `predicted` of its use."""
    found = [*_names(request, machine), *_parent(request, machine), *machine.unseen, *predicted]
    return Findings(request.parent, tuple(sorted(found, key=lambda one: SEVERITIES.index(one.severity))))


def can_probe(request: Request, machine: Machine) -> bool:
    """Return whether the parent can send ARP probes, for which it needs no address."""
    parent = machine.link(request.parent)
    return parent is not None and parent.up and not {"LOOPBACK", "NO-CARRIER", "NOARP"} & set(parent.flags)


_RENAME = "choose another name"
_READDRESS = "choose another address"


def _names(request: Request, machine: Machine) -> Iterator[Finding]:
    for endpoint in request.endpoints:
        if endpoint.netns in machine.namespaces:
            what = f"network namespace {endpoint.netns} already exists"
            if pids := machine.namespaces[endpoint.netns]:
                what += f", with {'process' if len(pids) == 1 else 'processes'} {some(map(str, pids))} in it"
            yield Finding("netns-taken", "error", what, _RENAME)
    # ip finds a link by its alternative names too, and the kernel gives no other link one of them.
    there = {name for link in machine.links for name in (link.ifname, *link.altnames)}
    for name in dict.fromkeys([*(endpoint.name for endpoint in request.endpoints), *request.links]):
        if name in there:
            yield Finding("name-taken", "error", f"link {name} already exists", _RENAME)


def some(words: Iterable[str]) -> str:
    """Return the words, or the first three of more than four.

    >>> some(["a", "b", "c", "d"])
    'a, b, c, d'
    >>> some(["a", "b", "c", "d", "e"])
    'a, b, c and 2 more'
    """
    each = list(words)
    return ", ".join(each) if len(each) <= 4 else f"{', '.join(each[:3])} and {len(each) - 3} more"


def _parent(request: Request, machine: Machine) -> Iterator[Finding]:
    parent = machine.link(request.parent)
    if parent is None:
        name = request.parent
        yield Finding("no-link", "error", f"no such interface: {name}", link_instead(name, machine.links))
        return
    yield from _state(parent)
    yield from _kind(parent, machine)
    yield from _upper_devices(request, parent, machine)
    yield from _addresses(request, parent, machine)
    yield from _mtus(request, parent)
    yield from _kernel(request, parent, machine)
    yield from _cloud(request, parent, machine)


def _state(parent: Link) -> Iterator[Finding]:
    name = parent.ifname
    if not parent.up:
        yield Finding("link-down", "error", f"{name} is down", f"ip link set {name} up")
    elif "NO-CARRIER" in parent.flags:
        yield Finding("no-carrier", "warning", f"{name} has no carrier", "check its cable and its switch")


def _kind(parent: Link, machine: Machine) -> Iterator[Finding]:
    name = parent.ifname
    if "LOOPBACK" in parent.flags:
        yield Finding("loopback", "error", f"{name} is the loopback", "use a link to a network as the parent")
    elif parent.link_type not in (None, "ether"):
        # drivers/net/ipvlan/ipvlan_main.c, ipvlan_link_new: only ARPHRD_ETHER.
        what = f"{name} is of type {parent.link_type}, not Ethernet"
        yield Finding("not-ethernet", "error", what, "use another parent")
    elif parent.kind == "vrf":
        # IFF_NO_RX_HANDLER, drivers/net/vrf.c.
        what = f"{name} is a VRF, and the kernel refuses ipvlan on it"
        yield Finding("refused", "error", what, "use a port of it")
    # Of all ports, only that of a VRF can be a parent.
    if parent.master is not None and parent.details.get("info_slave_kind") != "vrf":
        fix = f"use {parent.master} as the parent"
        yield Finding("port", "error", f"{name} is a port of {parent.master}", fix)
    if parent.kind in _IPVLAN:
        on = parent.parent or f"link {parent.parent_index} of another namespace"
        what = f"{name} is itself an {parent.kind} link: the kernel creates endpoints on {on}"
        yield Finding("on-ipvlan", "warning", what, f"use {on} as the parent")
    if machine.wireless:
        what = f"{name} is WiFi, which allows one MAC address: macvlan does not work on it"
        yield Finding("wifi", "info", what, "use ipvlan, which works in each mode")


_IPVLAN = ("ipvlan", "ipvtap")
_BUSY = ("macvlan", "macvtap", "macsec")
_TOGETHER = {**dict.fromkeys(_IPVLAN, _IPVLAN), "macvlan": ("macvlan",), "macvtap": ("macvlan",)}
"""Which kinds the kernel allows beside a link of each kind on one parent."""

UPPER_KINDS = (*_IPVLAN, *_BUSY)
"""The kinds that need a device's only receive handler (netdev_rx_handler_register); ipvlan links share it."""


def _uppers(parent: Link, machine: Machine) -> dict[str, Link]:
    """Return the links that use the parent's receive handler by their names, elsewhere with the namespace."""
    lower: Link | None = parent
    if parent.kind in _IPVLAN:
        lower = machine.link(parent.parent) if parent.parent else None
    if lower is None:
        return {parent.ifname: parent}
    found = {link.ifname: link for link in machine.links if link.parent == lower.ifname}
    for namespace, links in machine.elsewhere.items():
        found |= {f"{link.ifname} in {namespace}": link for link in links if _is_on(link, lower)}
    return {name: link for name, link in found.items() if link.kind in UPPER_KINDS}


def endpoints_on(parent: Link, machine: Machine) -> dict[str, Link]:
    """Return the ipvlan links on `parent` by their names, elsewhere with the namespace."""
    return {name: link for name, link in _uppers(parent, machine).items() if link.kind in _IPVLAN}


def _is_on(link: Link, lower: Link) -> bool:
    """Return whether a link of another namespace is on `lower`.

    The kernel gives only an index there, which a link of a third namespace may have as well; an ipvlan link
    has the MAC address of its parent too.
    """
    if link.parent is not None or link.link_netns is not None or link.parent_index is None:
        return False
    return link.parent_index == lower.ifindex and (link.kind in _BUSY or link.lladdr == lower.lladdr)


def _upper_devices(request: Request, parent: Link, machine: Machine) -> Iterator[Finding]:
    alike: dict[tuple[str, str], list[str]] = {}
    for name, link in _uppers(parent, machine).items():
        mode = f"{link.mode} {link.flag}" if link.kind in _IPVLAN else ""
        alike.setdefault((str(link.kind), mode), []).append(name)
    for (kind, mode), names in alike.items():
        what = f"{parent.ifname} has the {kind} link{'s' if len(names) > 1 else ''} {some(names)}"
        changing = [own for own in request.modes if own != mode]
        refused = [own for own in request.kinds if own not in _TOGETHER.get(kind, ())]
        if refused:
            fix = f"use another parent: the kernel allows no {' and no '.join(refused)} beside it"
            yield Finding("busy", "error", what, fix)
        elif not mode:
            continue
        elif changing:
            what = f"{what} in {mode}, which would change to {', '.join(changing)}"
            yield Finding("flips", "error", what, "use another parent")
        elif not request.modes:
            fix = f"add others in mode {mode}: another mode or flag changes all of them"
            yield Finding("siblings", "warning", f"{what} in {mode}", fix)


def _addresses(request: Request, parent: Link, machine: Machine) -> Iterator[Finding]:
    holders = _holders(parent, machine)
    seen: set[Address] = set()
    for endpoint, address in request.addresses:
        name = _named(endpoint, address.ip)
        if address.ip in seen:
            what = f"{name} is also an address of another endpoint"
            yield Finding("address-taken", "error", what, _READDRESS)
        seen.add(address.ip)
        if holder := holders.get(address.ip):
            yield Finding("address-taken", "error", f"{name} is already an address of {holder}", _READDRESS)
        elif lladdrs := machine.answers.get(address.ip) if isinstance(address.ip, IPv4Address) else None:
            what, in_cloud = f"{name} is in use: {some(lladdrs)} answered", _cloud_of(machine) is not None
            # The virtual network of a cloud may answer for every address itself.
            fix = "in a cloud that may be the network itself" if in_cloud else _READDRESS
            yield Finding("address-answers", "warning" if in_cloud else "error", what, fix)
    for endpoint in request.endpoints:
        yield from _subnets(request, endpoint, parent)


def _named(endpoint: Endpoint, address: Address | InterfaceAddress) -> str:
    return f"{endpoint.name}'s {address}" if endpoint.name else str(address)


def _holders(parent: Link, machine: Machine) -> dict[Address, str]:
    """Return the addresses that this machine already has, each with its link."""
    found: dict[Address, str] = {}
    for name, link in _uppers(parent, machine).items():
        found |= {own.address.ip: f"the {link.kind} link {name}" for own in link.addresses}
    for link in machine.links:
        found |= {own.address.ip: link.ifname for own in link.addresses}
    return found


def _subnets(request: Request, endpoint: Endpoint, parent: Link) -> Iterator[Finding]:
    """Yield the first address of each family that is in no subnet of the parent."""
    if any(helper.own_subnet for setting in request.settings for helper in setting.helpers):
        return
    firsts = {address.version: address for address in reversed(endpoint.addresses)}
    for version, address in sorted(firsts.items()):
        own = [mine.address for mine in parent.addresses if mine.address.version == version]
        own = [mine for mine in own if not mine.is_link_local]
        if not own or any(address.ip in mine.network for mine in own):
            continue
        here = ", ".join(str(mine.network) for mine in own)
        what = f"{_named(endpoint, address)} is not in {parent.ifname}'s subnet {here}"
        if endpoint.name:
            fix = f"use --endpoint {endpoint.name}=ADDRESS/{own[0].network.prefixlen}"
            yield Finding("off-subnet", "error", what, fix)
        else:
            fix = f"choose one in it, or on its peers: ip route add {address.network} via {own[0].ip}"
            yield Finding("off-subnet", "warning", what, fix)


def _mtus(request: Request, parent: Link) -> Iterator[Finding]:
    for endpoint in request.endpoints:
        if endpoint.mtu is not None and parent.mtu is not None and endpoint.mtu > parent.mtu:
            above = f"{endpoint.name}'s MTU {endpoint.mtu} is above {parent.ifname}'s {parent.mtu}"
            fix = f"set it to {parent.mtu}, or raise that of {parent.ifname}"
            yield Finding("mtu", "warning", f"{above}: large packets get lost", fix)


def _kernel(request: Request, parent: Link, machine: Machine) -> Iterator[Finding]:
    if machine.rp_filter == 1 and any(s.host_shim and s.mode == "l2" for s in request.settings):
        # A packet to the parent's address comes in through the parent, while the route back to the
        # endpoint leads out of the shim. In l3 and l3s it comes in through the loopback.
        key = sysctl.interface_key("ipv4", "conf", parent.ifname, "rp_filter")
        lost = f"packets from endpoints to {parent.ifname}'s own address"
        what = f"with a host shim in l2, {key}=1 (strict) drops {lost}"
        yield Finding("rp-filter", "warning", what, f"sysctl -w {key}=2, or use the shim's address")
    if not machine.forwarding and any(s.strategy == "l3s-proxy" for s in request.settings):
        key = sysctl.interface_key("ipv4", "conf", parent.ifname, "forwarding")
        what = f"l3s-proxy sets {key}=1: this host forwards packets that arrive on {parent.ifname}"
        yield Finding("forwarding", "info", what, "it is restored to 0 at the end")
    if machine.most_neighbours is not None and request.neighbours > machine.most_neighbours:
        what = (
            f"these pings need {request.neighbours} neighbour entries, and the kernel has room for "
            f"{machine.most_neighbours} in all namespaces together: some will get no answer"
        )
        fix = f"sysctl -w net.ipv4.neigh.default.gc_thresh3={2 * request.neighbours}"
        yield Finding("neighbours", "warning", what, fix)


_CLOUDS = {
    **dict.fromkeys(
        ("OpenStack Nova", "OpenStack Compute", "OpenTelekomCloud", "SAP CCloud VM", "HUAWEICLOUD"),
        ("OpenStack", "openstack port set {pairs} PORT"),
    ),
    "Amazon EC2": (
        "Amazon EC2",
        "aws ec2 assign-private-ip-addresses --network-interface-id ENI --private-ip-addresses {addresses}",
    ),
    "Google Compute Engine": ("Google Cloud", "give the VM's NIC {addresses} as alias IP ranges"),
    "7783-7084-3265-9085-8269-3286-77": (
        "Microsoft Azure",
        "give the VM's NIC an IP configuration with {addresses}",
    ),
    "Alibaba Cloud ECS": (
        "Alibaba Cloud",
        "give the VM's network interface {addresses} as secondary private addresses",
    ),
    "OracleCloud.com": ("Oracle Cloud", "give the VM's VNIC {addresses} as secondary private addresses"),
}
"""Clouds by the words of their firmware, as cloud-init detects them (its tools/ds-identify): name, and how to
allow an address there."""


def _cloud_of(machine: Machine) -> tuple[str, str] | None:
    return next((cloud for word, cloud in _CLOUDS.items() if word in machine.dmi.values()), None)


def _cloud(request: Request, parent: Link, machine: Machine) -> Iterator[Finding]:
    cloud = _cloud_of(machine)
    if cloud is None or parent.kind in ("veth", "dummy"):
        return
    name, fix = cloud
    addresses = [str(address.ip) for _, address in request.addresses] or ["ADDRESS"]
    pairs = " ".join(f"--allowed-address ip-address={address}" for address in addresses)
    what = f"{name} drops packets from addresses that it did not assign, while ARP may work"
    fix = fix.format(pairs=pairs, addresses=" ".join(addresses))
    yield Finding("port-security", "warning", what, fix)
