"""The User-Mode Linux kernels of this machine: the installed one, and those in the cache."""

import os
import re
from dataclasses import dataclass
from functools import cache as once
from pathlib import Path
from typing import Literal

from ipvkit.core.errors import MissingRequirement, UsageError
from ipvkit.targets.process import output_of
from ipvkit.targets.programs import find_program, may_run

PROGRAMS = ("linux.uml", "linux")
MODULES = Path("/usr/lib/uml/modules")

IN_PACKAGE = Path("usr", "bin", PROGRAMS[0])
"""The program in the folder of an unpacked package."""

SHARED = Path("/var/cache/ipvkit/kernels")
"""Where the kernels are that root fetched."""

VARIABLE = "IPVKIT_KERNEL"
"""The variable with the kernel that is used where none is named."""

SUITES = {"5.10": "bullseye", "6.1": "bookworm", "6.12": "trixie", "7.2": "forky"}
"""The suite of Debian that has each series."""

_FIRST_FOR_ANY_CPU = [6, 13]
"""The first release that asks the host how many bytes a process's registers take (commit 3f17fed21491).

Those before have room for 2,696, which AVX-512 takes (arch/x86/um/user-offsets.c). With Intel's AMX they take
11 kB, and the host accepts only the whole of them (xstateregs_set): the first process ends at once.
"""

_FOR_AMX = f"ipvkit kernels fetch {[*SUITES][-1]}"
"""What gets the newest kernel, which runs on any CPU."""

Origin = Literal["installed", "fetched", "path"]


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel: its release, its program, and the folder with a folder of modules for that release."""

    release: str
    program: str
    modules: Path
    origin: Origin

    @property
    def runs_here(self) -> bool:
        """Whether it runs on this machine's CPU."""
        return _runs_here(self.release)


def _runs_here(release: str) -> bool:
    return numbers(release) >= _FIRST_FOR_ANY_CPU or not has_amx()


@once
def has_amx() -> bool:
    """Return whether this machine's CPU has Intel's AMX, and so more registers than older kernels expect."""
    with open("/proc/cpuinfo") as file:  # noqa: PTH123
        # The first CPU's flags; a machine may have hundreds.
        return "amx_tile" in file.read(4096).split()


def cache() -> Path:
    """Return the folder with a folder for each kernel that this user fetches; root's serve every user."""
    named = os.environ.get("XDG_CACHE_HOME", "").startswith("/")
    return SHARED if os.geteuid() == 0 and not named else _of_user()


def _of_user() -> Path:
    home = os.environ.get("XDG_CACHE_HOME", "")
    # Without a home it is a path that does not exist.
    return Path(home if home.startswith("/") else os.path.expanduser("~/.cache"), "ipvkit", "kernels")  # noqa: PTH111


def kernels() -> list[Kernel]:
    """Return the kernels that there are, one of each release: the installed one, then the newest first."""
    program = next((path for name in PROGRAMS if (path := find_program(name))), None)
    found = [_kernel(program, MODULES, "installed")] if program and _names(MODULES) else []
    caches = dict.fromkeys((_of_user(), SHARED))
    folders = (home / name for home in caches for name in _names(home) if name[0].isdigit())
    fetched = filter(None, (beside(folder / IN_PACKAGE, "fetched") for folder in folders))
    own = {kernel.release for kernel in found}
    others = {kernel.release: kernel for kernel in reversed([*fetched]) if kernel.release not in own}
    return found + sorted(others.values(), key=lambda kernel: numbers(kernel.release), reverse=True)


def wanted(name: str | None) -> str | None:
    """Return the name of the kernel that the user wants, None where any will do."""
    return name or os.environ.get(VARIABLE) or None


def find(name: str | None = None) -> Kernel:
    """Return the kernel `name`: a release, its beginning, or the path of a program or a folder.

    Raise UsageError for an unknown one, MissingRequirement where it is not there.
    """
    name = wanted(name)
    if name is not None and "/" in name:
        return _able([_at(Path(name))])
    there = kernels()
    if fit := [kernel for kernel in there if name is None or f"{kernel.release}.".startswith(f"{name}.")]:
        return _able(fit)
    if name is None:
        hint = "apt install user-mode-linux, or without root: ipvkit kernels fetch 6.12"
        # Debian's own release has no other one.
        raise MissingRequirement("User-Mode Linux is not installed", _FOR_AMX if has_amx() else hint)
    if name in SUITES and not _runs_here(name):
        raise _without_room(name)
    if name in SUITES:
        raise MissingRequirement(f"kernel {name} is not installed", f"ipvkit kernels fetch {name}")
    releases = ", ".join(kernel.release for kernel in there) or "the path of a kernel"
    hint = f"choose from {releases}; `ipvkit kernels fetch` gets {', '.join(SUITES)}"
    raise UsageError(f"unknown kernel {name!r}", hint)


def _able(fit: list[Kernel]) -> Kernel:
    """Return the first of the kernels that runs here; raise MissingRequirement where none does."""
    able = [kernel for kernel in fit if kernel.runs_here]
    if not able:
        raise _without_room(fit[0].release)
    return able[0]


def _without_room(release: str) -> MissingRequirement:
    what = f"kernel {release} does not run on a CPU with AMX; those from 6.13 on do"
    return MissingRequirement(what, _FOR_AMX)


def _at(path: Path) -> Kernel:
    """Return the kernel at a path: a program with modules beside it, or a folder with an unpacked package."""
    program = (path / IN_PACKAGE if os.path.isdir(path) else path).absolute()  # noqa: PTH112
    if not os.path.isfile(program):  # noqa: PTH113
        hint = "give the path of a program, or the folder of an unpacked package"
        raise UsageError(f"no kernel {str(program)!r}", hint)
    if not may_run(program):
        raise MissingRequirement(f"root does not run {program}, which others could change")
    found = beside(program, "path")
    if found is None:
        hint = f"install them: make ARCH=um INSTALL_MOD_PATH={program.parent} modules_install"
        raise UsageError(f"no modules beside the kernel {str(program)!r}", hint)
    if _printed(program) != found.release:
        what = f"{str(program)!r} is not the User-Mode Linux kernel {found.release}, which has modules there"
        raise UsageError(what, "see what it prints with --version")
    return found


def beside(program: Path, origin: Origin) -> Kernel | None:
    """Return the kernel `program`, if it may run and has modules beside it, as packed or as built."""
    for modules in (program.parent.parent / "lib" / "uml" / "modules", program.parent / "lib" / "modules"):
        if os.path.isfile(program) and may_run(program) and _names(modules):  # noqa: PTH113
            return _kernel(str(program), modules, origin)
    return None


def _kernel(program: str, modules: Path, origin: Origin) -> Kernel:
    names = _names(modules)
    release = names[0] if len(names) == 1 else _printed(Path(program))
    return Kernel(release, program, modules, origin)


def _printed(program: Path) -> str:
    return output_of([str(program), "--version"], bound_s=10.0).stdout.strip()


def _names(folder: Path) -> list[str]:
    """Return the names in a folder, none where it cannot be read."""
    try:
        return [path.name for path in folder.iterdir()]
    except OSError:
        return []


def numbers(release: str) -> list[int]:
    """Return the numbers in a release, to sort by."""
    return [int(number) for number in re.findall(r"\d+", release)]
