"""Time the walkthrough, also with captures, against its preview, fed to bash line by line in such a guest."""

import platform
import sys
import time
from statistics import median

from tabulate import tabulate

from ipvkit.export.preview import preview
from ipvkit.lab import gallery
from ipvkit.lab.format import load
from ipvkit.plan.capture import with_captures
from ipvkit.plan.make import make_plan
from ipvkit.plan.steps import Plan
from ipvkit.run import engine
from ipvkit.run.verdicts import judge
from ipvkit.targets.uml import Uml


def run_lab(plan: Plan) -> tuple[float, str]:
    """Return the seconds of one run, start and end of the kernel included, and its verdict."""
    started = time.monotonic()
    result = judge(engine.run(plan, Uml(), lambda _event: None))
    return time.monotonic() - started, f"{result.verdict}, kernel {result.run.kernel}"


def capturing(plan: Plan) -> tuple[float, str]:
    """Return the same of a run that captures packets."""
    return run_lab(with_captures(plan))


def typed(plan: Plan) -> tuple[float, str]:
    """Return the seconds that the preview's lines take one after another, the undo included."""
    started = time.monotonic()
    running = Uml().start(preview(plan))
    output = b""
    while chunk := running.read():
        output += chunk
    running.kill()
    running.close()
    pings = output.count(b"ping statistics")
    return time.monotonic() - started, f"{pings} pings"


def main() -> None:
    """Run both, taking turns, and print the medians and their ratio."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    plan = make_plan(load(gallery.text("walkthrough"), "walkthrough"))
    ways = {"ipvkit run-lab": run_lab, "with --capture": capturing, "one after another": typed}
    took: dict[str, list[float]] = {name: [] for name in ways}
    told = {}
    for _ in range(rounds):
        for name, way in ways.items():
            seconds, told[name] = way(plan)
            took[name].append(seconds)
    rows = [[name, min(s), median(s), max(s), told[name]] for name, s in took.items()]
    print(f"walkthrough on uml, {rounds} rounds taking turns, on {platform.machine()} {platform.release()}")
    print(tabulate(rows, ("", "min s", "median s", "max s", ""), floatfmt=".1f"))
    ours, captured, theirs = (median(took[name]) for name in ways)
    print(f"ratio of the medians: {ours / theirs:.2f}; with and without --capture: {captured / ours:.2f}")


main()
