"""`ipvkit inspect` names the owner of each link on a machine with real container runtimes."""

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from differential import compared
from guest import in_guest, simulated_lan
from ipvkit.lab.format import load
from namespaces import until_elsewhere
from runtimes import MEMORY_MIB, needs, setup
from test_guest import IPVKIT
from test_inspect_is_right import PYTHON

LOOK = f"{IPVKIT} inspect --json || [[ $? == 1 ]]\n"


def documents(*runtimes: str, world: str) -> tuple[str, list[Any]]:
    """Return what `world` prints in a guest with a LAN and these runtimes, and the JSON documents in it."""
    script = f"{simulated_lan()}set -e\n{setup(*runtimes)}\n{world}"
    said = in_guest(script, memory_mib=MEMORY_MIB)
    assert said.exit_code == 0, said.output
    decode = json.JSONDecoder().raw_decode
    _, *texts = said.output.split('{\n  "schema"')
    return said.output, [decode(f'{{\n  "schema"{text}')[0] for text in texts]


Seen = tuple[str, str, str, tuple[str, str, str] | None]
"""The parent, kind and mode of a link, and the runtime, name and image of its owner."""


def links(document: Any) -> dict[str, Seen]:
    """Return what was seen of each link, by its first address."""
    return {
        link["addresses"][0].partition("/")[0]: (
            on["parent"]["dev"],
            link["kind"],
            link["mode"],
            link["owner"] and (link["owner"]["runtime"], link["owner"]["name"], link["owner"]["image"]),
        )
        for on in document["parents"]
        for link in on["links"]
    }


def pids(document: Any) -> dict[str, int]:
    """Return the process of each owner, by its name."""
    owners = [link["owner"] for on in document["parents"] for link in on["links"] if link["owner"]]
    return {owner["name"]: owner["pid"] for owner in owners if owner["name"] != "sleep"}


def reported(output: str) -> dict[str, int]:
    """Return the processes that the runtimes themselves report, by the names of containers."""
    return {name: int(pid) for name, pid in re.findall(r"^of (\S+): (\d+)$", output, re.MULTILINE)}


VLAN = "ip link add link eth0 name eth0.20 type vlan id 20; ip link set eth0.20 up\n"

PARENTS = f"""
{VLAN}\
ip link add bond0 type bond mode active-backup
for port in d1 d2; do ip link add $port type dummy; ip link set $port master bond0; done; ip link set bond0 up
ip link add d0 type dummy; ip link set d0 up
"""

ENGINES = """
podman network create -d ipvlan --subnet 192.168.104.0/24 --gateway 192.168.104.254 -o parent=eth0 \\
  -o mode=l3 --disable-dns lan
podman network create -d ipvlan --subnet 10.40.0.0/24 -o parent=bond0 --disable-dns bonded
podman network create -d macvlan --subnet 10.30.0.0/24 -o parent=d0 --disable-dns mac
podman run -d --name web --network lan:ip=192.168.104.221 localhost/box:1.0 sleep 600
podman run -d --name bare --cgroups=disabled --network bonded:ip=10.40.0.22 localhost/box:1.0 \\
  sh -c 'sleep 600; true'
podman run -d --name mac --network mac:ip=10.30.0.23 localhost/box:1.0 sleep 600
mkdir /run/elsewhere
unshare --mount bash -euc '
  mount -t tmpfs tmpfs /run/elsewhere
  podman() { command podman --root /run/elsewhere --network-config-dir /etc/containers/networks "$@"; }
  podman import -q /run/box.tar localhost/box:2.0
  podman run -d --name away --network lan:ip=192.168.104.224 localhost/box:2.0 sleep 600
  echo "of away: $(podman inspect -f "{{.State.Pid}}" away)"
'

mkdir -p /var/lib/lxc/store
cat >/var/lib/lxc/store/config <<'END'
lxc.rootfs.path = dir:/run/box
lxc.init.cmd = /bin/sleep 600
lxc.apparmor.profile = unconfined
lxc.net.0.type = ipvlan
lxc.net.0.ipvlan.mode = l2
lxc.net.0.link = eth0.20
lxc.net.0.flags = up
lxc.net.0.name = eth0
lxc.net.0.ipv4.address = 10.20.0.31/24
END
lxc-start -n store
for name in web bare mac; do echo "of $name: $(podman inspect -f '{{.State.Pid}}' $name)"; done
echo "of store: $(lxc-info -n store -p -H)"

ip netns add cni-0b7fd9c5
CNI_COMMAND=ADD CNI_CONTAINERID=c1 CNI_NETNS=/run/netns/cni-0b7fd9c5 CNI_IFNAME=eth0 CNI_PATH=/usr/lib/cni \\
  /usr/lib/cni/ipvlan <<'END'
{"cniVersion": "1.0.0", "name": "lan", "type": "ipvlan", "master": "eth0", "mode": "l3",
 "ipam": {"type": "static", "addresses": [{"address": "192.168.104.241/24"}]}}
END
"""

