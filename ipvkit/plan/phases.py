"""The phases of a lab: endpoints made and taken away, and what happens in between."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain

from ipvkit import predict
from ipvkit.core.command import Command, in_netns
from ipvkit.core.values import Address
from ipvkit.lab import (
    AT_ONCE,
    HOST,
    HOSTS_BRIDGE,
    PEERS,
    PING_INTERVAL_S,
    PING_WAIT_S,
    PORT,
    SWITCH,
    Act,
    AddAddress,
    AddLink,
    Attempt,
    Change,
    Check,
    DeleteLink,
    Endpoint,
    Lab,
    Parent,
    Phase,
    SetMode,
    SetMtu,
    Setting,
    single,
)
from ipvkit.plan.lan import default_route, give
from ipvkit.plan.resources import Link, Netns, Proxy, Route, Sysctl
from ipvkit.plan.steps import Probe, Section, Steps, Undo
from ipvkit.tools import arping, coreutils, ip, ping, sysctl, tc

REAL_WAIT_S = 1
"""How long the last reply may take on a real network."""

NONLOCAL_BIND = "net.ipv4.ip_nonlocal_bind"
_PING_OK = (0, 1, 2)
"""Nobody replied is 1, no route is 2; whatever else is 2 prints no counts, and so no verdict."""

_TRY_OK = (0, 2)
"""The kernel's no is 2 (iproute2's main()); that there is no such link is 1."""

_ANOTHER_MACHINE = "and that is another machine"


class PhaseBuilder:
    """Builds the phases one after another, and remembers what the earlier ones left."""

    def __init__(self, lab: Lab, arping_by: arping.Implementation) -> None:
        """Begin with nothing built."""
        self.lab = lab
        self.arping_by = arping_by
        self.state = predict.State()
        self.namespaces: set[str] = set()
        self.out_of_reach: dict[str, str] = {}
        self.sysctls: set[str] = set()
        self.added: dict[str, tuple[str, ...]] = {}
        self.former: Phase | None = None

    def section(self, phase: Phase) -> Section:
        """Return the steps of the next phase."""
        steps = Steps(phase.name)
        skipped: list[Probe] = []
        made = _Made(steps)
        self.world = predict.world_of(self.lab, phase, self.state)
        self._forget(phase, steps)
        self._build(phase, steps, made)
        self._strategies(phase, steps, made)
        for act in chain.from_iterable(map(self._parts, phase.acts)):
            self._changes(phase, act, steps)
            skipped += self._checks(phase, act, steps)
            self.world = predict.after(self.world, self._doable(act))
        self.state = predict.next_phase(self.lab, self.world.state)
        if phase is not self.lab.phases[-1]:
            self._take_links_away(phase, steps)
            made.take_away()
        self.former = phase
        return Section(phase.name, self._title(phase), phase, tuple(steps.stages), tuple(skipped))

    def _title(self, phase: Phase) -> str:
        others = "".join(f"; on {name} {setting}" for name, setting in phase.others)
        return f"phase {phase.name}: {phase.setting}{others}"

    # --- endpoints -------------------------------------------------------------------------------------

    def _forget(self, phase: Phase, steps: Steps) -> None:
        """Have the peers forget MAC addresses that are no longer those of the endpoints."""
        former = self.former
        if former is None or not self.lab.simulated:
            return
        for parent in self.lab.parents:
            if former.on(parent.name).kind != phase.on(parent.name).kind:
                for role in (role for role in PEERS if parent.peer(role)):
                    flush = in_netns(role, ip.neigh_flush(self.lab.dev_of(parent)))
                    steps.add(f"make the {role} forget the MAC addresses of another kind of link", flush)
                    self.world = predict.after(self.world, Act(flush=(role,)))
        steps.end_stage()

    def _build(self, phase: Phase, steps: Steps, made: "_Made") -> None:
        """Add the steps that make the endpoints."""
        endpoints = self.lab.endpoints_of(phase)
        for e in endpoints:
            if e.netns not in self.namespaces:
                self.namespaces.add(e.netns)
                undo = Netns(e.netns, (e.name,))
                steps.add(f"make a namespace for {e.name}", ip.netns_add(e.netns), undo=undo)
        steps.end_stage()
        for parent in self.lab.parents:
            if phase.on(parent.name).kind == "veth" and self.lab.endpoints_of(phase, parent):
                self._put_bridge(parent, steps, made)
        on_parent = [e for e in endpoints if phase.on(e.parent).kind != "veth"]
        if self.lab.in_batches:
            self._make_in_place(phase, on_parent, steps, made)
        else:
            self._make_and_move(phase, on_parent, steps, made)
        self._make_veths(phase, steps, made)
        made.end_stage()
        for e in (e for e in endpoints if e.mtu is not None):
            steps.add(f"set {e.name}'s mtu", in_netns(e.netns, ip.link_set(e.name, mtu=e.mtu)))
        steps.end_stage()
        for e in endpoints:
            steps.add(f"set {e.name} up", in_netns(e.netns, ip.link_set(e.name, up=True)))
        steps.end_stage()
        for e in endpoints:
            for address in e.addresses:
                steps.add(f"give {e.name} its address", in_netns(e.netns, give(address, e.name)))
        steps.end_stage()
        self._give_routes(phase, endpoints, steps)

    def _make_in_place(self, phase: Phase, endpoints: list[Endpoint], steps: Steps, made: "_Made") -> None:
        """Make links in their namespaces, with which they go at the end."""
        for e in endpoints:
            what, kind = _kind_of(phase.on(e.parent), e)
            steps.add(what, ip.link_add(e.name, kind, netns=e.netns))
            made.note_gone(
                f"take {e.name} away for the next phase", in_netns(e.netns, ip.link_delete(e.name))
            )

    def _make_and_move(self, phase: Phase, endpoints: list[Endpoint], steps: Steps, made: "_Made") -> None:
        """Make links in the host's namespace, and move them into theirs."""
        ids = {}
        for e in endpoints:
            what, kind = _kind_of(phase.on(e.parent), e)
            link = Link(e.name, phase.on(e.parent).kind)
            ids[e.name] = steps.add(what, ip.link_add(e.name, kind), undo=link)
        steps.end_stage()
        for e in endpoints:
            id = steps.add(
                f"move {e.name} into its namespace",
                ip.link_set(e.name, netns=e.netns),
                undo=Link(e.name, phase.on(e.parent).kind, e.netns),
                cancels_undo_of=(ids[e.name],),
            )
            made.note(f"take {e.name} away for the next phase", id)

    def _give_routes(self, phase: Phase, endpoints: list[Endpoint], steps: Steps) -> None:
        default = [
            (e, family, route)
            for e in endpoints
            for family, route in self.lab.default_routes(phase.on(e.parent), e)
        ]
        for e, family, route in default:
            if route.to is None:
                add = default_route(e.name, route.via, ipv6=family == "ipv6")
                steps.add(f"give {e.name} its default route", in_netns(e.netns, add))
            else:
                add = ip.route_add(ip.RouteTo(route.to, route.via, e.name))
                steps.add(f"give {e.name} a route to {route.to}", in_netns(e.netns, add))
        steps.end_stage()

    def _put_bridge(self, parent: Parent, steps: Steps, made: "_Made") -> None:
        """Put a bridge over `parent`, with the parent's addresses, as veth endpoints need it."""
        for gateway in parent.gateways if self.lab.routed else ():
            to = ip.RouteTo(via=gateway, dev=parent.name, metric=self.lab.metric_of(parent))
            id = steps.add(
                f"take the host's default route from {parent.name}",
                ip.route_del(to),
                undo=ip.route_add(to),
            )
            made.note(f"give the host its default route by {parent.name} back", id)
        made.end_stage()
        bridge = ip.link_add(HOSTS_BRIDGE, ip.Bridge(), up=True)
        id = steps.add("make the host's bridge", bridge, undo=ip.link_delete(HOSTS_BRIDGE))
        made.note("take the host's bridge away", id)
        made.end_stage()
        for own in parent.host:
            id = steps.add(
                f"take the host's address from {parent.name}",
                ip.addr_del(own, parent.name),
                undo=give(own, parent.name),
            )
            made.note(f"give {parent.name} its address back", id)
        made.end_stage()
        for own in parent.host:
            steps.add(f"give it to {HOSTS_BRIDGE}", give(own, HOSTS_BRIDGE))
        steps.add(f"make {parent.name} a port of it", ip.link_set(parent.name, master=HOSTS_BRIDGE))
        steps.end_stage()
        if self.lab.routed:
            for gateway in parent.gateways:
                to = ip.RouteTo(via=gateway, dev=HOSTS_BRIDGE, metric=self.lab.metric_of(parent))
                steps.add("give the host its default route again", ip.route_add(to))
            steps.end_stage()

    def _make_veths(self, phase: Phase, steps: Steps, made: "_Made") -> None:
        for i, e in enumerate(self.lab.endpoints_of(phase)):
            if phase.on(e.parent).kind == "veth":
                port = f"{PORT}{i}"
                pair = ip.link_add(port, ip.Veth(e.name, e.netns), up=True)
                id = steps.add(f"make {e.name}, a veth link, and its port", pair, undo=ip.link_delete(port))
                made.note(f"take {e.name} away for the next phase", id)
        steps.end_stage()
        for i, e in enumerate(self.lab.endpoints_of(phase)):
            if phase.on(e.parent).kind == "veth":
                plug = ip.link_set(f"{PORT}{i}", master=HOSTS_BRIDGE)
                steps.add(f"plug {e.name}'s port into the host's bridge", plug)

    def _take_links_away(self, phase: Phase, steps: Steps) -> None:
        """Delete what attempts made and no attempt deleted; an attempt that was refused made nothing."""
        names = {c.name for act in phase.acts for t in act.attempts if isinstance(c := t.change, AddLink)}
        for name in sorted(names & set(self.added)):
            delete = replace(ip.link_delete(name), ok=(0, 1))
            steps.add(f"take {name} away, if it is there", delete, cancels_undo_of=self.added.pop(name))
        steps.end_stage()

    # --- strategies ------------------------------------------------------------------------------------

    def _strategies(self, phase: Phase, steps: Steps, made: "_Made") -> None:
        for i, parent in enumerate(self.lab.parents):
            setting, endpoints = phase.on(parent.name), self.lab.endpoints_of(phase, parent)
            if not endpoints:
                continue
            match setting.strategy:
                case "routed":
                    self._route_to(parent, endpoints, steps, made)
                case "static-neigh":
                    self._enter(parent, endpoints, steps, made)
                case "l3s-proxy":
                    self._answer_for(parent, endpoints, steps, made)
                case "none" | "announce":
                    pass
            if setting.host_shim:
                self._put_shim(i, setting, endpoints, steps, made)
        made.end_stage()

    def _peers(self, parent: Parent, why: str) -> list[str]:
        """Return the peers that are ours to change; of the others remember `why` they are out of reach."""
        if self.lab.simulated:
            return [role for role in PEERS if parent.peer(role)]
        self.out_of_reach |= {role: f"the {role} {why}" for role in PEERS}
        return []

    def _route_to(self, parent: Parent, endpoints: list[Endpoint], steps: Steps, made: "_Made") -> None:
        own = [address for e in endpoints for address in e.addresses]
        subnets = sorted({address.network for address in own}, key=str)
        for role in self._peers(parent, f"would need routes to {', '.join(map(str, subnets))} by this host"):
            families = {peer.version for peer in parent.peer(role)}
            for subnet in subnets:
                via = next((host.ip for host in parent.host if host.version == subnet.version), None)
                if via is None or subnet.version not in families:
                    continue
                to = ip.RouteTo(subnet, via, self.lab.dev_of(parent))
                purpose = f"give the {role} a route to the endpoints' {subnet}, by the host"
                undo = ip.at(role, ip.route_del(to))
                made.note(
                    f"take it from the {role}", steps.add(purpose, ip.at(role, ip.route_add(to)), undo=undo)
                )
        steps.end_stage()

    def _enter(self, parent: Parent, endpoints: list[Endpoint], steps: Steps, made: "_Made") -> None:
        lladdr, dev = self.lab.mac_of(parent) or "", self.lab.dev_of(parent) if self.lab.simulated else ""
        for role in self._peers(parent, "would need permanent neighbour entries"):
            families = {peer.version for peer in parent.peer(role)}
            for e in endpoints:
                for own in (own for own in e.addresses if own.version in families):
                    id = steps.add(
                        f"give the {role} a permanent neighbour entry for {e.name}",
                        ip.at(role, ip.neigh_replace(own.ip, lladdr, dev)),
                        undo=ip.at(role, ip.neigh_del(own.ip, dev)),
                    )
                    made.note(f"take it from the {role}", id)
        steps.end_stage()

    def _answer_for(self, parent: Parent, endpoints: list[Endpoint], steps: Steps, made: "_Made") -> None:
        """Have the host answer for the endpoints: it forwards, has proxy entries, and routes to match."""
        dev, own = parent.name, [(e, address) for e in endpoints for address in e.addresses]
        versions = {address.version for _, address in own}
        values: dict[str, int] = {}
        if 4 in versions:
            values |= {sysctl.interface_key("ipv4", "conf", dev, "forwarding"): 1}
            values |= {sysctl.interface_key("ipv4", "neigh", dev, "proxy_delay"): 0}
        if 6 in versions:
            values |= {sysctl.interface_key("ipv6", "conf", dev, "forwarding"): 1}
            values |= {sysctl.interface_key("ipv6", "conf", dev, "proxy_ndp"): 1}
            values |= {sysctl.interface_key("ipv6", "neigh", dev, "proxy_delay"): 0}
        why = "let the host answer for its endpoints, at once, and take in what is for them"
        reading = self._remember(values, steps)
        steps.end_stage()
        self._set_sysctls(values, reading, why, steps)
        for e, address in own:
            proxy = steps.add(
                f"have the host answer for {e.name}",
                ip.neigh_add_proxy(address.ip, dev),
                undo=Proxy(address.ip, dev),
            )
            made.note(f"answer for {e.name} no more", proxy)
            if address.version == 4:
                to = ip.RouteTo(single(address.ip).network, dev="lo")
                route = steps.add(
                    f"give the host a route for {e.name}, away from {dev}: without one it answers no ARP",
                    ip.route_add(to),
                    undo=Route(single(address.ip).network, "lo"),
                )
                made.note(f"take the route for {e.name} away", route)
        steps.end_stage()

    def _remember(self, keys: Iterable[str], steps: Steps) -> dict[str, str]:
        """Add the steps that read sysctls that the lab has not set yet; return the steps' ids."""
        new = [key for key in keys if key not in self.sysctls]
        self.sysctls |= set(new)
        return {key: steps.add(f"remember the host's {key}", sysctl.get_value(key)) for key in new}

    def _set_sysctls(
        self, values: Mapping[str, int], reading: Mapping[str, str], why: str, steps: Steps
    ) -> None:
        """Set those of the host's sysctls that were read; each goes back to that value at the end."""
        for key, id in reading.items():
            typical = "1" if values[key] == 0 else "0"
            effect = Sysctl(key, values[key])
            undo = Undo(effect.undo, effect, reads=id, typical=typical)
            steps.add(why, sysctl.set_values({key: values[key]}), undo=undo)
        steps.end_stage()

    def _put_shim(
        self, position: int, setting: Setting, endpoints: list[Endpoint], steps: Steps, made: "_Made"
    ) -> None:
        """Give the host an ipvlan link of its own, a sibling of the endpoints."""
        parent = self.lab.parents[position]
        dev = self.lab.shim_on(parent)
        flag = None if setting.flag == "bridge" else setting.flag
        id = steps.add(
            f"make {dev}, the host's own ipvlan link on {parent.name}",
            ip.link_add(dev, ip.Ipvlan(parent.name, setting.mode, flag)),
            undo=Link(dev, "ipvlan"),
        )
        made.note(f"take {dev} away", id)
        steps.end_stage()
        steps.add(f"set {dev} up", ip.link_set(dev, up=True))
        for own in self.lab.shim_addresses(setting, parent):
            steps.add(f"give {dev} an address to ask from", give(own, dev))
        steps.end_stage()
        for e in endpoints:
            for address in e.addresses:
                to = ip.RouteTo(single(address.ip).network, dev=dev)
                steps.add(f"send what is for {e.name} through it", ip.route_add(to))
        steps.end_stage()

    # --- acts ------------------------------------------------------------------------------------------

    def _parts(self, act: Act) -> Iterator[Act]:
        """Yield `act`, in as many parts as it takes for no more pings to go on at once than may."""
        most = self.lab.at_once or AT_ONCE
        yield replace(act, checks=act.checks[:most])
        for i in range(most, len(act.checks), most):
            yield Act(checks=act.checks[i : i + most])

    def _doable(self, act: Act) -> Act:
        """Return `act` without what would have to be done on somebody else's machine."""
        if self.lab.simulated:
            return act
        checks = tuple(check for check in act.checks if not self._why_skipped(check))
        flush = tuple(role for role in act.flush if self.lab.is_endpoint(role))
        return replace(act, checks=checks, fast_ageing=(), flush=flush, hairpin=None, port_security=None)

    def _changes(self, phase: Phase, act: Act, steps: Steps) -> None:
        if not self.lab.simulated:
            for role in act.fast_ageing:
                self.out_of_reach[role] = f"the {role} would have to age its entries faster"
            for role in (role for role in act.flush if role in PEERS):
                self.out_of_reach[role] = f"the {role}'s neighbour table would have to be emptied"
            if act.hairpin is not None or act.port_security is not None:
                self.out_of_reach[SWITCH] = "the switch would have to be set otherwise"
        doable = self._doable(act)
        reading = self._remember([NONLOCAL_BIND], steps) if act.announce else {}
        for role in doable.fast_ageing:
            fast = sysctl.set_values(self._fast_timers(role))
            steps.add(f"make the {role} age its neighbour entries within seconds", in_netns(role, fast))
        for role in doable.flush:
            for netns, dev in self.lab.links_of(role):
                whose = role if self.lab.is_endpoint(role) else f"the {role}"
                flush = ip.neigh_flush(dev)
                steps.add(f"make {whose} forget its neighbours", ip.at(netns, flush) if netns else flush)
        self._set_switch(doable, steps)
        if act.wait is not None:
            steps.add(f"wait {act.wait} s", coreutils.sleep(act.wait))
        steps.end_stage()
        self._let_announce(reading, steps)
        for name in act.announce:
            self._announce(phase, self.lab.endpoint(name), steps)
        steps.end_stage()
        self._attempts(act, steps)

    def _let_announce(self, reading: Mapping[str, str], steps: Steps) -> None:
        why = (
            "let arping send from an address that is not the host's own: without this it says "
            "`bind: Cannot assign requested address`"
        )
        self._set_sysctls({NONLOCAL_BIND: 1}, reading, why, steps)

    def _announce(self, phase: Phase, e: Endpoint, steps: Steps, count: int = 2) -> None:
        setting = phase.on(e.parent)
        for address in e.addresses:
            if address.version == 4:
                steps.add(
                    f"announce {e.name}'s address from the host, since {e.name} cannot in {setting.mode}",
                    arping.announce(address.ip, e.parent, count=count, by=self.arping_by),
                )

    def _set_switch(self, act: Act, steps: Steps) -> None:
        ports = self.lab.ports(HOST)
        for port in ports if act.hairpin is not None else ():
            what = "send frames back to the port they came from" if act.hairpin else "reflect no more"
            steps.add(f"have the switch {what}", ip.at(SWITCH, ip.link_set(port, hairpin=act.hairpin)))
        if act.port_security is not None:
            self._secure_ports(ports, act.port_security, steps)

    def _secure_ports(self, ports: list[str], roles: tuple[str, ...], steps: Steps) -> None:
        """Have the switch drop IPv4 from the host's ports whose source is not an address of `roles`."""
        allowed = [
            own.ip for e in map(self.lab.endpoint, (r for r in roles if r != HOST)) for own in e.addresses
        ]
        if HOST in roles:
            allowed = [own.ip for parent in self.lab.parents for own in parent.host] + allowed
        if self.world.state.allowed is not None:
            for port in ports:
                steps.add("forget what it lets through", in_netns(SWITCH, tc.qdisc_del(port)))
            steps.end_stage()
        for port in ports:
            steps.add("make room for filters on the host's port", in_netns(SWITCH, tc.qdisc_add(port)))
        steps.end_stage()
        for port in ports:
            for address in allowed:
                if address.version == 4:
                    what = f"let in through the host's port what comes from {address}"
                    steps.add(what, in_netns(SWITCH, tc.filter_pass(port, address)))
            drop = in_netns(SWITCH, tc.filter_drop(port))
            steps.add("drop all other IPv4 there, as a cloud's port security does", drop)
        steps.end_stage()

    def _attempts(self, act: Act, steps: Steps) -> None:
        world = self.world
        for attempt in act.attempts:
            predicted = predict.predict_attempt(world, attempt)
            probe = self._probe(attempt, None, predicted)
            change = attempt.change
            ok = (0, 1) if isinstance(change, DeleteLink) else _TRY_OK
            command = replace(self._command_of(change), ok=ok)
            undo = Link(change.name, change.kind) if isinstance(change, AddLink) else None
            cancels_undo_of: tuple[str, ...] = ()
            if isinstance(change, DeleteLink) and change.name in self.added:
                cancels_undo_of = self.added.pop(change.name)
            id = steps.add(
                f"try to {attempt}", command, undo=undo, cancels_undo_of=cancels_undo_of, probe=probe
            )
            if isinstance(change, AddLink):
                self.added[change.name] = (*self.added.get(change.name, ()), id)
            steps.end_stage()
            world = predict.after(world, Act(attempts=(attempt,)))

    def _command_of(self, change: Change) -> Command:
        match change:
            case AddAddress(address, name):
                return in_netns(self.lab.endpoint(name).netns, give(address, name))
            case AddLink(name, "macvlan", parent):
                return ip.link_add(name, ip.Macvlan(parent))
            case AddLink(name, _, parent, mode, flag):
                return ip.link_add(name, ip.Ipvlan(parent, mode, flag))
            case DeleteLink(name):
                return ip.link_delete(name)
            case SetMode(name, mode):
                return in_netns(self.lab.endpoint(name).netns, ip.link_set(name, mode=mode))
            case SetMtu(name, mtu):
                netns = self.lab.endpoint(name).netns if self.lab.is_endpoint(name) else None
                return in_netns(netns, ip.link_set(name, mtu=mtu))

    def _probe(
        self, asked: Check | Attempt, address: Address | None, predicted: predict.Prediction, why: str = ""
    ) -> Probe:
        reason = predicted.reason
        if asked.expect is not None and asked.expect != predicted.outcome:
            because = f" ({asked.why})" if asked.why else ""
            reason = f"the lab expects this{because}; physics says {predicted.outcome}: {reason}"
        return Probe(asked, address, asked.expect or predicted.outcome, reason, why)

    def _checks(self, phase: Phase, act: Act, steps: Steps) -> list[Probe]:
        skipped: list[Probe] = []
        asked: list[_Ping] = []
        for check in act.checks:
            address = self.lab.pinged(check)
            why = self._why_skipped(check)
            probe = self._probe(check, address, predict.predict(self.world, check), why)
            if why or address is None:
                skipped.append(probe)
            else:
                asked.append(_Ping(check, probe, self._ping(check, address)))
        self._keep_announcing(phase, [each.check for each in asked], steps)
        for each in asked:
            steps.add(each.purpose, each.command, probe=each.probe)
        steps.end_stage()
        return skipped

    @property
    def _wait_s(self) -> float:
        """How long the last reply may take, in seconds."""
        return PING_WAIT_S if self.lab.simulated else REAL_WAIT_S

    def _ping(self, check: Check, address: Address) -> Command:
        if check.watch is not None:
            command = ping.ping_until_lost(address, interval=PING_INTERVAL_S, deadline=check.watch)
        else:
            command = ping.ping(
                address,
                count=check.count,
                interval=PING_INTERVAL_S,
                wait=self._wait_s,
                size=check.size,
                whole=check.size is not None,
            )
        return replace(in_netns(self.lab.netns(check.source), command), ok=_PING_OK)

    def _keep_announcing(self, phase: Phase, checks: list[Check], steps: Steps) -> None:
        """Announce, as long as the checks ping, the endpoints whose strategy that is."""
        names = {role for check in checks for role in (check.source, check.destination)}
        found = [e for e in self.lab.endpoints_of(phase) if phase.on(e.parent).strategy == "announce"]
        found = [e for e in found if e.name in names and any(own.version == 4 for own in e.addresses)]
        if not found:
            return
        reading = self._remember([NONLOCAL_BIND], steps)
        steps.end_stage()
        self._let_announce(reading, steps)
        lasts = max(c.watch or (c.count - 1) * PING_INTERVAL_S + PING_WAIT_S for c in checks)
        for e in found:
            self._announce(phase, e, steps, count=int(lasts) + 2)

    def _why_skipped(self, check: Check) -> str:
        if self.lab.simulated:
            return ""
        if check.source != HOST and not self.lab.is_endpoint(check.source):
            target = self.lab.pinged(check)
            return f"the {check.source} is another machine; there, type: ping {target}"
        for role in (check.source, check.destination, SWITCH):
            if role in self.out_of_reach:
                return f"{self.out_of_reach[role]}, {_ANOTHER_MACHINE}"
        if self.lab.pinged(check) is None:
            return f"the address of the {check.destination} is not known"
        return ""

    def _fast_timers(self, role: str) -> dict[str, int]:
        timers, values = predict.FAST_TIMERS, {}
        for parent in self.lab.parents:
            for version in sorted({peer.version for peer in parent.peer(role)}):
                for name, value in (
                    ("base_reachable_time_ms", 1000),
                    ("delay_first_probe_time", timers.delay_first_probe_s),
                    ("ucast_solicit", timers.probes),
                    ("retrans_time_ms", timers.retrans_ms),
                ):
                    dev = self.lab.dev_of(parent)
                    values[sysctl.interface_key(f"ipv{version}", "neigh", dev, name)] = value
        return values


