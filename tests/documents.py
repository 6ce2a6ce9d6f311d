"""What the documents show: command lines with their output, files, links and headings."""

import os
import pty
import re
import select
import signal
import subprocess
import sysconfig
import termios
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "docs" / "reference"
COLUMNS = 140
"""How wide the terminal was whose output the documents show."""

PROMPT = "lan# "
"""The prompt of the shell that `ipvkit shell` opens."""

NOT_RUN = {
    "./scripts/test": "it would run this test",
    "./scripts/test --fast tests/unit/test_docs.py": "it would run this test",
    "./scripts/setup test": "./scripts/test runs it",
    "pip install -e '.[test]'": "it changes the machine",
    "pytest -m 'not kernel and not long'": "it would run this test",
    "./scripts/build-deb": "tests/kernel/test_packages.py does, with --slow",
    "python3 -m build": "tests/kernel/test_packages.py does, with --slow",
    "sudo apt install ./dist/ipvkit_*_all.deb": "tests/kernel/test_packages.py installs it, with --slow",
    "pip install .": "it changes the machine",
    "pipx install .": "it changes the machine",
    **dict.fromkeys(
        (
            "ansible-playbook --inventory hosts.yml --check fleet/two-hosts-l2.yml",
            "ansible-playbook --inventory hosts.yml fleet/two-hosts-l2.yml",
        ),
        "it needs hosts; tests/unit/test_playbook.py does",
    ),
    "ipvkit matrix --target uml --markdown": "tests/kernel/test_matrix.py does, with --json",
    "ipvkit matrix --two-hosts --target uml --markdown": "tests/kernel/test_matrix.py does, with --json",
    "ipvkit matrix --kernel all --markdown": "scripts/kernels-page does",
    "sudo apt install user-mode-linux iproute2 iputils-ping iputils-arping procps kmod util-linux": (
        "it changes the machine"
    ),
    "ipvkit run-lab fleet.yaml --target ansible --inventory hosts.yml": "tests/kernel/test_fleet.py does",
    "ipvkit cleanup --all --inventory hosts.yml": "tests/kernel/test_fleet.py does",
    "ipvkit inspect --inventory hosts.yml": "tests/kernel/test_fleet.py does",
    "ipvkit adopt --inventory hosts.yml > racks.yaml": "tests/kernel/test_fleet.py does",
    "ipvkit review --inventory hosts.yml": "tests/kernel/test_fleet.py does",
    "ipvkit down racks --inventory hosts.yml": "it needs hosts that are reached by ssh",
    "pip install 'ipvkit[capture]'": "it changes the machine",
    "pip install 'ipvkit[fleet]'": "it changes the machine",
    'sudo "$(command -v ipvkit)" inspect --watch': "it runs on; tests/unit/test_inspect.py does",
}
"""Command lines that the documents show and that no test runs, with the reason."""

OF_THE_MACHINE = ("ipvkit doctor", "ipvkit doctor --json", "ipvkit kernels")
"""Command lines whose output depends on the machine: their exit code is compared, and nothing else."""

_OF_A_USER = "note: these are your own runs; for root's, type: sudo ipvkit status"
"""A line that only an ordinary user gets."""

_OF_ANSIBLE = {"PYTHONWARNINGS": "ignore"}
"""What Ansible's own commands see too: Python warns in them of other libraries with each release."""

_FENCE = re.compile(r"(?P<fence>```+|~~~+)(?P<language>\S*) *(?P<name>.*)")
_EXITS = re.compile(r"# exits (\d+)( on \^C)?$")
_PROGRESS = re.compile(r"\[ *(?:\d+/\d+|undo)\] ")


