"""What is done on paper costs as many calls for each endpoint of a large lab as of a small one."""

from collections.abc import Callable
from cProfile import Profile
from dataclasses import replace
from typing import TypeVar

import pytest
from test_inspect import endpoint, host, machine, own_address

from ipvkit.core.command import Completed
from ipvkit.core.values import Mode
from ipvkit.export.preview import preview
from ipvkit.export.script import exported
from ipvkit.formats import docker
from ipvkit.lab import Act, Lab, Outcome, Setting, on_parent
from ipvkit.lab.fields import Source
from ipvkit.lab.format import dump, load
from ipvkit.lab.new import new_lab
from ipvkit.plan.make import make_plan
from ipvkit.plan.steps import Plan
from ipvkit.report import json, table
from ipvkit.run.batches import jobs_of
from ipvkit.run.engine import Run
from ipvkit.run.verdicts import judge
from ipvkit.verbs.inspect import review
from ipvkit.verbs.review import review as review_of
from recorder import answered, unanswered

pytestmark = pytest.mark.long

T = TypeVar("T")
COUNTS = (40, 80, 120)
AT_MOST = 1.04
"""How many times what the last 40 cost may be what the 40 before them did: a single call that each makes for
each other is 1.05 times as much."""

SETTINGS = (
    Setting("l2"),
    Setting("l2", host_shim=True),
    Setting("l3", strategy="announce"),
    Setting("l3", strategy="routed"),
    Setting("l3", strategy="static-neigh"),
    Setting("l3s", strategy="l3s-proxy"),
    Setting("l2", kind="macvlan"),
    Setting("l2", kind="veth"),
)


def calls(work: Callable[[], T]) -> tuple[int, T]:
    """Return how many functions `work` calls, those in C included, and what it returns.

    What is done once in a process, such as to compile a pattern, is not counted.
    """
    work()
    profile = Profile()
    found = profile.runcall(work)
    return sum(function.callcount for function in profile.getstats()), found


def as_predicted(plan: Plan) -> Run:
    """Return a run in which all pings printed what is predicted."""
    outputs = {Outcome.REACHABLE: answered("192.0.2.1"), Outcome.UNREACHABLE: unanswered("192.0.2.1")}
    said = {s.id: outputs.get(s.probe.expected, "") if s.probe else "" for s in plan.steps}
    return Run(plan, "uml", completed={id: Completed(0, output, "", 0.1) for id, output in said.items()})


def planned(lab: Lab) -> dict[str, int]:
    """Return what it costs to make the plan of `lab` and to show it."""
    plan_costs, plan = calls(lambda: make_plan(lab))
    return {"plan": plan_costs, "preview": calls(lambda: preview(plan))[0]}


def written(lab: Lab) -> dict[str, int]:
    """Return what else is done for `lab` costs, from a file to the document of its run."""
    text = dump(lab)
    plan = make_plan(lab)
    result = judge(as_predicted(plan))
    return {
        "load": calls(lambda: load(text, "new.yaml"))[0],
        "export": calls(lambda: exported(plan))[0],
        "jobs": calls(lambda: jobs_of(plan))[0],
        "judge": calls(lambda: judge(result.run))[0],
        "json": calls(lambda: list(json.render(result)))[0],
        "table": calls(lambda: table.render(result))[0],
    }


def assert_linear(first: dict[str, int], second: dict[str, int], third: dict[str, int]) -> None:
    growth = {what: (third[what] - second[what]) / (second[what] - first[what]) for what in first}
    assert {what: times for what, times in growth.items() if times > AT_MOST} == {}


@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_each_endpoint_costs_the_same_to_plan_for(setting: Setting) -> None:
    assert_linear(*(planned(new_lab("new", setting, count)) for count in COUNTS))


HOSTS = (20, 40, 60)


def fleet(hosts: int, setting: Setting) -> Lab:
    """Return a lab of `hosts` with two endpoints each, and as many checks for any number of hosts."""
    return new_lab("fleet", setting, 2, hosts=hosts, checks="sample:20")


@pytest.mark.parametrize(
    "setting", [Setting("l2"), Setting("l3", host_shim=True), Setting("l3s", strategy="l3s-proxy")], ids=str
)
def test_each_host_costs_the_same_to_generate_to_read_and_to_plan_for(setting: Setting) -> None:
    def costs(hosts: int) -> dict[str, int]:
        lab = fleet(hosts, setting)
        text = dump(lab)
        new = calls(lambda: fleet(hosts, setting))[0]
        return {"new": new, "load": calls(lambda: load(text, "f.yaml"))[0], **planned(lab)}

    assert_linear(*map(costs, HOSTS))


@pytest.mark.parametrize("mode", ["l2", "l3"])
def test_each_host_costs_the_same_to_review_however_many_pairs_there_are(mode: Mode) -> None:
    def costs(hosts: int) -> dict[str, int]:
        lab = fleet(hosts, Setting(mode))
        return {"review": calls(lambda: review_of(lab))[0]}

    assert_linear(*map(costs, HOSTS))


def changing(count: int) -> Lab:
    """Return a lab in which all endpoints are announced, forget their neighbours, and may pass the switch."""
    lab = new_lab("new", Setting("l3"), count, checks="gateway")
    [phase] = lab.phases
    names = phase.endpoints
    changes = (Act(announce=names), Act(flush=names), Act(port_security=names))
    return replace(lab, phases=(replace(phase, acts=(*phase.acts, *changes, *phase.acts)),))


def test_each_endpoint_costs_the_same_where_all_are_changed() -> None:
    assert_linear(*(planned(changing(count)) for count in COUNTS))


def test_on_a_real_parent_too() -> None:
    assert_linear(*(planned(on_parent(new_lab("new", SETTINGS[0], count), "eth9")) for count in COUNTS))


def test_each_check_costs_the_same_to_plan_for() -> None:
    labs = (new_lab("new", SETTINGS[0], COUNTS[0], checks=f"sample:{3 * count}") for count in COUNTS)
    assert_linear(*map(planned, labs))


def test_each_endpoint_costs_the_same_to_read_to_write_and_to_judge() -> None:
    assert_linear(*(written(new_lab("new", SETTINGS[0], count, checks="gateway")) for count in COUNTS))


def composed(count: int) -> dict[str, int]:
    """Return what it costs to read a compose file with `count` services that get free addresses."""
    net = "lan: {driver: ipvlan, driver_opts: {parent: eth0}, ipam: {config: [{subnet: 10.0.0.0/16}]}}"
    services = "".join(f"  s{n}: {{extends: base}}\n" for n in range(count))
    text = f"services:\n  base: {{networks: [lan]}}\n{services}networks: {{{net}}}\n"
    return {"compose": calls(lambda: docker.FORMAT.read([Source("compose.yaml", text)]))[0]}


def test_each_service_of_a_compose_file_costs_the_same_to_read() -> None:
    assert_linear(*map(composed, COUNTS))


def reviewed(count: int, mode: str) -> dict[str, int]:
    """Return what it costs to find what is wrong on a machine with `count` links without default routes."""
    links = [endpoint(n, f"10.1.{n}.2/8", mode=mode, netns=f"c{n}") for n in range(1, count + 1)]
    found = machine(host(addresses=(own_address("10.200.0.1/8"),)), *links)
    return {"review": calls(lambda: review(found))[0]}


@pytest.mark.parametrize("mode", ["l2", "l3"])
def test_each_link_of_a_machine_costs_the_same_to_review(mode: str) -> None:
    assert_linear(*(reviewed(count, mode) for count in COUNTS))
