"""The options that describe a lab, and the lab that they describe."""

import re
import sys
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from ipvkit.cli.common import parent_called
from ipvkit.core.errors import UsageError, printable
from ipvkit.core.values import InterfaceAddress, Mode, address, interface_address, interface_name
from ipvkit.host.limits import concurrent_pings
from ipvkit.lab import MOST_PARALLEL, Lab, Prober, Setting, Setup, gallery
from ipvkit.lab.new import CHECKS, MOST_ENDPOINTS, new_lab
from ipvkit.verbs.lab_file import RealNetwork, load_lab, subnet_of

if TYPE_CHECKING:
    from ipvkit.host.twin import Twin
    from ipvkit.verbs.formats import Dialect

LAB_HELP = "A gallery lab, or the path of a lab file."
PARENT_HELP = "A network interface of this machine (target local)."
ENDPOINT_HELP = "With --parent: an endpoint's address. Repeatable."
COUNT_HELP = "Generate a lab with N endpoints."
SUBNET_HELP = "The subnet of a generated lab. Default: one that is large enough."
CHECKS_HELP = "The pings of a generated lab. Default: each endpoint the next, others the first."
GATEWAY_HELP = "With --parent: the gateway. Default: that of the parent's default route."
NEIGHBOUR_HELP = "With --parent: another host in the subnet."
SETUP_HELP = "How endpoints are created. Default: as the lab has it."
PARALLEL_HELP = "Concurrent pings. Default: the lab's, or what this machine can run."
PROBER_HELP = (
    "One ping for each check, or one fping for each source. Default: fping for many endpoints, if installed."
)

_LAB_FILE = re.compile(r"[\w.+-]+\.ya?ml")
"""The names of files that are completed: zsh evaluates what it is given."""


def gallery_labs(incomplete: str) -> list[str]:
    """Return the labs of the gallery that begin so."""
    return [name for name in gallery.names() if name.startswith(incomplete)]


def _labs(incomplete: str) -> list[str]:
    """Return the labs of the gallery, and the YAML files of this folder, that begin so."""
    files: list[str] = []
    with suppress(OSError):
        files = sorted(file.name for file in Path().iterdir() if _LAB_FILE.fullmatch(file.name))
    return [*gallery_labs(incomplete), *(name for name in files if name.startswith(incomplete))]


LabName = Annotated[
    str | None,
    Argument(metavar="LAB", help=LAB_HELP, autocompletion=_labs, show_default=gallery.WALKTHROUGH),
]
GivenLab = Annotated[str, Argument(metavar="LAB", help=LAB_HELP, autocompletion=_labs, show_default=False)]
Subnet = Annotated[str | None, Option(metavar="CIDR", help=SUBNET_HELP)]
Checks = Annotated[str | None, Option(metavar=CHECKS, help=CHECKS_HELP)]


FixAs = Annotated[
    str | None, Option(metavar="FORMAT", help="Print each fix as files of a tool, as `export` does.")
]


def dialect_called(name: str | None) -> "Dialect | None":
    """Return how fixes are written, by default as commands; raise UsageError for an unknown format."""
    if name is None:
        return None
    # Commands need none of the formats.
    from ipvkit.verbs.formats import Dialect

    return Dialect(name)


Live = Annotated[bool, Option("--live", help="The lab is this machine as it is, in place of LAB.")]


def live_twin(lab: str | None = None, *, left_out: bool = False) -> "Twin":
    """Return the twin of this machine; raise UsageError where a `lab` is given too.

    It is noted on stderr what was not looked into, and what the twin has `left_out`.
    """
    if lab is not None:
        raise UsageError(f"--live is this machine, so {lab!r} cannot be given too", "give one of the two")
    # A lab needs none of these.
    from ipvkit.cli.here import found_here
    from ipvkit.verbs.live import live

    found = found_here(None, verbose=False)
    twin = live(found)
    for note in twin.notes if left_out else found.gaps:
        print(f"note: {printable(note)}", file=sys.stderr)
    return twin


@dataclass(frozen=True, slots=True)
class LabOptions:
    """The options that describe a lab, and where it is built."""

    lab: LabName = None
    parent: Annotated[str | None, Option(metavar="DEV", help=PARENT_HELP)] = None
    endpoint: Annotated[list[str] | None, Option(metavar="NAME=ADDRESS/LEN", help=ENDPOINT_HELP)] = None
    gateway: Annotated[str | None, Option(metavar="ADDRESS", help=GATEWAY_HELP)] = None
    neighbour: Annotated[str | None, Option(metavar="ADDRESS", help=NEIGHBOUR_HELP)] = None
    endpoints: Annotated[int | None, Option(min=1, max=MOST_ENDPOINTS, metavar="N", help=COUNT_HELP)] = None
    mode: Annotated[Mode | None, Option(help="The mode of a generated lab. Default: l2.")] = None
    subnet: Subnet = None
    checks: Checks = None
    setup: Annotated[Setup | None, Option(help=SETUP_HELP)] = None
    parallel: Annotated[int | None, Option(min=1, max=MOST_PARALLEL, metavar="N", help=PARALLEL_HELP)] = None
    at_once: Annotated[int | None, Option(min=1, max=MOST_PARALLEL, hidden=True)] = None
    prober: Annotated[Prober | None, Option(help=PROBER_HELP)] = None

    def network(self) -> RealNetwork:
        """Return the real network; raise UsageError for an invalid name or address."""
        if self.parent is None and (self.endpoint or self.gateway or self.neighbour):
            raise UsageError("--endpoint, --gateway and --neighbour need --parent", "give --parent eth0")
        addresses: dict[str, InterfaceAddress] = {}
        for text in self.endpoint or ():
            name, equals, value = text.partition("=")
            if not equals:
                raise UsageError(f"{text!r} is not NAME=ADDRESS/LEN", "such as test1=192.168.104.211/24")
            name, own = interface_name(name), interface_address(value)
            if name in addresses:
                raise UsageError(f"--endpoint {name} is given twice", "an endpoint has one address here")
            addresses[name] = own
        parent = "" if self.parent is None else parent_called(self.parent)
        texts = (self.gateway, self.neighbour)
        gateway, neighbour = (None if text is None else address(text) for text in texts)
        return RealNetwork(parent, addresses, gateway, neighbour)

    def described(self) -> Lab:
        """Return the lab, named or generated, with the number of its concurrent pings; raise UsageError."""
        if self.endpoints is not None:
            found = self._generated(self.endpoints)
        elif (self.mode, self.subnet, self.checks) == (None, None, None):
            found = load_lab(self.lab or gallery.WALKTHROUGH)
        else:
            raise UsageError("--mode, --subnet and --checks need --endpoints", "give --endpoints N")
        at_once = self.parallel or self.at_once or found.parallel or concurrent_pings()
        return replace(found, setup=self.setup or found.setup, parallel=at_once)

    def _generated(self, count: int) -> Lab:
        if self.lab is not None:
            what = f"--endpoints generates a lab, so {self.lab!r} cannot be given too"
            raise UsageError(what, "give one of the two")
        setting, subnet = Setting(self.mode or "l2"), subnet_of(self.subnet)
        return new_lab(f"endpoints-{count}", setting, count, subnet=subnet, checks=self.checks)
