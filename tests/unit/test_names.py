"""What links are called: in their namespaces, by other names, and in bytes."""

import json
import subprocess
import sys
from dataclasses import replace
from typing import Any, NamedTuple

import pytest

from cases import one_by_default
from ipvkit.cli import main
from ipvkit.core.errors import InvalidLab
from ipvkit.host.checks import Machine, check, request_of
from ipvkit.lab import Act, AddLink, Attempt, Endpoint, Lab, gallery, on_parent
from ipvkit.lab.format import dump, load
from ipvkit.lab.sysctls import Sysctl
from ipvkit.plan.difference import state_of
from ipvkit.plan.make import make_plan
from ipvkit.plan.resources import Netns
from ipvkit.predict.later import next_phase
from ipvkit.predict.whole import predict, predict_lab
from ipvkit.predict.world import State, world_of
from ipvkit.run.leftovers import words_of
from ipvkit.tools import ip
from namespaces import AS_ROOT
from requires import requires

SAME = load(gallery.text("same-names"), "same-names")
WEB, DB, METRICS = SAME.endpoints


def lines_of(lab: Lab) -> list[str]:
    return [str(step.command) for step in make_plan(lab).steps]


def with_endpoints(*changes: dict[str, Any]) -> Lab:
    endpoints = (replace(e, **change) for e, change in zip(SAME.endpoints, changes, strict=True))
    return replace(SAME, endpoints=tuple(endpoints))


# --- in its namespace --------------------------------------------------------------------------------


def test_a_link_is_called_as_its_endpoint_unless_it_has_another_name() -> None:
    assert Endpoint("web", (), "web", "eth0").dev == "web"
    assert [(e.netns, e.dev) for e in SAME.endpoints] == [("web", "eth0"), ("db", "eth0"), ("db", "net1")]
    assert "dev: metrics" not in dump(with_endpoints({}, {}, {"dev": "metrics"}))


def test_it_is_moved_into_its_namespace_under_that_name() -> None:
    lines = lines_of(SAME)
    assert "ip link add web link eth0 type ipvlan mode l2" in lines
    assert "ip link set web netns web name eth0" in lines
    assert "ip link set metrics netns db name net1" in lines
    there = [line.removeprefix("ip netns exec db ") for line in lines if " exec db ip " in line]
    # No command names the endpoint; those of the two phases are the same but for one.
    assert not any("metrics" in line for line in there)
    assert "ip addr add 198.51.100.213/24 dev net1" in there
    assert "ip netns exec web sysctl -w net.ipv4.conf.eth0.arp_ignore=1" in lines
    assert "ip -n web neigh flush dev eth0" in lines
    assert "ip netns exec web ip link set eth0 mtu 1000" in lines
    assert "ip netns exec db ip link set eth0 type ipvlan mode l3s" in lines


def test_in_batches_it_is_created_in_place_and_renamed_there() -> None:
    lines = lines_of(replace(SAME, setup="batch"))
    assert "ip link add web link eth0 netns web type ipvlan mode l2" in lines
    created = lines.index("ip link add metrics link eth0 netns db type ipvlan mode l2")
    renamed = lines.index("ip netns exec db ip link set metrics name net1")
    assert created < renamed < lines.index("ip netns exec db ip link set net1 up")


def test_a_pair_is_created_under_that_name() -> None:
    phases = (replace(SAME.phases[0], setting=replace(SAME.phases[0].setting, kind="veth"), acts=()),)
    assert "ip link add veth0 up type veth peer name eth0 netns web" in lines_of(replace(SAME, phases=phases))


def test_both_of_its_names_are_its_own_in_its_namespace() -> None:
    spaces = [one for one in make_plan(SAME).resources if isinstance(one, Netns)]
    assert Netns("db", ("eth0", "db", "net1", "metrics")) in spaces


def test_what_it_is_called_there_concerns_no_link_of_the_host() -> None:
    assert "eth0" in words_of(make_plan(SAME))
    assert words_of(make_plan(SAME)).isdisjoint({"net1"})


def test_a_fix_changes_the_link_by_that_name() -> None:
    commands = [
        str(part.command) for part in state_of(SAME, SAME.phases[0], ("web", "db", "metrics")).values()
    ]
    assert "ip netns exec db ip addr add 198.51.100.213/24 dev net1" in commands
    assert not any("dev metrics" in line for line in commands)


