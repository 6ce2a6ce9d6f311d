"""A worksheet for those who learn ipvlan: what a lab asks, and the answers apart."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Literal

from ipvkit.lab import Lab, Phase
from ipvkit.plan.make import make_plan
from ipvkit.plan.steps import Probe, Section
from ipvkit.report.graph import text
from ipvkit.report.graph.draw import picture
from ipvkit.report.markdown import escaped, fenced
from ipvkit.strategies.announce import ALLOW

Format = Literal["md", "html"]

_TASK = (
    "Predict each line before you run it: is the request answered, and why? A try is accepted or refused. "
    "The answers are at the end."
)


@dataclass(frozen=True, slots=True)
class Question:
    """A check or try with its number, what it pings, and its answer: the outcome and the reason."""

    number: int
    what: str
    address: str
    outcome: str
    reason: str


@dataclass(frozen=True, slots=True)
class Part:
    """A phase: its picture, and its questions, each after what is done before it."""

    title: str
    picture: str
    questions: tuple[tuple[tuple[str, ...], Question], ...]


def parts_of(lab: Lab) -> list[Part]:
    """Return the phases of `lab`; questions are numbered through all of them."""
    numbers = count(1)
    sections = make_plan(lab).sections
    return [_part(lab, each.phase, each, numbers) for each in sections if each.phase is not None]


def _part(lab: Lab, phase: Phase, section: Section, numbers: "count[int]") -> Part:
    questions: list[tuple[tuple[str, ...], Question]] = []
    before: list[str] = []
    for act in section.acts:
        for step in (step for stage in section.stages[act] for step in stage):
            if step.probe is not None:
                question = _question(step.purpose, step.probe, next(numbers))
                questions.append((tuple(dict.fromkeys(before)), question))
                before = []
            elif not (step.purpose.startswith("read ") or step.purpose == ALLOW.purpose):
                # What follows is the reason, which would be an answer.
                before.append(step.purpose.partition(": ")[0])
    drawn = text.render(picture(lab, phase, ())).partition("\n\n")[2]
    return Part(section.title, drawn.removesuffix("no checks\n").rstrip(), tuple(questions))


def _question(purpose: str, probe: Probe, number: int) -> Question:
    outcomes = " or ".join(probe.outcomes)
    return Question(number, purpose, str(probe.address or ""), outcomes, probe.reason)


def render(lab: Lab, form: Format) -> Iterator[str]:
    """Yield the worksheet of `lab`, the answers last."""
    return _html(lab) if form == "html" else _markdown(lab)


def _markdown(lab: Lab) -> Iterator[str]:
    # What the lab is about would be an answer.
    parts = parts_of(lab)
    yield f"# Worksheet: {escaped(lab.name)}\n\n{_TASK}\n"
    for part in parts:
        yield f"\n## {escaped(part.title)}\n\n{fenced(part.picture)}"
        yield "\n| | check | address | your prediction | your reason |\n| --- | --- | --- | --- | --- |\n"
        for before, question in part.questions:
            yield from (f"| | *{escaped(what)}* | | | |\n" for what in before)
            yield f"| {question.number} | {escaped(question.what)} | {escaped(question.address)} | | |\n"
    yield "\n# Answers\n\n| | check | answer | reason |\n| --- | --- | --- | --- |\n"
    for _, question in (each for part in parts for each in part.questions):
        answer = f"{escaped(question.what)} | {question.outcome} | {escaped(question.reason)}"
        yield f"| {question.number} | {answer} |\n"


def _html(lab: Lab) -> Iterator[str]:
    from ipvkit.report.html import page

    return page("worksheet.html", lab=lab, task=_TASK, parts=parts_of(lab))
