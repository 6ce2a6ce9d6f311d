"""The simulated LAN: a switch, the host, its peers, and a host behind the gateway, as namespaces."""

from collections.abc import Iterable, Iterator

from ipvkit.core.command import Command, in_netns
from ipvkit.core.values import InterfaceAddress, is_link_local
from ipvkit.lab import (
    FAR,
    GATEWAY,
    HOST,
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
    steps = Steps(LAN)
    for stage in _stages(lab):
        steps.add_stage(stage)
    return Section(LAN, "the simulated LAN", None, tuple(steps.stages))


def _stages(lab: Lab) -> Iterator[list[Draft]]:
    yield from _links(lab)
    parents, peers = lab.parents, lab.peers
    named = [parent for parent in parents if parent.altnames]
    yield [(f"add {p.name}'s alternative names", ip.link_altname(p.name, *p.altnames)) for p in named]
    yield [("add the host's address", give(own, parent.name)) for parent in parents for own in parent.host]
    routes = [to for parent in parents for to in hosts_gateways(lab, parent, parent.name)]
    yield [("add the host's default route", ip.route_add(to)) for to in routes]
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
        for parent in parents
        if parent.name in lab.advertised
    }
    advertise = in_netns(GATEWAY, radvd.advertise(links))
    yield [("let the gateway send router advertisements", advertise)] if links else []


def _ports(lab: Lab) -> list[tuple[int, str, str]]:
    """Return the ports of the host and its peers, each with its switch, those of one switch together."""
    found = [(i, HOST, port) for i, port in lab.host_ports]
    found += [(i, role, port) for role in lab.peers for i, port in lab.ports(role).items()]
    return sorted(found, key=lambda each: each[0])


def _links(lab: Lab) -> Iterator[list[Draft]]:
    """Yield the stages that create the namespaces and, in place, every link."""
    peers, wired = lab.peers, lab.wired
    yield [
        (f"create namespace {name}", ip.netns_add(name), Undo(ip.netns_del(name), f"delete namespace {name}"))
        for name in (*([SWITCH] if wired else []), *peers, *([FAR] if lab.far else []))
    ]
    others = (HOST, SWITCH, *(peer for peer in peers if peer != GATEWAY)) if lab.advertised else ()
    yield [ignore_advertisements(role, lab.netns(role)) for role in others]
    yield [_ask_at_once(role, lab.netns(role)) for role in lab.asks_for_others]
    links: list[Draft] = []
    for i, parent in ((i, parent) for i, parent in enumerate(lab.hardware) if parent in wired):
        which = "the switch" if len(lab.hardware) == 1 else f"switch {i}"
        links.append((f"create {which}", ip.link_add(f"br{i}", ip.Bridge(), netns=SWITCH, up=True)))
        for role in peers:
            if port := lab.ports(role).get(i):
                link = ip.link_add(f"eth{i}", ip.Veth(port, SWITCH), netns=role, up=True)
                links.append((f"create {the(role)}'s eth{i}, connected to the switch", link))
        if parent.lacp:
            bond = ip.link_add(lab.ports(HOST)[i], ip.Bond(parent.bond_mode), netns=SWITCH)
            links.append((f"create the switch's bond for {parent.name}", bond))
    if lab.far:
        link = ip.link_add(FAR, ip.Veth(PEER_DEV, FAR), netns=GATEWAY, up=True)
        links.append(("create the gateway's link to the far host", link))
    # Last: no link can be created in another namespace while this one has one of its name (rtnl_newlink).
    links += [_parent(lab, parent) for parent in lab.hardware]
    yield links
    yield from _lower(lab)
    yield [
        (
            f"create the host's {parent.name}: VLAN {parent.vlan} on {parent.link}",
            ip.link_add(parent.name, ip.Vlan(parent.link, parent.vlan), up=True),
        )
        for parent in lab.parents
        if parent.vlan is not None and parent.link is not None
    ]


