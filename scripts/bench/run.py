"""Measure ipvkit beside its peers, all in one run, and write what came of it into a page of the docs."""

import argparse
import os
import platform
import re
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from comparison import measures
from comparison.contenders import ROOT
from comparison.figures import Series, Target, cost_table, plot, ratio, replaced, targets_table
from comparison.measures import NATIVE, UML
from comparison.peers import Peers
from ipvkit import __version__
from ipvkit.targets.kernels import MODULES

PAGE = ROOT / "docs" / "explanation" / "performance.md"


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured."""

    uml: Sequence[int]
    native: Sequence[int]
    repetitions: int
    pinged: int = 32
    engine: int = 100
    starts: int = 10
    megabytes: int = 5


QUICK = Size(uml=(2,), native=(2,), repetitions=1, pinged=2, engine=2, starts=1, megabytes=1)


def main() -> None:
    """Measure it all and write the page and its plot."""
    arguments = options()
    begun = time.monotonic()
    peers = Peers(cache(), fetch=not arguments.quick)
    size = QUICK if arguments.quick else Size(arguments.uml, arguments.native, arguments.repetitions)
    uml = measures.built(UML, size.uml, size.repetitions, peers)
    native = measures.built(NATIVE, size.native, size.repetitions, peers)
    pinged = measures.pinged(size.pinged, size.repetitions, peers)
    engine = measures.engines_own(size.engine, size.repetitions)
    rates, short_output = measures.parsed(size.megabytes, peers)
    others = {"Parsing what ping prints": rates, "Starting": measures.started(size.starts)}
    parsing = Target("a short ping output parsed: ipvkit / jc", 1.0, short_output)
    minutes = (time.monotonic() - begun) / 60
    sections = {
        "": f"{machine(peers)}\n\nMeasured in {minutes:.1f} minutes, at most {size.repetitions} times each.",
        "Targets": targets_table([*targets(uml, native, pinged, engine), parsing]),
        f"Endpoints built {UML.name}": cost_table(uml, size.uml),
        f"Endpoints built {NATIVE.name}": cost_table(native, size.native),
        f"Pings from each of {size.pinged} endpoints to each": cost_table(pinged, [size.pinged]),
        "What the engine costs": cost_table(engine, [size.engine]),
        **others,
    }
    text = "\n\n".join(f"### {title}\n\n{body}" if title else body for title, body in sections.items())
    page: Path = arguments.page
    page.with_suffix(".svg").write_text(plot({UML.name: uml, NATIVE.name: native}), encoding="utf-8")
    page.write_text(replaced(page.read_text(encoding="utf-8"), text), encoding="utf-8")
    measures.tell(f"written to {page} in {minutes:.1f} minutes")


def options() -> argparse.Namespace:
    """Return what the command line asks for."""

    def sizes(text: str) -> tuple[int, ...]:
        return tuple(sorted(int(word) for word in text.split(",")))

    parser = argparse.ArgumentParser(prog="scripts/bench/run", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few endpoints, once, and no peer is fetched")
    parser.add_argument("--uml", type=sizes, default=(10, 30, 100), metavar="N,N", help="endpoints on uml")
    parser.add_argument(
        "--native", type=sizes, default=(10, 30, 100, 300, 1000), metavar="N,N", help="endpoints natively"
    )
    parser.add_argument("--repetitions", type=int, default=3, metavar="N", help="at most, of each")
    parser.add_argument("--page", type=Path, default=PAGE, metavar="FILE", help="its plot is put beside it")
    return parser.parse_args()


def cache() -> Path:
    """Return the folder that peers are fetched into."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "ipvkit-bench"


def machine(peers: Peers) -> str:
    """Return what this was measured on, and the versions of all that was compared."""
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    cpus = len(os.sched_getaffinity(0))
    ip = subprocess.run(["ip", "-V"], capture_output=True, text=True, check=True).stdout.strip()  # noqa: S607
    named = cpu[1] if cpu else platform.machine()
    return (
        f"ipvkit {__version__} on {cpus} CPUs ({named}), Linux {platform.release()}, "
        f"uml {', '.join(sorted(path.name for path in MODULES.iterdir()))}, "
        f"Python {platform.python_version()}, {ip}; {', '.join(peers.versions()) or 'no peers'}."
    )


def targets(
    uml: Sequence[Series], native: Sequence[Series], pinged: Sequence[Series], engine: Sequence[Series]
) -> list[Target]:
    """Return what is aimed at beside what was measured, at the greatest size of each up to `most`."""
    batch = "ipvkit batch"

    def against(
        series: Sequence[Series], ours: str, theirs: str, at_most: float, what: str, most: int = 10_000
    ) -> Target:
        by_name = {one.name: one for one in series}
        size = max((size for one in series for size in one.took if size <= most), default=0)
        took = [by_name[name].took.get(size, []) for name in (ours, theirs)]
        return Target(f"{what.format(size=size)}: {ours} / {theirs}", at_most, ratio(*took))

    on_uml, natively = "uml, {size:,} ipvlan endpoints", "natively, {size:,} macvlan endpoints"
    grown = next(one for one in native if one.name == batch)
    each = {size: [seconds / size for seconds in took] for size, took in grown.took.items()}
    return [
        against(uml, batch, "commands in bash", 0.2, on_uml),
        against(uml, batch, "ip -batch", 1.1, on_uml),
        against(uml, batch, "CNI plugin", 0.25, on_uml),
        against(uml, batch, "pyroute2", 1.0, on_uml),
        against(native, batch, "commands in bash", 0.1, natively),
        against(native, batch, "ip -batch", 1.0, natively, most=300),
        against(native, batch, "ip -batch", 1.0, natively),
        Target(
            "natively, ipvkit batch: each of 1,000 endpoints / each of 100",
            1.2,
            ratio(each.get(1000, []), each.get(100, [])),
        ),
        against(pinged, "ipvkit run-lab", "ping in a loop", 0.6, "{size} endpoints ping each other"),
        against(
            engine, "ipvkit run-lab", "bash with the exported script", 1.15, "{size} endpoints, stepwise"
        ),
    ]


main()
