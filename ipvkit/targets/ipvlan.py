"""Whether a kernel has ipvlan."""

from ipvkit.core.errors import CommandFailed, MissingRequirement
from ipvkit.targets.modules import ipvlan_hint
from ipvkit.targets.process import output_of


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
