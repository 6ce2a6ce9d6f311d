"""``ipvkit parse``: captures become tables, JSON documents and JSON lines; what is no capture is an error."""

import io
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import test_cli
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from captures import FIXTURES, captures, short, text_of
from command_line import IPVKIT, Called, Piped, wait_until
from documents import REFERENCE
from ipvkit.core.errors import UnparsableOutput
from ipvkit.report.arping import ARPING
from ipvkit.report.bridge import FDB
from ipvkit.report.fping import FPING, Host, hosts
from ipvkit.report.ip import ADDR, LINK, MONITOR, NEIGH, NETNS, ROUTE, RULE, LinkIn
from ipvkit.report.ping import PING
from ipvkit.report.plain import plain
from ipvkit.report.reading import event_line
from ipvkit.tools import arping, ip, ping
from ipvkit.tools.bridge import parse_fdb
from ipvkit.tools.fping import parse_fping
from requires import requires
from strategies import mutated_text

call = test_cli.call

IPUTILS = "iputils-20240905"
BUSYBOX = "busybox-1.37.0"
INETUTILS = "inetutils-2.6"
HABETS = "habets-arping-2.25"
IPROUTE2 = "iproute2-6.15"

FIELDS: dict[str, Callable[[str], dict[str, Any]]] = {
    "ping": lambda text: plain(ping.parse_ping(text)),
    "arping": lambda text: plain(arping.parse_arping(text)),
    "link": lambda text: {"links": [{"netns": None, **plain(link)} for link in ip.parse_links(text)]},
    "addr": lambda text: {"links": plain(ip.parse_addresses(text))},
    "route": lambda text: {"routes": plain(ip.parse_routes(text))},
    "rule": lambda text: {"rules": plain(ip.parse_rules(text))},
    "neigh": lambda text: {"neighbours": plain(ip.parse_neighbours(text))},
    "netns": lambda text: {"namespaces": plain(ip.parse_netns(text))},
    "fdb": lambda text: {"entries": plain(parse_fdb(text))},
    "monitor": lambda text: {"changes": plain(ip.parse_monitor(text))},
    "fping": lambda text: {
        "hosts": [
            {name: plain(getattr(host, name)) for name in Host._fields} for host in parse_fping(text).hosts
        ],
        "unrecognised": list(parse_fping(text).unrecognised),
    },
}
"""What a document of each kind holds beside its schema."""

CAPTURES = {
    "ping": (
        *(f"{IPUTILS}/ping-{name}" for name in ("plain", "loss-middle-O", "name", "killed", "verbose")),
        *(f"{BUSYBOX}/ping-{name}" for name in ("duplicates", "no-network", "odd-wrong-data")),
        *(f"{INETUTILS}/{name}" for name in ("ping-host-unreachable", "ping-record-route", "ping6-plain")),
    ),
    "arping": (
        *(f"{IPUTILS}/arping-{name}" for name in ("plain", "two-hosts", "silent", "device-down")),
        *(f"{BUSYBOX}/arping-{name}" for name in ("plain", "duplicate-in-use")),
        *(f"{HABETS}/arping-{name}" for name in ("plain", "raw", "dots", "audible", "very-verbose")),
    ),
    "link": tuple(f"{IPROUTE2}/link-{name}" for name in ("json-details", "json-pretty", "details", "brief")),
    "addr": tuple(f"{IPROUTE2}/addr-{name}" for name in ("json", "json-pretty", "plain", "brief", "oneline")),
    "route": tuple(f"{IPROUTE2}/route-{name}" for name in ("json-details", "details", "6-json", "6-plain")),
    "neigh": tuple(f"{IPROUTE2}/neigh-{name}" for name in ("json", "plain", "statistics", "proxy-json")),
    "netns": tuple(f"{IPROUTE2}/netns-{name}" for name in ("json", "plain", "list-id-json", "none-plain")),
    "rule": tuple(f"{IPROUTE2}/rule-{name}" for name in ("json", "plain", "many-plain", "many-json")),
    "fdb": tuple(f"{IPROUTE2}/fdb-{name}" for name in ("json", "plain", "dev", "statistics")),
    "monitor": tuple(f"{IPROUTE2}/monitor-{name}" for name in ("plain", "label", "oneline", "timestamps")),
    "fping": tuple(f"fping-5.1/fping-{name}" for name in ("plain", "several", "odd-thrice", "every-reply")),
}
"""Captures of each kind, in whatever form the tool has for it."""

EACH_CAPTURE = [(kind, name) for kind, names in CAPTURES.items() for name in names]


def lines_of(printed: str) -> list[str]:
    """Return the lines with their ends, which only a line feed is."""
    return re.findall(r"[^\n]*\n", printed)


def path(name: str) -> Path:
    return FIXTURES / f"{name}.txt"


def text(name: str) -> str:
    return text_of(path(name))


def document(kind: str, printed: str) -> dict[str, Any]:
    """Return the document that `printed`, the output of a tool, has to become."""
    return {"schema": f"ipvkit/{kind}/v1", "complete": True, **FIELDS[kind](printed)}


@pytest.fixture
def feed(call: Callable[..., Called], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Called]:
    """Return a function that calls ``ipvkit parse WORDS`` with `data` on its stdin."""

    def feed(data: str | bytes, *words: str) -> Called:
        raw = data if isinstance(data, bytes) else data.encode()
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(raw), encoding="utf-8"))
        return call("parse", *words)

    return feed


# --- documents ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "name"), EACH_CAPTURE)
def test_a_capture_becomes_a_document(call: Callable[..., Called], kind: str, name: str) -> None:
    code, out, err = call("parse", kind, str(path(name)), "--json")
    assert (code, err) == (0, "" if text(name) else f"note: {NOTHING_READ}\n")
    assert json.loads(out) == document(kind, text(name))


