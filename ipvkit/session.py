"""A shell on a simulated LAN: bash as root of a target, with this ipvkit on its PATH."""

import os
import secrets
import shlex
import signal
import sys
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue

from ipvkit.engine import Signal, signals_into
from ipvkit.errors import CommandFailed, Interrupted
from ipvkit.plan import Plan
from ipvkit.targets import Inbox, Output, PayloadTarget

_PROMPT = "lan# "
_HISTORY_OFF = "unset HISTFILE"


def interact(plan: Plan, target: PayloadTarget, greeting: str) -> int:
    """Open a shell for a person on the LAN of `plan`; return its exit code (uml: 0)."""
    lines = [_HISTORY_OFF, f"PS1={shlex.quote(_PROMPT)}", f"printf '%s\\n' {shlex.quote(greeting)}"]
    rc = shlex.quote("\n".join(lines) + "\n")
    shell = f"printf %s {rc} >/run/bashrc\nbash --rcfile /run/bashrc -i 2>&1"
    return target.interact(f"{_lan(plan)}\n{shell}\n")


def run(
    plan: Plan, target: PayloadTarget, script: str, write: Callable[[bytes], None], timeout_s: float
) -> int:
    """Run a bash script on the LAN of `plan`, hand what it prints to `write`, return its exit code.

    Its stdout and stderr come as one. Raise CommandFailed where the target ends before it or time is up,
    Interrupted where a signal comes; the target and all in it have ended then.
    """
    mark = f"\n{secrets.token_hex(16)} "
    # Through a pipe, so that nothing takes the guest's serial line for a person's terminal.
    payload = (
        f"{_lan(plan)}\nprintf %s {shlex.quote(script)} >/run/commands\n"
        "bash /run/commands </dev/null 2>&1 | cat\n"
        f"printf '%s%d\\n' {shlex.quote(mark)} \"${{PIPESTATUS[0]}}\"\n"
    )
    inbox: Inbox = SimpleQueue()
    deadline = time.monotonic() + timeout_s
    held = b""
    with signals_into(inbox):
        running = target.start(payload, timeout_s, inbox)
        try:
            while (chunk := _next(inbox, deadline)) is not None:
                held = _written(held + chunk, mark.encode(), write)
        finally:
            running.stop()
    output, found, code = held.partition(mark.encode())
    write(output)
    if not found:
        raise CommandFailed(
            f"the target {target.kind} ended before the script did",
            "`ipvkit doctor` tells what works here",
            stderr=running.complaint(),
        )
    return int(code)


def _next(inbox: Inbox, deadline: float) -> bytes | None:
    try:
        news: Output | Signal = inbox.get(timeout=max(0.0, deadline - time.monotonic()))
    except Empty:
        raise CommandFailed("the script did not end in time", "give it more with --timeout") from None
    if isinstance(news, Signal):
        name = signal.Signals(news.number).name
        raise Interrupted(f"interrupted by {name}", "the target has ended, and all in it")
    return news.chunk


def _written(data: bytes, mark: bytes, write: Callable[[bytes], None]) -> bytes:
    """Write what cannot belong to the mark, and return the rest."""
    start = data.find(mark)
    if start < 0:
        start = max(0, len(data) - len(mark))
    write(data[:start])
    return data[start:]


def _lan(plan: Plan) -> str:
    """Return bash that builds the simulated LAN and puts this ipvkit on the PATH."""
    commands = [str(step.command) for step in plan.steps]
    scripts = Path(sysconfig.get_path("scripts"))
    own = scripts if (scripts / "ipvkit").exists() else Path(sys.argv[0]).resolve().parent
    return "\n".join(
        [
            "export LC_ALL=C HOME=/run TMPDIR=/run",
            f"export PATH={shlex.quote(str(own))}:$PATH TERM={shlex.quote(os.environ.get('TERM', 'dumb'))}",
            *(f"{command} || exit 3" for command in commands),
            "cd /run",
        ]
    )
