"""The keys of a lab file, each declared once, for loader, `dump`, JSON Schema and reference page."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from ipvkit.core.values import (
    address,
    alternative_name,
    interface_address,
    interface_name,
    netns_name,
    network,
    route_destination,
)
from ipvkit.lab import parts, sysctls
from ipvkit.lab.fields import YES_NO, Field

Schema = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Type:
    """What a value may be: its JSON Schema, how it is read and written, and an example."""

    schema: Schema
    read: Callable[[Field], Any]
    example: Any
    write: Callable[[Any], Any] = lambda value: value


@dataclass(frozen=True, slots=True)
class Key:
    """A key of a part, and the attribute that it is in ipvkit, by default of the same name.

    `default` is the value that stands for a missing key, where it is the same in every lab; `former` is
    the name that it had in an earlier version, and may still have. It cannot be beside a key that it
    `excludes`.
    """

    name: str
    type: Type
    meaning: str
    required: bool = False
    default: Any = None
    attribute: str = ""
    former: str = ""
    excludes: tuple[str, ...] = ()

    @property
    def target(self) -> str:
        """The attribute that the value is for."""
        return self.attribute or self.name.replace("-", "_")

    @property
    def schema(self) -> Schema:
        """The JSON Schema of the value."""
        if "$ref" in self.type.schema:
            return self.type.schema
        default = {} if self.default is None else {"default": self.default}
        return {**self.type.schema, "description": self.meaning, "examples": [self.type.example], **default}


class Given(dict[str, Any]):
    """The values of a mapping by their attributes; `place` is the mapping, `fields` are its values by key."""

    def __init__(self, place: Field, fields: Mapping[str, Field], values: Mapping[str, Any]) -> None:
        super().__init__(values)
        self.place = place
        self.fields = fields


@dataclass(frozen=True, slots=True)
class Part:
    """A mapping of a lab file: `title` and `key` for the reference page, and `more` of its JSON Schema."""

    name: str
    title: str
    key: str
    meaning: str
    keys: tuple[Key, ...]
    more: Schema = field(default_factory=dict)

    @property
    def schema(self) -> Schema:
        """The JSON Schema of the mapping."""
        properties = {key.name: key.schema for key in self.keys}
        for key in self.keys:
            if key.former:
                text = f"The former name of `{key.name}`."
                properties[key.former] = {**key.schema, "description": text, "deprecated": True}
        return {
            "type": "object",
            "description": self.meaning,
            "properties": properties,
            "required": [key.name for key in self.keys if key.required],
            "additionalProperties": False,
            **self.more,
        }

    @property
    def example(self) -> dict[str, Any]:
        """The mapping with the keys that it needs, or its first."""
        any_of = [name for one in self.more.get("anyOf", [])[:1] for name in one["required"]]
        needed = [key for key in self.keys if key.required or key.name in any_of] or self.keys[:1]
        return {key.name: key.type.example for key in needed}

    def read(self, place: Field) -> Given:
        """Return the values at `place`; raise InvalidLab for an unknown or missing key and a wrong value."""
        names = {name: key for key in self.keys for name in (key.name, key.former) if name}
        fields: dict[str, Field] = {}
        for name, found in place.keys(names).items():
            if names[name].name in fields:
                raise found.wrong(f"`{names[name].name}` is there too", "keep one of the two")
            fields[names[name].name] = found
        for key in self.keys:
            if key.required and key.name not in fields:
                raise place.missing(key.name)
            for other in key.excludes:
                if key.name in fields and other in fields:
                    what = f"`{key.name}` does not go with `{other}`"
                    raise fields[key.name].wrong(what, "keep one of the two")
        values = {key.target: key.type.read(fields[key.name]) for key in self.keys if key.name in fields}
        return Given(place, fields, values)

    def written(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the mapping of `values`, those of attributes; None stands for a key that is left out."""
        given = ((key, values.get(key.target)) for key in self.keys)
        return {key.name: key.type.write(value) for key, value in given if value is not None}


def _text(example: str, check: Callable[[str], Any] = str, **schema: object) -> Type:
    return Type({"type": "string", **schema}, lambda place: place.checked(check), example, str)


def _number(what: str, least: int, most: int, example: int) -> Type:
    schema = {"type": "integer", "minimum": least, "maximum": most}
    return Type(schema, lambda place: place.number(what, least, most), example)


def _one_of(values: Sequence[str], make: Callable[[str], Any] = str) -> Type:
    schema = {"enum": [str(value) for value in values]}
    return Type(schema, lambda place: make(place.one_of(values)), str(values[0]), str)


