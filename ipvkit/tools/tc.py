"""iproute2's ``tc``: tc(8), tc-flower(8), tc-matchall(8). Filters at the port of a switch."""

from ipvkit.core.command import Command
from ipvkit.core.values import Address, interface_name


def qdisc(verb: str, dev: str) -> Command:
    """Return ``tc qdisc add|del dev DEV clsact``: filters are added to it, and are deleted with it."""
    return Command(("tc", "qdisc", verb, "dev", interface_name(dev), "clsact"))


def filter_pass(dev: str, source: Address) -> Command:
    """Return the command that accepts packets from an IPv4 address.

    >>> from ipaddress import ip_address
    >>> str(filter_pass("host", ip_address("192.0.2.1")))
    'tc filter add dev host ingress protocol ip pref 1 flower src_ip 192.0.2.1 action pass'
    """
    return _filter(dev, "1", "flower", "src_ip", str(source), "action", "pass")


def filter_drop(dev: str) -> Command:
    """Return the command that drops all other IPv4; ARP passes."""
    return _filter(dev, "2", "matchall", "action", "drop")


def _filter(dev: str, pref: str, *words: str) -> Command:
    place = ("tc", "filter", "add", "dev", interface_name(dev), "ingress", "protocol", "ip", "pref", pref)
    return Command((*place, *words))
