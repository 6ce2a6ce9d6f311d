"""From a phase of a lab, and what is predicted or observed of its checks, to a picture."""

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING

from ipvkit.core.errors import printable
from ipvkit.host.checks import some
from ipvkit.lab import FAR, GATEWAY, Check, Endpoint, Lab, Outcome, Parent, Phase
from ipvkit.predict.whole import Probe, predict_lab
from ipvkit.report.graph.picture import Box, Edge, Kind, Node, Picture, State, Wire

if TYPE_CHECKING:
    from ipvkit.run.verdicts import Result

Answer = tuple[Probe, Outcome | None, bool | None]
"""A check, what was observed, and whether that is as predicted; None for both where it was not run."""

MOST_APART, MOST_EDGES = 12, 30
"""Up to so many endpoints with so many edges are drawn apart; of more, those that are alike are one node."""


def predicted(lab: Lab, phase: Phase) -> Picture:
    """Return the picture of a phase of `lab` with what is predicted."""
    found = next(one for one in predict_lab(lab) if one.phase.name == phase.name)
    return picture(lab, phase, ((probe, None, None) for act in found.acts for probe in act.probes))


def observed(result: "Result", phase: Phase) -> Picture:
    """Return the picture of a phase of a run with what was observed."""
    verdicts = result.verdicts[phase.name]
    return picture(result.run.plan.lab, phase, ((v.probe, v.observed, v.passed) for v in verdicts))


def picture(lab: Lab, phase: Phase, answers: Iterable[Answer]) -> Picture:
    """Return the picture of `phase` as it begins; its edges are those `answers` that are of checks."""
    pairs = [_pair(check, own) for check, own in _by_check(answers).items()]
    groups = _groups(lab, phase, pairs)
    drawn = _Drawing(lab, phase, groups)
    drawn.draw()
    edges = tuple(_joined(_merged(drawn, pairs)))
    title = printable(f"{lab.name}, phase {phase.name}")
    ran = any(pair.observed for pair in pairs)
    nodes = tuple(dict.fromkeys(drawn.nodes.values()))
    return Picture(title, ran, (*drawn.boxes,), nodes, drawn.wires, edges)


# --- edges ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Pair:
    """The checks of one pair in a phase, and what came of them, as in an Edge."""

    check: Check
    state: State
    kind: str
    outcome: str
    reason: str
    titles: tuple[str, ...]
    observed: bool


def _by_check(answers: Iterable[Answer]) -> dict[Check, list[Answer]]:
    """Return the answers of each pair, by a check with no more than makes it another pair."""
    found: dict[Check, list[Answer]] = {}
    for answer in answers:
        check = answer[0].check
        if isinstance(check, Check):
            key = Check(check.source, check.destination, family=check.family, size=check.size, tcp=check.tcp)
            found.setdefault(key, []).append(answer)
    return found


_STATES: Mapping[str, State] = {
    Outcome.REACHABLE: "reachable",
    Outcome.UNREACHABLE: "unreachable",
    Outcome.REFUSED: "unreachable",
    Outcome.EXPIRES: "unreachable",
}
"""How a pair is drawn by the outcome of its last check; all others are unknown."""


def _pair(check: Check, answers: Sequence[Answer]) -> _Pair:
    words = [word for word, _ in groupby(map(_word, answers))]
    differs = any(passed is False for *_, passed in answers)
    probe = answers[-1][0]
    return _Pair(
        check=check,
        state="differs" if differs else _STATES.get(words[-1], "unknown"),
        kind=_kind(check),
        outcome=("DIFFERS: " if differs else "") + ", then ".join(words),
        reason=printable(probe.skipped or probe.reason),
        titles=tuple(title for title, _ in groupby(map(_title, answers))),
        observed=any(seen is not None for _, seen, _ in answers),
    )


def _kind(check: Check) -> str:
    size = "" if check.size is None else f"{check.size} bytes"
    tcp = "" if check.tcp is None else f"tcp {check.tcp}"
    return ", ".join(filter(None, (check.family, size, tcp)))


def _word(answer: Answer) -> str:
    probe, observed, _ = answer
    if probe.skipped:
        return "skipped"
    return observed or probe.expected


def _title(answer: Answer) -> str:
    probe, observed, passed = answer
    words = probe.skipped or f"{observed or ' or '.join(probe.outcomes)}: {probe.reason}"
    if passed is False:
        words = f"{observed}, predicted {' or '.join(probe.outcomes)}: {probe.reason}"
    return printable(f"{probe.check}: {words}")


