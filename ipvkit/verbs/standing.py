"""A lab that stands while a program asks it: pings, commands in its namespaces, explanations."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from ipvkit.core.command import Command, Completed, in_netns
from ipvkit.core.errors import UsageError
from ipvkit.lab import Act, Check, Family, Lab, Phase
from ipvkit.plan.make import make_plan
from ipvkit.plan.steps import Plan
from ipvkit.run import engine
from ipvkit.run.execution import ask
from ipvkit.run.verdicts import Verdict, verdict_of
from ipvkit.targets.programs import require
from ipvkit.targets.sandbox import Sandbox
from ipvkit.targets.uml import Uml
from ipvkit.verbs.explain import Explanation, explain, phases_called, sysctls_first

_COUNT = 3
"""How many requests a ping sends."""


@dataclass(frozen=True, slots=True)
class StandingLab:
    """A phase of a lab that has been built; nodes are named as in the lab's checks."""

    lab: Lab
    phase: Phase
    _standing: engine.Standing

    def ping(
        self, source: str, destination: str, *, family: Family | None = None, count: int = _COUNT
    ) -> Verdict:
        """Ping from one node to another; `observed` of the verdict is ``"reachable"`` or ``"unreachable"``.

        It is compared with what is predicted with empty neighbour tables. Raise InvalidLab for a pair that no
        lab can check.
        """
        plan = _asking(self.lab, self.phase, Check(source, destination, family=family, count=count))
        run = self._standing.more(plan, timeout_s=60.0 + count)
        [(id, probe)] = [(step.id, step.probe) for step in plan.steps if step.probe is not None]
        return verdict_of(probe, run.completed[id])

    def run(self, node: str, argv: Sequence[str], *, timeout_s: float = 60.0) -> Completed:
        """Run a command in the namespace of `node`, and return how it ended, also where it failed.

        Raise UsageError for an unknown node, CommandFailed if it does not end in `timeout_s` seconds:
        everything in the lab has ended then.
        """
        nodes = (*self.lab.hosts, *self.lab.peers, *self.phase.endpoints)
        if node not in nodes:
            raise UsageError(f"unknown node {node!r}", f"choose from {', '.join(nodes)}")
        agent = self._standing.machines.each[self.lab.machine_of(node)]
        command = in_netns(self.lab.netns(node), Command(tuple(argv)))
        return ask(agent, {node: command}, timeout_s)[node]

    def explain(self, source: str, destination: str, *, family: Family | None = None) -> Explanation:
        """Return why the one node reaches the other or does not, and the fixes."""
        return explain(self.lab, self.phase, Check(source, destination, family=family))


def _asking(lab: Lab, phase: Phase, check: Check) -> Plan:
    """Return the plan that does `check` where `phase` has been built."""
    asking = replace(phase, acts=(*sysctls_first(phase.acts), Act(checks=(check,))))
    plan = make_plan(replace(lab, phases=(asking,)))
    *_, section = plan.sections
    return replace(plan, sections=(replace(section, stages=section.stages[section.acts[-1]], acts=()),))


@contextmanager
def up(
    lab: Lab, target: Sandbox | Uml, phase: str | None = None, *, timeout_s: float = 120.0
) -> Iterator[StandingLab]:
    """Build a phase of `lab`, by default the first, without its checks; it ends with the block.

    Raise UsageError for an unknown phase, and what a run of the lab raises.
    """
    wanted = phases_called(lab, phase)[0]
    plan = make_plan(replace(lab, phases=(replace(wanted, acts=sysctls_first(wanted.acts)),)))
    require(*plan.programs, "ping")
    with engine.standing(plan, target, timeout_s=timeout_s) as standing:
        yield StandingLab(lab, wanted, standing)
