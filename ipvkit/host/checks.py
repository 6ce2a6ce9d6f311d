"""What will go wrong on a real parent, told from what the machine shows before a change."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import Literal

from ipvkit.core.values import Address, Flag, InterfaceAddress, Mode
from ipvkit.tools.ip import Link

Severity = Literal["error", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")
"""The worst first: what stops a run, what will surprise, what is good to know."""

Code = Literal[
    "no-link",
    "link-down",
    "no-carrier",
    "loopback",
    "not-ethernet",
    "refused",
    "port",
    "on-ipvlan",
    "busy",
    "flips",
    "siblings",
    "name-taken",
    "netns-taken",
    "address-taken",
    "address-answers",
    "off-subnet",
    "mtu",
    "wifi",
    "rp-filter",
    "forwarding",
    "neighbours",
    "port-security",
    "not-looked-at",
]
"""What a finding is about; programs tell findings apart by it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found: `what`, and the `mend`, each on one line."""

    code: Code
    severity: Severity
    what: str
    mend: str

    def __str__(self) -> str:
        """Return the finding as a person reads it."""
        return f"{self.what}; {self.mend}"


@dataclass(frozen=True, slots=True)
class Join:
    """How endpoints are to join the parent; the `strategy` is None where nobody has said any.

    Without a flag `ip` asks the kernel for bridge, whatever the parent has.
    """

    mode: Mode
    flag: Flag = "bridge"
    strategy: str | None = None
    host_shim: bool = False

    def __str__(self) -> str:
        """Return mode and flag as `ip` has them."""
        return f"{self.mode} {self.flag}"


@dataclass(frozen=True, slots=True)
class Guest:
    """An endpoint to be: `name` and `netns` are empty where only its addresses are known."""

    name: str = ""
    netns: str = ""
    addresses: tuple[InterfaceAddress, ...] = ()
    mtu: int | None = None

    def its(self, address: Address | InterfaceAddress) -> str:
        """Return how its `address` is called."""
        return f"{self.name}'s {address}" if self.name else str(address)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be built on the link `parent`: endpoints of these `kinds`; `links` are the host's own.

    `neighbours` is how many neighbour entries the endpoints have at once, all together.
    """

    parent: str
    joins: tuple[Join, ...] = ()
    guests: tuple[Guest, ...] = ()
    links: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ("ipvlan",)
    neighbours: int = 0

    @property
    def addresses(self) -> tuple[tuple[Guest, InterfaceAddress], ...]:
        """Each address with whose it is to be."""
        return tuple((guest, address) for guest in self.guests for address in guest.addresses)


