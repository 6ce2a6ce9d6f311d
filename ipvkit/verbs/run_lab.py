"""Runs of whole labs: on a parent of this machine, on a simulated LAN, or on several kernels at once."""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from queue import SimpleQueue

from ipvkit.core.errors import UsageError
from ipvkit.host import checks
from ipvkit.host.facts import gather
from ipvkit.lab import Lab, Prober, on_parent
from ipvkit.plan.capture import IN_MEMORY, with_captures
from ipvkit.plan.make import make_plan
from ipvkit.plan.resources import Link, Netns, netns_of
from ipvkit.plan.steps import Plan
from ipvkit.run import engine, journal
from ipvkit.run.execution import look, signals_into
from ipvkit.run.rollback import Listener
from ipvkit.run.verdicts import Result, judge
from ipvkit.targets.agent import Agent, Inbox, Target
from ipvkit.targets.local import Local
from ipvkit.targets.programs import find_program, require
from ipvkit.tools import arping, ip
from ipvkit.verbs.lab_file import RealNetwork
from ipvkit.verbs.single import require_iputils, version

Progress = Callable[[Plan], AbstractContextManager[Listener]]
"""What shows the events of the run of a plan."""

Note = Callable[[str], None]
"""What shows a warning or a note about the machine."""


def fastest(lab: Lab) -> Prober:
    """Return the prober for `lab`: fping for many endpoints, where it is installed, else ping."""
    return "fping" if lab.in_batches and find_program("fping") else "ping"


def on_machine(
    lab: Lab,
    net: RealNetwork,
    prober: Prober,
    progress: Progress,
    note: Note,
    keep: bool,
    timeout_s: float,
    captures: bool = False,
) -> engine.Run:
    """Run `lab` on a parent of this machine, with its undo on disk before each command.

    What it `captures` is in the result. Pass warnings about the parent to `note`; raise UsageError where the
    lab cannot start on it. The duration of the run includes the checks of the machine before it.
    """
    began = time.monotonic()
    Local().check(ipvlan=lab.has_ipvlan)
    for other in journal.interrupted():
        if other != lab.name:
            note(f"note: {journal.title(other)} was interrupted and is not undone: ipvkit cleanup {other}")
    inbox: Inbox = SimpleQueue()
    with (
        signals_into(inbox),
        journal.started(lab.name) as ledger,
        ledger.scratch() if captures else nullcontext("") as folder,
    ):
        here = Local(ledger.file)
        with Agent(here, inbox) as agent:
            plan = _planned(_placed(lab, net, agent, note), prober, str(folder))
        with progress(plan) as show:
            run = engine.run(
                plan, here, show, keep=keep, timeout_s=timeout_s, inbox=inbox, journal=ledger, prober=prober
            )
    run.duration_s = time.monotonic() - began
    return run


def on_simulated_lan(
    lab: Lab, target: Target, prober: Prober, progress: Progress, *, timeout_s: float, captures: bool = False
) -> engine.Run:
    """Run `lab` on a LAN that ends with the run; what it `captures` is in the result."""
    plan = _planned(lab, prober, IN_MEMORY if captures else "")
    with progress(plan) as show:
        return engine.run(plan, target, show, timeout_s=timeout_s, prober=prober)


def judged(
    plans: Sequence[Plan],
    target: Target,
    show: Listener,
    *,
    at_once: int,
    timeout_s: float,
    captures: bool = False,
) -> list[Result]:
    """Return the results of `plans` with the same endpoints, a kernel each, with what it `captures`.

    Raise MissingRequirement, or the first failure.
    """
    plans = [_capturing(plan, IN_MEMORY if captures else "") for plan in plans]
    require(*{program for plan in plans for program in plan.programs})
    prober = fastest(plans[0].lab)
    runs = engine.run_concurrently(plans, target, show, at_once=at_once, timeout_s=timeout_s, prober=prober)
    results = [judge(run) for run in runs]
    for failure in (result.failure for result in results):
        if failure is not None:
            raise failure
    return results


def _planned(lab: Lab, prober: Prober, folder: str = "") -> Plan:
    """Return the plan for the tools that are installed; raise MissingRequirement where one is unsuitable.

    With a `folder` it captures packets.
    """
    plan = _capturing(make_plan(lab), folder)
    require(*plan.programs, *(["fping"] if prober == "fping" else []))
    if "ping" in plan.programs:
        require_iputils("labs")
    if "arping" not in plan.programs:
        return plan
    return _capturing(make_plan(lab, arping_by=arping.implementation(version(arping.VERSION))), folder)


def _capturing(plan: Plan, folder: str) -> Plan:
    return with_captures(plan, folder) if folder else plan


def _placed(lab: Lab, network: RealNetwork, agent: Agent, note: Note) -> Lab:
    """Return the lab on the parent, with the addresses that this machine has there."""
    parent = network.parent
    place = partial(on_parent, lab, parent, addresses=network.addresses, neighbour=network.neighbour)
    request = checks.request_of(place(gateway=network.gateway))
    # It takes longer then.
    if (count := len(request.addresses)) >= 32:
        note(f"check by ARP whether {count} addresses are in use")
    machine = gather(request, agent)
    _note_or_refuse(lab, request, checks.check(request, machine), note)
    link = machine.link(parent)
    own = link.addresses if link is not None else ()
    host = tuple(address.address for address in own if address.scope == "global")
    place = partial(place, host=host)
    if network.gateway is not None:
        return place(gateway=network.gateway)
    routes = look(agent, {"routes": ip.route_show(default=True, dev=parent)})["routes"]
    return place(gateway=ip.gateway_of(ip.parse_routes(routes.stdout)))


def _note_or_refuse(lab: Lab, request: checks.Request, found: checks.Findings, note: Note) -> None:
    """Note what stops no run; raise UsageError with all findings where one does."""
    marks = {"error": "", "warning": "warning: ", "info": "note: "}
    lines = [f"{marks[finding.severity]}{finding}" for finding in found.findings]
    if found.of("error"):
        what = "\n  ".join(lines)
        raise UsageError(f"lab {lab.name} cannot start on {found.parent}:\n  {what}", _held(request))
    for line in lines:
        note(line)


def _held(request: checks.Request) -> str:
    """Return which other lab holds what is wanted, and what to type, or nothing."""
    names = {name for e in request.endpoints for name in (e.name, e.netns)} | set(request.links)
    for record in journal.records():
        made = [entry.resource for entry in record.entries if isinstance(entry.resource, Netns | Link)]
        held = [str(resource) for resource in made if (netns_of(resource) or resource.name) in names]
        if held:
            what = "down" if record.state == "up" else "cleanup"
            return f"{journal.title(record.lab)} holds {checks.some(held)}: ipvkit {what} {record.lab}"
    return ""
