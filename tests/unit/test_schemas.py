"""The JSON Schemas in docs/reference/ are valid, strict, explained, and fit what ipvkit writes."""

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import fields, is_dataclass, replace
from functools import cache
from ipaddress import IPv4Address, IPv4Network, ip_interface
from operator import itemgetter
from pathlib import Path
from tempfile import TemporaryDirectory
from types import NoneType
from typing import Any, get_args, get_type_hints
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema_rs import Draft202012Validator, meta
from test_inspect import endpoint, host, machine, route

import arping_output
import ip_links_output
import ip_routes_output
import ping_output
from captures import FIXTURES, FRAMES, captures, short, text_of
from cases import for_each
from documents import REFERENCE, Document
from ipvkit.cli.commands import run as run_command_line
from ipvkit.core.command import Command, Completed
from ipvkit.core.errors import (
    CommandFailed,
    Interrupted,
    IpvkitError,
    MissingRequirement,
    UnparsableOutput,
    UsageError,
)
from ipvkit.host import problems
from ipvkit.host.checks import CODES, SEVERITIES, Finding, Findings
from ipvkit.host.doctor import Health, TargetHealth, Tool
from ipvkit.host.inspect import Inspection, OnParent
from ipvkit.host.owners import Owner
from ipvkit.lab import Act, Check, Outcome, gallery, on_parent, sysctls
from ipvkit.lab.format import load
from ipvkit.plan.make import make_plan
from ipvkit.plan.resources import Link, Netns, Proxy, Resource, Route, Sysctl
from ipvkit.plan.steps import Capture, Plan, Step
from ipvkit.report import json as report
from ipvkit.report.announce import json_line
from ipvkit.report.arping import ARPING
from ipvkit.report.bridge import FDB
from ipvkit.report.diff import render_json as render_differences
from ipvkit.report.doctor import render_json
from ipvkit.report.explanation import render_json as render_explanations
from ipvkit.report.fping import FPING, Host
from ipvkit.report.inspect import render_json as render_inspection
from ipvkit.report.ip import ADDR, LINK, MONITOR, NEIGH, NETNS, ROUTE, RULE, LinkIn
from ipvkit.report.kernels import render_json as render_kernels
from ipvkit.report.matrix import render_json as render_matrix
from ipvkit.report.measure_arp import render_json as render_measured
from ipvkit.report.ping import PING
from ipvkit.report.plain import Output, command_document, error, plain
from ipvkit.report.reading import Kind, event_line
from ipvkit.report.review import render_comparison_json
from ipvkit.report.review import render_json as render_review
from ipvkit.run import journal
from ipvkit.run.batches import Job
from ipvkit.run.capture import Captured
from ipvkit.run.engine import Run
from ipvkit.run.rollback import Finished
from ipvkit.run.verdicts import Verdict, judge
from ipvkit.targets.kernels import Kernel
from ipvkit.tools import arping, ip, ping
from ipvkit.tools.bridge import FdbEntry, parse_fdb
from ipvkit.tools.fping import parse_fping
from ipvkit.tools.pcap import read_pcap
from ipvkit.verbs import announce, matrix, measure_arp
from ipvkit.verbs.diff import differences
from ipvkit.verbs.explain import explain
from ipvkit.verbs.formats import Dialect
from ipvkit.verbs.inspect import review
from ipvkit.verbs.lab_file import load_lab
from ipvkit.verbs.live import explained, live
from ipvkit.verbs.review import compare
from ipvkit.verbs.review import review as review_lab
from requires import requires
from strategies import mutated_text

OUTPUTS: dict[Kind, Output[Any]] = {
    "ping": PING,
    "fping": FPING,
    "arping": ARPING,
    "link": LINK,
    "addr": ADDR,
    "route": ROUTE,
    "rule": RULE,
    "neigh": NEIGH,
    "netns": NETNS,
    "fdb": FDB,
    "monitor": MONITOR,
}
PARSERS: dict[Kind, Callable[[str], Any]] = {
    "ping": ping.parse_ping,
    "fping": parse_fping,
    "arping": arping.parse_arping,
    "link": lambda text: [LinkIn(None, link) for link in ip.parse_links(text)],
    "addr": ip.parse_addresses,
    "route": ip.parse_routes,
    "rule": ip.parse_rules,
    "neigh": ip.parse_neighbours,
    "netns": ip.parse_netns,
    "fdb": parse_fdb,
    "monitor": ip.parse_monitor,
}
NAMES = (
    *("run-v1", *(f"{kind}-v1" for kind in OUTPUTS), "event-v1", "command-v1"),
    *(
        "matrix-v1",
        "explain-v1",
        "review-v1",
        "diff-v1",
        "announce-v1",
        "measure-arp-v1",
        "status-v1",
        "kernels-v1",
        "inspect-v1",
        "doctor-v1",
        "error-v1",
    ),
)
WALKTHROUGH = load(gallery.text(gallery.WALKTHROUGH), "walkthrough.yaml")
CONFLICT = load(gallery.text("macvlan-conflict"), "macvlan-conflict.yaml")
"""It tries what is accepted and what is refused, and has endpoints that are no ipvlan."""

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
NO_ROUTE = "ping: connect: Network is unreachable\n"
OUTPUT = {Outcome.REACHABLE: ANSWERED, Outcome.EXPIRES: LOST, Outcome.UNREACHABLE: UNANSWERED}


