"""By default one proof of each promise runs, and a run shows what it left out and what it added."""

import pytest

FILES = {
    "test_pure": """
import pytest
from cases import one_by_default
def test_plain(): pass
@pytest.mark.extra
def test_extra(): pass
@pytest.mark.slow
def test_slow(): pass
@pytest.mark.parametrize("number", one_by_default(1, 2, 3))
def test_cases(number): pass
""",
    "test_kernel": """
import pytest
pytestmark = pytest.mark.kernel
def test_kernel(): pass
@pytest.mark.promise
def test_promise(): pass
@pytest.mark.slow
@pytest.mark.promise
def test_slow_promise(): pass
""",
}
BY_DEFAULT = {"test_plain", "test_promise", "test_cases[1]"}
ALL = {"test_extra", "test_kernel", "test_cases[2]", "test_cases[3]"}
SLOW = {"test_slow", "test_slow_promise"}
OF_ALL = "4 tests more than by default: test_kernel.py 1, test_pure.py 3"
OF_SLOW = "6 tests more than by default: test_kernel.py 2, test_pure.py 4"


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.long)])
@pytest.mark.parametrize(
    ("options", "run", "shown"),
    [
        ((), BY_DEFAULT, ["left out: 4 that --all runs, 2 that --slow runs"]),
        (("--all",), BY_DEFAULT | ALL, ["left out: 2 that --slow runs", OF_ALL]),
        (("--slow",), BY_DEFAULT | ALL | SLOW, [OF_SLOW]),
    ],
)
def test_an_option_adds_what_it_names(
    pytester: pytest.Pytester, workers: int, options: tuple[str, ...], run: set[str], shown: list[str]
) -> None:
    pytester.makepyfile(**FILES)
    words = ("-rp", "-p", "selection", "-p", "no:cacheprovider", "-W", "ignore", "-n", str(workers), *options)
    done = pytester.runpytest(*words)
    assert {line.partition("::")[2] for line in done.outlines if line.startswith("PASSED")} == run
    assert [line for line in done.outlines if line.startswith("left out") or " more than " in line] == shown
