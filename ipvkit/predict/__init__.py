"""The rules of ipvlan: who reaches whom, and why."""

from ipvkit.predict.predictions import Prediction, after, next_phase, predict, predict_attempt
from ipvkit.predict.whole import PredictedAct, PredictedPhase, Probe, predict_lab
from ipvkit.predict.world import FAST_TIMERS, KERNEL_TIMERS, State, Timers, world_of

__all__ = ["FAST_TIMERS", "KERNEL_TIMERS", "PredictedAct", "PredictedPhase", "Prediction", "Probe", "State"]
__all__ += ["Timers", "after", "next_phase", "predict", "predict_attempt", "predict_lab", "world_of"]
