"""Podman's networks and quadlets as people have them: the endpoints that they create, and the errors."""

import json
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any

import pytest

from ipvkit.core.errors import InvalidLab, UsageError
from ipvkit.formats.deployment import DEFAULTS, Deployment, lab_of, on_parent
from ipvkit.formats.podman import FORMAT, recognises
from ipvkit.lab import Endpoint, Setting
from ipvkit.lab.fields import Source
from ipvkit.lab.parts import Route

GATEWAY = ip_address("192.168.104.254")
LAN: dict[str, Any] = {
    "name": "lan",
    "id": "5d7a" * 16,
    "driver": "ipvlan",
    "network_interface": "eth0",
    "created": "2025-11-02T10:00:00Z",
    "subnets": [{"subnet": "192.168.104.0/24", "gateway": "192.168.104.254"}],
    "ipv6_enabled": False,
    "internal": False,
    "dns_enabled": False,
    "options": {"mode": "l3"},
    "ipam_options": {"driver": "host-local"},
}
"""What `podman network inspect` prints of a network, and what /etc/containers/networks/lan.json has."""

NETWORK = """\
[Unit]
Description=Containers on the LAN

[Network]
NetworkName=lan
Driver=ipvlan
Options=parent=eth0
Options=mode=l3
Subnet=192.168.104.0/24
Gateway=192.168.104.254
"""
WEB = "[Container]\nContainerName=web\nImage=quay.io/a/web\nNetwork=lan.network:ip=192.168.104.211\n"


def read(*texts: str, names: Sequence[str] = ("lan.network", "web.container", "db.container")) -> Deployment:
    return FORMAT.read([Source(*each) for each in zip(names, texts, strict=False)])


def inspected(**changes: Any) -> Deployment:
    """Return what is read of the network of a file, with `changes`; None stands for a missing key."""
    changed = {key: value for key, value in {**LAN, **changes}.items() if value is not None}
    return FORMAT.read([Source("lan.json", json.dumps(changed, indent=1))])


def endpoints(deployment: Deployment) -> dict[str, tuple[str, list[str], list[str]]]:
    """Return the link, the addresses and the routes of each endpoint by its name, as text."""
    return {
        each.name: (
            each.dev,
            [str(own) for own in each.addresses],
            [f"{route.to} via {route.via}" for route in each.routes or ()],
        )
        for each in deployment.endpoints
    }


def test_a_network_of_a_file_has_two_examples() -> None:
    deployment = inspected()
    (on,) = deployment.parents
    assert (on.parent.name, on.setting, on.parent.gateway) == ("eth0", Setting("l3"), (GATEWAY,))
    default = ["0.0.0.0/0 via 192.168.104.254"]
    assert endpoints(deployment) == {
        "lan-1": ("eth0", ["192.168.104.1/24"], default),
        "lan-2": ("eth0", ["192.168.104.2/24"], default),
    }
    assert deployment.notes == ("lan.json:1: no container is on network lan; for example, lan-1 and lan-2",)


def test_containers_are_those_that_inspect_lists() -> None:
    interface = {
        "subnets": [
            {"ipnet": "192.168.104.211/24", "gateway": "192.168.104.254"},
            {"ipnet": "2001:db8:104::211/64", "gateway": "2001:db8:104::1"},
        ],
        "mac_address": "02:00:00:00:00:01",
    }
    text = json.dumps(
        [
            {**LAN, "name": "podman", "driver": "bridge", "network_interface": "podman0"},
            {
                **LAN,
                "subnets": [*LAN["subnets"], {"subnet": "2001:db8:104::/64", "gateway": "2001:db8:104::1"}],
                "containers": {"91f3": {"name": "web", "interfaces": {"eth1": interface}}},
            },
        ],
        indent=4,
    )
    deployment = FORMAT.read([Source("inspect.json", text)])
    assert endpoints(deployment) == {
        "web": (
            "eth1",
            ["192.168.104.211/24", "2001:db8:104::211/64"],
            ["0.0.0.0/0 via 192.168.104.254", "::/0 via 2001:db8:104::1"],
        )
    }
    assert deployment.notes == ()


