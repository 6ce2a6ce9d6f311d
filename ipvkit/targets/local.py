"""`local`: this machine's own network, as it is; commands are started through sh, or many by one bash."""

import ctypes
import os
import select
import selectors
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import sh

from ipvkit.core.command import Command, Completed
from ipvkit.core.errors import CommandFailed, MissingRequirement
from ipvkit.targets import Ended, Inbox, Row, Running, environment, find_program, missing, require_ipvlan

if TYPE_CHECKING:
    from ipvkit.export import RowReader

_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1
_CHUNK = 1 << 16


class Local:
    """Starts commands under ``LC_ALL=C``, without a terminal, each in a session of its own.

    Each is killed when the thread that started it has ended, however it ended. It holds `lock`, an open
    file, for as long as it lives.
    """

    kind = "local"

    def __init__(self, lock: int | None = None) -> None:
        """Have each command hold `lock`, if there is one."""
        self._lock: set[int] = set() if lock is None else {lock}

    def check(self, *, ipvlan: bool = True) -> None:
        """Raise MissingRequirement where this user cannot change the network, or the kernel has no ipvlan.

        Without `ipvlan` the kernel is not asked for it.
        """
        if os.geteuid() != 0:
            raise MissingRequirement(
                "only root can change the network of this machine", 'sudo "$(command -v ipvkit)" …'
            )
        if ipvlan:
            require_ipvlan()

    def start(self, key: str, command: Command, inbox: Inbox) -> Running:
        """Start `command`; its end will be in the inbox under `key`.

        Raise MissingRequirement where the program is not there, CommandFailed where it does not start.
        """
        started = time.monotonic()
        with _reading(command.stdin) as lines:
            process = self._start(command, _in=lines)
        threading.Thread(target=_wait, args=(key, process, started, inbox), daemon=True).start()
        return _Process(process)

    def start_row(self, commands: Mapping[str, Command], inbox: Inbox) -> Row:
        """Start bash with `commands`; the end of each will be in the inbox under its key.

        Raise MissingRequirement where a program is not there, CommandFailed where bash does not start.
        """
        # One command by itself needs no row, and no plan, which the script loads.
        from ipvkit.export import RowReader, row

        nonce = os.urandom(8).hex()
        out, err, no_more = os.pipe(), os.pipe(), os.pipe()
        with _kept((out[0], err[0], no_more[1]), (out[1], err[1], no_more[0])):
            text = row(commands, nonce, no_more[0])
            process = self._start_bash(commands, text, out[1], err[1], passed=[no_more[0]])
        started = _Row(process, os.fdopen(no_more[1], "wb"))
        reader = RowReader(commands, nonce)
        threading.Thread(target=_read_row, args=(started, reader, out[0], err[0], inbox), daemon=True).start()
        return started

    def start_side_by_side(self, commands: Mapping[str, Command], inbox: Inbox) -> Running:
        """Start bash that begins all `commands` at once; the end of each will be in the inbox under its key.

        Raise MissingRequirement where a program is not there, CommandFailed where bash does not start.
        """
        from ipvkit.export import side_by_side

        pipes = {key: (os.pipe(), os.pipe()) for key in commands}
        told, end = os.pipe()
        reads = {key: (out[0], err[0]) for key, (out, err) in pipes.items()}
        writes = {key: (out[1], err[1]) for key, (out, err) in pipes.items()}
        with _kept((told, *chain(*reads.values())), (end, *chain(*writes.values()))):
            text = side_by_side((*writes[key], command) for key, command in commands.items())
            process = self._start_bash(commands, text, end, None, passed=chain(*writes.values()))
        keys = {out: key for key, (out, _) in writes.items()}
        threading.Thread(target=_read_all, args=(process, told, keys, reads, inbox), daemon=True).start()
        return _Process(process)

    def _start_bash(
        self,
        commands: Mapping[str, Command],
        text: str,
        out: int,
        err: int | None,
        passed: Iterable[int] = (),
    ) -> sh.RunningCommand:
        """Start bash with `text`, which runs `commands` and is `passed` open files."""
        for program in {command.argv[0] for command in commands.values()}:
            if find_program(program) is None:
                raise missing(program)
        passed = tuple(passed)
        for file in passed:
            os.set_inheritable(file, True)
        bash = Command(("bash", "-c", ". /proc/self/fd/0"))
        with _reading([text]) as lines:
            return self._start(bash, signal.SIGTERM, passed, _in=lines, _out=out, _err=err)

    def _start(
        self,
        command: Command,
        at_death: int = signal.SIGKILL,
        passed: Iterable[int] = (),
        **streams: Any,  # noqa: ANN401
    ) -> sh.RunningCommand:
        program, *arguments = command.argv
        path = find_program(program)
        if path is None:
            raise missing(program)
        try:
            process: sh.RunningCommand = sh.Command(path)(
                *arguments,
                _bg=True,
                _bg_exc=False,
                _new_session=True,
                _tty_out=False,
                _env=environment(),
                _pass_fds=self._lock.union(passed),
                _preexec_fn=partial(_end_with, os.getpid(), at_death),
                **streams,
            )
            return process
        except (sh.ForkException, sh.CommandNotFound):
            # It may have gone since it was found.
            if find_program(program) is None:
                raise missing(program) from None
            raise CommandFailed(f"{path} could not be started", command=str(command)) from None


