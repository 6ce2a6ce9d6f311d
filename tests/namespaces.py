"""Network namespaces on this kernel, for tests that need no ipvlan."""

import os

AS_ROOT = ("unshare",) if os.geteuid() == 0 else ("unshare", "--user", "--map-root-user")
"""What makes this user root, of new namespaces that are named after it."""

IN_NAMESPACES_OF_ITS_OWN = ("unshare", "--user", "--map-root-user", "--net", "--mount")


def until_elsewhere(process: str) -> str:
    """Return a line of bash that waits until a process that was started is in another network namespace.

    While it starts its program the link cannot be read. What it is compared with is quoted, or bash would
    take it for a pattern, with the inode as a set of characters.
    """
    elsewhere = f'of=$(readlink /proc/{process}/ns/net) && [[ $of != "$(readlink /proc/self/ns/net)" ]]'
    return f"until {elsewhere}; do sleep 0.01; done\n"
