"""Grades of scripts as a table and as CSV."""

import csv
import io
from collections.abc import Sequence

from ipvkit.core.errors import printable
from ipvkit.report.plain import grid
from ipvkit.verbs.grade import Grade

_MOST_NOTES = 3
"""How many notes the table has for a script; CSV has all."""


def table(grades: Sequence[Grade]) -> str:
    """Return the table of `grades`, with what is wrong."""
    rows: list[tuple[str, str, str]] = []
    for grade in grades:
        notes = grade.notes
        shown = notes if len(notes) <= _MOST_NOTES else notes[: _MOST_NOTES - 1]
        more = [f"and {len(notes) - len(shown)} more"] if len(notes) > len(shown) else []
        lines = [printable(note) for note in (*shown, *more)] or [""]
        rows.append((printable(grade.name), f"{grade.points} of {grade.most}", lines[0]))
        rows += [("", "", line) for line in lines[1:]]
    return grid(rows, ("script", "points", "what is wrong")) + "\n"


def csv_of(grades: Sequence[Grade]) -> str:
    """Return a line for each of `grades`, after the names of the columns."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(("script", "points", "of", "exit_code", "seconds", "what_is_wrong"))
    for grade in grades:
        build = grade.build
        ended = ("", "") if build is None else (build.exit_code, f"{build.duration_s:.1f}")
        lines.writerow((grade.name, grade.points, grade.most, *ended, "; ".join(map(printable, grade.notes))))
    return text.getvalue()
