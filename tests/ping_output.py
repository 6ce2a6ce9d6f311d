"""What pings see, and how each implementation prints it."""

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from typing import Literal, get_args

from hypothesis import strategies as st

from ipvkit.core.values import Address
from ipvkit.tools.ping import NoAnswer, PingError, PingReport, Reply, Rtt
from strategies import addresses

Dialect = Literal["iputils", "iputils6", "ping6 of 2012", "busybox", "inetutils", "bsd", "bsd6"]
DIALECTS: tuple[Dialect, ...] = get_args(Dialect)

IPUTILS = ("iputils", "iputils6", "ping6 of 2012")
OF_IPV6 = ("iputils6", "ping6 of 2012", "bsd6")

_NAMES = st.sampled_from(
    ("peer.example", "a-b.example", "x_1", "xn--mnchen-3ya.example", "192-0-2-1.example")
)
_MESSAGES: dict[str, tuple[tuple[str, int | None], ...]] = {
    "iputils": (
        ("Destination Host Unreachable", None),
        ("Time to live exceeded", None),
        ("Frag needed and DF set (mtu = 1280)", 1280),
        ("Destination unreachable: No route", None),
        ("Packet too big: mtu=1400", 1400),
        ("Parameter problem: pointer = 20", None),
    ),
    "others": (
        ("Destination Host Unreachable", None),
        ("Fragmentation needed and DF set", None),
        ("frag needed and DF set (MTU 1280)", 1280),
        ("Packet too big, mtu=327680", 327680),
        ("Packet too big mtu = 1400", 1400),
        ("Redirect Host(New addr: 192.0.2.9)", None),
    ),
}
_OWN_ERRORS = (
    PingError(None, None, None, "sendmsg: Message too long"),
    PingError(None, None, None, "local error: message too long, mtu=1500", 1500),
    PingError(None, None, None, "sendto: No route to host"),
)
_NOTES_BEFORE = ("PATTERN: 0xff", "WARNING: pinging broadcast address")
_NOTES_BETWEEN = (
    ("RR: \t192.0.2.2", "\tgw.example (192.0.2.1)"),
    ("TS: \t36345811 absolute", "\t0", "\t-3", "Unrecorded hops: 2"),
    ("wrong data byte #36 should be 0x24 but was 0xdb", "#16\t10 11 12 13 db"),
    (
        "Vr HL TOS  Len   ID Flg  off TTL Pro  cks      Src      Dst",
        " 4  5  00 5400 567b   0 0000  3f  01 a024",
    ),
    ("2/3 packets, 33% loss, min/avg/ewma/max = 0.021/0.040/0.027/0.052 ms",),
    ("^C",),
)


def ping_reports(*, timestamps: bool | None = None) -> st.SearchStrategy[PingReport]:
    """What a run of iputils' ping over IPv4 can have seen that nobody stopped, with all its lines."""
    return _begun("iputils", plain=True).flatmap(
        lambda report: _ended(report, "iputils", timestamps=timestamps, plain=True)
    )


def reports(dialect: Dialect) -> st.SearchStrategy[PingReport]:
    """What a ping of that `dialect` can have seen and can print, also if it was quiet or was killed."""
    return (
        _begun(dialect)
        .flatmap(lambda report: _ended(report, dialect))
        .flatmap(lambda report: _with_more_or_less(report))
    )


@st.composite
def _begun(draw: st.DrawFn, dialect: Dialect, *, plain: bool = False) -> PingReport:
    """What the header says."""
    address = draw(_addresses(dialect))
    named = not plain and dialect != "bsd6" and draw(st.booleans())
    report = PingReport(
        destination=draw(_NAMES) if named else str(address),
        address=address,
        data_bytes=56 if plain else draw(st.sampled_from((0, 15, 56, 1000))),
    )
    if not plain and dialect != "inetutils" and (dialect == "bsd6" or draw(st.booleans())):
        devices = (None, "eth0", "eth0.5", "eth0:1") if dialect in IPUTILS else (None,)
        source, dev = draw(_addresses(dialect)), draw(st.sampled_from(devices))
        report = replace(report, source=source, dev=dev)
    return report


