"""`uml`: a Linux kernel as an ordinary process (User-Mode Linux), with ipvlan and no root.

The guest sees the host's files read-only (hostfs). The payload goes in as a block device on a memory
file and the output comes out of a serial line, so that nothing is ever written to a disk.
"""

import os
import shlex
from itertools import count
from pathlib import Path

from ipvkit.errors import MissingRequirement
from ipvkit.targets import Inbox, Payload, environment, find_program, require
from ipvkit.targets.process import PayloadProcess, guarded, in_foreground, memory_file

KERNELS = ("linux.uml", "linux")
MODULES = Path("/usr/lib/uml/modules")
MEMORY_MIB = 256
_STARTED = count(os.getpid())
"""Counts the kernels that were started, beginning where other processes do not."""

_PROGRAMS = ("taskset", "setpriv", "timeout", "bash", "mount", "modprobe", "ip")

# The kernel measures which RAID routine is fastest for 0.9 s of its start; no lab has a use for that.
_SKIPPED_AT_START = "raid6_select_algo,calibrate_xor_blocks,register_xor_blocks"

# The guest's first process. /dev is the kernel's own devtmpfs; /run/netns is where ip-netns(8) looks.
_PROLOGUE = """\
export PATH=SEARCHED HOME=/run
trap '[[ $BASHPID != 1 ]] || { echo o >/proc/sysrq-trigger; sleep 60; }' EXIT
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs tmpfs /run
ip link set lo up
mkdir -p /run/netns /run/modules/lib/modules
ln -s MODULES/* /run/modules/lib/modules/
modprobe --all --dirname /run/modules ipvlan veth bridge macvlan 8021q || exit 3
printf '#!%s\nexec modprobe --dirname /run/modules "$@"\n' "$BASH" >/run/modules/modprobe
chmod +x /run/modules/modprobe
echo /run/modules/modprobe >/proc/sys/kernel/modprobe
"""


class Uml:
    """Runs a payload as root of a kernel of its own."""

    kind = "uml"
    work = "/run"

    def check(self) -> None:
        """Raise MissingRequirement where the kernel or what it needs is not installed."""
        if not any(find_program(name) for name in KERNELS) or not MODULES.is_dir():
            raise MissingRequirement("User-Mode Linux is not installed", "apt install user-mode-linux")
        require(*_PROGRAMS)
        _memory_folder()

    def start(self, payload: str, timeout_s: float, inbox: Inbox) -> Payload:
        """Start a kernel whose first process is bash with `payload`."""
        file = _block_device(f"exec </dev/null >/dev/ttyS0\n{payload}")
        argv = _kernel(file, "con0=null,fd:2", "ssl0=null,fd:1")
        return PayloadProcess(
            [*_on_one_cpu(), *guarded(argv, timeout_s)],
            file,
            inbox,
            decode=_Terminal().decode,
            variables={"TMPDIR": _memory_folder()},
        )

    def interact(self, payload: str) -> int:
        """Run bash with `payload` on a kernel whose console is this process's terminal, until it ends."""
        size = os.get_terminal_size()
        console = f"stty rows {size.lines} cols {size.columns} </dev/tty1"
        wrapped = f"exec setsid --ctty --wait bash -c {shlex.quote(f'{console}; {payload}')}"
        file = _block_device(f"({wrapped}) </dev/tty1 >/dev/tty1 2>&1\n")
        argv = [*_on_one_cpu(), *_kernel(file, "con0=null,null", "con1=fd:0,fd:1")]
        return in_foreground(argv, file, {"TMPDIR": _memory_folder()})


def _block_device(payload: str) -> int:
    """Return a memory file that the guest's first process, bash, reads as a block device."""
    path = shlex.quote(environment()["PATH"])
    content = (_PROLOGUE.replace("SEARCHED", path).replace("MODULES", str(MODULES)) + payload).encode()
    return memory_file(content.ljust(-(-len(content) // 512) * 512, b"\n"))


def _kernel(file: int, *consoles: str) -> list[str]:
    """Return the argv of a kernel that runs what is in `file`."""
    return [
        next(path for name in KERNELS if (path := find_program(name))),
        f"mem={MEMORY_MIB}M",
        *("rootfstype=hostfs", "rootflags=/", "ro"),
        *("con=null", *consoles),
        # No folder can be made there: so no ~/.uml, no pid file, no control socket.
        "uml_dir=/dev/null/",
        f"ubd0r=/proc/self/fd/{file}",
        f"initcall_blacklist={_SKIPPED_AT_START}",
        f"init={find_program('bash')}",
        # Sourced, since bash would read a script from a device byte by byte.
        *("--", "-c", '". /dev/ubda"'),
    ]


def _memory_folder() -> str:
    """Return the folder in which the kernel can have its memory: a file with no name (O_TMPFILE)."""
    wanted = MEMORY_MIB * 1024 * 1024
    folders = ("/dev/shm", os.environ.get("TMPDIR", "/tmp"), "/tmp", "/var/tmp")  # noqa: S108
    for folder in folders:
        if os.access(folder, os.W_OK):
            state = os.statvfs(folder)
            if not state.f_flag & os.ST_NOEXEC and state.f_bavail * state.f_frsize >= wanted:
                return folder
    raise MissingRequirement(
        f"no folder can hold the memory of a uml kernel ({MEMORY_MIB} MiB, not mounted noexec)",
        f"tried {', '.join(folders)}; set TMPDIR to one that can",
    )


def _on_one_cpu() -> list[str]:
    """Return the words that keep the kernel and its helper processes on one CPU.

    They take turns and never run at once; on two CPUs each turn costs a wake-up, and a command in the
    guest takes more than twice as long. Kernels side by side spread over the CPUs.
    """
    cpus = sorted(os.sched_getaffinity(0))
    return [str(find_program("taskset")), "--cpu-list", str(cpus[next(_STARTED) % len(cpus)])]


class _Terminal:
    """Takes back what the guest's serial line adds: a carriage return before each line feed."""

    def __init__(self) -> None:
        self._held = b""

    def decode(self, chunk: bytes) -> bytes:
        chunk = self._held + chunk
        self._held = b"\r" if chunk.endswith(b"\r") else b""
        return chunk[: len(chunk) - len(self._held)].replace(b"\r\n", b"\n")
