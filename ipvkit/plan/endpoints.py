"""The endpoints of a phase and what strategies add: created, and deleted before the next phase."""

from collections.abc import Iterable, Sequence

from ipvkit import strategies
from ipvkit.core.command import in_netns
from ipvkit.lab import BRIDGE, PORT, Endpoint, Lab, Parent, Phase, Setting
from ipvkit.plan.lan import give, to_gateways
from ipvkit.plan.resources import Link, Netns, Resource, Route
from ipvkit.plan.steps import Steps, Undo
from ipvkit.strategies import Addition, Proxy, Sysctl
from ipvkit.tools import ip, sysctl


def create(lab: Lab, phase: Phase, steps: Steps) -> None:
    """Add the steps that create the endpoints of `phase`."""
    endpoints = lab.endpoints_of(phase)
    new = [e for e in endpoints if phase is next(p for p in lab.phases if e.name in p.endpoints)]
    steps.add_stage(
        (
            f"create namespace {e.netns}",
            ip.netns_add(e.netns),
            Undo(Netns(e.netns, (e.name,)), f"delete namespace {e.netns}"),
        )
        for e in new
    )
    for parent in lab.parents:
        if phase.on(parent.name).kind == "veth" and lab.endpoints_of(phase, parent):
            _put_bridge(lab, parent, steps)
    on_parent = [e for e in endpoints if phase.on(e.parent).kind != "veth"]
    (_create_in_place if lab.in_batches else _create_and_move)(phase, on_parent, steps)
    _create_veths(phase, endpoints, steps)
    steps.end_group()
    mtus = [(e, e.mtu) for e in endpoints if e.mtu is not None]
    steps.add_stage(
        (f"set {e.name}'s MTU", in_netns(e.netns, ip.link_set(e.name, mtu=mtu))) for e, mtu in mtus
    )
    steps.add_stage((f"bring {e.name} up", in_netns(e.netns, ip.link_set(e.name, up=True))) for e in endpoints)
    steps.add_stage(
        (f"add {e.name}'s address", in_netns(e.netns, give(own, e.name)))
        for e in endpoints
        for own in e.addresses
    )
    _add_routes(lab, phase, endpoints, steps)


def _kind_of(setting: Setting, e: Endpoint) -> tuple[str, ip.Kind]:
    if setting.kind == "macvlan":
        return f"create {e.name}, a macvlan link on {e.parent}", ip.Macvlan(e.parent, setting.flag)
    # A parent is in bridge at first, so that no person types the flag.
    kind = ip.Ipvlan(e.parent, setting.mode, None if setting.flag == "bridge" else setting.flag)
    return f"create {e.name}, an ipvlan link on {e.parent} in {setting.mode} mode", kind


def _create_in_place(phase: Phase, endpoints: Sequence[Endpoint], steps: Steps) -> None:
    """Create links in their namespaces, with which they are deleted at the end."""
    for e in endpoints:
        what, kind = _kind_of(phase.on(e.parent), e)
        steps.add(what, ip.link_add(e.name, kind, netns=e.netns))
        steps.at_end(f"delete {e.name}", in_netns(e.netns, ip.link_delete(e.name)))


def _create_and_move(phase: Phase, endpoints: Sequence[Endpoint], steps: Steps) -> None:
    """Create links in the host's namespace, and move them into theirs."""
    ids = {}
    for e in endpoints:
        what, kind = _kind_of(phase.on(e.parent), e)
        undo = Undo(Link(e.name, phase.on(e.parent).kind), f"delete {e.name}")
        ids[e.name] = steps.add(what, ip.link_add(e.name, kind), undo=undo)
    steps.end_stage()
    for e in endpoints:
        undo = Undo(Link(e.name, phase.on(e.parent).kind, e.netns), f"delete {e.name}")
        what, move = f"move {e.name} into its namespace", ip.link_set(e.name, netns=e.netns)
        steps.add(what, move, undo=undo, at_end=True, cancels_undo_of=(ids[e.name],))


