"""What a run has to undo, recorded before it happens: in memory, or in one append-only file for each run.

A line of the file is one JSON object: first the identity of the run, then what begins, what has happened
and what is undone. The run and each command that it has started hold a lock on its file: once another
process gets that lock, all of them have ended.
"""

import fcntl
import json
import os
import re
import shutil
import socket
import stat
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from ipvkit.core.command import Command
from ipvkit.core.errors import CommandFailed, IpvkitError, MissingRequirement, UsageError
from ipvkit.lab import HOST
from ipvkit.plan import resources
from ipvkit.plan.resources import Finding, Observation, Resource, undo_of

SCHEMA = "ipvkit/journal/v1"

_NETNS = Path("/run/netns")
"""Where ip-netns(8) keeps its names."""

_OWN_NETNS = Path("/proc/self/ns/net")
_SUFFIX = ".jsonl"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9@._+-]{0,200}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)

_PEEK_S = 1.0
"""How long to wait for a lock of a living process, in seconds: it may only be reading."""

_LINGER_S = 10.0
"""How long to wait for a lock of a dead process, in seconds: its commands were killed with it."""

_INVALID = (AttributeError, KeyError, TypeError, ValueError, OverflowError, RecursionError, UsageError)
"""What a line that ipvkit did not write can raise."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A step that has begun, and the resource that it created.

    It ran `on` a machine; only those of one host are on disk. `former` is a sysctl's value before, `mark` the
    number by which the kernel identifies what was created, None where that is unknown. Only the run itself is
    `certain` that the step has happened.
    """

    id: str
    purpose: str
    resource: Resource
    former: str = ""
    mark: int | None = None
    certain: bool = False
    on: str = HOST

    @property
    def undo(self) -> Command:
        """The command that undoes the step."""
        return undo_of(self.resource, self.former)


