"""What the commands share that look at this machine."""

import sys
from typing import TYPE_CHECKING, Annotated

from typer import Option

from ipvkit.core.command import Command
from ipvkit.core.errors import printable
from ipvkit.core.values import alternative_name
from ipvkit.host.inspect import Inspection, nothing, only, views
from ipvkit.host.interfaces import link_called, require_interface
from ipvkit.host.namespaces import spaces
from ipvkit.report.inspect import preview
from ipvkit.verbs.inspect import look

if TYPE_CHECKING:
    from ipvkit.verbs.inspect_fleet import Found

Parent = Annotated[str | None, Option(metavar="DEV", help="Only what is on this interface.")]
Verbose = Annotated[bool, Option("-v", "--verbose", help="Show each command as it runs.")]


def previewed() -> str:
    """Return the commands that look into each namespace."""
    found = spaces()
    return preview(found, views(found))


def found_here(parent: str | None, *, verbose: bool, may_be_empty: bool = False) -> Inspection:
    """Return what is on this machine, or on `parent`; raise an error where nothing is on that.

    If it `may_be_empty`, raise only where there is no such interface.
    """
    wanted = None if parent is None else alternative_name(parent)
    found = look(_show if verbose else lambda _: None)
    if wanted is None:
        return found
    found = only(found, wanted)
    if not found.parents:
        require_interface(link_called(wanted))
    if not (found.parents or may_be_empty):
        raise nothing(f"nothing is on {wanted}", "ipvkit inspect shows all parents", found)
    return found


def found_on(paths: list[str], parent: str | None, *, verbose: bool) -> "Found":
    """Return what is on the hosts of an inventory; name on stderr those that could not be looked at."""
    # One machine needs none of these.
    from ipvkit.verbs.inspect_fleet import look as look_at_fleet

    wanted = None if parent is None else alternative_name(parent)
    found = look_at_fleet(paths, _show if verbose else lambda _: None, wanted)
    for host, why in found.unreached.items():
        print(f"{host}: not looked at: {printable(why)}", file=sys.stderr)
    return found


def _show(command: Command) -> None:
    print(f"+ {command}", file=sys.stderr)
