"""Whether the network of a cloud passes packets of the endpoints' addresses."""

from collections.abc import Iterator

from ipvkit.host.checks.base import Check, Finding, Machine, Request
from ipvkit.tools.ip import Link

_CLOUDS = {
    **dict.fromkeys(
        ("OpenStack Nova", "OpenStack Compute", "OpenTelekomCloud", "SAP CCloud VM", "HUAWEICLOUD"),
        ("OpenStack", "openstack port set {pairs} PORT"),
    ),
    "Amazon EC2": (
        "Amazon EC2",
        "aws ec2 assign-private-ip-addresses --network-interface-id ENI --private-ip-addresses {addresses}",
    ),
    "Google Compute Engine": ("Google Cloud", "give the VM's NIC {addresses} as alias IP ranges"),
    "7783-7084-3265-9085-8269-3286-77": (
        "Microsoft Azure",
        "give the VM's NIC an IP configuration with {addresses}",
    ),
    "Alibaba Cloud ECS": (
        "Alibaba Cloud",
        "give the VM's network interface {addresses} as secondary private addresses",
    ),
    "OracleCloud.com": ("Oracle Cloud", "give the VM's VNIC {addresses} as secondary private addresses"),
}
"""Clouds by the words of their firmware, as cloud-init detects them (its tools/ds-identify): name, and how to
allow an address there."""


def cloud_of(machine: Machine) -> tuple[str, str] | None:
    """Return the cloud of which `machine` is a VM, and how to allow an address there; None for others."""
    return next((cloud for word, cloud in _CLOUDS.items() if word in machine.dmi.values()), None)


def _cloud(request: Request, parent: Link, machine: Machine) -> Iterator[Finding]:
    cloud = cloud_of(machine)
    if cloud is None or parent.kind in ("veth", "dummy"):
        return
    name, fix = cloud
    addresses = [str(address.ip) for _, address in request.addresses] or ["ADDRESS"]
    pairs = " ".join(f"--allowed-address ip-address={address}" for address in addresses)
    what = f"{name} drops packets from addresses that it did not assign, while ARP may work"
    fix = fix.format(pairs=pairs, addresses=" ".join(addresses))
    yield Finding("port-security", "warning", what, fix)


CHECK = Check(
    codes={
        "port-security": "The machine is a VM of a cloud that drops packets of other addresses.",
    },
    find=_cloud,
)
