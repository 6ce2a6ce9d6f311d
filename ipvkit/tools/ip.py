"""iproute2's ``ip``: ip-netns(8), ip-link(8), ip-address(8), ip-route(8), ip-neighbour(8)."""

import json
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Interface
from typing import get_args

from ipvkit.command import Command
from ipvkit.errors import UnparsableOutput
from ipvkit.values import Flag, Mode, interface_name, netns_name

# Words that `ip link` takes for its own where a name may stand, and by their beginnings too
# (iproute2 ip/iplink.c, iplink_parse).
_KEYWORDS = (
    "up down name index link address lladdr txqueuelen qlen txqlen mtu xdp xdpgeneric xdpdrv xdpoffload "
    "netns multicast allmulticast promisc trailers arp carrier vf master vrf nomaster dynamic type "
    "alias group mode state numtxqueues numrxqueues addrgenmode link-netnsid protodown "
    "protodown_reason gso_max_size gso_max_segs gso_ipv4_max_size gro_max_size gro_ipv4_max_size "
    "broadcast brd dev parentdev help"
).split()


@dataclass(frozen=True, slots=True)
class Ipvlan:
    """An ipvlan link on `parent`; `flag` None leaves the parent's flag as it is (bridge at first)."""

    parent: str
    mode: Mode
    flag: Flag | None = None


@dataclass(frozen=True, slots=True)
class Veth:
    """A veth pair whose other end is called `peer` and is made in the namespace `netns`."""

    peer: str
    netns: str


@dataclass(frozen=True, slots=True)
class Bridge:
    """A bridge: the switch of a simulated LAN."""


def at(netns: str, command: Command) -> Command:
    """Return an `ip` command that acts in the namespace `netns` without a second process.

    >>> str(at("switch", link_set("host", up=True)))
    'ip -n switch link set host up'
    """
    return replace(command, argv=("ip", "-n", netns_name(netns), *command.argv[1:]))


def netns_add(netns: str) -> Command:
    """Return ``ip netns add NETNS``."""
    return Command(("ip", "netns", "add", netns_name(netns)))


def netns_del(netns: str) -> Command:
    """Return ``ip netns del NETNS``."""
    return Command(("ip", "netns", "del", netns_name(netns)))


def netns_list() -> Command:
    """Return the command whose output `parse_netns_list` reads."""
    return Command(("ip", "-json", "netns", "list"))


def link_add(dev: str, kind: Ipvlan | Veth | Bridge, *, up: bool = False) -> Command:
    """Return ``ip link add DEV …`` for a link of that `kind`.

    >>> str(link_add("test1", Ipvlan("eth0", "l2")))
    'ip link add test1 link eth0 type ipvlan mode l2'
    """
    link: tuple[str, ...] = ()
    match kind:
        case Ipvlan(parent, mode, flag):
            link = ("link", interface_name(parent))
            words = ["ipvlan", "mode", mode, *([flag] if flag else [])]
        case Veth(peer, netns):
            words = ["veth", "peer", "name", interface_name(peer), "netns", netns_name(netns)]
        case Bridge():
            words = ["bridge"]
    state = ("up",) if up else ()
    return Command(("ip", "link", "add", *_name(dev), *link, *state, "type", *words))


def link_set(dev: str, *, netns: str | None = None, master: str | None = None, up: bool = False) -> Command:
    """Return ``ip link set DEV …``: into a namespace, under a bridge, up.

    >>> str(link_set("test1", netns="test1"))
    'ip link set test1 netns test1'
    """
    words: list[str] = []
    if netns is not None:
        words += ["netns", netns_name(netns)]
    if master is not None:
        words += ["master", interface_name(master)]
    if up:
        words += ["up"]
    return Command(("ip", "link", "set", *_name(dev), *words))


def link_delete(dev: str) -> Command:
    """Return ``ip link delete DEV``."""
    return Command(("ip", "link", "delete", *_name(dev)))


def link_show(dev: str | None = None) -> Command:
    """Return the command whose output `parse_links` reads: of one link, or of all for None."""
    words = ("dev", interface_name(dev)) if dev is not None else ()
    return Command(("ip", "-json", "-details", "link", "show", *words))


def addr_add(address: IPv4Interface, dev: str) -> Command:
    """Return ``ip addr add ADDRESS dev DEV``."""
    return Command(("ip", "addr", "add", str(address), "dev", interface_name(dev)))


def addr_show() -> Command:
    """Return the command whose output `parse_addresses` reads."""
    return Command(("ip", "-json", "addr", "show"))


def route_add_default(*, dev: str | None = None, via: IPv4Address | None = None) -> Command:
    """Return ``ip route add default`` through a device, a gateway or both."""
    words: list[str] = []
    if via is not None:
        words += ["via", str(via)]
    if dev is not None:
        words += ["dev", interface_name(dev)]
    return Command(("ip", "route", "add", "default", *words))


