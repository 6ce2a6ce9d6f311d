"""``ipvkit adopt``."""

from typing import Annotated

from typer import Option

from ipvkit.cli import emit
from ipvkit.cli.common import DryRun
from ipvkit.cli.here import Parent, Verbose, found_here, previewed
from ipvkit.core.values import netns_name
from ipvkit.verbs.adopt import adopted
from ipvkit.verbs.live import live

Only = Annotated[
    list[str] | None, Option(metavar="NETNS", help="Only what is in this namespace. Repeatable.")
]
Neighbours = Annotated[
    bool, Option("--neighbours", help="Add the other hosts that are in the neighbour tables.")
]


def adopt(
    parent: Parent = None,
    netns: Only = None,
    neighbours: Neighbours = False,
    dry_run: DryRun = False,
    verbose: Verbose = False,
) -> None:
    """It writes a lab file of the links that `ipvkit inspect` finds, and changes nothing.

    `ipvkit run-lab` builds this twin in a kernel without root, where a change can be tried. Comments list
    what the lab leaves out.

    Exit code: 0 written, 2 nothing can be described, 3 only root sees it.
    """
    names = [netns_name(name) for name in netns or ()]
    if dry_run:
        emit(previewed())
        return
    emit(adopted(live(found_here(parent, verbose=verbose), names, neighbours=neighbours)))
