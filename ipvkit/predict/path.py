"""Follows a packet through a world, hop by hop, until it arrives or is lost.

Sources: drivers/net/ipvlan/ipvlan_core.c (ipvlan_queue_xmit, ipvlan_handle_frame), ipvlan_l3s.c,
drivers/net/macvlan.c, net/ipv4/arp.c, net/ipv6/ndisc.c; Documentation/networking/ipvlan.rst.
"""

from dataclasses import dataclass, field

from ipvkit.core.values import Address
from ipvkit.lab import FAR, HOST, PEERS, family_of
from ipvkit.predict.memory import Entry
from ipvkit.predict.world import Link, Node, Way, World

_MOST_HOPS = 8
_HEADERS = {"ipv4": 28, "ipv6": 48}
"""What IP and ICMP add to a ping's payload, in bytes."""

_VLAN_TAG = 4
"""What a link takes above its MTU, in bytes."""

_MOST_TOLD = 5
"""How many roles a reason tells by their names."""

_STAY_APART = "a parent and its endpoints do not talk"


@dataclass(frozen=True, slots=True)
class Hop:
    """What becomes of a packet at one host."""

    at: str
    what: str


class Lost(Exception):
    """The packet ends here, for this reason."""


@dataclass(slots=True)
class Path:
    """A ping's way there and back; `reason` is why it is lost, or what made it possible.

    `asked` are the entries of peers that it needed, with whether somebody answered for them; `used` the
    entries that were there before and that nobody confirms.
    """

    hops: list[Hop] = field(default_factory=list)
    arrives: bool = False
    replied: bool = False
    reason: str = ""
    asked: dict[Entry, bool] = field(default_factory=dict)
    used: set[Entry] = field(default_factory=set)


def follow(world: World, source: str, destination: Address, size: int | None = None) -> Path:
    """Return the way of a ping from the host `source` to `destination`, with `size` bytes of payload."""
    return _Tracer(world, size).ping(source, destination)


