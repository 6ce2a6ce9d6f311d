"""What a run has to undo, recorded before it happens: in memory, or in one append-only file for each run.

A line of the file is one JSON object: first who the run is, then what begins, what has happened and what
is undone. The run holds a lock on its file, and so does each command that it has started: whoever gets
that lock knows that none of them is left.
"""

import errno
import fcntl
import json
import os
import re
import socket
import stat
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from ipvkit.core.command import Command
from ipvkit.core.errors import CommandFailed, IpvkitError, MissingRequirement, UsageError
from ipvkit.plan import resources
from ipvkit.plan.resources import Resource

SCHEMA = "ipvkit/journal/v1"

_NETNS = Path("/run/netns")
"""Where ip-netns(8) keeps its names."""

_OWN_NETNS, _BOOT = Path("/proc/self/ns/net"), Path("/proc/sys/kernel/random/boot_id")
_SUFFIX = ".jsonl"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9@._+-]{0,200}")

_PEEK_S = 1.0
"""How long a lock is waited for whose owner lives: it may only be looking."""

_LINGER_S = 10.0
"""How long a lock is waited for whose owner is dead: its commands were killed with it, and end."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A step that has begun, and the `undo` that takes it back.

    `effect` is None only where the machine is not a real one. `former` is a sysctl's value before, `mark`
    the number by which the kernel knows what was made, None where that is not known. That the step has
    taken place is `certain` only to the run itself.
    """

    id: str
    purpose: str
    undo: Command
    effect: Resource | None = None
    former: str = ""
    mark: int | None = None
    certain: bool = False


class Journal:
    """What a run has to undo, in the order in which it was begun; `kept` is whether it is to stay.

    `header` identifies the run. `place` and `file` are the open folder and the open, locked file, closed with
    it; a journal without them is in memory alone.
    """

    def __init__(self, lab: str = "", place: int | None = None, file: int | None = None) -> None:
        """Begin with nothing."""
        self.lab = lab
        self.place = place
        self.file = file
        self.header: Mapping[str, Any] = {}
        self.entries: dict[str, Entry] = {}
        self.kept = False

    @property
    def title(self) -> str:
        """Display name of the run."""
        return title(self.lab)

    @property
    def elsewhere(self) -> bool:
        """Whether its run was in another network namespace than this process is."""
        return bool(self.header["netns"] != _OWN_NETNS.stat().st_ino)

    def sign(self) -> None:
        """Begin the file with what identifies this run; MissingRequirement where it cannot be written."""
        self.header = _header()
        if self.file is None:
            return
        try:
            os.ftruncate(self.file, 0)
            _write_all(self.file, self.header)
            os.fsync(self.file)
        except OSError as problem:
            raise _cannot_write(problem) from None

    def begin(self, entries: Sequence[Entry]) -> None:
        """Record what begins now, on disk before it begins; CommandFailed where that cannot be written."""
        if entries and self.file is not None:
            self._write({"begin": [_written(entry) for entry in entries]}, synced=True)
        self.entries |= {entry.id: entry for entry in entries}

    def end(self, done: Iterable[str], undone: Iterable[str]) -> None:
        """Record that the steps `done` have happened, and that nothing is there of those `undone`.

        If that cannot be written, a look at the machine will show it.
        """
        done, undone = list(done), [id for id in undone if id in self.entries]
        for id in done:
            entry = self.entries[id]
            self.entries[id] = replace(entry, certain=True, mark=_mark_of(entry.effect))
        for id in undone:
            del self.entries[id]
        if done or undone:
            with suppress(IpvkitError):
                self._write({"done": {id: self.entries[id].mark for id in done}, "undone": undone})

    def keep(self) -> None:
        """Record that all of it is to stay; CommandFailed where that cannot be written."""
        self._write({"kept": True}, synced=True)
        self.kept = True

    def close(self) -> None:
        """Release the lock; a file that holds nothing is removed before, and a folder without files."""
        if self.file is None or self.place is None:
            return
        if not self.entries:
            _remove(self.place, self.lab)
        os.close(self.file)
        os.close(self.place)

    def _write(self, record: Mapping[str, Any], *, synced: bool = False) -> None:
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
            raise CommandFailed(what, "make room there, or set XDG_STATE_HOME to another folder") from None

    def load(self) -> int:
        """Read the file, and return its length without a last line that is incomplete, in bytes.

        Raise CommandFailed for what is no journal. What was begun before the machine was started is gone.
        """
        if self.file is None:
            return 0
        text = os.pread(self.file, os.fstat(self.file).st_size, 0)
        length = text.rfind(b"\n") + 1
        for number, line in enumerate(text[:length].splitlines(), 1):
            try:
                record = json.loads(line)
                if number > 1:
                    self._take(record)
                    continue
                self.header = _checked(record)
                if record["boot"] != _boot():
                    break
            except (AttributeError, KeyError, TypeError, ValueError, UsageError):
                raise CommandFailed(
                    f"{folder() / self.lab}{_SUFFIX} is not a journal at line {number}",
                    "it records what was done; remove it when nothing of that is left",
                ) from None
        return length

    def _take(self, record: Mapping[str, Any]) -> None:
        match record:
            case {"begin": [*entries]}:
                self.entries |= {entry.id: entry for entry in map(_read_entry, entries)}
            case {"done": {**marks}, "undone": [*undone]}:
                for id in map(str, marks):
                    mark = record["done"][id]
                    mark = None if mark is None else int(mark)
                    self.entries[id] = replace(self.entries[id], mark=mark)
                for id in undone:
                    del self.entries[id]
            case {"kept": True}:
                self.kept = True
            case _:
                raise UsageError("not a record")


