"""Fetches a User-Mode Linux kernel of Debian's archive into the cache; nothing is installed."""

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from ipvkit.core.command import Command, Completed
from ipvkit.core.errors import CommandFailed, MissingRequirement, UsageError
from ipvkit.targets.kernels import IN_PACKAGE, SUITES, beside, cache
from ipvkit.targets.process import output_of
from ipvkit.targets.programs import PACKAGES, require
from ipvkit.tools import apt

MIRROR = "http://deb.debian.org/debian"
PACKAGE = PACKAGES["linux.uml"]
KEYRINGS = tuple(Path("/usr/share/keyrings", f"debian-archive-keyring.{end}") for end in ("pgp", "gpg"))

Show = Callable[[str, float | None], None]
"""What shows what is done now, and how much of it, in percent, if that is known."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A kernel in the cache: from where, which suite, and with which keys its archive was checked."""

    release: str
    folder: Path
    suite: str
    package: apt.Location
    keyring: Path


def suite_of(name: str) -> str:
    """Return the suite of Debian that has the kernel `name`, a series or itself a suite; raise UsageError."""
    if not (name in SUITES or re.fullmatch(r"[a-z]+(-[a-z]+)*", name)):
        hint = f"choose from {', '.join(SUITES)}, or a suite of Debian such as sid"
        raise UsageError(f"unknown kernel {name!r}", hint)
    return SUITES.get(name, name)


def fetch(name: str, mirror: str, show: Show, timeout_s: float) -> Fetched:
    """Fetch the kernel `name` from the archive at `mirror`; each command may take `timeout_s` seconds.

    Raise UsageError for an unknown one, MissingRequirement without apt, CommandFailed where that fails.
    """
    suite = suite_of(name)
    if not re.fullmatch(r"[a-z][a-z+]*:[!-~]+", mirror):
        raise UsageError(f"invalid mirror {mirror!r}", f"give a URI, such as {MIRROR}")
    require("apt-get", "dpkg-deb")
    keyring = next((path for path in KEYRINGS if path.exists()), None)
    if keyring is None:
        what = "the keys of Debian's archive are missing"
        raise MissingRequirement(what, "apt install debian-archive-keyring")
    if not cache().is_absolute():
        raise MissingRequirement("this user has no home folder", "set XDG_CACHE_HOME to a folder")
    try:
        cache().mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".fetch-", dir=cache()) as place:
            return _Fetch(Path(place), suite, show, timeout_s).run(name, mirror, keyring)
    except OSError as problem:
        what = f"{cache()} cannot be written: {problem.strerror}"
        raise MissingRequirement(what, "set XDG_CACHE_HOME to another folder") from None


@dataclass(frozen=True, slots=True)
class _Fetch:
    """A fetch of a kernel of a suite, in the folder `place`."""

    place: Path
    suite: str
    show: Show
    timeout_s: float

    def run(self, name: str, mirror: str, keyring: Path) -> Fetched:
        folder = str(self.place)
        (self.place / apt.CONFIGURATION).write_text(apt.configuration(folder))
        (self.place / apt.SOURCES).write_text(apt.sources(mirror, self.suite, str(keyring)))
        for needed in apt.FOLDERS:
            (self.place / needed).mkdir(parents=True)
        self._done(f"read the packages of Debian {self.suite}", apt.update(folder))
        package = apt.parse_location(self._done(f"look for {PACKAGE}", apt.locate(folder, PACKAGE)).stdout)
        if name in SUITES and not package.version.startswith(f"{name}um"):
            what = f"Debian {self.suite} has {PACKAGE} {package.version} now, not {name}"
            raise CommandFailed(what, f"ipvkit kernels fetch {self.suite} gets it")
        what = f"download {PACKAGE} {package.version}, {package.size / 1e6:.1f} MB"
        self._done(what, apt.download(folder, PACKAGE))
        unpacked = self.place / "unpacked"
        self._done("unpack it", apt.unpack(str(self.place / package.file), str(unpacked)))
        found = beside(unpacked / IN_PACKAGE, "fetched")
        if found is None:
            raise CommandFailed(f"{package.file} has no kernel that may run here")
        home = cache() / found.release
        with suppress(FileNotFoundError):
            home.rename(self.place / "former")
        unpacked.rename(home)
        return Fetched(found.release, home, self.suite, package, keyring)

    def _done(self, purpose: str, command: Command) -> Completed:
        """Return the result of `command`; raise CommandFailed where it fails."""
        self.show(purpose, None)

        def heard(line: str) -> None:
            if (percent := apt.parse_percent(line)) is not None:
                self.show(purpose, percent)

        try:
            done = output_of(command.argv, self.timeout_s, folder=str(self.place), heard=heard)
        except CommandFailed as problem:
            raise CommandFailed(problem.message, "raise --timeout", command=str(command)) from None
        if done.exit_code != 0:
            raise CommandFailed(f"could not {purpose}", command=str(command), stderr=done.stderr)
        return done
