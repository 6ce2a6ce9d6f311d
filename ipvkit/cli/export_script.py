"""``ipvkit export-script``."""

from ipvkit import script
from ipvkit.cli import emit
from ipvkit.cli.options import (
    Endpoints,
    Gateway,
    LabName,
    Neighbour,
    Parent,
    RealNetwork,
    load_lab,
    previewed,
)
from ipvkit.labs import WALKTHROUGH
from ipvkit.plan import make_plan


def export_script(
    lab: LabName = WALKTHROUGH,
    parent: Parent = None,
    endpoint: Endpoints = None,
    gateway: Gateway = None,
    neighbour: Neighbour = None,
) -> int:
    """It goes to stdout: ipvkit export-script > lab.sh; bash lab.sh ends with the exit code of run-lab.

    Without --parent the script makes namespaces of its own, also for an ordinary user, and cannot touch
    the real network.
    """
    network = RealNetwork(parent, endpoint, gateway, neighbour)
    emit(script.exported(make_plan(previewed(load_lab(lab), network))))
    return 0