def _or_list(item: Type, items: Callable[[Field], list[Field]] = Field.few) -> Type:
    return Type(
        {"anyOf": [item.schema, {"type": "array", "items": item.schema}]},
        lambda place: tuple(map(item.read, items(place))),
        item.example,
        lambda values: item.write(values[0]) if len(values) == 1 else list(map(item.write, values)),
    )


def _names(example: str) -> Type:
    return replace(_or_list(_text(example), Field.items), write=list)


def _ref(part: Part) -> Schema:
    return {"$ref": f"#/$defs/{part.name}"}


def _list_of(part: Part, items: Callable[[Field], list[Field]] = Field.items, **schema: object) -> Type:
    """Return the type of a list of mappings; written are mappings that are ready."""
    return Type(
        {"type": "array", **schema, "items": _ref(part)},
        lambda place: tuple(map(part.read, items(place))),
        [part.example],
    )


def _by_parent(place: Field) -> list[tuple[str, Given]]:
    pairs = place.pairs("write it as in `eth1: {mode: l3}`")
    return [(name.checked(_with_host), SETTING.read(value)) for name, value in pairs.values()]


def _with_host(text: str) -> str:
    """Return the name of a parent, which may be followed by that of its host; raise UsageError."""
    interface_name(text.partition(parts.AT)[0])
    return text


def _sysctls(place: Field) -> tuple[sysctls.Sysctl, ...]:
    hint = "write it as in `neighbour: {net.ipv4.conf.eth0.arp_accept: 1}`"
    found = []
    for node, values in place.pairs(hint).values():
        for key, value in values.pairs(hint).values():
            found.append(key.checked(partial(sysctls.checked, node.text(), value.text())))
    return tuple(found)


def _sysctls_written(values: Sequence[sysctls.Sysctl]) -> dict[str, dict[str, int]]:
    written: dict[str, dict[str, int]] = {}
    for one in values:
        written.setdefault(one.node, {})[one.key] = one.value
    return written


_OWN = r"^[0-9.]+/([1-9]|[12][0-9]|3[0-2])$|^[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*/[1-9][0-9]{0,2}$"
_LINK_NAME = "^[A-Za-z0-9_][A-Za-z0-9_.+-]{0,14}$"
_SLUG = _text("my-lab", pattern="^[a-z0-9][a-z0-9-]{0,62}$")
_LINK = _text("eth0", interface_name, pattern=_LINK_NAME)
_LINK_THERE = _text("test1", pattern=rf"{_LINK_NAME[:-1]}({parts.AT}[a-z0-9-]{{1,10}})?$")
_NETNS = _text("test1", netns_name, minLength=1, maxLength=255)
_SINGLE = "^[0-9.]+$|^[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*$"
_ADDRESS = _text("192.168.104.254", address, pattern=_SINGLE)
_ADDRESSES = _or_list(_ADDRESS)
_GATEWAY = _text("192.168.104.254", partial(address, link_local=True), pattern=_SINGLE)
_OWN_ADDRESS = _text("192.168.104.211/24", interface_address, pattern=_OWN)
_HOSTS_ADDRESS = _text("192.168.104.211/24", partial(interface_address, link_local=True), pattern=_OWN)
_SUBNET = _text("192.168.104.0/24", network, pattern=_OWN)
_DESTINATION = _text("default", route_destination, minLength=1)
_NETWORK = _text("192.168.104.211/32", network, minLength=1)
_TABLE = _number("number of a table", 1, parts.MOST_TABLES, 100)
_BOOLEAN = Type({"type": "boolean"}, lambda place: place.one_of(YES_NO) == "true", True)
_SECONDS = _number("number of seconds", 1, 3600, 10)
_MTU = _number("MTU in bytes", 68, 65535, 1400)
_SHIM = Type(
    {"anyOf": [_BOOLEAN.schema, *_ADDRESSES.schema["anyOf"]]},
    lambda place: (_BOOLEAN if place.is_scalar and place.text() in YES_NO else _ADDRESSES).read(place),
    True,
    lambda value: (_BOOLEAN if isinstance(value, bool) else _ADDRESSES).write(value),
)
_SYSCTLS = Type(
    {
        "type": "object",
        "additionalProperties": {"type": "object", "additionalProperties": {"type": "integer"}},
    },
    _sysctls,
    {"neighbour": {"net.ipv4.conf.eth0.arp_accept": 1}},
    _sysctls_written,
)
_MOVES = Type(
    {"type": "object", "additionalProperties": {"type": "string"}},
    lambda place: tuple(
        (name.text(), host.text()) for name, host in place.pairs("write it as in `web: h2`").values()
    ),
    {"web": "h2"},
    dict,
)
_MODE, _FLAG = _one_of(parts.MODES), _one_of(parts.FLAGS)
# fmt: off
ROUTE = Part("route", "Routes", "routes", "A route of an endpoint or a host.", (
    Key("to", _DESTINATION, "A network, as in 10.0.0.0/8, or `default`.", required=True),
    Key("via", _GATEWAY,
        "The gateway, in a subnet of the endpoint or host, or link-local (`fe80::1`); without one it leads "
        "straight out of the link.",
        excludes=("type",)),
    Key("type", _one_of(parts.ROUTE_TYPES),
        "It leads nowhere: ping fails at once, and a router drops the packet, of `blackhole` silently."),
    Key("table", _TABLE, "Its table, by default the main one; a rule leads to another one."),
))
RULE = Part("rule", "Rules", "rules", "A rule of an endpoint or a host (`ip rule`).", (
    Key("from", _NETWORK,
        "The source's network. A ping from the host itself has no source yet, so it matches only replies, "
        "TCP connections in IPv4, and what is forwarded.", attribute="source"),
    Key("to", _NETWORK, "The destination's network."),
    Key("table", _TABLE,
        "The table that is looked up; if it has no route, the next rule follows, and at last the main table.",
        required=True),
), {"anyOf": [{"required": ["from"]}, {"required": ["to"]}]})
_RULES = Key("rules", _list_of(RULE, Field.few),
    "Rules that come before the main table, the first one first; each has `from`, `to` or both.")
