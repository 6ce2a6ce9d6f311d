"""Runs commands through an agent, each within a bound; a signal is seen between two of them."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import count, islice
from queue import Empty
from select import POLLIN, poll

from ipvkit.core.command import Command, Completed
from ipvkit.core.errors import UNREAD, CommandFailed, Interrupted, MissingRequirement
from ipvkit.core.interrupts import EARLIER, heeded
from ipvkit.targets.agent import Agent, Ended, Inbox, Target
from ipvkit.targets.process import ENDED
from ipvkit.tools.ip import LINES_A_S

BOUND_S = 10
"""The limit for a command that shows or undoes something, in seconds; it takes milliseconds."""

Signal = signal.Signals
"""A signal that has come, in the inbox."""
OnSignal = Callable[[Signal], None]

CONCURRENT = 1000
"""How many views run concurrently at most; a waiting arping takes 0.3 MB with its row."""

_QUICK = ("ip", "sysctl", "tc")
_QUESTIONS = count(1)


@contextmanager
def signals_into(inbox: Inbox) -> Iterator[None]:
    """Put the signals that end ipvkit into the inbox, so that they take effect only between two steps.

    A thread looks for them too: Python would not run the handler of one that comes just before a wait for
    the inbox until that wait ends.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = heeded()
    come, comes = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    one_at_a_time = threading.RLock()
    arrivals = poll()
    arrivals.register(come, POLLIN)

    def forward(*_: object) -> bool:
        with one_at_a_time, suppress(BlockingIOError):
            while number := os.read(come, 1):
                if number[0] in numbers:
                    inbox.put(Signal(number[0]))
            return False
        return True

    def watch() -> None:
        while arrivals.poll() and forward():
            pass

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    former_file = signal.set_wakeup_fd(comes)
    former = {number: signal.signal(number, forward) for number in numbers}
    while EARLIER:
        inbox.put(Signal(EARLIER.pop()))
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(former_file)
        os.close(comes)
        watcher.join()
        os.close(come)


def is_quick(command: Command) -> bool:
    """Return whether a command ends at once, since it waits for no reply."""
    argv = command.argv
    if argv[:2] == ("sh", "-s"):
        # nsenter.in_each, by which only views run.
        return True
    if argv[:3] == ("ip", "netns", "exec"):
        argv = argv[4:]
    elif argv[0] == "nsenter":
        argv = argv[2:]
    return argv[0] in _QUICK


