"""Follows a packet through a world, hop by hop, until it arrives or is lost.

Sources: drivers/net/ipvlan/ipvlan_core.c (ipvlan_queue_xmit), ipvlan_l3s.c, drivers/net/macvlan.c,
net/bridge, net/ipv4/route.c, net/ipv6/route.c; Documentation/networking/ipvlan.rst.
"""

from contextlib import suppress

from ipvkit.core.values import Address
from ipvkit.lab import FAR, MAIN, the
from ipvkit.predict.resolution import Resolution
from ipvkit.predict.trace import Lost, Trace
from ipvkit.predict.world import Link, Node, Way, World

_MOST_HOPS = 8
_HEADERS = {4: 28, 6: 48}
"""The bytes that IP and ICMP add to the payload of a ping."""

_VLAN_TAG = 4
"""The bytes that a link accepts above its MTU."""

_MOST_NAMED = 5
"""How many roles a reason names."""


class Path:
    """The path of a ping there and back; `reason` is why it is lost, or why it works.

    `trace` has its hops, and `resolution` the neighbour entries that it uses and makes. `lost` is why a
    packet is lost, be it the request or the reply, or nothing; `replied` is whether the reply arrives.
    """

    def __init__(
        self,
        world: World,
        source: str,
        destination: Address,
        size: int | None = None,
        *,
        connects: bool = False,
        ends: tuple[str, str] | None = None,
    ) -> None:
        """Follow a ping from the host `source`, with `size` bytes of payload, or what `connects` by TCP.

        With `ends`, the two nodes, `lost` has their kinds in place of their names: the same for every ping
        that is lost for one reason, in either direction.
        """
        self.world, self.version, self.connects = world, destination.version, connects
        self.trace = trace = Trace(world, ends)
        self.resolution = Resolution(world, trace)
        # A packet of 0 bytes fits everywhere.
        self._bytes = 0 if size is None else size + _HEADERS[destination.version]
        self._ends = ends
        self.lost, self.replied = "", False
        self._reports = False
        try:
            self._ping(source, destination)
            why = trace.notes[0] if trace.notes else "both have a route to the other"
            self.reason = why + trace.decided
        except Lost as lost:
            self.lost = str(lost)
            self.reason = f"the reply is lost: {lost}" if trace.arrived else self.lost

    def _ping(self, source: str, destination: Address) -> None:
        """Carry the request and its reply; raise Lost where one of them does not arrive."""
        node = self.world.nodes[source]
        if node.has(destination):
            what = f"{self.trace.the(source)} has {self.trace.address(destination)} too"
            raise self.trace.lost(source, f"{what}: it sends to itself, and its loopback is down")
        way, own = self._first(node, destination)
        self.trace.arrived = self._carry(node.name, destination, own, way)
        back = self._carry(self.trace.arrived, own, destination)
        if back != node.name:
            what = f"{self.trace.the(back)} has {self.trace.address(own)} too, and keeps the reply"
            raise self.trace.lost(back, what + self.trace.decided)
        self.replied = True

    def _first(self, node: Node, destination: Address) -> tuple[Way, Address]:
        """Return the route of a request, which has no source address yet, and the one that it gets.

        A socket that connects looks in IPv4 for a route from this address too (ip_route_connect()); in IPv6
        only where the first lookup failed (ip6_dst_lookup_tail()). TCP uses what it finds; ping connects one
        only to learn its address, and sends from another, without a source.
        """
        found = node.way_to(destination)
        usable = found is not None and found.type is None
        if found is None or not usable:
            if destination.version == 4:
                self._way(node, destination)
            found = None
        own = node.source_for(found, destination)
        if own is None:
            self._way(node, destination)
            raise self.trace.lost(
                node.name, f"{self.trace.the(node.name)} has no IPv{destination.version} address"
            )
        if destination.version == 4 or found is None:
            again = self._way(node, destination, own)
            found = again if self.connects or found is None else found
        return found, own

    def _way(self, node: Node, destination: Address, source: Address | None = None) -> Way:
        way = node.way_to(destination, source)
        if way is None:
            raise self.trace.lost(
                node.name, f"{self.trace.the(node.name)} has no route to {self.trace.address(destination)}"
            )
        if way.type is not None:
            kind = f"{'an' if way.type == 'unreachable' else 'a'} {way.type} route"
            of_one = self._ends is not None and way.to is not None and way.to.num_addresses == 1
            to = f"to {self.trace.address(destination) if of_one else way.to}" if way.to else "by default"
            raise self.trace.lost(node.name, f"{self.trace.the(node.name)} has {kind} {to}{_in_table(way)}")
        return way

    def _carry(self, at: str, destination: Address, source: Address, first: Way | None = None) -> str:
        """Return the host at which the packet arrives, by the `first` route; raise Lost where it does not."""
        for hop in range(_MOST_HOPS):
            node = self.world.nodes[at]
            if node.has(destination):
                self.trace.hop(at, f"has {destination}: the packet arrives")
                return at
            if hop and destination.version not in node.forwards:
                raise self.trace.lost(at, f"{self.trace.the(at)} does not forward packets for other hosts")
            try:
                way, first = first or self._way(node, destination, source), None
            except Lost:
                if hop:
                    self._report(node, destination, source)
                raise
            at = self._out_of(node, way, destination, source)
        raise self.trace.lost(at, "the routes form a loop")

    def _report(self, router: Node, destination: Address, source: Address) -> None:
        """Let a router without a route report that to the sender: it uses its entry, or asks for one.

        No error is reported of an error, and none of a blackhole (icmp_send(), ip_error(), ip6_pkt_drop()).
        """
        found, back = router.way_to(destination, source), router.way_to(source)
        own = router.source_for(back, source)
        if self._reports or own is None or (found is not None and found.type == "blackhole"):
            return
        size, self._bytes, self._reports = self._bytes, 0, True
        with self.trace.kept(), suppress(Lost):
            self._carry(router.name, source, own)
        self._bytes, self._reports = size, False

    # --- out of a link ---------------------------------------------------------------------------------

    def _out_of(self, node: Node, way: Way, destination: Address, source: Address) -> str:
        """Return the next host of the packet."""
        at, via = node.name, f" via {way.via}" if way.via else ""
        dev = way.dev if way.dev == "lo" else node.link(way.dev).ifname
        self.trace.hop(at, f"uses route {way.to or 'default'}{via} dev {dev}{_in_table(way)}")
        if way.dev == "lo":
            route = f"{self.trace.the(at)}'s route to {self.trace.address(destination)}"
            raise self.trace.lost(at, f"{route} leads to its loopback, for proxy ARP")
        return self._through(node.link(way.dev), way.via or destination, destination, source)

    def _through(self, link: Link, next_hop: Address, destination: Address, source: Address) -> str:
        """Return the next host of the packet out of a link of any kind."""
        self._fits_out_of(link)
        if link.kind != "ipvlan":
            return self._onto_segment(link, next_hop, destination, source)
        if self.world.settings[link.parent].mode == "l2":
            return self._out_of_l2(link, next_hop, destination, source)
        return self._out_of_l3(link, destination, source)

    def _out_of_l2(self, link: Link, next_hop: Address, destination: Address, source: Address) -> str:
        """ipvlan_xmit_mode_l2(): by MAC; packets to links on the parent stay inside, unless flag vepa."""
        flag, nic = self.world.settings[link.parent].flag, self.world.nic(link.parent)
        target = self.resolution.in_l2(link, next_hop, source)
        inside = target == nic or target.parent == link.parent
        if inside and flag != "vepa":
            return self._to_sibling(link, destination)
        if inside and not self.world.reflects(link.parent):
            raise self.trace.lost(link.node, self._vepa(link.parent))
        if inside:
            self.trace.note(link.node, "flag vepa: the packet goes to the switch, which sends it back")
        return self._over_the_wire(nic, target, destination, source)

    def _out_of_l3(self, link: Link, destination: Address, source: Address) -> str:
        """ipvlan_xmit_mode_l3(): by IP; packets to other hosts are routed in the parent's namespace.

        In IPv4 only routes out of the parent count (ipvlan_process_v4_outbound()), and of the host's
        addresses only those on it (fib_table_lookup()). In IPv6 the parent is only a preference: the best
        route wins, out of any link (rt6_check_dev()).
        """
        parent, host = link.parent, self.world.host(link.parent)
        nic = self.world.nic(parent)
        sibling = self.world.upper(destination, parent)
        if sibling is not None and self.world.settings[parent].flag != "vepa":
            return self._to_sibling(link, destination)
        bound = destination.version == 4
        if (nic if bound else host).has(destination):
            self.trace.hop(host.name, f"{parent} passes it to {the(host.name)}, which has that address")
            return host.name
        dev = nic.dev if bound else None
        way = host.way_to(destination, source, dev)
        if way is None and dev is not None:
            # ip_route_output_key_hash_rcu(): out of a given link, what has no route is taken for on link.
            what = f"no route to {destination} leads out of {dev}: the kernel takes it for on link"
            self.trace.hop(host.name, what)
            way = Way(None, 4, dev)
        way = way or self._way(host, destination, source)
        out = host.link(way.dev)
        if sibling is not None and way.via is None and not self.resolution.others_with(destination, out):
            raise self.trace.lost(host.name, self._vepa(parent))
        self.trace.hop(host.name, f"{link.dev} uses the routes of {the(host.name)}: out of {out.dev}")
        # It may be the shim on another parent.
        return self._through(out, way.via or destination, destination, source)

    def _vepa(self, parent: str) -> str:
        """Return why packets between endpoints on `parent` are lost with flag vepa."""
        dropped = f"flag vepa: packets between endpoints go to {parent}, a dummy, which drops them"
        return dropped if self.world.is_dummy(parent) else _siblings("vepa")

    def _to_sibling(self, link: Link, destination: Address) -> str:
        parent, flag = link.parent, self.world.settings[link.parent].flag
        sibling, host = self.world.upper(destination, parent), self.world.host(parent).name
        if sibling is None:
            self.trace.hop(link.node, f"no endpoint has {destination}: {parent} passes it to {the(host)}")
            return host
        if flag == "private":
            raise self.trace.lost(link.node, _siblings(flag))
        self._fits_into(sibling)
        what = _siblings(flag)
        if host in (sibling.node, link.node):
            what = f"the shim, an ipvlan interface of {the(host)} on {parent}, is a sibling of its endpoints"
        self.trace.note(link.node, what)
        return sibling.node

    def _onto_segment(self, link: Link, next_hop: Address, destination: Address, source: Address) -> str:
        """Return the host that gets a frame from an ordinary link."""
        target = self.resolution.on_segment(link, next_hop, source)
        upper = self.world.upper(destination, target.nic_of) if target.nic_of else None
        if upper is not None and next_hop != destination:
            via = the(target.node)
            what = f"{the(link.node)} has a route to {upper.owner} via {via}, and asks only for {via}"
            self.trace.note(link.node, what)
        return self._over_the_wire(link, target, destination, source)

    def _over_the_wire(self, link: Link, target: Link, destination: Address, source: Address) -> str:
        """Return the host that gets a frame from the switch and the receiving link."""
        inside = self._stays_inside(link, target)
        bridged = any(end.parent and end.kind == "nic" for end in (link, target))
        if bridged and not inside and self.world.reflects(link.segment):
            self.trace.doubt = (
                "the switch sends the endpoint's frames back, and the host's bridge may look for it there"
            )
        if not inside:
            self._filter(link, source)
        # A bridge forwards to and from the parent only what fits it (br_dev_queue_push_xmit()).
        for end in (link, target):
            if end.kind == "nic" and end.parent and not inside:
                self._fits_into(self.world.nic(end.parent))
        # macvlan compares a frame only with its parent's MTU (macvlan_queue_xmit(), macvlan_handle_frame()),
        # and a bridge passes to its host what is larger than its own.
        if not (inside and target.nic_of):
            self._fits_into(self.world.nic(target.parent) if target.kind == "macvlan" else target)
        upper = self.world.upper(destination, target.nic_of) if target.nic_of else None
        if upper is None:
            return target.node
        self.trace.hop(target.node, f"{target.dev} passes it to {upper.owner}, which has that address")
        return upper.node

    def _filter(self, link: Link, source: Address) -> None:
        """Lose what port security drops: the filter is for IPv4 in plain frames, without a VLAN tag."""
        passing = self.world.passing
        host = self.world.host(link.parent).name if link.parent else link.node
        tagged = link.segment != FAR and self.world.lab.parent_called(link.segment).vlan is not None
        filtered = source.version == 4 and not tagged and self.world.lab.is_host(host)
        if passing is None or not filtered or source in passing[host]:
            return
        allowed = (self.world.state.allowed or {}).get(host, ())
        more = (f"{len(allowed) - _MOST_NAMED} more",) if len(allowed) > _MOST_NAMED else ()
        named = " and ".join((*allowed[:_MOST_NAMED], *more))
        dropped = f"packets from {self.trace.address(source)}"
        raise self.trace.lost("switch", f"port security: the switch drops {dropped} and allows {named}")

    def _stays_inside(self, link: Link, target: Link) -> bool:
        """Return whether the host itself passes frames from one to the other: by its bridge or macvlan."""
        on, other = (end.parent or end.nic_of for end in (link, target))
        if not on or on != other:
            return False
        setting, of_host = self.world.settings[on], bool(link.nic_of or target.nic_of)
        return setting.kind == "veth" or (setting.kind, setting.flag, of_host) == ("macvlan", "bridge", False)

    def _fits_out_of(self, link: Link) -> None:
        """Lose a request above the MTU of the sending link; a reply is fragmented instead."""
        if self._bytes > link.mtu and not self.trace.arrived:
            what = f"{self._bytes} bytes are more than the mtu of {_named(link)}: {link.mtu}"
            raise self.trace.lost(link.node, what)

    def _fits_into(self, link: Link) -> None:
        """Lose a request that the receiving link does not accept (is_skb_forwardable())."""
        mtu = link.mtu if link.port_mtu is None else link.port_mtu
        if self._bytes > mtu + _VLAN_TAG and not self.trace.arrived:
            accepts = f"{_named(link)} accepts: mtu {mtu} and {_VLAN_TAG} more"
            raise self.trace.lost(link.node, f"{self._bytes} bytes are more than {accepts}")


def _in_table(way: Way) -> str:
    return "" if way.table == MAIN else f" in table {way.table}"


def _named(link: Link) -> str:
    return link.owner if link.owner == link.dev else f"{the(link.node)}'s {link.ifname}"


def _siblings(flag: str) -> str:
    """Return what happens to packets between siblings, in every mode (ipvlan_xmit_mode_l2(), …_l3())."""
    what = {
        "bridge": "the kernel passes packets between endpoints of a parent",
        "private": "the kernel drops packets between endpoints of a parent",
        "vepa": "packets between endpoints go to the switch, which sends nothing back to their port",
    }
    return f"flag {flag}: {what[flag]}"
