"""A shell on a simulated LAN: bash as root of a target, with this ipvkit on its PATH."""

import os
import re
import shlex
import sys
import sysconfig
import threading
import time
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue

from ipvkit.core.errors import CommandFailed
from ipvkit.plan.steps import Plan
from ipvkit.run.batches import jobs_of
from ipvkit.run.execution import Signal, interrupted, signals_into
from ipvkit.targets.process import ENDED, Process
from ipvkit.targets.sandbox import Sandbox
from ipvkit.targets.uml import Uml

# A kernel's own /dev lacks what bash needs for <(…), and scripts for >/dev/stderr.
_DEV_FD = """\
[[ -e /dev/fd ]] || {
  ln -s /proc/self/fd /dev/fd
  ln -s fd/0 /dev/stdin
  ln -s fd/1 /dev/stdout
  ln -s fd/2 /dev/stderr
}"""


def interact(plan: Plan, target: Sandbox | Uml) -> int:
    """Open an interactive shell on the LAN of `plan`; return its exit code (uml: 0)."""
    parent = plan.lab.parents[0]
    peers = ", ".join(f"{peer.name} {own.ip}" for peer in parent.peers for own in peer.addresses)
    greeting = f"{parent.name} has {parent.host[0]}; {peers}. exit ends it all."
    lines = ["unset HISTFILE", "PS1='lan# '", f"printf '%s\\n' {shlex.quote(greeting)}"]
    rc = shlex.quote("\n".join(lines) + "\n")
    shell = f"printf %s {rc} >/run/bashrc\nbash --rcfile /run/bashrc -i 2>&1"
    return target.interact(f"{_lan(plan)}\n{shell}\n")


def run(
    plan: Plan, target: Sandbox | Uml, script: str, write: Callable[[bytes], None], timeout_s: float
) -> int:
    """Run a bash script on the LAN of `plan`, pass its output to `write`, return its exit code.

    stdout and stderr are merged. Processes that it leaves running end with it. Raise CommandFailed where the
    target ends before it or time is up, Interrupted on a signal, and what `write` raises; the target and all
    in it have ended then.
    """
    nonce = os.urandom(16).hex()
    inbox: SimpleQueue[bytes | Signal] = SimpleQueue()
    deadline = time.monotonic() + timeout_s
    printed = Printed(nonce, write)
    with signals_into(inbox):
        running = target.start(f"{_lan(plan)}\n{_marked(script, nonce)}")
        reader = threading.Thread(target=_read, args=(running, inbox), daemon=True)
        reader.start()
        try:
            while printed.exit_code is None and (chunk := _next(inbox, deadline)):
                printed.add(chunk)
        finally:
            running.kill()
            reader.join()
            running.close()
            printed.end()
    if printed.exit_code is not None:
        return printed.exit_code
    ended = f"the target {target.kind} ended before the script"
    if printed.began:
        raise CommandFailed(f"{ended} did", "the script may have powered it off, or killed all processes")
    hint = "see what works here with `ipvkit doctor`"
    raise CommandFailed(f"{ended} began", hint, stderr=running.complaint())


def _marked(script: str, nonce: str) -> str:
    """Return bash that runs `script` between two marks."""
    # Its first byte is not in the payload, so a script that prints the payload does not print a mark.
    mark = f"printf '\\036{nonce} %s\\n'"
    return (
        f"printf %s {shlex.quote(script)} >/run/commands\n"
        # Through a pipe, so that no program takes the guest's serial line for a terminal. In a separate
        # session, so that `kill 0` in the script does not end what prints the last mark.
        f"{{ {mark} begin; setsid bash /run/commands </dev/null 2>&1; {mark} $?; }} | cat\n"
    )


def _read(process: Process, inbox: "SimpleQueue[bytes | Signal]") -> None:
    while chunk := process.read():
        inbox.put(chunk)
    inbox.put(b"")


def _next(inbox: "SimpleQueue[bytes | Signal]", deadline: float) -> bytes:
    """Return what is printed next, nothing at the end."""
    try:
        news = inbox.get(timeout=max(0.0, deadline - time.monotonic()))
    except Empty:
        raise CommandFailed("the script did not end in time", "raise --timeout") from None
    if isinstance(news, Signal):
        raise interrupted(news, ENDED)
    return news


class Printed:
    """The output of a target, passed on at once, without the marks where the script begins and ends."""

    def __init__(self, nonce: str, write: Callable[[bytes], None]) -> None:
        self.began = False
        self.exit_code: int | None = None
        self._write = write
        self._mark = re.compile(rb"\x1e%s (begin|\d+)\n" % nonce.encode())
        self._start = f"\x1e{nonce} ".encode()
        self._held = b""

    def add(self, chunk: bytes) -> None:
        """Pass `chunk` on, except an end that may begin a mark, and except what follows the last mark."""
        self._held += chunk
        while self.exit_code is None and (found := self._mark.search(self._held)):
            before, self._held = self._held[: found.start()], self._held[found.end() :]
            self._write(before)
            self.began = True
            self.exit_code = None if found[1] == b"begin" else int(found[1])
        if self.exit_code is not None:
            self._held = b""
            return
        at = self._held.rfind(b"\x1e")
        tail = self._held[at:] if at >= 0 else b""
        if not (tail.startswith(self._start) or self._start.startswith(tail)):
            tail = b""
        ready, self._held = self._held[: len(self._held) - len(tail)], tail
        self._write(ready)

    def end(self) -> None:
        """Pass on what was held back: nothing follows that could complete a mark."""
        held, self._held = self._held, b""
        self._write(held)


def _lan(plan: Plan) -> str:
    """Return bash that builds the simulated LAN and puts this ipvkit on the PATH."""
    scripts = Path(sysconfig.get_path("scripts"))
    own = scripts if (scripts / "ipvkit").exists() else Path(sys.argv[0]).resolve().parent
    path, term = (shlex.quote(text) for text in (str(own), os.environ.get("TERM", "dumb")))
    exports = f"export LC_ALL=C HOME=/run TMPDIR=/run\nexport PATH={path}:$PATH TERM={term}"
    jobs = (job for stages in jobs_of(plan).values() for stage in stages for job in stage)
    commands = [f"{{ {job.command}\n}} || exit 3" for job in jobs]
    return "\n".join([exports, _DEV_FD, *commands, "cd /run"])
