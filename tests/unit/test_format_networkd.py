"""Files of systemd-networkd as people write them: what is deployed, what is noted, and what is wrong."""

import pytest

from ipvkit.cli import main
from ipvkit.core.errors import UsageError
from ipvkit.formats.deployment import lab_of
from ipvkit.formats.networkd import FORMAT, recognises
from ipvkit.lab import Lab
from ipvkit.lab.fields import Source

IV = "[NetDev]\nName=iv0\nKind=ipvlan\n"
PARENT = "[Match]\nName=eth0\n[Network]\nAddress=192.0.2.10/24\nGateway=192.0.2.1\nIPVLAN=iv0\n"
SHIM = "[Match]\nName=iv0\n[Network]\nAddress=192.0.2.250/32\n"


def read(**files: str) -> tuple[Lab, list[str]]:
    """Return the lab of files, by their names with _ for each dot, and its notes."""
    sources = [Source(name.replace("_", "."), text) for name, text in files.items()]
    lab, notes = lab_of(FORMAT.read(sources))
    return lab, list(notes)


def endpoints(lab: Lab) -> dict[str, list[str]]:
    return {each.name: list(map(str, each.addresses)) for each in lab.endpoints}


CALLED = "iv0, the host's link on eth0, is called shim"


def test_a_shim_with_a_route_to_each_endpoint() -> None:
    shim = f"{SHIM}[Route]\nDestination=192.0.2.21/32\nScope=link\n[Route]\nDestination=192.0.2.22\n"
    lab, notes = read(a_netdev=f"{IV}[IPVLAN]\nMode=L3\nFlags=private\n", b_network=PARENT, c_network=shim)
    (parent,), (phase,) = lab.parents, lab.phases
    assert (parent.name, list(map(str, parent.host)), list(map(str, parent.gateway))) == (
        "eth0",
        ["192.0.2.10/24"],
        ["192.0.2.1"],
    )
    assert str(phase.setting) == "ipvlan in l3 mode, flag private, host shim"
    assert list(map(str, phase.setting.shim_addresses)) == ["192.0.2.250"]
    assert endpoints(lab) == {"endpoint1": ["192.0.2.21/24"], "endpoint2": ["192.0.2.22/24"]}
    assert notes == [CALLED]


def test_the_host_has_its_address_on_the_ipvlan_link_only() -> None:
    """As where the parent has none: the link has the subnet and the default route."""
    lab, notes = read(
        eth0_network="[Match]\nName=eth0\n[Link]\nMACAddress=02:00:00:00:00:05\n"
        "[Network]\nLinkLocalAddressing=no\nIPv6AcceptRA=no\nDHCP=no\nIPVLAN=iv0\n",
        iv0_netdev=f"{IV}[IPVLAN]\nMode=L2\nFlags=bridge\n",
        iv0_network="[Match]\nName=iv0\n[Network]\nAddress=192.0.2.250/24\nGateway=192.0.2.254\nDNS=9.9.9.9\n",
    )
    (parent,) = lab.parents
    assert list(map(str, parent.subnets)) == ["192.0.2.0/24"]
    assert list(map(str, parent.gateway)) == ["192.0.2.254"]
    assert endpoints(lab) == {"endpoint1": ["192.0.2.1/24"]}
    assert notes == [
        "no route out of iv0 leads to an endpoint; endpoint1 at 192.0.2.1 is an example",
        "the host's address on eth0 is in no file; 192.0.2.2 is a free one",
        CALLED,
    ]


def test_a_route_to_a_range_of_addresses() -> None:
    lab, notes = read(
        a_netdev=IV, b_network=PARENT, c_network=f"{SHIM}\n[Route]\nDestination=192.0.2.192/27\n"
    )
    assert endpoints(lab) == {"endpoint1": ["192.0.2.193/24"]}
    assert notes == [
        "c.network:6: the route to 192.0.2.192/27 names no single endpoint;"
        " endpoint1 at 192.0.2.193 is an example",
        CALLED,
    ]


def test_routes_that_lead_to_no_endpoint() -> None:
    routes = "".join(
        f"[Route]\nDestination={to}\n" for to in ("0.0.0.0/0", "224.0.0.0/4", "192.0.2.21", "192.0.2.21")
    )
    lab, notes = read(a_netdev=IV, b_network=PARENT, c_network=SHIM + routes)
    assert endpoints(lab) == {"endpoint1": ["192.0.2.21/24"]}
    assert notes == [
        "c.network:5: the route to 0.0.0.0/0 is left out",
        "c.network:7: the route to 224.0.0.0/4 is left out",
        CALLED,
    ]


def test_a_gateway_in_no_subnet_of_the_parent_is_left_out() -> None:
    lab, notes = read(a_netdev=IV, b_network=PARENT.replace("192.0.2.1\n", "203.0.113.1\n"), c_network=SHIM)
    assert list(map(str, lab.parents[0].gateway)) == ["192.0.2.2"]
    assert "eth0: 203.0.113.1 is in no subnet of it, and left out" in notes
    assert "the gateway's address on eth0 is in no file; 192.0.2.2 is a free one" in notes


