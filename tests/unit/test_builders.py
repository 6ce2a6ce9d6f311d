"""Builders: each value is one word of argv, the line is the argv, and hostile values are refused."""

import shlex
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from ipaddress import IPv4Address, IPv4Interface
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cases import for_each
from ipvkit.core import values
from ipvkit.core.command import Command, in_netns
from ipvkit.core.errors import UsageError
from ipvkit.core.values import Address, Flag, Mode
from ipvkit.tools import arping, ip, ping, sysctl, tc
from strategies import (
    HOSTILE_ADDRESSES,
    HOSTILE_INTERFACE_ADDRESSES,
    HOSTILE_NAMES,
    KEYWORDS,
    addresses,
    hostile_names,
    interface_addresses,
    interface_names,
    ipv6_addresses,
    netns_names,
)

ADDRESS = IPv4Address("192.0.2.1")
INTERFACE = IPv4Interface("192.0.2.1/24")
INNER = Command(("ip", "link", "show"))

TAKES_AN_INTERFACE: dict[str, Callable[[str], Command]] = {
    "link_add": lambda dev: ip.link_add(dev, ip.Bridge()),
    "link_add of ipvlan": lambda dev: ip.link_add("x", ip.Ipvlan(dev, "l2")),
    "link_add of veth": lambda dev: ip.link_add("x", ip.Veth(dev, "n")),
    "link_add of ipvtap": lambda dev: ip.link_add("x", ip.Ipvtap(dev, "l2")),
    "link_add of a port": lambda dev: ip.link_add("x", ip.Dummy(), master=dev),
    "link_set": lambda dev: ip.link_set(dev, up=True),
    "link_set master": lambda dev: ip.link_set("x", master=dev),
    "link_altname": lambda dev: ip.link_altname(dev, "x"),
    "link_delete": ip.link_delete,
    "link_show": ip.link_show,
    "addr_add": lambda dev: ip.addr_add(INTERFACE, dev),
    "link_add of macvlan": lambda dev: ip.link_add("x", ip.Macvlan(dev)),
    "link_add of vlan": lambda dev: ip.link_add("x", ip.Vlan(dev, 100)),
    "link_set name": lambda dev: ip.link_set("x", name=dev),
    "addr_del": lambda dev: ip.addr_del(INTERFACE, dev),
    "addr_show": ip.addr_show,
    "route_add": lambda dev: ip.route_add(ip.RouteTo(dev=dev)),
    "route_del": lambda dev: ip.route_del(ip.RouteTo(dev=dev)),
    "route_show": lambda dev: ip.route_show(dev=dev),
    "neigh_show": ip.neigh_show,
    "neigh_flush": ip.neigh_flush,
    **{
        f"{build.__name__} by {by}": partial(build, ADDRESS, by=by)
        for build in (arping.announce, arping.probe, arping.find_duplicate)
        for by in get_args(arping.Implementation)
    },
    **{f"qdisc {verb}": partial(tc.qdisc, verb) for verb in ("add", "del")},
    "filter_drop": tc.filter_drop,
    "ping from": lambda dev: ping.ping(ADDRESS, count=3, interval=0.2, wait=1, source=dev),
}

TAKES_A_NAMESPACE: dict[str, Callable[[str], Command]] = {
    "netns_add": ip.netns_add,
    "netns_del": ip.netns_del,
    "link_set netns": lambda netns: ip.link_set("x", netns=netns),
    "link_add of veth": lambda netns: ip.link_add("x", ip.Veth("p", netns)),
    "at": lambda netns: ip.at(netns, INNER),
    "in_netns": lambda netns: in_netns(netns, INNER),
}

TAKES_AN_ADDRESS: dict[str, Callable[[Address], Command]] = {
    "ping": lambda address: ping.ping(address, count=3, interval=0.2, wait=1),
    "ping_until_lost": lambda address: ping.ping_until_lost(address, interval=0.2, deadline=9),
    "route_add": lambda address: ip.route_add(ip.RouteTo(via=address)),
    "neigh_replace": lambda address: ip.neigh_replace(address, "02:00:00:00:00:01", "x"),
    "neigh_del": lambda address: ip.neigh_del(address, "x"),
    "neigh_add_proxy": lambda address: ip.neigh_add_proxy(address, "x"),
    "neigh_del_proxy": lambda address: ip.neigh_del_proxy(address, "x"),
    "filter_pass": lambda address: tc.filter_pass("x", address),
}

BY_INTERFACE = pytest.mark.parametrize("build", TAKES_AN_INTERFACE.values(), ids=TAKES_AN_INTERFACE)
BY_NAMESPACE = pytest.mark.parametrize("build", TAKES_A_NAMESPACE.values(), ids=TAKES_A_NAMESPACE)
BY_ADDRESS = pytest.mark.parametrize("build", TAKES_AN_ADDRESS.values(), ids=TAKES_AN_ADDRESS)


