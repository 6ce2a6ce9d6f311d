"""The parsers of `ip link` and `ip addr`: captures as a person reads them, and nothing guessed."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import fields, is_dataclass, replace
from ipaddress import IPv4Address, IPv4Interface, ip_interface
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from captures import assert_linear, captures, expected, stripped, text_of
from cases import for_each
from ip_links_output import (
    coloured,
    listings,
    only_addresses,
    only_brief,
    printed,
    printed_brief,
    printed_json,
    printed_one_addresses,
    without_details,
    without_stats,
)
from ipvkit.core.errors import UnparsableOutput
from ipvkit.report.ip import links_in
from ipvkit.report.plain import plain
from ipvkit.tools.ip import Address, Link, parse_addresses, parse_links
from strategies import JSON_VALUES, mutated_text

Parser = Callable[[str], tuple[Link, ...]]

CAPTURES = [*captures("link-"), *captures("addr-")]
SMALL = [capture for capture in CAPTURES if 3 < capture.stat().st_size < 3000]
PIECES = (
    "@",
    ":",
    "<",
    ">",
    "/",
    "\\    ",
    "    ",
    "inet ",
    "link/",
    "RX:",
    "peer ",
    "-1",
    "٣",
    "\x1b[31m",
    "\r",
)


def parser_of(capture: Path) -> Parser:
    return parse_links if capture.stem.startswith("link") else parse_addresses


def one(text: str) -> Link:
    (link,) = parse_addresses(text)
    return link


# --- captures -----------------------------------------------------------------------------------------


@for_each(("capture", "answer"), [pair for kind in ("link-", "addr-") for pair in expected(kind)])
def test_a_capture_is_read_as_a_person_reads_it(capture: Path, answer: Any) -> None:
    assert stripped(plain(parser_of(capture)(text_of(capture)))) == answer


@for_each("capture", CAPTURES)
def test_nothing_of_a_capture_is_left(capture: Path) -> None:
    links = parser_of(capture)(text_of(capture))
    assert [line for link in links for line in link.unrecognised] == []


@for_each("parse", [parse_links, parse_addresses])
@for_each("capture", [*captures("error-"), *captures("help")])
def test_what_is_no_listing_is_unparsable(capture: Path, parse: Parser) -> None:
    text = text_of(capture)
    for stdout in (text, f"{text}[]\n", f"1: lo: <LOOPBACK> mtu 65536\n{text}"):
        with pytest.raises(UnparsableOutput):
            parse(stdout)


# --- the same state in two forms ----------------------------------------------------------------------

LIVE = ("gc_timer", "hello_timer", "forward_delay_timer", "fdb_n_learned")
"""What goes on between two captures."""

PLAIN_LEAVES_OUT = {
    "vxlan": {"external", "learning", "proxy", "rsc", "l2miss", "l3miss", "udp_csum", "udp_zero_csum6_tx"}
    | {"udp_zero_csum6_rx", "remcsum_tx", "remcsum_rx", "localbypass", "df"},
    "tun": {"multi_queue"},
    "geneve": {"df"},
    **{kind: {"pmtudisc"} for kind in ("gre", "gretap", "erspan")},
}
"""The switches of which the plain form tells only where they are not as at first."""

FORMS: dict[str, tuple[str, Callable[[Link], Link]]] = {
    "plain": ("json", lambda link: link),
    "oneline": ("json", lambda link: link),
    "colour": ("json", lambda link: link),
    "json-pretty": ("json", lambda link: link),
    "brief": ("json", only_brief),
    "brief-details": ("json", only_brief),
    "details": ("json-details", lambda link: link),
    "oneline-details": ("json-details", lambda link: link),
    "statistics": ("json-statistics", lambda link: link),
    "statistics-twice": ("json-statistics-twice", lambda link: link),
}
"""Each form, the one of ip -json that it is compared with, and what of that one it prints."""


def steady(link: Link) -> Link:
    """Return what stays the same between a plain capture and one of ip -json, and is in both."""
    silent = PLAIN_LEAVES_OUT.get(link.kind or "", set())
    slave = link.details.get("info_slave_data", {})
    details = {key: value for key, value in link.details.items() if key != "info_slave_data"}
    return replace(
        link,
        # The plain form has the name of a namespace where it has one, ip -json always its id.
        link_netns=None,
        link_netnsid=None,
        # ip -json leaves out the ttl of a vxlan or geneve that is the inner packet's.
        info_data={
            k: v
            for k, v in link.info_data.items()
            if k not in (*LIVE, *silent) and (k, v) != ("ttl", "inherit")
        },
        details=details | {f"port {k}": v for k, v in slave.items() if k not in LIVE},
        # With one -s the plain form has missed_errors where ip -json has over_errors.
        stats={way: dict.fromkeys(counters.keys() - MISSED, 0) for way, counters in link.stats.items()},
        addresses=tuple(
            replace(a, valid_lft=bool(a.valid_lft), preferred_lft=bool(a.preferred_lft))
            for a in link.addresses
        ),
    )


MISSED = {"missed_errors", "over_errors"}


def pairs() -> Iterator[tuple[Path, Path, Callable[[Link], Link]]]:
    for capture in CAPTURES:
        for form, (other, shown) in FORMS.items():
            stem = capture.stem.removesuffix(f"-{form}")
            partner = capture.with_stem(f"{stem}-{other}")
            if stem != capture.stem and partner.exists():
                yield capture, partner, shown
            elif (
                form == "plain"
                and stem != capture.stem
                and capture.with_stem(f"{stem}-json-details").exists()
            ):
                yield capture, capture.with_stem(f"{stem}-json-details"), without_details


def of_form(capture: Path, link: Link, shown: Callable[[Link], Link]) -> Link:
    if shown is only_brief:
        return only_brief(link, addresses=capture.stem.startswith("addr"))
    if "oneline" in capture.stem and capture.stem.startswith("addr"):
        return only_addresses(link)
    return shown(link)


@for_each(("capture", "partner", "shown"), list(pairs()))
def test_each_form_tells_the_same(capture: Path, partner: Path, shown: Callable[[Link], Link]) -> None:
    parse = parser_of(capture)
    links = [of_form(capture, link, shown) for link in parse(text_of(partner))]
    if "oneline" in capture.stem and capture.stem.startswith("addr"):
        links = [link for link in links if link.addresses]
    found = parse(text_of(capture))
    assert [steady(link) for link in found] == [steady(link) for link in links]
    for link, its in zip(found, links, strict=True):
        assert link.link_netns is not None or link.link_netnsid == its.link_netnsid


def test_most_captures_have_a_partner() -> None:
    assert len(list(pairs())) > 120


def test_timestamps_are_for_ip_monitor_only() -> None:
    plain_one, timestamps = captures("link-loopback-plain"), captures("link-timestamps")
    assert parse_links(text_of(*timestamps)) == parse_links(text_of(*plain_one))


# --- whatever there is, in each form ------------------------------------------------------------------


@given(listings())
def test_links_are_read_back_from_each_form(links: tuple[Link, ...]) -> None:
    silent = tuple(without_stats(link) for link in links)
    bare = tuple(without_details(link) for link in silent)
    assert parse_links(printed_json(links)) == links
    assert parse_links(printed(links)) == links
    assert parse_links(printed(links, end="\\")) == links
    assert parse_links(printed(silent)) == silent
    assert parse_links(printed(bare)) == bare
    assert parse_links(coloured(printed(bare))) == bare
    assert parse_links(printed(bare, end="\\")) == bare
    assert parse_links(printed_brief(links)) == tuple(only_brief(link) for link in links)


@given(listings(addresses=True))
def test_addresses_are_read_back_from_each_form(links: tuple[Link, ...]) -> None:
    brief = tuple(only_brief(link, addresses=True) for link in links)
    alone = tuple(only_addresses(link) for link in links if link.addresses)
    assert parse_addresses(printed_json(links)) == links
    assert parse_addresses(printed(links)) == links
    assert parse_addresses(printed_brief(links, addresses=True)) == brief
    assert parse_addresses(printed_one_addresses(links)) == alone


@given(listings(addresses=True))
def test_crlf_is_a_line_end(links: tuple[Link, ...]) -> None:
    assert parse_addresses(printed(links).replace("\n", "\r\n")) == links


@for_each("capture", [c for c in CAPTURES if "json" not in c.stem])
def test_an_indented_capture_reads_the_same(capture: Path) -> None:
    """As it is where it was pasted into a document."""
    parse, text = parser_of(capture), text_of(capture)
    assert parse(re.sub("(?m)^(?=.)", "      ", text)) == parse(text)


@given(listings(addresses=True), st.sampled_from("\n\\"), st.text(" \t"), st.text(" \t"))
def test_links_are_told_by_their_headers_whatever_the_indent(
    links: tuple[Link, ...], end: str, outer: str, inner: str
) -> None:
    lines = [(inner if line[0] == " " else outer) + line for line in printed(links, end=end).splitlines()]
    assert parse_addresses("".join(f"{line}\n" for line in lines)) == links


def test_a_header_that_is_cut_is_not_of_the_link_before() -> None:
    address = "        inet 192.0.2.1/24 scope global eth1\n"
    with pytest.raises(UnparsableOutput):
        parse_addresses(f"    {HEADER}    3: eth1: mtu 1500\n{address}")


def test_an_alias_in_one_line_is_no_header() -> None:
    link = one(f"{HEADER[:-1]}\\    alias x\\    3: y: <UP> mtu 9\n")
    assert (link.ifname, link.unrecognised) == ("eth0", ("    3: y: <UP> mtu 9",))


# --- forms of other versions --------------------------------------------------------------------------

OLD = """\
1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN mode DEFAULT group default
    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00 promiscuity 0 addrgenmode eui64 numtxqueues 1
    RX: bytes  packets  errors  dropped overrun mcast
    1500       12       1       2       3       4
    RX errors: length   crc     frame   fifo    missed
               5        6       7       8       9
    TX: bytes  packets  errors  dropped carrier collsns
    2500       22       0       0       0       0
    TX errors: aborted  fifo   window heartbeat transns
               1        2       3       4       5
