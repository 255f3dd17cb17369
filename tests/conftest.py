"""Hypothesis profiles: `ci` is the default and repeats itself; HYPOTHESIS_PROFILE=thorough searches anew each time."""

import os

from hypothesis import HealthCheck, settings

# Drawing an array of Fractions is slow by nature, not by mistake.
_slow = [HealthCheck.too_slow, HealthCheck.data_too_large]

settings.register_profile("ci", max_examples=40, derandomize=True, deadline=None, suppress_health_check=_slow)
settings.register_profile("thorough", max_examples=1000, deadline=None, suppress_health_check=_slow)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))
