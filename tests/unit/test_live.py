"""This machine as a lab: the file that adopt writes, names, differences to a lab, and what is observed."""

import re
import subprocess
import sys
from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any

import pytest
from hypothesis import given
from test_inspect import PARENT, VIA, endpoint, host, machine, own_address, route, twin
from test_real_commands import needs_namespaces

from cases import for_each
from hostile import hostile_texts
from ipvkit.core.command import Command
from ipvkit.core.errors import UsageError
from ipvkit.core.values import address
from ipvkit.host.inspect import Inspection, OnParent, Placed, only, views
from ipvkit.host.namespaces import Space, Spaces
from ipvkit.host.owners import Owner
from ipvkit.host.twin import Twin, twin_of
from ipvkit.lab import Act, Check, Lab, Route, Rule, gallery
from ipvkit.lab.format import load
from ipvkit.lab.sysctls import Sysctl
from ipvkit.report.diff import render
from ipvkit.report.explanation import render as render_explanations
from ipvkit.tools.ip import Link, Neighbour
from ipvkit.tools.ip import Rule as Found
from ipvkit.verbs.adopt import adopted
from ipvkit.verbs.diff import differences
from ipvkit.verbs.formats import Dialect
from ipvkit.verbs.lab_file import node_of
from ipvkit.verbs.live import checked, explained, live, matched, renamed
from ipvkit.verbs.observe import observation
from namespaces import IN_NAMESPACES_OF_ITS_OWN
from several_hosts import ONE_HOST

# --- the twin -------------------------------------------------------------------------------------------


def neighbour(
    text: str, dev: str, lladdr: str | None = "02:00:00:00:00:99", state: str = "STALE"
) -> Neighbour:
    return Neighbour(ip_address(text), dev, lladdr, (state,), (), {}, ())


def rule(priority: int, table: str | None, src: str | None = None, **fields: Any) -> Found:
    nothing: dict[str, Any] = dict.fromkeys(("dst", "iif", "oif", "fwmark", "action", "goto", "protocol"))
    rest: dict[str, Any] = {"inverted": False, "details": {}, "unrecognised": (), **fields}
    return Found(**{**nothing, "src": src and ip_network(src), "priority": priority, "table": table, **rest})


def test_no_endpoint_has_the_name_of_another_link_in_its_namespace() -> None:
    inside = endpoint(7, "192.0.2.7/24", netns="a", ifname="x")
    other = replace(inside.links[0], ifname="a", addresses=(own_address("192.0.2.8/24"),))
    both = replace(inside, links=(*inside.links, other))
    made = twin(machine(host(), both)).lab.endpoints
    assert [(e.name, e.dev) for e in made] == [("a-2", "x"), ("a", "a")]


def test_no_line_of_a_batch_begins_with_an_option() -> None:
    spaces = Spaces(None, {(4, 7): Space("/run/netns/a")}, 0)
    (command,) = views(spaces).values()
    assert len(command.stdin) > 3
    assert not any(line.startswith("-") for line in command.stdin)


USUAL = (rule(0, "local"), rule(32766, "main"), rule(32767, "default"))


def test_routes_and_rules_are_those_of_the_namespace() -> None:
    inside = endpoint(
        7,
        "192.0.2.7/24",
        routes=(
            VIA,
            route("default", "s0", "192.0.2.253", table="100"),
            route("10.0.0.0/8", "s0", "192.0.2.253", table="252"),
            route("10.9.0.0/16", "", type="blackhole"),
            route("192.0.2.0/24", "s0", protocol="kernel"),
            route("224.0.0.0/4", "s0"),
        ),
    )
    rules = (*USUAL, rule(9, "100", "192.0.2.7/32"))
    (made,) = twin(machine(host(), replace(inside, rules=rules))).lab.endpoints
    assert made.rules == (Rule(100, ip_network("192.0.2.7/32")),)
    assert made.routes == (
        Route(None, address("192.0.2.254")),
        Route(None, address("192.0.2.253"), table=100),
        Route(ip_network("10.0.0.0/8"), address("192.0.2.253"), table=252),
        Route(ip_network("10.9.0.0/16"), type="blackhole"),
    )


