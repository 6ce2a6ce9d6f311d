"""The simulated LAN: a switch, the host, its peers, and a host behind the gateway, as namespaces."""

from collections.abc import Iterable, Iterator, Sequence

from ipvkit.core.command import Command, in_netns
from ipvkit.core.values import InterfaceAddress, is_link_local
from ipvkit.lab import (
    DEFAULT_MTU,
    FAR,
    GATEWAY,
    LAN,
    MAIN,
    SWITCH,
    Endpoint,
    Family,
    Host,
    Lab,
    Parent,
    Route,
    is_next_hop,
    the,
)
from ipvkit.plan.steps import Draft, Section, Steps, Undo
from ipvkit.tools import bonding, ip, radvd, sysctl

PEER_DEV = "eth0"

_FIRST_RULE = 1000
"""The priority of a host's first rule; the main table has 32766."""


def lan(lab: Lab) -> Section:
    """Return the steps that build the network of `lab`: all links, then the rest of each namespace."""
    steps = Steps(LAN, lab.machines[0])

    def add(machine: str) -> None:
        for stage in _stages(lab, machine):
            steps.add_stage(stage)

    steps.concurrently(lab.machines, add)
    return Section(LAN, "the simulated LAN", None, tuple(steps.stages))


def _stages(lab: Lab, machine: str) -> Iterator[list[Draft]]:
    """Yield the stages on a machine: that of the switch and the peers, of a host, or of both."""
    parents, has_lan, peers = lab.parents_on(machine), lab.machine_of(SWITCH) == machine, lab.peers
    if has_lan:
        yield _namespaces(lab)
    here = [*((machine,) if lab.is_host(machine) else ()), *((SWITCH, *peers) if has_lan else ())]
    deaf = [role for role in here if role != GATEWAY and lab.advertised]
    yield [ignore_advertisements(role, lab.netns(role), _cables(lab, role)) for role in deaf]
    asking = (role for role in here if role in lab.asks_for_others)
    yield [_ask_at_once(role, lab.netns(role), _cables(lab, role)) for role in asking]
    yield from _links(lab, parents, has_lan=has_lan)
    named = [parent for parent in parents if parent.altnames]
    yield [(f"add {p.dev}'s alternative names", ip.link_altname(p.dev, *p.altnames)) for p in named]
    yield [_hosts_address(lab, parent, own) for parent in parents for own in parent.host]
    routes = [(parent.on, to) for parent in parents for to in hosts_gateways(lab, parent, parent.dev)]
    yield [(f"add {the(on)}'s default route", ip.route_add(to)) for on, to in routes]
    if not has_lan:
        return
    yield [
        (f"connect {the(role)} to the switch", ip.at(SWITCH, ip.link_set(port, master=f"br{i}", up=True)))
        for i, role, port in _ports(lab)
    ]
    for role in peers:
        yield from _peer(lab, role)
    if lab.far:
        yield from _far_host(lab)
    yield [(f"enable forwarding on {the(role)}", in_netns(role, _forward(lab, role))) for role in lab.routers]
    yield [
        (f"wait until LACP has joined the ports of {parent.name}", bonding.wait_for_lacp(parent.name))
        for parent in lab.wired
        if parent.lacp
    ]
    links = {
        lab.dev_of(parent): (next(filter(is_link_local, parent.gateway)), lab.advertised[parent.name])
        for parent in lab.networks
        if parent.name in lab.advertised
    }
    advertise = in_netns(GATEWAY, radvd.advertise(links))
    yield [("let the gateway send router advertisements", advertise)] if links else []


def _hosts_address(lab: Lab, parent: Parent, own: InterfaceAddress) -> Draft:
    """Return the step that gives a parent an address; on a cable, which stays, it is deleted at the end."""
    what, add = f"{the(parent.on)}'s address", give(own, parent.dev)
    if not lab.several_hosts:
        return f"add {what}", add
    return f"add {what}", add, Undo(ip.addr_del(own, parent.dev), f"delete {what}")


def _ports(lab: Lab) -> list[tuple[int, str, str]]:
    """Return the ports of the host and its peers, each with its switch, those of one switch together."""
    found = [(i, host, port) for host in lab.hosts for i, port in lab.host_ports(host)]
    found += [(i, role, port) for role in lab.peers for i, port in lab.ports(role).items()]
    return sorted(found, key=lambda each: each[0])


