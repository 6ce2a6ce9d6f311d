"""Permanent neighbour entries for the endpoints, with the parent's MAC address, at each peer."""

from ipvkit.strategies.base import Addition, Answering, Neighbour, Site
from ipvkit.tools import ip


class StaticNeigh(Answering):
    """Permanent neighbour entries on peers."""

    name = "static-neigh"
    typed = "on each peer a permanent neighbour entry for each address, with the parent's MAC"
    cost = "change each peer, for each endpoint"
    of_peers = "would need permanent neighbour entries"
    needs_lladdr = True

    def stages(self, site: Site) -> list[list[Addition]]:
        """Return the entries, at each peer that has an address of their family."""
        added = []
        for peer in site.peers:
            for name, own in ((name, own) for name, own in site.endpoints if own.version in peer.versions):
                what, entry = f"neighbour entry for {name} on {peer.name}", Neighbour(peer.role, own.ip)
                add = peer.at(ip.neigh_replace(own.ip, site.lladdr, peer.dev))
                undo, why = peer.at(ip.neigh_del(own.ip, peer.dev)), f"add a permanent {what}"
                added.append(Addition(why, add, entry, f"delete the {what}", undo, peer.role))
        return [added]
