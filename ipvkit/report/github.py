"""A report on GitHub: the summary of the step, and annotations of what is not as predicted."""

from collections.abc import Iterator

from ipvkit.report import markdown
from ipvkit.report.entries import Report, text_of

SUMMARY = "GITHUB_STEP_SUMMARY"
"""What names the file of the summary, in the environment of a step."""

_LARGEST_B = 900_000
"""GitHub shows no summary of a step that is larger than 1 MiB; other commands of it write one too."""

_MOST_ANNOTATIONS = 10
"""GitHub shows no more of one kind for a step."""


def summary(report: Report) -> str:
    """Return the Markdown of `report`; where it is too large, without the tables of what is as predicted."""
    for wanted in (("ok", "differs", "error", "skipped"), ("differs", "error"), ()):
        page = "".join(markdown.render(report, wanted=wanted))
        if len(page.encode()) <= _LARGEST_B:
            break
    return page if "ok" in wanted else f"{page}\nOnly what differs is shown: the tables are too large.\n"


def annotations(report: Report) -> Iterator[str]:
    """Yield the lines by which a step annotates its run, and the lab file where the lab has one."""
    if report.problem:
        yield _command("error", report, report.verb, report.problem)
    bad = report.bad
    most = _MOST_ANNOTATIONS - bool(report.problem)
    shown = bad if len(bad) <= most else bad[: most - 1]
    for section, entry in shown:
        title = f"{section.name}: {entry.name}: {entry.word}"
        yield _command("error", report, title, f"{entry.outcome}: {entry.reason}")
    if more := len(bad) - len(shown):
        yield _command("error", report, report.verb, f"and {more} more, in the summary of the step")
    yield _command("notice", report, report.verb, report.verdict)


def _command(kind: str, report: Report, title: str, text: str) -> str:
    """Return a workflow command; what ends one, or separates its parts, is a code in it."""
    properties = {"file": report.file, "title": title}
    shown = ",".join(f"{name}={_coded(value, ':,')}" for name, value in properties.items() if value)
    return f"::{kind} {shown}::{_coded(text)}\n"


def _coded(text: str, besides: str = "") -> str:
    codes = f"%\r\n{besides}"
    return "".join(f"%{ord(c):02X}" if c in codes else c for c in text_of(text))
