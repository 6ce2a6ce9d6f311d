"""Grades a script that is to build what a lab describes: it runs in a guest, and then the lab's checks do."""

from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from ipvkit.core.command import Command, Completed, in_netns
from ipvkit.core.errors import CommandFailed, UsageError
from ipvkit.lab import Check, Lab, Phase
from ipvkit.plan.make import make_plan
from ipvkit.plan.steps import Plan
from ipvkit.run import engine
from ipvkit.run.execution import ask
from ipvkit.run.verdicts import Verdict, judge
from ipvkit.targets.programs import require
from ipvkit.targets.uml import Uml
from ipvkit.tools import ip
from ipvkit.verbs.explain import phases_called

_RUN = "; ".join(
    (
        "base64 --decode >/run/build.sh",
        "ulimit -f 4096",
        'setsid timeout --signal=KILL "$1" bash /run/build.sh </dev/null >/run/build.out 2>&1',
        "code=$?",
        "tail -c 2000 /run/build.out",
        'exit "$code"',
    )
)
"""Bash that runs the script on stdin, as base64, for so many seconds; its files get at most 4 MiB."""

_ANY = tuple(range(256))
_KILLED = 128 + 9


@dataclass(frozen=True, slots=True)
class Grade:
    """The grade of a script: how it ended, the verdicts on the checks, or the `problem` that ended its guest.

    `absent` are the endpoints that it has not created, with what is missing; their checks give no points.
    """

    name: str
    build: Completed | None
    checks: tuple[Verdict, ...]
    most: int
    absent: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""

    @property
    def points(self) -> int:
        """One for each check that came out as the lab describes, if its endpoints are there."""
        return sum(map(self._counts, self.checks))

    def _counts(self, verdict: Verdict) -> bool:
        check = verdict.probe.check
        ends = {check.source, check.destination} if isinstance(check, Check) else set()
        return verdict.passed is True and ends.isdisjoint(self.absent)

    @property
    def notes(self) -> list[str]:
        """Why points are missing: how the script ended, and each check that came out otherwise."""
        found = [self.problem] if self.problem else []
        if self.build is not None and self.build.exit_code != 0:
            last = self.build.stdout.rstrip().rpartition("\n")[2]
            found.append(f"{_ended(self.build.exit_code)}{f': {last}' if last else ''}")
        found += [f"{name} is not there: {what}" for name, what in self.absent.items()]
        for verdict in (verdict for verdict in self.checks if verdict.passed is not True):
            probe, seen = verdict.probe, verdict.observed or "nothing: it did not run"
            found.append(f"{probe.check}: expected {probe.expected}, observed {seen}")
        return found


def _ended(code: int) -> str:
    return "it did not end in time" if code in (_KILLED, -9) else f"it ended with exit code {code}"


def phase_of(lab: Lab, name: str | None) -> Phase:
    """Return the phase called `name`, or the only one; raise UsageError where it checks nothing."""
    found = phases_called(lab, name)
    if len(found) > 1:
        names = ", ".join(phase.name for phase in found)
        raise UsageError(f"lab {lab.name} has several phases", f"--phase: choose from {names}")
    lab.require_one_host("ipvkit grade")
    if not any(act.checks or act.attempts for act in found[0].acts):
        raise UsageError(f"phase {found[0].name} of lab {lab.name} checks nothing", "add `check` to it")
    return found[0]


def grade(
    lab: Lab, phase: Phase, scripts: Iterable[tuple[str, str]], target: Uml, *, timeout_s: float
) -> Iterator[Grade]:
    """Yield the grade of each of `scripts`, a name and a text, for `phase`; each has a separate kernel.

    A script gets `timeout_s` seconds. Raise MissingRequirement where this machine cannot.
    """
    whole = make_plan(replace(lab, phases=(phase,)))
    require(*whole.programs)
    lan, checks = replace(whole, sections=whole.sections[:1]), _checks(whole)
    most = sum(step.probe is not None for step in checks.steps)
    for name, text in scripts:
        build = None
        try:
            with engine.standing(lan, target) as standing:
                build = _built(standing, lab, text, timeout_s)
                absent = dict(_absent(standing, lab, phase))
                result = judge(standing.more(checks, timeout_s=300.0))
        except CommandFailed as problem:
            yield Grade(name, build, (), most, problem=f"its guest ended: {problem.message}")
        else:
            yield Grade(name, build, result.checks, most, absent)


def _built(standing: engine.Standing, lab: Lab, text: str, timeout_s: float) -> Completed:
    agent = standing.machines.each[lab.machines[0]]
    argv = ("bash", "-c", _RUN, "bash", f"{timeout_s:g}")
    command = Command(argv, stdin=(b64encode(text.encode()).decode(),), ok=_ANY)
    # Starting and reporting take a while too.
    return ask(agent, {"script": command}, timeout_s + 30)["script"]


def _absent(standing: engine.Standing, lab: Lab, phase: Phase) -> Iterator[tuple[str, str]]:
    """Yield the endpoints without one of their addresses in their namespace, and what is missing."""
    endpoints = lab.endpoints_of(phase)
    views = {e.name: in_netns(e.netns, ip.addr_show()) for e in endpoints}
    seen = ask(standing.machines.each[lab.machines[0]], views)
    for endpoint in endpoints:
        links = ip.parse_addresses(seen[endpoint.name].stdout) if seen[endpoint.name].exit_code == 0 else ()
        there = {own.address.ip for link in links for own in link.addresses}
        missing = [str(own.ip) for own in endpoint.addresses if own.ip not in there]
        if missing:
            yield endpoint.name, f"no {missing[0]} in namespace {endpoint.netns}"


def _checks(whole: Plan) -> Plan:
    """Return the plan of the acts of the only phase; no exit code of a command ends it."""
    *_, section = whole.sections
    first = section.acts[0].start
    stages = tuple(
        tuple(replace(step, command=replace(step.command, ok=_ANY)) for step in stage)
        for stage in section.stages[first:]
    )
    acts = tuple(slice(act.start - first, act.stop - first) for act in section.acts)
    return replace(whole, sections=(replace(section, stages=stages, acts=acts),))
