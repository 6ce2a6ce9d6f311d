"""Results as tables and as JSON, and the words of a verdict."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from ipvkit.core.errors import IpvkitError


def grid(rows: Iterable[Iterable[object]], headers: Sequence[str], **options: Any) -> str:  # noqa: ANN401
    """Return a table in which every cell stands as it is; `options` are tabulate's."""
    # It takes long to load, and JSON needs none.
    from tabulate import tabulate

    return tabulate(rows, headers, disable_numparse=True, **options)


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
