"""Labs: what loads is what was written, and each mistake is named with its file, line, field and mend."""

import re
from contextlib import suppress
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Interface

import pytest
from hypothesis import given, settings

from ipvkit import labs as gallery
from ipvkit.errors import InvalidLab, UsageError
from ipvkit.lab import Act, Check, Endpoint, Lab, Network, Outcome, Phase, on_parent
from ipvkit.lab_file import load
from ipvkit.plan import make_plan
from ipvkit.script import exported, preview
from strategies import HOSTILE_NAMES, labs, mutated_text

BASE = """\
name: base
about: one of everything
parent: eth0
network:
  host: 192.0.2.1/24
  gateway: 192.0.2.254
  neighbour: 192.0.2.2
endpoints:
  - {name: one, addresses: [192.0.2.11/24, 192.0.2.21/24]}
  - {name: two, addresses: [192.0.2.12/24], netns: space}
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
    about="one of everything",
    parent="eth0",
    network=Network(
        host=IPv4Interface("192.0.2.1/24"),
        gateway=IPv4Address("192.0.2.254"),
        neighbour=IPv4Address("192.0.2.2"),
    ),
    endpoints=(
        Endpoint("one", (IPv4Interface("192.0.2.11/24"), IPv4Interface("192.0.2.21/24")), "one"),
        Endpoint("two", (IPv4Interface("192.0.2.12/24"),), "space"),
    ),
    phases=(
        Phase(
            "first",
            "l2",
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
            "l3",
            ("two",),
            (Act(fast_ageing=("neighbour",), flush=("gateway", "neighbour")), Act(announce=("two",))),
        ),
    ),
)


def test_what_is_written_is_what_loads() -> None:
    assert load(BASE, "base.yaml") == MEANT


def test_the_walkthrough_loads() -> None:
    lab = load(gallery.text(gallery.WALKTHROUGH), "walkthrough.yaml")
    assert [endpoint.name for endpoint in lab.endpoints] == ["test1", "test2"]
    assert [(phase.name, phase.mode) for phase in lab.phases] == [("l2", "l2"), ("l3", "l3")]


@pytest.mark.parametrize("name", gallery.names())
def test_each_lab_of_the_gallery_loads_and_is_called_as_its_file(name: str) -> None:
    assert load(gallery.text(name), f"{name}.yaml").name == name


# --- mistakes ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Mistake:
    """A change to BASE, the line in which it shows, and what is said of it."""

    name: str
    old: str
    new: str
    line: int
    says: str
    hint: str = ""

    @property
    def text(self) -> str:
        assert self.old in BASE
        return BASE.replace(self.old, self.new, 1)


MISTAKES = (
    # keys
    Mistake("unknown key", "about:", "abuot:", 2, "lab: unknown key `abuot`", "did you mean `about`?"),
    Mistake("unknown key, nothing near", "about:", "zzz:", 2, "unknown key `zzz`", "there is name, about"),
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
    Mistake("nothing for a list", "[192.0.2.12/24]", "", 10, "addresses: a list is needed"),
    Mistake("mapping for a list", "[192.0.2.12/24]", "{a: b}", 10, "addresses: a list is needed"),
    Mistake("an empty list of addresses", "[192.0.2.12/24]", "[]", 10, "at least one address is needed"),
    Mistake("an act of nothing", "- announce: two", "- {}", 25, "do[1]: nothing to do"),
    Mistake("seconds in words", "watch: 9", "watch: nine", 18, "watch: 'nine' is no whole number of seconds"),
    Mistake("too many seconds", "watch: 9", "watch: 3601", 18, "watch: '3601' is no whole number of seconds"),
    Mistake("no seconds", "watch: 9", "watch: 0", 18, "watch: '0' is no whole number of seconds"),
    Mistake("mode", "mode: l2", "mode: l4", 13, "mode: 'l4' is not known", "l2, l3"),
    Mistake("flag", "flag: bridge", "flag: vlan", 14, "flag: 'vlan' is not known", "bridge"),
    Mistake("outcome", "unreachable", "maybe", 18, "expect: 'maybe' is not known", "reachable, unreachable"),
    # names and addresses
    Mistake("parent's name", "eth0", "-x", 3, "parent: '-x' is no interface name", "letters, digits"),
    Mistake("parent's name too long", "eth0", "e" * 16, 3, "is no interface name", "15 at most"),
    Mistake("endpoint's name", "name: one", "name: a;b", 9, "name: 'a;b' is no interface name", "letters"),
    Mistake("netns", "netns: space", "netns: a/b", 10,
            "netns: 'a/b' is no network namespace name", "letters"),
    Mistake("address", "192.0.2.254", "192.0.2.256", 6, "gateway: '192.0.2.256' is no IPv4 address", "254"),
    Mistake("IPv6", "192.0.2.254", "'2001:db8::1'", 6,
            "gateway: '2001:db8::1' is no IPv4 address", "write it"),
    Mistake("loopback", "192.0.2.254", "127.0.0.1", 6,
            "gateway: 127.0.0.1 is no address that a host can have"),
    Mistake("no prefix length", "192.0.2.1/24", "192.0.2.1", 5,
            "host: '192.0.2.1' has no prefix", "192.0.2.1/24"),
    Mistake("prefix length", "192.0.2.1/24", "192.0.2.1/33", 5, "host: '192.0.2.1/33' has no prefix", "/24"),
    Mistake("the subnet's own address", "192.0.2.12/24", "192.0.2.0/24", 10,
            "addresses[0]: 192.0.2.0/24 is the subnet's own or its broadcast address"),
    Mistake("phase's name", "name: second", "name: Second!", 19,
            "'Second!' is no name for a phase", "small letters"),
    Mistake("lab's name", "name: base", "name: My Lab", 1, "'My Lab' is no name for a lab", "small letters"),
    Mistake("reserved phase", "name: second", "name: lan", 19, "a phase cannot be called lan", "network"),
    Mistake("about of two lines", "about: one", 'about: "a\\nb" #', 2, "one line of text"),
    Mistake("why of two lines", "a firewall", '"a\\nb"', 18, "one line of text"),
    # what does not fit together
    Mistake("name twice", "name: two", "name: one", 10, "endpoint one is there twice"),
    Mistake("namespace twice", "netns: space", "netns: one", 10, "netns one is there twice"),
    Mistake("address twice", "192.0.2.12/24", "192.0.2.11/24", 10, "address 192.0.2.11 is there twice"),
    Mistake("the gateway's address", "192.0.2.12/24", "192.0.2.254/24", 10,
            "address 192.0.2.254 is there twice"),
    Mistake("reserved name", "name: one", "name: gateway", 9,
            "an endpoint cannot be called gateway", "host, gateway"),
    Mistake("reserved namespace", "netns: space", "netns: switch", 10, "cannot be called", "host, gateway"),
    Mistake("the parent's name", "name: one", "name: eth0", 9, "endpoint and parent are both called eth0"),
    Mistake("the kernel's own name", "name: one", "name: all", 9,
            "an endpoint cannot be called all", "the kernel keeps"),
    Mistake("the loopback for a parent", "parent: eth0", "parent: lo", 3,
            "lo cannot be a parent", "the kernel keeps"),
    Mistake("another subnet", "192.0.2.12/24", "192.0.3.12/24", 10,
            "192.0.3.12 is not in the host's subnet 192.0.2.0/24"),
    Mistake("gateway elsewhere", "192.0.2.254", "192.0.3.254", 6, "192.0.3.254 is not in the host's subnet"),
    Mistake("gateway on the broadcast address", "192.0.2.254", "192.0.2.255", 6, "192.0.2.255"),
    Mistake("phase twice", "name: second", "name: first", 19, "phase first is there twice"),
    Mistake("endpoint of a phase", "[two]", "[three]", 21,
            "'three' is no endpoint of phase second", "one, two"),
    Mistake("endpoint of a phase twice", "[two]", "[two, two]", 21,
            "endpoint of phase second two is there twice"),
    Mistake("role in a check", "{from: one,", "{from: three,", 17,
            "'three' is no part of phase first", "one, two, host"),
    Mistake("role in another phase", "announce: two", "check: [{from: one, to: two}]", 25,
            "'one' is no part of phase second", "two, host"),
    Mistake("announcement of nobody", "announce: two", "announce: one", 25,
            "'one' is no endpoint", "there is two"),
    Mistake("fast ageing of an endpoint", "ageing: neighbour", "ageing: two", 23,
            "'two' is no peer", "gateway, neighbour"),
    Mistake("a peer that is not there", "  neighbour: 192.0.2.2\n", "", 22,
            "'neighbour' is no peer", "there is gateway"),
    Mistake("a check among peers", "{from: one, to: two}", "{from: host, to: gateway}", 17,
            "host -> gateway: one of the two has to be an endpoint"),
    Mistake("a check of oneself", "{from: one, to: two}", "{from: one, to: one}", 17,
            "one -> one: nothing leaves"),
    Mistake("a check beside an announcement", "- announce: two",
            "- announce: two\n        check: [{from: two, to: host}]", 25,
            "a check stands beside something that changes what it would see", "two items"),
    # no YAML
    Mistake("a bracket", "[two]", "[two", 22, "this is no YAML"),
    Mistake("a tabulator", "  gateway: 1", "\tgateway: 1", 6, "this is no YAML"),
    Mistake("an unknown anchor", "parent: eth0", "parent: *eth0", 3, "this is no YAML"),
    Mistake("a second document", "phases:", "---\nphases:", 11, "this is no YAML"),
    Mistake("a control character", "name: base", "name: b\x01ase", 1, "this is no YAML"),
)  # fmt: skip

BY_NAME = pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)


def refused(text: str) -> InvalidLab:
    with pytest.raises(InvalidLab) as problem:
        load(text, "file.yaml")
    assert problem.value.exit_code == 2
    return problem.value


@BY_NAME
def test_a_mistake_is_named(mistake: Mistake) -> None:
    problem = refused(mistake.text)
    assert mistake.says in problem.message
    assert mistake.hint in problem.hint
    assert len(problem.message.splitlines()) == 1


@BY_NAME
def test_a_mistake_is_found_by_its_file_and_line(mistake: Mistake) -> None:
    message = refused(mistake.text).message
    assert re.match(rf"file\.yaml:{mistake.line}\b", message), message


@BY_NAME
def test_a_mistake_has_a_mend(mistake: Mistake) -> None:
    assert refused(mistake.text).hint


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty"),
        ("\n\n", "empty"),
        ("# nothing but a comment\n", "empty"),
        ("---\n", "lines are needed"),
        ("just text", "lines are needed"),
        ("- a\n- b\n", "lines are needed"),
        ("[" * 600, "no YAML"),
        ("{a: " * 600, "no YAML"),
        ("- " * 600 + "x", "no YAML"),
        ("\x00\x01\x02", "no YAML"),
        ("\x7fELF\x02\x01\x01\x00", "no YAML"),
        ("\ud800", "no YAML"),
        ("a: &a [*a]", "unknown key"),
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


@pytest.mark.parametrize("digits", [4, 40, 5000])
def test_a_number_of_any_length_is_refused(digits: int) -> None:
    assert "seconds" in refused(BASE.replace("watch: 9", f"watch: {'9' * digits}")).message
    assert "prefix length" in refused(BASE.replace("192.0.2.1/24", f"192.0.2.1/{'9' * digits}")).message


@pytest.mark.parametrize("name", [name for name in HOSTILE_NAMES if name.isprintable()])
def test_a_hostile_name_never_gets_into_a_lab(name: str) -> None:
    quoted = "'" + name.replace("'", "''") + "'"
    for old in ("parent: eth0", "name: one", "netns: space"):
        problem = refused(BASE.replace(old, f"{old.partition(':')[0]}: {quoted}"))
        assert repr(name) in problem.message


@settings(max_examples=2 * settings().max_examples)
@given(
    mutated_text(
        gallery.text(gallery.WALKTHROUGH),
        [
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
        ],
    )
)
def test_a_mutated_walkthrough_loads_or_is_refused(text: str) -> None:
    with suppress(InvalidLab):
        make_plan(load(text, "file.yaml"))


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


# --- parts that are made in Python --------------------------------------------------------------------


@given(labs())
def test_an_address_that_is_there_twice_is_refused_wherever_it_is(lab: Lab) -> None:
    taken = lab.endpoints[0].addresses[0].ip
    for network in (
        replace(lab.network, gateway=taken),
        replace(lab.network, neighbour=taken),
        replace(lab.network, host=IPv4Interface((taken, 16))),
    ):
        with pytest.raises(InvalidLab, match="twice"):
            replace(lab, network=network)


@given(labs())
def test_a_real_parent_changes_the_network_and_nothing_else(lab: Lab) -> None:
    address = lab.endpoints[0].addresses[0]
    placed = on_parent(lab, "real0", addresses={lab.endpoints[0].name: address})
    assert placed.parent == "real0"
    assert placed.network == Network(None, None, None, simulated=False)
    assert placed.endpoints[0].addresses == (address,)
    assert placed.endpoints[1:] == lab.endpoints[1:]
    assert placed.phases == lab.phases


def test_an_address_for_an_endpoint_that_is_not_there_is_refused() -> None:
    with pytest.raises(InvalidLab, match="'three' is no endpoint of lab base") as problem:
        on_parent(MEANT, "eth0", addresses={"three": IPv4Interface("192.0.2.13/24")})
    assert problem.value.hint == "there is one, two"


def test_a_lab_that_is_not_in_the_gallery_is_refused() -> None:
    with pytest.raises(UsageError) as problem:
        gallery.text("../walkthrough")
    assert "walkthrough" in problem.value.hint
