"""What is undone, and what is not: on a little machine, killed at any command and changed by others."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import count
from queue import SimpleQueue
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipvkit.core.command import Command, Completed
from ipvkit.core.errors import CommandFailed
from ipvkit.core.values import address, interface_address
from ipvkit.lab import BATCH_FROM, Lab, gallery, on_parent
from ipvkit.lab.format import load
from ipvkit.plan.make import make_plan
from ipvkit.plan.resources import Link, Netns, Sysctl
from ipvkit.plan.steps import Plan
from ipvkit.run import engine, journal
from ipvkit.run.journal import Entry, Journal, started, taken_over
from ipvkit.run.rollback import Finished, Rollback
from ipvkit.strategies.announce import NONLOCAL_BIND
from ipvkit.targets.agent import Agent
from scripted import Scripted
from strategies import labs_on_a_parent

PARENT = "eth0"
Place = str | None


@dataclass
class Machine:
    """A small machine that keeps in mind what commands change, and shows it as `ip` and `sysctl` do.

    `namespaces` are by name with their inodes, `links` by their namespace and name with ifindex and kind.
    """

    namespaces: dict[str, int] = field(default_factory=lambda: {"others": 1})
    links: dict[tuple[Place, str], tuple[int, str | None]] = field(
        default_factory=lambda: {
            (None, "lo"): (1, None),
            (None, PARENT): (2, None),
            ("others", "x"): (3, "veth"),
        }
    )
    sysctls: dict[str, str] = field(default_factory=dict)
    proxies: set[tuple[str, str]] = field(default_factory=set)
    routes: set[tuple[str, str]] = field(default_factory=set)
    numbers: "count[int]" = field(default_factory=lambda: count(100))
    watch: Callable[[], None] = lambda: None

    @property
    def state(self) -> dict[str, object]:
        """All that there is."""
        sysctls = {key: value for key, value in self.sysctls.items() if value != "0"}
        there = {name: deepcopy(getattr(self, name)) for name in ("namespaces", "links", "proxies", "routes")}
        return {**there, "sysctls": sysctls}

    def become(self, state: Mapping[str, object]) -> None:
        """Be as it was when `state` was all that there was."""
        for name, value in state.items():
            setattr(self, name, deepcopy(value))

    @property
    def target(self) -> Scripted:
        """This machine as a target."""
        return Scripted(self.run)

    def run(self, command: Command) -> Completed:
        """Do `command`, and return what it prints."""
        self.watch()
        code, out, said = self._batch(command) if command.stdin else self._do_one(command.argv)
        return Completed(code, out, said, 0.0)

    def _do_one(self, argv: tuple[str, ...]) -> tuple[int, str, str]:
        code, out = self._do(argv, None)
        self.watch()
        return code, out, "" if code == 0 else "no\n"

    def _batch(self, command: Command) -> tuple[int, str, str]:
        """Do the lines of a batch, up to the first that fails or, with ``-force``, all."""
        before = tuple(word for word in command.argv[:-2] if word != "-force")
        ended, shown, told = 0, "", ""
        for number, line in enumerate(command.stdin, 1):
            code, out, said = self._do_one((*before, *line.split()))
            shown += f"{out}\n" if out else ""
            if code:
                ended, told = 1, f"{told}{said}Command failed -:{number}\n"
                if "-force" not in command.argv:
                    break
        return ended, shown, told

    def _do(self, argv: tuple[str, ...], place: Place) -> tuple[int, str]:
        line = " ".join(argv)
        if found := re.fullmatch(r"ip netns exec (\S+) (.*)", line) or re.fullmatch(
            r"ip -n (\S+) (.*)", line
        ):
            inner = found[2] if line.startswith("ip netns") else f"ip {found[2]}"
            return self._do(tuple(inner.split()), found[1]) if found[1] in self.namespaces else (1, "")
        if "-json" in argv or line.startswith("sysctl -n"):
            return 0, self._show(line, place)
        if found := re.fullmatch(r"ip netns (add|del) (\S+)", line):
            return self._netns(found[1], found[2])
        if found := re.fullmatch(
            r"ip link add (?:name |dev )?(\S+) link \S+ (?:netns (\S+) )?.*?type (\S+).*", line
        ):
            return self._add((found[2] or place, found[1]), (next(self.numbers), found[3]))
        if found := re.fullmatch(r"ip link set (?:dev )?(\S+) netns (\S+)(?: name (\S+))?", line):
            return self._add((found[2], found[3] or found[1]), self.links.pop((place, found[1])))
        if found := re.fullmatch(r"ip link set (?:dev )?+(\S+) name (\S+)", line):
            return self._add((place, found[2]), self.links.pop((place, found[1])))
        if found := re.fullmatch(r"ip link delete (?:dev )?(\S+)", line):
            self.routes -= {route for route in self.routes if place is None and route[1] == found[1]}
            return (0, "") if self.links.pop((place, found[1]), None) else (1, "")
        # Those of another namespace end with it.
        if place is None and (found := re.fullmatch(r"sysctl -w (\S+)=(\S+)", line)):
            self.sysctls[found[1]] = found[2]
        for pattern, held in (
            (r"ip neigh (add|del) proxy (\S+) dev (\S+)", self.proxies),
            (r"ip route (add|del) (\S+) dev (\S+)", self.routes),
        ):
            if (found := re.fullmatch(pattern, line)) and place is None:
                (held.add if found[1] == "add" else held.remove)((found[2], found[3]))
        if found := re.fullmatch(r"ping .*", line):
            return 1, ""
        return 0, ""

    def _netns(self, verb: str, name: str) -> tuple[int, str]:
        if (verb == "add") == (name in self.namespaces):
            return 1, ""
        if verb == "add":
            self.namespaces[name] = next(self.numbers)
            self.links[name, "lo"] = (1, None)
        else:
            del self.namespaces[name]
            self.links = {where: link for where, link in self.links.items() if where[0] != name}
        return 0, ""

    def _add(self, where: tuple[Place, str], link: tuple[int, str | None]) -> tuple[int, str]:
        if where in self.links:
            return 2, ""
        self.links[where] = link
        return 0, ""

    def _show(self, line: str, place: Place) -> str:
        if line.startswith("sysctl -n "):
            return self.sysctls.get(line.split()[-1], "0")
        shown: list[object] = []
        if line.endswith("netns list"):
            shown = [{"name": name} for name in self.namespaces]
        elif line.endswith("addr show"):
            for (where, name), (index, kind) in self.links.items():
                if where == place:
                    info = {"linkinfo": {"info_kind": kind}} if kind else {}
                    shown.append({"ifname": name, "ifindex": index, "addr_info": [], **info})
        elif line.endswith("neigh show proxy"):
            shown = [{"dst": dst, "dev": dev, "proxy": None} for dst, dev in self.proxies]
        elif line.endswith("route show table all"):
            shown = [{"dst": dst.removesuffix("/32"), "dev": dev, "flags": []} for dst, dev in self.routes]
        return json.dumps(shown)


@contextmanager
def known_to_the_kernel(machine: Machine) -> Iterator[None]:
    """Have inodes and ifindexes be those of `machine`."""

    def index_of(name: str) -> int:
        if (None, name) not in machine.links:
            raise OSError
        return machine.links[None, name][0]

    with (
        patch("ipvkit.run.journal.mark_of_netns", lambda name: machine.namespaces.get(name)),
        patch("socket.if_nametoindex", index_of),
    ):
        yield


def silent(_: object) -> None:
    """Listen to nothing."""


def undone(ledger: Journal, machine: Machine) -> tuple[Rollback, list[str]]:
    """Take back what `ledger` holds; return what came of it and the lines that were run."""
    with Agent(machine.target, SimpleQueue()) as agent:
        taken = Rollback(ledger, agent, silent)
        taken.run()
    return taken, [str(finished.job.command) for finished in taken.undone]


@given(lab=labs_on_a_parent(), data=st.data())
def test_a_run_that_is_killed_at_any_command_is_undone_exactly(
    lab: Lab, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Before a command acts, and after it did: what is on disk at that instant undoes what is there then."""
    folder = tmp_path_factory.mktemp("state")
    machine = Machine()
    before = machine.state
    file = folder / "ipvkit" / f"{lab.name}.jsonl"
    instants: list[tuple[bytes, dict[str, object]]] = []
    machine.watch = lambda: instants.append((file.read_bytes(), machine.state))
    with patch.dict("os.environ", XDG_STATE_HOME=str(folder)), known_to_the_kernel(machine):
        with started(lab.name) as ledger:
            engine.run(make_plan(lab), machine.target, silent, journal=ledger)
        assert machine.state == before
        assert not file.exists()
        machine.watch = lambda: None
        chosen = data.draw(st.lists(st.sampled_from(instants), min_size=1, max_size=8))
        for journalled, then in chosen:
            file.parent.mkdir(mode=0o700, exist_ok=True)
            file.write_bytes(journalled)
            machine.become(then)
            with taken_over(lab.name) as left:
                assert isinstance(left, Journal)
                taken, _ = undone(left, machine)
                assert (taken.left, taken.alone) == ([], {})
                assert undone(left, machine)[1] == [], "once is enough"
            assert machine.state == before
            assert journal.records() == []


