"""Checks find every problem of a real parent in facts about the machine, all at once."""

import inspect
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Interface, IPv6Interface, ip_interface

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cases import for_each
from ipvkit.core.values import Mode
from ipvkit.host.checks import (
    CHECKS,
    CODES,
    SEVERITIES,
    UPPER_KINDS,
    Check,
    Finding,
    Findings,
    Machine,
    Namespace,
    Request,
    Severity,
    can_probe,
    check,
    request_of,
    some,
)
from ipvkit.lab import Endpoint, Kind, Setting, gallery, on_parent
from ipvkit.lab.format import load
from ipvkit.tools.ip import Address, Link
from ipvkit.verbs.doctor import unreachable

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
FAR = Namespace("far")
MACHINE = Machine((LOOPBACK, PARENT), {FAR: (LOOPBACK,)}, {"far": ()})
"""A machine with a NIC that is free, and with a namespace that has nothing to do with it."""


def endpoint(name: str, *addresses: IPv4Interface | IPv6Interface, mtu: int | None = None) -> Endpoint:
    return Endpoint(name, addresses, name, "eth0", mtu=mtu)


REQUEST = Request(
    "eth0",
    (Setting("l2"),),
    (endpoint("test1", A, IPv6Interface("2001:db8::211/64"), mtu=1500), endpoint("test2", B)),
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


def with_elsewhere(machine: Machine, added: Link, namespace: Namespace = FAR) -> Machine:
    there = (*machine.elsewhere.get(namespace, ()), added)
    return replace(machine, elsewhere={**machine.elsewhere, namespace: there})


def with_setting(request: Request, setting: Setting) -> Request:
    return replace(request, settings=(*request.settings, setting))


def with_endpoint(request: Request, added: Endpoint) -> Request:
    return replace(request, endpoints=(*request.endpoints, added))


def upper(kind: str, mode: str | None = None, flag: str | None = None, name: str = "x") -> Link:
    return replace(link(name, "UP", kind=kind), mode=mode, flag=flag, parent="eth0")


def far_upper(kind: str, mode: str | None = None, flag: str | None = None, name: str = "x") -> Link:
    """Return a link on the parent as another namespace shows it."""
    here = upper(kind, mode, flag, name)
    lladdr = MAC if kind in ("ipvlan", "ipvtap") else OTHER_MAC
    return replace(here, parent=None, parent_index=2, link_netnsid=0, lladdr=lladdr)


def on_ipvlan(machine: Machine) -> Machine:
    """Return the machine whose eth0 is an ipvlan link on eth9."""
    parent = replace(parent_of(machine), kind="ipvlan", mode="l2", flag="bridge", parent="eth9")
    return with_link(with_parent(machine, parent), replace(PARENT, ifname="eth9", ifindex=9, addresses=()))


@dataclass(frozen=True)
class Obstacle:
    """What makes REQUEST and MACHINE worse, and how it is reported."""

    code: str
    severity: Severity
    text: str
    machine: Callable[[Machine], Machine] = lambda machine: machine
    request: Callable[[Request], Request] = lambda request: request


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
        *("wifi", "info", "macvlan does not work on it"), lambda machine: replace(machine, wireless=True)
    ),
    Obstacle(
        *(
            "busy",
            "error",
            "eth0 has the macvlan link x; use another parent: the kernel allows no ipvlan beside it",
        ),
        lambda machine: with_link(machine, upper("macvlan", "bridge")),
    ),
    Obstacle(
        *("busy", "error", "eth0 has the macvtap link tap in netns far"),
        lambda machine: with_elsewhere(machine, far_upper("macvtap", "vepa", name="tap")),
    ),
    Obstacle(
        *("busy", "error", "eth0 has the macsec link sec"),
        lambda machine: with_link(machine, upper("macsec", name="sec")),
    ),
    Obstacle(
        *("flips", "error", "eth0 has the ipvlan link i in l3 bridge, which would change to l2 bridge"),
        lambda machine: with_link(machine, upper("ipvlan", "l3", "bridge", name="i")),
    ),
    Obstacle(
        *("flips", "error", "eth0 has the ipvtap link t in the namespace of process 77 in l2 private, which"),
        lambda machine: with_elsewhere(
            machine,
            far_upper("ipvtap", "l2", "private", name="t"),
            Namespace(what="the namespace of process 77"),
        ),
    ),
    Obstacle(
        *("netns-taken", "error", "network namespace test1 already exists; choose another name"),
        lambda machine: replace(machine, namespaces={**machine.namespaces, "test1": ()}),
    ),
    Obstacle(
        *("netns-taken", "error", "namespace test2 already exists, with processes 7, 8 in it"),
        lambda machine: replace(machine, namespaces={**machine.namespaces, "test2": (7, 8)}),
    ),
    Obstacle(
        *("name-taken", "error", "link test2 already exists; choose another name"),
        lambda machine: with_link(machine, link("test2", kind="veth")),
    ),
    Obstacle(
        *("address-taken", "error", "test1's 192.168.104.211 is already an address of docker0"),
        lambda machine: with_link(machine, replace(link("docker0"), addresses=(Address(A),))),
    ),
    Obstacle(
        *(
            "address-taken",
            "error",
            "test2's 192.168.104.212 is already an address of the ipvlan link s in netns left",
        ),
        lambda machine: with_elsewhere(
            machine,
            replace(far_upper("ipvlan", "l2", "bridge", name="s"), addresses=(Address(B),)),
            Namespace("left"),
        ),
    ),
    Obstacle(
        *("address-taken", "error", "test3's 192.168.104.211 is also an address of another endpoint"),
        request=lambda request: with_endpoint(request, endpoint("test3", A)),
    ),
    Obstacle(
        *("address-answers", "error", f"test4's 192.168.104.214 is in use: {OTHER_MAC} answered"),
        lambda machine: replace(machine, answers={IPv4Address("192.168.104.214"): (OTHER_MAC,)}),
        lambda request: with_endpoint(request, endpoint("test4", IPv4Interface("192.168.104.214/24"))),
    ),
    Obstacle(
        *("off-subnet", "error", "test5's 10.9.9.9/8 is not in eth0's subnet 192.168.104.0/24"),
        request=lambda request: with_endpoint(request, endpoint("test5", IPv4Interface("10.9.9.9/8"))),
    ),
    Obstacle(
        *("off-subnet", "error", "test6's 2001:db8:5::1/64 is not in eth0's subnet 2001:db8::/64"),
        request=lambda request: with_endpoint(request, endpoint("test6", IPv6Interface("2001:db8:5::1/64"))),
    ),
    Obstacle(
        *("mtu", "warning", "test7's MTU 9000 is above eth0's 1500: large packets get lost"),
        request=lambda request: with_endpoint(request, endpoint("test7", mtu=9000)),
    ),
    Obstacle(
        *("rp-filter", "warning", "sysctl -w net.ipv4.conf.eth0.rp_filter=2"),
        lambda machine: replace(machine, rp_filter=1),
        lambda request: with_setting(request, Setting("l2", host_shim=True)),
    ),
    Obstacle(
        *(
            "neighbours",
            "warning",
            "some will get no answer; sysctl -w net.ipv4.neigh.default.gc_thresh3=4000",
        ),
        lambda machine: replace(machine, most_neighbours=1024),
        lambda request: replace(request, neighbours=2000),
    ),
    Obstacle(
        *("port-security", "warning", "openstack port set --allowed-address ip-address=192.168.104.211 "),
        lambda machine: replace(machine, dmi={"product_name": "OpenStack Nova"}),
    ),
    Obstacle(
        *("not-looked-at", "warning", "not checked: netns far"),
        lambda machine: replace(
            machine,
            unseen=(*machine.unseen, Finding("not-looked-at", "warning", "not checked: netns far", "sudo")),
        ),
    ),
]
"""Obstacles any of which may come together."""

