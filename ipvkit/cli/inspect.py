"""``ipvkit inspect``."""

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated

from typer import Option

from ipvkit.cli import emit, terminal_width
from ipvkit.cli.common import DryRun, Inventory, Json, one_form, reader_has_gone
from ipvkit.cli.here import Parent, Verbose, found_here, previewed
from ipvkit.cli.options import FixAs, dialect_called
from ipvkit.core.errors import Interrupted, UsageError
from ipvkit.core.interrupts import Stopped
from ipvkit.report.inspect import render_fleet, render_fleet_json, render_json, render_table, timed
from ipvkit.verbs.inspect import Review, review, watch

WATCH_HELP = "Print it again whenever it has changed, until stopped."


def inspect(
    parent: Parent = None,
    watch_: Annotated[bool, Option("--watch", help=WATCH_HELP)] = False,
    dry_run: DryRun = False,
    verbose: Verbose = False,
    fix_as: FixAs = None,
    json_: Json = False,
    inventory: Inventory = None,
) -> int:
    """It finds links in every network namespace, of containers and processes too, and changes nothing.

    Root sees all; other users see what is in the network namespace that they are in. The findings
    compare the machine with the model.

    With --watch it looks again every 10 seconds, and as root also at each change that `ip monitor` hears:
    of the host's namespace, and of those to which the kernel has given a number in it.

    With --inventory it looks at all hosts of an Ansible inventory, at namespaces with a name or a process,
    and for what no host sees alone, such as an address that two of them have.

    Exit code: 0 no errors were found, 1 otherwise; 4 a host could not be reached; 130 --watch was stopped
    by ^C, TERM, HUP or QUIT.
    """
    one_form(dry_run=dry_run, json_=json_)
    for given, name in ((json_, "--json"), (dry_run, "--dry-run"), (inventory, "--inventory")):
        if watch_ and given:
            raise UsageError(f"--watch does not go with {name}", "omit one of the two")
    if inventory:
        return _inspect_fleet(inventory, parent, fix_as, verbose=verbose, dry_run=dry_run, json_=json_)
    if dry_run:
        emit(previewed())
        return 0

    dialect = dialect_called(fix_as)

    def reviewed() -> Review:
        return review(found_here(parent, verbose=verbose, may_be_empty=watch_), dialect)

    if watch_:
        return _watch(lambda: render_table(reviewed(), parent, terminal_width()))
    found = reviewed()
    emit(render_json(found) if json_ else render_table(found, width=terminal_width()))
    return 1 if any(problem.severity == "error" for problem in found.problems) else 0


def _inspect_fleet(
    paths: list[str], parent: str | None, fix_as: str | None, *, verbose: bool, dry_run: bool, json_: bool
) -> int:
    from ipvkit.cli.here import found_on
    from ipvkit.verbs.inspect_fleet import review_fleet

    if dry_run:
        raise UsageError("--dry-run does not go with --inventory", "-v shows each command")
    found = review_fleet(found_on(paths, parent, verbose=verbose), dialect_called(fix_as))
    emit(render_fleet_json(found) if json_ else render_fleet(found, terminal_width()))
    return found.exit_code


def _watch(look: Callable[[], str]) -> int:
    """Print what `look` returns whenever it differs; return the exit code."""
    former = ""

    def show(text: str) -> bool:
        nonlocal former
        if text == former:
            return not reader_has_gone()
        former = text
        return emit(timed(text, datetime.now(UTC).astimezone(), clear=sys.stdout.isatty()))

    try:
        watch(look, show)
    except Stopped:
        return Interrupted.exit_code
    return 0
