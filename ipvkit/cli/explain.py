"""``ipvkit explain``."""

import shlex
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from ipvkit.cli import emit, terminal_width
from ipvkit.cli.common import Json, Place, Timeout
from ipvkit.cli.options import FixAs, LabName, Live, dialect_called, live_twin
from ipvkit.cli.reports import Reports, file_of
from ipvkit.core.errors import IpvkitError, UsageError
from ipvkit.lab import FAR, HOST, Check, Family, Lab, gallery
from ipvkit.report.explanation import Proofs, render, render_json, report
from ipvkit.verbs import explain as verb
from ipvkit.verbs.lab_file import is_lab, load_lab, node_of

if TYPE_CHECKING:
    from ipvkit.targets.agent import Target


def _lab_of_this_machine() -> Lab:
    """Return the lab of this machine without a note."""
    from ipvkit.cli.here import found_here
    from ipvkit.verbs.live import live

    return live(found_here(None, verbose=False)).lab


def _nodes(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the nodes that a person can ask about, with --live those of this machine.

    Namespaces and addresses are among them once they begin with what is typed.
    """
    with suppress(IpvkitError):
        lab = _lab_of_this_machine() if ctx.params.get("live") else load_lab(gallery.WALKTHROUGH)
        names = [
            *(endpoint.name for endpoint in lab.endpoints),
            HOST,
            *lab.peers,
            *([FAR] if lab.far else []),
        ]
        if incomplete:
            names += [
                *(endpoint.netns for endpoint in lab.endpoints),
                *(str(ip) for ip, _ in lab.addresses()),
            ]
        return [name for name in dict.fromkeys(names) if name.startswith(incomplete)]
    return []


A_HELP = "The source: an endpoint, host, gateway, neighbour or far, or its address."


def explain(
    source: Annotated[str, Argument(metavar="A", help=A_HELP, autocompletion=_nodes)],
    destination: Annotated[
        str, Argument(metavar="B", help="The destination, likewise.", autocompletion=_nodes)
    ],
    lab: LabName = None,
    live: Live = False,
    phase: Annotated[str | None, Option(metavar="NAME", help="Only this phase.")] = None,
    family: Annotated[Family | None, Option(help="Default: the first that both have.")] = None,
    run: Annotated[bool, Option("--run", help="Test on a real kernel, before and after each fix.")] = False,
    fix_all: Annotated[bool, Option("--all", help="Fix the whole phase, not only A and B.")] = False,
    fix_as: FixAs = None,
    capture: Annotated[
        bool, Option("--capture", help="With --run: capture packets, and show those of A and B.")
    ] = False,
    *,
    place: Place,
    json_: Json = False,
    reports: Reports,
    timeout: Timeout = 120,
) -> int:
    """It follows the ping hop by hop, with empty neighbour tables, and lists fixes, cheapest first.

    With --live an endpoint has the name of its container, or of its namespace. What its fixes need on
    other hosts is a comment; with --run they are tested on its twin.

    Exit code: 0 explained, and with --run as predicted; 1 the kernel differs; 2 wrong usage;
    3 this machine cannot; 4 a command failed; 130 interrupted.
    """
    if is_lab(source) and not is_lab(lab or gallery.WALKTHROUGH):
        hint = f"ipvkit explain {shlex.join(filter(None, (destination, lab, source)))}"
        raise UsageError("LAB is the last argument", hint)
    if capture:
        if not run:
            raise UsageError("--capture needs --run", "a prediction sends no packets")
        from ipvkit.report.timeline import require_dpkt

        require_dpkt()
    twin = live_twin(lab) if live else None
    described = twin.lab if twin is not None else load_lab(lab or gallery.WALKTHROUGH)
    (source, of_source), (destination, of_destination) = (
        node_of(described, t) for t in (source, destination)
    )
    check = Check(source, destination, family=family or of_source or of_destination)
    phases = verb.phases_of(described, phase, check)
    if twin is not None:
        # A lab needs none of what looks at a machine.
        from ipvkit.verbs.live import explained

        explanations = [explained(twin, check, fix_all=fix_all)]
    else:
        explanations = [verb.explain(described, each, check, fix_all=fix_all) for each in phases]
    dialect = dialect_called(fix_as)

    def rendered(proofs: Proofs | None) -> str:
        if json_:
            return render_json(described, explanations, proofs, dialect)
        return render(explanations, proofs, dialect, terminal_width())

    reported = partial(report, described, explanations, dialect=dialect, file=file_of(lab))
    if not run:
        emit(rendered(None))
        reports.write(reported)
        return 0
    place.refuse_local()
    proofs, kernel = _proved(explanations, place.chosen(len(described.hosts)), timeout, captures=capture)
    emit(rendered(proofs))
    reports.write(partial(reported, proofs, kernel=kernel))
    return 0 if all(verdict.passed for found in proofs.values() for verdict in found) else 1


def _proved(
    explanations: Sequence[verb.Explanation], target: "Target", timeout_s: float, *, captures: bool
) -> tuple[Proofs, str]:
    """Return what a kernel does before and after each fix, and its release."""
    # What is only predicted needs none of these.
    from ipvkit.report.progress import Progress
    from ipvkit.targets.choice import KERNELS_AT_ONCE
    from ipvkit.verbs.run_lab import judged

    plans = {(each.phase.name, fix): plan for each in explanations for fix, plan in each.plans.items()}
    judge = partial(judged, at_once=KERNELS_AT_ONCE, timeout_s=timeout_s, captures=captures)
    with Progress(*plans.values(), verbose=False) as progress:
        results = judge([*plans.values()], target, progress)
    return dict(zip(plans, (result.checks for result in results), strict=True)), results[0].run.kernel
