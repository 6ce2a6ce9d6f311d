"""Reviews and comparisons as text, and as one JSON document, ``ipvkit/review/v1``."""

import shlex
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from ipvkit.host.checks import some
from ipvkit.lab import Lab, Outcome, Phase, family_of
from ipvkit.predict.pairs import Block, blocks_of, nodes_of
from ipvkit.report.entries import MOST_NODES, Entry, Fix, Heat, Report, Section, Status
from ipvkit.report.plain import chosen, document, wrapped
from ipvkit.verbs.explain import beginning
from ipvkit.verbs.review import Comparison, Effect, Expected, Group, PhaseChange, PhaseReview, Review, count

_MOST_GROUPS = 5
"""How many groups of a phase are shown, the largest ones; the document has all."""

_LEGEND = "With empty neighbour tables. 4 or 6: reachable in that family only; -: no pair; ?: not modelled."

_INDENT = "   "

_MOST_BLOCKS = 2
"""How many lines of pairs a group has."""


def render(review: Review, named: str, fix_as: str | None = None, width: int | None = None) -> str:
    """Return the checks that cannot be as expected, and the groups of each phase; the lab is `named` so.

    The commands that explain a group print its fix in the format `fix_as`, by default as commands. Sentences
    fit a terminal of that `width`.
    """
    lines = [line for one in review.unmet for line in wrapped(_of_unmet(one), width, rest=_INDENT)]
    lines += [""] if lines else []
    for phase in review.phases:
        lines += [*_of_phase(review.lab, phase, named, fix_as, width), ""]
    return "\n".join([*lines, *wrapped(_verdict_line(review), width, rest=_INDENT)]) + "\n"


def _verdict_line(review: Review) -> str:
    counts = _of_counts(*(sum(each) for each in zip(*map(_counts, review.phases), strict=True)))
    unmet = f"; {_number(len(review.unmet), 'check')} cannot be reachable as expected" if review.unmet else ""
    return f"{review.lab.name}: {counts}{unmet}"


def _counts(phase: PhaseReview) -> tuple[int, int, int]:
    """Return how many pairs there are, how many of these are unreachable, and how many not modelled."""
    lost, unknown = (sum(group.count for group in each) for each in (phase.groups, phase.not_modelled))
    return phase.pairs, lost, unknown


def _of_counts(pairs: int, lost: int, unknown: int) -> str:
    return f"{lost} of {_number(pairs)} unreachable" + (f", {unknown} not modelled" if unknown else "")


def _of_unmet(one: Expected) -> str:
    what = f"{one.check} is expected to be reachable, and the model predicts {one.predicted}"
    return f"error: phase {one.phase}: {what}: {one.reason}"


def _of_phase(
    lab: Lab, review: PhaseReview, named: str, fix_as: str | None, width: int | None
) -> Iterator[str]:
    yield from wrapped(_title(lab, review), width, rest=_INDENT)
    for number, group in enumerate(review.groups[:_MOST_GROUPS], 1):
        yield from _of_group(lab, number, group, width)
        if group.fix is None:
            yield "   no fix is known"
            continue
        yield from wrapped(f"fix {_of_fix(lab, group, group.fix)}", width, _INDENT)
        yield f"   {explain(lab, review, group, named, fix_as)}"
    yield from _more(review.groups)
    yield from _of_not_modelled(lab, review.not_modelled, width)


def _title(lab: Lab, review: PhaseReview) -> str:
    phase = review.phase
    by_setting: dict[str, list[str]] = {}
    for parent in (p.name for p in lab.parents if lab.endpoints_of(phase, p)):
        by_setting.setdefault(str(phase.on(parent)), []).append(parent)
    alike = len(by_setting) == 1
    on = (setting if alike else f"{setting} on {some(own)}" for setting, own in by_setting.items())
    return f"phase {phase.name}: {'; '.join(on)}: {_of_counts(*_counts(review))}"


def _of_not_modelled(lab: Lab, groups: Sequence[Group], width: int | None) -> Iterator[str]:
    yield from ["not modelled:"] if groups else []
    for number, group in enumerate(groups[:_MOST_GROUPS], 1):
        yield from _of_group(lab, number, group, width)
    yield from _more(groups)