@pytest.mark.parametrize(
    ("more", "rules", "note"),
    [
        (route("10.0.0.0/8", "s0", "203.0.113.1"), (), "its gateway is in no subnet of the link: 10.0.0.0/8"),
        (route("10.0.0.0/8", "s0", table="vrf"), (), "a lab cannot have its route: 10.0.0.0/8"),
        # `ip` shows table 253 as default.
        (route("10.0.0.0/8", "s0", table="253"), (), "a lab cannot have its route: 10.0.0.0/8"),
        (route("10.0.0.0/8", "s0", table="0"), (), "a lab cannot have its route: 10.0.0.0/8"),
        (route("default", "s0", "192.0.2.253", metric=9), (), "another route goes before it: default"),
        (
            route("192.0.2.0/24", "s0", "192.0.2.9"),
            (),
            "it is a route to the link's own subnet: 192.0.2.0/24",
        ),
        (route("2001:db8::/32", "s0"), (), "the endpoint has no address of its family: 2001:db8::/32"),
        (VIA, (rule(9, "100", "192.0.2.7/32", fwmark="1"),), "a lab cannot have its rule: 9"),
        (VIA, (rule(9, None, "192.0.2.7/32", action="prohibit"),), "a lab cannot have its rule: 9"),
        (VIA, (rule(9, "main", "192.0.2.7/32"),), "a lab cannot have its rule: 9"),
        (VIA, (rule(9, "100"),), "a lab cannot have its rule: 9"),
    ],
)
def test_a_route_or_rule_that_a_lab_cannot_have_is_a_note(more: Any, rules: Any, note: str) -> None:
    inside = endpoint(7, "192.0.2.7/24", routes=(VIA,) if more == VIA else (VIA, more))
    made = twin(machine(host(), replace(inside, rules=(*USUAL, *rules))))
    assert made.lab.endpoints[0].routes == (Route(None, address("192.0.2.254")),)
    assert made.lab.endpoints[0].rules == ()
    (found,) = made.notes
    assert found.startswith(note)


@pytest.mark.parametrize(("protocol", "dev", "count"), [("ra", "s0", 1), ("ra", "s1", 0), ("boot", "s0", 0)])
def test_what_a_link_has_from_router_advertisements_is_a_note(protocol: str, dev: str, count: int) -> None:
    from_router = route("default", dev, "fe80::1", protocol=protocol)
    made = twin(machine(host(), endpoint(7, "192.0.2.7/24", routes=(VIA, from_router))))
    assert sum("router advertisements" in note for note in made.notes) == count


def test_of_two_default_routes_the_one_without_a_metric_is_used() -> None:
    """No metric is 0, whichever was added first."""
    with_metric = route("default", "s0", "192.0.2.253", metric=1)
    made = twin(machine(host(), endpoint(7, "192.0.2.7/24", routes=(with_metric, VIA))))
    assert made.lab.endpoints[0].routes == (Route(None, address("192.0.2.254")),)


def on_a_vlan(*, lower: str = "192.0.2.1/24", **of_lower: Any) -> Inspection:
    """Return a machine with an endpoint on VLAN 20 of eth0, which alone has the addresses `lower`."""
    own = host(addresses=(own_address(lower),) if lower else (), **of_lower)
    vlan = Link("eth0.20", parent="eth0", kind="vlan", mtu=1500, flags=("UP",), info_data={"id": 20})
    vlan = replace(vlan, addresses=(own_address("10.20.0.1/24"),))
    own = replace(own, links=(*own.links, vlan))
    there = endpoint(7, "10.20.0.7/24")
    return Inspection((OnParent(Placed(vlan, own), (Placed(there.links[0], there),)),), own)


