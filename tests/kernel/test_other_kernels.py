"""Debian's kernels from 5.10 on: each is fetched, and the gallery comes out on it as predicted."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from documents import documents, problem, run
from ipvkit.report.kernels import absent
from ipvkit.targets.kernels import SUITES, find, kernels
from ipvkit.targets.uml import Uml
from program import Program
from test_gallery import assert_as_predicted, gallery_labs, results_of

# They download 40 MB a kernel.
pytestmark = [pytest.mark.kernel, pytest.mark.slow]


@pytest.fixture(scope="module")
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.mark.usefixtures("_cache")
@pytest.mark.parametrize("series", SUITES)
def test_the_gallery_comes_out_as_predicted_on(series: str, tmp_path: Path) -> None:
    if series in dict(absent(kernels())):
        program = Program(tmp_path, environment={"XDG_CACHE_HOME": os.environ["XDG_CACHE_HOME"]})
        done = program.run("kernels", "fetch", series)
        assert done.returncode == 0, done.stderr
    kernel = find(series)
    assert f"{kernel.release}.".startswith(f"{series}.")
    for result in results_of(gallery_labs(), Uml(kernel)):
        assert result.run.kernel == kernel.release
        assert_as_predicted(result)


SHOWN = [
    (document, shown) for document in documents() for shown in document.shown if shown.runs_in == "fetched"
]


@pytest.mark.usefixtures("_cache")
def test_the_documents_show_what_is_printed_on_other_kernels(tmp_path: Path) -> None:
    """The home of the commands has the kernels that were fetched for the tests above, or by them."""
    (tmp_path / ".cache").symlink_to(os.environ["XDG_CACHE_HOME"])
    problems = []
    for document, shown in sorted(SHOWN, key=lambda each: "fetch" not in each[1].command):
        document.write_files(tmp_path)
        problems.append(problem(shown, *run(shown.command, tmp_path)))
    assert not any(problems), "\n\n".join(filter(None, problems))


def test_an_ordinary_user_fetches_a_kernel_and_compares_it(users_program: Program) -> None:
    done = users_program.run("kernels", "fetch", "6.1")
    assert done.returncode == 0, done.stderr
    home = users_program.places[0] / ".cache" / "ipvkit" / "kernels"
    assert [path.name.rpartition(".")[0] for path in home.iterdir()] == ["6.1"]
    done = users_program.run("matrix", "--mode", "l2", "--strategy", "none", "--kernel", "all", "--json")
    assert done.returncode == 0, done.stderr
    cells = json.loads(done.stdout)["cells"]
    assert {cell["kernel"].rpartition(".")[0] for cell in cells} >= {"6.1"}
    assert all(cell["agrees"] for cell in cells)
