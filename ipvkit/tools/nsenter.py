"""util-linux' ``nsenter``: nsenter(1)."""

from dataclasses import replace

from ipvkit.core.command import Command


def in_net(path: str, command: Command) -> Command:
    """Return `command` run in the network namespace of the file `path`, which may have no name.

    >>> str(in_net("/proc/811/ns/net", Command(("ip", "link", "show"))))
    'nsenter --net=/proc/811/ns/net ip link show'
    """
    return replace(command, argv=("nsenter", f"--net={path}", *command.argv))
