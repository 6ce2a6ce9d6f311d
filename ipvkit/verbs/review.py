"""Who cannot reach whom in a lab, grouped by reason, and what a fix or another lab changes of that."""

from collections.abc import Collection, Hashable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain

from ipvkit.core.errors import UsageError
from ipvkit.lab import Act, Check, Family, Lab, Outcome, Phase
from ipvkit.predict.pairs import Block, blocks_of, is_pair, nodes_of
from ipvkit.predict.predictions import why_lost, why_unknown
from ipvkit.predict.whole import Probe, predict_lab
from ipvkit.predict.world import World
from ipvkit.verbs.explain import Candidate, Worlds, answering, beginning, parents_of, phases_called

Names = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Effect:
    """A fix of a group for all endpoints on `parents`: its `name`, its `cost` in words, and what it changes.

    It fixes `fixed` pairs of the group; it gains `gained` besides, and loses `lost`.
    """

    name: str
    cost: str
    parents: Names
    fixed: int
    gained: tuple[Block, ...]
    lost: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """Pairs with one `reason`, on parents in one network and setting, and the cheapest fix of the first."""

    parents: Names
    reason: str
    blocks: tuple[Block, ...]
    fix: Effect | None = None

    @property
    def count(self) -> int:
        """The number of its pairs."""
        return count(self.blocks)

    @property
    def check(self) -> Check:
        """The ping of its first pair."""
        return self.blocks[0].check


@dataclass(frozen=True, slots=True)
class PhaseReview:
    """The pairs of a phase as it begins, with empty neighbour tables, and those that are unreachable.

    Those `not_modelled` are called neither of the two, for a sysctl that the rules do not know.
    """

    phase: Phase
    pairs: int
    groups: tuple[Group, ...]
    not_modelled: tuple[Group, ...]


@dataclass(frozen=True, slots=True)
class Expected:
    """A check of the lab that expects `reachable`, what the model predicts at its time, and the reason.

    It is `met` where it may be reachable.
    """

    phase: str
    check: Check
    predicted: Outcome
    reason: str
    met: bool


@dataclass(frozen=True, slots=True)
class Review:
    """A review of phases of `lab`."""

    lab: Lab
    phases: tuple[PhaseReview, ...]
    expected: tuple[Expected, ...]

    @property
    def unmet(self) -> tuple[Expected, ...]:
        """The checks that cannot be reachable."""
        return tuple(one for one in self.expected if not one.met)


@dataclass(frozen=True, slots=True)
class PhaseChange:
    """What is reachable in `phase`, and not in phase `former` of the former lab, and the other way round.

    The groups of `gained` have the former reason, those of `lost` the new one; of `other_reason` pairs only
    the reason changes; those `not_modelled` in one of the labs are not compared. All are pairs of nodes that
    are in both.
    """

    phase: str
    former: str
    gained: tuple[Group, ...]
    lost: tuple[Group, ...]
    other_reason: int
    not_modelled: tuple[Group, ...]
    nodes_added: tuple[str, ...]
    nodes_removed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """What `lab` changes of the lab `former`; phases that are only in one of them are not compared."""

    lab: Lab
    former: Lab
    phases: tuple[PhaseChange, ...]
    phases_added: tuple[str, ...]
    phases_removed: tuple[str, ...]

    @property
    def loses(self) -> bool:
        """Whether a pair is lost."""
        return any(change.lost for change in self.phases)


def count(blocks: Iterable[Block]) -> int:
    """Return the number of pairs in `blocks`."""
    return sum(block.count for block in blocks)


def review(lab: Lab, name: str | None = None) -> Review:
    """Return the review of the phase called `name`, or of all; raise UsageError where none is."""
    phases = phases_called(lab, name)
    names = {phase.name for phase in phases}
    expected = tuple(one for one in _expected(lab) if one.phase in names)
    return Review(lab, tuple(_phase(lab, phase) for phase in phases), expected)


