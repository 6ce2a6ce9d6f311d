"""A test that is skipped names what is missing, and a run ends with what to install."""

import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from cases import for_each
from documents import ROOT
from ipvkit.targets import programs
from requires import CONDITIONS, PACKAGES, lacking, summary

TESTS = """\
import pytest
from requires import requires, skip_without

@requires("dot", "bash")
def test_dot(): pass

@requires("git")
@pytest.mark.parametrize("number", [1, 2])
def test_git(number): pass

@pytest.mark.parametrize("number", [1, 2])
def test_vlan(number): skip_without("a kernel with vlan")

def test_passes(): pass
"""


@pytest.fixture
def _nothing_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "SEARCH_PATH", ())
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.mark.usefixtures("_nothing_installed")
@for_each("name", [name for name in PACKAGES if not name.startswith("/")])
def test_of_a_missing_program_the_package_is_named(name: str) -> None:
    assert lacking(name) == f"apt install {PACKAGES[name]}"


@pytest.mark.usefixtures("_nothing_installed")
def test_all_that_is_missing_is_named() -> None:
    assert lacking("sshd", "dot", "tc", "ip") == "apt install graphviz iproute2 openssh-server"
    assert lacking("icmp", "dot") == "apt install graphviz iputils-ping"
    assert lacking("macvlan") == "apt install bash iproute2 mount util-linux"


@for_each("name", CONDITIONS)
def test_what_no_package_gives_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    condition = replace(CONDITIONS[name], programs=())
    assert re.match("needs [a-z]|pip install ", condition.reason)
    for holds in (True, False):
        monkeypatch.setitem(CONDITIONS, name, replace(condition, holds=partial(bool, holds)))
        assert lacking(name) == ("" if holds else condition.reason)


def test_the_line_has_every_package_once_and_counts_the_rest() -> None:
    reasons = ["apt install b a", "needs root", "apt install a c; needs root", "needs a kernel with vlan"]
    assert summary(reasons) == "4 skipped: apt install a b c; needs root (2); needs a kernel with vlan (1)"
    assert summary(["needs root"]) == "1 skipped: needs root (1)"
    assert summary(["apt install a"]) == "1 skipped: apt install a"


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.long)])
def test_a_run_ends_with_what_was_skipped(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    (pytester.path / "bin").mkdir()
    (pytester.path / "bin" / "bash").symlink_to("/bin/bash")
    monkeypatch.setenv("PATH", str(pytester.path / "bin"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "tests"))
    pytester.makepyfile(TESTS)
    done = pytester.runpytest_subprocess("-p", "conftest", "-n", str(workers), "-ra")
    done.assert_outcomes(passed=1, skipped=5)
    *_, line, _ = done.outlines
    assert line == "5 skipped: apt install git graphviz; needs a kernel with vlan (2)"


def test_nothing_else_skips_a_test() -> None:
    """It could name nothing."""
    skips = re.compile(r"skipif|importorskip|pytest\.skip|mark\.skip|SkipTest|\+SKIP")
    files = {*(ROOT / "tests").rglob("*.py")} - {ROOT / "tests" / "requires.py", Path(__file__)}
    assert [str(file) for file in sorted(files) if skips.search(file.read_text("utf-8"))] == []
