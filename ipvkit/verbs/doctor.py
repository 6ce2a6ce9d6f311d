"""What conflicts with ipvlan on a parent of this machine, and which hosts would not reach the endpoints."""

from collections.abc import Iterator
from contextlib import suppress
from ipaddress import ip_interface
from itertools import islice
from queue import SimpleQueue

from ipvkit.core.errors import InvalidLab, IpvkitError
from ipvkit.host import checks
from ipvkit.host.checks import Finding, Findings, Request
from ipvkit.host.facts import gather
from ipvkit.lab import HOST, NEIGHBOUR, Act, Check, Endpoint, Lab, Outcome, Parent, Phase
from ipvkit.targets.agent import Agent
from ipvkit.targets.local import Local
from ipvkit.tools.ip import Link
from ipvkit.verbs.explain import explain

_SOURCES = {HOST: "this host", NEIGHBOUR: "other hosts"}


def check(request: Request) -> Findings:
    """Return all problems of creating `request` here; that the machine shows nothing is a finding too."""
    try:
        with Agent(Local(), SimpleQueue()) as agent:
            machine = gather(request, agent)
    except IpvkitError as problem:
        what = ": ".join(filter(None, (problem.message, problem.stderr.partition("\n")[0])))
        fix = problem.hint or "see which tools are installed with `ipvkit doctor`"
        return Findings(request.parent, (Finding("not-looked-at", "error", what, fix),))
    parent = machine.link(request.parent)
    predicted = () if parent is None else unreachable(request, parent)
    return checks.check(request, machine, predicted)


def unreachable(request: Request, parent: Link) -> Iterator[Finding]:
    """Yield which hosts cannot reach the requested addresses in a subnet of `parent`, and the cheapest fix.

    Without such an address, a free one stands for all. Where the parent has no address, as on a trunk, the
    subnets of the requested ones are on its wire.
    """
    own = {one.address.version: one.address for one in reversed(parent.addresses) if one.scope == "global"}
    asked = dict.fromkeys(address.network for _, address in request.addresses if address.version not in own)
    subnets = [(host.network, (host,)) for host in own.values()] + [(subnet, ()) for subnet in asked]
    for subnet, hosts in subnets:
        planned = [address for _, address in request.addresses if address.ip in subnet]
        if request.addresses and not planned:
            continue
        taken = {address.ip for address in (*hosts, *planned)}
        free = (ip for ip in subnet.hosts() if ip not in taken)
        peers = tuple(islice(free, 1))
        addresses = planned or [ip_interface((ip, subnet.prefixlen)) for ip in islice(free, 1)]
        names = [f"endpoint{i}" if i else "endpoint" for i in range(len(addresses))]
        endpoints = (Endpoint(n, (a,), n, parent.ifname) for n, a in zip(names, addresses, strict=True))
        on = Parent(parent.ifname, hosts, neighbour=peers, others=() if hosts else (subnet,))
        phases = (Phase("planned", setting, tuple(names), (Act(),)) for setting in request.settings)
        # A small subnet has no room for both.
        with suppress(InvalidLab):
            yield from _findings(Lab("planned", "", (on,), tuple(endpoints), tuple(phases)))


def _findings(lab: Lab) -> Iterator[Finding]:
    """Yield which hosts cannot reach the endpoints of `lab`, in each of its phases."""
    for phase in lab.phases:
        for source, who in _SOURCES.items():
            if source == HOST and not lab.parents[0].host:
                continue
            explained = explain(lab, phase, Check(source, lab.endpoints[0].name))
            if explained.prediction.outcome is Outcome.REACHABLE:
                continue
            targets = checks.some(str(own.ip) for endpoint in lab.endpoints for own in endpoint.addresses)
            what = f"{who} cannot reach {targets}: {explained.prediction.reason}"
            fix = next((f"{fix.name}: {fix.cost}" for fix in explained.fixes), "no fix is known")
            yield Finding("unreachable", "warning", what, fix)