def _phase(lab: Lab, phase: Phase) -> PhaseReview:
    world = beginning(lab, phase)
    blocks = [*blocks_of(world)]
    unknown = [(block, why_unknown(world, block.check)) for block in blocks]
    known = (block for block, why in unknown if not why)
    groups = groups_of(world, ((block, why_lost(world, block.check)) for block in known))
    worlds: Worlds = {}
    changes: Changes = {}
    fixed = (replace(group, fix=_fix(world, group, worlds, changes)) for group in groups)
    return PhaseReview(phase, count(blocks), tuple(fixed), tuple(groups_of(world, unknown)))


def groups_of(world: World, reasons: Iterable[tuple[Block, str]]) -> list[Group]:
    """Return the blocks that have a reason, grouped by it and by the parent, the largest group first."""
    found: dict[tuple[Hashable, str], list[Block]] = {}
    for block, reason in reasons:
        if reason:
            found.setdefault((_place(world, block.check), reason), []).append(block)
    groups = [
        Group(_parents(world.lab, own), reason, tuple(merged(own))) for (_, reason), own in found.items()
    ]
    return sorted(groups, key=lambda group: -group.count)


def _place(world: World, check: Check) -> Hashable:
    """Return the network and the setting of the parent of `check`, of which several hosts may have one."""
    parent = world.lab.parent_of(check)
    return parent.lan, world.phase.on(parent.name)


def _parents(lab: Lab, blocks: Iterable[Block]) -> Names:
    """Return the parents of the pairs in `blocks`."""
    ends = (b.destinations if lab.is_endpoint(b.check.destination) else b.sources for b in blocks)
    return tuple(dict.fromkeys(lab.endpoint(name).parent for names in ends for name in names))


def merged(blocks: Iterable[Block]) -> Iterator[Block]:
    """Yield the same pairs in fewer blocks."""
    each = [*blocks]
    on_hosts: dict[tuple[Names, Names, tuple[Family, ...]], list[bool | None]] = {}
    for block in each:
        where = on_hosts.setdefault((block.sources, block.destinations, block.families), [])
        where.append(block.same_host)
    families: dict[tuple[Names, Names, bool | None], list[Family]] = {}
    for (sources, destinations, of), same in on_hosts.items():
        same_host = same[0] if len(same) == 1 else None
        families.setdefault((sources, destinations, same_host), []).extend(of)
    reached: dict[tuple[Names, bool | None, tuple[Family, ...]], list[Names]] = {}
    for (sources, destinations, same_host), every in families.items():
        reached.setdefault((sources, same_host, tuple(every)), []).append(destinations)
    rows: dict[tuple[tuple[Names, ...], bool | None, tuple[Family, ...]], list[Names]] = {}
    for (sources, same_host, of), parts in reached.items():
        rows.setdefault((tuple(parts), same_host, of), []).append(sources)
    for (destinations_, same_host, of), names in rows.items():
        yield Block(tuple(chain(*names)), tuple(chain(*destinations_)), of, each[0].places, same_host)


Changes = dict[tuple[Names, Candidate], list[tuple[Block, str, str]]]
"""Why the pings of each block are lost before and after each candidate on parents."""


def _fix(world: World, group: Group, worlds: Worlds, changes: Changes) -> Effect | None:
    """Return the cheapest fix of the first pair of a group, and what it changes.

    `worlds` and `changes` are kept for other groups of the phase.
    """
    lab, phase = world.lab, world.phase
    first = parents_of(lab, group.check)
    on = {(lab.parent_called(name).lan, phase.on(name)) for name in first}
    others = (p.name for p in lab.parents if p.name not in first and (p.lan, phase.on(p.name)) in on)
    parents = (*first, *others)
    candidate, after = next(answering(lab, phase, group.check, parents, worlds), (None, world))
    if candidate is None:
        return None
    if (parents, candidate) not in changes:
        changes[parents, candidate] = [
            (block, _why(world, block.check), _why(after, block.check))
            for block in blocks_of(world, after)
            if not _unknown(block.check, world, after)
        ]
    own = _place(world, group.check)
    fixed, gained, lost = 0, [], []
    for block, before, now in changes[parents, candidate]:
        if before and not now:
            is_own = (own, group.reason) == (_place(world, block.check), before)
            fixed += block.count if is_own else 0
            gained += [] if is_own else [block]
        lost += [block] if now and not before else []
    return Effect(candidate.name, candidate.cost, parents, fixed, tuple(merged(gained)), tuple(merged(lost)))


