"""The output of ``ping`` as values; times are milliseconds, timestamps Unix seconds."""

from dataclasses import dataclass
from typing import NamedTuple

from ipvkit.core.values import Address


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
