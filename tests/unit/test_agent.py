"""The agent on this machine: commands in rows, what each did, and that all ends with ipvkit."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from queue import SimpleQueue

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipvkit.core.command import Command, Completed
from ipvkit.targets.agent import KILLED, Agent, Ended, Inbox
from ipvkit.targets.local import Local
from ipvkit.targets.process import Process

BOUND_S = 60.0


def sh(text: str) -> Command:
    return Command(("sh", "-c", text))


@pytest.fixture
def agent() -> Iterator[Agent]:
    with Agent(Local(), SimpleQueue()) as agent:
        yield agent


def ended(inbox: Inbox, count: int) -> dict[str, Completed | None]:
    """Return how the next `count` commands ended, in that order."""
    found: list[Ended] = [inbox.get(timeout=BOUND_S) for _ in range(count)]
    return {each.key: each.completed for each in found}


def run(
    agent: Agent, rows: Sequence[Mapping[str, Command]], *, brief: bool = False
) -> dict[str, Completed | None]:
    agent.start(rows, brief=brief)
    return ended(agent.inbox, sum(map(len, rows)))


def test_an_agent_that_has_ended_holds_no_file() -> None:
    before, target = set(Path("/proc/self/fd").iterdir()), Local()
    with Agent(target, SimpleQueue()) as agent:
        run(agent, [{"a": sh("echo a")}, {"b": sh("echo b")}])
        assert set(Path("/proc/self/fd").iterdir()) - before
    assert set(Path("/proc/self/fd").iterdir()) <= before


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + BOUND_S
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.01)


def test_the_kernel_is_reported(agent: Agent) -> None:
    run(agent, [{"x": Command(("true",))}])
    assert agent.kernel == os.uname().release


class _Late(Local):
    """Its agent starts half a second late, and ends where something was written to it before."""

    def start(self, script: str, _: object = None, mailbox: int | None = None) -> Process:
        return super().start(f"! read -r -t 0.5 || exit 3\n{script}", mailbox=mailbox)


def test_nothing_is_written_before_the_agent_has_started() -> None:
    """A uml kernel can lose what is written before it opens its serial line."""
    with Agent(_Late(), SimpleQueue()) as agent:
        agent.start([{"first": Command(("true",))}])
        agent.start([{"second": Command(("false",))}])
        done = ended(agent.inbox, 2)
    assert {key: completed and completed.exit_code for key, completed in done.items()} == {
        "first": 0,
        "second": 1,
    }


class _Brief(Local):
    """Its agent ends when it has started."""

    def start(self, script: str, _: object = None, mailbox: int | None = None) -> Process:
        return super().start(f"echo started 6.12.0; exit 3\n{script}", mailbox=mailbox)


def test_what_is_started_after_the_agent_has_ended_is_reported_as_killed() -> None:
    with Agent(_Brief(), SimpleQueue()) as agent:
        for name in ("first", "second"):
            agent.start([{name: Command(("true",)), f"after {name}": Command(("true",))}])
            assert ended(agent.inbox, 2) == {name: KILLED, f"after {name}": None}


WORDS = st.text(
    st.characters(codec="utf-8", categories=["L", "N", "P", "S"], include_characters=" "), max_size=20
)
LINES = st.lists(WORDS.filter(lambda line: line != "END"), max_size=5)


@pytest.mark.long
@settings(max_examples=10)
@given(st.lists(st.tuples(st.lists(WORDS, min_size=1, max_size=4), LINES), min_size=1, max_size=5))
def test_words_and_lines_arrive_as_they_are(commands: list[tuple[list[str], list[str]]]) -> None:
    """Whatever is in them; each command of a row in its turn."""
    row = {
        str(i): Command(("sh", "-c", 'printf "<%s>" "$@"; cat', "sh", *words), stdin=tuple(lines))
        for i, (words, lines) in enumerate(commands)
    }
    with Agent(Local(), SimpleQueue()) as agent:
        found = run(agent, [row])
    assert list(found) == list(row)
    for (words, lines), completed in zip(commands, found.values(), strict=True):
        text = "".join(f"{line}\n" for line in lines)
        assert completed is not None
        assert completed.stdout == "".join(f"<{word}>" for word in words) + text


@pytest.mark.parametrize("brief", [False, True])
@pytest.mark.parametrize(
    ("text", "exit_code", "out", "err"),
    [
        ("printf a; printf b >&2; exit 3", 3, "a", "b"),
        ("kill -TERM $$", -signal.SIGTERM, "", ""),
        ("kill -KILL $$", -signal.SIGKILL, "", ""),
        ("printf 'a\\0b\\0'", 0, "ab", ""),
        ("printf '\\377'; printf '9 0 0 0 0\\nread\\n'", 0, "\N{REPLACEMENT CHARACTER}9 0 0 0 0\nread\n", ""),
        ("cat", 0, "", ""),
        ("exec 2>&1; /no/such/program", 127, "sh: 1: /no/such/program: not found\n", ""),
    ],
)
def test_how_a_command_ended_is_reported(
    agent: Agent, text: str, exit_code: int, out: str, err: str, brief: bool
) -> None:
    completed = run(agent, [{"x": sh(text)}], brief=brief)["x"]
    assert completed is not None
    assert (completed.exit_code, completed.stdout, completed.stderr) == (exit_code, out, err)
    assert completed.duration_s > 0


def test_much_goes_in_and_much_comes_out(agent: Agent) -> None:
    lines = tuple(str(number) * 10 for number in range(20_000))
    completed = run(agent, [{"x": Command(("tee", "/dev/stderr"), stdin=lines)}])["x"]
    assert completed is not None
    assert completed.stdout == completed.stderr == "".join(f"{line}\n" for line in lines)


def test_the_commands_of_a_row_run_in_turn_and_rows_concurrently(agent: Agent, tmp_path: Path) -> None:
    """Each of the first waits for the other; the second of a row finds what the first did."""
    a, b = tmp_path / "a", tmp_path / "b"
    rows = [
        {"a": sh(f"touch {a}; until [ -e {b} ]; do sleep 0.01; done"), "a2": sh(f"test -e {a}")},
        {"b": sh(f"touch {b}; until [ -e {a} ]; do sleep 0.01; done")},
    ]
    found = run(agent, rows)
    assert list(found).index("a") < list(found).index("a2")
    assert all(completed is not None and completed.exit_code == 0 for completed in found.values())


def test_many_are_started_while_others_run(agent: Agent) -> None:
    for number in range(50):
        agent.start([{str(number): sh(f"echo {number}")}])
    found = ended(agent.inbox, 50)
    assert {key: c and c.stdout for key, c in found.items()} == {str(n): f"{n}\n" for n in range(50)}


def test_a_command_that_is_asked_to_end_has_its_last_words_and_the_next_of_its_row_begins(
    agent: Agent, tmp_path: Path
) -> None:
    begun = tmp_path / "begun"
    text = f"trap 'echo flushed; exit 7' TERM; touch {begun}; while :; do sleep 0.01; done"
    agent.start([{"x": sh(text), "y": sh("echo y")}, {"z": sh("echo z")}])
    until(begun.exists)
    agent.end("x")
    found = ended(agent.inbox, 3)
    assert {
        key: completed and (completed.exit_code, completed.stdout) for key, completed in found.items()
    } == {
        "x": (7, "flushed\n"),
        "y": (0, "y\n"),
        "z": (0, "z\n"),
    }
    agent.end("x")
    assert run(agent, [{"later": sh("echo later")}])["later"] is not None


def test_a_command_that_is_stopped_is_killed_and_no_other_of_its_row_begins(
    agent: Agent, tmp_path: Path
) -> None:
    begun = tmp_path / "begun"
    agent.start(
        [{"x": sh(f"touch {begun}; trap '' TERM; sleep 1000"), "y": sh("true")}, {"z": sh("sleep 0.1")}]
    )
    until(begun.exists)
    agent.stop("x")
    found = ended(agent.inbox, 3)
    assert found["x"] is not None
    assert found["x"].exit_code == -signal.SIGKILL
    assert found["y"] is None
    assert found["z"] is not None
    assert found["z"].exit_code == 0


def test_at_rest_what_runs_is_let_end_and_no_other_begins(agent: Agent, tmp_path: Path) -> None:
    begun, over = tmp_path / "begun", tmp_path / "over"
    runs = sh(f"touch {begun}; until [ -e {over} ]; do sleep 0.01; done; echo x")
    agent.start([{"x": runs, "y": sh("true")}, {"z": sh("exec sleep 1000")}])
    until(begun.exists)
    agent.rest()
    # Requests are read in order: when this one has been, the agent rests.
    agent.stop("z")
    assert list(ended(agent.inbox, 1)) == ["z"]
    over.touch()
    found = ended(agent.inbox, 2)
    assert found["x"] is not None
    assert (found["x"].exit_code, found["x"].stdout) == (0, "x\n")
    assert found["y"] is None


@pytest.mark.long
@pytest.mark.parametrize("brief", [False, True])
def test_killed_it_ends_with_all_that_it_started_and_can_be_started_again(
    agent: Agent, tmp_path: Path, brief: bool
) -> None:
    pid = tmp_path / "pid"
    agent.start([{"x": sh(f"sleep 1000 & echo $! >{pid}; wait"), "y": sh("true")}], brief=brief)
    until(lambda: pid.exists() and bool(pid.read_text().strip()))
    agent.kill()
    assert ended(agent.inbox, 2) == {"x": KILLED, "y": None}
    until(lambda: not Path(f"/proc/{pid.read_text().strip()}").exists())
    assert run(agent, [{"z": sh("echo z")}])["z"] is not None


FATHER = """\
import sys, time
from queue import SimpleQueue
from ipvkit.core.command import Command
from ipvkit.targets.agent import Agent
from ipvkit.targets.local import Local
agent = Agent(Local(), SimpleQueue())
row = {"x": Command(("sh", "-c", f"sleep 1000 & echo $! >{sys.argv[1]}; wait"))}
agent.start([row], brief=len(sys.argv) > 2)
time.sleep(1000)
"""


@pytest.mark.long
@pytest.mark.parametrize("brief", [[], ["brief"]], ids=["", "brief"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_all_that_runs_ends_with_ipvkit_however_that_ends(
    number: signal.Signals, tmp_path: Path, brief: list[str]
) -> None:
    pid = tmp_path / "pid"
    father = subprocess.Popen([sys.executable, "-c", FATHER, str(pid), *brief])
    until(lambda: pid.exists() and bool(pid.read_text().strip()))
    father.send_signal(number)
    father.wait()
    until(lambda: not Path(f"/proc/{pid.read_text().strip()}").exists())


def test_an_agent_is_over_as_soon_as_its_process_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """sh waits with a timeout by looking every 0.1 s, which each run would take longer."""

    def never(seconds: float) -> None:
        raise AssertionError(f"waited for {seconds} s")

    with Agent(Local(), SimpleQueue()) as agent:
        assert run(agent, [{"x": sh("echo out")}])["x"] is not None
        monkeypatch.setattr(time, "sleep", never)
