"""Labs on the hosts of an inventory: what is taken from where, what is refused, and the journals there."""

import base64
import gzip
import json
import os
import shlex
from collections.abc import Mapping
from ipaddress import ip_address, ip_interface
from pathlib import Path
from unittest.mock import patch

import pytest

from ipvkit.cli import main
from ipvkit.core.command import Completed
from ipvkit.core.errors import InvalidLab, MissingRequirement, UsageError
from ipvkit.lab import HOST, Lab, gallery
from ipvkit.lab.format import load
from ipvkit.plan.make import make_plan
from ipvkit.plan.resources import Link, Netns, Sysctl
from ipvkit.run.fleet import FleetJournal
from ipvkit.run.journal import Entry
from ipvkit.targets.fleet import Fleet, inventory
from ipvkit.verbs.fleet import (
    Survey,
    check_hosts,
    hosts_for,
    placed,
    refuse_journals,
    require_ready,
)

HOSTS: Mapping[str, Mapping[str, object]] = {"h1": {}, "h2": {}}


def lab(name: str = "two-hosts-l2") -> Lab:
    return load(gallery.text(name), name)


def seen(*addresses: str, dev: str = "eth0", gateway: str = "") -> Survey:
    """Return what a host shows of a link with these addresses, and of a route via a gateway."""
    own = [ip_interface(address) for address in addresses]
    info = [
        {"family": "inet", "local": str(a.ip), "prefixlen": a.network.prefixlen, "scope": "global"}
        for a in own
    ]
    link = {"ifname": dev, "ifindex": 2, "flags": ["BROADCAST", "UP", "LOWER_UP"], "addr_info": info}
    routes = [{"dst": "default", "gateway": gateway, "dev": dev, "flags": []}] if gateway else []
    shown = {"links": json.dumps([link]), "routes": json.dumps(routes), "namespaces": ""}
    return Survey({name: Completed(0, text, "", 0.0) for name, text in shown.items()})


@pytest.mark.long
def test_an_inventory_has_hosts_in_order_with_their_variables(tmp_path: Path) -> None:
    file = tmp_path / "hosts.ini"
    file.write_text("[racks]\nh2 ipvkit_parent=eth1\nh1\n\n[racks:vars]\nipvkit_gateway=192.0.2.1\n")
    found = inventory([str(file)])
    assert {name: dict(own) for name, own in found.items()} == {
        "h2": {"ipvkit_parent": "eth1", "ipvkit_gateway": "192.0.2.1"},
        "h1": {"ipvkit_gateway": "192.0.2.1"},
    }


def test_without_ansible_the_extra_is_named() -> None:
    with (
        patch("ipvkit.targets.fleet.find_spec", lambda _: None),
        pytest.raises(MissingRequirement) as refused,
    ):
        inventory(["hosts.yml"])
    assert refused.value.hint == "pip install 'ipvkit[fleet]'"


@pytest.mark.long
def test_an_inventory_without_hosts_is_refused_with_what_ansible_says(tmp_path: Path) -> None:
    file = tmp_path / "hosts.yml"
    file.write_text("all: [")
    with pytest.raises(UsageError, match="the inventory has no hosts") as refused:
        inventory([str(file)])
    assert str(file) in refused.value.stderr


@pytest.mark.long
def test_what_python_warns_of_in_ansible_is_not_what_ansible_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as of a function that a library of Ansible's will remove."""
    loaded = "from ansible.plugins.inventory.yaml import InventoryModule"
    (tmp_path / "warns.py").write_text(f"import warnings\n{loaded}\nwarnings.warn('of a library')\n")
    monkeypatch.setenv("ANSIBLE_INVENTORY_PLUGINS", str(tmp_path))
    monkeypatch.setenv("ANSIBLE_INVENTORY_ENABLED", "warns")
    with pytest.raises(UsageError) as refused:
        inventory([str(tmp_path / "hosts.yml")])
    assert "hosts.yml" in refused.value.stderr
    assert "of a library" not in refused.value.stderr


def test_hosts_of_a_lab_are_called_as_in_the_inventory() -> None:
    assert hosts_for(lab(), {"h3": {}, **HOSTS}) == {"h1": "h1", "h2": "h2"}
    with pytest.raises(UsageError, match="the inventory has no h2"):
        hosts_for(lab(), {"h1": {}})


