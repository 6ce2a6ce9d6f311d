"""Every mode, flag, family, strategy and pair: the prediction, and what a kernel does.

A second matrix has pairs on two hosts, both with the same mode, flag and strategy. A matrix is labs of many
short phases, one for each mode, flag and strategy. The cells of a phase that run concurrently are chosen so
that none uses a neighbour entry of another.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_interface
from itertools import permutations, product

from ipvkit import strategies
from ipvkit.core.errors import UsageError
from ipvkit.core.values import Flag, Mode
from ipvkit.lab import Act, Check, Endpoint, Family, Lab, Outcome, Parent, Phase, Setting
from ipvkit.lab.parts import FAMILIES, FAR, FLAGS, GATEWAY, HOST, MODES, NEIGHBOUR, PING_COUNT
from ipvkit.plan.make import make_plan
from ipvkit.plan.steps import Plan, Section
from ipvkit.run.verdicts import Result, Verdict

ENDPOINTS = ("endpoint1", "endpoint2")
ROLES = (HOST, *ENDPOINTS, GATEWAY, NEIGHBOUR, FAR)
PAIRS = tuple(pair for pair in permutations(ROLES, 2) if ENDPOINTS[0] in pair)
"""The checks: endpoint1 and each other node, in both directions. To the rest, endpoint2 is as endpoint1."""

APART = ("endpoint@h1", "endpoint@h2")
PAIRS_APART = (APART, (APART[0], "h2"), ("h2", APART[0]))
"""The checks on two hosts, which are alike: an endpoint with the other host, and with the endpoint there."""

STRATEGIES = (*strategies.BY_NAME, strategies.HOST_SHIM.name)

_PARENT = Parent(
    "eth0",
    host=(ip_interface("192.168.104.110/24"), ip_interface("2001:db8:104::110/64")),
    gateway=(ip_address("192.168.104.254"), ip_address("2001:db8:104::254")),
    neighbour=(ip_address("192.168.104.111"), ip_address("2001:db8:104::111")),
)
_FAR = (ip_interface("198.51.100.10/24"), ip_interface("2001:db8:ff::10/64"))
_HOSTS = tuple(
    replace(
        _PARENT,
        name=f"eth0@{host}",
        host=(ip_interface(f"192.168.104.{n}/24"), ip_interface(f"2001:db8:104::{n}/64")),
        neighbour=(),
        on=host,
        ifname="eth0",
        shared="eth0@h1",
    )
    for host, n in (("h1", 120), ("h2", 122))
)
_SAME_SUBNET = ("192.168.104.{}/24", "2001:db8:104::{}/64", 211)
_OWN_SUBNET = ("10.104.0.{}/24", "2001:db8:a::{}/64", 11)
_SUBNET_OF_EACH = ("10.104.{}.11/24", "2001:db8:a:{}::11/64", 1)
"""How endpoints' addresses are written, and the number of the first."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One pair under one setting; `observed`, `agrees` and `kernel` are None where nothing was run.

    A run that ended before it has a kernel and no `observed`. It `agrees` where the two are equal, or
    the run was so slow that both are possible: the predicted outcome is the likeliest.
    """

    mode: str
    flag: str
    strategy: str
    family: Family
    source: str
    destination: str
    predicted: Outcome
    observed: Outcome | None
    agrees: bool | None
    reason: str
    kernel: str | None = None


@dataclass(frozen=True, slots=True)
class Matrix:
    """The cells, and the target and kernels that they were observed on: none where nothing was run."""

    cells: tuple[Cell, ...]
    target: str | None = None
    kernels: tuple[str, ...] = ()
    duration_s: float = 0.0

    @property
    def two_hosts(self) -> bool:
        """Whether its pairs are on two hosts."""
        return (self.cells[0].source, self.cells[0].destination) in PAIRS_APART


def settings() -> list[Setting]:
    """Return every setting of the matrix: a strategy only in the modes in which it can work."""
    found = []
    for mode, flag in product(MODES, FLAGS):
        found += [Setting(mode, flag), Setting(mode, flag, host_shim=True)]
        found += [Setting(mode, flag, strategy=s.name) for s in strategies.STRATEGIES[1:] if mode in s.modes]
    return found


def strategy_of(setting: Setting) -> str:
    """Return the name of a setting's strategy in the matrix."""
    return strategies.HOST_SHIM.name if setting.host_shim else setting.strategy


