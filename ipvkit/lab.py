"""A lab: what is to be built and what is to be asked of it. It knows no tool's flags."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Interface
from typing import TypeVar, cast

import yaml

from ipvkit.errors import InvalidLab, UsageError
from ipvkit.values import Flag, Mode, address, interface_address, interface_name, netns_name

MODES: tuple[Mode, ...] = ("l2", "l3")
FLAGS: tuple[Flag, ...] = ("bridge",)
"""The modes and flags that a lab can have: those whose outcomes physics predicts."""

HOST = "host"
GATEWAY = "gateway"
NEIGHBOUR = "neighbour"
PEERS = (GATEWAY, NEIGHBOUR)
SWITCH = "switch"
"""The roles of a lab: the parent's own namespace, the hosts beside it, and what joins them."""

T = TypeVar("T")

_PHASE_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")


class Outcome(StrEnum):
    """What becomes of a ping: answered, never answered, or answered until the path was lost."""

    REACHABLE = "reachable"
    UNREACHABLE = "unreachable"
    EXPIRES = "expires"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An ipvlan link with its `addresses`, in a network namespace of its own."""

    name: str
    addresses: tuple[IPv4Interface, ...]
    netns: str


@dataclass(frozen=True, slots=True)
class Network:
    """What the parent is attached to; `simulated` where ipvkit builds it, None where not known."""

    host: IPv4Interface | None
    gateway: IPv4Address | None
    neighbour: IPv4Address | None
    simulated: bool = True

    def peer(self, role: str) -> IPv4Address | None:
        """Return the address of the gateway or the neighbour."""
        return self.gateway if role == GATEWAY else self.neighbour


@dataclass(frozen=True, slots=True)
class Check:
    """A ping from `source` to `destination`; with `watch`, for that many seconds or until it is lost.

    `expect` overrides what physics predicts, for the reason `why`.
    """

    source: str
    destination: str
    watch: int | None = None
    expect: Outcome | None = None
    why: str = ""

    def __str__(self) -> str:
        """Return the check as reports name it."""
        return f"{self.source} -> {self.destination}"


@dataclass(frozen=True, slots=True)
class Act:
    """What happens side by side at one point of a phase."""

    checks: tuple[Check, ...] = ()
    announce: tuple[str, ...] = ()
    fast_ageing: tuple[str, ...] = ()
    flush: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Phase:
    """A time in which the parent's endpoints have one `mode` and `flag`."""

    name: str
    mode: Mode
    endpoints: tuple[str, ...]
    acts: tuple[Act, ...]
    flag: Flag = "bridge"


@dataclass(frozen=True, slots=True)
class Lab:
    """A whole lab; raises InvalidLab where its parts do not fit together."""

    name: str
    about: str
    parent: str
    network: Network
    endpoints: tuple[Endpoint, ...]
    phases: tuple[Phase, ...]

    def __post_init__(self) -> None:
        """Check what no single field can tell."""
        self._check_endpoints()
        _unique("phase", (phase.name for phase in self.phases))
        names = [endpoint.name for endpoint in self.endpoints]
        for phase in self.phases:
            if not _PHASE_NAME.fullmatch(phase.name):
                raise InvalidLab(
                    f"{phase.name!r} is no phase name", "small letters, digits and - are allowed"
                )
            _unique(f"endpoint of phase {phase.name}", phase.endpoints)
            for name in phase.endpoints:
                _known(name, names, f"endpoint of phase {phase.name}")
            for act in phase.acts:
                self._check_act(phase, act)

    def _check_endpoints(self) -> None:
        _unique("endpoint", (endpoint.name for endpoint in self.endpoints))
        _unique("netns", (endpoint.netns for endpoint in self.endpoints))
        network = self.network
        taken = [a for a in (network.gateway, network.neighbour) if a is not None]
        taken += [network.host.ip] if network.host is not None else []
        taken += [a.ip for endpoint in self.endpoints for a in endpoint.addresses]
        _unique("address", (str(a) for a in taken))
        for endpoint in self.endpoints:
            if {endpoint.name, endpoint.netns} & {HOST, *PEERS, SWITCH}:
                raise InvalidLab(
                    f"an endpoint cannot be called {endpoint.name}",
                    f"{HOST}, {GATEWAY}, {NEIGHBOUR} and {SWITCH} are other parts of every lab",
                )
            if endpoint.name == self.parent:
                raise InvalidLab(f"endpoint and parent are both called {self.parent}")
        if not network.simulated:
            return
        if network.host is None:
            raise InvalidLab("a simulated network needs the host's address")
        subnet = network.host.network
        for a in taken:
            if a not in subnet:
                raise InvalidLab(f"{a} is not in the host's subnet {subnet}")

    def _check_act(self, phase: Phase, act: Act) -> None:
        network = self.network
        peers = [role for role in PEERS if network.peer(role) is not None or not network.simulated]
        if act.checks and (act.announce or act.fast_ageing or act.flush):
            raise InvalidLab(
                f"phase {phase.name}: a check stands beside something that changes what it would see",
                "write them as two items, one after the other",
            )
        for name in act.announce:
            _known(name, phase.endpoints, f"endpoint of phase {phase.name}")
        for role in (*act.fast_ageing, *act.flush):
            _known(role, peers, "peer in this network")
        for check in act.checks:
            for role in (check.source, check.destination):
                _known(role, (*phase.endpoints, HOST, *peers), f"part of phase {phase.name}")
            if not {check.source, check.destination} & set(phase.endpoints):
                raise InvalidLab(f"{check}: one of the two has to be an endpoint")
            if check.source == check.destination:
                raise InvalidLab(f"{check}: nothing leaves the endpoint")

    def endpoint(self, name: str) -> Endpoint:
        """Return the endpoint called `name`."""
        return next(endpoint for endpoint in self.endpoints if endpoint.name == name)

    def address_of(self, role: str) -> IPv4Address | None:
        """Return the address that a ping to `role` goes to, or None where it is not known."""
        if role == HOST:
            return self.network.host.ip if self.network.host else None
        if role in PEERS:
            return self.network.peer(role)
        return self.endpoint(role).addresses[0].ip


