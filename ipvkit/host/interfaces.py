"""The network interfaces of this network namespace, as any user may see them."""

import socket
from collections.abc import Iterable

from ipvkit.core.errors import UsageError


def require_interface(name: str) -> None:
    """Raise UsageError with the interfaces that there are, unless `name` is one of them."""
    there = [each for _, each in socket.if_nameindex()]
    if name not in there:
        raise UsageError(f"no such interface: {name}", others(there))


def others(there: Iterable[str]) -> str:
    """Return the hint with the names of the interfaces that there are, for a name that does not exist.

    >>> others(["lo", "eth1", "eth0"]), others(["lo"])
    ('choose from eth0, eth1', 'lo is the only interface')
    """
    names = ", ".join(sorted(set(there) - {"lo"}))
    return f"choose from {names}" if names else "lo is the only interface"
