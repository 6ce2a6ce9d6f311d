"""The argv of ``arping``, of iputils, busybox and Habets."""

import math
from ipaddress import IPv4Address
from typing import Literal

from ipvkit.core.command import Command
from ipvkit.core.values import interface_name
from ipvkit.tools.ping.build import signed

Implementation = Literal["iputils", "busybox", "habets"]

VERSION = Command(("arping", "-V"), ok=(0, 1))
"""Shows the implementation; those without this option print their name with the error."""

_SIGNATURES: dict[Implementation, str] = {
    "iputils": "from iputils|iputils-s",
    "busybox": "BusyBox v",
    "habets": "by Thomas Habets",
}


def implementation(printed: str) -> Implementation:
    """Return which arping printed this (stdout and stderr) when asked for its version.

    >>> implementation("ARPing 2.25, by Thomas Habets <thomas@habets.se>")
    'habets'
    """
    return signed("arping", printed, _SIGNATURES)


def announce(address: IPv4Address, dev: str, *, count: int = 2, by: Implementation = "iputils") -> Command:
    """Return the command that sends `count` gratuitous ARP requests for `address` out of `dev`.

    It ends after `count` seconds and waits for no answer. iputils and busybox bind to `address`, which has
    to be an address of the host, or ``net.ipv4.ip_nonlocal_bind`` be 1; Habets does not.

    >>> str(announce(IPv4Address("192.168.104.211"), "eth0"))
    'arping -c 2 -U -I eth0 192.168.104.211'
    """
    dev, own = interface_name(dev), str(address)
    if by == "habets":
        # It takes the silence that follows for a failure: exit code 1.
        return Command(("arping", "-c", str(count), "-U", "-i", dev, "-S", own, own), ok=(0, 1))
    return Command(("arping", "-c", str(count), "-U", "-I", dev, own))


def probe(
    address: IPv4Address, dev: str, *, count: int = 2, wait: float = 1, by: Implementation = "iputils"
) -> Command:
    """Return the command that asks `count` times, out of `dev`, who has `address`.

    `wait` is how long the last answer may take, in seconds; iputils asks once a second. Exit code 1
    (no answer) counts as success: the verdict is taken from the counts.

    >>> str(probe(IPv4Address("192.168.104.254"), "eth0", by="habets"))
    'arping -c 2 -w 3 -i eth0 192.168.104.254'
    """
    return _asking(address, dev, count, wait, by)


def find_duplicate(
    address: IPv4Address, dev: str, *, count: int = 2, wait: float = 1, by: Implementation = "iputils"
) -> Command:
    """Return the command that asks, without a source address, whether `address` is in use (RFC 5227).

    An answer means that it is, whatever the exit code: iputils and busybox exit with 1 then, Habets
    with 0.

    >>> str(find_duplicate(IPv4Address("192.168.104.211"), "eth0"))
    'arping -c 2 -w 3 -D -I eth0 192.168.104.211'
    """
    return _asking(address, dev, count, wait, by, "-0" if by == "habets" else "-D")


def _asking(
    address: IPv4Address, dev: str, count: int, wait: float, by: Implementation, *dad: str
) -> Command:
    bounds = ("-c", str(count), "-w", str(count + math.ceil(wait)))
    on = ("-i" if by == "habets" else "-I", interface_name(dev))
    return Command(("arping", *bounds, *dad, *on, str(address)), ok=(0, 1))
