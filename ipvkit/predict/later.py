"""The world after an act, after some time, and in the next phase: which neighbour entries there are."""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ipvkit.core.values import Address
from ipvkit.lab import PING_WAIT_S, Act, Check, Endpoint, Lab, Outcome
from ipvkit.lab.sysctls import Sysctl
from ipvkit.predict.attempts import attempted
from ipvkit.predict.neighbours import Known, Span
from ipvkit.predict.path import Path
from ipvkit.predict.predictions import NOTICED_S, UNSURE_S, announcements, lasts_s, of_path, path_of, uses_s
from ipvkit.predict.resolution import Event
from ipvkit.predict.world import Entry, State, World

_BESIDES_S = 0.1
"""The seconds that an act takes besides its waiting: processes start and end."""


@dataclass(slots=True)
class _Tables:
    """The neighbour entries of all hosts while an act changes them; each field is as in `State`."""

    known: dict[Entry, Known]
    failed: set[Entry]
    asking: dict[Entry, float]
    learned: dict[Entry, str]
    led: dict[Entry, str]


def after(world: World, act: Act, end: float | None = None) -> World:
    """Return the world after `act`, which ends at the time `end`, by default as soon as it can.

    A flush wins over an announcement of the same act.
    """
    state = world.state
    tables = _Tables(
        dict(state.known), set(state.failed), dict(state.asking), dict(state.learned), dict(state.led)
    )
    paths = [(check, path_of(world, check)) for check in act.checks]
    for check, path in paths:
        _use(tables, world, check, path)
    end = state.now + _act_lasts_s(world, act, paths) if end is None else end
    asked_from = {address for _, path in paths for address in path.resolution.broadcast}
    _announce(tables, world, act, asked_from, end)
    _grow_old(world, tables.known, tables.failed, end, _announced_during(world, act))
    _flush(tables, act.flush)
    changed = _moved(attempted(world, act), act, tables)
    later = replace(
        changed.state,
        now=end,
        known=tables.known,
        failed=frozenset(entry for entry in tables.failed if entry[0] not in dict(act.move)),
        asking=tables.asking,
        learned=tables.learned,
        led={entry: parent for entry, parent in tables.led.items() if entry in tables.known},
        fast=state.fast | set(act.fast_ageing),
        down=state.down | set(act.down),
        hairpin=state.hairpin if act.hairpin is None else act.hairpin,
        allowed=state.allowed if act.port_security is None else _allowed(world.lab, act.port_security),
        sysctls={**state.sysctls, **{(one.node, one.key): one for one in act.sysctls}},
    )
    return changed.at(later)


def _use(tables: _Tables, world: World, check: Check, path: Path) -> None:
    """Note what a check does to the entries on its path."""
    state, known = world.state, tables.known
    tables.learned |= path.resolution.learned
    for entry, event in path.resolution.events:
        if event != "used" and tables.led.pop(entry, None) is not None and event == "announced":
            known[entry] = Known("the announcement")
        if event == "asked in vain" and not _is_own(world, entry):
            until = state.now + uses_s(check, path) + state.late
            tables.asking[entry] = until + state.timers(entry[0]).asks_s
        if entry in known and entry not in path.resolution.used:
            # It is there now, since its host answers.
            known[entry] = replace(known[entry], maybe=False)
        _note(world, known, tables.failed, entry, event, state.now + uses_s(check, path))
        if check.tcp is not None and path.replied and entry in known:
            known[entry] = known[entry].vouched(state.now)


def _announce(tables: _Tables, world: World, act: Act, heard: Collection[Address], end: float) -> None:
    """Note what an act announces; questions by broadcast, of which others `heard`, are announcements too.

    An announcement updates existing entries, failed ones too, and creates none (arp_accept=0); it does not
    renew an entry that is valid (__neigh_update()).
    """
    known, led = tables.known, tables.led
    announced = [
        (hearer, own.ip)
        for endpoint in map(world.lab.endpoint, act.announce)
        for hearer in _hearers(world, endpoint, act)
        for own in endpoint.addresses
        if own.version == 4
    ]
    deaf = {entry for entry in led if _is_own(world, entry) or world.is_down(entry[0])}
    for entry in [e for e in led if e in announced or (e[1] in heard and e not in deaf)]:
        # They have the MAC address of another host, and an announcement or a broadcast question overrides it.
        known[entry] = Known("what it sent since")
        del led[entry]
    for entry in announced:
        if entry in tables.failed or (entry not in known and _accepts(world, entry)):
            known[entry] = Known("the announcement")
            tables.failed.discard(entry)
        elif entry in known and (fails := world.state.fails(entry))[0] <= end:
            # It may have failed before, and be a new one.
            known[entry] = replace(known[entry], doubted=(fails[0], math.inf))


