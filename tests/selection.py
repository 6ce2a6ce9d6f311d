"""Which tests run: by default one proof of each promise, with --all and --slow the others too.

A test of `kernel/` has the mark `promise` to run by default; any other one has the mark `extra` not to.
"""

from collections import Counter
from typing import Any

import pytest

LEFT_OUT = pytest.StashKey[dict[str, int]]()
"""How many tests only --all, or --slow, would run."""

ADDED = pytest.StashKey[dict[str, int]]()
"""How many tests of each file --all or --slow has added."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    parser.addoption("--all", action="store_true", help="more than one proof of each promise")
    parser.addoption(
        "--slow", action="store_true", help="these, and slow tests, with other random cases each time"
    )


def needs(item: pytest.Item) -> str:
    """Return the option without which a test is left out, or nothing."""
    marks = {mark.name for mark in item.iter_markers()}
    if "slow" in marks:
        return "--slow"
    return "--all" if "extra" in marks or ("kernel" in marks and "promise" not in marks) else ""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what no option asks for."""
    given = {"", *(("--all", "--slow") if config.option.slow else ("--all",) if config.option.all else ())}
    wanted = [needs(item) for item in items]
    left_out = [item for item, option in zip(items, wanted, strict=True) if option not in given]
    added = (item for item, option in zip(items, wanted, strict=True) if option and option in given)
    # execnet sends no Counter.
    config.stash[LEFT_OUT] = dict(Counter(option for option in wanted if option not in given))
    config.stash[ADDED] = dict(Counter(item.nodeid.partition("::")[0] for item in added))
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item, option in zip(items, wanted, strict=True) if option in given]


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Send the counts from a worker of xdist."""
    config = session.config
    if hasattr(config, "workeroutput"):
        config.workeroutput["selection"] = [config.stash.get(key, {}) for key in (LEFT_OUT, ADDED)]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take the counts of a worker that did not crash: each collects all tests."""
    if counts := getattr(node, "workeroutput", {}).get("selection"):
        node.config.stash[LEFT_OUT], node.config.stash[ADDED] = counts


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what was left out and what was added."""
    stash = terminalreporter.config.stash
    left_out, added = stash.get(LEFT_OUT, {}), stash.get(ADDED, {})
    if left_out:
        counts = ", ".join(f"{count} that {option} runs" for option, count in sorted(left_out.items()))
        terminalreporter.write_line(f"left out: {counts}")
    if added:
        counts = ", ".join(f"{file} {count}" for file, count in sorted(added.items()))
        terminalreporter.write_line(f"{sum(added.values())} tests more than by default: {counts}")