@st.composite
def _ended(
    draw: st.DrawFn,
    begun: PingReport,
    dialect: Dialect,
    *,
    timestamps: bool | None = None,
    plain: bool = False,
) -> PingReport:
    """What came of it: each request was answered, refused by an ICMP error, never sent, or lost."""
    is_iputils = dialect in IPUTILS
    stamped = is_iputils and (draw(st.booleans()) if timestamps is None else timestamps)
    start = draw(st.integers(1_500_000_000_000_000, 2_000_000_000_000_000))
    router = draw(_addresses(dialect))
    kinds = ["reply", "error", "unsent", "silence"]
    kinds += [] if plain else ["duplicate", "no answer", "truncated"]
    ends = draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=12))
    replies: list[Reply] = []
    errors: list[PingError] = []
    no_answers: list[NoAnswer] = []
    for seq, end in enumerate(ends, 1 if is_iputils else 0):
        start += draw(st.integers(1, 2_000_000))
        stamp = start / 1_000_000 if stamped else None
        if end in ("reply", "duplicate", "truncated"):
            reply = draw(_replies(begun, dialect, seq, stamp, truncated=end == "truncated", plain=plain))
            replies += [reply, reply._replace(duplicate=True)] if end == "duplicate" else [reply]
        elif end == "error" and dialect != "busybox":
            message, mtu = draw(st.sampled_from(_MESSAGES["iputils" if is_iputils else "others"]))
            name = None if plain else draw(st.none() | _NAMES)
            errors.append(PingError(router, name, seq if is_iputils else None, message, mtu, stamp))
        elif end == "no answer" and dialect not in ("busybox", "inetutils"):
            no_answers.append(NoAnswer(seq, stamp))
    # What could not be sent is counted on stdout and told on stderr.
    unsent = [] if plain else [draw(st.sampled_from(_OWN_ERRORS)) for end in ends if end == "unsent"]
    told = len(errors) + ends.count("unsent") if is_iputils else 0
    received = len({reply.seq for reply in replies})
    return replace(
        begun,
        complete=True,
        replies=tuple(replies),
        errors=(*errors, *unsent),
        no_answers=tuple(no_answers),
        transmitted=len(ends),
        received=received,
        duplicates=ends.count("duplicate"),
        corrupted=draw(st.integers(0, 2)) if is_iputils and not plain else 0,
        error_count=told,
        loss_percent=_loss(100 * (len(ends) - received) / len(ends), dialect),
        time_ms=draw(st.integers(0, 10**9)) if is_iputils else None,
        rtt_ms=draw(_rtts(dialect)) if any(reply.time_ms is not None for reply in replies) else None,
        pipe=draw(st.none() | st.integers(2, 100)) if is_iputils and not plain else None,
    )


@st.composite
def _replies(
    draw: st.DrawFn,
    begun: PingReport,
    dialect: Dialect,
    seq: int,
    stamp: float | None,
    *,
    truncated: bool,
    plain: bool,
) -> Reply:
    size, is_iputils = begun.data_bytes or 0, dialect in IPUTILS
    named = is_iputils and begun.destination != str(begun.address) and draw(st.booleans())
    reply = Reply(
        bytes=size + 8,
        source=begun.address,
        name=begun.destination if named else None,
        seq=seq,
        ttl=draw(st.integers(1, 255)),
        time_ms=draw(_times() if is_iputils else _milliseconds()) if size >= 16 else None,
        timestamp=stamp,
    )
    if truncated and is_iputils:
        return reply._replace(bytes=4, time_ms=None, truncated=True)
    return reply if plain else reply._replace(remarks=draw(_remarks(dialect)))


@st.composite
def _with_more_or_less(draw: st.DrawFn, report: PingReport) -> PingReport:
    """Return `report` with notes, and as a ping would have it that was quiet, flooded, or was killed."""
    before = draw(st.lists(st.sampled_from(_NOTES_BEFORE), max_size=2, unique=True))
    between = draw(st.lists(st.sampled_from(_NOTES_BETWEEN), max_size=2))
    report = replace(report, notes=(*before, *(line for lines in between for line in lines)))
    if draw(st.booleans()):
        report = replace(report, replies=(), errors=(), no_answers=())
    if report.time_ms is not None and draw(st.booleans()):
        report = replace(report, ipg_ms=draw(_milliseconds()), ewma_ms=draw(_milliseconds()))
    return unfinished(report) if draw(st.booleans()) else report


