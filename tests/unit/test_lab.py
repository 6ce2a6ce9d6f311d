"""Labs: what loads is what was written, and each mistake is named with its file, line, field and mend."""

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any

import jsonschema_rs
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from cases import for_each
from ipvkit.core.errors import InvalidLab, UsageError
from ipvkit.core.values import Mode
from ipvkit.export.preview import preview
from ipvkit.export.script import exported
from ipvkit.lab import (
    FAR,
    KINDS,
    MODES,
    Act,
    AddAddress,
    AddLink,
    Attempt,
    Check,
    DeleteLink,
    Endpoint,
    Host,
    Kind,
    Lab,
    Outcome,
    Parent,
    Phase,
    Route,
    Rule,
    SetMode,
    SetMtu,
    Setting,
    Strategy,
    gallery,
    on_parent,
)
from ipvkit.lab.fields import read
from ipvkit.lab.format import dump, load
from ipvkit.lab.table import PARTS, Part, schema
from ipvkit.plan.make import make_plan
from requires import skip_without
from strategies import HOSTILE_NAMES, labs, mutated_text

BASE = """\
name: base
about: one parent, as it is mostly written
parent: eth0
network:
  host: 192.0.2.1/24
  gateway: 192.0.2.254
  neighbour: 192.0.2.2
endpoints:
  - {name: one, addresses: [192.0.2.11/24, 192.0.2.21/24]}
  - {name: two, addresses: 192.0.2.12/24, netns: space}
phases:
  - name: first
    mode: l2
    flag: bridge
    do:
      - check:
          - {from: one, to: two}
          - {from: gateway, to: one, watch: 9, expect: unreachable, why: a firewall}
  - name: second
    mode: l3
    endpoints: [two]
    do:
      - fast-ageing: neighbour
        flush: [gateway, neighbour]
      - announce: two
"""

MEANT = Lab(
    name="base",
    about="one parent, as it is mostly written",
    parents=(
        Parent(
            "eth0",
            host=(ip_interface("192.0.2.1/24"),),
            gateway=(ip_address("192.0.2.254"),),
            neighbour=(ip_address("192.0.2.2"),),
        ),
    ),
    endpoints=(
        Endpoint("one", (ip_interface("192.0.2.11/24"), ip_interface("192.0.2.21/24")), "one", "eth0"),
        Endpoint("two", (ip_interface("192.0.2.12/24"),), "space", "eth0"),
    ),
    phases=(
        Phase(
            "first",
            Setting("l2"),
            ("one", "two"),
            (
                Act(
                    checks=(
                        Check("one", "two"),
                        Check("gateway", "one", 9, Outcome.UNREACHABLE, "a firewall"),
                    )
                ),
            ),
        ),
        Phase(
            "second",
            Setting("l3"),
            ("two",),
            (Act(fast_ageing=("neighbour",), flush=("gateway", "neighbour")), Act(announce=("two",))),
        ),
    ),
)

ALL = """\
name: all-of-it
about: every other key that a lab can have
parents:
  - name: eth0
    host: [192.0.2.1/24, "2001:db8::1/64"]
    gateway: [192.0.2.254, "2001:db8::254"]
  - name: eth0.100
    link: eth0
    vlan: 100
    host: 10.100.0.1/24
    gateway: 10.100.0.254
far: 198.51.100.10/24
endpoints:
  - name: one
    addresses: [192.0.2.11/24, "2001:db8::11/64"]
    mtu: 1400
    routes:
      - {to: default, via: 192.0.2.254}
      - {to: 203.0.113.0/24}
  - {name: tagged, dev: eth0, altnames: net1, parent: eth0.100, addresses: 10.100.0.11/24, routes: []}
phases:
  - name: first
    mode: l3
    flag: private
    host-shim: [192.0.2.120, "2001:db8::120"]
    parents:
      eth0.100: {mode: l3s, flag: bridge, strategy: l3s-proxy, host-shim: false}
    do:
      - check:
          - {from: one, to: gateway, family: ipv6, size: 1372, count: 3}
          - {from: far, to: tagged}
      - try:
          - {add-address: 192.0.2.99/24, at: one}
          - {add-link: late, kind: ipvlan, mode: l2, flag: vepa, at: eth0, expect: refused, why: a guess}
          - {add-link: other, kind: macvlan, at: eth0}
          - {delete-link: late}
          - {set-mode: l2, at: one}
          - {set-mtu: 1300, at: eth0.100}
      - hairpin: true
        port-security: [host, one]
        wait: 10
  - name: second
    kind: macvlan
    flag: vepa
    do: []
"""

ALL_MEANT = Lab(
    name="all-of-it",
    about="every other key that a lab can have",
    parents=(
        Parent(
            "eth0",
            host=(ip_interface("192.0.2.1/24"), ip_interface("2001:db8::1/64")),
            gateway=(ip_address("192.0.2.254"), ip_address("2001:db8::254")),
        ),
        Parent(
            "eth0.100",
            host=(ip_interface("10.100.0.1/24"),),
            gateway=(ip_address("10.100.0.254"),),
            link="eth0",
            vlan=100,
        ),
    ),
    far=(ip_interface("198.51.100.10/24"),),
    endpoints=(
        Endpoint(
            "one",
            (ip_interface("192.0.2.11/24"), ip_interface("2001:db8::11/64")),
            "one",
            "eth0",
            routes=(Route(via=ip_address("192.0.2.254")), Route(to=ip_network("203.0.113.0/24"))),
            mtu=1400,
        ),
        Endpoint(
            "tagged",
            (ip_interface("10.100.0.11/24"),),
            "tagged",
            "eth0.100",
            routes=(),
            dev="eth0",
            altnames=("net1",),
        ),
    ),
    phases=(
        Phase(
            "first",
            Setting(
                "l3",
                "private",
                host_shim=True,
                shim_addresses=(ip_address("192.0.2.120"), ip_address("2001:db8::120")),
            ),
            ("one", "tagged"),
            (
                Act(
                    checks=(
                        Check("one", "gateway", family="ipv6", size=1372, count=3),
                        Check("far", "tagged"),
                    )
                ),
                Act(
                    attempts=(
                        Attempt(AddAddress(ip_interface("192.0.2.99/24"), "one")),
                        Attempt(AddLink("late", "ipvlan", "eth0", "l2", "vepa"), Outcome.REFUSED, "a guess"),
                        Attempt(AddLink("other", "macvlan", "eth0")),
                        Attempt(DeleteLink("late")),
                        Attempt(SetMode("one", "l2")),
                        Attempt(SetMtu("eth0.100", 1300)),
                    )
                ),
                Act(hairpin=True, port_security=("host", "one"), wait=10),
            ),
            others=(("eth0.100", Setting("l3s", strategy="l3s-proxy")),),
        ),
        Phase("second", Setting(flag="vepa", kind="macvlan"), ("one", "tagged"), ()),
    ),
)


