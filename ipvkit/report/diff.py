"""What differs between this machine and a lab, as text, and as one JSON document, ``ipvkit/diff/v1``."""

from collections.abc import Iterable

from ipvkit.core.errors import printable
from ipvkit.report.explanation import elsewhere
from ipvkit.report.plain import document
from ipvkit.verbs.diff import Difference


def render(found: Iterable[Difference]) -> str:
    """Return a comment for each difference, and below it its commands; those for other hosts are comments."""
    lines = []
    for one in found:
        lines += [f"# {printable(one.what)}", *map(str, one.commands)]
        lines += [f"# {each}" for each in one.elsewhere]
    return "".join(f"{line}\n" for line in lines)


def render_json(lab: str, found: Iterable[Difference], notes: Iterable[str]) -> str:
    """Return the document of the differences to the lab called `lab`; `notes` are what is not compared."""
    differences = [
        {
            "what": one.what,
            "commands": [str(command) for command in one.commands],
            "elsewhere": [elsewhere(each) for each in one.elsewhere],
        }
        for one in found
    ]
    return document("diff", lab=lab, differences=differences, notes=[*notes])
