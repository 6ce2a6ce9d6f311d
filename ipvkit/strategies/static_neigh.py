"""Permanent neighbour entries for the endpoints, with the parent's MAC address, at each peer."""

from ipvkit.strategies.base import Addition, Answering, Neighbour, Site
from ipvkit.tools import ip


class StaticNeigh(Answering):
    """Permanent neighbour entries on peers."""

    name = "static-neigh"
    typed = "on each peer a permanent neighbour entry for each address, with the parent's MAC"
    cost = "change each peer, for each endpoint"
    of_host = False
    needs_lladdr = True

    def stages(self, site: Site) -> list[list[Addition]]:
        """Return the entries, at each peer that has an address of their family."""
        return [
            [
                Addition(
                    f"add a permanent neighbour entry for {name} on the {peer.role}",
                    ip.at(peer.role, ip.neigh_replace(own.ip, site.lladdr, peer.dev)),
                    Neighbour(peer.role, own.ip),
                    f"delete the neighbour entry for {name} on the {peer.role}",
                    ip.at(peer.role, ip.neigh_del(own.ip, peer.dev)),
                )
                for peer in site.peers
                for name, own in site.endpoints
                if own.version in peer.versions
            ]
        ]

    def needs_of_peers(self, site: Site) -> str:  # noqa: ARG002
        """Return that entries would be needed."""
        return "would need permanent neighbour entries"
