"""``ipvkit explain``."""

from typing import Annotated

import typer

from ipvkit.cli import emit
from ipvkit.cli.common import Json
from ipvkit.cli.options import load_lab
from ipvkit.core.errors import UsageError
from ipvkit.lab import Check, Family, Lab, Phase
from ipvkit.lab.gallery import WALKTHROUGH
from ipvkit.report import explanation as report
from ipvkit.targets.kinds import TargetKind
from ipvkit.verbs.explain import explain as explained


def explain(
    source: Annotated[str, typer.Argument(metavar="A", help="Who pings: an endpoint, host, gateway, …")],
    destination: Annotated[str, typer.Argument(metavar="B", help="Who is pinged.")],
    lab: Annotated[
        str, typer.Argument(metavar="LAB", help="A lab of the gallery, or the path of a lab file.")
    ] = WALKTHROUGH,
    phase: Annotated[str | None, typer.Option(metavar="NAME", help="Only this phase.")] = None,
    family: Annotated[Family | None, typer.Option(help="Default: the first that both have.")] = None,
    run: Annotated[
        bool, typer.Option("--run", help="Ask a real kernel, before and after each mend.")
    ] = False,
    target: Annotated[TargetKind, typer.Option(help="Where to run it.")] = TargetKind.AUTO,
    json_: Json = False,
    timeout: Annotated[float, typer.Option(min=1, metavar="SECONDS", help="End the run after that.")] = 120,
) -> int:
    """It follows the ping hop by hop, with cold neighbour tables, and says what mends it, cheapest first.

    Exit code: 0 explained, and with --run as the kernel did it; 1 the kernel did otherwise; 2 wrong usage;
    3 this machine cannot; 4 a command failed; 130 interrupted.
    """
    described, check = load_lab(lab), Check(source, destination, family=family)
    explanations = [explained(described, each, check) for each in _phases(described, phase, check)]
    if not run:
        emit(report.render_json(described, explanations) if json_ else report.render(explanations))
        return 0
    from ipvkit.cli.proofs import proofs_of

    proofs = proofs_of(explanations, target, timeout)
    emit(
        report.render_json(described, explanations, proofs) if json_ else report.render(explanations, proofs)
    )
    return 0 if all(verdict.passed for found in proofs.values() for verdict in found) else 1


def _phases(lab: Lab, name: str | None, check: Check) -> list[Phase]:
    """Return the phases to explain: those called `name`, or all that have both ends; one of them at least."""
    ends = {role for role in (check.source, check.destination) if lab.is_endpoint(role)}
    found = [phase for phase in lab.phases if name in (None, phase.name)]
    if not found:
        there = ", ".join(phase.name for phase in lab.phases)
        raise UsageError(f"lab {lab.name} has no phase {name!r}", f"there is {there}")
    return [phase for phase in found if ends <= set(phase.endpoints)] or found[:1]
