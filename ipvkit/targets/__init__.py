"""Where commands run: `local`, `sandbox`, `uml`.

`local` starts each command by itself. The others take a whole plan as one bash payload and send back
what it prints. What happens is put into an inbox, a queue that the engine reads.
"""

import os
import shutil
import stat
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from ipvkit.core.command import Command, Completed
from ipvkit.core.errors import MissingRequirement
from ipvkit.targets.modules import ipvlan_hint

if TYPE_CHECKING:
    from ipvkit.plan.steps import Plan

Inbox = SimpleQueue[Any]
"""Holds `Ended`, `Output` and whatever else the engine puts there itself."""

SEARCH_PATH = ("/usr/local/sbin", "/usr/sbin", "/sbin")
"""Where administrators' tools are; an ordinary user's PATH often lacks these."""

PASSED_ON = ("HOME", "LOGNAME", "SHELL", "TERM", "USER")
"""What commands get of this process's environment beside PATH: much less than there is, as with sudo(8)."""

PACKAGES = {
    "ip": "iproute2",
    "ping": "iputils-ping",
    "fping": "fping",
    "arping": "iputils-arping",
    "sysctl": "procps",
    "tc": "iproute2",
    "sleep": "coreutils",
    "modprobe": "kmod",
    "linux.uml": "user-mode-linux",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "taskset": "util-linux",
    "timeout": "coreutils",
    "mount": "mount",
    "bash": "bash",
}
"""The Debian package of each program."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A command of `local` has ended; `key` is what it was started with.

    `completed` is None for one of a row that was never begun.
    """

    key: str
    completed: Completed | None


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


class Row(Running, Protocol):
    """Commands that are run one after another."""

    def begin_no_more(self) -> None:
        """Let the one that runs end, and begin no other."""


@runtime_checkable
class RowTarget(CommandTarget, Protocol):
    """A target that runs many commands by one shell too, which costs less for each."""

    def start_row(self, commands: Mapping[str, Command], inbox: Inbox) -> Row:
        """Start `commands`, one after another; `Ended` with the key of each will be in the inbox."""

    def start_side_by_side(self, commands: Mapping[str, Command], inbox: Inbox) -> Running:
        """Start `commands`, all at once; `Ended` with the key of each will be in the inbox."""


class Payload(Running, Protocol):
    """A payload that runs in a target."""

    def complaint(self) -> str:
        """Return what was said on stderr so far, for an error message."""


@runtime_checkable
class PayloadTarget(Protocol):
    """A target that runs a whole plan as bash."""

    kind: str
    work: str

    def start(self, payload: str, timeout_s: float, inbox: Inbox, plan: "Plan | None" = None) -> Payload:
        """Start `payload`, which does what is in `plan`, or anything; `Output` will be in the inbox.

        The last is one with None.
        """


class SessionTarget(PayloadTarget, Protocol):
    """A target in which a person can have a shell."""

    def interact(self, payload: str) -> int:
        """Run `payload` on this process's terminal until it ends; return an exit code."""


def environment() -> dict[str, str]:
    """Return the whole environment of commands: output in English, administrators' tools found.

    Of this process's own only `PASSED_ON` is in it. All else could change what a program loads or does
    (LD_PRELOAD, BASH_ENV, a function that a shell exported), or be a secret.
    """
    own = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    return {**own, "LC_ALL": "C", "PATH": _path()}


def _path() -> str:
    """Return where programs are looked for: root runs none from a folder that somebody else can write."""
    folders = (*os.environ.get("PATH", os.defpath).split(os.pathsep), *SEARCH_PATH)
    if 0 not in os.getresuid():
        return os.pathsep.join(folders)
    # An empty PATH would mean the working folder.
    return os.pathsep.join(roots_folders(folders)) or os.devnull


@cache
def roots_folders(folders: Sequence[str]) -> tuple[str, ...]:
    """Return the real paths of those absolute `folders` that root alone can write, each once.

    Nobody else may own the folder or one above it, or write in it; above it a sticky folder such as /tmp
    may be everybody's, since there only the owner of a folder can rename it.
    """
    found: dict[str, None] = {}
    for folder in folders:
        try:
            real = Path(folder).resolve(strict=True)
            states = [each.stat() for each in (real, *real.parents)]
        except (OSError, RuntimeError):
            continue
        # In a user namespace root is not known by its number; whoever owns / is above root anyway.
        owners = {0, states[-1].st_uid}
        above = all(state.st_mode & stat.S_ISVTX or not _others_write(state) for state in states[1:])
        closed = not _others_write(states[0]) and all(state.st_uid in owners for state in states)
        if Path(folder).is_absolute() and above and closed and os.pathsep not in str(real):
            found[str(real)] = None
    return tuple(found)


def _others_write(state: os.stat_result) -> bool:
    of_group = stat.S_IWGRP if state.st_gid != 0 else 0
    return bool(state.st_mode & (of_group | stat.S_IWOTH))


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
    passed_over = [path for name in programs if (path := shutil.which(name))]
    why = f": root does not run {', '.join(passed_over)}, which others could change" if passed_over else ""
    return MissingRequirement(
        f"{', '.join(programs)} {verb} not installed{why}", f"apt install {' '.join(packages)}"
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
        raise MissingRequirement("this kernel has no ipvlan", ipvlan_hint())
    if said.startswith("unshare:"):
        raise MissingRequirement(f"this machine gives no user namespaces ({said})", "see user_namespaces(7)")
