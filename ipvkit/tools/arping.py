"""``arping`` of iputils, busybox and Thomas Habets: the builders of its argv and the parser of its output.

What they print is in arping.c of iputils and busybox, and in src/arping.c of Habets.
"""

import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from io import StringIO
from ipaddress import IPv4Address
from typing import Any, Literal, NamedTuple

from ipvkit.core.command import Command
from ipvkit.core.errors import UnparsableOutput
from ipvkit.core.values import interface_name
from ipvkit.tools.ping import Note, Rtt, Unrecognised, signed

__all__ = ["VERSION", "ArpReply", "ArpingError", "ArpingEvent", "ArpingReport", "Header", "Implementation"]
__all__ += ["NoAnswer", "Note", "Summary", "Times", "Unrecognised", "announce", "find_duplicate"]
__all__ += ["implementation", "parse_arping", "probe", "read_arping"]

Implementation = Literal["iputils", "busybox", "habets"]

VERSION = Command(("arping", "-V"), ok=(0, 1))
"""Shows the implementation; those without this option print their name with the error."""


def implementation(printed: str) -> Implementation:
    """Return which arping printed this (stdout and stderr) when asked for its version.

    >>> implementation("ARPing 2.25, by Thomas Habets <thomas@habets.se>")
    'habets'
    """
    return signed("arping", printed, "habets", "by Thomas Habets")


def announce(address: IPv4Address, dev: str, *, count: int = 2, by: Implementation = "iputils") -> Command:
    """Return the command that sends `count` gratuitous ARP requests for `address` out of `dev`.

    It ends after `count` seconds and waits for no answer. iputils and busybox bind to `address`, which has
    to be an address of the host, or ``net.ipv4.ip_nonlocal_bind`` be 1; Habets does not.

    >>> str(announce(IPv4Address("192.168.104.211"), "eth0"))
    'arping -c 2 -U -I eth0 192.168.104.211'
    """
    dev, own = interface_name(dev), str(address)
    if by == "habets":
        # It takes the silence that follows for a failure: exit code 1.
        return Command(("arping", "-c", str(count), "-U", "-i", dev, "-S", own, own), ok=(0, 1))
    return Command(("arping", "-c", str(count), "-U", "-I", dev, own))


def probe(
    address: IPv4Address, dev: str, *, count: int = 2, wait: float = 1, by: Implementation = "iputils"
) -> Command:
    """Return the command that asks `count` times, out of `dev`, who has `address`.

    `wait` is how long the last answer may take, in seconds; iputils asks once a second. Exit code 1
    (no answer) counts as success: the verdict is taken from the counts.

    >>> str(probe(IPv4Address("192.168.104.254"), "eth0", by="habets"))
    'arping -c 2 -w 3 -i eth0 192.168.104.254'
    """
    return _ask(address, dev, count, wait, by)


def find_duplicate(
    address: IPv4Address, dev: str, *, count: int = 2, wait: float = 1, by: Implementation = "iputils"
) -> Command:
    """Return the command that asks, without a source address, whether `address` is in use (RFC 5227).

    An answer means that it is, whatever the exit code: iputils and busybox exit with 1 then, Habets with 0.

    >>> str(find_duplicate(IPv4Address("192.168.104.211"), "eth0"))
    'arping -c 2 -w 3 -D -I eth0 192.168.104.211'
    """
    return _ask(address, dev, count, wait, by, "-0" if by == "habets" else "-D")


def _ask(address: IPv4Address, dev: str, count: int, wait: float, by: Implementation, *dad: str) -> Command:
    bounds = ("-c", str(count), "-w", str(count + math.ceil(wait)))
    on = ("-i" if by == "habets" else "-I", interface_name(dev))
    return Command(("arping", *bounds, *dad, *on, str(address)), ok=(0, 1))


# --- what is found ------------------------------------------------------------------------------------