@contextmanager
def _kept(ours: Iterable[int], theirs: Iterable[int]) -> Iterator[None]:
    """Close the open files `theirs` at the end, and where something goes wrong `ours` too."""
    try:
        yield
    except BaseException:
        for file in ours:
            os.close(file)
        raise
    finally:
        for file in theirs:
            os.close(file)


def _reading(lines: Sequence[str]) -> BinaryIO:
    """Return a file in which `lines` can be read: a pipe, for which there is room on a full disk too."""
    if not lines:
        return Path(os.devnull).open("rb")
    read, write = os.pipe()
    text = "".join(f"{line}\n" for line in lines)
    threading.Thread(target=_write, args=(write, text.encode()), daemon=True).start()
    return os.fdopen(read, "rb")


def _write(pipe: int, data: bytes) -> None:
    # Who reads may be killed before the end.
    with suppress(BrokenPipeError), os.fdopen(pipe, "wb") as file:
        file.write(data)


@dataclass(eq=False)
class _Process:
    process: sh.RunningCommand

    def stop(self) -> None:
        with suppress(ProcessLookupError):
            self.process.signal_group(signal.SIGKILL)


@dataclass(eq=False)
class _Row(_Process):
    no_more: BinaryIO

    def begin_no_more(self) -> None:
        self.no_more.close()


def _end_with(parent: int, at_death: int) -> None:
    """Have the kernel send this process a signal when `parent` has ended (prctl(2)); it may have by now."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, at_death)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def _wait(key: str, process: sh.RunningCommand, started: float, inbox: Inbox) -> None:
    with suppress(sh.ErrorReturnCode):
        process.wait()
    completed = Completed(
        exit_code=process.exit_code,
        stdout=process.stdout.decode(errors="replace"),
        stderr=process.stderr.decode(errors="replace"),
        duration_s=time.monotonic() - started,
    )
    inbox.put(Ended(key, completed))


def _read_row(row: _Row, reader: "RowReader", out: int, err: int, inbox: Inbox) -> None:
    open_ = {out, err}
    while open_:
        readable, _, _ = select.select(list(open_), [], [])
        read = {file: os.read(file, _CHUNK) for file in readable}
        open_ -= {file for file, chunk in read.items() if not chunk}
        for key, completed in reader.read(read.get(out, b""), read.get(err, b"")):
            inbox.put(Ended(key, completed))
    os.close(out)
    os.close(err)
    row.no_more.close()
    with suppress(sh.ErrorReturnCode):
        row.process.wait()
    for key, begun in reader.rest():
        inbox.put(Ended(key, Completed(-signal.SIGKILL, "", "", 0.0) if begun else None))


def _read_all(
    process: sh.RunningCommand,
    told: int,
    keys: Mapping[int, str],
    reads: Mapping[str, tuple[int, int]],
    inbox: Inbox,
) -> None:
    """Read what commands print side by side; put each into the inbox when it is `told` that it has ended."""
    from ipvkit.export import told_in

    files = {file: bytearray() for pair in reads.values() for file in pair}
    waiting, line = set(reads), b""
    with selectors.DefaultSelector() as selector:
        for file in (told, *files):
            os.set_blocking(file, False)
            selector.register(file, selectors.EVENT_READ)
        while waiting:
            ready = [found.fd for found, _ in selector.select()]
            for file in ready:
                if file == told:
                    continue
                chunk = os.read(file, _CHUNK)
                files[file] += chunk
                if not chunk:
                    selector.unregister(file)
            if told not in ready:
                continue
            chunk = os.read(told, _CHUNK)
            *lines, line = (line + chunk).split(b"\n")
            for out, code, duration_s in map(told_in, lines):
                key = keys[out]
                waiting.remove(key)
                inbox.put(Ended(key, _whole(code, duration_s, files, reads[key])))
            if not chunk:
                break
    for key in waiting:
        inbox.put(Ended(key, _whole(-signal.SIGKILL, 0.0, files, reads[key])))
    for file in (told, *files):
        os.close(file)
    with suppress(sh.ErrorReturnCode):
        process.wait()


def _whole(code: int, duration_s: float, files: Mapping[int, bytearray], pair: tuple[int, int]) -> Completed:
    """Return what a command has done that has ended; what is left to be read of it is read now."""
    for file in pair:
        # What it has started may hold the pipe, and is not waited for.
        with suppress(BlockingIOError):
            while chunk := os.read(file, _CHUNK):
                files[file].extend(chunk)
    stdout, stderr = (files[file].decode(errors="replace") for file in pair)
    return Completed(code, stdout, stderr, duration_s)
