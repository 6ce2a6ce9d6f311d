"""Bring a lab up (`run-lab --keep`) and down again and again, and hold what there is against before."""

import gc
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout, suppress
from io import StringIO
from pathlib import Path
from statistics import linear_regression

from tabulate import tabulate

from ipvkit.cli import main as ipvkit_main

SAMPLES = 20
"""How often a series is looked at."""

FLAT = 0.02
"""A series whose last quarter is above its first by less than this part of it is flat."""

LEAK, LEAK_BESIDE_OTHERS = 0.01, 0.1
"""Less than this for each run is no leak either; others have namespaces in the kernel too, and end them."""

WARM_UP = 100

SETTLE_S = 3.0
"""How long the kernel may take to end the namespaces of a run: it does that in the background."""

# IPv6, since nobody waits there for an answer to an ARP probe; the pings make neighbour entries.
LAB = """\
name: soak
about: two endpoints that reach each other
parent: eth0
network: {host: "2001:db8:104::110/64", gateway: "2001:db8:104::254"}
endpoints:
  - {name: soak1, addresses: ["2001:db8:104::211/64"]}
  - {name: soak2, addresses: ["2001:db8:104::212/64"]}
phases:
  - name: bridge
    KIND
    do:
      - check:
          - {from: soak1, to: soak2, count: 1}
          - {from: soak1, to: gateway, count: 1}
"""
MACHINE = """\
mount --make-rprivate /
mount -t tmpfs tmpfs /run
ip link set lo up
ip netns add gateway
ip link add eth0 type veth peer name eth0 netns gateway
ip addr add 2001:db8:104::110/64 dev eth0 nodad
ip link set eth0 up
ip -n gateway addr add 2001:db8:104::254/64 dev eth0 nodad
ip -n gateway link set eth0 up
ip route add default via 2001:db8:104::254 dev eth0
"""

Look = Callable[[], int | None]


def status_kib(key: str) -> int:
    """Return a line of this process's status(proc(5)), in KiB."""
    text = Path("/proc/self/status").read_text(encoding="ascii")
    return int(text.partition(f"{key}:")[2].split()[0])


def namespaces_of_the_kernel() -> int | None:
    """Return how many network namespaces the kernel holds, those without a name too; None if it is hidden."""
    with suppress(OSError):
        for line in Path("/proc/slabinfo").read_text(encoding="ascii").splitlines():
            if line.startswith("net_namespace "):
                return int(line.split()[1])
    return None


def connections() -> int | None:
    """Return how many connections are tracked here; None where none are."""
    with suppress(OSError):
        return int(Path("/proc/sys/net/netfilter/nf_conntrack_count").read_text(encoding="ascii"))
    return None


def shown(*words: str) -> int:
    """Return how many things `ip -json` shows."""
    command = ["ip", "-json", *words]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return len(json.loads(said or "[]"))


def files_of_the_state() -> int:
    """Return how many files there are where journals are kept."""
    return sum(1 for path in Path(os.environ["XDG_STATE_HOME"]).rglob("*") if path.is_file())


OF_ALL = "namespaces in the kernel, of all"
OWN: dict[str, Look] = {
    "memory, KiB": lambda: status_kib("VmRSS"),
    "open files": lambda: len(list(Path("/proc/self/fd").iterdir())),
    "threads": lambda: len(list(Path("/proc/self/task").iterdir())),
}
MACHINES: dict[str, Look] = {
    "processes": lambda: sum(path.name.isdigit() for path in Path("/proc").iterdir()),
    "named namespaces": lambda: len(list(Path("/run/netns").iterdir())),
    OF_ALL: namespaces_of_the_kernel,
    "mounts": lambda: len(Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()),
    "links": lambda: shown("link", "show"),
    "neighbour entries": lambda: shown("neigh", "show", "nud", "all"),
    "tracked connections": connections,
    "files of the state": files_of_the_state,
}


def in_this_process(*words: str) -> None:
    """Run ipvkit here; raise SystemExit with what it said if it fails."""
    said = StringIO()
    with redirect_stdout(said), redirect_stderr(said):
        code = ipvkit_main(words)
    if code != 0:
        raise SystemExit(f"ipvkit {' '.join(words)} ended with {code}\n{said.getvalue()}")


