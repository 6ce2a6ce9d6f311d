"""Whether the parent is up, and has a carrier."""

from collections.abc import Iterator

from ipvkit.host.checks.base import Check, Finding, Machine, Request
from ipvkit.tools.ip import Link


def _state(_: Request, parent: Link, __: Machine) -> Iterator[Finding]:
    name = parent.ifname
    if not parent.up:
        yield Finding("link-down", "error", f"{name} is down", f"ip link set {name} up")
    elif "NO-CARRIER" in parent.flags:
        yield Finding("no-carrier", "warning", f"{name} has no carrier", "check its cable and its switch")


CHECK = Check(
    codes={
        "link-down": "It is down.",
        "no-carrier": "It has no carrier.",
    },
    find=_state,
)
