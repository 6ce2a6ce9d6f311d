"""Starts processes through sh; no other module starts any. Each ends with ipvkit, even if that is killed."""

import ctypes
import fcntl
import os
import re
import select
import signal
import sys
import termios
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from types import FrameType
from typing import Any

import sh

from ipvkit.core.command import Completed
from ipvkit.core.errors import CommandFailed, Interrupted
from ipvkit.core.interrupts import heeded
from ipvkit.targets.programs import environment, find_program, missing

_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1
_CHUNK = 1 << 16
_STDERR_KEPT = 4000


class Process:
    """A running process in a separate session, with pipes to its stdin and from its stdout.

    It gets the signal `at_death` when the thread that started it has ended (prctl(2), PR_SET_PDEATHSIG).
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        passed: Collection[int] = (),
        variables: Mapping[str, str] | None = None,
        at_death: int = signal.SIGKILL,
    ) -> None:
        """Start `argv`, which inherits the open files `passed`, with `variables` added to the environment.

        Raise MissingRequirement where the program is not installed, CommandFailed where it does not start.
        """
        stdin, out, err = os.pipe(), os.pipe(), os.pipe()
        theirs, ours = (stdin[0], out[1], err[1]), (stdin[1], out[0], err[0])
        try:
            self._process = _in_background(
                argv, passed, variables, theirs, at_death, _new_session=True, _tty_out=False
            )
        except BaseException:
            for file in ours:
                os.close(file)
            raise
        finally:
            for file in theirs:
                os.close(file)
        self._stdin, self._stdout = ours[:2]
        self._complaint = b""
        self._reader = threading.Thread(target=self._keep_stderr, args=(ours[2],), daemon=True)
        self._reader.start()

    def write(self, data: bytes) -> None:
        """Write `data` to its stdin, unless it has ended."""
        with suppress(OSError):
            os.write(self._stdin, data)

    def read(self) -> bytes:
        """Return the next piece of its stdout, empty at the end."""
        return os.read(self._stdout, _CHUNK)

    def complaint(self) -> str:
        """Return the end of its stderr."""
        return self._complaint.decode(errors="replace").strip()

    def terminate(self) -> None:
        """Ask it to end, and kill it with its whole session where it does not."""
        with suppress(ProcessLookupError):
            self._process.signal(signal.SIGTERM)
        _wait(self._process, GRACE_S)
        self.kill()

    def kill(self) -> None:
        """Kill it with its whole session, and wait until it has ended."""
        with suppress(ProcessLookupError):
            self._process.signal_group(signal.SIGKILL)
        _wait(self._process, GRACE_S)
        self._reader.join(GRACE_S)

    def close(self) -> None:
        """Close the pipes of a process that has ended and is no longer read."""
        os.close(self._stdin)
        os.close(self._stdout)

    def _keep_stderr(self, file: int) -> None:
        while chunk := os.read(file, _CHUNK):
            self._complaint = (self._complaint + chunk)[-_STDERR_KEPT:]
        os.close(file)


@contextmanager
def heard(argv: Sequence[str]) -> Iterator[SimpleQueue[bytes]]:
    """Hold a queue into which each piece of the stdout of a process comes; it is killed at the end.

    Raise as Process does.
    """
    process, pieces = Process(argv), SimpleQueue[bytes]()

    def read() -> None:
        while piece := process.read():
            pieces.put(piece)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        yield pieces
    finally:
        process.kill()
        reader.join(GRACE_S)
        if not reader.is_alive():
            process.close()


ENDED = "the target has ended, with everything in it"
"""The hint of an error that ends an ephemeral target."""

GRACE_S = 5.0
"""How long to wait for a killed process, in seconds: the kernel may block it, or a child hold its pipe."""

_NUDGE_S = 0.3
"""How long a key may wait at most, in seconds."""


def _started(argv: Sequence[str], **options: Any) -> sh.RunningCommand:  # noqa: ANN401
    program, *arguments = argv
    path = find_program(program)
    if path is None:
        raise missing(program)
    try:
        running: sh.RunningCommand = sh.Command(path)(*arguments, **options)
        return running
    except (sh.ForkException, sh.CommandNotFound):
        # It may have been removed since it was found.
        if find_program(program) is None:
            raise missing(program) from None
        raise CommandFailed(f"{path} could not be started") from None


def _in_background(
    argv: Sequence[str],
    passed: Collection[int],
    variables: Mapping[str, str] | None,
    streams: Sequence[int],
    at_death: int = signal.SIGKILL,
    **options: bool,
) -> sh.RunningCommand:
    """Start `argv` as Process describes, with stdin, stdout and stderr from `streams`."""
    for file in passed:
        os.set_inheritable(file, True)
    env = {**environment(), **(variables or {})}
    own = {"_env": env, "_pass_fds": set(passed), "_preexec_fn": partial(_end_with, os.getpid(), at_death)}
    standard = dict(zip(("_in", "_out", "_err"), streams, strict=True))
    return _started(argv, _bg=True, _bg_exc=False, **standard, **own, **options)


def _end_with(parent: int, at_death: int) -> None:
    """Let the kernel send this process the signal `at_death` when `parent` ends; end now if it has ended."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, at_death)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def signed(code: int) -> int:
    """Return a shell's exit code with a death by signal as a negative number."""
    return 128 - code if 128 < code <= 128 + signal.SIGRTMAX else code