class ArpReply(NamedTuple):
    """One answer; what Habets' raw output (``-r``) and marks (``-D``) leave out of it is None.

    `time_ms` is as printed: iputils' is half a millisecond too much (recv_pack in its arping.c).
    `target` and `target_lladdr` are its receiver, where that is another host than the one that asked.
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


class Header(NamedTuple):
    """The first line; `destination` is a MAC address where Habets' arping asks for its IP address."""

    destination: str | None = None
    source: IPv4Address | None = None
    dev: str | None = None


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """A request without an answer in time (Habets)."""


@dataclass(frozen=True, slots=True)
class ArpingError:
    """An error of arping itself, without the name of the program."""

    message: str


class Summary(NamedTuple):
    """The counts at the end; None where this arping does not print one."""

    transmitted: int | None = None
    transmitted_broadcasts: int | None = None
    received: int | None = None
    received_requests: int | None = None
    received_broadcasts: int | None = None
    unanswered_percent: float | None = None
    extra: int | None = None


class Times(NamedTuple):
    """The times at the end, in milliseconds (Habets)."""

    rtt_ms: Rtt


ArpingEvent = Header | ArpReply | NoAnswer | ArpingError | Note | Unrecognised | Summary | Times


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
        """Whether a host answered."""
        return bool(self.replies or self.received)


# --- the lines ----------------------------------------------------------------------------------------

_COUNT = r"[0-9]{1,12}"
# Below zero where the clocks of request and answer differed (Habets, once: fixup_packet_age).
_TIME = r"-?[0-9]{1,12}(?:\.[0-9]{1,9})?"
_IPV4 = r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}"
# As long as the link's addresses are; busybox once printed them without leading zeros (ether_ntoa).
_LLADDR = r"[0-9A-Fa-f]{1,2}(?::[0-9A-Fa-f]{1,2}){0,31}"
_MAC = r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}"
_TYPED_MAC = r"[0-9A-Fa-f]{1,2}(?:[:-][0-9A-Fa-f]{1,2}){5}|[0-9A-Fa-f]{4}(?:\.[0-9A-Fa-f]{4}){2}"
_UNIT_EXPONENTS = {"nsec": -9 + 3, "usec": -6 + 3, "msec": 0, "ms": 0, "sec": 3}
_CAST = r"(?P<cast>Uni|Broad)cast re(?P<operation>ply|quest) from"
_TARGET = (
    rf" ?for (?:(?P<target>{_IPV4})(?: \[(?P<target_lladdr>{_LLADDR})\])?"
    rf"|\[(?P<only_target_lladdr>{_LLADDR})\])"
)
_WHO = rf"(?:(?P<lladdr>{_MAC}) \((?P<source>{_IPV4})\)|(?P<source_of_mac>{_IPV4}) \((?P<mac>{_MAC})\))"
_UNANSWERED = rf" *(?P<unanswered>-?{_COUNT}|-?nan)%"
_EXTRA = rf"(?: \((?P<extra>{_COUNT}) extra\))?"

_CHATTER = (
    r"lookup dev: |Unable to automatically find interface|Use -i to manually specify|Um\.\. "
    r"|using it anyway this time|[Ww](?:ARNING|arning): |(?:poll|select) says ok|select=[0-9]"
    r"|clock_getres\(\) =|Using gettimeofday\(\)|trying libnet_init\(|libnet_init\([^,]*\)$|libnet_getfd\(\)"
    r"|pcap_[a-z_]+\(\)(?:: [0-9]| failed)|ioctl\(fd,BIOCIMMEDIATE|libpcap version|libnet version"
    r"|getpwnam\(|setgroups\(|setgid\(|setuid\(|chdir\(|chroot\(|cap_init\(\)|cap_set_proc\(\)"
    r"|Successfully |Landlock |sending |received response|receiving packets|listen for replies|\.\.\. "
    r"|bug: |Working around bug"
)
"""How messages with the name of arping begin that are not errors: guessed interfaces, and ``-v``."""

_DECIMAL_COMMA = re.compile(r"[0-9],[0-9]+(?:\s?ms|\s[mnu]?sec|%|/[0-9]+,)")
_BRACKETED_MAC = re.compile(r"\[[0-9A-Fa-f]{1,2}(?::[0-9A-Fa-f]{1,2}){5,31}\]")
_LONGEST_PREAMBLE = 100
_Events = tuple[ArpingEvent, ...]
_Found = re.Match[str]


