"""The Typer commands: each is loaded when it is typed."""

from collections.abc import Callable
from functools import cache, partial
from importlib import import_module
from inspect import getdoc
from typing import Any, Literal, get_args, get_origin

import typer
from typer.core import TyperCommand, TyperGroup

from ipvkit.cli import SUMMARIES

GROUPS = ("labs", "netns", "link", "addr", "route", "neigh")
"""The commands that have commands of their own."""

_MODULES = {
    **dict.fromkeys(("netns", "link", "addr", "route", "neigh"), "ip"),
    **dict.fromkeys(("cleanup", "down"), "runs"),
}
"""The modules of those commands that are not in one of their own name."""

_app = typer.Typer(name="ipvkit", rich_markup_mode=None, no_args_is_help=True)


@_app.callback()
def _options(
    debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error."),
) -> None:
    """Tell what Linux ipvlan will really do: predicted, run on a real kernel, compared."""


@cache
def loaded_command(name: str) -> Any:  # noqa: ANN401
    """Return the Typer command called `name`, as its module has it; that is imported now."""
    function = name.replace("-", "_")
    found = getattr(import_module(f"ipvkit.cli.{_MODULES.get(name, function)}"), function)
    alone = typer.Typer(rich_markup_mode=None)
    if isinstance(found, typer.Typer):
        alone.add_typer(found, name=name, help=f"{SUMMARIES[name]}\n\n{found.info.help}")
    else:
        alone.command(name, help=f"{SUMMARIES[name]}\n\n{getdoc(found)}")(found)
    return _spared(typer.main.get_group(alone).commands[name])


class _Unloaded(TyperCommand):
    """A command of which only the name and the summary are known until it is typed."""

    def make_context(self, *words: Any, **more: Any) -> Any:  # noqa: ANN401
        """Return the context of what it stands for."""
        return loaded_command(str(self.name)).make_context(*words, **more)


@cache
def group() -> TyperGroup:
    """Return the Typer command that is ipvkit itself; none of its commands is loaded."""
    found = typer.main.get_command(_app)
    assert isinstance(found, TyperGroup)  # noqa: S101
    _spared(found)
    for name, summary in SUMMARIES.items():
        found.add_command(_Unloaded(name, help=summary, rich_markup_mode=None))
    return found


def _spared(command: Any) -> Any:  # noqa: ANN401
    """Return `command`, whose parameters take what needs no conversion as it is.

    For the rest Typer loads pydantic, which takes longer than all else that a short command loads.
    """
    for parameter in command.get_params(typer.Context(command)):
        parameter.process_value = partial(_processed, parameter, parameter.process_value)
    for inner in getattr(command, "commands", {}).values():
        _spared(inner)
    return command


def _processed(parameter: Any, process: Callable[[Any, Any], Any], context: Any, value: Any) -> Any:  # noqa: ANN401
    return value if _is_converted(parameter, value) else process(context, value)


def _is_converted(parameter: Any, value: Any) -> bool:  # noqa: ANN401
    """Return whether `value` is what the command gets for it: a default, or a word."""
    if value is parameter.default:
        return not parameter.required
    annotation = parameter.type_descriptor.annotation
    if get_origin(annotation) is Literal:
        return value in get_args(annotation)
    # What is not ASCII may not be text.
    return annotation is str and value.isascii()
