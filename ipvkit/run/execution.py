"""Executes single commands on a target, within a bound; a signal is seen between two of them."""

import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count, islice
from queue import Empty, SimpleQueue
from types import FrameType

from ipvkit.core.command import Command, Completed
from ipvkit.core.errors import CommandFailed, Interrupted, MissingRequirement
from ipvkit.core.interrupts import EARLIER
from ipvkit.targets import CommandTarget, Ended, Inbox, Row, RowTarget, Running

BOUND_S = 10
"""How long a command may take that shows or takes back something; it takes milliseconds."""

SIDE_BY_SIDE = 200
"""How many commands that take their time are asked at once: each has pipes."""

ROW_FROM = 3
"""How many quick commands, at least, are run in a row."""

ROWS = len(os.sched_getaffinity(0))
"""How many rows go on side by side."""

BY_ONE_SHELL = 100
"""How many commands one shell starts side by side: each has two pipes."""

_QUICK = ("ip", "sysctl", "tc")

_QUESTIONS = count(1)


@dataclass(frozen=True, slots=True)
class Signal:
    """A signal that has come, in the inbox."""

    number: int


@contextmanager
def signals_into(inbox: Inbox) -> Iterator[None]:
    """Have ^C, TERM and HUP put into the inbox, so that they are seen between two steps only."""

    def put(number: int, _frame: FrameType | None) -> None:
        inbox.put(Signal(number))

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    former = {number: signal.signal(number, put) for number in numbers}
    while EARLIER:
        inbox.put(Signal(EARLIER.pop()))
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def is_quick(command: Command) -> bool:
    """Return whether a command ends at once by itself, as one does that waits for no answer."""
    argv = command.argv[4:] if command.argv[:3] == ("ip", "netns", "exec") else command.argv
    return argv[0] in _QUICK


