"""``ping``: the builders of its argv and the parser of its output."""

from ipvkit.tools.ping.build import VERSION, Implementation, implementation, ping, ping_until_lost
from ipvkit.tools.ping.parse import IcmpError, PingReport, Reply, Rtt, parse_ping

__all__ = [
    "VERSION",
    "IcmpError",
    "Implementation",
    "PingReport",
    "Reply",
    "Rtt",
    "implementation",
    "parse_ping",
    "ping",
    "ping_until_lost",
]
