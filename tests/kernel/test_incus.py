"""What ipvkit reads into the devices of Incus, beside what Incus does with them."""

from shlex import quote

import pytest

from guest import in_guest
from runtimes import MEMORY_MIB, needs, setup

DEVICE = "type: nic, nictype: ipvlan, parent: eth0"
STARTED = {
    "without a mode": f"{DEVICE}, ipv4.address: 10.5.0.11, ipv6.address: 'fd00:5::11', ipv6.gateway: none",
    "without prefixes": f"{DEVICE}, mode: l2, ipv4.address: 10.5.0.11, ipv6.address: 'fd00:5::11'",
    "on a VLAN": f"{DEVICE}, vlan: 30, hwaddr: '02:00:00:00:00:11', ipv4.address: 10.5.0.11",
}
REFUSED = {
    "mode l3": f"{DEVICE}, mode: l3, ipv4.address: 10.5.0.11",
    "a prefix in l3s": f"{DEVICE}, ipv4.address: 10.5.0.11/24",
    "gateway auto in l2": f"{DEVICE}, mode: l2, ipv4.address: 10.5.0.11, ipv4.gateway: auto",
    "a gateway in l3s": f"{DEVICE}, ipv4.address: 10.5.0.11, ipv4.gateway: 10.5.0.1",
    "the other family": f"{DEVICE}, ipv4.address: 'fd00:5::11'",
    "no parent": "type: nic, nictype: ipvlan, ipv4.address: 10.5.0.11",
    "an unknown key": f"{DEVICE}, ipv4.address: 10.5.0.11, isolation: vepa",
}
SHOW = """\
pid=$(incus query /1.0/instances/web/state | grep '"pid"' | tr -dc 0-9)
nsenter --net=/proc/$pid/ns/net sh -c 'ip -d addr show eth0; ip route; ip -6 route'
ip -d link show type vlan; ip neigh show proxy; ip route show dev lo
"""


@pytest.mark.slow
@needs("incus")
def test_incus_starts_what_is_read_and_nothing_that_is_refused() -> None:
    parts = [
        f"""{setup("incus")}
ip link add eth0 type veth peer name peer0; ip link set eth0 up; ip link set peer0 up
sysctl -qw net.ipv4.conf.eth0.forwarding=1 net.ipv6.conf.eth0.forwarding=1 net.ipv6.conf.eth0.proxy_ndp=1
launch() {{ incus launch images:debian/13 web >/run/launched 2>&1 <<<"devices: {{eth0: {{$1}}}}"; }}
"""
    ]
    parts += [f"launch {quote(text)} || cat /run/launched\n{SHOW}" for text in STARTED.values()]
    parts += [f"launch {quote(text)}; echo $?\n" for text in REFUSED.values()]
    script = "\nincus delete -f web >/dev/null 2>&1; echo ==\n".join(parts)
    _, *shown = in_guest(script, memory_mib=MEMORY_MIB).output.split("==\n")
    each = dict(zip([*STARTED, *REFUSED], shown, strict=True))
    assert {each[name] for name in REFUSED} == {"1\n"}, each
    l3s, l2, vlan = (each[name] for name in STARTED)
    assert "ipvlan  mode l3s bridge" in l3s
    assert " 10.5.0.11/32 " in l3s
    assert " fd00:5::11/128 " in l3s
    assert l3s.count("\ndefault dev eth0") == 1
    assert "\n10.5.0.11 dev eth0 proxy" in l3s
    assert "\n10.5.0.11 scope link" in l3s
    assert "ipvlan  mode l2 bridge" in l2
    assert " 10.5.0.11/24 " in l2
    assert " fd00:5::11/64 " in l2
    assert "\ndefault" not in l2
    assert "eth0.30@eth0" in vlan
    assert "02:00:00:00:00:11" not in vlan
