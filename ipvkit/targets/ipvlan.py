"""Whether a kernel has ipvlan, and the hint where it has not."""

import platform
import re
from pathlib import Path

from ipvkit.core.errors import CommandFailed, MissingRequirement
from ipvkit.targets.process import output_of

MODULES = Path("/lib/modules")


def require_ipvlan(*wrapper: str) -> None:
    """Raise MissingRequirement if the kernel has no ipvlan; `wrapper` is put before the command.

    The command adds a link without a parent, which the kernel refuses with another error where it has ipvlan.
    """
    try:
        probe = output_of([*wrapper, "ip", "link", "add", "ipvkit-probe", "type", "ipvlan"], bound_s=10.0)
    except CommandFailed as problem:
        raise MissingRequirement(f"it is unknown whether the kernel has ipvlan: {problem.message}") from None
    if "Unknown device type" in probe.stderr:
        raise MissingRequirement("this kernel has no ipvlan", ipvlan_hint())
    if probe.stderr.startswith("unshare:"):
        what = f"this machine has no user namespaces ({probe.stderr.strip()})"
        raise MissingRequirement(what, "see user_namespaces(7)")


def ipvlan_hint() -> str:
    """Return how to get ipvlan on a kernel that has none: modprobe only where its module is installed."""
    try:
        index = (MODULES / platform.release() / "modules.dep").read_text(encoding="utf-8")
    except OSError:
        index = ""
    found = re.search(r"(^|/)ipvlan\.ko[.\w]*:", index, re.MULTILINE)
    return "sudo modprobe ipvlan, or --target uml" if found else "use --target uml"
