"""The state of a bond, which the kernel shows in /proc/net/bonding (drivers/net/bonding/bond_procfs.c)."""

from ipvkit.core.command import Command
from ipvkit.core.values import interface_name

_JOINED = 63
"""The state of a port in which it passes packets: all bits of IEEE 802.3ad but `defaulted` and `expired`."""

_MOST_S = 30
"""LACP needs about 3 s; 2 s of it are a fixed wait (AD_AGGREGATE_WAIT_TIME in bond_3ad.c)."""


def wait_for_lacp(bond: str) -> Command:
    """Return the command that waits until both ports of `bond`, and those at the other end, pass packets.

    Until then a bond may pass a first packet, and then none for seconds.
    """
    joined = f'grep -c "port state: {_JOINED}" /proc/net/bonding/{interface_name(bond)}'
    script = f"until {joined} | grep -qx 4; do sleep 0.1; done"
    return Command(("timeout", str(_MOST_S), "sh", "-c", script))
