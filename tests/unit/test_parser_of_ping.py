"""The parser of ping: real captures as a person reads them, and nothing guessed from the rest."""

import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captures import assert_linear, captures, expected, short, stripped, text_of
from cases import for_each
from ipvkit.core.errors import UnparsableOutput
from ipvkit.report.plain import plain
from ipvkit.tools.ping import (
    Header,
    NoAnswer,
    Note,
    PingError,
    PingEvent,
    PingReport,
    Reply,
    Summary,
    Times,
    Unrecognised,
    parse_ping,
    read_ping,
)
from ping_output import DIALECTS, Dialect, printed, reports, unfinished
from strategies import mutated_text

CAPTURES = captures("ping")

WITH_USAGE = {
    "busybox-1.37.0/ping-bad-option": "an error with the usage behind it",
    "busybox-1.37.0/ping-version": "an error with the usage behind it",
    "inetutils-2.6/ping-bad-option": "an error with a hint behind it",
    "inetutils-2.6/ping-no-destination": "an error with a hint behind it",
    "iputils-20240905/ping-bad-option": "an error with the usage behind it",
    "iputils-20240905/ping-help": "--help is no option: an error with the usage behind it",
}
NO_PING = {
    "busybox-1.37.0/ping-help": "the usage",
    "busybox-1.37.0/ping-no-destination": "the usage",
    "inetutils-2.6/ping-help": "the usage",
    "inetutils-2.6/ping-version": "a version",
    "iputils-20240905/ping-version": "a version",
}

HEADER = "PING 192.0.2.1 (192.0.2.1) 56(84) bytes of data."
REPLY = "64 bytes from 192.0.2.1: icmp_seq=1 ttl=64 time=0.391 ms"
COUNTS = "1 packets transmitted, 1 received, 0% packet loss, time 0ms"
RTT = "rtt min/avg/max/mdev = 0.391/0.391/0.391/0.000 ms"
PIECES = (
    *("0", "99999999999999999999", ".", "..", "-1", "1.2.3", "1e9", "\N{ARABIC-INDIC DIGIT TWO}", "9" * 5000),
    *(
        f"{REPLY}\n",
        f"{HEADER}\n",
        f"{COUNTS}\n",
        "From 192.0.2.1 icmp_seq=x y\n",
        "\r\n",
        "\r",
        "\a",
        "\b",
        "^C",
    ),
    *("(DUP!)", "PING ", "PING6(", "ping: ", "--- x ---\n", "\0", "\u2028", "\ud800", "::", "%", "100%", ","),
)
"""What makes captures look almost right."""


def joined(*lines: str) -> str:
    return "".join(f"{line}\n" for line in lines)


def read_or_none(text: str) -> PingReport | None:
    with suppress(UnparsableOutput):
        return parse_ping(text)
    return None


def dialects_with_reports() -> st.SearchStrategy[tuple[Dialect, PingReport]]:
    return st.sampled_from(DIALECTS).flatmap(lambda dialect: st.tuples(st.just(dialect), reports(dialect)))


# --- captures -----------------------------------------------------------------------------------------


@for_each(("capture", "read"), expected("ping"))
def test_a_capture_is_read_as_a_person_reads_it(capture: Path, read: dict[str, Any]) -> None:
    if "unparsable" in read:
        with pytest.raises(UnparsableOutput) as problem:
            parse_ping(text_of(capture))
        assert problem.value.tool == "ping"
        found = {"line_number": problem.value.line_number, "line": problem.value.line}
        assert found == read["unparsable"]
    else:
        assert stripped(json.loads(json.dumps(plain(parse_ping(text_of(capture)))))) == read


@for_each("capture", CAPTURES)
def test_every_line_of_a_capture_is_understood(capture: Path) -> None:
    name = short(capture)
    if name in NO_PING:
        with pytest.raises(UnparsableOutput):
            parse_ping(text_of(capture))
    else:
        unrecognised = parse_ping(text_of(capture)).unrecognised
        assert bool(unrecognised) == (name in WITH_USAGE)


@for_each("capture", CAPTURES)
def test_a_ping_that_failed_is_neither_a_success_nor_a_loss(capture: Path) -> None:
    text = text_of(capture)
    report = read_or_none(text)
    if report is not None and "packets transmitted" not in text:
        assert not report.complete
        assert (report.transmitted, report.received, report.loss_percent, report.error_count) == 4 * (None,)
    elif report is not None:
        assert report.complete


