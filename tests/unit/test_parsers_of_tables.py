"""The parsers of `ip rule`, `ip monitor` and `bridge fdb`: captures, and nothing guessed."""

import re
from collections.abc import Callable
from contextlib import suppress
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captures import assert_linear, captures, text_of
from cases import for_each
from ipvkit.core.errors import UnparsableOutput
from ipvkit.tools.bridge import FdbEntry, parse_fdb
from ipvkit.tools.ip import (
    Change,
    Link,
    Rule,
    parse_addresses,
    parse_links,
    parse_monitor,
    parse_neighbours,
    parse_routes,
    parse_rules,
    read_monitor,
    read_outputs,
)
from strategies import mutated_text

Parser = Callable[[str], tuple[Any, ...]]
PARSERS: dict[str, Parser] = {"rule": parse_rules, "fdb": parse_fdb, "monitor": parse_monitor}
CAPTURES = [capture for kind in PARSERS for capture in captures(f"{kind}-") if "error" not in capture.stem]


def parser_of(capture: Path) -> Parser:
    return PARSERS[capture.stem.partition("-")[0]]


def called(name: str) -> str:
    [text] = (text_of(capture) for capture in captures(name) if capture.stem == name)
    return text


def lines_of(text: str) -> list[str]:
    return re.findall(r"[^\n]*\n|[^\n]+", text)


@for_each("capture", CAPTURES)
def test_nothing_of_a_capture_is_left(capture: Path) -> None:
    found = parser_of(capture)(text_of(capture))
    entries = [*found, *(change.entry for change in found if isinstance(change, Change) and change.entry)]
    assert [line for entry in entries for line in entry.unrecognised] == []


PAIRS = {
    "rule-plain": "rule-json",
    "rule-many-plain": "rule-many-json",
    "rule-many-oneline": "rule-many-json-pretty",
    "rule-many-colour": "rule-many-json",
    "rule-many-details": "rule-many-json-details",
    "rule-six-plain": "rule-six-json",
    "fdb-plain": "fdb-json",
    "fdb-colour": "fdb-json-pretty",
    "fdb-dev": "fdb-dev-json",
    "fdb-none": "fdb-none-json",
    "fdb-timestamps": "fdb-details",
}


@pytest.mark.parametrize("name", PAIRS)
def test_plain_and_json_tell_the_same(name: str) -> None:
    parse = PARSERS[name.partition("-")[0]]
    assert parse(called(name)) == parse(called(PAIRS[name]))


@for_each("capture", CAPTURES)
def test_the_whole_and_the_stream_agree(capture: Path) -> None:
    parse, text = parser_of(capture), text_of(capture)
    lines = lines_of(text)
    streamed = read_monitor(iter(lines)) if parse is parse_monitor else read_outputs(iter(lines), parse)
    assert tuple(streamed) == parse(text)


# --- rules --------------------------------------------------------------------------------------------


def test_a_rule_has_what_a_person_reads() -> None:
    rules = {rule.priority: rule for rule in parse_rules(called("rule-many-plain"))}
    assert len(rules) == 25
    nothing: dict[str, Any] = dict.fromkeys(("src", "dst", "iif", "oif", "fwmark", "table", "action", "goto"))
    nothing |= {"inverted": False, "protocol": None, "details": {}, "unrecognised": ()}

    def rule(priority: int, **own: Any) -> Rule:
        return Rule(priority=priority, **(nothing | own))

    source, target = ip_network("192.0.2.7/32"), ip_network("198.51.100.0/24")
    assert rules[1001] == rule(1001, inverted=True, src=source, dst=target, table="main")
    assert rules[1003] == rule(1003, oif="gone0", table="101", details={"oif_detached": True})
    assert rules[1005] == rule(1005, fwmark="0x10/0xff", table="102")
    assert rules[1007] == rule(1007, src=ip_network("203.0.113.1/32"), action="blackhole")
    assert rules[1011].goto == 9000
    assert rules[1011].details == {"unresolved": True}
    assert rules[1012].details == {"suppress_prefixlen": 0}
    assert rules[1014].details == {"uid_start": 1000, "uid_end": 2000}
    assert rules[1015].details == {"ipproto": "tcp", "sport": 80, "dport_start": 1000, "dport_end": 2000}
    assert rules[1017] == rule(1017, details={"l3mdev": True})
    assert rules[1019].details == {"flow_from": "3", "flow_to": "4"}
    assert rules[2000] == rule(2000, details={"nop": True})


