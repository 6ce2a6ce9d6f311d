"""ipvkit as a process of its own, with places to look for what it could leave behind."""

import os
import subprocess
import sys
import uuid
from dataclasses import dataclass, field
from pathlib import Path


def _shared_memory() -> set[str]:
    return {path.name for path in Path("/dev/shm").iterdir()}


def _others_can_reach(path: Path) -> bool:
    return all(folder.stat().st_mode & 0o001 for folder in path.resolve().parents)


AS_A_USER = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
"""What makes root an ordinary user. Where Python or the clone lie in a folder that only root can enter,
the user may read what root can, and nothing more (CAP_DAC_READ_SEARCH)."""
if not all(map(_others_can_reach, (Path(sys.executable), Path(sys.executable).resolve(), Path(__file__)))):
    AS_A_USER += ["--inh-caps", "-all,+dac_read_search", "--ambient-caps", "-all,+dac_read_search"]


@dataclass
class Program:
    """Runs ipvkit with a HOME, a TMPDIR and a working folder that have to stay empty."""

    folder: Path
    python: tuple[str, ...] = (sys.executable,)
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.mark = uuid.uuid4().hex
        self.places = [self.folder / name for name in ("home", "tmp", "cwd")]
        for place in self.places:
            place.mkdir()
            place.chmod(0o777)
        self.shared_memory = _shared_memory()
        home, temporary, _ = self.places
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "TMPDIR": str(temporary),
            # One of the few variables that ipvkit passes on.
            "LOGNAME": self.mark,
            "PYTHONDONTWRITEBYTECODE": "1",
            **self.environment,
        }

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*self.python, "-m", "ipvkit", *arguments],
            cwd=self.places[2],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, timeout: float = 600) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments)
        try:
            stdout, stderr = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)

    def left_files(self) -> list[str]:
        """Return every file that is there now and was not before."""
        files = [str(path) for place in self.places for path in place.rglob("*")]
        return files + sorted(_shared_memory() - self.shared_memory)

    def left_processes(self) -> list[str]:
        """Return the processes that descend from a run: they carry its mark in their environment."""
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                if self.mark.encode() in (entry / "environ").read_bytes():
                    found.append(f"{entry.name} {(entry / 'comm').read_text().strip()}")
            except OSError:
                continue
        return found
