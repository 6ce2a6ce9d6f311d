"""Previews and scripts show the plan's commands and nothing else; a script judges as the report does."""

import re
import shlex
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from ipaddress import IPv4Address
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from cases import for_each
from ipvkit.core.command import Command, Completed
from ipvkit.core.errors import InvalidLab
from ipvkit.export.preview import preview
from ipvkit.export.script import NO_ROUTE, exported
from ipvkit.lab import LOST_AFTER, Act, Attempt, Check, Lab, Outcome, SetMtu, gallery, on_parent
from ipvkit.lab.format import load
from ipvkit.plan.make import make_plan
from ipvkit.plan.steps import Plan
from ipvkit.run.engine import Run
from ipvkit.run.verdicts import judge
from ipvkit.tools.ip import line_of
from ping_output import lost_at_the_end, ping_reports, printed
from recorder import answered, unanswered, watched_to_its_end
from requires import requires
from several_hosts import ONE_HOST
from strategies import labs, labs_on_a_parent

GATEWAY = IPv4Address("192.168.104.254")


def walkthrough() -> Lab:
    return load(gallery.text(gallery.WALKTHROUGH), "walkthrough.yaml")


@cache
def gallery_scripts() -> dict[str, tuple[Plan, str]]:
    """Return the plan and the script of each gallery lab, simulated and, where it can be, on a parent."""
    found = {}
    for name in ONE_HOST:
        lab = load(gallery.text(name), name)
        gateway = next(iter(lab.parents[0].gateways), None)
        found[name] = lab
        try:
            found[f"{name} on eth0"] = on_parent(lab, "eth0", gateway=gateway)
        except InvalidLab:
            continue
    plans = {name: make_plan(lab) for name, lab in found.items()}
    return {name: (plan, exported(plan)) for name, plan in plans.items()}


# --- previews ----------------------------------------------------------------------------------------


def typed(plan: Plan) -> list[str]:
    """Return the commands that the preview of `plan` shows before those that undo."""
    commands, _, _ = preview(plan).partition("# ==== undo, in reverse ====")
    return [line for line in commands.splitlines() if line and not line.startswith("#")]


@given(labs() | labs_on_a_parent())
def test_a_preview_is_the_commands_of_the_plan_in_order_among_comments(lab: Lab) -> None:
    plan = make_plan(lab)
    shown = [line for line in preview(plan).splitlines() if line and not line.startswith("#")]
    undos = [str(s.undo.command(s.undo.typical)) for s in plan.undos if s.undo is not None]
    assert shown == [line for step in plan.steps for line in str(step.command).split("\n")] + undos


@given(labs())
def test_a_preview_shows_the_purpose_of_each_command_just_before_it(lab: Lab) -> None:
    plan = make_plan(lab)
    lines = preview(plan).splitlines()
    for step in plan.steps:
        assert (f"# {step.purpose}", str(step.command).partition("\n")[0]) in pairwise(lines)


@pytest.mark.long
def test_a_preview_says_what_each_undo_does() -> None:
    lines = [line for plan, _ in gallery_scripts().values() for line in preview(plan).splitlines()]
    shown = {
        (re.sub(r"[a-z]*\d\S*", "X", why), re.sub(r"[a-z]*\d\S*", "X", line)) for why, line in pairwise(lines)
    }
    for why, command in (
        ("# delete namespace X", "ip netns del X"),
        ("# delete link X in namespace X", "ip netns exec X ip link delete X"),
        ("# delete the proxy entry for X on X", "ip neigh del proxy X dev X"),
        ("# delete the route to X in namespace gateway", "ip -n gateway route del X via X dev X"),
    ):
        assert (why, command) in shown
    assert (
        "# restore net.ipv4.ip_nonlocal_bind to the value that was read before, here 0",
        "sysctl -w net.ipv4.ip_nonlocal_bind=0",
    ) in pairwise(lines)


@given(labs_on_a_parent())
def test_a_preview_shows_what_is_skipped_and_why(lab: Lab) -> None:
    plan = make_plan(lab)
    shown = preview(plan)
    for section in plan.sections:
        for probe in section.skipped:
            assert f"{probe.check}: {probe.skipped}" in shown


# --- scripts: their commands ---------------------------------------------------------------------------


def lab_lines(script: str) -> list[str]:
    """Return the lines of `script` from its first section on."""
    lines = script.splitlines()
    return lines[next(at for at, line in enumerate(lines) if line.startswith("# --- ")) :]


