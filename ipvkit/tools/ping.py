"""``ping`` of iputils, busybox and inetutils: the builders of its argv, and one parser for their output.

It reads what FreeBSD's and macOS' print too. iputils: ping/ping_common.c, ping/ping.c, ping/ping6_common.c;
busybox: networking/ping.c; inetutils: ping/ping_echo.c, ping/ping6.c; FreeBSD: sbin/ping/ping.c,
sbin/ping/ping6.c; macOS: network_cmds. Times are milliseconds, timestamps Unix seconds.
"""

import gc
import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Literal, NamedTuple

from ipvkit.core.command import Command, T, option
from ipvkit.core.errors import MissingRequirement, UnparsableOutput
from ipvkit.core.values import Address, interface_name

__all__ = ["VERSION", "Header", "Implementation", "NoAnswer", "Note", "PingError", "PingEvent"]
__all__ += ["PingReport", "Reply", "Rtt", "Summary", "Times", "Unrecognised", "implementation"]
__all__ += ["parse_ping", "ping", "ping_until_lost", "read_ping"]

Implementation = Literal["iputils", "busybox", "inetutils"]

VERSION = Command(("ping", "-V"), ok=(0, 1))
"""Shows the implementation; busybox prints its name with the error."""


def implementation(printed: str) -> Implementation:
    """Return which ping printed this (stdout and stderr) when asked for its version.

    >>> implementation("ping from iputils 20240905")
    'iputils'
    """
    return signed("ping", printed, "inetutils", r"\(GNU inetutils\)")


def signed(tool: str, printed: str, other: T, signature: str) -> T | Literal["iputils", "busybox"]:
    """Return which implementation printed this for ``tool -V``: `other` has a `signature`, a regex."""
    if re.search("from iputils|iputils-s", printed):
        return "iputils"
    if "BusyBox v" in printed:
        return "busybox"
    if re.search(signature, printed):
        return other
    raise UnparsableOutput(f"{tool} -V", 1, printed.partition("\n")[0])


def ping(
    destination: Address | str,
    *,
    count: int,
    interval: float,
    wait: float,
    source: Address | str | None = None,
    size: int | None = None,
    ttl: int | None = None,
    whole: bool = False,
    by: Implementation = "iputils",
) -> Command:
    """Return a ping of `count` requests, `interval` seconds apart, `wait` seconds for the last reply.

    `source` is an address or an interface, `size` the payload in bytes, `ttl` also the IPv6 hop limit;
    `whole` forbids to fragment it (iputils). Exit code 1 (no reply) counts as success: the verdict is taken
    from the counts. Except for iputils, `wait` is rounded up to seconds. Raise MissingRequirement for what
    `by` cannot do.

    >>> str(ping("192.168.104.212", count=4, interval=0.2, wait=1))
    'ping -c 4 -i 0.2 -W 1 192.168.104.212'
    """
    ipv6, inetutils = isinstance(destination, IPv6Address), by == "inetutils"
    for is_asked, what in (
        (whole and by != "iputils", "forbid to fragment a packet"),
        (source is not None and inetutils, "ping from a given interface or address"),
        (ttl is not None and ipv6 and by == "busybox", "set the hop limit of IPv6"),
    ):
        if is_asked:
            raise MissingRequirement(f"the ping of {by} cannot {what}", "apt install iputils-ping")
    words: tuple[str, ...] = ("-c", str(count), "-i", f"{interval:g}")
    if inetutils and ipv6:
        # ping6 has a bound on its whole life and none on the last reply.
        words += ("-w", str(math.ceil(count * interval + wait)))
    else:
        words += ("-W", f"{wait:g}" if by == "iputils" else str(math.ceil(wait)))
    if inetutils:
        words += () if ttl is None else (f"--{'hoplimit' if ipv6 else 'ttl'}={ttl}",)
        words += option("-s", size)
    else:
        words += option("-I", interface_name(source) if isinstance(source, str) else source)
        words += (*option("-s", size), *option("-t", ttl), *(("-M", "do") if whole else ()))
    return Command(("ping6" if inetutils and ipv6 else "ping", *words, str(destination)), ok=(0, 1))


def ping_until_lost(destination: Address, *, interval: float, deadline: int) -> Command:
    """Return a ping with timestamps that ends at the first ICMP error, or after `deadline` seconds.

    Only iputils' ping prints timestamps.

    >>> from ipaddress import ip_address
    >>> str(ping_until_lost(ip_address("192.168.104.211"), interval=0.2, deadline=15))
    'ping -D -i 0.2 -w 15 192.168.104.211'
    """
    bounds = ("-D", "-i", f"{interval:g}", "-w", str(deadline))
    return Command(("ping", *bounds, str(destination)), ok=(0, 1))


