"""What ``arping`` prints: iputils' and busybox's (arping.c), and that of Thomas Habets (src/arping.c)."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from ipaddress import IPv4Address
from typing import Literal, NamedTuple, TypeVar

from ipvkit.core.errors import UnparsableOutput
from ipvkit.tools.ping import Rtt

# --- what is found ------------------------------------------------------------------------------------


class ArpReply(NamedTuple):
    """One answer; what Habets' raw output (``-r``) and marks (``-D``) leave out of it is None.

    `time_ms` is as printed: iputils' is half a millisecond too much (recv_pack in its arping.c).
    `target` and `target_lladdr` say to whom it went, where that is not who asked.
    """

    source: IPv4Address | None
    lladdr: str | None
    operation: Literal["reply", "request"] = "reply"
    cast: Literal["unicast", "broadcast"] | None = None
    time_ms: float | None = None
    unsolicited: bool = False
    target: IPv4Address | None = None
    target_lladdr: str | None = None
    index: int | None = None  # type: ignore[assignment]  # It hides tuple.index.
    bytes: int | None = None
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Header:
    """The first line; `destination` is a MAC address where Habets' arping asks for its IP address."""

    destination: str | None = None
    source: IPv4Address | None = None
    dev: str | None = None


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """One request that nobody answered in time (Habets)."""


@dataclass(frozen=True, slots=True)
class ArpingError:
    """What arping itself complains of, without its name before it."""

    message: str


@dataclass(frozen=True, slots=True)
class Note:
    """A line that is understood and has no field of its own."""

    text: str


@dataclass(frozen=True, slots=True)
class Unrecognised:
    """A line that is not understood."""

    line: str


@dataclass(frozen=True, slots=True)
class Summary:
    """The counts at the end; None are those that this arping does not print."""

    transmitted: int | None = None
    transmitted_broadcasts: int | None = None
    received: int | None = None
    received_requests: int | None = None
    received_broadcasts: int | None = None
    unanswered_percent: float | None = None
    extra: int | None = None


@dataclass(frozen=True, slots=True)
class Times:
    """The times at the end, in milliseconds (Habets)."""

    rtt_ms: Rtt


ArpingEvent = Header | ArpReply | NoAnswer | ArpingError | Note | Unrecognised | Summary | Times
_Event = TypeVar("_Event", bound=ArpingEvent)


@dataclass(frozen=True, slots=True)
class ArpingReport:
    """What one arping saw; None is what it did not print, `complete` whether it came to its summary."""

    destination: str | None
    source: IPv4Address | None
    dev: str | None
    replies: tuple[ArpReply, ...]
    no_answers: int
    errors: tuple[str, ...]
    transmitted: int | None
    transmitted_broadcasts: int | None
    received: int | None
    received_requests: int | None
    received_broadcasts: int | None
    unanswered_percent: float | None
    extra: int | None
    rtt_ms: Rtt | None
    complete: bool
    notes: tuple[str, ...]
    unrecognised: tuple[str, ...]

    @property
    def lladdrs(self) -> tuple[str, ...]:
        """The MAC addresses that answered, each once; two or more are a duplicate address."""
        return tuple(dict.fromkeys(reply.lladdr for reply in self.replies if reply.lladdr is not None))

    @property
    def in_use(self) -> bool:
        """Whether anybody answered."""
        return bool(self.replies or self.received)


# --- the forms of a line ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Raw:
    """A line of raw output, which could stand in any text."""

    reply: ArpReply


@dataclass(frozen=True, slots=True)
class _Marks:
    """The line of ``-D``: an exclamation mark for an answer, a dot for none, and the summary."""

    marks: str
    summary: Summary


@dataclass(frozen=True, slots=True)
class _Sent:
    """The first line of the summary of iputils and busybox."""

    line: str
    transmitted: int
    broadcasts: int


@dataclass(frozen=True, slots=True)
class _Received:
    """The second line of the summary of iputils and busybox."""

    received: int
    requests: int
    broadcasts: int


@dataclass(frozen=True, slots=True)
class _Rule:
    """``--- 192.0.2.2 statistics ---``, which says nothing."""


_Line = ArpingEvent | _Raw | _Marks | _Sent | _Received | _Rule
_Form = tuple[re.Pattern[str], Callable[[re.Match[str]], _Line]]