def _namespaces(lab: Lab) -> list[Draft]:
    """Return the steps that create the namespaces of the switch and the peers."""
    names = (*([SWITCH] if lab.wired else []), *lab.peers, *([FAR] if lab.far else []))
    return [
        (f"create namespace {name}", ip.netns_add(name), Undo(ip.netns_del(name), f"delete namespace {name}"))
        for name in names
    ]


def _links(lab: Lab, parents: Sequence[Parent], *, has_lan: bool) -> Iterator[list[Draft]]:
    """Yield the stages that create, in place, every link of a machine."""
    peers, links = lab.peers, list[Draft]()
    for i, parent in ((i, p) for i, p in enumerate(lab.switched) if p in lab.wired and has_lan):
        which = "the switch" if len(lab.switched) == 1 else f"switch {i}"
        links.append((f"create {which}", ip.link_add(f"br{i}", ip.Bridge(), netns=SWITCH, up=True)))
        for role in peers:
            if port := lab.ports(role).get(i):
                link = ip.link_add(f"eth{i}", ip.Veth(port, SWITCH), netns=role, up=True)
                links.append((f"create {the(role)}'s eth{i}, connected to the switch", link))
        if parent.lacp:
            bond = ip.link_add(lab.ports(parent.on)[i], ip.Bond(parent.bond_mode), netns=SWITCH)
            links.append((f"create the switch's bond for {parent.name}", bond))
    if lab.far and has_lan:
        link = ip.link_add(FAR, ip.Veth(PEER_DEV, FAR), netns=GATEWAY, up=True)
        links.append(("create the gateway's link to the far host", link))
    if has_lan and lab.several_hosts:
        links += [_cable(lab, parent) for parent in lab.wired]
    # Last: no link can be created in another namespace while this one has one of its name (rtnl_newlink).
    links += [_parent(lab, parent) for parent in parents if parent.vlan is None]
    yield links
    cables = [p for p in parents if p.vlan is None and lab.several_hosts]
    yield [
        (
            f"bring {parent.on}'s {parent.dev} up",
            ip.link_set(parent.dev, up=True),
            Undo(ip.link_set(parent.dev, mtu=DEFAULT_MTU, up=False), f"bring {parent.dev} down"),
        )
        for parent in cables
    ]
    yield from _lower(lab, parents)
    yield [_vlan(lab, parent, parent.vlan) for parent in parents if parent.vlan is not None]


def _vlan(lab: Lab, parent: Parent, tag: int) -> Draft:
    """Return the step that creates a VLAN; on a cable, which stays, it is deleted at the end."""
    below = lab.below(parent).dev
    what = f"create {the(parent.on)}'s {parent.dev}: VLAN {tag} on {below}"
    link = ip.link_add(parent.dev, ip.Vlan(below, tag), up=True)
    if not lab.several_hosts:
        return what, link
    return what, link, Undo(ip.link_delete(parent.dev), f"delete {parent.on}'s {parent.dev}")


def _cable(lab: Lab, parent: Parent) -> Draft:
    """Return the step that plugs the cable of a host into the switch."""
    end, port = lab.cable(parent, LAN), lab.ports(parent.on)[lab.position(parent)]
    undo = ip.at(SWITCH, ip.link_set(port, up=False, name=end, netns=1))
    plug = ip.link_set(end, name=port, netns=SWITCH)
    what = f"move {end}, which {parent.on}'s {parent.dev} is connected to, into namespace {SWITCH}, as {port}"
    return what, plug, Undo(undo, f"move {port} out of namespace {SWITCH}, as {end}")


def _parent(lab: Lab, parent: Parent) -> Draft:
    """Return the step that creates a parent that is not a VLAN, in place."""
    if lab.several_hosts:
        end = lab.cable(parent, parent.on)
        # Linux 6.1 renames no link that is up (dev_change_name()).
        rename = ip.link_set(end, name=parent.dev, lladdr=lab.mac_of(parent))
        undo = Undo(ip.link_set(parent.dev, name=end), f"rename {parent.dev} to {end}")
        return f"rename {parent.on}'s NIC {end} to {parent.dev}", rename, undo
    kind: ip.Kind
    match parent.kind:
        case "nic":
            [(_, port)] = lab.wires(parent)
            kind, what = ip.Veth(port, SWITCH), ", connected to the switch"
        case "bond":
            kind, what = ip.Bond(parent.bond_mode), f", a bond in {parent.bond_mode} mode"
        case "bridge":
            kind, what = ip.Bridge(), ", a bridge"
        case "dummy":
            kind, what = ip.Dummy(), ", a dummy"
    # A bond is set up with its ports: LACP waits 8 s for ports that it gets while it is up.
    link = ip.link_add(parent.name, kind, lladdr=lab.mac_of(parent), up=parent.kind != "bond")
    undo = Undo(ip.link_delete(parent.name), f"delete the host's {parent.name}")
    return f"create the host's {parent.name}{what}", link, undo


