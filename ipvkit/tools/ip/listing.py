"""The plain forms of ``ip link`` and ``ip addr``, as the objects that ``ip -json`` prints.

How they look is in iproute2's ip/ipaddress.c: print_linkinfo, print_linkinfo_brief, print_stats64.
"""

import re
from ipaddress import ip_interface
from typing import Any

from ipvkit.core.errors import UnparsableOutput
from ipvkit.tools.ip import plain
from ipvkit.tools.ip.kinds import KINDS, PORTS, QOS_MAPS, hardware_address, is_hardware_address
from ipvkit.tools.ip.plain import Form, Line, NotUnderstood, Words, flags, form, ip, named, number, put, take
from ipvkit.tools.ip.reading import Entry

_NAME = r"([^\s:@/]+)(?:@([^\s:@/]+))?"
_LINK = re.compile(rf"([0-9]{{1,12}}): {_NAME}: (<[^\s<>]*>.*)")
_ONE_ADDRESS = re.compile(r"([0-9]{1,12}): ([^\s:/]+)( {4,}[a-z].*)")
_BLANKS = " \t"
_INNER = re.compile(r"[ \t]+(?![ \t]|[0-9]+: )")
"""How a line that goes on with a link begins; text that was pasted into a document is indented as a whole."""

_BRIEF = re.compile(rf"{_NAME} +(UNKNOWN|NOTPRESENT|DOWN|LOWERLAYERDOWN|TESTING|DORMANT|UP)(?: +(.*))?")


def read(tool: str, stdout: str) -> list[tuple[Entry, list[str]]]:
    """Return the links of a plain listing and their unknown lines; raise UnparsableOutput for other text."""
    found = plain.lines(tool, stdout)
    heads = (line.text.lstrip(_BLANKS) for line in found)
    kinds = (kind for head in heads for kind in (_LINK, _ONE_ADDRESS, _BRIEF) if kind.fullmatch(head))
    listing = _Listing(tool, brief=next(kinds, None) is _BRIEF)
    for line in found:
        listing.read(line)
    if found and not listing.links:
        raise UnparsableOutput(tool, found[0].number, found[0].text)
    return [(Entry(tool, value), left) for value, left in listing.links]


def _parent(name: str) -> dict[str, Any]:
    """Return the key of what stands behind the @: NONE stands for no link (IFLA_LINK 0)."""
    return {"link": name} if name not in ("", "NONE") else {}


# --- the addresses of a link --------------------------------------------------------------------------

FOREVER = 2**32 - 1
"""The lifetime in seconds of an address that does not expire."""

_METRIC = form("metric", Words.number)
_INET = (
    _METRIC
    | form("brd=broadcast", lambda words: words.valid(lambda word: ip(word, "inet")))
    | form("any=anycast", lambda words: words.valid(ip))
    | form("scope proto=protocol flags=ifa_flags", Words.word)
    | flags("secondary temporary nodad optimistic dadfailed home deprecated tentative permanent dynamic")
    | flags("mngtmpaddr noprefixroute autojoin stable-privacy")
)
_LIFETIMES = form(
    "valid_lft=valid_life_time preferred_lft=preferred_life_time",
    lambda words: int(words.match("(-?[0-9]{1,12})sec|forever")[1] or FOREVER),
)


def _take_inet(words: Words, ifname: str, into: dict[str, Any], *, ended: bool) -> None:
    """Put ``inet …``, the address of a line, `into` its object; raise NotUnderstood after what is known."""
    family = words.word()
    # The label is the only word that nothing announces: it is the last one, and any word can be a name.
    is_label = words.peek_last() == ifname or words.peek_last().startswith(f"{ifname}:")
    label = words.pop() if words and family == "inet" and is_label else ""
    _take_prefix(words, into, family)
    plain.take_known(words, _INET, into)
    # Where the output stops, such a word can be any other that was cut.
    if words and family == "inet" and not label and ended:
        label = words.word()
    if words:
        raise NotUnderstood
    if label:
        into["label"] = label


def _take_lifetimes(words: Words, into: dict[str, Any]) -> None:
    """Put both lifetimes `into` the address; raise NotUnderstood, and put none, where one is unknown."""
    found: dict[str, Any] = {}
    take(words, _LIFETIMES, found)
    if len(found) != len(_LIFETIMES) or found.keys() & into.keys():
        raise NotUnderstood
    into.update(found)