def test_a_lab_with_one_host_takes_an_inventory_with_one() -> None:
    assert hosts_for(lab("l2"), {"rack7": {}}) == {HOST: "rack7"}
    with pytest.raises(UsageError, match="has one host, and the inventory has 2"):
        hosts_for(lab("l2"), HOSTS)


def test_addresses_are_those_that_the_hosts_show() -> None:
    found = placed(lab(), HOSTS, {"h1": seen("192.168.104.7/24"), "h2": seen("192.168.104.8/24")})
    assert [parent.host for parent in found.parents] == [
        (ip_interface("192.168.104.7/24"),),
        (ip_interface("192.168.104.8/24"),),
    ]
    assert not found.simulated
    assert found.machines == ("h1", "h2")


def test_a_preview_takes_what_the_lab_says() -> None:
    assert [p.host for p in placed(lab(), HOSTS).parents] == [p.host for p in lab().parents]


def test_variables_of_the_inventory_win() -> None:
    own = {
        "ipvkit_parent": "enp1s0",
        "ipvkit_gateway": "192.168.104.1",
        "ipvkit_addresses": {"db": "192.168.104.9/24"},
    }
    found = placed(lab(), {"h1": own, "h2": own})
    assert [parent.dev for parent in found.parents] == ["enp1s0", "enp1s0"]
    assert found.networks[0].gateway == (ip_address("192.168.104.1"),)
    assert found.endpoint("db").addresses == (ip_interface("192.168.104.9/24"),)


def test_an_address_is_for_an_endpoint_of_the_lab() -> None:
    with pytest.raises(UsageError, match="unknown endpoint of lab two-hosts-l2: 'webb'"):
        placed(lab(), {"h1": {"ipvkit_addresses": {"webb": "192.168.104.9/24"}}, "h2": {}})


VARIABLES = ["ipvkit_parent", "ipvkit_parents", "ipvkit_gateway", "ipvkit_gateways", "ipvkit_addresses"]


@pytest.mark.parametrize("variable", VARIABLES)
def test_a_variable_that_is_not_valid_is_refused(variable: str) -> None:
    with pytest.raises(UsageError):
        placed(lab(), {"h1": {variable: "{{ other }}"}, "h2": {}})


TRUNK = """\
name: trunk
about: a VLAN on two hosts, one of which has another NIC too
parents:
  - {name: eth0, gateway: 192.168.104.254}
  - {name: eth0.7, link: eth0, vlan: 7, gateway: 10.7.0.254, subnets: 10.7.0.0/24}
  - {name: eth1, gateway: 10.9.0.254}
hosts:
  - name: h1
    parents:
      - {name: eth0, addresses: 192.168.104.120/24}
      - {name: eth0.7}
      - {name: eth1, addresses: 10.9.0.1/24}
    endpoints:
      - {name: web, parent: eth0.7, addresses: 10.7.0.11/24}
      - {name: log, parent: eth1, addresses: 10.9.0.11/24}
  - name: h2
    parents: [{name: eth0, addresses: 192.168.104.122/24}, {name: eth0.7}]
    endpoints: [{name: db, parent: eth0.7, addresses: 10.7.0.21/24}]
phases:
  - name: only
    mode: l2
    do:
      - sysctls: {h1: {net.ipv4.conf.eth0/7.arp_accept: 1}, h2: {net.ipv4.conf.eth0.arp_accept: 1}}
      - check: [{from: web, to: db}, {from: web, to: gateway}, {from: h1, to: log}]
"""


def commands(lab: Lab, host: str) -> list[str]:
    return [str(step.command) for step in make_plan(lab).steps if step.on == host]


