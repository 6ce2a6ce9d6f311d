"""What there is on another machine besides what `ip` shows: its network namespaces, processes and sysctls.

Found are namespaces with a name and those with a process; not those that only an open file or a mount holds.
"""

from collections.abc import Iterable

from ipvkit.core.command import Command
from ipvkit.core.errors import CommandFailed
from ipvkit.host.inspect import SYSCTLS, Around
from ipvkit.host.namespaces import Inode, Space, Spaces
from ipvkit.host.owners import Owner
from ipvkit.run.execution import ask
from ipvkit.targets.agent import Agent

_OWN = "/proc/self/ns/net"
_NAMED, _DOCKER = "/run/netns/", "/run/docker/netns/"
_NET = "/proc/sys/net"
_FILES = (
    *(f"{_NET}/{key.removeprefix('net.').replace('.', '/')}" for key in SYSCTLS),
    f"{_NET}/ipv4/ip_nonlocal_bind",
    f"{_NET}/ipv[46]/neigh/default/gc_thresh3",
    f"{_NET}/ipv4/conf/*/rp_filter",
    "/proc/net/stat/*_cache",
)


def _shell(line: str) -> Command:
    """Return a command for a line of sh; what is not there, or ends meanwhile, is ignored."""
    return Command(("sh", "-s"), stdin=(f"{line} 2>/dev/null || true",))


_VIEWS = {
    "user": Command(("sh", "-s"), stdin=("id -u",)),
    "spaces": _shell(f"stat -Lc '%d %i %n' {_OWN} {_NAMED}* {_DOCKER}* /proc/[0-9]*/ns/net"),
    "processes": _shell("grep -Hs '' /proc/[0-9]*/comm"),
    "files": _shell(f"grep -Hs '' {' '.join(_FILES)}"),
}
"""The commands that show it."""


def around(agent: Agent) -> Around:
    """Return what there is on the machine of `agent`; raise CommandFailed where it does not answer."""
    seen = {name: done.stdout for name, done in ask(agent, _VIEWS).items()}
    commands = _by_path(seen["processes"])

    def owner(space: Space) -> Owner | None:
        pid = next(iter(space.pids), None)
        return None if pid is None else Owner("process", commands.get(f"/proc/{pid}/comm") or "?", pid=pid)

    texts = _by_path(seen["files"])
    found = _spaces(seen["spaces"].splitlines())
    hidden = 0 if seen["user"].strip() == "0" else len(commands) - sum(len(s.pids) for s in found.values())
    own = next((inode for inode, space in found.items() if space.own), None)
    if own is None:
        raise CommandFailed("the network namespaces could not be read", stderr=seen["spaces"])
    return Around(
        Spaces(own, found, max(0, hidden)),
        lambda path: texts.get(f"{_NET}/{path}", texts.get(path, "")),
        owner,
        here=False,
    )


def _spaces(lines: Iterable[str]) -> dict[Inode, Space]:
    """Return the namespaces by lines of stat, each with device, inode and path, the own one first."""
    found: dict[Inode, Space] = {}
    device = None
    for line in lines:
        dev, inode, path = line.split(" ", 2)
        device = device or dev
        if dev != device:
            # Not a namespace, though it is where the names of namespaces are.
            continue
        space = found.setdefault((int(dev), int(inode)), Space(path, own=path == _OWN))
        if path.startswith(_NAMED):
            space.names.append(path.removeprefix(_NAMED))
        elif path.startswith("/proc/") and path != _OWN:
            space.pids.append(int(path.split("/")[2]))
    for space in found.values():
        space.pids.sort()
    return found


def _by_path(text: str) -> dict[str, str]:
    """Return the lines of files as grep prints them, by the paths of the files."""
    found: dict[str, list[str]] = {}
    for path, _, line in (line.partition(":") for line in text.splitlines()):
        found.setdefault(path, []).append(line)
    return {path: "\n".join(lines) for path, lines in found.items()}