@dataclass(frozen=True, slots=True)
class Place:
    """Another network namespace: its `netns` name, or a process in it where it has none."""

    netns: str = ""
    pid: int = 0

    def __str__(self) -> str:
        """Return how it is told of."""
        return f"netns {self.netns}" if self.netns else f"the namespace of process {self.pid}"


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine as it is.

    `links` are those of the parent's namespace, and `elsewhere` those of the others; a link elsewhere has
    its `link_netns` where the link that it is on is known to be in yet another one. `namespaces` has the
    processes in each that has a name, `answers` the MAC addresses that an address answered from,
    `most_neighbours` for how many neighbour entries the kernel has room, None where that is not known, `dmi`
    what firmware says of the machine, and `unseen` what could not be looked at.
    """

    links: tuple[Link, ...]
    elsewhere: Mapping[Place, tuple[Link, ...]] = field(default_factory=dict)
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
class Inspection:
    """What was found about `parent`, the worst first."""

    parent: str
    findings: tuple[Finding, ...]

    def of(self, severity: Severity) -> tuple[Finding, ...]:
        """Return the findings of that severity."""
        return tuple(finding for finding in self.findings if finding.severity == severity)


def inspect(wanted: Wanted, machine: Machine) -> Inspection:
    """Return all that will go wrong when `wanted` is built on `machine`."""
    found = [*_names(wanted, machine), *_parent(wanted, machine), *machine.unseen]
    return Inspection(wanted.parent, tuple(sorted(found, key=lambda one: SEVERITIES.index(one.severity))))


def may_ask(wanted: Wanted, machine: Machine) -> bool:
    """Return whether the parent can ask its network who has an address: it is up and has one itself."""
    parent = machine.link(wanted.parent)
    return (
        parent is not None
        and parent.up
        and not {"LOOPBACK", "NO-CARRIER", "NOARP"} & set(parent.flags)
        and bool(parent.ipv4)
    )


# --- names ----------------------------------------------------------------------------------------------


def _names(wanted: Wanted, machine: Machine) -> Iterator[Finding]:
    for guest in wanted.guests:
        if guest.netns in machine.namespaces:
            inside = _processes(machine.namespaces[guest.netns])
            what = f"there is a network namespace {guest.netns}{inside}"
            yield Finding("netns-taken", "error", what, "it is somebody's: rename yours")
    there = {link.ifname for link in machine.links}
    for name in dict.fromkeys([*(guest.name for guest in wanted.guests), *wanted.links]):
        if name in there:
            what = f"there is a link {name}"
            yield Finding("name-taken", "error", what, "it is somebody's: rename yours")


def _processes(pids: Sequence[int]) -> str:
    if not pids:
        return ""
    return f", with {'process' if len(pids) == 1 else 'processes'} {some(map(str, pids))} in it"


def some(words: Iterable[str]) -> str:
    """Return the words, or the first of many.

    >>> some(["a", "b", "c", "d", "e"])
    'a, b, c and 2 more'
    """
    each = list(words)
    return ", ".join(each) if len(each) <= 4 else f"{', '.join(each[:3])} and {len(each) - 3} more"


# --- the parent -----------------------------------------------------------------------------------------


def _parent(wanted: Wanted, machine: Machine) -> Iterator[Finding]:
    parent = machine.link(wanted.parent)
    if parent is None:
        yield _missing(wanted.parent, machine)
        return
    yield from _state(parent)
    yield from _kind(parent, machine)
    yield from _riding(wanted, parent, machine)
    yield from _addresses(wanted, parent, machine)
    yield from _mtus(wanted, parent)
    yield from _kernel(wanted, parent, machine)
    yield from _cloud(wanted, parent, machine)


def _missing(name: str, machine: Machine) -> Finding:
    called = next((link.ifname for link in machine.links if name in link.altnames), None)
    there = ", ".join(sorted(link.ifname for link in machine.links if link.ifname != "lo")) or "none"
    mend = f"it is another name of {called}: use that" if called else f"the links here are {there}"
    return Finding("no-link", "error", f"there is no link {name}", mend)


def _state(parent: Link) -> Iterator[Finding]:
    name = parent.ifname
    if not parent.up:
        yield Finding("link-down", "error", f"{name} is down", f"ip link set {name} up")
    elif "NO-CARRIER" in parent.flags:
        yield Finding("no-carrier", "warning", f"{name} has no carrier", "look at its cable and its switch")


def _kind(parent: Link, machine: Machine) -> Iterator[Finding]:
    name = parent.ifname
    if "LOOPBACK" in parent.flags:
        yield Finding("loopback", "error", f"{name} is the loopback", "ipvlan needs a link to a network")
    elif parent.link_type not in (None, "ether"):
        # drivers/net/ipvlan/ipvlan_main.c, ipvlan_link_new: nothing but ARPHRD_ETHER.
        what = f"{name} is of type {parent.link_type}, without Ethernet"
        yield Finding("not-ethernet", "error", what, "use another parent")
    elif parent.kind == "vrf":
        # IFF_NO_RX_HANDLER, drivers/net/vrf.c.
        yield Finding("refused", "error", f"{name} is a VRF, which takes no ipvlan", "use a port of it")
    # A port of a VRF, alone of all ports, is free for it.
    if parent.master is not None and parent.details.get("info_slave_kind") != "vrf":
        mend = f"use {parent.master} as the parent"
        yield Finding("port", "error", f"{name} is a port of {parent.master}", mend)
    if parent.kind in _IPVLAN:
        on = parent.parent or f"link {parent.parent_index} of another namespace"
        what = f"{name} is an {parent.kind} link itself: endpoints land beside it, on {on}"
        yield Finding("on-ipvlan", "warning", what, f"use {on} as the parent")
    if machine.wireless:
        what = f"{name} is WiFi, which takes one MAC address: macvlan does not work there"
        yield Finding("wifi", "info", what, "ipvlan does, in each mode")


# --- who is on the parent already -----------------------------------------------------------------------

_IPVLAN = ("ipvlan", "ipvtap")
_BUSY = ("macvlan", "macvtap", "macsec")
_TOGETHER = {
    **dict.fromkeys(_IPVLAN, ("ipvlan",)),
    "macvlan": ("macvlan",),
    "macvtap": ("macvlan",),
}
"""What goes beside a link of each kind on one parent."""

RIDERS = (*_IPVLAN, *_BUSY)
"""What takes a device's only receive handler (netdev_rx_handler_register); ipvlan links share it."""


@dataclass(frozen=True, slots=True)
class _Rider:
    """A link that is on the parent already, and where it is."""

    link: Link
    place: Place | None

    def __str__(self) -> str:
        """Return how it is told of."""
        return self.link.ifname if self.place is None else f"{self.link.ifname} in {self.place}"


