"""What ipvkit reads into and writes for LXC, beside what LXC does with it."""

import re
from shlex import quote

import pytest

from guest import in_guest
from ipvkit.formats.lxc import FORMAT
from ipvkit.lab.fields import Source
from runtimes import MEMORY_MIB, lxc_rootfs, needs, setup

LINK = """\
lxc.net.0.type = ipvlan
lxc.net.0.ipvlan.mode = l3s
lxc.net.0.link = eth0
lxc.net.0.flags = up
lxc.net.0.ipv4.address = 10.5.0.11/24
"""

STARTED = {
    "as it is": LINK,
    "without a mode": LINK.replace("lxc.net.0.ipvlan.mode = l3s\n", ""),
    "without a prefix length": LINK.replace("/24", "") + "lxc.net.0.ipv6.address = fd00:5::11\n",
    "with an address after dev": LINK + "lxc.net.0.ipv4.gateway = dev\nlxc.net.0.ipv4.gateway = 10.5.0.1\n",
    "with lines that delete others": LINK + "lxc.net.0.mtu = 1400\nlxc.net.0.mtu =\n",
}
REFUSED = {
    "the mode first": "lxc.net.0.ipvlan.mode = l3\n" + LINK,
    "hwaddr": LINK + "lxc.net.0.hwaddr = 02:00:00:00:00:11\n",
    "gateway auto": LINK + "lxc.net.0.ipv4.gateway = auto\n",
    "a gateway without an address": LINK.replace("ipv4.address = 10.5.0.11/24", "ipv6.address = fd00:5::11")
    + "lxc.net.0.ipv4.gateway = dev\n",
    "a gateway of the other family": LINK + "lxc.net.0.ipv4.gateway = fd00:5::1\n",
    "l2proxy in l3": LINK.replace("l3s", "l3") + "lxc.net.0.l2proxy = 1\n",
    "an unknown key": LINK + "lxc.net.0.ipvlan.isolate = vepa\n",
    "an unknown isolation": LINK + "lxc.net.0.ipvlan.isolation = none\n",
    "a key of LXC 2": LINK + "lxc.network.type = veth\n",
    "no parent": LINK.replace("lxc.net.0.link = eth0\n", ""),
    "a line without =": LINK + "lxc.net.0.flags\n",
}

WORLD = f"""\
{setup("lxc")}{lxc_rootfs("web")}
ip link add eth0 type veth peer name peer0; ip link set eth0 up; ip link set peer0 up
config() {{ # CONFIG
  printf 'lxc.rootfs.path = dir:/var/lib/lxc/web/rootfs\\n%s' "$1" >/var/lib/lxc/web/config
}}
# What is left after a stop goes with the container's monitor.
gone() {{ for _ in $(seq 600); do [[ -z $(left) ]] && return; sleep 0.1; done; }}
left() {{ ip neigh show proxy; ip route show dev lo; ip -6 route show dev lo; }}
"""


@pytest.mark.slow
@needs("lxc")
def test_lxc_starts_what_is_read_and_nothing_that_is_refused() -> None:
    show = 'nsenter --net=/proc/$(lxc-info -n web -p -H)/ns/net sh -c "ip -d addr show eth0; ip route"'
    parts = [
        f"config {quote(text)}; lxc-start -n web; {show}; lxc-stop -k -n web" for text in STARTED.values()
    ]
    # In the background lxc-start may wait forever for a container that has failed.
    start = "timeout -k 10 60 lxc-start -F -n web </dev/null 2>/dev/null; echo $?"
    parts += [f"config {quote(text)}; {start}" for text in REFUSED.values()]
    script = "\necho ==\n".join([WORLD, *parts])
    _, *shown = in_guest(script, memory_mib=MEMORY_MIB).output.split("==\n")
    each = dict(zip([*STARTED, *REFUSED], shown, strict=True))
    assert {each[name] for name in REFUSED} == {"1\n"}, each
    assert "ipvlan  mode l3s bridge" in each["as it is"]
    assert "ipvlan  mode l2 bridge" in each["without a mode"]
    assert "inet 10.5.0.11/8 " in each["without a prefix length"]
    assert "inet6 fd00:5::11/64 " in each["without a prefix length"]
    assert "\ndefault dev eth0" in each["with an address after dev"]
    assert " mtu 1500 " in each["with lines that delete others"]


@pytest.mark.slow
@needs("lxc")
def test_a_container_with_a_proxy_starts_again_and_leaves_nothing() -> None:
    text = LINK + "lxc.net.0.l2proxy = 1\nlxc.net.0.ipv6.address = fd00:5::11/64\n"
    (file,) = FORMAT.written(FORMAT.read([Source("/var/lib/lxc/web/config", text)])).files
    # Without the hook the route that LXC leaves keeps the container from starting: the reason for the hook.
    bare = re.sub("lxc.hook.post-stop.*\n", "", file.text)
    script = f"""{WORLD}
config {quote(file.text)}
for time in first second; do lxc-start -n web && echo "$time"; lxc-stop -k -n web; gone; done
config {quote(bare)}
lxc-start -n web && echo third; lxc-stop -k -n web
timeout -k 10 60 lxc-start -F -n web </dev/null 2>/dev/null; echo $?; left
"""
    assert in_guest(script, memory_mib=MEMORY_MIB).output.splitlines() == [
        *("first", "second", "third", "1"),
        "10.5.0.11 dev eth0 proxy ",
        "fd00:5::11 dev eth0 proxy ",
        "10.5.0.11 scope link ",
        "fd00:5::11 metric 1024 pref medium",
    ]
