"""``ipvkit grade``."""

import os
import sys
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from ipvkit.cli import emit
from ipvkit.cli.common import Kernel
from ipvkit.cli.options import GivenLab
from ipvkit.core.errors import UsageError
from ipvkit.verbs.lab_file import load_lab


def grade(
    lab: GivenLab,
    scripts: Annotated[list[str], Argument(metavar="SCRIPT", help="Bash scripts, each graded separately.")],
    phase: Annotated[str | None, Option(metavar="NAME", help="The phase. Default: the only one.")] = None,
    csv: Annotated[bool, Option("--csv", help="Print CSV.")] = False,
    kernel: Kernel = None,
    timeout: Annotated[float, Option(metavar="SECONDS", min=1, help="How long a script may run.")] = 60,
) -> int:
    """Each script runs as root of a separate uml kernel, on the lab's LAN without its endpoints.

    It is to create what the phase describes; then the lab's checks run, with a point for each that comes
    out as predicted. A script that hangs, floods or ends its kernel costs nothing but its points.

    Exit code: 0 all points, 1 some are missing, 2 wrong usage, 3 this machine cannot, 130 interrupted.
    """
    from ipvkit.report.grade import csv_of, table
    from ipvkit.targets import kernels
    from ipvkit.targets.uml import Uml
    from ipvkit.verbs import grade as verb

    described = load_lab(lab)
    wanted = verb.phase_of(described, phase)
    texts = [(name, _text(name)) for name in scripts]
    target = Uml(kernels.find(kernel))
    target.check()
    if os.geteuid() == 0:
        print(
            "note: a script can read what you can; root can read every file of this machine", file=sys.stderr
        )
    found = []
    for each in verb.grade(described, wanted, texts, target, timeout_s=timeout):
        found.append(each)
        print(f"[{len(found)}/{len(texts)}] {each.name}: {each.points} of {each.most}", file=sys.stderr)
    emit(csv_of(found) if csv else table(found))
    return 0 if all(each.points == each.most for each in found) else 1


def _text(name: str) -> str:
    try:
        return Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        what = getattr(problem, "strerror", None) or "not UTF-8 text"
        raise UsageError(f"{name!r} cannot be read: {what}") from None
