"""Docker: compose files and the output of `docker network inspect`, with the shapes that people have."""

from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network

import pytest

from cases import for_each
from ipvkit.core.errors import InvalidLab, UsageError
from ipvkit.formats.deployment import DEFAULTS, Deployment, on_parent
from ipvkit.formats.docker import FORMAT
from ipvkit.lab import Endpoint, Setting
from ipvkit.lab.fields import Source
from ipvkit.lab.parts import Parent, Route


def read(*texts: str) -> Deployment:
    names = ["compose.yaml", "network.json"]
    return FORMAT.read([Source(name, text) for name, text in zip(names, texts, strict=False)])


def lines(deployment: Deployment) -> list[str]:
    """Return a line for each endpoint: its parent and setting, names, addresses and routes."""
    found = []
    for on in deployment.parents:
        for e in on.endpoints:
            routes = [route.via or "dev" for route in e.routes or ()]
            words = [f"{on.setting.flag}:", e.name, e.netns, e.dev, *e.addresses, *routes]
            found.append(" ".join(map(str, [on.parent.name, on.setting.mode, *words])))
    return found


LAN = """\
networks:
  lan:
    driver: ipvlan
    driver_opts: {parent: eth0}
    ipam: {config: [{subnet: 10.5.0.0/24, gateway: 10.5.0.254}]}
"""

