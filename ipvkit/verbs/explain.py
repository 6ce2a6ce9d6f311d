"""Why one node of a lab can or cannot reach another, and how to fix it.

A fix is the commands that turn a phase into the same phase with another setting. The model predicts the ping
under that setting, and the plan of the fix measures it on a kernel.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_interface

from ipvkit.core.command import Command, in_netns
from ipvkit.core.errors import InvalidLab, UsageError
from ipvkit.core.values import InterfaceAddress
from ipvkit.lab import HOST, Act, Check, Lab, Outcome, Phase, Setting
from ipvkit.plan.make import make_plan
from ipvkit.plan.steps import Plan, Step, Steps, Undo
from ipvkit.predict import predictions
from ipvkit.predict.world import State, world_of
from ipvkit.strategies import HOST_SHIM, STRATEGIES
from ipvkit.tools import ip

_Change = tuple[Command, Undo | None]


@dataclass(frozen=True, slots=True)
class Fix:
    """A change after which the ping is answered: its `name`, its `cost` in words, and its commands.

    `plan` runs it on a kernel: the phase as it is with the ping, then the commands, then the ping again.
    """

    name: str
    cost: str
    commands: tuple[Command, ...]
    prediction: predictions.Prediction
    plan: Plan


@dataclass(frozen=True, slots=True)
class Explanation:
    """The outcome of `check` in `phase` with empty neighbour tables, and its fixes, the cheapest first."""

    phase: Phase
    setting: Setting
    """That of the endpoints on the parent of the check."""
    check: Check
    prediction: predictions.Prediction
    fixes: tuple[Fix, ...]
    plan: Plan

    @property
    def plans(self) -> dict[str, Plan]:
        """The plans to run on a kernel, by the names of the fixes; without any, the phase as it is, by ""."""
        return {fix.name: fix.plan for fix in self.fixes} or {"": self.plan}


def phases_of(lab: Lab, name: str | None, check: Check) -> list[Phase]:
    """Return the phases to explain: those called `name`, or all with both ends of `check`; at least one."""
    ends = {role for role in (check.source, check.destination) if lab.is_endpoint(role)}
    found = [phase for phase in lab.phases if name in (None, phase.name)]
    if not found:
        there = ", ".join(phase.name for phase in lab.phases)
        raise UsageError(f"lab {lab.name} has no phase {name!r}", f"choose from {there}")
    return [phase for phase in found if ends <= set(phase.endpoints)] or found[:1]


def explain(lab: Lab, phase: Phase, check: Check) -> Explanation:
    """Return the reason for the outcome of `check` in `phase`; raise InvalidLab for an impossible check."""
    valid = _asking(lab, phase, check)
    asking = replace(valid, phases=(replace(valid.phases[0], name="as-it-is"),))
    prediction = _predicted(asking)
    fixes = () if prediction.outcome is Outcome.REACHABLE else tuple(_fixes(asking, check))
    setting = phase.on(lab.parent_of(check).name)
    return Explanation(phase, setting, check, prediction, fixes, make_plan(asking))


def _asking(lab: Lab, phase: Phase, check: Check, first: tuple[Act, ...] = ()) -> Lab:
    """Return `lab` with only this phase, which does `first` and then `check`."""
    return replace(lab, phases=(replace(phase, acts=(*first, Act(checks=(check,)))),))


def _predicted(lab: Lab) -> predictions.Prediction:
    """Return the prediction for the only check of a lab."""
    *acts, asking = lab.phases[0].acts
    world = world_of(lab, lab.phases[0], State())
    for act in acts:
        world = predictions.after(world, act)
    return predictions.predict(world, asking.checks[0])


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A possible fix: the endpoints' setting, what is done first, and whether they get other addresses."""

    name: str
    cost: str
    setting: Setting
    first: tuple[Act, ...] = ()
    renumbered: bool = False


def _candidates(setting: Setting, check: Check) -> Iterator[_Candidate]:
    """Yield possible fixes, the cheapest first."""
    shim, with_host = HOST_SHIM, HOST in (check.source, check.destination)
    bridge: Setting = replace(setting, flag="bridge")
    together = "all endpoints on the parent can reach each other"
    if with_host:
        yield _Candidate(shim.name, shim.cost, replace(setting, host_shim=True))
    if setting.flag != "bridge":
        yield _Candidate("flag-bridge", together, bridge)
    if setting.flag != "bridge" and with_host:
        cost = f"{shim.cost}; {together}"
        yield _Candidate("flag-bridge-and-host-shim", cost, replace(bridge, host_shim=True))
    dear = []
    for strategy in reversed(STRATEGIES[1:]):
        changed = replace(setting, strategy=strategy.name, mode=strategy.fix_mode or setting.mode)
        candidate = _Candidate(strategy.name, strategy.cost, changed, renumbered=strategy.own_subnet)
        if strategy.of_peers:
            dear.append(candidate)
        else:
            yield candidate
    cost = "change only the host; all endpoints on the parent switch to l2"
    yield _Candidate("mode-l2", cost, replace(setting, mode="l2", strategy="none"))
    yield _Candidate("hairpin", "change the switch", setting, (Act(hairpin=True),))
    yield from dear


