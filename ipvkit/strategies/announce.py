"""Gratuitous ARP, by which the host announces the endpoints' addresses while checks ping."""

from ipaddress import IPv4Address

from ipvkit.core.command import Command
from ipvkit.strategies.base import Addition, Answering, Problem, Site, Sysctl
from ipvkit.tools import arping, sysctl

NONLOCAL_BIND = "net.ipv4.ip_nonlocal_bind"

ALLOW = Addition(
    "let arping send from an address that is not the host's own: otherwise "
    "`bind: Cannot assign requested address`",
    sysctl.set_values({NONLOCAL_BIND: 1}),
    Sysctl(NONLOCAL_BIND, 1),
)
"""What arping needs before it announces an endpoint's address."""


class Announce(Answering):
    """Announcements by arping."""

    name = "announce"
    in_words = "l3, l3s; IPv4"
    typed = "`net.ipv4.ip_nonlocal_bind=1`, and `arping -U` for each endpoint while a check pings"
    cost = "change only the host, which keeps announcing, as `ipvkit announce` does"
    announces = True

    def problem(self, site: Site) -> Problem | None:
        """Return why nothing can be announced."""
        if site.mode != "l2" and all(own.version == 6 for _, own in site.endpoints):
            why = "ARP is IPv4's, and these endpoints have IPv6 only"
            return self.cannot_work(site, why, "take static-neigh or l3s-proxy")
        return Answering.problem(self, site)


def announcement(
    name: str, address: IPv4Address, site: Site, count: int, by: arping.Implementation
) -> tuple[str, Command]:
    """Return the purpose and the command of `count` announcements of an endpoint's address."""
    purpose = f"announce {name}'s address from the host, since {name} cannot in {site.mode}"
    return purpose, arping.announce(address, site.parent, count=count, by=by)
