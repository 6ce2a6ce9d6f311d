"""A report as Markdown, as GitHub and GitLab show it: the verdict first, then what is not as predicted."""

import re
from collections.abc import Iterator, Sequence

from ipvkit.report.entries import Entry, Report, Section, clipped, text_of

_MARKUP = re.compile(r"[\\`*_{}\[\]<>#|~$&!]|(?<=:)/(?=/)|(?<=www)\.|@", re.IGNORECASE)
"""What Markdown, and GitHub besides it, takes for more than text."""

_START = re.compile(r"^(?=[-+=])|(?<=\d)(?=[.)])")
"""Where a line would begin a list or underline a heading."""

_COLUMNS = ("check", "address", "predicted", "observed", "verdict", "reason")
_FOLDED_FROM = 30
"""A longer table is folded."""

_MOST_SHOWN = 50
"""How many commands are shown with their output."""


def render(report: Report, *, wanted: Sequence[str] = ("ok", "differs", "error", "skipped")) -> Iterator[str]:
    """Yield the page; its tables have the entries with the `wanted` statuses."""
    yield f"## {escaped(f'{report.verb} {report.name}: {report.word}')}\n\n{escaped(report.verdict)}\n"
    if report.problem:
        yield f"\n{fenced(report.problem)}"
    if report.notes:
        yield "\n" + "".join(f"- {escaped(note.strip())}\n" for note in report.notes)
    if bad := report.bad:
        yield "\n### What differs\n"
        for section, entry in bad[:_MOST_SHOWN]:
            yield from _details(section, entry)
        yield from [f"\nAnd {len(bad) - _MOST_SHOWN} more.\n"] if len(bad) > _MOST_SHOWN else []
    for section in report.sections:
        yield from _section(section, [entry for entry in section.entries if entry.status in wanted])


def _details(section: Section, entry: Entry) -> Iterator[str]:
    what = escaped(f"{section.name}: {entry.name}")
    yield f"\n**{what}**: {escaped(entry.outcome)}: {escaped(entry.reason)}\n"
    if entry.ran is not None:
        lines = [f"$ {entry.ran.command}", *clipped(entry.ran.output)]
        yield f"\n{fenced(chr(10).join(lines))}"


def _section(section: Section, entries: Sequence[Entry]) -> Iterator[str]:
    if not entries:
        return
    yield f"\n### {escaped(section.title)}\n\n"
    table = _table(entries)
    if len(entries) < _FOLDED_FROM:
        yield from table
    else:
        yield f"<details><summary>{len(entries)} lines</summary>\n\n"
        yield from table
        yield "\n</details>\n"
    for entry in entries:
        for fix in entry.fixes:
            yield f"\n**{escaped(entry.name)}**, {escaped(fix.title)}\n\n{fenced(chr(10).join(fix.lines))}"


def _table(entries: Sequence[Entry]) -> Iterator[str]:
    """Yield the lines of a table without the columns that are empty."""
    rows = [_cells(entry) for entry in entries]
    kept = [column for column in range(len(_COLUMNS)) if any(row[column] for row in rows)]
    for row in (_COLUMNS, ["---"] * len(_COLUMNS), *rows):
        yield f"| {' | '.join(row[column] for column in kept)} |\n"


def _cells(entry: Entry) -> list[str]:
    columns = (entry.name, entry.address, entry.predicted, entry.observed, entry.word, entry.reason)
    texts = [*map(escaped, columns)]
    if entry.is_bad:
        texts[4] = f"**{texts[4]}**"
    return texts


def escaped(text: str) -> str:
    r"""Return `text` so that Markdown shows it as it is, in one line.

    >>> escaped("a|b <c>")
    'a\\|b \\<c\\>'
    """
    line = _MARKUP.sub(r"\\\g<0>", " ".join(text_of(text).split()))
    return _START.sub(r"\\", line, count=1) if re.match(r"[-+=]|\d+[.)]", line) else line


def fenced(text: str) -> str:
    """Return `text` as a block of code, which nothing in it ends."""
    text = text_of(text)
    ticks = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(3, ticks + 1)
    return f"{fence}\n{text.rstrip()}\n{fence}\n"