def in_another(*words: str) -> None:
    """Run ipvkit in a process of its own; raise SystemExit with what it said if it fails."""
    done = subprocess.run(
        [sys.executable, "-m", "ipvkit", *words], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise SystemExit(f"ipvkit {' '.join(words)} ended with {done.returncode}\n{done.stderr}")


def up_and_down(file: str, how: Callable[..., None]) -> None:
    """Bring the lab up, its checks included, and take it down."""
    how("run-lab", file, "--parent", "eth0", "--keep")
    how("down", "soak")


def settled(looks: dict[str, Look], before: dict[str, int | None]) -> dict[str, int | None]:
    """Return what there is, once the kernel holds no more namespaces than `before`, or gave up to.

    Memory that only waits for Python's collector is no leak.
    """
    gc.collect()
    deadline = time.monotonic() + SETTLE_S
    held = before.get(OF_ALL)
    while held is not None and time.monotonic() < deadline:
        if (namespaces_of_the_kernel() or 0) <= held:
            break
        time.sleep(0.05)
    return {name: look() for name, look in looks.items()}


def soak(runs: int, warm_up: int, how: Callable[..., None], looks: dict[str, Look], file: str) -> bool:
    """Run the lab `runs` times, print a line for each series, and return whether all are flat.

    The `warm_up` runs before are not counted: in a process, modules are loaded and pools of memory fill.
    """
    for _ in range(warm_up):
        up_and_down(file, how)
    samples, numbers = [settled(looks, {})], [0]
    started = time.monotonic()
    for number in range(1, runs + 1):
        up_and_down(file, how)
        if number % max(1, runs // SAMPLES) == 0:
            samples.append(settled(looks, samples[0]))
            numbers.append(number)
    took = time.monotonic() - started
    rows, flat = [], True
    for name in looks:
        series = [sample[name] for sample in samples]
        leak = LEAK_BESIDE_OTHERS if name == OF_ALL else LEAK
        rows.append([name, *verdict(numbers, [value for value in series if value is not None], leak)])
        flat = flat and rows[-1][-1] != "GROWS"
    place = "in one process" if how is in_this_process else "in processes of their own"
    print(f"{runs} times up and down, {place}: {1000 * took / runs:.0f} ms each")
    print(tabulate(rows, ("", "first", "least", "most", "last", "in 1,000 runs", "last/first", "")))
    return flat


def verdict(numbers: list[int], series: list[int], leak: float) -> list[object]:
    """Return first, least, most, last, slope in 1,000 runs, ratio and verdict of a series."""
    if len(series) < len(numbers) or len(series) < 4:
        return ["", "", "", "", "", "", "not measured"]
    slope = 1000 * linear_regression(numbers, series).slope
    quarter = max(1, len(series) // 4)
    # What is just ending is seen as well, so the least of some samples counts.
    before, after = min(series[:quarter]), min(series[-quarter:])
    grows = after - before > max(FLAT * before, leak * numbers[-1])
    ratio = f"{series[-1] / series[0]:.3f}" if series[0] else ""
    return [
        *(series[0], min(series), max(series), series[-1]),
        f"{slope:+.1f}",
        ratio,
        "GROWS" if grows else "flat",
    ]


def main() -> int:
    """Soak in one process, and a twentieth of it in processes of their own; return 1 if a series grows."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    shell = ["sh", "-e"]
    subprocess.run(shell, input=MACHINE, text=True, check=True)
    probe = ["ip", "link", "add", "probe", "type", "ipvlan"]
    said = subprocess.run(probe, capture_output=True, text=True, check=False).stderr
    kind = "kind: macvlan" if "Unknown device type" in said else "mode: l2"
    with tempfile.TemporaryDirectory(dir="/run") as folder:
        os.environ["XDG_STATE_HOME"] = folder
        file = Path("/run/soak.yaml")
        file.write_text(LAB.replace("KIND", kind), encoding="utf-8")
        print(f"{kind}, on {platform.machine()} {platform.release()}, Python {platform.python_version()}")
        flat = soak(runs, WARM_UP, in_this_process, {**OWN, **MACHINES}, str(file))
        flat = soak(max(20, runs // 20), 1, in_another, MACHINES, str(file)) and flat
    return 0 if flat else 1


sys.exit(main())
