"""Labs of several hosts: their files, what is predicted across them, and where each command runs."""

import re
from collections.abc import Callable
from dataclasses import replace
from itertools import product

import jsonschema_rs
import pytest
import yaml
from hypothesis import assume, given, reject, settings

from cases import for_each
from ipvkit.core.errors import InvalidLab, UsageError
from ipvkit.core.values import Mode
from ipvkit.export.preview import preview
from ipvkit.export.script import exported
from ipvkit.lab import (
    FAMILIES,
    LAN,
    MODES,
    Check,
    Family,
    Lab,
    Outcome,
    Phase,
    Setting,
    gallery,
    on_its_hosts,
    on_parent,
)
from ipvkit.lab.format import dump, load
from ipvkit.lab.new import new_lab
from ipvkit.lab.table import schema
from ipvkit.plan.make import make_plan
from ipvkit.predict.whole import predict, predict_lab
from ipvkit.predict.world import State, world_of
from ipvkit.run.batches import jobs_of
from ipvkit.targets.local import Local
from ipvkit.verbs.explain import explain
from ipvkit.verbs.formats import exported as exported_as
from ipvkit.verbs.lab_file import load_lab, node_of
from ipvkit.verbs.live import only_phase
from ipvkit.verbs.review import review
from several_hosts import labs_of_hosts

LAB = """\
name: two
about: two hosts
parent: eth0
network: {gateway: 192.0.2.254, neighbour: 192.0.2.253}
hosts:
  - name: h1
    addresses: 192.0.2.1/24
    endpoints:
      - {name: web, addresses: 192.0.2.11/24}
      - {name: app, addresses: 192.0.2.12/24}
  - name: h2
    addresses: 192.0.2.2/24
    endpoints:
      - {name: web, addresses: 192.0.2.21/24}
      - {name: db, addresses: 192.0.2.22/24}
phases:
  - {name: l2, mode: l2, do: []}
"""


def two(old: str = "", new: str = "") -> Lab:
    """Return the lab of two hosts, with another text in one place."""
    assert LAB.count(old) == 1 or not old
    return load(LAB.replace(old, new), "two.yaml") if old else load(LAB, "two.yaml")


# --- files ------------------------------------------------------------------------------------------------


@given(labs_of_hosts())
def test_a_lab_that_is_written_is_read_as_the_same_and_fits_the_schema(lab: Lab) -> None:
    lab = replace(lab, about="any")
    text = dump(lab)
    assert load(text, "lab.yaml") == lab
    jsonschema_rs.Draft202012Validator(schema()).validate(yaml.safe_load(text))


def test_only_what_several_hosts_have_is_called_with_the_host() -> None:
    lab = two()
    assert lab.hosts == ("h1", "h2")
    assert [(p.name, p.on, p.dev, p.lan) for p in lab.parents] == [
        ("eth0@h1", "h1", "eth0", "eth0@h1"),
        ("eth0@h2", "h2", "eth0", "eth0@h1"),
    ]
    named = [(e.name, e.netns, e.dev, lab.host_of(e.name)) for e in lab.endpoints]
    assert named == [
        ("web@h1", "web", "web", "h1"),
        ("app", "app", "app", "h1"),
        ("web@h2", "web", "web", "h2"),
        ("db", "db", "db", "h2"),
    ]
    other = two("name: h2\n    addresses: 192.0.2.2/24", "name: h2\n    parents: [{name: eth0, dev: eno1}]")
    assert [(p.name, p.dev, p.lan) for p in other.parents] == [
        ("eth0", "eth0", "eth0"),
        ("eno1", "eno1", "eth0"),
    ]


def test_each_parent_has_the_peers_and_all_subnets_of_its_network() -> None:
    first, second = two("192.0.2.2/24", "198.51.100.2/24").parents
    assert first.gateway == second.gateway
    assert {*first.subnets} == {*second.subnets} == {own.network for p in (first, second) for own in p.host}