def line_is_argv(command: Command) -> bool:
    return shlex.split(str(command)) == list(command.argv)


# --- every value is exactly one word ---------------------------------------------------------------


@BY_INTERFACE
@given(interface_names())
def test_an_interface_name_is_one_word(build: Callable[[str], Command], name: str) -> None:
    command = build(name)
    assert name in command.argv
    assert line_is_argv(command)


@BY_NAMESPACE
@given(netns_names())
def test_a_namespace_is_one_word(build: Callable[[str], Command], name: str) -> None:
    command = build(name)
    assert name in command.argv
    assert line_is_argv(command)


@BY_ADDRESS
@given(addresses() | ipv6_addresses())
def test_an_address_is_one_word(build: Callable[[Address], Command], address: Address) -> None:
    command = build(address)
    assert command.argv.count(str(address)) == 1
    assert line_is_argv(command)


@given(addresses())
def test_an_address_that_is_announced_is_one_word(address: IPv4Address) -> None:
    command = arping.announce(address, "x")
    assert command.argv.count(str(address)) == 1
    assert line_is_argv(command)


@given(interface_addresses(), interface_names())
def test_an_address_with_its_prefix_length_is_one_word(address: IPv4Interface, dev: str) -> None:
    command = ip.addr_add(address, dev)
    assert command.argv == ("ip", "addr", "add", str(address), "dev", dev)
    assert line_is_argv(command)


@pytest.mark.parametrize("mode", get_args(Mode))
@pytest.mark.parametrize("flag", [None, *get_args(Flag)])
@given(interface_names(), interface_names())
def test_an_ipvlan_link_is_added_as_its_man_page_has_it(
    mode: Mode, flag: Flag | None, dev: str, parent: str
) -> None:
    command = ip.link_add(dev, ip.Ipvlan(parent, mode, flag))
    rest = ["type", "ipvlan", "mode", mode, *([flag] if flag else [])]
    assert list(command.argv)[-2 - len(rest) :] == ["link", parent, *rest]
    assert line_is_argv(command)


@given(
    addresses(),
    st.integers(1, 100),
    st.floats(0.002, 10, allow_nan=False),
    st.floats(0.01, 60, allow_nan=False),
)
def test_a_ping_has_its_bounds_as_plain_numbers(
    address: IPv4Address, count: int, interval: float, wait: float
) -> None:
    command = ping.ping(address, count=count, interval=interval, wait=wait)
    program, c, count_, i, interval_, w, wait_, address_ = command.argv
    assert (program, c, i, w) == ("ping", "-c", "-i", "-W")
    assert (count_, address_) == (str(count), str(address))
    for word, value in ((interval_, interval), (wait_, wait)):
        assert set(word) <= set("0123456789."), "no ping understands an exponent"
        assert float(word) == pytest.approx(value, rel=1e-5)


SYSCTLS = ("net.ipv4.ip_nonlocal_bind", "net.ipv4.neigh.eth0/7.ucast_solicit", "net/ipv4/ip_forward", "a.-b")


@given(st.dictionaries(st.sampled_from(SYSCTLS), st.integers(), min_size=1))
def test_a_sysctl_is_one_word_with_its_value(found: dict[str, int]) -> None:
    command = sysctl.set_values(found)
    assert command.argv[:2] == ("sysctl", "-w")
    assert dict(word.split("=") for word in command.argv[2:]) == {k: str(v) for k, v in found.items()}
    assert line_is_argv(command)
    for key in found:
        assert sysctl.get_value(key).argv == ("sysctl", "-n", key)


@given(st.lists(st.text(), min_size=1))
def test_a_command_carries_any_words_that_print_and_no_others(words: list[str]) -> None:
    if words[0] and all(word.isprintable() for word in words):
        assert shlex.split(str(Command(tuple(words)))) == words
    else:
        with pytest.raises(UsageError):
            Command(tuple(words))


@pytest.mark.parametrize("line", ["END", "a\nb", "a\x00"])
def test_a_command_reads_no_line_that_ends_what_it_reads(line: str) -> None:
    with pytest.raises(UsageError):
        Command(("ip", "-batch", "-"), stdin=("netns add a", line))


@given(netns_names())
def test_a_namespace_changes_where_a_command_runs_and_nothing_else(netns: str) -> None:
    probe = ping.ping(ADDRESS, count=1, interval=1, wait=1)
    inside = in_netns(netns, probe)
    assert inside.argv == ("ip", "netns", "exec", netns, *probe.argv)
    assert inside.ok == probe.ok
    assert ip.at(netns, INNER).argv == ("ip", "-n", netns, *INNER.argv[1:])
    assert in_netns(None, probe) == probe


# --- names that are keywords -------------------------------------------------------------------------


