"""Whether the endpoints' packets fit through the parent."""

from collections.abc import Iterator

from ipvkit.host.checks.base import Check, Finding, Machine, Request
from ipvkit.tools.ip import Link


def _mtus(request: Request, parent: Link, _: Machine) -> Iterator[Finding]:
    for endpoint in request.endpoints:
        if endpoint.mtu is not None and parent.mtu is not None and endpoint.mtu > parent.mtu:
            above = f"{endpoint.name}'s MTU {endpoint.mtu} is above {parent.ifname}'s {parent.mtu}"
            fix = f"set it to {parent.mtu}, or raise that of {parent.ifname}"
            yield Finding("mtu", "warning", f"{above}: large packets get lost", fix)


CHECK = Check(
    codes={
        "mtu": "An endpoint's MTU is above the parent's.",
    },
    find=_mtus,
)
