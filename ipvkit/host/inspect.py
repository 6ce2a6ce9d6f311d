"""The ipvlan, ipvtap and macvlan links of this machine, in whatever namespace, by their parents."""

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice

from ipvkit.core.command import Command
from ipvkit.core.errors import IpvkitError, MissingRequirement, UsageError
from ipvkit.core.values import InterfaceAddress
from ipvkit.host.checks import some
from ipvkit.host.facts import SUDO, Read, read, rp_filter
from ipvkit.host.namespaces import Inode, Space, Spaces, is_there, spaces
from ipvkit.host.owners import Owner, owner_of
from ipvkit.run.execution import answers, ask, require_for
from ipvkit.targets.agent import Agent
from ipvkit.tools import ip
from ipvkit.tools.ip import Link, Neighbour, Route, Rule
from ipvkit.tools.nsenter import in_each, in_net
from ipvkit.tools.unshare import list_ids

MACVLAN = ("macvlan", "macvtap")
_TAPS = ("ipvtap", "macvtap")
KINDS = ("ipvlan", "ipvtap", *MACVLAN)
"""The kinds of links that `inspect` shows, of which some have separate MAC addresses."""

_BOUND_S = 60
"""The limit for a command that looks, in seconds; a machine with many namespaces may be busy."""

_AT_ONCE = 20
"""How many namespaces one process looks into, one after another."""


@dataclass(frozen=True, slots=True)
class Inside:
    """What `ip` shows in a namespace: `rules`, and `routes` of all tables but the local one, of each family.

    `proxied` are the addresses that it answers for, `neighbours` its neighbour tables. `numbers` are other
    namespaces by their numbers in this one, where that matters.
    """

    inode: Inode
    space: Space
    links: tuple[Link, ...]
    routes: tuple[Route, ...]
    proxied: tuple[Neighbour, ...] = ()
    neighbours: tuple[Neighbour, ...] = ()
    rules: tuple[Rule, ...] = ()
    numbers: Mapping[int, Inode] = field(default_factory=dict)

    @property
    def uppers(self) -> tuple[Link, ...]:
        """The links that are on a parent."""
        return tuple(link for link in self.links if link.kind in KINDS)

    @property
    def main(self) -> tuple[Route, ...]:
        """The routes of the main table, which `ip` names only with details, by which packets are sent."""
        return tuple(r for r in self.routes if r.table in (None, "main") and r.type == "unicast")

    def link(self, ifname: str | None) -> Link | None:
        """Return the link called `ifname`."""
        return next((link for link in self.links if link.ifname == ifname), None)


def version_of(route: Route) -> int:
    """Return the IP version of a route; `ip` prints the preference of each IPv6 one, and no family."""
    if not isinstance(route.dst, str):
        return route.dst.version
    if route.via is not None:
        return route.via.version
    return 4 if route.pref is None else 6


@dataclass(frozen=True, slots=True)
class Placed:
    """A link `inside` a namespace, which has an `owner` unless that is the host or is held by a name only."""

    link: Link
    inside: Inside
    owner: Owner | None = None

    @property
    def addresses(self) -> tuple[InterfaceAddress, ...]:
        """The addresses that others can use."""
        own = (own for own in self.link.addresses if own.scope == "global" and own.peer is None)
        return tuple(address.address for address in own)

    @property
    def added(self) -> tuple[InterfaceAddress, ...]:
        """The same addresses in the order in which they were added: of IPv6 `ip` shows the last one first."""
        ipv4, ipv6 = ([own for own in self.addresses if own.version == version] for version in (4, 6))
        return (*ipv4, *reversed(ipv6))

    @property
    def routes(self) -> tuple[Route, ...]:
        """The routes of the main table out of the link, without those of its addresses."""
        main = (route for route in self.inside.main if route.protocol != "kernel")
        return tuple(route for route in main if route.dev == self.link.ifname)

    @property
    def default_routes(self) -> tuple[Route, ...]:
        """The default routes out of the link."""
        return tuple(route for route in self.routes if route.is_default)

    def __str__(self) -> str:
        """Return it as messages have it."""
        return f"{self.link.ifname} in {self.inside.space}" if not self.inside.space.own else self.link.ifname


