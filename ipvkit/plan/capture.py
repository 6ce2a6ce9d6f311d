"""Which frames a plan captures: those at the nodes that its checks concern, while these run."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ipvkit.core.command import in_netns
from ipvkit.core.errors import UsageError
from ipvkit.lab import FAR, PEERS, Check, Lab, the
from ipvkit.plan.lan import PEER_DEV
from ipvkit.plan.steps import Capture, Plan, Section, Stage, Step
from ipvkit.predict.whole import predict_lab
from ipvkit.tools import tcpdump

IN_MEMORY = "/run"
"""A folder that is in memory, and private, where a target is ephemeral."""

MOST = 40
"""At how many links frames are captured concurrently: each takes a process with 2 MiB of memory."""

Link = tuple[str, str | None, str]
"""A node, its namespace, and a link of it there."""


def with_captures(plan: Plan, folder: str = IN_MEMORY) -> Plan:
    """Return `plan` with a tcpdump at each link that its checks concern, with files in `folder`.

    Of a real network there are the host and its endpoints; where hosts are several, the parents are left to
    the cables. Raise UsageError for checks that concern too many links.
    """
    sections = (_section(plan.lab, section, folder) for section in plan.sections)
    return replace(plan, sections=tuple(sections))


def _section(lab: Lab, section: Section, folder: str) -> Section:
    labs = _labs(lab, section)
    stages = (_stage(labs.get(i, lab), section, stage, folder) for i, stage in enumerate(section.stages))
    return replace(section, stages=tuple(stages))


def _labs(lab: Lab, section: Section) -> dict[int, Lab]:
    """Return the lab at each stage of acts by its number, where endpoints move in a phase."""
    phase, found = section.phase, dict[int, Lab]()
    if phase is None or not any(act.move for act in phase.acts):
        return found
    [predicted] = (each for each in predict_lab(lab) if each.phase.name == phase.name)
    for act, stages in zip(predicted.acts, section.acts, strict=True):
        lab = lab.moved(lab.parents_after(act.act.move), phase)
        found |= dict.fromkeys(range(len(section.stages))[stages], lab)
    return found


def _stage(lab: Lab, section: Section, stage: Stage, folder: str) -> Stage:
    probes = [step.probe for step in stage if step.probe is not None]
    checks = [probe.check for probe in probes if isinstance(probe.check, Check)]
    links = dict.fromkeys(link for check in checks for link in _links(lab, section, check))
    if len(links) > MOST:
        what = f"--capture: checks of phase {section.name} concern {len(links)} links; at most {MOST} are"
        raise UsageError(f"{what} captured", "give --parallel 16, so that fewer run concurrently")
    servers = []
    for number, (role, netns, dev) in enumerate(links, 1):
        id = f"{stage[0].id}.{number}"
        file = f"{folder}/{id}.pcap"
        words = () if lab.simulated or netns is not None else _asked_for(checks)
        command = in_netns(netns, tcpdump.capture(dev, file, *words))
        what = f"capture at {the(role)}'s {dev}"
        ready, kept = tcpdump.wrote_header(file), Capture(role, dev, file, section.name, tuple(probes))
        on = lab.machine_of(role)
        servers.append(Step(id, what, command, ready=ready, on=on, capture=kept))
    return (*servers, *stage)


def _links(lab: Lab, section: Section, check: Check) -> Iterator[Link]:
    """Yield the links that show what becomes of `check`: those of its ends, of the host and of the peers."""
    ends = [role for role in (check.source, check.destination) if lab.is_endpoint(role)]
    parents = dict.fromkeys(lab.parent_called(lab.endpoint(role).parent) for role in ends)
    lans = {parent.lan for parent in parents}
    for parent in parents:
        if not lab.several_hosts:
            yield parent.on, None, parent.dev
        if section.phase is not None and section.phase.on(parent.name).host_shim:
            yield parent.on, None, lab.shim_on(parent)
    if lab.simulated:
        for network in (network for network in lab.networks if network.lan in lans):
            shown = {*PEERS, *lab.routers, check.source, check.destination}
            peers = (role for role in lab.peers if role in shown and network.peer(role))
            yield from ((role, role, lab.dev_of(network)) for role in peers)
        if FAR in (check.source, check.destination):
            yield FAR, FAR, PEER_DEV
    for role in ends:
        yield from ((role, netns, dev) for netns, dev in lab.links_of(role))


def _asked_for(checks: Sequence[Check]) -> list[str]:
    """Return the filter for what checks send: a real host has other traffic, which concerns no one."""
    ports = dict.fromkeys(str(check.tcp) for check in checks if check.tcp is not None)
    return [
        "arp",
        "or",
        "icmp",
        "or",
        "icmp6",
        *(word for port in ports for word in ("or", "tcp", "port", port)),
    ]
