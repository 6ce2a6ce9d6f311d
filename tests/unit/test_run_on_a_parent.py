"""`ipvkit run-lab --parent`, from the command line to the report, on fake programs."""

import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any
from unittest.mock import patch

import jsonschema_rs
import pytest

from ipvkit.cli import main
from ipvkit.core.values import address, interface_address
from ipvkit.host.checks import Request
from ipvkit.lab import Endpoint, Outcome, Setting, gallery, on_parent
from ipvkit.lab.format import load
from ipvkit.plan.make import make_plan
from ipvkit.plan.resources import Netns
from ipvkit.plan.steps import Plan
from ipvkit.run import journal
from ipvkit.run.journal import Entry
from ipvkit.targets.ipvlan import require_ipvlan
from ipvkit.targets.local import Local
from ipvkit.verbs.doctor import check
from recorder import PROBE_FOR_IPVLAN, Answer, Recorder, answered, unanswered, watched_to_its_end

pytestmark = pytest.mark.long

SCHEMA = Path(__file__).parents[2] / "docs" / "reference" / "run-v1.schema.json"

ETH0: dict[str, Any] = {
    "ifname": "eth0",
    "ifindex": 2,
    "flags": ["BROADCAST", "UP", "LOWER_UP"],
    "addr_info": [{"family": "inet", "local": "192.168.104.110", "prefixlen": 24}],
}
SHOW = "ip -json -details addr show"


def asks(address: str) -> str:
    """Return the line that asks whether somebody has `address`."""
    return f"arping -c 2 -w 3 -D -I eth0 {address}"


def nobody_has(address: str) -> Answer:
    return Answer(
        f"ARPING {address} from 0.0.0.0 eth0\nSent 2 probes (2 broadcast(s))\nReceived 0 response(s)\n"
    )


def somebody_has(address: str, lladdr: str) -> Answer:
    return Answer(
        f"ARPING {address} from 0.0.0.0 eth0\nUnicast reply from {address} [{lladdr}]  0.590ms\n"
        "Sent 1 probes (1 broadcast(s))\nReceived 1 response(s)\n",
        exit_code=1,
    )


MACHINE = {
    SHOW: Answer(json.dumps([ETH0])),
    "ip -json -4 route show default dev eth0": Answer(
        json.dumps([{"dst": "default", "gateway": "192.168.104.254"}])
    ),
    "ip -json netns list": Answer(""),
    **{asks(address): nobody_has(address) for address in ("192.168.104.211", "192.168.104.212")},
}
"""A machine with eth0 in the walkthrough's subnet, and its gateway."""

SHORT = (
    gallery.text("walkthrough").partition("  - name: l2")[0]
    + """\
  - name: only
    mode: l3
    do:
      - check: [{from: test1, to: test2}]
      - announce: test1
      - check:
          - {from: test1, to: gateway}
          - {from: host, to: test1}
"""
)
"""The walkthrough's network and endpoints, and one phase with something of everything."""

Ran = tuple[int, str, str]


CHECK = Local.check


def may(_: Local, *, ipvlan: bool = True) -> None:
    """Let an ordinary user do what root may: nothing here is done to this machine."""
    if ipvlan:
        require_ipvlan()


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    recorder = Recorder(tmp_path / "recorder")
    with (
        patch.dict(os.environ, PATH=recorder.path, XDG_STATE_HOME=str(tmp_path)),
        patch.object(Local, "check", may),
    ):
        yield recorder


@pytest.fixture
def run(recorder: Recorder, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., Ran]:
    file = tmp_path / "short.yaml"
    file.write_text(SHORT)

    def run(*options: str, but: Mapping[str, Answer] | None = None) -> Ran:
        recorder.answer({**MACHINE, **pings(), **(but or {})})
        code = main(["run-lab", str(file), "--parent", "eth0", *options])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def plan() -> Plan:
    lab = load(SHORT, "short.yaml")
    host, gateway = interface_address("192.168.104.110/24"), address("192.168.104.254")
    return make_plan(on_parent(lab, "eth0", host=(host,), gateway=gateway))