def _create_veths(phase: Phase, endpoints: Sequence[Endpoint], steps: Steps) -> None:
    ports = {e: f"{PORT}{i}" for i, e in enumerate(endpoints) if phase.on(e.parent).kind == "veth"}
    for e, port in ports.items():
        pair = ip.link_add(port, ip.Veth(e.name, e.netns), up=True)
        undo = Undo(ip.link_delete(port), f"delete {e.name}")
        steps.add(f"create {e.name}, a veth link, and its port", pair, undo=undo, at_end=True)
    steps.end_stage()
    for e, port in ports.items():
        steps.add(f"attach {e.name}'s port to the host's bridge", ip.link_set(port, master=BRIDGE))


def _put_bridge(lab: Lab, parent: Parent, steps: Steps) -> None:
    """Put a bridge over `parent`, with the parent's addresses, as veth endpoints need it."""
    for to in to_gateways(lab, parent, parent.name):
        what = f"the host's default route via {parent.name}"
        undo = Undo(ip.route_add(to), f"restore {what}")
        steps.add(f"delete {what}", ip.route_del(to), undo=undo, at_end=True)
    steps.end_group()
    undo = Undo(ip.link_delete(BRIDGE), "delete the host's bridge")
    steps.add("create the host's bridge", ip.link_add(BRIDGE, ip.Bridge(), up=True), undo=undo, at_end=True)
    steps.end_group()
    for own in parent.host:
        what = f"the host's address on {parent.name}"
        undo = Undo(give(own, parent.name), f"restore {what}")
        steps.add(f"delete {what}", ip.addr_del(own, parent.name), undo=undo, at_end=True)
    steps.end_group()
    for own in parent.host:
        steps.add(f"add it on {BRIDGE}", give(own, BRIDGE))
    steps.add(f"attach {parent.name} to the host's bridge", ip.link_set(parent.name, master=BRIDGE))
    steps.end_stage()
    what, routes = f"add the host's default route via {BRIDGE}", to_gateways(lab, parent, BRIDGE)
    steps.add_stage((what, ip.route_add(to)) for to in routes)


def _add_routes(lab: Lab, phase: Phase, endpoints: Sequence[Endpoint], steps: Steps) -> None:
    for e in endpoints:
        for family, route in lab.default_routes(phase.on(e.parent), e):
            ipv6 = family == "ipv6" and route.to is None and route.via is None
            add = ip.route_add(ip.RouteTo(route.to, route.via, e.name, ipv6=ipv6))
            what = "default route" if route.to is None else f"route to {route.to}"
            steps.add(f"add {e.name}'s {what}", in_netns(e.netns, add))
    steps.end_stage()


def add_helpers(lab: Lab, phase: Phase, steps: Steps, done: set[str]) -> None:
    """Add the steps of all strategies of `phase`; those on peers only where the peers are ipvkit's own.

    `done` are the sysctls that are set already, also by earlier phases.
    """
    for every in (stage for parent in lab.parents for stage in lab.stages(phase, parent)):
        stage = [a for a in every if lab.simulated or not a.at_peer]
        set_sysctls(read_sysctls(stage, steps, done), steps)
        for addition in stage:
            resource: Resource | None = addition.undo
            match addition.added:
                case Sysctl():
                    continue
                case Proxy():
                    resource = addition.added
                case strategies.Link(dev):
                    resource = Link(dev, "ipvlan")
                case strategies.Route(to, dev, _, None):
                    resource = Route(to, dev)
            undo = Undo(resource, addition.undo_purpose) if resource and addition.undo_purpose else None
            steps.add(addition.purpose, addition.command, undo=undo, at_end=True)
        steps.end_stage()
    steps.end_group()


def read_sysctls(additions: Iterable[Addition], steps: Steps, done: set[str]) -> list[tuple[Addition, Undo]]:
    """Add the steps that read the sysctls which the lab has not set yet; return them, and each undo."""
    found = []
    for addition in additions:
        added = addition.added
        if isinstance(added, Sysctl) and added.key not in done:
            done.add(added.key)
            id = steps.add(f"read the host's {added.key}", sysctl.get_value(added.key))
            typical = "1" if added.value == 0 else "0"
            found.append((addition, Undo(added, f"restore the host's {added.key}", id, typical)))
    return found


def set_sysctls(read: list[tuple[Addition, Undo]], steps: Steps) -> None:
    """Add the steps that set the sysctls that were read; each gets its former value back at the end."""
    steps.end_stage()
    for addition, undo in read:
        steps.add(addition.purpose, addition.command, undo=undo)
    steps.end_stage()
