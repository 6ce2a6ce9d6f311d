"""The agent of a target: it runs rows of commands, and puts the result of each into an inbox."""

import os
import signal
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Protocol, Self

from ipvkit.core.command import Command, Completed
from ipvkit.core.errors import CommandFailed, UsageError
from ipvkit.targets.process import GRACE_S, signed
from ipvkit.targets.programs import require

if TYPE_CHECKING:
    from ipvkit.lab import Lab
    from ipvkit.plan.steps import Plan
    from ipvkit.targets.cables import Tap

Inbox = SimpleQueue[Any]
"""Holds `Ended`, and what else its reader puts there, such as signals."""

MAILBOX_BYTES = 1 << 26
"""The size of a mailbox, in bytes; only what is written takes memory."""

KILLED = Completed(-signal.SIGKILL, "", "", 0.0)


@dataclass(frozen=True, slots=True)
class Ended:
    """A command has ended; `completed` is None for one that did not begin."""

    key: str
    completed: Completed | None


class Started(Protocol):
    """A running agent: a process, or what stands for one."""

    def write(self, data: bytes) -> None:
        """Write `data` to its stdin, unless it has ended."""

    def read(self) -> bytes:
        """Return the next piece of its stdout, empty at the end."""

    def complaint(self) -> str:
        """Return what it printed at its end."""

    def kill(self) -> None:
        """Kill it with all that it has started."""

    def close(self) -> None:
        """Free what it used, when it has ended and is no longer read."""


class Target(Protocol):
    """A place with `cpus` CPUs where commands run; all that they do ends with it if it is `ephemeral`."""

    kind: str
    ephemeral: bool
    cpus: int
    delay_s: float = 0.0
    """How long a command, and its result, may be on their way, in seconds."""

    def require(self, *programs: str) -> None:
        """Raise MissingRequirement, with the line that installs it, if one of `programs` is not installed."""
        require(*programs)

    def start(self, script: str, plan: "Plan | None" = None, mailbox: int | None = None) -> Started:
        """Start bash with `script`.

        `plan` is what will run, None if that is unknown. The first argument of the script is the path of the
        file `mailbox` there, if there is one.
        """

    def machines(self, lab: "Lab", _tap: "Tap | None" = None) -> "Mapping[str, Target]":
        """Return the targets for the machines of `lab`; raise UsageError for several where this is one.

        Cables between them go through the tap, if one is given.
        """
        if len(lab.machines) == 1:
            return {lab.machines[0]: self}
        what = f"the target {self.kind} is one machine, and lab {lab.name} has several hosts"
        raise UsageError(what, "--target uml gives each a kernel")

    def files(self, slot: int) -> tuple[str, str]:
        """Return the paths of the files for stdout and stderr of a row, here in a private /run."""
        return f"/run/{slot}.out", f"/run/{slot}.err"

    def close_files(self) -> None:
        """Close what `files` opened in this process, which is nothing here: the agent has ended."""
        return


@cache
def _script() -> str:
    return (Path(__file__).parent / "agent.bash").read_text(encoding="utf-8")


@dataclass(slots=True)
class _Row:
    """A row: its words for the mailbox, and the keys of the commands that have not ended, by number."""

    slot: int
    verb: str
    words: list[bytes]
    left: dict[int, str]


