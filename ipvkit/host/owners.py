"""What a network namespace belongs to: a container, by the files of its runtime, or a process.

No daemon is asked. A container is recognised by its monitor, an ancestor of its processes that the runtime
starts and that shows where its files are, and without one by a control group (cgroups(7)). A namespace that
only a name holds may be that of a pod, by the cache of CNI.
"""

import json
import os
import re
import stat
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from ipvkit.host.namespaces import Space

_PROC = Path("/proc")
_DOCKER = Path("/var/lib/docker/containers")
_PODMAN = Path("/var/lib/containers/storage")
_CONTAINERD = Path("/run/containerd/io.containerd.runtime.v2.task")
_CNI = Path("/var/lib/cni/results")
_MOST_BYTES = 64 << 20


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
    """Return the owner of a namespace; None where only a name or a mount holds it, and it is of no pod."""
    pid = next(iter(space.pids if space.names else (*space.pids, *space.holders)), None)
    if pid is None:
        return _by_cni(space.names)
    process = Owner("process", _read(_PROC / str(pid) / "comm").strip() or "?", pid=pid)
    return _by_monitor(pid) or _by_group(pid) or process


def _by_monitor(pid: int) -> Owner | None:
    """Return the container of the nearest ancestor that is conmon or a shim of containerd.

    Its files are read as it sees them: it may have other mounts.
    """
    monitor = _PROC / str(pid)
    while found := re.search(r"^PPid:\s+([1-9]\d*)", _read(monitor / "status"), re.MULTILINE):
        monitor = _PROC / found[1]
        words = _read(monitor / "cmdline").split("\0")
        program, options = words[0].rpartition("/")[2], dict(reversed(list(pairwise(words))))
        if program == "conmon" and options.get("-c"):
            bundle = _there(monitor, options.get("-b", ""))
            return _podman(options["-c"], pid, [f for f in bundle.parents if f.name.endswith("-containers")])
        if program.startswith("containerd-shim-") and options.get("-id"):
            id_, of_docker = options["-id"], options.get("-namespace") == "moby"
            look, folders = (
                (_docker, _folders(monitor, id_)) if of_docker else (_containerd, [monitor / "cwd"])
            )
            return look(id_, pid, folders)
    return None


def _there(process: Path, path: str) -> Path:
    """Return the path at which this process finds what another one calls `path`."""
    return process / "root" / path.lstrip("/")


def _folders(shim: Path, id_: str) -> list[Path]:
    """Return the folder from which Docker mounts the hostname of a container, which has its other files."""
    mounts = _entries(_json(shim / "cwd/config.json").get("mounts"))
    sources = [_text(mount.get("source")) for mount in mounts]
    return [_there(shim, source).parent for source in sources if source.endswith(f"/{id_}/hostname")]


def _by_group(pid: int) -> Owner | None:
    """Return the container or the service that the control group of a process is of."""
    group = _read(_PROC / str(pid) / "cgroup")
    for pattern, look in _RUNTIMES:
        if found := re.search(pattern, group, re.MULTILINE):
            return look(found[1], pid)
    return None


def _by_cni(names: Iterable[str]) -> Owner | None:
    """Return the pod for which plugins were called with a namespace of these names."""
    for path in _inside(_CNI, "*"):
        call = _json(path)
        interfaces = _entries(_inner(call, "result").get("interfaces"))
        if {_text(each.get("sandbox")).rpartition("/")[2] for each in interfaces}.isdisjoint(names):
            continue
        given = call.get("cniArgs")
        pairs = [pair for pair in given if isinstance(pair, list)] if isinstance(given, list) else []
        words = {_text(pair[0]): _text(pair[1]) for pair in pairs if len(pair) == 2}
        pod = [words.get(f"K8S_POD_{key}") for key in ("NAMESPACE", "NAME")]
        return Owner("cni", "/".join(filter(None, pod)) or _short(_text(call.get("containerId"))) or "?")
    return None


def _docker(id_: str, pid: int, folders: Iterable[Path] = ()) -> Owner:
    config = _first(folder / "config.v2.json" for folder in (*folders, _DOCKER / id_))
    name, image = _text(config.get("Name")), _inner(config, "Config").get("Image")
    return Owner("docker", name.removeprefix("/") or _short(id_), _text(image), pid)


def _podman(id_: str, pid: int, stores: Iterable[Path] = ()) -> Owner:
    for store in (*stores, *_inside(_PODMAN, "*-containers")):
        for entry in _entries(_parsed(_read(store / "containers.json"))):
            if entry.get("id") == id_:
                metadata = _parsed(_text(entry.get("metadata")))
                names = entry.get("names")
                name = names[0] if isinstance(names, list) and names else None
                image = metadata.get("image-name") if isinstance(metadata, dict) else ""
                return Owner("podman", _text(name) or _short(id_), _text(image), pid)
    return Owner("podman", _short(id_), pid=pid)


def _containerd(id_: str, pid: int, bundles: Iterable[Path] = ()) -> Owner:
    every = (*bundles, *(folder / id_ for folder in _inside(_CONTAINERD, "*")))
    notes = _inner(_first(bundle / "config.json" for bundle in every), "annotations")
    kind = "io.kubernetes.cri."
    pod = [_text(notes.get(f"{kind}{key}")) for key in ("sandbox-namespace", "sandbox-name")]
    name = "/".join(filter(None, pod))
    return Owner("containerd", name or _short(id_), _text(notes.get(f"{kind}image-name")), pid)


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


def _inside(folder: Path, pattern: str) -> list[Path]:
    """Return the paths in a folder that match; none where this user may not look into it."""
    with suppress(OSError):
        return sorted(folder.glob(pattern))
    return []


def _read(path: Path) -> str:
    """Return the beginning of a file; nothing of what is not regular, which a user may have put there."""
    # ValueError: no file can have that name.
    with suppress(OSError, ValueError):
        # Without opening it: that waits for a writer of a FIFO, and starts a watchdog.
        found = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            if stat.S_ISREG(os.fstat(found).st_mode):
                with Path(f"/proc/self/fd/{found}").open("rb") as file:
                    return file.read(_MOST_BYTES).decode("utf-8", "replace")
        finally:
            os.close(found)
    return ""


def _short(id_: str) -> str:
    """Return an identifier as runtimes print it; a name that someone chose stays as it is."""
    return id_[:12] if re.fullmatch("[0-9a-f]{64}", id_) else id_


def _parsed(text: str) -> object:
    with suppress(ValueError, RecursionError):
        return json.loads(text)
    return None


def _json(path: Path) -> dict[str, Any]:
    found = _parsed(_read(path))
    return found if isinstance(found, dict) else {}


def _first(paths: Iterable[Path]) -> dict[str, Any]:
    """Return the content of the first file that has an object."""
    return next(filter(None, map(_json, paths)), {})


def _entries(value: object) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _inner(value: dict[str, Any], key: str) -> dict[str, Any]:
    found = value.get(key)
    return found if isinstance(found, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