HOSTS = BASE.replace(
    "  neighbour: 192.0.2.2\n",
    """\
  neighbour: 192.0.2.2
  hosts:
    - {name: client, addresses: 192.0.2.3/24, routes: [{to: 10.0.0.0/8, via: 192.0.2.254}]}
    - name: router2
      addresses: [192.0.2.253/24, 198.51.100.1/24]
      routes: [{to: default, type: prohibit, table: 7}]
      rules: [{from: 198.51.100.0/24, to: 10.0.0.0/8, table: 7}]
      forwards: true
""",
).replace(
    "192.0.2.12/24, netns: space}",
    """192.0.2.12/24, netns: space, routes: [{to: 10.0.0.0/8, type: blackhole}],
     rules: [{to: 10.0.0.0/8, table: 9}]}""",
)

HOSTS_MEANT = replace(
    MEANT,
    parents=(
        replace(
            MEANT.parents[0],
            hosts=(
                Host(
                    "client",
                    (ip_interface("192.0.2.3/24"),),
                    (Route(ip_network("10.0.0.0/8"), ip_address("192.0.2.254")),),
                ),
                Host(
                    "router2",
                    (ip_interface("192.0.2.253/24"), ip_interface("198.51.100.1/24")),
                    (Route(type="prohibit", table=7),),
                    (Rule(7, ip_network("198.51.100.0/24"), ip_network("10.0.0.0/8")),),
                    forwards=True,
                ),
            ),
        ),
    ),
    endpoints=(
        MEANT.endpoints[0],
        replace(
            MEANT.endpoints[1],
            routes=(Route(ip_network("10.0.0.0/8"), type="blackhole"),),
            rules=(Rule(9, to=ip_network("10.0.0.0/8")),),
        ),
    ),
)


@pytest.mark.parametrize(
    ("text", "meant"),
    [(BASE, MEANT), (ALL, ALL_MEANT), (HOSTS, HOSTS_MEANT)],
    ids=["base", "all of it", "hosts"],
)
def test_what_is_written_is_what_loads(text: str, meant: Lab) -> None:
    assert load(text, "lab.yaml") == meant


@given(labs())
def test_what_is_dumped_loads_as_it_was(lab: Lab) -> None:
    text = dump(lab)
    assert load(text, "lab.yaml") == lab
    assert dump(load(text, "lab.yaml")) == text


KEYS = sorted({key for part in PARTS for key in part.schema["properties"]} | {"zzz"})


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_loader_and_schema_know_the_same_keys(part: Part) -> None:
    unknown = set()
    for key in KEYS:
        try:
            part.read(read(f"{{{key}: x}}", "a.yaml"))
        except InvalidLab as problem:
            unknown |= {key} if "unknown key" in problem.message else set()
    assert unknown == set(KEYS) - set(part.schema["properties"])
    assert part.schema["additionalProperties"] is False


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_loader_and_schema_take_each_example(part: Part) -> None:
    definitions = schema()["$defs"]
    for key in part.keys:
        validator = jsonschema_rs.Draft202012Validator({**key.type.schema, "$defs": definitions})
        validator.validate(key.type.example)
        key.type.read(read(yaml.safe_dump(key.type.example), "a.yaml"))


def test_a_former_name_of_a_key_is_read_and_not_beside_the_new_one() -> None:
    former = BASE.replace("parent: eth0", "at-once: 7\nparent: eth0")
    assert load(former, "a.yaml") == load(former.replace("at-once", "parallel"), "a.yaml")
    assert load(former, "a.yaml").parallel == 7
    assert "keep one" in refused(former.replace("parent:", "parallel: 7\nparent:")).hint


BY_LAB = pytest.mark.parametrize("name", gallery.names())


@BY_LAB
def test_each_lab_of_the_gallery_loads_is_called_as_its_file_and_is_dumped_whole(name: str) -> None:
    lab = load(gallery.text(name), f"{name}.yaml")
    assert lab.name == name
    assert load(dump(lab), f"{name}.yaml") == lab


def test_the_walkthrough_loads() -> None:
    lab = load(gallery.text(gallery.WALKTHROUGH), "walkthrough.yaml")
    assert [endpoint.name for endpoint in lab.endpoints] == ["test1", "test2"]
    assert [(phase.name, phase.setting.mode) for phase in lab.phases] == [("l2", "l2"), ("l3", "l3")]


# --- mistakes ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Mistake:
    """A change to BASE or ALL, the line in which it shows, and what is said of it."""

    name: str
    old: str
    new: str
    line: int
    says: str
    hint: str = ""

    @property
    def text(self) -> str:
        whole = BASE if self.old in BASE else ALL
        assert self.old in whole
        return whole.replace(self.old, self.new, 1)


