"""What stands in the way of a lab on a real parent, told from what the machine shows before a change."""

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Interface

from ipvkit.errors import UsageError
from ipvkit.lab import Lab
from ipvkit.tools.ip import Link


def refuse_obstacles(
    lab: Lab,
    links: Sequence[Link],
    namespaces: Sequence[str],
    addresses: Mapping[str, Sequence[IPv4Interface]],
) -> None:
    """Raise UsageError that names every obstacle at once; nothing has been changed then."""
    found = obstacles(lab, links, namespaces, addresses)
    if found:
        what = "\n  ".join(f"{problem}; {mend}" for problem, mend in found)
        raise UsageError(f"lab {lab.name} cannot start on {lab.parent}:\n  {what}")


def obstacles(
    lab: Lab,
    links: Sequence[Link],
    namespaces: Sequence[str],
    addresses: Mapping[str, Sequence[IPv4Interface]],
) -> list[tuple[str, str]]:
    """Return each obstacle with its mend. `links`, `namespaces`, `addresses`: the machine as it is."""
    found = []
    by_name = {link.ifname: link for link in links}
    for endpoint in lab.endpoints:
        if endpoint.netns in namespaces:
            found.append((f"there is a network namespace {endpoint.netns}", "it is somebody's: rename yours"))
        if endpoint.name in by_name:
            found.append((f"there is a link {endpoint.name}", "it is somebody's: rename yours"))
    parent = by_name.get(lab.parent)
    if parent is None:
        there = ", ".join(sorted(name for name in by_name if name != "lo")) or "none"
        found.append((f"there is no link {lab.parent}", f"the links here are {there}"))
        return found
    if not parent.up:
        found.append((f"{lab.parent} is down", f"ip link set {lab.parent} up"))
    if parent.kind is None and "LOOPBACK" in parent.flags:
        found.append((f"{lab.parent} is the loopback", "ipvlan needs a link to a network"))
    if parent.master is not None:
        found.append((f"{lab.parent} is a port of {parent.master}", f"use {parent.master} as the parent"))
    found += _riders(lab, links)
    found += _subnets(lab, addresses.get(lab.parent, ()))
    return found


def _riders(lab: Lab, links: Sequence[Link]) -> list[tuple[str, str]]:
    """Return what is wrong with the links that are on the parent already."""
    found = []
    wanted = {(phase.setting.mode, phase.setting.flag) for phase in lab.phases}
    for link in links:
        if link.parent != lab.parent:
            continue
        if link.kind in ("macvlan", "macvtap"):
            found.append((f"{lab.parent} carries the {link.kind} {link.ifname}", "use another parent"))
        if link.kind in ("ipvlan", "ipvtap") and wanted != {(link.mode, link.flag)}:
            which = f"the {link.kind} {link.ifname} in {link.mode} {link.flag}, which this lab would flip"
            found.append((f"{lab.parent} carries {which}", "use another parent"))
    return found


def _subnets(lab: Lab, own: Sequence[IPv4Interface]) -> list[tuple[str, str]]:
    if not own:
        return []
    found = []
    for endpoint in lab.endpoints:
        address = endpoint.addresses[0]
        if not any(address.ip in mine.network for mine in own):
            here = ", ".join(str(mine.network) for mine in own)
            option = f"--endpoint {endpoint.name}=ADDRESS/{own[0].network.prefixlen}"
            found.append(
                (f"{endpoint.name}'s {address} is not in {lab.parent}'s subnet {here}", f"give {option}")
            )
        if any(address.ip == mine.ip for mine in own):
            found.append((f"{endpoint.name}'s {address.ip} is {lab.parent}'s own", "give it another"))
    return found
