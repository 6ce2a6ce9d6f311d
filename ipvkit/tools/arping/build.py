"""The argv of ``arping``, of iputils, busybox and Habets, for what is meant by it."""

import math
from ipaddress import IPv4Address
from typing import Literal

from ipvkit.core.command import Command
from ipvkit.core.errors import UnparsableOutput
from ipvkit.core.values import interface_name

Implementation = Literal["iputils", "busybox", "habets"]

VERSION = Command(("arping", "-V"), ok=(0, 1))
"""What tells the implementations apart; those that have no such option say their name with the complaint."""

_SIGNATURES: tuple[tuple[str, Implementation], ...] = (
    ("from iputils", "iputils"),
    ("iputils-s", "iputils"),
    ("BusyBox v", "busybox"),
    ("by Thomas Habets", "habets"),
)


def implementation(said: str) -> Implementation:
    """Return which arping it is that `said` this (stdout and stderr) when asked for its version.

    >>> implementation("ARPing 2.25, by Thomas Habets <thomas@habets.se>")
    'habets'
    """
    for signature, name in _SIGNATURES:
        if signature in said:
            return name
    raise UnparsableOutput("arping -V", 1, said.partition("\n")[0])


def announce(address: IPv4Address, dev: str, *, count: int = 2, by: Implementation = "iputils") -> Command:
    """Return the command that sends `count` gratuitous ARP requests for `address` out of `dev`.

    Bounded by its count: one is sent a second, and no answer is waited for. iputils and busybox bind
    to `address`, which has to be the host's own or ``net.ipv4.ip_nonlocal_bind`` be 1; Habets does not.

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
    (nobody answered) counts as success: the verdict is taken from the counts.

    >>> str(probe(IPv4Address("192.168.104.254"), "eth0", by="habets"))
    'arping -c 2 -w 3 -i eth0 192.168.104.254'
    """
    option = "-i" if by == "habets" else "-I"
    bounds = ("-c", str(count), "-w", str(count + math.ceil(wait)))
    return Command(("arping", *bounds, option, interface_name(dev), str(address)), ok=(0, 1))


def find_duplicate(
    address: IPv4Address, dev: str, *, count: int = 2, wait: float = 1, by: Implementation = "iputils"
) -> Command:
    """Return the command that asks, from no address of its own, whether `address` is in use (RFC 5227).

    An answer means that it is, whatever the exit code: iputils and busybox exit with 1 then, Habets
    with 0.

    >>> str(find_duplicate(IPv4Address("192.168.104.211"), "eth0"))
    'arping -c 2 -w 3 -D -I eth0 192.168.104.211'
    """
    option, dad = ("-i", "-0") if by == "habets" else ("-I", "-D")
    bounds = ("-c", str(count), "-w", str(count + math.ceil(wait)))
    return Command(("arping", *bounds, dad, option, interface_name(dev), str(address)), ok=(0, 1))
