"""The JSON Schema of lab files as tables of Markdown, for the reference page."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

_Schema = Mapping[str, Any]

_TITLES = {
    "lab": "The lab",
    "network": "The network",
    "parent": "Several parents",
    "endpoint": "Endpoints",
    "route": "Routes",
    "phase": "Phases",
    "setting": "Parents that differ in a phase",
    "act": "What happens",
    "check": "Checks",
    "try": "Tries",
}
"""The parts of a lab in the order of the page, each with its heading."""

_KEY = {
    "lab": "lab",
    "network": "network",
    "parent": "parents",
    "endpoint": "endpoints",
    "route": "routes",
    "phase": "phases",
    "setting": "parents of a phase",
    "act": "do",
    "check": "check",
    "try": "try",
}


def render_markdown(schema: str) -> str:
    """Return a section with a table of keys for each part of a lab."""
    whole = json.loads(schema)
    parts = {"lab": whole, **whole["$defs"]}
    return "\n".join(line for name in _TITLES for line in _section(name, parts[name]))


def _section(name: str, part: _Schema) -> Iterator[str]:
    yield f"## {_TITLES[name]}: `{_KEY[name]}`"
    yield ""
    if name != "lab":
        yield part["description"]
        yield ""
    yield "| key | type | default | meaning |"
    yield "| --- | --- | --- | --- |"
    for key, value in part["properties"].items():
        default = "required" if key in part["required"] else _default(value)
        meaning = value["description"] if "description" in value else _see(value)
        yield f"| `{key}` | {_type(value)} | {default} | {meaning} |"
    yield ""


def _see(value: _Schema) -> str:
    name = _name(value)
    return f"See [{_TITLES[name].lower()}](#{_TITLES[name].lower().replace(' ', '-')}-{_KEY[name]})."


def _default(value: _Schema) -> str:
    if "default" not in value:
        return "none"
    default = value["default"]
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def _name(value: _Schema) -> str:
    return str(value["$ref"]).rpartition("/")[2]


def _type(value: _Schema) -> str:
    if "$ref" in value:
        return "mapping"
    if "enum" in value:
        *others, last = (f"`{word}`" for word in value["enum"])
        return f"{', '.join(others)} or {last}"
    if "anyOf" in value:
        kinds = [_type(kind) for kind in value["anyOf"]]
        return " or ".join("list" if kind.startswith("list") else kind for kind in kinds)
    if value["type"] == "integer":
        return f"number, {value['minimum']} to {value['maximum']}"
    if value["type"] == "array":
        return "list"
    return {"boolean": "`true` or `false`", "object": "mapping", "string": "text"}[value["type"]]