ALONE = [
    Obstacle(
        *("no-link", "error", "no such interface: eth0; lo is the only interface"),
        lambda machine: replace(machine, links=(LOOPBACK,)),
    ),
    Obstacle(
        *("no-link", "error", "no such interface: eth0; eth0 is an alternative name of enp0s3: use enp0s3"),
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
        *("not-ethernet", "error", "eth0 is of type none, not Ethernet"),
        lambda machine: with_parent(machine, replace(PARENT, link_type="none")),
    ),
    Obstacle(
        *("refused", "error", "eth0 is a VRF, and the kernel refuses ipvlan on it; use a port of it"),
        lambda machine: with_parent(machine, replace(PARENT, kind="vrf")),
    ),
    Obstacle(
        *("on-ipvlan", "warning", "eth0 is itself an ipvlan link: the kernel creates endpoints on eth9"),
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
        lambda request: with_setting(request, Setting("l3s", strategy="l3s-proxy")),
    ),
    Obstacle(
        *("siblings", "warning", "has the ipvlan link i in l3 bridge; add others in mode l3 bridge"),
        lambda machine: with_link(machine, upper("ipvlan", "l3", "bridge", name="i")),
        lambda request: replace(request, settings=()),
    ),
]
EVERY = [*TOGETHER, *ALONE]


