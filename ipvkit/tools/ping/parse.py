"""Parser of the output of ping: iputils, busybox, inetutils, FreeBSD and macOS, in one grammar.

iputils: ping/ping_common.c, ping/ping.c, ping/ping6_common.c; busybox: networking/ping.c; inetutils:
ping/ping_echo.c, ping/ping6.c; FreeBSD: sbin/ping/ping.c, sbin/ping/ping6.c; macOS: network_cmds.
"""

import gc
import re
from collections.abc import Callable, Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from ipvkit.core.errors import UnparsableOutput
from ipvkit.core.values import Address
from ipvkit.tools.ping.report import (
    Header,
    NoAnswer,
    Note,
    PingError,
    PingEvent,
    PingReport,
    Reply,
    Rtt,
    Summary,
    Times,
    Unrecognised,
)

_BLOCK = 1 << 16
"""How many characters are matched at once, to bound the memory that matches take."""

_LONG = 1 << 20
"""From how many characters on the garbage collector is paused."""

_PATIENCE = 100
"""How many lines may precede the first one that is ping's."""

_COUNT = r"[0-9]{1,12}"
_DECIMAL = r"[0-9]{1,12}(?:\.[0-9]{1,12})?"
_STAMP = rf"(?:\[(?P<timestamp>{_DECIMAL})\] )?"
_HOST = r"[^ \n]+(?: \([^ ()\n]+\))?"
_ORIGIN = rf"(?P<origin>{_COUNT} bytes from {_HOST})"
_SEQ = rf"(?:icmp_[sr]eq|seq)=(?P<seq>{_COUNT})"
_ROUND_TRIP = rf"time=(?P<time>{_DECIMAL}) ms"
_IN_BRACKETS = r"[ \t]*\([^()\n]*\)"

_LINE = re.compile(
    rf"((?:{_STAMP}{_ORIGIN}: {_SEQ} ttl=(?P<ttl>{_COUNT}) {_ROUND_TRIP}"
    rf"(?P<rest>(?:{_IN_BRACKETS})*)\r?|.*))\n"
)
"""A line; the parts of a usual reply, which logs consist of, are groups."""

_REPLY = re.compile(
    rf"{_STAMP}(?:(?P<clock>[0-9]{{2}}:[0-9]{{2}}:[0-9]{{2}}\.[0-9]{{6}}) )?{_ORIGIN}[:,] {_SEQ}"
    rf"(?: (?P<ident>ident={_COUNT}))?(?: (?:ttl|hlim)=(?P<ttl>{_COUNT}))?(?: (?P<dst>dst=[^ ()]+))?"
    rf"(?: {_ROUND_TRIP})?(?P<rest>(?:{_IN_BRACKETS}| [a-z]+=[^ ()]+)*)"
)
_REMARK = re.compile(r"\(([^()]*)\)|([a-z]+=[^ ()]+)")

_HEADER = re.compile(
    r"PING (?P<destination>[^ ()]*)(?P<gap> ?)\((?:[^ ()]+ \()?(?P<address>[^ ()]+)\)?\)"
    r"(?: , flow 0x[0-9a-f]{1,8},)?(?: from (?P<source>[^ ]+?)(?: (?P<dev>[^ ]*?))?)?:? "
    rf"(?:(?P<size>{_COUNT})(?:\({_COUNT}\))? (?:bytes of data\.|data bytes)(?:, id 0x[0-9a-f]+ = {_COUNT})?"
    rf"|\({_COUNT} \.\.\. {_COUNT}\) data bytes|sending (?:timestamp requests|address mask request))"
)
_HEADER_OF_PING6 = re.compile(
    rf"PING6\({_COUNT}=40\+8\+(?P<size>{_COUNT}) bytes\) (?P<source>[^ ]+) --> (?P<destination>[^ ]+)"
)