MISTAKES = (
    # keys
    Mistake("unknown key", "about:", "abuot:", 2, "lab: unknown key `abuot`", "did you mean `about`?"),
    Mistake("unknown key, nothing near", "about:", "zzz:", 2, "unknown key `zzz`", "choose from name, about"),
    Mistake("unknown key in network", "gateway: 1", "gatway: 1", 6,
            "network: unknown key `gatway`", "gateway"),
    Mistake("unknown key of endpoint", "netns: s", "nets: s", 10,
            "endpoints[1]: unknown key `nets`", "netns"),
    Mistake("unknown key of phase", "flag:", "flags:", 14, "phases[0]: unknown key `flags`", "`flag`"),
    Mistake("unknown key of act", "- announce", "- anounce", 25, "do[1]: unknown key `anounce`", "announce"),
    Mistake("unknown key of check", "watch:", "wacth:", 18, "check[1]: unknown key `wacth`", "`watch`"),
    Mistake("key twice", "parent: eth0", "parent: eth0\nparent: eth1", 4, "`parent` is there twice"),
    Mistake("key missing", "parent: eth0\n", "", 1, "lab: `parent` is missing"),
    Mistake("key of network missing", "  gateway: 192.0.2.254\n", "", 5, "network: `gateway` is missing"),
    Mistake("key of endpoint missing", "{name: one, ", "{", 9, "endpoints[0]: `name` is missing"),
    Mistake("key of check missing", ", to: two", "", 17, "check[0]: `to` is missing"),
    Mistake("key that is a list", "about:", "[a]:", 2, "lab: a single value is needed"),
    # types
    Mistake("list for a value", "name: base", "name: [base]", 1, "name: a single value is needed"),
    Mistake("nothing for a value", "parent: eth0", "parent:", 3, "parent: a single value is needed"),
    Mistake("value for a mapping", "  - {name: one, addresses: [192.0.2.11/24, 192.0.2.21/24]}", "  - one", 9,
            "endpoints[0]: `key: value` lines are needed"),
    Mistake("nothing for a list", "addresses: 192.0.2.12/24", "addresses:", 10,
            "addresses: a list is needed"),
    Mistake("mapping for a list", "addresses: 192.0.2.12/24", "addresses: {a: b}", 10,
            "addresses: a list is needed"),
    Mistake("an empty list of addresses", "addresses: 192.0.2.12/24", "addresses: []", 10,
            "addresses: at least one address is needed"),
    Mistake("an act of nothing", "- announce: two", "- {}", 25, "do[1]: nothing to do"),
    Mistake("seconds in words", "watch: 9", "watch: nine", 18, "watch: invalid number of seconds 'nine'"),
    Mistake("too many seconds", "watch: 9", "watch: 3601", 18, "watch: invalid number of seconds '3601'"),
    Mistake("no seconds", "watch: 9", "watch: 0", 18, "watch: invalid number of seconds '0'"),
    Mistake("mode", "mode: l2", "mode: l4", 13, "mode: unknown value 'l4'", "l2, l3"),
    Mistake("flag", "flag: bridge", "flag: vlan", 14, "flag: unknown value 'vlan'", "bridge"),
    Mistake("outcome", "unreachable", "maybe", 18, "expect: unknown value 'maybe'", "reachable, unreachable"),
    # names and addresses
    Mistake("parent's name", "eth0", "-x", 3, "parent: invalid interface name '-x'", "letters, digits"),
    Mistake("parent's name too long", "eth0", "e" * 16, 3, "invalid interface name", "15 at most"),
    Mistake("endpoint's name", "name: one", "name: a;b", 9, "name: invalid interface name 'a;b'", "letters"),
    Mistake("netns", "netns: space", "netns: a/b", 10,
            "netns: invalid network namespace name 'a/b'", "letters"),
    Mistake("address", "192.0.2.254", "192.0.2.256", 6,
            "gateway: invalid address '192.0.2.256'", "192.0.2.1"),
    Mistake("IPv6", "192.0.2.254", "'2001:db8::g'", 6,
            "gateway: invalid address '2001:db8::g'", "2001:db8::1"),
    Mistake("link's own", "192.0.2.1/24", "'fe80::5/64'", 5,
            "host: fe80::5 is a link-local address", "global"),
    Mistake("a zone", "192.0.2.254", "'fe80::1%eth0'", 6,
            "gateway: fe80::1%eth0 has a zone", "leave %eth0 out"),
    Mistake("nothing but a link's own to ping", "192.0.2.254", "'fe80::1'", 18,
            "gateway -> one: the two have no address family in common", "pings no link-local address"),
    Mistake("loopback", "192.0.2.254", "127.0.0.1", 6,
            "gateway: 127.0.0.1 is not a unicast address"),
    Mistake("no prefix length", "192.0.2.1/24", "192.0.2.1", 5,
            "host: '192.0.2.1' has no prefix", "192.0.2.1/24"),
    Mistake("prefix length", "192.0.2.1/24", "192.0.2.1/33", 5, "host: '192.0.2.1/33' has no prefix", "/24"),
    Mistake("the subnet's own address", "192.0.2.12/24", "192.0.2.0/24", 10,
            "addresses: 192.0.2.0/24 is the network or the broadcast address"),
    Mistake("phase's name", "name: second", "name: Second!", 19,
            "invalid phase name 'Second!'", "small letters"),
    Mistake("lab's name", "name: base", "name: My Lab", 1, "invalid lab name 'My Lab'", "small letters"),
    Mistake("reserved phase", "name: second", "name: lan", 19, "a phase cannot be called lan", "network"),
    Mistake("about of two lines", "about: one", 'about: "a\\nb" #', 2, "one line of text"),
    Mistake("why of two lines", "a firewall", '"a\\nb"', 18, "one line of text"),
    # what does not fit together
    Mistake("name twice", "name: two", "name: one", 10, "endpoint one is there twice"),
    Mistake("a check in a namespace", "netns: space", "netns: one", 17, "no packet leaves the namespace one"),
    Mistake("address twice", "192.0.2.12/24", "192.0.2.11/24", 10, "address 192.0.2.11 is there twice"),
    Mistake("the gateway's address", "192.0.2.12/24", "192.0.2.254/24", 10,
            "address 192.0.2.254 is there twice"),
    Mistake("reserved name", "name: one", "name: gateway", 9,
            "an endpoint cannot be called gateway", "host, gateway"),
    Mistake("reserved namespace", "netns: space", "netns: switch", 10, "cannot be called", "host, gateway"),
    Mistake("the parent's name", "name: one", "name: eth0", 9, "endpoint and parent are both called eth0"),
    Mistake("the kernel's own name", "name: one", "name: all", 9,
            "an endpoint cannot be called all", "the kernel keeps"),
    Mistake("the loopback for a link", "netns: space", "dev: lo", 10,
            "the link of two cannot be called lo", "the kernel keeps"),
    Mistake("a link of that name there", "netns: space", "netns: one, dev: one", 10,
            "the link of two cannot be called one: namespace one has another one"),
    Mistake("the loopback for a parent", "parent: eth0", "parent: lo", 3,
            "a parent cannot be called lo", "the kernel keeps"),
    Mistake("gateway elsewhere", "192.0.2.254", "192.0.3.254", 6, "192.0.3.254 is not in the parent's"),
    Mistake("gateway on the broadcast address", "192.0.2.254", "192.0.2.255", 6, "192.0.2.255"),
    Mistake("phase twice", "name: second", "name: first", 19, "phase first is there twice"),
    Mistake("endpoint of a phase", "[two]", "[three]", 21,
            "unknown endpoint of phase second: 'three'", "one, two"),
    Mistake("endpoint of a phase twice", "[two]", "[two, two]", 21,
            "endpoint of phase second two is there twice"),
    Mistake("role in a check", "{from: one,", "{from: three,", 17,
            "unknown node of phase first: 'three'", "one, two, host"),
    Mistake("role in another phase", "announce: two", "check: [{from: one, to: two}]", 25,
            "unknown node of phase second: 'one'", "two, host"),
    Mistake("announcement of nobody", "announce: two", "announce: one", 25,
            "unknown endpoint", "choose from two"),
    Mistake("announcement of macvlan", "mode: l3", "kind: macvlan", 25,
            "two is macvlan with another one", "leave it out"),
    Mistake("fast ageing of an endpoint", "ageing: neighbour", "ageing: two", 23,
            "unknown peer", "gateway, neighbour"),
    Mistake("a peer that is not there", "  neighbour: 192.0.2.2\n", "", 22,
            "unknown peer", "choose from gateway"),
    Mistake("a check among peers", "{from: one, to: two}", "{from: host, to: gateway}", 17,
            "host -> gateway: one of the two has to be an endpoint"),
    Mistake("a check of oneself", "{from: one, to: two}", "{from: one, to: one}", 17,
            "one -> one: no packet leaves"),
    *(Mistake(f"a check beside {change}", "- announce: two",
              f"- {change}\n        check: [{{from: two, to: host}}]", 25,
              "a check is in one item with a change of its outcome", "two items")
      for change in ("announce: two", "flush: gateway", "fast-ageing: gateway", "hairpin: true",
                     "port-security: host", "wait: 1", "try: [{set-mode: l3, at: two}]")),
    # several parents
    Mistake("parent beside parents", "far:", "parent: eth0\nfar:", 12, "parent: `parent` does not go with"),
    Mistake("network beside parents", "far:", "network: {}\nfar:", 12, "network: `network` does not go with"),
    Mistake("key of a parent", "    vlan: 100", "    vlna: 100", 9,
            "parents[1]: unknown key `vlna`", "`vlan`"),
    Mistake("key of a parent missing", "    gateway: 10.100.0.254\n", "", 7,
            "parents[1]: `gateway` is missing"),
    Mistake("a parent twice", "- name: eth0.100", "- name: eth0", 7, "parent eth0 is there twice"),
    Mistake("the bridge's name", "- name: eth0.100", "- name: br-lan", 7, "a parent cannot be called br-lan"),
    Mistake("the shim's name", "{name: tagged", "{name: shim", 20, "an endpoint cannot be called shim"),
    Mistake("the far host's name", "{name: tagged", "{name: far", 20, "an endpoint cannot be called far"),
    Mistake("a tag without a link", "    link: eth0\n", "", 7, "eth0.100: a VLAN needs both", "write both"),
    Mistake("a link without a tag", "    vlan: 100\n", "", 7, "eth0.100: a VLAN needs both", "write both"),
    Mistake("a tag too high", "vlan: 100", "vlan: 4095", 9, "vlan: invalid VLAN tag '4095'", "1 to 4094"),
    Mistake("no tag", "vlan: 100", "vlan: 0", 9, "vlan: invalid VLAN tag '0'", "1 to 4094"),
    Mistake("no gateway", "    gateway: 10.100.0.254\n", "", 7, "parents[1]: `gateway` is missing"),
    Mistake("a mode of no bond", "    vlan: 100", "    vlan: 100\n    bond-mode: 802.3ad", 10,
            "bond-mode: only a bond has one", "kind: bond"),
    Mistake("an unknown bond mode", "    vlan: 100", "    vlan: 100\n    bond-mode: balance-rr", 10,
            "bond-mode: unknown value 'balance-rr'", "active-backup, 802.3ad"),
    Mistake("a link that is not there", "link: eth0", "link: eth9", 7,
            "unknown parent", "choose from eth0"),
    Mistake("a VLAN on itself", "link: eth0", "link: eth0.100", 7,
            "eth0.100 is on eth0.100, which is a VLAN itself"),
    Mistake("a VLAN twice", "far:",
            "  - {name: v, link: eth0, vlan: 100, host: 10.101.0.1/24, gateway: 10.101.0.254}\nfar:", 12,
            "VLAN eth0.100 is there twice"),
    Mistake("parents in one subnet", "host: 10.100.0.1/24\n    gateway: 10.100.0.254",
            "host: 192.0.2.3/25\n    gateway: 192.0.2.4", 7,
            "eth0.100 and eth0 have subnets that overlap: 192.0.2.0/25, 192.0.2.0/24", "another subnet"),
    Mistake("what is far is near", "far: 198.51.100.10/24", "far: 192.0.2.10/24", 12,
            "far and eth0 have subnets that overlap"),
    Mistake("far without a prefix", "198.51.100.10/24", "198.51.100.10", 12,
            "far: '198.51.100.10' has no prefix"),
    Mistake("far without a gateway", "198.51.100.10/24", "198.51.100.10/31", 12,
            "198.51.100.10/31 has a subnet without room for the gateway", "shorter prefix"),
    Mistake("far twice", "far: 198.51.100.10/24", "far: 10.100.0.11/24", 20, "10.100.0.11 is there twice"),
    Mistake("an unknown parent", "parent: eth0.100", "parent: eth7", 20,
            "unknown parent", "eth0, eth0.100"),
    Mistake("the other parent's subnet", "parent: eth0.100, ", "", 20,
            "10.100.0.11 is in the subnet of eth0.100, not of the parent of tagged"),
    # routes and MTUs
    Mistake("key of a route", "{to: 203", "{ot: 203", 19, "routes[1]: unknown key `ot`", "`to`"),
    Mistake("a route to nowhere", "{to: default, via", "{via", 18, "routes[0]: `to` is missing"),
    Mistake("a route to a host", "203.0.113.0/24", "203.0.113.7/24", 19,
            "to: invalid network '203.0.113.7/24': host bits are set", "write 203.0.113.0/24"),
    Mistake("a route to no network", "203.0.113.0/24", "elsewhere", 19,
            "to: invalid address 'elsewhere'", "192.0.2.1"),
    Mistake("a gateway of another family",
            "to: 203.0.113.0/24", "to: 203.0.113.0/24, via: '2001:db8::254'", 19,
            "via: 2001:db8::254 is of another family than 203.0.113.0/24"),
    Mistake("an MTU in words", "mtu: 1400", "mtu: jumbo", 16,
            "mtu: invalid MTU in bytes 'jumbo'", "68 to 65535"),
    Mistake("an MTU too low", "mtu: 1400", "mtu: 67", 16, "mtu: invalid MTU in bytes '67'", "68 to 65535"),
    # settings
    Mistake("kind", "kind: macvlan\n", "kind: macvtap\n", 43,
            "kind: unknown value 'macvtap'", "ipvlan, ipvtap, macvlan, veth"),
    Mistake("no mode", "    kind: macvlan\n", "", 42, "phases[1]: `mode` is missing"),
    Mistake("a mode of macvlan", "kind: macvlan\n", "kind: macvlan\n    mode: l2\n", 44,
            "mode: a macvlan link has no mode of ipvlan", "leave it out"),
    Mistake("a flag of veth", "kind: macvlan\n", "kind: veth\n", 44,
            "flag: a veth link has no flag", "leave it out"),
    Mistake("strategy", "strategy: l3s-proxy", "strategy: proxy", 27,
            "strategy: unknown value 'proxy'", "announce"),
    Mistake("a shim of macvlan", "kind: macvlan\n", "kind: macvlan\n    host-shim: true\n", 42,
            "phase second: strategies and the host shim are for ipvlan, and this is macvlan"),
    Mistake("a shim's address", "host-shim: [192.0.2.120", "host-shim: [192.0.2.300", 25,
            "host-shim[0]: invalid address '192.0.2.300'"),
    Mistake("a shim, perhaps", "host-shim: false", "host-shim: maybe", 27,
            "host-shim: invalid address 'maybe'"),
    Mistake("a setting of no parent", "      eth0.100: {mode", "      eth9: {mode", 27,
            "unknown parent of lab all-of-it: 'eth9'", "eth0, eth0.100"),
    Mistake("parents of a phase in a list",
            "      eth0.100: {mode: l3s, flag: bridge, strategy: l3s-proxy, host-shim: false}",
            "      - eth0.100", 27, "parents: `key: value` lines are needed", "eth1: {mode: l3}"),
    Mistake("a key of a parent's setting", "{mode: l3s", "{mood: l3s", 27,
            "eth0.100: unknown key `mood`", "`mode`"),
    # checks
    Mistake("family", "family: ipv6", "family: inet6", 30, "family: unknown value 'inet6'", "ipv4, ipv6"),
    Mistake("a family that one has not", "{from: far, to: tagged}", "{from: far, to: one, family: ipv6}", 31,
            "far -> one: far has no ipv6 address"),
    Mistake("size", "size: 1372", "size: -1", 30, "size: invalid payload in bytes '-1'", "0 to 65000"),
    Mistake("count", "count: 3", "count: 0", 30, "count: invalid number of requests '0'", "1 to 1000"),
    Mistake("count beside watch", "count: 3", "count: 3, watch: 9", 30,
            "count: `count` does not go with `watch`"),
    Mistake("size beside watch", "count: 3", "watch: 9", 30, "size: `size` does not go with `watch`"),
    Mistake("nothing far", "far: 198.51.100.10/24\n", "", 30,
            "unknown node of phase first: 'far'", "one, tagged"),
    # attempts
    Mistake("no attempt", "{delete-link: late}", "{at: one}", 36, "try[3]: a change is needed", "set-mtu"),
    Mistake("two attempts at once", "{delete-link: late}", "{delete-link: late, set-mode: l2}", 36,
            "try[3]: there are 2 changes in it", "separate item"),
    Mistake("an attempt of nobody", "{set-mode: l2, at: one}", "{set-mode: l2}", 37,
            "try[4]: `at` is missing"),
    Mistake("an attempt with too much",
            "{set-mode: l2, at: one}", "{set-mode: l2, at: one, kind: ipvlan}", 37,
            "kind: `kind` does not go with `set-mode`"),
    Mistake("an attempt of a stranger", "{set-mode: l2, at: one}", "{set-mode: l2, at: host}", 37,
            "unknown endpoint of phase first: 'host'", "one, tagged"),
    Mistake("a mode to set", "{set-mode: l2, at: one}", "{set-mode: l9, at: one}", 37,
            "set-mode: unknown value 'l9'"),
    Mistake("an MTU to set", "set-mtu: 1300", "set-mtu: 66000", 38, "set-mtu: invalid MTU in bytes '66000'"),
    Mistake("the MTU of nothing", "at: eth0.100}\n", "at: eth5}\n", 38,
            "unknown endpoint or parent of phase first: 'eth5'"),
    Mistake("a link of another kind", "kind: macvlan, at", "kind: veth, at", 35,
            "kind: unknown value 'veth'", "ipvlan"),
    Mistake("macvlan in l2", "kind: macvlan, at", "kind: macvlan, mode: l2, at", 35,
            "mode: it is ipvlan's"),
    Mistake("a flag without a mode", "mode: l2, flag: vepa, at", "flag: vepa, at", 34,
            "flag: a flag goes with a mode"),
    Mistake("a link called as an endpoint", "add-link: other", "add-link: tagged", 35, "the name is taken"),
    Mistake("a link on nothing", "kind: macvlan, at: eth0", "kind: macvlan, at: eth5", 35,
            "unknown parent of lab"),
    Mistake("a link that nobody added", "delete-link: late", "delete-link: early", 36,
            "unknown link that this phase adds: 'early'", "late, other"),
    Mistake("an address to add", "192.0.2.99/24", "192.0.2.99", 33,
            "add-address: '192.0.2.99' has no prefix"),
    Mistake("an outcome of pings", "expect: refused", "expect: reachable", 34,
            "expect: unknown value 'reachable'",
            "accepted, refused"),
    # what happens
    Mistake("hairpin", "hairpin: true", "hairpin: on", 39, "hairpin: unknown value 'on'", "true, false"),
    Mistake("whom port security lets through", "[host, one]", "[host, gateway]", 40,
            "unknown node of phase first: 'gateway'", "one, tagged, host"),
    Mistake("a wait in words", "wait: 10", "wait: long", 41, "wait: invalid number of seconds 'long'"),
    Mistake("a check beside a wait", "wait: 10", "wait: 10\n        check: {from: one, to: host}", 42,
            "check: a list"),
    # no YAML
    Mistake("a bracket", "[two]", "[two", 22, "invalid YAML"),
    Mistake("a tabulator", "  gateway: 1", "\tgateway: 1", 6, "invalid YAML"),
    Mistake("an unknown anchor", "parent: eth0", "parent: *eth0", 3, "invalid YAML"),
    Mistake("a second document", "phases:", "---\nphases:", 11, "invalid YAML"),
    Mistake("a control character", "name: base", "name: b\x01ase", 1, "invalid YAML"),
)  # fmt: skip


