"""The parser of what ``fping -q -c`` counted: fping.c, print_per_system_stats()."""

import re
from collections import Counter
from dataclasses import dataclass

from ipvkit.core.errors import UnparsableOutput, UsageError
from ipvkit.core.values import Address, any_address
from ipvkit.tools.ping import PingReport, Rtt

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
    hosts: list[PingReport] = []
    duplicates: Counter[str] = Counter()
    unrecognised: list[str] = []
    *lines, cut_off = text.split("\n")
    for line in filter(None, lines):
        if counts := _COUNTS.fullmatch(line):
            hosts.append(_host(counts, duplicates[counts[1]]))
        elif duplicate := _DUPLICATE.fullmatch(line):
            duplicates[duplicate[1]] += 1
        else:
            unrecognised.append(line)
    if not hosts:
        raise UnparsableOutput("fping", 1, next(filter(None, [*lines, cut_off]), ""))
    return FpingReport(tuple(hosts), (*unrecognised, *filter(None, [cut_off])))


def _host(counts: re.Match[str], duplicates: int) -> PingReport:
    name, transmitted, received = counts[1], int(counts[2]), int(counts[3])
    return PingReport(
        destination=name,
        address=_address(name),
        transmitted=transmitted,
        received=received,
        duplicates=duplicates,
        loss_percent=100 * max(0, transmitted - received) / transmitted if transmitted else None,
        rtt_ms=Rtt(*map(float, counts.groups()[3:])) if counts[4] else None,
        complete=True,
    )


def _address(name: str) -> Address | None:
    try:
        return any_address(name)
    except UsageError:
        return None
