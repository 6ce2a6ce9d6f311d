"""A target that starts no process: it speaks as agent.bash does, and a function decides how commands end."""

import os
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

from ipvkit.core.command import Command, Completed
from ipvkit.targets.agent import Target

HANGS = "hangs"
"""The answer of a command that ends only when it is stopped."""

SLOW_S = 0.05
_CHUNK = 1 << 14

Answer = Completed | str


@dataclass
class Scripted(Target):
    """A target on which each command ends as `answer` returns: a Completed or HANGS.

    A command that is in `slow` ends by itself `SLOW_S` later; one in `unkillable` never. One that is stopped
    ends with the code `killed`, which bash does not always know; one that is asked to end has `last_words`.
    """

    answer: Callable[[Command], Answer]
    slow: Callable[[Command], bool] = lambda _: False
    unkillable: Callable[[Command], bool] = lambda _: False
    kind: str = "scripted"
    ephemeral: bool = False
    cpus: int = 2
    stopped: list[str] = field(default_factory=list)
    agents: int = 0
    killed: int = -9
    asked_to_end: list[str] = field(default_factory=list)
    last_words: str = ""

    def require(self, *_: str) -> None:
        """Miss no program: it starts none."""

    def start(self, _script: str, _: object = None, mailbox: int | None = None) -> Any:
        assert mailbox is not None
        self.agents += 1
        return _Process(self, mailbox)

    def files(self, slot: int) -> tuple[str, str]:
        return f"out{slot}", f"err{slot}"


class _Process:
    def __init__(self, target: Scripted, mailbox: int) -> None:
        self.target = target
        self.mailbox = mailbox
        self.reports: SimpleQueue[bytes] = SimpleQueue()
        self.rows: dict[str, deque[tuple[str, Command]]] = {}
        self.resting: set[str] = set()
        self.lock = threading.RLock()
        self.reports.put(b"started 6.12.0-test\n")

    def write(self, data: bytes) -> None:
        verb, _, argument = data.decode().strip().partition(" ")
        with self.lock:
            if verb in ("run", "serve", "now"):
                rows = self._rows(int(argument))
                self.reports.put(b"read\n")
                for name in rows:
                    self._go_on(name)
                return
            if verb == "end":
                self._ask_to_end(argument)
                return
            self.resting |= {argument} if argument else self.rows.keys()
            row = self.rows.get(argument)
            if verb == "stop" and row and not self.target.unkillable(row[0][1]):
                self._stop(argument)

    def read(self) -> bytes:
        return self.reports.get()

    def complaint(self) -> str:
        return ""

    def kill(self) -> None:
        with self.lock:
            if any(row and self.target.unkillable(row[0][1]) for row in self.rows.values()):
                return
            self.target.stopped += [str(row[0][1]) for row in self.rows.values() if row]
            self.rows.clear()
            self.reports.put(b"")

    def close(self) -> None:
        pass

    def _rows(self, count: int) -> list[str]:
        data = b""
        while data.count(b"\n") < count:
            data += os.pread(self.mailbox, _CHUNK, len(data))
        words = data.decode().split("\n")[:count]
        names = []
        while words:
            size, words = int(words[0]), words[1:]
            (name, _, _), rest, words = words[:3], words[3:size], words[size:]
            row: deque[tuple[str, Command]] = deque()
            while rest:
                key, length = rest[0], int(rest[1])
                argv, rest = tuple(rest[2 : 2 + length]), rest[2 + length :]
                lines = int(rest[0])
                row.append((key, Command(argv, stdin=tuple(rest[1 : 1 + lines]))))
                rest = rest[1 + lines :]
            self.rows[name] = row
            self.resting.discard(name)
            names.append(name)
        return names

    def _go_on(self, name: str) -> None:
        """Begin the next commands of a row, up to one that does not end at once."""
        while row := self.rows.get(name):
            key, command = row[0]
            if name in self.resting:
                self._report(key, None)
                row.popleft()
                continue
            answer = self.target.answer(command)
            if isinstance(answer, str):
                return
            if self.target.slow(command):
                threading.Timer(SLOW_S, self._end, [name, key, answer]).start()
                return
            self._report(key, answer)
            row.popleft()

    def _end(self, name: str, key: str, completed: Completed) -> None:
        with self.lock:
            row = self.rows.get(name)
            if row and row[0][0] == key:
                row.popleft()
                self._report(key, completed)
                self._go_on(name)

    def _stop(self, name: str) -> None:
        key, command = self.rows[name].popleft()
        self.target.stopped.append(str(command))
        self._report(key, Completed(self.target.killed, "", "", 0.0))
        self._go_on(name)

    def _ask_to_end(self, name: str) -> None:
        key, command = self.rows[name].popleft()
        self.target.asked_to_end.append(str(command))
        self._report(key, Completed(0, "", self.target.last_words, 0.0))
        self._go_on(name)

    def _report(self, key: str, completed: Completed | None) -> None:
        if completed is None:
            self.reports.put(f"{key} - 0 0 0\n".encode())
            return
        out, err = completed.stdout.encode(), completed.stderr.encode()
        code = completed.exit_code if completed.exit_code >= 0 else 128 - completed.exit_code
        body = out + err + b"\n" if out or err else b""
        took = round(completed.duration_s * 1e6)
        self.reports.put(f"{key} {code} {took} {len(out)} {len(err)}\n".encode() + body)
