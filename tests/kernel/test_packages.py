"""What is installed from a wheel runs in a fresh venv."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from ipvkit.lab import gallery
from packages import copied
from program import Program

pytestmark = pytest.mark.slow


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a folder that is deleted: pytest keeps others, and a venv is large."""
    with TemporaryDirectory() as name:
        yield Path(name)


VERDICT = "walkthrough: 12 of 12 as predicted"


def called(*words: str | Path, cwd: Path | None = None) -> str:
    """Return what a command prints; raise AssertionError with all that it printed where it fails."""
    ended = subprocess.run(
        list(map(str, words)), cwd=cwd, capture_output=True, text=True, timeout=1800, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_ipvkit_runs_from_a_wheel_that_is_built_from_the_sdist(folder: Path) -> None:
    pytest.importorskip("twine", reason="scripts/setup slow installs it")
    called(sys.executable, "-m", "build", "--outdir", folder / "dist", copied(folder / "source"))
    (wheel,), (sdist,) = (folder / "dist").glob("*.whl"), (folder / "dist").glob("*.tar.gz")
    called(sys.executable, "-m", "twine", "check", "--strict", wheel, sdist)
    venv = folder / "venv"
    called(sys.executable, "-m", "venv", venv)
    called(venv / "bin/python", "-m", "pip", "install", "--quiet", f"{wheel}[graph,report]")
    # So that nothing of this clone, and nothing that tests need, is found.
    program = Program(folder, (str(venv / "bin/python"), "-I"))
    ran = program.run("run-lab", "--target", "uml", "--report", str(folder / "report.html"))
    assert (ran.returncode, VERDICT in ran.stdout) == (0, True), ran.stdout + ran.stderr
    assert VERDICT in (folder / "report.html").read_text(encoding="utf-8")
    line = program.run("labs", "new").stdout.splitlines()[0]
    assert Path(line.partition("file://")[2]).read_text() == program.run("labs", "schema").stdout
    assert program.run("labs", "list").stdout.count("\n") == len(gallery.names()) + 2
    assert (program.left_files(), program.left_processes()) == ([], [])
