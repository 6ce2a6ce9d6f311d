"""What is found on several machines: their twins as one lab, what is wrong between them, and the reports."""

import json
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import jsonschema_rs
import pytest
from test_inspect import endpoint, host, machine, own_address, route

from ipvkit.core.command import Command, Completed
from ipvkit.core.errors import CommandFailed, UsageError
from ipvkit.core.values import Mode
from ipvkit.host.across import problems_across
from ipvkit.host.inspect import Inspection
from ipvkit.host.namespaces import Space
from ipvkit.host.owners import Owner
from ipvkit.host.remote import around
from ipvkit.lab import Check, Lab, Outcome
from ipvkit.lab.format import dump, load
from ipvkit.predict.whole import predict
from ipvkit.predict.world import State, world_of
from ipvkit.report.inspect import render_fleet, render_fleet_json
from ipvkit.targets.agent import Agent
from ipvkit.verbs.adopt import adopted
from ipvkit.verbs.inspect_fleet import FleetReview, Found, review_fleet
from ipvkit.verbs.live import checked, live_fleet
from scripted import Scripted

SCHEMA = Path(__file__).parents[2] / "docs" / "reference" / "inspect-v1.schema.json"


def there(number: int, *, mode: Mode = "l2", via: str = "192.0.2.254", **fields: Any) -> Inspection:
    """Return a machine with the address 192.0.2.NUMBER, and one endpoint called web with NUMBER1."""
    own = host(addresses=(own_address(f"192.0.2.{number}/24"),), lladdr=f"02:00:00:00:00:0{number}")
    own = replace(own, routes=(route("default", "eth0", via),))
    routes = (route("default", "s0", via if mode == "l2" else None),)
    return machine(own, endpoint(7, f"192.0.2.{number}1/24", netns="web", routes=routes, mode=mode, **fields))


def outcome(lab: Lab, source: str, destination: str) -> Outcome:
    """Return what is predicted of a ping with empty neighbour tables."""
    return predict(world_of(lab, lab.phases[0], State()), Check(source, destination)).outcome


# --- one lab ----------------------------------------------------------------------------------------------


def test_each_machine_is_a_host_of_one_lab_that_a_file_can_have() -> None:
    lab = live_fleet({"h1": there(1), "h2": there(2)}).lab
    assert lab.hosts == ("h1", "h2")
    assert [(p.name, p.dev, p.lan, p.host, p.gateway) for p in lab.parents] == [
        (f"eth0@h{n}", "eth0", "eth0@h1", (own_address(f"192.0.2.{n}/24").address,), lab.parents[0].gateway)
        for n in (1, 2)
    ]
    assert [str(gateway) for gateway in lab.parents[0].gateway] == ["192.0.2.254"]
    assert [(e.name, e.netns, e.dev, e.parent) for e in lab.endpoints] == [
        ("web@h1", "web", "s0", "eth0@h1"),
        ("web@h2", "web", "s0", "eth0@h2"),
    ]
    whole = checked(live_fleet({"h1": there(1), "h2": there(2)}))
    assert load(dump(whole), "fleet.yaml") == whole
    assert outcome(lab, "web@h1", "web@h2") is Outcome.REACHABLE
    assert outcome(lab, "h2", "web@h2") is Outcome.UNREACHABLE
    pairs = [(c.source, c.destination) for c in whole.phases[0].acts[-1].checks]
    assert {("h1", "web@h1"), ("h2", "web@h2"), ("web@h1", "web@h2"), ("web@h1", "gateway")} <= set(pairs)


def test_a_host_has_its_mode_and_sysctls() -> None:
    forwards = replace(there(2, mode="l3"), sysctls=(("net.ipv4.ip_forward", 1),))
    lab = live_fleet({"h1": there(1), "h2": forwards}).lab
    (phase,) = lab.phases
    assert [phase.on(parent.name).mode for parent in lab.parents] == ["l2", "l3"]
    assert [(one.node, one.key) for act in phase.acts for one in act.sysctls] == [
        ("h2", "net.ipv4.ip_forward")
    ]
    assert outcome(lab, "web@h1", "web@h2") is Outcome.UNREACHABLE


def test_hosts_without_a_subnet_in_common_are_in_separate_networks() -> None:
    other = host(addresses=(own_address("198.51.100.1/24"),))
    other = replace(other, routes=(route("default", "eth0", "198.51.100.254"),))
    apart = machine(other, endpoint(8, "198.51.100.8/24", netns="db"))
    lab = live_fleet({"h1": there(1), "h2": apart}).lab
    assert [parent.lan for parent in lab.parents] == ["eth0@h1", "eth0@h2"]
    assert [str(gateway) for p in lab.parents for gateway in p.gateway] == ["192.0.2.254", "198.51.100.254"]
    assert [e.name for e in lab.endpoints] == ["web", "db"]


