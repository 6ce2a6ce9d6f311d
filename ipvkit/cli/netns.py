"""``ipvkit netns``."""

from typing import Annotated

import typer

from ipvkit.cli.common import IP_HELP, expanded, group
from ipvkit.cli.single import Action, change, show
from ipvkit.report.ip import NETNS
from ipvkit.tools import ip

netns = group("netns", IP_HELP)
Name = Annotated[str, typer.Argument(metavar="NETNS", help="The namespace's name.")]


@netns.command("add")
@expanded
def add(name: Name, where: Action) -> int:
    """Create a network namespace."""
    return change(where, f"create namespace {name}", ip.netns_add(name))


@netns.command("del")
@expanded
def delete(name: Name, where: Action) -> int:
    """Delete a network namespace.

    What is in it ends with its last process.
    """
    return change(where, f"delete namespace {name}", ip.netns_del(name))


@netns.command("list")
@expanded
def list_(where: Action) -> int:
    """List the named network namespaces."""
    return show(
        where, {"list the namespaces": ip.netns_list()}, NETNS, lambda texts: ip.parse_netns(texts[0])
    )
