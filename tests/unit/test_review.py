"""Who cannot reach whom: pairs and their groups, what a fix and another lab change, and the text."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network
from itertools import permutations, product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, reject, settings
from hypothesis import strategies as st

from cases import for_each
from ipvkit.cli.commands import run as run_command_line
from ipvkit.core.errors import InvalidLab, UsageError
from ipvkit.core.values import InterfaceAddress
from ipvkit.lab import (
    FAMILIES,
    FLAGS,
    HOST,
    MAIN,
    MODES,
    Act,
    Check,
    Endpoint,
    Family,
    Host,
    Lab,
    Outcome,
    Parent,
    Phase,
    Route,
    RouteType,
    Rule,
    Setting,
    gallery,
)
from ipvkit.lab.format import load
from ipvkit.lab.new import new_lab
from ipvkit.lab.sysctls import Sysctl
from ipvkit.predict.pairs import Block, Pair, blocks_of, check_of, nodes_of
from ipvkit.predict.predictions import why_lost
from ipvkit.predict.whole import predict
from ipvkit.predict.world import State, World, world_of
from ipvkit.report.plain import WIDTH
from ipvkit.report.review import render, render_comparison
from ipvkit.verbs.explain import beginning, explain
from ipvkit.verbs.review import Group, compare, merged, review
from several_hosts import labs_of_hosts
from strategies import checks_in, labs

COPIES = 1
"""How many endpoints are added for each one of a lab, exchangeable with it where nothing names it."""


def crowded(lab: Lab) -> Lab:
    """Return `lab` with copies of its endpoints, which have free addresses of the same networks."""
    taken = set(lab.taken)
    named: dict[str, list[str]] = {}
    endpoints = list(lab.endpoints)
    for number, endpoint in product(range(COPIES), lab.endpoints):
        own = []
        for address in endpoint.addresses:
            free = next((ip for ip in address.network.hosts() if ip not in taken), None)
            assume(free is not None)
            assert free is not None
            taken.add(free)
            own.append(ip_interface((free, address.network.prefixlen)))
        name, netns = f"{endpoint.name[:12]}-{number}", f"{endpoint.netns[:200]}-{number}"
        dev = "" if endpoint.dev == endpoint.name else endpoint.dev
        named.setdefault(endpoint.name, []).append(name)
        endpoints.append(
            replace(endpoint, name=name, netns=netns, addresses=tuple(own), dev=dev, altnames=())
        )
    phases = []
    for phase in lab.phases:
        copies = (copy for name in phase.endpoints for copy in named[name])
        phases.append(replace(phase, endpoints=(*phase.endpoints, *copies), acts=()))
    try:
        return replace(lab, endpoints=tuple(endpoints), phases=tuple(phases))
    except InvalidLab:
        assume(False)
        raise


def is_valid(lab: Lab, phase: Phase, check: Check) -> bool:
    """Return whether a lab file may have `check` in `phase`."""
    try:
        replace(lab, phases=(replace(phase, acts=(Act(checks=(check,)),)),))
    except InvalidLab:
        return False
    return True


def pairs_in(lab: Lab, phase: Phase) -> set[Pair]:
    """Return the pairs of `phase`, one by one."""
    checks = checks_in(lab, lab.endpoints_of(phase))
    return {(check.source, check.destination, check.family) for check in checks if check.family}


def reached(lab: Lab, phase: Phase, pairs: Iterable[Pair]) -> set[Pair]:
    """Return which of `pairs` are reachable as `phase` begins, each predicted for itself."""
    world = world_of(lab, phase, State())
    return {pair for pair in pairs if predict(world, check_of(pair)).outcome is Outcome.REACHABLE}


def pairs_of(blocks: Iterable[Block]) -> list[Pair]:
    return [pair for block in blocks for pair in block.pairs()]


def of_groups(groups: Iterable[Group]) -> list[Pair]:
    return [pair for group in groups for pair in pairs_of(group.blocks)]


@st.composite
def alike(draw: st.DrawFn) -> Lab:
    """Labs of endpoints in one subnet that differ in one thing at most, and of a host that names one."""
    setting = draw(st.builds(Setting, st.sampled_from(MODES), st.sampled_from(FLAGS)))
    lab = new_lab("alike", setting, 5, ipv6=draw(st.booleans()), checks="gateway")
    (parent,), (first, *_) = lab.parents, lab.endpoints
    networks = [own.network for own in first.addresses]
    client = tuple(ip_interface((network[100], network.prefixlen)) for network in networks)
    nowhere = [ip_network(own.ip) for own in (*client, *first.addresses)]
    endpoints: list[Endpoint] = []
    for number, endpoint in enumerate(lab.endpoints):
        to = draw(st.sampled_from(nowhere if number else nowhere[: len(client)]))
        lost = Route(to, type="blackhole")
        match draw(st.sampled_from(("", "", "no route", "lost", "rule", "second address", "shared"))):
            case "no route":
                endpoint = replace(endpoint, routes=())
            case "lost":
                endpoint = replace(endpoint, routes=(Route(), lost))
            case "rule":
                table = replace(lost, table=100)
                endpoint = replace(
                    endpoint, routes=(Route(), table), rules=draw(st.sampled_from(((), (Rule(100, to=to),))))
                )
            case "second address":
                own = first.addresses[-1]
                more = ip_interface(
                    (own.network[draw(st.integers(120, 125)) + 6 * number], own.network.prefixlen)
                )
                endpoint = replace(endpoint, addresses=(*endpoint.addresses, more))
            case "shared" if number and endpoints[-1].netns == endpoints[-1].name:
                endpoint = replace(endpoint, netns=endpoints[-1].netns)
        endpoints.append(endpoint)
    named = draw(st.sampled_from(endpoints)).addresses[0].ip
    length = draw(st.sampled_from((named.max_prefixlen, named.max_prefixlen - 2)))
    of_client = Route(ip_network((named, length), strict=False), type="blackhole")
    routes = draw(st.sampled_from((None, (of_client,))))
    parent = replace(parent, hosts=(Host("client", client, routes),))
    return replace(lab, parents=(parent,), endpoints=tuple(endpoints))


def without_acts(lab: Lab) -> Lab:
    return replace(lab, phases=tuple(replace(phase, acts=()) for phase in lab.phases))


@st.composite
def fleets(draw: st.DrawFn) -> Lab:
    """Labs of three hosts with two endpoints each, that differ in one thing at most, or that a peer names."""
    mode = draw(st.sampled_from(MODES))
    strategy = draw(st.sampled_from(("none", "announce", *(("l3s-proxy",) if mode == "l3s" else ()))))
    strategy = "none" if mode == "l2" else strategy
    shim = strategy != "l3s-proxy" and draw(st.booleans())
    usual = Setting(mode, draw(st.sampled_from(FLAGS)), strategy=strategy, host_shim=shim)
    lab = new_lab("fleet", usual, 2, hosts=3, ipv6=draw(st.booleans()), checks="gateway")
    (phase,) = lab.phases
    endpoints, parents = [*lab.endpoints], [*lab.parents]
    named = [ip_network(own.ip) for each in (parents[0].host, endpoints[1].addresses) for own in each]
    lost = Route(draw(st.sampled_from(named)), type="blackhole")
    number = draw(st.integers(0, len(endpoints) - 1))
    match draw(st.sampled_from(("", "setting", "lost", "peer", "via", "rule", "fewer", "no address"))):
        case "setting":
            other = Setting(draw(st.sampled_from(MODES)), draw(st.sampled_from(FLAGS)))
            on = draw(st.lists(st.sampled_from(parents), min_size=1, max_size=2, unique=True))
            phase = replace(phase, others=tuple((parent.name, other) for parent in on))
        case "lost" if number != 1:
            endpoints[number] = replace(endpoints[number], routes=(Route(), lost))
        case "peer" | "via" as how:
            own = tuple(ip_interface((a.network[100], a.network.prefixlen)) for a in parents[0].host)
            via = Route(via=parents[2].host[0].ip)
            client = Host("client", own, (via if how == "via" else lost,))
            parents[0] = replace(parents[0], hosts=(client,))
        case "rule":
            rules = (Rule(100, to=parents[1].host[0].network),)
            endpoints[number] = replace(
                endpoints[number], routes=(Route(), Route(type="blackhole", table=100)), rules=rules
            )
        case "fewer":
            del endpoints[number]
            phase = replace(phase, endpoints=tuple(e.name for e in endpoints))
        case "no address":
            parents[1] = replace(parents[1], host=())
    phase = replace(phase, acts=())
    try:
        return replace(lab, endpoints=tuple(endpoints), parents=tuple(parents), phases=(phase,))
    except InvalidLab:
        reject()


several = fleets() | labs_of_hosts(most_phases=1).map(without_acts)
crowds = labs(most_phases=1).map(crowded) | alike() | several


# --- pairs ----------------------------------------------------------------------------------------------


@settings(max_examples=max(1, settings().max_examples // 6))
@given(labs(most_phases=1))
def test_the_pairs_are_the_checks_that_a_lab_file_can_have(lab: Lab) -> None:
    (phase,) = lab.phases
    every = {(a, b, family) for (a, b), family in product(permutations(nodes_of(lab, phase), 2), FAMILIES)}
    assert pairs_in(lab, phase) == {pair for pair in every if is_valid(lab, phase, check_of(pair))}


def predicted_one_by_one(lab: Lab) -> World:
    """Return the world of a lab of one phase, in whose blocks is each pair once, with its own reason."""
    (phase,) = lab.phases
    world = beginning(lab, phase)
    blocks = list(blocks_of(world))
    found = pairs_of(blocks)
    assert len(found) == len(set(found)) == sum(block.count for block in blocks)
    assert set(found) == pairs_in(lab, phase)
    for block in blocks:
        reasons = {why_lost(world, check_of(pair)) for pair in block.pairs()}
        assert reasons == {why_lost(world, block.check)}
        outcomes = {predict(world, check_of(pair)).outcome for pair in block.pairs()}
        assert outcomes == {Outcome.UNREACHABLE if reasons != {""} else Outcome.REACHABLE}
    return world


@given(crowds)
def test_the_blocks_have_each_pair_once_and_one_reason(lab: Lab) -> None:
    predicted_one_by_one(lab)


def test_hosts_that_differ_in_a_setting_are_predicted_each_for_itself() -> None:
    lab = new_lab("fleet", Setting("l3"), 2, hosts=3, checks="gateway")
    for mode, flag in product(MODES, FLAGS):
        phase = replace(lab.phases[0], others=((lab.parents[0].name, Setting(mode, flag)),), acts=())
        predicted_one_by_one(replace(lab, phases=(phase,)))


@given(fleets(), st.data())
def test_hosts_that_differ_in_a_sysctl_are_predicted_each_for_itself(lab: Lab, data: st.DataObject) -> None:
    node = data.draw(st.sampled_from((*lab.hosts, *lab.phases[0].endpoints)))
    predicted_one_by_one(setting(lab, arp_ignore(node, 1)))


@given(crowds)
def test_merged_blocks_have_the_same_pairs(lab: Lab) -> None:
    blocks = list(blocks_of(world_of(lab, lab.phases[0], State())))
    fewer = list(merged(blocks))
    assert len(fewer) <= len(blocks)
    assert sorted(pairs_of(fewer)) == sorted(pairs_of(blocks))


def test_endpoints_that_nothing_distinguishes_are_one_kind() -> None:
    """And so a review of hundreds takes as long as one of a few."""
    for mode, flag, ipv6 in product(MODES, FLAGS, (False, True)):
        lab = new_lab("many", Setting(mode, flag), 20, ipv6=ipv6)
        blocks = list(blocks_of(world_of(lab, lab.phases[0], State())))
        assert len({block.sources for block in blocks}) == 5
        assert len(blocks) == 9 * (2 if ipv6 else 1)


# Of two endpoints, test1 and test2, one fact differs: of them, or of what another node has for them.


def twins(setting: Setting | None = None, **hosts: Host) -> Lab:
    """Return a lab of five endpoints that have straight default routes, beside `hosts` and two others."""
    lab = new_lab("twins", setting or Setting("l2"), 5, ipv6=True, checks="gateway")
    own = {"client": addresses("192.168.104.100/24"), "router": addresses("192.168.104.101/24")}
    default = {"client": Host("client", own["client"]), "router": Host("router", own["router"])}
    others = tuple(replace(host, name=name, addresses=own[name]) for name, host in (default | hosts).items())
    eth0 = replace(lab.parents[0], hosts=others)
    eth1 = Parent("eth1", addresses("10.5.0.250/24"), (ip_address("10.5.0.254"),))
    endpoints = tuple(replace(e, routes=(Route(),)) for e in lab.endpoints)
    return replace(lab, parents=(eth0, eth1), endpoints=endpoints)


def addresses(*texts: str) -> tuple[InterfaceAddress, ...]:
    return tuple(map(ip_interface, texts))


def to(text: str, via: str | None = None, type: RouteType | None = None, table: int = MAIN) -> Route:
    return Route(ip_network(text), None if via is None else ip_address(via), type, table)


def lost(text: str, table: int = MAIN) -> Route:
    return to(text, type="blackhole", table=table)


def changed(lab: Lab, **endpoints: dict[str, Any]) -> Lab:
    """Return `lab` with other values of fields of its endpoints, by their names."""
    return replace(lab, endpoints=tuple(replace(e, **endpoints.get(e.name, {})) for e in lab.endpoints))


def routed(*test1: Route, test2: tuple[Route, ...], rules: tuple[Rule, ...] = ()) -> Lab:
    """Return the twins with these routes besides the default one, and `rules` of test2."""
    return changed(
        twins(), test1={"routes": (Route(), *test1)}, test2={"routes": (Route(), *test2), "rules": rules}
    )


def named(*routes: Route, rules: tuple[Rule, ...] = ()) -> Lab:
    """Return the twins beside a client that has these routes and rules."""
    return twins(client=Host("", routes=routes, rules=rules))


def forwarded(*rules: Rule) -> Lab:
    """Return the twins with default routes via a router, which has a table 100 that leads nowhere."""
    routes = (Route(via=ip_address("192.168.104.254")), Route(type="blackhole", table=100))
    lab = twins(router=Host("", routes=routes, rules=rules, forwards=True))
    via = {"routes": (Route(via=ip_address("192.168.104.101")),)}
    return changed(lab, test1=via, test2=via)


def double(lab: Lab, *routes: Route, **more: dict[str, Any]) -> Lab:
    """Return `lab` with a second link of each twin on eth1, test3 and test4, and `routes` out of test4."""
    inside = {"parent": "eth1", "rules": ()}
    lab = changed(
        lab,
        test3={**inside, "netns": "test1", "addresses": addresses("10.5.0.11/24"), "routes": ()},
        test4={**inside, "netns": "test2", "addresses": addresses("10.5.0.12/24"), "routes": routes},
    )
    return changed(lab, **more)


def ignoring(*sysctls: Sysctl, devs: str = "xxyy") -> Lab:
    """Return twins on eth1 with second links on eth0, test3 and test4, of which test5 asks for the twins."""
    own = ("10.5.0.11", "10.5.0.12", "192.168.104.11", "192.168.104.12")
    lab = changed(
        twins(Setting(kind="macvlan")),
        **{
            f"test{i + 1}": {
                "parent": "eth0" if i > 1 else "eth1",
                "addresses": addresses(f"{own[i]}/24"),
                "netns": f"test{i % 2 + 1}",
                "routes": (),
                "dev": devs[i],
            }
            for i in range(4)
        },
        test5={"routes": (Route(), to("10.5.0.0/24"))},
    )
    return replace(lab, phases=(replace(lab.phases[0], acts=(Act(sysctls=sysctls),)),))


def arp_ignore(node: str, value: int, dev: str = "all") -> Sysctl:
    return Sysctl(node, f"net.ipv4.conf.{dev}.arp_ignore", value)


CLIENT = "192.168.104.100/32"
TEST1, TEST2, TEST2S = "192.168.104.11/32", "192.168.104.12/32", "192.168.104.12/31"

DIFFER: dict[str, Callable[[], Lab]] = {
    "a route": lambda: changed(twins(), test2={"routes": ()}),
    "a blackhole": lambda: routed(test2=(lost(CLIENT),)),
    "the type of a route": lambda: routed(lost(CLIENT), test2=(to(CLIENT, type="prohibit"),)),
    "the table of a route": lambda: routed(lost(CLIENT), test2=(lost(CLIENT, 100),)),
    "the gateway of a route": lambda: routed(
        to("198.51.100.0/24", "192.168.104.254"), test2=(to("198.51.100.0/24", "192.168.104.100"),)
    ),
    "the destination of a route": lambda: routed(lost(CLIENT), test2=(lost("192.168.104.101/32"),)),
    "the link of a route": lambda: double(twins(), to(CLIENT), test1={"routes": (Route(), to(CLIENT))}),
    "a rule": lambda: routed(
        lost(CLIENT, 100), test2=(lost(CLIENT, 100),), rules=(Rule(100, to=ip_network(CLIENT)),)
    ),
    "the parent": lambda: changed(
        twins(client=Host("", routes=(to("10.6.0.0/24"),))),
        test1={"addresses": addresses("10.6.0.11/24")},
        test2={"addresses": addresses("10.6.0.12/24"), "parent": "eth1"},
    ),
    "the prefix length": lambda: changed(
        twins(),
        test1={"routes": ()},
        test2={"routes": (), "addresses": addresses("192.168.104.12/25", "2001:db8:104::12/64")},
    ),
    "a family": lambda: changed(twins(), test2={"addresses": addresses("192.168.104.12/24")}),
    "the order of addresses": lambda: changed(
        named(lost("192.168.104.20/31")),
        test1={"addresses": addresses("192.168.104.11/24", "192.168.104.20/24")},
        test2={"addresses": addresses("192.168.104.21/24", "192.168.104.12/24")},
    ),
    "a network of a host's route": lambda: named(lost(TEST2S)),
    "a network of a host's rule": lambda: named(
        Route(type="blackhole", table=100), rules=(Rule(100, to=ip_network(TEST2S)),)
    ),
    "a source network of a host's rule": lambda: forwarded(Rule(100, ip_network(TEST2S))),
    "a source of a host's rule": lambda: forwarded(Rule(100, ip_network(TEST2))),
    "the number of a host's rule": lambda: forwarded(
        Rule(200, ip_network(TEST1)), Rule(100, ip_network(TEST2))
    ),
    "a host's route": lambda: named(lost(TEST2)),
    "the type of a host's route": lambda: named(lost(TEST1), to(TEST2, type="prohibit")),
    "the table of a host's route": lambda: named(lost(TEST1), lost(TEST2, 100)),
    "the gateway of a host's route": lambda: named(
        to(TEST1, "192.168.104.101"), to(TEST2, "192.168.104.254")
    ),
    "the host of a route": lambda: twins(
        client=Host("", routes=(lost(TEST1),)), router=Host("", routes=(lost(TEST2),))
    ),
    "the link of an endpoint's route": lambda: changed(
        twins(),
        test3={"routes": (Route(), to(TEST1))},
        test4={
            "netns": "test3",
            "parent": "eth1",
            "addresses": addresses("10.5.0.12/24"),
            "routes": (to(TEST2),),
        },
    ),
    "a gateway": lambda: changed(
        twins(Setting(kind="macvlan")),
        test1={"addresses": addresses("10.9.0.1/32", "192.168.104.11/24")},
        test2={"addresses": addresses("10.9.0.2/32", "192.168.104.12/24")},
        test3={"routes": (to("10.9.0.0/24", "192.168.104.11"),)},
    ),
    # test3 sends to either twin from the address that has more bits in common with that of the twin.
    "bits of an IPv6 address": lambda: changed(
        twins(),
        test1={"addresses": addresses("2001:db8:104::11/64"), "routes": (lost("2001:db8:104::13/128"),)},
        test2={
            "addresses": addresses("2001:db8:104:0:8000::12/64"),
            "routes": (lost("2001:db8:104::13/128"),),
        },
        test3={"addresses": addresses("2001:db8:104::13/128", "2001:db8:104:0:8000::13/128")},
    ),
    "a second IPv6 address": lambda: changed(
        twins(),
        test2={"addresses": addresses("192.168.104.12/24", "2001:db8:104::12/64", "2001:db8:105::12/64")},
        test3={
            "addresses": addresses("2001:db8:105::13/64"),
            "routes": (Route(), lost("2001:db8:105::12/128")),
        },
    ),
    "a sysctl": lambda: ignoring(arp_ignore("test2", 1)),
    "the value of a sysctl": lambda: ignoring(arp_ignore("test1", 0), arp_ignore("test2", 1)),
    "the name of a link with a sysctl": lambda: ignoring(
        arp_ignore("test3", 1, "y"), arp_ignore("test2", 1, "y"), devs="xyyx"
    ),
    "a shared namespace": lambda: changed(
        twins(),
        test1={"routes": ()},
        test2={"routes": ()},
        test3={"netns": "test2", "routes": (lost(CLIENT),)},
    ),
    "the link in a shared namespace": lambda: changed(
        twins(),
        test2={"netns": "test1", "parent": "eth1", "addresses": addresses("10.5.0.12/24"), "routes": ()},
    ),
}


def of_twin(world: World, name: str) -> set[tuple[str, Family, bool, str]]:
    """Return why pings from and to a twin are lost, but for those with a node in a namespace of the twins."""
    inside = {world.lab.netns(twin) for twin in ("test1", "test2")}
    return {
        (b if a == name else a, family, a == name, why_lost(world, check_of((a, b, family))))
        for a, b, family in pairs_in(world.lab, world.phase)
        if name in (a, b) and world.lab.netns(b if a == name else a) not in inside
    }


@pytest.mark.long
@for_each("lab", DIFFER.values())
def test_endpoints_that_differ_in_one_fact_are_predicted_each_for_itself(lab: Callable[[], Lab]) -> None:
    world = predicted_one_by_one(lab())
    assert of_twin(world, "test1") != of_twin(world, "test2")


ALIKE: dict[str, Callable[[], Lab]] = {
    "nothing": twins,
    "the mtu": lambda: changed(twins(), test2={"mtu": 1400}),
    "names": lambda: changed(twins(), test2={"dev": "eth0", "altnames": ("net1",), "netns": "space"}),
    "second IPv6 addresses": lambda: changed(
        twins(),
        test1={"addresses": addresses("2001:db8:104::11/64", "2001:db8:104::21/64")},
        test2={"addresses": addresses("2001:db8:104::12/64", "2001:db8:104::22/64")},
    ),
    "names in hosts' equal routes": lambda: named(lost(TEST1), lost(TEST2)),
    "namespaces of two": lambda: double(twins()),
    "namespaces of which the second address replies": lambda: changed(
        twins(Setting("l3")),
        test1={"addresses": addresses("10.9.0.1/32"), "routes": ()},
        test2={"addresses": addresses("10.9.0.2/32"), "routes": ()},
        test3={"netns": "test1"},
        test4={"netns": "test2"},
    ),
}


@pytest.mark.long
@pytest.mark.parametrize("lab", ALIKE.values(), ids=ALIKE)
def test_endpoints_that_differ_in_nothing_that_matters_are_one_kind(lab: Callable[[], Lab]) -> None:
    world = predicted_one_by_one(lab())
    for block in blocks_of(world):
        for names in (block.sources, block.destinations):
            assert ("test1" in names) == ("test2" in names)


@for_each(("lab", "alike"), [(lab, of is ALIKE) for of in (DIFFER, ALIKE) for lab in of.values()])
def test_endpoints_are_of_one_kind_if_no_fact_differs(lab: Callable[[], Lab], alike: bool) -> None:
    made = lab()
    blocks = list(blocks_of(beginning(made, made.phases[0])))
    sides = [names for block in blocks for names in (block.sources, block.destinations)]
    assert all(("test1" in names) == ("test2" in names) for names in sides) == alike


# --- fixes ----------------------------------------------------------------------------------------------


def gallery_lab(name: str) -> Lab:
    return load(gallery.text(name), f"{name}.yaml")


def test_the_groups_of_the_walkthrough() -> None:
    l2, l3 = review(gallery_lab("walkthrough")).phases
    # Each of two endpoints with the other, the host, the gateway and the neighbour, and back.
    assert (l2.pairs, l3.pairs) == (2 + 2 * 3 * 2, 3 * 2)
    assert [sorted((a, b) for a, b, _ in of_groups([group])) for group in l2.groups] == [
        [("test1", "host"), ("test2", "host")],
        [("host", "test1"), ("host", "test2")],
    ]
    silent, host = l3.groups
    assert sorted((a, b) for a, b, _ in of_groups([silent])) == [
        ("gateway", "test1"),
        ("neighbour", "test1"),
        ("test1", "gateway"),
        ("test1", "neighbour"),
    ]
    assert (
        silent.reason == "in l3 the endpoint is NOARP, so another host's ARP for the endpoint gets no answer"
    )
    assert silent.fix is not None
    assert host.fix is not None
    assert (silent.fix.name, silent.fix.fixed, silent.fix.gained, silent.fix.lost) == ("l3s-proxy", 4, (), ())
    assert (host.fix.name, host.fix.fixed, host.fix.gained, host.fix.lost) == ("host-shim", 2, (), ())


@pytest.mark.long
@given(crowds)
def test_each_unreachable_pair_is_in_one_group_and_a_fix_changes_what_it_says(lab: Lab) -> None:
    (phase,) = lab.phases
    (reviewed,) = review(lab).phases
    found = of_groups(reviewed.groups)
    assert len(found) == len(set(found)) == sum(group.count for group in reviewed.groups)
    every = pairs_in(lab, phase)
    assert reviewed.pairs == len(every)
    unreachable = every - reached(lab, phase, every)
    assert set(found) == unreachable
    keys = [(group.parents, group.reason) for group in reviewed.groups]
    assert len(keys) == len(set(keys))
    for group in reviewed.groups:
        if group.fix is None:
            continue
        own, gained, lost = set(of_groups([group])), pairs_of(group.fix.gained), pairs_of(group.fix.lost)
        assert 0 < group.fix.fixed <= len(own)
        assert len(gained) == len(set(gained))
        assert set(gained) <= unreachable - own
        assert unreachable.isdisjoint(lost)


def test_a_fix_of_the_switch_is_one_for_pairs_on_another_parent_too() -> None:
    lab = changed(
        twins(Setting(kind="macvlan")), test2={"parent": "eth1", "addresses": addresses("10.5.0.12/24")}
    )
    (reviewed,) = review(lab).phases
    eth0, eth1 = (
        next(g for g in reviewed.groups if (g.parents, g.check.destination) == ((parent,), HOST))
        for parent in ("eth0", "eth1")
    )
    assert eth0.reason == eth1.reason
    assert eth1.fix is not None
    assert (eth1.fix.name, eth1.fix.fixed) == ("hairpin", eth1.count)
    assert set(of_groups([eth0])) <= set(pairs_of(eth1.fix.gained))


# --- what the lab expects -------------------------------------------------------------------------------


def expecting(outcome: Outcome) -> Lab:
    """Return a lab in l3 that expects an outcome of a ping, after an announcement and before one."""
    lab = new_lab("expecting", Setting("l3"), 2)
    check = Check("neighbour", "test1", expect=outcome)
    announced = Act(announce=("test1",)), Act(checks=(check,))
    plain = Act(checks=(replace(check, destination="test2"), Check("test1", "test2", expect=outcome)))
    phase = replace(lab.phases[0], acts=(plain, *announced, plain))
    return replace(lab, phases=(phase, replace(phase, name="again")), parallel=1)


def test_a_check_that_cannot_be_reachable_as_expected_is_named() -> None:
    found = review(expecting(Outcome.REACHABLE)).unmet
    # An announcement fills only an entry that failed: in the first phase none did.
    assert [(one.phase, str(one.check), one.predicted) for one in found] == [
        (phase, f"neighbour -> {endpoint}", Outcome.UNREACHABLE)
        for phase, endpoint in (
            *(("l3", endpoint) for endpoint in ("test2", "test1", "test2")),
            *(("again", endpoint) for endpoint in ("test2", "test2")),
        )
    ]
    assert "NOARP" in found[0].reason
    assert "expects" not in found[0].reason
    assert {one.phase for one in review(expecting(Outcome.REACHABLE), "again").unmet} == {"again"}
    assert review(expecting(Outcome.UNREACHABLE)).unmet == ()


# --- comparisons ----------------------------------------------------------------------------------------


@given(crowds)
def test_a_lab_changes_nothing_of_itself(lab: Lab) -> None:
    (change,) = compare(lab, lab).phases
    assert (change.gained, change.lost, change.other_reason) == ((), (), 0)
    assert (change.nodes_added, change.nodes_removed) == ((), ())


def fewer(lab: Lab, drop: str, short: str) -> Lab:
    """Return `lab` without endpoint `drop`, where others are left, and with one address of `short`."""
    (phase,) = lab.phases
    names = tuple(name for name in phase.endpoints if name != drop) or phase.endpoints
    endpoints = (
        replace(e, addresses=e.addresses[:1], routes=None) if e.name == short else e for e in lab.endpoints
    )
    try:
        return replace(lab, endpoints=tuple(endpoints), phases=(replace(phase, endpoints=names),))
    except InvalidLab:
        return replace(lab, phases=(replace(phase, endpoints=names),))


@given(labs(most_endpoints=2, most_phases=2).map(crowded), st.data())
def test_gained_and_lost_are_what_is_reachable_in_one_lab_and_each_other_when_swapped(
    lab: Lab, data: st.DataObject
) -> None:
    new, old = (replace(lab, phases=(phase,)) for phase in (lab.phases[0], lab.phases[-1]))
    names = st.sampled_from(lab.phases[0].endpoints)
    new = fewer(new, data.draw(names), data.draw(names))
    (change,), (back,) = compare(new, old).phases, compare(old, new).phases
    nodes = [{*nodes_of(each, each.phases[0])} for each in (new, old)]
    assert {*change.nodes_added} == nodes[0] - nodes[1]
    assert {*change.nodes_removed} == nodes[1] - nodes[0]
    both = nodes[0] & nodes[1]
    now, then = (
        reached(each, each.phases[0], (p for p in pairs_in(each, each.phases[0]) if {*p[:2]} <= both))
        for each in (new, old)
    )
    gained, lost = of_groups(change.gained), of_groups(change.lost)
    assert sorted(gained) == sorted(now - then)
    assert sorted(lost) == sorted(then - now)
    assert sorted(of_groups(back.gained)) == sorted(lost)
    assert sorted(of_groups(back.lost)) == sorted(gained)
    assert back.other_reason == change.other_reason
    assert (back.nodes_added, back.nodes_removed) == (change.nodes_removed, change.nodes_added)


def with_phases(lab: Lab, *names: str) -> Lab:
    return replace(lab, phases=tuple(replace(lab.phases[0], name=name) for name in names))


def test_phases_are_compared_by_name_or_with_the_only_one() -> None:
    lab = new_lab("phases", Setting("l2"), 2)

    def compared(new: Lab, old: Lab, name: str | None = None) -> list[tuple[str, str]]:
        return [(each.phase, each.former) for each in compare(new, old, name).phases]

    assert compared(with_phases(lab, "a", "b"), with_phases(lab, "b", "a", "c")) == [("a", "a"), ("b", "b")]
    found = compare(with_phases(lab, "a", "b"), with_phases(lab, "b", "c"))
    assert (found.phases_added, found.phases_removed) == (("a",), ("c",))
    found = compare(with_phases(lab, "a", "b"), with_phases(lab, "b", "c"), "b")
    assert (found.phases_added, found.phases_removed) == ((), ())
    assert compared(with_phases(lab, "a", "b"), with_phases(lab, "live")) == [("a", "live"), ("b", "live")]
    assert compared(with_phases(lab, "live"), with_phases(lab, "a", "b")) == [("live", "a"), ("live", "b")]
    assert compared(with_phases(lab, "a", "b"), with_phases(lab, "b", "a"), "b") == [("b", "b")]
    with pytest.raises(UsageError, match="no phase of phases is called"):
        compare(with_phases(lab, "a", "b"), with_phases(lab, "c", "d"))
    with pytest.raises(UsageError, match="has no phase 'x'"):
        compare(with_phases(lab, "a", "b"), with_phases(lab, "a"), "x")


def test_endpoints_that_leave_a_shared_namespace_gain_nothing_that_is_compared() -> None:
    lab = new_lab("apart", Setting("l2"), 4, checks="gateway")
    test1, test2, *others = lab.endpoints

    def shared(of: Endpoint, netns: str) -> Endpoint:
        return replace(of, netns=netns, routes=())

    joined = replace(lab, endpoints=(test1, shared(test2, test1.netns), *others))
    parted = replace(lab, endpoints=(test1, shared(test2, test2.netns), *others))
    (change,) = compare(parted, joined).phases
    compared = {pair[:2] for pair in of_groups((*change.gained, *change.lost))}
    assert compared.isdisjoint({("test1", "test2"), ("test2", "test1")})


def compared_one_by_one(new: Lab, old: Lab) -> int:
    """Return how many pairs of both labs `new` loses, each predicted for itself."""
    worlds = [(lab, phase, pairs_in(lab, phase)) for lab in (new, old) for phase in lab.phases]
    now, then = (reached(*world) for world in worlds)
    (change,) = compare(new, old).phases
    assert set(of_groups(change.gained)) == now - then
    assert set(of_groups(change.lost)) == then - now
    return len(then - now)


def test_a_pair_that_only_one_lab_has_is_lost() -> None:
    assert compared_one_by_one(changed(twins(), test2={"addresses": addresses("192.168.104.12/24")}), twins())


def test_endpoints_that_change_their_namespaces_are_compared_each_for_itself() -> None:
    """Of six in three namespaces, two are in that of each other now; pairs of one namespace are not pairs."""
    old, new = (
        changed(
            new_lab("moved", setting, 6, checks="gateway"),
            **{f"test{i + 1}": {"netns": netns, "routes": ()} for i, netns in enumerate(namespaces)},
        )
        for setting, namespaces in ((Setting(), "aabbcc"), (Setting(flag="private"), "abbacc"))
    )
    never = {frozenset(names) for names in (("test1", "test2"), ("test3", "test4"))}
    never |= {frozenset(names) for names in (("test1", "test4"), ("test2", "test3"))}
    (change,) = compare(new, old).phases
    lost = {pair for pair in pairs_in(old, old.phases[0]) if all(map(old.is_endpoint, pair[:2]))}
    assert set(of_groups(change.lost)) == {pair for pair in lost if frozenset(pair[:2]) not in never}
    assert (change.gained, change.other_reason) == ((), 0)


def test_a_pair_that_is_lost_for_another_reason_is_neither_gained_nor_lost() -> None:
    (change,) = compare(twins(Setting(flag="private")), twins(Setting(flag="vepa"))).phases
    # Each of five endpoints with each other one, in both families.
    assert (change.gained, change.lost, change.other_reason) == ((), (), 5 * 4 * 2)


# --- what is not modelled -------------------------------------------------------------------------------


def setting(lab: Lab, *sysctls: Sysctl) -> Lab:
    """Return `lab`, the phase of which sets sysctls first."""
    return replace(lab, phases=(replace(lab.phases[0], acts=(Act(sysctls=sysctls),)),))


UNKNOWN = "net.ipv4.conf.all.arp_ignore=2 of the endpoint"


def test_pairs_that_a_sysctl_concerns_are_called_neither_reachable_nor_unreachable() -> None:
    lab = twins(Setting("l3"))
    changing = setting(lab, arp_ignore("test2", 2), arp_ignore("test1", 2), arp_ignore("test3", 1))
    (known,), (reviewed,) = review(lab).phases, review(changing).phases
    open_ = {p for p in pairs_in(lab, lab.phases[0]) if {"test1", "test2"} & {*p} and p[2] == "ipv4"}
    assert [(group.reason, group.fix) for group in reviewed.not_modelled] == [(UNKNOWN, None)]
    assert sorted(of_groups(reviewed.not_modelled)) == sorted(open_)
    assert sorted(of_groups(reviewed.groups)) == sorted({*of_groups(known.groups)} - open_)
    assert known.not_modelled == ()
    for group in reviewed.groups:
        changes = (*group.fix.gained, *group.fix.lost) if group.fix is not None else ()
        assert open_.isdisjoint(pairs_of(changes))
    lines = render(review(changing), "./twins.yaml").splitlines()
    here = lines.index("not modelled:")
    assert lines[here + 1] == f"1. {len(open_)} pairs on eth0: {UNKNOWN}"
    lost = len({*of_groups(known.groups)} - open_)
    last = f"twins: {lost} of {reviewed.pairs} pairs unreachable, {len(open_)} not modelled"
    assert lines[-1] == last


def test_a_sysctl_of_another_host_concerns_all_pairs_of_its_family() -> None:
    lab = twins()
    (reviewed,) = review(setting(lab, arp_ignore("client", 2))).phases
    (group,) = {each.reason: each for each in reviewed.not_modelled}.values()
    assert group.reason == "net.ipv4.conf.all.arp_ignore=2 of client"
    assert {family for _, _, family in of_groups(reviewed.groups)} == {"ipv6"}
    assert {p for p in pairs_in(lab, lab.phases[0]) if p[2] == "ipv4"} == {*of_groups(reviewed.not_modelled)}


def test_what_is_not_modelled_in_one_lab_is_neither_gained_nor_lost() -> None:
    lab = twins()
    private = twins(Setting(flag="private"))
    (plain,) = compare(private, lab).phases
    for new, old in (
        (setting(private, arp_ignore("test1", 2)), lab),
        (private, setting(lab, arp_ignore("test1", 2))),
    ):
        compared = compare(new, old)
        (change,) = compared.phases
        open_ = set(of_groups(change.not_modelled))
        assert open_ == {p for p in pairs_in(lab, lab.phases[0]) if "test1" in p and p[2] == "ipv4"}
        assert set(of_groups(change.lost)) == {*of_groups(plain.lost)} - open_
        assert change.gained == ()
        assert f"0 gained, {len(open_)} not modelled" in render_comparison(compared).splitlines()[0]


# --- text -----------------------------------------------------------------------------------------------

A_SCREEN = 40


@pytest.mark.long
@pytest.mark.parametrize(("mode", "flag"), [*product(MODES, FLAGS)])
@pytest.mark.parametrize("ipv6", [pytest.param(False, marks=pytest.mark.slow), True])
def test_two_hundred_endpoints_fit_a_screen(mode: str, flag: str, ipv6: bool) -> None:
    many, others = (
        new_lab("many", Setting(mode, flag), 200, ipv6=ipv6)  # type: ignore[arg-type]
        for mode, flag in ((mode, flag), ("l3" if mode == "l2" else "l2", "bridge"))
    )
    texts = render(review(many), "./many.yaml"), render_comparison(compare(many, others))
    for lines in (text.splitlines() for text in texts):
        assert len(lines) <= A_SCREEN
        assert max(map(len, lines)) <= WIDTH


@pytest.mark.long
@pytest.mark.parametrize("name", gallery.names())
def test_the_commands_of_a_review_print_the_fix_that_it_names(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    reviewed = review(gallery_lab(name))
    fixes = [group.fix for phase in reviewed.phases for group in phase.groups[:5] if group.fix is not None]
    lines = [line.strip() for line in render(reviewed, name).splitlines()]
    commands = [line.split()[1:] for line in lines if line.startswith("ipvkit explain ")]
    assert len(commands) == len(fixes)
    for command, fix in {tuple(c): f for c, f in zip(commands, fixes, strict=True)}.items():
        assert run_command_line(command) == 0
        told = " ".join(capsys.readouterr().out.split())
        assert f"fix 1, {fix.name}: {fix.cost}" in told


def test_a_host_shim_that_is_there_is_no_part_of_a_fix() -> None:
    lab = gallery_lab("host-shim")
    (private,) = (phase for phase in lab.phases if phase.name == "private")
    found = explain(lab, private, Check("host", "test1"))
    assert [fix.name for fix in found.fixes] == ["flag-bridge"]


@pytest.mark.parametrize(
    ("source", "destination", "flush"),
    [
        ("neighbour", "test1", "ip netns exec neighbour ip neigh flush all"),
        ("test1", "gateway", "ip netns exec gateway ip neigh flush all"),
        ("host", "test1", "ip neigh flush all"),
    ],
)
def test_a_fix_is_tried_without_the_question_that_the_ping_before_left(
    source: str, destination: str, flush: str
) -> None:
    lab = gallery_lab("l3-silent")
    found = explain(lab, lab.phases[0], Check(source, destination))
    assert found.fixes
    for fix in found.fixes:
        *_, before, after = (str(step.command) for step in fix.plan.steps)
        # An announcement is an answer to that question.
        assert (before == flush) == (fix.name != "announce")
        assert " ping " in f" {after}"


ANNOUNCED_ON_ONE = """\
name: announced-on-one
about: one of two parents is announced
parents:
- {name: one, host: 192.0.2.1/24, gateway: 192.0.2.254}
- {name: other, host: 198.51.100.1/24, gateway: 198.51.100.254}
endpoints:
- {name: a, parent: one, addresses: 192.0.2.11/24}
- {name: b, parent: other, addresses: 198.51.100.11/24}
phases:
- name: l3
  mode: l3
  strategy: announce
  parents: {other: {strategy: none}}
  do: []
