"""``ipvkit netns``, ``link``, ``addr``, ``route``, ``neigh``, ``ping``, ``arping``: one command at a time."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network
from pathlib import Path
from typing import Any, get_args

import pytest
import test_cli
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from captures import FIXTURES
from command_line import Called, assert_mistake, assert_one_line, commands_in, executed, fakes_on_path
from ipvkit.cli.commands import loaded_command
from ipvkit.core.command import Command, in_netns
from ipvkit.core.values import Flag, Mode
from ipvkit.targets import ipvlan
from ipvkit.tools import arping, ip, ping
from recorder import Answer, Recorder
from strategies import addresses, hostile_names, interface_addresses, interface_names, netns_names

call = test_cli.call

GROUPS = ("netns", "link", "addr", "route", "rule", "neigh")
PROBES = ("ping", "arping")


@pytest.fixture
def recorder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recorder:
    return fakes_on_path(tmp_path, monkeypatch)


# --- what a dry run shows -------------------------------------------------------------------------------

SHOWN: dict[str, list[str]] = {
    "netns add test1": ["ip netns add test1"],
    "netns del test1": ["ip netns del test1"],
    "netns list": ["ip -json netns list"],
    "link add test1 --link eth0 --mode l2": ["ip link add test1 link eth0 type ipvlan mode l2"],
    "link add test1 --link eth0 --mode l3s --flag vepa --to-netns n1 --up": [
        "ip link add test1 link eth0 netns n1 up type ipvlan mode l3s vepa"
    ],
    "link add test1 --link eth0 --type macvlan": ["ip link add test1 link eth0 type macvlan mode bridge"],
    "link add test1 --link eth0 --type macvlan --mode passthru": [
        "ip link add test1 link eth0 type macvlan mode passthru"
    ],
    "link add eth0.100 --link eth0 --type vlan --id 100": ["ip link add eth0.100 link eth0 type vlan id 100"],
    "link add host --type veth --peer test2 --peer-netns n1": [
        "ip link add host type veth peer name test2 netns n1"
    ],
    "link add up --type bridge --up": ["ip link add dev up up type bridge"],
    "link list": ["ip -json -details addr show"],
    "link list test1 --type ipvlan": ["ip -json -details addr show dev test1"],
    "link set test1 --up": ["ip link set test1 up"],
    "link set test1 --down": ["ip link set test1 down"],
    "link set test1 --to-netns n1": ["ip link set test1 netns n1"],
    "link set test1 --master br0": ["ip link set test1 master br0"],
    "link set test1 --name test2 --mtu 1400": ["ip link set test1 name test2 mtu 1400"],
    "link set test1 --mode l3": ["ip link set test1 type ipvlan mode l3"],
    "link set test1 --mode l3s --flag private": ["ip link set test1 type ipvlan mode l3s private"],
    "link set m --to-netns n1 --master br0 --name x --mtu 68 --up --mode l2 --flag bridge": [
        "ip link set dev m netns n1 master br0 name x mtu 68 up type ipvlan mode l2 bridge"
    ],
    "link set eth0 --altname enp0s3": ["ip link property add dev eth0 altname enp0s3"],
    f"link set m --altname {'e' * 127}": [f"ip link property add dev m altname {'e' * 127}"],
    "link set eth0 --no-altname enp0s3": ["ip link property del dev eth0 altname enp0s3"],
    "link del test1": ["ip link delete test1"],
    "addr add 192.0.2.1/24 --dev test1": ["ip addr add 192.0.2.1/24 dev test1"],
    "addr add 2001:DB8:0::1/64 --dev test1": ["ip addr add 2001:db8::1/64 dev test1"],
    "addr del 192.0.2.1/24 --dev test1": ["ip addr del 192.0.2.1/24 dev test1"],
    "addr list": ["ip -json addr show"],
    "addr list --dev test1": ["ip -json addr show dev test1"],
    "route add 198.51.100.0/24 --via 192.0.2.254": ["ip route add 198.51.100.0/24 via 192.0.2.254"],
    "route add default --via 192.0.2.254 --dev eth0 --src 192.0.2.1 --metric 5 --onlink": [
        "ip route add default via 192.0.2.254 dev eth0 src 192.0.2.1 metric 5 onlink"
    ],
    "route add default --dev eth0 -6": ["ip -6 route add default dev eth0"],
    "route add 2001:db8::/32 --via fe80::1 --dev eth0": ["ip route add 2001:db8::/32 via fe80::1 dev eth0"],
    "route del 198.51.100.0/24 --via 192.0.2.254 --dev eth0 --metric 0": [
        "ip route del 198.51.100.0/24 via 192.0.2.254 dev eth0 metric 0"
    ],
    "route del default -6": ["ip -6 route del default"],
    "route list": ["ip -json -4 route show", "ip -json -6 route show"],
    "route list --dev eth0": ["ip -json -4 route show dev eth0", "ip -json -6 route show dev eth0"],
    "rule add --table 100 --from 192.0.2.1 --to 198.51.100.0/24 --priority 1000": [
        "ip rule add priority 1000 from 192.0.2.1/32 to 198.51.100.0/24 lookup 100"
    ],
    "rule add --table 100 --to 2001:db8::/32": ["ip -6 rule add to 2001:db8::/32 lookup 100"],
    "rule add --table 100 -6": ["ip -6 rule add lookup 100"],
    "rule del --priority 1000 -6": ["ip -6 rule del priority 1000"],
    "rule del --table 7 --from 192.0.2.0/24 --to 198.51.100.1": [
        "ip rule del from 192.0.2.0/24 to 198.51.100.1/32 lookup 7"
    ],
    "rule list": ["ip -json -4 rule show", "ip -json -6 rule show"],
    "neigh list": ["ip -json neigh show"],
    "neigh list --dev eth0": ["ip -json neigh show dev eth0"],
    "ping 192.0.2.3": ["ping -c 4 -i 1 -W 1 192.0.2.3"],
    "ping gateway.example --count 2 --interval 0.2 --wait 0.5 --source eth0 --size 0 --ttl 1": [
        "ping -c 2 -i 0.2 -W 0.5 -I eth0 -s 0 -t 1 gateway.example"
    ],
    "ping fe80::1%eth0 -c 1 -i 0.002 -W 2 -I 2001:db8::1 -s 1000 -t 64": [
        "ping -c 1 -i 0.002 -W 2 -I 2001:db8::1 -s 1000 -t 64 fe80::1%eth0"
    ],
    "ping 192.0.2.3 --by busybox -W 0.5 -t 9": ["ping -c 4 -i 1 -W 1 -t 9 192.0.2.3"],
    "ping 192.0.2.3 --by inetutils -t 9 -s 10": ["ping -c 4 -i 1 -W 1 --ttl=9 -s 10 192.0.2.3"],
    "ping 2001:db8::3 --by inetutils -t 9": ["ping6 -c 4 -i 1 -w 5 --hoplimit=9 2001:db8::3"],
    "arping 192.0.2.3 --dev eth0": ["arping -c 2 -w 3 -I eth0 192.0.2.3"],
    "arping 192.0.2.3 -I eth0 -c 5 --duplicate": ["arping -c 5 -w 6 -D -I eth0 192.0.2.3"],
    "arping 192.0.2.3 -I eth0 --count 1 --announce": ["arping -c 1 -U -I eth0 192.0.2.3"],
    "arping 192.0.2.3 -I eth0 --by busybox -D": ["arping -c 2 -w 3 -D -I eth0 192.0.2.3"],
    "arping 192.0.2.3 -I eth0 --by habets": ["arping -c 2 -w 3 -i eth0 192.0.2.3"],
    "arping 192.0.2.3 -I eth0 --by habets -U": ["arping -c 2 -U -i eth0 -S 192.0.2.3 192.0.2.3"],
    "arping 192.0.2.3 -I eth0 --by habets -D": ["arping -c 2 -w 3 -0 -i eth0 192.0.2.3"],
}
"""What is typed, without ``--dry-run``, and the command lines that it stands for."""

SHOWN_OF_ALL = {
    "link list --all": [
        "ip -json -details addr show",
        "ip -all netns exec ip -json -details addr show",
    ],
}
"""What goes into each namespace by itself."""

IN_A_NAMESPACE = {
    typed: [
        line.replace("ip ", "ip -n lab ", 1) if line.startswith("ip ") else f"ip netns exec lab {line}"
        for line in lines
    ]
    for typed, lines in SHOWN.items()
    if not typed.startswith("netns ")
}
"""The same, with ``--netns lab``."""


EVERYTHING = SHOWN | SHOWN_OF_ALL


@pytest.mark.parametrize(("typed", "lines"), EVERYTHING.items(), ids=EVERYTHING)
def test_a_dry_run_shows_the_commands(call: Callable[..., Called], typed: str, lines: list[str]) -> None:
    code, out, err = call(*typed.split(), "--dry-run")
    assert (code, err) == (0, "")
    assert commands_in(out) == lines


@pytest.mark.parametrize(("typed", "lines"), IN_A_NAMESPACE.items(), ids=IN_A_NAMESPACE)
def test_a_dry_run_shows_the_commands_in_a_namespace(
    call: Callable[..., Called], typed: str, lines: list[str]
) -> None:
    code, out, err = call(*typed.split(), "--netns", "lab", "--dry-run")
    assert (code, err) == (0, "")
    assert commands_in(out) == lines


def test_a_preview_says_what_each_command_is_for(call: Callable[..., Called]) -> None:
    assert call("link", "add", "test1", "--link", "eth0", "--mode", "l2", "--dry-run")[1] == (
        "# add test1, a link of type ipvlan\nip link add test1 link eth0 type ipvlan mode l2\n"
    )
    assert call("route", "list", "--dry-run")[1] == (
        "# list the IPv4 routes\nip -json -4 route show\n# list the IPv6 routes\nip -json -6 route show\n"
    )


ON_A_LAN = dict([*SHOWN.items()][::4]) | SHOWN_OF_ALL


@pytest.mark.parametrize(("typed", "lines"), ON_A_LAN.items(), ids=ON_A_LAN)
def test_on_a_simulated_lan_the_commands_come_last(
    call: Callable[..., Called], typed: str, lines: list[str]
) -> None:
    code, out, err = call(*typed.split(), "--dry-run", "--target", "sandbox")
    assert (code, err) == (0, "")
    before, _, after = out.partition("==== what was asked for ====")
    shown = [line for line in after.partition("==== undo")[0].splitlines() if line and line[0] != "#"]
    assert shown == lines
    assert "\nip netns add switch\n" in before


def commands_of(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the commands below `command` that do something, each with its words."""
    inner = getattr(command, "commands", None)
    if inner is None:
        yield path, command
        return
    for name, found in inner.items():
        yield from commands_of(found, (*path, name))


