"""New labs, to begin a lab file with."""

from ipaddress import ip_address, ip_interface

from ipvkit.lab import FAR, GATEWAY, HOST, NEIGHBOUR, Act, Check, Endpoint, Lab, Parent, Phase, Setting
from ipvkit.values import Address, InterfaceAddress

_FIRST = 11
"""The first endpoint's number in its subnet; the host's, the gateway's and the neighbour's are above."""


def new_lab(name: str, setting: Setting, count: int, *, ipv6: bool = False) -> Lab:
    """Return a lab of one phase with `count` endpoints; raise InvalidLab for a strategy that cannot work.

    Each endpoint pings the next, and the first is asked for by all others.
    """
    own = setting.strategy == "routed"

    def both(ipv4: str, v6: str) -> tuple[InterfaceAddress, ...]:
        return tuple(ip_interface(text) for text in (ipv4, *((v6,) if ipv6 else ())))

    def peer(number: int) -> tuple[Address, ...]:
        v4, v6 = f"192.168.104.{number}", f"2001:db8:104::{number}"
        return tuple(ip_address(text) for text in (v4, *((v6,) if ipv6 else ())))

    host = both("192.168.104.250/24", "2001:db8:104::250/64")
    parent = Parent("eth0", host, peer(254), peer(251))
    endpoints = tuple(_endpoint(i, both(*_addresses(_FIRST + i, own=own)), parent) for i in range(count))
    names = [endpoint.name for endpoint in endpoints]
    first, *others = names
    pairs = [(a, b) for a, b in zip(names, [*others, first], strict=True) if a != b]
    pairs += [(role, first) for role in (HOST, GATEWAY, NEIGHBOUR, FAR)] + [(first, FAR)]
    phase = Phase(setting.mode, setting, tuple(names), (Act(checks=tuple(Check(a, b) for a, b in pairs)),))
    about = f"{count} {'endpoint' if count == 1 else 'endpoints'}: {setting}"
    far = both("198.51.100.10/24", "2001:db8:ff::10/64")
    return Lab(name, about, (parent,), endpoints, (phase,), far)


def _endpoint(position: int, addresses: tuple[InterfaceAddress, ...], parent: Parent) -> Endpoint:
    name = f"test{position + 1}"
    return Endpoint(name, addresses, name, parent.name)


def _addresses(number: int, *, own: bool) -> tuple[str, str]:
    """Return the addresses of an endpoint, in a subnet of the endpoints' own or in the parent's."""
    if own:
        return f"10.104.0.{number}/24", f"2001:db8:a::{number}/64"
    return f"192.168.104.{number}/24", f"2001:db8:104::{number}/64"
