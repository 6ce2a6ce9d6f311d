"""Instances and profiles of Incus as people write them: the endpoints of each by hand, and mistakes."""

from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network

import pytest

from ipvkit.core.errors import InvalidLab, UsageError
from ipvkit.formats.deployment import Deployment, OnParent
from ipvkit.formats.incus import FORMAT
from ipvkit.lab import Endpoint, Parent, Setting
from ipvkit.lab.fields import Source
from ipvkit.lab.parts import Route

V4, V6 = ip_network("0.0.0.0/0"), ip_network("::/0")


def read(**files: str) -> Deployment:
    """Return what these files deploy, each called by its key."""
    return FORMAT.read([Source(f"there/{name}.yaml", text) for name, text in files.items()])


def endpoint(name: str, *addresses: str, **others: object) -> Endpoint:
    """Return an endpoint called eth0 on eth0, in a namespace of its name."""
    known = {"netns": name, "parent": "eth0", "routes": (), "dev": "eth0", **others}
    return Endpoint(name, tuple(map(ip_interface, addresses)), **known)  # type: ignore[arg-type]


def test_a_profile_in_l3s_has_single_addresses_and_the_proxy() -> None:
    text = """\
config:
  user.network-config: |
    version: 2
    ethernets: {eth0: {addresses: [192.168.1.201/32]}}
description: ipvlan LXD profile
devices:
  eth0:
    ipv4.address: 192.168.1.201, 192.168.1.202
    ipv6.address: 2001:db8::201
    ipv6.gateway: none
    mtu: "1400"
    nictype: ipvlan
    parent: eth0
    type: nic
  root: {path: /, pool: default, type: disk}
name: lan
used_by: []
"""
    addresses = ("192.168.1.201/32", "192.168.1.202/32", "2001:db8::201/128")
    own = endpoint("lan", *addresses, routes=(Route(V4),), mtu=1400)
    subnets = tuple(ip_network(address) for address in addresses)
    assert read(profile=text) == Deployment(
        "incus",
        (OnParent(Parent("eth0", others=subnets), Setting("l3s", strategy="l3s-proxy"), (own,)),),
        (
            "eth0: Incus starts no instance before net.ipv4.conf.eth0.forwarding=1, "
            "net.ipv6.conf.eth0.forwarding=1, net.ipv6.conf.eth0.proxy_ndp=1, which no file sets",
        ),
    )


def test_an_instance_in_l2_has_the_name_of_its_file_and_usual_prefixes() -> None:
    text = """\
architecture: x86_64
config: {volatile.eth0.host_name: incbeaf4c8b}
devices:
  eth0: {type: nic, network: incusbr0}
  lan:
    type: nic
    nictype: ipvlan
    mode: l2
    parent: eth0
    vlan: 30
    hwaddr: 10:66:6a:00:00:01
    ipv4.address: 10.5.0.11
    ipv4.gateway: 10.5.0.1
    ipv6.address: fd00:5::11/80
ephemeral: false
profiles:
- default
"""
    via = ip_address("10.5.0.1")
    own = endpoint(
        "web", "10.5.0.11/24", "fd00:5::11/80", dev="eth1", parent="eth0.30", routes=(Route(V4, via),)
    )
    parent = Parent("eth0.30", gateway=(via,), link="eth0", vlan=30)
    parent = replace(parent, others=(ip_network("10.5.0.0/24"), ip_network("fd00:5::/80")))
    notes = ("there/web.yaml:11: `hwaddr` changes nothing in a lab",)
    assert read(web=text) == Deployment("incus", (OnParent(parent, Setting("l2"), (own,)),), notes)


def test_a_list_of_instances_is_read_with_the_devices_of_their_profiles() -> None:
    text = """\
- name: c1
  type: container
  devices: {}
  expanded_devices:
    eth0: {nictype: ipvlan, parent: eth0, type: nic, ipv4.address: 192.0.2.11}
    eth1: {nictype: ipvlan, parent: eth1, type: nic, mode: l2, ipv4.address: 10.5.0.11/16}
- name: vm
  type: virtual-machine
  expanded_devices:
    eth0: {nictype: bridged, parent: br0, type: nic}
"""
    assert read(all=text).endpoints == (
        endpoint("c1", "192.0.2.11/32", routes=(Route(V4),)),
        endpoint("c1-eth1", "10.5.0.11/16", netns="c1", parent="eth1", dev="eth1"),
    )


def test_a_preseed_file_has_profiles() -> None:
    text = """\
networks: []
profiles:
- name: default
  devices: {root: {type: disk, path: /, pool: local}}
- name: web
  devices: {eth0: {type: nic, nictype: ipvlan, parent: eth0, ipv4.address: 192.0.2.11}}
"""
    assert read(preseed=text).endpoints == (endpoint("web", "192.0.2.11/32", routes=(Route(V4),)),)


