"""Labs as YAML: `load` names file, line and field of what is wrong, `dump` writes what `load` reads."""

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from difflib import get_close_matches
from typing import Any, TypeVar, cast

import yaml

from ipvkit.core.errors import InvalidLab, UsageError
from ipvkit.core.values import (
    Address,
    Flag,
    InterfaceAddress,
    Mode,
    address,
    interface_address,
    interface_name,
    netns_name,
    route_destination,
)
from ipvkit.lab import (
    FAMILIES,
    FAR,
    FLAGS,
    GATEWAY,
    HOST,
    KINDS,
    LAB_HINT,
    MODES,
    MOST_AT_ONCE,
    NEIGHBOUR,
    OF_PINGS,
    OF_TRIES,
    PING_COUNT,
    SETUPS,
    STRATEGIES,
    Act,
    AddAddress,
    AddLink,
    Attempt,
    Change,
    Check,
    DeleteLink,
    Endpoint,
    Family,
    Kind,
    Lab,
    Outcome,
    Parent,
    Path,
    Phase,
    Route,
    SetMode,
    SetMtu,
    Setting,
    Setup,
    Strategy,
)

T = TypeVar("T")

_NUMBER = re.compile(r"[1-9][0-9]{0,4}|0")
_YES_NO = ("true", "false")
_SETTING = ("mode", "flag", "kind", "strategy", "host-shim")
MOST_CHARACTERS = 2_000_000
_MOST_OF_ONE = 1_000
_MOST_NODES = 250_000
_MOST_OF_A_PART = 100
_MOST_ENDPOINTS = 10_000
_MOST_MOMENTS = 500_000
"""What a file may have: characters, those of one text in it, keys and values once each alias is replaced by
what it stands for, parents and addresses of one of them, endpoints in all phases together, and endpoints
times the moments at which they are looked at anew: phases, acts and tries.
No person's lab comes near; beyond it a plan would take minutes, and the memory of the machine."""

_TRIES = ("add-address", "add-link", "delete-link", "set-mode", "set-mtu")


def load(text: str, file: str) -> Lab:
    """Return the lab that the YAML `text` describes; raise InvalidLab naming `file`, line and field."""
    if not file.isprintable():
        file = repr(file)
    if len(text) > MOST_CHARACTERS:
        raise InvalidLab(f"{file}: the file has {len(text)} characters", f"{MOST_CHARACTERS} at most")
    try:
        root = _composed(text)
        size = _size(root, {}) if root is not None else 0
    except (yaml.YAMLError, RecursionError, ValueError) as problem:
        mark = getattr(problem, "problem_mark", None)
        line = mark.line + 1 if mark else text.count("\n", 0, getattr(problem, "position", 0)) + 1
        what = getattr(problem, "problem", None) or getattr(problem, "reason", None) or "not readable"
        raise InvalidLab(f"{file}:{line}: this is no YAML: {what}", LAB_HINT) from None
    if root is None:
        raise InvalidLab(f"{file}: the file is empty", "`ipvkit run-lab walkthrough` is a lab to begin with")
    if size > _MOST_NODES:
        hint = "keep it shorter, with fewer aliases (*name) in what other aliases stand for"
        raise InvalidLab(f"{file}: the lab has more than {_MOST_NODES} keys and values", hint)
    try:
        return _lab(_Field(root, file, "lab"))
    except _Wrong:
        raise
    except InvalidLab as problem:
        line = _node_at(root, problem.path).start_mark.line + 1
        raise InvalidLab(f"{file}:{line}: {problem.message}", problem.hint, problem.path) from None


def _composed(text: str) -> yaml.Node | None:
    """Return the root of the YAML `text`, by libyaml if it is there: that takes a tenth of the time.

    What it refuses is read by PyYAML's own parser, which takes a little more, and says the same everywhere.
    """
    if yaml.__with_libyaml__:
        with suppress(yaml.YAMLError, ValueError):
            return yaml.compose(text, Loader=yaml.CSafeLoader)
    return yaml.compose(text, Loader=yaml.SafeLoader)


def _size(node: yaml.Node, known: dict[yaml.Node, int]) -> int:
    """Return how many nodes `node` has in it, itself and those that aliases stand for included.

    `known` are the sizes found so far. What is within itself has no end, and counts as too large.
    """
    if node not in known:
        known[node] = _MOST_NODES + 1
        inside = [] if isinstance(node, yaml.ScalarNode) else node.value
        parts = (part for item in inside for part in (item if isinstance(item, tuple) else (item,)))
        known[node] = 1 + sum(_size(part, known) for part in parts)
    return known[node]


