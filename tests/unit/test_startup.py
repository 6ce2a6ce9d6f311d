"""What a command line loads: what it uses, and nothing else. Loading is most of what it costs."""

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from captures import FIXTURES
from cases import one_by_default
from ipvkit.cli import SUMMARIES, overview
from ipvkit.cli.commands import group
from ipvkit.plan.resources import Netns
from ipvkit.run import journal
from ipvkit.run.journal import Entry

pytestmark = pytest.mark.long

FORK = """\
import contextlib, io, os, sys
from ipvkit.cli import main
for line in sys.argv[1:]:
    reading, writing = os.pipe()
    if os.fork() == 0:
        with contextlib.redirect_stdout(io.StringIO()):
            main(line.split())
        with os.fdopen(writing, "w") as pipe:
            print(*sys.modules, file=pipe)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        print(pipe.read(), end="")
"""


def printed_by(script: str, *arguments: str) -> list[set[str]]:
    """Return the words of each line that a Python script prints."""
    argv = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60)
    assert "error: " not in done.stderr
    return [set(line.split()) for line in done.stdout.splitlines()]


def loaded_by(lines: Iterable[str]) -> list[set[str]]:
    """Return the modules that are loaded after each of these command lines, in a process of its own."""
    return printed_by(FORK, *lines)


PING = f"parse ping {FIXTURES}/iputils-20240905/ping-adaptive.txt"
ARPING = f"parse arping {FIXTURES}/iputils-20240905/arping-answer.txt"
NOTHING = {"typer", "sh", "yaml", "tabulate", "rich", "pydantic", "json", "dataclasses", "subprocess"}
TO_RUN = {
    "sh",
    "asyncio",
    "rich",
    "ipvkit.run.engine",
    "ipvkit.run.execution",
    "ipvkit.run.rollback",
    "ipvkit.targets.local",
}
TO_PLAN = {"yaml", "ipvkit.lab.format", "ipvkit.plan.make", "ipvkit.predict", "ipvkit.export"}
TO_REPORT = {
    f"ipvkit.report.{name}" for name in ("github", "graph", "html", "junit", "markdown", "reports")
} | {"jinja2"}
NO_LAB = TO_RUN | TO_PLAN | {"pydantic"}
NEEDLESS = {
    "--help": NOTHING,
    "--version": NOTHING,
    PING: NO_LAB | {"ipvkit.targets", "ipvkit.tools.arping", "ipvkit.tools.ip"},
    f"{PING} --json": NO_LAB | {"ipvkit.targets", "ipvkit.tools.arping", "ipvkit.tools.ip", "tabulate"},
    ARPING: NO_LAB | {"ipvkit.targets", "ipvkit.tools.ip"},
    "export-script": TO_RUN | {"pydantic", "tabulate", "tempfile"},
    "run-lab --dry-run": TO_RUN | TO_REPORT | {"pydantic", "tabulate", "tempfile"},
    "explain test1 test2": TO_RUN | TO_REPORT | {"pydantic", "tabulate"},
    "review": TO_RUN | TO_REPORT | {"pydantic", "tabulate"},
    "labs new": TO_RUN | {"pydantic", "tabulate"},
    "labs graph": TO_RUN | {"pydantic", "tabulate", "graphviz", "html"},
    "labs list": TO_RUN | {"pydantic"},
    "status": TO_RUN | TO_PLAN | {"pydantic"},
    "netns add n1 --dry-run": NO_LAB | {"tabulate"},
    "netns list": TO_PLAN | {"ipvkit.lab", "ipvkit.strategies", "ipvkit.plan.steps", "rich", "pydantic"},
    "ping 192.0.2.1 --dry-run": NO_LAB | {"tabulate", "ipvkit.tools.arping", "ipvkit.tools.ip"},
    "doctor --help": NOTHING - {"typer", "sh", "json", "dataclasses", "subprocess"},
}
"""What each command line has no use for."""