def test_each_parent_of_a_host_has_a_device_and_a_gateway() -> None:
    own = {
        "ipvkit_parents": {"eth0": "ens3", "eth0.7": "storage", "eth1": "ens4"},
        "ipvkit_gateways": {"eth0.7": "10.7.0.1"},
    }
    found = placed(load(TRUNK, "trunk"), {"h1": own, "h2": {}})
    assert [(parent.on, parent.dev) for parent in found.parents] == [
        ("h1", "ens3"),
        ("h1", "storage"),
        ("h1", "ens4"),
        ("h2", "eth0"),
        ("h2", "eth0.7"),
    ]
    gateways = {network.dev: network.gateway for network in found.networks}
    assert gateways == {
        "ens3": (ip_address("192.168.104.254"),),
        "storage": (ip_address("10.7.0.1"),),
        "ens4": (ip_address("10.9.0.254"),),
    }
    typed = commands(found, "h1")
    assert "ip link add web link storage type ipvlan mode l2" in typed
    assert "ip link add log link ens4 type ipvlan mode l2" in typed
    assert "sysctl -w net.ipv4.conf.storage.arp_accept=1" in typed
    assert "sysctl -w net.ipv4.conf.eth0.arp_accept=1" in commands(found, "h2")
    assert not any("type vlan" in command for command in typed)


def test_a_parent_without_an_address_keeps_the_subnets_and_the_gateway_of_the_lab() -> None:
    shown = {"h1": seen("192.168.104.7/24"), "h2": seen("198.51.100.8/24", gateway="198.51.100.1")}
    found = placed(load(TRUNK, "trunk"), {"h1": {}, "h2": {}}, shown)
    vlan = found.networks[1]
    assert (vlan.dev, vlan.host, vlan.link) == ("eth0.7", (), found.parents[0].name)
    assert ([str(subnet) for subnet in vlan.subnets], vlan.gateway) == (
        ["10.7.0.0/24"],
        (ip_address("10.7.0.254"),),
    )
    assert {str(subnet) for subnet in found.networks[0].subnets} == {"192.168.104.0/24", "198.51.100.0/24"}


def test_a_lab_of_one_host_has_several_parents_too() -> None:
    own = {"ipvkit_parents": {"eth1": "ens4"}, "ipvkit_addresses": {"test2": "192.168.105.9/24"}}
    found = placed(lab("two-parents"), {HOST: own})
    assert [parent.dev for parent in found.parents] == ["eth0", "ens4"]
    assert found.endpoint("test2").addresses == (ip_interface("192.168.105.9/24"),)
    assert "ip link add test2 link ens4 type ipvlan mode l3" in commands(found, HOST)


@pytest.mark.parametrize(
    ("own", "what"),
    [
        (
            {"ipvkit_parent": "ens3"},
            "ipvkit_parent is for a host with one parent, and h1 has eth0, eth0.7, eth1",
        ),
        (
            {"ipvkit_parents": {"eth2": "ens3"}},
            "ipvkit_parents of h1 has eth2, and no parent of lab trunk is",
        ),
        ({"ipvkit_parents": {"eth0": "eth1"}}, "name of a parent eth1 is there twice"),
    ],
)
def test_variables_that_do_not_fit_to_several_parents_are_refused(
    own: Mapping[str, object], what: str
) -> None:
    with pytest.raises(UsageError, match=what):
        placed(load(TRUNK, "trunk"), {"h1": own, "h2": {}})


def links(*shown: tuple[str, str | None, str]) -> Survey:
    """Return what a host shows of links that are up, each with its parent and its kind."""
    found = [
        {"ifname": name, "ifindex": number, "flags": ["UP", "LOWER_UP"]}
        | ({"linkinfo": {"info_kind": kind}} if kind else {})
        | ({"link": parent} if parent else {})
        for number, (name, parent, kind) in enumerate(shown, 2)
    ]
    texts = {"links": json.dumps(found), "routes": "[]", "namespaces": ""}
    return Survey({name: Completed(0, text, "", 0.0) for name, text in texts.items()})


NICS = (("eth0", None, ""), ("eth1", None, ""), ("eth0.7", "eth0", "vlan"))


@pytest.mark.parametrize(
    ("more", "less", "what"),
    [
        ((), ("eth1",), "h1: no such interface: eth1"),
        ((), ("eth0",), "h1: no such interface: eth0"),
        ((("mv", "eth0.7", "macvlan"),), (), "h1: eth0.7 has the macvlan link mv"),
    ],
)
def test_each_parent_of_a_host_is_checked(
    more: tuple[tuple[str, str | None, str], ...], less: tuple[str, ...], what: str
) -> None:
    trunk, names = load(TRUNK, "trunk"), {"h1": "h1", "h2": "h2"}
    lab, notes = placed(trunk, HOSTS), list[str]()
    # Nothing is created on eth0 itself.
    good = {host: links(*NICS, ("other", "eth0", "macvlan")) for host in names}
    check_hosts(lab, names, good, notes.append)
    there = [nic for nic in NICS if nic[0] not in less]
    with pytest.raises(UsageError, match=what):
        check_hosts(lab, names, {**good, "h1": links(*there, *more)}, notes.append)
    assert notes == []


