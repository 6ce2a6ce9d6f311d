"""The resources that a step creates on a machine: how to see them there, and how to undo them.

A lab creates no other kind on a real machine, and a journal holds no other.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any

from ipvkit.core.command import Command, Completed, in_netns
from ipvkit.core.errors import CommandFailed, UnparsableOutput, UsageError
from ipvkit.core.values import (
    Address,
    Network,
    address,
    interface_name,
    netns_name,
    route_destination,
    sysctl_key,
)
from ipvkit.tools import ip, sysctl

COME_AND_GO = frozenset(("kernel", "ra", "redirect"))
"""The protocols of automatic routes: they follow links, addresses and routers."""

NETNS, LINKS, ROUTES, PROXIES, INSIDE = "netns", "links", "routes", "proxies", "in "
"""The names of views; the view of a namespace is `INSIDE` and its name."""

_SHOW_LINKS = ip.addr_show(details=True)


@dataclass(frozen=True, slots=True)
class Netns:
    """A network namespace that was created; the time of its file in /run/netns identifies it.

    `links` are the names of the links that the lab creates in it; they are deleted with it.
    """

    name: str
    links: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return its display name."""
        return f"netns {self.name}"

    @property
    def undo(self) -> Command:
        """The command that deletes or restores it."""
        return ip.netns_del(self.name)

    @property
    def views(self) -> dict[str, Command]:
        """The commands that show it, and what is in it, which is deleted with it."""
        return {NETNS: ip.netns_list(), f"{INSIDE}{self.name}": ip.at(self.name, _SHOW_LINKS)}


@dataclass(frozen=True, slots=True)
class Link:
    """A link that was created, now in `netns` (None: the host's, where its ifindex identifies it)."""

    name: str
    kind: str
    netns: str | None = None

    def __str__(self) -> str:
        """Return its display name."""
        return f"link {self.name}" if self.netns is None else f"link {self.name} in netns {self.netns}"

    @property
    def undo(self) -> Command:
        """The command that deletes or restores it."""
        return in_netns(self.netns, ip.link_delete(self.name))

    @property
    def views(self) -> dict[str, Command]:
        """The commands that show it."""
        return {LINKS: _SHOW_LINKS} if self.netns is None else Netns(self.netns).views


@dataclass(frozen=True, slots=True)
class Sysctl:
    """A sysctl of `netns` (None: the host's namespace) that was set to `value`."""

    key: str
    value: int
    netns: str | None = None

    def __str__(self) -> str:
        """Return its display name."""
        return f"{self.name} = {self.value}"

    @property
    def name(self) -> str:
        """The key, with the namespace."""
        return self.key if self.netns is None else f"{self.key} in netns {self.netns}"

    @property
    def undo(self) -> Command:
        """The command that restores it, once the former value is appended."""
        return in_netns(self.netns, Command(("sysctl", "-w", f"{self.key}=")))

    @property
    def views(self) -> dict[str, Command]:
        """The commands that show it."""
        namespaces = {} if self.netns is None else {NETNS: ip.netns_list()}
        return {**namespaces, self.name: in_netns(self.netns, sysctl.get_value(self.key))}


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy entry that was added: the host answers for `address` on `dev`."""

    address: Address
    dev: str

    def __str__(self) -> str:
        """Return its display name."""
        return f"proxy entry {self.address} on {self.dev}"

    @property
    def undo(self) -> Command:
        """The command that deletes or restores it."""
        return ip.neigh_del_proxy(self.address, self.dev)

    @property
    def views(self) -> dict[str, Command]:
        """The commands that show it."""
        return {PROXIES: ip.neigh_show_proxy()}


@dataclass(frozen=True, slots=True)
class Route:
    """A route that was added in the host's namespace, to `dst` via `dev`."""

    dst: Network
    dev: str

    def __str__(self) -> str:
        """Return its display name."""
        return f"route {self.dst} dev {self.dev}"

    @property
    def undo(self) -> Command:
        """The command that deletes or restores it."""
        return ip.route_del(ip.RouteTo(self.dst, dev=self.dev))

    @property
    def views(self) -> dict[str, Command]:
        """The commands that show it."""
        return {ROUTES: ip.route_show_all()}


Resource = Netns | Link | Sysctl | Proxy | Route
"""Each has `undo`, the command that deletes or restores it, and `views`, those that show it, by name."""


