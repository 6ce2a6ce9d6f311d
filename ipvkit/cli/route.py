"""``ipvkit route``."""

from dataclasses import replace
from typing import Annotated

import typer

from ipvkit.cli.common import IP_HELP, OnlyDev, expanded, group
from ipvkit.cli.single import Where, change, show
from ipvkit.core.values import any_address, route_destination
from ipvkit.report.ip import ROUTE
from ipvkit.tools import ip

route = group("route", IP_HELP)
Destination = Annotated[str, typer.Argument(metavar="NETWORK", help="Such as 192.0.2.0/24, or default.")]
Via = Annotated[str | None, typer.Option(metavar="ADDRESS", help="The gateway.")]
Dev = Annotated[str | None, typer.Option(metavar="DEV", help="The outgoing link.")]
Metric = Annotated[int | None, typer.Option(min=0, metavar="N", help="The metric; the lowest wins.")]
Ipv6 = Annotated[bool, typer.Option("-6", help="IPv6, where no address shows it.")]


@route.command("add")
@expanded
def add(
    destination: Destination,
    via: Via = None,
    dev: Dev = None,
    src: Annotated[str | None, typer.Option(metavar="ADDRESS", help="The source address.")] = None,
    metric: Metric = None,
    onlink: Annotated[bool, typer.Option("--onlink", help="Take the gateway to be on the link.")] = False,
    ipv6: Ipv6 = False,
    *,
    where: Where,
) -> int:
    """Add a route, via a gateway, a link or both."""
    to = replace(
        _route(destination, via, dev, metric, ipv6),
        src=None if src is None else any_address(src),
        onlink=onlink,
    )
    return change(where, f"add a route to {destination}", ip.route_add(to))


@route.command("del")
@expanded
def delete(
    destination: Destination,
    via: Via = None,
    dev: Dev = None,
    metric: Metric = None,
    ipv6: Ipv6 = False,
    *,
    where: Where,
) -> int:
    """Delete the first route that matches."""
    to = _route(destination, via, dev, metric, ipv6)
    return change(where, f"delete a route to {destination}", ip.route_del(to))


def _route(destination: str, via: str | None, dev: str | None, metric: int | None, ipv6: bool) -> ip.RouteTo:
    gateway = None if via is None else any_address(via)
    return ip.RouteTo(route_destination(destination), via=gateway, dev=dev, metric=metric, ipv6=ipv6)


@route.command("list")
@expanded
def list_(dev: OnlyDev = None, *, where: Where) -> int:
    """List the routes of the main table, IPv4 then IPv6."""

    def parse(texts: list[str]) -> list[ip.Route]:
        found = [route for text in texts for route in ip.parse_routes(text)]
        # ip leaves out the device that it was given.
        return [each if each.nexthops else replace(each, dev=each.dev or dev) for each in found]

    commands = {
        "list the IPv4 routes": ip.route_show(dev=dev),
        "list the IPv6 routes": ip.route_show(dev=dev, ipv6=True),
    }
    return show(where, commands, ROUTE, parse)
