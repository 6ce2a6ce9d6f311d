"""The output of fping, as a table and as JSON."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ipvkit.core.values import Address
from ipvkit.report.plain import Output, columns, not_understood, plain
from ipvkit.tools.fping import FpingReport, read_fping
from ipvkit.tools.ping import PingReport, Rtt, Unrecognised


class Host(NamedTuple):
    """What fping has counted of a host."""

    destination: str
    address: Address | None
    transmitted: int
    received: int
    duplicates: int
    loss_percent: float | None
    rtt_ms: Rtt | None


def hosts(lines: Iterable[str]) -> Iterator[Host | Unrecognised]:
    """Yield each host as its line arrives, and each unknown line."""
    for event in read_fping(lines):
        yield _host(event) if isinstance(event, PingReport) else event


def _host(report: PingReport) -> Host:
    return Host(*(getattr(report, name) for name in Host._fields))


def _fping(report: FpingReport) -> str:
    rows = []
    for host in map(_host, report.hosts):
        loss = None if host.loss_percent is None else f"{host.loss_percent:g} %"
        rtt = host.rtt_ms and f"{host.rtt_ms.min:g}/{host.rtt_ms.avg:g}/{host.rtt_ms.max:g}"
        rows.append((host.destination, host.transmitted, host.received, host.duplicates or None, loss, rtt))
    headers = ("host", "transmitted", "received", "duplicates", "lost", "rtt ms (min/avg/max)")
    return columns(rows, headers) + not_understood(report.unrecognised)


FPING: Output[FpingReport] = Output(
    "fping",
    _fping,
    lambda report: {"hosts": plain(list(map(_host, report.hosts))), "unrecognised": report.unrecognised},
)