SINGLE = {
    path: command
    for name in (*GROUPS, *PROBES)
    for path, command in commands_of(loaded_command(name), (name,))
}


TYPED_WITH_IP = [
    lines[0]
    for lines in SHOWN.values()
    if re.match(r"ip (link|addr|route) (add|del|set) \S+ .*\b\w+ ", lines[0])
]


@pytest.mark.parametrize("line", TYPED_WITH_IP)
def test_a_line_of_ip_gets_the_hint_that_does_the_same(call: Callable[..., Called], line: str) -> None:
    code, _, err = call(*line.split()[1:])
    assert code == 2
    hint = shlex.split(err.partition("hint: ipvkit ")[2])
    assert call(*hint, "--dry-run")[1].splitlines()[1:] == [line]


def test_each_option_of_each_command_is_shown_above() -> None:
    assert len(SINGLE) == 19
    for path, command in SINGLE.items():
        typed = [line.split() for line in EVERYTHING if line.split()[: len(path)] == list(path)]
        used = {word for line in typed for word in line}
        for option in command.params:
            names = {*option.opts, *option.secondary_opts}
            if any(name.startswith("-") for name in names) and option.name not in (
                "netns",
                "target",
                "kernel",
            ):
                left_out = names - used if option.secondary_opts else set() if names & used else names
                assert left_out <= {"--dry-run", "--json", "--help"}, (path, option.name)


