"""Pictures in the language of graphviz, which draws SVG of it."""

from collections.abc import Iterator, Mapping
from html import escape

from ipvkit.report.graph.picture import COLOURS, Box, Edge, Node, Picture, State

_MOST_TITLES = 12
"""How many checks the title of an edge has."""

INK, _LINES, _PAPER, _NETNS = "#1f2328", "#57606a", "#ffffff", "#ddf4ff"
_STYLES: dict[State, tuple[str, str, str]] = {
    "reachable": ("solid", "1.8", "normal"),
    "unreachable": ("dashed", "1.8", "tee"),
    "differs": ("solid", "3.5", "normal"),
    "unknown": ("dotted", "1.8", "empty"),
}
"""How an edge is drawn, how wide, and its end, so that the colour is not all that shows its state."""

_LEGEND: dict[State, str] = {
    "reachable": "reachable",
    "unreachable": "unreachable",
    "differs": "differs from the prediction",
    "unknown": "not modelled, or not run",
}

_DEFAULTS = f"""\
  graph [rankdir=LR, bgcolor="transparent", fontname="sans-serif", fontsize=12, fontcolor="{INK}", \
nodesep=0.5, ranksep=1.1, labelloc=b]
  node [shape=box, style="rounded,filled", fontname="sans-serif", fontsize=12, fontcolor="{INK}", \
color="{_LINES}", fillcolor="{_PAPER}", margin="0.2,0.1"]
  edge [fontname="sans-serif", fontsize=10, fontcolor="{INK}", color="{_LINES}"]
"""


def render(picture: Picture) -> str:
    """Return `picture` as a directed graph, in which the results move no node."""
    title = _title(picture.title)
    lines = [f"label=<{_legend(picture)}>; tooltip={title};", *_inside("", picture)]
    lines += [*_wires(picture), *map(_edge, picture.edges)]
    return f"digraph lab {{\n{_DEFAULTS}" + "".join(f"  {line}\n" for line in lines) + "}\n"


def _legend(picture: Picture) -> str:
    """Return the title, whether it is predicted or observed, and what the colours of the edges mean."""
    states = [state for state in _LEGEND if any(edge.state == state for edge in picture.edges)]
    words = [f'<font color="{COLOURS[state]}">{_LEGEND[state]}</font>' for state in states]
    what = "observed" if picture.observed else "predicted"
    return f"<br/><b>{_text(picture.title)}</b><br/>{what + ': ' if words else 'no checks'}{', '.join(words)}"


def _inside(box: str, picture: Picture) -> Iterator[str]:
    """Yield the boxes and nodes that are in a box, or in none."""
    for inner in picture.boxes:
        if inner.inside == box:
            yield f"subgraph cluster_{inner.id} {{"
            yield from (f"  {line}" for line in [*_around(inner), *_inside(inner.id, picture)])
            yield "}"
    yield from (_node(node) for node in picture.nodes if node.box == box)


def _around(box: Box) -> Iterator[str]:
    yield f"label=<<b>{_text(box.title)}</b>>; tooltip={_title(box.title)};"
    yield f'class="box"; style="rounded"; color="{_LINES}"; labelloc=t; labeljust=l; margin=14;'


def _node(node: Node) -> str:
    lines = "".join(f'<br/><font point-size="11">{_text(line)}</font>' for line in node.lines)
    given = {"label": f"<<b>{_text(node.title)}</b>{lines}>", "tooltip": _title(node.title)}
    given |= {"class": _quoted(node.kind)}
    if node.kind == "endpoint":
        given["fillcolor"] = _quoted(_NETNS)
    if node.many > 1:
        given["peripheries"] = "2"
    return f"{node.id} [{_attributes(given)}]"


def _wires(picture: Picture) -> Iterator[str]:
    for wire in picture.wires:
        given = {"label": _broken(wire.label)} if wire.label else {}
        given |= {"dir": "none", "class": '"wire"', "penwidth": "1.5", "tooltip": '" "'}
        yield f"{wire.upper} -> {wire.lower} [{_attributes(given)}]"


def _edge(edge: Edge) -> str:
    style, width, head = _STYLES[edge.state]
    more = len(edge.titles) - _MOST_TITLES
    titles = [*edge.titles[:_MOST_TITLES], *([f"and {more} more"] if more > 0 else [])]
    title = _title("\n".join(titles))
    given = {"label": _broken(edge.label)} if edge.label else {}
    given |= {"tooltip": title, "labeltooltip": title, "class": _quoted(edge.state)}
    given |= {"color": _quoted(COLOURS[edge.state]), "style": style, "penwidth": width}
    given |= {"arrowhead": head, "constraint": "false"}
    given |= {"dir": "both", "arrowtail": head} if edge.both else {}
    return f"{edge.source} -> {edge.destination} [{_attributes(given)}]"


def _broken(label: str) -> str:
    return _quoted(label.replace(", ", ",\n"))


def _attributes(given: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in given.items())


def _title(text: str) -> str:
    """Return `text` as a string for a title, in which graphviz reads escapes twice."""
    return _quoted(text.replace("\\", "\\\\"))


def _quoted(text: str) -> str:
    r"""Return `text` as a string of DOT, in which `\n` is a new line.

    >>> print(_quoted('a "b" & c\\N'))
    "a &quot;b&quot; &amp; c\\N"
    """
    return '"' + _text(text).replace("\n", "\\n") + '"'


def _text(text: str) -> str:
    """Return `text` without what graphviz would take for more, in a string or in what looks like HTML."""
    return escape(text).replace("\\", "\\\\")
