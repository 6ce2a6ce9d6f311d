"""A report as a page of HTML: one file, which asks for nothing outside of it."""

import re
from base64 import b64encode
from collections.abc import Iterable, Iterator
from hashlib import sha256
from importlib.resources import files

from ipvkit import __version__
from ipvkit.core.errors import IpvkitError, MissingRequirement
from ipvkit.report.entries import Report, Section, clipped, text_of

_STYLE = re.compile(r"<style>(.*?)</style>", re.DOTALL)
"""What a picture has for dark pages."""

_CLASSES = {"yes": "ok", "no": "skipped", "-": "", "": ""}
"""How a cell of a map is coloured by its word; others are reachable in part."""


def require_jinja() -> None:
    """Raise MissingRequirement where Jinja2, which writes the page, is not installed."""
    try:
        import jinja2  # noqa: F401
    except ImportError:
        raise MissingRequirement("a report as HTML needs Jinja2", "pip install 'ipvkit[report]'") from None


def render(report: Report) -> Iterator[str]:
    """Yield the page of `report`."""
    # What has only commands is read last.
    sections = sorted(report.sections, key=lambda section: not (section.entries or section.heats))
    pictures = [_drawn(section) for section in sections]
    return page(
        "page.html",
        styles=[style for svg, _ in pictures for style in _STYLE.findall(svg)],
        report=report,
        sections=sections,
        pictures=pictures,
        rows=sum(1 for _ in report.entries),
        version=__version__,
    )


def page(template: str, styles: Iterable[str] = (), **values: object) -> Iterator[str]:
    """Yield a page; its script, its style and the `styles` in it are all that a browser runs or applies."""
    # The other formats need none of it.
    from jinja2 import Environment, StrictUndefined

    text, style, script = (_file(name) for name in (template, "page.css", "page.js"))
    jinja = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    jinja.filters |= {"text": text_of, "class_of": _class_of, "clipped": _clipped}
    values |= {"policy": _policy({style, *styles}, script), "style": style, "script": script}
    yield from jinja.from_string(text).generate(**values)


def _file(name: str) -> str:
    return files("ipvkit.report").joinpath("page", name).read_text(encoding="utf-8")


def _drawn(section: Section) -> tuple[str, str]:
    """Return the picture of a section as SVG, and why it has none."""
    try:
        return (section.picture() if section.picture else ""), ""
    except IpvkitError as problem:
        return "", f"no picture: {problem.message}"


def _policy(styles: Iterable[str], script: str) -> str:
    """Return the Content-Security-Policy that allows the styles and the script, and no request."""
    own = f"style-src {' '.join(map(_hash, sorted(styles)))}; script-src {_hash(script)}"
    return f"default-src 'none'; {own}; base-uri 'none'; form-action 'none'"


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


def _class_of(word: str) -> str:
    return "differs" if "!" in word else _CLASSES.get(word, "some")


def _clipped(output: str) -> str:
    return "\n".join(clipped(output))
