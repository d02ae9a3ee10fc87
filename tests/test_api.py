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
from dsguard.codecs import HEADER_BYTES, Header, codec_named
from dsguard.codecs.header import _checksum
from dsguard.codecs.paper import OVERHEAD_BYTES, plan
from dsguard.covers import Itself
from dsguard.kernels import native
from dsguard.kernels.geometry import Geometry

PROFILES = ["exact", "exact-fine", "exact-coarse", "veil", "paper"]

paper_batch = partial(dsguard.protect_batch, profile="paper")


def restored(out, key):
    return dsguard.restore_batch(out.images, key, sidecars=out.sidecars)


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
    st.sampled_from(PROFILES),
    st.sampled_from(["noise", "flat", "black and white", "gradient", "scene"]),
    st.booleans(),
    st.integers(0, 2**32 - 1),
)
def test_round_trip(height, width, channels, profile, kind, near, seed):
    rng = np.random.default_rng(seed)
    shape = (2, height, width) + (() if channels is None else (channels,))
    y, x = np.mgrid[:height, :width].astype(float)
    if kind == "noise":
        clean = rng.integers(0, 256, shape)
    elif kind == "flat":
        clean = np.full(shape, rng.integers(0, 256))
    elif kind == "black and white":
        clean = rng.choice([0, 255], shape)
    else:
        smooth = 128 + rng.normal(0, 3) * (x - width / 2) + rng.normal(0, 3) * (y - height / 2)
        smooth = smooth.reshape(1, height, width, *(() if channels is None else (1,)))
        clean = np.clip(smooth + (rng.normal(0, 4, shape) if kind == "scene" else 0), 0, 255)
        clean = np.broadcast_to(clean, shape)
    clean = np.ascontiguousarray(clean, dtype=np.uint8)
    target = nearby(clean, 16, seed) if near else rng.integers(0, 256, shape, dtype=np.uint8)
    key = dsguard.DatasetKey(bytes(32))
    samples = height // 4 * 4 * (width // 4 * 4) * min(channels or 1, 3)
    if profile == "paper" and samples < 800:  # may be too small, which other tests look at
        return
    out = dsguard.protect_batch(clean, key, target=target, profile=profile)
    assert out.images.shape == shape
    back = dsguard.restore_batch(out.images, key, sidecars=out.sidecars)
    if profile == "paper":
        assert out.status == [Status.OK] * 2
        assert difference(back, clean) <= dsguard.inspect(out.images[0]).planes
    else:
        np.testing.assert_array_equal(back, clean)
        for index in range(2):
            expected = Status.SIDECAR if index in out.sidecars else Status.OK
            assert out.status[index] == expected
    again = dsguard.protect_batch(clean, key, target=target, profile=profile)
    np.testing.assert_array_equal(again.images, out.images)
    assert again.sidecars == out.sidecars


def test_one_plane_holds_a_cifar_image(cifar, key):
    clean, _ = cifar
    target = nearby(clean)
    out = paper_batch(clean, key, target=target)
    info = dsguard.inspect(out.images[0])
    assert (info.planes, info.profile, info.key_id) == (1, "paper", key.key_id)
    assert info.payload_bits <= 32 * 32 * 3
    assert difference(dsguard.restore_batch(out.images, key), clean) <= 1


def test_the_smallest_images_fit_or_say_what_they_lack(key):
    colour = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 3), dtype=np.uint8)
    out = paper_batch(colour, key, target=colour)
    assert dsguard.inspect(out.images[0]).planes == 2
    assert difference(dsguard.restore_batch(out.images, key), colour) <= 2
    with pytest.raises(dsguard.CapacityError, match="needs 312 payload bits and can carry 128"):
        paper_batch(colour[..., 0], key, target=colour[..., 0])


def planes_of(side, channels):
    try:
        return plan(side, side, channels).planes
    except dsguard.CapacityError:
        return 0


def test_the_planes_of_square_images_are_those_of_the_readme():
    assert [planes_of(side, 3) for side in (8, 23, 24, 32, 64)] == [2, 2, 1, 1, 1]
    assert [planes_of(side, 1) for side in (8, 15, 16, 39, 40, 64)] == [0, 0, 2, 2, 1, 1]


def test_restored_images_resemble_neither_more_nor_less_than_promised(scenes, key):
    out = paper_batch(scenes, key, target=scenes[::-1].copy())
    assert difference(out.images, scenes) > 50, "hidden in another image, it must look different"
    used = dsguard.inspect(out.images[0]).payload_bits
    back = dsguard.restore_batch(out.images, key).reshape(len(scenes), -1)
    assert 0.3 < (back != scenes.reshape(len(scenes), -1)).mean() < 0.6 * used / 3072


