"""Where a script is timed: in a kernel of its own (uml), or natively in namespaces that end with it."""

import threading
import time
from dataclasses import dataclass

from ipvkit.lab import LAN
from ipvkit.lab.format import load
from ipvkit.plan.make import make_plan
from ipvkit.run import engine
from ipvkit.run.rollback import Began, Finished, Stopping
from ipvkit.targets.agent import Target
from ipvkit.targets.uml import Uml

BEGIN, END, RIGHT = "bench-begin", "bench-end", "bench-right"
"""What a script prints as what is timed begins and ends, and when what came of it is as it should be."""


class NotMeasuredError(Exception):
    """A script did not do what it should; the text says what."""


@dataclass(frozen=True, slots=True)
class Place:
    """A target with the kind of link that its kernel has, and how long a script may take there."""

    name: str
    target: Target
    kind: str
    limit_s: float

    def timed(self, script: str) -> float:
        """Run a bash script as root of a fresh machine, and return the seconds from its begin to its end.

        Raise NotMeasuredError where it fails or takes longer than the limit.
        """
        marks: dict[str, float] = {}
        output = b""
        # Through a pipe, so that no program takes the guest's serial line for a terminal.
        running = self.target.start(f"{{\n{script}\n}} 2>&1 | cat\n")
        timer = threading.Timer(self.limit_s, running.kill)
        timer.start()
        while chunk := running.read():
            output += chunk
            for mark in (BEGIN, END, RIGHT):
                if f"{mark}\n".encode() in output:
                    marks.setdefault(mark, time.perf_counter())
        timer.cancel()
        running.kill()
        running.close()
        if RIGHT not in marks:
            lines = output.decode(errors="replace").splitlines()
            said = next((line for line in reversed(lines) if line and line not in (BEGIN, END)), "")
            raise NotMeasuredError(
                said or running.complaint() or f"it ended early, or after {self.limit_s:g} s"
            )
        return marks[END] - marks[BEGIN]


def on_uml(lab: str, limit_s: float) -> float:
    """Run a lab on uml; return the seconds from the first command in its phases to the end of the last."""
    plan = make_plan(load(lab, "bench.yaml"))
    times: list[float] = []
    """When the simulated LAN was built, and when each process of a phase had ended."""

    def note(event: Began | Finished | Stopping) -> None:
        if isinstance(event, Finished) and not event.undoing:
            if event.job.id.startswith(f"{LAN}."):
                times.clear()
            times.append(time.perf_counter())

    run = engine.run(plan, Uml(), note, timeout_s=limit_s)
    if run.failure is not None:
        raise run.failure
    return times[-1] - times[0]
