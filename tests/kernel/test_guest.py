"""`local`, `sandbox` and the exported script, inside a uml guest with real ipvlan."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from guest import Said, in_guest, simulated_lan
from program import AS_A_USER

IPVKIT = f"{sys.executable} -m ipvkit"
A_USER = shlex.join(AS_A_USER)


def on_a_real_nic(script: str) -> Said:
    """Run `script` in a guest that has a NIC with a gateway and a neighbour, built by other hands."""
    return in_guest(simulated_lan() + script)


def document_in(said: Said) -> dict[str, object]:
    start = said.output.index('{\n  "schema"')
    found: dict[str, object] = json.JSONDecoder().raw_decode(said.output[start:])[0]
    return found


SHOW = "ip -br link; ip -br addr; ip netns list | sort; sysctl net.ipv4.ip_nonlocal_bind; ls /run/netns"


@pytest.mark.promise
def test_the_walkthrough_runs_on_a_real_nic_and_leaves_it_as_it_was() -> None:
    said = on_a_real_nic(
        f"({SHOW}) >/run/before\n"
        f"{IPVKIT} run-lab --target local --parent eth0 --json 2>/run/progress; code=$?\n"
        f"({SHOW}) >/run/after\n"
        "diff /run/before /run/after && exit $code"
    )
    assert said.exit_code == 0, said.output
    document = document_in(said)
    assert document["verdict"] == "pass"
    assert document["residue"] == []
    phases = document["phases"]
    assert isinstance(phases, list)
    checks = [check for phase in phases for check in phase["checks"]]
    asked = [(c["source"], c["destination"], c["observed"]) for c in checks if c["skipped"] is None]
    assert asked == [
        ("test1", "test2", "reachable"),
        ("test2", "test1", "reachable"),
        ("test2", "gateway", "reachable"),
        ("test1", "gateway", "reachable"),
        ("host", "test1", "unreachable"),
        ("test1", "gateway", "reachable"),
        ("host", "test1", "unreachable"),
    ]
    skipped = [check for check in checks if check["skipped"] is not None]
    assert len(skipped) == 5
    assert all(check["passed"] is None and check["observed"] is None for check in skipped)
    assert "another machine" in skipped[0]["skipped"]


@pytest.mark.parametrize(
    ("obstacle", "told"),
    [
        ("ip netns add test1; ip netns add test2", ["namespace test1", "namespace test2"]),
        pytest.param(
            "ip link add test1 type veth peer name x",
            ["link test1 already exists"],
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "ip link add br1 type bridge; ip link set eth0 master br1",
            ["eth0 is a port of br1"],
            marks=pytest.mark.slow,
        ),
        (
            "modprobe -d /run/modules macvlan; ip link add mac0 link eth0 type macvlan",
            ["the macvlan link mac0"],
        ),
        pytest.param(
            "ip link add ipv0 link eth0 type ipvlan mode l3s",
            ["ipvlan link ipv0 in l3s bridge", "would change to"],
            marks=pytest.mark.slow,
        ),
        pytest.param("ip link set eth0 down", ["eth0 is down"], marks=pytest.mark.slow),
        pytest.param(
            "ip addr flush dev eth0; ip addr add 10.0.0.5/24 dev eth0",
            ["not in eth0's subnet 10.0.0.0/24"],
            marks=pytest.mark.slow,
        ),
        ("ip link set eth0 name eth1", ["no such interface: eth0"]),
    ],
)
def test_an_obstacle_is_refused_before_anything_is_changed(obstacle: str, told: list[str]) -> None:
    said = on_a_real_nic(
        f"{obstacle}\n({SHOW}) >/run/before\n"
        f"{IPVKIT} run-lab --target local --parent eth0; code=$?\n"
        f"({SHOW}) >/run/after\n"
        "diff /run/before /run/after && exit $code"
    )
    assert said.exit_code == 2, said.output
    for words in told:
        assert words in said.output


HOLDS = """
import ctypes, os, socket, time
held = socket.socket()
with open("/proc/1/ns/net") as first:
    assert ctypes.CDLL(None).setns(first.fileno(), 0) == 0
