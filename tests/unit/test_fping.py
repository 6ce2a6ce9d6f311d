"""fping: real captures as a person reads them, and the verdicts that pings of its hosts would have led to."""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captures import captures, expected, stripped, text_of
from cases import for_each
from command_line import fakes_on_path
from ipvkit.core.command import Completed
from ipvkit.core.errors import UnparsableOutput
from ipvkit.lab import Check, Lab, Outcome, Prober, Setting, Setup
from ipvkit.lab.format import load
from ipvkit.lab.gallery import text as lab_called
from ipvkit.lab.new import new_lab
from ipvkit.plan.make import make_plan
from ipvkit.plan.steps import Plan
from ipvkit.report import table
from ipvkit.report.json import render
from ipvkit.report.plain import plain
from ipvkit.run import engine
from ipvkit.run.batches import Job, jobs_of
from ipvkit.run.engine import Run
from ipvkit.run.verdicts import Verdict, judge
from ipvkit.targets.uml import Uml
from ipvkit.tools.fping import parse_fping
from ipvkit.verbs import run_lab
from recorder import answered, unanswered, watched_to_its_end
from strategies import labs, labs_on_a_parent, mutated_text

CAPTURES = captures("fping")
NOTHING_COUNTED = {
    "fping-bad-address": "a name that it does not find it leaves out, without a word",
    "fping-bad-count": "usage text only",
    "fping-bad-option": "usage text only",
    "fping-killed": "it counts at its end",
    "fping-no-destination": "nobody was to be asked",
    "fping-version": "the version only",
}
"""The captures that are unparsable, and why."""

WITHOUT_Q = "fping-every-reply"
"""The capture with a line for each reply, which nobody asks for here: they are kept in `unrecognised`."""


@pytest.mark.parametrize(("capture", "reads"), expected("fping"), ids=lambda it: getattr(it, "stem", ""))
def test_a_capture_says_what_a_person_reads_in_it(capture: Path, reads: object) -> None:
    assert stripped(plain(parse_fping(text_of(capture)))) == stripped(reads)


@for_each("capture", CAPTURES)
def test_every_capture_is_understood_or_refused(capture: Path) -> None:
    name, text = capture.stem, text_of(capture)
    if name in NOTHING_COUNTED:
        with pytest.raises(UnparsableOutput):
            parse_fping(text)
    else:
        report = parse_fping(text)
        assert bool(report.unrecognised) == (name == WITHOUT_Q)
        assert all(host.complete and host.transmitted is not None for host in report.hosts)


def test_a_duplicate_counts_once_where_a_host_was_asked_twice() -> None:
    counts = "192.0.2.1 : xmt/rcv/%loss = 1/1/0%, min/avg/max = 0.05/0.05/0.05\n"
    report = parse_fping("192.0.2.1 : duplicate for [0], 64 bytes, 0.07 ms\n" + 2 * counts)
    assert [host.duplicates for host in report.hosts] == [1, 0]


@given(st.data(), st.sampled_from(CAPTURES))
def test_a_mutated_capture_counts_what_stands_there_or_is_refused(data: st.DataObject, capture: Path) -> None:
    text = data.draw(mutated_text(text_of(capture), ("\n", " : ", "%", "/", "9", "-")))
    try:
        report = parse_fping(text)
    except UnparsableOutput:
        return
    for host in report.hosts:
        assert re.search(rf" 0*{host.transmitted}/0*{host.received}/", text)
        assert (host.destination or "?") in text


def test_a_line_that_is_cut_off_counts_nothing() -> None:
    whole = "192.0.2.3 : xmt/rcv/%loss = 2/2/0%, min/avg/max = 0.026/0.026/0.126\n"
    assert parse_fping(whole).unrecognised == ()
    for length in range(len(whole)):
        with pytest.raises(UnparsableOutput):
            parse_fping(whole[:length])


# --- plans ----------------------------------------------------------------------------------------------


Jobs = Mapping[str, Sequence[Sequence[Job]]]


def asked(jobs: Jobs) -> list[list[str]]:
    """Return all that is asked in each stage, sorted, with what is expected of it."""
    stages = [[probe for job in stage for probe in job.probes] for found in jobs.values() for stage in found]
    return [sorted(map(repr, stage)) for stage in stages if stage]


@given(labs() | labs_on_a_parent())
def test_with_fping_the_same_is_asked_in_each_stage_and_the_same_expected(lab: Lab) -> None:
    plan = make_plan(lab)
    assert asked(jobs_of(plan, "fping")) == asked(jobs_of(plan))


@given(labs() | labs_on_a_parent())
def test_one_fping_asks_what_its_steps_ask_each_with_a_ping(lab: Lab) -> None:
    plan = make_plan(lab)
    jobs = [j for found in jobs_of(plan, "fping").values() for stage in found for j in stage if j.probes]
    assert Counter(step.id for job in jobs for step in job.steps) == Counter(
        step.id for step in plan.steps if step.probe is not None
    )
    for job in (job for job in jobs if job.command != job.steps[0].command):
        argv = job.command.argv[4:] if job.command.argv[0] == "ip" else job.command.argv
        assert argv[0] == "fping"
        assert list(argv[-len(job.steps) :]) == [str(probe.address) for probe in job.probes]
        assert all(isinstance(probe.check, Check) and probe.check.watch is None for probe in job.probes)


