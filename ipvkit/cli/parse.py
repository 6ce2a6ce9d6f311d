"""``ipvkit parse``."""

import re
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, Literal, TextIO, get_args

import typer

from ipvkit.cli import emit
from ipvkit.cli.options import Json
from ipvkit.errors import UnparsableOutput, UsageError
from ipvkit.report import outputs
from ipvkit.tools import arping, ip, ping

Kind = Literal["ping", "arping", "link", "addr", "route", "neigh", "netns"]


@dataclass(frozen=True, slots=True)
class _Reader:
    """How one kind is read: as a whole, as a stream, and how it is shown."""

    output: outputs.Output[Any]
    whole: Callable[[str], Any]
    stream: Callable[[Iterable[str]], Iterator[Any]]


def _of_ip(output: outputs.Output[Any], parse: Callable[[str], tuple[Any, ...]]) -> _Reader:
    return _Reader(output, parse, lambda lines: _entries(lines, parse))


def _links(text: str) -> tuple[outputs.LinkIn, ...]:
    return tuple(outputs.LinkIn(None, link) for link in ip.parse_links(text))


_READERS: dict[Kind, _Reader] = {
    "ping": _Reader(outputs.PING, ping.parse_ping, ping.read_ping),
    "arping": _Reader(outputs.ARPING, arping.parse_arping, arping.read_arping),
    "link": _of_ip(outputs.LINK, _links),
    "addr": _of_ip(outputs.ADDR, ip.parse_addresses),
    "route": _of_ip(outputs.ROUTE, ip.parse_routes),
    "neigh": _of_ip(outputs.NEIGH, ip.parse_neighbours),
    "netns": _of_ip(outputs.NETNS, ip.parse_netns),
}


def parse(
    kind: Annotated[Kind, typer.Argument(metavar="KIND", help=f"Whose output: {', '.join(get_args(Kind))}.")],
    file: Annotated[str, typer.Argument(metavar="FILE", help="Where it is; - is stdin.")] = "-",
    json_: Json = False,
    stream: Annotated[
        bool, typer.Option("--stream", help="Print a JSON line for each thing, as it arrives.")
    ] = False,
) -> int:
    """Of ip both are read, plain text and JSON. Several outputs one after another need --stream.

    Exit code: 0 understood, 1 not understood.
    """
    if json_ and stream:
        raise UsageError("--stream does not go with --json", "it prints JSON lines anyway")
    reader = _READERS[kind]
    try:
        with _opened(file) as text, _patient(text):
            if stream:
                for event in reader.stream(text):
                    if not emit(outputs.event(kind, event)):
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
        raise UsageError("there is no stdin to read", "name a file")
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


def _entries(lines: Iterable[str], parse_: Callable[[str], tuple[Any, ...]]) -> Iterator[Any]:
    """Yield what `parse_` finds in a stream of outputs of ip: each JSON document, each plain entry."""
    entry: list[str] = []
    began, depth = 1, 0
    for number, line in enumerate(lines, 1):
        # A plain entry begins at the margin; JSON is inside its brackets, wherever it stands.
        if entry and depth == 0 and not line[:1].isspace():
            yield from _found(entry, began, parse_)
            entry, began = [], number
        entry.append(line)
        if entry[0].startswith("["):
            depth += _deeper(line)
            if depth <= 0:
                yield from _found(entry, began, parse_)
                entry, began, depth = [], number + 1, 0
    if entry:
        yield from _found(entry, began, parse_)


_TEXT_OR_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*"|([\[{])|([\]}])')


def _deeper(line: str) -> int:
    """Return how many more brackets of JSON a line opens than it closes."""
    return sum(bool(opened) - bool(closed) for opened, closed in _TEXT_OR_BRACKET.findall(line))


def _found(entry: list[str], began: int, parse_: Callable[[str], tuple[Any, ...]]) -> tuple[Any, ...]:
    try:
        return parse_("".join(entry))
    except UnparsableOutput as problem:
        raise UnparsableOutput(problem.tool, problem.line_number + began - 1, problem.line) from None