def _node_at(node: yaml.Node, path: Path) -> yaml.Node:
    """Return the node at `path`, or the innermost on the way to it that is there.

    The one parent of the short form is found at its two keys.
    """
    if path[:1] == ("parents",) and _has_key(node, "network"):
        path = ("network", *path[2:]) if path[2:] else ("parent",)
    for step in path:
        if isinstance(node, yaml.SequenceNode) and isinstance(step, int):
            node = node.value[step]
        elif isinstance(node, yaml.MappingNode):
            node = next((value for key, value in node.value if key.value == step), node)
    return node


def _has_key(node: yaml.Node, key: str) -> bool:
    return isinstance(node, yaml.MappingNode) and any(name.value == key for name, _ in node.value)


class _Wrong(InvalidLab):
    """A field that says its place itself."""


class _Field:
    """A node of the YAML text that knows its place, so that what is wrong can be named."""

    def __init__(self, node: yaml.Node, file: str, name: str) -> None:
        self.node = node
        self.file = file
        self.name = name

    def wrong(self, what: str, hint: str) -> InvalidLab:
        return _Wrong(f"{self.file}:{self.node.start_mark.line + 1}: {self.name}: {what}", hint)

    def text(self) -> str:
        if not isinstance(self.node, yaml.ScalarNode) or self.node.tag.endswith(":null"):
            raise self.wrong("a single value is needed", "write it as in `key: value`")
        text = str(self.node.value)
        if len(text) > _MOST_OF_ONE:
            raise self.wrong(f"a text of {len(text)} characters", f"{_MOST_OF_ONE} at most")
        if not text.isprintable():
            raise self.wrong(f"{text!r} is not one line of text", "write it on one line, without tabs")
        return text

    def items(self) -> list["_Field"]:
        """Return the items of a list; a single value is a list of one."""
        if isinstance(self.node, yaml.SequenceNode):
            return [_Field(n, self.file, f"{self.name}[{i}]") for i, n in enumerate(self.node.value)]
        if isinstance(self.node, yaml.ScalarNode) and not self.node.tag.endswith(":null"):
            return [self]
        raise self.wrong("a list is needed", "write it as in [one, two], or one item a line after `- `")

    def pairs(self, hint: str) -> list[tuple["_Field", "_Field"]]:
        """Return the keys of a mapping, each with its value."""
        if not isinstance(self.node, yaml.MappingNode):
            raise self.wrong("`key: value` lines are needed", hint)
        found: dict[str, tuple[_Field, _Field]] = {}
        for key_node, value_node in self.node.value:
            key = _Field(key_node, self.file, self.name)
            if key.text() in found:
                raise key.wrong(f"`{key.text()}` is there twice", "keep one of the two")
            found[key.text()] = key, _Field(value_node, self.file, key.text())
        return list(found.values())

    def fields(self, *allowed: str, required: tuple[str, ...] = ()) -> dict[str, "_Field"]:
        found: dict[str, _Field] = {}
        for key_field, value in self.pairs(f"there is {', '.join(allowed)}"):
            key = key_field.text()
            if key not in allowed:
                near = get_close_matches(key, allowed, 1, 0.5)
                hint = f"did you mean `{near[0]}`?" if near else f"there is {', '.join(allowed)}"
                raise key_field.wrong(f"unknown key `{key}`", hint)
            found[key] = value
        for key in required:
            if key not in found:
                raise self.wrong(f"`{key}` is missing", f"add `{key}: …`")
        return found

    def one_of(self, values: Sequence[str]) -> str:
        text = self.text()
        if text not in values:
            raise self.wrong(f"{text!r} is not known", f"there is {', '.join(values)}")
        return text

    def number(self, what: str, least: int, most: int) -> int:
        text = self.text()
        if not _NUMBER.fullmatch(text) or not least <= int(text) <= most:
            raise self.wrong(f"{text!r} is no {what}", f"write one from {least} to {most}")
        return int(text)

    def seconds(self) -> int:
        return self.number("whole number of seconds", 1, 3600)

    def mtu(self) -> int:
        return self.number("MTU in bytes", 68, 65535)

    def yes(self) -> bool:
        return self.one_of(_YES_NO) == "true"

    def checked(self, check: Callable[[str], T]) -> T:
        try:
            return check(self.text())
        except _Wrong:
            raise
        except UsageError as problem:
            raise self.wrong(problem.message, problem.hint) from None

    def each(self, check: Callable[[str], T]) -> tuple[T, ...]:
        return tuple(item.checked(check) for item in self.few())

    def few(self) -> list["_Field"]:
        """Return the items of a list that is short in each lab."""
        items = self.items()
        if len(items) > _MOST_OF_A_PART:
            raise self.wrong(f"{len(items)} are too many", f"{_MOST_OF_A_PART} at most")
        return items


