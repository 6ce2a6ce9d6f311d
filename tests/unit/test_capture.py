"""What a plan captures, the files that this becomes, and where it is refused."""

import sys
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
from dpkt.pcapng import Reader
from hypothesis import given

from captures import FRAMES
from grammar import is_meant
from ipvkit.cli import main
from ipvkit.core.errors import UsageError
from ipvkit.lab import Act, Check, Lab, gallery, on_parent
from ipvkit.lab.format import load
from ipvkit.lab.new import new_lab
from ipvkit.lab.parts import Setting
from ipvkit.plan.capture import MOST, with_captures
from ipvkit.plan.make import make_plan
from ipvkit.plan.steps import Capture, Plan, Step
from ipvkit.report.captures import make_folder, write_all
from ipvkit.run.capture import Captured, of_stage, on_cables
from ipvkit.targets import programs
from ipvkit.targets.cables import CableFrame
from ipvkit.targets.sandbox import Sandbox
from ipvkit.targets.uml import guest_of
from ipvkit.tools.pcap import Frame, read_pcap
from ipvkit.tools.tcpdump import wrote_all
from runs import run_of
from several_hosts import labs_of_hosts
from strategies import labs


def lab(name: str) -> Lab:
    return load(gallery.text(name), name)


def servers(plan: Plan) -> list[tuple[Step, Capture]]:
    return [(step, step.capture) for step in plan.steps if step.capture is not None]


def asking(name: str, phase: str, *checks: Check) -> Plan:
    """Return the plan of one phase of a lab of the gallery with these checks, with captures."""
    described = lab(name)
    [found] = (each for each in described.phases if each.name == phase)
    return with_captures(make_plan(described.with_phases(replace(found, acts=(Act(checks=checks),)))))


def links(plan: Plan) -> set[tuple[str, str, str]]:
    """Return the machine, the node and the link of each capture."""
    return {(step.on, of.role, of.dev) for step, of in servers(plan)}


# --- where ----------------------------------------------------------------------------------------------


def check_plan(described: Lab) -> None:
    """Check that captures are added to the stages with checks, and change nothing else."""
    plan = make_plan(described)
    try:
        captured = with_captures(plan)
    except UsageError:
        return
    assert [[s for s in stage if s.capture is None] for stage in captured.stages] == list(
        map(list, plan.stages)
    )
    ids = [step.id for step in captured.steps]
    assert len(ids) == len(set(ids))
    for stage in captured.stages:
        checks = [s.probe.check for s in stage if s.probe is not None and isinstance(s.probe.check, Check)]
        found = {s.capture.role for s in stage if s.capture is not None}
        assert bool(found) == bool(checks)
        ends = {role for check in checks for role in (check.source, check.destination)}
        assert {role for role in ends if described.is_endpoint(role)} <= found
    for step, of in servers(captured):
        assert is_meant(wrote_all(of.file).argv)
        assert step.ready is not None
        assert is_meant(step.command.argv)
        assert is_meant(step.ready.argv)
        assert step.undo is None
        assert "-p" in step.command.argv


@given(labs())
def test_each_check_is_captured_at_its_ends_and_nothing_else_changes(described: Lab) -> None:
    check_plan(described)


@given(labs_of_hosts())
def test_so_it_is_where_hosts_are_several(described: Lab) -> None:
    check_plan(described)


def test_a_check_is_captured_at_the_host_its_peers_and_its_ends() -> None:
    plan = asking("walkthrough", "l2", Check("test1", "gateway"))
    assert links(plan) == {
        ("host", "host", "eth0"),
        ("host", "gateway", "eth0"),
        ("host", "neighbour", "eth0"),
        ("host", "test1", "test1"),
    }
    assert [str(step.command) for step, of in servers(plan) if of.role == "gateway"] == [
        "ip netns exec gateway tcpdump -i eth0 -p --immediate-mode -U -Z root -w /run/l2.13.2.pcap"
    ]