@pytest.mark.parametrize(
    ("address", "route", "gateway"),
    [
        ("192.168.104.7/24", "192.168.104.1", "192.168.104.254"),
        ("198.51.100.7/24", "198.51.100.1", "198.51.100.1"),
    ],
    ids=["of the lab", "of the route"],
)
def test_the_gateway_is_the_labs_if_it_is_near_and_else_that_of_the_route(
    address: str, route: str, gateway: str
) -> None:
    shown = {"host": seen(address, gateway=route)}
    found = placed(lab("l2"), {"host": {}}, shown)
    assert found.parents[0].gateway == (ip_address(gateway),)


def test_a_plan_on_hosts_builds_no_lan_and_runs_each_step_on_a_host() -> None:
    plan = make_plan(placed(lab("two-hosts-l3-routed"), HOSTS))
    assert [section.name for section in plan.sections] == ["without-routes", "routed"]
    assert {step.on for step in plan.steps} == {"h1", "h2"}
    routes = [step for step in plan.steps if step.command.argv[:3] == ("ip", "route", "add")]
    assert all(step.undo is None or step.undo.command().argv[:3] == ("ip", "route", "del") for step in routes)


def test_entries_that_no_journal_describes_are_refused() -> None:
    text = gallery.text("two-hosts-l2").replace("mode: l2", "mode: l3\n    strategy: static-neigh")
    with pytest.raises(InvalidLab, match="static-neigh"):
        placed(load(text, "static"), HOSTS)


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["--target", "ansible"], "--target ansible needs an inventory"),
        (["--inventory", "hosts.yml"], "--inventory needs --target ansible"),
        (["--target", "ansible", "--inventory", "x", "--kernel", "6.1"], "--kernel needs --target uml"),
        (["--target", "ansible", "--inventory", "x", "--parent", "lo"], "--parent does not go with"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    words: list[str], what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run-lab", "l2", *words]) == 2
    assert what in capsys.readouterr().err


def entry(name: str, on: str = HOST) -> Entry:
    return Entry(f"only.{name}", f"create {name}", Netns(name, (name,)), on=on)


def test_each_host_gets_what_is_created_there() -> None:
    fleet = Fleet(["hosts.yml"], {"h1": "h1", "h2": "h2"}, "mine")
    ledger = FleetJournal("mine", fleet.hosts)
    ledger.begin([entry("a", "h1"), entry("b", "h2")])
    fleet.hosts["h1"].marks = {"netns/a": 17}
    ledger.end(["only.a"], [])
    ledger.begin([Entry("only.c", "create c", Link("c", "macvlan"), on="h1")])
    [script, *others] = fleet.hosts["h1"].rounds((), 60)
    assert others == []
    assert len(script) < 100_000
    assert ledger.entries["only.a"].mark == 17
    assert ledger.last_commands().keys() == {"h1", "h2"}
    ledger.end([], ["only.b"])
    remove, keep = ledger.last_commands()["h2"], ledger.last_commands()["h1"]
    assert (remove.argv[-1], keep.argv) == ("/run/ipvkit/mine.jsonl", ("true",))


def test_a_host_is_asked_for_the_marks_of_namespaces_and_links() -> None:
    fleet = Fleet(["hosts.yml"], {"h1": "h1"}, "mine")
    made = (
        Netns("a", ("a",)),
        Link("c", "macvlan"),
        Link("d", "ipvlan", "b"),
        Sysctl("net.ipv4.ip_forward", 1),
    )
    FleetJournal("mine", fleet.hosts).begin([Entry(str(one), "", one, on="h1") for one in made])
    assert [*fleet.hosts["h1"]._watched] == ["netns/a", "link/c", "netns/b"]


def test_the_journal_of_a_host_is_read_as_one_of_this_machine() -> None:
    header = {
        "schema": "ipvkit/journal/v1",
        "pid": 1,
        "started": "2026-11-28T22:00:00Z",
        "boot": "b",
        "netns": 4,
    }
    lines = [
        header,
        {
            "begin": [
                {"id": "x", "purpose": "p", "former": "", "effect": "netns", "name": "a", "links": ["a"]}
            ]
        },
    ]
    text = "".join(f"{json.dumps(line)}\n" for line in lines)
    shown = {"boot": "b\n", "netns": "4\n", "journals": f"==> mine.jsonl\n{text}==> other.jsonl\n"}
    found = Survey({name: Completed(0, out, "", 0.0) for name, out in shown.items()})
    assert found.journals == {"mine": text.encode(), "other": b""}
    fleet = Fleet(["hosts.yml"], {"h1": "h1"})
    ledger = found.ledger("mine", fleet.hosts["h1"])
    assert (list(ledger.entries), ledger.elsewhere, ledger.restarted) == (["x"], False, False)
    elsewhere = Survey({**found.shown, "boot": Completed(0, "c\n", "", 0.0)})
    assert elsewhere.ledger("mine", fleet.hosts["h1"]).restarted


def survey(*absent: str, why: str = "", **shown: str) -> Survey:
    return Survey({name: Completed(0, text, "", 0.0) for name, text in shown.items()}, absent, why)


IPUTILS = "ping from iputils 20240905"


@pytest.mark.parametrize(
    ("found", "what"),
    [
        (survey(why="h2: Connection refused"), "1 of 2 hosts cannot be reached"),
        (survey("arping", ping=IPUTILS), "programs are not installed"),
        (survey(ping="ping (GNU inetutils) 2.5"), "labs need the ping of iputils on h2"),
    ],
)
def test_a_host_that_is_not_ready_is_named(found: Survey, what: str) -> None:
    names = {"h1": "h1", "h2": "h2"}
    require_ready(names, {"h1": survey(ping=IPUTILS), "h2": survey(ping=IPUTILS)})
    with pytest.raises(MissingRequirement) as refused:
        require_ready(names, {"h1": survey(ping=IPUTILS), "h2": found})
    assert refused.value.message == what
    assert "h2" in str(refused.value)


def test_a_lab_that_is_not_undone_somewhere_is_not_run_again() -> None:
    names = {"h1": "h1", "h2": "h2"}
    found = {"h1": survey(journals=""), "h2": survey(journals="==> mine.jsonl\n{}\n")}
    refuse_journals("other", names, found)
    with pytest.raises(UsageError, match="lab mine is up or was interrupted on h2"):
        refuse_journals("mine", names, found)


def servers_in(command: str) -> str:
    """Return what a round does about servers."""
    packed = command.split(" ")[2]
    script = gzip.decompress(base64.b64decode(packed)).decode()
    return shlex.split(script[script.rindex("\nround ") :])[7]


def answered(reports: str, marks: str = "") -> dict[str, str]:
    """Return what Ansible shows of a round."""
    text = base64.b64encode(gzip.compress(f"marks{marks}\n{reports}".encode())).decode()
    return {"stdout": f"<ipvkit {text}>"}


def test_a_server_runs_from_its_round_until_it_is_stopped() -> None:
    fleet = Fleet(["hosts.yml"], {"h1": "h1"}, "mine")
    host, mailbox = fleet.hosts["h1"], os.memfd_create("mailbox")
    words = [word for row in "01" for word in ("7", row, "out", "err", f"4{row}", "1", "true", "0")]
    os.write(mailbox, "".join(f"{word}\n" for word in words).encode())
    with patch.object(fleet, "announce"):
        rows = host.start("", None, mailbox)
        assert rows.read() == b"started\n"
        rows.write(b"run 8\n")
        rows.write(b"serve 16\n")
        # `cleanup` finds the host by its journal, which has nothing to undo.
        assert host.journaled
        rows.write(b"run 8\n")
        for row in b"0", b"1":
            rows.write(b"stop %s\n" % row)
        rows.write(b"run 8\n")
    assert [servers_in(text) for text in rows.texts] == ["end", "serve", "keep", "end", "end"]
    rows.answered(answered("read\n", " servers=1"))
    assert rows.read() == b"read\n"
    rows.answered(answered("41 1 0 0 0\nread\n"))
    assert rows.read() == b"41 1 0 0 0\nread\n40 137 0 0 0\n41 137 0 0 0\n"
    rows.answered(answered("read\n"))
    assert rows.read() == b"read\n"
    os.close(mailbox)
