"""What ip printed, as tables and as JSON."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from ipvkit.report.outputs import Output, columns, not_understood
from ipvkit.report.plain import plain
from ipvkit.tools.ip import Link, Neighbour, Netns, Route


class LinkIn(NamedTuple):
    """A link and the namespace that it is in; None where that is not known or has no name."""

    netns: str | None
    link: Link


def with_parents(links: Sequence[LinkIn]) -> tuple[LinkIn, ...]:
    """Return `links` with the parents' names for those ipvlan links whose parent is in the host's namespace.

    A namespace tells the number of a parent elsewhere, not its name; an ipvlan link shares its MAC address.
    """
    names = {(link.ifindex, link.lladdr): link.ifname for netns, link in links if netns is None}

    def named(netns: str | None, link: Link) -> LinkIn:
        if link.kind not in ("ipvlan", "ipvtap") or link.parent is not None:
            return LinkIn(netns, link)
        return LinkIn(netns, replace(link, parent=names.get((link.parent_index, link.lladdr))))

    return tuple(named(netns, link) for netns, link in links)


def _links(links: Sequence[LinkIn]) -> str:
    headers = ("netns", "dev", "type", "parent", "mode", "flag", "state", "mtu", "lladdr", "addresses")
    rows = [
        (
            netns,
            link.ifname,
            link.kind or link.link_type,
            _parent(link),
            link.mode,
            link.flag,
            link.operstate,
            link.mtu,
            link.lladdr,
            # Each link has one of these; `addr list` shows them.
            ", ".join(str(a.address) for a in link.addresses if not a.address.is_link_local),
        )
        for netns, link in links
    ]
    table = columns(rows, headers, needed=0) if rows else "no links\n"
    return table + not_understood(line for _, link in links for line in link.unrecognised)


def _parent(link: Link) -> str | None:
    if link.parent is not None:
        name = link.parent
    elif link.parent_index is not None:
        name = f"if{link.parent_index}"
    else:
        return None
    return f"{name} in {link.link_netns}" if link.link_netns is not None else name


def _addresses(links: Sequence[Link]) -> str:
    headers = ("dev", "address", "peer", "scope", "flags", "valid for")
    rows = [
        (
            link.ifname,
            address.address,
            address.peer,
            address.scope,
            _words(address.flags),
            None if address.valid_lft is None else f"{address.valid_lft} s",
        )
        for link in links
        for address in link.addresses
    ]
    table = columns(rows, headers, needed=2) if rows else "no addresses\n"
    return table + not_understood(line for link in links for line in link.unrecognised)


def _routes(routes: Sequence[Route]) -> str:
    headers = ("destination", "type", "via", "dev", "src", "metric", "scope", "protocol", "flags")
    rows: list[Sequence[object]] = []
    for route in routes:
        kind = None if route.type == "unicast" else route.type
        rows.append(
            (
                route.dst,
                kind,
                route.via,
                route.dev,
                route.src,
                route.metric,
                route.scope,
                route.protocol,
                _words(route.flags),
            )
        )
        rows += [("", None, hop.via, hop.dev, *[None] * 4, _words(hop.flags)) for hop in route.nexthops]
    table = columns(rows, headers) if rows else "no routes\n"
    return table + not_understood(line for route in routes for line in route.unrecognised)


def _neighbours(neighbours: Sequence[Neighbour]) -> str:
    headers = ("address", "dev", "lladdr", "state", "flags")
    # The kernel lists them in the order of its hashes.
    found = sorted(neighbours, key=lambda n: (n.dev or "", n.dst.version, int(n.dst)))
    rows = [(n.dst, n.dev, n.lladdr, _words(n.states), _words(n.flags)) for n in found]
    table = columns(rows, headers) if rows else "no neighbours\n"
    return table + not_understood(line for n in neighbours for line in n.unrecognised)


def _namespaces(namespaces: Sequence[Netns]) -> str:
    rows = [(netns.name, netns.id) for netns in sorted(namespaces, key=lambda netns: netns.name)]
    return columns(rows, ("netns", "id")) if rows else "no network namespaces\n"


def _words(values: Iterable[object]) -> str:
    return " ".join(str(value) for value in values)


def _listed(key: str) -> Callable[[Any], dict[str, Any]]:
    return lambda found: {key: plain(found)}


LINK: Output[Sequence[LinkIn]] = Output(
    "ipvkit/link/v1",
    _links,
    lambda found: {"links": [{"netns": netns, **plain(link)} for netns, link in found]},
)
ADDR: Output[Sequence[Link]] = Output("ipvkit/addr/v1", _addresses, _listed("links"))
ROUTE: Output[Sequence[Route]] = Output("ipvkit/route/v1", _routes, _listed("routes"))
NEIGH: Output[Sequence[Neighbour]] = Output("ipvkit/neigh/v1", _neighbours, _listed("neighbours"))
NETNS: Output[Sequence[Netns]] = Output("ipvkit/netns/v1", _namespaces, _listed("namespaces"))
