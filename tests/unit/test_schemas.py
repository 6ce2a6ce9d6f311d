"""The JSON Schemas in docs/reference/ are valid, strict, explained, and fit what ipvkit writes."""

import json
from collections.abc import Iterator
from ipaddress import IPv4Address
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from documents import REFERENCE, Document
from ipvkit import labs
from ipvkit.cli.app import run as run_command_line
from ipvkit.command import Command, Completed
from ipvkit.doctor import Health, TargetHealth, Tool
from ipvkit.engine import Finished, Run
from ipvkit.errors import CommandFailed, Interrupted, IpvkitError, MissingRequirement, UsageError
from ipvkit.lab import Outcome, load, on_parent
from ipvkit.plan import Plan, Step, make_plan
from ipvkit.report import json as report
from ipvkit.report.doctor import render_json
from ipvkit.report.result import judge

NAMES = ("run-v1", "doctor-v1", "error-v1")
WALKTHROUGH = load(labs.text(labs.WALKTHROUGH), "walkthrough.yaml")

ANSWERED = """\
PING 192.168.104.211 (192.168.104.211) 56(84) bytes of data.
[1795507418.010720] 64 bytes from 192.168.104.211: icmp_seq=1 ttl=64 time=0.085 ms
[1795507419.213064] 64 bytes from 192.168.104.211: icmp_seq=2 ttl=64 time=0.092 ms

--- 192.168.104.211 ping statistics ---
2 packets transmitted, 2 received, 0% packet loss, time 1202ms
rtt min/avg/max/mdev = 0.085/0.088/0.092/0.003 ms
"""
LOST = """\
PING 192.168.104.211 (192.168.104.211) 56(84) bytes of data.
[1795507418.010720] 64 bytes from 192.168.104.211: icmp_seq=1 ttl=64 time=0.085 ms
[1795507419.213064] 64 bytes from 192.168.104.211: icmp_seq=2 ttl=64 time=0.092 ms
[1795507419.763041] From 192.168.104.111 icmp_seq=3 Destination Host Unreachable

--- 192.168.104.211 ping statistics ---
3 packets transmitted, 2 received, +1 errors, 33.3333% packet loss, time 1643ms
rtt min/avg/max/mdev = 0.085/0.088/0.092/0.003 ms, pipe 3
"""
UNANSWERED = """\
PING 192.168.104.211 (192.168.104.211) 56(84) bytes of data.
From 192.168.104.111 icmp_seq=1 Destination Host Unreachable

--- 192.168.104.211 ping statistics ---
1 packets transmitted, 0 received, +1 errors, 100% packet loss, time 0ms

"""
OUTPUT = {Outcome.REACHABLE: ANSWERED, Outcome.EXPIRES: LOST, Outcome.UNREACHABLE: UNANSWERED}