@pytest.mark.parametrize("kind", CAPTURES)
def test_there_is_something_in_the_documents(kind: str) -> None:
    """Or the comparisons above would be of nothing with nothing."""
    found = [FIELDS[kind](text(name)) for name in CAPTURES[kind]]
    assert sum(any(value not in (None, [], {}, False) for value in fields.values()) for fields in found) >= 3


@pytest.mark.extra
@pytest.mark.long
def test_each_kind_can_be_piped_into_a_process_of_its_own() -> None:
    """All of them at once, since it is Python's start that takes its time."""
    running = {kind: Piped("parse", kind, "--json") for kind in CAPTURES}
    for kind, process in running.items():
        with process:
            process.send(text(CAPTURES[kind][0]))
            code, out, err = process.end()
        assert (kind, code, err) == (kind, 0, "")
        assert json.loads(out) == document(kind, text(CAPTURES[kind][0]))


@pytest.mark.parametrize("kind", CAPTURES)
def test_a_file_stdin_and_a_dash_are_the_same(
    call: Callable[..., Called], feed: Callable[..., Called], kind: str
) -> None:
    name = CAPTURES[kind][0]
    of_file = call("parse", kind, str(path(name)))
    assert of_file[0] == 0
    assert of_file[1]
    assert feed(text(name), kind) == of_file
    assert feed(text(name), kind, "-") == of_file


# --- tables ---------------------------------------------------------------------------------------------

TABLES = {
    "a ping that was answered": (
        "ping",
        f"{IPUTILS}/ping-plain",
        """\
from       said           times    icmp_seq
---------  -------------  -------  ----------
192.0.2.3  reply, ttl 64  3        1-3

ping 192.0.2.3: 3 transmitted, 3 received, 0 % lost; rtt 0.029/0.167/0.436 ms (min/avg/max)
""",
    ),
    "a ping with a gap": (
        "ping",
        f"{IPUTILS}/ping-loss-middle-O",
        """\
from       said           times    icmp_seq
---------  -------------  -------  ----------
192.0.2.3  reply, ttl 64  7        1-3 9-12
           no answer yet  5        4-8

ping 192.0.2.3: 12 transmitted, 7 received, 41.6667 % lost; rtt 0.011/0.047/0.065 ms (min/avg/max)
""",
    ),
    "a ping of a name": (
        "ping",
        f"{IPUTILS}/ping-name",
        """\
from                      said           times    icmp_seq
------------------------  -------------  -------  ----------
peer.example (192.0.2.3)  reply, ttl 64  2        1-2

ping peer.example: 2 transmitted, 2 received, 0 % lost; rtt 0.023/0.031/0.039 ms (min/avg/max)
""",
    ),
    "a ping with errors": (
        "ping",
        f"{IPUTILS}/ping-host-unreachable",
        """\
from       said                          times    icmp_seq
---------  ----------------------------  -------  ----------
192.0.2.2  Destination Host Unreachable  3        1-3

ping 192.0.2.77: 3 transmitted, 0 received, 3 errors, 100 % lost
""",
    ),
    "a ping with errors without a number": (
        "ping",
        f"{INETUTILS}/ping-host-unreachable",
        """\
from       said                          times
---------  ----------------------------  -------
192.0.2.2  Destination Host Unreachable  3

ping 192.0.2.77: 3 transmitted, 0 received, 100 % lost
""",
    ),
    "a ping with duplicates": (
        "ping",
        f"{BUSYBOX}/ping-duplicates",
        """\
from       said           times    icmp_seq
---------  -------------  -------  ----------
192.0.2.1  reply, ttl 64  1        0
192.0.2.2  reply, ttl 64  2        0-1
192.0.2.3  reply, ttl 64  1        0
192.0.2.4  reply, ttl 64  1        0

ping 192.0.2.255: 2 transmitted, 2 received, 3 duplicates, 0 % lost; rtt 0.76/30.235/37.628 ms (min/avg/max)
""",
    ),
    "a ping that nobody answered": (
        "ping",
        f"{IPUTILS}/ping-silent",
        "ping 192.0.2.66: 3 transmitted, 0 received, 100 % lost\n",
    ),
    "a ping that was killed": (
        "ping",
        f"{IPUTILS}/ping-killed",
        """\
from       said           times    icmp_seq
---------  -------------  -------  ----------
192.0.2.3  reply, ttl 64  2        1-2

ping 192.0.2.3: cut off after 2 replies
""",
    ),
    "a ping that could not send": (
        "ping",
        f"{IPUTILS}/ping-no-network",
        """\
from         said                             times
-----------  -------------------------------  -------
ping itself  connect: Network is unreachable  1

ping: it never began
""",
    ),
    "an arping that two hosts answered": (
        "arping",
        f"{IPUTILS}/arping-two-hosts",
        """\
address     lladdr             replies    fastest ms
----------  -----------------  ---------  ------------
192.0.2.97  02:00:00:00:66:02  1          0.569
192.0.2.97  02:00:00:00:66:01  2          0.595

2 hosts have this address
arping 192.0.2.97: 2 sent, 3 received
""",
    ),
    "an arping that nobody answered": (
        "arping",
        f"{BUSYBOX}/arping-silent",
        "arping 192.0.2.77: 2 sent, 0 received\n",
    ),
    "an arping that failed": (
        "arping",
        f"{HABETS}/arping-device-down",
        """\
libnet_init(LIBNET_LINK, down0): libnet_check_iface(): down0 is down
arping: cut off after 0 replies
""",
    ),
    "links of ipvlan": (
        "link",
        f"{IPROUTE2}/link-ipvlan-type-details",
        """\
dev    type    parent    mode    flag    state    mtu    lladdr
-----  ------  --------  ------  ------  -------  -----  -----------------
ipv0   ipvlan  p-l2      l2      bridge  UNKNOWN  1500   2a:d8:b7:f4:37:a5
""",
    ),
    "a link whose parent is elsewhere": (
        "link",
        f"{IPROUTE2}/link-ipvlan-netns-details",
        """\
dev    type    parent    mode    flag    state    mtu    lladdr
-----  ------  --------  ------  ------  -------  -----  -----------------
ipv1   ipvlan  if5       l2      bridge  UNKNOWN  1500   2a:d8:b7:f4:37:a5
""",
    ),
    "addresses": (
        "addr",
        f"{IPROUTE2}/addr-ipvlan-plain",
        """\
dev    address                      scope
-----  ---------------------------  -------
ipv0   192.0.2.70/32                global
ipv0   fe80::2ad8:b700:1f4:37a5/64  link
""",
    ),
    "addresses that expire": (
        "addr",
        f"{IPROUTE2}/addr-dynamic-plain",
        """\
dev     address         scope    flags                            valid for
------  --------------  -------  -------------------------------  -----------
dummy0  203.0.113.9/24  global   secondary dynamic noprefixroute  2992 s
dummy0  2001:db8::2/64  global   nodad deprecated dynamic         2992 s
""",
    ),
    "routes, one of them through two gateways": (
        "route",
        f"{IPROUTE2}/route-plain",
        """\
destination      type         via          dev     src           metric    scope    protocol    flags
---------------  -----------  -----------  ------  ------------  --------  -------  ----------  -------
default                       192.0.2.254  dummy0
default                       192.0.3.254  br0     192.0.3.1     10                 dhcp
default                                    dummy0                20        link
192.0.2.0/24                               dummy0  192.0.2.1               link     kernel
192.0.3.0/24                               br0     192.0.3.1               link     kernel
198.18.1.0/24                 192.0.9.9    dummy0                                               onlink
198.18.2.0/24
                              192.0.2.253  dummy0
                              192.0.3.253  br0
198.18.3.5/32    throw
198.18.3.8/32    prohibit
198.18.3.9/32    blackhole
198.18.3.11/32   unreachable
198.18.4.0/24                 192.0.2.252  dummy0  192.0.2.2                        static
198.18.5.0/24                              br0                             link     openr
198.18.7.0/24                 fe80::1      br0
198.18.8.8/32                              dummy0                          link
198.18.11.0/24                192.0.2.251  dummy0
198.51.100.2/32                            dummy0  198.51.100.1            link     kernel
""",
    ),
    "neighbours": (
        "neigh",
        f"{IPROUTE2}/neigh-delay-plain",
        """\
address     dev    lladdr             state
----------  -----  -----------------  -------
192.0.3.79  br0    02:00:00:00:01:79  DELAY
""",
    ),
    "namespaces": (
        "netns",
        f"{IPROUTE2}/netns-plain",
        """\
netns    id
-------  ----
t-1      0
t-2      1
t-3
""",
    ),
}


