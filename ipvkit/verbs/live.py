"""This machine as a lab: its twin, with checks, and what is explained of it as it is typed here."""

from collections.abc import Collection, Mapping
from dataclasses import replace

from ipvkit.core.errors import InvalidLab, UsageError
from ipvkit.host.inspect import Inspection, nothing
from ipvkit.host.twin import Twin, twin_of
from ipvkit.host.twins import Joined, joined
from ipvkit.lab import Act, Check, Endpoint, Lab, Phase
from ipvkit.lab.around import checks_around
from ipvkit.verbs.explain import Explanation, Fix, explain


def live(found: Inspection, netns: Collection[str] = (), *, neighbours: bool = False) -> Twin:
    """Return the twin of what was `found`, or of the links in the namespaces `netns`.

    Raise UsageError where there is nothing to describe, or what a lab cannot describe, and MissingRequirement
    where another user than root sees nothing of it.
    """
    try:
        twin = twin_of(_in(found, netns) if netns else found, neighbours=neighbours)
    except InvalidLab as invalid:
        hint = "with --parent or --netns a part of the machine is described"
        raise UsageError(f"no lab can describe this machine: {invalid.message}", hint) from invalid
    if twin is None:
        hint = "ipvkit inspect shows what there is"
        raise nothing("no link that a lab can describe was found", hint, found)
    return replace(twin, notes=(*twin.notes, *found.gaps))


def live_fleet(found: Mapping[str, Inspection]) -> Joined:
    """Return the twin of what was `found` on several hosts, by their names; raise UsageError as `live`."""
    twins = {}
    for host, one in found.items():
        try:
            twin = twin_of(one)
        except InvalidLab as invalid:
            raise UsageError(f"no lab can describe {host}: {invalid.message}", _PART) from invalid
        if twin is not None:
            twins[host] = replace(twin, notes=(*twin.notes, *one.gaps))
    if len(twins) < 2:
        where = ", ".join(twins) or "no host"
        what = (
            f"a link that a lab can describe was found on {where}, and a lab of a fleet has two hosts or more"
        )
        raise UsageError(what, "ipvkit inspect --inventory shows what there is")
    try:
        whole = joined(twins)
    except InvalidLab as invalid:
        raise UsageError(f"no lab can describe these hosts: {invalid.message}", _PART) from invalid
    absent = (host for host in found if host not in twins)
    nothing_there = tuple(f"{host}: no link that a lab can describe was found" for host in absent)
    return replace(whole, notes=(*whole.notes, *nothing_there))


_PART = "with --parent a part is described"


def _in(found: Inspection, netns: Collection[str]) -> Inspection:
    """Return what is in the namespaces called `netns`; raise UsageError for one in which nothing is."""
    there = {name for on in found.parents for placed in on.links for name in placed.inside.space.names}
    if unknown := sorted({*netns} - there):
        hint = f"choose from {', '.join(sorted(there))}" if there else "ipvkit inspect shows what there is"
        raise nothing(f"nothing to describe is in netns {unknown[0]}", hint, found)
    parents = (
        replace(
            on, links=tuple(p for p in on.links if p.inside.space.own or {*p.inside.space.names} & {*netns})
        )
        for on in found.parents
    )
    return replace(found, parents=tuple(on for on in parents if on.links))


def checked(twin: Twin | Joined) -> Lab:
    """Return the lab of `twin` with checks of each endpoint."""
    (phase,) = twin.lab.phases
    checks = Act(checks=tuple(checks_around(twin.lab, twin.known)))
    acts = (*(act for act in phase.acts if act != Act()), checks)
    return replace(twin.lab, phases=(replace(phase, acts=acts),))


def explained(twin: Twin, check: Check, *, fix_all: bool = False) -> Explanation:
    """Return the reason for the outcome of `check` on this machine, with fixes as they are typed here.

    What they need on other hosts is apart.
    """
    (phase,) = twin.lab.phases
    found = explain(twin.lab, phase, check, fix_all=fix_all)
    return replace(found, fixes=tuple(typed_here(fix, twin) for fix in found.fixes if fix.commands))


def typed_here(fix: Fix, twin: Twin) -> Fix:
    """Return a fix of a twin's lab with its commands as they are typed on this machine, and elsewhere."""
    here, elsewhere = twin.typed(fix.commands)
    return replace(fix, commands=here, elsewhere=elsewhere)


def matched(twin: Twin, lab: Lab) -> dict[str, Endpoint]:
    """Return the endpoints of `twin` that are those of `lab`, by their names there.

    Such a one has the same name, or is the same link in the same namespace.
    """
    names = {endpoint.name for endpoint in lab.endpoints}
    by_link = {(e.netns, e.dev): e for e in twin.lab.endpoints if e.name not in names}
    found = {}
    for endpoint in lab.endpoints:
        here = by_link.get((endpoint.netns, endpoint.dev))
        if twin.lab.is_endpoint(endpoint.name):
            here = twin.lab.endpoint(endpoint.name)
        if here is not None:
            found[endpoint.name] = here
    return found


def renamed(lab: Lab, names: Mapping[str, str]) -> Lab:
    """Return `lab`, of one phase without checks, with other names of endpoints."""

    def other(name: str) -> str:
        return names.get(name, name)

    (phase,) = lab.phases
    endpoints = tuple(replace(endpoint, name=other(endpoint.name)) for endpoint in lab.endpoints)
    return replace(
        lab, endpoints=endpoints, phases=(replace(phase, endpoints=tuple(map(other, phase.endpoints))),)
    )


def placed(lab: Lab, here: Mapping[str, Endpoint]) -> Lab:
    """Return `lab` in which the endpoints that are `here` have the namespaces and links of this machine."""
    endpoints = (
        replace(e, netns=here[e.name].netns, dev=here[e.name].dev) if e.name in here else e
        for e in lab.endpoints
    )
    return replace(lab, endpoints=tuple(endpoints))


def only_phase(lab: Lab) -> Phase:
    """Return the phase of a lab that is compared with a machine; raise UsageError for several of them."""
    lab.require_one_host("a comparison with this machine")
    if len(lab.phases) > 1:
        names = ", ".join(phase.name for phase in lab.phases)
        what = f"lab {lab.name} has several phases: {names}"
        raise UsageError(what, "a machine is in one: keep that, as ipvkit adopt writes it")
    return lab.phases[0]
