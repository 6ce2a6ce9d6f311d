"""Commands one after another in one shell, and what each of them printed."""

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ipvkit.command import Command, Completed
from ipvkit.script.frames import signed

_RUN = r"""
stop=''
# Nothing more begins after USR1, and TERM ends all at once: it comes when who started this has ended.
trap 'stop=1' USR1
trap 'kill -KILL 0' TERM
run() {
  local code
  [[ -z $stop ]] || exit 0
  printf '%s begin %s\n' "$nonce" "$EPOCHREALTIME"
  "$@" <&0 &
  wait $!
  code=$?
  # A trapped signal ends the waiting, and not the command; bash may even lose how that ends.
  if ((code == 138)); then
    wait $!
    code=$?
    ((code >= 0 && code != 127)) || code=137
  fi
  printf '\n%s end %s %s\n' "$nonce" "$code" "$EPOCHREALTIME"
  printf '\n%s\n' "$nonce" >&2
}
"""


def row(commands: Mapping[str, Command], nonce: str) -> str:
    """Return the bash that runs `commands`, and tells of each in a way that `RowReader` reads."""
    lines = [f"run {command}{'' if command.stdin else ' </dev/null'}" for command in commands.values()]
    return "\n".join([f"nonce={shlex.quote(nonce)}", _RUN, *lines])


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