def _milliseconds(number: str, unit: str) -> float:
    return float(f"{number}e{_UNIT_EXPONENTS[unit]}")


def _address(text: str | None) -> IPv4Address | None:
    return IPv4Address(text) if text else None


def _lladdr(text: str | None) -> str | None:
    return text and ":".join(byte.zfill(2) for byte in text.lower().split(":"))


def _reply(found: _Found) -> ArpReply:
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


def _habets_reply(found: _Found) -> ArpReply:
    return ArpReply(
        source=IPv4Address(found["source"] or found["source_of_mac"]),
        lladdr=found["lladdr"] or found["mac"],
        time_ms=_milliseconds(found["time"], found["unit"]),
        index=int(found["index"]),
        bytes=int(found["bytes"]),
        remarks=(found["counter"],) if "/" in found["counter"] else (),
    )


def _habets_summary(found: _Found) -> Summary:
    texts = found.groupdict()
    counts = {name: int(texts[name]) for name in ("transmitted", "received", "extra") if texts.get(name)}
    percent = None if texts["unanswered"].endswith("nan") else float(texts["unanswered"])
    return Summary(**counts, unanswered_percent=percent)


def _times(found: _Found) -> Times:
    low, mean, high = (_milliseconds(time, found["unit"]) for time in found.group(1, 2, 3))
    # Habets' once took the root of what rounding had left below zero.
    deviation = None if found[4].endswith("nan") else _milliseconds(found[4], found["unit"])
    return Times(Rtt(low, mean, high, deviation))


def _translated(line: str) -> bool:
    """Return whether `line` looks like one that iputils prints under another locale (po/)."""
    if _BRACKETED_MAC.search(line) and not re.match(_CAST, line):
        return True
    has_letters = any(character.isalpha() and not character.isascii() for character in line)
    return bool((has_letters and re.search("[0-9]", line)) or _DECIMAL_COMMA.search(line))


# What shows that this is arping; a reply alone only in raw output, which could be part of any text.
_SIGNS = {Header, ArpReply, ArpingError, Summary}


