"""``ipvkit cleanup``."""

from typing import Annotated

from typer import Argument, Option

from ipvkit.cli.common import DryRun
from ipvkit.cli.runs import undo_each
from ipvkit.core.errors import UsageError
from ipvkit.run import journal
from ipvkit.run.journal import State


def cleanup(
    labs: Annotated[list[str] | None, Argument(metavar="LAB", help="The runs to undo.")] = None,
    all_: Annotated[bool, Option("--all", help="Undo every interrupted run.")] = False,
    dry_run: DryRun = False,
) -> int:
    """It skips what is gone, and reports and keeps what was changed since.

    It keeps labs that are up, left so by `run-lab --keep`; use `ipvkit down` for those.

    Exit code: 0 all undone, 2 wrong usage, 3 not permitted, 4 cleanup incomplete.
    """
    names = [record.lab for record in journal.records() if record.state in (State.INTERRUPTED, State.DAMAGED)]
    if all_ == bool(labs):
        hint = f"interrupted: {', '.join(names)}" if names else "no run was interrupted"
        raise UsageError("name a lab, or give --all" if not all_ else "--all takes no names", hint)
    return undo_each(names if all_ else list(labs or ()), dry_run=dry_run, kept=False)
