"""``ipvkit status``: what runs have left on this machine."""

import os
import sys

from ipvkit.cli import emit
from ipvkit.cli.common import Json
from ipvkit.report import runs
from ipvkit.run import journal


def status(json_: Json = False) -> int:
    """What a lab holds is listed as it is undone: the last first. Labs in a kernel of their own hold nothing.

    Exit code: 0, also when there is nothing.
    """
    found = journal.records()
    if os.geteuid() != 0:
        print("these are this user's runs; those of root: sudo ipvkit status", file=sys.stderr)
    emit(runs.render_json(found) if json_ else runs.render_table(found))
    return 0
