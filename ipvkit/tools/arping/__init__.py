"""``arping``: the builders of its argv and the parser of its output."""

from ipvkit.tools.arping.build import VERSION, Implementation, announce, find_duplicate, implementation, probe
from ipvkit.tools.arping.parse import (
    ArpingError,
    ArpingEvent,
    ArpingReport,
    ArpReply,
    Header,
    NoAnswer,
    Summary,
    Times,
    parse_arping,
    read_arping,
)
from ipvkit.tools.ping import Note, Unrecognised

__all__ = ["VERSION", "ArpReply", "ArpingError", "ArpingEvent", "ArpingReport", "Header", "Implementation"]
__all__ += ["NoAnswer", "Note", "Summary", "Times", "Unrecognised", "announce", "find_duplicate"]
__all__ += ["implementation", "parse_arping", "probe", "read_arping"]