# --- what pings print is read back ----------------------------------------------------------------------


@settings(max_examples=6 * settings().max_examples)
@given(dialects_with_reports())
def test_what_a_ping_prints_is_read_back(drawn: tuple[Dialect, PingReport]) -> None:
    dialect, report = drawn
    assert parse_ping(printed(report, dialect)) == report


@given(dialects_with_reports())
def test_line_ends_of_windows_make_no_difference(drawn: tuple[Dialect, PingReport]) -> None:
    dialect, report = drawn
    assert parse_ping(printed(report, dialect).replace("\n", "\r\n")) == report


@given(dialects_with_reports())
def test_a_reply_that_was_heard_is_read_as_one_that_was_not(drawn: tuple[Dialect, PingReport]) -> None:
    """Most replies are taken apart together with the lines of a log; a bell takes them out of that."""
    dialect, report = drawn
    lines = printed(report, dialect).split("\n")
    heard = [f"{line}\a" if " bytes from " in line else line for line in lines]
    assert parse_ping("\n".join(heard)) == report


@given(reports("iputils"), st.integers(1, 30_000))
def test_a_log_is_read_to_its_end(report: PingReport, length: int) -> None:
    """It is read in blocks, whose borders fall anywhere."""
    reply = Reply(64, report.address, None, 7, 64, 0.5)
    text = printed(replace(report, replies=(reply,)))
    (line,) = (line for line in text.splitlines() if "icmp_seq=7 ttl" in line)
    found = parse_ping(text.replace(f"{line}\n", length * f"{line}\n"))
    assert found == replace(report, replies=length * (reply,))


@given(dialects_with_reports(), st.text(st.characters(codec="ascii", categories=["L"]), min_size=6))
def test_a_line_that_is_not_known_is_kept_and_changes_nothing(
    drawn: tuple[Dialect, PingReport], line: str
) -> None:
    dialect, report = drawn
    found = parse_ping(printed(report, dialect) + joined(line, f"  {line} 50% "))
    assert found == replace(report, unrecognised=(line, f"  {line} 50% ")) or not report.complete


def test_text_before_the_header_is_kept() -> None:
    report = parse_ping(joined("$ ping 192.0.2.1", "", REPLY, HEADER, REPLY, COUNTS))
    assert report.unrecognised == ("$ ping 192.0.2.1", REPLY)
    assert len(report.replies) == 1


def test_errors_may_come_before_the_header() -> None:
    """Where stdout is a pipe, stderr is there before it."""
    report = parse_ping(joined("ping: sendmsg: Message too long", HEADER, "", COUNTS))
    assert [error.message for error in report.errors] == ["sendmsg: Message too long"]
    assert report.complete


def test_a_second_header_is_unparsable() -> None:
    with pytest.raises(UnparsableOutput) as problem:
        parse_ping(joined(HEADER, REPLY, "", COUNTS, HEADER))
    assert (problem.value.line_number, problem.value.line) == (5, HEADER)


