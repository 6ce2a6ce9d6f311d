"""``ipvkit export``."""

import sys
from pathlib import Path
from typing import Annotated

from typer import Option

from ipvkit.cli import emit
from ipvkit.cli.options import LabName
from ipvkit.lab import gallery
from ipvkit.report import files
from ipvkit.verbs import formats
from ipvkit.verbs.lab_file import load_lab

Folder = Annotated[Path | None, Option(metavar="DIR", help="Write the files to DIR, at their paths.")]


def export(
    format_: Annotated[
        str,
        Option("--format", metavar="FORMAT", help=f"{', '.join(formats.WRITTEN)}.", show_default=False),
    ],
    lab: LabName = None,
    phase: Annotated[str | None, Option(metavar="NAME", help="The phase. Default: the only one.")] = None,
    output_dir: Folder = None,
) -> None:
    """It writes a bash script that creates the files of that tool and activates them.

    With --output-dir it writes the files, activate.sh and remove.sh to DIR. What the tool cannot do
    is an error, and never left out. A playbook for ansible has all phases, with their checks.

    Exit code: 0 written, 2 wrong usage, or the tool cannot do it.
    """
    written = formats.exported(load_lab(lab or gallery.WALKTHROUGH), format_, phase)
    print(*(f"note: {note}\n" for note in written.notes), sep="", end="", file=sys.stderr)
    if output_dir is None:
        emit("".join(f"{line}\n" for line in formats.script(written)))
        return
    every = formats.in_folder(written)
    for path, file in every.items():
        files.write_at(output_dir / path, file.text, file.mode)
    emit("".join(f"{output_dir / path}\n" for path in every))
