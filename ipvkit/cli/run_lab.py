"""``ipvkit run-lab``."""

from pathlib import Path
from typing import Annotated

import typer

from ipvkit import export
from ipvkit.cli import emit
from ipvkit.cli.common import DryRun, Json
from ipvkit.cli.options import (
    AtOnce,
    Checks,
    Count,
    Endpoints,
    Gateway,
    LabOrNew,
    Neighbour,
    NewMode,
    Parent,
    ProberOption,
    RealNetwork,
    SetupOption,
    Subnet,
    load_or_new,
    previewed,
)
from ipvkit.core.errors import UsageError
from ipvkit.plan.make import make_plan
from ipvkit.targets.kinds import TargetKind


def run_lab(
    lab: LabOrNew = None,
    target: Annotated[TargetKind, typer.Option(help="Where to run it.")] = TargetKind.AUTO,
    parent: Parent = None,
    endpoint: Endpoints = None,
    gateway: Gateway = None,
    neighbour: Neighbour = None,
    endpoints: Count = None,
    mode: NewMode = None,
    subnet: Subnet = None,
    checks: Checks = None,
    setup: SetupOption = None,
    at_once: AtOnce = None,
    prober: ProberOption = "ping",
    dry_run: DryRun = False,
    json_: Json = False,
    keep: Annotated[bool, typer.Option("--keep", help="Leave what was built (target local).")] = False,
    output: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the result to FILE.")] = None,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Show each command as it runs.")] = False,
    timeout: Annotated[float, typer.Option(min=1, metavar="SECONDS", help="End the run after that.")] = 120,
) -> int:
    """Without --parent the lab runs on a simulated LAN, in a kernel or in namespaces of its own.

    Exit code: 0 all as predicted, 1 a check came out otherwise, 2 wrong usage, 3 this machine cannot,
    4 a command failed and what was done has been undone, 130 interrupted and undone.
    """
    network = RealNetwork(parent, endpoint, gateway, neighbour)
    described = load_or_new(
        lab, endpoints, mode=mode, subnet=subnet, checks=checks, setup=setup, at_once=at_once
    )
    local = target is TargetKind.LOCAL or (target is TargetKind.AUTO and bool(network.parent))
    if local and not network.parent:
        raise UsageError("--target local needs a network interface", "give --parent eth0")
    if network.parent and not local:
        raise UsageError(f"--parent does not go with --target {target}", "leave --target away, or give local")
    if keep and not local:
        raise UsageError(
            "--keep needs --target local", "a sandbox or a uml kernel ends with ipvkit, and all in it"
        )
    if dry_run and json_:
        raise UsageError("--dry-run does not go with --json", "the preview is text, one command a line")
    if dry_run:
        emit(export.preview(make_plan(previewed(described, network))))
        return 0
    # A dry run needs nothing of this.
    from ipvkit.cli import lab_run
    from ipvkit.cli.output import refuse_unwritable

    refuse_unwritable(output)
    if local:
        run = lab_run.locally(described, network, prober, verbose=verbose, keep=keep, timeout=timeout)
    else:
        run = lab_run.on_simulated_lan(described, target, prober, verbose=verbose, timeout=timeout)
    return lab_run.tell(run, as_json=json_, output=output)
