"""Rounds of commands on a host of a fleet: what is sent there in one command, and what comes back."""

import base64
import binascii
import gzip
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Literal

from ipvkit.core.errors import CommandFailed

LONGEST = 100_000
"""The most bytes of a command: the kernel takes 128 KiB, and Ansible quotes it for sudo (MAX_ARG_STRLEN)."""

Servers = Literal["end", "keep", "serve"]
"""What a round does about former servers: it ends them, or keeps them, or its rows are more of them."""

SERVING = "servers"
"""The mark of a host on which servers run."""

_ANSWER = re.compile(r"<ipvkit ([A-Za-z0-9+/=]*)>")


@dataclass(frozen=True, slots=True)
class Round:
    """A round on a host: the words of its rows, as agent.bash reads them, within `seconds`.

    Before they run, `lines` are appended to the journal of `lab` there; where these are `needed` and cannot
    be written, nothing runs. `run` and `number` identify the round. It then looks for the marks of what is
    `watched`: ``link/NAME`` and ``netns/NAME``, and reports which `servers` have ended.
    """

    words: tuple[str, ...]
    seconds: int
    lab: str = ""
    run: str = ""
    number: int = 0
    lines: tuple[str, ...] = ()
    needed: bool = False
    watched: tuple[str, ...] = ()
    servers: Servers = "end"

    def command(self) -> str:
        """Return the command for sh, without quotes; raise CommandFailed where it is too long."""
        packed = base64.b64encode(gzip.compress(self.script().encode(), mtime=0)).decode()
        if len(packed) > LONGEST:
            raise CommandFailed(f"{len(packed)} bytes of commands are too many for one command of a host")
        return f"printf %s {packed} | base64 -d | gzip -dc | bash"

    def script(self) -> str:
        """Return the script that the command runs."""
        head, agent = _text("round.bash"), _text("agent.bash")
        needed = "needed" if self.needed else ""
        fixed = [self.lab, self.run, str(self.number), str(self.seconds), agent, needed, self.servers]
        counted = (
            word for part in (self.lines, self.watched, self.words) for word in (str(len(part)), *part)
        )
        return f"{head}\nround {shlex.join([*fixed, *counted])} </dev/null\n"


@cache
def _text(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


def rows_of(words: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield the words of each row, the number of them first."""
    at = 0
    while at < len(words):
        first, at = at, at + 1 + int(words[at])
        yield words[first:at]


def split(words: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Yield the two halves of the rows in `words`; one row stays whole."""
    rows = list(rows_of(words))
    middle = (len(rows) + 1) // 2
    yield from (tuple(chain(*half)) for half in (rows[:middle], rows[middle:]) if half)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a round printed: the reports of agent.bash and the marks, or why it ran nothing."""

    reports: bytes = b""
    marks: Mapping[str, int] = field(default_factory=dict)
    failure: str = ""


def parse_answer(stdout: str) -> Answer | None:
    """Return what a round printed; None where it did not end, or did not begin."""
    found = _ANSWER.search(stdout)
    if found is None:
        return None
    try:
        first, _, reports = gzip.decompress(base64.b64decode(found[1], validate=True)).partition(b"\n")
    except (binascii.Error, EOFError, OSError):
        return None
    verb, _, rest = first.decode(errors="replace").partition(" ")
    if verb != "marks":
        return Answer(failure=rest) if verb == "failed" else None
    each = (word.partition("=") for word in rest.split())
    return Answer(reports, {name: int(mark) for name, _, mark in each if mark.isdigit()})