def met(*obstacles: Obstacle) -> Findings:
    request, machine = REQUEST, MACHINE
    for obstacle in obstacles:
        request, machine = obstacle.request(request), obstacle.machine(machine)
    return check(request, machine)


def test_an_innocent_machine_gives_nothing() -> None:
    assert met() == Findings("eth0", ())
    no_settings = Request("eth0")
    assert check(no_settings, MACHINE).findings == ()


@for_each("obstacle", EVERY)
def test_each_obstacle_alone_is_reported_with_its_fix_and_nothing_else_is(obstacle: Obstacle) -> None:
    (found,) = met(obstacle).findings
    assert (found.code, found.severity) == (obstacle.code, obstacle.severity)
    assert obstacle.text in str(found)
    assert found.what
    assert found.fix


def test_every_code_has_an_obstacle() -> None:
    # What the model predicts is no obstacle.
    assert {obstacle.code for obstacle in EVERY} == {*CODES} - {"unreachable"}


@for_each("each", CHECKS)
def test_the_codes_of_a_check_are_those_of_its_findings(each: Check) -> None:
    source = inspect.getsource(sys.modules[each.find.__module__])
    assert {*re.findall(r'Finding\(\s*"([a-z-]+)"', source)} == {*each.codes}


V6 = IPv6Interface("2001:db8::211/64")
SHIM, PROXY = "host-shim: add one ipvlan interface on the host", "l3s-proxy: change only the host"


@pytest.mark.parametrize(
    ("mode", "own", "host_addresses", "wanted"),
    [
        ("l2", [A], ["192.168.104.110/24"], [("this host cannot reach 192.168.104.211:", SHIM)]),
        (
            "l3",
            [A, B],
            ["192.168.104.110/24", "2001:db8::1/64"],
            [
                ("this host cannot reach 192.168.104.211, 192.168.104.212:", SHIM),
                ("other hosts cannot reach 192.168.104.211, 192.168.104.212: in l3 endpoint is NOARP", PROXY),
            ],
        ),
        (
            "l3s",
            [V6],
            ["192.168.104.110/24", "2001:db8::1/64"],
            [
                ("this host cannot reach 2001:db8::211:", SHIM),
                ("other hosts cannot reach 2001:db8::211:", PROXY),
            ],
        ),
        # Without an address, a free one stands for all.
        ("l2", [], ["192.0.2.1/29"], [("this host cannot reach 192.0.2.3:", SHIM)]),
        # One in no subnet of the parent is another finding, and this subnet has room for the host only.
        ("l3", [IPv4Interface("10.0.0.1/24")], ["192.168.104.110/24"], []),
        ("l3", [], ["192.0.2.1/32"], []),
        ("l3", [], [], []),
        # Without an address of the host, the subnet of an endpoint is on the wire.
        ("l3", [A], [], [("other hosts cannot reach 192.168.104.211: in l3 endpoint is NOARP", PROXY)]),
        ("l2", [A], [], []),
    ],
)
def test_who_cannot_reach_a_planned_endpoint_is_predicted(
    mode: Mode,
    own: list[IPv4Interface | IPv6Interface],
    host_addresses: list[str],
    wanted: list[tuple[str, str]],
) -> None:
    request = Request("eth0", (Setting(mode),), tuple(endpoint("", address) for address in own))
    addresses = tuple(Address(ip_interface(text), scope="global") for text in host_addresses)
    found = list(unreachable(request, replace(PARENT, addresses=addresses)))
    assert {(one.code, one.severity) for one in found} <= {("unreachable", "warning")}
    assert len(found) == len(wanted)
    for one, (what, fix) in zip(found, wanted, strict=True):
        assert one.what.startswith(what)
        assert one.fix.startswith(fix)


