"""Finds the link that has the MAC for an address: by an entry, by a question, or not at all.

Sources: drivers/net/ipvlan/ipvlan_core.c (ipvlan_handle_frame), drivers/net/macvlan.c, net/ipv4/arp.c,
net/ipv6/ndisc.c, net/core/neighbour.c.
"""

from collections.abc import Sequence
from typing import Literal

from ipvkit.core.values import Address
from ipvkit.lab import the
from ipvkit.predict.trace import Lost, Trace
from ipvkit.predict.world import Entry, Link, Way, World

_DAD_S = 2.3
"""How long a new link's own address may be tentative, in seconds: a random delay of up to 1 s, and then DAD
for 1 s (addrconf_dad_kick()), and a little."""

Event = Literal["heard", "asked", "asked in vain", "used", "announced"]
"""What happens to an entry: its peer hears from the host, asks it, uses it, or gets an announcement."""

UNTIL_IT_EXPIRES = ", until it expires"
"""The end of a reason that holds as long as a neighbour entry."""

_HAIRPIN = "the switch sends frames back, so the host and its endpoints reach each other"
_STAY_APART = "the kernel passes nothing between a parent and its ipvlan interfaces"


class Resolution:
    """What a ping asks for, and the entries that it uses and makes, on its way there and back.

    `events` are what happens to the entries of peers, in order; `used` are the entries that existed before
    and that may have failed by now, `announced` those that the host announces, and `led` those that lead to
    where an endpoint was. `broadcast` are addresses from which endpoints ask by ARP. `learned` are the hosts
    of which the host and endpoints in l2 learn the MAC address; `disputed` are those of their entries that
    did not exist before, and that another ping could fill otherwise. `rivals` are the hosts of which other
    entries may have the MAC address, of which those `undecided` depend on no question of this ping.
    """

    def __init__(self, world: World, trace: Trace) -> None:
        """Ask nothing yet, with the entries that are there in `world`; reasons go into `trace`."""
        self.world, self.trace = world, trace
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

    def on_segment(self, link: Link, address: Address, source: Address) -> Link:
        """Return the link that has the MAC for `address`, asked for out of an ordinary link."""
        heard = self._heard.get((link.node, address))
        there = self.others_with(address, link)
        if heard in (None, *there) and there:
            entry = (link.owner, address)
            other = self._one_of(there, entry, heard)
            if other.nic_of:
                self._happens(entry, "used" if self._knows(entry) else "asked")
            if heard is None and (martian := self._martian(link, other, address, source)):
                self.trace.doubt = (
                    f"{martian}: {self._arp(link, address)} gets no answer, but an entry may be there"
                )
            if heard is None and link.nic_of:
                self._answered_to_the_host(link, other, address, source)
            return self._ask_nic(link, other, address, source)
        upper = self.world.upper_in(link.segment, address)
        if upper is not None:
            if link == self.world.nic(upper.parent):
                return self._ask_from_parent(link, upper, address, source)
            return self._upper(link, upper, address, source)
        self._refuse_down(link, address)
        why = f"no host there has {self.trace.address(address)}"
        if self.world.nodes[link.node].has(address):
            has = f"{self.trace.the(link.node)} has {self.trace.address(address)}"
            why = f"{has} on another link than {link.ifname}"
        raise self._unanswered(link, address, why)

    def others_with(self, address: Address, link: Link) -> list[Link]:
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
                either = " or ".join(f"{self.trace.the(node)}'s" for node in self.rivals[entry])
                of = f"{self.trace.called(entry[0])}'s entry for {self.trace.address(entry[1])}"
                self.trace.decided = f"; {of} has {either} MAC"
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
        what = f"the answer to {self._arp(link, address)} goes to {self.trace.called(owner.owner)}"
        what += f", which has {self.trace.address(asks_from)}"
        if entry not in self.world.state.learned:
            self.disputed.add(entry)
            raise self.trace.lost(link.node, what)
        self.trace.doubt = f"{the(link.node)}'s entry for {address} may expire, and {what}"

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
            raise self.trace.lost(link.node, f"{what}, which is down")
        if address.version not in self.world.nodes[nic.node].forwards:
            raise self.trace.lost(link.node, f"{what}, where it was")
        self.trace.note(link.node, f"{what}, which forwards the packet")
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
        raise self.trace.lost(link.node, what)

    def _upper(self, link: Link, upper: Link, address: Address, source: Address) -> Link:
        """Return the parent's link, where another host has or gets an entry for the upper's address."""
        if (led := self._led_away(link, upper, address)) is not None:
            return led
        entry, mode = (link.owner, address), self.world.settings[upper.parent].mode
        knows, host = self._knows(entry), self.trace.the(self.world.host(upper.parent).name)
        if address in self.world.nodes[link.node].permanent:
            self.trace.note(link.node, f"{the(link.node)} has a permanent neighbour entry for {upper.owner}")
        elif mode == "l2":
            if not knows and (martian := self._martian(link, upper, address, source)):
                self._happens(entry, "asked in vain")
                raise self._unanswered(link, address, martian)
            self._happens(entry, "used" if knows else "asked")
            if not knows and self.world.nodes[link.node].has(source):
                # The request names its sender (arp_process(), ndisc_recv_ns()).
                self.learned |= dict.fromkeys(self._hear_of(upper, source), link.node)
            asked = "ARP" if address.version == 4 else "neighbour solicitations"
            self.trace.note(link.node, f"in l2 {upper.owner} answers {asked} itself, with the parent's MAC")
        elif self.world.is_proxied(upper, address):
            self._happens(entry, "used" if knows else "asked")
            self.trace.note(link.node, f"{host} answers {self._arp(link, address)}, as its proxy")
        elif self.world.is_announced(upper, address):
            changed = not knows or entry in self.world.state.led
            self._happens(entry, "announced" if changed else "used")
            self.announced.add(entry)
            what = f"{host}'s announcements of {upper.owner} update {the(link.owner)}'s entry"
            self.trace.note(link.node, what)
        elif entry in self.world.state.known:
            self.used.add(entry)
            self._happens(entry, "used")
            kind, lasts = "an ARP", UNTIL_IT_EXPIRES
            if address.version == 6:
                kind, lasts = "a neighbour", f"; {upper.owner} answers its probes, which are unicast"
            known = f"{kind} entry for {upper.owner} (from {self.world.state.known[entry].origin})"
            self.trace.note(link.node, f"{the(link.owner)} still has {known}{lasts}")
        else:
            self._happens(entry, "asked in vain")
            what = f"{self.trace.called(upper.owner)} is NOARP"
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
        asks = f"{self.trace.the(link.node)} asks from {self.trace.address(asks_from)}"
        return f"{asks}, which {other.owner} has too"

    def _ask_from_parent(self, link: Link, upper: Link, address: Address, source: Address) -> Link:
        """The host's own request goes to the wire, and comes back only from a switch that reflects.

        In l2 the endpoint answers then. In l3s the host hears its own announcements, which fill its entry. In
        IPv6 it answers its own solicitations as the endpoint's proxy (ndisc_recv_ns()).
        """
        mode, entry = self.world.settings[upper.parent].mode, (link.node, address)
        knows = self._knows(entry)
        if self.world.is_dummy(upper.parent):
            what = f"{_STAY_APART}: {link.dev}, a dummy, drops what {self.trace.the(link.node)} sends"
            raise self.trace.lost(link.node, what)
        if self.world.reflects(upper.parent):
            announced = mode == "l3s" and self.world.is_announced(upper, address)
            answered = mode == "l2" or self.world.is_proxied(upper, address)
            if answered or announced or knows:
                self.trace.note(link.node, _HAIRPIN)
                self._happens(entry, "used" if knows else "announced" if announced else "asked")
                self.used |= {entry} if knows and not (answered or announced) else set()
                return link
        if not knows:
            self._happens(entry, "asked in vain")
        question = f"{self.trace.the(link.node)}'s {_question(source)}"
        lost = f"{question} for {self.trace.called(upper.owner)} goes only to the wire"
        raise self.trace.lost(link.node, f"{_STAY_APART}: {lost}")

    def in_l2(self, link: Link, address: Address, source: Address) -> Link:
        """Return the link that has the MAC for `address`: siblings and the wire get an endpoint's request.

        A sibling answers first. In IPv4 that decides for a second (neigh locktime), in IPv6 the last answer
        does (it overrides, RFC 4861 7.2.5); an entry that the endpoint has already wins.
        """
        nic, entry = self.world.nic(link.parent), (link.dev, address)
        state = self.world.state
        asks_from_link_local = link.is_shim and address.version == 6 and not link.has(source)
        if asks_from_link_local and state.now < state.began + _DAD_S:
            self.trace.doubt = f"{link.dev} asks from its link-local address, which may still be tentative"
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
        return self._elsewhere(link, address, source)

    def _elsewhere(self, link: Link, address: Address, source: Address) -> Link:
        """Return the link that has the MAC for `address`, which no sibling has, and no other host's own link.

        It may be an endpoint of another host, or the host itself where the switch reflects.
        """
        nic, upper = self.world.nic(link.parent), self.world.upper_in(link.segment, address)
        if upper is not None and upper.parent != link.parent:
            return self._upper(link, upper, address, source)
        if self._answers(nic, address):
            if not self.world.reflects(link.parent):
                where = "siblings" if self.world.is_dummy(link.parent) else "siblings and the wire"
                lost = f"{_question(address)} for {self.trace.the(nic.node)} goes only to {where}"
                raise self.trace.lost(link.node, f"{_STAY_APART}: {self.trace.called(link.node)}'s {lost}")
            self.trace.note(link.node, _HAIRPIN)
            return nic
        self._refuse_down(link, address)
        raise self._unanswered(link, address, f"no host there has {self.trace.address(address)}")

    def _needs_its_address(self, link: Link, entry: Entry, source: Address) -> None:
        """Lose what the link asks for from an address of another link.

        In IPv4 it asks from the source of the packet, if the namespace has that (arp_solicit()).
        The kernel passes the answer by that address (ipvlan_addr_lookup()).
        """
        if link.has(source) or not self.world.nodes[link.node].has(source):
            return
        self.disputed.add(entry)
        asks = (
            f"{self.trace.called(link.owner)} asks from {self.trace.address(source)}, which another link has"
        )
        host = self.trace.the(self.world.nic(link.parent).node)
        raise self.trace.lost(link.node, f"{asks}, so the answer to its ARP goes to {host}")

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
        owner = "the parent's" if node == here else f"{self.trace.the(node)}'s"
        entry_ = f"{self.trace.called(at)}'s entry for {self.trace.address(address)}"
        self.trace.decided = f"; {entry_} has {owner} MAC{'' if known else f', from {why}'}"
        return node

    def _ask_nic(self, link: Link, other: Link, address: Address, source: Address) -> Link:
        """Return `other`, an ordinary or a macvlan link, if the request and its answer get through."""
        apart = self._why_apart(link, other) or self._why_swallowed(link, other, address)
        if apart:
            raise self.trace.lost(link.node, apart)
        self.trace.hop(link.node, f"{the(other.node)} answers for {address}")
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
        asked = f"{self.trace.called(link.dev)}'s {_question(address)} for {self.trace.the(other.node)}"
        return f"{what} sent it, so {asked} gets no answer"

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
        return self.trace.lost(link.node, f"{why}, so {self._arp(link, address)} gets no answer")

    def _arp(self, link: Link, address: Address) -> str:
        """Return the display name of a request for the MAC of `address`."""
        upper = self.world.upper(address)
        of = self.trace.called(upper.owner) if upper else self.trace.address(address)
        return f"{self.trace.the(link.node)}'s {_question(address)} for {of}"


def _question(address: Address) -> str:
    return "ARP" if address.version == 4 else "neighbour solicitation"
