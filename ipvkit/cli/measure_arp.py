"""``ipvkit measure-arp``."""

import sys
from typing import Annotated

import typer

from ipvkit import export
from ipvkit.cli import emit
from ipvkit.cli.common import DryRun, Json
from ipvkit.cli.progress import Progress
from ipvkit.cli.single import version
from ipvkit.core.errors import MissingRequirement, UsageError
from ipvkit.core.values import duration
from ipvkit.lab import gallery
from ipvkit.lab.format import load
from ipvkit.plan.make import on_simulated_lan
from ipvkit.plan.steps import Plan
from ipvkit.report.measure_arp import render_json, render_table
from ipvkit.run import engine
from ipvkit.targets import require
from ipvkit.targets.choice import choose
from ipvkit.targets.kinds import TargetKind
from ipvkit.tools import arping, ping
from ipvkit.verbs.measure_arp import Measurement, measured


def measure_arp(
    fast: Annotated[
        bool, typer.Option("--fast", help="Have the neighbour age its entries within seconds.")
    ] = False,
    idle: Annotated[
        str, typer.Option(metavar="TIME", help="Leave the entry alone for so long before its first use.")
    ] = "0s",
    target: Annotated[TargetKind, typer.Option(help="Where the LAN is.")] = TargetKind.AUTO,
    json_: Json = False,
    dry_run: DryRun = False,
) -> int:
    """On a simulated LAN an l3 endpoint is announced once to a neighbour that has asked for it before.

    The neighbour's own timers say how long it will serve; pings tell how long it did. With the kernel's
    timers that takes about 15 s.

    Exit code: 0 it lived as long as predicted, 1 it did not.
    """
    if target is TargetKind.LOCAL:
        raise UsageError("--target local has no simulated LAN", "leave --target away, or give sandbox or uml")
    if dry_run and json_:
        raise UsageError("--dry-run does not go with --json", "the preview is text, one command a line")
    measurement = Measurement(fast, duration(idle))
    if dry_run:
        emit(export.preview(_plan(measurement, "iputils")))
        return 0
    require("arping", "ping")
    if ping.implementation(version(ping.VERSION)) != "iputils":
        raise MissingRequirement(
            "timestamps need the ping of iputils, and this is another", "apt install iputils-ping"
        )
    plan = _plan(measurement, arping.implementation(version(arping.VERSION)))
    where, why = choose(target)
    if why:
        print(why, file=sys.stderr)
    with Progress(plan, verbose=False) as progress:
        run = engine.run(plan, where, progress, timeout_s=measurement.bound_s)
    if run.failure is not None:
        raise run.failure
    # The steps of the LAN are executed in batches.
    done = {step.purpose: run.completed[step.id] for step in plan.steps if step.id in run.completed}
    found = measured(measurement, done)
    emit(render_json(found, run) if json_ else render_table(found, run))
    return 0 if found.passed else 1


def _plan(measurement: Measurement, by: arping.Implementation) -> Plan:
    lab = load(gallery.text(gallery.WALKTHROUGH), gallery.WALKTHROUGH)
    return on_simulated_lan(lab, measurement.commands(lab.parent, by))
