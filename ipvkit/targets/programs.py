"""The programs that targets start: where they are found, with which environment, in which Debian package."""

import os
import shutil
import stat
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from ipvkit.core.errors import MissingRequirement

SEARCH_PATH = ("/usr/local/sbin", "/usr/sbin", "/sbin")
"""Where administrators' tools are; an ordinary user's PATH often lacks these."""

PASSED_ON = ("HOME", "LOGNAME", "SHELL", "TERM", "USER")
"""The variables of this process that commands get besides PATH: few, as with sudo(8)."""

PACKAGES = {
    "ip": "iproute2",
    "ping": "iputils-ping",
    "fping": "fping",
    "arping": "iputils-arping",
    "sysctl": "procps",
    "tc": "iproute2",
    "ss": "iproute2",
    "socat": "socat",
    "radvd": "radvd",
    "tcpdump": "tcpdump",
    "base64": "coreutils",
    "find": "findutils",
    "pgrep": "procps",
    "sleep": "coreutils",
    "timeout": "coreutils",
    "modprobe": "kmod",
    "linux.uml": "user-mode-linux",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "taskset": "util-linux",
    "mount": "mount",
    "apt-get": "apt",
    "dpkg-deb": "dpkg",
    "bash": "bash",
    "dot": "graphviz",
}
"""The Debian package of each program."""


def environment() -> dict[str, str]:
    """Return the complete environment of commands: output in English, administrators' tools in PATH.

    Of the variables of this process it has only `PASSED_ON`. Others could change what a program loads or
    does (LD_PRELOAD, BASH_ENV, a function that a shell exported), or be a secret.
    """
    own = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    return {**own, "LC_ALL": "C", "PATH": _path()}


def _path() -> str:
    """Return PATH: for root without the folders that another user can write."""
    folders = (*os.environ.get("PATH", os.defpath).split(os.pathsep), *SEARCH_PATH)
    if 0 not in os.getresuid():
        return os.pathsep.join(folders)
    # An empty PATH would mean the working folder.
    return os.pathsep.join(roots_folders(folders)) or os.devnull


@cache
def roots_folders(folders: Sequence[str]) -> tuple[str, ...]:
    """Return the real paths of those absolute `folders` that only root can write, each once.

    Root owns the folder and those above it, and no other user may write in them; but a folder above it may
    be sticky, such as /tmp, since there only the owner of a folder can rename it.
    """
    found: dict[str, None] = {}
    for folder in folders:
        try:
            real = Path(folder).resolve(strict=True)
            states = [each.stat() for each in (real, *real.parents)]
        except (OSError, RuntimeError):
            continue
        # In a user namespace root has another number; the owner of / has more power than root anyway.
        owners = {0, states[-1].st_uid}
        above = all(state.st_mode & stat.S_ISVTX or not _others_write(state) for state in states[1:])
        closed = not _others_write(states[0]) and all(state.st_uid in owners for state in states)
        if Path(folder).is_absolute() and above and closed and os.pathsep not in str(real):
            found[str(real)] = None
    return tuple(found)


def may_run(program: Path) -> bool:
    """Return whether this user runs `program` by its path: root only where no other user can change it."""
    return 0 not in os.getresuid() or bool(roots_folders((str(program.parent),)))


def _others_write(state: os.stat_result) -> bool:
    of_group = stat.S_IWGRP if state.st_gid != 0 else 0
    return bool(state.st_mode & (of_group | stat.S_IWOTH))


def find_program(name: str) -> str | None:
    """Return the path of a program, also from the folders of administrators' tools; None without one."""
    return shutil.which(name, path=environment()["PATH"])


def require(*programs: str) -> None:
    """Raise MissingRequirement, with the line that installs it, if one of `programs` is not installed."""
    absent = [name for name in programs if find_program(name) is None]
    if absent:
        raise missing(*absent)


def missing(*programs: str) -> MissingRequirement:
    """Return the error for `programs` that are not installed."""
    packages = sorted({PACKAGES.get(name, name) for name in programs})
    verb = "is" if len(programs) == 1 else "are"
    passed_over = [path for name in programs if (path := shutil.which(name))]
    why = f": root does not run {', '.join(passed_over)}, which others could change" if passed_over else ""
    what = f"{', '.join(programs)} {verb} not installed{why}"
    return MissingRequirement(what, f"apt install {' '.join(packages)}")
