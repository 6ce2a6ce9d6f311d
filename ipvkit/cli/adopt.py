"""``ipvkit adopt``."""

from typing import Annotated

from typer import Option

from ipvkit.cli import emit
from ipvkit.cli.common import DryRun, Inventory
from ipvkit.cli.here import Parent, Verbose, found_here, found_on, previewed
from ipvkit.core.errors import CommandFailed, UsageError
from ipvkit.core.values import netns_name
from ipvkit.verbs.adopt import adopted
from ipvkit.verbs.lab_file import for_editors
from ipvkit.verbs.live import live, live_fleet

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
    inventory: Inventory = None,
) -> int:
    """It writes a lab file of the links that `ipvkit inspect` finds, and changes nothing.

    `ipvkit run-lab` builds this twin in a kernel without root, where a change can be tried. Comments list
    what the lab leaves out.

    With --inventory it is one lab of all hosts of an Ansible inventory, each a host of the lab.

    Exit code: 0 written, 2 nothing can be described, 3 only root sees it, 4 a host could not be reached.
    """
    names = [netns_name(name) for name in netns or ()]
    if inventory:
        if dry_run or names or neighbours:
            raise UsageError("--inventory goes with --parent and -v only", "omit the others")
        found = found_on(inventory, parent, verbose=verbose)
        emit(for_editors(adopted(live_fleet(found.hosts))))
        return CommandFailed.exit_code if found.unreached else 0
    if dry_run:
        emit(previewed())
        return 0
    emit(for_editors(adopted(live(found_here(parent, verbose=verbose), names, neighbours=neighbours))))
    return 0
