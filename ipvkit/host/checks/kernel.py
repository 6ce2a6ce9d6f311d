"""Whether the kernel's settings allow what the endpoints need, and which of them a lab changes."""

from collections.abc import Iterator

from ipvkit.host.checks.base import Check, Finding, Machine, Request
from ipvkit.tools import sysctl
from ipvkit.tools.ip import Link


def _kernel(request: Request, parent: Link, machine: Machine) -> Iterator[Finding]:
    if machine.rp_filter == 1 and any(s.host_shim and s.mode == "l2" for s in request.settings):
        # A packet to the parent's address comes in through the parent, while the route back to the
        # endpoint leads out of the shim. In l3 and l3s it comes in through the loopback.
        key = sysctl.interface_key("ipv4", "conf", parent.ifname, "rp_filter")
        lost = f"packets from endpoints to {parent.ifname}'s own address"
        what = f"with a host shim in l2, {key}=1 (strict) drops {lost}"
        yield Finding("rp-filter", "warning", what, f"sysctl -w {key}=2, or use the shim's address")
    if not machine.forwarding and any(s.strategy == "l3s-proxy" for s in request.settings):
        key = sysctl.interface_key("ipv4", "conf", parent.ifname, "forwarding")
        what = f"l3s-proxy sets {key}=1: this host forwards packets that arrive on {parent.ifname}"
        yield Finding("forwarding", "info", what, "it is restored to 0 at the end")
    if machine.most_neighbours is not None and request.neighbours > machine.most_neighbours:
        what = (
            f"these pings need {request.neighbours} neighbour entries, and the kernel has room for "
            f"{machine.most_neighbours} in all namespaces together: some will get no answer"
        )
        fix = f"sysctl -w net.ipv4.neigh.default.gc_thresh3={2 * request.neighbours}"
        yield Finding("neighbours", "warning", what, fix)


CHECK = Check(
    codes={
        "rp-filter": "Strict rp_filter drops packets from endpoints to the parent's own address.",
        "forwarding": "The parent's forwarding will be set.",
        "neighbours": "The pings of a lab need more neighbour entries than the kernel allows.",
    },
    find=_kernel,
)
