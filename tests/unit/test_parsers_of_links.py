"""The parsers of `ip link` and `ip addr`: captures as a person reads them, and nothing guessed."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import fields, is_dataclass, replace
from ipaddress import IPv4Address, IPv4Interface, ip_interface
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from captures import captures, expected, short, stripped, text_of
from ip_links_output import (
    coloured,
    listings,
    only_addresses,
    only_brief,
    printed,
    printed_brief,
    printed_json,
    printed_one_addresses,
    without_details,
    without_stats,
)
from ipvkit.errors import UnparsableOutput
from ipvkit.report.json import plain
from ipvkit.tools.ip import Address, Link, parse_addresses, parse_links
from strategies import JSON_VALUES, mutated_text

Parser = Callable[[str], tuple[Link, ...]]

CAPTURES = [*captures("link-"), *captures("addr-")]
SMALL = [capture for capture in CAPTURES if 3 < capture.stat().st_size < 3000]
PIECES = ("@", ":", "<", ">", "/", "\\    ", "    ", "inet ", "link/", "RX:", "peer ", "-1", "٣", "\x1b[31m", "\r")


def parser_of(capture: Path) -> Parser:
    return parse_links if capture.stem.startswith("link") else parse_addresses


def one(text: str) -> Link:
    (link,) = parse_addresses(text)
    return link


# --- captures -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("capture", "answer"), [pair for kind in ("link-", "addr-") for pair in expected(kind)], ids=str
)
def test_a_capture_is_read_as_a_person_reads_it(capture: Path, answer: Any) -> None:
    assert stripped(plain(parser_of(capture)(text_of(capture)))) == answer


@pytest.mark.parametrize("capture", CAPTURES, ids=short)
def test_nothing_of_a_capture_is_left(capture: Path) -> None:
    links = parser_of(capture)(text_of(capture))
    assert [line for link in links for line in link.unrecognised] == []


@pytest.mark.parametrize("parse", [parse_links, parse_addresses])
@pytest.mark.parametrize("capture", [*captures("error-"), *captures("help")], ids=short)
def test_what_is_no_listing_is_unparsable(capture: Path, parse: Parser) -> None:
    if "iproute2" not in str(capture):
        pytest.skip("another tool's")
    text = text_of(capture)
    for stdout in (text, f"{text}[]\n", f"1: lo: <LOOPBACK> mtu 65536\n{text}"):
        with pytest.raises(UnparsableOutput):
            parse(stdout)