@pytest.mark.parametrize(
    ("changes", "routes"),
    [
        ({"subnets": [{"subnet": "192.168.104.0/24"}]}, ["0.0.0.0/0 via 192.168.104.1"]),
        ({"internal": True}, []),
        ({"internal": True, "subnets": [{"subnet": "192.168.104.0/24", "gateway": None}]}, []),
        ({"options": {"no_default_route": "true"}}, []),
        ({"options": {"no_default_route": "false"}}, ["0.0.0.0/0 via 192.168.104.254"]),
        (
            {
                "internal": True,
                "routes": [
                    {"destination": "198.51.100.0/24", "gateway": "192.168.104.1"},
                    {"destination": "10.0.0.0/8", "gateway": "192.168.104.2", "metric": 5},
                ],
            },
            ["198.51.100.0/24 via 192.168.104.1", "10.0.0.0/8 via 192.168.104.2"],
        ),
        # The first gateway of a family is that of the default route.
        (
            {
                "subnets": [
                    {"subnet": "10.1.0.0/16", "gateway": "10.1.0.9"},
                    {"subnet": "10.2.0.0/16", "gateway": "10.2.0.9"},
                    {"subnet": "fd00:5::/64"},
                ]
            },
            ["0.0.0.0/0 via 10.1.0.9", "::/0 via fd00:5::1"],
        ),
    ],
)
def test_routes_are_via_gateways(changes: dict[str, Any], routes: list[str]) -> None:
    assert {tuple(found) for _, _, found in endpoints(inspected(**changes)).values()} == {tuple(routes)}


@pytest.mark.parametrize(
    ("subnet", "addresses"),
    [
        ({"subnet": "10.0.0.0/24"}, ["10.0.0.2", "10.0.0.3"]),
        ({"subnet": "10.0.0.7/24", "gateway": "10.0.0.254"}, ["10.0.0.1", "10.0.0.2"]),
        ({"subnet": "10.0.0.0/24", "gateway": "10.0.0.2"}, ["10.0.0.1", "10.0.0.3"]),
        (
            {"subnet": "10.0.0.0/24", "lease_range": {"start_ip": "10.0.0.9", "end_ip": "10.0.0.12"}},
            ["10.0.0.9", "10.0.0.10"],
        ),
        ({"subnet": "10.0.0.0/24", "lease_range": {"start_ip": "10.0.0.0"}}, ["10.0.0.2", "10.0.0.3"]),
        ({"subnet": "10.0.0.0/24", "lease_range": {"start_ip": "10.0.0.254"}}, ["10.0.0.254"]),
        ({"subnet": "10.0.0.0/30"}, ["10.0.0.2"]),
        ({"subnet": "fd00:5::/64"}, ["fd00:5::2", "fd00:5::3"]),
        ({"subnet": "fd00:5::/126"}, ["fd00:5::2", "fd00:5::3"]),
        ({"subnet": "10.0.0.0/30", "gateway": "10.0.0.3"}, ["10.0.0.1", "10.0.0.2"]),
    ],
)
def test_containers_get_the_next_free_addresses(subnet: dict[str, Any], addresses: list[str]) -> None:
    found = [own.ip for each in inspected(subnets=[subnet]).endpoints for own in each.addresses]
    assert found == [*map(ip_address, addresses)]