def test_subsets_orders_and_batches_restore_alike(scenes, key):
    out = dsguard.protect_batch(scenes, key, target=nearby(scenes)).images
    back = dsguard.restore_batch(out, key)
    np.testing.assert_array_equal(back, scenes)
    np.testing.assert_array_equal(dsguard.restore_batch(out[::-2], key), back[::-2])
    np.testing.assert_array_equal(dsguard.restore_batch(out[3:4], key), back[3:4])


def test_slices_do_not_show(scenes, key, monkeypatch):
    whole = paper_batch(scenes, key, target=nearby(scenes)).images
    monkeypatch.setattr("dsguard._parallel.threads._SLICE_BYTES", 3 * scenes[0].nbytes)
    parts = paper_batch(scenes, key, target=nearby(scenes)).images
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


@pytest.mark.parametrize("name", ["native", "numba", "reference"])
@pytest.mark.parametrize("profile", ["sealed", "veil"])
def test_any_backend_restores_a_batch(scenes, key, backend, name, profile):
    backend("native")
    protected = dsguard.protect_batch(scenes, key, profile=profile)
    backend(name)
    restored = dsguard.restore_batch(protected.images, key, sidecars=protected.sidecars)
    np.testing.assert_array_equal(restored, scenes)


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
    [
        ("dsguard._core", "numba", "sealed and paper run in Numba"),
        ("dsguard._core numba", "reference", "nor is Numba"),
    ],
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
    assert shown.stderr.count("RuntimeWarning") == 1


def test_a_forged_length_fails_its_own_image_alone(scenes, key):
    out = paper_batch(scenes, key, target=nearby(scenes)).images.copy()
    raw = bytearray(native.extract(out[:1], HEADER_BYTES, Geometry(32, 32, 3, 1))[0].tobytes())
    raw[12] ^= 1
    raw[-2:] = _checksum(bytes(raw))
    native.embed(out[:1], np.frombuffer(bytes(raw), np.uint8), Geometry(32, 32, 3, 1))
    report = dsguard.restore_batch(out, key, on_error="report")
    assert report.status == [Status.TAMPERED, *[Status.OK] * 7]


def test_each_failure_has_its_own_status(scenes, key):
    out = paper_batch(scenes, key, target=nearby(scenes)).images.copy()
    other = dsguard.DatasetKey.generate()
    out[1] = scenes[1]
    out[2] = paper_batch(scenes[2:3], other, target=scenes[2:3]).images[0]
    out[3, 20, 20, 0] ^= 1
    newer = Header(codec_named("paper").code, 1, bytes(6), 337, version=9).pack()
    geometry = Geometry(32, 32, 3, 1)
    native.embed(out[4:5], np.frombuffer(newer, np.uint8), geometry)
    unknown = bytearray(Header(codec_named("paper").code, 1, bytes(6), 337).pack())
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


@pytest.mark.parametrize("profile", PROFILES)
def test_any_flipped_bit_is_noticed(profile, scenes, key):
    clean = scenes[:1]
    out = dsguard.protect_batch(clean, key, target=np.minimum(clean, 247) + 8, profile=profile)
    assert not out.sidecars
    bits = np.arange(8 * clean.size)
    broken = np.repeat(out.images.reshape(1, -1), len(bits), axis=0)
    broken[bits, bits // 8] ^= (1 << bits % 8).astype(np.uint8)
    report = dsguard.restore_batch(broken.reshape(-1, *clean.shape[1:]), key, on_error="report")
    assert set(report.status) == {Status.TAMPERED}
    assert not report.images.any()


@given(
    st.sampled_from(PROFILES[:4]),
    st.integers(0, 7),
    st.lists(st.integers(0, 32 * 32 * 3 - 1), min_size=1, max_size=40),
    st.integers(0, 2**32 - 1),
)
def test_damage_of_any_kind_is_noticed(profile, n, places, seed):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:32, :32]
    slope = rng.normal(0, 3, (2, 3))
    clean = 128 + slope[0] * (x - 16)[..., None] + slope[1] * (y - 16)[..., None]
    clean = np.clip(clean + rng.normal(0, 3, clean.shape), 0, 255).astype(np.uint8)[None]
    key = dsguard.DatasetKey(bytes([n]) * 32)
    out = dsguard.protect_batch(clean, key, target=nearby(clean), profile=profile)
    images = out.images.copy()
    images.reshape(-1)[places] = rng.integers(0, 256, len(places))
    if (images == out.images).all():
        return
    report = dsguard.restore_batch(images, key, sidecars=out.sidecars, on_error="report")
    expected = {Status.TAMPERED, Status.NOT_PROTECTED}  # where the magic is gone altogether
    assert report.status[0] in expected
    assert not report.images.any()


