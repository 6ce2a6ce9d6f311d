"""Labs as YAML: `load` names file, line and field of a mistake, `dump` writes what `load` reads."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import yaml

from ipvkit.core.errors import InvalidLab
from ipvkit.core.values import InterfaceAddress, netns_name
from ipvkit.lab import parts, table
from ipvkit.lab.fields import MOST_ENDPOINTS, MOST_MOMENTS, Field, read
from ipvkit.lab.lab import Lab
from ipvkit.lab.parts import (
    AT,
    HOST,
    LAB_HINT,
    Act,
    Attempt,
    Check,
    Endpoint,
    Host,
    Parent,
    Phase,
    Route,
    Rule,
    Setting,
)
from ipvkit.lab.table import Given

_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
"""That of libyaml, where PyYAML has it: ten times as fast with thousands of endpoints."""

_OF_LINK = {key: key for key in ("kind", "mode", "flag")}
_CHANGES: dict[str, tuple[type[parts.Change], dict[str, str]]] = {
    "add-address": (parts.AddAddress, {"add_address": "address", "at": "endpoint"}),
    "add-link": (parts.AddLink, {"add_link": "name", "at": "parent", **_OF_LINK}),
    "delete-link": (parts.DeleteLink, {"delete_link": "name"}),
    "set-mode": (parts.SetMode, {"set_mode": "mode", "at": "endpoint"}),
    "set-mtu": (parts.SetMtu, {"set_mtu": "mtu", "at": "link"}),
}
"""Each change by its key, with its attribute for each value of a try."""

_OF_OTHER_KINDS = {**dict.fromkeys(parts.IPVLAN, ()), "macvlan": ("mode",), "veth": ("mode", "flag")}
"""The keys of a setting that links of a kind do not have."""


def load(text: str, file: str) -> Lab:
    """Return the lab that the YAML `text` describes; raise InvalidLab naming `file`, line and field."""
    root = read(text, file)
    given = table.LAB.read(root)
    parents = _parents(given)
    places: Places = {}
    usual: Defaults = {}
    if "machines" in given:
        parents, endpoints, usual = _on_hosts(given, parents, places)
    elif "endpoints" in given:
        endpoints = tuple(_endpoint(item, parents[0].name) for item in given["endpoints"])
    else:
        raise given.place.missing("endpoints")
    names = tuple(endpoint.name for endpoint in endpoints)
    phases = tuple(_phase(item, names, usual) for item in given["phases"])
    _refuse_too_many(given.fields["phases"], len(endpoints), phases)
    others = {key: given[key] for key in ("far", "setup", "parallel") if key in given}
    try:
        return Lab(given["name"], given["about"], parents, endpoints, phases, **others)
    except InvalidLab as problem:
        problem.path = (*places.get(problem.path[:2], problem.path[:2]), *problem.path[2:])
        raise root.placed(problem) from None


Places = dict[parts.Path, parts.Path]
"""Where the parents and endpoints of several hosts are in the file, by where they are in a lab."""

Defaults = dict[str, Given]
"""What differs on a parent in all phases, by its name."""


def _on_hosts(
    given: Given, networks: tuple[Parent, ...], places: Places
) -> tuple[tuple[Parent, ...], tuple[Endpoint, ...], Defaults]:
    """Return the parents and endpoints of several hosts, and what differs on the parents of each."""
    for i, network in enumerate(networks):
        if network.host:
            place = given.fields.get("network") or given.fields["parents"].items()[i]
            raise place.wrong("`host` is of a lab with one host", "write `addresses` of each of `hosts`")
    machines: list[Given] = [*given["machines"]]
    if len(machines) < 2:
        raise given.fields["hosts"].wrong("at least two are needed", "a lab without `hosts` has one")
    _refuse_twice([item.fields["name"] for item in machines], "host")
    interfaces = [_interfaces(item, networks) for item in machines]
    links = Counter(dev for own in interfaces for dev in {one.dev for one in own})
    named = Counter(e["name"] for item in machines for e in item.get("endpoints", ()))
    parents: list[Parent] = []
    endpoints: list[Endpoint] = []
    usual: Defaults = {}
    first: dict[str, str] = {}
    for h, (item, own) in enumerate(zip(machines, interfaces, strict=True)):
        here = {one.network: _named(one.dev, item, links) for one in own}
        for parent in _parents_of(item, networks, own, here):
            places["parents", len(parents)] = ("hosts", h)
            of = next(name for name, called in here.items() if called == parent.name)
            parents.append(replace(parent, shared=first.setdefault(of, parent.name)))
            usual[parent.name] = item
        for n, e in enumerate(item.get("endpoints", ())):
            places["endpoints", len(endpoints)] = ("hosts", h, "endpoints", n)
            made = _endpoint(e, own[0].network)
            on = {**{one.dev: here[one.network] for one in own}, **here}.get(made.parent)
            if on is None:
                what = f"{item['name']} has no {made.parent}"
                raise e.fields["parent"].wrong(what, f"choose from {', '.join(here)}")
            endpoints.append(replace(made, name=_named(made.name, item, named), parent=on))
    return tuple(parents), tuple(endpoints), usual


@dataclass(frozen=True, slots=True)
class _Interface:
    """A host's interface in a network: its name there, and its addresses."""

    network: str
    dev: str
    addresses: tuple[InterfaceAddress, ...] = ()


