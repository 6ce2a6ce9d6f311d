"""What differs between this machine and a lab, and the commands that lead from one to the other."""

from collections.abc import Collection, Hashable, Iterator
from dataclasses import dataclass, replace
from ipaddress import IPv4Interface

from ipvkit.core.command import Command, in_netns
from ipvkit.host.twin import Elsewhere, Twin
from ipvkit.lab import HOST, Endpoint, Lab, Phase, the
from ipvkit.lab.parts import DEFAULT_MTU
from ipvkit.plan import endpoints as creation
from ipvkit.plan.difference import Part, State, differing, state_of
from ipvkit.plan.steps import Steps, Undo
from ipvkit.strategies import Neighbour, Proxy
from ipvkit.tools import ip, sysctl
from ipvkit.verbs.live import matched, only_phase, placed, renamed


@dataclass(frozen=True, slots=True)
class Difference:
    """A difference: what it is, and the commands that end it, here and on other hosts."""

    what: str
    commands: tuple[Command, ...] = ()
    elsewhere: tuple[Elsewhere, ...] = ()


def differences(lab: Lab, twin: Twin) -> list[Difference]:
    """Return what differs, in the order in which the commands make the machine as `lab` is.

    Nothing is known of other hosts, so these are not compared. Raise UsageError for several phases.
    """
    phase = only_phase(lab)
    here = matched(twin, lab)
    before = renamed(twin.lab, {endpoint.name: name for name, endpoint in here.items()})
    (now,) = before.phases
    after = placed(lab, here)
    parents = {parent.name for parent in before.parents}
    wanted = [e for e in after.endpoints_of(phase) if e.parent in parents]
    same = {n for n in here if _link(after, phase, n) == _link(before, now, n)}
    created = [e for e in wanted if e.name not in same]
    names = {e.name for e in wanted}
    kept = same & names
    there, in_lab = _state(before, now, kept), _state(after, phase, names)
    new = {e.name for e in created}
    in_lab = {key: part for key, part in in_lab.items() if _owner(key) not in new}
    missing = {e.parent for e in after.endpoints_of(phase)} - parents
    found = [Difference(f"{name}: no endpoint is on it on this machine") for name in sorted(missing)]
    found += _of_hosts(before, after)
    for e in (e for e in before.endpoints if e.name not in kept):
        delete = in_netns(e.netns, ip.link_delete(e.dev))
        found.append(Difference(f"{e.name}: {_why_deleted(e, wanted)}", (delete,)))
    gone, there_still = _without_old(there, in_lab)
    found += gone
    spaces = {e.netns for e in before.endpoints}
    for e in created:
        found.append(Difference(f"{e.name}: only in the lab", tuple(_creation(after, phase, e, spaces))))
    for key, change in differing(there_still, in_lab, {}):
        found.append(Difference(_title(key, there, in_lab), (change.command,)))
    return [_typed(one, twin) for one in found]


def _without_old(there: State, in_lab: State) -> tuple[list[Difference], State]:
    """Return the deletions of addresses that have to come first, and the state after them.

    The kernel refuses an address that another link on the parent has still. With the first IPv4 address of a
    subnet it deletes the others, and with the last one of a link its routes (__inet_del_ifa(),
    fib_disable_ip()): so all of a link are deleted, the last one first, and are added again.
    """
    again = set()
    for key in there:
        match key:
            case ("address", of, IPv4Interface()) if key not in in_lab:
                again.add(of)
    found: list[Difference] = []
    left: dict[Hashable, Part] = {}
    for key, part in reversed([*there.items()]):
        match key, part:
            case ("address", of, own), Part(undo=Undo() as undo) if key not in in_lab or (
                of in again and isinstance(own, IPv4Interface)
            ):
                found.append(Difference(_title(key, there, in_lab), (undo.command(),)))
            case ("route", of, "ipv4", _, _), Part(value=(_, None)) if of in again:
                pass
            case _:
                left[key] = part
    return found, dict(reversed(left.items()))


def _link(lab: Lab, phase: Phase, name: str) -> tuple[str, str]:
    """Return what cannot be changed of the link of an endpoint: its parent and its kind."""
    parent = lab.endpoint(name).parent
    return parent, phase.on(parent).kind