_COUNT = r"[0-9]{1,12}"
# Below zero where the clocks of request and answer differed (Habets, once: fixup_packet_age).
_TIME = r"-?[0-9]{1,12}(?:\.[0-9]{1,9})?"
_IPV4 = r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}"
# As long as the link's addresses are; busybox once printed them without leading zeros (ether_ntoa).
_LLADDR = r"[0-9A-Fa-f]{1,2}(?::[0-9A-Fa-f]{1,2}){0,31}"
_MAC = r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}"
_TYPED_MAC = r"[0-9A-Fa-f]{1,2}(?:[:-][0-9A-Fa-f]{1,2}){5}|[0-9A-Fa-f]{4}(?:\.[0-9A-Fa-f]{4}){2}"
_UNIT_EXPONENTS = {"nsec": -9 + 3, "usec": -6 + 3, "msec": 0, "ms": 0, "sec": 3}


def _milliseconds(number: str, unit: str) -> float:
    return float(f"{number}e{_UNIT_EXPONENTS[unit]}")


def _count(text: str | None) -> int | None:
    return int(text) if text else None


def _address(text: str | None) -> IPv4Address | None:
    return IPv4Address(text) if text else None


def _lladdr(text: str | None) -> str | None:
    return text and ":".join(byte.zfill(2) for byte in text.lower().split(":"))


def _header(found: re.Match[str]) -> Header:
    return Header(str(IPv4Address(found["destination"])), IPv4Address(found["source"]), found["dev"])


def _habets_header(found: re.Match[str]) -> Header:
    return Header(found["mac"] or str(IPv4Address(found["destination"])))


def _reply(found: re.Match[str]) -> ArpReply:
    return ArpReply(
        source=IPv4Address(found["source"]),
        lladdr=_lladdr(found["lladdr"]),
        operation="reply" if found["operation"] == "ply" else "request",
        cast="unicast" if found["cast"] == "Uni" else "broadcast",
        time_ms=float(found["time"]) if found["time"] else None,
        unsolicited=not found["time"],
        target=_address(found["target"]),
        target_lladdr=_lladdr(found["target_lladdr"] or found["only_target_lladdr"]),
    )


def _habets_reply(found: re.Match[str]) -> ArpReply:
    return ArpReply(
        source=IPv4Address(found["source"] or found["source_of_mac"]),
        lladdr=found["lladdr"] or found["mac"],
        time_ms=_milliseconds(found["time"], found["unit"]),
        index=int(found["index"]),
        bytes=int(found["bytes"]),
        remarks=(found["counter"],) if "/" in found["counter"] else (),
    )


def _raw(found: re.Match[str]) -> _Raw:
    return _Raw(ArpReply(_address(found["source"] or found["only_source"]), found["lladdr"]))


def _sent(found: re.Match[str]) -> _Sent:
    return _Sent(found[0], int(found["transmitted"]), int(found["broadcasts"]))


def _received(found: re.Match[str]) -> _Received:
    broadcasts = found["broadcasts"] or found["only_broadcasts"] or 0
    return _Received(int(found["received"]), int(found["requests"] or 0), int(broadcasts))


def _unanswered(found: re.Match[str]) -> float | None:
    return None if found["unanswered"].endswith("nan") else float(found["unanswered"])


def _counts(found: re.Match[str]) -> Summary:
    return Summary(
        transmitted=int(found["transmitted"]),
        received=int(found["received"]),
        unanswered_percent=_unanswered(found),
        extra=_count(found["extra"]),
    )


def _marks(found: re.Match[str]) -> _Marks:
    summary = Summary(unanswered_percent=_unanswered(found), extra=_count(found["extra"]))
    return _Marks(found["marks"], summary)


def _times(found: re.Match[str]) -> Times:
    low, mean, high = (_milliseconds(found[place], found["unit"]) for place in (1, 2, 3))
    # Habets' once took the root of what rounding had left below zero.
    deviation = None if found[4].endswith("nan") else _milliseconds(found[4], found["unit"])
    return Times(Rtt(low, mean, high, deviation))


def _own(found: re.Match[str]) -> Note | ArpingError:
    message = found["message"]
    return Note(found[0]) if _CHATTER.match(message) else ArpingError(message)


_CAST = r"(?P<cast>Uni|Broad)cast re(?P<operation>ply|quest) from"
_TARGET = (
    rf" ?for (?:(?P<target>{_IPV4})(?: \[(?P<target_lladdr>{_LLADDR})\])?"
    rf"|\[(?P<only_target_lladdr>{_LLADDR})\])"
)
_WHO = rf"(?:(?P<lladdr>{_MAC}) \((?P<source>{_IPV4})\)|(?P<source_of_mac>{_IPV4}) \((?P<mac>{_MAC})\))"
_UNANSWERED = rf" *(?P<unanswered>-?{_COUNT}|-?nan)%"
_EXTRA = rf"(?: \((?P<extra>{_COUNT}) extra\))?"

