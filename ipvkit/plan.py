"""From a Lab to a Plan: the order of steps lives here only."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Interface
from typing import cast

from ipvkit import physics
from ipvkit.command import Command, in_netns
from ipvkit.lab import (
    GATEWAY,
    HOST,
    LAN,
    NEIGHBOUR,
    PEERS,
    PING_COUNT,
    PING_INTERVAL_S,
    PING_WAIT_S,
    SWITCH,
    Act,
    Check,
    Endpoint,
    Lab,
    Outcome,
    Phase,
)
from ipvkit.tools import arping, ip, ping, sysctl

REAL_WAIT_S = 1
"""How long the last reply may take on a real network."""

BRIDGE = "br0"
PEER_DEV = "eth0"
COMMANDS = "commands"
NONLOCAL_BIND = "net.ipv4.ip_nonlocal_bind"


@dataclass(frozen=True, slots=True)
class Undo:
    """What takes a step back: a command, whose last word the output of the step `reads` completes.

    `typical` stands for that output where nothing has run yet, in a preview.
    """

    command: Command
    reads: str = ""
    typical: str = ""

    def completed(self, output: str) -> Command:
        """Return the command with what was read put to its last word."""
        *words, last = self.command.argv
        return replace(self.command, argv=(*words, last + output.strip()))


@dataclass(frozen=True, slots=True)
class Probe:
    """A check made ready: what is pinged, what is expected of it and why, or why it is `skipped`."""

    check: Check
    address: IPv4Address | None
    expected: Outcome
    reason: str
    skipped: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """One command with its purpose; it makes the undo of the steps that it `settles` needless."""

    id: str
    purpose: str
    command: Command
    undo: Undo | None = None
    settles: tuple[str, ...] = ()
    probe: Probe | None = None


Stage = tuple[Step, ...]
"""Steps that are independent of each other and run side by side."""


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the plan that reports name: the simulated LAN (`phase` None), or a phase."""

    name: str
    title: str
    phase: Phase | None
    stages: tuple[Stage, ...]
    skipped: tuple[Probe, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that is to happen, in order: sections, their stages, their steps."""

    lab: Lab
    sections: tuple[Section, ...]

    @property
    def stages(self) -> Iterator[Stage]:
        """All stages in order."""
        return (stage for section in self.sections for stage in section.stages)

    @property
    def steps(self) -> Iterator[Step]:
        """All steps in order."""
        return (step for stage in self.stages for step in stage)

    @property
    def undos(self) -> tuple[Step, ...]:
        """The steps whose undo is left when all went well, in the order in which they are undone."""
        settled = {id for step in self.steps for id in step.settles}
        return tuple(s for s in reversed(list(self.steps)) if s.undo is not None and s.id not in settled)

    @property
    def programs(self) -> tuple[str, ...]:
        """The programs that the commands need, sorted."""
        names = {step.command.argv[0] for step in self.steps}
        names |= {s.command.argv[4] for s in self.steps if s.command.argv[:3] == ("ip", "netns", "exec")}
        return tuple(sorted(names))


def make_plan(lab: Lab, *, arping_by: arping.Implementation = "iputils") -> Plan:
    """Return the plan of `lab`: its simulated LAN, if it has one, then its phases.

    Its pings are those of iputils, whose timestamps tell how long a path lived.
    """
    sections = [_lan(lab)] if lab.network.simulated else []
    builder = _PhaseBuilder(lab, arping_by)
    sections += [builder.section(phase) for phase in lab.phases]
    return Plan(lab, tuple(sections))


def on_simulated_lan(lab: Lab, commands: Mapping[str, Command]) -> Plan:
    """Return the plan that runs `commands`, each under its purpose, on the simulated LAN of `lab`."""
    steps = _Steps(COMMANDS)
    for purpose, command in commands.items():
        steps.add(purpose, command)
        steps.end_stage()
    return Plan(lab, (_lan(lab), Section(COMMANDS, "what was asked for", None, tuple(steps.stages))))


class _Steps:
    """Collects the stages of one section and numbers their steps."""

    def __init__(self, section: str) -> None:
        self.section = section
        self.stages: list[Stage] = []
        self._stage: list[Step] = []
        self._count = 0

    def add(
        self,
        purpose: str,
        command: Command,
        *,
        undo: Command | Undo | None = None,
        settles: tuple[str, ...] = (),
        probe: Probe | None = None,
    ) -> str:
        self._count += 1
        id = f"{self.section}.{self._count}"
        if isinstance(undo, Command):
            undo = Undo(undo)
        self._stage.append(Step(id, purpose, command, undo, settles, probe))
        return id

    def end_stage(self) -> None:
        if self._stage:
            self.stages.append(tuple(self._stage))
            self._stage = []


def _lan(lab: Lab) -> Section:
    """Return the steps that build a switch with the lab's host and its peers, as namespaces."""
    network = lab.network
    peers = [(role, a) for role in PEERS if (a := network.peer(role)) is not None]
    steps = _Steps(LAN)
    for name in (SWITCH, *(role for role, _ in peers)):
        steps.add(f"make a namespace for the {name}", ip.netns_add(name), undo=ip.netns_del(name))
    steps.end_stage()
    steps.add("make the switch", ip.at(SWITCH, ip.link_add(BRIDGE, ip.Bridge(), up=True)))
    steps.add(
        f"make the host's {lab.parent}, with its other end at the switch",
        ip.link_add(lab.parent, ip.Veth(HOST, SWITCH), up=True),
        undo=ip.link_delete(lab.parent),
    )
    for role, _ in peers:
        link = ip.link_add(PEER_DEV, ip.Veth(role, SWITCH), up=True)
        steps.add(f"make the {role}'s {PEER_DEV}, with its other end at the switch", ip.at(role, link))
    steps.end_stage()
    for port in (HOST, *(role for role, _ in peers)):
        plug = ip.link_set(port, master=BRIDGE, up=True)
        steps.add(f"plug the {port} into the switch", ip.at(SWITCH, plug))
    host = cast(IPv4Interface, network.host)
    steps.add("give the host its address", ip.addr_add(host, lab.parent))
    for role, address in peers:
        own = IPv4Interface((address, host.network.prefixlen))
        steps.add(f"give the {role} its address", ip.at(role, ip.addr_add(own, PEER_DEV)))
        steps.add(
            f"set the {role}'s loopback up: through it the kernel tells ping that nobody answers",
            ip.at(role, ip.link_set("lo", up=True)),
        )
    steps.end_stage()
    return Section(LAN, "the simulated LAN", None, tuple(steps.stages))


class _PhaseBuilder:
    """Builds the phases one after another, and remembers what the earlier ones left."""

    def __init__(self, lab: Lab, arping_by: arping.Implementation) -> None:
        self.lab = lab
        self.arping_by = arping_by
        self.neighbours = physics.Neighbours()
        self.namespaces: set[str] = set()
        self.out_of_reach: dict[str, str] = {}
        self.nonlocal_bind = False

    def section(self, phase: Phase) -> Section:
        steps = _Steps(phase.name)
        skipped: list[Probe] = []
        endpoints = [self.lab.endpoint(name) for name in phase.endpoints]
        moved = self._build(phase, endpoints, steps)
        for act in phase.acts:
            self._changes(phase, act, steps)
            skipped += self._checks(phase, act, steps)
            self.neighbours = physics.after(phase, self._doable(act), self.neighbours)
        if phase is not self.lab.phases[-1]:
            for endpoint in endpoints:
                delete = in_netns(endpoint.netns, ip.link_delete(endpoint.name))
                settles = (moved[endpoint.name],)
                steps.add(f"take {endpoint.name} away for the next phase", delete, settles=settles)
            steps.end_stage()
        title = f"phase {phase.name}: ipvlan in {phase.mode} mode, flag {phase.flag}"
        return Section(phase.name, title, phase, tuple(steps.stages), tuple(skipped))

    def _build(self, phase: Phase, endpoints: list[Endpoint], steps: _Steps) -> dict[str, str]:
        """Add the steps that make the endpoints; return the ids of those that a deletion settles."""
        lab = self.lab
        for e in endpoints:
            if e.netns not in self.namespaces:
                self.namespaces.add(e.netns)
                steps.add(f"make a namespace for {e.name}", ip.netns_add(e.netns), undo=ip.netns_del(e.netns))
        steps.end_stage()
        made = {}
        # Bridge is what a parent has at first: as short as a person would type it.
        kind = ip.Ipvlan(lab.parent, phase.mode, None if phase.flag == "bridge" else phase.flag)
        for e in endpoints:
            made[e.name] = steps.add(
                f"make {e.name}, an ipvlan link on {lab.parent} in {phase.mode} mode",
                ip.link_add(e.name, kind),
                undo=ip.link_delete(e.name),
            )
        steps.end_stage()
        moved = {}
        for e in endpoints:
            moved[e.name] = steps.add(
                f"move {e.name} into its namespace",
                ip.link_set(e.name, netns=e.netns),
                undo=in_netns(e.netns, ip.link_delete(e.name)),
                settles=(made[e.name],),
            )
        steps.end_stage()
        for e in endpoints:
            steps.add(f"set {e.name} up", in_netns(e.netns, ip.link_set(e.name, up=True)))
        steps.end_stage()
        for e in endpoints:
            for address in e.addresses:
                steps.add(f"give {e.name} its address", in_netns(e.netns, ip.addr_add(address, e.name)))
        steps.end_stage()
        for e in endpoints:
            steps.add(
                f"give {e.name} its default route", in_netns(e.netns, ip.route_add(ip.RouteTo(dev=e.name)))
            )
        steps.end_stage()
        return moved

    def _doable(self, act: Act) -> Act:
        """Return `act` without what would have to be done on somebody else's machine."""
        if self.lab.network.simulated:
            return act
        checks = tuple(check for check in act.checks if not self._why_skipped(check))
        return replace(act, checks=checks, fast_ageing=(), flush=())

    def _changes(self, phase: Phase, act: Act, steps: _Steps) -> None:
        reading = ""
        if act.announce and not self.nonlocal_bind:
            reading = steps.add(f"remember the host's {NONLOCAL_BIND}", sysctl.get_value(NONLOCAL_BIND))
        if not self.lab.network.simulated:
            for role in act.fast_ageing:
                self.out_of_reach[role] = f"the {role} would have to age its entries faster"
            for role in act.flush:
                self.out_of_reach[role] = f"the {role}'s neighbour table would have to be emptied"
        doable = self._doable(act)
        for role in doable.fast_ageing:
            fast = sysctl.set_values(_timers(physics.FAST_TIMERS))
            steps.add(f"make the {role} age its neighbour entries within seconds", in_netns(role, fast))
        for role in doable.flush:
            steps.add(f"make the {role} forget its neighbours", in_netns(role, ip.neigh_flush(PEER_DEV)))
        steps.end_stage()
        if reading:
            self.nonlocal_bind = True
            steps.add(
                "let arping send from an address that is not the host's own: without this it says "
                "`bind: Cannot assign requested address`",
                sysctl.set_values({NONLOCAL_BIND: 1}),
                undo=Undo(Command(("sysctl", "-w", f"{NONLOCAL_BIND}=")), reads=reading, typical="0"),
            )
            steps.end_stage()
        for name in act.announce:
            for address in self.lab.endpoint(name).addresses:
                steps.add(
                    f"announce {name}'s address from the host, since {name} cannot in {phase.mode}",
                    arping.announce(address.ip, self.lab.parent, by=self.arping_by),
                )
        steps.end_stage()

    def _checks(self, phase: Phase, act: Act, steps: _Steps) -> list[Probe]:
        skipped = []
        for check in act.checks:
            address = self.lab.address_of(check.destination)
            predicted = physics.predict(phase, check, self.neighbours)
            reason = predicted.reason
            if check.expect is not None and check.expect != predicted.outcome:
                because = f" ({check.why})" if check.why else ""
                reason = f"the lab expects this{because}; physics says {predicted.outcome}: {reason}"
            why = self._why_skipped(check)
            probe = Probe(check, address, check.expect or predicted.outcome, reason, why)
            if why or address is None:
                skipped.append(probe)
                continue
            if check.watch is None:
                wait = PING_WAIT_S if self.lab.network.simulated else REAL_WAIT_S
                command = ping.ping(address, count=PING_COUNT, interval=PING_INTERVAL_S, wait=wait)
            else:
                command = ping.ping_until_lost(address, interval=PING_INTERVAL_S, deadline=check.watch)
            until = "" if check.watch is None else f", until it is lost or for {check.watch} s"
            steps.add(f"ping {check}{until}", in_netns(self._netns(check.source), command), probe=probe)
        steps.end_stage()
        return skipped

    def _why_skipped(self, check: Check) -> str:
        if self.lab.network.simulated:
            return ""
        if check.source in PEERS:
            target = self.lab.address_of(check.destination)
            return f"the {check.source} is another machine; there, type: ping {target}"
        for role in (check.source, check.destination):
            if role in self.out_of_reach:
                return f"{self.out_of_reach[role]}, and that is another machine"
        if self.lab.address_of(check.destination) is None:
            return f"the address of the {check.destination} is not known"
        return ""

    def _netns(self, role: str) -> str | None:
        if role == HOST:
            return None
        return role if role in (GATEWAY, NEIGHBOUR) else self.lab.endpoint(role).netns


def _timers(timers: physics.Timers) -> dict[str, int]:
    prefix = f"net.ipv4.neigh.{PEER_DEV}"
    return {
        f"{prefix}.base_reachable_time_ms": 1000,
        f"{prefix}.delay_first_probe_time": timers.delay_first_probe_s,
        f"{prefix}.ucast_solicit": timers.probes,
        f"{prefix}.retrans_time_ms": timers.retrans_ms,
    }
