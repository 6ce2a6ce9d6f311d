"""``ipvkit arping``, by whichever implementation is installed."""

from ipaddress import IPv4Address
from typing import Annotated

import typer

from ipvkit.cli import emit
from ipvkit.cli.common import DryRun, Json, Netns
from ipvkit.cli.single import TIMEOUT_S, Target, Where, perform, said, version
from ipvkit.core.errors import CommandFailed, UsageError
from ipvkit.core.values import any_address, interface_name
from ipvkit.report.arping import ARPING
from ipvkit.targets.kinds import TargetKind
from ipvkit.tools import arping as arping_


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
    report = arping_.parse_arping(said(done[0]))
    if not report.complete:
        what = report.errors[-1] if report.errors else "it ended early"
        raise CommandFailed(f"arping could not do it: {what}", command=str(where.placed(command)))
    emit(ARPING.document(report) if json_ else ARPING.table(report))
    return 0 if announce or bool(report.replies) != duplicate else 1


def _ipv4(text: str) -> IPv4Address:
    found = any_address(text)
    if not isinstance(found, IPv4Address):
        raise UsageError(f"{text} is an IPv6 address, and ARP is IPv4's", "IPv6 asks by itself: ipvkit ping")
    return found
