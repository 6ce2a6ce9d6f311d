"""The progress of a run on stderr: a bar on a terminal, otherwise a line for each step."""

import os
import sys
import time
from typing import Any, Self

from ipvkit.lab import HOST
from ipvkit.plan.steps import Plan
from ipvkit.run.batches import Job
from ipvkit.run.rollback import Began, Finished, Stopping


class Progress:
    """Shows the events of a run of plans, if `verbose` also each command; it outlives a closed stderr."""

    def __init__(self, *plans: Plan, verbose: bool) -> None:
        self._total = sum(1 for plan in plans for _ in plan.steps)
        self._begun = 0
        self._checks = sum(step.probe is not None for plan in plans for step in plan.steps)
        self._checked = 0
        self._began_s: float | None = None
        """When the first of many checks began, and below when their number was last shown."""
        self._shown_s = 0.0
        self._verbose = verbose
        self._gone = False
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Self:
        plain = "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb"
        if sys.stderr.isatty() and not plain:
            from rich import console, progress

            text = progress.TextColumn("{task.fields[checks]}{task.description}")
            columns = (progress.SpinnerColumn(), progress.BarColumn(24), progress.MofNCompleteColumn(), text)
            self._bar = progress.Progress(*columns, console=console.Console(stderr=True), transient=True)
            self._task = self._bar.add_task("starting", total=self._total, checks="")
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, event: Began | Finished | Stopping) -> None:
        """Show `event`."""
        match event:
            case Began(job, undoing):
                self._began(job, undoing)
            case Finished(job, undoing=False):
                self._finished(job)
            case Stopping(name):
                self._line(f"{name}: no further step begins; what was done is being undone")

    def _began(self, job: Job, undoing: bool) -> None:
        self._begun += len(job.steps)
        one_of_many = self._is_one_of_many(job)
        if one_of_many and self._began_s is None:
            self._began_s = self._shown_s = time.monotonic()
        purpose = job.purpose if job.on == HOST else f"{job.on}: {job.purpose}"
        if self._bar is not None:
            self._bar.update(self._task, description=f"undo: {purpose}" if undoing else purpose)
        if self._verbose:
            self._line(f"+ {job.command}" if job.on == HOST else f"+ {job.on}: {job.command}")
        elif self._bar is None and not one_of_many:
            width = len(str(self._total))
            count = "undo".rjust(2 * width + 1) if undoing else f"{self._begun:>{width}}/{self._total}"
            self._line(f"[{count}] {purpose}")

    def _finished(self, job: Job) -> None:
        if self._bar is not None:
            self._bar.advance(self._task, len(job.steps))
        if not self._is_one_of_many(job):
            return
        self._checked += len(job.probes)
        now_s = time.monotonic()
        if now_s - self._shown_s < 1 and self._checked < self._checks:
            return
        self._shown_s = now_s
        if self._bar is not None:
            self._bar.update(self._task, checks=f"{self._rate(now_s)}: ")
        elif not self._verbose:
            self._line(self._rate(now_s))

    def _rate(self, now_s: float) -> str:
        """Return how many checks are done, and how many in a second."""
        took_s = now_s - (self._began_s or now_s)
        rate = self._checked / took_s if took_s else 0.0
        left = self._checks - self._checked
        left_s = f", {left / rate:.0f} s left" if rate and left else ""
        return f"{self._checked} of {self._checks} checks, {rate:.1f}/s{left_s}"

    def _is_one_of_many(self, job: Job) -> bool:
        """Return whether the rate of the checks is shown instead of each check."""
        return self._checks >= 32 and bool(job.probes)

    def _line(self, text: str) -> None:
        if self._gone:
            return
        try:
            if self._bar is not None:
                self._bar.console.print(text, markup=False, highlight=False)
            else:
                print(text, file=sys.stderr, flush=True)
        except OSError:
            self._gone = True
