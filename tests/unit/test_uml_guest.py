"""What a uml kernel is given for a plan: the modules that its commands need, memory for its endpoints."""

from dataclasses import replace
from ipaddress import ip_interface
from itertools import pairwise

import pytest
from hypothesis import given

from ipvkit.lab import Lab, gallery
from ipvkit.lab.format import load
from ipvkit.plan.make import make_plan
from ipvkit.plan.steps import Plan
from ipvkit.targets import uml
from ipvkit.targets.kernels import MODULES, Kernel
from ipvkit.targets.uml import guest_of
from requires import requires
from strategies import labs

KINDS = {"bond", "bridge", "dummy", "ipvlan", "ipvtap", "macvlan", "veth", "vlan"}
OF_EACH_LAN = {"bridge", "veth"}
MODULE_OF_TYPE = {"bond": "bonding", "vlan": "8021q"}
OF_PORT_SECURITY = {"act_gact", "cls_flower", "cls_matchall", "sch_ingress"}


def lab(name: str) -> Lab:
    return load(gallery.text(name), name)


def types(plan: Plan) -> set[str]:
    """Return the types of the links that a plan makes."""
    words = [word for part in plan.steps for word in pairwise(part.command.argv)]
    # A link may have the name "type".
    return {kind for word, kind in words if word == "type"} & KINDS


@given(labs())
def test_the_module_of_each_link_is_loaded_and_no_other(described: Lab) -> None:
    plan = make_plan(described)
    made = types(plan)
    loaded = set(guest_of(plan).modules) - OF_PORT_SECURITY
    # A word that is also somebody's name, or a flag, loads a module too many, which does no harm.
    names = {name for e in described.endpoints for name in (e.name, e.netns)}
    names |= {"bridge", *(parent.name for parent in described.parents)}
    wanted = {MODULE_OF_TYPE.get(kind, kind) for kind in made}
    assert wanted <= loaded <= wanted | {MODULE_OF_TYPE.get(name, name) for name in names}
    assert not guest_of(plan).on_demand


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("l2", {"ipvlan"}),
        ("macvlan-conflict", {"ipvlan", "macvlan"}),
        ("vlan-parent", {"8021q", "ipvlan"}),
        ("bond-parent", {"8021q", "bonding", "ipvlan"}),
        ("port-security", {"ipvlan", *OF_PORT_SECURITY}),
    ],
)
def test_a_lab_of_the_gallery_has_the_modules_that_it_needs(name: str, more: set[str]) -> None:
    assert set(guest_of(make_plan(lab(name))).modules) == OF_EACH_LAN | more


@pytest.mark.parametrize(("release", "can"), [("6.12.113", False), ("6.16.0", True), ("7.2.7", True)])
def test_a_kernel_does_without_ptrace_where_it_can(release: str, can: bool) -> None:
    argv = uml._argv(Kernel(release, "linux", MODULES, "path"), guest_of(make_plan(lab("l2"))), 3)
    assert ("seccomp=auto" in argv) is can


def test_memory_grows_with_the_endpoints() -> None:
    few = lab("l2")
    one = few.endpoints[0]
    more = tuple(
        replace(one, name=f"t{i}", netns=f"t{i}", addresses=(ip_interface(f"192.168.104.{i}/24"),))
        for i in range(1, 101)
    )
    many = replace(few, endpoints=(*few.endpoints, *more))
    assert guest_of(make_plan(many)).memory_mib - guest_of(make_plan(few)).memory_mib == 50
    assert guest_of(make_plan(many), 1024) == replace(guest_of(make_plan(many)), memory_mib=1024)
    assert guest_of(None, 1) == guest_of(None)


def test_whoever_types_commands_has_what_each_lab_does_and_what_else_is_asked_for() -> None:
    free = guest_of(None)
    assert free.on_demand
    assert set(free.modules) == OF_EACH_LAN | {"ipvlan"}


@requires(str(MODULES))
def test_the_kernel_has_each_module() -> None:
    there = {path.stem for path in MODULES.rglob("*.ko")}
    assert {module for name in gallery.names() for module in guest_of(make_plan(lab(name))).modules} <= there
