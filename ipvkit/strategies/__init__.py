"""What makes endpoints reachable from where the rules of ipvlan do not: one file a strategy."""

from ipvkit.strategies.announce import Announce

# Every name of base is one of the vocabulary of strategies.
from ipvkit.strategies.base import *  # noqa: F403
from ipvkit.strategies.base import Strategy as Strategy
from ipvkit.strategies.host_shim import HostShim
from ipvkit.strategies.l3s_proxy import L3sProxy
from ipvkit.strategies.routed import Routed
from ipvkit.strategies.static_neigh import StaticNeigh

STRATEGIES = (Strategy(), Routed(), Announce(), StaticNeigh(), L3sProxy())
"""What a setting chooses one of; the later ones cost less, in the words of `explain`."""

BY_NAME = {strategy.name: strategy for strategy in STRATEGIES}
HOST_SHIM = HostShim()
"""What a setting may have beside its strategy."""
