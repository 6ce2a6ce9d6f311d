"""Where commands run: `local`, `sandbox`, `uml`.

`local` starts each command by itself. The others take a whole plan as one bash payload and send back
what it prints. What happens is put into an inbox, a queue that the engine reads.
"""

import os
import shutil
import subprocess
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, Protocol, runtime_checkable

from ipvkit.command import Command, Completed
from ipvkit.errors import MissingRequirement

Inbox = SimpleQueue[Any]
"""Holds `Ended`, `Output` and whatever else the engine puts there itself."""

SEARCH_PATH = ("/usr/local/sbin", "/usr/sbin", "/sbin")
"""Where administrators' tools are; an ordinary user's PATH often lacks these."""

PACKAGES = {
    "ip": "iproute2",
    "ping": "iputils-ping",
    "arping": "iputils-arping",
    "sysctl": "procps",
    "tc": "iproute2",
    "sleep": "coreutils",
    "modprobe": "kmod",
    "linux.uml": "user-mode-linux",
    "unshare": "util-linux",
    "setpriv": "util-linux",
    "taskset": "util-linux",
    "timeout": "coreutils",
    "mount": "mount",
    "bash": "bash",
}
"""The Debian package of each program."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A command of `local` has ended; `key` is what it was started with."""

    key: str
    completed: Completed


@dataclass(frozen=True, slots=True)
class Output:
    """A piece of what a payload printed; None when it has ended."""

    chunk: bytes | None


class Running(Protocol):
    """Something that was started and can be stopped."""

    def stop(self) -> None:
        """End it and all that it started, now."""


class CommandTarget(Protocol):
    """A target that runs commands one by one."""

    kind: str

    def start(self, key: str, command: Command, inbox: Inbox) -> Running:
        """Start `command`; `Ended` with `key` will be in the inbox."""


class Payload(Running, Protocol):
    """A payload that runs in a target."""

    def complaint(self) -> str:
        """Return what was said on stderr so far, for an error message."""


@runtime_checkable
class PayloadTarget(Protocol):
    """A target that runs a whole plan as bash."""

    kind: str
    work: str

    def start(self, payload: str, timeout_s: float, inbox: Inbox) -> Payload:
        """Start `payload`; `Output` will be in the inbox, the last with None."""


class SessionTarget(PayloadTarget, Protocol):
    """A target in which a person can have a shell."""

    def interact(self, payload: str) -> int:
        """Run `payload` on this process's terminal until it ends; return an exit code."""


def environment() -> dict[str, str]:
    """Return the environment of commands: output in English, administrators' tools found."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *SEARCH_PATH])
    return {**os.environ, "LC_ALL": "C", "PATH": path}


def find_program(name: str) -> str | None:
    """Return the path of a program, looked for where administrators' tools are too."""
    return shutil.which(name, path=environment()["PATH"])


def require(*programs: str) -> None:
    """Raise MissingRequirement, with the line that mends it, if one of `programs` is not installed."""
    absent = [name for name in programs if find_program(name) is None]
    if absent:
        raise missing(*absent)


def missing(*programs: str) -> MissingRequirement:
    """Return the error that says that `programs` are not installed."""
    packages = sorted({PACKAGES.get(name, name) for name in programs})
    verb = "is" if len(programs) == 1 else "are"
    return MissingRequirement(
        f"{', '.join(programs)} {verb} not installed", f"apt install {' '.join(packages)}"
    )


def require_ipvlan(*wrapper: str) -> None:
    """Raise MissingRequirement if the kernel has no ipvlan, asked through the words `wrapper`.

    A link without a parent is asked for: the kernel refuses it in other words where it knows ipvlan.
    """
    require("ip")
    probe = [*wrapper, str(find_program("ip")), "link", "add", "ipvkit-probe", "type", "ipvlan"]
    try:
        said = subprocess.run(
            probe,
            env=environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        ).stderr.strip()
    except subprocess.TimeoutExpired:
        raise MissingRequirement("the kernel did not tell within 10 s whether it has ipvlan") from None
    if "Unknown device type" in said:
        raise MissingRequirement("this kernel has no ipvlan", "sudo modprobe ipvlan, or --target uml")
    if said.startswith("unshare:"):
        raise MissingRequirement(f"this machine gives no user namespaces ({said})", "see user_namespaces(7)")
