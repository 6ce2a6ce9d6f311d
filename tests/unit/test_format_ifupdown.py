"""Stanzas of /etc/network/interfaces as people write them: what is deployed, what is noted, what is wrong."""

import pytest

from ipvkit.core.errors import InvalidLab, UsageError
from ipvkit.formats.deployment import lab_of, of_phase
from ipvkit.formats.ifupdown import FORMAT, recognises
from ipvkit.lab import Lab, gallery
from ipvkit.lab.fields import Source
from ipvkit.lab.format import load

ETH0 = (
    "auto eth0\nallow-hotplug eth0\niface eth0 inet static\n"
    "    address 192.0.2.10/24\n    gateway 192.0.2.1\n"
)
CALLED = "iv0, the host's link on eth0, is called shim"


def read(*texts: str) -> tuple[Lab, list[str]]:
    """Return the lab of files, and its notes."""
    lab, notes = lab_of(FORMAT.read([Source(f"file{i}", text) for i, text in enumerate(texts, 1)]))
    return lab, list(notes)


def endpoints(lab: Lab) -> dict[str, list[str]]:
    return {each.name: list(map(str, each.addresses)) for each in lab.endpoints}


def test_a_stanza_that_creates_the_link() -> None:
    stanza = (
        "# a comment\nauto iv0\niface iv0 inet static\n"
        "  pre-up ip link add $IFACE link eth0 type ipvlan mode l3s private || true\n"
        "  address 192.0.2.250\n  netmask 255.255.255.255\n"
        "  post-up /sbin/ip route add 192.0.2.21/32 \\\n    dev ${IFACE}\n"
        "  up ip r add 192.0.2.22 dev iv0 2>/dev/null || :\n"
        "  post-down ip link del iv0\n"
        "iface iv0 inet6 static\n  address 2001:db8::250\n  netmask 128\n"
    )
    lab, notes = read(ETH0, stanza)
    (parent,), (phase,) = lab.parents, lab.phases
    assert (parent.name, list(map(str, parent.host))) == ("eth0", ["192.0.2.10/24"])
    assert list(map(str, parent.gateway)) == ["192.0.2.1"]
    assert str(phase.setting) == "ipvlan in l3s mode, flag private, host shim"
    assert list(map(str, phase.setting.shim_addresses)) == ["192.0.2.250", "2001:db8::250"]
    assert endpoints(lab) == {"endpoint1": ["192.0.2.21/24"], "endpoint2": ["192.0.2.22/24"]}
    assert notes == [CALLED]


def test_commands_on_one_line() -> None:
    lab, notes = read(
        "iface iv0 inet static\n  address 192.0.2.250/24\n  up ip link set iv0 up; iptables -F\n"
        "  pre-up ip link add iv0 link eth0 type ipvlan mode l2 || /bin/true && ip link set iv0 up\n"
    )
    assert str(lab.phases[0].setting) == "ipvlan in l2 mode, flag bridge, host shim"
    assert notes[0] == "file1:3: `ip link set iv0 up; iptables -F` is left out"


def test_what_is_left_out_is_shown_where_no_link_is() -> None:
    with pytest.raises(InvalidLab) as caught:
        read("iface iv0 inet manual\n  pre-up ip link add iv0 link $(uplink) type ipvlan\n")
    left_out = "file1:2: `ip link add iv0 link $(uplink) type ipvlan` is left out"
    assert caught.value.hint == f"{left_out}; add the file that creates one"


def test_commands_in_the_parents_stanza() -> None:
    """Without a mode the kernel creates a link in l3."""
    lab, notes = read(
        f"{ETH0}    post-up ip link add link eth0 name iv0 type ipvlan\n"
        "    post-up ip addr add 192.0.2.250/32 dev iv0\n    post-up ip link set iv0 up\n"
        "    post-up ip route add 192.0.2.192/27 dev iv0\n    mtu 9000\n"
        "    up iptables -A FORWARD -j ACCEPT; true\n"
    )
    assert str(lab.phases[0].setting) == "ipvlan in l3 mode, flag bridge, host shim"
    assert endpoints(lab) == {"endpoint1": ["192.0.2.193/24"]}
    assert notes == [
        "file1:10: mtu is left out",
        "file1:11: `iptables -A FORWARD -j ACCEPT; true` is left out",
        "file1:9: the route to 192.0.2.192/27 names no single endpoint;"
        " endpoint1 at 192.0.2.193 is an example",
        CALLED,
    ]


def test_vlans() -> None:
    """Ifup creates one that is called LINK.TAG, or has an option for its link; commands do too."""
    lab, _ = read(
        f"{ETH0}iface eth0.30 inet static\n  address 10.30.0.2/24\n"
        "iface vlan40 inet static\n  vlan-raw-device eth0\n  address 10.40.0.2/24\n"
        "iface lan50 inet static\n  pre-up ip link add link eth0 name lan50 type vlan id 50\n"
        "  address 10.50.0.2/24\n  gateway 10.50.0.1\n  metric 700\n"
    )
    found = {parent.name: (parent.link, parent.vlan) for parent in lab.parents}
    assert found == {
        "eth0": (None, None),
        "eth0.30": ("eth0", 30),
        "vlan40": ("eth0", 40),
        "lan50": ("eth0", 50),
    }
    assert list(endpoints(lab).values()) == [["10.30.0.1/24"], ["10.40.0.1/24"], ["10.50.0.3/24"]]