# --- lines of which there is no capture -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        ("64 bytes from 192.0.2.1: icmp_req=1 ttl=64 time=0.1 ms", {"seq": 1}),
        ("64 bytes from gw.example: icmp_seq=1 ttl=64 time=0.1 ms", {"name": "gw.example", "source": None}),
        ("64 bytes from 2001:db8::: icmp_seq=1 ttl=64 time=0.1 ms", {"source": "2001:db8::"}),
        ("64 bytes from ::1: icmp_seq=1 time=0.1 ms", {"ttl": None}),
        ("16 bytes from ::1, icmp_seq=0 hlim=64 time=0.1 ms(DUP!)", {"duplicate": True}),
        (
            "64 bytes from 192.0.2.1: icmp_seq=1 ttl=64 time=0.1 ms (DUP!) (BAD CHECKSUM!)",
            {"duplicate": True},
        ),
        (
            "12:34:56.789012 64 bytes from 192.0.2.1: icmp_seq=0 ttl=64 time=0.1 ms",
            {"remarks": ["12:34:56.789012"]},
        ),
    ],
)
def test_other_replies(line: str, reply: dict[str, Any]) -> None:
    report = parse_ping(joined(HEADER, line))
    assert report.unrecognised == ()
    (found,) = report.replies
    assert plain(found) | reply == plain(found)


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("From gw.example (192.0.2.9) icmp_seq=3 Time to live exceeded", {"name": "gw.example", "seq": 3}),
        ("From gw.example icmp_seq=3 Time to live exceeded", {"name": "gw.example", "source": None}),
        ("From 2001:db8:: icmp_seq=3 Time exceeded: Hop limit", {"source": "2001:db8::"}),
        ("From 192.0.2.9: Source Quench", {"source": "192.0.2.9", "seq": None}),
        (
            "From 192.0.2.9: icmp_seq=1 (BAD CHECKSUM)Redirect Host",
            {"message": "(BAD CHECKSUM)Redirect Host"},
        ),
        ("ping: local error: message too long, mtu: 1280", {"mtu": 1280}),
        ("/bin/ping: sendmsg: Operation not permitted", {"message": "sendmsg: Operation not permitted"}),
        ("connect: Network is unreachable", {"message": "connect: Network is unreachable"}),
        (
            "ping6: UDP connect: No route to host",
            {"source": None, "message": "UDP connect: No route to host"},
        ),
    ],
)
def test_other_errors(line: str, error: dict[str, Any]) -> None:
    report = parse_ping(joined(HEADER, line))
    assert report.unrecognised == ()
    (found,) = report.errors
    assert plain(found) | error == plain(found)


@pytest.mark.parametrize(
    ("line", "header"),
    [
        ("PING h.example(gw.example (2001:db8::1)) 56 data bytes", {"address": "2001:db8::1"}),
        ("PING h.example(gw.example) 56 data bytes", {"destination": "h.example", "address": None}),
        ("PING ::1 (::1) , flow 0x00010, from ::1 lo: 56 data bytes", {"source": "::1", "dev": "lo"}),
        ("PING a.example (192.0.2.1) from my.example: 56 data bytes", {"source": None, "data_bytes": 56}),
        ("PING a.example (192.0.2.1): (16 ... 64) data bytes", {"address": "192.0.2.1", "data_bytes": None}),
        ("PING  (192.0.2.1) 56(84) bytes of data.", {"destination": "", "address": "192.0.2.1"}),
        ("PING6(56=40+8+8 bytes) my.example --> h.example", {"destination": "h.example", "address": None}),
    ],
)
def test_other_headers(line: str, header: dict[str, Any]) -> None:
    found = plain(parse_ping(joined(line)))
    assert found | header == found


@pytest.mark.parametrize(
    ("line", "counts"),
    [
        ("9 packets transmitted, 0 received, +3 errors, 100% packet loss, time 3ms", {"error_count": 3}),
        (
            "10000000 packets transmitted, 9999999 received, 1e-05% packet loss, time 9ms",
            {"loss_percent": 1e-05},
        ),
        (
            "3 packets transmitted, 4 packets received, -- somebody is printing forged packets!",
            {"loss_percent": None},
        ),
        (
            "3 packets transmitted, 3 packets received, 0.0% packet loss, 1 packets out of wait time",
            {"received": 3},
        ),
        ("0 packets transmitted, 0 packets received, ", {"transmitted": 0, "loss_percent": None}),
    ],
)
def test_other_counts(line: str, counts: dict[str, Any]) -> None:
    report = parse_ping(joined(HEADER, line))
    assert (report.complete, report.unrecognised) == (True, ())
    assert plain(report) | counts == plain(report)
    assert report.notes == tuple(word for word in line.split(", ") if "wait time" in word or "forged" in word)


def test_a_deviation_that_is_no_number_is_none() -> None:
    report = parse_ping(joined(HEADER, COUNTS, "round-trip min/avg/max/stddev = 0.1/0.1/0.1/nan ms"))
    assert report.rtt_ms is not None
    assert (report.rtt_ms.max, report.rtt_ms.mdev) == (0.1, None)


