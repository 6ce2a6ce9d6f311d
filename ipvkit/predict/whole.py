"""A whole lab predicted: each act of each phase in order, and what of it cannot be done here."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from ipvkit.core.values import Address
from ipvkit.lab import (
    CONNECT_S,
    FAR,
    PARALLEL,
    PEERS,
    SWITCH,
    Act,
    Attempt,
    Check,
    Lab,
    Outcome,
    Parent,
    Phase,
    the,
)
from ipvkit.predict.attempts import predict_attempt
from ipvkit.predict.later import after, at_first_act, at_time, flushed_on, late, next_phase
from ipvkit.predict.neighbours import Span
from ipvkit.predict.predictions import Prediction, of_path, path_of
from ipvkit.predict.trace import Hop
from ipvkit.predict.world import State, World, world_of
from ipvkit.tools import socat


@dataclass(frozen=True, slots=True)
class Probe:
    """A check or a try: the address that is pinged, the expected outcome and why, or why it is `skipped`.

    The outcomes `also` are possible too, where it depends on time. `hops` are its path, where that is wanted.
    """

    check: Check | Attempt
    address: Address | None
    expected: Outcome
    reason: str
    skipped: str = ""
    also: tuple[Outcome, ...] = ()
    hops: tuple[Hop, ...] = ()

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """The outcomes that are possible, the likeliest first."""
        return self.expected, *self.also


@dataclass(frozen=True, slots=True)
class PredictedAct:
    """An act without what would have to be done on other machines, and what is predicted of it.

    `filtered` is whether the switch drops something already when it begins.
    """

    act: Act
    probes: tuple[Probe, ...]
    filtered: bool


@dataclass(frozen=True, slots=True)
class PredictedPhase:
    """A phase, the host and peers that flush neighbour tables before it, with the parents, and its acts."""

    phase: Phase
    flushed: tuple[tuple[str, Parent], ...]
    acts: tuple[PredictedAct, ...]


Times = Mapping[tuple[str, int], Span | None]
"""When the acts of a phase began and ended, by its name and their numbers, in seconds of one clock."""

_SETUP_S = 0.5
"""How long it takes at least to create the endpoints of a phase, in seconds."""


def predict_lab(
    lab: Lab, times: Times = MappingProxyType({}), *, paths: bool = False
) -> tuple[PredictedPhase, ...]:
    """Return what is predicted of `lab`; what one phase leaves in neighbour tables, the next one finds.

    With the `times` of a run, what depends on time is predicted for these; without, for a run that is as
    short as it can be. With `paths` the probes have their hops, which take memory.
    """
    state, former, before = State(), None, None
    # By role, what would have to be done on a machine that is not ours, and is not done.
    undone: dict[str, str] = {}
    found = []
    for phase in lab.phases:
        world = world_of(lab, phase, state)
        flushed = tuple(_flushed(lab, former, phase))
        for role, parent in flushed:
            world = flushed_on(world, role, parent.lan)
        undone |= _needed_by_strategies(lab, phase)
        acts: list[PredictedAct] = []
        for number, act in (part for whole in phase.acts for part in enumerate(_parts(lab, whole))):
            undone |= _needed_by_act(lab, act)
            span = times.get((phase.name, len(acts)))
            now = span[0] if span is not None else world.state.now
            if not acts:
                world = at_first_act(before, world, now if times else now + _SETUP_S)
            elif number == 0 or span is not None:
                # Without a clock the parts of an act begin as soon as the former ones have ended.
                world = at_time(world, now)
            if span is not None:
                world = late(world, act, span[1])
            predicted = _predicted(lab, world, act, undone, paths=paths)
            acts.append(predicted)
            run = tuple(p.check for p in predicted.probes if isinstance(p.check, Check) and not p.skipped)
            world = after(world, replace(predicted.act, checks=run), None if span is None else span[1])
        found.append(PredictedPhase(phase, flushed, tuple(acts)))
        state, former, before = next_phase(lab, world.state), phase, world
    return tuple(found)


def _flushed(lab: Lab, former: Phase | None, phase: Phase) -> Iterator[tuple[str, Parent]]:
    """Yield the hosts that would keep the MAC addresses of former endpoints; ipvlan has the parent's."""
    for parent in lab.networks if lab.simulated else ():
        of_lan = [on.name for on in lab.parents if on.lan == parent.name]
        both = [phase, former] if former is not None else []
        settings = [p.on(name) for p in both for name in of_lan]
        if not all(setting.is_ipvlan for setting in settings):
            yield from ((host, own) for host in lab.hosts if (own := lab.on_lan(host, parent)))
            yield from ((peer.name, parent) for peer in parent.peers)


def _parts(lab: Lab, act: Act) -> Iterator[Act]:
    """Yield `act`, in as many parts as it takes for no more concurrent pings than allowed."""
    most = lab.parallel or PARALLEL
    yield replace(act, checks=act.checks[:most])
    for i in range(most, len(act.checks), most):
        yield Act(checks=act.checks[i : i + most])