HOST = Part("host", "Other hosts", "hosts",
    "One more host in the network of the parent, in a separate network namespace.", (
    Key("name", _text("client", lambda text: netns_name(interface_name(text)), pattern=_LINK_NAME),
        "Its name in checks, `flush` and `fast-ageing`, and that of its namespace.", required=True),
    Key("addresses", _or_list(_HOSTS_ADDRESS),
        "Its addresses with their prefix lengths, at least one, of the parent's subnet or of another, or "
        "link-local. Checks ping the first of their family that is not link-local.", required=True),
    Key("routes", _list_of(ROUTE, Field.few),
        "Its routes, all of them; without the key a default one via the gateway, if that leads somewhere."),
    _RULES,
    Key("forwards", _BOOLEAN, "Whether it is a router, which forwards packets of others.", default=False),
))
_WHY = Key("why", _text("a firewall"), "The reason for `expect`, for the report; one line.")
_OF_NETWORK = (
    Key("host", _or_list(_OWN_ADDRESS),
        "The parent's own addresses with their prefix lengths, in the host's namespace; their subnets are "
        "the parent's."),
    Key("subnets", _or_list(_SUBNET),
        "Subnets of the parent in which the host has no address, as on a trunk; then `host` may be left "
        "out.", attribute="others"),
    Key("gateway", _or_list(_GATEWAY),
        "Another host of the subnet, without a prefix length; called `gateway` in checks. It leads to `far`, "
        "and to other parents' networks; others route via its first address of each family. A link-local "
        "one, such as `fe80::1`, comes before others, and no check pings it.", required=True),
    Key("neighbour", _ADDRESSES,
        "One more host of the subnet, without a prefix length; called `neighbour`. Without it no check of "
        "endpoints on this parent can name it."),
    Key("hosts", _list_of(HOST, Field.few), "More hosts: in this subnet or in another one, and routers."),
)
NETWORK = Part("network", "The network", "network", "What the parent is attached to.", _OF_NETWORK)
_ALTNAMES = Key("altnames", _or_list(_text("enp0s3", alternative_name, minLength=1, maxLength=127)),
    "The link's alternative names, of up to 127 bytes: `ip` finds it by them, sysctls do not.")
