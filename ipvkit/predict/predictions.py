"""Outcomes of checks, and their reasons."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ipvkit.core.errors import InvalidLab
from ipvkit.core.values import Address
from ipvkit.lab import (
    CONNECT_S,
    LOST_AFTER,
    PING_INTERVAL_S,
    PING_WAIT_S,
    Check,
    Outcome,
    the,
)
from ipvkit.predict.path import Path
from ipvkit.predict.resolution import UNTIL_IT_EXPIRES
from ipvkit.predict.trace import Hop
from ipvkit.predict.world import Entry, State, World

NOTICED_S = LOST_AFTER * PING_INTERVAL_S
"""How long a watched path has to be lost before its end, in seconds."""

UNSURE_S = 0.3
"""How far the times of a run may be off, in seconds: processes start, and timers are late."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """An outcome, its reason in one sentence, and for a ping its path, hop by hop.

    The outcomes `also` are possible too, where it depends on time, more exactly than that is known.
    """

    outcome: Outcome
    reason: str
    hops: tuple[Hop, ...] = ()
    also: tuple[Outcome, ...] = ()


def why_lost(world: World, check: Check) -> str:
    """Return why a ping is lost with empty neighbour tables, with the kinds of its ends for their names.

    Of pings that are lost for one reason it is the same. It is nothing for one that is answered.
    """
    ends = (check.source, check.destination)
    return Path(world, check.source, _address(world, check), ends=ends).lost


def why_unknown(world: World, check: Check) -> str:
    """Return why a ping is not modelled, with the kind of an endpoint for its name; nothing if it is."""
    one = world.not_modelled(check, _address(world, check).version)
    if one is None:
        return ""
    node = "the endpoint" if world.lab.is_endpoint(one.node) else the(one.node)
    return f"{one.key}={one.value} of {node}"


def of_path(world: World, check: Check, path: Path) -> Prediction:
    """Return the outcome of a check with that path, which begins now; entries on it may fail meanwhile."""
    state = world.state
    found = _predict(path, check, world)
    if path.resolution.led and found.outcome is Outcome.UNREACHABLE:
        return _of_led(world, check, path, found)
    fails = {entry: state.fails(entry) for entry in path.resolution.used}
    gone = {entry for entry, (first, _) in fails.items() if first <= state.now + UNSURE_S + state.late}
    if not gone:
        return found
    known = {entry: known for entry, known in state.known.items() if entry not in gone}
    later = world.at(replace(state, known=known, failed=state.failed | gone))
    other = _predict(path_of(later, check), check, later)
    if any(fails[entry][1] <= state.now for entry in gone):
        found, other = other, found
    every = dict.fromkeys((*found.also, other.outcome, *other.also))
    return replace(found, also=tuple(outcome for outcome in every if outcome is not found.outcome))


def _of_led(world: World, check: Check, path: Path, found: Prediction) -> Prediction:
    """Return the outcome where an entry leads to where an endpoint was; if it fails, it is asked for anew."""
    state = world.state
    end = state.now + lasts_s(check)
    first, last = map(max, *(state.fails(entry, end) for entry in path.resolution.led), (0.0, 0.0))
    if first > end + UNSURE_S + state.late:
        return found
    known = {entry: one for entry, one in state.known.items() if entry not in path.resolution.led}
    led = {entry: parent for entry, parent in state.led.items() if entry not in path.resolution.led}
    later = world.at(replace(state, known=known, led=led))
    other = _predict(path_of(later, check), check, later)
    if other.outcome is Outcome.UNREACHABLE:
        return found
    if check.watch is None or last > end - UNSURE_S - state.late:
        return replace(found, also=(other.outcome,))
    reason = f"{found.reason}, until it fails; then {other.reason}"
    return replace(other, reason=reason, also=(Outcome.UNREACHABLE,) if last > end - 1 else other.also)


def path_of(world: World, check: Check) -> Path:
    """Return the path of a check; raise InvalidLab where the two have no address family in common."""
    path: Path | None = world.paths.get(check)
    if path is None:
        address = _address(world, check)
        path = Path(world, check.source, address, check.size, connects=check.tcp is not None)
        world.paths[check] = path
    return path


def _address(world: World, check: Check) -> Address:
    address = world.lab.pinged(check)
    if address is None:
        raise InvalidLab(f"{check}: the two have no address family in common", "give them one")
    return address


def _predict(path: Path, check: Check, world: World) -> Prediction:
    found = _of_ping(path, check, world.state)
    if found.outcome is Outcome.REACHABLE and _may_wait_in_vain(path, check, world.state):
        found = replace(found, also=tuple(dict.fromkeys((*found.also, Outcome.UNREACHABLE))))
    served = check.listen and path.trace.arrived == world.nodes[check.destination].name
    if check.tcp is None or not path.replied or served:
        return found
    refused = f"{path.reason}; nothing listens on tcp {check.tcp} there"
    # On a real network such a server may exist already.
    own = world.lab.simulated or world.lab.is_endpoint(path.trace.arrived)
    also = (*found.also, *(() if own else (Outcome.REACHABLE,)))
    return replace(found, outcome=Outcome.REFUSED, reason=refused, also=also)


def _may_wait_in_vain(path: Path, check: Check, state: State) -> bool:
    """Return whether all that a check sends may wait for a question of a former one, which fails.

    Its host came after the last repetition; a second later the kernel reports an error. A watch and a
    connection end then, and a short ping is over.
    """
    unsure = UNSURE_S + state.late
    for entry in dict.fromkeys(entry for entry, _ in path.resolution.events):
        repeats_s = state.timers(entry[0]).retrans_ms / 1000
        fails = state.asking.get(entry, -math.inf) + repeats_s
        ends = check.watch is not None or check.tcp is not None or lasts_s(check) < repeats_s + unsure
        answered = entry in state.known and not state.known[entry].maybe
        if ends and fails > state.now - unsure and not answered:
            return True
    return False


def _of_ping(path: Path, check: Check, state: State) -> Prediction:
    hops = tuple(path.trace.hops)
    if not path.replied:
        return Prediction(Outcome.UNREACHABLE, path.reason, hops)
    if path.trace.doubt:
        also = (Outcome.UNREACHABLE, *((Outcome.EXPIRES,) if check.watch else ()))
        return Prediction(Outcome.REACHABLE, f"{path.reason}; but {path.trace.doubt}", hops, also)
    end = state.now + lasts_s(check)
    fast = [entry for entry in path.resolution.announced if entry[0] in state.fast]
    if check.watch is not None and fast:
        return _between_announcements(path, fast, state, end)
    unsure = UNSURE_S + state.late
    announced = {entry for entry, event in path.resolution.events if event == "announced"}
    if check.watch is None:
        valid = path.resolution.announced & state.known.keys()
        announced |= {entry for entry in valid if state.fails(entry, end)[0] <= end + unsure}
    if announced:
        # The next announcement is at most a second away, and then that of who has to be asked for the reply;
        # with fast timers a connection fails before.
        fails = check.tcp is not None and any(peer in state.fast for peer, _ in announced)
        soon = fails or end - state.now < len(announced) + unsure
        return Prediction(Outcome.REACHABLE, path.reason, hops, (Outcome.UNREACHABLE,) if soon else ())
    unconfirmed = (entry for entry in path.resolution.used if entry[1].version == 4)
    entry = min(unconfirmed, key=lambda entry: state.fails(entry, end), default=None)
    if check.watch is None or entry is None or state.fails(entry, end)[0] >= end + unsure:
        # Announcements that are late may let an entry fail, and its peer give up.
        late = (e for e in path.resolution.announced if state.late > state.timers(e[0]).asks_s)
        fails = check.watch is not None and any(late)
        return Prediction(Outcome.REACHABLE, path.reason, hops, (Outcome.EXPIRES,) if fails else ())
    first, last = state.fails(entry, end)
    known = path.reason.removesuffix(UNTIL_IT_EXPIRES)
    when = f"about {state.timers(entry[0]).lifetime_s:g} s after its first use"
    reason = f"{known}; it expires {when}, since no host answers its probes"
    if max(first, state.now) >= end:
        return Prediction(Outcome.REACHABLE, path.reason, hops, (Outcome.EXPIRES,))
    unnoticed = last > end - NOTICED_S - unsure
    return Prediction(Outcome.EXPIRES, reason, hops, (Outcome.REACHABLE,) if unnoticed else ())


def _between_announcements(path: Path, fast: Sequence[Entry], state: State, end: float) -> Prediction:
    """Return the outcome of a watched path with entries that expire between two announcements.

    An announcement changes nothing of a valid entry, and a `fast` peer gives up before the next one comes.
    """
    hops, unsure = tuple(path.trace.hops), UNSURE_S + state.late
    every = (Outcome.UNREACHABLE, Outcome.EXPIRES, Outcome.REACHABLE)
    unknown = [entry for entry in fast if entry not in state.known]
    if unknown:
        reason = f"{path.reason}, which come once a second, but {the(unknown[0][0])} gives up before"
        return Prediction(Outcome.UNREACHABLE, reason, hops, every[1:])
    if min(state.fails(entry, end)[0] for entry in fast) >= end + unsure:
        return Prediction(Outcome.REACHABLE, path.reason, hops)
    lost = min(state.fails(entry)[0] for entry in fast) <= state.now + unsure
    reason = f"{path.reason}, but it expires between two of them"
    return Prediction(Outcome.EXPIRES, reason, hops, (Outcome.REACHABLE, *(every[:1] if lost else ())))


def lasts_s(check: Check) -> float:
    """Return how long a check lasts, in seconds: until its last request, and the wait for the reply."""
    if check.tcp is not None:
        return CONNECT_S
    return check.watch or (check.count - 1) * PING_INTERVAL_S + PING_WAIT_S


def uses_s(check: Check, path: Path) -> float:
    """Return for how many seconds a check uses neighbour entries: an answered connection is soon over."""
    return PING_WAIT_S if check.tcp is not None and path.replied else lasts_s(check)


def announcements(longest_s: float) -> int:
    """Return how often the host announces, once a second, during pings of which the longest takes that."""
    return int(longest_s) + 2
