"""``ipvkit ping``, by whichever implementation is installed."""

from typing import Annotated, Any

from typer import Argument, Option

from ipvkit.cli.common import number
from ipvkit.cli.single import Where, probed
from ipvkit.core.errors import UsageError
from ipvkit.core.values import Address, any_address, destination, interface_name
from ipvkit.report.ping import PING
from ipvkit.tools import ping as ping_
from ipvkit.verbs.single import TIMEOUT_S, version

SOURCE_HELP = "Source interface or address."
TTL_HELP = "Time to live, or hop limit."
Source = Annotated[str | None, Option("-I", "--source", metavar="DEV|ADDRESS", help=SOURCE_HELP)]
Size = Annotated[int | None, Option("-s", "--size", min=0, max=65507, metavar="BYTES", help="Payload size.")]
By = Annotated[ping_.Implementation | None, Option(help="Ping implementation. Default: detected.")]


def _seconds(short: str, long: str, least: float, help_: str) -> Any:  # noqa: ANN401
    return Option(short, long, min=least, max=3600, metavar="SECONDS", help=help_, callback=number)


def ping(
    to: Annotated[str, Argument(metavar="DESTINATION", help="An address or a host name.")],
    count: Annotated[int, Option("-c", "--count", min=1, metavar="N", help="Number of requests.")] = 4,
    interval: Annotated[float, _seconds("-i", "--interval", 0.002, "Interval between requests.")] = 1.0,
    wait: Annotated[float, _seconds("-W", "--wait", 0.01, "Timeout for the last reply.")] = 1.0,
    source: Source = None,
    size: Size = None,
    ttl: Annotated[int | None, Option("-t", "--ttl", min=1, max=255, metavar="N", help=TTL_HELP)] = None,
    by: By = None,
    *,
    where: Where,
) -> int:
    """It prints the summary when ping has ended.

    Exit code: 0 replies, 1 no reply, 4 ping could not send.
    """
    to_ = destination(to)
    from_: Address | str | None = None
    if source is not None:
        try:
            from_ = any_address(source)
        except UsageError:
            from_ = interface_name(source)
    if by is None:
        by = "iputils" if where.dry_run else ping_.implementation(version(ping_.VERSION))
    command = ping_.ping(
        to_, count=count, interval=interval, wait=wait, source=from_, size=size, ttl=ttl, by=by
    )
    timeout_s = count * interval + wait + TIMEOUT_S
    report = probed(where, f"ping {to}", command, ping_.parse_ping, PING, timeout_s=timeout_s)
    return 0 if report is None or report.received else 1
