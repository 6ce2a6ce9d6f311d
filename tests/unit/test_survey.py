"""What this machine shows is seen as it is: on a real kernel, in namespaces that end with the test."""

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import pytest
from test_real_commands import IN_NAMESPACES_OF_ITS_OWN, needs_namespaces

from ipvkit.run.execution import SIDE_BY_SIDE

SURVEYS = """\
import json, subprocess, sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from ipaddress import ip_interface
from ipvkit.host.checks import Guest, Join, Wanted, inspect
from ipvkit.host.facts import survey
subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)
world, asked = json.load(sys.stdin)
subprocess.run(["bash", "-euc", world], check=True, stdout=subprocess.DEVNULL)
def findings(parent, addresses, netns):
    guests = [Guest(netns=netns, addresses=tuple(map(ip_interface, addresses)))]
    wanted = Wanted(parent, (Join("l2"),), tuple(guests))
    return [asdict(found) for found in inspect(wanted, survey(wanted)).findings]
with ThreadPoolExecutor() as pool:
    told = dict(zip(asked, pool.map(lambda words: findings(*words), asked.values())))
print(json.dumps(told))
"""

WORLD = """\
ip link set lo up
ip netns add lan
for n in 0 1 2 3 4 5 6 7; do
  ip link add p$n index 10$n type veth peer name q$n netns lan
done
for n in 0 1 3 4 5 6 7; do ip link set p$n up; done
for n in 0 3 4 5 6 7; do ip -n lan link set q$n up; done
ip addr add 192.0.2.1/24 dev p0
ip -n lan addr add 192.0.2.9/24 dev q0
# p1 has no carrier, p2 is down.
ip link add br0 type bridge
ip link set p3 master br0
ip link set p3 up
ip netns add other
ip link add m4 link p4 netns other type macvlan
unshare --net sleep 60 &
nameless=$!
until [[ $(readlink /proc/$nameless/ns/net) != $(readlink /proc/$$/ns/net) ]]; do sleep 0.01; done
ip link add m5 link p5 netns $nameless type macvlan
# A link of the same number as p6, with a macvlan on it, in namespaces that have nothing to do with it.
ip netns add third
ip -n third link add r6 index 106 type veth peer name r7
ip -n third link add m6 link r6 netns other type macvlan
ip link add m7 link p7 type macvlan
ip link property add dev p7 altname long-name-of-p7
ip netns add test1
ip netns exec test1 sleep 60 &
until [[ -n $(ip netns pids test1) ]]; do sleep 0.01; done
"""

ASKED: dict[str, tuple[str, list[str], str]] = {
    "free": ("p0", ["192.0.2.5/24"], ""),
    "answered": ("p0", ["192.0.2.9/24", "192.0.2.5/24", "2001:db8::5/64"], ""),
    "many": ("p0", [f"192.0.2.{host}/24" for host in (*range(20, 20 + SIDE_BY_SIDE), 9)], ""),
    "own address": ("p0", ["192.0.2.1/24"], ""),
    "no carrier": ("p1", [], ""),
    "down": ("p2", ["192.0.2.9/24"], ""),
    "port": ("p3", [], ""),
    "macvlan in a namespace": ("p4", [], ""),
    "macvlan in a nameless namespace": ("p5", [], ""),
    "a link of that number elsewhere": ("p6", [], ""),
    "macvlan beside it": ("p7", [], ""),
    "altname": ("long-name-of-p7", [], ""),
    "loopback": ("lo", [], ""),
    "a process in a namespace": ("p0", [], "test1"),
}


@dataclass(frozen=True)
class Told:
    """What was found by name of the survey."""

    findings: dict[str, list[dict[str, Any]]]

    def codes(self, name: str) -> list[str]:
        return [found["code"] for found in self.findings[name]]

    def only(self, name: str) -> str:
        (found,) = self.findings[name]
        return str(found["what"])


def surveys(world: str, asked: dict[str, tuple[str, list[str], str]]) -> Told:
    done = subprocess.run(
        [
            *(*IN_NAMESPACES_OF_ITS_OWN, "--pid", "--fork", "--mount-proc", "--kill-child"),
            *(sys.executable, "-c", SURVEYS),
        ],
        input=json.dumps([world, asked]),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return Told(json.loads(done.stdout))


@pytest.fixture(scope="module")
def told() -> Told:
    return surveys(WORLD, ASKED)


@needs_namespaces
def test_a_free_parent_gives_nothing(told: Told) -> None:
    assert told.findings["free"] == []
    assert told.findings["a link of that number elsewhere"] == []


@needs_namespaces
def test_the_network_is_asked_who_has_an_address(told: Told) -> None:
    assert told.codes("answered") == ["address-answers"]
    what = told.only("answered")
    assert what.startswith("192.0.2.9 is in use: ")
    assert what.endswith(" answered")
    assert told.only("many") == what
    assert told.only("own address") == "192.0.2.1 is p0's own"
    assert told.codes("down") == ["link-down"]


@needs_namespaces
def test_the_state_of_the_parent_is_seen(told: Told) -> None:
    assert told.codes("no carrier") == ["no-carrier"]
    assert told.only("port") == "p3 is a port of br0"
    assert told.codes("loopback") == ["loopback"]
    assert told.only("altname") == "there is no link long-name-of-p7"
    (found,) = told.findings["altname"]
    assert found["mend"] == "it is another name of p7: use that"


@needs_namespaces
def test_who_is_on_the_parent_is_seen_in_whatever_namespace(told: Told) -> None:
    assert told.only("macvlan in a namespace") == "p4 carries the macvlan m4 in netns other"
    what = told.only("macvlan in a nameless namespace")
    assert what.startswith("p5 carries the macvlan m5 in the namespace of process ")
    assert told.only("macvlan beside it") == "p7 carries the macvlan m7"


@needs_namespaces
def test_processes_in_a_namespace_are_told(told: Told) -> None:
    what = told.only("a process in a namespace")
    # A shell that is starting its command is two for a moment.
    assert re.match(r"there is a network namespace test1, with process(es)? \d", what)


@needs_namespaces
def test_a_name_without_a_namespace_is_told_as_not_looked_at() -> None:
    found = surveys(
        "mkdir /run/netns; touch /run/netns/stale; ip link add p0 type veth peer name q0; "
        "ip link set p0 up; ip link set q0 up",
        {"": ("p0", [], "")},
    )
    assert found.only("") == "not looked at: netns stale"
