"""`ipvkit announce` and `ipvkit measure-arp`, with real ipvlan."""

import json
import re
import sys

import jsonschema_rs
import pytest

from documents import REFERENCE
from guest import in_guest, simulated_lan
from program import Program

ENDPOINT = """\
ip netns add test1
ip link add test1 link eth0 netns test1 up type ipvlan mode l3
ip -n test1 addr add 192.168.104.211/24 dev test1
ip -n test1 route add default dev test1
"""
IPVKIT = f"{sys.executable} -m ipvkit"

# bash starts background commands with ^C ignored; ipvkit must not inherit that here.
TOOLS = f"""\
export PYTHONDONTWRITEBYTECODE=1
announce() {{ : >/run/told; $as {IPVKIT} announce "$@" >/run/told 2>/run/said & pid=$!; told announcing; }}
told() {{
  for _ in $(seq 2000); do grep -qs "$1" /run/told && return; sleep 0.2; done
  cat /run/told /run/said
  exit 99
}}
as='env --default-signal=INT'
bind() {{ echo "bind $(sysctl -n net.ipv4.ip_nonlocal_bind)"; }}
ended() {{ wait $pid; echo "exits $?"; cat /run/told /run/said; bind; pgrep -x arping; true; }}
"""


def guest(script: str) -> list[str]:
    """Return the lines that `script` printed in a guest with an l3 endpoint."""
    said = in_guest(f"{simulated_lan()}{ENDPOINT}{TOOLS}{script}")
    assert said.exit_code == 0, said.output
    return said.output.splitlines()


def stopped(lines: list[str], why: str) -> bool:
    """Return whether a line tells of that end, and of the sysctl that was taken back."""
    wanted = rf"stopped after \d+ rounds? \({why}\); net\.ipv4\.ip_nonlocal_bind = 0 again"
    return any(re.fullmatch(wanted, line) for line in lines)


@pytest.mark.promise
def test_an_announced_endpoint_is_reached_for_longer_than_any_entry_lives() -> None:
    """The neighbour's timers are the kernel's defaults: one announcement lasts 8 s, the pings 12 s."""
    lines = guest(
        "ip netns exec neighbour ping -c 1 -W 10 192.168.104.211 | grep -o '[0-9] received'\n"
        "announce 192.168.104.211 --parent eth0 --every 1s\n"
        # Until the first announcement has come.
        "for _ in $(seq 2000); do ip -n neighbour neigh show 192.168.104.211 | grep -q STALE && break; done\n"
        "bind; ip netns exec neighbour ping -c 60 -i 0.2 192.168.104.211 | grep -o '[0-9]* received'\n"
        "kill -TERM $pid; ended\n"
    )
    assert lines[:3] == ["0 received", "bind 1", "60 received"]
    assert lines[3:5] == ["exits 130", "announcing 192.168.104.211 out of eth0 every 1 s"]
    assert stopped(lines[5:6], "interrupted by SIGTERM")
    assert lines[6:] == ["bind 0"]


def test_a_signal_ends_it_and_the_sysctl_is_as_it_was() -> None:
    lines = guest(
        "for name in INT TERM HUP; do\n"
        "announce 192.168.104.211 192.168.104.212 --parent eth0 --force --every 200ms; bind\n"
        "kill -$name $pid; ended\n"
        "done\n"
    )
    for number, name in enumerate(("INT", "TERM", "HUP")):
        told = lines[5 * number : 5 * number + 5]
        assert told[:2] == ["bind 1", "exits 130"]
        assert told[2] == "announcing 192.168.104.211, 192.168.104.212 out of eth0 every 0.2 s"
        assert stopped(told, f"interrupted by SIG{name}")
        assert told[4] == "bind 0"
    assert len(lines) == 15


def test_an_address_that_no_endpoint_has_is_refused_and_the_endpoints_are_named() -> None:
    said = in_guest(
        f"{simulated_lan()}{ENDPOINT}{IPVKIT} announce 192.168.104.212 --parent eth0; echo exits $?\n"
        f"ip netns exec gateway {IPVKIT} announce 192.168.104.211 --parent eth0; echo exits $?\n"
    )
    assert said.output.splitlines() == [
        "error: no endpoint of eth0 has 192.168.104.212",
        "hint: choose from 192.168.104.211 (test1 in netns test1); --force announces it anyway",
        "exits 2",
        "error: no endpoint of eth0 has 192.168.104.211",
        "hint: no namespace with a name has an endpoint of it; --force announces it anyway",
        "exits 2",
    ]


