"""Results in files."""

import os
import shutil
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from ipvkit.core.errors import IpvkitError, UsageError

_HINT = "name a file in a folder of yours"


def refuse_unwritable(output: Path | None) -> None:
    """Raise UsageError before anything is run where the result could not be written afterwards."""
    if output is None:
        return
    try:
        file = _replaced(output)
        writable = os.access(output if file is None else file.parent, os.W_OK)
        if not writable or output.is_dir() or output.is_socket():
            raise UsageError(_cannot(output), _HINT)
    except OSError as problem:
        raise UsageError(f"{_cannot(output)}: {problem.strerror}", _HINT) from None


def write(output: Path, pieces: Iterable[str | bytes]) -> None:
    """Replace a regular file by the whole result or not at all; write to a device, fifo or pipe in place."""
    encoded = (piece if isinstance(piece, bytes) else piece.encode() for piece in pieces)
    try:
        file = _replaced(output)
        if file is None:
            with output.open("wb") as device:
                device.writelines(encoded)
            return
        new = file.with_name(f".ipvkit.{os.urandom(8).hex()}")
        try:
            with new.open("xb") as result:
                result.writelines(encoded)
            if file.exists():
                shutil.copymode(file, new)
            new.replace(file)
        finally:
            new.unlink(missing_ok=True)
    except OSError as problem:
        raise IpvkitError(f"{_cannot(output)}: {problem.strerror}") from None


def add(output: Path, text: str) -> None:
    """Add `text` to a file, which other programs write too."""
    try:
        _replaced(output)
        with output.open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as problem:
        raise IpvkitError(f"{_cannot(output)}: {problem.strerror}") from None


def write_at(output: Path, text: str, mode: int) -> None:
    """Write `text` to a file with these permissions, and create the folders that it is in."""
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.touch(mode)
        write(output, [text])
        output.chmod(mode)
    except OSError as problem:
        raise UsageError(f"{_cannot(output)}: {problem.strerror}", _HINT) from None


def _cannot(output: Path) -> str:
    return f"the result cannot be written to {str(output)!r}"


def _replaced(output: Path) -> Path | None:
    """Return the regular file, perhaps new, that ``>output`` would write; None for another kind of file.

    Raise UsageError where another user chose it, in a folder such as /tmp: as protected_symlinks in proc(5).
    """
    with suppress(FileNotFoundError):
        if not stat.S_ISREG(output.stat().st_mode):
            return None
    file = output
    while file.is_symlink():
        _refuse_of_another(file)
        # An open file of a process, such as /dev/stdout, has no other name.
        if file.parent.stat().st_dev == Path("/proc/self").stat().st_dev:
            return None
        file = file.parent / file.readlink()
    if file.exists():
        _refuse_of_another(file)
    return file


def _refuse_of_another(file: Path) -> None:
    """Raise UsageError for a file or link of another user in a sticky folder."""
    folder, owner = file.parent.stat(), file.lstat().st_uid
    if folder.st_mode & stat.S_ISVTX and owner not in (os.geteuid(), folder.st_uid):
        raise UsageError(f"{str(file)!r} is of another user, in a folder that all can write", _HINT)
