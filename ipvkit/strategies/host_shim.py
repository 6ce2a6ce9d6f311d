"""The host's own ipvlan link on the parent: a sibling of its endpoints, and so reached by them."""

from ipaddress import ip_network

from ipvkit.strategies.base import Addition, Link, Problem, Route, Site, Strategy
from ipvkit.tools import ip


class HostShim(Strategy):
    """An ipvlan link in the host's namespace, and routes to the endpoints through it."""

    name = "host-shim"
    in_words = "all"
    typed = "an ipvlan link `shim` in the host's namespace, and a route to each endpoint through it"
    cost = "add one ipvlan interface on the host"

    def problem(self, site: Site) -> Problem | None:
        """Return why there can be no such link."""
        for own in site.named:
            if own in site.taken:
                return f"the shim cannot have {own}, which another host has", "take a free one"
        if site.strategy == "l3s-proxy":
            return "l3s-proxy excludes a host shim: both need the host's routes", "keep one of the two"
        if site.simulated and not site.host and not site.named:
            what = f"the host has no address on {site.parent}, and so none to send from through a shim"
            return what, "name one for the shim: `host-shim: 192.168.104.120`"
        if site.mode == "l2" and not site.simulated and not site.named:
            what = "in l2 the host shim needs an address"
            return what, "name one that is free: `host-shim: 192.168.104.120`"
        return None

    def stages(self, site: Site) -> list[list[Addition]]:
        """Return the link, its addresses, and a route to each address of an endpoint."""
        dev, flag = site.shim, None if site.flag == "bridge" else site.flag
        why = f"create {dev}, an ipvlan link of {site.called} on {site.parent}"
        command = ip.link_add(dev, ip.Ipvlan(site.parent, site.mode, flag))
        link = Addition(why, command, Link(dev, site.shim_addresses), f"delete {dev}")
        up = Addition(f"bring {dev} up", ip.link_set(dev, up=True))
        why = f"add {dev}'s address, to send ARP requests from"
        give = (ip.addr_add(own, dev, nodad=own.version == 6) for own in site.shim_addresses)
        addresses = [Addition(why, command) for command in give]
        routes = []
        for name, own in site.endpoints:
            to = ip_network(own.ip)
            command = ip.route_add(ip.RouteTo(to, dev=dev))
            routes.append(
                Addition(f"add {site.called}'s route to {name}, through {dev}", command, Route(to, dev))
            )
        return [[link], [up, *addresses], routes]
