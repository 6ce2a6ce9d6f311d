"""The output of tools, as a table and as one JSON document."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ipvkit.core.command import Command, Completed
from ipvkit.report.plain import document, grid, json_line, plain

T = TypeVar("T")
Rows = Sequence[Sequence[object]]


@dataclass(frozen=True, slots=True)
class Output(Generic[T]):
    """How outputs of one kind are shown: as a table, and as the document ``ipvkit/WHAT/v1``."""

    what: str
    table: Callable[[T], str]
    fields: Callable[[T], dict[str, Any]]

    def document(self, found: T) -> str:
        """Return the JSON document of what was `found`."""
        return document(self.what, **self.fields(found))


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


def event_line(kind: str, value: object) -> str:
    """Return the JSON line of one event in the output of a tool of that `kind`."""
    fields, event = plain(value), kind
    if kind == "link":
        fields = {"netns": fields["netns"], **fields["link"]}
    elif kind in ("ping", "arping"):
        name = type(value).__name__
        event = _EVENTS.get(name, name.lower())
    return json_line("event", tool=kind, event=event, **fields)


_EVENTS = {"ArpReply": "reply", "PingError": "error", "ArpingError": "error", "NoAnswer": "no_answer"}
"""The names in JSON of the parsers' types that are not just the type's."""


def columns(rows: Rows, headers: Sequence[str], needed: int = 1, empty: str = "") -> str:
    """Return a table without the columns that are empty, but for the first `needed`; `empty` without rows."""
    if not rows:
        return empty
    texts = [["" if cell is None else shown(str(cell)) for cell in row] for row in rows]
    kept = [i for i in range(len(headers)) if i < needed or any(row[i] for row in texts)]
    return grid([[row[i] for i in kept] for row in texts], [headers[i] for i in kept]) + "\n"


def shown(text: str) -> str:
    """Return `text`, which may come from another host, with what does not print escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def not_understood(lines: Iterable[str]) -> str:
    """Return the lines that a parser did not understand, marked as such."""
    return "".join(f"not understood: {shown(line)}\n" for line in lines)