@pytest.mark.parametrize(
    ("typed", "left"),
    [
        ("...\b \b\b \b\b \b", ()),
        ("...\b \b.\bE", (".." + "E",)),
        ("\b.\b...", ("...",)),
        ("..\a.", ("...",)),
        ("^C", ("^C",)),
    ],
)
def test_what_is_left_on_the_screen_is_a_note(typed: str, left: tuple[str, ...]) -> None:
    for text in (
        joined(HEADER, typed, COUNTS),
        joined(HEADER, f"{typed}--- 192.0.2.1 ping statistics ---", COUNTS),
    ):
        report = parse_ping(text)
        assert (report.notes, report.unrecognised, report.complete) == (left, (), True)
    assert parse_ping(f"{HEADER}\n{typed}").notes == left


NOTES = (
    *("PATTERN: 0xff", "WARNING: pinging broadcast address", "ping: Warning: no SO_TIMESTAMP support"),
    *("ping: warning: got ICMP 3 (Destination Unreachable)", "ai->ai_family: AF_INET, ai->ai_canonname: 'a'"),
    *("0/1 packets, 100% loss", "1/5 packets received (20.0%) 1.250 min / 1.250 avg / 1.250 max"),
    *(
        "wrong total length 68 instead of 84",
        "wrong data byte #8 should be 0x8 but was 0x9",
        "cp:",
        "\t 8  9  a",
        "dp:",
    ),
    *("#48\t30 31 32", "#48\t30 31 32 \t(same route)", "checksum mismatch from 192.0.2.4"),
    *(
        "RR: \t192.0.2.2",
        "\t0.0.0.0",
        "\tgw.example (192.0.2.1)",
        "LSRR: \t192.0.2.9",
        "\t(truncated route)",
        "NOP",
    ),
    *("TS: \t36345811 absolute", "\t12 absolute not-standard", "\t-3", "\t0", "TS:\t192.0.2.2\t36345671 ms"),
    *(
        "\t192.0.2.1\t36345671 ms",
        "\t36345671 ms = 0x022a9547",
        "\t(2 overflowing hosts)",
        "Unrecorded hops: 2",
    ),
    *("Vr HL TOS  Len   ID Flg  off TTL Pro  cks      Src      Dst Data", "unknown option 94"),
    *(
        " 4  5  00 5400 3e08   2 0000  40  01 9c5c 192.0.2.2  192.0.2.3",
        "IP Hdr Dump:",
        " 4500 0054 f0dd 4000",
    ),
    *("Vr TC  Flow Plen Nxt Hlim", " 6 00 00000 0010  3a   01", "2001:db8::1->2001:db8::2", "..."),
    *(
        "ICMP6: type = 128, code = 0",
        "HBH FRAG ICMP6: type = 128, code = 0",
        "UDP: from port 7, to port 9 (decimal)",
    ),
    *("ICMP: type 8, code 0, size 64, id 0x01b2, seq 0x0000", " 6000 0000 0010 3a40 (src) (dst)"),
    *("Destination: 2001:db8::2 New Target: fe80::2", "new path MTU (1280) is notified"),
    *("  HbH Options: nxt 58, len 0 (8 bytes)", "    Router Alert Opt: Type 0", "   [0]2001:db8::5"),
    *("icmp_otime = 36345777", "icmp_mask = 255.255.255.0", "^C"),
)


@for_each("line", NOTES)
def test_what_else_pings_print_is_a_note(line: str) -> None:
    report = parse_ping(joined(HEADER, f"{line} \a", COUNTS))
    assert report == replace(parse_ping(joined(HEADER, COUNTS)), notes=(line,))


# --- nothing is guessed ------------------------------------------------------------------------------------


@given(st.text())
def test_arbitrary_text_is_unparsable(text: str) -> None:
    with pytest.raises(UnparsableOutput) as problem:
        parse_ping(text)
    lines = [line for line in text.split("\n") if line.strip()]
    assert problem.value.line == (lines[0].removesuffix("\r") if lines else "")


@settings(max_examples=8 * settings().max_examples)
@given(st.sampled_from(CAPTURES).flatmap(lambda capture: mutated_text(text_of(capture), PIECES)))
def test_a_mangled_capture_is_read_or_unparsable(text: str) -> None:
    report = read_or_none(text)
    if report is not None:
        assert report.complete == (report.transmitted is not None) == (report.received is not None)
        assert report.complete or report.loss_percent is report.error_count is None


