"""Whether the kernel creates ipvlan links on a parent of this kind."""

from collections.abc import Iterator

from ipvkit.host.checks.base import Check, Finding, Machine, Request
from ipvkit.lab import IPVLAN
from ipvkit.tools.ip import Link


def _kind(_: Request, parent: Link, machine: Machine) -> Iterator[Finding]:
    name = parent.ifname
    if "LOOPBACK" in parent.flags:
        yield Finding("loopback", "error", f"{name} is the loopback", "use a link to a network as the parent")
    elif parent.link_type not in (None, "ether"):
        # drivers/net/ipvlan/ipvlan_main.c, ipvlan_link_new: only ARPHRD_ETHER.
        what = f"{name} is of type {parent.link_type}, not Ethernet"
        yield Finding("not-ethernet", "error", what, "use another parent")
    elif parent.kind == "vrf":
        # IFF_NO_RX_HANDLER, drivers/net/vrf.c.
        what = f"{name} is a VRF, and the kernel refuses ipvlan on it"
        yield Finding("refused", "error", what, "use a port of it")
    # Of all ports, only that of a VRF can be a parent.
    if parent.master is not None and parent.details.get("info_slave_kind") != "vrf":
        fix = f"use {parent.master} as the parent"
        yield Finding("port", "error", f"{name} is a port of {parent.master}", fix)
    if parent.kind in IPVLAN:
        on = parent.parent or f"link {parent.parent_index} of another namespace"
        what = f"{name} is itself an {parent.kind} link: the kernel creates endpoints on {on}"
        yield Finding("on-ipvlan", "warning", what, f"use {on} as the parent")
    if machine.wireless:
        what = f"{name} is WiFi, which allows one MAC address: macvlan does not work on it"
        yield Finding("wifi", "info", what, "use ipvlan, which works in each mode")


CHECK = Check(
    codes={
        "loopback": "It is the loopback.",
        "not-ethernet": "It is a link without Ethernet.",
        "refused": "It is of a kind on which the kernel refuses ipvlan: a VRF.",
        "port": "It is a port of a bridge, a bond or a team.",
        "on-ipvlan": "It is an ipvlan or ipvtap link itself.",
        "wifi": "The parent is WiFi.",
    },
    find=_kind,
)
