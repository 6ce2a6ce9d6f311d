"""New labs: the start of a lab file, or many endpoints for a quick look."""

import re
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network
from itertools import permutations
from random import Random

from ipvkit.core.errors import UsageError
from ipvkit.core.values import InterfaceAddress, interface_address
from ipvkit.lab import AT, FAR, GATEWAY, NEIGHBOUR, Act, Check, Endpoint, Lab, Parent, Phase, Setting

MOST_ENDPOINTS, MOST_IN_ALL, MOST_CHECKS, MOST_HOSTS = 5_000, 50_000, 40_000, 1_000
"""The most endpoints on a host and in all, checks, and hosts of a new lab; a file with all is read."""

CHECKS = "all|ring|gateway|sample:K"

_FIRST = 11
"""The first endpoint's number in its subnet, where there is room."""

_HOST, _NEIGHBOUR, _GATEWAY, _BROADCAST = -6, -5, -2, -1
"""Numbers in a subnet from its end: in a /24 250, 251, 254 and 255."""

_SUBNETS = (IPv4Network("192.168.104.0/24"), IPv4Network("10.104.0.0/16"))
_OWN_SUBNETS = (IPv4Network("10.104.0.0/24"), IPv4Network("10.104.0.0/16"))
"""Subnets of a parent, and of endpoints apart from it: the second where the first is too small."""

_SUBNET_V6, _OWN_SUBNET_V6 = IPv6Network("2001:db8:104::/64"), IPv6Network("2001:db8:a::/64")
_SAMPLE = re.compile(r"sample:([1-9][0-9]{0,8})")


