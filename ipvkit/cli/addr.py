"""``ipvkit addr``."""

from typing import Annotated

from typer import Argument, Option

from ipvkit.cli.common import IP_HELP, OnlyDev, group
from ipvkit.cli.single import Where, change, show
from ipvkit.core.values import any_interface_address
from ipvkit.report.ip import ADDR
from ipvkit.tools import ip

Prefixed = Annotated[str, Argument(metavar="ADDRESS/LEN", help="Such as 192.0.2.1/24.")]
Dev = Annotated[str, Option(metavar="DEV", help="The link.")]


def add(address: Prefixed, dev: Dev, where: Where) -> int:
    """Add an address to a link."""
    return change(where, f"add an address to {dev}", ip.addr_add(any_interface_address(address), dev))


def delete(address: Prefixed, dev: Dev, where: Where) -> int:
    """Delete an address from a link."""
    return change(where, f"delete an address from {dev}", ip.addr_del(any_interface_address(address), dev))


def list_(dev: OnlyDev = None, *, where: Where) -> int:
    """List the addresses of the links."""
    commands = {"list the addresses": ip.addr_show(dev)}
    return show(where, commands, ADDR, lambda texts: ip.parse_addresses(texts[0]))


addr = group("addr", IP_HELP, {"add": add, "del": delete, "list": list_})
