"""Previews and scripts show the plan's commands and nothing else; frames carry what was printed."""

import subprocess
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import Phase, given, settings

from ipvkit.export import exported, preview
from ipvkit.lab import Act, Attempt, Lab, Outcome, SetMtu, gallery, on_parent
from ipvkit.lab.format import load
from ipvkit.plan.make import make_plan
from ipvkit.plan.steps import Plan
from strategies import labs, labs_on_a_parent

NONCE = "0123456789abcdef"


def walkthrough() -> Plan:
    return make_plan(load(gallery.text(gallery.WALKTHROUGH), "walkthrough.yaml"))


def one_by_one(typed: Sequence[str]) -> list[str]:
    """Return the commands with the lines of a batch as commands of their own."""
    lines, inside = [], False
    for line in typed:
        if line in ("ip -force -batch - <<'END'", "END"):
            inside = line != "END"
        else:
            lines.append(f"ip {line}" if inside else line)
    return lines


# --- previews ----------------------------------------------------------------------------------------


@given(labs() | labs_on_a_parent())
def test_a_preview_is_the_commands_of_the_plan_in_order_among_comments(lab: Lab) -> None:
    plan = make_plan(lab)
    typed = [line for line in preview(plan).splitlines() if line and not line.startswith("#")]
    undos = [str(s.undo.completed(s.undo.typical)) for s in plan.undos if s.undo is not None]
    meant = [line for step in plan.steps for line in str(step.command).splitlines()]
    assert typed[: len(meant)] == meant
    assert one_by_one(typed[len(meant) :]) == undos


@given(labs())
def test_a_preview_tells_the_purpose_of_each_command_just_before_it(lab: Lab) -> None:
    plan = make_plan(lab)
    lines = preview(plan).splitlines()
    for step in plan.steps:
        assert (f"# {step.purpose}", str(step.command).splitlines()[0]) in pairwise(lines)


@given(labs_on_a_parent())
def test_a_preview_tells_what_is_skipped_and_why(lab: Lab) -> None:
    plan = make_plan(lab)
    shown = preview(plan)
    for section in plan.sections:
        for probe in section.skipped:
            assert f"{probe.check}: {probe.skipped}" in shown


# --- scripts -----------------------------------------------------------------------------------------


def complaints(text: str, *words: str) -> str:
    """Return what a program says that reads `text` on its stdin."""
    done = subprocess.run(words, input=text, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr + ("" if done.returncode == 0 else f"exit code {done.returncode}")


@settings(max_examples=settings().max_examples // 4)
@given(labs() | labs_on_a_parent())
def test_bash_reads_every_script_and_every_payload(lab: Lab) -> None:
    plan = make_plan(lab)
    assert complaints(exported(plan), "bash", "-n") == ""


# Shrinking would take minutes, shellcheck is slow.
@settings(max_examples=max(2, settings().max_examples // 15), phases=[Phase.explicit, Phase.generate])
@given(labs(most_endpoints=2, most_phases=2) | labs_on_a_parent(most_endpoints=2, most_phases=2))
def test_shellcheck_has_nothing_to_say_of_a_script(lab: Lab) -> None:
    assert complaints(exported(make_plan(lab)), "shellcheck", "-") == ""


@pytest.mark.parametrize("parent", [None, "eth0"])
def test_shellcheck_has_nothing_to_say_of_words_that_a_shell_would_read(parent: str | None) -> None:
    lab = load(gallery.text(gallery.WALKTHROUGH), "walkthrough.yaml")
    phase = lab.phases[0]
    words = ("it's $(x) `y`", '"$z"', "~ * # !!", "%s \\n")
    checks = tuple(
        replace(check, expect=Outcome.UNREACHABLE, why=why, size=1472)
        for check, why in zip(phase.acts[0].checks, words, strict=False)
    )
    tries = tuple(Attempt(SetMtu("test1", 1400), Outcome.REFUSED, why) for why in words)
    acts = (Act(checks=checks), Act(attempts=tries))
    lab = replace(lab, about="it's $(x) `y` # z", phases=(replace(phase, acts=acts),))
    placed = lab if parent is None else on_parent(lab, parent)
    assert complaints(exported(make_plan(placed)), "shellcheck", "-") == ""


@given(labs() | labs_on_a_parent())
def test_a_script_has_each_command_as_it_is_typed(lab: Lab) -> None:
    plan = make_plan(lab)
    text = exported(plan)
    at = 0
    for step in plan.steps:
        at = text.index(f"\nstep {step.id} {step.command}\n", at)
        for part in [step]:
            if part.undo is not None:
                at = text.index(f"\nwith undo {part.undo.command}\n", at)
    undos = [part for part in plan.steps if part.undo is not None]
    assert text.count("\nwith undo ") == len(undos)