_CHATTER = re.compile(
    r"lookup dev: |Unable to automatically find interface|Use -i to manually specify|Um\.\. "
    r"|using it anyway this time|[Ww](?:ARNING|arning): |(?:poll|select) says ok|select=[0-9]"
    r"|clock_getres\(\) =|Using gettimeofday\(\)|trying libnet_init\(|libnet_init\([^,]*\)$|libnet_getfd\(\)"
    r"|pcap_[a-z_]+\(\)(?:: [0-9]| failed)|ioctl\(fd,BIOCIMMEDIATE|libpcap version|libnet version"
    r"|getpwnam\(|setgroups\(|setgid\(|setuid\(|chdir\(|chroot\(|cap_init\(\)|cap_set_proc\(\)"
    r"|Successfully |Landlock |sending |received response|receiving packets|listen for replies|\.\.\. "
    r"|bug: |Working around bug"
)
"""How messages begin that bear arping's name and are no errors: guesses at the interface, and ``-v``."""


def _form(pattern: str, build: Callable[[re.Match[str]], _Line]) -> _Form:
    return re.compile(pattern), build


_FORMS: tuple[_Form, ...] = (
    _form(
        rf"{_CAST} (?P<source>{_IPV4}) \[(?P<lladdr>{_LLADDR})\](?:{_TARGET})?"
        r" {1,2}(?:(?P<time>[0-9]{1,12}\.[0-9]{3})ms|UNSOLICITED\?)",
        _reply,
    ),
    _form(
        rf"(?P<bytes>{_COUNT}) bytes from {_WHO}:"
        rf" (?P<counter>(?:index|icmp_seq)=(?P<index>{_COUNT})(?:/{_COUNT})?)"
        rf" time=(?P<time>{_TIME}) (?P<unit>[mnu]?sec)",
        _habets_reply,
    ),
    _form(r"Timeout", lambda _: NoAnswer()),
    _form(
        rf"Sent (?P<transmitted>{_COUNT}) probe(?:s|\(s\)) \((?P<broadcasts>{_COUNT}) broadcast\(s\)\)",
        _sent,
    ),
    _form(
        rf"Received (?P<received>{_COUNT}) (?:response\(s\)|repl(?:y|ies))"
        rf"(?: \((?:(?P<requests>{_COUNT}) request\(s\)(?:, (?P<broadcasts>{_COUNT}) broadcast\(s\))?"
        rf"|(?P<only_broadcasts>{_COUNT}) broadcast\(s\))\))?",
        _received,
    ),
    _form(
        rf"(?P<transmitted>{_COUNT}) packets transmitted, (?P<received>{_COUNT}) packets received,"
        rf"{_UNANSWERED} unanswered{_EXTRA}",
        _counts,
    ),
    _form(rf"(?P<marks>[!.]*)\t{_UNANSWERED} packet loss{_EXTRA}", _marks),
    _form(
        rf"rtt min/avg/max/std-dev = ({_TIME})/({_TIME})/({_TIME})/({_TIME}|-?nan) (?P<unit>ms|[mnu]?sec)",
        _times,
    ),
    _form(r"--- \S+ statistics ---", lambda _: _Rule()),
    _form(
        rf"ARPING (?P<to>to )?(?P<destination>{_IPV4}) from (?P<source>{_IPV4})(?:(?(to) via) (?P<dev>\S+))?",
        _header,
    ),
    _form(rf"ARPING (?:(?P<destination>{_IPV4})|(?P<mac>{_TYPED_MAC}))", _habets_header),
    _form(rf"(?P<lladdr>{_MAC})(?: (?P<source>{_IPV4}))?|(?P<only_source>{_IPV4})", _raw),
    _form(r"(?:[^\s:]*/)?arping: (?P<message>.+)", _own),
    _form(
        r'Interface "[^"]*" is (?:down|not ARPable(?: \(no ll address\))?)'
        r"|(?:bind|connect|getifaddrs|getsockname|ioctl\(SIOC[A-Z]+\)|recvfrom|socket): [A-Z].*"
        r"|Illegal MAC addr .*|libnet_build_[a-z0-9_]+\(\): .*",
        lambda found: ArpingError(found[0]),
    ),
    _form(
        r"This box:   Interface: .*|Timestamp types:|  (?:Name|adapter\w*|host\w*) +\S.*|Sending ARP reply"
        r"|WARNING: .*|defaulting to checking dup for .*|clock_getres\(\) = .*|libnet_init\([^,]*\)"
        r"|pcap_get_selectable\(\): .*|FYI: .*|took time from gettimeofday\(\): .*"
        r"|too much diff between gettimeofday\(\) and .*|gettimeofday\(\) went backwards: .*"
        r"|packet arrived before we sent it\?|listen for replies for .*"
        r"|know what this program.*does, do you\?|Use -I if you really mean it .*",
        lambda found: Note(found[0]),
    ),
)
"""What a line can be, and who says what it means: a reply has its unit, or it was cut."""

