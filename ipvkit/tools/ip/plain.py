"""Common parts of the plain forms of ``ip``: lines without colours, joined lines of ``-o``, words, forms."""

import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_interface, ip_network
from typing import Any, NamedTuple, TypeVar

from ipvkit.core.errors import UnparsableOutput
from ipvkit.core.values import Address

T = TypeVar("T")
FAMILIES = {"inet": IPv4Address, "inet6": IPv6Address}

# Many namespaces have the same addresses, and ip prints each address several times.
_KEPT = 4096
address = lru_cache(_KEPT)(ip_address)
network = lru_cache(_KEPT)(ip_network)
interface = lru_cache(_KEPT)(ip_interface)

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
# `-o` puts a backslash where a line ends otherwise; what follows begins with its indent (_SL_, utils.h).
JOINT = re.compile(r"\\(?=\t| {4})")
_CUT_JOINT = re.compile(r"\\[ \t]*\Z")
_WORD = re.compile(r"[^ \t]+")
_INSIDE = re.compile(r"(?<=[</]).*")
_NUMBER = re.compile(r"[0-9]+")
_ERROR = re.compile(
    r"RTNETLINK answers: |Error: |Usage: |Cannot (?:find device|open|send|create|remove|bind|talk) |"
    r'(?:Device|Object|Command|Option|Invalid netns name|exec of|setting the network namespace) "|'
    r"Invalid address length |(?:Dump|Flush|Save) terminated|Not enough information|No netns name|"
    r"Command line is not complete|Device and destination are required|mount --"
)


class NotUnderstood(Exception):
    """A line has a word that its reader does not know; the caller keeps the line."""


class Line(NamedTuple):
    """A line and its `number`, from 1; it is `ended` unless the output stops in it."""

    number: int
    text: str
    ended: bool


def is_json(stdout: str) -> bool:
    """Return whether this is what ``ip -json`` prints."""
    return stdout.lstrip(" \t\r\n").startswith("[")


_END = re.compile(r"[\s>)\]]\Z|\b(?:forever|[0-9]sec|REACHABLE|STALE|DELAY|PROBE|FAILED|NOARP|PERMANENT)\Z")


def is_complete(stdout: str) -> bool:
    """Return whether the last value that ``ip`` printed cannot have been longer: mostly, a newline ends it.

    >>> is_complete("2: eth0: <UP> mtu 15")
    False
    """
    return not stdout or _END.search(stdout, max(0, len(stdout) - 20)) is not None


def without_colours(text: str) -> str:
    """Return the text without what ``-color`` adds."""
    return _COLOUR.sub("", text)


def lines(tool: str, stdout: str) -> list[Line]:
    """Return the lines that are not blank, without colours; raise UnparsableOutput at an error of `ip`."""
    texts = without_colours(stdout).replace("\r\n", "\n").removesuffix("\r").split("\n")
    found = [Line(at, text, at < len(texts)) for at, text in enumerate(texts, 1) if text.strip(" \t\r")]
    for line in found:
        if _ERROR.match(line.text.lstrip(" \t")):
            raise UnparsableOutput(tool, line.number, line.text)
    return found


def unjoined(line: Line) -> list[Line]:
    """Return the lines that ``-o`` has joined to one."""
    *texts, last = JOINT.split(line.text if line.ended else _CUT_JOINT.sub("", line.text))
    return [*(Line(line.number, text, True) for text in texts), line._replace(text=last)]