_FROM = re.compile(
    rf"{_STAMP}From (?P<host>[^ ()]+(?: \([^ ()]+\):?)?) (?:{_SEQ} )?(?P<message>.+)",
)
_BYTES_FROM = re.compile(
    rf"{_COUNT} bytes from (?P<host>[^ ()]+(?: \([^ ()]+\):)?) (?P<message>(?:[A-Z]|frag needed).*)"
)
_OWN = re.compile(
    r"(?:[^ ]*/)?ping[46]?: (?P<message>.+)"
    # s20121221 and before print these without the name of the program.
    r"|(?P<bare>(?:connect|bind|getsockname): [A-Z].*|Do you want to ping broadcast\?.*)"
)
_MTU = re.compile(rf"\bmtu(?: = |: |=| )({_COUNT})\b", re.IGNORECASE)

_NO_ANSWER = re.compile(
    rf"{_STAMP}(?:no answer yet for icmp_seq=|Request timeout for icmp_seq[ =])(?P<seq>{_COUNT})"
)
_COUNTS = re.compile(
    rf"(?P<transmitted>{_COUNT}) packets transmitted, (?P<received>{_COUNT}) (?:packets )?received"
    rf"(?:, \+?(?P<duplicates>{_COUNT}) duplicates)?(?:, \+(?P<corrupted>{_COUNT}) corrupted)?"
    rf"(?:, \+(?P<errors>{_COUNT}) errors)?"
    rf"(?:, (?P<loss>{_DECIMAL}(?:e-[0-9]{{2}})?)% (?:packet )?loss|, (?P<forged>-- [^,]+))?"
    rf"(?:, (?P<late>{_COUNT} packets out of wait time))?(?:, time (?P<time>{_COUNT})ms)?,?"
)
_TIMES = re.compile(
    rf"(?:(?:rtt|round-trip) min/avg/max(?:/(?:mdev|stddev|std-dev))? ="
    rf" (?P<min>{_DECIMAL})/(?P<avg>{_DECIMAL})/(?P<max>{_DECIMAL})(?:/(?:(?P<mdev>{_DECIMAL})|-?nan))? ms)?"
    rf"(?:(?:, )?pipe (?P<pipe>{_COUNT}))?(?:(?:, )?ipg/ewma (?P<ipg>{_DECIMAL})/(?P<ewma>{_DECIMAL}) ms)?"
)
_STATISTICS = re.compile(r"--- [^ ]* ping6? statistics ---")

_NOTE = re.compile(
    "|".join(
        (
            r"PATTERN: 0x[0-9a-f]*",
            r"(?:(?:[^ ]*/)?ping[46]?: )?(?i:warning): .*",
            # iputils -v, FreeBSD's ping6 -v
            r"(?:[^ ]*/)?ping[46]?: sock[46]?\.fd: .*|ai->ai_family: .*",
            r"(?:new )?path MTU .* is notified.*| +(?:HbH Options|Dst Options|Routing): .*",
            r" +(?:Jumbo Payload|Router Alert|Received) Opt.*|   \[[0-9]+\][^ ]+",
            # SIGQUIT, and SIGINFO of the BSDs
            rf"{_COUNT}/{_COUNT} packets, {_COUNT}% loss.*|{_COUNT}/{_COUNT} packets received \(.*",
            # data that came back changed; a line of hexadecimal numbers may also belong to a header
            r"wrong data byte #.*|wrong total length .*|checksum mismatch from .*|[cd]p:",
            r"#[0-9]+\t[0-9a-f ]*(?:\t\(same route\))?|\t[ 0-9a-f]+| [ 0-9a-fA-F.:]+(?:\(src\) \(dst\))?",
            # options of the IP header
            r"(?:RR|TS|[LS]SRR):.*|NOP|unknown option [0-9a-f]+|Unrecorded hops: [0-9]+",
            r"\t(?:[^ \t]+ \()?[0-9]+(?:\.[0-9]+){3}\)?(?:\t.*)?",
            r"\t-?[0-9]+ (?:absolute|not-standard|absolute not-standard|ms.*)|\t-[0-9]+|\t ?\([a-z0-9 ]+\)",
            # the packet that an ICMP error quotes
            r"Vr (?:HL TOS|TC) .*|IP H(?:dr|eader) Dump:|(?:TCP|UDP): from port .*",
            r"[0-9a-fA-F:.]+->[0-9a-fA-F:.]+",
            r"(?:(?:HBH|DSTOPT|FRAG|RTHDR|AH) )*(?:ICMP6?: type .*|ESP|Unknown Header\([0-9]+\)|\.\.\.)",
            r"Destination: [^ ]+ New Target: [^ ]+",
            # replies to inetutils' timestamp and address mask requests
            r"icmp_(?:otime|rtime|ttime|mask) = .*",
        )
    )
)
_FIRST_TYPED = "^.\b"
_TYPED = re.compile(r"(?P<typed>(?:\^[C\\TZ])+|[.\x08][.\x08!EC ]*)(?P<rest>(?:--- |ping[46]?: |[0-9]+/).*)?")
"""The marks of a flood, or ^C on a terminal, and what ping prints after it on the same line."""