def title(name: str) -> str:
    """Return how a run is told of: by its lab, or for what is none (announce@host) by its own name."""
    return name if "@" in name else f"lab {name}"


def _write_all(file: int, record: Mapping[str, Any]) -> None:
    rest = f"{json.dumps(record)}\n".encode()
    while rest:
        rest = rest[os.write(file, rest) :]


def folder() -> Path:
    """Return the folder of the journals: root's is in /run, which a restart empties as it does the kernel."""
    state_home = os.environ.get("XDG_STATE_HOME", "")
    if Path(state_home).is_absolute():
        return Path(state_home) / "ipvkit"
    return Path("/run/ipvkit") if os.geteuid() == 0 else Path.home() / ".local/state/ipvkit"


@contextmanager
def started(lab: str) -> Iterator[Journal]:
    """Hold the journal of a new run of `lab`; its file stays if something is left to undo.

    Raise UsageError where a run of that lab goes on or has left something, MissingRequirement where no
    journal can be written.
    """
    try:
        journal = _held(lab, make=True)
    except CommandFailed as problem:
        raise UsageError(problem.message, problem.hint) from None
    except OSError as problem:
        raise _cannot_write(problem) from None
    try:
        _refuse_leftovers(journal)
        journal.sign()
        yield journal
    finally:
        journal.close()


def _refuse_leftovers(journal: Journal) -> None:
    since = journal.header.get("started")
    if journal.entries and journal.kept:
        raise UsageError(f"{journal.title} is up since {since}", f"ipvkit down {journal.lab}")
    if journal.entries:
        what = f"{journal.title} was interrupted, begun {since}, and is not undone"
        raise UsageError(what, f"ipvkit cleanup {journal.lab}")


def _cannot_write(problem: OSError) -> MissingRequirement:
    return MissingRequirement(
        f"no journal can be written in {folder()}: {problem.strerror}",
        "nothing was changed; set XDG_STATE_HOME to a folder that can be written",
    )


def _header() -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "pid": os.getpid(),
        "started": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "boot": _boot(),
        "netns": _OWN_NETNS.stat().st_ino,
    }


