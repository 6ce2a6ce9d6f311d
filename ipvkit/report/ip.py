"""The output of ip, as tables and as JSON."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from ipvkit.report.outputs import Output, columns, not_understood
from ipvkit.report.plain import plain
from ipvkit.tools.ip import Link, Neighbour, Netns, Route, by_netns, parse_addresses


class LinkIn(NamedTuple):
    """A link and the namespace that it is in; None where that is unknown or has no name."""

    netns: str | None
    link: Link


def with_parents(links: Sequence[LinkIn]) -> tuple[LinkIn, ...]:
    """Return `links` with the parents' names for ipvlan links with a parent in the host's namespace.

    A namespace shows the number of a parent elsewhere, not its name; an ipvlan link shares its MAC address.
    """
    names = {(link.ifindex, link.lladdr): link.ifname for netns, link in links if netns is None}

    def named(netns: str | None, link: Link) -> LinkIn:
        if link.kind not in ("ipvlan", "ipvtap") or link.parent is not None:
            return LinkIn(netns, link)
        return LinkIn(netns, replace(link, parent=names.get((link.parent_index, link.lladdr))))

    return tuple(named(netns, link) for netns, link in links)


def links_in(netns: str | None, listed: str, of_each: str = "") -> tuple[LinkIn, ...]:
    """Return the links that ip `listed` in `netns`, and those of each named namespace, with their parents."""
    texts = [(netns, listed), *sorted(by_netns(of_each).items())]
    return with_parents([LinkIn(name, each) for name, text in texts for each in parse_addresses(text)])


def _links(links: Sequence[LinkIn]) -> str:
    headers = "netns, dev, type, parent, mode, flag, state, mtu, lladdr, addresses"
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
    return _table([link for _, link in links], rows, headers, "links", needed=0)


def _table(
    entries: Iterable[Link | Route | Neighbour],
    rows: Sequence[Sequence[object]],
    headers: str,
    what: str,
    needed: int = 1,
) -> str:
    """Return the table of `rows`, and the lines of `entries` that were not understood."""
    left = (line for entry in entries for line in entry.unrecognised)
    return columns(rows, headers.split(", "), needed, f"no {what}\n") + not_understood(left)


def _parent(link: Link) -> str | None:
    if link.parent is not None:
        name = link.parent
    elif link.parent_index is not None:
        name = f"if{link.parent_index}"
    else:
        return None
    return f"{name} in {link.link_netns}" if link.link_netns is not None else name


def _addresses(links: Sequence[Link]) -> str:
    headers = "dev, address, peer, scope, flags, valid for"
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
    return _table(links, rows, headers, "addresses", needed=2)


def _routes(routes: Sequence[Route]) -> str:
    headers = "destination, type, via, dev, src, metric, scope, protocol, flags"
    rows: list[Sequence[object]] = []
    for route in routes:
        kind = None if route.type == "unicast" else route.type
        of = (route.src, route.metric, route.scope, route.protocol, _words(route.flags))
        rows.append((route.dst, kind, route.via, route.dev, *of))
        rows += [("", None, hop.via, hop.dev, *[None] * 4, _words(hop.flags)) for hop in route.nexthops]
    return _table(routes, rows, headers, "routes")


def _neighbours(neighbours: Sequence[Neighbour]) -> str:
    # The kernel lists them in the order of its hashes.
    found = sorted(neighbours, key=lambda n: (n.dev or "", n.dst.version, int(n.dst)))
    rows = [(n.dst, n.dev, n.lladdr, _words(n.states), _words(n.flags)) for n in found]
    return _table(neighbours, rows, "address, dev, lladdr, state, flags", "neighbours")


def _namespaces(namespaces: Sequence[Netns]) -> str:
    rows = [(netns.name, netns.id) for netns in sorted(namespaces, key=lambda netns: netns.name)]
    return columns(rows, ("netns", "id"), empty="no network namespaces\n")


def _words(values: Iterable[object]) -> str:
    return " ".join(str(value) for value in values)


def _listed(key: str) -> Callable[[Any], dict[str, Any]]:
    return lambda found: {key: plain(found)}


LINK: Output[Sequence[LinkIn]] = Output(
    "link",
    _links,
    lambda found: {"links": [{"netns": netns, **plain(link)} for netns, link in found]},
)
ADDR: Output[Sequence[Link]] = Output("addr", _addresses, _listed("links"))
ROUTE: Output[Sequence[Route]] = Output("route", _routes, _listed("routes"))
NEIGH: Output[Sequence[Neighbour]] = Output("neigh", _neighbours, _listed("neighbours"))
NETNS: Output[Sequence[Netns]] = Output("netns", _namespaces, _listed("namespaces"))