_COMMA = re.compile(rf"time={_COUNT},[0-9]|[ /]{_COUNT},{_COUNT}/|[0-9],{_COUNT}% ")
_TRANSLATED = re.compile(
    r"(?!(?:\[[0-9.]*\] )?(?:[0-9]+ bytes from |From |no answer yet |Request timeout ))"
    r"(?:--- .* ---|.*\bicmp_[sr]eq=[0-9]|[^0-9]*[0-9]+[^0-9]+[0-9]+[^0-9].*[0-9] ?%)"
)
"""A line of another locale: it has the numbers of one that would be understood."""

_Events = tuple[PingEvent, ...]
_Found = re.Match[str]
_NO_HEADER: tuple[Any, ...] = (None,) * len(Header._fields)
_NO_SUMMARY: tuple[Any, ...] = (None,) * len(Summary._fields)
_NO_TIMES: tuple[Any, ...] = (None,) * len(Times._fields)


def parse_ping(text: str) -> PingReport:
    """Return what one ping printed on stdout, or on stdout and stderr; raise UnparsableOutput for other text.

    It is other text if its first 100 lines have neither ping's header nor an error of ping itself. A ping
    that still runs, was killed, or failed is a report that is not complete.

    >>> report = parse_ping('''PING 192.0.2.1 (192.0.2.1) 56(84) bytes of data.
    ... 64 bytes from 192.0.2.1: icmp_seq=1 ttl=64 time=0.391 ms
    ...
    ... --- 192.0.2.1 ping statistics ---
    ... 1 packets transmitted, 1 received, 0% packet loss, time 0ms
    ... rtt min/avg/max/mdev = 0.391/0.391/0.391/0.000 ms
    ... ''')
    >>> report.received, report.replies[0].time_ms
    (1, 0.391)
    """
    replies: list[Reply] = []
    events: list[PingEvent] = []
    reading = _Reading(replies.append, events.append, single=True)
    # Replies are in no reference cycle, and the collector would look at a million of them again and again.
    pause = len(text) > _LONG and gc.isenabled()
    if pause:
        gc.disable()
    try:
        reading.read(text)
    finally:
        if pause:
            gc.enable()
    reading.close()
    return _report(replies, events)


def read_ping(lines: Iterable[str]) -> Iterator[PingEvent]:
    r"""Yield the events of each of `lines`, newline included, of one ping or several, as soon as it comes.

    Raise UnparsableOutput where the first 100 lines have neither a header nor an error of ping itself.

    >>> for event in read_ping(["PING a.example (192.0.2.1): 56 data bytes\n", "hm\n"]):
    ...     print(event)
    Header(destination='a.example', address=IPv4Address('192.0.2.1'), source=None, dev=None, data_bytes=56)
    Unrecognised(line='hm')
    """
    events: list[PingEvent] = []
    reading = _Reading(events.append, events.append, single=False)
    for line in lines:
        reading.read(line)
        if reading.is_ping:
            yield from events
            events.clear()
    reading.close()


