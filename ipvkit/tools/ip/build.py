"""The argv of iproute2's ``ip``: ip-netns(8), ip-link(8), ip-address(8), ip-rule(8) and others."""

from dataclasses import dataclass, replace
from ipaddress import IPv6Address
from typing import Literal

from ipvkit.core import values
from ipvkit.core.command import Command, option
from ipvkit.core.errors import UsageError
from ipvkit.core.values import (
    Address,
    BondMode,
    Flag,
    InterfaceAddress,
    Mode,
    Network,
    alternative_name,
    interface_name,
    netns_name,
)

__all__ = ["Bond", "Bridge", "Dummy", "Ipvlan", "Ipvtap", "Kind", "Macvlan", "RouteTo", "Veth", "Vlan"]
__all__ += ["addr_add", "addr_del", "addr_show", "at", "at_each", "by_netns", "link_add", "link_altname"]
__all__ += [
    "link_delete",
    "link_set",
    "link_show",
    "neigh_add_proxy",
    "neigh_del",
    "neigh_del_proxy",
    "neigh_flush",
]
__all__ += ["neigh_replace", "neigh_show", "neigh_show_permanent", "neigh_show_proxy", "netns_add"]
__all__ += ["netns_del", "netns_list", "route_add", "route_del", "route_replace", "route_show"]
__all__ += ["RuleFor", "monitor_all", "route_show_all", "rule_add", "rule_del", "rule_show", "token_set"]

# Words that `ip link` takes as keywords where a name may stand, and by their beginnings too
# (iproute2 ip/iplink.c, iplink_parse).
_KEYWORDS = (
    "up down name index link address lladdr txqueuelen qlen txqlen mtu xdp xdpgeneric xdpdrv xdpoffload "
    "netns multicast allmulticast promisc trailers arp carrier vf master vrf nomaster dynamic type "
    "alias group mode state numtxqueues numrxqueues addrgenmode link-netnsid protodown "
    "protodown_reason gso_max_size gso_max_segs gso_ipv4_max_size gro_max_size gro_ipv4_max_size "
    "broadcast brd dev parentdev help"
).split()
_AMBIGUOUS = frozenset(word[:length] for word in _KEYWORDS for length in range(len(word) + 1))

_LISTENING, _FORWARDING = "1", "3"
"""States of a bridge's port, by number. Without STP the kernel lets none stay disabled or blocking: in the
same request it is forwarding again (br_port_carrier_check(), br_make_forwarding())."""


@dataclass(frozen=True, slots=True)
class Ipvlan:
    """An ipvlan link on `parent`; with `flag` None, `ip` sets it and all its siblings to bridge.

    `mode` None is for showing what happens then: the kernel sets the parent, and all on it, to l3.
    """

    parent: str
    mode: Mode | None
    flag: Flag | None = None


@dataclass(frozen=True, slots=True)
class Ipvtap(Ipvlan):
    """An ipvtap link: an ipvlan one, which also has a character device for the packets that it gets."""


@dataclass(frozen=True, slots=True)
class Veth:
    """A veth pair, the other end of which is called `peer` and created in the namespace `netns`."""

    peer: str
    netns: str


@dataclass(frozen=True, slots=True)
class Macvlan:
    """A macvlan link on `parent`."""

    parent: str
    mode: Literal["bridge", "private", "vepa", "passthru"] = "bridge"


@dataclass(frozen=True, slots=True)
class Vlan:
    """A VLAN sub-interface of `parent` with the tag `id`, 1 to 4094 (IEEE 802.1Q)."""

    parent: str
    id: int


@dataclass(frozen=True, slots=True)
class Bridge:
    """A bridge: the switch of a simulated LAN."""


@dataclass(frozen=True, slots=True)
class Bond:
    """A bond in `mode`, which looks at its ports every 100 ms; a link has to be down to become one."""

    mode: BondMode


@dataclass(frozen=True, slots=True)
class Dummy:
    """A dummy link, which drops what it sends."""


Kind = Ipvlan | Ipvtap | Macvlan | Vlan | Veth | Bridge | Bond | Dummy


def at(netns: str, command: Command) -> Command:
    """Return an `ip` command that acts in the namespace `netns` without a second process.

    >>> str(at("switch", link_set("host", up=True)))
    'ip -n switch link set host up'
    """
    return replace(command, argv=("ip", "-n", netns_name(netns), *command.argv[1:]))