@dataclass(frozen=True, slots=True)
class _Ping:
    """A check that is asked, and the ping that a person would type for it."""

    check: Check
    probe: Probe
    command: Command

    @property
    def purpose(self) -> str:
        watch = self.check.watch
        return f"ping {self.check}" + ("" if watch is None else f", until it is lost or for {watch} s")


class _Made:
    """What a phase made, and how it is taken away before the next one: in stages, the last first."""

    def __init__(self, steps: Steps) -> None:
        self.steps = steps
        self._stages: list[list[tuple[str, str | Command]]] = [[]]

    def note(self, purpose: str, id: str) -> None:
        """Remember that the step `id` is to be undone, for that `purpose`."""
        self._stages[-1].append((purpose, id))

    def note_gone(self, purpose: str, command: Command) -> None:
        """Remember a command that is to be run then, for what goes by itself at the end."""
        self._stages[-1].append((purpose, command))

    def end_stage(self) -> None:
        """End a stage of the steps, and have what is noted from now on be taken away before the others."""
        self.steps.end_stage()
        self._stages.append([])

    def take_away(self) -> None:
        """Add the steps that take all of it away."""
        by_id = {part.id: part for stage in self.steps.stages for step in stage for part in step.single}
        for stage in reversed(self._stages):
            for purpose, what in stage:
                if isinstance(what, Command):
                    self.steps.add(purpose, what)
                elif (undo := by_id[what].undo) is not None:
                    self.steps.add(purpose, undo.command, cancels_undo_of=(what,))
            self.steps.end_stage()


def _kind_of(setting: Setting, e: Endpoint) -> tuple[str, ip.Kind]:
    """Return what making the link of `e` is for, and its kind."""
    if setting.kind == "macvlan":
        return f"make {e.name}, a macvlan link on {e.parent}", ip.Macvlan(e.parent, setting.flag)
    # Bridge is what a parent has at first: as short as a person would type it.
    kind = ip.Ipvlan(e.parent, setting.mode, None if setting.flag == "bridge" else setting.flag)
    return f"make {e.name}, an ipvlan link on {e.parent} in {setting.mode} mode", kind
