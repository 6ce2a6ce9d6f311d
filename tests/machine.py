"""A small kernel for `ip`, `tc` and `sysctl`: what there is after each command, and what it refuses.

It knows nothing of ipvkit's own rules. Its refusals were seen on Linux 6.12; the sources are named.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_interface, ip_network

from ipvkit.core.command import Command
from ipvkit.core.values import Address, InterfaceAddress, Network

IPVLAN = ("ipvlan", "ipvtap")
UPPER = (*IPVLAN, "macvlan")


class Refused(Exception):
    """What the kernel says no to, and the exit code of the tool that says so."""

    def __init__(self, why: str, exit_code: int = 2) -> None:
        super().__init__(why)
        self.exit_code = exit_code


@dataclass(eq=False, slots=True)
class Link:
    """A link, with what it is on, the other end of a pair, and the bridge whose port it is."""

    kind: str
    parent: "Link | None" = None
    peer: "Link | None" = None
    master: "Link | None" = None
    up: bool = False
    mtu: int = 1500
    fixed_mtu: bool = False
    addresses: list[InterfaceAddress] = field(default_factory=list)
    altnames: set[str] = field(default_factory=set)
    filters: int | None = None
    token: int | None = None

    @property
    def state(self) -> tuple[object, ...]:
        """Return what can be compared of it."""
        there = (self.parent is not None, self.peer is not None, self.master is not None)
        own = (tuple(sorted(map(str, self.addresses))), tuple(sorted(self.altnames)))
        return (self.kind, *there, self.up, self.mtu, *own, self.filters)


@dataclass(frozen=True, slots=True)
class Route:
    """A route of a namespace."""

    netns: str
    to: Network | None
    version: int
    link: Link | None
    metric: str
    table: str = "main"


Where = tuple[str, str]
"""A namespace, "" for the root's, and a name of a link."""


def place(command: Command) -> tuple[str, tuple[str, ...]]:
    """Return the namespace that a command runs in, and its words there."""
    words = command.argv
    if words[:3] == ("ip", "netns", "exec"):
        return words[3], words[4:]
    if words[:2] == ("ip", "-n"):
        return words[2], ("ip", *words[3:])
    return "", words