def _why_deleted(endpoint: Endpoint, wanted: Collection[Endpoint]) -> str:
    again = any(e.name == endpoint.name for e in wanted)
    return "another kind of link, or on another parent, in the lab" if again else "only here"


def _state(lab: Lab, phase: Phase, names: Collection[str]) -> State:
    found = dict(_of_links(lab, names)) | dict(state_of(lab, phase, names))
    for one in (one for act in phase.acts for one in act.sysctls if one.node == HOST):
        found["sysctl", one.key, None] = Part(one.value, sysctl.set_values({one.key: one.value}))
    return found


def _of_links(lab: Lab, names: Collection[str]) -> Iterator[tuple[Hashable, Part]]:
    for e in (lab.endpoint(name) for name in names):
        mtu = e.mtu or DEFAULT_MTU
        yield ("MTU", e.name), Part(mtu, in_netns(e.netns, ip.link_set(e.dev, mtu=mtu)))


def _of_hosts(before: Lab, after: Lab) -> Iterator[Difference]:
    """Yield where the host's addresses differ; a change of them can cut off the person who makes it."""
    theirs = {parent.name: set(parent.host) for parent in after.parents}
    for parent in before.parents:
        for own in sorted({*parent.host} ^ theirs.get(parent.name, {*parent.host}), key=str):
            where = "here" if own in parent.host else "in the lab"
            yield Difference(f"the host: address {own} on {parent.name}: only {where}")


def _owner(key: Hashable) -> Hashable:
    """Return the endpoint or parent that a part of a state is of; None for what the host has for all."""
    match key:
        case ("address" | "MTU" | "rule" | "mode", of, *_):
            return of
        case ("route", of, _, _, _):
            return of
    return None


def _creation(lab: Lab, phase: Phase, endpoint: Endpoint, spaces: Collection[str]) -> Iterator[Command]:
    """Yield the commands that create an endpoint, in a namespace that may be there already."""
    routes = dict.fromkeys(route for _, route in lab.default_routes(phase.on(endpoint.parent), endpoint))
    alone = replace(phase, endpoints=(endpoint.name,), acts=())
    only = replace(endpoint, routes=tuple(routes))
    small = replace(lab, endpoints=(only,), phases=(alone,), setup="stepwise")
    steps = Steps(phase.name)
    creation.create(small, alone, steps)
    for command in (step.command for stage in steps.stages for step in stage):
        if endpoint.netns not in spaces or command != ip.netns_add(endpoint.netns):
            yield command


def _title(key: Hashable, there: State, in_lab: State) -> str:
    """Return what a part of a state is, in words, and where it is."""
    match key:
        case ("mode", of):
            what = f"{of}: mode and flag"
        case ("route", name, _, None | "default" as dst, _) | ("route", name, _, dst, _):
            what = f"{name}: {f'route to {dst}' if dst else 'default route'}"
        case ("route", peer, to):
            what = f"{the(str(peer or HOST))}: route to {to}"
        case Neighbour(peer, address):
            what = f"{the(peer)}: permanent neighbour entry for {address}"
        case Proxy(address):
            what = f"the host: proxy entry for {address}"
        case ("hairpin", _):
            what = "the switch: whether frames go back to their port"
        case ("sysctl", name, _):
            what = f"the host: {name}"
        case ("link", dev):
            what = f"the host: link {dev}"
        case (kind, name, *rest):
            what = " ".join(map(str, (f"{name}:", kind, *rest)))
        case _:
            what = f"the host: {key}"
    if key in there and key in in_lab:
        values = [" ".join(map(str, _values(state[key].value))) for state in (there, in_lab)]
        if values[0] == values[1]:
            return f"{what}: again, for it goes with the addresses"
        return "{}: {} here, {} in the lab".format(what, *values)
    return f"{what}: only {'here' if key in there else 'in the lab'}"


def _values(value: Hashable) -> tuple[object, ...]:
    return (
        tuple(v for v in value if v is not None) or ("no gateway",) if isinstance(value, tuple) else (value,)
    )


def _typed(one: Difference, twin: Twin) -> Difference:
    """Return a difference with its commands as they are typed here, and apart those of other hosts."""
    return Difference(one.what, *twin.typed(one.commands))
