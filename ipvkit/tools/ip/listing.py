"""The plain forms of ``ip link`` and ``ip addr``, as the objects that ``ip -json`` prints.

How they look is in iproute2's ip/ipaddress.c: print_linkinfo, print_linkinfo_brief, print_stats64.
"""

import re
from typing import Any, NamedTuple

from ipvkit.core.errors import UnparsableOutput
from ipvkit.tools.ip import addr, plain
from ipvkit.tools.ip.kinds import KINDS, PORTS, QOS_MAPS, hardware_address, is_hardware_address
from ipvkit.tools.ip.plain import Line, NotUnderstood, Words, flags, form, named, number, put, take


class Shown(NamedTuple):
    """A link as an object of `ip -json`, and the lines of it that were not understood."""

    value: dict[str, Any]
    unrecognised: list[str]


_NAME = r"([^\s:@/]+)(?:@([^\s:@/]+))?"
_LINK = re.compile(rf"([0-9]{{1,12}}): {_NAME}: (<[^\s<>]*>.*)")
_ONE_ADDRESS = re.compile(r"([0-9]{1,12}): ([^\s:/]+)( {4,}[a-z].*)")
_NUMBERED = re.compile(r"[0-9]+: ")
_INDENTS = (" ", "\t")
_BRIEF = re.compile(rf"{_NAME} +(UNKNOWN|NOTPRESENT|DOWN|LOWERLAYERDOWN|TESTING|DORMANT|UP)(?: +(.*))?")


def read(tool: str, stdout: str) -> list[Shown]:
    """Return the links of a plain listing; raise UnparsableOutput where `stdout` is none."""
    found = plain.lines(tool, stdout)
    frames = (
        frame for line in found for frame in (_LINK, _ONE_ADDRESS, _BRIEF) if frame.fullmatch(line.text)
    )
    links = _read_brief(found) if next(frames, None) is _BRIEF else _Listing(tool).read(found)
    if found and not links:
        raise UnparsableOutput(tool, found[0].number, found[0].text)
    return links


def _read_brief(found: list[Line]) -> list[Shown]:
    """Return the links of ``ip -brief link`` and ``ip -brief addr``: a line each."""
    links: list[Shown] = []
    left: list[str] = []
    for line in found:
        frame = _BRIEF.fullmatch(line.text)
        try:
            if frame is None:
                raise NotUnderstood
            ifname, parent, operstate, rest = frame.groups("")
            left = [] if links else left
            links.append(Shown({**_parent(parent), "ifname": ifname, "operstate": operstate}, left))
            _take_brief(Words(rest), links[-1].value)
        except NotUnderstood:
            left.append(line.text)
    return links


def _take_brief(words: Words, into: dict[str, Any]) -> None:
    if words.peek_last().endswith(">"):
        if is_hardware_address(words.peek()):
            into["address"] = words.word()
        take(words, _FLAGS, into)
    while words:
        into.setdefault("addr_info", []).append(addr.take_brief(words))


def _parent(name: str) -> dict[str, Any]:
    """Return the key of what stands behind the @: NONE stands for no link (IFLA_LINK 0)."""
    return {"link": name} if name not in ("", "NONE") else {}


# --- the lines of a link ------------------------------------------------------------------------------


def _take_peer(words: Words, into: dict[str, Any]) -> None:
    put(into, "broadcast", hardware_address(words))
    put(into, "link_pointtopoint", True)


def _xdp_with_id(words: Words) -> dict[str, Any]:
    """Take ``xdpgeneric/id:7``."""
    found = words.match(_XDP)
    return {"mode": _XDP_MODES[found[1]], "prog": {"id": int(found[2])}}


_CAPITALS = re.compile("[A-Z]+")
_ON = re.compile("on")
_XDP = re.compile(r"(xdp[a-z]*)/id:([0-9]{1,12})")
_XDP_MODES = {"xdp": 1, "xdpgeneric": 2, "xdpoffload": 3, "xdpmulti": 4}
_FLAGS = form("<=flags", Words.listed)
_NETNS = (
    form("link-netns=link_netns new-netns=new_netns", Words.word)
    | form("link-netnsid=link_netnsid new-netnsid=new_netnsid", named({"unknown": -1}, Words.number))
    | form("new-ifindex=new_ifindex", Words.number)
    | form("protodown=proto_down", lambda words: bool(words.match(_ON)))
    | form("protodown_reason=proto_down_reason", Words.listed)
)
_HEADER = (
    _FLAGS
    | form("mtu qlen=txqlen", Words.number)
    | form("qdisc master group", Words.word)
    | form("state=operstate mode=linkmode", lambda words: words.match(_CAPITALS)[0])
    | {name: lambda _, into, mode=mode: put(into, "xdp", {"mode": mode}) for name, mode in _XDP_MODES.items()}
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
    "RX": plain.keys(f"{_SAME} nohandler otherhost mcast=multicast missed=missed_errors length=length_errors")
    | plain.keys("crc=crc_errors frame=frame_errors fifo=fifo_errors overrun=over_errors"),
    "TX": plain.keys(f"{_SAME} collsns=collisions carrier=carrier_errors aborted=aborted_errors")
    | plain.keys("fifo=fifo_errors window=window_errors heartbeat=heartbeat_errors heartbt=heartbeat_errors")
    | plain.keys("transns=carrier_changes"),
}
"""The columns of the statistics, and their keys in `ip -json`."""