def route_show_default(dev: str) -> Command:
    """Return the command whose output `parse_gateway` reads."""
    return Command(("ip", "-json", "-4", "route", "show", "default", "dev", interface_name(dev)))


def neigh_flush(dev: str) -> Command:
    """Return ``ip neigh flush dev DEV``: forget every neighbour seen on `dev`."""
    return Command(("ip", "neigh", "flush", "dev", interface_name(dev)))


def _name(dev: str) -> tuple[str, ...]:
    ambiguous = any(word.startswith(dev) for word in _KEYWORDS)
    return ("dev", interface_name(dev)) if ambiguous else (interface_name(dev),)


@dataclass(frozen=True, slots=True)
class Link:
    """One link as ``ip -details link`` shows it; what does not apply is None."""

    ifname: str
    kind: str | None
    mode: str | None
    flag: str | None
    master: str | None
    parent: str | None
    flags: tuple[str, ...]

    @property
    def up(self) -> bool:
        """Whether the link is administratively up."""
        return "UP" in self.flags


def parse_links(stdout: str) -> tuple[Link, ...]:
    """Return the links that `link_show` printed; raise UnparsableOutput for anything else."""
    return tuple(_link(entry) for entry in _Entry.all("ip link", stdout))


def _link(entry: "_Entry") -> Link:
    info = entry.inner("linkinfo")
    data = info.inner("info_data")
    return Link(
        ifname=entry.text("ifname"),
        kind=info.text_or_none("info_kind"),
        mode=data.text_or_none("mode"),
        flag=next((flag for flag in get_args(Flag) if data.value.get(flag) is True), None),
        master=entry.text_or_none("master"),
        parent=entry.text_or_none("link"),
        flags=entry.texts("flags"),
    )


def parse_addresses(stdout: str) -> dict[str, tuple[IPv4Interface, ...]]:
    """Return the IPv4 addresses of each link that `addr_show` printed."""
    found = {}
    for entry in _Entry.all("ip addr", stdout):
        infos = [info for info in entry.inners("addr_info") if info.text_or_none("family") == "inet"]
        found[entry.text("ifname")] = tuple(info.address() for info in infos)
    return found


def parse_netns_list(stdout: str) -> tuple[str, ...]:
    """Return the names of the network namespaces that `netns_list` printed."""
    return tuple(entry.text("name") for entry in _Entry.all("ip netns", stdout))


def parse_gateway(stdout: str) -> IPv4Address | None:
    """Return the gateway of the first default route that `route_show_default` printed, if any."""
    for entry in _Entry.all("ip route", stdout):
        gateway = entry.text_or_none("gateway")
        if entry.text("dst") == "default" and gateway is not None:
            try:
                return IPv4Address(gateway)
            except ValueError:
                raise entry.unparsable() from None
    return None


class _Entry:
    """An object of what `ip -json` printed; each thing asked of it has the type asked for, or it raises."""

    def __init__(self, tool: str, value: object) -> None:
        self.tool = tool
        self.value = value if isinstance(value, dict) else {}
        if not isinstance(value, dict):
            raise UnparsableOutput(tool, 1, json.dumps(value))

    @classmethod
    def all(cls, tool: str, stdout: str) -> "list[_Entry]":
        """Return the objects of the list; `ip` prints nothing, or empty objects, where there is none."""
        try:
            found = json.loads(stdout or "[]")
        except (ValueError, RecursionError) as problem:
            lines = stdout.splitlines() or [""]
            number = min(getattr(problem, "lineno", 1), len(lines))
            raise UnparsableOutput(tool, number, lines[number - 1]) from None
        if not isinstance(found, list):
            raise UnparsableOutput(tool, 1, json.dumps(found))
        return [cls(tool, value) for value in found if value != {}]

    def unparsable(self) -> UnparsableOutput:
        return UnparsableOutput(self.tool, 1, json.dumps(self.value))

    def text(self, key: str) -> str:
        value = self.text_or_none(key)
        if value is None:
            raise self.unparsable()
        return value

    def text_or_none(self, key: str) -> str | None:
        value = self.value.get(key)
        if value is not None and not isinstance(value, str):
            raise self.unparsable()
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        values = self.value.get(key, [])
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise self.unparsable()
        return tuple(values)

    def inner(self, key: str) -> "_Entry":
        return _Entry(self.tool, self.value.get(key, {}))

    def inners(self, key: str) -> "list[_Entry]":
        values = self.value.get(key, [])
        if not isinstance(values, list):
            raise self.unparsable()
        return [_Entry(self.tool, value) for value in values if value != {}]

    def address(self) -> IPv4Interface:
        try:
            return IPv4Interface(f"{self.text('local')}/{int(self.value['prefixlen'])}")
        except (KeyError, TypeError, ValueError):
            raise self.unparsable() from None
