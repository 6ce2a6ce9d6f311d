"""The changes that scripts/mutate draws from: operators, constants and conditions, and dropped statements.

mutmut 3 tries a change with the tests that call its function, in forks of one process; it changes nothing
that runs when a module is imported, such as tables, and programs that a test starts run the unchanged code.
cosmic-ray runs all tests for each change. Here a change is made in the file, and tried with the tests that
came to its line.

Not changed is what no test should see: docstrings, annotations, type aliases, decorators, and text with a
space in it, which only a message has; nor text within an f-string, of which Python 3.11 does not know the
place. A statement that gives a variable its first value is not dropped: any test would end with a NameError.
"""

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

ROOMS = ("predict", "plan", "host", "run")

_PAIRS = {
    **{"==": "!=", "<": "<=", ">": ">=", "is": "is not", "in": "not in", "and": "or"},
    **{"+": "-", "*": "/", "|": "&", "<<": ">>"},
}
_OTHER = {**_PAIRS, **{new: old for old, new in _PAIRS.items()}, "//": "*", "%": "*"}
"""What stands in place of an operator."""

_OPERATOR = re.compile(r"\bis\s+not\b|\bnot\s+in\b|\b(?:is|in|and|or)\b|[=!<>]=|//|<<|>>|[-+*/%|&<>]")

_NO_NUMBER = (ast.JoinedStr, ast.List, ast.ListComp, ast.Tuple)
"""Operands that can only be added: with any other operator each test would end with a TypeError."""


@dataclass(frozen=True, slots=True)
class Change:
    """The new `text` of the characters of a file from `start` to `end`.

    `old` and `new` are the whole lines of them, with single spaces, and `within` is what they are in.
    """

    file: str
    within: str
    old: str
    new: str
    start: int
    end: int
    text: str

    @property
    def key(self) -> tuple[str, ...]:
        """What it is known by as long as its lines are there, wherever these are in the file."""
        return self.file, self.within, self.old, self.new

    def __str__(self) -> str:
        within = f" {self.within}:" if self.within else ""
        return f"{self.file}:{within} {self.old}  ->  {self.new}"


def changed_at(file: str, text: str, start: int, end: int, new: str, within: str = "") -> Change:
    """Return the change of the characters of `text` from `start` to `end`."""
    first, last = text.rfind("\n", 0, start) + 1, text.find("\n", end)
    lines = text[first:last], text[first:start] + new + text[end:last]
    before, after = (" ".join(each.split()) for each in lines)
    return Change(file, within, before, after, start, end, new)


def drawn(root: Path, seed: int) -> list[Change]:
    """Return all changes of the rooms, in an order that `seed` decides; new code moves no others in it."""
    files = [file for room in ROOMS for file in sorted((root / "ipvkit" / room).rglob("*.py"))]
    found = (changes(str(file.relative_to(root)), file.read_text(encoding="utf-8")) for file in files)
    every = [change for each in found for change in each]
    return sorted(every, key=lambda one: sha256("\0".join((str(seed), *one.key)).encode()).digest())


def changes(file: str, text: str) -> Iterator[Change]:
    """Yield the changes of a file; of those with one key only the first."""
    found: dict[tuple[str, ...], Change] = {}
    for within, start, end, new in _Places(text).found:
        change = changed_at(file, text, start, end, new, within)
        found.setdefault(change.key, change)
    yield from found.values()