def test_a_setting_of_a_host_is_that_of_its_parents_in_all_phases() -> None:
    lab = two("name: h2\n", "name: h2\n    mode: l3\n    flag: private\n")
    (phase,) = lab.phases
    assert (phase.on("eth0@h1"), phase.on("eth0@h2")) == (Setting("l2"), Setting("l3", "private"))
    nearer = LAB.replace("name: h2\n", "name: h2\n    mode: l3\n").replace(
        "mode: l2,", "mode: l2, parents: {eth0@h2: {mode: l3s}},"
    )
    assert load(nearer, "two.yaml").phases[0].on("eth0@h2") == Setting("l3s")


@for_each(
    ("old", "new", "line", "what"),
    [
        ("hosts:\n", "endpoints: []\nhosts:\n", 7, "does not go with"),
        ("{gateway", "{host: 192.0.2.9/24, gateway", 4, "`host` is of a lab with one host"),
        ("name: h2", "name: H2", 11, "a host cannot be called 'H2'"),
        ("name: h2", "name: h1", 11, "host h1 is there twice"),
        (
            "    addresses: 192.0.2.2/24\n",
            "    parents: [{name: eth0}, {name: eth0, dev: eth1}]\n",
            12,
            "network eth0 is there twice",
        ),
        ("name: h2", "name: lan", 11, "other nodes of every lab are"),
        ("name: h2\n", "name: h2\n    parents: [{name: eth7}]\n", 13, "does not go with"),
        ("    addresses: 192.0.2.2/24\n", "    parents: [{name: eth7}]\n", 12, "no network is called eth7"),
        ("{name: db,", "{name: db, parent: eth7,", 15, "h2 has no eth7"),
        ("name: db, addresses: 192.0.2.22", "name: db, addresses: 192.0.2.12", 15, "is there twice"),
        ("name: db, ", "name: h1, ", 15, "an endpoint cannot be called h1"),
        ("name: app, ", "name: eth0, ", 10, "endpoint and parent are both called eth0"),
        ("name: app, ", "name: web, ", 10, "endpoint web@h1 is there twice"),
        (
            "mode: l2, do",
            "mode: l2, parents: {eth0: {mode: l3}}, do",
            17,
            "unknown parent of lab two: 'eth0'",
        ),
        ("do: []", "do: [{try: [{set-mtu: 9000, at: eth0@h1}]}]", 17, "accept 1500 bytes at most"),
        ("do: []", "do: [{check: [{from: web, to: db}]}]", 17, "unknown node of phase l2: 'web'"),
        ("do: []", "do: [{move: {eb: h2}}]", 17, "unknown endpoint of phase l2: 'eb'"),
        ("do: []", "do: [{move: {db: h3}}]", 17, "unknown host of lab two: 'h3'"),
        ("do: []", "do: [{move: {web@h1: h2}}]", 17, "web@h2 has a namespace of that name"),
        ("do: []", "do: [{move: {db: h1}, wait: 1}]", 17, "`move` is in one item with other changes"),
        ("do: []", "host-shim: true, do: [{move: {db: h1}}]", 17, "has a host shim"),
        ("mode: l2, do: []", "kind: veth, do: [{move: {db: h1}}]", 17, "are veth"),
        ("do: []", "do: [{down: h3}]", 17, "unknown host of lab two: 'h3'"),
        ("do: []", "do: [{down: h1, wait: 1}]", 17, "`down` is in one item with other changes"),
        ("do: []", "do: [{down: h1}, {down: h1}]", 17, "h1 is down, and h1 can do nothing until the phase"),
        ("do: []", "do: [{down: h1}, {check: [{from: app, to: db}]}]", 17, "h1 is down, and app can do"),
        ("do: []", "do: [{down: h1}, {check: [{from: h1, to: db}]}]", 17, "h1 is down, and h1 can do"),
        ("do: []", "do: [{down: h1}, {announce: app}]", 17, "h1 is down, and app can do nothing"),
        ("do: []", "do: [{down: h1}, {flush: h1}]", 17, "h1 is down, and h1 can do nothing"),
        ("do: []", "do: [{down: h1}, {move: {db: h1}}]", 17, "h1 is down, and h1 can do nothing"),
        ("do: []", "do: [{down: h1}, {try: [{set-mtu: 1400, at: eth0@h1}]}]", 17, "h1 is down, and h1 can"),
        ("do: []", "do: [{down: h1}, {try: [{set-mode: l3, at: app}]}]", 17, "h1 is down, and app can do"),
        (
            "do: []",
            "do: [{try: [{add-link: x, at: eth0@h1, kind: ipvlan}]}, {down: h1}, {try: [{delete-link: x}]}]",
            17,
            "h1 is down, and h1 can do nothing",
        ),
        (
            "do: []",
            "do: [{move: {db: h1}}, {down: h1}, {check: [{from: db, to: gateway}]}]",
            17,
            "h1 is down, and db can do nothing",
        ),
        ("mode: l2, do: []", "kind: macvlan, do: [{move: {db: h1}}]", 17, "are macvlan"),
        (
            "mode: l2, do: []",
            "mode: l3, strategy: static-neigh, do: [{move: {db: h1}}]",
            17,
            "has strategy static-neigh, which is for where it was",
        ),
    ],
)
def test_a_mistake_is_named_with_its_line(old: str, new: str, line: int, what: str) -> None:
    with pytest.raises(InvalidLab) as found:
        two(old, new)
    assert re.match(rf"two\.yaml:{line}: ", found.value.message), found.value.message
    assert what in found.value.message