def refused(text: str) -> InvalidLab:
    with pytest.raises(InvalidLab) as problem:
        load(text, "file.yaml")
    assert problem.value.exit_code == 2
    return problem.value


@pytest.mark.parametrize(
    ("old", "new", "line", "says"),
    [
        ("name: client", "name: gateway", 9, "a host cannot be called gateway: the name is taken"),
        ("name: client", "name: space", 9, "a host cannot be called space: the name is taken"),
        ("name: client", "name: host2", 9, "a host cannot be called host2: the name is taken"),
        ("name: client", "name: br0", 9, "a host cannot be called br0: the name is taken"),
        ("name: client", "name: lo", 9, "a host cannot be called lo"),
        ("name: client", "name: router2", 10, "host router2 is there twice"),
        ("name: client", "name: if2", 9, "invalid interface name 'if2'"),
        ("name: client", "name: 7", 9, "invalid network namespace name '7'"),
        ("192.0.2.3/24", "192.0.2.1/24", 5, "address 192.0.2.1 is there twice"),
        ("192.0.2.3/24", "[]", 9, "addresses: at least one address is needed"),
        (
            "{to: 10.0.0.0/8, via: 192.0.2.254}",
            "{to: 10.0.0.0/8, via: 192.0.9.1}",
            9,
            "no subnet with 192.0.9.1",
        ),
        ("{to: 10.0.0.0/8, via: 192.0.2.254}", "{to: 192.0.2.0/24}", 9, "a route to 192.0.2.0/24 already"),
        ("type: prohibit", "type: prohibit, via: 192.0.2.254", 12, "`via` does not go with `type`"),
        ("type: prohibit", "type: throw", 12, "unknown value 'throw'"),
        ("table: 7}]\n      rules", "table: 254}]\n      rules", 12, "invalid number of a table '254'"),
        ("from: 198.51.100.0/24, to: 10.0.0.0/8, ", "", 13, "router2: a rule needs `from` or `to`"),
        ("to: 10.0.0.0/8, table: 7", '"to": "2001:db8::/32", table: 7', 13, "of different families"),
        ("from: 198.51.100.0/24", "from: default", 13, "`default` is not a network"),
    ],
)
def test_a_mistake_in_a_host_is_named_too(old: str, new: str, line: int, says: str) -> None:
    assert old in HOSTS
    problem = refused(HOSTS.replace(old, new, 1))
    assert says in problem.message
    assert problem.message.startswith(f"file.yaml:{line}:")
    assert problem.hint


