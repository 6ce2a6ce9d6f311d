"""``ipvkit announce``: what it executes, tells and takes back, on fake programs that are real processes."""

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping
from ipaddress import IPv4Address
from pathlib import Path

import pytest
import test_cli
from hypothesis import given
from hypothesis import strategies as st

from captures import FIXTURES, text_of
from cases import one_by_default
from command_line import BOUND_S, IPVKIT, Called, Piped, assert_one_line, commands_in, executed, wait_until
from ipvkit.core.errors import UsageError
from ipvkit.core.interrupts import ENDING
from ipvkit.core.values import duration
from ipvkit.report.announce import json_line, line
from ipvkit.report.systemd import cleanup_unit, unit
from ipvkit.run import journal
from ipvkit.targets.local import Local
from ipvkit.verbs.announce import Announcement, Began, Event, Failed, Recovered, Round, Stopped, keep
from recorder import Answer, Recorder
from requires import requires

call = test_cli.call

pytestmark = pytest.mark.long

ADDRESS = IPv4Address("192.168.104.211")
LLADDR = "02:00:00:00:00:01"
OTHER = IPv4Address("192.168.104.212")
OF_ETH0 = ("announce", str(ADDRESS), "--parent", "eth0")
ONCE = f"arping -c 1 -U -I eth0 {ADDRESS}"
READ = "sysctl -n net.ipv4.ip_nonlocal_bind"
SET = "sysctl -w net.ipv4.ip_nonlocal_bind=1"
RESTORE = "sysctl -w net.ipv4.ip_nonlocal_bind=0"
LOOK = "ip -json -details addr show"
ELSEWHERE = f"ip -all netns exec {LOOK}"