def at_each(command: Command) -> Command:
    """Return an `ip` command that acts in each named namespace; `by_netns` takes its output apart."""
    return replace(command, argv=("ip", "-all", "netns", "exec", *command.argv))


def by_netns(stdout: str) -> dict[str, str]:
    """Return what `at_each` printed, by namespace (ip/ipnetns.c, do_each_netns)."""
    _, *parts = f"\n{stdout}".split("\nnetns: ")
    return {name: text for name, _, text in (part.partition("\n") for part in parts)}


def netns_add(netns: str) -> Command:
    """Return ``ip netns add NETNS``."""
    return Command(("ip", "netns", "add", netns_name(netns)))


def netns_del(netns: str) -> Command:
    """Return ``ip netns del NETNS``."""
    return Command(("ip", "netns", "del", netns_name(netns)))


def netns_list() -> Command:
    """Return the command for `parse_netns`."""
    return Command(("ip", "-json", "netns", "list"))


def link_add(
    dev: str,
    kind: Kind,
    *,
    netns: str | None = None,
    lladdr: str | None = None,
    master: str | None = None,
    up: bool = False,
) -> Command:
    """Return ``ip link add DEV …`` for a link of that `kind`, created in the namespace `netns`.

    `lladdr` is its MAC address; without one the kernel takes a random one, or the parent's. `master` is the
    bridge or bond that it is a port of.

    >>> str(link_add("test1", Ipvlan("eth0", "l2")))
    'ip link add test1 link eth0 type ipvlan mode l2'
    """
    parent: str | None = None
    match kind:
        case Ipvlan(parent, mode, flag):
            words = ("ipvtap" if isinstance(kind, Ipvtap) else "ipvlan", *option("mode", mode))
            words += (flag,) if flag else ()
        case Macvlan(parent, of_macvlan):
            words = ("macvlan", "mode", of_macvlan)
        case Vlan(parent, id):
            words = ("vlan", "id", str(id))
        case Veth(peer, peer_netns):
            words = ("veth", "peer", *option("name", peer, interface_name), "netns", netns_name(peer_netns))
        case Bridge():
            words = ("bridge",)
        case Bond(of_bond):
            words = ("bond", "mode", of_bond, "miimon", "100")
            words += ("lacp_rate", "fast") if of_bond == "802.3ad" else ()
        case Dummy():
            words = ("dummy",)
    place = (*option("link", parent, interface_name), *option("address", lladdr, values.mac_address))
    place += (*option("netns", netns, netns_name), *option("master", master, interface_name))
    place += ("up",) if up else ()
    return Command(("ip", "link", "add", *_name(dev), *place, "type", *words))


def link_set(
    dev: str,
    *,
    netns: str | int | None = None,
    master: str | None = None,
    name: str | None = None,
    lladdr: str | None = None,
    mtu: int | None = None,
    up: bool | None = None,
    mode: Mode | None = None,
    flag: Flag | None = None,
    tap: bool = False,
    macvlan: Flag | None = None,
    hairpin: bool | None = None,
    forwarding: bool | None = None,
) -> Command:
    """Return ``ip link set DEV …``: into a namespace, under a bridge, its name, MAC, MTU, up or down.

    `mode` and `flag` are an ipvlan's (with `tap` an ipvtap's), and with it those of every ipvlan link on the
    same parent, `macvlan` is the mode of a macvlan; `hairpin` is a bridge port's: whether frames go back,
    and `forwarding` whether any go through it. A number as `netns` stands for the namespace of that process.

    >>> str(link_set("test1", netns="test1"))
    'ip link set test1 netns test1'
    >>> str(link_set("test1", mode="l3", flag="private"))
    'ip link set test1 type ipvlan mode l3 private'
    """
    place = str(netns) if isinstance(netns, int) else None if netns is None else netns_name(netns)
    words = (*option("netns", place), *option("master", master, interface_name))
    words += (
        *option("name", name, interface_name),
        *option("address", lladdr, values.mac_address),
        *option("mtu", mtu),
    )
    if up is not None:
        words += ("up" if up else "down",)
    if mode is not None or flag is not None:
        words += ("type", "ipvtap" if tap else "ipvlan", *option("mode", mode), *((flag,) if flag else ()))
    if macvlan is not None:
        words += ("type", "macvlan", "mode", macvlan)
    if hairpin is not None:
        words += ("type", "bridge_slave", "hairpin", "on" if hairpin else "off")
    if forwarding is not None:
        words += ("type", "bridge_slave", "state", _FORWARDING if forwarding else _LISTENING)
    if not words:
        raise UsageError(f"link set {dev}: nothing to set", "add what to set, such as up")
    return Command(("ip", "link", "set", *_name(dev), *words))


