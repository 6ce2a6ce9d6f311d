"""A run of a lab as a report."""

from itertools import zip_longest

from ipvkit.lab import HOST, Check
from ipvkit.plan.steps import Section as Planned
from ipvkit.report import json
from ipvkit.report.entries import Entry, Ran, Report, Section, Status, differing, ran
from ipvkit.report.table import not_undone, verdict_line, word
from ipvkit.run.batches import Job
from ipvkit.run.engine import Run
from ipvkit.run.verdicts import Result, Verdict

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
    others = (_ran(result.run, job) for job in jobs if not job.probes)
    return Section(section.name, section.title, tuple(entries), tuple(filter(None, others)))


def _entry(verdict: Verdict, job: Job | None, run: Run) -> Entry:
    probe = verdict.probe
    shown = word(verdict)
    command = None if job is None else _ran(run, job)
    failed = shown == "not run" and command is not None
    return Entry(
        str(probe.check),
        "error" if failed else _STATUS.get(shown, "skipped"),
        "failed" if failed else shown,
        "" if probe.skipped else " or ".join(probe.outcomes),
        f"{verdict.observed or ''}{verdict.detail}",
        str(probe.address or ""),
        probe.skipped or probe.reason,
        command,
        ends=(probe.check.source, probe.check.destination) if isinstance(probe.check, Check) else None,
    )


def _ran(run: Run, job: Job) -> Ran | None:
    """Return what `job` did, or None where it did not run."""
    if job.id not in run.completed:
        return None
    purpose = job.purpose if job.on == HOST else f"{job.on}: {job.purpose}"
    return ran(purpose, job.command, run.completed[job.id])
