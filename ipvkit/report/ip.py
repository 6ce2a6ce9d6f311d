"""The output of ip, as tables and as JSON."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

from ipvkit.report.plain import Output, Rows, columns, not_understood, plain
from ipvkit.tools.ip import Change, Link, Neighbour, Netns, Route, Rule, by_netns, parse_addresses


class LinkIn(NamedTuple):
    """A link and the namespace that it is in; None where that is unknown or has no name."""

    netns: str | None
    link: Link


def links_in(netns: str | None, listed: str, of_each: str = "") -> list[LinkIn]:
    """Return the links that ip `listed` in `netns`, and those of each named namespace, with their parents.

    A namespace shows the number of a parent elsewhere, not its name. Links of ipvlan and VLANs have its MAC.
    """
    texts = [(netns, listed), *sorted(by_netns(of_each).items())]
    links = [LinkIn(name, each) for name, text in texts for each in parse_addresses(text)]
    names = {(link.ifindex, link.lladdr): link.ifname for netns, link in links if netns is None}
    found = []
    for name, link in links:
        if link.parent is None:
            link = replace(link, parent=names.get((link.parent_index, link.lladdr)))
        found.append(LinkIn(name, link))
    return found


def _links(links: Sequence[LinkIn]) -> str:
    headers = "netns, dev, type, parent, mode, flag, state, mtu, lladdr, addresses, altnames"
    rows = []
    for netns, link in links:
        of = (link.mode, link.flag, link.operstate, link.mtu, link.lladdr)
        # Each link has a link-local address; `addr list` shows them.
        addresses = ", ".join(str(a.address) for a in link.addresses if not a.address.is_link_local)
        rows.append(
            (
                netns,
                link.ifname,
                link.kind or link.link_type,
                _parent(link),
                *of,
                addresses,
                _words(link.altnames),
            )
        )
    return _table([link for _, link in links], rows, headers, "links", needed=0)


def _table(
    entries: Iterable[Link | Route | Neighbour | Rule], rows: Rows, headers: str, what: str, needed: int = 1
) -> str:
    """Return the table of `rows`, and the lines of `entries` that were not understood."""
    left = (line for entry in entries for line in entry.unrecognised)
    return columns(rows, headers.split(", "), needed, f"no {what}\n") + not_understood(left)


def _parent(link: Link) -> str | None:
    if link.parent is None and link.parent_index is None:
        return None
    name = f"if{link.parent_index}" if link.parent is None else link.parent
    return f"{name} in {link.link_netns}" if link.link_netns is not None else name


def _addresses(links: Sequence[Link]) -> str:
    rows = []
    for link in links:
        for own in link.addresses:
            valid = None if own.valid_lft is None else f"{own.valid_lft} s"
            rows.append((link.ifname, own.address, own.peer, own.scope, _words(own.flags), valid))
    return _table(links, rows, "dev, address, peer, scope, flags, valid for", "addresses", needed=2)


def _routes(routes: Sequence[Route]) -> str:
    rows: list[Sequence[object]] = []
    for route in routes:
        kind = None if route.type == "unicast" else route.type
        of = (route.src, route.metric, route.scope, route.protocol, _words(route.flags))
        rows.append((route.dst, kind, route.via, route.dev, *of))
        rows += [("", None, hop.via, hop.dev, *[None] * 4, _words(hop.flags)) for hop in route.nexthops]
    return _table(routes, rows, "destination, type, via, dev, src, metric, scope, protocol, flags", "routes")


def _neighbours(neighbours: Sequence[Neighbour]) -> str:
    # The kernel lists them in the order of its hashes.
    found = sorted(neighbours, key=lambda n: (n.dev or "", n.dst.version, int(n.dst)))
    rows = [(n.dst, n.dev, n.lladdr, _words(n.states), _words(n.flags)) for n in found]
    return _table(neighbours, rows, "address, dev, lladdr, state, flags", "neighbours")


def _namespaces(namespaces: Sequence[Netns]) -> str:
    rows = [(netns.name, netns.id) for netns in sorted(namespaces, key=lambda netns: netns.name)]
    return columns(rows, ("netns", "id"), empty="no network namespaces\n")


def _rules(rules: Sequence[Rule]) -> str:
    rows = []
    for rule in rules:
        source = f"{'not ' if rule.inverted else ''}{rule.src or 'all'}"
        does = rule.action or (f"goto {rule.goto}" if rule.goto is not None else None)
        rows.append(
            (
                rule.priority,
                source,
                rule.dst,
                rule.iif,
                rule.oif,
                rule.fwmark,
                rule.table,
                does,
                rule.protocol,
                _more(rule),
            )
        )
    return _table(
        rules, rows, "priority, from, to, iif, oif, fwmark, table, action, protocol, more", "rules", needed=2
    )


def _more(rule: Rule) -> str:
    return _words(key if value is True else f"{key} {value}" for key, value in rule.details.items())


def _changes(changes: Sequence[Change]) -> str:
    rows = [
        (c.time, c.nsid, "deleted" if c.deleted else "", c.object, c.text.partition("\n")[0]) for c in changes
    ]
    left = [line for c in changes for line in (*c.unrecognised, *(c.entry.unrecognised if c.entry else ()))]
    return columns(rows, ("time", "nsid", "", "object", "entry"), 0, "no changes\n") + not_understood(left)


def _words(values: Iterable[object]) -> str:
    return " ".join(str(value) for value in values)


LINK: Output[Sequence[LinkIn]] = Output(
    "link", _links, lambda found: {"links": [{"netns": netns, **plain(link)} for netns, link in found]}
)
ADDR: Output[Sequence[Link]] = Output("addr", _addresses, lambda found: {"links": plain(found)})
ROUTE: Output[Sequence[Route]] = Output("route", _routes, lambda found: {"routes": plain(found)})
NEIGH: Output[Sequence[Neighbour]] = Output("neigh", _neighbours, lambda found: {"neighbours": plain(found)})
RULE: Output[Sequence[Rule]] = Output("rule", _rules, lambda found: {"rules": plain(found)})
MONITOR: Output[Sequence[Change]] = Output("monitor", _changes, lambda found: {"changes": plain(found)})
NETNS: Output[Sequence[Netns]] = Output("netns", _namespaces, lambda found: {"namespaces": plain(found)})