def _report(replies: list[Reply], events: list[PingEvent]) -> PingReport:
    header, summary, times = _NO_HEADER, _NO_SUMMARY, _NO_TIMES
    found: dict[type, list[Any]] = {}
    for event in events:
        if isinstance(event, Header):
            header = event
        elif isinstance(event, Summary):
            summary = event
        elif isinstance(event, Times):
            times = event
        else:
            found.setdefault(type(event), []).append(event)
    errors, no_answers = tuple(found.get(PingError, ())), tuple(found.get(NoAnswer, ()))
    notes = tuple(note.text for note in found[Note]) if Note in found else ()
    unrecognised = tuple(event.line for event in found[Unrecognised]) if Unrecognised in found else ()
    # By position: a third faster than by name.
    values: list[Any] = [*header, tuple(replies), errors, no_answers, *summary, *times]
    values += (summary is not _NO_SUMMARY, notes, unrecognised)
    return PingReport(*values)


class _Reading:
    """Hands each reply to `reply`, and every other event to `event`."""

    def __init__(
        self, reply: Callable[[Reply], None], event: Callable[[PingEvent], None], *, single: bool
    ) -> None:
        self._reply = reply
        self._event = event
        self._single = single
        self._lines = 0
        self._first: tuple[int, str] | None = None
        self._has_begun = self._has_counts = False
        self._origins: dict[str, tuple[int, Address | None, str | None]] = {}
        self.is_ping = False
        """Whether a line was ping's; lines before it may be of another program."""

    def read(self, text: str) -> None:
        """Read whole lines, and at the very end perhaps one that was cut."""
        start, end = 0, text.rfind("\n") + 1
        while start < end:
            size = _BLOCK if self._has_begun else 0
            stop = text.find("\n", min(start + size, end - 1)) + 1
            if self._has_begun:
                self._read_block(_LINE.findall(text, start, stop))
            else:
                self._read_line(text[start : stop - 1])
            start = stop
        if end < len(text):
            self._read_line(text[end:], cut=True)

    def close(self) -> None:
        """Raise UnparsableOutput if nothing that was read is ping's."""
        if not self.is_ping:
            raise UnparsableOutput("ping", *(self._first or (1, "")))

    def _read_block(self, found: list[tuple[str, ...]]) -> None:
        origins, reply, make = self._origins, self._reply, tuple.__new__
        for number, (line, timestamp, origin, seq, ttl, time, rest) in enumerate(found, self._lines + 1):
            if not origin or (origin not in origins and not self._knows(origin)):
                if line:
                    self._understand(line, number)
                continue
            stamp = float(timestamp) if timestamp else None
            # Reply(...) is a function of Python's and takes a tenth more of all the time.
            found_reply = make(
                Reply, (*origins[origin], int(seq), int(ttl), float(time), False, False, stamp, ())
            )
            reply(_with_remarks(found_reply, _remarks(rest)) if rest else found_reply)
        self._lines += len(found)

    def _knows(self, origin: str) -> bool:
        """Return whether `origin` is a size with an address or a name, and remember what it is."""
        try:
            self._origins[origin] = _origin(origin)
        except ValueError:
            return False
        return True

    def _read_line(self, line: str, *, cut: bool = False) -> None:
        self._lines += 1
        if self._first is None and line.strip():
            self._first = self._lines, line.removesuffix("\r")
        self._understand(line, self._lines, cut=cut)
        if self._lines >= _PATIENCE:
            self.close()

    def _understand(self, raw: str, number: int, *, cut: bool = False) -> None:
        raw = raw.removesuffix("\r")
        line = raw.replace("\a", "").replace("\r", "").rstrip(" \t")
        if line[:1] in _FIRST_TYPED and (typed := _TYPED.fullmatch(line)):
            self._note_typed(typed["typed"])
            line = typed["rest"] or ""
        if not line:
            return
        for mark, pattern, make, ends in _GRAMMAR:
            if mark in line and (found := pattern.fullmatch(line)) and (not cut or line.endswith(ends)):
                try:
                    events = make(found)
                except ValueError:
                    break
                self._take(events, raw, number)
                return
        if line.startswith(("PING ", "PING6(")) or (not cut and self._is_foreign(line)):
            raise UnparsableOutput("ping", number, raw)
        self._event(Unrecognised(raw))

    def _is_foreign(self, line: str) -> bool:
        """Return whether `line` looks like one that ping prints under another locale."""
        if not self._has_begun:
            return False
        return bool(_COMMA.search(line) or (not self._has_counts and _TRANSLATED.match(line)))

    def _note_typed(self, typed: str) -> None:
        left = typed if typed.startswith("^") else _left_on_screen(typed)
        if left:
            self._event(Note(left))

    def _take(self, events: _Events, raw: str, number: int) -> None:
        if not self._has_begun and not any(map(_stands_alone, events)):
            events = (Unrecognised(raw),)
        for event in events:
            kind = type(event)
            if isinstance(event, Reply):
                self._reply(event)
                continue
            if kind is Header:
                if self._has_begun and self._single:
                    raise UnparsableOutput("ping", number, raw)
                self._has_begun, self._has_counts = True, False
            elif kind is Summary:
                if self._has_counts:
                    self._event(Unrecognised(raw))
                    return
                self._has_counts = True
            self.is_ping = self.is_ping or kind not in (Note, Unrecognised)
            self._event(event)


