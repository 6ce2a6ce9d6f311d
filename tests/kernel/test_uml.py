"""The walkthrough on a uml kernel, and that nothing of it stays, however it ends."""

import json
import random
import re
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import jsonschema_rs
import pytest

from command_line import BOUND_S, wait_until
from guest import in_guest
from ipvkit.lab.format import load
from ipvkit.plan.make import make_plan
from ipvkit.run import engine
from ipvkit.run.verdicts import judge
from ipvkit.targets.kernels import PROGRAMS, SHARED, VARIABLE, find
from ipvkit.targets.programs import find_program
from ipvkit.targets.uml import Uml
from namespaces import AS_ROOT
from program import Program

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"


def validate(document: object, schema: str) -> None:
    jsonschema_rs.validate(json.loads((REFERENCE / f"{schema}.schema.json").read_text()), document)


def assert_the_walkthrough_passed(stdout: str) -> None:
    document = json.loads(stdout)
    validate(document, "run-v1")
    assert document["verdict"] == "pass"
    assert document["residue"] == []
    assert document["target"]["kind"] == "uml"
    checks = {p["name"]: p["checks"] for p in document["phases"]}
    told = {
        name: [(c["source"], c["destination"], c["observed"]) for c in phase]
        for name, phase in checks.items()
    }
    assert told == {
        "lan": [],
        "l2": [
            ("test1", "test2", "reachable"),
            ("test2", "test1", "reachable"),
            ("test2", "gateway", "reachable"),
            ("test1", "gateway", "reachable"),
            ("host", "test1", "unreachable"),
        ],
        "l3": [
            ("test1", "gateway", "reachable"),
            ("neighbour", "test1", "unreachable"),
            ("neighbour", "test1", "reachable"),
            ("neighbour", "test1", "expires"),
            ("test1", "gateway", "unreachable"),
            ("host", "test1", "unreachable"),
            ("neighbour", "test1", "reachable"),
        ],
    }
    assert all(check["passed"] for phase in checks.values() for check in phase)
    warm, expired = checks["l3"][0], checks["l3"][3]
    assert "still has an ARP entry" in warm["reason"]
    assert expired["ping"]["received"] > 0
    lived = expired["ping"]["replies"][-1]["timestamp"] - expired["ping"]["replies"][0]["timestamp"]
    assert expired["lifetime_s"] == pytest.approx(lived, abs=0.001)


@pytest.mark.promise
@pytest.mark.parametrize("whose", ["program", "users_program"])
def test_the_walkthrough_passes_as_root_and_for_an_ordinary_user(
    request: pytest.FixtureRequest, whose: str
) -> None:
    program: Program = request.getfixturevalue(whose)
    done = program.run("run-lab", "--target", "uml", "--json")
    assert done.returncode == 0, done.stderr
    assert_the_walkthrough_passed(done.stdout)
    assert program.left_files() == []
    assert program.left_processes() == []


LAB = """\
name: one-fact
about: a parent does not reach its endpoint
parent: eth0
network: {host: 192.168.104.110/24, gateway: 192.168.104.254}
endpoints: [{name: test1, addresses: [192.168.104.211/24]}]
phases:
  - {name: l2, mode: l2, do: [{check: [{from: host, to: test1EXPECT}, {from: test1, to: gateway}]}]}
"""


def test_a_wrong_expectation_ends_with_1_and_the_check_is_named(program: Program) -> None:
    lab = program.folder / "lab.yaml"
    lab.write_text(LAB.replace("EXPECT", ", expect: reachable, why: to see it fail"))
    done = program.run("run-lab", str(lab), "--target", "uml")
    assert done.returncode == 1
    assert "1 of 2 as predicted (DIFFERS: host -> test1)" in done.stdout
    assert "to see it fail" in done.stdout
    lab.write_text(LAB.replace("EXPECT", ""))
    output = program.folder / "result.json"
    done = program.run("run-lab", str(lab), "--target", "uml", "--json", "--output", str(output))
    assert (done.returncode, done.stdout) == (0, "")
    validate(json.loads(output.read_text()), "run-v1")


