"""The Python interface of ipvkit: what its subcommands do, for programs.

Each function raises IpvkitError, which has `message`, `hint` and `exit_code`, and prints nothing but notes.
"""

from contextlib import AbstractContextManager
from typing import Any

from ipvkit.core.errors import IpvkitError
from ipvkit.core.values import TargetKind
from ipvkit.export.script import exported
from ipvkit.lab import Check, Family, Lab
from ipvkit.plan.make import make_plan
from ipvkit.predict.whole import PredictedPhase, predict_lab
from ipvkit.report.reading import Kind, reader_of
from ipvkit.run import engine
from ipvkit.run.verdicts import Result, judge
from ipvkit.targets.choice import choose
from ipvkit.verbs import explain as _explain
from ipvkit.verbs import formats, standing
from ipvkit.verbs import inspect as _inspect
from ipvkit.verbs import review as _review
from ipvkit.verbs.explain import Explanation
from ipvkit.verbs.lab_file import load_lab
from ipvkit.verbs.review import Review
from ipvkit.verbs.standing import StandingLab

__all__ = [
    "IpvkitError",
    "explain",
    "export",
    "inspect",
    "load_lab",
    "parse",
    "predict",
    "review",
    "run",
    "up",
]

_SCRIPT = "script"
"""What `export` writes besides the formats of other tools."""


def predict(lab: Lab) -> tuple[PredictedPhase, ...]:
    """Return the predicted outcome and reason of each check of `lab`, phase by phase; nothing is run."""
    return predict_lab(lab)


def run(
    lab: Lab, *, target: TargetKind = "auto", kernel: str | None = None, timeout_s: float = 120.0
) -> Result:
    """Run `lab` on a LAN that ends with the run, and return its verdicts.

    `target` is ``"auto"``, ``"sandbox"`` or ``"uml"``, `kernel` the release of a uml kernel. A command that
    failed is the `failure` of the result. Raise MissingRequirement where this machine cannot.
    """
    where = choose(target, _silent, kernel, hosts=len(lab.hosts))
    return judge(engine.run(make_plan(lab), where, _silent, timeout_s=timeout_s))


def up(
    lab: Lab,
    phase: str | None = None,
    *,
    target: TargetKind = "auto",
    kernel: str | None = None,
    timeout_s: float = 120.0,
) -> AbstractContextManager[StandingLab]:
    """Build a phase of `lab`, by default the first, without its checks; it ends with the ``with`` block.

    Raise MissingRequirement where this machine cannot, CommandFailed where a command failed.
    """
    where = choose(target, _silent, kernel, hosts=len(lab.hosts))
    return standing.up(lab, where, phase, timeout_s=timeout_s)


def explain(
    lab: Lab, source: str, destination: str, *, phase: str | None = None, family: Family | None = None
) -> list[Explanation]:
    """Return why one node reaches another or does not, and the fixes, in `phase` or in each one."""
    check = Check(source, destination, family=family)
    return [_explain.explain(lab, each, check) for each in _explain.phases_of(lab, phase, check)]


def review(lab: Lab, phase: str | None = None) -> Review:
    """Return who cannot reach whom in `phase` or in all, in groups by their reason, with the cheapest fix."""
    return _review.review(lab, phase)


def export(lab: Lab, form: str = _SCRIPT, phase: str | None = None) -> dict[str, str]:
    """Return the texts of files by their paths: the bash script ``lab.sh``, or those of another tool.

    `form` is ``"script"``, or a format of ``ipvkit export``. Raise UsageError for what the tool cannot do.
    """
    if form == _SCRIPT:
        return {"lab.sh": exported(make_plan(lab))}
    return {file.path: file.text for file in formats.exported(lab, form, phase).files}


def inspect() -> _inspect.Review:
    """Return the ipvlan, ipvtap and macvlan links of this machine, and what is wrong; nothing is changed."""
    return _inspect.review(_inspect.look(_silent))


def parse(kind: Kind, text: str) -> Any:  # noqa: ANN401
    """Return what a tool printed, as data: `kind` is one of those of ``ipvkit parse``.

    Raise UnparsableOutput for text that this tool does not print.
    """
    _, whole, _ = reader_of(kind)
    return whole(text)


def _silent(_: object) -> None:
    pass
