"""Labs as YAML: `load` names file, line and field of a mistake, `dump` writes what `load` reads."""

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import yaml

from ipvkit.core.errors import InvalidLab
from ipvkit.core.values import netns_name
from ipvkit.lab import table
from ipvkit.lab.fields import MOST_ENDPOINTS, MOST_MOMENTS, Field, MisplacedValue, read
from ipvkit.lab.lab import Lab
from ipvkit.lab.parts import (
    LAB_HINT,
    Act,
    AddAddress,
    AddLink,
    Attempt,
    Change,
    Check,
    DeleteLink,
    Endpoint,
    Parent,
    Phase,
    Route,
    SetMode,
    SetMtu,
    Setting,
)
from ipvkit.lab.table import Given

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_CHANGES: dict[str, tuple[type[Change], str, str, tuple[str, ...]]] = {
    "add-address": (AddAddress, "address", "endpoint", ()),
    "add-link": (AddLink, "name", "parent", ("kind", "mode", "flag")),
    "delete-link": (DeleteLink, "name", "", ()),
    "set-mode": (SetMode, "mode", "endpoint", ()),
    "set-mtu": (SetMtu, "mtu", "link", ()),
}
"""Each change by its key, with the attributes that this key, `at` and further keys are."""

_OF_OTHER_KINDS = {"ipvlan": (), "macvlan": ("mode",), "veth": ("mode", "flag")}
"""The keys of a setting that links of a kind do not have."""


def load(text: str, file: str) -> Lab:
    """Return the lab that the YAML `text` describes; raise InvalidLab naming `file`, line and field."""
    root = read(text, file)
    try:
        return _lab(table.LAB.read(root))
    except MisplacedValue:
        raise
    except InvalidLab as problem:
        raise root.placed(problem) from None


def _lab(given: Given) -> Lab:
    parents = _parents(given)
    endpoints = tuple(_endpoint(item, parents[0].name) for item in given["endpoints"])
    names = tuple(endpoint.name for endpoint in endpoints)
    phases = tuple(_phase(item, names) for item in given["phases"])
    _refuse_too_many(given.fields["phases"], endpoints, phases)
    return Lab(
        name=given["name"],
        about=given["about"],
        parents=parents,
        endpoints=endpoints,
        phases=phases,
        far=given.get("far", ()),
        setup=given.get("setup"),
        parallel=given.get("parallel"),
    )


def _refuse_too_many(place: Field, endpoints: Sequence[Endpoint], phases: Sequence[Phase]) -> None:
    created = sum(len(phase.endpoints) for phase in phases)
    changes = sum(1 + sum(1 + len(act.attempts) for act in phase.acts) for phase in phases)
    if created > MOST_ENDPOINTS:
        raise place.wrong(f"{created} endpoints are too many", f"{MOST_ENDPOINTS} at most, in all phases")
    if len(endpoints) * changes > MOST_MOMENTS:
        what = f"endpoints times phases, items of `do` and tries are {len(endpoints) * changes}"
        hint = f"{MOST_MOMENTS} at most: take fewer endpoints, or put concurrent checks into one item"
        raise place.wrong(what, hint)


def _parents(given: Given) -> tuple[Parent, ...]:
    """Return the parents: one, as `parent` and `network`, or several, as `parents`."""
    if "parents" not in given:
        for key in ("parent", "network"):
            if key not in given:
                raise given.place.missing(key)
        return (Parent(name=given["parent"], **given["network"]),)
    if not given["parents"]:
        raise given.fields["parents"].wrong("at least one is needed", LAB_HINT)
    return tuple(Parent(**item) for item in given["parents"])


def _endpoint(given: Given, first_parent: str) -> Endpoint:
    if not given["addresses"]:
        hint = "as in [192.168.104.211/24]"
        raise given.fields["addresses"].wrong("at least one address is needed", hint)
    return Endpoint(
        name=given["name"],
        addresses=given["addresses"],
        netns=given.get("netns") or given.fields["name"].checked(netns_name),
        parent=given.get("parent", first_parent),
        routes=tuple(map(_route, given["routes"])) if "routes" in given else None,
        mtu=given.get("mtu"),
    )


def _route(given: Given) -> Route:
    to, via = given["to"], given.get("via")
    if to is not None and via is not None and to.version != via.version:
        what = f"{via} is of another family than {to}"
        raise given.fields["via"].wrong(what, "take a gateway of that family")
    return Route(to, via)


def _phase(given: Given, endpoints: tuple[str, ...]) -> Phase:
    setting = _setting(given, Setting())
    if setting.kind == "ipvlan" and "mode" not in given:
        raise given.place.missing("mode")
    return Phase(
        name=given["name"],
        setting=setting,
        endpoints=given.get("endpoints", endpoints),
        acts=tuple(map(_act, given["acts"])),
        others=tuple((name, _setting(other, setting)) for name, other in given.get("others", ())),
    )


def _setting(given: Given, default: Setting) -> Setting:
    """Return the setting in which what is not `given` is as in `default`."""
    kind = given.get("kind", default.kind)
    for key in _OF_OTHER_KINDS[kind]:
        if key in given:
            raise given.fields[key].wrong(f"a {kind} link has no {key} of ipvlan", "leave it out")
    found = replace(
        default, **{key: given[key] for key in ("mode", "flag", "kind", "strategy") if key in given}
    )
    if "host_shim" in given:
        shim = given["host_shim"]
        addresses = () if isinstance(shim, bool) else shim
        found = replace(found, host_shim=shim is not False, shim_addresses=addresses)
    usual = {key: getattr(Setting(), key) for key in _OF_OTHER_KINDS[kind]}
    return replace(found, **usual)