def commands_of(script: str, programs: Sequence[str]) -> Iterator[str]:
    """Yield the commands of the lab without what a script adds to one; of a batch, each line as one."""
    place = None
    for line in map(str.strip, lab_lines(script)):
        if place is not None:
            if line != "END" or not place:
                yield f"{place} {line}".lstrip()
            place = None if line == "END" else place
            continue
        bare = re.sub(r" +# .*", "", line)
        bare = re.sub(r" \|\| (code=\$\?|\(\(.*\)\))$", "", bare)
        bare = re.sub(r" &(>.* &( asked.*)?| (other|server)\d+=\$!)$", "", bare)
        bare = re.sub(r"^former\d*=\$\((.*)\)$", r"\1", bare)
        if bare.endswith("-batch - <<'END'"):
            place = bare.removesuffix(" -batch - <<'END'")
        elif bare.partition(" ")[0] in programs:
            yield bare
            place = "" if bare.endswith(" <<'END'") else None


def has_the_commands_of(script: str, plan: Plan) -> bool:
    """Return whether `script` has the previewed commands in order; in batches, in each namespace's order."""
    found = [shlex.split(line) for line in commands_of(script, plan.programs)]
    shown = [shlex.split(line) for line in typed(plan)]
    if not plan.lab.in_batches:
        return found == shown
    return in_order(found) == in_order(shown)


def in_order(commands: list[list[str]]) -> dict[object, list[object]]:
    """Return the commands that could be lines of a batch by their namespaces, and all others."""
    by_place: dict[object, list[object]] = {}
    for words in commands:
        line = line_of(Command(tuple(words)))
        place, what = (line.netns, line.text) if line else ("alone", words)
        by_place.setdefault(place, []).append(what)
    return by_place


@for_each("name", ONE_HOST)
def test_a_script_of_the_gallery_has_the_lines_of_the_preview(name: str) -> None:
    both = [gallery_scripts().get(each) for each in (name, f"{name} on eth0")]
    assert both[0] is not None
    for plan, script in filter(None, both):
        assert has_the_commands_of(script, plan)
        # Each is a line as it is typed, but for a word that shellcheck takes for bash's own.
        lines = set(lab_lines(script))
        alone = [s for s in plan.steps if s.probe is None and s.undo is None and s.command.ok == (0,)]
        assert not plan.lab.simulated or all(
            any(line == first or line.startswith(f"{first} ") for line in lines)
            for first in (str(step.command).partition("\n")[0] for step in alone)
        )


@given(labs() | labs_on_a_parent())
def test_a_script_has_the_commands_of_the_preview_in_their_order(lab: Lab) -> None:
    plan = make_plan(lab)
    assert has_the_commands_of(exported(plan), plan)


@given(labs_on_a_parent())
def test_each_undo_stands_just_above_what_it_undoes(lab: Lab) -> None:
    plan = make_plan(lab)
    lines = [line.strip() for line in lab_lines(exported(plan)) if not line.strip().startswith("#")]
    undos = [(above, below) for above, below in pairwise(lines) if above.startswith("undo ")]
    meant = [step for step in plan.steps if step.undo is not None]
    assert len(undos) == len(meant)
    for (above, below), step in zip(undos, meant, strict=True):
        assert step.undo is not None
        former = re.sub(r'"\$former\d*"', "", above)
        assert shlex.split(former) == ["undo", *step.undo.command().argv]
        assert (former != above) == bool(step.undo.reads)
        assert below.startswith(str(step.command))


@given(labs())
def test_a_script_in_namespaces_of_its_own_undoes_nothing(lab: Lab) -> None:
    assert "undo " not in re.sub("#.*|'.*'|\".*\"", "", exported(make_plan(lab)))


def test_pings_of_a_stage_are_concurrent_and_setup_is_not() -> None:
    plan, script = gallery_scripts()["l2"]
    lines = [line.partition(" #")[0].rstrip() for line in lab_lines(script)]
    last = plan.sections[-1].stages[-1]
    at = lines.index("wait")
    assert lines[at - len(last) : at] == [f"{step.command} &>/run/{n} &" for n, step in enumerate(last, 1)]
    assert [line.split()[:2] for line in lines[at + 1 :][: len(last)]] == [
        ["check", str(n)] for n in range(1, len(last) + 1)
    ]
    assert not any(line.endswith("&") for line in lines[: at - len(last)])


# --- scripts: their text -------------------------------------------------------------------------------


def test_the_walkthrough_is_short_enough_to_read() -> None:
    plan, script = gallery_scripts()[gallery.WALKTHROUGH]
    lines = script.splitlines()
    assert len(lines) <= 120
    assert lines.index(next(line for line in lines if line.startswith(typed(plan)[0]))) <= 45
    assert len(gallery_scripts()[f"{gallery.WALKTHROUGH} on eth0"][1].splitlines()) <= 160