class _Reader:
    """Reads outputs line by line, and returns the events of each line.

    The methods that take a line return None where it cannot follow the lines before it.
    """

    def __init__(self) -> None:
        self._number, self._line, self._first = 0, "", (1, "")
        # What this output has had of _SIGNS, of Times and of lines that are not understood.
        self._seen: set[type] = set()
        self._sent: _Found | None = None

    def read(self, line: str) -> _Events:
        """Return the events of the next line; raise UnparsableOutput where the text cannot be arping's."""
        self._number += 1
        self._line = line.removesuffix("\n").removesuffix("\r")
        shown = self._line.replace("\a", "").rstrip(" \t\r")
        if shown and not self._first[1]:
            self._first = (self._number, self._line)
        events = self._events(shown, whole=line.endswith("\n")) if shown else ()
        if self._number >= _LONGEST_PREAMBLE:
            self._check()
        return events

    def end(self) -> _Events:
        """Return the last events; raise UnparsableOutput where no line was arping's."""
        self._check()
        return self._left()

    def unparsable(self) -> UnparsableOutput:
        return UnparsableOutput("arping", self._number, self._line)

    def _check(self) -> None:
        if not self._seen & _SIGNS:
            raise UnparsableOutput("arping", *self._first)

    def _left(self) -> tuple[Unrecognised, ...]:
        """Return, once, the first line of a summary of which the second never came."""
        sent, self._sent = self._sent, None
        return (Unrecognised(sent[0]),) if sent else ()

    def _events(self, shown: str, *, whole: bool) -> _Events:
        events = self._understood(shown)
        if events is None and "^C" in shown:
            rest = self._understood(shown.replace("^C", ""))
            events = None if rest is None else (*[Note("^C")] * shown.count("^C"), *rest)
        if events is not None:
            return events
        left = () if whole else self._left()
        seen = self._seen & _SIGNS
        foreign = seen == {ArpReply} or shown.startswith("ARPING ") or (seen and _translated(shown))
        if whole and foreign:
            raise self.unparsable()
        self._seen.add(Unrecognised)
        return (*left, Unrecognised(self._line))

    def _understood(self, line: str) -> _Events | None:
        """Return the events of `line`, None where it is not understood."""
        for pattern, take in _FORMS.items():
            if found := pattern.fullmatch(line):
                try:
                    return take(self, found)
                except ValueError:  # An invalid address, such as 192.0.2.300.
                    return None
        return None if line else ()

    def header(self, found: _Found) -> _Events:
        destination = found["mac"] or str(IPv4Address(found["destination"] or found["habets"]))
        header = Header(destination, _address(found["source"]), found["dev"])
        left = self._left()
        self._seen = {Header}
        return (*left, header)

    def raw(self, found: _Found) -> _Events | None:
        reply = ArpReply(_address(found["source"] or found["only_source"]), found["lladdr"])
        return None if self._seen & {Header, Unrecognised} else self.seen(reply)

    def sent(self, found: _Found) -> _Events | None:
        """Take the first line of the summary of iputils and busybox."""
        if self._sent or Summary in self._seen:
            return None
        self._sent = found
        return ()

    def received(self, found: _Found) -> _Events | None:
        """Take the second line of that summary."""
        sent = self._sent
        if sent is None or Summary in self._seen:
            return None
        self._sent = None
        broadcasts = int(found["broadcasts"] or found["only_broadcasts"] or 0)
        counts = (int(found["received"]), int(found["requests"] or 0), broadcasts)
        return self.once(Summary(int(sent["transmitted"]), int(sent["broadcasts"]), *counts))

    def marks(self, found: _Found) -> _Events | None:
        """Take the line of ``-D``: an exclamation mark for an answer, a dot for none, and the summary."""
        answers = [ArpReply(None, None) if mark == "!" else NoAnswer() for mark in found["marks"]]
        summary = self.once(_habets_summary(found))
        return None if summary is None else (*answers, *summary)

    def once(self, event: Summary | Times) -> _Events | None:
        return None if type(event) in self._seen else self.seen(event)

    def seen(self, event: ArpingEvent) -> _Events:
        self._seen.add(type(event))
        return (event,)