open("/run/held", "w").close()
time.sleep(300)
"""
"""A process that holds the network namespace in which it starts by a socket, and is in the first one."""


@pytest.mark.slow
def test_a_command_that_fails_on_a_real_nic_is_undone() -> None:
    # The kernel refuses the duplicate; a namespace that only a socket holds cannot be looked at.
    said = on_a_real_nic(
        "ip netns add other; ip link add ipv0 link eth0 type ipvlan mode l2; ip link set ipv0 netns other\n"
        "ip -n other addr add 192.168.104.211/24 dev ipv0; ip -n other link set ipv0 up\n"
        f"ip netns exec other {sys.executable} -c '{HOLDS}' >/dev/null 2>&1 &\n"
        "until [[ -e /run/held ]]; do sleep 0.05; done; ip netns del other\n"
        f"({SHOW}) >/run/before\n"
        "cat >/run/lab.yaml <<'LAB'\n"
        "{name: x, about: x, parent: eth0,\n"
        " network: {host: 192.168.104.110/24, gateway: 192.168.104.254},\n"
        " endpoints: [{name: test1, addresses: [192.168.104.211/24]}],\n"
        " phases: [{name: l2, mode: l2, do: [{check: {from: test1, to: gateway}}]}]}\n"
        "LAB\n"
        "sed -i 's/check: {from: test1, to: gateway}/check: [{from: test1, to: gateway}]/' /run/lab.yaml\n"
        f"{IPVKIT} run-lab /run/lab.yaml --parent eth0; code=$?\n"
        f"({SHOW}) >/run/after\n"
        "diff /run/before /run/after && exit $code"
    )
    assert said.exit_code == 4, said.output
    assert "ip netns exec test1 ip addr add 192.168.104.211/24 dev test1" in said.output
    assert "Address already assigned to an ipvlan device" in said.output
    assert "hint: what was done has been undone" in said.output


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("INT", marks=pytest.mark.promise),
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("TERM", "HUP")),
    ],
)
def test_a_signal_on_a_real_nic_undoes_what_was_done(name: str) -> None:
    said = on_a_real_nic(
        f"({SHOW}) >/run/before\n"
        # bash starts background commands with ^C ignored; ipvkit must not inherit that here.
        f"env --default-signal=INT {IPVKIT} run-lab --parent eth0 2>/run/progress &\n"
        "for i in $(seq 2000); do grep -q 'ping host' /run/progress && break; sleep 0.2; done\n"
        f"kill -{name} $!; wait $!; code=$?\n"
        f"({SHOW}) >/run/after; cat /run/progress\n"
        "diff /run/before /run/after && exit $code"
    )
    assert said.exit_code == 130, said.output
    assert f"SIG{name}: no further step begins" in said.output


def test_what_is_kept_is_taken_down_as_was_told() -> None:
    said = on_a_real_nic(
        f"({SHOW}) >/run/before\n"
        f"{IPVKIT} run-lab --parent eth0 --keep 2>/run/told || exit 1\n"
        # It works, and the host may still announce it: how old the gateway's entry is depends on the run.
        "ip netns exec test1 ping -c 1 -W 1 192.168.104.254\n"
        "arping -c 2 -U -I eth0 192.168.104.211\n"
        "ip netns exec test1 ping -c 1 -W 1 192.168.104.254 || exit 2\n"
        "grep -x 'kept; to take it down, type: ipvkit down walkthrough' /run/told || exit 3\n"
        f"{IPVKIT} down walkthrough || exit 4\n"
        f"({SHOW}) >/run/after\n"
        "diff /run/before /run/after"
    )
    assert said.exit_code == 0, said.output
    assert "ip netns del test1" in said.output


def exported(*arguments: str) -> str:
    command = [sys.executable, "-m", "ipvkit", "export-script", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def in_a_file(text: str, path: str) -> str:
    return f"cat >{shlex.quote(path)} <<'END OF FILE'\n{text}END OF FILE\nchmod 644 {path}\n"


def verdicts(output: str) -> list[str]:
    """Return what a script printed of each check and attempt, sorted: its name, and what was observed."""
    line = r"^(?:as predicted |DIFFERS      ) (.*?: )(?:predicted \w+, observed )?(\w+)"
    return sorted("".join(found) for found in re.findall(line, output, re.MULTILINE))


WALKTHROUGH_CHECKS = sorted(
    [
        "test1 -> test2 192.168.104.212: reachable",
        "test2 -> test1 192.168.104.211: reachable",
        "test2 -> gateway 192.168.104.254: reachable",
        "test1 -> gateway 192.168.104.254: reachable",
        "host -> test1 192.168.104.211: unreachable",
        "test1 -> gateway 192.168.104.254: reachable",
        "neighbour -> test1 192.168.104.211: unreachable",
        "host -> test1 192.168.104.211: unreachable",
        "neighbour -> test1 192.168.104.211: reachable",
        "neighbour -> test1 192.168.104.211: expires",
        "test1 -> gateway 192.168.104.254: unreachable",
        "neighbour -> test1 192.168.104.211: reachable",
    ]
)


@pytest.mark.parametrize(
    "user",
    [
        "",
        pytest.param(A_USER, marks=pytest.mark.slow),
        pytest.param(f"{A_USER} unshare -Urnm", marks=pytest.mark.promise),
    ],
)
def test_the_exported_script_gives_the_same_verdicts(user: str) -> None:
    said = in_guest(
        in_a_file(exported(), "/run/lab.sh") + f"({SHOW}; ls /run) >/run/before\n"
        f"{user} bash /run/lab.sh; code=$?\n"
        f"({SHOW}; ls /run) >/run/after\n"
        "diff /run/before /run/after | grep -v '> after'; exit $code"
    )
    assert said.exit_code == 0, said.output
    assert verdicts(said.output) == WALKTHROUGH_CHECKS
    assert re.search(r"192\.168\.104\.211: expires after \d\.\d s \(", said.output)
    pairs = "2 pairs unreachable: host -> test1, test1 -> gateway"
    assert f"walkthrough: 12 of 12 as predicted; {pairs}; kernel " in said.output


@pytest.mark.slow
def test_the_exported_script_of_an_advertised_gateway_gives_the_same_verdicts() -> None:
    said = in_guest(
        in_a_file(exported("advertised-gateway"), "/run/lab.sh") + f"{A_USER} bash /run/lab.sh || exit\n"
        f"{A_USER} {IPVKIT} run-lab advertised-gateway --target sandbox || exit\n"
        "! pgrep -x radvd"
    )
    assert said.exit_code == 0, said.output
    assert said.output.count("advertised-gateway: 11 of 11 as predicted; 3 pairs unreachable: ") == 2


def test_the_exported_script_runs_on_a_real_nic() -> None:
    said = on_a_real_nic(
        in_a_file(exported("--parent", "eth0"), "/run/lab.sh") + f"({SHOW}) >/run/before\n"
        "bash /run/lab.sh; code=$?\n"
        f"({SHOW}) >/run/after; diff /run/before /run/after && ! ls -d /run/ipvkit-* && exit $code"
    )
    assert said.exit_code == 0, said.output
    assert "skipped       neighbour -> test1: " in said.output
    summary = "walkthrough: 7 of 7 as predicted, 5 skipped; 1 pair unreachable: host -> test1; kernel "
    assert summary in said.output


@pytest.mark.parametrize(
    "ending",
    [
        "bash /run/lab.sh >/run/told 2>&1 & wait_for_ping; kill -TERM $!; wait $!",
        pytest.param(
            "env --default-signal=INT bash /run/lab.sh >/run/told 2>&1 & wait_for_ping; "
            "kill -INT $!; wait $!",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "bash /run/lab.sh 2>/run/told | head -1 >/run/first; (exit ${PIPESTATUS[0]})",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_the_exported_script_undoes_when_it_is_told_to_stop(ending: str) -> None:
    said = on_a_real_nic(
        in_a_file(exported("--parent", "eth0"), "/run/lab.sh") + "wait_for_ping() {\n"
        "  for i in $(seq 2000); do grep -qs '^+ ping' /run/told && return; sleep 0.2; done\n"
        "}\n"
        f"({SHOW}) >/run/before\n"
        # Not every time the same moment: a command may be killed before it has begun.
        "for round in 1 2; do\n"
        f"rm -f /run/told; {ending}; code=$?; cat /run/told\n"
        "[[ $code == 130 ]] || exit 1\n"
        f"({SHOW}) >/run/after; diff /run/before /run/after || exit 2\n"
        "! ls -d /run/ipvkit-* || exit 3\n"
        "done"
    )
    assert said.exit_code == 0, said.output


@pytest.mark.parametrize("user", [pytest.param("", marks=pytest.mark.slow), A_USER])
def test_the_sandbox_is_the_first_choice_where_the_kernel_has_ipvlan(user: str) -> None:
    said = in_guest(
        f"({SHOW}) >/run/before; mkdir -m 777 /run/cwd; cd /run/cwd\n"
        f"{user} env HOME=/run/cwd {IPVKIT} run-lab --json 2>/run/progress; code=$?\n"
        f"cat /run/progress; ({SHOW}) >/run/after\n"
        "diff /run/before /run/after && [[ -z $(ls /run/cwd) ]] && exit $code"
    )
    assert said.exit_code == 0, said.output
    assert "target: sandbox" in said.output
    document = document_in(said)
    assert document["verdict"] == "pass"
    assert document["residue"] == []


SERVED = """\
name: served
about: a server on an endpoint, and a host that cannot reach it
parent: eth0
network: {host: 192.168.104.110/24, gateway: 192.168.104.254}
endpoints: [{name: test1, addresses: 192.168.104.211/24}, {name: test2, addresses: 192.168.104.212/24}]
phases:
  - name: l2
    mode: l2
    do:
      - check:
          - {from: host, to: test1, tcp: 8080}
          - {from: test2, to: test1, tcp: 8080}
          - {from: test2, to: gateway, tcp: 8080, listen: false}
