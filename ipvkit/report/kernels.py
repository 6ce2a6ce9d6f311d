"""The kernels of this machine as a table and as JSON, ``ipvkit/kernels/v1``, and the progress of a fetch."""

import os
import sys
from collections.abc import Sequence
from typing import Any, Self

from ipvkit.report.plain import chosen, document, fitted
from ipvkit.targets.kernels import SUITES, Kernel
from ipvkit.verbs.kernels import Fetched


def fields(kernel: Kernel) -> dict[str, Any]:
    """Return the fields of a kernel in JSON."""
    return chosen(kernel, "release origin program modules runs_here")


def table(kernels: Sequence[Kernel], default: Kernel | None = None, width: int | None = None) -> str:
    """Return the table of `kernels`, in which the default is marked, and those that do not run here."""
    rows = [[k.release, k.origin, k.program, _note(k, default)] for k in kernels]
    return fitted(rows, ("kernel", "origin", "program", ""), width)


def _note(kernel: Kernel, default: Kernel | None) -> str:
    if kernel == default:
        return "default"
    return "" if kernel.runs_here else "does not run on this CPU"


def render(kernels: Sequence[Kernel], default: Kernel | None, width: int | None = None) -> str:
    """Return the table of `kernels`, and what `kernels fetch` gets, for a terminal of that width."""
    there = table(kernels, default, width) if kernels else "no kernel"
    others = [
        f"{series}, of Debian {suite}: ipvkit kernels fetch {series}" for series, suite in absent(kernels)
    ]
    return "\n".join([there, *(["", *others] if others else [])]) + "\n"


def render_json(kernels: Sequence[Kernel], default: Kernel | None) -> str:
    """Return the document of `kernels`."""
    return document(
        "kernels",
        default=default and default.release,
        kernels=[fields(kernel) for kernel in kernels],
        fetchable=[{"series": series, "suite": suite} for series, suite in absent(kernels)],
    )


def absent(kernels: Sequence[Kernel]) -> list[tuple[str, str]]:
    """Return the series that are not there, each with its suite of Debian."""
    there = [f"{kernel.release}." for kernel in kernels]
    return [(s, suite) for s, suite in SUITES.items() if not any(one.startswith(f"{s}.") for one in there)]


def summary(fetched: Fetched) -> str:
    """Return what was fetched from where, how it was checked, and where it is."""
    package = fetched.package
    return f"""\
kernel {fetched.release}: user-mode-linux {package.version} of Debian {fetched.suite}, {package.uri}
apt has checked the signature of the archive with {fetched.keyring}, and {package.hash}
unpacked into {fetched.folder}; nothing was installed
run it: ipvkit run-lab --kernel {fetched.release}
"""


class Progress:
    """Shows on stderr what a fetch does: a bar on a terminal, otherwise a line for each step."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._task: Any = None
        self._last = ""

    def __enter__(self) -> Self:
        plain = "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb"
        if sys.stderr.isatty() and not plain:
            from rich import console, progress

            columns = (progress.SpinnerColumn(), progress.BarColumn(24), progress.TaskProgressColumn())
            text = progress.TextColumn("{task.description}")
            self._bar = progress.Progress(
                *columns, text, console=console.Console(stderr=True), transient=True
            )
            self._task = self._bar.add_task("", total=None)
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, purpose: str, percent: float | None) -> None:
        """Show what is done now, and how much of it."""
        if self._bar is not None:
            self._bar.update(self._task, description=purpose, total=percent and 100, completed=percent or 0)
        elif purpose != self._last:
            print(purpose, file=sys.stderr, flush=True)
        self._last = purpose
