"""The simulated LAN: a switch, the host, its peers, and a host behind the gateway, as namespaces."""

from ipvkit.core.command import Command, in_netns
from ipvkit.core.values import InterfaceAddress
from ipvkit.lab import FAR, GATEWAY, HOST, LAN, SWITCH, Lab, Parent
from ipvkit.plan.steps import Section, Steps, Undo
from ipvkit.tools import ip, sysctl

PEER_DEV = "eth0"


def lan(lab: Lab) -> Section:
    """Return the steps that build the network of `lab`: all links, then the rest of each namespace."""
    steps = Steps(LAN)
    _create_links(lab, steps)
    given = (give(own, parent.name) for parent in lab.parents for own in parent.host)
    steps.add_stage(("add the host's address", address) for address in given)
    routes = (to for parent in lab.parents for to in to_gateways(lab, parent, parent.name))
    steps.add_stage(("add the host's default route", ip.route_add(to)) for to in routes)
    for i in range(len(lab.hardware)):
        for role in (HOST, *lab.peers):
            connect = ip.link_set(lab.ports(role)[i], master=f"br{i}", up=True)
            steps.add(f"connect the {role} to the switch", ip.at(SWITCH, connect))
    steps.end_stage()
    for role in lab.peers:
        _set_up(lab, role, steps)
    if lab.far:
        _set_up_far(lab, steps)
    if lab.routed:
        forward = sysctl.set_values({"net.ipv4.ip_forward": 1, "net.ipv6.conf.all.forwarding": 1})
        steps.add_stage([("enable forwarding on the gateway", in_netns(GATEWAY, forward))])
    return Section(LAN, "the simulated LAN", None, tuple(steps.stages))


def _create_links(lab: Lab, steps: Steps) -> None:
    """Add the steps that create the namespaces and, in place, every link."""
    peers = lab.peers
    for name in (SWITCH, *peers, *([FAR] if lab.far else [])):
        undo = Undo(ip.netns_del(name), f"delete namespace {name}")
        steps.add(f"create namespace {name}", ip.netns_add(name), undo=undo)
    steps.end_stage()
    hardware = lab.hardware
    for i in range(len(hardware)):
        which = "the switch" if len(hardware) == 1 else f"switch {i}"
        steps.add(f"create {which}", ip.link_add(f"br{i}", ip.Bridge(), netns=SWITCH, up=True))
        for role in peers:
            link = ip.link_add(f"eth{i}", ip.Veth(lab.ports(role)[i], SWITCH), netns=role, up=True)
            steps.add(f"create the {role}'s eth{i}, connected to the switch", link)
    if lab.far:
        link = ip.link_add(FAR, ip.Veth(PEER_DEV, FAR), netns=GATEWAY, up=True)
        steps.add("create the gateway's link to the far host", link)
    # Last: no link can be created in another namespace while this one has one of its name (rtnl_newlink).
    for i, parent in enumerate(hardware):
        pair = ip.Veth(lab.ports(HOST)[i], SWITCH)
        link = ip.link_add(parent.name, pair, lladdr=lab.mac_of(parent), up=True)
        undo = Undo(ip.link_delete(parent.name), f"delete the host's {parent.name}")
        steps.add(f"create the host's {parent.name}, connected to the switch", link, undo=undo)
    steps.end_stage()
    for parent in lab.parents:
        if parent.vlan is not None and parent.link is not None:
            tag = ip.link_add(parent.name, ip.Vlan(parent.link, parent.vlan), up=True)
            steps.add(f"create the host's {parent.name}: VLAN {parent.vlan} on {parent.link}", tag)
    steps.end_stage()


def _set_up(lab: Lab, role: str, steps: Steps) -> None:
    """Add the steps that configure the gateway or the neighbour, in its namespace."""
    for parent in (parent for parent in lab.parents if parent.peer(role)):
        if parent.vlan is not None and parent.link is not None:
            below = lab.dev_of(lab.parent_called(parent.link))
            tag = ip.link_add(lab.dev_of(parent), ip.Vlan(below, parent.vlan), up=True)
            steps.add_stage([(f"create the {role}'s link in VLAN {parent.vlan}", ip.at(role, tag))])
        for peer in parent.peer(role):
            address = give(parent.beside(peer), lab.dev_of(parent))
            steps.add(f"add the {role}'s address", ip.at(role, address))
    _bring_lo_up(role, steps)
    steps.end_stage()
    if role == GATEWAY:
        given = (give(lab.far_gateway(own), FAR) for own in lab.far)
        steps.add_stage(("add the gateway's address on that link", ip.at(GATEWAY, own)) for own in given)
        return
    for parent in lab.parents:
        versions = {peer.version for peer in parent.peer(role)}
        for to in to_gateways(lab, parent, lab.dev_of(parent)):
            if to.via is not None and to.via.version in versions:
                steps.add(f"add the {role}'s default route", ip.at(role, ip.route_add(to)))
    steps.end_stage()


def _set_up_far(lab: Lab, steps: Steps) -> None:
    steps.add("bring the far host's link up", ip.at(FAR, ip.link_set(PEER_DEV, up=True)))
    _bring_lo_up(FAR, steps)
    steps.end_stage()
    steps.add_stage(("add the far host's address", ip.at(FAR, give(own, PEER_DEV))) for own in lab.far)
    routes = (ip.RouteTo(via=lab.far_gateway(own).ip, dev=PEER_DEV) for own in lab.far)
    steps.add_stage(("add the far host's default route", ip.at(FAR, ip.route_add(to))) for to in routes)


def _bring_lo_up(netns: str, steps: Steps) -> None:
    steps.add("bring lo up, so that ping gets Host Unreachable", ip.at(netns, ip.link_set("lo", up=True)))


def to_gateways(lab: Lab, parent: Parent, dev: str) -> list[ip.RouteTo]:
    """Return the default routes via the gateways on `parent`, if they lead somewhere, out of `dev`."""
    position = lab.parents.index(parent)
    metric = 100 + position if position else None  # The first parent has the best, without one.
    gateways = parent.gateways if lab.routed else ()
    return [ip.RouteTo(via=gateway, dev=dev, metric=metric) for gateway in gateways]


def give(own: InterfaceAddress, dev: str) -> Command:
    """Return the command that adds an address to `dev`, usable immediately."""
    return ip.addr_add(own, dev, nodad=own.version == 6)
