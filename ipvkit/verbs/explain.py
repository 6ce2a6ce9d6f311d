"""Why one node of a lab can or cannot reach another, and how to fix it.

A fix is the commands that turn a phase into the same phase with another setting, for the two nodes or for all
endpoints. The model predicts the ping under that setting, and the plan of the fix measures it on a kernel.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_interface
from itertools import groupby, takewhile
from typing import TYPE_CHECKING

from ipvkit.core.command import Command, in_netns
from ipvkit.core.errors import InvalidLab, UsageError
from ipvkit.core.values import InterfaceAddress
from ipvkit.lab import Act, Check, Lab, Outcome, Phase, Setting, the
from ipvkit.plan.difference import Change, difference, state_of
from ipvkit.plan.make import make_plan
from ipvkit.plan.steps import Plan, Steps
from ipvkit.predict.later import after
from ipvkit.predict.predictions import Prediction
from ipvkit.predict.whole import predict
from ipvkit.predict.world import State, World, world_of
from ipvkit.strategies import HOST_SHIM, STRATEGIES
from ipvkit.tools import ip

if TYPE_CHECKING:
    from ipvkit.host.twin import Elsewhere


@dataclass(frozen=True, slots=True)
class Fix:
    """A change after which the ping is answered: its `name`, its `cost` in words, and its commands.

    `asking` is the phase as it is with the ping, `fixed` the same phase after the fix; between them there are
    `changes`, the commands with their undos. Of a twin, those for other hosts are `elsewhere`.
    """

    name: str
    cost: str
    commands: tuple[Command, ...]
    prediction: Prediction
    asking: Lab
    fixed: Lab
    changes: tuple[Change, ...]
    elsewhere: tuple["Elsewhere", ...] = ()

    def typed(self) -> list[str]:
        """Return its commands, and as comments those for other hosts, or in a lab of several the machines."""
        if self.fixed.several_hosts:
            by_machine = groupby(self.changes, key=lambda change: change.on)
            return [
                line for on, own in by_machine for line in (f"# on {on}:", *(str(c.command) for c in own))
            ]
        return [*map(str, self.commands), *(f"# {each}" for each in self.elsewhere)]

    @property
    def plan(self) -> Plan:
        """The plan that runs the phase as it is with the ping, then the commands, then the ping again."""
        before, after = make_plan(self.asking), make_plan(self.fixed)
        *_, pinging = (stage for stage in after.stages if any(step.probe is not None for step in stage))
        steps = Steps(self.name)
        what = f"{self.name}: {self.cost}"
        # Hosts keep announcing while the ping runs.
        during = [change for change in self.changes if change.command.argv[0] == "arping"]
        self._change(steps, what, [change for change in self.changes if change not in during], before)
        if not during and len(pinging) == 1:
            self._flush(steps)
        for change in during:
            with steps.at(change.on):
                steps.add(what, change.command)
        added = {(change.on, change.command) for change in during}
        for step in (step for step in pinging if (step.on, step.command) not in added):
            with steps.at(step.on):
                steps.add(step.purpose, step.command, probe=step.probe)
        steps.end_stage()
        *lan, section = after.sections
        fixing = replace(section, stages=tuple(steps.stages), acts=())
        return replace(before, sections=(*lan, before.sections[-1], fixing))

    @staticmethod
    def _change(steps: Steps, what: str, changes: Sequence[Change], before: Plan) -> None:
        """Add `changes`, of which some delete what `before` has added."""
        undos = [(step, step.undo) for step in before.steps if step.undo is not None and not step.undo.reads]
        made = {(step.on, undo.command()): (step.id,) for step, undo in undos}
        for change in changes:
            with steps.at(change.on):
                deleted = made.get((change.on, change.command), ())
                steps.add_stage([(what, change.command, change.undo, deleted)])

    def _flush(self, steps: Steps) -> None:
        """Flush the neighbour tables of the node that got no answer: its question may still be open.

        The next ping would wait for it in vain. Where a host announces, that answers it.
        """
        asked = _predicted(self.asking).hops[-1].at
        with steps.at(self.fixed.machine_of(asked)):
            flush = in_netns(self.fixed.netns(asked), ip.neigh_flush())
            steps.add_stage([(f"flush {the(asked)}'s neighbour tables", flush, None)])


@dataclass(frozen=True, slots=True)
class Explanation:
    """The outcome of `check` as `phase` begins, with empty neighbour tables, and its fixes.

    The cheapest is first; they change the endpoints `fixed`, and what is around these.
    """

    phase: Phase
    setting: Setting
    """That of the endpoints on the parent of the check."""
    check: Check
    prediction: Prediction
    fixes: tuple[Fix, ...]
    fixed: tuple[str, ...]
    plan: Plan

    @property
    def plans(self) -> dict[str, Plan]:
        """The plans to run on a kernel, by the names of the fixes; without any, the phase as it is, by ""."""
        return {fix.name: fix.plan for fix in self.fixes} or {"": self.plan}


@dataclass(frozen=True, slots=True)
class Candidate:
    """A possible fix: the endpoints' setting, what is done first, and whether they get other addresses."""

    name: str
    cost: str
    setting: Setting
    first: tuple[Act, ...] = ()
    renumbered: bool = False