class _Listing:
    """``ip link`` and ``ip addr``: a line for each link, and lines with an indent that belong to it."""

    def __init__(self, tool: str) -> None:
        self.tool = tool
        self.links: list[Shown] = []
        # The lines that are not understood, of the last link or before the first one.
        self._left: list[str] = []
        # The object of the link that the next line belongs to, empty where there is none.
        self._into: dict[str, Any] = {}
        # The kind of the line before, where the next one depends on it, and its data for that one.
        self._before: tuple[str, Any] = ("", None)

    def read(self, found: list[Line]) -> list[Shown]:
        """Return the links; a line of which not all is known is kept with its link."""
        for whole in found:
            for line in [whole] if whole.text.startswith(_INDENTS) else plain.unjoined(whole):
                self._read_line(line)
        return self.links

    def _read_line(self, line: Line) -> None:
        if one := _ONE_ADDRESS.fullmatch(line.text):
            value = {"ifindex": int(one[1]), "ifname": one[2]}
            # `-o` names the link again for each address.
            if not self.links or not value.items() <= self.links[-1].value.items():
                self._begin(value)
            self._into = self.links[-1].value
            line = line._replace(text=one[3])
        before, self._before = self._before, ("", None)
        try:
            if line.text.startswith(_INDENTS):
                self._take_inner(line, before)
            else:
                self._take_outer(line)
        except NotUnderstood:
            self._left.append(line.text)

    def _begin(self, value: dict[str, Any]) -> None:
        self._left = [] if self.links else self._left
        self._into, self._before = value, ("", None)
        self.links.append(Shown(value, self._left))

    def _take_outer(self, line: Line) -> None:
        found = _LINK.fullmatch(line.text)
        if found is not None:
            index, name, parent, rest = found.groups("")
            self._begin({"ifindex": int(index), **_parent(parent), "ifname": name})
            take(Words(rest), _HEADER, self._into)
        elif line.ended and _NUMBERED.match(line.text):
            raise UnparsableOutput(self.tool, line.number, line.text)
        else:
            self._into = {}
            raise NotUnderstood

    def _take_inner(self, line: Line, before: tuple[str, Any]) -> None:
        """Put the values of a line into the object of its link."""
        words = Words(line.text)
        # Without a link there is only an address of one that is not printed: ``ip addr show label``.
        if not self._into and (self.links or words.peek() not in ("inet", "inet6")):
            raise NotUnderstood
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
                plain.take_known(words, QOS_MAPS, self._into["linkinfo"]["info_data"])
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
                if not self._into:
                    self._begin({"ifname": ""})
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
            plain.take_known(words, KINDS[kind], info.setdefault("info_data", {}))
        self._take_tail(words, kind)

    def _take_port(self, words: Words) -> None:
        kind = words.word().removesuffix("_slave")
        info = self._into.setdefault("linkinfo", {})
        put(info, "info_slave_kind", kind)
        if kind in PORTS:
            plain.take_known(words, PORTS[kind], info.setdefault("info_slave_data", {}))
        take(words, _DETAILS, self._into)

    def _take_tail(self, words: Words, kind: str) -> None:
        if not words:
            self._before = ("kind", kind)
        take(words, _DETAILS, self._into)

    def _take_columns(self, words: Words, text: str) -> None:
        """Take ``RX:  bytes packets errors …``, or ``RX errors: length …``, before its counters."""
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
        self._left.append(text)

    def _take_counters(self, words: Words, direction: str, names: list[str]) -> None:
        counts = [number(word, digits=20) for word in words.all()]
        counters = self._into.setdefault("stats64", {}).setdefault(direction, {})
        if len(counts) != len(names) or counters.keys() & set(names):
            raise NotUnderstood
        counters.update(zip(names, counts, strict=True))
        self._left.pop()


def _behind(word: str, text: str) -> str:
    """Return the rest of the line, which is free text."""
    rest = text.partition(word)[2]
    if not rest:
        raise NotUnderstood
    return rest
