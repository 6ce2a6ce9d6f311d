"""Follows a packet through a world, hop by hop, until it arrives or is lost.

Sources: drivers/net/ipvlan/ipvlan_core.c (ipvlan_queue_xmit, ipvlan_handle_frame), ipvlan_l3s.c,
drivers/net/macvlan.c, net/ipv4/arp.c, net/ipv6/ndisc.c; Documentation/networking/ipvlan.rst.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from ipvkit.core.values import Address
from ipvkit.lab import FAR, MAIN, the
from ipvkit.predict.world import Entry, Link, Node, Way, World

_MOST_HOPS = 8
_HEADERS = {4: 28, 6: 48}
"""The bytes that IP and ICMP add to the payload of a ping."""

_VLAN_TAG = 4
"""The bytes that a link accepts above its MTU."""

_DAD_S = 2.3
"""How long a new link's own address may be tentative, in seconds: a random delay of up to 1 s, and then DAD
for 1 s (addrconf_dad_kick()), and a little."""

_MOST_NAMED = 5
"""How many roles a reason names."""

Event = Literal["heard", "asked", "asked in vain", "used", "announced"]
"""What happens to an entry: its peer hears from the host, asks it, uses it, or gets an announcement."""

UNTIL_IT_EXPIRES = ", until it expires"
"""The end of a reason that holds as long as a neighbour entry."""

_HAIRPIN = "the switch sends frames back, so the host and its endpoints reach each other"
_STAY_APART = "the kernel passes nothing between a parent and its ipvlan interfaces"


@dataclass(frozen=True, slots=True)
class Hop:
    """What happens to a packet at one host."""

    at: str
    what: str


class Lost(Exception):
    """The packet ends here, for this reason."""


class Path:
    """The path of a ping there and back; `reason` is why it is lost, or why it works.

    `arrived` is the host at which the request arrives, or nothing.
    `events` are what happens to the entries of peers, in order; `used` are the entries that existed before
    and that may have failed by now, `announced` those that the host announces, and `led` those that lead to
    where an endpoint was. `broadcast` are addresses from which endpoints ask by ARP. `learned` are the hosts
    of which the host and endpoints in l2 learn the MAC address; `disputed` are those of their entries that
    did not exist before, and that another ping could fill otherwise. `rivals` are the hosts of which other
    entries may have the MAC address, of which those `undecided` depend on no question of this ping. `doubt`
    is why the ping may be lost all the same. `lost` is why a packet is lost, be it the request or the reply,
    or nothing.
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
        # A packet of 0 bytes fits everywhere.
        self.bytes = 0 if size is None else size + _HEADERS[destination.version]
        self.hops: list[Hop] = []
        self.arrived, self.lost, self._ends = "", "", ends
        self.replied = False
        self._reports = False
        self.doubt = ""
        self.events: list[tuple[Entry, Event]] = []
        self.used: set[Entry] = set()
        self.announced: set[Entry] = set()
        self.led: set[Entry] = set()
        self.broadcast: set[Address] = set()
        self.learned: dict[Entry, str] = {}
        self.disputed: set[Entry] = set()
        self.rivals: dict[Entry, tuple[str, ...]] = {}
        self.undecided: set[Entry] = set()
        self._heard: dict[Entry, Link] = {}
        # Entries that siblings in l2 have from a question of this ping.
        self._told: set[Entry] = set()
        self.notes: list[str] = []
        self.decided = ""
        try:
            self._ping(source, destination)
            self.reason = (self.notes[0] if self.notes else "both have a route to the other") + self.decided
        except Lost as lost:
            self.lost = str(lost)
            self.reason = f"the reply is lost: {lost}" if self.arrived else self.lost

    def _ping(self, source: str, destination: Address) -> None:
        """Carry the request and its reply; raise Lost where one of them does not arrive."""
        node = self.world.nodes[source]
        if node.has(destination):
            what = f"{self._the(source)} has {self._address(destination)} too"
            raise self._lost(source, f"{what}: it sends to itself, and its loopback is down")
        way, own = self._first(node, destination)
        self.arrived = self._carry(node.name, destination, own, way)
        back = self._carry(self.arrived, own, destination)
        if back != node.name:
            raise self._lost(
                back, f"{self._the(back)} has {self._address(own)} too, and keeps the reply{self.decided}"
            )
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
            raise self._lost(node.name, f"{self._the(node.name)} has no IPv{destination.version} address")
        if destination.version == 4 or found is None:
            again = self._way(node, destination, own)
            found = again if self.connects or found is None else found
        return found, own

    def _way(self, node: Node, destination: Address, source: Address | None = None) -> Way:
        way = node.way_to(destination, source)
        if way is None:
            raise self._lost(
                node.name, f"{self._the(node.name)} has no route to {self._address(destination)}"
            )
        if way.type is not None:
            kind = f"{'an' if way.type == 'unreachable' else 'a'} {way.type} route"
            of_one = self._ends is not None and way.to is not None and way.to.num_addresses == 1
            to = f"to {self._address(destination) if of_one else way.to}" if way.to else "by default"
            raise self._lost(node.name, f"{self._the(node.name)} has {kind} {to}{_in_table(way)}")
        return way

    def _carry(self, at: str, destination: Address, source: Address, first: Way | None = None) -> str:
        """Return the host at which the packet arrives, by the `first` route; raise Lost where it does not."""
        for hop in range(_MOST_HOPS):
            node = self.world.nodes[at]
            if node.has(destination):
                self._hop(at, f"has {destination}: the packet arrives")
                return at
            if hop and destination.version not in node.forwards:
                raise self._lost(at, f"{self._the(at)} does not forward packets for other hosts")
            try:
                way, first = first or self._way(node, destination, source), None
            except Lost:
                if hop:
                    self._report(node, destination, source)
                raise
            at = self._out_of(node, way, destination, source)
        raise self._lost(at, "the routes form a loop")

    def _report(self, router: Node, destination: Address, source: Address) -> None:
        """Let a router without a route report that to the sender: it uses its entry, or asks for one.

        No error is reported of an error, and none of a blackhole (icmp_send(), ip_error(), ip6_pkt_drop()).
        """
        found, back = router.way_to(destination, source), router.way_to(source)
        own = router.source_for(back, source)
        if self._reports or own is None or (found is not None and found.type == "blackhole"):
            return
        kept = self.bytes, self.doubt, self.decided, len(self.hops), len(self.notes)
        self.bytes, self._reports = 0, True
        with suppress(Lost):
            self._carry(router.name, source, own)
        self.bytes, self.doubt, self.decided, hops, notes = kept
        del self.hops[hops:], self.notes[notes:]
        self._reports = False

    def _hop(self, at: str, what: str) -> None:
        self.hops.append(Hop(at, what))

    def _note(self, at: str, what: str) -> None:
        """Add a hop that explains why the ping works."""
        self._hop(at, what)
        self.notes.append(what)

    def _lost(self, at: str, what: str) -> Lost:
        self._hop(at, f"lost: {what}")
        return Lost(what)

    # --- out of a link ---------------------------------------------------------------------------------

    def _out_of(self, node: Node, way: Way, destination: Address, source: Address) -> str:
        """Return the next host of the packet."""
        at, via = node.name, f" via {way.via}" if way.via else ""
        dev = way.dev if way.dev == "lo" else node.link(way.dev).ifname
        self._hop(at, f"uses route {way.to or 'default'}{via} dev {dev}{_in_table(way)}")
        if way.dev == "lo":
            route = f"{self._the(at)}'s route to {self._address(destination)}"
            raise self._lost(at, f"{route} leads to its loopback, for proxy ARP")
        return self._through(node.link(way.dev), way.via or destination, destination, source)

    def _is_host(self, node: str) -> bool:
        return self.world.lab.is_host(node)

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
        target = self._resolve_in_l2(link, next_hop, source)
        inside = target == nic or target.parent == link.parent
        if inside and flag != "vepa":
            return self._to_sibling(link, destination)
        if inside and not self.world.reflects(link.parent):
            raise self._lost(link.node, self._vepa(link.parent))
        if inside:
            self._note(link.node, "flag vepa: the packet goes to the switch, which sends it back")
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
            self._hop(host.name, f"{parent} passes it to {the(host.name)}, which has that address")
            return host.name
        dev = nic.dev if bound else None
        way = host.way_to(destination, source, dev)
        if way is None and dev is not None:
            # ip_route_output_key_hash_rcu(): out of a given link, what has no route is taken for on link.
            what = f"no route to {destination} leads out of {dev}: the kernel takes it for on link"
            self._hop(host.name, what)
            way = Way(None, 4, dev)
        way = way or self._way(host, destination, source)
        out = host.link(way.dev)
        if sibling is not None and way.via is None and not self._others_with(destination, out):
            raise self._lost(host.name, self._vepa(parent))
        self._hop(host.name, f"{link.dev} uses the routes of {the(host.name)}: out of {out.dev}")
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
            self._hop(link.node, f"no endpoint has {destination}: {parent} passes it to {the(host)}")
            return host
        if flag == "private":
            raise self._lost(link.node, _siblings(flag))
        self._fits_into(sibling)
        what = _siblings(flag)
        if host in (sibling.node, link.node):
            what = f"the shim, an ipvlan interface of {the(host)} on {parent}, is a sibling of its endpoints"
        self._note(link.node, what)
        return sibling.node

    def _onto_segment(self, link: Link, next_hop: Address, destination: Address, source: Address) -> str:
        """Return the host that gets a frame from an ordinary link."""
        target = self._resolve(link, next_hop, source)
        upper = self.world.upper(destination, target.nic_of) if target.nic_of else None
        if upper is not None and next_hop != destination:
            via = the(target.node)
            what = f"{the(link.node)} has a route to {upper.owner} via {via}, and asks only for {via}"
            self._note(link.node, what)
        return self._over_the_wire(link, target, destination, source)

    def _over_the_wire(self, link: Link, target: Link, destination: Address, source: Address) -> str:
        """Return the host that gets a frame from the switch and the receiving link."""
        passing = self.world.passing
        inside = self._stays_inside(link, target)
        bridged = any(end.parent and end.kind == "nic" for end in (link, target))
        if bridged and not inside and self.world.reflects(link.segment):
            self.doubt = (
                "the switch sends the endpoint's frames back, and the host's bridge may look for it there"
            )
        of_host = self.world.host(link.parent).name if link.parent else link.node
        # The filter is for IPv4 in plain frames; frames with a VLAN tag pass it.
        tagged = link.segment != FAR and self.world.lab.parent_called(link.segment).vlan is not None
        filtered = source.version == 4 and not tagged and self._is_host(of_host) and not inside
        if passing is not None and filtered and source not in passing[of_host]:
            allowed = (self.world.state.allowed or {}).get(of_host, ())
            more = (f"{len(allowed) - _MOST_NAMED} more",) if len(allowed) > _MOST_NAMED else ()
            named = " and ".join((*allowed[:_MOST_NAMED], *more))
            what = f"port security: the switch drops packets from {self._address(source)} and allows {named}"
            raise self._lost("switch", what)
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
        self._hop(target.node, f"{target.dev} passes it to {upper.owner}, which has that address")
        return upper.node

    def _stays_inside(self, link: Link, target: Link) -> bool:
        """Return whether the host itself passes frames from one to the other: by its bridge or macvlan."""
        on, other = (end.parent or end.nic_of for end in (link, target))
        if not on or on != other:
            return False
        setting, of_host = self.world.settings[on], bool(link.nic_of or target.nic_of)
        return setting.kind == "veth" or (setting.kind, setting.flag, of_host) == ("macvlan", "bridge", False)

    def _fits_out_of(self, link: Link) -> None:
        """Lose a request above the MTU of the sending link; a reply is fragmented instead."""
        if self.bytes > link.mtu and not self.arrived:
            what = f"{self.bytes} bytes are more than the mtu of {_named(link)}: {link.mtu}"
            raise self._lost(link.node, what)

    def _fits_into(self, link: Link) -> None:
        """Lose a request that the receiving link does not accept (is_skb_forwardable())."""
        mtu = link.mtu if link.port_mtu is None else link.port_mtu
        if self.bytes > mtu + _VLAN_TAG and not self.arrived:
            accepts = f"{_named(link)} accepts: mtu {mtu} and {_VLAN_TAG} more"
            raise self._lost(link.node, f"{self.bytes} bytes are more than {accepts}")

    # --- which link has an address ---------------------------------------------------------------------

    def _resolve(self, link: Link, address: Address, source: Address) -> Link:
        """Return the link that has the MAC for `address`, asked for out of an ordinary link."""
        heard = self._heard.get((link.node, address))
        there = self._others_with(address, link)
        if heard in (None, *there) and there:
            entry = (link.owner, address)
            other = self._one_of(there, entry, heard)
            if other.nic_of:
                self._happens(entry, "used" if self._knows(entry) else "asked")
            if heard is None and (martian := self._martian(link, other, address, source)):
                self.doubt = (
                    f"{martian}: {self._arp(link, address)} gets no answer, but an entry may be there"
                )
            if heard is None and link.nic_of:
                self._answered_to_the_host(link, other, address, source)
            return self._ask_nic(link, other, address, source)
        upper = self.world.upper_in(link.segment, address)
        if upper is not None:
            if link == self.world.nic(upper.parent):
                return self._ask_from_parent(link, upper, address, source)
            return self._resolve_upper(link, upper, address, source)
        self._refuse_down(link, address)
        why = f"no host there has {self._address(address)}"
        if self.world.nodes[link.node].has(address):
            why = f"{self._the(link.node)} has {self._address(address)} on another link than {link.ifname}"
        raise self._unanswered(link, address, why)

    def _others_with(self, address: Address, link: Link) -> list[Link]:
        """Return the ordinary links in the network of `link` that answer for `address`, without itself."""
        return [
            other
            for other in self.world.links_with(address)
            if other != link and other.segment == link.segment and self._answers(other, address)
        ]

    def _one_of(self, links: Sequence[Link], entry: Entry, heard: Link | None) -> Link:
        """Return that of `links` of which an entry has the MAC: if unknown, the one `heard`, or any."""
        known = self.world.state.learned.get(entry)
        if len(links) > 1 and known is None:
            self.rivals[entry] = tuple(link.node for link in links)
            if heard is None:
                self.undecided.add(entry)
                either = " or ".join(f"{self._the(node)}'s" for node in self.rivals[entry])
                of = f"{self._called(entry[0])}'s entry for {self._address(entry[1])}"
                self.decided = f"; {of} has {either} MAC"
        return next((link for link in links if link.node == known), heard or links[0])

    def _answered_to_the_host(self, link: Link, other: Link, address: Address, source: Address) -> None:
        """Lose what the host cannot resolve: the answer goes to an ipvlan link with the address it asks from.

        It asks from the packet's source if that is its address, in IPv6 on that link; else in IPv4 from its
        own in that subnet or any other, in IPv6 from a link-local one (arp_solicit(), ndisc_solicit()). The
        ipvlan link may be its shim.
        """
        entry, host = (link.node, address), self.world.nodes[link.node]
        has = host.has if address.version == 4 else link.has
        asks_from = source if has(source) else None
        if asks_from is None and address.version == 4:
            asks_from = host.source_for(Way(None, 4, link.dev, address), address)
        owner = self.world.upper(asks_from, link.nic_of) if asks_from else None
        by_arp = self.world.settings[link.nic_of].mode != "l3s" or address.version == 6
        if asks_from is None or owner is None or not by_arp:
            self.learned[entry] = other.node
            return
        what = f"the answer to {self._arp(link, address)} goes to {self._called(owner.owner)}"
        what += f", which has {self._address(asks_from)}"
        if entry not in self.world.state.learned:
            self.disputed.add(entry)
            raise self._lost(link.node, what)
        self.doubt = f"{the(link.node)}'s entry for {address} may expire, and {what}"

    def _led_away(self, link: Link, upper: Link, address: Address) -> Link | None:
        """Return the link to which an entry leads still, where the `upper` was before; None for others.

        What the kernel has heard of it since is in its entry. Raise Lost unless the host there forwards.
        """
        entry = (link.owner, address)
        former = self.world.state.led.get(entry)
        heard = address in self.broadcast or (link.node, address) in self._heard
        if former is None or heard or self.world.is_announced(upper, address):
            return None
        self.led.add(entry)
        self.used.add(entry)
        self._happens(entry, "used")
        nic, kind = self.world.nic(former), "an ARP" if address.version == 4 else "a neighbour"
        what = f"{the(link.owner)} still has {kind} entry for {upper.owner} that leads to {the(nic.node)}"
        if self.world.is_down(nic.node):
            raise self._lost(link.node, f"{what}, which is down")
        if address.version not in self.world.nodes[nic.node].forwards:
            raise self._lost(link.node, f"{what}, where it was")
        self._note(link.node, f"{what}, which forwards the packet")
        return nic

    def _refuse_down(self, link: Link, address: Address) -> None:
        """Lose what goes to a host that is down, be there an entry for it or not."""
        down = self.world.down_with(address)
        if down is None:
            return
        entry = (link.owner, address)
        if down.kind == "ipvlan" or (down.nic_of and not self.world.lab.is_endpoint(link.owner)):
            self.used |= {entry} & self.world.state.known.keys()
            self.events.append((entry, "used" if self._knows(entry) else "asked in vain"))
        host = self.world.lab.machine_of(down.owner)
        what = f"{host} is down" if down.owner == host else f"{down.owner} is on {host}, which is down"
        raise self._lost(link.node, what)

    def _resolve_upper(self, link: Link, upper: Link, address: Address, source: Address) -> Link:
        """Return the parent's link, where another host has or gets an entry for the upper's address."""
        if (led := self._led_away(link, upper, address)) is not None:
            return led
        entry, mode = (link.owner, address), self.world.settings[upper.parent].mode
        knows, host = self._knows(entry), self._the(self.world.host(upper.parent).name)
        if address in self.world.nodes[link.node].permanent:
            self._note(link.node, f"{the(link.node)} has a permanent neighbour entry for {upper.owner}")
        elif mode == "l2":
            if not knows and (martian := self._martian(link, upper, address, source)):
                self._happens(entry, "asked in vain")
                raise self._unanswered(link, address, martian)
            self._happens(entry, "used" if knows else "asked")
            if not knows and self.world.nodes[link.node].has(source):
                # The request names its sender (arp_process(), ndisc_recv_ns()).
                self.learned |= dict.fromkeys(self._hear_of(upper, source), link.node)
            asked = "ARP" if address.version == 4 else "neighbour solicitations"
            self._note(link.node, f"in l2 {upper.owner} answers {asked} itself, with the parent's MAC")
        elif self.world.is_proxied(upper, address):
            self._happens(entry, "used" if knows else "asked")
            self._note(link.node, f"{host} answers {self._arp(link, address)}, as its proxy")
        elif self.world.is_announced(upper, address):
            changed = not knows or entry in self.world.state.led
            self._happens(entry, "announced" if changed else "used")
            self.announced.add(entry)
            what = f"{host}'s announcements of {upper.owner} update {the(link.owner)}'s entry"
            self._note(link.node, what)
        elif entry in self.world.state.known:
            self.used.add(entry)
            self._happens(entry, "used")
            kind, lasts = "an ARP", UNTIL_IT_EXPIRES
            if address.version == 6:
                kind, lasts = "a neighbour", f"; {upper.owner} answers its probes, which are unicast"
            known = f"{kind} entry for {upper.owner} (from {self.world.state.known[entry].origin})"
            self._note(link.node, f"{the(link.owner)} still has {known}{lasts}")
        else:
            self._happens(entry, "asked in vain")
            what = f"{self._called(upper.owner)} is NOARP"
            if address.version == 6:
                what = f"neighbour solicitations go to {host}, which has another address"
            raise self._unanswered(link, address, f"in {mode} {what}")
        return self.world.nic(upper.parent)

    def _martian(self, link: Link, other: Link, address: Address, source: Address) -> str:
        """Return why the host of `other` does not answer `link`: it has the address that asks, too.

        In IPv4 its kernel takes such a question for a martian (arp_process(), fib_validate_source()).
        """
        here = self.world.nodes[link.node]
        asks_from = source if here.has(source) else here.source_for(Way(None, 4, link.dev, address), address)
        if address.version == 6 or asks_from is None or not self.world.nodes[other.node].has(asks_from):
            return ""
        return f"{self._the(link.node)} asks from {self._address(asks_from)}, which {other.owner} has too"

    def _ask_from_parent(self, link: Link, upper: Link, address: Address, source: Address) -> Link:
        """The host's own request goes to the wire, and comes back only from a switch that reflects.

        In l2 the endpoint answers then. In l3s the host hears its own announcements, which fill its entry. In
        IPv6 it answers its own solicitations as the endpoint's proxy (ndisc_recv_ns()).
        """
        mode, entry = self.world.settings[upper.parent].mode, (link.node, address)
        knows = self._knows(entry)
        if self.world.is_dummy(upper.parent):
            what = f"{_STAY_APART}: {link.dev}, a dummy, drops what {self._the(link.node)} sends"
            raise self._lost(link.node, what)
        if self.world.reflects(upper.parent):
            announced = mode == "l3s" and self.world.is_announced(upper, address)
            answered = mode == "l2" or self.world.is_proxied(upper, address)
            if answered or announced or knows:
                self._note(link.node, _HAIRPIN)
                self._happens(entry, "used" if knows else "announced" if announced else "asked")
                self.used |= {entry} if knows and not (answered or announced) else set()
                return link
        if not knows:
            self._happens(entry, "asked in vain")
        question = f"{self._the(link.node)}'s {_question(source)}"
        lost = f"{question} for {self._called(upper.owner)} goes only to the wire"
        raise self._lost(link.node, f"{_STAY_APART}: {lost}")

    def _resolve_in_l2(self, link: Link, address: Address, source: Address) -> Link:
        """Return the link that has the MAC for `address`: siblings and the wire get an endpoint's request.

        A sibling answers first. In IPv4 that decides for a second (neigh locktime), in IPv6 the last answer
        does (it overrides, RFC 4861 7.2.5); an entry that the endpoint has already wins.
        """
        nic, entry = self.world.nic(link.parent), (link.dev, address)
        state = self.world.state
        asks_from_link_local = link.is_shim and address.version == 6 and not link.has(source)
        if asks_from_link_local and state.now < state.began + _DAD_S:
            self.doubt = f"{link.dev} asks from its link-local address, which may still be tentative"
        has = entry in state.known or entry in self._told
        if address.version == 4 and not has and entry not in {**state.learned, **self.learned}:
            self.broadcast.add(source)
        moved = self.world.upper_in(link.segment, address)
        if moved is not None and (led := self._led_away(link, moved, address)) is not None:
            return led
        there = [other for other in self.world.links_with(address) if other not in (nic, link)]
        siblings = [other for other in there if self._answers_siblings(other, address, link.parent)]
        others = [o for o in there if o.segment == link.segment and self._answers(o, address)]
        known = self.learned.get(entry) or state.learned.get(entry)
        if known is None and entry in self._told:
            known = nic.node
        if known is None and not has and address.version == 4:
            self._needs_its_address(link, entry, source)
        if siblings and others:
            for other in others if known is None else ():
                self._hears(link, other, source)
            known = self._decided(entry, known, nic.node, others[0].node)
        if siblings and (known == nic.node or not others):
            if entry not in state.learned:
                self._told |= self._hear_of(siblings[0], source)
            self.learned[entry] = nic.node
            return siblings[0]
        if others:
            self.learned[entry] = others[0].node
            return self._ask_nic(link, others[0], address, source)
        return self._resolve_elsewhere(link, address, source)

    def _resolve_elsewhere(self, link: Link, address: Address, source: Address) -> Link:
        """Return the link that has the MAC for `address`, which no sibling has, and no other host's own link.

        It may be an endpoint of another host, or the host itself where the switch reflects.
        """
        nic, upper = self.world.nic(link.parent), self.world.upper_in(link.segment, address)
        if upper is not None and upper.parent != link.parent:
            return self._resolve_upper(link, upper, address, source)
        if self._answers(nic, address):
            if not self.world.reflects(link.parent):
                where = "siblings" if self.world.is_dummy(link.parent) else "siblings and the wire"
                lost = f"{_question(address)} for {self._the(nic.node)} goes only to {where}"
                raise self._lost(link.node, f"{_STAY_APART}: {self._called(link.node)}'s {lost}")
            self._note(link.node, _HAIRPIN)
            return nic
        self._refuse_down(link, address)
        raise self._unanswered(link, address, f"no host there has {self._address(address)}")

    def _needs_its_address(self, link: Link, entry: Entry, source: Address) -> None:
        """Lose what the link asks for from an address of another link.

        In IPv4 it asks from the source of the packet, if the namespace has that (arp_solicit()).
        The kernel passes the answer by that address (ipvlan_addr_lookup()).
        """
        if link.has(source) or not self.world.nodes[link.node].has(source):
            return
        self.disputed.add(entry)
        asks = f"{self._called(link.owner)} asks from {self._address(source)}, which another link has"
        host = self._the(self.world.nic(link.parent).node)
        raise self._lost(link.node, f"{asks}, so the answer to its ARP goes to {host}")

    def _hear_of(self, link: Link, source: Address) -> set[Entry]:
        """Return the entries that a question for an address of `link`, in l2, makes in its namespace.

        ARP is broadcast, and each link there answers for all addresses; a solicitation is for one link.
        """
        there = self.world.nodes[link.node].links if source.version == 4 else (link,)
        return {(other.dev, source) for other in there if other.parent == link.parent}

    def _answers_siblings(self, link: Link, address: Address, parent: str) -> bool:
        """Return whether a link on `parent` answers: the shim for any IPv4 address of the host."""
        answers = link.has(address) or (link.is_shim and self._answers_for_all(link, address))
        return answers and link.kind == "ipvlan" and link.parent == parent

    def _decided(self, entry: Entry, known: str | None, here: str, other: str) -> str:
        """Return the host of which an entry has the MAC where a sibling and an `other` answer; note why.

        The sibling has that of the host `here`.
        """
        if entry not in self.world.state.learned:
            self.disputed.add(entry)
        at, address = entry
        by_answers, why = (here, "the first answer") if address.version == 4 else (other, "the last answer")
        node = known or by_answers
        owner = "the parent's" if node == here else f"{self._the(node)}'s"
        entry_ = f"{self._called(at)}'s entry for {self._address(address)}"
        self.decided = f"; {entry_} has {owner} MAC{'' if known else f', from {why}'}"
        return node

    def _ask_nic(self, link: Link, other: Link, address: Address, source: Address) -> Link:
        """Return `other`, an ordinary or a macvlan link, if the request and its answer get through."""
        apart = self._why_apart(link, other) or self._why_swallowed(link, other, address)
        if apart:
            raise self._lost(link.node, apart)
        self._hop(link.node, f"{the(other.node)} answers for {address}")
        self._hears(link, other, source)
        return other

    def _hears(self, link: Link, other: Link, source: Address) -> None:
        """The host that is asked keeps an entry for the sender, and needs no other for its reply."""
        if self.world.nodes[link.node].has(source):
            self._heard.setdefault((other.node, source), link)
            if other.nic_of:
                self.learned[other.node, source] = link.node
            if other.kind == "macvlan" and link == self.world.nic(other.parent):
                self._learns_of_host((other.dev, source), link.node)
            if self.world.upper(source) is not None:
                self._happens((other.owner, source), "heard")

    def _why_apart(self, link: Link, other: Link) -> str:
        """Return why two links of one parent get no frames of each other (macvlan_queue_xmit())."""
        macvlan, second = (link, other) if link.kind == "macvlan" else (other, link)
        if macvlan.kind != "macvlan":
            return ""
        flag, hairpin = self.world.settings[macvlan.parent].flag, self.world.reflects(macvlan.parent)
        if second.kind == "macvlan" and second.parent == macvlan.parent:
            apart = flag == "private" or (flag != "bridge" and not hairpin)
            what = f"macvlan in {flag} mode: the kernel passes nothing between endpoints of a parent"
            return what if apart else ""
        if second == self.world.nic(macvlan.parent) and not hairpin:
            return "frames between a parent and its macvlan links go to the wire, and do not come back"
        return ""

    def _why_swallowed(self, link: Link, other: Link, address: Address) -> str:
        """Return why a private macvlan link gets no answer of the host (macvlan_handle_frame()).

        A request that the switch sends back is passed to the link that sent it, and to no other.
        """
        if link.kind != "macvlan" or other != self.world.nic(link.parent):
            return ""
        entry = (link.dev, address)
        if self.world.settings[link.parent].flag != "private" or self._knows_host(entry, other.node):
            return ""
        self.disputed.add(entry)
        what = (
            "macvlan in private mode: the kernel passes a request that comes back only to the endpoint that"
        )
        lost = f"{self._called(link.dev)}'s {_question(address)} for {self._the(other.node)} gets no answer"
        return f"{what} sent it, so {lost}"

    def _learns_of_host(self, entry: Entry, host: str) -> None:
        """Note that an endpoint learns the MAC address of its host from a request."""
        if not self._knows_host(entry, host):
            self.disputed.add(entry)
            self.learned[entry] = host

    def _knows_host(self, entry: Entry, host: str) -> bool:
        return host in (self.learned.get(entry), self.world.state.learned.get(entry))

    def _answers(self, link: Link, address: Address) -> bool:
        """Return whether `link` answers for `address`: for IPv4, for any of its host's."""
        if link.kind == "ipvlan" or (address.version == 4 and self._is_taken_from(link, address)):
            return False
        return link.has(address) or (
            self._answers_for_all(link, address) and self.world.nodes[link.node].has(address)
        )

    def _is_taken_from(self, link: Link, address: Address) -> bool:
        """Return whether an endpoint in l3 gets the ARP for `address`, which it has too, not the host."""
        return (
            bool(link.nic_of)
            and self.world.settings[link.nic_of].mode == "l3"
            and self.world.upper(address, link.nic_of) is not None
        )

    def _answers_for_all(self, link: Link, address: Address) -> bool:
        """Return whether `link` answers for addresses of its host's other links (arp_ignore=0)."""
        return address.version == 4 and self.world.sysctl(link, "arp_ignore") == 0

    def _happens(self, entry: Entry, event: Event) -> None:
        """Note what happens to an entry, of an endpoint only to one for an ipvlan link of another host."""
        if not self.world.lab.is_endpoint(entry[0]) or self.world.upper(entry[1]) is not None:
            self.events.append((entry, event))

    def _knows(self, entry: Entry) -> bool:
        """Return whether a peer has the entry, from before or since this ping."""
        return entry in self.world.state.known or any(entry == other for other, _ in self.events)

    def _unanswered(self, link: Link, address: Address, why: str) -> Lost:
        return self._lost(link.node, f"{why}, so {self._arp(link, address)} gets no answer")

    def _arp(self, link: Link, address: Address) -> str:
        """Return the display name of a request for the MAC of `address`."""
        upper = self.world.upper(address)
        of = self._called(upper.owner) if upper else self._address(address)
        return f"{self._the(link.node)}'s {_question(address)} for {of}"

    # --- what a reason calls a node --------------------------------------------------------------------

    def _the(self, name: str) -> str:
        return self._kind(name) or the(name)

    def _called(self, name: str) -> str:
        return self._kind(name) or name

    def _address(self, address: Address) -> str:
        """Return what a reason calls an address."""
        ends = self._ends or ()
        owner = next((end for end in ends if self.world.nodes[end].has(address)), None)
        return str(address) if owner is None else f"{self._the(owner)}'s address"

    def _kind(self, name: str) -> str:
        """Return the kind of a node that is one of the ends, by which a reason calls it, or nothing."""
        lab, nodes = self.world.lab, self.world.nodes
        if self._ends is None or (self._is_host(name) and not lab.several_hosts):
            return ""
        # Of the packet under way, which is the reply where the request has arrived.
        ends = tuple(reversed(self._ends)) if self.arrived else self._ends
        called = dict(zip(filter(lab.is_endpoint, ends), ("the endpoint", "another endpoint"), strict=False))
        own = next((called[end] for end in called if self._is_host(name) and lab.host_of(end) == name), "")
        if own:
            return f"{own}'s host"
        end = next((end for end in ends if nodes.get(name) is nodes[end]), None)
        return "" if end is None else called.get(end, "another host")


def _question(address: Address) -> str:
    return "ARP" if address.version == 4 else "neighbour solicitation"


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
