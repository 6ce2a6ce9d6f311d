"""``ipvkit parse``."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, TextIO

from typer import Argument, Option

from ipvkit.cli import emit
from ipvkit.cli.common import Json
from ipvkit.core.errors import UnparsableOutput, UsageError
from ipvkit.core.interrupts import heeded
from ipvkit.report.reading import Kind, event_line, has_unrecognised, is_complete, reader_of


def parse(
    kind: Annotated[
        Kind,
        Argument(
            metavar="KIND", help="What printed it: ping, fping, arping, bridge (fdb), or which ip command."
        ),
    ],
    file: Annotated[str, Argument(metavar="FILE", help="The file; - is stdin.")] = "-",
    json_: Json = False,
    stream: Annotated[bool, Option("--stream", help="Print one JSON line per event, as it arrives.")] = False,
    strict: Annotated[bool, Option("--strict", help="Exit with 1 where a line was not understood.")] = False,
) -> int:
    """It reads ip's text and JSON. For several outputs in one file, give --stream.

    Exit code: 0 parsed, 1 not understood; with --strict, 1 also for a line among others.
    """
    if json_ and stream:
        raise UsageError("--stream does not go with --json", "--stream alone prints JSON lines")
    output, whole, events = reader_of(kind)
    lines = _Lines()
    code = 0
    try:
        with _opened(file) as text, _patient(text):
            if stream:
                for found in events(lines.of(text)):
                    code |= strict and has_unrecognised(found)
                    if not emit(event_line(kind, found)):
                        return code
            else:
                found = whole("".join(lines.of(text)))
                code |= strict and has_unrecognised(found)
                complete = is_complete(kind, lines.last)
                emit(output.document(found, complete=complete) if json_ else output.table(found))
    except UnparsableOutput as problem:
        problem.exit_code = 1
        if not lines.last:
            problem.message, problem.hint = "nothing was read", _NO_STDERR
        raise
    if not lines.last:
        print(f"note: nothing was read; {_NO_STDERR}", file=sys.stderr)
    elif not is_complete(kind, lines.last):
        print("warning: no newline ends the last line; its last value may have been longer", file=sys.stderr)
    return code


_NO_STDERR = "did the tool complain on stderr? try `2>&1 |`"


class _Lines:
    """Lines as they come, and the `last` of them."""

    last = ""

    def of(self, text: TextIO) -> Iterator[str]:
        """Yield the lines of `text`."""
        for self.last in text:
            yield self.last


@contextmanager
def _opened(file: str) -> Iterator[TextIO]:
    """Open `file` as text in which only a line feed ends a line, whatever bytes are in it."""
    if file == "-" and sys.stdin is None:
        raise UsageError("stdin is closed", "give a file")
    try:
        binary = sys.stdin.buffer if file == "-" else Path(file).open("rb")  # noqa: SIM115
    except OSError as problem:
        raise UsageError(f"{file!r} cannot be read: {problem.strerror}") from None
    with TextIOWrapper(binary, encoding="utf-8", errors="replace", newline="\n") as text:
        yield text


@contextmanager
def _patient(text: TextIO) -> Iterator[None]:
    """Let the first ^C pass while a pipe is read: the ping at its other end got it too, and sums up."""
    if text.isatty() or signal.SIGINT not in heeded():
        yield
        return
    former = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, lambda number, _frame: signal.signal(number, former))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, former)
