"""A result as one JSON document, ``ipvkit/run/v1``; its schema is docs/reference/run-v1.schema.json."""

import json
from collections.abc import Iterator
from typing import Any

from ipvkit.core.command import Completed
from ipvkit.lab import Attempt, Check, family_of
from ipvkit.plan.steps import Section
from ipvkit.report.plain import error, plain
from ipvkit.report.table import unreachable
from ipvkit.run.batches import Job
from ipvkit.run.engine import Run
from ipvkit.run.verdicts import Result, Verdict


def render(result: Result) -> Iterator[str]:
    """Yield the document of `result` piece by piece: it is never in memory as a whole."""
    run = result.run
    document = {
        "schema": "ipvkit/run/v1",
        "lab": run.plan.lab.name,
        "verdict": result.verdict,
        "target": {"kind": run.target, "kernel": run.kernel or None},
        "duration_s": round(run.duration_s, 3),
        "phases": (_phase(run, section, result) for section in run.plan.sections),
        "undo": (_step(f.job, f.completed) for f in run.undone),
        "residue": list(run.residue),
        "left_alone": list(run.left_alone),
        "kept": run.kept,
        "unreachable": unreachable(result),
        "error": error(result.failure) if result.failure else None,
    }
    yield from _pieces(document, "\n")
    yield "\n"


def _pieces(value: object, newline: str) -> Iterator[str]:
    """Yield what `json.dumps` returns for `value` with an indent of 2; an iterator is a list."""
    inner = f"{newline}  "
    if isinstance(value, dict) and value:
        for number, (name, each) in enumerate(value.items()):
            yield f"{',' if number else '{'}{inner}{json.dumps(name)}: "
            yield from _pieces(each, inner)
        yield f"{newline}}}"
    elif isinstance(value, Iterator):
        between = "["
        for each in value:
            yield f"{between}{inner}"
            yield from _pieces(each, inner)
            between = ","
        yield "[]" if between == "[" else f"{newline}]"
    else:
        yield json.dumps(value, indent=2).replace("\n", newline)


def _phase(run: Run, section: Section, result: Result) -> dict[str, Any]:
    jobs = (job for stage in run.jobs[section.name] for job in stage if job.id in run.completed)
    return {
        "name": section.name,
        **_setting(section),
        "steps": (_step(job, run.completed[job.id]) for job in jobs),
        "checks": (_check(v) for v in result.verdicts[section.name] if isinstance(v.probe.check, Check)),
        "attempts": (
            _attempt(v) for v in result.verdicts[section.name] if isinstance(v.probe.check, Attempt)
        ),
    }


def _setting(section: Section) -> dict[str, Any]:
    """Return what the endpoints are in a phase; null where it is none, and for what is ipvlan's only."""
    setting = section.phase.setting if section.phase else None
    ipvlan = setting is not None and setting.kind == "ipvlan"
    return {
        "mode": setting.mode if setting and ipvlan else None,
        "flag": setting.flag if setting and ipvlan else None,
        "kind": setting.kind if setting else None,
        "strategy": setting.strategy if setting else None,
    }


def _step(job: Job, completed: Completed) -> dict[str, Any]:
    return {
        "id": job.id,
        "purpose": job.purpose,
        "command": str(job.command),
        "argv": list(job.command.argv),
        "stdin": list(job.command.stdin),
        "exit_code": completed.exit_code,
        "duration_s": round(completed.duration_s, 6),
        "stdout": completed.stdout,
        "stderr": completed.stderr,
    }


def _check(verdict: Verdict) -> dict[str, Any]:
    probe, check = verdict.probe, verdict.probe.check
    if not isinstance(check, Check):
        raise TypeError(f"not a check: {check}")
    return {
        "source": check.source,
        "destination": check.destination,
        "address": str(probe.address) if probe.address else None,
        "family": family_of(probe.address) if probe.address else None,
        "expected": probe.expected,
        "observed": verdict.observed,
        "passed": verdict.passed,
        "skipped": probe.skipped or None,
        "reason": probe.reason,
        "lifetime_s": None if verdict.lifetime_s is None else round(verdict.lifetime_s, 3),
        "ping": plain(verdict.ping),
    }


def _attempt(verdict: Verdict) -> dict[str, Any]:
    probe = verdict.probe
    return {
        "change": str(probe.check),
        "expected": probe.expected,
        "observed": verdict.observed,
        "passed": verdict.passed,
        "reason": probe.reason,
    }
