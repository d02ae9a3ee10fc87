"""protect_batch, restore_batch and inspect, as their users call them."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import tracemalloc
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dsguard
from dsguard import Status
from dsguard.envelope import HEADER_BYTES, OVERHEAD_BYTES, Header
from dsguard.envelope.header import _checksum
from dsguard.kernels import native
from dsguard.mrit import Geometry, plan


def nearby(images, epsilon=8, seed=0):
    rng = np.random.default_rng(seed)
    noise = rng.integers(-epsilon, epsilon + 1, images.shape)
    return np.clip(images.astype(int) + noise, 0, 255).astype(np.uint8)


def difference(a, b):
    return int(np.abs(a.astype(int) - b.astype(int)).max())


@given(
    st.integers(8, 45),
    st.integers(8, 45),
    st.sampled_from([None, 1, 3, 4]),
    st.integers(0, 2**32 - 1),
)
def test_round_trip(height, width, channels, seed):
    rng = np.random.default_rng(seed)
    shape = (2, height, width) + (() if channels is None else (channels,))
    clean, target = rng.integers(0, 256, (2, *shape), dtype=np.uint8)
    key = dsguard.DatasetKey(bytes(32))
    samples = height // 4 * 4 * (width // 4 * 4) * min(channels or 1, 3)
    if samples < 800:  # may be too small, which other tests look at
        return
    out = dsguard.protect_batch(clean, key, target=target)
    assert out.images.shape == shape
    assert out.status == [Status.OK] * 2
    assert not out.sidecars
    planes = dsguard.inspect(out.images[0]).planes
    back = dsguard.restore_batch(out.images, key)
    assert difference(back, clean) <= planes
    again = dsguard.protect_batch(clean, key, target=target)
    np.testing.assert_array_equal(again.images, out.images)


def test_one_plane_holds_a_cifar_image(cifar, key):
    clean, _ = cifar
    target = nearby(clean)
    out = dsguard.protect_batch(clean, key, target=target)
    info = dsguard.inspect(out.images[0])
    assert (info.planes, info.profile, info.key_id) == (1, "paper", key.key_id)
    assert info.payload_bits <= 32 * 32 * 3
    assert difference(dsguard.restore_batch(out.images, key), clean) <= 1


def test_the_smallest_images_fit_or_say_what_they_lack(key):
    colour = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 3), dtype=np.uint8)
    out = dsguard.protect_batch(colour, key, target=colour)
    assert dsguard.inspect(out.images[0]).planes == 2
    assert difference(dsguard.restore_batch(out.images, key), colour) <= 2
    with pytest.raises(dsguard.CapacityError, match="needs 312 payload bits and can carry 128"):
        dsguard.protect_batch(colour[..., 0], key, target=colour[..., 0])


def planes_of(side, channels):
    try:
        return plan(side, side, channels, dsguard.Profile.named("paper"), OVERHEAD_BYTES).planes
    except dsguard.CapacityError:
        return 0


def test_the_planes_of_square_images_are_those_of_the_readme():
    assert [planes_of(side, 3) for side in (8, 23, 24, 32, 64)] == [2, 2, 1, 1, 1]
    assert [planes_of(side, 1) for side in (8, 15, 16, 39, 40, 64)] == [0, 0, 2, 2, 1, 1]


def test_restored_images_resemble_neither_more_nor_less_than_promised(scenes, key):
    out = dsguard.protect_batch(scenes, key, target=scenes[::-1].copy())
    assert difference(out.images, scenes) > 50, "hidden in another image, it must look different"
    used = dsguard.inspect(out.images[0]).payload_bits
    back = dsguard.restore_batch(out.images, key).reshape(len(scenes), -1)
    assert 0.3 < (back != scenes.reshape(len(scenes), -1)).mean() < 0.6 * used / 3072


def test_subsets_orders_and_batches_restore_alike(scenes, key):
    out = dsguard.protect_batch(scenes, key, target=nearby(scenes)).images
    back = dsguard.restore_batch(out, key)
    np.testing.assert_array_equal(dsguard.restore_batch(out[::-2], key), back[::-2])
    np.testing.assert_array_equal(dsguard.restore_batch(out[3:4], key), back[3:4])


def test_slices_do_not_show(scenes, key, monkeypatch):
    whole = dsguard.protect_batch(scenes, key, target=nearby(scenes)).images
    monkeypatch.setattr("dsguard.slices._SLICE_BYTES", 3 * scenes[0].nbytes)
    parts = dsguard.protect_batch(scenes, key, target=nearby(scenes)).images
    np.testing.assert_array_equal(parts, whole)
    broken = whole.copy()
    broken[4, 31, 31, 2] ^= 0x80
    with pytest.raises(dsguard.TamperedError, match="image 4:") as caught:
        dsguard.restore_batch(broken, key)
    assert caught.value.index == 4


@pytest.mark.parametrize("name", ["native", "numba"])
def test_backends_agree_end_to_end(scenes, key, backend, name):
    target = nearby(scenes)
    results = []
    for chosen in (name, "reference"):
        backend(chosen)
        assert dsguard.get_backend() == chosen
        out = dsguard.protect_batch(scenes, key, target=target).images
        results.append((out, dsguard.restore_batch(out, key)))
    np.testing.assert_array_equal(results[0][0], results[1][0])
    np.testing.assert_array_equal(results[0][1], results[1][1])


def test_a_backend_is_chosen_by_call_variable_or_what_is_there(backend, monkeypatch):
    assert dsguard.get_backend() == "native"
    monkeypatch.setenv("DSGUARD_BACKEND", "reference")
    assert dsguard.get_backend() == "reference"
    backend("numba")
    assert dsguard.get_backend() == "numba"
    for unknown in ("fortran", []):
        with pytest.raises(dsguard.InputError, match="the backends are: native, numba, reference"):
            backend(unknown)
    monkeypatch.setenv("DSGUARD_BACKEND", "fortran")
    backend(None)
    with pytest.raises(dsguard.InputError, match="there is no backend 'fortran'"):
        dsguard.inspect(np.zeros((32, 32), np.uint8))


@pytest.mark.parametrize(
    ("missing", "name", "warning"),
    [("dsguard._core", "numba", ""), ("dsguard._core numba", "reference", "plain NumPy")],
)
def test_without_the_extension_the_next_best_serves(missing, name, warning):
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({missing.split()!r}));"
        "import numpy, dsguard; print(dsguard.get_backend());"
        "image = numpy.zeros((1, 32, 32, 3), numpy.uint8); key = dsguard.DatasetKey(bytes(32));"
        "dsguard.restore_batch(dsguard.protect_batch(image, key, target=image).images, key)"
    )
    command = [sys.executable, "-c", code]
    shown = subprocess.run(command, capture_output=True, text=True, check=True)
    assert shown.stdout == name + "\n"
    assert warning in shown.stderr
    assert shown.stderr.count("RuntimeWarning") == bool(warning)


def test_each_failure_has_its_own_status(scenes, key):
    out = dsguard.protect_batch(scenes, key, target=nearby(scenes)).images.copy()
    other = dsguard.DatasetKey.generate()
    out[1] = scenes[1]
    out[2] = dsguard.protect_batch(scenes[2:3], other, target=scenes[2:3]).images[0]
    out[3, 20, 20, 0] ^= 1
    newer = Header(dsguard.Profile.named("paper"), 1, bytes(6), 337, version=9).pack()
    geometry = Geometry(32, 32, 3, 1)
    native.embed(out[4:5], np.frombuffer(newer, np.uint8), geometry)
    unknown = bytearray(Header(dsguard.Profile.named("paper"), 1, bytes(6), 337).pack())
    unknown[5] = 63
    unknown[-2:] = _checksum(bytes(unknown))
    native.embed(out[5:6], np.frombuffer(bytes(unknown), np.uint8), geometry)
    report = dsguard.restore_batch(out, key, on_error="report")
    assert report.status == [
        Status.OK,
        Status.NOT_PROTECTED,
        Status.WRONG_KEY,
        Status.TAMPERED,
        Status.UNKNOWN_FORMAT,
        Status.UNKNOWN_FORMAT,
        Status.OK,
        Status.OK,
    ]
    assert not report.images[1:6].any(), "what was not restored must not pass for an image"
    assert difference(report.images[6:], scenes[6:]) <= 1
    assert [error.index for error in report.errors.values()] == [1, 2, 3, 4, 5]
    expected = [
        dsguard.NotProtectedError,
        dsguard.WrongKeyError,
        dsguard.TamperedError,
        dsguard.FormatError,
        dsguard.FormatError,
    ]
    for index, error in zip(range(1, 6), expected, strict=True):
        with pytest.raises(error, match=r"image 0:"):
            dsguard.restore_batch(out[index : index + 1], key)


@given(st.integers(0, 32 * 32 * 3 * 8 - 1))
def test_any_flipped_bit_is_noticed(bit):
    rng = np.random.default_rng(7)
    clean = rng.integers(0, 256, (1, 32, 32, 3), dtype=np.uint8)
    key = dsguard.DatasetKey(bytes(32))
    out = dsguard.protect_batch(clean, key, target=clean).images
    out.reshape(-1)[bit // 8] ^= 1 << bit % 8
    with pytest.raises(dsguard.TamperedError):
        dsguard.restore_batch(out, key)


def test_every_payload_bit_is_noticed(key):
    clean = np.random.default_rng(3).integers(0, 256, (1, 16, 16, 3), dtype=np.uint8)
    out = dsguard.protect_batch(clean, key, target=clean).images
    info = dsguard.inspect(out[0])
    broken = np.repeat(out, info.payload_bits, axis=0)
    flat = broken.reshape(len(broken), -1)
    for bit in range(info.payload_bits):
        plane, sample = divmod(bit, flat.shape[1])
        flat[bit, sample] ^= 1 << plane
    report = dsguard.restore_batch(broken, key, on_error="report")
    assert set(report.status) == {Status.TAMPERED}


def test_geometry_changes_are_noticed(key):
    clean = np.random.default_rng(3).integers(0, 256, (1, 32, 48, 3), dtype=np.uint8)
    out = dsguard.protect_batch(clean, key, target=clean).images
    reshaped = out.reshape(1, 16, 96, 3)
    for changed in (reshaped, out[:, :, :40], out[:, :24]):
        with pytest.raises(dsguard.TamperedError):
            dsguard.restore_batch(changed, key)
    dropped = np.concatenate([out, out[..., :1]], axis=3)
    with pytest.raises(dsguard.TamperedError):
        dsguard.restore_batch(dropped, key)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((2, 32, 32, 3), np.float32), "expected dtype uint8"),
        (np.zeros((32, 32), np.uint8), r"expected shape \(N, H, W, C\)"),
        (np.zeros((2, 32, 32, 2), np.uint8), "1, 3 or 4 channels"),
        (np.zeros((2, 7, 32, 3), np.uint8), "8 to 65535"),
        ([[1, 2]], "expected a NumPy array, got list"),
    ],
)
def test_bad_images_are_refused(images, message, key):
    with pytest.raises(dsguard.InputError, match=message):
        dsguard.protect_batch(images, key, target=images)
    with pytest.raises(dsguard.InputError, match=message):
        dsguard.restore_batch(images, key)


def test_bad_arguments_are_refused(scenes, key):
    with pytest.raises(dsguard.InputError, match="give target"):
        dsguard.protect_batch(scenes, key)
    with pytest.raises(dsguard.InputError, match="not both"):
        dsguard.protect_batch(scenes, key, target=scenes, labels=[0] * 8)
    with pytest.raises(dsguard.InputError, match="target has the shape"):
        dsguard.protect_batch(scenes, key, target=scenes[:4])
    with pytest.raises(dsguard.InputError, match="no profile 'papre'; the profiles are: paper"):
        dsguard.protect_batch(scenes, key, target=scenes, profile="papre")
    unknown = dataclasses.replace(dsguard.Profile.named("paper"), code=2)
    with pytest.raises(dsguard.InputError, match="there is no profile"):
        dsguard.protect_batch(scenes, key, target=scenes, profile=unknown)
    for use in (dsguard.restore_batch, partial(dsguard.protect_batch, target=scenes)):
        with pytest.raises(dsguard.InputError, match="expected a DatasetKey, got str"):
            use(scenes, "dataset.key")
        with pytest.raises(dsguard.InputError, match="threads is a whole number"):
            use(scenes, key, threads=0)
    with pytest.raises(dsguard.InputError, match="masked"):
        dsguard.restore_batch(np.ma.masked_array(scenes), key)
    with pytest.raises(dsguard.InputError, match="on_error"):
        dsguard.restore_batch(scenes, key, on_error="ignore")
    with pytest.raises(dsguard.InputError, match="one image"):
        dsguard.inspect(scenes)


def test_empty_and_non_contiguous_batches(scenes, key):
    empty = dsguard.protect_batch(scenes[:0], key, target=scenes[:0])
    assert empty.images.shape == (0, 32, 32, 3)
    assert dsguard.restore_batch(empty.images, key).shape == (0, 32, 32, 3)
    flipped = scenes[:, :, ::-1]
    assert not flipped.flags.c_contiguous
    before = flipped.copy()
    out = dsguard.protect_batch(flipped, key, target=nearby(flipped))
    np.testing.assert_array_equal(flipped, before)
    assert difference(dsguard.restore_batch(out.images[:, ::1], key), flipped) <= 1


def test_inputs_are_never_written(scenes, key):
    clean, target = scenes.copy(), nearby(scenes)
    wanted = target.copy()
    clean.setflags(write=False)
    target.setflags(write=False)
    out = dsguard.protect_batch(clean, key, target=target).images
    out.setflags(write=False)
    protected = out.copy()
    dsguard.restore_batch(out, key)
    np.testing.assert_array_equal(clean, scenes)
    np.testing.assert_array_equal(target, wanted)
    np.testing.assert_array_equal(out, protected)


def test_results_go_where_the_caller_says(scenes, key):
    target = nearby(scenes)
    expected = dsguard.protect_batch(scenes, key, target=target).images
    memory = np.empty_like(scenes)
    assert dsguard.protect_batch(scenes, key, target=target, out=memory).images.base is memory
    np.testing.assert_array_equal(memory, expected)
    back = np.empty_like(scenes)
    dsguard.restore_batch(memory, key, out=back)
    np.testing.assert_array_equal(back, dsguard.restore_batch(expected, key))
    for out, message in [
        (memory[:4], "expected an array of uint8"),
        (memory.astype(float), "expected an array of uint8"),
        ([], "got list"),
        (np.empty((32, 32, 3, 8), np.uint8).transpose(3, 0, 1, 2), "C-contiguous"),
        (np.frombuffer(memory.tobytes(), np.uint8).reshape(memory.shape), "writable"),
        (expected, "shares memory"),
    ]:
        with pytest.raises(dsguard.InputError, match=message):
            dsguard.restore_batch(expected, key, out=out)


def test_an_input_file_is_not_written_through_another_mapping(scenes, key, tmp_path):
    file = tmp_path / "images"
    scenes.tofile(file)
    given = np.memmap(file, np.uint8, "r", shape=scenes.shape)
    again = np.memmap(file, np.uint8, "r+", shape=scenes.shape)
    for out in (again, again[:], again.reshape(scenes.shape)):
        with pytest.raises(dsguard.InputError, match="shares memory"):
            dsguard.protect_batch(given, key, target=given, out=out)
    np.testing.assert_array_equal(given, scenes)


def test_threads_do_not_show(scenes, key, monkeypatch):
    monkeypatch.setattr("dsguard.slices._LEAST_BYTES", 1)
    clean = np.concatenate([scenes] * 30)
    target = nearby(clean)
    alone = dsguard.protect_batch(clean, key, target=target, threads=1).images
    together = dsguard.protect_batch(clean, key, target=target, threads=5).images
    np.testing.assert_array_equal(together, alone)
    broken = alone.copy()
    for n in (200, 17, 100):
        broken[n, 3, 3, 0] ^= 1
    report = dsguard.restore_batch(broken, key, on_error="report", threads=5)
    assert list(report.errors) == [17, 100, 200]
    good = np.delete(np.arange(len(clean)), [17, 100, 200])
    assert difference(report.images[good], clean[good]) <= 1
    with pytest.raises(dsguard.TamperedError, match="image 17:"):
        dsguard.restore_batch(broken, key, threads=5)


def test_memory_does_not_grow_with_the_batch(key, tmp_path):
    shape = (20_000, 32, 32, 3)
    files = [tmp_path / name for name in ("clean", "protected", "back")]
    clean, protected, back = (np.memmap(file, np.uint8, "w+", shape=shape) for file in files)
    clean[:] = np.arange(32, dtype=np.uint8)[:, None]
    tracemalloc.start()
    dsguard.protect_batch(clean, key, target=clean, out=protected, threads=2)
    dsguard.restore_batch(protected, key, out=back, threads=2)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < clean.nbytes / 2
    assert difference(back, clean) <= 1


def test_inspect_needs_no_key(scenes, key):
    with pytest.raises(dsguard.NotProtectedError):
        dsguard.inspect(scenes[0])
    out = dsguard.protect_batch(scenes, key, target=scenes).images
    info = dsguard.inspect(out[0])
    assert info == dsguard.ImageInfo(
        version=1, profile="paper", planes=1, key_id=key.key_id, payload_bits=8 * (337 + 34)
    )
    assert OVERHEAD_BYTES - HEADER_BYTES == 16
