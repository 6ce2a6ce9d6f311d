"""The checks of a lab, sent from the namespaces of this machine: nothing is built, and nothing changes."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from ipaddress import ip_network

from ipvkit.core.errors import UsageError
from ipvkit.host.twin import Twin
from ipvkit.lab import FAR, HOST, Act, Check, Endpoint, Lab, Outcome, the
from ipvkit.plan.make import make_plan
from ipvkit.plan.steps import Plan, Probe, Stage, Step
from ipvkit.run import engine
from ipvkit.targets.local import Local
from ipvkit.targets.programs import require
from ipvkit.verbs.live import matched, only_phase, placed
from ipvkit.verbs.run_lab import Progress
from ipvkit.verbs.single import require_iputils

_FOR_DOCUMENTS = tuple(
    map(ip_network, ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32", "3fff::/20"))
)
"""Networks that no host has (RFC 5737, RFC 3849, RFC 9637)."""


def observe(lab: Lab, twin: Twin, progress: Progress, *, timeout_s: float) -> engine.Run:
    """Run the checks of `lab` on this machine."""
    plan = observation(lab, twin)
    require(*plan.programs)
    Local().check(ipvlan=False)
    if "ping" in plan.programs:
        require_iputils("labs")
    with progress(plan) as show:
        return engine.run(plan, Local(), show, timeout_s=timeout_s)


def observation(lab: Lab, twin: Twin) -> Plan:
    """Return the plan of the checks of `lab` from the endpoints that are on this machine, and from the host.

    The others are skipped, with the reason. Raise UsageError for a lab with several phases, or that changes
    something, and where none of its endpoints is here.
    """
    phase = only_phase(lab)
    here = matched(twin, lab)
    if not here:
        names = ", ".join(endpoint.name for endpoint in twin.lab.endpoints)
        raise UsageError(f"no endpoint of lab {lab.name} is on this machine", f"there are {names}")
    for act in phase.acts:
        if act != Act(checks=act.checks, sysctls=act.sysctls):
            hint = "to observe, keep only `check` and `sysctls`, as ipvkit adopt writes it"
            raise UsageError(f"lab {lab.name} changes something in phase {phase.name}", hint)
    why = partial(_why_skipped, lab, here)
    skipped = [(check, why(check)) for act in phase.acts for check in act.checks if why(check)]
    acts = tuple(replace(act, checks=tuple(c for c in act.checks if not why(c))) for act in phase.acts)
    # Predicted as on the simulated LAN, since the rules ask what the lab gives the hosts.
    plan = make_plan(replace(placed(lab, here), phases=(replace(phase, acts=acts),)))
    *_, section = plan.sections
    stages: list[Stage] = []
    slices = []
    for each in section.acts:
        first = len(stages)
        for stage in section.stages[each]:
            pings = (step for step in stage if step.probe is not None)
            stages += [typed] if (typed := tuple(_typed(step, twin) for step in pings)) else []
        slices.append(slice(first, len(stages)))
    left_out = tuple(Probe(c, lab.pinged(c), c.expect or Outcome.NOT_MODELLED, "", why) for c, why in skipped)
    section = replace(section, stages=tuple(stages), acts=tuple(slices), skipped=left_out)
    return replace(plan, sections=(section,))


def _typed(step: Step, twin: Twin) -> Step:
    return replace(step, command=twin.here(step.command))


def _why_skipped(lab: Lab, here: Mapping[str, Endpoint], check: Check) -> str:
    """Return why a check is not sent from here, or nothing."""
    address = lab.pinged(check)
    if check.source != HOST and not lab.is_endpoint(check.source):
        return f"{the(check.source)} is another machine; run there: ping {address}"
    for role in (check.source, check.destination):
        if lab.is_endpoint(role) and role not in here:
            return f"{role} is not on this machine"
    if check.tcp is not None and check.listen:
        return "it would start a server; with `listen: false` it is sent"
    is_far = check.destination == FAR and address is not None
    if is_far and any(address in network for network in _FOR_DOCUMENTS):
        return f"{address} is an address for documents, which no host has"
    return ""
