"""Configs of LXC containers as people write them: the endpoints of each by hand, and mistakes."""

from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network

import pytest

from ipvkit.core.errors import InvalidLab, UsageError
from ipvkit.formats.deployment import Deployment, OnParent, lab_of
from ipvkit.formats.lxc import FORMAT
from ipvkit.lab import Endpoint, Parent, Setting
from ipvkit.lab.fields import Source
from ipvkit.lab.parts import Route

V4, V6 = ip_network("0.0.0.0/0"), ip_network("::/0")


def read(**files: str) -> Deployment:
    """Return what the containers with these configs deploy."""
    return FORMAT.read([Source(f"/var/lib/lxc/{name}/config", text) for name, text in files.items()])


def endpoint(name: str, *addresses: str, **others: object) -> Endpoint:
    """Return an endpoint called eth0 on eth0, in a namespace of its name."""
    known = {"netns": name, "parent": "eth0", "routes": (), "dev": "eth0", **others}
    return Endpoint(name, tuple(map(ip_interface, addresses)), **known)  # type: ignore[arg-type]


LINK = """\
lxc.net.0.type = ipvlan
lxc.net.0.ipvlan.mode = l3s
lxc.net.0.link = eth0
lxc.net.0.flags = up
lxc.net.0.ipv4.address = 10.5.0.11/24
"""
"""What the other configs vary."""


def test_a_container_of_lxc_create_with_its_usual_lines() -> None:
    text = """\
# Template used to create this container: /usr/share/lxc/templates/lxc-debian
lxc.include = /usr/share/lxc/config/debian.common.conf
lxc.include = /etc/lxc/site.conf
lxc.apparmor.profile = generated
lxc.mount.entry = tmpfs\ttmp\ttmpfs nosuid,nodev 0 0
lxc.cap.drop =
lxc.rootfs.path = dir:/var/lib/lxc/web/rootfs
lxc.uts.name = www.example.com
  lxc.net.0.type = ipvlan
lxc.net.0.ipvlan.mode=l2
lxc.net.0.link = eth0
lxc.net.0.flags = up
lxc.net.0.ipv4.address = 192.168.178.100/24 192.168.178.255
lxc.net.0.ipv4.gateway = 192.168.178.1
a line that LXC ignores
lxc.hook.mount = /usr/local/bin/mount
"""
    route = Route(V4, ip_address("192.168.178.1"))
    parent = Parent("eth0", gateway=(ip_address("192.168.178.1"),), others=(ip_network("192.168.178.0/24"),))
    assert read(web=text) == Deployment(
        "lxc",
        (OnParent(parent, Setting("l2"), (endpoint("web", "192.168.178.100/24", routes=(route,)),)),),
        (
            "/var/lib/lxc/web/config:3: /etc/lxc/site.conf is not read",
            "/var/lib/lxc/web/config:16: what a hook changes is left out",
        ),
    )


def test_l2proxy_with_single_addresses_is_a_strategy_and_a_usual_subnet() -> None:
    text = """\
lxc.net.0.name = eth0
lxc.net.0.type = ipvlan
lxc.net.0.flags = up
lxc.net.0.ipvlan.mode = l3s
lxc.net.0.ipvlan.isolation = private
lxc.net.0.l2proxy = 1
lxc.net.0.link = eth0
lxc.net.0.mtu = 1400
lxc.net.0.ipv4.address = 10.130.0.11/32
lxc.net.0.ipv4.address = 10.130.0.12/32
lxc.net.0.ipv4.gateway = dev
lxc.net.0.ipv6.address = fd00:5::11/128
lxc.net.0.ipv6.gateway = dev
"""
    deployment = read(c1=text)
    addresses = ("10.130.0.11/32", "10.130.0.12/32", "fd00:5::11/128")
    (on,) = deployment.parents
    assert on.setting == Setting("l3s", "private", strategy="l3s-proxy")
    assert on.endpoints == (endpoint("c1", *addresses, routes=(Route(V4), Route(V6)), mtu=1400),)
    lab, notes = lab_of(deployment)
    assert lab.parents[0].subnets == (ip_network("10.130.0.0/24"), ip_network("fd00:5::/64"))
    assert notes[:2] == (
        "the subnet of 10.130.0.11 on eth0 is in no file; 10.130.0.0/24 is a usual one",
        "the subnet of fd00:5::11 on eth0 is in no file; fd00:5::/64 is a usual one",
    )