TEXTS = {
    "static addresses, with keys that say nothing of networks": (
        """\
version: "3.9"
services:
  db:
    build: {context: ./db}
    container_name: shop_db
    environment: {PASSWORD: "${PASSWORD}"}
    volumes: ["data:/var/lib/db"]
    networks:
      shop:
        ipv4_address: 192.168.2.100
        aliases: [database]
    restart: always
  api:
    build: ./api
    depends_on: [db]
    ports: ["8000:8000"]
    networks: {shop: {ipv4_address: 192.168.2.101}}
networks:
  shop:
    driver: ipvlan
    driver_opts:
      parent: enp0s1
      ipvlan_mode: l2
    ipam:
      driver: default
      config:
        - subnet: 192.168.2.0/24
          gateway: 192.168.2.1
          ip_range: 192.168.2.96/29
volumes:
  data:
""",
        [
            "enp0s1 l2 bridge: db shop_db eth0 192.168.2.100/24 192.168.2.1",
            "enp0s1 l2 bridge: api api eth0 192.168.2.101/24 192.168.2.1",
        ],
        [],
    ),
    "IPv4 and IPv6, of which one address is given when the service starts": (
        """\
services:
  app: {image: app, networks: {lan: {ipv4_address: 192.168.1.150, ipv6_address: "2001:db8:1::150"}}}
  bare: {image: app, networks: {lan: {ipv4_address: 192.168.1.151}}}
networks:
  lan:
    driver: ipvlan
    enable_ipv6: true
    driver_opts: {parent: eth0, ipvlan_mode: l3s, ipvlan_flag: private}
    ipam:
      config:
        - subnet: 192.168.1.0/24
          gateway: 192.168.1.1
        - subnet: "2001:db8:1::/64"
          gateway: "2001:db8:1::1"
""",
        [
            "eth0 l3s private: app app eth0 192.168.1.150/24 2001:db8:1::150/64 dev dev",
            "eth0 l3s private: bare bare eth0 192.168.1.151/24 2001:db8:1::2/64 dev dev",
        ],
        ["compose.yaml:6: bare gets a free address when it starts; 2001:db8:1::2 is the next one"],
    ),
    "networks on VLANs in l3, which name no gateway": (
        """\
services:
  nginx: {image: nginx, networks: {front: {ipv4_address: 192.168.130.10}}}
  go: {image: go, networks: [back]}
networks:
  front:
    driver: ipvlan
    driver_opts: {parent: ens33.130, ipvlan_mode: l3, ipvlan_flag: bridge}
    ipam: {config: [{subnet: 192.168.130.0/24}]}
  back:
    driver: ipvlan
    driver_opts: {parent: ens33.110, ipvlan_mode: l3, ipvlan_flag: vepa}
    ipam: {config: [{subnet: 192.168.110.0/24}]}
""",
        [
            "ens33.130 l3 bridge: nginx nginx eth0 192.168.130.10/24 dev",
            "ens33.110 l3 vepa: go go eth0 192.168.110.2/24 dev",
        ],
        ["compose.yaml:10: go gets a free address when it starts; 192.168.110.2 is the next one"],
    ),
    "addresses in order, of a range, around those that are given and reserved": (
        """\
services:
  first: {image: a, networks: [lan]}
  static: {image: a, networks: {lan: {ipv4_address: 192.168.104.98}}}
  second: {image: a, networks: {lan: }}
  third: {image: a, networks: {lan: {priority: 10}}}
networks:
  lan:
    driver: ipvlan
    driver_opts: {parent: eth0}
    ipam:
      config:
        - subnet: 192.168.104.0/24
          ip_range: 192.168.104.96/29
          aux_addresses: {printer: 192.168.104.100}
""",
        [
            "eth0 l2 bridge: first first eth0 192.168.104.97/24 192.168.104.96",
            "eth0 l2 bridge: static static eth0 192.168.104.98/24 192.168.104.96",
            "eth0 l2 bridge: second second eth0 192.168.104.99/24 192.168.104.96",
            "eth0 l2 bridge: third third eth0 192.168.104.101/24 192.168.104.96",
        ],
        [
            "compose.yaml:8: lan names no gateway; Docker takes 192.168.104.96",
            "compose.yaml:8: first gets a free address when it starts; 192.168.104.97 is the next one",
            "compose.yaml:8: second gets a free address when it starts; 192.168.104.99 is the next one",
            "compose.yaml:8: third gets a free address when it starts; 192.168.104.101 is the next one",
        ],
    ),
    "an external network, which the other file describes": (
        """\
services:
  x: {image: a, networks: {lan: {ipv4_address: 172.22.208.10}}}
  y: {image: a, networks: [far]}
networks:
  lan: {external: true, name: mynetwork}
  far: {external: {name: elsewhere}}
""",
        """\
[{"Name": "mynetwork", "Driver": "ipvlan", "EnableIPv6": false,
  "IPAM": {"Driver": "default", "Config": [{"Subnet": "172.22.208.0/24", "Gateway": "172.22.208.1"}]},
  "Containers": {"f00d": {"Name": "former", "IPv4Address": "172.22.208.10/24", "IPv6Address": ""}},
  "Options": {"parent": "eth0"}}]
""",
        ["eth0 l2 bridge: x x eth0 172.22.208.10/24 172.22.208.1"],
        [
            "compose.yaml:6: far is left out: it is external, and in no file",
            "compose.yaml:3: y is left out: it is on no ipvlan network",
        ],
    ),
    "services that are on no network, and on the default one": (
        """\
services:
  usual: {image: a}
  Config: {image: a, network_mode: host}
  inside: {image: a, network_mode: "service:usual"}
networks:
  default:
    driver: ipvlan
    driver_opts: {parent: eth0.20}
    ipam: {config: [{subnet: 10.20.0.0/24, gateway: 10.20.0.1}]}
""",
        ["eth0.20 l2 bridge: usual usual eth0 10.20.0.2/24 10.20.0.1"],
        [
            "compose.yaml:3: Config is left out: it is on no ipvlan network",
            "compose.yaml:4: inside is left out: it is on no ipvlan network",
            "compose.yaml:7: usual gets a free address when it starts; 10.20.0.2 is the next one",
        ],
    ),
    "anchors, merged keys and variables": (
        """\
x-service: &service
  image: a
  restart: always
  networks: {lan: {ipv4_address: "${PREFIX:-10.5.0}.10"}}
x-other: &other
  container_name: never
services:
  one: {<<: *service, container_name: "the-${NAME-one}"}
  two: {<<: [*service, *other], container_name: "${TWO:-second}", networks: {lan: {ipv4_address: 10.5.0.11}}}
networks:
  lan:
    driver: ipvlan
    driver_opts: {parent: "${NIC:-eth0}", ipvlan_mode: "${MODE-l3}"}
    ipam: {config: [{subnet: "${PREFIX:-10.5.0}.0/24", gateway: 10.5.0.254}]}
""",
        [
            "eth0 l3 bridge: one the-one eth0 10.5.0.10/24 dev",
            "eth0 l3 bridge: two second eth0 10.5.0.11/24 dev",
        ],
        [],
    ),
    "a network that no container is on": (
        f"services:\n  placeholder: {{image: a, scale: 0, networks: [lan]}}\n{LAN}",
        [
            "eth0 l2 bridge: lan-1 lan-1 eth0 10.5.0.1/24 10.5.0.254",
            "eth0 l2 bridge: lan-2 lan-2 eth0 10.5.0.2/24 10.5.0.254",
        ],
        [
            "compose.yaml:2: placeholder is left out: it has no container",
            "compose.yaml:5: no container is on lan; lan-1 and lan-2 are examples",
        ],
    ),
    "several containers of a service, and one that extends another": (
        "services:\n"
        "  many: {image: a, deploy: {replicas: 3}, networks: [lan]}\n"
        f"  more: {{extends: {{file: base.yaml, service: base}}, networks: [lan]}}\n{LAN}",
        [
            "eth0 l2 bridge: many many eth0 10.5.0.1/24 10.5.0.254",
            "eth0 l2 bridge: more more eth0 10.5.0.2/24 10.5.0.254",
        ],
        [
            "compose.yaml:3: base.yaml, which more extends, is not read: give the folder of both",
            "compose.yaml:2: many has 3 containers; one is an example",
            "compose.yaml:6: many gets a free address when it starts; 10.5.0.1 is the next one",
            "compose.yaml:6: more gets a free address when it starts; 10.5.0.2 is the next one",
        ],
    ),
    "an internal network beside one with another driver": (
        """\
services:
  a: {image: a, networks: {inner: {ipv4_address: 10.7.0.5}, mac: {ipv4_address: 10.8.0.5}, web: }}
networks:
  inner:
    driver: ipvlan
    internal: true
    driver_opts: {parent: eth1}
    ipam: {config: [{subnet: 10.7.0.0/24}]}
  mac: {driver: macvlan, driver_opts: {parent: eth0}, ipam: {config: [{subnet: 10.8.0.0/24}]}}
  web:
""",
        ["eth1 l2 bridge: a-inner a eth2 10.7.0.5/24"],
        [
            "compose.yaml:9: mac is left out: its driver is macvlan",
            "compose.yaml:10: web is left out: its driver is bridge",
            "compose.yaml:2: a is on mac, web, inner; its default routes are taken to be by mac",
        ],
    ),
    "two links of a container, in the order of their networks": (
        """\
services:
  web: {image: a, networks: {wan: {ipv4_address: 10.1.0.5}, lan: {ipv4_address: 10.2.0.5}}}
networks:
  wan:
    {driver: ipvlan, driver_opts: {parent: eth0}, ipam: {config: [{subnet: 10.1.0.0/24, gateway: 10.1.0.1}]}}
  lan:
    {driver: ipvlan, driver_opts: {parent: eth1}, ipam: {config: [{subnet: 10.2.0.0/24, gateway: 10.2.0.1}]}}
""",
        [
            "eth0 l2 bridge: web-wan web eth1 10.1.0.5/24",
            "eth1 l2 bridge: web web eth0 10.2.0.5/24 10.2.0.1",
        ],
        ["compose.yaml:2: web is on lan, wan; its default routes are taken to be by lan"],
    ),
    "options that the driver ignores, and IPv6 that is not enabled": (
        """\
services:
  talker: {image: a, networks: {net: {ipv4_address: 192.168.8.50, ipv6_address: "2001:db8:8::50"}}}
networks:
  net:
    driver: ipvlan
    driver_opts:
      parent: wlp1s0
      ipvlan-mode: l3
      com.docker.network.driver.mtu: "1400"
    ipam:
      config: [{subnet: 192.168.8.0/24, gateway: 192.168.8.1}, {subnet: "2001:db8:8::/64"}]
""",
        ["wlp1s0 l2 bridge: talker talker eth0 192.168.8.50/24 192.168.8.1"],
        [
            "compose.yaml:8: the driver ignores `ipvlan-mode`",
            "compose.yaml:9: the driver ignores `com.docker.network.driver.mtu`",
            "compose.yaml:5: Docker ignores 2001:db8:8::/64: net has no `enable_ipv6: true`",
            "compose.yaml:2: Docker ignores 2001:db8:8::50: net has no subnet of its family",
        ],
    ),
    "two networks on one parent": (
        """\
services: {a: {image: a, networks: [one]}, b: {image: a, networks: [two]}}
networks:
  one: {driver: ipvlan, driver_opts: {parent: eth0, ipvlan_mode: l3}, ipam: {config: [{subnet: 10.0.1.0/24}]}}
  two: {driver: ipvlan, driver_opts: {parent: eth0, ipvlan_mode: l3}, ipam: {config: [{subnet: 10.0.2.0/24}]}}
""",
        ["eth0 l3 bridge: a a eth0 10.0.1.2/24 dev", "eth0 l3 bridge: b b eth0 10.0.2.2/24 dev"],
        [
            "compose.yaml:4: Docker 26 refuses two, as one is on eth0 too",
            "compose.yaml:3: a gets a free address when it starts; 10.0.1.2 is the next one",
            "compose.yaml:4: b gets a free address when it starts; 10.0.2.2 is the next one",
        ],
    ),
    "two IPv4 subnets of a network": (
        """\
services: {a: {image: a, networks: [lan]}, b: {image: a, networks: {lan: {ipv4_address: 10.0.2.9}}}}
networks:
  lan:
    driver: ipvlan
    driver_opts: {parent: eth0}
    ipam: {config: [{subnet: 10.0.1.0/30, gateway: 10.0.1.1}, {subnet: 10.0.2.0/24, gateway: 10.0.2.7}]}
""",
        [
            "eth0 l2 bridge: a a eth0 10.0.1.2/30 10.0.1.1",
            "eth0 l2 bridge: b b eth0 10.0.2.9/24 10.0.2.7",
        ],
        ["compose.yaml:4: a gets a free address when it starts; 10.0.1.2 is the next one"],
    ),
    "what Docker 26 prints of networks, with their containers": (
        """\
[
    {
        "Name": "web_lan", "Id": "f00d", "Created": "2024-10-25T14:01:07.244770035+08:00", "Scope": "local",
        "Driver": "ipvlan", "EnableIPv6": true,
        "IPAM": {"Driver": "default", "Options": null, "Config": [
            {"Subnet": "192.168.104.0/24", "Gateway": "192.168.104.254"}, {"Subnet": "2001:db8:104::/64"}]},
        "Internal": false, "Attachable": false, "ConfigFrom": {"Network": ""}, "ConfigOnly": false,
        "Containers": {
            "a1": {"Name": "web-nginx-1", "EndpointID": "e1", "MacAddress": "",
                   "IPv4Address": "192.168.104.5/24", "IPv6Address": "2001:db8:104::5/64"},
            "a2": {"Name": "web-db-1", "EndpointID": "e2", "MacAddress": "",
                   "IPv4Address": "192.168.104.1/24", "IPv6Address": "2001:db8:104::2/64"}
        },
        "Options": {"ipvlan_flag": "vepa", "ipvlan_mode": "l3", "parent": "bond0"}, "Labels": {}
    },
    {
        "Name": "old", "Driver": "ipvlan", "EnableIPv6": false,
        "IPAM": {"Driver": "default", "Config": [{"Subnet": "172.19.0.0/16", "Gateway": "172.19.0.1/16"}]},
        "Containers": {"a1": {"Name": "web-nginx-1", "IPv4Address": "172.19.0.2/16", "IPv6Address": ""}},
        "Options": {"parent": "eth1"}
    },
    {"Name": "bridge", "Driver": "bridge", "IPAM": {"Config": [{"Subnet": "172.17.0.0/16"}]}}
]
""",
        [
            "eth1 l2 bridge: web-nginx-1 web-nginx-1 eth0 172.19.0.2/16 172.19.0.1",
            "bond0 l3 vepa: web-nginx-1-web_lan web-nginx-1 eth1 192.168.104.5/24 2001:db8:104::5/64",
            "bond0 l3 vepa: web-db-1 web-db-1 eth0 192.168.104.1/24 2001:db8:104::2/64 dev dev",
        ],
        ["compose.yaml:22: bridge is left out: its driver is bridge"],
    ),
    "one network of Docker 28, with IPv6 only": (
        """\
{"Name": "rdma", "Driver": "ipvlan", "EnableIPv4": false, "EnableIPv6": true, "Internal": true,
 "IPAM": {"Driver": "default", "Config": [{"Subnet": "2001:db8:9::/64", "IPRange": "2001:db8:9::100/120"}]},
 "Containers": {}, "Options": {"parent": "bond1", "ipvlan_flag": "private"}}
""",
        [
            "bond1 l2 private: rdma-1 rdma-1 eth0 2001:db8:9::101/64",
            "bond1 l2 private: rdma-2 rdma-2 eth0 2001:db8:9::102/64",
        ],
        ["compose.yaml:1: no container is on rdma; rdma-1 and rdma-2 are examples"],
    ),
    "a compose file in JSON": (
        '{"services": {"a": {"image": "a", "networks": {"lan": {"ipv4_address": "10.5.0.5"}}}}, "networks":\n'
        ' {"lan": {"driver": "ipvlan", "driver_opts": {"parent": "eth0"},\n'
        '  "ipam": {"config": [{"subnet": "10.5.0.0/24", "gateway": "10.5.0.254"}]}}}}\n',
        ["eth0 l2 bridge: a a eth0 10.5.0.5/24 10.5.0.254"],
        [],
    ),
}