def test_a_host_shim_is_captured_too() -> None:
    assert ("host", "host", "shim") in links(asking("host-shim", "l3", Check("host", "test1")))
    assert ("host", "host", "shim") not in links(asking("host-shim", "without", Check("host", "test1")))


def test_parents_of_several_hosts_are_left_to_the_cables() -> None:
    plan = asking("two-hosts-l2", "l2", Check("db", "h1"))
    assert links(plan) == {("h2", "db", "db"), ("lan", "gateway", "eth0"), ("lan", "neighbour", "eth0")}


def test_an_endpoint_that_moves_is_captured_where_it_is() -> None:
    plan = with_captures(make_plan(lab("move")))
    phase = next(section for section in plan.sections if section.name == "announced")
    hosts = [
        step.on for stage in phase.stages for step in stage if step.capture and step.capture.role == "web"
    ]
    assert hosts == ["h1", "h2", "h2"]


def test_of_a_real_host_only_what_checks_send_is_captured() -> None:
    real = on_parent(lab("tcp-service"), "eth9", gateway=None, neighbour=None, addresses={}, host=())
    words = {
        tuple(step.command.argv) for step, of in servers(with_captures(make_plan(real))) if of.role == "host"
    }
    assert {argv[argv.index("-w") + 2 :] for argv in words} >= {
        ("arp", "or", "icmp", "or", "icmp6", "or", "tcp", "port", "8080")
    }


def test_checks_of_too_many_endpoints_are_refused() -> None:
    many = replace(new_lab("many", Setting("l2"), MOST), parallel=2 * MOST)
    with pytest.raises(UsageError, match=f"at most {MOST} are captured"):
        with_captures(make_plan(many))


def test_a_guest_has_memory_for_its_captures() -> None:
    plan = make_plan(lab("walkthrough"))
    assert guest_of(with_captures(plan)).memory_mib - guest_of(plan).memory_mib == 5 * 4


# --- files ----------------------------------------------------------------------------------------------


def capture(role: str, dev: str, plan: Plan, *frames: Frame, missing: int = 0, file: str = "x") -> Captured:
    probes = tuple(step.probe for step in plan.steps if step.probe is not None)
    at = [frame.at_us for frame in frames] or [0]
    return Captured(Capture(role, dev, file, "l2", probes), frames, missing, min(at), max(at))


def test_each_link_becomes_a_file_in_which_frames_name_their_check(tmp_path: Path) -> None:
    plan = asking("l2", "l2", Check("test1", "gateway"), Check("test2", "gateway"))
    run = run_of(plan)
    frames = tuple(read_pcap((FRAMES / "l2-answered-test1.pcap").read_bytes()))
    run.captured = [capture("test1", "test1", plan, *frames), capture("gateway", "eth0", plan, *frames[:2])]
    line = write_all(run, tmp_path)
    assert line == f"captured in {tmp_path}: test1.pcapng, gateway.pcapng"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gateway.pcapng", "test1.pcapng"]
    content = (tmp_path / "test1.pcapng").read_bytes()
    assert [bytes(data) for _, data in Reader(BytesIO(content))] == [frame.data for frame in frames]
    assert content.count(b"phase l2: test1 -> gateway") == len(frames)
    assert b"test2" not in content


def test_links_of_one_node_are_files_of_their_own_and_what_is_missing_is_told(tmp_path: Path) -> None:
    plan = asking("l2", "l2", Check("test1", "gateway"))
    run = run_of(plan)
    run.captured = [capture("gateway", "eth0", plan, missing=2), capture("gateway", "eth1", plan, missing=1)]
    assert write_all(run, tmp_path).endswith(
        "gateway@eth0.pcapng, gateway@eth1.pcapng; frames that tcpdump lost: 3"
    )


