"""iproute2's ``ss``: ss(8)."""

from ipvkit.core.command import Command
from ipvkit.core.values import Address


def listening(address: Address, port: int) -> Command:
    """Return the command that prints a line where a TCP server listens on `address` and `port`, else none.

    >>> from ipaddress import ip_address
    >>> str(listening(ip_address("2001:db8::1"), 8080))
    "ss -Htln src '[2001:db8::1]:8080'"
    """
    host = f"[{address}]" if address.version == 6 else str(address)
    return Command(("ss", "-Htln", "src", f"{host}:{port}"))
