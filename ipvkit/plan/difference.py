"""The state that a phase gives to some endpoints, and the commands that turn one such state into another."""

from collections.abc import Collection, Hashable, Iterator, Mapping
from dataclasses import dataclass, replace

from ipvkit.core.command import Command, in_netns
from ipvkit.lab import HOST, PING_COUNT, PING_INTERVAL_S, SWITCH, Endpoint, Lab, Phase
from ipvkit.plan.endpoints import helper
from ipvkit.plan.lan import give, route_to, rules_of
from ipvkit.plan.steps import Undo
from ipvkit.predict.predictions import announcements
from ipvkit.strategies import Addition, Link, Route, Sysctl
from ipvkit.strategies.announce import ALLOW, NONLOCAL_BIND
from ipvkit.tools import arping, ip


@dataclass(frozen=True, slots=True)
class Change:
    """A command on a machine, and the undo of what it adds."""

    command: Command
    undo: Undo | None
    on: str


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a state: its `value`, the command that gives it, and the undo of what that adds, if known.

    `instead` gives it in place of another value; None: as the first does. They run `on` a machine.
    """

    value: Hashable
    command: Command
    undo: Undo | None = None
    instead: Command | None = None
    on: str = HOST


State = Mapping[Hashable, Part]
"""The parts of a state by what they are, in the order in which they are given."""


def state_of(lab: Lab, phase: Phase, names: Collection[str]) -> State:
    """Return what `phase` gives to its endpoints called `names`, and to the hosts around them for these."""
    wanted = frozenset(names)
    of_these = replace(phase, endpoints=tuple(name for name in phase.endpoints if name in wanted))
    found: dict[Hashable, Part] = {}
    for parts in (_endpoints(lab, of_these), _switch(lab, phase), _helpers(lab, of_these)):
        for role, key, part in parts:
            on = lab.machine_of(role)
            own = (on, key) if lab.several_hosts else key
            found.setdefault(own, replace(part, on=on))
    return found


Parts = Iterator[tuple[str, Hashable, Part]]
"""Parts with the role that has them, and what they are."""


def _endpoints(lab: Lab, phase: Phase) -> Parts:
    return ((e.name, *part) for e in lab.endpoints_of(phase) for part in _endpoint(lab, phase, e))


def _endpoint(lab: Lab, phase: Phase, e: Endpoint) -> Iterator[tuple[Hashable, Part]]:
    setting = phase.on(e.parent)
    if setting.is_ipvlan:
        # One link's mode is that of all on its parent.
        mode = ip.link_set(e.dev, mode=setting.mode, flag=setting.flag, tap=setting.kind == "ipvtap")
        yield ("mode", e.parent), Part((setting.mode, setting.flag), in_netns(e.netns, mode))
    elif setting.kind == "macvlan":
        mode = ip.link_set(e.dev, macvlan=setting.flag)
        yield ("mode", e.name), Part(setting.flag, in_netns(e.netns, mode))
    for own in e.addresses:
        add, delete = (in_netns(e.netns, c) for c in (give(own, e.dev), ip.addr_del(own, e.dev)))
        yield ("address", e.name, own), Part(None, add, Undo(delete))
    for family, route in lab.default_routes(setting, e):
        to = route_to(family, route, e.dev)
        add, change = (in_netns(e.netns, c) for c in (ip.route_add(to), ip.route_replace(to)))
        undo = Undo(in_netns(e.netns, ip.route_del(to)))
        dst = None if to.dst is None or to.dst.prefixlen == 0 else to.dst
        yield ("route", e.name, family, dst, to.table), Part((to.via, to.type), add, undo, change)
    for rule in rules_of(lab, e):
        add, delete = (in_netns(e.netns, c) for c in (ip.rule_add(rule), ip.rule_del(rule)))
        yield ("rule", e.name, rule), Part(None, add, Undo(delete))


def _switch(lab: Lab, phase: Phase) -> Parts:
    """Yield what the acts of `phase` make of the switch's ports to the host."""
    for hairpin in (act.hairpin for act in phase.acts if act.hairpin is not None):
        for _, port in (port for host in lab.hosts for port in lab.host_ports(host)):
            yield SWITCH, ("hairpin", port), Part(hairpin, ip.at(SWITCH, ip.link_set(port, hairpin=hairpin)))


def _helpers(lab: Lab, phase: Phase) -> Parts:
    """Yield what the strategies add; those that announce do it for as long as a ping takes."""
    for parent in lab.parents:
        for addition in (a for stage in lab.stages(phase, parent) for a in stage):
            yield addition.at or parent.on, *_part(addition)
        if any(helper.announces for helper in phase.on(parent.name).helpers):
            # For each parent: that another one's are announced does not say that it is set.
            _, allowed = _part(ALLOW)
            yield parent.on, ("sysctl", NONLOCAL_BIND, parent.name), allowed
            count = announcements(PING_COUNT * PING_INTERVAL_S)
            for e in lab.endpoints_of(phase, parent):
                for own in (own for own in e.addresses if own.version == 4):
                    command = arping.announce(own.ip, parent.dev, count=count)
                    yield parent.on, ("announced", own.ip), Part(None, command)


def _part(addition: Addition) -> tuple[Hashable, Part]:
    _, command, undo = helper(addition)
    match addition.added:
        case Link(dev):
            return ("link", dev), Part(None, command, undo)
        case Route(to, dev, via, peer):
            instead = ip.route_replace(ip.RouteTo(to, via, dev))
            instead = ip.at(peer, instead) if addition.command.argv[1] == "-n" and peer else instead
            return ("route", peer, to), Part((dev, via), command, undo, instead)
        case Sysctl(key, value, netns):
            # Its former value is unknown here.
            return ("sysctl", key, netns), Part(value, command)
    return addition.added or command, Part(None, command, undo)


def difference(before: State, after: State, kept: State) -> list[Change]:
    """Return the commands that turn one state into another: what it adds or changes, then what it deletes.

    What is `kept` for others stays, and a part without an undo.
    """
    return [change for _, change in differing(before, after, kept)]


def differing(before: State, after: State, kept: State) -> Iterator[tuple[Hashable, Change]]:
    """Yield the same commands, each after what it is about."""
    for key, part in after.items():
        if key not in before:
            yield key, Change(part.command, part.undo, part.on)
        elif before[key].value != part.value:
            yield key, Change(part.instead or part.command, None, part.on)
    staying = {*after, *kept}
    for key, part in reversed([*before.items()]):
        if key not in staying and part.undo is not None:
            yield key, Change(part.undo.command(), None, part.on)
