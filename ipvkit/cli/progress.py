"""What a person sees on stderr while a lab runs: a bar on a terminal, else a line a step."""

import os
import sys
from types import TracebackType
from typing import Any, Self

from ipvkit.plan import Plan
from ipvkit.undo import Began, Finished, Stopping


class Progress:
    """Shows the events of a run; stderr that is gone ends the showing and nothing else."""

    def __init__(self, *plans: Plan, verbose: bool) -> None:
        """Show a run of `plans`; `verbose` shows each command as it begins."""
        self._total = sum(1 for plan in plans for _ in plan.steps)
        self._begun = 0
        self._verbose = verbose
        self._gone = False
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Self:
        """Draw the bar, on a terminal that may show colour."""
        plain = "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb"
        if sys.stderr.isatty() and not plain:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn
            from rich.progress import Progress as Bar

            columns = (SpinnerColumn(), BarColumn(24), MofNCompleteColumn(), TextColumn("{task.description}"))
            self._bar = Bar(*columns, console=Console(stderr=True), transient=True)
            self._task = self._bar.add_task("starting", total=self._total)
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, event: Began | Finished | Stopping) -> None:
        """Show `event`."""
        match event:
            case Began(step, command, undoing):
                self._began(step.purpose, str(command), undoing)
            case Finished(undoing=False) if self._bar is not None:
                self._bar.advance(self._task)
            case Stopping(name):
                self._line(f"{name}: no further step begins; what was done is being undone")

    def _began(self, purpose: str, command: str, undoing: bool) -> None:
        self._begun += not undoing
        if self._bar is not None:
            self._bar.update(self._task, description=f"undo: {purpose}" if undoing else purpose)
        if self._verbose:
            self._line(f"+ {command}")
        elif self._bar is None:
            width = len(str(self._total))
            count = "undo".rjust(2 * width + 1) if undoing else f"{self._begun:>{width}}/{self._total}"
            self._line(f"[{count}] {purpose}")

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