def _stands_alone(event: PingEvent) -> bool:
    """Return whether `event` can come before the header, or without one."""
    if isinstance(event, PingError):
        return event.source is None and event.name is None
    return isinstance(event, Header | Note)


def _left_on_screen(typed: str) -> str:
    left: list[str] = []
    for character in typed:
        if character != "\b":
            left.append(character)
        elif left:
            left.pop()
    return "".join(left).strip()


# --- the events of a line -------------------------------------------------------------------------------


def _address(text: str) -> Address:
    return IPv6Address(text) if ":" in text else IPv4Address(text)


def _address_of(name: str | None) -> Address | None:
    """Return `name` as an address; None where it is not one."""
    try:
        return _address(name) if name else None
    except ValueError:
        return None


def _host(text: str) -> tuple[Address | None, str | None]:
    """Return address and name of ``NAME (ADDRESS)``, ``ADDRESS`` or ``NAME``."""
    name, _, address = text.partition(" (")
    if address:
        return _address(address.removesuffix(")")), name
    if ":" not in text and any(map(str.isalpha, text)):
        return None, text
    return _address(text), None


def _speaker(text: str) -> tuple[Address | None, str | None]:
    """Return address and name of the host in `text`, which may end in a colon."""
    try:
        return _host(text)
    except ValueError:
        return _host(text.removesuffix(":"))


def _origin(text: str) -> tuple[int, Address | None, str | None]:
    size, _, host = text.partition(" bytes from ")
    return int(size), *_host(host)


def _whole(text: str | None) -> int | None:
    return int(text) if text else None


def _decimal(text: str | None) -> float | None:
    return float(text) if text else None


def _header(found: _Found) -> _Events:
    destination, gap, host, source, dev, size = found.groups()
    address = _address_of(host)
    # ping6 of s20121221 and before has a name there, and no blank before the bracket.
    if address is None and gap:
        raise ValueError
    return (Header(destination, address, _address_of(source), dev or None, _whole(size)),)


def _header_of_ping6(found: _Found) -> _Events:
    destination, source = found["destination"], found["source"]
    return (
        Header(destination, _address_of(destination), _address_of(source), data_bytes=_whole(found["size"])),
    )


