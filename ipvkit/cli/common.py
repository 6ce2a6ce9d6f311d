"""What commands of all sorts share."""

import inspect
import select
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, is_dataclass, replace
from functools import partial, wraps
from ipaddress import IPv4Address
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Option
from typer.core import TyperGroup

from ipvkit.cli import SUMMARIES, emit
from ipvkit.cli.hints import unknown_command
from ipvkit.core.errors import UsageError
from ipvkit.core.values import Address, RunTargetKind, TargetKind, any_address

if TYPE_CHECKING:
    from ipvkit.targets.sandbox import Sandbox
    from ipvkit.targets.uml import Uml

Json = Annotated[bool, Option("--json", help="Print one JSON document.")]
DryRun = Annotated[bool, Option("--dry-run", help="Print the commands, execute nothing.")]


def _releases(incomplete: str) -> list[str]:
    from ipvkit.targets.kernels import kernels

    return [kernel.release for kernel in kernels() if kernel.release.startswith(incomplete)]


ALL = "all"
"""The name that stands for every kernel, where a command compares them."""

KERNEL_HELP = "The kernel of target uml. Default: $IPVKIT_KERNEL, or the installed one."
Target = Annotated[TargetKind, Option(help="Where to run it.")]
Kernel = Annotated[str | None, Option(metavar="VERSION|PATH", help=KERNEL_HELP, autocompletion=_releases)]
Netns = Annotated[
    str | None, Option("-n", "--netns", metavar="NETNS", help="The network namespace to act in.")
]


def number(value: float) -> float:
    """Return `value`; raise typer.BadParameter for nan, which is in every range."""
    if isnan(value):
        raise typer.BadParameter("nan is not a number")
    return value


def parent_called(text: str) -> str:
    """Return the name of this machine's link `text`, noting that this is an alternative name of it."""
    from ipvkit.host.interfaces import link_called

    found = link_called(text)
    if found != text:
        print(f"note: {text} is an alternative name of {found}", file=sys.stderr)
    return found


Timeout = Annotated[
    float, Option(min=1, metavar="SECONDS", help="Abort the run after that.", callback=number)
]
Inventory = Annotated[
    list[str] | None, Option(metavar="FILE", help="The hosts of an Ansible inventory. Repeatable.")
]
OutputFile = Annotated[Path | None, Option(metavar="FILE", help="Write the result to FILE.")]

Verb = Callable[..., int | None]
"""What a command calls: it returns the exit code, or None for 0."""

IP_HELP = """Each subcommand runs one command of ip.

Exit code: 0 done, 2 wrong usage, 3 not permitted, 4 ip failed."""


class Group(TyperGroup):
    """A command with subcommands; for an unknown one it suggests the nearest."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401
        """Return the name, the command and the other words of `args`; raise UsageError for an unknown one."""
        if self.get_command(ctx, args[0]) is None and not ctx.resilient_parsing:
            hint = unknown_command(ctx.command_path, args, self.list_commands(ctx))
            raise UsageError(f"unknown command {args[0]!r}", hint)
        return super().resolve_command(ctx, args)


def group(name: str, help_: str, subcommands: Mapping[str, Verb]) -> typer.Typer:
    """Return the Typer application `name`, which alone, without a subcommand, prints its help."""
    app = typer.Typer(name=name, cls=Group, add_completion=False, rich_markup_mode=None)

    @app.callback(help=f"{SUMMARIES[name]}\n\n{help_}", invoke_without_command=True)
    def print_help(context: typer.Context) -> None:
        if context.invoked_subcommand is None:
            emit(context.get_help() + "\n")

    for subcommand, verb in subcommands.items():
        app.command(subcommand)(expanded(verb))
    return app


def reader_has_gone() -> bool:
    """Return whether stdout is closed, or a pipe without a reader."""
    if sys.stdout is None:
        return True
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return any(found & select.POLLERR for _, found in poll.poll(0))


def one_form(*, dry_run: bool, json_: bool) -> None:
    """Raise UsageError where a preview is wanted as JSON."""
    if dry_run and json_:
        raise UsageError("--dry-run does not go with --json", "the preview is text, one command a line")


def refuse_kernel(kind: RunTargetKind, kernel: str | None) -> None:
    """Raise UsageError where a `kernel` is given for a target that has one."""
    if kernel is not None and kind in ("local", "sandbox", "ansible"):
        raise UsageError("--kernel needs --target uml", "give --target uml, or omit --kernel")


@dataclass(frozen=True, slots=True)
class Place:
    """Where to run: a target, and its kernel."""

    target: Target = "auto"
    kernel: Kernel = None

    def __post_init__(self) -> None:
        refuse_kernel(self.target, self.kernel)

    def refuse_local(self) -> None:
        """Raise UsageError for target local, which has no simulated LAN."""
        if self.target == "local":
            raise UsageError("--target local has no simulated LAN", "omit --target, or give sandbox or uml")

    def chosen(self, hosts: int = 1) -> "Sandbox | Uml":
        """Return the target for a lab with so many hosts; for auto, print which it is, and why, on stderr."""
        # A preview needs no target.
        from ipvkit.targets.choice import choose

        return choose(self.target, partial(print, file=sys.stderr), self.kernel, hosts=hosts)

    def each(self, hosts: int = 1) -> "list[Sandbox | Uml]":
        """Return the target, or with `ALL` as the kernel one for each that there is, the oldest first."""
        if self.kernel != ALL:
            return [self.chosen(hosts)]
        from ipvkit.targets.kernels import kernels, numbers

        names: list[str | None] = [*sorted((k.release for k in kernels() if k.runs_here), key=numbers)]
        return [replace(self, kernel=name).chosen(hosts) for name in names or [None]]


def ipv4(text: str, hint: str, read: Callable[[str], Address] = any_address) -> IPv4Address:
    """Return the IPv4 address that `text` is; raise UsageError for another, with `hint` for one of IPv6."""
    found = read(text)
    if not isinstance(found, IPv4Address):
        raise UsageError(f"{text} is an IPv6 address, and ARP is for IPv4", hint)
    return found


def expanded(verb: Verb) -> Verb:
    """Return `verb` as Typer takes it: a parameter that is a dataclass becomes one for each field."""
    own = inspect.signature(verb).parameters
    kinds: dict[str, Any] = {name: p.annotation for name, p in own.items() if is_dataclass(p.annotation)}
    fields = {name: inspect.signature(kind).parameters for name, kind in kinds.items()}
    shown = [part for name, each in own.items() for part in fields.get(name, {name: each}).values()]

    @wraps(verb)
    def command(**given: Any) -> int | None:  # noqa: ANN401
        for name, kind in kinds.items():
            given[name] = kind(**{field: given.pop(field) for field in fields[name]})
        return verb(**given)

    signature = inspect.Signature([each.replace(kind=each.KEYWORD_ONLY) for each in shown])
    command.__signature__ = signature  # type: ignore[attr-defined]
    return command