def _lab(root: _Field) -> Lab:
    keys = ("name", "about", "parent", "network", "parents", "far", "setup", "at-once", "endpoints", "phases")
    fields = root.fields(*keys, required=("name", "about", "endpoints", "phases"))
    parents = _parents(root, fields)
    endpoints = tuple(_endpoint(item, parents[0].name) for item in fields["endpoints"].items())
    names = tuple(endpoint.name for endpoint in endpoints)
    phases = tuple(_phase(item, names) for item in fields["phases"].items())
    _refuse_too_many(fields["phases"], endpoints, phases)
    return Lab(
        name=fields["name"].text(),
        about=fields["about"].text(),
        parents=parents,
        endpoints=endpoints,
        phases=phases,
        far=fields[FAR].each(interface_address) if FAR in fields else (),
        setup=cast(Setup, fields["setup"].one_of(SETUPS)) if "setup" in fields else None,
        at_once=fields["at-once"].number("number of pings", 1, MOST_AT_ONCE) if "at-once" in fields else None,
    )


def _refuse_too_many(field: _Field, endpoints: Sequence[Endpoint], phases: Sequence[Phase]) -> None:
    made = sum(len(phase.endpoints) for phase in phases)
    changes = sum(1 + sum(1 + len(act.attempts) for act in phase.acts) for phase in phases)
    if made > _MOST_ENDPOINTS:
        raise field.wrong(f"{made} endpoints are to be made", f"{_MOST_ENDPOINTS} at most, in all phases")
    if len(endpoints) * changes > _MOST_MOMENTS:
        hint = f"{_MOST_MOMENTS} at most: make fewer endpoints, or put into one item what may happen at once"
        raise field.wrong(
            f"endpoints times phases, items of `do` and tries are {len(endpoints) * changes}", hint
        )


def _parents(root: _Field, fields: dict[str, _Field]) -> tuple[Parent, ...]:
    """Return the parents: one, as `parent` and `network`, or several, as `parents`."""
    if "parents" not in fields:
        for key in ("parent", "network"):
            if key not in fields:
                raise root.wrong(f"`{key}` is missing", f"add `{key}: …`")
        name = fields["parent"].checked(interface_name)
        network = fields["network"].fields(HOST, GATEWAY, NEIGHBOUR, required=(HOST, GATEWAY))
        return (_parent(name, network),)
    for key in ("parent", "network"):
        if key in fields:
            raise fields[key].wrong(f"`{key}` does not go with `parents`", "write it as an item of `parents`")
    found = []
    for item in fields["parents"].few():
        keys = ("name", HOST, GATEWAY, NEIGHBOUR, "link", "vlan")
        given = item.fields(*keys, required=("name", HOST, GATEWAY))
        found.append(_parent(given["name"].checked(interface_name), given))
    if not found:
        raise fields["parents"].wrong("at least one is needed", LAB_HINT)
    return tuple(found)


def _parent(name: str, fields: dict[str, _Field]) -> Parent:
    return Parent(
        name=name,
        host=fields[HOST].each(interface_address),
        gateway=fields[GATEWAY].each(address),
        neighbour=fields[NEIGHBOUR].each(address) if NEIGHBOUR in fields else (),
        link=fields["link"].checked(interface_name) if "link" in fields else None,
        vlan=fields["vlan"].number("VLAN tag", 1, 4094) if "vlan" in fields else None,
    )