_TRY = "- try: [{set-mode: l3, at: test1}]"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (', "fe80::1"', "", "test1: the gateway on eth0 has no link-local address to advertise from"),
        ("::211/64", "::211/80", "test1: with `slaac` it has one IPv6 address, in a /64 subnet of eth0"),
        ("104::211/64", "105::211/64", "test1: with `slaac` it has one IPv6 address"),
        ('"2001:db8:104::211/64"', "192.0.2.1/24", "test1: with `slaac` it has one IPv6 address"),
        ("true}", "true, netns: static1}", "test1: with `slaac` it is alone in its namespace"),
        ("true}", "true, routes: []}", "`slaac` does not go with `routes`"),
        ("mode: l2", "mode: l3", "phase private: in l3 test1 gets no router advertisement"),
        ("mode: l2", "mode: l3s", "phase private: in l3s test1 gets no router advertisement"),
        ("    mode: l2\n    flag: private", "    kind: veth", "`slaac` is for ipvlan and macvlan"),
        (_TRY, "- sysctls: {test1: {net.ipv6.conf.all.forwarding: 1}}", "forwarding changes what router"),
        (_TRY, "- sysctls: {host: {net.ipv6.conf.eth0.accept_ra: 2}}", "accept_ra changes what router"),
    ],
)
def test_slaac_that_cannot_work_is_refused(old: str, new: str, says: str) -> None:
    text = gallery.text("advertised-gateway")
    assert old in text
    problem = refused(text.replace(old, new, 1))
    assert says in problem.message
    assert problem.hint


