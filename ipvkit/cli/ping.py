"""``ipvkit ping``, by whichever implementation is installed."""

from typing import Annotated

import typer

from ipvkit.cli import emit
from ipvkit.cli.common import DryRun, Json, Netns
from ipvkit.cli.single import TIMEOUT_S, Target, Where, perform, said, version
from ipvkit.core.errors import CommandFailed, UsageError
from ipvkit.core.values import Address, any_address, destination, interface_name
from ipvkit.report.ping import PING
from ipvkit.targets.kinds import TargetKind
from ipvkit.tools import ping as ping_


def ping(
    to: Annotated[str, typer.Argument(metavar="DESTINATION", help="An address or a host's name.")],
    count: Annotated[int, typer.Option("-c", "--count", min=1, metavar="N", help="How many requests.")] = 4,
    interval: Annotated[
        float,
        typer.Option("-i", "--interval", min=0.002, max=3600, metavar="SECONDS", help="Between two of them."),
    ] = 1.0,
    wait: Annotated[
        float, typer.Option("-W", "--wait", min=0.01, max=3600, metavar="SECONDS", help="For the last reply.")
    ] = 1.0,
    source: Annotated[
        str | None, typer.Option("-I", "--source", metavar="DEV|ADDRESS", help="What to send from.")
    ] = None,
    size: Annotated[
        int | None, typer.Option("-s", "--size", min=0, max=65507, metavar="BYTES", help="The payload.")
    ] = None,
    ttl: Annotated[
        int | None, typer.Option("-t", "--ttl", min=1, max=255, metavar="N", help="Or IPv6's hop limit.")
    ] = None,
    by: Annotated[
        ping_.Implementation | None,
        typer.Option("--by", help="Whose ping it is. Default: it is asked."),
    ] = None,
    netns: Netns = None,
    target: Target = TargetKind.LOCAL,
    dry_run: DryRun = False,
    json_: Json = False,
) -> int:
    """It asks which ping is installed, sends, and shows what came of it when it has ended.

    Exit code: 0 there were replies, 1 there were none, 4 ping could not send.
    """
    where = Where(target, netns, dry_run, json_)
    to_, from_ = destination(to), None if source is None else _source(source)
    if by is None:
        by = "iputils" if dry_run else ping_.implementation(version(ping_.VERSION))
    command = ping_.ping(
        to_,
        count=count,
        interval=interval,
        wait=wait,
        source=from_,
        size=size,
        ttl=ttl,
        by=by,
    )
    done = perform(where, {f"ping {to}": command}, timeout_s=count * interval + wait + TIMEOUT_S)
    if done is None:
        return 0
    report = ping_.parse_ping(said(done[0]))
    if not report.complete:
        what = report.errors[-1].message if report.errors else "it ended early"
        raise CommandFailed(f"ping could not do it: {what}", command=str(where.placed(command)))
    emit(PING.document(report) if json_ else PING.table(report))
    return 0 if report.received else 1


def _source(text: str) -> Address | str:
    try:
        return any_address(text)
    except UsageError:
        return interface_name(text)