def on_parent(
    lab: Lab,
    parent: str,
    *,
    host: IPv4Interface | None = None,
    addresses: Mapping[str, IPv4Interface] | None = None,
    gateway: IPv4Address | None = None,
    neighbour: IPv4Address | None = None,
) -> Lab:
    """Return `lab` on a real NIC: no simulated network, and `addresses` for the endpoints named."""
    given = dict(addresses or {})
    endpoints = tuple(
        replace(e, addresses=(given.pop(e.name),)) if e.name in given else e for e in lab.endpoints
    )
    for name in given:
        _known(name, [endpoint.name for endpoint in endpoints], f"endpoint of lab {lab.name}")
    network = Network(host=host, gateway=gateway, neighbour=neighbour, simulated=False)
    return replace(lab, parent=parent, network=network, endpoints=endpoints)


def _unique(what: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise InvalidLab(f"{what} {name} is there twice")
        seen.add(name)


def _known(name: str, names: Iterable[str], what: str) -> None:
    known = tuple(names)
    if name not in known:
        raise InvalidLab(f"{name!r} is no {what}", f"there is {', '.join(known) or 'none'}")


def load(text: str, file: str) -> Lab:
    """Return the lab that the YAML `text` describes; raise InvalidLab naming `file`, line and field."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError, ValueError) as problem:
        mark = getattr(problem, "problem_mark", None)
        where = f"{file}:{mark.line + 1}" if mark else file
        what = getattr(problem, "problem", None) or getattr(problem, "reason", None) or "not readable"
        raise InvalidLab(f"{where}: this is no YAML: {what}") from None
    if root is None:
        raise InvalidLab(f"{file}: the file is empty", "see `ipvkit run-lab --help` for labs to begin with")
    reader = _Field(root, file, "lab")
    try:
        return _lab(reader)
    except InvalidLab as problem:
        if problem.message.startswith(f"{file}:"):
            raise
        raise InvalidLab(f"{file}: {problem.message}", problem.hint) from None


class _Field:
    """A node of the YAML text that knows its place, so that what is wrong can be named."""

    def __init__(self, node: yaml.Node, file: str, name: str) -> None:
        self.node = node
        self.file = file
        self.name = name

    def wrong(self, what: str, hint: str = "") -> InvalidLab:
        return InvalidLab(f"{self.file}:{self.node.start_mark.line + 1}: {self.name}: {what}", hint)

    def text(self) -> str:
        if not isinstance(self.node, yaml.ScalarNode) or self.node.tag.endswith(":null"):
            raise self.wrong("a single value is needed")
        return str(self.node.value)

    def items(self) -> list["_Field"]:
        """Return the items of a list; a single value is a list of one."""
        if isinstance(self.node, yaml.SequenceNode):
            return [_Field(n, self.file, f"{self.name}[{i}]") for i, n in enumerate(self.node.value)]
        if isinstance(self.node, yaml.ScalarNode) and not self.node.tag.endswith(":null"):
            return [self]
        raise self.wrong("a list is needed")

    def fields(self, *allowed: str, required: tuple[str, ...] = ()) -> dict[str, "_Field"]:
        if not isinstance(self.node, yaml.MappingNode):
            raise self.wrong(f"`key: value` lines are needed, with {', '.join(allowed)}")
        found: dict[str, _Field] = {}
        for key_node, value_node in self.node.value:
            key_field = _Field(key_node, self.file, self.name)
            key = key_field.text()
            if key not in allowed:
                near = get_close_matches(key, allowed, 1, 0.5)
                hint = f"did you mean `{near[0]}`?" if near else f"there is {', '.join(allowed)}"
                raise key_field.wrong(f"unknown key `{key}`", hint)
            if key in found:
                raise key_field.wrong(f"`{key}` is there twice")
            found[key] = _Field(value_node, self.file, key)
        for key in required:
            if key not in found:
                raise self.wrong(f"`{key}` is missing")
        return found

    def one_of(self, values: tuple[str, ...]) -> str:
        text = self.text()
        if text not in values:
            raise self.wrong(f"{text!r} is not known", f"there is {', '.join(values)}")
        return text

    def seconds(self) -> int:
        text = self.text()
        if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 3600):
            raise self.wrong(f"{text!r} is no whole number of seconds from 1 to 3600")
        return int(text)

    def checked(self, check: Callable[[str], T]) -> T:
        try:
            return check(self.text())
        except InvalidLab:
            raise
        except UsageError as problem:
            raise self.wrong(problem.message, problem.hint) from None


def _lab(root: _Field) -> Lab:
    keys = ("name", "about", "parent", "network", "endpoints", "phases")
    fields = root.fields(*keys, required=keys)
    endpoints = tuple(_endpoint(item) for item in fields["endpoints"].items())
    names = tuple(endpoint.name for endpoint in endpoints)
    return Lab(
        name=fields["name"].text(),
        about=fields["about"].text(),
        parent=fields["parent"].checked(interface_name),
        network=_network(fields["network"]),
        endpoints=endpoints,
        phases=tuple(_phase(item, names) for item in fields["phases"].items()),
    )


def _network(field: _Field) -> Network:
    fields = field.fields(HOST, GATEWAY, NEIGHBOUR, required=(HOST, GATEWAY))
    neighbour = fields.get(NEIGHBOUR)
    return Network(
        host=fields[HOST].checked(interface_address),
        gateway=fields[GATEWAY].checked(address),
        neighbour=neighbour.checked(address) if neighbour else None,
    )


def _endpoint(field: _Field) -> Endpoint:
    fields = field.fields("name", "addresses", "netns", required=("name", "addresses"))
    name = fields["name"].checked(interface_name)
    addresses = tuple(item.checked(interface_address) for item in fields["addresses"].items())
    if not addresses:
        raise fields["addresses"].wrong("at least one address is needed")
    return Endpoint(name, addresses, fields["netns"].checked(netns_name) if "netns" in fields else name)


def _phase(field: _Field, endpoints: tuple[str, ...]) -> Phase:
    fields = field.fields("name", "mode", "flag", "endpoints", "do", required=("name", "mode", "do"))
    flag = fields["flag"].one_of(FLAGS) if "flag" in fields else "bridge"
    chosen = fields.get("endpoints")
    return Phase(
        name=fields["name"].text(),
        mode=cast(Mode, fields["mode"].one_of(MODES)),
        flag=cast(Flag, flag),
        endpoints=_texts(chosen) if chosen else endpoints,
        acts=tuple(_act(item) for item in fields["do"].items()),
    )


def _act(field: _Field) -> Act:
    fields = field.fields("check", "announce", "fast-ageing", "flush")
    if not fields:
        raise field.wrong("nothing to do")
    return Act(
        checks=tuple(_check(item) for item in fields["check"].items()) if "check" in fields else (),
        announce=_texts(fields.get("announce")),
        fast_ageing=_texts(fields.get("fast-ageing")),
        flush=_texts(fields.get("flush")),
    )


def _check(field: _Field) -> Check:
    fields = field.fields("from", "to", "watch", "expect", "why", required=("from", "to"))
    expect = fields["expect"].one_of(tuple(Outcome)) if "expect" in fields else None
    return Check(
        source=fields["from"].text(),
        destination=fields["to"].text(),
        watch=fields["watch"].seconds() if "watch" in fields else None,
        expect=Outcome(expect) if expect else None,
        why=fields["why"].text() if "why" in fields else "",
    )


def _texts(field: _Field | None) -> tuple[str, ...]:
    return tuple(item.text() for item in field.items()) if field else ()
