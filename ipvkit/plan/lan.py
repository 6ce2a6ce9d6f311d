"""The simulated LAN: a switch, the lab's host, its peers, and what is behind the gateway, as namespaces."""

from ipaddress import ip_interface
from typing import cast

from ipvkit.core.command import Command, in_netns
from ipvkit.core.values import Address, InterfaceAddress, Network
from ipvkit.lab import (
    FAR,
    GATEWAY,
    HOST,
    LAN,
    SWITCH,
    Lab,
    family_of,
)
from ipvkit.plan.steps import Section, Steps
from ipvkit.tools import ip, sysctl

PEER_DEV = "eth0"
_TO_FAR = "far"
"""What the gateway calls its link to the far host."""

_FORWARDING = {"net.ipv4.ip_forward": 1, "net.ipv6.conf.all.forwarding": 1}


def lan(lab: Lab) -> Section:
    """Return the steps that build the network of `lab`: all links, then what each namespace needs in it."""
    steps = Steps(LAN)
    _make_links(lab, steps)
    for parent in lab.parents:
        for own in parent.host:
            steps.add("give the host its address", give(own, parent.name))
    steps.end_stage()
    for parent in lab.parents if lab.routed else ():
        for gateway in parent.gateways:
            to = ip.RouteTo(via=gateway, dev=parent.name, metric=lab.metric_of(parent))
            steps.add("give the host its default route", ip.route_add(to))
    steps.end_stage()
    _plug_in(lab, steps)
    for role in lab.peers:
        _set_up(lab, role, steps)
    if lab.far:
        _set_up_far(lab, steps)
    if lab.routed:
        steps.add("let the gateway forward", in_netns(GATEWAY, sysctl.set_values(_FORWARDING)))
        steps.end_stage()
    return Section(LAN, "the simulated LAN", None, tuple(steps.stages))


def _make_links(lab: Lab, steps: Steps) -> None:
    """Add the steps that make the namespaces and, in place, every link."""
    peers = lab.peers
    for name in (SWITCH, *peers, *([FAR] if lab.far else [])):
        what = {FAR: "far host"}.get(name, name)
        steps.add(f"make a namespace for the {what}", ip.netns_add(name), undo=ip.netns_del(name))
    steps.end_stage()
    hardware = lab.hardware
    for i in range(len(hardware)):
        which = "the switch" if len(hardware) == 1 else f"switch {i}"
        steps.add(f"make {which}", ip.link_add(f"br{i}", ip.Bridge(), netns=SWITCH, up=True))
        for role in peers:
            link = ip.link_add(f"eth{i}", ip.Veth(lab.ports(role)[i], SWITCH), netns=role, up=True)
            steps.add(f"make the {role}'s eth{i}, with its other end at the switch", link)
    if lab.far:
        link = ip.link_add(_TO_FAR, ip.Veth(PEER_DEV, FAR), netns=GATEWAY, up=True)
        steps.add("make the gateway's link to the far host", link)
    # Last: no link can be made in another namespace while one of its name is in this one (rtnl_newlink).
    for i, parent in enumerate(hardware):
        steps.add(
            f"make the host's {parent.name}, with its other end at the switch",
            ip.link_add(parent.name, ip.Veth(lab.ports(HOST)[i], SWITCH), lladdr=lab.mac_of(parent), up=True),
            undo=ip.link_delete(parent.name),
        )
    steps.end_stage()
    for parent in lab.parents:
        if parent.vlan is not None and parent.link is not None:
            tag = ip.link_add(parent.name, ip.Vlan(parent.link, parent.vlan), up=True)
            steps.add(f"make the host's {parent.name}: VLAN {parent.vlan} on {parent.link}", tag)
    steps.end_stage()


def _plug_in(lab: Lab, steps: Steps) -> None:
    for i in range(len(lab.hardware)):
        for role in (HOST, *lab.peers):
            plug = ip.link_set(lab.ports(role)[i], master=f"br{i}", up=True)
            steps.add(f"plug the {role} into the switch", ip.at(SWITCH, plug))
    steps.end_stage()


def _set_up(lab: Lab, role: str, steps: Steps) -> None:
    """Add the steps that give the gateway or the neighbour what it needs, in its own namespace."""
    for parent in (parent for parent in lab.parents if parent.peer(role)):
        if parent.vlan is not None and parent.link is not None:
            below = lab.dev_of(lab.parent_called(parent.link))
            tag = ip.link_add(lab.dev_of(parent), ip.Vlan(below, parent.vlan), up=True)
            steps.add(f"make the {role}'s link in VLAN {parent.vlan}", ip.at(role, tag))
            steps.end_stage()
        for peer in parent.peer(role):
            subnet = cast(Network, parent.subnet_of(peer))
            own = ip_interface((peer, subnet.prefixlen))
            steps.add(f"give the {role} its address", ip.at(role, give(own, lab.dev_of(parent))))
    _set_loopback_up(role, role, steps)
    steps.end_stage()
    if role == GATEWAY:
        for own in lab.far:
            towards = give(lab.far_gateway(own), _TO_FAR)
            steps.add("give the gateway its address there", ip.at(GATEWAY, towards))
        steps.end_stage()
        return
    for parent in lab.parents if lab.routed else ():
        for gateway in parent.gateways:
            if any(family_of(peer) == family_of(gateway) for peer in parent.peer(role)):
                metric = lab.metric_of(parent)
                to = ip.RouteTo(via=gateway, dev=lab.dev_of(parent), metric=metric)
                steps.add(f"give the {role} its default route", ip.at(role, ip.route_add(to)))
    steps.end_stage()


def _set_up_far(lab: Lab, steps: Steps) -> None:
    steps.add("set the far host's link up", ip.at(FAR, ip.link_set(PEER_DEV, up=True)))
    _set_loopback_up(FAR, "far host", steps)
    steps.end_stage()
    for own in lab.far:
        steps.add("give the far host its address", ip.at(FAR, give(own, PEER_DEV)))
    steps.end_stage()
    for own in lab.far:
        to = ip.RouteTo(via=lab.far_gateway(own).ip, dev=PEER_DEV)
        steps.add("give the far host its default route", ip.at(FAR, ip.route_add(to)))
    steps.end_stage()


def _set_loopback_up(netns: str, whose: str, steps: Steps) -> None:
    steps.add(
        f"set the {whose}'s loopback up: through it the kernel tells ping that nobody answers",
        ip.at(netns, ip.link_set("lo", up=True)),
    )


def give(own: InterfaceAddress, dev: str) -> Command:
    """Return the command that gives `dev` an address that serves at once."""
    return ip.addr_add(own, dev, nodad=own.version == 6)


def default_route(dev: str, gateway: Address | None, *, ipv6: bool) -> Command:
    """Return the command that makes a default route out of `dev`, via `gateway` if there is one."""
    return ip.route_add(ip.RouteTo(via=gateway, dev=dev, ipv6=ipv6 and gateway is None))
