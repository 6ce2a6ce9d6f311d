"""What an exported script promises on a real parent: it undoes what it did, however it ends, and no more.

The scripts run for real, with macvlan links on a veth, in namespaces of their own.
"""

import os
import re
import shlex
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipvkit.core.errors import IpvkitError
from ipvkit.export import exported, writer
from ipvkit.lab import Act, AddLink, Attempt, Check, Endpoint, Lab, Parent, Phase, Setting
from ipvkit.plan.make import make_plan
from ipvkit.plan.resources import Proxy, Resource, Route, Sysctl
from ipvkit.plan.steps import Plan, Section, Stage, Step, Undo
from ipvkit.targets.programs import find_program
from ipvkit.tools import ip, sysctl
from strategies import labs, labs_on_a_parent

ISOLATED = ["unshare", "--net", "--mount", *(() if os.geteuid() == 0 else ("--user", "--map-root-user"))]

PARENT = "eth9"
LINK = ip.link_add("mac1", ip.Macvlan(PARENT))


@cache
def can_isolate() -> bool:
    words = f"mount -t tmpfs tmpfs /run && ip link add {PARENT} type veth && {LINK}"
    return subprocess.run([*ISOLATED, "sh", "-c", words], capture_output=True, check=False).returncode == 0


needs_macvlan = pytest.mark.skipif(
    not can_isolate(), reason="this machine gives no namespaces, or no macvlan"
)

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
        parents=(Parent(PARENT, (), (IPv4Address("192.168.104.254"),)),),
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


def _undone(effect: Resource) -> Undo:
    return Undo(effect.undo, effect)


def with_settings(plan: Plan) -> Plan:
    """Return `plan` with a sysctl, a proxy entry and a route before all else, as a strategy sets them."""
    key, address = "net.ipv4.ip_nonlocal_bind", IPv4Address("192.168.104.211")
    own = IPv4Interface((address, 32)).network
    route = ip.route_add(ip.RouteTo(own, dev="lo"))
    effect = Sysctl(key, 1)
    undo = Undo(effect.undo, effect, reads="set.1", typical="0")
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


def on_the_machine(
    plan: Plan, commands: str, *, fakes: Mapping[str, str] | None = None, hangs_after: int = 10
) -> str:
    """Return what `commands`, bash, print that run on a machine with the script of `plan` in /run/lab.sh.

    What sh `fakes` has for a command line is run in place of it; there `"$@"` is the real command.
    """
    with patch.object(writer, "HANGS_AFTER_S", hangs_after):
        text = exported(plan).replace("PATH=/usr/local", "PATH=/run/fake:/usr/local")
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
    assert re.sub(r"kernel .*", "", said) == 2 * (
        "pass  add extra, macvlan on eth9: predicted accepted, observed accepted "
        "(eth9 has no links of another kind)\n"
        "verdict: pass: 1 as predicted, 0 not; \n0\nequal\n"
    )


INSTANTS = (2, 8, 15, 20)
"""After how many commands have begun."""


@pytest.mark.kernel
@needs_macvlan
def test_a_run_that_is_killed_is_found_and_undone_from_its_record() -> None:
    said = on_the_machine(
        with_settings(make_plan(lab(TRY))),
        f"for n in {' '.join(map(str, INSTANTS))}; do\n"
        "kill_after $n\n"
        "cp /run/lab.sh /run/other.sh; echo '# newer' >>/run/other.sh\n"
        "bash /run/other.sh >/run/again 2>&1; echo $?; grep -c 'was killed, and left:' /run/again\n"
        "bash /run/other.sh --undo 2>/run/undone; echo $?; tail -1 /run/undone; equal\n"
        "bash /run/lab.sh --undo; echo $?; equal; done",
    )
    once = "2\n1\n0\nwhat a killed run had left is undone\nequal\nthere is nothing to undo\n0\nequal\n"
    # stderr comes last.
    assert (
        said
        == len(INSTANTS) * once.replace("there is nothing to undo\n", "")
        + len(INSTANTS) * "there is nothing to undo\n"
    )


@pytest.mark.kernel
@needs_macvlan
def test_a_killed_run_is_told_of_with_what_it_left_and_what_to_type() -> None:
    said = on_the_machine(
        with_settings(make_plan(lab(LONG))),
        "kill_after 18\nbash /run/lab.sh; echo $?",
    )
    assert said == (
        "2\n"
        "error: a run of this lab was killed, and left:\n"
        "  sysctl net.ipv4.ip_nonlocal_bind is 1\n"
        f"  proxy 192.168.104.211 on {PARENT}\n"
        "  route 192.168.104.211/32 by lo\n"
        "  netns mac1\n"
        "  netns macns\n"
        "  link mac1 in mac1\n"
        "  link mac2 in macns\n"
        "hint: type: bash /run/ipvkit-script-mac/lab.sh --undo\n"
    )