@pytest.mark.parametrize(
    "line",
    [
        "7:\tfrom 192.0.2.0/24 lookup 100 blue",
        "7:\tfrom 192.0.2.0/24 lookup 100 lookup 101",
        "7:\tfrom 192.0.2.0/24 lookup 100 sport x",
        "7:\tfrom 192.0.2.0/24 lookup 100 fwmark 0x",
    ],
)
def test_a_rule_is_read_up_to_what_is_not_known(line: str) -> None:
    rule, after = parse_rules(f"{line}\n8:\tfrom all lookup 101\n")
    assert (rule.src, rule.table, rule.unrecognised) == (ip_network("192.0.2.0/24"), "100", (line,))
    assert (after.priority, after.table, after.unrecognised) == (8, "101", ())


# --- a bridge's table ---------------------------------------------------------------------------------


def test_an_entry_has_what_a_person_reads() -> None:
    found = parse_fdb(called("fdb-plain"))
    learned = [entry for entry in found if entry.master and entry.state is None and not entry.flags]
    assert learned == [FdbEntry("02:00:00:00:02:01", "p0", 1, None, "br0", None, (), {}, ())]
    [tunnel] = (entry for entry in found if entry.dst == ip_address("192.0.2.7"))
    assert (tunnel.dev, tunnel.state, tunnel.flags) == ("vx0", "permanent", ("self",))
    assert tunnel.details == {"port": 4800, "vni": 8, "viaIf": "p0"}
    [entry] = parse_fdb("02:00:00:00:00:01 dev eth0 used 4/5 master static")
    assert (entry.flags, entry.master, entry.details) == (("master",), None, {"used": 4, "updated": 5})


def test_an_entry_is_read_up_to_what_is_not_known() -> None:
    line = "02:00:00:00:00:01 dev eth0 vlan 1 blue master br0"
    [entry] = parse_fdb(f"{line}\n")
    assert (entry.dev, entry.vlan, entry.master, entry.unrecognised) == ("eth0", 1, None, (line,))


# --- ip monitor ---------------------------------------------------------------------------------------


def told(changes: tuple[Change, ...]) -> list[tuple[str | None, bool, Any]]:
    """Return what does not depend on when it was, or in how many lines it was printed."""
    return [(c.object, c.deleted, c.entry or c.text) for c in changes]


LABELLED = told(parse_monitor(called("monitor-label")))


@pytest.mark.parametrize(
    "form", ["timestamps", "short-timestamps", "oneline", "oneline-timestamps", "json", "colour"]
)
def test_each_form_tells_the_same(form: str) -> None:
    found = parse_monitor(called(f"monitor-{form}"))
    # Each began when it could, and ended when all was done.
    assert told(found) == LABELLED[-len(found) :]
    assert len(found) > 80
    assert [bool(change.time) for change in found] == ["timestamps" in form] * len(found)


def test_what_changes_is_told_without_labels() -> None:
    found = told(parse_monitor(called("monitor-plain")))
    assert found == LABELLED[-len(found) :]


def test_a_time_is_in_iso_8601() -> None:
    line = "192.0.2.9 dev a0 FAILED\n"
    for stamp in ("Timestamp: Sat Nov  8 02:05:59 2026 4008 usec\n", "[2026-11-08T02:05:59.004008] "):
        [change] = parse_monitor(stamp + line)
        assert (change.time, change.object, change.text) == (
            "2026-11-08T02:05:59.004008",
            "neigh",
            line.strip(),
        )