def test_several_links_of_a_container_share_its_namespace() -> None:
    text = """\
lxc.net.10.type = ipvlan
lxc.net.10.link = eth0.30
lxc.net.10.ipvlan.mode = l3
lxc.net.10.flags = up
lxc.net.10.ipv6.address = fd00:30::11
lxc.net.2.type = veth
lxc.net.2.link = lxcbr0
lxc.net.2.hwaddr = 00:16:3e:xx:xx:xx
lxc.net.3.type = ipvlan
lxc.net.3.link = eth0
lxc.net.3.ipvlan.mode = l2
lxc.net.3.name = lan
lxc.net.3.flags = up
lxc.net.3.ipv4.address = 192.168.5.11
"""
    deployment = read(gw=text)
    assert deployment.endpoints == (
        endpoint("gw", "192.168.5.11/24", dev="lan"),
        endpoint("gw-eth1", "fd00:30::11/64", netns="gw", parent="eth0.30", dev="eth1"),
    )
    assert [(on.parent.name, on.parent.vlan, on.setting) for on in deployment.parents] == [
        ("eth0", None, Setting("l2")),
        ("eth0.30", 30, Setting("l3")),
    ]
    assert deployment.notes == (
        "/var/lib/lxc/gw/config:14: without a prefix length LXC takes /24",
        "/var/lib/lxc/gw/config:5: without a prefix length LXC takes /64",
    )


def test_lines_delete_and_replace_those_before() -> None:
    text = f"""\
{LINK}
lxc.net.0.link = 'bond0'
lxc.net.0.ipv4.address =
lxc.net.0.ipv4.address = "10.6.0.11/16"
lxc.net.0.ipv4.gateway = dev
lxc.net.0.ipv4.gateway = 10.6.0.1
lxc.net.0.l2proxy = 1
lxc.net.0.l2proxy = 0
lxc.net.0.script.up = /bin/true
"""
    (on,) = read(web=text).parents
    # LXC itself keeps `dev` when an address follows.
    assert on.endpoints == (endpoint("web", "10.6.0.11/16", parent="bond0", routes=(Route(V4),)),)
    assert on.setting == Setting("l3s")
    assert read(web=f"lxc.net.0.type = veth\nlxc.net =\n{LINK}") == read(web=f"\n\n{LINK}")
    gateways = "lxc.net.0.ipv4.gateway = 10.5.0.1\nlxc.net.0.ipv4.gateway = 10.5.0.2\n"
    assert read(web=LINK + gateways).endpoints[0].routes == (Route(V4, ip_address("10.5.0.2")),)


@pytest.mark.parametrize(
    ("file", "netns"),
    [
        ("/var/lib/lxc/101/config", "lxc-101"),
        ("web.conf", "web"),
        ("config", "config"),
        ("my web/config", "my-web"),
    ],
)
def test_a_container_has_the_name_of_its_folder_or_file(file: str, netns: str) -> None:
    assert FORMAT.read([Source(file, LINK)]).endpoints[0].netns == netns


def test_a_config_outside_the_folder_has_the_hostname() -> None:
    assert FORMAT.read([Source("config", f"lxc.uts.name = db\n{LINK}")]).endpoints[0].netns == "db"


