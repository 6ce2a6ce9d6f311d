"""Random labs over the whole format: how they are drawn, what differs, and the smallest that still does."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any, TypeVar

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import Phase as Step

from ipvkit.core.errors import Interrupted, InvalidLab, IpvkitError, UsageError
from ipvkit.lab import Act, Check, Lab, Phase
from ipvkit.lab.format import load
from ipvkit.plan.make import make_plan
from ipvkit.plan.steps import Probe
from ipvkit.run import engine
from ipvkit.run.verdicts import Verdict, judge
from ipvkit.targets.kernels import Kernel
from ipvkit.targets.uml import Uml
from several_hosts import fits, labs_of_hosts
from strategies import checks_in, labs

T = TypeVar("T")
Make = Callable[[], Lab]

DIFFERENCES = Path(__file__).parent / "kernel" / "differences"
OBSERVED = DIFFERENCES / "observed.tsv"
"""What kernels answered in these labs, as `certain` writes it."""

AT_ONCE, TIMEOUT_S = 6, 600
"""Labs at once, since most of the time they wait; and what one may take, in seconds."""

_MOST_MORE = 10
"""How many pairs are checked at the end of a phase, which takes as long as one."""

_MOST_WAIT_S = 12
"""The longest wait of a random lab, in seconds: longer than an unconfirmed neighbour entry lasts."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What became of a lab: the verdicts of its phases, or why it failed."""

    lab: Lab
    verdicts: Mapping[str, Sequence[Verdict]]
    failure: IpvkitError | None

    @property
    def checks(self) -> list[Verdict]:
        """All verdicts."""
        return [verdict for verdicts in self.verdicts.values() for verdict in verdicts]

    @property
    def differing(self) -> list[Verdict]:
        """Those that differ from what is predicted."""
        return [verdict for verdict in self.checks if verdict.passed is False]

    @property
    def agrees(self) -> bool:
        """Whether it ran, and all of it came out as predicted."""
        return not self.differing and self.failure is None


def labs_that_differed() -> list[Lab]:
    """Return the labs in which a prediction was wrong once."""
    texts = [(path.name, path.read_text(encoding="utf-8")) for path in sorted(DIFFERENCES.glob("*.yaml"))]
    # What reaches what does not depend on the setup, and a batch takes less time.
    return [replace(load(text, name), setup="batch") for name, text in texts]


def certain(lab: Lab, phases: Mapping[str, Sequence[Probe]]) -> list[str]:
    """Return a line for each check of which one outcome alone is predicted."""
    return [
        f"{lab.name}\t{phase}\t{probe.check}\t{probe.expected}"
        for phase, probes in phases.items()
        for probe in probes
        if len(probe.outcomes) == 1
    ]


def random_labs(count: int, number: int, *, several_hosts: bool = False) -> list[Lab]:
    """Return `count` labs that a seed draws, or fewer if there are no more, each with a name of its own."""
    drawn: list[Lab] = []

    @seed(number)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Step.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(labs_of_hosts() if several_hosts else labs())
    def draw(lab: Lab) -> None:
        drawn.append(lab)

    draw()
    names, chance = (f"random-{number}-{at}" for at in range(count)), Random(number)
    return [
        replace(thorough(unexpecting(lab), chance), name=name)
        for name, lab in zip(names, drawn, strict=False)
    ]


def thorough(lab: Lab, chance: Random) -> Lab:
    """Return `lab` with some pairs checked at the end of each phase, whatever was drawn before."""

    def more(phase: Phase) -> Phase:
        every = (check for check in checks_in(lab, lab.endpoints_of(phase)) if check.family is not None)
        pairs = [check for check in every if fits(lab, phase, Act(checks=(check,)))]
        some = chance.sample(pairs, min(len(pairs), _MOST_MORE if lab.parallel is None else lab.parallel))
        return replace(phase, acts=(*phase.acts, Act(checks=tuple(some))) if some else phase.acts)

    return replace(lab, phases=tuple(map(more, lab.phases)))


def unexpecting(lab: Lab) -> Lab:
    """Return `lab` without what its author expects, so that the model alone predicts."""

    def change(act: Act) -> Act:
        checks = tuple(replace(check, expect=None, why="") for check in act.checks)
        attempts = tuple(replace(attempt, expect=None, why="") for attempt in act.attempts)
        wait = None if act.wait is None else min(act.wait, _MOST_WAIT_S)
        return replace(act, checks=checks, attempts=attempts, wait=wait)

    phases = (replace(phase, acts=tuple(map(change, phase.acts))) for phase in lab.phases)
    return replace(lab, phases=tuple(phases))


def compared(labs: Sequence[Lab], kernel: Kernel | None = None, at_once: int = AT_ONCE) -> list[Comparison]:
    """Return what became of `labs`, each in a guest of its own with `kernel`, or with the default one.

    Raise Interrupted where a signal ended them.
    """
    plans, target = [make_plan(lab) for lab in labs], Uml(kernel)
    runs = engine.run_concurrently(plans, target, lambda _event: None, at_once=at_once, timeout_s=TIMEOUT_S)
    found = []
    for lab, result in zip(labs, map(judge, runs), strict=True):
        if isinstance(result.failure, Interrupted):
            raise result.failure
        found.append(Comparison(lab, result.verdicts, result.failure))
    return found