"""


def test_what_the_phase_announces_is_announced_while_a_fix_is_tried() -> None:
    lab = load(ANNOUNCED_ON_ONE, "one.yaml")
    found = explain(lab, lab.phases[0], Check("a", "b"))
    assert len(found.fixes) == 5
    for fix in found.fixes:
        last = [str(step.command) for step in [*fix.plan.stages][-1]]
        assert "arping -c 3 -U -I one 192.0.2.11" in last, fix.name
        assert sum(" ping " in f" {line}" for line in last) == 1


def test_the_first_announcements_of_a_parent_are_allowed_whatever_others_have() -> None:
    lab = load(ANNOUNCED_ON_ONE, "one.yaml")
    found = explain(lab, lab.phases[0], Check("gateway", "b"))
    (fix,) = (fix for fix in found.fixes if fix.name == "announce")
    allow, announce = map(str, fix.commands)
    assert allow == "sysctl -w net.ipv4.ip_nonlocal_bind=1"
    assert announce == "arping -c 3 -U -I other 198.51.100.11"


def test_what_a_fix_deletes_of_the_phase_is_not_undone_again() -> None:
    lab = gallery_lab("link-local-gateway")
    (phase,) = (phase for phase in lab.phases if phase.name == "l3s-proxy")
    found = explain(lab, phase, Check("client", "test2"), fix_all=True)
    (fix,) = (fix for fix in found.fixes if fix.name == "mode-l2")
    deleted = [str(command) for command in fix.commands if "proxy" in command.argv]
    assert sorted(deleted) == [f"ip neigh del proxy 2001:db8:104::21{i} dev eth0" for i in (1, 2)]
    undone = [str(step.undo.command()) for step in fix.plan.undos if step.undo and not step.undo.reads]
    assert undone
    assert not {*undone} & {*deleted}


def test_a_fix_is_for_all_links_of_a_container() -> None:
    lab = gallery_lab("same-names")
    found = explain(lab, lab.phases[1], Check("metrics", "gateway"))
    # It sends from db's address, which is in the gateway's subnet.
    assert found.fixed == ("db", "metrics")
    (announce,) = (fix for fix in found.fixes if fix.name == "announce")
    assert [c.argv[-1] for c in announce.commands[1:]] == ["192.168.104.212", "198.51.100.213"]


def test_the_commands_of_a_review_print_fixes_in_a_format(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("l3-silent", "--phase", "l3", "--fix-as", "cni") == 0
    text = capsys.readouterr().out
    (first, *_) = (line.split()[1:] for line in text.splitlines() if line.startswith("   ipvkit explain "))
    assert run_command_line(first) == 0
    assert '  +  "mode": "l2",\n' in capsys.readouterr().out


# --- the command ----------------------------------------------------------------------------------------


def run(*words: str) -> int:
    return run_command_line(["review", *words])


def lab_file(folder: Path, name: str, *changes: tuple[str, str]) -> str:
    """Return the path of the walkthrough with `changes` of its text."""
    text = gallery.text("walkthrough")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (folder / name).write_text(text)
    return str(folder / name)


def test_the_exit_code_is_about_what_is_expected_or_lost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expects = ("{from: host, to: test1}", "{from: host, to: test1, expect: reachable}")
    wanted = lab_file(tmp_path, "wanted.yaml", expects)
    assert run("walkthrough") == run("walkthrough", "--against", "walkthrough") == 0
    capsys.readouterr()
    assert run(wanted) == run(wanted, "--json") == 1
    first = capsys.readouterr().out.splitlines()[0]
    assert first.startswith("error: phase l3: host -> test1 is expected to be reachable, and the model")
    assert run(wanted, "--phase", "l2") == 0
    private = lab_file(tmp_path, "private.yaml", ("    mode: l2\n", "    mode: l2\n    flag: private\n"))
    assert run(private, "--against", "walkthrough") == run(private, "--against", wanted, "--json") == 1
    capsys.readouterr()
    assert run("walkthrough", "--against", private) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "walkthrough: 0 pairs lost, 2 gained"


def test_three_labs_are_too_many(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("walkthrough", "--live", "--against", "l2") == 2
    assert "hint: give one of the two" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ("nosuch",),
        ("walkthrough", "--phase", "l4"),
        ("walkthrough", "--against", "nosuch"),
        ("walkthrough", "--against", "l2", "--fix-as", "cni"),
        ("walkthrough", "--fix-as", "cnj"),
        ("walkthrough", "--against", "private", "--phase", "l3"),
    ],
)
def test_wrong_usage_is_one_line_with_a_hint(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*words) == 2
    error, hint = capsys.readouterr().err.splitlines()
    assert error.startswith("error: ")
    assert hint.startswith("hint: ")