5: test1@if2: <NO-CARRIER,BROADCAST,MULTICAST,UP,M-DOWN> mtu 1500 qdisc noop state LOWERLAYERDOWN group 9
    link/ether 02:00:00:00:00:01 brd ff:ff:ff:ff:ff:ff link-netnsid 0 promiscuity 0
    ipvlan  mode l3s numtxqueues 1 numrxqueues 1 gso_max_size 65536 gso_max_segs 65535
"""
"""As iproute2 4.x prints them: other columns, no altnames, no minmtu, no flag of ipvlan."""


def test_an_old_version_is_read() -> None:
    lo, test1 = parse_links(OLD)
    assert (lo.unrecognised, test1.unrecognised) == ((), ())
    assert lo.stats["rx"] == {
        **{"bytes": 1500, "packets": 12, "errors": 1, "dropped": 2, "over_errors": 3, "multicast": 4},
        **{"length_errors": 5, "crc_errors": 6, "frame_errors": 7, "fifo_errors": 8, "missed_errors": 9},
    }
    assert lo.stats["tx"]["heartbeat_errors"] == 4
    assert lo.stats["tx"]["carrier_changes"] == 5
    assert (test1.parent, test1.parent_index, test1.link_netnsid) == (None, 2, 0)
    assert (test1.kind, test1.mode, test1.flag, test1.group) == ("ipvlan", "l3s", None, "9")
    assert test1.flags[-1] == "M-DOWN"


def test_an_index_is_a_name_where_a_link_is_called_so() -> None:
    text = (
        "7: if2: <UP> mtu 1500\n8: x@if2: <UP> mtu 1500\n9: y@if3: <UP> mtu 1500\n10: sit0@NONE: <> mtu 1\n"
    )
    found = [(link.parent, link.parent_index) for link in parse_links(text)]
    assert found == [(None, None), ("if2", None), (None, 3), (None, None)]
    shown = [{"ifname": "if2"}, {"ifname": "x", "link": "if2"}, {"ifname": "y", "link": "if3"}]
    found = [(link.parent, link.parent_index) for link in parse_links(json.dumps([*shown, {}]))]
    assert found == [(None, None), ("if2", None), (None, 3)]


HEADER = "2: eth0: <UP> mtu 1500 qdisc mq state UP mode DEFAULT group default qlen 1000\n"
NIC = f"{HEADER}    link/ether 02:00:00:00:00:01 brd ff:ff:ff:ff:ff:ff promiscuity 0 numtxqueues 1 \n"
DETAILED = f"{HEADER}    link/ether 02:00:00:00:00:01 brd ff:ff:ff:ff:ff:ff promiscuity 0 \n"
PORT = f"{DETAILED}    bond_slave state ACTIVE mii_status UP link_failure_count 0 numtxqueues 8 \n"


@pytest.mark.parametrize(
    ("text", "details"),
    [
        (f"{NIC}    prog/xdp id 7 name drop tag 57cd311f2e27366b jited \n".replace("mtu", "xdp mtu"),
         {"xdp": {"mode": 1, "prog": {"id": 7, "name": "drop", "tag": "57cd311f2e27366b", "jited": 1}}}),
        (NIC.replace("qdisc", "xdpgeneric/id:7 qdisc"), {"xdp": {"mode": 2, "prog": {"id": 7}}}),
        (NIC.replace(" brd ", " peer "), {"link_pointtopoint": True}),
        (NIC.replace(" promiscuity", " permaddr 02:00:00:00:00:02 promiscuity"),
         {"permaddr": "02:00:00:00:00:02"}),
        (NIC.replace(" promiscuity", " new-netns blue new-ifindex 4 promiscuity"),
         {"new_netns": "blue", "new_ifindex": 4}),
        (NIC.replace(" promiscuity", " protodown on protodown_reason <vrrp,bgp> promiscuity"),
         {"proto_down": True, "proto_down_reason": ["vrrp", "bgp"]}),
        (NIC.replace("numtxqueues", "netns-immutable numtxqueues"), {"netns-immutable": True}),
        (PORT, {"info_slave_kind": "bond", "num_tx_queues": 8,
                "info_slave_data": {"state": "ACTIVE", "mii_status": "UP", "link_failure_count": 0}}),
        (f"{DETAILED}    team_slave numtxqueues 8 \n", {"info_slave_kind": "team", "num_tx_queues": 8}),
    ],
)  # fmt: skip
def test_what_else_a_link_has_is_in_its_details(text: str, details: dict[str, Any]) -> None:
    link = one(text)
    assert link.unrecognised == ()
    assert {key: link.details[key] for key in details} == details
    assert (link.group, link.kind) == ("default", None)


def test_each_link_has_a_program_of_its_own() -> None:
    text = "".join(
        NIC.replace("2: eth0: <UP>", f"{at}: eth{at}: <UP> xdp") + f"    prog/xdp id {at} \n" for at in (7, 8)
    )
    assert [link.details["xdp"]["prog"]["id"] for link in parse_links(text)] == [7, 8]


@pytest.mark.parametrize(
    ("line", "data"),
    [
        ("vlan protocol 802.1Q id 5 <REORDER_HDR> \n      ingress-qos-map { 1:2 3:4 } \n"
         "      egress-qos-map { 0:1 } numtxqueues 1",
         {"protocol": "802.1Q", "id": 5, "flags": ["REORDER_HDR"], "egress_qos": [{"from": 0, "to": 1}],
          "ingress_qos": [{"from": 1, "to": 2}, {"from": 3, "to": 4}]}),
        ("macvlan mode source nodst remotes (2) 02:00:00:00:00:aa 02:00:00:00:00:bb numtxqueues 1",
         {"nodst": True, "macaddr_count": 2, "macaddr_data": ["02:00:00:00:00:aa", "02:00:00:00:00:bb"]}),
        ("vxlan id 7 group 239.1.1.1 local 2001:db8::1 dev eth0 srcport 1 2 dstport 4789 nolearning l2miss "
         "noudpcsum ttl 5 ageing none gbp numtxqueues 1",
         {"id": 7, "group": "239.1.1.1", "local6": "2001:db8::1", "link": "eth0",
          "port_range": {"low": 1, "high": 2}, "port": 4789, "learning": False, "l2miss": True,
          "udp_csum": False, "ttl": 5, "ageing": 0, "gbp": True}),
        ("tun type tap pi off vnet_hdr on multi_queue numqueues 2 numdisabled 0 persist on user 1000 "
         "group net numtxqueues 1",
         {"type": "tap", "pi": False, "vnet_hdr": True, "multi_queue": True, "numqueues": 2, "numdisabled": 0,
          "persist": True, "user": 1000, "group": "net"}),
        ("bond mode 802.3ad arp_ip_target 192.0.2.1,192.0.2.2 arp_validate none ad_aggregator 1 "
         "ad_num_ports 2 ad_partner_mac 00:00:00:00:00:00 numtxqueues 1",
         {"mode": "802.3ad", "arp_ip_target": ["192.0.2.1", "192.0.2.2"], "arp_validate": None,
          "ad_info": {"aggregator": 1, "num_ports": 2, "partner_mac": "00:00:00:00:00:00"}}),
        ("wireguard numtxqueues 1", {}),
    ],
    ids=lambda value: value.split()[0] if isinstance(value, str) else "",
)  # fmt: skip
def test_what_a_kind_of_link_has(line: str, data: dict[str, Any]) -> None:
    link = one(f"{DETAILED}    {line} \n    alias x\n")
    assert (link.unrecognised, link.alias, link.details["num_tx_queues"]) == ((), "x", 1)
    assert link.kind == line.split()[0]
    assert link.info_data == data


# --- what is not understood ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line", "right"),
    [
        (f"{HEADER[:-1]} colour blue\n", HEADER[:-1] + " colour blue", {"txqlen": 1000}),
        (HEADER.replace("state UP", "state 0x9mode"), "", {"qdisc": "mq", "operstate": None, "group": None}),
        (HEADER.replace("mtu 1500", "mtu many"), "", {"mtu": None, "qdisc": None, "flags": ("UP",)}),
        (f"{DETAILED}    gtp role sgsn numtxqueues 4\n", "    gtp role sgsn numtxqueues 4", {"kind": "gtp"}),
        (f"{DETAILED}    ipvlan  mode l2 bridge blue\n", "", {"mode": "l2", "flag": "bridge"}),
        (f"{DETAILED}    macvlan mode source remotes (2) 02:00:00:00:00:aa\n", "", {"mode": "source"}),
        (f"{NIC}    vf 0     link/ether 02:00:00:00:00:0a, vlan 5\n", "", {"kind": None}),
        (HEADER.replace("mtu 1500", "mtu 1500 mtu 9000"), "", {"mtu": 1500, "qdisc": None}),
        (f"{HEADER}    inet 192.0.2.300/24 scope global eth0\n", "", {"addresses": ()}),
        (f"{HEADER}    inet 192.0.2.3/33 scope global eth0\n", "", {"addresses": ()}),
        (f"{HEADER}    inet6 fe80::1%eth0/64 scope link \n", "", {"addresses": ()}),
        (f"{HEADER}    inet6 192.0.2.1/24 scope link \n", "", {"addresses": ()}),
        (f"{HEADER}    inet6 fe80::1/64 scope link blue \n", "", {}),
        (f"{HEADER}    mctp 8 net 1 eth0\n", "", {"addresses": ()}),
        (f"{HEADER}       valid_lft forever preferred_lft forever\n", "", {"addresses": ()}),
        (f"{HEADER}    RX: bytes  packets  blue\n", "", {"stats": {}}),
        (f"{HEADER}    altname \n", "    altname ", {"altnames": ()}),
        (f"$ ip link\n\n{HEADER}", "$ ip link", {"txqlen": 1000}),
        (f"{HEADER}$ ", "$ ", {"txqlen": 1000}),
        ("eth0 UP 192.0.2.1/24 blue \n", "eth0 UP 192.0.2.1/24 blue ", {"operstate": "UP"}),
    ],
)  # fmt: skip
def test_a_line_that_is_not_understood_is_kept_whole(text: str, line: str, right: dict[str, Any]) -> None:
    link = one(text)
    assert link.unrecognised == (line or text.rstrip("\n").split("\n")[-1],)
    assert {key: getattr(link, key) for key in right} == right


def test_the_counters_of_a_virtual_function_are_not_the_links() -> None:
    counters = "    RX: bytes  packets  mcast   bcast \n    1 2 3 4\n    TX: bytes  packets \n    5 6\n"
    link = one(f"{NIC}    vf 0     link/ether 02:00:00:00:00:0a brd ff:ff:ff:ff:ff:ff\n{counters}")
    assert link.stats == {}
    assert len(link.unrecognised) == 5


def test_the_counters_that_fit_no_columns_are_kept_with_their_columns() -> None:
    title, numbers = "    RX:  bytes packets errors", "       1.5k      10"
    for line in (numbers, "       15      10", f"       {'9' * 21} 1 2", "    alias x"):
        link = one(f"{HEADER}{title}\n{line}\n")
        assert link.stats.get("rx", {}) == {}
        assert link.unrecognised[0] == title


def test_a_counter_that_ip_has_rounded_is_not_taken_for_what_was_counted() -> None:
    link = one(f"{HEADER}    RX:  bytes packets errors\n       1.47M    1.1ki      7\n")
    assert link.stats == {"rx": {"errors": 7}}
    assert link.details["rounded"] == {"rx": {"bytes": "1.47M", "packets": "1.1ki"}}
    assert link.unrecognised == ()


def test_counters_that_come_twice_are_kept_the_second_time() -> None:
    counters = "    RX:  bytes packets errors\n       15      10      0\n"
    link = one(f"{HEADER}{counters}{counters.replace('15', '16')}")
    assert link.stats["rx"]["bytes"] == 15
    assert len(link.unrecognised) == 2


@pytest.mark.parametrize(
    "line", ["valid_lft 9sec", "valid_lft 9sec preferred_lft 8", "valid_lft 9 preferred_lft 8"]
)
def test_lifetimes_count_together(line: str) -> None:
    link = one(f"{HEADER}    inet 192.0.2.1/24 scope global eth0\n       {line}\n")
    assert (link.addresses[0].valid_lft, link.addresses[0].preferred_lft) == (None, None)
    assert link.unrecognised == (f"       {line}",)


def test_lifetimes_are_of_the_line_before() -> None:
    forever = "       valid_lft forever preferred_lft forever\n"
    ninth = "       valid_lft 9sec preferred_lft 9sec\n"
    link = one(f"{HEADER}    inet 192.0.2.1/24 scope global eth0\n{forever}{ninth}")
    assert link.addresses[0].valid_lft is None
    assert link.unrecognised == (ninth[:-1],)


@pytest.mark.parametrize(
    ("words", "flags"), [("", ()), (" dynamic", ("dynamic",)), (" secondary", ("secondary",))]
)
def test_a_label_can_be_any_word(words: str, flags: tuple[str, ...]) -> None:
    line = f"    inet 192.0.2.1/24 scope global{words} dynamic"
    for text in (f"2: dynamic: <UP>\n{line}\n", f"2: dynamic{line}\n"):
        (address,) = one(text).addresses
        assert (address.label, address.flags) == ("dynamic", flags)
    v6 = one("2: dynamic: <UP>\n    inet6 fe80::1/64 scope link dynamic\n").addresses[0]
    assert (v6.label, v6.flags) == (None, ("dynamic",))


def test_lines_behind_one_that_is_not_understood_are_no_ones() -> None:
    lines = "    link/ether 02:00:00:00:00:01\n    inet 192.0.2.1/24 scope global eth0\n"
    link = one(f"{HEADER}what?\n{lines}")
    assert (link.lladdr, link.addresses) == (None, ())
    assert len(link.unrecognised) == 3


@for_each(
    "text",
    [
        "what?\n",
        "\\    eth0 UP",
        "eth0 is UP\n",
        "2: eth0@a@b: <UP> mtu 1500\n",
        "2: eth0 <UP> mtu 1500\n",
        "2: et\u2028h0: <UP> mtu 1500\n",
        f"{HEADER}3: eth1: mtu 1500\n",
        f"{'9' * 5000}: eth0: <UP> mtu 1500\n",
        "2: eth0: <UP,LOWER_",
        "eth0 U",
        "    link/ether 02:00:00:00:00:01 brd ff:ff:ff:ff:ff:ff\n",
        f"{HEADER}RTNETLINK answers: No such device\n",
        f'{HEADER}Device "x" does not exist.\n',
        "[]]",
        "[1]",
        "[[]]",
        '[{"ifindex": 1}]',
        '[{"ifname": "a", "mtu": true}]',
        '[{"ifname": "a", "mtu": 1.5}]',
        '[{"ifname": "a", "x": NaN}]',
        '[{"ifname": "a", "x": 1e999}]',
        '[{"ifname": "a", "addr_info": [{"family": "inet", "local": "192.0.2.1"}]}]',
        '[{"ifname": "a", "addr_info": [{"family": "inet6", "local": "192.0.2.1", "prefixlen": 24}]}]',
        '[{"ifname": "a", "stats": {"rx": {"bytes": "1"}}}]',
        f'[{{"ifname": "a", "mtu": {"9" * 5000}}}]',
        "[" * 100_000,
        '[{"a":' * 100_000,
        "\0",
    ],
)
def test_what_is_no_list_of_links_is_unparsable(text: str) -> None:
    for parse in (parse_links, parse_addresses):
        with pytest.raises(UnparsableOutput) as problem:
            parse(text)
        assert problem.value.line_number >= 1


@pytest.mark.parametrize(
    "text", ["", "\n", " \n\r\n", "[]", "[{},{}]", '[{"addr_info":[]},{"addr_info":[{}]}]']
)
def test_nothing_listed_is_no_link(text: str) -> None:
    assert parse_links(text) == parse_addresses(text) == ()


def test_an_address_of_another_family_is_kept() -> None:
    infos = [{"family": "mctp", "local": "8"}, {"local": "::1", "prefixlen": 128}]
    link = one(json.dumps([{"ifname": "a", "addr_info": infos}]))
    assert link.unrecognised == (json.dumps(infos[0]),)
    assert link.addresses == (Address(ip_interface("::1/128")),)


def test_the_addresses_of_links_that_are_not_printed_are_those_of_one_without_a_name() -> None:
    info = {"family": "inet", "local": "192.0.2.1", "prefixlen": 24, "scope": "global", "label": "a:x"}
    found = parse_addresses(json.dumps([{"addr_info": [{}, info]}, {"addr_info": []}, {"addr_info": [info]}]))
    address = Address(IPv4Interface("192.0.2.1/24"), scope="global", label="a:x")
    assert found == (Link("", addresses=(address, address)),)
    assert parse_addresses(2 * "    inet 192.0.2.1/24 scope global a:x\n") == found
    assert found[0].ipv4 == (address.address, address.address)


def test_with_o_and_json_the_addresses_name_their_link() -> None:
    info = {"index": 4, "dev": "a", "family": "inet", "local": "192.0.2.1", "prefixlen": 24}
    link = one(json.dumps([{"addr_info": [info]}]))
    assert (link.ifname, link.ifindex, link.addresses[0].details) == ("a", 4, {})


def test_an_old_one_line_form_has_the_link_and_then_its_addresses() -> None:
    address = "2: eth0    inet 192.0.2.1/24 scope global eth0\\       valid_lft forever preferred_lft 9sec\n"
    link = one(f"{HEADER[:-1]}\\    link/ether 02:00:00:00:00:01 brd ff:ff:ff:ff:ff:ff\n{address}{address}")
    assert (link.mtu, link.lladdr, len(link.addresses), link.unrecognised) == (
        1500,
        "02:00:00:00:00:01",
        2,
        (),
    )
    assert {address.preferred_lft for address in link.addresses} == {9}


# --- whatever comes -----------------------------------------------------------------------------------


def has_its_types(value: Any) -> bool:
    """Return whether each field of a link or an address has the type that it is declared with."""
    checks: dict[str, Callable[[Any], bool]] = {
        "str": lambda v: isinstance(v, str),
        "str | None": lambda v: v is None or isinstance(v, str),
        "int | None": lambda v: v is None or (isinstance(v, int) and not isinstance(v, bool)),
        "tuple[str, ...]": lambda v: isinstance(v, tuple) and all(isinstance(item, str) for item in v),
        "tuple[Address, ...]": lambda v: all(has_its_types(item) for item in v),
        "Mapping[str, Mapping[str, int]]": lambda v: all(
            isinstance(count, int) for counters in v.values() for count in counters.values()
        ),
        "Mapping[str, Any]": lambda v: isinstance(v, dict),
        "IPv4Address | None": lambda v: v is None or isinstance(v, IPv4Address),
        "IPv4Interface | IPv6Interface": lambda v: hasattr(v, "network"),
        "IPv4Interface | IPv6Interface | None": lambda v: v is None or hasattr(v, "network"),
    }
    return is_dataclass(value) and all(
        checks[_type_name(field.type)](getattr(value, field.name)) for field in fields(value)
    )


def _type_name(declared: Any) -> str:
    named = (
        declared.__name__ if isinstance(declared, type) and not hasattr(declared, "__args__") else declared
    )
    text = str(named)
    for module in ("typing.", "collections.abc.", "ipaddress.", "ipvkit.tools.ip.link."):
        text = text.replace(module, "")
    return text


def reads_or_refuses(parse: Parser, stdout: str) -> None:
    with suppress(UnparsableOutput):
        assert all(has_its_types(link) for link in parse(stdout))


@given(st.text() | JSON_VALUES.map(json.dumps) | st.lists(JSON_VALUES).map(json.dumps))
def test_arbitrary_text_is_read_or_unparsable(stdout: str) -> None:
    for parse in (parse_links, parse_addresses):
        reads_or_refuses(parse, stdout)


@given(
    st.lists(st.sampled_from([line for text in (OLD, NIC, PORT) for line in text.splitlines()]) | st.text())
)
@example(["1: a: <UP>", "    \ud800 \0"])
def test_lines_in_any_order_are_read_or_unparsable(lines: list[str]) -> None:
    reads_or_refuses(parse_addresses, "\n".join(lines))


@settings(max_examples=4 * settings().max_examples)
@given(st.sampled_from(SMALL), st.data())
def test_a_mangled_capture_is_read_or_unparsable(capture: Path, data: st.DataObject) -> None:
    reads_or_refuses(parser_of(capture), data.draw(mutated_text(text_of(capture), PIECES)))


OTHER_VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    1e308,
    "",
    "x",
    "192.0.2.1/24",
    [],
    [None],
    [[]],
    {},
    {"a": None},
)


def with_other(value: Any, other: Any) -> Iterator[Any]:
    """Yield `value` with `other` in place of each thing in it, at any depth, and with each left out."""
    yield other
    if isinstance(value, list | dict):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            for changed in with_other(value[key], other):
                copy = value.copy()
                copy[key] = changed
                yield copy
            copy = value.copy()
            del copy[key]
            yield copy


@pytest.mark.parametrize(
    "stem", ["link-macvlan-source-json-details", "addr-tentative-json", "link-veth-json-statistics"]
)
def test_a_capture_with_another_value_in_it_is_read_or_unparsable(stem: str) -> None:
    capture = next(capture for capture in CAPTURES if capture.stem == stem)
    for other in OTHER_VALUES:
        for changed in with_other(json.loads(text_of(capture)), other):
            reads_or_refuses(parser_of(capture), json.dumps(changed))


# --- what was cut -------------------------------------------------------------------------------------


@given(st.sampled_from([capture for capture in CAPTURES if "json" in capture.stem]), st.data())
def test_json_that_ends_early_is_unparsable(capture: Path, data: st.DataObject) -> None:
    whole = text_of(capture).rstrip()
    with pytest.raises(UnparsableOutput):
        parser_of(capture)(whole[: data.draw(st.integers(1, len(whole) - 1))])


def is_part(part: Any, whole: Any, *, cut: bool = False) -> bool:
    """Return whether everything in `part` is in `whole`, of which a `cut` value may be the beginning."""
    if is_dataclass(part):
        names = [field.name for field in fields(part) if field.name != "unrecognised"]
        return all(is_part(getattr(part, name), getattr(whole, name), cut=cut) for name in names)
    if isinstance(part, dict):
        return all(key in whole and is_part(value, whole[key], cut=cut) for key, value in part.items())
    if isinstance(part, tuple | list):
        return len(part) <= len(whole) and all(
            is_part(one, its, cut=cut) for one, its in zip(part, whole, strict=False)
        )
    return part is None or part == whole or (cut and str(whole).startswith(str(part)))


PLAIN = [capture for capture in CAPTURES if "json" not in capture.stem and capture.stat().st_size > 1]


def links_or_none(parse: Parser, text: str) -> tuple[Link, ...]:
    """Return the links, none where the text is unparsable."""
    with suppress(UnparsableOutput):
        return parse(text)
    return ()


def check_cut(parse: Parser, text: str, at: int) -> None:
    """Fail where the text, cut there, is misread: what comes before its last line must be as in the whole."""
    lines = text[:at].split("\n")
    before = links_or_none(parse, "".join(f"{line}\n" for line in lines[:-1]))
    found, whole = links_or_none(parse, text[:at]), parse(text)
    assert is_part(before, whole)
    assert is_part(before, found)
    assert is_part(found, whole, cut=True)
    # The titles of the counters are kept as long as these are not there.
    kept = [line for link in found for line in link.unrecognised]
    assert len(kept) <= 2
    assert all(line in re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(lines[-2:])) for line in kept)


@settings(max_examples=3 * settings().max_examples)
@given(st.sampled_from(PLAIN), st.data())
def test_a_listing_that_ends_early_is_not_misread(capture: Path, data: st.DataObject) -> None:
    text = text_of(capture)
    check_cut(parser_of(capture), text, data.draw(st.integers(1, len(text) - 1)))


@pytest.mark.long
@settings(max_examples=2 * settings().max_examples)
@given(listings(addresses=True), st.sampled_from("\n\\"), st.data())
def test_whatever_listing_ends_early_is_not_misread(
    links: tuple[Link, ...], end: str, data: st.DataObject
) -> None:
    text = printed(links, end=end)
    check_cut(parse_addresses, text, data.draw(st.integers(1, len(text) - 1)))


@pytest.mark.long
@for_each("capture", PLAIN)
def test_a_stripped_capture_reads_the_same(capture: Path) -> None:
    parse, text = parser_of(capture), text_of(capture)
    assert parse(text.rstrip()) == parse(text)
    assert parse(text.replace("\n", "\r\n").removesuffix("\n")) == parse(text)


@pytest.mark.long
@pytest.mark.parametrize("end", ["\n", "\\"])
@given(links=listings(addresses=True))
def test_a_listing_without_its_last_newline_reads_the_same(end: str, links: tuple[Link, ...]) -> None:
    # At the end of what `-o` joins it is the half of a joint.
    assume(not any((link.alias or "").endswith("\\") for link in links))
    bare = tuple(without_details(without_stats(link)) for link in links)
    assert parse_addresses(printed(links, end=end).removesuffix("\n")) == links
    assert parse_addresses(printed(bare, end=end).removesuffix("\n")) == bare
    for addresses in (False, True):
        text = printed_brief(links, addresses=addresses)
        assert parse_addresses(text.rstrip()) == parse_addresses(text)
    text = printed_one_addresses(links)
    assert parse_addresses(text.rstrip()) == parse_addresses(text)


@pytest.mark.parametrize(
    ("text", "line", "right"),
    [
        (f"{HEADER}3: eth", "", {}),
        (f"{HEADER}    link/ether 02:00:00:00:00:0", "", {"link_type": "ether", "lladdr": None}),
        (f"{HEADER}    link/ether 02:00:00:00:00:01 bro", "", {"lladdr": "02:00:00:00:00:01"}),
        (f"{HEADER[:-1]}\\   ", None, {"txqlen": 1000}),
        (f"{HEADER[:-1]}\r", None, {"txqlen": 1000}),
        ("2: eth0: <UP> mtu 15", None, {"mtu": 15}),
        ("2: eth0: <UP> mtu 1500 qd", "", {"mtu": 1500, "qdisc": None}),
        ("eth0 UP 192.0.2.1/24 2001:db8::", "", {"operstate": "UP"}),
        ("eth0 UP 02:00:00:00:00:01 <UP", "", {"flags": (), "lladdr": None}),
        ("eth0 UP 192.0.2.1/2", None, {"addresses": (Address(ip_interface("192.0.2.1/2")),)}),
        (f"{DETAILED}    bridge", "", {"kind": None}),
        (f"{HEADER}    RX:  bytes packets errors", "", {"stats": {}}),
    ],
)  # fmt: skip
def test_the_end_of_an_output_that_was_cut_is_read_as_far_as_it_goes(
    text: str, line: str | None, right: dict[str, Any]
) -> None:
    link = one(text)
    assert link.unrecognised == (() if line is None else (line or text.split("\n")[-1],))
    assert {key: getattr(link, key) for key in right} == right


@pytest.mark.parametrize("word", ["dyn", "eth", "secondar"])
def test_the_beginning_of_a_flag_is_no_label(word: str) -> None:
    line = f"    inet 192.0.2.1/24 scope global {word}"
    link = one(f"{HEADER}{line}")
    assert (link.addresses[0].label, link.unrecognised) == (None, (line,))
    assert one(f"{HEADER}{line}\n").addresses[0].label == word
    assert one(f"{HEADER}{line} eth0").unrecognised == (line + " eth0",)
    assert one(f"{HEADER}    inet 192.0.2.1/24 scope global eth0:1").addresses[0].label == "eth0:1"


def test_lifetimes_that_were_cut_are_none() -> None:
    address = f"{HEADER}    inet 192.0.2.1/24 scope global eth0\n       valid_lft 9sec preferred_lft "
    assert one(f"{address}8sec").addresses[0].preferred_lft == 8
    assert one(f"{address}8se").addresses[0].valid_lft is None


# --- hostile ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", ["9" * 13, "9" * 5000, "-1", "1e9", "0x10", "+5", "1_000", "٣", "²"])
def test_a_number_that_is_none_is_no_number(number: str) -> None:
    assert one(HEADER.replace("1500", number)).mtu is None
    assert one(f"{DETAILED.replace('promiscuity 0', f'promiscuity {number}')}").details == {}
    assert one(f"{HEADER}    inet 192.0.2.1/{number} scope global eth0\n").addresses == ()
    with pytest.raises(UnparsableOutput):
        parse_links(HEADER.replace("2:", f"{number}:", 1))


LONG: dict[str, str | Callable[[int], str]] = {
    "links": lambda size: "".join(NIC.replace("2: eth0", f"{at}: eth{at}") for at in range(1, size // 99)),
    "brief": lambda size: "".join(f"eth{at:<13} UP {'':11} 192.0.2.1/24 \n" for at in range(size // 44)),
    "json": lambda size: json.dumps([{"ifname": f"eth{at}", "link": f"if{at}"} for at in range(size // 40)]),
    "noise": f"|what?\n|{HEADER}",
    "blanks": f"x| |y\n{HEADER}",
    "brackets": f"{HEADER}    |<|\n",
    "slashes": f"{HEADER}    |/|\n",
    "backslashes": f"{HEADER[:-1]}|{chr(92)}|\n",
    "flags": f"{HEADER}    inet 192.0.2.1/24| dynamic| eth0\n",
    "escapes": f"|\x1b[|\n{HEADER}",
    "a word": f"|x|\n{HEADER}",
}


@pytest.mark.long
@pytest.mark.parametrize("name", LONG)
def test_the_time_is_linear(name: str) -> None:
    assert_linear(parse_addresses, LONG[name])


def test_a_parent_in_another_namespace_is_named_by_its_number_and_its_mac() -> None:
    def shown(*links: tuple[str, int, int | None, int]) -> str:
        return json.dumps(
            [
                {"ifname": name, "ifindex": index, "address": f"02:00:00:00:00:0{mac}", "flags": []}
                | ({} if parent is None else {"link_index": parent})
                for name, index, parent, mac in links
            ]
        )

    # The link test1 has the number and the MAC address of the parent too; mac0 has another MAC address.
    there = shown(("test1", 2, 2, 1), ("eth0.5", 3, 2, 1), ("mac0", 4, 2, 7), ("other", 5, None, 1))
    found = links_in(None, shown(("eth0", 2, None, 1)), f"netns: test1\n{there}\n")
    assert [(netns, link.ifname, link.parent) for netns, link in found] == [
        (None, "eth0", None),
        ("test1", "test1", "eth0"),
        ("test1", "eth0.5", "eth0"),
        ("test1", "mac0", None),
        ("test1", "other", None),
    ]
