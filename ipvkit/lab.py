"""A lab: what is to be built and what is to be asked of it. It knows no tool's flags."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Interface
from typing import TypeVar, cast, get_args

import yaml

from ipvkit.errors import InvalidLab, UsageError
from ipvkit.values import Flag, Mode, address, interface_address, interface_name, netns_name

MODES: tuple[Mode, ...] = get_args(Mode)
FLAGS: tuple[Flag, ...] = get_args(Flag)

HOST = "host"
GATEWAY = "gateway"
NEIGHBOUR = "neighbour"
PEERS = (GATEWAY, NEIGHBOUR)
SWITCH = "switch"
LAN = "lan"
"""The roles of a lab: the parent's own namespace, the hosts beside it, and what joins them."""

T = TypeVar("T")

KERNELS_OWN = ("lo", "all", "default")
"""Names that no new link can have: the loopback's, and what sysctls call every interface."""

Path = tuple[str | int, ...]
"""Where something stands in a lab: keys and positions, from the outside in."""

_LAB_HINT = "docs/reference/lab-format.md shows what a lab file looks like"
_RESERVED = "the kernel keeps lo, all and default for itself"
_RENAME = "take another one"
_ONE_LINE = "write it on one line, without tabs"
PING_COUNT = 6
PING_INTERVAL_S = 0.2
PING_WAIT_S = 0.5
"""How a check pings: enough requests to see a loss; on one machine a reply takes less than a millisecond."""

_SLUG = re.compile(r"[a-z0-9][a-z0-9-]*")
_SECONDS = re.compile(r"[1-9][0-9]{0,3}")
_SLUG_HINT = "small letters, digits and - are allowed"


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
        if not _SLUG.fullmatch(self.name):
            raise InvalidLab(f"{self.name!r} is no name for a lab", _SLUG_HINT, ("name",))
        if not self.about.isprintable():
            raise InvalidLab("what the lab is about has to be one line of text", _ONE_LINE, ("about",))
        for part in ("endpoints", "phases"):
            if not getattr(self, part):
                raise InvalidLab(f"{part}: at least one is needed", _LAB_HINT, (part,))
        if self.parent in KERNELS_OWN:
            raise InvalidLab(f"{self.parent} cannot be a parent", _RESERVED, ("parent",))
        self._check_names()
        self._check_addresses()
        for position, phase in enumerate(self.phases):
            path: Path = ("phases", position)
            if not _SLUG.fullmatch(phase.name):
                raise InvalidLab(f"{phase.name!r} is no name for a phase", _SLUG_HINT, path)
            if phase.name == LAN:
                hint = "that is the simulated network's name"
                raise InvalidLab(f"a phase cannot be called {LAN}", hint, path)
            _unique("phase", [(other.name, ("phases", i)) for i, other in enumerate(self.phases)])
            chosen: Path = (*path, "endpoints")
            _unique(f"endpoint of phase {phase.name}", [(name, chosen) for name in phase.endpoints])
            for name in phase.endpoints:
                _known(name, [e.name for e in self.endpoints], f"endpoint of phase {phase.name}", chosen)
            for number, act in enumerate(phase.acts):
                self._check_act(phase, act, (*path, "do", number))

    def _check_names(self) -> None:
        places: list[Path] = [("endpoints", i) for i in range(len(self.endpoints))]
        _unique("endpoint", [(e.name, at) for e, at in zip(self.endpoints, places, strict=True)])
        _unique("netns", [(e.netns, at) for e, at in zip(self.endpoints, places, strict=True)])
        for endpoint, at in zip(self.endpoints, places, strict=True):
            if {endpoint.name, endpoint.netns} & {HOST, *PEERS, SWITCH}:
                hint = f"{HOST}, {GATEWAY}, {NEIGHBOUR} and {SWITCH} are other parts of every lab"
                raise InvalidLab(f"an endpoint cannot be called {endpoint.name}", hint, at)
            if endpoint.name in KERNELS_OWN:
                raise InvalidLab(f"an endpoint cannot be called {endpoint.name}", _RESERVED, at)
            if endpoint.name == self.parent:
                raise InvalidLab(f"endpoint and parent are both called {self.parent}", _RENAME, at)

    def _check_addresses(self) -> None:
        network = self.network
        taken: list[tuple[IPv4Address, Path]] = []
        for role in PEERS:
            if (peer := network.peer(role)) is not None:
                taken.append((peer, ("network", role)))
        if network.host is not None:
            taken.append((network.host.ip, ("network", HOST)))
        for i, endpoint in enumerate(self.endpoints):
            taken += [(address.ip, ("endpoints", i)) for address in endpoint.addresses]
        _unique("address", [(str(a), at) for a, at in taken])
        if not network.simulated:
            return
        if network.host is None:
            raise InvalidLab("a simulated network needs the host's address", "give network.host")
        subnet = network.host.network
        for a, at in taken:
            if a not in subnet:
                raise InvalidLab(f"{a} is not in the host's subnet {subnet}", f"take one of {subnet}", at)
            if subnet.prefixlen < 31 and a in (subnet.network_address, subnet.broadcast_address):
                what = f"{a} is the subnet's own or its broadcast address, not a host's"
                raise InvalidLab(what, f"take another one of {subnet}", at)

    def _check_act(self, phase: Phase, act: Act, path: Path) -> None:
        network = self.network
        peers = [role for role in PEERS if network.peer(role) is not None or not network.simulated]
        if act.checks and (act.announce or act.fast_ageing or act.flush):
            raise InvalidLab(
                f"phase {phase.name}: a check stands beside something that changes what it would see",
                "write them as two items, one after the other",
                path,
            )
        for name in act.announce:
            _known(name, phase.endpoints, f"endpoint of phase {phase.name}", (*path, "announce"))
        for role in act.fast_ageing:
            _known(role, peers, "peer in this network", (*path, "fast-ageing"))
        for role in act.flush:
            _known(role, peers, "peer in this network", (*path, "flush"))
        for i, check in enumerate(act.checks):
            at: Path = (*path, "check", i)
            for role in (check.source, check.destination):
                _known(role, (*phase.endpoints, HOST, *peers), f"part of phase {phase.name}", at)
            if not {check.source, check.destination} & set(phase.endpoints):
                there = ", ".join(phase.endpoints)
                raise InvalidLab(f"{check}: one of the two has to be an endpoint", f"there is {there}", at)
            if check.source == check.destination:
                raise InvalidLab(f"{check}: nothing leaves the endpoint", "name another destination", at)
            if not check.why.isprintable():
                raise InvalidLab(f"{check}: `why` has to be one line of text", _ONE_LINE, at)

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
        _known(name, [endpoint.name for endpoint in endpoints], f"endpoint of lab {lab.name}", ())
    network = Network(host=host, gateway=gateway, neighbour=neighbour, simulated=False)
    return replace(lab, parent=parent, network=network, endpoints=endpoints)