def _words(setting: Setting) -> tuple[str, str, str]:
    return setting.mode, setting.flag, strategy_of(setting)


def _has(setting: Setting) -> strategies.Strategy:
    return strategies.BY_NAME[setting.strategy]


def plans(
    count: int,
    mode: Mode | None = None,
    flag: Flag | None = None,
    family: Family | None = None,
    strategy: str | None = None,
    *,
    two_hosts: bool = False,
) -> list[Plan]:
    """Return a part of a matrix, or with None all of it, as about `count` plans of similar length.

    That of `two_hosts` has no host shim, which is for a host and its own endpoints.

    Raise UsageError for an unknown strategy, and where the part is empty.
    """
    if strategy not in (None, *STRATEGIES):
        raise UsageError(f"unknown strategy {strategy!r}", f"choose from {', '.join(STRATEGIES)}")
    wanted = (mode, flag, strategy)
    every = [setting for setting in settings() if not (two_hosts and setting.host_shim)]
    of_each = [(setting, zip(wanted, _words(setting), strict=True)) for setting in every]
    chosen = [setting for setting, both in of_each if all(want in (None, has) for want, has in both)]
    routed = [setting for setting in chosen if _has(setting).own_subnet]
    others = sorted((s for s in chosen if not _has(s).own_subnet), key=lambda s: not _has(s).announces)
    share = max(1, round(count * len(routed) / len(chosen))) if chosen else 1
    own, make = (_SUBNET_OF_EACH, _lab_of_two) if two_hosts else (_OWN_SUBNET, _lab)
    parts = [(own, routed[i::share]) for i in range(share)]
    rest = max(1, count - share)
    parts += [(_SAME_SUBNET, others[i::rest]) for i in range(rest)]
    families = FAMILIES if family is None else (family,)
    labs = [make(f"matrix-{i}", subnet, part, families) for i, (subnet, part) in enumerate(parts) if part]
    found = [make_plan(lab) for lab in labs if any(phase.acts for phase in lab.phases)]
    if not found:
        hint = "a strategy works in some modes, announce for IPv4 only"
        raise UsageError("no cell matches these options", hint)
    return found


def _lab(name: str, subnet: tuple[str, str, int], part: Sequence[Setting], families: Sequence[Family]) -> Lab:
    endpoints = []
    for number, endpoint in enumerate(ENDPOINTS, subnet[2]):
        addresses = tuple(ip_interface(form.format(number)) for form in subnet[:2])
        endpoints.append(Endpoint(endpoint, addresses, endpoint, _PARENT.name))
    phases = tuple(Phase("-".join(_words(s)), s, ENDPOINTS, tuple(_acts(s, families))) for s in part)
    about = "every pair under every mode, flag and strategy, with cold neighbour tables"
    return Lab(name, about, (_PARENT,), tuple(endpoints), phases, _FAR, setup="batch")


def _lab_of_two(
    name: str, subnet: tuple[str, str, int], part: Sequence[Setting], families: Sequence[Family]
) -> Lab:
    endpoints = []
    for number, (endpoint, parent) in enumerate(zip(APART, _HOSTS, strict=True), subnet[2]):
        addresses = tuple(ip_interface(form.format(number)) for form in subnet[:2])
        endpoints.append(Endpoint(endpoint, addresses, "endpoint", parent.name))
    phases = tuple(Phase("-".join(_words(s)), s, APART, tuple(_acts_apart(s, families))) for s in part)
    about = "pairs on two hosts under every mode, flag and strategy, with cold neighbour tables"
    return Lab(name, about, _HOSTS, tuple(endpoints), phases, setup="batch")


