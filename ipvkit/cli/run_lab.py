"""``ipvkit run-lab``."""

from typing import Annotated

import typer

from ipvkit import export
from ipvkit.cli import emit
from ipvkit.cli.common import DryRun, Json, OutputFile, Timeout, expanded, one_form
from ipvkit.cli.options import LabOptions, previewed
from ipvkit.cli.target import Target
from ipvkit.core.errors import UsageError
from ipvkit.plan.make import make_plan
from ipvkit.targets.kinds import TargetKind


@expanded
def run_lab(
    options: LabOptions,
    *,
    target: Target = TargetKind.AUTO,
    dry_run: DryRun = False,
    json_: Json = False,
    keep: Annotated[bool, typer.Option("--keep", help="Keep what was built (target local).")] = False,
    output: OutputFile = None,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Show each command as it runs.")] = False,
    timeout: Timeout = 120,
) -> int:
    """Without --parent the lab runs on a simulated LAN, in a separate kernel or in namespaces.

    Exit code: 0 all as predicted, 1 a check differs, 2 wrong usage, 3 this machine cannot, 4 a command
    failed and the run was undone, 130 interrupted and undone.
    """
    network, described = options.network(), options.described()
    local = target is TargetKind.LOCAL or (target is TargetKind.AUTO and bool(network.parent))
    if local and not network.parent:
        raise UsageError("--target local needs a network interface", "give --parent eth0")
    if network.parent and not local:
        raise UsageError(f"--parent does not go with --target {target}", "omit --target, or give local")
    if keep and not local:
        raise UsageError("--keep needs --target local", "a sandbox or a uml kernel ends with ipvkit")
    one_form(dry_run=dry_run, json_=json_)
    if dry_run:
        emit(export.preview(make_plan(previewed(described, network))))
        return 0
    # A dry run needs nothing of this.
    from ipvkit.cli import lab_run
    from ipvkit.cli.output import refuse_unwritable
    from ipvkit.host.interfaces import require_interface

    refuse_unwritable(output)
    if local:
        require_interface(network.parent)
        run = lab_run.locally(described, network, options.prober, verbose=verbose, keep=keep, timeout=timeout)
    else:
        run = lab_run.on_simulated_lan(described, target, options.prober, verbose=verbose, timeout=timeout)
    return lab_run.tell(run, as_json=json_, output=output)
