"""Commands one after another in one shell: what each did, and what becomes of those that never begin."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from queue import SimpleQueue

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_execute import lives, wait_until

from ipvkit.core.command import Command, Completed
from ipvkit.core.errors import MissingRequirement
from ipvkit.export import RowReader
from ipvkit.targets import Ended, Inbox
from ipvkit.targets.local import Local

NONCE = "0123456789abcdef"


def bash(text: str) -> Command:
    return Command(("bash", "-c", text))


def ended(inbox: Inbox, count: int) -> list[tuple[str, Completed | None]]:
    """Return what comes into `inbox`, each key with what it did."""
    found: list[Ended] = [inbox.get(timeout=10) for _ in range(count)]
    assert inbox.empty()
    return [(news.key, news.completed) for news in found]


def shown(completed: Completed | None) -> tuple[int, str, str] | None:
    return None if completed is None else (completed.exit_code, completed.stdout, completed.stderr)


def test_each_is_told_of_in_order() -> None:
    inbox: Inbox = SimpleQueue()
    commands = {
        "a": bash("echo out; echo err >&2; exit 3"),
        "b": Command(("cat",), stdin=("$HOME", "'", "")),
        "c": bash("printf 'no newline'; printf end >&2; kill -TERM $$"),
        "d": Command(("cat",)),
        "e": bash("read -r -t 5 line; echo $? $line"),
    }
    Local().start_row(commands, inbox)
    told = {key: shown(completed) for key, completed in ended(inbox, 5)}
    assert told == {
        "a": (3, "out\n", "err\n"),
        "b": (0, "$HOME\n'\n\n", ""),
        "c": (-signal.SIGTERM, "no newline", "end"),
        "d": (0, "", ""),
        "e": (0, "1\n", ""),
    }
    assert list(told) == list(commands)


def test_much_is_read_and_printed() -> None:
    lines = tuple(f"{number:0100}" for number in range(5000))
    inbox: Inbox = SimpleQueue()
    Local().start_row({"a": Command(("cat",), stdin=lines), "b": bash("exit 1")}, inbox)
    (_, a), (_, b) = ended(inbox, 2)
    assert shown(a) == (0, "".join(f"{line}\n" for line in lines), "")
    assert shown(b) == (1, "", "")


def test_no_other_begins_when_told_and_the_one_that_runs_ends_by_itself(tmp_path: Path) -> None:
    inbox: Inbox = SimpleQueue()
    here, go = tmp_path / "here", tmp_path / "go"
    commands = {
        "a": bash(f"echo a; : >{here}; until [ -e {go} ]; do sleep 0.01; done; exit 7"),
        "b": bash("echo b"),
        "c": bash("echo c"),
    }
    row = Local().start_row(commands, inbox)
    wait_until(here.exists)
    row.begin_no_more()
    go.touch()
    assert [(key, shown(done)) for key, done in ended(inbox, 3)] == [
        ("a", (7, "a\n", "")),
        ("b", None),
        ("c", None),
    ]


def test_what_is_stopped_is_killed_with_what_it_started(tmp_path: Path) -> None:
    inbox: Inbox = SimpleQueue()
    pid = tmp_path / "pid"
    row = Local().start_row(
        {"a": bash("exit 0"), "b": bash(f"sleep 60 & echo $! >{pid}; wait"), "c": bash("exit 0")}, inbox
    )
    wait_until(lambda: pid.exists() and pid.read_text())
    row.stop()
    (_, a), (_, b), (_, c) = ended(inbox, 3)
    assert (shown(a), c) == ((0, "", ""), None)
    assert b is not None
    assert b.exit_code == -signal.SIGKILL
    wait_until(lambda: not lives(pid))


def test_a_program_that_is_not_there_is_told_before_any_begins(tmp_path: Path) -> None:
    inbox: Inbox = SimpleQueue()
    made = tmp_path / "made"
    with pytest.raises(MissingRequirement, match="ipvkit-no-such is not installed"):
        Local().start_row({"a": bash(f": >{made}"), "b": Command(("ipvkit-no-such",))}, inbox)
    assert inbox.empty()
    assert not made.exists()


ENDS_WITH_ITS_OWNER = """
import os, signal
from queue import SimpleQueue
from ipvkit.core.command import Command
from ipvkit.targets.local import Local
text = "echo $$ >{pid}; sleep 60"
Local().start_row({{key: Command(("bash", "-c", text)) for key in "ab"}}, SimpleQueue())
while not os.path.exists("{pid}") or not open("{pid}").read():
    pass
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_row_ends_when_who_started_it_is_killed(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    done = subprocess.run(
        [sys.executable, "-c", ENDS_WITH_ITS_OWNER.format(pid=pid)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        timeout=30,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    first = pid.read_text()
    wait_until(lambda: not lives(pid))
    # Nothing of the row began after that.
    assert pid.read_text() == first


@given(
    st.lists(st.tuples(st.binary(max_size=20), st.binary(max_size=20), st.integers(0, 255)), max_size=4),
    st.integers(1, 30),
    st.booleans(),
)
def test_in_whatever_pieces_it_comes_the_same_is_read(
    ran: Sequence[tuple[bytes, bytes, int]], size: int, begun: bool
) -> None:
    """Output without a newline, or like a mark, is the command's own: no command knows the nonce."""
    out = b"".join(
        b"%b begin 1.5\n%b\n%b end %d 2.75\n" % (NONCE.encode(), said, NONCE.encode(), code)
        for said, _, code in ran
    )
    out += b"%b begin 3.0\nhalf" % NONCE.encode() if begun else b""
    err = b"".join(b"%b\n%b\n" % (said, NONCE.encode()) for _, said, _ in ran)
    commands = dict.fromkeys([*map(str, range(len(ran))), "x", "y"], bash(""))
    reader = RowReader(commands, NONCE)
    read = [
        told
        for at in range(0, max(len(out), len(err)) + 1, size)
        for told in reader.read(out[at : at + size], err[at : at + size])
    ]
    assert read == [
        (
            str(number),
            Completed(
                128 - code if 128 < code < 193 else code,
                said.decode(errors="replace"),
                complaint.decode(errors="replace"),
                1.25,
            ),
        )
        for number, (said, complaint, code) in enumerate(ran)
    ]
    assert list(reader.rest()) == [("x", begun), ("y", False)]


# --- side by side ----------------------------------------------------------------------------------------


def test_side_by_side_each_is_told_of_when_it_has_ended(tmp_path: Path) -> None:
    inbox: Inbox = SimpleQueue()
    go = tmp_path / "go"
    much = "seq 100000; seq 100000 >&2; kill -TERM $$"
    commands = {
        "waits": bash(f"until [ -e {go} ]; do sleep 0.01; done; exit 3"),
        "cat": Command(("cat",), stdin=("$HOME", "'", "")),
        "much": bash(much),
        "nothing": Command(("cat",)),
        "no newline": bash("printf 'no newline'"),
        "leaves": bash("sleep 60 & echo left"),
    }
    running = Local().start_side_by_side(commands, inbox)
    told = {key: shown(completed) for key, completed in ended(inbox, len(commands) - 1)}
    go.touch()
    told |= {key: shown(completed) for key, completed in ended(inbox, 1)}
    numbers = "".join(f"{number}\n" for number in range(1, 100001))
    assert told == {
        "waits": (3, "", ""),
        "cat": (0, "$HOME\n'\n\n", ""),
        "much": (-signal.SIGTERM, numbers, numbers),
        "nothing": (0, "", ""),
        "no newline": (0, "no newline", ""),
        "leaves": (0, "left\n", ""),
    }
    # What one of them left behind goes with the rest.
    running.stop()


def test_side_by_side_what_is_stopped_is_killed_with_what_it_started(tmp_path: Path) -> None:
    inbox: Inbox = SimpleQueue()
    pid = tmp_path / "pid"
    commands = {"a": bash(f"echo a; sleep 60 & echo $! >{pid}; wait"), "b": bash("exit 0")}
    running = Local().start_side_by_side(commands, inbox)
    wait_until(lambda: pid.exists() and pid.read_text())
    running.stop()
    told = {key: shown(completed) for key, completed in ended(inbox, 2)}
    assert told["a"] == (-signal.SIGKILL, "a\n", "")
    wait_until(lambda: not lives(pid))


def test_side_by_side_no_open_file_is_left() -> None:
    def files() -> int:
        return sum(1 for _ in Path("/proc/self/fd").iterdir())

    before = files()
    for program in ("true", "ipvkit-no-such"):
        inbox: Inbox = SimpleQueue()
        commands = {key: Command((program,)) for key in "abc"}
        if program == "true":
            Local().start_side_by_side(commands, inbox)
            assert {shown(done) for _, done in ended(inbox, 3)} == {(0, "", "")}
        else:
            with pytest.raises(MissingRequirement):
                Local().start_side_by_side(commands, inbox)
    wait_until(lambda: files() <= before)