def phases_called(lab: Lab, name: str | None) -> list[Phase]:
    """Return the phase called `name`, or all; raise UsageError where none is."""
    found = [phase for phase in lab.phases if name in (None, phase.name)]
    if not found:
        there = ", ".join(phase.name for phase in lab.phases)
        raise UsageError(f"lab {lab.name} has no phase {name!r}", f"choose from {there}")
    return found


def phases_of(lab: Lab, name: str | None, check: Check) -> list[Phase]:
    """Return the phases to explain: those called `name`, or all with both ends of `check`; at least one."""
    ends = {role for role in (check.source, check.destination) if lab.is_endpoint(role)}
    found = phases_called(lab, name)
    return [phase for phase in found if ends <= set(phase.endpoints)] or found[:1]


def explain(lab: Lab, phase: Phase, check: Check, *, fix_all: bool = False) -> Explanation:
    """Return the reason for the outcome of `check` in `phase`; raise InvalidLab for an impossible check.

    Its fixes are for its endpoints and those in their namespaces, as packets may have the addresses of
    these, or with `fix_all` for all of the phase.
    """
    asking = _as_it_is(lab, phase, check)
    prediction = _predicted(asking)
    ends = {lab.place(role) for role in (check.source, check.destination) if lab.is_endpoint(role)}
    fixed = tuple(name for name in phase.endpoints if fix_all or lab.place(name) in ends)
    fixes = () if prediction.outcome is Outcome.REACHABLE else tuple(_fixes(asking, check, fixed))
    setting = phase.on(lab.parent_of(check).name)
    return Explanation(phase, setting, check, prediction, fixes, fixed, make_plan(asking))


def fixes_of(lab: Lab, phase: Phase, check: Check, names: Collection[str]) -> Iterator[Fix]:
    """Yield the fixes of a `check` that is not answered, the cheapest first; they change these endpoints."""
    return _fixes(_as_it_is(lab, phase, check), check, names)


Worlds = dict[tuple[tuple[str, ...], Candidate], World | None]
"""The world after each candidate on parents, for all endpoints of a phase; None where it cannot be."""


def parents_of(lab: Lab, check: Check) -> tuple[str, ...]:
    """Return the parents that a fix of `check` changes: that of one end, and of the other on another host."""
    first = lab.parent_of(check)
    roles = (role for role in (check.source, check.destination) if lab.is_endpoint(role))
    both = (lab.parent_called(lab.endpoint(role).parent) for role in roles)
    return (first.name, *(parent.name for parent in both if parent.on != first.on))


def answering(
    lab: Lab, phase: Phase, check: Check, parents: tuple[str, ...], worlds: Worlds
) -> Iterator[tuple[Candidate, World]]:
    """Yield the fixes of a `check` for all endpoints, the cheapest first, each with the world after it.

    They change `parents`, of which the first is that of the check; `worlds` are kept for other checks of the
    phase.
    """
    for candidate in _candidates(phase.on(parents[0]), lab, check):
        if (parents, candidate) not in worlds:
            try:
                worlds[parents, candidate] = _world(_with(candidate, lab, phase, check, parents))
            except InvalidLab:
                worlds[parents, candidate] = None
        world = worlds[parents, candidate]
        if world is not None and predict(world, check).outcome is Outcome.REACHABLE:
            yield candidate, world


def _as_it_is(lab: Lab, phase: Phase, check: Check) -> Lab:
    """Return `lab` with only this phase, which sets the sysctls that it begins with, and does `check`."""
    acts = (*sysctls_first(phase.acts), Act(checks=(check,)))
    return lab.with_phases(replace(phase, name="as-it-is", acts=acts))


