"""apt-get(8) and dpkg-deb(1): a package of an archive, downloaded and unpacked without installing it.

apt works in a folder. Of this machine's apt it reads the settings, such as those of a proxy, but neither its
sources nor its state, and it changes nothing there.
"""

import re
from dataclasses import dataclass
from urllib.parse import unquote

from ipvkit.core.command import Command
from ipvkit.core.errors import UnparsableOutput

CONFIGURATION = "apt.conf"
SOURCES = "debian.sources"
FOLDERS = ("state/lists/partial", "cache/archives/partial")
"""What has to be in the folder."""


def sources(mirror: str, suite: str, keyring: str) -> str:
    """Return the sources of a `suite` that is signed by a key of `keyring` (sources.list(5))."""
    return f"""\
Types: deb
URIs: {mirror}
Suites: {suite}
Components: main
Targets: Packages
Signed-By: {keyring}
"""


def configuration(folder: str) -> str:
    """Return the configuration that has apt use `folder` and accept only what is signed (apt.conf(5))."""
    return f"""\
#clear APT::Update;
#clear DPkg;
#clear APT::Default-Release;
Dir::State "{folder}/state";
Dir::State::status "/dev/null";
Dir::Cache "{folder}/cache";
Dir::Etc::SourceList "{folder}/{SOURCES}";
Dir::Etc::SourceParts "/dev/null";
Dir::Etc::Preferences "/dev/null";
Dir::Etc::PreferencesParts "/dev/null";
Acquire::Languages "none";
Acquire::AllowInsecureRepositories "false";
Acquire::AllowWeakRepositories "false";
Acquire::AllowDowngradeToInsecureRepositories "false";
APT::Get::AllowUnauthenticated "false";
APT::Update::Error-Mode "any";
APT::Sandbox::User "root";
"""


def _apt(folder: str, *words: str) -> Command:
    return Command(("apt-get", "--config-file", f"{folder}/{CONFIGURATION}", *words))


def update(folder: str) -> Command:
    """Return the command that reads the lists of packages, and checks their signature."""
    return _apt(folder, "update")


def locate(folder: str, package: str) -> Command:
    """Return the command that prints where the newest `package` is, which `parse_location` reads."""
    return _apt(folder, "--print-uris", "download", package)


def download(folder: str, package: str) -> Command:
    """Return the command that downloads the newest `package` into the working folder, and checks its hash."""
    return _apt(folder, "--option", "APT::Status-Fd=1", "download", package)


def unpack(file: str, folder: str) -> Command:
    """Return the command that unpacks a package into `folder`; none of its scripts runs."""
    return Command(("dpkg-deb", "--extract", file, folder))


@dataclass(frozen=True, slots=True)
class Location:
    """Where a package is: its address, its file in the working folder once downloaded, its size and hash."""

    uri: str
    file: str
    size: int
    hash: str

    @property
    def version(self) -> str:
        """The version of the package."""
        return unquote(self.file.split("_")[1])


def parse_location(output: str) -> Location:
    """Return what `locate` printed; raise UnparsableOutput for another output."""
    found = re.search(r"^'(\S+)' (\w\S*_\S+_\w+\.deb) (\d+) (\w+:\w+)$", output, re.MULTILINE)
    if found is None:
        raise UnparsableOutput("apt-get", 1, output.strip())
    return Location(found[1], found[2], int(found[3]), found[4])


def parse_percent(line: str) -> float | None:
    """Return how much of a download is done, in percent; None for a line without that.

    >>> parse_percent("dlstatus:1:39.98:Retrieving file 1 of 1")
    39.98
    """
    found = re.match(r"dlstatus:\d+:([\d.]+):", line)
    return float(found[1]) if found else None
