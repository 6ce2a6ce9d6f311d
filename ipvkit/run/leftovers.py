"""The leftovers of a run: the difference between the state of the machine before and after it."""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from itertools import zip_longest

from ipvkit.core.command import Command, Completed
from ipvkit.core.errors import CommandFailed
from ipvkit.plan import resources
from ipvkit.plan.steps import Plan
from ipvkit.tools import ip, sysctl

NOT_KNOWN = "unknown, since the state of this machine could not be read"

_IP = "ip"
"""The view of everything that ip shows."""

_SLASH = ":"
"""The character for the slash of a sysctl's name in the name of a view, which names a file."""

_NOT_THERE = "cannot stat /proc/sys/net/"
_SYSCTL, _STATE = "net.", "state of "
_COME_AND_GO = frozenset(("kernel", "ra", "redirect"))
"""The protocols of automatic routes: they follow links, addresses and routers."""

Snapshot = tuple[str, ...]
"""The state of a machine, a line for each resource: `netns test1`, `link eth0`, `net.ipv4.ip_forward = 0`."""


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

    Raise UnparsableOutput where it cannot be parsed.
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


def snapshot_of(seen: Mapping[str, Completed]) -> Snapshot:
    """Return the state that the views show; raise IpvkitError where one failed or cannot be parsed."""
    if resources.NETNS not in seen:
        raise CommandFailed("the views printed nothing")
    # The interface of the simulated LAN, with its sysctls, does not exist before it is built.
    seen = {name: completed for name, completed in seen.items() if _NOT_THERE not in completed.stderr}
    for name, completed in seen.items():
        if completed.exit_code != 0:
            raise CommandFailed(f"{name}: {completed.stderr.strip()}")
    found = [f"netns {netns.name}" for netns in ip.parse_netns(seen[resources.NETNS].stdout)]
    for link in ip.parse_addresses(seen[resources.LINKS].stdout):
        # The kernel's link-local addresses come and go with a link's carrier.
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
    """Return the settings of a link."""
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
    """Return the words that make a line of `Snapshot` concern `plan`: names, addresses, sysctls."""
    names = {parent.name for parent in plan.lab.parents}
    names |= {name for endpoint in plan.lab.endpoints for name in (endpoint.name, endpoint.netns)}
    for step in plan.steps:
        match step.undo.effect if step.undo is not None else None:
            case resources.Netns(name) | resources.Link(name):
                names.add(name)
    addresses = {str(own.ip) for endpoint in plan.lab.endpoints for own in endpoint.addresses}
    return frozenset(names | addresses | set(plan.sysctls))


def leftovers(
    before: Snapshot, after: Snapshot, concerned: Collection[str] | None = None, alone: Iterable[str] = ()
) -> list[str]:
    """Return the lines of `after` that are not in `before`, then those that are gone.

    Other users change the machine too: only lines with a word in `concerned` count, if that is given, and
    no line of a resource that was left `alone`.
    """
    others = {_subject(effect) for effect in alone}

    def counts(line: str) -> bool:
        words = {_subject(line), *re.split(": |[ /]", line)}
        return _subject(line) not in others and (concerned is None or not words.isdisjoint(concerned))

    was, is_ = set(before), set(after)
    both = {_subject(line) for line in was} & {_subject(line) for line in is_}
    appeared = [line for line in after if line not in was and counts(line)]
    appeared = [line for line in appeared if not line.startswith(_STATE) or _subject(line) in both]
    # A changed sysctl, or state of a link, is reported once, by its value after.
    gone = [line for line in before if line not in is_ and counts(line)]
    gone = [line for line in gone if not line.startswith((_STATE, _SYSCTL))]
    return [*appeared, *(f"gone: {line}" for line in gone)]


def _subject(line: str) -> str:
    """Return the line without its value."""
    return re.split(" = |: ", line)[0]