class Journal:
    """What a run has to undo, in the order in which it began; `kept` is whether it is to stay.

    `header` identifies the run, `restarted` is whether the machine has restarted since. `place` and `file`
    are the open folder and the open, locked file, closed with it; a journal without them is in memory alone.
    """

    def __init__(self, lab: str = "", place: int | None = None, file: int | None = None) -> None:
        self.lab, self.place, self.file = lab, place, file
        self.header: Mapping[str, Any] = {}
        self.entries: dict[str, Entry] = {}
        self.kept = self.restarted = False

    @property
    def lasting(self) -> bool:
        """Whether it is not in memory alone."""
        return self.file is not None

    @property
    def elsewhere(self) -> bool:
        """Whether its run was in another network namespace than this process."""
        return not self.restarted and bool(self.header["netns"] != _OWN_NETNS.stat().st_ino)

    def state_of(self, entry: Entry, seen: Observation) -> Finding:
        """Return the state of `entry` in `seen`; what exists after a restart is not the run's."""
        # A restart begins with ifindex 1 again.
        mark = None if self.restarted else entry.mark
        found = resources.state_of(entry.resource, seen, mark, entry.former)
        if self.restarted and found.state in ("stands", "held"):
            return Finding("changed", f"{entry.resource}, since the machine has restarted")
        return found

    def mark_of_netns(self, name: str, on: str = HOST) -> int | None:  # noqa: ARG002
        """Return the mark of a namespace on the machine `on`, None where it does not exist."""
        return mark_of_netns(name)

    def mark_of(self, entry: Entry) -> int | None:
        """Return the mark of what `entry` has created."""
        if (netns := resources.netns_of(entry.resource)) is not None:
            return self.mark_of_netns(netns, entry.on)
        with suppress(OSError):
            link = entry.resource
            return socket.if_nametoindex(link.name) if isinstance(link, resources.Link) else None
        return None

    def boot(self) -> str:
        """Return what identifies the time since the machine has started."""
        return _boot()

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """Hold a private folder; where this process is killed, it is removed with the file.

        Raise MissingRequirement where there can be none.
        """
        place = _scratch(self.lab)
        shutil.rmtree(place, ignore_errors=True)
        try:
            place.mkdir(mode=0o700)
        except OSError as problem:
            raise MissingRequirement(f"{place} cannot be written: {problem.strerror}") from None
        try:
            yield place
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def sign(self) -> None:
        """Write the header that identifies this run; raise OSError where it cannot be written."""
        self.header = {
            "schema": SCHEMA,
            "pid": os.getpid(),
            "started": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "boot": self.boot(),
            "netns": _OWN_NETNS.stat().st_ino,
        }
        if self.file is not None:
            os.ftruncate(self.file, 0)
            _write_all(self.file, self.header)
            os.fsync(self.file)

    def begin(self, entries: Sequence[Entry]) -> None:
        """Record what begins now, and return when it is on disk; raise CommandFailed where that fails."""
        for on in dict.fromkeys(entry.on for entry in entries if self.lasting):
            self._write({"begin": [written(e) for e in entries if e.on == on]}, on, synced=True)
        self.entries |= {entry.id: entry for entry in entries}

    def end(self, done: Iterable[str], undone: Iterable[str]) -> None:
        """Record that the steps `done` have happened; those `undone`, some of them too, have left nothing.

        If that cannot be written, the state of the machine will show it.
        """
        undone = [id for id in undone if id in self.entries]
        done = [id for id in done if id not in undone]
        on = {id: self.entries[id].on for id in (*done, *undone)}
        for id in done:
            entry = self.entries[id]
            self.entries[id] = replace(entry, certain=True, mark=self.mark_of(entry))
        for id in undone:
            del self.entries[id]
        for machine in dict.fromkeys(on.values()):
            marks = {id: self.entries[id].mark for id in done if on[id] == machine}
            with suppress(IpvkitError):
                gone = [id for id in undone if on[id] == machine]
                self._write({"done": marks, "undone": gone}, machine)

    def keep(self) -> None:
        """Record that all of it is to stay; raise CommandFailed where that cannot be written."""
        for machine in dict.fromkeys(entry.on for entry in self.entries.values()):
            self._write({"kept": True}, machine, synced=True)
        self.kept = True

    def close(self) -> None:
        """Release the lock; remove a file without entries first, and a folder without files."""
        if self.file is None or self.place is None:
            return
        if not self.entries:
            _remove(self.place, self.lab)
        os.close(self.file)
        os.close(self.place)

    def _write(self, record: Mapping[str, Any], on: str, *, synced: bool = False) -> None:  # noqa: ARG002
        if self.file is None:
            return
        size = os.lseek(self.file, 0, os.SEEK_END)
        try:
            _write_all(self.file, record)
            if synced:
                os.fsync(self.file)
        except OSError as problem:
            with suppress(OSError):
                os.ftruncate(self.file, size)
            what = f"the journal in {folder()} cannot be written: {problem.strerror}"
            raise CommandFailed(what, "free space there, or set XDG_STATE_HOME to another folder") from None

    def load(self) -> int:
        """Read the file, and return its length in bytes, without an incomplete last line.

        Raise CommandFailed for an invalid journal.
        """
        if self.file is None:
            return 0
        return self.read(os.pread(self.file, os.fstat(self.file).st_size, 0))

    def read(self, text: bytes) -> int:
        """Read `text` as that of the file, and return as `load` does."""
        length = text.rfind(b"\n") + 1
        for number, line in enumerate(text[:length].splitlines(), 1):
            try:
                record = json.loads(line)
                if number > 1:
                    self._take(record)
                    continue
                types = {"pid": int, "started": str, "boot": str, "netns": int}
                valid = record["schema"] == SCHEMA and _TIME.fullmatch(record["started"])
                if not valid or not all(isinstance(record[k], types[k]) for k in types):
                    raise UsageError("invalid header")
                self.header = record
            except _INVALID:
                what = f"{folder() / self.lab}{_SUFFIX} is not a valid journal: line {number}"
                raise CommandFailed(what, "undo by hand what it records, then remove it") from None
        # A container can show another boot than the host. A namespace of the run proves that it is the same.
        other_boot = bool(self.header) and self.header["boot"] != self.boot()
        self.restarted = other_boot and not any(map(self._is_in_its_netns, self.entries.values()))
        self.kept = self.kept and not self.restarted
        return length

    def _is_in_its_netns(self, entry: Entry) -> bool:
        """Return whether the namespace that `entry` is, or is in, is the one of its run."""
        netns = resources.netns_of(entry.resource)
        return None not in (netns, entry.mark) and self.mark_of_netns(str(netns)) == entry.mark

    def _take(self, record: Mapping[str, Any]) -> None:
        match record:
            case {"begin": [*entries]}:
                self.entries |= {entry.id: entry for entry in map(_read_entry, entries)}
            case {"done": {}, "undone": [*undone]}:
                for id, mark in record["done"].items():
                    self.entries[id] = replace(self.entries[id], mark=None if mark is None else int(mark))
                for id in undone:
                    del self.entries[id]
            case {"kept": True}:
                self.kept = True
            case _:
                raise UsageError("not a record")