@pytest.mark.parametrize(("kind", "name", "table"), TABLES.values(), ids=TABLES)
def test_a_capture_becomes_a_table(call: Callable[..., Called], kind: str, name: str, table: str) -> None:
    assert call("parse", kind, str(path(name))) == (0, table, "")


EMPTY = {
    "link": "no links\n",
    "addr": "no addresses\n",
    "route": "no routes\n",
    "neigh": "no neighbours\n",
    "netns": "no network namespaces\n",
    "rule": "no rules\n",
    "fdb": "no entries\n",
}


NOTHING_READ = "nothing was read; did the tool complain on stderr? try `2>&1 |`"
CUT = "warning: no newline ends the last line; its last value may have been longer\n"


@pytest.mark.parametrize("printed", ["", "\n", "[]\n", "[ ]\n", "[{},{}]\n"], ids=repr)
@pytest.mark.parametrize("kind", EMPTY)
def test_an_empty_list_is_told_in_words(feed: Callable[..., Called], kind: str, printed: str) -> None:
    note = "" if printed else f"note: {NOTHING_READ}\n"
    assert feed(printed, kind) == (0, EMPTY[kind], note)
    code, out, err = feed(printed, kind, "--json")
    assert (code, err) == (0, note)
    assert list(json.loads(out).values()) == [f"ipvkit/{kind}/v1", [], True]


@pytest.mark.parametrize("kind", ["ping", "arping", "fping"])
@pytest.mark.parametrize("mode", [[], ["--stream"]])
def test_nothing_of_a_tool_that_always_prints_is_an_error(
    feed: Callable[..., Called], kind: str, mode: list[str]
) -> None:
    error, hint = NOTHING_READ.split("; ")
    assert feed("", kind, *mode) == (1, "", f"error: {error}\nhint: {hint}\n")


CUT_IN_A_VALUE = {
    "link": "2: eth0: <UP> mtu 65",
    "addr": "    inet 192.0.2.1/2",
    "route": "default via 192.0.2.2",
    "neigh": "192.0.2.1 dev eth",
    "netns": "test",
}
CUT_BEHIND_ONE = {
    "link": "2: eth0: <UP>",
    "addr": "    inet 192.0.2.1/24\n       valid_lft forever preferred_lft forever",
    "route": "default via 192.0.2.2 ",
    "neigh": "192.0.2.1 dev eth0 STALE",
    "netns": "test1 (id: 0)",
}


@pytest.mark.parametrize("kind", CUT_IN_A_VALUE)
def test_a_last_value_that_may_have_been_longer_is_told(feed: Callable[..., Called], kind: str) -> None:
    for printed, complete in ((CUT_IN_A_VALUE[kind], False), (CUT_BEHIND_ONE[kind], True)):
        for ended in (printed, f"{printed}\n"):
            whole = complete or ended != printed
            code, out, err = feed(ended, kind, "--json")
            assert (code, json.loads(out)["complete"], err) == (0, whole, "" if whole else CUT)
            assert feed(ended, kind, "--stream")[2] == ("" if whole else CUT)
            assert feed(ended, kind)[2] == ("" if whole else CUT)


