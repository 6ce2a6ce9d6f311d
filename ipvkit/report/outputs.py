"""What the tools printed, as a table that a person reads and as one JSON document."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ipvkit.core.command import Command, Completed
from ipvkit.report.grid import grid
from ipvkit.report.plain import plain

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Output(Generic[T]):
    """How the outputs of one kind are shown: its `schema`, and what makes a table and a document."""

    schema: str
    table: Callable[[T], str]
    fields: Callable[[T], dict[str, Any]]

    def document(self, found: T) -> str:
        """Return the JSON document of what was `found`."""
        return json.dumps({"schema": self.schema, **self.fields(found)}, indent=2) + "\n"


def commented(commands: Mapping[str, Command]) -> str:
    """Return `commands` as they are typed, each under its purpose."""
    return "".join(f"# {purpose}\n{command}\n" for purpose, command in commands.items())


def command_document(command: Command, completed: Completed) -> str:
    """Return the JSON document of a command that was executed."""
    document = {
        "schema": "ipvkit/command/v1",
        "command": str(command),
        "argv": list(command.argv),
        "exit_code": completed.exit_code,
        "duration_s": round(completed.duration_s, 6),
        "stdout": completed.stdout,
        "stderr": completed.stderr,
    }
    return json.dumps(document, indent=2) + "\n"


def event_line(kind: str, value: object) -> str:
    """Return the JSON line of one thing in the output of a tool of that `kind`, as it arrived."""
    fields = plain(value)
    if kind == "link":
        fields = {"netns": fields["netns"], **fields["link"]}
    name = _EVENTS.get(type(value).__name__, kind)
    return json.dumps({"schema": "ipvkit/event/v1", "tool": kind, "event": name, **fields}) + "\n"


_EVENTS = {
    "Header": "header",
    "Reply": "reply",
    "ArpReply": "reply",
    "PingError": "error",
    "ArpingError": "error",
    "NoAnswer": "no_answer",
    "Note": "note",
    "Unrecognised": "unrecognised",
    "Summary": "summary",
    "Times": "times",
}
"""How the parsers' types are called in JSON; of ip each thing is called by its kind."""


# --- tables ---------------------------------------------------------------------------------------------


def columns(rows: Sequence[Sequence[object]], headers: Sequence[str], needed: int = 1) -> str:
    """Return a table without the columns that are empty, but for the first `needed`."""
    texts = [["" if cell is None else shown(str(cell)) for cell in row] for row in rows]
    kept = [i for i in range(len(headers)) if i < needed or any(row[i] for row in texts)]
    table = [[row[i] for i in kept] for row in texts]
    return grid(table, [headers[i] for i in kept]) + "\n"


def shown(text: str) -> str:
    """Return `text` so that nothing in it, which others may have sent, can act on a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def not_understood(lines: Iterable[str]) -> str:
    """Return `lines` as those that no parser understood."""
    return "".join(f"not understood: {shown(line)}\n" for line in lines)
