"""What ``ipvkit run-lab`` does where something is run."""

import os
import shutil
import sys
from functools import partial
from pathlib import Path
from queue import SimpleQueue

from ipvkit.cli import emit
from ipvkit.cli.options import RealNetwork
from ipvkit.cli.output import write
from ipvkit.cli.progress import Progress
from ipvkit.cli.single import version
from ipvkit.core.errors import MissingRequirement, UsageError
from ipvkit.host import checks
from ipvkit.host.facts import survey
from ipvkit.lab import AddLink, Lab, Phase, Prober, SetMode, on_parent, shim_name
from ipvkit.plan.make import make_plan
from ipvkit.plan.resources import Link, Netns
from ipvkit.plan.steps import Plan
from ipvkit.report import json, table
from ipvkit.run import engine, journal
from ipvkit.run.batches import as_run
from ipvkit.run.execution import look, signals_into
from ipvkit.run.journal import State
from ipvkit.run.verdicts import judge
from ipvkit.targets import Inbox, require
from ipvkit.targets.choice import choose
from ipvkit.targets.kinds import TargetKind
from ipvkit.targets.local import Local
from ipvkit.tools import arping, ip, ping


def locally(
    lab: Lab, network: RealNetwork, prober: Prober, *, verbose: bool, keep: bool, timeout: float
) -> engine.Run:
    """Run `lab` on a parent of this machine, with all that takes it back on disk before it is done."""
    Local().check(ipvlan=lab.has_ipvlan)
    inbox: Inbox = SimpleQueue()
    with signals_into(inbox), journal.started(lab.name) as ledger:
        plan = as_run(_planned(_on_machine(lab, network, inbox), prober), prober)
        here = Local(ledger.lock)
        with Progress(plan, verbose=verbose) as told:
            return engine.run(plan, here, told, keep=keep, timeout_s=timeout, inbox=inbox, ledger=ledger)


def on_simulated_lan(
    lab: Lab, kind: TargetKind, prober: Prober, *, verbose: bool, timeout: float
) -> engine.Run:
    """Run `lab` where the LAN ends with the run; tell on stderr which target that is, if it was chosen."""
    where, why = choose(kind)
    if why:
        print(why, file=sys.stderr)
    plan = as_run(_planned(lab, prober), prober)
    with Progress(plan, verbose=verbose) as progress:
        return engine.run(plan, where, progress, timeout_s=timeout)


def _planned(lab: Lab, prober: Prober) -> Plan:
    """Return the plan for the tools that are installed; raise MissingRequirement where they do not do."""
    plan = make_plan(lab)
    require(*as_run(plan, prober).programs)
    if "ping" in plan.programs and ping.implementation(version(ping.VERSION)) != "iputils":
        raise MissingRequirement(
            "labs need the ping of iputils, and this is another", "apt install iputils-ping"
        )
    if "arping" not in plan.programs:
        return plan
    return make_plan(lab, arping_by=arping.implementation(version(arping.VERSION)))


def _on_machine(lab: Lab, network: RealNetwork, inbox: Inbox) -> Lab:
    """Return the lab on a parent of this machine; refuse to start where something stands in its way."""
    parent = network.parent
    place = partial(on_parent, lab, parent, addresses=network.addresses, neighbour=network.neighbour)
    wanted = _wanted(place(gateway=network.gateway))
    machine = survey(wanted, inbox)
    _tell_or_refuse(lab, wanted, checks.inspect(wanted, machine))
    link = machine.link(parent)
    own = link.addresses if link is not None else ()
    host = tuple(address.address for address in own if address.scope == "global")
    if network.gateway is not None:
        return place(host=host, gateway=network.gateway)
    routes = look(Local(), {"routes": ip.route_show(default=True, dev=parent)}, inbox)["routes"]
    return place(host=host, gateway=ip.gateway_of(ip.parse_routes(routes.stdout)))


def _wanted(lab: Lab) -> checks.Wanted:
    """Return what `lab` is to build on its parent."""
    settings = [phase.setting for phase in lab.phases]
    changes = [a.change for phase in lab.phases for act in phase.acts for a in act.attempts]
    links = [change.name for change in changes if isinstance(change, AddLink)]
    flips = [c for c in changes if isinstance(c, SetMode) or (isinstance(c, AddLink) and c.kind == "ipvlan")]
    if any(setting.host_shim for setting in settings):
        links.append(shim_name(0))
    return checks.Wanted(
        lab.parent,
        (
            *(checks.Join(s.mode, s.flag, s.strategy, s.host_shim) for s in settings if s.kind == "ipvlan"),
            *(checks.Join(change.mode or "l3", strategy="none") for change in flips),
        ),
        tuple(checks.Guest(e.name, e.netns, e.addresses, e.mtu) for e in lab.endpoints),
        tuple(links),
        tuple(sorted({setting.kind for setting in settings})),
        max(map(_neighbours, lab.phases), default=0),
    )


def _neighbours(phase: Phase) -> int:
    """Return how many neighbour entries the checks of `phase` need: one of each whom an endpoint talks to."""
    if phase.setting.kind == "ipvlan" and phase.setting.mode != "l2":
        return 0
    pairs = {(check.source, check.destination) for act in phase.acts for check in act.checks}
    both = pairs | {(destination, source) for source, destination in pairs}
    names = set(phase.endpoints)
    return sum(holder in names for holder, _ in both)


def _tell_or_refuse(lab: Lab, wanted: checks.Wanted, inspection: checks.Inspection) -> None:
    """Tell on stderr what stops no run; raise UsageError that tells all at once where something does."""
    errors = [str(finding) for finding in inspection.of("error")]
    others = [f"warning: {finding}" for finding in inspection.of("warning")]
    others += [f"note: {finding}" for finding in inspection.of("info")]
    if errors:
        what = "\n  ".join([*errors, *others])
        raise UsageError(f"lab {lab.name} cannot start on {inspection.parent}:\n  {what}", _held(wanted))
    for line in others:
        print(line, file=sys.stderr)


def _held(wanted: checks.Wanted) -> str:
    """Return which other lab holds what is wanted, and what to type, or nothing."""
    names = {name for guest in wanted.guests for name in (guest.name, guest.netns)} | set(wanted.links)
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
