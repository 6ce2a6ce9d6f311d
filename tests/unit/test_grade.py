"""Grades: a point for each check that is as the lab describes; what a script does costs only itself."""

from pathlib import Path

import pytest

from ipvkit.cli import main
from ipvkit.core.command import Completed
from ipvkit.lab import Lab, Outcome
from ipvkit.lab.format import load
from ipvkit.plan.make import make_plan
from ipvkit.report.grade import csv_of, table
from ipvkit.run.verdicts import Verdict
from ipvkit.verbs.grade import Grade, phase_of

LAB = """\
name: exercise
about: one endpoint in l2
parent: eth0
network: {host: 192.168.104.110/24, gateway: 192.168.104.254, neighbour: 192.168.104.111}
endpoints:
  - {name: test1, addresses: 192.168.104.211/24}
phases:
  - name: l2
    mode: l2
    do:
      - check: [{from: test1, to: gateway}, {from: neighbour, to: test1}, {from: host, to: test1}]
"""
GOOD = """\
ip netns add test1
ip link add test1 link eth0 type ipvlan mode l2
ip link set test1 netns test1
ip -n test1 addr add 192.168.104.211/24 dev test1
\tip -n test1 link set test1 up
"""
SCRIPTS = {
    "good.sh": (GOOD, 3, ""),
    "l3.sh": (GOOD.replace("l2", "l3"), 1, "test1 -> gateway: expected reachable, observed unreachable"),
    "nothing.sh": ("ip netns add test1; nonsense\n", 0, "it ended with exit code 127"),
    "off.sh": ("echo o >/proc/sysrq-trigger; sleep 1000\n", 0, "its guest ended"),
}
ENDLESS = {
    "hangs.sh": ("sleep 1000 & sleep 1000\n", 0, "it did not end in time; test1 is not there"),
    "floods.sh": ("while :; do echo '%s'; done\n" % ("=" * 100), 0, "test1 is not there"),
}


def lab() -> Lab:
    return load(LAB, "exercise.yaml")


def grade(*observed: Outcome | None, **changed: object) -> Grade:
    probes = [step.probe for step in make_plan(lab()).steps if step.probe is not None]
    checks = tuple(Verdict(probe, seen) for probe, seen in zip(probes, observed, strict=True))
    build = Completed(0, "", "", 0.5)
    return Grade("a.sh", **{"build": build, "checks": checks, "most": 3, **changed})  # type: ignore[arg-type]


YES, NO = Outcome.REACHABLE, Outcome.UNREACHABLE


def test_a_point_for_each_check_that_is_as_described() -> None:
    whole = grade(YES, YES, NO)
    assert (whole.points, whole.notes) == (3, [])
    part = grade(NO, None, NO)
    assert part.points == 1
    assert part.notes == [
        "test1 -> gateway: expected reachable, observed unreachable",
        "neighbour -> test1: expected reachable, observed nothing: it did not run",
    ]


def test_what_cannot_be_reached_as_it_is_not_there_gives_no_point() -> None:
    empty = grade(NO, NO, NO, absent={"test1": "no 192.168.104.211 in namespace test1"})
    assert empty.points == 0
    assert empty.notes[0] == "test1 is not there: no 192.168.104.211 in namespace test1"


def test_a_table_has_the_first_notes_and_csv_has_all() -> None:
    failed = grade(None, None, None, build=Completed(2, "x\nbad, \x1b[1mthing\n", "", 1.25))
    assert table([failed]).splitlines()[2:] == [
        "a.sh      0 of 3    it ended with exit code 2: bad, \\x1b[1mthing",
        "                    test1 -> gateway: expected reachable, observed nothing: it did not run",
        "                    and 2 more",
    ]
    first, line = csv_of([failed]).splitlines()
    assert first == "script,points,of,exit_code,seconds,what_is_wrong"
    assert line.startswith('a.sh,0,3,2,1.2,"it ended with exit code 2: bad, ')
    assert line.count("it did not run") == 3


def test_a_killed_script_has_not_ended_in_time() -> None:
    assert grade(YES, YES, NO, build=Completed(137, "", "", 9.0)).notes == ["it did not end in time"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["walkthrough", "x"], "error: lab walkthrough has several phases"),
        (["two-hosts-l2", "x"], "error: ipvkit grade is for one host"),
        (["l2", "/no/such.sh"], "error: '/no/such.sh' cannot be read: No such file or directory"),
        (["l2"], "error: Missing argument 'SCRIPT'"),
    ],
)
def test_wrong_usage_is_one_clear_line(
    capsys: pytest.CaptureFixture[str], words: list[str], says: str
) -> None:
    assert main(["grade", *words]) == 2
    assert capsys.readouterr().err.startswith(says)


def test_a_phase_without_checks_is_refused() -> None:
    described = load(LAB.partition("    do:")[0] + "    do: []\n", "exercise.yaml")
    with pytest.raises(Exception, match="phase l2 of lab exercise checks nothing"):
        phase_of(described, None)


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("scripts", "timeout"),
    [pytest.param(SCRIPTS, "600", marks=pytest.mark.promise), (ENDLESS, "2")],
    ids=["ends", "endless"],
)
def test_scripts_are_graded_and_cost_only_themselves(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    scripts: dict[str, tuple[str, int, str]],
    timeout: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("exercise.yaml").write_text(LAB)
    for name, (text, _, _) in scripts.items():
        Path(name).write_text(text)
    assert main(["grade", "./exercise.yaml", *scripts, "--csv", "--timeout", timeout]) == 1
    lines = capsys.readouterr().out.splitlines()[1:]
    for line, (name, (_, points, says)) in zip(lines, scripts.items(), strict=True):
        assert line.startswith(f"{name},{points},3,"), line
        assert says in line
