"""How other programs start this ipvkit."""

import stat
import sys
from pathlib import Path


def words() -> list[str]:
    """Return the words that start this ipvkit from any folder."""
    script = Path(sys.argv[0]).absolute()
    return [str(script)] if script.name == "ipvkit" else [sys.executable, "-m", "ipvkit"]


def closed_folder() -> Path | None:
    """Return a folder above ipvkit that root without its capabilities cannot enter, if there is one."""
    program = Path(words()[0])
    paths = (program, program.resolve(), Path(__file__).resolve())
    for folder in (folder for path in paths for folder in path.parents):
        found = folder.stat()
        if found.st_uid != 0 and not found.st_mode & stat.S_IXOTH:
            return folder
    return None
