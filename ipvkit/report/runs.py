"""What the journals tell: the labs that are up, running or were interrupted, as a table or JSON."""

import json
from collections.abc import Sequence
from typing import Any

from ipvkit.host.checks import some
from ipvkit.report.grid import grid
from ipvkit.run.journal import Record
from ipvkit.run.ledger import Entry


def render_table(records: Sequence[Record]) -> str:
    """Return a line for each run, and what to type about it."""
    if not records:
        return "no lab is up, and no run was interrupted\n"
    rows = [
        (r.lab, r.state, r.started or "", r.pid or "", some(what(entry) for entry in reversed(r.entries)))
        for r in records
    ]
    headers = ("lab", "state", "since", "process", "holds")
    return grid(rows, headers) + "\n"


def render_json(records: Sequence[Record]) -> str:
    """Return the document ``ipvkit/status/v1``; what a run holds stands in the order of its undoing."""
    document = {"schema": "ipvkit/status/v1", "runs": [_run(record) for record in records]}
    return json.dumps(document, indent=2) + "\n"


def _run(record: Record) -> dict[str, Any]:
    return {
        "lab": record.lab,
        "state": record.state,
        "pid": record.pid,
        "started": record.started,
        "holds": [{"what": what(e), "undo": str(e.undo)} for e in reversed(record.entries)],
    }


def what(entry: Entry) -> str:
    """Return what an entry has left, as a person reads it."""
    return str(entry.effect)
