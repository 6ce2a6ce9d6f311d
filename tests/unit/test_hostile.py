"""Hostile text, wherever a person or a file can put some: an error of one line, or no word but meant ones.

HYPOTHESIS_PROFILE=exhaustive tries 100,000 cases; how many there were is told at the end of the tests.
"""

import os
import re
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from functools import lru_cache, partial
from io import StringIO
from ipaddress import IPv4Address
from pathlib import Path
from typing import get_args
from unittest.mock import patch

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from grammar import WORDS, commands_in, is_meant
from hostile import CANARY, hostile_lab_files, hostile_texts, hostile_words
from ipvkit.cli import main
from ipvkit.core import values
from ipvkit.core.command import Command, in_netns
from ipvkit.core.errors import MissingRequirement, UsageError
from ipvkit.export.preview import preview
from ipvkit.export.script import exported
from ipvkit.lab import Lab, gallery, on_parent
from ipvkit.lab.format import load
from ipvkit.plan.make import make_plan
from ipvkit.tools import arping, coreutils, ip, nsenter, ping, sysctl, tc, unshare
from recorder import PROBE_FOR_IPVLAN, Answer, Recorder, unanswered
from requires import requires

BOUND_S = 200.0
"""How much of a CPU's time one case may take: milliseconds, and the slowest 2 s, or 20 s under coverage."""

cases = 0
"""How many cases there were so far in this process."""


@pytest.fixture(autouse=True)
def counted(record_property: Callable[[str, object], None]) -> Iterator[None]:
    """Write down with each test how many cases it had, each counted when it has been checked."""
    before = cases
    yield
    record_property("cases", cases - before)


def count() -> None:
    global cases
    cases += 1