def test_a_vlan_comes_with_the_parent_that_it_is_on() -> None:
    made = twin(on_a_vlan())
    assert [(parent.name, parent.link, parent.vlan) for parent in made.lab.parents] == [
        ("eth0", None, None),
        ("eth0.20", "eth0", 20),
    ]
    assert made.lab.endpoints[0].parent == "eth0.20"
    assert made.lab.parents[0].gateway == (address("192.0.2.254"),)


def test_a_vlan_on_what_a_lab_cannot_have_is_an_ordinary_nic() -> None:
    made = twin(on_a_vlan(lower=""))
    assert [(parent.name, parent.link) for parent in made.lab.parents] == [("eth0.20", None)]
    assert "a VLAN is written as an ordinary NIC: eth0.20" in made.notes


def test_the_first_parent_is_that_of_the_best_default_route() -> None:
    own = host()
    other = replace(PARENT, ifname="eth1", ifindex=3, addresses=(own_address("10.1.0.1/24"),))
    worse, better = (route("default", "eth1", "10.1.0.254", metric=m) for m in (200, 50))
    eth0 = route("default", "eth0", "192.0.2.254", metric=100)

    def first(*routes: Any) -> str:
        here = replace(own, links=(*own.links, other), routes=routes)
        links = [endpoint(7, "192.0.2.7/24"), endpoint(8, "10.1.0.8/24")]
        on = [
            OnParent(Placed(parent, here), (Placed(one.links[0], one),))
            for parent, one in zip(here.links, links, strict=True)
        ]
        return twin(Inspection(tuple(on), here)).lab.parent

    assert first(eth0, worse) == "eth0"
    assert first(eth0, better) == "eth1"
    assert first(better) == "eth1"


def test_other_hosts_are_those_of_the_neighbour_tables() -> None:
    entries = (
        neighbour("192.0.2.20", "eth0"),
        neighbour("192.0.2.21", "eth0", "02:00:00:00:00:98"),
        neighbour("192.0.2.7", "eth0", PARENT.lladdr),
        neighbour("192.0.2.254", "eth0"),
        neighbour("192.0.2.22", "eth0", state="FAILED"),
        neighbour("192.0.2.23", "eth0", None, "INCOMPLETE"),
        neighbour("10.0.0.1", "eth0"),
    )
    found = machine(replace(host(), neighbours=entries), endpoint(7, "192.0.2.7/24", routes=(VIA,)))
    assert twin(found).lab.parents[0].hosts == ()
    made = twin_of(found, neighbours=True)
    assert made is not None
    assert [list(map(str, each.addresses)) for each in made.lab.parents[0].hosts] == [
        ["192.0.2.20/24"],
        ["192.0.2.21/24"],
    ]
    assert made.known == {address(text) for text in ("192.0.2.20", "192.0.2.21", "192.0.2.254")}


def test_what_can_be_typed_here_acts_on_no_other_host() -> None:
    made = twin(machine(host(), endpoint(7, "192.0.2.7/24", routes=(VIA,))))
    here = Command(("ip", "link", "set", "eth0", "up"))
    there = Command(("ip", "-n", "gateway", "link", "set", "eth0", "up"))
    assert [made.can(each) for each in ((), (here,), (there,), (here, there))] == [False, True, False, False]


def test_other_hosts_are_named_after_the_parent() -> None:
    """By nine characters of it: with a number of five digits that is as long as a name may be."""
    for dev, name in (("eth0", "eth0-1"), ("enp0s31f6np0", "enp0s31f6-1")):
        own = replace(host(ifname=dev), neighbours=(neighbour("192.0.2.20", dev),))
        made = twin_of(machine(own, endpoint(7, "192.0.2.7/24")), neighbours=True)
        assert made is not None
        assert [each.name for each in made.lab.parents[0].hosts] == [name]


def test_what_the_hosts_namespace_has_besides_is_a_note() -> None:
    routes = (route("10.5.0.0/16", "eth0", "192.0.2.9"),)
    own = replace(
        host(routes=routes),
        rules=(*USUAL, rule(100, "7", "10.0.0.0/8")),
        neighbours=(neighbour("192.0.2.9", "eth0", state="PERMANENT"),),
    )
    notes = twin(machine(own, endpoint(7, "192.0.2.7/24", routes=(VIA,)))).notes
    assert notes == (
        "a route of the host is left out: 10.5.0.0/16 dev eth0",
        "a rule of the host is left out: 100",
        "a permanent neighbour entry is left out: 192.0.2.9 of the host",
    )


