"""``ipvkit ping``, by whichever implementation is installed."""

from typing import Annotated

import typer

from ipvkit.cli.common import expanded, number
from ipvkit.cli.single import Where, probed
from ipvkit.core.errors import UsageError
from ipvkit.core.values import Address, any_address, destination, interface_name
from ipvkit.report.ping import PING
from ipvkit.tools import ping as ping_
from ipvkit.verbs.single import TIMEOUT_S, version


@expanded
def ping(
    to: Annotated[str, typer.Argument(metavar="DESTINATION", help="An address or a host name.")],
    count: Annotated[int, typer.Option("-c", "--count", min=1, metavar="N", help="Number of requests.")] = 4,
    interval: Annotated[
        float,
        typer.Option(
            "-i",
            "--interval",
            min=0.002,
            max=3600,
            metavar="SECONDS",
            help="Interval between requests.",
            callback=number,
        ),
    ] = 1.0,
    wait: Annotated[
        float,
        typer.Option(
            "-W",
            "--wait",
            min=0.01,
            max=3600,
            metavar="SECONDS",
            help="Timeout for the last reply.",
            callback=number,
        ),
    ] = 1.0,
    source: Annotated[
        str | None, typer.Option("-I", "--source", metavar="DEV|ADDRESS", help="Source interface or address.")
    ] = None,
    size: Annotated[
        int | None, typer.Option("-s", "--size", min=0, max=65507, metavar="BYTES", help="Payload size.")
    ] = None,
    ttl: Annotated[
        int | None,
        typer.Option("-t", "--ttl", min=1, max=255, metavar="N", help="Time to live, or hop limit."),
    ] = None,
    by: Annotated[
        ping_.Implementation | None,
        typer.Option("--by", help="Ping implementation. Default: detected."),
    ] = None,
    *,
    where: Where,
) -> int:
    """It prints the summary when ping has ended.

    Exit code: 0 replies, 1 no reply, 4 ping could not send.
    """
    to_, from_ = destination(to), None if source is None else _source(source)
    if by is None:
        by = "iputils" if where.dry_run else ping_.implementation(version(ping_.VERSION))
    command = ping_.ping(
        to_, count=count, interval=interval, wait=wait, source=from_, size=size, ttl=ttl, by=by
    )
    timeout_s = count * interval + wait + TIMEOUT_S
    report = probed(where, {f"ping {to}": command}, ping_.parse_ping, PING, timeout_s=timeout_s)
    return 0 if report is None or report.received else 1


def _source(text: str) -> Address | str:
    try:
        return any_address(text)
    except UsageError:
        return interface_name(text)