@given(st.sets(st.sampled_from(range(len(TOGETHER)))))
def test_obstacles_are_all_reported_at_once_and_the_worst_first(chosen: set[int]) -> None:
    obstacles = [TOGETHER[number] for number in sorted(chosen)]
    findings = met(*obstacles).findings
    assert {found.code for found in findings} == {obstacle.code for obstacle in obstacles}
    # A change is reported for each mode, and in a cloud an answer may be the network's.
    words = " ".join(map(str, findings))
    assert all(obstacle.text in words for obstacle in obstacles)
    assert [*findings] == sorted(findings, key=lambda found: SEVERITIES.index(found.severity))
    assert all(str(found).isprintable() for found in findings)


@pytest.mark.parametrize(
    ("lab", "kinds", "modes", "links", "neighbours"),
    [
        ("walkthrough", ["ipvlan"], ["l2 bridge", "l3 bridge"], (), 5),
        ("mode-flip", ["ipvlan"], ["l2 bridge", "l3 bridge"], ("late",), 2),
        ("macvlan-conflict", ["ipvlan", "macvlan"], ["l2 bridge"], ("other", "more", "other"), 2),
    ],
)
def test_a_request_is_what_a_lab_creates(
    lab: str, kinds: list[str], modes: list[str], links: tuple[str, ...], neighbours: int
) -> None:
    asked = request_of(on_parent(load(gallery.text(lab), lab), "eth9"))
    assert (asked.parent, asked.kinds, asked.modes) == ("eth9", kinds, modes)
    assert (asked.links, asked.neighbours) == (links, neighbours)


def test_only_links_that_ask_by_arp_need_neighbour_entries() -> None:
    lab = on_parent(load(gallery.text("walkthrough"), "walkthrough"), "eth9")
    settings = (Setting("l2"), 5), (Setting("l3"), 0), (Setting("l3s"), 0), (Setting("l3", kind="macvlan"), 5)
    for setting, neighbours in settings:
        phase = replace(lab.phases[0], setting=setting)
        assert request_of(replace(lab, phases=(phase,))).neighbours == neighbours
    room = replace(MACHINE, most_neighbours=5)
    assert codes(replace(REQUEST, neighbours=5), room) == []
    assert codes(replace(REQUEST, neighbours=6), room) == ["neighbours"]


def codes(request: Request, machine: Machine) -> list[str]:
    return [found.code for found in check(request, machine).findings]


@pytest.mark.parametrize(
    ("settings", "there", "flips"),
    [
        ([Setting("l2")], ("l2", "bridge"), False),
        ([Setting("l3s", "vepa")], ("l3s", "vepa"), False),
        ([Setting("l3")], ("l2", "bridge"), True),
        ([Setting("l2")], ("l2", "private"), True),
        ([Setting("l2"), Setting("l3")], ("l2", "bridge"), True),
    ],
)
@pytest.mark.parametrize("kind", ["ipvlan", "ipvtap"])
def test_whoever_is_there_already_is_flipped_by_another_mode_or_flag(
    settings: Sequence[Setting], there: tuple[str, str], flips: bool, kind: str
) -> None:
    request = replace(REQUEST, settings=tuple(settings))
    for machine in (
        with_link(MACHINE, upper(kind, *there)),
        with_elsewhere(MACHINE, far_upper(kind, *there)),
    ):
        assert codes(request, machine) == (["flips"] if flips else [])


