"""``ipvkit run-lab``."""

import os
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Option

from ipvkit.cli import emit, terminal_width
from ipvkit.cli.common import (
    DryRun,
    Inventory,
    Json,
    Kernel,
    OutputFile,
    Place,
    Timeout,
    one_form,
    refuse_kernel,
)
from ipvkit.cli.options import LabOptions
from ipvkit.cli.reports import Reports, file_of
from ipvkit.core.errors import UsageError
from ipvkit.core.values import RunTargetKind
from ipvkit.export.preview import preview
from ipvkit.lab import Lab
from ipvkit.plan.make import make_plan

if TYPE_CHECKING:
    from ipvkit.plan.steps import Plan
    from ipvkit.report.entries import Report
    from ipvkit.run.engine import Run
    from ipvkit.run.verdicts import Result
    from ipvkit.verbs.lab_file import RealNetwork


@dataclass(frozen=True, slots=True)
class RunPlace:
    """Where to run a lab: a target, its kernel, or the hosts of an inventory."""

    target: Annotated[RunTargetKind, Option(help="Where to run it.")] = "auto"
    kernel: Kernel = None
    inventory: Inventory = None

    def place(self) -> Place | None:
        """Return the target and its kernel, None for a fleet; raise UsageError for what does not fit."""
        if self.target == "ansible":
            if not self.inventory:
                raise UsageError("--target ansible needs an inventory", "give --inventory hosts.yml")
            refuse_kernel(self.target, self.kernel)
            return None
        if self.inventory:
            raise UsageError("--inventory needs --target ansible", "give --target ansible")
        return Place(self.target, self.kernel)


def run_lab(
    options: LabOptions,
    *,
    place: RunPlace,
    dry_run: DryRun = False,
    json_: Json = False,
    keep: Annotated[bool, Option("--keep", help="Keep what was built (targets local and ansible).")] = False,
    observe: Annotated[
        bool, Option("--observe", help="Build nothing: only send the checks, from what is on this machine.")
    ] = False,
    output: OutputFile = None,
    capture: Annotated[
        Path | None, Option("--capture", metavar="DIR", help="Capture packets during the checks, into DIR.")
    ] = None,
    reports: Reports,
    verbose: Annotated[bool, Option("-v", "--verbose", help="Show each command as it runs.")] = False,
    timeout: Timeout = 120,
) -> int:
    """Without --parent the lab runs on a simulated LAN, in a separate kernel or in namespaces.

    With --observe it is on this machine already, as `ipvkit adopt` has described it, and is not changed.

    Exit code: 0 all as predicted, 1 a check differs, 2 wrong usage, 3 this machine cannot, 4 a command
    failed and the run was undone, 130 interrupted and undone.
    """
    if dry_run:
        reports.refuse_preview()
    finish = partial(
        _print,
        reports=reports,
        capture=capture,
        file=file_of(options.lab),
        as_json=json_,
        output=output,
        inventory=place.inventory or (),
    )
    if observe:
        if options.parent or keep or capture or place.target not in ("auto", "local"):
            raise UsageError("--observe builds nothing", "omit --parent, --keep, --capture and --target")
        one_form(dry_run=dry_run, json_=json_)
        return _observed(options.described(), dry_run, output, finish, verbose, timeout)
    where, network, described = place.place(), options.network(), options.described()
    local = _is_local(place, network, keep=keep, capture=capture)
    one_form(dry_run=dry_run, json_=json_)
    if dry_run:
        emit(preview(_previewed(place, network, described, captures=capture is not None)))
        return 0
    # A preview needs none of these.
    from ipvkit.host.interfaces import require_interface
    from ipvkit.report.files import refuse_unwritable
    from ipvkit.report.progress import Progress
    from ipvkit.verbs import run_lab as whole

    refuse_unwritable(output)
    if capture is not None:
        from ipvkit.report.captures import make_folder

        make_folder(capture)
        reports.require_packets()
    progress, note = partial(Progress, verbose=verbose), partial(print, file=sys.stderr, flush=True)
    if where is None:
        from ipvkit.verbs import fleet

        paths, prober = place.inventory or (), options.prober or "ping"
        run = fleet.on_fleet(described, paths, prober, progress, note, keep=keep, timeout_s=timeout)
        return finish(run)
    prober, captures = options.prober or whole.fastest(described), capture is not None
    if local:
        require_interface(network.parent)
        on_machine = partial(whole.on_machine, keep=keep, timeout_s=timeout, captures=captures)
        return finish(on_machine(described, network, prober, progress, note))
    target = where.chosen(len(described.hosts))
    on_simulated = partial(whole.on_simulated_lan, timeout_s=timeout, captures=captures)
    return finish(on_simulated(described, target, prober, progress))


