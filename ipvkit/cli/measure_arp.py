"""``ipvkit measure-arp``."""

from typing import Annotated

from typer import Option

from ipvkit.cli import emit
from ipvkit.cli.common import DryRun, Json, Place, one_form
from ipvkit.core.values import duration
from ipvkit.export.preview import preview
from ipvkit.report.measure_arp import render_json, render_table
from ipvkit.report.progress import Progress
from ipvkit.run import engine
from ipvkit.targets.programs import require
from ipvkit.tools import arping
from ipvkit.verbs.measure_arp import Measurement, measured
from ipvkit.verbs.single import on_lan, require_iputils, version


def measure_arp(
    fast: Annotated[bool, Option("--fast", help="Shorten the neighbour's ARP timers.")] = False,
    idle: Annotated[str, Option(metavar="TIME", help="Wait before the first use of the entry.")] = "0s",
    *,
    place: Place,
    json_: Json = False,
    dry_run: DryRun = False,
) -> int:
    """It announces an l3 endpoint once on a simulated LAN, and pings it from the neighbour until that fails.

    The prediction comes from the neighbour's ARP timers. With the kernel's defaults this takes 15 s.

    Exit code: 0 as predicted, 1 not as predicted.
    """
    place.refuse_local()
    one_form(dry_run=dry_run, json_=json_)
    measurement = Measurement(fast, duration(idle))
    if dry_run:
        emit(preview(on_lan(measurement.commands("iputils"))))
        return 0
    require("arping", "ping")
    require_iputils("timestamps")
    plan = on_lan(measurement.commands(arping.implementation(version(arping.VERSION))))
    where = place.chosen()
    with Progress(plan, verbose=False) as progress:
        run = engine.run(plan, where, progress, timeout_s=measurement.bound_s)
    if run.failure is not None:
        raise run.failure
    # The steps of the LAN are executed in batches.
    done = {step.purpose: run.completed[step.id] for step in plan.steps if step.id in run.completed}
    found = measured(measurement, done)
    emit(render_json(found, run) if json_ else render_table(found, run))
    return 0 if found.passed else 1
