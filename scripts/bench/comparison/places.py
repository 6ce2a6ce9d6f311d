"""Where a script is timed: in a kernel of its own (uml), or natively in namespaces that end with it."""

import time
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from ipvkit.lab.format import load
from ipvkit.plan.make import make_plan
from ipvkit.run import engine
from ipvkit.run.batches import as_run
from ipvkit.run.rollback import Began, Finished, Stopping
from ipvkit.targets import Inbox, Output, PayloadTarget
from ipvkit.targets.uml import Uml

BEGIN, END, RIGHT = "bench-begin", "bench-end", "bench-right"
"""What a script prints as what is timed begins and ends, and when what came of it is as it should be."""


class NotMeasuredError(Exception):
    """A script did not do what it should; the text says what."""


@dataclass(frozen=True, slots=True)
class Place:
    """A target with the kind of link that its kernel has, and how long a script may take there."""

    name: str
    target: PayloadTarget
    kind: str
    limit_s: float

    def timed(self, script: str) -> float:
        """Run a bash script as root of a fresh machine, and return the seconds from its begin to its end.

        Raise NotMeasuredError where it fails or takes longer than the limit.
        """
        limit_s = self.limit_s
        inbox: Inbox = SimpleQueue()
        marks: dict[str, float] = {}
        output = b""
        deadline = time.monotonic() + limit_s
        # Through a pipe, so that nothing takes the guest's serial line for a terminal.
        running = self.target.start(f"{{\n{script}\n}} 2>&1 | cat\n", limit_s, inbox)
        try:
            while (news := inbox.get(timeout=max(0.0, deadline - time.monotonic()))) != Output(None):
                output += news.chunk
                for mark in (BEGIN, END, RIGHT):
                    if f"{mark}\n".encode() in output:
                        marks.setdefault(mark, time.perf_counter())
        except Empty:
            raise NotMeasuredError(f"it took more than {limit_s:g} s") from None
        finally:
            running.stop()
        if RIGHT not in marks:
            lines = output.decode(errors="replace").splitlines()
            said = next((line for line in reversed(lines) if line and line not in (BEGIN, END)), "")
            raise NotMeasuredError(said or running.complaint() or f"it ended early, or after {limit_s:g} s")
        return marks[END] - marks[BEGIN]


def on_uml(lab: str, limit_s: float) -> float:
    """Run a lab on uml; return the seconds from the first command in its phases to the end of the last."""
    plan = as_run(make_plan(load(lab, "bench.yaml")))
    inside = {
        step.id for section in plan.sections if section.phase for stage in section.stages for step in stage
    }
    times: list[float] = []

    def note(event: Began | Finished | Stopping) -> None:
        if isinstance(event, Began | Finished) and not event.undoing and event.step.id in inside:
            times.append(time.perf_counter())

    run = engine.run(plan, Uml(), note, timeout_s=limit_s)
    if run.failure is not None:
        raise run.failure
    return times[-1] - times[0]
