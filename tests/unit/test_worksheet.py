"""Worksheets: each check is a question once, and its answer is only at the end."""

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given

from cases import for_each
from ipvkit.cli import main
from ipvkit.lab import Lab, gallery
from ipvkit.lab.format import load
from ipvkit.plan.make import make_plan
from ipvkit.report.worksheet import Format, render
from strategies import labs


def worksheet(lab: Lab, form: Format = "md") -> str:
    return "".join(render(lab, form))


@pytest.mark.long
@for_each("name", gallery.names())
def test_no_reason_is_above_the_answers(name: str) -> None:
    lab = load(gallery.text(name), name)
    questions, _, answers = worksheet(lab).partition("# Answers")
    probes = [step.probe for step in make_plan(lab).steps if step.probe is not None]
    assert len(re.findall(r"^\| \d+ \|", questions, re.MULTILINE)) == len(probes)
    rows = re.findall(r"^\| (\d+) \| .* \| ([a-z ]+) \| ", answers, re.MULTILINE)
    assert [number for number, _ in rows] == [str(number) for number in range(1, len(probes) + 1)]
    assert [outcome for _, outcome in rows] == [" or ".join(probe.outcomes) for probe in probes]
    assert not any(word in questions for word in ("NOARP", "passes nothing", "unreachable", lab.about))


class Tags(HTMLParser):
    """What is opened and closed, and the text before and in the answers."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts = {False: "", True: ""}

    def handle_starttag(self, tag: str, _: object) -> None:
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.texts["details" in self.open] += data


@given(labs(most_endpoints=3, most_phases=2))
def test_the_page_is_whole_and_keeps_the_answers_folded(lab: Lab) -> None:
    tags = Tags()
    tags.feed(worksheet(lab, "html"))
    assert tags.open == []
    for step in make_plan(lab).steps:
        if step.probe is not None:
            assert step.purpose in tags.texts[False]
            assert step.purpose in tags.texts[True]
            assert step.probe.reason in tags.texts[True]


def test_it_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["labs", "worksheet", "l2"]) == 0
    assert capsys.readouterr().out.startswith("# Worksheet: l2\n")
    assert main(["labs", "worksheet", "l2", "--format", "html"]) == 0
    assert capsys.readouterr().out.startswith("<!doctype html>\n")
    assert main(["labs", "worksheet", "l2", "--format", "pdf"]) == 2