def test_quadlets_of_a_network_and_containers() -> None:
    db = "[Container]\nImage=quay.io/a/db\nNetwork=lan.network\n"
    cache = "[Container]\nContainerName=%p-1\nImage=quay.io/a/cache\nNetwork=lan\nIP=192.168.104.1\n"
    names = ["lan.network", "web.container", "db.container", "cache.container"]
    deployment = read(NETWORK, WEB, db, cache, names=names)
    default = ["0.0.0.0/0 via 192.168.104.254"]
    assert endpoints(deployment) == {
        "web": ("eth0", ["192.168.104.211/24"], default),
        "systemd-db": ("eth0", ["192.168.104.2/24"], default),
        "cache-1": ("eth0", ["192.168.104.1/24"], default),
    }
    assert [on.setting for on in deployment.parents] == [Setting("l3")]
    assert deployment.notes == (
        "db.container:3: systemd-db gets an address at run time; 192.168.104.2 is the next free one",
    )


def test_two_families_a_range_and_an_mtu() -> None:
    network = """\
[Network]
Driver=ipvlan
Options=parent=eth0.30 mode=l3s \\
# the path has a tunnel
  mtu=1400
IPv6=true
Subnet=192.168.104.0/24
Subnet=2001:db8:104::/64
Gateway=192.168.104.254
Gateway=2001:db8:104::fe
IPRange=192.168.104.128/25
IPRange=2001:db8:104::1:0-2001:db8:104::1:ffff
Label=app=shop
DisableDNS=true
"""
    both = "[Container]\nNetwork=lan.network:ip=192.168.104.9,ip6=2001:db8:104::9,alias=w\n"
    four = "[Container]\nNetwork=lan.network\nIP=192.168.104.8\n"
    deployment = read(network, both, four)
    (on,) = deployment.parents
    assert (on.parent.name, on.parent.link, on.parent.vlan, on.setting) == (
        "eth0.30",
        "eth0",
        30,
        Setting("l3s"),
    )
    assert {each.mtu for each in deployment.endpoints} == {1400}
    default = ["0.0.0.0/0 via 192.168.104.254", "::/0 via 2001:db8:104::fe"]
    assert endpoints(deployment) == {
        "systemd-web": ("eth0", ["192.168.104.9/24", "2001:db8:104::9/64"], default),
        "systemd-db": ("eth0", ["192.168.104.8/24", "2001:db8:104::1:0/64"], default),
    }
    assert deployment.notes == (
        "db.container:2: systemd-db gets an address at run time; 2001:db8:104::1:0 is the next free one",
    )


@pytest.mark.parametrize(
    ("given", "addresses"),
    [
        ("192.168.104.128/25", ["192.168.104.129/24", "192.168.104.130/24"]),
        ("192.168.104.26/32", ["192.168.104.26/24"]),
        ("192.168.104.7-192.168.104.9", ["192.168.104.7/24", "192.168.104.8/24"]),
    ],
)
def test_a_range_is_a_cidr_or_two_addresses(given: str, addresses: list[str]) -> None:
    found = [str(own) for each in read(f"{NETWORK}IPRange={given}\n").endpoints for own in each.addresses]
    assert found == addresses


@pytest.mark.parametrize(
    "line",
    ["--route=198.51.100.0/24,192.168.104.1", "--route 198.51.100.0/24,192.168.104.1,200 --label x=y"],
)
def test_routes_in_podmans_arguments(line: str) -> None:
    deployment = read(f"{NETWORK}PodmanArgs={line}\n", WEB)
    assert endpoints(deployment)["web"][2] == [
        "0.0.0.0/0 via 192.168.104.254",
        "198.51.100.0/24 via 192.168.104.1",
    ]


def test_a_container_on_two_networks_and_a_pod() -> None:
    other = NETWORK.replace("NetworkName=lan", "NetworkName=back").replace("192.168.104.", "10.5.0.")
    both = "[Container]\nContainerName=db\nNetwork=lan.network:ip=192.168.104.5,interface_name=lan0\n"
    pod = "[Pod]\nPodName=shop\nNetwork=back.network:ip=10.5.0.7\n"
    app = "[Container]\nImage=quay.io/a/app\nPod=shop.pod\n"
    names = ["lan.network", "back.network", "db.container", "shop.pod", "app.container"]
    deployment = read(NETWORK, other, f"{both}Network=back.network\n", pod, app, names=names)
    assert [(each.netns, each.dev, str(each.addresses[0])) for each in deployment.endpoints] == [
        ("db", "lan0", "192.168.104.5/24"),
        ("db", "eth1", "10.5.0.1/24"),
        ("shop", "eth0", "10.5.0.7/24"),
    ]
    assert deployment.notes == (
        "db.container:4: Podman names the links of db in any order; eth1 is an example",
        "db.container:4: db gets an address at run time; 10.5.0.1 is the next free one",
    )