class Words(deque[str]):
    """The words of a line that are left; NotUnderstood where none is, or it has another form."""

    def __init__(self, text: str) -> None:
        super().__init__(_WORD.findall(text))

    def peek(self) -> str:
        """Return the next word, which stays the next one; "" at the end."""
        return self[0] if self else ""

    def peek_last(self) -> str:
        """Return the last word, which stays; "" where there is none."""
        return self[-1] if self else ""

    def word(self) -> str:
        """Return the next word, whatever it is."""
        if not self:
            raise NotUnderstood
        return self.popleft()

    def match(self, pattern: str) -> re.Match[str]:
        """Return the next word, matched by `pattern`."""
        found = re.fullmatch(pattern, self.word())
        if found is None:
            raise NotUnderstood
        return found

    def valid(self, read: Callable[[str], object]) -> str:
        """Return the next word, of which `read` raises no ValueError."""
        word = self.word()
        try:
            read(word)
        except ValueError:
            raise NotUnderstood from None
        return word

    def number(self) -> int:
        """Return a whole number."""
        return number(self.word())

    def signed(self) -> int:
        """Return a whole number, which may be below zero."""
        return int(self.match("-?[0-9]{1,12}")[0])

    def decimal(self) -> float:
        """Return a number with its decimal point."""
        return float(self.match(r"[0-9]{1,12}\.[0-9]{1,9}")[0])

    def on_off(self) -> bool:
        """Return whether the next word, ``on`` or ``off``, is ``on``."""
        return self.match("on|off")[0] == "on"

    def listed(self) -> list[str]:
        """Return the items between angle brackets: ``<A,B>``."""
        return [item for item in self.match("<(.*)>")[1].split(",") if item]


def number(word: str, digits: int = 12) -> int:
    """Return the number that `word` is; raise NotUnderstood where it is none or longer than `digits`."""
    if len(word) > digits or not _NUMBER.fullmatch(word):
        raise NotUnderstood
    return int(word)


def ip(text: str, family: str | None = None) -> Address:
    """Return the address that `text` is; raise ValueError where it is none, or one of another family."""
    found = address(text)
    if "%" in text or (family is not None and not isinstance(found, FAMILIES[family])):
        raise ValueError(text)
    return found


Attribute = Callable[[Words, dict[str, Any]], None]
"""Takes the value of an attribute off the words, and puts it where `ip -json` has it."""

Form = dict[str, Attribute]
"""The attributes of a line, each by the word before its value.

A name that ends in ``<`` or ``/`` begins a word that has the value in it: the attribute takes that word.
"""


def keys(names: str) -> dict[str, str]:
    """Return the keys of `names` in `ip -json`; `names`: ``word`` where it is the same, ``word=key``."""
    pairs = [name.split("=") for name in names.split()]
    return {pair[0]: pair[-1] for pair in pairs}


def form(names: str, read: Callable[[Words], object]) -> Form:
    """Return a form of attributes that are all read alike; `names` as those of `keys`."""

    def attribute(key: str) -> Attribute:
        return lambda words, into: put(into, key, read(words))

    return {word: attribute(key) for word, key in keys(names).items()}


def flags(names: str, value: object = True) -> Form:
    """Return a form of words without a value, which stand for `value`; `names` as those of `keys`."""
    return form(names, lambda _: value)


def collected(key: str, names: Iterable[str]) -> Form:
    """Return a form of words without a value, which are put together in a list under `key`."""

    def attribute(name: str) -> Attribute:
        return lambda _, into: into.setdefault(key, []).append(name)

    return {name: attribute(name) for name in names}


def named(values: Mapping[str, T], other: Callable[[Words], T]) -> Callable[[Words], T]:
    """Return how a word is read that stands for one of `values`, or else is read by `other`."""
    return lambda words: values[words.word()] if words.peek() in values else other(words)


def take(words: Words, attributes: Form, into: dict[str, Any]) -> None:
    """Put all attributes `into` their places; raise NotUnderstood at the first unknown word."""
    take_known(words, attributes, into)
    if words:
        raise NotUnderstood


def take_known(words: Words, attributes: Form, into: dict[str, Any]) -> None:
    """Put the attributes `into` their places as far as their words are known."""
    while words:
        name = words.peek()
        if name in attributes:
            words.word()
        else:
            name = _INSIDE.sub("", name, 1)
        if name not in attributes:
            return
        attributes[name](words, into)


def put(into: dict[str, Any], key: str, value: object) -> None:
    """Set a value once; raise NotUnderstood where there is another one."""
    if into.setdefault(key, value) != value:
        raise NotUnderstood