@pytest.mark.parametrize("what", TEXTS)
def test_what_people_have_is_read(what: str) -> None:
    *texts, endpoints, notes = TEXTS[what]
    found = read(*map(str, texts))
    assert lines(found) == endpoints
    assert [*found.notes] == notes
    assert all(FORMAT.recognises(str(text)) for text in texts)


SERVICES = "services: {a: {image: a, networks: {lan: {ipv4_address: 10.5.0.5}}}}\n"

COMMON = """\
services:
  base: {image: a, networks: {lan: {ipv4_address: 10.5.0.9}, other: }, deploy: {replicas: 2}}
networks: {lan: {}}
"""
PROJECT = """\
include: [{path: nets/net.yaml}, gone.yaml]
services:
  web:
    extends: {file: common.yaml, service: base}
    networks: {lan: {ipv4_address: 10.5.0.8}}
    deploy: {replicas: 3}
  api: {extends: db, networks: , container_name: api_1}
  db: {image: a, networks: [lan]}
"""


def test_what_a_file_includes_and_extends_is_part_of_it() -> None:
    """As `docker compose config` prints it: networks are merged by their names, all else is replaced."""
    more = "{extends: {file: ../common.yaml, service: base}, networks: {lan: {aliases: [m]}}}"
    net = f"services: {{more: {more}}}\n"
    files = {"compose.yaml": PROJECT, "common.yaml": COMMON, "nets/net.yaml": net + LAN}
    files["compose.override.yaml"] = "services: {web: {networks: {lan: {ipv4_address: 10.5.0.7}}}}"
    found = FORMAT.read([Source(f"./p/{path}", text) for path, text in files.items()])
    assert lines(found) == [
        "eth0 l2 bridge: web web eth0 10.5.0.8/24 10.5.0.254",
        "eth0 l2 bridge: api api_1 eth0 10.5.0.1/24 10.5.0.254",
        "eth0 l2 bridge: db db eth0 10.5.0.2/24 10.5.0.254",
        "eth0 l2 bridge: more more eth0 10.5.0.9/24 10.5.0.254",
    ]
    on_two = "is on lan, other; its default routes are taken to be by lan"
    assert [*found.notes] == [
        "p/compose.override.yaml: it is left out: docker compose merges it into another file, as "
        "`docker compose config` prints",
        "./p/compose.yaml:1: p/gone.yaml, which is included, is not read: give the folder of both",
        "./p/compose.yaml:4: web has 3 containers; one is an example",
        f"./p/compose.yaml:4: web {on_two}",
        "./p/nets/net.yaml:1: more has 2 containers; one is an example",
        f"./p/nets/net.yaml:1: more {on_two}",
        "./p/nets/net.yaml:4: api gets a free address when it starts; 10.5.0.1 is the next one",
        "./p/nets/net.yaml:4: db gets a free address when it starts; 10.5.0.2 is the next one",
    ]


