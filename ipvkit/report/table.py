"""A result as a table for each phase, and one line of verdict."""

from collections.abc import Iterator
from textwrap import wrap

from ipvkit.lab import Check, Outcome
from ipvkit.report.plain import grid, prediction_word, wrapped
from ipvkit.run.engine import Run
from ipvkit.run.verdicts import Result, Verdict

_COLOURS = {"as predicted": "32", "DIFFERS": "1;31", "skipped": "33", "not run": "33", "not modelled": "33"}
_NARROWEST_REASON = 32
_HEADERS = ("check", "address", "predicted", "observed", "verdict", "reason")


def render(result: Result, *, colour: bool = False, width: int | None = None) -> str:
    """Return the table of checks and the verdict; the reasons wrap so that lines fit into `width`."""
    parts = []
    for section in result.run.plan.sections:
        verdicts = result.verdicts[section.name]
        if any(word(verdict) != "not run" for verdict in verdicts):
            parts += [section.title, _table([_row(verdict, colour) for verdict in verdicts], width), ""]
    verdict = verdict_line(result)
    parts += [*not_undone(result.run), *([verdict] if width is None else wrap(verdict, width))]
    return "\n".join(parts) + "\n"


def _table(rows: list[list[str]], width: int | None) -> str:
    if width is None:
        return grid(rows, _HEADERS)
    others = grid([row[:-1] for row in rows], _HEADERS[:-1])
    room = width - max(len(line) for line in others.splitlines()[:2]) - 2
    if room >= _NARROWEST_REASON:
        return grid(rows, _HEADERS, maxcolwidths=[None] * (len(_HEADERS) - 1) + [room])
    reasons = [row[-1] for row in rows]
    if room < -2:
        others = grid([[row[0], *row[2:-1]] for row in rows], [_HEADERS[0], *_HEADERS[2:-1]])
        reasons = [f"{row[1]}  {row[-1]}" for row in rows]
    header, rule, *checks = others.splitlines()
    lines = [header, rule]
    for check, reason in zip(checks, reasons, strict=True):
        lines += [check, *wrapped(reason, max(width, 40), "    ")]
    return "\n".join(lines)


def _row(verdict: Verdict, colour: bool) -> list[str]:
    probe, shown = verdict.probe, word(verdict)
    shown = f"\x1b[{_COLOURS[shown]}m{shown}\x1b[0m" if colour else shown
    observed = f"{verdict.observed or ''}{verdict.detail}"
    reason = probe.skipped or probe.reason
    expected = "" if probe.skipped else " or ".join(probe.outcomes)
    if probe.check.expect is not None:
        expected += " (lab)"
    return [str(probe.check), str(probe.address or ""), expected, observed, shown, reason]


def word(verdict: Verdict) -> str:
    """Return the word of the verdict on a check."""
    if verdict.probe.skipped:
        return "skipped"
    return str(Outcome.NOT_MODELLED) if _is_not_modelled(verdict) else prediction_word(verdict.passed)


def _is_not_modelled(verdict: Verdict) -> bool:
    return verdict.observed is not None and verdict.probe.expected is Outcome.NOT_MODELLED


def not_undone(run: Run) -> Iterator[str]:
    """Yield the leftovers of a run, and what it left alone, under their titles."""
    changed = "not touched, since another process has changed it:"
    for title, things in (("left behind:", run.residue), (changed, run.left_alone)):
        if things:
            yield from (title, *(f"  {thing}" for thing in things))


def verdict_line(result: Result) -> str:
    """Return the summary: predictions that held, pairs that do not work, the kernel, seconds."""
    run = result.run
    asked = [check for check in result.checks if not check.probe.skipped]
    unknown = sum(map(_is_not_modelled, asked))
    held = sum(check.passed is True for check in asked)
    counts = f"{held} of {len(asked) - unknown} as predicted" if asked else "nothing was checked"
    if unknown:
        counts += f", {unknown} not modelled"
    if skipped := len(result.checks) - len(asked):
        counts += f", {skipped} skipped"
    if wrong := [str(check.probe.check) for check in asked if check.passed is False]:
        counts += f" (DIFFERS: {_some(wrong, 20)})"
    parts = [counts]
    if lost := unreachable(result):
        parts += [f"{len(lost)} pair{'s' if len(lost) > 1 else ''} unreachable: {_some(lost, 5)}"]
    parts += [f"{run.target}, kernel {run.kernel}" if run.kernel else run.target, f"{run.duration_s:.1f} s"]
    error = "error: " if result.failure is not None else ""
    return f"{error}{run.plan.lab.name}: {'; '.join(parts)}"


def unreachable(result: Result) -> list[str]:
    """Return the pairs of which the last check, of any family, observed unreachable."""
    last = {
        (str(verdict.probe.check), verdict.probe.check.family): verdict.observed
        for verdict in result.checks
        if isinstance(verdict.probe.check, Check) and verdict.observed is not None
    }
    return list(dict.fromkeys(name for (name, _), seen in last.items() if seen is Outcome.UNREACHABLE))


def _some(names: list[str], most: int) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
