"""The Typer commands: each is imported when it is typed, as Click documents lazy loading."""

from functools import cache
from importlib import import_module
from inspect import getdoc
from typing import Any

import typer
from typer import Option
from typer.core import TyperCommand

from ipvkit.cli import SUMMARIES, overview
from ipvkit.cli.common import Group, expanded


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


_MODULES = {**dict.fromkeys(("netns", "addr", "route", "neigh"), "ip"), "down": "cleanup"}
"""Where a command is that has no module of its name."""


@cache
def loaded_command(name: str) -> Any:  # noqa: ANN401
    """Return the Typer command called `name`; its module is imported now."""
    function = name.replace("-", "_")
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
