"""What an exported script promises: on a parent it undoes what it did, however it ends, and no more;
elsewhere nothing is left, since all of it was in namespaces that are gone.

The scripts run for real, with macvlan links on a veth, in separate namespaces.
"""

import re
import shlex
import subprocess
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipvkit.core.command import Command
from ipvkit.core.errors import IpvkitError
from ipvkit.export.script import exported
from ipvkit.lab import Act, AddLink, Attempt, Check, Endpoint, Lab, Parent, Phase, Setting, on_parent
from ipvkit.lab.new import new_lab
from ipvkit.plan.make import make_plan
from ipvkit.plan.resources import Proxy, Resource, Route, Sysctl
from ipvkit.plan.steps import Plan, Section, Stage, Step, Undo
from ipvkit.targets.programs import find_program
from ipvkit.tools import ip, sysctl
from namespaces import AS_ROOT
from requires import requires
from strategies import labs, labs_on_a_parent

PARENT = "eth9"
HOST = IPv4Interface("192.168.104.110/24")
LINK = ip.link_add("mac1", ip.Macvlan(PARENT))

ISOLATED = (*AS_ROOT, "--net", "--mount")
needs_macvlan = requires("macvlan", "sysctl")

# --- a machine to run on -------------------------------------------------------------------------------

MACHINE = f"""
set -u
mount -t tmpfs -o size=1m,nr_inodes=300 tmpfs /run
mkdir -p /run/netns /run/fake; mount --bind /run/netns /run/netns
sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1
ip link set lo up
ip link add {PARENT} type veth peer name sw
ip link set {PARENT} up
ip link set sw up
ip addr add 192.168.104.110/24 dev {PARENT}
ip netns add bystander
ip link add by1 type veth peer name by2 netns bystander
ip neigh add proxy 10.9.9.9 dev {PARENT}
ip netns exec bystander sysctl -qw net.ipv4.ip_forward=1

show() {{
  ip -json -details addr; ip netns list; ip route show table all; ip neigh show nud permanent
  ip neigh show proxy; sysctl -a -r '^net.ipv4.(ip_|conf.({PARENT}|all))'
  ip netns exec bystander ip -json -details addr; ip netns exec bystander sysctl net.ipv4.ip_forward
  ls /run | grep ipvkit
}}
# The kernel takes its time to forget a namespace, and what was in it.
equal() {{
  local i
  for ((i = 0; i < 100; i++)); do
    show >/run/after 2>&1
    if cmp -s /run/before /run/after; then echo equal; return; fi
    sleep 0.05
  done
  diff /run/before /run/after
}}
start_until() {{ # LINES: start the script, and wait until it has begun so many commands, or has ended
  local i
  rm -f /run/told
  # What is in the background here would not see ^C otherwise.
  env --default-signal=INT bash /run/lab.sh >/run/told 2>&1 &
  for ((i = 0; i < 2000; i++)); do
    [[ $(grep -cs '^+' /run/told) -ge $1 ]] && return
    kill -0 $! 2>/dev/null || return
    sleep 0.005
  done
}}
kill_after() {{ start_until "$1"; kill -KILL $!; wait $! 2>/dev/null; }}
# Pings of a killed run hold its lock.
pings_end() {{
  local i
  for ((i = 0; i < 600; i++)); do flock -n /run/ipvkit-script-mac-* true && return; sleep 0.05; done
}}
show >/run/before 2>&1
"""


def lab(*acts: Act) -> Lab:
    """Return a lab of two macvlan endpoints and two phases, on the real parent; `acts` are the first's."""
    endpoints = tuple(
        Endpoint(name, (IPv4Interface(address),), netns, PARENT)
        for name, address, netns in (
            ("mac1", "192.168.104.211/24", "mac1"),
            ("mac2", "192.168.104.212/24", "macns"),
        )
    )
    names = ("mac1", "mac2")
    return Lab(
        name="mac",
        about="two phases",
        parents=(Parent(PARENT, (HOST,), (IPv4Address("192.168.104.254"),)),),
        endpoints=endpoints,
        phases=(
            Phase("one", Setting(kind="macvlan"), names, acts),
            Phase("two", Setting(kind="macvlan", flag="private"), names, ()),
        ),
        simulated=False,
    )


