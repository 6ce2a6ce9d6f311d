"""socat: real captures as a person reads them, and the verdicts that the engine and a script give on them."""

import subprocess
from dataclasses import replace
from ipaddress import ip_interface
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captures import assert_linear, captures, expected, short, stripped, text_of
from ipvkit.core.command import Completed
from ipvkit.core.errors import InvalidLab, UnparsableOutput
from ipvkit.export.script import exported
from ipvkit.lab import Act, AddAddress, Attempt, Check, Lab, Outcome, gallery, on_parent
from ipvkit.lab.format import dump, load
from ipvkit.plan.make import make_plan
from ipvkit.plan.steps import Plan
from ipvkit.report.json import render
from ipvkit.report.plain import plain
from ipvkit.report.table import verdict_line
from ipvkit.run.batches import jobs_of
from ipvkit.run.engine import Run
from ipvkit.run.verdicts import judge
from ipvkit.tools.socat import parse_connection
from strategies import labs, mutated_text

CAPTURES = captures("socat")
NO_RESULT = ("socat-bad-option", "socat-bad-port", "socat-killed", "socat-no-such-name")
"""The captures that show neither a connection nor why there is none."""


@pytest.mark.parametrize(("capture", "reads"), expected("socat"), ids=lambda it: getattr(it, "stem", ""))
def test_a_capture_says_what_a_person_reads_in_it(capture: Path, reads: object) -> None:
    assert stripped(plain(parse_connection(text_of(capture)))) == stripped(reads)


@pytest.mark.parametrize("capture", CAPTURES, ids=short)
def test_every_capture_is_understood_or_refused(capture: Path) -> None:
    if capture.stem in NO_RESULT:
        with pytest.raises(UnparsableOutput):
            parse_connection(text_of(capture))
    else:
        assert capture.with_suffix(".json").exists()


@given(st.sampled_from(CAPTURES).map(text_of).flatmap(mutated_text))
def test_damaged_output_is_refused_or_says_what_a_capture_can_say(text: str) -> None:
    try:
        found = parse_connection(text)
    except UnparsableOutput:
        return
    assert (found.error is None) == (" successfully connected " in text)
    assert found.error is None or found.error in text


@pytest.mark.parametrize(
    "part", ["2026/11/28 05:15:20 socat[1] W connect(", "2026/11/28 05:15:20 socat[1] N x\n", "connect(, ("]
)
def test_long_output_takes_no_longer_than_its_length(part: str) -> None:
    assert_linear(parse_connection, f"|{part}|")


# --- verdicts -------------------------------------------------------------------------------------------


def lab_of(*checks: Check) -> Lab:
    lab = load(gallery.text("tcp-service"), "tcp-service")
    return replace(lab, phases=(replace(lab.phases[0], acts=(Act(checks=checks),)),))


def judged(plan: Plan, text: str, code: int = 1) -> Run:
    """Return a run of `plan` in which each connection printed `text`."""
    asked = {step.id for step in plan.steps if step.probe is not None}
    return Run(plan, "uml", completed={id: Completed(code, "", text, 0.1) for id in asked})


@pytest.mark.parametrize("listen", [True, False])
@pytest.mark.parametrize("capture", CAPTURES, ids=short)
def test_a_script_judges_as_the_report_does(capture: Path, listen: bool, tmp_path: Path) -> None:
    check = Check("neighbour", "test1", tcp=8080, listen=listen)
    plan = make_plan(lab_of(check))
    result = judge(judged(plan, text_of(capture)))
    [verdict] = result.checks
    script = exported(plan)
    functions = script[script.index("good=0") : script.index("\n# --- ")].replace("/run/$1", "$1")
    (tmp_path / "1").write_text(text_of(capture))
    call = f"(connected 1 'a -> b' 192.0.2.1 {verdict.probe.expected} why) || echo"
    words = ("bash", "-c", f"set -u; exec 3>&1\n{functions}\n{call}")
    said = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    seen = f"{verdict.observed}{verdict.detail}"
    if verdict.observed is None:
        assert capture.stem in NO_RESULT
        assert isinstance(result.failure, UnparsableOutput)
        assert said == "\n"
    elif verdict.passed:
        assert said == f"as predicted  a -> b 192.0.2.1: {seen} (why)\n"
    else:
        expects = f"predicted {verdict.probe.expected}, observed {seen}"
        assert said == f"DIFFERS       a -> b 192.0.2.1: {expects} (why)\n"


def test_the_outcomes_are_told_apart() -> None:
    found = {}
    for capture in CAPTURES:
        if capture.stem not in NO_RESULT:
            plan = make_plan(lab_of(Check("neighbour", "test1", tcp=8080)))
            [verdict] = judge(judged(plan, text_of(capture))).checks
            found[capture.stem.removeprefix("socat-")] = f"{verdict.observed}{verdict.detail}"
    assert found["plain"] == found["six"] == "reachable"
    assert found["refused"] == found["six-refused"] == "refused"
    assert found["timed-out"] == "unreachable: Connection timed out"
    assert found["host-unreachable"] == "unreachable: No route to host"
    assert found["no-network"] == "unreachable: Network is unreachable"


def test_json_has_the_port_and_why_there_is_no_connection() -> None:
    lab = lab_of(Check("neighbour", "test1", tcp=8080), Check("neighbour", "test1"))
    plan = make_plan(replace(lab, parallel=1))
    text = text_of(next(capture for capture in CAPTURES if capture.stem == "socat-timed-out"))
    result = judge(judged(plan, text))
    document = "".join(render(result))
    error = '"error": "Connection timed out"'
    assert f'"port": 8080,\n            "listen": true,\n            {error}' in document
    assert '"tcp": null' in document
    assert "1 pair unreachable: neighbour -> test1, tcp 8080;" in verdict_line(result)


