"""The formats of reports, by the suffix of the file, and where each is written."""

import os
import sys
from collections.abc import Iterable, Sequence
from importlib import import_module
from pathlib import Path

from ipvkit.core.errors import UsageError
from ipvkit.report.entries import Report
from ipvkit.report.files import add, refuse_unwritable, write

GITHUB = "github"
"""What is given for the summary and the annotations of a step, instead of a file."""

_MODULES = {".html": "html", ".json": "", ".md": "markdown", ".xml": "junit"}
"""The module of each format in this room, with a function `render`; the result itself has JSON."""


def refuse_wrong(targets: Iterable[str]) -> None:
    """Raise UsageError for a target of an unknown format, or one that could not be written."""
    for target in targets:
        if target == GITHUB:
            refuse_unwritable(_summary())
        elif _suffix(target) not in _MODULES:
            hint = f"{', '.join(_MODULES)}, or {GITHUB}"
            raise UsageError(f"--report {target!r}: the suffix names no format", f"choose from {hint}")
        else:
            refuse_unwritable(Path(target))
            if _suffix(target) == ".html":
                from ipvkit.report.html import require_jinja

                require_jinja()


def write_all(report: Report, targets: Sequence[str]) -> None:
    """Write `report` to each of `targets`, and the annotations of a step on stderr."""
    for target in targets:
        if target == GITHUB:
            from ipvkit.report import github

            add(_summary(), github.summary(report))
            sys.stderr.writelines(github.annotations(report))
        else:
            write(Path(target), _rendered(report, _suffix(target)))


def _rendered(report: Report, suffix: str) -> Iterable[str]:
    if not _MODULES[suffix]:
        return report.json()
    pieces: Iterable[str] = import_module(f"ipvkit.report.{_MODULES[suffix]}").render(report)
    return pieces


def _suffix(target: str) -> str:
    return Path(target).suffix.lower()


def _summary() -> Path:
    from ipvkit.report.github import SUMMARY

    file = os.environ.get(SUMMARY)
    if not file:
        raise UsageError(f"--report {GITHUB} needs ${SUMMARY}", "GitHub Actions sets it in each step")
    return Path(file)