def _act(given: Given) -> Act:
    if not given:
        keys = ", ".join(key.name for key in table.ACT.keys)
        raise given.place.wrong("nothing to do", f"choose from {keys}")
    checks = tuple(Check(**check) for check in given.get("checks", ()))
    return Act(**{**given, "checks": checks, "attempts": tuple(map(_attempt, given.get("attempts", ())))})


def _attempt(given: Given) -> Attempt:
    tried = [key for key in _CHANGES if key in given.fields]
    if not tried:
        raise given.place.wrong("a change is needed", f"choose from {', '.join(_CHANGES)}")
    if len(tried) > 1:
        raise given.place.wrong(f"there are {len(tried)} changes in it", "write each as a separate item")
    reasons = {key: given[key] for key in ("expect", "why") if key in given}
    return Attempt(_change(given, tried[0]), **reasons)


def _change(given: Given, key: str) -> Change:
    make, value, at, others = _CHANGES[key]
    for name in (*(("kind",) if "kind" in others else ()), *(("at",) if at else ())):
        if name not in given:
            raise given.place.missing(name)
    for name in ("at", "kind", "mode", "flag"):
        if name in given and name not in (*others, *(("at",) if at else ())):
            raise given.fields[name].wrong(f"`{name}` does not go with `{key}`", "leave it out")
    for name in ("mode", "flag"):
        if name in given and given["kind"] == "macvlan":
            raise given.fields[name].wrong("it is ipvlan's", "leave it out")
    if "flag" in given and "mode" not in given:
        raise given.fields["flag"].wrong("a flag goes with a mode", "add `mode: …`")
    values = {value: given[key.replace("-", "_")], **({at: given["at"]} if at else {})}
    return make(**values, **{name: given[name] for name in others if name in given})


def dump(lab: Lab) -> str:
    """Return `lab`, one on a simulated network, as YAML from which `load` makes the same lab."""
    document = _lab_written(lab)
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=110, default_flow_style=None)


def _lab_written(lab: Lab) -> dict[str, Any]:
    first = lab.parents[0]
    place: dict[str, Any]
    if len(lab.parents) == 1 and first.vlan is None:
        place = {
            "parent": first.name,
            "parents": None,
            "network": table.NETWORK.written(_parent_written(first)),
        }
    else:
        place = {"parents": [table.PARENT.written(_parent_written(parent)) for parent in lab.parents]}
    endpoints = [_endpoint_written(endpoint, first.name) for endpoint in lab.endpoints]
    phases = [_phase_written(phase, lab) for phase in lab.phases]
    return table.LAB.written({**_changed(lab), **place, "endpoints": endpoints, "phases": phases})


def _parent_written(parent: Parent) -> dict[str, Any]:
    return {**_all_of(parent), "neighbour": parent.neighbour or None}


def _changed(value: "DataclassInstance") -> dict[str, Any]:
    """Return the attributes of `value` that are not as by default."""
    own = {each.name: (getattr(value, each.name), each.default) for each in fields(value)}
    return {name: value for name, (value, default) in own.items() if value != default}


def _endpoint_written(endpoint: Endpoint, first_parent: str) -> dict[str, Any]:
    routes = endpoint.routes
    usual = {"parent": first_parent, "netns": endpoint.name}
    written = {key: value for key, value in _changed(endpoint).items() if usual.get(key) != value}
    if routes is not None:
        written["routes"] = [table.ROUTE.written({"to": r.to or "default", "via": r.via}) for r in routes]
    return table.ENDPOINT.written(written)


def _phase_written(phase: Phase, lab: Lab) -> dict[str, Any]:
    every = tuple(endpoint.name for endpoint in lab.endpoints)
    mode = {"mode": phase.setting.mode} if phase.setting.kind == "ipvlan" else {}
    others = {name: table.SETTING.written(_differing(other, phase.setting)) for name, other in phase.others}
    return table.PHASE.written(
        {
            "name": phase.name,
            **_differing(phase.setting, Setting()),
            **mode,
            "others": others or None,
            "endpoints": phase.endpoints if phase.endpoints != every else None,
            "acts": [_act_written(act) for act in phase.acts],
        }
    )


def _differing(setting: Setting, default: Setting) -> dict[str, Any]:
    """Return the values of `setting` that are not as in `default`."""
    own, usual = (
        {**_all_of(each), "host_shim": each.shim_addresses or each.host_shim} for each in (setting, default)
    )
    leave_out = _OF_OTHER_KINDS[setting.kind]
    return {key: own[key] for key in own if own[key] != usual[key] and key not in leave_out}


def _all_of(value: "DataclassInstance") -> dict[str, Any]:
    return {each.name: getattr(value, each.name) for each in fields(value)}


def _act_written(act: Act) -> dict[str, Any]:
    checks = [table.CHECK.written(_changed(check)) for check in act.checks]
    attempts = [_attempt_written(attempt) for attempt in act.attempts]
    return table.ACT.written(
        {**_changed(act), "checks": checks if checks or act == Act() else None, "attempts": attempts or None}
    )


def _attempt_written(attempt: Attempt) -> dict[str, Any]:
    change = attempt.change
    for key, (kind, value, at, others) in _CHANGES.items():
        if isinstance(change, kind):
            own = {name: getattr(change, name) for name in others}
            what = {key.replace("-", "_"): getattr(change, value), **own}
            place = {"at": getattr(change, at)} if at else {}
            return table.TRY.written({**_changed(attempt), **what, **place})
    raise TypeError(f"unknown change {change!r}")
