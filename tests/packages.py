"""What packages are built of: a copy of this project's files, so that the build leaves nothing among them."""

import shutil
import subprocess
from pathlib import Path

from documents import ROOT

NOT_COPIED = ("docs/", "scripts/", "tests/")


def files(*under: str) -> list[str]:
    """Return the paths of the project's files, or of those below some folders, that git does not ignore."""
    argv = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *under]
    listed = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return sorted(path for path in listed.split("\0") if path and (ROOT / path).exists())


def copied(folder: Path) -> Path:
    """Return `folder` with a copy of the files that a package is built of."""
    for path in files():
        if not path.startswith(NOT_COPIED):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / path, folder / path)
    return folder
