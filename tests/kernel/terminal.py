"""A person's terminal with `ipvkit shell` on it; a guest runs `use` in a process of its own."""

import os
import pty
import select
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

BOUND_S = 120.0
"""How long anything may take that takes about a second on a machine with nothing else to do."""

PROMPT = "lan# "
SIZE = (41, 97)
"""Lines and columns, none of which is a default."""

# What a person's login shell does, and tells what comes of it.
_AROUND = """\
settings() { stty -g; grep ^flags "/proc/$$/fdinfo/0"; }
before=$(settings)
(echo "pid $BASHPID."; exec "$@")
code=$?
[[ $(settings) == "$before" ]] && kept=kept || kept=changed
echo "ended with $code, settings $kept."
read -r line
echo "read $line."
"""

_SLEEPER = (
    """bash -c 'trap "exit 130" INT; trap "echo aw""ake" CONT; echo beg""un; while sleep .05; do :; done'"""
)
"""A command that tells when it has begun and when it goes on after ^Z; the echo of its own line does not.

(Without a trap bash takes a ^C for none that comes just as its sleep ends.)
"""


class Terminal:
    """A terminal on which a shell runs a program, and then reads a line."""

    def __init__(self, program: Sequence[str], *, cwd: Path | str, env: Mapping[str, str]) -> None:
        self._master, slave = pty.openpty()
        termios.tcsetwinsize(slave, SIZE)
        self._text = ""
        self.shell = subprocess.Popen(
            ["/usr/bin/setsid", "--ctty", "bash", "-c", _AROUND, "bash", *program],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=cwd,
            env={**env, "TERM": "dumb"},
        )
        os.close(slave)
        self.pid = int(self.until("pid ", ".")[1])
        """The process id of the program."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        self.shell.kill()
        self.shell.wait()

    def close(self) -> None:
        """Close the terminal, as a person closes a window."""
        if self._master >= 0:
            os.close(self._master)
        self._master = -1

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def until(self, *words: str) -> list[str]:
        """Return what is printed before each of `words`, which have to come one after another."""
        deadline = time.monotonic() + BOUND_S
        texts: list[str] = []
        for word in words:
            while word not in self._text:
                ready, _, _ = select.select([self._master], [], [], max(0.0, deadline - time.monotonic()))
                chunk = self._read() if ready else b""
                assert chunk, f"{word!r} did not come after {texts}, but {self._text!r}"
                self._text = (self._text + chunk.decode(errors="replace")).replace("\r\n", "\n")
            text, _, self._text = self._text.partition(word)
            texts.append(text)
        return texts

    def _read(self) -> bytes:
        try:
            return os.read(self._master, 65536)
        except OSError:
            return b""

    def does(self, command: str, output: str) -> None:
        """Type a command at the prompt; it has to print `output` before the next prompt."""
        self.type(f"{command}\n")
        seen = self.until(f"{command}\n", PROMPT)[1]
        assert seen == output, f"{command} printed {seen!r} and not {output!r}"

    def begins_sleeping(self) -> None:
        """Type a command that does not end, and return when it has begun."""
        self.type(f"{_SLEEPER}\n")
        self.until("begun\n")

    def ended(self) -> str:
        """Return how the program ended, once the terminal serves the shell that started it again."""
        said = self.until("ended with ", "\n")[1]
        self.type("hello\n")
        self.until("read hello.\n")
        assert self.shell.wait(BOUND_S) == 0
        return said


def use(program: Sequence[str], *, cwd: Path | str, env: Mapping[str, str], exits: int) -> None:
    """Do in a shell what a person does; raise AssertionError where it does not serve."""
    with Terminal(program, cwd=cwd, env=env) as terminal:
        greeting = "eth0 has 192.168.104.110/24; gateway 192.168.104.254, neighbour 192.168.104.111."
        terminal.until(f"{greeting} exit ends it all.\n", PROMPT)
        terminal.does("stty size", f"{SIZE[0]} {SIZE[1]}\n")
        terminal.does("id -u; test -t 0 && test -t 1 && test -t 2; echo $?", "0\n0\n")
        terminal.does("ping -c 1 -W 5 -q 192.168.104.254 | grep -o '1 received'", "1 received\n")
        terminal.does("echo $HOME $TMPDIR $PWD; touch ~/a $TMPDIR/b c; echo $?", "/run /run /run\n0\n")
        # /proc is that of this kernel, or of this process namespace.
        terminal.does("ps -o args= $$", "bash --rcfile /run/bashrc -i\n")

        terminal.begins_sleeping()
        terminal.type("\x03")
        terminal.until(PROMPT)
        terminal.does("echo $?", "130\n")

        terminal.begins_sleeping()
        terminal.type("\x1a")
        terminal.until("Stopped", PROMPT)
        terminal.type("fg\n")
        terminal.until("awake\n")
        terminal.type("\x03")
        terminal.until(PROMPT)
        terminal.does("jobs; echo none", "none\n")

        terminal.type("exit 5\n")
        said = terminal.ended()
        assert said == f"{exits}, settings kept.", said
