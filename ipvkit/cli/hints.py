"""What to type instead of what was typed."""

import shlex
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, get_args

from ipvkit.core.values import Flag

_NEAR = {
    **dict.fromkeys(("validate", "lint", "check"), ("labs check", "check")),
    **dict.fromkeys(("up", "deploy", "run", "start", "apply"), ("run-lab",)),
    **dict.fromkeys(("destroy", "stop", "undeploy"), ("down",)),
    **dict.fromkeys(("clean", "undo", "prune"), ("cleanup",)),
    **dict.fromkeys(("exec", "bash", "console"), ("shell",)),
    **dict.fromkeys(("trace", "traceroute", "why"), ("explain",)),
    **dict.fromkeys(("script", "save"), ("export-script",)),
    **dict.fromkeys(("list", "ls"), ("labs list", "list")),
    **dict.fromkeys(("show", "lst"), ("labs show", "list")),
    **dict.fromkeys(("delete", "rm", "remove"), ("down", "del")),
    **dict.fromkeys(("create", "generate", "init"), ("labs new", "new", "add")),
    **dict.fromkeys(("add", "make"), ("new", "add")),
    **dict.fromkeys(("change", "modify"), ("set",)),
    **dict.fromkeys(("neighbour", "neighbor"), ("neigh",)),
    **dict.fromkeys(("graph", "draw", "diagram", "topology"), ("labs graph", "graph")),
    "address": ("addr",),
}
"""What people try, by their habits from iproute2, containerlab and others, and the commands that do it."""


def unknown_command(path: str, args: Sequence[str], commands: Sequence[str]) -> str:
    """Return which of `commands` do what the first of `args`, which `path` does not have, does elsewhere."""
    known = [each for each in _NEAR.get(args[0], ()) if each.split()[0] in commands]
    found = known or get_close_matches(args[0], commands, n=2)
    lines = [" ".join([path, each, *map(shlex.quote, args[1:])]) for each in found]
    return ", or ".join(lines) or f"{path} --help lists the commands"


def wrong_usage(command: Any, path: str, arguments: Sequence[str]) -> str:  # noqa: ANN401
    """Return how to type what `command` cannot take, or how to see its options."""
    words = [word for word in arguments if word != "--debug"][len(path.split()) - 1 :]
    found = as_options(words, command)
    if sorted(found) == sorted(words):
        return f"{path} --help shows the options"
    return f"{path} {shlex.join(found)}"


def as_options(words: Sequence[str], command: Any) -> list[str]:  # noqa: ANN401
    """Return `words`, typed as with ip, in the order and with the options that `command` has for them."""
    options = [each for each in command.params if each.param_type_name == "option"]
    takes_value = {name: not each.is_flag for each in options for name in (*each.opts, *each.secondary_opts)}
    positional: list[str] = []
    named: list[str] = []
    rest = iter(words)
    for word in rest:
        option = word if word.startswith("-") else f"--{word}"
        if word == "netns" and "--to-netns" in takes_value:
            option = "--peer-netns" if "--peer" in named else "--to-netns"
        if option in takes_value:
            values = [value for value in (next(rest, None),) if value] if takes_value[option] else []
            if (option, values) == ("--peer", ["name"]):
                values = [next(rest, "")]
            named += [option, *values]
        elif word.startswith("-") and word != "-":
            named.append(word)
        elif "--flag" in takes_value and word in get_args(Flag):
            named += ["--flag", word]
        elif positional and "--link" in takes_value and "--link" not in named:
            named += ["--link", word]
        elif word == "type":
            next(rest, "")
        else:
            positional.append(next(rest, "") if word in ("dev", "name") else word)
    return positional + named
