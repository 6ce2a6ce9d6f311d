"""What formats share: the documents of a file, and the lines for a parent that is a VLAN."""

import json
import re
from collections.abc import Iterable, Iterator, Sequence

from ipvkit.formats.deployment import Deployment
from ipvkit.lab.fields import Field, Source, read
from ipvkit.tools import ip

_BETWEEN = re.compile(r"^---(?:[ \t].*)?$", re.MULTILINE)


def documents(source: Source, what: str, hint: str) -> Iterator[Field]:
    """Yield the documents of a YAML or JSON file, which messages call `what`.

    Raise InvalidLab with file and line where it is invalid.
    """
    begin = 0
    for end in (*(match.end() for match in _BETWEEN.finditer(source.text)), len(source.text)):
        part = _BETWEEN.sub("", source.text[begin:end])
        if part.strip() or (begin, end) == (0, len(source.text)):
            yield read("\n" * source.text.count("\n", 0, begin) + part, source.file, what, hint)
        begin = end


def inside(field: Field, what: str, hint: str) -> Field:
    """Return the document that is the text of `field`, with the lines of the file that this is in."""
    node = field.node
    first = node.start_mark.line + (getattr(node, "style", None) in ("|", ">"))
    return read("\n" * first + str(node.value), field.file, what, hint)


def vlans(deployment: Deployment) -> tuple[list[str], list[str]]:
    """Return the lines that create the VLANs among the parents, and those that delete them."""
    add, delete = [], []
    for parent in (on.parent for on in deployment.parents):
        if parent.link is not None and parent.vlan is not None:
            add += [str(ip.link_add(parent.name, ip.Vlan(parent.link, parent.vlan)))]
            add += [str(ip.link_set(parent.name, up=True))]
            delete += [str(ip.link_delete(parent.name))]
    return add, delete[::-1]


def as_json(value: object) -> str:
    """Return `value` as the text of a JSON file."""
    return f"{json.dumps(value, indent=2)}\n"


Part = tuple[str, Sequence[tuple[str, object]]]
"""The name of a section, and its keys with their values."""


def as_ini(parts: Iterable[Part]) -> str:
    """Return the text of a file of sections, such as a unit."""
    texts = ("\n".join([f"[{name}]", *(f"{key}={value}" for key, value in keys)]) for name, keys in parts)
    return "\n\n".join(texts) + "\n"
