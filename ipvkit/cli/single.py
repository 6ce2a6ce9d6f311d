"""One command at a time: shown, or executed where it is to be."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import typer

from ipvkit.cli import emit
from ipvkit.core.command import Command, Completed, in_netns
from ipvkit.core.errors import UsageError
from ipvkit.report.outputs import command_document
from ipvkit.targets.kinds import TargetKind

Target = Annotated[
    TargetKind,
    typer.Option(help="Where: this machine, or a simulated LAN that ends with the command."),
]

TIMEOUT_S = 30.0
"""How long a command may take that ends by itself at once."""


@dataclass(frozen=True, slots=True)
class Where:
    """Where a command acts, and how it is told of."""

    target: TargetKind = TargetKind.LOCAL
    netns: str | None = None
    dry_run: bool = False
    as_json: bool = False

    def __post_init__(self) -> None:
        """Raise UsageError for options that do not go together."""
        if self.dry_run and self.as_json:
            raise UsageError("--dry-run does not go with --json", "the preview is text, one command a line")

    def placed(self, command: Command) -> Command:
        """Return `command` so written that it acts in the namespace."""
        if self.netns is None:
            return command
        from ipvkit.tools import ip

        return ip.at(self.netns, command) if command.argv[0] == "ip" else in_netns(self.netns, command)


def perform(
    where: Where, commands: Mapping[str, Command], *, timeout_s: float = TIMEOUT_S
) -> list[Completed] | None:
    """Execute `commands`, each under its purpose, one after another; None where they were only shown.

    Raise IpvkitError at the first that fails.
    """
    placed = {purpose: where.placed(command) for purpose, command in commands.items()}
    if where.target is not TargetKind.LOCAL:
        from ipvkit.cli import simulated

        return simulated.perform(where.target, placed, dry_run=where.dry_run, timeout_s=timeout_s)
    if where.dry_run:
        emit("".join(f"# {purpose}\n{command}\n" for purpose, command in placed.items()))
        return None
    return [_executed(command, timeout_s) for command in placed.values()]


def _executed(command: Command, timeout_s: float) -> Completed:
    # What is only shown needs neither of these.
    from ipvkit.run.execution import execute
    from ipvkit.targets.local import Local

    return execute(Local(), command, timeout_s=timeout_s)


def change(where: Where, purpose: str, command: Command) -> int:
    """Execute a command that changes something; on success it is silent, as `ip` is, without --json."""
    done = perform(where, {purpose: command})
    if done is not None and where.as_json:
        emit(command_document(where.placed(command), done[0]))
    return 0


def version(command: Command) -> str:
    """Return what a tool of this machine, which is also that of every target, says of itself."""
    return said(_executed(command, TIMEOUT_S))


def said(completed: Completed) -> str:
    """Return all that a command printed."""
    return completed.stdout + completed.stderr
