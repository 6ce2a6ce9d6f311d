"""What each contender does to ping every endpoint from every other."""

from collections.abc import Mapping, Sequence
from itertools import permutations

from comparison import contenders
from comparison.contenders import Job, Script
from comparison.peers import Peers
from comparison.places import BEGIN, END, RIGHT

MININET = """
import sys
from mininet.net import Mininet
from mininet.nodelib import LinuxBridge
from mininet.topo import SingleSwitchTopo

net = Mininet(SingleSwitchTopo(k={size}), switch=LinuxBridge, controller=None)
net.start()
print("{begin}", flush=True)
lost = net.pingAll(timeout="1")
print("{end}", flush=True)
net.stop()
sys.exit(lost != 0)
"""


def by_ipvkit(job: Job, _: Peers) -> str:
    """Check all by `run-lab`: the program from its start to its end, building and undoing included."""
    pairs = permutations([name for name, _ in job.endpoints], 2)
    checks = ", ".join(f"{{from: {one}, to: {other}, count: 1}}" for one, other in pairs)
    file = job.file("lab.yaml", contenders.lab(job, "batch", f"{{check: [{checks}]}}"))
    return contenders.timed(contenders.quietly(contenders.ipvkit("run-lab", file))) + contenders.ALL_IS_GONE


def by_loop(job: Job, _: Peers) -> str:
    """Ping one after another, in bash."""
    pairs = permutations(job.endpoints, 2)
    lines = [f"ip netns exec {one} ping -c 1 -W 1 {address} >/dev/null" for (one, _), (_, address) in pairs]
    return _once_built(job, lines)


def by_fping(job: Job, peers: Peers) -> str:
    """Have fping ping all others from each endpoint, 1 ms apart."""
    fping = peers.debian("fping") / "usr/bin/fping"
    lines = []
    for name, _ in job.endpoints:
        others = " ".join(address for other, address in job.endpoints if other != name)
        lines.append(f"ip netns exec {name} {fping} -q -c 1 -i 1 {others} 2>/dev/null")
    return _once_built(job, lines)


def by_mininet(job: Job, peers: Peers) -> str:
    """Have mininet ping all of as many hosts of its own, on a Linux bridge."""
    folders = [peers.debian(package) for package in ("mininet", "bridge-utils", "net-tools")]
    path = ":".join(f"{folder}/usr/bin:{folder}/usr/sbin:{folder}/sbin" for folder in folders)
    file = job.file("pingall.py", MININET.format(size=job.size, begin=BEGIN, end=END))
    packages = folders[0] / "usr/lib/python3/dist-packages"
    return f"PATH={path}:$PATH PYTHONPATH={packages} /usr/bin/python3 {file}\necho {RIGHT}\n"


def _once_built(job: Job, lines: Sequence[str]) -> str:
    """Return bash in which `lines` alone are timed."""
    return contenders.timed("\n".join(lines), contenders.batches(job)) + f"echo {RIGHT}\n"


PINGERS: Mapping[str, Script] = {
    "ipvkit run-lab": by_ipvkit,
    "ping in a loop": by_loop,
    "fping": by_fping,
    "mininet pingall": by_mininet,
}
"""All contenders."""
