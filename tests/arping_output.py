"""What an arping can have seen, and how each program of that name prints it."""

from dataclasses import replace
from decimal import Decimal
from ipaddress import IPv4Address

from hypothesis import strategies as st

from ipvkit.tools.arping import ArpingReport, ArpReply
from ipvkit.tools.ping import Rtt
from strategies import interface_names

NOTHING = ArpingReport(
    destination=None,
    source=None,
    dev=None,
    replies=(),
    no_answers=0,
    errors=(),
    transmitted=None,
    transmitted_broadcasts=None,
    received=None,
    received_requests=None,
    received_broadcasts=None,
    unanswered_percent=None,
    extra=None,
    rtt_ms=None,
    complete=False,
    notes=(),
    unrecognised=(),
)

counts = st.integers(0, 10**6)
ipv4_addresses = st.integers(0, 2**32 - 1).map(IPv4Address)


def lladdrs(shortest: int = 6, longest: int = 6) -> st.SearchStrategy[str]:
    return st.binary(min_size=shortest, max_size=longest).map(lambda octets: octets.hex(":"))


def _thousandths(number: int) -> float:
    return float(Decimal(number) / 1000)


# --- iputils and busybox ------------------------------------------------------------------------------


@st.composite
def _answers(draw: st.DrawFn, source: IPv4Address) -> ArpReply:
    solicited = draw(st.booleans())
    return ArpReply(
        source=source,
        lladdr=draw(lladdrs(1, 20)),
        operation=draw(st.sampled_from(("reply", "request"))),
        cast=draw(st.sampled_from(("unicast", "broadcast"))),
        time_ms=_thousandths(draw(st.integers(0, 10**9))) if solicited else None,
        unsolicited=not solicited,
        target=draw(st.none() | ipv4_addresses),
        target_lladdr=draw(st.none() | lladdrs(1, 20)),
    )


@st.composite
def arping_reports(draw: st.DrawFn) -> ArpingReport:
    """What iputils' or busybox's arping can have seen, until its summary."""
    destination = draw(ipv4_addresses)
    return replace(
        NOTHING,
        destination=str(destination),
        source=draw(ipv4_addresses),
        dev=draw(interface_names()),
        replies=tuple(draw(st.lists(_answers(destination), max_size=6))),
        transmitted=draw(counts),
        transmitted_broadcasts=draw(counts),
        received=draw(counts),
        received_requests=draw(counts | st.just(0)),
        received_broadcasts=draw(counts | st.just(0)),
        complete=True,
    )


def _when(reply: ArpReply) -> str:
    return " UNSOLICITED?" if reply.time_ms is None else f" {reply.time_ms:.3f}ms"


def _what(reply: ArpReply) -> str:
    assert reply.cast is not None
    return f"{reply.cast.title()} {reply.operation} from {reply.source} "


def _iputils_reply(reply: ArpReply) -> str:
    assert reply.lladdr is not None
    target = f"for {reply.target} " if reply.target else ""
    if reply.target_lladdr:
        target = f"{target or 'for '}[{reply.target_lladdr.upper()}]"
    return f"{_what(reply)}[{reply.lladdr.upper()}] {target}{_when(reply)}"


def iputils(report: ArpingReport) -> str:
    """Return `report` as iputils prints it (arping.c)."""
    requests, broadcasts = report.received_requests, report.received_broadcasts
    kinds = [f"{requests} request(s)"] if requests else []
    kinds += [f"{broadcasts} broadcast(s)"] if broadcasts else []
    lines = [
        f"ARPING {report.destination} from {report.source} {report.dev}",
        *map(_iputils_reply, report.replies),
        f"Sent {report.transmitted} probes ({report.transmitted_broadcasts} broadcast(s))",
        f"Received {report.received} response(s)" + (f" ({', '.join(kinds)})" if kinds else ""),
    ]
    return "".join(f"{line}\n" for line in lines)


def _busybox_reply(reply: ArpReply) -> str:
    target = f"for {reply.target}" if reply.target else ""
    if reply.target_lladdr:
        target = f"{target or ' for'} [{reply.target_lladdr}]"
    return f"{_what(reply)}[{reply.lladdr}]{target}{_when(reply)}"


def _busybox_counts(report: ArpingReport, responses: str) -> list[str]:
    kinds = f"{report.received_requests} request(s), {report.received_broadcasts} broadcast(s)"
    return [
        f"Sent {report.transmitted} probe(s) ({report.transmitted_broadcasts} broadcast(s))",
        f"Received {report.received} {responses} ({kinds})",
    ]


def busybox(report: ArpingReport) -> str:
    """Return `report` as busybox prints it (networking/arping.c)."""
    lines = [
        f"ARPING {report.destination} from {report.source} {report.dev}",
        *map(_busybox_reply, report.replies),
        *_busybox_counts(report, "response(s)"),
    ]
    return "".join(f"{line}\n" for line in lines)


def _without_zeros(lladdr: str) -> str:
    return ":".join(f"{int(octet, 16):x}" for octet in lladdr.split(":"))


def _old_busybox_reply(reply: ArpReply) -> str:
    assert reply.lladdr is not None
    target = f"for {reply.target} " if reply.target else ""
    if reply.target_lladdr:
        target = f"{target or 'for '}[{_without_zeros(reply.target_lladdr)}]"
    return f"{_what(reply)}[{_without_zeros(reply.lladdr)}]{target}{_when(reply)}"


