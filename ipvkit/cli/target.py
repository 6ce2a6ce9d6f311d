"""The option ``--target``, and the target that it chooses."""

import sys
from typing import TYPE_CHECKING, Annotated

from typer import Option

from ipvkit.core.errors import UsageError
from ipvkit.targets.kinds import TargetKind

if TYPE_CHECKING:
    from ipvkit.targets.sandbox import Sandbox
    from ipvkit.targets.uml import Uml

Target = Annotated[TargetKind, Option(help="Where to run it.")]


def refuse_local(kind: TargetKind) -> None:
    """Raise UsageError for target local, which has no simulated LAN."""
    if kind is TargetKind.LOCAL:
        raise UsageError("--target local has no simulated LAN", "omit --target, or give sandbox or uml")


def chosen(kind: TargetKind) -> "Sandbox | Uml":
    """Return the target of that kind; for auto, print on stderr which it is, and why."""
    # A preview needs no target.
    from ipvkit.targets.choice import choose

    target, why = choose(kind)
    if why:
        print(why, file=sys.stderr)
    return target