def _merged(drawn: "_Drawing", pairs: Iterable[_Pair]) -> Iterator[Edge]:
    """Yield an edge for all pairs between two nodes that have one outcome."""
    found: dict[Hashable, Edge] = {}
    for pair in pairs:
        (source, of_source), (destination, of_destination) = drawn.ends(pair.check)
        key = (source, of_source, destination, of_destination, pair.kind, pair.outcome)
        new = Edge(
            source,
            destination,
            (of_source, of_destination),
            pair.state,
            pair.kind,
            pair.outcome,
            pair.reason,
            (),
            pairs=0,
        )
        edge = found.get(key, new)
        found[key] = replace(edge, titles=(*edge.titles, *pair.titles), pairs=edge.pairs + 1)
    yield from found.values()


def _joined(edges: Iterable[Edge]) -> Iterator[Edge]:
    """Yield `edges`, two that are the reverse of each other as one."""
    left = {(e.source, e.destination, e.ends, e.kind, e.outcome): e for e in edges}
    while left:
        edge = left.pop(next(iter(left)))
        back = left.pop((edge.destination, edge.source, edge.ends[::-1], edge.kind, edge.outcome), None)
        if back is not None:
            titles, pairs = (*edge.titles, *back.titles), edge.pairs + back.pairs
            edge = replace(edge, titles=titles, pairs=pairs, both=True)
        yield replace(edge, both=True) if edge.source == edge.destination else edge


# --- nodes ----------------------------------------------------------------------------------------------


def _groups(lab: Lab, phase: Phase, pairs: Sequence[_Pair]) -> list[list[Endpoint]]:
    """Return the endpoints of `phase`, those that are alike together if there are many, or many edges.

    They are on one parent, each in a separate namespace, and have the same results with the same others; of
    other endpoints only their parents count.
    """
    endpoints = lab.endpoints_of(phase)
    edges = {(frozenset((pair.check.source, pair.check.destination)), pair.kind) for pair in pairs}
    if len(endpoints) <= MOST_APART and len(edges) <= MOST_EDGES:
        return [[endpoint] for endpoint in endpoints]
    results: dict[str, set[Hashable]] = {endpoint.name: set() for endpoint in endpoints}
    for pair in pairs:
        ends = (pair.check.source, pair.check.destination)
        for own, other in (ends, ends[::-1]):
            if own in results:
                of = ("on", lab.endpoint(other).parent) if lab.is_endpoint(other) else (own == ends[0], other)
                results[own].add((of, pair.kind, pair.outcome))
    inside = Counter(lab.place(endpoint.name) for endpoint in endpoints)
    alike: dict[Hashable, list[Endpoint]] = {}
    for endpoint in endpoints:
        alone = endpoint.name if inside[lab.place(endpoint.name)] > 1 else ""
        alike.setdefault((endpoint.parent, alone, frozenset(results[endpoint.name])), []).append(endpoint)
    return [*alike.values()]


