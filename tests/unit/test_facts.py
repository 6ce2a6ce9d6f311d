"""Facts about this machine are right: on a real kernel, in namespaces that end with the test."""

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from ipaddress import ip_interface
from queue import SimpleQueue
from typing import Any

import pytest
from test_real_commands import needs_namespaces, printed_in

from ipvkit.core.command import Command, Completed
from ipvkit.host.checks import Machine, Request
from ipvkit.host.facts import _answers, rp_filter
from ipvkit.host.limits import concurrent_pings
from ipvkit.lab import Endpoint
from ipvkit.targets.agent import Agent
from ipvkit.tools.ip import Link
from namespaces import IN_NAMESPACES_OF_ITS_OWN, until_elsewhere
from requires import requires
from scripted import Scripted

CONCURRENT = 50
"""How many addresses are asked at the same time, which is fewer than outside a test."""

GATHERS = """\
import json, subprocess, sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from ipaddress import ip_interface
from queue import SimpleQueue
from ipvkit.host.checks import Request, check
from ipvkit.host.facts import gather
from ipvkit.lab import Endpoint, Setting
from ipvkit.run import execution
from ipvkit.targets.agent import Agent
from ipvkit.targets.local import Local
execution.CONCURRENT = int(sys.argv[1])
subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)
world, asked = json.load(sys.stdin)
subprocess.run(["bash", "-euc", world], check=True, stdout=subprocess.DEVNULL)
def findings(parent, addresses, netns):
    endpoint = Endpoint("", tuple(map(ip_interface, addresses)), netns, parent)
    request = Request(parent, (Setting("l2"),), (endpoint,))
    with Agent(Local(), SimpleQueue()) as agent:
        return [asdict(found) for found in check(request, gather(request, agent)).findings]
with ThreadPoolExecutor() as pool:
    seen = dict(zip(asked, pool.map(lambda words: findings(*words), asked.values())))
print(json.dumps(seen))
"""

WORLD = f"""\
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
unshare --net sleep infinity &
nameless=$!
{until_elsewhere("$nameless")}\
ip link add m5 link p5 netns $nameless type macvlan
# A link of the same number as p6, with a macvlan on it, in namespaces that have nothing to do with it.
ip netns add third
ip -n third link add r6 index 106 type veth peer name r7
ip -n third link add m6 link r6 netns other type macvlan
ip link add m7 link p7 type macvlan
ip link property add dev p7 altname long-name-of-p7
ip netns add test1
ip netns exec test1 sleep infinity &
until [[ -n $(ip netns pids test1) ]]; do sleep 0.01; done
"""

