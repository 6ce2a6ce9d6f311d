"""`sandbox`: new user, mount, network and process namespaces on this kernel (unshare(1))."""

import os

from ipvkit.targets.agent import Target
from ipvkit.targets.ipvlan import require_ipvlan
from ipvkit.targets.process import Process, in_foreground, memory_file
from ipvkit.targets.programs import require

_UNSHARE = "unshare --user --map-root-user --net --mount --pid --fork --kill-child=KILL".split()

# /proc of the new process namespace, so that ps(1) works; a container with a masked /proc refuses it.
_PROLOGUE = """\
mount -t proc proc /proc 2>/dev/null
mount -t tmpfs tmpfs /run || exit 3
export TMPDIR=/run
ip link set lo up
"""


class Sandbox(Target):
    """Runs bash as root of a user namespace; everything in it ends with its last process."""

    kind = "sandbox"
    ephemeral = True
    cpus = len(os.sched_getaffinity(0))

    def check(self) -> None:
        """Raise MissingRequirement where this kernel has no ipvlan, or this user gets no namespaces."""
        require("unshare", "bash", "mount", "ip")
        require_ipvlan(*_UNSHARE)

    def start(self, script: str, _: object = None, mailbox: int | None = None) -> Process:
        """Start bash with `script` in new namespaces, with an empty /run and the loopback up."""
        with memory_file(f"{_PROLOGUE}{script}".encode()) as file:
            files = [file] if mailbox is None else [file, mailbox]
            return Process(_bash(*files), passed=files)

    def interact(self, script: str) -> int:
        """Run bash with `script` in new namespaces, on this process's terminal, until it ends."""
        with memory_file(f"{_PROLOGUE}{script}".encode()) as file:
            return in_foreground(_bash(file), file)


def _bash(*files: int) -> list[str]:
    return [*_UNSHARE, "bash", *(f"/proc/self/fd/{file}" for file in files)]
