"""What ``ipvkit run-lab`` does where something is run."""

import os
import shutil
import sys
import time
from functools import partial
from pathlib import Path
from queue import SimpleQueue

from ipvkit.cli import emit
from ipvkit.cli.options import RealNetwork
from ipvkit.cli.output import write
from ipvkit.cli.progress import MANY, Progress
from ipvkit.cli.target import chosen
from ipvkit.core.errors import MissingRequirement, UsageError
from ipvkit.host import checks
from ipvkit.host.facts import gather
from ipvkit.lab import Lab, Prober, on_parent
from ipvkit.plan.make import make_plan
from ipvkit.plan.resources import Link, Netns
from ipvkit.plan.steps import Plan
from ipvkit.report import json, table
from ipvkit.run import engine, journal
from ipvkit.run.execution import look, signals_into
from ipvkit.run.journal import State
from ipvkit.run.verdicts import judge
from ipvkit.targets.agent import Agent, Inbox
from ipvkit.targets.kinds import TargetKind
from ipvkit.targets.local import Local
from ipvkit.targets.programs import require
from ipvkit.tools import arping, ip, ping
from ipvkit.verbs.single import version


def locally(
    lab: Lab, network: RealNetwork, prober: Prober, *, verbose: bool, keep: bool, timeout: float
) -> engine.Run:
    """Run `lab` on a parent of this machine; the undo of each change is on disk before the change.

    The duration of the run includes the checks of the machine before it.
    """
    began = time.monotonic()
    Local().check(ipvlan=lab.has_ipvlan)
    inbox: Inbox = SimpleQueue()
    with signals_into(inbox), journal.started(lab.name) as ledger:
        with Agent(Local(ledger.file), inbox) as agent:
            plan = _planned(_on_machine(lab, network, agent), prober)
        with Progress(plan, verbose=verbose) as told:
            run = engine.run(
                plan,
                Local(ledger.file),
                told,
                keep=keep,
                timeout_s=timeout,
                inbox=inbox,
                journal=ledger,
                prober=prober,
            )
    run.duration_s = time.monotonic() - began
    return run


def on_simulated_lan(
    lab: Lab, kind: TargetKind, prober: Prober, *, verbose: bool, timeout: float
) -> engine.Run:
    """Run `lab` where the LAN ends with the run; tell on stderr which target that is, if it was chosen."""
    where = chosen(kind)
    plan = _planned(lab, prober)
    with Progress(plan, verbose=verbose) as progress:
        return engine.run(plan, where, progress, timeout_s=timeout, prober=prober)


def _planned(lab: Lab, prober: Prober) -> Plan:
    """Return the plan for the tools that are installed; raise MissingRequirement where they do not do."""
    plan = make_plan(lab)
    require(*plan.programs, *(["fping"] if prober == "fping" else []))
    if "ping" in plan.programs and ping.implementation(version(ping.VERSION)) != "iputils":
        raise MissingRequirement(
            "labs need the ping of iputils, and this is another", "apt install iputils-ping"
        )
    if "arping" not in plan.programs:
        return plan
    return make_plan(lab, arping_by=arping.implementation(version(arping.VERSION)))


def _on_machine(lab: Lab, network: RealNetwork, agent: Agent) -> Lab:
    """Return the lab on a parent of this machine; refuse to start where something stands in its way."""
    parent = network.parent
    place = partial(on_parent, lab, parent, addresses=network.addresses, neighbour=network.neighbour)
    request = checks.request_of(place(gateway=network.gateway))
    if (count := len(request.addresses)) >= MANY:
        print(f"check by ARP whether {count} addresses are in use", file=sys.stderr, flush=True)
    machine = gather(request, agent)
    _tell_or_refuse(lab, request, checks.check(request, machine))
    link = machine.link(parent)
    own = link.addresses if link is not None else ()
    host = tuple(address.address for address in own if address.scope == "global")
    if network.gateway is not None:
        return place(host=host, gateway=network.gateway)
    routes = look(agent, {"routes": ip.route_show(default=True, dev=parent)})["routes"]
    return place(host=host, gateway=ip.gateway_of(ip.parse_routes(routes.stdout)))


def _tell_or_refuse(lab: Lab, request: checks.Request, found: checks.Findings) -> None:
    """Tell on stderr what stops no run; raise UsageError that tells all at once where something does."""
    errors = [str(finding) for finding in found.of("error")]
    others = [f"warning: {finding}" for finding in found.of("warning")]
    others += [f"note: {finding}" for finding in found.of("info")]
    if errors:
        what = "\n  ".join([*errors, *others])
        raise UsageError(f"lab {lab.name} cannot start on {found.parent}:\n  {what}", _held(request))
    for line in others:
        print(line, file=sys.stderr)


def _held(request: checks.Request) -> str:
    """Return which other lab holds what is wanted, and what to type, or nothing."""
    names = {name for e in request.endpoints for name in (e.name, e.netns)} | set(request.links)
    for record in journal.records():
        made = [entry.effect for entry in record.entries if isinstance(entry.effect, Netns | Link)]
        held = [str(effect) for effect in made if effect.name in names]
        if held:
            what = "down" if record.state is State.UP else "cleanup"
            return f"{journal.title(record.lab)} holds {checks.some(held)}: ipvkit {what} {record.lab}"
    return ""


def tell(run: engine.Run, *, as_json: bool, output: Path | None) -> int:
    """Print or write what came of `run`; return the exit code."""
    result = judge(run)
    if output is not None:
        write(output, json.render(result) if as_json else [table.render(result)])
        print(f"{table.verdict_line(result)}; written to {output}", file=sys.stderr)
    elif as_json:
        emit(json.render(result))
    else:
        terminal = sys.stdout.isatty()
        colour = terminal and "NO_COLOR" not in os.environ
        width = shutil.get_terminal_size().columns if terminal else None
        emit(table.render(result, colour=colour, width=width))
    lab = result.run.plan.lab.name
    if result.run.kept:
        print(f"kept, as asked; to take it down, type: ipvkit down {lab}", file=sys.stderr)
    if result.failure is not None:
        print(result.failure, file=sys.stderr)
    if result.run.target == Local.kind and result.run.residue:
        print(f"to try again to undo what is left, type: ipvkit cleanup {lab}", file=sys.stderr)
    return result.exit_code
