"""The parser of arping: real captures as a person reads them, and nothing guessed from the rest."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from io import StringIO
from ipaddress import IPv4Address
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arping_output import (
    NOTHING,
    arping_reports,
    busybox,
    habets,
    habets_marks,
    habets_raw,
    habets_reports,
    iputils,
    old_busybox,
    printed_outputs,
)
from captures import assert_linear, captures, expected, short, stripped, text_of
from cases import for_each
from ipvkit.core.errors import UnparsableOutput
from ipvkit.report.plain import plain
from ipvkit.tools.arping import (
    ArpingError,
    ArpingEvent,
    ArpingReport,
    ArpReply,
    Header,
    NoAnswer,
    Note,
    Summary,
    Times,
    Unrecognised,
    parse_arping,
    read_arping,
)
from strategies import mutated_text

CAPTURES = captures("arping")

SAYS_NOTHING = {
    "*/arping-*quiet*": "-q prints nothing",
    "habets-*/arping-raw-silent.txt": "-r prints nothing where nobody answers",
    "habets-*/arping-no-network.txt": "it crashes there without a word",
    "*/arping-help.txt": "usage text only",
    "*/arping-no-destination.txt": "usage text only",
    "*/arping-version.txt": "the version only",
}
"""The captures that are unparsable, and why."""

WITH_USAGE = "*/arping-bad-option.txt"
"""The captures with usage text behind the error: it is kept, whole, in `unrecognised`."""


def lines(text: str) -> StringIO:
    """Return `text` as a file that yields its lines."""
    return StringIO(text, newline="\n")


def collected(events: Iterable[ArpingEvent]) -> ArpingReport:
    """Return what the events of one arping say, put together in another way than the parser does."""
    report = NOTHING
    for event in events:
        match event:
            case Header(destination, source, dev):
                report = replace(report, destination=destination, source=source, dev=dev)
            case ArpReply():
                report = replace(report, replies=(*report.replies, event))
            case NoAnswer():
                report = replace(report, no_answers=report.no_answers + 1)
            case ArpingError(message):
                report = replace(report, errors=(*report.errors, message))
            case Note(text):
                report = replace(report, notes=(*report.notes, text))
            case Unrecognised(line):
                report = replace(report, unrecognised=(*report.unrecognised, line))
            case Summary():
                report = replace(report, complete=True, **event._asdict())
            case Times(rtt_ms):
                report = replace(report, rtt_ms=rtt_ms)
    return report


def found_in(text: str) -> ArpingReport | None:
    """Return the report, None where the text is unparsable."""
    with suppress(UnparsableOutput):
        return parse_arping(text)
    return None


def counts_of(report: ArpingReport) -> tuple[float | None, ...]:
    sent = (report.transmitted, report.transmitted_broadcasts, report.unanswered_percent, report.extra)
    return (*sent, report.received, report.received_requests, report.received_broadcasts)


# --- captures -----------------------------------------------------------------------------------------


@for_each(("capture", "document"), expected("arping"))
def test_a_capture_is_read_as_a_person_reads_it(capture: Path, document: Any) -> None:
    if "unparsable" in document:
        with pytest.raises(UnparsableOutput) as problem:
            parse_arping(text_of(capture))
        assert problem.value.tool == "arping"
        found = {"line_number": problem.value.line_number, "line": problem.value.line}
        assert found == document["unparsable"]
    else:
        assert stripped(plain(parse_arping(text_of(capture)))) == document


@for_each("capture", CAPTURES)
def test_every_line_of_a_capture_is_understood(capture: Path) -> None:
    if any(capture.match(pattern) for pattern in SAYS_NOTHING):
        with pytest.raises(UnparsableOutput):
            parse_arping(text_of(capture))
    elif capture.match(WITH_USAGE):
        report = parse_arping(text_of(capture))
        assert report.errors
        assert report.unrecognised == tuple(line for line in text_of(capture).split("\n")[1:] if line)
    else:
        assert parse_arping(text_of(capture)).unrecognised == ()


def test_a_duplicate_address_has_two_macs() -> None:
    """The twins of the captures answer from two MAC addresses, whoever asks."""
    for name in ("iputils-20240905/arping-two-hosts", "habets-arping-2.25/arping-duplicates"):
        report = parse_arping(text_of(next(path for path in CAPTURES if short(path) == name)))
        assert report.lladdrs == ("02:00:00:00:66:02", "02:00:00:00:66:01")
        assert report.in_use


# --- what each program prints is read back -------------------------------------------------------------


@given(arping_reports())
def test_what_iputils_and_busybox_print_is_read_back(report: ArpingReport) -> None:
    assert parse_arping(iputils(report)) == report
    assert parse_arping(busybox(report)) == report
    assert parse_arping(old_busybox(report)) == report


@given(habets_reports())
def test_what_habets_arping_prints_is_read_back(report: ArpingReport) -> None:
    assert parse_arping(habets(report)) == report
    assert parse_arping(habets(report).replace("\n", "\r\n")) == report
    assert parse_arping(habets(report).replace("\n", "\n\a")) == report


@given(habets_marks() | habets_raw())
def test_marks_and_raw_output_are_read_back(pair: tuple[ArpingReport, str]) -> None:
    report, text = pair
    assert parse_arping(text) == report
    assert parse_arping(text).in_use == bool(report.replies)


HEADER = "ARPING 192.0.2.2 from 192.0.2.1 eth0\n"
REPLY = "Unicast reply from 192.0.2.2 [EE:D1:39:89:B4:36]  0.562ms\n"
SUMMARY = "Sent 1 probes (1 broadcast(s))\nReceived 1 response(s)\n"
HABETS_HEADER = "ARPING 192.0.2.2\n"
HABETS_REPLY = "42 bytes from ee:d1:39:89:b4:36 (192.0.2.2): index=0 time=5.489 usec\n"
HABETS_COUNTS = "1 packets transmitted, 1 packets received,   0% unanswered (0 extra)\n"
HABETS_TIMES = "rtt min/avg/max/std-dev = 0.005/0.005/0.005/0.000 ms\n"
OWNER = IPv4Address("192.0.2.2")
MAC = "ee:d1:39:89:b4:36"
IPOIB = "a0:00:02:20:fe:80:00:00:00:00:00:00:00:02:c9:03:00:4c:16:21"


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        (
            "Broadcast request from 192.0.2.2 [EE:D1:39:89:B4:36] for 192.0.2.9 [FF:FF:FF:FF:FF:FF] 0.562ms",
            ArpReply(
                OWNER,
                MAC,
                "request",
                "broadcast",
                0.562,
                target=IPv4Address("192.0.2.9"),
                target_lladdr="ff:ff:ff:ff:ff:ff",
            ),
        ),
        (
            "Unicast reply from 192.0.2.2 [EE:D1:39:89:B4:36]  UNSOLICITED?",
            ArpReply(OWNER, MAC, cast="unicast", unsolicited=True),
        ),
        (
            "Unicast reply from 192.0.2.2 [8:0:27:5b:61:bc] 1.065ms",
            ArpReply(OWNER, "08:00:27:5b:61:bc", cast="unicast", time_ms=1.065),
        ),
        (
            f"Unicast reply from 192.0.2.2 [{IPOIB.upper()}]  1.065ms",
            ArpReply(OWNER, IPOIB, cast="unicast", time_ms=1.065),
        ),
        (
            "60 bytes from 192.0.2.2 (ee:d1:39:89:b4:36): icmp_seq=256 time=1.002 sec",
            ArpReply(OWNER, MAC, time_ms=1002.0, index=256, bytes=60),
        ),
        (
            "60 bytes from ee:d1:39:89:b4:36 (192.0.2.2): index=0 time=-5000.000 nsec\a",
            ArpReply(OWNER, MAC, time_ms=-0.005, index=0, bytes=60),
        ),
        (
            "60 bytes from ee:d1:39:89:b4:36 (192.0.2.2): index=3/4 time=297.670 msec",
            ArpReply(OWNER, MAC, time_ms=297.67, index=3, bytes=60, remarks=("index=3/4",)),
        ),
    ],
    ids=["DAD", "unsolicited", "no leading zeros", "IPoIB", "by MAC", "backwards", "of sent"],
)
def test_replies_that_no_capture_has(line: str, reply: ArpReply) -> None:
    report = parse_arping(f"{HEADER}{line}\n")
    assert report.replies == (reply,)
    assert report.unrecognised == ()


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        (
            "Sent 5 probes (5 broadcast(s))\nReceived 9 response(s) (4 request(s))\n",
            (5, 5, None, None, 9, 4, 0),
        ),
        (
            "Sent 5 probes (5 broadcast(s))\nReceived 9 response(s) (2 broadcast(s))\n",
            (5, 5, None, None, 9, 0, 2),
        ),
        ("Sent 1 probes (1 broadcast(s))\nReceived 2 replies (1 request(s))\n", (1, 1, None, None, 2, 1, 0)),
        (
            "1 packets transmitted, 2 packets received, -100% unanswered\n",
            (1, None, -100.0, None, 2, None, None),
        ),
        (
            "0 packets transmitted, 0 packets received, -nan% unanswered (0 extra)\n",
            (0, None, None, 0, 0, None, None),
        ),
        ("!!.\t 33% packet loss\n", (None, None, 33.0, None, None, None, None)),
        ("!^C!.\t 33% packet loss (0 extra)\n", (None, None, 33.0, 0, None, None, None)),
    ],
    ids=["requests", "broadcasts", "replies", "without extra", "nothing sent", "marks without extra", "^C"],
)
def test_summaries_that_no_capture_has(text: str, counts: tuple[float | None, ...]) -> None:
    report = parse_arping(text)
    assert (counts_of(report), report.complete, report.unrecognised) == (counts, True, ())


def test_a_deviation_that_is_no_number_is_none() -> None:
    report = parse_arping(f"{HABETS_HEADER}{HABETS_COUNTS}{HABETS_TIMES.replace('0.000', '-nan')}")
    assert report.rtt_ms is not None
    assert (report.rtt_ms.max, report.rtt_ms.mdev) == (0.005, None)


@pytest.mark.parametrize("typed", ["eed1.3989.b436", "ee-d1-39-89-b4-36", "EE:D1:39:89:B4:36", "e:1:3:8:b:6"])
def test_a_mac_is_the_destination_as_it_was_typed(typed: str) -> None:
    assert parse_arping(f"ARPING {typed}\n").destination == typed


def test_a_header_may_name_no_device() -> None:
    report = parse_arping("ARPING 192.0.2.2 from 192.0.2.1 \n")
    assert (report.destination, report.source, report.dev) == ("192.0.2.2", IPv4Address("192.0.2.1"), None)


ERRORS = {
    "arping: unknown host nosuch.example": "unknown host nosuch.example",
    "/usr/sbin/arping: socket: Operation not permitted": "socket: Operation not permitted",
    "arping: device (option -I) is required": "device (option -I) is required",
    'Interface "ib0" is not ARPable (no ll address)': 'Interface "ib0" is not ARPable (no ll address)',
    "bind: Cannot assign requested address": "bind: Cannot assign requested address",
    "ioctl(SIOCGIFFLAGS): No such device": "ioctl(SIOCGIFFLAGS): No such device",
    "Illegal MAC addr x": "Illegal MAC addr x",
    "arping: libnet_init(LIBNET_LINK, eth0): x": "libnet_init(LIBNET_LINK, eth0): x",
    "arping: pcap_open_live(): eth0: No such device": "pcap_open_live(): eth0: No such device",
}

NOTES = (
    "WARNING: using default broadcast address.",
    "WARNING: interface is ignored: Operation not permitted",
    "arping: WARNING: interface is ignored: Operation not permitted",
    "arping: warning: interface eth0 is ignored",
    "arping: Um.. lo looks like the wrong interface to use. Is it? (-i switch)",
    "arping: using it anyway this time",
    "arping: Landlock enabled",
    "arping: libnet_init(eth0)",
    "libnet_init(<null>)",
    "arping: received response for IP ping",
    "arping: ... packet is ARP reply",
    "arping: listen for replies for 0.999999999 sec",
    "arping: libpcap version 1.10.5 (with TPACKET_V3)",
    "arping: Successfully dropped uid/gid to 65534/65534.",
    "too much diff between gettimeofday() and clock_gettime(): 0.012000000",
    "  adapter_unsynced   Adapter, not synced with system time",
    "know what this programs does, do you?",
)


@pytest.mark.parametrize("line", ERRORS)
def test_an_error_alone_is_a_report(line: str) -> None:
    assert parse_arping(f"{line}\n") == parse_arping(line) == replace(NOTHING, errors=(ERRORS[line],))


@pytest.mark.parametrize("line", NOTES)
def test_chatter_is_a_note_and_no_report_alone(line: str) -> None:
    assert parse_arping(f"{line}\n{HEADER}{line}\n").notes == (line, line)
    with pytest.raises(UnparsableOutput):
        parse_arping(f"{line}\n")


@pytest.mark.parametrize("text", [f"{HEADER}{REPLY}^C{SUMMARY}", f"{HEADER}{REPLY}^C\n{SUMMARY}"])
def test_an_echoed_interrupt_is_a_note(text: str) -> None:
    report = parse_arping(text)
    assert (report.received, report.notes, report.unrecognised) == (1, ("^C",), ())


# --- arbitrary, mangled and cut text ------------------------------------------------------------------

PIECES = (
    *("0", "99999999999999999999", ".", "-1", "1.2.3", "1e9", "\N{ARABIC-INDIC DIGIT TWO}", "9" * 5000),
    *(HEADER, REPLY, SUMMARY, HABETS_HEADER, HABETS_REPLY, HABETS_COUNTS, HABETS_TIMES, "Timeout\n", "!.\t"),
    *("arping: ", "ARPING ", f"{MAC}\n", "192.0.2.2\n", "192.0.2.300", "0,562ms", "^C", "\a", "\r\n", "\0"),
    *("\u2028", "\ud800", " for ", "[", "]", "Sent 1 probes (1 broadcast(s))\n", "Received 1 response(s)\n"),
)
"""What makes captures look almost right."""

captured = st.sampled_from(CAPTURES).map(text_of)
outputs = captured | printed_outputs() | (habets_raw() | habets_marks()).map(lambda pair: pair[1])


@given(st.text() | st.text(st.sampled_from("ARPING 192.0:fe!\t\n()[]")))
def test_arbitrary_text_is_unparsable(text: str) -> None:
    with suppress(UnparsableOutput):
        assert parse_arping(text).replies  # Raw output: anybody may write an address.


@settings(max_examples=4 * settings().max_examples)
@given(captured.flatmap(lambda text: mutated_text(text, PIECES)))
def test_a_mangled_capture_is_read_or_unparsable_line_by_line_too(text: str) -> None:
    report = found_in(text)
    events: list[ArpingEvent] = []
    try:
        events.extend(read_arping(lines(text)))
    except UnparsableOutput:
        assert report is None
    else:
        # Several outputs, one after another, are no report.
        assert collected(events) == report if report else any(isinstance(event, Header) for event in events)


def begins(part: Any, whole: Any) -> bool:
    """Return whether `part` is the beginning of `whole`, or None."""
    return part is None or str(whole).startswith(str(part))


@settings(max_examples=4 * settings().max_examples)
@given(outputs, st.data())
def test_cut_output_is_misread_in_its_last_word_at_most(text: str, data: st.DataObject) -> None:
    # What is cut at the end of a word looks whole.
    ends = [place for place, character in enumerate(text) if character in " (\n"] or [0]
    at = data.draw(st.integers(0, len(text)) | st.sampled_from(ends))
    last = text[:at].rpartition("\n")[2]
    before, cut, whole = (found_in(part) for part in (text[: at - len(last)], text[:at], text))
    if cut is None:
        assert before is None
        return
    assert whole is not None
    before = before or NOTHING
    for name in ("destination", "source", "dev"):
        assert getattr(before, name) in (None, getattr(cut, name))
        assert begins(getattr(cut, name), getattr(whole, name))
    for name in ("replies", "errors", "notes"):
        told = getattr(before, name)
        assert told == getattr(cut, name)[: len(told)] == getattr(whole, name)[: len(told)]
    assert len(cut.replies) <= len(whole.replies)
    for reply, its in zip(cut.replies, whole.replies[: len(cut.replies)], strict=True):
        # Only raw output ends in an address.
        assert reply == its or reply == ArpReply(reply.source, its.lladdr)
        assert begins(reply.source, its.source)
    # Whether a message is an error is told by how it goes on.
    assert all(message in last for message in cut.errors[len(before.errors) :])
    assert before.no_answers <= cut.no_answers <= whole.no_answers
    assert cut.rtt_ms in (None, whole.rtt_ms)
    # The counts in brackets come last.
    for count, of_whole in zip(counts_of(cut), counts_of(whole), strict=True):
        assert count in (None, of_whole) or (count == 0 and last.startswith("Received "))


@given(outputs)
def test_output_without_its_last_newline_reads_the_same(text: str) -> None:
    assert found_in(text.removesuffix("\n")) == found_in(text.rstrip()) == found_in(text)


@for_each("capture", CAPTURES)
def test_a_stripped_capture_reads_the_same(capture: Path) -> None:
    text = text_of(capture)
    assert found_in(text.rstrip()) == found_in(text)
    assert found_in(text.replace("\n", "\r\n").removesuffix("\n")) == found_in(text)


@pytest.mark.parametrize(
    ("before", "line"),
    [
        (HEADER, "Unicast reply from 192.0.2.2 [EE:D1:39:89:B4:36]  0.562"),
        (HEADER, "Unicast reply from 192.0.2.2 [EE:D1:39:89:B4:36]  0.562m"),
        (HEADER, "Unicast reply from 192.0.2.2 [EE:D1:39:89:B4:36]  UNSOLICITED"),
        (HEADER, "Unicast reply from 192.0.2.2 [EE:D1:39:89:B4:36] for 192.0.2.1"),
        (HEADER, "Sent 1 probes (1 broadcast(s)"),
        (f"{HEADER}Sent 1 probes (1 broadcast(s))\n", "Received 9 response(s) (4 request(s)"),
        (HABETS_HEADER, "42 bytes from ee:d1:39:89:b4:36 (192.0.2.2): index=0 time=5.489 u"),
        (HABETS_HEADER, "Timeou"),
        (HABETS_HEADER, "1 packets transmitted, 1 packets received,   0% unanswered (0 extra"),
        (HABETS_HEADER, "rtt min/avg/max/std-dev = 0.005/0.005/0.005/0.000 m"),
        (HABETS_HEADER, "!!."),
        (f"{MAC}\n", "ee:d1:39:89:b4:3"),
        (f"{OWNER}\n", "192.0.2."),
    ],
)
def test_half_a_line_is_kept_as_it_is(before: str, line: str) -> None:
    whole = parse_arping(before)
    assert parse_arping(before + line) == replace(whole, unrecognised=(*whole.unrecognised, line))


@given(printed_outputs(), st.data())
def test_cut_output_is_not_complete_before_its_summary(text: str, data: st.DataObject) -> None:
    header = text.index("\n") + 1
    summary = max(text.find(words) for words in ("Received ", " packets received"))
    assert not parse_arping(text[: data.draw(st.integers(header, summary))]).complete
    cut = found_in(text[: data.draw(st.integers(0, header - 1))])
    assert cut is None or replace(cut, destination=None, source=None, dev=None) == NOTHING


@given(st.lists(printed_outputs(), min_size=1, max_size=3))
def test_the_events_of_several_arpings_follow_one_another(texts: list[str]) -> None:
    events = list(read_arping(lines("".join(texts))))
    assert events == list(chain.from_iterable(read_arping(lines(text)) for text in texts))
    assert len([event for event in events if isinstance(event, Header)]) == len(texts)
    if len(texts) == 1:
        assert collected(events) == parse_arping(texts[0])


def test_events_come_as_their_lines_arrive() -> None:
    came: list[str] = []
    events = read_arping(came.pop(0) for _ in range(4))
    for line, event in ((HEADER, Header), (REPLY, ArpReply), ("Timeout\n", NoAnswer), ("x\n", Unrecognised)):
        came.append(line)
        assert isinstance(next(events), event)


# --- what is refused ----------------------------------------------------------------------------------


def refused(text: str) -> tuple[int, str]:
    """Return where the text is unparsable; both ways to read it must say so."""
    with pytest.raises(UnparsableOutput) as problem:
        parse_arping(text)
    assert problem.value.tool == "arping"
    return problem.value.line_number, problem.value.line


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("", (1, "")),
        ("\n\n", (1, "")),
        ("\nhello\nworld\n", (2, "hello")),
        (REPLY, (1, REPLY.strip())),
        ("Timeout\n", (1, "Timeout")),
        ("!!!.", (1, "!!!.")),
        ("ARPING 192.0.2.2 fro", (1, "ARPING 192.0.2.2 fro")),
        ("ARPING to 192.0.2.2 from 192.0.2.1 via", (1, "ARPING to 192.0.2.2 from 192.0.2.1 via")),
        (
            "PING 192.0.2.2 (192.0.2.2) 56(84) bytes of data.\n",
            (1, "PING 192.0.2.2 (192.0.2.2) 56(84) bytes of data."),
        ),
        (HEADER + HEADER, (2, HEADER.strip())),
        (REPLY + SUMMARY + HEADER, (4, HEADER.strip())),
        (f"{MAC}\n{HEADER}", (2, HEADER.strip())),
        (f"{MAC}\nhello\n", (2, "hello")),
        (f"hello\n{MAC}\n", (1, "hello")),
        ("ARPING 192.0.2.300 from 192.0.2.1 eth0\n", (1, "ARPING 192.0.2.300 from 192.0.2.1 eth0")),
        ("ARPING nosuch.example\n", (1, "ARPING nosuch.example")),
        ("arping: x\nARPING nosuch.example\n", (2, "ARPING nosuch.example")),
        ("hello\r\n", (1, "hello")),
        ("x\n" * 200 + HEADER, (1, "x")),
    ],
)
def test_text_that_no_arping_prints_is_unparsable(text: str, where: tuple[int, str]) -> None:
    assert refused(text) == where


def test_a_stream_that_does_not_begin_with_an_arping_is_given_up() -> None:
    def forever() -> Iterable[str]:
        while True:
            yield "x\n"

    with pytest.raises(UnparsableOutput):
        list(read_arping(forever()))


OF_OTHER_LOCALES = {
    "de": ("ARPING 192.0.2.2 von 192.0.2.1 eth0\n", 1),
    "fr": ("ARPING 192.0.2.2 de 192.0.2.1 eth0\n", 1),
    "cs": (f"{HEADER}Unicast odpověď od 192.0.2.2 [EE:D1:39:89:B4:36]  0,562 ms\n", 2),
    "tr": ("192.0.2.2 için ARP isteği, 192.0.2.1 eth0'den\n1 cevap\n", 1),
    # Its header is not translated.
    "zh_CN": (f"{HEADER}单播 reply 来自 192.0.2.2 [EE:D1:39:89:B4:36]  0.562毫秒\n", 2),
    "zh_CN, silent": (f"{HEADER}发送 1 次探测 (1 次广播)\n已接受到 0 个响应\n", 2),
    "id": (f"{HEADER}Unicast balasan dari 192.0.2.2 [EE:D1:39:89:B4:36]  0.562ms\n", 2),
    "error": ("Schnittstelle »eth0« ist inaktiv\n", 1),
    "comma": (HEADER + REPLY.replace("0.562", "0,562"), 2),
    "comma, Habets": (HABETS_HEADER + HABETS_REPLY.replace("5.489", "5,489"), 2),
    "comma, percent": (HABETS_HEADER + HABETS_COUNTS.replace("0%", "33,3%"), 2),
    "comma, times": (HABETS_HEADER + HABETS_TIMES.replace("0.", "0,"), 2),
}


@pytest.mark.parametrize("locale", OF_OTHER_LOCALES)
def test_text_of_another_locale_is_unparsable(locale: str) -> None:
    text, number = OF_OTHER_LOCALES[locale]
    assert refused(text) == (number, text.split("\n")[number - 1])
    with pytest.raises(UnparsableOutput):
        list(read_arping(lines(text)))


NO_NUMBERS = ("1.2.3", ".", "", "-", "9" * 5000, "0x1", "1e1", "\N{ARABIC-INDIC DIGIT TWO}", "\0", "\ud800")
HOSTILE_LINES = {
    "Unicast reply from 192.0.2.2 [EE:D1:39:89:B4:36]  %ms": NO_NUMBERS,
    "42 bytes from ee:d1:39:89:b4:36 (192.0.2.2): index=0 time=% usec": NO_NUMBERS,
    "42 bytes from ee:d1:39:89:b4:36 (192.0.2.2): index=% time=1.000 usec": (*NO_NUMBERS, "-1"),
    "% bytes from ee:d1:39:89:b4:36 (192.0.2.2): index=0 time=1.000 usec": (*NO_NUMBERS, "-1"),
    "Sent % probes (1 broadcast(s))": (*NO_NUMBERS, "-1", "1.0"),
    "1 packets transmitted, % packets received,   0% unanswered (0 extra)": (*NO_NUMBERS, "-1", "1.0"),
    "rtt min/avg/max/std-dev = 0.1/0.1/%/0.1 ms": (*NO_NUMBERS, "nan", "inf"),
    "!\t  0% packet loss (% extra)": (*NO_NUMBERS, "-1", "1.0"),
    "Unicast reply from % [EE:D1:39:89:B4:36]  0.562ms": (
        *("192.0.2", "192.0.2.256", "192.0.02.1", "::1", "peer.example", "", "1.1.1." + "1" * 5000),
        *("\N{ARABIC-INDIC DIGIT TWO}.0.0.1", "192.0.2.2\0"),
    ),
    "42 bytes from ee:d1:39:89:b4:36 (%): index=0 time=1.000 usec": ("192.0.2", "192.0.2.256", "::1", ""),
    "Unicast reply from 192.0.2.2 [%]  0.562ms": (
        *("", ":", "EE:", "EE:D1:39:89:B4:3G", "EED13989B436", "EE-D1-39-89-B4-36", "EE:" * 5000 + "EE"),
        *("\N{FULLWIDTH COLON}", "EE D1 39 89 B4 36", "192.0.2.2"),
    ),
    "42 bytes from % (192.0.2.2): index=0 time=1.000 usec": ("ee:d1:39:89:b4", "EE:D1:39:89:B4:36", "x", ""),
}


@for_each(("form", "value"), [(form, value) for form, values in HOSTILE_LINES.items() for value in values])
def test_a_line_with_a_value_that_is_none_is_kept_as_it_is(form: str, value: str) -> None:
    line = form[::-1].replace("%", value[::-1], 1)[::-1] if form.count("%") == 2 else form.replace("%", value)
    report = parse_arping(f"{HEADER}{line}\n{SUMMARY}")
    assert report == replace(parse_arping(HEADER + SUMMARY), unrecognised=(line,))


letters = st.text(st.characters(codec="ascii", categories=["L"]), min_size=1)


@given(printed_outputs(), letters.filter(lambda line: line != "Timeout"), st.data())
def test_a_line_that_is_not_known_is_kept_and_changes_nothing(
    text: str, line: str, data: st.DataObject
) -> None:
    parts = text.split("\n")
    parts.insert(data.draw(st.integers(0, len(parts) - 1)), line)
    assert parse_arping("\n".join(parts)) == replace(parse_arping(text), unrecognised=(line,))


def test_what_comes_twice_is_not_understood() -> None:
    assert parse_arping(HEADER + 2 * SUMMARY).unrecognised == tuple(SUMMARY.split("\n")[:2])
    assert parse_arping(HABETS_HEADER + 2 * HABETS_COUNTS).unrecognised == (HABETS_COUNTS.strip(),)
    assert parse_arping(HABETS_HEADER + 2 * HABETS_TIMES).unrecognised == (HABETS_TIMES.strip(),)
    assert parse_arping(f"{HEADER}{MAC}\n").unrecognised == (MAC,)


@pytest.mark.parametrize("line", ["Sent 1 probes (1 broadcast(s))", "Received 1 response(s)"])
def test_half_a_summary_is_none(line: str) -> None:
    report = parse_arping(f"{HEADER}{line}\n")
    assert (counts_of(report), report.complete) == (counts_of(NOTHING), False)
    assert report.unrecognised == (line,)


@pytest.mark.long
@pytest.mark.parametrize(
    "piece",
    [
        "0",
        ":",
        "ee:",
        "/",
        "!",
        "^C",
        "1,1",
        "\a",
        "\t",
        " ",
        "[",
        "arping: ",
        "ARPING ",
        "a/",
        "1.",
        "\u2028",
    ],
)
def test_the_time_is_linear_in_the_size(piece: str) -> None:
    for line in ("|X|", "42 bytes from |X|\n", "Unicast reply from 192.0.2.2 [|X|]  0.562ms\n"):
        assert_linear(parse_arping, HEADER + line.replace("X", piece))


def test_a_long_log_takes_time_by_its_length() -> None:
    assert len(parse_arping(HEADER + REPLY * 20_000).replies) == 20_000
    assert_linear(parse_arping, f"{HEADER}|{REPLY}|")
