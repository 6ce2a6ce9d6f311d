"""Fetches what ipvkit is compared with, from Debian and PyPI, into a folder of its own."""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

FETCH_S = 120
"""How long apt or pip may take."""


class NotThereError(Exception):
    """A peer is not there; the text says why."""


@dataclass(frozen=True, slots=True)
class Peers:
    """The peers in `folder`; what is absent is fetched if `fetch`."""

    folder: Path
    fetch: bool

    def debian(self, package: str) -> Path:
        """Return the folder with the files of a Debian package; raise NotThereError where there is none."""
        return self._found(f"debian/{package}", lambda into: self._from_debian(package, into)) / "root"

    def python(self, package: str) -> Path:
        """Return the folder with a Python package and what it needs; raise NotThereError without one."""
        return self._found(f"python/{package}", lambda into: _from_pypi(package, into))

    def versions(self) -> list[str]:
        """Return all that is there with its version, sorted."""
        debs = [path.stem.rpartition("_")[0] for path in self.folder.glob("debian/*/*.deb")]
        infos = [path.stem for path in self.folder.glob("python/*/*.dist-info")]
        wanted = {path.name for path in self.folder.glob("python/*")}
        named = [info.replace("-", " ") for info in infos if info.partition("-")[0] in wanted]
        return sorted({*(deb.replace("_", " ").replace("%3a", ":") for deb in debs), *named})

    def _found(self, name: str, make: Callable[[Path], None]) -> Path:
        place = self.folder / name
        if place.is_dir():
            return place
        if not self.fetch:
            raise NotThereError("it was not fetched before")
        place.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(dir=place.parent, prefix="."))
        made.chmod(0o755)
        try:
            make(made)
            # Whole or not at all: what was interrupted is fetched anew.
            made.rename(place)
        finally:
            shutil.rmtree(made, ignore_errors=True)
        return place

    def _from_debian(self, package: str, into: Path) -> None:
        lists, cache = self.folder / "apt" / "lists", self.folder / "apt" / "cache"
        apt = [
            *("apt-get", "-qq", "-o", f"Dir::State::Lists={lists}", "-o", f"Dir::Cache={cache}"),
            # Where root alone can enter, apt's own user could write nothing.
            *("-o", "APT::Sandbox::User="),
        ]
        if not lists.is_dir():
            for folder in (lists, cache / "archives"):
                (folder / "partial").mkdir(parents=True, exist_ok=True)
            try:
                _run([*apt, "update"], into)
            except NotThereError:
                shutil.rmtree(lists)
                raise
        _run([*apt, "download", package], into)
        _run(["dpkg-deb", "--extract", str(next(into.glob("*.deb"))), "root"], into)


def _from_pypi(package: str, into: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    _run([*pip, "install", "--target", str(into), package], into)


def _run(command: list[str], folder: Path) -> None:
    """Run `command` in `folder`; raise NotThereError with what it said where it fails."""
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=FETCH_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as problem:
        raise NotThereError(str(problem)) from None
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise NotThereError(said[-1] if said else f"{command[0]} failed")
