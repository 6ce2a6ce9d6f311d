"""iputils' ``arping``: arping(8)."""

from ipaddress import IPv4Address

from ipvkit.command import Command
from ipvkit.values import interface_name


def announce(address: IPv4Address, dev: str, *, count: int = 2) -> Command:
    """Return the command that sends `count` gratuitous ARP requests for `address` out of `dev`.

    Bounded by its count: iputils sends one a second and waits for no answer.

    >>> str(announce(IPv4Address("192.168.104.211"), "eth0"))
    'arping -c 2 -U -I eth0 192.168.104.211'
    """
    return Command(("arping", "-c", str(count), "-U", "-I", interface_name(dev), str(address)))
