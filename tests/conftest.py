"""Options, and Hypothesis profiles: HYPOTHESIS_PROFILE=thorough chooses one.

By default nothing is drawn anew: what fails does so because of a change. --slow draws other cases each time.
"""

import os
import random
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings

from ipvkit.core.interrupts import ENDING, heeded
from requires import summary

pytest_plugins = ["pytester", "selection"]

settings.register_profile(
    "fast",
    deadline=None,
    derandomize=True,
    max_examples=10,
    phases=[phase for phase in Phase if phase is not Phase.explain],
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("quick", settings.get_profile("fast"), max_examples=6)
settings.register_profile("fresh", settings.get_profile("fast"), derandomize=False, max_examples=100)
settings.register_profile("thorough", settings.get_profile("fresh"), max_examples=1000, phases=list(Phase))
settings.register_profile("exhaustive", settings.get_profile("fresh"), max_examples=100_000, database=None)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--exhaustive", action="store_true", help="try every fault at every command: hours")
    parser.addoption("--faults-seed", type=int, help="which faults are tried; with --slow, others each time")


def pytest_configure(config: pytest.Config) -> None:
    option = config.option
    by_default = "fresh" if option.slow else "fast" if option.all else "quick"
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or by_default)
    # Set once: the workers of xdist are given the options of the process that starts them.
    if option.faults_seed is None:
        option.faults_seed = random.randrange(1_000_000) if option.slow else 0
    # What nohup, or a shell's `&`, ignores here must not be ignored in the processes of tests.
    for number in set(ENDING) - set(heeded()):
        signal.signal(number, lambda _number, _frame: None)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return two for each CPU whose time the tests may use: while one waits for a kernel another has it.

    With `--numprocesses logical` one: each further one takes its time to collect the tests.
    """
    return max(1, round(cpus() * (1 if config.option.numprocesses == "logical" else 2)))


def cpus() -> float:
    """Return how many CPUs' time this process may use: its control group may have a quota (cgroups(7))."""
    least = float(len(os.sched_getaffinity(0)))
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        folder, names = "cpu", ("cpu.cfs_quota_us", "cpu.cfs_period_us")
        if not controllers:
            folder, names = "", ("cpu.max",)
        elif "cpu" not in controllers.split(","):
            continue
        # A file that is not there, `max` and -1 are no quota.
        with suppress(OSError, ValueError):
            files = (Path("/sys/fs/cgroup", folder, path.lstrip("/"), name) for name in names)
            quota, period = (int(number) for file in files for number in file.read_text().split())
            least = min(least, quota / period) if quota > 0 else least
    return least


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Have each worker begin with a test that starts a kernel, and go on with one after some others.

    So kernels, which wait, run beside what computes, and none is left for the end. A worker of xdist is given
    a part of the list that is as long as each other one; the other tests of a module stay together, with the
    fixtures that they share.
    """
    workers = getattr(config, "workerinput", {"workercount": 1})["workercount"]
    kernels = [item for item in items if item.get_closest_marker("kernel")]
    others = [item for item in items if not item.get_closest_marker("kernel")]
    items.clear()
    for worker in range(workers):
        own = kernels[worker::workers]
        rest = others[len(others) * worker // workers : len(others) * (worker + 1) // workers]
        between = int(0.8 * len(rest) / max(1, len(own)))
        for at, kernel in enumerate(own):
            items += [kernel, *rest[at * between : (at + 1) * between]]
        items += rest[len(own) * between :]


def pytest_report_header(config: pytest.Config) -> str:
    return f"faults: --faults-seed {config.option.faults_seed}"


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Iterator[None]:
    """Write how many hostile cases tests/unit/test_hostile.py counted, and at the end what was skipped."""
    yield
    reports = [report for reports in terminalreporter.stats.values() for report in reports]
    ended = [report for report in reports if getattr(report, "when", "") == "teardown"]
    cases = sum(value for report in ended for name, value in report.user_properties if name == "cases")
    if cases:
        terminalreporter.write_line(f"{cases} hostile cases")
    reasons = [
        report.longrepr[-1].removeprefix("Skipped: ") for report in terminalreporter.stats.get("skipped", ())
    ]
    if reasons:
        terminalreporter.write_line(summary(reasons))


@pytest.fixture(autouse=True, scope="session")
def _own_journals(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep the journals of what tests run away from those of this machine."""
    folder = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("XDG_STATE_HOME", str(folder))
        yield folder