def test_the_sysctls_of_the_host_are_set_before_the_checks() -> None:
    found = machine(host(), endpoint(7, "192.0.2.7/24", routes=(VIA,)))
    found = replace(found, sysctls=(("net.ipv4.ip_forward", 1),))
    first, second = checked(twin(found)).phases[0].acts
    assert first.sysctls == (Sysctl("host", "net.ipv4.ip_forward", 1),)
    assert second.checks


# --- the file -------------------------------------------------------------------------------------------


def small() -> Inspection:
    """Return a machine with two endpoints in l3, one of which has no name."""
    each = [
        endpoint(n, f"192.0.2.{n}/24", mode="l3", netns=netns, routes=(route("default", "s0"),))
        for n, netns in ((7, "web"), (8, ""))
    ]
    return machine(host(), *each, names={8: Owner("docker", "db", "postgres", 8)})


def test_what_adopt_writes_is_loaded_again() -> None:
    made = live(small())
    text = adopted(made)
    assert load(text, "twin.yaml") == checked(made)
    comments = [line for line in text.splitlines() if line.startswith("# ")]
    assert "firewalls" in comments[0]
    pairs = [str(check) for check in checked(made).phases[0].acts[-1].checks]
    assert pairs[:3] == ["web -> gateway", "gateway -> web", "host -> web"]
    assert "web -> db" in pairs


def test_no_check_pings_an_address_that_is_not_known() -> None:
    alone = replace(host(), routes=())
    made = live(machine(alone, endpoint(7, "192.0.2.7/24", routes=(route("default", "s0"),))))
    assert made.known == frozenset()
    to = {check.destination for act in checked(made).phases[0].acts for check in act.checks}
    assert to.isdisjoint({"gateway", "neighbour"})


def test_what_was_not_looked_into_is_a_comment() -> None:
    text = adopted(live(replace(small(), hidden=3, unseen=("netns a",))))
    assert "# note: not looked into: netns a\n" in text
    assert "# note: not looked into: the namespaces of 3 processes that this user may not see\n" in text


def test_only_what_is_in_a_namespace_is_adopted() -> None:
    found = live(small(), ["web"])
    assert [e.name for e in found.lab.endpoints] == ["web"]
    with pytest.raises(UsageError, match="nothing to describe is in netns wb"):
        live(small(), ["wb"])
    with pytest.raises(UsageError, match="no link that a lab can describe was found"):
        live(only(small(), "eth9"))


@given(hostile_texts())
def test_a_hostile_name_stays_a_comment(text: str) -> None:
    there = endpoint(9, "192.0.2.9/24", ifname=text)
    made = twin_of(machine(host(), endpoint(7, "192.0.2.7/24"), there))
    assert made is not None
    assert len(load(adopted(made), "twin.yaml").endpoints) in (1, 2)


# --- names ----------------------------------------------------------------------------------------------


def test_a_node_is_found_by_its_name_its_namespace_and_its_addresses() -> None:
    lab = live(small()).lab
    assert node_of(lab, "web") == ("web", None)
    assert node_of(lab, lab.endpoint("db").netns) == ("db", None)
    assert node_of(lab, "192.0.2.8") == ("db", "ipv4")
    assert node_of(lab, "192.0.2.1") == ("host", "ipv4")
    assert node_of(lab, "192.0.2.254") == ("gateway", "ipv4")
    assert node_of(lab, "nothing") == ("nothing", None)
    with pytest.raises(UsageError, match=r"no node of lab twin has 192\.0\.2\.99"):
        node_of(lab, "192.0.2.99")


def on_lan() -> Inspection:
    """Return the small machine, on which the parent has another MAC address than in a lab."""
    found = small()
    (on,) = found.parents
    links = tuple(replace(each, link=replace(each.link, lladdr="02:00:5e:00:53:01")) for each in on.links)
    return replace(found, parents=(replace(on, links=links),))