"""


def test_servers_and_connections_on_a_real_nic_leave_nothing() -> None:
    said = on_a_real_nic(
        f"cat >/run/lab.yaml <<'.'\n{SERVED}.\n({SHOW}) >/run/before\n"
        f"{IPVKIT} run-lab /run/lab.yaml --parent eth0 || exit 1\n"
        f"({SHOW}) >/run/after; diff /run/before /run/after && ! pgrep -x socat"
    )
    assert said.exit_code == 0, said.output
    assert "served: 3 of 3 as predicted; 1 pair unreachable: host -> test1, tcp 8080; local" in said.output


def test_a_run_that_is_killed_leaves_no_server() -> None:
    said = on_a_real_nic(
        f"cat >/run/lab.yaml <<'.'\n{SERVED}.\n({SHOW}) >/run/before\n"
        f"{IPVKIT} run-lab /run/lab.yaml --parent eth0 2>/run/progress &\n"
        "for i in $(seq 2000); do grep -q 'connect host' /run/progress && break; sleep 0.05; done\n"
        "pgrep -fx 'socat -u /dev/null TCP4-LISTEN.*' || exit 1\n"
        # Stopped first: KILL in the middle of a fork can crash a User-Mode Linux kernel.
        "kill -STOP $!\n"
        "for i in $(seq 200); do grep -q '^State:.T' /proc/$!/status && break; sleep 0.02; done\n"
        "kill -KILL $!; wait $!\n"
        "for i in $(seq 200); do pgrep -x socat || break; sleep 0.2; done >/run/servers\n"
        "! pgrep -x socat || exit 2\n"
        f"{IPVKIT} cleanup served || exit 3\n"
        f"({SHOW}) >/run/after; diff /run/before /run/after"
    )
    assert said.exit_code == 0, said.output


def test_an_exported_script_serves_on_a_real_nic(tmp_path: Path) -> None:
    file = tmp_path / "lab.yaml"
    file.write_text(SERVED)
    said = on_a_real_nic(
        in_a_file(exported(str(file), "--parent", "eth0"), "/run/lab.sh") + f"({SHOW}) >/run/before\n"
        "bash /run/lab.sh || exit 1\n"
        f"({SHOW}) >/run/after; diff /run/before /run/after && ! pgrep -x socat"
    )
    assert said.exit_code == 0, said.output
    assert "test1, tcp 8080 192.168.104.211: unreachable: No route to host (" in said.output
    assert "served: 3 of 3 as predicted; 1 pair unreachable: host -> test1, tcp 8080; kernel " in said.output


STRATEGIES = """\
name: strategies
about: what the host alone can do on a real parent
parent: eth0
network: {host: 192.168.104.110/24, gateway: 192.168.104.254}
endpoints:
  - {name: test1, addresses: 192.168.104.211/24}