def _lower(lab: Lab, parents: Sequence[Parent]) -> Iterator[list[Draft]]:
    """Yield the stages that connect bonds and bridges to the switch, by their ports."""
    ports: list[Draft] = []
    for parent in (parent for parent in parents if parent in lab.wired and parent.kind != "nic"):
        for own, end in lab.wires(parent):
            # What becomes the port of a bond has to be down; the bond sets it up.
            up = parent.kind == "bridge"
            link = ip.link_add(own, ip.Veth(end, SWITCH), master=parent.name, up=up)
            undo = Undo(ip.link_delete(own), f"delete {own}")
            ports.append((f"create {own}, a port of {parent.name}, connected to the switch", link, undo))
    yield ports
    bonds = [parent for parent in parents if parent.kind == "bond"]
    attach = [(lab.ports(p.on)[lab.position(p)], end) for p in bonds if p.lacp for _, end in lab.wires(p)]
    yield [
        *(
            (f"attach {end} to the switch's bond", ip.at(SWITCH, ip.link_set(end, master=master)))
            for master, end in attach
        ),
        *((f"bring {bond.name} up, and its ports", ip.link_set(bond.name, up=True)) for bond in bonds),
    ]


def _peer(lab: Lab, role: str) -> Iterator[list[Draft]]:
    """Yield the stages that configure a peer, in its namespace."""
    given: list[Draft] = []
    routing: list[Draft] = []
    for parent, host in ((p, host) for p in lab.networks for host in p.peers if host.name == role):
        dev = lab.dev_of(parent)
        if parent.vlan is not None and parent.link is not None:
            below = lab.dev_of(lab.parent_called(parent.link))
            tag = ip.link_add(dev, ip.Vlan(below, parent.vlan), up=True)
            yield [*given, (f"create {the(role)}'s link in VLAN {parent.vlan}", ip.at(role, tag))]
            given = []
        for own in host.addresses:
            given.append((f"add {the(role)}'s address", ip.at(role, give(own, dev))))
        metric = _metric(lab, parent) if host.routes is None else None
        added = routing_of(lab, host, lab.routes_of(parent, host), dev, metric)
        routing += [(f"add {what}", ip.at(role, add)) for what, add, _ in added]
    yield [*given, _lo_up(role)]
    if role == GATEWAY:
        what = "add the gateway's address on that link"
        yield [(what, ip.at(GATEWAY, give(lab.far_gateway(own), FAR))) for own in lab.far]
    yield routing


def routing_of(
    lab: Lab,
    node: Host | Endpoint,
    routes: Iterable[tuple[Family, Route]],
    dev: str,
    metric: int | None = None,
) -> list[tuple[str, Command, Command | None]]:
    """Return what `node` has: its `routes`, out of `dev`, and its rules, each with the command that adds it.

    The other command deletes what does not vanish with the link.
    """
    found: list[tuple[str, Command, Command | None]] = []
    for family, route in routes:
        to = route_to(family, route, dev, metric)
        what = "default route" if to.dst is None else f"route to {to.dst}"
        where = "" if route.table == MAIN else f" in table {route.table}"
        kind = f"{route.type} " if route.type else ""
        delete = ip.route_del(to) if route.type else None
        found.append((f"{the(node.name)}'s {kind}{what}{where}", ip.route_add(to), delete))
    for rule in rules_of(lab, node):
        what = f"{the(node.name)}'s rule for table {rule.table}"
        found.append((what, ip.rule_add(rule), ip.rule_del(rule)))
    return found


def route_to(family: Family, route: Route, dev: str, metric: int | None = None) -> ip.RouteTo:
    """Return a route out of `dev` as ip adds it."""
    ipv6 = family == "ipv6" and route.to is None and route.via is None
    table = None if route.table == MAIN else route.table
    out = None if route.type else dev
    return ip.RouteTo(route.to, route.via, out, metric=metric, ipv6=ipv6, type=route.type, table=table)