def _riders(parent: Link, machine: Machine) -> list[_Rider]:
    """Return the links that share the parent's one receive handler, wherever they are."""
    lower = parent
    if parent.kind in _IPVLAN:
        real = machine.link(parent.parent) if parent.parent else None
        if real is None:
            return [_Rider(parent, None)]
        lower = real
    here = [_Rider(link, None) for link in machine.links if link.parent == lower.ifname]
    there = [
        _Rider(link, place)
        for place, links in machine.elsewhere.items()
        for link in links
        if _is_on(link, lower)
    ]
    return [rider for rider in here + there if rider.link.kind in RIDERS]


def _is_on(link: Link, lower: Link) -> bool:
    """Return whether a link of another namespace is on `lower`.

    All that the kernel tells there is a number, which a link of a third namespace may have as well; an
    ipvlan link has the MAC address of its parent besides.
    """
    if link.parent is not None or link.link_netns is not None or link.parent_index is None:
        return False
    return link.parent_index == lower.ifindex and (link.kind in _BUSY or link.lladdr == lower.lladdr)


def _riding(wanted: Wanted, parent: Link, machine: Machine) -> Iterator[Finding]:
    alike: dict[tuple[str, str], list[_Rider]] = {}
    for rider in _riders(parent, machine):
        link = rider.link
        setting = f"{link.mode} {link.flag}" if link.kind in _IPVLAN else ""
        alike.setdefault((str(link.kind), setting), []).append(rider)
    for (kind, setting), riders in alike.items():
        what = f"{parent.ifname} carries the {kind} {some(map(str, riders))}"
        flipping = [str(join) for join in wanted.joins if str(join) != setting]
        others = [own for own in wanted.kinds if own not in _TOGETHER.get(kind, ())]
        if others:
            mend = f"the kernel takes no {' and no '.join(others)} beside it: use another parent"
            yield Finding("busy", "error", what, mend)
        elif not setting:
            continue
        elif flipping:
            what = f"{what} in {setting}, which {', '.join(dict.fromkeys(flipping))} would flip"
            yield Finding("flips", "error", what, "use another parent")
        elif not wanted.joins:
            mend = f"add others in mode {setting}: any other mode or flag flips them all"
            yield Finding("siblings", "warning", f"{what} in {setting}", mend)


# --- addresses ------------------------------------------------------------------------------------------


def _addresses(wanted: Wanted, parent: Link, machine: Machine) -> Iterator[Finding]:
    yield from _twice(wanted)
    holders = _holders(parent, machine)
    for guest, address in wanted.addresses:
        if taken := holders.get(address.ip):
            yield Finding("address-taken", "error", f"{guest.its(address.ip)} is {taken}", "give it another")
        elif lladdrs := machine.answers.get(address.ip) if isinstance(address.ip, IPv4Address) else None:
            yield _answered(guest.its(address.ip), lladdrs, machine)
    for guest in wanted.guests:
        yield from _subnets(wanted, guest, parent)


def _twice(wanted: Wanted) -> Iterator[Finding]:
    seen = set()
    for guest, address in wanted.addresses:
        if address.ip in seen:
            what = f"{guest.its(address.ip)} is another endpoint's too"
            yield Finding("address-taken", "error", what, "give it another")
        seen.add(address.ip)


def _holders(parent: Link, machine: Machine) -> dict[Address, str]:
    """Return the addresses that are on this machine already, and whose they are."""
    found: dict[Address, str] = {}
    for rider in _riders(parent, machine):
        if rider.place is not None:
            whose = f"that of the {rider.link.kind} {rider}"
            found |= {own.address.ip: whose for own in rider.link.addresses}
    for link in machine.links:
        found |= {own.address.ip: f"{link.ifname}'s own" for own in link.addresses}
    return found


def _answered(what: str, lladdrs: Sequence[str], machine: Machine) -> Finding:
    who = f"{what} is in use: {some(lladdrs)} answered"
    if _cloud_of(machine) is not None:
        # A virtual network may answer for every address itself.
        return Finding("address-answers", "warning", who, "in a cloud that may be the network itself")
    return Finding("address-answers", "error", who, "give it another")


def _subnets(wanted: Wanted, guest: Guest, parent: Link) -> Iterator[Finding]:
    """Yield the first address of each family that is in no subnet of the parent."""
    strategies = {join.strategy for join in wanted.joins if join.strategy}
    if "routed" in strategies:
        return
    firsts = {address.version: address for address in reversed(guest.addresses)}
    for version, address in sorted(firsts.items()):
        own = [mine.address for mine in parent.addresses if mine.address.version == version]
        own = [mine for mine in own if not mine.is_link_local]
        if not own or any(address.ip in mine.network for mine in own):
            continue
        here = ", ".join(str(mine.network) for mine in own)
        mend = f"take one of it, or tell its peers: ip route add {address.network} via {own[0].ip}"
        if guest.name:
            mend = f"give --endpoint {guest.name}=ADDRESS/{own[0].network.prefixlen}"
        what = f"{guest.its(address)} is not in {parent.ifname}'s subnet {here}"
        yield Finding("off-subnet", "error" if strategies else "warning", what, mend)


