"""Break the code in one place at a time, and look whether tests fail: scripts/mutate [WORD…].

tests/mutations.tsv has a line for each change: a file, the text that is there once, and another text for it.
These were chosen by hand, each a mistake that a person could make. With --draw some of those are tried that
scripts/drawn.py knows. WORDs choose the changes of the files in whose names they occur.

The tests are those that start no kernel; drawn changes have to be seen by those of `scripts/test --fast`.
They run once without any change, and coverage keeps which of them came to which line. A change is then tried
with the tests that came to its line, the quickest first, and what survives them with all.

Drawn changes that no test can see are in tests/survivors.tsv: the file, the function, the lines before and
after the change, and the reason. They do not count as survivors. --stale only prints the lines of both files
that are about no text that is there.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from queue import SimpleQueue
from xml.etree import ElementTree

from coverage import CoverageData
from drawn import Change, changed_at, changes, drawn

ROOT = Path(__file__).parents[1]
WORKERS = 2
LEAST, LEAST_OF_DRAWN = 0.95, 0.9

FEW = (0, 6, 40)
"""The quickest tests run first, in these portions: most changes are seen by the first."""

OPTIONS = ("-qx", "-p", "no:cacheprovider")

WAIT_S = 3600
CPU_S, CPU_PER_SECOND = 60, 5
"""The CPU seconds of a process, since a change may loop for ever: so many, and more for each of its tests."""

BYTES = 8 << 30
"""The most memory of a process: a loop may collect something."""


class Covered:
    """Which tests came to which line of a copy of the repository, and how long each took."""

    def __init__(self, tree: Path, marks: str) -> None:
        """Run all tests with these `marks` there; exit where one fails."""
        measured, report = tree / ".coverage", tree / "times.xml"
        options = ("--cov=ipvkit", "--cov-context=test", "--cov-report=", f"--junitxml={report}")
        concurrent = ("--numprocesses", str(WORKERS), "--dist", "worksteal")
        done = ran(tree, WAIT_S, "-m", marks, *concurrent, *options, "tests")
        if done.returncode:
            sys.exit(f"without any change tests fail:\n{done.stdout[-3000:]}{done.stderr[-1000:]}")
        self.tree, self.marks, self.lines = tree, marks, CoverageData(str(measured))
        self.lines.read()
        self.seconds: dict[str, float] = defaultdict(float)
        for case in ElementTree.parse(report).iter("testcase"):  # noqa: S314
            name = case.attrib["name"].partition("[")[0]
            file = case.attrib["classname"].replace(".", "/")
            self.seconds[f"{file}.py::{name}"] += float(case.attrib["time"])

    def tests(self, change: Change) -> list[str]:
        """Return the tests that came to the lines of a change, the quickest first.

        The first line of a statement has the tests where the others have none. What no test came to runs when
        the file is imported: all tests of the file have to do with it.
        """
        file = self.tree / change.file
        text = file.read_text(encoding="utf-8")
        by_line = {
            line: {context.partition("|")[0].partition("[")[0] for context in contexts} & self.seconds.keys()
            for line, contexts in self.lines.contexts_by_lineno(str(file)).items()
        }
        first, last = (1 + text.count("\n", 0, at) for at in (change.start, change.end))
        found = set[str]().union(*(by_line.get(line, ()) for line in range(first, last + 1)))
        found = found or by_line.get(max((line for line in by_line if line <= first), default=first), set())
        found = found or set[str]().union(*by_line.values())
        return sorted(found, key=lambda test: self.seconds[test])


def main() -> None:
    """Try the changes, print what came of each, and the share that tests have seen."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("words", nargs="*", metavar="WORD")
    parser.add_argument("--stale", action="store_true")
    parser.add_argument("--draw", type=int, metavar="N")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    by_hand, listed = list(chosen_by_hand()), survivors()
    if chosen.stale:
        return
    found = drawn(ROOT, chosen.seed) if chosen.draw else by_hand
    found = [one for one in found if not chosen.words or any(word in one.file for word in chosen.words)]
    if chosen.draw:
        print(f"{min(len(found), chosen.draw)} of {len(found)} changes, drawn with seed {chosen.seed}")
        found = found[: chosen.draw]
    marks = "not kernel and not long" if chosen.draw else "not kernel"
    ends = Counter(tried(found, listed, marks))
    survived = ends["survived"]
    print(", ".join(f"{count} {end}" for end, count in ends.most_common()), end="")
    print(f": {100 * survived / max(1, len(found)):.1f} % of {len(found)} survived")
    sys.exit(survived > (1 - (LEAST_OF_DRAWN if chosen.draw else LEAST)) * len(found))


