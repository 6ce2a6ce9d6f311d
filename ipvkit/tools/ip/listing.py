"""The plain forms of ``ip link`` and ``ip addr``, as the objects that ``ip -json`` prints.

How they look is in iproute2's ip/ipaddress.c: print_linkinfo, print_linkinfo_brief, print_stats64.
"""

import re
from dataclasses import dataclass, field
from typing import Any

from ipvkit.core.errors import UnparsableOutput
from ipvkit.tools.ip import addr
from ipvkit.tools.ip.kinds import KINDS, PORTS, QOS_MAPS, hardware_address, is_hardware_address
from ipvkit.tools.ip.plain import (
    Attribute,
    Line,
    NotUnderstood,
    Words,
    flags,
    form,
    keys,
    lines,
    number,
    put,
    take,
    take_known,
    unjoined,
)


@dataclass(slots=True)
class Shown:
    """A link as an object of `ip -json`, and the lines of it that were not understood."""

    value: dict[str, Any] = field(default_factory=dict)
    unrecognised: list[str] = field(default_factory=list)


_NAME = r"([^\s:@/]+)(?:@([^\s:@/]+))?"
_LINK = re.compile(rf"([0-9]{{1,12}}): {_NAME}: (<[^\s<>]*>.*)")
_ONE_ADDRESS = re.compile(r"([0-9]{1,12}): ([^\s:/]+)( {4,}[a-z].*)")
_NUMBERED = re.compile(r"[0-9]+: ")
_BRIEF = re.compile(rf"{_NAME} +(UNKNOWN|NOTPRESENT|DOWN|LOWERLAYERDOWN|TESTING|DORMANT|UP)(?: +(.*))?")


def read(tool: str, stdout: str) -> list[Shown]:
    """Return the links of a plain listing; raise UnparsableOutput where `stdout` is none."""
    found = lines(tool, stdout)
    brief = next((_BRIEF.fullmatch(line.text) for line in found if _is_frame(line)), None)
    listing = _Brief(tool) if brief else _Full(tool)
    for line in found:
        listing.line(line)
    if found and not listing.links:
        raise UnparsableOutput(tool, found[0].number, found[0].text)
    return listing.links


def _is_frame(line: Line) -> bool:
    return any(frame.fullmatch(line.text) for frame in (_LINK, _ONE_ADDRESS, _BRIEF))


class _Listing:
    """The links that were read so far, and what was not understood before the first one."""

    def __init__(self, tool: str) -> None:
        self.tool = tool
        self.links: list[Shown] = []
        self._before: list[str] = []

    def line(self, line: Line) -> None:
        raise NotImplementedError

    def _begin(self, value: dict[str, Any]) -> Shown:
        shown = Shown(value, self._before)
        self._before = []
        self.links.append(shown)
        return shown

    def _keep(self, line: Line) -> None:
        """Keep a line that is not understood."""
        (self.links[-1].unrecognised if self.links else self._before).append(line.text)


class _Brief(_Listing):
    """``ip -brief link`` and ``ip -brief addr``: a line each."""

    def line(self, line: Line) -> None:
        found = _BRIEF.fullmatch(line.text)
        if found is None:
            self._keep(line)
            return
        ifname, parent, operstate, rest = found.groups("")
        value = {**_parent(parent), "ifname": ifname, "operstate": operstate}
        self._begin(value)
        try:
            _take_brief(Words(rest), value)
        except NotUnderstood:
            self._keep(line)


def _take_brief(words: Words, into: dict[str, Any]) -> None:
    if words.peek_last().endswith(">"):
        if is_hardware_address(words.peek()):
            into["address"] = words.word()
        take(words, _FLAGS, into)
    while words:
        into.setdefault("addr_info", []).append(addr.take_brief(words))


def _parent(name: str) -> dict[str, Any]:
    """Return the key of what stands behind the @: NONE is no link (IFLA_LINK 0)."""
    return {"link": name} if name not in ("", "NONE") else {}


# --- the lines of a link ------------------------------------------------------------------------------


def _capitals(words: Words) -> str:
    return words.match(_CAPITALS)[0]


def _netnsid(words: Words) -> int:
    word = words.word()
    return -1 if word == "unknown" else number(word)


def _protodown(words: Words) -> bool:
    if not words.on_off():
        raise NotUnderstood
    return True


def _take_peer(words: Words, into: dict[str, Any]) -> None:
    put(into, "broadcast", hardware_address(words))
    put(into, "link_pointtopoint", True)


def _xdp(mode: int) -> Attribute:
    """Return how ``xdpgeneric`` is taken: how a program is attached, which another line may tell."""
    return lambda _, into: put(into, "xdp", {"mode": mode})


def _xdp_with_id(words: Words) -> dict[str, Any]:
    """Take ``xdpgeneric/id:7``."""
    mode, _, program = words.word().partition("/id:")
    if mode not in _XDP_MODES:
        raise NotUnderstood
    return {"mode": _XDP_MODES[mode], "prog": {"id": number(program)}}


