"""Parser of ``ip netns list`` and ``list-id``: ip-netns(8), ip/ipnetns.c."""

import re
from dataclasses import dataclass

from ipvkit.core.errors import UnparsableOutput
from ipvkit.tools.ip.plain import is_json, lines
from ipvkit.tools.ip.reading import Entry

TOOL = "ip netns"

# A name is that of a file in /run/netns; one that looks like JSON is none here.
_NAME = r"(?P<name>[^\s/\"{}\x00-\x1f\x7f]{1,255})"
_ID = r"(?P<id>[0-9]{1,10})"
_LISTED = re.compile(rf"{_NAME}(?: \(id: {_ID}\))?")
_LISTED_BY_ID = re.compile(rf"nsid {_ID} \(iproute2 netns name: {_NAME}\)")


@dataclass(frozen=True, slots=True)
class Netns:
    """A network namespace; `id` is its number in the namespace that was asked, None where it has none."""

    name: str
    id: int | None


def parse_netns(stdout: str) -> tuple[Netns, ...]:
    """Return the network namespaces that ``ip netns list`` printed, plain or as JSON.

    Raise UnparsableOutput for anything else; the last line counts without its newline, as in an output
    that was stripped.

    >>> parse_netns("test1 (id: 0)")
    (Netns(name='test1', id=0),)
    """
    if is_json(stdout):
        found = [(entry, "nsid" if "nsid" in entry.value else "id") for entry in Entry.all(TOOL, stdout)]
        return tuple(Netns(entry.text("name"), entry.number_or_none(key)) for entry, key in found)
    netns = []
    for line in lines(TOOL, stdout):
        text = line.text.strip()
        listed = _LISTED.fullmatch(text) or _LISTED_BY_ID.fullmatch(text)
        if listed is None:
            raise UnparsableOutput(TOOL, line.number, line.text)
        netns.append(Netns(listed["name"], None if listed["id"] is None else int(listed["id"])))
    return tuple(netns)
