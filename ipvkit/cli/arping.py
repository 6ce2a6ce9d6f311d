"""``ipvkit arping``, by whichever implementation is installed."""

from typing import Annotated

from typer import Argument, Option

from ipvkit.cli.common import ipv4, parent_called
from ipvkit.cli.single import Where, probed
from ipvkit.core.errors import UsageError
from ipvkit.core.values import interface_name
from ipvkit.report.arping import ARPING
from ipvkit.tools import arping as arping_
from ipvkit.verbs.single import TIMEOUT_S, version


def arping(
    address: Annotated[str, Argument(metavar="ADDRESS", help="An IPv4 address.")],
    dev: Annotated[str, Option("-I", "--dev", metavar="DEV", help="The outgoing link.")],
    announce: Annotated[bool, Option("-U", "--announce", help="Announce it (gratuitous ARP).")] = False,
    duplicate: Annotated[
        bool, Option("-D", "--duplicate", help="Check whether another host has it (RFC 5227).")
    ] = False,
    count: Annotated[int, Option("-c", "--count", min=1, metavar="N", help="Number of packets.")] = 2,
    by: Annotated[
        arping_.Implementation | None, Option("--by", help="Arping implementation. Default: detected.")
    ] = None,
    *,
    where: Where,
) -> int:
    """It prints the summary when arping has ended.

    Exit code: 0 a host answered (with -D: none did; with -U: announced), 1 otherwise.
    """
    if announce and duplicate:
        raise UsageError("--announce does not go with --duplicate", "give one of the two")
    asked, dev = ipv4(address, "for IPv6, type: ipvkit ping"), interface_name(dev)
    if (where.target, where.netns) == ("local", None):
        dev = parent_called(dev)
    if by is None:
        by = "iputils" if where.dry_run else arping_.implementation(version(arping_.VERSION))
    if announce:
        purpose, build = f"announce {asked}", arping_.announce
    elif duplicate:
        purpose, build = f"check whether another host has {asked}", arping_.find_duplicate
    else:
        purpose, build = f"ask which host has {asked}", arping_.probe
    command = build(asked, dev, count=count, by=by)
    report = probed(where, purpose, command, arping_.parse_arping, ARPING, timeout_s=count + TIMEOUT_S)
    return 0 if report is None or announce or bool(report.replies) != duplicate else 1
