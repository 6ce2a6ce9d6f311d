"""Gratuitous ARP, by which the host announces the endpoints' addresses while checks ping."""

from ipvkit.strategies.base import Addition, Answering, Problem, Site, Sysctl
from ipvkit.tools import sysctl

NONLOCAL_BIND = "net.ipv4.ip_nonlocal_bind"

ALLOW = Addition(
    "let arping send from an address that the host does not have; without this it fails with "
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
            why = "ARP is for IPv4, and these endpoints have only IPv6"
            return self.cannot_work(site, why, "take static-neigh or l3s-proxy")
        return Answering.problem(self, site)
