"""``ipvkit cleanup`` and ``ipvkit down``: undoing runs on this machine."""

import os
import sys
from typing import Annotated

from typer import Argument, Option

from ipvkit.cli import emit
from ipvkit.cli.common import DryRun
from ipvkit.core.errors import IpvkitError, MissingRequirement, UsageError
from ipvkit.host import program
from ipvkit.run import journal
from ipvkit.run.rollback import Began, Finished, Stopping
from ipvkit.verbs.cleanup import previewed, require_undoable, undo


def cleanup(
    labs: Annotated[list[str] | None, Argument(metavar="LAB", help="The runs to undo.")] = None,
    all_: Annotated[bool, Option("--all", help="Undo every interrupted run.")] = False,
    install_unit: Annotated[
        bool, Option("--install-unit", help="Write a systemd unit for --all at boot.")
    ] = False,
    dry_run: DryRun = False,
) -> int:
    """It skips what is gone, and reports and keeps what was changed since.

    It keeps labs that are up, left so by `run-lab --keep`; use `ipvkit down` for those.

    Exit code: 0 all undone, 2 wrong usage, 3 not permitted, 4 cleanup incomplete.
    """
    if install_unit:
        if all_ or labs:
            raise UsageError("--install-unit takes no names and no --all", "the unit does --all")
        return _install_unit(dry_run=dry_run)
    names = [record.lab for record in journal.records() if record.state in ("interrupted", "damaged")]
    if all_ == bool(labs):
        hint = f"interrupted: {', '.join(names)}" if names else "no run was interrupted"
        raise UsageError("name a lab, or give --all" if not all_ else "--all takes no names", hint)
    if all_ and not dry_run:
        journal.remove_empty()
    if all_ and not names:
        print("nothing to clean up", file=sys.stderr)
    return _undo_each(names if all_ else list(labs or ()), dry_run=dry_run, kept=False)


def _install_unit(*, dry_run: bool) -> int:
    # No other use of this module needs these.
    from ipvkit.report.files import write
    from ipvkit.report.systemd import CLEANUP_UNIT, cleanup_unit

    text = cleanup_unit(program.words(), os.environ.get("XDG_STATE_HOME", ""))
    if dry_run:
        emit(text)
        return 0
    if not os.access(CLEANUP_UNIT.parent, os.W_OK):
        raise MissingRequirement(f"{CLEANUP_UNIT} cannot be written", "use sudo, on a machine with systemd")
    write(CLEANUP_UNIT, [text])
    emit(f"{CLEANUP_UNIT}: written\n")
    todo = f"systemctl daemon-reload && systemctl enable {CLEANUP_UNIT.stem}"
    print(f"to enable it, type: {todo}", file=sys.stderr)
    return 0


def down(
    lab: Annotated[str, Argument(metavar="LAB", help="The lab's name.")], dry_run: DryRun = False
) -> int:
    """It skips what is gone, and reports and keeps what was changed since.

    Exit code: 0 all undone, 2 wrong usage, 3 not permitted, 4 cleanup incomplete.
    """
    return _undo_each([lab], dry_run=dry_run, kept=True)


def _undo_each(labs: list[str], *, dry_run: bool, kept: bool) -> int:
    """Undo the runs of `labs`, also where one fails; return the highest exit code."""
    code = 0
    for lab in dict.fromkeys(labs):
        try:
            with journal.taken_over(lab) as found:
                if found is None:
                    what = f"no run of {journal.title(lab)} is on record"
                    raise UsageError(what, "`ipvkit status` lists the runs")
                if not found.entries:
                    print(f"{journal.title(lab)}: nothing to clean up", file=sys.stderr)
                    continue
                require_undoable(found, kept=kept)
                if dry_run:
                    emit(f"{line}\n" for line in previewed(found))
                    continue
                for why in undo(found, _show):
                    print(f"kept, because it was changed since: {why}", file=sys.stderr)
                emit(f"{journal.title(lab)}: undone\n")
        except IpvkitError as problem:
            print(problem, file=sys.stderr)
            code = max(code, problem.exit_code)
    return code


def _show(event: Began | Finished | Stopping) -> None:
    match event:
        case Finished(job, completed) if completed.exit_code == 0:
            emit(f"{job.command}\n")
        case Stopping(name):
            print(f"{name}: stopping after the undo is complete", file=sys.stderr, flush=True)
