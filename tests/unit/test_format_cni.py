"""CNI configurations as people have them: what is read of each, and what is wrong or ignored, in a line."""

import json
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any

import pytest

from ipvkit.core.errors import InvalidLab
from ipvkit.formats.cni import FORMAT
from ipvkit.formats.deployment import DEFAULTS, Deployment
from ipvkit.lab import Setting
from ipvkit.lab.fields import Source
from ipvkit.lab.parts import Route

STATIC = {"type": "static", "addresses": [{"address": "10.5.0.11/24", "gateway": "10.5.0.1"}]}
LAN: dict[str, Any] = {
    "cniVersion": "1.0.0",
    "name": "lan",
    "type": "ipvlan",
    "master": "eth0",
    "mode": "l3",
    "ipam": STATIC,
}


def read(*configurations: Any) -> Deployment:
    """Return what is read of files with these configurations, each on one line."""
    texts = (each if isinstance(each, str) else json.dumps(each) for each in configurations)
    return FORMAT.read([Source(f"{number}.conf", text) for number, text in enumerate(texts)])


def without(key: str) -> dict[str, Any]:
    return {name: value for name, value in LAN.items() if name != key}


def test_a_route_without_a_gateway_gets_that_of_the_address() -> None:
    routes = [{"dst": "0.0.0.0/0"}, {"dst": "10.9.0.0/16", "gw": "10.5.0.2"}, {"dst": "2001:db8::/32"}]
    (on,) = read({**LAN, "mtu": 1400, "ipam": {**STATIC, "routes": routes}}).parents
    assert (on.parent.name, on.setting) == ("eth0", Setting("l3"))
    (endpoint,) = on.endpoints
    assert (endpoint.name, endpoint.dev, endpoint.mtu) == ("lan", "eth0", 1400)
    assert endpoint.addresses == (ip_interface("10.5.0.11/24"),)
    assert endpoint.routes == (
        Route(DEFAULTS["ipv4"], ip_address("10.5.0.1")),
        Route(ip_network("10.9.0.0/16"), ip_address("10.5.0.2")),
        Route(ip_network("2001:db8::/32")),
    )


def test_without_a_mode_it_is_l2() -> None:
    (on,) = read(without("mode")).parents
    assert on.setting == Setting("l2")


def test_of_a_list_the_plugin_is_read_and_the_others_are_noted() -> None:
    own = {key: value for key, value in LAN.items() if key not in ("cniVersion", "name")}
    found = read(
        {
            "cniVersion": "0.3.1",
            "name": "pods",
            "plugins": [own, {"type": "tuning", "sysctl": {}}, {"type": "portmap"}],
        }
    )
    assert [endpoint.name for endpoint in found.endpoints] == ["pods"]
    assert found.notes == (
        "0.conf:1: what the plugin tuning changes is left out",
        "0.conf:1: what the plugin portmap changes is left out",
    )


def test_host_local_gives_the_first_addresses_of_each_range_but_the_gateway() -> None:
    ranges = [[{"subnet": "10.5.0.0/24"}], [{"subnet": "fd00:5::/64", "rangeStart": "fd00:5::20"}]]
    found = read({**LAN, "ipam": {"type": "host-local", "ranges": ranges, "routes": [{"dst": "::/0"}]}})
    assert [(e.name, *map(str, e.addresses)) for e in found.endpoints] == [
        ("lan-1", "10.5.0.2/24", "fd00:5::20/64"),
        ("lan-2", "10.5.0.3/24", "fd00:5::21/64"),
    ]
    assert found.endpoints[0].routes == (Route(DEFAULTS["ipv6"], ip_address("fd00:5::1")),)
    assert found.notes == ("0.conf:1: addresses are given at run time; lan-1 and lan-2 are examples",)


def test_a_flag_is_ignored_as_the_plugin_ignores_it() -> None:
    found = read({**LAN, "flag": "private"})
    assert found.parents[0].setting == Setting("l3")
    assert found.notes == ("0.conf:1: the plugin ignores `flag`",)


