"""The argv of ``fping``: fping(8)."""

from collections.abc import Sequence

from ipvkit.core.command import Command
from ipvkit.core.values import Address


def fping(
    destinations: Sequence[Address], *, count: int, interval: float, wait: float, size: int | None = None
) -> Command:
    """Return the command that pings all `destinations` concurrently, `count` times each.

    A host is pinged every `interval` seconds, and each reply waited for `wait` seconds. `size` bytes of
    payload are sent unfragmented. Its counts are on stderr.

    >>> from ipaddress import ip_address
    >>> str(fping([ip_address("192.0.2.1"), ip_address("2001:db8::1")], count=6, interval=0.2, wait=0.5))
    'fping -q -c 6 -p 200 -t 500 -i 1 192.0.2.1 2001:db8::1'
    """
    words = ["-q", "-c", str(count), "-p", _milliseconds(interval), "-t", _milliseconds(wait)]
    # The least that an ordinary user may ask for, in milliseconds, between requests to different hosts.
    words += ["-i", "1"]
    words += ["-b", str(size), "-M"] if size is not None else []
    return Command(("fping", *words, *map(str, destinations)), ok=(0, 1))


def _milliseconds(seconds: float) -> str:
    return str(round(seconds * 1000))
