"""How much this machine can run at the same time."""

import os

from ipvkit.lab import PARALLEL


def concurrent_pings() -> int:
    """Return how many pings this machine can run at once: by its CPUs, memory and neighbour tables."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    # A ping needs less than 16 MiB. Each creates two neighbour entries, and the kernel has room for 1,024 in
    # all namespaces together (gc_thresh3 in net/ipv4/arp.c).
    return max(1, min(PARALLEL * (os.cpu_count() or 1), memory // (16 << 20), 128))
