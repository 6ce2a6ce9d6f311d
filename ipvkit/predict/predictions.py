"""Outcomes and their reasons, and the state after an act."""

from dataclasses import dataclass, replace
from functools import partial

from ipvkit.core.errors import InvalidLab
from ipvkit.core.values import Flag, Mode
from ipvkit.lab import HOST, PEERS, PING_INTERVAL_S, PING_WAIT_S, Act, Attempt, Check, Lab, Outcome, Setting
from ipvkit.lab.parts import AddAddress, AddLink, DeleteLink, SetMode, SetMtu
from ipvkit.predict.path import UNTIL_IT_EXPIRES, Hop, Path
from ipvkit.predict.world import Entry, State, World

_BESIDES_S = 0.1
"""The seconds that an act takes besides its waiting: processes start and end."""

_KERNELS_MODE: Mode = "l3"
"""The mode of an ipvlan link that is added without one (ipvlan_link_new())."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """An outcome, its reason in one sentence, and for a ping its path, hop by hop."""

    outcome: Outcome
    reason: str
    hops: tuple[Hop, ...] = ()


def predict(world: World, check: Check) -> Prediction:
    """Return the outcome of the ping of `check` in `world`."""
    return _predict(_path(world, check), check, world.state)


def _path(world: World, check: Check) -> Path:
    address = world.lab.pinged(check)
    if address is None:
        raise InvalidLab(f"{check}: the two have no address family in common", "give them one")
    return Path(world, check.source, address, check.size)


def _predict(path: Path, check: Check, state: State) -> Prediction:
    hops = tuple(path.hops)
    if not path.replied:
        return Prediction(Outcome.UNREACHABLE, path.reason, hops)
    dying = [entry for entry in path.used if check.watch is not None and check.watch > state.left_s(entry)]
    if not dying:
        return Prediction(Outcome.REACHABLE, path.reason, hops)
    peer = dying[0][0]
    known = path.reason.removesuffix(UNTIL_IT_EXPIRES)
    when = f"about {state.timers(peer).lifetime_s:g} s after its first use"
    reason = f"{known}; it expires {when}, since no host answers its probes"
    return Prediction(Outcome.EXPIRES, reason, hops)


def predict_attempt(world: World, attempt: Attempt) -> Prediction:
    """Return whether the kernel accepts a change (ipvlan_main.c, ipvlan_link_new(), ipvlan_addr_busy())."""
    match attempt.change:
        case AddAddress():
            return _added_address(attempt.change, world)
        case AddLink():
            return _added_link(attempt.change, world)
        case DeleteLink(name):
            if not any(link.name == name for link in world.state.links):
                return _refused(f"no such link: {name}")
            return _accepted("deleting it does not restore the mode of the others")
        case SetMode(endpoint, mode):
            parent = world.lab.endpoint(endpoint).parent
            if world.settings[parent].kind != "ipvlan":
                return _refused(f"{endpoint} is not an ipvlan link")
            now = f"all endpoints on {parent} are in {mode} bridge now"
            return _accepted(f"mode and flag belong to the parent: {now}")
        case SetMtu(link, mtu):
            return _set_mtu(world, link, mtu)


_accepted = partial(Prediction, Outcome.ACCEPTED)
_refused = partial(Prediction, Outcome.REFUSED)


def _added_address(change: AddAddress, world: World) -> Prediction:
    own = world.nodes[change.endpoint].links[0]
    upper = world.upper(change.address.ip, own.parent)
    if own.has(change.address.ip):
        return _refused(f"{change.endpoint} has it already")
    if upper is not None and own.kind == "ipvlan":
        return _refused(f"{upper.node} has it: the kernel refuses duplicates among the endpoints of a parent")
    other = next((x for x in world.links_with(change.address.ip) if x.has(change.address.ip)), None)
    unnoticed = f", and does not notice that {other.node} has it" if other is not None else ""
    return _accepted(f"the kernel compares only the endpoints of a parent{unnoticed}")


def _added_link(change: AddLink, world: World) -> Prediction:
    parent = change.parent
    if any(link.name == change.name for link in world.state.links):
        return _refused(f"link {change.name} already exists")
    if world.nic(parent).dev != parent:
        return _refused(f"{parent} is a port of {world.nic(parent).dev}")
    there = {link.kind for node in world.nodes.values() for link in node.links if link.parent == parent}
    there |= {link.kind for link in world.state.links if link.parent == parent}
    other = "macvlan" if change.kind == "ipvlan" else "ipvlan"
    if other in there:
        return _refused(f"{parent} has {other} links, and a parent accepts only one of the two kinds")
    if change.kind == "macvlan" or "ipvlan" not in there:
        return _accepted(f"{parent} has no links of another kind")
    setting = world.settings[parent]
    mode, flag = _mode_after(change, setting)
    if (mode, flag) == (setting.mode, setting.flag):
        return _accepted(f"its siblings are in {mode} {flag} too")
    without = "" if change.mode else f": without a mode a link is added in {_KERNELS_MODE}"
    return _accepted(f"every endpoint on {parent} is in {mode} {flag} from now on{without}")


def _mode_after(change: AddLink, setting: Setting) -> tuple[Mode, Flag]:
    """Return the parent's new mode and flag: with a mode ip(8) always sends a flag, by default bridge."""
    if change.mode is None:
        return _KERNELS_MODE, setting.flag
    return change.mode, change.flag or "bridge"


