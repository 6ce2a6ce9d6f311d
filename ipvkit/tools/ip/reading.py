"""How the output of ``ip`` is read, whatever it lists."""

import json
from ipaddress import IPv4Interface

from ipvkit.errors import UnparsableOutput


class Entry:
    """An object of what `ip -json` printed; each thing asked of it has the type asked for, or it raises."""

    def __init__(self, tool: str, value: object) -> None:
        self.tool = tool
        self.value = value if isinstance(value, dict) else {}
        if not isinstance(value, dict):
            raise UnparsableOutput(tool, 1, json.dumps(value))

    @classmethod
    def all(cls, tool: str, stdout: str) -> "list[Entry]":
        """Return the objects of the list; `ip` prints nothing, or empty objects, where there is none."""
        try:
            found = json.loads(stdout or "[]")
        except (ValueError, RecursionError) as problem:
            lines = stdout.splitlines() or [""]
            number = min(getattr(problem, "lineno", 1), len(lines))
            raise UnparsableOutput(tool, number, lines[number - 1]) from None
        if not isinstance(found, list):
            raise UnparsableOutput(tool, 1, json.dumps(found))
        return [cls(tool, value) for value in found if value != {}]

    def unparsable(self) -> UnparsableOutput:
        return UnparsableOutput(self.tool, 1, json.dumps(self.value))

    def text(self, key: str) -> str:
        value = self.text_or_none(key)
        if value is None:
            raise self.unparsable()
        return value

    def text_or_none(self, key: str) -> str | None:
        value = self.value.get(key)
        if value is not None and not isinstance(value, str):
            raise self.unparsable()
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        values = self.value.get(key, [])
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise self.unparsable()
        return tuple(values)

    def inner(self, key: str) -> "Entry":
        return Entry(self.tool, self.value.get(key, {}))

    def inners(self, key: str) -> "list[Entry]":
        values = self.value.get(key, [])
        if not isinstance(values, list):
            raise self.unparsable()
        return [Entry(self.tool, value) for value in values if value != {}]

    def address(self) -> IPv4Interface:
        try:
            return IPv4Interface(f"{self.text('local')}/{int(self.value['prefixlen'])}")
        except (KeyError, TypeError, ValueError):
            raise self.unparsable() from None