def test_a_parent_that_goes_down_is_told_once_and_so_is_its_return() -> None:
    lines = guest(
        "announce 192.168.104.211 --parent eth0 --every 200ms\n"
        "ip link set eth0 down; told failed; sleep 1; ip link set eth0 up; told again\n"
        "kill -TERM $pid; ended\n"
    )
    # Which of the two arping says depends on whether it had begun when the parent went down.
    said = ('Interface "eth0" is down', "recvfrom: Network is down")
    assert lines[2] in [f"192.168.104.211: arping failed: {words}" for words in said]
    assert lines[3] == "192.168.104.211: announced again"
    assert len(lines) == 6
    assert stopped(lines, "interrupted by SIGTERM")


@pytest.mark.slow
def test_a_sysctl_that_somebody_else_changed_is_left_alone() -> None:
    lines = guest(
        "announce 192.168.104.211 --parent eth0 --every 200ms\n"
        "sysctl -qw net.ipv4.ip_nonlocal_bind=0; told failed\n"
        "kill -TERM $pid; ended\n"
    )
    assert lines[2] == "192.168.104.211: arping failed: bind: Cannot assign requested address"
    assert lines[4] == (
        "net.ipv4.ip_nonlocal_bind was set to 1 and is 0 now: "
        "another process changed it, so it is not restored"
    )
    assert (lines[0], lines[5]) == ("exits 130", "bind 0")


def test_root_needs_no_more_than_the_unit_leaves_it() -> None:
    """Of all capabilities CAP_NET_RAW alone, in what systemd makes of CapabilityBoundingSet."""
    lines = guest(
        "as='setpriv --bounding-set -all,+net_raw --inh-caps -all --no-new-privs'\n"
        "ip netns exec neighbour ping -c 1 -W 10 192.168.104.211 >/dev/null\n"
        "announce 192.168.104.211 --parent eth0 --force --for 500ms; ended\n"
        "ip -n neighbour neigh show 192.168.104.211 | grep -o STALE\n"
        "as='setpriv --bounding-set -all --inh-caps -all --no-new-privs'\n"
        "announce 192.168.104.211 --parent eth0 --force --for 500ms; ended\n"
    )
    assert lines[0] == "exits 0"
    assert lines[2:5] == [
        "stopped after 1 round (time is up); net.ipv4.ip_nonlocal_bind = 0 again",
        "bind 0",
        "STALE",
    ]
    assert lines[5] == "exits 3"
    assert lines[8] == "error: permission denied"
    assert lines[-1] == "bind 0"


@pytest.mark.slow
def test_in_a_namespace_its_own_sysctl_is_set_and_its_own_link_sends() -> None:
    lines = guest(
        "ip netns exec gateway sysctl -qw net.ipv4.conf.eth0.arp_accept=1\n"
        "announce 192.168.104.50 --parent eth0 --netns neighbour --force --every 200ms; bind\n"
        "ip netns exec neighbour sysctl -n net.ipv4.ip_nonlocal_bind\n"
        "for _ in $(seq 2000); do ip -n gateway neigh show 192.168.104.50 | grep -q . && break; done\n"
        "ip -n gateway neigh show 192.168.104.50 | grep -o '[0-9a-f:]\\{17\\}'\n"
        "ip -n neighbour link show eth0 | grep -o 'ether [0-9a-f:]*'\n"
        "kill -TERM $pid; ended\n"
        "ip netns exec neighbour sysctl -n net.ipv4.ip_nonlocal_bind\n"
    )
    assert lines[:2] == ["bind 0", "1"]
    assert lines[3] == f"ether {lines[2]}"
    assert stopped(lines, "interrupted by SIGTERM")
    assert lines[-1] == "0"


# --- measure-arp ----------------------------------------------------------------------------------------


def test_an_announcement_lives_as_long_as_predicted_and_is_not_older_for_being_idle(
    program: Program,
) -> None:
    """Idle for longer than the path lives once it is used."""
    done = program.run("measure-arp", "--target", "uml", "--fast", "--idle", "3s", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    document = json.loads(done.stdout)
    jsonschema_rs.validate(json.loads((REFERENCE / "measure-arp-v1.schema.json").read_text()), document)
    assert (document["verdict"], document["announced"], document["idle"]) == ("pass", "STALE", "STALE")
    assert document["predicted_s"] == 1.3
    assert document["earliest_s"] <= document["measured_s"] <= document["latest_s"]
    assert document["idle_s"] > document["latest_s"]
    assert program.left_processes() == []
    assert program.left_files() == []