def test_a_file_is_for_the_links_that_each_line_of_match_is_for() -> None:
    others = "[Match]\nName=!iv1 iv0\n[Network]\nAddress=192.0.2.66/32\n"
    lab, _ = read(
        a_netdev=IV,
        b_network=PARENT,
        c_network="[Match]\nMACAddress=02:00:00:00:00:09\n[Network]\nAddress=192.0.2.77/32\n",
        d_network=others,
        e_network=SHIM,
    )
    assert list(map(str, lab.phases[0].setting.shim_addresses)) == ["192.0.2.250"]


def test_what_dhcp_gives_the_parent_is_noted() -> None:
    """The subnet is that of the ipvlan link, whose gateway is the parent's too."""
    lab, notes = read(
        a_network="[Match]\nName=en*\n[Network]\nDHCP=yes\nIPVLAN=iv0\n",
        b_netdev=IV,
        c_network="[Match]\nName=iv*\n[Network]\nAddress=192.0.2.200/24\nGateway=192.0.2.1\n",
    )
    assert lab.parent == "eth0"
    assert notes[:2] == [
        "a.network: [Match] names no single link; eth0 is an example",
        "a.network:4: what DHCP gives eth0 is left out",
    ]


def test_a_drop_in_of_the_parents_file() -> None:
    sources = [
        Source("net/10-eth0.network", "[Match]\nName=eth0\n[Network]\nAddress=2001:db8::10/64\n"),
        Source("net/10-eth0.network.d/00-iv.conf", "[Network]\nIPVLAN=iv0\n"),
        Source("net/00-iv0.netdev", f"{IV}[IPVLAN]\nMode=L3S\n"),
        Source("net/20-iv0.network", "[Match]\nName=iv0\n[Address]\nAddress=2001:db8::99/128\n"),
    ]
    lab, _ = lab_of(FORMAT.read(sources))
    assert lab.phases[0].setting.mode == "l3s"
    assert list(map(str, lab.parents[0].host)) == ["2001:db8::10/64"]


def test_an_ipvlan_link_on_a_vlan() -> None:
    lab, notes = read(
        a_network="[Match]\nName=eth0\n[Network]\nVLAN=lan30\n",
        b_netdev="[NetDev]\nName=lan30\nKind=vlan\n[VLAN]\nId=30\n",
        b_network="[Match]\nName=lan30\n[Network]\nAddress=10.30.0.2/24\nIPVLAN=iv0\n",
        c_netdev=f"[Match]\nVirtualization=no\n{IV}MTUBytes=1400\n",
        c_network="[Match]\nKind=ipvlan\n[Network]\nAddress=10.30.0.250/32\n[Route]\nDestination=10.30.0.11/32\n",
    )
    assert lab.parent == "lan30"
    assert endpoints(lab) == {"endpoint1": ["10.30.0.11/24"]}
    assert notes == [
        "c.netdev:6: MTUBytes is left out",
        "lan30, a VLAN, is written as an ordinary NIC",
        "the gateway's address on lan30 is in no file; 10.30.0.1 is a free one",
        "iv0, the host's link on lan30, is called shim",
    ]


def test_two_ipvlan_links_on_one_parent() -> None:
    lab, notes = read(
        a_network=f"{PARENT}IPVLAN=iv1\n",
        b_netdev=IV,
        c_netdev="[NetDev]\nName=iv1\nKind=ipvlan\n",
        d_network=f"{SHIM}[Route]\nDestination=192.0.2.21/32\n",
        e_network="[Match]\nName=iv1\n[Network]\nAddress=192.0.2.251/32\n[Route]\nDestination=192.0.2.22/32\n",
    )
    assert list(map(str, lab.phases[0].setting.shim_addresses)) == ["192.0.2.250", "192.0.2.251"]
    assert endpoints(lab) == {"endpoint1": ["192.0.2.21/24"], "endpoint2": ["192.0.2.22/24"]}
    assert notes == ["c.netdev: iv1 is on eth0 too; a lab has one such link", CALLED]


def test_an_empty_value_deletes_those_before_it_and_the_last_valid_one_counts() -> None:
    lab, _ = read(
        a_netdev=f"{IV}[IPVLAN]\nMode=L3\nMode=L3S\nMode=l2\n",
        b_network="[Match]\nName=eth0\n[Network]\nAddress=192.0.2.77/24\nAddress=\nAddress=192.0.2.10/24\nIPVLAN=iv0\n",
        c_network=SHIM,
    )
    assert list(map(str, lab.parents[0].host)) == ["192.0.2.10/24"]
    assert lab.phases[0].setting.mode == "l3s"


def test_what_networkd_ignores_and_what_a_lab_cannot_have_is_noted() -> None:
    _, notes = read(
        a_netdev=f"{IV}[IPVLAN]\nMode=l3\n",
        b_network=f"{PARENT}IPMasquerade=ipv4\n[Route]\nDestination=10.0.0.0/8\nGateway=192.0.2.1\n[SR-IOV]\n",
        c_network=f"{SHIM}Gateway=_dhcp4\n",
    )
    assert notes == [
        "a.netdev:5: networkd ignores l3, which is none of L2, L3, L3S",
        "b.network:7: IPMasquerade is left out",
        "b.network:11: [SR-IOV] is left out",
        "b.network:8: this route of the host is left out",
        "c.network:5: the gateway _dhcp4 is given at run time, and left out",
        "no route out of iv0 leads to an endpoint; endpoint1 at 192.0.2.2 is an example",
        CALLED,
    ]