def pings() -> dict[str, Answer]:
    found = {}
    for step in plan().steps:
        if step.probe is not None:
            to = str(step.probe.address)
            found[str(step.command)] = {
                Outcome.REACHABLE: Answer(answered(to)),
                Outcome.UNREACHABLE: Answer(unanswered(to), exit_code=1),
                Outcome.EXPIRES: Answer(watched_to_its_end(to)),
            }[step.probe.expected]
    return found


def changes(recorder: Recorder) -> list[str]:
    """Return the lines that were started and change something."""
    lines = [mark.line for mark in recorder.log() if mark.event == "begin"]
    looks = ("ip -all netns exec ip -json", "sysctl -n", "arping -c 2 -w 3 -D")
    own = [line for line in lines if not line.startswith(looks) and line != PROBE_FOR_IPVLAN]
    return [line for line in own if not re.match(r"ip (-n \S+ )?-json ", line)]


def test_a_run_prints_its_table_on_stdout_and_its_progress_on_stderr(
    run: Callable[..., Ran], recorder: Recorder
) -> None:
    code, out, err = run()
    assert any("192.168.104.254" in line for line in changes(recorder)), "the parent's own gateway"
    assert code == 0
    assert out.splitlines()[-1].startswith("walkthrough: 3 of 3 as predicted")
    assert "create namespace test1" in err
    assert "\x1b" not in out + err


