"""A copy of this project's files: what packages are built of, and where recipes are followed."""

import shutil
import subprocess
from pathlib import Path

from documents import ROOT

NOT_COPIED = ("docs/", "scripts/", "tests/")


def files(*under: str) -> list[str]:
    """Return the paths of the project's files, or of those below some folders, that git does not ignore."""
    # Another user may own the clone, as in a container.
    git = ("git", "-c", "safe.directory=*", "ls-files", "-z")
    argv = [*git, "--cached", "--others", "--exclude-standard", "--", *under]
    listed = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return sorted(path for path in listed.split("\0") if path and (ROOT / path).exists())


def copied(folder: Path, without: tuple[str, ...] = NOT_COPIED) -> Path:
    """Return `folder` with a copy of the files, by default of those that a package is built of."""
    for path in files():
        if not path.startswith(without):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / path, folder / path)
    return folder
