"""What was found, and what went wrong, as values that `json.dumps` takes."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from ipvkit.core.errors import IpvkitError


def plain(value: object) -> Any:  # noqa: ANN401
    """Return what a parser found as values that `json.dumps` takes, by the names of its fields.

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


def error(problem: IpvkitError) -> dict[str, Any]:
    """Return what went wrong, and the exit code that says so."""
    return {
        "message": problem.message,
        "hint": problem.hint or None,
        "command": problem.command or None,
        "stderr": problem.stderr,
        "exit_code": problem.exit_code,
    }
