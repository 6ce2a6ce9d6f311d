"""What a network namespace belongs to: a container, by the files of its runtime, or a process.

No daemon is asked. A container is recognised by the control group of a process in the namespace (cgroups(7)),
where there is none by conmon, which starts each container of Podman.
"""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ipvkit.host.namespaces import Space

_PROC = Path("/proc")
_DOCKER = Path("/var/lib/docker/containers")
_PODMAN = Path("/var/lib/containers/storage")
_CONTAINERD = Path("/run/containerd/io.containerd.runtime.v2.task")


@dataclass(frozen=True, slots=True)
class Owner:
    """The owner of a namespace: the `runtime`, or `process`; the `name` there; and the container's `image`.

    The name of a process is its command; `pid` is the first process in the namespace, None without one.
    """

    runtime: str
    name: str
    image: str = ""
    pid: int | None = None

    def __str__(self) -> str:
        """Return it as a table has it.

        >>> str(Owner("docker", "web", "nginx:1.27", 811)), str(Owner("process", "sleep", pid=77))
        ('docker web (nginx:1.27)', 'process 77 (sleep)')
        """
        if self.runtime == "process":
            return f"process {self.pid} ({self.name})"
        return f"{self.runtime} {self.name}" + (f" ({self.image})" if self.image else "")


def owner_of(space: Space) -> Owner | None:
    """Return the owner of a namespace; None where no process is in it, and a name or a mount holds it."""
    pid = next(iter(space.pids if space.names else (*space.pids, *space.holders)), None)
    if pid is None:
        return None
    group = _read(_PROC / str(pid) / "cgroup")
    for pattern, look in _RUNTIMES:
        if found := re.search(pattern, group, re.MULTILINE):
            return look(found[1], pid)
    return _by_conmon(pid) or Owner("process", _read(_PROC / str(pid) / "comm").strip() or "?", pid=pid)


def _docker(id_: str, pid: int) -> Owner:
    config = _json(_DOCKER / id_ / "config.v2.json")
    name, image = config.get("Name"), _inner(config, "Config").get("Image")
    return Owner("docker", _text(name).removeprefix("/") or id_[:12], _text(image), pid)


def _podman(id_: str, pid: int) -> Owner:
    for path in sorted(_PODMAN.glob("*-containers/containers.json")):
        for entry in _entries(path):
            if entry.get("id") == id_:
                metadata: Any = {}
                with suppress(ValueError):
                    metadata = json.loads(_text(entry.get("metadata")))
                names = entry.get("names")
                name = names[0] if isinstance(names, list) and names else id_[:12]
                image = metadata.get("image-name") if isinstance(metadata, dict) else ""
                return Owner("podman", _text(name), _text(image), pid)
    return Owner("podman", id_[:12], pid=pid)


def _by_conmon(pid: int) -> Owner | None:
    """Return the container of Podman that a process is in which has no separate control group."""
    parent = re.search(r"^PPid:\s+(\d+)", _read(_PROC / str(pid) / "status"), re.MULTILINE)
    words = _read(_PROC / parent[1] / "cmdline").split("\0") if parent else []
    if not words or not words[0].endswith("conmon") or "-c" not in words[:-1]:
        return None
    return _podman(words[words.index("-c") + 1], pid)


def _containerd(id_: str, pid: int) -> Owner:
    for path in sorted(_CONTAINERD.glob(f"*/{id_}/config.json")):
        notes = _inner(_json(path), "annotations")
        kind = "io.kubernetes.cri."
        pod = [_text(notes.get(f"{kind}{key}")) for key in ("sandbox-namespace", "sandbox-name")]
        name = "/".join(filter(None, pod))
        return Owner("containerd", name or id_[:12], _text(notes.get(f"{kind}image-name")), pid)
    return Owner("containerd", id_[:12], pid=pid)


def _named(runtime: str) -> Callable[[str, int], Owner]:
    """Return a function for a runtime that puts the name of the container, escaped, in its control group."""

    def owner(name: str, pid: int) -> Owner:
        plain = re.sub(r"\\x([0-9a-f]{2})", lambda hexadecimal: chr(int(hexadecimal[1], 16)), name)
        return Owner(runtime, plain, pid=pid)

    return owner


_RUNTIMES: tuple[tuple[str, Callable[[str, int], Owner]], ...] = (
    (r"/libpod-([0-9a-f]{64})", _podman),
    (r"/docker[-/]([0-9a-f]{64})", _docker),
    (r"(?:cri-containerd[-:]|/kubepods\S*/|/(?:default|k8s\.io)/)([0-9a-f]{64})", _containerd),
    (r"/lxc\.payload\.([^/\n]+)", _named("lxc")),
    (r"/lxc/([^/\n]+)", _named("lxc")),
    (r"/systemd-nspawn@([^/\n]+)\.service", _named("systemd-nspawn")),
    (r"/machine-([^/\n]+)\.scope", _named("systemd-nspawn")),
    (r"/system\.slice/(?:\S+/)?([^/\n]+)\.service$", _named("systemd")),
)
"""Runtimes by the control groups of their containers."""


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""


def _json(path: Path) -> dict[str, Any]:
    with suppress(ValueError, RecursionError):
        found = json.loads(_read(path))
        if isinstance(found, dict):
            return found
    return {}


def _entries(path: Path) -> Iterator[dict[str, Any]]:
    with suppress(ValueError, RecursionError):
        found = json.loads(_read(path))
        yield from (entry for entry in found if isinstance(entry, dict)) if isinstance(found, list) else ()


def _inner(value: dict[str, Any], key: str) -> dict[str, Any]:
    found = value.get(key)
    return found if isinstance(found, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
