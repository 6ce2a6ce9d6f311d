"""`local`: this machine's own network, as it is; one process a command, through sh."""

import ctypes
import os
import secrets
import select
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import sh

from ipvkit.command import Command, Completed
from ipvkit.errors import CommandFailed, MissingRequirement
from ipvkit.targets import Ended, Inbox, Row, Running, environment, find_program, missing, require_ipvlan

if TYPE_CHECKING:
    from ipvkit.script import RowReader

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
        from ipvkit.script import RowReader, row

        for program in {command.argv[0] for command in commands.values()}:
            if find_program(program) is None:
                raise missing(program)
        nonce = secrets.token_hex(8)
        (out, stdout), (err, stderr) = os.pipe(), os.pipe()
        bash = Command(("bash", "-c", ". /proc/self/fd/0"))
        try:
            with _reading([row(commands, nonce)]) as text:
                process = self._start(bash, signal.SIGTERM, _in=text, _out=stdout, _err=stderr)
        except BaseException:
            os.close(out)
            os.close(err)
            raise
        finally:
            os.close(stdout)
            os.close(stderr)
        reader = RowReader(commands, nonce)
        threading.Thread(target=_read_row, args=(process, reader, out, err, inbox), daemon=True).start()
        return _Process(process)

    def _start(self, command: Command, at_death: int = signal.SIGKILL, **streams: Any) -> sh.RunningCommand:  # noqa: ANN401
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
                _pass_fds=self._lock,
                _preexec_fn=partial(_end_with, os.getpid(), at_death),
                **streams,
            )
            return process
        except (sh.ForkException, sh.CommandNotFound):
            # It may have gone since it was found.
            if find_program(program) is None:
                raise missing(program) from None
            raise CommandFailed(f"{path} could not be started", command=str(command)) from None


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


class _Process:
    def __init__(self, process: sh.RunningCommand) -> None:
        self._process = process

    def stop(self) -> None:
        with suppress(ProcessLookupError):
            self._process.signal_group(signal.SIGKILL)

    def begin_no_more(self) -> None:
        with suppress(ProcessLookupError):
            self._process.signal(signal.SIGUSR1)


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


def _read_row(process: sh.RunningCommand, reader: "RowReader", out: int, err: int, inbox: Inbox) -> None:
    open_ = {out, err}
    while open_:
        readable, _, _ = select.select(list(open_), [], [])
        read = {file: os.read(file, _CHUNK) for file in readable}
        open_ -= {file for file, chunk in read.items() if not chunk}
        for key, completed in reader.read(read.get(out, b""), read.get(err, b"")):
            inbox.put(Ended(key, completed))
    os.close(out)
    os.close(err)
    with suppress(sh.ErrorReturnCode):
        process.wait()
    for key, begun in reader.rest():
        inbox.put(Ended(key, Completed(-signal.SIGKILL, "", "", 0.0) if begun else None))
