"""Labs before anything is run: what each shows, what is predicted, and the keys of their files."""

import json
from collections.abc import Iterable

from ipvkit.lab import Lab
from ipvkit.lab.table import LAB, NETWORK, PARTS, Part, Schema, schema
from ipvkit.plan.steps import Plan
from ipvkit.report.plain import fitted


def summaries(labs: Iterable[Lab], width: int | None = None) -> str:
    """Return a table of labs, with what each is about, for a terminal of that width."""
    return fitted([(lab.name, lab.about) for lab in labs], ("lab", "what it shows"), width) + "\n"


def predictions(plan: Plan, width: int | None = None) -> str:
    """Return the table of what is predicted in each phase of `plan`, for a terminal of that width."""
    rows = []
    for section in plan.sections:
        probes = (step.probe for stage in section.stages for step in stage if step.probe is not None)
        for p in (*probes, *section.skipped):
            rows.append(
                (section.name, p.check, p.address or "", " or ".join(p.outcomes), p.skipped or p.reason)
            )
    headers = ("phase", "check", "address", "predicted", "reason")
    return f"{fitted(rows, headers, width)}\n\n{plan.lab.name}: {len(rows)} checks\n"


def schema_json() -> str:
    """Return the JSON Schema of lab files."""
    return json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"


def schema_markdown() -> str:
    """Return a section of Markdown with a table of keys for each part of a lab, for the reference page."""
    return "\n".join(map(_section, PARTS))


def _section(part: Part) -> str:
    whole, rows = part.schema, ""
    for key, value in whole["properties"].items():
        default = "required" if key in whole["required"] else _default(value)
        rows += f"| `{key}` | {_type(value)} | {default} | {value.get('description', _SEE_NETWORK)} |\n"
    meaning = "" if part is LAB else f"{part.meaning}\n\n"
    headers = "| key | type | default | meaning |\n| --- | --- | --- | --- |\n"
    return f"## {part.title}: `{part.key}`\n\n{meaning}{headers}{rows}"


_SEE_NETWORK = f"See [{NETWORK.title.lower()}](#{NETWORK.title.lower().replace(' ', '-')}-{NETWORK.key})."


def _default(value: Schema) -> str:
    if "default" not in value:
        return "none"
    default = value["default"]
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def _type(value: Schema) -> str:
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
    words = {"array": "list", "boolean": "`true` or `false`", "object": "mapping", "string": "text"}
    return words[value["type"]]
