"""Network namespaces on this kernel, for tests that need no ipvlan."""

import os
import subprocess
from functools import cache

import pytest

AS_ROOT = ("unshare",) if os.geteuid() == 0 else ("unshare", "--user", "--map-root-user")
"""What makes this user root, of new namespaces that are named after it."""


def until_elsewhere(process: str) -> str:
    """Return a line of bash that waits until a process that was started is in another network namespace.

    While it starts its program the link cannot be read. What it is compared with is quoted, or bash would
    take it for a pattern, with the inode as a set of characters.
    """
    elsewhere = f'of=$(readlink /proc/{process}/ns/net) && [[ $of != "$(readlink /proc/self/ns/net)" ]]'
    return f"until {elsewhere}; do sleep 0.01; done\n"


@cache
def can_have_macvlan() -> bool:
    """Return whether a macvlan link can be made in new namespaces, and /run be another folder there."""
    links = "ip link add eth9 type veth peer name eth8 && ip link add eth7 link eth9 type macvlan"
    lines = f"mount -t tmpfs tmpfs /run && {links}"
    words = [*AS_ROOT, "--net", "--mount", "bash", "-c", lines]
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


needs_macvlan = pytest.mark.skipif(not can_have_macvlan(), reason="no macvlan in new namespaces here")
