"""A target that takes a whole plan is looked at by one process of ip, which shows what several would."""

import json
from ipaddress import ip_address, ip_network
from queue import SimpleQueue

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipvkit.core.command import Command, Completed
from ipvkit.core.errors import UnparsableOutput
from ipvkit.lab import gallery
from ipvkit.lab.format import load
from ipvkit.plan.make import make_plan
from ipvkit.plan.resources import NETNS, Link, Netns, Proxy, Resource, Route, Sysctl, state_of
from ipvkit.run.execution import carry_out
from ipvkit.run.leftovers import apart, leftovers, snapshot_of, together, views_of
from ipvkit.run.rollback import look_for
from ipvkit.targets.agent import Agent
from ipvkit.targets.sandbox import Sandbox
from ipvkit.tools import ip
from requires import requires

VIEWS = views_of(make_plan(load(gallery.text(gallery.WALKTHROUGH), gallery.WALKTHROUGH)), "host")
OF_IP = [name for name, view in VIEWS.items() if view.argv[0] == "ip"]

texts = st.text() | st.sampled_from(["]\n[", '"', "\\", "[]"])
lists = st.lists(st.dictionaries(texts, texts | st.integers() | st.lists(texts)))


def seen(stdout: str, exit_code: int = 0) -> dict[str, Completed]:
    (name, _), *others = together(VIEWS).items()
    said = {other: Completed(0, other, "", 0.0) for other, _ in others}
    return {name: Completed(exit_code, stdout, "as told" if exit_code else "", 0.0), **said}


def lines_of(view: Command) -> set[str]:
    words = [word for word in view.argv[1:] if word not in ("-json", "-details")]
    return {" ".join(words)}


def test_one_process_of_ip_is_asked_for_all_that_it_shows() -> None:
    shown, *others = together(VIEWS).values()
    assert set(shown.stdin) == set().union(*(lines_of(VIEWS[name]) for name in OF_IP))
    assert others == [view for view in VIEWS.values() if view.argv[0] != "ip"]


@pytest.mark.long
@given(st.fixed_dictionaries(dict.fromkeys(OF_IP, lists)), st.sampled_from([None, 2]), st.booleans())
def test_what_each_view_would_have_shown_is_told_apart(
    shown: dict[str, list[object]], indent: int | None, no_namespaces: bool
) -> None:
    in_order = {" ".join(view.argv[2:]).removeprefix("-details "): name for name, view in VIEWS.items()}
    names = [in_order[line] for line in together(VIEWS)["ip"].stdin]
    printed = [json.dumps(shown[name], indent=indent) for name in names]
    if no_namespaces:
        printed[names.index(NETNS)] = ""
    found = apart(VIEWS, seen("\n".join(printed) + "\n"))
    assert [found[name].stdout for name in names] == printed
    assert found.keys() >= VIEWS.keys()
    assert all(found[name].stdout == name for name in VIEWS.keys() - names)


def test_where_ip_failed_each_of_its_views_did() -> None:
    found = apart(VIEWS, seen("[]\n", exit_code=1))
    assert all((found[name].exit_code, found[name].stderr) == (1, "as told") for name in OF_IP)


def test_where_nothing_was_shown_no_view_is_there() -> None:
    assert apart(VIEWS, {}) == {}


@pytest.mark.parametrize("stdout", ["[", "[]\n{", "[]\n{}", "[]\nnone\n", "[]]", "[" * 100_000])
def test_what_nobody_understands_is_refused(stdout: str) -> None:
    with pytest.raises(UnparsableOutput):
        ip.lists_in(stdout, at_most=9)


def test_more_than_was_asked_for_is_refused() -> None:
    with pytest.raises(UnparsableOutput):
        apart(VIEWS, seen("[]\n" * (len(OF_IP) + 1)))


MADE: dict[Resource, tuple[str, ...]] = {
    Netns("a", links=("p", "q", "mac")): ("ip netns add a",),
    Link("mac", "macvlan"): ("ip link add mac link eth0 type macvlan",),
    Link("mac", "macvlan", "a"): (
        "ip -n a link add p type veth peer name q",
        "ip -n a link add mac link p type macvlan",
    ),
    Route(ip_network("198.51.100.1"), "lo"): ("ip route add 198.51.100.1 dev lo",),
    Route(ip_network("2001:db8::/64"), "eth0"): ("ip route add 2001:db8::/64 dev eth0",),
    Proxy(ip_address("198.51.100.1"), "eth0"): ("ip neigh add proxy 198.51.100.1 dev eth0",),
    Proxy(ip_address("2001:db8::1"), "eth0"): ("ip neigh add proxy 2001:db8::1 dev eth0",),
    Sysctl("net.ipv4.ip_nonlocal_bind", 1): ("sysctl -w net.ipv4.ip_nonlocal_bind=1",),
    Sysctl("net.ipv4.ip_forward", 1, "a"): ("ip netns exec a sysctl -w net.ipv4.ip_forward=1",),
}
"""Each kind of resource, and the commands that make it."""

ETH0 = ("ip link add eth0 type veth peer name eth1", "ip link set eth0 up", "ip link set eth1 up")


@requires("macvlan", "sysctl")
def test_on_a_kernel_each_kind_of_resource_is_seen_once_it_was_made() -> None:
    with Agent(Sandbox(), SimpleQueue()) as agent:

        def run(*lines: str) -> None:
            for line in lines:
                carry_out(agent, Command(tuple(line.split())))

        def states() -> dict[Resource, str]:
            seen = look_for(MADE, agent, lambda _: None)
            return {resource: state_of(resource, seen, former="0").state for resource in MADE}

        run(*ETH0)
        assert states() == dict.fromkeys(MADE, "gone")
        for lines in MADE.values():
            run(*lines)
        assert states() == dict.fromkeys(MADE, "stands")


def test_a_snapshot_has_all_that_tells_a_route_from_another_one() -> None:
    routes = [
        {"dst": "default", "gateway": "192.0.2.254", "dev": "eth0", "flags": []},
        {"dst": "10.0.0.0/8", "dev": "eth0", "metric": 100, "table": "7", "flags": []},
        {"type": "blackhole", "dst": "10.9.0.0/16", "flags": []},
        {"dst": "192.0.2.0/24", "dev": "eth0", "protocol": "kernel", "flags": []},
    ]
    printed = {name: Completed(0, "[]", "", 0.0) for name in OF_IP}
    (name,) = (name for name, view in VIEWS.items() if "route" in view.argv)
    shown = snapshot_of({**printed, name: Completed(0, json.dumps(routes), "", 0.0)})
    assert shown == (
        "route default via 192.0.2.254 dev eth0",
        "route 10.0.0.0/8 dev eth0 metric 100 table 7",
        "route blackhole 10.9.0.0/16",
    )


def test_without_words_that_concern_it_each_difference_is_a_leftover() -> None:
    before, after = ("link a", "net.x = 0", "netns n"), ("net.x = 1", "netns n", "link b")
    assert leftovers(before, after) == ["net.x = 1", "link b", "gone: link a"]
    assert leftovers(before, after, alone=["net.x"]) == ["link b", "gone: link a"]
