"""One command, executed for real: what it did, or one error that a person understands; it has ended."""

import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from queue import SimpleQueue

import pytest

from ipvkit.core.command import Command
from ipvkit.core.errors import CommandFailed, Interrupted, MissingRequirement
from ipvkit.core.interrupts import ENDING
from ipvkit.run.execution import signals_into
from ipvkit.targets.process import nudge
from ipvkit.verbs.single import execute


def bash(text: str, ok: tuple[int, ...] = (0,)) -> Command:
    return Command(("bash", "-c", text), ok)


def lives(pid_file: Path) -> bool:
    return Path(f"/proc/{pid_file.read_text().strip()}").exists()


def wait_until(condition: object, bound_s: float = 5.0) -> None:
    deadline = time.monotonic() + bound_s
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.01)


def test_what_it_printed_and_how_it_ended_is_told() -> None:
    completed = execute([bash("echo out; echo err >&2; exit 3", ok=(0, 3))], 10)[0]
    assert (completed.exit_code, completed.stdout, completed.stderr) == (3, "out\n", "err\n")


def test_a_failure_carries_the_command_and_its_words() -> None:
    with pytest.raises(CommandFailed, match="bash failed with exit code 3") as problem:
        execute([bash("echo no such thing >&2; exit 3")], 10)
    assert problem.value.command == "bash -c 'echo no such thing >&2; exit 3'"
    assert problem.value.stderr == "no such thing"
    assert problem.value.exit_code == 4


def test_death_by_a_signal_is_named() -> None:
    with pytest.raises(CommandFailed, match="died of SIGTERM"):
        execute([bash("kill -TERM $$")], 10)


@pytest.mark.parametrize("said", ["RTNETLINK answers: Operation not permitted", "x: Permission denied"])
def test_what_this_user_may_not_do_says_so(said: str) -> None:
    with pytest.raises(MissingRequirement, match="permission denied") as problem:
        execute([bash(f"echo '{said}' >&2; exit 2")], 10)
    assert problem.value.hint == "use sudo"
    assert problem.value.stderr == said


def test_a_program_that_is_not_there_is_named() -> None:
    with pytest.raises(MissingRequirement, match="ipvkit-no-such is not installed"):
        execute([Command(("ipvkit-no-such",))], 10)


def test_what_does_not_end_is_killed_with_its_children(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    with pytest.raises(CommandFailed, match=r"bash did not end within 0\.5 s"):
        execute([bash(f"sleep 60 & echo $! >{pid}; wait")], 0.5)
    wait_until(lambda: not lives(pid))


@pytest.mark.long
@pytest.mark.parametrize("number", ENDING)
def test_a_signal_ends_it(number: signal.Signals, tmp_path: Path) -> None:
    pid = tmp_path / "pid"

    def interrupt() -> None:
        wait_until(lambda: pid.exists() and pid.read_text().strip())
        os.kill(os.getpid(), number)

    former = signal.getsignal(number)
    helper = threading.Thread(target=interrupt)
    helper.start()
    with pytest.raises(Interrupted, match=number.name) as problem:
        execute([bash(f"sleep 60 & echo $! >{pid}; wait")], 30)
    helper.join()
    assert problem.value.exit_code == 130
    assert signal.getsignal(number) == former
    wait_until(lambda: not lives(pid))


@pytest.mark.parametrize("number", ENDING)
def test_a_signal_is_seen_by_a_thread_that_already_waits(number: signal.Signals) -> None:
    inbox: SimpleQueue[signal.Signals] = SimpleQueue()
    waiting = Path(f"/proc/self/task/{threading.get_native_id()}/stat")

    def interrupt() -> None:
        wait_until(lambda: waiting.read_text().rpartition(")")[2].split()[0] == "S")
        # To this thread: like one that comes just before the other waits, it does not end that wait.
        signal.pthread_kill(threading.get_ident(), number)

    former = signal.getsignal(number)
    helper = threading.Thread(target=interrupt)
    with signals_into(inbox):
        helper.start()
        assert inbox.get(timeout=60) == number
    helper.join()
    assert signal.getsignal(number) == former
    assert signal.set_wakeup_fd(-1) == -1


@pytest.mark.parametrize("number", ENDING)
def test_a_signal_that_is_ignored_at_the_start_stays_ignored(number: signal.Signals) -> None:
    """As by nohup, and by a shell for what it starts with ``&``."""
    inbox: SimpleQueue[signal.Signals] = SimpleQueue()
    other = next(each for each in ENDING if each is not number)
    former = signal.signal(number, signal.SIG_IGN)
    try:
        with signals_into(inbox):
            signal.raise_signal(number)
            signal.raise_signal(other)
            assert inbox.get(timeout=60) == other
        assert inbox.empty()
        assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, former)


def test_only_a_process_that_handles_sigio_is_nudged() -> None:
    caught = "trap 'echo nudged' IO; echo ready; for _ in {1..6000}; do sleep 0.01; done"
    with (
        subprocess.Popen(["/bin/bash", "-c", caught], stdout=subprocess.PIPE, text=True) as handles,
        subprocess.Popen(["/bin/sleep", "60"]) as does_not,
    ):
        assert handles.stdout is not None
        assert handles.stdout.readline() == "ready\n"
        for process in (handles, does_not):
            nudge(process.pid)
        assert handles.stdout.readline() == "nudged\n"
        assert does_not.poll() is None
        handles.kill()
        does_not.kill()
    nudge(handles.pid)