def link_altname(dev: str, *altnames: str, delete: bool = False) -> Command:
    """Return the command that gives a link alternative names, or takes them away.

    >>> str(link_altname("eth0", "enp0s3"))
    'ip link property add dev eth0 altname enp0s3'
    """
    words = ("del" if delete else "add", "dev", interface_name(dev))
    names = (word for name in altnames for word in ("altname", alternative_name(name)))
    return Command(("ip", "link", "property", *words, *names))


def link_delete(dev: str) -> Command:
    """Return ``ip link delete DEV``."""
    return Command(("ip", "link", "delete", *_name(dev)))


def link_show(dev: str | None = None) -> Command:
    """Return the command for `parse_links`: of one link, or of all for None."""
    return Command(("ip", "-json", "-details", "link", "show", *option("dev", dev, interface_name)))


def addr_add(address: InterfaceAddress, dev: str, *, nodad: bool = False) -> Command:
    """Return ``ip addr add ADDRESS dev DEV``; with `nodad`, an IPv6 address is not tentative first.

    >>> from ipaddress import ip_interface
    >>> str(addr_add(ip_interface("2001:db8::1/64"), "eth0", nodad=True))
    'ip addr add 2001:db8::1/64 dev eth0 nodad'
    """
    words = ("ip", "addr", "add", str(address), "dev", interface_name(dev))
    return Command((*words, "nodad") if nodad else words)


def addr_del(address: InterfaceAddress, dev: str) -> Command:
    """Return ``ip addr del ADDRESS dev DEV``."""
    return Command(("ip", "addr", "del", str(address), "dev", interface_name(dev)))


def token_set(address: Address, dev: str) -> Command:
    """Return ``ip token set``: `dev` takes the last 64 bits of `address` with each advertised prefix.

    >>> from ipaddress import ip_address
    >>> str(token_set(ip_address("2001:db8::11"), "eth0"))
    'ip token set ::11 dev eth0'
    """
    token = IPv6Address(int(address) % 2**64)
    return Command(("ip", "token", "set", str(token), "dev", interface_name(dev)))


def addr_show(dev: str | None = None, *, details: bool = False) -> Command:
    """Return the command for `parse_addresses`: of one link, or of all for None.

    With `details` it shows what `link_show` does, and the addresses.
    """
    place = option("dev", dev, interface_name)
    return Command(("ip", "-json", *(("-details",) if details else ()), "addr", "show", *place))


@dataclass(frozen=True, slots=True)
class RouteTo:
    """A route: to `dst` (None: default), through a gateway, a device or both.

    `ipv6` distinguishes the two default routes where neither `dst` nor `via` does. One of a `type` leads
    nowhere; `table` None is the main table.
    """

    dst: Network | None = None
    via: Address | None = None
    dev: str | None = None
    src: Address | None = None
    metric: int | None = None
    onlink: bool = False
    ipv6: bool = False
    type: Literal["blackhole", "unreachable", "prohibit"] | None = None
    table: int | None = None


@dataclass(frozen=True, slots=True)
class RuleFor:
    """A rule: packets from `src` and to `dst` (None: all) are looked up in `table`; `ipv6` as of a route."""

    table: int | None = None
    src: Network | None = None
    dst: Network | None = None
    priority: int | None = None
    ipv6: bool = False


def route_add(to: RouteTo) -> Command:
    """Return ``ip route add …``.

    >>> str(route_add(RouteTo(dev="eth0")))
    'ip route add default dev eth0'
    """
    return _route("add", to)


def route_del(to: RouteTo) -> Command:
    """Return ``ip route del …``."""
    return _route("del", to)


def route_replace(to: RouteTo) -> Command:
    """Return ``ip route replace …``: in place of the route to the same network, if there is one."""
    return _route("replace", to)


def _route(verb: str, to: RouteTo) -> Command:
    words = (*option("via", to.via), *option("dev", to.dev, interface_name), *option("src", to.src))
    words += (*option("metric", to.metric), *(("onlink",) if to.onlink else ()), *option("table", to.table))
    family, kind = ("-6",) if to.ipv6 else (), (to.type,) if to.type else ()
    dst = "default" if to.dst is None else str(to.dst)
    return Command(("ip", *family, "route", verb, *kind, dst, *words))


