"""Whole labs on hosts that are reached by ssh, through Ansible: built, checked, undone, and cleaned up."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

import fleet
from documents import ROOT
from fleet import SECOND, Hosts, hosts, until
from guest import in_guest

pytestmark = fleet.needs_hosts

KIND = os.environ.get("FLEET_KIND", "kind: macvlan")
"""The line of the lab's phase; this kernel need not have ipvlan."""

LAB = """\
name: three
about: macvlan endpoints on three hosts, two of which have a second NIC
parents:
  - {name: eth0, gateway: 192.168.104.254}
  - {name: eth1, subnets: 10.7.0.0/24, gateway: 10.7.0.254}
setup: batch
hosts:
  - name: h1
    parents: [{name: eth0, addresses: 192.168.104.121/24}, {name: eth1}]
    endpoints: [{name: a, addresses: 192.168.104.211/24}, {name: d, parent: eth1, addresses: 10.7.0.11/24}]
  - name: h2
    parents: [{name: eth0, addresses: 192.168.104.122/24}, {name: eth1}]
    endpoints: [{name: b, addresses: 192.168.104.212/24}, {name: e, parent: eth1, addresses: 10.7.0.12/24}]
  - name: h3
    parents: [{name: eth0, addresses: 192.168.104.123/24}]
    endpoints: [{name: c, addresses: 192.168.104.213/24}]
phases:
  - name: only
    kind: macvlan
    do:
      # In a former run c had another MAC address.
      - flush: h1
        sysctls: {h1: {net.ipv4.conf.eth0.arp_accept: 1}}
      - check:
          - {from: a, to: b}
          - {from: b, to: c}
          - {from: h1, to: c}
          - {from: a, to: h1}
          - {from: c, to: gateway}
          - {from: d, to: e}
          - {from: c, to: a, tcp: 8080}
""".replace("kind: macvlan", KIND)


@pytest.fixture(scope="module")
def three() -> Iterator[Hosts]:
    second = {"ipvkit_parents": {"eth1": SECOND}}
    with hosts(variables={"h1": second, "h2": second}) as found:
        (found.folder / "three.yaml").write_text(LAB)
        yield found


def ran(three: Hosts, *more: str) -> list[str]:
    return ["run-lab", "three.yaml", "--target", "ansible", "--inventory", str(three.inventory), *more]


@pytest.mark.promise
def test_a_lab_is_built_checked_and_undone_on_three_hosts(three: Hosts) -> None:
    before = three.snapshots()
    done = three.run(*ran(three, "--json"))
    assert (done.returncode, done.stderr.count("undo")) == (0, done.stderr.count("[ undo]")), done.stderr
    result = json.loads(done.stdout)
    assert result["target"]["kind"] == "ansible"
    assert result["verdict"] == "pass"
    assert [len(phase["checks"]) for phase in result["phases"]] == [7]
    assert three.snapshots() == before


def has_begun(three: Hosts, host: str, name: str) -> bool:
    return f"/run/netns/{name}\n" in three.run_on(host, "find /run/netns")


def test_what_a_killed_run_has_left_is_cleaned_up_from_the_journals_of_the_hosts(three: Hosts) -> None:
    before = three.snapshots()
    folder = three.folder / "tmp"
    folder.mkdir()
    with three.start(*ran(three), TMPDIR=str(folder)) as run:
        until(lambda: three.run_on("h1", "pgrep -r R,S -x socat || true") != "", "no server was started")
        run.send_signal(signal.SIGKILL)
    assert len([*folder.glob("ipvkit-fleet-*")]) == 1
    assert "three.jsonl" in three.run_on("h3", "ls /run/ipvkit")
    done = three.run("cleanup", "--all", "--inventory", str(three.inventory), TMPDIR=str(folder))
    assert done.returncode == 0, done.stderr
    assert [*folder.glob("ipvkit-fleet-*")] == []
    assert [line for line in done.stdout.splitlines() if line.endswith("undone")] == [
        f"{host}: lab three: undone" for host in three.names
    ]
    assert three.snapshots() == before


def test_a_host_that_cannot_be_reached_any_more_does_not_stop_the_undo_on_the_others(three: Hosts) -> None:
    before = three.snapshots()
    with three.start(*ran(three)) as run:
        until(lambda: has_begun(three, "h2", "b"), "no namespace was created")
        three.stop_ssh("h2")
        said = "".join(run.communicate(timeout=120))
    assert run.returncode == 4, said
    after = three.snapshots()
    assert [after[host] == before[host] for host in three.names] == [True, False, True], said
    assert re.search(r"h2: (could not undo|unknown whether it exists): .*netns( del)? b\b", said), said
    assert "ipvkit cleanup three --inventory" in said
    first = three.run("cleanup", "three", "--inventory", str(three.inventory))
    assert (first.returncode, first.stdout) == (4, ""), first.stderr
    assert "h2: not clean, since it cannot be reached" in first.stderr
    three.start_ssh("h2")
    done = three.run("cleanup", "three", "--inventory", str(three.inventory))
    assert (done.returncode, "h2: lab three: undone" in done.stdout) == (0, True), done.stderr
    assert three.snapshots() == before


@pytest.mark.slow
def test_a_run_that_is_interrupted_is_undone_on_all_hosts(three: Hosts) -> None:
    before = three.snapshots()
    with three.start(*ran(three)) as run:
        until(lambda: has_begun(three, "h3", "c"), "no namespace was created")
        run.send_signal(signal.SIGINT)
        _, said = run.communicate(timeout=300)
    assert run.returncode == 130, said
    assert three.snapshots() == before


