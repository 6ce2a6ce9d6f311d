"""Values that become words of a command, checked where they enter.

A name that passes here is one word to every tool and to every shell: it is no option, no path and
no shell syntax.
"""

import re
from ipaddress import IPv4Address, IPv4Interface
from typing import Literal

from ipvkit.errors import UsageError

Mode = Literal["l2", "l3", "l3s"]
Flag = Literal["bridge", "private", "vepa"]
"""The kernel's words for ipvlan (Documentation/networking/ipvlan.rst)."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")
_SYSCTL = re.compile(r"[a-z0-9_]+([./][A-Za-z0-9_+-]+)+")
_PREFIXLEN = re.compile(r"[1-9]|[12][0-9]|3[0-2]")
_ALLOWED = "letters, digits and _ . + - are allowed, and the first is none of . + -"


def interface_name(text: str) -> str:
    """Return `text` if the kernel and every tool take it as an interface's name, 1 to 15 bytes.

    The length is the kernel's (IFNAMSIZ, include/uapi/linux/if.h); the letters are stricter.

    >>> interface_name("eth0.100")
    'eth0.100'
    """
    return _checked(text, "interface", 15)


def netns_name(text: str) -> str:
    """Return `text` if it can name a network namespace: a file in /run/netns, 1 to 255 bytes."""
    return _checked(text, "network namespace", 255)


def _checked(text: str, what: str, longest: int) -> str:
    if not _NAME.fullmatch(text):
        raise UsageError(f"{text!r} is no {what} name", _ALLOWED)
    if len(text) > longest:
        raise UsageError(f"{text!r} is no {what} name", f"it has {len(text)} bytes; {longest} at most")
    return text


def sysctl_key(text: str) -> str:
    """Return `text` if it is a sysctl's name, such as ``net.ipv4.ip_nonlocal_bind``."""
    if not _SYSCTL.fullmatch(text):
        raise UsageError(f"{text!r} is no sysctl name")
    return text


def address(text: str) -> IPv4Address:
    """Return the IPv4 address that `text` writes, one that a host can have.

    >>> address("192.168.104.254")
    IPv4Address('192.168.104.254')
    """
    try:
        value = IPv4Address(text)
    except ValueError:
        raise UsageError(f"{text!r} is no IPv4 address", "write it as in 192.168.104.254") from None
    if value.is_unspecified or value.is_multicast or value.is_loopback or value.is_reserved:
        raise UsageError(f"{text} is no address that a host can have", "take a unicast address of the subnet")
    return value


def interface_address(text: str) -> IPv4Interface:
    """Return the IPv4 address with its prefix length that `text` writes, one that a host can have.

    >>> interface_address("192.168.104.211/24").network
    IPv4Network('192.168.104.0/24')
    """
    host, slash, prefixlen = text.partition("/")
    if not slash:
        raise UsageError(f"{text!r} has no prefix length", f"write it as in {text or '192.0.2.1'}/24")
    if not _PREFIXLEN.fullmatch(prefixlen):
        raise UsageError(f"{text!r} has no prefix length from 1 to 32", f"write it as in {host}/24")
    value = IPv4Interface((address(host), int(prefixlen)))
    network = value.network
    if network.prefixlen < 31 and value.ip in (network.network_address, network.broadcast_address):
        raise UsageError(
            f"{text} is the subnet's own or its broadcast address, not a host's", f"take another of {network}"
        )
    return value
