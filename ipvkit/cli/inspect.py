"""``ipvkit inspect``."""

import sys
from typing import Annotated

from typer import Option

from ipvkit.cli import emit
from ipvkit.cli.common import DryRun, Json, one_form
from ipvkit.core.command import Command
from ipvkit.core.errors import UsageError
from ipvkit.core.values import alternative_name
from ipvkit.host.inspect import Inspection, only, views
from ipvkit.host.interfaces import require_interface
from ipvkit.host.namespaces import spaces
from ipvkit.report.inspect import preview, render_json, render_table
from ipvkit.verbs.inspect import look, review


Parent = Annotated[str | None, Option(metavar="DEV", help="Only what is on this interface.")]
Verbose = Annotated[bool, Option("-v", "--verbose", help="Show each command as it runs.")]


def inspect(parent: Parent = None, dry_run: DryRun = False, verbose: Verbose = False, json_: Json = False) -> int:
    """It finds links in every network namespace, of containers and processes too, and changes nothing.

    Root sees all; other users see what is theirs. The findings compare the machine with the model.

    Exit code: 0 no errors were found, 1 otherwise.
    """
    one_form(dry_run=dry_run, json_=json_)
    if dry_run:
        found_in = spaces()
        emit(preview(found_in, views(found_in)))
        return 0
    reviewed = review(found_here(parent, verbose=verbose))
    emit(render_json(reviewed) if json_ else render_table(reviewed))
    return 1 if any(problem.severity == "error" for problem in reviewed.problems) else 0


def found_here(parent: str | None, *, verbose: bool) -> Inspection:
    """Return what is on this machine, or on `parent`; raise UsageError where nothing is on that."""
    wanted = None if parent is None else alternative_name(parent)
    found = look(_show if verbose else lambda _: None)
    if wanted is None:
        return found
    found = only(found, wanted)
    if not found.parents:
        require_interface(wanted)
        raise UsageError(f"nothing is on {wanted}", "ipvkit inspect shows all parents")
    return found


def _show(command: Command) -> None:
    print(f"+ {command}", file=sys.stderr)
