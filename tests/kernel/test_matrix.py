"""The whole matrix on a real kernel, and a matrix that is measured without ipvkit."""

import json
from pathlib import Path

import pytest

from guest import in_guest
from ipvkit.core.values import Flag
from ipvkit.verbs.matrix import plans, predicted
from program import Program

pytestmark = pytest.mark.kernel

HERE = Path(__file__).parent
SHIM = "host-shim-address"
"""What the script calls a shim with an address of its own, which ipvkit gives it in l2."""

Cells = dict[tuple[str, ...], str]


def measured(text: str) -> Cells:
    """Return the outcome of each cell that the script printed, under the names that ipvkit has for it."""
    found = {}
    for line in text.splitlines():
        *cell, outcome = line.split("\t")
        mode, strategy = cell[0], cell[3]
        if "host-shim" in strategy:
            if (strategy == SHIM) != (mode == "l2"):
                continue
            cell[3] = "host-shim"
        found[tuple(cell)] = outcome
    return found


def told(document: str) -> list[dict[str, str]]:
    cells: list[dict[str, str]] = json.loads(document)["cells"]
    return cells


def place(cell: dict[str, str]) -> tuple[str, ...]:
    return tuple(cell[key] for key in ("mode", "flag", "family", "strategy", "source", "destination"))


@pytest.mark.promise
@pytest.mark.parametrize("flag", ["bridge", pytest.param(None, marks=pytest.mark.slow)])
def test_predicted_and_observed_agree_in_every_cell_with_each_other_and_with_plain_shell(
    program: Program, flag: Flag | None
) -> None:
    done = program.run("matrix", "--target", "uml", "--json", *(["--flag", flag] if flag else []))
    assert done.returncode in (0, 1), done.stderr
    cells = told(done.stdout)
    assert [cell for cell in cells if not cell["agrees"]] == []
    assert done.returncode == 0
    assert len(cells) == len(predicted(plans(1, flag=flag)).cells)
    by_shell = measured((HERE / "matrix.tsv").read_text())
    # On a slow machine announcements may be over before a ping begins: both outcomes are possible then.
    certain = [cell for cell in cells if cell["observed"] == cell["predicted"]]
    assert [cell for cell in certain if by_shell[place(cell)] != cell["observed"]] == []


@pytest.mark.parametrize(
    "words",
    [
        ("--mode", "l3s", "--flag", "bridge", "--family", "ipv4"),
        pytest.param((), marks=pytest.mark.slow),
    ],
)
def test_predicted_and_observed_agree_in_every_cell_on_two_hosts(
    program: Program, words: tuple[str, ...]
) -> None:
    done = program.run("matrix", "--two-hosts", "--target", "uml", "--json", *words)
    assert done.returncode == 0, done.stderr
    cells = told(done.stdout)
    assert [cell for cell in cells if not cell["agrees"]] == []
    assert len(cells) == (15 if words else 180)


@pytest.mark.slow
def test_the_plain_shell_still_measures_what_it_did() -> None:
    chosen = {"STRATEGIES": "l3s-proxy", "MODES": "l3s", "FLAGS": "bridge", "FAMILIES": "ipv4"}
    variables = " ".join(f"{name}='{words}'" for name, words in chosen.items())
    script = (HERE / "matrix.sh").read_text()
    said = in_guest(f"{variables}\nexport {' '.join(chosen)}\n{script}")
    assert said.exit_code == 0, said.output
    found = measured(said.output)
    before = measured((HERE / "matrix.tsv").read_text())
    assert len(found) == 18
    assert {cell: before[cell] for cell in found} == found