def _parent(lab: Lab, parent: Parent) -> Draft:
    """Return the step that creates a parent that is not a VLAN, in place."""
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


def _lower(lab: Lab) -> Iterator[list[Draft]]:
    """Yield the stages that connect bonds and bridges to the switch, by their ports."""
    ports: list[Draft] = []
    for parent in (parent for parent in lab.wired if parent.kind != "nic"):
        for own, end in lab.wires(parent):
            # What becomes the port of a bond has to be down; the bond sets it up.
            up = parent.kind == "bridge"
            link = ip.link_add(own, ip.Veth(end, SWITCH), master=parent.name, up=up)
            undo = Undo(ip.link_delete(own), f"delete {own}")
            ports.append((f"create {own}, a port of {parent.name}, connected to the switch", link, undo))
    yield ports
    bonds = [parent for parent in lab.wired if parent.kind == "bond"]
    joined = lab.ports(HOST)
    attach = [(joined[i], end) for i, p in enumerate(lab.hardware) if p.lacp for _, end in lab.wires(p)]
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
    for parent, host in ((p, host) for p in lab.parents for host in p.peers if host.name == role):
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
        inside = [e for e in lab.endpoints if e.netns == node.netns]
        first += sum(len(e.rules) for e in inside[: inside.index(node)])
    return [ip.RuleFor(r.table, r.source, r.to, first + i) for i, r in enumerate(node.rules)]


def _far_host(lab: Lab) -> Iterator[list[Draft]]:
    yield [("bring the far host's link up", ip.at(FAR, ip.link_set(PEER_DEV, up=True))), _lo_up(FAR)]
    yield [("add the far host's address", ip.at(FAR, give(own, PEER_DEV))) for own in lab.far]
    routes = [ip.RouteTo(via=lab.far_gateway(own).ip, dev=PEER_DEV) for own in lab.far]
    yield [("add the far host's default route", ip.at(FAR, ip.route_add(to))) for to in routes]


def _lo_up(netns: str) -> Draft:
    return "bring lo up, so that ping gets Host Unreachable", ip.at(netns, ip.link_set("lo", up=True))


def ignore_advertisements(role: str, netns: str | None) -> Draft:
    """Return the step by which the links that a node gets later ignore them: its addresses are added."""
    key = sysctl.interface_key("ipv6", "conf", "default", "accept_ra")
    return f"let {the(role)} ignore router advertisements", in_netns(netns, sysctl.set_values({key: 0}))


def _ask_at_once(role: str, netns: str | None) -> Draft:
    """Return the step by which a node asks from the link-local addresses of the links that it gets later.

    While such an address is tentative, for up to 2 s, no request is sent for a packet of another node
    (ndisc_send_ns()).
    """
    key = sysctl.interface_key("ipv6", "conf", "default", "dad_transmits")
    what = f"let {the(role)} use link-local addresses at once"
    return what, in_netns(netns, sysctl.set_values({key: 0}))


def to_gateways(lab: Lab, parent: Parent, dev: str) -> list[ip.RouteTo]:
    """Return the default routes via the gateways on `parent`, if they lead somewhere, out of `dev`."""
    gateways = parent.gateways if lab.routed else ()
    return [ip.RouteTo(via=gateway, dev=dev, metric=_metric(lab, parent)) for gateway in gateways]


def _metric(lab: Lab, parent: Parent) -> int | None:
    position = lab.parents.index(parent)
    return 100 + position if position else None  # The first parent has the best, without one.


def _forward(lab: Lab, role: str) -> Command:
    """Return the command that makes `role` a router without ICMP redirects: no host learns another path.

    Redirects go out unless both `all` and the link forbid them (IN_DEV_TX_REDIRECTS()).
    """
    values = {"net.ipv4.ip_forward": 1, "net.ipv6.conf.all.forwarding": 1}
    if any(parent.hosts for parent in lab.parents):
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
