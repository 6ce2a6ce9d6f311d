"""The documents' commands that need a kernel with ipvlan print what is shown."""

import shlex
from pathlib import Path

import pytest
from documents import Shown, documents, problem, run, terminal_environment
from guest import in_guest, simulated_lan

pytestmark = pytest.mark.kernel

DOCUMENTS = documents()
ALL_SHOWN = [shown for document in DOCUMENTS for shown in document.shown]


def distinct(runs_in: str) -> list[str]:
    return list(dict.fromkeys(shown.command for shown in ALL_SHOWN if shown.runs_in == runs_in))


def prepare(command: str, folder: Path) -> list[Shown]:
    """Make the files that a command finds where it is shown first; return each place that shows it."""
    document = next(d for d in DOCUMENTS if any(shown.command == command for shown in d.shown))
    document.write_files(folder)
    for before in document.shown:
        if before.command == command:
            break
        if before.runs_in == "fast" and " >" in before.command:
            run(before.command, folder)
    return [shown for shown in ALL_SHOWN if shown.command == command]


@pytest.mark.parametrize("command", distinct("kernel"))
def test_command_with_a_kernel(command: str, tmp_path: Path) -> None:
    places = prepare(command, tmp_path)
    ended = run(command, tmp_path)
    problems = [problem(shown, *ended) for shown in places]
    assert not any(problems), "\n\n".join(filter(None, problems))


@pytest.mark.parametrize("command", distinct("guest"))
def test_command_in_a_guest(command: str, tmp_path: Path) -> None:
    """On a machine that has ipvlan and a NIC `eth0` with a gateway and a neighbour: a guest."""
    places = prepare(command, tmp_path)
    environment = {**terminal_environment(Path("/run")), "TMPDIR": "/run"}
    exports = " ".join(f"{name}={shlex.quote(value)}" for name, value in environment.items())
    said = in_guest(
        f"{simulated_lan()}\nexport {exports}\ncp -r {shlex.quote(str(tmp_path))}/. /run/ && cd /run\n"
        f"{command.removeprefix('sudo ')} >/dev/ttyS0 2>&1"
    )
    problems = [problem(shown, said.exit_code, said.output) for shown in places]
    assert not any(problems), "\n\n".join(filter(None, problems))
