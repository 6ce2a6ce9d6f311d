"""The argv of ``ping``, of iputils, busybox and inetutils."""

import math
import re
from collections.abc import Mapping
from ipaddress import IPv6Address
from typing import Literal, TypeVar

from ipvkit.core.command import Command, option
from ipvkit.core.errors import MissingRequirement, UnparsableOutput
from ipvkit.core.values import Address, interface_name

T = TypeVar("T")
Implementation = Literal["iputils", "busybox", "inetutils"]

VERSION = Command(("ping", "-V"), ok=(0, 1))
"""Shows the implementation; busybox prints its name with the error."""

_SIGNATURES: dict[Implementation, str] = {
    "iputils": "from iputils|iputils-s",
    "busybox": "BusyBox v",
    "inetutils": r"\(GNU inetutils\)",
}


def implementation(printed: str) -> Implementation:
    """Return which ping printed this (stdout and stderr) when asked for its version.

    >>> implementation("ping from iputils 20240905")
    'iputils'
    """
    return signed("ping", printed, _SIGNATURES)


def signed(tool: str, printed: str, signatures: Mapping[T, str]) -> T:
    """Return the implementation with a signature, a regular expression, in what ``tool -V`` printed."""
    for name, signature in signatures.items():
        if re.search(signature, printed):
            return name
    raise UnparsableOutput(f"{tool} -V", 1, printed.partition("\n")[0])


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
    ipv6, inetutils = isinstance(destination, IPv6Address), by == "inetutils"
    for is_asked, what in (
        (whole and by != "iputils", "forbid to fragment a packet"),
        (source is not None and inetutils, "ping from a given interface or address"),
        (ttl is not None and ipv6 and by == "busybox", "set the hop limit of IPv6"),
    ):
        if is_asked:
            raise MissingRequirement(f"the ping of {by} cannot {what}", "apt install iputils-ping")
    words: tuple[str, ...] = ("-c", str(count), "-i", f"{interval:g}")
    if inetutils and ipv6:
        # ping6 has a bound on its whole life and none on the last reply.
        words += ("-w", str(math.ceil(count * interval + wait)))
    else:
        words += ("-W", f"{wait:g}" if by == "iputils" else str(math.ceil(wait)))
    if inetutils:
        words += () if ttl is None else (f"--{'hoplimit' if ipv6 else 'ttl'}={ttl}",)
        words += option("-s", size)
    else:
        words += option("-I", interface_name(source) if isinstance(source, str) else source)
        words += (*option("-s", size), *option("-t", ttl), *(("-M", "do") if whole else ()))
    return Command(("ping6" if inetutils and ipv6 else "ping", *words, str(destination)), ok=(0, 1))


def ping_until_lost(destination: Address, *, interval: float, deadline: int) -> Command:
    """Return a ping with timestamps that ends at the first ICMP error, or after `deadline` seconds.

    Only iputils' ping prints timestamps.

    >>> from ipaddress import ip_address
    >>> str(ping_until_lost(ip_address("192.168.104.211"), interval=0.2, deadline=15))
    'ping -D -i 0.2 -w 15 192.168.104.211'
    """
    bounds = ("-D", "-i", f"{interval:g}", "-w", str(deadline))
    return Command(("ping", *bounds, str(destination)), ok=(0, 1))