def schema(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((REFERENCE / f"{name}.schema.json").read_text(encoding="utf-8"))
    return found


def wrong(document: object, name: str) -> list[str]:
    """Return what is wrong with a document, a line each."""
    errors = Draft202012Validator(schema(name)).iter_errors(document)
    return [f"{error.json_path}: {error.message}" for error in errors]


def completed(step: Step) -> Completed:
    """Return what a step does when all goes as predicted."""
    if step.probe is None:
        return Completed(0, "", "", 0.03)
    code = 1 if step.probe.expected is Outcome.UNREACHABLE else 0
    return Completed(code, OUTPUT[step.probe.expected], "", 1.2)


def a_run(plan: Plan, **changed: Any) -> dict[str, Any]:
    """Return the document of a run that went as predicted, with the fields of Run that are `changed`."""
    run = Run(plan, "uml", "6.12.113", {step.id: completed(step) for step in plan.steps}, duration_s=9.7)
    run.undone = [
        Finished(step, step.undo.completed("0\n"), Completed(0, "", "", 0.02), undoing=True)
        for step in plan.undos
        if step.undo is not None
    ]
    for name, value in changed.items():
        setattr(run, name, value)
    document: dict[str, Any] = json.loads(report.render(judge(run)))
    return document


def runs() -> Iterator[tuple[str, dict[str, Any]]]:
    plan = make_plan(WALKTHROUGH)
    yield "pass", a_run(plan)
    done = {step.id: completed(step) for step in plan.steps}
    probes = [step for step in plan.steps if step.probe is not None]
    yield "fail", a_run(plan, completed={**done, probes[0].id: Completed(1, UNANSWERED, "", 1.2)})
    some = {step.id: done[step.id] for step in list(plan.steps)[:5]}
    failure = CommandFailed("l2.1 failed", "undone", command="ip netns add test1", stderr="File exists\n")
    yield "failed", a_run(plan, completed=some, failure=failure)
    yield "interrupted", a_run(plan, completed={}, undone=[], kernel="", failure=Interrupted("by SIGINT"))
    yield "missing", a_run(plan, completed={}, undone=[], failure=MissingRequirement("no ipvlan"))
    killed = {**done, probes[0].id: Completed(-9, "", "", 0.1)}
    yield "killed", a_run(plan, completed=killed, failure=CommandFailed("died of SIGKILL"))
    yield "not understood", a_run(plan, completed={**done, probes[0].id: Completed(0, "?\n", "", 0.1)})
    yield "left behind", a_run(plan, residue=("netns test1",))
    yield "kept", a_run(plan, undone=[], kept=True)
    yield "skipped", a_run(make_plan(on_parent(WALKTHROUGH, "eth1")), target="local")
    gateway = on_parent(WALKTHROUGH, "eth1", gateway=IPv4Address("192.168.104.254"))
    yield "on a parent", a_run(make_plan(gateway), target="local")


RUNS = dict(runs())
ERRORS = [
    UsageError("no such option"),
    MissingRequirement("User-Mode Linux is not installed", "apt install user-mode-linux"),
    CommandFailed("no answer within 10 s", command=str(Command(("ip", "-json", "netns", "list")))),
    Interrupted("interrupted by SIGINT"),
    IpvkitError("ipvkit itself failed", "--debug shows where", stderr="two\nlines"),
]
TOOL = Tool("ip", "/usr/sbin/ip", "ip utility, iproute2-6.15.0, libbpf 1.5.0", "iproute2")
ABSENT = Tool("arping", "", "", "iputils-arping")
UML = TargetHealth("uml", True, "6.12.113", "", "")
LOCAL = TargetHealth("local", False, "6.12.113", "this kernel has no ipvlan", "modprobe ipvlan")
HEALTHS = [
    Health((LOCAL, UML), (TOOL,)),
    Health((LOCAL, TargetHealth("sandbox", False, "", "no user namespaces", "")), (TOOL, ABSENT)),
]


@pytest.mark.parametrize("name", NAMES)
def test_schema_is_one(name: str) -> None:
    Draft202012Validator.check_schema(schema(name))
    assert schema(name)["$schema"] == Draft202012Validator.META_SCHEMA["$id"]


@pytest.mark.parametrize("document", RUNS.values(), ids=RUNS)
def test_runs_fit(document: dict[str, Any]) -> None:
    assert wrong(document, "run-v1") == []


def test_the_runs_are_what_they_are_called() -> None:
    verdicts = {name: document["verdict"] for name, document in RUNS.items()}
    good = ("pass", "kept", "skipped", "on a parent", "no phase")
    assert verdicts == {name: "pass" if name in good else "error" for name in RUNS} | {"fail": "fail"}
    checks = {name: [c for p in d["phases"] for c in p["checks"]] for name, d in RUNS.items()}
    assert any(check["lifetime_s"] is not None for check in checks["pass"])
    assert any(check["skipped"] and check["address"] is None for check in checks["skipped"])
    assert any(check["passed"] is None and not check["skipped"] for check in checks["failed"])


@pytest.mark.parametrize("problem", ERRORS, ids=lambda problem: type(problem).__name__)
def test_errors_fit(problem: IpvkitError) -> None:
    document = {"schema": "ipvkit/error/v1", "error": report.error(problem)}
    assert wrong(document, "error-v1") == []


def test_the_error_that_the_command_line_prints_fits(capsys: pytest.CaptureFixture[str]) -> None:
    code = run_command_line(["run-lab", "--keep", "--json"])
    document = json.loads(capsys.readouterr().out)
    assert wrong(document, "error-v1") == []
    assert document["error"]["exit_code"] == code == 2


@pytest.mark.parametrize("health", HEALTHS, ids=["works", "does not"])
def test_healths_fit(health: Health) -> None:
    assert wrong(json.loads(render_json(health)), "doctor-v1") == []


DOCUMENTS = [
    *(("run-v1", document) for document in RUNS.values()),
    ("error-v1", {"schema": "ipvkit/error/v1", "error": report.error(ERRORS[2])}),
    *(("doctor-v1", json.loads(render_json(health))) for health in HEALTHS),
]


def objects(document: object, part: dict[str, Any], whole: dict[str, Any]) -> Iterator[tuple[Any, Any]]:
    """Yield each object in a document with the schema that describes it."""
    if "$ref" in part:
        part = whole["$defs"][part["$ref"].removeprefix("#/$defs/")]
    if "anyOf" in part:
        part = part["anyOf"][0]
        yield from objects(document, part, whole)
    elif isinstance(document, dict):
        yield document, part
        for key, value in document.items():
            yield from objects(value, part["properties"][key], whole)
    elif isinstance(document, list):
        for item in document:
            yield from objects(item, part["items"], whole)


@pytest.mark.parametrize(("name", "document"), DOCUMENTS)
def test_every_field_that_exists_is_described_and_required(name: str, document: dict[str, Any]) -> None:
    for found, described in objects(document, schema(name), schema(name)):
        assert list(found) == list(described["properties"]) == described["required"]


@pytest.mark.parametrize(("name", "document"), DOCUMENTS)
def test_a_field_that_is_missing_or_of_another_type_is_refused(name: str, document: dict[str, Any]) -> None:
    whole = schema(name)
    seen = set()
    for found, described in objects(document, whole, whole):
        if str(described) in seen:
            continue
        seen.add(str(described))
        validator = Draft202012Validator({"$defs": whole.get("$defs", {}), **described})
        assert validator.is_valid(found)
        for key, value in found.items():
            rest = {other: found[other] for other in found if other != key}
            assert not validator.is_valid(rest), f"{key} is missing and nobody notices"
            other_type: object = "another type" if isinstance(value, dict) else {"another": "type"}
            assert not validator.is_valid({**found, key: other_type}), f"{key} may have any type"


def test_a_field_that_is_new_is_allowed() -> None:
    assert wrong({**RUNS["pass"], "new": 1}, "run-v1") == []


CONTRADICTIONS: list[dict[str, Any]] = [
    {"verdict": "perhaps"},
    {"verdict": "pass", "residue": ["netns test1"]},
    {"verdict": "error"},
    {"duration_s": -1},
    {"target": {"kind": "qemu", "kernel": None}},
]


@pytest.mark.parametrize("changed", CONTRADICTIONS, ids=str)
def test_a_contradiction_is_refused(changed: dict[str, Any]) -> None:
    assert wrong({**RUNS["pass"], **changed}, "run-v1")


@pytest.mark.parametrize("name", NAMES)
def test_json_page_names_every_field(name: str) -> None:
    prose = "\n".join(Document(REFERENCE / "json.md").prose)
    parts = [schema(name), *schema(name).get("$defs", {}).values()]
    fields = {field for part in parts for field in nested(part)}
    assert {field for field in fields if f"`{field}`" not in prose} == set()


def nested(part: dict[str, Any]) -> Iterator[str]:
    for name, described in part.get("properties", {}).items():
        yield name
        yield from nested(described)
        yield from nested(described.get("items", {}))
