"""The network namespaces of this machine, whatever holds them: found in /proc and /run, and not entered."""

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ipvkit.core.command import Command, in_netns
from ipvkit.core.errors import UsageError
from ipvkit.core.values import netns_name
from ipvkit.tools import ip
from ipvkit.tools.nsenter import in_net

Inode = tuple[int, int]
"""The identity of a network namespace: device and inode of its file (namespaces(7))."""

_NAMED = Path("/run/netns")
_DOCKER = Path("/run/docker/netns")
_NS_GET_NSTYPE = 0xB703
_CLONE_NEWNET = 0x40000000
_MOUNTED = re.compile(r"^(?:\S+ ){3}net:\[(\d+)\] (\S+)", re.MULTILINE)
"""The inode of a namespace's file and its mount point, in proc_pid_mountinfo(5)."""


@dataclass(slots=True)
class Space:
    """A network namespace: a `path` by which it can be entered, its `names` (ip-netns(8)), its processes.

    `holders` are processes that are not in it, and hold it by an open file or by a mount elsewhere. It is
    `own` where this process is in it.
    """

    path: str
    own: bool = False
    names: list[str] = field(default_factory=list)
    pids: list[int] = field(default_factory=list)
    holders: list[int] = field(default_factory=list)

    def __str__(self) -> str:
        if self.own:
            return "the host's namespace"
        if self.names:
            return f"netns {self.names[0]}"
        return f"the namespace {f'of process {self.pids[0]}' if self.pids else self.path}"

    @property
    def name(self) -> str:
        """The first name with which `ip` can be called; nothing where there is none."""
        for name in self.names:
            with suppress(UsageError):
                return netns_name(name)
        return ""

    def typed(self, command: Command) -> Command:
        """Return `command` as a person here types it to act in this namespace.

        >>> show = Command(("ip", "link", "show"))
        >>> str(Space("/run/netns/a", names=["a"]).typed(show)), str(Space("/proc/811/ns/net").typed(show))
        ('ip -n a link show', 'nsenter --net=/proc/811/ns/net ip link show')
        """
        if self.own:
            return command
        if not self.name:
            return in_net(self.path, command)
        is_ip = command.argv[0] == "ip"
        return ip.at(self.name, command) if is_ip else in_netns(self.name, command)


@dataclass(frozen=True, slots=True)
class Spaces:
    """The network namespaces, by their identities; `own` is that of this process.

    `hidden` counts the processes of other users, of which nothing can be read, and `closed` are the folders.
    """

    own: Inode | None
    found: dict[Inode, Space]
    hidden: int
    closed: tuple[str, ...] = ()


def spaces() -> Spaces:
    """Return every network namespace that this user can see; what ends meanwhile is left out."""
    own = _inode("/proc/self/ns/net")
    if own is None:
        return Spaces(None, {}, 0)
    found = {own: Space("/proc/self/ns/net", own=True)}
    closed = []
    for folder in (_NAMED, _DOCKER):
        try:
            paths = sorted(folder.iterdir())
        except PermissionError:
            closed.append(str(folder))
            continue
        except OSError:
            continue
        for path in paths:
            if (inode := _inode(str(path))) is not None and _is_net(str(path), inode, own):
                space = found.setdefault(inode, Space(str(path)))
                space.names += [path.name] if folder == _NAMED else []
    pids = sorted(int(entry.name) for entry in os.scandir("/proc") if entry.name.isdigit())
    hidden = sum(not _put_process(pid, found) for pid in pids)
    for file, inode in _mounted("/proc/self", "", own):
        if inode in found or _is_net(file, _inode(file), own):
            found.setdefault(inode, Space(file))
    mounts: set[Inode | None] = {None, _inode("/proc/self/ns/mnt")}
    for pid in pids:
        for file, inode in (*_open(pid, own), *_mounted_elsewhere(pid, mounts, own)):
            if inode not in found and not _is_net(file, _inode(file), own):
                continue
            space = found.setdefault(inode, Space(file))
            if not space.own and pid not in space.pids and pid not in space.holders:
                space.holders.append(pid)
    return Spaces(own, found, hidden, tuple(closed))


def _put_process(pid: int, found: dict[Inode, Space]) -> bool:
    """Put a process into the namespace that it is in; return whether this user may see which it is."""
    path = f"/proc/{pid}/ns/net"
    try:
        inode = _inode(path, deny=True)
    except PermissionError:
        return False
    if inode is not None:
        space = found.setdefault(inode, Space(path))
        space.pids.append(pid)
        # Its name may be one that no command should have.
        space.path = space.path if space.path.isprintable() else path
    return True


def is_there(path: str) -> bool:
    """Return whether there is such a file; also where this user may not see it."""
    try:
        os.stat(path)  # noqa: PTH116
    except PermissionError:
        return True
    except OSError:
        return False
    return True


def _inode(path: str, *, deny: bool = False) -> Inode | None:
    """Return the identity of a file; None where it has gone; with `deny` raise PermissionError."""
    try:
        # Faster than that of a Path, for thousands of processes.
        found = os.stat(path)  # noqa: PTH116
    except PermissionError:
        if deny:
            raise
        return None
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _is_net(path: str, inode: Inode | None, own: Inode) -> bool:
    """Return whether `path` is a network namespace, as `own` is; what is no namespace is not opened."""
    if inode is None or inode[0] != own[0]:
        return False
    with suppress(OSError):
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            return fcntl.ioctl(file, _NS_GET_NSTYPE) == _CLONE_NEWNET
        finally:
            os.close(file)
    return False


def _open(pid: int, own: Inode) -> Iterator[tuple[str, Inode]]:
    """Yield the open files of a process that are namespaces; their links may name a deleted file."""
    if pid == os.getpid():
        return
    with suppress(OSError):
        for entry in os.scandir(f"/proc/{pid}/fd"):
            with suppress(OSError):
                found = entry.stat()
                if found.st_dev == own[0]:
                    yield entry.path, (found.st_dev, found.st_ino)


def _mounted_elsewhere(pid: int, seen: set[Inode | None], own: Inode) -> Iterator[tuple[str, Inode]]:
    """Yield the network namespaces mounted in the mount namespace of a process, unless that was `seen`."""
    mounts = _inode(f"/proc/{pid}/ns/mnt")
    if mounts not in seen:
        seen.add(mounts)
        yield from _mounted(f"/proc/{pid}", f"/proc/{pid}/root", own)


def _mounted(process: str, root: str, own: Inode) -> Iterator[tuple[str, Inode]]:
    """Yield the network namespaces that are mounted where a process is, each by its path below `root`."""
    with suppress(OSError):
        text = Path(process, "mountinfo").read_text("utf-8", "surrogateescape")
        for number, point in _MOUNTED.findall(text):
            # A space in a mount point is written as \040.
            path = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), point)
            yield root + path, (own[0], int(number))
