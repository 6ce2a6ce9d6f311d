"""The output of arping, as a table and as JSON."""

from ipvkit.core.errors import printable
from ipvkit.report.plain import Output, columns, not_understood, plain
from ipvkit.tools.arping import ArpingReport


def _arping(report: ArpingReport) -> str:
    rows = []
    for lladdr in report.lladdrs:
        replies = [reply for reply in report.replies if reply.lladdr == lladdr]
        times = [reply.time_ms for reply in replies if reply.time_ms is not None]
        fastest = f"{min(times):.3f}" if times else None
        rows.append((replies[0].source, lladdr, len(replies), fastest))
    parts = [columns(rows, ("address", "lladdr", "replies", "fastest ms")) + "\n"] if rows else []
    if len(rows) > 1:
        parts.append(f"{len(rows)} hosts have this address\n")
    parts += [f"{printable(error)}\n" for error in report.errors]
    what = printable(f"arping {report.destination}") if report.destination else "arping"
    if report.complete and report.transmitted is None:
        # Habets' -D prints marks and no counts.
        parts.append(f"{what}: {len(report.replies)} answers, {report.no_answers} times none\n")
    elif report.complete:
        parts.append(f"{what}: {report.transmitted} sent, {report.received} received\n")
    else:
        parts.append(f"{what}: cut off after {len(report.replies)} replies\n")
    return "".join(parts) + not_understood(report.unrecognised)


ARPING: Output[ArpingReport] = Output("arping", _arping, plain)
