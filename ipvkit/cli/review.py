"""``ipvkit review``."""

import shlex
import sys
from functools import partial
from typing import Annotated

from typer import Option

from ipvkit.cli import emit, terminal_width
from ipvkit.cli.common import Inventory, Json
from ipvkit.cli.options import FixAs, LabName, dialect_called, live_twin
from ipvkit.cli.reports import Reports, file_of
from ipvkit.core.errors import CommandFailed, UsageError, printable
from ipvkit.lab import Lab, gallery
from ipvkit.report.review import (
    render,
    render_comparison,
    render_comparison_json,
    render_json,
    report,
    report_of_comparison,
)
from ipvkit.verbs import review as verb
from ipvkit.verbs.lab_file import load_lab

_FLEET = "fleet.yaml"
"""What stands for the lab of a fleet in the commands that are printed."""

_LIVE = "--live"
"""What stands for the lab of this machine, also in the commands that are printed."""


def review(
    lab: LabName = None,
    live: Annotated[
        bool, Option("--live", help="This machine: without LAB in its place, with LAB in that of OLD.")
    ] = False,
    against: Annotated[
        str | None, Option(metavar="OLD", help="Show only what changes: a gallery lab, or a path.")
    ] = None,
    phase: Annotated[str | None, Option(metavar="NAME", help="Only this phase.")] = None,
    fix_as: FixAs = None,
    json_: Json = False,
    inventory: Inventory = None,
    *,
    reports: Reports,
) -> int:
    """It predicts each pair with an endpoint, as a phase begins, and groups what is unreachable by reason.

    For each group it prints the cheapest fix, and what else this one changes. It runs nothing. With --fix-as
    the commands of `explain` that it prints have that option.

    With --inventory it reviews the lab of all hosts of an Ansible inventory, as `ipvkit adopt` writes it.

    Exit code: 0; 1 a check of LAB cannot be reachable as it expects, or compared with OLD a pair is lost;
    2 wrong usage or invalid lab; 3 only root sees this machine; 4 a host could not be reached.
    """
    if live and lab is not None and against is not None:
        raise UsageError("--live and --against are two labs to compare LAB with", "give one of the two")
    if inventory and (live or lab is not None):
        raise UsageError("--inventory stands for LAB, and goes with neither that nor --live", "omit one")
    dialect_called(fix_as)
    new = _FLEET if inventory else _LIVE if live and lab is None else lab or gallery.WALKTHROUGH
    old = _LIVE if live and lab is not None else against
    if old is not None and fix_as is not None:
        raise UsageError("--fix-as does not go with a comparison", "omit it: a comparison has no fixes")
    described, code = _fleet(inventory) if inventory else (lab_of(new), 0)
    if old is not None:
        compared = verb.compare(described, lab_of(old), phase)
        emit(render_comparison_json(compared) if json_ else render_comparison(compared, terminal_width()))
        reports.write(partial(report_of_comparison, compared, file_of(new)))
        return code or int(compared.loses)
    reviewed = verb.review(described, phase)
    emit(render_json(reviewed, new, fix_as) if json_ else render(reviewed, new, fix_as, terminal_width()))
    reports.write(partial(report, reviewed, new, fix_as, file_of(new)))
    return code or int(bool(reviewed.unmet))


def _fleet(paths: list[str]) -> tuple[Lab, int]:
    """Return the lab of the hosts of an inventory, noting what it leaves out, and the exit code of that."""
    from ipvkit.cli.here import found_on
    from ipvkit.verbs.live import checked, live_fleet

    found = found_on(paths, None, verbose=False)
    twin = live_fleet(found.hosts)
    typed = " ".join(f"--inventory {shlex.quote(path)}" for path in paths)
    notes = (f"commands below name {_FLEET}; `ipvkit adopt {typed}` writes it", *twin.notes)
    print(*(f"note: {printable(note)}\n" for note in notes), sep="", end="", file=sys.stderr)
    return checked(twin), CommandFailed.exit_code if found.unreached else 0


def lab_of(name: str) -> Lab:
    """Return a lab of the gallery or of a file, or the twin of this machine, noting what it leaves out."""
    return live_twin(left_out=True).lab if name is _LIVE else load_lab(name)
