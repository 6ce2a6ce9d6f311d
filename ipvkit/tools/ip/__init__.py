"""iproute2's ``ip``: the builders of its argv and the parsers of its output."""

from ipvkit.tools.ip import build
from ipvkit.tools.ip.batch import LINES_A_S, Failed, batch, failed_lines, line_of, lists_in, show_in_one
from ipvkit.tools.ip.build import *  # noqa: F403
from ipvkit.tools.ip.link import Address, Link, parse_addresses, parse_links
from ipvkit.tools.ip.monitor import Change, parse_monitor, read_monitor
from ipvkit.tools.ip.neigh import Neighbour, parse_neighbours
from ipvkit.tools.ip.netns import Netns, parse_netns
from ipvkit.tools.ip.plain import is_complete
from ipvkit.tools.ip.reading import read_outputs
from ipvkit.tools.ip.route import NextHop, Route, gateway_of, parse_routes
from ipvkit.tools.ip.rule import Rule, parse_rules

__all__ = [
    "LINES_A_S",
    "Address",
    "Change",
    "Failed",
    "Link",
    "Neighbour",
    "Netns",
    "NextHop",
    "Route",
    "Rule",
]
__all__ += ["batch", "failed_lines", "gateway_of", "is_complete", "line_of", "lists_in", "parse_addresses"]
__all__ += [
    "parse_links",
    "parse_monitor",
    "parse_neighbours",
    "parse_netns",
    "parse_routes",
    "parse_rules",
    "read_monitor",
    "read_outputs",
    "show_in_one",
]
__all__ += build.__all__
