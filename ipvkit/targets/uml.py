"""`uml`: a Linux kernel as an ordinary process (User-Mode Linux), with ipvlan and no root.

The guest sees the host's files read-only (hostfs). The script and the mailbox of its agent are block devices
on memory files, and two serial lines carry requests in and reports out: nothing is ever written to a disk.
"""

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from socket import socket
from typing import TYPE_CHECKING

from ipvkit.core.errors import MissingRequirement
from ipvkit.lab import CABLE, HOST, LAN
from ipvkit.targets import kernels
from ipvkit.targets.agent import MAILBOX_BYTES, Target
from ipvkit.targets.cables import Tap, cable
from ipvkit.targets.kernels import Kernel, numbers
from ipvkit.targets.process import Process, in_foreground, memory_file
from ipvkit.targets.programs import environment, find_program, require

if TYPE_CHECKING:
    from ipvkit.lab import Lab
    from ipvkit.plan.steps import Plan

_MEMORY_MIB = 96
"""What a guest and the commands that run concurrently in it use at most."""

_FOR_AN_ENDPOINT_MIB = 0.5
"""What a network namespace, its links and what is printed of them use at most."""

_FOR_A_CAPTURE_MIB = 4
"""What a tcpdump uses at most: its ring for frames has 2 MiB."""

_ENDPOINTS = 320
"""The number of endpoints that a guest has memory for where the plan is unknown."""

_STARTED = count(os.getpid())
"""Counts the kernels that were started, beginning where other processes do not."""

_MODULES = {
    **{kind: (kind,) for kind in ("bridge", "dummy", "ipvlan", "ipvtap", "macvlan", "veth")},
    "bond": ("bonding",),
    "vlan": ("8021q",),
    "clsact": ("sch_ingress",),
    "flower": ("cls_flower", "act_gact"),
    "matchall": ("cls_matchall", "act_gact"),
}
"""The modules for the words of a command that creates a link, a qdisc or a filter."""

_SKIPPED_AT_START = (
    # The kernel measures for 0.9 s which RAID routine is the fastest.
    "initcall_blacklist=raid6_select_algo,raid6_init,calibrate_xor_blocks,register_xor_blocks",
    # It measures for 0.05 s how long a busy wait takes; there is no hardware to wait for.
    "lpj=20000000",
    # It creates 512 unused terminals in 0.01 s.
    "pty.legacy_count=0",
    # These modules would create a bond0 and a dummy0; modprobe(8) reads their options here too.
    "bonding.max_bonds=0",
    "dummy.numdummies=0",
)

_FIRST_WITHOUT_PTRACE = [6, 16]
"""The first release that can do without ptrace: a command then takes three quarters of the time.

The kernel calls it insecure: a process in the guest can write to the guest's memory. All of them are root
there, and root can load modules. The host keeps AMX registers for processes that asked for them only
(arch_prctl(2), ARCH_REQ_XCOMP_PERM), which those of a guest cannot.
"""

# The guest's first process. /dev is the kernel's own devtmpfs; /run/netns is where ip-netns(8) looks.
# Each process costs the guest about 20 ms: so there is one mount, and the loopback is set up by its flags,
# IFF_UP and IFF_LOOPBACK. (The source is a name that the host does not use: an old mount(8) compares it
# with the mounts of the host.) 2^20 neighbour entries are enough for 1,000 endpoints that all have one for
# each other.
_PROLOGUE = """\
export PATH=SEARCHED HOME=/run TMPDIR=/run
trap '[[ $BASHPID != 1 ]] || { echo o >/proc/sysrq-trigger && sleep 60; }' EXIT
mounts=('guest /proc proc' 'guest /sys sysfs' 'guest /run tmpfs' 'guest /run/netns tmpfs X-mount.mkdir')
printf '%s\n' "${mounts[@]}" 'MODULES /run/modules/lib/modules none X-mount.mkdir,bind' >/dev/fstab
mount --all --fstab /dev/fstab || exit 3
echo 0x9 >/sys/class/net/lo/flags
# By default all namespaces of a kernel together have at most 1,024 neighbour entries.
for file in /proc/sys/net/ipv[46]/neigh/default/gc_thresh?; do echo 1048576 >$file; done
"""

# Other modules need that of IPv6, but one of several hosts may have no other; some kernels have it built in.
_IPV6 = "[[ -e /proc/net/if_inet6 ]] || modprobe --dirname /run/modules ipv6 || exit 3\n"

