"""The host as the endpoints' ARP and NDP proxy."""

from collections.abc import Collection
from ipaddress import ip_network

from ipvkit.strategies.base import Addition, Answering, Problem, Proxy, Route, Site, Sysctl
from ipvkit.tools import ip, sysctl


def sysctls(dev: str, versions: Collection[int]) -> dict[str, int]:
    """Return the sysctls with which the parent `dev` answers at once for addresses of these IP versions."""
    key, values = sysctl.interface_key, dict[str, int]()
    if 4 in versions:
        values |= {key("ipv4", "conf", dev, "forwarding"): 1, key("ipv4", "neigh", dev, "proxy_delay"): 0}
    if 6 in versions:
        values |= {key("ipv6", "conf", dev, "forwarding"): 1, key("ipv6", "conf", dev, "proxy_ndp"): 1}
        values |= {key("ipv6", "neigh", dev, "proxy_delay"): 0}
    return values


class L3sProxy(Answering):
    """Proxy entries of the host, and for IPv4 routes away from the parent."""

    name = "l3s-proxy"
    modes = ("l3s",)
    fix_mode = "l3s"
    in_words = "l3s; IPv6 in l3 too"
    typed = (
        "the parent forwards, answers for each address (`ip neigh add proxy`), and has a route to it out of "
        "another link"
    )
    cost = "change only the host; all endpoints on the parent switch to l3s"

    def problem(self, site: Site) -> Problem | None:
        """Return why the host cannot answer."""
        if site.mode == "l3" and any(own.version == 4 for _, own in site.endpoints):
            why = "the kernel passes no ARP to the host, which so cannot answer"
            return self.cannot_work(site, why, "take mode l3s")
        return Answering.problem(self, site)

    def stages(self, site: Site) -> list[list[Addition]]:
        """Return the sysctls, then for each address its entry, and its route if it is IPv4."""
        dev = site.parent
        values = sysctls(dev, {own.version for _, own in site.endpoints})
        why = f"let {site.called} forward, and answer for its endpoints without delay"
        allowed = [Addition(why, sysctl.set_values({k: v}), Sysctl(k, v)) for k, v in values.items()]
        answers = []
        for name, own in site.endpoints:
            what, entry = f"{site.called}'s proxy entry for {name}", Proxy(own.ip, dev)
            command = ip.neigh_add_proxy(own.ip, dev)
            answers.append(Addition(f"add {what}", command, entry, f"delete {what}"))
            if own.version == 4:
                to = ip_network(own.ip)
                other = f"out of another link than {dev}: else {site.called} answers no ARP"
                why = f"add a route to {name} {other}"
                command = ip.route_add(ip.RouteTo(to, dev="lo"))
                undo = f"delete {site.called}'s route to {name}"
                answers.append(Addition(why, command, Route(to, "lo"), undo))
        return [allowed, answers]