# --- predictions and plans ------------------------------------------------------------------------------


@given(labs())
def test_a_connection_is_never_in_the_process_of_pings(lab: Lab) -> None:
    plan = make_plan(lab)
    for job in (job for stages in jobs_of(plan, "fping").values() for stage in stages for job in stage):
        if any(isinstance(probe.check, Check) and probe.check.tcp is not None for probe in job.probes):
            assert len(job.steps) == 1
            assert job.command == job.steps[0].command


@given(labs())
def test_a_path_that_works_for_a_ping_is_open_for_tcp_or_refuses(lab: Lab) -> None:
    def asking(tcp: int | None, listen: bool) -> list[Outcome]:
        asked = []
        for phase in lab.phases[:1]:
            acts = [act for act in phase.acts if act.checks][:1]
            for act in acts:
                one = replace(act.checks[0], watch=None, size=None, expect=None, tcp=tcp, listen=listen)
                phases = (replace(phase, acts=(Act(checks=(one,)),)),)
                asked += [step.probe for step in make_plan(replace(lab, phases=phases)).steps if step.probe]
        return [probe.expected for probe in asked]

    with_server, without = asking(8080, True), asking(8080, False)
    pings = [Outcome.REFUSED if one is Outcome.REACHABLE else one for one in asking(None, True)]
    assert without == pings
    assert with_server in ([one if one is not Outcome.REFUSED else Outcome.REACHABLE for one in pings], pings)


def test_a_connection_to_another_host_that_has_the_address_is_refused() -> None:
    lab = lab_of(Check("test1", "gateway", tcp=80, family="ipv4"))
    taken = AddAddress(ip_interface("192.168.104.254/24"), "test2")
    test2 = replace(
        lab.endpoints[0], name="test2", netns="test2", addresses=(ip_interface("192.168.104.212/24"),)
    )
    phase = replace(
        lab.phases[0],
        endpoints=("test1", "test2"),
        acts=(Act(attempts=(Attempt(taken),)), *lab.phases[0].acts),
    )
    plan = make_plan(replace(lab, endpoints=(*lab.endpoints, test2), phases=(phase,)))
    *_, probe = (step.probe for step in plan.steps if step.probe is not None)
    assert probe.expected is Outcome.REFUSED
    assert "nothing listens on tcp 80 there" in probe.reason


def test_one_server_serves_all_checks_of_an_item() -> None:
    checks = [Check(peer, "test1", tcp=8080) for peer in ("neighbour", "gateway")]
    plan = make_plan(lab_of(*checks, Check("host", "test1", tcp=8080, listen=False)))
    assert sum(step.ready is not None for step in plan.steps) == 1
    probes = [step.probe for step in plan.steps if step.probe is not None]
    assert [probe.expected for probe in probes] == ["reachable", "reachable", "unreachable"]


def test_a_server_of_another_check_answers_also_where_a_check_starts_none() -> None:
    plan = make_plan(
        lab_of(Check("neighbour", "test1", tcp=80), Check("gateway", "test1", tcp=80, listen=False))
    )
    probes = [step.probe for step in plan.steps if step.probe is not None]
    assert [probe.expected for probe in probes] == ["reachable", "reachable"]


def test_on_a_real_parent_other_machines_are_asked_for_the_commands() -> None:
    checks = [
        Check("neighbour", "test1", tcp=80),
        Check("test1", "gateway", tcp=80, family="ipv4"),
        Check("test1", "gateway", tcp=80, listen=False, family="ipv4"),
        Check("host", "test1", tcp=80, listen=False),
    ]
    lab = on_parent(lab_of(*checks), "eth0", gateway=lab_of().parents[0].gateway[0])
    plan = make_plan(lab)
    command = "socat -d -d /dev/null TCP:192.168.104.211:80,connect-timeout=5"
    assert [probe.skipped for section in plan.sections for probe in section.skipped] == [
        f"the neighbour is another machine; run there: {command}",
        "the gateway would have to listen on tcp 80, but that is another machine",
    ]
    probes = [step.probe for step in plan.steps if step.probe is not None]
    # Whether the gateway has a web server is not known.
    assert [probe.outcomes for probe in probes] == [("refused", "reachable"), ("unreachable",)]


# --- the format -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("tcp: 80, watch: 3", "`tcp` does not go with `watch`"),
        ("tcp: 80, count: 3", "`tcp` does not go with `count`"),
        ("tcp: 80, size: 3", "`tcp` does not go with `size`"),
        ("tcp: 0", "invalid port '0'"),
        ("listen: false", "listen: it is for TCP connections"),
        ("listen: true", "listen: it is for TCP connections"),
        ("expect: refused", "`listen` and `expect: refused` are for TCP connections"),
    ],
)
def test_a_check_that_makes_no_sense_is_refused_in_one_line(written: str, told: str) -> None:
    text = dump(lab_of(Check("neighbour", "test1")))
    old = "{from: neighbour, to: test1}"
    assert old in text
    with pytest.raises(InvalidLab, match=r"^error: x\.yaml:[0-9]+: ") as refused:
        load(text.replace(old, f"{{from: neighbour, to: test1, {written}}}"), "x.yaml")
    assert told in refused.value.message
