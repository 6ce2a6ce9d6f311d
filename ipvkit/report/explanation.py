"""Explanations as text, and as one JSON document, ``ipvkit/explain/v1``."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from ipvkit.lab import Lab
from ipvkit.predict.trace import Hop
from ipvkit.report.entries import Entry, Report, Section, Status, differing
from ipvkit.report.entries import Fix as Shown
from ipvkit.report.plain import chosen, document, plain, prediction_word, wrapped
from ipvkit.verbs.explain import Explanation, Fix, sysctls_first

if TYPE_CHECKING:
    from ipvkit.host.twin import Elsewhere
    from ipvkit.report.timeline import Seen
    from ipvkit.run.verdicts import Verdict
    from ipvkit.verbs.formats import Dialect

Proofs = Mapping[tuple[str, str], Sequence["Verdict"]]
"""What a kernel did, by phase and name of the fix (or none): the ping without the fix, and with it."""


def render(
    explanations: Sequence[Explanation],
    proofs: Proofs | None = None,
    dialect: "Dialect | None" = None,
    width: int | None = None,
) -> str:
    """Return the outcome of each ping, why, its path, and how to fix it, in a `dialect` or by commands.

    Sentences fit a terminal of that `width`; commands stand whole.
    """
    return "\n".join("\n".join(_lines(each, proofs, dialect, width)) for each in explanations)


def _lines(
    explanation: Explanation, proofs: Proofs | None, dialect: "Dialect | None", width: int | None
) -> Iterator[str]:
    prediction, check = explanation.prediction, explanation.check
    yield from wrapped(_title(explanation), width, rest="  ")
    outcome = f"{check}: {prediction.outcome}, with empty neighbour tables{_without(explanation)}"
    yield from wrapped(outcome, width, rest="  ")
    yield from wrapped(prediction.reason, width, "  ")
    yield ""
    yield "path:"
    for number, hop in enumerate(path_of(prediction.hops), 1):
        yield from wrapped(f"{number}. {hop}", width, "  ", "     ")
    if proofs is not None and not explanation.fixes:
        yield from wrapped(_observations(proofs, explanation, ""), width, "  ")
    if packets := _packet_lines(proofs, explanation):
        yield from ("", "packets:", *_wrapped(packets, width))
    for number, fix in enumerate(explanation.fixes, 1):
        yield ""
        # Commands follow, which are pasted: the rest of the sentence does not begin as they do.
        yield from wrapped(f"fix {number}, {fix.name}: {fix.cost}", width, rest=" " * 6)
        yield from (f"  {line}" for line in (dialect.lines(fix) if dialect else fix.typed()))
        yield from wrapped(f"then: {fix.prediction.reason}", width, "  ")
        if proofs is not None:
            yield from wrapped(_observations(proofs, explanation, fix.name), width, "  ")
        if packets := _packet_lines(proofs, explanation, fix):
            yield from ("  packets:", *_wrapped(packets, width))
    if explanation.fixes and len(explanation.fixed) < len(explanation.phase.endpoints):
        yield ""
        fixed = " and ".join(explanation.fixed)
        yield from wrapped(f"These fixes are for {fixed}; --all prints them for all endpoints.", width)
    yield ""


def _title(explanation: Explanation) -> str:
    return f"phase {explanation.phase.name}: {explanation.setting}"


def path_of(hops: Sequence[Hop]) -> tuple[str, ...]:
    """Return a path, a line for each hop."""
    # The reason beside it is why it is lost.
    return tuple(f"{hop.at}: {'lost' if hop.what.startswith('lost: ') else hop.what}" for hop in hops)


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


def _wrapped(packets: Sequence[str], width: int | None) -> Iterator[str]:
    for line in packets:
        yield from wrapped(line, width, "  ", " " * 14)


def _packet_lines(proofs: Proofs | None, explanation: Explanation, fix: Fix | None = None) -> tuple[str, ...]:
    """Return the packets of the ping as it is, or after a fix, as lines."""
    found = _packets(proofs, explanation, fix)
    if not found:
        return ()
    # Where nothing is captured it is not needed.
    from ipvkit.report.timeline import lines

    return tuple(lines(found))


def _packets(proofs: Proofs | None, explanation: Explanation, fix: Fix | None = None) -> Sequence["Seen"]:
    """Return the packets of the ping as it is, or after a fix; nothing where none were captured."""
    verdicts = _verdicts(proofs, explanation, 0 if fix is None else 1, fix.name if fix else "")
    captured = [verdict for verdict in verdicts if verdict.captured]
    if not captured:
        return ()
    from ipvkit.report.timeline import timeline

    return timeline(fix.fixed if fix else explanation.plan.lab, captured[0])


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
            "packets": plain(_packets(proofs, each)),
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
        "packets": plain(_packets(proofs, explanation, fix)),
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


def report(
    lab: Lab,
    explanations: Sequence[Explanation],
    proofs: Proofs | None = None,
    dialect: "Dialect | None" = None,
    kernel: str = "",
    file: str = "",
) -> Report:
    """Return the report of `explanations`: in each phase the ping as it is, and after each fix."""
    sections = tuple(_section(lab, each, proofs, dialect) for each in explanations)
    entries = [entry for section in sections for entry in section.entries]
    wrong = sum(entry.status == "differs" for entry in entries)
    word = "explained" if proofs is None else differing(wrong)
    phases: dict[str, list[str]] = {}
    for each in explanations:
        phases.setdefault(each.prediction.outcome, []).append(each.phase.name)
    found = "; ".join(f"{outcome} in {', '.join(names)}" for outcome, names in phases.items())
    return Report(
        "explain",
        lab.name,
        word,
        f"{lab.name}: {explanations[0].check}: {found}",
        sections,
        lambda: [render_json(lab, explanations, proofs, dialect)],
        facts=(("kernel", kernel),) if kernel else (),
        file=file,
    )


def _section(lab: Lab, explanation: Explanation, proofs: Proofs | None, dialect: "Dialect | None") -> Section:
    check, found = explanation.check, explanation.prediction
    fixes = tuple(shown(fix, f"fix {number}", dialect) for number, fix in enumerate(explanation.fixes, 1))
    before = _verdicts(proofs, explanation, 0)
    packets = _packet_lines(proofs, explanation)
    entries = [_entry(str(check), found.outcome, found.reason, before, path_of(found.hops), fixes, packets)]
    for fix in explanation.fixes:
        then, name = fix.prediction, f"{check}, after fix {fix.name}"
        after = _verdicts(proofs, explanation, 1, fix.name)
        packets = _packet_lines(proofs, explanation, fix)
        entries.append(_entry(name, then.outcome, then.reason, after, path_of(then.hops), packets=packets))
    picture = partial(_picture, lab, explanation)
    return Section(explanation.phase.name, _title(explanation), tuple(entries), picture=picture)


def _picture(lab: Lab, explanation: Explanation) -> str:
    # Only a page has pictures.
    from ipvkit.predict.whole import Probe
    from ipvkit.report.graph import draw, svg

    check, found = explanation.check, explanation.prediction
    probe = Probe(check, lab.pinged(check), found.outcome, found.reason)
    return svg.render(draw.picture(lab, explanation.phase, [(probe, None, None)]))


def _verdicts(
    proofs: Proofs | None, explanation: Explanation, position: int, fix: str = ""
) -> list["Verdict"]:
    """Return the verdicts on a ping: as it is, in the runs of all fixes, or of none."""
    names = [fix] if fix else [*(each.name for each in explanation.fixes), ""]
    found = ((proofs or {}).get((explanation.phase.name, name), ()) for name in names)
    return [each[position] for each in found if len(each) > position]


def shown(fix: Fix, what: str = "fix", dialect: "Dialect | None" = None) -> Shown:
    """Return a fix as reports show it."""
    lines = dialect.lines(fix) if dialect else fix.typed()
    return Shown(f"{what}, {fix.name}: {fix.cost}", tuple(lines), fix.prediction.reason)


def _entry(
    name: str,
    predicted: str,
    reason: str,
    verdicts: Sequence["Verdict"],
    path: tuple[str, ...],
    fixes: tuple[Shown, ...] = (),
    packets: tuple[str, ...] = (),
) -> Entry:
    """Return the entry of one ping; what was observed of it in several runs differs if it does in one."""
    passed = {verdict.passed for verdict in verdicts}
    held = False if False in passed else None if None in passed or not passed else True
    status: dict[bool | None, Status] = {True: "ok", False: "differs", None: "skipped"}
    observed = " and ".join(dict.fromkeys(verdict.observed for verdict in verdicts if verdict.observed))
    word = prediction_word(held)
    return Entry(
        name,
        status[held],
        word,
        predicted,
        observed,
        reason=reason,
        path=path,
        fixes=fixes,
        packets=packets,
    )