# --- what is found ------------------------------------------------------------------------------------


class Reply(NamedTuple):
    """An echo reply of `bytes` bytes, ICMP header and payload; `remarks` follow it on the line.

    A `duplicate` is one that ping marks; iputils does not mark further replies to a broadcast.
    """

    bytes: int
    source: Address | None
    name: str | None
    seq: int
    ttl: int | None
    time_ms: float | None
    duplicate: bool = False
    truncated: bool = False
    timestamp: float | None = None
    remarks: tuple[str, ...] = ()


class PingError(NamedTuple):
    """An ICMP error, or with neither `source` nor `name` an error of ping itself; `mtu` if it has one."""

    source: Address | None
    name: str | None
    seq: int | None
    message: str
    mtu: int | None = None
    timestamp: float | None = None


class NoAnswer(NamedTuple):
    """The request `seq` had no answer when the next one was due."""

    seq: int
    timestamp: float | None = None


class Rtt(NamedTuple):
    """Round-trip times in milliseconds; `mdev` is the standard deviation, which busybox does not print."""

    min: float
    avg: float
    max: float
    mdev: float | None = None


class Header(NamedTuple):
    """The first line: `data_bytes` is the payload, `source` and `dev` are what ping is bound to."""

    destination: str
    address: Address | None = None
    source: Address | None = None
    dev: str | None = None
    data_bytes: int | None = None


class Summary(NamedTuple):
    """The counts; `time_ms` is how long ping ran, which only iputils prints."""

    transmitted: int
    received: int
    duplicates: int = 0
    corrupted: int = 0
    error_count: int = 0
    loss_percent: float | None = None
    time_ms: int | None = None


class Times(NamedTuple):
    """The times after the summary; `pipe` is the largest number of requests without a reply at one time."""

    rtt_ms: Rtt | None = None
    pipe: int | None = None
    ipg_ms: float | None = None
    ewma_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Note:
    """A line that is understood and has no field."""

    text: str


@dataclass(frozen=True, slots=True)
class Unrecognised:
    """A line that is not understood, unchanged."""

    line: str


PingEvent = Header | Reply | PingError | NoAnswer | Summary | Times | Note | Unrecognised


@dataclass(frozen=True, slots=True)
class PingReport:
    """All that one ping printed. It is `complete` if it has a summary; without one all counts are None.

    `destination` is None where ping failed before its header. `error_count` is the summary's; `errors` are
    the lines that report errors.
    """

    destination: str | None = None
    address: Address | None = None
    source: Address | None = None
    dev: str | None = None
    data_bytes: int | None = None
    replies: tuple[Reply, ...] = ()
    errors: tuple[PingError, ...] = ()
    no_answers: tuple[NoAnswer, ...] = ()
    transmitted: int | None = None
    received: int | None = None
    duplicates: int | None = None
    corrupted: int | None = None
    error_count: int | None = None
    loss_percent: float | None = None
    time_ms: int | None = None
    rtt_ms: Rtt | None = None
    pipe: int | None = None
    ipg_ms: float | None = None
    ewma_ms: float | None = None
    complete: bool = False
    notes: tuple[str, ...] = ()
    unrecognised: tuple[str, ...] = ()


# --- the lines ----------------------------------------------------------------------------------------

_BLOCK = 1 << 16  # Characters that are matched at once, to bound the memory that matches take.
_LONG = 1 << 20  # From this many characters on, the garbage collector is paused.
_PATIENCE = 100  # Lines that may precede the first one that is ping's.

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

