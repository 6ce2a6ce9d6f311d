"""What a captured frame is, in the words of tcpdump(8): ARP, NDP, echo, errors, TCP. dpkt reads it."""

from collections.abc import Hashable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Any

from dpkt import UnpackError
from dpkt.arp import ARP, ARP_OP_REPLY, ARP_OP_REQUEST
from dpkt.ethernet import Ethernet
from dpkt.icmp import ICMP
from dpkt.icmp6 import ICMP6
from dpkt.ip import IP
from dpkt.ip6 import IP6
from dpkt.tcp import TCP, TH_ACK, TH_FIN, TH_RST, TH_SYN

from ipvkit.core.values import Address

_WHO_HAS = r"{} who-has {} tell {}"
_SOLICIT, _ADVERT = 135, 136
_ECHO = {ICMP: (8, 0), ICMP6: (128, 129)}
_ERRORS = {
    (ICMP, 3, 0): "net unreachable",
    (ICMP, 3, 1): "host unreachable",
    (ICMP, 3, 3): "port unreachable",
    (ICMP, 3, 4): "fragmentation needed",
    (ICMP, 3, 13): "prohibited",
    (ICMP, 5, 0): "redirect",
    (ICMP, 5, 1): "redirect",
    (ICMP, 11, 0): "time exceeded",
    (ICMP6, 1, 0): "no route",
    (ICMP6, 1, 1): "prohibited",
    (ICMP6, 1, 3): "address unreachable",
    (ICMP6, 1, 4): "port unreachable",
    (ICMP6, 2, 0): "packet too big",
    (ICMP6, 3, 0): "time exceeded",
    (ICMP6, 137, 0): "redirect",
}


@dataclass(frozen=True, slots=True)
class Packet:
    """A packet: what it is, in words, and the addresses that it is from and for.

    A request of a neighbour protocol (ARP, NDP) is for the address that it asks for; a router too sends an
    `error`. What `asks` is answered by what `answers` the same.
    """

    what: str
    source: Address
    destination: Address
    neighbour: bool = False
    error: bool = False
    asks: Hashable = None
    answers: Hashable = None


def parse_frame(data: bytes) -> Packet | None:
    """Return what an Ethernet frame is; None for what is neither ARP nor IP, or is malformed."""
    try:
        inner = Ethernet(data).data
        match inner:
            case ARP():
                return _arp(inner)
            case IP() | IP6():
                return _ip(inner)
    except (UnpackError, ValueError, IndexError, AttributeError):
        # dpkt raises these for what is malformed.
        pass
    return None


def _arp(arp: Any) -> Packet | None:  # noqa: ANN401
    source, target = ip_address(arp.spa), ip_address(arp.tpa)
    if source == target:
        return Packet(f"ARP announcement of {source}", source, target, neighbour=True)
    if arp.op == ARP_OP_REQUEST:
        what = _WHO_HAS.format("ARP", target, source)
        return Packet(what, source, target, neighbour=True, asks=("arp", source, target))
    if arp.op == ARP_OP_REPLY:
        what = f"ARP reply {source} is-at {arp.sha.hex(':')}"
        return Packet(what, source, target, neighbour=True, answers=("arp", target, source))
    return None


def _ip(ip: Any) -> Packet:  # noqa: ANN401
    source, destination, inner = ip_address(ip.src), ip_address(ip.dst), ip.data
    between = f"{source} > {destination}"
    match inner:
        case ICMP6() if inner.type in (_SOLICIT, _ADVERT):
            return _ndp(inner, source, destination)
        case ICMP() | ICMP6():
            return _icmp(inner, source, destination)
        case TCP():
            return _tcp(inner, source, destination)
    protocol = ip.p if isinstance(ip, IP) else ip.nxt
    return Packet(f"IP protocol {protocol} {between}", source, destination)


def _ndp(icmp: Any, source: Address, destination: Address) -> Packet:  # noqa: ANN401
    """Return a neighbour solicitation or advertisement: RFC 4861, 4.3 and 4.4."""
    target = IPv6Address(bytes(icmp.data)[4:20])
    if icmp.type == _SOLICIT:
        what = _WHO_HAS.format("NDP", target, source)
        return Packet(what, source, target, neighbour=True, asks=("ndp", source, target))
    what = f"NDP advertisement of {target}"
    return Packet(what, target, destination, neighbour=True, answers=("ndp", destination, target))


def _icmp(icmp: Any, source: Address, destination: Address) -> Packet:  # noqa: ANN401
    kind, name = type(icmp), "ICMP" if isinstance(icmp, ICMP) else "ICMPv6"
    between = f"{source} > {destination}"
    request, reply = _ECHO[kind]
    if icmp.type == request:
        asks = ("echo", source, destination, icmp.data.id, icmp.data.seq)
        return Packet(f"{name} echo request {between}", source, destination, asks=asks)
    if icmp.type == reply:
        answers = ("echo", destination, source, icmp.data.id, icmp.data.seq)
        return Packet(f"{name} echo reply {between}", source, destination, answers=answers)
    word = _ERRORS.get((kind, icmp.type, icmp.code), f"type {icmp.type} code {icmp.code}")
    return Packet(f"{name} {word} {between}", source, destination, error=True)


def _tcp(tcp: Any, source: Address, destination: Address) -> Packet:  # noqa: ANN401
    here, there = (source, tcp.sport), (destination, tcp.dport)
    between = f"{_at(*here)} > {_at(*there)}"
    match tcp.flags & (TH_SYN | TH_ACK), bool(tcp.flags & TH_RST):
        case (_, True):
            return Packet(f"TCP reset {between}", source, destination, answers=("tcp", there, here))
        case (found, _) if found == TH_SYN:
            return Packet(f"TCP connect {between}", source, destination, asks=("tcp", here, there))
        case (found, _) if found == TH_SYN | TH_ACK:
            return Packet(f"TCP accept {between}", source, destination, answers=("tcp", there, here))
    what = "TCP end" if tcp.flags & TH_FIN else "TCP"
    return Packet(f"{what} {between}", source, destination)


def _at(address: Address, port: int) -> str:
    return f"{address}.{port}"