@dataclass(frozen=True, slots=True)
class OnParent:
    """The links on a `parent`, which is None where it was not found.

    `rp_filter` is the value that counts on it where it is in the host's own namespace.
    """

    parent: Placed | None
    links: tuple[Placed, ...]
    rp_filter: int = 0

    @property
    def name(self) -> str:
        """The name of the parent; nothing where it was not found."""
        return self.parent.link.ifname if self.parent is not None else ""


@dataclass(frozen=True, slots=True)
class Table:
    """A neighbour table of the kernel, for all namespaces together: its `entries`, and the most there can be.

    It is of `family` ipv4 or ipv6; `limit` is the sysctl gc_thresh3.
    """

    family: str
    entries: int
    limit: int


@dataclass(frozen=True, slots=True)
class Inspection:
    """All that was found: what is on each parent, the host's own namespace, and what was not seen.

    `tables` are empty where the kernel shows none, which is so outside its first network namespace. `sysctls`
    are those of the host that matter to a lab, with their values, where these are not 0.
    """

    parents: tuple[OnParent, ...]
    own: Inside | None = None
    tables: tuple[Table, ...] = ()
    sysctls: tuple[tuple[str, int], ...] = ()
    nonlocal_bind: bool = False
    unseen: tuple[str, ...] = ()
    hidden: int = 0

    @property
    def gaps(self) -> Iterator[str]:
        """What was not looked into, in words."""
        return gaps(self.unseen, self.hidden)


def gaps(unseen: Collection[str], hidden: int) -> Iterator[str]:
    """Yield what is not looked into, in words: what is `unseen`, and the number of `hidden` processes."""
    if unseen:
        yield f"not looked into: {some(unseen)}"
    if hidden:
        processes = "a process" if hidden == 1 else f"{hidden} processes"
        yield f"not looked into: the namespaces of {processes} that this user may not see"


_VIEWS = (
    ip.addr_show(details=True),
    ip.route_show_all(),
    ip.neigh_show_proxy(),
    ip.neigh_show(),
    ip.rule_show(),
)
SYSCTLS = (
    "net.ipv4.ip_forward",
    "net.ipv6.conf.all.forwarding",
    "net.ipv4.conf.all.arp_ignore",
    "net.ipv4.conf.all.arp_accept",
    "net.ipv4.conf.all.arp_filter",
    "net.ipv4.conf.all.proxy_arp",
    "net.ipv4.icmp_echo_ignore_all",
)
_SHOW = ip.show_in_one(_VIEWS)

OnCommand = Callable[[Command], None]
"""What is called with each command before it runs."""


def views(found: Spaces) -> dict[Inode, Command]:
    """Return the command that shows what is in each namespace."""
    return _in_each(found.found, _SHOW)


def _in_each(spaces: Mapping[Inode, Space], view: Command) -> dict[Inode, Command]:
    """Return `view` as it runs in each namespace.

    All are entered by nsenter: for ``ip -n`` the kernel copies all mounts, and each name is one
    (netns_switch() in iproute2's lib/namespace.c). A path that is not printable has no command: a user can
    mount anywhere.
    """
    commands = {}
    for inode, space in spaces.items():
        with suppress(UsageError):
            commands[inode] = view if space.own else in_net(space.path, view)
    return commands


@dataclass(frozen=True, slots=True)
class Around:
    """What there is on a machine besides what `ip` shows: its namespaces, files, and owners of namespaces.

    `here`: whether it is this machine, of which a file of a namespace can be opened.
    """

    spaces: Spaces
    read: Read = read
    owner: Callable[[Space], Owner | None] = owner_of
    here: bool = True


def inspect(agent: Agent, on_command: OnCommand = lambda _: None, around: Around | None = None) -> Inspection:
    """Return what is on the machine of `agent`, by default this one.

    Nothing is changed, and what ends meanwhile is left out.
    """
    around = around or Around(spaces())
    found = around.spaces
    insides = {}
    # Read while others are still asked.
    for inode, shown in _answers(agent, found.found, _SHOW, on_command):
        if (inside := _inside(inode, found.found[inode], shown)) is not None:
            insides[inode] = inside
    missed = (space for inode, space in found.found.items() if inode not in insides)
    unseen = [*found.closed, *(str(s) for s in missed if not around.here or is_there(s.path))]
    for inode, rules in _ipv6_rules(insides, agent, on_command).items():
        insides[inode] = replace(insides[inode], rules=(*insides[inode].rules, *rules))
    for inode, numbers in (_numbers(insides, agent, on_command) if around.here else {}).items():
        insides[inode] = replace(insides[inode], numbers=numbers)
    every = sorted(insides.values(), key=lambda inside: (not inside.space.own, str(inside.space)))
    return Inspection(
        tuple(_by_parent(every, around)),
        insides.get(found.own) if found.own is not None else None,
        tuple(_tables(around.read)),
        tuple(_sysctls(around.read)),
        around.read("ipv4/ip_nonlocal_bind") == "1",
        tuple(unseen),
        found.hidden,
    )


