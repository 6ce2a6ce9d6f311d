"""``ipvkit export-script``."""

from ipvkit import export
from ipvkit.cli import emit
from ipvkit.cli.options import (
    AtOnce,
    Checks,
    Count,
    Endpoints,
    Gateway,
    LabOrNew,
    Neighbour,
    NewMode,
    Parent,
    ProberOption,
    RealNetwork,
    SetupOption,
    Subnet,
    load_or_new,
    previewed,
)
from ipvkit.core.errors import UsageError
from ipvkit.plan.make import make_plan


def export_script(
    lab: LabOrNew = None,
    parent: Parent = None,
    endpoint: Endpoints = None,
    gateway: Gateway = None,
    neighbour: Neighbour = None,
    endpoints: Count = None,
    mode: NewMode = None,
    subnet: Subnet = None,
    checks: Checks = None,
    setup: SetupOption = None,
    at_once: AtOnce = None,
    prober: ProberOption = "ping",
) -> int:
    """It goes to stdout: ipvkit export-script > lab.sh; bash lab.sh ends with the exit code of run-lab.

    Without --parent the script makes namespaces of its own, also for an ordinary user, and cannot touch
    the real network.
    """
    if prober != "ping":
        raise UsageError("an exported script pings with ping only", "leave --prober away")
    network = RealNetwork(parent, endpoint, gateway, neighbour)
    described = load_or_new(
        lab, endpoints, mode=mode, subnet=subnet, checks=checks, setup=setup, at_once=at_once
    )
    emit(export.exported(make_plan(previewed(described, network))))
    return 0
