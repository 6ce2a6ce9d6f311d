"""``ipvkit doctor``."""

from typing import Annotated

import typer

from ipvkit import preflight
from ipvkit.cli import emit
from ipvkit.cli.options import Json
from ipvkit.doctor import examine
from ipvkit.errors import IpvkitError, UsageError
from ipvkit.preflight import Finding, Guest, Inspection, Join, Wanted
from ipvkit.report.doctor import render_json, render_table
from ipvkit.survey import survey
from ipvkit.values import Flag, Mode, any_interface_address, interface_name


def doctor(
    parent: Annotated[
        str | None, typer.Option(metavar="DEV", help="Look at what ipvlan links on it would meet.")
    ] = None,
    mode: Annotated[Mode | None, typer.Option(help="With --parent: the mode that they are to have.")] = None,
    flag: Annotated[Flag | None, typer.Option(help="With --mode. Default: bridge, as of ip.")] = None,
    address: Annotated[
        list[str] | None,
        typer.Option(metavar="ADDRESS/LEN", help="With --parent: an address of theirs. Repeatable."),
    ] = None,
    json_: Json = False,
) -> int:
    """A sandbox and a uml kernel are started and ended.

    With --parent nothing is changed; the network is asked (ARP) whether somebody has an address.

    Exit code: 0 labs run here and no error was found for the parent, 3 otherwise.
    """
    wanted = _wanted(parent, mode, flag, address or [])
    health = examine()
    inspection = _inspect(wanted) if wanted is not None else None
    emit(render_json(health, inspection) if json_ else render_table(health, inspection))
    return 0 if health.works and not (inspection and inspection.of("error")) else 3


def _wanted(parent: str | None, mode: Mode | None, flag: Flag | None, addresses: list[str]) -> Wanted | None:
    if parent is None:
        if mode or flag or addresses:
            raise UsageError("--mode, --flag and --address need --parent", "give --parent eth0")
        return None
    if flag and not mode:
        raise UsageError("--flag needs --mode", "the two belong together: a link without a mode gets l3")
    return Wanted(
        interface_name(parent),
        (Join(mode, flag or "bridge"),) if mode else (),
        tuple(Guest(addresses=(any_interface_address(text),)) for text in addresses),
    )


def _inspect(wanted: Wanted) -> Inspection:
    """Return what is found about the parent; that it cannot be looked at is a finding too."""
    try:
        return preflight.inspect(wanted, survey(wanted))
    except IpvkitError as problem:
        mend = problem.hint or "see --debug"
        return Inspection(wanted.parent, (Finding("not-looked-at", "error", problem.message, mend),))