def test_a_subnet_to_which_peers_would_need_two_routes_is_refused() -> None:
    own = re.sub(r"192\.0\.2\.(\d\d/24)", r"10.9.0.\1", LAB)
    assert load(own, "two.yaml")
    with pytest.raises(InvalidLab, match=r"two\.yaml:17: phase l2: eth0@h1 and eth0@h2 have endpoints in 10"):
        load(own.replace("mode: l2", "mode: l3, strategy: routed"), "two.yaml")
    apart = re.sub(r"10\.9\.0\.(2\d)", r"10.9.1.\1", own)
    assert load(apart.replace("mode: l2", "mode: l3, strategy: routed"), "two.yaml")


def test_one_host_in_hosts_is_not_enough() -> None:
    with pytest.raises(InvalidLab, match="at least two are needed"):
        load(LAB[: LAB.index("  - name: h2")] + LAB[LAB.index("phases:") :], "two.yaml")


def test_a_vlan_needs_the_link_that_it_is_on() -> None:
    networks = """\
parents:
  - {name: eth0, gateway: 192.0.2.254}
  - {name: eth0.30, link: eth0, vlan: 30, gateway: 198.51.100.254}
"""
    text = LAB.replace("parent: eth0\nnetwork: {gateway: 192.0.2.254, neighbour: 192.0.2.253}\n", networks)
    own = "parents: [{name: eth0, addresses: 192.0.2.2/24}, {name: eth0.30, addresses: 198.51.100.2/24}]"
    lab = load(text.replace("addresses: 192.0.2.2/24", own), "two.yaml")
    assert [(p.name, p.link) for p in lab.parents if p.vlan] == [
        ("eth0.30@h1", "eth0@h1"),
        ("eth0.30@h2", "eth0@h2"),
    ]
    undone = [str(step.undo.command()) for step in make_plan(lab).undos if step.undo and step.on == "h2"]
    assert undone.count("ip link delete eth0.30") == 1, "its cable stays"
    with pytest.raises(InvalidLab, match="a VLAN on eth0, which h2 does not have"):
        load(text.replace("addresses: 192.0.2.2/24", "parents: [{name: eth0.30}]"), "two.yaml")


def test_a_new_lab_of_three_hosts_gives_each_as_many_endpoints() -> None:
    lab = new_lab("three", Setting("l2"), 2, hosts=3, ipv6=True)
    assert [lab.host_of(e.name) for e in lab.endpoints] == ["h1", "h1", "h2", "h2", "h3", "h3"]
    assert load(dump(lab), "lab.yaml") == lab
    assert {str(p.host[0]) for p in lab.parents} == {f"192.168.104.{n}/24" for n in (250, 249, 248)}
    with pytest.raises(UsageError, match="each host has a separate subnet"):
        new_lab("own", Setting("l3", strategy="routed"), 2, hosts=2)
    with pytest.raises(UsageError, match="50100 endpoints on 100 hosts are too many"):
        new_lab("many", Setting("l2"), 501, hosts=100)