def test_the_mode_of_a_link_without_one_is_what_lxc_makes_not_what_its_manual_says() -> None:
    deployment = read(web=LINK.replace("lxc.net.0.ipvlan.mode = l3s\n", ""))
    assert deployment.parents[0].setting == Setting("l2")
    assert deployment.notes == (
        "/var/lib/lxc/web/config:1: without `lxc.net.0.ipvlan.mode` LXC takes l2, not l3 as in its manual",
    )


WRONG = {
    "lxc.network.type = veth\n": (
        "web:1: lxc.network.type: LXC knows no such key",
        "`lxc-update-config` rewrites a config of LXC 2",
    ),
    "lxc.net.0.type = veth\n": (
        "web: it has no link of type ipvlan",
        "ipvkit reads those with `lxc.net.0.type = ipvlan`",
    ),
    "lxc.net.0.name = ipvlan\nlxc.net.0.ipvlan.mode = l3\n" + LINK: (
        "web:2: lxc.net.0.ipvlan.mode: LXC takes it only after `lxc.net.0.type = ipvlan`",
        "move it below that line",
    ),
    LINK + "lxc.net.0.flags\n": (
        "web:6: lxc.net.0.flags: a line without `=`",
        "write it as in `lxc.net.0.type = ipvlan`",
    ),
    LINK.replace("flags = up", "flags ="): (
        "web:1: `lxc.net.0.flags` is missing",
        "add `lxc.net.0.flags = up`: without it LXC leaves the link down",
    ),
    LINK.replace("lxc.net.0.link = eth0\n", ""): (
        "web:1: `lxc.net.0.link` is missing",
        "name the parent, as in `lxc.net.0.link = eth0`",
    ),
    LINK.partition("lxc.net.0.ipv4")[0]: (
        "web:1: `lxc.net.0.ipv4.address` is missing",
        "add it: what is configured in the container is not read",
    ),
    LINK + "lxc.net.0.hwaddr = 00:16:3e:00:00:01\n": (
        "web:6: lxc.net.0.hwaddr: LXC starts no container with it: an ipvlan link has the MAC address of its "
        "parent",
        "remove the line",
    ),
    LINK + "lxc.net.0.ipvlan.isolate = vepa\n": (
        "web:6: lxc.net.0.ipvlan.isolate: an ipvlan link has no such key",
        "did you mean `lxc.net.0.ipvlan.isolation`?",
    ),
    LINK + "lxc.net.0.ipvlan.isolation = none\n": (
        "web:6: lxc.net.0.ipvlan.isolation: unknown value 'none'",
        "choose from bridge, private, vepa",
    ),
    LINK.replace("l3s", "l4"): (
        "web:2: lxc.net.0.ipvlan.mode: unknown value 'l4'",
        "choose from l2, l3, l3s",
    ),
    LINK.replace("l3s", "l3") + "lxc.net.0.l2proxy = 1\n": (
        "web:6: lxc.net.0.l2proxy: LXC starts no container with it in mode l3",
        "write `lxc.net.0.ipvlan.mode = l3s`",
    ),
    LINK + "lxc.net.0.ipv4.gateway = auto\n": (
        "web:6: lxc.net.0.ipv4.gateway: LXC finds a gateway for links of type veth and macvlan only",
        "write its address, or `dev` for a default route out of the link",
    ),
    LINK + "lxc.net.0.ipv4.gateway = 10.6.0.1\n": (
        "web:6: lxc.net.0.ipv4.gateway: 10.6.0.1 is in no subnet of the link; LXC adds a route to it first",
        "a lab has gateways in a subnet only: take a shorter prefix length",
    ),
    LINK + "lxc.net.0.ipv4.gateway = fd00::1\n": (
        "web:6: lxc.net.0.ipv4.gateway: fd00::1 is not of IPv4",
        "write it in `lxc.net.0.ipv6.gateway`",
    ),
    LINK + "lxc.net.0.ipv6.gateway = dev\n": (
        "web:6: lxc.net.0.ipv6.gateway: the link has no IPv6 address",
        "add `lxc.net.0.ipv6.address`",
    ),
    LINK + "lxc.net.0.ipv6.address = 10.5.0.12/24\n": (
        "web:6: lxc.net.0.ipv6.address: 10.5.0.12/24 is not of IPv6",
        "write it in `lxc.net.0.ipv4.address`",
    ),
    LINK + "lxc.net.0.mtu = 20\n": ("web:6: lxc.net.0.mtu: invalid MTU '20'", "choose from 68 to 65535"),
}


