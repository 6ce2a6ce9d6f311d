"""``ipvkit netns``, ``link``, ``addr``, ``route`` and ``neigh``: iproute2's commands, one at a time."""

from dataclasses import replace
from typing import Annotated, Any, Literal, TypeVar, get_args

import typer

from ipvkit.cli import emit
from ipvkit.cli.common import DryRun, Json, Netns
from ipvkit.cli.single import Target, Where, change, perform
from ipvkit.core.errors import UsageError
from ipvkit.core.values import Flag, Mode, any_address, any_interface_address, route_destination
from ipvkit.report.ip import ADDR, LINK, NEIGH, NETNS, ROUTE, LinkIn, with_parents
from ipvkit.report.outputs import Output
from ipvkit.targets.kinds import TargetKind
from ipvkit.tools import ip

_HELP = (
    "Each command here is one of ip's. Exit code: 0 done, 2 wrong usage, 3 this user may not, 4 ip failed."
)

netns, link, addr, route, neigh = (
    typer.Typer(name=name, help=_HELP) for name in ("netns", "link", "addr", "route", "neigh")
)

T = TypeVar("T")
LOCAL = TargetKind.LOCAL
NetnsName = Annotated[str, typer.Argument(metavar="NETNS", help="The namespace's name.")]
LinkName = Annotated[str, typer.Argument(metavar="DEV", help="The link's name.")]
Dev = Annotated[str, typer.Option(metavar="DEV", help="The link that has it.")]
OnlyDev = Annotated[str | None, typer.Option(metavar="DEV", help="Only of this link.")]


LinkType = Literal["ipvlan", "macvlan", "vlan", "veth", "bridge"]
LinkMode = Literal["l2", "l3", "l3s", "bridge", "private", "vepa", "passthru"]


# --- netns ----------------------------------------------------------------------------------------------


@netns.command("add")
def netns_add(name: NetnsName, target: Target = LOCAL, dry_run: DryRun = False, json_: Json = False) -> int:
    """Make a network namespace."""
    where = Where(target, None, dry_run, json_)
    return change(where, f"make the namespace {name}", ip.netns_add(name))


@netns.command("del")
def netns_del(name: NetnsName, target: Target = LOCAL, dry_run: DryRun = False, json_: Json = False) -> int:
    """Delete a network namespace; what is in it goes with its last process."""
    where = Where(target, None, dry_run, json_)
    return change(where, f"delete the namespace {name}", ip.netns_del(name))


@netns.command("list")
def netns_list(target: Target = LOCAL, dry_run: DryRun = False, json_: Json = False) -> int:
    """List the network namespaces that have a name."""
    where = Where(target, None, dry_run, json_)
    done = perform(where, {"list the namespaces": ip.netns_list()})
    if done is not None:
        _show(where, NETNS, ip.parse_netns(done[0].stdout))
    return 0


# --- link -----------------------------------------------------------------------------------------------


@link.command("add")
def link_add(
    dev: LinkName,
    parent: Annotated[str | None, typer.Option("--link", metavar="PARENT", help="The lower device.")] = None,
    type_: Annotated[LinkType, typer.Option("--type", help="The kind of link.")] = "ipvlan",
    mode: Annotated[
        LinkMode | None, typer.Option(help="ipvlan: l2, l3 or l3s. macvlan: bridge, private, vepa, passthru.")
    ] = None,
    flag: Annotated[Flag | None, typer.Option(help="ipvlan: among siblings.")] = None,
    id_: Annotated[
        int | None, typer.Option("--id", min=1, max=4094, metavar="TAG", help="vlan: the tag.")
    ] = None,
    peer: Annotated[str | None, typer.Option(metavar="DEV", help="veth: the other end's name.")] = None,
    peer_netns: Annotated[
        str | None, typer.Option(metavar="NETNS", help="veth: the other end's namespace.")
    ] = None,
    to_netns: Annotated[
        str | None, typer.Option(metavar="NETNS", help="Make it in this namespace, its parent stays.")
    ] = None,
    up: Annotated[bool, typer.Option("--up", help="Set it up as well.")] = False,
    netns: Netns = None,
    target: Target = LOCAL,
    dry_run: DryRun = False,
    json_: Json = False,
) -> int:
    """Add a link, by default an ipvlan one.

    An ipvlan link's mode and flag are those of its parent: what is given here changes its siblings too.
    """
    kind = _kind(type_, link=parent, mode=mode, flag=flag, id=id_, peer=peer, peer_netns=peer_netns)
    where = Where(target, netns, dry_run, json_)
    return change(where, f"add {dev}, a link of type {type_}", ip.link_add(dev, kind, netns=to_netns, up=up))


_OPTIONS = {
    "ipvlan": ({"link", "mode"}, {"flag"}),
    "macvlan": ({"link"}, {"mode"}),
    "vlan": ({"link", "id"}, set()),
    "veth": ({"peer", "peer_netns"}, set()),
    "bridge": (set(), set()),
}
"""The options that each kind of link needs, and those that it may have."""


