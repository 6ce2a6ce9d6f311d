"""A result as a person reads it: a table, then one line of verdict."""

from collections.abc import Iterator
from textwrap import wrap

from ipvkit.report.grid import grid
from ipvkit.run.verdicts import Result, Verdict

_COLOURS = {"pass": "32", "FAIL": "1;31", "skipped": "33", "not run": "33"}
_NARROWEST_REASON = 32
_MOST_TOLD = 20
"""How many checks the verdict tells by their names."""

_HEADERS = ("check", "address", "predicted", "observed", "verdict", "reason")


def render(result: Result, *, colour: bool = False, width: int | None = None) -> str:
    """Return the table of checks and the verdict; the reasons wrap so that lines fit into `width`."""
    parts = []
    for section in result.run.plan.sections:
        verdicts = result.verdicts[section.name]
        rows = [_row(verdict, colour) for verdict in verdicts]
        if any(_word(verdict) != "not run" for verdict in verdicts):
            parts += [section.title, _table(rows, width), ""]
    parts += [*_residue(result), verdict_line(result)]
    return "\n".join(parts) + "\n"


def _table(rows: list[list[str]], width: int | None) -> str:
    if width is None:
        return grid(rows, _HEADERS)
    others = grid([row[:-1] for row in rows], _HEADERS[:-1])
    room = width - max(len(line) for line in others.splitlines()[:2]) - 2
    if room < _NARROWEST_REASON:
        return _with_reasons_below(others, [row[-1] for row in rows], width)
    widths = [None] * (len(_HEADERS) - 1) + [room]
    return grid(rows, _HEADERS, maxcolwidths=widths)


def _with_reasons_below(table: str, reasons: list[str], width: int) -> str:
    """Return the table with each row's reason on the lines after it, where none fits beside it."""
    header, rule, *rows = table.splitlines()
    lines = [header, rule]
    for row, reason in zip(rows, reasons, strict=True):
        lines += [row, *wrap(reason, max(width, 40), initial_indent="    ", subsequent_indent="    ")]
    return "\n".join(lines)


def _row(verdict: Verdict, colour: bool) -> list[str]:
    probe = verdict.probe
    word = _word(verdict)
    shown = f"\x1b[{_COLOURS[word]}m{word}\x1b[0m" if colour else word
    observed = verdict.observed or ""
    if verdict.lifetime_s is not None:
        observed += f" after {verdict.lifetime_s:.1f} s"
    reason = probe.skipped or probe.reason
    expected = "" if probe.skipped else str(probe.expected)
    if probe.check.expect is not None:
        expected += " (lab)"
    return [str(probe.check), str(probe.address or ""), expected, observed, shown, reason]


def _word(verdict: Verdict) -> str:
    if verdict.probe.skipped:
        return "skipped"
    return {True: "pass", False: "FAIL", None: "not run"}[verdict.passed]


def _residue(result: Result) -> Iterator[str]:
    if result.run.residue:
        yield "left behind:"
        yield from (f"  {thing}" for thing in result.run.residue)
    if result.run.left_alone:
        yield "left alone, since somebody else has changed it:"
        yield from (f"  {thing}" for thing in result.run.left_alone)


def verdict_line(result: Result) -> str:
    """Return the line that says how it came out: the verdict, the counts, the kernel, the seconds."""
    run = result.run
    checks = [check for check in result.checks if not check.probe.skipped]
    right = sum(check.passed is True for check in checks)
    counts = f"{right} of {len(checks)} checks as predicted" if checks else "nothing was checked"
    skipped = len(result.checks) - len(checks)
    if skipped:
        counts += f", {skipped} skipped"
    wrong = [str(check.probe.check) for check in checks if check.passed is False]
    if wrong:
        more = f" and {len(wrong) - _MOST_TOLD} more" if len(wrong) > _MOST_TOLD else ""
        counts += f" (not: {', '.join(wrong[:_MOST_TOLD])}{more})"
    where = f"{run.target}, kernel {run.kernel}" if run.kernel else run.target
    return f"{result.verdict}: {run.plan.lab.name}, {counts}; {where}; {run.duration_s:.1f} s"
