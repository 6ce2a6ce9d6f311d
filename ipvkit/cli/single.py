"""One command at a time: shown, or executed where it is to be."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, TypeVar

from typer import Option

from ipvkit.cli import emit
from ipvkit.cli.common import DryRun, Json, Kernel, Netns, Place, one_form, refuse_kernel
from ipvkit.core.command import Command, Completed, T
from ipvkit.core.errors import CommandFailed
from ipvkit.core.values import TargetKind
from ipvkit.report.plain import Output, command_document, commented
from ipvkit.verbs.single import TIMEOUT_S, execute, execute_on_lan, on_lan, placed

if TYPE_CHECKING:
    from ipvkit.tools.arping import ArpingReport
    from ipvkit.tools.ping import PingReport

Target = Annotated[TargetKind, Option(help="This machine, or a simulated LAN that ends with the command.")]
P = TypeVar("P", bound="ArpingReport | PingReport")


@dataclass(frozen=True, slots=True)
class Action:
    """On which target a command is executed, and how its result is shown."""

    target: Target = "local"
    kernel: Kernel = None
    dry_run: DryRun = False
    json_: Json = False
    netns: str | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        refuse_kernel(self.target, self.kernel)
        one_form(dry_run=self.dry_run, json_=self.json_)


@dataclass(frozen=True, slots=True)
class Where(Action):
    """The same in a network namespace."""

    netns: Netns = None


def perform(
    where: Action, commands: Mapping[str, Command], *, timeout_s: float = TIMEOUT_S
) -> list[Completed] | None:
    """Execute `commands`, by purpose, in order; None for a preview; raise IpvkitError at a failure."""
    typed = {purpose: placed(where.netns, command) for purpose, command in commands.items()}
    if where.target == "local":
        if not where.dry_run:
            return execute(typed.values(), timeout_s)
        emit(commented(typed))
        return None
    plan = on_lan(typed)
    if not where.dry_run:
        return execute_on_lan(plan, Place(where.target, where.kernel).chosen(), timeout_s)
    from ipvkit.export.preview import preview

    emit(preview(plan))
    return None


def change(where: Action, purpose: str, command: Command) -> None:
    """Execute a command that changes something; on success it is silent, as `ip` is, without --json."""
    done = perform(where, {purpose: command})
    if done is not None and where.json_:
        emit(command_document(placed(where.netns, command), done[0]))


def show(where: Action, commands: Mapping[str, Command], output: Output[T], parse: Callable[..., T]) -> None:
    """Print what `parse` finds in the outputs of `commands`, an argument each."""
    done = perform(where, commands)
    if done is not None:
        found = parse(*(completed.stdout for completed in done))
        emit(output.document(found) if where.json_ else output.table(found))


def probed(
    where: Where,
    purpose: str,
    command: Command,
    parse: Callable[[str], P],
    output: Output[P],
    timeout_s: float,
) -> P | None:
    """Return the printed report of a probe; None for a preview; raise CommandFailed without a summary."""
    done = perform(where, {purpose: command}, timeout_s=timeout_s)
    if done is None:
        return None
    report = parse(done[0].stdout + done[0].stderr)
    if not report.complete:
        last = report.errors[-1] if report.errors else "it ended early"
        failed = f"{command.argv[0]} failed: {getattr(last, 'message', last)}"
        raise CommandFailed(failed, command=str(placed(where.netns, command)))
    emit(output.document(report) if where.json_ else output.table(report))
    return report