def _acts_apart(setting: Setting, families: Sequence[Family]) -> Iterable[Act]:
    # All pairs use the entries of the two hosts.
    forget = Act(flush=("h1", "h2", *(APART if setting.mode == "l2" else ()), GATEWAY))
    # The reply waits for another announcement, up to a second later.
    return _asked(setting, families, forget, [[pair] for pair in PAIRS_APART], 2 * PING_COUNT)


def _acts(setting: Setting, families: Sequence[Family]) -> Iterable[Act]:
    # In l3 endpoints have no neighbour entries.
    forget = Act(flush=(HOST, *(ENDPOINTS if setting.mode == "l2" else ()), GATEWAY, NEIGHBOUR))
    return _asked(setting, families, forget, _batches())


def _asked(
    setting: Setting,
    families: Sequence[Family],
    forget: Act,
    batches: Sequence[Sequence[tuple[str, str]]],
    announced_count: int = PING_COUNT,
) -> Iterable[Act]:
    """Yield the acts that check each of `batches` with cold neighbour tables."""
    # One request is enough; an announcement, which is only for IPv4, has to come while a peer asks.
    announced = _has(setting).announces
    count = announced_count if announced else 1
    asked = [family for family in families if family == "ipv4" or not announced]
    for batch in batches if asked else ():
        yield forget
        yield Act(checks=tuple(Check(a, b, family=family, count=count) for a, b in batch for family in asked))


def _batches() -> list[list[tuple[str, str]]]:
    """Return the pairs in batches in which no two use the same neighbour entries."""
    batches: list[list[tuple[str, str]]] = []
    used: Counter[frozenset[str]] = Counter()
    for pair in PAIRS:
        entry = frozenset(GATEWAY if role == FAR else role for role in pair)
        if used[entry] == len(batches):
            batches.append([])
        batches[used[entry]].append(pair)
        used[entry] += 1
    return batches


def predicted(plans: Iterable[Plan]) -> Matrix:
    """Return the predicted matrix; nothing is run."""
    sections = [section for plan in plans for section in plan.sections]
    steps = [(section, step) for section in sections for stage in section.stages for step in stage]
    probes = ((section, step.probe) for section, step in steps if step.probe is not None)
    return Matrix(_cells((section, Verdict(probe), None) for section, probe in probes))


def observed(results: Sequence[Result], duration_s: float) -> Matrix:
    """Return the matrix as observed on kernels."""
    runs = [(result, result.run) for result in results]
    found = [
        (s, v, run.kernel) for result, run in runs for s in run.plan.sections for v in result.verdicts[s.name]
    ]
    kernels = dict.fromkeys(run.kernel for _, run in runs)
    return Matrix(_cells(found), results[0].run.target, tuple(kernels), duration_s)


def _cells(verdicts: Iterable[tuple[Section, Verdict, str | None]]) -> tuple[Cell, ...]:
    """Return the cells in the order of `settings`, the families, `PAIRS`, and the kernels."""
    order = [_words(setting) for setting in settings()]
    found = []
    for section, verdict, kernel in verdicts:
        check, phase, probe = verdict.probe.check, section.phase, verdict.probe
        if phase is None or not isinstance(check, Check) or check.family is None:
            raise ValueError(f"not a cell of the matrix: {check}")
        words, pair = _words(phase.setting), (check.source, check.destination)
        seen = verdict.observed, verdict.passed
        cell = Cell(*words, check.family, *pair, probe.expected, *seen, probe.reason, kernel)
        found.append((order.index(words), check.family, (*PAIRS, *PAIRS_APART).index(pair), cell))
    return tuple(cell for *_, cell in sorted(found, key=lambda item: item[:3]))