def test_every_payload_bit_is_noticed(key):
    clean = np.random.default_rng(3).integers(0, 256, (1, 16, 16, 3), dtype=np.uint8)
    out = paper_batch(clean, key, target=clean).images
    info = dsguard.inspect(out[0])
    broken = np.repeat(out, info.payload_bits, axis=0)
    flat = broken.reshape(len(broken), -1)
    for bit in range(info.payload_bits):
        plane, sample = divmod(bit, flat.shape[1])
        flat[bit, sample] ^= 1 << plane
    report = dsguard.restore_batch(broken, key, on_error="report")
    assert set(report.status) == {Status.TAMPERED}


def test_noise_goes_to_sidecars_and_comes_back(key):
    rng = np.random.default_rng(3)
    clean = rng.integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)
    target = rng.integers(0, 256, clean.shape, dtype=np.uint8)
    out = dsguard.protect_batch(clean, key, target=target)
    assert sorted(out.sidecars) == list(range(5))
    assert set(out.status) == {Status.SIDECAR}
    assert dsguard.inspect(out.images[0]).sidecar
    np.testing.assert_array_equal(restored(out, key), clean)
    with pytest.raises(dsguard.MissingSidecarError, match="give the sidecar"):
        dsguard.restore_batch(out.images, key)
    shuffled = {0: out.sidecars[0], 1: out.sidecars[2], 2: out.sidecars[2][:-1]}
    shuffled[4] = out.sidecars[4][:30] + bytes([out.sidecars[4][30] ^ 1]) + out.sidecars[4][31:]
    report = dsguard.restore_batch(out.images, key, sidecars=shuffled, on_error="report")
    bad = Status.TAMPERED
    assert report.status == [Status.OK, bad, bad, Status.NO_SIDECAR, bad]
    assert not report.images[1:].any()
    for sidecars, message in [
        ({5: b""}, "no image 5"),
        ({0: "text"}, "got str"),
        ({"a": b""}, "whole numbers"),
        ({True: b""}, "whole numbers"),
        ([b""], "a mapping"),
    ]:
        with pytest.raises(dsguard.InputError, match=message):
            dsguard.restore_batch(out.images, key, sidecars=sidecars)


def test_images_too_small_for_a_header_have_it_in_their_sidecar(key):
    clean = np.arange(64, dtype=np.uint8).reshape(1, 8, 8)
    out = dsguard.protect_batch(clean, key, target=clean[:, ::-1])
    assert list(out.sidecars) == [0]
    np.testing.assert_array_equal(restored(out, key), clean)
    with pytest.raises(dsguard.NotProtectedError, match="header is in its sidecar"):
        dsguard.restore_batch(out.images, key)
    assert dsguard.inspect(out.images[0], out.sidecars[0]).sidecar
    forged = bytearray(out.sidecars[0])
    forged[5] &= 63  # says that the payload is in the image, which has no room for a header
    forged[16:18] = _checksum(bytes(forged[:18]))
    report = dsguard.restore_batch(out.images, key, sidecars={0: bytes(forged)}, on_error="report")
    assert report.status == [Status.TAMPERED]
    with pytest.raises(dsguard.WrongKeyError):
        restored(out, dsguard.DatasetKey.generate())


def test_images_of_all_profiles_restore_together(scenes, key):
    clean = np.concatenate([scenes, scenes[:, ::-1]])[: 2 * len(PROFILES)]
    parts = [
        dsguard.protect_batch(clean[2 * n : 2 * n + 2], key, target=clean[:2], profile=profile)
        for n, profile in enumerate(PROFILES)
    ]
    images = np.concatenate([part.images for part in parts])
    sidecars = {2 * n + i: s for n, part in enumerate(parts) for i, s in part.sidecars.items()}
    last = len(images) - 1
    back = dsguard.restore_batch(
        images[::-1], key, sidecars={last - i: s for i, s in sidecars.items()}
    )
    np.testing.assert_array_equal(back[2:], clean[:-2][::-1])
    assert difference(back[:2], clean[-2:][::-1]) <= 1  # the last profile is paper


def test_forged_headers_are_noticed(scenes, key):
    out = dsguard.protect_batch(scenes[:1], key, target=nearby(scenes[:1]))
    geometry = Geometry.of(scenes)
    raw = native.extract(out.images, 23, geometry)[0].tobytes()
    for position, value in [
        (5, 2 | 128),
        (5, 2 | 192),
        (5, 2 | 64),
        (5, 3),
        (12, 0),
        (13, 255),
        (14, 255),
        (18, 3),
        (18, 31),
    ]:
        forged = bytearray(raw)
        forged[position] = value
        forged[15] = forged[18] ^ forged[19] ^ forged[20] ^ forged[21] ^ forged[22]
        forged[16:18] = _checksum(bytes(forged[:18]))
        image = out.images.copy()
        native.embed(image, np.frombuffer(bytes(forged), np.uint8), geometry)
        expected = {66: dsguard.MissingSidecarError, 130: dsguard.FormatError}.get(
            value, dsguard.FormatError if value == 194 else dsguard.TamperedError
        )
        with pytest.raises(expected):
            dsguard.restore_batch(image, key)


