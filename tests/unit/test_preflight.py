"""What stands in the way of a lab on a real parent is named before anything is changed."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from ipaddress import IPv4Interface

import pytest
from hypothesis import given

from ipvkit import labs as gallery
from ipvkit.errors import UsageError
from ipvkit.lab import Lab, on_parent
from ipvkit.lab_file import load
from ipvkit.preflight import obstacles, refuse_obstacles
from ipvkit.tools.ip import Link
from strategies import labs_on_a_parent


def link(ifname: str, *flags: str, kind: str | None = None) -> Link:
    return Link(ifname, kind=kind, flags=flags)


PARENT = link("eth0", "BROADCAST", "UP", "LOWER_UP")
LOOPBACK = link("lo", "LOOPBACK", "UP", "LOWER_UP")
OWN = {"lo": [IPv4Interface("127.0.0.1/8")], "eth0": [IPv4Interface("192.168.104.110/24")]}


def walkthrough() -> Lab:
    return on_parent(load(gallery.text(gallery.WALKTHROUGH), "walkthrough.yaml"), "eth0")


def rider(kind: str, mode: str | None, flag: str | None = None) -> Link:
    return replace(link("rider", "UP", kind=kind), mode=mode, flag=flag, parent="eth0")


def test_a_free_parent_has_no_obstacle() -> None:
    assert obstacles(walkthrough(), [LOOPBACK, PARENT], [], OWN) == []
    refuse_obstacles(walkthrough(), [LOOPBACK, PARENT], ["other"], OWN)


@pytest.mark.parametrize(
    ("links", "namespaces", "addresses", "says"),
    [
        ([LOOPBACK], [], OWN, "there is no link eth0"),
        ([PARENT], ["test1"], OWN, "there is a network namespace test1"),
        ([PARENT, link("test2", kind="veth")], [], OWN, "there is a link test2"),
        ([replace(PARENT, flags=("BROADCAST",))], [], OWN, "eth0 is down"),
        ([replace(PARENT, flags=("LOOPBACK", "UP"))], [], OWN, "eth0 is the loopback"),
        ([replace(PARENT, master="br0")], [], OWN, "eth0 is a port of br0"),
        ([PARENT, rider("macvlan", "bridge")], [], OWN, "eth0 carries the macvlan rider"),
        ([PARENT, rider("macvtap", "bridge")], [], OWN, "eth0 carries the macvtap rider"),
        ([PARENT, rider("ipvlan", "l2", "bridge")], [], OWN, "eth0 carries the ipvlan rider in l2"),
        ([PARENT, rider("ipvtap", "l3s", "vepa")], [], OWN, "eth0 carries the ipvtap rider in l3s"),
        ([PARENT], [], {"eth0": [IPv4Interface("10.0.0.1/8")]}, "--endpoint test1=ADDRESS/8"),
        ([PARENT], [], {"eth0": [IPv4Interface("192.168.104.211/24")]}, "is eth0's own"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_obstacle_is_named_with_its_mend(
    links: Sequence[Link],
    namespaces: Sequence[str],
    addresses: Mapping[str, Sequence[IPv4Interface]],
    says: str,
) -> None:
    with pytest.raises(UsageError) as problem:
        refuse_obstacles(walkthrough(), links, namespaces, addresses)
    assert says in problem.value.message
    found = obstacles(walkthrough(), links, namespaces, addresses)
    assert all(what and mend for what, mend in found)


def test_all_obstacles_are_named_at_once() -> None:
    links = [replace(PARENT, flags=(), master="br0"), rider("macvlan", None)]
    found = [what for what, _ in obstacles(walkthrough(), links, ["test1", "test2"], {})]
    assert len(found) == 5


def test_a_rider_in_the_only_mode_and_with_the_only_flag_of_the_lab_is_no_obstacle() -> None:
    lab = walkthrough()
    only_l2 = replace(lab, phases=lab.phases[:1])

    def stands_in_the_way(there: Link) -> bool:
        return obstacles(only_l2, [PARENT, there], [], OWN) != []

    assert not stands_in_the_way(rider("ipvlan", "l2", "bridge"))
    assert not stands_in_the_way(replace(rider("macvlan", None), parent="eth1"))
    assert stands_in_the_way(rider("ipvlan", "l3", "bridge"))
    assert stands_in_the_way(rider("ipvlan", "l2", "private"))
    assert stands_in_the_way(rider("macvlan", "bridge"))


@given(labs_on_a_parent())
def test_whatever_the_lab_makes_stands_in_its_way_where_it_is_already(lab: Lab) -> None:
    parent = replace(PARENT, ifname=lab.parent)
    for endpoint in lab.endpoints:
        there = link(endpoint.name)
        assert any(f"link {endpoint.name}" in what for what, _ in obstacles(lab, [parent, there], [], {}))
        assert any(endpoint.netns in what for what, _ in obstacles(lab, [parent], [endpoint.netns], {}))
    assert obstacles(lab, [parent], [], {}) == []
