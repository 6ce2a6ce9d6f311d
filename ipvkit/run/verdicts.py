"""The verdicts of a run: each check's prediction compared with what was observed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ipvkit.core.command import Completed
from ipvkit.core.errors import CommandFailed, IpvkitError, UnparsableOutput
from ipvkit.export.script import NO_ROUTE
from ipvkit.lab import LOST_AFTER, Attempt, Check, Outcome
from ipvkit.plan.steps import Probe
from ipvkit.predict.neighbours import Span
from ipvkit.predict.whole import predict_lab
from ipvkit.run.batches import Job
from ipvkit.run.capture import Captured, of_stage
from ipvkit.run.engine import Run
from ipvkit.tools.fping import parse_fping
from ipvkit.tools.ping import PingReport, parse_ping
from ipvkit.tools.socat import REFUSED, Connection, parse_connection


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of one check; `observed`, and `ping` or `tcp`, are None where it was skipped or did not run.

    `lifetime_s` is how long a watched path lived: from its first reply to its last, in seconds. `captured` is
    what was captured meanwhile.
    """

    probe: Probe
    observed: Outcome | None = None
    ping: PingReport | None = None
    lifetime_s: float | None = None
    tcp: Connection | None = None
    captured: tuple[Captured, ...] = ()

    @property
    def detail(self) -> str:
        """How long a watched path lived, or why there is no connection, for people; or nothing."""
        if self.lifetime_s is not None:
            return f" after {self.lifetime_s:.1f} s"
        lost = self.observed is Outcome.UNREACHABLE and self.tcp is not None
        return f": {self.tcp.error}" if lost and self.tcp else ""

    @property
    def passed(self) -> bool | None:
        """Whether what was predicted was observed; None for what did not run, or is not modelled."""
        if self.observed is None or self.probe.expected is Outcome.NOT_MODELLED:
            return None
        return self.observed in self.probe.outcomes


@dataclass(frozen=True, slots=True)
class Result:
    """A run with its verdicts, section by section in the order of the plan."""

    run: Run
    verdicts: dict[str, tuple[Verdict, ...]]
    failure: IpvkitError | None

    @property
    def checks(self) -> tuple[Verdict, ...]:
        """All verdicts in order."""
        return tuple(verdict for verdicts in self.verdicts.values() for verdict in verdicts)

    @property
    def verdict(self) -> str:
        """Return pass, fail or error."""
        if self.failure is not None:
            return "error"
        return "fail" if any(check.passed is False for check in self.checks) else "pass"

    @property
    def exit_code(self) -> int:
        """Return the contract's exit code."""
        return self.failure.exit_code if self.failure is not None else int(self.verdict == "fail")


def judge(run: Run, *, paths: bool = False) -> Result:
    """Return the verdicts of `run`; output that cannot be parsed is its failure.

    With `paths` the probes have their hops.
    """
    failure = run.failure
    verdicts = {}
    probes = _at_times_of(run, paths=paths)
    for section in run.plan.sections:
        found = []
        for stage in run.jobs[section.name]:
            servers = [job.capture for job in stage if job.capture is not None]
            captured = of_stage(run.captured, servers) if servers else ()
            for job in (job for job in stage if job.probes):
                predicted = [probes[step.id] for step in job.steps if step.probe is not None]
                try:
                    own = _verdicts(run, job, predicted)
                except IpvkitError as problem:
                    failure = failure or problem
                    own = list(map(Verdict, predicted))
                found += [replace(verdict, captured=captured) for verdict in own]
        verdicts[section.name] = (*found, *map(Verdict, section.skipped))
    if run.residue and failure is None:
        failure = CommandFailed("not all that was done has been undone", "the report lists the leftovers")
    return Result(run, verdicts, failure)