# --- what is predicted --------------------------------------------------------------------------------------


def outcome(lab: Lab, source: str, destination: str) -> Outcome:
    """Return what is predicted of a ping with empty neighbour tables."""
    return predict(world_of(lab, lab.phases[0], State()), Check(source, destination)).outcome


@pytest.mark.parametrize(("first", "second"), [*product(MODES, MODES)])
def test_endpoints_in_one_subnet_reach_another_host_and_its_endpoints_only_in_l2(
    first: Mode, second: Mode
) -> None:
    text = LAB.replace("name: h2\n", f"name: h2\n    mode: {second}\n")
    lab = load(text.replace("mode: l2,", f"mode: {first},"), "two.yaml")
    l2 = {True: Outcome.REACHABLE, False: Outcome.UNREACHABLE}
    both, of_h2, of_h1 = ((first, second) == ("l2", "l2"), second == "l2", first == "l2")
    pairs = {
        ("web@h1", "web@h2"): both,
        ("db", "app"): both,
        ("h1", "db"): of_h2,
        ("db", "h1"): of_h2,
        ("h2", "app"): of_h1,
        ("neighbour", "db"): of_h2,
        ("web@h1", "app"): True,
        ("h1", "app"): False,
        ("db", "h2"): False,
    }
    found = {pair: outcome(lab, *pair) for pair in pairs}
    assert found == {pair: l2[reachable] for pair, reachable in pairs.items()}


def predicted(lab: Lab) -> dict[str, list[tuple[str, str]]]:
    """Return the checks of each phase with their outcomes."""
    return {
        phase.phase.name: [(str(p.check), " or ".join(p.outcomes)) for act in phase.acts for p in act.probes]
        for phase in predict_lab(lab)
    }


def test_who_has_an_entry_sends_to_where_an_endpoint_was_until_a_broadcast_or_it_fails() -> None:
    found = predicted(load_lab("move"))
    assert found["announced"][3:] == [
        ("neighbour -> web", "unreachable"),
        ("app -> web", "unreachable"),
        ("gateway -> web", "reachable"),
        ("neighbour -> web", "reachable"),
        ("app -> web", "reachable"),
    ]
    assert found["it-sends-itself"][3:] == [
        ("neighbour -> web", "unreachable"),
        ("web -> gateway", "reachable"),
        *((f"{node} -> web", "reachable") for node in ("neighbour", "db", "app")),
    ]
    assert found["left-alone"] == 2 * [("neighbour -> web", "reachable")]


@pytest.mark.long
@settings(max_examples=100)
@given(labs_of_hosts())
def test_every_valid_lab_has_a_plan(lab: Lab) -> None:
    """What moves in one phase may not fit its new parent in another."""
    assert make_plan(lab).lab == lab


def test_an_endpoint_that_has_moved_is_in_the_next_phase_where_it_was() -> None:
    do = "[{check: [{from: neighbour, to: db}]}, {move: {db: h1}}, {check: [{from: gateway, to: db}]}]"
    again = "- {name: again, mode: l2, do: [{check: [{from: gateway, to: db}, {from: h2, to: db}]}]}"
    lab = load(LAB.replace("do: []}\n", f"do: {do}}}\n  {again}\n"), "two.yaml")
    # What the gateway has learned leads to h1, and db is on h2 again, which does not reach it.
    assert predicted(lab)["again"] == [("gateway -> db", "unreachable"), ("h2 -> db", "unreachable")]
    steps = [(step.on, step.purpose, str(step.command)) for step in make_plan(lab).steps]
    of_db = [(on, line) for on, _, line in steps if " db" in line and "ping" not in line]
    deleted = "ip netns exec db ip link delete db"
    assert [on for on, line in of_db if line == deleted] == ["h2", "h1"]
    assert [on for on, line in of_db if line == "ip netns add db"] == ["h2", "h1"]
    assert [on for on, line in of_db if line.startswith("ip link add db")] == ["h2", "h1", "h2"]


DOWN = "do: [{check: [{from: neighbour, to: app}]}, {down: h1}, "
"""The neighbour knows an endpoint of a host that goes down."""