class Agent:
    """Runs commands on `target` through one bash there, which starts with the first of them.

    It puts an `Ended` for each into `inbox`, in the order in which they end.
    """

    def __init__(self, target: Target, inbox: Inbox, plan: "Plan | None" = None) -> None:
        """Start nothing yet; `plan` is what will run, None if that is unknown."""
        self.target = target
        self.inbox = inbox
        self.kernel = ""
        self.complaint = ""
        self._plan = plan
        self._lock = threading.Lock()
        self._count = 0
        self._rows: dict[int, _Row] = {}
        self._row_of: dict[int, _Row] = {}
        self._row_of_key: dict[str, _Row] = {}
        self._waiting: list[_Row] = []
        self._free = False
        """Whether the agent waits for a request: it has started, and has read the last one."""
        self._over = False
        """Whether the agent has ended."""
        self._process: Started | None = None
        self._reader: threading.Thread | None = None
        self._mailbox = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Kill the agent and all that runs."""
        self.kill()

    def start(
        self, rows: Iterable[Mapping[str, Command]], *, brief: bool = False, serves: bool = False
    ) -> None:
        """Start the commands of each of `rows` one after another, and the rows concurrently.

        One row that is `brief` costs a process less where no other runs, and can only be killed, not stopped.
        A row that `serves` has one command, which runs until it is stopped.
        Raise MissingRequirement or CommandFailed where the agent does not start.
        """
        self._begin()
        with self._lock:
            for commands in rows:
                self._add(commands, "serve" if serves else "now" if brief else "run")
            size = sum(len(word) + 1 for row in self._waiting for word in row.words)
            if size > MAILBOX_BYTES:
                what = f"{size} bytes of commands are too many; at most {MAILBOX_BYTES} run at once"
                raise CommandFailed(what)
            self._send()
        if self._over:
            self._end_all()

    def stop(self, key: str) -> None:
        """Kill the command `key`, and begin no other in its row."""
        with self._lock:
            if (row := self._row_of_key.get(key)) is not None and not self._withdrawn(row):
                self._write(f"stop {row.slot}\n")

    def end(self, key: str) -> None:
        """Ask the command `key`, which runs, to end."""
        with self._lock:
            if (row := self._row_of_key.get(key)) is not None:
                self._write(f"end {row.slot}\n")

    def rest(self) -> None:
        """Begin no other command; those that run continue to their end."""
        with self._lock:
            for row in list(self._waiting):
                self._withdrawn(row)
            self._write("rest\n")

    def kill(self) -> None:
        """Kill the agent and all commands, which are reported as killed; `start` starts a new agent."""
        if self._process is None or self._reader is None:
            return
        self._process.kill()
        self._reader.join(GRACE_S)
        if self._reader.is_alive():
            # The kernel still blocks what was killed; its pipes stay open.
            self._end_all()
        else:
            self._process.close()
            self.target.close_files()
            os.close(self._mailbox)
        self._process = self._reader = None

    def _begin(self) -> None:
        if self._over and not self.target.ephemeral:
            # It was killed by another user, or a host was unreachable for a while.
            self.kill()
        if self._process is not None:
            return
        self._free = self._over = False
        self._mailbox = os.memfd_create("ipvkit-mailbox")
        try:
            self._process = self.target.start(_script(), self._plan, self._mailbox)
        except BaseException:
            os.close(self._mailbox)
            raise
        self._reader = threading.Thread(target=self._read, args=(self._process,), daemon=True)
        self._reader.start()

    def _add(self, commands: Mapping[str, Command], verb: str) -> None:
        slot = next(slot for slot in range(len(self._rows) + 1) if slot not in self._rows)
        left = dict(enumerate(commands, self._count + 1))
        self._count += len(left)
        words = [word.encode() for word in self._words(slot, dict(zip(left, commands.values(), strict=True)))]
        row = _Row(slot, verb, words, left)
        self._rows[slot] = row
        self._row_of |= dict.fromkeys(left, row)
        self._row_of_key |= dict.fromkeys(commands, row)
        self._waiting.append(row)

    def _withdrawn(self, row: _Row) -> bool:
        """Return whether `row` was not sent yet; report its commands as not begun then."""
        if row not in self._waiting:
            return False
        self._waiting.remove(row)
        for number in list(row.left):
            self._ended(number, None)
        return True

    def _send(self) -> None:
        """Put the waiting rows into the mailbox, if it is free, those of servers apart.

        Nothing is written before the agent has started: a uml kernel that is interrupted while it opens its
        serial line never reads what was there (it polls the file before the handler is set).
        """
        if not (self._free and self._waiting):
            return
        first, alone = self._waiting[0].verb, len(self._rows) == len(self._waiting) == 1
        verb = first if alone or first == "serve" else "run"
        serves = {True: list[_Row](), False: list[_Row]()}
        for row in self._waiting:
            serves[row.verb == "serve"].append(row)
        words = [word for row in serves[verb == "serve"] for word in row.words]
        self._waiting, self._free = serves[verb != "serve"], False
        os.pwrite(self._mailbox, b"".join(b"%s\n" % word for word in words), 0)
        self._write(f"{verb} {len(words)}\n")

    def _words(self, slot: int, commands: Mapping[int, Command]) -> list[str]:
        words = [str(slot), *self.target.files(slot)]
        for number, command in commands.items():
            words.append(str(number))
            for part in (command.argv, command.stdin):
                words += [str(len(part)), *part]
        return [str(len(words)), *words]

    def _write(self, line: str) -> None:
        if self._process is not None:
            self._process.write(line.encode())

    def _ended(self, number: int, completed: Completed | None) -> None:
        if (row := self._row_of.pop(number, None)) is None:
            return
        key = row.left.pop(number)
        del self._row_of_key[key]
        if not row.left:
            del self._rows[row.slot]
        self.inbox.put(Ended(key, completed))

    def _read(self, process: Started) -> None:
        """Read the reports of the agent, until it has ended."""
        buffer = b""
        while chunk := process.read():
            buffer = self._take(buffer + chunk)
        self.complaint = process.complaint()
        self._end_all()

    def _end_all(self) -> None:
        """Report each command that has not ended as killed, or as not begun."""
        with self._lock:
            self._over = True
            self._waiting.clear()
            for row in list(self._rows.values()):
                # The first that has not ended may have begun.
                for position, number in enumerate(list(row.left)):
                    self._ended(number, None if position else KILLED)

    def _take(self, buffer: bytes) -> bytes:
        """Read the complete reports at the beginning of `buffer`; return the rest."""
        while (newline := buffer.find(b"\n")) >= 0:
            fields = buffer[:newline].split()
            size = 0
            if len(fields) == 5 and fields[0].isdigit():
                out, both = int(fields[3]), int(fields[3]) + int(fields[4])
                size = both + 1 if both else 0
                # Only a complete one is copied.
                if len(buffer) < newline + 1 + size:
                    break
                body = buffer[newline + 1 : newline + 1 + size]
                self._report(int(fields[0]), fields[1], int(fields[2]), body[:out], body[out:both])
            elif fields[:1] in ([b"started"], [b"read"]):
                with self._lock:
                    self.kernel = fields[1].decode() if fields[1:] else self.kernel
                    self._free = True
                    self._send()
            buffer = buffer[newline + 1 + size :]
        return buffer

    def _report(self, number: int, code: bytes, took_us: int, out: bytes, err: bytes) -> None:
        completed = None
        if code != b"-":
            completed = Completed(
                exit_code=signed(int(code)),
                stdout=out.decode(errors="replace"),
                stderr=err.decode(errors="replace"),
                duration_s=took_us / 1e6,
            )
        with self._lock:
            self._ended(number, completed)
