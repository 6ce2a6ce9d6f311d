"""The twin of this machine as a lab file, with comments on what it leaves out."""

from ipvkit.core.errors import printable
from ipvkit.host.twin import Twin
from ipvkit.host.twins import Joined
from ipvkit.lab.format import dump
from ipvkit.verbs.live import checked

_UNSEEN = (
    "Not seen from here: firewalls, announcements, and what other hosts have: their routes, and entries for",
    "these endpoints. Left out are links of the host on which no endpoint is, and sysctls, but for some of",
    "the host. The gateway answers, and forwards to far, any host behind it, and",
    "to other parents. It and the neighbour have free addresses where no route names one.",
)


def adopted(twin: Twin | Joined) -> str:
    """Return the lab file of `twin`, with checks."""
    comments = [*_UNSEEN, *(f"note: {note}" for note in twin.notes)]
    return "".join(f"# {printable(comment)}\n" for comment in comments) + dump(checked(twin))
