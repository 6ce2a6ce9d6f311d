"""Keyfiles of NetworkManager as people write them: what is deployed, what is noted, and what is wrong."""

import pytest

from ipvkit.cli import main
from ipvkit.core.errors import UsageError
from ipvkit.formats.deployment import lab_of, of_phase
from ipvkit.formats.networkmanager import FORMAT, recognises
from ipvkit.lab import Lab, gallery
from ipvkit.lab.fields import Source
from ipvkit.lab.format import load

ETH0 = (
    "[connection]\nid=lan\nuuid=5fb06bd0-0bb0-7ffb-45f1-d6edd65f3e03\ntype=ethernet\ninterface-name=eth0\n"
    "[ipv4]\nmethod=manual\naddress1=192.0.2.10/24,192.0.2.1\ndns=9.9.9.9;\n[ipv6]\nmethod=disabled\n"
)
IV = (
    "[connection]\nid=iv\ntype=ipvlan\ninterface-name=iv0\n"
    "[ipvlan]\nparent=eth0\nmode={}\n[ipv4]\nmethod=manual\n{}"
)
CALLED = "iv0, the host's link on eth0, is called shim"


def read(**files: str) -> tuple[Lab, list[str]]:
    """Return the lab of keyfiles, and its notes."""
    lab, notes = lab_of(FORMAT.read([Source(name, text) for name, text in files.items()]))
    return lab, list(notes)


def endpoints(lab: Lab) -> dict[str, list[str]]:
    return {each.name: list(map(str, each.addresses)) for each in lab.endpoints}


def test_a_link_with_a_route_to_each_endpoint() -> None:
    iv = IV.format("2\nprivate=true", "address1=192.0.2.250/32\nroute1=192.0.2.21/32\nroute2=192.0.2.22\n")
    lab, notes = read(eth0=ETH0, iv0=iv)
    (parent,), (phase,) = lab.parents, lab.phases
    assert (parent.name, list(map(str, parent.host))) == ("eth0", ["192.0.2.10/24"])
    assert list(map(str, parent.gateway)) == ["192.0.2.1"]
    assert str(phase.setting) == "ipvlan in l3 mode, flag private, host shim"
    assert list(map(str, phase.setting.shim_addresses)) == ["192.0.2.250"]
    assert endpoints(lab) == {"endpoint1": ["192.0.2.21/24"], "endpoint2": ["192.0.2.22/24"]}
    assert notes == [CALLED]


@pytest.mark.parametrize(("mode", "number"), [("l2", 1), ("l3", 2), ("l3s", 3)])
def test_the_link_alone(mode: str, number: int) -> None:
    """Its address gives the subnet, and its gateway is the parent's."""
    lab, notes = read(iv0=IV.format(number, "address1=192.0.2.250/24\ngateway=192.0.2.254\n"))
    assert lab.phases[0].setting.mode == mode
    assert list(map(str, lab.parents[0].gateway)) == ["192.0.2.254"]
    assert endpoints(lab) == {"endpoint1": ["192.0.2.1/24"]}
    assert notes == [
        "no route out of iv0 leads to an endpoint; endpoint1 at 192.0.2.1 is an example",
        "the host's address on eth0 is in no file; 192.0.2.2 is a free one",
        CALLED,
    ]


def test_a_parent_by_uuid_and_a_vlan() -> None:
    vlan = (
        "[connection]\nid=v\nuuid=8e7c4e0c-0bb0-7ffb-45f1-d6edd65f3e03\ntype=vlan\ninterface-name=lan30\n"
        "[vlan]\nflags=1\nid=30\nparent=5fb06bd0-0bb0-7ffb-45f1-d6edd65f3e03\n"
        "[ipv6]\nmethod=manual\naddress1=2001:db8:30::2/64\ngateway=2001:db8:30::1\n"
    )
    iv = IV.format(3, "").replace("parent=eth0", "parent=8e7c4e0c-0bb0-7ffb-45f1-d6edd65f3e03")
    lab, notes = read(a=vlan, b=iv, c=ETH0)
    eth0, lan30 = lab.parents
    assert (eth0.name, lan30.name, lan30.link, lan30.vlan) == ("eth0", "lan30", "eth0", 30)
    assert list(map(str, lan30.gateway)) == ["2001:db8:30::1"]
    assert endpoints(lab) == {"endpoint1": ["2001:db8:30::3/64"]}
    assert "iv0, the host's link on lan30, is called shim1" in notes


@pytest.mark.parametrize(("written", "metric"), [("", None), (",0", None), (",50", 50)])
def test_a_default_route_and_its_metric(written: str, metric: int | None) -> None:
    parent = ETH0.replace("/24,192.0.2.1", f"/24\nroute1=0.0.0.0/0,192.0.2.1{written}")
    (on,) = FORMAT.read([Source("a", parent), Source("b", IV.format(1, ""))]).parents
    assert [(str(to.via), to.dev, to.metric) for to in on.routes] == [("192.0.2.1", "eth0", metric)]


