"""Whether the endpoints' addresses are free, and in a subnet of the parent."""

from collections.abc import Iterator
from ipaddress import IPv4Address

from ipvkit.core.values import Address, InterfaceAddress
from ipvkit.host.checks.base import Check, Finding, Machine, Request, some
from ipvkit.host.checks.cloud import cloud_of
from ipvkit.host.checks.uppers import uppers
from ipvkit.lab import Endpoint
from ipvkit.tools.ip import Link

_READDRESS = "choose another address"


def _addresses(request: Request, parent: Link, machine: Machine) -> Iterator[Finding]:
    holders = _holders(parent, machine)
    seen: set[Address] = set()
    for endpoint, address in request.addresses:
        name = _named(endpoint, address.ip)
        if address.ip in seen:
            what = f"{name} is also an address of another endpoint"
            yield Finding("address-taken", "error", what, _READDRESS)
        seen.add(address.ip)
        if holder := holders.get(address.ip):
            yield Finding("address-taken", "error", f"{name} is already an address of {holder}", _READDRESS)
        elif lladdrs := machine.answers.get(address.ip) if isinstance(address.ip, IPv4Address) else None:
            what, in_cloud = f"{name} is in use: {some(lladdrs)} answered", cloud_of(machine) is not None
            # The virtual network of a cloud may answer for every address itself.
            fix = "in a cloud that may be the network itself" if in_cloud else _READDRESS
            yield Finding("address-answers", "warning" if in_cloud else "error", what, fix)
    for endpoint in request.endpoints:
        yield from _subnets(request, endpoint, parent)


def _named(endpoint: Endpoint, address: Address | InterfaceAddress) -> str:
    return f"{endpoint.name}'s {address}" if endpoint.name else str(address)


def _holders(parent: Link, machine: Machine) -> dict[Address, str]:
    """Return the addresses that this machine already has, each with its link."""
    found: dict[Address, str] = {}
    for name, link in uppers(parent, machine).items():
        found |= {own.address.ip: f"the {link.kind} link {name}" for own in link.addresses}
    for link in machine.links:
        found |= {own.address.ip: link.ifname for own in link.addresses}
    return found


def _subnets(request: Request, endpoint: Endpoint, parent: Link) -> Iterator[Finding]:
    """Yield the first address of each family that is in no subnet of the parent."""
    if any(helper.own_subnet for setting in request.settings for helper in setting.helpers):
        return
    firsts = {address.version: address for address in reversed(endpoint.addresses)}
    for version, address in sorted(firsts.items()):
        own = [mine.address for mine in parent.addresses if mine.address.version == version]
        own = [mine for mine in own if not mine.is_link_local]
        if not own or any(address.ip in mine.network for mine in own):
            continue
        here = ", ".join(str(mine.network) for mine in own)
        what = f"{_named(endpoint, address)} is not in {parent.ifname}'s subnet {here}"
        if endpoint.name:
            fix = f"use --endpoint {endpoint.name}=ADDRESS/{own[0].network.prefixlen}"
            yield Finding("off-subnet", "error", what, fix)
        else:
            fix = f"choose one in it, or on its peers: ip route add {address.network} via {own[0].ip}"
            yield Finding("off-subnet", "warning", what, fix)


CHECK = Check(
    codes={
        "address-taken": "A link of this machine, or another endpoint, has an endpoint's address.",
        "address-answers": "A host on the network answered for an endpoint's address.",
        "off-subnet": "An endpoint's address is in no subnet of the parent.",
    },
    find=_addresses,
)
