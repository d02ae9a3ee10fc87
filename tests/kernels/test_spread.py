"""Payloads in low bits: all kernels move samples alike, to the nearest value, and read them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsguard.errors import InputError
from dsguard.kernels import native, reference
from tests.kernels.sets import kernel_sets

MASKS = [0, *((1 << k) - 1 for k in range(1, 9)), *((1 << k) - 2 for k in range(2, 9))]


def places_in(masks: np.ndarray) -> int:
    return int(np.unpackbits(masks).sum())


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 9), st.integers(1, 40), st.sampled_from([1, 3, 4])),
    count=st.integers(0, 3),
    short=st.integers(0, 20),
    seed=st.integers(0, 2**32 - 1),
)
def test_all_kernels_spread_alike_and_gather(shape, count, short, seed):
    rng = np.random.default_rng(seed)
    masks = rng.choice(np.array(MASKS, np.uint8), shape)
    covers = rng.choice(np.array([0, 1, 127, 128, 254, 255, 200], np.uint8), (count, *shape))
    size = max(0, places_in(masks) // 8 - short)
    payloads = rng.integers(0, 256, (count, size), np.uint8)
    expected = covers.copy()
    reference.spread(expected, payloads, masks)
    for run in kernel_sets():
        made = covers.copy()
        run.spread(made, payloads, masks)
        np.testing.assert_array_equal(made, expected, run.__name__)
    for run in (*kernel_sets(), reference):
        gathered = run.gather(expected, size, masks)
        np.testing.assert_array_equal(gathered, payloads, run.__name__)
        assert gathered.flags.c_contiguous


def test_no_value_is_nearer():
    values = np.arange(256)
    for mask in MASKS:
        low = mask | 1 if mask else 0
        for said in range(0, low + 1, 1 if mask & 1 or not mask else 2):
            image = np.arange(256, dtype=np.uint8).reshape(1, 1, 256, 1)
            masks = np.full(image.shape[1:], mask, np.uint8)
            bits = [[said >> place & 1 for place in range(8) if mask >> place & 1]] * 256
            payload = np.packbits(np.array(bits, np.uint8).ravel(), bitorder="little")[None]
            native.spread(image, payload, masks)
            found = image.ravel().astype(int)
            assert (found & low == said).all()
            candidates = values[values & low == said]
            nearest = np.abs(candidates - values[:, None]).min(axis=1)
            if mask:
                np.testing.assert_array_equal(np.abs(found - values), nearest)
            else:
                np.testing.assert_array_equal(found, values)


def test_bits_that_are_left_over_are_zero():
    image = np.full((1, 1, 5, 1), 255, np.uint8)
    masks = np.full((1, 5, 1), 7, np.uint8)
    native.spread(image, np.array([[255]], np.uint8), masks)
    assert (image.ravel() & 7).tolist() == [7, 7, 3, 0, 0]


def test_masks_of_other_bits_and_payloads_without_room_are_refused():
    image, payload = np.zeros((1, 2, 2, 1), np.uint8), np.zeros((1, 1), np.uint8)
    for wrong in (4, 5, 6 | 16, 0x80):
        with pytest.raises(InputError, match="geometry"):
            native.spread(image, payload, np.full((2, 2, 1), wrong, np.uint8))
    with pytest.raises(InputError, match="longer"):
        native.spread(image, payload, np.full((2, 2, 1), 1, np.uint8))
    with pytest.raises(InputError, match="longer"):
        native.gather(image, 1, np.full((2, 2, 1), 1, np.uint8))
    with pytest.raises(InputError, match="shape"):
        native.spread(image, payload, np.full((2, 3, 1), 255, np.uint8))