def _set_mtu(world: World, link: str, mtu: int) -> Prediction:
    if world.lab.is_endpoint(link):
        parent = world.nic(world.lab.endpoint(link).parent)
        kind = world.nodes[link].links[0].kind
        if mtu > parent.mtu and kind == "macvlan":
            return _refused(f"it is above {parent.dev}'s, which is {parent.mtu}")
        if mtu > parent.mtu and kind == "ipvlan":
            return _accepted(f"the kernel does not compare it with {parent.dev}'s, which is {parent.mtu}")
        return _accepted(f"it is within {parent.dev}'s, which is {parent.mtu}")
    below = world.lab.parent_called(link).link
    if below is not None and mtu > world.nic(below).mtu:
        return _refused(f"it is above {below}'s, which is {world.nic(below).mtu}")
    return _accepted(f"the endpoints on {link} follow: their mtu is {mtu} now")


def _mtus_after(world: World, change: SetMtu) -> dict[str, int]:
    """Return the MTUs that it changes: upper devices follow a link, a VLAN and macvlan only down."""
    mtus = {change.link: change.mtu}
    if world.lab.is_endpoint(change.link):
        return mtus
    for parent in (parent for parent in world.lab.parents if parent.link == change.link):
        if world.nic(parent.name).mtu > change.mtu:
            mtus |= _mtus_after(world, SetMtu(parent.name, change.mtu))
    for node in world.nodes.values():
        uppers = (link for link in node.links if link.parent == change.link and link.kind != "nic")
        for link in uppers if node.name != HOST else ():
            mtus[node.name] = min(link.mtu, change.mtu) if link.kind == "macvlan" else change.mtu
    return mtus


def after(world: World, act: Act) -> World:
    """Return the world after `act`. A flush wins over an announcement of the same act.

    An announcement updates existing entries, failed ones too, and creates none (arp_accept=0); it does not
    renew an entry that is valid (__neigh_update() in net/core/neighbour.c).
    """
    state = world.state
    known, failed, age_s = dict(state.known), set(state.failed), dict(state.age_s)
    paths = [(check, _path(world, check)) for check in act.checks]
    pinged = [(check, path, _predict(path, check, state).outcome) for check, path in paths]
    for _, path, outcome in pinged:
        for entry, answered in path.asked.items():
            if answered:
                known[entry] = f"phase {world.phase.name}"
                failed.discard(entry)
                age_s.setdefault(entry, 0.0)
            else:
                known.pop(entry, None)
                failed.add(entry)
        for entry in path.used:
            age_s.setdefault(entry, 0.0)
            if outcome is not Outcome.REACHABLE:
                known.pop(entry, None)
                failed.add(entry)
    endpoints = map(world.lab.endpoint, act.announce)
    announced = {own.ip for endpoint in endpoints for own in endpoint.addresses if own.version == 4}
    for entry in [(peer, address) for peer in PEERS for address in announced]:
        if entry in known or entry in failed:
            known.setdefault(entry, "the announcement")
            failed.discard(entry)
    _grow_old(world, _lasts_s(world, act, pinged), known, failed, age_s)
    for entry in [entry for entry in (*known, *failed) if entry[0] in act.flush]:
        known.pop(entry, None)
        failed.discard(entry)
    changed = _changed(world, act)
    later = replace(
        changed.state,
        known=known,
        age_s={entry: age for entry, age in age_s.items() if entry in known},
        failed=frozenset(failed),
        fast=state.fast | set(act.fast_ageing),
        hairpin=state.hairpin if act.hairpin is None else act.hairpin,
        allowed=state.allowed if act.port_security is None else act.port_security,
    )
    return changed.at(later)


