"""A result as one JSON document, ``ipvkit/run/v1``; its schema is docs/reference/run-v1.schema.json."""

import json
from collections.abc import Iterator
from typing import Any

from ipvkit.core.command import Completed
from ipvkit.lab import Attempt, Check, family_of
from ipvkit.plan.steps import Section
from ipvkit.report.plain import chosen, error, plain
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
        **chosen(run, "left_alone kept"),
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
    verdicts = result.verdicts[section.name]
    return {
        "name": section.name,
        **_setting(section),
        "steps": (_step(job, run.completed[job.id]) for job in jobs),
        "checks": (_check(v, v.probe.check) for v in verdicts if isinstance(v.probe.check, Check)),
        "attempts": (_attempt(v) for v in verdicts if isinstance(v.probe.check, Attempt)),
    }


def _setting(section: Section) -> dict[str, Any]:
    """Return what the endpoints are in a phase; null where it is none, and for what is ipvlan's only."""
    if section.phase is None:
        return dict.fromkeys(("mode", "flag", "kind", "strategy"))
    fields = chosen(section.phase.setting, "mode flag kind strategy")
    return fields if section.phase.setting.is_ipvlan else {**fields, "mode": None, "flag": None}


def _step(job: Job, completed: Completed) -> dict[str, Any]:
    return {
        **chosen(job, "id purpose"),
        "machine": job.on,
        "command": str(job.command),
        **chosen(job.command, "argv stdin"),
        "exit_code": completed.exit_code,
        "duration_s": round(completed.duration_s, 6),
        **chosen(completed, "stdout stderr"),
    }


def _check(verdict: Verdict, check: Check) -> dict[str, Any]:
    probe = verdict.probe
    return {
        **chosen(check, "source destination"),
        "address": str(probe.address) if probe.address else None,
        "family": family_of(probe.address) if probe.address else None,
        **chosen(probe, "expected also"),
        **chosen(verdict, "observed passed"),
        "skipped": probe.skipped or None,
        "reason": probe.reason,
        "lifetime_s": None if verdict.lifetime_s is None else round(verdict.lifetime_s, 3),
        "ping": plain(verdict.ping),
        "tcp": None if check.tcp is None else _tcp(verdict, check),
    }


def _tcp(verdict: Verdict, check: Check) -> dict[str, Any]:
    return {"port": check.tcp, "listen": check.listen, "error": verdict.tcp.error if verdict.tcp else None}


def _attempt(verdict: Verdict) -> dict[str, Any]:
    probe = verdict.probe
    return {
        "change": str(probe.check),
        "expected": probe.expected,
        **chosen(verdict, "observed passed"),
        "reason": probe.reason,
    }
