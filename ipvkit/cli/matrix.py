"""``ipvkit matrix``."""

import os
import sys
import time
from functools import partial
from typing import Annotated

from typer import Option

from ipvkit.cli import emit
from ipvkit.cli.common import Json, OutputFile, Place, Timeout
from ipvkit.cli.reports import Reports
from ipvkit.core.errors import UsageError
from ipvkit.core.values import Flag, Mode
from ipvkit.lab import Family
from ipvkit.report import matrix as report
from ipvkit.report.files import refuse_unwritable, write
from ipvkit.report.progress import Progress
from ipvkit.targets.choice import KERNELS_AT_ONCE
from ipvkit.verbs import matrix as matrix_
from ipvkit.verbs.run_lab import judged


def matrix(
    mode: Annotated[Mode | None, Option(help="Only this mode.")] = None,
    flag: Annotated[Flag | None, Option(help="Only this flag.")] = None,
    family: Annotated[Family | None, Option(help="Only this family.")] = None,
    strategy: Annotated[
        str | None, Option(metavar="NAME", help=f"Only one of {', '.join(matrix_.STRATEGIES)}.")
    ] = None,
    *,
    two_hosts: Annotated[
        bool, Option("--two-hosts", help="Pairs on two hosts, each a separate kernel.")
    ] = False,
    place: Place,
    predict: Annotated[bool, Option("--predict", help="Print the predictions, run nothing.")] = False,
    kernels: Annotated[
        int | None,
        Option(min=1, max=64, metavar="N", help="Concurrent kernels. Default: three for each CPU."),
    ] = None,
    markdown: Annotated[bool, Option("--markdown", help="Print Markdown.")] = False,
    json_: Json = False,
    output: OutputFile = None,
    reports: Reports,
    timeout: Timeout = 600,
) -> int:
    """Each pair is pinged with empty neighbour tables, in IPv4 and IPv6, and compared with the prediction.

    With `--kernel all` it runs on each kernel that `ipvkit kernels` lists.

    Exit code: 0 all cells as predicted, 1 a cell differs, 2 wrong usage, 3 this machine cannot,
    4 a command failed, 130 interrupted.
    """
    place.refuse_local()
    if markdown and json_:
        raise UsageError("--markdown does not go with --json", "give one of the two")
    refuse_unwritable(output)
    count = kernels or KERNELS_AT_ONCE
    hosts = 2 if two_hosts else 1
    if two_hosts:
        # Each lab is three: the LAN is one too.
        count = max(1, count // 3)
    plans = matrix_.plans(count, mode, flag, family, strategy, two_hosts=two_hosts)
    if predict:
        found = matrix_.predicted(plans)
    else:
        places = place.each(hosts)
        started = time.monotonic()
        with Progress(*plans * len(places), verbose=False) as progress:
            run = partial(judged, plans, show=progress, at_once=len(plans), timeout_s=timeout)
            results = [result for where in places for result in run(where)]
        found = matrix_.observed(results, time.monotonic() - started)
    if json_:
        text = report.render_json(found)
    elif markdown:
        text = report.render_markdown(found)
    else:
        terminal = output is None and sys.stdout is not None and sys.stdout.isatty()
        colour = terminal and "NO_COLOR" not in os.environ
        text = report.render(found, colour=colour)
    if output is None:
        emit(text)
    else:
        write(output, [text])
        print(f"{report.verdict_line(found)}; written to {output}", file=sys.stderr)
    reports.write(partial(report.report, found))
    return 0 if predict or all(cell.agrees for cell in found.cells) else 1