def _kind(type_: LinkType, **options: str | int | None) -> ip.Kind:
    """Return the kind of link that the options describe; raise UsageError where they do not fit."""
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    needed, possible = _OPTIONS[type_]
    for name in sorted(set(given) - needed - possible):
        raise UsageError(f"{_option(name)} does not go with --type {type_}")
    for name in sorted(needed - set(given)):
        raise UsageError(f"a link of type {type_} needs {_option(name)}")
    match type_:
        case "ipvlan":
            return ip.Ipvlan(given["link"], _mode(type_, given["mode"]), given.get("flag"))
        case "macvlan":
            return ip.Macvlan(given["link"], _mode(type_, given.get("mode", "bridge")))
        case "vlan":
            return ip.Vlan(given["link"], given["id"])
        case "veth":
            return ip.Veth(given["peer"], given["peer_netns"])
        case "bridge":
            return ip.Bridge()


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _mode(type_: LinkType, mode: str) -> Any:  # noqa: ANN401
    modes = get_args(Mode) if type_ == "ipvlan" else ("bridge", "private", "vepa", "passthru")
    if mode not in modes:
        raise UsageError(f"{type_} has no mode {mode}", f"there is {', '.join(modes)}")
    return mode


@link.command("list")
def link_list(
    dev: Annotated[str | None, typer.Argument(metavar="DEV", help="Only this link.")] = None,
    type_: Annotated[LinkType | None, typer.Option("--type", help="Only links of this kind.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="Also those in each named namespace.")] = False,
    netns: Netns = None,
    target: Target = LOCAL,
    dry_run: DryRun = False,
    json_: Json = False,
) -> int:
    """List links: for ipvlan with parent, mode and flag, and all with their addresses."""
    if all_ and netns is not None:
        raise UsageError("--all does not go with --netns", "leave one of them away")
    where = Where(target, netns, dry_run, json_)
    # A link of that name may be in one namespace and not in another.
    show = ip.addr_show(None if all_ else dev, details=True)
    commands = {"list the links": show}
    if all_:
        commands["list the links in each namespace"] = ip.at_each(show)
    done = perform(where, commands)
    if done is None:
        return 0
    texts = [(netns, done[0].stdout)]
    if all_:
        texts += sorted(ip.by_netns(done[1].stdout).items())
    found = [LinkIn(name, link) for name, text in texts for link in ip.parse_addresses(text)]
    shown = [
        each
        for each in with_parents(found)
        if type_ in (None, each.link.kind) and dev in (None, each.link.ifname)
    ]
    _show(where, LINK, shown)
    return 0


@link.command("set")
def link_set(
    dev: LinkName,
    up: Annotated[bool | None, typer.Option("--up/--down", help="Set it up or down.")] = None,
    to_netns: Annotated[
        str | None, typer.Option(metavar="NETNS", help="Move it there; its addresses are lost.")
    ] = None,
    master: Annotated[str | None, typer.Option(metavar="DEV", help="Make it a port of this bridge.")] = None,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Its new name; it has to be down.")] = None,
    mtu: Annotated[int | None, typer.Option(min=68, metavar="BYTES", help="Its MTU.")] = None,
    mode: Annotated[LinkMode | None, typer.Option(help="ipvlan: of it and all its siblings.")] = None,
    flag: Annotated[Flag | None, typer.Option(help="ipvlan: of it and all its siblings.")] = None,
    netns: Netns = None,
    target: Target = LOCAL,
    dry_run: DryRun = False,
    json_: Json = False,
) -> int:
    """Change a link: up, down, its namespace, bridge, name, MTU, an ipvlan's mode and flag."""
    where = Where(target, netns, dry_run, json_)
    command = ip.link_set(
        dev,
        netns=to_netns,
        master=master,
        name=name,
        mtu=mtu,
        up=up,
        mode=None if mode is None else _mode("ipvlan", mode),
        flag=flag,
    )
    return change(where, f"change {dev}", command)


@link.command("del")
def link_del(
    dev: LinkName, netns: Netns = None, target: Target = LOCAL, dry_run: DryRun = False, json_: Json = False
) -> int:
    """Delete a link."""
    return change(Where(target, netns, dry_run, json_), f"delete {dev}", ip.link_delete(dev))


# --- addr -----------------------------------------------------------------------------------------------

Prefixed = Annotated[str, typer.Argument(metavar="ADDRESS/LEN", help="As in 192.0.2.1/24.")]


@addr.command("add")
def addr_add(
    address: Prefixed,
    dev: Dev,
    netns: Netns = None,
    target: Target = LOCAL,
    dry_run: DryRun = False,
    json_: Json = False,
) -> int:
    """Give a link an address."""
    where = Where(target, netns, dry_run, json_)
    return change(where, f"give {dev} an address", ip.addr_add(any_interface_address(address), dev))


@addr.command("del")
def addr_del(
    address: Prefixed,
    dev: Dev,
    netns: Netns = None,
    target: Target = LOCAL,
    dry_run: DryRun = False,
    json_: Json = False,
) -> int:
    """Take an address away from a link."""
    where = Where(target, netns, dry_run, json_)
    return change(where, f"take an address from {dev}", ip.addr_del(any_interface_address(address), dev))


@addr.command("list")
def addr_list(
    dev: OnlyDev = None,
    netns: Netns = None,
    target: Target = LOCAL,
    dry_run: DryRun = False,
    json_: Json = False,
) -> int:
    """List the addresses of the links."""
    where = Where(target, netns, dry_run, json_)
    done = perform(where, {"list the addresses": ip.addr_show(dev)})
    if done is not None:
        _show(where, ADDR, ip.parse_addresses(done[0].stdout))
    return 0


# --- route ----------------------------------------------------------------------------------------------

Destination = Annotated[str, typer.Argument(metavar="NETWORK", help="As in 192.0.2.0/24, or default.")]
Via = Annotated[str | None, typer.Option(metavar="ADDRESS", help="The gateway.")]
RouteDev = Annotated[str | None, typer.Option(metavar="DEV", help="The link it leaves by.")]
Metric = Annotated[int | None, typer.Option(min=0, metavar="N", help="The lowest is taken.")]
Ipv6 = Annotated[bool, typer.Option("-6", help="IPv6, where nothing else says so.")]


@route.command("add")
def route_add(
    destination: Destination,
    via: Via = None,
    dev: RouteDev = None,
    src: Annotated[str | None, typer.Option(metavar="ADDRESS", help="The address to send from.")] = None,
    metric: Metric = None,
    onlink: Annotated[bool, typer.Option("--onlink", help="Take the gateway to be on the link.")] = False,
    ipv6: Ipv6 = False,
    netns: Netns = None,
    target: Target = LOCAL,
    dry_run: DryRun = False,
    json_: Json = False,
) -> int:
    """Add a route, through a gateway, a link or both."""
    to = _route(destination, via, dev, metric, ipv6=ipv6, src=src, onlink=onlink)
    return change(Where(target, netns, dry_run, json_), f"add a route to {destination}", ip.route_add(to))


@route.command("del")
def route_del(
    destination: Destination,
    via: Via = None,
    dev: RouteDev = None,
    metric: Metric = None,
    ipv6: Ipv6 = False,
    netns: Netns = None,
    target: Target = LOCAL,
    dry_run: DryRun = False,
    json_: Json = False,
) -> int:
    """Delete a route, the first that is so."""
    to = _route(destination, via, dev, metric, ipv6=ipv6)
    return change(Where(target, netns, dry_run, json_), f"delete a route to {destination}", ip.route_del(to))


def _route(
    destination: str,
    via: str | None,
    dev: str | None,
    metric: int | None,
    *,
    ipv6: bool,
    src: str | None = None,
    onlink: bool = False,
) -> ip.RouteTo:
    return ip.RouteTo(
        dst=route_destination(destination),
        via=None if via is None else any_address(via),
        dev=dev,
        src=None if src is None else any_address(src),
        metric=metric,
        onlink=onlink,
        ipv6=ipv6,
    )


@route.command("list")
def route_list(
    dev: OnlyDev = None,
    netns: Netns = None,
    target: Target = LOCAL,
    dry_run: DryRun = False,
    json_: Json = False,
) -> int:
    """List the routes of the main table, IPv4 then IPv6."""
    where = Where(target, netns, dry_run, json_)
    commands = {
        "list the IPv4 routes": ip.route_show(dev=dev),
        "list the IPv6 routes": ip.route_show(dev=dev, ipv6=True),
    }
    done = perform(where, commands)
    if done is not None:
        found = [route for completed in done for route in ip.parse_routes(completed.stdout)]
        # ip leaves out what it was asked for.
        _show(where, ROUTE, [replace(r, dev=r.dev or dev) if not r.nexthops else r for r in found])
    return 0


# --- neigh ----------------------------------------------------------------------------------------------


@neigh.command("list")
def neigh_list(
    dev: OnlyDev = None,
    netns: Netns = None,
    target: Target = LOCAL,
    dry_run: DryRun = False,
    json_: Json = False,
) -> int:
    """List the neighbours that the kernel knows, with what it thinks of each."""
    where = Where(target, netns, dry_run, json_)
    done = perform(where, {"list the neighbours": ip.neigh_show(dev)})
    if done is not None:
        found = ip.parse_neighbours(done[0].stdout)
        _show(where, NEIGH, [replace(neighbour, dev=neighbour.dev or dev) for neighbour in found])
    return 0


def _show(where: Where, output: Output[T], found: T) -> None:
    emit(output.document(found) if where.as_json else output.table(found))