@pytest.mark.parametrize("text", ["", "\n", "\n \n\t\r\n", "\a\n"])
def test_nothing_is_unparsable(text: str) -> None:
    with pytest.raises(UnparsableOutput):
        parse_ping(text)
    with pytest.raises(UnparsableOutput):
        list(read_ping(text.splitlines(keepends=True)))


@pytest.mark.parametrize(
    "text",
    [
        "Pinging 192.0.2.1 with 32 bytes of data:\nReply from 192.0.2.1: bytes=32 time=87ms TTL=51\n",
        "arping: connect: Network is unreachable\n",
        "PATTERN: 0xff\n....\n^C\n",
        joined(REPLY, "", COUNTS, RTT),
        "192.0.2.1 is alive!\n",
        "usage: ping [-AaDdfnoQqRrv] [-c count] host\n",
    ],
    ids=["windows", "arping", "notes", "no header", "busybox without details", "usage"],
)
def test_what_is_no_ping_is_unparsable(text: str) -> None:
    with pytest.raises(UnparsableOutput) as problem:
        parse_ping(text)
    assert (problem.value.line_number, problem.value.line) == (1, text.partition("\n")[0])
    assert "ipvkit doctor" in problem.value.hint


GERMAN = joined(
    "PING localhost (127.0.0.1) 56(84) Bytes an Daten.",
    "64 Bytes von localhost (127.0.0.1): icmp_seq=1 ttl=64 Zeit=0.030 ms",
    "",
    "--- localhost ping-Statistik ---",
    "1 Pakete übertragen, 1 empfangen, 0% Paketverlust, Zeit 0ms",
)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (1, GERMAN),
        (2, f"ping: sendmsg: Nachricht zu lang\n{GERMAN}"),
        (2, joined(HEADER, "64 octets de 192.0.2.1 : icmp_seq=1 ttl=64 temps=0.039 ms")),
        (2, joined(HEADER, "64 字节\N{FULLWIDTH COMMA}来自 192.0.2.1: icmp_seq=1 ttl=64 时间=0.039 毫秒")),
        (2, joined(HEADER, "Von 192.0.2.9 icmp_seq=1 Zielhost nicht erreichbar")),
        (2, joined(HEADER, "来自 192.0.2.9 icmp_seq=1 目标主机不可达")),
        (2, joined(HEADER, "pas encore de réponse pour icmp_seq=1")),
        (3, joined(HEADER, "", "--- statistiques ping 192.0.2.1 ---", COUNTS)),
        (2, joined(HEADER, "1 paquets transmis, 1 reçus, 0% packet loss, time 0ms")),
        (2, joined(HEADER, "已发送 1 个包\N{FULLWIDTH COMMA} 已接收 1 个包, 0% 包丢失, 耗时 0 毫秒")),
        (2, joined(HEADER, "64 bytes from 192.0.2.1: icmp_seq=1 ttl=64 time=0,391 ms")),
        (2, joined(HEADER, "3 packets transmitted, 2 received, 33,3333% packet loss, time 4ms")),
        (3, joined(HEADER, COUNTS, "rtt min/avg/max/mdev = 0,391/0,400/0,410/0,001 ms")),
        (3, joined(HEADER, COUNTS, "round-trip min/avg/max = 0,391/0,400/0,410 ms")),
    ],
)
def test_text_of_another_locale_is_refused(number: int, text: str) -> None:
    with pytest.raises(UnparsableOutput) as problem:
        parse_ping(text)
    assert problem.value.line_number == number
    assert problem.value.line == text.split("\n")[number - 1]


@pytest.mark.parametrize(
    "text",
    [
        "ping: connect: Network is unreachable\n",
        "ping: unknown host foo\n",
        "ping: bad address 'foo'\n",
        "ping: foo: Name or service not known\n",
        "ping: cannot resolve foo: Unknown host\n",
        "ping: socket: Operation not permitted\n",
        "connect: Network is unreachable\n",
        joined(HEADER, "ping: sendto: Network is unreachable"),
        joined(HEADER, "ping: sendto: Network is unreachable", "100% packet loss"),
    ],
)
def test_an_error_is_neither_a_success_nor_a_loss(text: str) -> None:
    report = parse_ping(text)
    assert len(report.errors) == 1
    assert not report.complete
    assert (report.transmitted, report.received, report.loss_percent, report.rtt_ms) == 4 * (None,)


