"""What differs between this machine and a lab, as comments and the commands that end it."""

from collections.abc import Iterable

from ipvkit.core.errors import printable
from ipvkit.verbs.diff import Difference


def render(found: Iterable[Difference]) -> str:
    """Return a comment for each difference, and below it its commands."""
    lines = []
    for one in found:
        lines += [f"# {printable(one.what)}", *map(str, one.commands)]
    return "".join(f"{line}\n" for line in lines)