def _named(name: str, machine: Given, count: Counter[str]) -> str:
    """Return the name of a part of a host, with that of the host where others have one of that name."""
    return name if count[name] == 1 else f"{name}{AT}{machine['name']}"


def _refuse_twice(names: list[Field], what: str) -> None:
    seen = set()
    for name in names:
        if name.text() in seen:
            raise name.wrong(f"{what} {name.text()} is there twice", "keep one of the two")
        seen.add(name.text())


def _parents_of(
    item: Given, networks: tuple[Parent, ...], own: list[_Interface], here: dict[str, str]
) -> Iterator[Parent]:
    """Yield the parents of a host, which are called as in `here`, by network."""
    for network, one in ((n, one) for n in networks for one in own if one.network == n.name):
        if network.link and network.link not in here:
            what = f"{network.name} is a VLAN on {network.link}, which {item['name']} does not have"
            raise item.place.wrong(what, f"add {network.link} to `parents`")
        link = here.get(network.link or "")
        parent = replace(network, name=here[network.name], link=link, host=one.addresses)
        yield replace(parent, on=item["name"], ifname=one.dev)


def _interfaces(item: Given, networks: tuple[Parent, ...]) -> list[_Interface]:
    """Return the interfaces of a host; by default one in each network, without addresses but in the first."""
    if "parents" not in item:
        first = item.get("addresses", ())
        return [_Interface(n.name, n.name, () if at else first) for at, n in enumerate(networks)]
    names = [network.name for network in networks]
    _refuse_twice([parent.fields["name"] for parent in item["parents"]], "network")
    for parent in item["parents"]:
        if parent["name"] not in names:
            what = f"no network is called {parent['name']}"
            raise parent.fields["name"].wrong(what, f"choose from {', '.join(names)}")
    return [_Interface(p["name"], p.get("dev", p["name"]), p.get("addresses", ())) for p in item["parents"]]


def _refuse_too_many(place: Field, endpoints: int, phases: tuple[Phase, ...]) -> None:
    created = sum(len(phase.endpoints) for phase in phases)
    changes = sum(1 + sum(1 + len(act.attempts) for act in phase.acts) for phase in phases)
    if created > MOST_ENDPOINTS:
        raise place.wrong(f"{created} endpoints are too many", f"{MOST_ENDPOINTS} at most, in all phases")
    if endpoints * changes > MOST_MOMENTS:
        what = f"endpoints times phases, items of `do` and tries are {endpoints * changes}"
        hint = f"{MOST_MOMENTS} at most: take fewer endpoints, or put concurrent checks into one item"
        raise place.wrong(what, hint)


def _parents(given: Given) -> tuple[Parent, ...]:
    """Return the parents: one, as `parent` and `network`, or several, as `parents`."""
    if "parents" not in given:
        for key in ("parent", "network"):
            if key not in given:
                raise given.place.missing(key)
        return (_parent({"name": given["parent"], **given["network"]}),)
    if not given["parents"]:
        raise given.fields["parents"].wrong("at least one is needed", LAB_HINT)
    dummies = {item["name"] for item in given["parents"] if item.get("kind") == "dummy"}
    for item in given["parents"]:
        if "gateway" not in item and dummies.isdisjoint((item["name"], item.get("link"))):
            raise item.place.missing("gateway")
        if "bond_mode" in item and item.get("kind") != "bond":
            raise item.fields["bond-mode"].wrong("only a bond has one", "add `kind: bond`, or leave it out")
    return tuple(map(_parent, given["parents"]))


def _parent(given: dict[str, Any]) -> Parent:
    return Parent(**{**given, "hosts": tuple(Host(**_node(item)) for item in given.get("hosts", ()))})


def _endpoint(given: Given, first_parent: str) -> Endpoint:
    netns = given.get("netns") or given.fields["name"].checked(netns_name)
    return Endpoint(**{"parent": first_parent, **_node(given), "netns": netns})


