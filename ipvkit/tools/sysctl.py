"""procps' ``sysctl``: sysctl(8)."""

from collections.abc import Mapping

from ipvkit.command import Command
from ipvkit.values import sysctl_key


def set_values(values: Mapping[str, int]) -> Command:
    """Return the command that writes each of `values`.

    >>> str(set_values({"net.ipv4.ip_nonlocal_bind": 1}))
    'sysctl -w net.ipv4.ip_nonlocal_bind=1'
    """
    return Command(("sysctl", "-w", *(f"{sysctl_key(key)}={value:d}" for key, value in values.items())))


def get_value(key: str) -> Command:
    """Return the command that prints the value of `key` and nothing else."""
    return Command(("sysctl", "-n", sysctl_key(key)))


def interface_key(family: str, group: str, dev: str, name: str) -> str:
    """Return a sysctl of one interface; a dot in its name is written as a slash (sysctl(8)).

    >>> interface_key("ipv4", "conf", "eth0.100", "forwarding")
    'net.ipv4.conf.eth0/100.forwarding'
    """
    return f"net.{family}.{group}.{dev.replace('.', '/')}.{name}"