def _take_prefix(words: Words, into: dict[str, Any], family: str | None = None) -> None:
    """Take ``A/24`` or ``A peer B/24``."""
    if words.peek() == "mcast":
        _take_group(words, into, family)
        return
    local, slash, length = words.word().partition("/")
    peer = ""
    if not slash and words.peek() == "peer":
        words.word()
        peer, _, length = words.word().partition("/")
    prefixlen = number(length, digits=3)
    try:
        ip(local, family)
        ip_interface((ip(peer or local, family), prefixlen))
    except ValueError:
        raise NotUnderstood from None
    into |= {"family": family, "local": local, "address": peer or None, "prefixlen": prefixlen}


def _take_group(words: Words, into: dict[str, Any], family: str | None) -> None:
    """Take ``mcast A``, the address of a group that the link has joined, in `ip monitor`."""
    words.word()
    local = words.valid(lambda word: ip(word, family))
    length = ip(local).max_prefixlen
    into |= {"family": family, "local": local, "prefixlen": length, "multicast": True}


# --- the lines of a link ------------------------------------------------------------------------------


def _take_peer(words: Words, into: dict[str, Any]) -> None:
    put(into, "broadcast", hardware_address(words))
    put(into, "link_pointtopoint", True)


def _xdp_with_id(words: Words) -> dict[str, Any]:
    """Take ``xdpgeneric/id:7``."""
    found = words.match("(xdp[a-z]*)/id:([0-9]{1,12})")
    return {"mode": _XDP_MODES[found[1]], "prog": {"id": int(found[2])}}


