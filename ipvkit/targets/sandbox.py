"""`sandbox`: new user, mount, network and process namespaces on this kernel (unshare(1))."""

from ipvkit.plan.steps import Plan
from ipvkit.targets import Inbox, Payload, find_program, require, require_ipvlan
from ipvkit.targets.process import PayloadProcess, guarded, in_foreground, memory_file

_PROGRAMS = ("unshare", "setpriv", "timeout", "bash", "mount", "ip")

# /proc of the new process namespace, so that ps(1) works; a container with a masked /proc refuses it.
_PROLOGUE = """\
mount -t proc proc /proc 2>/dev/null
mount -t tmpfs tmpfs /run || exit 3
ip link set lo up
"""


class Sandbox:
    """Runs a payload as root of a user namespace; what it makes ends with its last process."""

    kind = "sandbox"
    work = "/run"

    def check(self) -> None:
        """Raise MissingRequirement where this kernel has no ipvlan, or gives no namespaces."""
        require(*_PROGRAMS)
        require_ipvlan(*_unshare())

    def start(self, payload: str, timeout_s: float, inbox: Inbox, _: Plan | None = None) -> Payload:
        """Start `payload` in new namespaces, with an empty /run and the loopback up, as on any host."""
        file = memory_file(f"{_PROLOGUE}{payload}".encode())
        return PayloadProcess(guarded(_bash(file), timeout_s), file, inbox)

    def interact(self, payload: str) -> int:
        """Run bash with `payload` in new namespaces, on this process's terminal, until it ends."""
        file = memory_file(f"{_PROLOGUE}{payload}".encode())
        return in_foreground(_bash(file), file)


def _bash(file: int) -> list[str]:
    return [*_unshare(), str(find_program("bash")), f"/proc/self/fd/{file}"]


def _unshare() -> list[str]:
    namespaces = ["--user", "--map-root-user", "--net", "--mount", "--pid"]
    return [str(find_program("unshare")), *namespaces, "--fork", "--kill-child=KILL"]
