"""``ipvkit inspect``."""

from ipvkit.cli import emit
from ipvkit.cli.common import DryRun, Json, one_form
from ipvkit.cli.here import Parent, Verbose, found_here, previewed
from ipvkit.report.inspect import render_json, render_table
from ipvkit.verbs.inspect import review


def inspect(
    parent: Parent = None, dry_run: DryRun = False, verbose: Verbose = False, json_: Json = False
) -> int:
    """It finds links in every network namespace, of containers and processes too, and changes nothing.

    Root sees all; other users see what is theirs. The findings compare the machine with the model.

    Exit code: 0 no errors were found, 1 otherwise.
    """
    one_form(dry_run=dry_run, json_=json_)
    if dry_run:
        emit(previewed())
        return 0
    reviewed = review(found_here(parent, verbose=verbose))
    emit(render_json(reviewed) if json_ else render_table(reviewed))
    return 1 if any(problem.severity == "error" for problem in reviewed.problems) else 0