def sysctls_first(acts: Sequence[Act]) -> tuple[Act, ...]:
    """Return the acts with which a phase begins that only set sysctls."""
    return tuple(takewhile(lambda act: act.sysctls and act == Act(sysctls=act.sysctls), acts))


def beginning(lab: Lab, phase: Phase) -> World:
    """Return the world as a phase begins, after the sysctls that it sets first."""
    return _world(lab.with_phases(replace(phase, acts=sysctls_first(phase.acts))))


def _predicted(lab: Lab) -> Prediction:
    """Return the prediction for the only check of a lab."""
    *first, asking = lab.phases[0].acts
    changing = replace(lab.phases[0], acts=tuple(first))
    return predict(_world(lab.with_phases(changing)), asking.checks[0])


def _world(lab: Lab) -> World:
    """Return the world after the acts of the only phase of a lab."""
    world = world_of(lab, lab.phases[0], State())
    for act in lab.phases[0].acts:
        world = after(world, act)
    return world


def _candidates(setting: Setting, lab: Lab, check: Check) -> Iterator[Candidate]:
    """Yield possible fixes, the cheapest first."""
    shim, with_host = HOST_SHIM, lab.parent_of(check).on in (check.source, check.destination)
    bridge: Setting = replace(setting, flag="bridge")
    together = "all endpoints on the parent can reach each other"
    if with_host:
        yield Candidate(shim.name, shim.cost, replace(setting, host_shim=True))
    if setting.flag != "bridge":
        yield Candidate("flag-bridge", together, bridge)
    if setting.flag != "bridge" and with_host and not setting.host_shim:
        cost = f"{shim.cost}; {together}"
        yield Candidate("flag-bridge-and-host-shim", cost, replace(bridge, host_shim=True))
    dear = []
    for strategy in reversed(STRATEGIES[1:]):
        changed = replace(setting, strategy=strategy.name, mode=strategy.fix_mode or setting.mode)
        candidate = Candidate(strategy.name, strategy.cost, changed, renumbered=strategy.own_subnet)
        if strategy.of_peers:
            dear.append(candidate)
        else:
            yield candidate
    cost = "change only the host; all endpoints on the parent switch to l2"
    yield Candidate("mode-l2", cost, replace(setting, mode="l2", strategy="none"))
    yield Candidate("hairpin", "change the switch", setting, (Act(hairpin=True),))
    yield from dear


def _fixes(asking: Lab, check: Check, names: Collection[str]) -> Iterator[Fix]:
    """Yield the fixes of `check`, in which the endpoints called `names` change."""
    phase = asking.phases[0]
    state = state_of(asking, phase, names)
    kept = state_of(asking, phase, {*phase.endpoints}.difference(names))
    parent = asking.parent_of(check).name
    for candidate in _candidates(phase.on(parent), asking, check):
        try:
            fixed = _with(candidate, asking, phase, check, parents_of(asking, check), Act(checks=(check,)))
        except InvalidLab:
            continue
        prediction = _predicted(fixed)
        if prediction.outcome is Outcome.REACHABLE:
            (changed,) = fixed.phases
            changes = tuple(difference(state, state_of(fixed, changed, names), kept))
            commands = tuple(change.command for change in changes)
            yield Fix(candidate.name, candidate.cost, commands, prediction, asking, fixed, changes)


def _with(
    candidate: Candidate, lab: Lab, phase: Phase, check: Check, parents: Sequence[str], *acts: Act
) -> Lab:
    """Return `lab` with only this phase, after a fix of `check` on `parents`; then it does `acts`."""
    settings = dict(phase.settings)
    for parent in parents:
        same = (c.setting for c in _candidates(phase.on(parent), lab, check) if c.name == candidate.name)
        settings[parent] = next(same, phase.on(parent))
        lab = _renumbered(lab, parent) if candidate.renumbered else lab
    changed = replace(
        phase,
        name=candidate.name,
        others=tuple(settings.items()),
        acts=(*sysctls_first(phase.acts), *candidate.first, *acts),
    )
    return lab.with_phases(changed)


_MOST_RENUMBERED = 60
"""How many endpoints a subnet of 256 addresses has room for, with four addresses each."""


def _renumbered(lab: Lab, parent: str) -> Lab:
    """Return `lab` with the endpoints that are in a subnet of `parent` moved to a separate one."""
    former = lab.parent_called(parent)
    if len(lab.endpoints) > _MOST_RENUMBERED:
        raise InvalidLab(f"no subnet for {len(lab.endpoints)} endpoints")
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
