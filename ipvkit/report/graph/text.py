"""Pictures for a terminal: a tree below each switch, boxes for the hosts, and a line for each edge."""

from collections.abc import Iterator
from textwrap import wrap

from ipvkit.report.graph.picture import Edge, Node, Picture, State

WIDTH = 100
"""How wide a picture is where nothing else is given, in characters."""

_NARROWEST, _NARROWEST_REASON = 40, 32
"""The least width of a picture, and of a column of reasons."""

_SHORT = 24
"""Up to so long an outcome has its reason beside it, in characters."""

_ASCII = str.maketrans({**dict.fromkeys("┌┐└┘├┤", "+"), "─": "-", "│": "|", "…": "..."})
_COLOURS: dict[State, str] = {"reachable": "32", "unreachable": "90", "differs": "1;31", "unknown": "33"}


def render(picture: Picture, *, colour: bool = False, width: int = WIDTH, ascii_: bool = False) -> str:
    """Return `picture` in lines of `width` characters at most; `ascii_` is for a terminal without box lines.

    A name that is longer than that stays whole.
    """
    width = max(width, _NARROWEST)
    tree = _Tree(picture)
    lines = [picture.title, "", *(line for root in tree.roots for line in [*tree.below(root, width), ""])]
    text = "\n".join([*lines, *_edges(picture, width, colour)]) + "\n"
    return text.translate(_ASCII) if ascii_ else text


class _Tree:
    """The nodes of a picture as a tree: each below what it is connected to, a host's in its box."""

    def __init__(self, picture: Picture) -> None:
        self._nodes = {node.id: node for node in picture.nodes}
        self._boxes = {box.id: box for box in picture.boxes}
        self._below: dict[str, list[tuple[Node, str]]] = {node: [] for node in self._nodes}
        for wire in picture.wires:
            self._below[wire.upper].append((self._nodes[wire.lower], wire.label))
        self._seen: set[str] = set()
        lower = {wire.lower for wire in picture.wires}
        self.roots = [node for node in picture.nodes if node.id not in lower]

    def below(self, root: Node, width: int) -> list[str]:
        """Return the lines of a tree; that of a dummy is in the box of its host."""
        return self._boxed(root, "", width, "│") if root.box else self._lines(root, "", width)

    def _lines(self, node: Node, label: str, width: int, across: int = 0) -> list[str]:
        """Return the lines of a tree; what a node is begins after `across` characters."""
        children = [] if node.id in self._seen else self._ordered(node)
        self._seen.add(node.id)
        lines = _wrapped(node, label, width, across, "│ " if children else "  ")
        beside = max((len(child.title) for child, _ in children if child.box == node.box), default=0)
        for number, (child, of_wire) in enumerate(children, 1):
            boxed, last = child.box != node.box, number == len(children)
            if boxed:
                inner = self._boxed(child, of_wire, width - 3)
                # It is connected at its second line.
                lines.append(f"│  {inner.pop(0)}")
            else:
                inner = self._lines(child, of_wire, width - 3, beside)
            lines.append(f"{'└' if last else '├'}{'──' if boxed else '─ '}{inner[0]}")
            lines += [f"{' ' if last else '│'}  {line}" for line in inner[1:]]
        return lines

    def _ordered(self, node: Node) -> list[tuple[Node, str]]:
        """Return the nodes below one, those that are in another box last."""
        return sorted(self._below[node.id], key=lambda child: child[0].box != node.box)

    def _boxed(self, node: Node, label: str, width: int, side: str = "┤") -> list[str]:
        """Return the lines of a tree in its box, which is connected at its left `side`."""
        title, inner = self._boxes[node.box].title, self._lines(node, label, width - 4)
        across = max(len(title) + 1, *map(len, inner))
        first = f"┌ {title} {'─' * (across - len(title))}┐"
        sides = [side, *"│" * (len(inner) - 1)]
        lines = (f"{left} {line:<{across}} │" for left, line in zip(sides, inner, strict=True))
        return [first, *lines, f"└{'─' * (across + 2)}┘"]


def _wrapped(node: Node, label: str, width: int, across: int, indent: str) -> list[str]:
    """Return what a node is called, and what it is; further lines are below that."""
    about = ", ".join(filter(None, (label, *node.lines)))
    if not about:
        return [node.title]
    return wrap(f"{node.title:<{across}}  {about}", width, subsequent_indent=indent)


def _edges(picture: Picture, width: int, colour: bool) -> Iterator[str]:
    """Yield what is known of each edge, with outcomes and reasons in columns where there is room."""
    if not picture.edges:
        yield "no checks"
        return
    yield "observed:" if picture.observed else "predicted:"
    of_pairs = max(len(_pair(edge)) for edge in picture.edges)
    short = [len(_words(edge)) for edge in picture.edges if len(_words(edge)) <= _SHORT]
    of_words = max(short, default=0)
    for edge in picture.edges:
        outcome = _outcome(edge, of_pairs, width, colour)
        indent = of_pairs + of_words + 6
        if len(_words(edge)) <= _SHORT and width - indent >= _NARROWEST_REASON:
            first, *rest = wrap(edge.reason, width - indent) or [""]
            outcome[-1] += " " * (of_words - len(_words(edge)) + 2) + first
        else:
            indent, rest = 6, wrap(edge.reason, width - 6)
        yield from (*outcome, *(" " * indent + line for line in rest))


def _pair(edge: Edge) -> str:
    return f"{edge.ends[0]} {'<->' if edge.both else '->'} {edge.ends[1]}"


def _words(edge: Edge) -> str:
    return ", ".join(filter(None, (edge.about, edge.outcome)))


def _outcome(edge: Edge, of_pairs: int, width: int, colour: bool) -> list[str]:
    """Return the pair and its outcome, which is below it where it does not fit beside it."""
    first = f"  {_pair(edge):<{of_pairs}}  "
    begin, end = (f"\x1b[{_COLOURS[edge.state]}m", "\x1b[0m") if colour else ("", "")
    if len(first) + len(_words(edge)) <= width:
        return [f"{first}{begin}{_words(edge)}{end}"]
    return [f"  {_pair(edge)}", *(f"    {begin}{line}{end}" for line in wrap(_words(edge), width - 4))]