def new_lab(
    name: str,
    setting: Setting,
    count: int,
    *,
    hosts: int = 1,
    ipv6: bool = False,
    subnet: IPv4Network | None = None,
    checks: str | None = None,
) -> Lab:
    """Return a lab of one phase with `count` endpoints in `subnet`: test1 and so on.

    Of several `hosts`, h1 and so on, each has as many. `checks` are as in `pairs`; None: each endpoint pings
    the next, and all other nodes ping the first. Raise UsageError for a subnet that is too small, or too many
    endpoints, and InvalidLab for a strategy that cannot work.
    """
    count *= hosts
    if count > MOST_IN_ALL:
        raise UsageError(f"{count} endpoints on {hosts} hosts are too many", f"{MOST_IN_ALL} at most")
    own = any(helper.own_subnet for helper in setting.helpers)
    if own and hosts > 1:
        hint = "ipvkit labs show two-hosts-l3-routed shows one"
        raise UsageError(f"with strategy {setting.strategy} each host has a separate subnet", hint)
    within, start = _with_room(
        subnet, count, _OWN_SUBNETS if own else _SUBNETS, _BROADCAST if own else 1 + _HOST - hosts
    )
    lan = _SUBNETS[0] if own else within
    lan_v6, v6 = (_SUBNET_V6, _OWN_SUBNET_V6 if own else _SUBNET_V6) if ipv6 else (None, None)
    gateway, neighbour = (
        tuple(one.ip for one in _addresses(lan, number, lan_v6)) for number in (_GATEWAY, _NEIGHBOUR)
    )
    addressed = [_addresses(lan, _HOST - number, lan_v6) for number in range(hosts)]
    parents = _on_hosts(Parent("eth0", addressed[0], gateway, neighbour), addressed)
    names = tuple(f"test{i + 1}" for i in range(count))
    endpoints = tuple(
        Endpoint(name, _addresses(within, start + i, v6), name, parents[i * hosts // count].name)
        for i, name in enumerate(names)
    )
    asked = _checks(checks, names, [parent.on for parent in parents])
    phase = Phase(setting.mode, setting, names, (Act(checks=asked),))
    about = f"{count} {'endpoint' if count == 1 else 'endpoints'}: {setting}"
    about = f"{hosts} hosts, {about}" if hosts > 1 else about
    far = ("198.51.100.10/24", *(("2001:db8:ff::10/64",) if ipv6 else ()))
    return Lab(name, about, parents, endpoints, (phase,), tuple(map(interface_address, far)))


def _with_room(
    subnet: IPv4Network | None, count: int, usual: tuple[IPv4Network, IPv4Network], end: int
) -> tuple[IPv4Network, int]:
    """Return a subnet with room for `count` endpoints before the number `end`, and the number of the first.

    Without `subnet` it is one of the `usual` two. Raise UsageError where none has room.
    """
    first, larger = usual
    within = subnet or (first if count <= _room(first, end) else larger)
    room = _room(within, end)
    if count > room:
        hint = f"take a larger one, as in --subnet {larger}"
        raise UsageError(f"{within} has room for {max(room, 0)} endpoints, not for {count}", hint)
    return within, _FIRST if _FIRST + count - 1 <= room else 1


def _on_hosts(parent: Parent, addressed: Sequence[tuple[InterfaceAddress, ...]]) -> tuple[Parent, ...]:
    """Return `parent`, or that of each of several hosts, with the addresses of that host."""
    if len(addressed) == 1:
        return (parent,)
    shared = replace(parent, ifname="eth0", shared=f"eth0{AT}h1")
    named = ((f"h{number}", own) for number, own in enumerate(addressed, 1))
    return tuple(replace(shared, name=f"eth0{AT}{name}", on=name, host=own) for name, own in named)


def _checks(checks: str | None, names: Sequence[str], hosts: Sequence[str]) -> tuple[Check, ...]:
    """Return the checks as in `pairs`; None: each endpoint pings the next, and all other nodes the first."""
    if checks is not None:
        # Of many pings, each sends a second request for a reply that comes late.
        return tuple(Check(a, b, count=2) for a, b in pairs(checks, names))
    others = ((role, names[0]) for role in dict.fromkeys((*hosts, GATEWAY, NEIGHBOUR, FAR)))
    return tuple(Check(a, b) for a, b in (*pairs("ring", names), *others, (names[0], FAR)))


def pairs(checks: str, names: Sequence[str]) -> list[tuple[str, str]]:
    """Return the pairs of the endpoints `names` that are to ping; raise UsageError for unknown `checks`.

    all: each endpoint all others. ring: each the next, and the last the first. gateway: each the gateway.
    sample:K: K of all pairs, always the same ones.

    >>> pairs("ring", ["test1", "test2", "test3"])
    [('test1', 'test2'), ('test2', 'test3'), ('test3', 'test1')]
    """
    there = len(names) * (len(names) - 1)
    sample = _SAMPLE.fullmatch(checks)
    wanted = int(sample[1]) if sample else there
    if wanted > there:
        raise UsageError(f"{len(names)} endpoints have only {there} pairs, not {wanted}", "take fewer")
    if (sample or checks == "all") and wanted > MOST_CHECKS:
        hint = f"{MOST_CHECKS} at most: take ring, gateway or sample:{MOST_CHECKS}"
        raise UsageError(f"{wanted} checks are too many", hint)
    if sample:
        numbers = sorted(Random(0).sample(range(there), wanted))  # noqa: S311
        found = (divmod(number, len(names) - 1) for number in numbers)
        return [(names[a], names[b + (b >= a)]) for a, b in found]
    match checks:
        case "all":
            return list(permutations(names, 2))
        case "ring":
            return [(a, b) for a, b in zip(names, [*names[1:], names[0]], strict=True) if a != b]
        case "gateway":
            return [(name, GATEWAY) for name in names]
    raise UsageError(f"unknown checks {checks!r}", f"choose from {', '.join(CHECKS.split('|'))}")


def _room(subnet: IPv4Network, end: int) -> int:
    """Return how many addresses are between the subnet's own and the one at `end`."""
    return subnet.num_addresses + end - 1


def _addresses(subnet: IPv4Network, number: int, v6: IPv6Network | None) -> tuple[InterfaceAddress, ...]:
    """Return the address with this number in `subnet`, and one with the same digits in `v6`, if given.

    A negative number counts from the subnet's end.
    """
    number %= subnet.num_addresses
    found = [f"{subnet[number]}/{subnet.prefixlen}"]
    if v6 is not None:
        found.append(f"{v6[int(str(number), 16)]}/{v6.prefixlen}")
    return tuple(map(interface_address, found))
