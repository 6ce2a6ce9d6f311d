"""``ipvkit status``."""

import os
import sys

from ipvkit.cli import emit
from ipvkit.cli.common import Json
from ipvkit.report import runs
from ipvkit.run import journal


def status(json_: Json = False) -> None:
    """It lists the resources of each lab, the last created first. Labs on target sandbox or uml hold none.

    Exit code: 0, also with an empty list.
    """
    found = journal.records()
    if os.geteuid() != 0:
        print("note: these are your own runs; for root's, type: sudo ipvkit status", file=sys.stderr)
    emit(runs.render_json(found) if json_ else runs.render_table(found))
