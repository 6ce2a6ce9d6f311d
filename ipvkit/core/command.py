"""A command as data, which preview, script and engine read."""

import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from ipvkit.core.errors import UsageError
from ipvkit.core.values import netns_name

T = TypeVar("T")

END = "END"
"""The last line of a here-document."""


@dataclass(frozen=True, slots=True)
class Command:
    """A complete, literal argv, the exit codes that count as success, and the lines of its standard input.

    Arguments or lines that are not printable raise UsageError. `str()` is what a person would type:

    >>> str(Command(("ip", "netns", "add", "test1")))
    'ip netns add test1'
    >>> print(Command(("ip", "-batch", "-"), stdin=("netns add test1", "netns add test2")))
    ip -batch - <<'END'
    netns add test1
    netns add test2
    END
    """

    argv: tuple[str, ...]
    ok: tuple[int, ...] = (0,)
    stdin: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.argv or not self.argv[0]:
            raise UsageError("the command has no program")
        for word in self.argv:
            if not word.isprintable():
                raise UsageError(f"{word!r} cannot be an argument of a command: it is not printable")
        for line in self.stdin:
            if not line.isprintable() or line == END:
                raise UsageError(f"{line!r} cannot be a line of a here-document")

    def __str__(self) -> str:
        typed = shlex.join(self.argv)
        return "\n".join((f"{typed} <<'{END}'", *self.stdin, END)) if self.stdin else typed


def option(name: str, value: T | None, word: Callable[[T], str] = str) -> tuple[str, ...]:
    """Return the words of an option that has a value; no words for None.

    >>> option("mtu", 1400), option("dev", None)
    (('mtu', '1400'), ())
    """
    return () if value is None else (name, word(value))


def in_netns(netns: str | None, command: Command) -> Command:
    """Return `command` run in the network namespace `netns`, or itself for None (ip-netns(8)).

    >>> str(in_netns("test1", Command(("ping", "-c", "1", "192.0.2.1"))))
    'ip netns exec test1 ping -c 1 192.0.2.1'
    """
    if netns is None:
        return command
    return replace(command, argv=("ip", "netns", "exec", netns_name(netns), *command.argv))


@dataclass(frozen=True, slots=True)
class Completed:
    """The result of a command: `exit_code` (negative: the signal that killed it), output, `duration_s`."""

    exit_code: int
    stdout: str
    stderr: str
    duration_s: float
