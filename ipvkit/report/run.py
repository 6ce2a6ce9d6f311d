"""A run of a lab as a report."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from ipaddress import ip_address
from itertools import zip_longest

from ipvkit.core.errors import InvalidLab
from ipvkit.lab import HOST, Check, Lab, Outcome, Phase, family_of
from ipvkit.plan.steps import Section as Planned
from ipvkit.predict.pairs import nodes_of
from ipvkit.report import json
from ipvkit.report.entries import MOST_NODES, Entry, Fix, Heat, Ran, Report, Section, Status, differing, ran
from ipvkit.report.explanation import path_of, shown
from ipvkit.report.table import not_undone, verdict_line, word
from ipvkit.run.batches import Job
from ipvkit.run.engine import Run
from ipvkit.run.verdicts import Result, Verdict
from ipvkit.verbs.explain import explain

_MOST_FIXES = 5
"""How many reasons of a phase have a fix."""

_LEGEND = (
    "yes: all checks of the pair were answered; no: none was; some: they came out differently, at other "
    "times or in other families; -: not checked; ?: not run; an exclamation mark: not as predicted"
)

_CELLS = {str(Outcome.REACHABLE): "yes", str(Outcome.UNREACHABLE): "no"}

_STATUS: dict[str, Status] = {"as predicted": "ok", "DIFFERS": "differs"}


def report(result: Result, file: str = "") -> Report:
    """Return the report of a run; the lab is that of `file`, or without one of the gallery."""
    run = result.run
    kernel = (("kernel", run.kernel),) if run.kernel else ()
    differ = sum(verdict.passed is False for verdict in result.checks)
    return Report(
        "run-lab",
        run.plan.lab.name,
        "error" if result.failure else differing(differ),
        verdict_line(result),
        tuple(_section(result, section) for section in run.plan.sections),
        lambda: json.render(result),
        str(result.failure or ""),
        tuple(not_undone(run)),
        (("target", run.target), *kernel, ("duration", f"{run.duration_s:.1f} s")),
        file,
    )


def _section(result: Result, section: Planned) -> Section:
    jobs = [job for stage in result.run.jobs[section.name] for job in stage]
    probing = [job for job in jobs for _ in job.probes]
    entries = (
        _entry(verdict, job, result.run)
        for verdict, job in zip_longest(result.verdicts[section.name], probing)
    )
    others = tuple(filter(None, (_ran(result.run, job) for job in jobs if not job.probes)))
    lab, phase = result.run.plan.lab, section.phase
    if phase is None:
        return Section(section.name, section.title, tuple(entries), others)
    found = _with_fixes(lab, phase, entries)
    heats = _heats(result.verdicts[section.name], nodes_of(lab, phase))
    return Section(section.name, section.title, found, others, heats, partial(_picture, result, phase))


def _picture(result: Result, phase: Phase) -> str:
    # Only a page has pictures.
    from ipvkit.report.graph import draw, svg

    return svg.render(draw.observed(result, phase))


def _entry(verdict: Verdict, job: Job | None, run: Run) -> Entry:
    probe = verdict.probe
    result = word(verdict)
    command = None if job is None else _ran(run, job)
    failed = result == "not run" and command is not None
    return Entry(
        str(probe.check),
        "error" if failed else _STATUS.get(result, "skipped"),
        "failed" if failed else result,
        "" if probe.skipped else " or ".join(probe.outcomes),
        f"{verdict.observed or ''}{verdict.detail}",
        str(probe.address or ""),
        probe.skipped or probe.reason,
        command,
        path_of(probe.hops),
        ends=(probe.check.source, probe.check.destination) if isinstance(probe.check, Check) else None,
        packets=_packets(verdict, run.plan.lab),
    )


def _packets(verdict: Verdict, lab: Lab) -> tuple[str, ...]:
    if not verdict.captured:
        return ()
    # Few runs capture anything.
    from ipvkit.report.timeline import lines, timeline

    return tuple(lines(timeline(lab, verdict)))


def _with_fixes(lab: Lab, phase: Phase, entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """Return `entries`; the first that is unreachable for a reason has the cheapest fix of it."""
    found, reasons = [], set[str]()
    for entry in entries:
        lost = entry.observed == Outcome.UNREACHABLE and entry.ends is not None
        reason = _without_names(entry) if lost else ""
        if lost and reason not in reasons and len(reasons) < _MOST_FIXES:
            reasons.add(reason)
            entry = replace(entry, fixes=_fixes(lab, phase, entry))
        found.append(entry)
    return tuple(found)


def _without_names(entry: Entry) -> str:
    """Return the reason of an entry without the names of its ends."""
    words = re.findall(r"[\w.@-]+", entry.reason)
    return " ".join("it" if word in (entry.ends or ()) else word for word in words)


def _fixes(lab: Lab, phase: Phase, entry: Entry) -> tuple[Fix, ...]:
    source, destination = entry.ends or ("", "")
    family = family_of(ip_address(entry.address)) if entry.address else None
    try:
        fixes = explain(lab, phase, Check(source, destination, family=family)).fixes
    except InvalidLab:
        return ()
    return tuple(map(shown, fixes[:1]))


def _heats(verdicts: Sequence[Verdict], nodes: Sequence[str]) -> tuple[Heat, ...]:
    """Return a map of which of `nodes` reached which, or none where no pair was checked, or too many."""
    pairs: dict[tuple[str, str], list[Verdict]] = {}
    for verdict in verdicts:
        check = verdict.probe.check
        if isinstance(check, Check):
            pairs.setdefault((check.source, check.destination), []).append(verdict)
    sources, destinations = (
        [node for node in nodes if node in {pair[end] for pair in pairs}] for end in (0, 1)
    )
    if not pairs or max(len(sources), len(destinations)) > MOST_NODES:
        return ()
    rows = ((a, *(_cell(pairs.get((a, b), ())) for b in destinations)) for a in sources)
    return (Heat(_LEGEND, ("from \\ to", *destinations), tuple(rows)),)


def _cell(verdicts: Sequence[Verdict]) -> str:
    """Return what came of the checks of one pair, in a word."""
    if not verdicts:
        return "-"
    seen = {str(verdict.observed or "?") for verdict in verdicts}
    cell = seen.pop() if len(seen) == 1 else "some"
    cell = _CELLS.get(cell, cell)
    return cell + ("!" if any(verdict.passed is False for verdict in verdicts) else "")


def _ran(run: Run, job: Job) -> Ran | None:
    """Return what `job` did, or None where it did not run."""
    if job.id not in run.completed:
        return None
    purpose = job.purpose if job.on == HOST else f"{job.on}: {job.purpose}"
    return ran(purpose, job.command, run.completed[job.id])
