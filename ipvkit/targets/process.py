"""A payload in a process of its own, which ends with ipvkit, however ipvkit ends."""

import fcntl
import os
import signal
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import FrameType

from ipvkit.core.errors import Interrupted
from ipvkit.targets import Inbox, Output, environment

_GRACE_S = 5
_SAID_AT_MOST = 4000


_WITH_PARENT = ("setpriv", "--pdeathsig", "KILL")

# Who asks for KILL at its parent's death asks too late if the parent is dead by then: so these look.
_IF_PARENT_LIVES = '[[ $PPID == "$0" ]] || exit 1; exec "$@"'
_IF_BOTH_LIVE = 'read -r _ _ _ parent _ </proc/$PPID/stat && [[ $parent == "$0" ]] || exit 1; exec "$@"'


def guarded(argv: Sequence[str], timeout_s: float) -> list[str]:
    """Return `argv` so wrapped that the kernel kills it when this process is gone, or when time is up.

    setpriv(1) has the kernel send KILL at the death of the parent, timeout(1) bounds the whole life. That
    timeout is still this process's child shows that each had asked for KILL before its parent could die.
    """
    bound = (*_WITH_PARENT, "timeout", "--signal=KILL", f"{timeout_s + _GRACE_S:.0f}")
    return [*bound, *_WITH_PARENT, "bash", "-c", _IF_BOTH_LIVE, str(os.getpid()), *argv]


def in_foreground(argv: Sequence[str], payload_file: int, variables: Mapping[str, str] | None = None) -> int:
    """Run `argv` on this process's terminal until it ends, and return its exit code.

    It ends with this process, and at TERM and HUP: raise Interrupted then. The terminal is left as it
    was found; ^C is not for this process. What `argv` says on stderr is not shown: uml tells of its
    start there.
    """
    guarded_argv = [*_WITH_PARENT, "bash", "-c", _IF_PARENT_LIVES, str(os.getpid()), *argv]
    # A handler, since what is ignored would stay so in the child.
    handlers = {signal.SIGINT: lambda _number, _frame: None, signal.SIGTERM: _end, signal.SIGHUP: _end}
    former = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        with _terminal_kept():
            environment_ = {**environment(), **(variables or {})}
            code = subprocess.run(
                guarded_argv,
                stderr=subprocess.DEVNULL,
                env=environment_,
                pass_fds=[payload_file],
                check=False,
            ).returncode
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
        os.close(payload_file)
    return code if code >= 0 else 128 - code


def _end(number: int, _frame: FrameType | None) -> None:
    name = signal.Signals(number).name
    raise Interrupted(f"interrupted by {name}", "the target has ended, and all in it")


@contextmanager
def _terminal_kept() -> Iterator[None]:
    """Put back what changes with the terminal: its settings, its foreground (job control), O_NONBLOCK (uml).

    What is killed puts nothing back.
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
        # Whoever is not in the foreground any more would be stopped here.
        former = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        # The terminal may have gone meanwhile, and need not be the one that controls this process.
        with suppress(OSError):
            os.tcsetpgrp(terminal, group)
        with suppress(termios.error):
            termios.tcsetattr(terminal, termios.TCSADRAIN, settings)
        for file, former_flags in flags.items():
            fcntl.fcntl(file, fcntl.F_SETFL, former_flags)
        signal.signal(signal.SIGTTOU, former)


def memory_file(content: bytes) -> int:
    """Return a file descriptor of a file with `content` that has no name on any disk."""
    descriptor = os.memfd_create("ipvkit-payload")
    with os.fdopen(os.dup(descriptor), "wb") as file:
        file.write(content)
    return descriptor


class PayloadProcess:
    """The running process; its stdout goes to the inbox as it comes, its stderr is kept."""

    def __init__(
        self,
        argv: Sequence[str],
        payload_file: int,
        inbox: Inbox,
        *,
        decode: Callable[[bytes], bytes] = bytes,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        """Start `argv`, which inherits `payload_file`, with `variables` added to the environment.

        Each chunk of its output passes through `decode`.
        """
        try:
            self._process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**environment(), **(variables or {})},
                pass_fds=[payload_file],
                start_new_session=True,
            )
        finally:
            os.close(payload_file)
        self._said = b""
        self._readers = (
            threading.Thread(target=self._read_output, args=(inbox, decode), daemon=True),
            threading.Thread(target=self._read_complaints, daemon=True),
        )
        for reader in self._readers:
            reader.start()

    def _read_output(self, inbox: Inbox, decode: Callable[[bytes], bytes]) -> None:
        if self._process.stdout is not None:
            while chunk := os.read(self._process.stdout.fileno(), 65536):
                inbox.put(Output(decode(chunk)))
        self._readers[1].join()
        inbox.put(Output(None))

    def _read_complaints(self) -> None:
        if self._process.stderr is not None:
            while chunk := os.read(self._process.stderr.fileno(), 65536):
                self._said = (self._said + chunk)[-_SAID_AT_MOST:]

    def complaint(self) -> str:
        """Return the end of what was said on stderr."""
        return self._said.decode(errors="replace").strip()

    def stop(self) -> None:
        """Kill the process with its whole session, and wait until it is gone."""
        # The leader is not reaped before, so its number is still that of this session.
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for reader in self._readers:
            reader.join(_GRACE_S)
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()
