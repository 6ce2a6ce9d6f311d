"""What happens in a phase, as steps: changes, tries and checks."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from itertools import chain

from ipvkit import strategies
from ipvkit.core.command import Command, in_netns
from ipvkit.core.values import Address
from ipvkit.lab import (
    CONNECT_S,
    LISTEN_S,
    PING_INTERVAL_S,
    PING_WAIT_S,
    SWITCH,
    Act,
    Check,
    Endpoint,
    Lab,
    Phase,
    Place,
    parts,
    the,
)
from ipvkit.lab.sysctls import Sysctl
from ipvkit.plan import endpoints
from ipvkit.plan.endpoints import Done, read_sysctls, set_sysctls
from ipvkit.plan.lan import give
from ipvkit.plan.resources import Link
from ipvkit.plan.steps import Steps, Undo
from ipvkit.predict.neighbours import FAST_TIMERS
from ipvkit.predict.predictions import announcements, lasts_s
from ipvkit.predict.whole import PredictedAct, Probe
from ipvkit.strategies import Addition
from ipvkit.strategies.announce import ALLOW
from ipvkit.tools import arping, coreutils, ip, ping, socat, ss, sysctl, tc

FAST_VALUES = {
    "delay_first_probe_time": FAST_TIMERS.delay_first_probe_s,
    "ucast_solicit": FAST_TIMERS.probes,
    "retrans_time_ms": FAST_TIMERS.retrans_ms,
}
"""The sysctls of `FAST_TIMERS`, by the end of their names."""


@dataclass(slots=True)
class Acts:
    """Adds the steps of the acts of a phase of `lab`, in which endpoints may move.

    In their namespaces on the machines that are in `there` endpoints have been in this phase or before.
    """

    lab: Lab
    phase: Phase
    arping_by: arping.Implementation
    steps: Steps
    sysctls: Done
    """Those that are set already, also by earlier phases, with their machines."""
    links: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """The steps that tried to create a link, by its name."""
    there: set[Place] = field(default_factory=set)
    added_on: dict[str, str] = field(default_factory=dict)
    """The hosts where a link was tried, by its name."""
    down: set[str] = field(default_factory=set)
    """The hosts that are down."""

    def add(self, predicted: PredictedAct) -> list[Probe]:
        """Add the steps of an act; return the probes that are skipped."""
        self._change(predicted)
        for probe in predicted.probes:
            if not isinstance(probe.check, Check):
                self._try(probe, probe.check.change)
        return self._check(predicted.probes)

    def _on(self, role: str) -> AbstractContextManager[None]:
        """Let steps run on the machine of `role`."""
        return self.steps.at(self.lab.machine_of(role))

    def _change(self, predicted: PredictedAct) -> None:
        act, steps = predicted.act, self.steps
        if act.move:
            self._move(act.move)
        read = self._read_announcing(act.announce)
        for role in act.fast_ageing:
            fast = sysctl.set_values(self._fast_timers(role))
            with self._on(role):
                steps.add(f"shorten {the(role)}'s ARP timers", in_netns(self.lab.netns(role), fast))
        for role in act.flush:
            for netns, dev in self.lab.links_of(role):
                endpoint = self.lab.is_endpoint(role)
                table = f"the neighbour table of {role}" if endpoint else f"{the(role)}'s neighbour table"
                flush = ip.neigh_flush(dev)
                with self._on(role):
                    steps.add(f"flush {table}", ip.at(netns, flush) if netns else flush)
        with self._on(SWITCH):
            self._change_switch(act, filtered=predicted.filtered)
            for host in act.down:
                self._take_down(host)
        if act.wait is not None:
            steps.add(f"wait {act.wait} s", coreutils.sleep(act.wait))
        for one in act.sysctls:
            with self._on(one.node):
                self._set(one)
        self._allow(read)
        for name in act.announce:
            # arping waits a second between two, and the simulated LAN loses none.
            self._announce(self.lab.endpoint(name), 1 if self.lab.simulated else 2)
        steps.end_stage()

    def _move(self, moves: Sequence[tuple[str, str]]) -> None:
        """Move endpoints to other hosts; those that are there already stay."""
        moved = self.lab.moved(self.lab.parents_after(moves), self.phase)
        names = [name for name, _ in moves if moved.host_of(name) != self.lab.host_of(name)]
        endpoints.move(self.lab, self.phase, self.steps, moved, names, self.there)
        self.lab = moved

    def _read_announcing(self, endpoints: Iterable[str]) -> dict[str, list[tuple[Addition, Undo]]]:
        """Read what lets the hosts of `endpoints` announce them, which is set back at the end of the run."""
        found = {}
        for host in dict.fromkeys(map(self.lab.host_of, endpoints)):
            with self._on(host):
                found[host] = read_sysctls([ALLOW], self.steps, self.sysctls)
        return found

    def _allow(self, read: Mapping[str, list[tuple[Addition, Undo]]]) -> None:
        """Set what was read on each host."""
        self.steps.end_stage()
        for host, found in read.items():
            with self._on(host):
                set_sysctls(found, self.steps)

    def _change_switch(self, act: Act, *, filtered: bool) -> None:
        if act.hairpin is None and act.port_security is None:
            return
        ports = {host: [port for _, port in self.lab.host_ports(host)] for host in self.lab.hosts}
        for port in chain(*ports.values()) if act.hairpin is not None else ():
            what = "send frames back to their port" if act.hairpin else "send no frames back"
            self.steps.add(f"let the switch {what}", ip.at(SWITCH, ip.link_set(port, hairpin=act.hairpin)))
        for host in self.lab.hosts if act.port_security is not None else ():
            roles = self.lab.allowed_at(host, act.port_security or ())
            self._secure(host, ports[host], roles, filtered=filtered)

    def _take_down(self, host: str) -> None:
        """Let the switch pass nothing to or from a host until the phase ends."""
        self.down.add(host)
        for _, port in self.lab.host_ports(host):
            off, on = (ip.at(SWITCH, ip.link_set(port, forwarding=each)) for each in (False, True))
            self.steps.add(f"take {host} down: its port at the switch passes nothing", off)
            self.steps.at_end(f"bring {host}'s port up again", on)

    def _set(self, one: Sysctl) -> None:
        """Set a sysctl; a host's gets its former value back at the end of the run."""
        what, command = f"set {one}", sysctl.set_values({one.key: one.value})
        first: list[tuple[Addition, Undo]] = []
        if self.lab.is_host(one.node):
            addition = Addition(what, command, strategies.Sysctl(one.key, one.value))
            first = read_sysctls([addition], self.steps, self.sysctls)
            set_sysctls(first, self.steps)
        if not first:
            self.steps.add(what, in_netns(self.lab.netns(one.node), command))

    def _fast_timers(self, role: str) -> dict[str, int]:
        timers = {"base_reachable_time_ms": 1000, **FAST_VALUES}
        lab = self.lab
        if lab.is_host(role):
            # Without an address it still asks for what l3 endpoints send.
            own = lab.parents_on(role)
            links = [(parent.dev, [subnet.version for subnet in parent.subnets]) for parent in own]
        else:
            links = [(lab.dev_of(one), [peer.version for peer in one.peer(role)]) for one in lab.networks]
        return {
            sysctl.interface_key(f"ipv{version}", "neigh", dev, name): value
            for dev, versions in links
            for version in sorted({*versions})
            for name, value in timers.items()
        }

    def _announce(self, e: Endpoint, count: int) -> None:
        mode, parent = self.phase.on(e.parent).mode, self.lab.parent_called(e.parent).dev
        why = "" if mode == "l2" else f": in {mode} {e.name} sends no ARP"
        for own in e.addresses:
            if own.version == 4:
                command = arping.announce(own.ip, parent, count=count, by=self.arping_by)
                with self._on(e.name):
                    host = the(self.lab.host_of(e.name))
                    self.steps.add(f"announce {e.name}'s address from {host}{why}", command)

    def _secure(self, host: str, ports: list[str], roles: Sequence[str], *, filtered: bool) -> None:
        """Let the switch drop IPv4 at the ports of `host` if the source is not an address of `roles`."""
        steps, at = self.steps, f"at {the(host)}'s port"
        if filtered:
            remove = f"remove the filters {at}"
            steps.add_stage((remove, in_netns(SWITCH, tc.qdisc("del", port))) for port in ports)
        prepare = f"prepare filters {at}"
        steps.add_stage((prepare, in_netns(SWITCH, tc.qdisc("add", port))) for port in ports)
        for port in ports:
            for address in self.lab.sources(roles):
                if address.version == 4:
                    what = f"accept packets from {address} {at}"
                    steps.add(what, in_netns(SWITCH, tc.filter_pass(port, address)))
            drop = in_netns(SWITCH, tc.filter_drop(port))
            steps.add("drop all other IPv4 there, as the port security of a cloud does", drop)
        steps.end_stage()

    def _try(self, probe: Probe, change: parts.Change) -> None:
        # 1: the link does not exist, 2: the kernel refuses (iproute2's main()).
        ok = (0, 1) if isinstance(change, parts.DeleteLink) else (0, 2)
        undo = None
        if isinstance(change, parts.AddLink):
            undo = Undo(Link(change.name, change.kind), f"delete {change.name}")
        undone = self.links.pop(change.name, ()) if isinstance(change, parts.DeleteLink) else ()
        what, command = f"try to {change}", replace(self._command_of(change), ok=ok)
        with self._on(self._changed_at(change)):
            id = self.steps.add(what, command, undo=undo, cancels_undo_of=undone, probe=probe)
        if isinstance(change, parts.AddLink):
            self.links[change.name] = (*self.links.get(change.name, ()), id)
            self.added_on[change.name] = self._changed_at(change)
        self.steps.end_stage()

    def _changed_at(self, change: parts.Change) -> str:
        """Return the endpoint or the host where a change is tried."""
        match change:
            case parts.AddAddress(endpoint=name) | parts.SetMode(endpoint=name) | parts.SetMtu(link=name):
                return name if self.lab.is_endpoint(name) else self.lab.parent_called(name).on
            case parts.AddLink(parent=parent):
                return next((p.on for p in self.lab.parents if p.name == parent), self.lab.hosts[0])
            case parts.DeleteLink(name):
                return self.added_on.get(name, self.lab.hosts[0])

    def _command_of(self, change: parts.Change) -> Command:
        devs = {parent.name: parent.dev for parent in self.lab.parents}
        match change:
            case parts.AddAddress(address, name):
                e = self.lab.endpoint(name)
                return in_netns(e.netns, give(address, e.dev))
            case parts.AddLink(name, "macvlan", parent):
                return ip.link_add(name, ip.Macvlan(devs.get(parent, parent)))
            case parts.AddLink(name, "ipvtap", parent, mode, flag):
                return ip.link_add(name, ip.Ipvtap(devs.get(parent, parent), mode, flag))
            case parts.AddLink(name, _, parent, mode, flag):
                return ip.link_add(name, ip.Ipvlan(devs.get(parent, parent), mode, flag))
            case parts.DeleteLink(name):
                return ip.link_delete(name)
            case parts.SetMode(name, mode):
                e = self.lab.endpoint(name)
                tap = self.phase.on(e.parent).kind == "ipvtap"
                return in_netns(e.netns, ip.link_set(e.dev, mode=mode, tap=tap))
            case parts.SetMtu(name, mtu):
                own = self.lab.links_of(name) if self.lab.is_endpoint(name) else [(None, devs[name])]
                [(netns, dev)] = own
                return in_netns(netns, ip.link_set(dev, mtu=mtu))

    def delete_links(self) -> None:
        """Delete what tries created and no try deleted; one that was refused created nothing."""
        for name, tried in sorted(self.links.items()):
            delete = replace(ip.link_delete(name), ok=(0, 1))
            with self._on(self.added_on[name]):
                self.steps.add(f"delete {name}, if it exists", delete, cancels_undo_of=tried)
        self.steps.end_stage()

    def _check(self, probes: Sequence[Probe]) -> list[Probe]:
        """Add a ping or connection for each check that is not skipped; return the probes of the others."""
        self._keep_announcing([p.check for p in probes if isinstance(p.check, Check) and not p.skipped])
        self._listen(probes)
        for p in probes:
            if isinstance(check := p.check, Check) and p.address is not None and not p.skipped:
                watch = "" if check.watch is None else f" until the path is lost, at most {check.watch} s"
                what = "ping" if check.tcp is None else "connect"
                with self._on(check.source):
                    self.steps.add(f"{what} {check}{watch}", self._command(check, p.address), probe=p)
        self.steps.end_stage()
        return [p for p in probes if isinstance(p.check, Check) and p.skipped]

    def _listen(self, probes: Sequence[Probe]) -> None:
        """Add the TCP servers that the checks need, each once."""
        checks = [(p.check, p.address) for p in probes if isinstance(p.check, Check) and not p.skipped]
        wanted = [(c.destination, address, c.tcp) for c, address in checks if c.listen]
        for role, address, port in dict.fromkeys(wanted):
            if address is not None and port is not None:
                netns = self.lab.netns(role)
                server = socat.listen(address, port, timeout_s=listens_s(self.lab))
                command, ready = (in_netns(netns, c) for c in (server, ss.listening(address, port)))
                with self._on(role):
                    self.steps.add(f"listen at {role} on tcp {port} for the checks", command, ready=ready)

    def _command(self, check: Check, address: Address) -> Command:
        if check.tcp is None:
            return self._ping(check, address)
        return in_netns(self.lab.netns(check.source), socat.connect(address, check.tcp, timeout_s=CONNECT_S))

    def _ping(self, check: Check, address: Address) -> Command:
        if check.watch is not None:
            command = ping.ping_until_lost(address, interval=PING_INTERVAL_S, deadline=check.watch)
        else:
            wait, interval, size = wait_s(self.lab), PING_INTERVAL_S, check.size
            command = ping.ping(
                address, count=check.count, interval=interval, wait=wait, size=size, whole=size is not None
            )
        # 1: no reply, 2: no route; other errors with 2 print no counts, and so give no verdict.
        return replace(in_netns(self.lab.netns(check.source), command), ok=(0, 1, 2))

    def _keep_announcing(self, checks: list[Check]) -> None:
        """Announce, as long as `checks` ping, the endpoints with a strategy that announces."""
        names = {role for check in checks for role in (check.source, check.destination)}
        numbers = self.phase.numbers
        pinged = map(self.lab.endpoint, sorted(names & numbers.keys(), key=lambda name: numbers[name]))
        there = (e for e in pinged if self.lab.host_of(e.name) not in self.down)
        by_ipv4 = [e for e in there if any(own.version == 4 for own in e.addresses)]
        found = [e for e in by_ipv4 if any(h.announces for h in self.phase.on(e.parent).helpers)]
        if not found:
            return
        self._allow(self._read_announcing(e.name for e in found))
        count = announcements(max(map(lasts_s, checks)))
        for e in found:
            self._announce(e, count)


def wait_s(lab: Lab) -> float:
    """Return how long ping waits for the last reply, in seconds."""
    return PING_WAIT_S if lab.simulated else 1


def listens_s(lab: Lab) -> int:
    """Return how long a server waits for the next connection, in seconds: a fleet may be slow."""
    return LISTEN_S if lab.simulated else 10 * LISTEN_S
