"""What is read of Podman's networks is what netavark makes of them; checks through it are as predicted."""

import json
import re
import shlex
from ipaddress import ip_network
from typing import Any

import pytest

from guest import in_guest
from ipvkit.formats.deployment import lab_of
from ipvkit.formats.podman import FORMAT
from ipvkit.lab import Lab, Setting
from ipvkit.lab.fields import Source
from ipvkit.predict.whole import predict_lab
from requires import requires
from test_deployed import SETTLE, SHOW, built, lan, names_of, pinged, shown
from test_setups import APART

PROGRAM = "/usr/lib/podman/netavark"
NETAVARK = f"""\
netavark() {{
  {PROGRAM} --config /run/netavark "$@" >/run/said || {{ echo "failed: $*"; cat /run/said; }}
}}
"""

DIFFERS = {"broadcast", "nodad", "protocol"}
"""What netavark sets otherwise than the lab's own commands."""

V4 = {"subnet": "192.168.104.0/24", "gateway": "192.168.104.254"}
V6 = {"subnet": "2001:db8:104::/64", "gateway": "2001:db8:104::254"}
FAR = [
    {"destination": "198.51.100.0/24", "gateway": "192.168.104.254"},
    {"destination": "2001:db8:fa::/48", "gateway": "2001:db8:104::254", "metric": 7},
]

Networks = tuple[tuple[Setting, dict[str, Any]], ...]

NETWORKS: Networks = (
    (Setting("l2"), {"subnets": [V4, V6], "options": {"mtu": "1400", "ipvlan_flag": "private"}}),
    (Setting("l3"), {"subnets": [V4, V6], "options": {"mode": "l3", "metric": "9"}}),
    (
        Setting("l3s"),
        {"subnets": [V4, V6], "internal": True, "routes": FAR, "options": {"mode": "l3s"}},
    ),
    (
        Setting("l2"),
        {
            "subnets": [V4, {"subnet": "10.5.0.0/16", "gateway": "10.5.0.9"}],
            "routes": FAR[:1],
            "options": {"no_default_route": "true"},
        },
    ),
)
"""Networks of Podman, and the setting that netavark gives their links: it ignores a flag."""


def inspected(changes: dict[str, Any]) -> dict[str, Any]:
    """Return what `podman network inspect` prints of a network with two containers."""
    subnets = [ip_network(each["subnet"]) for each in changes["subnets"]]
    containers = {}
    for number, name in enumerate(("web", "db"), 211):
        addresses = [{"ipnet": f"{subnet[number]}/{subnet.prefixlen}"} for subnet in subnets]
        containers[name] = {"name": name, "interfaces": {"eth0": {"subnets": addresses}}}
    return {
        "name": "lan",
        "id": "5d7a" * 16,
        "driver": "ipvlan",
        "network_interface": "eth0",
        "ipv6_enabled": V6 in changes["subnets"],
        "internal": False,
        "dns_enabled": False,
        "ipam_options": {"driver": "host-local"},
        "containers": containers,
        **changes,
    }


def made(network: dict[str, Any], lab: Lab) -> str:
    """Return bash in which netavark does what Podman has it do for each container, on the LAN of `lab`."""
    lines = [SHOW, SETTLE, NETAVARK, "netns() { echo /run/netns/$1; }\n", lan(lab)]
    remove = []
    for container in network["containers"].values():
        name, ((dev, interface),) = container["name"], container["interfaces"].items()
        addresses = [each["ipnet"].partition("/")[0] for each in interface["subnets"]]
        stated = {
            "container_id": name,
            "container_name": name,
            "networks": {network["name"]: {"interface_name": dev, "static_ips": addresses}},
            "network_info": {network["name"]: network},
        }
        call = f"/run/netns/{name} <<<{shlex.quote(json.dumps(stated))}"
        lines.append(f"ip netns add {name}\nnetavark setup {call}\n")
        remove.append(f"netavark teardown {call}\n")
        remove.append(f"ip -n {name} link show {dev} 2>/dev/null && echo failed: {name} has its link\n")
    lines += [f'settle "$(netns {e.netns})"\n' for e in lab.endpoints]
    lines += [f'show {e.name} "$(netns {e.netns})"\n' for e in lab.endpoints]
    (act,) = lab.phases[0].acts
    return APART.format("".join([*lines, *pinged(lab, act.checks), *remove]))


@requires(PROGRAM)
@pytest.mark.parametrize(
    "networks", [NETWORKS[1:3], pytest.param((NETWORKS[0], NETWORKS[3]), marks=pytest.mark.slow)], ids=len
)
def test_netavark_makes_what_is_read(networks: Networks) -> None:
    labs, scripts = [], []
    for setting, changes in networks:
        network = inspected(changes)
        lab, _ = lab_of(FORMAT.read([Source("lan.json", json.dumps([network]))]))
        assert lab.phases[0].setting == setting
        labs.append(lab)
        scripts.append(f"{built(lab)}echo == made\n{made(network, lab)}echo == end\n")
    said = in_guest("".join(scripts), 1200)
    assert not re.findall("failed: .*(?:\n.*){0,9}", said.output)
    *every, _ = said.output.split("== end\n")
    assert len(every) == len(labs)
    differing: set[str] = set()
    for lab, text in zip(labs, every, strict=True):
        before, after = text.split("== made\n")
        there, here = shown(before), shown(after)
        assert set(there) == set(here) == {"web", "db"}
        for endpoint in there:
            assert len(there[endpoint]) > 10
            differing |= names_of(there[endpoint] ^ here[endpoint])
        observed = dict(re.findall(r"^check (\d+) (\w+)$", after, re.MULTILINE))
        (phase,) = predict_lab(lab)
        for number, probe in enumerate(phase.acts[0].probes):
            assert observed[str(number)] in probe.outcomes, (lab.phases[0].setting, probe)
    assert differing == DIFFERS
