"""The Typer commands, each imported when it is typed, and the one place where errors become exit codes."""

import os
import sys
import traceback
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from inspect import getdoc
from keyword import iskeyword
from shutil import get_terminal_size
from textwrap import TextWrapper
from typing import Any

import typer
from typer import Option
from typer.core import TyperCommand

from ipvkit.cli import SUMMARIES, emit, overview
from ipvkit.cli.common import Group, expanded
from ipvkit.cli.hints import wrong_usage
from ipvkit.core.errors import Interrupted, IpvkitError, UsageError
from ipvkit.core.interrupts import Stopped
from ipvkit.report.plain import document, error


class LazyGroup(Group):
    """The commands of ipvkit."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401, ARG002
        """Return the names of the commands."""
        return [*SUMMARIES]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401, ARG002
        """Return the name and the summary of a command, which is all that a list of commands shows."""
        return TyperCommand(cmd_name, help=SUMMARIES[cmd_name]) if cmd_name in SUMMARIES else None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401
        """Return the name, the command, loaded, and the other words of `args`."""
        name, _, rest = super().resolve_command(ctx, args)
        return name, loaded_command(name) if name else None, rest

    def get_help(self, ctx: Any) -> str:  # noqa: ANN401, ARG002
        """Return the overview, for which no command is loaded."""
        return overview().rstrip("\n")


_app = typer.Typer(name="ipvkit", cls=LazyGroup, rich_markup_mode=None)


@_app.callback()
def _options(debug: bool = Option(False, "--debug", help="Show the traceback of an error.")) -> None:
    """`run` reads the option; Typer only has to know it."""


_MODULES = {**dict.fromkeys(("netns", "addr", "route", "rule", "neigh"), "ip"), "down": "cleanup"}
"""Where a command is that has no module of its name."""


@cache
def loaded_command(name: str) -> Any:  # noqa: ANN401
    """Return the Typer command called `name`; its module is imported now."""
    function = f"{name.replace('-', '_')}{'_' if iskeyword(name) else ''}"
    found = getattr(import_module(f"ipvkit.cli.{_MODULES.get(name, function)}"), function)
    if isinstance(found, typer.Typer):
        return typer.main.get_command(found)
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command(name, help=f"{SUMMARIES[name]}\n\n{getdoc(found)}")(expanded(found))
    return typer.main.get_command(app)


@cache
def group() -> Any:  # noqa: ANN401
    """Return the Typer command that is ipvkit itself; none of its commands is loaded."""
    return typer.main.get_command(_app)


def run(arguments: Sequence[str]) -> int:
    """Run a command line and return its exit code; errors become lines on stderr."""
    # Where stdin, stdout or stderr is closed, a pipe to a command would take its number.
    while (file := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(file)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)
    try:
        return int(group()(list(arguments), prog_name="ipvkit", standalone_mode=False) or 0)
    except SystemExit:
        # Typer ends so when nothing reads its help any more.
        return 0
    except Stopped:
        return _report(Interrupted("interrupted", "nothing had begun, or all of it had ended"), arguments)
    except Exception as problem:
        if "--debug" in arguments:
            traceback.print_exc()
        return _report(_known(problem, arguments), arguments)


def _known(problem: Exception, arguments: Sequence[str]) -> IpvkitError:
    if isinstance(problem, IpvkitError):
        return problem
    if not isinstance(problem, typer.TyperException):
        what = f"ipvkit itself failed ({type(problem).__name__}: {problem})"
        return IpvkitError(what, "--debug shows where; please report it")
    what = " ".join(problem.format_message().split()).rstrip(".")
    context: Any = getattr(problem, "ctx", None)
    if context is None:
        return UsageError(what, "ipvkit --help lists the commands")
    return UsageError(what, wrong_usage(context.command, context.command_path, arguments))


def _report(problem: IpvkitError, arguments: Sequence[str]) -> int:
    if "--json" in arguments:
        emit(document("error", error=error(problem)))
    lines = str(problem).splitlines()
    if sys.stderr.isatty():
        # A terminal breaks lines anywhere.
        width = get_terminal_size().columns
        wrapper = TextWrapper(width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
        lines = [line if line.startswith(" ") else wrapper.fill(line) for line in lines]
    print(*lines, sep="\n", file=sys.stderr)
    return problem.exit_code
