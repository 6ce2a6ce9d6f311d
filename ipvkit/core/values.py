"""Values that become words of a command, checked where they enter.

A name that is accepted here is one word to every tool and to every shell, never an option, a path or
shell syntax.
"""

import ipaddress
import re
from typing import Literal

from ipvkit.core.errors import UsageError

Mode = Literal["l2", "l3", "l3s"]
Flag = Literal["bridge", "private", "vepa"]
"""The kernel's words for ipvlan (Documentation/networking/ipvlan.rst)."""

BondMode = Literal["active-backup", "802.3ad"]
"""The kernel's words for a bond (Documentation/networking/bonding.rst): one port at a time, and LACP."""

TargetKind = Literal["auto", "local", "sandbox", "uml"]
RunTargetKind = Literal["auto", "local", "sandbox", "uml", "ansible"]
"""Where commands run."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
InterfaceAddress = ipaddress.IPv4Interface | ipaddress.IPv6Interface
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")
_HOST_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,252}[A-Za-z0-9_.])?")
_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s|m|h)?")
_SYSCTL = re.compile(r"[a-z0-9_]+([./][A-Za-z0-9_+-]+)+")
_PREFIXLEN = re.compile(r"[1-9][0-9]{0,2}")
_MAC_ADDRESS = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_INDEX = re.compile(r"if[+-]?[0-9].*")
_NUMBER = r"(?:0[xX][0-9A-Fa-f]*|[0-9]+)"
_PROCESS = re.compile(_NUMBER)
_NUMBERS = re.compile(rf"{_NUMBER}(?:\.{_NUMBER})*\.?")
IFNAMSIZ, ALTIFNAMSIZ = 16, 128
"""The kernel's sizes of a link's name and of its alternative names, in bytes, with the one that ends them."""

_ALLOWED = "use ASCII letters, digits and _ . + -; the first character cannot be . + or -"


def interface_name(text: str) -> str:
    """Return `text` if the kernel and every tool accept it as an interface name, 1 to 15 bytes.

    The length is the kernel's (include/uapi/linux/if.h); the characters are stricter. A name like
    if2 is refused: ip and tc read it as an index where no link has that name (iproute2's lib/ll_map.c).

    >>> interface_name("eth0.100")
    'eth0.100'
    """
    return _checked(text, "interface", IFNAMSIZ - 1, _INDEX, "the index of a link")


def alternative_name(text: str) -> str:
    """Return `text` if it can be an alternative name of a link, 1 to 127 bytes; a name is one too.

    The length is the kernel's, which takes other characters too; ip finds a link by any of its names.
    """
    return _checked(text, "alternative interface", ALTIFNAMSIZ - 1, _INDEX, "the index of a link")


def netns_name(text: str) -> str:
    """Return `text` if it can name a network namespace: a file in /run/netns, 1 to 255 bytes.

    A number is refused: ip reads it as a process ID where no namespace has that name (ip-link(8)).
    """
    return _checked(text, "network namespace", 255, _PROCESS, "a process ID")


def _checked(text: str, what: str, longest: int, number: re.Pattern[str], read_as: str) -> str:
    if not _NAME.fullmatch(text):
        raise UsageError(f"invalid {what} name {text!r}", _ALLOWED)
    if len(text) > longest:
        more = "; an alternative name may have 127" if what == "interface" else ""
        hint = f"it has {len(text)} bytes; {longest} at most{more}"
        raise UsageError(f"invalid {what} name {text!r}", hint)
    if number.fullmatch(text):
        raise UsageError(f"invalid {what} name {text!r}", f"ip reads it as {read_as}")
    return text


def sysctl_key(text: str) -> str:
    """Return `text` if it is a sysctl's name, such as ``net.ipv4.ip_nonlocal_bind``."""
    if not _SYSCTL.fullmatch(text):
        raise UsageError(f"invalid sysctl name {text!r}")
    return text


def mac_address(text: str) -> str:
    """Return `text` if it is a MAC address, such as ``02:00:00:00:00:01``."""
    if not _MAC_ADDRESS.fullmatch(text):
        raise UsageError(f"invalid MAC address {text!r}", "write it like 02:00:00:00:00:01")
    return text


def is_link_local(address: Address | InterfaceAddress) -> bool:
    """Return whether it is an IPv6 address of one link only, which no other host is known by."""
    return address.version == 6 and address.is_link_local


def address(text: str, *, link_local: bool = False) -> Address:
    """Return the unicast address that `text` writes; a `link_local` one of IPv6 only where that is allowed.

    >>> address("192.168.104.254")
    IPv4Address('192.168.104.254')
    """
    value = any_address(text)
    if isinstance(value, ipaddress.IPv6Address) and value.scope_id:
        raise UsageError(f"{text} has a zone", f"leave %{value.scope_id} out")
    if is_link_local(value) and not link_local:
        raise UsageError(f"{text} is a link-local address", "use a global or a unique local one")
    mapped = isinstance(value, ipaddress.IPv6Address) and value.ipv4_mapped
    if mapped or value.is_unspecified or value.is_multicast or value.is_loopback or value.is_reserved:
        raise UsageError(f"{text} is not a unicast address", "use a unicast address of the subnet")
    return value


def interface_address(text: str, *, link_local: bool = False) -> InterfaceAddress:
    """Return the address with its prefix length that `text` writes, one that `address` takes.

    >>> interface_address("192.168.104.211/24").network
    IPv4Network('192.168.104.0/24')
    """
    host, slash, prefixlen = text.partition("/")
    own = address(host, link_local=link_local)
    if not slash:
        raise UsageError(f"{text!r} has no prefix length", _with_prefixlen(own))
    if not _PREFIXLEN.fullmatch(prefixlen) or int(prefixlen) > own.max_prefixlen:
        raise UsageError(f"{text!r} has no prefix length from 1 to {own.max_prefixlen}", _with_prefixlen(own))
    value = ipaddress.ip_interface((own, int(prefixlen)))
    network = value.network
    special = (network.network_address, *((network.broadcast_address,) if value.version == 4 else ()))
    if network.num_addresses > 2 and own in special:
        what = f"{text} is the network or the broadcast address of its subnet"
        raise UsageError(what, f"use another address of {network}")
    return value


def _with_prefixlen(own: Address) -> str:
    return f"write it like {own}/{24 if own.version == 4 else 64}"


def any_address(text: str) -> Address:
    """Return the IPv4 or IPv6 address that `text` writes, of whatever use.

    >>> any_address("fe80::1%eth0")
    IPv6Address('fe80::1%eth0')
    """
    try:
        value = ipaddress.ip_address(text)
    except ValueError:
        raise UsageError(f"invalid address {text!r}", "write it like 192.0.2.1 or 2001:db8::1") from None
    if isinstance(value, ipaddress.IPv6Address) and value.scope_id is not None:
        interface_name(value.scope_id)
    return value


def any_interface_address(text: str) -> InterfaceAddress:
    """Return the IPv4 or IPv6 address with its prefix length that `text` writes.

    >>> any_interface_address("2001:db8::1/64").network
    IPv6Network('2001:db8::/64')
    """
    host, slash, prefixlen = text.partition("/")
    found = any_address(host)
    if "%" in host:
        raise UsageError(f"the address {text!r} names a link", "remove the % and the name behind it")
    if not slash or not prefixlen.isascii() or not prefixlen.isdigit():
        raise UsageError(f"{text!r} has no prefix length", _with_prefixlen(found))
    try:
        return ipaddress.ip_interface(text)
    except ValueError:
        raise UsageError(f"{text!r} has no prefix length from 0 to {found.max_prefixlen}") from None


def network(text: str) -> Network:
    """Return the network that `text` writes.

    >>> network("192.0.2.0/24")
    IPv4Network('192.0.2.0/24')
    """
    found = route_destination(text)
    if found is None:
        raise UsageError("`default` is not a network", "write one like 192.0.2.0/24")
    return found


def route_destination(text: str) -> Network | None:
    """Return the network that `text` writes, or None for ``default``.

    >>> route_destination("192.0.2.0/24")
    IPv4Network('192.0.2.0/24')
    """
    if text == "default":
        return None
    host = any_address(text.partition("/")[0])
    if "%" in text:
        raise UsageError(f"the network {text!r} names a link", "remove the % and the name behind it")
    try:
        found = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise UsageError(f"invalid network {text!r}", "write it like 192.0.2.0/24, or default") from None
    if host != found.network_address:
        raise UsageError(f"invalid network {text!r}: host bits are set", f"write {found}")
    return found


def destination(text: str) -> Address | str:
    """Return what can be pinged: the address that `text` writes, or `text` if it is a host's name.

    >>> destination("gateway.example")
    'gateway.example'
    """
    try:
        return any_address(text)
    except UsageError:
        if _HOST_NAME.fullmatch(text) and not _NUMBERS.fullmatch(text):
            return text
        raise UsageError(f"invalid address or host name {text!r}") from None


def duration(text: str) -> float:
    """Return the time that `text` writes, in seconds; a number alone is seconds.

    >>> duration("500ms"), duration("3"), duration("1.5m")
    (0.5, 3.0, 90.0)
    """
    found = _DURATION.fullmatch(text)
    if found is None:
        raise UsageError(f"invalid duration {text!r}", "write it like 3s, 500ms or 2m")
    return float(found[1]) * {"ms": 0.001, "s": 1, "m": 60, "h": 3600, None: 1}[found[2]]