def lines_of(name: str) -> list[list[str]]:
    """Return the columns of each line of a file in tests/."""
    lines = (ROOT / "tests" / name).read_text(encoding="utf-8").splitlines()
    return [line.split("\t") for line in lines if line and not line.startswith("#")]


def chosen_by_hand() -> Iterator[Change]:
    """Yield the changes that were chosen by hand; exit where the text of one is not there once."""
    stale = []
    for name, old, new in lines_of("mutations.tsv"):
        text = (ROOT / name).read_text(encoding="utf-8")
        if text.count(old) != 1:
            stale.append(f"stale: {name}: {old}")
        start = text.find(old)
        yield changed_at(name, text, start, start + len(old), new)
    if stale:
        sys.exit("\n".join(stale))


def survivors() -> dict[tuple[str, ...], str]:
    """Return why no test can see a drawn change, by its key; exit where one cannot be drawn."""
    listed = {tuple(key): reason for *key, reason in lines_of("survivors.tsv")}
    files = {file for file, *_ in listed}
    there = {one.key for file in files for one in changes(file, (ROOT / file).read_text(encoding="utf-8"))}
    if stale := listed.keys() - there:
        sys.exit("\n".join(f"stale: {': '.join(key)}" for key in sorted(stale)))
    return listed


def tried(found: list[Change], listed: dict[tuple[str, ...], str], marks: str) -> list[str]:
    """Return what came of each change by tests with these `marks`: `killed`, `listed`, or `survived`.

    Print it as it ends.
    """
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(WORKERS) as workers:
        trees: SimpleQueue[Path] = SimpleQueue()
        for number in range(WORKERS):
            trees.put(copied(Path(folder) / str(number)))
        covered = Covered(copied(Path(folder) / "covered"), marks)

        def end_of(change: Change) -> str:
            tree = trees.get()
            reason = listed.get(change.key, "")
            killed = is_killed(tree, covered, change, by_all=not reason)
            trees.put(tree)
            end = "killed" if killed else "listed" if reason else "survived"
            print(f"{end:8}  {change}{f'  ({reason})' if end == 'listed' else ''}", flush=True)
            return end

        return list(workers.map(end_of, found))


def copied(tree: Path) -> Path:
    """Return a copy of the repository's files in the folder `tree`."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S607
    for name in filter(lambda name: (ROOT / name).exists(), listed.stdout.splitlines()):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, tree / name)
    # A test asks git for the files of the package.
    subprocess.run(["git", "init", "--quiet", tree], check=True)  # noqa: S607
    return tree


def is_killed(tree: Path, covered: Covered, change: Change, *, by_all: bool) -> bool:
    """Return whether tests fail with a change: examples of its file, those of its lines, or any at all."""
    file, tests = tree / change.file, covered.tests(change)
    text = file.read_text(encoding="utf-8")
    file.write_text(text[: change.start] + change.text + text[change.end :], encoding="utf-8")

    def passes(*arguments: str) -> bool:
        seconds = sum(covered.seconds.get(test, 0) for test in arguments) or sum(covered.seconds.values())
        bound = int(CPU_S + CPU_PER_SECOND * seconds)
        # No test collected: a file has no examples.
        return ran(tree, bound, "-m", covered.marks, *arguments).returncode in (0, 5)

    portions = [tests[first:last] for first, last in pairwise((*FEW, len(tests)))]
    # A script has no examples, and pytest takes no path of one.
    portions[0] += [change.file] if file.suffix == ".py" else []
    survived = all(passes(*portion) for portion in portions if portion)
    survived = survived and (not by_all or passes("tests"))
    file.write_text(text, encoding="utf-8")
    return not survived


def ran(tree: Path, cpu_s: int, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Return what pytest does with these arguments, in a copy of the repository."""
    # A changed program may signal any process, and leave some.
    alone = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc") if os.geteuid() == 0 else ()
    bounded = ("timeout", "--kill-after=5", str(WAIT_S), "prlimit", f"--cpu={cpu_s}", f"--as={BYTES}", *alone)
    environment = {**os.environ, "PYTHONPATH": str(tree), "HYPOTHESIS_PROFILE": "quick"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return subprocess.run(
        [*bounded, sys.executable, "-m", "pytest", *OPTIONS, *arguments],
        cwd=tree,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


if __name__ == "__main__":
    main()