def unfinished(report: PingReport) -> PingReport:
    """Return `report` without its summary."""
    return PingReport(
        destination=report.destination,
        address=report.address,
        source=report.source,
        dev=report.dev,
        data_bytes=report.data_bytes,
        replies=report.replies,
        errors=report.errors,
        no_answers=report.no_answers,
        notes=report.notes,
    )


def _addresses(dialect: Dialect) -> st.SearchStrategy[Address]:
    if dialect not in OF_IPV6:
        return addresses()
    special = st.sampled_from((IPv6Address("fe80::1%eth0"), IPv6Address("2001:db8::")))
    return st.integers(1, 2**96 - 1).map(lambda low: IPv6Address((0x20010DB8 << 96) + low)) | special


def _remarks(dialect: Dialect) -> st.SearchStrategy[tuple[str, ...]]:
    found: dict[str, tuple[tuple[str, ...], ...]] = {
        "iputils": (("BAD CHECKSUM!",), ("same route",), ("ident=781",), ("DIFFERENT ADDRESS!",)),
        "bsd": (("tc=5",), ("mask=255.255.255.0", "tso=10:00:00"), ("same route",)),
        "bsd6": (("dst=2001:db8::9",),),
        "inetutils": (("same route",),),
    }
    return st.sampled_from(((), *found.get("iputils" if dialect in IPUTILS else dialect, ())))


@st.composite
def _rtts(draw: st.DrawFn, dialect: Dialect) -> Rtt:
    least, mean, most, deviation = (draw(_milliseconds()) for _ in range(4))
    return Rtt(least, mean, most, None if dialect == "busybox" else deviation)


def _times() -> st.SearchStrategy[float]:
    """Round-trip times in milliseconds, as precise as iputils prints them: at most three places."""
    places = st.integers(0, 3)
    return places.flatmap(lambda n: st.integers(100 if n < 3 else 0, 999).map(lambda d: d / 10**n))


def _milliseconds() -> st.SearchStrategy[float]:
    return st.integers(0, 10**7).map(lambda number: number / 1000)


def _loss(percent: float, dialect: Dialect) -> float:
    if dialect in IPUTILS:
        return float(f"{percent:g}")
    return float(f"{percent:.1f}") if dialect in ("bsd", "bsd6") else float(int(percent))


# --- as it is printed ---------------------------------------------------------------------------------


def printed(report: PingReport, dialect: Dialect = "iputils") -> str:
    """Return `report` as a ping of that `dialect` prints it, stdout and stderr together."""
    return "".join(f"{line}\n" for line in _lines(report, dialect))


def _lines(report: PingReport, dialect: Dialect) -> Iterator[str]:
    yield from (note for note in report.notes if note in _NOTES_BEFORE)
    yield _header(report, dialect)
    told = [(reply.seq, _reply(reply, dialect)) for reply in report.replies]
    told += [(_LAST if e.seq is None else e.seq, _error(e, dialect)) for e in report.errors]
    told += [(none.seq, _no_answer(none, dialect)) for none in report.no_answers]
    yield from (line for _, line in sorted(told, key=lambda pair: pair[0]))
    yield from (note for note in report.notes if note not in _NOTES_BEFORE)
    if report.complete:
        yield from _summary(report, dialect)


_LAST = 1 << 16


def _header(report: PingReport, dialect: Dialect) -> str:
    size = report.data_bytes or 0
    if dialect == "bsd6":
        return f"PING6({48 + size}=40+8+{size} bytes) {report.source} --> {report.address}"
    gap = "" if dialect == "ping6 of 2012" else " "
    bound = "" if report.source is None else f" from {report.source}"
    if dialect not in IPUTILS:
        return f"PING {report.destination} ({report.address}){bound}: {size} data bytes"
    bound += f" {report.dev or ''}:" if bound else ""
    sizes = f"{size}({size + 28}) bytes of data." if dialect == "iputils" else f"{size} data bytes"
    return f"PING {report.destination}{gap}({report.address}){bound} {sizes}"


def _stamp(timestamp: float | None) -> str:
    return "" if timestamp is None else f"[{timestamp:.6f}] "


def _host(source: Address | None, name: str | None) -> str:
    return f"{source}" if name is None else f"{name} ({source})"


