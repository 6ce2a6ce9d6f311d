"""``ipvkit netns``."""

from typing import Annotated

from typer import Argument

from ipvkit.cli.common import IP_HELP, group
from ipvkit.cli.single import Action, change, show
from ipvkit.report.ip import NETNS
from ipvkit.tools import ip

Name = Annotated[str, Argument(metavar="NETNS", help="The namespace's name.")]


def add(name: Name, where: Action) -> int:
    """Create a network namespace."""
    return change(where, f"create namespace {name}", ip.netns_add(name))


def delete(name: Name, where: Action) -> int:
    """Delete a network namespace.

    What is in it ends with its last process.
    """
    return change(where, f"delete namespace {name}", ip.netns_del(name))


def list_(where: Action) -> int:
    """List the named network namespaces."""
    commands = {"list the namespaces": ip.netns_list()}
    return show(where, commands, NETNS, lambda texts: ip.parse_netns(texts[0]))


netns = group("netns", IP_HELP, {"add": add, "del": delete, "list": list_})
