"""``arping``: the builders of its argv and the parser of its output."""

from ipvkit.tools.arping.build import (
    VERSION,
    Implementation,
    announce,
    find_duplicate,
    implementation,
    probe,
)
from ipvkit.tools.arping.parse import (
    ArpingError,
    ArpingEvent,
    ArpingReport,
    ArpReply,
    Header,
    NoAnswer,
    Note,
    Summary,
    Times,
    Unrecognised,
    parse_arping,
    read_arping,
)

__all__ = [
    "VERSION",
    "ArpReply",
    "ArpingError",
    "ArpingEvent",
    "ArpingReport",
    "Header",
    "Implementation",
    "NoAnswer",
    "Note",
    "Summary",
    "Times",
    "Unrecognised",
    "announce",
    "find_duplicate",
    "implementation",
    "parse_arping",
    "probe",
    "read_arping",
]