def rules_of(lab: Lab, node: Host | Endpoint) -> list[ip.RuleFor]:
    """Return the rules of `node` as ip adds them; without a priority each one would precede the others."""
    first = _FIRST_RULE
    if node.rules and isinstance(node, Endpoint):
        place = lab.place(node.name)
        inside = [e for e in lab.endpoints if lab.place(e.name) == place]
        first += sum(len(e.rules) for e in inside[: inside.index(node)])
    return [ip.RuleFor(r.table, r.source, r.to, first + i) for i, r in enumerate(node.rules)]


def _far_host(lab: Lab) -> Iterator[list[Draft]]:
    yield [("bring the far host's link up", ip.at(FAR, ip.link_set(PEER_DEV, up=True))), _lo_up(FAR)]
    yield [("add the far host's address", ip.at(FAR, give(own, PEER_DEV))) for own in lab.far]
    routes = [ip.RouteTo(via=lab.far_gateway(own).ip, dev=PEER_DEV) for own in lab.far]
    yield [("add the far host's default route", ip.at(FAR, ip.route_add(to))) for to in routes]


def _lo_up(netns: str) -> Draft:
    return "bring lo up, so that ping gets Host Unreachable", ip.at(netns, ip.link_set("lo", up=True))


def _cables(lab: Lab, role: str) -> list[str]:
    """Return the links that a host has before its parents are called so."""
    own = lab.parents_on(role) if lab.several_hosts else ()
    return [lab.cable(p, role) for p in own if p.vlan is None]


def ignore_advertisements(role: str, netns: str | None, there: Sequence[str] = ()) -> Draft:
    """Return the step by which links that are `there` or come later ignore them: its addresses are added."""
    values = {sysctl.interface_key("ipv6", "conf", dev, "accept_ra"): 0 for dev in ("default", *there)}
    return f"let {the(role)} ignore router advertisements", in_netns(netns, sysctl.set_values(values))


def _ask_at_once(role: str, netns: str | None, there: Sequence[str]) -> Draft:
    """Return the step by which a node asks from link-local addresses of links that are `there` or come later.

    While such an address is tentative, for up to 2 s, no request is sent for a packet of another node
    (ndisc_send_ns()). Without a probe (dad_transmits=0) it still is for up to 1 s (addrconf_dad_kick()).
    """
    values = {sysctl.interface_key("ipv6", "conf", dev, "accept_dad"): 0 for dev in ("default", *there)}
    what = f"let {the(role)} use link-local addresses at once"
    return what, in_netns(netns, sysctl.set_values(values))


def to_gateways(lab: Lab, parent: Parent, dev: str) -> list[ip.RouteTo]:
    """Return the default routes via the gateways on `parent`, if they lead somewhere, out of `dev`."""
    gateways = parent.gateways if lab.routed else ()
    return [ip.RouteTo(via=gateway, dev=dev, metric=_metric(lab, parent)) for gateway in gateways]


def _metric(lab: Lab, parent: Parent) -> int | None:
    leading = [other.name for other in lab.parents_on(parent.on) if other.gateway]
    position = leading.index(parent.name) if parent.gateway else 0
    return 100 + position if position else None  # The first parent with a gateway has the best, without one.


def _forward(lab: Lab, role: str) -> Command:
    """Return the command that makes `role` a router without ICMP redirects: no host learns another path.

    Redirects go out unless both `all` and the link forbid them (IN_DEV_TX_REDIRECTS()).
    """
    values = {"net.ipv4.ip_forward": 1, "net.ipv6.conf.all.forwarding": 1}
    if any(parent.hosts for parent in lab.networks):
        devs = ("all", *(dev for _, dev in lab.links_of(role)))
        values |= {sysctl.interface_key("ipv4", "conf", dev, "send_redirects"): 0 for dev in devs}
    return sysctl.set_values(values)


def hosts_gateways(lab: Lab, parent: Parent, dev: str) -> list[ip.RouteTo]:
    """Return the default routes of the host via gateways on `parent` that its addresses let it use."""
    routes = to_gateways(lab, parent, dev)
    return [to for to in routes if to.via and is_next_hop(to.via, parent.host)]


def give(own: InterfaceAddress, dev: str) -> Command:
    """Return the command that adds an address to `dev`, usable immediately."""
    return ip.addr_add(own, dev, nodad=own.version == 6)
