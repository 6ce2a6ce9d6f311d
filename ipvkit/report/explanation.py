"""Explanations as text, and as one JSON document, ``ipvkit/explain/v1``."""

from collections.abc import Iterator, Mapping, Sequence
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from ipvkit.lab import Lab
from ipvkit.report.plain import chosen, document, prediction_word
from ipvkit.verbs.explain import Explanation, Fix, sysctls_first

if TYPE_CHECKING:
    from ipvkit.host.twin import Elsewhere
    from ipvkit.run.verdicts import Verdict
    from ipvkit.verbs.formats import Dialect

Proofs = Mapping[tuple[str, str], Sequence["Verdict"]]
"""What a kernel did, by phase and name of the fix (or none): the ping without the fix, and with it."""


def render(
    explanations: Sequence[Explanation], proofs: Proofs | None = None, dialect: "Dialect | None" = None
) -> str:
    """Return the outcome of each ping, why, its path, and how to fix it, in a `dialect` or by commands."""
    return "\n".join("\n".join(_lines(explanation, proofs, dialect)) for explanation in explanations)


def _lines(explanation: Explanation, proofs: Proofs | None, dialect: "Dialect | None") -> Iterator[str]:
    prediction = explanation.prediction
    yield f"phase {explanation.phase.name}: {explanation.setting}"
    yield f"{explanation.check}: {prediction.outcome}, with empty neighbour tables{_without(explanation)}"
    yield from wrap(prediction.reason, 100, initial_indent="  ", subsequent_indent="  ")
    yield ""
    yield "path:"
    for number, hop in enumerate(prediction.hops, 1):
        # The reason above is why it is lost.
        yield f"  {number}. {hop.at}: {'lost' if hop.what.startswith('lost: ') else hop.what}"
    if proofs is not None and not explanation.fixes:
        yield f"  {_observations(proofs, explanation, '')}"
    for number, fix in enumerate(explanation.fixes, 1):
        yield ""
        yield f"fix {number}, {fix.name}: {fix.cost}"
        yield from (f"  {line}" for line in (dialect.lines(fix) if dialect else fix.typed()))
        yield from wrap(f"then: {fix.prediction.reason}", 100, initial_indent="  ", subsequent_indent="  ")
        if proofs is not None:
            yield f"  {_observations(proofs, explanation, fix.name)}"
    if explanation.fixes and len(explanation.fixed) < len(explanation.phase.endpoints):
        yield ""
        yield f"These fixes are for {' and '.join(explanation.fixed)}; --all prints them for all endpoints."
    yield ""


def _without(explanation: Explanation) -> str:
    """Return that the explanation leaves out what the phase changes, if it does."""
    acts = explanation.phase.acts
    changes = any(act.changes for act in acts[len(sysctls_first(acts)) :])
    return ", before the phase changes anything" if changes else ""


def _observations(proofs: Proofs, explanation: Explanation, fix: str) -> str:
    found = proofs.get((explanation.phase.name, fix), ())
    when = ("before ", "after ") if fix else ("",)
    words = []
    for at, verdict in zip(when, found, strict=False):
        word = prediction_word(verdict.passed)
        words.append(f"{at}{word if verdict.observed is None else f'{verdict.observed} ({word})'}")
    return f"on the kernel: {', '.join(words) or 'not run'}"


def render_json(
    lab: Lab,
    explanations: Sequence[Explanation],
    proofs: Proofs | None = None,
    dialect: "Dialect | None" = None,
) -> str:
    """Return the document of `explanations`; `observed` is null where nothing was run."""
    found = [
        {
            "phase": each.phase.name,
            **chosen(each.check, "source destination"),
            "predicted": each.prediction.outcome,
            "observed": _observed(proofs, each, 0),
            **chosen(each.prediction, "reason hops"),
            "mends": [_fix(fix, each, proofs, dialect) for fix in each.fixes],
            "fixed": each.fixed,
        }
        for each in explanations
    ]
    return document("explain", lab=lab.name, explanations=found)


def _fix(
    fix: Fix, explanation: Explanation, proofs: Proofs | None, dialect: "Dialect | None"
) -> dict[str, Any]:
    return {
        **chosen(fix, "name cost"),
        "commands": [str(command) for command in fix.commands],
        "elsewhere": [elsewhere(each) for each in fix.elsewhere],
        "fix_as": dialect and dialect.lines(fix),
        "predicted": fix.prediction.outcome,
        "observed": _observed(proofs, explanation, 1, fix.name),
        "reason": fix.prediction.reason,
    }


def elsewhere(of: "Elsewhere") -> dict[str, Any]:
    """Return the fields of a command for another host."""
    return {"where": of.where, "address": of.address and str(of.address), "command": str(of.command)}


def _observed(proofs: Proofs | None, explanation: Explanation, position: int, fix: str = "") -> str | None:
    """Return what the kernel did; as it is, in the run of the first fix, or of none."""
    names = [fix] if fix else [*(m.name for m in explanation.fixes), ""]
    for name in names:
        found = (proofs or {}).get((explanation.phase.name, name), ())
        if len(found) > position:
            return found[position].observed
    return None
