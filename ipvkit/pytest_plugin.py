"""The pytest plugin: the fixture `ipvlan_lab`, and files ``*.ipvkit.yaml`` with a test for each check."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ipvkit.core.errors import IpvkitError

if TYPE_CHECKING:
    from ipvkit.lab import Lab
    from ipvkit.run.verdicts import Result, Verdict
    from ipvkit.verbs.standing import StandingLab

_ENDING = ".ipvkit.yaml"
_MARKER = "ipvlan_lab(LAB, phase=None, scope='function'): the lab that the fixture ipvlan_lab builds"
_SCOPES = {"function": pytest.Item, "class": pytest.Class, "module": pytest.Module, "session": pytest.Session}

_STANDING = pytest.StashKey[dict[tuple[str, str | None], "StandingLab"]]()
"""The labs that stand until a node of pytest has ended, by file and phase."""


def pytest_configure(config: pytest.Config) -> None:
    """Describe the marker."""
    config.addinivalue_line("markers", _MARKER)


@pytest.fixture
def ipvlan_lab(request: pytest.FixtureRequest) -> "StandingLab":
    """A lab that stands for a test, or as long as the marker wants: `ping`, `run` and `explain` ask it.

    ``@pytest.mark.ipvlan_lab("two.yaml", phase="l3", scope="module")`` names the lab, one of the gallery or a
    file beside the test, its phase, by default the first, and for how long it stands.
    """
    marker = request.node.get_closest_marker("ipvlan_lab")
    if marker is None:
        raise pytest.UsageError(f"the fixture ipvlan_lab needs a marker: {_MARKER}")
    try:
        return _standing(request, *marker.args, **marker.kwargs)
    except IpvkitError as problem:
        pytest.fail(str(problem), pytrace=False)


def _standing(
    request: pytest.FixtureRequest, lab: str, phase: str | None = None, scope: str = "function"
) -> "StandingLab":
    from ipvkit.api import up

    if scope not in _SCOPES:
        raise pytest.UsageError(f"ipvlan_lab: unknown scope {scope!r}; choose from {', '.join(_SCOPES)}")
    node = request.node.getparent(_SCOPES[scope]) or request.node
    found: dict[tuple[str, str | None], StandingLab] = node.stash.setdefault(_STANDING, {})
    described = _load(lab, request.path.parent)
    key = lab, phase
    if key not in found:
        standing = up(described, phase)
        found[key] = standing.__enter__()
        node.addfinalizer(lambda: standing.__exit__(None, None, None))
        node.addfinalizer(lambda: found.pop(key))
    return found[key]


def _load(lab: str, folder: Path) -> "Lab":
    from ipvkit.api import load_lab
    from ipvkit.verbs.lab_file import is_path

    return load_lab(str(folder / lab) if is_path(lab) else lab)


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> "LabFile | None":
    """Collect a lab file by its name."""
    return LabFile.from_parent(parent, path=file_path) if file_path.name.endswith(_ENDING) else None


class LabFile(pytest.File):
    """A lab file: it runs once, with the first of its tests."""

    _result: "Result | None" = None

    def collect(self) -> Iterator["LabCheck"]:
        """Yield a test for each check and try, phase by phase."""
        from ipvkit.api import load_lab
        from ipvkit.plan.make import make_plan

        self.lab = load_lab(str(self.path))
        taken: dict[str, int] = {}
        for section in make_plan(self.lab).sections:
            probes = [step.probe for stage in section.stages for step in stage if step.probe is not None]
            for position, probe in enumerate(probes):
                name = f"{section.name}: {probe.check}"
                taken[name] = taken.get(name, 0) + 1
                own = name if taken[name] == 1 else f"{name} #{taken[name]}"
                yield LabCheck.from_parent(self, name=own, file=self, place=(section.name, position))

    def result(self) -> "Result":
        """Return the result of the lab's run."""
        from ipvkit.api import run

        if self._result is None:
            self._result = run(self.lab)
        return self._result

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException]) -> object:  # type: ignore[override]
        """Return why the file cannot be collected."""
        return _problem(excinfo) or super().repr_failure(excinfo)


class LabCheck(pytest.Item):
    """One check of a lab: it fails where what was observed is not what was predicted or expected."""

    def __init__(self, *, file: LabFile, place: tuple[str, int], **options: Any) -> None:  # noqa: ANN401
        """Describe the check at this place, a phase and a position in it."""
        super().__init__(**options)
        self.file, self.place = file, place

    def runtest(self) -> None:
        """Run the lab, unless another of its tests has, and look at this check."""
        section, position = self.place
        result = self.file.result()
        verdict = result.verdicts[section][position]
        if verdict.observed is None:
            raise result.failure or IpvkitError("the check did not run")
        if verdict.passed is None:
            pytest.skip(verdict.probe.reason)
        if not verdict.passed:
            raise Differs(_described(verdict))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException]) -> object:  # type: ignore[override]
        """Return what differs, or what failed."""
        return _problem(excinfo) or super().repr_failure(excinfo)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Return the file, and the check."""
        return self.path, None, self.name


class Differs(Exception):
    """What was observed is not what was predicted."""


def _described(verdict: "Verdict") -> str:
    probe = verdict.probe
    return f"{probe.check}: predicted {probe.expected}, observed {verdict.observed}: {probe.reason}"


def _problem(excinfo: pytest.ExceptionInfo[BaseException]) -> str:
    """Return the text of an error that needs no traceback, or nothing."""
    return str(excinfo.value) if isinstance(excinfo.value, Differs | IpvkitError) else ""
