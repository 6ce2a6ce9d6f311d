"""util-linux' ``nsenter``: nsenter(1)."""

import shlex
from collections.abc import Sequence
from dataclasses import replace

from ipvkit.core.command import Command

_STDIN = "STDIN"
"""The last line of a here-document in another one."""


def in_net(path: str, command: Command) -> Command:
    """Return `command` run in the network namespace of the file `path`, which may have no name.

    >>> str(in_net("/proc/811/ns/net", Command(("ip", "link", "show"))))
    'nsenter --net=/proc/811/ns/net ip link show'
    """
    return replace(command, argv=("nsenter", f"--net={path}", *command.argv))


def in_each(paths: Sequence[str], command: Command) -> Command:
    """Return the command that runs `command` in the network namespace of each of `paths`, one after another.

    One sh starts them in less time than bash starts each. `ip.by_netns` takes the output apart.

    >>> print(in_each(["/run/netns/a", "/proc/811/ns/net"], Command(("ip", "-batch", "-"), stdin=("link",))))
    sh -s /run/netns/a /proc/811/ns/net <<'END'
    for netns; do
    echo "netns: $netns"
    nsenter --net="$netns" ip -batch - <<'STDIN'
    link
    STDIN
    done
    END
    """
    typed = shlex.join(command.argv)
    body = (f"nsenter --net=\"$netns\" {typed} <<'{_STDIN}'", *command.stdin, _STDIN)
    script = ("for netns; do", 'echo "netns: $netns"', *body, "done")
    return Command(("sh", "-s", *paths), stdin=script)
