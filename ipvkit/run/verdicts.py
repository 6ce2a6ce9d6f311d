"""The verdicts of a run: each check's prediction compared with what was observed."""

from dataclasses import dataclass

from ipvkit.core.errors import CommandFailed, IpvkitError, UnparsableOutput
from ipvkit.export.script import LOST_AFTER, NO_ROUTE
from ipvkit.lab import Attempt, Check, Outcome
from ipvkit.plan.steps import Probe
from ipvkit.run.batches import Job
from ipvkit.run.engine import Run
from ipvkit.tools.fping import parse_fping
from ipvkit.tools.ping import PingReport, parse_ping


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of one check; `observed` and `ping` are None where it was skipped or did not run.

    `lifetime_s` is how long a watched path lived: from its first reply to its last, in seconds.
    """

    probe: Probe
    observed: Outcome | None = None
    ping: PingReport | None = None
    lifetime_s: float | None = None

    @property
    def passed(self) -> bool | None:
        """Whether the observation equals the prediction; None where the check did not run."""
        return None if self.observed is None else self.observed == self.probe.expected


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


def judge(run: Run) -> Result:
    """Return the verdicts of `run`; output that cannot be parsed is its failure."""
    failure = run.failure
    verdicts = {}
    for section in run.plan.sections:
        found = []
        for job in (job for stage in run.jobs[section.name] for job in stage if job.probes):
            try:
                found += _verdicts(run, job)
            except IpvkitError as problem:
                failure = failure or problem
                found += map(Verdict, job.probes)
        verdicts[section.name] = (*found, *map(Verdict, section.skipped))
    if run.residue and failure is None:
        failure = CommandFailed("not all that was done has been undone", "the report lists the leftovers")
    return Result(run, verdicts, failure)


def _verdicts(run: Run, job: Job) -> list[Verdict]:
    completed = run.completed.get(job.id)
    if completed is None or completed.exit_code not in job.command.ok:
        return [Verdict(probe) for probe in job.probes]
    if "fping" in job.command.argv:
        reports = _read_fping(job, completed.stderr)
        return [_of_ping(probe, report) for probe, report in zip(job.probes, reports, strict=True)]
    [probe] = job.probes
    if isinstance(probe.check, Attempt):
        return [Verdict(probe, Outcome.ACCEPTED if completed.exit_code == 0 else Outcome.REFUSED)]
    if NO_ROUTE in completed.stderr:
        return [Verdict(probe, Outcome.UNREACHABLE)]
    return [_of_ping(probe, _read(completed.stdout))]


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


def _read_fping(job: Job, stderr: str) -> tuple[PingReport, ...]:
    """Return what fping counted of each host that `job` asks: it reports all of them, or it has failed."""
    report = parse_fping(stderr)
    if [host.address for host in report.hosts] != [probe.address for probe in job.probes]:
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
