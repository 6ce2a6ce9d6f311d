"""``ipvkit down``."""

from typing import Annotated

from typer import Argument

from ipvkit.cli.common import DryRun
from ipvkit.cli.runs import undo_each


def down(
    lab: Annotated[str, Argument(metavar="LAB", help="The lab's name.")], dry_run: DryRun = False
) -> int:
    """It skips what is gone, and reports and keeps what was changed since.

    Exit code: 0 all undone, 2 wrong usage, 3 not permitted, 4 cleanup incomplete.
    """
    return undo_each([lab], dry_run=dry_run, kept=True)
