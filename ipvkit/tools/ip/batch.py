"""Several commands of ``ip`` in one process: ``ip -batch -``, ip(8), iproute2's lib/utils.c, do_batch."""

import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from ipvkit.core.command import Command, option
from ipvkit.core.errors import UnparsableOutput
from ipvkit.core.values import netns_name

LINES_A_S = 50
"""How many lines of a batch are executed in a second, at least; one takes 1 ms, in uml 10 ms."""

_FAILED = re.compile(r"^Command failed -:([1-9][0-9]{0,8})$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a batch, and the namespace of the batch, None for the namespace of the process."""

    netns: str | None
    text: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The line of a batch, counted from 1, that failed, and its error."""

    line: int
    error: str


def line_of(command: Command) -> Line | None:
    """Return `command` as a line of a batch; None where it cannot be one.

    >>> line_of(Command(("ip", "-n", "test1", "link", "set", "test1", "up")))
    Line(netns='test1', text='link set test1 up')
    >>> line_of(Command(("ip", "netns", "exec", "test1", "true"))) is None
    True
    """
    program, *words = command.argv
    netns = None
    if words[:1] == ["-n"]:
        netns, words = words[1], words[2:]
    elif words[:2] == ["netns", "exec"] and words[3:4] == ["ip"]:
        netns, words = words[2], words[4:]
    text = " ".join(words)
    plain = bool(words) and words[0] != "" and not words[0].startswith("-") and words[:2] != ["netns", "exec"]
    if program != "ip" or not plain or command.ok != (0,) or command.stdin or shlex.join(words) != text:
        return None
    return Line(netns, text)


def batch(lines: Sequence[str], netns: str | None = None, *, force: bool = False) -> Command:
    """Return the command that runs `lines` one after another in one process, up to the first that fails.

    With `force` it goes on after that.

    >>> print(batch(["link set test1 up"], "test1"))
    ip -n test1 -batch - <<'END'
    link set test1 up
    END
    """
    words = (*option("-n", netns, netns_name), *(("-force",) if force else ()), "-batch", "-")
    return Command(("ip", *words), stdin=tuple(lines))


def show_in_one(commands: Sequence[Command]) -> Command:
    """Return the command that shows, as JSON with details, the output of each of `commands` as a list.

    >>> print(show_in_one([Command(("ip", "-json", what, "show")) for what in ("link", "route")]))
    ip -json -details -batch - <<'END'
    link show
    route show
    END
    """
    lines = (" ".join(w for w in c.argv[1:] if w not in ("-json", "-details")) for c in commands)
    return Command(("ip", "-json", "-details", "-batch", "-"), stdin=tuple(lines))


def lists_in(stdout: str, *, at_most: int) -> tuple[str, ...]:
    r"""Return each of the lists that ``ip -json -batch -`` printed.

    Raise UnparsableOutput for anything else, and for more than were asked for.

    >>> lists_in('[{"ifname":"lo"}]\n[]\n', at_most=2)
    ('[{"ifname":"lo"}]', '[]')
    """
    found: list[str] = []
    rest = stdout.lstrip()
    while rest:
        try:
            value, end = json.JSONDecoder().raw_decode(rest)
        except (ValueError, RecursionError):
            value, end = None, 0
        if not isinstance(value, list) or len(found) == at_most:
            number = stdout.count("\n", 0, len(stdout) - len(rest)) + 1
            raise UnparsableOutput("ip", number, rest.partition("\n")[0])
        found.append(rest[:end])
        rest = rest[end:].lstrip()
    return tuple(found)


def failed_lines(stderr: str) -> tuple[Failed, ...]:
    r"""Return which lines of a batch failed, and the error of each, in order.

    >>> failed_lines('Cannot find device "test1"\nCommand failed -:2\n')
    (Failed(line=2, error='Cannot find device "test1"'),)
    """
    parts = _FAILED.split(stderr)
    failed = zip(parts[::2], parts[1::2], strict=False)
    return tuple(Failed(int(line), error.strip()) for error, line in failed)
