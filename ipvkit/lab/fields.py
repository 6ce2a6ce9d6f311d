"""The text of a lab file: its values with their lines, so that a mistake is reported where it is."""

import re
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches

import yaml

from ipvkit.core.command import T
from ipvkit.core.errors import InvalidLab, UsageError
from ipvkit.lab.parts import LAB_HINT

MOST_CHARACTERS, MOST_OF_ONE, MOST_NODES = 8_000_000, 1_000, 1_000_000
MOST_OF_A_PART, MOST_ENDPOINTS, MOST_MOMENTS = 100, 100_000, 500_000
"""Bounds of a lab file: characters, those of one text in it, keys and values once each alias is replaced by
what it stands for, parents and addresses of one of them, endpoints in all phases together, and endpoints
times the moments at which they are looked at again: phases, acts and tries.
Beyond them a plan would take minutes, and the memory of the machine."""

YES_NO = ("true", "false")
_NUMBER = re.compile(r"[1-9][0-9]{0,4}|0")


@dataclass(frozen=True, slots=True)
class Source:
    """A file that is read: its name in messages, and its text."""

    file: str
    text: str


def read(text: str, file: str, name: str = "lab", hint: str = LAB_HINT) -> "Field":
    """Return the root of the YAML `text` of `file`; raise InvalidLab where it is invalid or too large.

    Messages call what it describes `name`; the `hint` is for invalid YAML.
    """
    file = file_in_messages(Source(file, text))
    try:
        root = _composed(text)
        size = _size(root, {}) if root is not None else 0
    except (yaml.YAMLError, RecursionError, ValueError) as problem:
        mark = getattr(problem, "problem_mark", None)
        line = mark.line + 1 if mark else text.count("\n", 0, getattr(problem, "position", 0)) + 1
        what = getattr(problem, "problem", None) or getattr(problem, "reason", None)
        what = what or ("nested too deeply" if isinstance(problem, RecursionError) else "not readable")
        raise InvalidLab(f"{file}:{line}: invalid YAML: {what}", hint) from None
    if root is None:
        raise InvalidLab(f"{file}: the file is empty", "`ipvkit run-lab walkthrough` is a lab to begin with")
    if size > MOST_NODES:
        hint = "keep it shorter, with fewer aliases (*name) in what other aliases stand for"
        raise InvalidLab(f"{file}: the {name} has more than {MOST_NODES} keys and values", hint)
    return Field(root, file, name)


def file_in_messages(source: Source) -> str:
    """Return the name of a file in messages; raise InvalidLab where the file is too long."""
    file = source.file if source.file.isprintable() else repr(source.file)
    if len(source.text) > MOST_CHARACTERS:
        raise InvalidLab(f"{file}: the file has {len(source.text)} characters", f"{MOST_CHARACTERS} at most")
    return file


def _composed(text: str) -> yaml.Node | None:
    """Return the root of the YAML `text`, by libyaml if it is there: that takes a tenth of the time."""
    # What it refuses is read by PyYAML's own parser, so that the message is the same everywhere.
    if yaml.__with_libyaml__:
        with suppress(yaml.YAMLError, ValueError):
            return yaml.compose(text, Loader=yaml.CSafeLoader)
    return yaml.compose(text, Loader=yaml.SafeLoader)


def _size(node: yaml.Node, sizes: dict[yaml.Node, int]) -> int:
    """Return how many nodes `node` has in it, itself and those that aliases stand for included.

    `sizes` are those found so far. A node within itself has no end, and counts as too large.
    """
    if node not in sizes:
        sizes[node] = MOST_NODES + 1
        inside = [] if isinstance(node, yaml.ScalarNode) else node.value
        parts = (part for item in inside for part in (item if isinstance(item, tuple) else (item,)))
        sizes[node] = 1 + sum(_size(part, sizes) for part in parts)
    return sizes[node]


