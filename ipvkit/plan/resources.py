"""What a step leaves on a machine: how it is seen there, and what takes it back.

Only what a lab can leave on a real machine is an effect, and a journal can hold no other.
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
"""The protocols of routes that nobody on this machine made: they follow links, addresses and routers."""

NETNS, LINKS, ROUTES, PROXIES, INSIDE = "netns", "links", "routes", "proxies", "in "
"""What views are called; that of what is inside of a namespace has its name behind `INSIDE`."""

_SHOW_LINKS = ip.addr_show(details=True)


@dataclass(frozen=True, slots=True)
class Netns:
    """A network namespace was made; it is known by when its file in /run/netns was.

    `links` are the names of those that the lab makes in it, which go with it.
    """

    name: str
    links: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return how it is told of."""
        return f"netns {self.name}"

    @property
    def undo(self) -> Command:
        """What takes it back."""
        return ip.netns_del(self.name)

    @property
    def views(self) -> dict[str, Command]:
        """What shows it, and what is in it: whoever deletes it deletes that too."""
        return {NETNS: ip.netns_list(), f"{INSIDE}{self.name}": ip.at(self.name, _SHOW_LINKS)}


@dataclass(frozen=True, slots=True)
class Link:
    """A link was made, which is in `netns` now; None: the machine's own, where it is known by its ifindex."""

    name: str
    kind: str
    netns: str | None = None

    def __str__(self) -> str:
        """Return how it is told of."""
        return f"link {self.name}" if self.netns is None else f"link {self.name} in netns {self.netns}"

    @property
    def undo(self) -> Command:
        """What takes it back."""
        return in_netns(self.netns, ip.link_delete(self.name))

    @property
    def views(self) -> dict[str, Command]:
        """What shows it."""
        return {LINKS: _SHOW_LINKS} if self.netns is None else Netns(self.netns).views


@dataclass(frozen=True, slots=True)
class Sysctl:
    """A sysctl of `netns` (None: the machine's own namespace) was set to `value`."""

    key: str
    value: int
    netns: str | None = None

    def __str__(self) -> str:
        """Return how it is told of."""
        return f"{self.name} = {self.value}"

    @property
    def name(self) -> str:
        """Which sysctl of the machine it is."""
        return self.key if self.netns is None else f"{self.key} in netns {self.netns}"

    @property
    def undo(self) -> Command:
        """What takes it back, when the former value is put behind it."""
        return in_netns(self.netns, Command(("sysctl", "-w", f"{self.key}=")))

    @property
    def views(self) -> dict[str, Command]:
        """What shows it."""
        namespaces = {} if self.netns is None else {NETNS: ip.netns_list()}
        return {**namespaces, self.name: in_netns(self.netns, sysctl.get_value(self.key))}


@dataclass(frozen=True, slots=True)
class Proxy:
    """The machine was told to answer for `address` on `dev`."""

    address: Address
    dev: str

    def __str__(self) -> str:
        """Return how it is told of."""
        return f"proxy entry {self.address} on {self.dev}"

    @property
    def undo(self) -> Command:
        """What takes it back."""
        return ip.neigh_del_proxy(self.address, self.dev)

    @property
    def views(self) -> dict[str, Command]:
        """What shows it."""
        return {PROXIES: ip.neigh_show_proxy()}


@dataclass(frozen=True, slots=True)
class Route:
    """A route of the machine's own namespace was made, to `dst` out of `dev`."""

    dst: Network
    dev: str

    def __str__(self) -> str:
        """Return how it is told of."""
        return f"route {self.dst} dev {self.dev}"

    @property
    def undo(self) -> Command:
        """What takes it back."""
        return ip.route_del(ip.RouteTo(self.dst, dev=self.dev))

    @property
    def views(self) -> dict[str, Command]:
        """What shows it."""
        return {ROUTES: ip.route_show_all()}


Resource = Netns | Link | Sysctl | Proxy | Route
"""Each has `undo`, which takes it back, and `views`, the commands that show it, by name."""


# --- on a machine ---------------------------------------------------------------------------------------

KERNELS_OWN_LINKS = frozenset(
    ("lo", "tunl0", "sit0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6_vti0", "ip6tnl0", "ip6gre0")
)
"""What the kernel itself puts into each new namespace (net.core.fb_tunnels_only_for_init_net)."""


class ResourceState(StrEnum):
    """How an effect is found: still there; gone; somebody else's by now; ours, and held by somebody else."""

    STANDS = "stands"
    GONE = "gone"
    CHANGED = "changed"
    HELD = "held"


@dataclass(frozen=True, slots=True)
class Seen:
    """How an effect stands; `why` tells what somebody else has changed."""

    standing: ResourceState
    why: str = ""


@dataclass(frozen=True, slots=True)
class Observation:
    """What a machine shows: `namespaces` by name with their marks, where known.

    `links` are those of each namespace that was looked into, None being the machine's own.
    """

    namespaces: Mapping[str, int | None] = field(default_factory=dict)
    links: Mapping[str | None, tuple[ip.Link, ...]] = field(default_factory=dict)
    routes: tuple[ip.Route, ...] = ()
    proxies: tuple[ip.Neighbour, ...] = ()
    sysctls: Mapping[str, str] = field(default_factory=dict)


