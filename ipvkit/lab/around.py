"""What is put around endpoints that are known in part: names, free addresses, a far host, checks."""

import re
from collections.abc import Collection, Iterator, Sequence
from ipaddress import ip_interface

from ipvkit.core.values import Address, InterfaceAddress, Network
from ipvkit.lab.lab import Lab
from ipvkit.lab.parts import (
    FAR,
    GATEWAY,
    HOST,
    NEIGHBOUR,
    PEERS,
    RESERVED,
    SWITCH,
    Check,
    Parent,
    family_of,
)

_FAR = (ip_interface("198.51.100.10/24"), ip_interface("2001:db8:fa::10/64"))
"""A host behind the gateway, an address for each family (RFC 5737, RFC 3849)."""

_LONGEST = 15
"""The most characters of an endpoint's name: a link has it for a moment when the lab is built."""


def name_for(called: str, *taken: Collection[str]) -> str:
    """Return a name for the endpoint that is `called` so elsewhere; it is in none of the `taken`.

    >>> name_for("/my_project-web-1", ["my_project-web-"])
    'my_project-we-2'
    """
    plain = re.sub("[^A-Za-z0-9_.+-]", "-", called).lstrip(".+-")[:_LONGEST] or "endpoint"
    name, number = plain, 1
    while any(name in names for names in (*taken, RESERVED, PEERS, (HOST, FAR, SWITCH))):
        number += 1
        ending = f"-{number}"
        name = f"{plain[: _LONGEST - len(ending)]}{ending}"
    return name


def free(parent: Parent, taken: set[Address]) -> Iterator[Address]:
    """Yield a free address of each family, and add it to those that are `taken`."""
    found: set[int] = set()
    for subnet in parent.subnets:
        one = next((ip for ip in subnet.hosts() if ip not in taken), None)
        if one is not None and one.version not in found:
            found.add(one.version)
            taken.add(one)
            yield one


def far_behind(parents: Sequence[Parent], next_hops: Collection[Address]) -> Iterator[InterfaceAddress]:
    """Yield the addresses of a host behind the gateway, of each family that `next_hops` has it in."""
    families = {family_of(gw) for parent in parents for gw in parent.gateway if gw in next_hops}
    subnets = [subnet for parent in parents for subnet in parent.subnets]
    for far in _FAR:
        if family_of(far) in families and not any(_overlap(far.network, subnet) for subnet in subnets):
            yield far


def _overlap(one: Network, other: Network) -> bool:
    return one.network_address in other or other.network_address in one


def checks_around(lab: Lab, known: Collection[Address]) -> Iterator[Check]:
    """Yield checks of each endpoint: with another host, its own, the next endpoint, and far.

    None is to another host with an address that is not `known`.
    """
    following = dict(zip(lab.endpoints, lab.endpoints[1:], strict=False))
    for endpoint in lab.endpoints:
        parent = lab.parent_called(endpoint.parent)
        other = GATEWAY if parent.gateway else NEIGHBOUR
        pairs = [(endpoint.name, other)] if lab.pinged(Check(endpoint.name, other)) in known else []
        own = lab.host_of(endpoint.name)
        pairs += [(other, endpoint.name), (own, endpoint.name), (endpoint.name, FAR)]
        sibling = following.get(endpoint)
        near = sibling is not None and lab.parent_called(sibling.parent).lan == parent.lan
        if sibling is not None and near and lab.place(sibling.name) != lab.place(endpoint.name):
            pairs.append((endpoint.name, sibling.name))
        for check in (Check(*pair) for pair in pairs):
            # A parent without an address, or one that leads nowhere, has no such host.
            if lab.pinged(check) is not None:
                yield check