class Machine:
    """The namespaces, links, addresses, routes and sysctls that there are."""

    def __init__(self, nics: dict[str, tuple[InterfaceAddress, ...]]) -> None:
        """Begin with these links, which are up, and their addresses."""
        self.spaces = {""}
        self.links: dict[Where, Link] = {("", "lo"): Link("lo", up=True)}
        self.links |= {("", n): Link("nic", up=True, addresses=list(own)) for n, own in nics.items()}
        self.routes: list[Route] = []
        self.rules: set[tuple[str, ...]] = set()
        self.neighbours: set[tuple[Where, str, str]] = set()
        self.sysctls: dict[Where, str] = {}
        self.advertised: list[Network] = []

    @property
    def state(self) -> object:
        """Return what can be compared: all that is there."""
        links = {where: link.state for where, link in self.links.items()}
        routes = sorted(
            (r.netns, str(r.to), r.version, self.name(r.link) if r.link else ("", ""), r.metric, r.table)
            for r in self.routes
        )
        set_ones = {key: value for key, value in self.sysctls.items() if value != _initially(key[1])}
        return self.spaces, links, routes, self.rules, self.neighbours, set_ones

    def run(self, command: Command) -> tuple[int, str]:
        """Return the exit code of a command, and what it prints or why it is refused."""
        where, words = place(command)
        try:
            if where not in self.spaces:
                raise Refused(f"there is no namespace {where}", 1)
            return 0, self._run(where, (*words, *command.stdin))
        except Refused as refused:
            return refused.exit_code, str(refused)

    def _run(self, at: str, words: tuple[str, ...]) -> str:
        match words:
            case ("ip", "netns", "add", name):
                self._add_space(name)
            case ("ip", "netns", "del", name):
                self._delete_space(name)
            case ("ip", "link", "property", "add", "dev", dev, *altnames):
                for name in altnames[1::2]:
                    self._add_altname(self._link(at, dev), at, name)
            case ("ip", "link", verb, "dev", name, *rest) | ("ip", "link", verb, name, *rest):
                {"add": self._add, "set": self._set, "delete": self._delete}[verb]((at, name), *rest)
            case ("ip", "addr", "add", own, "dev", dev, *_):
                self._give(self._link(at, dev), ip_interface(own))
            case ("ip", "addr", "del", own, "dev", dev):
                self._take(self._link(at, dev), ip_interface(own))
            case ("ip", "-6", "route", verb, *rest):
                self._route(at, verb, rest, 6)
            case ("ip", "route", verb, *rest):
                self._route(at, verb, rest, 6 if ":" in "".join(rest) else 4)
            case ("ip", "-6", "rule", verb, *rest):
                self._rule((at, "6", *rest), verb)
            case ("ip", "rule", verb, *rest):
                self._rule((at, "4", *rest), verb)
            case ("ip", "neigh", "flush", "dev", dev):
                self._link(at, dev)
            case ("ip", "neigh", "replace", address, "lladdr", _, "dev", dev, "nud", "permanent"):
                self._link(at, dev)
                self.neighbours.add(((at, dev), "permanent", address))
            case ("ip", "neigh", "add", "proxy", address, "dev", dev):
                self._link(at, dev)
                self.neighbours.add(((at, dev), "proxied", address))
            case ("ip", "neigh", "del", "proxy", address, "dev", dev):
                self._forget(((at, dev), "proxied", address))
            case ("ip", "neigh", "del", address, "dev", dev):
                self._forget(((at, dev), "permanent", address))
            case ("tc", "qdisc", verb, "dev", dev, "clsact"):
                self._make_room(self._link(at, dev), verb)
            case ("tc", "filter", "add", "dev", dev, *_):
                self._filter(self._link(at, dev))
            case ("sysctl", "-n", key):
                return self.sysctls.get((at, key), _initially(key)) + "\n"
            case ("sysctl", "-w", *settings):
                self.sysctls |= {(at, key): value for key, _, value in (s.partition("=") for s in settings)}
            case ("radvd", "-C", "/proc/self/fd/0", *lines):
                self.advertised += [self._advertised(at, line.split()) for line in lines]
            case ("ip", "token", "set", token, "dev", dev):
                self._link(at, dev).token = int(ip_address(token))
            case ("timeout", _, "sh", "-c", script) if "-tentative" in script:
                self._autoconfigure(at, script.split())
            case ("arping", *_, "-I", dev, _):
                self._link(at, dev)
            case ("ping" | "socat" | "sleep" | "timeout", *_):
                pass
            case _:
                raise AssertionError(f"the machine does not know {words}")
        return ""

    # --- namespaces and links --------------------------------------------------------------------------

    def _add_space(self, name: str) -> None:
        if name in self.spaces:
            raise Refused(f"namespace {name} is there", 1)
        self.spaces.add(name)
        self.links[name, "lo"] = Link("lo")

    def _delete_space(self, name: str) -> None:
        if name not in self.spaces:
            raise Refused(f"there is no namespace {name}", 1)
        for where in [where for where in self.links if where[0] == name]:
            if where in self.links:
                self._remove(where)
        self.spaces.remove(name)
        self.routes = [route for route in self.routes if route.netns != name]
        self.rules = {rule for rule in self.rules if rule[0] != name}
        self.sysctls = {key: value for key, value in self.sysctls.items() if key[0] != name}

    def _link(self, at: str, dev: str) -> Link:
        if (at, dev) not in self.links:
            raise Refused(f"there is no link {dev} in {at or 'the root namespace'}", 1)
        return self.links[at, dev]

    def name(self, link: Link) -> Where:
        """Return where a link is, and what it is called there."""
        return next(where for where, other in self.links.items() if other is link)

    def _on(self, link: Link) -> Iterator[Link]:
        return (other for other in self.links.values() if other.parent is link)

    def _add(self, where: Where, *words: str) -> None:
        parent, lower = None, words
        if words[0] == "link":
            parent, lower = self._link(where[0], words[1]), words[2:]
        if lower[0] == "address":
            lower = lower[2:]
        there = where
        if lower[0] == "netns":
            there, lower = (lower[1], where[1]), lower[2:]
        master = None
        if lower[0] == "master":
            master, lower = self._link(where[0], lower[1]), lower[2:]
        up = lower[0] == "up"
        kind, *rest = lower[2 if up else 1 :]
        # Also a link of that name in the namespace that asks is in the way (rtnl_newlink()).
        if {where, there} & self._names or there[0] not in self.spaces:
            raise Refused("File exists")
        if parent is not None and kind in UPPER:
            self._refuse_busy(parent, kind)
        link = Link(kind, parent, up=up, mtu=parent.mtu if parent else 1500)
        if kind == "veth":
            _, _, peer, _, netns = rest
            if netns not in self.spaces or (netns, peer) in self.links:
                raise Refused("File exists")
            self.links[netns, peer] = link.peer = Link(kind, peer=link)
        self.links[there] = link
        if master is not None:
            self._enslave(link, master)

    def _refuse_busy(self, parent: Link, kind: str) -> None:
        """A link has one receive handler (netdev_rx_handler_register()), and the loopback none."""
        if parent.kind == "lo":
            raise Refused("Invalid argument")
        others = {other.kind for other in self._on(parent)} - {
            "vlan",
            *(IPVLAN if kind in IPVLAN else [kind]),
        }
        if parent.master is not None or others:
            raise Refused("Device or resource busy")

    def _set(self, where: Where, *words: str) -> None:
        link = self._link(*where)
        match words:
            case ("netns", there):
                self._move(where, (there, where[1]))
            case ("netns", there, "name", name):
                # The new name decides where the old one is taken there (dev_change_net_namespace()).
                at_first = name if (there, where[1]) in self.links else where[1]
                self._move(where, (there, at_first))
                self._rename((there, at_first), name)
            case ("name", name):
                self._rename(where, name)
            case ("up",) | ("master", _, "up"):
                link.up = True
            case ("mtu", mtu):
                self._set_mtu(link, int(mtu))
            case ("type", "ipvlan" | "ipvtap" as kind, *_):
                if link.kind != kind:
                    raise Refused("Operation not supported")
            case ("type", "bridge_slave", "hairpin" | "state", "on" | "off" | "1" | "3"):
                if link.master is None:
                    raise Refused("it is no port")
        if words[0] == "master":
            self._enslave(link, self._link(where[0], words[1]))

    def _enslave(self, link: Link, master: Link) -> None:
        """bond_enslave() wants a port that is down, and sets it up; br_add_if() refuses a bridge."""
        busy = any(other.kind in UPPER for other in self._on(link)) or link.master
        if busy or link.kind == master.kind or master.kind not in ("bridge", "bond"):
            raise Refused("Device or resource busy")
        if master.kind == "bond" and link.up:
            raise Refused("Device can not be enslaved while up")
        link.up |= master.kind == "bond"
        link.master = master
        self._adjust_mtus()

    def _move(self, where: Where, there: Where) -> None:
        if there[0] not in self.spaces or there in self._names:
            raise Refused(f"it cannot be moved to {there}")
        link = self.links.pop(where)
        self.links[there] = link
        self._lose_routes(link)
        link.addresses, link.up = [], False

    @property
    def _names(self) -> set[Where]:
        """Return all names: one hash of a namespace has also the alternative ones (netdev_name_node)."""
        others = {(at, name) for (at, _), link in self.links.items() for name in link.altnames}
        return self.links.keys() | others

    def _add_altname(self, link: Link, at: str, name: str) -> None:
        if (at, name) in self._names:
            raise Refused("File exists")
        link.altnames.add(name)

    def _rename(self, where: Where, name: str) -> None:
        """dev_change_name(): in Linux 5.10 only of a link that is down; it stays where it is otherwise."""
        if self._link(*where).up:
            raise Refused("Device or resource busy")
        if name != where[1] and (where[0], name) in self._names:
            raise Refused("File exists")
        self.links[where[0], name] = self.links.pop(where)

    def _set_mtu(self, link: Link, mtu: int) -> None:
        """macvlan_change_mtu(), vlan_dev_change_mtu() compare; ipvlan has no such function."""
        if link.kind in ("macvlan", "vlan") and link.parent is not None and mtu > link.parent.mtu:
            raise Refused("Invalid argument")
        link.mtu = mtu
        link.fixed_mtu = link.kind == "bridge"
        self._adjust_mtus()
        for port in (port for port in self.links.values() if link.kind == "bond" and port.master is link):
            port.mtu = mtu
        for other in self._on(link):
            if other.kind in IPVLAN or mtu < other.mtu:
                self._set_mtu(other, mtu)

    def _adjust_mtus(self) -> None:
        """A bridge has the least MTU of its ports' (br_mtu_auto_adjust()), until it is given one."""
        for bridge in (link for link in self.links.values() if link.kind == "bridge" and not link.fixed_mtu):
            ports = [port.mtu for port in self.links.values() if port.master is bridge]
            bridge.mtu = min(ports, default=1500)

    def _delete(self, where: Where) -> None:
        self._link(*where)
        self._remove(where)

    def _remove(self, where: Where) -> None:
        link = self.links.pop(where)
        self._lose_routes(link)
        self.neighbours = {known for known in self.neighbours if known[0] != where}
        for port in self.links.values():
            port.master = None if port.master is link else port.master
        self._adjust_mtus()
        for other in [*self._on(link), *([link.peer] if link.peer is not None else [])]:
            other.peer = None
            self._remove(self.name(other))

    # --- addresses, routes, neighbours, filters --------------------------------------------------------

    def _give(self, link: Link, own: InterfaceAddress) -> None:
        """ipvlan_addr_busy() compares among the links of one parent, inet_insert_ifa() on one link."""
        links = [link]
        if link.parent is not None and link.kind in IPVLAN:
            links = [other for other in self._on(link.parent) if other.kind in IPVLAN]
        if any(own.ip == other.ip for each in links for other in each.addresses):
            raise Refused("Address already assigned")
        link.addresses.append(own)

    def _advertised(self, at: str, words: list[str]) -> Network:
        """Return the one prefix that is advertised out of a link, from an address that it has."""
        link = self._link(at, words[1])
        if not any(f"{own.ip};" == words[7] for own in link.addresses):
            raise Refused("no such source address", 1)
        return ip_network(words[10])

    def _autoconfigure(self, at: str, words: list[str]) -> None:
        """Give a link the address that the script waits for, if its token and a prefix make it."""
        link, wanted = self._link(at, words[5]), ip_address(words[7])
        prefixes = [prefix for prefix in self.advertised if wanted in prefix]
        if not prefixes or link.token is None or not link.up or prefixes[0][link.token] != wanted:
            raise Refused("no address", 124)
        if self.sysctls.get((at, "net.ipv6.conf.default.accept_ra")) == "0":
            raise Refused("no advertisement is accepted", 124)
        self._give(link, ip_interface((wanted, prefixes[0].prefixlen)))
        self.routes.append(Route(at, None, 6, link, ""))

    def _take(self, link: Link, own: InterfaceAddress) -> None:
        """With its last IPv4 address a link loses its IPv4 routes (fib_inetaddr_event())."""
        if own not in link.addresses:
            raise Refused("Cannot assign requested address")
        link.addresses.remove(own)
        if own.version == 4 and not any(other.version == 4 for other in link.addresses):
            self._lose_routes(link, 4)

    def _lose_routes(self, link: Link, version: int | None = None) -> None:
        self.routes = [r for r in self.routes if r.link is not link or version not in (None, r.version)]

    def _route(self, at: str, verb: str, words: list[str], version: int) -> None:
        leads_nowhere = words[0] in ("blackhole", "unreachable", "prohibit")
        words = words[1:] if leads_nowhere else words
        given = dict(zip(words[1::2], words[2::2], strict=True))
        to = None if words[0] == "default" else ip_network(words[0])
        link = None if leads_nowhere else self._link(at, given["dev"])
        route = Route(at, to, version, link, given.get("metric", ""), given.get("table", "main"))
        if verb == "del":
            if route not in self.routes:
                raise Refused("No such process")
            self.routes.remove(route)
            return
        same = (r for r in self.routes if r.netns == at and r.to == to and r.version == version)
        if any((other.metric, other.table) == (route.metric, route.table) for other in same):
            raise Refused("File exists")
        if link is not None and not link.up:
            raise Refused("Network is down")
        if link is not None and "via" in given and not _is_near(link, ip_address(given["via"])):
            raise Refused("Nexthop has invalid gateway")
        self.routes.append(route)

    def _rule(self, rule: tuple[str, ...], verb: str) -> None:
        if (rule in self.rules) == (verb == "add"):
            raise Refused("File exists" if verb == "add" else "No such file or directory")
        self.rules ^= {rule}

    def _forget(self, known: tuple[Where, str, str]) -> None:
        if known not in self.neighbours:
            raise Refused("No such file or directory")
        self.neighbours.remove(known)

    def _make_room(self, link: Link, verb: str) -> None:
        if (link.filters is None) != (verb == "add"):
            raise Refused("Exclusivity flag on, cannot modify")
        link.filters = 0 if verb == "add" else None

    def _filter(self, link: Link) -> None:
        if link.filters is None:
            raise Refused("Parent Qdisc doesn't exists")
        link.filters += 1


def _is_near(link: Link, gateway: Address) -> bool:
    """A link-local gateway needs no address of the link (ip6_route_check_nh())."""
    link_local = gateway.version == 6 and gateway.is_link_local
    return link_local or any(gateway in own.network for own in link.addresses)


def _initially(key: str) -> str:
    return "80" if key.endswith(".proxy_delay") else "0"