def _reply(found: _Found) -> _Events:
    size, source, name = _origin(found["origin"])
    ttl, time, stamp = _whole(found["ttl"]), _decimal(found["time"]), _decimal(found["timestamp"])
    reply = Reply(size, source, name, int(found["seq"]), ttl, time, timestamp=stamp)
    first = [word for word in found.group("clock", "ident", "dst") if word]
    return (_with_remarks(reply, first + _remarks(found["rest"])),)


def _remarks(rest: str) -> list[str]:
    return [bracketed or word for bracketed, word in _REMARK.findall(rest)]


def _with_remarks(reply: Reply, remarks: list[str]) -> Reply:
    return reply._replace(
        duplicate="DUP!" in remarks,
        truncated="truncated" in remarks,
        remarks=tuple(remark for remark in remarks if remark not in ("DUP!", "truncated")),
    )


def _error_from(found: _Found) -> _Events:
    host, seq, message = found.group("host", "seq", "message")
    if seq is None and not (host.endswith(":") and (message[0].isupper() or message[0] == "(")):
        raise ValueError
    source, name = _speaker(host)
    return (PingError(source, name, _whole(seq), message, _mtu(message), _decimal(found["timestamp"])),)


def _error_in_bytes_from(found: _Found) -> _Events:
    host, message = found.group("host", "message")
    if not host.endswith(":"):
        raise ValueError
    return (PingError(*_host(host.removesuffix(":")), None, message, _mtu(message)),)


def _error_of_its_own(found: _Found) -> _Events:
    message = found["message"] or found["bare"]
    return (PingError(None, None, None, message, _mtu(message)),)


def _mtu(message: str) -> int | None:
    found = _MTU.search(message)
    return int(found[1]) if found else None


def _no_answer(found: _Found) -> _Events:
    return (NoAnswer(int(found["seq"]), _decimal(found["timestamp"])),)


def _summary(found: _Found) -> _Events:
    transmitted, received, duplicates, corrupted, errors, loss, forged, late, time = found.groups()
    summary = Summary(
        int(transmitted),
        int(received),
        int(duplicates or 0),
        int(corrupted or 0),
        int(errors or 0),
        float(loss) if loss else None,
        int(time) if time else None,
    )
    return (summary, *(Note(text) for text in (forged, late) if text)) if forged or late else (summary,)


def _times(found: _Found) -> _Events:
    least, mean, most, mdev, pipe, ipg, ewma = found.groups()
    rtt = Rtt(float(least), float(mean), float(most), _decimal(mdev)) if least else None
    return (Times(rtt, _whole(pipe), _decimal(ipg), _decimal(ewma)),)


def _note(found: _Found) -> _Events:
    return (Note(found[0]),)


def _nothing(_: _Found) -> _Events:
    return ()


_OPEN = ()
"""Text that ends anywhere, so that a cut does not show."""

_WHOLE = ("",)
"""What ping writes at once, so that it is never cut: the end of its summary, and its own errors."""

_GRAMMAR: tuple[tuple[str, re.Pattern[str], Callable[[_Found], _Events], tuple[str, ...]], ...] = (
    ("--- ", _STATISTICS, _nothing, ("---",)),
    (" packets transmitted, ", _COUNTS, _summary, (" loss", "ms", "packets!", "wait time")),
    ("PING ", _HEADER, _header, ("bytes of data.", "data bytes", "requests", "request")),
    ("", _TIMES, _times, _WHOLE),
    (" bytes from ", _REPLY, _reply, (" ms", ")")),
    ("From ", _FROM, _error_from, _OPEN),
    (" bytes from ", _BYTES_FROM, _error_in_bytes_from, _OPEN),
    ("seq", _NO_ANSWER, _no_answer, _OPEN),
    ("", _NOTE, _note, _OPEN),
    ("", _OWN, _error_of_its_own, _WHOLE),
    ("PING6(", _HEADER_OF_PING6, _header_of_ping6, _OPEN),
)
"""The kinds of lines: text that each has, its pattern, its events, and how a line ends that was not cut."""
