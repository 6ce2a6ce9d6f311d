"""iproute2's ``ip``: the builders of its argv and the parsers of its output."""

from ipvkit.tools.ip.addr import Address
from ipvkit.tools.ip.batch import LINES_A_S, Failed, batch, failed_lines, line_of, lists_in, show_in_one
from ipvkit.tools.ip.build import (
    Bridge,
    Ipvlan,
    Kind,
    Macvlan,
    RouteTo,
    Veth,
    Vlan,
    addr_add,
    addr_del,
    addr_show,
    at,
    at_each,
    by_netns,
    link_add,
    link_delete,
    link_set,
    link_show,
    neigh_add_proxy,
    neigh_del,
    neigh_del_proxy,
    neigh_flush,
    neigh_replace,
    neigh_show,
    neigh_show_permanent,
    neigh_show_proxy,
    netns_add,
    netns_del,
    netns_list,
    route_add,
    route_del,
    route_show,
    route_show_all,
)
from ipvkit.tools.ip.link import Link, parse_addresses, parse_links
from ipvkit.tools.ip.neigh import Neighbour, parse_neighbours
from ipvkit.tools.ip.netns import Netns, parse_netns
from ipvkit.tools.ip.reading import read_outputs
from ipvkit.tools.ip.route import NextHop, Route, gateway_of, parse_routes

__all__ = ["LINES_A_S", "Address", "Bridge", "Failed", "Ipvlan", "Kind", "Link", "Macvlan", "Neighbour"]
__all__ += ["Netns", "NextHop", "Route", "RouteTo", "Veth", "Vlan", "addr_add", "addr_del", "addr_show"]
__all__ += ["at", "at_each", "batch", "by_netns", "failed_lines", "gateway_of", "line_of", "link_add"]
__all__ += ["link_delete", "link_set", "link_show", "lists_in", "neigh_add_proxy", "neigh_del"]
__all__ += ["neigh_del_proxy", "neigh_flush", "neigh_replace", "neigh_show", "neigh_show_permanent"]
__all__ += ["neigh_show_proxy", "netns_add", "netns_del", "netns_list", "parse_addresses", "parse_links"]
__all__ += ["parse_neighbours", "parse_netns", "parse_routes", "read_outputs", "route_add", "route_del"]
__all__ += ["route_show", "route_show_all", "show_in_one"]
