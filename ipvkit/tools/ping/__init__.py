"""``ping``: the builders of its argv and the parser of its output."""

from ipvkit.tools.ping.build import VERSION, Implementation, implementation, ping, ping_until_lost
from ipvkit.tools.ping.parse import (
    Header,
    NoAnswer,
    Note,
    PingError,
    PingEvent,
    PingReport,
    Reply,
    Rtt,
    Summary,
    Times,
    Unrecognised,
    parse_ping,
    read_ping,
)

__all__ = ["VERSION", "Header", "Implementation", "NoAnswer", "Note", "PingError", "PingEvent"]
__all__ += ["PingReport", "Reply", "Rtt", "Summary", "Times", "Unrecognised", "implementation"]
__all__ += ["parse_ping", "ping", "ping_until_lost", "read_ping"]
