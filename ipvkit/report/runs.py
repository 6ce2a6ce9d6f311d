"""The runs in the journals: up, running or interrupted, as a table or JSON."""

from collections.abc import Sequence

from ipvkit.host.checks import some
from ipvkit.report.plain import chosen, document, grid
from ipvkit.run.journal import Record


def render_table(records: Sequence[Record]) -> str:
    """Return a table with a line for each run."""
    if not records:
        return "no lab is up, and no run was interrupted\n"
    rows = []
    for r in records:
        holds = some(str(entry.resource) for entry in reversed(r.entries))
        rows.append((r.lab, r.state, r.started or "", r.pid or "", holds))
    return grid(rows, ("lab", "state", "since", "process", "holds")) + "\n"


def render_json(records: Sequence[Record]) -> str:
    """Return the document ``ipvkit/status/v1``; what a run holds is in the order of its undo."""
    runs = []
    for record in records:
        holds = [{"what": str(entry.resource), "undo": str(entry.undo)} for entry in reversed(record.entries)]
        runs.append({**chosen(record, "lab state pid started"), "holds": holds})
    return document("status", runs=runs)
