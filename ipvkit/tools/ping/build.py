"""The argv of ``ping``, of iputils, busybox and inetutils."""

import math
from ipaddress import IPv6Address
from typing import Literal

from ipvkit.core.command import Command, option
from ipvkit.core.errors import MissingRequirement, UnparsableOutput
from ipvkit.core.values import Address, interface_name

Implementation = Literal["iputils", "busybox", "inetutils"]

VERSION = Command(("ping", "-V"), ok=(0, 1))
"""Shows the implementation; busybox prints its name with the error."""

_SIGNATURES: tuple[tuple[str, Implementation], ...] = (
    ("from iputils", "iputils"),
    ("iputils-s", "iputils"),
    ("BusyBox v", "busybox"),
    ("(GNU inetutils)", "inetutils"),
)


def implementation(printed: str) -> Implementation:
    """Return which ping printed this (stdout and stderr) when asked for its version.

    >>> implementation("ping from iputils 20240905")
    'iputils'
    """
    for signature, name in _SIGNATURES:
        if signature in printed:
            return name
    raise UnparsableOutput("ping -V", 1, printed.partition("\n")[0])


def ping(
    destination: Address | str,
    *,
    count: int,
    interval: float,
    wait: float,
    source: Address | str | None = None,
    size: int | None = None,
    ttl: int | None = None,
    whole: bool = False,
    by: Implementation = "iputils",
) -> Command:
    """Return a ping of `count` requests, `interval` seconds apart, `wait` seconds for the last reply.

    `source` is an address or an interface, `size` the payload in bytes, `ttl` also the IPv6 hop limit;
    `whole` forbids to fragment it (iputils).
    Exit code 1 (no reply) counts as success: the verdict is taken from the counts. Only iputils
    takes fractions of a second to wait; for the others they are rounded up. MissingRequirement is
    raised for what `by` cannot do.

    >>> str(ping("192.168.104.212", count=4, interval=0.2, wait=1))
    'ping -c 4 -i 0.2 -W 1 192.168.104.212'
    """
    if whole and by != "iputils":
        raise _cannot(by, "forbid to fragment a packet")
    if by == "inetutils":
        return _inetutils(destination, count, interval, wait, source, size, ttl)
    if by == "busybox" and ttl is not None and isinstance(destination, IPv6Address):
        raise _cannot("busybox", "set the hop limit of IPv6")
    words = (
        *("-c", str(count), "-i", f"{interval:g}"),
        *("-W", f"{wait:g}" if by == "iputils" else str(math.ceil(wait))),
        *option("-I", source, lambda bound: interface_name(bound) if isinstance(bound, str) else str(bound)),
        *option("-s", size),
        *option("-t", ttl),
        *(("-M", "do") if whole else ()),
    )
    return Command(("ping", *words, str(destination)), ok=(0, 1))


def _inetutils(
    destination: Address | str,
    count: int,
    interval: float,
    wait: float,
    source: Address | str | None,
    size: int | None,
    ttl: int | None,
) -> Command:
    if source is not None:
        raise _cannot("inetutils", "ping from a given interface or address")
    ipv6 = isinstance(destination, IPv6Address)
    # ping6 has a bound on its whole life and none on the last reply.
    bound = ("-w", str(math.ceil(count * interval + wait))) if ipv6 else ("-W", str(math.ceil(wait)))
    hops = () if ttl is None else (f"--{'hoplimit' if ipv6 else 'ttl'}={ttl}",)
    words = ("-c", str(count), "-i", f"{interval:g}", *bound, *hops, *option("-s", size))
    return Command(("ping6" if ipv6 else "ping", *words, str(destination)), ok=(0, 1))


def _cannot(by: Implementation, what: str) -> MissingRequirement:
    return MissingRequirement(f"the ping of {by} cannot {what}", "apt install iputils-ping")


def ping_until_lost(destination: Address, *, interval: float, deadline: int) -> Command:
    """Return a ping with timestamps that ends at the first ICMP error, or after `deadline` seconds.

    Only iputils' ping prints timestamps.

    >>> from ipaddress import ip_address
    >>> str(ping_until_lost(ip_address("192.168.104.211"), interval=0.2, deadline=15))
    'ping -D -i 0.2 -w 15 192.168.104.211'
    """
    bounds = ("-D", "-i", f"{interval:g}", "-w", str(deadline))
    return Command(("ping", *bounds, str(destination)), ok=(0, 1))
