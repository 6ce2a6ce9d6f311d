"""``ipvkit neigh``."""

from dataclasses import replace

from ipvkit.cli.common import IP_HELP, OnlyDev, group
from ipvkit.cli.single import Where, show
from ipvkit.report.ip import NEIGH
from ipvkit.tools import ip


def list_(dev: OnlyDev = None, *, where: Where) -> int:
    """List the neighbour entries of the kernel, with their states."""

    def parse(texts: list[str]) -> tuple[ip.Neighbour, ...]:
        # ip leaves out the device that it was given.
        return tuple(replace(each, dev=each.dev or dev) for each in ip.parse_neighbours(texts[0]))

    return show(where, {"list the neighbours": ip.neigh_show(dev)}, NEIGH, parse)


neigh = group("neigh", IP_HELP, {"list": list_})