@pytest.mark.parametrize("no_color", [False, True])
def test_colour_is_for_a_terminal_without_no_color(
    run: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch, no_color: bool
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if no_color:
        monkeypatch.setenv("NO_COLOR", "1")
    _, out, _ = run()
    assert ("\x1b[32mas predicted\x1b[0m" in out) != no_color
    assert ("\x1b" in out) != no_color
    assert max(len(line) for line in out.splitlines()[:-1] if "\x1b" not in line) <= 120


def test_the_gateway_is_the_one_that_is_given(run: Callable[..., Ran], recorder: Recorder) -> None:
    run("--gateway", "192.168.104.9")
    assert any("ping" in line and "192.168.104.9" in line for line in changes(recorder))
    assert not any("192.168.104.254" in line for line in changes(recorder))


def test_with_json_a_run_prints_exactly_one_document(run: Callable[..., Ran]) -> None:
    code, out, _ = run("--json")
    document = json.loads(out)
    jsonschema_rs.validate(json.loads(SCHEMA.read_text()), document)
    assert (code, document["verdict"]) == (0, "pass")
    assert document["target"]["kind"] == "local"


def test_a_check_that_comes_out_otherwise_is_exit_code_1(run: Callable[..., Ran]) -> None:
    line = "ip netns exec test1 ping -c 6 -i 0.2 -W 1 192.168.104.212"
    assert line in pings()
    code, out, _ = run(but={line: Answer(unanswered("192.168.104.212"), exit_code=1)})
    assert code == 1
    assert "(DIFFERS: test1 -> test2)" in out.splitlines()[-1]


def test_a_command_that_fails_is_told_whole_and_is_exit_code_4(
    run: Callable[..., Ran], recorder: Recorder
) -> None:
    line = "ip link set test1 netns test1"
    code, out, err = run(but={line: Answer("", "RTNETLINK answers: File exists\n", 2)})
    assert code == 4
    assert out.splitlines()[-1].startswith("error: ")
    told = err.splitlines()
    at = next(number for number, text in enumerate(told) if text.startswith("error: "))
    assert told[at + 1] == f"  command: {line}"
    assert told[at + 2] == "  RTNETLINK answers: File exists"
    assert told[at + 3].startswith("hint: ")
    assert "undone" in told[at + 3]
    assert changes(recorder)[-4:] == [
        *("ip netns exec test2 ip link delete test2", "ip link delete test1"),
        *("ip netns del test2", "ip netns del test1"),
    ]


@pytest.mark.parametrize("options", [[], ["--json"]], ids=["table", "json"])
def test_output_writes_the_whole_result_and_prints_nothing(
    run: Callable[..., Ran], tmp_path: Path, options: list[str]
) -> None:
    folder = tmp_path / "results"
    folder.mkdir()
    code, out, err = run("--output", str(folder / "result"), *options)
    written = (folder / "result").read_text()
    assert (code, out) == (0, "")
    assert str(folder / "result") in err.splitlines()[-1]
    assert (
        json.loads(written)["verdict"] == "pass" if options else "walkthrough: 3 of 3 as predicted" in written
    )
    assert [path.name for path in folder.iterdir()] == ["result"]


def test_output_that_cannot_be_written_is_told_before_anything_is_run(
    run: Callable[..., Ran], recorder: Recorder, tmp_path: Path
) -> None:
    code, _, err = run("--output", str(tmp_path / "none" / "run.json"))
    assert code == 2
    assert "cannot be written" in err
    assert recorder.log() == []


def undo_lines() -> list[str]:
    return [str(step.undo.command(step.undo.typical)) for step in plan().undos if step.undo is not None]


def test_keep_undoes_nothing_and_tells_how_to(
    run: Callable[..., Ran], recorder: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = run("--keep")
    assert code == 0
    made = iter(changes(recorder))
    for stage in plan().stages:
        # Side by side, in whatever order.
        expected = [str(s.command) for s in stage if s.command.argv[:2] != ("sysctl", "-n")]
        assert sorted(islice(made, len(expected))) == sorted(expected)
    assert list(made) == []
    assert err.splitlines()[-1] == "kept; to take it down, type: ipvkit down walkthrough"
    assert main(["status", "--json"]) == 0
    (kept,) = json.loads(capsys.readouterr().out)["runs"]
    assert (kept["lab"], kept["state"]) == ("walkthrough", "up")
    assert [held["undo"] for held in kept["holds"]] == undo_lines()


def test_what_another_lab_holds_is_told_with_what_to_type(run: Callable[..., Ran]) -> None:
    with journal.started("other") as ledger:
        ledger.begin([Entry("x", "make it", Netns("test1"))])
    code, _, err = run(but={"ip -json netns list": Answer('[{"name": "test1"}]')})
    assert code == 2
    assert err.splitlines()[-1] == "hint: lab other holds netns test1: ipvkit cleanup other"


def test_the_leftovers_of_a_crashed_run_come_with_the_command_before_the_run(run: Callable[..., Ran]) -> None:
    with journal.started("other") as ledger:
        ledger.begin([Entry("x", "make it", Netns("theirs"))])
    with journal.started("up") as ledger:
        ledger.begin([Entry("x", "make it", Netns("kept"))])
        ledger.keep()
    code, _, err = run()
    assert code == 0
    assert err.splitlines()[0] == "note: lab other was interrupted and is not undone: ipvkit cleanup other"
    assert err.count("cleanup") == 1


@pytest.mark.parametrize(
    ("line", "answer", "exit_code", "says"),
    [
        (SHOW, Answer("[]"), 2, "no such interface: eth0"),
        ("ip -json netns list", Answer('[{"name": "test1"}]'), 2, "network namespace test1 already exists"),
        (
            *(asks("192.168.104.212"), somebody_has("192.168.104.212", "02:00:00:00:00:09")),
            *(2, "test2's 192.168.104.212 is in use: 02:00:00:00:00:09 answered"),
        ),
        (PROBE_FOR_IPVLAN, Answer("", "Error: Unknown device type.\n", 2), 3, "no ipvlan"),
        (SHOW, Answer("what?"), 4, "not understood"),
        (SHOW, Answer("", "Cannot open netlink socket", 1), 4, "netlink"),
    ],
    ids=["no parent", "a namespace", "an address in use", "no ipvlan", "another ip", "an ip that fails"],
)
def test_what_stands_in_the_way_is_told_before_anything_is_changed(
    run: Callable[..., Ran], recorder: Recorder, line: str, answer: Answer, exit_code: int, says: str
) -> None:
    code, out, err = run(but={line: answer})
    assert (code, out) == (exit_code, "")
    assert says in err
    assert err.startswith("error: ")
    assert "ipvkit cleanup" not in err, "nothing is on record"
    assert changes(recorder) == []


def test_a_warning_is_told_and_stops_nothing(run: Callable[..., Ran], recorder: Recorder) -> None:
    no_carrier = {**ETH0, "flags": ["NO-CARRIER", "UP"]}
    code, _, err = run(but={SHOW: Answer(json.dumps([no_carrier]))})
    assert code == 0
    assert "warning: eth0 has no carrier; check its cable and its switch\n" in err
    assert not any(mark.line.startswith("arping -c 2 -w 3 -D") for mark in recorder.log())


def test_warnings_come_behind_the_errors_that_stop_a_run(run: Callable[..., Ran]) -> None:
    no_carrier = {**ETH0, "flags": ["NO-CARRIER", "UP"], "master": "br0"}
    code, _, err = run(but={SHOW: Answer(json.dumps([no_carrier]))})
    told = [line.strip() for line in err.splitlines()]
    assert code == 2
    assert told[0] == "error: lab walkthrough cannot start on eth0:"
    assert told[1] == "eth0 is a port of br0; use br0 as the parent"
    assert "warning: eth0 has no carrier; check its cable and its switch" in told[2:]


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (
            Answer("", "arping: socket: Operation not permitted\n", 2),
            "arping: socket: Operation not permitted",
        ),
        (Answer("hm?"), "the output of arping was not understood"),
    ],
)
def test_that_nobody_could_be_asked_is_a_warning(run: Callable[..., Ran], answer: Answer, says: str) -> None:
    code, _, err = run(but={asks("192.168.104.211"): answer})
    assert code == 0
    assert f"warning: not checked whether an address is in use: {says}" in err


