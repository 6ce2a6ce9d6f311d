"""``socat``, a TCP client and server: socat(1); xio-listen.c and _xioopen_connect() have its messages."""

import re
from dataclasses import dataclass

from ipvkit.core.command import Command
from ipvkit.core.errors import UnparsableOutput
from ipvkit.core.values import Address

__all__ = ["Connection", "connect", "listen", "parse_connection"]

REFUSED = "Connection refused"
"""What connect(2) reports where a host answered that nothing listens there."""

CONNECTED, ERRORS = "successfully connected", r"connect(\([^)]*\)|ing to AF=[0-9]+ [^ ]+): "
"""What `socat -d -d` prints of a connection, and (a regular expression) before the error of a failed one."""

_LINE = r"[0-9/]+ [0-9:.]+ socat\[[0-9]+\] "
_CONNECTED = re.compile(rf"^{_LINE}N {CONNECTED} ", re.MULTILINE)
_FAILED = re.compile(rf"^{_LINE}[EW] {ERRORS}([A-Z][A-Za-z ]+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Connection:
    """The end of an attempt to connect: established, or the `error` as the system words it."""

    error: str | None = None


def connect(address: Address, port: int, *, timeout_s: int) -> Command:
    """Return the command that connects, ends the connection, and prints both; its exit code is 0 or 1.

    >>> from ipaddress import ip_address
    >>> str(connect(ip_address("192.0.2.1"), 8080, timeout_s=5))
    'socat -d -d /dev/null TCP:192.0.2.1:8080,connect-timeout=5'
    """
    # Not -u: so it waits for the server to end the connection, which then has accepted it.
    to = f"TCP:{_host(address)}:{port},connect-timeout={timeout_s}"
    return Command(("socat", "-d", "-d", "/dev/null", to), ok=(0, 1))


def listen(address: Address, port: int, *, timeout_s: int) -> Command:
    """Return the command that accepts connections and ends each, until none came for `timeout_s` seconds.

    >>> from ipaddress import ip_address
    >>> str(listen(ip_address("192.0.2.1"), 8080, timeout_s=30))
    'socat -u /dev/null TCP4-LISTEN:8080,bind=192.0.2.1,reuseaddr,fork,accept-timeout=30'
    """
    options = f"bind={_host(address)},reuseaddr,fork,accept-timeout={timeout_s}"
    return Command(("socat", "-u", "/dev/null", f"TCP{address.version}-LISTEN:{port},{options}"))


def parse_connection(text: str) -> Connection:
    r"""Return what `connect` printed, on stderr; raise UnparsableOutput where that shows no result.

    >>> parse_connection("2026/11/28 04:55:14 socat[9] W connect(6, AF=2 192.0.2.1:80, 16): Host is down\n")
    Connection(error='Host is down')
    """
    if _CONNECTED.search(text):
        return Connection()
    if (failed := _FAILED.search(text)) is not None:
        return Connection(failed[2])
    lines = text.rstrip("\n").split("\n")
    raise UnparsableOutput("socat", len(lines), lines[-1])


def _host(address: Address) -> str:
    return f"[{address}]" if address.version == 6 else str(address)
