"""Endpoints in a subnet apart from the parent's, to which peers have a route via the host."""

from ipvkit.strategies.base import Addition, Problem, Route, Site, Strategy
from ipvkit.tools import ip


class Routed(Strategy):
    """Routes on peers, to the endpoints' subnets."""

    name = "routed"
    in_words = "all; endpoints in a separate subnet"
    typed = "on each peer of that parent a route to that subnet, via the host's address"
    cost = "give the endpoints a separate subnet, and each peer, or its router, a route to it"
    of_peers = "would need routes to {subnets} via this host"
    own_subnet = True

    def problem(self, site: Site) -> Problem | None:
        """Return the first endpoint for which no peer would use a route."""
        versions = {own.version for own in site.host}
        lacking = next((own.version for _, own in site.endpoints if own.version not in versions), None)
        if site.simulated and lacking is not None:
            why = f"the host has no IPv{lacking} address on {site.parent} that peers could route via"
            return self.cannot_work(site, why, "give it one with `host`")
        if not site.inside:
            return None
        why = f"{site.inside[0]} is in the parent's subnet, where peers send ARP requests and use no route"
        return self.cannot_work(site, why, "give the endpoints a separate subnet")

    def stages(self, site: Site) -> list[list[Addition]]:
        """Return the routes: to each subnet, at each peer in a subnet of the host that has none to it."""
        added = []
        for peer in site.peers:
            for subnet in (s for s in site.subnets if s not in peer.subnets | peer.routed):
                of_family = (own.ip for own in site.host if own.version == subnet.version)
                via = next((own for own in of_family if any(own in near for near in peer.subnets)), None)
                if via is not None:
                    to, what = ip.RouteTo(subnet, via, peer.dev), f"{peer.name}'s route to {subnet}"
                    add, undo = peer.at(ip.route_add(to)), peer.at(ip.route_del(to))
                    route, why = Route(subnet, peer.dev, via, peer.role), f"add {what}, via {site.called}"
                    added.append(Addition(why, add, route, f"delete {what}", undo, peer.role))
        return [added]