def test_cables_are_one_file_with_a_link_for_each(tmp_path: Path) -> None:
    plan = asking("two-hosts-l2", "l2", Check("h1", "db"))
    run = run_of(plan)
    before, during = Frame(1, b"before"), Frame(5, b"during " + bytes([192, 168, 104, 222]))
    run.captured = [capture("db", "db", plan, Frame(4, b"first"), Frame(6, b"last"))]
    run.cable_frames = [CableFrame("h1", "eth0", before), CableFrame("h2", "eth0", during)]
    run.captured += on_cables(run.captured, run.cable_frames)
    assert write_all(run, tmp_path) == f"captured in {tmp_path}: db.pcapng, switch.pcapng"
    content = (tmp_path / "switch.pcapng").read_bytes()
    assert [bytes(data) for _, data in Reader(BytesIO(content))] == [before.data, during.data]
    assert content.count(b"phase l2") == content.count(b"phase l2: h1 -> db") == 1
    assert content.index(b"h1 eth0") < content.index(b"h2 eth0") < content.index(b"before")


def test_what_was_on_a_cable_belongs_to_the_stage_in_which_it_was() -> None:
    plan = asking("two-hosts-l2", "l2", Check("h1", "db"))
    stages = [capture("db", "db", plan, Frame(at, b""), Frame(at + 9, b""), file=str(at)) for at in (10, 30)]
    frames = [CableFrame("h1", "eth0", Frame(at, b"")) for at in (9, 10, 19, 20, 35)]
    found = list(on_cables(stages, frames))
    assert [[frame.at_us for frame in each.frames] for each in found] == [[10, 19], [35]]
    assert of_stage([*stages, *found], [stages[1].of]) == (stages[1], found[1])


def test_a_file_of_an_earlier_run_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "test1.pcapng").write_text("old")
    plan = asking("l2", "l2", Check("test1", "gateway"))
    run = run_of(plan)
    run.captured = [capture("test1", "test1", plan)]
    write_all(run, tmp_path)
    assert (tmp_path / "test1.pcapng").read_bytes().startswith(b"\n\r\r\n")
    assert len(list(tmp_path.iterdir())) == 1


def test_nothing_captured_is_told(tmp_path: Path) -> None:
    assert write_all(run_of(make_plan(lab("l2"))), tmp_path) == f"captured in {tmp_path}: nothing"


# --- the command line ---------------------------------------------------------------------------------


@pytest.fixture
def _no_tcpdump(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a target that works, and every program installed but tcpdump."""
    monkeypatch.setattr(Sandbox, "check", lambda _: None)
    monkeypatch.setattr(programs, "find_program", lambda name: None if name == "tcpdump" else f"/bin/{name}")


@pytest.mark.parametrize(
    ("words", "what", "hint"),
    [
        ("run-lab --capture X --target ansible --inventory x", "--target ansible", "--target uml"),
        ("run-lab --capture X --observe", "--observe builds nothing", "--capture"),
        ("run-lab --capture /proc/x", "cannot be created", "a folder of yours"),
        ("run-lab --capture /dev/null", "cannot be created", "a folder of yours"),
        ("explain test1 gateway --capture", "--capture needs --run", "sends no packets"),
    ],
)
def test_what_cannot_be_captured_is_refused_in_one_line(
    words: str, what: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words.split()) == 2
    error, shown_hint = capsys.readouterr().err.splitlines()
    assert what in error
    assert hint in shown_hint


@pytest.mark.usefixtures("_no_tcpdump")
def test_without_tcpdump_it_is_told_what_to_install(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run-lab", "l2", "--target", "sandbox", "--capture", str(tmp_path)]) == 3
    error, hint = capsys.readouterr().err.splitlines()
    assert error.startswith("error: tcpdump is not installed")
    assert hint == "hint: apt install tcpdump"
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_created(tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()


def test_a_preview_shows_each_tcpdump_and_creates_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run-lab", "l2", "--capture", str(tmp_path / "x"), "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert "# capture at the gateway's eth0\nip netns exec gateway tcpdump -i eth0 -p" in shown
    assert list(tmp_path.iterdir()) == []


def test_without_dpkt_no_packet_is_captured_for_an_explanation(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "dpkt", None)
    assert main(["explain", "test1", "gateway", "--run", "--capture"]) == 3
    assert (
        capsys.readouterr().err == "error: reading packets needs dpkt\nhint: pip install 'ipvkit[capture]'\n"
    )