def _endpoint(field: _Field, first_parent: str) -> Endpoint:
    keys = ("name", "addresses", "parent", "netns", "routes", "mtu")
    fields = field.fields(*keys, required=("name", "addresses"))
    name = fields["name"].checked(interface_name)
    addresses = fields["addresses"].each(interface_address)
    if not addresses:
        raise fields["addresses"].wrong("at least one address is needed", "as in [192.168.104.211/24]")
    return Endpoint(
        name,
        addresses,
        netns=fields.get("netns", fields["name"]).checked(netns_name),
        parent=fields["parent"].checked(interface_name) if "parent" in fields else first_parent,
        routes=tuple(_route(item) for item in fields["routes"].items()) if "routes" in fields else None,
        mtu=fields["mtu"].mtu() if "mtu" in fields else None,
    )


def _route(field: _Field) -> Route:
    fields = field.fields("to", "via", required=("to",))
    to = fields["to"].checked(route_destination)
    via = fields["via"].checked(address) if "via" in fields else None
    if to is not None and via is not None and to.version != via.version:
        raise fields["via"].wrong(f"{via} is of another family than {to}", "take a gateway of that family")
    return Route(to, via)


def _phase(field: _Field, endpoints: tuple[str, ...]) -> Phase:
    fields = field.fields("name", *_SETTING, "parents", "endpoints", "do", required=("name", "do"))
    setting = _setting(field, fields, Setting(), required=True)
    others = []
    if "parents" in fields:
        for name, value in fields["parents"].pairs("write it as in `eth1: {mode: l3}`"):
            given = value.fields(*_SETTING)
            others.append((name.checked(interface_name), _setting(value, given, setting, required=False)))
    chosen = fields.get("endpoints")
    return Phase(
        name=fields["name"].text(),
        setting=setting,
        endpoints=_texts(chosen) if chosen else endpoints,
        acts=tuple(_act(item) for item in fields["do"].items()),
        others=tuple(others),
    )


def _setting(field: _Field, fields: dict[str, _Field], default: Setting, *, required: bool) -> Setting:
    kind = fields["kind"].one_of(KINDS) if "kind" in fields else default.kind
    if kind == "ipvlan" and required and "mode" not in fields:
        raise field.wrong("`mode` is missing", "add `mode: …`")
    for key in ("mode", *(("flag",) if kind == "veth" else ())):
        if kind != "ipvlan" and key in fields:
            raise fields[key].wrong(f"a {kind} link has no {key} of ipvlan", "leave it away")
    mode = fields["mode"].one_of(MODES) if "mode" in fields else default.mode
    flag = fields["flag"].one_of(FLAGS) if "flag" in fields else default.flag
    shim, shim_addresses = default.host_shim, default.shim_addresses
    if "host-shim" in fields:
        shim, shim_addresses = _shim(fields["host-shim"])
    return Setting(
        mode=cast(Mode, mode) if kind == "ipvlan" else "l2",
        flag=cast(Flag, flag) if kind != "veth" else "bridge",
        kind=cast(Kind, kind),
        strategy=(
            cast(Strategy, fields["strategy"].one_of(STRATEGIES))
            if "strategy" in fields
            else default.strategy
        ),
        host_shim=shim,
        shim_addresses=shim_addresses,
    )


def _shim(field: _Field) -> tuple[bool, tuple[Address, ...]]:
    """Return whether there is a shim, and its addresses where they are given."""
    if isinstance(field.node, yaml.ScalarNode) and field.node.value in _YES_NO:
        return field.yes(), ()
    return True, field.each(address)


def _act(field: _Field) -> Act:
    keys = ("check", "try", "announce", "fast-ageing", "flush", "hairpin", "port-security", "wait")
    fields = field.fields(*keys)
    if not fields:
        raise field.wrong("nothing to do", f"there is {', '.join(keys)}")
    return Act(
        checks=tuple(_check(item) for item in fields["check"].items()) if "check" in fields else (),
        attempts=tuple(_attempt(item) for item in fields["try"].items()) if "try" in fields else (),
        announce=_texts(fields.get("announce")),
        fast_ageing=_texts(fields.get("fast-ageing")),
        flush=_texts(fields.get("flush")),
        hairpin=fields["hairpin"].yes() if "hairpin" in fields else None,
        port_security=_texts(fields["port-security"]) if "port-security" in fields else None,
        wait=fields["wait"].seconds() if "wait" in fields else None,
    )


