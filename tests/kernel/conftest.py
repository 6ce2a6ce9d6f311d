"""Everything here runs a real ipvlan kernel, in a uml guest."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from guest import REUSED
from ipvkit.targets.kernels import VARIABLE, kernels, numbers, wanted
from program import AS_A_USER, Program


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    folder = Path(__file__).parent
    for item in items:
        if item.path.parent == folder:
            item.add_marker(pytest.mark.kernel)


@pytest.fixture(autouse=True)
def _fastest_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest kernel, on which commands take three quarters of the time, where none was named."""
    if not wanted(None) and (there := kernels()):
        monkeypatch.setenv(VARIABLE, max(there, key=lambda kernel: numbers(kernel.release)).release)


@pytest.fixture(autouse=True, scope="session")
def _one_guest_for_a_worker() -> Iterator[None]:
    yield
    REUSED.end()


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(tmp_path)


@pytest.fixture
def users_program() -> Iterator[Program]:
    """ipvkit as an ordinary user runs it; as it is where the tests themselves have no root."""
    folder = Path(tempfile.mkdtemp(prefix="ipvkit-tests-", dir="/var/tmp"))
    folder.chmod(0o755)
    try:
        yield Program(folder, (*AS_A_USER, sys.executable) if os.geteuid() == 0 else (sys.executable,))
    finally:
        shutil.rmtree(folder)
