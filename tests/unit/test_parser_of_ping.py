"""The parser of ping: real captures as a person reads them, and nothing guessed from the rest."""

import json
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipvkit.errors import UnparsableOutput
from ipvkit.tools.ping import PingReport, parse_ping
from strategies import mutated_text, ping_reports, printed

CAPTURES = sorted((Path(__file__).parents[1] / "fixtures").glob("iputils-*/*.txt"))

PIECES = (
    *("0", "99999999999999999999", ".", "..", "-1", "1.2.3", "1e9", "\N{ARABIC-INDIC DIGIT TWO}", "9" * 5000),
    *("64 bytes from 192.0.2.1: icmp_seq=1 ttl=64 time=0.391 ms\n", "From 192.0.2.1 icmp_seq=x y\n", "\r\n"),
    *("4 packets transmitted, 4 received, 0% packet loss, time 0ms\n", "(DUP!)", "PING ", "\0", "\u2028"),
)
"""What makes captures look almost right."""


def short(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


@pytest.mark.parametrize("capture", CAPTURES, ids=short)
def test_a_capture_is_read_as_a_person_reads_it(capture: Path) -> None:
    expected = json.loads(capture.with_suffix(".json").read_text())
    if "unparsable" in expected:
        with pytest.raises(UnparsableOutput) as problem:
            parse_ping(capture.read_text())
        assert problem.value.tool == "ping"
        found = {"line_number": problem.value.line_number, "line": problem.value.line}
        assert found == expected["unparsable"]
    else:
        assert json.loads(json.dumps(asdict(parse_ping(capture.read_text())))) == expected


@given(ping_reports())
def test_what_ping_prints_is_read_back(report: PingReport) -> None:
    assert parse_ping(printed(report)) == report


@given(st.text())
def test_arbitrary_text_is_unparsable(stdout: str) -> None:
    with pytest.raises(UnparsableOutput):
        parse_ping(stdout)


@settings(max_examples=4 * settings().max_examples)
@given(st.sampled_from(CAPTURES).flatmap(lambda capture: mutated_text(capture.read_text(), PIECES)))
def test_a_mangled_capture_is_read_or_unparsable(stdout: str) -> None:
    with suppress(UnparsableOutput):
        parse_ping(stdout)


HEADER = "PING 192.0.2.1 (192.0.2.1) 56(84) bytes of data."
COUNTS = "1 packets transmitted, 1 received, 0% packet loss, time 0ms"
NO_NUMBERS = ("1.2.3", ".", "..", "1..2", "9" * 5000)


@pytest.mark.parametrize("number", NO_NUMBERS, ids=lambda number: number[:5])
@pytest.mark.parametrize(
    "line",
    [
        "64 bytes from 192.0.2.1: icmp_seq=1 ttl=64 time=NUMBER ms",
        "64 bytes from 192.0.2.1: icmp_seq=NUMBER ttl=64 time=0.1 ms",
        "64 bytes from 192.0.2.1: icmp_seq=1 ttl=NUMBER time=0.1 ms",
        "From 192.0.2.1 icmp_seq=NUMBER Destination Host Unreachable",
        "rtt min/avg/max/mdev = NUMBER/0.1/0.1/0.1 ms",
    ],
)
def test_a_line_with_a_number_that_is_none_is_kept_as_it_is(line: str, number: str) -> None:
    line = line.replace("NUMBER", number)
    try:
        report = parse_ping("\n".join([HEADER, line, COUNTS]))
    except UnparsableOutput:
        return
    assert report.unrecognised == (line,)
    assert (report.replies, report.errors, report.rtt_ms) == ((), (), None)


@pytest.mark.parametrize("number", NO_NUMBERS, ids=lambda number: number[:5])
@pytest.mark.parametrize(
    "line",
    [
        "NUMBER packets transmitted, 1 received, 0% packet loss, time 0ms",
        "1 packets transmitted, NUMBER received, 0% packet loss, time 0ms",
        "1 packets transmitted, 1 received, NUMBER% packet loss, time 0ms",
    ],
)
def test_a_count_that_is_no_number_is_unparsable(line: str, number: str) -> None:
    with pytest.raises(UnparsableOutput):
        parse_ping("\n".join([HEADER, "", line.replace("NUMBER", number)]))


@given(ping_reports(), st.data())
def test_output_that_ends_before_the_counts_is_unparsable(report: PingReport, data: st.DataObject) -> None:
    lines = printed(report).splitlines()
    counts = next(number for number, line in enumerate(lines) if "packets transmitted" in line)
    cut = "\n".join(lines[: data.draw(st.integers(0, counts))])
    with pytest.raises(UnparsableOutput) as problem:
        parse_ping(cut)
    assert problem.value.line in cut


@pytest.mark.parametrize(
    "stdout",
    [
        "PING 192.0.2.1 (192.0.2.1): 56 data bytes\n64 bytes from 192.0.2.1: seq=0 ttl=64 time=0.1 ms\n",
        "PING 192.0.2.1 (192.0.2.1): 56 data bytes\n64 bytes from 192.0.2.1: icmp_seq=0 ttl=64 time=0.1 ms\n"
        "--- 192.0.2.1 ping statistics ---\n1 packets transmitted, 1 packets received, 0% packet loss\n",
        "ping: 192.0.2.1: Name or service not known\n",
        "4 packets transmitted, 4 received, 0% packet loss, time 0ms\n",
    ],
    ids=["busybox", "inetutils", "error", "no header"],
)
def test_another_program_of_that_name_is_unparsable(stdout: str) -> None:
    with pytest.raises(UnparsableOutput) as problem:
        parse_ping(stdout)
    assert "ipvkit doctor" in problem.value.hint


@given(ping_reports(), st.text(st.characters(codec="ascii", categories=["L"]), min_size=1))
def test_a_line_that_is_not_known_is_kept_and_changes_nothing(report: PingReport, line: str) -> None:
    head, *rest = printed(report).splitlines()
    found = parse_ping("\n".join([head, line, *rest]))
    assert found.unrecognised == (line,)
    assert (found.transmitted, found.received, found.replies) == (
        report.transmitted,
        report.received,
        report.replies,
    )