NAD = """\
apiVersion: k8s.cni.cncf.io/v1
kind: NetworkAttachmentDefinition
metadata:
  name: {name}
spec:
  config: |
    {config}
"""


def test_definitions_of_multus_are_read_one_or_many() -> None:
    both = (
        json.dumps({**without("name"), "ipam": {**STATIC, "addresses": [{"address": a}]}})
        for a in ("10.5.0.11/24", "10.5.0.12/24")
    )
    text = "---\n".join(NAD.format(name=name, config=one) for name, one in zip("ab", both, strict=True))
    found = read(text)
    assert [(e.name, str(e.addresses[0])) for e in found.endpoints] == [
        ("a", "10.5.0.11/24"),
        ("b", "10.5.0.12/24"),
    ]


def test_the_line_in_a_definition_is_that_of_the_file() -> None:
    text = NAD.format(name="lan", config='{"cniVersion": "1.0.0",\n     "type": "macvlan"}')
    with pytest.raises(InvalidLab) as caught:
        read(text)
    assert caught.value.message == "0.conf:8: type: plugin macvlan is not ipvlan"


def test_what_is_not_of_the_plugin_is_left_out_where_something_is() -> None:
    bridge = {"cniVersion": "1.0.0", "name": "pods", "plugins": [{"type": "bridge"}]}
    pod = "kind: Pod\nmetadata: {name: web}\n---\n"
    found = read(bridge, pod + NAD.format(name="other", config=json.dumps(without("name"))), LAN)
    assert [endpoint.name for endpoint in found.endpoints] == ["other", "lan"]
    assert found.notes == (
        "0.conf:1: type: plugin bridge is not ipvlan: it is left out",
        "1.conf:1: kind: unknown kind Pod: it is left out",
    )
    with pytest.raises(InvalidLab, match=r"^error: 0\.conf:1: type: plugin bridge is not ipvlan"):
        read(bridge, pod)


def with_ipam(**ipam: Any) -> dict[str, Any]:
    return {**LAN, "ipam": ipam}


WRONG = {
    "CNI configuration: `name` is missing": without("name"),
    "CNI configuration: `type` is missing": without("type"),
    "CNI configuration: `master` is missing": without("master"),
    "CNI configuration: `ipam` is missing": without("ipam"),
    "mode: unknown value 'l4'": {**LAN, "mode": "l4"},
    "mtu: invalid MTU '70000'": {**LAN, "mtu": 70000},
    "type: ipam dhcp: its addresses are in no file": with_ipam(type="dhcp"),
    "type: ipam whereabouts: its addresses are in no file": with_ipam(
        type="whereabouts", range="10.5.0.0/24"
    ),
    "ipam: `type` is missing": with_ipam(subnet="10.5.0.0/24"),
    "ipam: `addresses` is missing": with_ipam(type="static"),
    "ipam: `ranges` is missing": with_ipam(type="host-local", ranges=[]),
    "subnet: 10.5.0.0/31 is too small": with_ipam(type="host-local", subnet="10.5.0.0/31"),
    "rangeStart: 10.6.0.1 is not in 10.5.0.0/24": with_ipam(
        type="host-local", subnet="10.5.0.0/24", rangeStart="10.6.0.1"
    ),
    "plugins: at least one is needed": {"cniVersion": "1.0.0", "name": "lan", "plugins": []},
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_has_its_line_and_key(what: str) -> None:
    with pytest.raises(InvalidLab) as caught:
        read(WRONG[what])
    assert caught.value.message == f"0.conf:1: {what}"
    assert caught.value.hint


def test_networks_of_one_parent_have_one_mode() -> None:
    other = {
        **LAN,
        "name": "other",
        "mode": "l2",
        "ipam": {**STATIC, "addresses": [{"address": "10.5.0.12/24"}]},
    }
    with pytest.raises(InvalidLab) as caught:
        read(LAN, other)
    assert caught.value.message == (
        "lan is ipvlan in l3 mode, flag bridge, and other is ipvlan in l2 mode, flag bridge, both on eth0"
    )
