"""Outcomes and their reasons, and the state after an act."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from ipvkit.core.errors import InvalidLab
from ipvkit.core.values import Address, Flag, Mode
from ipvkit.lab import (
    CONNECT_S,
    LOST_AFTER,
    PING_INTERVAL_S,
    PING_WAIT_S,
    Act,
    Attempt,
    Check,
    Endpoint,
    Lab,
    Outcome,
    Setting,
    the,
)
from ipvkit.lab.parts import AddAddress, AddLink, DeleteLink, SetMode, SetMtu
from ipvkit.lab.sysctls import Sysctl
from ipvkit.predict.neighbours import Known, Span
from ipvkit.predict.path import UNTIL_IT_EXPIRES, Event, Hop, Path
from ipvkit.predict.world import Entry, State, World

_BESIDES_S = 0.1
"""The seconds that an act takes besides its waiting: processes start and end."""

_NOTICED_S = LOST_AFTER * PING_INTERVAL_S
"""How long a watched path has to be lost before its end, in seconds."""

_KERNELS_MODE: Mode = "l3"
"""The mode of an ipvlan link that is added without one (ipvlan_link_new())."""


_UNSURE_S = 0.3
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


def predict(world: World, check: Check, beside: Sequence[Check] = ()) -> Prediction:
    """Return the outcome of `check`, which begins now, in `world`; those `beside` it do too."""
    of_tcp = [other for other in beside if other.listen] if check.tcp is not None else []
    if any(_same_port(world, check, other) for other in of_tcp):
        check = replace(check, listen=True)
    path = _path(world, check)
    if what := world.not_modelled(check, path.version):
        return Prediction(Outcome.NOT_MODELLED, f"not modelled: {what}; run it")
    found = _of_path(world, check, path)
    led = {address for _, address in path.led}
    if any(led & _path(world, other).broadcast for other in beside if led):
        found = replace(found, also=(Outcome.REACHABLE,))
    for other in beside if path.disputed else ():
        if path.disputed & _path(world, other).disputed:
            second = predict(after(world, Act(checks=(other,)), world.state.now), check)
            also = {second.outcome, *second.also, *found.also} - {found.outcome}
            found = replace(found, also=tuple(sorted(also)))
    return found


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


def _same_port(world: World, check: Check, other: Check) -> bool:
    one, second = ((c.destination, world.lab.pinged(c), c.tcp) for c in (check, other))
    return one == second


def _of_path(world: World, check: Check, path: Path) -> Prediction:
    state = world.state
    found = _predict(path, check, world)
    if path.led and found.outcome is Outcome.UNREACHABLE:
        return _of_led(world, check, path, found)
    fails = {entry: state.fails(entry) for entry in path.used}
    gone = {entry for entry, (first, _) in fails.items() if first <= state.now + _UNSURE_S + state.late}
    if not gone:
        return found
    known = {entry: known for entry, known in state.known.items() if entry not in gone}
    later = world.at(replace(state, known=known, failed=state.failed | gone))
    other = _predict(_path(later, check), check, later)
    if any(fails[entry][1] <= state.now for entry in gone):
        found, other = other, found
    every = dict.fromkeys((*found.also, other.outcome, *other.also))
    return replace(found, also=tuple(outcome for outcome in every if outcome is not found.outcome))


def _of_led(world: World, check: Check, path: Path, found: Prediction) -> Prediction:
    """Return the outcome where an entry leads to where an endpoint was; if it fails, it is asked for anew."""
    state = world.state
    end = state.now + lasts_s(check)
    first, last = map(max, *(state.fails(entry, end) for entry in path.led), (0.0, 0.0))
    if first > end + _UNSURE_S + state.late:
        return found
    known = {entry: one for entry, one in state.known.items() if entry not in path.led}
    led = {entry: parent for entry, parent in state.led.items() if entry not in path.led}
    later = world.at(replace(state, known=known, led=led))
    other = _predict(_path(later, check), check, later)
    if other.outcome is Outcome.UNREACHABLE:
        return found
    if check.watch is None or last > end - _UNSURE_S - state.late:
        return replace(found, also=(other.outcome,))
    reason = f"{found.reason}, until it fails; then {other.reason}"
    return replace(other, reason=reason, also=(Outcome.UNREACHABLE,) if last > end - 1 else other.also)


def _path(world: World, check: Check) -> Path:
    address = _address(world, check)
    return Path(world, check.source, address, check.size, connects=check.tcp is not None)


def _address(world: World, check: Check) -> Address:
    address = world.lab.pinged(check)
    if address is None:
        raise InvalidLab(f"{check}: the two have no address family in common", "give them one")
    return address


def _predict(path: Path, check: Check, world: World) -> Prediction:
    found = _of_ping(path, check, world.state)
    if found.outcome is Outcome.REACHABLE and _may_wait_in_vain(path, check, world.state):
        found = replace(found, also=tuple(dict.fromkeys((*found.also, Outcome.UNREACHABLE))))
    served = check.listen and path.arrived == world.nodes[check.destination].name
    if check.tcp is None or not path.replied or served:
        return found
    refused = f"{path.reason}; nothing listens on tcp {check.tcp} there"
    # On a real network such a server may exist already.
    own = world.lab.simulated or world.lab.is_endpoint(path.arrived)
    also = (*found.also, *(() if own else (Outcome.REACHABLE,)))
    return replace(found, outcome=Outcome.REFUSED, reason=refused, also=also)


def _may_wait_in_vain(path: Path, check: Check, state: State) -> bool:
    """Return whether all that a check sends may wait for a question of a former one, which fails.

    Its host came after the last repetition; a second later the kernel reports an error. A watch and a
    connection end then, and a short ping is over.
    """
    unsure = _UNSURE_S + state.late
    for entry in dict.fromkeys(entry for entry, _ in path.events):
        repeats_s = state.timers(entry[0]).retrans_ms / 1000
        fails = state.asking.get(entry, -math.inf) + repeats_s
        ends = check.watch is not None or check.tcp is not None or lasts_s(check) < repeats_s + unsure
        answered = entry in state.known and not state.known[entry].maybe
        if ends and fails > state.now - unsure and not answered:
            return True
    return False


def _of_ping(path: Path, check: Check, state: State) -> Prediction:
    hops = tuple(path.hops)
    if not path.replied:
        return Prediction(Outcome.UNREACHABLE, path.reason, hops)
    if path.doubt:
        also = (Outcome.UNREACHABLE, *((Outcome.EXPIRES,) if check.watch else ()))
        return Prediction(Outcome.REACHABLE, f"{path.reason}; but {path.doubt}", hops, also)
    end = state.now + lasts_s(check)
    fast = [entry for entry in path.announced if entry[0] in state.fast]
    if check.watch is not None and fast:
        return _between_announcements(path, fast, state, end)
    announced = {entry for entry, event in path.events if event == "announced"}
    if announced:
        # The next announcement is at most a second away, and then that of who has to be asked for the reply;
        # with fast timers a connection fails before.
        fails = check.tcp is not None and any(peer in state.fast for peer, _ in announced)
        soon = fails or end - state.now < len(announced) + _UNSURE_S + state.late
        return Prediction(Outcome.REACHABLE, path.reason, hops, (Outcome.UNREACHABLE,) if soon else ())
    unconfirmed = (entry for entry in path.used if entry[1].version == 4)
    entry = min(unconfirmed, key=lambda entry: state.fails(entry, end), default=None)
    unsure = _UNSURE_S + state.late
    if check.watch is None or entry is None or state.fails(entry, end)[0] >= end + unsure:
        return Prediction(Outcome.REACHABLE, path.reason, hops)
    first, last = state.fails(entry, end)
    known = path.reason.removesuffix(UNTIL_IT_EXPIRES)
    when = f"about {state.timers(entry[0]).lifetime_s:g} s after its first use"
    reason = f"{known}; it expires {when}, since no host answers its probes"
    if max(first, state.now) >= end:
        return Prediction(Outcome.REACHABLE, path.reason, hops, (Outcome.EXPIRES,))
    unnoticed = last > end - _NOTICED_S - unsure
    return Prediction(Outcome.EXPIRES, reason, hops, (Outcome.REACHABLE,) if unnoticed else ())


def _between_announcements(path: Path, fast: Sequence[Entry], state: State, end: float) -> Prediction:
    """Return the outcome of a watched path with entries that expire between two announcements.

    An announcement changes nothing of a valid entry, and a `fast` peer gives up before the next one comes.
    """
    hops, unsure = tuple(path.hops), _UNSURE_S + state.late
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
            if not world.settings[parent].is_ipvlan:
                return _refused(f"{endpoint} is not an ipvlan link")
            now = f"all endpoints on {parent} are in {mode} bridge now"
            return _accepted(f"mode and flag belong to the parent: {now}")
        case SetMtu(link, mtu):
            return _set_mtu(world, link, mtu)


_accepted = partial(Prediction, Outcome.ACCEPTED)
_refused = partial(Prediction, Outcome.REFUSED)


def _added_address(change: AddAddress, world: World) -> Prediction:
    own = world.nodes[change.endpoint].link(change.endpoint)
    upper = world.upper(change.address.ip, own.parent)
    if own.has(change.address.ip):
        return _refused(f"{change.endpoint} has it already")
    if upper is not None and own.kind == "ipvlan":
        return _refused(
            f"{upper.owner} has it: the kernel refuses duplicates among the endpoints of a parent"
        )
    other = next((x for x in world.links_with(change.address.ip) if x.has(change.address.ip)), None)
    unnoticed = f", and does not notice that {other.owner} has it" if other is not None else ""
    return _accepted(f"the kernel compares only the endpoints of a parent{unnoticed}")


def _added_link(change: AddLink, world: World) -> Prediction:
    parent = change.parent
    if any(link.name == change.name for link in world.state.links):
        return _refused(f"link {change.name} already exists")
    if parent == "lo":
        return _refused("the kernel takes no loopback as a parent")
    lower = {port: master.name for master in world.lab.hardware for port in world.lab.lower(master)}
    if parent in lower:
        return _refused(f"{parent} is a port of {lower[parent]}")
    if world.nic(parent).dev != world.lab.parent_called(parent).dev:
        return _refused(f"{parent} is a port of {world.nic(parent).dev}")
    there = {link.kind for node in world.nodes.values() for link in node.links if link.parent == parent}
    kind = _family(change)
    there |= {_family(link) for link in world.state.links if link.parent == parent}
    other = "macvlan" if kind == "ipvlan" else "ipvlan"
    if other in there:
        return _refused(f"{parent} has {other} links, and a parent accepts only one of the two kinds")
    if kind == "macvlan" or "ipvlan" not in there:
        return _accepted(f"{parent} has no links of another kind")
    setting = world.settings[parent]
    mode, flag = _mode_after(change, setting)
    if (mode, flag) == (setting.mode, setting.flag):
        return _accepted(f"its siblings are in {mode} {flag} too")
    without = "" if change.mode else f": without a mode a link is added in {_KERNELS_MODE}"
    return _accepted(f"every endpoint on {parent} is in {mode} {flag} from now on{without}")


def _family(change: AddLink) -> Literal["ipvlan", "macvlan"]:
    """Return the kind of a link; ipvtap links are among the ipvlan ones of a parent (ipvtap_newlink())."""
    return "macvlan" if change.kind == "macvlan" else "ipvlan"


def _mode_after(change: AddLink, setting: Setting) -> tuple[Mode, Flag]:
    """Return the parent's new mode and flag: with a mode ip(8) always sends a flag, by default bridge."""
    if change.mode is None:
        return _KERNELS_MODE, setting.flag
    return change.mode, change.flag or "bridge"