def test_only_what_is_on_a_host_that_is_down_is_lost_until_the_phase_ends() -> None:
    checks = "{check: [{from: neighbour, to: app}, {from: db, to: h1}, {from: gateway, to: db}]}"
    again = "- {name: again, mode: l2, do: [{check: [{from: h1, to: db}, {from: neighbour, to: app}]}]}"
    lab = load(LAB.replace("do: []}\n", f"{DOWN}{checks}]}}\n  {again}\n"), "two.yaml")
    found = predicted(lab)
    assert [outcome for _, outcome in found["l2"]] == ["reachable", "unreachable", "unreachable", "reachable"]
    assert [outcome for _, outcome in found["again"]] == ["reachable", "reachable"]
    act = predict_lab(lab)[0].acts[-1]
    assert [probe.reason for probe in act.probes[:2]] == ["app is on h1, which is down", "h1 is down"]


def test_who_has_an_entry_for_an_endpoint_of_a_host_that_is_down_sends_there_also_when_it_has_moved() -> None:
    checks = "{check: [{from: neighbour, to: app}, {from: gateway, to: app}]}"
    lab = two("do: []", f"{DOWN}{{move: {{app: h2}}}}, {checks}]")
    assert predicted(lab)["l2"][1:] == [("neighbour -> app", "unreachable"), ("gateway -> app", "reachable")]
    reason = predict_lab(lab)[0].acts[-1].probes[0].reason
    assert reason == "the neighbour still has an ARP entry for app that leads to h1, which is down"


def test_an_entry_for_a_host_that_is_down_fails_when_it_is_used() -> None:
    check = "{check: [{from: neighbour, to: app}]}"
    uses = "{wait: 60}, {check: [{from: neighbour, to: app, watch: 20}]}"
    lab = two("do: []", f"{DOWN}{uses}, {{move: {{app: h2}}}}, {check}]")
    assert predicted(lab)["l2"][-1] == ("neighbour -> app", "reachable")


def test_what_a_host_that_was_down_has_and_what_others_have_of_it_may_have_failed_in_the_next_phase() -> None:
    warm = "{check: [{from: neighbour, to: app}, {from: h1, to: db}, {from: neighbour, to: db}]}"
    again = "{name: again, mode: l3, do: [check: [{from: neighbour, to: app}, {from: h1, to: db}]]}"
    for act, also in (("{down: h1}", (Outcome.UNREACHABLE,)), ("{wait: 1}", ())):
        lab = load(LAB.replace("do: []}\n", f"do: [{warm}, {act}]}}\n  - {again}\n"), "two.yaml")
        probes = predict_lab(lab)[1].acts[-1].probes
        assert [probe.outcomes for probe in probes] == [(Outcome.REACHABLE, *also)] * 2


def test_what_is_announced_from_a_host_that_is_down_is_not() -> None:
    check = "{check: [{from: neighbour, to: db}, {from: gateway, to: web@h1}]}"
    lab = two("mode: l2, do: []", f"mode: l3, strategy: announce, do: [{{down: h2}}, {check}]")
    assert [outcome for _, outcome in predicted(lab)["l2"]] == ["unreachable", "reachable"]
    announced = [str(s.command) for s in make_plan(lab).steps if "announce" in s.purpose]
    assert len(announced) == 1
    assert announced[0].endswith(" 192.0.2.11")


def test_a_host_that_is_down_has_ports_that_pass_nothing_until_the_phase_ends() -> None:
    again = "do: [{down: h2}]}\n  - {name: again, mode: l2, do: []}\n"
    lab = load(LAB.replace("do: []}\n", again), "two.yaml")
    steps = [(s.on, str(s.command)) for s in make_plan(lab).steps if " state " in str(s.command)]
    port = "ip -n switch link set h2 type bridge_slave state"
    assert steps == [(LAN, f"{port} 1"), (LAN, f"{port} 3")]


def test_another_host_hears_an_announcement() -> None:
    check = "{check: [{from: h1, to: db}]}"
    lab = two("mode: l2, do: []", f"mode: l3, do: [{check}, {{announce: [db]}}, {check}]")
    assert predicted(lab)["l2"] == [("h1 -> db", "unreachable"), ("h1 -> db", "reachable")]


