"""The twins of several machines as one lab: each is a host of it."""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace

from ipvkit.core.values import Address, Network
from ipvkit.host.endpoints import Notes
from ipvkit.host.twin import Twin
from ipvkit.lab import AT, Act, Endpoint, Lab, Parent, Phase
from ipvkit.lab.around import far_behind, free, name_for

_ABOUT = "the links that `ipvkit inspect` found on these hosts"

_LONGEST = 10
"""The most characters of a host's name in a lab."""


@dataclass(frozen=True, slots=True)
class Joined:
    """A `lab` of one phase; the addresses `known` are those of other hosts, `notes` what it leaves out."""

    lab: Lab
    known: frozenset[Address]
    notes: tuple[str, ...]


def joined(twins: Mapping[str, Twin]) -> Joined:
    """Return the lab of two twins or more, by the names of their machines.

    Parents with a subnet in common, and the same VLAN tag, are in one network. Raise IpvkitError for what a
    lab cannot have.
    """
    notes = Notes()
    hosts = dict(zip(twins, _host_names(twins), strict=True))
    for machine, host in hosts.items():
        if machine != host:
            notes.add("a host has a shorter name in the lab", f"{host} for {machine}")
    own = {address.ip for twin in twins.values() for p in twin.lab.parents for address in p.host}
    known = frozenset(address for twin in twins.values() for address in twin.known) - own
    parents, names = _parents(twins, hosts, notes)
    taken = set(known)
    parents = [_without_taken(parent, taken, notes) for parent in parents]
    endpoints = dict(_endpoints(twins, hosts, names, taken, notes))
    networks = {p.name: _with_peers(p, parents, known, taken) for p in parents if p.shared == p.name}
    parents = [_in_network(parent, networks[parent.shared]) for parent in parents]
    settings = {
        names[machine, parent.name]: twin.lab.phases[0].on(parent.name)
        for machine, twin in twins.items()
        for parent in twin.lab.parents
    }
    used = {endpoint.parent for endpoint in endpoints.values()}
    usual, _ = Counter(setting for name, setting in settings.items() if name in used).most_common(1)[0]
    others = tuple((name, s) for name, s in settings.items() if s != usual)
    sysctls = tuple(
        replace(one, node=hosts[machine])
        for machine, twin in twins.items()
        for act in twin.lab.phases[0].acts
        for one in act.sysctls
    )
    phase = Phase("live", usual, tuple(endpoints), (Act(sysctls=sysctls),), others)
    vias = {gateway for parent in parents for gateway in parent.gateway} & known
    far = tuple(far_behind(parents, vias))
    lab = Lab("fleet", _ABOUT, tuple(parents), tuple(endpoints.values()), (phase,), far)
    of_hosts = (f"{machine}: {note}" for machine, twin in twins.items() for note in twin.notes)
    return Joined(lab, known, (*notes.lines(), *of_hosts))


def _host_names(machines: Collection[str]) -> Iterator[str]:
    """Yield names that a lab can give hosts: up to the first dot, in small letters, none twice."""
    taken: set[str] = {"lan"}
    for machine in machines:
        plain = re.sub("[^a-z0-9]+", "-", machine.partition(".")[0].lower())[:_LONGEST].strip("-") or "h"
        name = name_for(plain, taken)
        if len(name) > _LONGEST:
            number = name.rpartition("-")[2]
            name = name_for(f"{plain[: _LONGEST - len(number) - 1]}-{number}", taken)
        taken.add(name)
        yield name


def _parents(
    twins: Mapping[str, Twin], hosts: Mapping[str, str], notes: Notes
) -> tuple[list[Parent], dict[tuple[str, str], str]]:
    """Return the parents of all hosts, and their names by those on their machines."""
    every = [(machine, parent) for machine, twin in twins.items() for parent in twin.lab.parents]
    count = Counter(parent.name for _, parent in every)
    names = {
        (machine, p.name): p.name if count[p.name] == 1 else f"{p.name}{AT}{hosts[machine]}"
        for machine, p in every
    }
    found: list[Parent] = []
    for machine, parent in every:
        name = names[machine, parent.name]
        if parent.kind != "nic":
            notes.add(f"a {parent.kind} is written as an ordinary NIC", f"{parent.name} of {hosts[machine]}")
        same = (p for p in found if p.vlan == parent.vlan and p.on != hosts[machine] and _share(p, parent))
        shared = next((p.shared for p in same), name)
        link = None if parent.link is None else names[machine, parent.link]
        plain = replace(parent, kind="nic", altnames=(), hosts=(), neighbour=(), link=link)
        found.append(replace(plain, name=name, ifname=parent.name, on=hosts[machine], shared=shared))
    return found, names


def _share(one: Parent, other: Parent) -> bool:
    return any(_overlap(mine, theirs) for mine in one.subnets for theirs in other.subnets)


def _overlap(one: Network, other: Network) -> bool:
    return one.version == other.version and one.overlaps(other)


def _without_taken(parent: Parent, taken: set[Address], notes: Notes) -> Parent:
    """Return a parent without addresses that another one has, and add its own to those that are `taken`."""
    kept = tuple(own for own in parent.host if own.ip not in taken)
    for own in parent.host:
        if own not in kept:
            notes.add("an address that another host has is left out", f"{own.ip} of {parent.on}")
    taken.update(own.ip for own in kept)
    lost = tuple(own.network for own in parent.host if own not in kept)
    return replace(parent, host=kept, others=tuple(dict.fromkeys((*parent.others, *lost))))


def _endpoints(
    twins: Mapping[str, Twin],
    hosts: Mapping[str, str],
    names: Mapping[tuple[str, str], str],
    taken: set[Address],
    notes: Notes,
) -> Iterator[tuple[str, Endpoint]]:
    """Yield the endpoints of all hosts by their names, without addresses that are `taken`."""
    every = [(machine, endpoint) for machine, twin in twins.items() for endpoint in twin.lab.endpoints]
    count = Counter(endpoint.name for _, endpoint in every)
    for machine, e in every:
        kept = tuple(own for own in e.addresses if own.ip not in taken)
        for lost in (own for own in e.addresses if own not in kept):
            where = f"{lost.ip} of {e.name} on {hosts[machine]}"
            notes.add("an address that another host has is left out", where)
        taken.update(own.ip for own in kept)
        if kept:
            name = e.name if count[e.name] == 1 else f"{e.name}{AT}{hosts[machine]}"
            yield name, replace(e, name=name, parent=names[machine, e.parent], addresses=kept)


def _with_peers(
    first: Parent, every: Collection[Parent], known: Collection[Address], taken: set[Address]
) -> Parent:
    """Return the first parent of a network, with its gateway and neighbour: free addresses if unknown."""
    inside = [parent for parent in every if parent.shared == first.name]
    gateways = dict.fromkeys(gw for parent in inside for gw in parent.gateway if gw in known)
    gateway = tuple(gateways) or tuple(free(first, taken))[:1]
    taken.update(gateway)
    return replace(first, gateway=gateway, neighbour=tuple(free(first, taken)))


def _in_network(parent: Parent, network: Parent) -> Parent:
    return replace(parent, gateway=network.gateway, neighbour=network.neighbour)