def test_a_command_creates_a_link_that_is_called_as_a_vlan() -> None:
    command = "  pre-up ip link add eth0.30 link eth0 type vlan id 31\n"
    lab, _ = read(f"{ETH0}iface eth0.30 inet static\n{command}  address 10.30.0.2/24\n")
    assert [(parent.link, parent.vlan) for parent in lab.parents] == [(None, None), ("eth0", 31)]


def test_what_is_noted() -> None:
    _, notes = read(
        "source /etc/network/interfaces.d/*\niface lo inet loopback\n"
        "iface eth0 inet dhcp\n  dns-nameservers 9.9.9.9\n  bond-master bond0\n"
        "iface iv0 inet static\n  address 192.0.2.250/24\n"
        "  pre-up ip link add iv0 link eth0 type ipvlan mode l2\n"
        "  up ip route add 10.0.0.0/8 via 192.0.2.9\n  up ip route add default dev iv0\n"
        "  up ip link set iv0 netns blue\n  pre-up ip link add mv0 link eth0 type macvlan\n"
        "mapping eth1\n  script /bin/x\n"
    )
    assert notes == [
        "file1:1: source is left out",
        "file1:13: mapping is left out",
        "file1:3: what dhcp gives eth0 is left out",
        "file1:5: bond-master is left out",
        "file1:9: `ip route add 10.0.0.0/8 via 192.0.2.9` is left out",
        "file1:10: `ip route add default dev iv0` is left out",
        "file1:11: `ip link set iv0 netns blue` is left out",
        "file1:12: `ip link add mv0 link eth0 type macvlan` is left out",
        "no route out of iv0 leads to an endpoint; endpoint1 at 192.0.2.1 is an example",
        "the gateway's address on eth0 is in no file; 192.0.2.2 is a free one",
        "the host's address on eth0 is in no file; 192.0.2.3 is a free one",
        CALLED,
    ]


def test_only_stanzas_are_recognised() -> None:
    assert recognises(ETH0)
    assert not recognises("auto eth0\n# iface\n")
    assert not recognises("parent: iface\n")


IV = "iface iv0 inet manual\n  pre-up ip link add iv0 link eth0 type ipvlan mode l2\n"
WRONG = {
    "an option first": (
        "address 192.0.2.1/24\n",
        "file1:1: address: an option before any stanza",
        "begin with `iface NAME inet static`",
    ),
    "no link": (
        ETH0,
        "no ipvlan link and no VLAN is in these files",
        "add the file that creates one",
    ),
    "a mode": (
        ETH0 + IV.replace("l2", "l4"),
        "file1:7: pre-up: unknown value 'l4'",
        "choose from l2, l3, l3s",
    ),
    "a tag": (
        "iface lan inet manual\n  vlan-raw-device eth0\n",
        "file1:2: vlan-raw-device: invalid VLAN ''",
        "choose from 1 to 4094",
    ),
    "an address": (
        IV + "  up ip addr add 192.0.2.300/32 dev iv0\n",
        "file1:3: up: invalid address '192.0.2.300'",
        "write it like 192.0.2.1 or 2001:db8::1",
    ),
    "a netmask": (
        "iface eth0 inet static\n  address 192.0.2.1\n  netmask 255.0.255.0\n",
        "file1:3: netmask: invalid network '0.0.0.0/255.0.255.0'",
        "write it like 192.0.2.0/24, or default",
    ),
    "no address of the parent": (
        IV,
        "file1:1: no address and no subnet of eth0 is in these files",
        "add the file with an address of it, or write one in place of DHCP",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_refused_with_its_place(what: str) -> None:
    text, message, hint = WRONG[what]
    with pytest.raises(UsageError) as caught:
        read(text)
    assert (caught.value.message, caught.value.hint) == (message, hint)


def test_what_is_written() -> None:
    """A VLAN by another name than LINK.TAG is created by a command."""
    text = (
        gallery.text("vlan-parent")
        .replace("eth0.100", "lan")
        .replace("mode: l2\n", "mode: l2\n    host-shim: true\n", 1)
    )
    lab = load(text, "vlan-parent")
    written = FORMAT.written(of_phase(lab, lab.phases[0]))
    files = {file.path.rpartition("/")[2]: file.text for file in written.files}
    assert list(files) == ["ipvkit-0-eth0", "ipvkit-2-shim", "ipvkit-1-lan", "ipvkit-2-shim1"]
    assert files["ipvkit-1-lan"] == (
        "auto lan\niface lan inet static\n    pre-up ip link add lan link eth0 type vlan id 100\n"
        "    address 10.100.0.110/24\n    gateway 10.100.0.254\n    metric 101\n"
        "    post-down ip link delete lan\n"
    )
    assert files["ipvkit-2-shim1"] == (
        "auto shim1\niface shim1 inet manual\n    pre-up ip link add shim1 link lan type ipvlan mode l2\n"
        "    up ip addr add 10.100.0.253/32 dev shim1\n    up ip route add 10.100.0.211/32 dev shim1\n"
        "    post-down ip link delete shim1\n"
    )
    assert written.activation == ("ifup eth0", "ifup shim", "ifup lan", "ifup shim1")
    assert written.remove == ("ifdown shim1", "ifdown lan", "ifdown shim")