@for_each("there", UPPER_KINDS)
@for_each("kind", ["ipvlan", "ipvtap", "macvlan"])
def test_the_kernel_allows_only_links_of_one_family_beside_each_other(there: str, kind: Kind) -> None:
    """A parent has one receive handler: that of ipvlan, of macvlan or of MACsec (ipvlan.h, macvlan.c)."""
    families = {"ipvlan": "ipvlan", "ipvtap": "ipvlan", "macvlan": "macvlan", "macvtap": "macvlan"}
    request = replace(REQUEST, settings=(Setting("l2", kind=kind),))
    machine = with_link(MACHINE, upper(there, "l2", "bridge"))
    assert ("busy" in codes(request, machine)) == (families[kind] != families.get(there))


def test_several_links_on_the_parent_are_named_in_one_finding() -> None:
    machine = with_link(with_link(MACHINE, upper("macvlan", name="a")), upper("macvlan", name="b"))
    (found,) = check(REQUEST, machine).findings
    assert found.what == "eth0 has the macvlan links a, b"


def test_siblings_of_a_parent_that_is_ipvlan_itself_are_found_on_the_real_one() -> None:
    machine = on_ipvlan(MACHINE)
    assert codes(REQUEST, machine) == ["on-ipvlan"]
    assert codes(replace(REQUEST, settings=(Setting("l3"),)), machine) == ["flips", "on-ipvlan"]
    beside = replace(far_upper("ipvlan", "l2", "bridge"), parent_index=9, addresses=(Address(B),))
    assert codes(REQUEST, with_elsewhere(machine, beside)) == ["address-taken", "on-ipvlan"]


@for_each("kind", [*UPPER_KINDS, "veth", "vlan", None])
@for_each("index", [2, 3, None])
@for_each("netns", [None, "third"])
@for_each("lladdr", [MAC, OTHER_MAC])
def test_a_link_elsewhere_is_on_the_parent_where_all_that_is_known_of_it_fits(
    kind: str | None, index: int | None, netns: str | None, lladdr: str
) -> None:
    there = replace(link("x", "UP", kind=kind), mode="l3", flag="bridge", lladdr=lladdr)
    there = replace(there, parent_index=index, link_netns=netns, link_netnsid=0)
    ipvlan = kind in ("ipvlan", "ipvtap")
    fits = kind in UPPER_KINDS and index == 2 and netns is None and (lladdr == MAC or not ipvlan)
    assert codes(REQUEST, with_elsewhere(MACHINE, there)) == (
        [] if not fits else ["flips"] if ipvlan else ["busy"]
    )


def test_many_siblings_take_one_line() -> None:
    machine = MACHINE
    for number in range(100):
        machine = with_elsewhere(
            machine, far_upper("ipvlan", "l3", "bridge", f"s{number}"), Namespace(f"n{number}")
        )
    (found,) = check(REQUEST, machine).findings
    assert "s0 in netns n0, s1 in netns n1, s2 in netns n2 and 97 more in l3 bridge" in found.what


@pytest.mark.parametrize("master", ["br0", "bond0", "team0"])
def test_a_port_cannot_be_a_parent_but_for_one_of_a_vrf(master: str) -> None:
    port = replace(PARENT, master=master, details={"info_slave_kind": master[:-1]})
    assert codes(REQUEST, with_parent(MACHINE, port)) == ["port"]
    vrf = replace(PARENT, master=master, details={"info_slave_kind": "vrf"})
    assert codes(REQUEST, with_parent(MACHINE, vrf)) == []


def test_own_subnets_are_as_they_should_be_where_they_are_routed() -> None:
    off = replace(REQUEST, endpoints=(endpoint("test1", IPv4Interface("10.104.0.11/24")),))
    assert codes(off, MACHINE) == ["off-subnet"]
    assert codes(replace(off, settings=(Setting("l3", strategy="routed"),)), MACHINE) == []
    bare = with_parent(MACHINE, replace(PARENT, addresses=PARENT.addresses[2:]))
    assert codes(off, bare) == []
    of_its_own = replace(REQUEST, endpoints=(endpoint("test1", IPv6Interface("2001:db8:5::1/64")),))
    assert codes(of_its_own, bare) == []