def title(name: str) -> str:
    """Return the display name of a run: its lab, or for announce its name (announce@host)."""
    return name if "@" in name else f"lab {name}"


def _write_all(file: int, record: Mapping[str, Any]) -> None:
    rest = f"{json.dumps(record)}\n".encode()
    while rest:
        rest = rest[os.write(file, rest) :]


def folder() -> Path:
    """Return the folder of the journals: root's is in /run, which a restart of the machine empties."""
    state_home = os.environ.get("XDG_STATE_HOME", "")
    if Path(state_home).is_absolute():
        return Path(state_home) / "ipvkit"
    return Path("/run/ipvkit") if os.geteuid() == 0 else Path.home() / ".local/state/ipvkit"


@contextmanager
def started(lab: str) -> Iterator[Journal]:
    """Hold the journal of a new run of `lab`; its file stays if it still has entries.

    Raise UsageError where a run of that lab is running or not undone, MissingRequirement where the journal
    cannot be written.
    """
    with ExitStack() as opened:
        try:
            journal = _held(lab, make=True)
            opened.callback(journal.close)
            since = journal.header.get("started")
            if journal.entries and journal.kept:
                raise UsageError(f"{title(lab)} is up since {since}", f"ipvkit down {lab}")
            if journal.entries:
                what = f"{title(lab)}, started {since}, was interrupted and is not undone"
                raise UsageError(what, f"ipvkit cleanup {lab}")
            journal.sign()
        except CommandFailed as problem:
            raise UsageError(problem.message, problem.hint) from None
        except OSError as problem:
            what = f"the journal in {folder()} cannot be written: {problem.strerror}"
            hint = "nothing was changed; set XDG_STATE_HOME to a folder that can be written"
            raise MissingRequirement(what, hint) from None
        yield journal


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


@contextmanager
def taken_over(lab: str) -> Iterator[Journal | None]:
    """Hold the journal of a run of `lab` that has ended; yield None where it does not exist.

    Raise UsageError where the run is running, CommandFailed where the journal cannot be read.
    """
    try:
        journal = _held(lab, make=False)
    except FileNotFoundError:
        yield None
        return
    except OSError as problem:
        raise CommandFailed(f"the journal of {title(lab)} cannot be read: {problem.strerror}") from None
    with closing(journal):
        yield journal


@dataclass(frozen=True, slots=True)
class Record:
    """What a journal records of a run: its process, its start (UTC), and what it may have created.

    A run is `up` if it was kept; its state is unknown where the journal is `damaged`. The journal of one that
    ended before its first step is `empty`.
    """

    lab: str
    state: Literal["running", "up", "interrupted", "damaged", "empty"]
    pid: int | None = None
    started: str | None = None
    entries: tuple[Entry, ...] = ()


def records() -> list[Record]:
    """Return the record of each run that is running or not undone, sorted by lab."""
    return [record for record in _all_records() if record.state != "empty"]


def remove_empty() -> None:
    """Remove journals of runs that were killed before they created anything, and a folder without files."""
    for record in _all_records():
        if record.state == "empty":
            with suppress(IpvkitError), taken_over(record.lab):
                pass
    with suppress(OSError):
        folder().rmdir()


def _all_records() -> list[Record]:
    with suppress(FileNotFoundError), ExitStack() as opened:
        place = _place(make=False)
        opened.callback(os.close, place)
        names = sorted(entry.name for entry in os.scandir(place))
        labs = [name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX)]
        return [found for lab in labs if _NAME.fullmatch(lab) and (found := _record(place, lab)) is not None]
    return []


def interrupted() -> list[str]:
    """Return the names of the runs that have ended without undoing all, and can be undone."""
    return [record.lab for record in records() if record.state == "interrupted"]


def _record(place: int, lab: str) -> Record | None:
    """Return what the journal of `lab` records; None where there is none."""
    running = True
    with ExitStack() as opened:
        try:
            file = _open(place, lab, os.O_RDONLY)
            opened.callback(os.close, file)
            with suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                running = False
            read = Journal(lab, file=file)
            read.load()
        except FileNotFoundError:
            return None
        except (OSError, MissingRequirement, CommandFailed):
            return Record(lab, "damaged")
        if not (running or read.entries):
            return Record(lab, "empty")
    pid, since, entries = read.header.get("pid"), read.header.get("started"), tuple(read.entries.values())
    return Record(lab, "running" if running else "up" if read.kept else "interrupted", pid, since, entries)


