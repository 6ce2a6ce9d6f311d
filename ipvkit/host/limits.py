"""How much this machine can run at the same time."""

import os

from ipvkit.lab import PARALLEL

_BYTES_A_PING = 16 << 20
"""Memory for each concurrent ping, in bytes: it needs less."""

_MOST_NEIGHBOURS = 128
"""The most concurrent pings, where each creates two neighbour entries: the kernel has room for 1,024 in all
namespaces together (gc_thresh3 in net/ipv4/arp.c)."""


def concurrent_pings() -> int:
    """Return how many pings this machine can run at once: by its CPUs, memory and neighbour tables."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return max(1, min(PARALLEL * (os.cpu_count() or 1), memory // _BYTES_A_PING, _MOST_NEIGHBOURS))
