"""``ipvkit adopt``."""

from typing import Annotated

from typer import Option

from ipvkit.cli import emit
from ipvkit.cli.inspect import Parent, Verbose, found_here
from ipvkit.core.values import netns_name
from ipvkit.verbs.adopt import adopted


def adopt(
    parent: Parent = None,
    netns: Annotated[
        list[str] | None, Option(metavar="NETNS", help="Only what is in this namespace. Repeatable.")
    ] = None,
    verbose: Verbose = False,
) -> None:
    """It writes a lab file of the links that `ipvkit inspect` finds, and changes nothing.

    `ipvkit run-lab` builds the twin in a kernel without root, where a change can be tried. Comments list
    what the lab leaves out.

    Exit code: 0, 2 nothing can be described.
    """
    emit(adopted(found_here(parent, verbose=verbose), [netns_name(name) for name in netns or ()]))
