"""Hypothesis profiles: `default` for every run (the same examples each time), `long` by HEADRACE_PROPERTY=long."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

_SLOW_IS_FINE = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example)

settings.register_profile(
    "default",
    max_examples=50,
    deadline=None,
    derandomize=True,
    print_blob=True,
    database=None,
    suppress_health_check=_SLOW_IS_FINE,
)
settings.register_profile(
    "long", settings.get_profile("default"), max_examples=2_000, derandomize=False, print_blob=True
)
settings.load_profile(os.environ.get("HEADRACE_PROPERTY", "default"))