def _predicted(lab: Lab, world: World, act: Act, undone: dict[str, str], *, paths: bool) -> PredictedAct:
    probes, changing = [], world
    for attempt in act.attempts:
        probes.append(_probe(attempt, None, predict_attempt(changing, attempt)))
        changing = after(changing, Act(attempts=(attempt,)))
    skips = [_why_skipped(lab, check, undone) for check in act.checks]
    run = [check for check, skipped in zip(act.checks, skips, strict=True) if not skipped]
    for check, skipped in zip(act.checks, skips, strict=True):
        beside = [other for other in run if other is not check]
        found = predict(world, check, beside)
        probe = _probe(check, lab.pinged(check), found, skipped)
        probes.append(replace(probe, hops=found.hops) if paths else probe)
    if not lab.simulated:
        flush = tuple(role for role in act.flush if lab.is_endpoint(role))
        ours = tuple(one for one in act.sysctls if lab.is_host(one.node) or lab.is_endpoint(one.node))
        act = replace(act, fast_ageing=(), flush=flush, hairpin=None, port_security=None, sysctls=ours)
    return PredictedAct(act, tuple(probes), world.state.allowed is not None)


def _probe(of: Check | Attempt, address: Address | None, predicted: Prediction, skipped: str = "") -> Probe:
    """Return the probe of a check or try: what the lab expects of it wins over what is predicted."""
    reason = predicted.reason
    if of.expect is not None and of.expect != predicted.outcome:
        because = f" ({of.why})" if of.why else ""
        model = f"the model predicts {predicted.outcome}: {reason}"
        if predicted.outcome is Outcome.NOT_MODELLED:
            model = reason
        reason = f"the lab expects this{because}; {model}"
    also = () if of.expect else predicted.also
    return Probe(of, address, of.expect or predicted.outcome, reason, skipped, also)


def _needed_by_strategies(lab: Lab, phase: Phase) -> dict[str, str]:
    found: dict[str, str] = {}
    for parent in lab.parents if not lab.simulated else ():
        site = lab.site(phase, parent)
        for helper in phase.on(parent.name).helpers if site.endpoints else ():
            need = helper.of_peers.format(subnets=", ".join(map(str, site.subnets)))
            found |= {role: f"{the(role)} {need}" for role in (*PEERS, *lab.peers) if need}
    return found


def _needed_by_act(lab: Lab, act: Act) -> dict[str, str]:
    found = {role: f"{the(role)}'s ARP timers would have to be shorter" for role in act.fast_ageing}
    for role in (role for role in act.flush if role in (*PEERS, *lab.peers)):
        found[role] = f"{the(role)}'s neighbour table would have to be flushed"
    for one in (one for one in act.sysctls if one.node in (*PEERS, *lab.peers, FAR)):
        found[one.node] = f"{one.key}={one.value} would have to be set on {the(one.node)}"
    if act.hairpin is not None or act.port_security is not None:
        found[SWITCH] = "the switch would have to be reconfigured"
    return found


def _why_skipped(lab: Lab, check: Check, undone: dict[str, str]) -> str:
    """Return why `check` is not run on a real network, or nothing."""
    if lab.simulated:
        return ""
    address = lab.pinged(check)
    if not lab.is_host(check.source) and not lab.is_endpoint(check.source):
        command = f"ping {address}"
        if check.tcp is not None and address is not None:
            command = str(socat.connect(address, check.tcp, timeout_s=CONNECT_S))
        return f"{the(check.source)} is another machine; run there: {command}"
    if check.tcp is not None and check.listen and check.destination in (*lab.peers, *PEERS, FAR):
        needed = f"{the(check.destination)} would have to listen on tcp {check.tcp}"
        return f"{needed}, but that is another machine"
    for role in (check.source, check.destination, SWITCH):
        if role in undone:
            return f"{undone[role]}, but that is another machine"
    return "" if address else f"the address of {the(check.destination)} is unknown"


def predict(world: World, check: Check, beside: Sequence[Check] = ()) -> Prediction:
    """Return the outcome of `check`, which begins now, in `world`; those `beside` it do too."""
    of_tcp = [other for other in beside if other.listen] if check.tcp is not None else []
    if any(_same_port(world, check, other) for other in of_tcp):
        check = replace(check, listen=True)
    path = path_of(world, check)
    if what := world.not_modelled(check, path.version):
        return Prediction(Outcome.NOT_MODELLED, f"not modelled: {what}; run it")
    found = of_path(world, check, path)
    own = path.resolution
    led = {address for _, address in own.led}
    if any(led & path_of(world, other).resolution.broadcast for other in beside if led):
        found = replace(found, also=(Outcome.REACHABLE,))
    for other in beside if own.disputed else ():
        its = path_of(world, other).resolution
        if own.disputed & (its.disputed | its.learned.keys()):
            second = predict(after(world, Act(checks=(other,)), world.state.now), check)
            found = _or(found, second)
    entries = set(own.undecided)
    for other in beside if own.rivals else ():
        entries |= own.rivals.keys() & path_of(world, other).resolution.rivals.keys()
    for entry in sorted(entries, key=str):
        for node in own.rivals[entry]:
            state = replace(world.state, learned={**world.state.learned, entry: node})
            found = _or(found, predict(world.at(state), check, beside))
    return found


def _or(found: Prediction, second: Prediction) -> Prediction:
    """Return a prediction with the outcomes of a `second` one, which is possible too."""
    also = {second.outcome, *second.also, *found.also} - {found.outcome}
    return replace(found, also=tuple(sorted(also)))


def _same_port(world: World, check: Check, other: Check) -> bool:
    one, second = ((c.destination, world.lab.pinged(c), c.tcp) for c in (check, other))
    return one == second