@dataclass(frozen=True, slots=True)
class Field:
    """A value of the file, with the name that messages give it."""

    node: yaml.Node
    file: str
    name: str

    @property
    def place(self) -> str:
        """Its file and line."""
        return f"{self.file}:{self.node.start_mark.line + 1}"

    def wrong(self, what: str, hint: str) -> InvalidLab:
        """Return the error that names the place of this value."""
        return InvalidLab(f"{self.place}: {self.name}: {what}", hint)

    def placed(self, problem: InvalidLab) -> InvalidLab:
        """Return `problem` with the file and line of its path, or of the innermost on it that this lab has.

        The only parent of the short form is found at its two keys.
        """
        node, path = self.node, problem.path
        if path[:1] == ("parents",) and any(key.value == "network" for key, _ in node.value):
            path = ("network", *path[2:]) if path[2:] else ("parent",)
        for step in path:
            if isinstance(node, yaml.SequenceNode) and isinstance(step, int):
                node = node.value[step]
            elif isinstance(node, yaml.MappingNode):
                node = next((value for key, value in node.value if key.value == step), node)
        message = f"{self.file}:{node.start_mark.line + 1}: {problem.message}"
        return InvalidLab(message, problem.hint, problem.path)

    @property
    def is_scalar(self) -> bool:
        """Whether it is a single value, and not nothing."""
        return isinstance(self.node, yaml.ScalarNode) and not self.node.tag.endswith(":null")

    def text(self) -> str:
        """Return the text of a single value."""
        if not self.is_scalar:
            raise self.wrong("a single value is needed", "write it as in `key: value`")
        text = str(self.node.value)
        if len(text) > MOST_OF_ONE:
            raise self.wrong(f"a text of {len(text)} characters", f"{MOST_OF_ONE} at most")
        if not text.isprintable():
            raise self.wrong(f"{text!r} is not one line of text", "write it on one line, without tabs")
        return text

    def items(self) -> list["Field"]:
        """Return the items of a list; a single value is a list of one."""
        if isinstance(self.node, yaml.SequenceNode):
            return [Field(n, self.file, f"{self.name}[{i}]") for i, n in enumerate(self.node.value)]
        if self.is_scalar:
            return [self]
        raise self.wrong("a list is needed", "write it as in [one, two], or one item a line after `- `")

    def few(self) -> list["Field"]:
        """Return the items of a list that is short in each lab."""
        items = self.items()
        if len(items) > MOST_OF_A_PART:
            raise self.wrong(f"{len(items)} are too many", f"{MOST_OF_A_PART} at most")
        return items

    def pairs(self, hint: str) -> dict[str, tuple["Field", "Field"]]:
        """Return the keys of a mapping, each with its value, by their text."""
        if not isinstance(self.node, yaml.MappingNode):
            raise self.wrong("`key: value` lines are needed", hint)
        found: dict[str, tuple[Field, Field]] = {}
        for key_node, value_node in self.node.value:
            key = Field(key_node, self.file, self.name)
            name = key.text()
            if name in found:
                raise key.wrong(f"`{name}` is there twice", "keep one of the two")
            found[name] = key, Field(value_node, self.file, name)
        return found

    def keys(self, allowed: Collection[str]) -> dict[str, "Field"]:
        """Return the values of a mapping by their keys, which are of `allowed`."""
        choice = f"choose from {', '.join(allowed)}"
        found = {}
        for name, (key, value) in self.pairs(choice).items():
            if name not in allowed:
                near = get_close_matches(name, allowed, 1, 0.5)
                raise key.wrong(f"unknown key `{name}`", f"did you mean `{near[0]}`?" if near else choice)
            found[name] = value
        return found

    def missing(self, key: str) -> InvalidLab:
        """Return the error for a mapping without `key`."""
        return self.wrong(f"`{key}` is missing", f"add `{key}: …`")

    def one_of(self, values: Sequence[str]) -> str:
        """Return the text, which is one of `values`."""
        text = self.text()
        if text not in values:
            raise self.wrong(f"unknown value {text!r}", f"choose from {', '.join(values)}")
        return text

    def number(self, what: str, least: int, most: int) -> int:
        """Return the whole number, from `least` to `most`; `what` it is called in messages."""
        text = self.text()
        if not _NUMBER.fullmatch(text) or not least <= int(text) <= most:
            raise self.wrong(f"invalid {what} {text!r}", f"choose from {least} to {most}")
        return int(text)

    def checked(self, check: Callable[[str], T]) -> T:
        """Return what `check` makes of the text; its UsageError is reported at this place."""
        text = self.text()
        try:
            return check(text)
        except UsageError as problem:
            raise self.wrong(problem.message, problem.hint) from None


def at_line(value: str, file: str, number: int, name: str) -> Field:
    """Return a value on a line of a file that is not YAML; the first line has the number 0."""
    mark = yaml.Mark(file, 0, number, 0, None, 0)
    return Field(yaml.ScalarNode("tag:yaml.org,2002:str", value, mark, mark), file, name)
