"""What is installed from a package runs: a wheel in a fresh venv, and Debian's package in a fresh Debian."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from documents import ROOT
from ipvkit.cli import SUMMARIES
from ipvkit.cli.commands import loaded_command
from ipvkit.lab import gallery
from packages import copied
from program import Program
from requires import requires

pytestmark = pytest.mark.slow


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a folder that is deleted: pytest keeps others, and a Debian is large."""
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


@requires("twine", "git")
def test_ipvkit_runs_from_a_wheel_that_is_built_from_the_sdist(folder: Path) -> None:
    called(
        sys.executable,
        "-m",
        "build",
        "--no-isolation",
        "--outdir",
        folder / "dist",
        copied(folder / "source"),
    )
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


IN_ROOT = """\
mount -t proc proc "$0/proc"; mount --rbind /dev "$0/dev"; mount -t tmpfs tmpfs "$0/tmp"
exec chroot "$0" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 "$@"
"""
ALSO = ("fish", "python3-typer", "user-mode-linux")
"""What is installed beside ipvkit: shells that complete, another Typer, a kernel."""

BASH = """\
. /usr/share/bash-completion/completions/ipvkit
COMP_WORDS=(ipvkit run-lab walk) COMP_CWORD=2
_ipvkit_completion ipvkit
echo "${COMPREPLY[@]}"
"""
MAN = "usr/share/man/man1"
OF_THE_PACKAGE = ("usr/bin/ipvkit", "usr/lib/python3/dist-packages/ipvkit", "usr/share/ipvkit")


@requires("root", "mmdebstrap", "git")
def test_ipvkit_runs_from_debians_package_in_a_fresh_debian(folder: Path) -> None:
    """scripts/build-deb fails where lintian finds an error."""
    written = called("git", "status", "--porcelain", "--ignored", "debian", cwd=ROOT)
    package = Path(called(ROOT / "scripts/build-deb", folder).splitlines()[-1])
    assert called("git", "status", "--porcelain", "--ignored", "debian", cwd=ROOT) == written
    root = folder / "root"
    also = [f"--include={name}" for name in (package, *ALSO)]
    hook = "--hook-dir=/usr/share/mmdebstrap/hooks/file-mirror-automount"
    # What it mounts ends with it, also where it fails.
    called("unshare", "--mount", "mmdebstrap", "--mode=root", "--variant=apt", *also, hook, "trixie", root)

    def there(*words: str) -> str:
        apart = ("unshare", "--mount", "--pid", "--fork", "--kill-child")
        return called(*apart, "bash", "-euc", IN_ROOT, root, *words)

    here = (sys.executable, "-m", "ipvkit")
    for words in (("--version",), ("run-lab", "--dry-run"), ("labs", "list")):
        assert there("ipvkit", *words) == there("python3", "-m", "ipvkit", *words) == called(*here, *words)
    assert VERDICT in there("ipvkit", "run-lab", "--target", "uml")
    assert there("python3", "-c", "import ipvkit.api, typer; print(typer.__version__)") < "0.28"

    line = there("ipvkit", "labs", "new").splitlines()[0]
    assert there("cat", line.partition("file://")[2]) == there("ipvkit", "labs", "schema")

    below = [(name, *rest) for name in SUMMARIES for rest in ((), *subcommands(name))]
    pages = {"ipvkit.1.gz", *("-".join(("ipvkit", *words)) + ".1.gz" for words in below)}
    assert {path.name for path in (root / MAN).glob("ipvkit*")} == pages
    assert "\\-\\-observe" in called("zcat", root / MAN / "ipvkit-run-lab.1.gz")

    assert there("bash", "-c", BASH) == "walkthrough\n"
    assert there("fish", "-c", "complete -C 'ipvkit run-lab walk'") == "walkthrough\n"
    zsh = (root / "usr/share/zsh/vendor-completions/_ipvkit").read_text().splitlines()
    assert (zsh[0], zsh[-1]) == ("#compdef ipvkit", "_ipvkit_completion")

    there("dpkg", "--purge", "ipvkit")
    assert [path for path in OF_THE_PACKAGE if (root / path).exists()] == []


def subcommands(name: str) -> list[tuple[str]]:
    """Return the subcommands of a command, each as the words that are typed after it."""
    return [(subcommand,) for subcommand in getattr(loaded_command(name), "commands", ())]