def _node(given: Given) -> dict[str, Any]:
    """Return the values of an endpoint or a host with its routes and rules."""
    if not given["addresses"]:
        raise given.fields["addresses"].wrong("at least one address is needed", "as in [192.168.104.211/24]")
    routes = tuple(map(_route, given["routes"])) if "routes" in given else None
    return {**given, "routes": routes, "rules": tuple(Rule(**rule) for rule in given.get("rules", ()))}


def _route(given: Given) -> Route:
    route = Route(**given)
    if route.to and route.via and route.to.version != route.via.version:
        what = f"{route.via} is of another family than {route.to}"
        raise given.fields["via"].wrong(what, "take a gateway of that family")
    return route


def _phase(given: Given, endpoints: tuple[str, ...], usual: Defaults) -> Phase:
    setting = _setting(given, Setting())
    if setting.is_ipvlan and "mode" not in given:
        raise given.place.missing("mode")
    settings = {name: _setting(own, setting) for name, own in usual.items()}
    settings |= {
        name: _setting(other, settings.get(name, setting)) for name, other in given.get("others", ())
    }
    there = {name for name, _ in given.get("others", ())}
    others = tuple((n, own) for n, own in settings.items() if n in there or own != setting)
    acts = tuple(map(_act, given["acts"]))
    return Phase(given["name"], setting, given.get("endpoints", endpoints), acts, others)


def _setting(given: Given, default: Setting) -> Setting:
    """Return the setting in which what is not `given` is as in `default`."""
    kind = given.get("kind", default.kind)
    for key in _OF_OTHER_KINDS[kind]:
        if key in given:
            raise given.fields[key].wrong(f"a {kind} link has no {key} of ipvlan", "leave it out")
    values = {key: getattr(Setting(), key) for key in _OF_OTHER_KINDS[kind]}
    values |= {key: given[key] for key in ("mode", "flag", "kind", "strategy") if key in given}
    if "host_shim" in given:
        shim = given["host_shim"]
        values |= {"host_shim": shim is not False, "shim_addresses": () if isinstance(shim, bool) else shim}
    return replace(default, **values)


def _act(given: Given) -> Act:
    if not given:
        choice = ", ".join(key.name for key in table.ACT.keys)
        raise given.place.wrong("nothing to do", f"choose from {choice}")
    checks = tuple(map(_check, given.get("checks", ())))
    return Act(**{**given, "checks": checks, "attempts": tuple(map(_attempt, given.get("attempts", ())))})


def _check(given: Given) -> Check:
    if "listen" in given and "tcp" not in given:
        raise given.fields["listen"].wrong("it is for TCP connections", "add `tcp: PORT`, or leave it out")
    return Check(**given)


def _attempt(given: Given) -> Attempt:
    tried = [key for key in _CHANGES if key in given.fields]
    if not tried:
        raise given.place.wrong("a change is needed", f"choose from {', '.join(_CHANGES)}")
    if len(tried) > 1:
        raise given.place.wrong(f"there are {len(tried)} changes in it", "write each as a separate item")
    reasons = {key: given[key] for key in ("expect", "why") if key in given}
    return Attempt(_change(given, tried[0]), **reasons)


def _change(given: Given, key: str) -> parts.Change:
    make, attributes = _CHANGES[key]
    for name in ("kind", "at"):
        if name in attributes and name not in given:
            raise given.place.missing(name)
    for name in ("at", "kind", "mode", "flag"):
        if name in given and name not in attributes:
            raise given.fields[name].wrong(f"`{name}` does not go with `{key}`", "leave it out")
    for name in ("mode", "flag"):
        if name in given and given["kind"] == "macvlan":
            raise given.fields[name].wrong("it is ipvlan's", "leave it out")
    if "flag" in given and "mode" not in given:
        raise given.fields["flag"].wrong("a flag goes with a mode", "add `mode: …`")
    return make(**{attributes[name]: given[name] for name in attributes if name in given})


def dump(lab: Lab) -> str:
    """Return `lab`, one on a simulated network, as YAML from which `load` makes the same lab."""
    several = lab.several_hosts
    own_networks = [_network_alone(lab, each) for each in lab.networks] if several else lab.parents
    first = own_networks[0]
    hosts = [list(map(_host_written, parent.hosts)) or None for parent in own_networks]
    networks = [
        {**_changed(parent), "gateway": parent.gateway, "hosts": own}
        for parent, own in zip(own_networks, hosts, strict=True)
    ]
    place: dict[str, Any] = {"parents": list(map(table.PARENT.written, networks))}
    if len(networks) == 1 and first.vlan is None and first.kind == "nic" and not first.altnames:
        place = {"parent": first.name, "parents": None, "network": table.NETWORK.written(networks[0])}
    place["machines"] = [_machine_written(lab, host) for host in lab.hosts] if several else None
    endpoints = None if several else [_endpoint_written(each, first.name) for each in lab.endpoints]
    phases = [_phase_written(phase, lab) for phase in lab.phases]
    document = table.LAB.written({**_changed(lab), **place, "endpoints": endpoints, "phases": phases})
    return str(
        yaml.dump(
            document,
            Dumper=_DUMPER,
            sort_keys=False,
            allow_unicode=True,
            width=110,
            default_flow_style=None,
        )
    )


