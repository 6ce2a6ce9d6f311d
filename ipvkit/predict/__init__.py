"""The rules of ipvlan: who reaches whom, and why."""

from ipvkit.predict.memory import FAST_TIMERS as FAST_TIMERS
from ipvkit.predict.memory import KERNEL_TIMERS as KERNEL_TIMERS
from ipvkit.predict.memory import State as State
from ipvkit.predict.memory import Timers as Timers
from ipvkit.predict.predictions import Prediction as Prediction
from ipvkit.predict.predictions import after as after
from ipvkit.predict.predictions import next_phase as next_phase
from ipvkit.predict.predictions import predict as predict
from ipvkit.predict.predictions import predict_attempt as predict_attempt
from ipvkit.predict.whole import Asked as Asked
from ipvkit.predict.whole import PredictedAct as PredictedAct
from ipvkit.predict.whole import PredictedPhase as PredictedPhase
from ipvkit.predict.whole import predict_lab as predict_lab
from ipvkit.predict.world import world_of as world_of
