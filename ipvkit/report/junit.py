"""A report as JUnit XML, as Jenkins and GitLab read it: a testcase for each entry."""

from collections import Counter
from collections.abc import Iterable, Iterator
from xml.sax.saxutils import escape, quoteattr

from ipvkit.report.entries import Entry, Report, Section, Status, clipped, text_of

_ELEMENTS: dict[Status, str] = {"differs": "failure", "error": "error", "skipped": "skipped"}
"""What stands in a testcase that is not as predicted."""


def render(report: Report) -> Iterator[str]:
    """Yield the document: a testsuite for each section with entries, and one for a run that failed."""
    failed = 1 if report.problem else 0
    counts = _counts((entry for _, entry in report.entries), failed)
    del counts["skipped"]
    yield '<?xml version="1.0" encoding="UTF-8"?>\n'
    yield f"<testsuites {_attributes(name=f'ipvkit {report.verb} {report.name}', **counts)}>\n"
    for section in (section for section in report.sections if section.entries):
        yield from _suite(report, section)
    if report.problem:
        first, *_ = report.problem.splitlines()
        yield f"<testsuite {_attributes(name=report.verb, **_counts((), failed))}>\n"
        yield f"<testcase {_attributes(classname=report.name, name=report.verb, time=_seconds(0.0))}>\n"
        yield _element("error", report.problem, message=first)
        yield "</testcase>\n</testsuite>\n"
    yield "</testsuites>\n"


def _suite(report: Report, section: Section) -> Iterator[str]:
    durations = (entry.ran.duration_s for entry in section.entries if entry.ran)
    time = _seconds(sum(durations))
    yield f"<testsuite {_attributes(name=section.name, **_counts(section.entries), time=time)}>\n"
    if report.facts:
        properties = (f"<property {_attributes(name=name, value=value)}/>" for name, value in report.facts)
        yield f"<properties>{''.join(properties)}</properties>\n"
    for entry in section.entries:
        yield from _case(f"{report.name}.{section.name}", entry)
    yield "</testsuite>\n"


def _case(classname: str, entry: Entry) -> Iterator[str]:
    time = _seconds(entry.ran.duration_s if entry.ran else 0.0)
    name = " ".join(filter(None, (entry.name, entry.address and f"({entry.address})")))
    attributes = _attributes(classname=classname, name=name, time=time)
    if entry.status == "ok":
        yield f"<testcase {attributes}/>\n"
        return
    yield f"<testcase {attributes}>\n"
    yield _element(_ELEMENTS[entry.status], _details(entry), message=entry.outcome)
    yield "</testcase>\n"


def _details(entry: Entry) -> str:
    """Return the reason, and the command with its output."""
    lines = [entry.reason] if entry.reason else []
    if entry.ran is not None:
        lines += [f"$ {entry.ran.command}", *clipped(entry.ran.output), f"exit code {entry.ran.exit_code}"]
    return "\n".join(lines)


def _counts(entries: Iterable[Entry], failed: int = 0) -> dict[str, str]:
    """Return the numbers that a testsuite has, with `failed` errors besides those of `entries`."""
    found = Counter(entry.status for entry in entries)
    counts = {
        "tests": found.total() + failed,
        "failures": found["differs"],
        "errors": found["error"] + failed,
        "skipped": found["skipped"],
    }
    return {name: str(count) for name, count in counts.items()}


def _element(name: str, text: str, **attributes: str) -> str:
    return f"<{name} {_attributes(**attributes)}>{escape(text_of(text))}</{name}>\n"


def _attributes(**values: str) -> str:
    return " ".join(f"{name}={quoteattr(text_of(value))}" for name, value in values.items())


def _seconds(duration_s: float) -> str:
    return f"{duration_s:.3f}"