class _Drawing:
    """Draws the boxes, nodes and wires of a phase, from the switches down."""

    def __init__(self, lab: Lab, phase: Phase, groups: Sequence[Sequence[Endpoint]]) -> None:
        self._lab, self._phase, self._groups = lab, phase, groups
        self._inside = Counter(map(lab.place, phase.endpoints))
        self.boxes: list[Box] = []
        self.nodes: dict[Hashable, Node] = {}
        self._wires: dict[tuple[str, str], list[str]] = {}

    @property
    def wires(self) -> tuple[Wire, ...]:
        """The wires, each with all of its labels."""
        return tuple(Wire(*ends, ", ".join(labels)) for ends, labels in self._wires.items())

    def draw(self) -> None:
        """Draw all."""
        for parent in self._lab.networks:
            self._network(parent)
        for host in self._lab.hosts:
            self._host(host)

    def ends(self, check: Check) -> tuple[tuple[str, str], tuple[str, str]]:
        """Return the node of each end of `check`, and what it is called as an end."""
        parent = self._lab.parent_of(check)
        return self._end(check.source, parent), self._end(check.destination, parent)

    def _end(self, role: str, parent: Parent) -> tuple[str, str]:
        if not self._lab.is_host(role):
            node = self.nodes[role]
            return node.id, node.title
        there = self._lab.on_lan(role, parent) or self._lab.parents_on(role)[0]
        return self.nodes["parent", there.name].id, role

    def _node(
        self, key: Hashable, kind: Kind, title: str, lines: Iterable[object] = (), box: str = ""
    ) -> Node:
        """Return the node of `key`, new or with more lines."""
        node = self.nodes.get(key) or Node(f"n{len(self.nodes)}", kind, printable(title), box=box)
        texts = (printable(str(line)) for line in lines)
        self.nodes[key] = replace(node, lines=(*dict.fromkeys((*node.lines, *texts)),))
        return self.nodes[key]

    def _wire(self, upper: Node, lower: Node, label: str = "") -> None:
        labels = self._wires.setdefault((upper.id, lower.id), [])
        labels += [label] if label and label not in labels else []

    def _switch(self, parent: Parent) -> Node | None:
        """Return the switch that a parent is connected to; a dummy is connected to none."""
        below = self._lab.below(parent)
        if below.kind == "dummy":
            return None
        number = self._lab.position(below)
        several = sum(one.kind != "dummy" for one in self._lab.switched) > 1
        return self._node(("switch", number), "switch", f"switch br{number}" if several else "switch")

    def _network(self, parent: Parent) -> None:
        switch = self._switch(parent)
        for peer in parent.peers:
            addresses = [str(own) for own in peer.addresses]
            links = sum(peer.name in (other.name for other in p.peers) for p in self._lab.networks)
            router = ["router"] if peer.name != GATEWAY and peer.name in self._lab.routers else []
            node = self._node(peer.name, "peer", peer.name, [*(addresses if links == 1 else []), *router])
            if switch is not None:
                # Of several links each has other addresses.
                words = (_vlan(parent), *(addresses if links > 1 else []))
                self._wire(switch, node, " ".join(filter(None, words)))
        if self._lab.far and GATEWAY in self.nodes and FAR not in self.nodes:
            self._wire(self.nodes[GATEWAY], self._node(FAR, "peer", FAR, self._lab.far))

    def _host(self, host: str) -> None:
        box = self._box(host)
        for parent in self._lab.parents_on(host):
            self._node(("parent", parent.name), "parent", parent.dev, self._about(parent), box=box.id)
        for parent in self._lab.parents_on(host):
            self._uplink(parent)
            self._endpoints(parent, box)

    def _box(self, title: str, inside: str = "") -> Box:
        self.boxes.append(Box(f"b{len(self.boxes)}", printable(title), inside))
        return self.boxes[-1]

    def _about(self, parent: Parent) -> Iterator[object]:
        """Yield the lines of a parent: what it is, its addresses, and the setting of its endpoints."""
        if parent.kind != "nic" and parent.vlan is None:
            yield f"bond, {parent.bond_mode}" if parent.kind == "bond" else parent.kind
        yield from parent.host or ["no address"]
        if self._lab.endpoints_of(self._phase, parent):
            yield from str(self._phase.on(parent.name)).split(", ")

    def _uplink(self, parent: Parent) -> None:
        node = self.nodes["parent", parent.name]
        if parent.link is not None:
            self._wire(self.nodes["parent", parent.link], node, _vlan(parent))
        elif (switch := self._switch(parent)) is not None:
            self._wire(switch, node)

    def _endpoints(self, parent: Parent, box: Box) -> None:
        upper = self.nodes["parent", parent.name]
        for group in self._groups:
            if group[0].parent == parent.name:
                node = self._group(group, self._around(group[0], box))
                self._wire(upper, node)

    def _around(self, endpoint: Endpoint, host: Box) -> Box:
        """Return the box that an endpoint is in: that of its namespace where it is not alone there."""
        if self._inside[self._lab.place(endpoint.name)] == 1:
            return host
        title = printable(f"netns {endpoint.netns}")
        own = (box for box in self.boxes if (box.inside, box.title) == (host.id, title))
        return next(own, None) or self._box(title, host.id)

    def _group(self, group: Sequence[Endpoint], box: Box) -> Node:
        title, lines = group[0].name, [*_about_endpoint(group[0], alone=not box.inside)]
        if len(group) > 1:
            own = [f"{address} …" for address in group[0].addresses]
            title, lines = self._called(group), [f"{len(group)} endpoints, same result", *own]
        node = self._node(group[0].name, "endpoint", title, lines, box=box.id)
        node = replace(node, many=len(group))
        self.nodes |= {endpoint.name: node for endpoint in group}
        return node

    def _called(self, group: Sequence[Endpoint]) -> str:
        """Return what a group is called: the first and the last, if all between them are in it."""
        names = [endpoint.name for endpoint in group]
        every = [e.name for e in self._lab.endpoints_of(self._phase) if e.parent == group[0].parent]
        first, last = every.index(names[0]), every.index(names[-1])
        return f"{names[0]} … {names[-1]}" if every[first : last + 1] == names else some(names)


def _about_endpoint(endpoint: Endpoint, *, alone: bool) -> Iterator[object]:
    """Yield the lines of an endpoint: its addresses, and what its namespace and its link are called."""
    names = (endpoint.name, endpoint.plain_name)
    yield from endpoint.addresses
    if alone and endpoint.netns not in names:
        yield f"netns {endpoint.netns}"
    if endpoint.dev not in names:
        yield f"dev {endpoint.dev}"


def _vlan(parent: Parent) -> str:
    return "" if parent.vlan is None else f"VLAN {parent.vlan}"