def _of_group(lab: Lab, number: int, group: Group, width: int | None, what: str = "") -> Iterator[str]:
    pairs = f"{number}. {_number(group.count)}{_on(lab, group)}"
    yield from wrapped(f"{pairs}: {what}{group.reason}", width, rest=_INDENT)
    lines = [*_of_blocks(lab, group.blocks)]
    for line in lines[:_MOST_BLOCKS]:
        yield from wrapped(line, width, _INDENT, f"{_INDENT}  ")
    if left := len(lines) - _MOST_BLOCKS:
        yield from [f"   and {left} more such lines; --json has all"] if left > 0 else []


def _on(lab: Lab, group: Group) -> str:
    return f" on {some(group.parents)}" if len(lab.parents) > 1 else ""


def _more(groups: Sequence[Group]) -> Iterator[str]:
    rest = groups[_MOST_GROUPS:]
    if rest:
        pairs = _number(sum(group.count for group in rest))
        yield f"and {pairs} for {_number(len(rest), 'other reason')}; --json has all"


def _of_blocks(lab: Lab, blocks: Iterable[Block]) -> Iterator[str]:
    """Yield a line for each block, or for two that are the reverse of each other."""
    left = dict.fromkeys((b.sources, b.destinations, b.families, b.same_host) for b in blocks)
    families = {family_of(own) for endpoint in lab.endpoints for own in endpoint.addresses}
    while left:
        sources, destinations, of, same_host = next(iter(left))
        del left[sources, destinations, of, same_host]
        reverse = (destinations, sources, of, same_host)
        arrow = "<->" if reverse in left else "->"
        left.pop(reverse, None)
        only = "" if len(of) == len(families) else f", {' and '.join(of)}"
        only = {None: "", True: ", on one host", False: ", on two hosts"}[same_host] + only
        yield f"{some(sources)} {arrow} {some(destinations)}{only}"


def _of_fix(lab: Lab, group: Group, fix: Effect) -> str:
    these = "it fixes all of these" if fix.fixed == group.count else f"it fixes {fix.fixed} of these"
    words = [these]
    for verb, blocks in (("gains", fix.gained), ("loses", fix.lost)):
        if blocks:
            lines = [*_of_blocks(lab, blocks)]
            more = f"; and {len(lines) - _MOST_BLOCKS} more" if len(lines) > _MOST_BLOCKS else ""
            words.append(f"{verb} {_number(count(blocks))} ({'; '.join(lines[:_MOST_BLOCKS])}{more})")
    words += ["changes no other pair"] if len(words) == 1 else []
    on = f" on each of {len(fix.parents)} parents" if len(fix.parents) > 1 else ""
    return f"{fix.name}{on}: {fix.cost}; {', '.join(words[:-1])} and {words[-1]}"


def explain(lab: Lab, review: PhaseReview, group: Group, named: str, fix_as: str | None) -> str:
    """Return the command that prints the commands of a group's fix."""
    check = group.check
    both = len({family_of(own) for endpoint in lab.endpoints for own in endpoint.addresses}) > 1
    family = ("--family", str(check.family)) if both else ()
    words = (check.source, check.destination, named, "--phase", review.phase.name, *family, "--all")
    return f"ipvkit explain {shlex.join((*words, '--fix-as', fix_as) if fix_as else words)}"


def render_comparison(comparison: Comparison, width: int | None = None) -> str:
    """Return the pairs that are lost and gained in each phase, and the nodes that are only in one lab."""
    lines = []
    for change in comparison.phases:
        lines += [*_of_change(comparison, change, width), ""]
    return "\n".join([*lines, *_only_in_one(comparison), _comparison_line(comparison)]) + "\n"


def _only_in_one(comparison: Comparison) -> Iterator[str]:
    for which, names in (("new", comparison.phases_added), ("former", comparison.phases_removed)):
        yield from (f"only in the {which} lab: phase {name}" for name in names)


def _comparison_line(comparison: Comparison) -> str:
    every = [(one.lost, one.gained) for one in comparison.phases]
    lost, gained = (sum(g.count for groups in each for g in groups) for each in zip(*every, strict=True))
    return f"{comparison.lab.name}: {_number(lost)} lost, {gained} gained"


