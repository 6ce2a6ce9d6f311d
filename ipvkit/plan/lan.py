"""The simulated LAN: a switch, the host, its peers, and a host behind the gateway, as namespaces."""

from collections.abc import Iterator

from ipvkit.core.command import Command, in_netns
from ipvkit.core.values import InterfaceAddress
from ipvkit.lab import FAR, GATEWAY, HOST, LAN, SWITCH, Lab, Parent
from ipvkit.plan.steps import Draft, Section, Steps, Undo
from ipvkit.tools import ip, sysctl

PEER_DEV = "eth0"


def lan(lab: Lab) -> Section:
    """Return the steps that build the network of `lab`: all links, then the rest of each namespace."""
    steps = Steps(LAN)
    for stage in _stages(lab):
        steps.add_stage(stage)
    return Section(LAN, "the simulated LAN", None, tuple(steps.stages))


def _stages(lab: Lab) -> Iterator[list[Draft]]:
    yield from _links(lab)
    parents, peers = lab.parents, lab.peers
    yield [("add the host's address", give(own, parent.name)) for parent in parents for own in parent.host]
    routes = [to for parent in parents for to in hosts_gateways(lab, parent, parent.name)]
    yield [("add the host's default route", ip.route_add(to)) for to in routes]
    yield [
        (
            f"connect the {role} to the switch",
            ip.at(SWITCH, ip.link_set(lab.ports(role)[i], master=f"br{i}", up=True)),
        )
        for i in range(len(lab.hardware))
        for role in (HOST, *peers)
    ]
    for role in peers:
        yield from _peer(lab, role)
    if lab.far:
        yield from _far_host(lab)
    if lab.routed:
        forward = sysctl.set_values({"net.ipv4.ip_forward": 1, "net.ipv6.conf.all.forwarding": 1})
        yield [("enable forwarding on the gateway", in_netns(GATEWAY, forward))]


def _links(lab: Lab) -> Iterator[list[Draft]]:
    """Yield the stages that create the namespaces and, in place, every link."""
    peers, hardware = lab.peers, lab.hardware
    yield [
        (f"create namespace {name}", ip.netns_add(name), Undo(ip.netns_del(name), f"delete namespace {name}"))
        for name in (SWITCH, *peers, *([FAR] if lab.far else []))
    ]
    links: list[Draft] = []
    for i in range(len(hardware)):
        which = "the switch" if len(hardware) == 1 else f"switch {i}"
        links.append((f"create {which}", ip.link_add(f"br{i}", ip.Bridge(), netns=SWITCH, up=True)))
        for role in peers:
            link = ip.link_add(f"eth{i}", ip.Veth(lab.ports(role)[i], SWITCH), netns=role, up=True)
            links.append((f"create the {role}'s eth{i}, connected to the switch", link))
    if lab.far:
        link = ip.link_add(FAR, ip.Veth(PEER_DEV, FAR), netns=GATEWAY, up=True)
        links.append(("create the gateway's link to the far host", link))
    # Last: no link can be created in another namespace while this one has one of its name (rtnl_newlink).
    for i, parent in enumerate(hardware):
        pair = ip.Veth(lab.ports(HOST)[i], SWITCH)
        link = ip.link_add(parent.name, pair, lladdr=lab.mac_of(parent), up=True)
        undo = Undo(ip.link_delete(parent.name), f"delete the host's {parent.name}")
        links.append((f"create the host's {parent.name}, connected to the switch", link, undo))
    yield links
    yield [
        (
            f"create the host's {parent.name}: VLAN {parent.vlan} on {parent.link}",
            ip.link_add(parent.name, ip.Vlan(parent.link, parent.vlan), up=True),
        )
        for parent in lab.parents
        if parent.vlan is not None and parent.link is not None
    ]


def _peer(lab: Lab, role: str) -> Iterator[list[Draft]]:
    """Yield the stages that configure the gateway or the neighbour, in its namespace."""
    given: list[Draft] = []
    for parent in (parent for parent in lab.parents if parent.peer(role)):
        dev = lab.dev_of(parent)
        if parent.vlan is not None and parent.link is not None:
            below = lab.dev_of(lab.parent_called(parent.link))
            tag = ip.link_add(dev, ip.Vlan(below, parent.vlan), up=True)
            yield [*given, (f"create the {role}'s link in VLAN {parent.vlan}", ip.at(role, tag))]
            given = []
        for peer in parent.peer(role):
            given.append((f"add the {role}'s address", ip.at(role, give(parent.beside(peer), dev))))
    yield [*given, _lo_up(role)]
    if role == GATEWAY:
        what = "add the gateway's address on that link"
        yield [(what, ip.at(GATEWAY, give(lab.far_gateway(own), FAR))) for own in lab.far]
        return
    yield [
        (f"add the {role}'s default route", ip.at(role, ip.route_add(to)))
        for parent in lab.parents
        for to in to_gateways(lab, parent, lab.dev_of(parent))
        if to.via is not None and to.via.version in {peer.version for peer in parent.peer(role)}
    ]


def _far_host(lab: Lab) -> Iterator[list[Draft]]:
    yield [("bring the far host's link up", ip.at(FAR, ip.link_set(PEER_DEV, up=True))), _lo_up(FAR)]
    yield [("add the far host's address", ip.at(FAR, give(own, PEER_DEV))) for own in lab.far]
    routes = [ip.RouteTo(via=lab.far_gateway(own).ip, dev=PEER_DEV) for own in lab.far]
    yield [("add the far host's default route", ip.at(FAR, ip.route_add(to))) for to in routes]


def _lo_up(netns: str) -> Draft:
    return "bring lo up, so that ping gets Host Unreachable", ip.at(netns, ip.link_set("lo", up=True))


def to_gateways(lab: Lab, parent: Parent, dev: str) -> list[ip.RouteTo]:
    """Return the default routes via the gateways on `parent`, if they lead somewhere, out of `dev`."""
    position = lab.parents.index(parent)
    metric = 100 + position if position else None  # The first parent has the best, without one.
    gateways = parent.gateways if lab.routed else ()
    return [ip.RouteTo(via=gateway, dev=dev, metric=metric) for gateway in gateways]


def hosts_gateways(lab: Lab, parent: Parent, dev: str) -> list[ip.RouteTo]:
    """Return the default routes of the host via gateways on `parent` in a subnet of its addresses."""
    routes = to_gateways(lab, parent, dev)
    return [to for to in routes if to.via and any(to.via in own.network for own in parent.host)]


def give(own: InterfaceAddress, dev: str) -> Command:
    """Return the command that adds an address to `dev`, usable immediately."""
    return ip.addr_add(own, dev, nodad=own.version == 6)
