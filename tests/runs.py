"""Runs of labs that never happened, in which each check printed what a test says."""

from dataclasses import replace
from functools import cache

from ipvkit.core.command import Completed
from ipvkit.core.errors import IpvkitError
from ipvkit.lab import Act, Check, Lab, Outcome, gallery
from ipvkit.lab.format import load
from ipvkit.plan.make import make_plan
from ipvkit.plan.steps import Plan, Step
from ipvkit.run.batches import Job, jobs_of
from ipvkit.run.engine import Run
from recorder import answered, unanswered, watched_to_its_end

ADDRESS = "192.168.104.254"


def walkthrough() -> Lab:
    return load(gallery.text(gallery.WALKTHROUGH), "walkthrough.yaml")


@cache
def plan_of(*checks: Check) -> Plan:
    """Return a plan with these checks side by side."""
    lab = walkthrough()
    return make_plan(replace(lab, phases=(replace(lab.phases[0], acts=(Act(checks=checks),)),)))


def probes(plan: Plan) -> list[Step]:
    return [step for step in plan.steps if step.probe is not None]


def all_jobs(plan: Plan) -> list[Job]:
    return [job for stages in jobs_of(plan).values() for stage in stages for job in stage]


def run_of(plan: Plan, *outputs: str | Completed, failure: IpvkitError | None = None) -> Run:
    """Return a run in which everything went well and the pings printed `outputs`, in order."""
    completed = {job.id: Completed(0, "", "", 0.01) for job in all_jobs(plan)}
    for step, output in zip(probes(plan), outputs, strict=False):
        completed[step.id] = output if isinstance(output, Completed) else Completed(0, output, "", 1.0)
    return Run(plan, "local", "6.12.0", completed, failure=failure, duration_s=2.0)


def as_predicted(lab: Lab) -> Run:
    plan = make_plan(lab)
    outputs = {
        Outcome.REACHABLE: answered(ADDRESS),
        Outcome.UNREACHABLE: unanswered(ADDRESS),
        Outcome.EXPIRES: watched_to_its_end(ADDRESS),
    }
    return run_of(plan, *(outputs[step.probe.expected] for step in probes(plan) if step.probe is not None))