phases:
  - name: proxy
    mode: l3s
    strategy: l3s-proxy
    do: [{check: [{from: test1, to: gateway}]}]
  - name: shim
    mode: l2
    host-shim: 192.168.104.120
    do: [{check: [{from: host, to: test1}, {from: test1, to: host}]}]
  - name: entries
    mode: l3
    strategy: static-neigh
    do: [{check: [{from: test1, to: gateway}]}]
"""
HOST = (
    "ip -br addr; ip route; ip neigh show proxy; ip netns list; "
    "sysctl -a -r 'forwarding|proxy_delay|nonlocal'"
)


def test_strategies_work_on_a_real_parent_and_leave_it_as_it_was() -> None:
    said = on_a_real_nic(
        f"cat >/run/lab.yaml <<'.'\n{STRATEGIES}.\n"
        f"({HOST}) >/run/before 2>/dev/null\n"
        f"{IPVKIT} run-lab /run/lab.yaml --parent eth0 --json 2>/run/progress; code=$?\n"
        f"({HOST}) >/run/after 2>/dev/null\n"
        "diff /run/before /run/after && exit $code"
    )
    assert said.exit_code == 0, said.output
    phases = document_in(said)["phases"]
    assert isinstance(phases, list)
    checks = {(p["name"], c["source"]): (c["observed"], c["skipped"]) for p in phases for c in p["checks"]}
    assert checks == {
        ("proxy", "test1"): ("reachable", None),
        ("shim", "host"): ("reachable", None),
        ("shim", "test1"): ("reachable", None),
        ("entries", "test1"): (None, checks["entries", "test1"][1]),
    }
    assert "another machine" in str(checks["entries", "test1"][1])


@pytest.mark.slow
def test_an_exported_script_that_is_killed_is_undone_from_its_record(tmp_path: Path) -> None:
    file = tmp_path / "lab.yaml"
    file.write_text(STRATEGIES)
    said = on_a_real_nic(
        in_a_file(exported(str(file), "--parent", "eth0"), "/run/lab.sh")
        + f"({HOST}) >/run/before 2>/dev/null\n"
        # After so many commands: at the first sysctl, and at pings that need the proxy entry and the shim.
        "for n in 8 11 23; do\n"
        "rm -f /run/told; bash /run/lab.sh >/run/told 2>&1 &\n"
        "for i in $(seq 2000); do [[ $(grep -cs '^+' /run/told) -ge $n ]] && break; sleep 0.02; done\n"
        # Stopped first: KILL in the middle of a fork can crash a User-Mode Linux kernel.
        "kill -STOP $!\n"
        "for i in $(seq 2000); do grep -q '^State:.T' /proc/$!/status && break; sleep 0.02; done\n"
        "kill -KILL $!; wait $!\n"
        "for i in $(seq 2000); do flock -n /run/ipvkit-script-* true && break; sleep 0.05; done\n"
        "bash /run/lab.sh; [[ $? == 2 ]] || exit 2\n"
        "bash /run/lab.sh --undo || exit 3\n"
        f"({HOST}) >/run/after 2>/dev/null\n"
        "diff /run/before /run/after || exit 4\n"
        "done; ! ls -d /run/ipvkit-*"
    )
    assert said.exit_code == 0, said.output
    for undo in ("ip neigh del proxy 192.168.104.211 dev eth0", "ip link delete shim"):
        assert f"\n{undo}\n" in said.output.replace("\r", "")


VERDICTS = """
import json, sys
for phase in json.load(sys.stdin)["phases"]:
    for check in phase["checks"]:
        tcp = f", tcp {check['tcp']['port']}" if check["tcp"] else ""
        print("as predicted ", check["source"], "->", check["destination"] + tcp + ":", check["observed"])
