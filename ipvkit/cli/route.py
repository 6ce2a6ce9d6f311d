"""``ipvkit route``."""

from dataclasses import replace
from typing import Annotated

from typer import Argument, Option

from ipvkit.cli.common import IP_HELP, OnlyDev, group
from ipvkit.cli.single import Where, change, show
from ipvkit.core.values import any_address, route_destination
from ipvkit.report.ip import ROUTE
from ipvkit.tools import ip

Network = Annotated[str, Argument(metavar="NETWORK", help="Such as 192.0.2.0/24, or default.")]
Via = Annotated[str | None, Option(metavar="ADDRESS", help="The gateway.")]
Dev = Annotated[str | None, Option(metavar="DEV", help="The outgoing link.")]
Metric = Annotated[int | None, Option(min=0, metavar="N", help="The metric; the lowest wins.")]
Ipv6 = Annotated[bool, Option("-6", help="IPv6, where no address shows it.")]


def add(
    to: Network,
    via: Via = None,
    dev: Dev = None,
    src: Annotated[str | None, Option(metavar="ADDRESS", help="The source address.")] = None,
    metric: Metric = None,
    onlink: Annotated[bool, Option("--onlink", help="Take the gateway to be on the link.")] = False,
    ipv6: Ipv6 = False,
    *,
    where: Where,
) -> int:
    """Add a route, via a gateway, a link or both."""
    route = _route(to, via, dev, metric, ipv6)
    route = replace(route, src=None if src is None else any_address(src), onlink=onlink)
    return change(where, f"add a route to {to}", ip.route_add(route))


def delete(
    to: Network, via: Via = None, dev: Dev = None, metric: Metric = None, ipv6: Ipv6 = False, *, where: Where
) -> int:
    """Delete the first route that matches."""
    return change(where, f"delete a route to {to}", ip.route_del(_route(to, via, dev, metric, ipv6)))


def _route(to: str, via: str | None, dev: str | None, metric: int | None, ipv6: bool) -> ip.RouteTo:
    gateway = None if via is None else any_address(via)
    return ip.RouteTo(route_destination(to), via=gateway, dev=dev, metric=metric, ipv6=ipv6)


def list_(dev: OnlyDev = None, *, where: Where) -> int:
    """List the routes of the main table, IPv4 then IPv6."""

    def parse(texts: list[str]) -> list[ip.Route]:
        found = [route for text in texts for route in ip.parse_routes(text)]
        # ip leaves out the device that it was given.
        return [each if each.nexthops else replace(each, dev=each.dev or dev) for each in found]

    ipv4, ipv6 = (ip.route_show(dev=dev, ipv6=ipv6) for ipv6 in (False, True))
    return show(where, {"list the IPv4 routes": ipv4, "list the IPv6 routes": ipv6}, ROUTE, parse)


route = group("route", IP_HELP, {"add": add, "del": delete, "list": list_})
