"""``ipvkit kernels``."""

from typing import Annotated

import typer
from typer import Argument, Option

from ipvkit.cli import SUMMARIES, emit, terminal_width
from ipvkit.cli.common import Group, Json, Timeout, expanded
from ipvkit.report.kernels import Progress, render, render_json, summary
from ipvkit.targets.kernels import SUITES, find, wanted
from ipvkit.targets.kernels import kernels as kernels_
from ipvkit.verbs import kernels as verb

HELP = """Without a subcommand it lists the installed kernel and those in the cache.

Exit code: 0 done, 2 wrong usage, 3 this machine cannot, 4 apt failed."""
FETCH_HELP = f"{', '.join(SUITES)}, or a suite of Debian such as sid."


def _series(incomplete: str) -> list[str]:
    return [series for series in SUITES if series.startswith(incomplete)]


kernels = typer.Typer(name="kernels", cls=Group, add_completion=False, rich_markup_mode=None)


@kernels.callback(help=f"{SUMMARIES['kernels']}\n\n{HELP}", invoke_without_command=True)
def _list(context: typer.Context, json_: Json = False) -> None:
    if context.invoked_subcommand is not None:
        return
    there = kernels_()
    default = find() if wanted(None) or any(kernel.runs_here for kernel in there) else None
    if default is not None and default not in there:
        there = [default, *there]
    emit(render_json(there, default) if json_ else render(there, default, terminal_width()))


def fetch(
    names: Annotated[
        list[str], Argument(metavar="VERSION", help=FETCH_HELP, autocompletion=_series, show_default=False)
    ],
    mirror: Annotated[str, Option(metavar="URI", help="The archive, or a mirror of it.")] = verb.MIRROR,
    timeout: Timeout = 600,
) -> None:
    """Get kernels of Debian into the cache; needs no root.

    apt downloads the package user-mode-linux, about 40 MB, and checks it by the signature of Debian's
    archive. It is unpacked, not installed.
    """
    for name in names:
        verb.suite_of(name)
    for name in names:
        with Progress() as show:
            fetched = verb.fetch(name, mirror, show, timeout)
        emit(summary(fetched))


kernels.command("fetch")(expanded(fetch))
