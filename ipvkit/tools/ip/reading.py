"""Reads the output of ``ip``, plain or as JSON, into objects with typed access."""

import json
import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

from ipvkit.core.errors import UnparsableOutput
from ipvkit.core.values import Address
from ipvkit.tools.ip.plain import Line, NotUnderstood, T, address, is_json, lines, unjoined


class Entry:
    """An object of `ip -json`; each method returns a value of its type, or raises UnparsableOutput."""

    def __init__(self, tool: str, value: object) -> None:
        if not isinstance(value, dict):
            raise UnparsableOutput(tool, 1, _shown(value))
        self.tool = tool
        self.value: dict[str, Any] = value

    @classmethod
    def all(cls, tool: str, stdout: str) -> "list[Entry]":
        """Return the objects of the list; `ip` prints nothing, or empty objects, where there is none."""
        text = stdout or "[]"
        try:
            found = json.loads(text, object_pairs_hook=_first, parse_constant=_finite, parse_float=_finite)
        except (ValueError, RecursionError) as problem:
            texts = stdout.split("\n")
            number = min(getattr(problem, "lineno", 1), len(texts))
            raise UnparsableOutput(tool, number, texts[number - 1]) from None
        if not isinstance(found, list):
            raise UnparsableOutput(tool, 1, _shown(found))
        return [cls(tool, value) for value in found if value != {}]

    def unparsable(self) -> UnparsableOutput:
        """Return what to raise where this object is not as `ip` prints it."""
        return UnparsableOutput(self.tool, 1, _shown(self.value))

    def text(self, key: str) -> str:
        """Return the text that has to be under `key`."""
        value = self.text_or_none(key)
        if value is None:
            raise self.unparsable()
        return value

    def text_or_none(self, key: str) -> str | None:
        """Return the text under `key`; None where there is none, or null."""
        value = self.value.get(key)
        if value is not None and not isinstance(value, str):
            raise self.unparsable()
        return value

    def address_or_none(self, key: str) -> Address | None:
        """Return the address under `key`; None where there is none, or null."""
        text = self.text_or_none(key)
        try:
            return None if text is None else address(text)
        except ValueError:
            raise self.unparsable() from None

    def texts(self, key: str) -> tuple[str, ...]:
        """Return the texts in the list under `key`; none without such a list."""
        values = self.value.get(key, [])
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise self.unparsable()
        return tuple(values)

    def number_or_none(self, key: str) -> int | None:
        """Return a whole number that a counter of the kernel can hold."""
        value = self.value.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not -(2**63) <= value < 2**64:
            raise self.unparsable()
        return value

    def numbers(self, key: str) -> dict[str, int]:
        """Return the counters of the object under `key`."""
        counters = self.inner(key)
        found = {name: counters.number_or_none(name) for name in counters.value}
        return {name: count for name, count in found.items() if count is not None}

    def inner(self, key: str) -> "Entry":
        """Return the object under `key`; an empty one without it."""
        return Entry(self.tool, self.value.get(key, {}))

    def inners(self, key: str) -> "list[Entry]":
        """Return the objects in the list under `key`, without the empty ones."""
        values = self.value.get(key, [])
        if not isinstance(values, list):
            raise self.unparsable()
        return [Entry(self.tool, value) for value in values if value != {}]

    def rest(self, keys: Collection[str]) -> Mapping[str, Any]:
        """Return all but `keys`."""
        return {key: value for key, value in self.value.items() if key not in keys}


def read(
    tool: str, stdout: str, take_line: Callable[[Line, list[dict[str, Any]]], None]
) -> list[tuple[Entry, list[str]]]:
    """Return the objects that `ip` printed, plain or as JSON, each with its lines that were not understood.

    `take_line` puts a plain line into the objects so far, perhaps as a new one. Raise UnparsableOutput where
    the first line is not understood.
    """
    if is_json(stdout):
        return [(entry, []) for entry in Entry.all(tool, stdout)]
    found: list[dict[str, Any]] = []
    unrecognised: list[list[str]] = []
    for line in (part for whole in lines(tool, stdout) for part in unjoined(whole) if part.text.strip()):
        try:
            take_line(line, found)
            left = []
        except NotUnderstood:
            left = [line.text]
        if not found:
            raise UnparsableOutput(tool, line.number, line.text)
        unrecognised += [[] for _ in found[len(unrecognised) :]]
        unrecognised[-1] += left
    return [(Entry(tool, value), left) for value, left in zip(found, unrecognised, strict=True)]


_TEXT_OR_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*"|([\[{])|([\]}])')


def read_outputs(lines: Iterable[str], parse: Callable[[str], tuple[T, ...]]) -> Iterator[T]:
    """Yield what `parse` finds in a stream of outputs of ip: each JSON document, each plain entry."""
    entry: list[str] = []
    began, depth = 1, 0
    for number, line in enumerate(lines, 1):
        # A plain entry begins at the margin; JSON is inside its brackets, wherever it stands.
        if entry and depth == 0 and not line[:1].isspace():
            yield from _parsed(entry, began, parse)
            entry, began = [], number
        entry.append(line)
        if entry[0].startswith("["):
            found = _TEXT_OR_BRACKET.findall(line)
            depth += sum(bool(opened) - bool(closed) for opened, closed in found)
            if depth <= 0:
                yield from _parsed(entry, began, parse)
                entry, began, depth = [], number + 1, 0
    if entry:
        yield from _parsed(entry, began, parse)


def _parsed(entry: list[str], began: int, parse: Callable[[str], tuple[T, ...]]) -> tuple[T, ...]:
    try:
        return parse("".join(entry))
    except UnparsableOutput as problem:
        raise UnparsableOutput(problem.tool, problem.line_number + began - 1, problem.line) from None


def _shown(value: object) -> str:
    try:
        return json.dumps(value)
    except RecursionError:
        return "..."


def _first(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object with the first value of a key that is there twice.

    Old iproute2 printed the keys of a route's encapsulation, `dst` too, after those of the route.
    """
    found = dict(pairs)
    return found if len(found) == len(pairs) else found | dict(reversed(pairs))


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(digits)
    return value
