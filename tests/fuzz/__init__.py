"""Fuzzing of all that reads what others have written."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

_WANTED = int(os.environ.get("DSGUARD_FUZZ_EXAMPLES", "0"))

EXAMPLES = settings(
    max_examples=_WANTED or 12,
    derandomize=not _WANTED,  # as a rule the same every time
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
"""How many examples a test tries: few, the same ones every time; or as many as were asked for."""
