"""``ipvkit cleanup`` and ``ipvkit down``: undoing runs on this machine."""

import os
import sys
from collections.abc import Collection
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from ipvkit.cli import emit
from ipvkit.cli.common import DryRun, Inventory
from ipvkit.core.errors import CommandFailed, IpvkitError, MissingRequirement, UsageError, printable
from ipvkit.host import program
from ipvkit.run import journal
from ipvkit.run.rollback import Began, Finished, Stopping
from ipvkit.verbs.cleanup import previewed, require_undoable, undo

if TYPE_CHECKING:
    from ipvkit.verbs.fleet import Journals


_CLEANED, _UP = ("interrupted", "damaged"), ("up",)


def _recorded(states: Collection[str]) -> list[str]:
    """Return the names of the runs in these states."""
    return [record.lab for record in journal.records() if record.state in states]


def _completed(states: Collection[str], incomplete: str) -> list[str]:
    """Return those that begin with what is typed."""
    with suppress(IpvkitError):
        return [lab for lab in _recorded(states) if lab.startswith(incomplete)]
    return []


def _to_clean(incomplete: str) -> list[str]:
    return _completed(_CLEANED, incomplete)


def _to_take_down(incomplete: str) -> list[str]:
    return _completed(_UP, incomplete)


def cleanup(
    labs: Annotated[
        list[str] | None, Argument(metavar="LAB", help="The runs to undo.", autocompletion=_to_clean)
    ] = None,
    all_: Annotated[bool, Option("--all", help="Undo every interrupted run.")] = False,
    install_unit: Annotated[
        bool, Option("--install-unit", help="Write a systemd unit for --all at boot.")
    ] = False,
    dry_run: DryRun = False,
    inventory: Inventory = None,
) -> int:
    """It skips what is gone, and reports and keeps what was changed since.

    It keeps labs that are up, left so by `run-lab --keep`; use `ipvkit down` for those.

    Exit code: 0 all undone, 2 wrong usage, 3 not permitted, 4 cleanup incomplete.
    """
    if install_unit:
        if all_ or labs:
            raise UsageError("--install-unit takes no names and no --all", "the unit does --all")
        return _install_unit(dry_run=dry_run)
    if inventory:
        if all_ == bool(labs):
            raise UsageError("name a lab, or give --all", "--all undoes every interrupted run on these hosts")
        return _undo_on(inventory, None if all_ else labs, dry_run=dry_run, kept=False)
    names = _recorded(_CLEANED)
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
    lab: Annotated[str, Argument(metavar="LAB", help="The lab's name.", autocompletion=_to_take_down)],
    dry_run: DryRun = False,
    inventory: Inventory = None,
) -> int:
    """It skips what is gone, and reports and keeps what was changed since.

    Exit code: 0 all undone, 2 wrong usage, 3 not permitted, 4 cleanup incomplete.
    """
    if inventory:
        return _undo_on(inventory, [lab], dry_run=dry_run, kept=True)
    return _undo_each([lab], dry_run=dry_run, kept=True)


def _undo_on(paths: list[str], labs: list[str] | None, *, dry_run: bool, kept: bool) -> int:
    """Undo the runs of `labs`, or of all, on the hosts of an inventory; return the highest exit code."""
    from ipvkit.verbs.fleet import Journals

    code = 0
    with Journals(paths) as hosts:
        for host, why in hosts.unreached.items():
            print(f"{host}: not clean, since it cannot be reached: {printable(why)}", file=sys.stderr)
            code = CommandFailed.exit_code
        if labs is None and not hosts.labs():
            print("nothing to clean up", file=sys.stderr)
        for lab in dict.fromkeys(hosts.labs() if labs is None else labs):
            try:
                code = max(code, _undo_lab(hosts, lab, dry_run=dry_run, kept=kept, all_=labs is None))
            except IpvkitError as problem:
                print(problem, file=sys.stderr)
                code = max(problem.exit_code, code)
    return code


def _undo_lab(hosts: "Journals", lab: str, *, dry_run: bool, kept: bool, all_: bool) -> int:
    """Undo the run of `lab`, and show for each host whether it is clean; return the exit code."""
    found, code = hosts.ledgers(lab, kept=kept), 0
    if not found:
        what = f"no run of {journal.title(lab)} is on record on these hosts"
        raise UsageError(what, "`ipvkit cleanup --all --inventory …` undoes all that there are")
    ledgers = {}
    for host, ledger in found.items():
        if isinstance(ledger, IpvkitError):
            # What is up stays, where all interrupted runs are undone.
            if not (all_ and ledger.exit_code == UsageError.exit_code):
                code = max(code, ledger.exit_code)
            print(f"{host}: {ledger.message}", file=sys.stderr)
        else:
            ledgers[host] = ledger
    if dry_run:
        for host, lines in hosts.preview(ledgers).items():
            emit([f"# on {host}\n", *(f"{line}\n" for line in lines)])
        return code
    for done in hosts.undo(ledgers, _show_on):
        for why in done.kept:
            print(f"{done.host}: kept, because it was changed since: {why}", file=sys.stderr)
        if done.left:
            code = max(code, CommandFailed.exit_code)
            print(f"{done.host}: not clean: {journal.title(lab)}: cleanup incomplete", file=sys.stderr)
            print(*(f"  {printable(line)}\n" for line in done.left), sep="", end="", file=sys.stderr)
        else:
            emit(f"{done.host}: {journal.title(lab)}: undone\n")
    return code


def _show_on(host: str, event: Began | Finished | Stopping) -> None:
    if isinstance(event, Finished) and event.completed.exit_code == 0:
        emit(f"{host}: {event.job.command}\n")
    elif isinstance(event, Stopping):
        _show(event)


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