def _answers(
    agent: Agent, spaces: Mapping[Inode, Space], view: Command, on_command: OnCommand
) -> Iterator[tuple[Inode, str]]:
    """Yield what `view` prints in each namespace, as it ends."""
    commands = _in_each(spaces, view)
    require_for(agent.target, commands.values())
    for command in commands.values():
        on_command(command)
    inodes = {spaces[inode].path: inode for inode in commands}
    own = [path for path, inode in inodes.items() if spaces[inode].own]
    left = (path for path in inodes if path not in own)
    asked = dict.fromkeys(own, view)
    while some := list(islice(left, _AT_ONCE)):
        asked[some[0]] = in_each(some, view)
    for path, done in answers(agent, asked, _BOUND_S):
        shown = {path: done.stdout} if path in own else ip.by_netns(done.stdout)
        yield from ((inodes[netns], text) for netns, text in shown.items() if netns in inodes)


def _inside(inode: Inode, space: Space, shown: str) -> Inside | None:
    """Return what `ip` has shown of a namespace; None where that is not all."""
    with suppress(IpvkitError):
        lists = ip.lists_in(shown, at_most=len(_VIEWS))
        # A kernel without rules refuses the last one.
        if len(lists) >= len(_VIEWS) - 1:
            routes = ip.parse_routes(lists[1], without="local")
            proxied, neighbours = (ip.parse_neighbours(entries) for entries in lists[2:4])
            rules = tuple(rule for each in lists[4:] for rule in ip.parse_rules(each))
            return Inside(inode, space, ip.parse_addresses(lists[0]), routes, proxied, neighbours, rules)
    return None


def _ipv6_rules(
    insides: Mapping[Inode, Inside], agent: Agent, on_command: OnCommand
) -> dict[Inode, tuple[Rule, ...]]:
    """Return the IPv6 rules where it has another table; in a batch ip shows those of IPv4 (iprule_list())."""
    spaces = {
        inode: inside.space
        for inode, inside in insides.items()
        if any(version_of(route) == 6 and route.table not in (None, "main") for route in inside.routes)
    }
    found = {}
    for inode, shown in _answers(agent, spaces, ip.rule_show(ipv6=True), on_command):
        with suppress(IpvkitError):
            found[inode] = ip.parse_rules(shown)
    return found


def _tables(read: Read) -> Iterator[Table]:
    """Yield the kernel's neighbour tables (net/core/neighbour.c, neigh_stat_seq_show)."""
    for family, name in (("ipv4", "arp_cache"), ("ipv6", "ndisc_cache")):
        limit = read(f"{family}/neigh/default/gc_thresh3")
        lines = read(f"/proc/net/stat/{name}").splitlines()
        if limit and len(lines) > 1:
            yield Table(family, int(lines[1].split()[0], 16), int(limit))


def _sysctls(read: Read) -> Iterator[tuple[str, int]]:
    """Yield the host's sysctls that decide what is answered, where they are not as by default.

    Not all of their values are modelled.
    """
    for key in SYSCTLS:
        if (value := read(key.removeprefix("net.").replace(".", "/"))) not in ("", "0"):
            yield key, int(value)


