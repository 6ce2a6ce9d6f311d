"""``ipvkit export-script``."""

from ipvkit.cli import emit
from ipvkit.cli.options import LabOptions
from ipvkit.core.errors import UsageError
from ipvkit.export.script import exported
from ipvkit.plan.make import make_plan


def export_script(options: LabOptions) -> None:
    """The script goes to stdout: ipvkit export-script > lab.sh; bash lab.sh.

    Without --parent the script creates separate namespaces, needs no root, and cannot touch the real
    network.

    Exit code: 0 done, 2 wrong usage. The script itself has the exit codes of run-lab.
    """
    if options.prober == "fping":
        raise UsageError("an exported script pings with ping only", "omit --prober")
    emit(exported(make_plan(options.network().previewed(options.described()))))