def test_a_drop_in_is_part_of_its_unit() -> None:
    text = "[Network]\nOptions=\nOptions=parent=eth1\n"
    names = ["/etc/containers/systemd/lan.network", "/etc/containers/systemd/lan.network.d/10-parent.conf"]
    (on,) = read(NETWORK, text, names=names).parents
    assert (on.parent.name, on.setting) == ("eth1", Setting("l2"))


def test_a_quadlet_can_be_on_a_network_in_json() -> None:
    deployment = read(json.dumps(LAN), WEB.replace("lan.network", "lan"), names=["lan.json", "web.container"])
    assert [*endpoints(deployment)] == ["web"]


@pytest.mark.parametrize(
    ("container", "note"),
    [
        (
            "[Container]\nNetwork=host\n",
            "web.container:1: systemd-web is on no ipvlan network in the files, and left out",
        ),
        (
            f"{WEB}Network=back.network\n",
            "web.container:5: back.network is not among the files; this link of web is left out",
        ),
        (
            f"{WEB[:-1]},ip=192.168.104.9\n",
            "web.container:4: Podman ignores 192.168.104.9: one address of a subnet",
        ),
    ],
)
def test_what_is_left_out_is_noted(container: str, note: str) -> None:
    assert note in read(NETWORK, container).notes


def test_options_that_netavark_ignores_are_noted() -> None:
    notes = inspected(options={"mode": "l2", "ipvlan_flag": "private"}).notes
    assert notes[0] == "lan.json:18: netavark ignores the option `ipvlan_flag`"


PODMANS = "choose from parent, mode, mtu, metric, no_default_route; a link has the flag bridge"


