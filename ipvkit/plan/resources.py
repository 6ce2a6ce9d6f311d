"""The resources that a step creates on a machine: how to see them there, and how to undo them.

A lab creates no other kind on a real machine, and a journal holds no other.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from ipvkit.core import values
from ipvkit.core.command import Command, Completed, in_netns
from ipvkit.core.errors import UNREAD, CommandFailed, UnparsableOutput, UsageError
from ipvkit.strategies import Proxy as Proxy
from ipvkit.strategies import Sysctl as Sysctl
from ipvkit.tools import ip, sysctl


@dataclass(frozen=True, slots=True)
class Netns:
    """A network namespace that was created; the time of its file in /run/netns identifies it.

    `links` are the names of the links that the lab creates in it; they are deleted with it.
    """

    name: str
    links: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"netns {self.name}"


@dataclass(frozen=True, slots=True)
class Link:
    """A link that was created, now in `netns` (None: the host's, where its ifindex identifies it)."""

    name: str
    kind: str
    netns: str | None = None

    def __str__(self) -> str:
        return f"link {self.name}" if self.netns is None else f"link {self.name} in netns {self.netns}"


@dataclass(frozen=True, slots=True)
class Route:
    """A route that was added in the host's namespace, to `dst` via `dev`."""

    dst: values.Network
    dev: str

    def __str__(self) -> str:
        return f"route {self.dst} dev {self.dev}"


Resource = Netns | Link | Sysctl | Proxy | Route | Command
"""What a step created; on a simulated LAN, which is not looked at, the command that undoes it."""


def undo_of(resource: Resource, former: str = "") -> Command:
    """Return the command that deletes `resource`, or sets a sysctl to its `former` value."""
    match resource:
        case Netns(name):
            return ip.netns_del(name)
        case Link(name, _, netns):
            return in_netns(netns, ip.link_delete(name))
        case Sysctl(key, _, netns):
            return in_netns(netns, Command(("sysctl", "-w", f"{key}={former}")))
        case Proxy(to, dev):
            return ip.neigh_del_proxy(to, dev)
        case Route(dst, dev):
            return ip.route_del(ip.RouteTo(dst, dev=dev))
        case Command():
            return resource


NETNS, LINKS, ROUTES, PROXIES, PERMANENT = "netns", "links", "routes", "proxies", "permanent"
_INSIDE = "in "
"""The view of a namespace is called this and its name."""

VIEWS = {
    NETNS: ip.netns_list(),
    LINKS: ip.addr_show(details=True),
    ROUTES: ip.route_show_all(),
    PROXIES: ip.neigh_show_proxy(),
    PERMANENT: ip.neigh_show_permanent(),
}
"""The commands that show the host's namespace, by name."""

KERNELS_OWN_LINKS = frozenset("lo tunl0 sit0 gre0 gretap0 erspan0 ip_vti0 ip6_vti0 ip6tnl0 ip6gre0".split())
"""What the kernel itself puts into each new namespace (net.core.fb_tunnels_only_for_init_net)."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The state of a resource: it exists, is gone, was changed by another user, or is in use by one.

    `why` describes what that user has changed.
    """

    state: Literal["stands", "gone", "changed", "held"]
    why: str = ""


@dataclass(frozen=True, slots=True)
class Observation:
    """The state of a machine: `namespaces` by name with their marks, None where unknown.

    `links` are those of each namespace that was read; None is the host's.
    """

    namespaces: Mapping[str, int | None]
    links: Mapping[str | None, tuple[ip.Link, ...]]
    routes: tuple[ip.Route, ...]
    proxies: tuple[ip.Neighbour, ...]
    permanent: tuple[ip.Neighbour, ...]
    sysctls: Mapping[str, str]


def is_new(resource: Resource) -> bool:
    """Return whether its name must be free before: in a new namespace every name is."""
    return isinstance(resource, Netns | Proxy | Route) or (isinstance(resource, Link) and not resource.netns)


def netns_of(resource: Resource) -> str | None:
    """Return the name of the namespace that `resource` is, or is in; None for the host's."""
    match resource:
        case Netns(netns) | Link(netns=netns) | Sysctl(netns=netns):
            return netns
    return None


def views_of(resources: Iterable[Resource]) -> dict[str, Command]:
    """Return the commands that show `resources`, and all that is in a namespace, by name."""
    views = {}
    for resource in resources:
        if (netns := netns_of(resource)) is not None:
            views[NETNS] = VIEWS[NETNS]
        match resource:
            case Netns(inside) | Link(netns=str(inside)):
                views[f"{_INSIDE}{inside}"] = ip.at(inside, VIEWS[LINKS])
            case Link():
                views[LINKS] = VIEWS[LINKS]
            case Sysctl(key):
                views[resource.name] = in_netns(netns, sysctl.get_value(key))
            case Proxy():
                views[PROXIES] = VIEWS[PROXIES]
            case Route():
                views[ROUTES] = VIEWS[ROUTES]
    return views


def observe(
    resources: Collection[Resource],
    shown: Mapping[str, Completed],
    mark_of: Callable[[str], int | None] = lambda _name: None,
) -> Observation:
    """Return the state that views have shown; `mark_of` returns the mark of an existing namespace.

    Raise CommandFailed where a view failed, and UnparsableOutput where it cannot be parsed.
    """

    def of(view: str) -> str:
        if view not in shown:
            return ""
        if shown[view].exit_code != 0:
            raise CommandFailed(UNREAD, stderr=shown[view].stderr.strip())
        return shown[view].stdout

    namespaces: dict[str, int | None] = {netns.name: None for netns in ip.parse_netns(of(NETNS))}
    names = {name for resource in resources if (name := netns_of(resource)) is not None}
    namespaces |= {name: mark for name in names if (mark := mark_of(name)) is not None}
    links: dict[str | None, tuple[ip.Link, ...]] = {None: ip.parse_addresses(of(LINKS))}
    for name, mark in namespaces.items():
        view = f"{_INSIDE}{name}"
        # A name without a mark may be only the file of a deleted namespace, which ip cannot enter.
        if view in shown and (mark is not None or shown[view].exit_code == 0):
            links[name] = ip.parse_addresses(of(view))
    sysctls = {}
    for one in resources:
        if isinstance(one, Sysctl) and (one.netns is None or one.netns in namespaces):
            sysctls[one.name] = of(one.name).strip()
            if not is_number(sysctls[one.name]):
                raise UnparsableOutput("sysctl", 1, of(one.name))
    routes, proxies = ip.parse_routes(of(ROUTES)), ip.parse_neighbours(of(PROXIES))
    return Observation(namespaces, links, routes, proxies, ip.parse_neighbours(of(PERMANENT)), sysctls)


def is_number(text: str) -> bool:
    """Return whether `text` is a whole number, as is each value of the sysctls that labs set."""
    return text.isascii() and text.removeprefix("-").isdigit()


_STANDS, _GONE = Finding("stands"), Finding("gone")


def state_of(resource: Resource, seen: Observation, mark: int | None = None, former: str = "") -> Finding:
    """Return the state of `resource` in `seen`; a Command, which cannot be looked for, stands.

    `mark` identified it, or its namespace, when it was created; it is None where unknown. `former` is the
    former value of a sysctl.
    """
    match resource:
        case Link(netns=str(netns)) | Sysctl(netns=str(netns)) if _differ(mark, seen.namespaces.get(netns)):
            why = f"{resource} was deleted with its namespace: netns {netns} was replaced"
            return Finding("changed", why)
        case Netns():
            return _state_of_netns(resource, seen, mark)
        case Link(netns=netns):
            return _state_of_link(resource, seen, mark if netns is None else None)
        case Sysctl(value=value):
            now = seen.sysctls.get(resource.name, former)
            if now != former and now != str(value):
                return Finding("changed", f"{resource.name} was set to {value} and is {now} now")
            found = now != former
        case Proxy(to, dev):
            found = any((entry.dst, entry.dev) == (to, dev) for entry in seen.proxies)
        case Route(dst, dev):
            # Only with -details ip names the main table.
            main = [route for route in seen.routes if route.table in (None, "main")]
            found = any((route.dst, route.dev) == (dst, dev) for route in main)
        case Command():
            found = True
    return _STANDS if found else _GONE


def _state_of_netns(netns: Netns, seen: Observation, mark: int | None) -> Finding:
    if netns.name not in seen.namespaces:
        return _GONE
    if _differ(mark, seen.namespaces[netns.name]):
        return Finding("changed", f"{netns} was replaced")
    ours = KERNELS_OWN_LINKS.union(netns.links)
    others = [link.ifname for link in seen.links.get(netns.name, ()) if link.ifname not in ours]
    return Finding("held", f"{netns} has links of another user: {', '.join(others)}") if others else _STANDS


def _state_of_link(link: Link, seen: Observation, ifindex: int | None) -> Finding:
    there = seen.links.get(link.netns, ())
    found = next((other for other in there if other.ifname == link.name), None)
    if found is None:
        renamed = [other.ifname for other in there if ifindex is not None and other.ifindex == ifindex]
        return Finding("held", f"{link} was renamed to {renamed[0]}") if renamed else _GONE
    if found.kind != link.kind:
        return Finding("changed", f"{link} was replaced by one of kind {found.kind}")
    return Finding("changed", f"{link} was replaced") if _differ(ifindex, found.ifindex) else _STANDS


def _differ(mark: int | None, now: int | None) -> bool:
    return None not in (mark, now) and mark != now


def written(resource: Resource) -> dict[str, Any]:
    """Return `resource` as a JSON object, which `read` converts back; raise ValueError for a Command."""
    if isinstance(resource, Command):
        raise ValueError(f"{resource} is not a resource to look for")
    own = {field.name: getattr(resource, field.name) for field in fields(resource)}
    plain = {name: v if v is None or isinstance(v, int | tuple) else str(v) for name, v in own.items()}
    return {"effect": type(resource).__name__.lower(), **plain}


def read(value: Mapping[str, Any]) -> Resource:
    """Return the resource that `written` wrote; raise UsageError for anything else."""
    try:
        netns = value.get("netns")
        netns = None if netns is None else values.netns_name(netns)
        match value:
            case {"effect": "netns", "name": name, "links": links}:
                return Netns(values.netns_name(name), tuple(map(values.interface_name, links)))
            case {
                "effect": "link",
                "name": name,
                "kind": "ipvlan" | "ipvtap" | "macvlan" as kind,
                "netns": _,
            }:
                return Link(values.interface_name(name), kind, netns)
            case {"effect": "sysctl", "key": key, "value": to, "netns": _} if key.startswith("net."):
                return Sysctl(values.sysctl_key(key), int(to), netns)
            case {"effect": "proxy", "address": to, "dev": dev}:
                return Proxy(values.address(to), values.interface_name(dev))
            case {"effect": "route", "dst": to, "dev": dev} if dst := values.route_destination(to):
                return Route(dst, values.interface_name(dev))
    except (AttributeError, TypeError, ValueError):
        pass
    raise UsageError(f"{value!r} is not a resource of a lab")