PARENT = Part("parent", "Several parents", "parents", "A parent, and its network.", (
    Key("name", _LINK, "The network interface.", required=True),
    Key("kind", _one_of(parts.PARENT_KINDS),
        "`nic`: an ordinary one. `bond`: of the host's ports `port0` and `port1`. `bridge`: with the port "
        "`port0`. `dummy`: no host is behind it. Ports of a second parent have the numbers 2 and 3, and so "
        "on.", default="nic"),
    Key("bond-mode", _one_of(parts.BOND_MODES),
        "Of a bond: one port at a time, with two ports of the switch; or both by LACP, with a bond at the "
        "switch.", default="active-backup"),
    *(replace(key, required=False, meaning=f"{key.meaning} A dummy has none, other parents need it.")
      if key.name == "gateway" else key for key in _OF_NETWORK),
    Key("link", _LINK, "Of a VLAN: the parent that it is a sub-interface of, which is not a VLAN itself."),
    Key("vlan", _number("VLAN tag", 1, 4094, 100), "Of a VLAN: its tag."),
    _ALTNAMES,
), {
    "dependentRequired": {"link": ["vlan"], "vlan": ["link"], "bond-mode": ["kind"]},
    "anyOf": [{"required": [key]} for key in ("gateway", "kind", "link")],
})
ENDPOINT = Part("endpoint", "Endpoints", "endpoints", "A link in a separate network namespace.", (
    Key("name", _LINK, "The endpoint's name in checks, and the link's.", required=True),
    Key("dev", _LINK,
        "The link's name in its namespace, if another one, such as `eth0`: links in different namespaces may "
        "have the same, also the parent's. Sysctls of the endpoint are by this name."),
    _ALTNAMES,
    Key("addresses", _or_list(_OWN_ADDRESS),
        "The link's addresses with their prefix lengths, at least one, of the parent's subnet or of "
        "another. Checks ping the first of their family.", required=True),
    Key("slaac", _BOOLEAN,
        "Whether its IPv6 address and default route come from router advertisements, which the gateway then "
        "sends by radvd from its link-local address. The address is the one that results: its last 64 bits "
        "are set by `ip token`.", default=False, excludes=("routes",)),
    Key("parent", _LINK, "The parent that it is on; by default the first."),
    Key("netns", _NETNS,
        "The network namespace that is created for it; by default it has the endpoint's name. Endpoints with "
        "the same are links of one container: only the first has default routes, unless `routes` are given."),
    Key("routes", _list_of(ROUTE),
        "Its routes, all of them; without the key default ones, straight out of the link, or in l2 via "
        "a gateway that leads somewhere."),
    _RULES,
    Key("mtu", _MTU,
        "Its MTU in bytes, by default the parent's: it limits what the endpoint sends, and what "
        "siblings send it. IPv6 needs 1280."),
))
CHECK = Part("check", "Checks", "check", "A ping, or a TCP connection.", (
    Key("from", _text("test1", minLength=1),
        "The node that pings: an endpoint, `host`, `gateway`, `neighbour`, `far` or one of `hosts`.",
        required=True, attribute="source"),
    Key("to", _text("gateway", minLength=1),
        "The node that is pinged: one of the same. One of the two is an endpoint of the phase, and the "
        "others are those on its parent.", required=True, attribute="destination"),
    Key("family", _one_of(parts.FAMILIES), "The family; by default the first that both have."),
    Key("count", _number("number of requests", 1, 1000, 3),
        "How many requests, 0.2 s apart.", default=parts.PING_COUNT, excludes=("watch",)),
    Key("size", _number("payload in bytes", 0, 65000, 1472),
        "The payload in bytes, sent whole (`ping -M do`): headers are 28 bytes more, of IPv6 48.",
        excludes=("watch",)),
    Key("watch", _SECONDS,
        "Ping for so many seconds, or until the path is lost. Its lifetime is measured, from the first "
        "reply to the last."),
    Key("tcp", _number("port", 1, 65535, 8080),
        f"Connect to this TCP port in place of a ping; wait {parts.CONNECT_S} s. A server listens on the "
        "address and this port while the check runs.", excludes=("count", "size", "watch")),
    Key("listen", _BOOLEAN,
        "Of `tcp`: whether that server is started. Without it a path that works gives `refused`.",
        default=True),
    Key("expect", _one_of(parts.CHECK_OUTCOMES, parts.Outcome),
        "The outcome with which the check passes; by default what the rules of ipvlan predict."),
    _WHY,
), {"dependentRequired": {"listen": ["tcp"]}})
_CHANGES = (
    Key("add-address", _OWN_ADDRESS, "This address is added to the endpoint `at`."),
    Key("add-link", _LINK, "A link of this name is created in the host's namespace, on the parent `at`."),
    Key("delete-link", _LINK_THERE, "The link that an `add-link` created is deleted."),
    Key("set-mode", _MODE, "The endpoint `at` is given this mode, from its namespace."),
    Key("set-mtu", _MTU,
        "The endpoint or parent `at` is given this MTU, in bytes. A parent's is given to its ipvlan "
        "endpoints too, whatever they had."),
)
TRY = Part("try", "Tries", "try", "A change that the kernel may refuse: one of the first five keys.", (
    *_CHANGES,
    Key("at", _LINK_THERE,
        "The endpoint or the parent; of all but `delete-link`. Of `add-link` also a parent's port, or `lo`."),
    Key("kind", _one_of((*parts.IPVLAN, "macvlan")), "Of `add-link`: the kind of link."),
    Key("mode", _MODE,
        "Of `add-link`: the ipvlan mode; without one the kernel takes l3, for all on the parent."),
    Key("flag", _FLAG, "Of `add-link`: the ipvlan flag; without one it stays."),
    Key("expect", _one_of(parts.TRY_OUTCOMES, parts.Outcome),
        "What the kernel has to answer; by default what is predicted."),
    _WHY,
), {"oneOf": [{"required": [key.name]} for key in _CHANGES]})
ACT = Part("act", "What happens", "do", "What happens at one point, concurrently.", (
    Key("check", _list_of(CHECK), "Concurrent checks. Such an item has no other key.", attribute="checks"),
    Key("try", _list_of(TRY),
        "Changes that the kernel accepts or refuses, one after another.", attribute="attempts"),
    Key("announce", _names("test1"), "Endpoints with IPv4 addresses, which the host announces: `arping -U`."),
    Key("fast-ageing", _names("neighbour"),
        "Peers, and hosts where a lab has several, that from now on let neighbour entries expire within "
        "seconds: `base_reachable_time_ms` "
        "1000, `delay_first_probe_time` 1, `ucast_solicit` 3, `retrans_time_ms` 100."),
    Key("flush", _names("neighbour"), "Peers, endpoints or `host`: their neighbour tables are flushed."),
    Key("hairpin", _BOOLEAN, "Whether the switch sends frames back to the port that they came from."),
    Key("port-security", _names("host"),
        "`host` and endpoints: the switch accepts packets from their IPv4 addresses at the host's port, and "
        "no others; ARP, IPv6 and frames with a VLAN's tag pass."),
    Key("move", _MOVES,
        "Endpoints that move, each to another host: deleted here, and created there with the same addresses. "
        "In the next phase they are where they were."),
    Key("down", _names("h1"),
        "Hosts that go down, where a lab has several: the switch passes nothing to or from their ports. In "
        "the next phase they are up again, with what they had."),
    Key("wait", _SECONDS, "Whole seconds in which nothing happens."),
    Key("sysctls", _SYSCTLS,
        "Sysctls of `host`, peers and endpoints, each node with its keys and values. They stay set, also in "
        "later phases, until the run ends; those of an endpoint's link end with it."),
), {"minProperties": 1})
_OF_SETTING = (
    Key("mode", _MODE, "The ipvlan mode. A phase needs one, unless its links are macvlan or veth."),
    Key("flag", _FLAG,
        "The ipvlan flag: whether siblings reach each other, not at all, or only through a switch that "
        "reflects; of macvlan its mode.", default="bridge"),
    Key("kind", _one_of(parts.KINDS),
        "The kind of the endpoints' links: ipvlan, or ipvtap with the same rules, or one to compare it with: "
        "macvlan, or veth on a bridge with the parent.", default="ipvlan"),
    Key("strategy", _one_of(parts.STRATEGIES),
        "What makes l3 endpoints reachable from outside; one that cannot work is refused.", default="none"),
    Key("host-shim", _SHIM,
        "`true`: the host has a separate ipvlan link on the parent, and routes to the endpoints through it. "
        "In l2 it needs an address: one that is named here, without a prefix length, or a free one.",
        default=False),
)
HOST_PARENT = Part("hosts-parent", "A host's parents", "parents of hosts",
    "A host's interface in one of the networks.", (
    Key("name", _LINK, "The network: the name of the parent there.", required=True),
    Key("dev", _LINK, "The interface on this host, if another name."),
    Key("addresses", _or_list(_OWN_ADDRESS), "The host's addresses on it, with their prefix lengths."),
))
OUR_HOST = Part("host-with-parents", "Several hosts", "hosts",
    "A host with parents and endpoints, a separate machine. `parent` and `network`, or `parents`, are the "
    "networks that the hosts share, without `host`.", (
    Key("name", _text("h1", pattern="^[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?$"),
        "Its name in checks. Small letters, digits and `-`, 10 of them at most.", required=True),
    Key("addresses", _or_list(_OWN_ADDRESS),
        "Its addresses on the first parent, with their prefix lengths.", excludes=("parents",)),
    Key("parents", _list_of(HOST_PARENT, Field.few, minItems=1),
        "Its interfaces, in the networks in which it has one; by default in all, without addresses but "
        "those of the first."),
    Key("endpoints", _list_of(ENDPOINT),
        "Its endpoints. Where several hosts have one of a name, checks call it with its host: `web@h1`; so "
        "it is with parents in `parents` of a phase."),
    *(replace(key, default=None) for key in _OF_SETTING),
))
SETTING = Part("setting", "Parents that differ in a phase", "parents of a phase",
    "What differs on one parent from the rest of the phase.",
    tuple(replace(key, default=None) for key in _OF_SETTING))
