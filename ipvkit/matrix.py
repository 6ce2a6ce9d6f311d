"""Every mode, flag, family, strategy and pair: what is predicted, and what a kernel does.

The matrix is labs of many short phases, one for each mode, flag and strategy. Which cells of a phase
run side by side is chosen so that none finds what another left in a neighbour table.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_interface
from itertools import permutations

from ipvkit.lab import (
    FAMILIES,
    FAR,
    FLAGS,
    GATEWAY,
    HOST,
    MODES,
    NEIGHBOUR,
    PING_COUNT,
    Act,
    Check,
    Endpoint,
    Family,
    Lab,
    Outcome,
    Parent,
    Phase,
    Setting,
    Strategy,
    family_of,
)
from ipvkit.report.result import Result
from ipvkit.values import Mode

ENDPOINTS = ("endpoint1", "endpoint2")
ROLES = (HOST, *ENDPOINTS, GATEWAY, NEIGHBOUR, FAR)
PAIRS = tuple(pair for pair in permutations(ROLES, 2) if set(pair) & set(ENDPOINTS))
HOST_SHIM = "host-shim"
STRATEGIES = ("none", "routed", "announce", "static-neigh", "l3s-proxy", HOST_SHIM)

_WORKS_IN: dict[Mode, tuple[Strategy, ...]] = {
    "l2": ("routed",),
    "l3": ("routed", "announce", "static-neigh"),
    "l3s": ("routed", "announce", "static-neigh", "l3s-proxy"),
}
"""The strategies that a lab may have in each mode, for both families."""

_PARENT = Parent(
    "eth0",
    host=(ip_interface("192.168.104.110/24"), ip_interface("2001:db8:104::110/64")),
    gateway=(ip_address("192.168.104.254"), ip_address("2001:db8:104::254")),
    neighbour=(ip_address("192.168.104.111"), ip_address("2001:db8:104::111")),
)
_FAR = (ip_interface("198.51.100.10/24"), ip_interface("2001:db8:ff::10/64"))
_SAME_SUBNET = ("192.168.104.{}/24", "2001:db8:104::{}/64", 211)
_OWN_SUBNET = ("10.104.0.{}/24", "2001:db8:a::{}/64", 11)


@dataclass(frozen=True, slots=True)
class Cell:
    """One pair under one setting; `observed` is None where the run did not come so far."""

    mode: str
    flag: str
    family: Family
    strategy: str
    source: str
    destination: str
    predicted: Outcome
    observed: Outcome | None
    reason: str

    @property
    def agrees(self) -> bool:
        """Whether the kernel did what was predicted."""
        return self.observed is self.predicted


def settings() -> list[Setting]:
    """Return every setting of the matrix: a strategy only in the modes in which it can work."""
    found = []
    for mode in MODES:
        for flag in FLAGS:
            found.append(Setting(mode, flag))
            found.append(Setting(mode, flag, host_shim=True))
            found += [Setting(mode, flag, strategy=strategy) for strategy in _WORKS_IN[mode]]
    return found


def strategy_of(setting: Setting) -> str:
    """Return what the matrix calls the strategy of a setting."""
    return HOST_SHIM if setting.host_shim else setting.strategy


def labs(count: int) -> list[Lab]:
    """Return the matrix as `count` labs, or one more, of about the same length."""
    heavy_first = sorted(settings(), key=lambda setting: setting.strategy != "announce")
    routed = [setting for setting in heavy_first if setting.strategy == "routed"]
    others = [setting for setting in heavy_first if setting.strategy != "routed"]
    parts = [others[i::count] for i in range(count)]
    return [_lab("routed", _OWN_SUBNET, routed)] + [
        _lab(f"matrix-{i}", _SAME_SUBNET, part) for i, part in enumerate(parts)
    ]


def _lab(name: str, subnet: tuple[str, str, int], chosen: Sequence[Setting]) -> Lab:
    ipv4, ipv6, first = subnet
    endpoints = tuple(
        Endpoint(
            endpoint,
            (ip_interface(ipv4.format(first + i)), ip_interface(ipv6.format(first + i))),
            endpoint,
            _PARENT.name,
        )
        for i, endpoint in enumerate(ENDPOINTS)
    )
    phases = tuple(
        Phase(f"{s.mode}-{s.flag}-{strategy_of(s)}", s, ENDPOINTS, tuple(_acts(s))) for s in chosen
    )
    about = "every pair under every mode, flag and strategy, with cold neighbour tables"
    return Lab(name, about, (_PARENT,), endpoints, phases, _FAR)


def _acts(setting: Setting) -> Iterable[Act]:
    # One request tells; an announcement has to come while somebody asks.
    count = PING_COUNT if setting.strategy == "announce" else 1
    forget = Act(flush=(HOST, GATEWAY, NEIGHBOUR, *ENDPOINTS))
    families = ("ipv4",) if setting.strategy == "announce" else FAMILIES
    for batch in _batches():
        checks = [Check(a, b, family=family, count=count) for a, b in batch for family in families]
        yield forget
        yield Act(checks=tuple(checks))


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


def cells(results: Iterable[Result]) -> list[Cell]:
    """Return the cells of the results of `labs`, in the order of `settings` and `PAIRS`."""
    found = []
    for result in results:
        for section in result.run.plan.sections:
            for verdict in result.verdicts[section.name]:
                check, phase = verdict.probe.check, section.phase
                if phase is None or not isinstance(check, Check) or verdict.probe.address is None:
                    continue
                found.append(
                    Cell(
                        phase.setting.mode,
                        phase.setting.flag,
                        family_of(verdict.probe.address),
                        strategy_of(phase.setting),
                        check.source,
                        check.destination,
                        verdict.probe.expected,
                        verdict.observed,
                        verdict.probe.reason,
                    )
                )
    order: list[tuple[str, str, str]] = [(s.mode, s.flag, strategy_of(s)) for s in settings()]
    return sorted(
        found,
        key=lambda cell: (
            order.index((cell.mode, cell.flag, cell.strategy)),
            cell.family,
            PAIRS.index((cell.source, cell.destination)),
        ),
    )
