"""What will go wrong on a real parent is found in what the machine shows, all of it at once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Interface, IPv6Interface
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipvkit.host.checks import (
    RIDERS,
    SEVERITIES,
    Code,
    Finding,
    Guest,
    Inspection,
    Join,
    Machine,
    Place,
    Severity,
    Wanted,
    inspect,
    may_ask,
    some,
)
from ipvkit.tools.ip import Address, Link

MAC = "02:00:00:00:00:01"
OTHER_MAC = "02:00:00:00:00:02"
A, B = IPv4Interface("192.168.104.211/24"), IPv4Interface("192.168.104.212/24")


def link(ifname: str, *flags: str, kind: str | None = None) -> Link:
    return Link(ifname, kind=kind, flags=flags, link_type="ether")


LOOPBACK = replace(link("lo", "LOOPBACK", "UP", "LOWER_UP"), link_type="loopback", ifindex=1)
PARENT = replace(
    link("eth0", "BROADCAST", "UP", "LOWER_UP"),
    ifindex=2,
    mtu=1500,
    lladdr=MAC,
    addresses=(
        Address(IPv4Interface("192.168.104.110/24")),
        Address(IPv6Interface("2001:db8::1/64")),
        Address(IPv6Interface("fe80::1/64")),
    ),
)
FAR = Place("far")
MACHINE = Machine((LOOPBACK, PARENT), {FAR: (LOOPBACK,)}, {"far": ()})
"""A machine with a NIC that is free, and with a namespace that has nothing to do with it."""

WANTED = Wanted(
    "eth0",
    (Join("l2", strategy="none"),),
    (
        Guest("test1", "test1", (A, IPv6Interface("2001:db8::211/64")), mtu=1500),
        Guest("test2", "test2", (B,)),
    ),
)


def with_parent(machine: Machine, parent: Link) -> Machine:
    return replace(machine, links=(*(each for each in machine.links if each.ifname != "eth0"), parent))


def parent_of(machine: Machine) -> Link:
    found = machine.link("eth0")
    assert found is not None
    return found


def with_flags(machine: Machine, *flags: str) -> Machine:
    return with_parent(machine, replace(parent_of(machine), flags=flags))


def with_link(machine: Machine, added: Link) -> Machine:
    return replace(machine, links=(*machine.links, added))


def with_elsewhere(machine: Machine, added: Link, place: Place = FAR) -> Machine:
    there = (*machine.elsewhere.get(place, ()), added)
    return replace(machine, elsewhere={**machine.elsewhere, place: there})


def with_join(wanted: Wanted, join: Join) -> Wanted:
    return replace(wanted, joins=(*wanted.joins, join))


def with_guest(wanted: Wanted, guest: Guest) -> Wanted:
    return replace(wanted, guests=(*wanted.guests, guest))


def rider(kind: str, mode: str | None = None, flag: str | None = None, name: str = "rider") -> Link:
    return replace(link(name, "UP", kind=kind), mode=mode, flag=flag, parent="eth0")


def far_rider(kind: str, mode: str | None = None, flag: str | None = None, name: str = "rider") -> Link:
    """Return a link on the parent as another namespace shows it."""
    here = rider(kind, mode, flag, name)
    lladdr = MAC if kind in ("ipvlan", "ipvtap") else OTHER_MAC
    return replace(here, parent=None, parent_index=2, link_netnsid=0, lladdr=lladdr)


def on_ipvlan(machine: Machine) -> Machine:
    """Return the machine whose eth0 is an ipvlan link on eth9."""
    parent = replace(parent_of(machine), kind="ipvlan", mode="l2", flag="bridge", parent="eth9")
    return with_link(with_parent(machine, parent), replace(PARENT, ifname="eth9", ifindex=9, addresses=()))


@dataclass(frozen=True)
class Obstacle:
    """What makes WANTED and MACHINE worse, and how it has to be told."""

    code: Code
    severity: Severity
    says: str
    machine: Callable[[Machine], Machine] = lambda machine: machine
    wanted: Callable[[Wanted], Wanted] = lambda wanted: wanted


TOGETHER = [
    Obstacle(
        *("no-carrier", "warning", "eth0 has no carrier"),
        lambda machine: with_flags(machine, "NO-CARRIER", "UP"),
    ),
    Obstacle(
        *("port", "error", "eth0 is a port of br0; use br0 as the parent"),
        lambda machine: with_parent(machine, replace(parent_of(machine), master="br0")),
    ),
    Obstacle(
        *("wifi", "info", "macvlan does not work there"), lambda machine: replace(machine, wireless=True)
    ),
    Obstacle(
        *("busy", "error", "eth0 carries the macvlan rider; the kernel takes no ipvlan beside it"),
        lambda machine: with_link(machine, rider("macvlan", "bridge")),
    ),
    Obstacle(
        *("busy", "error", "eth0 carries the macvtap tap in netns far"),
        lambda machine: with_elsewhere(machine, far_rider("macvtap", "vepa", name="tap")),
    ),
    Obstacle(
        *("busy", "error", "eth0 carries the macsec sec"),
        lambda machine: with_link(machine, rider("macsec", name="sec")),
    ),
    Obstacle(
        *("flips", "error", "eth0 carries the ipvlan i in l3 bridge, which l2 bridge would flip"),
        lambda machine: with_link(machine, rider("ipvlan", "l3", "bridge", name="i")),
    ),
    Obstacle(
        *("flips", "error", "eth0 carries the ipvtap t in the namespace of process 77 in l2 private, which"),
        lambda machine: with_elsewhere(
            machine, far_rider("ipvtap", "l2", "private", name="t"), Place(pid=77)
        ),
    ),
    Obstacle(
        *("netns-taken", "error", "there is a network namespace test1; it is somebody's"),
        lambda machine: replace(machine, namespaces={**machine.namespaces, "test1": ()}),
    ),
    Obstacle(
        *("netns-taken", "error", "namespace test2, with processes 7, 8 in it"),
        lambda machine: replace(machine, namespaces={**machine.namespaces, "test2": (7, 8)}),
    ),
    Obstacle(
        *("name-taken", "error", "there is a link test2; it is somebody's"),
        lambda machine: with_link(machine, link("test2", kind="veth")),
    ),
    Obstacle(
        *("address-taken", "error", "test1's 192.168.104.211 is docker0's own"),
        lambda machine: with_link(machine, replace(link("docker0"), addresses=(Address(A),))),
    ),
    Obstacle(
        *("address-taken", "error", "test2's 192.168.104.212 is that of the ipvlan s in netns left"),
        lambda machine: with_elsewhere(
            machine,
            replace(far_rider("ipvlan", "l2", "bridge", name="s"), addresses=(Address(B),)),
            Place("left"),
        ),
    ),
    Obstacle(
        *("address-taken", "error", "test3's 192.168.104.211 is another endpoint's too"),
        wanted=lambda wanted: with_guest(wanted, Guest("test3", "test3", (A,))),
    ),
    Obstacle(
        *("address-answers", "error", f"test4's 192.168.104.214 is in use: {OTHER_MAC} answered"),
        lambda machine: replace(machine, answers={IPv4Address("192.168.104.214"): (OTHER_MAC,)}),
        lambda wanted: with_guest(wanted, Guest("test4", "test4", (IPv4Interface("192.168.104.214/24"),))),
    ),
    Obstacle(
        *("off-subnet", "error", "test5's 10.9.9.9/8 is not in eth0's subnet 192.168.104.0/24"),
        wanted=lambda wanted: with_guest(wanted, Guest("test5", "", (IPv4Interface("10.9.9.9/8"),))),
    ),
    Obstacle(
        *("off-subnet", "error", "test6's 2001:db8:5::1/64 is not in eth0's subnet 2001:db8::/64"),
        wanted=lambda wanted: with_guest(wanted, Guest("test6", "", (IPv6Interface("2001:db8:5::1/64"),))),
    ),
    Obstacle(
        *("mtu", "warning", "test7's MTU 9000 is above eth0's 1500: large packets get lost"),
        wanted=lambda wanted: with_guest(wanted, Guest("test7", mtu=9000)),
    ),
    Obstacle(
        *("rp-filter", "warning", "sysctl -w net.ipv4.conf.eth0.rp_filter=2"),
        lambda machine: replace(machine, rp_filter=1),
        lambda wanted: with_join(wanted, Join("l2", strategy="none", host_shim=True)),
    ),
    Obstacle(
        *("neighbours", "warning", "2000 neighbour entries, and the kernel has room for 1024 of all"),
        lambda machine: replace(machine, most_neighbours=1024),
        lambda wanted: replace(wanted, neighbours=2000),
    ),
    Obstacle(
        *("port-security", "warning", "openstack port set --allowed-address ip-address=192.168.104.211 "),
        lambda machine: replace(machine, dmi={"product_name": "OpenStack Nova"}),
    ),
    Obstacle(
        *("not-looked-at", "warning", "not looked at: netns far"),
        lambda machine: replace(
            machine,
            unseen=(*machine.unseen, Finding("not-looked-at", "warning", "not looked at: netns far", "sudo")),
        ),
    ),
]
"""Obstacles any of which may come together."""

ALONE = [
    Obstacle(
        *("no-link", "error", "there is no link eth0; the links here are none"),
        lambda machine: replace(machine, links=(LOOPBACK,)),
    ),
    Obstacle(
        *("no-link", "error", "there is no link eth0; it is another name of enp0s3: use that"),
        lambda machine: with_parent(machine, replace(PARENT, ifname="enp0s3", altnames=("eth0",))),
    ),
    Obstacle(
        *("link-down", "error", "eth0 is down; ip link set eth0 up"),
        lambda machine: with_flags(machine, "BROADCAST"),
    ),
    Obstacle(
        *("loopback", "error", "eth0 is the loopback"), lambda machine: with_flags(machine, "LOOPBACK", "UP")
    ),
    Obstacle(
        *("not-ethernet", "error", "eth0 is of type none, without Ethernet"),
        lambda machine: with_parent(machine, replace(PARENT, link_type="none")),
    ),
    Obstacle(
        *("refused", "error", "eth0 is a VRF, which takes no ipvlan; use a port of it"),
        lambda machine: with_parent(machine, replace(PARENT, kind="vrf")),
    ),
    Obstacle(
        *("on-ipvlan", "warning", "eth0 is an ipvlan link itself: endpoints land beside it, on eth9"),
        on_ipvlan,
    ),
    Obstacle(
        *("on-ipvlan", "warning", "on link 5 of another namespace"),
        lambda machine: with_parent(
            machine, replace(PARENT, kind="ipvlan", mode="l2", flag="bridge", parent_index=5, link_netnsid=0)
        ),
    ),
    Obstacle(
        *("forwarding", "info", "l3s-proxy sets net.ipv4.conf.eth0.forwarding=1"),
        lambda machine: replace(machine, forwarding=False),
        lambda wanted: with_join(wanted, Join("l3s", strategy="l3s-proxy")),
    ),
    Obstacle(
        *("siblings", "warning", "carries the ipvlan i in l3 bridge; add others in mode l3 bridge"),
        lambda machine: with_link(machine, rider("ipvlan", "l3", "bridge", name="i")),
        lambda wanted: replace(wanted, joins=()),
    ),
]
EVERY = [*TOGETHER, *ALONE]


def met(*obstacles: Obstacle) -> Inspection:
    wanted, machine = WANTED, MACHINE
    for obstacle in obstacles:
        wanted, machine = obstacle.wanted(wanted), obstacle.machine(machine)
    return inspect(wanted, machine)


def test_an_innocent_machine_gives_nothing() -> None:
    assert met() == Inspection("eth0", ())
    nothing_said = Wanted("eth0")
    assert inspect(nothing_said, MACHINE).findings == ()


@pytest.mark.parametrize("obstacle", EVERY, ids=lambda obstacle: obstacle.says)
def test_each_obstacle_alone_is_told_with_its_mend_and_nothing_else_is(obstacle: Obstacle) -> None:
    (found,) = met(obstacle).findings
    assert (found.code, found.severity) == (obstacle.code, obstacle.severity)
    assert obstacle.says in str(found)
    assert found.what
    assert found.mend


def test_every_code_has_an_obstacle() -> None:
    assert {obstacle.code for obstacle in EVERY} == set(get_args(Code))


@given(st.sets(st.sampled_from(range(len(TOGETHER)))))
def test_obstacles_are_all_told_at_once_and_the_worst_first(chosen: set[int]) -> None:
    obstacles = [TOGETHER[number] for number in sorted(chosen)]
    findings = met(*obstacles).findings
    assert {found.code for found in findings} == {obstacle.code for obstacle in obstacles}
    # A flip is told of each mode that would flip, and in a cloud an answer may be the network's.
    words = " ".join(map(str, findings))
    assert all(obstacle.says in words for obstacle in obstacles)
    assert [*findings] == sorted(findings, key=lambda found: SEVERITIES.index(found.severity))
    assert all(str(found).isprintable() for found in findings)


def codes(wanted: Wanted, machine: Machine) -> list[Code]:
    return [found.code for found in inspect(wanted, machine).findings]


@pytest.mark.parametrize(
    ("joins", "there", "flips"),
    [
        ([Join("l2")], ("l2", "bridge"), False),
        ([Join("l3s", "vepa")], ("l3s", "vepa"), False),
        ([Join("l3")], ("l2", "bridge"), True),
        ([Join("l2")], ("l2", "private"), True),
        ([Join("l2"), Join("l3")], ("l2", "bridge"), True),
    ],
)
@pytest.mark.parametrize("kind", ["ipvlan", "ipvtap"])
def test_whoever_is_there_already_is_flipped_by_another_mode_or_flag(
    joins: Sequence[Join], there: tuple[str, str], flips: bool, kind: str
) -> None:
    wanted = replace(WANTED, joins=tuple(joins))
    for machine in (
        with_link(MACHINE, rider(kind, *there)),
        with_elsewhere(MACHINE, far_rider(kind, *there)),
    ):
        assert codes(wanted, machine) == (["flips"] if flips else [])


def test_siblings_of_a_parent_that_is_ipvlan_itself_are_found_on_the_real_one() -> None:
    machine = on_ipvlan(MACHINE)
    assert codes(WANTED, machine) == ["on-ipvlan"]
    assert codes(replace(WANTED, joins=(Join("l3"),)), machine) == ["flips", "on-ipvlan"]
    beside = replace(far_rider("ipvlan", "l2", "bridge"), parent_index=9, addresses=(Address(B),))
    assert codes(WANTED, with_elsewhere(machine, beside)) == ["address-taken", "on-ipvlan"]


@pytest.mark.parametrize("kind", [*RIDERS, "veth", "vlan", None])
@pytest.mark.parametrize("index", [2, 3, None])
@pytest.mark.parametrize("netns", [None, "third"])
@pytest.mark.parametrize("lladdr", [MAC, OTHER_MAC])
def test_a_link_elsewhere_is_on_the_parent_where_all_that_is_known_of_it_fits(
    kind: str | None, index: int | None, netns: str | None, lladdr: str
) -> None:
    there = replace(link("x", "UP", kind=kind), mode="l3", flag="bridge", lladdr=lladdr)
    there = replace(there, parent_index=index, link_netns=netns, link_netnsid=0)
    ipvlan = kind in ("ipvlan", "ipvtap")
    fits = kind in RIDERS and index == 2 and netns is None and (lladdr == MAC or not ipvlan)
    assert codes(WANTED, with_elsewhere(MACHINE, there)) == (
        [] if not fits else ["flips"] if ipvlan else ["busy"]
    )


def test_many_siblings_take_one_line() -> None:
    machine = MACHINE
    for number in range(100):
        machine = with_elsewhere(
            machine, far_rider("ipvlan", "l3", "bridge", f"s{number}"), Place(f"n{number}")
        )
    (found,) = inspect(WANTED, machine).findings
    assert "s0 in netns n0, s1 in netns n1, s2 in netns n2 and 97 more in l3 bridge" in found.what


@pytest.mark.parametrize("master", ["br0", "bond0", "team0"])
def test_a_port_cannot_be_a_parent_but_for_one_of_a_vrf(master: str) -> None:
    port = replace(PARENT, master=master, details={"info_slave_kind": master[:-1]})
    assert codes(WANTED, with_parent(MACHINE, port)) == ["port"]
    vrf = replace(PARENT, master=master, details={"info_slave_kind": "vrf"})
    assert codes(WANTED, with_parent(MACHINE, vrf)) == []


def test_own_subnets_are_as_they_should_be_where_they_are_routed() -> None:
    off = replace(WANTED, guests=(Guest("test1", "test1", (IPv4Interface("10.104.0.11/24"),)),))
    assert codes(off, MACHINE) == ["off-subnet"]
    assert codes(replace(off, joins=(Join("l3", strategy="routed"),)), MACHINE) == []
    (found,) = inspect(Wanted("eth0", guests=off.guests), MACHINE).findings
    assert found.severity == "warning"
    bare = with_parent(MACHINE, replace(PARENT, addresses=PARENT.addresses[2:]))
    assert codes(off, bare) == []


def test_an_address_without_a_name_is_told_with_what_peers_would_need() -> None:
    (found,) = inspect(
        Wanted("eth0", guests=(Guest(addresses=(IPv4Interface("10.4.0.1/24"),)),)), MACHINE
    ).findings
    assert found.what == "10.4.0.1/24 is not in eth0's subnet 192.168.104.0/24"
    assert "ip route add 10.4.0.0/24 via 192.168.104.110" in found.mend


def test_strict_rp_filter_matters_with_a_shim_in_l2_alone() -> None:
    """As measured: tests/kernel/test_preflight_is_right.py."""
    strict = replace(MACHINE, rp_filter=1)
    for join in (Join("l2"), Join("l3", host_shim=True), Join("l3s", host_shim=True)):
        assert codes(replace(WANTED, joins=(join,)), strict) == []
    shim = replace(WANTED, joins=(Join("l2", host_shim=True),))
    assert codes(shim, strict) == ["rp-filter"]
    for rp_filter in (0, 2):
        assert codes(shim, replace(MACHINE, rp_filter=rp_filter)) == []


def test_a_dot_in_a_links_name_is_a_slash_in_a_sysctl() -> None:
    vlan = replace(PARENT, ifname="eth0.5")
    machine = replace(MACHINE, links=(LOOPBACK, vlan), rp_filter=1)
    wanted = replace(WANTED, parent="eth0.5", joins=(Join("l2", host_shim=True),))
    (found,) = inspect(wanted, machine).findings
    assert found.mend.startswith("sysctl -w net.ipv4.conf.eth0/5.rp_filter=2")


@pytest.mark.parametrize(
    ("dmi", "says"),
    [
        ({"product_name": "OpenStack Compute", "sys_vendor": "Red Hat"}, "openstack port set --allowed"),
        ({"chassis_asset_tag": "HUAWEICLOUD"}, "openstack port set --allowed"),
        ({"sys_vendor": "Amazon EC2", "product_name": "m5.large"}, "--network-interface-id ENI --private-ip"),
        ({"product_name": "Google Compute Engine", "sys_vendor": "Google"}, "alias IP ranges"),
        ({"chassis_asset_tag": "7783-7084-3265-9085-8269-3286-77"}, "IP configuration with"),
        ({"product_name": "Alibaba Cloud ECS"}, "secondary private addresses"),
        ({"chassis_asset_tag": "OracleCloud.com"}, "VNIC"),
        # A laptop, a virtual machine at home, a server.
        ({"sys_vendor": "Google", "product_name": "Eve"}, ""),
        ({"sys_vendor": "Microsoft Corporation", "product_name": "Virtual Machine"}, ""),
        ({"sys_vendor": "QEMU", "product_name": "Standard PC (Q35 + ICH9, 2009)"}, ""),
        ({"sys_vendor": "Dell Inc.", "board_vendor": "Dell Inc."}, ""),
    ],
)
def test_a_cloud_is_known_by_what_its_firmware_says(dmi: dict[str, str], says: str) -> None:
    findings = inspect(WANTED, replace(MACHINE, dmi=dmi)).findings
    assert [found.code for found in findings] == (["port-security"] if says else [])
    assert not says or (says in findings[0].mend and "192.168.104.211" in findings[0].mend)
    bare = inspect(Wanted("eth0"), replace(MACHINE, dmi=dmi)).findings
    assert all("ADDRESS" in found.mend for found in bare)
    veth = with_parent(replace(MACHINE, dmi=dmi), replace(PARENT, kind="veth"))
    assert codes(WANTED, veth) == []


def test_in_a_cloud_an_answer_does_not_stop_a_run() -> None:
    machine = replace(
        MACHINE, answers={A.ip: ("12:34:56:78:9a:bc",)}, dmi={"chassis_asset_tag": "OracleCloud.com"}
    )
    assert [found.severity for found in inspect(WANTED, machine).findings] == ["warning", "warning"]


def test_what_is_on_this_machine_needs_no_answer_besides() -> None:
    there = replace(far_rider("ipvlan", "l2", "bridge"), addresses=(Address(A),))
    machine = replace(with_elsewhere(MACHINE, there), answers={A.ip: (MAC,)})
    assert codes(WANTED, machine) == ["address-taken"]


@pytest.mark.parametrize(
    ("parent", "may"),
    [
        (PARENT, True),
        (replace(PARENT, flags=("BROADCAST",)), False),
        (replace(PARENT, flags=("NO-CARRIER", "UP")), False),
        (replace(PARENT, flags=("NOARP", "UP")), False),
        (replace(PARENT, addresses=()), False),
        (LOOPBACK, False),
    ],
)
def test_the_network_is_asked_where_somebody_could_answer(parent: Link, may: bool) -> None:
    machine = replace(MACHINE, links=(parent,))
    assert may_ask(replace(WANTED, parent=parent.ifname), machine) == may
    assert not may_ask(replace(WANTED, parent="nosuch0"), machine)


@given(st.lists(st.text("ab", min_size=1), max_size=9))
def test_many_words_are_cut_short_and_counted(words: list[str]) -> None:
    found = some(words)
    assert found.count(",") + found.count(" and ") <= 3
    if len(words) > 4:
        assert found.endswith(f" and {len(words) - 3} more")
    else:
        assert found == ", ".join(words)