def is_new(effect: Resource) -> bool:
    """Return whether nothing of that name may have been there: what is in a new namespace never was."""
    return isinstance(effect, Netns | Proxy | Route) or (isinstance(effect, Link) and effect.netns is None)


def namespaces_of(effects: Iterable[Resource]) -> set[str]:
    """Return the names of the namespaces that were made, or in which something was changed."""
    names = (
        effect.name if isinstance(effect, Netns) else getattr(effect, "netns", None) for effect in effects
    )
    return {name for name in names if name is not None}


def sight(
    effects: Iterable[Resource], shown: Mapping[str, Completed], marks: Mapping[str, int | None]
) -> Observation:
    """Return what the views of `effects` have shown; `marks` are those of namespaces that are there.

    Raise CommandFailed where a view failed, and UnparsableOutput where nobody understands it.
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
        # A name without a mark may be all that is left of a namespace: nobody can look into it.
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
    """Return whether `text` is a whole number, as the sysctls have it that labs set."""
    return text.isascii() and text.removeprefix("-").isdigit()


def _shown(view: str, completed: Completed) -> str:
    if completed.exit_code != 0:
        raise CommandFailed(f"the machine does not show its {view}", stderr=completed.stderr.strip())
    return completed.stdout


_STANDS, _GONE = Seen(ResourceState.STANDS), Seen(ResourceState.GONE)


def _changed(why: str) -> Seen:
    return Seen(ResourceState.CHANGED, why)


def _held(why: str) -> Seen:
    return Seen(ResourceState.HELD, why)


def standing(effect: Resource, sight: Observation, mark: int | None = None, former: str = "") -> Seen:
    """Return how `effect` stands in `sight`.

    `mark` is what it, or the namespace that it is in, was known by when it was made, None where that is not
    known; `former` is the value of a sysctl before.
    """
    match effect:
        case Netns():
            return _netns(effect, sight, mark)
        case Link():
            return _link(effect, sight, mark)
        case Sysctl(netns=str(netns)) if _differ(mark, sight.namespaces.get(netns)):
            return _in_another(effect, netns)
        case Sysctl(value=value):
            now = sight.sysctls.get(effect.name, former)
            if now == str(value) != former:
                return _STANDS
            return _GONE if now == former else _changed(f"{effect.name} was set to {value} and is {now} now")
        case Proxy(address_, dev):
            return _if(any((entry.dst, entry.dev) == (address_, dev) for entry in sight.proxies))
        case Route(dst, dev):
            main = [route for route in sight.routes if route.table is None]
            return _if(any((route.dst, route.dev) == (dst, dev) for route in main))


def _if(found: bool) -> Seen:
    return _STANDS if found else _GONE


def _netns(effect: Netns, sight: Observation, mark: int | None) -> Seen:
    if effect.name not in sight.namespaces:
        return _GONE
    if _differ(mark, sight.namespaces[effect.name]):
        return _changed(f"{effect} is another one now")
    ours = KERNELS_OWN_LINKS.union(effect.links)
    others = [link.ifname for link in sight.links.get(effect.name, ()) if link.ifname not in ours]
    if others:
        return _held(f"{effect} holds what is somebody else's: link {', '.join(others)}")
    return _STANDS


def _in_another(effect: Resource, netns: str) -> Seen:
    return _changed(f"{effect} has gone with its namespace: netns {netns} is another one now")


def _link(effect: Link, sight: Observation, mark: int | None) -> Seen:
    if effect.netns is not None:
        if _differ(mark, sight.namespaces.get(effect.netns)):
            return _in_another(effect, effect.netns)
        mark = None
    there = sight.links.get(effect.netns, ())
    link = next((link for link in there if link.ifname == effect.name), None)
    if link is None:
        known = [link for link in there if mark is not None and link.ifindex == mark]
        return _held(f"{effect} is called {known[0].ifname} now") if known else _GONE
    if link.kind != effect.kind:
        return _changed(f"{effect} is of kind {link.kind} now, and was made as {effect.kind}")
    return _changed(f"{effect} is another one now") if _differ(mark, link.ifindex) else _STANDS


def _differ(mark: int | None, now: int | None) -> bool:
    return None not in (mark, now) and mark != now


# --- on paper -------------------------------------------------------------------------------------------


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
    """Return `effect` as JSON has it, from which `read` makes it again."""
    what = next(what for what, (kind, _) in _READERS.items() if isinstance(effect, kind))
    values = ((field.name, getattr(effect, field.name)) for field in fields(effect))
    return {"effect": what, **{name: _plain(value) for name, value in values}}


def _plain(value: object) -> object:
    if isinstance(value, tuple):
        return list(value)
    return value if value is None or isinstance(value, (int, str)) else str(value)


def read(value: Mapping[str, Any]) -> Resource:
    """Return the effect that `written` wrote; UsageError for anything else: nothing is taken on trust."""
    try:
        kind, readers = _READERS[value["effect"]]
        return kind(**{name: reader(value[name]) for name, reader in readers.items()})
    except (AttributeError, KeyError, TypeError, ValueError):
        raise UsageError(f"{value!r} is nothing that a lab leaves") from None
