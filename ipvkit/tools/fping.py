"""``fping``, which pings many hosts in one process: fping(8), fping.c, print_per_system_stats()."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ipvkit.core.command import Command
from ipvkit.core.errors import UnparsableOutput
from ipvkit.core.values import Address
from ipvkit.tools.ping import PingReport, Rtt, Unrecognised, address_of

__all__ = ["FpingReport", "fping", "parse_fping", "read_fping"]


def fping(
    destinations: Sequence[Address], *, count: int, interval: float, wait: float, size: int | None = None
) -> Command:
    """Return the command that pings all `destinations` concurrently, `count` times each.

    A host is pinged every `interval` seconds, and each reply waited for `wait` seconds. `size` bytes of
    payload are sent unfragmented. Its counts are on stderr.

    >>> from ipaddress import ip_address
    >>> str(fping([ip_address("192.0.2.1"), ip_address("2001:db8::1")], count=6, interval=0.2, wait=0.5))
    'fping -q -c 6 -p 200 -t 500 -i 1 192.0.2.1 2001:db8::1'
    """
    words = ["-q", "-c", str(count), "-p", str(round(interval * 1000)), "-t", str(round(wait * 1000))]
    # The least that an ordinary user may ask for, in milliseconds, between requests to different hosts.
    words += ["-i", "1"]
    words += ["-b", str(size), "-M"] if size is not None else []
    return Command(("fping", *words, *map(str, destinations)), ok=(0, 1))


_TIME = r"([0-9]{1,12}(?:\.[0-9]{1,9})?(?:e\+[0-9]{2})?)"
_COUNTS = re.compile(
    r"(\S+) +: xmt/rcv/%(?:loss|return) = ([0-9]{1,9})/([0-9]{1,9})/[0-9]{1,12}%"
    rf"(?:, min/avg/max = {_TIME}/{_TIME}/{_TIME})?"
)
_DUPLICATE = re.compile(rf"(\S+) +: duplicate for \[[0-9]{{1,9}}\], [0-9]{{1,9}} bytes, {_TIME} ms")


@dataclass(frozen=True, slots=True)
class FpingReport:
    """All that one fping counted: for each of `hosts`, in the order of its argv, what a ping would have."""

    hosts: tuple[PingReport, ...] = ()
    unrecognised: tuple[str, ...] = ()


def parse_fping(text: str) -> FpingReport:
    r"""Return what one fping printed, on stderr; raise UnparsableOutput where it has counted nothing.

    A last line without its newline may be cut off, and is not recognised.

    >>> report = parse_fping("192.0.2.1 : xmt/rcv/%loss = 6/6/0%, min/avg/max = 0.076/0.832/4.40\n")
    >>> report.hosts[0].received, report.hosts[0].rtt_ms
    (6, Rtt(min=0.076, avg=0.832, max=4.4, mdev=None))
    """
    found = list(read_fping(re.findall(r"[^\n]+\n?|\n", text)))
    hosts = tuple(event for event in found if isinstance(event, PingReport))
    return FpingReport(hosts, tuple(event.line for event in found if isinstance(event, Unrecognised)))


def read_fping(lines: Iterable[str]) -> Iterator[PingReport | Unrecognised]:
    """Yield each host that an fping, or several, has counted, as the lines arrive, and each unknown line.

    Raise UnparsableOutput at the end where there was no host.
    """
    first, counted = "", False
    duplicates: Counter[str] = Counter()
    for line in lines:
        text = line.removesuffix("\n").removesuffix("\r")
        first = first or text
        ended = line.endswith("\n")
        if ended and (counts := _COUNTS.fullmatch(text)):
            counted = True
            yield _host(counts, duplicates.pop(counts[1], 0))
        elif ended and (duplicate := _DUPLICATE.fullmatch(text)):
            duplicates[duplicate[1]] += 1
        elif text:
            yield Unrecognised(text)
    if not counted:
        raise UnparsableOutput("fping", 1, first)


def _host(counts: re.Match[str], duplicates: int) -> PingReport:
    name, transmitted, received = counts[1], int(counts[2]), int(counts[3])
    return PingReport(
        destination=name,
        address=address_of(name),
        transmitted=transmitted,
        received=received,
        duplicates=duplicates,
        loss_percent=100 * max(0, transmitted - received) / transmitted if transmitted else None,
        rtt_ms=Rtt(*map(float, counts.groups()[3:])) if counts[4] else None,
        complete=True,
    )
