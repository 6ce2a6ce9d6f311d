"""The network interfaces of this network namespace, as any user may see them."""

import socket

from ipvkit.core.errors import UsageError


def require_interface(name: str) -> None:
    """Raise UsageError with the interfaces that there are, unless `name` is one of them."""
    there = sorted({each for _, each in socket.if_nameindex()} - {"lo"})
    if name not in (*there, "lo"):
        raise UsageError(f"no such interface: {name}", f"choose from {', '.join(there)}")
