"""The parsers of `ip route`, `ip neigh` and `ip netns`: captures as read by a person, and nothing guessed."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import fields, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_address
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from captures import assert_linear, captures, expected, stripped, text_of
from cases import for_each
from ip_routes_output import (
    brief_neighbour,
    json_neighbour,
    json_netns,
    json_route,
    namespaces,
    neighbours,
    plain_neighbour,
    plain_netns,
    printed,
    routes,
)
from ipvkit.core.errors import UnparsableOutput
from ipvkit.report.plain import plain
from ipvkit.tools.ip import (
    Neighbour,
    Netns,
    NextHop,
    Route,
    gateway_of,
    parse_neighbours,
    parse_netns,
    parse_routes,
)
from strategies import JSON_VALUES, addresses, mutated_text

Parser = Callable[[str], tuple[Any, ...]]

PARSERS: dict[str, Parser] = {"route": parse_routes, "neigh": parse_neighbours, "netns": parse_netns}

CAPTURES = [capture for kind in PARSERS for capture in captures(f"{kind}-")]
EXPECTED = [pair for kind in PARSERS for pair in expected(f"{kind}-")]

UNPARSABLE = {
    "netns-identify": "it tells an error of its own",
    "route-empty-table-json": "an error stands before the empty list",
    "route-empty-table-plain": "nothing but an error",
    "route-get-blackhole-json": "nothing but an error",
    "route-get-blackhole-plain": "nothing but an error",
    "route-get-prohibit-json": "nothing but an error",
    "route-get-prohibit-plain": "nothing but an error",
    "route-get-unreachable-json": "nothing but an error",
    "route-get-unreachable-plain": "nothing but an error",
}
"""The captures that are unparsable, and why."""

FORMS = {"json", "plain", "pretty", "oneline", "colour"}

CHANGED = {"neigh-dev-plain": "a neighbour came between this and its JSON"}
"""What was not captured twice in the same state, and why."""

CLOCKS = ("expires", "used", "confirmed", "updated", "probes")
"""What goes on while two captures are made."""


def parser_of(capture: Path) -> Parser:
    return PARSERS[capture.name.partition("-")[0]]


def found_in(capture: Path) -> Any:
    try:
        return [stripped(plain(entry)) for entry in parser_of(capture)(text_of(capture))]
    except UnparsableOutput as problem:
        return {"unparsable": {"line_number": problem.line_number, "line": problem.line}}


def is_part(part: Any, whole: Any) -> bool:
    """Return whether all that `part` tells is what `whole` tells."""
    if isinstance(part, Route | NextHop | Neighbour | Netns):
        told = [field.name for field in fields(part) if field.name != "unrecognised"]
        return all(is_part(getattr(part, name), getattr(whole, name)) for name in told)
    if isinstance(part, Mapping):
        return all(key in whole and is_part(part[key], whole[key]) for key in part)
    if isinstance(part, tuple | list):
        return len(part) <= len(whole) and all(map(is_part, part, whole))
    return part is None or part == whole


# --- captures -----------------------------------------------------------------------------------------


@for_each(("capture", "answer"), EXPECTED)
def test_a_capture_is_read_as_a_person_reads_it(capture: Path, answer: Any) -> None:
    assert found_in(capture) == answer


@for_each("capture", CAPTURES)
def test_every_line_of_a_capture_is_understood(capture: Path) -> None:
    if capture.stem in UNPARSABLE:
        with pytest.raises(UnparsableOutput):
            parser_of(capture)(text_of(capture))
    else:
        found = parser_of(capture)(text_of(capture))
        assert not [line for entry in found for line in getattr(entry, "unrecognised", ())]


def test_each_kind_has_captures() -> None:
    assert {parser_of(capture) for capture, _ in EXPECTED} == set(PARSERS.values())
    assert set(UNPARSABLE) <= {capture.stem for capture in CAPTURES}


@for_each("capture", [c for c in CAPTURES if c.stem not in UNPARSABLE])
def test_an_indented_capture_reads_the_same(capture: Path) -> None:
    """As it is where it was pasted into a document."""
    parse, text = parser_of(capture), text_of(capture)
    assert parse(re.sub("(?m)^(?=.)", "      ", text)) == parse(text)


def in_two_forms() -> Iterator[tuple[Path, Path]]:
    """Yield each capture that is no JSON with that of the same in JSON."""
    in_json = {
        (capture.parent, *sorted(set(capture.stem.split("-")) - FORMS)): capture
        for capture in CAPTURES
        if "json" in capture.stem
    }
    for capture in CAPTURES:
        words = set(capture.stem.split("-"))
        other = in_json.get((capture.parent, *sorted(words - FORMS)))
        if other and "json" not in words and capture.stem not in UNPARSABLE | CHANGED:
            yield capture, other


@for_each("pair", list(in_two_forms()))
def test_plain_and_json_tell_the_same(pair: tuple[Path, Path]) -> None:
    shown = [[without_clocks(entry) for entry in parser_of(c)(text_of(c))] for c in pair]
    assert shown[0] == shown[1]


def without_clocks(entry: Any) -> Any:
    if isinstance(entry, Netns):
        return entry
    return replace(entry, details={k: v for k, v in entry.details.items() if k not in CLOCKS})


def test_many_captures_are_there_in_two_forms() -> None:
    assert len(list(in_two_forms())) > 40


def test_columns_tell_less_than_json() -> None:
    (columns,) = (parse_neighbours(text_of(capture)) for capture in captures("neigh-brief"))
    (whole,) = (parse_neighbours(text_of(capture)) for capture in CAPTURES if capture.stem == "neigh-json")
    assert len(columns) == len(whole)
    assert is_part(columns, whole)


# --- what ip can print --------------------------------------------------------------------------------


@pytest.mark.parametrize("indent", [None, 4])
@given(there=st.lists(routes(), max_size=3))
def test_routes_are_read_from_json(indent: int | None, there: list[Route]) -> None:
    stdout = json.dumps([json_route(route) for route in there], indent=indent)
    assert parse_routes(stdout) == tuple(there)


@given(st.lists(routes(), max_size=5))
def test_the_routes_of_a_table_are_left_out(there: list[Route]) -> None:
    for stdout in (json.dumps([json_route(route) for route in there]), printed(there)):
        for table in ("local", *(route.table for route in there if route.table)):
            assert parse_routes(stdout, without=table) == tuple(r for r in there if r.table != table)


@given(st.lists(routes(), max_size=3))
def test_routes_are_read_from_plain_lines(there: list[Route]) -> None:
    for colour, oneline, details, lock in product((False, True), repeat=4):
        stdout = printed(there, colour=colour, oneline=oneline, details=details, lock=lock)
        assert parse_routes(stdout) == tuple(there)
        assert parse_routes(stdout.replace("\n", "\r\n")) == tuple(there)
        assert parse_routes(stdout.strip()) == tuple(there)


@given(st.lists(neighbours(), max_size=3))
def test_neighbours_are_read_in_each_form(there: list[Neighbour]) -> None:
    for colour, glued in product((False, True), repeat=2):
        stdout = "".join(plain_neighbour(neighbour, colour=colour, glued=glued) for neighbour in there)
        assert parse_neighbours(stdout) == tuple(there)
        assert parse_neighbours(stdout.strip()) == tuple(there)
    assert parse_neighbours(json.dumps([json_neighbour(neighbour) for neighbour in there])) == tuple(there)


@given(st.lists(neighbours(), max_size=3))
def test_neighbours_are_read_from_columns(there: list[Neighbour]) -> None:
    # In columns, an address of a tunnel could be a device, and `FAILED` behind a long address a state.
    assume(all(":" in (n.lladdr or ":") for n in there))
    assume(all(len(str(n.dst)) < 38 or n.dev not in ("FAILED", "dev") for n in there))
    shown = [replace(n, states=(), flags=(), details={}) for n in there]
    stdout = "".join(brief_neighbour(neighbour) for neighbour in shown)
    assert parse_neighbours(stdout) == tuple(shown)
    assert parse_neighbours(stdout.strip()) == tuple(shown)


@given(st.lists(namespaces(), max_size=5))
def test_namespaces_are_read_in_both_forms(there: list[Netns]) -> None:
    stdout = "".join(plain_netns(netns) for netns in there)
    assert parse_netns(stdout) == tuple(there)
    assert parse_netns(stdout.strip()) == tuple(there)
    assert parse_netns(json.dumps([json_netns(netns) for netns in there])) == tuple(there)


@for_each("parse", PARSERS.values())
@for_each("stdout", ["", "\n", " \r\n\n", "[]", "[]\n", "[ ]", "[{}]", "[{},{}]", "\n[]\n"])
def test_nothing_is_listed(parse: Parser, stdout: str) -> None:
    assert parse(stdout) == ()


def test_an_id_of_a_namespace_is_found_in_a_list_by_id() -> None:
    there = (Netns("t-1", 0), Netns("t-2", 1))
    assert parse_netns("nsid 0 (iproute2 netns name: t-1)\nnsid 1 (iproute2 netns name: t-2)\n") == there
    assert parse_netns('[{"nsid":0,"name":"t-1"},{"nsid":1,"name":"t-2"}]') == there


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (
            "172.17.0.0/16 dev docker0 proto kernel scope link src 172.17.0.1 linkdown",
            {"flags": ("linkdown",)},
        ),
        ("unreachable default dev lo  table unspec  proto kernel  metric -1  error -101", {"metric": -1}),
        (
            "fe80::/64 dev eth0  proto kernel  metric 256  expires 2591833sec",
            {"details": {"expires": 2591833}},
        ),
        ("6 198.51.100.0/24 dev lo table 255 proto 2 scope 254", {"type": "6", "protocol": "2"}),
        (
            "default dev eth0 rtt 1.23457e+06s features 0x8",
            {"details": {"rtt": 1234570000, "features": "0x8"}},
        ),
        ("default dev eth0 features lock tcp_usec_ts congctl bbr", {"dev": "eth0"}),
    ],
)
def test_a_line_of_another_version_is_understood(line: str, told: dict[str, Any]) -> None:
    (route,) = parse_routes(f"{line}\n")
    assert route.unrecognised == ()
    assert {name: getattr(route, name) for name in told} == told


# --- the gateway --------------------------------------------------------------------------------------


@given(st.lists(st.none() | addresses()))
def test_the_gateway_is_that_of_the_first_default_route_that_has_one(found: list[IPv4Address | None]) -> None:
    there = [{"dst": "198.51.100.0/24", "gateway": "198.51.100.1", "flags": []}]
    there += [{"dst": "default", **({"gateway": str(g)} if g else {}), "flags": []} for g in found]
    assert gateway_of(parse_routes(json.dumps(there))) == next((g for g in found if g), None)


def test_a_gateway_is_of_ipv4() -> None:
    stdout = (
        "default via fe80::1 dev eth0\ndefault via inet6 fe80::2 dev eth0\n0.0.0.0/0 via 192.0.2.1 dev eth0\n"
    )
    assert gateway_of(parse_routes(stdout)) == IPv4Address("192.0.2.1")


@pytest.mark.parametrize(
    ("dst", "is_default"),
    [("default", True), ("0.0.0.0/0", True), ("::/0", True), ("0.0.0.0/1", False), ("::", False)],
)
def test_a_default_route_leads_everywhere(dst: str, is_default: bool) -> None:
    assert [route.is_default for route in parse_routes(f"{dst} dev eth0\n")] == [is_default]


# --- what is not understood ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "told"),
    {
        "a word of a newer ip": ("default via 192.0.2.1 dev eth0 hop 7 metric 5", {"dev": "eth0"}),
        "a metric without a name": ("default via 192.0.2.1 dev eth0 metric 18 5", {"metric": None}),
        "a metric without a name, locked": ("default via 192.0.2.1 metric 18 lock 5", {"metric": None}),
        "an encapsulation": (
            "default encap rpl segs 1 [ 2001:db8::7 ] via 192.0.2.1 dev eth0 table 7",
            {"via": None, "table": None},
        ),
        "fewer segments than counted": ("default encap seg6 segs 2 [ ::1 ] dev a", {"dev": None}),
        "an encapsulation that is cut": ("default encap ip id 7 src", {"via": None}),
        "a number that is none": ("default via 192.0.2.1 metric x", {"metric": None}),
        "an address that is none": ("default via 192.0.2.256 dev eth0", {"via": None, "dev": None}),
        "a prefix for an address": ("default via 192.0.2.0/24 dev eth0", {"via": None}),
        "another value": ("default dev eth0 dev eth1", {"dev": "eth0"}),
        "a preference": ("default via fe80::1 dev eth0 pref 3", {"pref": None}),
        "a decimal comma": ("default dev eth0 rtt 1,5s", {"dev": "eth0", "details": {}}),
    }.values(),
)
def test_a_line_is_kept_whole_and_read_up_to_what_is_not_known(line: str, told: dict[str, Any]) -> None:
    before, route, after = parse_routes(f"192.0.2.0/24 dev eth0\n{line}\n198.51.100.0/24 dev eth0\n")
    assert route.dst == "default"
    assert route.unrecognised == (line,)
    assert {name: getattr(route, name) for name in told} == told
    assert before.unrecognised == after.unrecognised == ()


@pytest.mark.parametrize(
    "line",
    [
        "\tnexthop via 192.0.2.1 dev eth0 weight 1 hop 7",
        "\tnexthop via 192.0.2.1 dev eth0",
        "\tnexthop",
        "\tnh_info id 7 type resilient buckets 8",
        "    cache <local",
        "    cache dev eth1",
        "    fresh",
        "Oifs: eth1 eth2",
        "Deleted 192.0.2.0/24 dev eth0",
        "100 as to 200 via inet 192.0.2.1 dev eth0",
        "gateway.example dev eth0",
        "192.0.2.1/24 dev eth0",
        "$ ip route",
        "blackhole",
    ],
)
def test_a_line_that_is_no_route_is_kept_by_the_one_before(line: str) -> None:
    first, second = parse_routes(f"default dev eth0\n{line}\nblackhole 198.51.100.7\n")
    assert first == replace(parse_routes("default dev eth0")[0], unrecognised=(line,))
    assert second.unrecognised == ()
    with pytest.raises(UnparsableOutput) as problem:
        parse_routes(f"\n{line}\ndefault dev eth0\n")
    assert (problem.value.tool, problem.value.line_number, problem.value.line) == ("ip route", 2, line)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (
            "192.0.2.1 dev eth0 lladdr 02:00:00:00:00:01 fresh STALE",
            {"lladdr": "02:00:00:00:00:01", "states": ()},
        ),
        ("192.0.2.1 dev eth0 lladdr 02-00-00-00-00-01 STALE", {"lladdr": None, "dev": "eth0"}),
        ("192.0.2.1 dev eth0 used 1/2 STALE", {"dev": "eth0", "details": {}}),
        ("192.0.2.1 dev eth0 used 1/2/x STALE", {"dev": "eth0"}),
        (f"{'192.0.2.1':<39} {'eth0':<16} 02:00:00:00:00:01 STALE", {"dev": "eth0"}),
        (f"{'192.0.2.1':<39} {'eth0':<16} 02:00:00:00:00:0", {"dev": "eth0", "lladdr": None}),
    ],
)
def test_a_neighbour_is_read_up_to_what_is_not_known(line: str, told: dict[str, Any]) -> None:
    found = parse_neighbours(f"192.0.2.7 dev eth0 FAILED\n{line}\n")
    assert found[1].unrecognised == (line,)
    assert {name: getattr(found[1], name) for name in told} == told


def test_a_line_that_is_no_neighbour_is_kept_by_the_one_before() -> None:
    assert parse_neighbours("192.0.2.7 dev eth0 FAILED\nmiss 192.0.2.8\n")[0].unrecognised == (
        "miss 192.0.2.8",
    )
    with pytest.raises(UnparsableOutput):
        parse_neighbours("miss 192.0.2.8\n192.0.2.7 dev eth0 FAILED\n")


@pytest.mark.parametrize(
    "line", ["a b", "t-1 (id:", "t-1 (id: 1", "t-1 (id: x)", "a/b", "\0", "nsid 0", "a\x1b"]
)
def test_a_line_that_is_no_namespace_is_unparsable(line: str) -> None:
    with pytest.raises(UnparsableOutput) as problem:
        parse_netns(f"t-0\n{line}\nt-2\n")
    assert (problem.value.tool, problem.value.line_number, problem.value.line) == ("ip netns", 2, line)


@for_each("parse", PARSERS.values())
@for_each(
    "error",
    [
        'Cannot find device "eth7"',
        "RTNETLINK answers: No route to host",
        "Error: ipv4: FIB table does not exist.",
        "Dump terminated",
        "Usage: ip route { list | flush } SELECTOR",
        'Command "x" is unknown, try "ip route help".',
        'Object "rout" is unknown, try "ip help".',
    ],
)
@for_each("before", ["", "192.0.2.0 dev eth0\n"])
def test_an_error_of_ip_is_unparsable(parse: Parser, error: str, before: str) -> None:
    if parse is parse_netns:
        before = before and "t-1\n"
    with pytest.raises(UnparsableOutput) as problem:
        parse(f"{before}{error}\n")
    assert (problem.value.line_number, problem.value.line) == (before.count("\n") + 1, error)


# --- JSON of older versions, and other JSON -----------------------------------------------------------


def test_an_encapsulation_among_the_keys_of_its_route_is_not_taken_for_the_routes() -> None:
    (route,) = parse_routes(
        '[{"dst":"198.51.100.0/24","encap":"ip6","id":5,"src":"2001:db8::2","dst":"2001:db8::3","hoplimit":9,'
        '"tc":0,"gateway":"192.0.2.2","dev":"eth0","flags":[]}]'
    )
    assert (route.dst, route.src) == (IPv4Network("198.51.100.0/24"), None)
    (route,) = parse_routes(
        '[{"dst":"2001:db8:2::/64","encap":"seg6local","action":"End.DT6","table":100,"dev":"eth0","flags":[]}]'
    )
    assert (route.dst, route.table) == (IPv6Network("2001:db8:2::/64"), None)
    assert route.details == {"encap": "seg6local", "action": "End.DT6", "table": 100}


OTHER_VALUES: tuple[Any, ...] = (None, True, -1, 1e308, 2**70, "", "x", "192.0.2.1/33", [], [None], [[]], {})


def with_other(value: Any, other: Any) -> Iterator[Any]:
    """Yield `value` with `other` in place of each thing in it, at any depth, and with each left out."""
    yield other
    if isinstance(value, list | dict):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            for changed in with_other(value[key], other):
                copy = value.copy()
                copy[key] = changed
                yield copy
            copy = value.copy()
            del copy[key]
            yield copy


def small(capture: Path) -> bool:
    text = text_of(capture)
    return text.startswith("[{") and len(text) < 1200


@pytest.mark.long
@for_each("capture", [capture for capture in CAPTURES if small(capture)])
def test_json_with_another_value_in_it_is_read_or_unparsable(capture: Path) -> None:
    for other in OTHER_VALUES:
        for changed in with_other(json.loads(text_of(capture)), other):
            with suppress(UnparsableOutput):
                for entry in parser_of(capture)(json.dumps(changed)):
                    assert_typed(entry)


def assert_typed(entry: Any) -> None:
    """Fail where a value is not of the type that its field tells."""
    for field in fields(entry):
        value = getattr(entry, field.name)
        if field.name in ("dev", "lladdr", "type", "scope", "protocol", "table", "pref", "name"):
            assert value is None or isinstance(value, str), field
        elif field.name in ("metric", "id"):
            assert value is None or type(value) is int, field
        elif field.name in ("via", "src") and value is not None:
            assert value == ip_address(str(value))
        elif field.name in ("flags", "states"):
            assert all(isinstance(word, str) for word in value), field


@for_each("parse", PARSERS.values())
@for_each(
    "stdout",
    [
        *("[" * 100_000, '[{"dst":' * 100_000, "9" * 5000, "[1]", "[[]]", "{}", '"x"', "[null]", "["),
        *(
            "\0",
            "[NaN]",
            '[{"dst":1e999}]',
            "[{}]x",
            "[] []",
            "\ufeff[{}]",
            '[{"name":1}]',
            '[{"dev":"eth0"}]',
        ),
        *(
            f'[{{"dst":{"9" * 5000}}}]',
            f'[{{"dst":"default","name":"x","id":{"9" * 30},"metric":{"9" * 30}}}]',
        ),
    ],
)
def test_what_is_no_list_of_such_objects_is_unparsable(parse: Parser, stdout: str) -> None:
    with pytest.raises(UnparsableOutput) as problem:
        parse(stdout)
    assert problem.value.tool.startswith("ip ")
    assert problem.value.line_number >= 1


@for_each("depth", range(960, 1000))
def test_json_that_is_deep_is_read_or_unparsable(depth: int) -> None:
    for parse in PARSERS.values():
        for inner in ("[" * depth + "]" * depth, '{"dst":' * depth + "1" + "}" * depth):
            with suppress(UnparsableOutput):
                parse(f'[{{"dst":"default","name":"x","details":{inner}}}]')
            with pytest.raises(UnparsableOutput):
                parse(f'[{{"dst":{inner}}}]')


# --- any text, and outputs that were cut --------------------------------------------------------------

PIECES = (
    *("[", "{", "}", '"', "null", "\\\t", "\t", "    cache", "\n", "192.0.2.1", "7", "1/2/3"),
    *"default via dev lladdr lock nexthop encap ip used STALE".split(),
)
LINES = st.lists(st.sampled_from(PIECES)).map(" ".join)


@pytest.mark.parametrize("parse", PARSERS.values(), ids=PARSERS)
@settings(max_examples=4 * settings().max_examples)
@given(st.text() | LINES | JSON_VALUES.map(json.dumps) | st.lists(JSON_VALUES).map(json.dumps))
@example("\\\t")
@example("default \\\t\\    \\\tnexthop")
@example("\ud800")
@example("192.0.2.1\u2028dev eth0")
@example("\x1b[31m\x1b[")
@example("192.0.2.1 dev \0")
def test_arbitrary_text_is_read_or_unparsable(parse: Parser, stdout: str) -> None:
    with suppress(UnparsableOutput):
        parse(stdout)


@settings(max_examples=4 * settings().max_examples)
@given(st.sampled_from(CAPTURES), st.data())
def test_a_mangled_capture_is_read_or_unparsable(capture: Path, data: st.DataObject) -> None:
    stdout = data.draw(mutated_text(text_of(capture)[:3000], PIECES))
    with suppress(UnparsableOutput):
        for entry in parser_of(capture)(stdout):
            assert_typed(entry)


@given(st.lists(routes(), min_size=1, max_size=2), st.data())
def test_json_that_is_cut_is_unparsable(there: list[Route], data: st.DataObject) -> None:
    whole = json.dumps([json_route(route) for route in there])
    with pytest.raises(UnparsableOutput):
        parse_routes(whole[: data.draw(st.integers(1, len(whole) - 1))])


def cut_at_a_word(data: st.DataObject, whole: str) -> str:
    """Return `whole` up to a place where a word of it ends or begins."""
    ends = [at for at in range(1, len(whole)) if whole[at - 1].isspace() or whole[at].isspace()]
    return whole[: data.draw(st.sampled_from(ends))]


def check_cut(parse: Parser, cut: str, there: Sequence[Any]) -> None:
    """Fail where an output that was `cut` is misread: nothing but what it does not tell may be missing."""
    # Where the first line tells no address, there is no entry.
    with nullcontext() if "\n" in cut else suppress(UnparsableOutput):
        found = parse(cut)
        complete = max(len(found) - 1, 0)
        assert [replace(entry, unrecognised=()) for entry in found[:complete]] == list(there[:complete])
        assert is_part(found, tuple(there))
        kept = [line for entry in found for line in entry.unrecognised]
        assert len(kept) <= 1
        assert all(cut.endswith(line) for line in kept)


@settings(max_examples=2 * settings().max_examples)
@given(st.lists(routes(), min_size=1, max_size=2), st.booleans(), st.data())
def test_routes_that_are_cut_are_not_misread(there: list[Route], oneline: bool, data: st.DataObject) -> None:
    check_cut(parse_routes, cut_at_a_word(data, printed(there, oneline=oneline)), there)


@given(st.lists(neighbours(), min_size=1, max_size=3), st.data())
def test_neighbours_that_are_cut_are_not_misread(there: list[Neighbour], data: st.DataObject) -> None:
    whole = "".join(plain_neighbour(neighbour, glued=False) for neighbour in there)
    check_cut(parse_neighbours, cut_at_a_word(data, whole), there)


@pytest.mark.long
@for_each("capture", [c for c in CAPTURES if "json" not in c.stem and c.stem not in UNPARSABLE])
def test_a_capture_that_is_cut_anywhere_loses_its_last_entry_only(capture: Path) -> None:
    parse, text = parser_of(capture), text_of(capture)[:700]
    whole = parse(text)
    for end in range(1, len(text)):
        with suppress(UnparsableOutput):
            found = parse(text[:end])
            last = max(len(found) - 1, 0)
            kept = [replace(e, unrecognised=()) if hasattr(e, "unrecognised") else e for e in found[:last]]
            assert tuple(kept) == whole[:last]


# --- hostile numbers, and time ------------------------------------------------------------------------

ARABIC_7 = "\N{ARABIC-INDIC DIGIT SEVEN}"


@for_each(
    "number",
    ["9" * 13, "9" * 5000, "-", "--7", "+7", "0x7", "\N{ARABIC-INDIC DIGIT SEVEN}", "7_0", "1e3", "7.0"],
)
@for_each("word", ["metric", "mtu", "uid", "nhid", "error", "users", "mtu lock"])
def test_a_number_of_a_route_is_of_ascii_digits_and_bounded(word: str, number: str) -> None:
    (route,) = parse_routes(f"default dev eth0 {word} {number}\n")
    assert (route.metric, dict(route.details)) == (None, {})
    assert len(route.unrecognised) == 1


@pytest.mark.parametrize(
    "time", ["9" * 5000 + "ms", "9" * 5000 + "s", "1e999s", "1e+99999s", "nans", "infs", "-1ms", "s"]
)
def test_a_time_of_a_route_is_bounded(time: str) -> None:
    (route,) = parse_routes(f"default dev eth0 rtt {time}\n")
    assert route.unrecognised


@pytest.mark.parametrize("number", ["9" * 13, "9" * 5000, "-1", ARABIC_7, "x", ""])
def test_a_number_of_a_neighbour_or_a_namespace_is_bounded(number: str) -> None:
    assert parse_neighbours(f"192.0.2.1 dev eth0 used {number}/1/1probes 1 STALE\n")[0].unrecognised
    assert parse_neighbours(f"192.0.2.1 dev eth0 used 1/1/1probes {number}\n")[0].unrecognised
    with pytest.raises(UnparsableOutput):
        parse_netns(f"t-1 (id: {number})\n")


NEXTHOP = "nexthop via 192.0.2.1 dev eth0 weight 1 "
LONG: dict[str, tuple[Parser, str]] = {
    "routes": (parse_routes, "|198.51.100.7 via 192.0.2.1 dev eth0 proto static metric 7 mtu lock 1400 \n|"),
    "nexthops": (parse_routes, f"default \n|\t{NEXTHOP}\n|"),
    "joined": (parse_routes, f"default |\\\t{NEXTHOP}|"),
    "joints": (parse_routes, "default |\\\t|"),
    "flags": (parse_routes, "default |onlink |"),
    "words": (parse_routes, "default |x |"),
    "not understood": (parse_routes, "|default x\n|"),
    "blanks": (parse_routes, "default| |x"),
    "group": (parse_routes, "default\n\tnh_info id 7 group |1,2/|"),
    "labels": (parse_routes, "default encap mpls |1/|"),
    "neighbours": (
        parse_neighbours,
        "|192.0.2.1 dev eth0 lladdr 02:00:00:00:00:01 used 1/2/3probes 4 STALE \n|",
    ),
    "columns": (parse_neighbours, f"|{'192.0.2.1':<39} {'eth0':<16} 02:00:00:00:00:01\n|"),
    "glued": (parse_neighbours, "192.0.2.1 used |/1|"),
    "namespaces": (parse_netns, "|test1 (id: 7)\n|"),
    "a name": (parse_netns, "|t|"),
    "a name and blanks": (parse_netns, "test1\n| |x"),
}
"""Output as what stands before, between and behind bars: the part between is repeated."""


@pytest.mark.long
@pytest.mark.parametrize("name", LONG)
def test_time_is_linear_in_the_size(name: str) -> None:
    assert_linear(*LONG[name])
