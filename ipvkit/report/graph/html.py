"""Pictures as a page of HTML: one file, with the SVG in it, and below it the same as text."""

from html import escape

from ipvkit.report.graph import svg, text
from ipvkit.report.graph.picture import Picture

_PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
body {{ font-family: sans-serif; margin: 1rem }}
svg {{ max-width: 100%; height: auto }}
pre {{ overflow-x: auto }}
</style>
<h1>{title}</h1>
{svg}<pre>
{text}</pre>
</html>
"""


def render(picture: Picture) -> str:
    """Return a page with `picture`; raise MissingRequirement without graphviz."""
    title, drawn, as_text = escape(picture.title), svg.render(picture), escape(text.render(picture))
    return _PAGE.format(title=title, svg=drawn, text=as_text)
