"""``ipvkit parse``."""

import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, Literal, NamedTuple, TextIO

import typer

from ipvkit.cli import emit
from ipvkit.cli.common import Json
from ipvkit.core.errors import UnparsableOutput, UsageError
from ipvkit.report.outputs import Output, event_line

Kind = Literal["ping", "arping", "link", "addr", "route", "neigh", "netns"]


class _Reader(NamedTuple):
    """How the output of one kind of command is shown, read as a whole, and read as a stream."""

    output: Output[Any]
    whole: Callable[[str], Any]
    stream: Callable[[Iterable[str]], Iterator[Any]]


def _reader(kind: Kind) -> _Reader:
    """Return the reader of `kind`; the parsers of the other tools are not loaded."""
    if kind == "ping":
        from ipvkit.report.ping import PING
        from ipvkit.tools import ping

        return _Reader(PING, ping.parse_ping, ping.read_ping)
    if kind == "arping":
        from ipvkit.report.arping import ARPING
        from ipvkit.tools import arping

        return _Reader(ARPING, arping.parse_arping, arping.read_arping)
    from ipvkit.report import ip as report
    from ipvkit.tools import ip

    def links(text: str) -> tuple[report.LinkIn, ...]:
        return tuple(report.LinkIn(None, link) for link in ip.parse_links(text))

    readers: dict[Kind, tuple[Output[Any], Callable[[str], tuple[Any, ...]]]] = {
        "link": (report.LINK, links),
        "addr": (report.ADDR, ip.parse_addresses),
        "route": (report.ROUTE, ip.parse_routes),
        "neigh": (report.NEIGH, ip.parse_neighbours),
        "netns": (report.NETNS, ip.parse_netns),
    }
    output, whole = readers[kind]
    return _Reader(output, whole, lambda lines: ip.read_outputs(lines, whole))


def parse(
    kind: Annotated[
        Kind, typer.Argument(metavar="KIND", help="What printed it: ping, arping, or which ip command.")
    ],
    file: Annotated[str, typer.Argument(metavar="FILE", help="The file; - is stdin.")] = "-",
    json_: Json = False,
    stream: Annotated[
        bool, typer.Option("--stream", help="Print one JSON line per event, as it arrives.")
    ] = False,
) -> int:
    """It reads ip's text and JSON. For several outputs in one file, give --stream.

    Exit code: 0 parsed, 1 not understood.
    """
    if json_ and stream:
        raise UsageError("--stream does not go with --json", "--stream alone prints JSON lines")
    reader = _reader(kind)
    try:
        with _opened(file) as text, _patient(text):
            if stream:
                for found in reader.stream(text):
                    if not emit(event_line(kind, found)):
                        break
            else:
                found = reader.whole(text.read())
                emit(reader.output.document(found) if json_ else reader.output.table(found))
    except UnparsableOutput as problem:
        problem.exit_code = 1
        raise
    return 0


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

    def once(number: int, _frame: FrameType | None) -> None:
        signal.signal(number, former)

    if text.isatty():
        yield
        return
    former = signal.signal(signal.SIGINT, once)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, former)