def test_what_two_hosts_have_is_left_out_of_the_second_with_a_note() -> None:
    cloned = machine(
        host(addresses=(own_address("192.0.2.1/24"),)), endpoint(9, "192.0.2.11/24", "192.0.2.29/24")
    )
    found = live_fleet({"h1": there(1), "h2": cloned})
    assert [str(own) for parent in found.lab.parents for own in parent.host] == ["192.0.2.1/24"]
    assert [[str(own) for own in e.addresses] for e in found.lab.endpoints] == [
        ["192.0.2.11/24"],
        ["192.0.2.29/24"],
    ]
    note = "an address that another host has is left out: 192.0.2.1 of h2, 192.0.2.11 of netns on h2"
    assert note in found.notes


def test_a_gateway_that_is_one_of_the_hosts_is_that_host() -> None:
    lab = live_fleet({"h1": there(1), "h2": there(2, via="192.0.2.1")}).lab
    assert [str(own) for own in lab.parents[0].host] == ["192.0.2.1/24"]
    assert "192.0.2.1" not in map(str, lab.parents[0].gateway)


def test_a_host_has_a_name_that_a_lab_can_have() -> None:
    names = ("web-server-1.example.com", "web-server-10.example.com", "DB_1", "lan", "10.0.0.1", "10.0.0.2")
    found = live_fleet({name: there(n) for n, name in enumerate(names, 1)})
    assert found.lab.hosts == ("web-server", "web-serv-2", "db-1", "lan-2", "10", "10-2")
    assert "a host has a shorter name in the lab: web-server for web-server-1.example.com, " in found.notes[0]


def test_notes_name_their_host_and_hosts_without_a_link() -> None:
    empty = Inspection((), host())
    down = there(2, flags=())
    text = adopted(live_fleet({"h1": there(1), "h2": down, "h3": empty}))
    assert "# note: h2: it is down, and in the twin it is up: " in text
    assert "# note: h3: no link that a lab can describe was found\n" in text


@pytest.mark.parametrize("found", [{}, {"h1": there(1)}, {"h1": there(1), "h2": Inspection((), host())}])
def test_fewer_than_two_hosts_are_no_fleet(found: dict[str, Inspection]) -> None:
    with pytest.raises(UsageError, match="a lab of a fleet has two hosts"):
        live_fleet(found)


# --- what is wrong between hosts ----------------------------------------------------------------------------


def across(*found: Inspection) -> list[tuple[str, str]]:
    """Return the codes of problems between hosts, and what these are about."""
    named = {f"h{number}": one for number, one in enumerate(found, 1)}
    return [(problem.code, problem.of) for problem in problems_across(named)]


def test_hosts_that_differ_where_they_may_have_no_problems() -> None:
    assert across(there(1), there(2)) == []
    assert across(there(1, mode="l3"), there(2, mode="l3s")) == []


def test_an_address_and_a_mac_address_of_two_hosts_are_problems() -> None:
    cloned = replace(there(2), parents=there(1).parents)
    assert across(there(1), cloned) == [
        ("duplicate-address", "192.0.2.1"),
        ("duplicate-address", "192.0.2.11"),
        ("duplicate-lladdr", "02:00:00:00:00:01"),
    ]
    (first, *_) = problems_across({"h1": there(1), "h2": cloned})
    assert first.what == "192.0.2.1 is an address of eth0 on h1, eth0 on h2: others reach one of them"
    # The links of one host share the parent's.
    two = machine(host(), endpoint(7, "192.0.2.7/24"), endpoint(8, "192.0.2.8/24"))
    assert across(two, there(2)) == []


def test_macvlan_links_have_separate_mac_addresses() -> None:
    own: dict[str, Any] = {"kind": "macvlan", "mode": "bridge", "flag": None, "lladdr": "02:00:00:00:00:77"}
    assert across(there(1, **own), there(2, **own)) == [("duplicate-lladdr", "02:00:00:00:00:77")]


def test_different_modes_and_gateways_in_one_subnet_are_problems() -> None:
    assert across(there(1), there(2, mode="l3")) == [("modes-differ", "192.0.2.0/24")]
    assert across(there(1), there(2, via="192.0.2.253")) == [("gateways-differ", "192.0.2.0/24")]
    # What one host has alone, it sees.
    two = [endpoint(n, f"192.0.2.{n}/24", mode=mode) for n, mode in ((7, "l2"), (8, "l3"))]
    assert across(machine(host(), *two)) == []
    both = there(3)
    assert across(there(1), both, there(2, via="192.0.2.253")) == [("gateways-differ", "192.0.2.0/24")]


# --- reports ------------------------------------------------------------------------------------------------


def reviewed() -> FleetReview:
    found = {"h1": replace(there(1), unseen=("/run/x",)), "h2": replace(there(2, mode="l3"), hidden=2)}
    return review_fleet(Found(found, {"h3": "no route"}))