@pytest.mark.parametrize(
    ("old", "new", "message", "hint"),
    [
        (
            "Options=mode=l3",
            "Options=mode=l3 flag=private",
            "lan.network:8: flag: Podman refuses this option",
            PODMANS,
        ),
        (
            "Options=mode",
            "Options=ipvlan_mode",
            "lan.network:8: ipvlan_mode: Podman refuses this option",
            PODMANS,
        ),
        ("mode=l3", "mode=l4", "lan.network:8: mode: unknown value 'l4'", "choose from l2, l3, l3s"),
        (
            "parent=eth0",
            "parent=eth0,mode=l3",
            "lan.network:7: parent: invalid parent 'eth0,mode=l3'",
            "separate options with a space",
        ),
        (
            "Options=parent=eth0\n",
            "",
            "lan.network:6: network lan: the parent is missing",
            "Podman takes the link of the default route: name it",
        ),
        (
            "Subnet=192.168.104.0/24\nGateway=192.168.104.254\n",
            "",
            "lan.network:6: network lan: it has no addresses",
            "a subnet, and the ipam driver host-local, are needed",
        ),
        (
            "Subnet=192.168.104.0/24\n",
            "",
            "lan.network:9: Gateway: there are fewer subnets",
            "write a Subnet for each",
        ),
        (
            "Gateway=192.168.104.254",
            "Gateway=192.168.105.254",
            "lan.network:10: Gateway: 192.168.105.254 is not in 192.168.104.0/24",
            "use an address of the subnet",
        ),
        (
            "Gateway=",
            "IPRange=10.9.0.0/24\nGateway=",
            "lan.network:9: Subnet: the range is not in 192.168.104.0/24",
            "use addresses of the subnet",
        ),
        (
            "Gateway=",
            "IPRange=192.168.104.254/32\nGateway=",
            "lan.network:6: network lan has no free address in 192.168.104.0/24",
            "use a larger subnet or range",
        ),
        (
            "Subnet=192.168.104.0/24",
            "Subnet=192.168.104.0/31",
            "lan.network:9: Subnet: 192.168.104.0/31 has no address for a container",
            "use a larger subnet",
        ),
        (
            "Driver=",
            "PodmanArgs=--subnet 10.0.0.0/24\nDriver=",
            "lan.network:6: PodmanArgs: --subnet is not read",
            "write it as a key: Subnet=…",
        ),
        (
            "Driver=",
            "PodmanArgs=--label 'x\nDriver=",
            "lan.network:6: PodmanArgs: a quotation mark without another",
            "close the quotation",
        ),
        (
            "Subnet=",
            "Subnet:",
            "lan.network:9: neither `[Section]` nor `Key=value`",
            "write one of these on a line",
        ),
        (
            "NetworkName=lan",
            "NetworkName=-lan",
            "lan.network:5: NetworkName: invalid network name '-lan'",
            "use letters, digits and _ . -; the first is a letter or a digit",
        ),
        (
            "Driver=ipvlan",
            "Driver=macvlan",
            "lan.network: no ipvlan network is in the files",
            "give the .network file too: a folder stands for the files in it",
        ),
    ],
)
def test_errors_of_a_network_have_their_place(old: str, new: str, message: str, hint: str) -> None:
    assert old in NETWORK
    with pytest.raises(InvalidLab) as caught:
        read(NETWORK.replace(old, new))
    assert (caught.value.message, caught.value.hint) == (message, hint)


@pytest.mark.parametrize(
    ("container", "message", "hint"),
    [
        (
            "[Container]\nNetwork=lan.network\nIP=192.168.105.9\n",
            "web.container:3: IP: 192.168.105.9 is in no subnet of network lan",
            "use an address of 192.168.104.0/24",
        ),
        (
            "[Container]\nNetwork=lan.network:ip=192.168.104.9:ip6=fd00::9\n",
            "web.container:2: Network: invalid address '192.168.104.9:ip6=fd00::9'",
            "write it like 192.0.2.1 or 2001:db8::1",
        ),
        (
            f"{WEB}Network=host\nIP=192.168.104.9\n",
            "web.container:6: IP: Podman refuses it with several networks",
            "write Network=NAME:ip=…",
        ),
        (
            "[Container]\nPodmanArgs=--network=lan:ip=192.168.104.9\n",
            "web.container:2: PodmanArgs: --network is not read",
            "write it as a key: Network=…",
        ),
        (
            "[Container]\nContainerName=17\nNetwork=lan.network\n",
            "web.container:2: ContainerName: invalid network namespace name '17'",
            "ip reads it as a process ID",
        ),
    ],
)
def test_errors_of_a_container_have_their_place(container: str, message: str, hint: str) -> None:
    with pytest.raises(InvalidLab) as caught:
        read(NETWORK, container)
    assert (caught.value.message, caught.value.hint) == (message, hint)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": None}, "lan.json:1: Podman network: `name` is missing"),
        ({"network_interface": None}, "lan.json:1: network lan: the parent is missing"),
        ({"ipam_options": {"driver": "none"}}, "lan.json:1: network lan: it has no addresses"),
        ({"options": {"mtu": "1e3"}}, "lan.json:17: mtu: invalid MTU '1e3'"),
        ({"subnets": [{"gateway": "10.0.0.1"}]}, "lan.json:8: subnets[0]: `subnet` is missing"),
    ],
)
def test_errors_in_json_have_their_place(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidLab) as caught:
        inspected(**changes)
    assert caught.value.message == message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (json.dumps(LAN), True),
        (json.dumps([LAN], indent=2), True),
        (NETWORK, True),
        (WEB, True),
        ("[Pod]\nNetwork=lan.network\n", True),
        ('[{"Name": "lan", "Driver": "ipvlan", "IPAM": {}}]', False),
        ("[Match]\nName=eth0\n[Network]\nIPVLAN=iv0\n", False),
        ("[NetDev]\nName=iv0\nKind=ipvlan\n", False),
        ("networks:\n  lan:\n    driver: ipvlan\n", False),
    ],
)
def test_what_is_recognised(text: str, expected: bool) -> None:
    assert recognises(text) is expected