# --- what others do meanwhile ---------------------------------------------------------------------------


def plan() -> Plan:
    lab = load(gallery.text(gallery.WALKTHROUGH), "walkthrough.yaml")
    host, gateway = interface_address("192.168.104.110/24"), address("192.168.104.254")
    return make_plan(on_parent(lab, PARENT, host=(host,), gateway=gateway))


@pytest.fixture
def machine() -> Iterator[Machine]:
    machine = Machine()
    with known_to_the_kernel(machine):
        yield machine


@pytest.fixture
def up(machine: Machine) -> Journal:
    """Return the ledger of a lab that is up on `machine`, as another process reads it."""
    ledger = Journal()
    assert engine.run(plan(), machine.target, silent, keep=True, journal=ledger).kept
    return as_read(ledger)


def as_read(ledger: Journal) -> Journal:
    """Return what another process reads of it: it knows of nothing that it has certainly been done."""
    read = Journal()
    for entry in ledger.entries.values():
        read._take({"begin": [json.loads(json.dumps(journal.written(entry)))]})
        read._take({"done": {entry.id: entry.mark}, "undone": []})
    return read


def test_what_is_up_is_taken_down(machine: Machine, up: Journal) -> None:
    taken, _ = undone(up, machine)
    assert machine.state == Machine().state
    assert (taken.left, taken.alone, up.entries) == ([], {}, {})


