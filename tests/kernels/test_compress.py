"""Lossless coding: all kernels write the same streams, and give the image back to the last bit."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsguard.kernels import native, reference
from dsguard.kernels.reference.sealed.model import error_of, extra_bits, models, symbol_of
from tests.kernels.sets import kernel_sets

FILLS = ["noise", "flat", "gray", "two values", "gradient", "smooth"]


def filled(kind: str, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    count, height, width, channels = shape
    y, x = np.mgrid[:height, :width]
    ramp = ((3 * x + 5 * y) % 256)[None, :, :, None]
    image = {
        "noise": lambda: rng.integers(0, 256, shape),
        "flat": lambda: np.broadcast_to(rng.integers(0, 256, (count, 1, 1, channels)), shape),
        "gray": lambda: np.broadcast_to(rng.integers(0, 256, (*shape[:3], 1)), shape),
        "two values": lambda: rng.choice([0, 255], shape),
        "gradient": lambda: np.broadcast_to(ramp, shape),
        "smooth": lambda: np.clip(ramp + rng.integers(-3, 4, shape), 0, 255),
    }[kind]()
    return np.ascontiguousarray(image, np.uint8)


def streams(data: np.ndarray, lengths: np.ndarray) -> list[bytes]:
    return [row[:length].tobytes() for row, length in zip(data, lengths, strict=True)]


@settings(max_examples=40, deadline=None)
@given(
    kind=st.sampled_from(FILLS),
    height=st.integers(1, 12),
    width=st.integers(1, 12),
    channels=st.sampled_from([1, 3, 4]),
    count=st.integers(0, 3),
    seed=st.integers(0, 2**32 - 1),
)
def test_all_kernels_write_the_same_streams_and_read_them(
    kind, height, width, channels, count, seed
):
    images = filled(kind, (count, height, width, channels), np.random.default_rng(seed))
    expected = streams(*reference.compress(images))
    for run in kernel_sets():
        data, lengths = run.compress(images)
        assert streams(data, lengths) == expected, run.__name__
    for run in (reference, *kernel_sets()):
        back, malformed = run.expand(data, lengths, images.shape[1:])
        assert not malformed.any(), run.__name__
        np.testing.assert_array_equal(back, images, run.__name__)


@settings(max_examples=60, deadline=None)
@given(
    stream=st.binary(max_size=200),
    shape=st.tuples(st.integers(1, 6), st.integers(1, 6), st.sampled_from([1, 3, 4])),
    constant=st.integers(0, 15),
)
def test_any_bytes_are_decoded_alike(stream, shape, constant):
    data = np.frombuffer(bytes([constant]) + stream, np.uint8)[None].copy()
    lengths = np.array([data.shape[1]], np.uint32)
    image, malformed = reference.expand(data, lengths, shape)
    for run in kernel_sets():
        found, wrong = run.expand(data, lengths, shape)
        assert wrong.tolist() == malformed.tolist(), run.__name__
        assert malformed[0] or (found == image).all(), run.__name__


def test_what_is_cut_off_or_goes_on_is_malformed(scenes):
    data, lengths = native.compress(scenes[:1])
    length = int(lengths[0])
    longer = np.concatenate([data[:, :length], np.zeros((1, 3), np.uint8)], axis=1)
    for run in (reference, *kernel_sets()):
        for size in (*range(14), length - 2, length - 1, length + 1, length + 2):
            given_lengths = np.array([size], np.uint32)
            _, malformed = run.expand(longer, given_lengths, scenes.shape[1:])
            assert malformed[0], (run.__name__, size)


def test_streams_of_damaged_and_whole_images_side_by_side(scenes):
    images = scenes[:5]
    data, lengths = native.compress(images)
    data[1, 0] = 255
    data[4, 3:9] ^= 255
    back, malformed = native.expand(data, lengths, images.shape[1:])
    assert malformed.tolist() == [False, True, False, False, True]
    np.testing.assert_array_equal(back[[0, 2, 3]], images[[0, 2, 3]])


def test_photographs_take_less_than_half(scenes):
    pictures = pytest.importorskip("sklearn.datasets").load_sample_images().images
    for picture in pictures:
        _, lengths = native.compress(picture[None])
        assert lengths[0] < picture.size / 2


def test_errors_and_symbols():
    for error in range(-128, 128):
        symbol, bits, extra = symbol_of(error)
        assert (extra_bits(symbol), error_of(symbol, extra)) == (bits, error)
    for model in models():
        frequencies = np.diff(model.starts, axis=1)
        assert frequencies.min() >= 1
        assert (frequencies.sum(axis=1) == 4096).all()
        assert max(model.contexts) < len(model.starts)


def test_streams_of_the_document():
    """An image of one row, and one of one column: no other has so little around its samples."""
    from tests.data.make_sealed import clean

    text = (Path(__file__).parents[2] / "docs" / "format.md").read_text(encoding="utf-8")
    whole = clean("colour")
    for image in (whole[:1, :9], whole[:9, :1]):
        for run in (reference, *kernel_sets()):
            data, lengths = run.compress(np.ascontiguousarray(image)[None])
            assert hashlib.sha256(data[0, : lengths[0]]).hexdigest() in text, run.__name__
