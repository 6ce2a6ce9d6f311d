"""What is measured: each contender runs in turn, within a bound, and gets its series of seconds."""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from comparison import contenders, pings
from comparison.contenders import BUILDERS, PARENT, ROOT, Job
from comparison.figures import Series, Spread, markdown, ratio, short, spread
from comparison.peers import NotThereError, Peers
from comparison.places import NotMeasuredError, Place, on_uml
from ipvkit.core.errors import CommandFailed, MissingRequirement
from ipvkit.targets.sandbox import Sandbox
from ipvkit.targets.uml import Uml

LONG_S = 10.0
"""What takes longer than this is measured once, whatever the repetitions."""

MOST_TIMES = 20.0
"""What takes so many times as long as ipvkit is not measured at greater sizes, on any machine."""

LIMIT_S = 600.0

NATIVE = Place("natively, macvlan", Sandbox(), "macvlan", LIMIT_S)
UML = Place("in a uml kernel, ipvlan", Uml(), "ipvlan", LIMIT_S)


def tell(text: str) -> None:
    """Print progress on stderr."""
    print(text, file=sys.stderr, flush=True)


def repeated(
    measures: Mapping[str, Callable[[], float]], repetitions: int, series: Mapping[str, Series], size: int
) -> None:
    """Run `measures` taking turns, and put the seconds of each, or why there are none, into its series."""
    for number in range(repetitions):
        for name, measure in measures.items():
            one = series[name]
            long = number and one.took.get(size, [0.0])[-1] > LONG_S
            if long or size in one.missing:
                continue
            try:
                seconds = measure()
            except (NotMeasuredError, NotThereError, CommandFailed, MissingRequirement) as problem:
                one.missing[size] = " ".join(str(problem).split())
                tell(f"{size:6} {name}: not measured: {one.missing[size]}")
            else:
                one.took.setdefault(size, []).append(seconds)
                tell(f"{size:6} {name}: {short(seconds)} s")


def built(place: Place, sizes: Sequence[int], repetitions: int, peers: Peers) -> list[Series]:
    """Measure how long each contender takes to build endpoints in `place`."""
    series = {name: Series(name) for name in BUILDERS}
    tell(f"endpoints built {place.name}")
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            job = Job(place.kind, size, Path(folder))
            measures = {}
            for name in BUILDERS:
                if reason := _hopeless(series[name], next(iter(series.values()))):
                    series[name].missing[size] = reason
                else:
                    measures[name] = _building(place, name, job, peers)
            repeated(measures, repetitions, series, size)
    return list(series.values())


def _hopeless(series: Series, first: Series) -> str:
    """Return why there is no use in trying a size, after what the smaller ones came to; else nothing."""
    if series.missing:
        return list(series.missing.values())[-1]
    found = (ratio(took, first.took.get(size, [])) for size, took in series.took.items())
    if any(times is not None and times.middle > MOST_TIMES for times in found):
        return f"with fewer endpoints it took more than {MOST_TIMES:g} times as long as the first"
    return ""


def _building(place: Place, name: str, job: Job, peers: Peers) -> Callable[[], float]:
    def measure() -> float:
        if place is UML and name in contenders.SETUPS:
            return on_uml(contenders.lab(job, contenders.SETUPS[name]), place.limit_s)
        script = BUILDERS[name](job, peers)
        return place.timed(f"{PARENT}{script}{contenders.checked(job)}")

    return measure


def pinged(size: int, repetitions: int, peers: Peers) -> list[Series]:
    """Measure how long each takes to ping every endpoint from every other."""
    tell(f"{size} endpoints ping each other")
    series = {name: Series(name) for name in pings.PINGERS}
    with tempfile.TemporaryDirectory() as folder:
        job = Job(NATIVE.kind, size, Path(folder))
        measures = {
            name: lambda pinger=pinger: NATIVE.timed(f"{PARENT}{pinger(job, peers)}")
            for name, pinger in pings.PINGERS.items()
        }
        repeated(measures, repetitions, series, size)
    return list(series.values())


def engines_own(size: int, repetitions: int) -> list[Series]:
    """Measure `run-lab`, stepwise, beside bash with the script that it exports; both undo what they did."""
    tell("run-lab beside the exported script")
    with tempfile.TemporaryDirectory() as folder:
        job = Job(NATIVE.kind, size, Path(folder))
        file = job.file("lab.yaml", contenders.lab(job, "stepwise"))
        ran = contenders.timed(contenders.quietly(contenders.ipvkit("run-lab", file)))
        exported = contenders.ipvkit("export-script", file)
        by_bash = contenders.timed(contenders.quietly("bash /run/lab.sh"), f"{exported} >/run/lab.sh")
        scripts = {"ipvkit run-lab": ran, "bash with the exported script": by_bash}
        series = {name: Series(name) for name in scripts}
        measures = {
            name: lambda script=script: NATIVE.timed(f"{PARENT}{script}{contenders.ALL_IS_GONE}")
            for name, script in scripts.items()
        }
        repeated(measures, repetitions, series, size)
    return list(series.values())


def started(times: int) -> str:
    """Return a table of how long programs take that do next to nothing."""
    tell("starting")
    ping = str(ROOT / "tests/fixtures/iputils-20240905/ping-plain.txt")
    words = {
        "python -c pass": ["-c", "pass"],
        "ipvkit --help": ["-m", "ipvkit", "--help"],
        "ipvkit parse ping": ["-m", "ipvkit", "parse", "ping", ping],
        "ipvkit export-script": ["-m", "ipvkit", "export-script"],
    }
    took: dict[str, list[float]] = {name: [] for name in words}
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for _ in range(times):
        for name, argv in words.items():
            begun = time.perf_counter()
            subprocess.run(
                [sys.executable, *argv],
                env=environment,
                stdout=subprocess.DEVNULL,
                timeout=LIMIT_S,
                check=True,
            )
            took[name].append(1000 * (time.perf_counter() - begun))
    rows = [
        [f"`{name}`", str(spread(some)), str(ratio(some, took["python -c pass"]))]
        for name, some in took.items()
    ]
    return markdown(["", "ms", "times `python -c pass`"], rows)


def parsed(megabytes: int, peers: Peers) -> tuple[str, Spread | None]:
    """Return a table of the rates of parsers, and ipvkit's time for a short output divided by jc's."""
    tell("parsing")
    try:
        packages = [str(peers.python(name)) for name in ("jc", "pingparsing")]
    except NotThereError as problem:
        return f"Not measured: {problem}", None
    rates = [sys.executable, str(ROOT / "scripts/bench/parse.py"), "--markdown", str(megabytes)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *packages])}
    table = subprocess.run(
        rates, env=environment, stdout=subprocess.PIPE, text=True, timeout=LIMIT_S, check=True
    ).stdout.strip()
    [times] = re.findall(r"^\| jc .* ([0-9.]+) \|$", table, re.MULTILINE)
    return table, ratio([1.0], [float(times)])