def _unique(what: str, names: Iterable[tuple[str, Path]]) -> None:
    seen: set[str] = set()
    for name, path in names:
        if name in seen:
            raise InvalidLab(f"{what} {name} is there twice", _RENAME, path)
        seen.add(name)


def _known(name: str, names: Iterable[str], what: str, path: Path) -> None:
    known = tuple(names)
    if name not in known:
        raise InvalidLab(f"{name!r} is no {what}", f"there is {', '.join(known) or 'none'}", path)


def load(text: str, file: str) -> Lab:
    """Return the lab that the YAML `text` describes; raise InvalidLab naming `file`, line and field."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError, ValueError) as problem:
        mark = getattr(problem, "problem_mark", None)
        line = mark.line + 1 if mark else text.count("\n", 0, getattr(problem, "position", 0)) + 1
        what = getattr(problem, "problem", None) or getattr(problem, "reason", None) or "not readable"
        raise InvalidLab(f"{file}:{line}: this is no YAML: {what}", _LAB_HINT) from None
    if root is None:
        raise InvalidLab(f"{file}: the file is empty", "`ipvkit run-lab walkthrough` is a lab to begin with")
    try:
        return _lab(_Field(root, file, "lab"))
    except _Wrong:
        raise
    except InvalidLab as problem:
        line = _node_at(root, problem.path).start_mark.line + 1
        raise InvalidLab(f"{file}:{line}: {problem.message}", problem.hint, problem.path) from None


def _node_at(node: yaml.Node, path: Path) -> yaml.Node:
    """Return the node at `path`, or the innermost on the way to it that is there."""
    for step in path:
        if isinstance(node, yaml.SequenceNode) and isinstance(step, int):
            node = node.value[step]
        elif isinstance(node, yaml.MappingNode):
            node = next((value for key, value in node.value if key.value == step), node)
    return node


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
        return str(self.node.value)

    def items(self) -> list["_Field"]:
        """Return the items of a list; a single value is a list of one."""
        if isinstance(self.node, yaml.SequenceNode):
            return [_Field(n, self.file, f"{self.name}[{i}]") for i, n in enumerate(self.node.value)]
        if isinstance(self.node, yaml.ScalarNode) and not self.node.tag.endswith(":null"):
            return [self]
        raise self.wrong("a list is needed", "write it as in [one, two], or one item a line after `- `")

    def fields(self, *allowed: str, required: tuple[str, ...] = ()) -> dict[str, "_Field"]:
        if not isinstance(self.node, yaml.MappingNode):
            raise self.wrong("`key: value` lines are needed", f"there is {', '.join(allowed)}")
        found: dict[str, _Field] = {}
        for key_node, value_node in self.node.value:
            key_field = _Field(key_node, self.file, self.name)
            key = key_field.text()
            if key not in allowed:
                near = get_close_matches(key, allowed, 1, 0.5)
                hint = f"did you mean `{near[0]}`?" if near else f"there is {', '.join(allowed)}"
                raise key_field.wrong(f"unknown key `{key}`", hint)
            if key in found:
                raise key_field.wrong(f"`{key}` is there twice", "keep one of the two")
            found[key] = _Field(value_node, self.file, key)
        for key in required:
            if key not in found:
                raise self.wrong(f"`{key}` is missing", f"add `{key}: …`")
        return found

    def one_of(self, values: tuple[str, ...]) -> str:
        text = self.text()
        if text not in values:
            raise self.wrong(f"{text!r} is not known", f"there is {', '.join(values)}")
        return text

    def seconds(self) -> int:
        text = self.text()
        if not _SECONDS.fullmatch(text) or int(text) > 3600:
            raise self.wrong(f"{text!r} is no whole number of seconds", "write one from 1 to 3600")
        return int(text)

    def checked(self, check: Callable[[str], T]) -> T:
        try:
            return check(self.text())
        except _Wrong:
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
        raise fields["addresses"].wrong("at least one address is needed", "as in [192.168.104.211/24]")
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
        raise field.wrong("nothing to do", "there is check, announce, fast-ageing, flush")
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