# --- verdicts -------------------------------------------------------------------------------------------


def walkthrough() -> Lab:
    return load(lab_called("walkthrough"), "walkthrough.yaml")


def said_by_ping(outcome: Outcome) -> Completed:
    """Return what a ping says of such a path."""
    address = "192.168.104.211"
    match outcome:
        case Outcome.EXPIRES:
            return Completed(0, watched_to_its_end(address), "", 1.0)
        case Outcome.UNREACHABLE:
            return Completed(1, unanswered(address), "", 1.0)
    return Completed(0, answered(address), "", 1.0)


def said(job: Job, outcomes: list[Outcome]) -> Completed:
    """Return what a job says where paths are as in `outcomes`."""
    if "fping" not in job.command.argv:
        return said_by_ping(outcomes[0])
    counts = {Outcome.REACHABLE: "6/6/0%, min/avg/max = 0.1/0.2/0.3", Outcome.UNREACHABLE: "6/0/100%"}
    lines = [
        f"{probe.address} : xmt/rcv/%loss = {counts[outcome]}\n"
        for probe, outcome in zip(job.probes, outcomes, strict=True)
    ]
    return Completed(int(Outcome.UNREACHABLE in outcomes), "", "".join(lines), 1.0)


def a_run(prober: Prober, turned: frozenset[str]) -> Run:
    """Return a run that went as predicted but for checks called as in `turned`, which went the other way."""
    other = {Outcome.REACHABLE: Outcome.UNREACHABLE, Outcome.UNREACHABLE: Outcome.REACHABLE}
    plan = make_plan(walkthrough())
    run = Run(plan, "uml", jobs=jobs_of(plan, prober))
    for job in (job for found in run.jobs.values() for stage in found for job in stage):
        outcomes = [
            other.get(probe.expected, probe.expected) if str(probe.check) in turned else probe.expected
            for probe in job.probes
        ]
        run.completed[job.id] = said(job, outcomes) if outcomes else Completed(0, "", "", 0.1)
    return run


def verdicts(prober: Prober, turned: frozenset[str]) -> list[Verdict]:
    """Return the verdicts of such a run without what only the tool says, sorted."""
    found = [replace(verdict, ping=None, lifetime_s=None) for verdict in judge(a_run(prober, turned)).checks]
    return sorted(found, key=repr)


@pytest.mark.parametrize("count", range(4))
def test_the_verdicts_are_those_of_ping(count: int) -> None:
    for turned in map(
        frozenset, combinations(("test1 -> test2", "test1 -> gateway", "host -> test1"), count)
    ):
        assert verdicts("ping", turned) == verdicts("fping", turned)


def test_a_report_tells_of_each_check_what_fping_counted() -> None:
    result = judge(a_run("fping", frozenset()))
    phase = json.loads("".join(render(result)))["phases"][1]
    assert [check["observed"] for check in phase["checks"]].count("unreachable") == 1
    assert [check["ping"]["received"] for check in phase["checks"]] == [6, 6, 6, 6, 0]
    assert "12 of 12 as predicted" in table.render(result)


@pytest.mark.parametrize("stderr", ["", "fping: something\n", "192.0.2.9 : xmt/rcv/%loss = 6/6/0%\n"])
def test_an_fping_that_does_not_tell_of_its_hosts_is_no_verdict(stderr: str) -> None:
    run = a_run("fping", frozenset())
    job = next(job for found in run.jobs.values() for stage in found for job in stage if job.probes)
    run.completed[job.id] = Completed(1, "", stderr, 0.1)
    result = judge(run)
    assert isinstance(result.failure, UnparsableOutput)
    assert [v.observed for v in result.checks[: len(job.probes)]] == [None] * len(job.probes)


@pytest.mark.parametrize("installed", [True, False])
@pytest.mark.parametrize("setup", [None, "batch", "stepwise"])
@pytest.mark.parametrize("count", [7, 8])
def test_by_default_fping_pings_for_many_endpoints_where_it_is_installed(
    count: int, setup: Setup | None, installed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fakes_on_path(tmp_path, monkeypatch)
    used: list[Prober] = []

    def run(plan: Plan, *_: object, prober: Prober, **__: object) -> Run:
        used.append(prober)
        return Run(plan, "none")

    monkeypatch.setattr(engine, "run", run)
    found = "/usr/bin/fping" if installed else None
    monkeypatch.setattr(run_lab, "find_program", {"fping": found}.__getitem__)
    monkeypatch.setattr(run_lab, "require", lambda *_: None)
    lab = replace(new_lab("many", Setting("l2"), count), setup=setup)
    prober = run_lab.fastest(lab)
    run_lab.on_simulated_lan(lab, Uml(), prober, lambda _: nullcontext(lambda _: None), timeout_s=1)
    many = setup == "batch" or (setup is None and count == 8)
    assert used == ["fping" if many and installed else "ping"]
