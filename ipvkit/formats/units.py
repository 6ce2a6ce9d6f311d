"""The text of unit files, of systemd, Podman and NetworkManager: sections of keys, with their lines.

Source: systemd.syntax(7), and podman-systemd.unit(5).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ipvkit.core.errors import InvalidLab
from ipvkit.lab.fields import Field, Source, at_line, file_in_messages

_COMMENTS = ("#", ";")


@dataclass(frozen=True, slots=True)
class Section:
    """A section: its name, its file and line, and its keys in their order, of which some repeat."""

    name: str
    place: str
    keys: tuple[Field, ...]


def sections(source: Source, between: str = " ") -> list[Section]:
    r"""Return the sections of a file, each as often as it is there.

    A line that ends with a backslash goes on with the next one, and `between` is what stands for the
    backslash. Raise InvalidLab with file and line for a line that is neither a section nor a key of one.

    >>> section, = sections(Source("lan.network", "[Network]\nSubnet=10.0.0.0/24\nSubnet=fd00::/64\n"))
    >>> [(key.place, key.name, key.text()) for key in section.keys]
    [('lan.network:2', 'Subnet', '10.0.0.0/24'), ('lan.network:3', 'Subnet', 'fd00::/64')]
    """
    file = file_in_messages(source)
    found: list[tuple[str, str, list[Field]]] = []
    for number, line in lines(source.text, between):
        key, equals, value = map(str.strip, line.partition("="))
        place = f"{file}:{number + 1}"
        if line[0] == "[" and line[-1] == "]":
            found.append((line[1:-1], place, []))
        elif not equals or not key:
            raise InvalidLab(f"{place}: neither `[Section]` nor `Key=value`", "write one of these on a line")
        elif not found:
            raise InvalidLab(f"{place}: a key before any section", "begin the file with `[Section]`")
        else:
            found[-1][2].append(at_line(value, file, number, key))
    return [Section(name, place, tuple(keys)) for name, place, keys in found]


def every(among: Iterable[Section], key: str) -> list[Field]:
    """Return the values of `key` in these sections; an empty one deletes those before it."""
    found: list[Field] = []
    for field in (field for section in among for field in section.keys if field.name == key):
        if field.node.value:
            found.append(field)
        else:
            found.clear()
    return found


def last(among: Iterable[Section], key: str) -> Field | None:
    """Return the value of a `key` that counts once: the last one, unless that is empty."""
    return next(reversed(every(among, key)), None)


def lines(text: str, between: str) -> Iterator[tuple[int, str]]:
    """Yield each line that has more than a comment, whole and stripped, with the number of its first."""
    parts: list[str] = []
    first = 0
    for number, line in enumerate(map(str.strip, text.split("\n"))):
        if line.startswith(_COMMENTS):
            continue
        if not parts:
            first = number
        continued = (len(line) - len(line.rstrip("\\"))) % 2 == 1
        parts.append(line[:-1] if continued else line)
        if not continued:
            yield from _whole(first, parts, between)
            parts = []
    yield from _whole(first, parts, between)


def _whole(number: int, parts: Iterable[str], between: str) -> Iterator[tuple[int, str]]:
    whole = between.join(parts).strip()
    if whole:
        yield number, whole
