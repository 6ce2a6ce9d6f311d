"""``ipvkit netns``, ``addr``, ``route``, ``rule`` and ``neigh``: each subcommand runs one command of ip."""

from dataclasses import replace
from typing import Annotated

from typer import Argument, Option

from ipvkit.cli.common import IP_HELP, group
from ipvkit.cli.single import Action, Where, change, show
from ipvkit.core.values import any_address, any_interface_address, network, route_destination
from ipvkit.report.ip import ADDR, NEIGH, NETNS, ROUTE, RULE
from ipvkit.tools import ip

Name = Annotated[str, Argument(metavar="NETNS", help="The namespace's name.")]
Prefixed = Annotated[str, Argument(metavar="ADDRESS/LEN", help="Such as 192.0.2.1/24.")]
Link = Annotated[str, Option(metavar="DEV", help="The link.")]
OnlyDev = Annotated[str | None, Option(metavar="DEV", help="Only of this link.")]
Network = Annotated[str, Argument(metavar="NETWORK", help="Such as 192.0.2.0/24, or default.")]
Via = Annotated[str | None, Option(metavar="ADDRESS", help="The gateway.")]
Dev = Annotated[str | None, Option(metavar="DEV", help="The outgoing link.")]
Metric = Annotated[int | None, Option(min=0, metavar="N", help="The metric; the lowest wins.")]
From = Annotated[str | None, Option("--from", metavar="NETWORK", help="The source's network.")]
To = Annotated[str | None, Option(metavar="NETWORK", help="The destination's network.")]
Table = Annotated[int | None, Option(min=1, metavar="N", help="The table that is looked up.")]
Priority = Annotated[int | None, Option(min=0, metavar="N", help="Its place: the lowest comes first.")]
Ipv6 = Annotated[bool, Option("-6", help="IPv6, where no address shows it.")]


def netns_add(name: Name, where: Action) -> None:
    """Create a network namespace."""
    change(where, f"create namespace {name}", ip.netns_add(name))


def netns_del(name: Name, where: Action) -> None:
    """Delete a network namespace.

    What is in it ends with its last process.
    """
    change(where, f"delete namespace {name}", ip.netns_del(name))


def netns_list(where: Action) -> None:
    """List the named network namespaces."""
    show(where, {"list the namespaces": ip.netns_list()}, NETNS, ip.parse_netns)


def addr_add(address: Prefixed, dev: Link, where: Where) -> None:
    """Add an address to a link."""
    change(where, f"add an address to {dev}", ip.addr_add(any_interface_address(address), dev))


def addr_del(address: Prefixed, dev: Link, where: Where) -> None:
    """Delete an address from a link."""
    change(where, f"delete an address from {dev}", ip.addr_del(any_interface_address(address), dev))


def addr_list(dev: OnlyDev = None, *, where: Where) -> None:
    """List the addresses of the links."""
    show(where, {"list the addresses": ip.addr_show(dev)}, ADDR, ip.parse_addresses)


def route_add(
    to: Network,
    via: Via = None,
    dev: Dev = None,
    src: Annotated[str | None, Option(metavar="ADDRESS", help="The source address.")] = None,
    metric: Metric = None,
    onlink: Annotated[bool, Option("--onlink", help="Take the gateway to be on the link.")] = False,
    ipv6: Ipv6 = False,
    *,
    where: Where,
) -> None:
    """Add a route, via a gateway, a link or both."""
    route = _route(to, via, dev, metric, ipv6)
    route = replace(route, src=None if src is None else any_address(src), onlink=onlink)
    change(where, f"add a route to {to}", ip.route_add(route))


def route_del(
    to: Network, via: Via = None, dev: Dev = None, metric: Metric = None, ipv6: Ipv6 = False, *, where: Where
) -> None:
    """Delete the first route that matches."""
    change(where, f"delete a route to {to}", ip.route_del(_route(to, via, dev, metric, ipv6)))


def _route(to: str, via: str | None, dev: str | None, metric: int | None, ipv6: bool) -> ip.RouteTo:
    gateway = None if via is None else any_address(via)
    return ip.RouteTo(route_destination(to), via=gateway, dev=dev, metric=metric, ipv6=ipv6)


def route_list(dev: OnlyDev = None, *, where: Where) -> None:
    """List the routes of the main table, IPv4 then IPv6."""

    def parse(*texts: str) -> list[ip.Route]:
        found = [route for text in texts for route in ip.parse_routes(text)]
        # ip leaves out the device that it was given.
        return [each if each.nexthops else replace(each, dev=each.dev or dev) for each in found]

    ipv4, ipv6 = (ip.route_show(dev=dev, ipv6=ipv6) for ipv6 in (False, True))
    show(where, {"list the IPv4 routes": ipv4, "list the IPv6 routes": ipv6}, ROUTE, parse)


def rule_add(
    table: Annotated[int, Option(min=1, metavar="N", help="The table that is looked up.")],
    source: From = None,
    to: To = None,
    priority: Priority = None,
    ipv6: Ipv6 = False,
    *,
    where: Where,
) -> None:
    """Add a rule: packets from and to these networks use a table."""
    change(where, f"add a rule for table {table}", ip.rule_add(_rule(table, source, to, priority, ipv6)))


def rule_del(
    table: Table = None,
    source: From = None,
    to: To = None,
    priority: Priority = None,
    ipv6: Ipv6 = False,
    *,
    where: Where,
) -> None:
    """Delete the first rule that matches."""
    change(where, "delete a rule", ip.rule_del(_rule(table, source, to, priority, ipv6)))


def _rule(
    table: int | None, source: str | None, to: str | None, priority: int | None, ipv6: bool
) -> ip.RuleFor:
    src, dst = (None if text is None else network(text) for text in (source, to))
    return ip.RuleFor(table, src, dst, priority, ipv6)


def rule_list(where: Where) -> None:
    """List the rules of the routing policy, IPv4 then IPv6."""

    def parse(*texts: str) -> list[ip.Rule]:
        return [rule for text in texts for rule in ip.parse_rules(text)]

    ipv4, ipv6 = (ip.rule_show(ipv6=ipv6) for ipv6 in (False, True))
    show(where, {"list the IPv4 rules": ipv4, "list the IPv6 rules": ipv6}, RULE, parse)


def neigh_list(dev: OnlyDev = None, *, where: Where) -> None:
    """List the neighbour entries of the kernel, with their states."""

    def parse(text: str) -> list[ip.Neighbour]:
        # ip leaves out the device that it was given.
        return [replace(each, dev=each.dev or dev) for each in ip.parse_neighbours(text)]

    show(where, {"list the neighbours": ip.neigh_show(dev)}, NEIGH, parse)


netns = group("netns", IP_HELP, {"add": netns_add, "del": netns_del, "list": netns_list})
addr = group("addr", IP_HELP, {"add": addr_add, "del": addr_del, "list": addr_list})
route = group("route", IP_HELP, {"add": route_add, "del": route_del, "list": route_list})
rule = group("rule", IP_HELP, {"add": rule_add, "del": rule_del, "list": rule_list})
neigh = group("neigh", IP_HELP, {"list": neigh_list})