def complaints(text: str, *words: str) -> str:
    """Return what a program prints that reads `text` on its stdin."""
    done = subprocess.run(words, input=text, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr + ("" if done.returncode == 0 else f"exit code {done.returncode}")


@settings(max_examples=settings().max_examples // 4)
@given(labs() | labs_on_a_parent())
def test_bash_reads_every_script(lab: Lab) -> None:
    assert complaints(exported(make_plan(lab)), "bash", "-n") == ""


@pytest.mark.extra
@pytest.mark.long
@requires("shellcheck")
def test_shellcheck_finds_nothing_in_a_script_of_the_gallery(
    tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    files, each = [], 1 if pytestconfig.option.slow else 4
    for name, (_, script) in list(gallery_scripts().items())[::each]:
        files.append(tmp_path / f"{name}.sh")
        files[-1].write_text(script)
        assert "shellcheck" not in script
    assert complaints("", "shellcheck", *map(str, files)) == ""


# Shrinking would take minutes, shellcheck is slow.
@requires("shellcheck")
@settings(max_examples=max(2, settings().max_examples // 15), phases=[Phase.explicit, Phase.generate])
@given(labs(most_endpoints=2, most_phases=2) | labs_on_a_parent(most_endpoints=2, most_phases=2))
def test_shellcheck_finds_nothing_in_a_script(lab: Lab) -> None:
    assert complaints(exported(make_plan(lab)), "shellcheck", "-") == ""


@requires("shellcheck")
@pytest.mark.parametrize("parent", [None, "eth0"])
def test_shellcheck_finds_nothing_in_words_that_a_shell_would_read(parent: str | None) -> None:
    lab = walkthrough()
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


# --- scripts: their verdicts ---------------------------------------------------------------------------


def watching(count: int) -> Plan:
    """Return a plan with `count` watched paths, and nothing else that is asked."""
    lab = walkthrough()
    checks = tuple(Check("test1", "gateway", watch, why=f"{watch}") for watch in range(1, count + 1))
    return make_plan(replace(lab, phases=(replace(lab.phases[0], acts=(Act(checks=checks),)),)))


def verdicts_of_script(outputs: Sequence[str], folder: Path) -> list[str]:
    """Return the line that a script prints for each output of ping, or "" where it is an error."""
    script = exported(watching(1))
    functions = script[script.index("good=0") : script.index("\n# --- ")].replace("/run/$1", "$1")
    calls = ""
    for n, output in enumerate(outputs):
        (folder / f"{n}").write_text(output)
        calls += f"(check {n} 'a -> b' 192.0.2.1 expires why) || echo\n"
    words = ("bash", "-c", f"set -u; exec 3>&1\n{functions}\n{calls}")
    done = subprocess.run(
        words,
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def verdicts_of_report(outputs: Sequence[str]) -> list[str]:
    """Return what such a line would say of what the report says."""
    plan = watching(len(outputs))
    steps = [step for step in plan.steps if step.probe is not None]
    found = []
    for step, output in zip(steps, outputs, strict=True):
        stderr = output if output.startswith("ping: ") else ""
        one = replace(plan, sections=(replace(plan.sections[-1], stages=((step,),), acts=()),))
        [verdict] = judge(Run(one, "uml", completed={step.id: Completed(0, output, stderr, 0.1)})).checks
        observed = verdict.observed
        lived = "" if verdict.lifetime_s is None else f" after {int(verdict.lifetime_s * 10 + 1e-6) / 10} s"
        if observed is None:
            found.append("")
        elif observed is Outcome.EXPIRES:
            found.append(f"as predicted  a -> b 192.0.2.1: expires{lived} (why)")
        else:
            found.append(f"DIFFERS       a -> b 192.0.2.1: predicted expires, observed {observed} (why)")
    return found


@settings(max_examples=max(3, settings().max_examples // 3), phases=[Phase.explicit, Phase.generate])
@given(st.lists(ping_reports(timestamps=True).map(printed), min_size=12, max_size=12))
def test_a_script_judges_whatever_pings_saw_as_the_report_does(
    tmp_path_factory: pytest.TempPathFactory, outputs: list[str]
) -> None:
    assert verdicts_of_script(outputs, tmp_path_factory.mktemp("out")) == verdicts_of_report(outputs)


def test_a_script_judges_the_edges_as_the_report_does(tmp_path: Path) -> None:
    lost = [printed(lost_at_the_end(GATEWAY, count)) for count in range(LOST_AFTER + 2)]
    watched = watched_to_its_end(str(GATEWAY))
    (error,) = (line for line in watched.splitlines() if "Unreachable" in line)
    outputs = [
        *lost,
        answered(str(GATEWAY)),
        unanswered(str(GATEWAY)),
        watched,
        # iputils counts a request that this machine could not send, and shows that on stderr.
        watched.replace(f"{error}\n", ""),
        f"ping: connect: {NO_ROUTE}\n",
        "PING 192.168.104.212 (192.168.104.212): 56 data bytes\n",
        "",
    ]
    found = verdicts_of_script(outputs, tmp_path)
    assert found == verdicts_of_report(outputs)
    assert found[-2:] == ["", ""]
