"""``ipvkit arping``, by whichever implementation is installed."""

from ipaddress import IPv4Address
from typing import Annotated

import typer

from ipvkit.cli import emit
from ipvkit.cli.common import expanded
from ipvkit.cli.single import TIMEOUT_S, Where, perform, said, version
from ipvkit.core.errors import CommandFailed, UsageError
from ipvkit.core.values import any_address, interface_name
from ipvkit.report.arping import ARPING
from ipvkit.tools import arping as arping_


@expanded
def arping(
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="An IPv4 address.")],
    dev: Annotated[str, typer.Option("-I", "--dev", metavar="DEV", help="The outgoing link.")],
    announce: Annotated[bool, typer.Option("-U", "--announce", help="Announce it (gratuitous ARP).")] = False,
    duplicate: Annotated[
        bool, typer.Option("-D", "--duplicate", help="Check whether another host has it (RFC 5227).")
    ] = False,
    count: Annotated[int, typer.Option("-c", "--count", min=1, metavar="N", help="Number of packets.")] = 2,
    by: Annotated[
        arping_.Implementation | None,
        typer.Option("--by", help="Arping implementation. Default: detected."),
    ] = None,
    *,
    where: Where,
) -> int:
    """It prints the summary when arping has ended.

    Exit code: 0 a host answered (with -D: none did; with -U: announced), 1 otherwise.
    """
    if announce and duplicate:
        raise UsageError("--announce does not go with --duplicate", "give one of the two")
    asked, dev = _ipv4(address), interface_name(dev)
    if by is None:
        by = "iputils" if where.dry_run else arping_.implementation(version(arping_.VERSION))
    if announce:
        purpose, command = f"announce {asked}", arping_.announce(asked, dev, count=count, by=by)
    elif duplicate:
        purpose, command = (
            f"check whether another host has {asked}",
            arping_.find_duplicate(asked, dev, count=count, by=by),
        )
    else:
        purpose, command = f"ask which host has {asked}", arping_.probe(asked, dev, count=count, by=by)
    done = perform(where, {purpose: command}, timeout_s=count + TIMEOUT_S)
    if done is None:
        return 0
    report = arping_.parse_arping(said(done[0]))
    if not report.complete:
        what = report.errors[-1] if report.errors else "it ended early"
        raise CommandFailed(f"arping failed: {what}", command=str(where.placed(command)))
    emit(ARPING.document(report) if where.json_ else ARPING.table(report))
    return 0 if announce or bool(report.replies) != duplicate else 1


def _ipv4(text: str) -> IPv4Address:
    found = any_address(text)
    if not isinstance(found, IPv4Address):
        raise UsageError(f"{text} is an IPv6 address, and ARP is for IPv4", "for IPv6, type: ipvkit ping")
    return found
