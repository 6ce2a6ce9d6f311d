"""What each kind of result is turned into once, and every format of a report shows."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from ipvkit.core.command import Command, Completed
from ipvkit.core.errors import printable

Status = Literal["ok", "differs", "error", "skipped"]
"""Whether an entry is as predicted or expected, differs, failed to run, or was not compared."""

MOST_NODES = 40
"""How many rows or columns a map of nodes has."""

_MOST_LINES = 40
"""How many lines of an output a report has that shows it beside each check."""


@dataclass(frozen=True, slots=True)
class Ran:
    """A command that was run on a machine, its purpose, and what it printed."""

    purpose: str
    command: str
    exit_code: int
    duration_s: float
    output: str


@dataclass(frozen=True, slots=True)
class Fix:
    """How to fix what is unreachable: its name and cost, the lines to type, and what follows."""

    title: str
    lines: tuple[str, ...]
    then: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """A check, or what is listed as one: what was predicted and observed, the `word` of the verdict, and why.

    `ends` are the source and the destination of a check; `path` is what happens to a packet, hop by hop;
    `packets` are those that were captured.
    """

    name: str
    status: Status
    word: str
    predicted: str = ""
    observed: str = ""
    address: str = ""
    reason: str = ""
    ran: Ran | None = None
    path: tuple[str, ...] = ()
    fixes: tuple[Fix, ...] = ()
    ends: tuple[str, str] | None = None
    packets: tuple[str, ...] = ()

    @property
    def is_bad(self) -> bool:
        """Whether it differs, or failed to run."""
        return self.status in ("differs", "error")

    @property
    def outcome(self) -> str:
        """What was predicted and observed; where nothing was observed, the word of the verdict."""
        return f"predicted {self.predicted}, observed {self.observed}" if self.observed else self.word


@dataclass(frozen=True, slots=True)
class Heat:
    """A map of who reaches whom: the heads of its columns, and rows of which the first `names` are heads too.

    The `legend` explains its words. Where a section has several, they are `of` different kernels.
    """

    legend: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    names: int = 1
    of: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """A phase, or another part of a result: its entries, and other commands that were run in it.

    `picture` returns an SVG of it, which a page shows as it is; it takes a process.
    """

    name: str
    title: str
    entries: tuple[Entry, ...]
    ran: tuple[Ran, ...] = ()
    heats: tuple[Heat, ...] = ()
    picture: Callable[[], str] | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """A result of the subcommand `verb` about `name`: the verdict as a word and as a line, and the entries.

    `problem` is the error of a run that failed; `notes` are such as leftovers. `file` is the lab file, if the
    lab has one; `json` yields the document that ``--json`` prints.
    """

    verb: str
    name: str
    word: str
    verdict: str
    sections: tuple[Section, ...]
    json: Callable[[], Iterable[str]]
    problem: str = ""
    notes: tuple[str, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    file: str = ""

    @property
    def status(self) -> Status:
        """Whether it failed, an entry of it is bad, or nothing was compared."""
        if self.problem:
            return "error"
        if self.bad:
            return "differs"
        return "ok" if any(entry.status == "ok" for _, entry in self.entries) else "skipped"

    @property
    def entries(self) -> Iterator[tuple[Section, Entry]]:
        """All entries, each with its section."""
        return ((section, entry) for section in self.sections for entry in section.entries)

    @property
    def bad(self) -> list[tuple[Section, Entry]]:
        """The entries that differ, or failed to run, each with its section."""
        return [each for each in self.entries if each[1].is_bad]


def differing(count: int) -> str:
    """Return the verdict as a word where `count` checks differ."""
    if not count:
        return "as predicted"
    return f"{count} check{'s' if count > 1 else ''} DIFFER{'S' if count == 1 else ''}"


def ran(purpose: str, command: Command, completed: Completed) -> Ran:
    """Return a command that has ended, with all that it printed."""
    output = completed.stdout + completed.stderr
    return Ran(purpose, str(command), completed.exit_code, completed.duration_s, output)


def clipped(output: str) -> list[str]:
    """Return the lines of an output, of a long one the first and the last."""
    lines = output.splitlines()
    if len(lines) <= _MOST_LINES:
        return lines
    some = _MOST_LINES // 2
    return [*lines[:some], f"({len(lines) - 2 * some} lines left out; --json has all)", *lines[-some:]]


def text_of(text: str) -> str:
    r"""Return `text` with escapes for what XML cannot hold, and a browser or a terminal would act on.

    >>> text_of("a\x1b[1m\n")
    'a\\x1b[1m\n'
    """
    return text if text.isprintable() else printable(text, "\n\t")
