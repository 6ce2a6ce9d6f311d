"""A whole lab predicted: each act of each phase in order, and what of it cannot be done here."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ipvkit.core.values import Address
from ipvkit.lab import HOST, PARALLEL, PEERS, SWITCH, Act, Attempt, Check, Lab, Parent, Phase
from ipvkit.predict.memory import State
from ipvkit.predict.predictions import Prediction, after, next_phase, predict, predict_attempt
from ipvkit.predict.world import World, world_of


@dataclass(frozen=True, slots=True)
class Asked:
    """A check or an attempt, and what is predicted; `skipped` is why it cannot be done here, if so."""

    check: Check | Attempt
    address: Address | None
    prediction: Prediction
    skipped: str = ""


@dataclass(frozen=True, slots=True)
class PredictedAct:
    """An act without what would have to be done on other machines, and what is predicted of it.

    `filtered` is whether the switch drops something already when it begins.
    """

    act: Act
    asked: tuple[Asked, ...]
    filtered: bool


@dataclass(frozen=True, slots=True)
class PredictedPhase:
    """A phase, the peers that flush their neighbour tables before it, with their parents, and its acts."""

    phase: Phase
    flushed: tuple[tuple[str, Parent], ...]
    acts: tuple[PredictedAct, ...]


def predict_lab(lab: Lab) -> tuple[PredictedPhase, ...]:
    """Return what is predicted of `lab`; what one phase leaves in neighbour tables, the next one finds."""
    state, former = State(), None
    # By role, what would have to be done on a machine that is not ours, and is not done.
    undone: dict[str, str] = {}
    found = []
    for phase in lab.phases:
        world = world_of(lab, phase, state)
        flushed = tuple(_flushed(lab, former, phase))
        for role, _ in flushed:
            world = after(world, Act(flush=(role,)))
        undone |= _needed_by_strategies(lab, phase)
        acts = []
        for act in (part for whole in phase.acts for part in _parts(lab, whole)):
            undone |= _needed_by_act(lab, act)
            predicted = _predicted(lab, world, act, undone)
            acts.append(predicted)
            run = tuple(a.check for a in predicted.asked if isinstance(a.check, Check) and not a.skipped)
            world = after(world, replace(predicted.act, checks=run))
        found.append(PredictedPhase(phase, flushed, tuple(acts)))
        state, former = next_phase(lab, world.state), phase
    return tuple(found)


def _flushed(lab: Lab, former: Phase | None, phase: Phase) -> Iterator[tuple[str, Parent]]:
    """Yield the peers that would keep MAC addresses which are no longer those of the endpoints."""
    for parent in lab.parents if lab.simulated else ():
        if former is not None and former.on(parent.name).kind != phase.on(parent.name).kind:
            yield from ((role, parent) for role in PEERS if parent.peer(role))


def _parts(lab: Lab, act: Act) -> Iterator[Act]:
    """Yield `act`, in as many parts as it takes for no more concurrent pings than allowed."""
    most = lab.parallel or PARALLEL
    yield replace(act, checks=act.checks[:most])
    for i in range(most, len(act.checks), most):
        yield Act(checks=act.checks[i : i + most])


def _predicted(lab: Lab, world: World, act: Act, undone: dict[str, str]) -> PredictedAct:
    asked, changing = [], world
    for attempt in act.attempts:
        asked.append(Asked(attempt, None, predict_attempt(changing, attempt)))
        changing = after(changing, Act(attempts=(attempt,)))
    for check in act.checks:
        skipped = _why_skipped(lab, check, undone)
        asked.append(Asked(check, lab.pinged(check), predict(world, check), skipped))
    if not lab.simulated:
        flush = tuple(role for role in act.flush if lab.is_endpoint(role))
        act = replace(act, fast_ageing=(), flush=flush, hairpin=None, port_security=None)
    return PredictedAct(act, tuple(asked), world.state.allowed is not None)


def _needed_by_strategies(lab: Lab, phase: Phase) -> dict[str, str]:
    found: dict[str, str] = {}
    for parent in lab.parents if not lab.simulated else ():
        site = lab.site(phase, parent)
        for helper in phase.on(parent.name).helpers if site.endpoints else ():
            need = helper.needs_of_peers(site)
            found |= {role: f"the {role} {need}" for role in PEERS if need}
    return found


def _needed_by_act(lab: Lab, act: Act) -> dict[str, str]:
    if lab.simulated:
        return {}
    found = {role: f"the {role}'s ARP timers would have to be shorter" for role in act.fast_ageing}
    for role in (role for role in act.flush if role in PEERS):
        found[role] = f"the {role}'s neighbour table would have to be flushed"
    if act.hairpin is not None or act.port_security is not None:
        found[SWITCH] = "the switch would have to be reconfigured"
    return found


def _why_skipped(lab: Lab, check: Check, undone: dict[str, str]) -> str:
    """Return why `check` is not run on a real network, or nothing."""
    if lab.simulated:
        return ""
    if check.source != HOST and not lab.is_endpoint(check.source):
        return f"the {check.source} is another machine; run there: ping {lab.pinged(check)}"
    for role in (check.source, check.destination, SWITCH):
        if role in undone:
            return f"{undone[role]}, but that is another machine"
    return "" if lab.pinged(check) else f"the address of the {check.destination} is unknown"
