"""util-linux' ``nsenter``: nsenter(1)."""

from dataclasses import replace

from ipvkit.core.command import Command


def in_net_of(pid: int, command: Command) -> Command:
    """Return `command` run in the network namespace of the process `pid`, which may have no name.

    >>> str(in_net_of(811, Command(("ip", "link", "show"))))
    'nsenter --net=/proc/811/ns/net ip link show'
    """
    return replace(command, argv=("nsenter", f"--net=/proc/{pid:d}/ns/net", *command.argv))