def _is_local(place: RunPlace, network: "RealNetwork", *, keep: bool, capture: Path | None) -> bool:
    """Return whether the lab runs on a parent of this machine; raise UsageError for what does not fit."""
    target, parent = place.target, network.parent
    local = target == "local" or (target == "auto" and bool(parent))
    if local and not parent:
        raise UsageError("--target local needs a network interface", "give --parent eth0")
    if parent and not local:
        raise UsageError(f"--parent does not go with --target {target}", "omit --target, or give local")
    if local:
        refuse_kernel("local", place.kernel)
    if keep and not local and target != "ansible":
        what = "--keep needs --target local or ansible"
        raise UsageError(what, "a sandbox or a uml kernel ends with ipvkit")
    if capture is not None and target == "ansible":
        raise UsageError("--capture does not go with --target ansible", "give --target uml")
    return local


def _previewed(place: RunPlace, network: "RealNetwork", lab: Lab, *, captures: bool) -> "Plan":
    """Return the plan of a lab there, as far as it is known without a look."""
    if place.target == "ansible":
        from ipvkit.verbs import fleet

        return make_plan(fleet.previewed(lab, place.inventory or ()))
    plan = make_plan(network.previewed(lab))
    if captures:
        from ipvkit.plan.capture import with_captures

        return with_captures(plan)
    return plan


def _observed(
    lab: Lab,
    dry_run: bool,
    output: Path | None,
    finish: Callable[["Run"], int],
    verbose: bool,
    timeout: float,
) -> int:
    from ipvkit.cli.options import live_twin
    from ipvkit.report.files import refuse_unwritable
    from ipvkit.report.progress import Progress
    from ipvkit.verbs.observe import observation, observe

    twin = live_twin()
    if dry_run:
        emit(preview(observation(lab, twin)))
        return 0
    refuse_unwritable(output)
    run = observe(lab, twin, partial(Progress, verbose=verbose), timeout_s=timeout)
    return finish(run)


def _print(
    run: "Run",
    *,
    reports: Reports,
    capture: Path | None,
    file: str,
    as_json: bool,
    output: Path | None,
    inventory: Sequence[str],
) -> int:
    from ipvkit.report import json, table
    from ipvkit.report.files import write
    from ipvkit.run import journal
    from ipvkit.run.verdicts import judge

    result = judge(run, paths=reports.are_wanted)
    if output is not None:
        write(output, json.render(result) if as_json else [table.render(result)])
        print(f"{table.verdict_line(result)}; written to {output}", file=sys.stderr)
    elif as_json:
        emit(json.render(result))
    else:
        width = terminal_width()
        colour = width is not None and "NO_COLOR" not in os.environ
        emit(table.render(result, colour=colour, width=width))
    if capture is not None:
        from ipvkit.report import captures

        print(captures.write_all(run, capture), file=sys.stderr)
    lab = result.run.plan.lab.name
    typed = "".join(f" --inventory {shlex.quote(path)}" for path in inventory)
    if result.run.kept:
        print(f"kept; to take it down, type: ipvkit down {lab}{typed}", file=sys.stderr)
    if result.failure is not None:
        print(result.failure, file=sys.stderr)
    left = bool(inventory and result.run.residue and not result.run.kept)
    if left or (result.run.target == "local" and lab in journal.interrupted()):
        print(f"to clean up again, type: ipvkit cleanup {lab}{typed}", file=sys.stderr)
    reports.write(partial(_report, result, file))
    return result.exit_code


def _report(result: "Result", file: str) -> "Report":
    from ipvkit.report.run import report

    return report(result, file)
