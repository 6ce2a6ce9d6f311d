"""Whether the kernel accepts what a lab tries, and what that changes."""

from dataclasses import replace
from functools import partial
from typing import Literal

from ipvkit.core.values import Flag, Mode
from ipvkit.lab import Act, Attempt, Outcome, Setting
from ipvkit.lab.parts import AddAddress, AddLink, DeleteLink, SetMode, SetMtu
from ipvkit.predict.predictions import Prediction
from ipvkit.predict.world import World

_KERNELS_MODE: Mode = "l3"
"""The mode of an ipvlan link that is added without one (ipvlan_link_new())."""


def predict_attempt(world: World, attempt: Attempt) -> Prediction:
    """Return whether the kernel accepts a change (ipvlan_main.c, ipvlan_link_new(), ipvlan_addr_busy())."""
    match attempt.change:
        case AddAddress():
            return _added_address(attempt.change, world)
        case AddLink():
            return _added_link(attempt.change, world)
        case DeleteLink(name):
            if not any(link.name == name for link in world.state.links):
                return _refused(f"no such link: {name}")
            return _accepted("deleting it does not restore the mode of the others")
        case SetMode(endpoint, mode):
            parent = world.lab.endpoint(endpoint).parent
            if not world.settings[parent].is_ipvlan:
                return _refused(f"{endpoint} is not an ipvlan link")
            now = f"all endpoints on {parent} are in {mode} bridge now"
            return _accepted(f"mode and flag belong to the parent: {now}")
        case SetMtu(link, mtu):
            return _set_mtu(world, link, mtu)


_accepted = partial(Prediction, Outcome.ACCEPTED)
_refused = partial(Prediction, Outcome.REFUSED)


def _added_address(change: AddAddress, world: World) -> Prediction:
    own = world.nodes[change.endpoint].link(change.endpoint)
    upper = world.upper(change.address.ip, own.parent)
    if own.has(change.address.ip):
        return _refused(f"{change.endpoint} has it already")
    if upper is not None:
        return _refused(
            f"{upper.owner} has it: the kernel refuses duplicates among the endpoints of a parent"
        )
    other = next((x for x in world.links_with(change.address.ip) if x.has(change.address.ip)), None)
    unnoticed = f", and does not notice that {other.owner} has it" if other is not None else ""
    return _accepted(f"the kernel compares only the endpoints of a parent{unnoticed}")


def _added_link(change: AddLink, world: World) -> Prediction:
    parent = change.parent
    if any(link.name == change.name for link in world.state.links):
        return _refused(f"link {change.name} already exists")
    if parent == "lo":
        return _refused("the kernel takes no loopback as a parent")
    lower = {port: master.name for master in world.lab.hardware for port in world.lab.lower(master)}
    if parent in lower:
        return _refused(f"{parent} is a port of {lower[parent]}")
    if world.nic(parent).dev != world.lab.parent_called(parent).dev:
        return _refused(f"{parent} is a port of {world.nic(parent).dev}")
    there = {link.kind for node in world.nodes.values() for link in node.links if link.parent == parent}
    kind = _family(change)
    there |= {_family(link) for link in world.state.links if link.parent == parent}
    other = "macvlan" if kind == "ipvlan" else "ipvlan"
    if other in there:
        return _refused(f"{parent} has {other} links, and a parent accepts only one of the two kinds")
    if kind == "macvlan" or "ipvlan" not in there:
        return _accepted(f"{parent} has no links of another kind")
    setting = world.settings[parent]
    mode, flag = _mode_after(change, setting)
    if (mode, flag) == (setting.mode, setting.flag):
        return _accepted(f"its siblings are in {mode} {flag} too")
    without = "" if change.mode else f": without a mode a link is added in {_KERNELS_MODE}"
    return _accepted(f"every endpoint on {parent} is in {mode} {flag} from now on{without}")


def _family(change: AddLink) -> Literal["ipvlan", "macvlan"]:
    """Return the kind of a link; ipvtap links are among the ipvlan ones of a parent (ipvtap_newlink())."""
    return "macvlan" if change.kind == "macvlan" else "ipvlan"


def _mode_after(change: AddLink, setting: Setting) -> tuple[Mode, Flag]:
    """Return the parent's new mode and flag: with a mode ip(8) always sends a flag, by default bridge."""
    if change.mode is None:
        return _KERNELS_MODE, setting.flag
    return change.mode, change.flag or "bridge"


def _set_mtu(world: World, link: str, mtu: int) -> Prediction:
    if world.lab.is_endpoint(link):
        parent = world.nic(world.lab.endpoint(link).parent)
        kind = world.nodes[link].link(link).kind
        if mtu > parent.mtu and kind == "macvlan":
            return _refused(f"it is above {parent.dev}'s, which is {parent.mtu}")
        if mtu > parent.mtu and kind == "ipvlan":
            return _accepted(f"the kernel does not compare it with {parent.dev}'s, which is {parent.mtu}")
        return _accepted(f"it is within {parent.dev}'s, which is {parent.mtu}")
    below = world.lab.parent_called(link).link
    if below is not None and mtu > world.nic(below).mtu:
        return _refused(f"it is above {below}'s, which is {world.nic(below).mtu}")
    return _accepted(f"the endpoints on {link} follow: their mtu is {mtu} now")


def _mtus_after(world: World, change: SetMtu) -> dict[str, int]:
    """Return the MTUs that it changes: upper devices follow a link, a VLAN and macvlan only down."""
    mtus = {change.link: change.mtu}
    if world.lab.is_endpoint(change.link):
        return mtus
    for parent in (parent for parent in world.lab.parents if parent.link == change.link):
        if world.nic(parent.name).mtu > change.mtu:
            mtus |= _mtus_after(world, SetMtu(parent.name, change.mtu))
    for node in world.nodes.values():
        uppers = (link for link in node.links if link.parent == change.link and link.kind != "nic")
        for link in uppers if not world.lab.is_host(node.name) else ():
            mtus[link.dev] = min(link.mtu, change.mtu) if link.kind == "macvlan" else change.mtu
    return mtus


def attempted(world: World, act: Act) -> World:
    """Return the world with what the attempts of `act` changed, one after another."""
    for attempt in act.attempts:
        if predict_attempt(world, attempt).outcome is Outcome.REFUSED:
            continue
        state, flipped = world.state, dict(world.state.flipped)
        match attempt.change:
            case AddAddress(address, endpoint):
                state = replace(state, addresses=(*state.addresses, (endpoint, address)))
            case AddLink(parent=parent):
                if _family(attempt.change) == "ipvlan":
                    flipped[parent] = _mode_after(attempt.change, world.settings[parent])
                state = replace(state, links=(*state.links, attempt.change))
            case DeleteLink(name):
                state = replace(state, links=tuple(link for link in state.links if link.name != name))
            case SetMode(endpoint, mode):
                flipped[world.lab.endpoint(endpoint).parent] = (mode, "bridge")
            case SetMtu():
                state = replace(state, mtus={**state.mtus, **_mtus_after(world, attempt.change)})
        world = world.at(replace(state, flipped=flipped))
    return world
