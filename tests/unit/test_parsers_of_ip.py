"""The parsers of `ip -json`: real captures as a person reads them, and nothing guessed from the rest."""

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipvkit.errors import UnparsableOutput
from ipvkit.tools import ip
from strategies import JSON_VALUES, addresses, interface_addresses, interface_names, mutated_text

CAPTURES = sorted((Path(__file__).parents[1] / "fixtures").glob("iproute2-*/*.txt"))


def links(stdout: str) -> Any:
    return [asdict(link) | {"flags": list(link.flags), "up": link.up} for link in ip.parse_links(stdout)]


def addresses_by_link(stdout: str) -> Any:
    found = ip.parse_addresses(stdout)
    return {dev: [str(address) for address in found[dev]] for dev in found}


def gateway(stdout: str) -> Any:
    found = ip.parse_gateway(stdout)
    return None if found is None else str(found)


PARSERS: dict[str, Callable[[str], Any]] = {
    "link-show": links,
    "addr-show": addresses_by_link,
    "netns-list": lambda stdout: list(ip.parse_netns_list(stdout)),
    "route-show-default": gateway,
}
"""The parser of each capture, by how its name begins, as plain values."""


def parser_of(capture: Path) -> Callable[[str], Any]:
    return next(parse for name, parse in PARSERS.items() if capture.name.startswith(name))


OTHER_VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    1e308,
    "",
    "x",
    "192.0.2.1/24",
    [],
    [None],
    [[]],
    {},
    {"local": None},
)

SMALL = [capture for capture in CAPTURES if 3 < len(capture.read_text()) < 3000]


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


def short(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


@pytest.mark.parametrize("capture", CAPTURES, ids=short)
def test_a_capture_is_read_as_a_person_reads_it(capture: Path) -> None:
    expected = json.loads(capture.with_suffix(".json").read_text())
    assert parser_of(capture)(capture.read_text()) == expected


def test_each_parser_has_captures() -> None:
    assert {name for name in PARSERS if any(c.name.startswith(name) for c in CAPTURES)} == set(PARSERS)


@pytest.mark.parametrize("parse", PARSERS.values(), ids=PARSERS)
@given(st.text() | JSON_VALUES.map(json.dumps) | st.lists(JSON_VALUES).map(json.dumps))
def test_arbitrary_text_is_read_or_unparsable(parse: Callable[[str], Any], stdout: str) -> None:
    with suppress(UnparsableOutput):
        parse(stdout)


@pytest.mark.parametrize("capture", SMALL, ids=short)
def test_a_capture_with_another_value_in_it_is_read_or_unparsable(capture: Path) -> None:
    for other in OTHER_VALUES:
        for changed in with_other(json.loads(capture.read_text()), other):
            with suppress(UnparsableOutput):
                parser_of(capture)(json.dumps(changed))


def test_what_is_read_of_a_link_is_text_or_none() -> None:
    capture = next(capture for capture in SMALL if capture.stem == "link-show-one")
    for changed in with_other(json.loads(capture.read_text()), 7):
        with suppress(UnparsableOutput):
            for link in ip.parse_links(json.dumps(changed)):
                words = (link.ifname, link.kind, link.mode, link.flag, link.master, link.parent, *link.flags)
                assert all(word is None or isinstance(word, str) for word in words), link


@settings(max_examples=4 * settings().max_examples)
@given(st.sampled_from(CAPTURES), st.data())
def test_a_mangled_capture_is_read_or_unparsable(capture: Path, data: st.DataObject) -> None:
    stdout = data.draw(mutated_text(capture.read_text(), ["[", "]", "{", "}", ",", '"', "null", "1e999"]))
    with suppress(UnparsableOutput):
        parser_of(capture)(stdout)


@pytest.mark.parametrize("parse", PARSERS.values(), ids=PARSERS)
@pytest.mark.parametrize(
    "stdout",
    ["[" * 100_000, '[{"a":' * 100_000, "9" * 5000, "[1]", "[[]]", "null", "{}", '"x"', "[null]", "[", "\0"],
    ids=lambda stdout: stdout[:6],
)
def test_what_is_no_list_of_objects_is_unparsable(parse: Callable[[str], Any], stdout: str) -> None:
    with pytest.raises(UnparsableOutput) as problem:
        parse(stdout)
    assert problem.value.tool.startswith("ip ")
    assert problem.value.line_number >= 1


@given(st.sampled_from([capture for capture in CAPTURES if capture.stat().st_size > 3]), st.data())
def test_a_capture_that_ends_early_is_unparsable(capture: Path, data: st.DataObject) -> None:
    whole = capture.read_text().rstrip()
    cut = whole[: data.draw(st.integers(1, len(whole) - 1))]
    with pytest.raises(UnparsableOutput):
        parser_of(capture)(cut)


@given(st.dictionaries(interface_names(), st.lists(interface_addresses(), max_size=3), max_size=3))
def test_addresses_of_each_link_are_found(there: dict[str, list[IPv4Interface]]) -> None:
    shown = [
        {
            "ifname": dev,
            "addr_info": [
                *({"family": "inet", "local": str(a.ip), "prefixlen": a.network.prefixlen} for a in found),
                {"family": "inet6", "local": "fe80::1", "prefixlen": 64},
            ],
        }
        for dev, found in there.items()
    ]
    assert ip.parse_addresses(json.dumps(shown)) == {dev: tuple(found) for dev, found in there.items()}


@given(st.lists(st.none() | addresses()))
def test_the_gateway_is_that_of_the_first_route_that_has_one(found: list[IPv4Address | None]) -> None:
    routes = [{"dst": "default", **({"gateway": str(g)} if g else {}), "flags": []} for g in found]
    assert ip.parse_gateway(json.dumps(routes)) == next((g for g in found if g), None)
