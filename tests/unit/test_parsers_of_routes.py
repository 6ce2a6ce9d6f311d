"""The parsers of `ip route`, `ip neigh` and `ip netns`: captures as a person reads them, and nothing guessed."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_address
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

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
from ipvkit.errors import UnparsableOutput
from ipvkit.report.json import plain
from ipvkit.tools.ip import (
    Neighbour,
    Netns,
    Route,
    gateway_of,
    parse_neighbours,
    parse_netns,
    parse_routes,
)
from strategies import JSON_VALUES, addresses, mutated_text

Parser = Callable[[str], tuple[Any, ...]]

PARSERS: dict[str, Parser] = {"route": parse_routes, "neigh": parse_neighbours, "netns": parse_netns}

CAPTURES = sorted(
    capture
    for folder in (Path(__file__).parents[1] / "fixtures").glob("iproute2-*")
    for kind in PARSERS
    for capture in folder.glob(f"{kind}-*.txt")
)
EXPECTED = [capture for capture in CAPTURES if capture.with_suffix(".json").exists()]

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

CHANGED = {"neigh-dev": "a neighbour came between the two"}
"""What was not captured twice in the same state, and why."""

CLOCKS = ("expires", "used", "confirmed", "updated", "probes")
"""What goes on while two captures are made."""


def parser_of(capture: Path) -> Parser:
    return PARSERS[capture.name.partition("-")[0]]


def read(capture: Path) -> str:
    return capture.read_bytes().decode()


def short(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


def stripped(value: Any) -> Any:
    """Return `value` without the entries that are null, false or empty; a 0 stays."""
    if isinstance(value, dict):
        entries = ((key, stripped(inner)) for key, inner in value.items())
        return {key: inner for key, inner in entries if inner or type(inner) in (int, float)}
    return [stripped(inner) for inner in value] if isinstance(value, list) else value


def found_in(capture: Path) -> Any:
    try:
        return [stripped(plain(entry)) for entry in parser_of(capture)(read(capture))]
    except UnparsableOutput as problem:
        return {"unparsable": {"line_number": problem.line_number, "line": problem.line}}


def is_part(part: Any, whole: Any) -> bool:
    """Return whether all that `part` tells is what `whole` tells."""
    if isinstance(part, Route | Neighbour | Netns):
        told = [field.name for field in fields(part) if field.name != "unrecognised"]
        return all(is_part(getattr(part, name), getattr(whole, name)) for name in told)
    if isinstance(part, Mapping):
        return all(key in whole and is_part(part[key], whole[key]) for key in part)
    if isinstance(part, tuple | list):
        return len(part) <= len(whole) and all(map(is_part, part, whole))
    return part is None or part == whole


# --- captures -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("capture", EXPECTED, ids=short)
def test_a_capture_is_read_as_a_person_reads_it(capture: Path) -> None:
    assert found_in(capture) == json.loads(capture.with_suffix(".json").read_text())


@pytest.mark.parametrize("capture", CAPTURES, ids=short)
def test_every_line_of_a_capture_is_understood(capture: Path) -> None:
    if capture.stem in UNPARSABLE:
        with pytest.raises(UnparsableOutput):
            parser_of(capture)(read(capture))
    else:
        found = parser_of(capture)(read(capture))
        assert not [line for entry in found for line in getattr(entry, "unrecognised", ())]


def test_each_kind_has_captures() -> None:
    kinds = {(capture.name.partition("-")[0], capture in EXPECTED) for capture in CAPTURES}
    assert kinds == {(kind, expected) for kind in PARSERS for expected in (False, True)}
    assert set(UNPARSABLE) <= {capture.stem for capture in CAPTURES}


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
        if other and "json" not in words and capture.stem not in UNPARSABLE:
            yield capture, other


@pytest.mark.parametrize("pair", in_two_forms(), ids=lambda pair: short(pair[0]))
def test_plain_and_json_tell_the_same(pair: tuple[Path, Path]) -> None:
    if any(pair[0].stem.startswith(name) for name in CHANGED):
        return
    shown = []
    for capture in pair:
        found = parser_of(capture)(read(capture))
        shown.append([without_clocks(entry) for entry in found])
    assert shown[0] == shown[1]


def without_clocks(entry: Any) -> Any:
    if isinstance(entry, Netns):
        return entry
    return replace(entry, details={k: v for k, v in entry.details.items() if k not in CLOCKS})


def test_many_captures_are_there_in_two_forms() -> None:
    assert len(list(in_two_forms())) > 40


@pytest.mark.parametrize("name", ["neigh-brief"])
def test_columns_tell_less_than_json(name: str) -> None:
    (columns,) = (parse_neighbours(read(capture)) for capture in CAPTURES if capture.stem == name)
    (whole,) = (parse_neighbours(read(capture)) for capture in CAPTURES if capture.stem == "neigh-json")
    assert len(columns) == len(whole)
    assert is_part(columns, whole)


# --- what ip can print --------------------------------------------------------------------------------


@given(st.lists(routes(), max_size=3), st.booleans())
def test_routes_are_read_from_json(there: list[Route], pretty: bool) -> None:
    stdout = json.dumps([json_route(route) for route in there], indent=4 if pretty else None)
    assert parse_routes(stdout) == tuple(there)


@settings(max_examples=3 * settings().max_examples)
@given(
    st.lists(routes(), max_size=3),
    st.fixed_dictionaries({option: st.booleans() for option in ("colour", "oneline", "details", "lock")}),
)
def test_routes_are_read_from_plain_lines(there: list[Route], options: dict[str, bool]) -> None:
    stdout = printed(there, **options)
    assert parse_routes(stdout) == tuple(there)
    assert parse_routes(stdout.replace("\n", "\r\n")) == tuple(there)
    assert parse_routes(stdout.strip()) == tuple(there)


@given(st.lists(neighbours(), max_size=3), st.booleans(), st.booleans())
def test_neighbours_are_read_in_each_form(there: list[Neighbour], colour: bool, glued: bool) -> None:
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


@pytest.mark.parametrize("parse", PARSERS.values(), ids=PARSERS)
@pytest.mark.parametrize("stdout", ["", "\n", " \r\n\n", "[]", "[]\n", "[ ]", "[{}]", "[{},{}]", "\n[]\n"])
def test_nothing_is_listed(parse: Parser, stdout: str) -> None:
    assert parse(stdout) == ()


def test_an_id_of_a_namespace_is_found_in_a_list_by_id() -> None:
    there = (Netns("t-1", 0), Netns("t-2", 1))
    assert parse_netns("nsid 0 (iproute2 netns name: t-1)\nnsid 1 (iproute2 netns name: t-2)\n") == there
    assert parse_netns('[{"nsid":0,"name":"t-1"},{"nsid":1,"name":"t-2"}]') == there


# --- the gateway --------------------------------------------------------------------------------------


@given(st.lists(st.none() | addresses()))
def test_the_gateway_is_that_of_the_first_default_route_that_has_one(found: list[IPv4Address | None]) -> None:
    there = [{"dst": "198.51.100.0/24", "gateway": "198.51.100.1", "flags": []}]
    there += [{"dst": "default", **({"gateway": str(g)} if g else {}), "flags": []} for g in found]
    assert gateway_of(parse_routes(json.dumps(there))) == next((g for g in found if g), None)


def test_a_gateway_is_of_ipv4() -> None:
    stdout = "default via fe80::1 dev eth0\ndefault via inet6 fe80::2 dev eth0\n0.0.0.0/0 via 192.0.2.1 dev eth0\n"
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
            "default encap seg6 mode encap segs 1 [ 2001:db8::7 ] via 192.0.2.1 dev eth0 table 7",
            {"via": None, "table": None},
        ),
        "an encapsulation that is cut": ("default encap ip id 7 src", {"via": None}),
        "a number that is none": ("default via 192.0.2.1 metric x", {"metric": None}),
        "an address that is none": ("default via 192.0.2.256 dev eth0", {"via": None, "dev": None}),
        "a prefix for an address": ("default via 192.0.2.0/24 dev eth0", {"via": None}),
        "another value": ("default dev eth0 dev eth1", {"dev": "eth0"}),
        "a preference": ("default via fe80::1 dev eth0 pref 3", {"pref": None}),
        "seconds of another language": ("default dev eth0 rtt 1,5s", {"details": {"metrics": {}}}),
    }.values(),
)
def test_a_line_is_kept_whole_and_read_up_to_what_is_not_known(line: str, told: dict[str, Any]) -> None:
    before, route, after = parse_routes(f"192.0.2.0/24 dev eth0\n{line}\n198.51.100.0/24 dev eth0\n")
    assert route.dst == "default"
    assert route.unrecognised == (line,)
    told.pop("details", None)
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
        ("192.0.2.1 dev eth0 lladdr 02:00:00:00:00:01 fresh STALE", {"lladdr": "02:00:00:00:00:01", "states": ()}),
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
    assert parse_neighbours("192.0.2.7 dev eth0 FAILED\nmiss 192.0.2.8\n")[0].unrecognised == ("miss 192.0.2.8",)
    with pytest.raises(UnparsableOutput):
        parse_neighbours("miss 192.0.2.8\n192.0.2.7 dev eth0 FAILED\n")


@pytest.mark.parametrize("line", ["a b", "t-1 (id:", "t-1 (id: 1", "t-1 (id: x)", "a/b", "\0", "nsid 0", "a\x1b"])
def test_a_line_that_is_no_namespace_is_unparsable(line: str) -> None:
    with pytest.raises(UnparsableOutput) as problem:
        parse_netns(f"t-0\n{line}\nt-2\n")
    assert (problem.value.tool, problem.value.line_number, problem.value.line) == ("ip netns", 2, line)


@pytest.mark.parametrize("parse", PARSERS.values(), ids=PARSERS)
@pytest.mark.parametrize(
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
@pytest.mark.parametrize("before", ["", "192.0.2.0 dev eth0\n"])
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
    text = read(capture)
    return text.startswith("[{") and len(text) < 1200


@pytest.mark.parametrize("capture", filter(small, CAPTURES), ids=short)
def test_json_with_another_value_in_it_is_read_or_unparsable(capture: Path) -> None:
    for other in OTHER_VALUES:
        for changed in with_other(json.loads(read(capture)), other):
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


@pytest.mark.parametrize("parse", PARSERS.values(), ids=PARSERS)
@pytest.mark.parametrize(
    "stdout",
    [
        *("[" * 100_000, '[{"dst":' * 100_000, "9" * 5000, "[1]", "[[]]", "null", "{}", '"x"', "[null]", "["),
        *("\0", "[NaN]", '[{"dst":1e999}]', "[{}]x", "[] []", "\ufeff[]", '[{"name":1}]', '[{"dev":"eth0"}]'),
    ],
    ids=lambda stdout: stdout[:16],
)
def test_what_is_no_list_of_such_objects_is_unparsable(parse: Parser, stdout: str) -> None:
    if (parse, stdout[0]) == (parse_netns, "\ufeff") or (parse, stdout[:1]) in ((parse_netns, "n"), (parse_netns, "9")):
        return
    with pytest.raises(UnparsableOutput) as problem:
        parse(stdout)
    assert problem.value.tool.startswith("ip ")
    assert problem.value.line_number >= 1
