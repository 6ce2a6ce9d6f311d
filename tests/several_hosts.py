"""Random labs of several hosts, each made of one with a single host, whose parts are spread."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from ipaddress import ip_interface

from hypothesis import assume, reject
from hypothesis import strategies as st

from ipvkit.core.errors import InvalidLab
from ipvkit.core.values import Address, InterfaceAddress
from ipvkit.lab import AT, DEFAULT_MTU, HOST, Act, Lab, Parent, Phase, Setting, gallery
from ipvkit.lab.format import load
from ipvkit.lab.parts import AddAddress, AddLink, Attempt, SetMtu
from strategies import labs

ONE_HOST = [name for name in gallery.names() if len(load(gallery.text(name), name).hosts) == 1]
"""The labs of the gallery with one host."""

_NAMES = st.sampled_from((("h1", "h2"), ("h1", "h2", "h3"), ("a", "0-b")))
_SETTINGS = st.sampled_from(
    (None, None, Setting("l2"), Setting("l3"), Setting("l3s"), Setting("l2", "private"))
)
"""What differs on the parents of the second host and those after it, or nothing."""


@st.composite
def labs_of_hosts(draw: st.DrawFn, *, most_endpoints: int = 3, most_phases: int = 3) -> Lab:
    """Labs of two or three hosts, with every part that such a lab can have."""
    lab = draw(labs(most_endpoints=most_endpoints, most_phases=most_phases))
    assume(all(parent.kind != "dummy" for parent in lab.parents))
    names = draw(_NAMES)
    hosts = st.sampled_from(names)
    on = {netns: draw(hosts) for netns in dict.fromkeys(e.netns for e in lab.endpoints)}
    # As in a file, those of a host together.
    ordered = sorted(lab.endpoints, key=lambda e: names.index(on[e.netns]))
    endpoints = tuple(replace(e, parent=_at(e.parent, on[e.netns])) for e in ordered)
    parents = tuple(_parents(lab, names))
    phases = tuple(_phase(draw, lab, phase, names) for phase in lab.phases)
    try:
        lab = replace(lab, parents=parents, endpoints=endpoints, phases=phases)
    except InvalidLab:
        reject()
    return _with_a_host_down(draw, _with_moves(draw, lab))


def _with_moves(draw: st.DrawFn, lab: Lab) -> Lab:
    """Return `lab` in which endpoints move, before acts that change something, where they can."""
    for p, phase in enumerate(lab.phases):
        for a in (a for a, act in enumerate(phase.acts) if not act.checks and draw(st.booleans())):
            move = ((draw(st.sampled_from(phase.endpoints)), draw(st.sampled_from(lab.hosts))),)
            acts = list(lab.phases[p].acts)
            acts.insert(a, Act(move=move))
            phases = list(lab.phases)
            phases[p] = replace(phases[p], acts=tuple(acts))
            with suppress(InvalidLab):
                lab = replace(lab, phases=tuple(phases))
    return lab


def _with_a_host_down(draw: st.DrawFn, lab: Lab) -> Lab:
    """Return `lab` in which a host may go down in a phase, without what it would have to do then."""
    if not draw(st.booleans()):
        return lab
    p, host = draw(st.integers(0, len(lab.phases) - 1)), draw(st.sampled_from(lab.hosts))
    whole = lab.phases[p]
    at = draw(st.integers(0, len(whole.acts)))
    phase = replace(whole, acts=(*whole.acts[:at], Act(down=(host,))))
    for act in whole.acts[at:]:
        checks = tuple(check for check in act.checks if fits(lab, phase, Act(checks=(check,))))
        tried = tuple(one for one in act.attempts if fits(lab, phase, Act(attempts=(one,))))
        less = replace(act, checks=checks, attempts=tried)
        if less != Act() and fits(lab, phase, less):
            phase = replace(phase, acts=(*phase.acts, less))
    return replace(lab, phases=(*lab.phases[:p], phase, *lab.phases[p + 1 :]))


def fits(lab: Lab, phase: Phase, act: Act) -> bool:
    """Return whether `act` can be the last one of `phase`."""
    try:
        lab.with_phases(replace(phase, acts=(*phase.acts, act)))
    except InvalidLab:
        return False
    return True


def _at(name: str, host: str) -> str:
    return f"{name}{AT}{host}"


def _parents(lab: Lab, names: Sequence[str]) -> list[Parent]:
    """Return the parents of each host; those after the first one have other addresses."""
    taken: set[Address] = {
        own for phase in lab.phases for _, s in _settings(lab, phase) for own in s.shim_addresses
    }
    taken |= lab.taken
    found = []
    for number, host in enumerate(names):
        for parent in lab.parents:
            own = parent.host if number == 0 else tuple(_other(a, taken) for a in parent.host)
            link = parent.link and _at(parent.link, host)
            at = {"on": host, "ifname": parent.name, "shared": _at(parent.name, names[0]), "altnames": ()}
            found.append(
                replace(parent, name=_at(parent.name, host), kind="nic", link=link, host=own, **at)  # type: ignore[arg-type]
            )
            found[-1] = replace(found[-1], bond_mode="active-backup")
    return found


def _other(own: InterfaceAddress, taken: set[Address]) -> InterfaceAddress:
    """Return a free address of the same network, near its end, where no host shim is."""
    last = min(own.network.num_addresses, 65536) - 12
    address = next(a for n in range(last, 0, -1) if (a := own.network[n]) not in taken)
    taken.add(address)
    return ip_interface((address, own.network.prefixlen))


def _settings(lab: Lab, phase: Phase) -> list[tuple[str, Setting]]:
    return [(parent.name, phase.on(parent.name)) for parent in lab.parents]


def _phase(draw: st.DrawFn, lab: Lab, phase: Phase, names: Sequence[str]) -> Phase:
    others = []
    for number, host in enumerate(names):
        for parent, setting in _settings(lab, phase):
            differing = draw(_SETTINGS) if number and setting.is_ipvlan else None
            here = differing or (
                setting if number == 0 else replace(setting, host_shim=False, shim_addresses=())
            )
            others.append((_at(parent, host), here))
    tried_on = draw(st.sampled_from(names))
    acts = tuple(_act(draw, lab, act, names, tried_on) for act in phase.acts)
    return replace(phase, others=tuple((n, s) for n, s in others if s != phase.setting), acts=acts)


def _act(draw: st.DrawFn, lab: Lab, act: Act, names: Sequence[str], tried_on: str) -> Act:
    hosts = st.sampled_from(names)

    def node(role: str) -> str:
        return draw(hosts) if role == HOST else role

    checks = tuple(replace(c, source=node(c.source), destination=node(c.destination)) for c in act.checks)
    tried = (_attempt(attempt, lab, tried_on) for attempt in act.attempts)
    return replace(
        act,
        checks=checks,
        attempts=tuple(attempt for attempt in tried if attempt is not None),
        # Where a peer has fast timers, a host may have them too.
        fast_ageing=tuple(dict.fromkeys((*act.fast_ageing, *(draw(hosts) for _ in act.fast_ageing[1:])))),
        flush=tuple(dict.fromkeys(map(node, act.flush))),
        port_security=None
        if act.port_security is None
        else tuple(dict.fromkeys(map(node, act.port_security))),
        sysctls=tuple(replace(one, node=node(one.node)) for one in act.sysctls),
    )


def _attempt(attempt: Attempt, lab: Lab, host: str) -> Attempt | None:
    """Return an attempt on `host`; none of an address that another node has, which is not modelled there."""
    parents = [parent.name for parent in lab.parents]
    match change := attempt.change:
        case AddAddress():
            return None
        case AddLink(parent=parent) if parent in parents:
            return replace(attempt, change=replace(change, parent=_at(parent, host)))
        case AddLink(parent=parent) if parent != "lo":
            return None
        case SetMtu(link=link, mtu=mtu) if link in parents:
            if mtu > DEFAULT_MTU:
                return None
            return replace(attempt, change=replace(change, link=_at(link, host)))
    return attempt
