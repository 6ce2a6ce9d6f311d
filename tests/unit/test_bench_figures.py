"""What scripts/bench/run makes of the times that it measured."""

import doctest
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comparison import figures
from comparison.figures import (
    BEGIN,
    END,
    Series,
    Spread,
    Target,
    cost_table,
    plot,
    ratio,
    replaced,
    short,
    targets_table,
)

SVG = "{http://www.w3.org/2000/svg}"
seconds = st.floats(0.001, 1000)
some_seconds = st.lists(seconds, min_size=1, max_size=4)
names = st.text("abc <&>\"'é", min_size=1, max_size=9)
sizes = st.integers(1, 10_000)


@st.composite
def all_series(draw: st.DrawFn) -> list[Series]:
    measured = st.dictionaries(sizes, some_seconds, min_size=1, max_size=3)
    took = draw(st.dictionaries(names, measured, min_size=1, max_size=9))
    return [Series(name, measured) for name, measured in took.items()]


@given(some_seconds, some_seconds)
def test_a_ratio_is_between_its_extremes(ours: list[float], theirs: list[float]) -> None:
    found = ratio(ours, theirs)
    assert found is not None
    assert min(ours) / max(theirs) <= found.least <= found.middle <= found.most <= max(ours) / min(theirs)


@given(some_seconds, st.floats(0.1, 10))
def test_a_machine_that_is_slow_in_a_round_changes_no_ratio(theirs: list[float], factor: float) -> None:
    found = ratio([factor * seconds for seconds in theirs], theirs)
    assert found is not None
    assert [found.least, found.most] == pytest.approx([factor, factor])


def test_there_is_no_ratio_of_what_was_not_measured() -> None:
    assert ratio([1.0], []) is None
    assert ratio([], [1.0]) is None


@given(seconds)
def test_a_short_number_is_right_to_two_digits(value: float) -> None:
    assert float(short(value)) == pytest.approx(value, rel=0.051)
    assert len(short(value).replace(".", "").lstrip("0")) >= 2


def test_what_was_measured_once_is_told_once() -> None:
    assert str(Spread(0.5, 0.5, 0.5)) == "0.50"


def test_examples_are_right() -> None:
    assert doctest.testmod(figures).failed == 0


def test_targets_are_met_by_the_median() -> None:
    table = targets_table(
        [
            Target("a / b", 0.2, Spread(0.1, 0.2, 0.3)),
            Target("a / c", 0.2, Spread(0.1, 0.21, 0.3)),
            Target("a / d", 1.15, None),
        ]
    )
    assert table.splitlines()[2:] == [
        "| a / b | 0.2 | 0.20 (0.10 to 0.30) | met |",
        "| a / c | 0.2 | 0.21 (0.10 to 0.30) | missed |",
        "| a / d | 1.15 |  | not measured |",
    ]


def test_costs_stand_beside_those_of_the_first() -> None:
    ours = Series("ours", {10: [1.0, 2.0], 1000: [5.0]})
    theirs = Series("theirs", {10: [4.0]}, {1000: "it would take long"})
    absent = Series("absent", {}, {10: "no | there", 1000: "no | there"})
    assert cost_table([ours, theirs, absent], [10, 1000]).splitlines() == [
        "| seconds, times the first | 10 | 1,000 |",
        "| --- | --- | --- |",
        "| ours | 1.5 (1.0 to 2.0) | 5.0 |",
        "| theirs | 4.0, 3.0 (2.0 to 4.0) times | not measured (1) |",
        "| absent | not measured (2) | not measured (2) |",
        "",
        "1. Not measured: it would take long",
        "2. Not measured: no | there",
    ]


@given(st.lists(all_series(), min_size=1, max_size=2))
def test_a_plot_shows_each_measured_point_inside_of_its_panel(panels: list[list[Series]]) -> None:
    drawn = ElementTree.fromstring(plot({f"panel <{n}>": series for n, series in enumerate(panels)}))  # noqa: S314
    groups = drawn.findall(f"{SVG}g")
    assert len(groups) == len(panels)
    for group, series in zip(groups, panels, strict=True):
        dots = group.findall(f"{SVG}circle")
        assert len(dots) == sum(len(one.took) for one in series)
        width = int(drawn.attrib["width"]) / len(panels)
        assert all(0 < float(dot.attrib["cx"]) < width for dot in dots)
        assert all(0 < float(dot.attrib["cy"]) < int(drawn.attrib["height"]) for dot in dots)
    shown = {text.text for text in drawn.findall(f"{SVG}text")}
    assert shown == {one.name for series in panels for one in series}


def test_there_is_no_plot_of_nothing() -> None:
    with pytest.raises(ValueError, match="nothing to plot"):
        plot({"nothing": [Series("absent", {}, {10: "it is not there"})]})


@given(st.text(), st.text(), st.text(), st.text())
def test_only_what_is_between_the_marks_is_replaced(before: str, old: str, new: str, after: str) -> None:
    page = replaced(f"{before}{BEGIN}{old}{END}{after}", new)
    assert page == f"{before}{BEGIN}\n{new.strip()}\n{END}{after}"
    assert replaced(page, new) == page


@pytest.mark.parametrize(
    "marks", [(), (BEGIN,), (END,), (END, BEGIN), (BEGIN, END, END), (BEGIN, BEGIN, END)]
)
def test_a_page_without_its_marks_is_refused(marks: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="the page needs one"):
        replaced("".join(marks), "text")
