"""``ipvkit shell``."""

import os
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from ipvkit.core.errors import UsageError
from ipvkit.lab import GATEWAY, NEIGHBOUR, gallery
from ipvkit.lab.format import load
from ipvkit.plan.make import on_simulated_lan
from ipvkit.plan.steps import Plan
from ipvkit.targets import PayloadTarget
from ipvkit.targets.choice import choose
from ipvkit.targets.kinds import TargetKind
from ipvkit.verbs import shell as lan_shell


def shell(
    file: Annotated[
        str | None, typer.Argument(metavar="FILE", help="Commands to run there; - is stdin.")
    ] = None,
    target: Annotated[TargetKind, typer.Option(help="Where the LAN is.")] = TargetKind.AUTO,
    timeout: Annotated[
        float, typer.Option(min=1, metavar="SECONDS", help="End the commands after that.")
    ] = 600,
) -> int:
    """The LAN is that of the walkthrough: this host's eth0, a gateway and a neighbour. You are root there.

    All of it ends with the shell, and nothing of this machine's network is touched; its files are there,
    and in a uml kernel read-only. With FILE, or without a terminal, it runs the commands with bash.

    Exit code: that of the commands, 3 this machine cannot, 4 they did not end in time, 130 interrupted.
    """
    if target is TargetKind.LOCAL:
        raise UsageError("--target local has no simulated LAN", "leave --target away, or give sandbox or uml")
    lab = load(gallery.text(gallery.WALKTHROUGH), gallery.WALKTHROUGH)
    plan = on_simulated_lan(lab, {})
    if sys.stdin is None or sys.stdout is None:
        raise UsageError("stdin or stdout is closed", "give it /dev/null")
    to_type = file is None and sys.stdin.isatty()
    if to_type and not sys.stdout.isatty():
        raise UsageError("to type into a shell, stdout has to be a terminal", "name a FILE, or - for stdin")
    script = None if to_type else _read("-" if file is None else file)
    where, why = choose(target)
    if why:
        print(why, file=sys.stderr)
    if script is not None:
        return _run(plan, where, script, timeout)
    parent = lab.parents[0]
    peers = ", ".join(f"{role} {peer}" for role in (GATEWAY, NEIGHBOUR) for peer in parent.peer(role))
    return lan_shell.interact(plan, where, f"{lab.parent} has {parent.host[0]}; {peers}. exit ends it all.")


def _read(file: str) -> str:
    try:
        script = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        return script.decode()
    except (OSError, UnicodeDecodeError) as problem:
        what = getattr(problem, "strerror", None) or "not UTF-8 text"
        raise UsageError(f"{file!r} cannot be read: {what}") from None


def _run(plan: Plan, where: PayloadTarget, script: str, timeout_s: float) -> int:
    """Run `script`; it ends where the reader of its output has gone, as what writes into a pipe does."""
    try:
        return lan_shell.run(plan, where, script, _write, timeout_s)
    except BrokenPipeError:
        # What is left in the buffer must not fail once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE


def _write(output: bytes) -> None:
    sys.stdout.buffer.write(output)
    sys.stdout.buffer.flush()
