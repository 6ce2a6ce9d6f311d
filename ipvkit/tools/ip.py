"""iproute2's ``ip``: ip-netns(8), ip-link(8), ip-address(8), ip-route(8), ip-neighbour(8)."""

import json
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Interface
from typing import Any

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
    master: str | None
    parent: str | None
    flags: tuple[str, ...]

    @property
    def up(self) -> bool:
        """Whether the link is administratively up."""
        return "UP" in self.flags


def parse_links(stdout: str) -> tuple[Link, ...]:
    """Return the links that `link_show` printed; raise UnparsableOutput for anything else."""
    return tuple(_link(entry) for entry in _entries("ip link", stdout, "ifname"))


def _link(entry: dict[str, Any]) -> Link:
    info = entry.get("linkinfo", {})
    return Link(
        ifname=entry["ifname"],
        kind=info.get("info_kind"),
        mode=info.get("info_data", {}).get("mode"),
        master=entry.get("master"),
        parent=entry.get("link"),
        flags=tuple(entry.get("flags", ())),
    )


def parse_addresses(stdout: str) -> dict[str, tuple[IPv4Interface, ...]]:
    """Return the IPv4 addresses of each link that `addr_show` printed."""
    return {
        entry["ifname"]: tuple(
            IPv4Interface(f"{info['local']}/{info['prefixlen']}")
            for info in entry.get("addr_info", ())
            if info.get("family") == "inet" and "local" in info
        )
        for entry in _entries("ip addr", stdout, "ifname")
    }


def parse_netns_list(stdout: str) -> tuple[str, ...]:
    """Return the names of the network namespaces that `netns_list` printed."""
    return tuple(entry["name"] for entry in _entries("ip netns", stdout, "name"))


def parse_gateway(stdout: str) -> IPv4Address | None:
    """Return the gateway of the first default route that `route_show_default` printed, if any."""
    gateways = [e["gateway"] for e in _entries("ip route", stdout, "dst") if "gateway" in e]
    return IPv4Address(gateways[0]) if gateways else None


def _entries(tool: str, stdout: str, key: str) -> list[dict[str, Any]]:
    """Return the objects of a JSON list that each have `key`; `ip` prints nothing for an empty list."""
    try:
        found = json.loads(stdout or "[]")
    except json.JSONDecodeError as problem:
        lines = stdout.splitlines() or [""]
        raise UnparsableOutput(tool, problem.lineno, lines[min(problem.lineno, len(lines)) - 1]) from None
    entries = [entry for entry in found if entry != {}] if isinstance(found, list) else [found]
    for entry in entries:
        if not isinstance(entry, dict) or not isinstance(entry.get(key), str):
            raise UnparsableOutput(tool, 1, json.dumps(entry))
    return entries
