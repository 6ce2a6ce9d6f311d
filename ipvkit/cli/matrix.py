"""``ipvkit matrix``."""

import os
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from ipvkit.cli import emit
from ipvkit.cli.common import Json
from ipvkit.cli.output import refuse_unwritable, write
from ipvkit.cli.progress import Progress
from ipvkit.core.errors import UsageError
from ipvkit.core.values import Flag, Mode
from ipvkit.lab import Family
from ipvkit.report import matrix as report
from ipvkit.run import engine
from ipvkit.run.verdicts import judge
from ipvkit.targets import require
from ipvkit.targets.choice import KERNELS_AT_ONCE, choose
from ipvkit.targets.kinds import TargetKind
from ipvkit.verbs import matrix as matrix_


def matrix(
    mode: Annotated[Mode | None, typer.Option(help="Only this mode.")] = None,
    flag: Annotated[Flag | None, typer.Option(help="Only this flag.")] = None,
    family: Annotated[Family | None, typer.Option(help="Only this family.")] = None,
    strategy: Annotated[
        str | None,
        typer.Option(metavar="NAME", help=f"Only this one of {', '.join(matrix_.STRATEGIES)}."),
    ] = None,
    target: Annotated[
        TargetKind, typer.Option(help="Where to run it: auto, sandbox or uml.")
    ] = TargetKind.AUTO,
    predict: Annotated[bool, typer.Option("--predict", help="Print the predictions, run nothing.")] = False,
    kernels: Annotated[
        int | None,
        typer.Option(min=1, max=64, metavar="N", help="Kernels side by side. Default: three for each CPU."),
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print a page of Markdown.")] = False,
    json_: Json = False,
    output: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the result to FILE.")] = None,
    timeout: Annotated[float, typer.Option(min=1, metavar="SECONDS", help="End the run after that.")] = 600,
) -> int:
    """Every pair is asked with cold neighbour tables, in IPv4 and IPv6, and held against the prediction.

    Exit code: 0 every cell as predicted, 1 one came out otherwise, 2 wrong usage, 3 this machine cannot,
    4 a command failed, 130 interrupted.
    """
    if strategy is not None and strategy not in matrix_.STRATEGIES:
        raise UsageError(f"{strategy!r} is no strategy", f"there is {', '.join(matrix_.STRATEGIES)}")
    if target is TargetKind.LOCAL:
        raise UsageError("the matrix is for a simulated LAN", "leave --target away, or give uml")
    if markdown and json_:
        raise UsageError("--markdown does not go with --json", "keep one of the two")
    refuse_unwritable(output)
    choice = matrix_.Choice(mode, flag, family, strategy)
    plans = matrix_.plans(choice, kernels or KERNELS_AT_ONCE)
    if not plans:
        raise UsageError("there is nothing of that", "strategies are for some modes, announce for IPv4")
    if predict:
        _tell(matrix_.predicted(plans), markdown=markdown, as_json=json_, output=output)
        return 0
    where, why = choose(target)
    if why:
        print(why, file=sys.stderr)
    require(*{program for plan in plans for program in plan.programs})
    started = time.monotonic()
    with Progress(*plans, verbose=False) as progress:
        runs = engine.run_side_by_side(plans, where, progress, at_once=len(plans), timeout_s=timeout)
    results = [judge(run) for run in runs]
    found = matrix_.observed(results, time.monotonic() - started)
    for failure in (result.failure for result in results):
        if failure is not None:
            raise failure
    _tell(found, markdown=markdown, as_json=json_, output=output)
    return 0 if all(cell.agrees for cell in found.cells) else 1


def _tell(found: matrix_.Matrix, *, markdown: bool, as_json: bool, output: Path | None) -> None:
    colour = output is None and sys.stdout.isatty() and "NO_COLOR" not in os.environ
    if as_json:
        text = report.render_json(found)
    else:
        text = report.render_markdown(found) if markdown else report.render(found, colour=colour)
    if output is None:
        emit(text)
    else:
        write(output, [text])
        print(f"{report.verdict_line(found)}; written to {output}", file=sys.stderr)
