"""The runs in the journals: up, running or interrupted, as a table or JSON."""

from collections.abc import Sequence
from typing import Any

from ipvkit.host.checks import some
from ipvkit.report.grid import grid
from ipvkit.report.plain import chosen, document
from ipvkit.run.journal import Entry, Record


def render_table(records: Sequence[Record]) -> str:
    """Return a table with a line for each run."""
    if not records:
        return "no lab is up, and no run was interrupted\n"
    rows = [
        (r.lab, r.state, r.started or "", r.pid or "", some(what(entry) for entry in reversed(r.entries)))
        for r in records
    ]
    headers = ("lab", "state", "since", "process", "holds")
    return grid(rows, headers) + "\n"


def render_json(records: Sequence[Record]) -> str:
    """Return the document ``ipvkit/status/v1``; what a run holds is in the order of its undo."""
    return document("status", runs=[_run(record) for record in records])


def _run(record: Record) -> dict[str, Any]:
    holds = [{"what": what(entry), "undo": str(entry.undo)} for entry in reversed(record.entries)]
    return chosen(record, "lab state pid started") | {"holds": holds}


def what(entry: Entry) -> str:
    """Return what an entry has left, as a person reads it."""
    return str(entry.effect)
