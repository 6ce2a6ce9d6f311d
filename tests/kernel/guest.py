"""A uml guest in which tests run commands: a machine of its own, with ipvlan, to do anything to."""

import secrets
import threading
from dataclasses import dataclass

from ipvkit.lab import gallery
from ipvkit.lab.format import load
from ipvkit.plan.make import make_plan
from ipvkit.run.batches import jobs_of
from ipvkit.targets.uml import Uml


@dataclass(frozen=True, slots=True)
class Said:
    """What a script in a guest printed, and its exit code."""

    exit_code: int
    output: str


TRIES = 3
"""How often a guest is started whose kernel crashes."""


def in_guest(script: str, timeout_s: float = 600, memory_mib: int = 0) -> Said:
    """Run a bash script as root of a fresh guest; raise AssertionError if it did not end in time.

    The guest has at least `memory_mib`.

    A process that is killed in the middle of a fork can crash this kernel (copy_process, exit_mmap,
    flush_tlb_mm in a User-Mode Linux 6.12): the script then starts again in another guest.
    """
    for _ in range(TRIES):
        output, complaint, mark = _printed(script, timeout_s, memory_mib)
        text, found, code = output.rpartition(mark)
        if found:
            return Said(int(code), text)
        if not ("Kernel panic" in complaint and "copy_process" in complaint):
            break
    raise AssertionError(f"the guest ended early: {output}\n{complaint}")


def _printed(script: str, timeout_s: float, memory_mib: int) -> tuple[str, str, str]:
    """Return what a guest and its kernel printed, and the mark before the exit code."""
    mark = secrets.token_hex(8)
    # Through a pipe, so that nothing takes the guest's serial line for a person's terminal.
    payload = f"(\n{script}\n) 2>&1 | cat\necho {mark} ${{PIPESTATUS[0]}}\n"
    running = Uml(memory_mib=memory_mib).start(payload)
    timer = threading.Timer(timeout_s, running.kill)
    timer.start()
    output = b""
    while chunk := running.read():
        output += chunk
    timer.cancel()
    running.kill()
    running.close()
    return output.decode(errors="replace"), running.complaint(), mark


_KEEPS_ENTRIES = "ip netns exec gateway sysctl -qw net.ipv4.neigh.eth0.delay_first_probe_time=60"


def simulated_lan() -> str:
    """Return bash that gives a guest a NIC `eth0` with a gateway and a neighbour, and a default route.

    The gateway keeps neighbour entries for a minute, as routers do, so that a slow machine does not matter.
    """
    lan, *_ = jobs_of(make_plan(load(gallery.text("walkthrough"), "walkthrough"))).values()
    lines = [str(job.command) for stage in lan for job in stage]
    return "\n".join(
        ["set -e", *lines, _KEEPS_ENTRIES, "ip route add default via 192.168.104.254", "set +e", ""]
    )
