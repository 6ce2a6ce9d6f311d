"""Pictures as Mermaid, which GitHub, GitLab and many editors draw from a fenced block."""

import json
import re
from collections.abc import Iterator

from ipvkit.report.graph.picture import COLOURS, Node, Picture, State

_ARROWS: dict[State, tuple[str, str]] = {
    "reachable": ("-->", "<-->"),
    "unreachable": ("-.-x", "x-.-x"),
    "differs": ("==>", "<==>"),
    "unknown": ("-.->", "<-.->"),
}
"""How an edge is drawn by its state, in one direction and in both."""

_SPECIAL = re.compile(r"[^\w .,:/@()+…-]")


def render(picture: Picture) -> str:
    """Return `picture` as a flow chart, in which edges have no titles: Mermaid has none."""
    # The head is YAML, which has other escapes than the chart.
    title = json.dumps(picture.title, ensure_ascii=False)
    return "\n".join(["---", f"title: {title}", "---", "flowchart LR", *_lines(picture)]) + "\n"


def _lines(picture: Picture) -> Iterator[str]:
    yield from (f"  {line}" for line in _inside("", picture))
    yield from (f"  {wire.upper} ---{_label(wire.label)} {wire.lower}" for wire in picture.wires)
    for number, edge in enumerate(picture.edges, len(picture.wires)):
        yield f"  {edge.source} {_ARROWS[edge.state][edge.both]}{_label(edge.label)} {edge.destination}"
        yield f"  linkStyle {number} stroke:{COLOURS[edge.state]},stroke-width:2px"


def _inside(box: str, picture: Picture) -> Iterator[str]:
    """Yield the boxes and nodes that are in a box, or in none."""
    for inner in picture.boxes:
        if inner.inside == box:
            yield f"subgraph {inner.id}[{_quoted(inner.title)}]"
            yield from (f"  {line}" for line in _inside(inner.id, picture))
            yield "end"
    yield from (_node(node) for node in picture.nodes if node.box == box)


def _node(node: Node) -> str:
    text = "<br>".join(map(_text, (node.title, *node.lines)))
    return f'{node.id}(["{text}"])' if node.kind == "endpoint" else f'{node.id}["{text}"]'


def _label(text: str) -> str:
    return f"|{_quoted(text)}|" if text else ""


def _quoted(text: str) -> str:
    return f'"{_text(text)}"'


def _text(text: str) -> str:
    """Return `text` with entities for what Mermaid, Markdown or HTML would take for more than text."""
    return _SPECIAL.sub(lambda found: f"#{ord(found[0])};", text)
