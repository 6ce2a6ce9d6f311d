"""Explanations as a person reads them, and as one JSON document, ``ipvkit/explain/v1``."""

import json
from collections.abc import Iterator, Mapping, Sequence
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from ipvkit.lab import Lab
from ipvkit.report.grid import prediction_word
from ipvkit.verbs.explain import Explanation, Fix

if TYPE_CHECKING:
    from ipvkit.run.verdicts import Verdict

Proofs = Mapping[tuple[str, str], Sequence["Verdict"]]
"""What a kernel did, by phase and name of the fix (or none): the ping without the fix, and with it."""


def render(explanations: Sequence[Explanation], proofs: Proofs | None = None) -> str:
    """Return the outcome of each ping, why, its path, and how to fix it."""
    return "\n".join("\n".join(_lines(explanation, proofs)) for explanation in explanations)


def _lines(explanation: Explanation, proofs: Proofs | None) -> Iterator[str]:
    prediction = explanation.prediction
    yield f"phase {explanation.phase.name}: {explanation.setting}"
    yield f"{explanation.check}: {prediction.outcome}, with empty neighbour tables"
    yield from wrap(prediction.reason, 100, initial_indent="  ", subsequent_indent="  ")
    yield ""
    yield "path:"
    for number, hop in enumerate(prediction.hops, 1):
        # The reason above is why it is lost.
        yield f"  {number}. {hop.at}: {'lost' if hop.what.startswith('lost: ') else hop.what}"
    if proofs is not None and not explanation.fixes:
        yield f"  {_observations(proofs, explanation, '')}"
    for number, mend in enumerate(explanation.fixes, 1):
        yield ""
        yield f"fix {number}, {mend.name}: {mend.cost}"
        yield from (f"  {command}" for command in mend.commands)
        yield from wrap(f"then: {mend.prediction.reason}", 100, initial_indent="  ", subsequent_indent="  ")
        if proofs is not None:
            yield f"  {_observations(proofs, explanation, mend.name)}"
    yield ""


def _observations(proofs: Proofs, explanation: Explanation, mend: str) -> str:
    found = proofs.get((explanation.phase.name, mend), ())
    when = ("before ", "after ") if mend else ("",)
    words = [f"{at}{_observation(verdict)}" for at, verdict in zip(when, found, strict=False)]
    return f"on the kernel: {', '.join(words) or 'not run'}"


def _observation(verdict: "Verdict") -> str:
    if verdict.observed is None:
        return "not run"
    return f"{verdict.observed} ({prediction_word(verdict.passed)})"


def render_json(lab: Lab, explanations: Sequence[Explanation], proofs: Proofs | None = None) -> str:
    """Return the document of `explanations`; `observed` is null where nothing was run."""
    document = {
        "schema": "ipvkit/explain/v1",
        "lab": lab.name,
        "explanations": [
            {
                "phase": explanation.phase.name,
                "source": explanation.check.source,
                "destination": explanation.check.destination,
                "predicted": explanation.prediction.outcome,
                "observed": _observed(proofs, explanation, 0),
                "reason": explanation.prediction.reason,
                "hops": [{"at": hop.at, "what": hop.what} for hop in explanation.prediction.hops],
                "mends": [_mend(mend, explanation, proofs) for mend in explanation.fixes],
            }
            for explanation in explanations
        ],
    }
    return json.dumps(document, indent=2) + "\n"


def _mend(mend: Fix, explanation: Explanation, proofs: Proofs | None) -> dict[str, Any]:
    return {
        "name": mend.name,
        "cost": mend.cost,
        "commands": [str(command) for command in mend.commands],
        "predicted": mend.prediction.outcome,
        "observed": _observed(proofs, explanation, 1, mend.name),
        "reason": mend.prediction.reason,
    }


def _observed(proofs: Proofs | None, explanation: Explanation, position: int, mend: str = "") -> str | None:
    """Return what the kernel did; as it is, in the run of the first mend, or of none."""
    names = [mend] if mend else [*(m.name for m in explanation.fixes), ""]
    for name in names:
        found = (proofs or {}).get((explanation.phase.name, name), ())
        if len(found) > position:
            return found[position].observed
    return None