def _at_times_of(run: Run, *, paths: bool) -> dict[str, Probe]:
    """Return the probes of the steps, predicted for the times at which the acts of `run` began and ended."""
    jobs = [job for stages in run.jobs.values() for stage in stages for job in stage]
    job_of = {step.id: job for job in jobs for step in job.steps}
    probes = {step.id: step.probe for step in run.plan.steps if step.probe is not None}
    steps = {
        (section.name, number): [step for stage in section.stages[act] for step in stage]
        for section in run.plan.sections
        for number, act in enumerate(section.acts)
    }
    times = {act: _span(run, [job_of[step.id] for step in own]) for act, own in steps.items()}
    for phase in predict_lab(run.plan.lab, times, paths=paths) if times else ():
        for number, act in enumerate(phase.acts):
            own = [step for step in steps[phase.phase.name, number] if step.probe is not None]
            predicted = (probe for probe in act.probes if not probe.skipped)
            probes |= {step.id: probe for step, probe in zip(own, predicted, strict=True)}
    return probes


def _span(run: Run, jobs: Sequence[Job]) -> Span | None:
    """Return when the first of `jobs`, if they ping the first ping, began, and when the last one ended."""
    ended = [job for job in jobs if job.id in run.ended_s]
    pings = [job for job in ended if any(isinstance(probe.check, Check) for probe in job.probes)]
    began = [run.ended_s[job.id] - run.completed[job.id].duration_s for job in pings or ended]
    return (min(began), max(run.ended_s[job.id] for job in ended)) if ended else None


def _verdicts(run: Run, job: Job, probes: Sequence[Probe]) -> list[Verdict]:
    completed = run.completed.get(job.id)
    if completed is None or completed.exit_code not in job.command.ok:
        return [Verdict(probe) for probe in probes]
    if "fping" in job.command.argv:
        reports = _read_fping(probes, completed.stderr)
        return [_of_ping(probe, report) for probe, report in zip(probes, reports, strict=True)]
    [probe] = probes
    return [verdict_of(probe, completed)]


def verdict_of(probe: Probe, completed: Completed) -> Verdict:
    """Return the verdict on one check that ran; raise UnparsableOutput for what a tool printed."""
    if isinstance(probe.check, Attempt):
        return Verdict(probe, Outcome.ACCEPTED if completed.exit_code == 0 else Outcome.REFUSED)
    if probe.check.tcp is not None:
        return _of_tcp(probe, parse_connection(completed.stderr))
    if any(error in completed.stderr for error in NO_ROUTE):
        return Verdict(probe, Outcome.UNREACHABLE)
    return _of_ping(probe, _read(completed.stdout))


def _of_tcp(probe: Probe, tcp: Connection) -> Verdict:
    if tcp.error is None:
        return Verdict(probe, Outcome.REACHABLE, tcp=tcp)
    return Verdict(probe, Outcome.REFUSED if tcp.error == REFUSED else Outcome.UNREACHABLE, tcp=tcp)


def _of_ping(probe: Probe, ping: PingReport) -> Verdict:
    """Return the verdict on a ping; a watched path is lost after errors, or when the last requests failed."""
    if ping.received == 0:
        return Verdict(probe, Outcome.UNREACHABLE, ping)
    watched = isinstance(probe.check, Check) and probe.check.watch is not None
    if not watched or not ping.replies:
        return Verdict(probe, Outcome.REACHABLE, ping)
    first, last = ping.replies[0], ping.replies[-1]
    if not ping.error_count and (ping.transmitted or 0) - last.seq < LOST_AFTER:
        return Verdict(probe, Outcome.REACHABLE, ping)
    if first.timestamp is None or last.timestamp is None:
        return Verdict(probe, Outcome.EXPIRES, ping)
    return Verdict(probe, Outcome.EXPIRES, ping, last.timestamp - first.timestamp)


def _read_fping(probes: Sequence[Probe], stderr: str) -> tuple[PingReport, ...]:
    """Return what fping counted of each host that it asks: it reports all of them, or it has failed."""
    report = parse_fping(stderr)
    if [host.address for host in report.hosts] != [probe.address for probe in probes]:
        lines = stderr.rstrip("\n").split("\n")
        raise UnparsableOutput("fping", len(lines), (*report.unrecognised, lines[-1])[0])
    return report.hosts


def _read(stdout: str) -> PingReport:
    """Return what ping saw to its end: one that failed or was killed shows nothing about the path."""
    ping = parse_ping(stdout)
    if not ping.complete:
        lines = stdout.rstrip("\n").split("\n")
        raise UnparsableOutput("ping", len(lines), lines[-1])
    return ping
