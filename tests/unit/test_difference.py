"""What changes between two settings of a phase: only that, in an order that works."""

from dataclasses import replace

import pytest
from hypothesis import given

from ipvkit.lab import MODES, Act, Lab, Setting
from ipvkit.plan.difference import difference, state_of
from ipvkit.verbs.lab_file import load_lab
from strategies import labs


@given(labs())
def test_nothing_changes_between_equal_states(lab: Lab) -> None:
    for phase in lab.phases:
        state = state_of(lab, phase, phase.endpoints)
        assert difference(state, state, {}) == []


@given(labs())
def test_what_exists_is_not_created(lab: Lab) -> None:
    for phase in lab.phases:
        for mode in MODES:
            other = replace(phase, setting=Setting(mode), others=())
            there, back = (state_of(lab, each, phase.endpoints) for each in (phase, other))
            changes = (*difference(there, back, {}), *difference(back, there, {}))
            argvs = [change.command.argv for change in changes]
            assert not [argv for argv in argvs if argv[:3] == ("ip", "netns", "add")]
            assert {argv[3] for argv in argvs if argv[:3] == ("ip", "link", "add")}.isdisjoint(
                phase.endpoints
            )


IN_TEST1 = "ip netns exec test1"
TO_L2 = f"{IN_TEST1} ip link set test1 type ipvlan mode l2 bridge"


@pytest.mark.parametrize(
    ("name", "phase", "setting", "wanted"),
    [
        ("private", "l2", Setting("l2"), [TO_L2]),
        # What goes with one endpoint is deleted, in reverse, and what is in its place is replaced.
        (
            "l3s-proxy",
            "proxy",
            Setting("l2"),
            [
                TO_L2,
                f"{IN_TEST1} ip route replace default via 192.168.104.254 dev test1",
                "ip route del 192.168.104.211/32 dev lo",
                "ip neigh del proxy 192.168.104.211 dev eth0",
            ],
        ),
        (
            "l3s-proxy",
            "proxy",
            Setting("l3s", host_shim=True),
            [
                "ip link add shim link eth0 type ipvlan mode l3s",
                "ip link set shim up",
                "ip route replace 192.168.104.211/32 dev shim",
                "ip neigh del proxy 192.168.104.211 dev eth0",
            ],
        ),
        # The shim is there, and changes with its siblings.
        (
            "host-shim",
            "l3",
            Setting("l2", host_shim=True),
            [TO_L2, "ip addr add 192.168.104.253/32 dev shim"],
        ),
        # The shim stays: others on the parent use it too.
        ("host-shim", "l2", Setting("l2"), []),
        (
            "macvlan-conflict",
            "macvlan",
            Setting(kind="macvlan", flag="private"),
            [f"{IN_TEST1} ip link set test1 type macvlan mode private"],
        ),
        (
            "l3-announced",
            "l3",
            Setting("l3", strategy="announce"),
            ["sysctl -w net.ipv4.ip_nonlocal_bind=1", "arping -c 3 -U -I eth0 192.168.104.211"],
        ),
    ],
)
def test_one_endpoint_gets_another_setting(
    name: str, phase: str, setting: Setting, wanted: list[str]
) -> None:
    lab = load_lab(name)
    former = next(each for each in lab.phases if each.name == phase)
    changed = replace(former, setting=setting)
    one, others = ["test1"], set(former.endpoints) - {"test1"}
    found = difference(state_of(lab, former, one), state_of(lab, changed, one), state_of(lab, former, others))
    assert [str(change.command) for change in found] == wanted


def test_the_switch_sends_frames_back_where_an_act_lets_it() -> None:
    lab = load_lab("l2")
    (phase,) = lab.phases
    plain, hairpin = (replace(phase, acts=(Act(hairpin=on),)) for on in (None, True))
    found = difference(state_of(lab, plain, ()), state_of(lab, hairpin, ()), {})
    assert [str(change.command) for change in found] == [
        "ip -n switch link set host type bridge_slave hairpin on"
    ]


def test_the_mode_of_ipvtap_links_is_set_as_theirs() -> None:
    lab = load_lab("l2")
    phases = (replace(lab.phases[0], setting=Setting(mode, kind="ipvtap")) for mode in ("l2", "l3"))
    there, wanted = (state_of(lab, phase, ["test1"]) for phase in phases)
    first, *_ = difference(there, wanted, {})
    assert str(first.command) == f"{IN_TEST1} ip link set test1 type ipvtap mode l3 bridge"
