"""``ipvkit ping`` and ``ipvkit arping``, by whichever implementation is installed."""

from ipaddress import IPv4Address
from typing import Annotated

import typer

from ipvkit.cli import emit
from ipvkit.cli.options import DryRun, Json, Netns, Target
from ipvkit.cli.single import TIMEOUT_S, Where, perform, version
from ipvkit.command import Completed
from ipvkit.errors import CommandFailed, UsageError
from ipvkit.report import outputs
from ipvkit.targets.choice import TargetKind
from ipvkit.tools import arping as arping_
from ipvkit.tools import ping as ping_
from ipvkit.values import Address, any_address, destination, interface_name


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
    report = ping_.parse_ping(_said(done[0]))
    if not report.complete:
        what = report.errors[-1].message if report.errors else "it ended early"
        raise CommandFailed(f"ping could not do it: {what}", command=str(where.placed(command)))
    emit(outputs.PING.document(report) if json_ else outputs.PING.table(report))
    return 0 if report.received else 1


def _source(text: str) -> Address | str:
    try:
        return any_address(text)
    except UsageError:
        return interface_name(text)


def arping(
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="An IPv4 address.")],
    dev: Annotated[str, typer.Option("-I", "--dev", metavar="DEV", help="The link to send out of.")],
    announce: Annotated[
        bool, typer.Option("-U", "--announce", help="Tell everybody who has it (gratuitous ARP).")
    ] = False,
    duplicate: Annotated[
        bool, typer.Option("-D", "--duplicate", help="Find out whether somebody has it (RFC 5227).")
    ] = False,
    count: Annotated[int, typer.Option("-c", "--count", min=1, metavar="N", help="How many times.")] = 2,
    by: Annotated[
        arping_.Implementation | None,
        typer.Option("--by", help="Whose arping it is. Default: it is asked."),
    ] = None,
    netns: Netns = None,
    target: Target = TargetKind.LOCAL,
    dry_run: DryRun = False,
    json_: Json = False,
) -> int:
    """It asks which arping is installed, sends, and shows what came of it when it has ended.

    Exit code: 0 somebody answered (with -D nobody, with -U it was announced), 1 otherwise.
    """
    if announce and duplicate:
        raise UsageError("--announce does not go with --duplicate", "leave one of them away")
    where = Where(target, netns, dry_run, json_)
    asked, dev = _ipv4(address), interface_name(dev)
    if by is None:
        by = "iputils" if dry_run else arping_.implementation(version(arping_.VERSION))
    if announce:
        purpose, command = f"announce {asked}", arping_.announce(asked, dev, count=count, by=by)
    elif duplicate:
        purpose, command = (
            f"find out who else has {asked}",
            arping_.find_duplicate(asked, dev, count=count, by=by),
        )
    else:
        purpose, command = f"ask who has {asked}", arping_.probe(asked, dev, count=count, by=by)
    done = perform(where, {purpose: command}, timeout_s=count + TIMEOUT_S)
    if done is None:
        return 0
    report = arping_.parse_arping(_said(done[0]))
    if not report.complete:
        what = report.errors[-1] if report.errors else "it ended early"
        raise CommandFailed(f"arping could not do it: {what}", command=str(where.placed(command)))
    emit(outputs.ARPING.document(report) if json_ else outputs.ARPING.table(report))
    return 0 if announce or bool(report.replies) != duplicate else 1


def _ipv4(text: str) -> IPv4Address:
    found = any_address(text)
    if not isinstance(found, IPv4Address):
        raise UsageError(f"{text} is an IPv6 address, and ARP is IPv4's", "IPv6 asks by itself: ipvkit ping")
    return found


def _said(completed: Completed) -> str:
    return completed.stdout + completed.stderr
