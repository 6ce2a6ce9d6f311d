"""The matrix as a table, as Markdown, and as one JSON document, ``ipvkit/matrix/v1``."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby

from ipvkit.report.entries import Entry, Heat, Report, Section, Status, differing
from ipvkit.report.plain import chosen, document, grid, prediction_word
from ipvkit.verbs.matrix import APART, ENDPOINTS, Cell, Matrix

_ROLES = ("host", "e", "gateway", "neighbour", "far")
_COLUMNS = tuple(dict.fromkeys(pair for role in _ROLES for pair in ((role, "e"), ("e", role))))
"""The pairs of the table; `e` is an endpoint."""

_APART = (("h2", "e1"), ("e1", "h2"), ("e1", "e2"))
"""Those of the table of two hosts."""

_ROLE_OF = {**dict.fromkeys(ENDPOINTS, "e"), APART[0]: "e1", APART[1]: "e2"}
_SHORT = {"gateway": "gw", "neighbour": "nb"}
_COLOURS = {"yes": "30;42", "no": "37;41"}

LEGEND = """\
Who reaches whom with cold neighbour tables. e: an endpoint, e>e: its sibling; host: the parent's own
namespace; gw: the gateway; nb: another host of the subnet; far: a host behind the gateway. yes and no
hold for IPv4 and IPv6; 4 or 6: for that family only; -: not asked. An exclamation mark: the kernel did
not do what was predicted.
"""
LEGEND_APART = """\
Who reaches whom on two hosts, both with this mode, flag and strategy, with cold neighbour tables. e1, e2: an
endpoint of the first host, of the second; h2: the second host. yes and no hold for IPv4 and IPv6; 4 or 6: for
that family only; -: not asked. An exclamation mark: the kernel did not do what was predicted.
"""
OF_KERNELS = "Where kernels differ, those that differ from most follow in parentheses.\n"
"""What the legend has besides where there are several kernels."""


def render(matrix: Matrix, *, colour: bool = False) -> str:
    """Return the table, the cells that disagree with their reasons, and the verdict."""
    table = grid(_rows(matrix.cells, colour=colour), _headers(matrix.cells))
    return "\n".join([table, "", _legend(matrix), *_differences(matrix), verdict_line(matrix)]) + "\n"


def render_markdown(matrix: Matrix) -> str:
    """Return the table for a page of Markdown."""
    table = grid(_rows(matrix.cells, colour=False), _headers(matrix.cells), tablefmt="github")
    return "\n".join([_legend(matrix), table, "", *_differences(matrix), verdict_line(matrix)]) + "\n"


def _legend(matrix: Matrix) -> str:
    legend = LEGEND_APART if matrix.two_hosts else LEGEND
    return legend + (OF_KERNELS if len(matrix.kernels) > 1 else "")


def render_json(matrix: Matrix) -> str:
    """Return the document of a matrix."""
    fields = "mode flag family strategy source destination predicted observed agrees reason kernel"
    return document(
        "matrix",
        target=matrix.target,
        kernel=matrix.kernels[0] or None if len(matrix.kernels) == 1 else None,
        duration_s=round(matrix.duration_s, 3),
        cells=[chosen(cell, fields) for cell in matrix.cells],
    )


def report(matrix: Matrix) -> Report:
    """Return the report of a matrix: a section for each mode and kernel."""
    wrong = sum(cell.agrees is False for cell in matrix.cells)
    groups: dict[tuple[str, str], list[Cell]] = {}
    for cell in matrix.cells:
        groups.setdefault((cell.mode, cell.kernel or ""), []).append(cell)
    kernels = (("kernel", ", ".join(filter(None, matrix.kernels))),) if matrix.kernels else ()
    return Report(
        "matrix",
        "ipvlan",
        "predicted" if matrix.target is None else differing(wrong),
        verdict_line(matrix),
        (_map(matrix), *(_section(mode, kernel, cells) for (mode, kernel), cells in groups.items())),
        lambda: [render_json(matrix)],
        facts=(("target", matrix.target), *kernels) if matrix.target else (),
    )


def _map(matrix: Matrix) -> Section:
    """Return the section with who reaches whom, a map for each kernel."""
    heats = []
    for kernel in _kernels(matrix.cells):
        rows = _rows([cell for cell in matrix.cells if cell.kernel == kernel], colour=False)
        legend = " ".join((LEGEND_APART if matrix.two_hosts else LEGEND).split())
        heats.append(Heat(legend, _headers(matrix.cells), tuple(map(tuple, rows)), 3, kernel or ""))
    return Section("map", "who reaches whom", (), heats=tuple(heats))


def _section(mode: str, kernel: str, cells: Sequence[Cell]) -> Section:
    on = f" on kernel {kernel}" if kernel else ""
    return Section(f"{mode}{on}", f"mode {mode}{on}", tuple(map(_entry, cells)))


def _entry(cell: Cell) -> Entry:
    status: dict[bool | None, Status] = {True: "ok", False: "differs", None: "skipped"}
    return Entry(
        f"{cell.flag} {cell.strategy} {cell.family}: {cell.source} -> {cell.destination}",
        status[cell.agrees],
        prediction_word(cell.agrees),
        cell.predicted,
        cell.observed or "",
        reason=cell.reason,
    )


def verdict_line(matrix: Matrix) -> str:
    """Return the line with the number of cells that came out as predicted."""
    count = len(matrix.cells)
    if matrix.target is None:
        return f"{count} cells, predicted; nothing was run"
    agree = sum(cell.agrees is True for cell in matrix.cells)
    names = ", ".join(filter(None, matrix.kernels))
    where = f"{matrix.target}, kernel{'s' * (len(matrix.kernels) > 1)} {names}" if names else matrix.target
    return f"{agree} of {count} cells as predicted; {where}; {matrix.duration_s:.1f} s"


def _headers(cells: Sequence[Cell]) -> tuple[str, ...]:
    columns = (f"{_SHORT.get(a, a)}>{_SHORT.get(b, b)}" for a, b in _columns(cells))
    return "mode", "flag", "strategy", *columns


def _columns(cells: Sequence[Cell]) -> Sequence[tuple[str, str]]:
    return _APART if any(_column(cell) in _APART for cell in cells) else _COLUMNS


def _rows(cells: Sequence[Cell], *, colour: bool) -> Iterator[list[str]]:
    columns = _columns(cells)
    for (mode, flag, strategy), group in groupby(cells, key=lambda c: (c.mode, c.flag, c.strategy)):
        found = list(group)
        shown = (_shown([c for c in found if _column(c) == column]) for column in columns)
        yield [mode, flag, strategy, *(_coloured(word) if colour else word for word in shown)]


def _column(cell: Cell) -> tuple[str, str]:
    source, destination = (_ROLE_OF.get(role, role) for role in (cell.source, cell.destination))
    return source, destination


def _shown(cells: Sequence[Cell]) -> str:
    """Return what the cells of one pair came to, and on which kernels they came to another result."""
    if not cells:
        return "-"
    words = {kernel: _word([cell for cell in cells if cell.kernel == kernel]) for kernel in _kernels(cells)}
    usual = Counter(words.values()).most_common(1)[0][0]
    others = ", ".join(f"{kernel} {word}" for kernel, word in words.items() if word != usual)
    return f"{usual} ({others})" if others else usual


def _kernels(cells: Sequence[Cell]) -> list[str | None]:
    return list(dict.fromkeys(cell.kernel for cell in cells))


def _word(cells: Sequence[Cell]) -> str:
    """Return what the cells of one pair on one kernel came to: as observed, or as predicted."""
    mark = "!" if any(cell.agrees is False for cell in cells) else ""
    reached = {cell.family for cell in cells if (cell.observed or cell.predicted) == "reachable"}
    lost = {cell.family for cell in cells if (cell.observed or cell.predicted) != "reachable"}
    word = "no" if lost else "yes"
    if lost and reached:
        word = "".join(family.removeprefix("ipv") for family in sorted(reached - lost)) or "?"
    return f"{word}{mark}"


def _coloured(word: str) -> str:
    code = "1;30;43" if "!" in word else _COLOURS.get(word)
    return f"\x1b[{code}m{word:^4}\x1b[0m" if code else word


def _differences(matrix: Matrix) -> Iterator[str]:
    """Yield a line for each cell that came out otherwise than predicted, or nothing."""
    differ = [cell for cell in matrix.cells if cell.observed not in (None, cell.predicted)]
    for c in differ:
        where = f"{c.mode} {c.flag} {c.strategy} {c.family}: {c.source} -> {c.destination}"
        where += f" on kernel {c.kernel}" if len(matrix.kernels) > 1 else ""
        why = "the run was so slow that both are possible" if c.agrees else c.reason
        yield f"{where}: predicted {c.predicted}, observed {c.observed} ({why})"
    if differ:
        yield ""