def _network_alone(lab: Lab, parent: Parent) -> Parent:
    """Return the network of a parent that several hosts share, without a host."""
    own = {address.network for p in lab.parents if p.lan == parent.name for address in p.host}
    others = tuple(subnet for subnet in parent.others if subnet not in own)
    link = parent.link and _plain(parent.link)
    return replace(
        parent, name=_plain(parent.name), host=(), others=others, link=link, on=HOST, ifname="", shared=""
    )


def _plain(name: str) -> str:
    return name.partition(AT)[0]


def _machine_written(lab: Lab, host: str) -> dict[str, Any]:
    """Return one of several hosts, with its parents and endpoints."""
    own = [(parent, _plain(parent.lan)) for parent in lab.parents_on(host)]
    parents = [
        {
            "name": network,
            "dev": None if parent.dev == network else parent.dev,
            "addresses": parent.host or None,
        }
        for parent, network in own
    ]
    usual = len(own) == len(lab.networks) and not any(p["dev"] or p["addresses"] for p in parents[1:])
    place: dict[str, Any] = {"parents": list(map(table.HOST_PARENT.written, parents))}
    if usual and not parents[0]["dev"]:
        place = {"addresses": parents[0]["addresses"]}
    names = {parent.name: network for parent, network in own}
    endpoints = [
        _endpoint_written(replace(e, name=e.plain_name, parent=names[e.parent]), own[0][1])
        for e in lab.endpoints
        if e.parent in names
    ]
    return table.OUR_HOST.written({"name": host, **place, "endpoints": endpoints or None})


def _changed(value: Lab | Parent | Host | Endpoint | Route | Act | Check | Attempt) -> dict[str, Any]:
    """Return the attributes of `value` that are not as by default."""
    own = ((each.name, getattr(value, each.name), each.default) for each in fields(value))
    return {name: value for name, value, default in own if value != default}


def _endpoint_written(endpoint: Endpoint, first_parent: str) -> dict[str, Any]:
    usual = {"parent": first_parent, "netns": endpoint.name, "dev": endpoint.name}
    written = {key: value for key, value in _changed(endpoint).items() if usual.get(key) != value}
    return table.ENDPOINT.written({**written, **_routing_written(endpoint)})


def _host_written(host: Host) -> dict[str, Any]:
    return table.HOST.written({**_changed(host), **_routing_written(host)})


def _routing_written(node: Endpoint | Host) -> dict[str, Any]:
    """Return the routes and rules of `node` as mappings, those that are given."""
    routes = [{**_changed(route), "to": route.to or "default"} for route in node.routes or ()]
    rules = [table.RULE.written(asdict(rule)) for rule in node.rules]
    written = None if node.routes is None else list(map(table.ROUTE.written, routes))
    return {"routes": written, "rules": rules or None}


def _phase_written(phase: Phase, lab: Lab) -> dict[str, Any]:
    every = tuple(endpoint.name for endpoint in lab.endpoints)
    mode = {"mode": phase.setting.mode} if phase.setting.is_ipvlan else {}
    others = {name: table.SETTING.written(_differing(other, phase.setting)) for name, other in phase.others}
    endpoints = phase.endpoints if phase.endpoints != every else None
    lists = {"others": others or None, "endpoints": endpoints, "acts": list(map(_act_written, phase.acts))}
    return table.PHASE.written({"name": phase.name, **_differing(phase.setting, Setting()), **mode, **lists})


def _differing(setting: Setting, default: Setting) -> dict[str, Any]:
    own, usual = ({**asdict(s), "host_shim": s.shim_addresses or s.host_shim} for s in (setting, default))
    leave_out = _OF_OTHER_KINDS[setting.kind]
    return {key: own[key] for key in own if own[key] != usual[key] and key not in leave_out}


def _act_written(act: Act) -> dict[str, Any]:
    checks = [table.CHECK.written(_changed(check)) for check in act.checks]
    attempts = list(map(_attempt_written, act.attempts))
    lists = {"checks": checks if checks or act == Act() else None, "attempts": attempts or None}
    return table.ACT.written({**_changed(act), **lists})


def _attempt_written(attempt: Attempt) -> dict[str, Any]:
    change = attempt.change
    attributes = next(attributes for kind, attributes in _CHANGES.values() if isinstance(change, kind))
    what = {name: getattr(change, attribute) for name, attribute in attributes.items()}
    return table.TRY.written({**_changed(attempt), **what})