NO_NUMBERS = ("1.2.3", ".", "..", "1..2", "9" * 5000, "\N{ARABIC-INDIC DIGIT TWO}", "-1", "0x10", "1e400", "")


@for_each("number", NO_NUMBERS)
@for_each(
    "line",
    [
        "64 bytes from 192.0.2.1: icmp_seq=1 ttl=64 time=NUMBER ms",
        "64 bytes from 192.0.2.1: icmp_seq=NUMBER ttl=64 time=0.1 ms",
        "64 bytes from 192.0.2.1: icmp_seq=1 ttl=NUMBER time=0.1 ms",
        "NUMBER bytes from 192.0.2.1: icmp_seq=1 ttl=64 time=0.1 ms",
        "[NUMBER] 64 bytes from 192.0.2.1: icmp_seq=1 ttl=64 time=0.1 ms",
        "64 bytes from gw.example (192.0.2.NUMBER): icmp_seq=1 ttl=64 time=0.1 ms",
        "64 bytes from 2001:db8:::NUMBER: icmp_seq=1 ttl=64 time=0.1 ms",
        "From 192.0.2.1 icmp_seq=NUMBER Destination Host Unreachable",
        "no answer yet for icmp_seq=NUMBER",
        "rtt min/avg/max/mdev = NUMBER/0.1/0.1/0.1 ms",
        "pipe NUMBER",
    ],
)
def test_a_line_with_a_number_that_is_none_is_kept_as_it_is(line: str, number: str) -> None:
    line = line.replace("NUMBER", number)
    report = read_or_none(joined(HEADER, line, COUNTS))
    if report is not None:
        whole = parse_ping(joined(HEADER, COUNTS))
        assert report == replace(whole, unrecognised=(line,))


@for_each("address", ["192.0.2.256", "192.0.2.01", "192.0.2", "1::2::3", "2001:db8::g", "9" * 5000])
@for_each(
    "line",
    [
        "64 bytes from ADDRESS: icmp_seq=1 ttl=64 time=0.1 ms",
        "16 bytes from ADDRESS, icmp_seq=0 hlim=64 time=0.1 ms",
        "64 bytes from gw.example (ADDRESS): icmp_seq=1 ttl=64 time=0.1 ms",
        "From ADDRESS icmp_seq=1 Destination Host Unreachable",
        "From ADDRESS: icmp_seq=1 Source Quench",
        "From gw.example (ADDRESS) icmp_seq=1 Destination Host Unreachable",
        "92 bytes from ADDRESS: Destination Host Unreachable",
    ],
)
def test_a_line_with_an_address_that_is_none_is_kept_as_it_is(line: str, address: str) -> None:
    line = line.replace("ADDRESS", address)
    whole = parse_ping(joined(HEADER, REPLY, COUNTS))
    assert parse_ping(joined(HEADER, line, REPLY, line, COUNTS)) == replace(whole, unrecognised=(line, line))


@for_each("number", NO_NUMBERS)
@for_each(
    "line",
    [
        "NUMBER packets transmitted, 1 received, 0% packet loss, time 0ms",
        "1 packets transmitted, NUMBER received, 0% packet loss, time 0ms",
        "1 packets transmitted, 1 received, NUMBER% packet loss, time 0ms",
        "1 packets transmitted, 1 received, +NUMBER errors, 0% packet loss, time 0ms",
    ],
)
def test_a_count_that_is_no_number_is_no_summary(line: str, number: str) -> None:
    report = read_or_none(joined(HEADER, "", line.replace("NUMBER", number)))
    assert report is None or not report.complete


@pytest.mark.parametrize("address", ["192.0.2.256", "192.0.2.01", "192.0.2", "nobody", "1::2::3", "9" * 5000])
def test_a_header_without_an_address_is_unparsable(address: str) -> None:
    with pytest.raises(UnparsableOutput):
        parse_ping(joined(f"PING {address} ({address}) 56(84) bytes of data.", REPLY, COUNTS))