@pytest.mark.parametrize("name", KEYWORDS)
def test_a_name_that_ip_would_take_for_a_keyword_follows_dev(name: str) -> None:
    for command in (
        ip.link_add(name, ip.Bridge()),
        ip.link_add(name, ip.Ipvlan("eth0", "l2")),
        ip.link_set(name, up=True),
        ip.link_delete(name),
        ip.link_show(name),
    ):
        words = list(command.argv)
        assert any(words[at : at + 2] == ["dev", name] for at in range(3, len(words))), str(command)


@given(interface_names())
def test_dev_stands_before_a_name_only_where_it_is_needed(name: str) -> None:
    words = ip.link_delete(name).argv[3:]
    assert words in ((name,), ("dev", name))
    # iproute2 compares with the first letters of its keywords: a name with a digit, _ + or . is none.
    if set(name) & set("0123456789+.") and "_" not in name and "-" not in name and not name.startswith("gs"):
        assert words == (name,)


# --- hostile values are refused ----------------------------------------------------------------------


CHECKS = (values.interface_name, values.alternative_name, values.netns_name)


@for_each("name", HOSTILE_NAMES)
def test_a_known_hostile_name_is_refused(name: str) -> None:
    for check in CHECKS:
        with pytest.raises(UsageError):
            check(name)


@given(hostile_names(255))
def test_a_hostile_name_is_refused(name: str) -> None:
    for check in CHECKS:
        with pytest.raises(UsageError):
            check(name)


@BY_INTERFACE
@given(hostile_names(15))
def test_no_builder_takes_a_hostile_interface_name(build: Callable[[str], Command], name: str) -> None:
    with pytest.raises(UsageError):
        build(name)


@BY_NAMESPACE
@given(hostile_names(255))
def test_no_builder_takes_a_hostile_namespace(build: Callable[[str], Command], name: str) -> None:
    with pytest.raises(UsageError):
        build(name)


def test_a_name_has_as_many_bytes_as_the_kernel_allows() -> None:
    assert values.interface_name("a" * 15) == "a" * 15
    assert values.netns_name("a" * 255) == "a" * 255
    assert values.alternative_name("a" * 127) == "a" * 127
    for check, longest in zip(CHECKS, (15, 127, 255), strict=True):
        with pytest.raises(UsageError) as problem:
            check("a" * (longest + 1))
        assert f"{longest} at most" in problem.value.hint


@for_each("text", HOSTILE_ADDRESSES)
def test_a_hostile_address_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        values.address(text)


@for_each("text", HOSTILE_INTERFACE_ADDRESSES)
def test_a_hostile_interface_address_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        values.interface_address(text)


@given(st.text())
def test_any_text_is_an_address_or_refused(text: str) -> None:
    for check in (values.address, values.interface_address):
        with suppress(UsageError):
            assert str(check(text)) == text


@given(addresses() | ipv6_addresses(), interface_addresses())
def test_what_is_an_address_is_taken_as_it_is(address: Address, interface: IPv4Interface) -> None:
    assert values.address(str(address)) == address
    assert values.interface_address(str(interface)) == interface


@given(hostile_names(255).filter(lambda text: "." not in text and "/" not in text))
def test_a_hostile_sysctl_is_refused(key: str) -> None:
    for build in (sysctl.get_value, lambda k: sysctl.set_values({k: 1})):
        with pytest.raises(UsageError):
            build(key)


@pytest.mark.parametrize(
    "key", ["-w.x", "net", "net.", ".ipv4", "net..x", "net.a b", "net.x=1", "net.x\n", "net.$(x)", "--all"]
)
def test_what_sysctl_would_read_otherwise_is_refused(key: str) -> None:
    with pytest.raises(UsageError):
        sysctl.get_value(key)


def test_the_prefix_length_of_an_ipv6_address_is_its_own() -> None:
    assert values.interface_address("2001:db8::1/128").network.num_addresses == 1
    with pytest.raises(UsageError, match="from 1 to 128"):
        values.interface_address("2001:db8::1/129")
    with pytest.raises(UsageError, match="from 1 to 32"):
        values.interface_address("192.0.2.1/64")


# --- batches of ip ------------------------------------------------------------------------------------

PLAIN = Command(("ip", "-n", "test1", "link", "set", "test1", "up"))


@pytest.mark.parametrize(
    "other",
    [
        replace(PLAIN, ok=(0, 2)),
        replace(PLAIN, stdin=("a",)),
        Command(("ping", "link")),
        Command(("ip", "-json", "link", "show")),
        Command(("ip", "link", "set", "a b")),
        Command(("ip",)),
    ],
    ids=str,
)
def test_what_could_not_be_told_apart_in_a_batch_is_no_line_of_one(other: Command) -> None:
    assert ip.line_of(PLAIN) is not None
    assert ip.line_of(other) is None


def test_each_line_of_a_batch_that_failed_has_what_ip_printed_of_it() -> None:
    stderr = "a\nCommand failed -:1\nb\nc\nCommand failed -:3\n"
    assert [(failed.line, failed.error) for failed in ip.failed_lines(stderr)] == [(1, "a"), (3, "b\nc")]
