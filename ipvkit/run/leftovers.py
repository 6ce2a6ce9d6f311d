"""What a run has left on a machine: the difference between looks before and after it, and nothing else."""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from itertools import zip_longest

from ipvkit.core.command import Command, Completed
from ipvkit.core.errors import CommandFailed
from ipvkit.plan import resources
from ipvkit.plan.steps import Plan
from ipvkit.tools import ip, sysctl

NOT_KNOWN = "unknown, since the machine could not be looked at"

_IP = "ip"
"""The view of all that ip shows."""

_SLASH = ":"
"""What stands for the slash in a sysctl's name where that names a view, and so a file."""

_NOT_THERE = "cannot stat /proc/sys/net/"
_SYSCTL, _STATE = "net.", "state of "
_COME_AND_GO = frozenset(("kernel", "ra", "redirect"))
"""The protocols of routes that nobody made: they follow links, addresses and routers."""

Things = tuple[str, ...]
"""A line for each thing that a machine has: `netns test1`, `link eth0`, `net.ipv4.ip_forward = 0`."""


def views_of(plan: Plan) -> dict[str, Command]:
    """Return the commands that show what a run of `plan` could leave behind, by name."""
    views = {
        resources.NETNS: ip.netns_list(),
        resources.LINKS: ip.addr_show(details=True),
        resources.ROUTES: ip.route_show_all(),
        resources.PROXIES: ip.neigh_show_proxy(),
        "permanent": ip.neigh_show_permanent(),
    }
    return views | {key.replace("/", _SLASH): sysctl.get_value(key) for key in plan.sysctls}


def together(views: Mapping[str, Command]) -> dict[str, Command]:
    """Return commands that show what `views` do: one process of ip, since each costs a uml kernel 20 ms."""
    of_ip = _of_ip(views)
    others = {name: view for name, view in views.items() if name not in of_ip}
    return {_IP: ip.show_in_one([views[name] for name in of_ip]), **others}


def apart(views: Mapping[str, Command], seen: Mapping[str, Completed]) -> dict[str, Completed]:
    """Return what each of `views` would have shown, by what the commands of `together` did.

    Raise UnparsableOutput where nobody understands it.
    """
    if _IP not in seen:
        return {}
    of_ip, at_once = _of_ip(views), seen[_IP]
    lists = ip.lists_in(at_once.stdout, at_most=len(of_ip)) if at_once.exit_code == 0 else ()
    shown = zip_longest(of_ip, lists, fillvalue="")
    return {**{name: replace(at_once, stdout=stdout) for name, stdout in shown}, **seen}


def _of_ip(views: Mapping[str, Command]) -> list[str]:
    """Return the names of the views of ip; last that of namespaces, which may print nothing at all."""
    return sorted((name for name, view in views.items() if view.argv[0] == "ip"), key=resources.NETNS.__eq__)


def things(seen: Mapping[str, Completed]) -> Things:
    """Return what the views showed; raise IpvkitError where one failed or nobody understands it."""
    if resources.NETNS not in seen:
        raise CommandFailed("nothing was shown")
    # The simulated LAN's own interface, and its sysctls, are not there before it is built.
    seen = {name: completed for name, completed in seen.items() if _NOT_THERE not in completed.stderr}
    for name, completed in seen.items():
        if completed.exit_code != 0:
            raise CommandFailed(f"{name}: {completed.stderr.strip()}")
    found = [f"netns {netns.name}" for netns in ip.parse_netns(seen[resources.NETNS].stdout)]
    for link in ip.parse_addresses(seen[resources.LINKS].stdout):
        # The kernel's own IPv6 addresses come and go with a link's carrier.
        own = [a.address for a in link.addresses if a.address.version == 4 or a.scope == "global"]
        found += [f"link {link.ifname}", _state(link)]
        found += [f"address {address} on {link.ifname}" for address in own]
    routes = ip.parse_routes(seen[resources.ROUTES].stdout)
    found += [_route(route) for route in routes if route.protocol not in _COME_AND_GO]
    for entry in ip.parse_neighbours(seen["permanent"].stdout):
        found.append(f"neighbour {entry.dst} lladdr {entry.lladdr} on {entry.dev}")
    found += [f"proxy entry {e.dst} on {e.dev}" for e in ip.parse_neighbours(seen[resources.PROXIES].stdout)]
    sysctls = [name for name in seen if name.startswith("net.")]
    found += [f"{key.replace(_SLASH, '/')} = {seen[key].stdout.strip()}" for key in sysctls]
    return tuple(found)


def _state(link: ip.Link) -> str:
    """Return what somebody has set of a link."""
    words = [f"state of {link.ifname}: {'up' if link.up else 'down'}", f"mtu {link.mtu}"]
    words += [f"port of {link.master}"] if link.master else []
    words += [f"{link.mode} {link.flag}"] if link.mode else []
    return ", ".join(words)


def _route(route: ip.Route) -> str:
    words = [f"route {'' if route.type == 'unicast' else f'{route.type} '}{route.dst}"]
    words += [f"via {route.via}"] if route.via else []
    words += [f"dev {route.dev}"] if route.dev else []
    words += [f"metric {route.metric}"] if route.metric else []
    words += [f"table {route.table}"] if route.table not in (None, "main") else []
    return " ".join(words)


def words_of(plan: Plan) -> frozenset[str]:
    """Return the words by which a line of `Things` has to do with `plan`: names, addresses, sysctls."""
    names = {parent.name for parent in plan.lab.parents}
    names |= {name for endpoint in plan.lab.endpoints for name in (endpoint.name, endpoint.netns)}
    for step in plan.steps:
        match step.undo.effect if step.undo is not None else None:
            case resources.Netns(name) | resources.Link(name):
                names.add(name)
    addresses = {str(own.ip) for endpoint in plan.lab.endpoints for own in endpoint.addresses}
    return frozenset(names | addresses | set(plan.sysctls))


def leftovers(
    before: Things, after: Things, concerned: Collection[str] | None = None, alone: Iterable[str] = ()
) -> list[str]:
    """Return a line for each thing that is there after and was not before, or that is gone.

    Others work on a machine too: only lines with a word that is `concerned` count, if that is given, and
    none of the effects that were let `alone`.
    """
    others = {_subject(effect) for effect in alone}

    def counts(thing: str) -> bool:
        words = {_subject(thing), *re.split(": |[ /]", thing)}
        return _subject(thing) not in others and (concerned is None or not words.isdisjoint(concerned))

    was, is_ = set(before), set(after)
    both = {_subject(thing) for thing in was} & {_subject(thing) for thing in is_}
    appeared = [thing for thing in after if thing not in was and counts(thing)]
    appeared = [thing for thing in appeared if not thing.startswith(_STATE) or _subject(thing) in both]
    # That a sysctl, or a state, is no longer what it was is told by what it is.
    gone = [thing for thing in before if thing not in is_ and counts(thing)]
    gone = [thing for thing in gone if not thing.startswith((_STATE, _SYSCTL))]
    return [*appeared, *(f"gone: {thing}" for thing in gone)]


def _subject(thing: str) -> str:
    """Return what a line is about that has a value, or the line."""
    return re.split(" = |: ", thing)[0]
