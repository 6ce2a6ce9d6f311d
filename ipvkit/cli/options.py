"""The options that describe a lab, and the lab that they describe."""

import os
from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path
from typing import Annotated

import typer

from ipvkit.core.errors import UsageError
from ipvkit.core.values import (
    Address,
    InterfaceAddress,
    Mode,
    address,
    interface_address,
    interface_name,
    route_destination,
)
from ipvkit.lab import AT_ONCE, MOST_AT_ONCE, Lab, Prober, Setting, Setup, gallery, on_parent
from ipvkit.lab.fields import MOST_CHARACTERS
from ipvkit.lab.format import load
from ipvkit.lab.new import CHECKS, MOST_ENDPOINTS, new_lab

_BYTES_A_PING = 16 << 20
"""How much of a machine's memory there is for each ping that goes on: it takes less."""

_MOST_NEIGHBOURS = 128
"""How many pings go on at once at most, where each makes two new neighbour entries: the kernel has room for
1,024 in all namespaces together (gc_thresh3 in net/ipv4/arp.c)."""

LabName = Annotated[
    str, typer.Argument(metavar="LAB", help="A lab of the gallery, or the path of a lab file.")
]
LabOrNew = Annotated[
    str | None,
    typer.Argument(
        metavar="LAB",
        help="A lab of the gallery, or the path of a lab file.",
        show_default=gallery.WALKTHROUGH,
    ),
]
Count = Annotated[
    int | None,
    typer.Option(
        "--endpoints", min=1, max=MOST_ENDPOINTS, metavar="N", help="A new lab with so many, in place of LAB."
    ),
]
NewMode = Annotated[Mode | None, typer.Option("--mode", help="With --endpoints: the mode. Default: l2.")]
Subnet = Annotated[
    str | None, typer.Option(metavar="CIDR", help="Of new endpoints. Default: one with room for all.")
]
Checks = Annotated[
    str | None,
    typer.Option(
        metavar=CHECKS, help="Who of new endpoints pings whom. Default: each the next, all the first."
    ),
]
SetupOption = Annotated[
    Setup | None, typer.Option("--setup", help="How endpoints are made, whatever the lab says.")
]
AtOnce = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=MOST_AT_ONCE,
        metavar="N",
        help="How many pings go on side by side. Default: the lab's, or as many as this machine takes.",
    ),
]
ProberOption = Annotated[
    Prober, typer.Option("--prober", help="What pings: a ping for each check, or an fping for each source.")
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
        return load(gallery.text(name), f"{name}.yaml")
    try:
        with Path(name).open(encoding="utf-8") as file:
            # One more than there may be, which `load` refuses.
            text = file.read(MOST_CHARACTERS + 1)
    except (OSError, UnicodeDecodeError) as problem:
        what = getattr(problem, "strerror", None) or "not UTF-8 text"
        raise UsageError(f"the lab file {name!r} cannot be read: {what}") from None
    return load(text, name)


def subnet_of(text: str | None) -> IPv4Network | None:
    """Return the IPv4 network that `text` writes; raise UsageError for any other."""
    if text is None:
        return None
    found = route_destination(text)
    if not isinstance(found, IPv4Network):
        raise UsageError(f"{text!r} is no IPv4 subnet", "write it as in 10.104.0.0/16; --ipv6 adds IPv6")
    return found


def load_or_new(
    lab: str | None,
    count: int | None,
    *,
    mode: Mode | None,
    subnet: str | None,
    checks: str | None,
    setup: Setup | None,
    at_once: int | None,
) -> Lab:
    """Return the lab called `lab`, or a new one with `count` endpoints; raise UsageError for some of both.

    It says how many pings go on at once: `at_once`, or what it says itself, or what this machine takes.
    """
    if count is None:
        if (mode, subnet, checks) != (None, None, None):
            raise UsageError("--mode, --subnet and --checks are for a new lab", "give --endpoints N")
        found = load_lab(lab or gallery.WALKTHROUGH)
    elif lab is not None:
        raise UsageError(f"--endpoints makes a new lab, and {lab!r} is there already", "give one of the two")
    else:
        setting = Setting(mode or "l2")
        found = new_lab(f"endpoints-{count}", setting, count, subnet=subnet_of(subnet), checks=checks)
    return replace(found, setup=setup or found.setup, at_once=at_once or found.at_once or _pings_at_once())


def _pings_at_once() -> int:
    """Return how many pings this machine takes at once: by its CPUs, its memory and its neighbour tables."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return max(1, min(AT_ONCE * (os.cpu_count() or 1), memory // _BYTES_A_PING, _MOST_NEIGHBOURS))


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
