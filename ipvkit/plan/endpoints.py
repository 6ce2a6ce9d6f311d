"""The endpoints of a phase and what strategies add: created, and deleted before the next phase."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from ipvkit import strategies
from ipvkit.core.command import Command, in_netns
from ipvkit.lab import BRIDGE, PORT, Endpoint, Lab, Parent, Phase, Place, Setting, the
from ipvkit.plan.lan import give, hosts_gateways, ignore_advertisements, routing_of
from ipvkit.plan.resources import Link, Netns, Resource, Route
from ipvkit.plan.steps import Draft, Steps, Undo
from ipvkit.strategies import Addition, Proxy, Sysctl
from ipvkit.tools import ip, radvd, sysctl

Done = set[tuple[str, str]]
"""The sysctls that are set already, each after its machine."""


def create(lab: Lab, phase: Phase, steps: Steps) -> None:
    """Add the steps that create the endpoints of `phase`, on each host those on its parents."""
    steps.concurrently(lab.hosts, lambda host: _create(lab, phase, steps, host))


def move(lab: Lab, phase: Phase, steps: Steps, moved: Lab, names: Sequence[str], there: set[Place]) -> None:
    """Add the steps that move endpoints called `names` to where they are in `moved`.

    Their namespaces stay where they were, and are created where they are not `there`.
    """
    for name in names:
        e = lab.endpoint(name)
        with steps.at(lab.machine_of(name)):
            steps.now(in_netns(e.netns, ip.link_delete(e.dev)))
    steps.end_stage()
    these = replace(phase, endpoints=tuple(names))
    new = [moved.endpoint(name) for name in names if moved.place(name) not in there]
    there.update(map(moved.place, names))

    def add(host: str) -> None:
        here = [
            Netns(e.netns, tuple(dict.fromkeys((e.dev, e.plain_name))))
            for e in new
            if moved.host_of(e.name) == host
        ]
        _create(moved, these, steps, host, here)

    steps.concurrently(moved.hosts, add)


def _create(lab: Lab, phase: Phase, steps: Steps, host: str, new: Sequence[Netns] | None = None) -> None:
    endpoints = lab.endpoints_at(phase, host)
    new = _new_namespaces(lab, phase, host, endpoints) if new is None else new
    steps.add_stage(
        (f"create namespace {one.name}", ip.netns_add(one.name), Undo(one, f"delete namespace {one.name}"))
        for one in new
    )
    static = {e.netns for e in endpoints if not e.slaac} if lab.advertised else set()
    steps.add_stage(ignore_advertisements(one.name, one.name) for one in new if one.name in static)
    for e in endpoints:
        for what, _, delete in routing_of(lab, e, lab.default_routes(phase.on(e.parent), e), e.dev):
            if delete is not None:
                steps.at_end(f"delete {what}", in_netns(e.netns, delete))
    # After the links: IPv6 compares no type, and would delete the route of an address (ip6_route_del()).
    steps.end_group()
    for parent in lab.parents_on(host):
        if phase.on(parent.name).kind == "veth" and lab.endpoints_of(phase, parent):
            for stage in _bridge(lab, parent):
                steps.add_stage(stage, at_end=True)
                steps.end_group()
    links = [(e, phase.on(e.parent)) for e in endpoints if phase.on(e.parent).kind != "veth"]
    if lab.in_batches:
        drafts: list[Draft] = [_creation(lab, e, setting, e.netns) for e, setting in links]
        for e, _ in links:
            # With its namespace it is deleted at the end of a run.
            steps.at_end(f"delete {e.name}", in_netns(e.netns, ip.link_delete(e.dev)))
    else:
        ids = steps.add_stage((*_creation(lab, e, on), _deletion(e, on)) for e, on in links)
        drafts = [_move(e, setting, id) for (e, setting), id in zip(links, ids, strict=True)]
    ports = {e: f"{PORT}{i}" for i, e in enumerate(endpoints) if phase.on(e.parent).kind == "veth"}
    steps.add_stage([*drafts, *(_pair(e, port) for e, port in ports.items())], at_end=True)
    attach = f"attach {{}}'s port to {the(host)}'s bridge"
    steps.add_stage((attach.format(e.name), ip.link_set(port, master=BRIDGE)) for e, port in ports.items())
    steps.end_group()
    if lab.in_batches:
        # Up to Linux 6.12 no link is created in place under a name that is taken here (rtnl_newlink()).
        steps.add_stage(
            (f"rename {e.name} to {e.dev}", in_netns(e.netns, ip.link_set(e.plain_name, name=e.dev)))
            for e, _ in links
            if e.dev != e.plain_name
        )
    for stage in _configuration(lab, phase, endpoints):
        steps.add_stage(stage)


def _new_namespaces(lab: Lab, phase: Phase, host: str, endpoints: Iterable[Endpoint]) -> list[Netns]:
    """Return the namespaces on `host` that no earlier phase has created."""
    found = []
    of_host: dict[str, list[Endpoint]] = {}
    for e in lab.endpoints_on(host):
        of_host.setdefault(e.netns, []).append(e)
    for netns in dict.fromkeys(e.netns for e in endpoints):
        inside = of_host[netns]
        if phase is next(p for p in lab.phases if any(e.name in p.numbers for e in inside)):
            # It has the endpoint's name for a moment, or where the kernel refused the other one.
            links = dict.fromkeys(name for e in inside for name in (e.dev, e.plain_name))
            found.append(Netns(netns, tuple(links)))
    return found


def _creation(lab: Lab, e: Endpoint, setting: Setting, netns: str | None = None) -> tuple[str, Command]:
    """Return the purpose and the command that creates a link, in place if `netns` is given."""
    name, parent = e.plain_name, lab.parent_called(e.parent).dev
    if setting.kind == "macvlan":
        macvlan = ip.Macvlan(parent, setting.flag)
        return f"create {e.name}, a macvlan link on {parent}", ip.link_add(name, macvlan, netns=netns)
    # A parent is in bridge at first, so that no person types the flag.
    of_kind = ip.Ipvtap if setting.kind == "ipvtap" else ip.Ipvlan
    kind = of_kind(parent, setting.mode, None if setting.flag == "bridge" else setting.flag)
    what = f"create {e.name}, an {setting.kind} link on {parent} in {setting.mode} mode"
    return what, ip.link_add(name, kind, netns=netns)


def _deletion(e: Endpoint, setting: Setting) -> Undo:
    return Undo(Link(e.plain_name, setting.kind), f"delete {e.name}")


def _move(e: Endpoint, setting: Setting, created: str) -> Draft:
    other = None if e.dev == e.plain_name else e.dev
    what = f"move {e.name} into its namespace{f', as {other}' if other else ''}"
    undo = Undo(Link(e.dev, setting.kind, e.netns), f"delete {e.name}")
    return what, ip.link_set(e.plain_name, netns=e.netns, name=other), undo, (created,)


def _pair(e: Endpoint, port: str) -> Draft:
    pair = ip.link_add(port, ip.Veth(e.dev, e.netns), up=True)
    undo = Undo(ip.link_delete(port), f"delete {e.name}")
    return f"create {e.name}, a veth link, and its port", pair, undo


def _bridge(lab: Lab, parent: Parent) -> Iterator[list[Draft]]:
    """Yield the stages that put a bridge over `parent`, with its addresses, as veth endpoints need it."""
    of_host = f"{the(parent.on)}'s"
    what = f"{of_host} default route via {parent.dev}"
    yield [
        (f"delete {what}", ip.route_del(to), Undo(ip.route_add(to), f"restore {what}"))
        for to in hosts_gateways(lab, parent, parent.dev)
    ]
    undo = Undo(ip.link_delete(BRIDGE), f"delete {of_host} bridge")
    yield [(f"create {of_host} bridge", ip.link_add(BRIDGE, ip.Bridge(), up=True), undo)]
    what = f"{of_host} address on {parent.dev}"
    yield [
        (f"delete {what}", ip.addr_del(own, parent.dev), Undo(give(own, parent.dev), f"restore {what}"))
        for own in parent.host
    ]
    attach = (f"attach {parent.dev} to {of_host} bridge", ip.link_set(parent.dev, master=BRIDGE))
    yield [*((f"add it on {BRIDGE}", give(own, BRIDGE)) for own in parent.host), attach]
    what = f"add {of_host} default route via {BRIDGE}"
    yield [(what, ip.route_add(to)) for to in hosts_gateways(lab, parent, BRIDGE)]


def _configuration(lab: Lab, phase: Phase, endpoints: Sequence[Endpoint]) -> Iterator[list[Draft]]:
    """Yield the stages that configure the endpoints, each in its namespace."""

    def at(e: Endpoint, what: str, command: Command) -> Draft:
        return what, in_netns(e.netns, command)

    mtus = [(e, e.mtu) for e in endpoints if e.mtu is not None]
    yield [at(e, f"set {e.name}'s MTU", ip.link_set(e.dev, mtu=mtu)) for e, mtu in mtus]
    named = [e for e in endpoints if e.altnames]
    yield [at(e, f"add {e.name}'s alternative names", ip.link_altname(e.dev, *e.altnames)) for e in named]
    advertised = [(e, own) for e in endpoints for own in e.advertised]
    purpose = "set the last 64 bits of {}'s address"
    yield [at(e, purpose.format(e.name), ip.token_set(own.ip, e.dev)) for e, own in advertised]
    yield [at(e, f"bring {e.name} up", ip.link_set(e.dev, up=True)) for e in endpoints]
    # One after another in a namespace: of two routes to one subnet, the first wins.
    for some in _by_turns(endpoints):
        yield [at(e, f"add {e.name}'s address", give(own, e.dev)) for e in some for own in e.given]
    routes: list[Draft] = []
    for e in endpoints:
        given = ((f, r) for f, r in lab.default_routes(phase.on(e.parent), e) if not e.configures(f))
        added = routing_of(lab, e, given, e.dev)
        routes += [at(e, f"add {what}", add) for what, add, _ in added]
    yield routes
    yield [
        at(e, f"wait until {e.name} has its advertised address", radvd.wait_for_address(own, e.dev))
        for e, own in advertised
    ]


def _by_turns(endpoints: Sequence[Endpoint]) -> Iterator[list[Endpoint]]:
    """Yield the first endpoint of each namespace, then the second, and so on."""
    turns: list[list[Endpoint]] = []
    count = Counter[str]()
    for e in endpoints:
        turns += [[]] if count[e.netns] == len(turns) else []
        turns[count[e.netns]].append(e)
        count[e.netns] += 1
    yield from turns


def add_helpers(lab: Lab, phase: Phase, steps: Steps, done: Done) -> None:
    """Add the steps of all strategies of `phase`; those on peers only where the peers are ipvkit's own.

    `done` are the sysctls that are set already, also by earlier phases, with their machines.
    """

    def add(host: str) -> None:
        own = lab.parents_on(host)
        for every in (stage for parent in own for stage in lab.stages(phase, parent)):
            stage = [a for a in every if lab.simulated or a.undo is None or lab.is_host(a.at)]
            set_sysctls(read_sysctls(stage, steps, done), steps)
            for a in (a for a in stage if not isinstance(a.added, Sysctl)):
                with steps.at(lab.machine_of(a.at or host)):
                    steps.add(*helper(a, simulated=lab.simulated), at_end=True)
            steps.end_stage()

    steps.concurrently(lab.hosts, add)
    steps.end_group()


def helper(addition: Addition, *, simulated: bool = True) -> tuple[str, Command, Undo | None]:
    """Return the purpose and the command of what a strategy adds, and its undo; a sysctl has none here.

    What is not `simulated` is a resource, so that it can be looked for.
    """
    resource: Resource | None = addition.undo
    match addition.added:
        case Proxy():
            resource = addition.added
        case strategies.Link(dev):
            resource = Link(dev, "ipvlan")
        case strategies.Route(to, dev, _, peer) if peer is None or not simulated:
            resource = Route(to, dev)
    undo = Undo(resource, addition.undo_purpose) if resource and addition.undo_purpose else None
    return addition.purpose, addition.command, undo


def read_sysctls(additions: Iterable[Addition], steps: Steps, done: Done) -> list[tuple[Addition, Undo]]:
    """Add the steps that read the sysctls which the lab has not set yet; return them, and each undo."""
    found = []
    for addition in additions:
        added = addition.added
        if isinstance(added, Sysctl) and (steps.on, added.key) not in done:
            done.add((steps.on, added.key))
            id = steps.add(f"read {the(steps.on)}'s {added.key}", sysctl.get_value(added.key))
            typical = "1" if added.value == 0 else "0"
            found.append((addition, Undo(added, f"restore {the(steps.on)}'s {added.key}", id, typical)))
    return found


def set_sysctls(read: list[tuple[Addition, Undo]], steps: Steps) -> None:
    """Add the steps that set the sysctls that were read; each gets its former value back at the end."""
    steps.end_stage()
    steps.add_stage((addition.purpose, addition.command, undo) for addition, undo in read)
