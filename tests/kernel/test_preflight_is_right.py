"""What is told of a parent is what the kernel does then, and what others had on it stays as it was."""

from typing import Any

import pytest

from guest import Said, in_guest
from namespaces import until_elsewhere
from test_guest import A_USER, IPVKIT, SHOW, document_in, on_a_real_nic

PYTHON = IPVKIT.partition(" ")[0]


def inspection_in(said: Said) -> dict[str, Any]:
    """Return what `ipvkit doctor --parent --json` found in a guest, where there is no error."""
    assert said.exit_code == 0, said.output
    parent = document_in(said)["parent"]
    assert isinstance(parent, dict)
    return parent


MODES = "ip -all netns exec ip -d link show type ipvlan"


def refused(setup: str) -> str:
    """Return what `run-lab` says that refuses to start after `setup`, and has changed nothing."""
    said = on_a_real_nic(
        f"{setup}\n({SHOW}; {MODES}) >/run/before\n"
        f"{IPVKIT} run-lab --parent eth0; code=$?\n"
        f"({SHOW}; {MODES}) >/run/after\n"
        "diff /run/before /run/after && exit $code"
    )
    assert said.exit_code == 2, said.output
    return said.output


NAMELESS = f"""
unshare --net sleep 300 >/dev/null 2>&1 &
nameless=$!
{until_elsewhere("$nameless")}\
"""


def test_endpoints_of_others_are_not_flipped_in_whatever_namespace_they_are() -> None:
    output = refused(
        f"{NAMELESS}"
        "ip netns add other; ip link add s1 link eth0 netns other type ipvlan mode l2\n"
        "ip link add s2 link eth0 netns $nameless type ipvlan mode l2\n"
    )
    assert "eth0 has the ipvlan links s1 in netns other, s2 in the namespace of process " in output
    assert " in l2 bridge, which would change to l3 bridge; use another parent" in output


def test_an_address_that_somebody_has_is_refused_with_his_mac() -> None:
    output = refused(
        "ip -n neighbour addr add 192.168.104.212/24 dev eth0\n"
        "echo the MAC: $(ip netns exec neighbour cat /sys/class/net/eth0/address)\n"
    )
    lladdr = output.partition("the MAC: ")[2].splitlines()[0]
    assert f"test2's 192.168.104.212 is in use: {lladdr} answered; choose another address" in output
    assert "test1" not in output


@pytest.mark.slow
def test_an_address_of_an_endpoint_in_a_deleted_namespace_is_found() -> None:
    """As long as a process is in it, the kernel refuses the address to others."""
    output = refused(
        "ip netns add gone; ip link add s1 link eth0 netns gone type ipvlan mode l2\n"
        "ip -n gone addr add 192.168.104.211/24 dev s1; ip netns exec gone sleep 300 >/dev/null 2>&1 &\n"
        "until [[ -n $(ip netns pids gone) ]]; do sleep 0.05; done\n"
        "ip netns del gone\n"
        "ip link add probe link eth0 type ipvlan mode l2; ip addr add 192.168.104.211/24 dev probe\n"
        "ip link del probe\n"
    )
    assert "Address already assigned to an ipvlan device" in output
    assert (
        "test1's 192.168.104.211 is already an address of the ipvlan link s1 in the namespace of process "
        in output
    )


PARENTS = """
for module in bonding vrf macsec tun dummy macvtap ipvtap; do
  modprobe "$module" 2>/dev/null || modprobe -d /run/modules "$module"
done
for n in 0 1 2 3 4 5 6 7 8; do ip link add d$n type dummy; ip link set d$n arp on; done
ip link add br0 type bridge; ip link set d1 master br0
ip link add bond0 type bond; ip link set d2 master bond0
ip link add vrf0 type vrf table 10; ip link set d3 master vrf0
ip link add mac4 link d4 type macvlan
ip link add tap5 link d5 type macvtap
ip link add sec6 link d6 type macsec
ip link add tap7 link d7 type ipvtap mode l2
ip link add ipv8 link d8 type ipvlan mode l2
ip tuntap add tun0 mode tun
ip netns add elsewhere
ip link add d9 type dummy
ip link add mac9 link d9 netns elsewhere type macvlan
parents="d0 br0 d1 bond0 d2 vrf0 d3 d4 d5 d6 d7 tap7 d8 ipv8 tun0 lo d9"
for parent in $parents; do ip link set $parent up; done
"""

SURVEYS = """\
import json, sys
from dataclasses import asdict
from ipvkit.host.checks import Request
from ipvkit.verbs.doctor import check
from ipvkit.lab import Setting
found = {}
for parent in sys.argv[1:]:
    request = Request(parent, (Setting("l2"),))
    found[parent] = [asdict(one) for one in check(request).findings]
print(json.dumps({"schema": "", "findings": found}, indent=2))
"""


