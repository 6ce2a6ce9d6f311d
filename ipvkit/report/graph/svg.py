"""Pictures as SVG, drawn by graphviz."""

import re
from collections.abc import Mapping
from html import escape

from ipvkit.core.errors import CommandFailed, MissingRequirement
from ipvkit.report.graph import dot
from ipvkit.report.graph.picture import COLOURS, Picture, State
from ipvkit.targets.programs import require

_HINT = "pip install 'ipvkit[graph]'; --format mermaid, dot and text need nothing"

_ON_DARK: Mapping[State, str] = {
    "reachable": "#3fb950",
    "unreachable": "#9198a1",
    "differs": "#f85149",
    "unknown": "#d29922",
}

_STYLE = (
    f"""\
<style>
@media (prefers-color-scheme: dark) {{
  text[fill="{dot.INK}"] {{ fill: #e6edf3 }}
  .box path, .wire path, .node path {{ stroke: #8b949e }}
  .node path {{ fill: #0d1117 }}
  .endpoint path {{ fill: #0c2d4a }}
"""
    + "".join(
        f"  .{state} path, .{state} polygon, .{state} polyline {{ stroke: {colour} }}\n"
        f'  .{state} polygon, text[fill="{COLOURS[state]}"] {{ fill: {colour} }}\n'
        for state, colour in _ON_DARK.items()
    )
    + "}\n</style>\n"
)
"""What changes on a dark page."""

_NAMES = re.compile(r'<title>.*?</title>\n|<!-- .*? -->\n| id="[^"]*"')
"""What graphviz calls the nodes and edges: on one page there may be several pictures."""


def require_graphviz() -> None:
    """Raise MissingRequirement where graphviz, or the Python package that calls it, is not installed."""
    try:
        import graphviz  # noqa: F401
    except ImportError:
        raise MissingRequirement("svg and html need the Python package graphviz", _HINT) from None
    require("dot")


def render(picture: Picture) -> str:
    """Return `picture` as an SVG element; raise MissingRequirement without graphviz."""
    require_graphviz()
    import graphviz

    try:
        drawn = graphviz.Source(dot.render(picture)).pipe("svg", encoding="utf-8")
    except graphviz.CalledProcessError as problem:
        raise CommandFailed(
            "dot did not draw the picture", command="dot -Tsvg", stderr=problem.stderr
        ) from None
    # A page takes no declaration of XML, which comes before the element.
    opening, _, rest = drawn[drawn.index("<svg") + len("<svg") :].partition(">\n")
    label = escape(picture.title)
    return f'<svg role="img" aria-label="{label}"{opening}>\n{_STYLE}{_NAMES.sub("", rest)}'
