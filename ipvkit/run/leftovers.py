"""The leftovers of a run: the difference between the state of the machine before and after it."""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from itertools import zip_longest

from ipvkit.core.command import Command, Completed
from ipvkit.core.errors import UNREAD, CommandFailed
from ipvkit.plan import resources
from ipvkit.plan.steps import Plan
from ipvkit.run.execution import BOUND_S, OnSignal, ask
from ipvkit.targets.agent import Agent
from ipvkit.tools import ip, sysctl

NOT_KNOWN = f"unknown, since {UNREAD}"

_SYSCTL, _STATE = "net.", "state of "
_COME_AND_GO = frozenset(("kernel", "ra", "redirect"))
"""The protocols of automatic routes: they follow links, addresses and routers."""

Snapshot = tuple[str, ...]
"""The state of a machine, a line for each resource: `netns test1`, `link eth0`, `net.ipv4.ip_forward = 0`."""


def views_of(plan: Plan, machine: str) -> dict[str, Command]:
    """Return the commands that show what a run of `plan` could leave behind on a machine, by name."""
    return resources.VIEWS | {key: sysctl.get_value(key) for key in plan.sysctls_on(machine)}


def look_at(
    agent: Agent, views: Mapping[str, Command], bound_s: float = BOUND_S, on_signal: OnSignal | None = None
) -> dict[str, Completed]:
    """Return what each of `views` shows, as `ask` does; raise UnparsableOutput where it cannot be parsed."""
    return apart(views, ask(agent, together(views), bound_s, on_signal))


def together(views: Mapping[str, Command]) -> dict[str, Command]:
    """Return commands that show what `views` do: one process of ip, since each costs a uml kernel 20 ms."""
    of_ip = _of_ip(views)
    others = {name: view for name, view in views.items() if name not in of_ip}
    return {"ip": ip.show_in_one([views[name] for name in of_ip]), **others} if of_ip else others


def apart(views: Mapping[str, Command], seen: Mapping[str, Completed]) -> dict[str, Completed]:
    """Return what each of `views` would have shown, by what `together` did; raise UnparsableOutput."""
    if "ip" not in seen:
        return dict(seen)
    of_ip, at_once = _of_ip(views), seen["ip"]
    lists = ip.lists_in(at_once.stdout, at_most=len(of_ip)) if at_once.exit_code == 0 else ()
    shown = zip_longest(of_ip, lists, fillvalue="")
    return {**{name: replace(at_once, stdout=stdout) for name, stdout in shown}, **seen}


def _of_ip(views: Mapping[str, Command]) -> list[str]:
    """Return the names of the views of ip; last that of namespaces, which may print nothing at all."""
    return sorted((name for name in views if name in resources.VIEWS), key=resources.NETNS.__eq__)


def snapshot_of(seen: Mapping[str, Completed]) -> Snapshot:
    """Return the state that the views show; raise IpvkitError where one failed or cannot be parsed."""
    # The interface of the simulated LAN, with its sysctls, does not exist before it is built.
    seen = {name: done for name, done in seen.items() if "cannot stat /proc/sys/net/" not in done.stderr}
    for name, completed in seen.items():
        if completed.exit_code != 0:
            raise CommandFailed(f"{name}: {completed.stderr.strip()}")
    now = resources.observe((), seen)
    found = [f"netns {name}" for name in now.namespaces]
    for link in now.links[None]:
        # The kernel's link-local addresses come and go with a link's carrier.
        own = [a.address for a in link.addresses if a.address.version == 4 or a.scope == "global"]
        found += [f"link {link.ifname}", _state(link)]
        found += [f"address {address} on {link.ifname}" for address in own]
    found += [_route(route) for route in now.routes if route.protocol not in _COME_AND_GO]
    found += [f"neighbour {e.dst} lladdr {e.lladdr} on {e.dev}" for e in now.permanent]
    found += [f"proxy entry {e.dst} on {e.dev}" for e in now.proxies]
    found += [f"{key} = {seen[key].stdout.strip()}" for key in seen if key.startswith(_SYSCTL)]
    return tuple(found)


def _state(link: ip.Link) -> str:
    words = [f"state of {link.ifname}: {'up' if link.up else 'down'}", f"mtu {link.mtu}"]
    words += [f"port of {link.master}"] if link.master else []
    words += [f"{link.mode} {link.flag}"] if link.mode else []
    return ", ".join(words)


def _route(route: ip.Route) -> str:
    words = [f"route {'' if route.type == 'unicast' else f'{route.type} '}{route.dst}"]
    table = None if route.table == "main" else route.table
    more = {"via": route.via, "dev": route.dev, "metric": route.metric, "table": table}
    words += [f"{name} {value}" for name, value in more.items() if value]
    return " ".join(words)


def words_of(plan: Plan) -> frozenset[str]:
    """Return the words that make a line of `Snapshot` concern `plan`: names, addresses, sysctls."""
    names = {parent.dev for parent in plan.lab.parents}
    names |= {name for endpoint in plan.lab.endpoints for name in (endpoint.name, endpoint.netns)}
    made = [one for one in plan.resources if isinstance(one, resources.Netns | resources.Link)]
    # What a link is called in another namespace, here another link may be called.
    names |= {one.name for one in made if isinstance(one, resources.Netns) or one.netns is None}
    addresses = {str(own.ip) for endpoint in plan.lab.endpoints for own in endpoint.addresses}
    return frozenset(
        names | addresses | {key for machine in plan.lab.machines for key in plan.sysctls_on(machine)}
    )


def leftovers(
    before: Snapshot, after: Snapshot, concerned: Collection[str] | None = None, alone: Iterable[str] = ()
) -> list[str]:
    """Return the lines of `after` that are not in `before`, then those that are gone.

    Other users change the machine too: only lines with a word in `concerned` count, if that is given, and
    no line of a resource that was left `alone`.
    """
    others = {_subject(resource) for resource in alone}

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