def test_a_path_shows_the_kernels_names() -> None:
    world = world_of(SAME, SAME.phases[0], State())
    asked = next(c for act in SAME.phases[0].acts for c in act.checks if c.destination == "metrics")
    hops = [hop.what for hop in predict(world, asked).hops]
    assert "uses route default dev eth0" in hops
    assert "uses route default dev web" not in hops


def test_a_sysctl_of_a_link_ends_with_it() -> None:
    of_link, of_all = (Sysctl("web", f"net.ipv4.conf.{dev}.arp_ignore", 1) for dev in ("eth0", "all"))
    of_host = Sysctl("host", "net.ipv4.conf.eth0.arp_ignore", 1)
    state = State(sysctls={(one.node, one.key): one for one in (of_link, of_all, of_host)})
    assert list(next_phase(SAME, state).sysctls.values()) == [of_all, of_host]


def test_a_sysctl_is_of_the_link_of_that_name_in_that_namespace() -> None:
    one = Sysctl("db", "net.ipv4.conf.net1.arp_ignore", 1)
    phases = (replace(SAME.phases[0], acts=(Act(sysctls=(one,)),)),)
    with pytest.raises(InvalidLab, match="unknown link of db: 'net1'"):
        replace(SAME, phases=phases)
    state = State(sysctls={("metrics", one.key): replace(one, node="metrics")})
    world = world_of(SAME, SAME.phases[0], state)
    assert [world.sysctl(link, "arp_ignore") for link in world.nodes["db"].links] == [0, 1]
    assert [world.sysctl(link, "arp_ignore") for link in world.nodes["web"].links] == [0]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (({"dev": "lo"}, {}, {}), "the link of web cannot be called lo"),
        (({"dev": "all"}, {}, {}), "the link of web cannot be called all"),
        (({}, {}, {"dev": "eth0"}), "namespace db has another one of that name"),
        (({}, {}, {"dev": "db"}), "namespace db has another one of that name"),
        (({"netns": "db"}, {}, {}), "namespace db has another one of that name"),
    ],
)
def test_a_name_that_is_taken_there_is_refused(changes: tuple[dict[str, Any], ...], says: str) -> None:
    with pytest.raises(InvalidLab, match=says) as problem:
        with_endpoints(*changes)
    assert problem.value.hint
    assert problem.value.exit_code == 2


def test_names_that_only_the_host_has_are_free_elsewhere() -> None:
    lab = with_endpoints({}, {"dev": "br-lan"}, {"dev": "shim"})
    assert load(dump(lab), "again").endpoints == lab.endpoints
    outcomes = [
        [[probe.expected for act in phase.acts for probe in act.probes] for phase in predict_lab(each)]
        for each in (SAME, lab)
    ]
    assert outcomes[0] == outcomes[1]


# --- alternative names -------------------------------------------------------------------------------

LONG = "enp" + 124 * "x"
WITH_ALTNAMES = f"""\
mount -t tmpfs tmpfs /run
ip link add eth9 type veth peer name eth8
ip link property add dev eth9 altname enp9s0 altname {LONG}
ip link set eth9 up
ip link set eth8 up
ip addr add 192.168.104.110/24 dev eth9
exec python3 -m ipvkit "$@"
"""


class Ended(NamedTuple):
    """How ipvkit ended, and what it printed."""

    code: int
    out: str
    err: str


def with_altnames(*words: str) -> Ended:
    """Return what ipvkit printed in a namespace with a link `eth9`, which has two alternative names."""
    script = WITH_ALTNAMES.replace("python3", sys.executable)
    argv = [*AS_ROOT, "--net", "--mount", "bash", "-ec", script, "ipvkit", *words]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    return Ended(done.returncode, done.stdout, done.stderr)


NAMED = replace(
    SAME,
    parents=(replace(SAME.parents[0], altnames=("enp0s3", LONG)),),
    endpoints=(replace(WEB, altnames=("net0", LONG)), DB, replace(METRICS, altnames=("net0",))),
)