def _numbers(
    insides: Mapping[Inode, Inside], agent: Agent, on_command: OnCommand
) -> dict[Inode, dict[int, Inode]]:
    """Return which namespaces have which numbers in those with a link of which the parent is ambiguous."""
    links, parents = _ambiguous(insides.values())
    files: dict[Inode, int] = {}
    try:
        for inode in links | parents:
            with suppress(OSError):
                files[inode] = os.open(insides[inode].space.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        paths = {inode: f"/proc/{os.getpid()}/fd/{file}" for inode, file in files.items()}
        of_links, of_parents = (
            [paths[inode] for inode in each if inode in paths] for each in (links, parents)
        )
        if not of_links:
            return {}
        view = list_ids(of_links, of_parents)
        on_command(view)
        done = ask(agent, {"ids": view}, _BOUND_S)["ids"]
    finally:
        for file in files.values():
            os.close(file)
    there = {path: inode for inode, path in paths.items()}
    names = {str(file): inode for inode, file in files.items()}
    found = {}
    for path, text in ip.by_netns(done.stdout).items():
        with suppress(IpvkitError):
            ids = [(each.id, names.get(each.name)) for each in ip.parse_netns(text)]
            found[there[path]] = {id_: inode for id_, inode in ids if id_ is not None and inode is not None}
    return found


def _ambiguous(every: Iterable[Inside]) -> tuple[set[Inode], set[Inode]]:
    """Return the namespaces with a link that has several possible parents, and those of the parents."""
    insides = list(every)
    by_index = _by_index(insides)
    links, parents = set(), set()
    for inside in insides:
        for link in inside.uppers:
            places = _candidates(link, inside, by_index)
            if len(places) > 1:
                links.add(inside.inode)
                parents |= {place.inside.inode for place in places}
    return links, parents


def _by_parent(every: Sequence[Inside], around: Around) -> Iterator[OnParent]:
    """Yield the links of each parent, those of the first namespace first."""
    groups: dict[tuple[Inode, str] | None, tuple[Placed | None, list[Placed]]] = {}
    by_index = _by_index(every)
    for inside in every:
        owner = None if inside.space.own or not inside.uppers else around.owner(inside.space)
        for link in inside.uppers:
            parents = _candidates(link, inside, by_index)
            parent = parents[0] if len(parents) == 1 else None
            key = None if parent is None else (parent.inside.inode, parent.link.ifname)
            groups.setdefault(key, (parent, []))[1].append(Placed(link, inside, owner))
    for parent, links in groups.values():
        strict = 0
        if parent is not None and parent.inside.space.own:
            strict = rp_filter(parent.link.ifname, around.read)
        yield OnParent(parent, tuple(links), strict)


def _by_index(every: Iterable[Inside]) -> dict[int | None, list[Placed]]:
    """Return the links that can be parents, by their numbers."""
    found: dict[int | None, list[Placed]] = {}
    for inside in every:
        for link in inside.links:
            # drivers/net/macvlan.c and ipvlan_main.c: ARPHRD_ETHER, and no other link of these kinds.
            if link.kind not in KINDS and link.link_type == "ether":
                found.setdefault(link.ifindex, []).append(Placed(link, inside))
    return found


def _candidates(link: Link, inside: Inside, by_index: Mapping[int | None, Sequence[Placed]]) -> list[Placed]:
    """Return the possible parents of a link: in another namespace the kernel gives only their number.

    A link of a third namespace may have that number too; an ipvlan link has the MAC address of its parent.
    Of a tap the kernel does not report that its parent is elsewhere, nor a number that is its own too
    (rtnl_fill_link_netnsid(): ipvtap and macvtap have no get_link_net).
    """
    index = link.parent_index
    if link.kind in _TAPS:
        parent = inside.link(link.parent)
        index = index or (parent.ifindex if parent is not None else link.ifindex)
    elif link.link_netnsid is None:
        parent = inside.link(link.parent)
        return [] if parent is None else [Placed(parent, inside)]
    wanted = None if link.link_netnsid is None else inside.numbers.get(link.link_netnsid)
    return [
        placed
        for placed in by_index.get(index, ())
        if (placed.inside is not inside or link.kind in _TAPS)
        and wanted in (None, placed.inside.inode)
        and (link.kind in MACVLAN or placed.link.lladdr == link.lladdr)
    ]


def nothing(what: str, hint: str, found: Inspection) -> IpvkitError:
    """Return the error for what was not found, which may be where only root sees."""
    if found.hidden:
        return MissingRequirement("; ".join((what, *found.gaps)), SUDO)
    return UsageError(what, hint)


def only(found: Inspection, parent: str) -> Inspection:
    """Return what is on the parent called `parent`, by its name or an alternative one."""
    kept = [
        on
        for on in found.parents
        if on.parent is not None and parent in (on.parent.link.ifname, *on.parent.link.altnames)
    ]
    return replace(found, parents=tuple(kept))