def test_what_a_fix_needs_on_another_host_is_a_comment_to_be_typed_there() -> None:
    made = live(on_lan())
    found = explained(made, Check("gateway", "db"))
    by_name = {fix.name: (list(map(str, fix.commands)), list(map(str, fix.elsewhere))) for fix in found.fixes}
    entry = "ip neigh replace 192.0.2.8 lladdr 02:00:5e:00:53:01 dev DEV nud permanent"
    to = "ip route add 10.104.0.0/24 via 192.0.2.1 dev DEV"
    inside = "nsenter --net=/proc/8/ns/net ip addr"
    assert by_name["static-neigh"] == (
        [],
        [f"on the gateway (192.0.2.254): {entry}", f"on each other host: {entry}"],
    )
    assert by_name["routed"] == (
        [f"{inside} add 10.104.0.15/24 dev s0", f"{inside} del 192.0.2.8/24 dev s0"],
        [f"on the gateway (192.0.2.254): {to}", f"on each other host: {to}"],
    )
    assert by_name["mode-l2"][1] == []
    lines = render_explanations([found]).splitlines()
    assert f"  # on the gateway (192.0.2.254): {entry}" in lines
    assert not any(
        "gateway" in line or "DEV" in line for line in lines if line.startswith(("  ip ", "  nsenter "))
    )


def test_what_is_changed_at_the_switch_is_a_comment_too() -> None:
    made = live(machine(host(), endpoint(7, "192.0.2.7/24", netns="a", routes=(VIA,))))
    found = explained(made, Check("host", "a"))
    (fix,) = (fix for fix in found.fixes if fix.name == "hairpin")
    assert fix.commands == ()
    assert list(map(str, fix.elsewhere)) == ["on the switch: ip link set DEV type bridge_slave hairpin on"]


def test_fixes_are_typed_here_without_names_of_the_lab() -> None:
    found = explained(live(small()), Check("gateway", "db"))
    commands = [str(command) for fix in found.fixes for command in fix.commands]
    assert commands[0].startswith("nsenter --net=/proc/8/ns/net ip link set s0 type ipvlan mode l3s")
    assert not any("gateway" in command or "net4" in command for command in commands)


def test_a_fix_in_a_format_is_of_the_twin_and_what_that_cannot_say_is_typed_here() -> None:
    found = explained(live(on_lan()), Check("gateway", "db"))
    lines = {fix.name: Dialect("docker").lines(fix) for fix in found.fixes}
    assert {"-      ipvlan_mode: l3", "+      ipvlan_mode: l2"} < set(lines["mode-l2"])
    first, *others = lines["static-neigh"]
    assert first == "# Docker cannot say strategy static-neigh on eth0; as commands, until a reboot:"
    entry = "ip neigh replace 192.0.2.8 lladdr 02:00:5e:00:53:01 dev DEV nud permanent"
    assert others == [f"# on the gateway (192.0.2.254): {entry}", f"# on each other host: {entry}"]


COMPLETE = """\
mount -t tmpfs tmpfs /run
ip link add p0 type veth peer name q0; ip link set p0 up; ip link set q0 up; ip addr add 192.0.2.1/24 dev p0
ip netns add shop; ip link add m0 link p0 netns shop type macvlan mode bridge
ip -n shop addr add 192.0.2.7/24 dev m0; ip -n shop link set m0 up
export _IPVKIT_COMPLETE=complete_bash
COMP_WORDS='ipvkit explain --live s' COMP_CWORD=3 "$@"
COMP_WORDS='ipvkit explain --live host 192.0.2.7' COMP_CWORD=4 "$@"
unset _IPVKIT_COMPLETE
"$@" explain host 192.0.2.7 --live
"""