def written(*own: Endpoint, mode: str = "l3") -> dict[str, str]:
    """Return the last part of the path of each file that is written, with its text."""
    on = on_parent("eth0", Setting(mode), own)  # type: ignore[arg-type]
    files = FORMAT.written(Deployment("lab", (on,))).files
    return {file.path.rpartition("/")[2]: file.text for file in files}


WEB_ENDPOINT = Endpoint(
    "web",
    (ip_interface("192.168.104.211/24"), ip_interface("2001:db8:104::211/64")),
    "web",
    "",
    (Route(DEFAULTS["ipv4"], GATEWAY), Route(DEFAULTS["ipv6"], ip_address("2001:db8:104::fe"))),
    dev="eth0",
)


def test_a_gateway_of_each_family_is_one_of_the_network() -> None:
    other = replace(WEB_ENDPOINT, name="db", netns="db", addresses=(ip_interface("192.168.104.9/24"),))
    assert written(WEB_ENDPOINT, replace(other, dev="lan0", routes=(Route(DEFAULTS["ipv4"], GATEWAY),))) == {
        "eth0.network": """\
[Network]
NetworkName=eth0
Driver=ipvlan
Options=parent=eth0 mode=l3
Subnet=192.168.104.0/24
Gateway=192.168.104.254
Subnet=2001:db8:104::/64
Gateway=2001:db8:104::fe
""",
        "eth0-2.network": """\
[Network]
NetworkName=eth0-2
Driver=ipvlan
Options=parent=eth0 mode=l3
Subnet=192.168.104.0/24
Gateway=192.168.104.254
""",
        "web.container": """\
# A lab names no image: busybox stands for each.
[Container]
ContainerName=web
Image=docker.io/library/busybox
Exec=sleep infinity
Network=eth0.network:ip=192.168.104.211,ip6=2001:db8:104::211

[Install]
WantedBy=multi-user.target
""",
        "db.container": """\
# A lab names no image: busybox stands for each.
[Container]
ContainerName=db
Image=docker.io/library/busybox
Exec=sleep infinity
Network=eth0-2.network:ip=192.168.104.9,interface_name=lan0

[Install]
WantedBy=multi-user.target
""",
    }


@pytest.mark.parametrize(
    ("addresses", "routes"),
    [
        (["192.168.104.9/24", "2001:db8:104::9/64"], [("0.0.0.0/0", "192.168.104.254")]),
        (["192.168.104.9/24"], [("0.0.0.0/0", "10.0.0.1")]),
        (["192.168.104.9/24", "10.5.0.9/24"], [("0.0.0.0/0", "10.5.0.1")]),
        (["192.168.104.9/24"], []),
        (["192.168.104.9/24"], [("198.51.100.0/24", "192.168.104.254")]),
    ],
)
def test_other_routes_are_those_of_podmans_arguments(
    addresses: list[str], routes: list[tuple[str, str]]
) -> None:
    own = tuple(Route(ip_network(to), ip_address(via)) for to, via in routes)
    endpoint = replace(WEB_ENDPOINT, addresses=tuple(map(ip_interface, addresses)), routes=own)
    text = written(endpoint)["eth0.network"]
    assert "Options=parent=eth0 mode=l3 no_default_route=true\n" in text
    assert "Gateway" not in text
    assert [line for line in text.splitlines() if "--route" in line] == [
        f"PodmanArgs=--route={to},{via}" for to, via in routes
    ]


