"""From times to Markdown tables, ratios and a plot. All here is pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
"""What is between the two in a page is replaced by what was measured."""


@dataclass(slots=True)
class Series:
    """What one contender took: seconds of each run by the size, or why a size has none."""

    name: str
    took: dict[int, list[float]] = field(default_factory=dict)
    missing: dict[int, str] = field(default_factory=dict)

    def middle(self, size: int) -> float | None:
        """Return the median in seconds; None where nothing was measured."""
        return median(self.took[size]) if self.took.get(size) else None


@dataclass(frozen=True, slots=True)
class Spread:
    """The least, the median and the greatest of some numbers."""

    least: float
    middle: float
    most: float

    def __str__(self) -> str:
        """Return the median, with the others beside it where they differ.

        >>> str(Spread(0.1, 0.125, 1.5))
        '0.12 (0.10 to 1.5)'
        """
        middle, least, most = (short(value) for value in (self.middle, self.least, self.most))
        return middle if least == most else f"{middle} ({least} to {most})"


def spread(values: Sequence[float]) -> Spread:
    """Return the least, the median and the greatest of `values`, of which there is at least one."""
    return Spread(min(values), median(values), max(values))


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Spread | None:
    """Return ours divided by theirs, round by round; None where one of them is empty.

    What has fewer rounds is compared by its last with all that follow.

    >>> ratio([1.0, 2.0, 4.0], [10.0])
    Spread(least=0.1, middle=0.2, most=0.4)
    """
    if not ours or not theirs:
        return None
    rounds = range(max(len(ours), len(theirs)))
    return spread([ours[min(n, len(ours) - 1)] / theirs[min(n, len(theirs) - 1)] for n in rounds])


def short(value: float) -> str:
    """Return a positive number with two or three digits that count.

    >>> [short(value) for value in (0.01234, 0.5, 9.96, 12.345, 1234.5)]
    ['0.012', '0.50', '10', '12', '1234']
    """
    if value <= 0:
        return "0"
    digits = max(0, 1 - math.floor(math.log10(float(f"{value:.1e}"))))
    return f"{value:.{digits}f}"


@dataclass(frozen=True, slots=True)
class Target:
    """What a ratio has to be at most, and what it was: `found` None where it was not measured."""

    what: str
    at_most: float
    found: Spread | None

    @property
    def verdict(self) -> str:
        """Whether the median is within the target."""
        if self.found is None:
            return "not measured"
        return "met" if self.found.middle <= self.at_most else "missed"


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; a pipe in a cell does not end it."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in lines)


def targets_table(targets: Sequence[Target]) -> str:
    """Return what was aimed at beside what was measured."""
    rows = [[t.what, f"{t.at_most:g}", "" if t.found is None else str(t.found), t.verdict] for t in targets]
    return markdown(["ratio", "at most", "measured: median (least to greatest)", ""], rows)


def cost_table(series: Sequence[Series], sizes: Sequence[int]) -> str:
    """Return the seconds of each series at each size, and how many times the first series' they are."""
    reasons = list(dict.fromkeys(reason for one in series for reason in one.missing.values()))

    def cell(one: Series, size: int) -> str:
        if size in one.missing:
            return f"not measured ({reasons.index(one.missing[size]) + 1})"
        took, first = one.took.get(size), series[0].took.get(size, [])
        times = ratio(took or [], first)
        if not took or times is None or one is series[0]:
            return str(spread(took)) if took else ""
        return f"{short(median(took))}, {times} times"

    rows = [[one.name, *(cell(one, size) for size in sizes)] for one in series]
    table = markdown(["seconds, times the first", *(f"{size:,}" for size in sizes)], rows)
    notes = [f"{number}. Not measured: {reason}" for number, reason in enumerate(reasons, 1)]
    return "\n\n".join([table, "\n".join(notes)]) if notes else table