def _why(world: World, check: Check) -> str:
    """Return why a ping is lost, or nothing where it is answered."""
    return why_lost(world, check) if is_pair(world, check) else f"not both have an {check.family} address"


def _unknown(check: Check, *worlds: World) -> str:
    """Return why a ping is not modelled in one of `worlds`, or nothing."""
    reasons = (why_unknown(world, check) for world in worlds if is_pair(world, check))
    return next(filter(None, reasons), "")


def _expected(lab: Lab) -> Iterator[Expected]:
    """Yield the checks that expect `reachable`, with what the model predicts."""
    silent = (replace(p, acts=tuple(map(_without_expect, p.acts))) for p in lab.phases)
    for phase, predicted in zip(lab.phases, predict_lab(lab.with_phases(*silent)), strict=True):
        checks = (check for act in phase.acts for check in act.checks)
        probes = (probe for act in predicted.acts for probe in act.probes if isinstance(probe.check, Check))
        for check, probe in zip(checks, probes, strict=True):
            if check.expect is Outcome.REACHABLE:
                met = _may_be_reachable(probe)
                yield Expected(phase.name, check, probe.expected, probe.reason, met)


def _without_expect(act: Act) -> Act:
    return replace(act, checks=tuple(replace(check, expect=None) for check in act.checks))


def _may_be_reachable(probe: Probe) -> bool:
    return not {Outcome.REACHABLE, Outcome.NOT_MODELLED}.isdisjoint(probe.outcomes)


def compare(lab: Lab, former: Lab, name: str | None = None) -> Comparison:
    """Return what `lab` changes of `former`, in the phase called `name` or in all.

    A phase is compared with that of the same name; where there is none, a lab's only phase is compared with
    all of the other lab. Raise UsageError where no phases correspond.
    """
    phases = phases_called(lab, name)
    both = [(phase, other) for phase in phases for other in former.phases if phase.name == other.name]
    if not both and 1 in (len(lab.phases), len(former.phases)):
        both = [(phase, other) for phase in phases for other in former.phases]
    if not both:
        hint = f"phases of {former.name}: {', '.join(phase.name for phase in former.phases)}"
        raise UsageError(f"no phase of {former.name} is called as one of {lab.name}", hint)
    new, old = ({phase.name for phase in each} for each in zip(*both, strict=True))
    added = _without((phase.name for phase in phases), new)
    removed = _without((phase.name for phase in former.phases if name is None), old)
    return Comparison(lab, former, tuple(_change(lab, former, *pair) for pair in both), added, removed)


def _change(lab: Lab, former: Lab, phase: Phase, other: Phase) -> PhaseChange:
    world, before = beginning(lab, phase), beginning(former, other)
    gained, lost, unknown, other_reason = [], [], [], 0
    for block in blocks_of(world, before):
        if why := _unknown(block.check, world, before):
            unknown.append((block, why))
            continue
        now, then = (_why(each, block.check) for each in (world, before))
        gained += [(block, then)] if not now else []
        lost += [(block, now)] if not then else []
        other_reason += block.count if now and then and now != then else 0
    gain, loss, open_ = (tuple(groups_of(world, found)) for found in (gained, lost, unknown))
    new, old = nodes_of(lab, phase), nodes_of(former, other)
    names = _without(new, old), _without(old, new)
    return PhaseChange(phase.name, other.name, gain, loss, other_reason, open_, *names)


def _without(names: Iterable[str], others: Collection[str]) -> tuple[str, ...]:
    return tuple(name for name in names if name not in others)