def test_port_security_is_that_of_each_hosts_port() -> None:
    check = "{check: [{from: app, to: gateway}]}"
    allowed = "{port-security: [h1, h2, app]}"
    lab = two("do: []", f"do: [{allowed}, {check}, {{move: {{app: h2}}}}, {check}]")
    assert predicted(lab)["l2"] == [("app -> gateway", "reachable"), ("app -> gateway", "unreachable")]


def test_each_host_has_another_address_on_its_shim() -> None:
    lab = new_lab("shims", Setting("l2", host_shim=True), 2, hosts=3)
    shims = [own.ip for parent in lab.parents for own in lab.shim_addresses(lab.phases[0].setting, parent)]
    assert len(set(shims)) == len(shims) == 3


def test_an_endpoint_that_moves_back_finds_its_namespace_there() -> None:
    plan = make_plan(two("do: []", "do: [{move: {app: h2}}, {move: {app: h1}}]"))
    made = [step.on for step in plan.steps if str(step.command) == "ip netns add app"]
    assert made == ["h1", "h2"]


def test_no_real_host_is_taken_down() -> None:
    with pytest.raises(InvalidLab, match="ipvkit takes no real host down"):
        on_its_hosts(two("do: []", "do: [{down: h1}]"))


def test_an_announcement_of_the_strategy_repairs_entries_of_an_endpoint_that_has_moved() -> None:
    acts = "[{check: [{from: neighbour, to: db}]}, {move: {db: h1}}, {check: [{from: neighbour, to: db}]}]"
    lab = two("mode: l2, do: []", f"mode: l3, strategy: announce, do: {acts}")
    assert [outcome for _, outcome in predicted(lab)["l2"]] == ["reachable", "reachable"]


def test_a_host_that_forwards_delivers_what_an_entry_leads_to_it() -> None:
    check = "{check: [{from: neighbour, to: app}]}"
    forwards = "{sysctls: {h1: {net.ipv4.ip_forward: 1}}}"
    # At the last check the entry is about to fail, and the next question finds the endpoint.
    doubted = "{wait: 60}, {check: [{from: neighbour, to: app}]}"
    lab = two("do: []", f"do: [{check}, {forwards}, {doubted}, {{move: {{app: h2}}}}, {{wait: 6}}, {check}]")
    assert [outcome for _, outcome in predicted(lab)["l2"]] == ["reachable"] * 3
    reason = predict_lab(lab)[0].acts[-1].probes[0].reason
    what = "the neighbour still has an ARP entry for app that leads to h1, which forwards the packet"
    assert reason == what


def test_an_entry_that_an_announcement_repaired_leads_to_where_the_endpoint_was_in_the_next_phase() -> None:
    check = "{check: [{from: neighbour, to: app}]}"
    again = f"{{name: again, mode: l2, do: [{check}]}}"
    moved = f"{{name: moved, mode: l3, strategy: announce, do: [{{move: {{app: h2}}}}, {check}]}}"
    phases = f"do: [{check}]}}\n  - {moved}\n  - {again}\n"
    found = predicted(load(LAB.replace("do: []}\n", phases), "two.yaml"))
    assert [outcome for name in ("l2", "moved", "again") for _, outcome in found[name]] == [
        *("reachable", "reachable", "unreachable")
    ]


def test_each_entry_on_the_path_waits_for_an_announcement() -> None:
    lab = two("mode: l2,", "mode: l3, strategy: announce,")
    world = world_of(lab, lab.phases[0], State())
    for count, also in ((6, (Outcome.UNREACHABLE,)), (12, ())):
        found = predict(world, Check("app", "db", count=count))
        assert (found.outcome, found.also) == (Outcome.REACHABLE, also)
    assert predict(world, Check("h1", "db")).also == ()


@pytest.mark.parametrize("family", FAMILIES)
def test_who_is_asked_by_an_endpoint_that_has_moved_finds_it(family: Family) -> None:
    six = LAB.replace("gateway: 192.0.2.254", "gateway: [192.0.2.254, '2001:db8::fe']")
    for n in (1, 2, 22):
        six = six.replace(f"192.0.2.{n}/24", f"[192.0.2.{n}/24, '2001:db8::{n}/64']")
    pairs = (("gateway", "db"), ("db", "gateway"))
    there, back = (f"{{check: [{{from: {a}, to: {b}, family: {family}}}]}}" for a, b in pairs)
    lab = load(six.replace("do: []", f"do: [{there}, {{move: {{db: h1}}}}, {back}]"), "two.yaml")
    assert [outcome for _, outcome in predicted(lab)["l2"]] == ["reachable", "reachable"]