def test_files_that_are_no_part_of_each_other_are_projects() -> None:
    texts = (SERVICES + LAN, (SERVICES + LAN).replace("a:", "b:").replace("eth0", "eth1"))
    found = FORMAT.read([Source(name, text) for name, text in zip(("a.yaml", "b.yaml"), texts, strict=True)])
    assert [on.parent.name for on in found.parents] == ["eth0", "eth1"]
    assert [*found.notes] == ["a.yaml, b.yaml: they are taken for projects that all run"]


def test_what_is_in_two_files_of_a_project_is_refused() -> None:
    both = "include: [b.yaml]\n" + LAN, LAN
    with pytest.raises(InvalidLab, match=r"b\.yaml:3: lan: it is in another file too"):
        FORMAT.read([Source(name, text) for name, text in zip(("a.yaml", "b.yaml"), both, strict=True)])


LOOP = "services: {a: {extends: b, networks: [lan]}, b: {extends: {service: a}}}\n"

INVALID = {
    "a service that extends itself by another": (
        LOOP + LAN,
        "compose.yaml:1: extends: it extends itself, or too many others",
        "100 at most",
    ),
    "a service that extends one that is not there": (
        LOOP.replace("service: a", "service: c") + LAN,
        "compose.yaml:1: service: no service c is in compose.yaml",
        "name one that is there",
    ),
    "a variable without a default": (
        SERVICES + LAN.replace("eth0", '"${NIC}"'),
        "compose.yaml:5: parent: the value of the variable NIC is in no file",
        "`docker compose config` prints the file with its value",
    ),
    "a variable that has to be there": (
        SERVICES + LAN.replace("10.5.0.254", '"${GATEWAY:?needed}"'),
        "compose.yaml:6: gateway: the value of the variable GATEWAY is in no file",
        "`docker compose config` prints the file with its value",
    ),
    "no parent": (
        SERVICES + LAN.replace("{parent: eth0}", "{ipvlan_mode: l2}"),
        "compose.yaml:4: lan: `parent` is missing",
        "without it Docker creates a dummy, on which containers reach only each other: name the NIC",
    ),
    "an unknown mode": (
        SERVICES + LAN.replace("eth0", "eth0, ipvlan_mode: l4"),
        "compose.yaml:5: ipvlan_mode: unknown value 'l4'",
        "choose from l2, l3, l3s",
    ),
    "an unknown flag": (
        SERVICES + LAN.replace("eth0", "eth0, ipvlan_flag: public"),
        "compose.yaml:5: ipvlan_flag: unknown value 'public'",
        "choose from bridge, private, vepa",
    ),
    "another ipam": (
        SERVICES + LAN.replace("{config:", "{driver: dhcp, config:"),
        "compose.yaml:6: driver: ipam dhcp: its addresses are in no file",
        "ipvkit reads those of default",
    ),
    "no subnet": (
        SERVICES + LAN.partition("    ipam")[0],
        "compose.yaml:4: lan: `subnet` is missing",
        "Docker takes one that is in no file: add it to `ipam`, `config`",
    ),
    "an address elsewhere": (
        SERVICES.replace("10.5.0.5", "10.6.0.5") + LAN,
        "compose.yaml:1: ipv4_address: 10.6.0.5 is in no subnet of lan",
        "take one of 10.5.0.0/24",
    ),
    "the gateway's address": (
        SERVICES.replace("10.5.0.5", "10.5.0.1") + LAN.replace(", gateway: 10.5.0.254", ""),
        "compose.yaml:1: ipv4_address: 10.5.0.1 is the gateway of lan",
        "take another one, or name another `gateway` for the network",
    ),
    "the address of the subnet": (
        SERVICES.replace("10.5.0.5", "10.5.0.0") + LAN,
        "compose.yaml:1: ipv4_address: 10.5.0.0/24 is the network or the broadcast address of its subnet",
        "use another address of 10.5.0.0/24",
    ),
    "a gateway elsewhere": (
        SERVICES + LAN.replace("10.5.0.254", "10.6.0.254"),
        "compose.yaml:6: gateway: 10.6.0.254 is not in 10.5.0.0/24",
        "take an address of the subnet",
    ),
    "a range elsewhere": (
        SERVICES + LAN.replace("gateway", "ip_range: 10.6.0.0/28, gateway"),
        "compose.yaml:6: ip_range: 10.6.0.0/28 is not in 10.5.0.0/24",
        "take a part of the subnet",
    ),
    "a range wider than the subnet": (
        SERVICES + LAN.replace("gateway", "ip_range: 10.5.0.0/16, gateway"),
        "compose.yaml:6: ip_range: 10.5.0.0/16 is not in 10.5.0.0/24",
        "take a part of the subnet",
    ),
    "a subnet with host bits": (
        SERVICES + LAN.replace("10.5.0.0/24", "10.5.0.1/24"),
        "compose.yaml:6: subnet: invalid network '10.5.0.1/24': host bits are set",
        "write 10.5.0.0/24",
    ),
    "no address left": (
        SERVICES.replace("{lan: {ipv4_address: 10.5.0.5}}", "[lan]")
        + LAN.replace("10.5.0.0/24", "10.5.0.254/32"),
        "compose.yaml:4: lan: no address of 10.5.0.254/32 is left for a",
        "take a larger one",
    ),
    "no address for the gateway": (
        SERVICES + LAN.replace("gateway: 10.5.0.254", "ip_range: 10.5.0.0/32"),
        "compose.yaml:6: config[0]: 10.5.0.0/32 has no address for a gateway",
        "take a larger one, or add `gateway`",
    ),
    "an external network only": (
        f"{SERVICES}networks: {{lan: {{external: true}}}}\n",
        "compose.yaml: no network has the driver ipvlan",
        "import it together with what `docker network inspect` prints of an external network",
    ),
    "two modes on a parent": (
        f"{SERVICES}{LAN}  two:\n    driver: ipvlan\n    driver_opts: {{parent: eth0, ipvlan_mode: l3}}\n"
        "    ipam: {config: [{subnet: 10.6.0.0/24}]}\n",
        "lan is ipvlan in l2 mode, flag bridge, and two is ipvlan in l3 mode, flag bridge, both on eth0",
        "all links on a parent have one mode and one flag: the last to be created sets the others'",
    ),
    "the name of a container that no namespace has": (
        SERVICES.replace("image: a", 'container_name: "17"') + LAN,
        "compose.yaml:1: container_name: invalid network namespace name '17'",
        "ip reads it as a process ID",
    ),
    "what `docker inspect` prints of a container": (
        '[{"Id": "f00d", "Name": "/web", "NetworkSettings": {"IPAMConfig": {}}, "Driver": "ipvlan"}]',
        "compose.yaml:1: Docker configuration[0]: `IPAM` is missing",
        "a compose file, or what `docker network inspect` prints, is needed",
    ),
    "a network without a name": (
        '[{"Driver": "ipvlan", "IPAM": {"Driver": "default"}}]',
        "compose.yaml:1: Docker configuration[0]: `Name` is missing",
        "add `Name: …`",
    ),
    "a list of services": (
        f"services: [a, b]\n{LAN}",
        "compose.yaml:1: services: `key: value` lines are needed",
        "a compose file, or what `docker network inspect` prints, is needed",
    ),
}