def _check(field: _Field) -> Check:
    keys = ("from", "to", "family", "count", "size", "watch", "expect", "why")
    fields = field.fields(*keys, required=("from", "to"))
    for key in ("count", "size"):
        if "watch" in fields and key in fields:
            raise fields[key].wrong(f"`{key}` does not go with `watch`", "keep one of the two")
    return Check(
        source=fields["from"].text(),
        destination=fields["to"].text(),
        watch=fields["watch"].seconds() if "watch" in fields else None,
        expect=Outcome(fields["expect"].one_of(OF_PINGS)) if "expect" in fields else None,
        why=fields["why"].text() if "why" in fields else "",
        family=cast(Family, fields["family"].one_of(FAMILIES)) if "family" in fields else None,
        size=fields["size"].number("payload in bytes", 0, 65000) if "size" in fields else None,
        count=fields["count"].number("count of requests", 1, 1000) if "count" in fields else PING_COUNT,
    )


def _attempt(field: _Field) -> Attempt:
    fields = field.fields(*_TRIES, "at", "kind", "mode", "flag", "expect", "why")
    tried = [key for key in _TRIES if key in fields]
    if not tried:
        raise field.wrong("a change is needed", f"there is {', '.join(_TRIES)}")
    if len(tried) > 1:
        raise field.wrong(f"there are {len(tried)} changes in it", "write each as an item of its own")
    return Attempt(
        _change(field, tried[0], fields),
        expect=Outcome(fields["expect"].one_of(OF_TRIES)) if "expect" in fields else None,
        why=fields["why"].text() if "why" in fields else "",
    )


def _change(field: _Field, key: str, fields: dict[str, _Field]) -> Change:
    needs = {"add-link": ("kind", "at"), "delete-link": ()}.get(key, ("at",))
    takes = {*needs, *(("mode", "flag") if key == "add-link" else ())}
    for name in needs:
        if name not in fields:
            raise field.wrong(f"`{name}` is missing", f"add `{name}: …`")
    for name in ("at", "kind", "mode", "flag"):
        if name in fields and name not in takes:
            raise fields[name].wrong(f"`{name}` does not go with `{key}`", "leave it away")
    value = fields[key]
    match key:
        case "add-address":
            return AddAddress(value.checked(interface_address), fields["at"].text())
        case "delete-link":
            return DeleteLink(value.text())
        case "set-mode":
            return SetMode(fields["at"].text(), cast(Mode, value.one_of(MODES)))
        case "set-mtu":
            return SetMtu(fields["at"].text(), value.mtu())
    kind = fields["kind"].one_of(("ipvlan", "macvlan"))
    for name in ("mode", "flag"):
        if name in fields and kind == "macvlan":
            raise fields[name].wrong("that is ipvlan's", "leave it away")
    if "flag" in fields and "mode" not in fields:
        raise fields["flag"].wrong("a flag goes with a mode", "add `mode: …`")
    return AddLink(
        value.checked(interface_name),
        "ipvlan" if kind == "ipvlan" else "macvlan",
        fields["at"].text(),
        cast(Mode, fields["mode"].one_of(MODES)) if "mode" in fields else None,
        cast(Flag, fields["flag"].one_of(FLAGS)) if "flag" in fields else None,
    )


def _texts(field: _Field | None) -> tuple[str, ...]:
    return tuple(item.text() for item in field.items()) if field else ()


def dump(lab: Lab) -> str:
    """Return `lab`, one on a simulated network, as YAML from which `load` makes the same lab."""
    document = _document(lab)
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=110, default_flow_style=None)


def _document(lab: Lab) -> dict[str, Any]:
    first = lab.parents[0]
    short = len(lab.parents) == 1 and first.vlan is None
    places: dict[str, Any] = (
        {"parent": first.name, "network": _network_of(first)}
        if short
        else {"parents": [{"name": parent.name, **_network_of(parent)} for parent in lab.parents]}
    )
    return _given(
        {
            "name": lab.name,
            "about": lab.about,
            **places,
            FAR: _list(lab.far),
            "setup": lab.setup,
            "at-once": lab.at_once,
            "endpoints": [_endpoint_of(endpoint, first.name) for endpoint in lab.endpoints],
            "phases": [_phase_of(phase, lab) for phase in lab.phases],
        },
        always=("about", "endpoints", "phases"),
    )


def _network_of(parent: Parent) -> dict[str, Any]:
    return _given(
        {
            HOST: _list(parent.host),
            GATEWAY: _list(parent.gateway),
            NEIGHBOUR: _list(parent.neighbour),
            "link": parent.link,
            "vlan": parent.vlan,
        },
        always=(HOST, GATEWAY),
    )


