"""``ipvkit diff``."""

import sys

from ipvkit.cli import emit
from ipvkit.cli.common import Json
from ipvkit.cli.options import GivenLab, live_twin
from ipvkit.report.diff import render, render_json
from ipvkit.verbs.diff import differences
from ipvkit.verbs.lab_file import load_lab


def diff(lab: GivenLab, json_: Json = False) -> int:
    """It prints what differs, and the commands that make this machine as LAB is; it runs none of them.

    LAB has one phase, as `ipvkit adopt` writes it. Other hosts are not compared.

    Exit code: 0 nothing differs, 1 something does, 2 wrong usage, 3 only root sees this machine.
    """
    described, twin = load_lab(lab), live_twin(left_out=True)
    found = differences(described, twin)
    if not found:
        print("nothing differs", file=sys.stderr)
    emit(render_json(described.name, found, twin.notes) if json_ else render(found))
    return 1 if found else 0