_XDP_MODES = {"xdp": 1, "xdpgeneric": 2, "xdpoffload": 3, "xdpmulti": 4}
_FLAGS = form("<=flags", Words.listed)
_NETNS = (
    form("link-netns=link_netns new-netns=new_netns", Words.word)
    | form("link-netnsid=link_netnsid new-netnsid=new_netnsid", named({"unknown": -1}, Words.number))
    | form("new-ifindex=new_ifindex", Words.number)
    | form("protodown=proto_down", lambda words: bool(words.match("on")))
    | form("protodown_reason=proto_down_reason", Words.listed)
)
_SHORT = ("NONE", "REBOOT")
"""The events of a link, in `ip monitor`, that are not two words."""
_HEADER = (
    _FLAGS
    | form("mtu qlen=txqlen", Words.number)
    | form("qdisc master group", Words.word)
    | form("state=operstate mode=linkmode", lambda words: words.match("[A-Z]+")[0])
    | {name: lambda _, into, mode=mode: put(into, "xdp", {"mode": mode}) for name, mode in _XDP_MODES.items()}
    | form(" ".join(f"{name}/=xdp" for name in _XDP_MODES), _xdp_with_id)
    | form("event", lambda words: " ".join(words.word() for _ in range(1 if words.peek() in _SHORT else 2)))
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
_LINK_LINE = form("brd=broadcast permaddr", hardware_address) | {"peer": _take_peer} | _NETNS | _DETAILS
_PROGRAM = (
    form("id load_time created_by_uid btf_id", lambda words: number(words.word(), 20))
    | form("name tag", Words.word)
    | flags("jited", 1)
)
_SAME = "bytes packets errors dropped compressed"
_COUNTERS = {
    "RX": plain.keys(f"{_SAME} nohandler otherhost mcast=multicast missed=missed_errors length=length_errors")
    | plain.keys("crc=crc_errors frame=frame_errors fifo=fifo_errors overrun=over_errors"),
    "TX": plain.keys(f"{_SAME} collsns=collisions carrier=carrier_errors aborted=aborted_errors")
    | plain.keys("fifo=fifo_errors window=window_errors heartbeat=heartbeat_errors heartbt=heartbeat_errors")
    | plain.keys("transns=carrier_changes"),
}
"""The columns of the statistics, and their keys in `ip -json`."""
_ROUNDED = re.compile(r"[0-9]{1,4}(?:\.[0-9]{1,3})?[kMGTPE]i?")
"""A counter that `-h` has rounded."""


class _Listing:
    """``ip link`` and ``ip addr``: a line for each link, and lines with an indent that belong to it."""

    def __init__(self, tool: str, *, brief: bool) -> None:
        self._tool, self._brief = tool, brief
        self.links: list[tuple[dict[str, Any], list[str]]] = []
        # The lines that are not understood, of the last link or before the first one.
        self._left: list[str] = []
        # The object of the link that the next line belongs to, empty where there is none.
        self._into: dict[str, Any] = {}
        # The kind of the line before, where the next one depends on it, and its data for that one.
        self._before: tuple[str, Any] = ("", None)

    def read(self, whole: Line) -> None:
        """Read a line; one of which not all is known is kept with its link."""
        if self._brief or _INNER.match(whole.text):
            self._read_line(whole)
            return
        first, *others = plain.unjoined(whole)
        self._read_line(first._replace(text=first.text.lstrip(_BLANKS)))
        for line in others:
            self._read_line(line)

    def _read_line(self, line: Line) -> None:
        if not self._brief and (one := _ONE_ADDRESS.fullmatch(line.text)):
            value = {"ifindex": int(one[1]), "ifname": one[2]}
            last = self.links[-1][0] if self.links else {}
            # `-o` names the link again for each address.
            if value.items() <= last.items():
                self._into = last
            else:
                self._begin(value)
            line = line._replace(text=one[3])
        before, self._before = self._before, ("", None)
        try:
            if self._brief:
                self._take_brief(line.text)
            elif line.text.startswith(tuple(_BLANKS)):
                self._take_inner(line, before)
            else:
                self._take_outer(line)
        except NotUnderstood:
            self._left.append(line.text)

    def _begin(self, value: dict[str, Any]) -> None:
        self._left = [] if self.links else self._left
        self._into, self._before = value, ("", None)
        self.links.append((value, self._left))

    def _take_brief(self, text: str) -> None:
        """Take a link of ``ip -brief link`` or ``ip -brief addr``."""
        found = _BRIEF.fullmatch(text.lstrip(_BLANKS))
        if found is None:
            raise NotUnderstood
        ifname, parent, operstate, rest = found.groups("")
        self._begin({**_parent(parent), "ifname": ifname, "operstate": operstate})
        words = Words(rest)
        if words.peek_last().endswith(">"):
            if is_hardware_address(words.peek()):
                self._into["address"] = words.word()
            take(words, _FLAGS, self._into)
        while words:
            address: dict[str, Any] = {}
            _take_prefix(words, address)
            plain.take_known(words, _METRIC, address)
            self._into.setdefault("addr_info", []).append(address)

    def _take_outer(self, line: Line) -> None:
        found = _LINK.fullmatch(line.text)
        if found is not None:
            index, name, parent, rest = found.groups("")
            self._begin({"ifindex": int(index), **_parent(parent), "ifname": name})
            take(Words(rest), _HEADER, self._into)
        elif line.ended and re.match("[0-9]+: ", line.text):
            raise UnparsableOutput(self._tool, line.number, line.text)
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
                _take_lifetimes(words, address)
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
                self._take_info(words.word().removesuffix("_slave"), words, "slave_", PORTS)
                take(words, _DETAILS, self._into)
            case _, ("link", _):
                self._take_kind(words, line.ended)
            case _:
                raise NotUnderstood

    def _take_address(self, words: Words, ended: bool) -> None:
        address: dict[str, Any] = {}
        try:
            _take_inet(words, self._into.get("ifname", ""), address, ended=ended)
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
        if "promiscuity" in self._into and not {"num_tx_queues", "inet6_addr_gen_mode"} & self._into.keys():
            self._before = ("link", None)

    def _take_kind(self, words: Words, ended: bool) -> None:
        kind = words.word()
        # Where the output stops, a word alone can be any other that was cut: `bridge_slave`.
        if not re.fullmatch("[a-z0-9][a-z0-9_-]*", kind) or not (words or ended):
            raise NotUnderstood
        self._take_info(kind, words, "", KINDS)
        self._take_tail(words, kind)

    def _take_info(self, kind: str, words: Words, prefix: str, forms: dict[str, Form]) -> None:
        info = self._into.setdefault("linkinfo", {})
        put(info, f"info_{prefix}kind", kind)
        if kind in forms:
            plain.take_known(words, forms[kind], info.setdefault(f"info_{prefix}data", {}))

    def _take_tail(self, words: Words, kind: str) -> None:
        if not words:
            self._before = ("kind", kind)
        take(words, _DETAILS, self._into)

    def _take_columns(self, words: Words, text: str) -> None:
        """Take ``RX:  bytes packets errors …``, or ``RX errors: length …``, before its counters."""
        direction = words.word().removesuffix(":")
        names = list(words)
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
        found = dict(zip(names, words, strict=False))
        rounded = {name: word for name, word in found.items() if _ROUNDED.fullmatch(word)}
        counts = {name: number(word, digits=20) for name, word in found.items() if name not in rounded}
        counters = self._into.setdefault("stats64", {}).setdefault(direction, {})
        if len(words) != len(names) or counters.keys() & set(names):
            raise NotUnderstood
        counters.update(counts)
        if rounded:
            self._into.setdefault("rounded", {}).setdefault(direction, {}).update(rounded)
        self._left.pop()


def _behind(word: str, text: str) -> str:
    """Return the rest of the line, which is free text."""
    rest = text.partition(word)[2]
    if not rest:
        raise NotUnderstood
    return rest