@pytest.mark.long
@for_each("mistake", MISTAKES)
def test_a_mistake_is_named_with_its_file_its_line_and_its_mend(mistake: Mistake) -> None:
    problem = refused(mistake.text)
    assert mistake.says in problem.message
    assert len(problem.message.splitlines()) == 1
    assert re.match(rf"file\.yaml:{mistake.line}\b", problem.message), problem.message
    assert problem.hint
    assert mistake.hint in problem.hint


@pytest.mark.long
def test_without_libyaml_the_same_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    if not yaml.__with_libyaml__:
        skip_without("PyYAML with libyaml")
    said = [str(refused(mistake.text)) for mistake in MISTAKES]
    monkeypatch.setattr(yaml, "__with_libyaml__", False)
    assert [str(refused(mistake.text)) for mistake in MISTAKES] == said


UNBUILDABLE = {
    "a shim with an endpoint's address": (("[192.0.2.120,", "[192.0.2.11,"),),
    "a shim with the host's address": (("[192.0.2.120,", "[192.0.2.1,"),),
    "a gateway that is not near": (("to: default, via: 192.0.2.254", "to: default, via: 198.51.100.1"),),
    "a route twice": (("{to: 203.0.113.0/24}", "{to: default}"),),
    "a parent called as a port of the bridge": (
        ("parent: eth0", "parent: veth0"),
        ("mode: l2", "kind: veth"),
    ),
    "a link called as another parent's shim": (("add-link: other", "add-link: shim1"),),
    "something far, and no gateway": (
        ('gateway: [192.0.2.254, "2001:db8::254"]', "gateway: []"),
        ("gateway: 10.100.0.254", "gateway: []"),
    ),
    "a macvlan link with more than its parent's MTU": (("mtu: 1400", "mtu: 9000"),),
    "a gateway of a dummy": (("  - name: eth0\n", "  - name: eth0\n    kind: dummy\n"),),
    "a VLAN that is a bridge too": (("    vlan: 100\n", "    vlan: 100\n    kind: bridge\n"),),
    "a strategy for a VLAN on a dummy": (
        ("  - name: eth0\n", "  - name: eth0\n    kind: dummy\n"),
        ('    gateway: [192.0.2.254, "2001:db8::254"]\n', ""),
        ("    gateway: 10.100.0.254\n", ""),
        ("far: 198.51.100.10/24\n", ""),
        ("      - {to: default, via: 192.0.2.254}\n", ""),
        ("          - {from: one, to: gateway, family: ipv6, size: 1372, count: 3}\n", ""),
        ("          - {from: far, to: tagged}\n", "          - {from: host, to: one}\n"),
    ),
    "a link called as a port of a parent": (("add-link: other", "add-link: port1"),),
}


@pytest.mark.parametrize("changes", UNBUILDABLE.values(), ids=UNBUILDABLE)
def test_what_no_kernel_would_build_is_refused(changes: tuple[tuple[str, str], ...]) -> None:
    text = BASE if changes[0][0] in BASE else ALL
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    assert refused(text).hint


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty"),
        ("\n\n", "empty"),
        ("# nothing but a comment\n", "empty"),
        ("---\n", "lines are needed"),
        ("just text", "lines are needed"),
        ("- a\n- b\n", "lines are needed"),
        ("[" * 600, "invalid YAML: nested too deeply"),
        ("{a: " * 600, "invalid YAML: nested too deeply"),
        ("- " * 600 + "x", "invalid YAML: nested too deeply"),
        ("\x00\x01\x02", "invalid YAML"),
        ("\x7fELF\x02\x01\x01\x00", "invalid YAML"),
        ("\ud800", "invalid YAML"),
        ("a: &a [*a]", "keys and values"),
        ("&a\n*a : *a", ""),
        ("%YAML 9.9\n---\na: b", ""),
        ('name: "\\ud800"', "missing"),
    ],
    ids=lambda text: text[:12],
)
def test_what_is_no_lab_at_all_is_refused(text: str, says: str) -> None:
    problem = refused(text)
    assert problem.message.startswith("file.yaml")
    assert says in problem.message


@pytest.mark.parametrize("digits", [4, 40, 900])
def test_a_number_of_any_length_is_refused(digits: int) -> None:
    assert "seconds" in refused(BASE.replace("watch: 9", f"watch: {'9' * digits}")).message
    assert "prefix length" in refused(BASE.replace("192.0.2.1/24", f"192.0.2.1/{'9' * digits}")).message