def _reply(reply: Reply, dialect: Dialect) -> str:
    comma, ttl = (",", "hlim") if dialect == "bsd6" else (":", "ttl")
    seq = "seq" if dialect == "busybox" else "icmp_seq"
    inside = [word for word in reply.remarks if word.startswith(("ident=", "dst="))]
    words = [f"{seq}={reply.seq}", *(word for word in inside if word.startswith("ident="))]
    words += [f"{ttl}={reply.ttl}", *(word for word in inside if word.startswith("dst="))]
    if reply.time_ms is not None:
        time = _shown(reply.time_ms) if dialect in IPUTILS else f"{reply.time_ms:.3f}"
        words.append(f"time={time} ms")
    behind = " (truncated)" if reply.truncated else ""
    behind += "(DUP!)" if reply.duplicate and dialect == "bsd6" else " (DUP!)" if reply.duplicate else ""
    for word in reply.remarks:
        if word not in inside:
            behind += f" {word}" if "=" in word else f"\t({word})" if word == "same route" else f" ({word})"
    host = _host(reply.source, reply.name)
    return f"{_stamp(reply.timestamp)}{reply.bytes} bytes from {host}{comma} {' '.join(words)}{behind}"


def _shown(time_ms: float) -> str:
    places = 0 if time_ms >= 100 else 1 if time_ms >= 10 else 2 if time_ms >= 1 else 3
    return f"{time_ms:.{places}f}"


def _error(error: PingError, dialect: Dialect) -> str:
    if error.source is None:
        return f"ping: {error.message}"
    host = _host(error.source, error.name)
    if dialect in IPUTILS:
        return f"{_stamp(error.timestamp)}From {host} icmp_seq={error.seq} {error.message}"
    return f"92 bytes from {host}: {error.message}"


def _no_answer(none: NoAnswer, dialect: Dialect) -> str:
    if dialect in IPUTILS:
        return f"{_stamp(none.timestamp)}no answer yet for icmp_seq={none.seq}"
    return f"Request timeout for icmp_seq {none.seq}"


def _summary(report: PingReport, dialect: Dialect) -> Iterator[str]:
    if dialect != "inetutils":
        yield ""
    yield f"--- {report.destination} {'ping6' if dialect == 'bsd6' else 'ping'} statistics ---"
    words = [f"{report.transmitted} packets transmitted"]
    words.append(f"{report.received} {'' if dialect in IPUTILS else 'packets '}received")
    if report.duplicates:
        words.append(f"{'' if dialect == 'busybox' else '+'}{report.duplicates} duplicates")
    words += [f"+{report.corrupted} corrupted"] if report.corrupted else []
    words += [f"+{report.error_count} errors"] if report.error_count else []
    loss = report.loss_percent
    words.append(f"{loss:.1f}% packet loss" if dialect in ("bsd", "bsd6") else f"{loss:g}% packet loss")
    words += [f"time {report.time_ms}ms"] if dialect in IPUTILS else []
    yield ", ".join(words)
    if dialect in IPUTILS or report.rtt_ms is not None:
        yield ", ".join(_times_of(report, dialect))


_DEVIATION = {"busybox": "", "inetutils": "/stddev", "bsd": "/stddev", "bsd6": "/std-dev"}


def _times_of(report: PingReport, dialect: Dialect) -> Iterator[str]:
    rtt = report.rtt_ms
    if rtt is not None:
        fourth = _DEVIATION.get(dialect, "/mdev")
        numbers = [n for n in (rtt.min, rtt.avg, rtt.max, rtt.mdev) if n is not None]
        word = "rtt" if dialect in IPUTILS else "round-trip"
        yield f"{word} min/avg/max{fourth} = {'/'.join(f'{n:.3f}' for n in numbers)} ms"
    if report.pipe is not None:
        yield f"pipe {report.pipe}"
    if report.ipg_ms is not None:
        yield f"ipg/ewma {report.ipg_ms:.3f}/{report.ewma_ms:.3f} ms"


def lost_at_the_end(address: IPv4Address, count: int) -> PingReport:
    """Return what ``ping -D`` saw of `address` when the last `count` of its requests had no reply."""
    return PingReport(
        destination=str(address),
        address=address,
        data_bytes=56,
        replies=tuple(
            Reply(64, address, None, seq, 64, 0.1, timestamp=1_700_000_000.5 + seq) for seq in (1, 2, 3)
        ),
        transmitted=3 + count,
        received=3,
        duplicates=0,
        corrupted=0,
        error_count=0,
        loss_percent=0,
        time_ms=803,
        complete=True,
    )
