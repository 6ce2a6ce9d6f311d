"""The frames in which a payload tells of each step, read as they come."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Frame:
    """One piece of news from a payload.

    `event` is hello (with the kernel's release in `stdout`), begin, end, done, or noise (a line that is
    no frame, in `stdout`). `kind` is step, undo, before or after; `time_s` is the target's Unix time.
    """

    event: str
    kind: str = ""
    id: str = ""
    time_s: float = 0.0
    exit_code: int = 0
    stdout: str = ""
    stderr: str = ""


def read_frames(chunks: Iterable[bytes], nonce: str) -> Iterator[Frame]:
    """Yield the frames in a stream of bytes, as soon as each is complete."""
    head = re.compile(
        rb"%s (?:(?P<event>hello|done) (?P<value>\S+)|begin (?P<began>\S+ \S+ \S+)"
        rb"|end (?P<ended>\S+ \S+ \S+ \d+ \d+ \d+))" % re.escape(nonce).encode()
    )
    buffer = b""
    for chunk in chunks:
        buffer += chunk
        while (newline := buffer.find(b"\n")) >= 0:
            line, rest = buffer[:newline], buffer[newline + 1 :]
            found = head.fullmatch(line)
            if found is None:
                if line:
                    yield Frame("noise", stdout=line.decode(errors="replace"))
            elif found["ended"]:
                kind, id, time, code, *lengths = found["ended"].decode().split()
                out, err = (int(length) for length in lengths)
                if len(rest) < out + err + 1:
                    break
                yield Frame(
                    event="end",
                    kind=kind,
                    id=id,
                    time_s=float(time),
                    exit_code=signed(int(code)),
                    stdout=rest[:out].decode(errors="replace"),
                    stderr=rest[out : out + err].decode(errors="replace"),
                )
                rest = rest[out + err + 1 :]
            elif found["began"]:
                kind, id, time = found["began"].decode().split()
                yield Frame("begin", kind, id, float(time))
            else:
                value = found["value"].decode()
                code = int(value) if found["event"] == b"done" else 0
                yield Frame(found["event"].decode(), exit_code=code, stdout=value)
            buffer = rest
    if buffer:
        yield Frame("noise", stdout=buffer.decode(errors="replace"))


def signed(code: int) -> int:
    """Return bash's exit code with a death by signal as a negative number, as `subprocess` has it."""
    return 128 - code if 128 < code < 128 + 65 else code