_CAPITALS = re.compile("[A-Z]+")
_XDP_MODES = {"xdp": 1, "xdpgeneric": 2, "xdpoffload": 3, "xdpmulti": 4}
_FLAGS = form("<=flags", Words.listed)
_NETNS = (
    form("link-netns=link_netns new-netns=new_netns", Words.word)
    | form("link-netnsid=link_netnsid new-netnsid=new_netnsid", _netnsid)
    | form("new-ifindex=new_ifindex", Words.number)
    | form("protodown=proto_down", _protodown)
    | form("protodown_reason=proto_down_reason", Words.listed)
)
_HEADER = (
    _FLAGS
    | form("mtu qlen=txqlen", Words.number)
    | form("qdisc master group", Words.word)
    | form("state=operstate mode=linkmode", _capitals)
    | {name: _xdp(mode) for name, mode in _XDP_MODES.items()}
    | form(" ".join(f"{name}/=xdp" for name in _XDP_MODES), _xdp_with_id)
    | _NETNS
)
_DETAILS = (
    form("promiscuity allmulti minmtu=min_mtu maxmtu=max_mtu", Words.number)
    | form("numtxqueues=num_tx_queues numrxqueues=num_rx_queues gso_max_size gso_max_segs", Words.number)
    | form("tso_max_size tso_max_segs gro_max_size gso_ipv4_max_size gro_ipv4_max_size", Words.number)
    | form("addrgenmode=inet6_addr_gen_mode portname=phys_port_name portid=phys_port_id", Words.word)
    | form("switchid=phys_switch_id parentbus parentdev", Words.word)
    | flags("netns-immutable")
)
_TAIL = {"num_tx_queues", "inet6_addr_gen_mode"}
_LINK_LINE = form("brd=broadcast permaddr", hardware_address) | {"peer": _take_peer} | _NETNS | _DETAILS
_PROGRAM = (
    form("id load_time created_by_uid btf_id", lambda words: number(words.word(), 20))
    | form("name tag", Words.word)
    | flags("jited", 1)
)
_KIND = re.compile(r"[a-z0-9][a-z0-9_-]*")
_SAME = "bytes packets errors dropped compressed"
_COUNTERS = {
    "RX": keys(f"{_SAME} nohandler otherhost mcast=multicast missed=missed_errors length=length_errors")
    | keys("crc=crc_errors frame=frame_errors fifo=fifo_errors overrun=over_errors"),
    "TX": keys(f"{_SAME} collsns=collisions carrier=carrier_errors aborted=aborted_errors")
    | keys("fifo=fifo_errors window=window_errors heartbeat=heartbeat_errors heartbt=heartbeat_errors")
    | keys("transns=carrier_changes"),
}
"""The columns of the statistics, and their keys in `ip -json`."""