def _fixes(asking: Lab, check: Check) -> Iterator[Fix]:
    before, phase = make_plan(asking), asking.phases[0]
    parent = asking.parent_of(check).name
    for candidate in _candidates(phase.on(parent), check):
        others = tuple((name, other) for name, other in phase.others if name != parent)
        changed = replace(phase, name=candidate.name, others=(*others, (parent, candidate.setting)))
        try:
            lab = _renumbered(asking, parent) if candidate.renumbered else asking
            fixed = _asking(lab, changed, check, candidate.first)
        except InvalidLab:
            continue
        prediction = _predicted(fixed)
        if prediction.outcome is Outcome.REACHABLE:
            after = make_plan(fixed)
            changes = tuple(_difference(before, after, parent))
            plan = _plan(before, after, candidate, changes)
            commands = tuple(command for command, _ in changes)
            yield Fix(candidate.name, candidate.cost, commands, prediction, plan)


def _plan(before: Plan, after: Plan, candidate: _Candidate, changes: Sequence[_Change]) -> Plan:
    """Return the plan that runs `before`, then the commands of `changes`, then the ping of `after`."""
    steps = Steps(candidate.name)
    for command, undo in changes:
        steps.add_stage([(f"{candidate.name}: {candidate.cost}", command, undo)])
    ping = [step for step in after.steps if step.probe is not None][-1]
    steps.add(ping.purpose, ping.command, probe=ping.probe)
    steps.end_stage()
    *lan, section = after.sections
    fixing = replace(section, stages=tuple(steps.stages), acts=())
    return replace(before, sections=(*lan, before.sections[-1], fixing))


def _difference(before: Plan, after: Plan, parent: str) -> Iterator[_Change]:
    """Yield the commands that turn one phase into another, without pings and without new endpoints."""
    yield from ((command, None) for command in _changed_mode(before.lab, after.lab, parent))
    done = {step.command for step in _phase(before)}
    defaults = {_place(command) for command in done} - {()}
    names = {endpoint.name for endpoint in after.lab.endpoints}
    for command, undo in ((step.command, step.undo) for step in _phase(after) if _is_of_fix(step, names)):
        if command in done:
            continue
        # A former value is not read: the sysctl ends with the kernel.
        undo = None if undo is not None and undo.reads else undo
        if (place := _place(command)) in defaults:
            # In place of `add`.
            command = replace(command, argv=(*place, "route", "replace", *command.argv[len(place) + 2 :]))
            undo = None
        yield command, undo
    here = (tuple(lab.endpoints_of(lab.phases[0])) for lab in (before.lab, after.lab))
    for old, new in zip(*here, strict=True):
        for address in set(old.addresses) - set(new.addresses):
            yield in_netns(old.netns, ip.addr_del(address, old.name)), None


def _phase(plan: Plan) -> list[Step]:
    """Return the steps of the plan's only phase."""
    return [step for stage in plan.sections[-1].stages for step in stage]


def _changed_mode(before: Lab, after: Lab, parent: str) -> Iterator[Command]:
    """Yield the command that sets mode and flag of one endpoint, and so of all on its parent."""
    former, setting = (lab.phases[0].on(parent) for lab in (before, after))
    if (former.mode, former.flag) == (setting.mode, setting.flag):
        return
    endpoint = next(e for e in map(after.endpoint, after.phases[0].endpoints) if e.parent == parent)
    # Without a flag ip(8) sets bridge.
    flag = setting.flag if setting.flag != former.flag or setting.flag != "bridge" else None
    yield in_netns(endpoint.netns, ip.link_set(endpoint.name, mode=setting.mode, flag=flag))


def _is_of_fix(step: Step, names: set[str]) -> bool:
    """Return whether a step changes something, and is not the one that creates an endpoint in `names`."""
    argv = step.command.argv
    creates_endpoint = argv[:3] == ("ip", "link", "add") and not names.isdisjoint(argv[3:5])
    return step.probe is None and argv[:2] != ("sysctl", "-n") and not creates_endpoint


def _place(command: Command) -> tuple[str, ...]:
    """Return the namespace and the family of a command that adds a default route; nothing for another."""
    argv = command.argv
    return argv[: argv.index("route")] if "route" in argv and "default" in argv else ()


def _renumbered(lab: Lab, parent: str) -> Lab:
    """Return `lab` with the endpoints that are in a subnet of `parent` moved to a separate one."""
    former = lab.parent_called(parent)
    forms, number = {4: "10.104.{}.{}/24", 6: "2001:db8:a:{:x}::{}/64"}, lab.parents.index(former)

    def moved(own: InterfaceAddress, host: int) -> InterfaceAddress:
        is_inside = former.subnet_of(own.ip) is not None
        return ip_interface(forms[own.version].format(number, host)) if is_inside else own

    endpoints = list(lab.endpoints)
    for i, endpoint in enumerate(lab.endpoints):
        if endpoint.parent == parent:
            addresses = (moved(own, host) for host, own in enumerate(endpoint.addresses, 11 + 4 * i))
            endpoints[i] = replace(endpoint, addresses=tuple(addresses))
    return replace(lab, endpoints=tuple(endpoints))
