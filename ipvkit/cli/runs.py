"""What ``ipvkit cleanup`` and ``ipvkit down`` share: undoing runs on this machine."""

import sys
from queue import SimpleQueue

from ipvkit.cli import emit
from ipvkit.core.errors import CommandFailed, IpvkitError, UsageError
from ipvkit.plan.resources import ResourceState
from ipvkit.run import journal
from ipvkit.run.execution import signals_into
from ipvkit.run.journal import Journal
from ipvkit.run.rollback import Began, Finished, Stopping, look_for, resources_of, rollback, standing
from ipvkit.targets.agent import Agent, Inbox
from ipvkit.targets.local import Local


def undo_each(labs: list[str], *, dry_run: bool, kept: bool) -> int:
    """Undo the runs of `labs`, whatever comes of each; return the exit code of the worst."""
    code = 0
    for lab in dict.fromkeys(labs):
        try:
            with journal.taken_over(lab) as found:
                if found is None or not found.entries:
                    print(f"{journal.title(lab)}: nothing of it is left", file=sys.stderr)
                else:
                    _refuse(found, kept=kept)
                    _preview(found) if dry_run else _undo(found)
        except IpvkitError as problem:
            print(problem, file=sys.stderr)
            code = max(code, problem.exit_code)
    return code


def _refuse(found: Journal, *, kept: bool) -> None:
    """Raise UsageError for what is not this command's to undo, or not from here."""
    if found.kept and not kept:
        raise UsageError(f"{found.title} is up, as asked", f"ipvkit down {found.lab}")
    if found.elsewhere:
        what = f"{found.title} ran in another network namespace, net:[{found.header['netns']}]"
        raise UsageError(what, "type the same in there, behind `nsenter --net=/run/netns/NAME`")


def _preview(found: Journal) -> None:
    """Show what would be typed now."""
    with Agent(Local(), SimpleQueue()) as agent:
        sight = look_for(resources_of(found.entries.values()), agent)
    for entry in reversed(found.entries.values()):
        seen = standing(entry, sight)
        if seen.standing is ResourceState.STANDS:
            emit(f"{entry.undo}\n")
        elif seen.why:
            emit(f"# {'stays' if seen.standing is ResourceState.HELD else 'left alone'}: {seen.why}\n")


def _undo(found: Journal) -> None:
    """Undo what is there; raise CommandFailed where something is left."""
    Local().check(ipvlan=False)
    inbox: Inbox = SimpleQueue()
    with signals_into(inbox), Agent(Local(found.file), inbox) as agent:
        taken = rollback(found, agent, _told)
    for why in taken.alone.values():
        print(f"left alone, since somebody else has changed it: {why}", file=sys.stderr)
    if taken.left:
        hint = f"mend that, then once more: ipvkit {'down' if found.kept else 'cleanup'} {found.lab}"
        raise CommandFailed(f"of {found.title} something is left", hint, stderr="\n".join(taken.left))
    emit(f"{found.title}: all is undone\n")


def _told(event: Began | Finished | Stopping) -> None:
    match event:
        case Finished(job, completed) if completed.exit_code == 0:
            emit(f"{job.command}\n")
        case Stopping(name):
            print(f"{name}: what is being undone is undone to the end", file=sys.stderr, flush=True)
