"""``ipvkit labs graph``: what it prints, where, and whether the lab is run."""

import os
import sys
from dataclasses import replace
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING

from ipvkit.cli import emit, terminal_width
from ipvkit.cli.common import Place
from ipvkit.host.limits import concurrent_pings
from ipvkit.lab import Lab
from ipvkit.report.graph import Format, text
from ipvkit.report.graph.draw import observed, predicted
from ipvkit.report.graph.picture import Picture
from ipvkit.verbs.explain import phases_called

if TYPE_CHECKING:
    from ipvkit.run.verdicts import Result


def draw(lab: Lab, phase: str | None, form: Format, where: Place | None, timeout: float) -> int:
    """Print a phase of `lab`, predicted, or with `where` as it is observed there; return the exit code."""
    drawn, *others = phases_called(lab, phase)
    if others:
        names = ", ".join(other.name for other in others)
        print(f"note: this is phase {drawn.name}; --phase draws another: {names}", file=sys.stderr)
    if form in ("svg", "html"):
        from ipvkit.report.graph.svg import require_graphviz

        require_graphviz()
    if where is None:
        _print(predicted(lab, drawn), form)
        return 0
    from ipvkit.report.table import verdict_line

    result = _run(lab, where, timeout)
    _print(observed(result, drawn), form)
    print(verdict_line(result), file=sys.stderr)
    return result.exit_code


def _run(lab: Lab, where: Place, timeout: float) -> "Result":
    """Return the result of `lab` on a simulated LAN; raise the error of a run that failed."""
    from ipvkit.report.progress import Progress
    from ipvkit.run.verdicts import judge
    from ipvkit.verbs import run_lab

    where.refuse_local()
    lab = replace(lab, parallel=lab.parallel or concurrent_pings())
    target, progress = where.chosen(len(lab.hosts)), partial(Progress, verbose=False)
    run = run_lab.on_simulated_lan(lab, target, run_lab.fastest(lab), progress, timeout_s=timeout)
    result = judge(run)
    if result.failure is not None:
        raise result.failure
    return result


def _print(picture: Picture, form: Format) -> None:
    if form != "text":
        emit(import_module(f"ipvkit.report.graph.{form}").render(picture))
        return
    width = terminal_width()
    colour = width is not None and "NO_COLOR" not in os.environ
    emit(text.render(picture, colour=colour, width=width or text.WIDTH, ascii_=not _has_lines()))


def _has_lines() -> bool:
    """Return whether the character set of stdout has the lines of boxes."""
    try:
        "─│".encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return False
    return True