def test_a_lab_gives_its_links_alternative_names() -> None:
    lines = lines_of(NAMED)
    assert f"ip link property add dev eth0 altname enp0s3 altname {LONG}" in lines
    assert f"ip netns exec web ip link property add dev eth0 altname net0 altname {LONG}" in lines
    assert "ip netns exec db ip link property add dev net1 altname net0" in lines
    again = load(dump(NAMED), "again")
    assert (again.parents, again.endpoints) == (NAMED.parents, NAMED.endpoints)


@pytest.mark.parametrize(
    ("parent", "endpoints", "says"),
    [
        (("eth0",), ((), (), ()), "name of a parent eth0 is there twice"),
        (("lo",), ((), (), ()), "a parent cannot be called lo"),
        (("web",), ((), (), ()), "endpoint and parent are both called web"),
        ((), (("eth0",), (), ()), "name of web eth0 is there twice"),
        ((), ((), (), ("eth0",)), "the link of metrics cannot be called eth0"),
        ((), ((), ("x",), ("x",)), "the link of metrics cannot be called x"),
        ((), (("lo",), (), ()), "the link of web cannot be called lo"),
    ],
)
def test_an_alternative_name_is_of_one_link_in_a_namespace(
    parent: tuple[str, ...], endpoints: tuple[tuple[str, ...], ...], says: str
) -> None:
    named = (replace(e, altnames=own) for e, own in zip(SAME.endpoints, endpoints, strict=True))
    with pytest.raises(InvalidLab, match=says) as problem:
        replace(SAME, parents=(replace(SAME.parents[0], altnames=parent),), endpoints=tuple(named))
    assert problem.value.hint


def test_no_try_adds_a_link_by_an_alternative_name_of_the_parent() -> None:
    """The kernel would refuse it, and ip delete the parent by that name."""
    act = Act(attempts=(Attempt(AddLink("enp0s3", "ipvlan", "eth0", "l2")),))
    with pytest.raises(InvalidLab, match="the name is taken"):
        replace(NAMED, phases=(replace(NAMED.phases[0], acts=(act,)),))


def test_on_a_machine_an_alternative_name_is_taken_as_a_name_is() -> None:
    lab = on_parent(SAME, "nic0")
    links = (ip.Link("nic0", altnames=("web",), flags=("UP",)), ip.Link("other", altnames=("db",)))
    found = [f.what for f in check(request_of(lab), Machine(links)).findings if f.code == "name-taken"]
    assert found == ["link web already exists", "link db already exists"]


@pytest.mark.long
@requires("macvlan")
@pytest.mark.parametrize("name", one_by_default("enp9s0", LONG), ids=len)
def test_a_parent_is_found_by_an_alternative_name(name: str) -> None:
    note = f"note: {name} is an alternative name of eth9\n"
    code, out, err = with_altnames("run-lab", "l2", "--parent", name, "--dry-run")
    assert (code, err) == (0, note)
    assert "ip link add test1 link eth9 type ipvlan mode l2" in out
    assert name not in out
    assert with_altnames("run-lab", "l2", "--parent", "eth9", "--dry-run") == (0, out, "")


@pytest.mark.extra
@pytest.mark.long
@requires("macvlan", "arping")
def test_a_name_that_no_link_has_is_refused_with_those_that_there_are() -> None:
    for name in ("enp7s0", LONG[:-1]):
        code, _, err = with_altnames("announce", "192.168.104.211", "--parent", name)
        assert code in (2, 3)
        assert err.startswith(f"error: no such interface: {name}\nhint: choose from eth8, eth9")


@pytest.mark.extra
@pytest.mark.long
@requires("macvlan")
def test_lists_show_alternative_names_and_find_links_by_them() -> None:
    code, out, _ = with_altnames("link", "list", "enp9s0")
    assert code == 0
    assert f"enp9s0 {LONG}" in out
    assert with_altnames("link", "list", "eth8").out.count("altnames") == 0
    _, out, _ = with_altnames("link", "list", "enp9s0", "--json")
    assert [link["altnames"] for link in json.loads(out)["links"]] == [["enp9s0", LONG]]


def test_a_unit_keeps_the_name_that_was_given(capsys: pytest.CaptureFixture[str]) -> None:
    """An alternative name stays the same when links are numbered differently at boot."""
    assert main(["announce", "192.168.104.211", "--parent", LONG, "--unit"]) == 0
    assert f"--parent {LONG}" in capsys.readouterr().out
