"""`local`: this machine's own network, as it is."""

import os
import resource
import signal

from ipvkit.core.errors import MissingRequirement
from ipvkit.targets.agent import Target
from ipvkit.targets.ipvlan import require_ipvlan
from ipvkit.targets.process import Process, memory_file


class Local(Target):
    """Runs bash on this machine, without a terminal; it and all that it starts inherit the open file `lock`.

    When ipvkit has ended, the agent gets TERM and kills all that it has started.
    """

    kind = "local"
    ephemeral = False
    cpus = len(os.sched_getaffinity(0))

    def __init__(self, lock: int | None = None) -> None:
        self._lock = () if lock is None else (lock,)
        self._files: list[tuple[int, int]] = []

    def check(self, *, ipvlan: bool = True) -> None:
        """Raise MissingRequirement where this user cannot change the network, or the kernel has no ipvlan.

        Without `ipvlan` the kernel is not asked for it.
        """
        if os.geteuid() != 0:
            what = "only root can change the network of this machine"
            raise MissingRequirement(what, 'sudo "$(command -v ipvkit)" …')
        if ipvlan:
            require_ipvlan()

    def start(self, script: str, _: object = None, mailbox: int | None = None) -> Process:
        """Start bash with `script` in a separate session."""
        with memory_file(script.encode()) as file:
            files = [file] if mailbox is None else [file, mailbox]
            return Process(
                ["bash", *(f"/proc/self/fd/{each}" for each in files)],
                passed=(*files, *self._lock),
                # Where bash puts the stdin of a command that is too long for a pipe.
                variables={"TMPDIR": "/dev/shm"} if os.access("/dev/shm", os.W_OK) else {},  # noqa: S108
                at_death=signal.SIGTERM,
            )

    def files(self, slot: int) -> tuple[str, str]:
        """Return the paths of two memory files of this process, which end with it, even if it is killed."""
        while len(self._files) <= slot:
            # Two files for each concurrent row can be more than the usual soft limit of 1,024.
            most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
            self._files.append((os.memfd_create("ipvkit-stdout"), os.memfd_create("ipvkit-stderr")))
        out, err = (f"/proc/{os.getpid()}/fd/{file}" for file in self._files[slot])
        return out, err

    def close_files(self) -> None:
        """Close those files: a process with many runs would hold them until its memory is collected."""
        while self._files:
            for file in self._files.pop():
                os.close(file)