def part(percent: int) -> settings:
    """Return the settings of a test that has so many percent of all cases."""
    return settings(max_examples=max(10, settings().max_examples * percent // 100))


def assert_clear(said: str) -> None:
    """Check that an error is one line that prints, and at most one with a hint."""
    first, *rest = said.rstrip("\n").split("\n")
    assert first.startswith("error: ")
    assert len(rest) <= 1
    assert all(line.startswith("hint: ") for line in rest)
    assert all(line.isprintable() for line in (first, *rest))
    assert "Traceback" not in said
    assert "itself failed" not in said


def assert_meant(*commands: Command) -> None:
    """Check that commands are in the grammar, and that a shell reads the line of each as its words."""
    for command in commands:
        assert is_right(command), command.argv


@lru_cache(maxsize=10_000)
def is_right(command: Command) -> bool:
    if command.argv[:2] == ("sh", "-s"):
        return is_right_in_each(command)
    first, *lines = commands_in(str(command).split("\n"))
    reader = ["ip"] if command.argv[-1] == "-" else []
    read = [[*reader, *line.split(" ")] for line in command.stdin]
    return tuple(first) == command.argv and lines == read and all(map(is_meant, (first, *lines)))


def is_right_in_each(command: Command) -> bool:
    """Return whether a command runs one that is right in the namespace of each file that it names."""
    begin, name, each, *lines, end, done = command.stdin
    (typed,) = re.fullmatch(r'nsenter --net="\$netns" (.+) <<\'STDIN\'', each).groups()  # type: ignore[union-attr]
    first = str(command).split("\n")[0].removesuffix(" <<'END'")
    return (
        tuple(shlex.split(first)) == command.argv
        and all(map(WORDS["FILE"], command.argv[2:]))
        and (begin, name, end, done) == ("for netns; do", 'echo "netns: $netns"', "STDIN", "done")
        and is_meant(shlex.split(typed))
        and all(is_meant(["ip", *line.split(" ")]) for line in lines)
    )


# --- values ---------------------------------------------------------------------------------------------

NUMBER = re.compile(r"[0-9.e+-]+")

VALUES: dict[str, tuple[Callable[[str], object], Callable[[str], object]]] = {
    "interface_name": (values.interface_name, WORDS["DEV"]),
    "netns_name": (values.netns_name, WORDS["NETNS"]),
    "mac_address": (values.mac_address, WORDS["MAC"]),
    "sysctl_key": (values.sysctl_key, re.compile(r"[a-z0-9_]+([./][A-Za-z0-9_+-]+)+").fullmatch),
    "address": (values.address, WORDS["ADDRESS"]),
    "any_address": (values.any_address, WORDS["ADDRESS"]),
    "interface_address": (values.interface_address, WORDS["PREFIXED"]),
    "any_interface_address": (values.any_interface_address, WORDS["PREFIXED"]),
    "route_destination": (
        lambda text: values.route_destination(text) or "192.0.2.0/24",
        WORDS["NETWORK"],
    ),
    "network": (values.network, WORDS["NETWORK"]),
    "alternative_name": (values.alternative_name, WORDS["ALTNAME"]),
    "destination": (values.destination, lambda word: WORDS["ADDRESS"](word) or WORDS["HOST"](word)),
    "duration": (values.duration, NUMBER.fullmatch),
}
"""Each function with what its values look like as words."""


def test_every_public_function_of_values_that_reads_text_is_here() -> None:
    public = {
        name
        for name, found in vars(values).items()
        if callable(found)
        and getattr(found, "__module__", "") == "ipvkit.core.values"
        and not name.startswith(("_", "is_"))
    }
    assert public == set(VALUES)


@part(34)
@given(st.sampled_from(sorted(VALUES)), hostile_texts())
def test_a_value_is_what_its_name_says_or_one_clear_error(name: str, text: str) -> None:
    read, looks_right = VALUES[name]
    try:
        found = read(text)
    except UsageError as problem:
        assert_clear(str(problem))
    else:
        assert looks_right(str(found)), found
    count()


@pytest.mark.parametrize("name", ["if2", "if2abc", "if+4", "if-1", "if00"])
def test_what_ip_takes_for_a_links_number_is_no_name(name: str) -> None:
    """`ip link delete if2abc` deletes the link with index 2, whatever it is called (ll_idx_a2n())."""
    with pytest.raises(UsageError, match="invalid interface name") as problem:
        values.interface_name(name)
    assert "index" in problem.value.hint


@pytest.mark.parametrize("name", ["if", "ifb0", "iface1", "xif2", "if_2", "If2"])
def test_what_only_looks_like_a_links_number_is_a_name(name: str) -> None:
    assert values.interface_name(name) == name


@pytest.mark.parametrize("name", ["1", "0", "007", "0x1", "0XfF", "4194304"])
def test_what_ip_takes_for_a_processs_number_is_no_namespace(name: str) -> None:
    """`ip link set test1 netns 1` moves it to the namespace of process 1 (get_netns_fd(), get_integer())."""
    with pytest.raises(UsageError, match="invalid network namespace name"):
        values.netns_name(name)


@pytest.mark.parametrize("name", ["0x7f.1", "127.1", "0177.0.0.1", "2130706433", "0x7f000001", "1.2.3.4."])
def test_what_is_an_address_in_disguise_is_no_hosts_name(name: str) -> None:
    """inet_aton(3) reads such numbers, and a person does not."""
    with pytest.raises(UsageError, match="invalid address or host name"):
        values.destination(name)


# --- builders -------------------------------------------------------------------------------------------

Take = Callable[[str], Command]


def of_interfaces() -> Iterator[Take]:
    """Yield the builders that are given the name of a link, each in one of its places."""
    own, plain = values.interface_address("192.0.2.1/24"), values.address("192.0.2.1")
    yield lambda dev: ip.link_add(dev, ip.Bridge(), up=True)
    yield lambda dev: ip.link_add("x", ip.Ipvlan(dev, "l2", "vepa"))
    yield lambda dev: ip.link_add("x", ip.Macvlan(dev))
    yield lambda dev: ip.link_add("x", ip.Vlan(dev, 7))
    yield lambda dev: ip.link_add("x", ip.Veth(dev, "n"))
    yield lambda dev: ip.link_set(dev, up=True)
    yield lambda dev: ip.link_set("x", master=dev)
    yield lambda dev: ip.link_set("x", name=dev)
    yield from (ip.link_delete, ip.link_show, ip.addr_show, ip.neigh_show, ip.neigh_flush)
    yield lambda dev: ip.addr_add(own, dev)
    yield lambda dev: ip.addr_del(own, dev)
    yield lambda dev: ip.route_add(ip.RouteTo(dev=dev))
    yield lambda dev: ip.route_del(ip.RouteTo(dev=dev))
    yield lambda dev: ip.route_show(dev=dev)
    yield lambda dev: ip.neigh_replace(plain, "02:00:00:00:00:01", dev)
    yield lambda dev: ip.neigh_add_proxy(plain, dev)
    yield lambda dev: ip.neigh_del_proxy(plain, dev)
    yield lambda dev: ip.neigh_del(plain, dev)
    yield from (partial(tc.qdisc, "add"), partial(tc.qdisc, "del"), tc.filter_drop)
    yield lambda dev: tc.filter_pass(dev, plain)
    yield lambda dev: ping.ping(plain, count=1, interval=1, wait=1, source=dev)
    yield lambda dev: sysctl.get_value(
        sysctl.interface_key("ipv4", "conf", values.interface_name(dev), "forwarding")
    )


def of_namespaces() -> Iterator[Take]:
    """Yield the builders that are given the name of a network namespace."""
    yield from (ip.netns_add, ip.netns_del)
    yield lambda netns: ip.at(netns, ip.link_show())
    yield lambda netns: in_netns(netns, coreutils.sleep(1))
    yield lambda netns: in_netns(netns, nsenter.in_net("/proc/1/ns/net", ip.link_show()))
    yield lambda netns: ip.link_add("x", ip.Bridge(), netns=netns)
    yield lambda netns: ip.link_add("x", ip.Veth("y", netns))
    yield lambda netns: ip.link_set("x", netns=netns)


def of_others() -> Iterator[Take]:
    """Yield the builders that are given an address, a key or a host's name, as the command line reads it."""
    yield lambda text: ip.addr_add(values.any_interface_address(text), "x")
    yield lambda text: ip.route_add(ip.RouteTo(values.route_destination(text), dev="x"))
    yield lambda text: ip.route_add(ip.RouteTo(via=values.any_address(text)))
    yield lambda text: ip.route_add(ip.RouteTo(src=values.any_address(text), dev="x"))
    yield lambda text: ip.rule_add(ip.RuleFor(100, src=values.network(text)))
    yield lambda text: ip.neigh_del(values.any_address(text), "x")
    yield lambda text: ip.link_add("x", ip.Bridge(), lladdr=text)
    yield lambda text: ip.neigh_replace(values.address("192.0.2.1"), text, "x")
    yield from (partial(of_ping, by) for by in get_args(ping.Implementation))


def of_files() -> Iterator[Take]:
    """Yield the builders that are given the path of a network namespace, which any user may have chosen."""
    yield lambda name: nsenter.in_net(f"/run/{name}", ip.link_show())
    yield lambda name: nsenter.in_each([f"/run/{name}"], ip.link_show())
    yield lambda name: unshare.list_ids([f"/run/{name}"], [])


def of_ping(by: ping.Implementation, text: str) -> Command:
    return ping.ping(values.destination(text), count=1, interval=1, wait=1, by=by)


def of_arping(build: Callable[..., Command], by: arping.Implementation, text: str) -> Command:
    return build(IPv4Address("192.0.2.1"), text, by=by)


ARPING = [
    partial(of_arping, build, by)
    for build in (arping.announce, arping.probe, arping.find_duplicate)
    for by in get_args(arping.Implementation)
]
BUILDERS: list[Take] = [*of_interfaces(), *of_namespaces(), *of_files(), *of_others(), *ARPING]


def test_each_builder_takes_a_name_or_an_address() -> None:
    taken = 0
    for build in BUILDERS:
        for text in ("x1", "192.0.2.7", "192.0.2.7/24", "192.0.2.0/24", "02:00:00:00:00:01"):
            with suppress(UsageError, MissingRequirement):
                assert_meant(build(text))
                taken += 1
    assert taken >= len(BUILDERS)


@part(28)
@given(st.sampled_from(BUILDERS), hostile_texts())
def test_a_builder_takes_hostile_text_for_one_meant_word_or_not_at_all(build: Take, text: str) -> None:
    try:
        command = build(text)
    except (UsageError, MissingRequirement) as problem:
        assert_clear(str(problem))
    else:
        assert_meant(command)
    count()


# --- the command line -----------------------------------------------------------------------------------

LINES = [
    line.split()
    for line in """\
netns add X --dry-run
netns del X --dry-run
netns add n --dry-run --target X
link add X --link eth0 --mode l2 --dry-run
link add x --link X --mode l2 --dry-run
link add x --link eth0 --mode X --dry-run
link add x --link eth0 --mode l2 --flag X --to-netns X --dry-run
link add x --type X --dry-run
link add x --type vlan --link eth0 --id X --dry-run
link add x --type veth --peer X --peer-netns X --dry-run
link add x --type bridge --netns X --dry-run
link list X --dry-run
link list --netns X --dry-run
link list --type X --dry-run
link set X --up --dry-run
link set x --to-netns X --dry-run
link set x --master X --dry-run
link set x --name X --dry-run
link set x --mtu X --dry-run
link set x --mode X --dry-run
link set x --flag X --dry-run
link del X --dry-run
link del x --netns X --dry-run
addr add X --dev eth0 --dry-run
addr add 192.0.2.1/24 --dev X --dry-run
addr add 192.0.2.1/X --dev eth0 --dry-run
addr del X --dev eth0 --dry-run
addr list --dev X --dry-run
route add X --dev eth0 --dry-run
route add default --via X --dry-run
route add default --dev X --dry-run
route add default --dev eth0 --src X --dry-run
route add default --dev eth0 --metric X --dry-run
route del X --dev eth0 --dry-run
route list --dev X --dry-run
rule add --table X --dry-run
rule add --table 100 --from X --dry-run
rule del --to X --dry-run
neigh list --dev X --dry-run
neigh list --netns X --dry-run
ping X --dry-run
ping 192.0.2.1 --source X --dry-run
ping 192.0.2.1 --count X --dry-run
ping 192.0.2.1 --interval X --dry-run
ping 192.0.2.1 --wait X --dry-run
ping 192.0.2.1 --size X --dry-run
ping 192.0.2.1 --ttl X --dry-run
ping 192.0.2.1 --by X --dry-run
ping X --by inetutils --netns X --dry-run
arping X --dev eth0 --dry-run
arping 192.0.2.1 --dev X --dry-run
arping 192.0.2.1 --dev eth0 --count X --dry-run
arping 192.0.2.1 --dev eth0 --by X -U --dry-run
announce X --parent eth0 --dry-run
announce 192.0.2.1 --parent X --dry-run
announce 192.0.2.1 --parent eth0 --every X --dry-run
announce 192.0.2.1 --parent eth0 --for X --dry-run
announce 192.0.2.1 --parent eth0 --netns X --dry-run
measure-arp --idle X --dry-run
measure-arp --target X --dry-run
run-lab X --dry-run
run-lab l2 --dry-run --target X
run-lab l2 --dry-run --parent X
run-lab l2 --dry-run --parent eth0 --endpoint X
run-lab l2 --dry-run --parent eth0 --endpoint test1=X
run-lab l2 --dry-run --parent eth0 --endpoint X=192.0.2.1/24
run-lab l2 --dry-run --parent eth0 --gateway X
run-lab l2 --dry-run --parent eth0 --neighbour X
run-lab --endpoints X --dry-run
run-lab --endpoints 2 --dry-run --mode X
run-lab --endpoints 2 --dry-run --subnet X
run-lab --endpoints 2 --dry-run --checks X
run-lab --endpoints 2 --dry-run --checks sample:X
run-lab l2 --dry-run --setup X
run-lab l2 --dry-run --parallel X
run-lab l2 --dry-run --prober X
run-lab l2 --dry-run --timeout X
run-lab l2 --dry-run --output X
X --dry-run""".splitlines()
]
"""Command lines with a place, or two, for hostile text; all that is printed of them are commands."""

OTHERS = [
    line.split()
    for line in """\
explain X test2
explain test1 X
explain test1 test2 X
explain test1 test2 --phase X
explain test1 test2 --family X
review X
review --against X
review --phase X
matrix --predict --mode X
matrix --predict --strategy X
matrix --predict --kernels X
labs new X
labs new --mode X
labs new --endpoints X
labs new --subnet X
labs new --checks X
labs show X
labs check X
parse X
parse ping X
link list --all --netns X
shell --target X
shell --timeout X /nowhere/at/all
export-script X
export-script --gateway X
export-script --endpoints 2 --checks X
export-script --prober X""".splitlines()
]
"""Command lines that execute nothing, and print something else, or start something where they are right."""


def called(words: list[str]) -> tuple[int, str, str]:
    """Return the exit code of a command line, what it printed and what it said."""
    out, err = StringIO(), StringIO()
    started = time.process_time()
    with redirect_stdout(out), redirect_stderr(err), patch("sys.stdin", None):
        code = main(words)
    assert time.process_time() - started < BOUND_S
    return code, out.getvalue(), err.getvalue()


@pytest.fixture(scope="module", autouse=True)
def in_an_empty_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Have all happen in a folder that is empty at the end too."""
    folder, former = tmp_path_factory.mktemp("cwd"), Path.cwd()
    os.chdir(folder)
    yield
    os.chdir(former)
    assert list(folder.iterdir()) == []


@part(20)
@given(st.sampled_from(LINES), hostile_words())
@example(["run-lab", "X", "--dry-run"], "/" + "a" * 300)
def test_a_command_line_shows_meant_commands_or_one_clear_error(line: list[str], text: str) -> None:
    code, out, err = called([word.replace("X", text) for word in line])
    if code == 0 and not out.startswith("Usage: "):
        shown = list(commands_in(line for line in out.split("\n") if line and not line.startswith("#")))
        assert shown
        assert all(map(is_meant, shown)), shown
        assert err == ""
    elif code != 0:
        assert code in (2, 3)
        assert out == ""
        assert_clear(err)
    count()


@part(5)
@given(st.sampled_from(OTHERS), hostile_words())
def test_other_command_lines_do_it_or_tell_one_clear_error(line: list[str], text: str) -> None:
    code, out, err = called([word.replace("X", text) for word in line])
    if code == 0:
        assert all(shown.isprintable() for shown in out.split("\n"))
        assert err == ""
    else:
        assert code in (1, 2)
        assert out == ""
        assert_clear(err)
    count()


# --- lab files ------------------------------------------------------------------------------------------


def all_of(lab: Lab) -> Iterator[Lab]:
    """Yield a lab as it is and, where it can be, on a real parent."""
    yield lab
    try:
        yield on_parent(lab, "eth9")
    except UsageError as problem:
        assert_clear(str(problem))


def assert_all_meant(lab: Lab) -> None:
    """Check every command of a lab: in its plan, its preview and, of one host, its script."""
    plan = make_plan(lab)
    commands = [step.command for step in plan.steps]
    undos = [step.undo.command(step.undo.typical) for step in plan.undos if step.undo is not None]
    assert_meant(*commands, *undos)
    lines = [line for line in preview(plan).split("\n") if line and not line.startswith("#")]
    assert one_by_one(lines) == [line for c in (*commands, *undos) for line in one_by_one(str(c).split("\n"))]
    if not lab.several_hosts:
        assert all(line.isprintable() for line in exported(plan).split("\n"))


def one_by_one(lines: Sequence[str]) -> list[list[str]]:
    """Return the commands with the lines of a batch as commands of their own."""
    return [words for words in commands_in(lines) if words[-2:] != ["-batch", "-"]]


BOMB = "a: &a [x, x]\n" + "".join(
    f"{after}: &{after} [*{name}, *{name}]\n"
    for name, after in zip("abcdefghijklmnopqrst", "bcdefghijklmnopqrstu", strict=True)
)
CUBE = """\
name: cube
about: few lines that stand for a million pings
parent: eth0
network: {host: 192.0.2.1/24, gateway: 192.0.2.254}
endpoints: [{name: a, addresses: 192.0.2.2/24}]
phases:
  - &p {name: p0, mode: l2, do: &d [&c {check: &k [&l {from: a, to: host}%s]}%s]}
%s"""
CUBE %= (", *l" * 99, ", *c" * 99, "".join(f"  - {{name: p{i}, mode: l2, do: *d}}\n" for i in range(1, 100)))
RAW = """\
name: raw
about: y
parent: eth0
network: {host: 192.0.2.1/24, gateway: 192.0.2.254}
endpoints: [{name: a, addresses: 192.0.2.2/24}]
phases: [{name: p, mode: l2, do: [{try: [{set-mode: l3, at: "x\\ny", why: "\\n"}]}]}]
"""


@pytest.mark.long
def test_each_lab_of_the_gallery_is_one_of_meant_commands() -> None:
    for name in gallery.names():
        for each in all_of(load(gallery.text(name), name)):
            assert_all_meant(each)


@pytest.mark.long
@part(12)
@given(hostile_lab_files())
@example(BOMB)
@example(CUBE)
@example(RAW)
@example("&a [*a]")
@example("[" * 10_000)
@example("a: " * 100_000)
@example("&a " * 1000)
@example('"\\ud800\\n": 1')
@example("x" * 1_000_000)
def test_a_lab_file_is_a_lab_of_meant_commands_or_one_clear_error(text: str) -> None:
    started = time.process_time()
    try:
        lab = load(text, "lab.yaml")
    except UsageError as problem:
        assert_clear(str(problem))
    else:
        for each in all_of(lab):
            assert_all_meant(each)
    assert time.process_time() - started < BOUND_S
    count()


# --- the exported script --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fakes(tmp_path_factory: pytest.TempPathFactory) -> Recorder:
    """Fakes of all that a script may start, and of what hostile text tries to."""
    fakes = Recorder(tmp_path_factory.mktemp("fakes"))
    for name in ("sleep", CANARY):
        (fakes.bin / name).symlink_to(fakes.bin / "ip")
    return fakes


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for all that a script could write to: where it is, its HOME, its temporary files."""
    return tmp_path_factory.mktemp("empty")


def with_words(about: str, why: str, phase: str, name: str, netns: str) -> str:
    """Return a small lab file with these texts wherever one can stand."""
    ping = {"from": name, "to": "host", "expect": "expires", "why": why}
    change = {"set-mtu": 1400, "at": name, "expect": "refused", "why": why}
    document = {
        "name": "words",
        "about": about,
        "parent": "eth0",
        "network": {"host": "192.0.2.1/24", "gateway": "192.0.2.254"},
        "endpoints": [{"name": name, "addresses": "192.0.2.2/24", "netns": netns}],
        "phases": [
            {"name": phase, "mode": "l3", "do": [{"check": [ping]}, {"try": [change]}, {"announce": name}]}
        ],
    }
    return str(yaml.safe_dump(document))


def mostly(usual: str) -> st.SearchStrategy[str]:
    return st.sampled_from([usual] * 3) | hostile_texts()


@requires("namespaces")
@part(1)
@given(hostile_texts(), hostile_texts(), mostly("only"), mostly("test1"), mostly("space"))
@example("$(pwned)", "`pwned`", "only", "test1", "space")
@example("'; pwned; '", '"; pwned; "', "only", "test1", "space")
def test_a_script_with_hostile_words_starts_meant_commands_and_leaves_no_file(
    fakes: Recorder, empty: Path, about: str, why: str, phase: str, name: str, netns: str
) -> None:
    try:
        lab = load(with_words(about, why, phase, name, netns), "words.yaml")
    except UsageError as problem:
        assert_clear(str(problem))
        count()
        return
    plan = make_plan(lab)
    pings = (step for step in plan.steps if step.probe is not None and step.probe.address is not None)
    fakes.answer({str(step.command): Answer(unanswered("192.0.2.1"), exit_code=1) for step in pings})
    file = fakes.bin.parent / "lab.sh"
    file.write_text(exported(plan))
    done = subprocess.run(
        ("/bin/bash", str(file)),
        cwd=empty,
        env={"PATH": fakes.path, "HOME": str(empty), "TMPDIR": str(empty)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    started = [mark.line.split() for mark in fakes.log() if mark.event == "begin"]
    assert len(started) > 10, done.stderr
    for words in started:
        assert is_meant(words) or " ".join(words) == PROBE_FOR_IPVLAN
    assert "command not found" not in done.stderr
    assert list(empty.iterdir()) == []
    count()