# --- any names and addresses ----------------------------------------------------------------------------

Typed = tuple[list[str], Command]

INTERFACE = interface_names()
NETNS = netns_names()
ADDRESS = addresses() | st.ip_addresses(v=6)
PREFIXED: st.SearchStrategy[IPv4Interface | IPv6Interface] = interface_addresses() | st.builds(
    lambda address, length: IPv6Interface((address, length)), st.ip_addresses(v=6), st.integers(0, 128)
)
NETWORK: st.SearchStrategy[IPv4Network | IPv6Network | None] = st.none() | PREFIXED.map(lambda i: i.network)
HOST = st.from_regex(r"[a-z][a-z0-9-]{0,20}(\.[a-z]{1,9}){1,3}", fullmatch=True)
METRIC = st.none() | st.integers(0, 2**32 - 1)


def words_of(typed: str, **options: object) -> list[str]:
    """Return the words that are typed, with those of the options that have a value."""
    given = {name: value for name, value in options.items() if value is not None}
    more = ((f"--{name.replace('_', '-')}", str(value)) for name, value in given.items())
    return [*typed.split(" "), *(word for pair in more for word in pair)]


def a_route(verb: str, build: Callable[[ip.RouteTo], Command]) -> st.SearchStrategy[Typed]:
    def typed(to: ip.RouteTo) -> Typed:
        start = f"route {verb} {'default' if to.dst is None else to.dst}{' -6' if to.ipv6 else ''}"
        return words_of(start, via=to.via, dev=to.dev, metric=to.metric), build(to)

    routes = st.builds(
        lambda dst, via, dev, metric, ipv6: ip.RouteTo(dst, via, dev, metric=metric, ipv6=ipv6),
        NETWORK,
        st.none() | ADDRESS,
        st.none() | INTERFACE,
        METRIC,
        st.booleans(),
    )
    return routes.map(typed)


ACTS: dict[str, Callable[..., Command]] = {
    "": arping.probe,
    " -U": arping.announce,
    " -D": arping.find_duplicate,
}

BUILT: dict[str, st.SearchStrategy[Typed]] = {
    "netns": st.builds(lambda n: (["netns", "add", n], ip.netns_add(n)), NETNS)
    | st.builds(lambda n: (["netns", "del", n], ip.netns_del(n)), NETNS),
    "link": st.builds(
        lambda dev, parent, mode, flag, netns: (
            words_of(f"link add {dev} --link {parent} --mode {mode}", flag=flag, to_netns=netns),
            ip.link_add(dev, ip.Ipvlan(parent, mode, flag), netns=netns),
        ),
        INTERFACE,
        INTERFACE,
        st.sampled_from(get_args(Mode)),
        st.none() | st.sampled_from(get_args(Flag)),
        st.none() | NETNS,
    )
    | st.builds(
        lambda dev, peer, netns: (
            ["link", "add", dev, "--type", "veth", "--peer", peer, "--peer-netns", netns],
            ip.link_add(dev, ip.Veth(peer, netns)),
        ),
        INTERFACE,
        INTERFACE,
        NETNS,
    )
    | st.builds(
        lambda dev, netns, master, name, mtu: (
            words_of(f"link set {dev} --up", to_netns=netns, master=master, name=name, mtu=mtu),
            ip.link_set(dev, up=True, netns=netns, master=master, name=name, mtu=mtu),
        ),
        INTERFACE,
        st.none() | NETNS,
        st.none() | INTERFACE,
        st.none() | INTERFACE,
        st.none() | st.integers(68, 65535),
    )
    | st.builds(lambda dev: (["link", "del", dev], ip.link_delete(dev)), INTERFACE)
    | st.builds(lambda dev: (["link", "list", dev], ip.addr_show(dev, details=True)), INTERFACE),
    "addr": st.builds(
        lambda address, dev: (["addr", "add", str(address), "--dev", dev], ip.addr_add(address, dev)),
        PREFIXED,
        INTERFACE,
    )
    | st.builds(
        lambda address, dev: (["addr", "del", str(address), "--dev", dev], ip.addr_del(address, dev)),
        PREFIXED,
        INTERFACE,
    ),
    "route": a_route("add", ip.route_add) | a_route("del", ip.route_del),
    "rule": st.builds(
        lambda source, table, priority: (
            words_of(f"rule add --table {table} --from {source.network}", priority=priority),
            ip.rule_add(ip.RuleFor(table, source.network, priority=priority)),
        ),
        PREFIXED,
        st.integers(1, 252),
        st.none() | st.integers(0, 32765),
    ),
    "neigh": st.builds(lambda dev: (["neigh", "list", "--dev", dev], ip.neigh_show(dev)), INTERFACE),
    "ping": st.builds(
        lambda to, count, source, size: (
            words_of(f"ping {to} -c {count}", source=source, size=size),
            ping.ping(to, count=count, interval=1, wait=1, source=source, size=size),
        ),
        ADDRESS | HOST,
        st.integers(1, 10**6),
        st.none() | ADDRESS | INTERFACE,
        st.none() | st.integers(0, 65507),
    ),
    "arping": st.builds(
        lambda to, dev, count, by, act: (
            words_of(f"arping {to} -I {dev} -c {count} --by {by}{act}"),
            ACTS[act](to, dev, count=count, by=by),
        ),
        addresses(),
        INTERFACE,
        st.integers(1, 10**6),
        st.sampled_from(get_args(arping.Implementation)),
        st.sampled_from(("", " -U", " -D")),
    ),
}


