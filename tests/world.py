"""A small machine of one's own to break: namespaces with a parent, a bystander, and a snapshot of it all.

What runs here has network, mount and process namespaces of its own (see `faults.start`), so that
nothing outside is seen or touched, and every process that is left over is found.
"""

import ctypes
import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NETNS = Path("/run/netns")
STATE = Path("/run/state")
"""XDG_STATE_HOME of the runs: a file system of its own, that can be filled and made read-only."""

STATE_SIZE = "256k"
PARENT = "eth0"
BYSTANDER = "bystander"

_CLONE_NEWNET = 0x40000000
_SLEEPER = ("sleep", "100000")
_LINKWATCH_S = 1.1
_BUILD = f"""\
mount --make-rprivate /
mount -t tmpfs tmpfs /run
mkdir {STATE}
mount -t tmpfs -o size={STATE_SIZE} tmpfs {STATE}
ip link set lo up
sysctl -qw net.ipv6.conf.default.accept_dad=0
ip netns add {BYSTANDER}
ip netns exec {BYSTANDER} sysctl -qw net.ipv6.conf.default.accept_dad=0
ip link add {PARENT} type veth peer name lan netns {BYSTANDER}
ip -n {BYSTANDER} link add mine type bridge
ip link set {PARENT} up
ip addr add 192.168.104.110/24 dev {PARENT}
ip addr add 2001:db8:104::110/64 dev {PARENT}
ip route add default via 192.168.104.254 dev {PARENT}
ip route add default via 2001:db8:104::254 dev {PARENT}
ip link add beside type bridge
ip link set beside up
ip addr add 203.0.113.1/24 dev beside
ip route add 198.18.0.0/24 via 203.0.113.2 dev beside
ip neigh add 203.0.113.2 lladdr 02:00:00:00:00:02 dev beside nud permanent
ip neigh add proxy 203.0.113.3 dev beside
sysctl -qw net.ipv4.conf.beside.forwarding=1 net.ipv4.neigh.{PARENT}.proxy_delay=42
ip -n {BYSTANDER} addr add 192.168.104.254/24 dev lan
ip -n {BYSTANDER} link set lan up
ip -n {BYSTANDER} link set mine up
ip -n {BYSTANDER} addr add 203.0.113.9/24 dev mine
ip -n {BYSTANDER} neigh add 203.0.113.8 lladdr 02:00:00:00:00:08 dev mine nud permanent
ip netns exec {BYSTANDER} sysctl -qw net.ipv4.ip_nonlocal_bind=1 net.ipv4.conf.mine.forwarding=1
"""

_VOLATILE = ("nf_conntrack_count", "nf_conntrack_buckets")
"""Sysctls that count what happens, and are no setting."""

_LOOKS = {
    "link": "ip -json -details link show",
    "address": "ip -json addr show",
    "multicast": "ip -json maddr show",
    "route": "ip -json -details -4 route show table all",
    "route of IPv6": "ip -json -details -6 route show table all",
    "rule": "ip -json -4 rule show",
    "rule of IPv6": "ip -json -6 rule show",
    "neighbour": "ip -json neigh show nud permanent",
    "proxy": "ip -json neigh show proxy",
    "forwarding entry": "bridge -json fdb show",
    "queueing discipline": "tc -json qdisc show",
}
_TIMES_AND_COUNTS = frozenset(
    "valid_life_time preferred_life_time expires users refcnt "
    "gc_timer hello_timer tcn_timer topology_change_timer".split()
)

Snapshot = frozenset[str]
"""Everything that there is, a line for each."""


def build() -> None:
    """Make this process's namespaces such a machine; raise CalledProcessError where that fails."""
    subprocess.run(["/bin/sh", "-e"], input=_BUILD, text=True, check=True)
    # Who cleans up by name, or by looking for processes, meets this one.
    with inside(BYSTANDER):
        subprocess.Popen(_SLEEPER, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _settle()


def _settle() -> None:
    """Wait until the kernel has told all of its new links (linkwatch does that once a second)."""
    for _ in range(10):
        before = snapshot()
        time.sleep(_LINKWATCH_S)
        if snapshot() == before:
            return
    raise AssertionError("the machine does not come to rest")


@contextmanager
def inside(netns: str) -> Iterator[None]:
    """Have this thread in the network namespace `netns` meanwhile."""
    with Path("/proc/self/ns/net").open() as own, (NETNS / netns).open() as other:
        _enter(other.fileno())
        try:
            yield
        finally:
            _enter(own.fileno())


def _enter(file: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(file, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def snapshot() -> Snapshot:
    """Return this machine as it is: its network, the bystander's, mounts, processes, files of the state."""
    things = [f"host: {line}" for line in _network()]
    with inside(BYSTANDER):
        things += [f"{BYSTANDER}: {line}" for line in _network()]
    things += [f"netns {path.name} {path.stat().st_ino}" for path in NETNS.iterdir()]
    things += [f"mount {line}" for line in Path("/proc/self/mounts").read_text().splitlines()]
    things += [f"process {pid}: {words}" for pid, words in processes().items()]
    things += [f"state {path.relative_to(STATE)}" for path in STATE.rglob("*")]
    return frozenset(things)


def difference(before: Snapshot, after: Snapshot) -> list[str]:
    """Return what has gone and what has come, a line each, as a diff has it."""
    gone, come = sorted(before - after), sorted(after - before)
    return [*(f"- {thing}" for thing in gone), *(f"+ {thing}" for thing in come)]


def processes() -> dict[int, str]:
    """Return the command line of each process here but this one, by its id."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            found[int(entry.name)] = words.strip() or "(ended)"
    return found


def _network() -> Iterator[str]:
    looking = {
        what: subprocess.Popen(words.split(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for what, words in _LOOKS.items()
    }
    for what, process in looking.items():
        said, complaint = process.communicate()
        assert process.returncode == 0, f"{_LOOKS[what]}: {complaint.decode()}"
        for thing in json.loads(said or b"[]"):
            yield f"{what} {json.dumps(_settled(thing), sort_keys=True)}"
    for path in sorted(Path("/proc/sys/net").rglob("*")):
        if path.name not in _VOLATILE and path.is_file():
            yield f"{'.'.join(path.parts[3:])} = {_value(path)}"


def _settled(thing: Any) -> Any:
    """Return what a tool told, without what goes on by itself: times and counts."""
    if isinstance(thing, dict):
        return {key: _settled(value) for key, value in thing.items() if key not in _TIMES_AND_COUNTS}
    return [_settled(one) for one in thing] if isinstance(thing, list) else thing


def _value(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError as problem:
        return f"({problem.strerror})"