DEVICE = """\
devices:
  lan:
    type: nic
    nictype: ipvlan
    parent: eth0
    mode: l2
    ipv4.address: 10.5.0.11/24
"""
WRONG = {
    "devices: {eth0: {type: nic, network: incusbr0}}\n": (
        "web.yaml: no device has nictype ipvlan",
        "`incus config show --expanded NAME` prints what it looks like",
    ),
    DEVICE.replace("    parent: eth0\n", ""): (
        "web.yaml:3: lan: `parent` is missing",
        "add `parent: …`",
    ),
    DEVICE.partition("    ipv4.address")[0]: (
        "web.yaml:3: lan: no `ipv4.address`",
        "add it: what is configured in the instance is not read",
    ),
    DEVICE.replace("mode: l2", "mode: l3"): (
        "web.yaml:6: mode: unknown value 'l3'",
        "choose from l2, l3s",
    ),
    DEVICE.replace("mode: l2", "mode: l3s"): (
        "web.yaml:7: ipv4.address: invalid address '10.5.0.11/24'",
        "write it like 192.0.2.1 or 2001:db8::1",
    ),
    DEVICE.replace("0.11/24", "0.0/24"): (
        "web.yaml:7: ipv4.address: 10.5.0.0/24 is the network or the broadcast address of its subnet",
        "use another address of 10.5.0.0/24",
    ),
    DEVICE.replace("ipv4.address", "ipv6.address"): (
        "web.yaml:7: ipv6.address: 10.5.0.11/24 is not of IPv6",
        "write it in `ipv4.address`",
    ),
    DEVICE + "    ipv4.gateway: auto\n": (
        "web.yaml:8: ipv4.gateway: invalid address 'auto'",
        "write it like 192.0.2.1 or 2001:db8::1",
    ),
    DEVICE + "    ipv4.gateway: 10.6.0.1\n": (
        "web.yaml:8: ipv4.gateway: 10.6.0.1 is in no subnet of the link; LXC adds a route to it first",
        "a lab has gateways in a subnet only: take a shorter prefix length",
    ),
    DEVICE + "    ipv4.adress: 10.5.0.12\n": (
        "web.yaml:8: ipv4.adress: an ipvlan device has no such key",
        "did you mean `ipv4.address`?",
    ),
    DEVICE + "    vlan: 4095\n": ("web.yaml:8: vlan: invalid VLAN '4095'", "choose from 1 to 4094"),
}


@pytest.mark.parametrize("text", WRONG)
def test_what_incus_would_not_start_is_refused_with_its_place(text: str) -> None:
    with pytest.raises(InvalidLab) as caught:
        FORMAT.read([Source("web.yaml", text)])
    assert (caught.value.message, caught.value.hint) == WRONG[text]


def test_what_is_written_for_the_proxy() -> None:
    own = endpoint("web", "10.5.0.11/32", "fd00:5::11/128", dev="lan", routes=(Route(V6),))
    setting = Setting("l3s", strategy="l3s-proxy")
    written = FORMAT.written(Deployment("lab", (OnParent(Parent("eth0"), setting, (own,)),)))
    (file,) = written.files
    assert file.path == "web.yaml"
    assert (
        file.text
        == """\
devices:
  eth0:
    type: nic
    nictype: ipvlan
    name: lan
    parent: eth0
    mode: l3s
    ipv4.address: 10.5.0.11
    ipv4.gateway: none
    ipv6.address: fd00:5::11
    ipv6.gateway: auto
"""
    )
    assert written.activate == (
        "sysctl -w net.ipv4.conf.eth0.forwarding=1 net.ipv4.neigh.eth0.proxy_delay=0 "
        "net.ipv6.conf.eth0.forwarding=1 net.ipv6.conf.eth0.proxy_ndp=1 net.ipv6.neigh.eth0.proxy_delay=0",
        "incus launch images:debian/13 web <web.yaml",
    )
    assert written.remove == ("incus delete --force web",)
    assert written.notes == (
        "eth0: Incus starts no instance on it before its sysctls are set, after a reboot too",
    )


def test_incus_creates_a_vlan_with_the_usual_name_and_no_other_one() -> None:
    vlan = Parent("eth0.30", link="eth0", vlan=30)
    every = []
    for number, parent in enumerate((vlan, replace(vlan, name="tagged", vlan=40))):
        own = endpoint(f"web{number}", f"10.{number}.0.11/24", parent=parent.name, mtu=1400)
        every.append(OnParent(parent, Setting("l2"), (own,)))
    written = FORMAT.written(Deployment("lab", tuple(every)))
    assert [file.text.split("\n")[5:-1] for file in written.files] == [
        [
            *("    parent: eth0", "    vlan: '30'", "    mode: l2", "    mtu: '1400'"),
            "    ipv4.address: 10.0.0.11/24",
        ],
        ["    parent: tagged", "    mode: l2", "    mtu: '1400'", "    ipv4.address: 10.1.0.11/24"],
    ]
    assert written.activate[:2] == ("ip link add tagged link eth0 type vlan id 40", "ip link set tagged up")
    assert written.remove[-1] == "ip link delete tagged"


OTHERWISE = {
    "mode l3s on eth0 without strategy l3s-proxy": (Setting("l3s"), "10.5.0.11/32", Route(V4)),
    "10.5.0.11/24 of web in l3s": (Setting("l3s", strategy="l3s-proxy"), "10.5.0.11/24", Route(V4)),
    "a default route via 10.5.0.1 of web in l3s": (
        Setting("l3s", strategy="l3s-proxy"),
        "10.5.0.11/32",
        Route(V4, ip_address("10.5.0.1")),
    ),
    "a default route without a gateway of web in l2": (Setting("l2"), "10.5.0.11/24", Route(V4)),
}


@pytest.mark.parametrize("what", OTHERWISE)
def test_what_incus_does_otherwise_is_refused(what: str) -> None:
    setting, address, route = OTHERWISE[what]
    on = OnParent(Parent("eth0"), setting, (endpoint("web", address, routes=(route,)),))
    with pytest.raises(UsageError) as caught:
        FORMAT.written(Deployment("lab", (on,)))
    assert caught.value.message == f"Incus cannot say {what}"