def smallest(one: Comparison, kernel: Kernel | None = None) -> Comparison:
    """Return what became of the smallest lab found in which the same check differs in the same way."""
    wanted = set(map(_signature, one.differing))
    while True:
        candidates = smaller(one.lab)
        while some := list(islice(candidates, AT_ONCE)):
            found = compared(some, kernel)
            hits = (other for other in found if wanted & set(map(_signature, other.differing)))
            if (hit := next(hits, None)) is not None:
                one = hit
                break
        else:
            return one


def _signature(verdict: Verdict) -> tuple[str, ...]:
    return str(verdict.probe.check), str(verdict.probe.expected), str(verdict.observed)


def smaller(lab: Lab) -> Iterator[Lab]:
    """Yield valid labs with one part less, the largest parts first."""
    for make in (*_less_of_phases(lab), *_less_of_network(lab)):
        with suppress(InvalidLab, UsageError):
            candidate = make()
            make_plan(candidate)
            if candidate != lab:
                yield candidate


def without(items: tuple[T, ...], at: int) -> tuple[T, ...]:
    """Return `items` without one."""
    return items[:at] + items[at + 1 :]


def instead(items: tuple[T, ...], at: int, item: T) -> tuple[T, ...]:
    """Return `items` with another one in the place of one."""
    return (*items[:at], item, *items[at + 1 :])


def _less_of_phases(lab: Lab) -> Iterator[Make]:
    for p, phase in enumerate(lab.phases):

        def put(p: int = p, phase: Phase = phase, **changes: object) -> Lab:
            return replace(lab, phases=instead(lab.phases, p, replace(phase, **changes)))  # type: ignore[arg-type]

        yield partial(replace, lab, phases=without(lab.phases, p))
        yield from (partial(put, acts=without(phase.acts, a)) for a in range(len(phase.acts)))
        yield from (partial(put, endpoints=without(phase.endpoints, e)) for e in range(len(phase.endpoints)))
        yield partial(put, others=())
        yield partial(
            put, setting=replace(phase.setting, strategy="none", host_shim=False, shim_addresses=())
        )
        yield partial(put, setting=replace(phase.setting, flag="bridge"))
        for a, act in enumerate(phase.acts):
            yield from (partial(put, acts=instead(phase.acts, a, less)) for less in _less_of_act(act))


def _less_of_act(act: Act) -> Iterator[Act]:
    nothing = Act()
    of_hosts = ("move", "down")
    for field in (
        "announce",
        "fast_ageing",
        "flush",
        "hairpin",
        "port_security",
        "wait",
        "sysctls",
        *of_hosts,
    ):
        yield replace(act, **{field: getattr(nothing, field)})
    yield from (replace(act, attempts=without(act.attempts, t)) for t in range(len(act.attempts)))
    yield from (replace(act, checks=without(act.checks, c)) for c in range(len(act.checks)))
    for c, check in enumerate(act.checks):
        plain = Check(check.source, check.destination)
        for field in ("watch", "size", "count", "family"):
            plainer = replace(check, **{field: getattr(plain, field)})
            yield replace(act, checks=instead(act.checks, c, plainer))


def _less_of_network(lab: Lab) -> Iterator[Make]:
    yield from (partial(replace, lab, endpoints=without(lab.endpoints, e)) for e in range(len(lab.endpoints)))
    yield from (partial(replace, lab, parents=without(lab.parents, n)) for n in range(len(lab.parents)))
    yield partial(replace, lab, far=())
    for e, endpoint in enumerate(lab.endpoints):
        fewer: list[dict[str, object]] = [
            {"addresses": without(endpoint.addresses, i)} for i in range(len(endpoint.addresses))
        ]
        fewer += [{"routes": None, "rules": ()}, {"rules": ()}, {"mtu": None}, {"dev": ""}, {"altnames": ()}]
        yield from (partial(_with_less, lab, "endpoints", e, less) for less in fewer)
    for n, parent in enumerate(lab.parents):
        for h, host in enumerate(parent.hosts):
            plain: list[dict[str, object]] = [{"routes": (), "rules": ()}, {"rules": ()}, {"forwards": False}]
            plainer = (instead(parent.hosts, h, replace(host, **less)) for less in plain)  # type: ignore[arg-type]
            yield from (partial(_with_less, lab, "parents", n, {"hosts": hosts}) for hosts in plainer)
        for field in ("neighbour", "gateway", "host", "hosts", "altnames"):
            own = getattr(parent, field)
            yield from (
                partial(_with_less, lab, "parents", n, {field: without(own, i)}) for i in range(len(own))
            )


def _with_less(lab: Lab, of: str, at: int, less: Mapping[str, object]) -> Lab:
    """Return `lab` with other fields of one of its endpoints or parents."""
    parts = getattr(lab, of)
    changed: dict[str, Any] = {of: instead(parts, at, replace(parts[at], **less))}
    return replace(lab, **changed)