_DECIMAL_COMMA = re.compile(r"[0-9],[0-9]+(?:\s?ms|\s[mnu]?sec|%|/[0-9]+,)")
_BRACKETED_MAC = re.compile(r"\[[0-9A-Fa-f]{1,2}(?::[0-9A-Fa-f]{1,2}){5,31}\]")
_IN_ENGLISH = re.compile(_CAST)


def _understood(line: str) -> _Line | None:
    """Return what `line` says, None where it has no form."""
    for pattern, build in _FORMS:
        if found := pattern.fullmatch(line):
            try:
                return build(found)
            except ValueError:  # An address that is none, such as 192.0.2.300.
                return None
    return None


def _translated(line: str) -> bool:
    """Return whether `line`, which has no form, looks like one of iputils' under another locale (po/)."""
    if _BRACKETED_MAC.search(line) and not _IN_ENGLISH.match(line):
        return True
    words_and_number = not line.isascii() and re.search("[0-9]", line) and any(map(_is_foreign, line))
    return bool(words_and_number or _DECIMAL_COMMA.search(line))


def _is_foreign(character: str) -> bool:
    return character.isalpha() and not character.isascii()


# --- a whole output -----------------------------------------------------------------------------------

_LONGEST_PREAMBLE = 100


class _Output:
    """What the lines of one output said so far, which decides what the next can mean."""

    def __init__(self, *, header: bool = False) -> None:
        self.header = header
        self.error = self.raw = self.foreign = self.summary = self.times = False
        self.sent: _Sent | None = None

    @property
    def known(self) -> bool:
        """Whether anything says that this is arping's."""
        return self.header or self.error or self.raw or self.summary

    @property
    def only_raw(self) -> bool:
        """Whether nothing but raw lines say so, in which case nothing else may stand beside them."""
        return self.raw and not (self.header or self.error or self.summary)

    def take(self, line: _Line) -> tuple[ArpingEvent, ...] | None:
        """Return the events that `line` makes, None where it cannot stand here."""
        match line:
            case _Rule():
                return ()
            case _Raw(reply):
                return (reply,) if self._take_raw() else None
            case _Sent():
                return () if self._take_sent(line) else None
            case _Received():
                return self._take_received(line)
            case _Marks(marks, summary):
                answers = (ArpReply(None, None) if mark == "!" else NoAnswer() for mark in marks)
                return (*answers, summary) if self._take_summary() else None
            case Summary():
                return (line,) if self._take_summary() else None
            case Times():
                first, self.times = not self.times, True
                return (line,) if first else None
            case _:
                self.error = self.error or isinstance(line, ArpingError)
                return (line,)

    def _take_raw(self) -> bool:
        fits = not self.header and not self.foreign
        self.raw = self.raw or fits
        return fits

    def _take_summary(self) -> bool:
        first, self.summary = not self.summary, True
        return first

    def _take_sent(self, line: _Sent) -> bool:
        fits = self.sent is None and not self.summary
        self.sent = line if fits else self.sent
        return fits

    def _take_received(self, line: _Received) -> tuple[ArpingEvent, ...] | None:
        if self.sent is None or not self._take_summary():
            return None
        sent, self.sent = self.sent, None
        return (Summary(sent.transmitted, sent.broadcasts, line.received, line.requests, line.broadcasts),)

    def rest(self) -> tuple[Unrecognised, ...]:
        """Return, once, what was kept back for a line that never came."""
        sent, self.sent = self.sent, None
        return (Unrecognised(sent.line),) if sent else ()


