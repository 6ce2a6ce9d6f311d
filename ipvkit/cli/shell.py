"""``ipvkit shell``."""

import os
import signal
import sys
from pathlib import Path
from typing import Annotated

from typer import Argument

from ipvkit.cli.common import Place, Timeout
from ipvkit.core.errors import UsageError
from ipvkit.verbs import shell as lan_shell
from ipvkit.verbs.single import on_lan


def shell(
    file: Annotated[
        str | None, Argument(metavar="FILE", help="A bash script to run there; - is stdin.")
    ] = None,
    *,
    place: Place,
    timeout: Timeout = 600,
) -> int:
    """The LAN is that of the walkthrough: eth0 on the host, a gateway and a neighbour. You are root there.

    It ends with the shell; this machine's network is not touched. This machine's files are visible, in a
    uml kernel read-only. With FILE, or without a terminal, bash runs the commands.

    Exit code: that of the commands, 3 this machine cannot, 4 timeout, 130 interrupted.
    """
    place.refuse_local()
    plan = on_lan({})
    if sys.stdin is None or sys.stdout is None:
        raise UsageError("stdin or stdout is closed", "give it /dev/null")
    if file is None and sys.stdin.isatty():
        if not sys.stdout.isatty():
            raise UsageError("an interactive shell needs a terminal as stdout", "give a FILE, or - for stdin")
        return lan_shell.interact(plan, place.chosen())
    script = _read("-" if file is None else file)
    where = place.chosen()
    try:
        return lan_shell.run(plan, where, script, _write, timeout)
    except BrokenPipeError:
        # The rest of the buffer must not fail again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE


def _read(file: str) -> str:
    try:
        script = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        return script.decode()
    except (OSError, UnicodeDecodeError) as problem:
        what = getattr(problem, "strerror", None) or "not UTF-8 text"
        raise UsageError(f"{file!r} cannot be read: {what}") from None


def _write(output: bytes) -> None:
    sys.stdout.buffer.write(output)
    sys.stdout.buffer.flush()
