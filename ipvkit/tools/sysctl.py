"""procps' ``sysctl``: sysctl(8)."""

import re
from collections.abc import Mapping, Sequence

from ipvkit.core.command import Command
from ipvkit.core.errors import UnparsableOutput
from ipvkit.core.values import sysctl_key


def set_values(values: Mapping[str, int]) -> Command:
    """Return the command that writes each of `values`.

    >>> str(set_values({"net.ipv4.ip_nonlocal_bind": 1}))
    'sysctl -w net.ipv4.ip_nonlocal_bind=1'
    """
    return Command(("sysctl", "-w", *(f"{sysctl_key(key)}={value:d}" for key, value in values.items())))


def get_values(keys: Sequence[str]) -> Command:
    """Return the command for `parse_values`."""
    return Command(("sysctl", *map(sysctl_key, keys)))


def parse_values(stdout: str) -> dict[str, int]:
    r"""Return the integers that sysctl printed, by their keys; raise UnparsableOutput for another value.

    >>> parse_values("net.ipv4.ip_forward = 0\n")
    {'net.ipv4.ip_forward': 0}
    """
    values = {}
    for number, line in enumerate(stdout.splitlines(), 1):
        key, equals, value = line.partition(" = ")
        if not equals or not re.fullmatch("-?[0-9]{1,20}", value):
            raise UnparsableOutput("sysctl", number, line)
        values[key] = int(value)
    return values


def get_value(key: str) -> Command:
    """Return the command that prints the value of `key` and nothing else."""
    return Command(("sysctl", "-n", sysctl_key(key)))


def interface_key(family: str, group: str, dev: str, name: str) -> str:
    """Return a sysctl of one interface; a dot in its name is written as a slash (sysctl(8)).

    >>> interface_key("ipv4", "conf", "eth0.100", "forwarding")
    'net.ipv4.conf.eth0/100.forwarding'
    """
    return f"net.{family}.{group}.{dev.replace('.', '/')}.{name}"
