"""Results as tables and as JSON, and the words of a verdict."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from textwrap import wrap
from typing import Any, Generic

from ipvkit.core.command import Command, Completed, T
from ipvkit.core.errors import IpvkitError, printable

Rows = Sequence[Sequence[object]]


@dataclass(frozen=True, slots=True)
class Output(Generic[T]):
    """How outputs of one kind are shown: as a table, and as the document ``ipvkit/WHAT/v1``."""

    what: str
    table: Callable[[T], str]
    fields: Callable[[T], dict[str, Any]]

    def document(self, found: T, *, complete: bool = True) -> str:
        """Return the JSON document of what was `found`; `complete` where the tool marks no end."""
        fields = self.fields(found)
        return document(self.what, **fields, **({} if "complete" in fields else {"complete": complete}))


WIDTH = 100
"""How wide sentences are at most."""


def wrapped(text: str, width: int | None = None, indent: str = "", rest: str | None = None) -> list[str]:
    """Return the lines of a sentence in a terminal of that width; after the first they begin with `rest`."""
    rest, width = indent if rest is None else rest, min(width or WIDTH, WIDTH)
    return wrap(text, width, initial_indent=indent, subsequent_indent=rest, break_long_words=False)


def grid(rows: Iterable[Iterable[object]], headers: Sequence[str], **options: Any) -> str:  # noqa: ANN401
    """Return a table in which every cell stands as it is; `options` are tabulate's."""
    # It takes long to load, and JSON needs none.
    from tabulate import tabulate

    return tabulate(rows, headers, disable_numparse=True, **options)


def fitted(rows: Iterable[Sequence[object]], headers: Sequence[str], width: int | None) -> str:
    """Return a table for a terminal of that width: the cells of the widest column break between words."""
    rows = list(rows)
    shown = grid(rows, headers)
    rule = shown.splitlines()[1]
    if width is None or len(rule) <= width:
        return shown
    spans = list(map(len, rule.split()))
    at = spans.index(max(spans))
    words = [word for row in (headers, *rows) for word in str(row[at]).split()]
    room = max(spans[at] - (len(rule) - width), *map(len, words))
    return grid(rows, headers, maxcolwidths=[room if i == at else None for i in range(len(headers))])


def columns(rows: Rows, headers: Sequence[str], needed: int = 1, empty: str = "") -> str:
    """Return a table without the columns that are empty, but for the first `needed`; `empty` without rows."""
    if not rows:
        return empty
    texts = [["" if cell is None else printable(str(cell)) for cell in row] for row in rows]
    kept = [i for i in range(len(headers)) if i < needed or any(row[i] for row in texts)]
    return grid([[row[i] for i in kept] for row in texts], [headers[i] for i in kept]) + "\n"


def not_understood(lines: Iterable[str]) -> str:
    """Return the lines that a parser did not understand, marked as such."""
    return "".join(f"not understood: {printable(line)}\n" for line in lines)


def prediction_word(held: bool | None) -> str:
    """Return whether a prediction held, in the words of every report."""
    return {True: "as predicted", False: "DIFFERS", None: "not run"}[held]


def plain(value: object) -> Any:  # noqa: ANN401
    """Return `value` as values that `json.dumps` takes; of a dataclass, its fields by their names.

    >>> from ipaddress import ip_interface
    >>> plain({"address": ip_interface("192.0.2.1/24"), "flags": ("up",)})
    {'address': '192.0.2.1/24', 'flags': ['up']}
    """
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, Mapping):
        return {key: plain(inner) for key, inner in value.items()}
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return plain(value._asdict())
    if isinstance(value, tuple | list):
        return [plain(inner) for inner in value]
    return str(value)


def document(what: str, **fields: object) -> str:
    """Return the JSON document ``ipvkit/WHAT/v1`` of `fields`."""
    return json.dumps({"schema": f"ipvkit/{what}/v1", **fields}, indent=2) + "\n"


def json_line(what: str, **fields: object) -> str:
    """Return the same as one line."""
    return json.dumps({"schema": f"ipvkit/{what}/v1", **fields}) + "\n"


def chosen(value: object, names: str) -> dict[str, Any]:
    """Return the fields of `value` with these names, in this order, as `plain` does."""
    return {name: plain(getattr(value, name)) for name in names.split()}


def error(problem: IpvkitError) -> dict[str, Any]:
    """Return the fields of an error, and its exit code."""
    fields = chosen(problem, "message hint command stderr exit_code")
    return {**fields, "hint": problem.hint or None, "command": problem.command or None}


def commented(commands: Mapping[str, Command]) -> str:
    """Return `commands` as they are typed, each under its purpose."""
    return "".join(f"# {purpose}\n{command}\n" for purpose, command in commands.items())


def command_document(command: Command, completed: Completed) -> str:
    """Return the JSON document of a command that was executed."""
    return document(
        "command",
        command=str(command),
        argv=command.argv,
        exit_code=completed.exit_code,
        duration_s=round(completed.duration_s, 6),
        stdout=completed.stdout,
        stderr=completed.stderr,
    )