WORN_OUT = """\
name: worn-out
about: an announced entry serves the first check and not the third
parent: eth0
network: {host: 192.168.104.110/24, gateway: 192.168.104.254, neighbour: 192.168.104.111}
endpoints: [{name: test1, addresses: [192.168.104.211/24]}]
phases:
  - name: l3
    mode: l3
    do:
      - fast-ageing: neighbour
      - check: [{from: neighbour, to: test1}]
      - announce: test1
      - check: [{from: neighbour, to: test1}]
      - check: [{from: host, to: test1}]
      - check: [{from: neighbour, to: test1}]
"""


def test_an_entry_wears_out_as_predicted() -> None:
    plan = make_plan(load(WORN_OUT, "lab.yaml"))
    result = judge(engine.run(plan, Uml(), lambda _event: None))
    assert result.verdict == "pass"
    expected = [check.probe.expected for check in result.checks]
    assert expected == ["unreachable", "reachable", "unreachable", "unreachable"]


def test_a_failing_command_is_undone_and_told_with_its_own_words() -> None:
    plan = make_plan(load(LAB.replace("EXPECT", ""), "lab.yaml"))
    lan, l2 = plan.sections
    make = next(step for step in plan.steps if "type ipvlan" in str(step.command))
    twice = (replace(make, id="l2.again"),)
    at = next(i for i, stage in enumerate(l2.stages) if make in stage) + 1
    broken = replace(l2, stages=(*l2.stages[:at], twice, *l2.stages[at:]), acts=())
    result = judge(engine.run(replace(plan, sections=(lan, broken)), Uml(), lambda _event: None))
    assert (result.verdict, result.exit_code) == ("error", 4)
    assert result.failure is not None
    assert result.failure.command == "ip link add test1 link eth0 type ipvlan mode l2"
    assert "File exists" in result.failure.stderr
    assert result.run.residue == ()
    undone = [str(finished.job.command) for finished in result.run.undone]
    assert undone[:2] == ["ip link delete test1", "ip netns del test1"]
    assert undone[-1] == "ip netns del switch"


def test_the_fixes_of_the_seeds_own_question_work(program: Program) -> None:
    """What a fix adds is undone like everything else, and the phase has one endpoint of the lab's two."""
    done = program.run("explain", "neighbour", "test1", "--phase", "l3", "--run")
    assert done.returncode == 0, done.stderr
    fixes = re.findall(r"^fix \d+, ([\w-]+)", done.stdout, re.MULTILINE)
    assert fixes == ["l3s-proxy", "announce", "mode-l2", "static-neigh", "routed"]
    after = "on the kernel: before unreachable (as predicted), after reachable (as predicted)"
    assert done.stdout.count(after) == len(fixes)


def test_a_run_that_takes_too_long_is_ended(program: Program) -> None:
    done = program.run("run-lab", "--target", "uml", "--timeout", "2")
    assert done.returncode == 4
    assert "did not end in time" in done.stderr
    assert program.left_files() == []
    assert program.left_processes() == []


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP", "SIGKILL"])
def test_a_killed_run_leaves_no_process_and_no_file(
    program: Program, name: str, pytestconfig: pytest.Config
) -> None:
    choice = random.Random(f"{name} {pytestconfig.option.faults_seed}")
    for steps in (0, *choice.sample(range(1, 20), 3 if pytestconfig.option.slow else 1)):
        process = program.start("run-lab", "--target", "uml")
        assert process.stderr is not None
        for _ in range(steps):
            assert process.stderr.readline()
        process.send_signal(signal.Signals[name])
        _, stderr = process.communicate(timeout=BOUND_S)
        wanted = -signal.SIGKILL if name == "SIGKILL" else 130
        # A signal that comes before ipvkit's first line is Python's own affair.
        before = process.returncode == -signal.Signals[name] or "Fatal Python error" in stderr
        assert before or (process.returncode == wanted and "Traceback" not in stderr), stderr
        wait_until(lambda: program.left_processes() == [])
        assert program.left_files() == []


