"""What ``ipvkit cleanup`` and ``ipvkit down`` share: undoing runs on this machine."""

import sys

from ipvkit.cli import emit
from ipvkit.core.errors import IpvkitError
from ipvkit.run import journal
from ipvkit.run.rollback import Began, Finished, Stopping
from ipvkit.verbs.cleanup import previewed, require_undoable, undo


def undo_each(labs: list[str], *, dry_run: bool, kept: bool) -> int:
    """Undo the runs of `labs`, also where one fails; return the highest exit code."""
    code = 0
    for lab in dict.fromkeys(labs):
        try:
            with journal.taken_over(lab) as found:
                if found is None or not found.entries:
                    print(f"{journal.title(lab)}: nothing to clean up", file=sys.stderr)
                    continue
                require_undoable(found, kept=kept)
                if dry_run:
                    emit(f"{line}\n" for line in previewed(found))
                    continue
                for why in undo(found, _show):
                    print(f"kept, because it was changed since: {why}", file=sys.stderr)
                emit(f"{found.title}: undone\n")
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
