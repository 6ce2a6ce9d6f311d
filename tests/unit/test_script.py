"""Previews and scripts show the plan's commands and nothing else; frames carry what was printed."""

import subprocess
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from ipvkit.export import Frame, exported, payload, preview, read_frames
from ipvkit.lab import Act, Attempt, Lab, Outcome, SetMtu, gallery, on_parent
from ipvkit.lab.format import load
from ipvkit.plan.make import make_plan
from ipvkit.plan.steps import Plan
from ipvkit.run.leftovers import together, views_of
from strategies import labs, labs_on_a_parent

NONCE = "0123456789abcdef"


def walkthrough() -> Plan:
    return make_plan(load(gallery.text(gallery.WALKTHROUGH), "walkthrough.yaml"))


def whole_payload(plan: Plan) -> str:
    return payload(plan, together(views_of(plan)), NONCE, "/run")


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
    assert complaints(whole_payload(plan), "bash", "-n") == ""


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
        for part in step.single:
            if part.undo is not None:
                at = text.index(f"\nwith undo {part.undo.command}\n", at)
    undos = [part for part in plan.parts if part.undo is not None]
    assert text.count("\nwith undo ") == len(undos)


@given(labs() | labs_on_a_parent())
def test_the_script_and_the_payload_have_one_body(lab: Lab) -> None:
    plan = make_plan(lab)

    def body(text: str) -> list[str]:
        lines = text.splitlines()
        start = next(at for at, line in enumerate(lines) if line.startswith("# --- phase "))
        only_a_person_sees = ("with check ", "with try ", "with makes ", "with bound ", "tell ", "look ")
        return [line for line in lines[start:] if line and not line.startswith(only_a_person_sees)]

    assert body(exported(plan)) == body(whole_payload(plan))


# --- frames ------------------------------------------------------------------------------------------

WORD = st.from_regex(r"[a-z0-9.]{1,12}", fullmatch=True)
TIMES = st.integers(10**15, 2 * 10**15).map(lambda number: number / 1_000_000)
OUTPUT = st.text(st.characters(codec="utf-8", exclude_characters="\0")) | st.sampled_from(
    [
        f"{NONCE} done 0\n",
        f"{NONCE} end step x 1.0 0 0 0\n\n",
        "fedcba9876543210 done 0\n",
        "\n",
        "\r\n",
        "no line end",
        '{"json": [1]}\n' * 20,
    ]
)
FRAMES = st.one_of(
    st.builds(Frame, st.just("begin"), st.sampled_from(["step", "undo", "before", "after"]), WORD, TIMES),
    st.builds(
        Frame,
        st.just("end"),
        st.sampled_from(["step", "undo", "before", "after"]),
        WORD,
        TIMES,
        st.integers(-64, 128),
        OUTPUT,
        OUTPUT,
    ),
    st.builds(lambda release: Frame("hello", stdout=release), WORD),
    st.builds(lambda code: Frame("done", exit_code=code, stdout=str(code)), st.integers(0, 255)),
)
NOISE = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_categories=["C", "Zl", "Zp"]), min_size=1),
    st.sampled_from(
        [
            "fedcba9876543210 done 0",
            "fedcba9876543210 end step l2.1 1700000000.5 0 0 0",
            f"{NONCE}",
            f"{NONCE} done",
            f" {NONCE} done 0",
            f"x{NONCE} done 0",
            f"{NONCE} end step l2.1 1700000000.5 0 0",
            f"{NONCE} end step l2.1 1700000000.5 0 -1 0",
            f"{NONCE} begin step l2.1",
            f"{NONCE} done 0 and more",
        ]
    ),
).map(lambda line: Frame("noise", stdout=line))


def written(frame: Frame) -> bytes:
    """Return `frame` as the payload's bash writes it."""
    head = f"{NONCE} {frame.event}"
    match frame.event:
        case "noise":
            return f"{frame.stdout}\n".encode()
        case "begin":
            return f"{head} {frame.kind} {frame.id} {frame.time_s:.6f}\n".encode()
        case "end":
            out, err = frame.stdout.encode(), frame.stderr.encode()
            code = frame.exit_code if frame.exit_code >= 0 else 128 - frame.exit_code
            sizes = f"{frame.time_s:.6f} {code} {len(out)} {len(err)}"
            return f"{head} {frame.kind} {frame.id} {sizes}\n".encode() + out + err + b"\n"
        case _:
            return f"{head} {frame.stdout}\n".encode()


def cut(stream: bytes, places: Sequence[int]) -> list[bytes]:
    at = sorted({place % (len(stream) + 1) for place in places})
    return [stream[a:b] for a, b in zip([0, *at], [*at, len(stream)], strict=True)]


@settings(max_examples=2 * settings().max_examples)
@given(st.lists(FRAMES | NOISE), st.lists(st.integers(0, 10**6), max_size=20))
def test_frames_in_any_chunks_are_read_as_they_were_written(frames: list[Frame], places: list[int]) -> None:
    stream = b"".join(written(frame) for frame in frames)
    assert list(read_frames(cut(stream, places), NONCE)) == frames


@given(st.lists(FRAMES | NOISE, min_size=1))
def test_each_frame_is_there_as_soon_as_its_last_byte(frames: list[Frame]) -> None:
    found = read_frames((written(frame) for frame in frames), NONCE)
    assert [next(found) for _ in frames] == frames


@given(st.lists(FRAMES | NOISE), st.data())
def test_a_stream_that_ends_early_gives_its_whole_frames_and_keeps_the_rest(
    frames: list[Frame], data: st.DataObject
) -> None:
    last = data.draw(FRAMES)
    whole = written(last)
    part = whole[: data.draw(st.integers(0, len(whole) - 1))]
    found = list(read_frames([b"".join(map(written, frames)), part], NONCE))
    assert found[: len(frames)] == frames
    assert all(frame.event == "noise" for frame in found[len(frames) :])
    assert bool(found[len(frames) :]) == bool(part)


@given(st.binary())
def test_what_is_no_frame_is_kept_whatever_bytes_it_has(stream: bytes) -> None:
    found = list(read_frames([stream], NONCE))
    assert {frame.event for frame in found} <= {"noise"}
    lines = [line for line in stream.split(b"\n") if line]
    assert [frame.stdout for frame in found] == [line.decode(errors="replace") for line in lines]


@given(st.lists(FRAMES))
def test_the_frames_of_another_run_are_noise(frames: list[Frame]) -> None:
    stream = b"".join(written(frame) for frame in frames if frame.event != "end")
    assert {frame.event for frame in read_frames([stream], "another")} <= {"noise"}


@pytest.mark.parametrize("signal", [1, 2, 9, 15])
def test_a_death_by_signal_is_a_negative_exit_code(signal: int) -> None:
    line = f"{NONCE} end step l2.1 1700000000.5 {128 + signal} 0 0\n\n"
    (frame,) = read_frames([line.encode()], NONCE)
    assert frame.exit_code == -signal
