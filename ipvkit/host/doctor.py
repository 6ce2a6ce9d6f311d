"""What works on this machine: each target tried, each tool asked for its version."""

import platform
import re
from contextlib import suppress
from dataclasses import dataclass
from queue import SimpleQueue

from ipvkit.core.command import Command
from ipvkit.core.errors import CommandFailed, IpvkitError
from ipvkit.run.execution import look
from ipvkit.targets.agent import Agent, Target
from ipvkit.targets.kernels import Kernel, has_amx, kernels
from ipvkit.targets.local import Local
from ipvkit.targets.process import output_of
from ipvkit.targets.programs import PACKAGES, find_program
from ipvkit.targets.sandbox import Sandbox
from ipvkit.targets.uml import Uml

TOOLS = {
    **dict.fromkeys(("ip", "ping", "arping", "socat"), "-V"),
    **dict.fromkeys(("sysctl", "radvd", "bash", "unshare", "linux.uml"), "--version"),
}
"""The programs that labs need (socat: for TCP checks, radvd: for `slaac`), with what prints the version."""


@dataclass(frozen=True, slots=True)
class TargetHealth:
    """Whether a target works here, with its kernel, or why not and how to fix it."""

    kind: str
    works: bool
    kernel: str | None
    reason: str | None = None
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class Tool:
    """A program: its `path` and `version`, both None where it is not installed; its Debian package."""

    name: str
    path: str | None
    version: str | None
    package: str


@dataclass(frozen=True, slots=True)
class Health:
    """The state of every target and every tool, and the kernels of target uml."""

    targets: tuple[TargetHealth, ...]
    tools: tuple[Tool, ...]
    kernels: tuple[Kernel, ...] = ()

    @property
    def works(self) -> bool:
        """Whether labs run here: a simulated LAN works, and every tool that they need is installed."""
        simulated = any(target.works for target in self.targets if target.kind != "local")
        needed = [tool.path for tool in self.tools if tool.name in ("ip", "ping", "arping", "sysctl")]
        return simulated and all(needed)

    @property
    def fix(self) -> str:
        """The command that installs missing tools, or nothing.

        Debian's kernel is none of them where it would not run, or where another one does.
        """
        needless = "linux.uml" if has_amx() or any(kernel.runs_here for kernel in self.kernels) else ""
        missing = sorted({tool.package for tool in self.tools if not tool.path and tool.name != needless})
        return f"apt install {' '.join(missing)}" if missing else ""


def examine() -> Health:
    """Return what works here; it starts a sandbox and a uml kernel, and ends them."""
    targets = (_health_of(Local()), _health_of(Sandbox()), _health_of(Uml()))
    tools = tuple(_tool(name, option) for name, option in TOOLS.items())
    return Health(targets, tools, tuple(kernels()))


def _health_of(target: Local | Sandbox | Uml) -> TargetHealth:
    kernel = platform.release() if isinstance(target, Local) else None
    try:
        target.check()
        kernel = kernel or _kernel_of(target)
    except IpvkitError as problem:
        return TargetHealth(target.kind, False, kernel, problem.message, problem.hint or None)
    return TargetHealth(target.kind, True, kernel)


def _kernel_of(target: Target) -> str:
    """Return the release of the kernel that a target really starts; raise IpvkitError where none does."""
    with Agent(target, SimpleQueue()) as agent:
        with suppress(CommandFailed):
            look(agent, {"kernel": Command(("uname", "-r"))})
        if agent.kernel:
            return agent.kernel
    raise IpvkitError(f"{target.kind} did not start: {agent.complaint or 'it printed nothing'}")


def _tool(name: str, option: str) -> Tool:
    path = find_program(name)
    if path is None:
        return Tool(name, None, None, PACKAGES[name])
    try:
        done = output_of([path, option], bound_s=20.0)
        printed = done.stdout + done.stderr
    except IpvkitError as problem:
        printed = problem.message
    # socat names its author first.
    lines = sorted(printed.strip().splitlines(), key=lambda line: not re.search("[0-9]", line))
    version, *_ = lines or [""]
    return Tool(name, path, version.strip() or None, PACKAGES[name])
