"""The documents' commands that need a kernel with ipvlan print what is shown."""

import re
import secrets
import shlex
from collections.abc import Sequence
from pathlib import Path

import pytest

from documents import Document, Shown, documents, problem, run, run_session, terminal_environment
from guest import in_guest, simulated_lan
from ipvkit.lab import gallery
from runtimes import MEMORY_MIB, needs, setup

pytestmark = pytest.mark.kernel

DOCUMENTS = documents()
ALL_SHOWN = [shown for document in DOCUMENTS for shown in document.shown]


def prepare(document: Document, folder: Path) -> None:
    """Make the files that the commands of a document find: its blocks, and what is redirected."""
    document.write_files(folder)
    for shown in document.shown:
        if shown.runs_in == "fast" and " > " in shown.command:
            run(shown.command, folder)


LONG = re.compile(
    rf"ipvkit run-lab ({'|'.join(gallery.names())}) --target uml|ipvkit run-lab ./kernel-timers.yaml"
    "|ipvkit measure-arp --idle 10s|ipvkit matrix --mode l3 --strategy none --family ipv4 --target uml"
)
"""Commands that take long; test_gallery.py runs the same labs, and test_matrix.py all of the matrix."""


PROMISED = (
    *("README.md", "docs/tutorial/walkthrough.md", "docs/how-to/host-cannot-reach-its-endpoint.md"),
    *("docs/explanation/ipvlan-rst.md", "docs/reference/exit-codes.md"),
)
"""The documents whose commands run by default: one of each kind."""


def marks_of_command(command: str) -> list[pytest.MarkDecorator]:
    """Return the marks of the test of a command that starts a kernel."""
    promised = any(shown.command == command for d in DOCUMENTS if d.name in PROMISED for shown in d.shown)
    return [pytest.mark.slow] if LONG.fullmatch(command) else [pytest.mark.promise] if promised else []


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(command, marks=marks_of_command(command))
        for command in dict.fromkeys(shown.command for shown in ALL_SHOWN if shown.runs_in == "kernel")
    ],
)
def test_command_with_a_kernel(command: str, tmp_path: Path) -> None:
    places = [shown for shown in ALL_SHOWN if shown.command == command]
    prepare(next(document for document in DOCUMENTS if places[0] in document.shown), tmp_path)
    ended = run(command, tmp_path, interrupted=places[0].interrupted)
    problems = [problem(shown, *ended) for shown in places]
    assert not any(problems), "\n\n".join(filter(None, problems))


WITH_A_SESSION = [document for document in DOCUMENTS if any(shown.typed for shown in document.shown)]


@pytest.mark.slow
@pytest.mark.parametrize("document", WITH_A_SESSION, ids=lambda document: document.name)
def test_commands_in_a_shell_on_a_lan(document: Document, tmp_path: Path) -> None:
    """One after another, typed into the shell that a person gets."""
    opening, *places = (shown for shown in document.shown if shown.runs_in == "session")
    ended = run_session(opening.command, [shown.command for shown in places], tmp_path)
    problems = [problem(shown, *end) for shown, end in zip((opening, *places), ended, strict=True)]
    assert not any(problems), "\n\n".join(filter(None, problems))


def for_a_guest() -> list[Document]:
    """Return the documents whose commands need a guest, without those whose commands another one has."""
    found: list[Document] = []
    for document in sorted(DOCUMENTS, key=lambda document: -len(document.shown)):
        known = [shown.command for other in found for shown in other.shown]
        places = [shown for shown in document.shown if shown.runs_in == "guest"]
        if any(shown.output or shown.command not in known for shown in places):
            found.append(document)
    return found


LONG_DOCUMENTS = (
    *("docs/how-to/announce.md", "docs/how-to/clean-up.md", "docs/how-to/monitor.md"),
    "docs/how-to/real-nic.md",
)
"""Documents whose commands take long in a guest."""

RUNTIMES = {
    "docs/how-to/cni.md": ("cni", "pods"),
    "docs/how-to/docker.md": ("docker",),
    "docs/how-to/incus.md": ("incus",),
    "docs/how-to/lxc.md": ("lxc",),
    "docs/how-to/networkd.md": ("networkd",),
    "docs/how-to/podman.md": ("podman",),
}
"""The container runtimes whose commands a document has."""


def marks_of(document: Document) -> list[pytest.MarkDecorator]:
    """Return the marks of the test of a document in a guest."""
    runtimes = RUNTIMES.get(document.name, ())
    promised = [pytest.mark.promise] if document.name in PROMISED else []
    slow = runtimes or document.name in LONG_DOCUMENTS
    return [*promised, *([pytest.mark.slow] if slow else []), *([needs(*runtimes)] if runtimes else [])]


@pytest.mark.parametrize(
    "document",
    [pytest.param(document, marks=marks_of(document)) for document in for_a_guest()],
    ids=lambda document: document.name,
)
def test_commands_in_a_guest(document: Document, tmp_path: Path) -> None:
    """One after another, on a machine with ipvlan and a NIC `eth0` with a gateway and a neighbour."""
    prepare(document, tmp_path)
    places = [shown for shown in document.shown if shown.runs_in == "guest"]
    ended = in_one_guest(places, tmp_path, RUNTIMES.get(document.name, ()))
    problems = [problem(shown, *end) for shown, end in zip(places, ended, strict=True)]
    assert not any(problems), "\n\n".join(filter(None, problems))


def in_one_guest(places: Sequence[Shown], folder: Path, runtimes: Sequence[str]) -> list[tuple[int, str]]:
    """Return the exit code of each command, and what it printed on the guest's terminal."""
    mark = secrets.token_hex(8)
    environment = {**terminal_environment(Path("/run")), "TMPDIR": "/run"}
    exports = " ".join(f"{name}={shlex.quote(value)}" for name, value in environment.items())
    commands = (shown.command.removeprefix("sudo ") for shown in places)
    said = in_guest(
        f"{simulated_lan()}{setup(*runtimes) if runtimes else ''}export {exports}\n"
        f"cp -r {shlex.quote(str(folder))}/. /run/\ncd /run\nexec >/dev/ttyS0 2>&1\n"
        + "".join(f"(\n{command}\n)\necho {mark} $?\n" for command in commands),
        memory_mib=MEMORY_MIB if runtimes else 0,
        # Its serial line is the terminal.
        fresh=True,
    )
    output, *codes = re.split(rf"{mark} (\d+)\n", said.output)
    texts = [output, *codes[1::2]]
    return [(int(code), text) for code, text in zip(codes[::2], texts, strict=False)]