def replaced(page: str, text: str) -> str:
    """Return `page` with `text` between its marks; raise ValueError where it has not both, once each."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in rest or END in after:
        raise ValueError(f"the page needs one {BEGIN} and after it one {END}")
    return f"{before}{BEGIN}\n{text.strip()}\n{END}{after}"


# --- the plot -------------------------------------------------------------------------------------------

_COLOURS = ("#0072b2", "#56b4e9", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#000000", "#8c6d31")
_WIDTH, _HEIGHT, _LEFT, _TOP, _RIGHT, _BOTTOM = 460, 340, 60, 40, 20, 46
_LEGEND = 22


def plot(panels: Mapping[str, Sequence[Series]]) -> str:
    """Return an SVG: milliseconds for each endpoint against how many there are, both logarithmic.

    There is a panel for each of `panels`, by its title, all with the same axes and colours.
    """
    points = [
        (size, 1000 * seconds / size)
        for series in panels.values()
        for one in series
        for size in one.took
        if (seconds := one.middle(size)) is not None
    ]
    if not points:
        raise ValueError("there is nothing to plot")
    names = list(dict.fromkeys(one.name for series in panels.values() for one in series if one.took))
    axes = _Axes(
        *(min(size for size, _ in points), max(size for size, _ in points)),
        *(_decade(min(cost for _, cost in points)), 10 * _decade(max(cost for _, cost in points))),
    )
    height = _HEIGHT + _LEGEND * math.ceil(len(names) / 4) + 10
    width = _WIDTH * len(panels)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"'
        f' width="{width}" height="{height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for number, (title, series) in enumerate(panels.items()):
        parts.append(f'<g transform="translate({number * _WIDTH} 0)">')
        parts += [
            *axes.drawn(title),
            *(_curve(one, axes, names.index(one.name)) for one in series if one.took),
        ]
        parts.append("</g>")
    for number, name in enumerate(names):
        x, y = _LEFT + (number % 4) * (width - _LEFT) // 4, _HEIGHT + _LEGEND * (number // 4) + 14
        parts.append(f'<path d="M{x} {y - 4}h20" stroke="{_colour(number)}" stroke-width="3"/>')
        parts.append(_text(x + 26, y, name))
    return "\n".join([*parts, "</svg>", ""])


@dataclass(frozen=True, slots=True)
class _Axes:
    fewest: float
    most: float
    lowest: float
    highest: float

    def at(self, size: float, cost: float) -> tuple[float, float]:
        """Return the pixels of a point in its panel."""
        across = _share(size, self.fewest, self.most)
        up = _share(cost, self.lowest, self.highest)
        x = _LEFT + across * (_WIDTH - _LEFT - _RIGHT)
        return round(x, 1), round(_HEIGHT - _BOTTOM - up * (_HEIGHT - _TOP - _BOTTOM), 1)

    def drawn(self, title: str) -> list[str]:
        """Return the frame, the lines at round numbers and the texts of a panel."""
        parts = [_text(_LEFT, 24, title, "font-weight='bold'")]
        bottom, top = self.at(self.fewest, self.lowest)[1], self.at(self.fewest, self.highest)[1]
        for size in (1, 3, 10, 30, 100, 300, 1000, 3000, 10000):
            if self.fewest <= size <= self.most:
                x = self.at(size, self.lowest)[0]
                parts.append(f'<path d="M{x} {top}V{bottom}" stroke="#ddd"/>')
                parts.append(_text(x, bottom + 16, f"{size:,}", "text-anchor='middle'"))
        cost = self.lowest
        while cost <= self.highest * 1.001:
            y = self.at(self.fewest, cost)[1]
            parts.append(f'<path d="M{_LEFT} {y}H{_WIDTH - _RIGHT}" stroke="#ddd"/>')
            parts.append(_text(_LEFT - 6, y + 4, f"{cost:g}", "text-anchor='end'"))
            cost *= 10
        middle = (_LEFT + _WIDTH - _RIGHT) // 2
        parts.append(_text(middle, bottom + 34, "endpoints", "text-anchor='middle'"))
        turned = f"text-anchor='middle' transform='rotate(-90 16 {(top + bottom) / 2})'"
        return [*parts, _text(16, (top + bottom) / 2, "ms for each endpoint", turned)]


def _share(value: float, low: float, high: float) -> float:
    return math.log(value / low) / math.log(high / low) if high > low else 0.5


def _decade(value: float) -> float:
    return 10.0 ** math.floor(math.log10(value))


def _curve(series: Series, axes: _Axes, number: int) -> str:
    middles = {size: series.middle(size) for size in sorted(series.took)}
    points = [axes.at(n, 1000 * seconds / n) for n, seconds in middles.items() if seconds is not None]
    path = "L".join(f"{x} {y}" for x, y in points)
    dots = "".join(f'<circle cx="{x}" cy="{y}" r="3" fill="{_colour(number)}"/>' for x, y in points)
    return f'<path d="M{path}" fill="none" stroke="{_colour(number)}" stroke-width="2"/>{dots}'


def _colour(number: int) -> str:
    return _COLOURS[number % len(_COLOURS)]


def _text(x: float, y: float, text: str, more: str = "") -> str:
    escaped = text.replace("&", "&amp;").replace("<", "&lt;")
    return f'<text x="{x}" y="{y}" {more}>{escaped}</text>'