def _set_mtu(world: World, link: str, mtu: int) -> Prediction:
    if world.lab.is_endpoint(link):
        parent = world.nic(world.lab.endpoint(link).parent)
        kind = world.nodes[link].link(link).kind
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
        for link in uppers if not world.lab.is_host(node.name) else ():
            mtus[link.dev] = min(link.mtu, change.mtu) if link.kind == "macvlan" else change.mtu
    return mtus


def after(world: World, act: Act, end: float | None = None) -> World:
    """Return the world after `act`, which ends at the time `end`, by default as soon as it can.

    A flush wins over an announcement of the same act. An announcement updates existing entries, failed ones
    too, and creates none (arp_accept=0); it does not renew an entry that is valid (__neigh_update()).
    """
    state = world.state
    known, failed = dict(state.known), set(state.failed)
    paths = [(check, _path(world, check)) for check in act.checks]
    learned, asking, led = dict(state.learned), dict(state.asking), dict(state.led)
    for check, path in paths:
        learned |= path.learned
        for entry, event in path.events:
            if event != "used" and led.pop(entry, None) is not None and event == "announced":
                known[entry] = Known("the announcement")
            if event == "asked in vain" and not _is_own(world, entry):
                until = state.now + _uses_s(check, path) + state.late
                asking[entry] = until + state.timers(entry[0]).asks_s
            if entry in known and entry not in path.used:
                # It is there now, since its host answers.
                known[entry] = replace(known[entry], maybe=False)
            _note(world, known, failed, entry, event, state.now + _uses_s(check, path))
            if check.tcp is not None and path.replied and entry in known:
                known[entry] = known[entry].vouched(state.now)
    end = state.now + _act_lasts_s(world, act, paths) if end is None else end
    endpoints = map(world.lab.endpoint, act.announce)
    announced = [
        (hearer, own.ip)
        for endpoint in endpoints
        for hearer in _hearers(world, endpoint, act)
        for own in endpoint.addresses
        if own.version == 4
    ]
    heard = {address for _, path in paths for address in path.broadcast}
    deaf = {entry for entry in led if _is_own(world, entry) or world.is_down(entry[0])}
    for entry in [e for e in led if e in announced or (e[1] in heard and e not in deaf)]:
        # They have the MAC address of another host, and an announcement or a broadcast question overrides it.
        known[entry] = Known("what it sent since")
        del led[entry]
    for entry in announced:
        if entry in failed or (entry not in known and _accepts(world, entry)):
            known[entry] = Known("the announcement")
            failed.discard(entry)
        elif entry in known and (fails := state.fails(entry))[0] <= end:
            # It may have failed before, and be a new one.
            known[entry] = replace(known[entry], doubted=(fails[0], math.inf))
    _grow_old(world, known, failed, end, _announced_during(world, act))
    for entry in [entry for entry in (*known, *failed) if entry[0] in act.flush]:
        known.pop(entry, None)
        failed.discard(entry)
    learned = {entry: node for entry, node in learned.items() if entry[0] not in act.flush}
    asking = {entry: until for entry, until in asking.items() if entry[0] not in act.flush}
    changed = _moved(_changed(world, act), act, known, learned, led)
    later = replace(
        changed.state,
        now=end,
        known=known,
        failed=frozenset(entry for entry in failed if entry[0] not in dict(act.move)),
        asking=asking,
        learned=learned,
        led={entry: parent for entry, parent in led.items() if entry in known},
        fast=state.fast | set(act.fast_ageing),
        down=state.down | set(act.down),
        hairpin=state.hairpin if act.hairpin is None else act.hairpin,
        allowed=state.allowed if act.port_security is None else _allowed(world.lab, act.port_security),
        sysctls={**state.sysctls, **{(one.node, one.key): one for one in act.sysctls}},
    )
    return changed.at(later)