def test_without_root_nothing_is_run(run: Callable[..., Ran], recorder: Recorder) -> None:
    with patch.object(Local, "check", CHECK), patch("os.geteuid", lambda: 1000):
        code, out, err = run()
    assert (code, out) == (3, "")
    assert "only root" in err
    assert "sudo" in err.partition("hint: ")[2]
    assert recorder.log() == []


# --- doctor --parent ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--mode", "l2"], "need --parent"),
        (["--address", "192.0.2.1/24"], "need --parent"),
        (["--parent", "eth0", "--flag", "vepa"], "--flag needs --mode"),
        (["--parent", "-eth0"], "invalid interface name"),
        (["--parent", "eth0", "--address", "192.0.2.1"], "has no prefix length"),
        (["--parent", "eth0", "--mode", "l4"], "'l4'"),
    ],
)
def test_doctor_refuses_options_that_say_nothing(
    capsys: pytest.CaptureFixture[str], options: list[str], says: str
) -> None:
    assert main(["doctor", *options]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert says in captured.err


def test_a_parent_is_inspected_with_looks_alone(recorder: Recorder) -> None:
    taken = somebody_has("192.168.104.212", "02:00:00:00:00:09")
    recorder.answer({**MACHINE, asks("192.168.104.212"): taken})
    addresses = [interface_address(f"192.168.104.{host}/24") for host in (211, 212)]
    endpoint = Endpoint("", tuple(addresses), "", "eth0")
    found = check(Request("eth0", (Setting("l2"),), (endpoint,))).of("error")
    assert [one.what for one in found] == ["192.168.104.212 is in use: 02:00:00:00:00:09 answered"]
    assert changes(recorder) == []


def test_that_the_machine_cannot_be_looked_at_is_a_finding(recorder: Recorder) -> None:
    recorder.answer({SHOW: Answer("", "Cannot open netlink socket\n", 1)})
    (found,) = check(Request("eth0")).findings
    assert (found.code, found.severity) == ("not-looked-at", "error")
    assert found.what == "the state of this machine could not be read: Cannot open netlink socket"
    assert found.fix
