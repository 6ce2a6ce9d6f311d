"""The output of ping, as a table and as JSON."""

from collections.abc import Iterable

from ipvkit.core.errors import printable
from ipvkit.report.plain import Output, columns, not_understood, plain
from ipvkit.tools import ping


def _ping(report: ping.PingReport) -> str:
    said: dict[tuple[str, str], list[int | None]] = {}
    for reply in sorted(report.replies, key=_answer):
        source, ttl = _answer(reply)
        said.setdefault((source, f"reply, ttl {ttl}" if ttl else "reply"), []).append(reply.seq)
    for error in sorted(report.errors, key=_complaint):
        said.setdefault(_complaint(error), []).append(error.seq)
    for missing in report.no_answers:
        said.setdefault(("", "no answer yet"), []).append(missing.seq)
    rows = [(*key, len(seqs), _ranges(seq for seq in seqs if seq is not None)) for key, seqs in said.items()]
    table = columns(rows, ("from", "said", "times", "icmp_seq")) + "\n" if rows else ""
    return table + printable(_ping_line(report)) + "\n" + not_understood(report.unrecognised)


def _answer(reply: ping.Reply) -> tuple[str, int]:
    source = str(reply.source or reply.name)
    return (f"{reply.name} ({source})" if reply.name and reply.source else source, reply.ttl or 0)


def _complaint(error: ping.PingError) -> tuple[str, str]:
    return (str(error.source or error.name or "ping itself"), error.message)


def _ping_line(report: ping.PingReport) -> str:
    what = f"ping {report.destination}" if report.destination else "ping"
    if not report.complete:
        got = f": cut off after {len(report.replies)} replies" if report.destination else ": it never began"
        return what + got
    parts = [f"{report.transmitted} transmitted", f"{report.received} received"]
    marked = {"duplicates": report.duplicates, "corrupted": report.corrupted, "errors": report.error_count}
    parts += [f"{count} {name}" for name, count in marked.items() if count]
    parts += [f"{report.loss_percent:g} % lost"] if report.loss_percent is not None else []
    line = f"{what}: {', '.join(parts)}"
    rtt = report.rtt_ms
    return f"{line}; rtt {rtt.min:g}/{rtt.avg:g}/{rtt.max:g} ms (min/avg/max)" if rtt is not None else line


def _ranges(numbers: Iterable[int]) -> str:
    """Return numbers as a person writes them.

    >>> _ranges([1, 2, 3, 5, 8, 9])
    '1-3 5 8-9'
    """
    found: list[list[int]] = []
    for number in sorted(set(numbers)):
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return " ".join(str(first) if first == last else f"{first}-{last}" for first, last in found)


PING: Output[ping.PingReport] = Output("ping", _ping, plain)
