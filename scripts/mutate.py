"""Break the code in one place at a time, and look whether the fast tests fail: scripts/mutate [WORD…].

tests/mutations.tsv has a line for each place: a file, the text that is there once, and another text for it.
WORDs choose the lines in whose files they occur. A tool such as mutmut tries some thousand places, for hours;
these were chosen by hand, each a mistake that a person could make. --stale only prints the lines of which
the text is not there once.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")
ROOT = Path(__file__).parents[1]
WORKERS = 2
BOUND_S = 3600
LEAST = 0.95

TESTS = {
    "core/": "builders single_commands lab",
    "tools/ping": "parser_of_ping builders",
    "tools/arping": "parser_of_arping builders",
    "tools/fping": "fping",
    "tools/ip": "parsers_of builders single_commands",
    "tools/": "builders parsers_of single_commands",
    "lab/": "lab new_labs several_hosts",
    "predict/": "predict several_hosts matrix_of_cells review",
    "strategies/": "strategies plan several_hosts lab",
    "plan/": "plan several_hosts strategies builders run_on_a_parent script docs",
    "formats/": "unit_files format",
    "export/": "script plan",
    "targets/round": "rounds",
    "targets/": "agent uml_guest execute environment",
    "run/fleet": "fleet_labs",
    "run/": "report journal several_hosts engine undo",
    "host/": "live checks inspect facts run_on_a_parent",
    "verbs/fleet": "fleet_labs",
    "verbs/": "live several_hosts inspect matrix_of_cells measure announce session review",
    "report/graph/": "graph",
    "report/": "report parse_command schemas single_commands review",
    "cli/graph": "graph",
    "cli/": "cli parse_command single_commands run_on_a_parent",
}
"""The words in whose names the fast tests of a room are found, the quickest first.

What survives these is tried with all fast tests.
"""


def main() -> None:
    """Try each place, print what came of it, and the share that tests have seen."""
    lines = (ROOT / "tests" / "mutations.tsv").read_text(encoding="utf-8").splitlines()
    places = [line.split("\t") for line in lines if line and not line.startswith("#")]
    if sys.argv[1:] == ["--stale"]:
        stale = [place for place in places if (ROOT / place[0]).read_text("utf-8").count(place[1]) != 1]
        sys.exit("\n".join(f"stale: {name}: {old}" for name, old, _ in stale) or None)
    chosen = [place for place in places if not sys.argv[1:] or any(w in place[0] for w in sys.argv[1:])]
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(WORKERS) as workers:
        trees: SimpleQueue[Path] = SimpleQueue()
        for number in range(WORKERS):
            trees.put(copied(Path(folder) / str(number)))
        rooms = list(dict.fromkeys(tests_of(place[0]) for place in chosen))
        passed = workers.map(lambda words: in_one(trees, passes, words), rooms)
        red = {words for words, each in zip(rooms, passed, strict=True) if not each}
        for words in red:
            print(f"without any change tests fail of: {words}", flush=True)
        usable = [place for place in chosen if tests_of(place[0]) not in red]
        ends = list(workers.map(lambda place: in_one(trees, tried, *place), usable))
    killed = ends.count("killed")
    print(f"{killed} of {len(ends)} killed: {100 * killed / max(1, len(ends)):.0f} %")
    sys.exit(bool(red) or killed < LEAST * len(ends) or "stale" in ends)


def tests_of(name: str) -> str:
    """Return the words for the tests of a file."""
    return next(words for room, words in TESTS.items() if name.startswith(f"ipvkit/{room}"))


def in_one(trees: "SimpleQueue[Path]", work: Callable[..., T], *arguments: str) -> T:
    """Return what `work` does in a tree that is free."""
    tree = trees.get()
    try:
        return work(tree, *arguments)
    finally:
        trees.put(tree)


def copied(tree: Path) -> Path:
    """Return a copy of the repository's files in the folder `tree`."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S607
    for name in filter(lambda name: (ROOT / name).exists(), listed.stdout.splitlines()):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, tree / name)
    return tree


def tried(tree: Path, name: str, old: str, new: str) -> str:
    """Return whether tests `killed` the change, it `survived`, or its text is not there once: `stale`."""
    file = tree / name
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    end = "stale"
    if text.count(old) == 1:
        file.write_text(text.replace(old, new), encoding="utf-8")
        survived = passes(tree, tests_of(name), str(file)) and passes(tree, "test")
        end = "survived" if survived else "killed"
        file.write_text(text, encoding="utf-8")
    print(f"{end:8}  {name}: {old}  ->  {new}", flush=True)
    return end


def passes(tree: Path, words: str, *examples: str) -> bool:
    """Return whether the examples in files, and the fast tests with these words in their names, pass."""
    files = sorted(tree.glob("tests/unit/test_*.py"))
    tests = list(dict.fromkeys(str(file) for word in words.split() for file in files if word in file.stem))
    options = ("-qx", "-m", "not kernel", "-p", "no:cacheprovider")
    pytest = (sys.executable, "-m", "pytest", *options, *examples, *tests)
    bounded = ("timeout", "--kill-after=5", str(BOUND_S), *pytest)
    environment = {**os.environ, "PYTHONPATH": str(tree), "HYPOTHESIS_PROFILE": "quick"}
    done = subprocess.run(
        [*bounded, *examples, *tests], cwd=tree, env=environment, capture_output=True, check=False
    )
    return done.returncode == 0


main()
