"""The rules of ipvlan: who reaches whom, and why.

`world` makes of a lab's phase the hosts, links and routes that there are then; `path` follows a packet
through them, hop by hop, by the rules of the kernel; `memory` is what an act leaves for the next one,
above all in the neighbour tables of others; `predictions` makes outcomes and reasons of it, and `whole` does
so for each act of a lab.
"""

from ipvkit.predict.memory import FAST_TIMERS, KERNEL_TIMERS, State, Timers
from ipvkit.predict.path import Hop
from ipvkit.predict.predictions import Prediction, after, next_phase, predict, predict_attempt
from ipvkit.predict.whole import Asked, PredictedAct, PredictedPhase, predict_lab
from ipvkit.predict.world import World, world_of

__all__ = [
    "FAST_TIMERS",
    "KERNEL_TIMERS",
    "Asked",
    "Hop",
    "PredictedAct",
    "PredictedPhase",
    "Prediction",
    "State",
    "Timers",
    "World",
    "after",
    "next_phase",
    "predict",
    "predict_attempt",
    "predict_lab",
    "world_of",
]