def _flush(tables: _Tables, nodes: Collection[str]) -> None:
    """Take the entries of `nodes` out."""
    for table in (tables.known, tables.asking, tables.learned):
        for entry in [entry for entry in table if entry[0] in nodes]:
            del table[entry]
    tables.failed = {entry for entry in tables.failed if entry[0] not in nodes}


def _allowed(lab: Lab, roles: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return the roles that the switch accepts at the port of each host: those of `roles` that are on it."""
    return {host: tuple(lab.allowed_at(host, roles)) for host in lab.hosts}


def _moved(world: World, act: Act, tables: _Tables) -> World:
    """Return the world after the endpoints of `act` have moved, of which others keep their entries.

    Siblings in l2 have one with the MAC address of their parent. The endpoint itself begins with none.
    """
    known, learned, led = tables.known, tables.learned, tables.led
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
        if entry[1] in announced and of_peer.doubted and first <= min(now, announced_until + UNSURE_S):
            # If it fails before the last announcement, that makes it valid again, and it may be in use since.
            soonest = first if last < announced_until - UNSURE_S else of_peer.doubted[0]
            doubted = max(soonest, announced_until - timers.lifetime_s - UNSURE_S)
            in_use = (doubted, math.inf) if doubted <= pinged_until else None
            known[entry] = Known("the announcement", doubted=in_use)
        if known[entry].fails(timers)[1] + UNSURE_S <= now:
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
        again = entry in failed and until > state.now - UNSURE_S
        if again and _is_answered(world, entry[1]):
            at = (state.now, max(state.now, min(until, now)))
            known[entry] = Known("a repeated question", confirmed=at, maybe=True)
            failed.remove(entry)
    _grow_old(world, known, failed, now, {})
    asked = {e: until + state.timers(e[0]).retrans_ms / 1000 for e, until in state.asking.items()}
    asking = {entry: state.asking[entry] for entry, fails in asked.items() if fails > now - UNSURE_S}
    return world.at(replace(state, now=now, known=known, failed=frozenset(failed), asking=asking))


def at_first_act(before: World | None, world: World, now: float) -> World:
    """Return the world at the first act of a phase, at the time `now`: since the former one, it was set up.

    Meanwhile the endpoints of the phase `before` were deleted, after which no host answered for them.
    """
    unsure = UNSURE_S + world.state.late
    left, back = world.state.now - unsure, now + unsure
    later = at_time(world, now)
    known, failed = dict(later.state.known), later.state.failed
    for entry, of_peer in world.state.known.items():
        if world.upper(entry[1]) is None:
            continue
        timers = world.state.timers(entry[0])
        answered = of_peer.answered(back, timers)
        if before is not None and answered != of_peer and _is_confirmed(before, entry):
            # The kernel asked before the endpoint was deleted, or after that.
            known[entry], failed = replace(answered, maybe=True), failed - {entry}
        elif entry in known and of_peer.without_answers(left, back, timers).maybe:
            known[entry] = replace(known[entry], maybe=True)
    return later.at(replace(later.state, known=known, failed=failed, began=now))


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


def _act_lasts_s(world: World, act: Act, paths: Sequence[tuple[Check, Path]]) -> float:
    """Return how long an act takes at least, in seconds: its longest ping, its wait, or its announcements."""
    seconds = [1.0 if act.announce and not world.lab.simulated else 0.0, float(act.wait or 0)]
    for check, path in paths:
        outcome = of_path(world, check, path).outcome
        if outcome is Outcome.EXPIRES:
            found = path.resolution
            used = [entry for entry in (*found.used, *found.announced) if entry in world.state.known]
            lives = min(world.state.fails(entry, math.inf)[1] for entry in used) - world.state.now
            seconds.append(min(lasts_s(check), lives + NOTICED_S))
        else:
            answered = check.watch is None and outcome is Outcome.REACHABLE
            seconds.append(uses_s(check, path) - (PING_WAIT_S if answered else 0.0))
    for _, last in _announced_during(world, act).values():
        seconds.append(last - world.state.now)
    return max(seconds) + _BESIDES_S


def late(world: World, act: Act, end: float) -> World:
    """Return the world at an act that is over at the time `end`: what it took too long, checks began late."""
    paths = [(check, path_of(world, check)) for check in act.checks]
    over = end - world.state.now - _act_lasts_s(world, act, paths)
    found = world.at(replace(world.state, late=max(0.0, over)))
    # How late a check begins changes no path.
    found.paths.update(world.paths)
    return found
