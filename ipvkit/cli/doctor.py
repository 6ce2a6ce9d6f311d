"""``ipvkit doctor``."""

from typing import Annotated

import typer

from ipvkit.cli import emit
from ipvkit.cli.common import Json
from ipvkit.core.errors import UsageError
from ipvkit.core.values import Flag, Mode, any_interface_address, interface_name
from ipvkit.host.checks import Request
from ipvkit.host.doctor import examine
from ipvkit.host.facts import check
from ipvkit.lab import Endpoint, Setting
from ipvkit.report.doctor import render_json, render_table


def doctor(
    parent: Annotated[str | None, typer.Option(metavar="DEV", help="A network interface to look at.")] = None,
    mode: Annotated[Mode | None, typer.Option(help="With --parent: the mode that is wanted.")] = None,
    flag: Annotated[Flag | None, typer.Option(help="With --mode; as of ip, bridge without it.")] = None,
    address: Annotated[
        list[str] | None,
        typer.Option(metavar="ADDRESS/LEN", help="With --parent: an endpoint's address. Repeatable."),
    ] = None,
    json_: Json = False,
) -> int:
    """A sandbox and a uml kernel are started and ended.

    With --parent it also tells what ipvlan links on DEV would meet. Nothing is changed; with --address the
    network is asked (ARP) whether somebody has it.

    Exit code: 0 labs run here and no error was found about the parent, 3 otherwise.
    """
    request = _request(parent, mode, flag, address or [])
    health = examine()
    found = check(request) if request is not None else None
    emit(render_json(health, found) if json_ else render_table(health, found))
    return 0 if health.works and not (found and found.of("error")) else 3


def _request(
    parent: str | None, mode: Mode | None, flag: Flag | None, addresses: list[str]
) -> Request | None:
    if parent is None:
        if mode or flag or addresses:
            raise UsageError("--mode, --flag and --address need --parent", "give --parent eth0")
        return None
    if flag and not mode:
        raise UsageError("--flag needs --mode", "the two belong together: a link without a mode gets l3")
    return Request(
        interface_name(parent),
        (Setting(mode, flag or "bridge"),) if mode else (),
        tuple(Endpoint("", (any_interface_address(text),), "", parent) for text in addresses),
    )
