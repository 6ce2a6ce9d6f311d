"""Fake programs that write down how they were started and stopped, and answer as told."""

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = ("ip", "ping", "arping", "sysctl", "tc")

READ = "0"
"""What a fake sysctl says every value is that was not written."""

PROBE_FOR_IPVLAN = "ip link add ipvkit-probe type ipvlan"
"""What an exported script asks first; a kernel with ipvlan refuses it for another reason."""


_IPUTILS = 'if [ "$1" = -V ]; then echo "${0##*/} from iputils 20240905"; exit; fi\n'


@dataclass(frozen=True, slots=True)
class Answer:
    """What a fake program prints, and the exit code with which it ends; before `after` was run, nothing."""

    stdout: str = ""
    stderr: str = ""
    exit_code: int = 0
    after: str = ""


@dataclass(frozen=True, slots=True)
class Mark:
    """A line of the log: the process `pid` with this command `line` did begin or end."""

    event: str
    pid: int
    line: str


def answered(address: str) -> str:
    """Return what ping prints when all its requests to `address` were answered."""
    return _ping(address, received=6, watched=False)


def unanswered(address: str) -> str:
    """Return what ping prints when none of its requests to `address` was."""
    return _ping(address, received=0, watched=False)


def watched_to_its_end(address: str) -> str:
    """Return what ``ping -D`` prints when the path to `address` was lost after some replies."""
    return _ping(address, received=3, watched=True)


def _ping(address: str, *, received: int, watched: bool) -> str:
    lines = [f"PING {address} ({address}) 56(84) bytes of data."]
    for seq in range(1, received + 1):
        stamp = f"[17000000{seq:02}.250000] " if watched else ""
        lines.append(f"{stamp}64 bytes from {address}: icmp_seq={seq} ttl=64 time=0.1 ms")
    errors = ""
    if watched:
        lines.append(
            f"[1700000099.250000] From 192.0.2.9 icmp_seq={received + 1} Destination Host Unreachable"
        )
        errors = " +1 errors,"
    sent = received + 1 if watched else 6
    loss = f"{100 * (sent - received) / sent:g}"
    lines += [
        "",
        f"--- {address} ping statistics ---",
        f"{sent} packets transmitted, {received} received,{errors} {loss}% packet loss, time 1000ms",
    ]
    return "\n".join(lines) + "\n"


def _said(answer: Answer) -> str:
    """Return the sh that gives an answer."""
    out, err = shlex.quote(answer.stdout), shlex.quote(answer.stderr)
    said = f"printf %s {out}; printf %s {err} >&2; code={answer.exit_code}"
    if not answer.after:
        return said
    return f"if grep -qF -- {shlex.quote(answer.after)} \"$log\"; then {said}; else echo '[]'; fi"


# What `ip` does with the lines of a batch; each is written down as the command that it is.
_BATCH = """\
case "${0##*/} $*" in "ip "*"-batch -")
  ended=0 number=0 words=${*%-batch -} force=''
  case $words in *-force*) force=1 words=${words%-force*} ;; esac
  while IFS= read -r text; do
    number=$((number + 1))
    do_one ip $words$text && continue
    echo "Command failed -:$number" >&2
    ended=1
    [ "$force" ] || break
  done
  exit $ended ;;
esac
"""


class Recorder:
    """A folder to put first on PATH. Each fake is one small sh script: it starts in a millisecond."""

    def __init__(self, folder: Path) -> None:
        """Make the fakes in `folder`."""
        self.bin = folder / "bin"
        self.bin.mkdir(parents=True)
        self._log = folder / "log"
        self._fake = self.bin / "ip"
        self.answer({})
        for name in PROGRAMS[1:]:
            (self.bin / name).symlink_to(self._fake)

    def answer(self, answers: Mapping[str, Answer], *, before_the_end: str = "") -> None:
        """Start anew: an empty log, and these answers by command line.

        `before_the_end` is a line of sh that each fake runs after it has begun. Where no answer is one to
        ``-V``, all are iputils', and it is not written down that they were asked.
        """
        self._log.write_bytes(b"")
        for set_by_sysctl in self._log.parent.glob(f"{self._log.name}.*"):
            set_by_sysctl.unlink()
        cases = "".join(f"{shlex.quote(line)}) {_said(answer)} ;;\n" for line, answer in answers.items())
        self._fake.write_text(
            "#!/bin/sh\n"
            f"log={shlex.quote(str(self._log))}\n"
            f"{'' if any(line.endswith(' -V') for line in answers) else _IPUTILS}"
            "do_one() {\n"
            "line=$* code=0 key=${3-}\n"
            # One write to a file opened for appending: lines of two processes never mix.
            'printf "begin %s %s\\n" "$$" "$line" >>"$log"\n'
            f"{before_the_end}\n"
            f"case $line in\n{cases}"
            f"{shlex.quote(PROBE_FOR_IPVLAN)}) echo 'RTNETLINK answers: Invalid argument' >&2; code=2 ;;\n"
            "'ip -json '*|'ip -n '*' -json '*) echo '[]' ;;\n"
            f"'sysctl -n '*) cat \"$log.$key\" 2>/dev/null || echo {READ} ;;\n"
            '\'sysctl -w \'*) echo "${key#*=}" >"$log.${key%%=*}" ;;\n'
            "esac\n"
            'printf "end %s %s\\n" "$$" "$line" >>"$log"\n'
            "return $code\n"
            "}\n"
            f"{_BATCH}"
            'do_one "${0##*/}" "$@"\n'
        )
        self._fake.chmod(0o755)

    @property
    def path(self) -> str:
        """A PATH on which the fakes come first."""
        return f"{self.bin}{os.pathsep}{os.environ.get('PATH', os.defpath)}"

    def log(self) -> list[Mark]:
        """Return what was written down so far, in order."""
        marks = []
        for text in self._log.read_text().splitlines():
            event, pid, line = text.split(" ", 2)
            marks.append(Mark(event, int(pid), line))
        return marks