def _remove(place: int, lab: str) -> None:
    """Remove a file with its scratch folder, and their folder if that was the last."""
    shutil.rmtree(_scratch(lab), ignore_errors=True)
    with suppress(OSError):
        os.unlink(f"{lab}{_SUFFIX}", dir_fd=place)
        folder().rmdir()


def _scratch(lab: str) -> Path:
    return folder() / f"{lab}.scratch"


def _held(lab: str, *, make: bool) -> Journal:
    """Return the journal of `lab`, locked and read; UsageError while it is in use, OSError without one."""
    if not _NAME.fullmatch(lab):
        raise UsageError(f"invalid lab name {lab!r}", "`ipvkit status` lists the names")
    began = time.monotonic()
    while True:
        with ExitStack() as opened:
            place = _place(make=make)
            opened.callback(os.close, place)
            try:
                lock = _open(place, lab, os.O_RDWR | (os.O_CREAT if make else 0))
            except FileNotFoundError:
                if not make:
                    raise
                # Another run has ended, and removed the folder.
                continue
            opened.callback(os.close, lock)
            with suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # Its run may have ended, and removed it since it was opened.
                if os.fstat(lock).st_nlink == 1:
                    journal = Journal(lab, place, lock)
                    os.ftruncate(lock, journal.load())
                    opened.pop_all()
                    return journal
            record = _record(place, lab)
        owner = None if record is None else record.pid
        lives = owner is not None and Path(f"/proc/{owner}").exists()
        if time.monotonic() > began + (_PEEK_S if lives else _LINGER_S):
            who = f", as process {owner}" if lives else ""
            raise UsageError(f"{title(lab)} is running{who}", "wait until it has ended, or end it with ^C")
        time.sleep(0.02)


def _place(*, make: bool) -> int:
    """Return the open folder; raise OSError without one, MissingRequirement where others could write it."""
    if make:
        folder().mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        return _own(os.open(folder(), os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW), folder())
    except (NotADirectoryError, PermissionError) as problem:
        why = "it is a symbolic link" if folder().is_symlink() else problem.strerror
        hint = "check that folder, or set XDG_STATE_HOME to another"
        raise MissingRequirement(f"the journals in {folder()} cannot be read: {why}", hint) from None


def _open(place: int, lab: str, how: int) -> int:
    """Return the open file; raise OSError without one, MissingRequirement where others could write it."""
    name = f"{lab}{_SUFFIX}"
    return _own(os.open(name, how | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600, dir_fd=place), folder() / name)


def _own(file: int, path: Path) -> int:
    """Return `file` if only this user can write it; close it and raise MissingRequirement if not."""
    found = os.fstat(file)
    right = stat.S_ISDIR(found.st_mode) or (stat.S_ISREG(found.st_mode) and found.st_nlink <= 1)
    if right and found.st_uid == os.geteuid() and not found.st_mode & 0o022:
        return file
    os.close(file)
    hint = "check its owner and mode: ipvkit undoes nothing that others could have written"
    raise MissingRequirement(f"{path} could have been written by another user", hint)


def mark_of_netns(name: str) -> int | None:
    """Return when the namespace of that name was created, in ns since 1970; None where it does not exist.

    Inodes of namespaces are used again. A file on another file system than the kernel's for namespaces is
    only the former mount point of one.
    """
    with suppress(OSError):
        found = (_NETNS / name).stat()
        return found.st_ctime_ns if found.st_dev != _NETNS.stat().st_dev else None
    return None


def written(entry: Entry) -> dict[str, Any]:
    """Return `entry` as a JSON object, with its undo as it is typed."""
    words = {"id": entry.id, "purpose": entry.purpose, "undo": str(entry.undo), "former": entry.former}
    return words | resources.written(entry.resource)


def _read_entry(value: Mapping[str, Any]) -> Entry:
    """Return an entry; its undo is built from its resource, since text from a file is never run."""
    resource = resources.read(value)
    former = str(value["former"])
    if isinstance(resource, resources.Sysctl) and not resources.is_number(former):
        raise UsageError(f"invalid value {former!r} of {resource.key}")
    return Entry(str(value["id"]), str(value["purpose"]), resource, former)