def _allowed(lab: Lab, roles: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return the roles that the switch accepts at the port of each host: those of `roles` that are on it."""
    return {host: tuple(lab.allowed_at(host, roles)) for host in lab.hosts}


def _moved(
    world: World, act: Act, known: dict[Entry, Known], learned: dict[Entry, str], led: dict[Entry, str]
) -> World:
    """Return the world after the endpoints of `act` have moved, of which others keep their entries.

    Siblings in l2 have one with the MAC address of their parent. The endpoint itself begins with none.
    """
    parents = world.lab.parents_after(act.move)
    for name, parent in parents.items():
        former = world.lab.endpoint(name).parent
        if parent == former:
            continue
        own = {link.ip for link in world.nodes[name].link(name).addresses}
        for entry in [entry for entry in (*known, *learned) if entry[0] == name]:
            known.pop(entry, None)
            learned.pop(entry, None)
        host = world.host(former).name
        for entry in [e for e, node in learned.items() if e[1] in own and node == host]:
            del learned[entry]
            known[entry] = Known("before it moved", confirmed=(world.state.began, world.state.now))
        for entry in [entry for entry in known if entry[1] in own]:
            if led.setdefault(entry, former) == parent:
                del led[entry]
    if not parents:
        return world
    return world.at(replace(world.state, moved={**world.state.moved, **parents}))


def _hearers(world: World, endpoint: Endpoint, act: Act) -> Iterator[str]:
    """Yield who hears what its host announces of an endpoint: the peers, and other hosts with endpoints.

    In l3 and l3s these hear no broadcasts. The host hears itself in l3s if the switch sends frames back.
    """
    lab, host = world.lab, world.lab.host_of(endpoint.name)
    reflects = world.state.hairpin if act.hairpin is None else act.hairpin
    setting = world.settings[endpoint.parent]
    if setting.is_ipvlan and setting.mode == "l3s" and reflects and not world.is_dummy(endpoint.parent):
        yield host
    yield from lab.peers
    yield from (other for other in lab.hosts if other != host and not world.is_down(other))
    for other in lab.endpoints_of(world.phase) if lab.several_hosts else ():
        setting, there = world.settings[other.parent], lab.host_of(other.name) != host
        hears = setting.mode == "l2" or not setting.is_ipvlan
        if there and hears and not world.is_down(other.name):
            yield other.name


def _is_own(world: World, entry: Entry) -> bool:
    """Return whether an entry is of the host of the endpoint, which never answers the host's question."""
    upper = world.upper(entry[1])
    return upper is not None and world.host(upper.parent).name == entry[0]


def _accepts(world: World, entry: Entry) -> bool:
    """Return whether a peer creates an entry for an announcement of a host that it never asked for."""
    upper = world.upper(entry[1])
    links = world.nodes[entry[0]].links if upper is not None else ()
    return any(world.sysctl(x, "arp_accept") == 1 for x in links if upper and x.segment == upper.segment)


def _note(
    world: World, known: dict[Entry, Known], failed: set[Entry], entry: Entry, event: Event, until: float
) -> None:
    """Note what a ping that begins now, and lasts `until` a time, does to an entry."""
    now, timers = world.state.now, world.state.timers(entry[0])
    if event == "asked in vain":
        known.pop(entry, None)
        failed.add(entry)
        return
    origin = f"phase {world.phase.name}"
    if entry not in known:
        known[entry] = Known(origin, confirmed=(now, now) if event == "asked" else None)
        failed.discard(entry)
    if event != "heard":
        known[entry] = known[entry].used(now, until, timers, world.state.late)


def _announced_during(world: World, act: Act) -> dict[Address, Span]:
    """Return which addresses the host announces during checks: when pings end, and its last announcement.

    It announces once a second, as long as the longest ping and a little longer.
    """
    now = world.state.now
    longest = max((lasts_s(check) for check in act.checks), default=0.0)
    ends = {role for check in act.checks for role in (check.source, check.destination)}
    endpoints = map(world.lab.endpoint, filter(world.lab.is_endpoint, ends))
    own = [own.ip for e in endpoints for own in e.addresses]
    uppers = [(address, world.upper(address)) for address in own]
    found = [address for address, upper in uppers if upper and world.is_announced(upper, address)]
    return dict.fromkeys(found, (now + longest, now + announcements(longest) - 1))


def announcements(longest_s: float) -> int:
    """Return how often the host announces, once a second, during pings of which the longest takes that."""
    return int(longest_s) + 2


def _grow_old(
    world: World, known: dict[Entry, Known], failed: set[Entry], now: float, announced: Mapping[Address, Span]
) -> None:
    """Bring entries to the time `now`: those of hosts that answer are confirmed, others fail.

    One that is announced becomes valid with the next announcement, and pings use it until they end.
    """
    for entry, of_peer in list(known.items()):
        timers = world.state.timers(entry[0])
        if _is_confirmed(world, entry):
            known[entry] = of_peer.answered(now, timers)
            continue
        pinged_until, announced_until = announced.get(entry[1], (-math.inf, -math.inf))
        first, last = of_peer.fails(timers)
        if entry[1] in announced and of_peer.doubted and first <= min(now, announced_until + _UNSURE_S):
            # If it fails before the last announcement, that makes it valid again, and it may be in use since.
            soonest = first if last < announced_until - _UNSURE_S else of_peer.doubted[0]
            doubted = max(soonest, announced_until - timers.lifetime_s - _UNSURE_S)
            in_use = (doubted, math.inf) if doubted <= pinged_until else None
            known[entry] = Known("the announcement", doubted=in_use)
        if known[entry].fails(timers)[1] + _UNSURE_S <= now:
            del known[entry]
            failed.add(entry)


def _is_confirmed(world: World, entry: Entry) -> bool:
    """Return whether a host answers a peer's probes of `entry`.

    In IPv6 an endpoint does so in every mode: a solicitation that is unicast has its address as destination
    (ndisc_solicit(), ipvlan_addr_lookup()).
    """
    if entry in world.state.led or world.is_down(entry[0]):
        return False
    return _is_answered(world, entry[1]) or (entry[1].version == 6 and world.upper(entry[1]) is not None)


def _is_answered(world: World, address: Address) -> bool:
    """Return whether a host answers a peer's broadcast question for `address`."""
    upper = world.upper(address)
    if upper is None:
        return any(link.kind != "ipvlan" and link.has(address) for link in world.links_with(address))
    return world.settings[upper.parent].mode == "l2" or world.is_proxied(upper, address)


def at_time(world: World, now: float) -> World:
    """Return the world when nothing has happened until the time `now`.

    A question that is repeated may have been answered, if a host answers by now.
    """
    state = world.state
    known, failed = dict(state.known), set(state.failed)
    for entry, until in state.asking.items():
        again = entry in failed and until > state.now - _UNSURE_S
        if again and _is_answered(world, entry[1]):
            at = (state.now, max(state.now, min(until, now)))
            known[entry] = Known("a repeated question", confirmed=at, maybe=True)
            failed.remove(entry)
    _grow_old(world, known, failed, now, {})
    asked = {e: until + state.timers(e[0]).retrans_ms / 1000 for e, until in state.asking.items()}
    asking = {entry: state.asking[entry] for entry, fails in asked.items() if fails > now - _UNSURE_S}
    return world.at(replace(state, now=now, known=known, failed=frozenset(failed), asking=asking))


def at_first_act(world: World, now: float) -> World:
    """Return the world at the first act of a phase, at the time `now`: since the former one, it was set up.

    Until then the endpoints were not there, and no host answered for them.
    """
    unsure = _UNSURE_S + world.state.late
    left, back = world.state.now - unsure, now + unsure
    later = at_time(world, now)
    known = {}
    for entry, of_peer in later.state.known.items():
        before = world.state.known.get(entry, of_peer)
        away = world.upper(entry[1]) is not None
        may_fail = away and before.without_answers(left, back, world.state.timers(entry[0])).maybe
        known[entry] = replace(of_peer, maybe=of_peer.maybe or may_fail)
    return later.at(replace(later.state, known=known, began=now))


def flushed_on(world: World, node: str, network: str) -> World:
    """Return the world without the entries that `node` has on its link in a `network`."""
    host, state = world.nodes[node], world.state

    def stays(entry: Entry) -> bool:
        way = host.way_to(entry[1]) if entry[0] == node else None
        return way is None or all(link.segment != network for link in host.links if link.dev == way.dev)

    known = {entry: known for entry, known in state.known.items() if stays(entry)}
    learned = {entry: other for entry, other in state.learned.items() if stays(entry)}
    asking = {entry: until for entry, until in state.asking.items() if stays(entry)}
    failed = frozenset(filter(stays, state.failed))
    return world.at(replace(state, known=known, learned=learned, failed=failed, asking=asking))


def _changed(world: World, act: Act) -> World:
    """Return the world with what the attempts of `act` changed, one after another."""
    for attempt in act.attempts:
        if predict_attempt(world, attempt).outcome is Outcome.REFUSED:
            continue
        state, flipped = world.state, dict(world.state.flipped)
        match attempt.change:
            case AddAddress(address, endpoint):
                state = replace(state, addresses=(*state.addresses, (endpoint, address)))
            case AddLink(parent=parent):
                if _family(attempt.change) == "ipvlan":
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
    sysctls = {at: one for at, one in state.sysctls.items() if not _ends_with_its_link(lab, one)}
    learned = {entry: node for entry, node in state.learned.items() if lab.is_host(entry[0])}
    known = {entry: known for entry, known in state.known.items() if not lab.is_endpoint(entry[0])}
    failed = frozenset(entry for entry in state.failed if not lab.is_endpoint(entry[0]))
    asking = {entry: until for entry, until in state.asking.items() if not lab.is_endpoint(entry[0])}
    led = {entry: parent for entry, parent in state.led.items() if entry in known}
    for name, parent in state.moved.items():
        own = {address.ip for address in lab.endpoint(name).addresses}
        for entry in [entry for entry in known if entry[1] in own]:
            if led.setdefault(entry, parent) == lab.endpoint(name).parent:
                del led[entry]
    if state.down:
        apart = _addresses_on(lab, state)
        unsure = [e for e in known if e[1] in apart or lab.machine_of(e[0]) in state.down]
        known |= {entry: replace(known[entry], maybe=True) for entry in unsure}
    state = replace(state, known=known, failed=failed, asking=asking, learned=learned, led=led, moved={})
    state = replace(state, flipped={}, links=(), addresses=(), mtus=mtus, sysctls=sysctls)
    return replace(state, down=frozenset())


def _addresses_on(lab: Lab, state: State) -> set[Address]:
    """Return the addresses of the hosts that are down, and of the endpoints that are still on them."""
    endpoints = (e for host in state.down for e in lab.endpoints_on(host) if e.name not in state.moved)
    return set(lab.sources((*state.down, *(e.name for e in endpoints))))


def _ends_with_its_link(lab: Lab, one: Sysctl) -> bool:
    return lab.is_endpoint(one.node) and one.dev not in ("", "all", "default")


def lasts_s(check: Check) -> float:
    """Return how long a check lasts, in seconds: until its last request, and the wait for the reply."""
    if check.tcp is not None:
        return CONNECT_S
    return check.watch or (check.count - 1) * PING_INTERVAL_S + PING_WAIT_S


def _uses_s(check: Check, path: Path) -> float:
    """Return for how many seconds a check uses neighbour entries: an answered connection is soon over."""
    return PING_WAIT_S if check.tcp is not None and path.replied else lasts_s(check)


def _act_lasts_s(world: World, act: Act, paths: Sequence[tuple[Check, Path]]) -> float:
    """Return how long an act takes at least, in seconds: its longest ping, its wait, or its announcements."""
    seconds = [1.0 if act.announce and not world.lab.simulated else 0.0, float(act.wait or 0)]
    for check, path in paths:
        outcome = _of_path(world, check, path).outcome
        if outcome is Outcome.EXPIRES:
            used = [entry for entry in (*path.used, *path.announced) if entry in world.state.known]
            lives = min(world.state.fails(entry, math.inf)[1] for entry in used) - world.state.now
            seconds.append(min(lasts_s(check), lives + _NOTICED_S))
        else:
            answered = check.watch is None and outcome is Outcome.REACHABLE
            seconds.append(_uses_s(check, path) - (PING_WAIT_S if answered else 0.0))
    for _, last in _announced_during(world, act).values():
        seconds.append(last - world.state.now)
    return max(seconds) + _BESIDES_S


def late(world: World, act: Act, end: float) -> World:
    """Return the world at an act that is over at the time `end`: what it took too long, checks began late."""
    paths = [(check, _path(world, check)) for check in act.checks]
    over = end - world.state.now - _act_lasts_s(world, act, paths)
    return world.at(replace(world.state, late=max(0.0, over)))