OTHERS = f"""
endpoint() {{ # NETNS PARENT ADDRESS
  ip netns add "$1"; ip link add s0 link "$2" netns "$1" type ipvlan mode l2
  ip -n "$1" addr add "$3" dev s0; ip -n "$1" link set s0 up
}}
endpoint named bond0 10.40.0.51/24
endpoint of-process bond0 10.40.0.52/24
endpoint of-file eth0.20 10.20.0.53/24
endpoint of-mount eth0.20 10.20.0.54/24
unshare --net sleep 600 >/dev/null 2>&1 & process=$!
{until_elsewhere("$process")}\
ip link add s0 link bond0 netns $process type ipvlan mode l2
nsenter --net=/proc/$process/ns/net sh -c 'ip addr add 10.40.0.55/24 dev s0; ip link set s0 up'
ip netns exec of-process sleep 600 >/dev/null 2>&1 &
exec 9</run/netns/of-file; sleep 600 >/dev/null 2>&1 & exec 9<&-
unshare --mount sh -c '
  touch /run/hidden; mount --bind /run/netns/of-mount /run/hidden; touch /run/ready; exec sleep 600
' >/dev/null 2>&1 &
until [[ -e /run/ready && -n $(ip netns pids of-process) ]]; do sleep 0.05; done
for netns in of-process of-file of-mount; do ip netns del $netns; done
"""


ALL_PAIRS = """
from dataclasses import replace
from ipvkit.lab import HOST, Act, Check
from ipvkit.lab.format import dump, load

lab = load(open("/run/twin.yaml").read(), "twin.yaml")
(phase,) = lab.phases
names = [HOST, *phase.endpoints]
on = {e.name: e.parent for e in lab.endpoints}
# Docker names a gateway for each network; there is none in this world, and so nothing between parents.
pairs = ((one, other) for one in names for other in names if one != other)
checks = (Check(*pair) for pair in pairs if len({on[name] for name in pair if name in on}) == 1)
act = Act(checks=tuple(check for check in checks if lab.pinged(check) is not None))
print(dump(replace(lab, phases=(replace(phase, acts=(*phase.acts[:-1], act)),))))
"""
OBSERVE = f"""
{IPVKIT} adopt >/run/twin.yaml
{PYTHON} -c '{ALL_PAIRS}' >/run/all.yaml
{IPVKIT} run-lab /run/all.yaml --observe --json || [[ $? == 1 ]]
echo "# the twin:"; cat /run/all.yaml
"""


def assert_the_twin_is_alike(output: str, observed: Any) -> None:
    """Check that pings on the machine, and on its twin in another guest, come out as predicted."""
    twin = load(output.partition("# the twin:\n")[2], "twin.yaml")
    (phase,) = observed["phases"]
    differing = [check for check in phase["checks"] if not check["passed"]]
    assert differing == []
    assert len(phase["checks"]) == len(twin.phases[0].acts[-1].checks) >= 12
    (again,) = compared([replace(twin, name="twin")])
    assert again.agrees, (again.differing, again.failure)


