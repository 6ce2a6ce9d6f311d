"""Run random labs on uml kernels, and compare what is predicted with what happens: scripts/differential [N].

Hypothesis draws labs over the whole format from a seed; when code changes, a seed draws other labs, since
the constants of loaded modules are drawn too. Of each lab in which a check differs, parts are taken away as
long as the same check still differs; what is left is written as a lab file.
"""

import argparse
import secrets
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from differential import AT_ONCE, Comparison, compared, random_labs, smallest  # noqa: E402
from ipvkit.lab.format import dump  # noqa: E402
from ipvkit.targets.kernels import find  # noqa: E402


def main() -> None:
    """Run labs until they are all done, or time is up; exit with 1 where one differs."""
    parser = argparse.ArgumentParser(prog="scripts/differential", description=__doc__.split("\n")[0])
    parser.add_argument("labs", nargs="?", type=int, default=100, metavar="N", help="how many (100)")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6), metavar="S", help="which")
    parser.add_argument("--kernel", metavar="K", help="release or path of the kernel (the default one)")
    parser.add_argument("--minutes", type=float, metavar="M", help="begin no lab after that")
    parser.add_argument("--at-once", type=int, default=AT_ONCE, metavar="N", help=f"guests ({AT_ONCE})")
    parser.add_argument("--hosts", action="store_true", help="labs of several hosts")
    parser.add_argument("--no-shrink", action="store_true", help="leave labs that differ as they are")
    parser.add_argument("--output-dir", type=Path, default=Path("differences"), metavar="D")
    options = parser.parse_args()
    kernel = find(options.kernel)
    began, ran, checks, found = time.monotonic(), 0, 0, []
    drawn = random_labs(options.labs, options.seed, several_hosts=options.hosts)
    print(f"--seed {options.seed} --kernel {kernel.release}", flush=True)
    while drawn and not (options.minutes and time.monotonic() > began + 60 * options.minutes):
        many = 4 * options.at_once
        part, drawn = drawn[:many], drawn[many:]
        comparisons = compared(part, kernel, options.at_once)
        ran, checks = ran + len(comparisons), checks + sum(len(one.checks) for one in comparisons)
        found += (new := [one for one in comparisons if not one.agrees])
        rate = 60 * ran / (time.monotonic() - began)
        print(f"{ran} labs, {checks} checks, {len(found)} differ; {rate:.0f} labs a minute", flush=True)
        for one in new:
            show(one, options.output_dir)
    for one in found if not options.no_shrink else []:
        if one.failure is None:
            show(smallest(one, kernel), options.output_dir)
    sys.exit(bool(found))


def show(one: Comparison, folder: Path) -> None:
    """Write a lab that differs, and print what does."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{one.lab.name}.yaml"
    path.write_text(dump(one.lab), encoding="utf-8")
    print(path, flush=True)
    for verdict in one.differing:
        probe = verdict.probe
        seen = f"predicted {probe.expected}, observed {verdict.observed}"
        print(f"  {probe.check}: {seen}: {probe.reason}", flush=True)
    if one.failure is not None:
        print(f"  {one.failure}", flush=True)


if __name__ == "__main__":
    main()
