"""Several outputs of ip, one after another."""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from ipvkit.core.errors import UnparsableOutput

T = TypeVar("T")

_TEXT_OR_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*"|([\[{])|([\]}])')


def read_outputs(lines: Iterable[str], parse: Callable[[str], tuple[T, ...]]) -> Iterator[T]:
    """Yield what `parse` finds in a stream of outputs of ip: each JSON document, each plain entry."""
    entry: list[str] = []
    began, depth = 1, 0
    for number, line in enumerate(lines, 1):
        # A plain entry begins at the margin; JSON is inside its brackets, wherever it stands.
        if entry and depth == 0 and not line[:1].isspace():
            yield from _found(entry, began, parse)
            entry, began = [], number
        entry.append(line)
        if entry[0].startswith("["):
            found = _TEXT_OR_BRACKET.findall(line)
            depth += sum(bool(opened) - bool(closed) for opened, closed in found)
            if depth <= 0:
                yield from _found(entry, began, parse)
                entry, began, depth = [], number + 1, 0
    if entry:
        yield from _found(entry, began, parse)


def _found(entry: list[str], began: int, parse: Callable[[str], tuple[T, ...]]) -> tuple[T, ...]:
    try:
        return parse("".join(entry))
    except UnparsableOutput as problem:
        raise UnparsableOutput(problem.tool, problem.line_number + began - 1, problem.line) from None