"""


@pytest.mark.parametrize(
    ("name", "user"),
    [
        pytest.param("ipv6", A_USER, marks=pytest.mark.slow),
        pytest.param("l3-announced", "", marks=pytest.mark.slow),
        ("tcp-service", ""),
        pytest.param("mode-flip", "", marks=pytest.mark.slow),
        pytest.param("l3s-proxy", A_USER, marks=pytest.mark.slow),
        pytest.param("port-security", "", marks=pytest.mark.slow),
    ],
)
def test_an_exported_lab_of_the_gallery_gives_the_verdicts_of_run_lab(name: str, user: str) -> None:
    said = in_guest(
        f"{IPVKIT} export-script {name} >/run/lab.sh; {user} bash /run/lab.sh 2>/run/err || tail /run/err\n"
        f"echo engine; {IPVKIT} run-lab {name} --target sandbox --json 2>/run/err >/run/json\n"
        f"{sys.executable} -c {shlex.quote(VERDICTS)} </run/json"
    )
    script, _, ran = said.output.partition("engine")
    checks = [re.sub(r" [0-9a-f.:]+: (\w+)$", r": \1", line) for line in verdicts(script) if " -> " in line]
    assert sorted(checks) == verdicts(ran), said.output
    assert checks
    assert "DIFFERS" not in said.output
