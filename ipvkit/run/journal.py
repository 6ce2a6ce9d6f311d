"""What is on this machine because of us, on disk before it is there: one file a run.

A line of the file is one JSON object: first who the run is, then what begins, what has happened and what
is undone. The run holds a lock on its file, and so does each command that it has started: whoever gets
that lock knows that none of them is left.
"""

import errno
import fcntl
import json
import os
import re
import stat
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from ipvkit.core.errors import CommandFailed, IpvkitError, MissingRequirement, UsageError
from ipvkit.run.ledger import Entry, Ledger, written

SCHEMA = "ipvkit/journal/v1"

_OWN_NETNS, _BOOT = Path("/proc/self/ns/net"), Path("/proc/sys/kernel/random/boot_id")
_SUFFIX = ".jsonl"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9@._+-]{0,200}")

_PEEK_S = 1.0
"""How long a lock is waited for whose owner lives: it may only be looking."""

_LINGER_S = 10.0
"""How long a lock is waited for whose owner is dead: its commands were killed with it, and end."""


class Journal(Ledger):
    """The ledger of a run on this machine, locked, whose file is written before anything happens.

    `place` and `lock` are the open folder and file, closed with it; `header` tells who the run is.
    """

    def __init__(self, place: int, lock: int, lab: str, header: Mapping[str, Any]) -> None:
        """Begin with nothing."""
        super().__init__()
        self.place = place
        self.lock = lock
        self.lab = lab
        self.header = header

    @property
    def title(self) -> str:
        """How the run is told of."""
        return title(self.lab)

    @property
    def elsewhere(self) -> bool:
        """Whether its run was in another network namespace than this process is."""
        return bool(self.header["netns"] != _OWN_NETNS.stat().st_ino)

    def begin(self, entries: Sequence[Entry]) -> None:
        """Have what takes `entries` back on disk before they begin; CommandFailed where it cannot be."""
        if entries:
            self._write({"begin": [written(entry) for entry in entries]}, synced=True)
        super().begin(entries)

    def end(self, done: Iterable[str], undone: Iterable[str]) -> None:
        """Take in what has happened. If that cannot be written, looking at the machine will tell."""
        done, undone = list(done), [id for id in undone if id in self.entries]
        super().end(done, undone)
        if done or undone:
            with suppress(IpvkitError):
                self._write({"done": {id: self.entries[id].mark for id in done}, "undone": undone})

    def keep(self) -> None:
        """Take in that all of it is to stay; CommandFailed where that cannot be written."""
        self._write({"kept": True}, synced=True)
        super().keep()

    def close(self) -> None:
        """Let go of the lock; a file that holds nothing goes before, and a folder without files."""
        if not self.entries:
            _take_away(self.place, self.lab)
        os.close(self.lock)
        os.close(self.place)

    def _write(self, record: Mapping[str, Any], *, synced: bool = False) -> None:
        size = os.lseek(self.lock, 0, os.SEEK_END)
        try:
            _write_all(self.lock, record)
            if synced:
                os.fsync(self.lock)
        except OSError as problem:
            with suppress(OSError):
                os.ftruncate(self.lock, size)
            what = f"the journal in {folder()} cannot be written: {problem.strerror}"
            raise CommandFailed(what, "make room there, or set XDG_STATE_HOME to another folder") from None


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
        journal.header = _header()
        try:
            os.ftruncate(journal.lock, 0)
            _write_all(journal.lock, journal.header)
            os.fsync(journal.lock)
        except OSError as problem:
            raise _cannot_write(problem) from None
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
        read = _read_in(file, lab)
        if not (running or read.entries):
            _take_away(place, lab)
            return None
    except CommandFailed:
        return Record(lab, State.DAMAGED)
    finally:
        os.close(file)
    state = State.RUNNING if running else State.UP if read.kept else State.INTERRUPTED
    header = read.header
    return Record(lab, state, header.get("pid"), header.get("started"), tuple(read.entries.values()))


def _take_away(place: int, lab: str) -> None:
    """Take a file away, and its folder if that was the last."""
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
    try:
        read = _read_in(lock, lab)
        os.ftruncate(lock, read.length)
    except BaseException:
        os.close(lock)
        raise
    journal = Journal(place, lock, lab, read.header)
    journal.entries, journal.kept = read.entries, read.kept
    return journal


class _Content(Ledger):
    """What a file holds: its `header`, and the `length` of it that is whole, in bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.header: Mapping[str, Any] = {}
        self.length = 0


def _read_in(file: int, lab: str) -> _Content:
    """Return what the file holds; a last line that is not whole had not begun to count.

    Raise CommandFailed for what is no journal. What was begun before the machine was started is gone.
    """
    size = os.fstat(file).st_size
    text = os.pread(file, size, 0)
    content = _Content()
    content.length = text.rfind(b"\n") + 1
    for number, line in enumerate(text[: content.length].splitlines(), 1):
        try:
            record = json.loads(line)
            if number > 1:
                content.read(record)
                continue
            content.header = _checked(record)
            if record["boot"] != _boot():
                return content
        except (AttributeError, KeyError, TypeError, ValueError, UsageError):
            raise CommandFailed(
                f"{folder() / lab}{_SUFFIX} is no journal at line {number}",
                "it tells what was done; remove it when nothing of that is left",
            ) from None
    return content


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
