"""``ipvkit link``."""

from collections.abc import Callable
from inspect import signature
from typing import Annotated, Any, Literal, get_args

from typer import Argument, Option

from ipvkit.cli.common import IP_HELP, group
from ipvkit.cli.single import Where, change, show
from ipvkit.core.errors import CommandFailed, UsageError
from ipvkit.core.values import BondMode, Flag, Mode
from ipvkit.report.ip import LINK, LinkIn, links_in
from ipvkit.tools import ip

LinkType = Literal["ipvlan", "ipvtap", "macvlan", "vlan", "veth", "bridge", "bond", "dummy"]
MacvlanMode = Literal["bridge", "private", "vepa", "passthru"]
LinkMode = Literal[Mode, MacvlanMode, BondMode]
MODE_HELP = (
    "ipvlan, ipvtap: l2, l3 or l3s. macvlan: bridge, private, vepa, passthru. bond: active-backup, 802.3ad."
)
CREATE_HELP = "Create it in this namespace; its parent stays."
ALTNAME_HELP = "Give it this alternative name, of up to 127 bytes; no other option with it."
MOVE_HELP = "Move it there; it loses its addresses."
Name = Annotated[str, Argument(metavar="DEV", help="The link's name.")]


def add(
    dev: Name,
    parent: Annotated[str | None, Option("--link", metavar="PARENT", help="The parent.")] = None,
    type_: Annotated[LinkType, Option("--type", help="The link type.")] = "ipvlan",
    mode: Annotated[LinkMode | None, Option(help=MODE_HELP)] = None,
    flag: Annotated[Flag | None, Option(help="ipvlan, ipvtap: traffic between siblings.")] = None,
    id_: Annotated[int | None, Option("--id", min=1, max=4094, metavar="TAG", help="vlan: the tag.")] = None,
    peer: Annotated[str | None, Option(metavar="DEV", help="veth: the peer's name.")] = None,
    peer_netns: Annotated[str | None, Option(metavar="NETNS", help="veth: the peer's namespace.")] = None,
    to_netns: Annotated[str | None, Option(metavar="NETNS", help=CREATE_HELP)] = None,
    up: Annotated[bool, Option("--up", help="Also set it up.")] = False,
    *,
    where: Where,
) -> None:
    """Add a link, by default an ipvlan one.

    All ipvlan links of a parent share mode and flag: those given here change the others too.
    """
    kind = _kind(type_, parent=parent, mode=mode, flag=flag, id=id_, peer=peer, netns=peer_netns)
    try:
        change(where, f"add {dev}, a link of type {type_}", ip.link_add(dev, kind, netns=to_netns, up=up))
    except CommandFailed as problem:
        if type_ == "ipvlan" and "Unknown device type" in problem.stderr:
            from ipvkit.targets.ipvlan import ipvlan_hint

            problem.hint = f"this kernel has no ipvlan: {ipvlan_hint()}"
        raise


_KINDS: dict[str, Callable[..., ip.Kind]] = {kind.__name__.lower(): kind for kind in get_args(ip.Kind)}
_NAMES = {"parent": "link", "netns": "peer-netns"}
"""The options of those fields that are not called so."""


def _kind(type_: LinkType, **options: str | int | None) -> ip.Kind:
    """Return the kind of link that the options describe; raise UsageError where they do not fit."""
    given = {name: value for name, value in options.items() if value is not None}
    possible = signature(_KINDS[type_]).parameters
    for name in sorted(set(given) - set(possible)):
        raise UsageError(f"--{_NAMES.get(name, name)} does not go with --type {type_}")
    for name, field in possible.items():
        if field.default is field.empty and name not in given:
            raise UsageError(f"a link of type {type_} needs --{_NAMES.get(name, name)}")
    if "mode" in given:
        _mode(type_, str(given["mode"]))
    return _KINDS[type_](**given)


def _mode(type_: LinkType, mode: str) -> Any:  # noqa: ANN401
    modes = get_args({"macvlan": MacvlanMode, "bond": BondMode}.get(type_, Mode))
    if mode not in modes:
        raise UsageError(f"{type_} has no mode {mode}", f"choose from {', '.join(modes)}")
    return mode


def list_(
    dev: Annotated[str | None, Argument(metavar="DEV", help="Only this link.")] = None,
    type_: Annotated[LinkType | None, Option("--type", help="Only links of this type.")] = None,
    all_: Annotated[bool, Option("--all", help="Also those in each named namespace.")] = False,
    *,
    where: Where,
) -> None:
    """List links with parent, mode, flag and addresses."""
    if all_ and where.netns is not None:
        raise UsageError("--all does not go with --netns", "give one of the two")
    # A link of that name may be in one namespace and not in another.
    command = ip.addr_show(None if all_ else dev, details=True)
    of_each = {"list the links in each namespace": ip.at_each(command)} if all_ else {}

    def parse(*texts: str) -> list[LinkIn]:
        found = links_in(where.netns, *texts)
        return [
            x
            for x in found
            if type_ in (None, x.link.kind) and dev in (None, x.link.ifname, *x.link.altnames)
        ]

    show(where, {"list the links": command, **of_each}, LINK, parse)


def set_(
    dev: Name,
    up: Annotated[bool | None, Option("--up/--down", help="Set it up or down.")] = None,
    to_netns: Annotated[str | None, Option(metavar="NETNS", help=MOVE_HELP)] = None,
    master: Annotated[str | None, Option(metavar="DEV", help="Make it a port of a bridge or bond.")] = None,
    name: Annotated[str | None, Option(metavar="NAME", help="Rename it; it has to be down.")] = None,
    mtu: Annotated[int | None, Option(min=68, metavar="BYTES", help="Its MTU.")] = None,
    mode: Annotated[LinkMode | None, Option(help="ipvlan: of it and its siblings.")] = None,
    flag: Annotated[Flag | None, Option(help="ipvlan: of it and its siblings.")] = None,
    altname: Annotated[str | None, Option(metavar="NAME", help=ALTNAME_HELP)] = None,
    no_altname: Annotated[str | None, Option(metavar="NAME", help="Delete this alternative name.")] = None,
    *,
    where: Where,
) -> None:
    """Change a link's state, namespace, master, names, MTU, mode or flag."""
    names, others = (altname, no_altname), (up, to_netns, master, name, mtu, mode, flag)
    if names != (None, None):
        if sum(one is not None for one in (*names, *others)) > 1:
            raise UsageError("an alternative name does not go with other changes", "type two commands")
        command = ip.link_altname(dev, altname or no_altname or "", delete=altname is None)
    else:
        mode = None if mode is None else _mode("ipvlan", mode)
        command = ip.link_set(
            dev, netns=to_netns, master=master, name=name, mtu=mtu, up=up, mode=mode, flag=flag
        )
    change(where, f"change {dev}", command)


def delete(dev: Name, where: Where) -> None:
    """Delete a link."""
    change(where, f"delete {dev}", ip.link_delete(dev))


link = group("link", IP_HELP, {"add": add, "list": list_, "set": set_, "del": delete})
