"""iputils' ``ping``: ping(8), ping/ping_common.c."""

import re
from dataclasses import dataclass

from ipvkit.errors import UnparsableOutput


@dataclass(frozen=True, slots=True)
class Reply:
    """One echo reply: from whom, its `seq`, `ttl`, `time_ms`, and its Unix `timestamp` with ``-D``."""

    source: str
    seq: int
    ttl: int
    time_ms: float
    timestamp: float | None = None


@dataclass(frozen=True, slots=True)
class IcmpError:
    """One ICMP error: who (`source`) said what (`message`) about the request `seq`."""

    source: str
    seq: int
    message: str


@dataclass(frozen=True, slots=True)
class Rtt:
    """Round-trip times in milliseconds."""

    min: float
    avg: float
    max: float
    mdev: float


@dataclass(frozen=True, slots=True)
class PingReport:
    """What one ping saw; `rtt_ms` is None where no reply came.

    `error_count` is the summary's; `errors` are the lines that told of them.
    """

    destination: str
    transmitted: int
    received: int
    loss_percent: float
    replies: tuple[Reply, ...]
    errors: tuple[IcmpError, ...]
    error_count: int
    rtt_ms: Rtt | None
    unrecognised: tuple[str, ...]


_COUNT = r"\d{1,12}"
_DECIMAL = r"\d{1,12}(?:\.\d{1,9})?"
_STAMP = rf"(?:\[(?P<timestamp>{_DECIMAL})\] )?"
_HEADER = re.compile(r"PING (\S+) \([^)]*\) .*bytes of data\.")
_REPLY = re.compile(
    rf"{_STAMP}{_COUNT} bytes from (?P<source>[^:]+(?: \([^)]+\))?): "
    rf"icmp_seq=(?P<seq>{_COUNT}) ttl=(?P<ttl>{_COUNT}) time=(?P<time>{_DECIMAL}) ms(?: \(DUP!\))?"
)
_ERROR = re.compile(rf"{_STAMP}From (?P<source>\S+) icmp_seq=(?P<seq>{_COUNT}) (?P<message>.+)")
_COUNTS = re.compile(
    rf"(?P<transmitted>{_COUNT}) packets transmitted, (?P<received>{_COUNT}) received,"
    rf"(?: \+{_COUNT} (?:duplicates|corrupted),)*(?: \+(?P<errors>{_COUNT}) errors,)?"
    rf" (?P<loss>{_DECIMAL})% packet loss, time {_COUNT}ms"
)
_RTT = re.compile(
    rf"rtt min/avg/max/mdev = ({_DECIMAL})/({_DECIMAL})/({_DECIMAL})/({_DECIMAL}) ms(?:, pipe {_COUNT})?"
)
_SILENT = re.compile(r"--- \S+ ping statistics ---|pipe \d+|")


def parse_ping(stdout: str) -> PingReport:
    """Return what iputils' ping printed; raise UnparsableOutput where header or counts are missing.

    >>> parse_ping('''PING 192.0.2.1 (192.0.2.1) 56(84) bytes of data.
    ... 64 bytes from 192.0.2.1: icmp_seq=1 ttl=64 time=0.391 ms
    ...
    ... --- 192.0.2.1 ping statistics ---
    ... 1 packets transmitted, 1 received, 0% packet loss, time 0ms
    ... rtt min/avg/max/mdev = 0.391/0.391/0.391/0.000 ms
    ... ''').received
    1
    """
    lines = stdout.splitlines()
    header = _HEADER.fullmatch(lines[0]) if lines else None
    if header is None:
        raise UnparsableOutput("ping", 1, lines[0] if lines else "")
    replies: list[Reply] = []
    errors: list[IcmpError] = []
    unrecognised: list[str] = []
    counts: re.Match[str] | None = None
    rtt: Rtt | None = None
    for line in lines[1:]:
        if found := _REPLY.fullmatch(line):
            stamp = found["timestamp"]
            replies.append(
                Reply(
                    source=found["source"],
                    seq=int(found["seq"]),
                    ttl=int(found["ttl"]),
                    time_ms=float(found["time"]),
                    timestamp=float(stamp) if stamp else None,
                )
            )
        elif found := _ERROR.fullmatch(line):
            errors.append(IcmpError(found["source"], int(found["seq"]), found["message"]))
        elif found := _COUNTS.fullmatch(line):
            counts = found
        elif found := _RTT.fullmatch(line):
            rtt = Rtt(*(float(value) for value in found.groups()))
        elif not _SILENT.fullmatch(line):
            unrecognised.append(line)
    if counts is None:
        raise UnparsableOutput("ping", len(lines), lines[-1])
    return PingReport(
        destination=header[1],
        transmitted=int(counts["transmitted"]),
        received=int(counts["received"]),
        loss_percent=float(counts["loss"]),
        replies=tuple(replies),
        errors=tuple(errors),
        error_count=int(counts["errors"] or 0),
        rtt_ms=rtt,
        unrecognised=tuple(unrecognised),
    )