def test_a_guest_for_whoever_types_commands_loads_what_they_ask_for() -> None:
    commands = [
        "ip link add other type dummy",
        "ip link add link other name other.5 type vlan id 5",
        "ip link add mac link other type macvlan mode bridge",
        "tc qdisc add dev other clsact",
        "tc filter add dev other ingress protocol ip pref 1 flower src_ip 192.0.2.1 action pass",
        "ip -br link show type macvlan | wc --lines",
    ]
    said = in_guest(" && ".join(commands), fresh=True)
    assert (said.exit_code, said.output.split()) == (0, ["1"])


def test_the_guest_cannot_write_to_the_host() -> None:
    said = in_guest("touch /etc/ipvkit-was-here", fresh=True)
    assert said.exit_code != 0
    assert "Read-only file system" in said.output
    assert not Path("/etc/ipvkit-was-here").exists()


def test_processes_that_run_concurrently_in_a_guest_keep_their_vector_registers() -> None:
    """As they would not if the kernel saved fewer than the CPU has."""
    digest = "sha512sum /bin/bash; b2sum /bin/bash"
    here = subprocess.run(["bash", "-c", digest], capture_output=True, text=True, check=True).stdout  # noqa: S607
    said = in_guest(f"for n in {{1..12}}; do ({digest}; {digest}) >/run/$n & done; wait; cat /run/{{1..12}}")
    assert said.output == here * 24


def test_a_guest_measures_nothing_at_its_start() -> None:
    """Which RAID routine is the fastest takes the kernel a second, under other names in each release."""
    said = in_guest("dmesg | grep -oE 'Linux version|[0-9]+ MB/s'", fresh=True)
    assert (said.exit_code, said.output) == (0, "Linux version\n")


@pytest.mark.promise
def test_the_doctor_has_started_a_uml_kernel(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    done = program.run("doctor", "--json")
    assert done.returncode == 0, done.stdout
    document = json.loads(done.stdout)
    validate(document, "doctor-v1")
    uml = next(target for target in document["targets"] if target["kind"] == "uml")
    assert uml["works"]
    assert uml["kernel"] == find().release
    assert program.left_files() == []
    assert program.left_processes() == []


def hide(program: Program, *hidden: str) -> None:
    """Have `program` run where the programs `hidden` are not installed."""
    tools = program.folder / "bin"
    tools.mkdir()
    for tool in Path("/usr/bin").iterdir():
        if tool.name not in hidden:
            (tools / tool.name).symlink_to(tool)
    program.environment["PATH"] = str(tools)


@pytest.mark.parametrize(
    ("command", "hidden", "mend"),
    [
        (["run-lab"], "arping", "apt install iputils-arping"),
        (["run-lab", "--prober", "fping"], "fping", "apt install fping"),
        (["doctor"], "ping", "apt install iputils-ping"),
    ],
)
def test_a_missing_program_is_told_in_a_line(
    program: Program, command: list[str], hidden: str, mend: str
) -> None:
    hide(program, hidden)
    done = program.run(*command)
    assert done.returncode == 3, done.stderr
    assert mend in done.stdout + done.stderr


KERNEL_FOR = {"fpu": "apt install user-mode-linux", "fpu amx_tile": "ipvkit kernels fetch 7.2"}
"""What gets a kernel that runs on a CPU with these flags."""


@pytest.mark.parametrize("flags", KERNEL_FOR)
@pytest.mark.parametrize("command", [["run-lab", "--target", "uml"], ["run-lab"], ["doctor"]])
def test_a_missing_kernel_is_told_in_a_line_with_one_for_this_cpu(
    program: Program, command: list[str], flags: str
) -> None:
    # A sandbox would do where this machine's kernel has ipvlan.
    hide(program, *PROGRAMS, "unshare")
    cpu = program.folder / "cpuinfo"
    cpu.write_text(f"flags\t\t: {flags}\n")
    lines = f"mount --bind {cpu} /proc/cpuinfo; [[ ! -d {SHARED} ]] || mount -t tmpfs tmpfs {SHARED}"
    unshare, *as_root = AS_ROOT
    inside = (str(find_program(unshare)), *as_root, "--mount", "bash", "-ec", f'{lines}; exec "$@"', "inside")
    program.python = (*inside, *program.python)
    done = program.run(*command)
    assert done.returncode == 3, done.stderr
    assert [get for get in KERNEL_FOR.values() if get in done.stdout + done.stderr] == [KERNEL_FOR[flags]]