@for_each("name", [name for name in HOSTILE_NAMES if name.isprintable()])
def test_a_hostile_name_never_gets_into_a_lab(name: str) -> None:
    quoted = "'" + name.replace("'", "''") + "'"
    for old in ("parent: eth0", "name: one", "netns: space"):
        problem = refused(BASE.replace(old, f"{old.partition(':')[0]}: {quoted}"))
        assert repr(name) in problem.message


PIECES = (
    "- ",
    "  ",
    ": ",
    "{",
    "}",
    "[",
    "]",
    "&a ",
    "*a",
    "!!int ",
    "null",
    "~",
    "|\n",
    "'",
    '"',
    "#",
    "9" * 30,
)


@pytest.mark.long
@BY_LAB
@settings(max_examples=max(1, settings().max_examples // 5))
@given(st.data())
def test_a_lab_of_the_gallery_that_is_mutated_loads_or_is_refused(name: str, data: st.DataObject) -> None:
    text = gallery.text(name)
    for mutated in (data.draw(mutated_text(text, PIECES)), data.draw(mutated_document(text))):
        with suppress(InvalidLab):
            make_plan(load(mutated, "file.yaml"))


# What a value of a lab may be, beside those that it has.
VALUES: tuple[Any, ...] = (
    *("l2", "l3", "l3s", "private", "vepa", "ipvlan", "macvlan", "veth", "none", "routed", "announce"),
    *(
        "static-neigh",
        "l3s-proxy",
        "eth0",
        "eth0.100",
        "test1",
        "test2",
        "host",
        "gateway",
        "neighbour",
        "far",
    ),
    *("192.168.104.211/24", "192.168.104.111", "10.104.0.1/24", "2001:db8::1/64", "2001:db8:104::254"),
    *(
        "switch",
        "far",
        "default",
        "late",
        0,
        1,
        1500,
        9000,
        True,
        False,
        None,
        "",
        (),
        {},
        ["host"],
        ["test1"],
    ),
)


@st.composite
def mutated_document(draw: st.DrawFn, text: str) -> str:
    """Return a lab with a few of its values replaced by others, and a few of its keys left out."""
    document = yaml.safe_load(text)
    for _ in range(draw(st.integers(1, 3))):
        within, key = draw(st.sampled_from(list(places(document))))
        if draw(st.booleans()):
            within[key] = draw(st.sampled_from((*VALUES, *leaves(document))))
        else:
            del within[key]
    return yaml.safe_dump(document, sort_keys=False)


def places(part: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every place in a document: a mapping or a list, and a key in it."""
    keys = list(part) if isinstance(part, dict) else range(len(part)) if isinstance(part, list) else ()
    for key in keys:
        yield part, key
        yield from places(part[key])


def leaves(document: Any) -> Iterator[Any]:
    return (within[key] for within, key in places(document) if isinstance(within[key], str | int))


TEXTS = {
    "two lines": "a\\nrm -rf /tmp/x",
    "a line separator": "a\\u2028rm x",
    "a return": "a\\rrm x",
    "an escape sequence": "a\\e[2Jb",
    "a null": "a\\0b",
    "a surrogate": "a\\ud800b",
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
@pytest.mark.parametrize("key", ["name: base", "about: one of everything", "why: a firewall"])
def test_no_text_of_a_lab_becomes_a_command_or_breaks_what_is_written(key: str, text: str) -> None:
    """It is refused, or what is written of it is text that prints, each line a comment or a command."""
    try:
        lab = load(BASE.replace(key, f'{key.partition(":")[0]}: "{text}"'), "file.yaml")
    except InvalidLab:
        return
    shown = preview(make_plan(lab))
    told = [line for line in shown.splitlines() if line and not line.startswith("#")]
    meant = [line for line in preview(make_plan(MEANT)).splitlines() if line and not line.startswith("#")]
    assert told == meant
    for written in (shown, exported(make_plan(lab))):
        assert all(line.isprintable() for line in written.split("\n"))


# --- strategies that cannot work ----------------------------------------------------------------------


@dataclass(frozen=True)
class Hopeless:
    """A setting of the endpoint `one` that cannot work, and why."""

    setting: Setting
    says: str
    addresses: tuple[str, ...] = ("192.0.2.11/24",)


OF_ARP: tuple[Strategy, ...] = ("announce", "static-neigh", "l3s-proxy")
MODES_OF_L3: tuple[Mode, ...] = ("l3", "l3s")
HOPELESS = (
    *(Hopeless(Setting("l2", strategy=strategy), "answer ARP themselves") for strategy in OF_ARP),
    *(
        Hopeless(Setting(mode, strategy="routed"), "192.0.2.11 is in the parent's subnet")
        for mode in ("l2", *MODES_OF_L3)
    ),
    *(
        Hopeless(Setting("l3s", strategy=strategy), "not in the parent's subnet", ("10.104.0.11/24",))
        for strategy in OF_ARP
    ),
    *(
        Hopeless(Setting("l3", strategy="l3s-proxy"), "the kernel passes no ARP to the host", addresses)
        for addresses in (("192.0.2.11/24",), ("192.0.2.11/24", "2001:db8::11/64"))
    ),
    Hopeless(Setting("l3", strategy="announce"), "ARP is for IPv4", ("2001:db8::11/64",)),
    Hopeless(Setting("l3s", strategy="announce"), "ARP is for IPv4", ("2001:db8::11/64",)),
    Hopeless(Setting(kind="macvlan", strategy="static-neigh"), "for ipvlan, and this is macvlan"),
    Hopeless(Setting(kind="veth", host_shim=True), "for ipvlan, and this is veth"),
    Hopeless(Setting("l3s", strategy="l3s-proxy", host_shim=True), "both need the host's routes"),
)


def with_setting(setting: Setting, *addresses: str) -> Lab:
    """Return the base lab with this setting in its first phase, of `one` alone, which has `addresses`."""
    one = replace(MEANT.endpoints[0], addresses=tuple(map(ip_interface, addresses)))
    parent = replace(MEANT.parents[0], host=(*MEANT.parents[0].host, ip_interface("2001:db8::1/64")))
    phase = replace(MEANT.phases[0], setting=setting, endpoints=("one",), acts=())
    return replace(MEANT, parents=(parent,), endpoints=(one,), phases=(phase,))


@pytest.mark.parametrize("hopeless", HOPELESS, ids=lambda hopeless: str(hopeless.setting))
def test_what_cannot_work_is_refused_with_the_reason(hopeless: Hopeless) -> None:
    with pytest.raises(InvalidLab, match=re.escape(hopeless.says)) as problem:
        with_setting(hopeless.setting, *hopeless.addresses)
    assert problem.value.message.startswith("phase first: ")
    assert problem.value.hint


WORKS = (
    *(Hopeless(Setting(mode), "") for mode in ("l2", *MODES_OF_L3)),
    *(Hopeless(Setting(mode, host_shim=True), "") for mode in ("l2", *MODES_OF_L3)),
    *(Hopeless(Setting(mode, strategy="routed"), "", ("10.104.0.11/24",)) for mode in ("l2", *MODES_OF_L3)),
    *(Hopeless(Setting(mode, strategy="announce"), "") for mode in MODES_OF_L3),
    *(Hopeless(Setting(mode, strategy="static-neigh"), "") for mode in MODES_OF_L3),
    Hopeless(Setting("l3s", strategy="l3s-proxy"), ""),
    Hopeless(Setting("l3", strategy="l3s-proxy"), "", ("2001:db8::11/64",)),
)


@pytest.mark.parametrize("works", WORKS, ids=lambda works: str(works.setting))
def test_every_other_strategy_is_allowed(works: Hopeless) -> None:
    with_setting(works.setting, *works.addresses)


def test_a_parent_whose_endpoints_are_not_there_needs_no_strategy_that_works() -> None:
    both = replace(MEANT.phases[0], setting=Setting("l2", strategy="announce"), endpoints=("one",), acts=())
    tagged = replace(both, endpoints=("tagged",), others=(("eth0.100", Setting()),))
    assert replace(ALL_MEANT, phases=(tagged,)).phases[0].on("eth0").strategy == "announce"
    with pytest.raises(InvalidLab, match="announce cannot work in l2"):
        replace(ALL_MEANT, phases=(both,))


def test_two_parents_do_not_both_have_veth_endpoints() -> None:
    eth1 = Parent("eth1", (ip_interface("10.0.0.1/24"),), (ip_address("10.0.0.254"),))
    two = replace(MEANT.endpoints[1], parent="eth1", addresses=(ip_interface("10.0.0.2/24"),))
    phase = replace(MEANT.phases[0], setting=Setting(kind="veth"), acts=())
    with pytest.raises(InvalidLab, match="bridge"):
        replace(
            MEANT,
            parents=(*MEANT.parents, eth1),
            endpoints=(MEANT.endpoints[0], two),
            phases=(phase,),
        )


@pytest.mark.parametrize(
    ("far", "gateway"),
    [
        ("198.51.100.10/24", "198.51.100.1/24"),
        ("198.51.100.1/24", "198.51.100.2/24"),
        ("2001:db8:ff::1/64", "2001:db8:ff::2/64"),
    ],
)
def test_the_gateway_has_another_address_than_the_far_host(far: str, gateway: str) -> None:
    parent = replace(MEANT.parents[0], gateway=(*MEANT.parents[0].gateway, ip_address("fe80::1")))
    lab = replace(MEANT, parents=(parent,), far=(ip_interface(far),))
    assert lab.far_gateway(lab.far[0]) == ip_interface(gateway)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", MODES)
def test_a_default_route_is_via_the_gateway_where_the_link_sends_arp(mode: Mode, kind: Kind) -> None:
    """An ipvlan link has a mode, and sends ARP only in l2; the mode of other links means nothing."""
    lab = replace(MEANT, far=(ip_interface("198.51.100.10/24"),))
    via = ip_address("192.0.2.254") if mode == "l2" or kind in ("macvlan", "veth") else None
    routes = lab.default_routes(Setting(mode, kind=kind), lab.endpoints[0])
    assert routes == (("ipv4", Route(via=via)),)


# --- parts that are made in Python --------------------------------------------------------------------


@pytest.mark.long
@given(labs())
def test_an_address_that_is_there_twice_is_refused_wherever_it_is(lab: Lab) -> None:
    taken = lab.endpoints[0].addresses[0]
    parent = lab.parents[0]
    for doubled in (
        {"parents": (replace(parent, gateway=(*parent.gateway, taken.ip)), *lab.parents[1:])},
        {"parents": (replace(parent, neighbour=(taken.ip,)), *lab.parents[1:])},
        {"parents": (replace(parent, host=(*parent.host, taken)), *lab.parents[1:])},
        {FAR: (taken,)},
    ):
        with pytest.raises(InvalidLab, match=r"twice|a dummy has no wire"):
            replace(lab, **doubled)


@given(labs(real=True))
def test_a_real_parent_changes_the_network_and_nothing_else(lab: Lab) -> None:
    # Its own gateways may be of a family that the new address is not.
    lab = replace(lab, endpoints=(replace(lab.endpoints[0], routes=None), *lab.endpoints[1:]))
    address = lab.endpoints[0].addresses[0]
    placed = on_parent(lab, "real0", addresses={lab.endpoints[0].name: address})
    assert placed.parents == (Parent("real0", hosts=tuple(Host(h.name) for h in lab.parents[0].hosts)),)
    assert not placed.simulated
    assert placed.endpoints[0] == replace(lab.endpoints[0], parent="real0", addresses=(address,))
    assert placed.endpoints[1:] == tuple(replace(e, parent="real0") for e in lab.endpoints[1:])
    assert on_parent(lab, lab.parent).phases == lab.phases
    changes = [t.change for phase in placed.phases for act in phase.acts for t in act.attempts]
    assert {change.parent for change in changes if isinstance(change, AddLink)} <= {"real0", "lo"}


REFUSED_ON_A_PARENT: dict[str, tuple[Callable[[], Lab], str]] = {
    "several parents": (lambda: ALL_MEANT, "lab all-of-it has 2 parents"),
    "a bridge": (
        lambda: with_setting(Setting(kind="veth"), "192.0.2.11/24"),
        "creates none on a real parent",
    ),
    "a shim": (lambda: with_setting(Setting(host_shim=True), "192.0.2.11/24"), "needs an address"),
    "an MTU": (
        lambda: replace(
            MEANT, phases=(replace(MEANT.phases[0], acts=(Act(attempts=(Attempt(SetMtu("eth0", 1400)),)),)),)
        ),
        "does not change the MTU of a real parent",
    ),
}


@pytest.mark.parametrize(("lab", "says"), REFUSED_ON_A_PARENT.values(), ids=REFUSED_ON_A_PARENT)
def test_what_a_real_parent_cannot_have_is_refused(lab: Callable[[], Lab], says: str) -> None:
    with pytest.raises(InvalidLab, match=says) as problem:
        on_parent(lab(), "eth0")
    assert problem.value.hint


def test_an_address_for_an_endpoint_that_is_not_there_is_refused() -> None:
    with pytest.raises(InvalidLab, match="unknown endpoint of lab base: 'three'") as problem:
        on_parent(MEANT, "eth0", addresses={"three": ip_interface("192.0.2.13/24")})
    assert problem.value.hint == "choose from one, two"


def test_a_lab_that_is_not_in_the_gallery_is_refused() -> None:
    with pytest.raises(UsageError) as problem:
        gallery.text("../walkthrough")
    assert "walkthrough" in problem.value.hint