@for_each("what", INVALID)
def test_a_mistake_is_refused_with_its_place(what: str) -> None:
    text, message, hint = INVALID[what]
    with pytest.raises(InvalidLab) as caught:
        read(text)
    assert (caught.value.message, caught.value.hint) == (message, hint)


def endpoint(name: str, *addresses: str, via: str | None = "", **more: str) -> Endpoint:
    """Return an endpoint with a default route via a gateway, with None out of the link, or without one."""
    own = tuple(map(ip_interface, addresses))
    gateway = ip_address(via) if via else None
    routes = () if via == "" else (Route(DEFAULTS["ipv4"], gateway),)
    return Endpoint(name, own, more.get("netns", name), "", routes)


def on_eth0(*endpoints: Endpoint, mode: str = "l2") -> Deployment:
    return Deployment("lab", (on_parent("eth0", Setting(mode), endpoints),))  # type: ignore[arg-type]


A, B = "10.5.0.5/24", "10.5.0.6/24"

BEYOND = {
    "web without an IPv4 address": on_eth0(endpoint("web", "2001:db8::5/64")),
    "IPv6 addresses of only some endpoints on eth0": on_eth0(
        endpoint("a", A, "2001:db8::5/64"), endpoint("b", B)
    ),
    "two links in namespace one": on_eth0(endpoint("a", A, netns="one"), endpoint("b", B, netns="one")),
    "a service called a+b": on_eth0(endpoint("a+b", A)),
    "b without a default route of ipv4": on_eth0(endpoint("a", A, via="10.5.0.1"), endpoint("b", B)),
    "a without a default route of ipv6": on_eth0(endpoint("a", A, "2001:db8::5/64", via="10.5.0.1")),
    "a default route without a gateway in l2 of a": on_eth0(endpoint("a", A, via=None)),
    "a default route via 10.5.0.1 in l3 of a": on_eth0(endpoint("a", A, via="10.5.0.1"), mode="l3"),
    "gateway 10.6.0.1 out of the subnet of a": on_eth0(endpoint("a", A, via="10.6.0.1")),
    "several gateways, or an endpoint as a gateway, in 10.5.0.0/24": on_eth0(
        endpoint("a", A, via="10.5.0.1"), endpoint("b", B, via="10.5.0.2")
    ),
    "subnets 10.5.0.0/24 and 10.5.0.0/16 on eth0": on_eth0(endpoint("a", A), endpoint("b", "10.5.0.6/16")),
    "10.5.0.5/32 on eth0, which has no room for a gateway": on_eth0(endpoint("a", "10.5.0.5/32")),
    "two addresses of a family of a": on_eth0(endpoint("a", A, B)),
    "MTU 1400 of a": on_eth0(replace(endpoint("a", A), mtu=1400)),
    "a route to 10.9.0.0/24 of a": on_eth0(
        replace(endpoint("a", A), routes=(Route(ip_network("10.9.0.0/24")),))
    ),
}


