"""`ipvkit inspect` finds each link on a parent, whatever holds its namespace; its fixes work when pasted."""

import re
from typing import Any

import pytest

from guest import Said
from test_guest import IPVKIT, document_in, on_a_real_nic

PYTHON = IPVKIT.partition(" ")[0]

WORLD = """
set -e
for module in macvlan 8021q dummy; do modprobe -d /run/modules $module; done
ip link add link eth0 name eth0.20 type vlan id 20; ip link set eth0.20 up
ip addr add 10.20.0.1/24 dev eth0.20
ip link add d0 type dummy; ip link set d0 up; ip addr add 10.30.0.1/24 dev d0
endpoint() { # NETNS DEV PARENT ADDRESS TYPE...
  local netns=$1 dev=$2 parent=$3 address=$4; shift 4
  ip netns add "$netns"; ip link add "$dev" link "$parent" netns "$netns" type "$@"
  ip -n "$netns" addr add "$address" dev "$dev"; ip -n "$netns" link set "$dev" up
  ip -n "$netns" route add default dev "$dev"
}
endpoint test1 test1 eth0 192.168.104.211/24 ipvlan mode l3
endpoint of-process s2 eth0 192.168.104.212/24 ipvlan mode l3
endpoint of-file s3 eth0 192.168.104.213/24 ipvlan mode l3
endpoint of-mount s4 eth0 192.168.104.214/24 ipvlan mode l3
endpoint vlan s5 eth0.20 10.20.0.5/24 ipvlan mode l2
endpoint mac s6 d0 10.30.0.6/24 macvlan mode bridge
ip netns exec of-process sleep 600 >/dev/null 2>&1 & process=$!
sleep 600 9</run/netns/of-file >/dev/null 2>&1 & file=$!
unshare --mount sh -c '
  touch /run/hidden; mount --bind /run/netns/of-mount /run/hidden; touch /run/ready; exec sleep 600
' >/dev/null 2>&1 & mount=$!
until [[ -e /run/ready && -n $(ip netns pids of-process) ]]; do sleep 0.05; done
for netns in of-process of-file of-mount; do ip netns del $netns; done
namespaces="/proc/$$/ns/net /run/netns/test1 /proc/$process/ns/net"
namespaces+=" /proc/$file/fd/9 /proc/$mount/root/run/hidden"
shown() {
  for netns in $namespaces; do
    for of in link '-4 addr' '-4 route'; do nsenter --net=$netns ip -d -j $of; done
  done
}
reached() {
  for i in 1 2 3 4; do
    ip netns exec gateway ping -c 3 -i 0.3 -W 2 192.168.104.21$i >/dev/null && echo "$1: gateway reaches $i"
  done
}
set +e
"""

FIXES = """
import json
for finding in json.load(open("/run/before.json"))["findings"]:
    if finding["severity"] == "error":
        print(*finding["commands"], sep="\\n")
"""


def looked() -> Said:
    """Return what a guest printed that looks, pastes each command of a fix, and looks again."""
    return on_a_real_nic(
        f"{WORLD}\n"
        "shown >/run/shown.1\n"
        f"{IPVKIT} inspect --json >/run/before.json; echo looked: $?; cat /run/before.json\n"
        "shown >/run/shown.2; diff /run/shown.1 /run/shown.2; echo changed: $?\n"
        "echo the processes: $process $file $mount\n"
        "reached before\n"
        f"{PYTHON} -c '{FIXES}' >/run/fixes\n"
        'while IFS= read -r line; do echo "+ $line"; bash -c "$line" </dev/null >/dev/null; echo pasted: $?\n'
        "done </run/fixes\n"
        "reached after\n"
        f"{IPVKIT} inspect; echo looked again: $?\n",
    )


def found(said: Said) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """Return each link that was found, by its first address, after its parent."""
    parents: Any = document_in(said)["parents"]
    return {link["addresses"][0]: (on["parent"], link) for on in parents for link in on["links"]}


@pytest.mark.promise
def test_every_link_is_found_nothing_is_changed_and_the_fix_of_the_trap_works_when_pasted() -> None:
    said = looked()
    assert_every_link_is_found_with_its_parent_mode_and_owner(said)
    assert "looked: 1\n" in said.output
    assert "changed: 0\n" in said.output
    assert_the_fix_of_the_trap_works(said)


def assert_every_link_is_found_with_its_parent_mode_and_owner(said: Said) -> None:
    process, file, mount = said.output.partition("the processes: ")[2].splitlines()[0].split()
    links = found(said)
    seen = {
        address: (on["dev"], link["dev"], link["kind"], link["mode"], link["netns"])
        for address, (on, link) in links.items()
    }
    assert seen == {
        "192.168.104.211/24": ("eth0", "test1", "ipvlan", "l3", "test1"),
        "192.168.104.212/24": ("eth0", "s2", "ipvlan", "l3", None),
        "192.168.104.213/24": ("eth0", "s3", "ipvlan", "l3", None),
        "192.168.104.214/24": ("eth0", "s4", "ipvlan", "l3", None),
        "10.20.0.5/24": ("eth0.20", "s5", "ipvlan", "l2", "vlan"),
        "10.30.0.6/24": ("d0", "s6", "macvlan", "bridge", "mac"),
    }
    owners = {address: link["owner"] for address, (_, link) in links.items() if link["owner"]}
    assert owners == {
        f"192.168.104.{host}/24": {"runtime": "process", "name": "sleep", "image": "", "pid": int(pid)}
        for host, pid in ((212, process), (213, file), (214, mount))
    }


def assert_the_fix_of_the_trap_works(said: Said) -> None:
    findings: Any = document_in(said)["findings"]
    (trap,) = (finding for finding in findings if finding["severity"] == "error")
    assert (trap["code"], trap["parent"]) == ("unreachable", "eth0")
    who, _, reason = trap["what"].partition(": ")
    assert {f"192.168.104.21{i}" for i in range(1, 5)} == set(re.findall("[0-9.]{15}", who))
    assert "in l3 the endpoint is NOARP" in reason
    assert said.output.count("pasted: 0\n") == len(trap["commands"]) > 0
    assert "before: gateway reaches" not in said.output
    assert [i for i in range(1, 5) if f"after: gateway reaches {i}\n" in said.output] == [1, 2, 3, 4]
    assert "looked again: 0\n" in said.output
