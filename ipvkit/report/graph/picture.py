"""What a picture of a phase has in it: boxes, nodes, wires, and an edge for each pair that is checked."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Kind = Literal["switch", "peer", "parent", "endpoint"]
State = Literal["reachable", "unreachable", "differs", "unknown"]

COLOURS: Mapping[State, str] = {
    "reachable": "#1a7f37",
    "unreachable": "#6e7781",
    "differs": "#cf222e",
    "unknown": "#9a6700",
}
"""The colours of edges, as SVG and Mermaid have them."""

PLAIN = ("reachable", "unreachable")
"""The outcomes that a picture shows by the colour alone."""


@dataclass(frozen=True, slots=True)
class Box:
    """What surrounds nodes: a host, or a namespace with several endpoints `inside` the box of its host."""

    id: str
    title: str
    inside: str = ""


@dataclass(frozen=True, slots=True)
class Node:
    """A node with its `title` and further `lines`, in a box or in none; `many` endpoints may be one."""

    id: str
    kind: Kind
    title: str
    lines: tuple[str, ...] = ()
    box: str = ""
    many: int = 1


@dataclass(frozen=True, slots=True)
class Wire:
    """A connection from a node to one below it: a switch, what is connected to it, and its endpoints."""

    upper: str
    lower: str
    label: str = ""


@dataclass(frozen=True, slots=True)
class Edge:
    """Pings from one node to another, or in `both` directions, which have the same outcome.

    `ends` are what the nodes are called as ends; a host is drawn at its parent. `kind` is what the pings are
    where that is not plain, `outcome` is in words, for the last `reason`, and `titles` are all checks of the
    `pairs` with their reasons.
    """

    source: str
    destination: str
    ends: tuple[str, str]
    state: State
    kind: str
    outcome: str
    reason: str
    titles: tuple[str, ...]
    both: bool = False
    pairs: int = 1

    @property
    def about(self) -> str:
        """What the pings are, and how many pairs they are of, where that is not plain."""
        count = f"{self.pairs} pairs" if self.pairs > 1 + self.both else ""
        return ", ".join(filter(None, (self.kind, count)))

    @property
    def label(self) -> str:
        """What a picture shows in words."""
        return ", ".join(filter(None, (self.about, "" if self.outcome in PLAIN else self.outcome)))


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture of a phase; `observed` is whether its edges show what a kernel did, too."""

    title: str
    observed: bool
    boxes: tuple[Box, ...]
    nodes: tuple[Node, ...]
    wires: tuple[Wire, ...]
    edges: tuple[Edge, ...]