def test_a_command_line_loads_nothing_that_it_has_no_use_for() -> None:
    found = zip(NEEDLESS.items(), loaded_by(NEEDLESS), strict=True)
    assert {line: needless & loaded for (line, needless), loaded in found if needless & loaded} == {}


ONE_BY_ONE = """\
import sys
from ipvkit.cli import SUMMARIES
from ipvkit.cli.commands import loaded_command
shared = set(sys.argv[1].split())
for name in SUMMARIES:
    loaded_command(name)
    print(*(module for module in sys.modules if module.startswith("ipvkit.cli.") and module not in shared))
    for module in [module for module in sys.modules if module.startswith("ipvkit.cli.")]:
        if module not in shared:
            del sys.modules[module]
"""
SHARED = {
    f"ipvkit.cli.{name}"
    for name in ("commands", "common", "here", "hints", "options", "reports", "single", "target")
}


def test_a_command_loads_no_other_command() -> None:
    assert [len(each) for each in printed_by(ONE_BY_ONE, " ".join(SHARED))] == [1] * len(SUMMARIES)


# --- the commands by their names ------------------------------------------------------------------------


def test_the_overview_lists_exactly_the_commands_that_there_are() -> None:
    shown = overview().partition("Commands")[2].partition("Options")[0].splitlines()[1:]
    assert [line.split()[0] for line in shown if line.strip()] == [*SUMMARIES] == group().list_commands(None)
    assert all(summary in overview() for summary in SUMMARIES.values())
    assert max(map(len, overview().splitlines())) <= 80


@pytest.mark.parametrize(
    ("typed", "completed"),
    one_by_default(
        *{
            "ipvkit ": [*SUMMARIES],
            "ipvkit la": ["labs"],
            "ipvkit link ": ["add", "list", "set", "del"],
            "ipvkit parse --j": ["--json"],
            "ipvkit run-lab --target ": ["auto", "local", "sandbox", "uml", "ansible"],
            "ipvkit kernels fetch 6": ["6.1", "6.12"],
            "ipvkit explain ": ["test1", "test2", "host", "gateway", "neighbour"],
            "ipvkit explain host 192.168.104.25": ["192.168.104.254"],
            "ipvkit explain test1 test2 walk": ["walkthrough"],
            "ipvkit labs show l3-r": ["l3-routed"],
        }.items()
    ),
)
def test_a_shell_completes_what_is_typed(typed: str, completed: list[str]) -> None:
    assert completions(typed) == completed


def completions(typed: str, folder: Path | None = None) -> list[str]:
    """Return what bash is given by the script that --install-completion has it load."""
    words = {"COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" ")), "_IPVKIT_COMPLETE": "complete_bash"}
    argv = [sys.executable, "-m", "ipvkit"]
    environment = {**os.environ, **words}
    done = subprocess.run(
        argv, capture_output=True, text=True, env=environment, timeout=60, check=True, cwd=folder
    )
    assert done.stderr == ""
    return [line for line in done.stdout.splitlines() if line]


@pytest.mark.extra
def test_lab_files_are_completed_where_no_shell_evaluates_their_names(tmp_path: Path) -> None:
    for name in ("moved.yaml", "mo-2.yml", "mo.txt", "mo\\$(reboot).yaml", "mo ve.yaml"):
        (tmp_path / name).touch()
    assert completions("ipvkit run-lab mo", tmp_path) == ["mode-flip", "move", "mo-2.yml", "moved.yaml"]
    assert completions("ipvkit diff mov", tmp_path) == ["move", "moved.yaml"]


@pytest.mark.extra
def test_runs_are_completed_where_they_can_be_undone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    for lab in ("shop", "stopped"):
        with journal.started(lab) as run:
            run.begin([Entry("x.1", "", Netns(lab))])
            if lab == "shop":
                run.keep()
    assert completions("ipvkit down ") == ["shop"]
    assert completions("ipvkit cleanup s") == ["stopped"]
    (tmp_path / "ipvkit").chmod(0o777)
    assert completions("ipvkit down ") == []
