"""Mutated datasets of every format: a result or one clear error, and nothing else.

A few of each run here; `tests/fuzz/run.py` runs any number. ``DSGUARD_FUZZ_EXAMPLES=1000`` tries
more of each here as well, others every time.
"""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz import EXAMPLES
from tests.fuzz.seeds import all_seeds
from tests.fuzz.trial import try_files, try_mutated

SEEDS = {seed.kind: seed for seed in all_seeds()}


@pytest.mark.parametrize("kind", SEEDS)
def test_a_dataset_that_was_not_mutated_is_done(kind, tmp_path):
    outcome = try_files(SEEDS[kind].files, SEEDS[kind], Random(0), tmp_path / "base")
    assert outcome.status == "done", outcome.detail


@pytest.mark.parametrize("kind", SEEDS)
def test_mutated_datasets(kind, tmp_path):
    @EXAMPLES
    @given(number=st.integers(0, 1 << 32))
    def one(number):
        outcome = try_mutated(SEEDS[kind], number, 0, tmp_path / "base")
        assert outcome.status != "fault", outcome.detail

    one()