@pytest.mark.parametrize("command", BUILT)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.data())
def test_a_dry_run_shows_what_the_builder_builds(
    call: Callable[..., Called], command: str, data: st.DataObject
) -> None:
    words, built = data.draw(BUILT[command])
    netns = None if words[0] == "netns" else data.draw(st.none() | NETNS)
    code, out, err = call(*words, *([] if netns is None else ["--netns", netns]), "--dry-run")
    assert (code, err) == (0, "")
    placed = built
    if netns is not None:
        placed = ip.at(netns, built) if built.argv[0] == "ip" else in_netns(netns, built)
    assert [shlex.split(line) for line in commands_in(out)] == [list(placed.argv)]


# --- what is executed -----------------------------------------------------------------------------------


def test_a_dry_run_executes_nothing_at_all(tmp_path: Path) -> None:
    """Python itself refuses to start anything; nothing is on PATH but fakes that would tell it too."""
    recorder = Recorder(tmp_path)
    rows = [*([*typed.split(), "--dry-run"] for typed in EVERYTHING)]
    rows += [[*typed.split(), "--dry-run", "--netns", "lab"] for typed in IN_A_NAMESPACE]
    rows += [[*typed.split(), "--dry-run", "--target", "uml"] for typed in list(SHOWN)[::5]]
    script = f"""\
import sys
def refuse(event, arguments):
    if event.startswith({test_cli.REFUSED!r}):
        raise AssertionError(event)
sys.addaudithook(refuse)
from ipvkit.cli import main
for words in {rows!r}:
    print("exit code", main(words))
"""
    environment = {**os.environ, "PATH": str(recorder.bin)}
    argv = [sys.executable, "-c", script]
    done = subprocess.run(argv, capture_output=True, text=True, env=environment, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("exit code 0\n") == len(rows) > 100
    assert recorder.log() == []


def answer_as_iputils_does(recorder: Recorder) -> None:
    """Have the fakes print what every ping and arping prints, in a namespace too."""
    printed = {
        "'ping -V'": "iputils-20240905/ping-version",
        "'arping -V'": "iputils-20240905/arping-version",
        "*'arping -c '*": "iputils-20240905/arping-plain",
        "*'arping -D '* | *'arping -U '*": "iputils-20240905/arping-plain",
        "*'ping -c '* | *'ping6 -c '*": "iputils-20240905/ping-plain",
    }
    cases = " ".join(f"{line}) cat {FIXTURES / name}.txt ;;" for line, name in printed.items())
    recorder.answer({"ping -V": Answer()}, before_the_end=f"case $line in {cases} esac")


@pytest.mark.long
@pytest.mark.parametrize(
    "typed", [*EVERYTHING, *(f"{typed} -n lab" for typed in list(IN_A_NAMESPACE)[::4])], ids=str
)
def test_what_is_executed_is_what_is_shown(
    call: Callable[..., Called], recorder: Recorder, typed: str
) -> None:
    answer_as_iputils_does(recorder)
    shown = commands_in(call(*typed.split(), "--dry-run")[1])
    assert executed(recorder) == []
    code, _, err = call(*typed.split())
    assert err == ""
    # With -D somebody who answers is bad news.
    assert code == (1 if {"-D", "--duplicate"} & {*typed.split()} else 0)
    assert [line for line in executed(recorder) if not line.endswith("ping -V")] == shown


CHANGES = [typed for typed in EVERYTHING if typed.split()[0] in GROUPS and typed.split()[1] != "list"]


@pytest.mark.long
@pytest.mark.parametrize("typed", CHANGES)
def test_a_change_is_silent_and_with_json_a_document(
    call: Callable[..., Called], recorder: Recorder, typed: str
) -> None:
    assert call(*typed.split()) == (0, "", "")
    [line] = SHOWN[typed]
    recorder.answer({line: Answer(stdout="said\n", stderr="complained\n")})
    code, out, err = call(*typed.split(), "--json")
    assert (code, err) == (0, "")
    document = json.loads(out)
    assert document.pop("duration_s") >= 0
    assert document == {
        "schema": "ipvkit/command/v1",
        "command": line,
        "argv": shlex.split(line),
        "exit_code": 0,
        "stdout": "said\n",
        "stderr": "complained\n",
    }


LISTS = {
    "netns list": "no network namespaces\n",
    "link list": "no links\n",
    "link list --all": "no links\n",
    "addr list": "no addresses\n",
    "route list": "no routes\n",
    "rule list": "no rules\n",
    "neigh list": "no neighbours\n",
}


@pytest.mark.parametrize("typed", LISTS)
def test_a_list_of_nothing_is_told_in_words(
    call: Callable[..., Called], recorder: Recorder, typed: str
) -> None:
    assert call(*typed.split()) == (0, LISTS[typed], "")
    code, out, err = call(*typed.split(), "--json")
    assert (code, err) == (0, "")
    assert list(json.loads(out).values()) == [f"ipvkit/{typed.split()[0]}/v1", [], True]
    assert len(executed(recorder)) == 2 * len(EVERYTHING[typed])


def test_links_of_a_kind_are_those_of_it(call: Callable[..., Called], recorder: Recorder) -> None:
    listed = [
        {"ifname": "eth0", "ifindex": 2, "address": "02:00:00:00:00:01"},
        {"ifname": "br0", "ifindex": 3, "linkinfo": {"info_kind": "bridge"}},
        {"ifname": "v1", "ifindex": 4, "link": "eth0", "linkinfo": {"info_kind": "vlan"}},
    ]
    recorder.answer({"ip -json -details addr show": Answer(json.dumps(listed))})
    code, out, _ = call("link", "list", "--type", "vlan", "--json")
    assert code == 0
    assert [(link["ifname"], link["parent"]) for link in json.loads(out)["links"]] == [("v1", "eth0")]


# --- mistakes -------------------------------------------------------------------------------------------

NAME_HINT = "letters, digits and _ . + -"

MISTAKES: dict[str, tuple[list[str], str, str]] = {
    "a namespace that could be a path": (
        ["netns", "add", "a/b"],
        "invalid network namespace name 'a/b'",
        NAME_HINT,
    ),
    "a namespace that could be an option": (["netns", "add", "-x"], "No such option: -x", "--help"),
    "an option for a namespace": (
        ["netns", "add", "--", "-x"],
        "invalid network namespace name '-x'",
        NAME_HINT,
    ),
    "a namespace with a blank": (["netns", "del", "a b"], "invalid network namespace name 'a b'", NAME_HINT),
    "a namespace too long": (["netns", "add", "n" * 256], "invalid network namespace name", "255 at most"),
    "no namespace": (["netns", "add"], "Missing argument 'NETNS'", "--help"),
    "two namespaces": (["netns", "add", "a", "b"], "b", "--help"),
    "a link too long": (["link", "del", "a" * 16], f"invalid interface name '{'a' * 16}'", "15 at most"),
    "a link that could be shell": (["link", "del", "$(x)"], "invalid interface name '$(x)'", NAME_HINT),
    "a link with a newline": (["link", "del", "a\nb"], r"invalid interface name 'a\nb'", NAME_HINT),
    "a link with an escape": (["link", "del", "\x1b[31m"], r"invalid interface name '\x1b[31m'", NAME_HINT),
    "a link of no bytes": (["link", "del", ""], "invalid interface name ''", NAME_HINT),
    "ipvlan without a parent": (["link", "add", "x", "--mode", "l2"], "of type ipvlan needs --link", ""),
    "ipvlan without a mode": (["link", "add", "x", "--link", "e"], "of type ipvlan needs --mode", ""),
    "ipvlan in macvlan's mode": (
        *(["link", "add", "x", "--link", "e", "--mode", "vepa"], "ipvlan has no mode vepa"),
        "l2, l3, l3s",
    ),
    "ipvlan with a tag": (
        *(
            ["link", "add", "x", "--link", "e", "--mode", "l2", "--id", "1"],
            "--id does not go with --type ipvlan",
        ),
        "",
    ),
    "macvlan in ipvlan's mode": (
        *(["link", "add", "x", "--type", "macvlan", "--link", "e", "--mode", "l2"], "macvlan has no mode l2"),
        "passthru",
    ),
    "macvlan with a flag": (
        *(
            ["link", "add", "x", "--type", "macvlan", "--link", "e", "--flag", "vepa"],
            "--flag does not go with",
        ),
        "",
    ),
    "vlan without a tag": (["link", "add", "x", "--type", "vlan", "--link", "e"], "type vlan needs --id", ""),
    "vlan with tag 0": (
        ["link", "add", "x", "--type", "vlan", "--link", "e", "--id", "0"],
        "'--id'",
        "--help",
    ),
    "vlan with tag 4095": (
        *(["link", "add", "x", "--type", "vlan", "--link", "e", "--id", "4095"], "'--id'"),
        "--help",
    ),
    "veth without a peer": (["link", "add", "x", "--type", "veth", "--peer-netns", "n"], "needs --peer", ""),
    "veth without a namespace": (
        ["link", "add", "x", "--type", "veth", "--peer", "y"],
        "needs --peer-netns",
        "",
    ),
    "a bridge with a parent": (
        *(["link", "add", "x", "--type", "bridge", "--link", "e"], "--link does not go with --type bridge"),
        "",
    ),
    "an unknown type": (["link", "add", "x", "--type", "team"], "'team' is not one of", "--help"),
    "an alternative name and more": (
        ["link", "set", "x", "--altname", "y", "--up"],
        "an alternative name does not go with other changes",
        "type two commands",
    ),
    "two alternative names": (
        ["link", "set", "x", "--altname", "y", "--no-altname", "z"],
        "an alternative name does not go with other changes",
        "type two commands",
    ),
    "nothing to set": (["link", "set", "x"], "link set x: nothing to set", "such as up"),
    "an MTU too small": (["link", "set", "x", "--mtu", "67"], "'--mtu'", "--help"),
    "an MTU in words": (["link", "set", "x", "--mtu", "big"], "'--mtu'", "--help"),
    "macvlan's mode to set": (
        ["link", "set", "x", "--mode", "vepa"],
        "ipvlan has no mode vepa",
        "l2, l3, l3s",
    ),
    "all namespaces and one": (
        ["link", "list", "--all", "-n", "a"],
        "--all does not go with --netns",
        "one of the two",
    ),
    "an address without a length": (
        *(["addr", "add", "192.0.2.1", "--dev", "x"], "'192.0.2.1' has no prefix length"),
        "192.0.2.1/24",
    ),
    "an IPv6 address without a length": (
        *(["addr", "del", "2001:db8::1", "--dev", "x"], "'2001:db8::1' has no prefix length"),
        "2001:db8::1/64",
    ),
    "an address with too long a length": (
        *(["addr", "add", "192.0.2.1/33", "--dev", "x"], "'192.0.2.1/33' has no prefix length from 0 to 32"),
        "",
    ),
    "an address that is none": (
        ["addr", "add", "192.0.2.256/24", "--dev", "x"],
        "invalid address '192.0.2.256'",
        "2001",
    ),
    "an address without a link": (["addr", "add", "192.0.2.1/24"], "Missing option '--dev'", "--help"),
    "an address of no link": (
        ["addr", "add", "192.0.2.1/24", "--dev", "a b"],
        "invalid interface name 'a b'",
        NAME_HINT,
    ),
    "a network with host bits": (
        *(
            ["route", "add", "192.0.2.1/24", "--dev", "x"],
            "invalid network '192.0.2.1/24': host bits are set",
        ),
        "write 192.0.2.0/24",
    ),
    "a network that is none": (["route", "add", "all", "--dev", "x"], "invalid address 'all'", "192.0.2.1"),
    "a gateway that is none": (
        ["route", "add", "default", "--via", "gw"],
        "invalid address 'gw'",
        "192.0.2.1",
    ),
    "a source that is none": (["route", "add", "default", "--src", "x"], "invalid address 'x'", "192.0.2.1"),
    "a metric below 0": (["route", "del", "default", "--metric", "-1"], "'--metric'", "--help"),
    "a rule of none": (["rule", "del"], "rule del: no rule is named", "priority"),
    "a rule for all": (
        ["rule", "add", "--table", "7", "--to", "default"],
        "`default` is not a network",
        "192.0.2",
    ),
    "an unknown change": (["neigh", "add"], "unknown command 'add'", "--help"),
    "a namespace of no name": (
        ["neigh", "list", "--netns", ""],
        "invalid network namespace name ''",
        NAME_HINT,
    ),
    "a host that is none": (["ping", "a b"], "invalid address or host name 'a b'", ""),
    "an address cut short": (["ping", "192.0.2"], "invalid address or host name '192.0.2'", ""),
    "an option for a host": (["ping", "--", "-f"], "invalid address or host name '-f'", ""),
    "a scope that is no link": (["ping", "fe80::1%a/b"], "invalid address or host name 'fe80::1%a/b'", ""),
    "no host": (["ping"], "Missing argument 'DESTINATION'", "--help"),
    "no pings": (["ping", "192.0.2.3", "-c", "0"], "'--count'", "--help"),
    "pings without a pause": (["ping", "192.0.2.3", "-i", "0"], "'--interval'", "--help"),
    "a wait that is no number": (["ping", "192.0.2.3", "-W", "nan"], "'--wait'", "--help"),
    "a wait without end": (["ping", "192.0.2.3", "-W", "inf"], "--wait", ""),
    "a pause without end": (["ping", "192.0.2.3", "-i", "inf"], "--interval", ""),
    "a payload too long": (["ping", "192.0.2.3", "-s", "65508"], "'--size'", "--help"),
    "a hop limit of 0": (["ping", "192.0.2.3", "-t", "0"], "'--ttl'", "--help"),
    "a source of a ping that is none": (
        ["ping", "192.0.2.3", "-I", "a b"],
        "invalid interface name 'a b'",
        NAME_HINT,
    ),
    "an unknown ping": (["ping", "192.0.2.3", "--by", "gnu"], "'gnu' is not one of", "--help"),
    "an arping of IPv6": (
        ["arping", "2001:db8::1", "-I", "x"],
        "2001:db8::1 is an IPv6 address",
        "ipvkit ping",
    ),
    "an arping of a name": (["arping", "gateway", "-I", "x"], "invalid address 'gateway'", "192.0.2.1"),
    "an arping without a link": (["arping", "192.0.2.3"], "Missing option '-I' / '--dev'", "--help"),
    "an arping of no link": (["arping", "192.0.2.3", "-I", "a;b"], "invalid interface name 'a;b'", NAME_HINT),
    "announced and asked for": (
        *(["arping", "192.0.2.3", "-I", "x", "-U", "-D"], "--announce does not go with --duplicate"),
        "give one of the two",
    ),
    "an unknown arping": (
        ["arping", "192.0.2.3", "-I", "x", "--by", "inetutils"],
        "'inetutils' is not",
        "--help",
    ),
}


@pytest.mark.parametrize(("words", "says", "hint"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_clear_line_and_exit_code_2(
    call: Callable[..., Called], recorder: Recorder, words: list[str], says: str, hint: str
) -> None:
    answer_as_iputils_does(recorder)
    assert_mistake(call, words, says, hint, 1 if words[0] in PROBES else 2)
    assert [line for line in executed(recorder) if not line.endswith("ping -V")] == []


@pytest.mark.parametrize(
    "words",
    [["ping", "a b"], ["ping", "192.0.2.3", "-I", "a b"], ["arping", "192.0.2.3", "-I", "a b"]],
    ids=str,
)
def test_a_mistake_is_found_before_a_ping_is_asked_for_its_version(
    call: Callable[..., Called], recorder: Recorder, words: list[str]
) -> None:
    answer_as_iputils_does(recorder)
    assert call(*words)[0] == 2
    assert executed(recorder) == []


def test_a_preview_is_no_document(call: Callable[..., Called]) -> None:
    for typed in EVERYTHING:
        code, out, err = call(*typed.split(), "--dry-run", "--json")
        assert code == 2
        assert json.loads(out)["error"]["message"] == "--dry-run does not go with --json"
        assert_one_line(err, "--dry-run does not go with --json", "")


TAKES_AN_INTERFACE: dict[str, Callable[[str], list[str]]] = {
    "link add": lambda name: ["link", "add", "--type", "bridge", "--", name],
    "link add --link": lambda name: ["link", "add", "x", "--mode", "l2", f"--link={name}"],
    "link add --peer": lambda name: ["link", "add", "x", "--type=veth", "--peer-netns=n", f"--peer={name}"],
    "link list": lambda name: ["link", "list", "--", name],
    "link set": lambda name: ["link", "set", "--up", "--", name],
    "link set --master": lambda name: ["link", "set", "x", f"--master={name}"],
    "link set --name": lambda name: ["link", "set", "x", f"--name={name}"],
    "link del": lambda name: ["link", "del", "--", name],
    "addr add": lambda name: ["addr", "add", "192.0.2.1/24", f"--dev={name}"],
    "addr del": lambda name: ["addr", "del", "192.0.2.1/24", f"--dev={name}"],
    "addr list": lambda name: ["addr", "list", f"--dev={name}"],
    "route add": lambda name: ["route", "add", "default", f"--dev={name}"],
    "route del": lambda name: ["route", "del", "default", f"--dev={name}"],
    "route list": lambda name: ["route", "list", f"--dev={name}"],
    "neigh list": lambda name: ["neigh", "list", f"--dev={name}"],
    "arping": lambda name: ["arping", "192.0.2.3", "--by=habets", f"--dev={name}"],
}

TAKES_AN_ALTERNATIVE_NAME: dict[str, Callable[[str], list[str]]] = {
    "link set --altname": lambda name: ["link", "set", "x", f"--altname={name}"],
    "link set --no-altname": lambda name: ["link", "set", "x", f"--no-altname={name}"],
    "announce --parent": lambda name: ["announce", "192.0.2.3", f"--parent={name}", "--unit"],
}

TAKES_A_NAMESPACE: dict[str, Callable[[str], list[str]]] = {
    "netns add": lambda name: ["netns", "add", "--", name],
    "netns del": lambda name: ["netns", "del", "--", name],
    "link add --to-netns": lambda name: ["link", "add", "x", "--type=bridge", f"--to-netns={name}"],
    "link add --peer-netns": lambda name: [
        "link",
        "add",
        "x",
        "--type=veth",
        "--peer=y",
        f"--peer-netns={name}",
    ],
    "link set --to-netns": lambda name: ["link", "set", "x", f"--to-netns={name}"],
    "route list --netns": lambda name: ["route", "list", f"--netns={name}"],
    "ping --netns": lambda name: ["ping", "192.0.2.3", "--by=iputils", f"--netns={name}"],
}


@pytest.mark.parametrize(
    ("what", "longest", "takes"),
    [
        ("interface", 15, TAKES_AN_INTERFACE),
        ("alternative interface", 127, TAKES_AN_ALTERNATIVE_NAME),
        ("network namespace", 255, TAKES_A_NAMESPACE),
    ],
    ids=["interface", "alternative", "namespace"],
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.data())
def test_no_hostile_name_gets_through(
    call: Callable[..., Called],
    recorder: Recorder,
    what: str,
    longest: int,
    takes: dict[str, Callable[[str], list[str]]],
    data: st.DataObject,
) -> None:
    typed = takes[data.draw(st.sampled_from(sorted(takes)))]
    name = data.draw(hostile_names(longest))
    code, out, err = call(*typed(name))
    assert (code, out) == (2, "")
    assert_one_line(err, f"invalid {what} name {name!r}", "")
    assert executed(recorder) == []


@pytest.mark.parametrize(
    "typed",
    [*TAKES_AN_INTERFACE.values(), *TAKES_AN_ALTERNATIVE_NAME.values(), *TAKES_A_NAMESPACE.values()],
    ids=[*TAKES_AN_INTERFACE, *TAKES_AN_ALTERNATIVE_NAME, *TAKES_A_NAMESPACE],
)
def test_no_place_takes_a_hostile_name(
    call: Callable[..., Called], recorder: Recorder, typed: Callable[[str], list[str]]
) -> None:
    for name in ("", "a/b", "-x", "n" * 256):
        code, out, err = call(*typed(name))
        assert (code, out) == (2, "")
        assert_one_line(err, f" name {name!r}", "")
    assert executed(recorder) == []


# --- failures -------------------------------------------------------------------------------------------

EXISTS = "RTNETLINK answers: File exists"
NOT_PERMITTED = "RTNETLINK answers: Operation not permitted"

FAILURES: dict[str, tuple[str, str, Answer, str]] = {
    "a namespace that is there": (
        *("netns add test1", "ip netns add test1"),
        Answer(stderr='Cannot create namespace file "/run/netns/test1": File exists\n', exit_code=1),
        "ip failed with exit code 1",
    ),
    "a link that is there, in a namespace": (
        *("link add test1 --type bridge -n lab", "ip -n lab link add test1 type bridge"),
        Answer(stderr=f"{EXISTS}\n", exit_code=2),
        "ip failed with exit code 2",
    ),
    "several lines": (
        *("addr add 192.0.2.1/24 --dev x", "ip addr add 192.0.2.1/24 dev x"),
        Answer(stderr="one\ntwo\n", exit_code=255),
        "ip failed with exit code 255",
    ),
    "only on stdout": (
        *("route del default", "ip route del default"),
        Answer(stdout="RTNETLINK answers: No such process\n", exit_code=2),
        "ip failed with exit code 2",
    ),
    "not a word": (
        *("link del x", "ip link delete dev x"),
        Answer(exit_code=3),
        "ip failed with exit code 3",
    ),
    "the second of two": (
        *("route list", "ip -json -6 route show"),
        Answer(stderr="Dump terminated\n", exit_code=1),
        "ip failed with exit code 1",
    ),
    "in each namespace": (
        *("link list --all", "ip -all netns exec ip -json -details addr show"),
        Answer(stderr="mount of /sys failed: Device or resource busy\n", exit_code=1),
        "ip failed with exit code 1",
    ),
    "a ping of a name that is none": (
        *("ping nosuch.example --by iputils", "ping -c 4 -i 1 -W 1 nosuch.example"),
        Answer(stderr="ping: nosuch.example: Name or service not known\n", exit_code=2),
        "ping failed with exit code 2",
    ),
    "a ping in no namespace": (
        *("ping 192.0.2.3 --by iputils -n lab", "ip netns exec lab ping -c 4 -i 1 -W 1 192.0.2.3"),
        Answer(stderr='Cannot open network namespace "lab": No such file or directory\n', exit_code=255),
        "ip failed with exit code 255",
    ),
}
"""What is typed, the command that fails, what it says, and how the error begins."""

FORBIDDEN: dict[str, tuple[str, str, Answer, str]] = {
    "to change links": (
        *("link add test1 --type bridge", "ip link add test1 type bridge"),
        Answer(stderr=f"{NOT_PERMITTED}\n", exit_code=2),
        "permission denied",
    ),
    "to make a namespace": (
        *("netns add test1", "ip netns add test1"),
        Answer(stderr="mkdir /run/netns failed: Permission denied\n", exit_code=1),
        "permission denied",
    ),
    "to send ARP": (
        *("arping 192.0.2.3 -I eth0 --by iputils", "arping -c 2 -w 3 -I eth0 192.0.2.3"),
        Answer(stderr="arping: socket: Operation not permitted\n", exit_code=2),
        "permission denied",
    ),
}
NOT_DONE = [(4, *failure) for failure in FAILURES.values()] + [
    (3, *refusal) for refusal in FORBIDDEN.values()
]


@pytest.mark.long
@pytest.mark.parametrize(
    ("code", "typed", "line", "answer", "message"), NOT_DONE, ids=[*FAILURES, *FORBIDDEN]
)
def test_a_command_that_fails_is_shown_with_its_words(
    call: Callable[..., Called],
    recorder: Recorder,
    code: int,
    typed: str,
    line: str,
    answer: Answer,
    message: str,
) -> None:
    recorder.answer({line: answer})
    said = (answer.stderr or answer.stdout).strip()
    hint = ["hint: use sudo"] if code == 3 else []
    lines = [f"error: {message}", f"  command: {line}", *(f"  {one}" for one in said.splitlines()), *hint]
    told = "".join(f"{one}\n" for one in lines)
    assert call(*typed.split()) == (code, "", told)
    found, out, err = call(*typed.split(), "--json")
    assert (found, err) == (code, told)
    assert json.loads(out) == {
        "schema": "ipvkit/error/v1",
        "error": {
            "message": message,
            "hint": "use sudo" if code == 3 else None,
            "command": line,
            "stderr": said,
            "exit_code": code,
        },
    }
    assert executed(recorder)[-1] == line


def test_the_hint_names_a_target_with_ipvlan_where_the_kernel_has_none(
    call: Callable[..., Called], recorder: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ipvlan, "MODULES", tmp_path)
    recorder.answer(
        {
            f"ip link add test1 link eth0 type {kind}": Answer(
                stderr="Error: Unknown device type.\n", exit_code=2
            )
            for kind in ("ipvlan mode l2", "macvlan mode bridge")
        }
    )
    code, _, err = call("link", "add", "test1", "--link", "eth0", "--mode", "l2")
    assert code == 4
    assert err.endswith("hint: this kernel has no ipvlan: use --target uml\n")
    _, _, err = call("link", "add", "test1", "--link", "eth0", "--type", "macvlan")
    assert "hint" not in err


def test_what_dies_of_a_signal_is_told(call: Callable[..., Called], recorder: Recorder) -> None:
    recorder.answer({}, before_the_end="kill -SEGV $$")
    code, out, err = call("netns", "del", "test1")
    assert (code, out) == (4, "")
    assert err == "error: ip died of SIGSEGV\n  command: ip netns del test1\n"


LISTED_BADLY = {
    "netns list": "ip netns",
    "link list": "ip addr",
    "addr list": "ip addr",
    "route list": "ip route",
    "neigh list": "ip neigh",
}


@pytest.mark.parametrize(("typed", "tool"), LISTED_BADLY.items())
def test_a_list_that_is_not_understood_is_an_error(
    call: Callable[..., Called], recorder: Recorder, typed: str, tool: str
) -> None:
    recorder.answer(dict.fromkeys(SHOWN[typed], Answer('[{"hm":[}]\n')))
    code, out, err = call(*typed.split())
    assert (code, out) == (4, "")
    assert_one_line(err, f"the output of {tool} was not understood at line 1: ", "ipvkit doctor")


def test_a_program_that_is_not_there_is_named(
    call: Callable[..., Called], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    code, out, err = call("arping", "192.0.2.3", "-I", "eth0")
    assert (code, out) == (3, "")
    assert_one_line(err, "arping is not installed", "apt install iputils-arping")


# --- help, and what is loaded ---------------------------------------------------------------------------


@pytest.mark.parametrize("group", GROUPS)
def test_a_group_alone_prints_its_help(call: Callable[..., Called], group: str) -> None:
    assert call(group) == call(group, "--help")
    code, out, err = call(group)
    assert (code, err) == (0, "")
    for path in SINGLE:
        assert (path[0] == group) <= (f"\n  {path[-1]} " in out)


@pytest.mark.parametrize(("path", "command"), SINGLE.items(), ids=[" ".join(path) for path in SINGLE])
def test_each_command_has_help_and_so_has_each_option(
    call: Callable[..., Called], path: tuple[str, ...], command: Any
) -> None:
    code, out, err = call(*path, "--help")
    assert (code, err) == (0, "")
    assert out.startswith(f"Usage: ipvkit {' '.join(path)} ")
    about = (command.help or "").strip()
    assert len(about) > 10
    assert about.splitlines()[0].split()[0] in out
    assert [option.name for option in command.params if not getattr(option, "help", "")] == []


HEAVY = {"sh", "typer", "rich", "yaml", "tabulate"}


@pytest.mark.parametrize("module", ["ipvkit.tools.ping", "ipvkit.tools.arping", "ipvkit.tools.ip"])
def test_a_parser_loads_nothing_of_other_people(module: str) -> None:
    script = f"import sys, {module}; print(*sys.modules)"
    argv = [sys.executable, "-c", script]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert module.partition(".")[0] in loaded
    assert loaded & HEAVY == set()
