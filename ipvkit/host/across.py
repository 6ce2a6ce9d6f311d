"""What is wrong between hosts, which none of them sees alone."""

from collections.abc import Iterable, Iterator, Mapping

from ipvkit.core.values import Address, Network
from ipvkit.host.checks import some
from ipvkit.host.inspect import MACVLAN, Inspection, Placed
from ipvkit.host.problems import Problem

_APART = "if these hosts are on one LAN"


def problems_across(found: Mapping[str, Inspection]) -> Iterator[Problem]:
    """Yield what links of several hosts have in common, or not in common, that breaks what is between them.

    Which hosts are on one LAN is unknown.
    """
    for address, links in _several(_addresses(found)):
        what = f"{address} is an address of {links}: others reach one of them"
        advice = f"{_APART}, give one of them another address"
        yield Problem("duplicate-address", "error", "", what, advice=advice, of=address, cause="across")
    for lladdr, links in _several(_lladdrs(found)):
        what = f"{lladdr} is the MAC address of {links}: a switch sends frames for one to the other"
        advice = f"{_APART}, give one of them another MAC address; cloned machines have the same"
        yield Problem("duplicate-lladdr", "error", "", what, advice=advice, of=lladdr, cause="across")
    for network, modes in _by_network(_modes(found)).items():
        if len(modes) > 1 and "l2" in modes and len({host for on in modes.values() for host in on}) > 1:
            what = f"{network} has links in {_listed(modes)}: those in l2 ask the others in vain"
            advice = f"{_APART}, take one mode, or a subnet for each host that others have a route to"
            yield Problem("modes-differ", "warning", "", what, advice=advice, of=str(network), cause="modes")
    for network, gateways in _by_network(_gateways(found)).items():
        if len(gateways) > 1 and not set.intersection(*map(set, gateways.values())):
            what = f"{network} has default routes via {_listed(gateways)}"
            advice = f"{_APART}, check that both are meant"
            yield Problem("gateways-differ", "info", "", what, advice=advice, of=str(network), cause="vias")


def _placed(found: Mapping[str, Inspection]) -> Iterator[tuple[str, Placed]]:
    """Yield each parent and each link on it, after its host."""
    for host, there in found.items():
        for on in there.parents:
            yield from ((host, placed) for placed in (on.parent, *on.links) if placed is not None)


def _addresses(found: Mapping[str, Inspection]) -> Iterator[tuple[Address, str, str]]:
    for host, placed in _placed(found):
        yield from ((own.ip, host, str(placed)) for own in placed.addresses)


def _lladdrs(found: Mapping[str, Inspection]) -> Iterator[tuple[str, str, str]]:
    """Yield the MAC addresses: one that a host has several times, as with ipvlan, counts once."""
    for host, placed in _placed(found):
        if placed.link.lladdr:
            yield placed.link.lladdr, host, str(placed)


def _several(holders: Iterable[tuple[object, str, str]]) -> Iterator[tuple[str, str]]:
    """Yield what links of several hosts have, and these in words."""
    found: dict[str, dict[str, str]] = {}
    for what, host, link in holders:
        found.setdefault(str(what), {}).setdefault(host, f"{link} on {host}")
    yield from ((what, some(links.values())) for what, links in found.items() if len(links) > 1)


def _modes(found: Mapping[str, Inspection]) -> Iterator[tuple[Network, str, str]]:
    for host, placed in _placed(found):
        if placed.link.mode is not None and placed.link.kind not in MACVLAN:
            yield from ((own.network, placed.link.mode, host) for own in placed.addresses)


def _gateways(found: Mapping[str, Inspection]) -> Iterator[tuple[Network, str, str]]:
    for host, placed in _placed(found):
        for route in placed.default_routes:
            near = (own.network for own in placed.addresses if route.via and route.via in own.network)
            yield from ((network, str(route.via), host) for network in near)


def _by_network(found: Iterable[tuple[Network, str, str]]) -> dict[Network, dict[str, list[str]]]:
    """Return the hosts that have something in a network, by that and the network."""
    by_network: dict[Network, dict[str, list[str]]] = {}
    for network, what, host in found:
        hosts = by_network.setdefault(network, {}).setdefault(what, [])
        hosts += [host] if host not in hosts else []
    return by_network


def _listed(found: Mapping[str, Iterable[str]]) -> str:
    return " and ".join(f"{what} on {some(hosts)}" for what, hosts in found.items())
