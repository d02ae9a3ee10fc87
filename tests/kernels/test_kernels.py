"""All sets of kernels give the same bits, and the inverse gives the image back."""

from __future__ import annotations

import dataclasses
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsguard import InputError
from dsguard.kernels import native, numba, reference
from dsguard.kernels.geometry import Geometry
from tests.kernels.sets import ISAS, kernel_sets

FILLS = ["noise", "constant", "saturated", "checkerboard", "gradient", "few levels", "one block"]


def fill(kind: str, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    n, h, w, c = shape
    y, x = np.mgrid[:h, :w]
    if kind == "constant":
        image = np.full(shape, rng.integers(0, 256))
    elif kind == "saturated":
        image = rng.choice([0, 255], shape)
    elif kind == "checkerboard":
        image = np.broadcast_to(((x + y) % 2 * 255)[None, :, :, None], shape)
    elif kind == "gradient":
        image = np.broadcast_to(((x * 7 + y * 3) % 256)[None, :, :, None], shape)
    elif kind == "few levels":
        image = rng.integers(100, 102, shape)
    elif kind == "one block":
        image = np.tile(rng.integers(0, 256, (1, 4, 4, 1)), (n, h // 4 + 1, w // 4 + 1, c))
        image = image[:, :h, :w]
    else:
        image = rng.integers(0, 256, shape)
    return np.ascontiguousarray(image, dtype=np.uint8)


geometries = st.builds(
    Geometry,
    height=st.integers(8, 40),
    width=st.integers(8, 40) | st.sampled_from([64, 67, 72, 130]),
    channels=st.sampled_from([1, 3, 4]),
    planes=st.sampled_from([1, 2]),
)


@given(geometries, st.sampled_from(FILLS), st.sampled_from(FILLS), st.integers(0, 2**32 - 1))
def test_all_sets_equal_the_reference(geometry, clean_fill, target_fill, seed):
    rng = np.random.default_rng(seed)
    shape = (2, geometry.height, geometry.width, geometry.channels)
    clean, target = fill(clean_fill, shape, rng), fill(target_fill, shape, rng)
    temporary, sequences = reference.transform(clean, target, geometry)
    size = geometry.capacity_bits // 8
    payload = rng.integers(0, 256, (2, int(rng.integers(0, size + 1))), dtype=np.uint8)
    embedded = temporary.copy()
    reference.embed(embedded, payload, geometry)
    restored, malformed = reference.invert(embedded, sequences, geometry)
    assert not malformed.any()
    for kernels in kernel_sets():
        ours, our_sequences = kernels.transform(clean, target, geometry)
        np.testing.assert_array_equal(ours, temporary)
        np.testing.assert_array_equal(our_sequences, sequences)
        kernels.embed(ours, payload, geometry)
        np.testing.assert_array_equal(ours, embedded)
        np.testing.assert_array_equal(kernels.extract(ours, payload.shape[1], geometry), payload)
        back, malformed = kernels.invert(ours, sequences, geometry)
        assert not malformed.any()
        np.testing.assert_array_equal(back, restored)
        shared = temporary.copy()
        kernels.embed(shared, payload[0], geometry)
        np.testing.assert_array_equal(shared[0], embedded[0])
    lost = (1 << geometry.planes) - 1
    np.testing.assert_array_equal(restored | lost, clean | lost)
    np.testing.assert_array_equal(reference.extract(embedded, payload.shape[1], geometry), payload)


@given(geometries, st.integers(0, 2**32 - 1))
def test_inverse_is_exact_before_embedding(geometry, seed):
    rng = np.random.default_rng(seed)
    shape = (1, geometry.height, geometry.width, geometry.channels)
    clean, target = rng.integers(0, 256, (2, *shape), dtype=np.uint8)
    for kernels in (*kernel_sets(), reference):
        temporary, sequences = kernels.transform(clean, target, geometry)
        back, _ = kernels.invert(temporary, sequences, geometry)
        np.testing.assert_array_equal(back, clean)


@pytest.mark.parametrize(
    "kernels", [native, numba, reference], ids=["native", "numba", "reference"]
)
def test_margins_and_alpha_stay_clean(kernels):
    geometry = Geometry(height=34, width=43, channels=4, planes=2)
    rng = np.random.default_rng(1)
    clean, target = rng.integers(0, 256, (2, 1, 34, 43, 4), dtype=np.uint8)
    out, _ = kernels.transform(clean, target, geometry)
    kernels.embed(out, np.full(geometry.capacity_bits // 8, 0xA5, np.uint8), geometry)
    np.testing.assert_array_equal(out[..., 3], clean[..., 3])
    np.testing.assert_array_equal(out[:, 32:], clean[:, 32:])
    np.testing.assert_array_equal(out[:, :, 40:], clean[:, :, 40:])
    assert (out[:, :32, :40, :3] != clean[:, :32, :40, :3]).any()


@given(geometries, st.integers(0, 2**32 - 1))
def test_arbitrary_sequences_are_inverted_alike_or_malformed_alike(geometry, seed):
    rng = np.random.default_rng(seed)
    images = rng.integers(
        0, 256, (3, geometry.height, geometry.width, geometry.channels), dtype=np.uint8
    )
    sequences = rng.integers(0, 256, (3, geometry.sequence_bytes), dtype=np.uint8)
    sequences[0] = 0
    expected, bad = reference.invert(images, sequences, geometry)
    assert not bad[0]
    for kernels in kernel_sets():
        ours, malformed = kernels.invert(images, sequences, geometry)
        np.testing.assert_array_equal(malformed, bad)
        np.testing.assert_array_equal(ours[~bad], expected[~bad])


def test_the_first_of_equal_rotations_and_raster_order_win():
    geometry = Geometry(height=8, width=8, channels=1, planes=1)
    flat = np.full((1, 8, 8, 1), 9, np.uint8)
    for kernels in (*kernel_sets(), reference):
        temporary, sequences = kernels.transform(flat, flat, geometry)
        np.testing.assert_array_equal(temporary, flat)
        # Identity: digit i of the pairing is i, that is 1, 2, 3 in 1, 2 and 2 bits; the rest is 0.
        assert sequences.tobytes() == bytes([0b11101, 0, 0, 0, 0, 0])


def smooth(shape, rng):
    """Images as hiding likes them: slopes with a little noise."""
    n, h, w, c = shape
    y, x = np.mgrid[:h, :w]
    slope = rng.normal(0, 4, (2, n, 1, 1, c))
    image = 128 + slope[0] * (x - w / 2)[..., None] + slope[1] * (y - h / 2)[..., None]
    return np.clip(image + rng.normal(0, 2, shape), 0, 255).astype(np.uint8)


@given(
    geometries,
    st.sampled_from([2, 4, 8]),
    st.sampled_from([*FILLS, "smooth"]),
    st.sampled_from([*FILLS, "near", "far"]),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=60)
def test_exact_kernels_equal_the_reference(geometry, block, clean_fill, target_fill, seed):
    rng = np.random.default_rng(seed)
    geometry = dataclasses.replace(geometry, width=min(geometry.width, 40), planes=1)
    shape = (1, geometry.height, geometry.width, geometry.channels)
    clean = smooth(shape, rng) if clean_fill == "smooth" else fill(clean_fill, shape, rng)
    if target_fill in FILLS:
        target = fill(target_fill, shape, rng)
    else:
        steps = rng.integers(-16, 17, shape) * (1 if target_fill == "near" else 6)
        target = np.clip(clean.astype(int) + steps, 0, 255).astype(np.uint8)
    use = {"coarse": bool(seed % 3 == 0)}
    temporary, sequences, lengths, modes = reference.encode(clean, target, geometry, block, **use)
    size = int(rng.integers(0, clean.size // 20 + 2))
    payload = rng.integers(0, 256, (1, size), dtype=np.uint8)
    sizes = np.array([size], np.uint32)
    expected = reference.hide(temporary, payload, sizes, modes, geometry)
    hidden, chosen, thresholds, failed = expected
    if not failed[0]:
        back, read, wrong = reference.reveal(hidden, chosen, thresholds, sizes, geometry)
        assert not wrong[0]
        np.testing.assert_array_equal(back, temporary)
        np.testing.assert_array_equal(read, payload)
    back, malformed = reference.decode(temporary, modes, sequences, lengths, geometry)
    assert not malformed[0]
    np.testing.assert_array_equal(back, clean)
    for kernels in kernel_sets():
        ours, rows, ends, kinds = kernels.encode(clean, target, geometry, block, **use)
        np.testing.assert_array_equal(ours, temporary)
        np.testing.assert_array_equal((ends, kinds), (lengths, modes))
        np.testing.assert_array_equal(rows[0, : ends[0]], sequences[0, : lengths[0]])
        back, malformed = kernels.decode(ours, kinds, rows, ends, geometry)
        assert not malformed[0]
        np.testing.assert_array_equal(back, clean)
        results = kernels.hide(temporary, payload, sizes, modes, geometry)
        for ours, wanted in zip(results, expected, strict=True):
            np.testing.assert_array_equal(ours, wanted)
        if not failed[0]:
            back, read, wrong = kernels.reveal(hidden, chosen, thresholds, sizes, geometry)
            assert not wrong[0]
            np.testing.assert_array_equal(back, temporary)
            np.testing.assert_array_equal(read[:, :size], payload)


@given(geometries, st.integers(0, 39), st.integers(0, 100), st.integers(0, 2**32 - 1))
def test_arbitrary_bytes_are_decoded_and_revealed_alike(geometry, mode, size, seed):
    rng = np.random.default_rng(seed)
    geometry = dataclasses.replace(geometry, width=min(geometry.width, 40), planes=1)
    shape = (1, geometry.height, geometry.width, geometry.channels)
    images = smooth(shape, rng) if seed % 2 else rng.integers(0, 256, shape, dtype=np.uint8)
    sequence = rng.integers(0, 256, (1, size), dtype=np.uint8)
    thresholds = rng.integers(0, 17, (1, 8), dtype=np.uint8)
    modes, sizes = np.array([mode], np.uint8), np.array([size], np.uint32)
    decoded = reference.decode(images, modes, sequence, sizes, geometry)
    revealed = reference.reveal(images, modes, thresholds, sizes, geometry)
    for kernels in kernel_sets():
        ours = kernels.decode(images, modes, sequence, sizes, geometry)
        assert ours[1] == decoded[1]
        if not decoded[1][0]:
            np.testing.assert_array_equal(ours[0], decoded[0])
        ours = kernels.reveal(images, modes, thresholds, sizes, geometry)
        assert ours[2] == revealed[2]
        if not revealed[2][0]:
            np.testing.assert_array_equal(ours[0], revealed[0])
            np.testing.assert_array_equal(ours[1][:, :size], revealed[1])


def test_the_best_instruction_set_of_this_machine_is_chosen():
    flags = Path("/proc/cpuinfo")
    if not flags.exists():
        pytest.skip("this system does not list the features of its CPU")
    has = set(flags.read_text().split())
    native.set_isa(None)
    if platform.machine() == "x86_64":
        best = "avx512" if {"avx512bw", "avx512vl", "avx512dq", "bmi2"} <= has else "avx2"
        assert native.isa() == (best if {"avx2", "bmi2"} <= has else "scalar")
    elif platform.machine() == "aarch64":
        assert native.isa() == "neon"


def test_native_refuses_wrong_buffers():
    geometry = Geometry(height=8, width=8, channels=1, planes=1)
    good = np.zeros((1, 8, 8, 1), np.uint8)
    with pytest.raises(InputError, match="shape"):
        native.transform(good, good[:, :4], geometry)
    with pytest.raises(InputError, match="got int16"):
        native.extract(good.astype(np.int16), 1, geometry)
    with pytest.raises(InputError, match="longer than"):
        native.extract(good, 9, geometry)
    with pytest.raises(InputError, match="instruction set"):
        native.set_isa("z80")
    with pytest.raises(InputError, match="geometry"):
        native.extract(good, 1, Geometry(8, 8, 1, planes=3))
    read_only = good.copy()
    read_only.setflags(write=False)
    with pytest.raises(InputError, match="read-only"):
        native.embed(read_only, np.zeros(4, np.uint8), geometry)
    with pytest.raises(InputError, match="C-contiguous"):
        native.extract(np.zeros((1, 8, 16, 1), np.uint8)[:, :, ::2], 4, geometry)
    assert native.isa() in ISAS


@pytest.mark.parametrize("before", ["", "import numba; "])
def test_a_configuration_of_numba_in_the_current_folder_is_refused(tmp_path, before):
    """It can name a cache, whose pickles Numba loads; it is read again with each compilation."""
    (tmp_path / ".numba_config.yaml").write_text("cache_dir: here")
    code = before + "import dsguard; dsguard.set_backend('numba')"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "MissingExtraError" in done.stderr
    assert "has a .numba_config.yaml" in done.stderr
