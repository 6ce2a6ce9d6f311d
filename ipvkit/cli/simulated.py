"""Single commands on a simulated LAN, which is a lab's machinery: it is loaded where it is asked for."""

from collections.abc import Mapping

from ipvkit import export
from ipvkit.cli import emit
from ipvkit.cli.target import chosen
from ipvkit.core.command import Command, Completed
from ipvkit.lab import gallery
from ipvkit.lab.format import load
from ipvkit.plan.make import COMMANDS, on_simulated_lan
from ipvkit.run import engine
from ipvkit.targets.kinds import TargetKind


def perform(
    kind: TargetKind, commands: Mapping[str, Command], *, dry_run: bool, timeout_s: float
) -> list[Completed] | None:
    """Execute `commands`, each under its purpose, one after another; None where they were only shown.

    Raise IpvkitError at the first that fails.
    """
    plan = on_simulated_lan(load(gallery.text(gallery.WALKTHROUGH), gallery.WALKTHROUGH), commands)
    if dry_run:
        emit(export.preview(plan))
        return None
    target = chosen(kind)
    run = engine.run(plan, target, lambda _event: None, timeout_s=timeout_s)
    if run.failure is not None:
        raise run.failure
    return [completed for id, completed in run.completed.items() if id.startswith(f"{COMMANDS}.")]
