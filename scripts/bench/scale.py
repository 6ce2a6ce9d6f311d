"""Measure what labs of N and of 2N hosts cost on paper, each step in CPU time, in one process."""

import gc
import platform
import resource
import sys
import time
from collections.abc import Callable

from tabulate import tabulate

from ipvkit.core.command import T
from ipvkit.export.preview import preview
from ipvkit.lab import Setting
from ipvkit.lab.format import dump, load
from ipvkit.lab.new import new_lab
from ipvkit.plan.make import make_plan
from ipvkit.report.review import render
from ipvkit.verbs.review import review

ENDPOINTS, CHECKS = 50, 1000
"""How many endpoints a host has, and how many checks a lab."""


def measure(hosts: int, setting: Setting) -> dict[str, float]:
    """Return the CPU seconds of each step for a lab of so many hosts."""
    took: dict[str, float] = {}

    def timed(step: str, work: Callable[[], T]) -> T:
        gc.collect()
        started = time.process_time()
        found = work()
        took[step] = time.process_time() - started
        return found

    checks = f"sample:{CHECKS}"
    lab = timed("generate", lambda: new_lab("many", setting, ENDPOINTS, hosts=hosts, checks=checks))
    text = timed("write", lambda: dump(lab))
    lab = timed("read", lambda: load(text, "many.yaml"))
    plan = timed("predict and plan", lambda: make_plan(lab))
    timed("preview", lambda: preview(plan))
    timed("review", lambda: render(review(lab), "./many.yaml"))
    return took


def main() -> None:
    """Print what each step costs for half as many hosts and for all, and the ratio."""
    hosts = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    gc.set_threshold(200_000, 50, 100)
    print(f"{ENDPOINTS} endpoints a host, {CHECKS} checks; CPU seconds, Python {platform.python_version()}")
    for setting in (Setting("l2"), Setting("l3")):
        few, many = measure(hosts // 2, setting), measure(hosts, setting)
        rows = [(step, few[step], many[step], many[step] / few[step]) for step in few]
        print(f"\n{setting}")
        print(tabulate(rows, ("", f"{hosts // 2} hosts", f"{hosts} hosts", "ratio"), floatfmt=".1f"))
    print(f"\npeak memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MB")


main()
