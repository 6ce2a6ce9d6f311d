"""Sysctls of a lab: which may be set, which the rules know, and what is reported of the others."""

import re

import pytest

from ipvkit.core.errors import InvalidLab, UsageError
from ipvkit.lab import Outcome, gallery, on_parent
from ipvkit.lab.format import dump, load
from ipvkit.lab.sysctls import Sysctl, checked, names
from ipvkit.plan.make import make_plan
from ipvkit.predict.whole import predict_lab

LAB = """\
name: sysctls
about: what a sysctl changes
parent: eth0
network: {host: 192.168.104.110/24, gateway: 192.168.104.254, neighbour: 192.168.104.111}
endpoints:
  - {name: test1, addresses: [192.168.104.211/24]}
  - {name: test2, addresses: [192.168.104.212/24]}
phases:
  - name: first
    mode: l2
    do:
      - sysctls: {NODE: {KEY: VALUE}}
      - check: [{from: neighbour, to: test1}, {from: gateway, to: test2}]
"""


def lab_with(node: str, key: str, value: int = 1) -> str:
    return LAB.replace("NODE", node).replace("KEY", key).replace("VALUE", str(value))


def outcomes(node: str, key: str, value: int = 1) -> list[Outcome]:
    [phase] = predict_lab(load(lab_with(node, key, value), "lab.yaml"))
    return [probe.expected for probe in phase.acts[-1].probes]


@pytest.mark.parametrize("group", names())
def test_each_of_the_list_may_be_set_and_none_beside_it(group: str) -> None:
    for name in names()[group]:
        key = f"{group.replace('LINK', 'eth0/100')}.{name}"
        one = checked("host", "1", key)
        assert (one.key, one.dev, one.value) == (key, "eth0.100" if "LINK" in group else "", 1)
    with pytest.raises(UsageError, match="cannot set"):
        checked("host", "1", f"{group.replace('LINK', 'eth0')}.tcp_syncookies")


@pytest.mark.parametrize("value", ["", "on", "1.5", "99999999999", "1;2"])
def test_a_value_is_a_whole_number(value: str) -> None:
    with pytest.raises(UsageError, match="whole number"):
        checked("host", value, "net.ipv4.ip_forward")


@pytest.mark.parametrize(
    ("node", "key", "says"),
    [
        ("nobody", "net.ipv4.ip_forward", "unknown node of phase first: 'nobody'"),
        ("test1", "net.ipv4.conf.eth0.arp_ignore", "unknown link of test1: 'eth0'"),
        ("neighbour", "kernel.panic", "a lab cannot set kernel.panic"),
        ("neighbour", "net.ipv4.conf.eth0.arp ignore", "invalid sysctl name"),
    ],
)
def test_a_mistake_is_named_with_its_line(node: str, key: str, says: str) -> None:
    with pytest.raises(InvalidLab, match=rf"^error: lab.yaml:1[0-9]: .*{re.escape(says)}"):
        load(lab_with(node, key), "lab.yaml")


def test_on_a_real_parent_only_its_own_are_set_under_its_name() -> None:
    lab = on_parent(load(lab_with("host", "net.ipv4.conf.eth0.arp_ignore"), "lab.yaml"), "enp3s0.7")
    [act, _] = lab.phases[0].acts
    assert act.sysctls == (Sysctl("host", "net.ipv4.conf.enp3s0/7.arp_ignore", 1),)
    with pytest.raises(InvalidLab, match="this whole machine"):
        on_parent(load(lab_with("host", "net.ipv4.ip_forward"), "lab.yaml"), "eth0")


def test_a_peer_of_a_real_parent_is_another_machine() -> None:
    lab = on_parent(load(lab_with("gateway", "net.ipv4.ip_forward"), "lab.yaml"), "eth0")
    assert not [step for step in make_plan(lab).steps if "net.ipv4.ip_forward=1" in step.command.argv]


@pytest.mark.parametrize(
    ("node", "key", "value", "wanted"),
    [
        # Of a peer it may matter to all checks, of an endpoint to its own; of the other family to none.
        ("neighbour", "net.ipv4.conf.all.arp_filter", 1, ["not modelled", "not modelled"]),
        ("test1", "net.ipv4.conf.test1.arp_filter", 1, ["not modelled", "reachable"]),
        ("host", "net.ipv6.conf.all.disable_ipv6", 1, ["reachable", "reachable"]),
        ("neighbour", "net.ipv4.conf.all.arp_ignore", 1, ["reachable", "reachable"]),
        ("neighbour", "net.ipv4.conf.all.arp_ignore", 2, ["not modelled", "not modelled"]),
    ],
)
def test_what_the_rules_do_not_know_has_no_verdict(
    node: str, key: str, value: int, wanted: list[str]
) -> None:
    assert outcomes(node, key, value) == wanted


@pytest.mark.parametrize(
    ("name", "modelled"),
    [
        *((name, True) for name in ("accept_dad", "accept_ra", "addr_gen_mode", "autoconf", "use_tempaddr")),
        *((name, False) for name in ("disable_ipv6", "proxy_ndp", "drop_unsolicited_na")),
    ],
)
def test_no_check_depends_on_advertisements_and_dad(name: str, modelled: bool) -> None:
    text = gallery.text("link-local-gateway")
    assert text.count("    do:\n") == 3
    act = f"    do:\n      - sysctls: {{test1: {{net.ipv6.conf.test1.{name}: 1}}}}\n"
    phase = predict_lab(load(text.replace("    do:\n", act, 1), "lab.yaml"))[0]
    outcomes = [probe.expected for act in phase.acts for probe in act.probes]
    assert (Outcome.NOT_MODELLED in outcomes) != modelled


def test_what_is_set_on_the_host_is_restored() -> None:
    plan = make_plan(load(lab_with("host", "net.ipv4.conf.eth0.rp_filter"), "lab.yaml"))
    assert plan.sysctls_on("host") == ("net.ipv4.conf.eth0.rp_filter",)


def test_it_is_written_as_it_was_read() -> None:
    lab = load(lab_with("neighbour", "net.ipv4.conf.all.arp_accept"), "lab.yaml")
    assert load(dump(lab), "lab.yaml") == lab