_BY_PARENT = Type({"type": "object", "additionalProperties": _ref(SETTING)}, _by_parent, {"eth1": {}})
PHASE = Part("phase", "Phases", "phases", "A time in which the endpoints are there, under one setting.", (
    Key("name", _SLUG,
        "The phase's name. Small letters, digits and `-`; not `lan`, which is the simulated LAN's.",
        required=True),
    *_OF_SETTING,
    Key("parents", _BY_PARENT,
        "Parents with another setting of their endpoints: each name with what differs. What is not written "
        "is as in the phase, so write `strategy: none` or `host-shim: false` where the phase has one.",
        attribute="others"),
    Key("endpoints", _names("test1"), "The endpoints that are there; by default all."),
    Key("do", _list_of(ACT), "What happens, one item after the other.", required=True, attribute="acts"),
))
LAB = Part("lab", "The lab", "lab", "A lab of ipvkit: what is built, and what is asked of it.", (
    Key("name", _SLUG, "The lab's name in reports. Small letters, digits and `-`.", required=True),
    Key("about", _text("one endpoint", pattern="\\S"), "One line about it.", required=True),
    Key("parent", _LINK,
        "The network interface that the endpoints are on. The simulated LAN gives the host one of this "
        "name; `--parent` replaces it. With `network`; or else `parents`.", excludes=("parents",)),
    Key("network", Type(_ref(NETWORK), NETWORK.read, NETWORK.example), "", excludes=("parents",)),
    Key("parents", _list_of(PARENT, Field.few, minItems=1),
        "Several parents, or one that is a VLAN or no NIC; in place of `parent` and `network`."),
    Key("hosts", replace(_list_of(OUR_HOST, minItems=2), example=[{"name": "h1"}, {"name": "h2"}]),
        "Several hosts with parents, on the same networks; in place of `endpoints`. Without the key there is "
        "one, called `host`.", excludes=("endpoints",), attribute="machines"),
    Key("far", _or_list(_OWN_ADDRESS),
        "The addresses, with their prefix lengths, of a host behind the gateway, called `far` in "
        "checks. With it, or with several parents, every host has a default route via the gateway."),
    Key("setup", _one_of(parts.SETUPS),
        "How endpoints are created: by the commands that a person would type one after another, or in "
        "few processes: links in place, and batches of `ip`. Default: `batch` from 8 endpoints on."),
    Key("parallel", _number("number of pings", 1, parts.MOST_PARALLEL, 32),
        "The most concurrent pings of one item of `do`; the others follow, as if they were separate items. "
        "Default: 32 for each of the machine's CPUs, fewer where there is little memory.", former="at-once"),
    Key("endpoints", _list_of(ENDPOINT, minItems=1), "The links that are built; or else `hosts`."),
    Key("phases", _list_of(PHASE, minItems=1), "They run one after another.", required=True),
), {"allOf": [
    {"oneOf": [{"required": ["parent", "network"]}, {"required": ["parents"]}]},
    {"oneOf": [{"required": ["endpoints"]}, {"required": ["hosts"]}]},
]})
# fmt: on
PARTS = (
    LAB,
    NETWORK,
    PARENT,
    HOST,
    OUR_HOST,
    HOST_PARENT,
    ENDPOINT,
    ROUTE,
    RULE,
    PHASE,
    SETTING,
    ACT,
    CHECK,
    TRY,
)
"""All parts, in the order of the reference page."""


def schema() -> Schema:
    """Return the JSON Schema of lab files, for editors."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:ipvkit:lab",
        "title": "Lab of ipvkit",
        **LAB.schema,
        "$defs": {part.name: part.schema for part in PARTS[1:]},
    }
