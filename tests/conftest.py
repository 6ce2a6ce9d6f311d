"""Hypothesis profiles: `fast`, the default, `quick`, for ./scripts/test --fast, and `thorough`.

HYPOTHESIS_PROFILE=thorough chooses one.
"""

import os

from hypothesis import HealthCheck, Phase, settings

settings.register_profile(
    "fast",
    deadline=None,
    max_examples=30,
    phases=[phase for phase in Phase if phase is not Phase.explain],
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("quick", settings.get_profile("fast"), max_examples=12)
settings.register_profile("thorough", settings.get_profile("fast"), max_examples=1000, phases=list(Phase))
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))
