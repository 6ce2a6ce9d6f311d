"""What was captured of a check, as a timeline: equal packets at a node, and whether they were answered."""

from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ipvkit.core.errors import MissingRequirement
from ipvkit.core.values import Address, is_link_local
from ipvkit.lab import Check, Lab
from ipvkit.run.capture import Captured
from ipvkit.run.verdicts import Verdict

if TYPE_CHECKING:
    from ipvkit.tools.packet import Packet

Packets = list[tuple[int, "Packet"]]
"""Packets, each after the time at which it was captured, in microseconds since 1970."""


@dataclass(frozen=True, slots=True)
class Seen:
    """Equal packets at the `link` of a `node`: how many, and how many of these were `answered` there.

    `first_s` and `last_s` are when they came, in seconds after the first packet of the check at any node.
    `answered` is None for what asks for nothing; a node that saw no packet has one with a `count` of 0. They
    were `sent` where their source is an address of the node.
    """

    node: str
    link: str
    packet: str
    count: int = 0
    answered: int | None = None
    first_s: float = 0.0
    last_s: float = 0.0
    sent: bool = False


def require_dpkt() -> None:
    """Raise MissingRequirement where dpkt, which reads packets, is not installed."""
    try:
        import dpkt  # noqa: F401
    except ImportError:
        raise MissingRequirement("reading packets needs dpkt", "pip install 'ipvkit[capture]'") from None


def lines(found: Iterable[Seen]) -> list[str]:
    """Return a timeline as lines, one for what was seen at several nodes: its sender, and the others by name.

    Which of these a frame reached first depends on the machine.
    """
    together: dict[tuple[str, str], list[Seen]] = {}
    for one in found:
        together.setdefault((one.packet, "" if one.count else one.node), []).append(one)
    ordered = (sorted(each, key=lambda one: (not one.sent, one.node)) for each in together.values())
    return [_line(first, others) for first, *others in ordered]


def _line(one: Seen, others: Sequence[Seen]) -> str:
    if not one.count:
        return f"{'':10}{one.node}: {one.packet}"
    times = f", {one.count} times in {one.last_s - one.first_s:.1f} s" if one.count > 1 else ""
    also = f"; also at {', '.join(other.node for other in others)}" if others else ""
    return f"{one.first_s:7.3f} s {one.node}: {one.packet}{times}{_answer(one, others)}{also}"


def _answer(one: Seen, others: Sequence[Seen]) -> str:
    if one.answered is None:
        return ""
    if one.answered:
        some = "all " if one.answered == one.count else f"{one.answered} "
        return f", {some if one.count > 1 else ''}answered"
    elsewhere = ", ".join(other.node for other in others if other.answered)
    return f", no answer at {one.node}, but at {elsewhere}" if elsewhere else ", no answer"


def timeline(lab: Lab, verdict: Verdict) -> tuple[Seen, ...]:
    """Return the packets of the check of `verdict`, in the order of the first of each kind at each node."""
    check = verdict.probe.check
    if not verdict.captured or not isinstance(check, Check):
        return ()
    own, between = _addresses(lab, check, verdict.captured)
    ends = own[check.source] | own[check.destination]
    nodes: dict[str, dict[str, Packets]] = {}
    for captured in verdict.captured:
        links = nodes.setdefault(captured.of.role, {})
        links[captured.of.dev] = list(_packets(captured, ends, between))
    began_us = min((at for links in nodes.values() for found in links.values() for at, _ in found), default=0)
    seen = [one for node, links in nodes.items() for one in _at_node(node, links, began_us, own[node])]
    for node in (check.source, check.destination):
        if node in nodes and not any(nodes[node].values()):
            seen.append(Seen(node, ", ".join(nodes[node]), "no packet of this check"))
    for each in (each for each in verdict.captured if each.missing):
        seen.append(Seen(each.of.role, each.of.dev, f"frames missing at {each.of.dev}: {each.missing}"))
    return tuple(sorted(seen, key=lambda one: (not one.count, one.first_s)))


def _addresses(
    lab: Lab, check: Check, captured: Sequence[Captured]
) -> tuple[Mapping[str, set[Address]], set[Address]]:
    """Return the addresses of each node of `check`, and those that ask for one of its ends for the other.

    The latter are the hosts' and the gateway's, without those that are ends of concurrent checks.
    """
    checks = [probe.check for probe in captured[0].of.checks if isinstance(probe.check, Check)]
    parents = [lab.parent_called(lab.endpoint(role).parent) for role in _ends(check) if lab.is_endpoint(role)]
    phases = [phase for phase in lab.phases if phase.name == captured[0].of.section]
    roles = {*(each.of.role for each in captured), *(role for one in checks for role in _ends(one))}
    own = {role: {a for parent in parents for a in lab.addresses_of(role, parent)} for role in roles}
    for phase, parent in ((phase, parent) for phase in phases for parent in parents):
        shim = lab.shim_addresses(phase.on(parent.name), parent)
        own.setdefault(parent.on, set()).update(address.ip for address in shim)
    near = [parent for parent in lab.parents if parent.lan in {parent.lan for parent in parents}]
    between = {address for parent in near for address in (*(h.ip for h in parent.host), *parent.gateway)}
    return own, between.difference(*(own[role] for one in checks if one != check for role in _ends(one)))


def _ends(check: Check) -> tuple[str, str]:
    return check.source, check.destination


def _packets(
    captured: Captured, ends: Collection[Address], between: Collection[Address]
) -> Iterator[tuple[int, "Packet"]]:
    """Yield when each packet came that concerns a check between `ends`, and what it is."""
    # Only a timeline needs dpkt.
    from ipvkit.tools.packet import parse_frame

    for frame in captured.frames:
        packet = parse_frame(frame.data)
        if packet is not None and _concerns(packet, ends, between):
            yield frame.at_us, packet


def _concerns(packet: "Packet", ends: Collection[Address], between: Collection[Address]) -> bool:
    """Return whether `packet` is between `ends`, or asks for one of them, also in place of the other."""
    pair = (packet.source, packet.destination)
    if packet.error:
        return packet.destination in ends
    if not packet.neighbour:
        return all(address in ends for address in pair)
    near = (a in ends or a in between or is_link_local(a) or a.is_multicast for a in pair)
    return any(address in ends for address in pair) and all(near)


def _at_node(
    node: str, links: Mapping[str, Packets], began_us: int, own: Collection[Address]
) -> Iterator[Seen]:
    """Yield what was seen at a node with its `own` addresses: requests, and what answers none of these.

    What came by several of its links is counted at one of them.
    """
    asked = {packet.asks for packets in links.values() for _, packet in packets if packet.asks is not None}
    replies: Counter[Hashable] = Counter()
    times: dict[str, dict[str, Packets]] = {}
    for link, packets in links.items():
        replies |= Counter(packet.answers for _, packet in packets if packet.answers in asked)
        for at_us, packet in packets:
            if packet.answers not in asked:
                times.setdefault(packet.what, {}).setdefault(link, []).append((at_us, packet))
    for what, by_link in times.items():
        link, found = max(by_link.items(), key=lambda each: len(each[1]))
        at = [(at_us - began_us) / 1e6 for at_us, _ in found]
        requests = Counter(packet.asks for _, packet in found if packet.asks is not None)
        answered = (requests & replies).total() if requests else None
        yield Seen(node, link, what, len(at), answered, min(at), max(at), found[0][1].source in own)
