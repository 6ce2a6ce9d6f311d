"""What makes endpoints reachable from where the rules of ipvlan do not: one file a strategy."""

from ipvkit.strategies.announce import Announce
from ipvkit.strategies.base import (
    Added,
    Addition,
    Link,
    Neighbour,
    Peer,
    Proxy,
    Route,
    Site,
    Strategy,
    Sysctl,
)
from ipvkit.strategies.host_shim import HostShim
from ipvkit.strategies.l3s_proxy import L3sProxy
from ipvkit.strategies.routed import Routed
from ipvkit.strategies.static_neigh import StaticNeigh

STRATEGIES = (Strategy(), Routed(), Announce(), StaticNeigh(), L3sProxy())
"""What a setting chooses one of; the later ones cost less, in the words of `explain`."""

BY_NAME = {strategy.name: strategy for strategy in STRATEGIES}
HOST_SHIM = HostShim()
"""What a setting may have beside its strategy."""

__all__ = [
    "BY_NAME",
    "HOST_SHIM",
    "STRATEGIES",
    "Added",
    "Addition",
    "Link",
    "Neighbour",
    "Peer",
    "Proxy",
    "Route",
    "Site",
    "Strategy",
    "Sysctl",
]