@pytest.mark.parametrize("text", WRONG)
def test_what_lxc_would_not_start_is_refused_with_its_place(text: str) -> None:
    with pytest.raises(InvalidLab) as caught:
        FORMAT.read([Source("web", text)])
    assert (caught.value.message, caught.value.hint) == WRONG[text]


def test_a_proxy_for_some_endpoints_of_a_parent_is_refused() -> None:
    other = LINK.replace("0.11", "0.12")
    with pytest.raises(InvalidLab) as caught:
        read(web=f"{LINK}lxc.net.0.l2proxy = 1\n", db=other)
    assert caught.value.message == "web has `l2proxy` and db has not, both on eth0"
    assert caught.value.hint == "a lab has strategy l3s-proxy for all endpoints on a parent, or for none"


def test_what_is_written_for_l2proxy_on_a_vlan() -> None:
    text = LINK.replace("eth0", "eth0.30") + "lxc.net.0.l2proxy = 1\nlxc.net.0.ipv6.address = fd00:5::11/64\n"
    written = FORMAT.written(read(web=text))
    (file,) = written.files
    assert file.path == "/var/lib/lxc/web/config"
    assert (
        file.text
        == """\
# A lab knows no root file system: it is expected where lxc-create has it.
lxc.include = /usr/share/lxc/config/common.conf
lxc.rootfs.path = dir:/var/lib/lxc/web/rootfs
lxc.uts.name = web
lxc.start.auto = 1
lxc.hook.pre-start = sh -c 'sysctl -w net.ipv4.conf.eth0/30.forwarding=1 \
net.ipv4.neigh.eth0/30.proxy_delay=0 net.ipv6.conf.eth0/30.forwarding=1 net.ipv6.conf.eth0/30.proxy_ndp=1 \
net.ipv6.neigh.eth0/30.proxy_delay=0'
lxc.hook.post-stop = sh -c 'ip neigh del proxy 10.5.0.11 dev eth0.30; ip neigh del proxy fd00:5::11 dev \
eth0.30; ip route del 10.5.0.11/32 dev lo; ip route del fd00:5::11/128 dev lo'
lxc.net.0.type = ipvlan
lxc.net.0.ipvlan.mode = l3s
lxc.net.0.ipvlan.isolation = bridge
lxc.net.0.link = eth0.30
lxc.net.0.name = eth0
lxc.net.0.flags = up
lxc.net.0.l2proxy = 1
lxc.net.0.ipv4.address = 10.5.0.11/24
lxc.net.0.ipv6.address = fd00:5::11/64
"""
    )
    assert written.activate == (
        "ip link add eth0.30 link eth0 type vlan id 30",
        "ip link set eth0.30 up",
        "lxc-start -n web",
    )
    assert written.remove == ("lxc-stop -k -n web", "ip link delete eth0.30")


def test_a_proxy_in_another_mode_is_refused() -> None:
    deployment = read(web=LINK)
    (on,) = deployment.parents
    tried = replace(deployment, parents=(replace(on, setting=Setting("l3", strategy="l3s-proxy")),))
    with pytest.raises(UsageError) as caught:
        FORMAT.written(tried)
    assert caught.value.message == "LXC cannot say strategy l3s-proxy in mode l3 on eth0"
    assert caught.value.hint == "LXC has `l2proxy`, which is l3s-proxy, in mode l3s"