def _title_of_change(change: PhaseChange) -> str:
    former = "" if change.former == change.phase else f", against phase {change.former}"
    lost, gained = (sum(g.count for g in groups) for groups in (change.lost, change.gained))
    other = f", {change.other_reason} unreachable for another reason" if change.other_reason else ""
    if unknown := sum(group.count for group in change.not_modelled):
        other += f", {unknown} not modelled"
    return f"phase {change.phase}{former}: {_number(lost)} lost, {gained} gained{other}"


def _of_change(comparison: Comparison, change: PhaseChange, width: int | None) -> Iterator[str]:
    yield from wrapped(_title_of_change(change), width, rest=_INDENT)
    for which, names in (("new", change.nodes_added), ("former", change.nodes_removed)):
        yield from [f"only in the {which} lab: {some(names)}"] if names else []
    for title, groups in (("lost", change.lost), ("gained", change.gained)):
        yield from [f"{title}:"] if groups else []
        for number, group in enumerate(groups[:_MOST_GROUPS], 1):
            what = "" if title == "lost" else "until now, "
            yield from _of_group(comparison.lab, number, group, width, what)
        yield from _more(groups)
    yield from _of_not_modelled(comparison.lab, change.not_modelled, width)


def _number(count_: int, what: str = "pair") -> str:
    return f"{count_} {what}{'' if count_ == 1 else 's'}"


def render_json(review: Review, named: str, fix_as: str | None = None) -> str:
    """Return the document of `review`."""
    phases = [
        {
            "phase": each.phase.name,
            **dict(zip(("pairs", "unreachable"), _counts(each), strict=False)),
            "groups": [_group(own, _effect(review.lab, each, own, named, fix_as)) for own in each.groups],
            "not_modelled": [_group(group) for group in each.not_modelled],
        }
        for each in review.phases
    ]
    unmet = [
        {**chosen(one, "phase"), **chosen(one.check, "source destination"), **chosen(one, "predicted reason")}
        for one in review.unmet
    ]
    return document("review", lab=review.lab.name, unmet=unmet, phases=phases, comparison=None)


def render_comparison_json(comparison: Comparison) -> str:
    """Return the document of `comparison`."""
    changes = [
        {
            **chosen(each, "phase former"),
            "lost": [_group(group) for group in each.lost],
            "gained": [_group(group) for group in each.gained],
            **chosen(each, "other_reason"),
            "not_modelled": [_group(group) for group in each.not_modelled],
            **chosen(each, "nodes_added nodes_removed"),
        }
        for each in comparison.phases
    ]
    found = {"former": comparison.former.name, "phases": changes}
    found |= chosen(comparison, "phases_added phases_removed")
    return document("review", lab=comparison.lab.name, unmet=[], phases=[], comparison=found)


def _group(group: Group, fix: dict[str, Any] | None = None) -> dict[str, Any]:
    blocks = _blocks(group.blocks)
    place = {"parent": group.parents[0], **chosen(group, "parents reason")}
    return {**place, "pairs": group.count, "blocks": blocks, "fix": fix}


def _blocks(blocks: Iterable[Block]) -> list[dict[str, Any]]:
    keys = "sources destinations same_host families"
    return [{**chosen(block, keys), "pairs": block.count} for block in blocks]


def _effect(
    lab: Lab, review: PhaseReview, group: Group, named: str, fix_as: str | None
) -> dict[str, Any] | None:
    fix = group.fix
    if fix is None:
        return None
    changed = {"gained": _blocks(fix.gained), "lost": _blocks(fix.lost)}
    command = explain(lab, review, group, named, fix_as)
    return {**chosen(fix, "name cost parents fixed"), **changed, "explain": command}


def report(review: Review, named: str, fix_as: str | None = None, file: str = "") -> Report:
    """Return the report of `review`: the checks that expect `reachable`, and the groups of each phase."""
    return Report(
        "review",
        review.lab.name,
        _word(review),
        _verdict_line(review),
        tuple(_section(review, phase, named, fix_as) for phase in review.phases),
        lambda: [render_json(review, named, fix_as)],
        file=file,
    )


def _word(review: Review) -> str:
    if review.unmet:
        return f"{len(review.unmet)} not as expected"
    return "as expected" if review.expected else "reviewed"