def test_quadlets_are_not_recognised() -> None:
    assert recognises(IV)
    assert recognises(PARENT)
    assert not recognises("[Network]\nDriver=ipvlan\nOptions=parent=eth0\n")
    assert not recognises("parent: eth0 # [Match]\n")


WRONG = {
    "no .network of the parent": (
        {"a_netdev": IV},
        "a.netdev: no file has `IPVLAN=` or `VLAN=`, and so networkd creates no link",
        "give the .network file of the parent too: a folder stands for the files in it",
    ),
    "no .netdev": (
        {"b_network": PARENT},
        "b.network:6: IPVLAN: no file defines iv0",
        "give its .netdev file too: a folder stands for the files in it",
    ),
    "another kind": (
        {"a_netdev": IV.replace("ipvlan", "ipvtap"), "b_network": PARENT},
        "a.netdev:3: Kind: iv0 is of kind ipvtap",
        "a link of kind ipvlan is needed",
    ),
    "two modes on a parent": (
        {
            "a_netdev": IV,
            "c_netdev": "[NetDev]\nName=iv1\nKind=ipvlan\n[IPVLAN]\nMode=L3\n",
            "b_network": f"{PARENT}IPVLAN=iv1\n",
        },
        "iv0 is ipvlan in l2 mode, flag bridge, host shim, and iv1 is ipvlan in l3 mode, flag bridge,"
        " host shim, both on eth0",
        "all links on a parent have one mode and one flag: the last to be created sets the others'",
    ),
    "a VLAN tag": (
        {
            "a_netdev": "[NetDev]\nName=lan\nKind=vlan\n[VLAN]\nId=5000\n",
            "b_network": PARENT.replace("IPVLAN=iv0", "VLAN=lan"),
        },
        "a.netdev:5: Id: invalid VLAN '5000'",
        "choose from 1 to 4094",
    ),
    "no VLAN tag": (
        {
            "a_netdev": "[NetDev]\nName=lan\nKind=vlan\n",
            "b_network": PARENT.replace("IPVLAN=iv0", "VLAN=lan"),
        },
        "a.netdev: `Id` is missing",
        "add `Id=` in [VLAN]",
    ),
    "an address": (
        {"a_netdev": IV, "b_network": PARENT.replace("/24", "")},
        "b.network:4: Address: '192.0.2.10' has no prefix length",
        "write it like 192.0.2.10/24",
    ),
    "a VRF": (
        {"a_netdev": IV, "b_network": f"{PARENT}VRF=blue\n"},
        "b.network:7: VRF: a lab's host has one routing table",
        "leave VRF out",
    ),
    "rules": (
        {"a_netdev": IV, "b_network": f"{PARENT}[RoutingPolicyRule]\nTable=7\nFrom=192.0.2.10\n"},
        "b.network:7: a lab's host has no rules",
        "leave [RoutingPolicyRule] out",
    ),
    "DHCP everywhere": (
        {"a_netdev": IV, "b_network": "[Match]\nName=eth0\n[Network]\nDHCP=yes\nIPVLAN=iv0\n"},
        "a.netdev: no address and no subnet of eth0 is in these files",
        "add the file with an address of it, or write one in place of DHCP",
    ),
    "a link on two": (
        {"a_netdev": IV, "b_network": PARENT, "c_network": PARENT.replace("eth0", "eth1")},
        "c.network:6: IPVLAN: iv0 is on eth0 already",
        "a link is on one other",
    ),
    "a name twice": (
        {"a_netdev": IV, "b_netdev": IV, "b_network": PARENT},
        "b.netdev:2: Name: iv0 is there twice",
        "networkd takes the first: leave the other one out",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_refused_with_its_place(what: str) -> None:
    files, message, hint = WRONG[what]
    with pytest.raises(UsageError) as caught:
        read(**files)
    assert (caught.value.message, caught.value.hint) == (message, hint)


def test_a_fix_leaves_the_parents_own_file_to_its_owner(capsys: pytest.CaptureFixture[str]) -> None:
    """The lab of a file of another tool has an example for the host's address."""
    assert main(["explain", "host", "test1", "host-shim", "--phase", "without", "--fix-as", "networkd"]) == 0
    fix = capsys.readouterr().out.partition("fix 1, host-shim")[2].partition("\nfix ")[0]
    lines = [line.strip() for line in fix.splitlines()]
    at = lines.index("# in the file that is there with [Match] Name=eth0, add:")
    assert lines[at + 1] == "#   [Network] IPVLAN=shim"
    assert "05-eth0.network" not in fix
    assert "cat >/etc/systemd/network/05-shim.netdev <<'END_OF_FILE'" in lines
    assert "192.168.104.110" not in fix
