"""`local`: this machine's own network, as it is; one process a command, through sh."""

import ctypes
import os
import signal
import threading
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO

import sh

from ipvkit.command import Command, Completed
from ipvkit.errors import CommandFailed, MissingRequirement
from ipvkit.targets import Ended, Inbox, Running, environment, find_program, missing, require_ipvlan

_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1


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
        program, *arguments = command.argv
        path = find_program(program)
        if path is None:
            raise missing(program)
        started = time.monotonic()
        try:
            with _reads(command) as lines:
                process = sh.Command(path)(
                    *arguments,
                    _bg=True,
                    _bg_exc=False,
                    _new_session=True,
                    _in=lines,
                    _tty_out=False,
                    _env=environment(),
                    _pass_fds=self._lock,
                    _preexec_fn=partial(_end_with, os.getpid()),
                )
        except (sh.ForkException, sh.CommandNotFound):
            # It may have gone since it was found.
            if find_program(program) is None:
                raise missing(program) from None
            raise CommandFailed(f"{path} could not be started", command=str(command)) from None
        threading.Thread(target=_wait, args=(key, process, started, inbox), daemon=True).start()
        return _Process(process)


def _reads(command: Command) -> BinaryIO:
    """Return an open file with what `command` reads: its lines, or nothing."""
    if not command.stdin:
        return Path(os.devnull).open("rb")
    file = os.fdopen(os.memfd_create("lines"), "w+b")
    file.write("".join(f"{line}\n" for line in command.stdin).encode())
    file.seek(0)
    return file


class _Process:
    def __init__(self, process: sh.RunningCommand) -> None:
        self._process = process

    def stop(self) -> None:
        with suppress(ProcessLookupError):
            self._process.signal_group(signal.SIGKILL)


def _end_with(parent: int) -> None:
    """Have the kernel kill this process when `parent` has ended (prctl(2)); it may have by now."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
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