TABLE: dict[str, Callable[[str], str]] = {
    "ping": lambda printed: PING.table(ping.parse_ping(printed)),
    "arping": lambda printed: ARPING.table(arping.parse_arping(printed)),
    "link": lambda printed: LINK.table([LinkIn(None, link) for link in ip.parse_links(printed)]),
    "addr": lambda printed: ADDR.table(ip.parse_addresses(printed)),
    "route": lambda printed: ROUTE.table(ip.parse_routes(printed)),
    "neigh": lambda printed: NEIGH.table(ip.parse_neighbours(printed)),
    "netns": lambda printed: NETNS.table(ip.parse_netns(printed)),
    "rule": lambda printed: RULE.table(ip.parse_rules(printed)),
    "fdb": lambda printed: FDB.table(parse_fdb(printed)),
    "monitor": lambda printed: MONITOR.table(ip.parse_monitor(printed)),
    "fping": lambda printed: FPING.table(parse_fping(printed)),
}


@pytest.mark.long
def test_no_table_shows_what_only_python_says() -> None:
    """What a tool does not print is None, and None is no word of a table."""
    shown = {}
    for kind, table in TABLE.items():
        for capture in captures(f"{kind}-"):
            with suppress(UnparsableOutput):
                shown[short(capture)] = table(text_of(capture))
    assert len(shown) > 600
    assert [
        (name, line) for name, table in shown.items() for line in table.splitlines() if "None" in line
    ] == []


def test_the_same_namespace_may_be_listed_twice(feed: Callable[..., Called]) -> None:
    code, out, err = feed("test1\ntest1 (id: 0)\n", "netns")
    assert (code, err) == (0, "")
    assert sorted(out.splitlines()[2:]) == ["test1", "test1    0"]


def test_lines_that_are_not_understood_are_shown_below_the_table(feed: Callable[..., Called]) -> None:
    code, out, _ = feed(text(f"{IPUTILS}/ping-plain") + "a line of another program\n", "ping")
    assert code == 0
    assert out.endswith(" (min/avg/max)\nnot understood: a line of another program\n")


STRICT = {
    "ping": f"{text(f'{IPUTILS}/ping-plain')}hm\n",
    "link": "1: lo: <UP> mtu 65536 blue\n",
    "route": "default dev eth0 blue\n",
    "fping": f"{text('fping-5.1/fping-plain')}hm\n",
    "fdb": "02:00:00:00:00:01 dev eth0 blue\n",
    "monitor": "[ROUTE]default dev eth0 blue\n",
}


@pytest.mark.parametrize("kind", STRICT)
@pytest.mark.parametrize("mode", [[], ["--json"], ["--stream"]])
def test_strict_ends_with_1_where_a_line_is_not_understood(
    feed: Callable[..., Called], kind: str, mode: list[str]
) -> None:
    loose, strict = feed(STRICT[kind], kind, *mode), feed(STRICT[kind], kind, "--strict", *mode)
    assert (loose[0], strict[0]) == (0, 1)
    assert loose[1:] == strict[1:]
    assert feed(text(CAPTURES[kind][0]), kind, "--strict", *mode)[0] == 0


# --- bytes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "name"), EACH_CAPTURE)
def test_lines_may_end_as_on_a_terminal(feed: Callable[..., Called], kind: str, name: str) -> None:
    code, out, _ = feed(text(name).replace("\n", "\r\n"), kind, "--json")
    assert code == 0
    assert json.loads(out) == document(kind, text(name))


LAST_LINES_THAT_COUNT = (
    *((kind, CAPTURES[kind][0]) for kind in ("ping", "link", "addr", "route", "neigh", "netns")),
    ("arping", f"{HABETS}/arping-plain"),
    ("netns", f"{IPROUTE2}/netns-plain"),
)


@pytest.mark.parametrize(("kind", "name"), LAST_LINES_THAT_COUNT)
def test_the_last_newline_may_be_missing(feed: Callable[..., Called], kind: str, name: str) -> None:
    cut = text(name).rstrip("\n")
    assert cut != text(name)
    code, out, err = feed(cut, kind, "--json")
    assert (code, err) == (0, "")
    assert json.loads(out) == document(kind, text(name))


LATIN_1 = "PING caf\u00e9.example (192.0.2.3): 56 data bytes\n".encode("latin-1")

ODD_BYTES = {
    "no UTF-8": ("ping", LATIN_1, "destination", "caf\ufffd.example"),
    "NUL": ("ping", b"PING a (192.0.2.3): 56 data bytes\n\0x\0\n", "unrecognised", ["\0x\0"]),
    "a carriage return within a line": (
        *("ping", b"PING a (192.0.2.3): 56 data bytes\nx\ry\n", "unrecognised", ["x\ry"]),
    ),
    "what Python takes for ends of lines": (
        *("ping", "PING a (192.0.2.3): 56 data bytes\nv\vf\ff\x1cs\x85n\u2028l\n".encode(), "unrecognised"),
        ["v\vf\ff\x1cs\x85n\u2028l"],
    ),
    "a byte order mark cut in two": ("netns", b"\xef\xbb\n", "namespaces", [{"name": "\ufffd", "id": None}]),
    "no UTF-8 in JSON": ("netns", b'[{"name":"\xff"}]', "namespaces", [{"name": "\ufffd", "id": None}]),
}


@pytest.mark.parametrize(("kind", "data", "key", "value"), ODD_BYTES.values(), ids=ODD_BYTES)
def test_odd_bytes_are_kept_as_far_as_text_can(
    feed: Callable[..., Called], tmp_path: Path, kind: str, data: bytes, key: str, value: object
) -> None:
    file = tmp_path / "captured"
    file.write_bytes(data)
    for code, out, err in (feed(data, kind, "--json"), feed(b"", kind, str(file), "--json")):
        assert (code, err) == (0, "")
        assert json.loads(out)[key] == value


