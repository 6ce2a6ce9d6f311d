"""Single commands on a real kernel: in namespaces that end with the test, and a ping of this machine."""

import json
import re
import subprocess
import sys
from collections.abc import Callable

import pytest
import test_cli

from command_line import IPVKIT, Called
from namespaces import IN_NAMESPACES_OF_ITS_OWN
from requires import requires, skip_without

call = test_cli.call

NOT_PERMITTED = "RTNETLINK answers: Operation not permitted"

needs_namespaces = requires("namespaces", "macvlan")


def printed_in(world: str, program: str, *arguments: str) -> list[str]:
    """Return the lines that a Python `program` prints in separate namespaces, after `world`, in bash."""
    done = subprocess.run(
        [
            *(*IN_NAMESPACES_OF_ITS_OWN, "--pid", "--fork", "--mount-proc", "--kill-child"),
            *("bash", "-euc", f'{world}\nexec "$@"', "bash", sys.executable, "-c", program, *arguments),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


CALLS_MAIN = """\
import contextlib, io, json, subprocess, sys
from ipvkit.cli import main
subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)
called = {}
for name, line in json.load(sys.stdin).items():
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(line.split())
    called[name] = code, out.getvalue(), err.getvalue()
print(json.dumps(called))
"""

LAN = {
    "no namespaces": "netns list",
    "add a": "netns add a",
    "add b": "netns add b --json",
    "two namespaces": "netns list --json",
    "add a once more": "netns add a",
    "lo up": "link set lo --up",
    "bridge": "link add br0 --type bridge --up",
    "veth": "link add v0 --type veth --peer v1 --peer-netns a --up",
    "port": "link set v0 --master br0 --mtu 1400",
    "peer up": "link set v1 --up --netns a",
    "macvlan": "link add m0 --type macvlan --link br0 --mode private",
    "macvlan elsewhere": "link add m1 --type macvlan --link br0 --to-netns b",
    "vlan": "link add br0.5 --type vlan --link br0 --id 5",
    "ipvlan": "link add i0 --link v0 --mode l2",
    "address": "addr add 192.0.2.1/24 --dev br0",
    "IPv6 address": "addr add 2001:db8::1/128 --dev lo",
    "peer's address": "addr add 192.0.2.2/24 --dev v1 -n a",
    "route": "route add 198.51.100.0/24 --via 192.0.2.2 --src 192.0.2.1 --metric 5",
    "IPv6 route": "route add 2001:db8:5::/48 --dev lo --metric 7",
    "links": "link list --json",
    "bridges": "link list --type bridge",
    "one link": "link list v0 --json",
    "links in a": "link list --netns a",
    "all links": "link list --all --json",
    "a link that is only in a": "link list v1 --all --json",
    "no such link": "link list nosuch0",
    "addresses": "addr list --dev br0 --json",
    "loopback's addresses": "addr list --dev lo",
    "routes": "route list",
    "routes of br0": "route list --dev br0 --json",
    "ping": "ping 192.0.2.2 -c 1",
    "ping from a": "ping 192.0.2.1 -c 1 -n a --json",
    "arping": "arping 192.0.2.2 -I br0 -c 1 --json",
    "in use": "arping 192.0.2.2 -I br0 -c 1 -D",
    "not one's own": "arping 192.0.2.9 -I br0 -c 1 -U",
    "neighbours": "neigh list",
    "neighbours as JSON": "neigh list --dev br0 --json",
    "no address any more": "addr del 192.0.2.1/24 --dev br0",
    "no route any more": "route del 2001:db8:5::/48 --dev lo --metric 7",
    "no link any more": "link del m0",
    "no namespace any more": "netns del b",
    "macvlans at the end": "link list --type macvlan",
    "namespaces at the end": "netns list",
}
"""What is typed in namespaces that end with it, by name."""


@pytest.fixture(scope="module")
def lan() -> dict[str, Called]:
    """Return what came of each line of LAN."""
    done = subprocess.run(
        [*IN_NAMESPACES_OF_ITS_OWN, sys.executable, "-c", CALLS_MAIN],
        input=json.dumps(LAN),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return {name: (code, out, err) for name, (code, out, err) in json.loads(done.stdout).items()}


def rows(table: str) -> list[list[str]]:
    """Return the cells of a table that has none empty."""
    return [line.split() for line in table.splitlines()[2:]]


@pytest.mark.long
@needs_namespaces
def test_real_namespaces(lan: dict[str, Called]) -> None:
    assert lan["no namespaces"] == (0, "no network namespaces\n", "")
    assert lan["add a"] == (0, "", "")
    assert json.loads(lan["add b"][1])["argv"] == ["ip", "netns", "add", "b"]
    names = [netns["name"] for netns in json.loads(lan["two namespaces"][1])["namespaces"]]
    assert sorted(names) == ["a", "b"]
    assert lan["no namespace any more"] == (0, "", "")
    assert rows(lan["namespaces at the end"][1]) == [["a", "0"]]
    code, out, err = lan["add a once more"]
    assert (code, out) == (4, "")
    assert err.splitlines()[:2] == ["error: ip failed with exit code 1", "  command: ip netns add a"]
    assert "File exists" in err


@needs_namespaces
def test_real_links(lan: dict[str, Called]) -> None:
    made = ("lo up", "bridge", "veth", "port", "peer up", "macvlan", "macvlan elsewhere", "no link any more")
    assert {name: lan[name] for name in made} == dict.fromkeys(made, (0, "", ""))
    links = {link["ifname"]: link for link in json.loads(lan["links"][1])["links"]}
    kinds = {name: (link["kind"], link["parent"], link["mode"]) for name, link in links.items()}
    assert kinds["m0"] == ("macvlan", "br0", "private")
    assert kinds["br0"] == ("bridge", None, None)
    assert links["v0"]["kind"] == "veth"
    assert links["v0"]["link_netnsid"] == 0
    assert (links["v0"]["master"], links["v0"]["mtu"]) == ("br0", 1400)
    assert [link["ifname"] for link in json.loads(lan["one link"][1])["links"]] == ["v0"]
    [bridge] = rows(lan["bridges"][1])
    assert bridge[:3] == ["br0", "bridge", "UP"]
    assert bridge[-1] == "192.0.2.1/24"
    assert lan["macvlans at the end"] == (0, "no links\n", "")


@needs_namespaces
def test_real_links_in_namespaces(lan: dict[str, Called]) -> None:
    header, _, *shown = lan["links in a"][1].splitlines()
    assert header.split()[:3] == ["netns", "dev", "type"]
    assert [row.split()[:3] for row in shown] == [["a", "lo", "loopback"], ["a", "v1", "veth"]]
    links = json.loads(lan["all links"][1])["links"]
    assert [link["ifname"] for link in links if link["netns"] is None][:2] == ["lo", "br0"]
    assert [link["ifname"] for link in links if link["netns"] == "a"] == ["lo", "v1"]
    [elsewhere] = [link for link in links if link["netns"] == "b" and link["ifname"] != "lo"]
    assert (elsewhere["ifname"], elsewhere["kind"], elsewhere["mode"]) == ("m1", "macvlan", "bridge")


@needs_namespaces
def test_a_real_link_is_found_in_whichever_namespace_it_is(lan: dict[str, Called]) -> None:
    code, out, err = lan["a link that is only in a"]
    assert (code, err) == (0, "")
    assert [(link["netns"], link["ifname"]) for link in json.loads(out)["links"]] == [("a", "v1")]


@needs_namespaces
@pytest.mark.parametrize(
    ("kind", "dev", "parent", "mode"), [("vlan", "br0.5", "br0", None), ("ipvlan", "i0", "v0", "l2")]
)
def test_a_real_link_that_not_every_kernel_has(
    lan: dict[str, Called], kind: str, dev: str, parent: str, mode: str | None
) -> None:
    code, out, err = lan[kind]
    if "Unknown device type" in err:
        assert (code, out) == (4, "")
        assert err.startswith(
            f"error: ip failed with exit code 2\n  command: ip link add {dev} link {parent} "
        )
        skip_without(f"a kernel with {kind}")
    assert (code, out, err) == (0, "", "")
    [link] = [link for link in json.loads(lan["links"][1])["links"] if link["ifname"] == dev]
    assert (link["kind"], link["parent"], link["mode"]) == (kind, parent, mode)


@needs_namespaces
def test_a_real_link_that_is_not_there_is_told_by_ip(lan: dict[str, Called]) -> None:
    code, out, err = lan["no such link"]
    assert (code, out) == (4, "")
    assert err.splitlines()[1:] == [
        "  command: ip -json -details addr show dev nosuch0",
        '  Device "nosuch0" does not exist.',
    ]


@needs_namespaces
def test_real_addresses(lan: dict[str, Called]) -> None:
    made = ("address", "IPv6 address", "peer's address", "no address any more")
    assert {name: lan[name] for name in made} == dict.fromkeys(made, (0, "", ""))
    [link] = json.loads(lan["addresses"][1])["links"]
    assert [a["address"] for a in link["addresses"] if a["scope"] == "global"] == ["192.0.2.1/24"]
    assert [row[:2] for row in rows(lan["loopback's addresses"][1])] == [
        ["lo", "127.0.0.1/8"],
        ["lo", "2001:db8::1/128"],
        ["lo", "::1/128"],
    ]


@needs_namespaces
def test_real_routes(lan: dict[str, Called]) -> None:
    made = ("route", "IPv6 route", "no route any more")
    assert {name: lan[name] for name in made} == dict.fromkeys(made, (0, "", ""))
    shown = rows(lan["routes"][1])
    assert ["198.51.100.0/24", "192.0.2.2", "br0", "192.0.2.1", "5"] in shown
    assert ["2001:db8:5::/48", "lo", "7"] in shown
    assert shown.index(["2001:db8:5::/48", "lo", "7"]) > shown.index(
        ["192.0.2.0/24", "br0", "192.0.2.1", "link", "kernel"]
    )
    routes = json.loads(lan["routes of br0"][1])["routes"]
    found = {route["dst"]: (route["via"], route["metric"]) for route in routes}
    assert found["198.51.100.0/24"] == ("192.0.2.2", 5)


@needs_namespaces
@requires("arping", "ping")
def test_real_probes(lan: dict[str, Called]) -> None:
    code, out, err = lan["ping"]
    assert (code, err) == (0, "")
    assert (
        "\n192.0.2.2  reply, ttl 64  1        1\n\nping 192.0.2.2: 1 transmitted, 1 received, 0 % lost; "
        in out
    )
    assert json.loads(lan["ping from a"][1])["received"] == 1
    code, out, err = lan["arping"]
    assert (code, err) == (0, "")
    report = json.loads(out)
    assert {reply["source"] for reply in report["replies"]} == {"192.0.2.2"}
    assert report["dev"] == "br0"
    code, out, _ = lan["in use"]
    assert code == 1
    assert out.splitlines()[2].split()[0] == "192.0.2.2"
    code, out, err = lan["not one's own"]
    assert (code, out) == (4, "")
    assert "Cannot assign requested address" in err


@needs_namespaces
@requires("arping")
def test_real_neighbours(lan: dict[str, Called]) -> None:
    lladdr = json.loads(lan["arping"][1])["replies"][0]["lladdr"]
    [row] = [row for row in rows(lan["neighbours"][1]) if row[0] == "192.0.2.2"]
    assert row[1:3] == ["br0", lladdr]
    [found] = [n for n in json.loads(lan["neighbours as JSON"][1])["neighbours"] if n["dst"] == "192.0.2.2"]
    assert found["lladdr"] == lladdr


@needs_namespaces
def test_who_has_no_right_to_the_network_is_told_to_use_sudo() -> None:
    """In a user namespace that has no root."""
    argv = ["unshare", "--user", "--net", *IPVKIT, "link", "add", "ipvkit-x", "--type", "bridge"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == (
        "error: permission denied\n  command: ip link add ipvkit-x type bridge\n"
        f"  {NOT_PERMITTED}\nhint: use sudo\n"
    )


@requires("icmp")
def test_a_real_ping_of_this_machine(call: Callable[..., Called]) -> None:
    code, out, err = call("ping", "127.0.0.1", "-c", "1")
    assert (code, err) == (0, "")
    *table, _, summary = out.splitlines()
    assert table[0].split() == ["from", "said", "times", "icmp_seq"]
    assert re.fullmatch(r"127\.0\.0\.1 +reply, ttl \d+ +1 +[01]", table[2])
    line = r"ping 127\.0\.0\.1: 1 transmitted, 1 received, 0 % lost; rtt [\d./]+ ms \(min/avg/max\)"
    assert re.fullmatch(line, summary)
    code, out, _ = call("ping", "127.0.0.1", "-c", "1", "--json")
    report = json.loads(out)
    assert (code, report["schema"], report["received"]) == (0, "ipvkit/ping/v1", 1)
    assert [reply["source"] for reply in report["replies"]] == ["127.0.0.1"]