@dataclass(frozen=True, slots=True)
class Shown:
    """A command line in a document, and the output shown for it, which may be none."""

    place: str
    command: str
    exit_code: int
    output: tuple[str, ...]
    typed: bool = False
    """Whether it is typed into the shell that `ipvkit shell` opened earlier in the document."""
    interrupted: bool = False
    """Whether ^C is typed once it shows its progress."""

    @property
    def runs_in(self) -> str:
        """Where it is run: nowhere, in a copy with a recipe's files, on a fetched kernel, in a guest (root or
        ipvlan), in a session, with a kernel, or fast.
        """
        line = self.command
        if line in NOT_RUN:
            return "nowhere"
        if line.startswith(".venv/bin/"):
            return "copy"
        if re.search(r" --kernel |kernels fetch \d|IPVKIT_KERNEL=", line) and self.exit_code in (0, 1):
            return "fetched"
        if self.typed or re.fullmatch(r"ipvkit shell( --target \w+)?", line):
            return "session"
        if line.startswith(("sudo ", "bash lab.sh")):
            return "guest"
        starts = re.search(
            r"\bipvkit (run-lab|doctor|shell|measure-arp|grade)\b|--target (uml|sandbox)|^\./scripts/lab\b"
            r"|^(pytest|python)\b",
            line,
        )
        if starts and not re.search(r"--dry-run|--help", line) and self.exit_code != 2:
            return "kernel"
        return "fast"


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: its language, the name of the file that it is, if it is one, and its lines."""

    line_number: int
    language: str
    name: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Document:
    """A Markdown file of this project."""

    path: Path

    @cached_property
    def name(self) -> str:
        """Its path in the repository."""
        return str(self.path.relative_to(ROOT))

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """Its fenced blocks."""
        return tuple(block for _, block in self._parts() if block is not None)

    @cached_property
    def prose(self) -> tuple[str, ...]:
        """Its lines outside fenced blocks."""
        return tuple(line for line, block in self._parts() if block is None)

    def _parts(self) -> Iterator[tuple[str, Block | None]]:
        lines = enumerate(self.path.read_text(encoding="utf-8").splitlines(), 1)
        for number, line in lines:
            found = _FENCE.fullmatch(line.strip())
            if found is None:
                yield line, None
                continue
            indent = len(line) - len(line.lstrip())
            inside = []
            for _, inner in lines:
                if inner.strip() == found["fence"]:
                    break
                inside.append(inner[indent:])
            yield "", Block(number, found["language"], found["name"], tuple(inside))

    @cached_property
    def shown(self) -> tuple[Shown, ...]:
        """The command lines of its `console` and `sh` blocks."""
        return tuple(
            shown for b in self.blocks if b.language in ("console", "sh") for shown in self._commands(b)
        )

    def _commands(self, block: Block) -> Iterator[Shown]:
        starts = [i for i, line in enumerate(block.lines) if line.startswith(("$ ", PROMPT))]
        for start, end in zip(starts, [*starts[1:], len(block.lines)], strict=True):
            typed = block.lines[start].startswith(PROMPT)
            line = block.lines[start].removeprefix(PROMPT if typed else "$ ")
            command, _, comment = line.partition("  # ")
            exits = _EXITS.search(f"# {comment}")
            output = tuple(line.rstrip() for line in block.lines[start + 1 : end])
            place = f"{self.name}:{block.line_number + 1 + start}"
            code, interrupted = (int(exits[1]), bool(exits[2])) if exits else (0, False)
            yield Shown(place, command.strip(), code, output, typed, interrupted)

    def write_files(self, folder: Path) -> None:
        """Write the blocks that are files into `folder`."""
        for block in self.blocks:
            if block.name:
                (folder / block.name).write_text("\n".join(block.lines) + "\n", encoding="utf-8")


def documents() -> tuple[Document, ...]:
    """Return every document: those in the root, and those in docs/."""
    paths = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
    return tuple(Document(path) for path in sorted(paths))


def terminal_environment(home: Path) -> dict[str, str]:
    """Return what a command of a document sees: this ipvkit, a terminal of that width, no colour."""
    path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]])
    return {
        "PATH": path,
        "HOME": str(home),
        "COLUMNS": str(COLUMNS),
        "NO_COLOR": "1",
        "TERM": "dumb",
        "LC_ALL": "C.UTF-8",
    }


def run(command: str, folder: Path, timeout_s: float = 600, *, interrupted: bool = False) -> tuple[int, str]:
    """Return the exit code of a command line, and what a person saw of it on a terminal.

    With `interrupted` its processes get SIGINT at the first line of progress, as when ^C is typed.
    """
    master, slave = pty.openpty()
    process = subprocess.Popen(
        ["/bin/bash", "-c", command],
        cwd=ROOT if command.startswith("./scripts/") else folder,
        env=terminal_environment(folder) | (_OF_ANSIBLE if command.startswith("ansible-") else {}),
        stdin=subprocess.DEVNULL,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    )
    os.close(slave)
    text = b""
    try:
        while chunk := _read(master):
            text += chunk
            if interrupted and any(map(_PROGRESS.match, text.decode(errors="replace").splitlines())):
                os.killpg(process.pid, signal.SIGINT)
                interrupted = False
        return process.wait(timeout_s), text.decode()
    finally:
        process.kill()
        process.wait()
        os.close(master)


def run_session(
    opening: str, commands: Sequence[str], folder: Path, timeout_s: float = 600
) -> list[tuple[int, str]]:
    """Open a shell, type commands into it, and return the exit code of each and what it printed.

    The first is what the opening itself printed.
    """
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (50, COLUMNS))
    process = subprocess.Popen(
        ["/bin/bash", "-c", f"exec {opening}"],
        cwd=folder,
        env=terminal_environment(folder),
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    )
    os.close(slave)
    deadline = time.monotonic() + timeout_s
    try:
        seen = [(0, _until_prompt(master, deadline))]
        for command in commands:
            os.write(master, f"{command}\n".encode())
            text = _until_prompt(master, deadline).partition("\n")[2]
            os.write(master, b"echo $?\n")
            seen.append((int(_until_prompt(master, deadline).splitlines()[1]), text))
        os.write(master, b"exit\n")
        while _read(master):
            pass
        process.wait(30)
        return seen
    finally:
        process.kill()
        process.wait()
        os.close(master)


def _until_prompt(terminal: int, deadline: float) -> str:
    """Return what a shell prints before it asks for the next command."""
    text = ""
    while not text.endswith(f"\n{PROMPT}"):
        readable, _, _ = select.select([terminal], [], [], max(0.0, deadline - time.monotonic()))
        chunk = _read(terminal) if readable else b""
        assert chunk, f"no prompt after\n{text}"
        text = (text + chunk.decode(errors="replace")).replace("\r\n", "\n")
    return text.removesuffix(PROMPT)


def _read(terminal: int) -> bytes:
    """Return what comes next out of a terminal, or nothing once nobody writes to it any more."""
    try:
        return os.read(terminal, 65536)
    except OSError:
        return b""


def as_seen(text: str) -> str:
    """Return what stays on root's terminal: a progress bar has vanished, and so have trailing spaces."""
    lines = (line.rstrip() for line in text.splitlines() if line != _OF_A_USER)
    return "".join(f"{line}\n" for line in lines if not _PROGRESS.match(line))


