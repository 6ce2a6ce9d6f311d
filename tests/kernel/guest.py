"""A uml guest in which tests run commands: a machine of its own, with ipvlan, to do anything to.

A worker of the tests has one guest, in which each script gets new network, mount and process namespaces, with
a /run and a /sys that are new too. A script that concerns the guest itself has one of its own.
"""

import secrets
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

from ipvkit.core.command import Command
from ipvkit.lab import gallery
from ipvkit.lab.format import load
from ipvkit.plan.make import make_plan
from ipvkit.run.batches import jobs_of
from ipvkit.targets.agent import KILLED, Agent, Inbox
from ipvkit.targets.uml import Uml


@dataclass(frozen=True, slots=True)
class Said:
    """What a script in a guest printed, and its exit code."""

    exit_code: int
    output: str


TRIES = 3
"""How often a guest is started whose kernel crashes."""

_APART = ("unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc")
_SETUP = str(Path(__file__).parent / "apart.bash")


class _Reused:
    """A guest that starts with the first script, and runs one after another."""

    def __init__(self) -> None:
        self._inbox = Inbox()
        self._agent = Agent(Uml(), self._inbox)

    def run(self, script: str, timeout_s: float) -> tuple[Said | None, str]:
        """Return what `script` printed, or what the kernel did where it or the time came to its end."""
        # The guest sees the files of this machine.
        with tempfile.NamedTemporaryFile("w", prefix="ipvkit-script-", encoding="utf-8") as file:
            file.write(script)
            file.flush()
            timer = threading.Timer(timeout_s, self._agent.kill)
            timer.start()
            self._agent.start([{"script": Command((*_APART, "bash", _SETUP, file.name))}])
            completed = self._inbox.get().completed
            timer.cancel()
        if completed is KILLED:
            self.end()
            return None, self._agent.complaint
        return Said(_shells(completed.exit_code), completed.stdout), ""

    def end(self) -> None:
        """End it; the next script starts another one."""
        self._agent.kill()


def _shells(code: int) -> int:
    """Return an exit code as a shell has it, where a signal is a negative one."""
    return code if code >= 0 else 128 - code


REUSED = _Reused()


def in_guest(script: str, timeout_s: float = 600, memory_mib: int = 0, *, fresh: bool = False) -> Said:
    """Run a bash script as root of a guest; raise AssertionError if it did not end in time.

    One that is `fresh` is started for this script, and its first process runs it with a serial line as its
    stdout; so is one with at least `memory_mib`.

    A process that is killed in the middle of a fork can crash this kernel (copy_process, exit_mmap,
    flush_tlb_mm in a User-Mode Linux 6.12): the script then starts again in another guest.
    """
    for _ in range(TRIES):
        if fresh or memory_mib:
            output, complaint, mark = _printed(script, timeout_s, memory_mib)
            output, found, code = output.rpartition(mark)
            ended = Said(int(code), output) if found else None
        else:
            ended, complaint = REUSED.run(script, timeout_s)
        if ended is not None:
            return ended
        if not ("Kernel panic" in complaint and "copy_process" in complaint):
            break
    raise AssertionError(f"the guest ended early: {complaint}")


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