def old_busybox(report: ArpingReport) -> str:
    """Return `report` as busybox once printed it, much as toybox does."""
    lines = [
        f"ARPING to {report.destination} from {report.source} via {report.dev}",
        *map(_old_busybox_reply, report.replies),
        # The right words the wrong way round: so it was.
        *_busybox_counts(report, "replies" if report.received == 1 else "reply"),
    ]
    return "".join(f"{line}\n" for line in lines)


# --- Habets -------------------------------------------------------------------------------------------

_NANOSECONDS = ((1, "nsec"), (10**3, "usec"), (10**6, "msec"), (10**9, "sec"))


@st.composite
def _times(draw: st.DrawFn) -> float:
    """Times in milliseconds, as precise as they are printed: three places of their unit."""
    exponent = draw(st.sampled_from((-6, -3, 0, 3)))
    number = draw(st.integers(0 if exponent == -6 else 1001, 10**6))
    return float(Decimal(number).scaleb(exponent - 3))


def habets_time(time_ms: float) -> str:
    """Return a time as Habets' arping prints it (ts2str)."""
    nanoseconds = Decimal(repr(time_ms)) * 10**6
    scale, unit = next(pair for pair in _NANOSECONDS if nanoseconds <= 1000 * pair[0])
    return f"{nanoseconds / scale:.3f} {unit}"


@st.composite
def habets_reports(draw: st.DrawFn) -> ArpingReport:
    """What Habets' arping can have seen of an address, or of a MAC address."""
    address, lladdr = draw(ipv4_addresses), draw(lladdrs())
    by_mac, of_sent = draw(st.booleans()), draw(st.booleans())
    replies = tuple(
        ArpReply(
            source=draw(ipv4_addresses) if by_mac else address,
            lladdr=lladdr if by_mac else draw(lladdrs()),
            time_ms=draw(_times()),
            index=index,
            bytes=draw(st.integers(42, 64)),
            remarks=(f"index={index}/{draw(counts)}",) if of_sent and not by_mac else (),
        )
        for index in range(draw(st.integers(0, 6)))
    )
    rtt = Rtt(*(_thousandths(draw(st.integers(0, 10**9))) for _ in range(4)))
    return replace(
        NOTHING,
        destination=lladdr if by_mac else str(address),
        replies=replies,
        no_answers=draw(st.integers(0, 6)),
        transmitted=draw(counts),
        received=draw(counts),
        unanswered_percent=float(draw(st.integers(0, 100))),
        extra=draw(counts),
        rtt_ms=rtt if replies else None,
        complete=True,
    )


def _habets_reply(reply: ArpReply, by_mac: bool) -> str:
    assert reply.time_ms is not None
    who = f"{reply.source} ({reply.lladdr})" if by_mac else f"{reply.lladdr} ({reply.source})"
    counter = f"{'icmp_seq' if by_mac else 'index'}={reply.index}"
    (counter,) = reply.remarks or (counter,)
    return f"{reply.bytes} bytes from {who}: {counter} time={habets_time(reply.time_ms)}"


def habets(report: ArpingReport) -> str:
    """Return `report` as Habets' arping prints it (src/arping.c)."""
    by_mac = ":" in str(report.destination)
    rtt = report.rtt_ms
    times = f"{rtt.min:.3f}/{rtt.avg:.3f}/{rtt.max:.3f}/{rtt.mdev:.3f}" if rtt else ""
    lines = [
        f"ARPING {report.destination}",
        *(_habets_reply(reply, by_mac) for reply in report.replies),
        *["Timeout"] * report.no_answers,
        "",
        f"--- {report.destination} statistics ---",
        f"{report.transmitted} packets transmitted, {report.received} packets received,"
        f" {report.unanswered_percent:3.0f}% unanswered ({report.extra} extra)",
        f"rtt min/avg/max/std-dev = {times} ms" if rtt else "",
    ]
    return "".join(f"{line}\n" for line in lines)


@st.composite
def habets_marks(draw: st.DrawFn) -> tuple[ArpingReport, str]:
    """What ``-D`` prints, and what it says."""
    marks = draw(st.text("!.", max_size=12))
    unanswered, extra = draw(st.integers(0, 100)), draw(counts)
    report = replace(
        NOTHING,
        replies=(ArpReply(None, None),) * marks.count("!"),
        no_answers=marks.count("."),
        unanswered_percent=float(unanswered),
        extra=extra,
        complete=True,
    )
    return report, f"{marks}\t{unanswered:3.0f}% packet loss ({extra} extra)\n"


@st.composite
def habets_raw(draw: st.DrawFn) -> tuple[ArpingReport, str]:
    """What ``-r``, ``-R`` or both print, and what it says."""
    seen = draw(st.lists(st.tuples(lladdrs(), ipv4_addresses), min_size=1, max_size=6))
    lladdr, source = draw(st.sampled_from(((True, False), (False, True), (True, True))))
    replies = tuple(ArpReply(who[1] if source else None, who[0] if lladdr else None) for who in seen)
    lines = (" ".join(str(part) for part in (r.lladdr, r.source) if part) for r in replies)
    return replace(NOTHING, replies=replies), "".join(f"{line}\n" for line in lines)


def printed_outputs() -> st.SearchStrategy[str]:
    """The output of any arping that has a header."""
    shared = st.sampled_from((iputils, busybox, old_busybox))
    of_linux = st.builds(lambda report, print_: print_(report), arping_reports(), shared)
    return of_linux | habets_reports().map(habets)
