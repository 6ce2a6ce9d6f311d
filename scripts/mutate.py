"""Break the code in one place at a time, and look whether tests fail: scripts/mutate [WORD…].

The tests are those that start no kernel.
tests/mutations.tsv has a line for each place: a file, the text that is there once, and another text for it.
WORDs choose the lines in whose files they occur. A tool such as mutmut tries some thousand places, for hours;
these were chosen by hand, each a mistake that a person could make. --stale only prints the lines of which
the text is not there once.

The tests run once without any change, and coverage keeps which of them came to which line. A change is then
tried with the tests that came to its line, the quickest first, and what survives them with all.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from queue import SimpleQueue
from xml.etree import ElementTree

from coverage import CoverageData

ROOT = Path(__file__).parents[1]
WORKERS = 2
BOUND_S = 3600
LEAST = 0.95

FEW = (0, 6, 40)
"""The quickest tests run first, in these portions: most changes are seen by the first."""

OPTIONS = ("-qx", "-m", "not kernel", "-p", "no:cacheprovider")


class Covered:
    """Which tests came to which line of a copy of the repository, and how long each took."""

    def __init__(self, tree: Path) -> None:
        """Run all tests there that start no kernel; exit where one fails."""
        measured, report = tree / ".coverage", tree / "times.xml"
        options = ("--cov=ipvkit", "--cov-context=test", "--cov-report=", f"--junitxml={report}")
        done = ran(tree, "--numprocesses", str(WORKERS), "--dist", "worksteal", *options, "tests")
        if done.returncode:
            sys.exit(f"without any change tests fail:\n{done.stdout[-3000:]}")
        self.tree, self.lines = tree, CoverageData(str(measured))
        self.lines.read()
        self.seconds: Counter[str] = Counter()
        for case in ElementTree.parse(report).iter("testcase"):  # noqa: S314
            name = case.attrib["name"].partition("[")[0]
            file = case.attrib["classname"].replace(".", "/")
            self.seconds[f"{file}.py::{name}"] += float(case.attrib["time"])

    def tests(self, name: str, old: str) -> list[str]:
        """Return the tests that came to the lines of `old` in a file, the quickest first.

        The first line of a statement has the tests where the others have none.
        """
        file = self.tree / name
        before, _, _ = file.read_text(encoding="utf-8").partition(old)
        by_line = self.lines.contexts_by_lineno(str(file))
        first = before.count("\n") + 1
        own = [by_line.get(first + more, []) for more in range(old.count("\n") + 1)]
        if not any(own):
            own = [by_line.get(max((line for line in by_line if line < first), default=first), [])]
        found = {context.partition("|")[0].partition("[")[0] for contexts in own for context in contexts}
        return sorted(found & self.seconds.keys(), key=lambda test: self.seconds[test])


def main() -> None:
    """Try each place, print what came of it, and the share that tests have seen."""
    lines = (ROOT / "tests" / "mutations.tsv").read_text(encoding="utf-8").splitlines()
    places = [line.split("\t") for line in lines if line and not line.startswith("#")]
    stale = [place for place in places if (ROOT / place[0]).read_text("utf-8").count(place[1]) != 1]
    if stale or sys.argv[1:] == ["--stale"]:
        sys.exit("\n".join(f"stale: {name}: {old}" for name, old, _ in stale) or None)
    chosen = [place for place in places if not sys.argv[1:] or any(w in place[0] for w in sys.argv[1:])]
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(WORKERS) as workers:
        trees: SimpleQueue[Path] = SimpleQueue()
        for number in range(WORKERS):
            trees.put(copied(Path(folder) / str(number)))
        covered = Covered(copied(Path(folder) / "covered"))
        tests = [covered.tests(name, old) for name, old, _ in chosen]

        def killed(place: list[str], own: list[str]) -> bool:
            tree = trees.get()
            try:
                return is_killed(tree, own, *place)
            finally:
                trees.put(tree)

        ends = list(workers.map(killed, chosen, tests))
    print(f"{sum(ends)} of {len(ends)} killed: {100 * sum(ends) / max(1, len(ends)):.0f} %")
    sys.exit(sum(ends) < LEAST * len(ends))


def copied(tree: Path) -> Path:
    """Return a copy of the repository's files in the folder `tree`."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S607
    for name in filter(lambda name: (ROOT / name).exists(), listed.stdout.splitlines()):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, tree / name)
    # A test asks git for the files of the package.
    subprocess.run(["git", "init", "--quiet", tree], check=True)  # noqa: S607
    return tree


def is_killed(tree: Path, tests: list[str], name: str, old: str, new: str) -> bool:
    """Return whether tests fail with the change: the examples of the file and `tests` first, then all."""
    file = tree / name
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace(old, new), encoding="utf-8")
    few = [tests[first:last] for first, last in pairwise((*FEW, len(tests)))]
    survived = passes(tree, str(file), *few[0])
    survived = survived and all(passes(tree, *portion) for portion in few[1:] if portion)
    survived = survived and passes(tree, "tests")
    file.write_text(text, encoding="utf-8")
    print(f"{'survived' if survived else 'killed':8}  {name}: {old}  ->  {new}", flush=True)
    return not survived


def passes(tree: Path, *arguments: str) -> bool:
    """Return whether pytest passes with these arguments, in a copy of the repository."""
    # No test collected: a file has no examples.
    return ran(tree, *arguments).returncode in (0, 5)


def ran(tree: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Return what pytest does with these arguments, in a copy of the repository."""
    bounded = ("timeout", "--kill-after=5", str(BOUND_S), sys.executable, "-m", "pytest", *OPTIONS)
    environment = {**os.environ, "PYTHONPATH": str(tree), "HYPOTHESIS_PROFILE": "quick"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return subprocess.run(
        [*bounded, *arguments], cwd=tree, env=environment, capture_output=True, text=True, check=False
    )


main()