@pytest.mark.kernel
@needs_macvlan
def test_undo_leaves_alone_what_somebody_has_changed_since() -> None:
    said = on_the_machine(
        with_settings(make_plan(lab(LONG))),
        "kill_after 18\n"
        "ip netns del macns; sysctl -qw net.ipv4.ip_nonlocal_bind=0\n"
        "bash /run/lab.sh --undo 2>&1 | grep -e ip_nonlocal_bind -e macns; equal",
    )
    assert said == "equal\n"


# --- signals ---------------------------------------------------------------------------------------------


@pytest.mark.kernel
@needs_macvlan
@pytest.mark.parametrize("times", [1, 2])
def test_a_signal_at_any_instant_undoes_at_once_whatever_pings_would_take(times: int) -> None:
    kill = 'kill -$signal "$pid" 2>/dev/null; ' * times
    said = on_the_machine(
        with_settings(make_plan(lab(LONG))),
        "while read -r n signal; do\n"
        "start_until $n; pid=$!\n"
        f"at=$EPOCHREALTIME; {kill}\n"
        "wait $pid; echo $? $(((${EPOCHREALTIME/./} - ${at/./}) / 1000)) ms; equal\n"
        "done <<<$'2 INT\\n9 HUP\\n18 TERM'",
        hangs_after=60,
    )
    took = [int(number) for number in re.findall(r"^130 ([0-9]+) ms\nequal$", said, re.MULTILINE)]
    assert len(took) == 3, said
    assert max(took) < 5000


@pytest.mark.kernel
@needs_macvlan
@pytest.mark.parametrize("pipe", ["", "trap '' PIPE; "], ids=["SIGPIPE", "EPIPE"])
def test_a_closed_stdout_undoes(pipe: str) -> None:
    checks = Act(checks=tuple(Check("mac1", "mac2", count=count) for count in (1, 2, 3, 100)))
    said = on_the_machine(
        make_plan(lab(checks)),
        f"{pipe}bash /run/lab.sh 2>/run/told | head -n 1; echo ${{PIPESTATUS[0]}}; equal",
    )
    assert [line.partition(" ")[0] for line in said.splitlines()] == ["pass", "130", "equal"]


# --- commands that do not what they should -----------------------------------------------------------------