def test_an_address_without_a_name_is_reported_with_what_peers_would_need() -> None:
    (found,) = check(
        Request("eth0", endpoints=(Endpoint("", (IPv4Interface("10.4.0.1/24"),), "", "eth0"),)), MACHINE
    ).findings
    assert found.severity == "warning"
    assert found.what == "10.4.0.1/24 is not in eth0's subnet 192.168.104.0/24"
    assert "ip route add 10.4.0.0/24 via 192.168.104.110" in found.fix


def test_strict_rp_filter_matters_with_a_shim_in_l2_alone() -> None:
    """As measured: tests/kernel/test_preflight_is_right.py."""
    strict = replace(MACHINE, rp_filter=1)
    for join in (Setting("l2"), Setting("l3", host_shim=True), Setting("l3s", host_shim=True)):
        assert codes(replace(REQUEST, settings=(join,)), strict) == []
    shim = replace(REQUEST, settings=(Setting("l2", host_shim=True),))
    assert codes(shim, strict) == ["rp-filter"]
    for rp_filter in (0, 2):
        assert codes(shim, replace(MACHINE, rp_filter=rp_filter)) == []


def test_a_dot_in_a_links_name_is_a_slash_in_a_sysctl() -> None:
    vlan = replace(PARENT, ifname="eth0.5")
    machine = replace(MACHINE, links=(LOOPBACK, vlan), rp_filter=1)
    request = replace(REQUEST, parent="eth0.5", settings=(Setting("l2", host_shim=True),))
    (found,) = check(request, machine).findings
    assert found.fix.startswith("sysctl -w net.ipv4.conf.eth0/5.rp_filter=2")


@pytest.mark.parametrize(
    ("dmi", "text"),
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
def test_a_cloud_is_known_by_what_its_firmware_text(dmi: dict[str, str], text: str) -> None:
    findings = check(REQUEST, replace(MACHINE, dmi=dmi)).findings
    assert [found.code for found in findings] == (["port-security"] if text else [])
    assert not text or (text in findings[0].fix and "192.168.104.211" in findings[0].fix)
    bare = check(Request("eth0"), replace(MACHINE, dmi=dmi)).findings
    assert all("ADDRESS" in found.fix for found in bare)
    veth = with_parent(replace(MACHINE, dmi=dmi), replace(PARENT, kind="veth"))
    assert codes(REQUEST, veth) == []


def test_in_a_cloud_an_answer_does_not_stop_a_run() -> None:
    machine = replace(
        MACHINE, answers={A.ip: ("12:34:56:78:9a:bc",)}, dmi={"chassis_asset_tag": "OracleCloud.com"}
    )
    assert [found.severity for found in check(REQUEST, machine).findings] == ["warning", "warning"]


def test_what_is_on_this_machine_needs_no_answer_besides() -> None:
    there = replace(far_upper("ipvlan", "l2", "bridge"), addresses=(Address(A),))
    machine = replace(with_elsewhere(MACHINE, there), answers={A.ip: (MAC,)})
    assert codes(REQUEST, machine) == ["address-taken"]


@pytest.mark.parametrize(
    ("parent", "may"),
    [
        (PARENT, True),
        (replace(PARENT, flags=("BROADCAST",)), False),
        (replace(PARENT, flags=("NO-CARRIER", "UP")), False),
        (replace(PARENT, flags=("NOARP", "UP")), False),
        (replace(PARENT, addresses=()), True),
        (LOOPBACK, False),
    ],
)
def test_the_network_is_asked_where_somebody_could_answer(parent: Link, may: bool) -> None:
    machine = replace(MACHINE, links=(parent,))
    assert can_probe(replace(REQUEST, parent=parent.ifname), machine) == may
    assert not can_probe(replace(REQUEST, parent="nosuch0"), machine)


@given(st.lists(st.text("ab", min_size=1), max_size=9))
def test_many_words_are_cut_short_and_counted(words: list[str]) -> None:
    found = some(words)
    assert found.count(",") + found.count(" and ") <= 3
    if len(words) > 4:
        assert found.endswith(f" and {len(words) - 3} more")
    else:
        assert found == ", ".join(words)