def test_what_is_noted() -> None:
    parent = ETH0.replace("interface-name=eth0\n", "").replace("method=manual", "method=auto")
    iv = IV.format("1\ntap=true", "route1=10.0.0.0/8,192.0.2.9\nroute-metric=50\n[tc]\n")
    _, notes = read(a=parent, b=iv)
    assert notes == [
        "a:1: `interface-name` is not there; eth0 is an example",
        "a:6: what auto gives eth0 is left out",
        "b:8: tap is left out",
        "b:13: [tc] is left out",
        "b:11: this route of the host is left out",
        "no route out of iv0 leads to an endpoint; endpoint1 at 192.0.2.2 is an example",
        CALLED,
    ]


def test_only_keyfiles_are_recognised() -> None:
    assert recognises(ETH0)
    assert not recognises("[Match]\nName=eth0\n")


WRONG = {
    "no mode": (
        {"a": IV.replace("mode={}\n", "").format("")},
        "a:1: `mode` is missing",
        "add `mode=` in [ipvlan]",
    ),
    "a mode in letters": ({"a": IV.format("l2", "")}, "a:7: mode: invalid mode 'l2'", "choose from 1 to 3"),
    "both flags": (
        {"a": IV.format("1\nprivate=true\nvepa=true", "")},
        "a:9: vepa: a link has one flag",
        "leave private or vepa out",
    ),
    "a uuid of no file": (
        {"a": IV.format(1, "").replace("parent=eth0", "parent=8e7c4e0c-0bb0-7ffb-45f1-d6edd65f3e03")},
        "a:6: parent: the connection with this uuid is in no file",
        "give its file too",
    ),
    "no type": ({"a": "[connection]\nid=iv\n"}, "a:1: `type` is missing", "add `type=` in [connection]"),
    "no link": ({"a": ETH0}, "no ipvlan link and no VLAN is in these files", "add the file that creates one"),
    "an old address": (
        {"a": IV.format(1, "addresses1=192.0.2.9;24;192.0.2.1;\n")},
        "a:10: addresses1: invalid address '192.0.2.9;24;192.0.2.1;'",
        "write it like 192.0.2.1 or 2001:db8::1",
    ),
    "a metric": (
        {"a": IV.format(1, "route1=0.0.0.0/0,192.0.2.1,low\n")},
        "a:10: route1: invalid metric 'low'",
        "write a number",
    ),
    "a table": (
        {"a": IV.format(1, "route-table=7\n")},
        "a:10: route-table: a lab's host has one routing table",
        "leave route-table out",
    ),
    "a route in a table": (
        {"a": IV.format(1, "route1=10.0.0.0/8\nroute1_options=mtu=1400,table=7\n")},
        "a:11: route1_options: a lab's host has one routing table",
        "leave route1_options out",
    ),
    "a bond": (
        {"a": IV.format(1, ""), "b": ETH0.replace("id=lan", "id=lan\nmaster=bond0")},
        "b:3: master: a port of a bond or a bridge cannot be a parent",
        "leave master out",
    ),
    "a link twice": (
        {"a": IV.format(1, ""), "b": IV.format(1, "")},
        "b:1: iv0 is in a:1 too",
        "one connection of a link is active: leave the other one out",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_refused_with_its_place(what: str) -> None:
    files, message, hint = WRONG[what]
    with pytest.raises(UsageError) as caught:
        read(**files)
    assert (caught.value.message, caught.value.hint) == (message, hint)


def test_the_files_are_for_root_only_and_nmcli_adds_the_same() -> None:
    lab = load(gallery.text("host-shim"), "host-shim")
    written = FORMAT.written(of_phase(lab, lab.phases[4]))
    assert {file.mode for file in written.files} == {0o600}
    assert written.activation == (
        "nmcli connection load /etc/NetworkManager/system-connections/ipvkit-eth0.nmconnection",
        "nmcli connection up ipvkit-eth0",
        "nmcli connection load /etc/NetworkManager/system-connections/ipvkit-shim.nmconnection",
        "nmcli connection up ipvkit-shim",
        "# or: nmcli connection add type ipvlan con-name ipvkit-shim ifname shim ipvlan.parent eth0"
        " ipvlan.mode 1 ipvlan.private true ipv4.method manual ipv4.addresses 192.168.104.253/32"
        " ipv4.routes 192.168.104.211/32,192.168.104.212/32 ipv4.route-metric 0"
        " ipv6.method link-local ipv6.addr-gen-mode eui64",
    )
    assert written.remove == ("nmcli connection down ipvkit-shim",)


def test_a_bond_is_refused() -> None:
    text = gallery.text("bond-parent").replace("mode: l2", "mode: l2\n    host-shim: true", 1)
    lab = load(text, "bond-parent")
    with pytest.raises(UsageError, match="NetworkManager cannot say bond0, a bond, without its ports"):
        FORMAT.written(of_phase(lab, lab.phases[0]))


def test_a_fix_leaves_the_parents_connection_alone(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["explain", "host", "test1", "host-shim", "--phase", "without", "--fix-as", "networkmanager"]
    assert main(asked) == 0
    shown = capsys.readouterr().out
    assert "nmcli connection up ipvkit-shim" in shown
    assert "ipvkit-eth0" not in shown