_FROM = re.compile(rf"{_STAMP}From (?P<host>[^ ()]+(?: \([^ ()]+\):?)?) (?:{_SEQ} )?(?P<message>.+)")
_BYTES_FROM = re.compile(
    rf"{_COUNT} bytes from (?P<host>[^ ()]+(?: \([^ ()]+\))?): (?P<message>(?:[A-Z]|frag needed).*)"
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

_NOTES = (
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
_NOTE = re.compile("|".join(_NOTES))
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
_Host = tuple[Address | None, str | None]


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
    reading = _Reading(single=True)
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
    return _report(reading.replies, reading.events)


def read_ping(lines: Iterable[str]) -> Iterator[PingEvent]:
    r"""Yield the events of each of `lines`, newline included, of one ping or several, as soon as it comes.

    Raise UnparsableOutput where the first 100 lines have neither a header nor an error of ping itself.

    >>> for event in read_ping(["PING a.example (192.0.2.1): 56 data bytes\n", "hm\n"]):
    ...     print(event)
    Header(destination='a.example', address=IPv4Address('192.0.2.1'), source=None, dev=None, data_bytes=56)
    Unrecognised(line='hm')
    """
    reading = _Reading(single=False)
    for line in lines:
        reading.read(line)
        if reading.is_ping:
            yield from reading.events
            reading.events.clear()
    reading.close()


def _report(replies: list[PingEvent], events: list[PingEvent]) -> PingReport:
    last: dict[type, Any] = {type(event): event for event in events}
    errors = tuple([event for event in events if type(event) is PingError])
    no_answers = tuple([event for event in events if type(event) is NoAnswer])
    notes = tuple([event.text for event in events if type(event) is Note])
    unrecognised = tuple([event.line for event in events if type(event) is Unrecognised])
    header = last.get(Header, [None] * len(Header._fields))
    counts = last.get(Summary, [None] * len(Summary._fields))
    # By position: a third faster than by name.
    values: list[Any] = [*header, tuple(replies), errors, no_answers, *counts, *last.get(Times, Times())]
    values += (Summary in last, notes, unrecognised)
    return PingReport(*values)


class _Reading:
    """The events that were read: of a `single` ping, its replies separately."""

    def __init__(self, *, single: bool) -> None:
        self.events: list[PingEvent] = []
        self.replies: list[PingEvent] = [] if single else self.events
        self.is_ping = False
        """Whether a line was ping's; lines before it may be of another program."""
        self._single = single
        self._lines = 0
        self._first: tuple[int, str] | None = None
        self._has_begun = self._has_counts = False

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
        append, make = self.replies.append, tuple.__new__
        for number, (line, timestamp, origin, seq, ttl, time, rest) in enumerate(found, self._lines + 1):
            try:
                speaker = _origin(origin) if origin else None
            except ValueError:
                speaker = None
            if speaker:
                stamp = float(timestamp) if timestamp else None
                # Reply(...) is a function of Python's and takes a tenth more of all the time.
                reply = make(Reply, (*speaker, int(seq), int(ttl), float(time), False, False, stamp, ()))
                append(_with_remarks(reply, rest) if rest else reply)
            elif line:
                self._understand(line, number)
        self._lines += len(found)

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
        if line[:1] in "^.\b" and (typed := _TYPED.fullmatch(line)):
            if left := _left_on_screen(typed["typed"]):
                self.events.append(Note(left))
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
        # Perhaps it is of another locale.
        whole = self._has_begun and not cut
        foreign = whole and (_COMMA.search(line) or (not self._has_counts and _TRANSLATED.match(line)))
        if foreign or line.startswith(("PING ", "PING6(")):
            raise UnparsableOutput("ping", number, raw)
        self.events.append(Unrecognised(raw))

    def _take(self, events: _Events, raw: str, number: int) -> None:
        if not self._has_begun and not any(map(_stands_alone, events)):
            events = (Unrecognised(raw),)
        for event in events:
            if isinstance(event, Header):
                if self._has_begun and self._single:
                    raise UnparsableOutput("ping", number, raw)
                self._has_begun, self._has_counts = True, False
            elif isinstance(event, Summary):
                if self._has_counts:
                    self.events.append(Unrecognised(raw))
                    return
                self._has_counts = True
            self.is_ping = self.is_ping or type(event) not in (Note, Unrecognised)
            (self.replies if isinstance(event, Reply) else self.events).append(event)


def _stands_alone(event: PingEvent) -> bool:
    """Return whether `event` can come before the header, or without one."""
    if isinstance(event, PingError):
        return event.source is None and event.name is None
    return type(event) in (Header, Note)


def _left_on_screen(typed: str) -> str:
    left: list[str] = []
    for character in typed:
        if character != "\b":
            left.append(character)
        elif left:
            left.pop()
    return "".join(left).strip()


# --- the events of a line -------------------------------------------------------------------------------


@lru_cache(maxsize=1024)
def _address(text: str) -> Address:
    return IPv6Address(text) if ":" in text else IPv4Address(text)


def address_of(name: str | None) -> Address | None:
    """Return `name` as an address; None where it is not one."""
    try:
        return _address(name) if name else None
    except ValueError:
        return None


def _host(text: str) -> _Host:
    """Return address and name of ``NAME (ADDRESS)``, ``ADDRESS`` or ``NAME``."""
    name, _, address = text.partition(" (")
    if address:
        return _address(address.removesuffix(")")), name
    if ":" not in text and any(map(str.isalpha, text)):
        return None, text
    return _address(text), None


@lru_cache(maxsize=1024)
def _origin(text: str) -> tuple[int, Address | None, str | None]:
    size, _, host = text.partition(" bytes from ")
    return int(size), *_host(host)


def _whole(text: str | None) -> int | None:
    return int(text) if text else None


def _decimal(text: str | None) -> float | None:
    return float(text) if text else None


def _header(found: _Found) -> _Events:
    destination, gap, host, source, dev, size = found.groups()
    address = address_of(host)
    # ping6 of s20121221 and before has a name there, and no blank before the bracket.
    if address is None and gap:
        raise ValueError
    return (Header(destination, address, address_of(source), dev or None, _whole(size)),)


def _header_of_ping6(found: _Found) -> _Events:
    size, source, destination = found.groups()
    return (Header(destination, address_of(destination), address_of(source), None, int(size)),)


def _reply(found: _Found) -> _Events:
    size, source, name = _origin(found["origin"])
    ttl, time, stamp = _whole(found["ttl"]), _decimal(found["time"]), _decimal(found["timestamp"])
    reply = Reply(size, source, name, int(found["seq"]), ttl, time, timestamp=stamp)
    return (_with_remarks(reply, found["rest"], *filter(None, found.group("clock", "ident", "dst"))),)


def _with_remarks(reply: Reply, rest: str, *first: str) -> Reply:
    remarks = [*first, *(bracketed or word for bracketed, word in _REMARK.findall(rest))]
    return reply._replace(
        duplicate="DUP!" in remarks,
        truncated="truncated" in remarks,
        remarks=tuple(remark for remark in remarks if remark not in ("DUP!", "truncated")),
    )


def _error_from(found: _Found) -> _Events:
    host, seq, message = found.group("host", "seq", "message")
    if seq is None and not (host.endswith(":") and (message[0].isupper() or message[0] == "(")):
        raise ValueError
    try:
        speaker = _host(host)
    except ValueError:
        speaker = _host(host.removesuffix(":"))
    return _error(message, speaker, _whole(seq), _decimal(found["timestamp"]))


def _error(message: str, host: _Host, seq: int | None = None, timestamp: float | None = None) -> _Events:
    mtu = _MTU.search(message)
    return (PingError(*host, seq, message, int(mtu[1]) if mtu else None, timestamp),)


def _summary(found: _Found) -> _Events:
    *counts, loss, forged, late, time = found.groups()
    summary = Summary._make([*[int(count or 0) for count in counts], _decimal(loss), _whole(time)])
    return (summary, *[Note(text) for text in (forged, late) if text])


def _times(found: _Found) -> _Events:
    least, mean, most, mdev, pipe, ipg, ewma = found.groups()
    rtt = Rtt(float(least), float(mean), float(most), _decimal(mdev)) if least else None
    return (Times(rtt, _whole(pipe), _decimal(ipg), _decimal(ewma)),)


_OPEN = ()  # Text that ends anywhere, so that a cut does not show.
_WHOLE = ("",)  # What ping writes at once, so that it is never cut: the end of its summary, its own errors.

_GRAMMAR: tuple[tuple[str, re.Pattern[str], Callable[[_Found], _Events], tuple[str, ...]], ...] = (
    ("--- ", _STATISTICS, lambda _: (), ("---",)),
    (" packets transmitted, ", _COUNTS, _summary, (" loss", "ms", "packets!", "wait time")),
    ("PING ", _HEADER, _header, ("bytes of data.", "data bytes", "requests", "request")),
    ("", _TIMES, _times, _WHOLE),
    (" bytes from ", _REPLY, _reply, (" ms", ")")),
    ("From ", _FROM, _error_from, _OPEN),
    (" bytes from ", _BYTES_FROM, lambda f: _error(f["message"], _host(f["host"])), _OPEN),
    ("seq", _NO_ANSWER, lambda f: (NoAnswer(int(f["seq"]), _decimal(f["timestamp"])),), _OPEN),
    ("", _NOTE, lambda found: (Note(found[0]),), _OPEN),
    ("", _OWN, lambda found: _error(found["message"] or found["bare"], (None, None)), _WHOLE),
    ("PING6(", _HEADER_OF_PING6, _header_of_ping6, _OPEN),
)
"""The kinds of lines: text that each has, its pattern, its events, and how a line ends that was not cut."""
