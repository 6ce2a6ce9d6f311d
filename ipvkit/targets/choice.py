"""Chooses the target."""

import os
from collections.abc import Callable

from ipvkit.core.errors import MissingRequirement
from ipvkit.core.values import TargetKind
from ipvkit.targets import kernels
from ipvkit.targets.sandbox import Sandbox
from ipvkit.targets.uml import Uml

KERNELS_AT_ONCE = 3 * len(os.sched_getaffinity(0))
"""How many targets run concurrently: while one waits for a reply another has the CPU."""


def choose(
    kind: TargetKind, note: Callable[[str], None], kernel: str | None = None, *, hosts: int = 1
) -> Sandbox | Uml:
    """Return the target of that kind; for `auto`, `note` a line with its name and the reason.

    Where the user wants a certain kernel, or a lab has several `hosts`, `auto` is uml. Raise
    MissingRequirement where the target does not work on this machine.
    """
    if kind == "auto" and hosts > 1:
        kind = "uml"
        note(f"target: uml, since the lab has {hosts} hosts")
    if kind == "uml" or (kind == "auto" and kernels.wanted(kernel)):
        uml = Uml(kernels.find(kernel))
        uml.check()
        return uml
    if kind == "sandbox":
        sandbox = Sandbox()
        sandbox.check()
        return sandbox
    reasons = []
    for target in (Sandbox(), Uml()):
        try:
            target.check()
        except MissingRequirement as problem:
            reasons.append(problem)
            continue
        why = "".join(f", since {problem.message}" for problem in reasons)
        note(f"target: {target.kind}{why}")
        return target
    what = "; ".join(problem.message for problem in reasons)
    raise MissingRequirement(f"no target works here: {what}", reasons[-1].hint)