def test_what_the_terminal_cannot_show_fails_nothing(tmp_path: Path) -> None:
    """A host's name that is no UTF-8, on a terminal of another encoding."""
    file = tmp_path / "captured"
    file.write_bytes(LATIN_1)
    done = test_cli.process("parse", "ping", str(file), PYTHONIOENCODING="latin-1")
    assert (done.returncode, done.stderr) == (0, "")
    assert ".example: cut off after 0 replies" in done.stdout


MODES = ((), ("--json",), ("--stream",))


@pytest.mark.parametrize("kind", CAPTURES)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.data())
def test_whatever_is_read_is_understood_or_refused(
    feed: Callable[..., Called], kind: str, data: st.DataObject
) -> None:
    printed = text(data.draw(st.sampled_from(CAPTURES[kind])))[:1500]
    mutated = mutated_text(printed).map(lambda mutant: mutant.encode("utf-8", "replace"))
    read = data.draw(st.binary(max_size=40) | mutated)
    mode = data.draw(st.sampled_from(MODES))
    code, out, err = feed(read, kind, *mode)
    if mode == ("--json",):
        assert json.loads(out)["schema"] == (f"ipvkit/{kind}/v1" if code == 0 else "ipvkit/error/v1")
    elif mode == ("--stream",):
        assert all(json.loads(line)["tool"] == kind for line in out.splitlines())
    if code == 0:
        assert err in ("", CUT, f"note: {NOTHING_READ}\n")
    else:
        assert code == 1
        assert re.match(
            r"error: (the output of [a-z ]+ was not understood at line \d+: |nothing was read\n)", err
        )


# --- errors ---------------------------------------------------------------------------------------------

PLAIN_PING = text(f"{IPUTILS}/ping-plain")
PLAIN_ARPING = text(f"{IPUTILS}/arping-plain")
FRENCH_REPLY = "64 octets de 192.0.2.3 : icmp_seq=1 ttl=64 temps=0,436 ms"
GERMAN_REPLY = "Unicast-Antwort von 192.0.2.2 [02:00:00:00:00:02]  0,562ms"

NOT_UNDERSTOOD = {
    "the version of ping": (
        *("ping", text(f"{IPUTILS}/ping-version"), "ping", 1),
        "ping from iputils 20240905",
    ),
    "ping in French": (
        *("ping", f"{lines_of(PLAIN_PING)[0]}{FRENCH_REPLY}\n", "ping", 2),
        FRENCH_REPLY,
    ),
    "two pings": ("ping", PLAIN_PING * 2, "ping", 9, PLAIN_PING.splitlines()[0]),
    "a ping for an arping": ("arping", PLAIN_PING, "arping", 1, PLAIN_PING.splitlines()[0]),
    "arping in German": (
        *("arping", f"ARPING 192.0.2.2 from 192.0.2.1 eth0\n{GERMAN_REPLY}\n", "arping", 2),
        GERMAN_REPLY,
    ),
    "two arpings": ("arping", PLAIN_ARPING * 2, "arping", 7, PLAIN_ARPING.splitlines()[0]),
    "an error of ip link": (
        *("link", "RTNETLINK answers: Operation not permitted\n", "ip link", 1),
        "RTNETLINK answers: Operation not permitted",
    ),
    "JSON that was cut": ("link", '[{"ifname":"lo"\n', "ip link", 2, ""),
    "JSON of something else": ("link", '[{"ifname":1}]\n', "ip link", 1, '{"ifname": 1}'),
    "an error of ip addr": (
        *("addr", 'Device "nosuch0" does not exist.\n', "ip addr", 1),
        'Device "nosuch0" does not exist.',
    ),
    "an error of ip route": (
        *("route", "default dev eth0\nError: ipv4: FIB table does not exist.\n", "ip route", 2),
        "Error: ipv4: FIB table does not exist.",
    ),
    "an error of ip neigh": ("neigh", 'Cannot find device "x"\n', "ip neigh", 1, 'Cannot find device "x"'),
    "no namespaces": ("netns", "test1\ntwo words here\n", "ip netns", 2, "two words here"),
    "two lists": ("netns", "[]\n[]\n", "ip netns", 2, "[]"),
}


@pytest.mark.parametrize(
    ("kind", "printed", "tool", "number", "line"), NOT_UNDERSTOOD.values(), ids=NOT_UNDERSTOOD
)
def test_what_is_not_understood_is_named_with_its_tool_and_line(
    feed: Callable[..., Called], kind: str, printed: str, tool: str, number: int, line: str
) -> None:
    message = f"the output of {tool} was not understood at line {number}: {line!r}"
    code, out, err = feed(printed, kind)
    assert (code, out) == (1, "")
    first, *rest = err.splitlines()
    assert first == f"error: {message}"
    assert [line.partition(": ")[0] for line in rest] in ([], ["hint"])
    code, out, err = feed(printed, kind, "--json")
    assert code == 1
    told = json.loads(out)["error"]
    assert (told["message"], told["exit_code"]) == (message, 1)
    assert err.splitlines()[0] == f"error: {message}"


def test_the_document_of_an_error_fits_its_schema(feed: Callable[..., Called]) -> None:
    schema = json.loads((REFERENCE / "error-v1.schema.json").read_text())
    for words in (["ping", "--json"], ["ping", "--json", "--stream"]):
        jsonschema_rs.validate(schema, json.loads(feed("", *words)[1]))


