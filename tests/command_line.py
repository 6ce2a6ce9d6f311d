"""What the tests of the command line share: a process that is fed slowly, fakes on PATH, how errors look."""

import fcntl
import json
import os
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import jsonschema_rs
import pytest

from documents import REFERENCE
from recorder import Recorder

IPVKIT = (sys.executable, "-m", "ipvkit")
BOUND_S = 60.0
"""How long anything may take that takes milliseconds on a machine with nothing else to do."""

Called = tuple[int, str, str]
"""An exit code, what was printed, and what was said on stderr."""


def wait_until(condition: Callable[[], object], bound_s: float = BOUND_S) -> None:
    deadline = time.monotonic() + bound_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.01)


class Piped:
    """A process whose stdin is a pipe; its stdout is read line by line, as it comes."""

    def __init__(self, *words: str) -> None:
        """Start ``ipvkit WORDS``."""
        self.process = subprocess.Popen(
            [*IPVKIT, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._stdin = self.process.stdin
        self._stdout = self.process.stdout
        self._held = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self._stdin, self._stdout, self.process.stderr):
            if stream is not None:
                stream.close()

    def send(self, text: str) -> None:
        """Write to the pipe at once; BrokenPipeError where nobody reads it any more."""
        os.write(self._stdin.fileno(), text.encode())

    def line(self) -> str:
        """Return the next line of stdout; it has to come while the pipe is open."""
        deadline = time.monotonic() + BOUND_S
        while b"\n" not in self._held:
            readable, _, _ = select.select([self._stdout], [], [], max(0.0, deadline - time.monotonic()))
            chunk = os.read(self._stdout.fileno(), 65536) if readable else b""
            assert chunk, f"no line came after {self._held!r}"
            self._held += chunk
        line, _, self._held = self._held.partition(b"\n")
        return line.decode()

    def wait_until_read(self) -> None:
        """Wait until the process has taken all that was sent, which it does only when it is at work."""

        def unread() -> int:
            count: int = struct.unpack("i", fcntl.ioctl(self._stdin.fileno(), termios.FIONREAD, b"0000"))[0]
            return count

        wait_until(lambda: unread() == 0)

    def interrupt(self) -> None:
        """Send what ^C sends."""
        self.process.send_signal(signal.SIGINT)

    def stop_reading(self) -> None:
        """Close the pipe that stdout is."""
        self._stdout.close()

    def end(self, number: signal.Signals | None = None) -> Called:
        """Close the pipe, perhaps send a signal; return how it ended and what it printed since."""
        if number is not None:
            self.process.send_signal(number)
        out, err = self.process.communicate(timeout=BOUND_S)
        return self.process.returncode, (self._held + out).decode(), err.decode()


def fakes_on_path(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Recorder:
    """Put fakes of ip, ping, ping6 and arping first on PATH."""
    recorder = Recorder(folder)
    (recorder.bin / "ping6").symlink_to(recorder.bin / "ip")
    monkeypatch.setenv("PATH", recorder.path)
    return recorder


def executed(recorder: Recorder) -> list[str]:
    """Return the command lines with which fakes were started."""
    return [mark.line for mark in recorder.log() if mark.event == "begin"]


def commands_in(preview: str) -> list[str]:
    """Return the command lines of a preview, each of which has its purpose before it."""
    purposes, lines = preview.splitlines()[::2], preview.splitlines()[1::2]
    assert all(re.match("# [a-z]", purpose) for purpose in purposes)
    return lines


def assert_one_line(err: str, says: str, hint: str) -> None:
    """Check that an error is a line that says what happened, and at most one with a hint."""
    first, *rest = err.splitlines()
    assert first.startswith("error: ")
    assert says in first
    assert len(rest) <= 1
    assert all(line.startswith("hint: ") for line in rest)
    assert hint in "".join(rest)


def assert_mistake(call: Callable[..., Called], words: list[str], says: str, hint: str, json_at: int) -> None:
    """Check that `words` are wrong usage: one line, and with --json at that position a document."""
    code, out, err = call(*words)
    assert (code, out) == (2, "")
    assert_one_line(err, says, hint)
    if json_at:
        code, out, err = call(*words[:json_at], "--json", *words[json_at:])
        document = json.loads(out)
        jsonschema_rs.validate(json.loads((REFERENCE / "error-v1.schema.json").read_text()), document)
        assert document["error"]["exit_code"] == code == 2
        assert says in document["error"]["message"]
        assert hint in (document["error"]["hint"] or "")
        assert_one_line(err, says, hint)