@pytest.mark.promise
def test_the_kernel_refuses_what_is_an_error_and_takes_all_else() -> None:
    said = in_guest(
        f"set -e{PARENTS}set +e\ncat >/run/surveys.py <<'END'\n{SURVEYS}END\n"
        f"{PYTHON} /run/surveys.py $parents\n"
        "for parent in $parents; do\n"
        '  ip link add probe link $parent type ipvlan mode l2; echo "$parent ended $?"; ip link del probe\n'
        "done 2>/run/said\ncat /run/said\n",
    )
    assert said.exit_code == 0, said.output
    found = document_in(said)["findings"]
    assert isinstance(found, dict)
    refusals = {parent for parent in found if f"{parent} ended 2" in said.output}
    errors = {parent for parent, findings in found.items() if any(f["severity"] == "error" for f in findings)}
    assert errors == refusals
    assert errors == {"d1", "d2", "vrf0", "d4", "d5", "d6", "tun0", "lo", "d9"}
    assert [f["code"] for f in found["ipv8"]] == ["on-ipvlan"]
    assert [f["code"] for f in found["tap7"]] == ["on-ipvlan"]
    assert found["d7"] == found["d8"] == found["d3"] == []


def test_strict_rp_filter_drops_what_a_shim_in_l2_would_reach() -> None:
    ask = "ip netns exec test1 ping -c 2 -i 0.2 -W 0.8 192.168.104.110 >/dev/null"
    said = on_a_real_nic(
        "for mode in l2 l3 l3s; do for strict in 0 1; do\n"
        "sysctl -qw net.ipv4.conf.eth0.rp_filter=$strict\n"
        "ip netns add test1; ip link add s1 link eth0 netns test1 type ipvlan mode $mode\n"
        "ip -n test1 addr add 192.168.104.211/24 dev s1; ip -n test1 link set s1 up\n"
        "ip -n test1 route add default dev s1 2>/dev/null\n"
        "ip link add shim link eth0 type ipvlan mode $mode; ip link set shim up\n"
        "ip addr add 192.168.104.120/32 dev shim; ip route add 192.168.104.211/32 dev shim\n"
        f'{ask}; echo "$mode $strict: $?"\n'
        "sysctl -qw net.ipv4.conf.eth0.rp_filter=2\n"
        f'{ask}; echo "$mode mended: $?"\n'
        "ip link del shim; ip netns del test1; ip neigh flush all\n"
        "done; done\n"
    )
    lines = [line for line in said.output.splitlines() if ": " in line]
    assert [line for line in lines if not line.endswith(": 0")] == ["l2 1: 1"], said.output
    assert len(lines) == 12


def test_doctor_tells_an_ordinary_user_what_it_could_not_see() -> None:
    said = on_a_real_nic(
        f"ip netns add other; mkdir -m 777 /run/cwd; cd /run/cwd\n"
        f"{A_USER} env HOME=/run/cwd {IPVKIT} doctor --parent eth0 --address 192.168.104.211/24 --json"
    )
    parent = inspection_in(said)
    namespaces, *others = parent["findings"]
    assert (namespaces["code"], namespaces["severity"]) == ("not-looked-at", "warning")
    assert namespaces["what"].startswith("not checked: netns ")
    assert namespaces["what"].endswith(" processes of other users")
    assert "sudo" in namespaces["mend"]
    # Whether an ordinary user may ask with ARP is the machine's choice.
    assert {found["code"] for found in others} <= {"not-looked-at"}


def test_doctor_as_root_finds_nothing_about_a_free_parent_and_changes_nothing() -> None:
    said = on_a_real_nic(
        f"({SHOW}) >/run/before\n"
        f"{IPVKIT} doctor --parent eth0 --mode l3 --address 192.168.104.211/24 --json; code=$?\n"
        f"({SHOW}) >/run/after\ndiff /run/before /run/after && exit $code"
    )
    inspection = inspection_in(said)
    assert inspection["dev"] == "eth0"
    # By the rules: neither this host nor others reach such an endpoint.
    assert [finding["code"] for finding in inspection["findings"]] == ["unreachable", "unreachable"]


@pytest.mark.slow
def test_a_lab_runs_where_there_are_but_warnings() -> None:
    """On an ipvlan link the lab's endpoints are created on the real parent."""
    said = on_a_real_nic(
        "ip link add ipv0 link eth0 type ipvlan mode l2; ip link set ipv0 up\n"
        f"({SHOW}) >/run/before\n"
        f"{IPVKIT} run-lab l2 --parent ipv0 --gateway 192.168.104.254; code=$?\n"
        f"({SHOW}) >/run/after\ndiff /run/before /run/after && exit $code"
    )
    assert "warning: ipv0 is itself an ipvlan link: the kernel creates endpoints on eth0" in said.output
    assert said.exit_code == 0, said.output


@pytest.mark.slow
def test_without_room_for_neighbours_pings_get_no_answer() -> None:
    run = f"{IPVKIT} run-lab ./many.yaml --parent eth0 >/run/told"
    said = on_a_real_nic(
        f"cd /run; {IPVKIT} labs new --endpoints 6 --subnet 192.168.104.192/26 --checks all >many.yaml\n"
        "sysctl -qw net.ipv4.neigh.default.gc_thresh3=12\n"
        f"{run}; echo few: $?\n"
        "sysctl -qw net.ipv4.neigh.default.gc_thresh3=60\n"
        f"{run}; echo enough: $?\n"
    )
    assert "need 30 neighbour entries, and the kernel has room for 12 in all" in said.output
    assert "sysctl -w net.ipv4.neigh.default.gc_thresh3=60" in said.output
    assert "few: 1\n" in said.output
    assert "enough: 0\n" in said.output
    assert said.output.count("neighbour entries") == 1