# Lets the kernel load modules on demand.
_ON_DEMAND = """\
printf '#!%s\nexec modprobe --dirname /run/modules "$@"\n' "$BASH" >/run/modules/modprobe
chmod +x /run/modules/modprobe
echo /run/modules/modprobe >/proc/sys/kernel/modprobe
"""


@dataclass(frozen=True, slots=True)
class Guest:
    """What a kernel gets: modules, memory in MiB, and whether it loads other modules on demand."""

    modules: tuple[str, ...]
    memory_mib: int
    on_demand: bool


def guest_of(plan: "Plan | None", memory_mib: int = 0, machine: str = HOST) -> Guest:
    """Return what the commands of `plan` on a machine need, with at least `memory_mib`.

    Without a plan they are unknown.
    """
    words, endpoints, captures = {"bridge", "ipvlan", "veth"}, _ENDPOINTS, 0
    if plan is not None:
        words = {word for step in plan.steps if step.on == machine for word in step.command.argv}
        endpoints = sum(plan.lab.machine_of(endpoint.name) == machine for endpoint in plan.lab.endpoints)
        counts = (sum(s.capture is not None and s.on == machine for s in stage) for stage in plan.stages)
        captures = max(counts, default=0)
    modules = {module for word in words for module in _MODULES.get(word, ())}
    memory = _MEMORY_MIB + int(endpoints * _FOR_AN_ENDPOINT_MIB) + captures * _FOR_A_CAPTURE_MIB
    return Guest(tuple(sorted(modules)), max(memory, memory_mib), on_demand=plan is None)


class Uml(Target):
    """Runs bash as root of a separate kernel, by default the one that `kernels.find` returns.

    The kernel gets at least `memory_mib`.
    """

    kind = "uml"
    ephemeral = True
    cpus = 1

    def __init__(
        self,
        kernel: Kernel | None = None,
        memory_mib: int = 0,
        machine: str = HOST,
        cables: Sequence[socket] = (),
    ) -> None:
        """Describe the kernel of a `machine`, with a link `vec0` and so on for each of its `cables`."""
        self._kernel = kernel
        self._memory_mib = memory_mib
        self._machine = machine
        self._cables = cables

    def machines(self, lab: "Lab", tap: Tap | None = None) -> Mapping[str, Target]:
        """Return a kernel for the simulated LAN, and one for each host, with cables between them."""
        if not lab.several_hosts:
            return super().machines(lab, tap)
        cables: dict[str, list[socket]] = {name: [] for name in lab.machines}
        for parent in lab.wired:
            ends = cable() if tap is None else tap.cable(parent.on, parent.dev)
            for name, end in zip((parent.on, LAN), ends, strict=True):
                cables[name].append(end)
        return {name: Uml(self.kernel, self._memory_mib, name, own) for name, own in cables.items()}

    @cached_property
    def kernel(self) -> Kernel:
        """Its kernel; raise MissingRequirement where none is installed."""
        return self._kernel or kernels.find()

    def check(self) -> None:
        """Raise MissingRequirement where the kernel or what it needs is not installed."""
        self.kernel  # noqa: B018
        require("taskset", "bash", "mount", "modprobe", "ip")
        _memory_folder(_MEMORY_MIB)

    def start(self, script: str, plan: "Plan | None" = None, mailbox: int | None = None) -> Process:
        """Start a kernel with bash and `script` as its first process, and what `plan` needs."""
        guest = guest_of(plan, self._memory_mib, self._machine)
        ends = [end.fileno() for end in self._cables]
        # The terminal echoes the requests to the output of the second line, which is discarded.
        devices = ["con0=null,fd:2", "ssl0=null,fd:1", "ssl1=fd:0,null"]
        if mailbox is not None:
            # The size of a block device is that of its file when the kernel starts.
            os.truncate(mailbox, MAILBOX_BYTES)
            devices.append(f"ubd1r=/proc/self/fd/{mailbox}")
        variables = {"TMPDIR": _memory_folder(guest.memory_mib)}
        payload = f"exec </dev/ttyS1 >/dev/ttyS0\nset -- /dev/ubdb\n{script}"
        with _block_device(self.kernel, guest, payload) as file:
            devices += [f"{CABLE}{n}:transport=fd,fd={end},vec=0" for n, end in enumerate(ends)]
            passed = [file, *ends] if mailbox is None else [file, mailbox, *ends]
            return _Process(_argv(self.kernel, guest, file, *devices), passed=passed, variables=variables)

    def interact(self, script: str) -> int:
        """Run bash with `script` on a kernel with this process's terminal as its console, until it ends."""
        guest = guest_of(None)
        size = os.get_terminal_size()
        console = f"stty rows {size.lines} cols {size.columns} </dev/tty1"
        wrapped = f"exec setsid --ctty --wait bash -c {shlex.quote(f'{console}; {script}')}"
        variables = {"TMPDIR": _memory_folder(guest.memory_mib)}
        with _block_device(self.kernel, guest, f"({wrapped}) </dev/tty1 >/dev/tty1 2>&1\n") as file:
            argv = _argv(self.kernel, guest, file, "con0=null,null", "con1=fd:0,fd:1")
            return in_foreground(argv, file, variables)