def test_a_host_hears_no_question_of_an_endpoint_that_has_moved_to_it() -> None:
    acts = "{move: {db: h1}}, {check: [{from: db, to: gateway}]}"
    again = "- {name: again, mode: l2, do: [{check: [{from: h1, to: db}]}]}"
    do = f"do: [{{check: [{{from: h1, to: db}}]}}, {acts}]}}\n  {again}\n"
    lab = load(LAB.replace("do: []}\n", do), "two.yaml")
    assert predicted(lab)["again"] == [("h1 -> db", "reachable")]


def test_a_host_without_an_address_has_timers_for_what_its_endpoints_send() -> None:
    text = LAB.replace("    addresses: 192.0.2.2/24\n", "")
    lab = load(text.replace("do: []", "do: [{fast-ageing: h2}]"), "two.yaml")
    (fast,) = (step.command for step in make_plan(lab).steps if step.purpose.startswith("shorten"))
    assert "net.ipv4.neigh.eth0.delay_first_probe_time=1" in fast.argv


def test_that_a_host_does_not_forward_is_not_modelled_on_any_host() -> None:
    do = "do: [{sysctls: {h2: {net.ipv4.ip_forward: 0}}}, {check: [{from: db, to: app}]}]"
    assert predicted(two("do: []", do))["l2"] == [("db -> app", "not modelled")]


def test_the_fix_of_a_pair_on_two_hosts_changes_both() -> None:
    lab = two("mode: l2,", "mode: l3,")
    found = explain(lab, lab.phases[0], Check("web@h1", "web@h2"))
    by_name = {fix.name: {change.on for change in fix.changes} for fix in found.fixes}
    assert by_name == {
        "l3s-proxy": {"h1", "h2"},
        "announce": {"h1", "h2"},
        "mode-l2": {"h1", "h2"},
        "static-neigh": {"h1", "h2", LAN},
        "routed": {"h1", "h2", LAN},
    }
    for fix in found.fixes:
        assert {step.on for step in fix.plan.steps} <= {"h1", "h2", LAN}


def test_the_host_shim_is_on_the_host_that_cannot_reach_its_endpoint() -> None:
    lab = two()
    found = explain(lab, lab.phases[0], Check("h2", "db"))
    assert (found.fixes[0].name, {change.on for change in found.fixes[0].changes}) == ("host-shim", {"h2"})


def test_a_review_counts_the_pairs_of_all_hosts() -> None:
    (found,) = review(two()).phases
    # 4 endpoints with each other, and there and back with 2 hosts and 2 peers.
    assert found.pairs == 4 * 3 + 2 * 4 * 4
    assert sum(group.count for group in found.groups) == 8
    # The hosts are exchangeable: one group of the pairs of each with its own endpoints, and one back.
    assert [(group.parents, group.count) for group in found.groups] == 2 * [(("eth0@h1", "eth0@h2"), 4)]
    assert {block.same_host for group in found.groups for block in group.blocks} == {True}
    assert found.groups[0].fix is not None
    assert (found.groups[0].fix.parents, found.groups[0].fix.fixed) == (("eth0@h1", "eth0@h2"), 4)


def test_a_node_is_known_by_its_address_and_by_a_namespace_that_one_host_has() -> None:
    lab = two()
    assert node_of(lab, "192.0.2.2") == ("h2", "ipv4")
    assert node_of(lab, "192.0.2.21") == ("web@h2", "ipv4")
    assert node_of(lab, "db") == ("db", None)
    with pytest.raises(UsageError, match="several hosts have a namespace web") as found:
        node_of(lab, "web")
    assert found.value.hint == "choose from web@h1, web@h2"


# --- where commands run -------------------------------------------------------------------------------------


