"""The argv of ``ping``, of iputils, busybox and inetutils, for what is meant by it."""

import math
from ipaddress import IPv6Address
from typing import Literal

from ipvkit.core.command import Command
from ipvkit.core.errors import MissingRequirement, UnparsableOutput
from ipvkit.core.values import Address, interface_name

Implementation = Literal["iputils", "busybox", "inetutils"]

VERSION = Command(("ping", "-V"), ok=(0, 1))
"""What tells the implementations apart; busybox takes it for a mistake and says its name."""

_SIGNATURES: tuple[tuple[str, Implementation], ...] = (
    ("from iputils", "iputils"),
    ("iputils-s", "iputils"),
    ("BusyBox v", "busybox"),
    ("(GNU inetutils)", "inetutils"),
)


def implementation(said: str) -> Implementation:
    """Return which ping it is that `said` this (stdout and stderr) when asked for its version.

    >>> implementation("ping from iputils 20240905")
    'iputils'
    """
    for signature, name in _SIGNATURES:
        if signature in said:
            return name
    raise UnparsableOutput("ping -V", 1, said.partition("\n")[0])


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
    Exit code 1 (nobody replied) counts as success: the verdict is taken from the counts. Only iputils
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
    words = ["-c", str(count), "-i", f"{interval:g}"]
    words += ["-W", f"{wait:g}" if by == "iputils" else str(math.ceil(wait))]
    words += _bound(source)
    words += ["-s", str(size)] if size is not None else []
    words += ["-t", str(ttl)] if ttl is not None else []
    words += ["-M", "do"] if whole else []
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
    words = ["-c", str(count), "-i", f"{interval:g}"]
    if isinstance(destination, IPv6Address):
        # ping6 has a bound on its whole life and none on the last reply.
        words += ["-w", str(math.ceil(count * interval + wait))]
        words += [f"--hoplimit={ttl}"] if ttl is not None else []
    else:
        words += ["-W", str(math.ceil(wait))]
        words += [f"--ttl={ttl}"] if ttl is not None else []
    words += ["-s", str(size)] if size is not None else []
    program = "ping6" if isinstance(destination, IPv6Address) else "ping"
    return Command((program, *words, str(destination)), ok=(0, 1))


def _bound(source: Address | str | None) -> list[str]:
    if source is None:
        return []
    return ["-I", interface_name(source) if isinstance(source, str) else str(source)]


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