def _boot() -> str:
    return _BOOT.read_text(encoding="ascii").strip()


@contextmanager
def taken_over(lab: str) -> Iterator[Journal | None]:
    """Hold the journal of a run of `lab` that has ended, None where there is none.

    Raise UsageError where the run goes on, CommandFailed where nobody can tell what it has left.
    """
    try:
        journal = _held(lab, make=False)
    except FileNotFoundError:
        yield None
        return
    except OSError as problem:
        raise CommandFailed(f"the journal of {title(lab)} cannot be read: {problem.strerror}") from None
    try:
        yield journal
    finally:
        journal.close()


class State(StrEnum):
    """What a run is doing: it goes on, its lab is up as asked, it was interrupted; or nobody can tell."""

    RUNNING = "running"
    UP = "up"
    INTERRUPTED = "interrupted"
    DAMAGED = "damaged"


@dataclass(frozen=True, slots=True)
class Record:
    """What a journal tells of a run: its process, when it began (UTC), what it may have left."""

    lab: str
    state: State
    pid: int | None = None
    started: str | None = None
    entries: tuple[Entry, ...] = ()


def records() -> list[Record]:
    """Return what each journal tells whose run goes on or has left something, sorted by lab."""
    try:
        place = _place(make=False)
    except FileNotFoundError:
        return []
    try:
        names = sorted(entry.name for entry in os.scandir(place))
        labs = [name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX)]
        return [found for lab in labs if (found := _record(place, lab)) is not None]
    finally:
        os.close(place)


def _record(place: int, lab: str) -> Record | None:
    """Return what the journal of `lab` tells; one that holds nothing, and nobody, goes."""
    try:
        file = _open(place, lab, os.O_RDONLY)
    except FileNotFoundError:
        return None
    except (OSError, MissingRequirement):
        return Record(lab, State.DAMAGED)
    try:
        running = False
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            running = True
        read = Journal(lab, file=file)
        read.load()
        if not (running or read.entries):
            _remove(place, lab)
            return None
    except CommandFailed:
        return Record(lab, State.DAMAGED)
    finally:
        os.close(file)
    state = State.RUNNING if running else State.UP if read.kept else State.INTERRUPTED
    header = read.header
    return Record(lab, state, header.get("pid"), header.get("started"), tuple(read.entries.values()))


def _remove(place: int, lab: str) -> None:
    """Remove a file, and its folder if that was the last."""
    with suppress(OSError):
        os.unlink(f"{lab}{_SUFFIX}", dir_fd=place)
        folder().rmdir()


def _held(lab: str, *, make: bool) -> Journal:
    """Return the journal of `lab`, locked and read; UsageError where its run goes on, OSError without one."""
    if not _NAME.fullmatch(lab):
        raise UsageError(f"{lab!r} is no name of a lab", "`ipvkit status` tells the names")
    began = time.monotonic()
    while True:
        place = _place(make=make)
        try:
            lock = _locked(place, lab, make=make)
            if lock is not None:
                return _journal(place, lock, lab)
            record = _record(place, lab)
        except FileNotFoundError:
            os.close(place)
            if not make:
                raise
            # Another run has ended, and taken the folder away.
            continue
        except BaseException:
            os.close(place)
            raise
        os.close(place)
        owner = None if record is None else record.pid
        lives = owner is not None and Path(f"/proc/{owner}").exists()
        if time.monotonic() > began + (_PEEK_S if lives else _LINGER_S):
            who = f", as process {owner}" if lives else ""
            raise UsageError(
                f"{title(lab)} is running{who}", "one of a name at a time; wait, or end it with ^C"
            )
        time.sleep(0.02)


def _journal(place: int, lock: int, lab: str) -> Journal:
    journal = Journal(lab, place, lock)
    try:
        os.ftruncate(lock, journal.load())
    except BaseException:
        os.close(lock)
        raise
    return journal


