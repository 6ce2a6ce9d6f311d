"""Undoing, from its journal, what a run left on this machine."""

from collections.abc import Iterator
from queue import SimpleQueue

from ipvkit.core.errors import CommandFailed, UsageError
from ipvkit.run.execution import signals_into
from ipvkit.run.journal import Journal, title
from ipvkit.run.rollback import Listener, Rollback, look_for
from ipvkit.targets.agent import Agent, Inbox
from ipvkit.targets.local import Local


def require_undoable(found: Journal, *, kept: bool) -> None:
    """Raise UsageError for a lab that is up, unless `kept`, and for one of another network namespace."""
    if found.kept and not kept:
        raise UsageError(f"{title(found.lab)} is up", f"ipvkit down {found.lab}")
    if found.elsewhere:
        what = f"{title(found.lab)} ran in another network namespace, net:[{found.header['netns']}]"
        raise UsageError(what, "type the same there, with `nsenter --net=/run/netns/NAME`")


def previewed(found: Journal) -> Iterator[str]:
    """Yield the commands that would undo it now, and a comment for each resource that would be kept."""
    with Agent(Local(), SimpleQueue()) as agent:
        yield from previewed_by(agent, found)


def previewed_by(agent: Agent, found: Journal) -> Iterator[str]:
    """Yield the same of a journal on the machine of `agent`."""
    what = [entry.resource for entry in found.entries.values()]
    observation = look_for(what, agent, found.mark_of_netns)
    for entry in reversed(found.entries.values()):
        seen = found.state_of(entry, observation)
        if seen.state == "stands":
            yield str(entry.undo)
        elif seen.why:
            yield f"# {'in use' if seen.state == 'held' else 'kept'}: {seen.why}"


def undo(found: Journal, show: Listener) -> list[str]:
    """Undo what is there, and return why other resources are kept; raise CommandFailed with the leftovers."""
    Local().check(ipvlan=False)
    inbox: Inbox = SimpleQueue()
    with signals_into(inbox), Agent(Local(found.file), inbox) as agent:
        undone = Rollback(found, agent, show)
        undone.run()
    if undone.left:
        hint = f"fix that, then type again: ipvkit {'down' if found.kept else 'cleanup'} {found.lab}"
        raise CommandFailed(f"{title(found.lab)}: cleanup incomplete", hint, stderr="\n".join(undone.left))
    return list(undone.alone.values())
