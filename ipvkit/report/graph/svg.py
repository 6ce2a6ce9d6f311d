"""Pictures as SVG, drawn by graphviz."""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from html import escape

from ipvkit.core.errors import CommandFailed, MissingRequirement
from ipvkit.report.graph import dot
from ipvkit.report.graph.picture import COLOURS, Picture, State
from ipvkit.targets.programs import environment, require

_HINT = "pip install 'ipvkit[graph]'; --format mermaid, dot and text need nothing"

_ON_DARK: Mapping[State, str] = {
    "reachable": "#3fb950",
    "unreachable": "#9198a1",
    "differs": "#f85149",
    "unknown": "#d29922",
}

_STYLE = (
    f"""\
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
    + "}\n"
)
"""What changes on a dark page: the content of the only element `style`."""

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
        with _environment_of_commands():
            drawn = graphviz.Source(dot.render(picture)).pipe("svg", encoding="utf-8")
    except graphviz.CalledProcessError as problem:
        raise CommandFailed(
            "dot did not draw the picture", command="dot -Tsvg", stderr=problem.stderr
        ) from None
    # A page takes no declaration of XML, which comes before the element.
    opening, _, rest = drawn[drawn.index("<svg") + len("<svg") :].partition(">\n")
    label = escape(picture.title)
    return (
        f'<svg role="img" aria-label="{label}"{opening}>\n<style>\n{_STYLE}</style>\n{_NAMES.sub("", rest)}'
    )


@contextmanager
def _environment_of_commands() -> Iterator[None]:
    """Let the package find and start dot as ipvkit does other programs: it has no parameter for that."""
    own, given = dict(os.environ), environment()
    os.environ.clear()
    os.environ.update(given)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(own)