@pytest.mark.slow
@needs("podman", "lxc", "cni")
def test_podman_lxc_cni_and_what_no_runtime_made() -> None:
    world = f"{PARENTS}{ENGINES}{OTHERS}{LOOK}{OBSERVE}"
    output, (document, observed) = documents("podman", "lxc", "cni", world=world)
    assert_the_twin_is_alike(output, observed)
    box, sleep = "localhost/box:1.0", ("process", "sleep", "")
    assert links(document) == {
        "192.168.104.221": ("eth0", "ipvlan", "l3", ("podman", "web", box)),
        "192.168.104.224": ("eth0", "ipvlan", "l3", ("podman", "away", "localhost/box:2.0")),
        "192.168.104.241": ("eth0", "ipvlan", "l3", None),
        "10.40.0.22": ("bond0", "ipvlan", "l2", ("podman", "bare", box)),
        "10.40.0.51": ("bond0", "ipvlan", "l2", None),
        "10.40.0.52": ("bond0", "ipvlan", "l2", sleep),
        "10.40.0.55": ("bond0", "ipvlan", "l2", sleep),
        "10.30.0.23": ("d0", "macvlan", "bridge", ("podman", "mac", box)),
        "10.20.0.31": ("eth0.20", "ipvlan", "l2", ("lxc", "store", "")),
        "10.20.0.53": ("eth0.20", "ipvlan", "l2", sleep),
        "10.20.0.54": ("eth0.20", "ipvlan", "l2", sleep),
    }
    assert pids(document) == reported(output)
    assert len(reported(output)) == 5


DOCKER = """
docker network create -d ipvlan --subnet 192.168.104.0/24 -o parent=eth0 -o ipvlan_mode=l3 lan
docker network create -d ipvlan --subnet 10.20.0.0/24 -o parent=eth0.20 tagged
docker network create -d ipvlan --subnet 10.40.0.0/24 -o parent=bond0 bonded
docker network create -d macvlan --subnet 10.30.0.0/24 -o parent=d0 mac
run() { docker run -d --name "$1" --network "$2" --ip "$3" "${@:4}" box:1.0 sleep 600; }
run web lan 192.168.104.221
run limited lan 192.168.104.222 --cgroup-parent /limits
run tagged tagged 10.20.0.23
run bonded bonded 10.40.0.24
run mac mac 10.30.0.25
for name in web limited tagged bonded mac; do
  echo "of $name: $(docker inspect -f '{{.State.Pid}}' $name)"
done
pause=$(ctr -n k8s.io tasks ls | awk 'NR == 2 {print $2}')
echo "of shop/web-0: $pause"
"""


@pytest.mark.slow
@needs("docker", "pods")
def test_docker_and_pods_of_containerd() -> None:
    gone = "kill -9 $pause; until [[ ! -e /proc/$pause ]]; do sleep 0.05; done\n"
    world = f"{PARENTS.replace(VLAN, '')}{DOCKER}{LOOK}{gone}{LOOK}{OBSERVE}"
    output, (document, after, observed) = documents("docker", "pods", world=world)
    assert_the_twin_is_alike(output, observed)
    box = "box:1.0"
    assert links(document) == {
        "192.168.104.221": ("eth0", "ipvlan", "l3", ("docker", "web", box)),
        "192.168.104.222": ("eth0", "ipvlan", "l3", ("docker", "limited", box)),
        "192.168.104.241": ("eth0", "ipvlan", "l3", ("containerd", "shop/web-0", "")),
        "10.20.0.23": ("eth0.20", "ipvlan", "l2", ("docker", "tagged", box)),
        "10.40.0.24": ("bond0", "ipvlan", "l2", ("docker", "bonded", box)),
        "10.30.0.25": ("d0", "macvlan", "bridge", ("docker", "mac", box)),
    }
    assert pids(document) == reported(output)
    assert len(reported(output)) == 6
    assert links(after)["192.168.104.241"] == ("eth0", "ipvlan", "l3", ("cni", "shop/web-0", ""))