_FORMS: dict[re.Pattern[str], Callable[[_Reader, _Found], _Events | None]] = {
    re.compile(
        rf"{_CAST} (?P<source>{_IPV4}) \[(?P<lladdr>{_LLADDR})\](?:{_TARGET})?"
        r" {1,2}(?:(?P<time>[0-9]{1,12}\.[0-9]{3})ms|UNSOLICITED\?)"
    ): lambda _, found: (_reply(found),),
    re.compile(
        rf"(?P<bytes>{_COUNT}) bytes from {_WHO}:"
        rf" (?P<counter>(?:index|icmp_seq)=(?P<index>{_COUNT})(?:/{_COUNT})?)"
        rf" time=(?P<time>{_TIME}) (?P<unit>[mnu]?sec)"
    ): lambda _, found: (_habets_reply(found),),
    re.compile(r"Timeout"): lambda *_: (NoAnswer(),),
    re.compile(
        rf"Sent (?P<transmitted>{_COUNT}) probe(?:s|\(s\)) \((?P<broadcasts>{_COUNT}) broadcast\(s\)\)"
    ): _Reader.sent,
    re.compile(
        rf"Received (?P<received>{_COUNT}) (?:response\(s\)|repl(?:y|ies))"
        rf"(?: \((?:(?P<requests>{_COUNT}) request\(s\)(?:, (?P<broadcasts>{_COUNT}) broadcast\(s\))?"
        rf"|(?P<only_broadcasts>{_COUNT}) broadcast\(s\))\))?"
    ): _Reader.received,
    re.compile(
        rf"(?P<transmitted>{_COUNT}) packets transmitted, (?P<received>{_COUNT}) packets received,"
        rf"{_UNANSWERED} unanswered{_EXTRA}"
    ): lambda reader, found: reader.once(_habets_summary(found)),
    re.compile(rf"(?P<marks>[!.]*)\t{_UNANSWERED} packet loss{_EXTRA}"): _Reader.marks,
    re.compile(
        rf"rtt min/avg/max/std-dev = ({_TIME})/({_TIME})/({_TIME})/({_TIME}|-?nan) (?P<unit>ms|[mnu]?sec)"
    ): lambda reader, found: reader.once(_times(found)),
    re.compile(r"--- \S+ statistics ---"): lambda *_: (),
    re.compile(
        rf"ARPING (?:(?P<to>to )?(?P<destination>{_IPV4}) from (?P<source>{_IPV4})"
        rf"(?:(?(to) via) (?P<dev>\S+))?|(?P<habets>{_IPV4})|(?P<mac>{_TYPED_MAC}))"
    ): _Reader.header,
    re.compile(rf"(?P<lladdr>{_MAC})(?: (?P<source>{_IPV4}))?|(?P<only_source>{_IPV4})"): _Reader.raw,
    re.compile(
        rf"(?:[^\s:]*/)?arping: (?:{_CHATTER}).*"
        r"|This box:   Interface: .*|Timestamp types:|  (?:Name|adapter\w*|host\w*) +\S.*|Sending ARP reply"
        r"|WARNING: .*|defaulting to checking dup for .*|clock_getres\(\) = .*|libnet_init\([^,]*\)"
        r"|pcap_get_selectable\(\): .*|FYI: .*|took time from gettimeofday\(\): .*"
        r"|too much diff between gettimeofday\(\) and .*|gettimeofday\(\) went backwards: .*"
        r"|packet arrived before we sent it\?|listen for replies for .*"
        r"|know what this program.*does, do you\?|Use -I if you really mean it .*"
    ): lambda _, found: (Note(found[0]),),
    re.compile(
        r"(?:[^\s:]*/)?arping: (?P<message>.+)"
        r'|Interface "[^"]*" is (?:down|not ARPable(?: \(no ll address\))?)'
        r"|(?:bind|connect|getifaddrs|getsockname|ioctl\(SIOC[A-Z]+\)|recvfrom|socket): [A-Z].*"
        r"|Illegal MAC addr .*|libnet_build_[a-z0-9_]+\(\): .*"
    ): lambda reader, found: reader.seen(ArpingError(found["message"] or found[0])),
}
"""The pattern of each kind of line, and what takes a line that fits. A reply that was cut has no unit."""


def read_arping(lines: Iterable[str]) -> Iterator[ArpingEvent]:
    r"""Yield the events of each line as it arrives, of one arping after another; each ends in its newline.

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

    A last line without its newline counts; where it was cut, its last word may be part of a longer one.

    >>> report = parse_arping('''ARPING 192.0.2.2 from 192.0.2.1 eth0
    ... Unicast reply from 192.0.2.2 [02:00:00:00:00:02]  0.562ms
    ... Sent 1 probes (1 broadcast(s))
    ... Received 1 response(s)
    ... ''')
    >>> report.received, report.lladdrs
    (1, ('02:00:00:00:00:02',))
    """
    reader, begun = _Reader(), False
    events: list[ArpingEvent] = []
    for line in StringIO(text, newline="\n"):
        for event in reader.read(line):
            if begun and isinstance(event, Header):
                raise reader.unparsable()
            begun = begun or isinstance(event, Header | ArpReply | NoAnswer | Summary | Times)
            events.append(event)
    return _report([*events, *reader.end()])


def _report(events: list[ArpingEvent]) -> ArpingReport:
    last: dict[type, Any] = {type(event): event for event in events}
    return ArpingReport(
        **last.get(Header, Header())._asdict(),
        replies=tuple(event for event in events if isinstance(event, ArpReply)),
        no_answers=sum(isinstance(event, NoAnswer) for event in events),
        errors=tuple(event.message for event in events if isinstance(event, ArpingError)),
        **last.get(Summary, Summary())._asdict(),
        rtt_ms=last[Times].rtt_ms if Times in last else None,
        complete=Summary in last,
        notes=tuple(event.text for event in events if isinstance(event, Note)),
        unrecognised=tuple(event.line for event in events if isinstance(event, Unrecognised)),
    )