class _Places(ast.NodeVisitor):
    """Collects what can be changed: what it is in, its first character and that after it, and a new text."""

    def __init__(self, text: str) -> None:
        self.found: list[tuple[str, int, int, str]] = []
        self._text, self._lines = text, text.splitlines(keepends=True)
        self._within: list[str] = []
        # The variables of the function that have a value, and the last statements of functions.
        self._bound: set[str] = set()
        self._last: set[ast.stmt] = set()
        self._in_text = False
        self.visit(ast.parse(text))

    def visit(self, node: ast.AST) -> None:
        """Collect what can be changed in a node, and in those below it."""
        match node:
            case ast.Raise() | ast.Delete() | ast.Continue() | ast.Break() | ast.AugAssign():
                self._drop(node)
            case ast.Return() if node not in self._last:
                self._drop(node)
            case ast.Expr(value) if not isinstance(value, ast.Constant):
                self._drop(node)
            case ast.If(test) | ast.IfExp(test) | ast.While(test) | ast.match_case(guard=ast.expr() as test):
                self._condition(test)
            case ast.comprehension(ifs=tests):
                for test in tests:
                    self._condition(test)
            case ast.BoolOp(op, values):
                self._operators(*values)
                for value in values:
                    self._replace(value, str(isinstance(op, ast.And)))
            case ast.Compare(left, _, others):
                self._operators(left, *others)
            case ast.UnaryOp(ast.Not() | ast.USub() as op) if self._is_there(node):
                start, _ = self._ends(node)
                self._add(start, start + (3 if isinstance(op, ast.Not) else 1), "")
            case ast.Constant(value):
                self._constant(node, value)
        match node:
            case ast.BinOp(left, _, right) | ast.AugAssign(left, _, right):
                if not isinstance(left, _NO_NUMBER) and not isinstance(right, _NO_NUMBER):
                    self._operators(left, right)
        super().visit(node)

    # --- what is below a node, if that is not all of it ----------------------------------------------------

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        own = node.args
        self._last.add(node.body[-1])
        arguments = {each.arg for each in (*own.posonlyargs, *own.args, *own.kwonlyargs)}
        self._visit_in(node, [*filter(None, (*own.defaults, *own.kw_defaults)), *node.body], arguments)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._visit_in(node, node.body, set())

    def _visit_in(
        self, node: ast.FunctionDef | ast.ClassDef, parts: Sequence[ast.AST], bound: set[str]
    ) -> None:
        former, self._bound = self._bound, bound
        self._within.append(node.name)
        for part in parts:
            self.visit(part)
        self._within.pop()
        self._bound = former

    def visit_Assign(self, node: ast.Assign) -> None:
        named = [target.id for target in node.targets if isinstance(target, ast.Name)]
        # The names of tables are in capitals, those of types are not.
        if self._within or not named or named[0].isupper():
            self._assign(node, node.targets)
            self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self._assign(node, [node.target])
            self.visit(node.value)

    def visit_Expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):
            self.visit(node.value)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        if not (isinstance(node.value, ast.Name) and node.value.id == "Literal"):
            self.generic_visit(node)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        former, self._in_text = self._in_text, True
        for part in node.values:
            if isinstance(part, ast.FormattedValue):
                self.visit(part.value)
        self._in_text = former

    # --- changes -------------------------------------------------------------------------------------------

    def _assign(self, node: ast.stmt, targets: Sequence[ast.expr]) -> None:
        names = {each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name)}
        if names <= self._bound or not any(isinstance(target, ast.Name | ast.Tuple) for target in targets):
            self._drop(node)
        self._bound |= names

    def _drop(self, node: ast.stmt) -> None:
        if self._within:
            self._add(*self._ends(node), "pass")

    def _condition(self, test: ast.expr) -> None:
        # A value that is named there is needed.
        if not any(isinstance(node, ast.NamedExpr) for node in ast.walk(test)):
            self._replace(test, "True")
            self._replace(test, "False")
        if not isinstance(test, ast.Compare | ast.UnaryOp):
            start, end = self._ends(test)
            self._replace(test, f"not ({self._text[start:end]})")

    def _operators(self, *operands: ast.expr) -> None:
        """Add another operator between each two operands."""
        for left, right in pairwise(operands):
            if self._is_there(left) and self._is_there(right):
                found = _OPERATOR.search(self._text, self._ends(left)[1], self._ends(right)[0])
                if found is not None:
                    self._add(*found.span(), _OTHER[" ".join(found[0].split())])

    def _constant(self, node: ast.expr, value: object) -> None:
        match value:
            case bool():
                self._replace(node, str(not value))
            case int() | float():
                self._replace(node, str(value + 1))
            case str() if " " not in value:
                self._replace(node, repr(f"XX{value}"))

    def _replace(self, node: ast.expr, new: str) -> None:
        if self._is_there(node):
            self._add(*self._ends(node), new)

    def _add(self, start: int, end: int, new: str) -> None:
        self.found.append((".".join(self._within), start, end, new))

    # --- places --------------------------------------------------------------------------------------------

    def _ends(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        """Return the first character of a node and that after it; the columns of ast are bytes."""
        places = ((node.lineno, node.col_offset), (node.end_lineno or 0, node.end_col_offset or 0))
        start, end = (
            sum(map(len, self._lines[: line - 1])) + len(self._lines[line - 1].encode()[:column].decode())
            for line, column in places
        )
        return start, end

    def _is_there(self, node: ast.expr) -> bool:
        """Return whether the place of an expression is right: that of one in an f-string may be wrong."""
        if not self._in_text:
            return True
        try:
            start, end = self._ends(node)
            found = ast.parse(f"({self._text[start:end]})", mode="eval").body
        except (SyntaxError, UnicodeDecodeError):
            return False
        return ast.dump(found) == ast.dump(node)