@cache
def schema(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((REFERENCE / f"{name}.schema.json").read_text(encoding="utf-8"))
    return found


@cache
def validator_of(name: str) -> Draft202012Validator:
    return Draft202012Validator(schema(name))


def wrong(document: object, name: str) -> list[str]:
    """Return what is wrong with a document, a line each."""
    return [f"{error.instance_path}: {error.message}" for error in validator_of(name).iter_errors(document)]


def document_of(kind: Kind, found: Any) -> dict[str, Any]:
    """Return the document of what the output of a tool says."""
    document: dict[str, Any] = json.loads(OUTPUTS[kind].document(found))
    return document


def completed(step: Step) -> Completed:
    """Return what a step does when all goes as predicted."""
    if step.probe is None or step.probe.expected is Outcome.ACCEPTED:
        return Completed(0, "", "", 0.03)
    if step.probe.expected is Outcome.REFUSED:
        return Completed(2, "", "RTNETLINK answers: Device or resource busy\n", 0.03)
    code = 1 if step.probe.expected is Outcome.UNREACHABLE else 0
    return Completed(code, OUTPUT[step.probe.expected], "", 1.2)


def as_predicted(plan: Plan) -> Run:
    """Return a run that went as predicted."""
    return Run(plan, "uml", "6.12.113", {step.id: completed(step) for step in plan.steps}, duration_s=9.7)


def a_run(plan: Plan, **changed: Any) -> dict[str, Any]:
    """Return the document of a run that went as predicted, with the fields of Run that are `changed`."""
    run = as_predicted(plan)
    run.undone = [
        Finished(
            Job(step.id, step.purpose, step.undo.command("0\n")), Completed(0, "", "", 0.02), undoing=True
        )
        for step in plan.undos
        if step.undo is not None
    ]
    for name, value in changed.items():
        setattr(run, name, value)
    document: dict[str, Any] = json.loads("".join(report.render(judge(run))))
    return document


def runs() -> Iterator[tuple[str, dict[str, Any]]]:
    plan = make_plan(WALKTHROUGH)
    yield "pass", a_run(plan)
    done = {step.id: completed(step) for step in plan.steps}
    probes = [step for step in plan.steps if step.probe is not None]
    yield "fail", a_run(plan, completed={**done, probes[0].id: Completed(1, UNANSWERED, "", 1.2)})
    yield "no route", a_run(plan, completed={**done, probes[0].id: Completed(2, "", NO_ROUTE, 0.1)})
    conflict = make_plan(CONFLICT)
    yield "tries", a_run(conflict)
    tried = next(step for step in conflict.steps if step.probe is not None)
    answers = {step.id: completed(step) for step in conflict.steps}
    yield "otherwise", a_run(conflict, completed={**answers, tried.id: Completed(0, "", "", 0.03)})
    yield "not tried", a_run(conflict, completed={}, undone=[], failure=Interrupted("by SIGINT"))
    some = {step.id: done[step.id] for step in list(plan.steps)[:5]}
    failure = CommandFailed("l2.1 failed", "undone", command="ip netns add test1", stderr="File exists\n")
    yield "failed", a_run(plan, completed=some, failure=failure)
    yield "interrupted", a_run(plan, completed={}, undone=[], kernel="", failure=Interrupted("by SIGINT"))
    yield "missing", a_run(plan, completed={}, undone=[], failure=MissingRequirement("no ipvlan"))
    killed = {**done, probes[0].id: Completed(-9, "", "", 0.1)}
    yield "killed", a_run(plan, completed=killed, failure=CommandFailed("died of SIGKILL"))
    yield "not understood", a_run(plan, completed={**done, probes[0].id: Completed(0, "?\n", "", 0.1)})
    yield "left behind", a_run(plan, residue=("netns test1",))
    yield "left alone", a_run(plan, left_alone=("netns test1 was replaced",))
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
ABSENT = Tool("arping", None, None, "iputils-arping")
UML = TargetHealth("uml", True, "6.12.113")
INSTALLED = Kernel("6.12.113", "/usr/bin/linux.uml", Path("/usr/lib/uml/modules"), "installed")
FETCHED = Kernel("6.1.176", "/k/6.1.176/usr/bin/linux.uml", Path("/k/6.1.176/usr/lib/uml/modules"), "fetched")
KERNELS = [
    json.loads(text) for text in (render_kernels([INSTALLED, FETCHED], INSTALLED), render_kernels([], None))
]
LOCAL = TargetHealth("local", False, "6.12.113", "this kernel has no ipvlan", "modprobe ipvlan")
HEALTHS = [
    Health((LOCAL, UML), (TOOL,), (INSTALLED, FETCHED)),
    Health((LOCAL, TargetHealth("sandbox", False, None, "no user namespaces")), (TOOL, ABSENT)),
]
INSPECTIONS = [
    None,
    Findings("eth0", ()),
    Findings("eth0", tuple(Finding("busy", severity, "what", "mend") for severity in SEVERITIES)),
]
HEALTH_DOCUMENTS = [json.loads(render_json(health, found)) for health in HEALTHS for found in INSPECTIONS]


@pytest.mark.long
@for_each("name", NAMES)
def test_schema_is_one(name: str) -> None:
    meta.validate(schema(name))
    assert schema(name)["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_every_schema_is_tested_here() -> None:
    assert {path.name for path in REFERENCE.glob("*.json")} == {f"{name}.schema.json" for name in NAMES}


@pytest.mark.parametrize("document", RUNS.values(), ids=RUNS)
def test_runs_fit(document: dict[str, Any]) -> None:
    assert wrong(document, "run-v1") == []


def test_the_runs_are_what_they_are_called() -> None:
    verdicts = {name: document["verdict"] for name, document in RUNS.items()}
    good = ("pass", "tries", "left alone", "kept", "skipped", "on a parent")
    bad = ("fail", "no route", "otherwise")
    expected = {name: "pass" if name in good else "fail" if name in bad else "error" for name in RUNS}
    assert verdicts == expected
    checks = {name: [c for p in d["phases"] for c in p["checks"]] for name, d in RUNS.items()}
    assert any(check["lifetime_s"] is not None for check in checks["pass"])
    assert any(check["skipped"] and check["address"] is None for check in checks["skipped"])
    assert any(check["passed"] is None and not check["skipped"] for check in checks["failed"])
    assert [check["observed"] for check in checks["no route"] if check["passed"] is False] == ["unreachable"]
    tried = {name: [a["observed"] for p in d["phases"] for a in p["attempts"]] for name, d in RUNS.items()}
    assert (tried["tries"], tried["otherwise"][0]) == (["refused", "accepted", "refused"], "accepted")
    assert (set(tried["not tried"]), tried["pass"]) == ({None}, [])
    assert {phase["kind"] for phase in RUNS["tries"]["phases"]} == {None, "ipvlan", "macvlan"}


@pytest.mark.parametrize("problem", ERRORS, ids=lambda problem: type(problem).__name__)
def test_errors_fit(problem: IpvkitError) -> None:
    document = {"schema": "ipvkit/error/v1", "error": error(problem)}
    assert wrong(document, "error-v1") == []


def test_the_error_that_the_command_line_prints_fits(capsys: pytest.CaptureFixture[str]) -> None:
    code = run_command_line(["run-lab", "--keep", "--json"])
    document = json.loads(capsys.readouterr().out)
    assert wrong(document, "error-v1") == []
    assert document["error"]["exit_code"] == code == 2


@pytest.mark.parametrize("document", HEALTH_DOCUMENTS)
def test_healths_fit(document: dict[str, Any]) -> None:
    assert wrong(document, "doctor-v1") == []


# --- the matrix, and explanations -----------------------------------------------------------------------


def matrices() -> Iterator[tuple[str, dict[str, Any]]]:
    plans = matrix.plans(2, mode="l3", flag="bridge", strategy="none")
    yield "predicted", json.loads(render_matrix(matrix.predicted(plans)))
    runs = [as_predicted(plan) for plan in plans]
    yield "agrees", json.loads(render_matrix(matrix.observed([judge(run) for run in runs], 21.5)))
    probe = next(step for step in plans[0].steps if step.probe is not None)
    runs[0].completed = {**runs[0].completed, probe.id: Completed(0, ANSWERED, "", 1.2)}
    yield "does not", json.loads(render_matrix(matrix.observed([judge(run) for run in runs], 21.5)))


def of_neighbour(verdict: Verdict) -> tuple[Captured, ...]:
    """Return what the neighbour has captured of a ping to test1, and the host nothing."""
    content = (FRAMES / "l3-unanswered-neighbour.pcap").read_bytes()
    frames = {"neighbour": tuple(read_pcap(content)), "host": ()}
    return tuple(
        Captured(Capture(role, "eth0", role, "l3", (verdict.probe,)), own, 0, 0, 1)
        for role, own in frames.items()
    )


def explanations() -> Iterator[tuple[str, dict[str, Any]]]:
    lab = load(gallery.text("l3-silent"), "l3-silent.yaml")
    lost, found = (
        [explain(lab, phase, Check("neighbour" if mended else "test2", "test1")) for phase in lab.phases]
        for mended in (True, False)
    )
    for name, each in (("lost", lost), ("found", found)):
        yield name, json.loads(render_explanations(lab, each))
        proofs = {
            (e.phase.name, mend): judge(as_predicted(plan)).checks
            for e in each
            for mend, plan in e.plans.items()
        }
        yield f"{name}, proved", json.loads(render_explanations(lab, each, proofs))
        captured = {
            key: [replace(v, captured=of_neighbour(v)) for v in found] for key, found in proofs.items()
        }
        yield f"{name}, with packets", json.loads(render_explanations(lab, each, captured))
    made = live(machine(host(), endpoint(7, "192.0.2.7/24", mode="l3", routes=(route("default", "s0"),))))
    here = explained(made, Check("gateway", made.lab.endpoints[0].name))
    yield "here", json.loads(render_explanations(made.lab, [here]))


def reviews() -> Iterator[dict[str, Any]]:
    wanted = Check("host", "test1", expect=Outcome.REACHABLE)
    phase = replace(WALKTHROUGH.phases[1], acts=(Act(checks=(wanted,)),))
    lab = replace(WALKTHROUGH, phases=(phase, *WALKTHROUGH.phases[:1]))
    yield json.loads(render_review(review_lab(lab), "./wanted.yaml"))
    private = load(gallery.text("private"), "private.yaml")
    (one, _) = private.phases
    yield json.loads(render_review(review_lab(private), "private"))
    ignoring = (sysctls.Sysctl("test1", "net.ipv4.icmp_echo_ignore_all", 1),)
    unknown = replace(WALKTHROUGH, phases=(replace(phase, acts=(Act(sysctls=ignoring),)),))
    yield json.loads(render_review(review_lab(unknown), "./unknown.yaml"))
    labs_ = ((replace(private, phases=(one, phase)), WALKTHROUGH), (WALKTHROUGH, private))
    for new, old in (*labs_, (unknown, WALKTHROUGH)):
        yield json.loads(render_comparison_json(compare(new, old)))


REVIEWS = list(reviews())


@pytest.mark.parametrize("document", REVIEWS)
def test_reviews_fit(document: dict[str, Any]) -> None:
    assert wrong(document, "review-v1") == []


def differing() -> Iterator[dict[str, Any]]:
    """Yield what differs in an address and at other hosts, and where nothing does."""
    made = live(machine(host(), endpoint(7, "192.0.2.7/24", mode="l3", routes=(route("default", "s0"),))))
    (phase,) = made.lab.phases
    changed = replace(phase, setting=replace(phase.setting, strategy="static-neigh"))
    (moved,) = (replace(e, addresses=(ip_interface("192.0.2.9/24"),)) for e in made.lab.endpoints)
    other = replace(made.lab, phases=(changed,), endpoints=(moved,))
    for lab, notes in ((other, ("left out",)), (made.lab, ())):
        yield json.loads(render_differences(lab.name, differences(lab, made), notes))


DIFFERENCES = list(differing())


@pytest.mark.parametrize("document", DIFFERENCES)
def test_differences_fit(document: dict[str, Any]) -> None:
    assert wrong(document, "diff-v1") == []


def test_a_difference_has_commands_here_or_elsewhere() -> None:
    first, second = DIFFERENCES
    assert {tuple(map(bool, (d["commands"], d["elsewhere"]))) for d in first["differences"]} == {
        (True, False),
        (False, True),
    }
    assert second["differences"] == second["notes"] == []


MATRICES, EXPLANATIONS = dict(matrices()), dict(explanations())


def test_the_matrices_and_explanations_are_what_they_are_called() -> None:
    agree = {name: {cell["agrees"] for cell in found["cells"]} for name, found in MATRICES.items()}
    assert agree == {"predicted": {None}, "agrees": {True}, "does not": {True, False}}
    seen = {name: {e["observed"] for e in found["explanations"]} for name, found in EXPLANATIONS.items()}
    proved = {"lost, proved": {"unreachable"}, "found, proved": {"reachable"}}
    captured = {"lost, with packets": {"unreachable"}, "found, with packets": {"reachable"}}
    assert seen == {"lost": {None}, "found": {None}, "here": {None}} | proved | captured
    others = {
        each["where"]
        for e in EXPLANATIONS["here"]["explanations"]
        for m in e["mends"]
        for each in m["elsewhere"]
    }
    assert others == {"the gateway", "each other host"}
    mends = [mend for e in EXPLANATIONS["lost, proved"]["explanations"] for mend in e["mends"]]
    assert {mend["observed"] for mend in mends} == {"reachable"}


@pytest.mark.parametrize("document", MATRICES.values(), ids=MATRICES)
def test_matrices_fit(document: dict[str, Any]) -> None:
    assert wrong(document, "matrix-v1") == []


@pytest.mark.parametrize("document", EXPLANATIONS.values(), ids=EXPLANATIONS)
def test_explanations_fit(document: dict[str, Any]) -> None:
    assert wrong(document, "explain-v1") == []


@pytest.mark.long
def test_what_the_command_line_prints_of_the_whole_matrix_fits(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["matrix", "--predict", "--json"]) == 0
    assert wrong(json.loads(capsys.readouterr().out), "matrix-v1") == []


@pytest.mark.long
@pytest.mark.parametrize("name", gallery.names())
def test_what_the_command_line_explains_of_a_lab_fits(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    lab = load(gallery.text(name), f"{name}.yaml")
    ends = [endpoint.name for endpoint in lab.endpoints]
    for source, destination in [
        (lab.hosts[0] if lab.parents[0].host else "gateway", ends[0]),
        (ends[-1], "gateway"),
    ]:
        assert run_command_line(["explain", source, destination, name, "--json"]) == 0
        assert wrong(json.loads(capsys.readouterr().out), "explain-v1") == []


@pytest.mark.long
@pytest.mark.parametrize("name", gallery.names())
def test_what_the_command_line_reviews_of_a_lab_fits(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    for others in ((), ("--against", "l2", "--phase", load_lab(name).phases[0].name)):
        assert run_command_line(["review", name, *others, "--json"]) in (0, 1)
        assert wrong(json.loads(capsys.readouterr().out), "review-v1") == []


ADDRESS = IPv4Address("192.168.104.211")
SENT = Command(("arping", "-c", "1", "-U", "-I", "eth0", "192.168.104.211"))
CHANGES: list[announce.Event] = [
    announce.Began(announce.Announcement((ADDRESS,), "eth0"), nonlocal_bind=True),
    announce.Began(announce.Announcement((ADDRESS,), "eth0", 0.2, 60.0, "lab"), nonlocal_bind=False),
    announce.Failed(ADDRESS, 12.3456, 'Interface "eth0" is down', SENT),
    announce.Recovered(ADDRESS, 15.0),
    announce.Stopped("SIGINT", 12, 34.5, "restored", 0),
    announce.Stopped("time", 12, 34.5),
    announce.Stopped("SIGTERM", 1, 0.5, "changed", 0),
    announce.Stopped("SIGHUP", 0, 0.0, "failed", failure=ERRORS[2]),
    announce.Stopped("error", 1, 0.1, "restored", 0, failure=ERRORS[1]),
]
VALUES = dict.fromkeys(measure_arp.TIMERS, 0) | {"ucast_solicit": 3, "retrans_time_ms": 100}
MEASURED = [
    measure_arp.Measured(measure_arp.Measurement(), VALUES, "STALE", None, True, 0.3, 0.0),
    measure_arp.Measured(measure_arp.Measurement(True, 10), VALUES, None, None, False, None, 0.0),
]


def measured(found: measure_arp.Measured) -> dict[str, Any]:
    run = Run(make_plan(WALKTHROUGH), "uml", "6.12.113", duration_s=4.2)
    document: dict[str, Any] = json.loads(render_measured(found, run))
    return document


# --- what runs have left --------------------------------------------------------------------------------

LEFT: dict[str, Resource] = {
    "l3.1": Netns("test1"),
    "l3.2": Link("test1", "ipvlan", "test1"),
    "l3.3": Route(IPv4Network("192.168.104.211/32"), "shim0"),
    "l3.4": Proxy(ADDRESS, "eth0"),
    "l3.5": Sysctl("net.ipv4.ip_nonlocal_bind", 1),
}
"""All that a lab can leave, in the order in which it is done."""


def leave(run: journal.Journal) -> None:
    """Begin what is in LEFT, as a run does whose end nobody sees."""
    former = {id: "0" if isinstance(effect, Sysctl) else "" for id, effect in LEFT.items()}
    run.begin([journal.Entry(id, "leave it", effect, former[id]) for id, effect in LEFT.items()])


def status() -> dict[str, Any]:
    """Return what `ipvkit status --json` prints."""
    printed = io.StringIO()
    with redirect_stdout(printed):
        assert run_command_line(["status", "--json"]) == 0
    document: dict[str, Any] = json.loads(printed.getvalue())
    return document


def statuses() -> dict[str, dict[str, Any]]:
    """Return what is printed of journals of each kind: the code's own, and one that somebody has spoilt."""
    found = {}
    with TemporaryDirectory() as home, patch.dict(os.environ, XDG_STATE_HOME=home):
        with journal.started("kept") as run:
            leave(run)
            run.keep()
        found["up"] = status()
        with journal.started("killed") as run:
            leave(run)
            run.end(["l3.4"], ["l3.5"])
        (journal.folder() / "spoilt.jsonl").write_text("{}\n", encoding="utf-8")
        with journal.started("at-work") as run:
            found["begins"] = status()
            leave(run)
            found["all"] = status()
    with TemporaryDirectory() as home, patch.dict(os.environ, XDG_STATE_HOME=home):
        found["nothing"] = status()
    return found


STATUSES = statuses()


@pytest.mark.parametrize("document", STATUSES.values(), ids=STATUSES)
def test_statuses_fit(document: dict[str, Any]) -> None:
    assert wrong(document, "status-v1") == []


def test_the_statuses_are_what_they_are_called() -> None:
    states = {name: {run["lab"]: run["state"] for run in found["runs"]} for name, found in STATUSES.items()}
    three = {"at-work": "running", "kept": "up", "killed": "interrupted", "spoilt": "damaged"}
    assert states == {"up": {"kept": "up"}, "begins": three, "all": three, "nothing": {}}
    # An empty journal is of no run that could be listed.
    assert {*three.values(), "empty"} == {*get_args(journal.Record.__annotations__["state"])}
    holds = {run["lab"]: [hold["what"] for hold in run["holds"]] for run in STATUSES["all"]["runs"]}
    every = [str(effect) for effect in reversed(LEFT.values())]
    assert holds == {"at-work": every, "kept": every, "killed": every[1:], "spoilt": []}
    assert [run["holds"] for run in STATUSES["begins"]["runs"] if run["lab"] == "at-work"] == [[]]


def test_what_undoes_it_stands_in_a_status_as_one_types_it() -> None:
    assert [hold["undo"] for hold in STATUSES["up"]["runs"][0]["holds"]] == [
        "sysctl -w net.ipv4.ip_nonlocal_bind=0",
        "ip neigh del proxy 192.168.104.211 dev eth0",
        "ip route del 192.168.104.211/32 dev shim0",
        "ip netns exec test1 ip link delete test1",
        "ip netns del test1",
    ]


# --- what tools printed ---------------------------------------------------------------------------------

PEER = IPv4Address("192.0.2.3")
[A_LINK] = ip.parse_addresses("""\
2: eth0: <BROADCAST,UP> mtu 1500 qdisc noop state UP group default qlen 1000
    link/ether 02:00:00:00:00:01 brd ff:ff:ff:ff:ff:ff
    inet 192.0.2.1/24 brd 192.0.2.255 scope global eth0
       valid_lft forever preferred_lft forever
""")
EVENTS: dict[tuple[Kind, str], object] = {
    ("ping", "header"): ping.Header("192.0.2.3", PEER, data_bytes=56),
    ("ping", "reply"): ping.Reply(64, PEER, None, 1, 64, 0.436),
    ("ping", "error"): ping.PingError(PEER, None, 1, "Destination Host Unreachable"),
    ("ping", "no_answer"): ping.NoAnswer(2),
    ("ping", "note"): ping.Note("PATTERN: 0xff"),
    ("ping", "unrecognised"): ping.Unrecognised("hm"),
    ("ping", "summary"): ping.Summary(3, 1, error_count=1, loss_percent=66.6667, time_ms=2002),
    ("ping", "times"): ping.Times(ping.Rtt(0.029, 0.167, 0.436, 0.19), pipe=3),
    ("fping", "host"): Host("192.0.2.3", PEER, 2, 1, 0, 50.0, ping.Rtt(0.1, 0.1, 0.1, None)),
    ("fping", "unrecognised"): ping.Unrecognised("hm"),
    ("arping", "header"): arping.Header("192.0.2.3", IPv4Address("192.0.2.1"), "eth0"),
    ("arping", "reply"): arping.ArpReply(PEER, "02:00:00:00:00:03", cast="unicast", time_ms=0.562),
    ("arping", "error"): arping.ArpingError("Device eth1 not available."),
    ("arping", "no_answer"): arping.NoAnswer(),
    ("arping", "note"): arping.Note("^C"),
    ("arping", "unrecognised"): arping.Unrecognised("hm"),
    ("arping", "summary"): arping.Summary(2, received=1, unanswered_percent=50.0, extra=0),
    ("arping", "times"): arping.Times(ping.Rtt(0.004, 0.005, 0.008, None)),
    ("link", "link"): LinkIn("test1", A_LINK),
    ("addr", "addr"): A_LINK,
    ("route", "route"): ip.parse_routes("default\n\tnexthop via 192.0.2.254 dev eth0 weight 1\n")[0],
    ("rule", "rule"): ip.parse_rules("1000:\tnot from 192.0.2.0/24 lookup 100\n")[0],
    ("neigh", "neigh"): ip.parse_neighbours("192.0.2.3 dev eth0 lladdr 02:00:00:00:00:03 router STALE")[0],
    ("netns", "netns"): ip.Netns("test1", 0),
    ("fdb", "fdb"): parse_fdb("02:00:00:00:00:03 dev eth0 vlan 1 master br0 permanent")[0],
    ("monitor", "change"): ip.parse_monitor("[NEIGH]Deleted 192.0.2.9 dev eth0 FAILED\n")[0],
}
"""All events that there are, one of each."""


def captures_of(kind: Kind) -> list[Path]:
    return [*captures(f"{kind}-"), *(captures("ping6-") if kind == "ping" else ())]


@pytest.mark.long
@pytest.mark.parametrize("kind", OUTPUTS)
def test_what_becomes_of_every_capture_fits(kind: Kind, capsys: pytest.CaptureFixture[str]) -> None:
    """Some are no output of their kind: a usage, an error, nothing."""
    understood = 0
    for capture in captures_of(kind):
        code = run_command_line(["parse", kind, str(capture), "--json"])
        document = json.loads(capsys.readouterr().out)
        assert wrong(document, "error-v1" if code else f"{kind}-v1") == [], short(capture)
        understood += not code
    assert understood > 0.7 * len(captures_of(kind)) > 8


@pytest.mark.long
def test_what_is_streamed_of_every_capture_fits(capsys: pytest.CaptureFixture[str]) -> None:
    seen: dict[str, tuple[str, str]] = {}
    for kind in OUTPUTS:
        for capture in captures_of(kind):
            run_command_line(["parse", kind, str(capture), "--stream"])
            for line in capsys.readouterr().out.splitlines():
                # Of thousands of replies that differ in their numbers one is enough.
                shape = re.sub(r"\d+", "0", line)
                if shape not in seen:
                    event = json.loads(line)
                    assert wrong(event, "event-v1") == [], short(capture)
                    seen[shape] = event["tool"], event["event"]
    assert set(seen.values()) == set(EVENTS)


@requires("icmp")
def test_a_real_ping_that_is_piped_into_parse_fits() -> None:
    line = 'set -o pipefail; ping -c 3 -i 0.2 127.0.0.1 | "$0" -m ipvkit parse ping --json'
    argv = ["bash", "-c", line, sys.executable]
    done = subprocess.run(argv, capture_output=True, timeout=30, check=True)
    document = json.loads(done.stdout)
    assert wrong(document, "ping-v1") == []
    assert (document["transmitted"], document["received"], document["complete"]) == (3, 3, True)


LINKS = ip_links_output.listings() | ip_links_output.listings(addresses=True)
REPORTS: dict[Kind, st.SearchStrategy[Any]] = {
    "ping": st.sampled_from(ping_output.DIALECTS).flatmap(ping_output.reports),
    "arping": arping_output.arping_reports()
    | arping_output.habets_reports()
    | arping_output.habets_marks().map(itemgetter(0))
    | arping_output.habets_raw().map(itemgetter(0)),
    "link": LINKS.map(lambda links: [LinkIn(None, link) for link in links]),
    "addr": LINKS,
    "route": st.lists(ip_routes_output.routes(), max_size=3),
    "neigh": st.lists(ip_routes_output.neighbours(), max_size=3),
    "netns": st.lists(ip_routes_output.namespaces(), max_size=3),
}


def parts_of(found: Any) -> Sequence[object]:
    """Return what a report has that is an event by itself."""
    match found:
        case ping.PingReport():
            return (*found.replies, *found.errors, *found.no_answers)
        case arping.ArpingReport():
            return found.replies
        case _:
            return tuple(found)


@pytest.mark.long
@pytest.mark.parametrize("kind", REPORTS)
@given(st.data())
def test_whatever_a_tool_can_have_seen_fits(kind: Kind, data: st.DataObject) -> None:
    found = data.draw(REPORTS[kind])
    assert wrong(document_of(kind, found), f"{kind}-v1") == []
    for part in parts_of(found):
        assert wrong(json.loads(event_line(kind, part)), "event-v1") == []


ODD_PIECES = ("-1", "0", "999", "1e3", "null", "[]", "{}", '"x"', "192.0.2.1", "(DUP!)", "rtt min/avg/max = ")


@pytest.mark.parametrize("kind", OUTPUTS)
@given(st.data())
def test_whatever_is_understood_of_a_mangled_capture_fits(kind: Kind, data: st.DataObject) -> None:
    """So that no schema promises what its parser does not see to."""
    text = text_of(data.draw(st.sampled_from(captures_of(kind))))[:2000]
    try:
        found = PARSERS[kind](data.draw(mutated_text(text, ODD_PIECES)))
    except UnparsableOutput:
        return
    assert wrong(document_of(kind, found), f"{kind}-v1") == []


# --- the parts of each schema ---------------------------------------------------------------------------

COMMAND = command_document(Command(("ip", "netns", "add", "test1")), Completed(0, "", "", 0.0075))

SAMPLES: dict[Kind, tuple[str, ...]] = {
    "ping": tuple(
        f"iputils-20240905/ping-{name}" for name in ("loss-middle-O", "host-unreachable", "killed")
    ),
    "arping": ("iputils-20240905/arping-two-hosts", "habets-arping-2.25/arping-plain"),
    "link": tuple(f"iproute2-6.15/link-{name}" for name in ("ipvlan-type-details", "json-statistics")),
    "addr": ("iproute2-6.15/addr-plain",),
    "route": ("iproute2-6.15/route-plain", "iproute2-6.15/route-6-json"),
    "neigh": ("iproute2-6.15/neigh-plain",),
    "rule": ("iproute2-6.15/rule-many-plain",),
    "fdb": ("iproute2-6.15/fdb-plain",),
    "monitor": ("iproute2-6.15/monitor-neigh",),
    "fping": ("fping-5.1/fping-plain",),
    "netns": ("iproute2-6.15/netns-plain",),
}
"""Captures in which each part of the schema of their kind occurs."""


def samples(kind: Kind) -> list[Any]:
    found = [PARSERS[kind](text_of(FIXTURES / f"{name}.txt")) for name in SAMPLES[kind]]
    if kind == "link":
        # As `ipvkit link list` has them, which asks for the addresses too.
        text = text_of(FIXTURES / "iproute2-6.15" / "addr-json-details.txt")
        found.append([LinkIn("test1", link) for link in ip.parse_addresses(text)])
    return found


def inspections() -> Iterator[Inspection]:
    """Yield nothing, and a machine with links of a container, of a name only, and on an unknown parent."""
    yield Inspection((), unseen=("netns a",), hidden=2)
    vlan = host(ifname="eth0.20", kind="vlan", parent="eth0", info_data={"id": 20})
    web = endpoint(7, "192.0.2.7/24", routes=(route("default", "s0"),))
    bare = endpoint(8, netns="b", mode="l3")
    found = machine(vlan, web, bare, names={7: Owner("docker", "web", "nginx", 7)})
    yield replace(found, parents=(*found.parents, OnParent(None, found.parents[0].links)))


LOOKS = list(inspections())
DOCUMENTS = [
    *(("run-v1", document) for document in RUNS.values()),
    *((f"{kind}-v1", document_of(kind, found)) for kind in OUTPUTS for found in samples(kind)),
    *(("matrix-v1", document) for document in MATRICES.values()),
    *(("explain-v1", document) for document in EXPLANATIONS.values()),
    *(("review-v1", document) for document in REVIEWS),
    *(("diff-v1", document) for document in DIFFERENCES),
    *(("event-v1", json.loads(event_line(kind, event))) for (kind, _), event in EVENTS.items()),
    ("command-v1", json.loads(COMMAND)),
    ("error-v1", {"schema": "ipvkit/error/v1", "error": error(ERRORS[2])}),
    *(("doctor-v1", document) for document in HEALTH_DOCUMENTS),
    *(("announce-v1", json.loads(json_line(change))) for change in CHANGES),
    *(("measure-arp-v1", measured(found)) for found in MEASURED),
    *(("status-v1", document) for document in STATUSES.values()),
    *(("kernels-v1", document) for document in KERNELS),
    *(("doctor-v1", json.loads(render_json(health))) for health in HEALTHS),
    *(("inspect-v1", json.loads(render_inspection(review(found, Dialect("cni"))))) for found in LOOKS),
]


def objects(document: object, part: dict[str, Any], whole: dict[str, Any]) -> Iterator[tuple[Any, Any]]:
    """Yield each object in a document with the schema that describes it, but for those with any keys."""
    if "$ref" in part:
        part = whole["$defs"][part["$ref"].removeprefix("#/$defs/")]
    if "oneOf" in part:
        part = of_event(part, document, whole)
    if "anyOf" in part:
        part = part["anyOf"][0]
        yield from objects(document, part, whole)
    elif isinstance(document, dict) and "properties" in part:
        yield document, part
        for key, value in document.items():
            yield from objects(value, part["properties"][key], whole)
    elif isinstance(document, list):
        for item in document:
            yield from objects(item, part["items"], whole)


def of_event(part: dict[str, Any], document: Any, whole: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of one event: what all have, and what this one has."""
    variants = [whole["$defs"][variant["$ref"].removeprefix("#/$defs/")] for variant in part["oneOf"]]
    [own] = (variant for variant in variants if names_event(variant, document))
    properties = {**part["properties"], **own["properties"]}
    required = dict.fromkeys([*part["required"], *own["required"]])
    return {**own, "properties": properties, "required": list(required)}


def names_event(variant: dict[str, Any], document: dict[str, Any]) -> bool:
    named = {key: inner["const"] for key, inner in variant["properties"].items() if "const" in inner}
    return named == {key: document[key] for key in named}


@pytest.mark.long
@for_each(("name", "document"), DOCUMENTS)
def test_every_field_that_exists_is_described_and_required(name: str, document: dict[str, Any]) -> None:
    assert wrong(document, name) == []
    for found, described in objects(document, schema(name), schema(name)):
        assert list(found) == list(described["properties"]) == described["required"]


@for_each("name", [name for name in NAMES if name != "run-v1"])
def test_every_part_of_a_schema_occurs(name: str) -> None:
    """Or the tests of the parts would leave one out. The parts of a run's ping are those of ping-v1."""
    whole = schema(name)
    documents = [document for other, document in DOCUMENTS if other == name]
    seen = {tuple(part["properties"]) for d in documents for _, part in objects(d, whole, whole)}
    known = [tuple(part["properties"]) for part in whole.get("$defs", {}).values()]
    assert {("schema", *part) if "event" in part else part for part in known} <= seen


@pytest.mark.long
@for_each("name", dict.fromkeys(name for name, _ in DOCUMENTS))
def test_a_field_that_is_missing_or_of_another_type_is_refused(name: str) -> None:
    whole = schema(name)
    documents = [document for other, document in DOCUMENTS if other == name]
    parts: dict[tuple[object, ...], tuple[dict[str, Any], dict[str, Any]]] = {}
    for document in documents:
        first: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}
        for found, described in objects(document, whole, whole):
            first.setdefault(str(described), (found, described))
        # Of those in several documents with the same fields in the same types one is enough.
        parts |= {
            (text, *((key, type(value)) for key, value in part[0].items())): part
            for text, part in first.items()
        }
    for found, described in parts.values():
        validator = Draft202012Validator({"$defs": whole.get("$defs", {}), **described})
        assert validator.is_valid(found)
        for key, value in found.items():
            rest = {other: found[other] for other in found if other != key}
            assert not validator.is_valid(rest), f"{key} is missing and nobody notices"
            other_type: object = "another type" if isinstance(value, dict) else {"another": "type"}
            assert not validator.is_valid({**found, key: other_type}), f"{key} may have any type"
            if isinstance(value, list):
                longer = {**found, key: [*value, {"another": "type"}]}
                assert not validator.is_valid(longer), f"{key} may hold anything"


@pytest.mark.long
@for_each(("name", "document"), DOCUMENTS)
def test_a_document_fits_no_other_schema(name: str, document: dict[str, Any]) -> None:
    assert [other for other in NAMES if not wrong(document, other)] == [name]
    assert wrong({**document, "schema": "ipvkit/other/v1"}, name)


def test_a_field_that_is_new_is_allowed() -> None:
    for name, document in DOCUMENTS:
        assert wrong({**document, "new": 1}, name) == []


PARTS: dict[tuple[str, str], type] = {
    ("ping-v1", ""): ping.PingReport,
    ("ping-v1", "reply"): ping.Reply,
    ("ping-v1", "icmp_error"): ping.PingError,
    ("ping-v1", "no_answer"): ping.NoAnswer,
    ("ping-v1", "rtt"): ping.Rtt,
    ("arping-v1", ""): arping.ArpingReport,
    ("arping-v1", "reply"): arping.ArpReply,
    ("arping-v1", "rtt"): ping.Rtt,
    ("link-v1", "link"): ip.Link,
    ("link-v1", "address"): ip.Address,
    ("addr-v1", "link"): ip.Link,
    ("addr-v1", "address"): ip.Address,
    ("route-v1", "route"): ip.Route,
    ("route-v1", "nexthop"): ip.NextHop,
    ("rule-v1", "rule"): ip.Rule,
    ("neigh-v1", "neighbour"): ip.Neighbour,
    ("netns-v1", "netns"): ip.Netns,
    ("fdb-v1", "entry"): FdbEntry,
    ("monitor-v1", "change"): ip.Change,
    ("fping-v1", "host"): Host,
    ("fping-v1", "ping_rtt"): ping.Rtt,
    **{
        ("event-v1", name): type(event.link if isinstance(event, LinkIn) else event)
        for name, event in zip(schema("event-v1")["$defs"], EVENTS.values(), strict=False)
    },
    ("event-v1", "ping_rtt"): ping.Rtt,
    ("event-v1", "arping_rtt"): ping.Rtt,
    ("event-v1", "address"): ip.Address,
    ("event-v1", "nexthop"): ip.NextHop,
}
"""The type that each part of a schema describes; "" is the document itself."""

ADDED = ("schema", "tool", "event", "netns")
"""Fields that only the documents have; `netns` is that of LinkIn."""

NEVER_NULL = {("event-v1", "arping_header", "destination")}
"""Fields that their type lets be None, and that its parser never does."""


def properties_of(name: str, part: str) -> dict[str, Any]:
    found: dict[str, Any] = (schema(name)["$defs"][part] if part else schema(name))["properties"]
    return {key: described for key, described in found.items() if key not in ADDED}


def test_each_part_of_a_schema_has_its_type() -> None:
    kinds = {name for name, _ in PARTS}
    assert {(name, part) for name in kinds for part in schema(name)["$defs"]} <= set(PARTS)


@for_each(("name", "part"), PARTS)
def test_a_part_has_the_fields_of_its_type_and_is_null_where_that_is_none(name: str, part: str) -> None:
    described, of_type = properties_of(name, part), PARTS[name, part]
    assert tuple(described) == names_of_fields(of_type)
    hints = get_type_hints(of_type)
    for key, inner in described.items():
        validator = Draft202012Validator({"$defs": schema(name)["$defs"], **inner})
        nullable = NoneType in get_args(hints[key]) and (name, part, key) not in NEVER_NULL
        assert validator.is_valid(None) is nullable, key


def names_of_fields(of_type: Any) -> tuple[str, ...]:
    if is_dataclass(of_type):
        return tuple(field.name for field in fields(of_type))
    names: tuple[str, ...] = of_type._fields
    return names


def test_what_is_described_in_several_schemas_is_described_alike() -> None:
    for (name, part), of_type in PARTS.items():
        for (other, twin), of_its_type in PARTS.items():
            # The times of an arping may be below zero.
            if of_type is of_its_type and of_type is not ping.Rtt:
                assert properties_of(name, part) == properties_of(other, twin), (name, other)


def test_a_ping_of_a_run_is_described_as_any_ping() -> None:
    """But for what is there in every ping that is complete: one that is not is an error of the run."""
    of_run, alone = schema("run-v1")["$defs"], schema("ping-v1")["$defs"]
    assert {name: of_run[name] for name in alone} == alone
    described = properties_of("ping-v1", "")
    for key in ("destination", "transmitted", "received", "duplicates", "corrupted", "error_count"):
        described[key] = {**described[key], "type": described[key]["type"][0]}
    described["complete"] = {"const": True, "description": described["complete"]["description"]}
    assert of_run["ping"]["properties"] == described


@given(st.sampled_from(ping_output.DIALECTS).flatmap(ping_output.reports))
def test_a_ping_fits_a_run_if_it_is_complete(found: ping.PingReport) -> None:
    of_run = Draft202012Validator({"$defs": schema("run-v1")["$defs"], "$ref": "#/$defs/ping"})
    assert of_run.is_valid(plain(found)) is found.complete


DOCUMENT_OF = dict(reversed(DOCUMENTS)) | {"matrix-v1": MATRICES["agrees"]}
"""The first document of each schema; of the matrix one that was observed."""


def first(name: str, key: str) -> dict[str, Any]:
    """Return the first of what is listed under `key` in a document."""
    found: dict[str, Any] = DOCUMENT_OF[name][key][0]
    return found


def event(kind: Kind, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(event_line(kind, EVENTS[kind, name]))
    return found


A_RUN = {
    **first("status-v1", "runs"),
    "pid": 12,
    "started": "2026-11-25T01:02:03Z",
}
"""One that is up, with what differs each time, and so may not be in the name of a test, replaced."""

CONTRADICTIONS: list[tuple[str, dict[str, Any]]] = [
    ("run-v1", {"verdict": "perhaps"}),
    ("run-v1", {"verdict": "pass", "residue": ["netns test1"]}),
    ("run-v1", {"verdict": "error"}),
    ("run-v1", {"duration_s": -1}),
    ("run-v1", {"target": {"kind": "qemu", "kernel": None}}),
    ("matrix-v1", {"target": None}),
    ("matrix-v1", {"cells": []}),
    ("matrix-v1", {"cells": [{**first("matrix-v1", "cells"), "agrees": None}]}),
    ("matrix-v1", {"cells": [{**first("matrix-v1", "cells"), "observed": None}]}),
    ("matrix-v1", {"cells": [{**first("matrix-v1", "cells"), "source": "test1"}]}),
    ("explain-v1", {"explanations": []}),
    ("explain-v1", {"explanations": [{**first("explain-v1", "explanations"), "predicted": "reachable"}]}),
    ("review-v1", {"phases": []}),
    ("review-v1", {"phases": [{**first("review-v1", "phases"), "pairs": -1}]}),
    ("review-v1", {"comparison": {"former": "l2"}}),
    ("diff-v1", {"lab": ""}),
    ("diff-v1", {"differences": [{**first("diff-v1", "differences"), "what": None}]}),
    ("ping-v1", {"transmitted": -1}),
    ("ping-v1", {"received": 1.5}),
    ("ping-v1", {"received": None}),
    ("ping-v1", {"complete": False}),
    ("ping-v1", {"destination": None}),
    ("ping-v1", {"replies": [{**first("ping-v1", "replies"), "source": ""}]}),
    ("arping-v1", {"received": "1"}),
    ("arping-v1", {"complete": False}),
    ("arping-v1", {"replies": [{**first("arping-v1", "replies"), "lladdr": "02:00:00:00:00:AA"}]}),
    ("arping-v1", {"replies": [{**first("arping-v1", "replies"), "operation": "question"}]}),
    ("arping-v1", {"replies": [{**first("arping-v1", "replies"), "cast": "multicast"}]}),
    ("arping-v1", {"replies": [{**first("arping-v1", "replies"), "unsolicited": True}]}),
    ("link-v1", {"links": [{**first("link-v1", "links"), "flag": "public"}]}),
    ("link-v1", {"links": [{**first("link-v1", "links"), "kind": "veth"}]}),
    ("link-v1", {"links": [{**first("link-v1", "links"), "kind": "macvlan"}]}),
    ("link-v1", {"links": [{**first("link-v1", "links"), "netns": ""}]}),
    ("link-v1", {"links": [{**first("link-v1", "links"), "stats": {"rx": {"bytes": "1"}}}]}),
    ("link-v1", {"links": [{**first("link-v1", "links"), "mtu": 2**64}]}),
    ("addr-v1", {"links": [{**first("addr-v1", "links"), "ifname": None}]}),
    ("route-v1", {"routes": [{**first("route-v1", "routes"), "type": None}]}),
    ("route-v1", {"routes": [{**first("route-v1", "routes"), "dst": ""}]}),
    ("neigh-v1", {"neighbours": [{**first("neigh-v1", "neighbours"), "flags": ["STALE"]}]}),
    ("netns-v1", {"namespaces": [{"name": None, "id": 0}]}),
    ("event-v1", {"tool": "traceroute"}),
    ("event-v1", {"event": "reply"}),
    ("event-v1", {**event("link", "link"), "event": "addr"}),
    ("event-v1", {**event("ping", "reply"), "tool": "arping"}),
    ("event-v1", {**event("ping", "summary"), "transmitted": None}),
    ("announce-v1", {"event": "failed"}),
    ("announce-v1", {"addresses": []}),
    ("announce-v1", {"addresses": ["2001:db8::1"]}),
    ("announce-v1", {"every_s": 0.1}),
    ("announce-v1", {"for_s": 0}),
    ("announce-v1", {**json.loads(json_line(CHANGES[4])), "value": 1}),
    ("announce-v1", {**json.loads(json_line(CHANGES[5])), "value": 0}),
    ("announce-v1", {**json.loads(json_line(CHANGES[5])), "reason": "error"}),
    ("announce-v1", {**json.loads(json_line(CHANGES[5])), "reason": "SIGKILL"}),
    ("measure-arp-v1", {"announced": "FAILED"}),
    ("measure-arp-v1", {"answered": False}),
    ("measure-arp-v1", {"measured_s": None}),
    ("measure-arp-v1", {"timers": {**VALUES, "retrans_time_ms": -1}}),
    ("status-v1", {"runs": [{**A_RUN, "state": "paused"}]}),
    ("status-v1", {"runs": [{**A_RUN, "state": "damaged"}]}),
    ("status-v1", {"runs": [{**A_RUN, "holds": []}]}),
    ("status-v1", {"runs": [{**A_RUN, "pid": None, "started": None}]}),
    ("status-v1", {"runs": [{**A_RUN, "started": None}]}),
    ("status-v1", {"runs": [{**A_RUN, "started": "yesterday"}]}),
    ("status-v1", {"runs": [{**A_RUN, "lab": ""}]}),
    ("kernels-v1", {"default": ""}),
    ("kernels-v1", {"kernels": [{**first("kernels-v1", "kernels"), "origin": "built"}]}),
    ("matrix-v1", {"cells": [{**first("matrix-v1", "cells"), "kernel": ""}]}),
    ("inspect-v1", {"hidden_processes": -1}),
    ("inspect-v1", {"parents": [{"parent": None, "links": []}]}),
    ("command-v1", {"argv": []}),
    ("command-v1", {"exit_code": -1}),
    ("error-v1", {"error": {**error(ERRORS[0]), "exit_code": 0}}),
]


@for_each(("name", "changed"), CONTRADICTIONS)
def test_a_contradiction_is_refused(name: str, changed: dict[str, Any]) -> None:
    assert wrong({**DOCUMENT_OF[name], **changed}, name)


# --- the page -------------------------------------------------------------------------------------------

PAGE = Document(REFERENCE / "json.md")


@for_each("name", NAMES)
def test_json_page_names_every_field(name: str) -> None:
    prose = "\n".join(PAGE.prose)
    parts = [schema(name), *schema(name).get("$defs", {}).values()]
    fields = {field for part in parts for field in nested(part)}
    assert {field for field in fields if f"`{field}`" not in prose} == set()


def nested(part: dict[str, Any]) -> Iterator[str]:
    for name, described in part.get("properties", {}).items():
        yield name
        yield from nested(described)
        yield from nested(described.get("items", {}))


TABLES = {
    **{f"ipvkit/{'/'.join(name.rsplit('-', 1))}": (name, "") for name in NAMES},
    "A phase": ("run-v1", "phase"),
    "A step": ("run-v1", "step"),
    "A check": ("run-v1", "check"),
    "A try": ("run-v1", "attempt"),
    "A cell": ("matrix-v1", "cell"),
    "An explanation": ("explain-v1", "explanation"),
    "A fix": ("explain-v1", "mend"),
    "A command elsewhere": ("explain-v1", "elsewhere"),
    "An unmet check": ("review-v1", "unmet"),
    "A phase in a review": ("review-v1", "phase_review"),
    "A group": ("review-v1", "group"),
    "A block": ("review-v1", "block"),
    "A fix of a group": ("review-v1", "fix"),
    "A comparison": ("review-v1", "comparison"),
    "A changed phase": ("review-v1", "phase_change"),
    "A reply to a ping": ("ping-v1", "reply"),
    "An error of a ping": ("ping-v1", "icmp_error"),
    "An answer to an arping": ("arping-v1", "reply"),
    "A link": ("link-v1", "link"),
    "An address": ("link-v1", "address"),
    "A route": ("route-v1", "route"),
    "A neighbour": ("neigh-v1", "neighbour"),
    "A run": ("status-v1", "run"),
    "A kernel": ("kernels-v1", "kernel"),
    "A link on a parent": ("inspect-v1", "link_there"),
    "A finding of inspect": ("inspect-v1", "problem"),
    "A difference": ("diff-v1", "difference"),
    "A finding": ("doctor-v1", "finding"),
    "A timer": ("measure-arp-v1", "timers"),
    "An error": ("error-v1", "error"),
}
"""The sections of the page whose table is that of a schema or of a part of one."""


@for_each("title", TABLES)
def test_json_page_has_a_row_for_each_field(title: str) -> None:
    name, part = TABLES[title]
    described = (schema(name)["$defs"][part] if part else schema(name))["properties"]
    assert re.findall(r"^\| `(\w+)` \|", section(title), re.MULTILINE) == list(described)


def test_json_page_has_a_row_for_each_code_of_a_finding() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \| (.*) \|$", section("Codes of findings"), re.MULTILINE)
    assert sorted(rows) == sorted(CODES.items())


def test_json_page_has_a_row_for_each_code_of_inspect() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \|", section("Codes of inspect"), re.MULTILINE)
    assert sorted(rows) == sorted(get_args(problems.Code))


def test_json_page_has_a_row_for_each_event() -> None:
    """It names the fields of the event, or leads to the section that does."""
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \| (.*) \|$", section("An event"), re.MULTILINE)
    assert [row[:2] for row in rows] == list(EVENTS)
    for (_, _, cell), described in zip(rows, schema("event-v1")["$defs"].values(), strict=False):
        fields = [key for key in described["properties"] if key not in ("tool", "event")]
        assert re.findall(r"`(\w+)`", cell) == fields or "](#" in cell


def test_json_page_has_a_row_for_each_change() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", section("A change"), re.MULTILINE)
    described = schema("announce-v1")["$defs"]
    assert [row[0] for row in rows] == [name for name in described if name != "error"]
    for name, cell in rows:
        fields = [key for key in described[name]["properties"] if key != "event"]
        assert re.findall(r"`(\w+)`", cell) == fields


def section(title: str) -> str:
    """Return the text of a section, without the sections in it."""
    found = re.search(rf"^##+ {title}\n(.*?)(?=^##+ |\Z)", "\n".join(PAGE.prose), re.MULTILINE | re.DOTALL)
    assert found is not None, f"json.md has no section {title}"
    return found[1]


# --- the page of the journal ----------------------------------------------------------------------------

JOURNAL_PAGE = Document(REFERENCE / "journal.md")


def test_journal_page_names_every_field(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with journal.started("kept") as run:
        leave(run)
        run.end(["l3.1"], ["l3.5"])
        run.keep()
    lines = [json.loads(line) for line in (tmp_path / "ipvkit" / "kept.jsonl").read_text().splitlines()]
    header, begun, *others = lines
    entries = begun["begin"]
    common = [key for key in entries[0] if all(key in entry for entry in entries)]
    prose = "\n".join(JOURNAL_PAGE.prose)
    assert re.findall(r"^\| `(\w+)` \|", prose, re.MULTILINE) == [*header, *common]
    words = {key for entry in entries for key in entry} | {entry["effect"] for entry in entries}
    assert {word for word in words if f"`{word}`" not in prose} == set()
    assert [list(line) for line in (begun, *others)] == [["begin"], ["done", "undone"], ["kept"]]
    assert all(f'"{key}": ' in prose for line in (begun, *others) for key in line)


def test_the_journal_that_its_page_shows_is_read_as_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    [block] = [block for block in JOURNAL_PAGE.blocks if block.name]
    header = json.loads(block.lines[0])
    here = {**header, "boot": Path("/proc/sys/kernel/random/boot_id").read_text().strip()}
    file = journal.folder() / block.name
    for first_line, torn in ((here, '{"begin": ['), (header, "")):
        file.parent.mkdir(mode=0o700, exist_ok=True)
        file.write_text("\n".join([json.dumps(first_line), *block.lines[1:], torn]))
        found = journal.records()
        if first_line is here:
            [record] = found
            assert (record.lab, record.state) == ("mac", "up")
            assert (record.pid, record.started) == (header["pid"], header["started"])
            assert [(entry.id, str(entry.undo)) for entry in record.entries] == [
                ("one.1", "ip netns del mac1"),
                ("one.3", "ip netns exec mac1 ip link delete mac1"),
            ]
        else:
            # Of another start of the machine: it is not up now.
            assert [record.state for record in found] == ["interrupted"]