def test_a_sequence_longer_than_a_header_can_say_is_refused(scenes, key, monkeypatch):
    monkeypatch.setattr("dsguard.codecs.exact._LARGEST_LENGTH", 60)
    monkeypatch.setattr("dsguard._parallel.threads._SLICE_BYTES", 3 * scenes[0].nbytes)
    target = scenes.copy()
    target[5] = nearby(scenes[5:6], 40)
    with pytest.raises(
        dsguard.CapacityError, match=r"image 5: its Sequence has .* split"
    ) as caught:
        dsguard.protect_batch(scenes, key, target=target)
    assert caught.value.index == 5
    assert caught.value.available == 480


def test_geometry_changes_are_noticed(key):
    clean = np.random.default_rng(3).integers(0, 256, (1, 32, 48, 3), dtype=np.uint8)
    out = paper_batch(clean, key, target=clean).images
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
        (np.zeros((2, 0, 32, 3), np.uint8), "1 to 65535"),
        (np.zeros((32, 32, 3), np.uint8), r"could be one image .*; give images\[None\]"),
        ([[1, 2]], "expected a NumPy array, got list"),
    ],
)
def test_bad_images_are_refused(images, message, key):
    with pytest.raises(dsguard.InputError, match=message):
        dsguard.protect_batch(images, key, target=images)
    with pytest.raises(dsguard.InputError, match=message):
        dsguard.restore_batch(images, key)


@pytest.mark.parametrize("profile", ["exact", "veil", "paper"])
def test_images_that_are_too_small_for_a_codec_are_refused(profile, key):
    small = np.zeros((2, 7, 32, 3), np.uint8)
    with pytest.raises(
        dsguard.InputError, match=r"has 32x7 pixels.* 8 and more; take codec sealed"
    ):
        dsguard.protect_batch(small, key, cover=Itself(), profile=profile)


def test_bad_arguments_are_refused(scenes, key):
    with pytest.raises(dsguard.InputError, match="give target"):
        dsguard.protect_batch(scenes, key, profile="exact")
    with pytest.raises(dsguard.InputError, match="not both"):
        dsguard.protect_batch(scenes, key, target=scenes, labels=[0] * 8)
    with pytest.raises(dsguard.InputError, match="target has the shape"):
        dsguard.protect_batch(scenes, key, target=scenes[:4])
    with pytest.raises(dsguard.InputError, match="no profile 'papre'; the profiles are: sealed"):
        dsguard.protect_batch(scenes, key, target=scenes, profile="papre")
    unknown = dsguard.Profile(dataclasses.replace(codec_named("paper"), code=60))
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
    empty = paper_batch(scenes[:0], key, target=scenes[:0])
    assert empty.images.shape == (0, 32, 32, 3)
    assert dsguard.restore_batch(empty.images, key).shape == (0, 32, 32, 3)
    flipped = scenes[:, :, ::-1]
    assert not flipped.flags.c_contiguous
    before = flipped.copy()
    out = paper_batch(flipped, key, target=nearby(flipped))
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
    expected = paper_batch(scenes, key, target=target).images
    memory = np.empty_like(scenes)
    assert paper_batch(scenes, key, target=target, out=memory).images.base is memory
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
    monkeypatch.setattr("dsguard._parallel.threads._LEAST_BYTES", 1)
    clean = np.concatenate([scenes] * 30)
    target = nearby(clean)
    alone = paper_batch(clean, key, target=target, threads=1).images
    together = paper_batch(clean, key, target=target, threads=5).images
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
    paper_batch(clean, key, target=clean, out=protected, threads=2)
    dsguard.restore_batch(protected, key, out=back, threads=2)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < clean.nbytes / 2
    assert difference(back, clean) <= 1


def test_inspect_needs_no_key(scenes, key):
    with pytest.raises(dsguard.NotProtectedError):
        dsguard.inspect(scenes[0])
    out = paper_batch(scenes, key, target=scenes).images
    info = dsguard.inspect(out[0])
    assert info == dsguard.ImageInfo(
        version=1, profile="paper", planes=1, key_id=key.key_id, payload_bits=8 * (337 + 34)
    )
    assert OVERHEAD_BYTES - HEADER_BYTES == 16