def start(agent: Agent, commands: Mapping[str, Command]) -> None:
    """Start `commands`: the quick ones in a row for each CPU of the target, each other in a separate row."""
    quick = {key: command for key, command in commands.items() if is_quick(command)}
    length = max(3, -(-len(quick) // agent.target.cpus))
    left = iter(quick.items())
    rows = list(iter(lambda: dict(islice(left, length)), {}))
    rows += [{key: command} for key, command in commands.items() if key not in quick]
    agent.start(rows, brief=len(quick) == len(commands))


def require_for(target: Target, commands: Iterable[Command]) -> None:
    """Raise MissingRequirement where a program of `commands` is not installed on `target`."""
    target.require(*sorted({command.argv[0] for command in commands}))


def next_of(inbox: Inbox, deadline: float) -> Ended | Signal | None:
    """Return what comes next into `inbox`, or None when the `deadline` (time.monotonic()) is over."""
    with suppress(Empty):
        news: Ended | Signal = inbox.get(timeout=max(0.0, deadline - time.monotonic()))
        return news
    return None


def ask(
    agent: Agent, views: Mapping[str, Command], bound_s: float = BOUND_S, on_signal: OnSignal | None = None
) -> dict[str, Completed]:
    """Return what each of `views`, commands that change nothing, did, however it ended.

    Raise CommandFailed if one does not end within `bound_s`. A signal is passed to `on_signal`; without
    one it raises Interrupted.
    """
    return dict(answers(agent, views, bound_s, on_signal))


def answers(
    agent: Agent, views: Mapping[str, Command], bound_s: float = BOUND_S, on_signal: OnSignal | None = None
) -> Iterator[tuple[str, Completed]]:
    """Yield what each of `views` did, as `ask` returns it, while others still run."""
    require_for(agent.target, views.values())
    left = iter(views.items())
    while some := dict(islice(left, CONCURRENT)):
        seen = set()
        # Each question has new keys, so a late answer does not count for the next one.
        waiting = {f"question {next(_QUESTIONS)}": name for name in some}
        start(agent, {key: views[name] for key, name in waiting.items()})
        while waiting:
            news = next_of(agent.inbox, time.monotonic() + bound_s + agent.target.delay_s)
            if isinstance(news, Ended):
                name = waiting.pop(news.key, None)
                if name is not None and news.completed is not None:
                    seen.add(name)
                    yield name, news.completed
            elif news is not None and on_signal is not None:
                on_signal(news)
            else:
                agent.kill()
                if news is not None:
                    raise interrupted(news, "nothing was changed")
                late = str(views[next(iter(waiting.values()))])
                raise CommandFailed(f"no answer within {bound_s:.0f} s", command=late)
        if absent := [view for name, view in some.items() if name not in seen]:
            what = "the command was not started"
            raise CommandFailed(what, command=str(absent[0]), stderr=agent.complaint)


def in_order(
    agent: Agent, commands: Mapping[str, Command], on_signal: OnSignal
) -> Iterator[tuple[str, Completed]]:
    """Run `commands` one after another and yield how each ended; one that hangs is killed.

    A signal is passed to `on_signal` and does not stop them. Raise CommandFailed where no command starts, or
    where an ephemeral target ended with the one that hung.
    """
    left = dict(commands)
    while left:
        waiting = len(left)
        agent.start([left], brief=True)
        deadline, some = _deadline(agent.target, left), False
        while waiting:
            match next_of(agent.inbox, deadline):
                case Signal() as news:
                    on_signal(news)
                case Ended(key, completed) if key in left:
                    waiting -= 1
                    if completed is not None:
                        some = True
                        del left[key]
                        deadline = _deadline(agent.target, left)
                        yield key, completed
                case None:
                    agent.kill()
                    if agent.target.ephemeral:
                        late = str(next(iter(left.values())))
                        raise CommandFailed("an undo did not end in time", ENDED, command=late)
        if not some:
            raise CommandFailed("the command was not started", stderr=agent.complaint)


def _deadline(target: Target, commands: Mapping[str, Command]) -> float:
    """Return the deadline (time.monotonic()) of the first of `commands`."""
    lines = len(next(iter(commands.values())).stdin) if commands else 0
    return time.monotonic() + BOUND_S + target.delay_s + lines // LINES_A_S


def look(agent: Agent, views: Mapping[str, Command]) -> dict[str, Completed]:
    """Return what each of `views` shows, as `ask` does; CommandFailed if one fails."""
    seen = ask(agent, views)
    for name, completed in seen.items():
        if completed.exit_code != 0:
            raise CommandFailed(UNREAD, command=str(views[name]), stderr=completed.stderr.strip())
    return seen


def carry_out(agent: Agent, command: Command, *, timeout_s: float = BOUND_S) -> Completed:
    """Return what one command did; it has ended when this returns or raises.

    Raise CommandFailed where it fails or does not end in time, Interrupted where a signal comes, and
    MissingRequirement where this user may not. A signal, and a command that is late, kill the agent.
    """
    require_for(agent.target, [command])
    agent.start([{"command": command}])
    deadline = time.monotonic() + timeout_s
    while not isinstance(news := next_of(agent.inbox, deadline), Ended):
        agent.kill()
        if news is None:
            what = f"{command.argv[0]} did not end within {timeout_s:g} s and was killed"
            raise CommandFailed(what, command=str(command))
        raise interrupted(news, "the command was killed; what it had changed by then stays")
    if news.completed is None:
        raise CommandFailed("the command was not started", command=str(command))
    return succeeded(command, news.completed)


def interrupted(news: Signal, hint: str) -> Interrupted:
    """Return the error for a signal that has come."""
    return Interrupted(f"interrupted by {news.name}", hint)


def succeeded(command: Command, completed: Completed) -> Completed:
    """Return `completed`; raise MissingRequirement where this user may not, CommandFailed where it failed."""
    if completed.exit_code in command.ok:
        return completed
    output = completed.stderr.strip() or completed.stdout.strip()
    if "operation not permitted" in output.lower() or "permission denied" in output.lower():
        raise MissingRequirement("permission denied", "use sudo", command=str(command), stderr=output)
    raise CommandFailed(f"{command.argv[0]} {how_it_ended(completed)}", command=str(command), stderr=output)


def how_it_ended(completed: Completed) -> str:
    """Return how a command ended that did not succeed."""
    code = completed.exit_code
    return f"failed with exit code {code}" if code >= 0 else f"died of {signal.Signals(-code).name}"