@pytest.mark.extra
@pytest.mark.long
@needs_namespaces
def test_a_shell_completes_what_is_on_this_machine() -> None:
    apart = (*IN_NAMESPACES_OF_ITS_OWN, "--pid", "--fork", "--mount-proc", "--kill-child")
    words = [*apart, "bash", "-euc", COMPLETE, "bash", sys.executable, "-m", "ipvkit"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
    assert done.stderr == ""
    name, own, *lines = done.stdout.splitlines()
    assert (name, own) == ("shop", "192.0.2.7")
    assert lines[1].startswith("host -> shop: unreachable")


ANOTHER_USER = """\
mount -t tmpfs tmpfs /run
ip link add p0 type veth peer name q0; ip link set p0 up; ip link set q0 up; ip addr add 192.0.2.1/24 dev p0
ip netns add shop; ip link add m0 link p0 netns shop type macvlan mode bridge
ip -n shop addr add 192.0.2.7/24 dev m0; ip -n shop link set m0 up
"$@" adopt >/run/twin.yaml
mkdir -p /run/docker/netns; chmod 0 /run/docker; cd /run
as() { code=0; unshare --user "${@:2}" || code=$?; echo "--- $1 $code"; }
for words in adopt 'review --live' 'explain host shop --live' 'labs check --live' 'labs graph --live' \
  'diff twin.yaml' 'run-lab twin.yaml --observe'; do
  as "$words" "$@" $words 2>&1
done
as dry "$@" inspect --dry-run
as parent "$@" inspect --parent q0 2>&1
"""


@pytest.mark.extra
@pytest.mark.long
@needs_namespaces
def test_another_user_gets_one_line_on_what_only_root_sees() -> None:
    apart = (*IN_NAMESPACES_OF_ITS_OWN, "--pid", "--fork", "--mount-proc", "--kill-child")
    words = [*apart, "bash", "-euc", ANOTHER_USER, "bash", sys.executable, "-m", "ipvkit"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
    assert done.stderr == ""
    *parts, _ = re.split(r"^--- .* (\d+)$\n", done.stdout, flags=re.MULTILINE)
    texts, codes = parts[::2], parts[1::2]
    assert codes == ["3"] * 7 + ["0", "3"]
    assert texts[8].startswith("error: nothing is on q0; not looked into: /run/docker/netns, netns shop; not")
    for text in texts[:7]:
        error, hint = text.splitlines()
        what = "error: no link that a lab can describe was found"
        unseen = "not looked into: /run/docker/netns, netns shop; not looked into: the namespaces of "
        assert error.startswith(f"{what}; {unseen}")
        assert hint == 'hint: only root can: sudo "$(command -v ipvkit)" …'
    assert "# not looked into: /run/docker/netns\n# not looked into: the namespaces of " in texts[7]


# --- differences ----------------------------------------------------------------------------------------


def lines(lab: Lab, of: Twin) -> list[str]:
    return render(differences(lab, of)).splitlines()


@for_each("name", ONE_HOST)
def test_a_lab_does_not_differ_from_itself(name: str) -> None:
    lab = load(gallery.text(name), name)
    lab = replace(lab, phases=(replace(lab.phases[0], acts=(Act(),)),))
    made = Twin(lab, {}, frozenset(), ())
    assert differences(lab, made) == []


def test_the_adopted_file_does_not_differ() -> None:
    made = live(small())
    assert lines(load(adopted(made), "twin.yaml"), made) == []


def changed(made: Twin, name: str, **fields: Any) -> Lab:
    """Return the lab of a twin, in which an endpoint has other fields."""
    endpoints = tuple(replace(e, **fields) if e.name == name else e for e in made.lab.endpoints)
    return replace(made.lab, endpoints=endpoints)


def test_another_address_is_given_after_the_old_one_went() -> None:
    made = live(small())
    assert lines(changed(made, "db", addresses=(ip_interface("192.0.2.9/24"),)), made) == [
        "# db: address 192.0.2.8/24: only here",
        "nsenter --net=/proc/8/ns/net ip addr del 192.0.2.8/24 dev s0",
        "# db: address 192.0.2.9/24: only in the lab",
        "nsenter --net=/proc/8/ns/net ip addr add 192.0.2.9/24 dev s0",
        "# db: default route: again, for it goes with the addresses",
        "nsenter --net=/proc/8/ns/net ip route add default dev s0",
    ]


def test_only_the_addresses_of_the_family_that_changes_are_given_again() -> None:
    addresses = ip_interface("192.0.2.7/24"), ip_interface("2001:db8::7/64")
    made = live(machine(host(), endpoint(7, *map(str, addresses), mode="l3", netns="web")))
    found = lines(changed(made, "web", addresses=(ip_interface("192.0.2.9/24"), addresses[1])), made)
    assert [line for line in found if " addr " in line] == [
        "ip -n web addr del 192.0.2.7/24 dev s0",
        "ip -n web addr add 192.0.2.9/24 dev s0",
    ]


def test_a_mode_is_that_of_all_links_on_a_parent() -> None:
    made = live(small())
    (phase,) = made.lab.phases
    l2 = replace(made.lab, phases=(replace(phase, setting=replace(phase.setting, mode="l2")),))
    assert lines(l2, made) == [
        "# eth0: mode and flag: l3 bridge here, l2 bridge in the lab",
        "ip -n web link set s0 type ipvlan mode l2 bridge",
        # In l3 they are straight out of the link.
        "# web: default route: no gateway here, 192.0.2.254 in the lab",
        "ip -n web route replace default via 192.0.2.254 dev s0",
        "# db: default route: no gateway here, 192.0.2.254 in the lab",
        "nsenter --net=/proc/8/ns/net ip route replace default via 192.0.2.254 dev s0",
    ]


def test_default_routes_in_l3_become_those_of_l2_only_where_the_gateway_is_known() -> None:
    direct = (route("default", "s0"),)
    known = endpoint(7, "192.0.2.7/24", netns="a", mode="l3", routes=direct)
    unknown = endpoint(8, "203.0.113.8/24", netns="b", mode="l3", routes=direct)
    # A lab has default routes of the first link of a namespace only.
    first, other = (endpoint(9, f"192.0.2.{n}/24", netns="c", mode="l3").links[0] for n in (9, 10))
    two = endpoint(9, netns="c", mode="l3", routes=(route("default", "s1"),))
    two = replace(two, links=(first, replace(other, ifname="s1")))
    there = live(machine(host(), known, unknown, two)).lab.endpoints
    assert [e.routes for e in there] == [None, (Route(),), (), (Route(),)]


def test_an_endpoint_that_only_one_has_is_created_or_deleted() -> None:
    made = live(small())
    (phase,) = made.lab.phases
    web, db = made.lab.endpoints
    more = replace(web, name="more", netns="more", dev="more", addresses=(ip_interface("192.0.2.10/24"),))
    lab = replace(made.lab, endpoints=(web, more), phases=(replace(phase, endpoints=("web", "more")),))
    assert lines(lab, made) == [
        "# db: only here",
        "nsenter --net=/proc/8/ns/net ip link delete s0",
        "# more: only in the lab",
        "ip netns add more",
        "ip link add more link eth0 type ipvlan mode l3",
        "ip link set more netns more",
        "ip netns exec more ip link set more up",
        "ip netns exec more ip addr add 192.0.2.10/24 dev more",
        "ip netns exec more ip route add default dev more",
    ]
    assert db.name == "db"


def test_what_this_machine_cannot_change_has_no_command() -> None:
    made = live(small())
    (phase,) = made.lab.phases
    neigh = replace(
        made.lab, phases=(replace(phase, setting=replace(phase.setting, strategy="static-neigh")),)
    )
    found = lines(neigh, made)
    add = [f"ip neigh replace 192.0.2.{n} lladdr LLADDR dev DEV nud permanent" for n in (7, 8)]
    assert found == [
        line
        for peer, where in (
            ("the gateway", "the gateway (192.0.2.254)"),
            ("the neighbour", "each other host"),
        )
        for n in (7, 8)
        for line in (
            f"# {peer}: permanent neighbour entry for 192.0.2.{n}: only in the lab",
            f"# on {where}: {add[n - 7]}",
        )
    ]
    parent = replace(made.lab.parents[0], host=(ip_interface("192.0.2.2/24"),), neighbour=())
    assert lines(replace(made.lab, parents=(parent,)), made) == [
        "# the host: address 192.0.2.1/24 on eth0: only here",
        "# the host: address 192.0.2.2/24 on eth0: only in the lab",
    ]
    with pytest.raises(UsageError, match="several phases"):
        differences(load(gallery.text("walkthrough"), "walkthrough"), made)


def test_endpoints_are_matched_by_name_or_by_link() -> None:
    made = live(small())
    again = renamed(made.lab, {"web": "shop"})
    assert differences(again, made) == []
    swapped = renamed(made.lab, {"web": "db", "db": "web"})
    assert differences(swapped, made) != []
    db, (phase,) = made.lab.endpoint("db"), made.lab.phases
    moved = replace(made.lab.endpoint("web"), netns=db.netns, dev=db.dev)
    lab = replace(made.lab, endpoints=(moved,), phases=(replace(phase, endpoints=("web",), acts=()),))
    assert matched(made, lab)["web"].netns == "web", "a name goes before a link"


# --- what is observed -----------------------------------------------------------------------------------


def test_only_checks_from_here_are_sent() -> None:
    made = live(small())
    plan = observation(checked(made), made)
    commands = [str(step.command) for step in plan.steps]
    assert commands[0].startswith("ip netns exec web ping ")
    assert any(command.startswith("nsenter --net=/proc/8/ns/net ping ") for command in commands)
    assert all(" ping " in f" {command}" for command in commands)
    assert plan.undos == ()
    skipped = {str(probe.check): probe.skipped for probe in plan.sections[0].skipped}
    assert "another machine" in skipped["gateway -> web"]
    assert "for documents" in skipped["web -> far"]


def test_sysctls_of_the_host_are_only_predicted_with() -> None:
    made = live(replace(small(), sysctls=(("net.ipv4.ip_forward", 1),)))
    plan = observation(checked(made), made)
    assert plan.lab.phases[0].acts[0].sysctls == (Sysctl("host", "net.ipv4.ip_forward", 1),)
    assert [*plan.steps]
    assert not any("sysctl" in str(step.command) for step in plan.steps)


def test_a_lab_that_changes_something_is_not_observed() -> None:
    made = live(small())
    (phase,) = made.lab.phases
    announcing = replace(made.lab, phases=(replace(phase, acts=(Act(announce=("web",)),)),))
    with pytest.raises(UsageError, match="changes something"):
        observation(announcing, made)
    with pytest.raises(UsageError, match="no endpoint of lab l2 is on this machine"):
        observation(load(gallery.text("l2"), "l2"), made)


def test_a_check_of_an_endpoint_that_is_not_here_is_skipped() -> None:
    made = live(small())
    (phase,) = made.lab.phases
    web, _ = made.lab.endpoints
    gone = replace(web, name="gone", netns="gone", dev="gone", addresses=(ip_interface("192.0.2.30/24"),))
    acts = (Act(checks=(Check("web", "gone"), Check("web", "host", tcp=80))),)
    lab = replace(
        made.lab, endpoints=(web, gone), phases=(replace(phase, endpoints=("web", "gone"), acts=acts),)
    )
    plan = observation(lab, made)
    assert [*plan.steps] == []
    assert [probe.skipped for probe in plan.sections[0].skipped] == [
        "gone is not on this machine",
        "it would start a server; with `listen: false` it is sent",
    ]
    there = replace(phase, acts=(Act(checks=(Check("web", "host", tcp=80, listen=False),)),))
    plan = observation(replace(made.lab, phases=(there,)), made)
    assert (len([*plan.steps]), plan.sections[0].skipped) == (1, ())


def test_a_command_of_a_namespace_that_is_not_here_stays() -> None:
    command = Command(("ip", "netns", "exec", "new", "ip", "link", "show"))
    assert live(small()).here(command) is command