class _Tracer:
    def __init__(self, world: World, size: int | None) -> None:
        self.world = world
        self.size = size
        self.path = Path()
        self.notes: list[str] = []
        self.replying = False

    def ping(self, source: str, destination: Address) -> Path:
        path = self.path
        try:
            if self.world.nodes[source].has(destination):
                what = f"{_the(source)} has {destination} too, and sends to itself, with its loopback down"
                raise self._lost(source, what)
            own = self._source(source, destination)
            there = self._carry(source, destination, own)
            path.arrives = True
            self.replying = True
            back = self._carry(there, own, destination)
            if back != source:
                raise self._lost(back, f"{_the(back)} has {own} too, and keeps the reply for itself")
            path.replied = True
            path.reason = self.notes[0] if self.notes else "both know the way to each other"
        except Lost as lost:
            path.reason = f"the request arrives; {lost}" if path.arrives else str(lost)
        return path

    def _source(self, name: str, destination: Address) -> Address:
        node = self.world.nodes[name]
        way = self._way(node, destination)
        own = node.source_for(way)
        if own is None:
            raise self._lost(name, f"{_the(name)} has no {_FAMILY[way.family]} address")
        return own

    def _way(self, node: Node, destination: Address, dev: str | None = None) -> Way:
        way = node.way_to(destination, dev)
        if way is None:
            out = f" out of {dev}" if dev else ""
            raise self._lost(node.name, f"{_the(node.name)} has no route to {destination}{out}")
        return way

    def _carry(self, at: str, destination: Address, source: Address) -> str:
        """Return the host at which the packet arrives; raise Lost where it does not."""
        for hop in range(_MOST_HOPS):
            node = self.world.nodes[at]
            if node.has(destination):
                self._tell(at, f"{destination} is its own: the packet has arrived")
                return at
            if hop and not node.forwards:
                raise self._lost(at, f"{_the(at)} does not forward what is for others")
            way = self._way(node, destination)
            at = self._out_of(node, way, destination, source)
        raise self._lost(at, "the packet goes round in circles")

    def _tell(self, at: str, what: str) -> None:
        self.path.hops.append(Hop(at, what))

    def _note(self, at: str, what: str) -> None:
        """Tell of a hop that explains why it works."""
        self._tell(at, what)
        self.notes.append(what)

    def _lost(self, at: str, what: str) -> Lost:
        self._tell(at, f"lost: {what}")
        return Lost(what)

    # --- out of a link ---------------------------------------------------------------------------------

    def _out_of(self, node: Node, way: Way, destination: Address, source: Address) -> str:
        """Return the host at which the packet is next."""
        via = f" via {way.via}" if way.via else ""
        to = way.to if way.to is not None else "default"
        self._tell(node.name, f"route {to}{via} dev {way.dev} takes it")
        if way.dev == "lo":
            what = f"{_the(node.name)}'s route to {destination} leads to its loopback, for the proxy's sake"
            raise self._lost(node.name, what)
        link = node.link(way.dev)
        self._fits_out_of(link, destination)
        if link.kind != "ipvlan":
            return self._onto_segment(link, way.via or destination, destination, source)
        if self.world.setting(link.parent).mode == "l2":
            return self._out_of_l2(link, way.via or destination, destination, source)
        return self._out_of_l3(link, destination, source)

    def _out_of_l2(self, link: Link, next_hop: Address, destination: Address, source: Address) -> str:
        """ipvlan_xmit_mode_l2(): by MAC; what is for the parent's own stays inside, unless flag vepa."""
        setting = self.world.setting(link.parent)
        target = self._resolve_in_l2(link, next_hop, source)
        inside = target == self.world.nic(link.parent) or target.parent == link.parent
        if inside and setting.flag != "vepa":
            return self._to_sibling(link, destination)
        if inside and not self.world.state.hairpin:
            raise self._lost(link.node, _siblings(setting.flag))
        if inside:
            self._note(link.node, "with flag vepa the packet goes out to the switch, which sends it back")
        return self._over_the_wire(self.world.nic(link.parent), target, destination, source)

    def _out_of_l3(self, link: Link, destination: Address, source: Address) -> str:
        """ipvlan_xmit_mode_l3(): by IP; what is for no sibling is routed by the parent's namespace."""
        parent, host = link.parent, self.world.nodes[HOST]
        sibling = self.world.rider(destination, parent)
        if sibling is not None and self.world.setting(parent).flag != "vepa":
            return self._to_sibling(link, destination)
        if host.has(destination):
            self._tell(HOST, f"{parent} hands it to the host, whose address that is")
            return HOST
        # For IPv6 the parent is a preference only: the best route wins, out of whatever link.
        way = self._way(host, destination, self.world.nic(parent).dev if destination.version == 4 else None)
        if sibling is not None and way.via is None:
            raise self._lost(HOST, _siblings("vepa"))
        nic = host.link(way.dev)
        self._tell(HOST, f"{link.dev} has the host's routes say which way: out of {nic.dev}")
        self._fits_out_of(nic, destination)
        return self._onto_segment(nic, way.via or destination, destination, source)

    def _to_sibling(self, link: Link, destination: Address) -> str:
        flag = self.world.setting(link.parent).flag
        sibling = self.world.rider(destination, link.parent)
        if sibling is None:
            self._tell(link.node, f"{destination} is no endpoint's: {link.parent} hands it to the host")
            return HOST
        if flag == "private":
            raise self._lost(link.node, _siblings(flag))
        self._fits_into(sibling, destination)
        if HOST in (sibling.node, link.node):
            what = f"the shim, the host's own link on {link.parent}, is a sibling of its endpoints"
            self._note(link.node, what)
        else:
            self._note(link.node, _siblings(flag))
        return sibling.node

    def _onto_segment(self, link: Link, next_hop: Address, destination: Address, source: Address) -> str:
        """Return the host that gets a frame from an ordinary link."""
        target = self._resolve(link, next_hop, source)
        rider = self.world.rider(destination, target.segment) if target.node == HOST else None
        if rider is not None and next_hop != destination:
            what = f"{_the(link.node)} has a route to {rider.node} by the host, and asks for the host only"
            self._note(link.node, what)
        return self._over_the_wire(link, target, destination, source)

    def _over_the_wire(self, link: Link, target: Link, destination: Address, source: Address) -> str:
        """Return the host to which the switch, and the link that gets the frame, give it."""
        passing = self.world.passing
        # The filter is for IPv4 in plain frames; what has a VLAN's tag passes it.
        tagged = link.segment != FAR and self.world.lab.parent_called(link.segment).vlan is not None
        filtered = source.version == 4 and not tagged and self._is_hosts_port(link)
        if passing is not None and filtered and source not in passing:
            what = f"the switch drops what comes from {source}: its port security allows"
            raise self._lost("switch", f"{what} {_some(self.world.state.allowed or ())}")
        self._fits_into(target, destination)
        rider = self.world.rider(destination, target.segment) if target.node == HOST else None
        if rider is None or target.kind != "nic":
            return target.node
        self._tell(HOST, f"{target.dev} hands it to {rider.node}, whose address that is")
        return rider.node

    def _is_hosts_port(self, link: Link) -> bool:
        return link.node == HOST or bool(link.parent)

    def _fits_out_of(self, link: Link, destination: Address) -> None:
        """Lose what is larger than the MTU of the link that sends it; a reply is fragmented instead."""
        size = self._bytes(destination)
        if size > link.mtu and not self.replying:
            raise self._lost(link.node, f"{size} bytes are more than the mtu of {_whose(link)}: {link.mtu}")

    def _fits_into(self, link: Link, destination: Address) -> None:
        """Lose what is larger than the link that gets it takes (is_skb_forwardable())."""
        size = self._bytes(destination)
        if size > link.mtu + _VLAN_TAG and not self.replying:
            what = (
                f"{size} bytes are more than {_whose(link)} takes: its mtu, {link.mtu}, and {_VLAN_TAG} more"
            )
            raise self._lost(link.node, what)

    def _bytes(self, destination: Address) -> int:
        """Return the size of the packet; one of which none is given fits everywhere."""
        return 0 if self.size is None else self.size + _HEADERS[family_of(destination)]

    # --- who has an address ----------------------------------------------------------------------------

    def _resolve(self, link: Link, address: Address, source: Address) -> Link:
        """Return the link that has the MAC for `address`, asked for out of an ordinary link."""
        for other in self.world.links_with(address):
            if other != link and other.segment == link.segment and self._answers(other, address):
                return self._ask_nic(link, other, address, source)
        rider = self.world.rider(address, link.segment)
        if rider is not None:
            if link == self.world.nic(rider.parent):
                return self._ask_from_parent(link, rider, source)
            return self._resolve_rider(link, rider, address, source)
        raise self._lost(link.node, f"{self._arp(link, address)} gets no answer: nobody there has {address}")

    def _resolve_rider(self, link: Link, rider: Link, address: Address, source: Address) -> Link:
        """Return the parent's link, where another host has or gets an entry for the rider's address."""
        on_parent, entry = self.world.nic(rider.parent), (link.node, address)
        setting = self.world.setting(rider.parent)
        if address in self.world.nodes[link.node].permanent:
            self._note(link.node, f"{link.node} has a permanent neighbour entry for {rider.node}")
        elif setting.mode == "l2":
            self._asked(entry, answered=True)
            asked = "ARP" if address.version == 4 else "neighbour solicitations"
            self._note(link.node, f"in l2 {rider.node} answers {asked} itself, with the parent's MAC")
            self._learn(rider.node, link, source)
        elif self.world.is_proxied(rider, address):
            self._asked(entry, answered=True)
            asked = f"{link.node}'s {_question(address)} for {rider.node}"
            self._note(link.node, f"the host answers {asked}, as its proxy")
        elif self.world.is_announced(rider, address):
            self._asked(entry, answered=True)
            self._note(link.node, f"the host's announcements of {rider.node} fill {link.node}'s entry")
        elif entry in self.world.state.known:
            self.path.used.add(entry)
            known = f"{link.node} knows {rider.node} from {self.world.state.known[entry]}"
            self._note(link.node, f"warm: {known}; works until that entry ages")
        else:
            self._asked(entry, answered=False)
            silent = f"gets no answer: in {setting.mode} {rider.node}'s device is NOARP"
            if address.version == 6:
                silent = f"gets no answer: in {setting.mode} it goes to the host, which has not that address"
            raise self._lost(link.node, f"{self._arp(link, address)} {silent}")
        return on_parent

    def _ask_from_parent(self, link: Link, rider: Link, source: Address) -> Link:
        """The host's own question goes to the wire, and comes back only from a switch that reflects."""
        if self.world.state.hairpin and self.world.setting(rider.parent).mode == "l2":
            self._note(HOST, "the switch sends frames back, so the host and its endpoints hear each other")
            self._learn(rider.node, link, source)
            return link
        lost = f"the host's {_question(source)} for {rider.node} goes to the wire, where nobody answers"
        raise self._lost(HOST, f"{lost}: {_STAY_APART}")

    def _resolve_in_l2(self, link: Link, address: Address, source: Address) -> Link:
        """Return the link that has the MAC for `address`: siblings and the wire hear an endpoint ask."""
        parent, nic = link.parent, self.world.nic(link.parent)
        sibling = self._sibling_with(link, address)
        if sibling is not None:
            self._learn(sibling.node, link, source)
            return sibling
        for other in self.world.links_with(address):
            if other.segment == parent and other not in (nic, link) and self._answers(other, address):
                return self._ask_nic(link, other, address, source)
        if self._answers(nic, address):
            if not self.world.state.hairpin:
                asked = f"{link.node}'s {_question(address)} for the host"
                lost = f"{asked} goes to siblings and the wire, never to the host"
                raise self._lost(link.node, f"{lost}: {_STAY_APART}")
            self._note(
                link.node, "the switch sends frames back, so the host and its endpoints hear each other"
            )
            self._learn(HOST, link, source)
            return nic
        raise self._lost(link.node, f"{self._arp(link, address)} gets no answer: nobody there has {address}")

    def _sibling_with(self, link: Link, address: Address) -> Link | None:
        """Return the sibling that answers for `address`: the shim for any IPv4 address of the host."""
        for sibling in self.world.links_with(address):
            if sibling.kind != "ipvlan" or sibling.parent != link.parent or sibling == link:
                continue
            of_host = sibling.node == HOST and address.version == 4 and self.world.nodes[HOST].has(address)
            if sibling.has(address) or of_host:
                return sibling
        return None

    def _ask_nic(self, link: Link, other: Link, address: Address, source: Address) -> Link:
        """Return `other`, an ordinary or a macvlan link, if the question and its answer get through."""
        apart = self._why_apart(link, other)
        if apart:
            raise self._lost(link.node, apart)
        self._tell(link.node, f"{_the(other.node)} answers for {address}")
        self._learn(other.node, link, source)
        return other

    def _why_apart(self, link: Link, other: Link) -> str:
        """Return why two links on one parent do not hear each other (macvlan_queue_xmit()), or nothing."""
        if "macvlan" not in (link.kind, other.kind) or (
            self.world.state.hairpin and not self._private(link, other)
        ):
            return ""
        if link.kind == other.kind == "macvlan" and link.parent == other.parent:
            flag = self.world.setting(link.parent).flag
            return "" if flag == "bridge" else f"siblings: macvlan in {flag} mode keeps them apart"
        macvlan, nic = (link, other) if link.kind == "macvlan" else (other, link)
        if nic == self.world.nic(macvlan.parent):
            return "frames between a parent and its macvlan links go to the wire, and do not come back"
        return ""

    def _private(self, link: Link, other: Link) -> bool:
        both = link.kind == other.kind == "macvlan" and link.parent == other.parent
        return both and self.world.setting(link.parent).flag == "private"

    def _answers(self, link: Link, address: Address) -> bool:
        """Return whether `link` answers for `address`: for IPv4, for any of its host's (arp_ignore=0)."""
        if link.kind == "ipvlan":
            return False
        return link.has(address) or (address.version == 4 and self.world.nodes[link.node].has(address))

    def _learn(self, who: str, link: Link, source: Address) -> None:
        """Whoever answers keeps an entry for the asker, and a peer needs none for the way back."""
        node = self.world.nodes[link.node]
        rider = self.world.rider(source)
        if who in PEERS and node.has(source) and rider is not None:
            self._asked((who, source), answered=True)

    def _asked(self, entry: Entry, *, answered: bool) -> None:
        if entry[0] in PEERS:
            self.path.asked[entry] = answered

    def _arp(self, link: Link, address: Address) -> str:
        """Return whose question for whom it is."""
        what = _question(address)
        if self.replying and link.node != HOST:
            return f"{_the(link.node)}'s {what} for the way back"
        rider = self.world.rider(address)
        return f"{_the(link.node)}'s {what} for {rider.node if rider else address}"


def _some(roles: tuple[str, ...]) -> str:
    """Return `roles`, or the first of many."""
    told = roles if len(roles) <= _MOST_TOLD else (*roles[:_MOST_TOLD], f"{len(roles) - _MOST_TOLD} more")
    return " and ".join(told)


_FAMILY = {"ipv4": "IPv4", "ipv6": "IPv6"}


def _question(address: Address) -> str:
    """Return what a host asks by, for the MAC of an address of that family."""
    return "ARP" if address.version == 4 else "neighbour solicitation"


def _the(node: str) -> str:
    return {HOST: "the host", FAR: "the far host"}.get(node, node)


def _whose(link: Link) -> str:
    return link.dev if link.dev == link.node else f"{_the(link.node)}'s {link.dev}"


def _siblings(flag: str) -> str:
    """What a flag makes of packets among siblings, in every mode (ipvlan_xmit_mode_l2(), …_l3())."""
    match flag:
        case "bridge":
            return "siblings: with flag bridge the parent hands the packet over inside the kernel"
        case "private":
            lost = "the kernel drops what goes from one endpoint of a parent to another"
        case _:
            lost = "the packet goes out to the switch, which sends nothing back to the port it came from"
    return f"siblings: with flag {flag} {lost}"