def start_in_rows(
    target: CommandTarget, commands: Mapping[str, Command], inbox: Inbox
) -> Iterator[tuple[str, Row]]:
    """Start the quick ones of `commands` in rows side by side, if they are many; yield each with its row."""
    quick = {key: command for key, command in commands.items() if is_quick(command)}
    if not isinstance(target, RowTarget) or len(quick) < ROW_FROM:
        return
    length = max(2 * ROW_FROM, -(-len(quick) // ROWS))
    left = iter(quick.items())
    while some := dict(islice(left, length)):
        yield from dict.fromkeys(some, target.start_row(some, inbox)).items()


def start_at_once(
    target: CommandTarget, commands: Mapping[str, Command], inbox: Inbox
) -> Iterator[tuple[str, Running]]:
    """Start the slow ones of `commands` by one shell, side by side, if they are many; yield each.

    They change nothing.
    """
    slow = {key: command for key, command in commands.items() if not is_quick(command)}
    if not isinstance(target, RowTarget) or len(slow) < ROW_FROM:
        return
    left = iter(slow.items())
    while some := dict(islice(left, BY_ONE_SHELL)):
        yield from dict.fromkeys(some, target.start_side_by_side(some, inbox)).items()


def ask(
    target: CommandTarget, views: Mapping[str, Command], inbox: Inbox | None = None
) -> dict[str, Completed]:
    """Return what each of `views`, commands that change nothing, did, however it ended.

    The quick ones run in rows, the others side by side. Raise CommandFailed if one does not end in time, and
    Interrupted when a signal comes into `inbox`.
    """
    inbox = SimpleQueue() if inbox is None else inbox
    quick = {name: view for name, view in views.items() if is_quick(view)}
    seen = _ask_at_once(target, quick, inbox)
    left = ((name, view) for name, view in views.items() if name not in seen)
    while some := dict(islice(left, SIDE_BY_SIDE)):
        seen |= _ask_at_once(target, some, inbox)
    return seen


def _ask_at_once(target: CommandTarget, views: Mapping[str, Command], inbox: Inbox) -> dict[str, Completed]:
    # An answer that comes too late is none to the next question, which has other keys.
    names = {f"question {next(_QUESTIONS)}": name for name in views}
    waiting: dict[str, Running] = {}
    seen: dict[str, Completed] = {}
    try:
        commands = {key: views[name] for key, name in names.items()}
        waiting.update(start_in_rows(target, commands, inbox))
        waiting.update(start_at_once(target, commands, inbox))
        for key, name in names.items():
            if key not in waiting:
                waiting[key] = target.start(key, views[name], inbox)
        deadline = time.monotonic() + BOUND_S
        while waiting:
            news = next_of(inbox, deadline)
            if news is None:
                late = next(str(views[names[key]]) for key in waiting)
                raise CommandFailed(f"no answer within {BOUND_S} s", command=late)
            if isinstance(news, Signal):
                raise interrupted(news, "nothing was changed")
            if waiting.pop(news.key, None) is not None and news.completed is not None:
                seen[names[news.key]] = news.completed
                # Of a row each answer is waited for anew.
                deadline = time.monotonic() + BOUND_S
    finally:
        for running in set(waiting.values()):
            running.stop()
    absent = [name for name in names.values() if name not in seen]
    if absent:
        raise CommandFailed("it was not started", command=str(views[absent[0]]))
    return seen


def next_of(inbox: Inbox, deadline: float) -> Ended | Signal | None:
    """Return what comes next into `inbox`, or None when the `deadline` (time.monotonic()) is over."""
    try:
        news: Ended | Signal = inbox.get(timeout=max(0.0, deadline - time.monotonic()))
    except Empty:
        return None
    return news


def interrupted(news: Signal, hint: str) -> Interrupted:
    """Return the error that says that a signal has come."""
    return Interrupted(f"interrupted by {signal.Signals(news.number).name}", hint)


def look(
    target: CommandTarget, views: Mapping[str, Command], inbox: Inbox | None = None
) -> dict[str, Completed]:
    """Return what each of `views` shows, as `ask` does; CommandFailed if one fails."""
    seen = ask(target, views, inbox)
    for name, completed in seen.items():
        if completed.exit_code != 0:
            message = "the machine could not be looked at"
            raise CommandFailed(message, command=str(views[name]), stderr=completed.stderr.strip())
    return seen


def execute(target: CommandTarget, command: Command, *, timeout_s: float) -> Completed:
    """Return what one command did; it has ended when this returns or raises.

    Raise CommandFailed where it fails or does not end in time, Interrupted where a signal comes, and
    MissingRequirement where this user may not.
    """
    inbox: Inbox = SimpleQueue()
    news: Ended | Signal | None = None
    with signals_into(inbox):
        running = target.start("command", command, inbox)
        with suppress(Empty):
            news = inbox.get(timeout=timeout_s)
    if isinstance(news, Ended) and news.completed is not None:
        return succeeded(command, news.completed)
    running.stop()
    if not isinstance(news, Signal):
        raise _late(command, timeout_s)
    raise interrupted(news, "the command was ended; what it had done by then stays")


def carry_out(target: CommandTarget, command: Command, *, timeout_s: float = BOUND_S) -> Completed:
    """Return what one command did, as `execute` does, but under whatever `signals_into` the caller has.

    So a signal does not end half-way what changes something.
    """
    inbox: Inbox = SimpleQueue()
    running = target.start("command", command, inbox)
    try:
        completed: Completed = inbox.get(timeout=timeout_s).completed
    except Empty:
        running.stop()
        raise _late(command, timeout_s) from None
    return succeeded(command, completed)


def _late(command: Command, timeout_s: float) -> CommandFailed:
    return CommandFailed(
        f"{command.argv[0]} did not end within {timeout_s:g} s and was killed", command=str(command)
    )


def succeeded(command: Command, completed: Completed) -> Completed:
    """Return `completed`; raise MissingRequirement where this user may not, CommandFailed where it failed."""
    if completed.exit_code in command.ok:
        return completed
    said = completed.stderr.strip() or completed.stdout.strip()
    if "operation not permitted" in said.lower() or "permission denied" in said.lower():
        raise MissingRequirement("this user may not do that", "use sudo", command=str(command), stderr=said)
    raise CommandFailed(f"{command.argv[0]} {how_it_ended(completed)}", command=str(command), stderr=said)


def how_it_ended(completed: Completed) -> str:
    """Return how a command ended that did not succeed."""
    code = completed.exit_code
    return f"failed with exit code {code}" if code >= 0 else f"died of {signal.Signals(-code).name}"