@pytest.mark.parametrize("what", BEYOND)
def test_what_a_compose_file_cannot_say_is_refused(what: str) -> None:
    with pytest.raises(UsageError) as caught:
        FORMAT.written(BEYOND[what])
    assert caught.value.message == f"Docker cannot say {what}"
    assert caught.value.hint


def test_an_endpoint_is_no_gateway_of_another() -> None:
    with pytest.raises(UsageError, match="an endpoint as a gateway"):
        FORMAT.written(on_eth0(endpoint("a", A, via="10.5.0.6"), endpoint("b", B, via="10.5.0.6")))


WRITTEN = """\
# A lab names no image: busybox stands for each.
services:
  web:
    image: busybox
    command: sleep infinity
    init: true
    restart: unless-stopped
    networks:
      lan:
        ipv4_address: 10.5.0.5
  'on':
    image: busybox
    command: sleep infinity
    init: true
    restart: unless-stopped
    networks:
      lan2:
        ipv4_address: 10.6.0.1
        ipv6_address: 2001:db8:6::1
networks:
  lan:
    driver: ipvlan
    driver_opts:
      parent: eth0.30
      ipvlan_mode: l2
      ipvlan_flag: private
    ipam:
      config:
      - subnet: 10.5.0.0/24
        gateway: 10.5.0.254
  lan2:
    driver: ipvlan
    driver_opts:
      parent: trunk
      ipvlan_mode: l3s
      ipvlan_flag: bridge
    enable_ipv6: true
    internal: true
    ipam:
      config:
      - subnet: 10.6.0.0/24
        gateway: 10.6.0.2
      - subnet: 2001:db8:6::/64
        gateway: 2001:db8:6::2
"""


def test_a_compose_file_has_a_service_for_each_endpoint_and_a_network_for_each_parent() -> None:
    tagged = on_parent("eth0.30", Setting("l2", "private"), [endpoint("web", A, via="10.5.0.254")])
    other = on_parent("trunk", Setting("l3s"), [endpoint("on", "10.6.0.1/24", "2001:db8:6::1/64")])
    vlan: Parent = replace(other.parent, link="eth1", vlan=40)
    written = FORMAT.written(Deployment("lab", (tagged, replace(other, parent=vlan))))
    assert [(file.path, file.text, file.mode) for file in written.files] == [("compose.yaml", WRITTEN, 0o644)]
    # Docker creates eth0.30, and not a VLAN with another name.
    assert written.activate == (
        "ip link add trunk link eth1 type vlan id 40",
        "ip link set trunk up",
        "docker compose up -d",
    )
    assert written.remove == ("docker compose down", "ip link delete trunk")