def test_an_entry_has_the_purpose_of_its_undo(machine: Machine) -> None:
    ledger = Journal()
    engine.run(plan(), machine.target, silent, keep=True, journal=ledger)
    purposes = {entry.purpose for entry in ledger.entries.values()}
    assert purposes == {
        *("delete namespace test1", "delete namespace test2", "delete test1"),
        f"restore the host's {NONLOCAL_BIND}",
    }


def test_what_has_gone_is_passed_over(machine: Machine, up: Journal) -> None:
    machine._do(("ip", "netns", "del", "test1"), None)
    taken, lines = undone(up, machine)
    assert not [line for line in lines if "test1" in line]
    assert (taken.left, taken.alone, up.entries) == ([], {}, {})
    assert machine.state == Machine().state


def test_a_namespace_of_that_name_that_is_another_one_is_left_alone(machine: Machine, up: Journal) -> None:
    for verb in ("del", "add"):
        machine._do(("ip", "netns", verb, "test1"), None)
    machine.links["test1", "test1"] = (9, "ipvlan")
    taken, lines = undone(up, machine)
    assert not [line for line in lines if "test1" in line]
    another = "netns test1 was replaced"
    gone = f"link test1 in netns test1 was deleted with its namespace: {another}"
    assert list(taken.alone.values()) == [gone, another]
    assert machine.links["test1", "test1"] == (9, "ipvlan"), "of that name and kind, and theirs"
    assert up.entries == {}, "nothing of ours is left"


def test_a_namespace_that_holds_somebody_elses_link_stays_until_it_holds_none(
    machine: Machine, up: Journal
) -> None:
    machine.links["test1", "nic"] = (77, None)
    taken, _ = undone(up, machine)
    assert taken.left == ["netns test1 has links of another user: nic"]
    assert machine.links["test1", "nic"] == (77, None)
    assert [entry.resource for entry in up.entries.values()] == [Netns("test1", ("test1",))]
    del machine.links["test1", "nic"]
    assert undone(up, machine)[1] == ["ip netns del test1"]
    assert machine.state == Machine().state