# --- times ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("3s", 3), ("3", 3), ("0.5", 0.5), ("500ms", 0.5), ("2m", 120), ("1.5m", 90), ("1h", 3600), ("0", 0)],
)
def test_a_duration_is_read(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@given(st.integers(1, 999_999_999), st.sampled_from(["ms", "s", "m", "h"]))
def test_each_unit_has_its_factor(number: int, unit: str) -> None:
    assert duration(f"{number}{unit}") == pytest.approx(number * duration(f"1{unit}"))


@pytest.mark.parametrize(
    "text", ["", "s", "-1s", "3 s", "3sec", "1e3", "nan", "inf", ".5", "3s\n", "٣s", "9" * 10]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="invalid duration"):
        duration(text)


MISTAKES = {
    "IPv6": ("2001:db8::1 --parent eth0", "is an IPv6 address, and ARP is for IPv4", "neighbour discovery"),
    "a name": ("gateway --parent eth0", "invalid address 'gateway'", "192.0.2.1"),
    "multicast": ("224.0.0.1 --parent eth0", "not a unicast address", "unicast"),
    "twice": ("192.0.2.1 192.0.2.2 192.0.2.1 --parent eth0", "192.0.2.1 is given twice", "once"),
    "no parent": ("192.0.2.1", "--parent", "--help"),
    "no address": ("--parent eth0", "ADDRESS", "--help"),
    "no link's name": ("192.0.2.1 --parent a/b", "invalid interface name 'a/b'", ""),
    "no netns": ("192.0.2.1 --parent eth0 --netns a/b", "invalid network namespace name 'a/b'", ""),
    "too often": ("192.0.2.1 --parent eth0 --every 199ms", "0.199 s between two rounds", "200ms"),
    "never": ("192.0.2.1 --parent eth0 --every 61m", "3660 s between two rounds is out of range", "1h"),
    "no time": ("192.0.2.1 --parent eth0 --every soon", "invalid duration 'soon'", "3s"),
    "for nothing": ("192.0.2.1 --parent eth0 --for 0", "nothing can be announced for 0 s", "60s"),
    "for ever": ("192.0.2.1 --parent eth0 --for ever", "invalid duration 'ever'", "3s"),
    "a preview in JSON": ("192.0.2.1 --parent eth0 --dry-run --json", "does not go with --json", "text"),
    "a unit in JSON": ("192.0.2.1 --parent eth0 --unit --json", "--unit does not go with --json", "unit"),
    "a unit's preview": ("192.0.2.1 --parent eth0 --unit --dry-run", "--unit does not go with --dry-run", ""),
    "a unit that ends": ("192.0.2.1 --parent eth0 --unit --for 3s", "--unit does not go with --for", ""),
}  # fmt: skip


@requires("arping")
@pytest.mark.parametrize(("words", "says", "hint"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_clear_line(call: Callable[..., Called], words: str, says: str, hint: str) -> None:
    code, out, err = call("announce", *words.split())
    assert code == 2
    assert_one_line(err, says, hint)
    assert not out or says in json.loads(out)["error"]["message"]


# --- what a dry run shows -------------------------------------------------------------------------------


def test_a_dry_run_shows_every_command(call: Callable[..., Called]) -> None:
    code, out, err = call(*OF_ETH0, str(OTHER), "--every", "500ms", "--dry-run")
    assert (code, err) == (0, "")
    assert commands_in(out) == [LOOK, ELSEWHERE, READ, SET, ONCE, f"arping -c 1 -U -I eth0 {OTHER}", RESTORE]
    forced = call(*OF_ETH0, str(OTHER), "--every", "500ms", "--dry-run", "--force")[1]
    assert commands_in(forced) == [each for each in commands_in(out) if each != ELSEWHERE]


def test_in_a_namespace_all_of_it_is_there(call: Callable[..., Called]) -> None:
    lines = commands_in(call(*OF_ETH0, "--netns", "lab", "--dry-run")[1])
    inside = [f"ip netns exec lab {each}" for each in (READ, SET, ONCE, RESTORE)]
    assert lines == ["ip -n lab -json -details addr show", ELSEWHERE, *inside]


# --- a machine of fakes ---------------------------------------------------------------------------------

SENT = f"""\
ARPING {ADDRESS} from {ADDRESS} eth0
Sent 1 probes (1 broadcast(s))
Received 0 response(s)
"""
DOWN = 'Interface "eth0" is down'

# ip_nonlocal_bind is a file, and so is each thing that arping or sysctl is to do wrong.
_ACT = """\
cd FOLDER
case $line in
'sysctl -w '*) [ -e stuck ] || echo "${line##*=}" >nonlocal_bind; exit ;;
'sysctl -n '*) cat nonlocal_bind; exit ;;
'arping -c '*)
  [ ! -e fails ] || { cat fails >&2; exit 2; }
  [ ! -e hangs ] || exec sleep 60
  [ ! -e waits ] || while [ ! -e go ]; do sleep 0.02; done
  cat sent; exit ;;
esac"""


def links(**changed: object) -> Answer:
    """Return what `ip` shows of a machine with eth0 and its address 192.168.104.110."""
    own = {"family": "inet", "local": "192.168.104.110", "prefixlen": 24}
    eth0 = {"ifname": "eth0", "ifindex": 2, "address": LLADDR, "flags": ["BROADCAST", "UP"]}
    shown = [{"ifname": "lo", "flags": ["LOOPBACK", "UP"]}, {**eth0, "addr_info": [own], **changed}]
    return Answer(json.dumps(shown))


def endpoint(name: str, has: IPv4Address, **changed: object) -> str:
    """Return what `ip` shows of a namespace with an endpoint of eth0, after its name."""
    own = {"family": "inet", "local": str(has), "prefixlen": 24}
    info = {"info_kind": "ipvlan", "info_data": {"mode": "l3"}}
    link = {"ifname": name, "link_index": 2, "address": LLADDR, "flags": ["NOARP", "UP"], "linkinfo": info}
    return f"netns: {name}\n{json.dumps([link | {'addr_info': [own]} | changed])}\n"


class Machine:
    """Fakes of ip, sysctl and arping, and what they find in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.recorder = Recorder(folder / "recorder")
        self.folder = folder
        (folder / "sent").write_text(SENT)
        self.nonlocal_bind = 0
        self.answer({})

    def answer(self, answers: Mapping[str, Answer]) -> None:
        act = _ACT.replace("FOLDER", str(self.folder))
        elsewhere = Answer(endpoint("test1", ADDRESS) + endpoint("test2", OTHER))
        self.recorder.answer({LOOK: links(), ELSEWHERE: elsewhere, **answers}, before_the_end=act)

    @property
    def nonlocal_bind(self) -> int:
        return int((self.folder / "nonlocal_bind").read_text())

    @nonlocal_bind.setter
    def nonlocal_bind(self, value: int) -> None:
        (self.folder / "nonlocal_bind").write_text(f"{value}\n")

    def arping(self, what: str, says: str = "") -> None:
        """Have arping do so from now on: `fails`, `hangs`, `waits`, or `go` on."""
        file = self.folder / f"{what}.new"
        file.write_text(says)
        file.rename(self.folder / what)

    def no_longer(self, what: str) -> None:
        (self.folder / what).unlink()

    def executed(self, what: str = "") -> list[str]:
        return [each for each in executed(self.recorder) if each.startswith(what)]

    def left(self) -> list[str]:
        """Return what was started here and still runs."""
        pids = [mark.pid for mark in self.recorder.log() if mark.event == "begin"]
        return [str(pid) for pid in pids if Path(f"/proc/{pid}").exists()]


@pytest.fixture(autouse=True)
def _own_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin without what another test has left on purpose."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine(tmp_path)
    monkeypatch.setenv("PATH", machine.recorder.path)
    return machine


OFTEN = (*OF_ETH0, "--every", "200ms")
BEGAN = f"announcing {ADDRESS} out of eth0 every 0.2 s"
RESTORED = "net.ipv4.ip_nonlocal_bind = 0 again"


def test_it_announces_in_rounds_and_takes_back_what_it_set(machine: Machine) -> None:
    with Piped(*OFTEN, str(OTHER), "--for", "900ms") as keeper:
        code, out, err = keeper.end()
    assert (code, err) == (0, "")
    began, stopped = out.splitlines()
    assert began == f"announcing {ADDRESS}, {OTHER} out of eth0 every 0.2 s, for 0.9 s"
    found = re.fullmatch(rf"stopped after (\d) rounds \(time is up\); {re.escape(RESTORED)}", stopped)
    assert found is not None
    rounds = int(found[1])
    assert 1 < rounds <= 5
    first, *middle, last = machine.executed("sysctl"), *machine.executed("arping -c"), machine.executed()[-3:]
    assert first == [READ, SET, READ, RESTORE, READ]
    assert last == [READ, RESTORE, READ]
    assert sorted(set(middle)) == [ONCE, f"arping -c 1 -U -I eth0 {OTHER}"]
    # A round starts no second arping for an address: on a slow machine some rounds start none.
    assert 1 <= middle.count(ONCE) <= rounds
    assert machine.nonlocal_bind == 0


@pytest.mark.parametrize("number", one_by_default(*ENDING))
@pytest.mark.parametrize("hangs", [False, True])
def test_a_signal_ends_it_and_all_is_taken_back(
    machine: Machine, number: signal.Signals, hangs: bool
) -> None:
    if hangs:
        machine.arping("hangs")
    with Piped(*OFTEN) as keeper:
        assert keeper.line() == BEGAN
        wait_until(lambda: machine.executed("arping -c"))
        assert machine.nonlocal_bind == 1
        code, out, err = keeper.end(number)
    assert (code, err) == (130, "")
    assert re.fullmatch(
        rf"stopped after \d+ rounds? \(interrupted by {number.name}\); {re.escape(RESTORED)}\n", out
    )
    assert machine.nonlocal_bind == 0
    wait_until(lambda: machine.left() == [])


def test_an_address_that_fails_and_recovers_is_told_once_each(machine: Machine) -> None:
    def rounds(number: int) -> None:
        wanted = len(machine.executed("arping -c")) + number
        wait_until(lambda: len(machine.executed("arping -c")) >= wanted)

    with Piped(*OFTEN) as keeper:
        assert keeper.line() == BEGAN
        rounds(2)
        machine.arping("fails", f"{DOWN}\n")
        assert keeper.line() == f"{ADDRESS}: arping failed: {DOWN}"
        rounds(3)
        machine.no_longer("fails")
        assert keeper.line() == f"{ADDRESS}: announced again"
        machine.arping("fails", "arping: bind: Cannot assign requested address\n")
        assert keeper.line() == f"{ADDRESS}: arping failed: bind: Cannot assign requested address"
        code, out, err = keeper.end(signal.SIGTERM)
    assert (code, len(out.splitlines()), err) == (130, 1, "")


HABETS = Answer("ARPing 2.25, by Thomas Habets <thomas@habets.se>\n")
NOT_SET = {
    "it is 1 already": (str(ADDRESS), 1, {}),
    "an address of the host's own": ("192.168.104.110", 0, {}),
    "Habets' arping": (str(ADDRESS), 0, {"arping -V": HABETS}),
}  # fmt: skip


@pytest.mark.parametrize(("address", "value", "answers"), one_by_default(*NOT_SET.values()), ids=NOT_SET)
def test_what_is_not_needed_is_not_set(
    machine: Machine, address: str, value: int, answers: dict[str, Answer]
) -> None:
    machine.nonlocal_bind = value
    machine.answer(answers)
    with Piped("announce", address, "--parent", "eth0", "--for", "200ms") as keeper:
        code, out, err = keeper.end()
    assert (code, err) == (0, "")
    assert out.splitlines()[1] == "stopped after 1 round (time is up)"
    assert machine.executed("sysctl -w") == []
    assert machine.nonlocal_bind == value


def test_what_habets_complains_of_is_a_failure_though_it_exits_as_ever(machine: Machine) -> None:
    capture = FIXTURES / "habets-arping-2.25"
    said = Answer(stderr=text_of(capture / "arping-device-down.txt"), exit_code=1)
    line = f"arping -c 1 -U -i eth0 -S {ADDRESS} {ADDRESS}"
    machine.recorder.answer({LOOK: links(), "arping -V": HABETS, line: said})
    with Piped(*OFTEN, "--force", "--for", "300ms") as keeper:
        out = keeper.end()[1]
    assert out.splitlines()[1].startswith(f"{ADDRESS}: arping failed: libnet_init(LIBNET_LINK, down0)")


@pytest.mark.parametrize("value", [0, 2])
def test_a_value_that_somebody_else_changed_is_left_alone(machine: Machine, value: int) -> None:
    with Piped(*OFTEN) as keeper:
        assert keeper.line() == BEGAN
        machine.nonlocal_bind = value
        code, out, err = keeper.end(signal.SIGTERM)
    assert code == 130
    assert "again" not in out
    assert err == (
        f"net.ipv4.ip_nonlocal_bind was set to 1 and is {value} now: "
        "another process changed it, so it is not restored\n"
    )
    assert machine.executed("sysctl -w") == [SET]
    assert journal.interrupted() == []


def test_a_value_that_does_not_go_back_is_an_error(machine: Machine) -> None:
    with Piped(*OFTEN) as keeper:
        assert keeper.line() == BEGAN
        machine.arping("stuck")
        code, out, err = keeper.end(signal.SIGINT)
    assert code == 4
    assert "again" not in out
    assert_one_line(err, "net.ipv4.ip_nonlocal_bind is 1 after it was set to 0", "")
    assert len(journal.interrupted()) == 1, "cleanup can try again"


def test_who_may_not_is_told_and_all_is_taken_back(machine: Machine) -> None:
    machine.arping("fails", "arping: socket: Operation not permitted\n")
    with Piped(*OFTEN) as keeper:
        code, out, err = keeper.end()
    assert code == 3
    # On a slow machine another round begins before the first arping has failed.
    began, stopped = out.splitlines()
    assert began == BEGAN
    assert re.fullmatch(rf"stopped after \d+ rounds? \(it failed\); {re.escape(RESTORED)}", stopped)
    assert err.splitlines()[0] == "error: permission denied"
    assert machine.nonlocal_bind == 0


def test_who_may_not_set_it_is_told_before_anything_is_sent(
    call: Callable[..., Called], machine: Machine
) -> None:
    said = Answer(stderr='sysctl: permission denied on key "net.ipv4.ip_nonlocal_bind"\n', exit_code=1)
    machine.recorder.answer({LOOK: links(), SET: said})
    code, out, err = call(*OFTEN, "--force")
    assert (code, out) == (3, "")
    assert err.splitlines()[-1] == "hint: use sudo"
    assert machine.executed("arping -c") == []


def test_a_reader_that_goes_ends_it_and_all_is_taken_back(machine: Machine) -> None:
    with Piped(*OFTEN) as keeper:
        assert keeper.line() == BEGAN
        keeper.stop_reading()
        assert keeper.process.wait(BOUND_S) == 0
        assert keeper.process.stderr is not None
        assert keeper.process.stderr.read() == b""
    assert machine.nonlocal_bind == 0


def test_a_stdout_that_cannot_be_written_is_an_error_and_all_is_taken_back(machine: Machine) -> None:
    argv = ["bash", "-c", 'exec "$@" >/dev/full', "bash", *IPVKIT, *OFTEN]
    done = subprocess.run(argv, stderr=subprocess.PIPE, text=True, timeout=BOUND_S, check=False)
    assert done.returncode == 4
    assert_one_line(done.stderr, "stdout cannot be written: No space left on device", "")
    assert machine.nonlocal_bind == 0


def test_a_stdout_that_was_never_open_is_refused(machine: Machine) -> None:
    argv = ["bash", "-c", 'exec "$@" >&-', "bash", *IPVKIT, *OFTEN]
    done = subprocess.run(argv, stderr=subprocess.PIPE, text=True, timeout=BOUND_S, check=False)
    assert done.returncode == 2
    assert_one_line(done.stderr, "stdout is closed", "/dev/null")
    assert machine.executed() == []


NO_PARENT = {
    "not there": (links(ifname="eth1"), 3, "no such interface: eth0", "choose from eth1"),
    "down": (links(flags=["BROADCAST"]), 3, "eth0 is down", "ip link set eth0 up"),
    "an l3 endpoint": (links(flags=["BROADCAST", "NOARP", "UP"]), 2, "eth0 does no ARP", "parent"),
    "lo is all": (Answer('[{"ifname": "lo", "flags": ["LOOPBACK", "UP"]}]'), 3, "no such", "only interface"),
}  # fmt: skip


@pytest.mark.parametrize(("shown", "code", "says", "hint"), NO_PARENT.values(), ids=NO_PARENT)
def test_a_parent_that_cannot_send_is_refused_before_anything_is_changed(
    call: Callable[..., Called], machine: Machine, shown: Answer, code: int, says: str, hint: str
) -> None:
    machine.answer({LOOK: shown})
    ended, out, err = call(*OF_ETH0)
    assert (ended, out) == (code, "")
    assert_one_line(err, says, hint)
    assert machine.executed("sysctl") == []


NO_ENDPOINT = {
    "another address": (endpoint("test2", OTHER), f"choose from {OTHER} (test2 in netns test2)"),
    "none at all": ("", "no namespace with a name has an endpoint of it"),
    "on another link": (endpoint("test1", ADDRESS, link_index=3), "no namespace with a name"),
    "on another machine's NIC": (endpoint("test1", ADDRESS, address="02:00:00:00:00:09"), "no namespace"),
    "not an endpoint": (endpoint("test1", ADDRESS, linkinfo={"info_kind": "veth"}), "no namespace"),
    "a namespace that was deleted": (f"netns: old\n{endpoint('test2', OTHER)}", f"choose from {OTHER}"),
}  # fmt: skip


@pytest.mark.parametrize(("elsewhere", "hint"), NO_ENDPOINT.values(), ids=NO_ENDPOINT)
def test_an_address_that_no_endpoint_has_is_refused_before_anything_is_changed(
    call: Callable[..., Called], machine: Machine, elsewhere: str, hint: str
) -> None:
    machine.answer({ELSEWHERE: Answer(elsewhere)})
    code, out, err = call(*OF_ETH0)
    assert (code, out) == (2, "")
    assert_one_line(err, f"no endpoint of eth0 has {ADDRESS}", hint)
    assert err.endswith("; --force announces it anyway\n")
    assert machine.executed("sysctl") + machine.executed("arping -c") == []


def test_an_endpoint_in_this_namespace_is_one_too(machine: Machine) -> None:
    here = json.loads(endpoint("test1", ADDRESS).partition("\n")[2])
    del here[0]["link_index"]
    shown = [*json.loads(links().stdout), {**here[0], "link": "eth0"}]
    machine.answer({LOOK: Answer(json.dumps(shown)), ELSEWHERE: Answer()})
    with Piped(*OF_ETH0, "--for", "200ms") as keeper:
        code, _, err = keeper.end()
    assert (code, err) == (0, "")


def test_with_force_an_address_of_no_endpoint_is_announced(machine: Machine) -> None:
    machine.answer({ELSEWHERE: Answer()})
    with Piped(*OF_ETH0, "--force", "--for", "200ms") as keeper:
        code, _, err = keeper.end()
    assert (code, err) == (0, "")
    assert ONCE in machine.executed("arping -c")
    assert ELSEWHERE not in machine.executed()


def test_in_a_namespace_the_hint_is_a_command_there(call: Callable[..., Called], machine: Machine) -> None:
    machine.answer({"ip -n lab -json -details addr show": links(flags=["BROADCAST"])})
    code, _, err = call(*OF_ETH0, "--netns", "lab")
    assert code == 3
    assert_one_line(err, "eth0 is down", "ip -n lab link set eth0 up")


def test_with_json_each_change_is_a_line(machine: Machine) -> None:
    with Piped(*OFTEN, "--json") as keeper:
        lines = [keeper.line()]
        machine.arping("fails", f"{DOWN}\n")
        lines.append(keeper.line())
        machine.no_longer("fails")
        lines.append(keeper.line())
        code, out, err = keeper.end(signal.SIGHUP)
    assert (code, err) == (130, "")
    began, failed, recovered, stopped = map(json.loads, [*lines, out])
    assert {each["schema"] for each in (began, failed, recovered, stopped)} == {"ipvkit/announce/v1"}
    assert began["addresses"] == [str(ADDRESS)]
    assert (failed["address"], failed["message"], failed["command"]) == (str(ADDRESS), DOWN, ONCE)
    assert recovered["after_s"] > failed["after_s"]
    assert (stopped["reason"], stopped["sysctl"], stopped["value"]) == ("SIGHUP", "restored", 0)


# --- without a process of its own -----------------------------------------------------------------------


class Told:
    """A listener that keeps what it is told, and goes when it has heard enough."""

    def __init__(self, enough: Callable[[Event], bool]) -> None:
        self.events: list[Event] = []
        self.enough = enough

    def __call__(self, event: Event) -> bool:
        self.events.append(event)
        return not self.enough(event)

    def of(self, kind: type[Event]) -> list[Event]:
        return [event for event in self.events if isinstance(event, kind)]


def test_an_arping_that_hangs_is_killed_at_its_bound(machine: Machine) -> None:
    machine.arping("hangs")
    told = Told(lambda event: isinstance(event, Failed))
    stopped = keep(Announcement((ADDRESS,), "eth0", 0.2, bound_s=0.5), Local(), told)
    [failed] = told.of(Failed)
    assert isinstance(failed, Failed)
    assert failed.message == "it did not end within 0.5 s and was killed"
    assert failed.after_s >= 0.5
    # It was not begun again while it was under way.
    assert machine.executed("arping -c") == [ONCE]
    assert stopped.rounds > 1
    assert machine.left() == []


def test_all_addresses_are_announced_side_by_side(machine: Machine) -> None:
    """Each waits until all have begun."""
    machine.arping("waits")
    addresses = tuple(IPv4Address("192.168.104.1") + number for number in range(30))
    seen: list[int] = []

    def enough(event: Event) -> bool:
        if isinstance(event, Round) and event.number == 1:
            return False
        if not seen and len(machine.executed("arping -c")) == len(addresses):
            seen.append(len([mark for mark in machine.recorder.log() if mark.event == "end"]))
            machine.arping("go")
        return isinstance(event, Round) and bool(seen) and not machine.left()

    told = Told(enough)
    announcement = Announcement(addresses, "eth0", 0.2, for_s=BOUND_S, force=True)
    stopped = keep(announcement, Local(), told)
    assert stopped.reason == "reader"
    assert sorted(set(machine.executed("arping -c"))) == sorted(
        f"arping -c 1 -U -I eth0 {a}" for a in addresses
    )
    assert told.of(Failed) == []


def test_a_program_that_is_taken_away_is_a_failure_like_any_other(machine: Machine) -> None:
    arping = machine.recorder.bin / "arping"

    def enough(event: Event) -> bool:
        if isinstance(event, Round) and event.number == 2:
            # That of the first round has begun.
            wait_until(lambda: machine.executed("arping -c"))
            arping.unlink()
        if isinstance(event, Failed):
            arping.symlink_to(machine.recorder.bin / "ip")
        return isinstance(event, Recovered)

    told = Told(enough)
    with pytest.MonkeyPatch.context() as patch:
        # No other arping is found than the fake.
        patch.setenv("PATH", f"{machine.recorder.bin}:{machine.folder}")
        patch.setattr("ipvkit.targets.programs.SEARCH_PATH", ())
        for name in ("bash", "cat", "sleep"):
            (machine.folder / name).symlink_to(str(shutil.which(name, path="/usr/bin:/bin")))
        keep(Announcement((ADDRESS,), "eth0", 0.2, for_s=BOUND_S), Local(), told)
    [failed] = told.of(Failed)
    assert isinstance(failed, Failed)
    assert failed.message == "arping is not installed"
    assert len(told.of(Recovered)) == 1


@pytest.mark.usefixtures("machine")
def test_it_can_go_on_for_long() -> None:
    """Neither file descriptors nor threads are left of a round."""
    counts: list[tuple[int, int]] = []

    def enough(event: Event) -> bool:
        if isinstance(event, Round):
            files, threads = (len(list(Path(f"/proc/self/{name}").iterdir())) for name in ("fd", "task"))
            counts.append((files, threads))
        return len(counts) == 12

    addresses = tuple(ADDRESS + number for number in range(3))
    keep(Announcement(addresses, "eth0", 0.2, force=True), Local(), Told(enough))
    early, late = (max(part) for part in (counts[2:6], counts[-4:]))
    assert late[0] <= early[0] + 3
    assert late[1] <= early[1] + 3


# --- lines ----------------------------------------------------------------------------------------------


def test_lines_read_well() -> None:
    began = Began(Announcement((ADDRESS, OTHER), "eth0", 90, 3600, "lab"), nonlocal_bind=True)
    assert line(began) == (
        "announcing 192.168.104.211, 192.168.104.212 out of eth0 in namespace lab every 90 s, for 3600 s\n"
    )
    assert line(Round(1)) == json_line(Round(1)) == ""
    stopped = Stopped("SIGINT", 12, 34.5, "restored", 0)
    assert line(stopped) == (
        "stopped after 12 rounds (interrupted by SIGINT); net.ipv4.ip_nonlocal_bind = 0 again\n"
    )


# --- the unit -------------------------------------------------------------------------------------------

UNITS = {
    "plain": Announcement((ADDRESS,), "eth0"),
    "in a namespace": Announcement((ADDRESS, OTHER), "eth0.100", 0.5, netns="my-lab"),
}


def verified(folder: Path, text: str) -> str:
    """Return what systemd says is wrong with a unit."""
    file = folder / "announce.service"
    file.write_text(text)
    argv = [str(shutil.which("systemd-analyze")), "verify", str(file)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=BOUND_S, check=False)
    return done.stdout + done.stderr + ("" if done.returncode == 0 else f"exit code {done.returncode}")


@pytest.fixture
def odd_program(tmp_path: Path) -> Path:
    program = tmp_path / "my 50% tools" / "ipvkit"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    return program


@requires("systemd-analyze")
@pytest.mark.parametrize("announcement", UNITS.values(), ids=UNITS)
def test_systemd_finds_nothing_wrong_with_the_unit(
    announcement: Announcement, tmp_path: Path, odd_program: Path
) -> None:
    text = unit(announcement, [str(odd_program)])
    assert verified(tmp_path, text) == ""
    assert verified(tmp_path, cleanup_unit([str(odd_program)], "/var/my 50% lib")) == ""
    # It does find what is wrong.
    assert "no-such" in verified(tmp_path, text.replace("ExecStart=", "ExecStart=/no-such/program "))
    assert "Unknown key" in verified(tmp_path, text.replace("KillMode", "KilMode"))


def test_the_unit_starts_this_ipvkit_with_what_was_given(call: Callable[..., Called]) -> None:
    code, out, _ = call(*OF_ETH0, "--every", "500ms", "--netns", "lab", "--unit")
    assert code == 0
    [start] = re.findall(r"^ExecStart=(/.*)$", out, re.MULTILINE)
    # Without a capability it cannot look into namespaces.
    assert start.endswith(f" -m ipvkit announce {ADDRESS} --parent eth0 --every 0.5s --force")
    assert Path(start.split()[0]).is_absolute()
    # systemd enters the namespace, which would need CAP_SYS_ADMIN.
    assert "NetworkNamespacePath=/run/netns/lab\n" in out
    assert "--netns" not in start


def test_a_folder_that_the_unit_cannot_enter_is_told(
    call: Callable[..., Called], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = tmp_path / "home"
    closed.mkdir(mode=0o700)
    program = closed / "ipvkit"
    program.touch()
    monkeypatch.setattr("sys.argv", [str(program)])
    if os.geteuid() == 0:
        os.chown(closed, 65534, 65534)
    code, out, err = call(*OF_ETH0, "--unit")
    assert code == 0
    assert f"ExecStart={program} announce" in out
    assert f"note: the unit cannot enter {closed}: " in err