def test_two_links_of_a_container_are_on_two_networks_with_names() -> None:
    second = replace(
        WEB_ENDPOINT, name="web2", addresses=(ip_interface("192.168.104.9/24"),), dev="eth1", routes=()
    )
    files = written(WEB_ENDPOINT, second)
    assert [line for line in files["web.container"].splitlines() if line.startswith("Network")] == [
        "Network=eth0.network:ip=192.168.104.211,ip6=2001:db8:104::211,interface_name=eth0",
        "Network=eth0-2.network:ip=192.168.104.9,interface_name=eth1",
    ]
    same = written(WEB_ENDPOINT, replace(WEB_ENDPOINT, name="web2", dev="eth1"))
    assert [*same] == ["eth0.network", "eth0-2.network", "web.container"]


def test_a_network_and_a_container_have_different_services() -> None:
    files = written(replace(WEB_ENDPOINT, netns="eth0-network"))
    assert [*files] == ["eth0-2.network", "eth0-network.container"]


@pytest.mark.parametrize(
    ("changes", "message", "hint"),
    [
        (
            {"routes": (Route(DEFAULTS["ipv4"]),)},
            "Podman cannot say a route to 0.0.0.0/0 without a gateway of web",
            "give the route a gateway, as in `routes: [{to: default, via: 192.0.2.1}]`",
        ),
        (
            {"routes": (Route(DEFAULTS["ipv6"], ip_address("fe80::1")),)},
            "Podman cannot say a route via fe80::1 of web",
            "netavark names no link in a route: give the gateway a global address",
        ),
        (
            {"addresses": (ip_interface("192.168.104.9/24"), ip_interface("192.168.104.8/24"))},
            "Podman cannot say two addresses in one subnet of web",
            "a container has one address of each subnet",
        ),
        (
            {"netns": "a+b"},
            "Podman cannot say the container name a+b",
            "use letters, digits and _ . -; the first is a letter or a digit",
        ),
    ],
)
def test_what_podman_cannot_say_is_refused(changes: dict[str, Any], message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        written(replace(WEB_ENDPOINT, **changes))
    assert (caught.value.message, caught.value.hint) == (message, hint)


def test_flags_and_a_shim_are_refused_with_a_reason() -> None:
    hints = {}
    for setting in (Setting("l2", "private"), Setting("l2", "vepa"), Setting("l2", host_shim=True)):
        with pytest.raises(UsageError) as caught:
            FORMAT.written(Deployment("lab", (on_parent("eth0", setting, [WEB_ENDPOINT]),)))
        hints[caught.value.message] = caught.value.hint
    assert hints == {
        "Podman cannot say flag private on eth0": "Podman refuses a flag, and netavark creates `bridge`",
        "Podman cannot say flag vepa on eth0": "Podman refuses a flag, and netavark creates `bridge`",
        "Podman cannot say a host shim on eth0": "ipvkit export --format networkd writes it",
    }


def test_services_are_started_and_stopped() -> None:
    on = on_parent("eth0.30", Setting("l2"), [WEB_ENDPOINT])
    found = FORMAT.written(Deployment("lab", (on,)))
    assert found.activate == (
        "ip link add eth0.30 link eth0 type vlan id 30",
        "ip link set eth0.30 up",
        "systemctl daemon-reload",
        "systemctl start web.service",
    )
    assert found.remove == (
        "systemctl stop web.service eth0.30-network.service",
        "podman network rm eth0.30",
        "ip link delete eth0.30",
    )


def test_the_lab_of_a_file_has_the_gateway_that_the_file_names() -> None:
    lab, notes = lab_of(read(NETWORK, WEB))
    (parent,) = lab.parents
    assert parent.gateway == (GATEWAY,)
    assert notes == ("the host's address on eth0 is in no file; 192.168.104.1 is a free one",)