def output_of(
    argv: Sequence[str],
    bound_s: float,
    *,
    folder: str | None = None,
    heard: Callable[[str], None] | None = None,
    variables: Mapping[str, str] | None = None,
) -> Completed:
    """Return the result of a process; one that does not end within `bound_s` seconds is killed.

    It runs in `folder`, by default that of this process, with `variables` added to the environment; each line
    of its stdout is passed to `heard`.
    Raise MissingRequirement where the program is not installed, CommandFailed where it does not start or end.
    """
    options: dict[str, Any] = {} if heard is None else {"_out": heard, "_tee": True}
    try:
        done: sh.RunningCommand | sh.ErrorReturnCode = _started(
            argv,
            **{"_in": b"", "_tty_out": False, "_ok_code": range(256), "_return_cmd": True},
            _timeout=bound_s,
            _env={**environment(), **(variables or {})},
            _cwd=folder,
            _preexec_fn=partial(_end_with, os.getpid(), signal.SIGKILL),
            **options,
        )
    except sh.TimeoutException:
        raise CommandFailed(f"{argv[0]} did not end within {bound_s:g} s") from None
    except sh.ErrorReturnCode as problem:
        done = problem
    out, err = (text.decode(errors="replace") for text in (done.stdout, done.stderr))
    return Completed(done.exit_code, out, err, 0.0)


def in_foreground(argv: Sequence[str], passed: int, variables: Mapping[str, str] | None = None) -> int:
    """Run `argv` on this process's terminal until it ends, and return its exit code.

    It ends with this process, and on TERM, HUP and QUIT: raise Interrupted then. The terminal is restored;
    this process ignores ^C. Its stderr is not shown: uml reports its start there.
    """
    # A handler, since an ignored signal would stay ignored in the child.
    handlers = {**dict.fromkeys(heeded(), _end), signal.SIGINT: lambda _number, _frame: None}
    former = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        with _terminal_kept(), Path(os.devnull).open("wb") as nowhere:
            streams = [file.fileno() for file in (sys.stdin, sys.stdout, nowhere)]
            running = _in_background(argv, [passed], variables, streams)
            try:
                while running.is_alive():
                    nudge(running.pid)
                    _wait(running, _NUDGE_S)
            finally:
                with suppress(ProcessLookupError):
                    running.signal(signal.SIGKILL)
                _wait(running)
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
    code = int(running.exit_code)
    return code if code >= 0 else 128 - code


def nudge(pid: int) -> None:
    """Have a uml kernel look at its terminal again; a process that does not handle SIGIO is left alone.

    A terminal sends SIGIO before it is readable (kill_fasync in drivers/tty/n_tty.c): a kernel that is quick
    to look finds nothing, and one key in some thousands would wait for the next.
    """
    with suppress(OSError):
        caught = re.search(r"^SigCgt:\s*(\w+)", Path(f"/proc/{pid}/status").read_text("ascii"), re.MULTILINE)
        if caught is not None and int(caught[1], 16) >> (signal.SIGIO - 1) & 1:
            os.kill(pid, signal.SIGIO)


def _wait(running: sh.RunningCommand, timeout_s: float | None = None) -> None:
    """Wait until a process has ended, or `timeout_s` seconds: with a timeout sh looks every 0.1 s only."""
    with suppress(ProcessLookupError):
        process = os.pidfd_open(running.pid)
        try:
            # select(2) knows no file from 1,024 on.
            ended = select.poll()
            ended.register(process, select.POLLIN)
            if not ended.poll(None if timeout_s is None else timeout_s * 1000):
                return
        finally:
            os.close(process)
    with suppress(sh.ErrorReturnCode):
        running.wait()


def _end(number: int, _frame: FrameType | None) -> None:
    raise Interrupted(f"interrupted by {signal.Signals(number).name}", ENDED)


@contextmanager
def _terminal_kept() -> Iterator[None]:
    """Restore the terminal's settings, its foreground group (job control), and O_NONBLOCK (uml).

    A killed process does not restore them.
    """
    terminal = sys.stdin.fileno()
    settings = termios.tcgetattr(terminal)
    flags = {file: fcntl.fcntl(file, fcntl.F_GETFL) for file in (terminal, sys.stdout.fileno())}
    group = 0
    with suppress(OSError):
        group = os.tcgetpgrp(terminal)
    try:
        yield
    finally:
        # SIGTTOU would stop a process that is no longer in the foreground.
        former = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        # The terminal may be gone, and need not be the one that controls this process.
        with suppress(OSError):
            os.tcsetpgrp(terminal, group)
        with suppress(termios.error):
            termios.tcsetattr(terminal, termios.TCSADRAIN, settings)
        for file, former_flags in flags.items():
            fcntl.fcntl(file, fcntl.F_SETFL, former_flags)
        signal.signal(signal.SIGTTOU, former)


@contextmanager
def memory_file(content: bytes) -> Iterator[int]:
    """Hold the descriptor of a file in memory, without a name, with `content`."""
    with os.fdopen(os.memfd_create("ipvkit-payload"), "wb") as file:
        file.write(content)
        file.flush()
        yield file.fileno()