def test_the_document_names_hosts_and_fits_the_schema() -> None:
    document = json.loads(render_fleet_json(reviewed()))
    jsonschema_rs.Draft202012Validator(json.loads(SCHEMA.read_text())).validate(document)
    assert [on["host"] for on in document["parents"]] == ["h1", "h2"]
    assert {finding["host"] for finding in document["findings"]} == {None, "h1", "h2"}
    assert document["unseen"] == ["h1: /run/x"]
    assert document["hidden_processes"] == 2
    assert document["unreached"] == [{"host": "h3", "why": "no route"}]


def test_the_table_has_all_hosts_and_problems_that_are_alike_once() -> None:
    lines = render_fleet(reviewed()).splitlines()
    assert lines[0].split()[:4] == ["host", "parent", "link", "namespace"]
    assert [line.split()[:3] for line in lines[2:4]] == [["h1", "eth0", "s0"], ["h2", "eth0", "s0"]]
    text = " ".join(" ".join(lines).split())
    assert "error: h2: other hosts cannot reach 192.0.2.21" in text
    assert "warning: 192.0.2.0/24 has links in l2 on h1 and l3 on h2" in text
    assert "note: h1: not looked into: /run/x" in text
    down = review_fleet(Found({"h1": there(1, flags=()), "h2": there(2, flags=())}, {}))
    text = " ".join(render_fleet(down).split())
    assert "error, 2 times: h1: s0 in netns web is down; likewise s0 in netns web on h2" in text


def test_a_host_that_is_not_reached_decides_the_exit_code() -> None:
    assert reviewed().exit_code == 4
    assert replace(reviewed(), unreached={}).exit_code == 1
    assert review_fleet(Found({"h1": Inspection((), host())}, {})).exit_code == 0


# --- another machine ----------------------------------------------------------------------------------------


def answering(*, user: str = "0", spaces: str = "4 1 /proc/self/ns/net\n") -> Agent:
    """Return the agent of a machine with these files of namespaces, and three processes."""
    files = "/proc/sys/net/ipv4/ip_forward:1\n/proc/sys/net/ipv4/conf/all/rp_filter:2\n"
    files += "/proc/net/stat/arp_cache:entries allocs\n/proc/net/stat/arp_cache:0000000f 00\n"
    comms = "/proc/1/comm:init\n/proc/20/comm:a:b c\n/proc/9/comm:nginx\n"
    answers = {
        "id -u": f"{user}\n",
        "stat -Lc": spaces,
        "grep -Hs '' /proc/[0-9]": comms,
        "grep -Hs '' /proc/sys": files,
    }

    def answer(command: Command) -> Completed:
        line = command.stdin[0]
        return Completed(0, next(text for begin, text in answers.items() if line.startswith(begin)), "", 0.1)

    return Agent(Scripted(answer), SimpleQueue())


SPACES = """\
4 1 /proc/self/ns/net
4 2 /run/netns/web
4 2 /run/netns/other name
5 77 /run/netns/file
4 3 /run/docker/netns/abc
4 1 /proc/1/ns/net
4 2 /proc/20/ns/net
4 2 /proc/9/ns/net
4 4 /proc/8/ns/net
"""


def test_the_namespaces_of_another_machine_have_names_and_processes() -> None:
    with answering(spaces=SPACES) as agent:
        found = around(agent)
    assert found.spaces.own == (4, 1)
    assert found.spaces.found == {
        (4, 1): Space("/proc/self/ns/net", own=True, pids=[1]),
        (4, 2): Space("/run/netns/web", names=["web", "other name"], pids=[9, 20]),
        (4, 3): Space("/run/docker/netns/abc"),
        (4, 4): Space("/proc/8/ns/net", pids=[8]),
    }
    owners = [found.owner(space) for space in found.spaces.found.values()]
    process = Owner("process", "nginx", pid=9)
    assert owners[1:] == [process, None, Owner("process", "?", pid=8)]
    assert not found.here
    assert found.spaces.hidden == 0


def test_the_files_of_another_machine_are_read_by_their_paths() -> None:
    with answering() as agent:
        found = around(agent)
    assert found.read("ipv4/ip_forward") == "1"
    assert found.read("/proc/net/stat/arp_cache") == "entries allocs\n0000000f 00"
    assert found.read("ipv6/conf/all/forwarding") == ""


def test_processes_that_a_user_may_not_see_are_hidden() -> None:
    with answering(user="1000", spaces="4 1 /proc/self/ns/net\n4 1 /proc/20/ns/net\n") as agent:
        assert around(agent).spaces.hidden == 2


def test_a_machine_without_namespaces_is_an_error() -> None:
    with answering(spaces="") as agent, pytest.raises(CommandFailed, match="namespaces could not be read"):
        around(agent)
