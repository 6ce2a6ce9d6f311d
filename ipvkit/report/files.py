"""Results in files."""

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from ipvkit.core.errors import UsageError


def refuse_unwritable(output: Path | None) -> None:
    """Raise UsageError before anything is run where the result could not be written afterwards."""
    if output is None:
        return
    folder = output.parent
    if output.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        what = f"the result cannot be written to {str(output)!r}"
        raise UsageError(what, "name a file in a folder of yours")


def write(output: Path, pieces: Iterable[str]) -> None:
    """Write the whole file or none of it."""
    with tempfile.NamedTemporaryFile("w", dir=output.parent, prefix=f".{output.name}.", delete=False) as file:
        file.writelines(pieces)
    written = Path(file.name)
    written.chmod(0o644)
    written.replace(output)