class _Reader:
    """Makes the lines of outputs, one after another, into events."""

    def __init__(self) -> None:
        self.number = 0
        self.line = ""
        self.first = (1, "")
        self.known = False
        self._output = _Output()

    def read(self, line: str) -> Iterator[ArpingEvent]:
        """Return the events of the next line; raise UnparsableOutput where the text cannot be arping's."""
        self.number += 1
        self.line = line.removesuffix("\n").removesuffix("\r")
        shown = self.line.replace("\a", "").rstrip(" \t\r")
        if shown and not self.first[1]:
            self.first = (self.number, self.line)
        yield from self._events(shown, whole=line.endswith("\n"))
        self.known = self.known or self._output.known
        if not self.known and self.number >= _LONGEST_PREAMBLE:
            raise UnparsableOutput("arping", *self.first)

    def end(self) -> Iterator[ArpingEvent]:
        """Return the events that are left; raise UnparsableOutput where nothing was arping's."""
        yield from self._output.rest()
        if not self.known:
            raise UnparsableOutput("arping", *self.first)

    def unparsable(self) -> UnparsableOutput:
        """Return the error that names the line read last."""
        return UnparsableOutput("arping", self.number, self.line)

    def _events(self, shown: str, *, whole: bool) -> Iterator[ArpingEvent]:
        forms = _forms(shown)
        if any(isinstance(form, Header) for form in forms):
            yield from self._output.rest()
            self._output = _Output(header=True)
        taken = [self._output.take(form) for form in forms]
        if forms and None not in taken:
            yield from (event for events in taken for event in events or ())
        elif shown:
            yield from () if whole else self._output.rest()
            yield self._unrecognised(shown, whole)

    def _unrecognised(self, shown: str, whole: bool) -> Unrecognised:
        output = self._output
        translated = output.known and _translated(shown)
        if whole and (translated or output.only_raw or shown.startswith("ARPING ")):
            raise self.unparsable()
        output.foreign = True
        return Unrecognised(self.line)


def _forms(shown: str) -> tuple[_Line, ...]:
    """Return what a line says, nothing where it is not understood, and before it the ^C of a terminal."""
    form = _understood(shown)
    if form is not None or "^C" not in shown:
        return () if form is None else (form,)
    echoes, shown = (Note("^C"),) * shown.count("^C"), shown.replace("^C", "")
    form = _understood(shown) if shown else _Rule()
    return () if form is None else (*echoes, form)


def _lines(text: str) -> Iterator[str]:
    *whole, last = text.split("\n")
    yield from (f"{line}\n" for line in whole)
    yield from [last] if last else []


def read_arping(lines: Iterable[str]) -> Iterator[ArpingEvent]:
    r"""Return what each line says as it arrives, of one arping after another; each ends in its newline.

    Raise UnparsableOutput for lines of another locale, and where nothing shows that this is arping.

    >>> list(read_arping(["ARPING 192.0.2.2 from 192.0.2.1 eth0\n"]))
    [Header(destination='192.0.2.2', source=IPv4Address('192.0.2.1'), dev='eth0')]
    """
    reader = _Reader()
    for line in lines:
        yield from reader.read(line)
    yield from reader.end()


def parse_arping(text: str) -> ArpingReport:
    """Return what one arping printed, on stdout or on both; raise UnparsableOutput for anything else.

    A last line without its newline counts, as in an output that was stripped: where it was cut instead,
    its last number or word may be the beginning of a longer one, and what should follow is not there.

    >>> report = parse_arping('''ARPING 192.0.2.2 from 192.0.2.1 eth0
    ... Unicast reply from 192.0.2.2 [02:00:00:00:00:02]  0.562ms
    ... Sent 1 probes (1 broadcast(s))
    ... Received 1 response(s)
    ... ''')
    >>> report.received, report.lladdrs
    (1, ('02:00:00:00:00:02',))
    """
    reader, events, begun = _Reader(), [], False
    for line in _lines(text):
        for event in reader.read(line):
            if begun and isinstance(event, Header):
                raise reader.unparsable()
            begun = begun or isinstance(event, Header | ArpReply | NoAnswer | Summary | Times)
            events.append(event)
    return _report([*events, *reader.end()])


def _report(events: Sequence[ArpingEvent]) -> ArpingReport:
    header = next(_of(Header, events), Header())
    summary = next(_of(Summary, events), None)
    times = next(_of(Times, events), None)
    return ArpingReport(
        destination=header.destination,
        source=header.source,
        dev=header.dev,
        replies=tuple(_of(ArpReply, events)),
        no_answers=sum(1 for _ in _of(NoAnswer, events)),
        errors=tuple(error.message for error in _of(ArpingError, events)),
        **asdict(summary or Summary()),
        rtt_ms=times.rtt_ms if times else None,
        complete=summary is not None,
        notes=tuple(note.text for note in _of(Note, events)),
        unrecognised=tuple(unrecognised.line for unrecognised in _of(Unrecognised, events)),
    )


def _of(kind: type[_Event], events: Iterable[ArpingEvent]) -> Iterator[_Event]:
    return (event for event in events if isinstance(event, kind))