def test_a_sysctl_that_somebody_else_has_set_is_left_alone(machine: Machine) -> None:
    ledger = Journal()
    ledger.begin([Entry("x", "set it", Sysctl(NONLOCAL_BIND, 1), "0")])
    machine.sysctls[NONLOCAL_BIND] = "2"
    taken, lines = undone(ledger, machine)
    assert lines == []
    assert list(taken.alone.values()) == [f"{NONLOCAL_BIND} was set to 1 and is 2 now"]
    assert machine.sysctls[NONLOCAL_BIND] == "2"


@pytest.mark.parametrize(
    ("now", "why"),
    [
        ((5, "dummy"), "link mine was replaced by one of kind dummy"),
        ((6, "ipvlan"), "link mine was replaced"),
    ],
)
def test_a_link_of_that_name_that_is_another_one_is_left_alone(
    machine: Machine, now: tuple[int, str], why: str
) -> None:
    machine.links[None, "mine"] = (5, "ipvlan")
    ledger = Journal()
    ledger.begin([Entry("x", "make it", Link("mine", "ipvlan"))])
    ledger.end(["x"], [])
    machine.links[None, "mine"] = now
    taken, lines = undone(ledger, machine)
    assert (lines, list(taken.alone.values())) == ([], [why])
    assert machine.links[None, "mine"] == now


def test_a_link_that_was_renamed_is_named_and_stays_in_the_ledger(machine: Machine) -> None:
    machine.links[None, "mine"] = (5, "ipvlan")
    ledger = Journal()
    ledger.begin([Entry("x", "make it", Link("mine", "ipvlan"))])
    ledger.end(["x"], [])
    machine.links[None, "yours"] = machine.links.pop((None, "mine"))
    taken, lines = undone(as_read(ledger), machine)
    assert (lines, taken.left) == ([], ["link mine was renamed to yours"])


def test_where_the_machine_cannot_be_looked_at_another_process_undoes_nothing(
    machine: Machine, up: Journal
) -> None:
    held, before = dict(up.entries), machine.state
    with patch.object(Machine, "_show", lambda *_: "rubbish"):
        taken, lines = undone(up, machine)
    assert lines == []
    assert len(taken.left) == len(held)
    assert "unknown whether it exists: netns test1" in "\n".join(taken.left)
    assert (up.entries, machine.state) == (held, before)


def test_what_ip_does_not_list_and_is_there_is_not_taken_for_gone(machine: Machine, up: Journal) -> None:
    show = Machine._show
    with patch.object(Machine, "_show", lambda s, line, n: "" if "list" in line else show(s, line, n)):
        undone(up, machine)
    assert machine.state == Machine().state


def test_where_it_cannot_be_looked_at_the_run_itself_undoes_what_it_did(machine: Machine) -> None:
    """It knows what it has done, moments ago."""

    def listener(event: object) -> None:
        if isinstance(event, Finished) and event.job.purpose.startswith("ping"):
            machine.__dict__["_show"] = lambda *_: "rubbish"

    run = engine.run(plan(), machine.target, listener)
    assert machine.state == Machine().state
    assert isinstance(run.failure, CommandFailed)
    (left,) = run.residue
    assert left.startswith("unknown"), "what it undid it does not doubt"


def test_of_a_batch_of_which_a_line_failed_only_what_that_undoes_is_left(machine: Machine) -> None:
    names = [f"n{number}" for number in range(BATCH_FROM)]
    machine.namespaces |= dict.fromkeys(names[1:], 7)
    ledger = Journal()
    ledger.begin([Entry(name, f"delete {name}", Netns(name)) for name in names])
    ledger.end(names, [])
    with patch.object(Machine, "_show", lambda *_: "rubbish"):
        taken, lines = undone(ledger, machine)
    assert len(lines) == 1
    assert len(taken.left) == 1
    assert ([*ledger.entries], machine.namespaces) == (["n0"], {"others": 1})