class _Lines:
    """Reads the lines of one link into its object."""

    def __init__(self, shown: Shown) -> None:
        self.shown = shown
        self._into = shown.value
        # The kind of the line before, where the next one depends on it, and its data for that one.
        self._before: tuple[str, Any] = ("", None)

    def line(self, line: Line) -> None:
        """Put the values of the line into the object; keep the line where not all of it is known."""
        before, self._before = self._before, ("", None)
        words = Words(line.text)
        try:
            self._take(words, line, before)
        except NotUnderstood:
            self.shown.unrecognised.append(line.text)

    def header(self, words: Words, line: Line) -> None:
        """Put what the line of the link has behind its name into the object."""
        try:
            take(words, _HEADER, self._into)
        except NotUnderstood:
            self.shown.unrecognised.append(line.text)

    def _take(self, words: Words, line: Line, before: tuple[str, Any]) -> None:
        match words.peek(), before:
            case "alias", _:
                put(self._into, "ifalias", _behind("alias ", line.text))
            case "altname", _:
                self._into.setdefault("altnames", []).append(_behind("altname ", line.text))
            case (("inet" | "inet6"), _):
                self._take_address(words, line.ended)
            case "valid_lft", ("address", address):
                addr.take_lifetimes(words, address)
            case (("RX" | "TX" | "RX:" | "TX:"), _):
                self._take_columns(words, line.text)
            case _, ("columns", (direction, names)):
                self._take_counters(words, direction, names)
            case "prog/xdp", _:
                words.word()
                take(words, _PROGRAM, self._into.setdefault("xdp", {}).setdefault("prog", {}))
            case first, _ if first.startswith("link/"):
                self._take_link(words)
            case (("ingress-qos-map" | "egress-qos-map"), ("kind", "vlan")):
                take_known(words, QOS_MAPS, self._into["linkinfo"]["info_data"])
                self._take_tail(words, "vlan")
            case first, ("link" | "kind", _) if first.endswith("_slave"):
                self._take_port(words)
            case _, ("link", _):
                self._take_kind(words, line.ended)
            case _:
                raise NotUnderstood

    def _take_address(self, words: Words, ended: bool) -> None:
        address: dict[str, Any] = {}
        try:
            addr.take_address(words, self._into.get("ifname", ""), address, ended=ended)
        finally:
            if address:
                self._into.setdefault("addr_info", []).append(address)
                self._before = ("address", address)

    def _take_link(self, words: Words) -> None:
        put(self._into, "link_type", words.word().removeprefix("link/"))
        if is_hardware_address(words.peek()):
            put(self._into, "address", words.word())
        take(words, _LINK_LINE, self._into)
        # `-d` prints the attributes of every link at the end of the last line about this one.
        if "promiscuity" in self._into and not _TAIL & self._into.keys():
            self._before = ("link", None)

    def _take_kind(self, words: Words, ended: bool) -> None:
        kind = words.word()
        # Where the output stops, a word alone can be any other that was cut: `bridge_slave`.
        if not _KIND.fullmatch(kind) or not (words or ended):
            raise NotUnderstood
        info = self._into.setdefault("linkinfo", {})
        put(info, "info_kind", kind)
        if kind in KINDS:
            take_known(words, KINDS[kind], info.setdefault("info_data", {}))
        self._take_tail(words, kind)

    def _take_port(self, words: Words) -> None:
        kind = words.word().removesuffix("_slave")
        info = self._into.setdefault("linkinfo", {})
        put(info, "info_slave_kind", kind)
        if kind in PORTS:
            take_known(words, PORTS[kind], info.setdefault("info_slave_data", {}))
        take(words, _DETAILS, self._into)

    def _take_tail(self, words: Words, kind: str) -> None:
        if not words:
            self._before = ("kind", kind)
        take(words, _DETAILS, self._into)

    def _take_columns(self, words: Words, text: str) -> None:
        """Take ``RX:  bytes packets errors …``, or ``RX errors: length …``, whose counters follow."""
        direction = words.word().removesuffix(":")
        names = words.all()
        # A virtual function has such lines too, without its errors (print_vf_stats64).
        if "errors" not in names and names[:1] != ["errors:"]:
            raise NotUnderstood
        counters = [_COUNTERS[direction].get(name) for name in names if name != "errors:"]
        if None in counters:
            raise NotUnderstood
        self._before = ("columns", (direction.lower(), counters))
        # Until its counters are there.
        self.shown.unrecognised.append(text)

    def _take_counters(self, words: Words, direction: str, names: list[str]) -> None:
        counts = [number(word, digits=20) for word in words.all()]
        counters = self._into.setdefault("stats64", {}).setdefault(direction, {})
        if len(counts) != len(names) or counters.keys() & set(names):
            raise NotUnderstood
        counters.update(zip(names, counts, strict=True))
        self.shown.unrecognised.pop()


def _behind(word: str, text: str) -> str:
    """Return the rest of the line, which is free text."""
    rest = text.partition(word)[2]
    if not rest:
        raise NotUnderstood
    return rest


class _Full(_Listing):
    """``ip link`` and ``ip addr``: a line for each link, and lines with an indent that belong to it."""

    def __init__(self, tool: str) -> None:
        super().__init__(tool)
        self._link: _Lines | None = None

    def line(self, line: Line) -> None:
        if line.text.startswith((" ", "\t")):
            self._inner(line)
            return
        first, *rest = unjoined(line)
        for inner in [*self._outer(first), *rest]:
            self._inner(inner)

    def _outer(self, line: Line) -> list[Line]:
        """Begin the link of a line, and return what the line has of the lines that belong to it."""
        one = _ONE_ADDRESS.fullmatch(line.text)
        found = _LINK.fullmatch(line.text)
        if one is not None:
            self._same_or_new({"ifindex": int(one[1]), "ifname": one[2]})
            return [line._replace(text=one[3])]
        if found is not None:
            value = {"ifindex": int(found[1]), **_parent(found[3] or ""), "ifname": found[2]}
            self._link = _Lines(self._begin(value))
            self._link.header(Words(found[4]), line)
        elif line.ended and _NUMBERED.match(line.text):
            raise UnparsableOutput(self.tool, line.number, line.text)
        else:
            self._link = None
            self._keep(line)
        return []

    def _same_or_new(self, value: dict[str, Any]) -> None:
        """Go on with the link that `value` names: `-o` names it again for each address."""
        last = self.links[-1] if self.links else Shown()
        if not value.items() <= last.value.items():
            self._link = _Lines(self._begin(value))
        elif self._link is None:
            self._link = _Lines(last)

    def _inner(self, line: Line) -> None:
        if self._link is not None:
            self._link.line(line)
        elif self.links or not self._begin_nameless(line):
            self._keep(line)

    def _begin_nameless(self, line: Line) -> bool:
        """Return whether an address begins here whose link is not printed: ``ip addr show label``."""
        nameless = _Lines(Shown())
        nameless.line(line)
        if nameless.shown.value.keys() != {"addr_info"}:
            return False
        nameless.shown.value["ifname"] = ""
        nameless.shown.unrecognised[:0] = self._before
        self._link, self._before = nameless, []
        self.links.append(nameless.shown)
        return True
