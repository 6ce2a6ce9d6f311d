"""``ipvkit addr``."""

from typing import Annotated

import typer

from ipvkit.cli.common import IP_HELP, OnlyDev, expanded, group
from ipvkit.cli.single import Where, change, show
from ipvkit.core.values import any_interface_address
from ipvkit.report.ip import ADDR
from ipvkit.tools import ip

addr = group("addr", IP_HELP)
Prefixed = Annotated[str, typer.Argument(metavar="ADDRESS/LEN", help="Such as 192.0.2.1/24.")]
Dev = Annotated[str, typer.Option(metavar="DEV", help="The link.")]


@addr.command("add")
@expanded
def add(address: Prefixed, dev: Dev, where: Where) -> int:
    """Add an address to a link."""
    return change(where, f"add an address to {dev}", ip.addr_add(any_interface_address(address), dev))


@addr.command("del")
@expanded
def delete(address: Prefixed, dev: Dev, where: Where) -> int:
    """Delete an address from a link."""
    return change(where, f"delete an address from {dev}", ip.addr_del(any_interface_address(address), dev))


@addr.command("list")
@expanded
def list_(dev: OnlyDev = None, *, where: Where) -> int:
    """List the addresses of the links."""
    commands = {"list the addresses": ip.addr_show(dev)}
    return show(where, commands, ADDR, lambda texts: ip.parse_addresses(texts[0]))