class _Process(Process):
    """A running kernel; its serial line puts a carriage return before each line feed, which is removed."""

    _held = b""

    def read(self) -> bytes:
        """Return the next piece of what was written to the serial line, empty at the end."""
        while chunk := super().read():
            chunk = self._held + chunk
            self._held = b"\r" if chunk.endswith(b"\r") else b""
            if piece := chunk[: len(chunk) - len(self._held)].replace(b"\r\n", b"\n"):
                return piece
        return b""


def _block_device(kernel: Kernel, guest: Guest, payload: str) -> AbstractContextManager[int]:
    """Hold a memory file that the guest's first process, bash, reads as a block device."""
    prologue = _PROLOGUE.replace("SEARCHED", shlex.quote(environment()["PATH"]))
    # As fstab(5) writes what is not plain.
    folder = re.sub(rb"[^\w/.+-]", lambda byte: b"\\%03o" % byte[0][0], os.fsencode(kernel.modules)).decode()
    prologue = prologue.replace("MODULES", folder)
    modules = " ".join(guest.modules)
    load = f"modprobe --all --dirname /run/modules {modules} || exit 3\n" if modules else ""
    load += _IPV6
    content = f"{prologue}{load}{_ON_DEMAND if guest.on_demand else ''}{payload}".encode()
    return memory_file(content.ljust(-(-len(content) // 512) * 512, b"\n"))


def _argv(kernel: Kernel, guest: Guest, file: int, *consoles: str) -> list[str]:
    """Return the argv of `kernel`, which runs what is in `file`, on one CPU with its helper processes.

    They take turns and never run at once; on two CPUs each turn costs a wake-up, and a command in the
    guest takes more than twice as long. Concurrent kernels are spread over the CPUs.
    """
    cpus = sorted(os.sched_getaffinity(0))
    return [
        *(str(find_program("taskset")), "--cpu-list", str(cpus[next(_STARTED) % len(cpus)])),
        kernel.program,
        f"mem={guest.memory_mib}M",
        *("rootfstype=hostfs", "rootflags=/", "ro"),
        *("con=null", *consoles),
        # No folder can be made there: so no ~/.uml, no pid file, no control socket.
        "uml_dir=/dev/null/",
        f"ubd0r=/proc/self/fd/{file}",
        *_SKIPPED_AT_START,
        *(["seccomp=auto"] if numbers(kernel.release) >= _FIRST_WITHOUT_PTRACE else []),
        f"init={find_program('bash')}",
        # Sourced, since bash would read a script from a device byte by byte.
        *("--", "-c", '". /dev/ubda"'),
    ]


def _memory_folder(memory: int) -> str:
    """Return the folder for the `memory` (MiB) of a kernel, a file without a name (O_TMPFILE)."""
    wanted = memory * 1024 * 1024
    folders = ("/dev/shm", os.environ.get("TMPDIR", "/tmp"), "/tmp", "/var/tmp")  # noqa: S108
    for folder in folders:
        if os.access(folder, os.W_OK):
            state = os.statvfs(folder)
            if not state.f_flag & os.ST_NOEXEC and state.f_bavail * state.f_frsize >= wanted:
                return folder
    what = f"no folder can hold the memory of a uml kernel ({memory} MiB, not mounted noexec)"
    raise MissingRequirement(what, f"tried {', '.join(folders)}; set TMPDIR to a folder with more space")
