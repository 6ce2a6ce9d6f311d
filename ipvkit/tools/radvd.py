"""``radvd``, which sends router advertisements, and what a host makes of them: radvd(8), radvd.conf(5)."""

from collections.abc import Mapping, Sequence

from ipvkit.core.command import Command
from ipvkit.core.values import Address, InterfaceAddress, Network, interface_name

_MOST_S = 60
"""SLAAC takes up to 5 s: DAD of two addresses 2 s each, and a solicitation is delayed by up to 1 s."""


def advertise(links: Mapping[str, tuple[Address, Sequence[Network]]]) -> Command:
    """Return the command that advertises, in the background, each link's prefixes from its address.

    >>> from ipaddress import ip_address, ip_network
    >>> print(advertise({"eth0": (ip_address("fe80::1"), [ip_network("2001:db8::/64")])}))
    radvd -C /proc/self/fd/0 <<'END'
    interface eth0 { AdvSendAdvert on; AdvRASrcAddress { fe80::1; }; prefix 2001:db8::/64 { }; };
    END
    """
    lines = (
        f"interface {interface_name(dev)} {{ AdvSendAdvert on; AdvRASrcAddress {{ {source}; }};"
        f"{''.join(f' prefix {prefix} {{ }};' for prefix in prefixes)} }};"
        for dev, (source, prefixes) in links.items()
    )
    return Command(("radvd", "-C", "/proc/self/fd/0"), stdin=tuple(lines))


def wait_for_address(address: InterfaceAddress, dev: str) -> Command:
    """Return the command that waits until `dev` has an advertised address, which DAD has checked.

    The default route is there by then: of an advertisement it is read first (ndisc_router_discovery()).
    """
    there = f"ip addr show dev {interface_name(dev)} to {address.ip} -tentative | grep -q ."
    return Command(("timeout", str(_MOST_S), "sh", "-c", f"until {there}; do sleep 0.3; done"))