LONG_LINES = (
    *(
        "|9|",
        "|a|",
        "|(|",
        "|\t|",
        "|a=b|",
        "| a=b|",
        "|::|",
        "64 bytes from |a|",
        "64 bytes from |a (|: icmp_seq=1",
    ),
    *(f"{REPLY}| (x)| y", f"{REPLY}| x=y| y", "From |a| (", "PING |a|", "ping|/|", "|../|pin", "|....|x"),
    "1 packets transmitted, 1 received|, +1 errors|",
)
"""Lines as what stands before, between and behind bars: the part between is repeated."""


@pytest.mark.long
@for_each("line", LONG_LINES)
@for_each("end", ["", "\n"])
def test_a_long_line_takes_time_by_its_length(line: str, end: str) -> None:
    assert_linear(parse_ping, f"{HEADER}\n{line}{end}")


# --- output that was cut ------------------------------------------------------------------------------------


def outputs() -> st.SearchStrategy[str]:
    rendered = dialects_with_reports().map(lambda drawn: printed(drawn[1], drawn[0]))
    return rendered | st.sampled_from(CAPTURES).map(text_of)


@settings(max_examples=8 * settings().max_examples)
@given(outputs(), st.data())
def test_of_output_that_was_cut_what_was_there_is_kept(text: str, data: st.DataObject) -> None:
    whole = read_or_none(text)
    cut = text[: data.draw(st.integers(0, len(text)))]
    part = read_or_none(cut)
    if part is None or whole is None:
        assert whole is None or not any(line.startswith("PING ") for line in cut.split("\n")[:-1])
        return
    errors = list(part.errors)
    if len(errors) > len(whole.errors) and cut.startswith("ping: ") and "\n" not in cut:
        # The beginning of what it tells with -v is like that of what it complains of.
        errors.pop()
    for error, of_whole in zip(errors, whole.errors[: len(errors)], strict=True):
        # What ping says itself, and the end of its summary, it writes at once: text without the last newline
        # is far more often stripped than cut.
        assert error == of_whole or (error.source is None and of_whole.message.startswith(error.message))
    assert part.no_answers == whole.no_answers[: len(part.no_answers)]
    for reply, of in zip(part.replies, whole.replies[: len(part.replies)], strict=True):
        # Nobody can miss what ping would have added behind the milliseconds.
        assert reply == of or reply == of._replace(remarks=reply.remarks, duplicate=reply.duplicate)
    for field in fields(PingReport):
        if field.name not in (
            "replies",
            "errors",
            "no_answers",
            "notes",
            "unrecognised",
            "complete",
            "rtt_ms",
            "pipe",
        ):
            assert getattr(part, field.name) in (None, getattr(whole, field.name))
    assert part.rtt_ms in (None, whole.rtt_ms)
    assert part.pipe is None or str(whole.pipe).startswith(str(part.pipe))
    assert part.complete <= ("packets transmitted" in cut)
    if cut.endswith("\n"):
        assert part.unrecognised == whole.unrecognised[: len(part.unrecognised)]
    else:
        assert len(part.unrecognised) <= len(whole.unrecognised) + 1


@given(dialects_with_reports())
def test_a_ping_without_its_summary_is_not_complete(drawn: tuple[Dialect, PingReport]) -> None:
    dialect, report = drawn
    head, _, _ = printed(report, dialect).partition(f"--- {report.destination} ")
    assert parse_ping(head) == unfinished(report)


@pytest.mark.parametrize(
    "end",
    [
        *(
            "64 bytes from 192.0.2.1: icmp_seq=1 ttl=6",
            "64 bytes from 192.0.2.1: icmp_seq=1",
            "64 bytes from 192.0.",
        ),
        *(
            "From 192.0.2.1 icmp_seq=1 Destination Ho",
            "no answer yet for icmp_seq=1",
        ),
        *("1 packets transmitted, 1 received", "1 packets transmitted, 1 received, 0% packet loss, time 12"),
        *(
            "--- 192.0.2.1 ping stat",
            "rtt min/avg/max/mdev = 0.1/0.1/0.1/0.1",
            "PATTERN: 0xf",
        ),
    ],
)
def test_a_last_line_that_may_go_on_is_not_read(end: str) -> None:
    report = parse_ping(f"{HEADER}\n{end}")
    assert report == replace(parse_ping(f"{HEADER}\n"), unrecognised=(end,))