@pytest.mark.slow
def test_a_lab_that_is_kept_stays_up_until_it_is_taken_down(three: Hosts) -> None:
    before = three.snapshots()
    kept = three.run(*ran(three, "--keep"))
    assert (kept.returncode, "ipvkit down three --inventory" in kept.stderr) == (0, True), kept.stderr
    spared = three.run("cleanup", "--all", "--inventory", str(three.inventory))
    assert (spared.returncode, spared.stdout) == (0, ""), spared.stderr
    preview = three.run("down", "three", "--dry-run", "--inventory", str(three.inventory))
    assert "# on h3\nip netns del c\n" in preview.stdout, preview.stderr
    done = three.run("down", "three", "--inventory", str(three.inventory))
    assert done.returncode == 0, done.stderr
    assert three.snapshots() == before


@pytest.mark.slow
def test_whenever_the_controller_is_killed_the_hosts_can_be_cleaned_up(
    three: Hosts, request: pytest.FixtureRequest
) -> None:
    before = three.snapshots()
    began = time.monotonic()
    assert three.run(*ran(three)).returncode == 0
    took = time.monotonic() - began
    draw = random.Random(request.config.getoption("--faults-seed"))
    for number in range(50):
        after = draw.uniform(0.1, 1.0) * (took / 2 if number % 5 else took)
        with three.start(*ran(three)) as run:
            if number % 5 and run.stderr is not None:
                # Its first stage has begun.
                run.stderr.readline()
            with suppress(subprocess.TimeoutExpired):
                run.wait(after)
            run.kill()
        done = three.run("cleanup", "--all", "--inventory", str(three.inventory))
        assert done.returncode == 0, (number, after, done.stderr)
        assert three.snapshots() == before, (number, after, done.stdout)


IN_GUEST = f"""\
mkdir /dev/shm /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /mnt
mount -t devpts -o ptmxmode=666,mode=620 devpts /dev/pts
export HOME=/mnt TMPDIR=/mnt PYTHONDONTWRITEBYTECODE=1 FLEET_KIND='mode: l2'
cd {ROOT}
{sys.executable} -m pytest -q -p no:cacheprovider --basetemp /mnt/pytest {Path(__file__).relative_to(ROOT)} \\
  -k 'three_hosts or killed_run'
"""


@pytest.mark.slow
def test_ipvlan_on_hosts_in_a_guest_comes_out_the_same() -> None:
    said = in_guest(IN_GUEST, timeout_s=1800, memory_mib=1024)
    assert (said.exit_code, "2 passed" in said.output) == (0, True), said.output


def link_in(netns: str, address: str) -> str:
    """Return lines that create a namespace with a macvlan link on eth0."""
    return f"""\
ip netns add {netns}
ip link add real0 link eth0 type macvlan mode bridge
ip link set real0 netns {netns} name s0
ip -n {netns} addr add {address}/24 dev s0
ip -n {netns} link set s0 up
"""


def test_a_fleet_is_inspected_adopted_and_reviewed(three: Hosts) -> None:
    before = three.snapshots()
    three.run_on("h1", f"set -e; {link_in('web', '192.168.104.211')}")
    # The second one is held by a process, and has no name.
    holds = "ip netns exec web sh -c 'echo >/run/in; exec tail -f /dev/null' >/dev/null 2>&1 &"
    unnamed = f"{holds} until [ -e /run/in ]; do :; done; rm /run/in; ip netns del web"
    three.run_on("h2", f"set -e; {link_in('web', '192.168.104.221')} {unnamed}")
    inventory = ("--inventory", str(three.inventory))
    try:
        done = three.run("inspect", "--json", *inventory)
        found = json.loads(done.stdout)
        assert (done.returncode, found["unreached"], found["unseen"]) == (0, [], []), done.stderr
        links = {(on["host"], link["netns"]): link for on in found["parents"] for link in on["links"]}
        assert {key: link["addresses"] for key, link in links.items()} == {
            ("h1", "web"): ["192.168.104.211/24"],
            ("h2", None): ["192.168.104.221/24"],
        }
        assert links["h2", None]["owner"]["name"] == "tail"
        assert [on["parent"]["dev"] for on in found["parents"]] == ["eth0", "eth0"]
        lab = three.run("adopt", *inventory)
        assert lab.returncode == 0, lab.stderr
        assert [host["name"] for host in yaml.safe_load(lab.stdout)["hosts"]] == ["h1", "h2"]
        assert "# note: h3: no link that a lab can describe was found\n" in lab.stdout
        inside = "nsenter --net=/proc/$(pgrep -x tail)/ns/net"
        three.run_on("h2", f"{inside} ip addr add 192.168.104.211/24 dev s0")
        three.stop_ssh("h3")
        shown = three.run("inspect", *inventory)
        assert shown.returncode == 4, shown.stderr
        assert "1. error: 192.168.104.211 is an address of s0 in netns web on h1, s0 in " in shown.stdout
        assert "h3: not looked at: h3: " in shown.stderr
        reviewed = three.run("review", *inventory)
        assert reviewed.returncode == 4, reviewed.stderr
        assert "fleet: " in reviewed.stdout
        assert "an address that another host has is left out: 192.168.104.211 of tail-" in reviewed.stderr
    finally:
        three.run_on("h1", "ip netns del web")
        three.run_on("h2", "pkill -x tail || true")
        three.start_ssh("h3")
    until(lambda: three.snapshots() == before, "something is left")