TRY = Act(attempts=(Attempt(AddLink("extra", "macvlan", PARENT)),))
LONG = Act(checks=(Check("mac1", "mac2", count=100), Check("mac2", "mac1", watch=60)))
"""Pings of 20 s and more."""

SHORT = Act(checks=(Check("mac1", "mac2", count=10), Check("mac2", "mac1", count=10)))
"""Pings of 2 s: what is left of a killed run ends with them."""


def _undone(effect: Resource) -> Undo:
    return Undo(effect)


def with_settings(plan: Plan) -> Plan:
    """Return `plan` with a sysctl, a proxy entry and a route before all else, as a strategy sets them."""
    key, address = "net.ipv4.ip_nonlocal_bind", IPv4Address("192.168.104.211")
    own = IPv4Interface((address, 32)).network
    route = ip.route_add(ip.RouteTo(own, dev="lo"))
    effect = Sysctl(key, 1)
    undo = Undo(effect, reads="set.1", typical="0")
    stages: tuple[Stage, ...] = (
        (Step("set.1", "read", sysctl.get_value(key)),),
        (Step("set.2", "write", sysctl.set_values({key: 1}), undo),),
        (
            Step(
                "set.3",
                "proxy",
                ip.neigh_add_proxy(address, PARENT),
                _undone(Proxy(address, PARENT)),
            ),
            Step("set.4", "route", route, _undone(Route(own, "lo"))),
        ),
    )
    return replace(plan, sections=(Section("set", "settings", None, stages), *plan.sections))


