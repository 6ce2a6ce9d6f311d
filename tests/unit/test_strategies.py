"""The labs that tests are given are of every kind: what holds for them is not said of a few plain ones."""

from collections.abc import Iterator

import pytest
from hypothesis import Phase, given, seed, settings
from hypothesis import strategies as st

from ipvkit.lab import FLAGS, KINDS, MODES, STRATEGIES, Act, Lab, Setting
from strategies import labs, labs_on_a_parent

pytestmark = pytest.mark.long

CHANGES = ("AddAddress", "AddLink", "DeleteLink", "SetMode", "SetMtu")

OF_EVERY_LAB = {
    *("IPv4", "IPv6", "both families", "own routes", "no routes", "an MTU", "two addresses", "one of three"),
    *("in its parent's subnet", "in a subnet of its own", *MODES, *FLAGS, *STRATEGIES),
    *("a shim", "a shim with addresses", "a check", "a watch", "a size", "a count", "an expectation"),
    *CHANGES,
    *("announce", "fast_ageing", "flush", "hairpin", "port_security", "wait"),
}
OF_A_SIMULATED_LAN = {*KINDS, "two parents", "three parents", "a VLAN", "parents that differ", "far"}
OF_A_SIMULATED_LAN |= {"no neighbour", "gateway unknown"}
OF_A_REAL_PARENT = {"host known", "host unknown", "gateway unknown", "neighbour known"}


def never_drawn(of: st.SearchStrategy[Lab], wanted: set[str]) -> set[str]:
    """Return which kinds no lab has; by fixed seeds, since one that is missing by chance is no failure."""
    missing = set(wanted)
    for number in range(10):

        @seed(number)
        @settings(max_examples=50, database=None, phases=[Phase.generate])
        @given(of)
        def see(lab: Lab) -> None:
            missing.difference_update(kinds_of(lab))

        if missing:
            see()
    return missing


def test_labs_of_every_kind_are_drawn() -> None:
    assert never_drawn(labs(), OF_EVERY_LAB | OF_A_SIMULATED_LAN) == set()


def test_labs_of_every_kind_are_drawn_for_a_real_parent() -> None:
    assert never_drawn(labs_on_a_parent(), OF_EVERY_LAB | OF_A_REAL_PARENT) == set()


def kinds_of(lab: Lab) -> Iterator[str]:
    """Yield what there is in a lab."""
    parent = lab.parents[0]
    yield from {2: ("two parents",), 3: ("three parents",)}.get(len(lab.parents), ())
    yield from ("a VLAN" for other in lab.parents if other.vlan)
    yield from ("far" for _ in lab.far)
    yield "host known" if parent.host else "host unknown"
    yield "gateway known" if parent.gateway else "gateway unknown"
    yield "neighbour known" if parent.neighbour else "no neighbour"
    for endpoint in lab.endpoints:
        versions = {own.version for own in endpoint.addresses}
        yield {(4,): "IPv4", (6,): "IPv6", (4, 6): "both families"}[tuple(sorted(versions))]
        if endpoint.routes is not None:
            yield "own routes" if endpoint.routes else "no routes"
        if endpoint.mtu:
            yield "an MTU"
        if len(endpoint.addresses) > 1:
            yield "two addresses"
        inside = parent.subnet_of(endpoint.addresses[0].ip)
        yield "in its parent's subnet" if inside else "in a subnet of its own"
    for phase in lab.phases:
        if len(phase.endpoints) < len(lab.endpoints):
            yield "one of three"
        if phase.others:
            yield "parents that differ"
        for setting in (phase.setting, *(other for _, other in phase.others)):
            yield from of_setting(setting)
        for act in phase.acts:
            yield from of_act(act)


def of_setting(setting: Setting) -> Iterator[str]:
    yield setting.kind
    if setting.kind == "ipvlan":
        yield from (setting.mode, setting.flag, setting.strategy)
    if setting.host_shim:
        yield "a shim with addresses" if setting.shim_addresses else "a shim"


def of_act(act: Act) -> Iterator[str]:
    for name in ("announce", "fast_ageing", "flush", "hairpin", "port_security", "wait"):
        if getattr(act, name) not in (None, ()):
            yield name
    for check in act.checks:
        yield "a check"
        yield from ("a watch" for _ in [check.watch] if check.watch is not None)
        yield from ("a size" for _ in [check.size] if check.size is not None)
        yield from ("a count" for _ in [check.count] if check.count != 6)
        yield from ("an expectation" for _ in [check.expect] if check.expect is not None)
    yield from (type(attempt.change).__name__ for attempt in act.attempts)