def _endpoint_of(endpoint: Endpoint, first_parent: str) -> dict[str, Any]:
    routes = endpoint.routes
    return _given(
        {
            "name": endpoint.name,
            "addresses": _list(endpoint.addresses),
            "parent": endpoint.parent if endpoint.parent != first_parent else None,
            "netns": endpoint.netns if endpoint.netns != endpoint.name else None,
            "routes": None if routes is None else [_route_of(route) for route in routes],
            "mtu": endpoint.mtu,
        },
        always=("routes",) if routes is not None else (),
    )


def _route_of(route: Route) -> dict[str, Any]:
    to = "default" if route.to is None else str(route.to)
    return _given({"to": to, "via": str(route.via) if route.via else None})


def _phase_of(phase: Phase, lab: Lab) -> dict[str, Any]:
    all_of_them = tuple(endpoint.name for endpoint in lab.endpoints)
    mode = {"mode": phase.setting.mode} if phase.setting.kind == "ipvlan" else {}
    return _given(
        {
            "name": phase.name,
            **mode,
            **_setting_of(phase.setting, Setting(mode=phase.setting.mode)),
            "parents": {name: _setting_of(setting, phase.setting) for name, setting in phase.others},
            "endpoints": list(phase.endpoints) if phase.endpoints != all_of_them else None,
            "do": [_act_of(act) for act in phase.acts],
        },
        always=("name", "do"),
    )


def _setting_of(setting: Setting, default: Setting) -> dict[str, Any]:
    """Return what of `setting` is not as in `default`."""
    written = {
        "mode": setting.mode,
        "flag": setting.flag,
        "kind": setting.kind,
        "strategy": setting.strategy,
        "host-shim": _shim_of(setting),
    }
    usual = (default.mode, default.flag, default.kind, default.strategy, _shim_of(default))
    of_others = {"ipvlan": (), "macvlan": ("mode",), "veth": ("mode", "flag")}[setting.kind]
    changed = (k for k, other in zip(written, usual, strict=True) if written[k] != other)
    return {key: written[key] for key in changed if key not in of_others}


def _shim_of(setting: Setting) -> bool | list[str] | str:
    return _list(setting.shim_addresses) if setting.shim_addresses else setting.host_shim


def _act_of(act: Act) -> dict[str, Any]:
    return _given(
        {
            "check": [_check_of(check) for check in act.checks],
            "try": [_attempt_of(attempt) for attempt in act.attempts],
            "announce": list(act.announce),
            "fast-ageing": list(act.fast_ageing),
            "flush": list(act.flush),
            "hairpin": act.hairpin,
            "port-security": None if act.port_security is None else list(act.port_security),
            "wait": act.wait,
        },
        always=(
            *(("hairpin",) if act.hairpin is not None else ()),
            *(("port-security",) if act.port_security is not None else ()),
            *(("check",) if act == Act() else ()),
        ),
    )


def _check_of(check: Check) -> dict[str, Any]:
    return _given(
        {
            "from": check.source,
            "to": check.destination,
            "family": check.family,
            "count": check.count if check.count != PING_COUNT else None,
            "size": check.size,
            "watch": check.watch,
            "expect": str(check.expect) if check.expect else None,
            "why": check.why,
        },
        always=("size",) if check.size == 0 else (),
    )


def _attempt_of(attempt: Attempt) -> dict[str, Any]:
    change = attempt.change
    match change:
        case AddAddress(added, endpoint):
            what: dict[str, Any] = {"add-address": str(added), "at": endpoint}
        case AddLink(name, kind, parent, mode, flag):
            what = {"add-link": name, "kind": kind, "at": parent, "mode": mode, "flag": flag}
        case DeleteLink(name):
            what = {"delete-link": name}
        case SetMode(endpoint, mode):
            what = {"set-mode": mode, "at": endpoint}
        case SetMtu(link, mtu):
            what = {"set-mtu": mtu, "at": link}
    expect = str(attempt.expect) if attempt.expect else None
    return _given({**what, "expect": expect, "why": attempt.why})


def _list(values: Sequence[Address | InterfaceAddress]) -> list[str] | str:
    """Return one value as itself, others as a list."""
    return str(values[0]) if len(values) == 1 else [str(value) for value in values]


def _given(values: Mapping[str, Any], always: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return `values` without those that say nothing."""
    return {key: value for key, value in values.items() if value or key in always}