def test_each_change_has_the_entry_of_its_parser() -> None:
    parsers: dict[str | None, Parser] = {"link": parse_links, "addr": parse_addresses, "rule": parse_rules}
    parsers |= {"route": parse_routes, "neigh": parse_neighbours}
    found = parse_monitor(called("monitor-details"))
    seen = set()
    for change in found:
        if change.entry is not None:
            assert (change.entry,) == parsers[change.object](change.text + "\n")
            seen.add(change.object)
    assert seen == set(parsers)
    assert {change.object for change in found if change.entry is None} == {
        "nexthop",
        "netconf",
        "nsid",
        "neigh",
    }
    assert any(change.deleted for change in found)


def test_a_namespace_is_that_of_all_nsid() -> None:
    assert {change.nsid for change in parse_monitor(called("monitor-all-nsid"))} == {"current"}
    [change] = parse_monitor("[nsid 7][NEIGH]Deleted 192.0.2.9 dev a0 FAILED\n")
    assert (change.nsid, change.deleted) == ("7", True)


def test_a_group_that_a_link_joins_is_an_address() -> None:
    found = parse_monitor(called("monitor-groups"))
    joined = [c.entry.addresses[0] for c in found if isinstance(c.entry, Link) and " mcast " in c.text]
    assert {str(address.address) for address in joined} >= {"224.0.0.1/32", "ff02::1/128"}
    assert {address.flags for address in joined} == {("multicast",)}


def test_an_alias_with_a_backslash_ends_no_entry() -> None:
    text = "[LINK]3: a0: <UP> mtu 1500\n    alias a \\    b\n    altname c\n"
    [change] = parse_monitor(text)
    assert isinstance(change.entry, Link)
    assert (change.entry.alias, change.entry.altnames) == ("a \\    b", ("c",))


def test_a_change_of_one_line_is_told_before_the_next_line_comes() -> None:
    def lines() -> Any:
        yield "[NEIGH]192.0.2.9 dev a0 FAILED\n"
        raise AssertionError("read on")

    assert next(read_monitor(lines())).object == "neigh"


def test_what_is_unknown_among_changes_is_kept_by_itself() -> None:
    known = "192.0.2.9 dev a0 FAILED\n"
    first, unknown, more, last = parse_monitor(f"{known}what?\n[LINK]what?\n    and more\n{known}")
    assert first == last
    assert (unknown.object, unknown.entry, unknown.unrecognised) == (None, None, ("what?",))
    assert (more.object, more.entry, more.unrecognised) == ("link", None, ("[LINK]what?", "    and more"))
    for text in ("what?\n", "RTNETLINK answers: x\n", 'Object "x" is unknown, try "ip help".\n'):
        with pytest.raises(UnparsableOutput):
            parse_monitor(text)


# --- whatever comes -----------------------------------------------------------------------------------


@given(st.sampled_from(CAPTURES), st.data())
def test_a_mangled_capture_is_read_alike_as_a_whole_and_as_a_stream_or_refused(
    capture: Path, data: st.DataObject
) -> None:
    text, parse = data.draw(mutated_text(text_of(capture)[:3000])), parser_of(capture)
    whole: Any = None
    with suppress(UnparsableOutput):
        whole = parse(text)
    if parse is parse_monitor and whole is not None:
        assert tuple(read_monitor(iter(lines_of(text)))) == whole


@given(st.sampled_from([c for c in CAPTURES if "json" not in c.stem and c.stem[:3] != "mon"]), st.data())
def test_a_capture_that_is_cut_loses_its_last_entry_only(capture: Path, data: st.DataObject) -> None:
    text, parse = text_of(capture), parser_of(capture)
    whole, cut = parse(text), text[: data.draw(st.integers(0, len(text)))]
    with suppress(UnparsableOutput):
        found = parse(cut)
        assert found[:-1] == whole[: max(0, len(found) - 1)]


@pytest.mark.long
@pytest.mark.parametrize("kind", PARSERS)
def test_the_time_is_linear(kind: str) -> None:
    line = {
        "rule": "7:\tfrom all lookup 8\n",
        "fdb": "02:00:00:00:00:01 dev a self\n",
        "monitor": "id 7 dev a\n",
    }
    assert_linear(PARSERS[kind], f"{line[kind]}|{line[kind]}|")
    assert_linear(PARSERS[kind], f"{line[kind]}|x|")