def _checked(header: Any) -> Mapping[str, Any]:  # noqa: ANN401
    """Return `header` if it has all that tells who a run is; raise UsageError if not."""
    match header:
        case {"schema": schema, "pid": int(), "started": str(), "boot": str(), "netns": int()}:
            if schema == SCHEMA:
                return dict(header)
    raise UsageError("it does not begin as a journal does")


def _place(*, make: bool) -> int:
    """Return the open folder; OSError where there is none, MissingRequirement where others could write it."""
    path = folder()
    if make:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    place = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    return _own(place, path)


def _open(place: int, lab: str, how: int) -> int:
    """Return the open file; OSError where there is none, MissingRequirement where others could write it."""
    name = f"{lab}{_SUFFIX}"
    flags = how | os.O_NOFOLLOW | os.O_NONBLOCK
    return _own(os.open(name, flags, 0o600, dir_fd=place), folder() / name)


def _own(file: int, path: Path) -> int:
    """Return `file` if it is this user's alone to write; close it and raise MissingRequirement if not."""
    found = os.fstat(file)
    right = stat.S_ISDIR(found.st_mode) or (stat.S_ISREG(found.st_mode) and found.st_nlink <= 1)
    if right and found.st_uid == os.geteuid() and not found.st_mode & 0o022:
        return file
    os.close(file)
    what = f"{path} could have been written by somebody else"
    raise MissingRequirement(what, "look at what it is: ipvkit undoes nothing that it cannot trust")


def _locked(place: int, lab: str, *, make: bool) -> int | None:
    """Return the file of `lab`, open and locked, or None where somebody holds it; OSError without one."""
    for _ in range(100):
        lock = _open(place, lab, os.O_RDWR | (os.O_CREAT if make else 0))
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return None
        if os.fstat(lock).st_nlink == 1:
            return lock
        # Its run has ended and taken it away since it was opened.
        os.close(lock)
    raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))


# --- entries -------------------------------------------------------------------------------------------


def _mark_of(effect: Resource | None) -> int | None:
    match effect:
        case resources.Netns(netns) | resources.Link(netns=str(netns)) | resources.Sysctl(netns=str(netns)):
            return mark_of_netns(netns)
        case resources.Link(name):
            with suppress(OSError):
                return socket.if_nametoindex(name)
    return None


def mark_of_netns(name: str) -> int | None:
    """Return when the namespace was made that a name means now, in ns; None where it means none.

    Inodes of namespaces are used again. A file that is not of the kernel's own file system for them is
    what is left of one whose mount has gone.
    """
    with suppress(OSError):
        found = (_NETNS / name).stat()
        return found.st_ctime_ns if found.st_dev != _NETNS.stat().st_dev else None
    return None


def _written(entry: Entry) -> dict[str, Any]:
    """Return `entry` as JSON has it, with its undo as a person would type it."""
    if entry.effect is None:
        raise ValueError(f"{entry.id}: nobody could look for what it leaves")
    told = {"id": entry.id, "purpose": entry.purpose, "undo": str(entry.undo)}
    return {**told, "former": entry.former, **resources.written(entry.effect)}


def _read_entry(value: Mapping[str, Any]) -> Entry:
    """Return an entry; its command is made anew, since nothing that a file says is ever run."""
    effect = resources.read(value)
    former = str(value["former"])
    if isinstance(effect, resources.Sysctl) and not resources.is_number(former):
        raise UsageError(f"{former!r} is no value of {effect.key}")
    return Entry(str(value["id"]), str(value["purpose"]), undo_of(effect, former), effect, former)


def undo_of(effect: Resource, former: str) -> Command:
    """Return what takes `effect` back, with a sysctl's `former` value."""
    *words, last = effect.undo.argv
    return Command((*words, f"{last}{former}" if isinstance(effect, resources.Sysctl) else last))