MOVE = "ip link set mac1 netns mac1"
FAULTS = {
    "fails": "exit 2",
    "hangs": "sleep 60; exit 0",
    "hangs when it is done": '"$@"; sleep 60; exit 0',
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
def test_a_command_that_goes_wrong_is_told_of_and_all_is_undone(line: str, fault: str) -> None:
    said = on_the_machine(
        with_settings(make_plan(lab(TRY))),
        "bash /run/lab.sh 2>/run/told; echo $?; equal; grep -A 1 ^error /run/told",
        fakes={line: FAULTS[fault]},
        hangs_after=3,
    )
    verdict, code, equal, error, command = said.splitlines()
    assert verdict.startswith("verdict: error (what was done has been undone)")
    assert (code, equal, command) == ("4", "equal", f"  command: {line}")
    assert ("failed with exit code 2" if fault == "fails" else "was killed by signal") in error


@pytest.mark.kernel
@needs_macvlan
def test_a_link_that_somebody_made_meanwhile_is_not_undone() -> None:
    said = on_the_machine(
        make_plan(lab(TRY)),
        "bash /run/lab.sh >/run/told 2>&1; echo $?; ip link del mac2 && equal",
        fakes={"ip netns add macns": '"$1" link add mac2 link eth9 type macvlan; "$@"; exit'},
    )
    assert said == "4\nequal\n"


@pytest.mark.kernel
@needs_macvlan
def test_a_sysctl_that_reads_as_no_number_is_not_written() -> None:
    said = on_the_machine(
        with_settings(make_plan(lab())),
        "bash /run/lab.sh 2>/run/told; echo $?; equal; grep -A 2 ^error /run/told",
        fakes={
            "sysctl -n net.ipv4.ip_nonlocal_bind": "echo garbage; exit",
            "sysctl -w net.ipv4.ip_nonlocal_bind=1": "touch /run/ipvkit-written; exit",
        },
    )
    assert said.splitlines()[1:] == [
        *("4", "equal", "error: step set.2 failed with exit code 1"),
        "  command: sysctl -w net.ipv4.ip_nonlocal_bind=1",
        "  not begun: the value to put back is no number: garbage",
    ]


@pytest.mark.kernel
@needs_macvlan
@pytest.mark.parametrize(
    ("fill", "code"),
    [("head -c 2M /dev/zero >/run/full", 0), ("i=0; while : >/run/full$i; do i=$((i + 1)); done", 4)],
    ids=["no room", "no more files"],
)
def test_a_full_disk_keeps_nothing_from_being_undone(fill: str, code: int) -> None:
    said = on_the_machine(
        with_settings(make_plan(lab(TRY))),
        "bash /run/lab.sh 2>/run/told >&2; code=$?; rm /run/full*; echo $code; equal",
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
    assert said.splitlines()[1:] == [
        *("4", "hint: to undo what is left: bash /run/lab.sh --undo", "0", "equal"),
    ]


# --- refusals ----------------------------------------------------------------------------------------------


@pytest.mark.kernel
@needs_macvlan
def test_whatever_is_there_already_is_told_of_at_once_and_left_alone() -> None:
    said = on_the_machine(
        with_settings(make_plan(lab(TRY))),
        "ip netns add macns; ip link add mac1 type veth peer name extra\n"
        f"ip neigh add proxy 192.168.104.211 dev {PARENT}; ip route add 192.168.104.211 dev lo\n"
        "show >/run/before 2>&1; bash /run/lab.sh; echo $?; equal",
    )
    assert said == (
        "2\nequal\n"
        "error: nothing was changed, since there is already:\n"
        f"  proxy 192.168.104.211 on {PARENT}\n"
        "  route 192.168.104.211/32 by lo\n"
        "  netns macns\n"
        "  link mac1\n"
        "  link extra\n"
        "hint: rename yours, or take away what is there\n"
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
def test_a_record_that_is_no_folder_of_its_own_is_refused(made: str) -> None:
    said = on_the_machine(
        make_plan(lab()),
        f"mkdir /run/else; {made} /run/ipvkit-script-mac; show >/run/before 2>&1\n"
        "bash /run/lab.sh 2>/run/told; echo $?; equal; head -n 1 /run/told; ls -A /run/else",
    )
    assert said == "3\nequal\nerror: /run/ipvkit-script-mac cannot be made, or is not yours\n"


@pytest.mark.kernel
@needs_macvlan
def test_a_record_of_another_network_namespace_is_not_undone_here() -> None:
    said = on_the_machine(
        make_plan(lab(LONG)),
        "kill_after 14\nshow >/run/before 2>&1; unshare --net bash /run/lab.sh --undo; echo $?; equal",
    )
    assert said.startswith("2\nequal\nerror: /run/ipvkit-script-mac tells of another network namespace")


# --- nothing in a lab becomes a command ---------------------------------------------------------------------

HOSTILE = st.text(max_size=12) | st.sampled_from(
    [
        *("$(touch x)", "`touch x`", "'; touch x; '", '"; touch x; "', "\ntouch x\n", "\rtouch x\r"),
        *("\u2028touch x", "\u2029touch x", "\x85touch x", "\x0btouch x", "\x1btouch x", "a\\\ntouch x"),
        *("${x}", "$x", "!!", "\\", "\\'", "-n", "~", "*", "<(touch x)", "x #", "&& touch x", "|| touch x"),
        *("\n'\ntouch x\n'", "EOF\ntouch x", "%s%n", "a;b", "../../etc", "/", "..", "", " ", "\t"),
    ]
)

# Functions of these names in place of the script's own: they print the words that they are given.
STUBS = r"""
say() { printf '%s\0' "$# $1" "${@:2}"; }
step() {
  say step "$@"
  [[ "${*: -2}" != '-batch -' ]] || { mapfile -t lines && say lines "${lines[@]}"; }
}
part() { :; }
with() { [[ $1 != undo ]] || say "$@"; }
view() { :; }
run() { :; }
tell() { :; }
finish() { exit 0; }
"""


def words_of(text: str, folder: Path) -> list[list[str]]:
    """Return the words of each command that a script tells of: its body is run, with no program at hand."""
    at = next(found.start() for found in re.finditer(r"^# --- (the simulated LAN|phase)", text, re.MULTILINE))
    done = subprocess.run(
        ["/bin/bash", "-c", STUBS + text[at:]],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={"PATH": str(folder), "LC_ALL": "C.UTF-8"},
    )
    assert (done.returncode, done.stderr) == (0, "")
    told, found = done.stdout.split("\0")[:-1], []
    while told:
        count, _, kind = told[0].partition(" ")
        found.append([kind, *told[1 : int(count)]])
        told = told[int(count) :]
    return found


def meant(plan: Plan) -> list[list[str]]:
    found = []
    for step in plan.steps:
        found.append(["step", step.id, *step.command.argv])
        if step.command.stdin:
            found.append(["lines", *step.command.stdin])
        found += [["undo", *part.undo.command.argv] for part in [step] if part.undo is not None]
    return found


@given(labs(most_phases=2) | labs_on_a_parent(most_phases=2), st.data())
def test_no_text_of_a_lab_becomes_a_word_of_a_script(
    tmp_path_factory: pytest.TempPathFactory, lab: Lab, data: st.DataObject
) -> None:
    # NUL is in no lab: YAML has none, and no lab takes what does not print.
    text = data.draw(HOSTILE.filter(lambda drawn: "\0" not in drawn))
    plan = hostile(make_plan(lab), text)
    folder = tmp_path_factory.mktemp("empty")
    try:
        texts = [exported(plan)]
    except IpvkitError:
        return
    for written in texts:
        assert words_of(written, folder) == meant(plan)
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
