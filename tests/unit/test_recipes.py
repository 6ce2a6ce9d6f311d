"""The recipes of CONTRIBUTING.md, followed in copies of this project: what they add works, and is enough."""

import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from cases import for_each
from documents import ROOT, Block, Document, Shown, documents, problem, run
from packages import copied
from requires import requires

CONTRIBUTING = Document(ROOT / "CONTRIBUTING.md")
RECIPES = ("Add a format", "Add a command", "Add a check")
NOT_NEEDED = ("docs/", "scripts/", "tests/fixtures/", "tests/frames/", "tests/kernel/")


def lines_of(title: str) -> range:
    """Return the numbers of the lines in a section."""
    lines = CONTRIBUTING.path.read_text().splitlines()
    first = lines.index(f"## {title}") + 1
    return range(first, next(n for n, line in enumerate(lines, 1) if n > first and line.startswith("## ")))


def files_of(title: str) -> list[Block]:
    """Return the blocks of a recipe that are files, and those that add lines to files."""
    return [block for block in CONTRIBUTING.blocks if block.name and block.line_number in lines_of(title)]


def commands_of(title: str) -> list[Shown]:
    """Return the command lines of a recipe."""
    numbered = [(int(shown.place.rpartition(":")[2]), shown) for shown in CONTRIBUTING.shown]
    return [shown for number, shown in numbered if number in lines_of(title)]


def follow(title: str, folder: Path) -> list[str]:
    """Do in a copy of this project what a recipe shows; return the paths of the files with something new."""
    for block in files_of(title):
        file = folder / block.name
        if block.language == "diff":
            before, after = (
                "".join(f"{line[1:]}\n" for line in block.lines if line[0] in marks) for marks in (" ", " +")
            )
            assert file.read_text().count(before) == 1, f"CONTRIBUTING.md:{block.line_number}"
            file.write_text(file.read_text().replace(before, after))
        else:
            assert not file.exists()
            file.write_text("".join(f"{line}\n" for line in block.lines))
    return [block.name for block in files_of(title)]


@for_each("title", RECIPES)
def test_a_recipe_adds_a_file_and_a_line_to_ipvkit_and_a_test(title: str) -> None:
    code = [block for block in files_of(title) if block.name.startswith("ipvkit/")]
    assert [block.language for block in code] == ["python", "diff"]
    assert [line[0] for line in code[1].lines].count("+") == 1
    assert [block.name for block in files_of(title) if block.name.startswith("tests/unit/test_")]
    assert commands_of(title)


def test_what_runs_in_a_copy_is_in_a_recipe() -> None:
    shown = [each for document in documents() for each in document.shown if each.runs_in == "copy"]
    assert shown == [each for title in RECIPES for each in commands_of(title)]


@pytest.mark.long
def test_the_recipes_do_what_they_show(tmp_path: Path) -> None:
    """Together, since each process would otherwise compile ipvkit anew."""
    copied(tmp_path, NOT_NEEDED)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    problems = []
    for title in RECIPES:
        follow(title, tmp_path)
        for shown in commands_of(title):
            command = f"export PYTHONPATH=$PWD HYPOTHESIS_PROFILE=quick; {shown.command}"
            problems.append(problem(shown, *run(command, tmp_path)))
    assert not any(problems), "\n\n".join(filter(None, problems))


@pytest.mark.long
@requires("ruff")
def test_what_the_recipes_add_passes_ruff_and_has_our_words(tmp_path: Path) -> None:
    copied(tmp_path, NOT_NEEDED)
    added = [name for title in RECIPES for name in follow(title, tmp_path)]
    words = [str(ROOT / "scripts/words"), *(str(tmp_path / name) for name in added if name[:7] == "ipvkit/")]
    for argv in (["-m", "ruff", "check", *added], ["-m", "ruff", "format", "--check", *added], words):
        done = subprocess.run([sys.executable, *argv], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


PAGES = {
    "test_docs.py::test_cli_page_names_every_option_and_default[endpoints]",
    "test_formats.py::test_the_page_has_the_limits_of_each_format",
    "test_schemas.py::test_json_page_has_a_row_for_each_code_of_a_finding",
}
"""The tests that fail after the recipes: of the pages that lack what is new."""


@pytest.mark.slow
def test_after_the_recipes_types_are_right_and_only_the_pages_lack_what_is_new(tmp_path: Path) -> None:
    copied(tmp_path, ())
    for title in RECIPES:
        follow(title, tmp_path)
    called = partial(subprocess.run, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tmp_path)})
    # Some tests ask git which files there are.
    for argv in (["git", "init", "--quiet"], ["git", "add", "."], [sys.executable, "-m", "mypy"]):
        called(argv, check=True)
    tests = [sys.executable, "-m", "pytest", "-q", "-m", "not kernel and not long", "-p", "no:cacheprovider"]
    done = called(tests, stdout=subprocess.PIPE, text=True)
    failed = re.findall(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
    assert {*failed} == {f"tests/unit/{test}" for test in PAGES}, done.stdout