@given(labs_of_hosts())
def test_each_command_runs_on_the_machine_of_what_it_is_about(lab: Lab) -> None:
    plan = make_plan(lab)
    assert lab.machines == (LAN, *lab.hosts)
    inside = {
        machine: {LAN: {"switch", "far", *lab.peers}}.get(machine, set[str]()) for machine in lab.machines
    }
    for e in lab.endpoints:
        inside[lab.host_of(e.name)].add(e.netns)
    moves = (move for phase in lab.phases for act in phase.acts for move in act.move)
    for name, host in moves:
        inside[host].add(lab.endpoint(name).netns)
    for step in plan.steps:
        argv = step.command.argv
        named = (
            argv[2] if argv[:2] == ("ip", "-n") else argv[3] if argv[:3] == ("ip", "netns", "exec") else None
        )
        assert named is None or named in inside[step.on], str(step.command)
        # No host is called so.
        assert "the host's" not in f"{step.purpose} {step.undo.purpose if step.undo else ''}"
    for job in (job for stages in jobs_of(plan).values() for stage in stages for job in stage):
        assert {step.on for step in job.steps} == {job.on}
    shown = preview(plan)
    assert all(f"# on {step.on}: {step.purpose}" in shown for step in plan.steps)


@given(labs_of_hosts())
def test_on_real_hosts_each_command_runs_on_one_and_only_in_namespaces_of_endpoints(lab: Lab) -> None:
    try:
        # No real host is taken down.
        lab = replace(lab, phases=tuple(map(_without_down, lab.phases)))
        there = on_its_hosts(lab)
    except InvalidLab as problem:
        known = "creates none|MTU of a real|needs an address|whole machine|static-neigh"
        if re.search(known, problem.message):
            reject()
        raise
    assert there.machines == lab.hosts
    names = {e.netns for e in lab.endpoints}
    assume(not any(act.move for phase in lab.phases for act in phase.acts))
    plan = make_plan(there)
    for step in plan.steps:
        argv = step.command.argv
        assert step.on in lab.hosts
        assert argv[:2] != ("ip", "-n") or argv[2] in names
        assert argv[:3] != ("ip", "netns", "exec") or argv[3] in names
    checks = [p.check for s in plan.sections for p in s.skipped]
    checks += [step.probe.check for step in plan.steps if step.probe and isinstance(step.probe.check, Check)]
    planned = [check for phase in lab.phases for act in phase.acts for check in act.checks]
    assert sorted(map(str, checks)) == sorted(map(str, planned))


def _without_down(phase: Phase) -> Phase:
    return replace(phase, acts=tuple(act for act in phase.acts if not act.down))


def test_the_end_of_a_cable_gets_its_mtu_back() -> None:
    undone = [str(step.undo.command()) for step in make_plan(two()).undos if step.undo and step.on == "h1"]
    assert [line for line in undone if " mtu " in line] == ["ip link set eth0 mtu 1500 down"]


def test_on_real_hosts_a_strategy_adds_what_the_other_hosts_need() -> None:
    plan = make_plan(on_its_hosts(load(gallery.text("two-hosts-l3-routed"), "routed")))
    added = [
        (step.on, str(step.command)) for step in plan.steps if step.undo and "route" in step.command.argv
    ]
    assert added == [
        ("h2", "ip route add 10.1.0.0/24 via 192.168.104.120 dev eth0"),
        ("h1", "ip route add 10.2.0.0/24 via 192.168.104.122 dev eth0"),
    ]


def test_the_mac_addresses_of_real_parents_are_unknown() -> None:
    lab = two("mode: l2", "mode: l3, strategy: static-neigh")
    with pytest.raises(InvalidLab, match="the entries of static-neigh on several real hosts"):
        on_its_hosts(lab)


@pytest.mark.parametrize(
    "use",
    [
        lambda lab: exported(make_plan(lab)),
        lambda lab: exported_as(lab, "cni"),
        lambda lab: on_parent(lab, "eth9"),
        only_phase,
        lambda lab: Local().machines(lab),
    ],
)
def test_what_is_for_one_host_says_so(use: Callable[[Lab], object]) -> None:
    with pytest.raises(UsageError, match="lab two has several"):
        use(two())
