"""The network interfaces of this network namespace, as any user may see them."""

import socket
from collections.abc import Iterable, Sequence
from contextlib import suppress

from ipvkit.core.errors import UsageError
from ipvkit.core.values import IFNAMSIZ, alternative_name, interface_name
from ipvkit.tools import ip


def require_interface(name: str) -> None:
    """Raise UsageError with the interfaces that there are, unless `name` is one of them."""
    there = [each for _, each in socket.if_nameindex()]
    if name not in there:
        raise UsageError(f"no such interface: {name}", others(there))


def link_called(name: str) -> str:
    """Return the name of the link that is called `name`, also as an alternative; `name` where there is none.

    Sysctls, arping and the output of ip know no alternative names.
    """
    if len(name) >= IFNAMSIZ:
        # It takes time to load, and few names are that long.
        from ipvkit.targets.process import output_of

        alternative_name(name)
        links = ip.parse_links(output_of(ip.link_show().argv, bound_s=20.0).stdout)
        found = next((link.ifname for link in links if name in link.altnames), None)
        if found is None:
            raise UsageError(f"no such interface: {name}", others(link.ifname for link in links))
        return found
    # The kernel looks it up among both (netdev_name_node_lookup()).
    with suppress(OSError):
        return socket.if_indextoname(socket.if_nametoindex(interface_name(name)))
    return name


def link_instead(name: str, links: Sequence[ip.Link]) -> str:
    """Return the hint for a `name` that is none of `links`, but perhaps an alternative one of one."""
    called = next((link.ifname for link in links if name in link.altnames), None)
    if called is not None:
        return f"{name} is an alternative name of {called}: use {called}"
    return others(link.ifname for link in links)


def others(there: Iterable[str]) -> str:
    """Return the hint with the names of the interfaces that there are, for a name that does not exist.

    >>> others(["lo", "eth1", "eth0"]), others(["lo"])
    ('choose from eth0, eth1', 'lo is the only interface')
    """
    names = ", ".join(sorted(set(there) - {"lo"}))
    return f"choose from {names}" if names else "lo is the only interface"
