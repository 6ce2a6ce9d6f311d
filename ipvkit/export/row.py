"""Many commands in one shell, one after another or side by side, and what each of them printed."""

import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from ipvkit.core.command import Command, Completed
from ipvkit.export.frames import signed

_RUN = r"""
# It comes when who started this has ended.
trap 'kill -KILL 0' TERM
run() {
  # What can be read there, or that it has been closed, says that nothing more is to begin.
  read -r -t 0 -u "$no_more" && exit 0
  printf '%s begin %s\n' "$nonce" "$EPOCHREALTIME"
  "$@" <&0 &
  wait $!
  printf '\n%s end %s %s\n' "$nonce" "$?" "$EPOCHREALTIME"
  printf '\n%s\n' "$nonce" >&2
}
"""


def row(commands: Mapping[str, Command], nonce: str, no_more: int) -> str:
    """Return the bash that runs `commands`, and tells of each in a way that `RowReader` reads.

    It begins no other when there is something to be read in its open file `no_more`, or that has been closed.
    """
    lines = [f"run {command}{'' if command.stdin else ' </dev/null'}" for command in commands.values()]
    return "\n".join([f"nonce={shlex.quote(nonce)} no_more={no_more}", _RUN, *lines])


_BEGIN = r"""
trap 'kill -KILL 0' TERM
run() { # OUT ERR COMMAND
  local out=$1 err=$2 begun=$EPOCHREALTIME
  {
    "${@:3}" >&"$out" 2>&"$err"
    printf '%s %s %s %s\n' "$out" "$?" "$begun" "$EPOCHREALTIME"
  } <&0 &
  exec {out}>&- {err}>&-
}
"""


def side_by_side(commands: Iterable[tuple[int, int, Command]]) -> str:
    """Return the bash that begins `commands` at once, each with where its stdout and its stderr go.

    A line tells of each that has ended: the number of its stdout, its exit code, when it began and when it
    ended, in seconds.
    """
    lines = [
        f"run {out} {err} {command}{'' if command.stdin else ' </dev/null'}" for out, err, command in commands
    ]
    return "\n".join([_BEGIN, *lines, "wait"])


def told_in(line: bytes) -> tuple[int, int, float]:
    """Return what a line of `side_by_side` tells: the number, the exit code, and how long it took, in s."""
    out, code, begun, ended = line.split()
    return int(out), signed(int(code)), float(ended) - float(begun)


@dataclass(slots=True)
class _Stream:
    buffer: bytes = b""

    def take(self, end: bytes) -> tuple[bytes, bytes] | None:
        """Take off what is before the line that begins with `end`, and that line; None if it is not there."""
        at = self.buffer.find(b"\n" + end)
        stop = self.buffer.find(b"\n", at + 1)
        if at < 0 or stop < 0:
            return None
        before, line = self.buffer[:at], self.buffer[at + 1 : stop]
        self.buffer = self.buffer[stop + 1 :]
        return before, line


class RowReader:
    """Reads what a row prints on stdout and on stderr, as it comes."""

    def __init__(self, commands: Mapping[str, Command], nonce: str) -> None:
        """Begin with the first of `commands`."""
        self._left = list(reversed(list(commands)))
        self._mark = nonce.encode()
        self._out, self._err = _Stream(), _Stream()

    def read(self, out: bytes, err: bytes) -> Iterator[tuple[str, Completed]]:
        """Yield each command that has ended, by its key."""
        self._out.buffer += out
        self._err.buffer += err
        while self._left and b"\n" + self._mark + b"\n" in self._err.buffer:
            ended = self._out.take(self._mark + b" end ")
            if ended is None:
                return
            printed, line = ended
            errors, _ = self._err.take(self._mark) or (b"", b"")
            first, _, stdout = printed.partition(b"\n")
            code, until = line.split()[2:]
            yield (
                self._left.pop(),
                Completed(
                    exit_code=signed(int(code)),
                    stdout=stdout.decode(errors="replace"),
                    stderr=errors.decode(errors="replace"),
                    duration_s=float(until) - float(first.split()[2]),
                ),
            )

    def rest(self) -> Iterator[tuple[str, bool]]:
        """Yield the keys of those that have not ended, and whether they had begun: only the first of them."""
        begun = self._mark + b" begin " in self._out.buffer
        for key in reversed(self._left):
            yield key, begun
            begun = False