def rule_add(rule: RuleFor) -> Command:
    """Return ``ip rule add …``.

    >>> from ipaddress import ip_network
    >>> str(rule_add(RuleFor(100, src=ip_network("192.0.2.0/24"), priority=1000)))
    'ip rule add priority 1000 from 192.0.2.0/24 lookup 100'
    """
    return _rule("add", rule)


def rule_del(rule: RuleFor) -> Command:
    """Return ``ip rule del …``: of the first rule that matches."""
    return _rule("del", rule)


def _rule(verb: str, rule: RuleFor) -> Command:
    words = (*option("priority", rule.priority), *option("from", rule.src), *option("to", rule.dst))
    words += option("lookup", rule.table)
    if not words:
        raise UsageError(f"rule {verb}: no rule is named", "add what it matches, or its priority")
    # ip takes a rule to be IPv4's unless -6 comes first (ip/iprule.c).
    versions = {network.version for network in (rule.src, rule.dst) if network is not None}
    return Command(("ip", *(("-6",) if rule.ipv6 or 6 in versions else ()), "rule", verb, *words))


def rule_show(*, ipv6: bool | None = None) -> Command:
    """Return the command for `parse_rules`: of one family, by default of IPv4, as a line of a batch."""
    family = () if ipv6 is None else ("-6" if ipv6 else "-4",)
    return Command(("ip", "-json", *family, "rule", "show"))


def route_show(*, default: bool = False, dev: str | None = None, ipv6: bool = False) -> Command:
    """Return the command for `parse_routes`: of one family, all or the default routes."""
    words = (*(("default",) if default else ()), *option("dev", dev, interface_name))
    return Command(("ip", "-json", "-6" if ipv6 else "-4", "route", "show", *words))


def route_show_all() -> Command:
    """Return the command for `parse_routes`: every table, of both families."""
    return Command(("ip", "-json", "route", "show", "table", "all"))


def neigh_show(dev: str | None = None) -> Command:
    """Return the command for `parse_neighbours`: of one link, or of all for None."""
    return Command(("ip", "-json", "neigh", "show", *option("dev", dev, interface_name)))


def neigh_show_permanent() -> Command:
    """Return the command for `parse_neighbours`: entries that do not expire."""
    return Command(("ip", "-json", "neigh", "show", "nud", "permanent"))


def neigh_show_proxy() -> Command:
    """Return the command for `parse_neighbours`: the addresses that the host answers for."""
    return Command(("ip", "-json", "neigh", "show", "proxy"))


def neigh_flush(dev: str | None = None) -> Command:
    """Return the command that deletes the neighbour entries of `dev`, or of all links.

    >>> str(neigh_flush("eth0")), str(neigh_flush())
    ('ip neigh flush dev eth0', 'ip neigh flush all')
    """
    words = ("all",) if dev is None else ("dev", interface_name(dev))
    return Command(("ip", "neigh", "flush", *words))


def neigh_replace(address: Address, lladdr: str, dev: str) -> Command:
    """Return the command that creates a permanent neighbour entry on `dev`.

    >>> from ipaddress import ip_address
    >>> str(neigh_replace(ip_address("192.0.2.1"), "02:00:00:00:00:01", "eth0"))
    'ip neigh replace 192.0.2.1 lladdr 02:00:00:00:00:01 dev eth0 nud permanent'
    """
    words = (str(address), "lladdr", values.mac_address(lladdr), "dev", interface_name(dev))
    return Command(("ip", "neigh", "replace", *words, "nud", "permanent"))


def monitor_all() -> Command:
    """Return the command that prints each change of this namespace, and of those that have a number in it."""
    return Command(("ip", "-oneline", "monitor", "link", "address", "route", "rule", "all-nsid"))


def neigh_add_proxy(address: Address, dev: str) -> Command:
    """Return the command that lets the host answer for `address` on `dev` (proxy ARP, proxy NDP)."""
    return Command(("ip", "neigh", "add", "proxy", str(address), "dev", interface_name(dev)))


def neigh_del_proxy(address: Address, dev: str) -> Command:
    """Return the command that undoes `neigh_add_proxy`."""
    return Command(("ip", "neigh", "del", "proxy", str(address), "dev", interface_name(dev)))


def neigh_del(address: Address, dev: str) -> Command:
    """Return ``ip neigh del ADDRESS dev DEV``."""
    return Command(("ip", "neigh", "del", str(address), "dev", interface_name(dev)))


def _name(dev: str) -> tuple[str, ...]:
    return ("dev", interface_name(dev)) if dev in _AMBIGUOUS else (interface_name(dev),)