MISTAKES = {
    "no such file": (["ping", "/no/such/file"], "'/no/such/file' cannot be read: No such file or directory"),
    "a folder": (["link", "/etc"], "'/etc' cannot be read: Is a directory"),
    "a file with an odd name": (["link", "/no\nsuch\x1b[31m"], r"'/no\nsuch\x1b[31m' cannot be read: "),
    "no file at all": (["link", ""], "''"),
    "--stream with --json": (["ping", "--stream", "--json"], "--stream does not go with --json"),
    "an unknown kind": (["nosuch"], "'nosuch' is not one of 'ping', 'fping', 'arping', "),
    "no kind": ([], "Missing argument 'KIND'"),
    "two files": (["ping", "-", "-"], "-"),
    "an unknown option": (["ping", "--follow"], "No such option: --follow"),
}


@pytest.mark.parametrize(("words", "says"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_clear_line_and_exit_code_2(
    feed: Callable[..., Called], words: list[str], says: str
) -> None:
    code, out, err = feed(PLAIN_PING, *words, *([] if "--json" in words else ["--json"]))
    first, *rest = err.splitlines()
    assert first.startswith("error: ")
    assert says in first
    assert all(line.startswith("hint: ") for line in rest)
    assert len(rest) <= 1
    told = json.loads(out)["error"]
    assert (code, told["exit_code"], f"error: {told['message']}") == (2, 2, first)


def test_a_full_disk_is_not_the_fault_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "captured"
    file.write_text(PLAIN_PING)
    with Path("/dev/full").open("w") as full:
        done = test_cli.process("parse", "ping", str(file), stdout=full)
    assert done.returncode != 0
    first = done.stderr.splitlines()[0]
    assert "No space left on device" in first
    assert "cannot be read" not in first


def test_a_stdin_that_is_not_there_is_told() -> None:
    done = shell('"$0" -m ipvkit parse ping <&-')
    assert done.stdout == ""
    assert done.returncode in (1, 2)
    assert "ipvkit itself failed" not in done.stderr


def shell(line: str) -> subprocess.CompletedProcess[str]:
    """Return what a line of bash did in which ``$0`` is this Python."""
    argv = ["bash", "-c", f"set -o pipefail; {line}", sys.executable]
    return subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)


# --- streams --------------------------------------------------------------------------------------------

COMMON = {"schema": "ipvkit/event/v1", "tool": "ping"}
REPLY = {"bytes": 64, "source": "192.0.2.3", "name": None, "duplicate": False, "truncated": False}

STREAM_OF_A_PING: list[tuple[str, dict[str, Any] | None]] = [
    (
        "PING 192.0.2.3 (192.0.2.3) from 192.0.2.2 eth0: 56(84) bytes of data.\n",
        {"event": "header", "destination": "192.0.2.3", "address": "192.0.2.3", "source": "192.0.2.2"}
        | {"dev": "eth0", "data_bytes": 56},
    ),
    (
        "64 bytes from 192.0.2.3: icmp_seq=1 ttl=64 time=0.436 ms\n",
        {"event": "reply", **REPLY, "seq": 1, "ttl": 64, "time_ms": 0.436, "timestamp": None, "remarks": []},
    ),
    ("no answer yet for icmp_seq=2\n", {"event": "no_answer", "seq": 2, "timestamp": None}),
    (
        "[1700000001.250000] From 192.0.2.2 icmp_seq=3 Destination Host Unreachable\n",
        {"event": "error", "source": "192.0.2.2", "name": None, "seq": 3, "mtu": None}
        | {"message": "Destination Host Unreachable", "timestamp": 1700000001.25},
    ),
    ("3/1 packets, 66% loss\n", {"event": "note", "text": "3/1 packets, 66% loss"}),
    ("hm\n", {"event": "unrecognised", "line": "hm"}),
    ("\n", None),
    ("--- 192.0.2.3 ping statistics ---\n", None),
    (
        "3 packets transmitted, 1 received, +1 errors, 66.6667% packet loss, time 2002ms\n",
        {"event": "summary", "transmitted": 3, "received": 1, "duplicates": 0, "corrupted": 0}
        | {"error_count": 1, "loss_percent": 66.6667, "time_ms": 2002},
    ),
    (
        "rtt min/avg/max/mdev = 0.436/0.436/0.436/0.000 ms, pipe 2\n",
        {"event": "times", "rtt_ms": {"min": 0.436, "avg": 0.436, "max": 0.436, "mdev": 0.0}, "pipe": 2}
        | {"ipg_ms": None, "ewma_ms": None},
    ),
]


def test_each_line_of_a_ping_is_told_while_it_still_runs() -> None:
    with Piped("parse", "ping", "--stream") as process:
        for line, expected in STREAM_OF_A_PING:
            process.send(line)
            if expected is not None:
                assert json.loads(process.line()) == COMMON | expected
        assert process.end() == (0, "", "")


ARRIVALS: dict[str, list[tuple[str, list[str]]]] = {
    "arping": [
        ("ARPING 192.0.2.2 from 192.0.2.1 eth0\n", ["header"]),
        ("Unicast reply from 192.0.2.2 [02:00:00:00:00:02]  0.562ms\n", ["reply"]),
        ("Sent 1 probes (1 broadcast(s))\n", []),
        ("Received 1 response(s)\n", ["summary"]),
        ("ARPING 192.0.2.9\n", ["header"]),
        ("Timeout\n", ["no_answer"]),
        ("", []),
    ],
    "link": [
        ('[{"ifname":"lo"},{"ifname":"eth0"}]\n', ["link", "link"]),
        ("[]\n", []),
        ("1: lo: <LOOPBACK> mtu 65536 qdisc noop state DOWN\n", []),
        ("    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00\n", []),
        ("2: eth0: <BROADCAST> mtu 1500 qdisc noop state DOWN\n", ["link"]),
        ('[{"ifname":"lo"}]\n', ["link", "link"]),
        ("[ {\n", []),
        ('        "ifname": "lo"\n', []),
        ("    } ]\n", []),
        ("[ ]\n", ["link"]),
        ("", []),
    ],
    "route": [
        ("default via 192.0.2.254 dev eth0\n", []),
        ("198.18.2.0/24\n", ["route"]),
        ("\tnexthop via 192.0.2.253 dev eth0 weight 1\n", []),
        ('[{"dst":"default","dev":"eth0"}]\n', ["route", "route"]),
        ("198.18.3.0/24 dev eth0\n", []),
        ("", ["route"]),
    ],
    "neigh": [
        ('[{"dst":"192.0.2.3","dev":"eth0","state":["STALE"]}]\n', ["neigh"]),
        ("192.0.2.4 dev eth0 FAILED\n", []),
        ("", ["neigh"]),
    ],
    "monitor": [
        ("[LINK]3: a0: <UP> mtu 1500\n", []),
        ("    link/ether 02:00:00:00:00:01\n", []),
        ("[NEIGH]192.0.2.9 dev a0 FAILED\n", ["change", "change"]),
        ("198.51.100.0/24\n", []),
        ("\tnexthop via 192.0.2.7 dev a0 weight 1\n", []),
        ("", ["change"]),
    ],
    "netns": [
        ("test1 (id: 0)\n", []),
        ("test2\n", ["netns"]),
        ('[{"name":"test3"},{"name":"test4"}]\n', ["netns", "netns", "netns"]),
        ("", []),
    ],
}
"""What is written, and which events come before more is: a plain entry ends where the next begins.

The last has what comes when the pipe is closed.
"""


@pytest.mark.long
@pytest.mark.parametrize("kind", ARRIVALS)
def test_events_come_while_the_pipe_is_open(kind: str) -> None:
    with Piped("parse", kind, "--stream") as process:
        *arrivals, (_, last) = ARRIVALS[kind]
        for written, expected in arrivals:
            process.send(written)
            events = [json.loads(process.line()) for _ in expected]
            assert [event["event"] for event in events] == expected
            assert all(event["tool"] == kind for event in events)
        code, out, err = process.end()
        assert (code, err) == (0, "")
        assert [json.loads(line)["event"] for line in out.splitlines()] == last


STREAMS = {
    **CAPTURES,
    "ping": (*CAPTURES["ping"], f"{IPUTILS}/ping-flood-loss", f"{INETUTILS}/ping-verbose"),
    # Not arping-raw: nothing tells where it begins.
    "arping": (
        *(f"{IPUTILS}/arping-{name}" for name in ("plain", "two-hosts", "silent", "duplicate-in-use")),
        *(f"{BUSYBOX}/arping-{name}" for name in ("plain", "unsolicited")),
        *(f"{HABETS}/arping-{name}" for name in ("plain", "audible", "silent", "very-verbose")),
    ),
    "link": (*CAPTURES["link"], f"{IPROUTE2}/link-oneline-details", f"{IPROUTE2}/link-statistics"),
    # Not addr-oneline: a link is an entry for each of its addresses there.
    "addr": tuple(
        f"{IPROUTE2}/addr-{name}" for name in ("json", "json-pretty", "plain", "brief", "label-json")
    ),
    "route": (*CAPTURES["route"], f"{IPROUTE2}/route-plain", f"{IPROUTE2}/route-json-pretty"),
}
"""Captures of each kind of which any may follow any."""


def events_of(kind: str, printed: str) -> list[str]:
    """Return the JSON lines that one output has to become."""
    found: Iterator[Any]
    match kind:
        case "ping":
            found = iter(ping.read_ping(lines_of(printed)))
        case "arping":
            found = iter(arping.read_arping(lines_of(printed)))
        case "link":
            found = (LinkIn(None, link) for link in ip.parse_links(printed))
        case "addr":
            found = iter(ip.parse_addresses(printed))
        case "route":
            found = iter(ip.parse_routes(printed))
        case "neigh":
            found = iter(ip.parse_neighbours(printed))
        case "rule":
            found = iter(ip.parse_rules(printed))
        case "fdb":
            found = iter(parse_fdb(printed))
        case "monitor":
            found = iter(ip.parse_monitor(printed))
        case "fping":
            found = hosts(lines_of(printed))
        case _:
            found = iter(ip.parse_netns(printed))
    return [event_line(kind, event) for event in found]


@pytest.mark.long
@pytest.mark.parametrize("kind", STREAMS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.data())
def test_outputs_one_after_another_are_each_what_they_are_alone(
    feed: Callable[..., Called], kind: str, data: st.DataObject
) -> None:
    chosen = data.draw(st.lists(st.sampled_from(STREAMS[kind]), min_size=1, max_size=4))
    expected = [event for name in chosen for event in events_of(kind, text(name))]
    read = "".join(map(text, chosen))
    code, out, err = feed(read, kind, "--stream")
    assert (code, err) == (0, "" if read else f"note: {NOTHING_READ}\n")
    assert out.splitlines(keepends=True) == expected


HEADER_OF_PING = lines_of(PLAIN_PING)[0]
HEADER_OF_ARPING = lines_of(PLAIN_ARPING)[0]
LOOPBACK = "1: lo: <LOOPBACK> mtu 65536 qdisc noop state DOWN\n    link/loopback 00:00:00:00:00:00\n"

LATE_ERRORS = {
    "in the third ping": ("ping", f"{PLAIN_PING * 2}{HEADER_OF_PING}{FRENCH_REPLY}\n", 18, 13),
    "in the second arping": ("arping", f"{PLAIN_ARPING}{HEADER_OF_ARPING}{GERMAN_REPLY}\n", 8, 6),
    "in the third list": ("link", f'[{{"ifname":"a"}}]\n{LOOPBACK}[{{"ifname":2}}]\n', 4, 2),
    "in JSON of several lines": (
        "addr",
        '[]\n[ {\n        "ifname": "a"\n    },{\n        !\n    } ]\n',
        5,
        0,
    ),
    "in a plain list": ("netns", "test1\n[]\ntest2\ntwo words here\ntest3\n", 4, 2),
    "after blank lines": ("route", "default dev a\n\n192.0.2.0/24 dev a\n\nError: no\n", 5, 2),
}
"""Streams, the line at which each is not understood, and how many events come before."""


@pytest.mark.parametrize(("kind", "printed", "number", "events"), LATE_ERRORS.values(), ids=LATE_ERRORS)
def test_an_error_in_a_stream_counts_all_its_lines(
    feed: Callable[..., Called], kind: str, printed: str, number: int, events: int
) -> None:
    code, out, err = feed(printed, kind, "--stream")
    assert code == 1
    first, *rest = err.splitlines()
    assert re.match(rf"error: the output of (ip )?{kind} was not understood at line {number}: ", first)
    assert len(rest) <= 1
    assert [json.loads(line)["tool"] for line in out.splitlines()] == [kind] * events


def test_a_stream_of_nothing_of_ip_is_nothing(feed: Callable[..., Called]) -> None:
    assert [feed("", kind, "--stream") for kind in EMPTY] == [(0, "", f"note: {NOTHING_READ}\n")] * len(EMPTY)


def test_json_of_another_printer_can_be_streamed(feed: Callable[..., Called]) -> None:
    """As `jq .` writes it: the bracket at its end stands at the margin."""
    code, out, err = feed(json.dumps([{"ifname": "a"}, {"ifname": "b"}], indent=2) + "\n", "link", "--stream")
    assert (code, err) == (0, "")
    assert [json.loads(line)["ifname"] for line in out.splitlines()] == ["a", "b"]


# --- readers that go away, and ^C -----------------------------------------------------------------------


def test_a_reader_that_goes_away_ends_it_although_the_producer_goes_on() -> None:
    header, reply = (line for line, _ in STREAM_OF_A_PING[:2])
    with Piped("parse", "ping", "--stream") as process:
        process.send(header)
        assert json.loads(process.line())["event"] == "header"
        process.stop_reading()

        def has_ended() -> bool:
            with suppress(BrokenPipeError):
                process.send(reply)
            return process.process.poll() is not None

        wait_until(has_ended)
        assert process.end() == (0, "", "")


def test_the_first_line_of_a_stream_can_be_taken_from_a_ping_that_goes_on() -> None:
    header, reply = (line.strip() for line, _ in STREAM_OF_A_PING[:2])
    endless = f"{{ echo '{header}'; while echo '{reply}'; do :; done 2>/dev/null; }}"
    done = shell(f'{endless} | "$0" -m ipvkit parse ping --stream | head -1')
    assert json.loads(done.stdout)["event"] == "header"
    assert "Traceback" not in done.stderr
    assert "error: " not in done.stderr


def test_what_a_ping_says_after_an_interrupt_is_still_shown() -> None:
    """The ping at the other end of the pipe got the same ^C, and prints its summary."""
    *said, summary = re.split(r"(?m)^(?=--- )", PLAIN_PING)
    with Piped("parse", "ping") as process:
        process.send("".join(said))
        process.wait_until_read()
        process.interrupt()
        process.send(summary)
        assert process.end() == (0, TABLES["a ping that was answered"][2], "")


def test_events_after_an_interrupt_are_still_told() -> None:
    with Piped("parse", "ping", "--stream") as process:
        for line, expected in STREAM_OF_A_PING:
            process.send(line)
            if expected is not None:
                assert json.loads(process.line())["event"] == expected["event"]
            if line.startswith("64 bytes"):
                process.interrupt()
        assert process.end() == (0, "", "")


def interrupted_twice() -> Called:
    header, reply = (line for line, _ in STREAM_OF_A_PING[:2])
    with Piped("parse", "ping", "--stream") as process:
        process.send(header)
        process.line()
        process.interrupt()
        # That it is told shows that the first interrupt has come and gone.
        process.send(reply)
        process.line()
        process.interrupt()
        wait_until(lambda: process.process.poll() is not None)
        return process.end()


def test_a_second_interrupt_ends_it_though_the_pipe_is_open() -> None:
    code, out, err = interrupted_twice()
    assert (code, out) == (130, "")
    assert "Traceback" not in err


def test_a_second_interrupt_is_told_in_one_line() -> None:
    _, _, err = interrupted_twice()
    assert re.fullmatch(r"error: .*interrupted.*\n(hint: .*\n)?", err)


def test_an_interrupt_ends_it_at_once_where_a_person_types() -> None:
    terminal, slave = os.openpty()
    argv = [*IPVKIT, "parse", "ping", "--stream"]
    with subprocess.Popen(
        argv, stdin=slave, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    ) as process:
        try:
            os.close(slave)
            os.write(terminal, STREAM_OF_A_PING[0][0].encode())
            assert process.stdout is not None
            assert json.loads(process.stdout.readline())["event"] == "header"
            process.send_signal(signal.SIGINT)
            assert process.wait(10) == 130
        finally:
            process.kill()
            os.close(terminal)


@requires("icmp")
def test_a_real_ping_that_is_interrupted_is_summed_up() -> None:
    line = f"ping -c 1000 -i 0.2 127.0.0.1 | '{sys.executable}' -m ipvkit parse ping --stream"
    argv = ["bash", "-c", f"trap : INT; {line}"]
    with subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            assert process.stdout is not None
            assert [json.loads(process.stdout.readline())["event"] for _ in range(2)] == ["header", "reply"]
            os.killpg(process.pid, signal.SIGINT)
            out, err = process.communicate(timeout=10)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    events = [json.loads(line)["event"] for line in out.splitlines()]
    assert [event for event in events if event not in ("reply", "note")] == ["summary", "times"]
    assert (process.returncode, err) == (0, "")
