"""The progress of a run on stderr: a bar on a terminal, otherwise a line for each step."""

import os
import sys
import time
from typing import Any, Self

from ipvkit.plan.steps import Plan
from ipvkit.run.batches import Job
from ipvkit.run.rollback import Began, Finished, Stopping


class _Checks:
    """The number of checks that are done, and their rate."""

    def __init__(self, total: int) -> None:
        self.total = total
        self._done = 0
        self._began_s: float | None = None
        self._shown_s = 0.0

    def begin(self) -> None:
        if self._began_s is None:
            self._began_s = self._shown_s = time.monotonic()

    def add(self, count: int) -> bool:
        """Add `count` checks that are done; return whether a second has passed, or all are done."""
        self._done += count
        due = time.monotonic() - self._shown_s >= 1 or self._done == self.total
        if due:
            self._shown_s = time.monotonic()
        return due

    def __str__(self) -> str:
        took_s = time.monotonic() - (self._began_s or time.monotonic())
        rate = self._done / took_s if took_s else 0.0
        left = f", {(self.total - self._done) / rate:.0f} s left" if 0 < self._done < self.total else ""
        return f"{self._done} of {self.total} checks, {rate:.1f}/s{left}"


class Progress:
    """Shows the events of a run of plans, if `verbose` also each command; it outlives a closed stderr."""

    def __init__(self, *plans: Plan, verbose: bool) -> None:
        self._total = sum(1 for plan in plans for _ in plan.steps)
        self._begun = 0
        self._checks = _Checks(sum(step.probe is not None for plan in plans for step in plan.steps))
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
        if one_of_many:
            self._checks.begin()
        if self._bar is not None:
            self._bar.update(self._task, description=f"undo: {job.purpose}" if undoing else job.purpose)
        if self._verbose:
            self._line(f"+ {job.command}")
        elif self._bar is None and not one_of_many:
            width = len(str(self._total))
            count = "undo".rjust(2 * width + 1) if undoing else f"{self._begun:>{width}}/{self._total}"
            self._line(f"[{count}] {job.purpose}")

    def _finished(self, job: Job) -> None:
        if self._bar is not None:
            self._bar.advance(self._task, len(job.steps))
        if self._is_one_of_many(job) and self._checks.add(len(job.probes)):
            if self._bar is not None:
                self._bar.update(self._task, checks=f"{self._checks}: ")
            elif not self._verbose:
                self._line(str(self._checks))

    def _is_one_of_many(self, job: Job) -> bool:
        """Return whether the rate of the checks is shown instead of each check."""
        return self._checks.total >= 32 and bool(job.probes)

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