# --- on a machine ---------------------------------------------------------------------------------------

KERNELS_OWN_LINKS = frozenset(
    ("lo", "tunl0", "sit0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6_vti0", "ip6tnl0", "ip6gre0")
)
"""What the kernel itself puts into each new namespace (net.core.fb_tunnels_only_for_init_net)."""


class ResourceState(StrEnum):
    """The state of a resource: it exists, is gone, was changed by another user, or is in use by one."""

    STANDS = "stands"
    GONE = "gone"
    CHANGED = "changed"
    HELD = "held"


@dataclass(frozen=True, slots=True)
class Finding:
    """The state of a resource; `why` describes what another user has changed."""

    state: ResourceState
    why: str = ""


@dataclass(frozen=True, slots=True)
class Observation:
    """The state of a machine: `namespaces` by name with their marks, None where unknown.

    `links` are those of each namespace that was read; None is the host's.
    """

    namespaces: Mapping[str, int | None] = field(default_factory=dict)
    links: Mapping[str | None, tuple[ip.Link, ...]] = field(default_factory=dict)
    routes: tuple[ip.Route, ...] = ()
    proxies: tuple[ip.Neighbour, ...] = ()
    sysctls: Mapping[str, str] = field(default_factory=dict)


def is_new(effect: Resource) -> bool:
    """Return whether its name must be free before: in a new namespace every name is."""
    return isinstance(effect, Netns | Proxy | Route) or (isinstance(effect, Link) and effect.netns is None)


def namespaces_of(effects: Iterable[Resource]) -> set[str]:
    """Return the names of the namespaces that were created or changed."""
    names = (
        effect.name if isinstance(effect, Netns) else getattr(effect, "netns", None) for effect in effects
    )
    return {name for name in names if name is not None}


def observe(
    effects: Iterable[Resource], shown: Mapping[str, Completed], marks: Mapping[str, int | None]
) -> Observation:
    """Return the state that the views of `effects` have shown; `marks` are those of existing namespaces.

    Raise CommandFailed where a view failed, and UnparsableOutput where it cannot be parsed.
    """

    def of(view: str) -> str:
        return _shown(view, shown[view]) if view in shown else ""

    namespaces = {netns.name: marks.get(netns.name) for netns in ip.parse_netns(of(NETNS))}
    namespaces |= {name: mark for name, mark in marks.items() if mark is not None}
    links: dict[str | None, tuple[ip.Link, ...]] = {}
    sysctls: dict[str, str] = {}
    if LINKS in shown:
        links[None] = ip.parse_addresses(of(LINKS))
    for name, mark in namespaces.items():
        inside = shown.get(f"{INSIDE}{name}")
        # A name without a mark may be only the file of a deleted namespace, which ip cannot enter.
        if inside is not None and (mark is not None or inside.exit_code == 0):
            links[name] = ip.parse_addresses(of(f"{INSIDE}{name}"))
    for effect in effects:
        if isinstance(effect, Sysctl) and (effect.netns is None or effect.netns in namespaces):
            sysctls[effect.name] = _number(of(effect.name))
    return Observation(
        namespaces, links, ip.parse_routes(of(ROUTES)), ip.parse_neighbours(of(PROXIES)), sysctls
    )


def _number(stdout: str) -> str:
    value = stdout.strip()
    if not is_number(value):
        raise UnparsableOutput("sysctl", 1, stdout)
    return value


def is_number(text: str) -> bool:
    """Return whether `text` is a whole number, as is each value of the sysctls that labs set."""
    return text.isascii() and text.removeprefix("-").isdigit()


def _shown(view: str, completed: Completed) -> str:
    if completed.exit_code != 0:
        raise CommandFailed(f"the {view} of this machine could not be read", stderr=completed.stderr.strip())
    return completed.stdout


_STANDS, _GONE = Finding(ResourceState.STANDS), Finding(ResourceState.GONE)


def _changed(why: str) -> Finding:
    return Finding(ResourceState.CHANGED, why)


def _held(why: str) -> Finding:
    return Finding(ResourceState.HELD, why)