def _grow_old(
    world: World, lasts_s: float, known: dict[Entry, str], failed: set[Entry], age_s: dict[Entry, float]
) -> None:
    """Add `lasts_s` to the age of entries in use; unconfirmed ones expire, confirmed ones are renewed."""
    for entry in list(age_s):
        age_s[entry] += lasts_s
        timers = world.state.timers(entry[0])
        if _is_confirmed(world, entry):
            if age_s[entry] >= timers.delay_first_probe_s:
                # Its probe was answered, so it is renewed, and the time of its first use is unknown.
                del age_s[entry]
        elif age_s[entry] >= timers.lifetime_s and entry in known:
            del known[entry]
            failed.add(entry)


def _is_confirmed(world: World, entry: Entry) -> bool:
    """Return whether a host answers a peer's probes of `entry`, or an announcement renews it."""
    upper = world.upper(entry[1])
    if upper is None:
        return any(link.kind != "ipvlan" and link.has(entry[1]) for link in world.links_with(entry[1]))
    held = world.is_proxied(upper, entry[1]) or world.is_announced(upper, entry[1])
    return held or world.settings[upper.parent].mode == "l2"


def _changed(world: World, act: Act) -> World:
    """Return the world with what the attempts of `act` changed, one after another."""
    for attempt in act.attempts:
        if predict_attempt(world, attempt).outcome is Outcome.REFUSED:
            continue
        state, flipped = world.state, dict(world.state.flipped)
        match attempt.change:
            case AddAddress(address, endpoint):
                state = replace(state, addresses=(*state.addresses, (endpoint, address)))
            case AddLink(_, kind, parent):
                if kind == "ipvlan":
                    flipped[parent] = _mode_after(attempt.change, world.settings[parent])
                state = replace(state, links=(*state.links, attempt.change))
            case DeleteLink(name):
                state = replace(state, links=tuple(link for link in state.links if link.name != name))
            case SetMode(endpoint, mode):
                flipped[world.lab.endpoint(endpoint).parent] = (mode, "bridge")
            case SetMtu():
                state = replace(state, mtus={**state.mtus, **_mtus_after(world, attempt.change)})
        world = world.at(replace(state, flipped=flipped))
    return world


def next_phase(lab: Lab, state: State) -> State:
    """Return `state` after the endpoints of a phase have been deleted."""
    mtus = {link: mtu for link, mtu in state.mtus.items() if not lab.is_endpoint(link)}
    return replace(state, flipped={}, links=(), addresses=(), mtus=mtus)


def _lasts_s(world: World, act: Act, pinged: list[tuple[Check, Path, Outcome]]) -> float:
    """Return how long an act takes, in seconds: its longest ping, its wait, or its two announcements."""
    state, twice = world.state, bool(act.announce) and not world.lab.simulated
    seconds = [1.0 if twice else 0.0, float(act.wait or 0)]
    for check, path, outcome in pinged:
        if outcome is Outcome.EXPIRES:
            seconds.append(min(state.left_s(entry) for entry in path.used))
        elif check.watch is not None:
            seconds.append(check.watch)
        else:
            last_reply = PING_WAIT_S if outcome is Outcome.UNREACHABLE else 0.0
            seconds.append((check.count - 1) * PING_INTERVAL_S + last_reply)
    return max(seconds) + _BESIDES_S