ASKED: dict[str, tuple[str, list[str], str]] = {
    "free": ("p0", ["192.0.2.5/24"], ""),
    "answered": ("p0", ["192.0.2.9/24", "192.0.2.5/24", "2001:db8::5/64"], ""),
    "many": ("p0", [f"192.0.2.{host}/24" for host in (*range(20, 20 + CONCURRENT), 9)], ""),
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
class Seen:
    """What was found for each name in ASKED."""

    findings: dict[str, list[dict[str, Any]]]

    def codes(self, name: str) -> list[str]:
        return [found["code"] for found in self.findings[name]]

    def only(self, name: str) -> str:
        (found,) = self.findings[name]
        return str(found["what"])


def gathered(world: str, asked: dict[str, tuple[str, list[str], str]]) -> Seen:
    done = subprocess.run(
        [
            *(*IN_NAMESPACES_OF_ITS_OWN, "--pid", "--fork", "--mount-proc", "--kill-child"),
            *(sys.executable, "-c", GATHERS, str(CONCURRENT)),
        ],
        input=json.dumps([world, asked]),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return Seen(json.loads(done.stdout))


@pytest.fixture(scope="module")
def seen() -> Seen:
    return gathered(WORLD, ASKED)


@pytest.mark.parametrize("values", [("0", "1", 1), ("2", "1", 2), ("", "1", 1), ("0", "", 0)])
def test_the_larger_rp_filter_counts(values: tuple[str, str, int]) -> None:
    of_all, own, counts = values
    read = {"ipv4/conf/all/rp_filter": of_all, "ipv4/conf/eth0/rp_filter": own}.__getitem__
    assert rp_filter("eth0", read) == counts


@pytest.mark.parametrize(
    ("cpus", "mebibytes", "pings"),
    [(1, 8192, 32), (2, 8192, 64), (16, 8192, 128), (None, 8192, 32), (2, 256, 16), (2, 1, 1)],
)
def test_a_machine_pings_by_its_cpus_and_its_memory(
    cpus: int | None, mebibytes: int, pings: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """32 for each CPU, 128 at most, and 16 MiB for each."""
    monkeypatch.setattr(os, "cpu_count", lambda: cpus)
    sizes = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": mebibytes * 256}
    monkeypatch.setattr(os, "sysconf", sizes.__getitem__)
    assert concurrent_pings() == pings


@pytest.mark.parametrize(
    ("stderr", "why"),
    [
        ("", "arping ended early"),
        ("bind: Cannot assign requested address\n", "bind: Cannot assign requested address"),
    ],
)
def test_where_arping_ends_early_no_address_is_taken_for_free(stderr: str, why: str) -> None:
    parent = Link("eth0", ifindex=2, flags=("UP",), link_type="ether")
    address = ip_interface("192.0.2.5/24")
    request = Request("eth0", endpoints=(Endpoint("", (address,), "", "eth0"),))

    def answer(command: Command) -> Completed:
        if "-V" in command.argv:
            return Completed(0, "arping from iputils 20240905\n", "", 0.0)
        return Completed(2, "ARPING 192.0.2.5 from 0.0.0.0 eth0\n", stderr, 0.0)

    with Agent(Scripted(answer), SimpleQueue()) as agent:
        answers, (found,) = _answers(request, Machine((parent,), {}, {}), agent)
    assert (answers, found.code) == ({}, "not-looked-at")
    assert found.what == f"not checked whether an address is in use: arping: {why}"


@pytest.mark.extra
@pytest.mark.long
@needs_namespaces
@requires("arping")
def test_a_free_parent_gives_nothing(seen: Seen) -> None:
    assert seen.findings["free"] == []
    assert seen.findings["a link of that number elsewhere"] == []


@needs_namespaces
@requires("arping")
def test_the_network_is_asked_which_host_has_an_address(seen: Seen) -> None:
    assert seen.codes("answered") == ["address-answers"]
    what = seen.only("answered")
    assert what.startswith("192.0.2.9 is in use: ")
    assert what.endswith(" answered")
    assert seen.only("many") == what
    assert seen.only("own address") == "192.0.2.1 is already an address of p0"
    assert seen.codes("down") == ["link-down"]


@needs_namespaces
def test_the_state_of_the_parent_is_seen(seen: Seen) -> None:
    assert seen.codes("no carrier") == ["no-carrier"]
    assert seen.only("port") == "p3 is a port of br0"
    assert seen.codes("loopback") == ["loopback"]
    assert seen.only("altname") == "no such interface: long-name-of-p7"
    (found,) = seen.findings["altname"]
    assert found["fix"] == "long-name-of-p7 is an alternative name of p7: use p7"


@needs_namespaces
def test_who_is_on_the_parent_is_seen_in_whatever_namespace(seen: Seen) -> None:
    assert seen.only("macvlan in a namespace") == "p4 has the macvlan link m4 in netns other"
    what = seen.only("macvlan in a nameless namespace")
    assert what.startswith("p5 has the macvlan link m5 in the namespace of process ")
    assert seen.only("macvlan beside it") == "p7 has the macvlan link m7"


@needs_namespaces
def test_processes_in_a_namespace_are_reported(seen: Seen) -> None:
    what = seen.only("a process in a namespace")
    # A shell that is starting its command is two for a moment.
    assert re.match(r"network namespace test1 already exists, with process(es)? \d", what)


@needs_namespaces
def test_a_name_without_a_namespace_is_reported_as_not_checked() -> None:
    found = gathered(
        "mkdir /run/netns; touch /run/netns/stale; ip link add p0 type veth peer name q0; "
        "ip link set p0 up; ip link set q0 up",
        {"": ("p0", [], "")},
    )
    assert found.only("") == "not checked: netns stale"


@needs_namespaces
def test_a_parent_is_known_as_such_where_its_namespace_has_a_name_too() -> None:
    found = gathered(
        "ip link add p0 type veth peer name q0; ip link set p0 up; ip link set q0 up; ip netns add other; "
        "ip link add m0 link p0 netns other type macvlan; ip netns attach self $$",
        {"": ("p0", [], "")},
    )
    assert found.only("") == "p0 has the macvlan link m0 in netns other"


SPACES = """\
mount -t tmpfs tmpfs /run
for name in named held mounted; do ip netns add $name; done
sleep infinity 9</run/netns/held 8</proc/self/ns/uts &
until [[ -e /proc/$!/fd/9 ]]; do sleep 0.01; done
touch '/run/a b'; mount --bind /run/netns/mounted '/run/a b'
ip netns del held; ip netns del mounted
"""
FINDS = """\
from ipvkit.host.namespaces import spaces
for space in spaces().found.values():
    print(space.own, space.names, len(space.pids), len(space.holders), space.path, sep="|")
"""


@needs_namespaces
def test_a_namespace_is_found_by_a_name_a_process_an_open_file_or_a_mount() -> None:
    found = printed_in(SPACES, FINDS)
    assert sorted(re.sub(r"/proc/\d+", "/proc/N", line) for line in found) == [
        "False|['named']|0|0|/run/netns/named",
        "False|[]|0|0|/run/a b",
        "False|[]|0|1|/proc/N/fd/9",
        "True|[]|2|0|/proc/self/ns/net",
    ]


@needs_namespaces
def test_a_link_is_called_by_any_of_its_names() -> None:
    names = ("q0", "short", "a-name-that-is-longer")
    world = "ip link add q0 type veth peer name q1; ip link property add dev q0 altname {} altname {}"
    calls = (
        "import sys; from ipvkit.host.interfaces import link_called; print(*map(link_called, sys.argv[1:]))"
    )
    assert printed_in(world.format(*names[1:]), calls, *names) == ["q0 q0 q0"]