def _section(review: Review, phase: PhaseReview, named: str, fix_as: str | None) -> Section:
    lab = review.lab
    expected = (_entry_of_expected(one) for one in review.expected if one.phase == phase.phase.name)
    lost = (
        _entry(lab, group, "unreachable", fixes=_fixes(lab, phase, group, named, fix_as))
        for group in phase.groups
    )
    unknown = (_entry(lab, group, "not modelled") for group in phase.not_modelled)
    entries, picture = (*expected, *lost, *unknown), partial(_picture, lab, phase.phase)
    return Section(phase.phase.name, _title(lab, phase), entries, (), _heats(lab, phase), picture)


def _picture(lab: Lab, phase: Phase) -> str:
    # Only a page has pictures.
    from ipvkit.report.graph import draw, svg

    return svg.render(draw.predicted(lab, phase))


def _heats(lab: Lab, review: PhaseReview) -> tuple[Heat, ...]:
    """Return a map of who reaches whom as a phase begins, or none where there are too many nodes."""
    nodes = nodes_of(lab, review.phase)
    if len(nodes) > MOST_NODES:
        return ()
    every = _families(blocks_of(beginning(lab, review.phase)))
    lost, unknown = (
        _families(block for group in groups for block in group.blocks)
        for groups in (review.groups, review.not_modelled)
    )

    def word(pair: tuple[str, str]) -> str:
        if pair not in every:
            return "-"
        if pair in unknown:
            return "?"
        reached = every[pair] - lost.get(pair, set())
        if reached == every[pair]:
            return "yes"
        return "".join(family.removeprefix("ipv") for family in reached) or "no"

    rows = ((a, *(word((a, b)) for b in nodes)) for a in nodes)
    return (Heat(_LEGEND, ("from \\ to", *nodes), tuple(rows)),)


def _families(blocks: Iterable[Block]) -> dict[tuple[str, str], set[str]]:
    """Return the families of each pair of `blocks`."""
    found: dict[tuple[str, str], set[str]] = {}
    for block in blocks:
        for source, destination, family in block.pairs():
            found.setdefault((source, destination), set()).add(family)
    return found


def _entry_of_expected(one: Expected) -> Entry:
    status: Status = "differs"
    word = "not as expected"
    if one.met:
        status, word = "ok", "as expected"
    if one.predicted is Outcome.NOT_MODELLED:
        status, word = "skipped", "not modelled"
    ends = (one.check.source, one.check.destination)
    return Entry(
        f"{one.check}, expected reachable", status, word, one.predicted, reason=one.reason, ends=ends
    )


def _fixes(lab: Lab, review: PhaseReview, group: Group, named: str, fix_as: str | None) -> tuple[Fix, ...]:
    if group.fix is None:
        return ()
    return (Fix(f"fix {_of_fix(lab, group, group.fix)}", (explain(lab, review, group, named, fix_as),)),)


def _entry(
    lab: Lab, group: Group, word: str, status: Status = "skipped", fixes: tuple[Fix, ...] = ()
) -> Entry:
    """Return the entry of pairs with one reason: no check, so that it is compared with nothing."""
    name = f"{_number(group.count)}{_on(lab, group)}: {'; '.join(_of_blocks(lab, group.blocks))}"
    return Entry(name, status, word, reason=group.reason, fixes=fixes)


def report_of_comparison(comparison: Comparison, file: str = "") -> Report:
    """Return the report of `comparison`: the groups of pairs that are lost and gained in each phase."""
    return Report(
        "review",
        comparison.lab.name,
        "pairs are lost" if comparison.loses else "no pair is lost",
        _comparison_line(comparison),
        tuple(_section_of_change(comparison.lab, change) for change in comparison.phases),
        lambda: [render_comparison_json(comparison)],
        notes=tuple(_only_in_one(comparison)),
        file=file,
    )


def _section_of_change(lab: Lab, change: PhaseChange) -> Section:
    entries = (
        *(_entry(lab, group, "lost", "differs") for group in change.lost),
        *(_entry(lab, group, "gained", "ok") for group in change.gained),
        *(_entry(lab, group, "not modelled") for group in change.not_modelled),
    )
    return Section(change.phase, _title_of_change(change), entries)