def on_the_machine(plan: Plan, commands: str, *, fakes: Mapping[str, str] | None = None) -> str:
    """Return what `commands`, bash, print that run on a machine with the script of `plan` in /run/lab.sh.

    What sh `fakes` has for a command line is run in place of it; there `"$@"` is the real command.
    """
    text = exported(plan).replace('PATH="/usr/local', 'PATH="/run/fake:/usr/local')
    cases = "".join(f"{shlex.quote(line)}) {does} ;;\n" for line, does in (fakes or {}).items())
    fake = f'#!/bin/sh\nline="${{0##*/}} $*"\nset -- REAL "$@"\ncase $line in {cases}esac\nexec "$@"\n'
    put = f"cat >/run/lab.sh <<'END OF SCRIPT'\n{text}END OF SCRIPT\n"
    for name in sorted({line.split()[0] for line in fakes or {}}):
        real = str(find_program(name))
        put += f"cat >/run/fake/{name} <<'END OF FAKE'\n{fake.replace('REAL', real)}END OF FAKE\n"
        put += f"chmod +x /run/fake/{name}\n"
    done = subprocess.run(
        [*ISOLATED, "bash", "-c", f"{MACHINE}{put}{commands}"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.stdout + done.stderr


# --- nothing is left -------------------------------------------------------------------------------------


@pytest.mark.kernel
@needs_macvlan
def test_a_run_after_a_run_gives_the_same_and_leaves_nothing() -> None:
    plan = with_settings(make_plan(lab(TRY)))
    said = on_the_machine(plan, "for i in 1 2; do bash /run/lab.sh 2>/run/told; echo $?; equal; done")
    assert re.sub(r"kernel .*|\([^)]+\)", "", said) == 2 * (
        "as predicted  add extra, macvlan on eth9: accepted \nmac: 1 of 1 as predicted; \n0\nequal\n"
    )


INSTANTS = (1, 2, 5, 8, 15, 17)
"""After how many commands have begun."""


@pytest.mark.promise
@pytest.mark.kernel
@needs_macvlan
def test_a_run_that_is_killed_is_found_and_undone_from_its_record() -> None:
    said = on_the_machine(
        with_settings(make_plan(lab(TRY, SHORT))),
        f"for n in {' '.join(map(str, INSTANTS))}; do\n"
        "kill_after $n; pings_end\n"
        "cp /run/lab.sh /run/other.sh; echo '# newer' >>/run/other.sh\n"
        "bash /run/other.sh >/run/again 2>&1; echo $?; grep -c 'was killed; these undo it:' /run/again\n"
        "bash /run/other.sh --undo 2>/dev/null; echo $?; equal\n"
        "bash /run/lab.sh --undo; echo $?; equal; done",
    )
    assert said == len(INSTANTS) * "2\n1\n0\nequal\n0\nequal\n"


@pytest.mark.kernel
@needs_macvlan
@pytest.mark.parametrize("simulated", [True, False])
def test_a_lab_in_batches_runs_and_leaves_nothing(simulated: bool) -> None:
    many = new_lab("mac", Setting("l2", kind="macvlan"), 12, checks="ring")
    said = on_the_machine(
        make_plan(many if simulated else on_parent(many, PARENT)),
        "bash /run/lab.sh 2>/run/told | tail -n 1; echo ${PIPESTATUS[0]}; equal\n"
        "grep -c -e '-batch -' /run/told; kill_after 18; bash /run/lab.sh --undo >/run/told 2>&1; equal",
    )
    summary, code, equal, batches, undone = said.splitlines()
    assert summary.startswith("mac: 12 of 12 as predicted; kernel ")
    assert (code, equal, undone) == ("0", "equal", "equal")
    assert int(batches) >= 12


@pytest.mark.kernel
@needs_macvlan
def test_a_run_that_is_killed_at_any_moment_is_undone() -> None:
    """By the clock: in the middle of a command, between a command and its record, while it is refused."""
    said = on_the_machine(
        with_settings(make_plan(lab(TRY, SHORT))),
        "for ms in {0..300..12}; do\n"
        "bash /run/lab.sh >/run/told 2>&1 & sleep 0.$(printf %03d $ms); kill -KILL $!; wait $! 2>/dev/null\n"
        "bash /run/lab.sh --undo 2>/run/undone || cat /run/undone; equal; done | sort | uniq -c",
    )
    assert said.split() == ["26", "equal"]


@pytest.mark.kernel
@needs_macvlan
def test_a_killed_run_undoes_links_whatever_they_are_called() -> None:
    """Also as a word of ip, which then wants `dev` before it, and otherwise in their namespaces."""
    first, second = lab().endpoints
    named = (replace(first, name="a", dev="up"), replace(second, dev="eth0"))
    pings = Act(checks=(Check("a", "mac2", count=10),))
    phase = replace(lab().phases[0], endpoints=("a", "mac2"), acts=(pings,))
    said = on_the_machine(
        make_plan(replace(lab(), endpoints=named, phases=(phase,))),
        "for n in 3 5; do kill_after $n; pings_end\n"
        "bash /run/lab.sh --undo 2>/dev/null; echo $?; equal; done\n"
        "bash /run/lab.sh >/run/told 2>&1; echo $?; equal",
    )
    assert said == 3 * "0\nequal\n"


@pytest.mark.kernel
@needs_macvlan
def test_a_killed_run_is_shown_with_what_undoes_it_and_what_to_type() -> None:
    said = on_the_machine(
        with_settings(make_plan(lab(SHORT))), "kill_after 16\npings_end\nbash /run/lab.sh; echo $?"
    )
    assert said == (
        "2\n"
        "error: a run of this lab was killed; these undo it:\n"
        "ip netns exec macns ip link delete mac2\n"
        "ip netns exec mac1 ip link delete mac1\n"
        "ip netns del macns\n"
        "ip netns del mac1\n"
        "ip route del 192.168.104.211/32 dev lo\n"
        f"ip neigh del proxy 192.168.104.211 dev {PARENT}\n"
        "sysctl -w net.ipv4.ip_nonlocal_bind=0\n"
        "hint: type: bash /run/lab.sh --undo\n"
    )


@pytest.mark.kernel
@needs_macvlan
def test_undo_leaves_alone_what_is_no_longer_ours() -> None:
    """What is there by the same name was made by another user since: known by its identity."""
    said = on_the_machine(
        with_settings(make_plan(lab(SHORT))),
        "kill_after 16; pings_end\n"
        "ip netns del macns; ip netns add macns; ip -n macns link add mac2 type veth peer name other\n"
        "sysctl -qw net.ipv4.ip_nonlocal_bind=5\n"
        "bash /run/lab.sh --undo 2>&1 | grep -v ^+; ip -n macns -br link show mac2 | cut -d' ' -f1\n"
        "sysctl -n net.ipv4.ip_nonlocal_bind\n"
        "ip netns del macns; sysctl -qw net.ipv4.ip_nonlocal_bind=0; equal",
    )
    assert said == (
        "left alone, because it is not ours: ip netns exec macns ip link delete mac2\n"
        "left alone, because it is not ours: ip netns del macns\n"
        "left alone, because it is not ours: sysctl -w net.ipv4.ip_nonlocal_bind=0\n"
        "mac2@other\n5\nequal\n"
    )


@pytest.mark.kernel
@needs_macvlan
def test_a_link_of_the_host_is_known_by_its_index() -> None:
    said = on_the_machine(
        make_plan(lab(TRY, SHORT)),
        "kill_after 14; pings_end\n"
        "ip link delete extra; ip link add extra type veth peer name other; show >/run/before 2>&1\n"
        "bash /run/lab.sh --undo 2>&1 | grep -v ^+; ip -br link show extra | cut -d' ' -f1",
    )
    assert said == "left alone, because it is not ours: ip link delete extra\nextra@other\n"


@pytest.mark.kernel
@needs_macvlan
def test_a_killed_run_in_namespaces_of_its_own_leaves_no_process_and_no_file() -> None:
    """At instants from its first line to its pings; its processes are in a namespace where no others are."""
    simulated = Act(checks=(Check("mac1", "mac2", count=100),))
    file = exported(make_plan(replace(lab(simulated), simulated=True)))
    words = (
        "mount -nt tmpfs tmpfs /tmp; mount -nt tmpfs tmpfs /run\n"
        f"cat >/tmp/lab.sh <<'END OF SCRIPT'\n{file}END OF SCRIPT\n"
        "pinging() {\n"
        "for ((i = 0; i < 1200; i++)); do ! grep -qs ' ping ' /tmp/told || break; sleep 0.05; done\n"
        "}\n"
        "for when in 'sleep '{0.{00..20},0.3,0.5} pinging; do\n"
        "rm -f /tmp/told; bash /tmp/lab.sh >/tmp/told 2>&1 & $when; kill -KILL $!; wait $! 2>/dev/null\n"
        "for ((i = 0; i < 600; i++)); do set -- /proc/[0-9]*; (($# > 1)) || break; sleep 0.05; done\n"
        "echo /proc/[0-9]*; ls -A /run; ls -A /tmp | grep -vx -e lab.sh -e told; ip -br link | grep -v ^lo\n"
        "done; grep -c ^+ /tmp/told"
    )
    done = subprocess.run(
        [*ISOLATED, "--pid", "--fork", "--mount-proc", "--kill-child", "bash", "-c", words],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    *each, shown = done.stdout.splitlines()
    assert each == 24 * ["/proc/1"], done.stderr
    assert int(shown) > 20


# --- signals ---------------------------------------------------------------------------------------------


@pytest.mark.kernel
@needs_macvlan
@pytest.mark.parametrize("times", [1, 2])
def test_a_signal_at_any_instant_undoes_whatever_pings_would_take(times: int) -> None:
    """Pings of 20 s and of 60 s: the script ends while they would still run."""
    kill = 'kill -$signal "$pid" 2>/dev/null; ' * times
    said = on_the_machine(
        with_settings(make_plan(lab(LONG))),
        "while read -r n signal; do\n"
        f"start_until $n; pid=$!; {kill}\n"
        "wait $pid; echo $?; grep -c observed /run/told; equal\n"
        "done <<<$'2 INT\\n9 HUP\\n17 TERM'",
    )
    assert said == 3 * "130\n0\nequal\n"


@pytest.mark.kernel
@needs_macvlan
@pytest.mark.parametrize("pipe", ["", "trap '' PIPE; "], ids=["SIGPIPE", "EPIPE"])
def test_a_closed_stdout_undoes(pipe: str) -> None:
    checks = tuple(Act(checks=(Check("mac1", "mac2", count=count),)) for count in (1, 2, 3, 100))
    said = on_the_machine(
        make_plan(lab(*checks)),
        f"{pipe}bash /run/lab.sh 2>/run/told | head -n 1; echo ${{PIPESTATUS[0]}}; equal",
    )
    assert [line.partition(" ")[0] for line in said.splitlines()] == ["as", "130", "equal"]


# --- commands that do not what they should -----------------------------------------------------------------

MOVE = "ip link set mac1 netns mac1"
FAULTS = {
    "fails": "exit 2",
    "is killed": "kill -KILL $$",
    "is killed when it is done": '"$@"; kill -KILL $$',
    "dies when it is done": '"$@"; kill -SEGV $$',
}


@pytest.mark.kernel
@needs_macvlan
@pytest.mark.parametrize(
    ("line", "fault"),
    [
        *((MOVE, fault) for fault in FAULTS),
        ("ip netns add macns", "is killed when it is done"),
        ("ip link add mac1 link eth9 type macvlan mode bridge", "is killed when it is done"),
        ("sysctl -w net.ipv4.ip_nonlocal_bind=1", "is killed when it is done"),
    ],
)
def test_a_command_that_goes_wrong_is_shown_and_all_is_undone(line: str, fault: str) -> None:
    said = on_the_machine(
        with_settings(make_plan(lab(TRY))),
        "bash /run/lab.sh 2>/run/told; echo $?; equal; grep ^error /run/told",
        fakes={line: FAULTS[fault]},
    )
    code, equal, error = said.splitlines()
    assert (code, equal) == ("4", "equal")
    assert re.fullmatch(rf"error: line \d+ failed: {re.escape(line)}", error)


@pytest.mark.kernel
@needs_macvlan
@pytest.mark.parametrize("at", ["ip netns add macns", "ip link add mac2 link eth9 type macvlan mode bridge"])
def test_a_link_that_another_user_made_meanwhile_is_not_undone(at: str) -> None:
    """Before the script looks once more, and after that."""
    said = on_the_machine(
        make_plan(lab(TRY)),
        "bash /run/lab.sh >/run/told 2>&1; echo $?; ip link del mac2 && equal",
        fakes={at: '"$1" link add mac2 link eth9 type macvlan; "$@"; exit'},
    )
    assert said == "4\nequal\n"


@pytest.mark.kernel
@needs_macvlan
def test_a_link_that_an_attempt_did_not_make_is_not_deleted() -> None:
    """Another user was faster, and the kernel refuses: what the phase takes away at its end is only ours."""
    said = on_the_machine(
        make_plan(lab(TRY)),
        "bash /run/lab.sh 2>/run/told; echo $?; ip -br link | grep -o extra; ip link del extra; equal",
        fakes={
            "ip link add extra link eth9 type macvlan mode bridge": '"$1" link add extra type bridge; exit 2'
        },
    )
    assert said.splitlines()[0].startswith("DIFFERS       add extra, macvlan on eth9: predicted accepted, ")
    assert said.splitlines()[2:] == ["1", "extra", "equal"]


@pytest.mark.kernel
@needs_macvlan
def test_a_sysctl_that_reads_as_no_number_is_not_written() -> None:
    said = on_the_machine(
        with_settings(make_plan(lab())),
        "bash /run/lab.sh 2>/run/told; echo $?; equal; grep ^error /run/told",
        fakes={
            "sysctl -n net.ipv4.ip_nonlocal_bind": "echo garbage; exit",
            "sysctl -w net.ipv4.ip_nonlocal_bind=1": "touch /run/ipvkit-written; exit",
        },
    )
    assert said == "4\nequal\nerror: not a number to restore: net.ipv4.ip_nonlocal_bind=garbage\n"


@pytest.mark.kernel
@needs_macvlan
@pytest.mark.parametrize(
    ("fill", "code"),
    [("head -c 2M /dev/zero >/run/full", 4), ("i=0; while : >/run/full$i; do i=$((i + 1)); done", 4)],
    ids=["no room", "no more files"],
)
def test_a_full_disk_keeps_nothing_from_being_undone(fill: str, code: int) -> None:
    said = on_the_machine(
        with_settings(make_plan(lab(SHORT, TRY))),
        "bash /run/lab.sh 2>/dev/null >&2; code=$?; rm /run/full*; echo $code; equal",
        fakes={"ip netns exec macns ip link set mac2 up": f'"$@"; ({fill}) 2>/dev/null; exit 0'},
    )
    assert said == f"{code}\nequal\n"


@pytest.mark.kernel
@needs_macvlan
def test_what_could_not_be_undone_stays_on_record() -> None:
    said = on_the_machine(
        with_settings(make_plan(lab())),
        "bash /run/lab.sh 2>/run/told; echo $?; grep ^hint: /run/told\n"
        "rm /run/fake/ip; bash /run/lab.sh --undo 2>/dev/null; echo $?; equal",
        fakes={"ip netns del mac1": "exit 1"},
    )
    assert said.splitlines() == ["4", "hint: type: bash /run/lab.sh --undo", "0", "equal"]


# --- refusals ----------------------------------------------------------------------------------------------


@pytest.mark.kernel
@needs_macvlan
def test_whatever_exists_already_is_named_at_once_and_left_alone() -> None:
    said = on_the_machine(
        with_settings(make_plan(lab(TRY))),
        "ip netns add macns; ip link add mac1 type veth peer name extra\n"
        f"ip neigh add proxy 192.168.104.211 dev {PARENT}; ip route add 192.168.104.211 dev lo\n"
        "show >/run/before 2>&1; bash /run/lab.sh; echo $?; equal",
    )
    assert said == (
        "2\nequal\n"
        "error: nothing was changed, because these exist: netns macns link mac1 link extra "
        f"proxy entry 192.168.104.211 on {PARENT} route 192.168.104.211/32 dev lo\n"
        "hint: rename or delete them\n"
    )


@pytest.mark.kernel
@needs_macvlan
def test_of_two_at_once_the_second_is_refused() -> None:
    said = on_the_machine(
        make_plan(lab(LONG)),
        "start_until 14\n"
        "show >/run/between 2>&1; bash /run/lab.sh; echo $?; show 2>&1 | cmp - /run/between && echo same\n"
        "kill -TERM $!; wait $!; echo $?; equal",
    )
    assert said == (
        "2\nsame\n130\nequal\nerror: another run of this lab goes on\nhint: wait until it has ended\n"
    )


@pytest.mark.kernel
@needs_macvlan
@pytest.mark.parametrize("made", ["ln -s else", "touch", "ln -s nowhere"])
def test_a_record_that_is_no_folder_of_ours_is_refused(made: str) -> None:
    place = "/run/ipvkit-script-mac-$(stat -Lc %i /proc/self/ns/net)"
    said = on_the_machine(
        make_plan(lab()),
        f"mkdir /run/else; {made} {place}; show >/run/before 2>&1\n"
        "bash /run/lab.sh 2>/run/told; echo $?; equal; head -n 1 /run/told; ls -A /run/else",
    )
    assert re.sub("mac-[0-9]+", "mac-N", said) == "3\nequal\nerror: /run/ipvkit-script-mac-N is not ours\n"


@pytest.mark.kernel
@needs_macvlan
def test_a_record_of_another_network_namespace_is_not_undone_here() -> None:
    said = on_the_machine(
        make_plan(lab(SHORT)),
        "kill_after 14; pings_end; show >/run/before 2>&1\n"
        "unshare --net bash /run/lab.sh --undo; echo $?; equal",
    )
    assert said == "0\nequal\n"


# --- environments ------------------------------------------------------------------------------------------

HOSTILE_ENVIRONMENT = """
printf 'ip() { :; }; ping() { echo 6 packets transmitted, 0 received; }; set -f\n' >/run/env
ip() { echo pwned; }; ping() { echo pwned; }; unshare() { echo pwned; }; type() { :; }; env() { echo pwned; }
shift() { :; }; echo() { :; }; set() { :; }; trap() { :; }
export -f ip ping unshare type env shift echo set trap
export BASH_ENV=/run/env ENV=/run/env IFS=1. LC_ALL=tr_TR.UTF-8 LANG=x TMPDIR=/nowhere CDPATH=/ GLOBIGNORE='*'
export PS4='$(touch /run/pwned)' LC_MESSAGES=fr_FR TZ=x BASHOPTS SHELLOPTS
"""


@pytest.mark.kernel
@needs_macvlan
@pytest.mark.parametrize("simulated", [True, False])
def test_a_hostile_environment_changes_nothing(simulated: bool) -> None:
    plan = make_plan(replace(lab(TRY, SHORT), simulated=simulated))
    said = on_the_machine(
        plan,
        "bash /run/lab.sh 2>/dev/null >/run/clean; code=$?\n"
        f"({HOSTILE_ENVIRONMENT}\nexec bash /run/lab.sh >/run/hostile) 2>/dev/null; echo $code $?\n"
        "sed -i 's/kernel .*//' /run/clean /run/hostile; cmp /run/clean /run/hostile && wc -l </run/clean\n"
        "ls /run/pwned 2>/dev/null; equal",
    )
    assert said.split() == ["0", "0", "4", "equal"]


# --- nothing in a lab becomes a command ---------------------------------------------------------------------

HOSTILE = st.text(max_size=12) | st.sampled_from(
    [
        *("$(touch x)", "`touch x`", "'; touch x; '", '"; touch x; "', "\ntouch x\n", "\rtouch x\r"),
        *("\u2028touch x", "\u2029touch x", "\x85touch x", "\x0btouch x", "\x1btouch x", "a\\\ntouch x"),
        *("${x}", "$x", "!!", "\\", "\\'", "-n", "~", "*", "<(touch x)", "x #", "&& touch x", "|| touch x"),
        *("\n'\ntouch x\n'", "EOF\ntouch x", "%s%n", "a;b", "../../etc", "/", "..", "", " ", "\t"),
    ]
)

# Functions in place of the lab's programs and of the script's own: they print the words that they are given.
# What asks ss whether a server listens gets an answer.
STUBS = r"""
exec 4>&1 3>/dev/null
say() { printf '%s\0' "$#" "$@" >&4; }
ip() {
  say ip "$@"
  [[ "${*: -2}" != '-batch -' ]] || { mapfile -t lines && say lines "${lines[@]}"; }
  [[ "$*" != *' ss -'* ]] || echo LISTEN
}
for name in arping ping socat sysctl tc sleep timeout check connected attempt undo; do
  eval "$name() { say $name \"\$@\"; }"
done
ss() { say ss "$@" && echo LISTEN; }
ours() { :; }
kill() { :; }
"""


def words_of(script: str, folder: Path) -> list[list[str]]:
    """Return the words of each command in the sections of a script, run with no program at hand."""
    text = script[re.search(r"^# --- (the simulated LAN|phase)", script, re.MULTILINE).start() :]  # type: ignore[union-attr]
    text = re.sub(r' &>(/run/|"\$work/)\d+"? &', " &", text)
    text, _, _ = f"{text}\nmapfile -t pairs".partition("\nmapfile -t pairs")
    done = subprocess.run(
        ["/bin/bash", "-c", STUBS + text],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={"PATH": str(folder), "LC_ALL": "C.UTF-8"},
        timeout=300,
    )
    assert (done.returncode, done.stderr) == (0, "")
    said, found = iter(done.stdout.split("\0")[:-1]), []
    for count in said:
        found.append([next(said) for _ in range(int(count))])
    return found


def one_by_one(found: list[list[str]]) -> Counter[tuple[str, ...]]:
    """Return the commands, of a batch its lines, as often as each is there."""
    commands: Counter[tuple[str, ...]] = Counter()
    place: tuple[str, ...] = ()
    for program, *words in found:
        if program == "lines":
            commands.update(("ip", *place, *line.split()) for line in words)
        elif words[-2:] == ["-batch", "-"]:
            place = tuple(words[:-2])
        else:
            argv = (program, *words)
            commands[normal(argv) if program == "ip" else argv] += 1
    return commands


def normal(argv: tuple[str, ...]) -> tuple[str, ...]:
    """Return a command of ip in a namespace as the line of a batch is, which is the same."""
    line = ip.line_of(Command(argv))
    if line is None:
        return argv
    return ("ip", *(() if line.netns is None else ("-n", line.netns)), *line.text.split())


def meant(plan: Plan) -> Counter[tuple[str, ...]]:
    """Return the commands of `plan`, and the words with which its script judges and undoes."""
    commands = Counter(normal(step.command.argv) for step in plan.steps)
    commands.update(normal(step.ready.argv) for step in plan.steps if step.ready is not None)
    for stage in plan.stages:
        asked = [(step, step.probe) for step in stage if step.probe is not None]
        for n, (step, probe) in enumerate(asked, 1):
            words = (str(probe.check), str(probe.address), probe.expected, probe.reason)
            if isinstance(probe.check, Attempt):
                code = [str(code) for code in step.command.ok if code not in (0, 2)]
                commands["attempt", words[0], *words[2:], *code] += 1
            else:
                judge = "check" if probe.check.tcp is None else "connected"
                commands[judge, str(n), *words[:2], "|".join(probe.outcomes), words[3]] += 1
    if not plan.lab.simulated:
        undos = (step.undo.command().argv for step in plan.steps if step.undo is not None)
        commands.update(("undo", *argv) for argv in undos)
    return commands


@given(labs(most_phases=2) | labs_on_a_parent(most_phases=2), st.data())
def test_no_text_of_a_lab_becomes_a_word_of_a_script(
    tmp_path_factory: pytest.TempPathFactory, lab: Lab, data: st.DataObject
) -> None:
    # NUL is in no lab: YAML has none, and no lab takes what does not print.
    text = data.draw(HOSTILE.filter(lambda drawn: "\0" not in drawn))
    plan = hostile(make_plan(lab), text)
    folder = tmp_path_factory.mktemp("empty")
    assert one_by_one(words_of(exported(plan), folder)) == meant(plan)
    assert list(folder.iterdir()) == []


def hostile(plan: Plan, text: str) -> Plan:
    """Return `plan` with `text` wherever a lab file, or who makes a plan, can put any."""

    def changed(step: Step) -> Step:
        probe = step.probe and replace(step.probe, reason=step.probe.reason + text)
        return replace(step, purpose=step.purpose + text, probe=probe)

    sections = tuple(
        replace(
            section,
            title=section.title + text,
            stages=tuple(tuple(map(changed, stage)) for stage in section.stages),
            skipped=tuple(replace(probe, skipped=text) for probe in section.skipped),
        )
        for section in plan.sections
    )
    about = plan.lab.about + "".join(letter for letter in text if letter.isprintable())
    return Plan(replace(plan.lab, about=about), sections)


@given(HOSTILE, st.sampled_from(["lab", "parent", "endpoint", "netns", "phase", "attempt"]))
def test_a_hostile_name_cannot_even_be_put_into_a_script(text: str, where: str) -> None:
    with pytest.raises(IpvkitError):
        exported(make_plan(named(where, f"a{text}$")))


def named(where: str, name: str) -> Lab:
    """Return a lab in which something is called `name`."""
    base = lab(TRY)
    first, *others = base.endpoints
    match where:
        case "lab":
            return replace(base, name=name)
        case "parent":
            endpoints = tuple(replace(endpoint, parent=name) for endpoint in base.endpoints)
            return replace(base, parents=(replace(base.parents[0], name=name),), endpoints=endpoints)
        case "endpoint":
            phase = replace(base.phases[1], endpoints=(name,))
            return replace(base, endpoints=(replace(first, name=name),), phases=(phase,))
        case "netns":
            return replace(base, endpoints=(replace(first, netns=name), *others))
        case "phase":
            return replace(base, phases=(replace(base.phases[1], name=name),))
        case _:
            tries = Act(attempts=(Attempt(AddLink(name, "macvlan", PARENT)),))
            return replace(base, phases=(replace(base.phases[0], acts=(tries,)),))
