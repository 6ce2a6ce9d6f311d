"""Hypothesis profiles: `fast`, the default, and `thorough`, chosen with HYPOTHESIS_PROFILE=thorough."""

import os

from hypothesis import HealthCheck, Phase, settings

settings.register_profile(
    "fast",
    deadline=None,
    max_examples=30,
    phases=[phase for phase in Phase if phase is not Phase.explain],
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("thorough", settings.get_profile("fast"), max_examples=1000, phases=list(Phase))
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))