# --- what the kernel will do otherwise than hoped -------------------------------------------------------


def _mtus(wanted: Wanted, parent: Link) -> Iterator[Finding]:
    for guest in wanted.guests:
        if guest.mtu is not None and parent.mtu is not None and guest.mtu > parent.mtu:
            above = f"{guest.name}'s MTU {guest.mtu} is above {parent.ifname}'s {parent.mtu}"
            mend = f"give it {parent.mtu}, or {parent.ifname} more"
            yield Finding("mtu", "warning", f"{above}: large packets get lost", mend)


def _kernel(wanted: Wanted, parent: Link, machine: Machine) -> Iterator[Finding]:
    if machine.rp_filter == 1 and any(join.host_shim and join.mode == "l2" for join in wanted.joins):
        # What an endpoint sends to the parent's address comes in through the parent, while the route
        # to the endpoint leads out of the shim. In l3 and l3s it comes in through the loopback.
        key = _sysctl(parent, "rp_filter")
        lost = f"what endpoints send to {parent.ifname}'s own address"
        what = f"with a host shim in l2, {key}=1 (strict) drops {lost}"
        yield Finding("rp-filter", "warning", what, f"sysctl -w {key}=2, or use the shim's address")
    if not machine.forwarding and any(join.strategy == "l3s-proxy" for join in wanted.joins):
        what = f"l3s-proxy sets {_sysctl(parent, 'forwarding')}=1, and this host forwards what comes in there"
        yield Finding("forwarding", "info", what, "it is 0 again at the end")
    if machine.most_neighbours is not None and wanted.neighbours > machine.most_neighbours:
        what = (
            f"these pings need {wanted.neighbours} neighbour entries, and the kernel has room for "
            f"{machine.most_neighbours} of all namespaces together: some will get no answer"
        )
        mend = f"sysctl -w net.ipv4.neigh.default.gc_thresh3={2 * wanted.neighbours}"
        yield Finding("neighbours", "warning", what, mend)


def _sysctl(parent: Link, name: str) -> str:
    """Return the sysctl of a link as sysctl(8) has it: a dot in the link's name is a slash there."""
    return f"net.ipv4.conf.{parent.ifname.replace('.', '/')}.{name}"


# --- clouds ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Cloud:
    """A cloud: the words of firmware that it is known by, and what allows an address there."""

    name: str
    words: tuple[str, ...]
    mend: str


_CLOUDS = (
    _Cloud(
        "OpenStack",
        ("OpenStack Nova", "OpenStack Compute", "OpenTelekomCloud", "SAP CCloud VM", "HUAWEICLOUD"),
        "openstack port set {pairs} PORT",
    ),
    _Cloud(
        "Amazon EC2",
        ("Amazon EC2",),
        "aws ec2 assign-private-ip-addresses --network-interface-id ENI --private-ip-addresses {addresses}",
    ),
    _Cloud("Google Cloud", ("Google Compute Engine",), "give the VM's NIC {addresses} as alias IP ranges"),
    _Cloud(
        "Microsoft Azure",
        ("7783-7084-3265-9085-8269-3286-77",),
        "give the VM's NIC an IP configuration with {addresses}",
    ),
    _Cloud(
        "Alibaba Cloud",
        ("Alibaba Cloud ECS",),
        "give the VM's network interface {addresses} as secondary private addresses",
    ),
    _Cloud(
        "Oracle Cloud", ("OracleCloud.com",), "give the VM's VNIC {addresses} as secondary private addresses"
    ),
)
"""The words are those by which cloud-init knows them too (its tools/ds-identify)."""

_NOT_ON_A_NIC = ("veth", "dummy")


def _cloud_of(machine: Machine) -> _Cloud | None:
    said = set(machine.dmi.values())
    return next((cloud for cloud in _CLOUDS if said.intersection(cloud.words)), None)


def _cloud(wanted: Wanted, parent: Link, machine: Machine) -> Iterator[Finding]:
    cloud = _cloud_of(machine)
    if cloud is None or parent.kind in _NOT_ON_A_NIC:
        return
    addresses = [str(address.ip) for _, address in wanted.addresses] or ["ADDRESS"]
    pairs = " ".join(f"--allowed-address ip-address={address}" for address in addresses)
    what = f"{cloud.name} drops packets of an address that it did not give, while ARP may still work"
    yield Finding(
        "port-security", "warning", what, cloud.mend.format(pairs=pairs, addresses=" ".join(addresses))
    )
