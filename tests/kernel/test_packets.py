"""Packets of real kernels: what is captured proves why a pair works or does not, and nothing of it stays."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from command_line import BOUND_S, wait_until
from guest import in_guest, simulated_lan
from ipvkit.targets.programs import find_program
from program import Program
from test_uml import validate

LAB = """\
name: captured
about: answered in l2, unanswered in l3
parent: eth0
network: {host: 192.168.104.110/24, gateway: 192.168.104.254, neighbour: 192.168.104.111}
endpoints:
  - {name: test1, addresses: [192.168.104.211/24]}
phases:
  - name: l2
    mode: l2
    do:
      - check: [{from: test1, to: gateway}]
  - name: l3
    mode: l3
    do:
      - check: [{from: neighbour, to: test1}]
"""


def frames(file: Path) -> list[str]:
    """Return the frames of a file as tcpdump prints them, without the time."""
    done = subprocess.run(
        [str(find_program("tcpdump")), "-t", "-n", "-r", str(file)],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


@pytest.mark.promise
def test_l2_answers_and_l3_does_not(program: Program) -> None:
    folder = program.places[2]
    (folder / "lab.yaml").write_text(LAB)
    done = program.run("run-lab", "lab.yaml", "--target", "uml", "--capture", "packets", "--report", "x.html")
    assert done.returncode == 0, done.stderr
    names = ["gateway.pcapng", "host.pcapng", "neighbour.pcapng", "test1.pcapng"]
    assert sorted(path.name for path in (folder / "packets").iterdir()) == names
    assert "packets: " not in done.stdout
    assert f"captured in packets: {', '.join(sorted(names, key=done.stderr.find))}" in done.stderr

    asked = "ARP, Request who-has 192.168.104.211 tell 192.168.104.111, length 28"
    at_neighbour = frames(folder / "packets" / "neighbour.pcapng")
    assert at_neighbour.count(asked) >= 2
    assert not [line for line in at_neighbour if "192.168.104.211 is-at" in line]
    at_test1 = frames(folder / "packets" / "test1.pcapng")
    assert (
        len([line for line in at_test1 if "192.168.104.254 > 192.168.104.211: ICMP echo reply" in line]) == 6
    )
    assert len([line for line in at_test1 if re.match("ARP, Reply 192.168.104.254 is-at", line)]) == 1
    comments = (folder / "packets" / "neighbour.pcapng").read_bytes()
    assert b"phase l3: neighbour -> test1" in comments

    page = (folder / "x.html").read_text()
    assert "neighbour: ARP who-has 192.168.104.211 tell 192.168.104.111" in page
    assert "test1: ICMP echo request 192.168.104.211 &gt; 192.168.104.254, 6 times" in page
    assert program.left_processes() == []


def test_an_explanation_is_proved_by_its_packets(program: Program) -> None:
    (program.places[2] / "lab.yaml").write_text(LAB)
    words = "explain neighbour test1 lab.yaml --phase l3 --run --capture --target uml"
    done = program.run(*words.split(), "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    validate(document, "explain-v1")
    [explained] = document["explanations"]
    asked = [p for p in explained["packets"] if p["packet"].startswith("ARP who-has 192.168.104.211 tell")]
    assert {p["node"]: p["sent"] for p in asked}["neighbour"] is True
    assert all(p["count"] >= 2 and p["answered"] == 0 for p in asked)
    for fix in explained["mends"]:
        echo = [p for p in fix["packets"] if "ICMP echo request" in p["packet"] and p["node"] == "neighbour"]
        # If the fix came within three seconds, it sends what the ping before has left in the queue, too.
        assert [p["answered"] for p in echo] in ([6], [12]), fix["name"]
        assert echo[0]["count"] == echo[0]["answered"], fix["name"]
    assert program.left_files() == [str(program.places[2] / "lab.yaml")]
    assert program.left_processes() == []


def test_on_several_hosts_what_their_cables_carry_is_one_file(program: Program) -> None:
    done = program.run("run-lab", "two-hosts-l2", "--target", "uml", "--capture", "packets")
    assert done.returncode == 0, done.stderr
    folder = program.places[2] / "packets"
    names = ["db", "gateway", "neighbour", "switch", "web@h1", "web@h2"]
    assert sorted(path.stem for path in folder.iterdir()) == names
    lines = frames(folder / "switch.pcapng")
    request = "IP 192.168.104.211 > 192.168.104.221: ICMP echo request"
    # On the cable of each of the two hosts.
    assert len([line for line in lines if line.startswith(request)]) == 12
    # Both endpoints are on one host: nothing of it is on a cable.
    assert not [line for line in lines if line.startswith("IP 192.168.104.221 > 192.168.104.222: ICMP")]
    assert b"h1 eth0" in (folder / "switch.pcapng").read_bytes()
    assert program.left_processes() == []


@pytest.mark.parametrize("name", ["SIGINT", "SIGKILL"])
@pytest.mark.parametrize("lab", ["l2", "two-hosts-l2"])
def test_a_run_that_is_killed_while_it_captures_leaves_nothing(program: Program, lab: str, name: str) -> None:
    process = program.start("run-lab", lab, "--target", "uml", "--capture", "packets")
    assert process.stderr is not None
    while "capture at " not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.Signals[name])
    _, stderr = process.communicate(timeout=BOUND_S)
    assert process.returncode == (-signal.SIGKILL if name == "SIGKILL" else 130), stderr
    assert "Traceback" not in stderr
    wait_until(lambda: program.left_processes() == [])
    # What was captured by then on cables is a whole file.
    folder = program.places[2] / "packets"
    assert set(program.left_files()) <= {str(folder), str(folder / "switch.pcapng")}
    assert all(frames(file) for file in folder.iterdir())


IPVKIT = f"{sys.executable} -m ipvkit"

LATE = """\
(
  until [[ $(find /run/ipvkit -name '*.pcap' -size +0 | wc -l) == 2 ]]; do sleep 0.01; done
  pkill -STOP -x tcpdump
  until pgrep -x ping; do sleep 0.01; done
  while pgrep -x ping; do sleep 0.01; done
  sleep 1
  pkill -CONT -x tcpdump
) >/dev/null 2>&1 &
"""
"""Holds both tcpdumps up from when they capture until a second after the ping, as on a busy machine."""


def test_on_a_real_parent_only_what_concerns_the_checks_is_captured_and_nothing_stays() -> None:
    said = in_guest(
        f"{simulated_lan()}mkdir /run/lab; cd /run/lab; cat >lab.yaml <<'END'\n{LAB}END\n"
        # Other traffic of this machine.
        "(while :; do socat -u - UDP:192.168.104.254:9 <<<x; done) 2>/dev/null & other=$!\n"
        f"{LATE}"
        f"{IPVKIT} run-lab lab.yaml --target local --parent eth0 --capture packets; code=$?; kill $other\n"
        "ls packets; ls -A /run/ipvkit 2>&1; pgrep -x tcpdump\n"
        "echo frames $(tcpdump -t -n -r packets/host.pcapng 2>/dev/null | grep -c 'ICMP echo reply')\n"
        "echo others $(tcpdump -t -n -r packets/host.pcapng 2>/dev/null | grep -c UDP)\n"
        "exit $code",
        timeout_s=180,
    )
    assert said.exit_code == 0, said.output
    after = said.output.rpartition("captured in packets: ")[2].splitlines()
    assert after == [
        "host.pcapng, test1.pcapng",
        *("host.pcapng", "test1.pcapng"),
        "ls: cannot access '/run/ipvkit': No such file or directory",
        *("frames 6", "others 0"),
    ]


def test_after_a_kill_on_a_real_parent_the_cleanup_removes_the_captures_too() -> None:
    said = in_guest(
        f"{simulated_lan()}mkdir /run/lab; cd /run/lab; cat >lab.yaml <<'END'\n{LAB}END\n"
        f"{IPVKIT} run-lab lab.yaml --target local --parent eth0 --capture packets & run=$!\n"
        "until compgen -G '/run/ipvkit/*.scratch/*.pcap' >/dev/null; do sleep 0.1; done\n"
        "kill -KILL $run; wait $run\n"
        "while pgrep -x tcpdump >/dev/null; do sleep 0.1; done\n"
        f"ls /run/ipvkit; {IPVKIT} cleanup captured >/dev/null 2>&1; echo exits $?\n"
        "ls -A /run/ipvkit; ls packets",
        timeout_s=180,
    )
    *_, left = said.output.partition("captured.jsonl\n")
    assert left.splitlines() == [
        "captured.scratch",
        "exits 0",
        "ls: cannot access '/run/ipvkit': No such file or directory",
    ]