def state_of(effect: Resource, seen: Observation, mark: int | None = None, former: str = "") -> Finding:
    """Return the state of `effect` in `seen`.

    `mark` identified it, or its namespace, when it was created; it is None where unknown. `former` is the
    former value of a sysctl.
    """
    match effect:
        case Netns():
            return _netns(effect, seen, mark)
        case Link():
            return _link(effect, seen, mark)
        case Sysctl(netns=str(netns)) if _differ(mark, seen.namespaces.get(netns)):
            return _in_another(effect, netns)
        case Sysctl(value=value):
            now = seen.sysctls.get(effect.name, former)
            if now == str(value) != former:
                return _STANDS
            return _GONE if now == former else _changed(f"{effect.name} was set to {value} and is {now} now")
        case Proxy(address_, dev):
            return _if(any((entry.dst, entry.dev) == (address_, dev) for entry in seen.proxies))
        case Route(dst, dev):
            main = [route for route in seen.routes if route.table is None]
            return _if(any((route.dst, route.dev) == (dst, dev) for route in main))


def _if(found: bool) -> Finding:
    return _STANDS if found else _GONE


def _netns(effect: Netns, seen: Observation, mark: int | None) -> Finding:
    if effect.name not in seen.namespaces:
        return _GONE
    if _differ(mark, seen.namespaces[effect.name]):
        return _changed(f"{effect} was replaced")
    ours = KERNELS_OWN_LINKS.union(effect.links)
    others = [link.ifname for link in seen.links.get(effect.name, ()) if link.ifname not in ours]
    if others:
        return _held(f"{effect} has links of another user: {', '.join(others)}")
    return _STANDS


def _in_another(effect: Resource, netns: str) -> Finding:
    return _changed(f"{effect} was deleted with its namespace: netns {netns} was replaced")


def _link(effect: Link, seen: Observation, mark: int | None) -> Finding:
    if effect.netns is not None:
        if _differ(mark, seen.namespaces.get(effect.netns)):
            return _in_another(effect, effect.netns)
        mark = None
    there = seen.links.get(effect.netns, ())
    link = next((link for link in there if link.ifname == effect.name), None)
    if link is None:
        known = [link for link in there if mark is not None and link.ifindex == mark]
        return _held(f"{effect} was renamed to {known[0].ifname}") if known else _GONE
    if link.kind != effect.kind:
        return _changed(f"{effect} was replaced by one of kind {link.kind}")
    return _changed(f"{effect} was replaced") if _differ(mark, link.ifindex) else _STANDS


def _differ(mark: int | None, now: int | None) -> bool:
    return None not in (mark, now) and mark != now


# --- as JSON -------------------------------------------------------------------------------------------


def _kind(text: str) -> str:
    if text not in ("ipvlan", "macvlan"):
        raise ValueError
    return text


def _key(text: str) -> str:
    if not text.startswith("net."):
        raise ValueError
    return sysctl_key(text)


def _network(text: str) -> Network:
    found = route_destination(text)
    if found is None:
        raise ValueError
    return found


def _links(names: list[str]) -> tuple[str, ...]:
    return tuple(map(interface_name, names))


def _or_none(read: Callable[[str], str]) -> Callable[[str | None], str | None]:
    return lambda text: None if text is None else read(text)


_READERS: Mapping[str, tuple[type[Resource], Mapping[str, Callable[[Any], Any]]]] = {
    "netns": (Netns, {"name": netns_name, "links": _links}),
    "link": (Link, {"name": interface_name, "kind": _kind, "netns": _or_none(netns_name)}),
    "sysctl": (Sysctl, {"key": _key, "value": int, "netns": _or_none(netns_name)}),
    "proxy": (Proxy, {"address": address, "dev": interface_name}),
    "route": (Route, {"dst": _network, "dev": interface_name}),
}


def written(effect: Resource) -> dict[str, Any]:
    """Return `effect` as a JSON object, which `read` converts back."""
    what = next(what for what, (kind, _) in _READERS.items() if isinstance(effect, kind))
    values = ((field.name, getattr(effect, field.name)) for field in fields(effect))
    return {"effect": what, **{name: _plain(value) for name, value in values}}


def _plain(value: object) -> object:
    if isinstance(value, tuple):
        return list(value)
    return value if value is None or isinstance(value, (int, str)) else str(value)


def read(value: Mapping[str, Any]) -> Resource:
    """Return the effect that `written` wrote; raise UsageError for anything else."""
    try:
        kind, readers = _READERS[value["effect"]]
        return kind(**{name: reader(value[name]) for name, reader in readers.items()})
    except (AttributeError, KeyError, TypeError, ValueError):
        raise UsageError(f"{value!r} is not a resource of a lab") from None