@pytest.mark.parametrize(
    "end", [REPLY, f"{REPLY} (DUP!)", COUNTS, "1 packets transmitted, 1 received, 0% packet loss"]
)
def test_a_last_line_that_is_whole_is_read_without_its_newline(end: str) -> None:
    report = parse_ping(f"{HEADER}\n{end}")
    assert report.unrecognised == ()
    assert report.complete == ("transmitted" in end)
    assert len(report.replies) == ("icmp_seq" in end)


@for_each("text", [text_of(capture) for capture in CAPTURES])
def test_stripped_output_says_the_same(text: str) -> None:
    whole, stripped_ = read_or_none(text), read_or_none(text.rstrip())
    if whole is None or not (whole.complete or (whole.transmitted is None and whole.destination is None)):
        return
    assert stripped_ is not None
    assert replace(stripped_, notes=(), unrecognised=()) == replace(whole, notes=(), unrecognised=())


# --- as it arrives --------------------------------------------------------------------------------------


def collected(events: Iterable[PingEvent]) -> PingReport:
    """Return the report that the events of one ping make."""
    found = list(events)
    values: dict[str, Any] = {}
    for event in found:
        if isinstance(event, Header | Summary | Times):
            values |= event._asdict()
    return PingReport(
        **values,
        complete=any(isinstance(event, Summary) for event in found),
        replies=tuple(event for event in found if isinstance(event, Reply)),
        errors=tuple(event for event in found if isinstance(event, PingError)),
        no_answers=tuple(event for event in found if isinstance(event, NoAnswer)),
        notes=tuple(event.text for event in found if isinstance(event, Note)),
        unrecognised=tuple(event.line for event in found if isinstance(event, Unrecognised)),
    )


def lines_of(text: str) -> list[str]:
    return [line for line in text.replace("\n", "\n\v").split("\v") if line]


def streamed_or_none(text: str) -> PingReport | None:
    with suppress(UnparsableOutput):
        return collected(read_ping(lines_of(text)))
    return None


@for_each("capture", CAPTURES)
def test_a_capture_says_the_same_line_by_line(capture: Path) -> None:
    assert streamed_or_none(text_of(capture)) == read_or_none(text_of(capture))


@pytest.mark.long
@given(st.sampled_from(CAPTURES).flatmap(lambda capture: mutated_text(text_of(capture), PIECES)))
def test_a_mangled_capture_says_the_same_line_by_line(text: str) -> None:
    if "\v" not in text and text.count("PING") < 2:
        assert streamed_or_none(text) == read_or_none(text)


@given(st.lists(dialects_with_reports(), min_size=1, max_size=4))
def test_pings_one_after_another_are_told_apart(drawn: list[tuple[Dialect, PingReport]]) -> None:
    pings = [(dialect, replace(report, notes=())) for dialect, report in drawn]
    text = "".join(printed(report, dialect) for dialect, report in pings)
    found: list[list[PingEvent]] = []
    for event in read_ping(lines_of(text)):
        if isinstance(event, Header):
            found.append([])
        found[-1].append(event)
    assert [collected(events) for events in found] == [report for _, report in pings]


def test_what_is_said_is_told_as_soon_as_it_is_there() -> None:
    told = []

    def lines() -> Iterable[str]:
        for line in (HEADER, REPLY, COUNTS):
            yield f"{line}\n"
            told.append(len(seen))

    seen: list[PingEvent] = []
    for event in read_ping(lines()):
        seen.append(event)
    assert told == [1, 2, 3]


def test_the_search_for_a_ping_ends() -> None:
    def endless() -> Iterable[str]:
        while True:
            yield "y\n"

    with pytest.raises(UnparsableOutput) as problem:
        list(read_ping(endless()))
    assert (problem.value.line_number, problem.value.line) == (1, "y")
    assert parse_ping(joined(*(99 * ["y"]), HEADER)).unrecognised == tuple(99 * ["y"])
    for read in (parse_ping, lambda text: list(read_ping(lines_of(text)))):
        with pytest.raises(UnparsableOutput):
            read(joined(*(100 * ["y"]), HEADER))


def test_a_second_summary_is_not_one() -> None:
    report = parse_ping(joined(HEADER, COUNTS, COUNTS))
    assert report.unrecognised == (COUNTS,)
