"""``ipvkit doctor``."""

from typing import Annotated

from typer import Option

from ipvkit.cli import emit, terminal_width
from ipvkit.cli.common import Json, parent_called
from ipvkit.core.errors import UsageError
from ipvkit.core.values import Flag, Mode, any_interface_address
from ipvkit.host.checks import Request
from ipvkit.host.doctor import examine
from ipvkit.lab import Endpoint, Setting
from ipvkit.report.doctor import render_json, render_table
from ipvkit.verbs.doctor import check


def doctor(
    parent: Annotated[str | None, Option(metavar="DEV", help="Also check this network interface.")] = None,
    mode: Annotated[Mode | None, Option(help="With --parent: the planned mode.")] = None,
    flag: Annotated[Flag | None, Option(help="With --mode: the planned flag. Default: bridge.")] = None,
    address: Annotated[
        list[str] | None, Option(metavar="ADDRESS/LEN", help="With --parent: a planned address. Repeatable.")
    ] = None,
    json_: Json = False,
) -> int:
    """It starts a sandbox and a uml kernel, and ends them.

    With --parent it also reports what conflicts with ipvlan on DEV, and changes nothing. With --address it
    sends ARP requests, to find another host with that address.

    Exit code: 0 labs run here and the parent has no errors, 3 otherwise.
    """
    request = _request(parent, mode, flag, address or [])
    health = examine()
    found = check(request) if request is not None else None
    emit(render_json(health, found) if json_ else render_table(health, found, terminal_width()))
    return 0 if health.works and not (found and found.of("error")) else 3


def _request(parent: str | None, mode: Mode | None, flag: Flag | None, texts: list[str]) -> Request | None:
    if parent is None:
        if mode or flag or texts:
            raise UsageError("--mode, --flag and --address need --parent", "give --parent eth0")
        return None
    if flag and not mode:
        raise UsageError("--flag needs --mode", "give --mode l2, l3 or l3s")
    parent = parent_called(parent)
    return Request(
        parent,
        (Setting(mode, flag or "bridge"),) if mode else (),
        tuple(Endpoint("", (any_interface_address(text),), "", parent) for text in texts),
    )