def problem(shown: Shown, exit_code: int, text: str) -> str:
    """Return what is wrong with a command line as a document shows it, or nothing."""
    seen = as_seen(text)
    if exit_code != shown.exit_code:
        return f"{shown.place}: `{shown.command}` ended with {exit_code}:\n{seen}"
    if shown.command in OF_THE_MACHINE:
        return ""
    alike = _pattern(shown.output).fullmatch(seen) or (
        _SEVERAL.search(seen) and _pattern((_flat("\n".join(shown.output)),)).fullmatch(_flat(seen) + "\n")
    )
    if shown.output and not alike:
        expected = "\n".join(shown.output)
        return f"{shown.place}: `{shown.command}` is shown to print\n{expected}\n\nand printed\n{seen}"
    return ""


_SEVERAL = re.compile(r"\b(reachable|unreachable|expires)( or (?:reachable|unreachable|expires))+\b")
"""The outcomes of a check that began late, on a slow machine: they depend on time, the likeliest first."""


def _flat(text: str) -> str:
    """Return the words of tables in one line, with one outcome of several: these make columns wider."""
    words = _SEVERAL.sub(r"\1", text).split()
    return " ".join(word for word in words if set(word) != {"-"})


def _pattern(output: tuple[str, ...]) -> re.Pattern[str]:
    """Return what output has to match to be shown so.

    A line `…` stands for any lines, and within a line for any text. What differs from one machine,
    one run and one version to the next may differ: times, MAC addresses, releases, which target was chosen.
    """
    lines = list(output)
    while lines and not lines[-1]:
        lines.pop()
    return re.compile("".join("(?:.*\n)*?" if line.strip() == "…" else _line(line) for line in lines))


def _line(line: str) -> str:
    pattern = re.escape(line)
    pattern = re.sub(r"(?<![\d.])\d+(\\\.\d+)?(?=\\ s\b)", r"\\d+(\\.\\d+)?", pattern)
    pattern = re.sub(r"(?<![\d.\\])\d+\\\.\d+(?!\d|\\\.)", r"\\d+\\.\\d+", pattern)
    pattern = re.sub(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}", "[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}", pattern)
    pattern = re.sub(r"^target:.*", "target: .*", pattern)
    pattern = re.sub(r'"(kind|kernel)":.*', r'"\1": .*', pattern)
    pattern = re.sub(r"(ipvkit\\ )\d+\\\.\d+\\\.\d+", r"\1\\d+\\.\\d+\\.\\d+", pattern)
    pattern = re.sub(r"(\w+,\\ )?kernel\\ \d[^;,]*", r"(\\w+, )?kernel [^;,]+", pattern)
    return pattern.replace("…", ".*") + "\n"
