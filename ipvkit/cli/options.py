"""The options that describe a lab, and the lab that they describe."""

from pathlib import Path
from typing import Annotated

import typer

from ipvkit import labs
from ipvkit.errors import UsageError
from ipvkit.lab import Lab, on_parent
from ipvkit.lab_file import MOST_CHARACTERS, load
from ipvkit.values import Address, InterfaceAddress, address, interface_address, interface_name

LabName = Annotated[
    str, typer.Argument(metavar="LAB", help="A lab of the gallery, or the path of a lab file.")
]
Parent = Annotated[
    str | None,
    typer.Option(metavar="DEV", help="A real network interface of this machine (target local)."),
]
Endpoints = Annotated[
    list[str] | None,
    typer.Option("--endpoint", metavar="NAME=ADDRESS/LEN", help="An endpoint's address. Repeatable."),
]
Gateway = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS", help="The gateway on a real network. Default: the parent's default route."
    ),
]
Neighbour = Annotated[
    str | None, typer.Option(metavar="ADDRESS", help="Another host in the subnet of a real network.")
]


class RealNetwork:
    """What the options say of a real network; raises UsageError for what is no name or address."""

    def __init__(
        self, parent: str | None, endpoints: list[str] | None, gateway: str | None, neighbour: str | None
    ) -> None:
        """Check the options; without `parent` there may be none of the others."""
        if parent is None and (endpoints or gateway or neighbour):
            raise UsageError("--endpoint, --gateway and --neighbour need --parent", "give --parent eth0")
        self.parent = interface_name(parent) if parent is not None else ""
        self.addresses: dict[str, InterfaceAddress] = {}
        for text in endpoints or ():
            name, value = _endpoint(text)
            if name in self.addresses:
                raise UsageError(f"--endpoint {name} is given twice", "an endpoint has one address here")
            self.addresses[name] = value
        self.gateway: Address | None = address(gateway) if gateway is not None else None
        self.neighbour: Address | None = address(neighbour) if neighbour is not None else None


def _endpoint(text: str) -> tuple[str, InterfaceAddress]:
    name, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"{text!r} is no endpoint", "write it as in test1=192.168.104.211/24")
    return interface_name(name), interface_address(value)


def load_lab(name: str) -> Lab:
    """Return the lab in the gallery called `name`, or in the file of that path."""
    if "/" not in name and not name.endswith((".yaml", ".yml")):
        return load(labs.text(name), f"{name}.yaml")
    try:
        with Path(name).open(encoding="utf-8") as file:
            # One more than there may be, which `load` refuses.
            text = file.read(MOST_CHARACTERS + 1)
    except (OSError, UnicodeDecodeError) as problem:
        what = getattr(problem, "strerror", None) or "not UTF-8 text"
        raise UsageError(f"the lab file {name!r} cannot be read: {what}") from None
    return load(text, name)


def previewed(lab: Lab, network: RealNetwork) -> Lab:
    """Return the lab as far as it is known without looking at the machine."""
    if not network.parent:
        return lab
    return on_parent(
        lab,
        network.parent,
        addresses=network.addresses,
        gateway=network.gateway or next(iter(lab.parents[0].gateway), None),
        neighbour=network.neighbour,
    )
